//! The rollout of one assignment's newest revision: who gets it now, as the planner that patch jobs share says; who waits,
//! and why; when it halts and when it is over.
//!
//! A host that was let go keeps its place in the disruption budget until it has said that it has the revision and its wait
//! is over. One that falls silent meanwhile gives its place back and counts as a failure.

use std::collections::{BTreeMap, HashMap, HashSet};

use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::Reachability;
use drydock_domain::patch::admission::{Admission, WaitingOn};
use drydock_domain::policy::HealthState;
use drydock_domain::policy::standing::{HostPhase, RolloutState};
use drydock_domain::rollout::health::HealthChecks;
use drydock_domain::rollout::{
    self, Decision, Ended, Facts, Halt, HaltCause, HostFacts, HostState, LayoutFacts, LayoutHost, Rollout, RolloutPlan, lay_out,
};
use drydock_store::policies::AssignmentRecord;
use drydock_store::policy_health::{self, HealthRecord};
use drydock_store::policy_hosts::{self, AssignedRecord, PolicyInputs};
use drydock_store::{Tx, commit, compliance, patch_tasks, policies};
use jiff::{SignedDuration, Timestamp};

use super::Fleet;
use super::hosts::settled;
use crate::Control;
use crate::error::Result;
use crate::ops::halted_because;
use crate::reconcile::picture::{Host, others};

/// A host whose health checks should be over has so much longer to tell of it, seconds: it may be slow, and reports wait for
/// the agent's next look.
const HEALTH_TOLD_WITHIN_SECS: u32 = 600;
/// Failed hosts named where a rollout halts, count.
const FAILED_NAMED_MAX: usize = 3;
/// Rows one turn changes, count: what is left is done in the next turn, which follows at once.
const CHANGES_MAX: usize = 2000;

type Rows = HashMap<InstanceId, AssignedRecord>;

/// What a turn did.
#[derive(Default)]
pub(super) struct Turned {
    /// The assignment as it is now; absent: it is gone.
    pub(super) after: Option<AssignmentRecord>,
    /// When time alone changes something.
    pub(super) wake_at: Option<Timestamp>,
    /// The next turn has more to do.
    pub(super) more: bool,
    /// The rollout is not over.
    pub(super) active: bool,
}

/// What one turn stores.
#[derive(Default)]
struct Changes {
    put: Vec<AssignedRecord>,
    gone: Vec<InstanceId>,
    /// Hosts that are let go: the rest of `put` does not depend on room.
    let_go: Vec<AssignedRecord>,
}

/// Does what is due for one assignment; `rows` are those of its hosts and follow what was stored.
pub(super) async fn turn(control: &Control, fleet: &Fleet, assignment: &AssignmentRecord, rows: &mut Rows) -> Result<Turned> {
    let mut changes = Changes::default();
    settle(fleet, assignment, rows, &mut changes);
    let mut after = assignment.clone();
    let mut wake_at = None;
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    if assignment.state.is_active() {
        let mut c = control.read().await?;
        let health = Gate::read(&mut c, fleet, assignment).await?;
        wake_at = pass(control, fleet, assignment, rows, health.as_ref(), &mut changes);
        let bad = compliance::bad_hosts(&mut c, &assignment.name).await?;
        taken = at_work(&mut c, assignment).await?;
        let elsewhere = policy_hosts::changing_hosts(&mut c, assignment.id).await?;
        drop(c);
        let known = Known { bad, health, taken: &taken, elsewhere };
        decide(control, fleet, &mut after, rows, &known, &mut changes);
        end(fleet, control, &mut after, rows, &changes);
    }
    let more = changes.put.len() + changes.gone.len() + changes.let_go.len() > CHANGES_MAX;
    changes.gone.truncate(CHANGES_MAX);
    changes.put.truncate(CHANGES_MAX);
    changes.let_go.truncate(CHANGES_MAX);
    if more && !after.state.is_active() {
        // It ends when everything is stored.
        after = assignment.clone();
    }
    let stored = store(control, assignment, after, rows, changes, &taken, fleet.now).await?;
    let active = stored.as_ref().is_some_and(|a| a.state.is_active());
    Ok(Turned { after: stored, wake_at, more, active })
}

/// What is known besides the assignment's own rows.
struct Known<'a> {
    /// Hosts that are not compliant, and since when.
    bad: BTreeMap<InstanceId, Timestamp>,
    /// The health checks of the target; absent: there are none.
    health: Option<Gate>,
    /// Hosts that anything else is at work on, by zone.
    taken: &'a BTreeMap<String, u32>,
    /// Hosts that other assignments are at work on, with their zones.
    elsewhere: HashMap<InstanceId, String>,
}

