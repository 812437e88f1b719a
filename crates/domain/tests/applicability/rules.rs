//! Single rules of the package managers, each a small world.

use drydock_domain::advisory::{Advisory, AdvisoryKind, Fix, ModuleRef, NameKind, Product, Severity, Statement, Status};
use drydock_domain::applicability::facts::{
    Bound, DefaultStream, Dependency, ModuleFacts, PackageFacts, ReleaseFacts, SnapshotFacts, View,
};
use drydock_domain::applicability::{Fleet, HostInput, HostReport, OpenState, Origin};
use drydock_domain::host_rules::{HostRules, ModuleState, PackageExclude, PackageLock, Pin};
use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
use drydock_domain::version::Scheme;

use crate::world::{el8, host, view};

/// `name version arch`, perhaps `vendor` behind it.
fn available(rows: &[&str]) -> SnapshotFacts {
    let package = |row: &&str| {
        let words: Vec<&str> = row.split(' ').collect();
        PackageFacts {
            name: words[0].into(),
            version: words[1].into(),
            arch: words[2].into(),
            vendor: words.get(3).copied().unwrap_or_default().into(),
            phased_percent: 100,
            ..PackageFacts::default()
        }
    };
    SnapshotFacts { packages: rows.iter().map(package).collect(), ..SnapshotFacts::default() }
}

fn installed(rows: &[&str]) -> Vec<Package> {
    let package = |row: &&str| {
        let words: Vec<&str> = row.split(' ').collect();
        Package {
            name: words[0].into(),
            version: words[1].into(),
            arch: words[2].into(),
            vendor: words.get(3).copied().unwrap_or_default().into(),
            source: words.get(4).map(|s| s.replace('=', " ")).unwrap_or_default(),
        }
    };
    rows.iter().map(package).collect()
}

struct Case {
    fleet: Fleet,
    os: OsFacts,
    scheme: Scheme,
    rules: HostRules,
    views: Vec<View>,
    packages: Vec<Package>,
}

impl Case {
    fn new(os: OsFacts, scheme: Scheme, packages: &[&str]) -> Self {
        let (rules, views) = (HostRules::default(), Vec::new());
        Case { fleet: Fleet::new(), os, scheme, rules, views, packages: installed(packages) }
    }

    fn dnf(packages: &[&str]) -> Self {
        Case::new(el8(), Scheme::Rpm, packages)
    }

    fn zypper(packages: &[&str]) -> Self {
        let os = OsFacts { short_name: "sles".into(), version: "15.5".into(), managers: vec![ManagerKind::Zypper], ..el8() };
        Case::new(os, Scheme::Rpm, packages)
    }

    fn apt(packages: &[&str]) -> Self {
        let os = OsFacts { short_name: "debian".into(), version: "12".into(), managers: vec![ManagerKind::Apt], ..el8() };
        Case::new(os, Scheme::Deb, packages)
    }

    fn sees(mut self, priority: u32, facts: SnapshotFacts) -> Self {
        let root = format!("root{}", self.views.len());
        self.fleet.put_snapshot(&root, self.scheme, &facts);
        self.views.push(view(&format!("s{}", self.views.len()), &root, priority));
        self
    }

    fn rules(mut self, rules: HostRules) -> Self {
        self.rules = rules;
        self
    }

    fn report(&mut self) -> HostReport {
        let packages: Vec<_> = self.packages.iter().map(|p| self.fleet.package(self.scheme, p)).collect();
        let input = HostInput { os: &self.os, scheme: self.scheme, packages: &packages, rules: &self.rules, views: &self.views };
        self.fleet.put_host(host(0), input);
        self.fleet.settle();
        self.fleet.host(host(0)).expect("the host")
    }

    /// `name from>to arch source`, held ones with `!reason` behind.
    fn updates(&mut self) -> Vec<String> {
        let shown = |u: &drydock_domain::applicability::HostUpdate| {
            let held = if u.held.is_empty() { String::new() } else { format!(" !{}", u.held) };
            format!("{} {}>{} {} {}{held}", u.name, u.from, u.to, u.to_arch, u.source)
        };
        self.report().updates.iter().map(shown).collect()
    }
}

