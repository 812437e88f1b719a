//! Module streams of dnf 4 against the recorded answers of the real dnf (`fixtures/ol8.modules-*.json`). The recorded
//! host has module `dm` with streams 1 (enabled, profile `full` installed) and 2, and `ddep`, whose stream x needs
//! dm:2.

use std::path::Path;

use drydock_domain::inventory::PackageSet;
use drydock_domain::patch::modules::{ModuleStatus, PlannedModule};
use drydock_domain::patch::report::{PackageOutcome, Plan};
use drydock_domain::patch::spec::PatchConfig;
use drydock_pkgmgr::testing::ScriptedRunner;
use drydock_pkgmgr::{Apt, Backend, Dnf, Dnf5, PackageManager, PkgError, Yum, Zypper};

fn chain(name: &str) -> ScriptedRunner {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ol8.{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    ScriptedRunner::from_json(&text).expect("a recorded chain")
}

/// A root with dnf's interpreter and these modules enabled.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Host { root: tempfile::tempdir().expect("a root") };
        host.write("usr/bin/dnf-3", "#!/usr/bin/python3\n");
        host.enabled("dm", "1", "full");
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn enabled(&self, module: &str, stream: &str, profiles: &str) {
        let text = format!("[{module}]\nname={module}\nstream={stream}\nprofiles={profiles}\nstate=enabled\n");
        self.write(&format!("etc/dnf/modules.d/{module}.module"), &text);
    }

    fn dnf(&self) -> Backend {
        let rpm = ScriptedRunner::new().expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n");
        Backend::Dnf(Dnf::new(self.root.path(), &rpm))
    }
}

fn config(changes: &[&str]) -> PatchConfig {
    PatchConfig { modules: changes.iter().map(|c| c.parse().expect("a change")).collect(), ..Default::default() }
}

fn line(m: &PlannedModule) -> String {
    let implied = if m.implied { " (implied)" } else { "" };
    let refused = if m.refused.is_empty() { String::new() } else { format!(" REFUSED {}", m.refused) };
    format!("{}{implied}: {} → {} [{}]{refused}", m.change, m.before, m.after, m.packages.join(","))
}

/// The recorded switch: its plan, and the runner that applies it.
fn switch(host: &Host) -> (Plan, ScriptedRunner) {
    let runner = chain("modules-apply");
    let plan = host.dnf().plan(&runner, &config(&["enable:ddep:x", "switch:dm:2"])).expect("a plan");
    (plan, runner)
}

#[test]
fn a_dry_run_says_which_change_does_what() {
    let host = Host::new();
    let (plan, runner) = switch(&host);
    let lines: Vec<String> = plan.modules.iter().map(line).collect();
    let wanted = [
        "enable:ddep:x: not set → x enabled []",
        "switch:dm:2: 1 enabled, profiles full → 2 enabled, profiles full [dm-app,dm-extra,dm-lib,dm-new]",
    ];
    assert_eq!(lines, wanted);
    let moves = plan.actions.iter().map(|a| format!("{:?} {} {:?}", a.action, a.name, a.to)).collect::<Vec<_>>();
    let wanted = [
        r#"Upgrade dm-app Some("2.0-1.module")"#,
        r#"Upgrade dm-lib Some("2.0-1.module")"#,
        r#"Install dm-new Some("2.0-1.module")"#,
        "Remove dm-extra None",
    ];
    assert_eq!(moves, wanted);
    assert_eq!((plan.changes(), plan.requested.as_slice()), (6, ["dm-new".to_owned()].as_slice()));
    assert!(runner.seen().iter().all(|c| !c.mutates), "a dry run changes nothing");
    finish(&host, &plan, &runner);
}

/// Plays the rest of the recorded chain.
fn finish(host: &Host, plan: &Plan, runner: &ScriptedRunner) {
    let dnf = host.dnf();
    dnf.installed(runner).expect("packages");
    let outcome = dnf.apply(runner, plan).expect("an outcome");
    assert_eq!((outcome.success, outcome.message.as_str()), (true, "dnf made 6 planned changes"));
    let after = PackageSet::new(dnf.installed(runner).expect("packages"));
    assert!(after.find("dm-app", "noarch").any(|p| p.version == "2.0-1.module"));
    assert!(dnf.broken(runner).expect("a list").is_empty());
}