/// The health checks of a revision, and how they stand on hosts.
struct Gate {
    /// A host tells how they ended within so many seconds of having the revision.
    told_within: SignedDuration,
    told: BTreeMap<InstanceId, HealthRecord>,
}

impl Gate {
    async fn read(c: &mut drydock_store::Connection, fleet: &Fleet, assignment: &AssignmentRecord) -> Result<Option<Gate>> {
        let revision = fleet.revisions.get(&(assignment.id, assignment.target)).filter(|r| !r.deleted);
        let Some(checks) = revision.and_then(|r| r.document.rollout.health_checks.as_ref()) else { return Ok(None) };
        let HealthChecks { settle_secs, within_secs, .. } = checks;
        let secs = [*settle_secs, *within_secs, HEALTH_TOLD_WITHIN_SECS].map(i64::from).iter().sum();
        let told = policy_health::of_revision(c, assignment.id, assignment.target).await?;
        Ok(Some(Gate { told_within: SignedDuration::from_secs(secs), told }))
    }

    /// How they ended on a host, if they did.
    fn decided(&self, host: InstanceId) -> Option<&HealthRecord> {
        self.told.get(&host).filter(|h| h.state.is_decided())
    }
}

/// What does not depend on budgets.
fn settle(fleet: &Fleet, assignment: &AssignmentRecord, rows: &mut Rows, changes: &mut Changes) {
    let known: HashSet<InstanceId> = fleet.hosts.iter().map(|h| h.instance).collect();
    let gone: Vec<InstanceId> = rows.keys().filter(|id| !known.contains(id)).copied().collect();
    for host in &fleet.hosts {
        let before = rows.get(&host.instance);
        let after = settled(assignment, &fleet.revisions, host, before);
        if after.as_ref() == before {
            continue;
        }
        match after {
            Some(row) => {
                changes.put.push(row.clone());
                rows.insert(host.instance, row);
            }
            None => {
                changes.gone.push(host.instance);
                rows.remove(&host.instance);
            }
        }
    }
    for id in gone {
        changes.gone.push(id);
        rows.remove(&id);
    }
}

