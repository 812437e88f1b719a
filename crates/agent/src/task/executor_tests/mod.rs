//! The whole flow on a host of paper, killed at every point: no script runs twice, no package is installed twice, and
//! the final report is the one of an undisturbed run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, UpdateKind};
use drydock_domain::limits::REBOOTS_MAX;
use drydock_domain::patch::modules::{ModuleResult, ModuleState, ModuleStatus, PlannedModule};
use drydock_domain::patch::report::{ActionKind, PackageOutcome, Plan, PlannedAction, TaskReport};
use drydock_domain::patch::spec::{PatchConfig, RebootConfig};
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::health::HealthCheck;
use drydock_pkgmgr::run::End;
use drydock_pkgmgr::{ApplyOutcome, ExitSummary, RepairReport, verify};
use jiff::Timestamp;

use super::*;
use crate::task::host::Probe;
use crate::task::order::{new_entry, tests::order};

mod flow;
mod frozen;
mod health;
mod kills;
mod modules;
mod reboots;
mod soak;
mod undo;
mod waits;

/// Everything that survives the agent's death.
#[derive(Debug, Default)]
struct World {
    boot: u32,
    installed: BTreeMap<&'static str, u32>,
    available: BTreeMap<&'static str, u32>,
    asks_reboot: bool,
    always_asks: bool,
    reboot_does_nothing: bool,
    script_code: i32,
    scripts: Vec<StepKind>,
    script_ends: BTreeMap<String, Option<i32>>,
    installs: Vec<&'static str>,
    begun: BTreeMap<String, Vec<&'static str>>,
    half: bool,
    before: BTreeMap<usize, PackageSet>,
    fails: Option<&'static str>,
    broken_repository: Option<&'static str>,
    reboots: u32,
    /// Calls that act, so far; the process dies in the one with this number.
    acts: u32,
    die_at: Option<u32>,
    /// Dying takes the host along.
    power_loss: bool,
    kill_in_apply: Option<Control>,
    downloads: Vec<String>,
    refreshes: u32,
    /// The stream of the one module there is.
    stream: &'static str,
    /// Times that the stream was written.
    enabled: u32,
    /// The clock, milliseconds; every action takes `act_ms`.
    now_ms: i64,
    act_ms: i64,
    /// When something changed the host: scripts, transactions and reboots as they begin.
    changed_at: Vec<(&'static str, i64)>,
    /// Moments between which the health checks do not hold, seconds.
    ill: Vec<(i64, i64)>,
    probes: u32,
    kill_in_probe: Option<Control>,
    failed_units: Vec<&'static str>,
    /// The init system has started everything at this moment, seconds.
    started_at: i64,
    /// A unit that fails when something is installed.
    breaks: Option<&'static str>,
    /// Versions that the repositories offer of a package, instead of the one in `available`.
    offers: BTreeMap<&'static str, Vec<u32>>,
    plans: u32,
}

impl World {
    fn new() -> Self {
        World {
            installed: [("kernel", 1), ("libc", 1)].into(),
            available: [("kernel", 2), ("libc", 2)].into(),
            now_ms: 150_000,
            ..Default::default()
        }
    }

    fn set(&self) -> PackageSet {
        let package =
            |(n, v): (&&str, &u32)| Package { name: (*n).into(), arch: "x".into(), version: v.to_string(), ..Package::default() };
        PackageSet::new(self.installed.iter().map(package).collect())
    }

    fn go_down(&mut self) {
        self.boot += 1;
        self.asks_reboot = self.always_asks;
        self.half |= self.begun.values().any(|left| !left.is_empty());
        self.begun.values_mut().for_each(Vec::clear);
    }

    /// One more action; the process may die here.
    fn act(&mut self) {
        self.acts += 1;
        self.now_ms += self.act_ms;
        if self.die_at == Some(self.acts) {
            self.die_at = None;
            if self.power_loss {
                self.go_down();
            }
            panic!("the process dies here");
        }
    }

    fn install(&mut self, name: &'static str) {
        self.installed.insert(name, 2);
        self.installs.push(name);
        self.failed_units.extend(self.breaks.take());
        self.asks_reboot |= name == "kernel";
    }
}

impl World {
    fn changes(&mut self, what: &'static str) {
        self.changed_at.push((what, self.now_ms));
    }
}

fn module(stream: &str) -> ModuleState {
    ModuleState { status: ModuleStatus::Enabled, stream: stream.into(), profiles: vec![] }
}

struct Paper(Arc<Mutex<World>>);

impl Paper {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.0)
    }
}

