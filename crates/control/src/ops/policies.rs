//! Assignments of OS policies as people apply, see and compare them. Rollouts are in [`super::policy_rollouts`].

use std::collections::BTreeMap;

use drydock_domain::access::scope::is_below;
use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::AssignmentId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::policy::standing::{
    AppliedAssignment, ApplyOutcome, ComplianceCounts, HostPhase, PolicyAssignment, PolicyHost, PolicyRevision,
    PolicyRevisionDiff, RolloutProgress, RolloutState,
};
use drydock_domain::policy::{ComplianceState, Conflict, OsPolicyAssignment, resolve};
use drydock_domain::rollout::HaltCause;
use drydock_domain::validate::Problems;
use drydock_store::compartments::Kind;
use drydock_store::policies::{AssignmentRecord, RevisionRecord, Settings};
use drydock_store::policy_hosts::{self, PolicyInputs};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{Connection, commit, compliance, policies, policy_health};

use super::RACE_RETRIES;
use super::act::{About, Act, cut};
use super::policy_documents::{PolicyWorld, facts_of};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Assignments of one server, count.
const ASSIGNMENTS_MAX: u64 = 1000;
/// Conflicts told in one refusal, count.
const CONFLICTS_TOLD_MAX: usize = 20;
/// Overridden resources told of, count.
const OVERRIDDEN_TOLD_MAX: usize = 200;
/// Hosts read at once, count.
pub(super) const HOSTS_AT_ONCE: u32 = 5000;
/// Lines of context in a diff, count.
const DIFF_CONTEXT: usize = 3;

/// What making one is.
pub(super) const CREATE: &str = "policy-assignment.create";
/// What giving one a new revision is.
pub(super) const EDIT: &str = "policy-assignment.edit";
/// In the place of an assignment that the caller may not see.
const ANOTHER: &str = "another assignment";

/// Where an assignment lies, or is made, and which of the two it is.
pub(super) struct Place {
    pub(super) compartment: String,
    pub(super) operation: &'static str,
}

/// How an assignment is applied.
#[derive(Debug, Clone, Default)]
pub struct ApplyAsk {
    /// Its name; absent: the document's.
    pub name: Option<String>,
    /// Why, for the revision.
    pub reason: String,
    /// Nothing is stored.
    pub dry_run: bool,
    /// It must not be there yet.
    pub create: bool,
    /// Path of the compartment in which a new one is made.
    pub compartment: Option<String>,
    /// The etag it is based on.
    pub if_match: Option<String>,
}

/// What somebody wants to do with a document that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyUse {
    /// Apply it.
    Apply,
    /// Ask what it would change.
    Preview,
}

impl Control {
    /// May the caller do this with any document at all? Asked before they are told what is wrong with theirs.
    pub async fn may_use_policy(&self, ctx: &OpCtx, what: PolicyUse) -> Result<()> {
        let operation = match what {
            PolicyUse::Apply => CREATE,
            PolicyUse::Preview => "policy-preview.create",
        };
        let edits = self.scope_of(&ctx.who, EDIT, None, ctx.now).await?;
        if what == PolicyUse::Apply && !edits.is_nowhere() {
            return Ok(());
        }
        self.scope(ctx, operation, Permission::PolicyManage).await.map(drop)
    }

    /// Makes an assignment or gives it a new revision, which is rolled out. A document that changes nothing changes nothing.
    /// It reaches hosts in its compartment and below.
    pub async fn apply_policy(&self, ctx: &OpCtx, document: OsPolicyAssignment, ask: &ApplyAsk) -> Result<AppliedAssignment> {
        let name = ask.name.clone().unwrap_or_else(|| document.id().to_owned());
        let about = self.about(Kind::Assignment, &name).await?;
        let text = format!("policy-assignment {}", cut(&name, 64));
        let (act, place) = if about.is_there() {
            let lies = about.compartment.clone();
            match self.act_on_hosts(ctx, EDIT, about, &document, ask).await {
                // Names are unique: that this one is taken cannot be kept from whoever may make one.
                Err(Error::NotFound(_)) => {
                    let (act, _) = self.act_in(ctx, CREATE, ask.compartment.as_deref(), text).await?;
                    return act.settle(Err(taken(&name))).await;
                }
                act => (act?, Place { compartment: lies, operation: EDIT }),
            }
        } else {
            let (act, compartment) = self.act_in(ctx, CREATE, ask.compartment.as_deref(), text.clone()).await?;
            let about = About::within(&compartment, text);
            let hosts = if ask.dry_run { Vec::new() } else { self.concerned_by(ctx, CREATE, &compartment, &document).await? };
            let act = self.approved(ctx, CREATE, &about, &hosts, act).await?;
            (act, Place { compartment, operation: CREATE })
        };
        let applied = self.try_apply(ctx, name, document, ask, &place, &act).await;
        act.settle(applied).await
    }

