//! A task from its beginning to its end, undisturbed or stopped.

use super::*;
use crate::task::planning::{plural, tell_broken};

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
fn a_dry_run_changes_nothing() {
    let case = Case::new(World { asks_reboot: true, ..World::new() }, |e| e.order.task.dry_run = true);
    let report = case.finish(None);
    assert_eq!((report.state, report.plans[0].actions.len()), (TaskState::Succeeded, 2));
    let world = case.world();
    assert!(world.scripts.is_empty() && world.installs.is_empty() && world.reboots == 0);
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
    assert_eq!(case.execute(&ledger).expect("ends"), Ran::Finished);
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
