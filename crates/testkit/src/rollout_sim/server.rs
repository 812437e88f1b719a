//! The simulated server: the decisions are Drydock's own (`rollout::decide`, `lint`, `task::step`), what is around them is a
//! small copy of the control room's job turn and of its answers to agents. It may be killed before and after each
//! transaction, and between a transaction and the hints that follow it.

use drydock_domain::ids::TaskId;
use drydock_domain::instance::{Reachability, reachability};
use drydock_domain::patch::admission::{Admission, WaitingOn};
use drydock_domain::patch::job::{JobFacts, JobState, StateCounts, state};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::{TaskEvent, TaskState, step};
use drydock_domain::rollout::{
    Closed, Ended, Facts, Halt, HostFacts, HostState, LayoutFacts, LayoutHost, Rollout, decide, lay_out, lint, window,
};
use drydock_domain::work::{Directive, PatchOrder, WorkOrder};

use super::Plant;
use super::scenario::{Scenario, secs, stamp};
use super::store::{Change, Job, Store, Task, instance_id, job_id, task_id};

/// A silent host is given up after so long, seconds (the server's setting).
const PATIENCE_SECS: i64 = 600;
/// A host at work that has been silent for so long is given up, seconds.
const LOST_AFTER_SECS: i64 = 3600;
/// An order is to be started within this time, seconds.
const START_WITHIN_SECS: i64 = 3600;

/// It was killed.
#[derive(Debug)]
pub(super) struct Killed;

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Store,
    pub(super) is_up: bool,
    /// This life began then.
    pub(super) began_at: i64,
    /// Dies after so many more points at which it can; `None`: not soon.
    pub(super) fuse: Option<u32>,
    plant: Option<Plant>,
    planted: u32,
}

/// When a host was last heard of: it is there now, or silent since.
pub(super) type LastSeen<'a> = &'a dyn Fn(usize) -> Option<i64>;

/// What a turn leads to.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) hints: Vec<usize>,
    pub(super) wake_at: Option<i64>,
    /// Another turn has work.
    pub(super) more: bool,
    /// And follows at once: this one did as much as one may.
    pub(super) at_once: bool,
    pub(super) webhooks: Vec<(usize, u16)>,
    /// A gate waits for a person.
    pub(super) gates: Vec<(usize, u16)>,
    pub(super) lint: Vec<String>,
    /// This turn looked at every host of these jobs.
    pub(super) whole: Vec<usize>,
}

/// An answer to a host that looked for work.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulled {
    pub(super) orders: Vec<WorkOrder>,
    /// `None`: the server does not know the task.
    pub(super) directives: Vec<(TaskId, Option<Directive>)>,
}

enum Move {
    By(usize, TaskEvent),
    LetGo(usize),
    Hold(usize, WaitingOn),
}

impl Server {
    pub(super) fn new(scenario: &Scenario, plant: Option<Plant>) -> Server {
        let n = scenario.hosts.len();
        let store = Store { order_numbers: vec![0; n], units_failed: vec![false; n], ..Store::default() };
        Server { store, is_up: true, began_at: 0, fuse: None, plant, planted: 0 }
    }

