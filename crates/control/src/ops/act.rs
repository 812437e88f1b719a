//! Authorisation and its trace: an [`Act`] exists only for a caller who may, and every end of it is recorded.

use std::collections::BTreeMap;

use drydock_domain::access::decide::{Decision, Why, decide};
use drydock_domain::access::operations::{COARSE, asked};
use drydock_domain::access::permissions::Right;
use drydock_domain::access::request::{Facts, Resource};
use drydock_domain::access::scope::{maybe_somewhere, scope};
use drydock_domain::access::{Permission, Scope};
use drydock_domain::audit::{Outcome, Record};
use drydock_domain::ids::{ApprovalId, InstanceId};
use drydock_store::Tx;
use drydock_store::approvals;
use drydock_store::compartments::{self, Kind, Lying};
use jiff::Timestamp;
use serde::Serialize;

use crate::access_part::{Loaded, ROOT};
use crate::audit_part::{CallFrom, took};
use crate::context::{Account, OpCtx, Principal};
use crate::error::{Error, Result};
use crate::{Control, Secret};

/// Longest name of a thing repeated in a refusal, bytes.
const ASKED_MAX_BYTES: usize = 255;

/// A mutation that the caller may do.
pub(super) struct Act<'a> {
    control: &'a Control,
    /// Its audit record, but for how it ends.
    draft: Record<'static>,
    /// What approved it, where a rule asks for that; used up with the mutation.
    approval: Option<ApprovalId>,
}

impl Act<'_> {
    /// With what was asked for, for the record; must not hold a secret.
    pub(super) fn asking<T: Serialize + ?Sized>(mut self, parameters: &T) -> Self {
        self.draft.parameters = drydock_domain::audit::parameters(parameters).into();
        self
    }

    /// Records, in the mutation's own transaction, that it was done.
    pub(super) async fn allowed(&self, tx: &mut Tx) -> Result<()> {
        self.use_approval(tx).await?;
        self.control.audit_in(tx, self.ended(Outcome::Allowed)).await
    }

    async fn use_approval(&self, tx: &mut Tx) -> Result<()> {
        let Some(approval) = self.approval else { return Ok(()) };
        if approvals::take(tx, approval).await? {
            return Ok(());
        }
        Err(Error::conflict(format!("approval {approval} was used for the same request a moment ago")))
    }

    /// The same, for an object that has its name only now.
    pub(super) async fn allowed_on(&self, tx: &mut Tx, resource: &str) -> Result<()> {
        self.use_approval(tx).await?;
        let record = Record { resource: resource.to_owned().into(), ..self.ended(Outcome::Allowed) };
        self.control.audit_in(tx, record).await
    }

    /// Records a failure (in its own transaction: the mutation's is gone) and hands the result on.
    pub(super) async fn settle<T>(self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let outcome = if matches!(error, Error::Forbidden(_)) { Outcome::Denied } else { Outcome::Failed };
            self.record_alone(outcome, error.to_string()).await;
        }
        result
    }

    async fn record_alone(&self, outcome: Outcome, error: String) {
        self.control.audit_alone(Record { error: error.into(), ..self.ended(outcome) }).await;
    }

    fn ended(&self, outcome: Outcome) -> Record<'static> {
        let mut record = self.draft.clone();
        record.outcome = outcome.as_str().into();
        record.duration_ms = Some(took(record.at, self.control.now()));
        record
    }
}

/// At most `max` bytes of a text, ending at a character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    match text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= max).last() {
        Some(end) => &text[..end],
        None => "",
    }
}

/// A host that a mutation concerns: the path of its compartment, and its labels.
pub(super) type ConcernedHost = (String, BTreeMap<String, String>);

/// What an operation is about: where the thing lies, and which it is.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Path of the compartment.
    pub(crate) compartment: String,
    /// As audit records name it.
    pub(crate) text: String,
    /// The thing itself, if it is there already.
    thing: Option<Thing>,
}

