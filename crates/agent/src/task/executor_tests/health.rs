//! The health gate of a host.

use drydock_domain::rollout::health::HealthChecks;

use super::*;
use crate::ledger::Entry;

fn checks(entry: &mut Entry, json: &str) {
    let config = &mut entry.order.task.config;
    config.reboot_config = RebootConfig::Never;
    config.health_checks = Some(serde_json::from_str(json).expect("checks"));
}

const UNIT: &str = r#"{"checks":[{"unitActive":{"unit":"a.service"}}],"withinSecs":60,"settleSecs":30}"#;
const UNITS: &str = r#"{"checks":[{"noNewFailedUnits":{}}],"withinSecs":4}"#;

fn run(world: World, json: &str) -> (TaskReport, u32) {
    quiet_panics();
    let case = Case::new(World { available: [("libc", 2)].into(), ..world }, |e| checks(e, json));
    let report = case.finish(None);
    let probes = case.world().probes;
    (report, probes)
}

#[test]
fn a_host_that_becomes_healthy_in_time_and_stays_so_succeeds() {
    let (report, probes) = run(World { ill: vec![(0, 190)], ..World::new() }, UNIT);
    assert_eq!((report.state, report.message.as_str()), (TaskState::Succeeded, "patched and verified; the host is healthy"));
    assert_eq!(probes, 20 + 1 + 15, "every two seconds for 40 and for 30 seconds");
    let step = report.steps.last().expect("told");
    assert_eq!((step.step, step.outcome), (StepKind::Health, StepOutcome::Succeeded));
    assert_eq!(step.message, "the health check holds, for 30 s");
    let result = &report.health[0];
    assert_eq!((result.check.as_str(), result.healthy, result.detail.as_str()), ("unit a.service", true, "is active"));
    assert!(report.seq < 20, "each change is told once: {} reports", report.seq);
}

#[test]
fn a_host_that_stays_ill_or_falls_ill_again_fails() {
    let (report, _) = run(World { ill: vec![(0, 9000)], ..World::new() }, UNIT);
    let words = "health gate failed: unit a.service: is failed (for 60 s); the updates are installed";
    assert_eq!((report.state, report.message.as_str()), (TaskState::Failed, words));
    assert!(!report.health[0].healthy && report.steps.last().is_some_and(|s| s.output.head.contains("a.service")));

    let (report, _) = run(World { ill: vec![(0, 160), (170, 9000)], ..World::new() }, UNIT);
    let words = "health gate failed: unit a.service: is failed (all checks had held for 10 s of 30 s); the updates are installed";
    assert_eq!((report.state, report.message.as_str()), (TaskState::Failed, words));
}

#[test]
fn units_that_were_failed_before_are_no_news() {
    let before = || World { failed_units: vec!["old.service"], ..World::new() };
    let (report, _) = run(before(), UNITS);
    assert_eq!(report.state, TaskState::Succeeded, "{}", report.message);
    let (report, _) = run(World { breaks: Some("new.service"), ..before() }, UNITS);
    let words = "health gate failed: no new failed units: new.service failed (for 4 s); the updates are installed";
    assert_eq!((report.state, report.message.as_str()), (TaskState::Failed, words));
}

#[test]
fn a_host_that_is_still_starting_may_yet_have_failed_units() {
    const PATIENT: &str = r#"{"checks":[{"noNewFailedUnits":{}}],"withinSecs":60}"#;
    let (report, _) = run(World { started_at: 180, ..World::new() }, PATIENT);
    assert_eq!(report.state, TaskState::Succeeded, "{}", report.message);
    assert!(report.health[0].at >= Timestamp::from_second(180).expect("in range"), "{:?}", report.health);
    let (report, _) = run(World { started_at: 180, ..World::new() }, UNITS);
    assert!(report.message.contains("no new failed units: the host is still starting"), "{}", report.message);
}

#[test]
fn a_host_whose_units_cannot_be_compared_is_not_touched() {
    quiet_panics();
    let case = Case::new(World { failed_units: vec!["systemd"], ..World::new() }, |e| checks(e, UNITS));
    let report = case.finish(None);
    assert_eq!(report.state, TaskState::Failed);
    assert!(report.message.contains("there is no systemd; nothing was patched"), "{}", report.message);
    assert!(case.world().changed_at.is_empty());
}

#[test]
fn a_host_that_had_nothing_to_do_is_not_checked_and_says_so() {
    let case = Case::new(World { available: BTreeMap::new(), ill: vec![(0, 9000)], ..World::new() }, |e| checks(e, UNIT));
    let report = case.finish(None);
    assert_eq!((report.state, case.world().probes), (TaskState::Succeeded, 0));
    assert!(report.message.ends_with("nothing was changed, so its health was not checked"), "{}", report.message);
    assert!(report.health.is_empty());
}

#[test]
fn after_a_failed_transaction_nobody_asks_for_health() {
    let case = Case::new(World { fails: Some("libc"), ..World::new() }, |e| checks(e, UNIT));
    assert_eq!((case.finish(None).state, case.world().probes), (TaskState::Failed, 0));
}

#[test]
fn stop_kill_and_deadline_end_the_checks() {
    quiet_panics();
    let late = Case::new(World { ill: vec![(0, 9000)], ..World::new() }, |e| {
        checks(e, UNIT);
        e.order.task.deadline = Timestamp::from_second(170).ok();
    });
    let report = late.finish(None);
    assert_eq!(report.state, TaskState::Canceled);
    assert!(
        report.message.ends_with("duration ended before its health was known; the updates are installed"),
        "{}",
        report.message
    );

    let killed = Case::new(World::new(), |e| checks(e, UNIT));
    killed.world().kill_in_probe = Some(killed.control.clone());
    let report = killed.finish(None);
    assert_eq!(report.message, "killed on request during HEALTH; the updates are installed");
}

#[test]
fn killed_in_the_middle_the_checks_are_made_again() {
    quiet_panics();
    const SHORT: &str = r#"{"checks":[{"unitActive":{"unit":"a.service"}}],"withinSecs":60,"settleSecs":4}"#;
    let world = |die_at, power_loss| World { die_at, power_loss, ill: vec![(0, 154)], ..World::new() };
    let change = |e: &mut Entry| {
        checks(e, SHORT);
        e.order.task.config.reboot_config = RebootConfig::Default;
    };
    let quiet = Case::new(world(None, false), change);
    let wanted = essence(&quiet.finish(None));
    assert_eq!(wanted.1, "patched and verified; the host is healthy");
    let acts = quiet.world().acts;
    for (die_at, power_loss) in (1..=acts).flat_map(|n| [(n, false), (n, true)]) {
        let case = Case::new(world(Some(die_at), power_loss), change);
        let report = case.finish(None);
        if !report.message.contains("never run twice") {
            assert_eq!(report.state, TaskState::Succeeded, "killed in action {die_at}: {}", report.message);
            assert!(report.health.iter().all(|h| h.healthy) && report.health.len() == 1, "killed in action {die_at}");
        }
    }
}

#[test]
fn the_checks_of_a_job_are_written_as_operators_write_them() {
    let checks: HealthChecks = serde_json::from_str(UNIT).expect("checks");
    assert_eq!((checks.within_secs, checks.settle_secs), (60, 30));
}
