//! Jobs that change module streams.

use super::*;

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