fn fix(name: &str, version: &str, by: NameKind, scheme: Scheme) -> Fix {
    Fix { product: Product::any(), name: name.into(), by, arch: String::new(), version: version.into(), scheme, module: None }
}

fn advisory(id: &str, cve: &str, fixes: Vec<Fix>) -> Advisory {
    Advisory {
        id: id.into(),
        kind: AdvisoryKind::Security,
        severity: Severity::Important,
        cves: vec![cve.into()],
        fixes,
        ..Advisory::default()
    }
}

fn feed() -> Origin {
    Origin::Feed("feed".into())
}

#[test]
fn dnf_newest_per_name_and_architecture() {
    let mut case = Case::dnf(&["a 1-1 x86_64", "a 1-1 i686", "b 2-1 x86_64", "kernel 1-1 x86_64", "kernel 2-1 x86_64"]).sees(
        99,
        available(&[
            "a 2-1 x86_64",
            "a 3-1 x86_64",
            "a 2-1 i686",
            "b 1-1 x86_64",
            "b 2-1 x86_64",
            "kernel 3-1 x86_64",
            "new 1-1 noarch",
        ]),
    );
    assert_eq!(case.updates(), ["a 1-1>2-1 i686 s0", "a 1-1>3-1 x86_64 s0", "kernel 2-1>3-1 x86_64 s0"]);
}

#[test]
fn dnf_changes_between_an_architecture_and_none() {
    let mut case = Case::dnf(&["a 1-1 x86_64", "b 1-1 noarch", "c 1-1 i686"])
        .sees(99, available(&["a 2-1 noarch", "b 2-1 x86_64", "c 2-1 x86_64"]));
    assert_eq!(case.updates(), ["a 1-1>2-1 noarch s0", "b 1-1>2-1 x86_64 s0"]);
}

#[test]
fn dnf_the_better_priority_hides_newer_packages_of_its_names() {
    let mut case = Case::dnf(&["a 1-1 x86_64", "b 1-1 x86_64"])
        .sees(99, available(&["a 3-1 x86_64", "b 2-1 x86_64"]))
        .sees(10, available(&["a 2-1 x86_64"]));
    assert_eq!(case.updates(), ["a 1-1>2-1 x86_64 s1", "b 1-1>2-1 x86_64 s0"]);
}

#[test]
fn dnf5_the_better_priority_hides_its_architecture_only() {
    let mut case = Case::dnf(&["a 1-1 x86_64"]).sees(99, available(&["a 3-1 noarch"])).sees(10, available(&["a 2-1 x86_64"]));
    assert_eq!(case.updates(), ["a 1-1>2-1 x86_64 s1"]);
    case.os.managers = vec![ManagerKind::Dnf5];
    assert_eq!(case.updates(), ["a 1-1>2-1 x86_64 s1", "a 1-1>3-1 noarch s0"]);
}

#[test]
fn dnf_excludes_and_locks_hold_and_say_so() {
    let facts = || available(&["a 2-1 x86_64", "a 3-1 x86_64", "b 2-1 x86_64", "c 2-1 x86_64"]);
    let packages = ["a 1-1 x86_64", "b 1-1 x86_64", "c 1-1 x86_64"];
    let exclude = |pattern: &str, repository: &str| PackageExclude { pattern: pattern.into(), repository: repository.into() };
    let lock = |pattern: &str| PackageLock { pattern: pattern.into(), ..PackageLock::default() };
    let rules = HostRules {
        excludes: vec![exclude("b*", "drydock-s0"), exclude("c", "other")],
        locks: vec![lock("a-0:2-1.*")],
        ..HostRules::default()
    };
    let mut case = Case::dnf(&packages).sees(99, facts()).rules(rules);
    assert_eq!(
        case.updates(),
        ["a 1-1>2-1 x86_64 s0", "a 1-1>3-1 x86_64 s0 !versionlock", "b 1-1>2-1 x86_64 s0 !excluded", "c 1-1>2-1 x86_64 s0"]
    );
    let rules = HostRules { includes: vec![exclude("c", "")], ..HostRules::default() };
    let mut case = Case::dnf(&packages).sees(99, facts()).rules(rules);
    assert_eq!(case.updates(), ["a 1-1>3-1 x86_64 s0 !excluded", "b 1-1>2-1 x86_64 s0 !excluded", "c 1-1>2-1 x86_64 s0"]);
}

