//! One run: events in order of time, each followed by a look of the watcher.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::ids::TaskId;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::HaltCause;
use drydock_domain::work::{Directive, WorkOrder};

use super::agent::{Host, Next};
use super::luck::Luck;
use super::scenario::{Act, Fate, Faults, Scenario};
use super::server::{Killed, Server, Turned};
use super::store::{Change, place};
use super::watch::{Kind, Watch};
use super::{Outcome, Plant};

/// A turn of its own accord, seconds after the one before.
const TICK_SECS: i64 = 300;
/// An agent that heard of nothing looks for work by itself after so long, seconds.
const POLL_SECS: i64 = 300;
/// Everything is over so long after the last job's end, seconds, or never will be.
const AFTER_SECS: i64 = 6 * 3600;

/// What happens.
#[derive(Debug)]
enum Event {
    Begin(usize),
    Tick,
    Turn,
    ServerUp,
    Person(usize, Act),
    Webhook(usize, u16),
    Poll(usize),
    Step(usize, u32, TaskId),
    Send(usize, TaskId),
    /// A report arrives.
    Report(usize, u32, Box<TaskReport>),
    Refuse(usize, TaskId),
    Down(usize, i64),
    Up(usize),
    Cut(usize, i64),
    Linked(usize),
    Decay(usize),
    /// The host's inventory tells of its units.
    Units(usize),
}

/// A run.
struct Run<'s> {
    scenario: &'s Scenario,
    seed: u64,
    now: i64,
    queue: BTreeMap<(i64, u64), Event>,
    queued: u64,
    server: Server,
    hosts: Vec<Host>,
    watch: Watch<'s>,
    luck: Luck,
    faults: Faults,
    turn_at: Option<i64>,
    /// What this life of the server has asked, and the person was asked.
    asked: BTreeSet<(usize, u16)>,
    gates: BTreeSet<(usize, u16)>,
    resumes: u32,
    trace: Option<Vec<String>>,
}

/// Plays a seed.
pub(super) fn play(seed: u64, plant: Option<Plant>, trace: bool) -> Outcome {
    let scenario = Scenario::draw(seed);
    let mut run = Run {
        scenario: &scenario,
        seed,
        now: 0,
        queue: BTreeMap::new(),
        queued: 0,
        server: Server::new(&scenario, plant),
        hosts: scenario.hosts.iter().map(|h| Host::new(h.skew)).collect(),
        watch: Watch::new(&scenario),
        luck: Luck::new(seed, 2),
        faults: scenario.faults,
        turn_at: None,
        asked: BTreeSet::new(),
        gates: BTreeSet::new(),
        resumes: 0,
        trace: trace.then(Vec::new),
    };
    run.begin();
    let events = run.go();
    run.watch.over(&run.server.store, &run.hosts, run.now);
    let contained = if scenario.is_measured { run.watch.contained(&run.server.store, run.now) } else { None };
    Outcome {
        seed,
        hosts: scenario.hosts.len(),
        events,
        counts: run.watch.counts,
        violations: run.watch.violations,
        contained,
        trace: run.trace.unwrap_or_default(),
    }
}