    /// A point at which the process can be killed.
    fn lives(&mut self) -> Result<(), Killed> {
        match self.fuse.as_mut() {
            Some(0) => {
                self.fuse = None;
                self.is_up = false;
                Err(Killed)
            }
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// One transaction: all of it or nothing. The caller may not live to hear of it.
    pub(super) fn tx(&mut self, change: impl FnOnce(&mut Store)) -> Result<(), Killed> {
        self.lives()?;
        change(&mut self.store);
        self.lives()
    }

    /// Every so often something that must not happen, for the watcher to find.
    fn plants(&mut self, plant: Plant, every: u32) -> bool {
        if self.plant != Some(plant) {
            return false;
        }
        self.planted += 1;
        self.planted.is_multiple_of(every)
    }

    /// A job begins: its hosts are laid out.
    pub(super) fn begin_job(&mut self, scenario: &Scenario, j: usize, now: i64, seed: u64) -> Result<(), Killed> {
        let spec = &scenario.jobs[j];
        let kinds: Vec<usize> = scenario.hosts.iter().map(|h| h.kind).collect();
        let members = &spec.members;
        let layout: Vec<LayoutHost<'_>> = members.iter().map(|h| layout_host(scenario, &kinds, j, *h, None)).collect();
        let facts = LayoutFacts { rollout: &spec.rollout, drawn_seed: seed, parent: None, why: "", now: stamp(now) };
        let (plan, waves) = lay_out(&facts, &layout);
        let mut of_host = vec![None; scenario.hosts.len()];
        members.iter().enumerate().for_each(|(i, h)| of_host[*h] = u32::try_from(i).ok());
        let tasks = members.iter().zip(waves).map(|(host, wave)| Task {
            host: *host,
            wave,
            zone: plan.zones.iter().position(|z| z.zone == scenario.zones[scenario.hosts[*host].zone]).unwrap_or(usize::MAX),
            state: TaskState::Pending,
            waiting_on: None,
            order_number: None,
            report_seq: 0,
            reported: None,
            updated_at: now,
            units_failed_before: false,
        });
        let job = Job {
            created_at: now,
            deadline: now + spec.duration,
            state: JobState::Patching,
            cancel_requested: false,
            control: Default::default(),
            at_once: spec.at_once,
            tasks: tasks.collect(),
            of_host,
            plans: vec![plan],
        };
        self.tx(|store| {
            store.jobs.push(job);
            store.noted(Change::Began(j));
        })
    }

    /// Has the host been silent for so long, counted from its last word, `since`, or the begin of this life?
    fn is_silent(&self, last_seen: Option<i64>, since: i64, long: i64, now: i64) -> bool {
        let from = last_seen.unwrap_or(since).max(since).max(self.began_at);
        reach(last_seen, now) != Reachability::Online && now - from >= long
    }

    /// What is due for every job.
    pub(super) fn turn(&mut self, scenario: &Scenario, now: i64, last_seen: LastSeen<'_>) -> Result<Turned, Killed> {
        let mut turned = Turned::default();
        let closed: Vec<Option<Closed>> =
            scenario.calendars.iter().map(|c| window::state(&c.windows, &c.freezes, stamp(now))).collect();
        for j in 0..self.store.jobs.len() {
            if !self.store.jobs[j].state.is_final() {
                self.job_turn(scenario, j, now, last_seen, &closed, &mut turned)?;
            }
        }
        self.lives()?;
        Ok(turned)
    }

    fn job_turn(
        &mut self,
        scenario: &Scenario,
        j: usize,
        now: i64,
        last_seen: LastSeen<'_>,
        closed: &[Option<Closed>],
        turned: &mut Turned,
    ) -> Result<(), Killed> {
        let job = &self.store.jobs[j];
        if job.tasks.iter().all(|t| t.state.is_final()) {
            let mut counts = StateCounts::new();
            job.tasks.iter().for_each(|t| *counts.entry(t.state).or_default() += 1);
            let facts = JobFacts { cancel_requested: job.cancel_requested, deadline: Some(stamp(job.deadline)) };
            let ended = state(&counts, facts, stamp(now));
            turned.more = true;
            return self.tx(|store| {
                store.jobs[j].state = ended;
                store.noted(Change::Ended(j));
            });
        }
        let mut moves: Vec<Move> = Vec::new();
        let mut states: Vec<TaskState> = job.tasks.iter().map(|t| t.state).collect();
        for (i, task) in job.tasks.iter().enumerate().filter(|(_, t)| !t.state.is_final()) {
            if let Some(event) = self.due(job, task, last_seen(task.host), now)
                && let Ok(next) = step(task.state, event)
                && next != task.state
            {
                moves.push(Move::By(i, event));
                states[i] = next;
            }
        }
        let mut halt = None;
        if !job.cancel_requested {
            halt = self.ask_planner(scenario, j, now, last_seen, closed, &states, &mut moves, turned);
        }
        if moves.len() > scenario.changes_max {
            moves.truncate(scenario.changes_max);
            turned.at_once = true;
        } else {
            turned.whole.push(j);
        }
        turned.more |= moves.iter().any(|m| matches!(m, Move::By(..)));
        if moves.is_empty() && halt.is_none() {
            return Ok(());
        }
        let hints = &mut turned.hints;
        self.tx(|store| carry_out(store, j, moves, halt, now, hints))
    }

    /// What is due besides letting go.
    fn due(&self, job: &Job, task: &Task, last_seen: Option<i64>, now: i64) -> Option<TaskEvent> {
        let begun = !matches!(task.state, TaskState::Pending | TaskState::Notified);
        if job.deadline <= now {
            return Some(TaskEvent::Deadline);
        }
        if job.cancel_requested {
            let gone = begun && self.is_silent(last_seen, task.updated_at, PATIENCE_SECS, now);
            return (!begun).then_some(TaskEvent::Cancel).or(gone.then_some(TaskEvent::Deadline));
        }
        if task.state == TaskState::Notified && self.is_silent(last_seen, job.created_at, PATIENCE_SECS, now) {
            return Some(TaskEvent::AgentMissing);
        }
        let lost = begun && self.is_silent(last_seen, task.updated_at, LOST_AFTER_SECS, now);
        lost.then_some(TaskEvent::Deadline)
    }

    /// Asks the planner, lets the linter look, and notes who goes and who is held.
    #[expect(clippy::too_many_arguments, reason = "the facts of one turn")]
    fn ask_planner(
        &mut self,
        scenario: &Scenario,
        j: usize,
        now: i64,
        last_seen: LastSeen<'_>,
        closed: &[Option<Closed>],
        states: &[TaskState],
        moves: &mut Vec<Move>,
        turned: &mut Turned,
    ) -> Option<Halt> {
        let more = self.plants(Plant::Budget, 3);
        let blind = self.plants(Plant::Halt, 1);
        let open_all = self.plants(Plant::Window, 1);
        let job = &self.store.jobs[j];
        let plan = job.plans.last()?;
        let hosts = self.hosts(scenario, j, now, last_seen, if open_all { &[] } else { closed }, states);
        let others = self.others(j);
        let control = if blind { Default::default() } else { job.control.clone() };
        let facts = Facts { plan, control: &control, hosts: &hosts, others: &others, at_once: job.at_once, now: stamp(now) };
        let mut decision = decide(&facts);
        turned.lint.extend(lint(&facts, &decision));
        if more
            && let Some(held) = decision.answers.iter_mut().find(|(_, a)| matches!(a, Admission::Hold(WaitingOn::Budget { .. })))
        {
            held.1 = Admission::Admit;
        }
        turned.wake_at = turned.wake_at.into_iter().chain(decision.wake_at.map(secs)).min();
        turned.webhooks.extend(decision.webhooks_due.iter().map(|w| (j, *w)));
        let mut let_go = Vec::new();
        let mut holds = Vec::new();
        for (id, answer) in decision.answers {
            let (_, host) = super::store::place(id);
            let Some(i) = job.of_host[host].map(|i| i as usize) else { continue };
            match answer {
                Admission::Admit => let_go.push(Move::LetGo(i)),
                Admission::Hold(why) => {
                    if let WaitingOn::Approval { wave: Some(name) } = &why
                        && let Some(wave) = plan.waves.iter().position(|w| w.name == *name)
                        && !turned.gates.contains(&(j, wave as u16))
                    {
                        turned.gates.push((j, wave as u16));
                    }
                    let away = matches!(why, WaitingOn::Unreachable { .. });
                    let silent = || self.is_silent(last_seen(host), job.created_at, PATIENCE_SECS, now);
                    if away && !may_catch_up(&plan.rollout, job.created_at, now) && silent() {
                        moves.push(Move::By(i, TaskEvent::AgentMissing));
                    } else if job.tasks[i].waiting_on.as_ref() != Some(&why) {
                        holds.push(Move::Hold(i, why));
                    }
                }
            }
        }
        moves.extend(let_go);
        if self.plant != Some(Plant::Reason) {
            moves.extend(holds);
        }
        decision.halt
    }

    fn hosts<'a>(
        &self,
        scenario: &Scenario,
        j: usize,
        now: i64,
        last_seen: LastSeen<'_>,
        closed: &'a [Option<Closed>],
        states: &[TaskState],
    ) -> Vec<HostFacts<'a>> {
        let job = &self.store.jobs[j];
        let plan = job.plans.last();
        let baking = baking(job, now);
        let tasks = job.tasks.iter().zip(states).map(|(task, state)| {
            let seen = last_seen(task.host);
            let is_pending = *state == TaskState::Pending;
            let decayed = state.is_success() && self.is_decayed(task, &baking, seen, now);
            HostFacts {
                task: task_id(j, task.host),
                wave: task.wave,
                zone: task.zone,
                // Whom this turn gives up ends now.
                state: standing(*state, if *state == task.state { task.updated_at } else { now }, decayed),
                reachability: reach(seen, now),
                last_seen: seen.map(stamp),
                other_task: if is_pending { self.store.other_task(j, task.host) } else { None },
                closed: closed.get(scenario.hosts[task.host].calendar).and_then(Option::as_ref),
                is_straggler: is_pending
                    && plan.is_some_and(|p| may_catch_up(&p.rollout, job.created_at, now))
                    && self.is_silent(seen, job.created_at, PATIENCE_SECS, now),
            }
        });
        tasks.collect()
    }

