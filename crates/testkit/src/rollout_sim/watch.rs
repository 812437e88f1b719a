//! The watcher: it sees each change of the server's rows in order and each begin on a host, keeps its own count, and says
//! what must never be. It uses neither the planner nor the linter.

use drydock_domain::patch::spec::Concurrency;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::RolloutMode;

use super::agent::Host;
use super::scenario::{Fate, Scenario, secs};
use super::store::{Change, Store, Task, place, task_id};

/// Violations kept of one run, count.
const KEPT_MAX: usize = 20;

/// Turns in which nobody goes although everybody could, count.
const STILL_MAX: u32 = 3;

/// What was violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// More hosts disrupted in a zone, or at once, than allowed.
    Budget,
    /// A host let go outside its window, in a freeze, before its wave or zone, or while the job was held.
    Window,
    /// A task let go or begun twice, or two at once on one host.
    Double,
    /// A pending host without a reason, or one that never ended.
    Unexplained,
    /// A final state that moved, or a host's result that the server does not have.
    Lost,
}

/// One violation.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which rule.
    pub kind: Kind,
    /// When and what.
    pub what: String,
}

#[derive(Debug, Default)]
struct Wave {
    hosts: u32,
    pending: u32,
    running: u32,
    last_end: Option<i64>,
}

#[derive(Debug, Default)]
struct Job {
    /// By zone of the fleet.
    budgets: Vec<Option<u32>>,
    running_in: Vec<u32>,
    /// When hosts of each zone failed.
    failed_at: Vec<Vec<i64>>,
    waves: Vec<Wave>,
    let_go: Vec<bool>,
    /// Hosts of later waves that were let go before the job first halted.
    escaped: u32,
    halted: bool,
    /// Turns one after the other in which it stood still.
    still: u32,
    /// Hosts of the first wave that the update made bad, when it first halted.
    met: u32,
}

/// The watcher.
#[derive(Debug)]
pub(super) struct Watch<'s> {
    scenario: &'s Scenario,
    jobs: Vec<Job>,
    /// Hosts at work in each zone, all jobs.
    running: Vec<u32>,
    /// The job that each host is at work for.
    busy: Vec<Option<usize>>,
    pub(super) violations: Vec<Violation>,
    /// All that were seen, also those not kept.
    pub(super) counts: [u64; 5],
}

