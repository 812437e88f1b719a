//! What is known of a job now: its plan, each of its hosts, other jobs' hosts. Read for a turn, and for people who look.

use std::collections::{BTreeMap, HashMap, HashSet};

use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::Reachability;
use drydock_domain::inventory::{Health, SectionKind};
use drydock_domain::patch::admission::limit;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{
    self, Closed, Ended, Facts, HostFacts, HostState, LayoutFacts, LayoutHost, Rollout, RolloutPlan, lay_out,
};
use drydock_store::patch_tasks::{EndedTask, OpenTask};
use drydock_store::records::JobRecord;
use drydock_store::{Reader, inventory, patch_tasks};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::error::Result;

/// A job at a moment.
pub(crate) struct Picture {
    /// Its newest plan.
    pub(crate) plan: RolloutPlan,
    /// Hosts that are not done.
    pub(crate) open: Vec<OpenTask>,
    /// Hosts that are.
    pub(crate) ended: Vec<EndedTask>,
    /// Hosts that other jobs are at work on, one entry for each zone of the plan.
    pub(crate) others: Vec<u32>,
    /// Hosts that succeeded and are bad now, while their wave bakes.
    decayed: HashSet<TaskId>,
    /// Why the calendar of a pending host forbids it.
    closed: HashMap<TaskId, Closed>,
    at_once: Option<u32>,
    created_at: Timestamp,
    now: Timestamp,
}

/// A host as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) reachability: Reachability,
    pub(crate) last_seen: Option<Timestamp>,
}

impl Host {
    /// The host of an instance that was last heard of then, as stored.
    pub(crate) fn of(control: &Control, instance: InstanceId, stored: Option<Timestamp>, now: Timestamp) -> Self {
        let last_seen = control.last_seen(instance, stored);
        Host { reachability: control.reachability(instance, last_seen, now), last_seen }
    }

    /// Has it been silent for `secs`, counted from its last word or `since`?
    pub(crate) fn is_silent(&self, since: Timestamp, secs: i64, now: Timestamp) -> bool {
        let from = self.last_seen.map_or(since, |seen| seen.max(since));
        self.reachability != Reachability::Online && now.duration_since(from) >= SignedDuration::from_secs(secs)
    }
}

impl Picture {
    /// Reads it.
    pub(crate) async fn read(control: &Control, job: &JobRecord, now: Timestamp) -> Result<Picture> {
        let mut c = control.read().await?;
        // Open ones first: a task that ends between the two is in both, and never in none.
        let open = patch_tasks::open(&mut c, job.id).await?;
        let mut ended = patch_tasks::ended(&mut c, job.id).await?;
        let still_open: HashSet<TaskId> = open.iter().map(|o| o.task.id).collect();
        ended.retain(|e| !still_open.contains(&e.task));
        let plan = job.plans.last().cloned().unwrap_or_else(|| plan_of_old(&open, &ended, job.created_at));
        let others = others(&plan, &patch_tasks::disrupted_by_others(&mut c, job.id).await?);
        let decayed = decayed(control, &mut c, job, &plan, &open, &ended, now).await?;
        drop(c);
        let hosts = u32::try_from(open.len() + ended.len()).unwrap_or(u32::MAX);
        let at_once = job.spec.concurrency.map(|c| limit(Some(c), hosts));
        // Whoever plans only disturbs nobody.
        let has_windows = !job.spec.dry_run && plan.rollout.ignore_windows.is_none();
        let closed = if has_windows { control.closed_now(&open, now).await? } else { HashMap::new() };
        Ok(Picture { plan, open, ended, others, decayed, closed, at_once, created_at: job.created_at, now })
    }

    /// Hosts that succeeded and are bad now.
    pub(crate) fn decayed(&self) -> impl Iterator<Item = TaskId> {
        self.decayed.iter().copied()
    }

    /// The job's hosts as the planner takes them; `state_of` says where an open one stands once this turn has moved it.
    pub(crate) fn hosts(&self, control: &Control, state_of: impl Fn(&OpenTask) -> TaskState) -> Vec<HostFacts<'_>> {
        let zones: HashMap<&str, usize> = self.plan.zones.iter().enumerate().map(|(i, z)| (z.zone.as_str(), i)).collect();
        let zone_of = |zone: &str| zones.get(zone).copied().unwrap_or(self.plan.zones.len());
        let open = self.open.iter().map(|one| {
            let host = Host::of(control, one.task.instance, one.last_seen, self.now);
            HostFacts {
                task: one.task.id,
                wave: one.task.wave,
                zone: zone_of(&one.task.zone),
                state: standing(state_of(one), self.now, false),
                reachability: host.reachability,
                last_seen: host.last_seen,
                other_task: one.other_task,
                closed: self.closed.get(&one.task.id),
                is_straggler: self.is_straggler(control, one, &host),
            }
        });
        let ended = self.ended.iter().map(|one| HostFacts {
            task: one.task,
            wave: one.wave,
            zone: zone_of(&one.zone),
            state: standing(one.state, one.at, self.decayed.contains(&one.task)),
            reachability: Reachability::Online,
            last_seen: None,
            other_task: None,
            closed: None,
            is_straggler: false,
        });
        open.chain(ended).collect()
    }

    /// All that decides.
    pub(crate) fn facts<'a>(&'a self, control: &'a rollout::Control, hosts: &'a [HostFacts<'a>]) -> Facts<'a> {
        Facts { plan: &self.plan, control, hosts, others: &self.others, at_once: self.at_once, now: self.now }
    }

    /// Pending, silent for longer than the server's patience, and the job lets it come back.
    fn is_straggler(&self, control: &Control, one: &OpenTask, host: &Host) -> bool {
        one.task.state == TaskState::Pending
            && may_catch_up(&self.plan.rollout, self.created_at, self.now)
            && host.is_silent(control.patience_from(self.created_at), control.config().no_agent_after_secs, self.now)
    }
}