    /// Its wave is watched, and it is silent or has units that fail since.
    fn is_decayed(&self, task: &Task, baking: &[bool], seen: Option<i64>, now: i64) -> bool {
        let new_units = self.store.units_failed[task.host] && !task.units_failed_before;
        baking.get(usize::from(task.wave)).is_some_and(|b| *b)
            && (new_units || self.is_silent(seen, task.updated_at, PATIENCE_SECS, now))
    }

    /// Whom a person who resumes the job sees decayed.
    pub(super) fn decayed(&self, j: usize, now: i64, last_seen: LastSeen<'_>) -> Vec<TaskId> {
        let job = &self.store.jobs[j];
        let baking = baking(job, now);
        let bad = |t: &&Task| t.state.is_success() && self.is_decayed(t, &baking, last_seen(t.host), now);
        job.tasks.iter().filter(bad).map(|t| task_id(j, t.host)).collect()
    }

    /// Hosts that other jobs are at work on, by zone of this job's plan.
    fn others(&self, j: usize) -> Vec<u32> {
        let zones = self.store.jobs[j].plans.last().map(|p| p.zones.as_slice()).unwrap_or_default();
        let mut out = vec![0; zones.len()];
        for (_, other) in self.store.jobs.iter().enumerate().filter(|(o, job)| *o != j && !job.state.is_final()) {
            let theirs = other.plans.last().map(|p| p.zones.as_slice()).unwrap_or_default();
            for task in other.tasks.iter().filter(|t| t.state.is_running()) {
                let name = theirs.get(task.zone).map(|z| &z.zone);
                if let Some(at) = zones.iter().position(|z| Some(&z.zone) == name) {
                    out[at] += 1;
                }
            }
        }
        out
    }