/// One thing.
#[derive(Debug, Clone)]
struct Thing {
    words: Words,
    id: String,
    name: String,
    /// What the caller calls it: the refusal says no more than that.
    asked: String,
    /// `false`: there is no such thing, and whoever may not know that is told the very same.
    is_there: bool,
    labels: Vec<(String, String)>,
}

impl Thing {
    fn not_found(&self) -> Error {
        Error::NotFound(format!("{} {}", self.words.shown, cut(&self.asked, ASKED_MAX_BYTES)))
    }
}

impl About {
    /// Something of the tenancy itself, or a whole list.
    pub(crate) fn tenancy(text: impl Into<String>) -> About {
        About::within(ROOT, text)
    }

    /// Something that is about to be made in this compartment.
    pub(crate) fn within(compartment: &str, text: impl Into<String>) -> About {
        About { compartment: compartment.to_owned(), text: text.into(), thing: None }
    }

    /// A thing that is there.
    pub(crate) fn one(kind: Kind, lying: &Lying) -> About {
        About::of(words(kind), &lying.compartment, &lying.id, &lying.name)
    }

    /// A thing that somebody asked for and that is not there: an operation on it ends as one on a thing that may not be seen.
    pub(crate) fn missing(kind: Kind, asked: &str) -> About {
        let mut about = About::of(words(kind), ROOT, "", cut(asked, ASKED_MAX_BYTES));
        if let Some(thing) = &mut about.thing {
            (thing.is_there, thing.name) = (false, String::new());
        }
        about
    }

    /// Is there such a thing? (Something new is not there yet.)
    pub(crate) fn is_there(&self) -> bool {
        self.thing.as_ref().is_some_and(|thing| thing.is_there)
    }

    /// It is not there, see [`About::missing`].
    pub(crate) fn absent(mut self) -> About {
        if let Some(thing) = &mut self.thing {
            (thing.is_there, thing.name) = (false, String::new());
        }
        self
    }

    /// As the caller called it.
    pub(crate) fn asked(mut self, asked: &str) -> About {
        if let Some(thing) = &mut self.thing {
            thing.asked = asked.to_owned();
        }
        self
    }

    /// A thing of a type that no table of [`compartments`] holds.
    pub(crate) fn named(noun: &'static str, of_type: &'static str, compartment: &str, id: &str, name: &str) -> About {
        About::of(Words { noun, shown: noun, of_type }, compartment, id, name)
    }

    fn of(words: Words, compartment: &str, id: &str, name: &str) -> About {
        let text = format!("{} {name}", words.noun);
        let [id, name, asked] = [id, name, name].map(str::to_owned);
        let thing = Thing { words, id, name, asked, is_there: true, labels: Vec::new() };
        About { compartment: compartment.to_owned(), text, thing: Some(thing) }
    }

    /// The labels of the thing, where they are known.
    pub(crate) fn labels(&self) -> Option<BTreeMap<String, String>> {
        self.thing.as_ref().map(|thing| thing.labels.iter().cloned().collect())
    }

    /// As statements see it.
    pub(crate) fn resource(&self, loaded: &Loaded) -> Resource {
        let resource = Resource::in_compartment(loaded.id_of(&self.compartment).unwrap_or_default());
        match &self.thing {
            Some(thing) => resource.one(thing.words.of_type, &thing.id, &thing.name),
            None => resource,
        }
    }

    /// The circumstances of a request about it.
    pub(crate) fn facts(&self, operation: &str, now: Timestamp) -> Facts {
        facts(operation, now, self.thing.as_ref())
    }

    /// It is not there, see [`About::missing`].
    pub(crate) fn gone(mut self) -> About {
        if let Some(thing) = &mut self.thing {
            (thing.is_there, thing.name) = (false, String::new());
        }
        self
    }

    /// A compartment itself.
    pub(crate) fn compartment(path: &str) -> About {
        About::named("compartment", "drydock-compartment", path, path, path)
    }

