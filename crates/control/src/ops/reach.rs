//! In which compartment something new is made, and which hosts somebody reaches from there: those in the compartment and
//! below, and of those the ones on which he holds DRYDOCK_INSTANCE_PATCH. Jobs are looked up by the reconcilers, and runs of
//! deployments start by themselves: both in the name of whoever made them, with the rights that he has by then.

use std::collections::HashMap;
use std::sync::Arc;

use drydock_domain::access::permissions::Right;
use drydock_domain::access::scope::{is_below, is_conditional};
use drydock_domain::access::user::UserKind;
use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::{AccessTokenId, InstanceId, UserId};
use drydock_domain::instance::Labels;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::job::JobOrigin;
use drydock_store::compartments::{Kind, Lying};
use drydock_store::instances::Target;
use drydock_store::records::JobRecord;
use drydock_store::{access_tokens, instances, users};
use jiff::Timestamp;

use super::act::{About, Act, cut, holds_on};
use super::search::read_by;
use crate::Control;
use crate::access_part::{Loaded, ROOT};
use crate::context::{AccountKind, OpCtx, Principal};
use crate::error::{Error, ErrorKind, Result};

/// The permission that is asked on each host.
const PATCH: &str = "DRYDOCK_INSTANCE_PATCH";
/// What every run of a deployment is.
const RUN: &str = "patch-deployment.run";
/// The permission to know that a host is there.
const INSPECT: &str = "DRYDOCK_INSTANCE_INSPECT";
/// Hosts or compartments named in one refusal, count.
const NAMED_MAX: usize = 20;
/// Longest name of one of them repeated, bytes.
const NAME_MAX_BYTES: usize = 255;

/// How somebody stands to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It lies elsewhere, or he may not know of it.
    Unseen,
    /// He may see it, and not patch it.
    Seen,
    /// He may patch it.
    Reached,
}

/// What somebody reaches from a compartment.
pub(crate) struct Reach {
    compartment: String,
    who: Principal,
    operation: &'static str,
    loaded: Arc<Loaded>,
    now: Timestamp,
    /// Hosts of one compartment may differ: a statement has a condition.
    is_conditional: bool,
}

/// Hosts that a filter chose, by how somebody stands to them.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// He may patch these.
    pub(crate) targets: Vec<Target>,
    /// He may see so many more, and not patch them.
    pub(crate) seen_only: u64,
}

impl Reach {
    /// Does a statement look at single hosts?
    pub(crate) fn is_conditional(&self) -> bool {
        self.is_conditional
    }

    /// Splits hosts that a filter chose; those he may not know of are in neither part.
    pub(crate) fn sort(&self, chosen: Vec<Target>) -> Reached {
        let mut reached = Reached::default();
        // One decision for all hosts of a compartment, where no statement looks at single ones.
        let mut known: HashMap<String, Stand> = HashMap::new();
        for target in chosen {
            let stand = match known.get(&target.compartment) {
                Some(stand) => *stand,
                None => {
                    let stand = self.stand(&target.compartment, &target.id.to_string(), &target.name, &target.labels);
                    if !self.is_conditional {
                        known.insert(target.compartment.clone(), stand);
                    }
                    stand
                }
            };
            match stand {
                Stand::Reached => reached.targets.push(target),
                Stand::Seen => reached.seen_only += 1,
                Stand::Unseen => {}
            }
        }
        reached
    }

    /// Does he hold these permissions on a host?
    fn holds_all(&self, rights: &[Right], target: &Target) -> bool {
        let own = match &self.who {
            Principal::Server => return true,
            Principal::Instance(_) => return rights.is_empty(),
            Principal::Account(own) => own,
        };
        let (id, name, compartment) = (target.id.to_string(), target.name.clone(), target.compartment.clone());
        let about = About::one(Kind::Instance, &Lying { id, name, compartment }).labelled(&target.labels);
        rights.iter().all(|right| holds_on(&self.loaded, own, *right, self.operation, &about, self.now))
    }

    fn stand(&self, compartment: &str, id: &str, name: &str, labels: &Labels) -> Stand {
        if !is_below(compartment, &self.compartment) {
            return Stand::Unseen;
        }
        let own = match &self.who {
            Principal::Server => return Stand::Reached,
            Principal::Instance(_) => return Stand::Unseen,
            Principal::Account(own) => own,
        };
        let lying = Lying { id: id.to_owned(), name: name.to_owned(), compartment: compartment.to_owned() };
        let about = About::one(Kind::Instance, &lying).labelled(labels);
        let holds =
            |name| Right::find(name).is_some_and(|right| holds_on(&self.loaded, own, right, self.operation, &about, self.now));
        match (holds(INSPECT), holds(PATCH)) {
            (true, true) => Stand::Reached,
            (true, false) => Stand::Seen,
            (false, _) => Stand::Unseen,
        }
    }
}

