//! Nothing comes that has not soaked.

use drydock_domain::patch::report::SkippedUpdate;
use drydock_domain::patch::soak::{OrderSoak, SoakVersion, Soaking};
use drydock_domain::work::FrozenVersion;

use super::*;

/// A job with a soak of 7 days on a host that is offered `offers`; `soaking` until day 9.
fn run(
    offers: &[(&'static str, &[u32])],
    soaked: &[(&str, &str)],
    soaking: &[(&str, &str)],
    change: impl FnOnce(&mut Entry),
) -> (TaskReport, u32) {
    quiet_panics();
    let offers = offers.iter().map(|(n, v)| (*n, v.to_vec())).collect();
    let version =
        |(name, version): &(&str, &str)| SoakVersion { name: (*name).into(), arch: "x".into(), version: (*version).into() };
    let until = Timestamp::from_second(9 * 86_400).expect("in range");
    let waits =
        |(name, version): &(&str, &str)| Soaking { name: (*name).into(), arch: "x".into(), version: (*version).into(), until };
    let soak = OrderSoak {
        days: 7,
        except_security: false,
        soaked: soaked.iter().map(version).collect(),
        soaking: soaking.iter().map(waits).collect(),
    };
    let case = Case::new(World { offers, ..World::new() }, |e| {
        e.order.task.config.soak_days = 7;
        e.order.task.soak = Some(soak);
        change(e);
    });
    let report = case.finish(None);
    let plans = case.world().plans;
    (report, plans)
}

fn planned(report: &TaskReport) -> Vec<String> {
    report.plans[0].actions.iter().map(|a| format!("{} {}", a.name, a.to.as_deref().unwrap_or_default())).collect()
}

fn skipped(report: &TaskReport) -> Vec<String> {
    let line = |s: &SkippedUpdate| format!("{} {}: {}", s.name, s.version, s.reason);
    report.plans[0].skipped.iter().map(line).collect()
}

#[test]
fn the_newest_version_that_has_soaked_comes() {
    let offers = [("libc", &[2, 3, 4][..]), ("kernel", &[2])];
    let soaking = [("libc", "3"), ("libc", "4")];
    let (report, plans) = run(&offers, &[("libc", "2"), ("kernel", "2")], &soaking, |_| ());
    assert_eq!((report.state, report.message.as_str()), (TaskState::Succeeded, "patched and verified; 2 versions soak"));
    assert_eq!(planned(&report), ["kernel 2", "libc 2"]);
    assert_eq!(skipped(&report), ["libc 3: soaks until 1970-01-10 00:00 UTC", "libc 4: soaks until 1970-01-10 00:00 UTC"]);
    assert!(report.packages.iter().all(|p| p.outcome == PackageOutcome::Applied));
    assert_eq!(plans, 3, "both are barred at once; and one plan after the reboot");
    let step = report.steps.iter().find(|s| s.step == StepKind::Plan).expect("told");
    assert_eq!(step.message, "planned 2 changes, skipped 2 updates; 2 of them for the soak");
}

#[test]
fn without_a_soak_the_newest_comes() {
    let (report, plans) = run(&[("libc", &[2, 3, 4])], &[], &[], |e| {
        e.order.task.config.soak_days = 0;
        e.order.task.soak = None;
        e.order.task.dry_run = true;
    });
    assert_eq!((planned(&report), skipped(&report), plans), (vec!["kernel 2".into(), "libc 4".into()], vec![], 1));
}

#[test]
fn what_the_server_never_saw_does_not_come_and_is_told() {
    let (report, plans) = run(&[("libc", &[5, 6])], &[("kernel", "2")], &[], |e| e.order.task.dry_run = true);
    assert_eq!((planned(&report), plans), (vec!["kernel 2".to_owned()], 3), "each was met by a plan of its own");
    let words = "soaks: the server had not seen it before, and 7 days begin now";
    assert_eq!(skipped(&report), [format!("libc 5: {words}"), format!("libc 6: {words}")]);
    assert_eq!(report.message, "dry run: 1 change planned, nothing was changed; 2 versions soak");
}

#[test]
fn nothing_is_done_where_everything_soaks() {
    let (report, _) = run(&[], &[], &[("libc", "2")], |_| ());
    assert_eq!((report.state, planned(&report).len(), report.reboots), (TaskState::Succeeded, 0, 0));
    assert_eq!(report.message, "patched and verified; 2 versions soak");
    assert!(report.packages.is_empty());
}

#[test]
fn security_updates_come_where_the_job_excepts_them() {
    // Everything on the host of paper is a security update.
    let (report, plans) = run(&[("libc", &[9])], &[], &[("libc", "9")], |e| {
        e.order.task.dry_run = true;
        e.order.task.config.soak_except_security = true;
        e.order.task.soak.as_mut().expect("there").except_security = true;
    });
    assert_eq!((planned(&report), plans), (vec!["kernel 2".to_owned(), "libc 9".into()], 1));
}

#[test]
fn the_first_waves_versions_and_a_soak_hold_together() {
    let frozen = |v: &str| FrozenVersion { name: "libc".into(), arch: "x".into(), version: v.into() };
    let run = |frozen: FrozenVersion| {
        run(&[("libc", &[2, 3, 4, 5])], &[("libc", "2"), ("libc", "3"), ("kernel", "2")], &[("libc", "4")], |e| {
            e.order.task.dry_run = true;
            e.order.task.frozen = vec![frozen, FrozenVersion { name: "kernel".into(), arch: "x".into(), version: "2".into() }];
        })
        .0
    };
    let report = run(frozen("2"));
    assert_eq!((planned(&report), report.differs.len()), (vec!["kernel 2".to_owned(), "libc 2".into()], 0));
    let left: Vec<String> = skipped(&report).iter().map(|s| s.split(':').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(left, ["libc 4", "libc 5"]);
    // What the first wave had is not known to have soaked any more: neither it nor another version comes.
    let report = run(frozen("5"));
    assert_eq!((planned(&report), report.differs.len()), (vec!["kernel 2".to_owned()], 0));
}

#[test]
fn a_host_that_cannot_do_without_a_young_version_fails_and_changes_nothing() {
    // More young versions than plans are made.
    let many: Vec<u32> = (2..200).collect();
    let (report, plans) = run(&[("libc", &many)], &[("kernel", "2")], &[], |_| ());
    assert_eq!((report.state, plans), (TaskState::Failed, 31));
    assert!(
        report.message.contains("after 30 plans one still has what has not soaked: libc 169, which soaks"),
        "{}",
        report.message
    );
    assert!(report.packages.is_empty() && report.reboots == 0);
}