impl<'s> Watch<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Watch<'s> {
        Watch {
            scenario,
            jobs: Vec::new(),
            running: vec![0; scenario.zones.len()],
            busy: vec![None; scenario.hosts.len()],
            violations: Vec::new(),
            counts: [0; 5],
        }
    }

    pub(super) fn found(&mut self, kind: Kind, now: i64, what: impl std::fmt::Display) {
        self.counts[kind as usize] += 1;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(Violation { kind, what: format!("at {now} s: {what}") });
        }
    }

    /// What an event changed.
    pub(super) fn look(&mut self, store: &mut Store, now: i64) -> Vec<Change> {
        let changes = store.changes();
        for change in &changes {
            match change {
                Change::Began(j) => {
                    self.jobs.push(Job::default());
                    self.count_anew(store, *j);
                }
                Change::Plan(j) => self.count_anew(store, *j),
                Change::Control(j) => self.halted(store, *j),
                Change::State { job, task, from, to, ordered_anew } => {
                    self.moved(store, (*job, *task), (*from, *to), *ordered_anew, now);
                }
                Change::Ended(j) => {
                    if store.jobs[*j].tasks.iter().any(|t| !t.state.is_final()) {
                        self.found(Kind::Lost, now, format_args!("job {j} ended with hosts that are not done"));
                    }
                }
            }
        }
        changes
    }

    /// A job's first halt: was it the update that its first wave met?
    fn halted(&mut self, store: &Store, j: usize) {
        let row = &store.jobs[j];
        if row.control.halted.is_none() || std::mem::replace(&mut self.jobs[j].halted, true) {
            return;
        }
        let bad = |task: &Task, fate: &Fate| match fate {
            Fate::Good => false,
            Fate::PostInstall | Fate::Health => task.reported == Some(TaskState::Failed),
            Fate::Decays(_) => store.units_failed[task.host],
        };
        let fates = row.tasks.iter().zip(&self.scenario.jobs[j].fates);
        let met = fates.filter(|(task, fate)| task.wave == 0 && bad(task, fate)).count();
        self.jobs[j].met = u32::try_from(met).unwrap_or(u32::MAX);
    }

    /// Counts a job's hosts by its plan.
    fn count_anew(&mut self, store: &Store, j: usize) {
        let (row, zones) = (&store.jobs[j], self.scenario.zones.len());
        let Some(plan) = row.plans.last() else { return };
        let job = &mut self.jobs[j];
        let mut members = vec![0_u32; zones];
        row.tasks.iter().for_each(|t| members[self.scenario.hosts[t.host].zone] += 1);
        let budget = |n: u32| match plan.rollout.disruption_budget {
            None => None,
            Some(Concurrency::Fixed(fixed)) => Some(fixed),
            Some(Concurrency::Percent(percent)) => Some((n * percent).div_ceil(100)),
        };
        job.budgets = members.iter().map(|n| budget(*n)).collect();
        job.let_go.resize(row.tasks.len(), false);
        job.running_in.resize(zones, 0);
        job.failed_at.resize(zones, Vec::new());
        job.waves = plan.waves.iter().map(|_| Wave::default()).collect();
        for task in &row.tasks {
            let Some(wave) = job.waves.get_mut(usize::from(task.wave)) else { continue };
            wave.hosts += 1;
            match task.state {
                TaskState::Pending => wave.pending += 1,
                state if state.is_running() => wave.running += 1,
                _ => wave.last_end = wave.last_end.max(Some(task.updated_at)),
            }
        }
    }

    fn moved(&mut self, store: &Store, (j, i): (usize, usize), (from, to): (TaskState, TaskState), anew: bool, now: i64) {
        let task = &store.jobs[j].tasks[i];
        let (host, zone, wave) = (task.host, self.scenario.hosts[task.host].zone, usize::from(task.wave));
        if from.is_final() {
            self.found(Kind::Lost, now, format_args!("host {host} of job {j} was {from:?} and became {to:?}"));
        }
        let job = &mut self.jobs[j];
        if let Some(wave) = job.waves.get_mut(wave) {
            wave.pending -= u32::from(from == TaskState::Pending).min(wave.pending);
            wave.running -= u32::from(from.is_running()).min(wave.running);
            wave.running += u32::from(to.is_running());
            if to.is_final() {
                wave.last_end = wave.last_end.max(Some(task.updated_at));
            }
        }
        if from.is_running() && !to.is_running() {
            self.running[zone] -= 1;
            job.running_in[zone] -= 1;
            self.busy[host] = None;
        }
        if matches!(to, TaskState::Failed | TaskState::TimedOut) {
            job.failed_at[zone].push(task.updated_at);
        }
        if to.is_running() && !from.is_running() {
            self.running[zone] += 1;
            job.running_in[zone] += 1;
            if let Some(other) = self.busy[host].replace(j) {
                self.found(Kind::Double, now, format_args!("host {host} is at work for jobs {other} and {j}"));
            }
        }
        if to == TaskState::Notified && (from == TaskState::Pending || anew) {
            self.let_go(store, j, i, now);
        }
    }

    fn let_go(&mut self, store: &Store, j: usize, i: usize, now: i64) {
        let row = &store.jobs[j];
        let task = &row.tasks[i];
        let (host, wave) = (task.host, usize::from(task.wave));
        let zone = self.scenario.hosts[host].zone;
        if std::mem::replace(&mut self.jobs[j].let_go[i], true) {
            self.found(Kind::Double, now, format_args!("host {host} was let go twice for job {j}"));
        }
        let job = &mut self.jobs[j];
        job.escaped += u32::from(wave > 0 && !job.halted);
        let job = &self.jobs[j];
        let forgiven = row.control.forgiven_until.map(secs);
        let failed = job.failed_at[zone].iter().filter(|at| forgiven.is_none_or(|until| **at > until)).count() as u32;
        let disrupted = self.running[zone] + failed;
        let at_work: u32 = job.running_in.iter().sum();
        if let Some(budget) = job.budgets[zone].filter(|budget| disrupted > *budget) {
            let zone = &self.scenario.zones[zone];
            let what = format!("host {host} of job {j} makes {disrupted} disrupted hosts in {zone}; the budget is {budget}");
            self.found(Kind::Budget, now, what);
        }
        if let Some(limit) = row.at_once.filter(|limit| at_work > *limit) {
            self.found(Kind::Budget, now, format_args!("{at_work} hosts of job {j} are at work; it may have {limit}"));
        }
        if !self.scenario.calendars[self.scenario.hosts[host].calendar].is_open(now) {
            self.found(Kind::Window, now, format_args!("host {host} was let go for job {j} and its calendar is closed"));
        }
        if let Some(why) = held(row, &self.jobs[j], wave, now) {
            self.found(Kind::Window, now, format_args!("host {host} of job {j} was let go {why}"));
        }
        let plan = row.plans.last();
        let zonewise = plan.is_some_and(|p| p.rollout.mode == RolloutMode::ZoneByZone && p.rollout.catch_up_secs.is_none());
        let elsewhere = self.jobs[j].running_in.iter().enumerate().any(|(z, n)| z != zone && *n > 0);
        if zonewise && elsewhere {
            self.found(Kind::Window, now, format_args!("host {host} of job {j} was let go beside another zone's"));
        }
    }

    /// A host begins: once, nothing else is going on there, and its calendar is open as far as its clock is right.
    pub(super) fn begins(&mut self, id: drydock_domain::ids::TaskId, host: usize, state: &Host, now: i64) {
        let (job, _) = place(id);
        if !state.forgot && state.begun.get(&id).is_some_and(|n| *n > 1) {
            self.found(Kind::Double, now, format_args!("host {host} began its part of job {job} twice"));
        }
        if state.ledger.iter().any(|e| e.task != id && !matches!(e.state, TaskState::Acked) && !e.state.is_final()) {
            self.found(Kind::Double, now, format_args!("host {host} works at two tasks"));
        }
        let spec = &self.scenario.hosts[host];
        if !self.scenario.calendars[spec.calendar].is_open(now + spec.skew) {
            self.found(Kind::Window, now, format_args!("host {host} begins while its calendar is closed"));
        }
    }

    /// After a turn that looked at every host of a job: each that is held has a reason, and nobody works beyond the end.
    pub(super) fn turned(&mut self, store: &Store, whole: &[usize], hosts: &[Host], now: i64) {
        for j in whole {
            let job = &store.jobs[*j];
            let reasonless = |why: &Option<_>| why.as_ref().is_none_or(is_nameless);
            if let Some(task) = job.tasks.iter().find(|t| t.state == TaskState::Pending && reasonless(&t.waiting_on)) {
                self.found(Kind::Unexplained, now, format_args!("host {} of job {j} is held without a reason", task.host));
            }
            if job.deadline < now && job.tasks.iter().any(|t| !t.state.is_final()) {
                self.found(Kind::Unexplained, now, format_args!("job {j} has hosts that are not done after its end"));
            }
            // A turn that gave somebody up leaves the rest to the next.
            let still = if self.stands_still(store, *j, hosts, now) { self.jobs[*j].still + 1 } else { 0 };
            self.jobs[*j].still = still;
            if still == STILL_MAX {
                self.found(Kind::Unexplained, now, format_args!("job {j} stands still: every host it waits for could go"));
            }
        }
    }

    /// Nobody is at work, nobody holds the job, nothing bakes, each host that waits is there and open: and nobody goes.
    fn stands_still(&self, store: &Store, j: usize, hosts: &[Host], now: i64) -> bool {
        let (job, control) = (&store.jobs[j], &store.jobs[j].control);
        let approved = control.approved.is_some() || job.plans.last().is_none_or(|p| !p.rollout.require_approval);
        let steered = control.halted.is_some() || control.paused.is_some() || job.cancel_requested || !approved;
        if steered || self.running.iter().any(|n| *n > 0) {
            return false;
        }
        let mut waiting = job.tasks.iter().filter(|t| t.state == TaskState::Pending).peekable();
        let could_go = |t: &Task| {
            let waits = t.waiting_on.as_ref().map_or("", |why| why.name());
            let open = self.scenario.calendars[self.scenario.hosts[t.host].calendar].is_open(now);
            let first = store.other_task(j, t.host).is_none();
            hosts[t.host].is_there() && open && first && !matches!(waits, "BAKE" | "GATE" | "APPROVAL")
        };
        waiting.peek().is_some() && waiting.all(could_go)
    }

    /// When nothing is going to happen any more.
    pub(super) fn over(&mut self, store: &Store, hosts: &[Host], now: i64) {
        for (j, job) in store.jobs.iter().enumerate() {
            if !job.state.is_final() {
                self.found(Kind::Unexplained, now, format_args!("job {j} never ended"));
            }
            for task in &job.tasks {
                let host = &hosts[task.host];
                if !task.state.is_final() {
                    self.found(Kind::Unexplained, now, format_args!("host {} of job {j} never ended", task.host));
                }
                let told = host.ended.get(&task_id(j, task.host));
                if !host.is_dead && !host.forgot && told.is_some() && task.reported != told.copied() {
                    let what = format!("host {} of job {j} ended as {told:?}; the server has {:?}", task.host, task.reported);
                    self.found(Kind::Lost, now, what);
                }
                let believed = task.state.is_success() && told != Some(&task.state) && !host.forgot;
                if believed {
                    let what = format!("the server has host {} of job {j} as {:?}, which it did not say", task.host, task.state);
                    self.found(Kind::Lost, now, what);
                }
            }
        }
    }

    /// Did the first wave of the first job meet the bad update, and nobody else? `None`: it came neither to a halt by it nor to
    /// a later wave.
    pub(super) fn contained(&mut self, store: &Store, now: i64) -> Option<bool> {
        let missed = !holds_a_bad_one(self.scenario, store);
        let escaped = self.jobs.first().map_or(0, |job| job.escaped);
        if escaped > 0 && !missed {
            // The sample did its work and the planner did not: no bad luck.
            self.found(Kind::Window, now, format_args!("{escaped} hosts were let go after a first wave that met a bad update"));
        }
        let job = self.jobs.first()?;
        let beyond = job.waves.iter().skip(1).map(|w| w.hosts).sum::<u32>();
        if beyond == 0 {
            return None;
        }
        (job.escaped > 0).then_some(false).or((job.met > 0).then_some(true))
    }
}

