//! Policies reach their hosts: which revision each host is to have, rollouts as their budgets allow, and the documents that
//! follow.
//!
//! A change of one host (labels, group, system) concerns that host alone. All hosts are looked at when an assignment or a
//! secret changed, when this process begins, every half minute, and while a rollout is under way as often as something may
//! have moved it. A document is made anew only when what it is made from changed; the rest costs one read.

mod hosts;
mod rollout;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use drydock_domain::ids::{AssignmentId, InstanceId, TaskId};
use drydock_domain::instance::Reachability;
use drydock_domain::policy::report::reason;
use drydock_store::policies::AssignmentRecord;
use drydock_store::policy_hosts::{self, AssignedRecord, PolicyInputs};
use drydock_store::{commit, compliance, drift, host_policies, policy_previews};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::error::Result;
use crate::ops::PolicyWorld;
use crate::policy_part::{Revision, Seen};
use crate::reconcile::picture::Host;

/// Hosts read at once, count.
const HOSTS_AT_ONCE: u32 = 5000;
/// All hosts are looked at at least every so many turns: changes by another server, hosts that fell silent.
const ALL_EVERY: u64 = 30;
/// While a rollout is under way all hosts are looked at this often, turns: hosts that came back.
const ACTIVE_EVERY: u64 = 5;
/// Beyond so many changed hosts all are looked at.
const HOSTS_APART_MAX: usize = 200;
/// An agent that has not asked for its first document this long after it was made knows nothing of policies, seconds.
const ASKS_WITHIN_SECS: i64 = 120;
/// How policies stood is known for this long, days.
const HISTORY_KEPT_DAYS: i64 = 400;
/// Drift events are kept this long, days.
const DRIFT_KEPT_DAYS: i64 = 90;
/// Drift events kept of one host, count.
const DRIFT_OF_HOST_MAX: u32 = 10_000;

/// What is due.
pub(super) async fn turn(control: &Control, number: u64) -> Result<()> {
    let part = control.policies();
    let changes = part.changes();
    let now = control.now();
    let whole = {
        let seen = part.seen();
        let due = seen.wake_at.is_some_and(|at| at <= now);
        let moved = seen.active && (due || part.has_hosts() || number.is_multiple_of(ACTIVE_EVERY));
        seen.changes != Some(changes) || number.is_multiple_of(ALL_EVERY) || moved
    };
    let dirty = part.take_hosts();
    if !whole && dirty.is_empty() {
        return Ok(());
    }
    let done =
        if whole || dirty.len() > HOSTS_APART_MAX { all(control, changes).await } else { hosts::some(control, &dirty).await };
    if done.is_err() {
        // What was not done is done by the next turn.
        part.changed();
    }
    done
}

/// Forgets what is old.
pub(super) async fn forget(control: &Control) -> Result<()> {
    let now = control.now();
    let before = |days: i64| now.saturating_sub(SignedDuration::from_hours(24 * days)).unwrap_or(now);
    let mut tx = control.begin().await?;
    compliance::forget_intervals(&mut tx, before(HISTORY_KEPT_DAYS)).await?;
    drift::forget(&mut tx, before(DRIFT_KEPT_DAYS)).await?;
    for host in drift::crowded(&mut tx, DRIFT_OF_HOST_MAX).await? {
        drift::cut(&mut tx, host, DRIFT_OF_HOST_MAX).await?;
    }
    policy_previews::forget(&mut tx, now).await?;
    Ok(commit(tx).await?)
}

/// Revisions that hosts have or are to get.
pub(super) type Revisions = HashMap<(AssignmentId, u64), Arc<Revision>>;

/// Everything that decides, at one moment.
pub(super) struct Fleet {
    pub(super) world: PolicyWorld,
    pub(super) hosts: Vec<PolicyInputs>,
    pub(super) revisions: Revisions,
    /// Patch tasks that are at work on hosts.
    pub(super) tasks: HashMap<InstanceId, TaskId>,
    pub(super) now: Timestamp,
}

