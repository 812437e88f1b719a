//! Enrolment profiles, and hosts that ask to enrol.

use drydock_domain::access::Permission;
use drydock_domain::enrolment::{Entry, MAX_USES_MAX, ProfileFacts, ProfileSpec, TokenRefused, decide};
use drydock_domain::ids::{InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, PendingReason};
use drydock_domain::inventory::{SectionKind, check_body};
use drydock_domain::validate::{Invalid, Problems};
use drydock_store::compartments::{self, Kind};
use drydock_store::records::{HistoryRecord, InstanceRecord, PageQuery, Paged, ProfileRecord};
use drydock_store::{Tx, commit, environments, history, instances, profiles};
use jiff::Timestamp;

use super::{RACE_RETRIES, digest};
use crate::context::{OpCtx, Secret};
use crate::error::{Error, Result};
use crate::views::{EnrolAsk, Enrolled};
use crate::{CallFrom, Control};

/// What an enrolment token begins with.
const TOKEN_PREFIX: &str = "dde_";
/// Longest enrolment token looked at, bytes: ours have 47.
const TOKEN_MAX_BYTES: usize = 256;
/// Longest machine-id, bytes: machine-id(5) has 32.
const MACHINE_ID_MAX_BYTES: usize = 64;
/// Longest host name, bytes (Linux: 64; a full domain name: 253).
const HOSTNAME_MAX_BYTES: usize = 253;

impl Control {
    /// Makes an enrolment profile; its token is returned once.
    pub async fn create_profile(&self, ctx: &OpCtx, mut spec: ProfileSpec) -> Result<(ProfileRecord, Secret)> {
        let resource = format!("enrolment-profile {}", spec.display_name);
        let (act, compartment) = self.act_in(ctx, "enrolment-profile.create", Some(&spec.compartment), resource).await?;
        spec.compartment = compartment;
        let made = async {
            spec.validate(ctx.now)?;
            if let Some(name) = &spec.environment {
                self.check_environment(ctx, "environment", name).await?;
            }
            let token = self.new_secret(TOKEN_PREFIX)?;
            let record = ProfileRecord {
                id: ProfileId(self.mint(ctx.now)),
                spec,
                uses: 0,
                revoked: false,
                created_by: ctx.who.name(),
                created_at: ctx.now,
            };
            let mut tx = self.begin().await?;
            profiles::insert(&mut tx, &record, &digest(token.expose())).await?;
            act.allowed_on(&mut tx, &format!("enrolment-profile {}", record.id)).await?;
            commit(tx).await?;
            Ok((record, token))
        }
        .await;
        act.settle(made).await
    }

