//! A small fleet with bad luck: a seed decides which answers are lost, when agents crash and when the server dies.
//!
//! After every event: no job has more hosts at work than it may, no host works at two tasks, no task begins twice on a
//! host that kept its ledger. In the end every job is final and the server's picture is the hosts' own.
//!
//! With rollouts: two servers on one store, two jobs that share the budget of each zone, waves that bake, people who pause,
//! halt, resume and abort; budgets, waves and halts are counted here once more, from the rows alone.
#![allow(missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use drydock_control::HeldAnswer;
use drydock_control::records::TaskRecord;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::Directive;

/// Hosts of the fleet.
const HOSTS: usize = 6;
/// Hosts a job may have at work at once.
const LIMIT: usize = 2;
/// Events of one run.
const EVENTS: usize = 250;
/// Hosts of the fleet with rollouts, in three zones.
const ROLLOUT_HOSTS: usize = 9;
/// Hosts disrupted at once in each zone, by both jobs together.
const BUDGET: usize = 2;
/// Bake time of the first wave, seconds.
const BAKE_SECS: i64 = 40;
/// Turns in which everything must end once luck turns good.
const LAST_TURNS: usize = 80;

/// xorshift64*: the same seed gives the same run on every machine.
struct Luck(u64);

impl Luck {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let n = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(n).expect("31 bits") % below
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.next(n) == 0
    }
}

/// What an agent keeps on disk about one task.
#[derive(Clone)]
struct Entry {
    seq: u64,
    state: TaskState,
    steps_left: usize,
}

struct Agent {
    host: Host,
    ledger: BTreeMap<TaskId, Entry>,
    last_number: u64,
    begun: BTreeMap<TaskId, usize>,
    ended: BTreeMap<TaskId, TaskState>,
    down_for: usize,
}

impl Agent {
    /// One round of an agent: pull, work a step, report. Any answer may be lost on its way.
    async fn round(&mut self, w: &World, luck: &mut Luck) {
        if self.down_for > 0 {
            self.down_for -= 1;
            return;
        }
        let held: Vec<TaskId> = self.ledger.keys().copied().collect();
        let pulled = self.host.pull(w, &held).await;
        if !luck.one_in(4) {
            for signed in &pulled.orders {
                let order = verify(w, signed);
                order.accept(self.host.id, self.last_number, w.control.now()).expect("a fresh order for this host");
                self.last_number = order.number;
                let steps_left = 1 + luck.next(3);
                self.ledger.insert(order.task.task, Entry { seq: 0, state: TaskState::Acked, steps_left });
            }
            for (task, answer) in pulled.directives {
                self.obey(task, answer);
            }
        }
        let tasks: Vec<TaskId> = self.ledger.keys().copied().collect();
        for task in tasks {
            self.work(w, luck, task).await;
        }
        if luck.one_in(12) {
            self.down_for = 1 + luck.next(5);
        }
    }

    fn obey(&mut self, task: TaskId, answer: HeldAnswer) {
        let Some(entry) = self.ledger.get_mut(&task) else { return };
        match answer {
            HeldAnswer::Forget => panic!("the server forgot a task of this host"),
            HeldAnswer::Directive(Directive::Continue) => {}
            HeldAnswer::Directive(Directive::Stop | Directive::Kill) if !entry.state.is_final() => {
                entry.state = TaskState::Canceled;
                entry.seq += 1;
            }
            HeldAnswer::Directive(_) => {}
        }
    }

    async fn work(&mut self, w: &World, luck: &mut Luck, task: TaskId) {
        let Some(entry) = self.ledger.get_mut(&task) else { return };
        if !entry.state.is_final() {
            if entry.state == TaskState::Acked {
                *self.begun.entry(task).or_default() += 1;
            }
            entry.seq += 1;
            entry.state = if entry.steps_left > 0 {
                entry.steps_left -= 1;
                [TaskState::Started, TaskState::ApplyingPatches, TaskState::Rebooting][luck.next(3)]
            } else {
                [TaskState::Succeeded, TaskState::Succeeded, TaskState::Failed][luck.next(3)]
            };
        }
        let entry = entry.clone();
        if luck.one_in(5) {
            return; // The report never reached the server.
        }
        let answer = self.host.report(w, task, entry.seq, entry.state).await;
        if luck.one_in(4) {
            return; // The answer never reached the agent.
        }
        if entry.state.is_final() && answer.stored {
            self.ledger.remove(&task);
            self.ended.insert(task, entry.state);
        } else {
            self.obey(task, HeldAnswer::Directive(answer.directive));
        }
    }
}

