//! The two-person rule. An operation that a rule means is not done when it is first asked for: it leaves a request, another
//! principal who could do the same approves it, and whoever asked repeats the very same request, which is then done, once.
//! Patch jobs do not have to be asked for twice: they are made and wait for the approval of their start.

use drydock_domain::access::Permission;
use drydock_domain::access::approval::{APPROVAL_RULES_MAX, ApprovalRuleSpec, Concerned};
use drydock_domain::access::operations::OPERATIONS;
use drydock_domain::access::scope::is_below;
use drydock_domain::access::user::UserKind;
use drydock_domain::ids::{AccessTokenId, ApprovalId, ApprovalRuleId, UserId};
use drydock_domain::validate::Problems;
use drydock_store::approvals::{self, ApprovalRecord, ApprovalRuleRecord, ApprovalState};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{Tx, access_tokens, commit, users};
use jiff::{SignedDuration, Timestamp};

use super::act::{About, ConcernedHost};
use super::{cut, digest};
use crate::Control;
use crate::context::{AccountKind, OpCtx, Principal};
use crate::error::{Error, Result};

/// Requests of one principal that wait for a decision, count.
const WAITING_MAX: i64 = 100;
/// Open requests that are looked at for a count, count.
const OPEN_LOOKED_AT: u32 = 100;
/// Tokens that made tokens are followed so far, count.
const MADE_BY_MAX: usize = 16;
/// Longest word of an approver, bytes.
const REASON_MAX_BYTES: usize = 1024;

impl Control {
    /// Approval rules by name.
    pub async fn list_approval_rules(&self, ctx: &OpCtx) -> Result<Vec<ApprovalRuleRecord>> {
        self.may_read(ctx, "approval-rule.list", Permission::AccessManage).await?;
        Ok(approvals::rules(&mut *self.read().await?).await?)
    }