    async fn try_apply(
        &self,
        ctx: &OpCtx,
        name: String,
        mut document: OsPolicyAssignment,
        ask: &ApplyAsk,
        place: &Place,
        act: &Act<'_>,
    ) -> Result<AppliedAssignment> {
        if name.is_empty() {
            return Err(Error::invalid("name", "is needed: the assignment's id, such as web-servers"));
        }
        if !document.name.is_empty() && document.id() != name {
            return Err(Error::invalid("name", format!("is {}, and the request is about {}", document.id(), cut(&name, 64))));
        }
        document.name.clone_from(&name);
        document.validate()?;
        let mut problems = Problems::default();
        problems.text("reason", &ask.reason, DESCRIPTION_MAX_BYTES);
        problems.finish()?;
        let settings =
            Settings { description: std::mem::take(&mut document.description), rollout: std::mem::take(&mut document.rollout) };
        // Hosts get them with the revision, so they are of it.
        document.rollout.health_checks.clone_from(&settings.rollout.health_checks);
        let judged = self.judge(ctx, &name, &document, place).await?;
        for _ in 0..RACE_RETRIES {
            let before = policies::find_by_name(&mut *self.read().await?, &name).await?;
            check_tag(&name, before.as_ref(), ask)?;
            if let Some(before) = &before {
                // Made or moved since it was asked where it lies.
                if before.compartment != place.compartment || place.operation == CREATE {
                    return Err(taken(&name));
                }
                self.stays(ask.compartment.as_deref(), &before.compartment).await?;
            }
            let outcome = self.outcome(before.as_ref(), &document, &settings).await?;
            refuse_active(before.as_ref(), outcome)?;
            let mut applied = AppliedAssignment {
                outcome,
                dry_run: ask.dry_run,
                hosts: judged.hosts,
                overridden: judged.overridden.clone(),
                assignment: None,
            };
            if !ask.dry_run && outcome != ApplyOutcome::Unchanged {
                if !self.store_applied(ctx, before.as_ref(), (&name, &document, &settings), outcome, (ask, place), act).await? {
                    continue;
                }
                self.policies_moved();
            }
            let mut c = self.read().await?;
            if let Some(record) = policies::find_by_name(&mut c, &name).await? {
                applied.assignment = Some(self.shown(&mut c, record, true).await?);
            }
            return Ok(applied);
        }
        Err(busy(&name))
    }

    async fn outcome(
        &self,
        before: Option<&AssignmentRecord>,
        document: &OsPolicyAssignment,
        settings: &Settings,
    ) -> Result<ApplyOutcome> {
        let Some(before) = before else { return Ok(ApplyOutcome::Created) };
        let revision = self.revision(before.id, before.target).await?;
        let same = revision.is_some_and(|r| !r.deleted && r.document == *document);
        Ok(match (same, before.settings == *settings) {
            // What was cancelled half-way is rolled out when it is applied again.
            (true, _) if before.state == RolloutState::Cancelled => ApplyOutcome::NewRevision,
            (true, true) => ApplyOutcome::Unchanged,
            (true, false) => ApplyOutcome::Settings,
            (false, _) => ApplyOutcome::NewRevision,
        })
    }