async fn all(control: &Control, changes: u64) -> Result<()> {
    let world = PolicyWorld::read(control).await?;
    if world.assignments.is_empty() && !host_policies::any(&mut *control.read().await?).await? {
        // No host ever had a policy.
        *control.policies().seen() = Seen { changes: Some(changes), ..Seen::default() };
        return Ok(());
    }
    let hosts = read_hosts(control).await?;
    let mut c = control.read().await?;
    let stored = policy_hosts::all(&mut c).await?;
    let active = world.assignments.iter().any(|a| a.state.is_active());
    let tasks = if active { policy_hosts::tasks_at_work(&mut c).await? } else { HashMap::new() };
    drop(c);
    let revisions = read_revisions(control, &world.assignments, &stored).await?;
    let mut rows: BTreeMap<AssignmentId, HashMap<InstanceId, AssignedRecord>> = BTreeMap::new();
    for row in stored {
        rows.entry(row.assignment).or_default().insert(row.instance, row);
    }
    let mut fleet = Fleet { world, hosts, revisions, tasks, now: control.now() };
    let assignments = fleet.world.assignments.clone();
    let mut wake_at: Option<Timestamp> = None;
    let (mut more, mut still_active) = (false, false);
    for assignment in &assignments {
        let own = rows.entry(assignment.id).or_default();
        let turned = rollout::turn(control, &fleet, assignment, own).await?;
        wake_at = [wake_at, turned.wake_at].into_iter().flatten().min();
        more |= turned.more;
        still_active |= turned.active;
        match turned.after {
            None => {
                rows.remove(&assignment.id);
                fleet.world.assignments.retain(|a| a.id != assignment.id);
            }
            Some(after) => {
                if let Some(place) = fleet.world.assignments.iter_mut().find(|a| a.id == assignment.id) {
                    *place = after;
                }
            }
        }
    }
    let mut by_host: HashMap<InstanceId, Vec<AssignedRecord>> = HashMap::new();
    for row in rows.into_values().flat_map(HashMap::into_values) {
        by_host.entry(row.instance).or_default().push(row);
    }
    for host in &fleet.hosts {
        let own = by_host.remove(&host.instance).unwrap_or_default();
        hosts::follow(control, &fleet.world, host, &own, fleet.now).await?;
    }
    let known: HashSet<InstanceId> = fleet.hosts.iter().map(|h| h.instance).collect();
    {
        let mut seen = control.policies().seen();
        seen.made_from.retain(|host, _| known.contains(host));
        seen.changes = Some(changes);
        seen.active = still_active;
        seen.wake_at = wake_at;
    }
    if more {
        control.policies_moved();
    }
    Ok(())
}

async fn read_hosts(control: &Control) -> Result<Vec<PolicyInputs>> {
    let mut hosts: Vec<PolicyInputs> = Vec::new();
    loop {
        let last = hosts.last().map(|h| h.instance);
        let page = policy_hosts::inputs(&mut *control.read().await?, last, HOSTS_AT_ONCE).await?;
        let is_last = page.len() < usize::try_from(HOSTS_AT_ONCE).unwrap_or(usize::MAX);
        hosts.extend(page);
        if is_last {
            hosts.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(hosts);
        }
    }
}

/// The revisions that rows name, targets and baselines.
pub(super) async fn read_revisions(
    control: &Control,
    assignments: &[AssignmentRecord],
    rows: &[AssignedRecord],
) -> Result<Revisions> {
    let named = assignments.iter().flat_map(|a| [(a.id, a.target), (a.id, a.baseline)]);
    let wanted: HashSet<(AssignmentId, u64)> = named.chain(rows.iter().map(|r| (r.assignment, r.revision))).collect();
    let mut found = HashMap::new();
    for (assignment, number) in wanted.into_iter().filter(|(_, number)| *number > 0) {
        if let Some(revision) = control.revision(assignment, number).await? {
            found.insert((assignment, number), revision);
        }
    }
    Ok(found)
}

/// Why nothing newer is known of a host that has policies; empty: it speaks.
fn absent(control: &Control, host: &PolicyInputs, now: Timestamp) -> &'static str {
    let is = Host::of(control, host.instance, host.last_seen, now);
    if is.last_seen.is_none() && is.reachability != Reachability::Online {
        return reason::NO_AGENT;
    }
    if is.is_silent(control.patience_from(Timestamp::MIN), control.config().no_agent_after_secs, now) {
        return reason::HOST_NOT_RUNNING;
    }
    let asks_until = host.made_at.and_then(|at| at.checked_add(SignedDuration::from_secs(ASKS_WITHIN_SECS)).ok());
    if host.pulled_at.is_none() && asks_until.is_some_and(|until| until <= now) {
        return reason::NOT_SUPPORTED;
    }
    ""
}

/// Notes why nothing newer is known of a host.
async fn note_absent(control: &Control, host: &PolicyInputs, now: Timestamp) -> Result<()> {
    let absent = absent(control, host, now);
    if host.generation == 0 || host.absent == absent {
        return Ok(());
    }
    let mut tx = control.begin().await?;
    host_policies::set_absent(&mut tx, host.instance, absent).await?;
    Ok(commit(tx).await?)
}