/// The first wave holds a host that the update makes bad.
fn holds_a_bad_one(scenario: &Scenario, store: &Store) -> bool {
    let (Some(row), Some(spec)) = (store.jobs.first(), scenario.jobs.first()) else { return false };
    row.tasks.iter().zip(&spec.fates).any(|(task, fate)| task.wave == 0 && *fate != Fate::Good)
}

fn is_nameless(why: &drydock_domain::patch::admission::WaitingOn) -> bool {
    why.name().is_empty()
}

/// Why nobody of this wave may go now.
fn held(row: &super::store::Job, job: &Job, wave: usize, now: i64) -> Option<String> {
    let control = &row.control;
    let rollout = &row.plans.last()?.rollout;
    let flags = [
        (control.halted.is_some(), "while the job is halted"),
        (control.paused.is_some(), "while the job is paused"),
        (row.cancel_requested, "after the job was aborted"),
        (rollout.require_approval && control.approved.is_none(), "before anybody approved the job"),
    ];
    if let Some((_, why)) = flags.into_iter().find(|(is, _)| *is) {
        return Some(why.to_owned());
    }
    let earlier = job.waves.iter().enumerate().take(wave).filter(|(_, w)| w.hosts > 0);
    for (i, before) in earlier {
        let written = rollout.waves.get(i)?;
        let bake = i64::try_from(written.bake_secs).unwrap_or(i64::MAX);
        let said = u16::try_from(i).ok().and_then(|i| control.gates.get(&i));
        let gate = written.gate.as_ref();
        let unsaid = gate.is_some_and(|g| {
            let yes = said.is_some_and(|s| s.webhook.as_ref().is_some_and(|w| w.passed));
            (g.approval && said.is_none_or(|s| s.approved.is_none())) || (g.webhook.is_some() && !yes)
        });
        if before.running > 0 || (before.pending > 0 && rollout.catch_up_secs.is_none()) {
            return Some(format!("before wave {i} was done"));
        }
        if bake > 0 && before.last_end.is_some_and(|at| now < at + bake) {
            return Some(format!("while wave {i} bakes"));
        }
        if unsaid {
            return Some(format!("before the gate after wave {i} said yes"));
        }
    }
    None
}