    /// `false`: somebody else changed it meanwhile.
    async fn store_applied(
        &self,
        ctx: &OpCtx,
        before: Option<&AssignmentRecord>,
        (name, document, settings): (&str, &OsPolicyAssignment, &Settings),
        outcome: ApplyOutcome,
        (ask, place): (&ApplyAsk, &Place),
        act: &Act<'_>,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let mut record = match before {
            Some(before) => before.clone(),
            None => {
                if policies::count(&mut tx).await? >= ASSIGNMENTS_MAX {
                    return Err(Error::conflict(format!("there are {ASSIGNMENTS_MAX} policy assignments already; delete some")));
                }
                new_record(AssignmentId(self.mint(ctx.now)), name, &place.compartment, ctx)
            }
        };
        record.settings = settings.clone();
        record.updated_at = ctx.now;
        if outcome != ApplyOutcome::Settings {
            record.target += 1;
            record.deleted = false;
            record.policies = document.os_policies.iter().map(|p| p.id.clone()).collect();
            begin_rollout(&mut record, ctx);
        }
        match before {
            None => match policies::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Ok(false),
                other => other?,
            },
            Some(_) if !policies::update(&mut tx, &record).await? => return Ok(false),
            Some(_) => {}
        }
        if outcome != ApplyOutcome::Settings {
            let revision = revision_of(&record, document.clone(), false, &ask.reason, ctx);
            policies::insert_revision(&mut tx, &revision).await?;
        }
        act.allowed_on(&mut tx, &format!("policy-assignment {name}, revision {}", record.target)).await?;
        commit(tx).await?;
        Ok(true)
    }

    /// What the assignment means for the present fleet.
    ///
    /// # Errors
    /// It contradicts what other policies of the same priority want, or it is for hosts below on which the caller may not do
    /// this.
    pub(super) async fn judge(&self, ctx: &OpCtx, name: &str, document: &OsPolicyAssignment, place: &Place) -> Result<Judged> {
        let world = PolicyWorld::read(self).await?;
        let scope = self.scope_of(&ctx.who, place.operation, None, ctx.now).await?;
        let seen = self.scope_of(&ctx.who, "policy-assignment.list", None, ctx.now).await?;
        let mut others = Vec::new();
        for other in world.assignments.iter().filter(|a| a.name != name && !a.deleted) {
            others.extend(self.revision(other.id, other.target).await?.map(|revision| (other, revision)));
        }
        let mut all: Vec<(&str, &str, &OsPolicyAssignment)> =
            others.iter().map(|(a, r)| (a.name.as_str(), a.compartment.as_str(), &r.document)).collect();
        all.push((name, &place.compartment, document));
        all.sort_by_key(|(name, ..)| *name);
        let mut judged = Judged::default();
        let mut conflicts: BTreeMap<Conflict, u32> = BTreeMap::new();
        let mut last = None;
        loop {
            let hosts = policy_hosts::inputs(&mut *self.read().await?, last, HOSTS_AT_ONCE).await?;
            let Some(end) = hosts.last().map(|h| h.instance) else { break };
            for host in hosts.iter().filter(|host| is_below(&host.compartment, &place.compartment)) {
                if !document.instance_filter.matches(facts_of(host).selection) {
                    continue;
                }
                if !scope.holds_in(&host.compartment) {
                    let (who, operation, path) = (ctx.who.name(), place.operation, &host.compartment);
                    let message = format!("{who} may not do {operation} in {path}, where hosts lie that it is for");
                    return Err(Error::Forbidden(message));
                }
                let reaching = all.iter().filter(|(_, lies, _)| is_below(&host.compartment, lies));
                let reaching: Vec<(&str, &OsPolicyAssignment)> = reaching.map(|(name, _, doc)| (*name, *doc)).collect();
                judged.look(name, &reaching, host, &mut conflicts);
            }
            last = Some(end);
        }
        let unseen = |own: &str| others.iter().any(|(a, _)| a.name == own && !seen.holds_in(&a.compartment));
        let hide = |conflict: &Conflict| {
            let mut shown = conflict.clone();
            for side in [&mut shown.kept, &mut shown.dropped].into_iter().filter(|side| unseen(&side.assignment)) {
                // Whoever may not know of it learns that there is one, and no more.
                side.assignment = ANOTHER.to_owned();
                side.policy.clear();
            }
            shown
        };
        judged.overridden = judged.overridden.iter().map(hide).collect();
        if conflicts.is_empty() {
            return Ok(judged);
        }
        let told: Vec<String> = conflicts
            .iter()
            .take(CONFLICTS_TOLD_MAX)
            .map(|(conflict, hosts)| {
                format!("{} (on {hosts} {})", hide(conflict).describe(), if *hosts == 1 { "host" } else { "hosts" })
            })
            .collect();
        let more = conflicts.len().saturating_sub(CONFLICTS_TOLD_MAX);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(Error::conflict(format!(
            "two policies of equal priority want different things: {}{rest}. Give one of the policies a higher priority, or take \
             one of the resources out",
            told.join("; ")
        )))
    }

    /// Assignments by name.
    pub async fn list_policies(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<PolicyAssignment>> {
        let scope = self.scope(ctx, "policy-assignment.list", Permission::PolicyRead).await?;
        let mut c = self.read().await?;
        let found = policies::list(&mut c, page, &scope).await?;
        let mut counts = compliance::by_assignment(&mut c, &Scope::Everywhere).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for record in found.items {
            let compliance = counts.remove(&record.name).unwrap_or_default();
            items.push(view(&mut c, record, compliance).await?);
        }
        Ok(Paged { items, next_cursor: found.next_cursor })
    }

    /// One assignment with its newest document.
    pub async fn get_policy(&self, ctx: &OpCtx, name: &str) -> Result<PolicyAssignment> {
        self.known(ctx, "policy-assignment.show", Kind::Assignment, name).await?;
        let mut c = self.read().await?;
        let record = assignment_named(&mut c, name).await?;
        self.shown(&mut c, record, true).await
    }

    /// Its hosts by name: what each has, how far it is, why it waits.
    pub async fn policy_instances(
        &self,
        ctx: &OpCtx,
        name: &str,
        phase: Option<HostPhase>,
        page: &PageQuery,
    ) -> Result<Paged<PolicyHost>> {
        self.known(ctx, "policy-assignment.instances", Kind::Assignment, name).await?;
        let mut c = self.read().await?;
        let record = assignment_named(&mut c, name).await?;
        let found = policy_hosts::list(&mut c, record.id, phase, page).await?;
        let ids: Vec<_> = found.items.iter().map(|h| h.assigned.instance).collect();
        let mut standing = compliance::of_hosts(&mut c, name, &ids).await?;
        let mut health = policy_health::of_hosts(&mut c, record.id, &ids).await?;
        Ok(found.map(|host| {
            let row = host.assigned;
            let none = (ComplianceState::Unknown, String::new());
            let (state, reason) = standing.remove(&row.instance).unwrap_or(none);
            PolicyHost {
                instance: row.instance,
                instance_name: host.instance_name,
                zone: host.zone,
                revision: Some(row.revision).filter(|n| *n > 0),
                phase: row.phase,
                waiting_on: row.waiting_on,
                has_since: row.has_at,
                state,
                reason,
                health: health.remove(&row.instance).filter(|h| h.revision == row.revision),
            }
        }))
    }

    /// Its revisions, newest first.
    pub async fn policy_revisions(&self, ctx: &OpCtx, name: &str, page: &PageQuery) -> Result<Paged<PolicyRevision>> {
        self.known(ctx, "policy-assignment.revisions", Kind::Assignment, name).await?;
        let mut c = self.read().await?;
        let record = assignment_named(&mut c, name).await?;
        let hosts = policy_hosts::by_revision(&mut c, record.id).await?;
        let found = policies::revisions(&mut c, record.id, page).await?;
        Ok(found.map(|r| revision_view(r, &record, &hosts, false)))
    }

    /// One revision with its document.
    pub async fn policy_revision(&self, ctx: &OpCtx, name: &str, number: u64) -> Result<PolicyRevision> {
        self.known(ctx, "policy-assignment.revision", Kind::Assignment, name).await?;
        let mut c = self.read().await?;
        let record = assignment_named(&mut c, name).await?;
        let hosts = policy_hosts::by_revision(&mut c, record.id).await?;
        let found = policies::revision(&mut c, record.id, number).await?;
        let found = found.ok_or_else(|| no_revision(name, number))?;
        Ok(revision_view(found, &record, &hosts, true))
    }

    /// What a revision changed against another one; absent: the one before it.
    pub async fn policy_diff(&self, ctx: &OpCtx, name: &str, number: u64, with: Option<u64>) -> Result<PolicyRevisionDiff> {
        self.known(ctx, "policy-assignment.diff", Kind::Assignment, name).await?;
        let record = assignment_named(&mut *self.read().await?, name).await?;
        let with = with.unwrap_or(number.saturating_sub(1));
        let text_of = async |number: u64| -> Result<String> {
            if number == 0 {
                return Ok(String::new());
            }
            let revision = self.revision(record.id, number).await?.ok_or_else(|| no_revision(name, number))?;
            if revision.deleted {
                return Ok(String::new());
            }
            let text = serde_json::to_string_pretty(&revision.document);
            text.map(|t| t + "\n").map_err(|e| Error::Internal { doing: "write a revision", source: Box::new(e) })
        };
        let (from, to) = (with.min(number), with.max(number));
        let (before, after) = (text_of(from).await?, text_of(to).await?);
        let diff = similar::TextDiff::from_lines(&before, &after);
        let mut unified = diff.unified_diff();
        let text =
            unified.context_radius(DIFF_CONTEXT).header(&format!("revision {from}"), &format!("revision {to}")).to_string();
        Ok(PolicyRevisionDiff { from, to, text })
    }

    pub(super) async fn shown(&self, c: &mut Connection, record: AssignmentRecord, whole: bool) -> Result<PolicyAssignment> {
        let counts = compliance::hosts(c, Some(&record.name), &Scope::Everywhere).await?;
        let mut document = None;
        if whole && let Some(revision) = policies::revision(c, record.id, record.target).await? {
            let Settings { description, rollout } = record.settings.clone();
            document = Some(OsPolicyAssignment { description, rollout, ..revision.document }).filter(|_| !revision.deleted);
        }
        Ok(PolicyAssignment { document, ..view(c, record, counts).await? })
    }
}