    /// A host looks for work and says which tasks it holds.
    pub(super) fn pull(&mut self, scenario: &Scenario, host: usize, held: &[TaskId], now: i64) -> Result<Pulled, Killed> {
        let mut pulled = Pulled::default();
        for j in 0..self.store.jobs.len() {
            let job = &self.store.jobs[j];
            let Some(i) = job.of_host[host].map(|i| i as usize) else { continue };
            let task = &job.tasks[i];
            let (state, reports) = (task.state, task.report_seq);
            if !state.is_running() {
                continue;
            }
            let cancelled = job.cancel_requested;
            if held.contains(&task_id(j, host)) {
                if state == TaskState::Notified {
                    self.tx(|store| store.set_state(j, i, TaskState::Acked, now))?;
                }
            } else if reports > 0 {
                self.tx(|store| store.set_state(j, i, TaskState::Failed, now))?;
            } else if cancelled {
                self.tx(|store| store.set_state(j, i, TaskState::Canceled, now))?;
            } else if now < job.deadline {
                self.tx(|store| store.set_state(j, i, TaskState::Acked, now))?;
                pulled.orders.extend(self.order(scenario, j, i, now));
                if self.plants(Plant::Twice, 5) {
                    self.let_go_again(j, i);
                }
            }
        }
        for id in held {
            let found = self.store.find(*id, host);
            let answer = found.map(|(j, i)| directive(&self.store.jobs[j], self.store.jobs[j].tasks[i].state, now));
            pulled.directives.push((*id, answer));
        }
        Ok(pulled)
    }