/// Who made something, in whose name it goes on, and where it lies.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// For people.
    pub(super) by: String,
    /// The key of the principal.
    pub(super) owner: String,
    /// Path of the compartment.
    pub(super) compartment: String,
}

impl Made {
    /// By this caller, here. A narrowed token stays narrow: what it makes goes on in the token's name, not its user's.
    pub(super) fn by(who: &Principal, compartment: String) -> Result<Made> {
        Ok(Made { by: who.name(), owner: owner_key(who)?, compartment })
    }
}

/// In whose name something goes on that this caller makes.
pub(super) fn owner_key(who: &Principal) -> Result<String> {
    match who.account() {
        Some(own) if own.narrowed.is_some() => match own.token {
            Some(token) => Ok(format!("token {token}")),
            None => {
                let message = "what is narrowed and no access token makes nothing that goes on by itself".to_owned();
                Err(Error::Forbidden(message))
            }
        },
        _ => Ok(who.key()),
    }
}

impl Control {
    /// Lets something new be made: in the compartment `asked`, else in the tenancy if the caller may there, else in the one
    /// topmost compartment in which he may. Says in which.
    pub(super) async fn act_in<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        asked: Option<&str>,
        text: String,
    ) -> Result<(Act<'a>, String)> {
        let path = match asked {
            Some(asked) => return self.act_where_asked(ctx, operation, asked, text).await,
            None => match self.scope_of(&ctx.who, operation, None, ctx.now).await? {
                Scope::Everywhere => ROOT.to_owned(),
                Scope::In(paths) => topmost(paths)?,
            },
        };
        let act = self.act_on(ctx, operation, About::within(&path, text)).await?;
        Ok((act, path))
    }

    async fn act_where_asked<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        asked: &str,
        text: String,
    ) -> Result<(Act<'a>, String)> {
        let path = self.compartment_path(asked).await?;
        let act = self.act_on(ctx, operation, About::within(&path, text)).await;
        Ok((self.unless_unknown(ctx, &path, asked, act).await?, path))
    }

    /// A refusal about a compartment of which the caller may know nothing: it is as good as none.
    pub(super) async fn unless_unknown<T>(&self, ctx: &OpCtx, path: &str, asked: &str, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(e) if e.kind() == ErrorKind::Forbidden && !self.knows_compartment(ctx, path).await? => {
                Err(Error::NotFound(format!("compartment {}", cut(asked, NAME_MAX_BYTES))))
            }
            other => other,
        }
    }

    /// May the caller see the compartment itself, or hosts in it?
    pub(super) async fn knows_compartment(&self, ctx: &OpCtx, path: &str) -> Result<bool> {
        let asked = [("compartment.list", Permission::AccessManage), ("instance.list", Permission::InstanceRead)];
        for (operation, permission) in asked {
            if self.scope_of(&ctx.who, operation, Some(permission), ctx.now).await?.holds_in(path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What somebody reaches from a compartment by an operation.
    pub(crate) async fn reach(
        &self,
        who: &Principal,
        operation: &'static str,
        compartment: &str,
        now: Timestamp,
    ) -> Result<Reach> {
        let loaded = self.access().await?;
        let is_conditional = who.account().is_some_and(|own| {
            let mut rights = [INSPECT, PATCH].into_iter().filter_map(Right::find);
            rights.any(|right| is_conditional(&loaded.compiled, &own.subject, right))
        });
        Ok(Reach { compartment: compartment.to_owned(), who: who.clone(), operation, loaded, now, is_conditional })
    }

    /// Does a statement about somebody and this permission look at single things? Then no list of compartments says where they
    /// hold it.
    pub(super) async fn looks_at_hosts(&self, who: &Principal, right: &str) -> Result<bool> {
        let (Some(own), Some(right)) = (who.account(), Right::find(right)) else { return Ok(false) };
        Ok(is_conditional(&self.access().await?.compiled, &own.subject, right))
    }

    /// What a job reaches now, by the rights of whoever made it. Refused, with the reason, when he is there no more.
    pub(crate) async fn reach_of(&self, job: &JobRecord, now: Timestamp) -> Result<Reach> {
        let who = self.account_by_key(&job.owner).await?.map_err(Error::Forbidden)?;
        self.reach(&who, operation_of(&job.origin), &job.compartment, now).await
    }

    /// The hosts that a filter chooses among those of `reach`, by name. What it asks of packages, updates, advisories and CVEs
    /// is answered only of hosts of which whoever reaches them may read that.
    pub(crate) async fn reached(&self, reach: &Reach, filter: &InstanceFilter, now: Timestamp) -> Result<Reached> {
        let mut chosen = self.targets_of(filter, now).await?;
        if let Some(text) = &filter.query {
            let query = self.read_query("instanceFilter.query", text)?;
            let mut rights: Vec<Right> =
                query.section_terms().into_iter().filter_map(|term| Right::find(read_by(term))).collect();
            rights.dedup();
            chosen.retain(|target| reach.holds_all(&rights, target));
        }
        Ok(reach.sort(chosen))
    }

    /// Refuses hosts that `filter` names and that `reach` does not hold: those that are not there and those that may not be
    /// seen or patched alike.
    pub(super) async fn check_named(&self, field: &str, filter: &InstanceFilter, reach: &Reach, found: &[Target]) -> Result<()> {
        let mut unknown = Vec::new();
        for name in &filter.instances {
            if found.iter().any(|t| t.name == *name || t.id.to_string() == *name) {
                continue;
            }
            // Hosts that are not active, or left out by another criterion, may well be named.
            let is_reached = match self.resolve(name).await {
                Ok(host) => {
                    let id = host.id.to_string();
                    reach.stand(&host.compartment, &id, &host.name, &host.labels) == Stand::Reached
                }
                Err(e) if e.kind() == ErrorKind::NotFound => false,
                Err(e) => return Err(e),
            };
            if !is_reached {
                unknown.push(name);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let more = unknown.len().saturating_sub(NAMED_MAX);
        let named: Vec<&str> = unknown.iter().take(NAMED_MAX).map(|name| cut(name, NAME_MAX_BYTES)).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let place = if reach.compartment == ROOT { String::new() } else { format!(" in compartment {}", reach.compartment) };
        let message = format!("names what is no instance that you may patch{place}: {}{more}", named.join(", "));
        Err(Error::invalid(&format!("{field}.instances"), message))
    }

    /// Why no order of a job goes to a host any more in the name of whoever started it; `None`: it may. A token that has run
    /// out since is no reason: it was good when the job began, and rollouts take longer than such tokens live.
    pub(super) async fn may_no_more(&self, job: &JobRecord, host: InstanceId, now: Timestamp) -> Result<Option<String>> {
        let who = match self.account_of_key(&job.owner, true).await? {
            Ok(Principal::Server) => return Ok(None),
            Ok(who) => who,
            Err(why) => return Ok(Some(format!("whoever started the job may do nothing any more: {why}"))),
        };
        let Some(host) = instances::find(&mut *self.read().await?, host).await? else { return Ok(None) };
        let reach = self.reach(&who, operation_of(&job.origin), &job.compartment, now).await?;
        let stand = reach.stand(&host.compartment, &host.id.to_string(), &host.name, &host.labels);
        Ok((stand != Stand::Reached).then(|| format!("{}, who started the job, may not patch this host any more", who.name())))
    }

    /// Whose a job is, as the key of a principal: what a narrowed token made is its user's own, whatever became of the token.
    /// `None`: nobody knows any more.
    pub(super) async fn holder_of(&self, owner: &str) -> Result<Option<String>> {
        let Some(("token", id)) = owner.split_once(' ') else { return Ok(Some(owner.to_owned())) };
        let Ok(id) = id.parse::<AccessTokenId>() else { return Ok(None) };
        let mut c = self.read().await?;
        let Some(token) = access_tokens::find(&mut c, id).await? else { return Ok(None) };
        let Some(user) = token.user else { return Ok(Some(owner.to_owned())) };
        let found = users::find(&mut c, user.id).await?;
        Ok(found.map(|user| {
            let kind = match user.kind {
                UserKind::User => AccountKind::User,
                UserKind::ServiceAccount => AccountKind::ServiceAccount,
            };
            format!("{} {}", kind.as_str(), user.id)
        }))
    }

    /// The principal with this key, with the rights it has now. `Err`: why nothing may be done in its name any more.
    pub(crate) async fn account_by_key(&self, key: &str) -> Result<std::result::Result<Principal, String>> {
        self.account_of_key(key, false).await
    }

    /// The same; `expired_too`: also by a token that has run out.
    async fn account_of_key(&self, key: &str, expired_too: bool) -> Result<std::result::Result<Principal, String>> {
        match key.split_once(' ') {
            None if key.is_empty() || key == "server" => Ok(Ok(Principal::Server)),
            Some(("token", id)) => {
                let Ok(id) = id.parse::<AccessTokenId>() else { return Ok(Err(format!("{key} is not known"))) };
                let token = access_tokens::find(&mut *self.read().await?, id).await?;
                Ok(match token {
                    None => Err(format!("access token {id} is there no more")),
                    Some(token) if token.revoked => Err(format!("access token {} was revoked", token.name)),
                    Some(token) if !expired_too && token.expires_at.is_some_and(|at| at <= self.now()) => {
                        Err(format!("access token {} has expired", token.name))
                    }
                    Some(token) => match self.account_by_token(&token).await {
                        Ok(who) => Ok(who),
                        Err(Error::Unauthenticated(why)) => Err(why.to_owned()),
                        Err(other) => return Err(other),
                    },
                })
            }
            Some(("instance", id)) => match id.parse::<InstanceId>() {
                Ok(id) => self.account_of_instance(id).await,
                Err(_) => Ok(Err(format!("{key} is not known"))),
            },
            Some(("user" | "service-account", id)) => {
                let Ok(id) = id.parse::<UserId>() else { return Ok(Err(format!("{key} is not known"))) };
                match self.account_of_user(id, false, None).await {
                    Ok(who) => Ok(Ok(who)),
                    Err(Error::Unauthenticated(_)) => Ok(Err(format!("{key} was deleted or is disabled"))),
                    Err(other) => Err(other),
                }
            }
            _ => Ok(Err(format!("{key} is not known"))),
        }
    }

    /// Why no run of a deployment in this compartment may start in somebody's name; `None`: it may.
    pub(super) async fn owner_lacks(
        &self,
        who: &Principal,
        name: &str,
        compartment: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        if !self.scope_of(who, RUN, None, now).await?.holds_in(compartment) {
            return Ok(Some(format!("{name}, in whose name it runs, may not do {RUN} in {compartment}")));
        }
        let reach = self.reach(who, RUN, compartment, now).await?;
        let somewhere = self.scope_of(who, "instance.match", None, now).await?.below(compartment, reach.loaded.paths());
        // Under a condition each host decides.
        if somewhere.is_nowhere() && !reach.is_conditional {
            return Ok(Some(format!("{name}, in whose name it runs, does not hold {PATCH} in {compartment}")));
        }
        Ok(None)
    }

    /// Refuses an edit that says another compartment than the one a thing lies in.
    pub(super) async fn stays(&self, asked: Option<&str>, compartment: &str) -> Result<()> {
        match asked {
            Some(asked) if self.compartment_path(asked).await.ok().as_deref() != Some(compartment) => {
                Err(Error::invalid("compartment", "does not change by an edit; move it"))
            }
            _ => Ok(()),
        }
    }
}

/// The operation by which a job came to be.
fn operation_of(origin: &JobOrigin) -> &'static str {
    match origin {
        JobOrigin::Asked => "patch-job.create",
        JobOrigin::Deployment { .. } => RUN,
        JobOrigin::Rerun { .. } => "patch-job.rerun",
        JobOrigin::Undo { .. } => "patch-job.undo",
    }
}

/// A compartment in which somebody may do what he may in all of them.
pub(super) fn first(scope: &Scope) -> &str {
    match scope {
        Scope::Everywhere => ROOT,
        Scope::In(paths) => paths.first().map_or(ROOT, String::as_str),
    }
}

/// The one compartment among these that lies in no other of them.
fn topmost(paths: Vec<String>) -> Result<String> {
    let is_top = |path: &&String| !paths.iter().any(|outer| outer != *path && is_below(path, outer));
    let tops: Vec<&String> = paths.iter().filter(is_top).collect();
    match tops.as_slice() {
        // Nowhere: the refusal is that of the tenancy.
        [] => Ok(ROOT.to_owned()),
        [one] => Ok((*one).clone()),
        several => {
            let named: Vec<&str> = several.iter().take(NAMED_MAX).map(|path| path.as_str()).collect();
            let message = format!("is needed, as you may do this in several: {}", named.join(", "));
            Err(Error::invalid("compartment", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::topmost;

    #[test]
    fn the_place_of_something_new_is_the_one_topmost_compartment() {
        let of = |paths: &[&str]| topmost(paths.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(of(&[]).expect("refused later"), "/");
        assert_eq!(of(&["/", "/A", "/B"]).expect("one"), "/");
        assert_eq!(of(&["/A", "/A/web", "/A/web/x"]).expect("one"), "/A");
        let several = of(&["/A/web", "/AB", "/B"]).expect_err("which?").to_string();
        assert!(several.contains("/A/web, /AB, /B"), "{several}");
    }
}