/// What an assignment means for the present fleet.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    hosts: u32,
    overridden: Vec<Conflict>,
}

impl Judged {
    fn look(
        &mut self,
        name: &str,
        all: &[(&str, &OsPolicyAssignment)],
        host: &PolicyInputs,
        conflicts: &mut BTreeMap<Conflict, u32>,
    ) {
        let facts = facts_of(host);
        self.hosts = self.hosts.saturating_add(1);
        let resolution = resolve(all, facts);
        let own = |c: &&Conflict| c.kept.assignment == name || c.dropped.assignment == name;
        for conflict in resolution.conflicts.iter().filter(own) {
            *conflicts.entry(conflict.clone()).or_default() += 1;
        }
        for conflict in resolution.overridden.iter().filter(own) {
            if self.overridden.len() < OVERRIDDEN_TOLD_MAX && !self.overridden.contains(conflict) {
                self.overridden.push(conflict.clone());
            }
        }
    }
}

fn check_tag(name: &str, before: Option<&AssignmentRecord>, ask: &ApplyAsk) -> Result<()> {
    if ask.create && before.is_some() {
        return Err(Error::conflict(format!("a policy assignment {name} exists already")));
    }
    let tag = before.map(|b| b.version.to_string());
    match &ask.if_match {
        Some(wanted) if wanted == "*" && before.is_none() => Err(Error::NotFound(format!("policy assignment {name}"))),
        Some(wanted) if wanted != "*" && tag.as_ref() != Some(wanted) => {
            let message = format!("policy assignment {name} was changed meanwhile; read it again");
            Err(Error::Conflict { message, stale: true })
        }
        _ => Ok(()),
    }
}