async fn check(w: &World, jobs: &[JobId], agents: &[Agent], seed: u64) {
    let mut busy = BTreeSet::new();
    for job in jobs {
        let tasks = w.tasks(*job).await;
        let running: Vec<&TaskRecord> = tasks.iter().filter(|t| t.state.is_running()).collect();
        assert!(running.len() <= LIMIT, "seed {seed}: {} hosts at work", running.len());
        for task in running {
            assert!(busy.insert(task.instance), "seed {seed}: {} works at two tasks", task.instance_name);
        }
        if w.view(*job).await.record.state.is_final() {
            assert!(tasks.iter().all(|t| t.state.is_final()), "seed {seed}: a final job has an open task");
        }
    }
    for agent in agents {
        assert!(agent.begun.values().all(|n| *n == 1), "seed {seed}: a task began twice on {}", agent.host.name);
    }
}

async fn simulate(seed: u64) {
    let mut luck = Luck(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut w = World::new().await;
    let hosts = w.hosts(HOSTS).await;
    let agent = |host: Host| Agent {
        host,
        ledger: BTreeMap::new(),
        last_number: 0,
        begun: BTreeMap::new(),
        ended: BTreeMap::new(),
        down_for: 0,
    };
    let mut agents: Vec<Agent> = hosts.into_iter().map(agent).collect();
    let mut jobs = Vec::new();
    for event in 0..EVENTS {
        match luck.next(20) {
            0 if jobs.len() < 4 => {
                let duration = if luck.one_in(2) { r#","durationSecs":400"# } else { "" };
                let spec = format!(r#"{{"instanceFilter":{{"all":true}},"concurrency":{{"fixed":{LIMIT}}}{duration}}}"#);
                jobs.push(w.job(&spec).await);
            }
            1 => w.restart().await,
            2 if !jobs.is_empty() && luck.one_in(4) => {
                let job = jobs[luck.next(jobs.len())];
                let kill = luck.one_in(2);
                // Refused when the job has ended: an operator may be late.
                let _late_or_done = w.control.cancel_patch_job(&w.server(), job, kill).await;
            }
            3..=5 => w.pass(5),
            6..=10 => {
                let failed = drydock_control::reconcile::turn(&w.control).await;
                assert!(failed.is_empty(), "seed {seed}, event {event}: {failed:?}");
            }
            _ => {
                let n = luck.next(agents.len());
                agents[n].round(&w, &mut luck).await;
            }
        }
        check(&w, &jobs, &agents, seed).await;
    }
    // Luck turns: nothing is lost any more, and everything ends.
    let mut good = Luck(u64::MAX);
    for _ in 0..LAST_TURNS {
        w.settle().await;
        for agent in &mut agents {
            agent.down_for = 0;
            agent.round(&w, &mut good).await;
        }
        w.pass(5);
    }
    w.settle().await;
    check(&w, &jobs, &agents, seed).await;
    for job in &jobs {
        let view = w.view(*job).await;
        assert!(view.record.state.is_final(), "seed {seed}: {:?}", view.counts);
        for task in w.tasks(*job).await {
            let told = agents.iter().find_map(|a| a.ended.get(&task.id));
            if let (TaskState::Succeeded, Some(told)) = (task.state, told) {
                assert_eq!(*told, TaskState::Succeeded, "seed {seed}: the server believes what the host did not say");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_bad_luck_keeps_its_promises() {
    for seed in 1..=12 {
        simulate(seed).await;
    }
}

fn agent_of(host: Host) -> Agent {
    let (ledger, begun, ended) = Default::default();
    Agent { host, ledger, last_number: 0, begun, ended, down_for: 0 }
}

/// What was so after the event before.
#[derive(Default)]
struct Before {
    states: BTreeMap<TaskId, TaskState>,
    /// Jobs that were halted, paused or aborted.
    held: BTreeSet<JobId>,
}

/// Counts from the rows what must be true of rollouts after an event.
async fn check_rollouts(w: &World, jobs: &[JobId], before: &mut Before, acted: bool, seed: u64) {
    let mut at_work: BTreeMap<String, usize> = BTreeMap::new();
    let mut busy: BTreeSet<InstanceId> = BTreeSet::new();
    let mut now = Before::default();
    for job in jobs {
        let record = w.view(*job).await.record;
        let tasks = w.tasks(*job).await;
        let control = &record.control;
        let forgiven = |t: &TaskRecord| t.finished_at.zip(control.forgiven_until).is_some_and(|(at, until)| at <= until);
        let failed = |t: &&TaskRecord| matches!(t.state, TaskState::Failed | TaskState::TimedOut) && !forgiven(t);
        for task in tasks.iter().filter(|t| t.state.is_running()) {
            *at_work.entry(task.zone.clone()).or_default() += 1;
            assert!(busy.insert(task.instance), "seed {seed}: {} works at two tasks", task.instance_name);
        }
        let was = |t: &TaskRecord| before.states.get(&t.id).copied().unwrap_or(TaskState::Pending);
        for task in &tasks {
            assert!(!was(task).is_final() || was(task) == task.state, "seed {seed}: a final state moved: {task:?}");
            now.states.insert(task.id, task.state);
        }
        let went = |t: &&TaskRecord| was(t) == TaskState::Pending && t.order_number.is_some();
        for task in tasks.iter().filter(went) {
            let own = tasks.iter().filter(|t| t.zone == task.zone && t.state.is_running()).count();
            let bad = tasks.iter().filter(|t| t.zone == task.zone).filter(failed).count();
            assert!(own + bad <= BUDGET, "seed {seed}: {own} at work and {bad} failed in zone {}", task.zone);
            assert!(acted || !before.held.contains(job), "seed {seed}: let go while the job was held: {task:?}");
            for earlier in tasks.iter().filter(|t| t.wave < task.wave) {
                let baked = earlier.finished_at.is_some_and(|at| w.control.now().as_second() - at.as_second() >= BAKE_SECS);
                assert!(baked, "seed {seed}: {} went before {earlier:?} was done and had baked", task.instance_name);
            }
        }
        if control.halted.is_some() || control.paused.is_some() || record.cancel_requested {
            now.held.insert(*job);
        }
    }
    assert!(at_work.values().all(|n| *n <= BUDGET), "seed {seed}: hosts at work by zone: {at_work:?}");
    *before = now;
}

/// Every pending host of a job that is not over is held for a reason.
async fn check_holds(w: &World, jobs: &[JobId], seed: u64) {
    for job in jobs {
        for task in w.tasks(*job).await.iter().filter(|t| t.state == TaskState::Pending) {
            let why = task.waiting_on.as_ref().map(|why| why.describe());
            assert!(why.is_some_and(|why| !why.is_empty()), "seed {seed}: {} waits for nothing", task.instance_name);
        }
    }
}

async fn person(w: &World, jobs: &[JobId], luck: &mut Luck) {
    let Some(job) = jobs.get(luck.next(jobs.len().max(1))) else { return };
    let server = w.server();
    // Refused when there is nothing to do so: people come late.
    let _done = match luck.next(8) {
        0 | 1 => w.control.pause_patch_job(&server, *job).await,
        2 => w.control.halt_patch_job(&server, *job, "a look").await,
        3 if luck.one_in(3) => w.control.abort_patch_job(&server, *job).await,
        _ => w.control.resume_patch_job(&server, *job, None).await,
    };
}

async fn turn_of_two(w: &World, second: &drydock_control::Control, seed: u64) {
    // Both at once: what one decided on the other may have changed.
    let (one, two) = tokio::join!(drydock_control::reconcile::turn(&w.control), drydock_control::reconcile::turn(second));
    assert!(one.is_empty() && two.is_empty(), "seed {seed}: {one:?} {two:?}");
}

async fn simulate_rollouts(seed: u64) -> usize {
    let mut luck = Luck(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut w = World::new().await;
    let hosts = w.hosts(ROLLOUT_HOSTS).await;
    for (i, host) in hosts.iter().enumerate() {
        let edit = drydock_control::InstanceEdit { zone: Some(format!("r-{}", i % 3)), ..Default::default() };
        w.control.edit_instance(&w.server(), &host.name, edit, None).await.expect("edited");
    }
    let mut agents: Vec<Agent> = hosts.into_iter().map(agent_of).collect();
    let mut second = w.second().await;
    let (mut jobs, mut before, mut halts) = (Vec::new(), Before::default(), BTreeSet::new());
    for _ in 0..EVENTS {
        let mut acted = false;
        match luck.next(24) {
            0 | 1 if jobs.len() < 2 => {
                let mode = ["CONCURRENT_ZONES", "ZONE_BY_ZONE"][luck.next(2)];
                let halt_after = 1 + luck.next(3);
                let spec = format!(
                    r#"{{"instanceFilter":{{"all":true}},"rollout":{{"mode":"{mode}","disruptionBudget":{{"fixed":{BUDGET}}},
                    "seed":{seed},"haltAfter":{{"fixed":{halt_after}}},
                    "waves":[{{"name":"first","size":{{"fixed":3}},"bakeSecs":{BAKE_SECS}}}]}}}}"#
                );
                jobs.push(w.job(&spec).await);
            }
            2 => {
                w.restart().await;
                second = w.second().await;
            }
            3 | 4 => {
                person(&w, &jobs, &mut luck).await;
                acted = true;
            }
            5..=8 => w.pass(5),
            9..=13 => turn_of_two(&w, &second, seed).await,
            _ => {
                let n = luck.next(agents.len());
                agents[n].round(&w, &mut luck).await;
            }
        }
        check_rollouts(&w, &jobs, &mut before, acted, seed).await;
        for job in &jobs {
            halts.extend(w.view(*job).await.record.control.halted.map(|_| *job));
        }
    }
    all_ends_well(&w, &jobs, &mut agents, &mut before, seed).await;
    halts.len()
}

/// Luck turns: nothing is lost any more, people let go on what is held, and everything ends.
async fn all_ends_well(w: &World, jobs: &[JobId], agents: &mut [Agent], before: &mut Before, seed: u64) {
    let mut good = Luck(u64::MAX);
    for turn in 0..LAST_TURNS * 2 {
        for job in jobs {
            // A job that halts again and again is given up.
            let done = if turn < LAST_TURNS {
                w.control.resume_patch_job(&w.server(), *job, None).await
            } else {
                w.control.abort_patch_job(&w.server(), *job).await
            };
            drop(done);
        }
        w.settle().await;
        check_rollouts(w, jobs, before, true, seed).await;
        check_holds(w, jobs, seed).await;
        if before.states.values().all(|state| state.is_final()) {
            break;
        }
        for agent in agents.iter_mut() {
            agent.down_for = 0;
            agent.round(w, &mut good).await;
        }
        w.pass(10);
    }
    w.settle().await;
    for job in jobs {
        let view = w.view(*job).await;
        assert!(view.record.state.is_final(), "seed {seed}: {:?}", view.counts);
    }
    for agent in agents.iter() {
        assert!(agent.begun.values().all(|n| *n == 1), "seed {seed}: a task began twice on {}", agent.host.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_with_bad_luck_keep_budgets_waves_and_halts() {
    let mut halts = 0;
    for seed in 1..=6 {
        halts += simulate_rollouts(seed).await;
    }
    assert!(halts > 0, "no job ever halted: nothing was tried");
}