    /// The planted bug: a second order for a task that has one.
    fn let_go_again(&mut self, j: usize, i: usize) {
        let task = &mut self.store.jobs[j].tasks[i];
        self.store.order_numbers[task.host] += 1;
        task.order_number = Some(self.store.order_numbers[task.host]);
        task.state = TaskState::Notified;
        let (from, to) = (TaskState::Acked, TaskState::Notified);
        self.store.noted(Change::State { job: j, task: i, from, to, ordered_anew: true });
    }

    fn order(&self, scenario: &Scenario, j: usize, i: usize, now: i64) -> Option<WorkOrder> {
        let job = &self.store.jobs[j];
        let task = &job.tasks[i];
        let calendar = &scenario.calendars[scenario.hosts[task.host].calendar];
        let order = PatchOrder {
            task: task_id(j, task.host),
            job: job_id(j),
            deadline: Some(stamp(job.deadline)),
            dry_run: false,
            config: Default::default(),
            windows: window::for_order(&calendar.windows, &calendar.freezes, stamp(now)),
            reboot_slot: false,
            frozen: Vec::new(),
            soak: None,
        };
        Some(WorkOrder {
            version: order.work_version(),
            instance: instance_id(task.host),
            number: task.order_number?,
            issued_at: stamp(now),
            start_before: stamp(job.deadline.min(now + START_WITHIN_SECS)),
            task: order,
        })
    }

    /// A host reports. `None`: the server does not know the task.
    pub(super) fn report(&mut self, host: usize, report: &TaskReport, now: i64) -> Result<Option<(Directive, bool)>, Killed> {
        let Some((j, i)) = self.store.find(report.task, host) else { return Ok(None) };
        let (state, seq) = (self.store.jobs[j].tasks[i].state, self.store.jobs[j].tasks[i].report_seq);
        if report.seq <= seq {
            return Ok(Some((directive(&self.store.jobs[j], state, now), true)));
        }
        if state == TaskState::Pending {
            return Ok(Some((directive(&self.store.jobs[j], state, now), false)));
        }
        if !(report.state.is_final() && self.plants(Plant::Lost, 4)) {
            self.tx(|store| {
                let task = &mut store.jobs[j].tasks[i];
                task.report_seq = report.seq;
                task.reported = Some(report.state);
                if let Ok(next) = step(state, TaskEvent::Report(report.state)) {
                    store.set_state(j, i, next, now);
                }
            })?;
        }
        let job = &self.store.jobs[j];
        Ok(Some((directive(job, job.tasks[i].state, now), true)))
    }

    /// A host will not act on an order.
    pub(super) fn refuse(&mut self, host: usize, id: TaskId, now: i64) -> Result<(), Killed> {
        let Some((j, i)) = self.store.find(id, host) else { return Ok(()) };
        let task = &self.store.jobs[j].tasks[i];
        if task.report_seq == 0 && task.state.is_running() {
            self.tx(|store| store.set_state(j, i, TaskState::Failed, now))?;
        }
        Ok(())
    }
}

