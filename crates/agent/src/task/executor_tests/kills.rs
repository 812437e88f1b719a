//! The agent, or its host, dies everywhere.

use super::*;

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