    /// With the labels of the thing, for conditions.
    pub(crate) fn labelled<'a>(mut self, labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> About {
        if let Some(thing) = &mut self.thing {
            thing.labels = labels.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        }
        self
    }

    /// Named otherwise in audit records.
    pub(crate) fn called(self, text: impl Into<String>) -> About {
        About { text: text.into(), ..self }
    }
}

/// What things of a kind are called.
#[derive(Debug, Clone, Copy)]
struct Words {
    /// In audit records.
    noun: &'static str,
    /// By people.
    shown: &'static str,
    /// Their type in statements.
    of_type: &'static str,
}

fn words(kind: Kind) -> Words {
    let (noun, shown, of_type) = match kind {
        Kind::Instance => ("instance", "instance", "drydock-instance"),
        Kind::Group => ("group", "group", "drydock-group"),
        Kind::Profile => ("enrolment-profile", "enrolment profile", "drydock-enrolment-profile"),
        Kind::Source => ("software-source", "software source", "drydock-software-source"),
        Kind::Environment => ("environment", "lifecycle environment", "drydock-environment"),
        Kind::PatchJob => ("patch-job", "patch job", "drydock-patch-job"),
        Kind::Deployment => ("patch-deployment", "patch deployment", "drydock-patch-deployment"),
        Kind::Window => ("maintenance-window", "maintenance window", "drydock-maintenance-window"),
        Kind::Freeze => ("freeze-calendar", "freeze calendar", "drydock-freeze-calendar"),
        Kind::RebootSlots => ("reboot-slot-group", "group of reboot slots", "drydock-reboot-slot-group"),
        Kind::Assignment => ("policy-assignment", "policy assignment", "drydock-os-policy-assignment"),
        Kind::Preview => ("policy-preview", "policy preview", "drydock-os-policy-assignment"),
        Kind::Secret => ("secret", "secret", "drydock-secret"),
        Kind::Exception => ("exception", "exception", "drydock-vulnerability-exception"),
    };
    Words { noun, shown, of_type }
}

impl Words {
    /// The permission to know that a thing of this kind is there.
    fn inspect(self) -> Option<Right> {
        Right::find(&format!("{}_INSPECT", self.of_type.replace('-', "_")))
    }
}

/// A decision about an operation.
struct Verdict {
    allowed: bool,
    /// The statement, or why not.
    reason: String,
    /// Whoever asks may know that the thing is there.
    sees: bool,
}