#[test]
fn dnf_obsoletes_bring_another_package() {
    let mut facts = available(&["new 2-1 x86_64", "old 1-2 x86_64"]);
    let dependency = |version: &str| Dependency { name: "old".into(), bound: Bound::Less, version: version.into() };
    facts.packages[0].obsoletes = vec![dependency("2")];
    let mut case = Case::dnf(&["old 1-1 x86_64"]).sees(99, facts.clone());
    assert_eq!(case.updates(), ["new >2-1 x86_64 s0", "old 1-1>1-2 x86_64 s0"]);
    assert_eq!(case.report().updates[0].obsoletes, ["old"]);
    let mut case = Case::dnf(&["old 1-1 x86_64"])
        .sees(99, facts.clone())
        .rules(HostRules { ignore_obsoletes: true, ..HostRules::default() });
    assert_eq!(case.updates(), ["old 1-1>1-2 x86_64 s0"]);
    let lock = PackageLock { pattern: "old-0:1-1.*".into(), ..PackageLock::default() };
    let mut case =
        Case::dnf(&["old 1-1 x86_64"]).sees(99, facts.clone()).rules(HostRules { locks: vec![lock], ..HostRules::default() });
    assert_eq!(case.updates(), ["old 1-1>1-2 x86_64 s0 !versionlock"]);
    facts.packages[0].obsoletes = vec![dependency("1")];
    assert_eq!(Case::dnf(&["old 1-1 x86_64"]).sees(99, facts).updates(), ["old 1-1>1-2 x86_64 s0"]);
}

#[test]
fn dnf_versionlock_keeps_away_what_obsoletes_the_locked_version() {
    let mut facts = available(&["new 2-1 x86_64", "old 1-1 x86_64", "old 1-2 x86_64"]);
    let dependency = |version: &str| Dependency { name: "old".into(), bound: Bound::Less, version: version.into() };
    facts.packages[0].obsoletes = vec![dependency("1-2")];
    let locks = |patterns: &[&str]| HostRules {
        locks: patterns.iter().map(|p| PackageLock { pattern: (*p).into(), ..PackageLock::default() }).collect(),
        ..HostRules::default()
    };
    // `old` is not even installed; that its locked version is offered is enough.
    for (patterns, want) in [
        (&[][..], "new 1-1>2-1 x86_64 s0"),
        (&["old-0:1-1.*"][..], "new 1-1>2-1 x86_64 s0 !versionlock"),
        (&["old-0:1-2.*"], "new 1-1>2-1 x86_64 s0"),
        (&["old-0:0-1.*"], "new 1-1>2-1 x86_64 s0"),
        (&["old-0:1-1.*", "new-0:2-1.*"], "new 1-1>2-1 x86_64 s0"),
    ] {
        let mut case = Case::dnf(&["new 1-1 x86_64"]).sees(99, facts.clone()).rules(locks(patterns));
        assert_eq!(case.updates(), [want], "{patterns:?}");
    }
    let mut rules = locks(&["old-0:1-1.*"]);
    rules.excludes.push(PackageExclude { pattern: "old".into(), repository: String::new() });
    let mut case = Case::dnf(&["new 1-1 x86_64"]).sees(99, facts).rules(rules);
    assert_eq!(case.updates(), ["new 1-1>2-1 x86_64 s0"], "a lock on what is excluded means nothing");
}

fn modular() -> SnapshotFacts {
    let mut facts = available(&[
        "nodejs 10-1.module x86_64",
        "nodejs 10-2.module x86_64",
        "nodejs 12-1.module x86_64",
        "nodejs 99-1 x86_64",
        "plain 2-1 x86_64",
    ]);
    let build = |stream: &str, version, artifact: &str| ModuleFacts {
        name: "nodejs".into(),
        stream: stream.into(),
        version,
        arch: "x86_64".into(),
        artifacts: vec![format!("nodejs-0:{artifact}.x86_64")],
        requires: vec![("platform".into(), vec!["el8".into()])],
        ..ModuleFacts::default()
    };
    facts.modules = vec![build("10", 1, "10-1.module"), build("10", 2, "10-2.module"), build("12", 1, "12-1.module")];
    facts.default_streams = vec![DefaultStream { module: "nodejs".into(), stream: "10".into(), modified: 0 }];
    facts
}