fn action(name: &str) -> PlannedAction {
    PlannedAction {
        action: ActionKind::Upgrade,
        name: name.into(),
        arch: "x".into(),
        from: Some("1".into()),
        to: Some("2".into()),
        repository: "main".into(),
        kind: UpdateKind::Security,
        advisories: vec![],
    }
}

impl Host for Paper {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.world().now_ms).expect("in range")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.world().now_ms as u64)
    }

    fn boot_id(&self) -> String {
        self.world().boot.to_string()
    }

    fn pause(&mut self, time: Duration) {
        self.world().now_ms += time.as_millis() as i64;
    }

    fn settle(&mut self, place: &str) -> Result<Option<super::super::host::Settled>, Trouble> {
        let mut world = self.world();
        let places: Vec<String> = world.begun.keys().filter(|p| p.starts_with(place)).cloned().collect();
        // What runs apart from the agent comes to its end.
        for p in &places {
            for name in world.begun.insert(p.clone(), Vec::new()).unwrap_or_default() {
                world.install(name);
            }
        }
        Ok((!places.is_empty()).then(Default::default))
    }

    fn script(&mut self, place: &str, step: StepKind, _: &ExecStepConfig) -> ScriptEnd {
        let mut world = self.world();
        let end = |code| ScriptEnd { code, output: Output::default() };
        match world.script_ends.get(place) {
            Some(Some(code)) => return end(Ok(*code)),
            Some(None) if world.power_loss => return end(Err(Trouble::Interrupted("power".into()))),
            Some(None) => return end(Ok(world.script_code)),
            None => {}
        }
        world.changes("script");
        world.act();
        world.scripts.push(step);
        world.script_ends.insert(place.to_owned(), None);
        world.act();
        let code = world.script_code;
        world.script_ends.insert(place.to_owned(), Some(code));
        world.act();
        end(Ok(code))
    }

    fn repair(&mut self, _: &str) -> Result<RepairReport, Trouble> {
        let mut world = self.world();
        if world.half {
            world.changes("repair");
        }
        world.act();
        let needed = std::mem::take(&mut world.half);
        world.act();
        Ok(RepairReport { needed, message: "mended".into(), ..Default::default() })
    }

    fn refresh(&mut self, _: &str) -> Result<Option<Vec<Finding>>, Trouble> {
        let mut world = self.world();
        world.refreshes += 1;
        world.act();
        let told = |subject: &str| Finding { subject: subject.into(), message: "connection refused".into() };
        Ok(Some(world.broken_repository.map(told).into_iter().collect()))
    }

    fn plan(&mut self, config: &PatchConfig) -> Result<Vec<Plan>, Trouble> {
        let mut world = self.world();
        world.plans += 1;
        world.act();
        let planned = |change: &drydock_domain::patch::modules::ModuleChange| {
            let stream = change.stream.as_deref().unwrap_or_default();
            let refused = if stream == "9" { "there is no stream 9" } else { "" };
            PlannedModule {
                change: change.clone(),
                implied: false,
                before: module(world.stream),
                after: module(if refused.is_empty() { stream } else { world.stream }),
                packages: vec![],
                refused: refused.into(),
            }
        };
        let modules = config.modules.iter().map(planned).collect();
        let due = world.available.iter().filter(|(n, v)| world.installed.get(*n) != Some(v));
        let newest = |name: &str, otherwise: u32| {
            let offered = world.offers.get(name).cloned().unwrap_or_else(|| vec![otherwise]);
            let barred = |v: &u32| config.barred.iter().any(|b| b.name == name && b.version == v.to_string());
            offered.into_iter().filter(|v| !barred(v)).max()
        };
        let actions =
            due.filter_map(|(n, v)| Some(PlannedAction { to: Some(newest(n, *v)?.to_string()), ..action(n) })).collect();
        Ok(vec![Plan {
            manager: ManagerKind::Apt,
            actions,
            skipped: vec![],
            patches: vec![],
            requested: vec![],
            modules,
            findings: vec![],
            before: None,
            undo: None,
        }])
    }

    fn download(&mut self, _: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble> {
        let mut world = self.world();
        world.act();
        if world.fails == Some("mirror") {
            return Err(Trouble::Failed("connection refused".into()));
        }
        world.downloads.extend(plan.actions.iter().map(|a| a.name.clone()));
        world.act();
        Ok(ApplyOutcome {
            exit: ExitSummary { exit_code: Some(0), end: End::Exited(0), wall: Duration::ZERO },
            output: Output::default(),
            success: true,
            message: "downloaded".into(),
            failed_packages: vec![],
            reboot_suggested: false,
        })
    }

    fn apply(&mut self, place: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble> {
        let mut world = self.world();
        let exit = |code| ExitSummary { exit_code: Some(code), end: End::Exited(code), wall: Duration::ZERO };
        let outcome = |success: bool, message: &str| ApplyOutcome {
            exit: exit(i32::from(!success)),
            output: Output::default(),
            success,
            message: message.into(),
            failed_packages: vec![],
            reboot_suggested: false,
        };
        assert!(!world.half, "a half-done transaction is repaired first");
        world.changes("apply");
        world.act();
        let due: Vec<&'static str> = world
            .installed
            .iter()
            .filter(|(n, v)| **v == 1 && plan.actions.iter().any(|a| a.name == **n))
            .map(|(n, _)| *n)
            .collect();
        world.begun.insert(place.to_owned(), due.clone());
        if plan.modules.iter().any(|m| m.before != m.after && m.after != module(world.stream)) {
            world.stream = "2";
            world.enabled += 1;
            world.act();
        }
        for name in due {
            world.act();
            if world.fails == Some(name) {
                world.begun.insert(place.to_owned(), Vec::new());
                let mut failed = outcome(false, "apt-get failed");
                failed.failed_packages.push((name.to_owned(), "its postinst ended with 1".to_owned()));
                return Ok(failed);
            }
            world.install(name);
            if let Some(left) = world.begun.get_mut(place) {
                left.retain(|n| *n != name);
            }
            if let Some(control) = world.kill_in_apply.take() {
                control.tell(order(1).task.task, Directive::Kill);
                world.begun.insert(place.to_owned(), Vec::new());
                world.half = true;
                return Err(Trouble::Killed);
            }
        }
        world.act();
        Ok(outcome(true, "done"))
    }

    fn installed(&mut self) -> Result<PackageSet, Trouble> {
        Ok(self.world().set())
    }

    fn verify(
        &mut self,
        plan: &Plan,
        before: &PackageSet,
        failed: &[(String, String)],
    ) -> Result<Vec<drydock_domain::patch::report::PackageResult>, Trouble> {
        let mut world = self.world();
        world.act();
        assert!(!world.half, "verified only after repair");
        let mut results = verify(plan, before, &world.set());
        for (name, words) in failed {
            results.iter_mut().filter(|r| r.planned.name == *name).for_each(|r| r.detail.clone_from(words));
        }
        Ok(results)
    }

    fn verify_modules(&mut self, plan: &Plan) -> Result<Vec<ModuleResult>, Trouble> {
        let world = self.world();
        Ok(plan.modules.iter().map(|m| ModuleResult::new(m.clone(), module(world.stream))).collect())
    }

    fn reboot_reasons(&mut self) -> Vec<RebootReason> {
        let asks = self.world().asks_reboot;
        asks.then(|| RebootReason { source: "kernel".into(), detail: "kernel 2 is installed".into() }).into_iter().collect()
    }

    fn probe(&mut self, _: &str, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble> {
        let mut world = self.world();
        assert!(limit >= Duration::from_secs(1) && !world.half);
        world.act();
        world.probes += 1;
        if let Some(control) = world.kill_in_probe.take() {
            control.tell(order(1).task.task, Directive::Kill);
            return Err(Trouble::Killed);
        }
        let now = world.now_ms;
        let ill = world.ill.iter().any(|(from, to)| (from * 1000..to * 1000).contains(&now));
        let output = Output { head: format!("{check:?}"), ..Default::default() };
        Ok(if ill { Probe { output, ..Probe::ill("is failed") } } else { Probe::well("is active") })
    }

    fn failed_units(&mut self) -> Result<Vec<String>, String> {
        let mut units: Vec<String> = self.world().failed_units.iter().map(|u| (*u).to_owned()).collect();
        units.sort_unstable();
        if units.iter().any(|u| u == "systemd") { Err("there is no systemd".to_owned()) } else { Ok(units) }
    }

    fn starting(&mut self) -> bool {
        let world = self.world();
        world.now_ms < world.started_at * 1000
    }

    fn reboot(&mut self) -> Result<(), String> {
        let mut world = self.world();
        world.changes("reboot");
        world.act();
        world.reboots += 1;
        if world.reboot_does_nothing {
            return Ok(());
        }
        world.go_down();
        panic!("the host goes down");
    }

    fn keep_before(&mut self, round: usize, before: &PackageSet) -> Result<(), String> {
        self.world().before.insert(round, before.clone());
        Ok(())
    }

    fn before(&mut self, round: usize) -> Option<PackageSet> {
        self.world().before.get(&round).cloned()
    }

    fn clean(&mut self) {}
}

/// A task on paper, its ledger on disk.
struct Case {
    world: Arc<Mutex<World>>,
    dir: tempfile::TempDir,
    control: Control,
    slots: Slots,
    /// The server refuses a reboot slot so often.
    refusals: std::cell::Cell<u32>,
    /// What the server was told while the task waited.
    waited_for: std::cell::RefCell<Vec<String>>,
}

fn both_steps(config: &mut PatchConfig) {
    let step = ExecStep {
        linux_exec_step_config: Some(ExecStepConfig { local_path: Some("/x".into()), ..Default::default() }),
        ..Default::default()
    };
    (config.pre_step, config.post_step) = (Some(step.clone()), Some(step));
}

impl Case {
    fn new(world: World, change: impl FnOnce(&mut crate::ledger::Entry)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut order = order(1);
        both_steps(&mut order.task.config);
        let mut entry = new_entry(order, "0", Timestamp::UNIX_EPOCH);
        change(&mut entry);
        Ledger::open(dir.path()).expect("opened").take(entry).expect("taken");
        Case {
            world: Arc::new(Mutex::new(world)),
            dir,
            control: Control::default(),
            slots: Slots::default(),
            refusals: Default::default(),
            waited_for: Default::default(),
        }
    }

    /// Runs to the end, through as many deaths as come; the first life ends at the save with this number.
    fn finish(&self, first_life_saves: Option<u32>) -> TaskReport {
        let task = order(1).task.task;
        let mut saves = first_life_saves;
        for _life in 0..60 {
            let mut ledger = Ledger::open(self.dir.path()).expect("opened");
            ledger.saves_left = saves.take();
            let ledger = Mutex::new(ledger);
            let ended = catch_unwind(AssertUnwindSafe(|| self.execute_on(&ledger)));
            if let Ok(Ok(Ran::Finished)) = ended {
                let report = lock(&ledger).get(task).expect("kept until stored").report.clone();
                report.validate().expect("the server takes it");
                return report;
            }
        }
        panic!("the task never ends");
    }

    /// As the worker does, with a server that answers at once.
    fn execute_on(&self, ledger: &Mutex<Ledger>) -> Result<Ran, LedgerError> {
        for _look in 0..100_000 {
            let Ran::Waits { again, .. } = self.execute(ledger)? else { return Ok(Ran::Finished) };
            let message = lock(ledger).get(order(1).task.task).expect("held").report.message.clone();
            if self.waited_for.borrow().last() != Some(&message) {
                self.waited_for.borrow_mut().push(message);
            }
            self.world().now_ms += again.as_millis() as i64;
            self.answer_slots();
        }
        panic!("the task waits for ever");
    }

    fn answer_slots(&self) {
        let now = std::time::Instant::now();
        self.slots.hurry(now);
        for task in self.slots.due(now) {
            let left = self.refusals.get();
            self.refusals.set(left.saturating_sub(1));
            self.slots.answered(task, left == 0, "waits for a reboot slot of group db: held by db1", 30, now);
        }
    }

    fn execute(&self, ledger: &Mutex<Ledger>) -> Result<Ran, LedgerError> {
        let mut host = Paper(Arc::clone(&self.world));
        let limits =
            Limits { reboot: Duration::from_secs(1), announce: Duration::from_secs(1), look: Duration::from_millis(500) };
        let (control, slots) = (&self.control, &self.slots);
        Executor { host: &mut host, ledger, control, slots, told: &|| (), limits }.run(order(1).task.task)
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// What must be equal whatever happened on the way.
fn essence(report: &TaskReport) -> (TaskState, String, Vec<(String, PackageOutcome)>, Vec<StepKind>) {
    let packages = report.packages.iter().map(|p| (p.planned.name.clone(), p.outcome)).collect();
    let told = report.steps.iter().filter(|s| s.outcome != StepOutcome::Interrupted && s.step != StepKind::Repair);
    (report.state, report.message.clone(), packages, told.map(|s| s.step).collect())
}

/// Deaths that a test plans are not told; what it finds wrong is.
fn quiet_panics() {
    const PLANNED: [&str; 2] = ["the process dies here", "the host goes down"];
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let words = info.payload().downcast_ref::<&str>();
        if !words.is_some_and(|w| PLANNED.contains(w)) {
            loud(info);
        }
    }));
}