impl Control {
    /// Lets a mutation of the tenancy itself begin, or records the denial.
    pub(super) async fn act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        resource: String,
        permission: Permission,
    ) -> Result<Act<'a>> {
        let about = About::tenancy(resource);
        let act = self.begin_act(ctx, operation, Some(permission), about.clone()).await?;
        self.approved(ctx, operation, &about, &[], act).await
    }

    /// Lets a mutation of one thing, or in one compartment, begin, or records the denial. Whoever may not know that the thing
    /// is there is told that it is not.
    pub(super) async fn act_on<'a>(&'a self, ctx: &'a OpCtx, operation: &'static str, about: About) -> Result<Act<'a>> {
        let act = self.begin_act(ctx, operation, None, about.clone()).await?;
        self.approved(ctx, operation, &about, &[], act).await
    }

    /// The same for a mutation whose name stands for reading, too.
    pub(super) async fn act_as<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        permission: Permission,
        about: About,
    ) -> Result<Act<'a>> {
        let act = self.begin_act(ctx, operation, Some(permission), about.clone()).await?;
        self.approved(ctx, operation, &about, &[], act).await
    }

    /// Lets it go on if no rule asks for an approval, or there is one. `hosts`: those it concerns beside the thing itself.
    pub(super) async fn approved<'a>(
        &'a self,
        ctx: &OpCtx,
        operation: &str,
        about: &About,
        hosts: &[ConcernedHost],
        act: Act<'a>,
    ) -> Result<Act<'a>> {
        if act.approval.is_some() {
            return Ok(act);
        }
        match self.approval_of(ctx, operation, about, hosts).await {
            Ok(approval) => Ok(Act { approval, ..act }),
            Err(error) => act.settle(Err(error)).await,
        }
    }

    /// Refuses a thing that is not there and one that the caller may not know of, both in the same words.
    pub(super) async fn must_know(&self, ctx: &OpCtx, operation: &'static str, about: &About) -> Result<()> {
        let Some(thing) = &about.thing else { return Ok(()) };
        let knows = match (&ctx.who, thing.words.inspect()) {
            (Principal::Server, _) => true,
            (Principal::Account(own), Some(inspect)) => holds_on(&*self.access().await?, own, inspect, operation, about, ctx.now),
            (Principal::Account(_) | Principal::Instance(_), _) => false,
        };
        if thing.is_there && knows { Ok(()) } else { Err(thing.not_found()) }
    }

    /// Could the caller do this? Leaves no record. `permission`: see [`Control::begin_act`].
    pub(super) async fn could(
        &self,
        ctx: &OpCtx,
        operation: &'static str,
        permission: Option<Permission>,
        about: &About,
    ) -> Result<bool> {
        Ok(self.decide(ctx, operation, permission, about).await?.allowed)
    }

    /// Decides about an operation; one whose name stands for reading and for changing is told by `permission`. Asks for no
    /// approval: mutations begin with [`Control::act_as`] and its like.
    pub(super) async fn begin_act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        permission: Option<Permission>,
        about: About,
    ) -> Result<Act<'a>> {
        let verdict = self.decide(ctx, operation, permission, &about).await?;
        let act = Act {
            control: self,
            draft: Record {
                compartment: about.compartment.clone().into(),
                resource: about.text.clone().into(),
                decision: if verdict.allowed { "allow" } else { "deny" }.into(),
                reason: verdict.reason.clone().into(),
                ..self.audit_of(ctx, operation)
            },
            approval: None,
        };
        let missing = about.thing.as_ref().filter(|thing| !thing.is_there);
        if verdict.allowed && missing.is_none() {
            return Ok(act);
        }
        match verdict.allowed {
            true => act.record_alone(Outcome::Failed, "it is not there".to_owned()).await,
            false => act.record_alone(Outcome::Denied, String::new()).await,
        }
        match &about.thing {
            Some(thing) if !verdict.sees || !thing.is_there => Err(thing.not_found()),
            _ => Err(Error::Forbidden(format!("{} may not do {operation}: {}", ctx.who.name(), verdict.reason))),
        }
    }

    /// Lets a read of the tenancy itself happen, or records the denial.
    pub(super) async fn may_read(&self, ctx: &OpCtx, operation: &'static str, permission: Permission) -> Result<()> {
        let act = self.begin_act(ctx, operation, Some(permission), About::tenancy("")).await?;
        self.audit_read(ctx, act.ended(Outcome::Allowed));
        Ok(())
    }

    /// Lets a read of one thing, or in one compartment, happen, or records the denial.
    pub(super) async fn may_see(&self, ctx: &OpCtx, operation: &'static str, about: About) -> Result<()> {
        let act = self.begin_act(ctx, operation, None, about).await?;
        self.audit_read(ctx, act.ended(Outcome::Allowed));
        Ok(())
    }

    /// Where the caller may do an operation, for lists: what lies elsewhere is left out. Whoever may nowhere is refused.
    pub(super) async fn scope(&self, ctx: &OpCtx, operation: &'static str, permission: Permission) -> Result<Scope> {
        let scope = self.scope_of(&ctx.who, operation, Some(permission), ctx.now).await?;
        if scope.is_nowhere() {
            self.may_read(ctx, operation, permission).await?;
        } else {
            let shown = match &scope {
                Scope::Everywhere => "everywhere".to_owned(),
                Scope::In(paths) => format!("in {}", paths.join(", ")),
            };
            self.audit_read(ctx, Record { reason: shown.into(), ..self.audit_of(ctx, operation) });
        }
        Ok(scope)
    }

    /// Where somebody may do an operation; maybe nowhere.
    pub(super) async fn scope_of(
        &self,
        who: &Principal,
        operation: &'static str,
        permission: Option<Permission>,
        now: Timestamp,
    ) -> Result<Scope> {
        let own = match who {
            Principal::Server => return Ok(Scope::Everywhere),
            Principal::Instance(_) => return Ok(Scope::In(Vec::new())),
            Principal::Account(own) => own,
        };
        let Some(asked) = asked(operation, permission) else { return Ok(Scope::In(Vec::new())) };
        if own.narrowed.is_some_and(|narrowed| asked.rights.iter().any(|right| !narrowed.has(*right))) {
            return Ok(Scope::In(Vec::new()));
        }
        let loaded = self.access().await?;
        Ok(scope(&loaded.compiled, &own.subject, &asked.rights, &facts(operation, now, None)))
    }

    /// Where the thing with this name or id lies. That it is not there is told by what is asked of it, see
    /// [`Control::act_on`]: then whoever may not see it is told the very same.
    pub(super) async fn about(&self, kind: Kind, name_or_id: &str) -> Result<About> {
        let found = compartments::find(&mut *self.read().await?, kind, name_or_id).await?;
        Ok(found.map_or_else(|| About::missing(kind, name_or_id), |lying| About::one(kind, &lying).asked(name_or_id)))
    }

    /// May somebody do what a coarse permission stands for, somewhere? For showing buttons; decides nothing.
    pub async fn might(&self, who: &Principal, permission: Permission) -> Result<bool> {
        let own = match who {
            Principal::Server => return Ok(true),
            Principal::Instance(_) => return Ok(false),
            Principal::Account(own) => own,
        };
        let loaded = self.access().await?;
        let names = COARSE.iter().find(|(coarse, _)| *coarse == permission).map_or(&[][..], |(_, names)| *names);
        let held = |right: &Right| own.narrowed.is_none_or(|narrowed| narrowed.has(*right));
        let mut rights = names.iter().filter_map(|name| Right::find(name)).filter(held);
        Ok(rights.any(|right| maybe_somewhere(&loaded.compiled, &own.subject, right)))
    }

    async fn decide(
        &self,
        ctx: &OpCtx,
        operation: &'static str,
        permission: Option<Permission>,
        about: &About,
    ) -> Result<Verdict> {
        let own = match &ctx.who {
            Principal::Server => return Ok(Verdict { allowed: true, reason: "it is the server itself".to_owned(), sees: true }),
            // An agent speaks for its own host only, through its own operations.
            Principal::Instance(_) => {
                return Ok(Verdict { allowed: false, reason: "an agent speaks for its own host only".to_owned(), sees: false });
            }
            Principal::Account(own) => own,
        };
        let Some(asked) = asked(operation, permission) else {
            return Ok(Verdict { allowed: false, reason: "nobody may do that".to_owned(), sees: false });
        };
        let loaded = self.access().await?;
        let id = loaded.id_of(&about.compartment).unwrap_or_default();
        let mut resource = Resource::in_compartment(id);
        if let Some(thing) = &about.thing {
            resource = resource.one(thing.words.of_type, &thing.id, &thing.name);
        }
        let facts = facts(operation, ctx.now, about.thing.as_ref());
        let holds = |right: Right| -> std::result::Result<String, String> {
            if own.narrowed.is_some_and(|narrowed| !narrowed.has(right)) {
                return Err(format!("the token that was shown is narrowed and does not give {right}"));
            }
            match decide(&loaded.compiled, &own.subject, right, &resource, &facts) {
                Decision::Allow { by } => Ok(by.to_string()),
                // Or a `deny any-user …` would shut everybody out for ever.
                Decision::Deny { why: Why::Denied(_) } if operation.starts_with("access-policy.") && own.administers() => {
                    Ok("administrators always reach access policies".to_owned())
                }
                Decision::Deny { why: Why::Denied(by) } => Err(format!("{right} in {} is denied by {by}", about.compartment)),
                Decision::Deny { .. } => {
                    Err(format!("no statement gives {right} in {}; ask an administrator", about.compartment))
                }
            }
        };
        let own = about.thing.as_ref().map(|thing| thing.words.inspect());
        let inspect = own.unwrap_or(asked.inspect);
        let sees = || inspect.is_some_and(|inspect| holds(inspect).is_ok());
        let mut reason = String::new();
        // What is not to be seen is not there, whatever else somebody holds.
        let beside = inspect.filter(|_| about.thing.is_some());
        for right in beside.iter().chain(&asked.rights) {
            match holds(*right) {
                Ok(by) => reason = by,
                Err(why) => return Ok(Verdict { allowed: false, reason: why, sees: sees() }),
            }
        }
        Ok(Verdict { allowed: !asked.rights.is_empty(), reason, sees: true })
    }

    /// Something that everybody may do with their own account: no statement is asked.
    pub(super) fn own_act(&self, ctx: &OpCtx, operation: &'static str, resource: impl Into<String>) -> Act<'_> {
        let draft =
            Record { resource: resource.into().into(), reason: "their own account".into(), ..self.audit_of(ctx, operation) };
        Act { control: self, draft, approval: None }
    }

    /// A mutation by a host about itself; its right to it was settled by its certificate or token.
    pub(super) fn act_of_host(
        &self,
        from: &CallFrom,
        who: &str,
        operation: &'static str,
        resource: String,
        now: Timestamp,
    ) -> Act<'_> {
        let draft = Record {
            resource: resource.into(),
            reason: "its own certificate or token".into(),
            ..self.audit_of_host(from, who, operation, now)
        };
        Act { control: self, draft, approval: None }
    }

    /// A new secret: 256 random bits behind a prefix that says what it is.
    pub(super) fn new_secret(&self, prefix: &str) -> Result<Secret> {
        use base64::Engine;
        use ring::rand::SecureRandom;
        let mut bytes = [0u8; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::Internal { doing: "make a secret", source: "the machine gives no random bytes".into() })?;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        Ok(Secret::new(format!("{prefix}{text}")))
    }
}