fn enabled(stream: &str) -> HostRules {
    let module = ModuleState { name: "nodejs".into(), stream: stream.into(), enabled: true, profiles: vec![] };
    HostRules { modules: vec![module], platform: "platform:el8".into(), ..HostRules::default() }
}

#[test]
fn dnf_sees_packages_of_streams_in_force_only() {
    let packages = ["nodejs 9-1 x86_64", "plain 1-1 x86_64"];
    for (rules, want) in [
        (HostRules::default(), "nodejs 9-1>10-2.module x86_64 s0"),
        (enabled("12"), "nodejs 9-1>12-1.module x86_64 s0"),
        (
            HostRules { modules: vec![ModuleState { name: "nodejs".into(), ..ModuleState::default() }], ..HostRules::default() },
            "nodejs 9-1>99-1 x86_64 s0",
        ),
        (HostRules { platform: "platform:el9".into(), ..HostRules::default() }, "nodejs 9-1>99-1 x86_64 s0"),
    ] {
        let mut case = Case::dnf(&packages).sees(99, modular()).rules(rules);
        assert_eq!(case.updates(), [want, "plain 1-1>2-1 x86_64 s0"]);
    }
    let mut case = Case::dnf(&packages).sees(99, modular()).sees(99, available(&["nodejs 100-1 x86_64"]));
    assert_eq!(case.updates()[0], "nodejs 9-1>10-2.module x86_64 s0", "a plain package of another source is shadowed");
    case.views[1].module_hotfixes = true;
    assert_eq!(case.updates()[0], "nodejs 9-1>100-1 x86_64 s1");
}

#[test]
fn dnf_hides_what_provides_a_name_of_a_stream_in_force() {
    let mut facts = modular();
    facts.packages.extend(available(&["node-community 2-1 x86_64", "plain-api 2-1 x86_64"]).packages);
    facts.packages[5].provides = vec!["other".into(), "nodejs".into()];
    facts.packages[6].provides = vec!["other".into()];
    let packages = ["node-community 1-1 x86_64", "plain-api 1-1 x86_64"];
    let mut case = Case::dnf(&packages).sees(99, facts.clone());
    assert_eq!(case.updates(), ["plain-api 1-1>2-1 x86_64 s0"]);
    case.views[0].module_hotfixes = true;
    assert_eq!(case.updates().len(), 2);
    let disabled =
        HostRules { modules: vec![ModuleState { name: "nodejs".into(), ..ModuleState::default() }], ..HostRules::default() };
    assert_eq!(Case::dnf(&packages).sees(99, facts).rules(disabled).updates().len(), 2);
}

#[test]
fn dnf_has_no_default_stream_where_repositories_contradict_each_other() {
    let mut other = available(&["plain 1-1 x86_64"]);
    other.default_streams = vec![DefaultStream { module: "nodejs".into(), stream: "12".into(), modified: 0 }];
    let mut case = Case::dnf(&["nodejs 9-1 x86_64"]).sees(99, modular()).sees(10, other.clone());
    assert_eq!(case.updates(), ["nodejs 9-1>99-1 x86_64 s0"]);
    // What the host enabled counts all the same, and the newer of two statements goes before the older.
    let mut case = Case::dnf(&["nodejs 9-1 x86_64"]).sees(99, modular()).sees(10, other.clone()).rules(enabled("10"));
    assert_eq!(case.updates(), ["nodejs 9-1>10-2.module x86_64 s0"]);
    // A third one counts again; the repository of better priority was read first.
    let mut case = Case::dnf(&["nodejs 9-1 x86_64"]).sees(99, modular()).sees(10, other.clone()).sees(99, other.clone());
    assert_eq!(case.updates(), ["nodejs 9-1>12-1.module x86_64 s0"]);
    let mut case = Case::dnf(&["nodejs 9-1 x86_64"]).sees(99, modular()).sees(10, other.clone()).sees(10, other.clone());
    assert_eq!(case.updates(), ["nodejs 9-1>99-1 x86_64 s0"]);
    other.default_streams[0].modified = 202_007_071_533;
    let mut case = Case::dnf(&["nodejs 9-1 x86_64"]).sees(99, modular()).sees(10, other);
    assert_eq!(case.updates(), ["nodejs 9-1>12-1.module x86_64 s0"]);
}