/// May a host that is off still come back?
pub(crate) fn may_catch_up(rollout: &Rollout, created_at: Timestamp, now: Timestamp) -> bool {
    let secs = rollout.catch_up_secs.and_then(|secs| i64::try_from(secs).ok());
    secs.is_some_and(|secs| now.duration_since(created_at) < SignedDuration::from_secs(secs))
}

fn standing(state: TaskState, at: Timestamp, decayed: bool) -> HostState {
    let how = match state {
        TaskState::Pending => return HostState::Pending,
        TaskState::Succeeded | TaskState::SucceededRebootRequired if decayed => Ended::Decayed,
        TaskState::Succeeded | TaskState::SucceededRebootRequired => Ended::Succeeded,
        TaskState::Failed | TaskState::TimedOut => Ended::Failed,
        TaskState::NoAgentDetected | TaskState::Inactive => Ended::Missing,
        TaskState::Canceled => Ended::Canceled,
        _ => return HostState::Running,
    };
    HostState::Ended { how, at }
}

/// A job of an older version has no plan: it is one wave of all its hosts, without zones.
fn plan_of_old(open: &[OpenTask], ended: &[EndedTask], made_at: Timestamp) -> RolloutPlan {
    let host = |task: TaskId, instance: InstanceId| LayoutHost {
        task,
        instance,
        zone: "",
        kind: String::new(),
        selected: 0,
        begun_in: None,
    };
    let hosts: Vec<LayoutHost<'_>> =
        open.iter().map(|o| host(o.task.id, o.task.instance)).chain(ended.iter().map(|e| host(e.task, e.instance))).collect();
    let rollout = Rollout::default();
    let facts = LayoutFacts {
        rollout: &rollout,
        drawn_seed: 0,
        parent: None,
        why: "the job began before there were plans",
        now: made_at,
    };
    lay_out(&facts, &hosts).0
}

/// One entry for each zone of the plan.
pub(crate) fn others(plan: &RolloutPlan, by_zone: &BTreeMap<String, u32>) -> Vec<u32> {
    plan.zones.iter().map(|z| by_zone.get(&z.zone).copied().unwrap_or_default()).collect()
}

/// Hosts of baking waves that fell silent or have units that failed since they were let go.
async fn decayed(
    control: &Control,
    c: &mut Reader,
    job: &JobRecord,
    plan: &RolloutPlan,
    open: &[OpenTask],
    ended: &[EndedTask],
    now: Timestamp,
) -> Result<HashSet<TaskId>> {
    let waves = baking(plan, open, ended, now);
    if waves.is_empty() || job.spec.dry_run {
        return Ok(HashSet::new());
    }
    let watched = patch_tasks::watched(c, job.id, &waves).await?;
    let at: HashMap<TaskId, &EndedTask> = ended.iter().map(|e| (e.task, e)).collect();
    let mut failed_units: HashMap<String, Vec<String>> = HashMap::new();
    let mut out = HashSet::new();
    for host in watched {
        let Some(task) = at.get(&host.task) else { continue };
        let is = Host::of(control, task.instance, host.last_seen, now);
        // After its own end, and after this server's begin: neither a reboot nor our absence is its silence.
        if is.is_silent(control.patience_from(task.at), control.config().no_agent_after_secs, now) {
            out.insert(host.task);
            continue;
        }
        let (Some(before), Some(fingerprint)) = (&host.units_before, &host.health) else { continue };
        if !failed_units.contains_key(fingerprint) {
            let body = inventory::body(c, SectionKind::Health, fingerprint).await?.unwrap_or_default();
            let health: Health = serde_json::from_slice(&body).unwrap_or_default();
            failed_units.insert(fingerprint.clone(), health.failed_units);
        }
        let units = failed_units.get(fingerprint).map(Vec::as_slice).unwrap_or_default();
        if units.iter().any(|unit| !before.contains(unit)) {
            out.insert(host.task);
        }
    }
    Ok(out)
}

/// The waves whose bake time is not over: until then their hosts are watched.
fn baking(plan: &RolloutPlan, open: &[OpenTask], ended: &[EndedTask], now: Timestamp) -> Vec<u16> {
    let mut waves = Vec::new();
    for (i, wave) in plan.waves.iter().enumerate().filter(|(_, w)| w.bake_secs > 0) {
        let Ok(i) = u16::try_from(i) else { continue };
        let last = ended.iter().filter(|e| e.wave == i).map(|e| e.at).max();
        let secs = SignedDuration::from_secs(i64::try_from(wave.bake_secs).unwrap_or(i64::MAX));
        let is_over = last.is_some_and(|at| at.saturating_add(secs).is_ok_and(|until| until <= now));
        if last.is_some() && (!is_over || open.iter().any(|o| o.task.wave == i)) {
            waves.push(i);
        }
    }
    waves
}