    /// Makes a rule, or replaces the one of its name. It holds from the next request on.
    pub async fn set_approval_rule(&self, ctx: &OpCtx, mut spec: ApprovalRuleSpec) -> Result<ApprovalRuleRecord> {
        let resource = format!("approval-rule {}", cut(&spec.name, 100));
        let act = self.act(ctx, "approval-rule.set", resource, Permission::AccessManage).await?;
        let done = async {
            spec.validate()?;
            if let Some(written) = &spec.compartment {
                spec.compartment = Some(self.compartment_path(written).await?);
            }
            let mut tx = self.begin().await?;
            let all = approvals::rules(&mut tx).await?;
            let before = all.iter().find(|own| own.spec.name == spec.name);
            if before.is_none() && all.len() >= APPROVAL_RULES_MAX {
                return Err(Error::conflict(format!("there are {APPROVAL_RULES_MAX} approval rules already; delete some")));
            }
            let record = ApprovalRuleRecord {
                id: before.map_or_else(|| ApprovalRuleId(self.mint(ctx.now)), |own| own.id),
                created_by: before.map_or_else(|| ctx.who.name(), |own| own.created_by.clone()),
                created_at: before.map_or(ctx.now, |own| own.created_at),
                updated_at: ctx.now,
                version: before.map_or(1, |own| own.version + 1),
                spec,
            };
            approvals::put_rule(&mut tx, &record).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(done).await
    }

    /// Deletes a rule; what waits for approval by it may be repeated at once.
    pub async fn delete_approval_rule(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let resource = format!("approval-rule {}", cut(name, 100));
        let act = self.act(ctx, "approval-rule.delete", resource, Permission::AccessManage).await?;
        let done = async {
            let mut tx = self.begin().await?;
            if !approvals::delete_rule(&mut tx, name).await? {
                return Err(Error::NotFound(format!("approval rule {}", cut(name, 100))));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(done).await
    }

    /// Rules go along with the compartment that they name, in the transaction that renames or moves it: one that stayed behind
    /// would mean nothing any more.
    pub(super) async fn rename_in_rules(&self, tx: &mut Tx, from: &str, to: &str, now: Timestamp) -> Result<()> {
        for mut own in approvals::rules(tx).await? {
            let Some(path) = own.spec.compartment.as_deref().filter(|path| is_below(path, from)) else { continue };
            own.spec.compartment = Some(format!("{to}{}", path.strip_prefix(from).unwrap_or_default()));
            own.updated_at = now;
            approvals::put_rule(tx, &own).await?;
        }
        Ok(())
    }

    /// Requests for approval, newest first: the caller's own, and those of operations that the caller could do.
    pub async fn list_approvals(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<ApprovalRecord>> {
        let mut found = approvals::list(&mut *self.read().await?, page).await?;
        let mut shown = Vec::new();
        for own in found.items {
            if own.requester_key == ctx.who.key() || self.could_do(ctx, &own).await? {
                shown.push(own);
            }
        }
        found.items = shown;
        Ok(found)
    }

    /// How many requests of others wait for the caller, who could approve them; of the newest only.
    pub async fn approvals_waiting(&self, ctx: &OpCtx) -> Result<usize> {
        let open = approvals::open(&mut *self.read().await?, ctx.now, OPEN_LOOKED_AT).await?;
        let mut waiting = 0;
        for own in open.iter().filter(|own| own.requester_key != ctx.who.key()) {
            waiting += usize::from(self.could_do(ctx, own).await?);
        }
        Ok(waiting)
    }

    /// Approves or refuses what somebody else asked for. Only who could do it, and did not ask for it.
    pub async fn decide_approval(&self, ctx: &OpCtx, id: ApprovalId, approve: bool, reason: &str) -> Result<ApprovalRecord> {
        let operation = if approve { "approval.approve" } else { "approval.refuse" };
        let act = self.own_act(ctx, operation, format!("approval {id}"));
        let done = async {
            let mut problems = Problems::default();
            problems.text("reason", reason, REASON_MAX_BYTES);
            problems.finish()?;
            let gone = || Error::NotFound(format!("request for approval {id}"));
            let own = approvals::find(&mut *self.read().await?, id).await?.ok_or_else(gone)?;
            let is_own = own.requester_key == ctx.who.key();
            if !is_own && !self.could_do(ctx, &own).await? {
                return Err(gone());
            }
            if is_own && approve {
                return Err(Error::Forbidden(format!("{id} is your own request; another person must approve it")));
            }
            if let Some(why) = self.no_other_person(&ctx.who, &own.requester_key).await?.filter(|_| approve) {
                return Err(Error::Forbidden(format!("{why}; another person must approve {id}")));
            }
            let state = if approve { ApprovalState::Approved } else { ApprovalState::Refused };
            let (name, key) = (ctx.who.name(), ctx.who.key());
            let mut tx = self.begin().await?;
            if !approvals::decide(&mut tx, id, state, (&name, &key), reason, ctx.now).await? {
                let is = if own.expires_at <= ctx.now { "over" } else { "decided" };
                return Err(Error::conflict(format!("request for approval {id} is {is} already")));
            }
            let resource = format!("approval {id} of {} on {} for {}", own.operation, own.resource, own.requester);
            act.allowed_on(&mut tx, &resource).await?;
            commit(tx).await?;
            approvals::find(&mut *self.read().await?, id).await?.ok_or_else(gone)
        }
        .await;
        act.settle(done).await
    }

    /// Why somebody is not another person than the one who asked, as far as that is known; `None`: he is. Programs speak for
    /// whoever made their accounts, tokens of their own for whoever made them. Neither those nor hosts vouch for a person.
    pub(super) async fn no_other_person(&self, who: &Principal, asked: &str) -> Result<Option<String>> {
        let Some(own) = who.account() else { return Ok(None) };
        let asked_by_person = asked.starts_with(AccountKind::User.as_str());
        if matches!(own.kind, AccountKind::Token | AccountKind::Instance) && asked_by_person {
            return Ok(Some(format!("{} is no person, so it does not approve what a person asks for", own.name)));
        }
        let (asker, approver) = (self.person_behind(asked).await?, self.person_behind(&who.key()).await?);
        let why = |person| format!("{} and who asked both stand for {person}", own.name);
        Ok(asker.filter(|asker| approver.as_ref() == Some(asker)).map(why))
    }

    /// The user that a principal is or that made it, or the token that stands for nobody else; `None`: nobody knows.
    async fn person_behind(&self, key: &str) -> Result<Option<String>> {
        let mut c = self.read().await?;
        let mut key = key.to_owned();
        for _ in 0..MADE_BY_MAX {
            let Some((kind, id)) = key.split_once(' ') else { return Ok(None) };
            if kind == AccountKind::Token.as_str() {
                let Ok(id) = id.parse::<AccessTokenId>() else { return Ok(None) };
                let Some(token) = access_tokens::find(&mut c, id).await? else { return Ok(None) };
                key = match token.user {
                    Some(user) => format!("{} {}", AccountKind::User.as_str(), user.id),
                    None if token.created_by.contains(' ') => token.created_by,
                    // The server's operator made it: it stands for itself and for what it made.
                    None => return Ok(Some(format!("the access token {} ({id})", token.name))),
                };
                continue;
            }
            if kind != AccountKind::User.as_str() && kind != AccountKind::ServiceAccount.as_str() {
                return Ok(None);
            }
            let Ok(id) = id.parse::<UserId>() else { return Ok(None) };
            let found = users::find(&mut c, id).await?;
            return Ok(found.map(|user| match user.kind {
                UserKind::User => user.name,
                UserKind::ServiceAccount => user.created_by,
            }));
        }
        Ok(None)
    }

    /// Could the caller do what was asked for?
    async fn could_do(&self, ctx: &OpCtx, own: &ApprovalRecord) -> Result<bool> {
        // Where one name stands for reading and for changing, the change was asked for.
        let Some(operation) = OPERATIONS.iter().find(|o| o.name == own.operation && o.changes()) else { return Ok(false) };
        let about = About::within(&own.compartment, own.resource.clone());
        self.could(ctx, operation.name, Some(operation.coarse), &about).await
    }

    /// Is a rule met by an operation about these hosts? For operations that wait by themselves.
    pub(super) async fn approval_demanded<'a>(
        &self,
        who: &Principal,
        operation: &str,
        compartment: &str,
        hosts: impl IntoIterator<Item = Concerned<'a>> + Clone,
    ) -> Result<Option<String>> {
        if matches!(who, Principal::Server) {
            return Ok(None);
        }
        let rules = approvals::rules(&mut *self.read().await?).await?;
        let met = rules.into_iter().find(|own| own.spec.demands(operation, compartment, hosts.clone()));
        Ok(met.map(|own| own.spec.name))
    }

    /// Could a rule be about this operation, depending on the hosts that it concerns?
    pub(super) async fn has_rules_about(&self, ctx: &OpCtx, operation: &str) -> Result<bool> {
        if matches!(ctx.who, Principal::Server) {
            return Ok(false);
        }
        Ok(approvals::rules(&mut *self.read().await?).await?.iter().any(|own| own.spec.means(operation)))
    }

    /// What approves an operation that needs it; `None`: it needs none. Without an approval a request is left, and the refusal
    /// says how to go on.
    pub(super) async fn approval_of(
        &self,
        ctx: &OpCtx,
        operation: &str,
        about: &About,
        hosts: &[ConcernedHost],
    ) -> Result<Option<ApprovalId>> {
        if matches!(ctx.who, Principal::Server) {
            return Ok(None);
        }
        let rules = approvals::rules(&mut *self.read().await?).await?;
        let labels = about.labels();
        let own = labels.iter().map(|labels| Concerned { compartment: &about.compartment, labels });
        let beside = hosts.iter().map(|(compartment, labels)| Concerned { compartment, labels });
        let concerned = own.chain(beside);
        let met = rules.iter().find(|own| own.spec.demands(operation, &about.compartment, concerned.clone()));
        let Some(rule) = met.filter(|_| !WAITS_BY_ITSELF.contains(&operation)) else { return Ok(None) };
        if STREAMED.contains(&operation) {
            let why = format!(
                "{operation} is closed by rule {}: what is sent cannot be known again, so nobody can approve it",
                rule.spec.name
            );
            return Err(Error::conflict(why));
        }
        let Some(asked) = ctx.notes.fingerprint() else {
            let why = format!(
                "{operation} needs the approval of another person (rule {}): ask for it with the command",
                rule.spec.name
            );
            return Err(Error::conflict(why));
        };
        let fingerprint = digest(&format!("{operation}\n{}\n{}\n{asked}", about.compartment, about.text));
        let standing = approvals::standing(&mut *self.read().await?, &fingerprint, &ctx.who.key(), ctx.now).await?;
        match standing {
            Some(own) if own.state == ApprovalState::Approved => Ok(Some(own.id)),
            Some(own) if own.state == ApprovalState::Refused => {
                let who = own.approver.unwrap_or_default();
                let reason = if own.reason.is_empty() { "without a reason".to_owned() } else { own.reason };
                Err(Error::Forbidden(format!("{who} refused to approve {operation} on {}: {reason}", about.text)))
            }
            Some(own) => Err(wait_for(operation, about, &own.rule, own.id, own.expires_at)),
            None => self.ask_for_approval(ctx, operation, about, rule, fingerprint).await,
        }
    }

    async fn ask_for_approval(
        &self,
        ctx: &OpCtx,
        operation: &str,
        about: &About,
        rule: &ApprovalRuleRecord,
        fingerprint: String,
    ) -> Result<Option<ApprovalId>> {
        let lasts = SignedDuration::from_secs(i64::from(rule.spec.expires_after_secs));
        let own = ApprovalRecord {
            id: ApprovalId(self.mint(ctx.now)),
            rule: rule.spec.name.clone(),
            operation: operation.to_owned(),
            resource: cut(&about.text, 512).to_owned(),
            compartment: about.compartment.clone(),
            fingerprint,
            requester: ctx.who.name(),
            requester_key: ctx.who.key(),
            approver: None,
            state: ApprovalState::Pending,
            reason: String::new(),
            created_at: ctx.now,
            expires_at: ctx.now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
            decided_at: None,
        };
        let mut tx = self.begin().await?;
        if approvals::waiting(&mut tx, &own.requester_key, ctx.now).await? >= WAITING_MAX {
            return Err(Error::conflict(format!(
                "{WAITING_MAX} of your requests wait for approval already; let some be decided"
            )));
        }
        approvals::insert(&mut tx, &own).await?;
        commit(tx).await?;
        Err(wait_for(operation, about, &own.rule, own.id, own.expires_at))
    }
}

/// Operations that make something which waits for approval itself.
const WAITS_BY_ITSELF: &[&str] = &["patch-job.create", "patch-job.rerun", "patch-job.undo", "patch-deployment.run"];

/// Operations whose body is a file that is not kept until somebody approves it.
const STREAMED: &[&str] = &["source.upload", "advisory-feed.import"];

fn wait_for(operation: &str, about: &About, rule: &str, id: ApprovalId, until: Timestamp) -> Error {
    Error::conflict(format!(
        "{operation} on {} needs the approval of another person (rule {rule}): let one who may do it run `drydock approval \
         approve {id}`, then repeat this very request before {until:.0}",
        about.text
    ))
}