#[test]
fn advisories_of_other_streams_do_not_apply() {
    let of = |stream: &str| ModuleRef { name: "nodejs".into(), stream: stream.into(), ..ModuleRef::default() };
    let modular_fix =
        |stream: &str, version: &str| Fix { module: Some(of(stream)), ..fix("nodejs", version, NameKind::Binary, Scheme::Rpm) };
    let mut case = Case::dnf(&["nodejs 10-1.module x86_64"]).sees(99, modular()).rules(enabled("10"));
    case.fleet.put_advisory(&feed(), &advisory("TEN", "CVE-10", vec![modular_fix("10", "10-2.module")]));
    case.fleet.put_advisory(&feed(), &advisory("TWELVE", "CVE-12", vec![modular_fix("12", "12-1.module")]));
    // Feeds that do not name the module: the stream is found by the snapshot's builds, else by the major version.
    case.fleet
        .put_advisory(&feed(), &advisory("FOUND", "CVE-13", vec![fix("nodejs", "12-1.module", NameKind::Binary, Scheme::Rpm)]));
    case.fleet
        .put_advisory(&feed(), &advisory("MAJOR", "CVE-14", vec![fix("nodejs", "14-1.module", NameKind::Binary, Scheme::Rpm)]));
    case.fleet.put_advisory(&feed(), &advisory("PLAIN", "CVE-15", vec![fix("nodejs", "99-1", NameKind::Binary, Scheme::Rpm)]));
    let report = case.report();
    let ids: Vec<&str> = report.advisories.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["TEN"]);
    assert!(report.advisories[0].installable);
    assert_eq!(report.updates[0].advisories, ["TEN"]);
    assert_eq!((report.updates[0].kind, report.updates[0].severity), (AdvisoryKind::Security, Severity::Important));
}

#[test]
fn the_running_kernel_counts_until_the_reboot() {
    let mut case = Case::dnf(&["kernel-core 1-1.el8 x86_64", "kernel-core 2-1.el8 x86_64", "kernel-core 0.5-1.el8 x86_64"]);
    case.os.kernel_release = "1-1.el8.x86_64".into();
    case.fleet.put_advisory(&feed(), &advisory("K", "CVE-K", vec![fix("kernel-core", "2-1.el8", NameKind::Binary, Scheme::Rpm)]));
    let report = case.report();
    assert_eq!(report.vulnerabilities[0].state, OpenState::AwaitsReboot);
    assert_eq!(report.advisories[0].packages.len(), 1, "the oldest kernel does not run");
    case.os.kernel_release = "2-1.el8.x86_64".into();
    assert_eq!(case.report(), HostReport::default());
}

#[test]
fn epochs_and_backports_are_compared_in_full() {
    let mut case = Case::dnf(&["bind 32:9.11-1.el8_6.2 x86_64", "openssl 1:1.1.1k-7.el8 x86_64"]);
    let binary = |name: &str, version: &str| fix(name, version, NameKind::Binary, Scheme::Rpm);
    case.fleet.put_advisory(&feed(), &advisory("OLD", "CVE-1", vec![binary("bind", "9.16-1.el8")]));
    case.fleet.put_advisory(&feed(), &advisory("SAME", "CVE-2", vec![binary("openssl", "1:1.1.1k-6.el8")]));
    case.fleet.put_advisory(&feed(), &advisory("NEW", "CVE-3", vec![binary("bind", "32:9.11-1.el8_6.3")]));
    let ids: Vec<String> = case.report().advisories.into_iter().map(|a| a.id).collect();
    assert_eq!(ids, ["NEW"]);
}