fn wait_of(assignment: &AssignmentRecord) -> SignedDuration {
    let secs = assignment.settings.rollout.min_wait_secs().unwrap_or_default();
    SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

/// Hosts whose change is over: they have it and waited, or are silent. The next moment at which a wait is over.
fn pass(
    control: &Control,
    fleet: &Fleet,
    assignment: &AssignmentRecord,
    rows: &mut Rows,
    gate: Option<&Gate>,
    changes: &mut Changes,
) -> Option<Timestamp> {
    let cancelling = assignment.state == RolloutState::Cancelling;
    let wait = if cancelling { SignedDuration::ZERO } else { wait_of(assignment) };
    let gate = gate.filter(|_| !cancelling);
    let patience = control.config().no_agent_after_secs;
    let mut next: Option<Timestamp> = None;
    for host in &fleet.hosts {
        let Some(row) = rows.get_mut(&host.instance) else { continue };
        if row.revision != assignment.target || row.phase != HostPhase::Changing {
            continue;
        }
        let over = match row.has_at {
            Some(at) => {
                let until = at.saturating_add(wait).unwrap_or(Timestamp::MAX);
                let until = match gate {
                    Some(gate) if gate.decided(host.instance).is_none() => {
                        let is = Host::of(control, host.instance, host.last_seen, fleet.now);
                        let last = if is.is_silent(control.patience_from(at), patience, fleet.now) {
                            fleet.now
                        } else {
                            at.saturating_add(gate.told_within).unwrap_or(Timestamp::MAX)
                        };
                        until.max(last)
                    }
                    _ => until,
                };
                if until > fleet.now {
                    next = [next, Some(until)].into_iter().flatten().min();
                }
                until <= fleet.now
            }
            None => {
                let since = control.patience_from(row.let_go_at.unwrap_or(assignment.started_at));
                let is = Host::of(control, host.instance, host.last_seen, fleet.now);
                let asks_not = host.pulled_at.is_none() && fleet.now.duration_since(since) >= SignedDuration::from_secs(patience);
                asks_not || is.is_silent(since, patience, fleet.now)
            }
        };
        if over {
            row.phase = HostPhase::Done;
            changes.put.push(row.clone());
        }
    }
    next
}

/// Hosts that anything but this assignment is at work on, by zone.
async fn at_work(c: &mut drydock_store::Connection, assignment: &AssignmentRecord) -> Result<BTreeMap<String, u32>> {
    let mut taken = policy_hosts::at_work_by_zone(c).await?;
    for (zone, n) in policy_hosts::changing(c, Some(assignment.id)).await? {
        *taken.entry(zone).or_default() += n;
    }
    Ok(taken)
}

/// Lets hosts go, names holds, halts.
fn decide(
    control: &Control,
    fleet: &Fleet,
    assignment: &mut AssignmentRecord,
    rows: &mut Rows,
    known: &Known<'_>,
    changes: &mut Changes,
) {
    if assignment.state == RolloutState::Cancelling {
        return;
    }
    let mut members: Vec<(&PolicyInputs, &AssignedRecord)> =
        fleet.hosts.iter().filter_map(|h| Some((h, rows.get(&h.instance)?))).collect();
    // Who is disrupted by another assignment goes first: it takes no other place.
    members.sort_by_key(|(host, _)| !known.elsewhere.contains_key(&host.instance));
    let plan = plan_of(assignment, &members, fleet.now);
    let counts_bad = assignment.settings.rollout.halt_on_non_compliant.is_some();
    let mut others = others(&plan, known.taken);
    let mut failures: Vec<(&str, Why<'_>)> = Vec::new();
    let mut hosts = Vec::with_capacity(members.len());
    for (host, row) in &members {
        let is = Host::of(control, host.instance, host.last_seen, fleet.now);
        let zone_name = zone_of(host, row);
        let zone = plan.zones.iter().position(|z| z.zone == zone_name).unwrap_or(plan.zones.len());
        let failed = failed(assignment, row, known).filter(|f| counts_bad || known.health.is_some() && f.why != Why::Bad);
        let failed_at = failed.as_ref().map(|f| f.at);
        if let Some(failed) = failed.filter(|f| assignment.control.forgiven_until.is_none_or(|until| f.at > until)) {
            failures.push((host.name.as_str(), failed.why));
        }
        let state = match (row.revision == assignment.target, row.phase, failed_at) {
            (false, ..) => HostState::Pending,
            (true, phase, Some(at)) => {
                // It is a failure at once and keeps its place until its wait is over.
                if phase == HostPhase::Changing
                    && let Some(place) = others.get_mut(zone)
                {
                    *place += 1;
                }
                HostState::Ended { how: Ended::Missing, at }
            }
            (true, HostPhase::Changing, None) => HostState::Running,
            (true, _, None) => HostState::Ended { how: Ended::Succeeded, at: row.has_at.unwrap_or(assignment.started_at) },
        };
        // Counted once: here, where it is or may be let go; else there.
        let counts_here = match state {
            HostState::Pending => is.reachability == Reachability::Online && !fleet.tasks.contains_key(&host.instance),
            HostState::Running => true,
            HostState::Ended { .. } => false,
        };
        if let Some(zone) = known.elsewhere.get(&host.instance).filter(|_| counts_here)
            && let Some(place) = plan.zones.iter().position(|z| z.zone == *zone).and_then(|i| others.get_mut(i))
        {
            *place = place.saturating_sub(1);
        }
        hosts.push(HostFacts {
            task: TaskId(host.instance.0),
            wave: 0,
            zone,
            state,
            reachability: is.reachability,
            last_seen: is.last_seen,
            other_task: fleet.tasks.get(&host.instance).copied(),
            closed: None,
            is_straggler: state == HostState::Pending && is_away(control, assignment, host, fleet.now),
        });
    }
    let facts =
        Facts { plan: &plan, control: &assignment.control, hosts: &hosts, others: &others, at_once: None, now: fleet.now };
    let mut decision = rollout::decide(&facts);
    let findings = rollout::lint(&facts, &decision);
    if !findings.is_empty() {
        decision = refused(assignment, decision, &findings, fleet.now);
    }
    if let Some(halt) = &mut decision.halt {
        name_the_unhealthy(halt, &failures);
    }
    take(fleet, assignment, rows, decision, changes);
}

fn zone_of<'a>(host: &'a PolicyInputs, row: &'a AssignedRecord) -> &'a str {
    if row.phase == HostPhase::Pending { &host.zone } else { &row.zone }
}

/// One wave of all hosts; zones with their budgets.
fn plan_of(assignment: &AssignmentRecord, members: &[(&PolicyInputs, &AssignedRecord)], now: Timestamp) -> RolloutPlan {
    let settings = &assignment.settings.rollout;
    let rollout = Rollout {
        disruption_budget: Some(settings.disruption_budget),
        halt_after: settings.failure_limit(),
        ..Rollout::default()
    };
    let hosts: Vec<LayoutHost<'_>> = members
        .iter()
        .map(|(host, row)| LayoutHost {
            task: TaskId(host.instance.0),
            instance: host.instance,
            zone: zone_of(host, row),
            kind: String::new(),
            selected: 0,
            begun_in: None,
        })
        .collect();
    lay_out(&LayoutFacts { rollout: &rollout, drawn_seed: 0, parent: None, why: "a revision is rolled out", now }, &hosts).0
}

/// Why a host that was let go counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why<'a> {
    /// It is not compliant, or cannot tell because of errors.
    Bad,
    /// It never said that it has the revision, or how its health checks ended.
    Silent,
    /// Its health checks failed.
    Unhealthy(&'a str),
}

struct Failed<'a> {
    why: Why<'a>,
    at: Timestamp,
}

/// Since when a host that was let go counts as a failure, and why.
fn failed<'a>(assignment: &AssignmentRecord, row: &AssignedRecord, known: &'a Known<'_>) -> Option<Failed<'a>> {
    if row.revision != assignment.target || assignment.deleted {
        return None;
    }
    let over = row.phase == HostPhase::Done;
    let Some(has) = row.has_at else {
        // Done without having it: it fell silent.
        return row.let_go_at.filter(|_| over).map(|at| Failed { why: Why::Silent, at });
    };
    if let Some(gate) = &known.health {
        match gate.decided(row.instance) {
            Some(ill) if ill.state == HealthState::Unhealthy => {
                return Some(Failed { why: Why::Unhealthy(&ill.message), at: ill.since.max(has) });
            }
            Some(_) => {}
            // A host that came later than the rollout was not let go by it.
            None if over && row.let_go_at.is_some() => return Some(Failed { why: Why::Silent, at: has }),
            None => {}
        }
    }
    known.bad.get(&row.instance).map(|since| Failed { why: Why::Bad, at: (*since).max(has) })
}

/// A halt that is also for hosts whose health checks failed says which they are, and what was found there.
fn name_the_unhealthy(halt: &mut Halt, failures: &[(&str, Why<'_>)]) {
    let HaltCause::Failures { failed, limit, .. } = halt.cause else { return };
    let words = |(host, why): &(&str, Why<'_>)| match why {
        Why::Bad => format!("{host} is not compliant"),
        Why::Silent => format!("{host} fell silent"),
        Why::Unhealthy(message) => format!("{host} failed its health checks: {message}"),
    };
    let is_unhealthy = |(_, why): &&(&str, Why<'_>)| matches!(why, Why::Unhealthy(_));
    if !failures.iter().any(|f| is_unhealthy(&f)) {
        return;
    }
    let (first, rest): (Vec<_>, Vec<_>) = failures.iter().partition(|f| is_unhealthy(f));
    let mut hosts: Vec<String> = first.iter().chain(&rest).take(FAILED_NAMED_MAX).map(words).collect();
    if failures.len() > FAILED_NAMED_MAX {
        hosts.push(format!("and {} more", failures.len() - FAILED_NAMED_MAX));
    }
    halt.cause = HaltCause::Unhealthy { failed, limit, hosts: hosts.join("; ") };
}

/// Silent for longer than the server's patience: it holds nobody up, and gets the revision when it is back.
fn is_away(control: &Control, assignment: &AssignmentRecord, host: &PolicyInputs, now: Timestamp) -> bool {
    let is = Host::of(control, host.instance, host.last_seen, now);
    is.is_silent(control.patience_from(assignment.started_at), control.config().no_agent_after_secs, now)
}

/// A decision that the linter refuses: nobody goes, and the rollout halts. That is a defect of ours: it is in the log as well.
fn refused(assignment: &AssignmentRecord, decision: Decision, findings: &[String], now: Timestamp) -> Decision {
    let finding = findings.join("; ");
    tracing::error!(assignment = assignment.name, finding, "a decision about a rollout contradicts its plan; it halts");
    let halt = Halt { at: now, wave: None, cause: HaltCause::Lint { finding } };
    let held = decision.answers.into_iter().map(|(task, _)| {
        let why = halted_because(&halt.cause);
        (task, Admission::Hold(WaitingOn::Halted { why }))
    });
    Decision { answers: held.collect(), halt: assignment.control.halted.is_none().then_some(halt.clone()), ..Decision::default() }
}

/// Takes a decision over into rows.
fn take(fleet: &Fleet, assignment: &mut AssignmentRecord, rows: &mut Rows, decision: Decision, changes: &mut Changes) {
    if let Some(halt) = decision.halt {
        assignment.control.halted = Some(halt);
        assignment.state = RolloutState::Halted;
    }
    let why_halted = assignment.control.halted.as_ref().map(|halt| halted_because(&halt.cause));
    for (task, answer) in decision.answers {
        let instance = InstanceId(task.0);
        let Some(row) = rows.get_mut(&instance) else { continue };
        match answer {
            Admission::Admit => {
                let zone = fleet.hosts.iter().find(|h| h.instance == instance).map(|h| h.zone.clone()).unwrap_or_default();
                changes.let_go.push(AssignedRecord {
                    zone,
                    revision: assignment.target,
                    phase: HostPhase::Changing,
                    generation: 0,
                    let_go_at: Some(fleet.now),
                    has_at: None,
                    waiting_on: None,
                    ..row.clone()
                });
            }
            Admission::Hold(why) => {
                let why = match (why, &why_halted) {
                    (WaitingOn::Halted { .. }, Some(words)) => WaitingOn::Halted { why: words.clone() },
                    (other, _) => other,
                };
                if row.waiting_on.as_ref() != Some(&why) {
                    row.waiting_on = Some(why);
                    changes.put.push(row.clone());
                }
            }
        }
    }
}

/// Ends a rollout whose hosts are all handled.
fn end(fleet: &Fleet, control: &Control, assignment: &mut AssignmentRecord, rows: &Rows, changes: &Changes) {
    let changing = rows.values().any(|r| r.revision == assignment.target && r.phase == HostPhase::Changing);
    if changing || !changes.let_go.is_empty() {
        return;
    }
    match assignment.state {
        RolloutState::Cancelling => assignment.state = RolloutState::Cancelled,
        RolloutState::InProgress => {
            let waits = |host: &PolicyInputs| {
                let row = rows.get(&host.instance);
                row.is_some_and(|r| r.phase == HostPhase::Pending) && !is_away(control, assignment, host, fleet.now)
            };
            if fleet.hosts.iter().any(waits) {
                return;
            }
            assignment.state = RolloutState::Succeeded;
            assignment.baseline = assignment.target;
        }
        _ => return,
    }
    assignment.ended_at = Some(fleet.now);
}

/// Stores a turn. The assignment as it is now; absent: it is gone, or another server changed it.
async fn store(
    control: &Control,
    before: &AssignmentRecord,
    mut after: AssignmentRecord,
    rows: &mut Rows,
    changes: Changes,
    taken: &BTreeMap<String, u32>,
    now: Timestamp,
) -> Result<Option<AssignmentRecord>> {
    let Changes { put, gone, let_go } = changes;
    let moves = after != *before || !let_go.is_empty();
    if !moves && put.is_empty() && gone.is_empty() {
        return Ok(Some(after));
    }
    let mut tx = control.begin().await?;
    // Takes the row: of two servers one lets hosts go.
    if moves && !policies::update(&mut tx, &after).await? {
        control.policies_moved();
        return Ok(Some(before.clone()));
    }
    after.version += i64::from(moves);
    for instance in gone {
        policy_hosts::delete(&mut tx, before.id, instance).await?;
    }
    policy_hosts::put(&mut tx, &put).await?;
    if !let_go.is_empty() {
        if room_is_left(&mut tx, before, taken).await? {
            policy_hosts::put(&mut tx, &let_go).await?;
            rows.extend(let_go.into_iter().map(|row| (row.instance, row)));
        } else {
            control.policies_moved();
        }
    }
    if after.state != before.state {
        policies::set_revision_state(&mut tx, after.id, after.target, after.state).await?;
        control.note_rollout(&mut tx, &after, now).await?;
        if after.deleted && after.state == RolloutState::Succeeded {
            compliance::end_intervals_of(&mut tx, &after.name, now).await?;
            policies::delete(&mut tx, &after).await?;
            commit(tx).await?;
            control.policies_moved();
            return Ok(None);
        }
        // Hosts that were held are held no more, and those that were away follow.
        control.policies_moved();
    }
    commit(tx).await?;
    Ok(Some(after))
}

/// Is it still true what was decided on? Another server, or a patch job, may have let hosts go meanwhile.
async fn room_is_left(tx: &mut Tx, assignment: &AssignmentRecord, taken: &BTreeMap<String, u32>) -> Result<bool> {
    patch_tasks::queue_for_budget(tx).await?;
    let now = at_work(tx, assignment).await?;
    Ok(now.iter().all(|(zone, n)| *n <= taken.get(zone).copied().unwrap_or_default()))
}