impl Run<'_> {
    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = self.trace.as_mut() {
            trace.push(format!("{now:>7} {}", what()));
        }
    }

    fn at(&mut self, delay: i64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + delay.max(0), self.queued), event);
    }

    fn begin(&mut self) {
        for (j, job) in self.scenario.jobs.iter().enumerate() {
            // Jobs are numbered in the order in which they begin.
            let before = self.scenario.jobs[..j].iter().map(|b| b.at).max().unwrap_or(0);
            self.at(job.at.max(before), Event::Begin(j));
        }
        for (when, j, act) in &self.scenario.acts {
            self.at(*when, Event::Person(*j, *act));
        }
        for host in 0..self.hosts.len() {
            if self.luck.permille(self.faults.is_off) {
                let away = if self.luck.permille(300) { i64::MAX } else { self.luck.between(60, 36_000) };
                self.at(0, Event::Down(host, away));
            }
        }
        self.at(1, Event::Tick);
    }

    fn go(&mut self) -> u64 {
        let end = self.scenario.end();
        let mut events = 0;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end + AFTER_SECS {
                break;
            }
            self.now = at;
            if at > end {
                // Luck turns: nothing is lost any more.
                self.faults = Faults::default();
                self.server.fuse = None;
            }
            events += 1;
            if let Err(Killed) = self.happen(event) {
                self.note(|| "the server is killed".to_owned());
                let away = self.luck.between(2, 200);
                self.at(away, Event::ServerUp);
            }
            let changes = self.watch.look(&mut self.server.store, self.now);
            self.follow(&changes);
        }
        events
    }

    fn happen(&mut self, event: Event) -> Result<(), Killed> {
        match event {
            Event::Begin(j) => self.begin_job(j),
            Event::Tick => {
                let open = self.server.store.jobs.len() < self.scenario.jobs.len()
                    || self.server.store.jobs.iter().any(|j| !j.state.is_final());
                if open {
                    self.wake(0);
                    self.at(TICK_SECS, Event::Tick);
                }
                Ok(())
            }
            Event::Turn => self.turn(),
            Event::ServerUp => {
                self.server.is_up = true;
                self.server.began_at = self.now;
                self.asked.clear();
                self.turn_at = None;
                self.note(|| "the server is back".to_owned());
                self.wake(1);
                Ok(())
            }
            Event::Person(j, act) => self.person(j, act),
            Event::Webhook(j, wave) => self.webhook(j, wave),
            Event::Poll(host) => self.poll(host),
            Event::Step(host, life, task) => {
                self.step(host, life, task);
                Ok(())
            }
            Event::Send(host, task) => {
                self.send(host, task);
                Ok(())
            }
            Event::Report(host, life, report) => self.report(host, life, &report),
            Event::Refuse(host, task) => self.refuse(host, task),
            Event::Units(host) => self.units(host),
            Event::Down(..) | Event::Up(_) | Event::Cut(..) | Event::Linked(_) | Event::Decay(_) => {
                self.fortune(event);
                Ok(())
            }
        }
    }

    /// Wakes the server's reconciler; several reasons at once are one turn, later in large fleets.
    fn wake(&mut self, delay: i64) {
        let at = self.now + delay.max(i64::from(delay > 0) * (1 + self.hosts.len() as i64 / 150));
        if self.turn_at.is_none_or(|planned| planned > at || planned < self.now) {
            self.turn_at = Some(at);
            self.at(at - self.now, Event::Turn);
        }
    }

    /// Lights the fuse now and then.
    fn tempt(&mut self, permille: u32) {
        if self.server.fuse.is_none() && self.luck.permille(permille) {
            self.server.fuse = u32::try_from(self.luck.below(9)).ok();
        }
    }

    fn begin_job(&mut self, j: usize) -> Result<(), Killed> {
        if !self.server.is_up {
            // Nobody took the request; the operator tries again.
            self.at(60, Event::Begin(j));
            return Ok(());
        }
        if self.server.store.jobs.len() < j {
            self.at(60, Event::Begin(j));
            return Ok(());
        }
        self.wake(1);
        self.server.begin_job(self.scenario, j, self.now, self.seed)
    }

    fn turn(&mut self) -> Result<(), Killed> {
        if self.turn_at != Some(self.now) || !self.server.is_up {
            return Ok(());
        }
        self.turn_at = None;
        self.tempt(self.faults.server_kills * 5);
        let (hosts, now) = (&self.hosts, self.now);
        let last_seen = |host: usize| hosts[host].silent_since.or(Some(now));
        let turned = self.server.turn(self.scenario, now, &last_seen)?;
        let changes = self.watch.look(&mut self.server.store, now);
        self.follow(&changes);
        self.turned(turned);
        Ok(())
    }

    fn turned(&mut self, turned: Turned) {
        for finding in &turned.lint {
            self.watch.found(Kind::Budget, self.now, format_args!("the linter: {finding}"));
        }
        self.watch.turned(&self.server.store, &turned.whole, &self.hosts, self.now);
        for host in turned.hints {
            let lost = self.luck.permille(self.faults.lost);
            let delay = if lost { self.luck.between(30, POLL_SECS) } else { self.luck.between(0, 3) };
            self.at(delay, Event::Poll(host));
        }
        if turned.at_once {
            self.turn_at = Some(self.now + 1);
            self.at(1, Event::Turn);
        } else if turned.more {
            self.wake(1);
        }
        if let Some(at) = turned.wake_at.filter(|at| *at > self.now && *at < self.now + TICK_SECS) {
            self.wake((at - self.now).max(1));
        }
        for (j, wave) in turned.webhooks {
            if self.asked.insert((j, wave)) {
                let delay = self.luck.between(1, 90);
                self.at(delay, Event::Webhook(j, wave));
            }
        }
        for (j, wave) in turned.gates {
            if self.gates.insert((j, wave)) {
                let delay = self.luck.between(30, 5000);
                self.at(delay, Event::Person(j, Act::ApproveGate(wave)));
            }
        }
    }

    /// What the world does about what the server stored.
    fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::State { job, task, from, to, .. } => {
                    let host = self.server.store.jobs[*job].tasks[*task].host;
                    self.note(|| format!("job {job} host {host}: {} -> {}", from.as_str(), to.as_str()));
                    if to.is_final() {
                        self.wake(1);
                    }
                }
                Change::Control(j) => {
                    let halted = self.server.store.jobs[*j].control.halted.clone();
                    self.note(|| format!("job {j}: {}", halted.as_ref().map_or("not halted".into(), |h| h.cause.describe())));
                    let Some(halted) = halted.filter(|h| h.at == super::scenario::stamp(self.now)) else { continue };
                    let asked = matches!(halted.cause, HaltCause::Asked { .. });
                    let gives_up = self.scenario.is_measured || self.resumes > 4 || (!asked && self.luck.permille(300));
                    self.resumes += 1;
                    let delay = self.luck.between(60, 5000);
                    self.at(delay, Event::Person(*j, if gives_up { Act::Abort } else { Act::Resume }));
                }
                Change::Began(_) | Change::Plan(_) | Change::Ended(_) => {
                    self.note(|| format!("{change:?}"));
                }
            }
        }
    }

    fn person(&mut self, j: usize, act: Act) -> Result<(), Killed> {
        if !self.server.is_up || self.server.store.jobs.len() <= j {
            self.at(120, Event::Person(j, act));
            return Ok(());
        }
        self.note(|| format!("a person: {act:?} of job {j}"));
        self.tempt(self.faults.server_kills);
        self.wake(1);
        let (hosts, now) = (&self.hosts, self.now);
        let last_seen = |host: usize| hosts[host].silent_since.or(Some(now));
        let done = self.server.act(self.scenario, j, act, now, &last_seen);
        if done.is_err() && !matches!(act, Act::Replan) {
            // No answer: the operator looks, and asks again. It changes nothing when it was done.
            self.at(240, Event::Person(j, act));
        }
        done
    }

    fn webhook(&mut self, j: usize, wave: u16) -> Result<(), Killed> {
        if !self.server.is_up || !self.asked.remove(&(j, wave)) {
            return Ok(());
        }
        self.wake(1);
        match self.luck.below(10) {
            0 => self.server.gate_answer(j, wave, false, self.now),
            // Not yet: asked again in a later turn.
            1 => Ok(()),
            _ => self.server.gate_answer(j, wave, true, self.now),
        }
    }

    fn poll(&mut self, host: usize) -> Result<(), Killed> {
        if !self.hosts[host].is_there() {
            return Ok(());
        }
        if !self.server.is_up || self.luck.permille(self.faults.lost) {
            let delay = self.luck.between(20, 60);
            self.at(delay, Event::Poll(host));
            return Ok(());
        }
        self.tempt(self.faults.server_kills / 4);
        let held = self.hosts[host].held();
        let pulled = match self.server.pull(self.scenario, host, &held, self.now) {
            Ok(pulled) if !self.luck.permille(self.faults.lost) => pulled,
            other => {
                // No answer came.
                let delay = self.luck.between(20, 60);
                self.at(delay, Event::Poll(host));
                return other.map(drop);
            }
        };
        for (task, answer) in pulled.directives {
            match (self.hosts[host].entry(task), answer) {
                (Some(entry), Some(Directive::Stop | Directive::Kill)) => entry.stops = true,
                (Some(_), None) => {
                    self.watch.found(Kind::Lost, self.now, format_args!("the server forgot a task of host {host}"))
                }
                _ => {}
            }
        }
        for order in pulled.orders {
            let task = order.task.task;
            let taken = wire(&order).and_then(|order: WorkOrder| self.hosts[host].take(host, order, self.now).ok());
            match taken {
                Some(task) => {
                    let (life, delay) = (self.hosts[host].life, self.luck.between(1, 20));
                    self.at(delay, Event::Step(host, life, task));
                }
                None => self.at(1, Event::Refuse(host, task)),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, host: usize, task: TaskId) -> Result<(), Killed> {
        if !self.hosts[host].is_there() {
            return Ok(());
        }
        if !self.server.is_up || self.luck.permille(self.faults.lost) {
            self.at(30, Event::Refuse(host, task));
            return Ok(());
        }
        self.server.refuse(host, task, self.now)
    }

    fn step(&mut self, host: usize, life: u32, task: TaskId) {
        if !self.hosts[host].is_up || self.hosts[host].life != life {
            return;
        }
        if self.luck.permille(self.faults.agent_dies) {
            let away = self.luck.between(20, 300);
            return self.fortune(Event::Down(host, away));
        }
        if self.luck.permille(self.faults.partitions) {
            let long = if self.scenario.is_measured { 400 } else { 6000 };
            let away = self.luck.between(30, long);
            self.fortune(Event::Cut(host, away));
        }
        let (job, _) = place(task);
        let spec = &self.scenario.jobs[job];
        let member = self.server.store.jobs[job].of_host[host].map_or(0, |i| i as usize);
        let fate = spec.fates[member];
        let state = self.hosts[host].entry(task).map(|e| e.state);
        let fails = match state {
            Some(TaskState::ApplyingPatches) => fate == Fate::PostInstall,
            Some(TaskState::RunningPostPatchStep) => fate == Fate::Health,
            _ => false,
        };
        let Some(next) = self.hosts[host].step(task, self.now, fails, spec.reboots) else { return };
        self.note(|| format!("host {host}, job {job}: {next:?}"));
        match next {
            Next::Wait(until) => self.at((until - self.now).max(1), Event::Step(host, life, task)),
            Next::Went(TaskState::Rebooting) => {
                self.send(host, task);
                let dies = self.luck.permille(self.faults.never_returns);
                let away = if dies { i64::MAX } else { self.luck.between(30, 200) };
                self.fortune(Event::Down(host, away));
            }
            Next::Went(state) => {
                if state == TaskState::Started {
                    self.watch.begins(task, host, &self.hosts[host], self.now);
                }
                self.send(host, task);
                let long = self.luck.between(5, if state == TaskState::ApplyingPatches { 600 } else { 60 });
                self.at(long, Event::Step(host, life, task));
            }
            Next::Over(state) => {
                if let (TaskState::Succeeded, Fate::Decays(after)) = (state, fate) {
                    self.at(after, Event::Decay(host));
                }
                self.at(0, Event::Send(host, task));
            }
        }
    }

    /// Sends the newest report of a task; a final one again and again until the server has it.
    fn send(&mut self, host: usize, task: TaskId) {
        if !self.hosts[host].is_there() {
            return;
        }
        let Some(report) = self.hosts[host].report(task, self.now) else { return };
        if report.state.is_final() {
            let again = self.luck.between(40, 120);
            self.at(again, Event::Send(host, task));
        }
        let (life, copies) = (self.hosts[host].life, 1 + usize::from(self.luck.permille(self.faults.doubled)));
        for _ in 0..copies {
            if self.luck.permille(self.faults.lost) {
                continue;
            }
            let late = self.luck.permille(self.faults.late);
            let delay = if late { self.luck.between(20, 900) } else { self.luck.between(0, 2) };
            match wire(&report).filter(|r: &TaskReport| r.validate().is_ok()) {
                Some(read) => self.at(delay, Event::Report(host, life, Box::new(read))),
                None => self.watch.found(Kind::Lost, self.now, "a report cannot be read"),
            }
        }
    }

    fn report(&mut self, host: usize, life: u32, report: &TaskReport) -> Result<(), Killed> {
        if !self.server.is_up {
            return Ok(());
        }
        self.tempt(self.faults.server_kills / 4);
        let Some((directive, stored)) = self.server.report(host, report, self.now)? else { return Ok(()) };
        let is_there = self.hosts[host].is_there() && self.hosts[host].life == life;
        if !is_there || self.luck.permille(self.faults.lost) {
            return Ok(());
        }
        let seq = report.seq;
        if report.state.is_final() && stored {
            self.hosts[host].ledger.retain(|e| e.task != report.task || e.seq > seq);
        } else if let Some(entry) = self.hosts[host].entry(report.task).filter(|_| directive != Directive::Continue) {
            entry.stops = true;
        }
        Ok(())
    }

    fn units(&mut self, host: usize) -> Result<(), Killed> {
        let failed = self.hosts[host].units_failed;
        if !self.hosts[host].is_there() || self.server.store.units_failed[host] == failed {
            return Ok(());
        }
        if !self.server.is_up {
            self.at(60, Event::Units(host));
            return Ok(());
        }
        self.wake(1);
        self.server.tx(|store| store.units_failed[host] = failed)
    }

    /// Falls and returns of hosts and links.
    fn fortune(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Down(host, away) if self.hosts[host].is_up => {
                let state = &mut self.hosts[host];
                (state.is_up, state.life, state.is_dead) = (false, state.life + 1, away == i64::MAX);
                state.silent_since.get_or_insert(now);
                if away != i64::MAX {
                    self.at(away, Event::Up(host));
                }
                self.note(|| format!("host {host} falls"));
            }
            Event::Up(host) => {
                let forgets = self.luck.permille(self.faults.ledger_lost);
                let state = &mut self.hosts[host];
                (state.is_up, state.life) = (true, state.life + 1);
                if forgets {
                    state.forget();
                }
                self.note(|| format!("host {host} is back"));
                self.back(host);
                let life = self.hosts[host].life;
                for task in self.hosts[host].held() {
                    self.at(2, Event::Step(host, life, task));
                }
            }
            Event::Cut(host, away) if self.hosts[host].is_linked => {
                self.hosts[host].is_linked = false;
                self.hosts[host].silent_since.get_or_insert(now);
                self.at(away, Event::Linked(host));
                self.note(|| format!("host {host} is cut off"));
            }
            Event::Linked(host) => {
                self.hosts[host].is_linked = true;
                self.back(host);
            }
            Event::Decay(host) => {
                self.hosts[host].units_failed = true;
                self.note(|| format!("a unit of host {host} fails"));
                let delay = self.luck.between(1, 90);
                self.at(delay, Event::Units(host));
            }
            _ => {}
        }
    }

    /// A host that is there again looks for work, and tells what it has not told.
    fn back(&mut self, host: usize) {
        if !self.hosts[host].is_there() {
            return;
        }
        self.hosts[host].silent_since = None;
        self.at(1, Event::Poll(host));
        self.at(5, Event::Units(host));
        for task in self.hosts[host].held() {
            self.at(1, Event::Send(host, task));
        }
        // Who was away may be let go now.
        self.wake(1);
    }
}

/// Through the wire's form and back.
fn wire<T: serde::Serialize, R: serde::de::DeserializeOwned>(message: &T) -> Option<R> {
    serde_json::to_vec(message).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}
