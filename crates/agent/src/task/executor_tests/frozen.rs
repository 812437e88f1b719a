//! All waves install what the first one planned.

use drydock_domain::patch::report::PlanDifference;
use drydock_domain::work::FrozenVersion;

use super::*;

fn run(offers: &[(&'static str, &[u32])], frozen: &[(&str, &str)], dry_run: bool) -> (TaskReport, u32) {
    quiet_panics();
    let offers = offers.iter().map(|(n, v)| (*n, v.to_vec())).collect();
    let case = Case::new(World { offers, ..World::new() }, |e| {
        e.order.task.dry_run = dry_run;
        e.order.task.frozen = frozen
            .iter()
            .map(|(name, version)| FrozenVersion { name: (*name).into(), arch: "x".into(), version: (*version).into() })
            .collect();
    });
    let report = case.finish(None);
    let plans = case.world().plans;
    (report, plans)
}

fn differ(name: &str, frozen: Option<&str>, planned: &str) -> PlanDifference {
    PlanDifference { name: name.into(), arch: "x".into(), frozen: frozen.map(str::to_owned), planned: planned.into() }
}

fn versions(report: &TaskReport) -> Vec<&str> {
    report.plans[0].actions.iter().map(|a| a.to.as_deref().unwrap_or_default()).collect()
}

#[test]
fn newer_versions_than_the_first_waves_are_left_alone() {
    let offers = [("libc", &[2, 3, 4][..]), ("kernel", &[2, 5])];
    let (report, _) = run(&offers, &[("libc", "2"), ("kernel", "2")], false);
    assert_eq!((report.state, report.message.as_str()), (TaskState::Succeeded, "patched and verified"));
    assert_eq!(versions(&report), ["2", "2"]);
    assert!(report.differs.is_empty() && report.packages.iter().all(|p| p.outcome == PackageOutcome::Applied));
}

#[test]
fn what_differs_even_so_is_told() {
    // The first wave's version is not offered here, and there are more others than plans are made.
    let (report, plans) = run(&[("libc", &[3, 4, 5, 6, 7])], &[("libc", "2"), ("kernel", "2")], true);
    assert_eq!(plans, 4, "one and three more");
    assert_eq!(report.differs, [differ("libc", Some("2"), "4")]);
    let words = "dry run: 2 changes planned, nothing was changed; differs from the job's first wave: libc 4 instead of 2";
    assert_eq!(report.message, words);
    let step = report.steps.iter().find(|s| s.step == StepKind::Plan).expect("told");
    assert!(step.message.ends_with("differs from the job's first wave: libc 4 instead of 2"), "{}", step.message);
}

#[test]
fn packages_that_the_first_wave_did_not_plan_are_planned_and_told_as_new() {
    let (report, plans) = run(&[], &[("libc", "2"), ("libc", "9")], false);
    assert_eq!((report.state, plans), (TaskState::Succeeded, 2), "once, and once after the reboot");
    assert_eq!(report.differs, [differ("kernel", None, "2")]);
    assert!(report.message.ends_with("differs from the job's first wave: kernel 2 is new"), "{}", report.message);
}

#[test]
fn a_job_that_froze_nothing_compares_nothing() {
    let (report, plans) = run(&[], &[], true);
    assert_eq!((report.differs.len(), plans), (0, 1));
}
