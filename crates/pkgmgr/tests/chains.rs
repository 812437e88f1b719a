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

/// Named packages of every kind at once, with a held one and one that is not there.
const NAMED: &str =
    r#"{"packages":{"install":["dd-new","dd-alpha=1.1-1"],"remove":["dd-slow"],"update":["dd-beta","dd-held","nope"]}}"#;
const FAMILIES: [&str; 4] = ["debian12", "ol8", "fedora42", "leap15"];

#[test]
fn named_packages_are_planned_with_all_that_they_take_along() {
    for distro in FAMILIES {
        let plan = plan(distro, "named", NAMED);
        let has = |name: &str, to: Option<&str>| plan.actions.iter().any(|a| a.name == name && a.to.as_deref() == to);
        assert!(has("dd-alpha", Some("1.1-1")), "{distro}: the exact version, although 1.2 is offered");
        assert!(has("dd-beta", Some("1:1.1-1")) && has("dd-new", Some("2.0-1")) && has("dd-slow", None), "{distro}");
        assert_eq!(plan.actions.len(), 5, "{distro}: and dd-old, which dd-new replaces; nothing else: {plan:?}");
        insta::assert_snapshot!(format!("{distro}-named"), plan_text(&plan));
    }
}

#[test]
fn what_the_tool_refuses_is_refused_in_its_words() {
    for (distro, unknown, protected, name) in [
        ("debian12", "Unable to locate package nope", "Essential packages were removed", "hostname"),
        ("ol8", "no repository of this host offers nope", "removing the following protected packages: dd-conf", "dd-conf"),
        ("fedora42", "No match for argument: nope", "removing the following protected packages: dd-conf", "dd-conf"),
        ("leap15", "No provider of 'nope' found.", "dd-held is locked by zypper addlock", "dd-held"),
    ] {
        let refused = |story: &str, config: &str| {
            let config = serde_json::from_str(config).expect("settings");
            manager(distro).plan(&chain(&format!("{distro}.{story}")), &config).expect_err("refused").to_string()
        };
        let error = refused("named-unknown", r#"{"packages":{"install":["nope"]}}"#);
        assert!(error.contains(unknown), "{distro}: {error}");
        let error = refused("named-protected", &format!(r#"{{"packages":{{"remove":["{name}"]}}}}"#));
        assert!(error.contains(protected), "{distro}: {error}");
    }
}

#[test]
fn updates_are_chosen_by_type_advisory_and_cve_alike_everywhere() {
    const SECURITY_TOO: [&str; 2] = ["dd-beta 1:1.1-1", "dd-reboot 1.1-1"];
    let plain = ["dd-alpha 1.2-1", "dd-beta 1:1.1-1", "dd-conf 1.1-1", "dd-service 1.1-1", "dd-slow 1.1-1"];
    let taken = |plan: &Plan| -> Vec<String> {
        plan.actions.iter().map(|a| format!("{} {}", a.name, a.to.as_deref().unwrap_or("gone"))).collect()
    };
    for distro in ["ol8", "fedora42", "leap15"] {
        assert_eq!(taken(&plan(distro, "types", r#"{"updateTypes":["BUGFIX","ENHANCEMENT"]}"#)), plain, "{distro}");
        assert!(taken(&plan(distro, "types-other", r#"{"updateTypes":["OTHER"]}"#)).is_empty(), "{distro}");
        let by_id = plan(
            distro,
            "advisories",
            r#"{"advisories":["LABBA-2026:0003","LABBA-1999:0001"],"cves":["CVE-2026-0007","CVE-1999-0001"]}"#,
        );
        assert_eq!(taken(&by_id), SECURITY_TOO, "{distro}");
        for id in ["LABBA-1999:0001", "CVE-1999-0001"] {
            let said = by_id.skipped.iter().find(|s| s.name == id).unwrap_or_else(|| panic!("{distro}: {id} is not told"));
            assert!(said.reason.contains("no available update"), "{distro}");
        }
        assert!(!by_id.skipped.iter().any(|s| s.name == "CVE-2026-0007"), "{distro}");
    }
    for distro in ["ol8", "fedora42"] {
        let minimal = plan(distro, "advisories-minimal", r#"{"advisories":["LABSA-2026:0001"],"yum":{"minimal":true}}"#);
        assert_eq!(taken(&minimal), ["dd-alpha 1.1-1"], "{distro}");
    }
    let others = plan("debian12", "types-others", r#"{"updateTypes":["BUGFIX","ENHANCEMENT","OTHER"]}"#);
    assert_eq!(taken(&others), plain[1..], "apt: whatever no security archive has");
    assert!(others.skipped.iter().any(|s| s.name == "dd-alpha" && s.reason.starts_with("a security update")));
}

#[test]
fn apt_says_what_its_archives_cannot_tell() {
    for (config, words) in [
        (r#"{"advisories":["DSA-1"]}"#, "name the packages instead"),
        (r#"{"cves":["CVE-2026-0001"]}"#, "name the packages instead"),
        (r#"{"updateTypes":["BUGFIX"]}"#, "choose SECURITY, or the other three together"),
        (r#"{"updateTypes":["SECURITY","OTHER"]}"#, "choose SECURITY, or the other three together"),
    ] {
        let config = serde_json::from_str(config).expect("settings");
        let error = manager("debian12").plan(&ScriptedRunner::new(), &config).expect_err("refused").to_string();
        assert!(error.starts_with("apt cannot choose updates so") && error.contains(words), "{error}");
    }
}

#[test]
fn downloading_installs_nothing_and_applying_makes_exactly_the_plan() {
    for distro in FAMILIES {
        let manager = manager(distro);
        let config = serde_json::from_str(NAMED).expect("settings");
        let runner = chain(&format!("{distro}.named-download"));
        let plan = manager.plan(&runner, &config).expect("a plan");
        let outcome = manager.download(&runner, &plan).expect("an outcome");
        assert!(outcome.success && outcome.message.ends_with("nothing was installed"), "{distro}: {}", outcome.message);
        assert!(runner.seen().iter().all(|c| !c.mutates || c.args.iter().any(|a| a == "--assumeno")), "{distro}");

        let runner = chain(&format!("{distro}.named-apply"));
        let plan = manager.plan(&runner, &config).expect("a plan");
        let before = PackageSet::new(manager.installed(&runner).expect("packages"));
        let outcome = manager.apply(&runner, &plan).expect("an outcome");
        let after = PackageSet::new(manager.installed(&runner).expect("packages"));
        let broken = manager.broken(&runner).expect("a list");
        assert!(outcome.success, "{distro}: {}", outcome.message);
        let results = verify_with(&plan, &before, &after, &broken, &outcome.failed_packages);
        assert_eq!(results.len(), 5, "{distro}");
        for r in &results {
            assert_eq!(r.outcome, PackageOutcome::Applied, "{distro}: {}", result_text(r));
        }
        if distro == "debian12" {
            // What a person asked for is no dependency; no new package came as one, so nothing is marked.
            let marked = runner.seen().iter().any(|c| c.program == "apt-mark" && c.args.iter().any(|a| a == "auto"));
            assert!(!marked, "dd-new would be taken away by the next autoremove");
        }
    }
}