/// One rollout at a time.
fn refuse_active(before: Option<&AssignmentRecord>, outcome: ApplyOutcome) -> Result<()> {
    match before.filter(|b| b.state.is_active()) {
        Some(active) if outcome == ApplyOutcome::NewRevision => Err(under_way(active)),
        _ => Ok(()),
    }
}

pub(super) fn under_way(active: &AssignmentRecord) -> Error {
    Error::conflict(format!(
        "revision {} of policy assignment {} is being rolled out ({}); wait until it is done, or cancel it first",
        active.target,
        active.name,
        active.state.as_str()
    ))
}

fn new_record(id: AssignmentId, name: &str, compartment: &str, ctx: &OpCtx) -> AssignmentRecord {
    AssignmentRecord {
        id,
        name: name.to_owned(),
        settings: Settings::default(),
        policies: Vec::new(),
        target: 0,
        baseline: 0,
        deleted: false,
        state: RolloutState::InProgress,
        control: Default::default(),
        started_at: ctx.now,
        ended_at: None,
        compartment: compartment.to_owned(),
        created_by: ctx.who.name(),
        created_at: ctx.now,
        updated_at: ctx.now,
        version: 1,
    }
}

pub(super) fn begin_rollout(record: &mut AssignmentRecord, ctx: &OpCtx) {
    record.state = RolloutState::InProgress;
    record.control = Default::default();
    record.started_at = ctx.now;
    record.ended_at = None;
    record.updated_at = ctx.now;
}