#[test]
fn fixes_by_source_are_compared_with_the_sources_version() {
    let mut case =
        Case::apt(&["libssl3 3.0.1-1+b2 amd64 - openssl=3.0.1-1", "gcc-base 12.2-1 amd64 - gcc-defaults=1.200"]).sees(500, {
            let mut facts = available(&["libssl3 3.0.1-2+b1 amd64"]);
            facts.packages[0].source = "openssl".into();
            facts.packages[0].source_version = "3.0.1-2".into();
            facts
        });
    let mut dsa = advisory("DSA-1", "CVE-1", vec![fix("openssl", "3.0.1-2", NameKind::Source, Scheme::Deb)]);
    dsa.fixes[0].product = Product::new("debian", "12");
    case.fleet.put_advisory(&feed(), &dsa);
    let mut other = advisory("DSA-2", "CVE-2", vec![fix("gcc-defaults", "1.199", NameKind::Source, Scheme::Deb)]);
    other.fixes.push(Fix { product: Product::new("debian", "11"), ..fix("openssl", "9", NameKind::Source, Scheme::Deb) });
    case.fleet.put_advisory(&feed(), &other);
    let report = case.report();
    assert_eq!(report.advisories.len(), 1);
    assert_eq!(report.vulnerabilities[0].state, OpenState::Installable);
    assert_eq!(report.vulnerabilities[0].packages[0].fixed.as_deref(), Some("3.0.1-2"));
    assert_eq!(report.updates[0].advisories, ["DSA-1"]);
}

#[test]
fn statements_go_before_advisories() {
    let statement = |cve: &str, status, version: &str| Statement {
        vulnerability: cve.into(),
        product: Product::new("ol", "8"),
        name: "a".into(),
        by: NameKind::Binary,
        module: None,
        scheme: Scheme::Rpm,
        status,
        version: version.into(),
        severity: Severity::Low,
        justification: "why".into(),
    };
    let mut case = Case::dnf(&["a 1-1 x86_64"]);
    case.fleet.put_advisory(&feed(), &advisory("X", "CVE-1", vec![fix("a", "2-1", NameKind::Binary, Scheme::Rpm)]));
    let vex = Origin::Feed("vex".into());
    case.fleet.put_statements(
        &vex,
        &[
            statement("CVE-1", Status::NotAffected, ""),
            statement("CVE-2", Status::Affected, ""),
            statement("CVE-3", Status::WontFix, ""),
            statement("CVE-4", Status::UnderInvestigation, ""),
            statement("CVE-5", Status::Fixed, "1-1"),
            statement("CVE-6", Status::Fixed, "1-2"),
        ],
    );
    let report = case.report();
    let open: Vec<(&str, OpenState)> = report.vulnerabilities.iter().map(|v| (v.id.as_str(), v.state)).collect();
    assert_eq!(
        open,
        [
            ("CVE-2", OpenState::NoFix),
            ("CVE-3", OpenState::WontFix),
            ("CVE-4", OpenState::UnderInvestigation),
            ("CVE-6", OpenState::Applicable)
        ]
    );
    assert_eq!(
        (report.vulnerabilities[0].severity, report.vulnerabilities[0].packages[0].justification.as_str()),
        (Severity::Low, "why")
    );
    // What is not open although it concerns the host is settled, one way or the other.
    let settled = case.fleet.settled(host(0));
    let told: Vec<(&str, bool)> = settled.iter().map(|v| (v.id.as_str(), v.affected)).collect();
    assert_eq!(told, [("CVE-1", false), ("CVE-5", true)]);
    assert_eq!((settled[0].justification.as_str(), settled[0].packages[0].installed.as_str()), ("why", "1-1"));
    case.fleet.clear_origin(&vex);
    let open: Vec<String> = case.report().vulnerabilities.into_iter().map(|v| v.id).collect();
    assert_eq!(open, ["CVE-1"], "recompute replaces");
}

