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
use drydock_pkgmgr::run::End;
use drydock_pkgmgr::{ApplyOutcome, ExitSummary, RepairReport, verify};
use jiff::Timestamp;

use super::*;
use crate::task::order::{new_entry, tests::order};

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
}

impl World {
    fn new() -> Self {
        World {
            installed: [("kernel", 1), ("libc", 1)].into(),
            available: [("kernel", 2), ("libc", 2)].into(),
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
        self.asks_reboot |= name == "kernel";
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
        Timestamp::from_second(150).expect("in range")
    }

    fn boot_id(&self) -> String {
        self.world().boot.to_string()
    }

    fn pause(&mut self, _: Duration) {}

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
        let actions = due.map(|(n, _)| action(n)).collect();
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

    fn reboot(&mut self) -> Result<(), String> {
        let mut world = self.world();
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
        Case { world: Arc::new(Mutex::new(world)), dir, control: Control::default() }
    }

    /// Runs to the end, through as many deaths as come; the first life ends at the save with this number.
    fn finish(&self, first_life_saves: Option<u32>) -> TaskReport {
        let task = order(1).task.task;
        let mut saves = first_life_saves;
        for _life in 0..60 {
            let mut ledger = Ledger::open(self.dir.path()).expect("opened");
            ledger.saves_left = saves.take();
            let ledger = Mutex::new(ledger);
            let ended = catch_unwind(AssertUnwindSafe(|| self.execute(&ledger)));
            if let Ok(Ok(())) = ended {
                let report = lock(&ledger).get(task).expect("kept until stored").report.clone();
                report.validate().expect("the server takes it");
                return report;
            }
        }
        panic!("the task never ends");
    }

    fn execute(&self, ledger: &Mutex<Ledger>) -> Result<(), LedgerError> {
        let mut host = Paper(Arc::clone(&self.world));
        let limits =
            Limits { reboot: Duration::from_secs(1), announce: Duration::from_secs(1), look: Duration::from_millis(500) };
        Executor { host: &mut host, ledger, control: &self.control, told: &|| (), limits }.run(order(1).task.task)
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

fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

#[test]
fn the_whole_flow() {
    quiet_panics();
    let case = Case::new(World::new(), |_| ());
    let report = case.finish(None);
    use StepKind::{Apply, Plan, PostStep, PreStep, Reboot, Refresh, Verify};
    let steps = vec![PreStep, Refresh, Plan, Apply, Verify, Reboot, Refresh, Plan, PostStep];
    let applied = ["kernel", "libc"].map(|n| (n.to_owned(), PackageOutcome::Applied)).to_vec();
    assert_eq!(essence(&report), (TaskState::Succeeded, "patched and verified".into(), applied, steps));
    assert!(report.steps.iter().all(|s| s.outcome == StepOutcome::Succeeded && s.ended_at.is_some()));
    assert_eq!((report.reboots, report.plans.len(), report.reboot_reasons.len()), (1, 2, 0));
}

#[test]
fn killed_at_every_save_the_end_is_the_same_and_nothing_runs_twice() {
    quiet_panics();
    let wanted = essence(&Case::new(World::new(), |_| ()).finish(None));
    let mut saves = 0;
    loop {
        let case = Case::new(World::new(), |_| ());
        let report = case.finish(Some(saves));
        assert_eq!(essence(&report), wanted, "killed at save {saves}");
        let mut world = case.world();
        world.installs.sort_unstable();
        assert_eq!(world.installs, ["kernel", "libc"], "killed at save {saves}");
        assert_eq!(world.scripts, [StepKind::PreStep, StepKind::PostStep], "killed at save {saves}");
        assert_eq!(report.reboots, 1);
        saves += 1;
        if saves > 40 {
            break;
        }
    }
}

#[test]
fn killed_in_the_middle_of_every_action_the_end_is_the_same() {
    quiet_panics();
    let quiet = Case::new(World::new(), |_| ());
    let wanted = essence(&quiet.finish(None));
    let acts = quiet.world().acts;
    assert!(acts > 15, "{acts}");
    for die_at in 1..=acts {
        let case = Case::new(World { die_at: Some(die_at), ..World::new() }, |_| ());
        let report = case.finish(None);
        assert_eq!(essence(&report), wanted, "killed in action {die_at}");
        let mut world = case.world();
        world.installs.sort_unstable();
        assert_eq!(world.installs, ["kernel", "libc"], "killed in action {die_at}");
        assert_eq!(world.scripts, [StepKind::PreStep, StepKind::PostStep], "killed in action {die_at}");
    }
}

#[test]
fn power_loss_in_every_action_ends_repaired_and_true() {
    quiet_panics();
    let quiet = Case::new(World::new(), |_| ());
    quiet.finish(None);
    let acts = quiet.world().acts;
    let mut interrupted_scripts = 0;
    for die_at in 1..=acts {
        let case = Case::new(World { die_at: Some(die_at), power_loss: true, ..World::new() }, |_| ());
        let report = case.finish(None);
        let world = case.world();
        assert!(!world.half, "power loss in action {die_at}");
        let runs = |kind| world.scripts.iter().filter(|s| **s == kind).count();
        assert!(runs(StepKind::PreStep) == 1 && runs(StepKind::PostStep) <= 1, "power loss in action {die_at}");
        if report.message.contains("never run twice") {
            interrupted_scripts += 1;
            assert_eq!(report.state, TaskState::Failed);
            continue;
        }
        assert_eq!(report.state, TaskState::Succeeded, "power loss in action {die_at}: {}", report.message);
        assert_eq!(world.installed.values().collect::<Vec<_>>(), [&2, &2]);
        assert!(report.packages.iter().all(|p| p.outcome == PackageOutcome::Applied));
    }
    assert_eq!(interrupted_scripts, 2, "once in each script");
}

#[test]
fn a_dry_run_changes_nothing() {
    let case = Case::new(World { asks_reboot: true, ..World::new() }, |e| e.order.task.dry_run = true);
    let report = case.finish(None);
    assert_eq!((report.state, report.plans[0].actions.len()), (TaskState::Succeeded, 2));
    let world = case.world();
    assert!(world.scripts.is_empty() && world.installs.is_empty() && world.reboots == 0);
}

/// A job for the module; the packages are up to date, unless the switch moves them.
fn switching(world: World, changes: &[&str]) -> Case {
    Case::new(World { stream: "1", ..world }, |e| {
        e.order.task.config.modules = changes.iter().map(|c| c.parse().expect("a change")).collect();
    })
}

#[test]
fn a_stream_is_switched_once_wherever_the_agent_or_the_host_is_killed() {
    quiet_panics();
    for (packages, steps) in [(World::new().available, 2), (BTreeMap::new(), 0)] {
        let world = |die_at, power_loss| World { die_at, power_loss, available: packages.clone(), ..World::new() };
        let quiet = switching(world(None, false), &["switch:m:2"]);
        let wanted = quiet.finish(None);
        assert_eq!((wanted.state, wanted.packages.len()), (TaskState::Succeeded, steps));
        let results: Vec<_> = wanted.modules.iter().map(|r| (r.outcome, r.found.stream.as_str())).collect();
        assert_eq!(results, [(PackageOutcome::Applied, "2")], "told once, although a reboot planned again");
        assert!(wanted.steps.iter().any(|s| s.message.ends_with("1 of 1 module changes as planned")));
        let acts = quiet.world().acts;
        for (die_at, power_loss) in (1..=acts).flat_map(|n| [(n, false), (n, true)]) {
            let case = switching(world(Some(die_at), power_loss), &["switch:m:2"]);
            let report = case.finish(None);
            if report.message.contains("never run twice") {
                continue;
            }
            assert_eq!(report.state, TaskState::Succeeded, "killed in action {die_at}: {}", report.message);
            let world = case.world();
            assert_eq!((world.enabled, world.stream), (1, "2"), "killed in action {die_at}");
            assert!(report.modules.iter().all(|r| r.outcome == PackageOutcome::Applied), "killed in action {die_at}");
        }
    }
}

#[test]
fn one_refused_module_change_refuses_all_of_the_job() {
    for dry_run in [true, false] {
        let case = switching(World::new(), &["switch:m:2", "enable:n:9"]);
        let mut ledger = Ledger::open(case.dir.path()).expect("opened");
        let mut entry = ledger.get(order(1).task.task).expect("taken").clone();
        entry.order.task.dry_run = dry_run;
        ledger.save(entry).expect("saved");
        let report = case.finish(None);
        let words = "no plan could be made: apt refuses 1 of 2 module changes: enable:n:9: there is no stream 9";
        assert_eq!((report.state, report.message.as_str()), (TaskState::Failed, words));
        let told: Vec<_> = report.plans[0].modules.iter().map(|m| (m.refused.is_empty(), m.after.stream.as_str())).collect();
        assert_eq!(told, [(true, "2"), (false, "1")], "what is allowed is told as well");
        assert_eq!(report.plans[0].actions.is_empty(), !dry_run, "what would have been done, in a dry run only");
        let world = case.world();
        assert!(world.enabled == 0 && world.installs.is_empty() && report.modules.is_empty());
    }
}

#[test]
fn a_stream_that_is_not_as_planned_fails_the_task() {
    let case = switching(World { available: BTreeMap::new(), ..World::new() }, &["switch:m:3"]);
    let report = case.finish(None);
    let words = "1 of 1 module changes are not as planned: switch:m:3";
    assert_eq!((report.state, report.message.as_str()), (TaskState::Failed, words));
    assert_eq!(report.modules[0].outcome, PackageOutcome::Different);
}

fn staging(e: &mut crate::ledger::Entry) {
    let config = &mut e.order.task.config;
    (config.download_only, config.pre_step, config.post_step) = (true, None, None);
}

#[test]
fn a_download_stages_and_installs_nothing_wherever_it_is_killed() {
    quiet_panics();
    for die_at in [None, Some(1), Some(2), Some(3), Some(4)] {
        for power_loss in [false, true] {
            let world = World { asks_reboot: true, die_at, power_loss, ..World::new() };
            let case = Case::new(world, staging);
            let report = case.finish(None);
            assert_eq!(report.state, TaskState::Succeeded, "killed in action {die_at:?}: {}", report.message);
            assert!(report.message.starts_with("staged"), "{}", report.message);
            let steps: Vec<StepKind> = report.steps.iter().map(|s| s.step).collect();
            assert_eq!(steps, [StepKind::Refresh, StepKind::Plan, StepKind::Download]);
            let world = case.world();
            assert!(world.installs.is_empty() && world.scripts.is_empty() && world.reboots == 0);
            assert!(["kernel", "libc"].iter().all(|n| world.downloads.iter().any(|d| d == n)), "{:?}", world.downloads);
        }
    }
    let case = Case::new(World { fails: Some("mirror"), ..World::new() }, staging);
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("could not be downloaded: connection refused"), "{}", report.message);
}

#[test]
fn from_the_cache_no_repository_is_read() {
    quiet_panics();
    let case = Case::new(World::new(), |e| e.order.task.config.from_cache = true);
    let report = case.finish(None);
    assert_eq!((report.state, case.world().refreshes), (TaskState::Succeeded, 0));
    let refresh = report.steps.iter().find(|s| s.step == StepKind::Refresh).expect("told");
    assert!(refresh.message.contains("no refresh"), "{}", refresh.message);
}

#[test]
fn a_broken_repository_is_told_by_each_rounds_plan_and_the_others_are_used() {
    quiet_panics();
    let case = Case::new(World { broken_repository: Some("third-party"), ..World::new() }, |_| ());
    let report = case.finish(None);
    let told: Vec<Vec<&str>> = report.plans.iter().map(|p| p.findings.iter().map(|f| f.subject.as_str()).collect()).collect();
    assert_eq!((report.state, told), (TaskState::Succeeded, vec![vec!["third-party"]; 2]));
    let plan = report.steps.iter().find(|s| s.step == StepKind::Plan).expect("planned");
    assert_eq!(plan.message, "planned 2 changes, skipped 0 updates");
}

#[test]
fn a_repository_that_the_plan_names_itself_is_not_told_twice() {
    let finding = |subject: &str| Finding { subject: subject.into(), message: "gone".into() };
    let plan = |findings| Plan {
        manager: ManagerKind::Zypper,
        actions: vec![],
        skipped: vec![],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings,
        before: None,
        undo: None,
    };
    let mut plans = [plan(vec![]), plan(vec![finding("a")])];
    tell_broken(&mut plans, &[finding("a"), finding("b")]);
    assert_eq!((&plans[0].findings, &plans[1].findings), (&vec![finding("b")], &vec![finding("a")]));
    assert_eq!((plural(1, "change"), plural(0, "update")), ("1 change".into(), "0 updates".into()));
}

#[test]
fn a_host_that_always_asks_is_rebooted_five_times_and_no_more() {
    quiet_panics();
    let case = Case::new(World { always_asks: true, asks_reboot: true, ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!((report.state, report.reboots, case.world().reboots), (TaskState::Failed, REBOOTS_MAX, REBOOTS_MAX));
    assert!(report.message.contains("5 reboots"), "{}", report.message);
    assert_eq!(report.reboot_reasons, ["kernel 2 is installed"]);
}

#[test]
fn never_means_never_and_says_so() {
    let case = Case::new(World::new(), |e| e.order.task.config.reboot_config = RebootConfig::Never);
    let report = case.finish(None);
    assert_eq!((report.state, case.world().reboots), (TaskState::SucceededRebootRequired, 0));
}

#[test]
fn always_means_once_even_if_the_host_does_not_ask() {
    quiet_panics();
    let case = Case::new(World { available: BTreeMap::new(), ..World::new() }, |e| {
        e.order.task.config.reboot_config = RebootConfig::Always
    });
    let report = case.finish(None);
    assert_eq!((report.state, report.reboots), (TaskState::Succeeded, 1));
}

#[test]
fn a_reboot_that_does_not_come_fails_with_its_reason() {
    let case = Case::new(World { reboot_does_nothing: true, ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("no effect within 1 s"), "{}", report.message);
}

#[test]
fn a_failing_package_is_named_and_the_truth_is_read() {
    let case = Case::new(World { fails: Some("libc"), ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("apt-get failed; 1 of 2 packages are not as planned: libc"), "{}", report.message);
    let libc = report.packages.iter().find(|p| p.planned.name == "libc").expect("told");
    assert_eq!((libc.outcome, libc.detail.as_str()), (PackageOutcome::NotApplied, "its postinst ended with 1"));
    assert_eq!(case.world().scripts, [StepKind::PreStep], "no post-step after a failure");
}

#[test]
fn a_failing_pre_step_leaves_the_host_alone() {
    let case = Case::new(World { script_code: 3, ..World::new() }, |_| ());
    let report = case.finish(None);
    assert_eq!((report.state, report.steps[0].exit_code), (TaskState::Failed, Some(3)));
    assert!(report.message.starts_with("the pre-step failed: it ended with exit code 3"), "{}", report.message);
    assert!(case.world().installs.is_empty());
}

#[test]
fn stop_and_the_deadline_end_a_task_before_its_next_step() {
    let case = Case::new(World::new(), |_| ());
    case.control.tell(order(1).task.task, Directive::Stop);
    let report = case.finish(None);
    assert_eq!((report.state, report.message.as_str()), (TaskState::Canceled, "stopped on request before ACCEPTED"));
    assert!(case.world().scripts.is_empty());

    let late = Case::new(World::new(), |e| e.order.task.deadline = Timestamp::from_second(149).ok());
    let report = late.finish(None);
    assert!(report.state == TaskState::Canceled && report.message.contains("duration ended"), "{}", report.message);
}

#[test]
fn kill_in_a_transaction_is_repaired_read_and_told() {
    let case = Case::new(World::new(), |_| ());
    case.world().kill_in_apply = Some(case.control.clone());
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Canceled);
    let outcomes: Vec<_> = report.packages.iter().map(|p| p.outcome).collect();
    assert_eq!(outcomes, [PackageOutcome::Applied, PackageOutcome::NotApplied], "the truth of both packages");
    assert!(report.steps.iter().any(|s| s.step == StepKind::Apply && s.outcome == StepOutcome::Killed));
    assert_eq!(case.world().scripts, [StepKind::PreStep]);
}

#[test]
fn a_full_disk_stops_before_the_next_step_with_a_true_report() {
    let case = Case::new(World::new(), |_| ());
    let mut ledger = Ledger::open(case.dir.path()).expect("opened");
    ledger.disk_full = true;
    let ledger = Mutex::new(ledger);
    case.execute(&ledger).expect("ends");
    let mut ledger = ledger.into_inner().expect("whole");
    let report = ledger.outbox().pop().expect("a report that can be sent from memory");
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("stopped before PRE_STEP") && report.message.contains("ledger"), "{}", report.message);
    assert!(case.world().scripts.is_empty(), "nothing was begun that was not saved");
    ledger.disk_full = false;
    ledger.retry_unsaved();
    let saved = Ledger::open(case.dir.path()).expect("opened");
    assert!(saved.get(report.task).is_some_and(|e| e.state.is_finished()));
}