pub(super) fn revision_of(
    record: &AssignmentRecord,
    document: OsPolicyAssignment,
    deleted: bool,
    reason: &str,
    ctx: &OpCtx,
) -> RevisionRecord {
    RevisionRecord {
        assignment: record.id,
        number: record.target,
        document,
        deleted,
        reason: reason.to_owned(),
        created_by: ctx.who.name(),
        created_at: ctx.now,
        state: RolloutState::InProgress,
    }
}

/// The assignment of this name.
pub(super) async fn assignment_named(c: &mut Connection, name: &str) -> Result<AssignmentRecord> {
    let found = policies::find_by_name(c, name).await?;
    found.ok_or_else(|| Error::NotFound(format!("policy assignment {}", cut(name, 255))))
}

fn taken(name: &str) -> Error {
    Error::conflict(format!("the name {} is taken; choose another one", cut(name, 64)))
}

pub(super) fn busy(name: &str) -> Error {
    Error::conflict(format!("policy assignment {name} is changed by others at the same time; try again"))
}

fn no_revision(name: &str, number: u64) -> Error {
    Error::NotFound(format!("revision {number} of policy assignment {}", cut(name, 255)))
}

async fn view(c: &mut Connection, record: AssignmentRecord, compliance: ComplianceCounts) -> Result<PolicyAssignment> {
    let rollout = progress(c, &record).await?;
    Ok(PolicyAssignment {
        etag: record.version.to_string(),
        description: record.settings.description,
        policies: record.policies,
        revision: record.target,
        baseline: Some(record.baseline).filter(|n| *n > 0),
        deleted: record.deleted,
        rollout,
        compliance,
        created_by: record.created_by,
        created_at: record.created_at,
        updated_at: record.updated_at,
        document: None,
        compartment: record.compartment,
        name: record.name,
    })
}

async fn progress(c: &mut Connection, record: &AssignmentRecord) -> Result<RolloutProgress> {
    let mut progress = RolloutProgress {
        state: record.state,
        started_at: record.started_at,
        ended_at: record.ended_at,
        halted_because: record.control.halted.as_ref().map(|h| halted_because(&h.cause)),
        pending: 0,
        changing: 0,
        done: 0,
        waiting_on: BTreeMap::new(),
    };
    for (phase, waiting_on, n) in policy_hosts::phases(c, record.id).await? {
        match phase {
            HostPhase::Pending => {
                progress.pending += n;
                if let Some(why) = waiting_on {
                    *progress.waiting_on.entry(why.name().to_owned()).or_default() += n;
                }
            }
            HostPhase::Changing => progress.changing += n,
            HostPhase::Done => progress.done += n,
        }
    }
    Ok(progress)
}

fn revision_view(r: RevisionRecord, of: &AssignmentRecord, hosts: &BTreeMap<u64, u32>, whole: bool) -> PolicyRevision {
    PolicyRevision {
        number: r.number,
        created_by: r.created_by,
        created_at: r.created_at,
        reason: r.reason,
        deleted: r.deleted,
        rollout_state: r.state,
        baseline: of.baseline == r.number,
        hosts: hosts.get(&r.number).copied().unwrap_or_default(),
        document: Some(r.document).filter(|_| whole && !r.deleted),
    }
}

/// Why a rollout halted, in words of policies.
pub(crate) fn halted_because(cause: &HaltCause) -> String {
    match cause {
        HaltCause::Failures { failed, limit, .. } => {
            let hosts = if *failed == 1 {
                "1 host that was let go is".to_owned()
            } else {
                format!("{failed} hosts that were let go are")
            };
            format!("{hosts} not compliant or fell silent; the rollout halts at {limit}")
        }
        other => other.describe(),
    }
}
