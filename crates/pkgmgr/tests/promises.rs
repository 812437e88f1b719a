//! What every manager promises beyond its plans: it waits for locks, applies only what was planned, goes on where it
//! was stopped, and tells what changed without having been planned.

use std::path::Path;
use std::time::Duration;

use drydock_domain::inventory::{ManagerKind, Package, PackageSet, UpdateKind};
use drydock_domain::patch::report::{ActionKind, PackageOutcome, Plan, PlannedAction};
use drydock_pkgmgr::run::End;
use drydock_pkgmgr::testing::ScriptedRunner;
use drydock_pkgmgr::{Apt, Dnf5, PackageManager, PkgError, Yum, remaining, verify};

fn action(kind: ActionKind, name: &str, from: Option<&str>, to: Option<&str>) -> PlannedAction {
    PlannedAction {
        action: kind,
        name: name.into(),
        arch: "amd64".into(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        repository: String::new(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    }
}

fn plan(manager: ManagerKind, actions: Vec<PlannedAction>) -> Plan {
    Plan {
        manager,
        actions,
        skipped: Vec::new(),
        patches: Vec::new(),
        requested: Vec::new(),
        modules: Vec::new(),
        findings: Vec::new(),
        before: None,
        undo: None,
    }
}

fn set(packages: &[(&str, &str)]) -> PackageSet {
    let one =
        |(n, v): &(&str, &str)| Package { name: (*n).into(), arch: "amd64".into(), version: (*v).into(), ..Package::default() };
    PackageSet::new(packages.iter().map(one).collect())
}

/// dpkg-query's answer: status letters, name, version.
fn dpkg(packages: &[(&str, &str, &str)]) -> String {
    packages.iter().map(line).collect::<String>() + &line(&("ii ", "dpkg", "1.21"))
}

fn line(p: &(&str, &str, &str)) -> String {
    [p.0, p.1, "amd64", p.2, p.1, p.2].join("\u{1f}") + "\n"
}

const SIMULATE: &str = "apt-get --simulate * install -- *";
const INSTALL: &str = "apt-get -y -q * install -- *";

#[test]
fn a_lock_is_waited_for_and_then_named() {
    let held = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4242 (apt-get)\n";
    let command = "apt-get update *";
    let freed = ScriptedRunner::new()
        .expect_end(command, End::Exited(100), "", held)
        .expect_end(command, End::Exited(100), "", held)
        .expect(command, "Hit:1 http://m/debian bookworm InRelease\n");
    assert!(Apt::new(Path::new("/nowhere")).refresh(&freed).expect("a refresh").is_empty());
    assert!(freed.paused() >= Duration::from_secs(10));

    // One try, and one after each of the 60 pauses of 5 s that 300 s hold.
    let never = (0..61).fold(ScriptedRunner::new(), |r, _| r.expect_end("apt-get update *", End::Exited(100), "", held));
    let error = Apt::new(Path::new("/nowhere")).refresh(&never).expect_err("still locked");
    assert!(error.to_string().contains("process 4242 (apt-get)"), "{error}");
    assert!(never.paused() <= Duration::from_secs(600), "the wait is bounded");
}

#[test]
fn when_no_repository_works_that_is_an_error() {
    let down = "Err:1 http://m/debian bookworm InRelease\n  Could not connect\n\
        W: Failed to fetch http://m/debian/dists/bookworm/InRelease  Could not connect\nW: Some index files failed to download.\n";
    let runner = ScriptedRunner::new().expect("apt-get update *", down);
    let error = Apt::new(Path::new("/nowhere")).refresh(&runner).expect_err("nothing works");
    assert!(matches!(error, PkgError::NothingWorks { .. }) && error.to_string().contains("http://m/debian"));
}

#[test]
fn repositories_that_another_dnf5_has_just_read_are_no_broken_ones() {
    let dnf5 = || Dnf5::new(Path::new("/nowhere"), &ScriptedRunner::new().expect("rpm *", "/var/lib/rpm\n"));
    // As dnf5 5.4 prints it while another one is at work: of what that one has read it says nothing.
    let quiet = "Updating and loading repositories:\n Lab third-party                        ???% |   0.0   B/s |  -1.0   B |  ?     \n\
        >>> Curl error (7): Could not connect to server\n>>> Usable URL not found\nRepositories loaded.\nMetadata cache created.\n";
    let (refresh, list) = ("dnf5 *makecache --refresh", "dnf5 *repo list --enabled");
    let several = "repo id repo name\nlab-1   Lab number 1\nthird   Lab third-party\n";
    let runner = ScriptedRunner::new().expect(refresh, quiet).expect(list, several);
    let findings = dnf5().refresh(&runner).expect("one is broken, the other is there");
    assert_eq!(findings[0].subject, "Lab third-party");
    let alone = ScriptedRunner::new().expect(refresh, quiet).expect(list, "repo id repo name\nthird   Lab third-party\n");
    let error = dnf5().refresh(&alone).expect_err("nothing else");
    assert!(matches!(error, PkgError::NothingWorks { .. }), "{error}");
}

#[test]
fn a_time_limit_is_told_as_such() {
    let runner = ScriptedRunner::new().expect_end("apt-get update *", End::TimedOut, "", "");
    let error = Apt::new(Path::new("/nowhere")).refresh(&runner).expect_err("timed out");
    assert!(matches!(error, PkgError::TimedOut { .. }), "{error}");
}

#[test]
fn apply_refuses_when_anything_else_would_happen() {
    let runner = ScriptedRunner::new()
        .expect("dpkg-query *", &dpkg(&[("ii ", "a", "1"), ("ii ", "b", "1")]))
        .expect(SIMULATE, "Inst a [1] (2 L:1/s [amd64])\nInst b [1] (2 L:1/s [amd64])\n");
    let plan = plan(ManagerKind::Apt, vec![action(ActionKind::Upgrade, "a", Some("1"), Some("2"))]);
    let error = Apt::new(Path::new("/nowhere")).apply(&runner, &plan).expect_err("refused");
    assert!(
        matches!(error, PkgError::WorldMoved { .. }) && error.to_string().contains("b.amd64 1 → 2 was not planned"),
        "{error}"
    );
}

#[test]
fn apply_refuses_when_a_planned_version_is_gone() {
    let gone = "E: Version '2' for 'a' was not found\n";
    let runner = ScriptedRunner::new().expect("dpkg-query *", &dpkg(&[("ii ", "a", "1")])).expect_end(
        SIMULATE,
        End::Exited(100),
        "",
        gone,
    );
    let plan = plan(ManagerKind::Apt, vec![action(ActionKind::Upgrade, "a", Some("1"), Some("2"))]);
    let error = Apt::new(Path::new("/nowhere")).apply(&runner, &plan).expect_err("refused");
    assert!(error.to_string().contains("Version '2' for 'a' was not found"), "{error}");
}

#[test]
fn a_plan_that_was_half_done_goes_on_with_the_rest() {
    let runner = ScriptedRunner::new()
        .expect("dpkg-query *", &dpkg(&[("ii ", "a", "2"), ("ii ", "b", "1")]))
        .expect(SIMULATE, "Inst b [1] (2 L:1/s [amd64])\n")
        .expect("apt-mark showauto -- b", "b\n")
        .expect(INSTALL, "Setting up b (2) ...\n")
        .expect("apt-mark auto -- b", "");
    let actions = ["a", "b"].map(|n| action(ActionKind::Upgrade, n, Some("1"), Some("2"))).to_vec();
    let outcome = Apt::new(Path::new("/nowhere")).apply(&runner, &plan(ManagerKind::Apt, actions)).expect("applied");
    assert!(outcome.success);
    let install = &runner.seen()[3];
    assert!(install.mutates, "it must survive the agent's death");
    assert_eq!(install.args.last().map(String::as_str), Some("b=2"));
    let has = |arg: &str| install.args.iter().any(|a| a == arg);
    assert!(has("Dpkg::Options::=--force-confold") && has("--no-remove") && has("DPkg::Lock::Timeout=300"));
}

#[test]
fn a_plan_that_is_wholly_done_runs_nothing() {
    let runner = ScriptedRunner::new().expect("dpkg-query *", &dpkg(&[("ii ", "a", "2")]));
    let plan = plan(ManagerKind::Apt, vec![action(ActionKind::Upgrade, "a", Some("1"), Some("2"))]);
    assert!(Apt::new(Path::new("/nowhere")).apply(&runner, &plan).expect("fine").success);
}

#[test]
fn a_hostile_plan_never_reaches_a_command_line() {
    for (name, version) in [("-oDir::Etc=/tmp", "2"), ("a", "2 b=3"), ("a*", "2"), ("a", "")] {
        let runner = ScriptedRunner::new().expect("dpkg-query *", &dpkg(&[("ii ", "a", "1")]));
        let plan = plan(ManagerKind::Apt, vec![action(ActionKind::Upgrade, name, Some("1"), Some(version))]);
        let error = Apt::new(Path::new("/nowhere")).apply(&runner, &plan).expect_err("refused");
        assert!(matches!(error, PkgError::BadPlan { .. }), "{name} {version}: {error}");
    }
}

#[test]
fn the_plan_of_another_manager_is_refused() {
    let error =
        Apt::new(Path::new("/nowhere")).apply(&ScriptedRunner::new(), &plan(ManagerKind::Dnf, vec![])).expect_err("refused");
    assert!(matches!(error, PkgError::WrongManager { .. }));
}

#[test]
fn what_changed_without_a_plan_is_told() {
    let plan = plan(
        ManagerKind::Apt,
        vec![
            action(ActionKind::Upgrade, "a", Some("1"), Some("2")),
            action(ActionKind::Upgrade, "b", Some("1"), Some("2")),
            action(ActionKind::Upgrade, "c", Some("1"), Some("2")),
            action(ActionKind::Remove, "d", Some("1"), None),
        ],
    );
    let before = set(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")]);
    let after = set(&[("a", "2"), ("b", "1"), ("c", "3"), ("e", "2"), ("g", "1")]);
    let got: Vec<_> = verify(&plan, &before, &after).into_iter().map(|r| (r.planned.name, r.outcome, r.found)).collect();
    let row = |n: &str, o, f: Option<&str>| (n.to_owned(), o, f.map(str::to_owned));
    assert_eq!(
        got,
        [
            row("a", PackageOutcome::Applied, Some("2")),
            row("b", PackageOutcome::NotApplied, Some("1")),
            row("c", PackageOutcome::Different, Some("3")),
            row("e", PackageOutcome::Unplanned, Some("2")),
            row("g", PackageOutcome::Unplanned, Some("1")),
            row("d", PackageOutcome::Applied, None),
            row("f", PackageOutcome::Unplanned, None),
        ]
    );
}

#[test]
fn a_package_that_an_interrupted_transaction_left_twice_is_not_done() {
    let plan = plan(ManagerKind::Dnf, vec![action(ActionKind::Upgrade, "a", Some("1-1"), Some("2-1"))]);
    assert_eq!(remaining(&plan, &set(&[("a", "1-1"), ("a", "2-1")])).len(), 1);
    assert!(remaining(&plan, &set(&[("a", "2-1")])).is_empty());
    let kernel = self::plan(ManagerKind::Dnf, vec![action(ActionKind::Install, "kernel", None, Some("2-1"))]);
    assert!(remaining(&kernel, &set(&[("kernel", "1-1"), ("kernel", "2-1")])).is_empty());
}

#[test]
fn what_an_interrupted_rpm_transaction_left_twice_is_taken_away_but_kernels_stay() {
    let row = |name: &str, epoch: &str, version: &str| {
        format!("{name}\u{1f}x86_64\u{1f}{epoch}\u{1f}{version}\u{1f}1\u{1f}s.src.rpm\u{1f}5\u{1f}ACME\n")
    };
    let rows = [("vim", "2", "8.0"), ("vim", "2", "10.0"), ("kernel", "", "5.0"), ("kernel", "", "5.1")];
    let also = [("kernel-devel", "", "5.0"), ("kernel-devel", "", "5.1")];
    let all: String = rows.into_iter().chain(also).map(|(name, epoch, version)| row(name, epoch, version)).collect();
    let runner = ScriptedRunner::new()
        .expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n")
        .expect("rpm -qa *", &all)
        .expect("rpm -q * --whatprovides * kernel-devel *", "kernel\nkernel-devel\nno package provides multiversion(kernel)\n")
        .expect("rpm --erase --noscripts -- vim-8.0-1.x86_64", "");
    let report = Yum::new(Path::new("/nowhere"), &runner).repair(&runner).expect("repaired");
    assert!(report.needed && report.message.contains("vim-8.0-1"), "{}", report.message);
}

#[test]
fn core_packages_installed_since_the_boot_ask_for_a_reboot() {
    let row = |name: &str, at: &str| format!("{name}\u{1f}x86_64\u{1f}\u{1f}2\u{1f}1\u{1f}s.src.rpm\u{1f}{at}\u{1f}ACME\n");
    let answer = format!("package kernel-rt is not installed\n{}{}", row("glibc", "2000"), row("systemd", "500"));
    let runner = ScriptedRunner::new()
        .expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n")
        .expect_end("rpm -q *", End::Exited(20), &answer, "")
        .expect("uname -r", "5.14.0\n");
    let booted_at = jiff::Timestamp::from_second(1000).expect("a time");
    let reasons = Yum::new(Path::new("/nowhere"), &runner).reboot_hint(&runner, booted_at).expect("reasons");
    let details: Vec<_> = reasons.iter().map(|r| (r.source.as_str(), r.detail.as_str())).collect();
    assert_eq!(details, [("core-package", "glibc 2-1 was installed after the boot")]);
}

#[test]
fn debian_asks_for_a_reboot_by_its_flag_file_and_names_who_asked() {
    let root = tempfile::tempdir().expect("a root");
    std::fs::create_dir(root.path().join("run")).expect("run");
    std::fs::write(root.path().join("run/reboot-required"), "*** System restart required ***\n").expect("flag");
    std::fs::write(root.path().join("run/reboot-required.pkgs"), "libc6\nlinux-image\nlibc6\n").expect("names");
    let runner = ScriptedRunner::new().expect("uname -r", "6.1.0-9-amd64\n");
    let reasons = Apt::new(root.path()).reboot_hint(&runner, jiff::Timestamp::UNIX_EPOCH).expect("reasons");
    assert_eq!(reasons.len(), 1);
    assert_eq!((reasons[0].source.as_str(), reasons[0].detail.as_str()), ("reboot-required", "libc6, linux-image asked for it"));
}

/// yum 3's documented output (no such host is in the lab).
#[test]
fn yum_3_plans_from_its_tables_and_applies_exact_names() {
    let rpm = |v: &str| format!("openssl-libs\u{1f}amd64\u{1f}1\u{1f}{v}\u{1f}1.el7\u{1f}openssl.src.rpm\u{1f}5\u{1f}ACME\n");
    let table = "\nDependencies Resolved\n\n====\n Package  Arch  Version  Repository  Size\n====\nUpdating:\n openssl-libs\n\
        \x20          amd64   1:1.0.2k-21.el7   ol7_latest   1.2 M\n\nTransaction Summary\n====\nUpgrade  1 Package\n\nExiting on user command\n";
    let offered = "\nopenssl-libs.amd64   1:1.0.2k-21.el7   ol7_latest\n";
    let advisory = "ELSA-2020-5566 Important/Sec. openssl-libs-1:1.0.2k-21.el7.amd64\n";
    let yum = "yum --color=never --setopt=exit_on_lock=1 --setopt=*.skip_if_unavailable=1";
    let runner = ScriptedRunner::new()
        .expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n")
        .expect("rpm -qa *", &rpm("1.0.2k"))
        .expect_end(&format!("{yum} -q -C check-update"), End::Exited(100), offered, "")
        .expect_end(
            &format!("{yum} -q -C --disableplugin=versionlock --disableexcludes=all check-update"),
            End::Exited(100),
            offered,
            "",
        )
        .expect(&format!("{yum} -q -C updateinfo list updates"), advisory)
        .expect_end(&format!("{yum} -C --assumeno --skip-broken --security update"), End::Exited(1), table, "")
        .expect(&format!("{yum} -q -C updateinfo list updates"), advisory)
        .expect("rpm -qa *", &rpm("1.0.2k"))
        .expect_end(&format!("{yum} -C --assumeno install 1:openssl-libs-1.0.2k-21.el7.amd64"), End::Exited(1), table, "")
        .expect(&format!("{yum} -y install 1:openssl-libs-1.0.2k-21.el7.amd64"), "Complete!\n");
    let manager = Yum::new(Path::new("/nowhere"), &runner);
    let config = serde_json::from_str(r#"{"yum":{"security":true}}"#).expect("settings");
    let plan = manager.plan(&runner, &config).expect("a plan");
    assert_eq!(plan.actions.len(), 1);
    let a = &plan.actions[0];
    assert_eq!(
        (a.from.as_deref(), a.to.as_deref(), a.kind),
        (Some("1:1.0.2k-1.el7"), Some("1:1.0.2k-21.el7"), UpdateKind::Security)
    );
    assert_eq!(a.advisories, ["ELSA-2020-5566"]);
    assert!(manager.apply(&runner, &plan).expect("applied").success);
}

/// As above: documented output only.
#[test]
fn yum_3_removes_with_what_depends_and_never_mixes_removing_with_installing() {
    let row = |name: &str| format!("{name}\u{1f}noarch\u{1f}\u{1f}1.0\u{1f}1\u{1f}{name}.src.rpm\u{1f}5\u{1f}ACME\n");
    let both = row("lib") + &row("app");
    let table = "\nDependencies Resolved\n\n====\n Package  Arch  Version  Repository  Size\n====\nRemoving:\n lib   noarch   1.0-1   @ol7   1 k\n\
        Removing for dependencies:\n app   noarch   1.0-1   @ol7   1 k\n\nTransaction Summary\n====\nRemove  1 Package\n";
    let yum = "yum --color=never --setopt=exit_on_lock=1 --setopt=*.skip_if_unavailable=1";
    let keep = "--setopt=clean_requirements_on_remove=0";
    let runner = ScriptedRunner::new()
        .expect("rpm --eval %{_dbpath}", "/var/lib/rpm\n")
        .expect("rpm -qa *", &both)
        .expect_end(&format!("{yum} -C --assumeno {keep} remove lib"), End::Exited(1), table, "")
        .expect("rpm -qa *", &both)
        .expect_end(&format!("{yum} -C --assumeno {keep} remove app-1.0-1.noarch lib-1.0-1.noarch"), End::Exited(1), table, "")
        .expect(&format!("{yum} -y {keep} remove app-1.0-1.noarch lib-1.0-1.noarch"), "Complete!\n")
        .expect("rpm -qa *", &both);
    let manager = Yum::new(Path::new("/nowhere"), &runner);
    let config = serde_json::from_str(r#"{"packages":{"remove":["lib"]}}"#).expect("settings");
    let mut plan = manager.plan(&runner, &config).expect("a plan");
    plan.actions.sort();
    let gone: Vec<_> = plan.actions.iter().map(|a| (a.action, a.name.as_str())).collect();
    assert_eq!(gone, [(ActionKind::Remove, "app"), (ActionKind::Remove, "lib")], "the plan tells what depends on it");
    assert!(manager.apply(&runner, &plan).expect("applied").success);
    let mixed = serde_json::from_str(r#"{"packages":{"remove":["lib"],"install":["new"]}}"#).expect("settings");
    let error = manager.plan(&runner, &mixed).expect_err("refused").to_string();
    assert!(error.contains("submit two jobs"), "{error}");
}