#[test]
fn what_dnf_is_told_to_do_is_the_plan_and_the_truth_is_read_again() {
    let host = Host::new();
    let (plan, runner) = switch(&host);
    finish(&host, &plan, &runner);
    let seen = runner.seen();
    let apply = seen.iter().find(|c| c.mutates).expect("the transaction");
    let script = String::from_utf8(apply.stdin.clone().expect("a script")).expect("text");
    let order = script.lines().last().expect("the request").replace('\\', "");
    assert!(
        order.contains(r#"{"module":"dm","after":{"status":"ENABLED","stream":"2","profiles":["full"]}}"#)
            && order.contains(r#"{"module":"ddep","after":{"status":"ENABLED","stream":"x"}}"#),
        "{order}"
    );
    let outcomes = |host: &Host| -> Vec<PackageOutcome> {
        host.dnf().verify_modules(&plan).expect("read").into_iter().map(|r| r.outcome).collect()
    };
    use PackageOutcome::{Applied, Different, NotApplied};
    assert_eq!(outcomes(&host), [NotApplied, NotApplied], "nothing has written the files");
    host.enabled("ddep", "x", "");
    host.enabled("dm", "2", "full");
    assert_eq!(outcomes(&host), [Applied, Applied]);
    host.enabled("dm", "2", "");
    assert_eq!(outcomes(&host), [Applied, Different]);
    assert!(outcomes(&Host::new()).iter().all(|o| *o == NotApplied));
}

#[test]
fn one_refused_change_refuses_the_plan_and_every_reason_is_told() {
    let host = Host::new();
    let changes = config(&["enable:ddep:x", "enable:dm:2", "disable:nope"]);
    let plan = host.dnf().plan(&chain("modules-refused"), &changes).expect("a plan that says no");
    let refused: Vec<&str> = plan.modules.iter().map(|m| m.refused.as_str()).collect();
    assert!(refused[0].contains("module ddep:x:20260101:bbbb0001.x86_64 requires module(dm:2)"), "{}", refused[0]);
    assert_eq!(refused[1..], ["stream 1 is enabled; use switch:dm:2", "no repository of this host offers a module nope"]);
    assert!(plan.actions.is_empty() && plan.changes() == 0);
    assert!(plan.refusal().expect("refused").starts_with("dnf refuses 3 of 3 module changes"));
    let runner = ScriptedRunner::new().expect("rpm -qa *", "");
    assert!(matches!(host.dnf().apply(&runner, &plan), Err(PkgError::BadPlan { .. })), "it is never applied");

    // Rules alone decide: the solver is not asked.
    let plan = host.dnf().plan(&chain("modules-refused-by-rule"), &config(&["disable:dm"])).expect("a plan that says no");
    assert_eq!(plan.modules[0].refused, "profiles of it are installed: full; add remove:dm:1 to the job");
    assert_eq!(plan.modules[0].before.status, ModuleStatus::Enabled);
}

#[test]
fn a_plan_goes_on_where_it_was_interrupted_and_stops_where_somebody_else_was() {
    let host = Host::new();
    let (plan, recorded) = switch(&host);
    finish(&host, &plan, &recorded);
    // dnf had written the states when the host went down; the packages are as before.
    host.enabled("ddep", "x", "");
    host.enabled("dm", "2", "full");
    let before = chain("modules-apply");
    let resumed = host.dnf();
    resumed.plan(&before, &config(&["enable:ddep:x", "switch:dm:2"])).expect("a plan");
    finish_packages(&host, &plan, &before);
    // Somebody chose another stream since.
    host.enabled("dm", "3", "");
    let runner = ScriptedRunner::new().expect("rpm -qa *", "");
    let error = host.dnf().apply(&runner, &plan).expect_err("refused").to_string();
    assert!(
        error.contains("module dm was 1 enabled, profiles full, and is 3 enabled") && error.contains("plan again"),
        "{error}"
    );
}

/// As [`finish`], with the module states done already.
fn finish_packages(host: &Host, plan: &Plan, runner: &ScriptedRunner) {
    let dnf = host.dnf();
    dnf.installed(runner).expect("packages");
    let outcome = dnf.apply(runner, plan).expect("an outcome");
    assert_eq!(outcome.message, "dnf made 4 planned changes", "the packages only");
    dnf.installed(runner).expect("packages");
    dnf.broken(runner).expect("a list");
}

#[test]
fn managers_without_modules_say_so() {
    let root = tempfile::tempdir().expect("a root");
    let rpm = || ScriptedRunner::new().expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n");
    for backend in [
        Backend::Apt(Apt::new(root.path())),
        Backend::Dnf5(Dnf5::new(root.path(), &rpm())),
        Backend::Zypper(Zypper::new(root.path(), &rpm())),
        Backend::Yum(Yum::new(root.path(), &rpm())),
    ] {
        let error = backend.plan(&ScriptedRunner::new(), &config(&["reset:dm"])).expect_err("refused").to_string();
        let name = backend.kind().as_str();
        assert!(error.starts_with(&format!("{name} has no module streams and profiles: ")), "{error}");
        assert!(backend.modules(&ScriptedRunner::new()).is_err(), "{name}");
    }
}