/// Does somebody hold a permission on a thing? For choosing among many; leaves no record.
pub(super) fn holds_on(loaded: &Loaded, own: &Account, right: Right, operation: &str, about: &About, now: Timestamp) -> bool {
    let id = loaded.id_of(&about.compartment).unwrap_or_default();
    let mut resource = Resource::in_compartment(id);
    if let Some(thing) = &about.thing {
        resource = resource.one(thing.words.of_type, &thing.id, &thing.name);
    }
    own.narrowed.is_none_or(|narrowed| narrowed.has(right))
        && decide(&loaded.compiled, &own.subject, right, &resource, &facts(operation, now, about.thing.as_ref())).is_allowed()
}

/// The circumstances of a request. Names of variables are ours, so none is refused.
fn facts(operation: &str, now: Timestamp, thing: Option<&Thing>) -> Facts {
    let with = |facts: Facts, name: &str, value: &str| facts.clone().with(name, value).unwrap_or(facts);
    let mut facts = with(Facts::at(now), "request.operation", operation);
    let Some(thing) = thing else { return facts };
    let own = match thing.words.noun {
        "instance" => Some("target.managed-instance.id"),
        "group" => Some("target.managedInstanceGroup.id"),
        "environment" => Some("target.lifecycleEnvironment.id"),
        _ => None,
    };
    if let Some(own) = own {
        facts = with(facts, own, &thing.id);
    }
    for (key, value) in &thing.labels {
        facts = with(facts, &format!("target.resource.label.{key}"), value);
    }
    facts
}

/// The instance an agent's call is about.
pub(super) fn own_instance(ctx: &OpCtx) -> Result<InstanceId> {
    match &ctx.who {
        Principal::Instance(id) => Ok(*id),
        other => Err(Error::Forbidden(format!("only an agent may do this, not {}", other.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_text_ends_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("é", 1), "");
    }
}