pub(super) fn layout_host<'a>(
    scenario: &'a Scenario,
    kinds: &[usize],
    j: usize,
    host: usize,
    begun_in: Option<u16>,
) -> LayoutHost<'a> {
    LayoutHost {
        task: task_id(j, host),
        instance: instance_id(host),
        zone: &scenario.zones[scenario.hosts[host].zone],
        kind: format!("os {}", kinds[host]),
        selected: 0,
        begun_in,
    }
}

fn carry_out(store: &mut Store, j: usize, moves: Vec<Move>, halt: Option<Halt>, now: i64, hints: &mut Vec<usize>) {
    if halt.is_some() {
        store.jobs[j].control.halted = halt;
        store.noted(Change::Control(j));
    }
    for change in moves {
        match change {
            Move::By(i, event) => {
                if let Ok(next) = step(store.jobs[j].tasks[i].state, event) {
                    store.set_state(j, i, next, now);
                    hints.push(store.jobs[j].tasks[i].host);
                }
            }
            Move::LetGo(i) => {
                let Ok(next) = step(store.jobs[j].tasks[i].state, TaskEvent::Notify) else { continue };
                let host = store.jobs[j].tasks[i].host;
                let floor = u64::try_from(stamp(now).as_millisecond()).unwrap_or(0);
                store.order_numbers[host] = (store.order_numbers[host] + 1).max(floor);
                let task = &mut store.jobs[j].tasks[i];
                task.order_number = Some(store.order_numbers[host]);
                task.units_failed_before = store.units_failed[host];
                store.set_state(j, i, next, now);
                hints.push(host);
            }
            Move::Hold(i, why) => store.jobs[j].tasks[i].waiting_on = Some(why),
        }
    }
}

fn may_catch_up(rollout: &Rollout, created_at: i64, now: i64) -> bool {
    rollout.catch_up_secs.is_some_and(|secs| now - created_at < i64::try_from(secs).unwrap_or(i64::MAX))
}

fn reach(last_seen: Option<i64>, now: i64) -> Reachability {
    reachability(last_seen.map(stamp), stamp(now))
}

fn standing(state: TaskState, at: i64, decayed: bool) -> HostState {
    let how = match state {
        TaskState::Pending => return HostState::Pending,
        TaskState::Succeeded | TaskState::SucceededRebootRequired if decayed => Ended::Decayed,
        TaskState::Succeeded | TaskState::SucceededRebootRequired => Ended::Succeeded,
        TaskState::Failed | TaskState::TimedOut => Ended::Failed,
        TaskState::NoAgentDetected | TaskState::Inactive => Ended::Missing,
        TaskState::Canceled => Ended::Canceled,
        _ => return HostState::Running,
    };
    HostState::Ended { how, at: stamp(at) }
}

/// Which waves are watched: they have ended hosts, and their bake time is not over.
fn baking(job: &Job, now: i64) -> Vec<bool> {
    let Some(plan) = job.plans.last() else { return Vec::new() };
    let waves = plan.waves.len();
    let (mut last, mut open) = (vec![None; waves], vec![false; waves]);
    for task in &job.tasks {
        let wave = usize::from(task.wave).min(waves.saturating_sub(1));
        if task.state.is_final() {
            last[wave] = last[wave].max(Some(task.updated_at));
        } else {
            open[wave] = true;
        }
    }
    let bakes = plan.waves.iter().zip(last).zip(open).map(|((wave, last), open)| {
        let secs = i64::try_from(wave.bake_secs).unwrap_or(i64::MAX);
        secs > 0 && last.is_some_and(|at: i64| open || at.saturating_add(secs) > now)
    });
    bakes.collect()
}

/// What an agent at work on a task is told.
fn directive(job: &Job, state: TaskState, now: i64) -> Directive {
    if job.cancel_requested || state.is_final() || job.deadline <= now { Directive::Stop } else { Directive::Continue }
}