    /// Enrolment profiles, newest first.
    pub async fn list_profiles(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<ProfileRecord>> {
        let scope = self.scope(ctx, "enrolment-profile.list", Permission::EnrolmentRead).await?;
        Ok(profiles::list(&mut *self.read().await?, page, &scope).await?)
    }

    /// One enrolment profile.
    pub async fn get_profile(&self, ctx: &OpCtx, id: ProfileId) -> Result<ProfileRecord> {
        self.may_see(ctx, "enrolment-profile.show", self.about(Kind::Profile, &id.to_string()).await?).await?;
        profiles::find(&mut *self.read().await?, id).await?.ok_or_else(|| no_profile(id))
    }

    /// Revokes an enrolment profile: its token lets no further host in. Hosts that are in stay.
    pub async fn revoke_profile(&self, ctx: &OpCtx, id: ProfileId) -> Result<ProfileRecord> {
        let about = self.about(Kind::Profile, &id.to_string()).await?;
        let act = self.act_on(ctx, "enrolment-profile.revoke", about).await?;
        let revoked = async {
            let mut tx = self.begin().await?;
            profiles::revoke(&mut tx, id).await?;
            let record = profiles::find(&mut tx, id).await?.ok_or_else(|| no_profile(id))?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(revoked).await
    }

    /// Puts an enrolment profile into another compartment: hosts that enrol from now on land there.
    pub async fn move_profile(&self, ctx: &OpCtx, id: ProfileId, compartment: &str) -> Result<ProfileRecord> {
        let about = self.about(Kind::Profile, &id.to_string()).await?;
        let from = about.compartment.clone();
        let act = self.act_on(ctx, "enrolment-profile.move", about).await?;
        let moved = async {
            let to = self.destination(ctx, "enrolment-profile.move", compartment).await?;
            let mut tx = self.begin().await?;
            if !compartments::put(&mut tx, Kind::Profile, &id.to_string(), &to).await? {
                return Err(no_profile(id));
            }
            let record = profiles::find(&mut tx, id).await?.ok_or_else(|| no_profile(id))?;
            act.allowed_on(&mut tx, &format!("enrolment-profile {id}, from {from} to {to}")).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(moved).await
    }

    /// Refuses an environment that is not there, or that the caller may not see: both alike.
    pub(super) async fn check_environment(&self, ctx: &OpCtx, field: &str, name: &str) -> Result<()> {
        match self.known(ctx, "environment.show", Kind::Environment, name).await {
            Err(Error::NotFound(what)) => Err(Error::invalid(field, format!("there is no {what}; make it first"))),
            other => other,
        }
    }

    /// A host asks to become a managed instance. The same key again gets the same answer and takes no further use.
    pub async fn enrol(&self, from: impl Into<CallFrom>, ask: EnrolAsk) -> Result<Enrolled> {
        check_ask(&ask)?;
        let from = from.into();
        let who = format!("host {}", ask.hostname);
        let refused = |error: Error| {
            if matches!(error, Error::Forbidden(_)) {
                self.audit_host_refused(&from, &who, "instance.enrol", "", &error.to_string());
            }
            error
        };
        if ask.token.expose().is_empty() {
            return self.come_back(&ask.spki_sha256).await.map_err(refused);
        }
        let now = self.now();
        let found = profiles::find_by_token(&mut *self.read().await?, &digest(ask.token.expose())).await?;
        let Some(profile) = found else {
            let (hostname, request_id) = (&ask.hostname, &from.request_id);
            tracing::warn!(hostname, request_id, "a host showed an enrolment token that is not known");
            return Err(refused(Error::Forbidden(
                "the enrolment token is not known; check it, or ask for a new one (drydock enrolment create)".to_owned(),
            )));
        };
        for _ in 0..RACE_RETRIES {
            if let Some(known) = instances::find_by_key(&mut *self.read().await?, &ask.spki_sha256).await? {
                return self.standing(known).await.map_err(refused);
            }
            let resource = format!("enrolment-profile {}", profile.id);
            let act = self.act_of_host(&from, &who, "instance.enrol", resource, now);
            let tried = async {
                let mut tx = self.begin().await?;
                let Some(record) = self.admit_host(&mut tx, profile.id, &ask, now).await? else { return Ok(None) };
                act.allowed_on(&mut tx, &format!("instance {} ({})", record.id, record.name)).await?;
                commit(tx).await?;
                Ok(Some(record))
            }
            .await;
            match act.settle(tried).await? {
                Some(record) => {
                    // It may come with an environment, or be told to set its own repositories aside.
                    self.host_changed(record.id).await;
                    return self.standing(record).await;
                }
                // Another host took the name, or this one's other request the key: look again.
                None => continue,
            }
        }
        Err(Error::conflict("too many hosts of this name enrol at once; try again"))
    }

    /// A host that was off for longer than its certificate lived shows no token, only that it holds the key by which it
    /// is known. That is what a renewal shows, too; a revoked or rejected instance stays outside.
    async fn come_back(&self, spki_sha256: &str) -> Result<Enrolled> {
        let mut c = self.read().await?;
        let known = match instances::find_by_key(&mut c, spki_sha256).await? {
            Some(known) => Some(known),
            // The answer to its last renewal was lost.
            None => instances::find_by_previous_key(&mut c, spki_sha256).await?,
        };
        drop(c);
        match known {
            Some(known) => self.standing(known).await,
            None => Err(Error::Forbidden(
                "this server does not know the host's key, so an enrolment token (dde_…) is needed (drydock enrolment create)"
                    .to_owned(),
            )),
        }
    }

    /// Decides and stores a new instance. `None`: its name or key was taken meanwhile.
    async fn admit_host(
        &self,
        tx: &mut Tx,
        profile: ProfileId,
        ask: &EnrolAsk,
        now: Timestamp,
    ) -> Result<Option<InstanceRecord>> {
        let profile = profiles::find(tx, profile).await?.ok_or_else(|| no_profile(profile))?;
        let refused = |why: TokenRefused| Error::Forbidden(why.to_string());
        decide(&facts(&profile), false, now).map_err(refused)?;
        // Taking the use first holds the profile's row: two clones that arrive together are seen one after the other.
        if !profiles::take_use(tx, profile.id, profile.spec.max_uses.unwrap_or(MAX_USES_MAX)).await? {
            let why = profiles::find(tx, profile.id).await?.map(|p| decide(&facts(&p), false, now));
            return Err(refused(why.and_then(std::result::Result::err).unwrap_or(TokenRefused::UsedUp)));
        }
        let same_machine = if ask.machine_id.is_empty() {
            Vec::new()
        } else {
            instances::with_machine_id(tx, &ask.machine_id, &[InstanceState::Pending, InstanceState::Active]).await?
        };
        let entry = decide(&facts(&profile), !same_machine.is_empty(), now).map_err(refused)?;
        // A host that should see prod must not see the newest snapshots instead because prod was renamed away.
        let environment = match &profile.spec.environment {
            None => None,
            Some(name) => Some(environments::find_by_name(tx, name).await?.map(|e| e.id).ok_or_else(|| {
                Error::Forbidden(format!("the enrolment profile names the lifecycle environment {name}, which does not exist"))
            })?),
        };
        self.check_landing(&profile.spec.compartment).await?;
        let base = base_name(&ask.hostname);
        let record = InstanceRecord {
            id: InstanceId(self.mint(now)),
            name: free_name(&base, &instances::names_like(tx, &base).await?),
            state: entry.state(),
            pending_reason: match entry {
                Entry::Active => None,
                Entry::Pending(reason) => Some(reason),
            },
            duplicate_of: same_machine.first().map(|first| first.id),
            reject_reason: String::new(),
            profile: profile.id,
            machine_id: ask.machine_id.clone(),
            spki_sha256: ask.spki_sha256.clone(),
            previous_spki_sha256: None,
            certificate_serial: None,
            certificate_expires_at: None,
            created_at: now,
            last_seen: None,
            labels: profile.spec.labels.clone(),
            zone: profile.spec.zone.clone(),
            compartment: profile.spec.compartment.clone(),
            os: Some(ask.os.clone()),
            inventory: None,
            sources_mode: profile.spec.sources_mode,
            environment,
            group: None,
            group_environment: None,
            content_spki_sha256: None,
            previous_content_spki_sha256: None,
            version: 1,
        };
        match instances::insert(tx, &record).await {
            Err(e) if e.is_duplicate() => return Ok(None),
            other => other?,
        }
        let entry = HistoryRecord {
            at: now,
            kind: "enrolled".to_owned(),
            message: format!("enrolled with the profile {}", profile.spec.display_name),
            changes: Vec::new(),
            changes_total: 0,
            task: None,
        };
        history::insert(tx, self.mint(now), record.id, &entry).await?;
        Ok(Some(record))
    }

    /// Refuses a host whose compartment is gone: it must not land where others see it.
    async fn check_landing(&self, compartment: &str) -> Result<()> {
        if self.access().await?.id_of(compartment).is_some() {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "the enrolment profile puts hosts into the compartment {compartment}, which does not exist; ask for another profile"
        )))
    }

    /// What a host with a known key is told.
    async fn standing(&self, record: InstanceRecord) -> Result<Enrolled> {
        let message = match (record.state, record.pending_reason) {
            (InstanceState::Active, _) => String::new(),
            (InstanceState::Pending, Some(PendingReason::DuplicateMachineId)) => {
                let other = match record.duplicate_of {
                    Some(id) => instances::find(&mut *self.read().await?, id).await?.map_or(id.to_string(), |i| i.name),
                    None => "another instance".to_owned(),
                };
                format!(
                    "{other} has the same machine-id with another key: this host is a clone, or was installed anew; \
                     a person decides (drydock instance accept {} or reject {})",
                    record.name, record.name
                )
            }
            (InstanceState::Pending, _) => {
                format!("waits for a person to let it in (drydock instance accept {})", record.name)
            }
            (InstanceState::Rejected, _) => {
                let why = if record.reject_reason.is_empty() { "no reason was given" } else { &record.reject_reason };
                return Err(Error::Forbidden(format!("the enrolment of this host was rejected: {why}")));
            }
            (InstanceState::Revoked, _) => {
                return Err(Error::Forbidden(
                    "this host was revoked; to let it in again, remove the agent's state on the host and enrol anew".to_owned(),
                ));
            }
        };
        Ok(Enrolled {
            instance: record.id,
            name: record.name,
            state: record.state,
            message,
            retry_after_secs: self.config().enrol_retry_secs,
        })
    }
}

fn no_profile(id: ProfileId) -> Error {
    Error::NotFound(format!("enrolment profile {id}"))
}

fn facts(profile: &ProfileRecord) -> ProfileFacts {
    ProfileFacts {
        expires_at: profile.spec.expires_at,
        max_uses: profile.spec.max_uses,
        uses: profile.uses,
        revoked: profile.revoked,
        auto_accept: profile.spec.auto_accept,
    }
}

/// Checks what a host says of itself: hostile input.
fn check_ask(ask: &EnrolAsk) -> std::result::Result<(), Invalid> {
    let mut problems = Problems::default();
    if ask.token.expose().len() > TOKEN_MAX_BYTES {
        problems.add("token", "is too long to be an enrolment token (dde_…)");
    }
    if !is_sha256(&ask.spki_sha256) {
        problems.add("csr", "has no readable public key");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if ask.machine_id.len() > MACHINE_ID_MAX_BYTES || !ask.machine_id.chars().all(plain) {
        problems.add("machineId", "is not a machine-id: at most 64 letters, digits and -");
    }
    if ask.hostname.trim().is_empty() {
        problems.add("hostname", "is empty; give the host a name");
    }
    problems.text("hostname", &ask.hostname, HOSTNAME_MAX_BYTES);
    if let Ok(body) = serde_json::to_vec(&ask.os)
        && let Err(invalid) = check_body(SectionKind::Os, &body)
    {
        invalid.errors.into_iter().for_each(|e| problems.add(e.field, e.message));
    }
    problems.finish()
}

/// 64 lower-case hexadecimal digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A host name as an instance's name: lower case, letters, digits, `.`, `-` and `_`.
fn base_name(hostname: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let name: String = hostname.trim().chars().map(keep).collect();
    let name = name.trim_matches(|c| c == '-' || c == '.');
    if name.is_empty() { "host".to_owned() } else { name.to_owned() }
}

/// `base`, or the first of `base-2`, `base-3` … that is free.
fn free_name(base: &str, taken: &[String]) -> String {
    if !taken.iter().any(|t| t == base) {
        return base.to_owned();
    }
    // One more candidate than there are names: one of them is free.
    let mut names = (2..taken.len() + 3).map(|n| format!("{base}-{n}"));
    names.find(|name| !taken.contains(name)).unwrap_or_else(|| format!("{base}-{}", taken.len() + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_of_a_name_gets_a_suffix() {
        assert_eq!(free_name("web-1", &[]), "web-1");
        assert_eq!(free_name("web-1", &["web-1".into(), "web-1-2".into()]), "web-1-3");
        assert_eq!(base_name("WEB 1.example.org."), "web-1.example.org");
        assert_eq!(base_name("--"), "host");
    }
}