#[test]
fn apt_follows_pins_holds_and_archives() {
    let release = |suite: &str, codename: &str, mut facts: SnapshotFacts| {
        facts.release =
            ReleaseFacts { suite: suite.into(), codename: codename.into(), origin: "Debian".into(), ..ReleaseFacts::default() };
        facts
    };
    let stable = || release("stable", "bookworm", available(&["a 2 amd64", "b 2 all", "c 2 i386", "d 2 amd64"]));
    let backports = || {
        let mut facts = release("stable-backports", "bookworm-backports", available(&["a 3 amd64", "d 3 amd64"]));
        (facts.release.not_automatic, facts.release.but_automatic_upgrades) = (true, true);
        facts
    };
    let packages = ["a 1 amd64", "b 1 amd64", "c 1 amd64", "c 1 i386", "d 2.5 amd64"];
    let case = |rules: HostRules| Case::apt(&packages).sees(500, stable()).sees(500, backports()).rules(rules).updates();
    assert_eq!(case(HostRules::default()), ["a 1>2 amd64 s0", "b 1>2 all s0", "c 1>2 i386 s0", "d 2.5>3 amd64 s1"]);
    let pin = |package: &str, pin: &str, priority| Pin { packages: vec![package.into()], pin: pin.into(), priority };
    let rules = HostRules {
        holds: vec!["b".into(), "c:amd64".into()],
        pins: vec![
            pin("a", "release n=bookworm-backports", 600),
            pin("d", "version 2.5*", 990),
            pin("c:any", "release a=stable", -1),
        ],
        ..HostRules::default()
    };
    assert_eq!(case(rules), ["a 1>3 amd64 s1", "b 1>2 all s0 !held by apt-mark"]);
    let rules = HostRules { default_release: "stable".into(), ..HostRules::default() };
    assert_eq!(case(rules), ["a 1>2 amd64 s0", "b 1>2 all s0", "c 1>2 i386 s0", "d 2.5>3 amd64 s1"]);
    let rules = HostRules { pins: vec![pin("*", "release a=stable-backports", -10)], ..HostRules::default() };
    assert_eq!(case(rules), ["a 1>2 amd64 s0", "b 1>2 all s0", "c 1>2 i386 s0"]);
}

#[test]
fn zypper_keeps_to_vendors_architectures_and_locks() {
    let facts = || {
        available(&[
            "a 2-1 x86_64 SUSE_LLC",
            "a 3-1 x86_64 Other",
            "b 2-1 i586 SUSE_LLC",
            "c 2-1 noarch SUSE",
            "d 2-1 x86_64 SUSE",
        ])
    };
    let packages = ["a 1-1 x86_64 SUSE", "b 1-1 x86_64 SUSE", "c 1-1 x86_64 SUSE", "d 1-1 x86_64 SUSE"];
    let lock = PackageLock { pattern: "d*".into(), ..PackageLock::default() };
    let rules = HostRules { locks: vec![lock.clone()], ..HostRules::default() };
    let mut case = Case::zypper(&packages).sees(99, facts()).rules(rules);
    assert_eq!(case.updates(), ["a 1-1>2-1 x86_64 s0", "c 1-1>2-1 noarch s0", "d 1-1>2-1 x86_64 s0 !locked"]);
    let rules = HostRules { vendor_change: Some(true), locks: vec![lock], ..HostRules::default() };
    let mut case = Case::zypper(&packages).sees(99, facts()).rules(rules);
    assert_eq!(case.updates()[0], "a 1-1>3-1 x86_64 s0");
}

#[test]
fn a_snapshot_that_is_missing_is_said_and_then_taken() {
    let mut case = Case::dnf(&["a 1-1 x86_64"]);
    case.views.push(view("late", "late-root", 99));
    assert_eq!(case.updates(), Vec::<String>::new());
    assert_eq!(case.fleet.missing_snapshots(), ["late-root"]);
    case.fleet.put_snapshot("late-root", Scheme::Rpm, &available(&["a 2-1 x86_64"]));
    assert_eq!(case.fleet.settle().hosts_changed, [host(0)]);
    assert_eq!(case.updates(), ["a 1-1>2-1 x86_64 late"]);
    case.fleet.remove_snapshot("late-root");
    assert_eq!(case.updates(), Vec::<String>::new());
}

#[test]
fn what_is_no_version_takes_part_in_nothing() {
    let mut case = Case::dnf(&["a not\u{7f}a\u{7f}version x86_64", "b 1-1 x86_64"])
        .sees(99, available(&["a 2-1 x86_64", "b \u{7f} x86_64"]));
    case.fleet.put_advisory(&feed(), &advisory("X", "CVE-1", vec![fix("a", "2-1", NameKind::Binary, Scheme::Rpm)]));
    assert_eq!(case.report(), HostReport::default());
    assert_eq!(case.fleet.stats().bad_versions, 2);
}
