//! Each manager against the recorded answers of the real tools (`fixtures/DISTRO.STORY.json`, written by
//! `examples/pkgmgr-probe.rs` inside real roots): the same commands must come in the same order, and what is made of
//! the answers is locked by snapshots.
//!
//! The recorded hosts hold packages in an old version with a newer one offered: one held, one locked behind another,
//! one that fails in its script, one that obsoletes another, one that needs a new package, security and bugfix
//! advisories, a broken repository, a configuration file changed by hand.

use std::path::Path;

use drydock_domain::inventory::{PackageSet, Update};
use drydock_domain::patch::report::{PackageOutcome, PackageResult, Plan};
use drydock_pkgmgr::testing::ScriptedRunner;
use drydock_pkgmgr::{Apt, Backend, Dnf, Dnf5, PackageManager, Zypper, verify_with};

fn chain(name: &str) -> ScriptedRunner {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    ScriptedRunner::from_json(&text).expect("a recorded chain")
}

/// The manager of a recorded host, on an empty root that only names dnf's interpreter.
fn manager(distro: &str) -> Backend {
    let root = tempfile::tempdir().expect("a root");
    std::fs::create_dir_all(root.path().join("usr/bin")).expect("a directory");
    std::fs::write(root.path().join("usr/bin/dnf-3"), "#!/usr/bin/python3\n").expect("a script");
    let rpm = ScriptedRunner::new();
    let rpm = if distro.starts_with("debian") { rpm } else { rpm.expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n") };
    match distro {
        "ol8" => Backend::Dnf(Dnf::new(root.path(), &rpm)),
        "fedora42" => Backend::Dnf5(Dnf5::new(root.path(), &rpm)),
        "leap15" => Backend::Zypper(Zypper::new(root.path(), &rpm)),
        _ => Backend::Apt(Apt::new(root.path())),
    }
}

fn plan_text(plan: &Plan) -> String {
    let none = || "-".to_owned();
    let actions = plan.actions.iter().map(|a| {
        let (from, to) = (a.from.clone().unwrap_or_else(none), a.to.clone().unwrap_or_else(none));
        format!("{:?} {}.{} {from} → {to} [{}] {:?} {}", a.action, a.name, a.arch, a.repository, a.kind, a.advisories.join(","))
    });
    let skipped = plan.skipped.iter().map(|s| format!("skip {}.{} {}: {}", s.name, s.arch, s.version, s.reason));
    let patches = plan.patches.iter().map(|p| format!("patch {p}"));
    let findings = plan.findings.iter().map(|f| format!("finding {}", f.subject));
    actions.chain(skipped).chain(patches).chain(findings).map(|l| l.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn update_text(u: &Update) -> String {
    format!(
        "{}.{} {} → {} [{}] {:?} {} {} {}",
        u.name,
        u.arch,
        u.from,
        u.to,
        u.repository,
        u.kind,
        u.advisories.join(","),
        u.severity,
        u.held
    )
    .trim_end()
    .to_owned()
}

fn result_text(r: &PackageResult) -> String {
    format!("{:?} {}.{} found {:?} {}", r.outcome, r.planned.name, r.planned.arch, r.found, r.detail).trim_end().to_owned()
}

/// Plans with these settings, as recorded.
fn plan(distro: &str, story: &str, config: &str) -> Plan {
    let config = serde_json::from_str(config).expect("settings");
    manager(distro).plan(&chain(&format!("{distro}.{story}")), &config).expect("a plan")
}

/// Plans, applies and verifies, as recorded.
fn apply(distro: &str, config: &str) -> (String, Vec<PackageResult>) {
    let (runner, manager) = (chain(&format!("{distro}.apply-fails")), manager(distro));
    let config = serde_json::from_str(config).expect("settings");
    let plan = manager.plan(&runner, &config).expect("a plan");
    let before = PackageSet::new(manager.installed(&runner).expect("packages"));
    let outcome = manager.apply(&runner, &plan).expect("an outcome");
    let after = PackageSet::new(manager.installed(&runner).expect("packages"));
    let broken = manager.broken(&runner).expect("a list");
    assert!(!outcome.success, "a package failed, and the outcome must say so");
    let results = verify_with(&plan, &before, &after, &broken, &outcome.failed_packages);
    let lines = results.iter().map(result_text);
    let head = format!("{}\nreboot suggested: {}", outcome.message, outcome.reboot_suggested);
    (std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n"), results)
}

fn updates(distro: &str) -> String {
    let set = manager(distro).updates(&chain(&format!("{distro}.updates"))).expect("updates");
    set.updates
        .iter()
        .map(update_text)
        .chain(set.findings.iter().map(|f| format!("finding {}", f.subject)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn findings(distro: &str) -> Vec<String> {
    let found = manager(distro).refresh(&chain(&format!("{distro}.refresh"))).expect("a refresh");
    found.into_iter().map(|f| f.subject).collect()
}

#[test]
fn refreshing_tells_the_broken_repository_and_goes_on() {
    assert!(findings("debian12").is_empty() && findings("debian13").is_empty());
    for distro in ["ol8", "fedora42", "leap15"] {
        assert_eq!(findings(distro), ["broken"], "{distro}");
    }
}

#[test]
fn updates_name_what_is_held_and_what_closes_a_vulnerability() {
    for distro in ["debian12", "ol8", "fedora42", "leap15"] {
        insta::assert_snapshot!(format!("updates-{distro}"), updates(distro));
    }
}

#[test]
fn apt_plans() {
    for (story, config) in [
        ("plan", "{}"),
        ("plan-dist", r#"{"apt":{"type":"DIST"}}"#),
        ("plan-security", r#"{"apt":{"security":true}}"#),
        ("plan-excludes", r#"{"apt":{"excludes":["dd-lib","/reboot$/"]}}"#),
        ("plan-exclusive", r#"{"apt":{"exclusivePackages":["dd-app","dd-held","nope"]}}"#),
    ] {
        insta::assert_snapshot!(format!("debian12-{story}"), plan_text(&plan("debian12", story, config)));
    }
}

#[test]
fn apt_3_speaks_as_apt_2_does() {
    assert_eq!(plan_text(&plan("debian13", "plan", "{}")), plan_text(&plan("debian12", "plan", "{}")));
    let security = r#"{"apt":{"security":true}}"#;
    let of = |distro| plan_text(&plan(distro, "plan-security", security));
    assert_eq!(of("debian13"), of("debian12"));
}

const RED_HAT_STORIES: [(&str, &str); 5] = [
    ("plan", "{}"),
    ("plan-security", r#"{"yum":{"security":true}}"#),
    ("plan-minimal", r#"{"yum":{"minimal":true}}"#),
    ("plan-excludes", r#"{"yum":{"excludes":["dr-lib","/^kern/","dr-ne*"]}}"#),
    ("plan-exclusive", r#"{"yum":{"exclusivePackages":["dr-app","dr-held","nope"]}}"#),
];

#[test]
fn dnf_4_plans() {
    for (story, config) in RED_HAT_STORIES {
        insta::assert_snapshot!(format!("ol8-{story}"), plan_text(&plan("ol8", story, config)));
    }
}

#[test]
fn dnf_5_plans_the_same_transactions_as_dnf_4() {
    for (story, config) in RED_HAT_STORIES {
        let (four, five) = (plan("ol8", story, config), plan("fedora42", story, config));
        assert_eq!(four.actions, five.actions, "{story}");
        let names = |p: &Plan| p.skipped.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&four), names(&five), "{story}");
        insta::assert_snapshot!(format!("fedora42-{story}"), plan_text(&five));
    }
}

#[test]
fn zypper_plans() {
    for (story, config) in [
        ("plan", "{}"),
        ("plan-all", r#"{"zypper":{"withUpdate":true,"withOptional":true}}"#),
        ("plan-categories", r#"{"zypper":{"categories":["security"],"severities":["important","moderate"]}}"#),
        ("plan-excludes", r#"{"zypper":{"withUpdate":true,"excludes":["dr-lib","*-0003"]}}"#),
        ("plan-exclusive", r#"{"zypper":{"exclusivePatches":["LAB-2026-0001","LAB-2026-0004","nope"]}}"#),
    ] {
        insta::assert_snapshot!(format!("leap15-{story}"), plan_text(&plan("leap15", story, config)));
    }
}

#[test]
fn nothing_excluded_is_ever_planned() {
    for (distro, story, config) in [
        ("debian12", "plan-excludes", r#"{"apt":{"excludes":["dd-lib","/reboot$/"]}}"#),
        ("ol8", "plan-excludes", RED_HAT_STORIES[3].1),
        ("fedora42", "plan-excludes", RED_HAT_STORIES[3].1),
        ("leap15", "plan-excludes", r#"{"zypper":{"withUpdate":true,"excludes":["dr-lib","*-0003"]}}"#),
    ] {
        let plan = plan(distro, story, config);
        assert!(!plan.actions.is_empty());
        for a in &plan.actions {
            assert!(!a.name.ends_with("-lib") && !a.name.ends_with("-app"), "{distro}: {} needs an excluded package", a.name);
        }
        let app = plan.skipped.iter().find(|s| s.name.ends_with("-app")).expect("the one that needs it is named");
        assert!(app.reason.contains("-lib"), "{distro}: {}", app.reason);
    }
}

#[test]
fn one_failing_package_is_told_from_the_rest() {
    let cases = [
        ("debian12", r#"{"apt":{"type":"DIST"}}"#, PackageOutcome::Different),
        ("debian13", r#"{"apt":{"type":"DIST"}}"#, PackageOutcome::Different),
        ("ol8", "{}", PackageOutcome::NotApplied),
        ("fedora42", "{}", PackageOutcome::NotApplied),
        ("leap15", r#"{"zypper":{"withUpdate":true,"withOptional":true}}"#, PackageOutcome::NotApplied),
    ];
    for (distro, config, of_failed) in cases {
        let (text, results) = apply(distro, config);
        for r in &results {
            let want = if r.planned.name.ends_with("-fails") { of_failed } else { PackageOutcome::Applied };
            assert_eq!(r.outcome, want, "{distro}: {}", result_text(r));
        }
        insta::assert_snapshot!(format!("apply-{distro}"), text);
    }
}
