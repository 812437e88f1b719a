//! A small apt that answers as apt 2.6 does, and the real one where these tests run on a host that they may change.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use drydock_domain::policy::Evidence;
use drydock_pkgmgr::run::{Captured, CommandSpec, End, Finished, RunError, Runner};

use crate::policy::kind::{Found, Kind, Watch};
use crate::policy::kinds::testing::Bench;
use crate::policy::lab_host;

/// Version, what it needs, what cannot be beside it.
type Offer = (&'static str, &'static [&'static str], &'static [&'static str]);

/// What the archives have, by name, newest first.
const OFFERS: [(&str, &[Offer]); 4] = [
    ("web", &[("2.0-1", &["lib"], &[]), ("1.0-1", &["lib"], &[])]),
    ("lib", &[("1.0-1", &[], &[])]),
    ("clash", &[("1.0-1", &[], &["precious"])]),
    ("precious", &[("1.0-1", &[], &[])]),
];

#[derive(Default)]
struct FakeApt {
    installed: Mutex<BTreeMap<String, String>>,
    held: Mutex<Vec<String>>,
    seen: Mutex<Vec<String>>,
    /// The archives were read.
    fresh: Mutex<bool>,
}

type Change = (Vec<(String, String)>, Vec<String>);

impl FakeApt {
    fn with(installed: &[(&str, &str)]) -> std::sync::Arc<Self> {
        let apt = FakeApt::default();
        *apt.fresh.lock().expect("lock") = true;
        let mut map = apt.installed.lock().expect("lock");
        map.insert("dpkg".into(), "1.21".into());
        map.extend(installed.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        drop(map);
        std::sync::Arc::new(apt)
    }

    /// What comes and goes for these words.
    fn change(&self, words: &[&str]) -> Option<Change> {
        let installed = self.installed.lock().expect("lock");
        let (mut come, mut go) = (Vec::new(), Vec::new());
        let mut todo: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        while let Some(word) = todo.pop() {
            if let Some(name) = word.strip_suffix('-') {
                go.push(name.to_owned());
                // Who needs it goes, too.
                let needs = |n: &&str| OFFERS.iter().any(|(o, vs)| o == n && vs[0].1.contains(&name));
                let above: Vec<&str> =
                    OFFERS.iter().map(|(n, _)| *n).filter(|n| installed.contains_key(*n)).filter(needs).collect();
                go.extend(above.into_iter().map(str::to_owned));
                continue;
            }
            let (name, version) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
            let (_, versions) = OFFERS.iter().find(|(n, _)| *n == name)?;
            let offer = versions.iter().find(|o| version.is_none_or(|v| v == o.0))?;
            if installed.get(name).map(String::as_str) != Some(offer.0) {
                come.push((name.to_owned(), offer.0.to_owned()));
            }
            todo.extend(offer.1.iter().filter(|n| !installed.contains_key(**n)).map(|n| (*n).to_owned()));
            go.extend(offer.2.iter().filter(|n| installed.contains_key(**n)).map(|n| (*n).to_owned()));
        }
        Some((come, go))
    }

    fn answer(&self, line: &str) -> Result<String, String> {
        let installed = || self.installed.lock().expect("lock").clone();
        let words: Vec<&str> = line.split_once(" -- ").map_or(Vec::new(), |(_, w)| w.split(' ').collect());
        if line.starts_with("dpkg-query -W") {
            let held = self.held.lock().expect("lock");
            let state = |n: &String| if held.contains(n) { "hi " } else { "ii " };
            let line = |(n, v): (&String, &String)| format!("{}\x1f{n}\x1famd64\x1f{v}\x1f{n}\x1f{v}\n", state(n));
            return Ok(installed().iter().map(line).collect());
        }
        if line.starts_with("apt-get update") || line.contains(" update") {
            *self.fresh.lock().expect("lock") = true;
            return Ok("Hit:1 http://archive stable InRelease\nReading package lists...\n".to_owned());
        }
        if line.starts_with("apt-get") && words.is_empty() {
            return Ok(String::new());
        }
        if line.starts_with("apt-get") {
            let unknown = || format!("E: Unable to locate package {}\n", words[0]);
            let known = *self.fresh.lock().expect("lock");
            let (come, go) = self.change(&words).filter(|_| known).ok_or_else(unknown)?;
            if line.contains("--simulate") {
                let now = installed();
                let old = |n: &String| now.get(n).map(|v| format!("[{v}] ")).unwrap_or_default();
                let inst = come.iter().map(|(n, v)| format!("Inst {n} {}({v} Lab:1/stable [amd64])\n", old(n)));
                let remv = go.iter().map(|n| format!("Remv {n} [{}]\n", now.get(n).cloned().unwrap_or_default()));
                return Ok(inst.chain(remv).collect());
            }
            let mut map = self.installed.lock().expect("lock");
            map.extend(come);
            map.retain(|n, _| !go.contains(n));
            return Ok("Setting up\n".to_owned());
        }
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["apt-mark", verb @ ("hold" | "unhold"), "--", name] => {
                let mut held = self.held.lock().expect("lock");
                held.retain(|n| n != name);
                held.extend((*verb == "hold").then(|| (*name).to_owned()));
            }
            ["dpkg", "--print-architecture"] => return Ok("amd64\n".to_owned()),
            ["dpkg", "--get-selections"] => {
                return Ok(self.held.lock().expect("lock").iter().map(|n| format!("{n}\thold\n")).collect());
            }
            ["apt-cache", "madison", "--", name] => {
                let offers = OFFERS.iter().filter(|(n, _)| n == name).flat_map(|(_, v)| v.iter());
                return Ok(offers.map(|o| format!(" {name} | {} | http://archive stable/main amd64 Packages\n", o.0)).collect());
            }
            _ => {}
        }
        Ok(String::new())
    }
}

struct Shared(std::sync::Arc<FakeApt>);

impl Runner for Shared {
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError> {
        let line = std::iter::once(&command.program).chain(&command.args).cloned().collect::<Vec<_>>().join(" ");
        self.0.seen.lock().expect("lock").push(line.clone());
        let (code, out, err) = match self.0.answer(&line) {
            Ok(out) => (0, out, String::new()),
            Err(err) => (100, String::new(), err),
        };
        let bytes = |t: String| Captured::from_bytes(t.as_bytes());
        Ok(Finished {
            exit_code: Some(code),
            end: End::Exited(code),
            stdout: bytes(out),
            stderr: bytes(err),
            wall: Duration::ZERO,
        })
    }

    fn pause(&self, _: Duration) {}
}

fn bench(installed: &[(&str, &str)]) -> (Bench, std::sync::Arc<FakeApt>) {
    let apt = FakeApt::with(installed);
    let bench = Bench::with(Shared(std::sync::Arc::clone(&apt)));
    bench.put("/etc/os-release", "ID=debian\n");
    bench.put("/usr/bin/apt-get", "");
    bench.put("/usr/bin/dpkg-query", "");
    (bench, apt)
}

fn apt(more: &str) -> String {
    format!(r#"{{"id":"p","pkg":{{"desiredState":"INSTALLED","apt":{{{more}}}}}}}"#)
}

const WEB: &str = r#""name":"web""#;

#[test]
fn a_package_is_installed_kept_and_taken_back_with_what_it_brought() {
    let (bench, apt_state) = bench(&[]);
    let mut kind = bench.kind(&apt(WEB));
    assert!(kind.changes_packages() && kind.watches() == [Watch::Packages]);
    assert_eq!(bench.wanting(&mut *kind).0, "not installed");
    let done = kind.enforce(&bench.cx()).expect("installed");
    let Some(Evidence::State { old, new }) = done.evidence else { panic!("a state") };
    assert_eq!((old.as_str(), new.as_str()), ("not installed", "2.0-1; with it: installed lib 1.0-1"));
    bench.compliant(&mut *kind);
    apt_state.installed.lock().expect("lock").remove("web");
    assert_eq!(bench.enforce(&mut *kind).0, "not installed");
    assert_eq!(kind.remove(&bench.cx()).expect("taken back").what, "removed");
    assert!(!apt_state.installed.lock().expect("lock").contains_key("web"));
}

#[test]
fn what_was_installed_before_stays() {
    let (bench, _) = bench(&[("web", "1.0-1"), ("lib", "1.0-1")]);
    let mut kind = bench.kind(&apt(r#""name":"web","version":{"atLeast":"1.5"}"#));
    assert_eq!(bench.enforce(&mut *kind).0, "1.0-1 is installed, which is older than 1.5");
    assert!(kind.remove(&bench.cx()).expect("left").what.contains("installed before the policy (1.0-1)"));
}

#[test]
fn versions_are_exact_at_least_below_or_the_latest() {
    for (wish, from, to) in [
        (r#"{"exact":"1.0-1"}"#, "2.0-1", "1.0-1"),
        (r#"{"atLeast":"2.0-1"}"#, "1.0-1", "2.0-1"),
        (r#"{"below":"2.0"}"#, "2.0-1", "1.0-1"),
        (r#"{"latest":{}}"#, "1.0-1", "2.0-1"),
    ] {
        let (bench, apt_state) = bench(&[("web", from), ("lib", "1.0-1")]);
        bench.enforce(&mut *bench.kind(&apt(&format!(r#"{WEB},"version":{wish}"#))));
        assert_eq!(apt_state.installed.lock().expect("lock")["web"], to, "{wish}");
    }
    let (bench, _) = bench(&[("web", "2.0-1"), ("lib", "1.0-1")]);
    let mut kind = bench.kind(&apt(&format!(r#"{WEB},"version":{{"below":"0.5"}}"#)));
    let failure = kind.enforce(&bench.cx()).expect_err("nothing so old");
    assert!(failure.message.contains("no repository offers web below 0.5; offered: 2.0-1, 1.0-1"), "{failure:?}");
}

#[test]
fn a_removal_takes_what_needs_it_and_says_so_and_an_installation_takes_nothing_away() {
    let (bench, apt_state) = bench(&[("web", "2.0-1"), ("lib", "1.0-1"), ("precious", "1.0-1")]);
    let mut kind = bench.kind(r#"{"id":"p","pkg":{"desiredState":"REMOVED","apt":{"name":"lib"}}}"#);
    assert_eq!(bench.wanting(&mut *kind).0, "1.0-1 is installed");
    let done = kind.enforce(&bench.cx()).expect("removed");
    assert!(format!("{:?}", done.evidence).contains("with it: removed web 2.0-1"), "{done:?}");
    bench.compliant(&mut *kind);
    let failure = bench.kind(&apt(r#""name":"clash""#)).enforce(&bench.cx()).expect_err("refused");
    assert!(failure.message.contains("only come by removing precious 1.0-1; nothing was changed"), "{failure:?}");
    assert!(apt_state.installed.lock().expect("lock").contains_key("precious"));
}

#[test]
fn what_apt_does_not_know_is_looked_for_once_more_with_fresh_metadata() {
    let (bench, apt_state) = bench(&[]);
    *apt_state.fresh.lock().expect("lock") = false;
    bench.enforce(&mut *bench.kind(&apt(WEB)));
    let failure = bench.kind(&apt(r#""name":"nobody""#)).enforce(&bench.cx()).expect_err("unknown");
    assert!(failure.message.contains("Unable to locate package nobody"), "{failure:?}");
}

#[test]
fn a_package_is_held_and_our_own_hold_is_no_obstacle() {
    let (bench, apt_state) = bench(&[("web", "1.0-1"), ("lib", "1.0-1")]);
    let held = || apt_state.held.lock().expect("lock").clone();
    bench.enforce(&mut *bench.kind(&apt(&format!(r#"{WEB},"hold":true"#))));
    assert_eq!(held(), ["web"]);
    let mut kind = bench.kind(&apt(&format!(r#"{WEB},"hold":true,"version":{{"exact":"2.0-1"}}"#)));
    bench.enforce(&mut *kind);
    assert_eq!((held(), apt_state.installed.lock().expect("lock")["web"].clone()), (vec!["web".to_owned()], "2.0-1".to_owned()));
}

#[test]
fn the_database_is_read_once_while_its_files_stay_the_same() {
    let (bench, apt_state) = bench(&[("web", "2.0-1")]);
    bench.put("/var/lib/dpkg/status", "one");
    let mut kind = bench.kind(&apt(WEB));
    for _ in 0..3 {
        bench.compliant(&mut *kind);
    }
    let reads = || apt_state.seen.lock().expect("lock").iter().filter(|l| l.starts_with("dpkg-query")).count();
    assert_eq!(reads(), 1);
    bench.put("/var/lib/dpkg/status", "two, longer");
    bench.compliant(&mut *kind);
    assert_eq!(reads(), 2);
}

#[test]
fn packages_of_other_systems_are_not_for_this_host() {
    let (bench, _) = bench(&[]);
    for pkg in [
        r#""yum":{"name":"x"}"#,
        r#""zypper":{"name":"x"}"#,
        r#""googet":{"name":"x"}"#,
        r#""rpm":{"source":{"localPath":"/x.rpm"}}"#,
        r#""msi":{"source":{"localPath":"C:\\x.msi"}}"#,
    ] {
        let mut kind = bench.kind(&format!(r#"{{"id":"p","pkg":{{"desiredState":"INSTALLED",{pkg}}}}}"#));
        kind.validate(&bench.cx()).expect("valid");
        assert!(matches!(kind.check(&bench.cx()), Ok(Found::NotApplicable(_))), "{pkg}");
    }
}

fn sh(script: &str) -> String {
    let out = std::process::Command::new("sh").args(["-ec", script]).output().expect("ran");
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A repository of a few packages, and a host that knows it.
const REPOSITORY: &str = r#"
mkdir -p /srv/repo; cd /srv/repo; : > Packages
deb() { d=$(mktemp -d); mkdir $d/DEBIAN; printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x\nDescription: x\n%b' "$1" "$2" "$3" > $d/DEBIAN/control
  f=$1_$2.deb; dpkg-deb -b $d $f >/dev/null; dpkg-deb -f $f >> Packages
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $f $(stat -c %s $f) $(sha256sum $f | cut -d' ' -f1) >> Packages; }
deb dd-web 1.0-1 'Depends: dd-lib\n'; deb dd-web 2.0-1 'Depends: dd-lib\n'; deb dd-lib 1.0-1 ''; deb dd-file 1.0-1 'Depends: dd-lib\n'
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
"#;

#[test]
fn the_real_apt_installs_holds_goes_back_and_removes() {
    let is_debian = std::fs::read_to_string("/etc/os-release").is_ok_and(|text| text.contains("\nID=debian\n"));
    if !lab_host::is_one("the real apt") || !is_debian {
        return;
    }
    sh(REPOSITORY);
    let version = |name: &str| sh(&format!("dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {name} 2>/dev/null || true"));
    let named = |more: &str| apt(&format!(r#""name":"dd-web"{more}"#));
    let bench = Bench::here();
    let mut kind: Box<dyn Kind> = bench.kind(&named(""));
    let began = std::time::Instant::now();
    bench.enforce(&mut *kind);
    eprintln!("installed after {:?}", began.elapsed());
    assert_eq!(version("dd-web"), "ii 2.0-1");
    sh("dpkg -r dd-web");
    let began = std::time::Instant::now();
    bench.enforce(&mut *kind);
    eprintln!("installed again after {:?}", began.elapsed());
    let held = bench.kind(&named(r#","version":{"below":"2.0"},"hold":true"#));
    let mut held = held;
    bench.enforce(&mut *held);
    assert_eq!(version("dd-web"), "hi 1.0-1");
    assert!(sh("apt-mark showhold").contains("dd-web"));
    sh("apt-mark unhold dd-web");
    let latest = r#","version":{"latest":{}}"#;
    bench.enforce(&mut *bench.kind(&named(latest)));
    assert_eq!(version("dd-web"), "ii 2.0-1");
    let mut file = bench.kind(r#"{"id":"f","pkg":{"desiredState":"INSTALLED","deb":{"source":{"localPath":"/srv/repo/dd-file_1.0-1.deb"},"pullDeps":true}}}"#);
    bench.enforce(&mut *file);
    assert_eq!(version("dd-file"), "ii 1.0-1");
    let done = kind.remove(&bench.cx()).expect("answered").what;
    assert!(done.starts_with("removed"), "{done}");
    let mut gone = bench.kind(r#"{"id":"p","pkg":{"desiredState":"REMOVED","apt":{"name":"dd-lib"}}}"#);
    bench.enforce(&mut *gone);
    assert!(!version("dd-file").starts_with("ii"));
}

/// Where the lab's rpm packages are put for this test.
const RPM_REPOSITORIES: &str = "/srv/rpm";

#[test]
fn the_real_rpm_tools_install_hold_go_back_and_remove() {
    let there = std::path::Path::new(RPM_REPOSITORIES).is_dir();
    if !lab_host::is_one("the real rpm tools") || !there {
        return;
    }
    let system = if std::path::Path::new("/usr/bin/zypper").exists() { "zypper" } else { "yum" };
    let bench = Bench::here();
    for (n, repository) in ["base", "updates"].iter().enumerate() {
        // Each resource has its own memory.
        let bench = Bench::here();
        let json = format!(
            r#"{{"id":"r","repository":{{"{system}":{{"id":"lab{n}","baseUrl":"file://{RPM_REPOSITORIES}/{repository}"}}}}}}"#
        );
        bench.enforce(&mut *bench.kind(&json));
    }
    let version = || sh("rpm -q --qf '%{VERSION}-%{RELEASE}' dd-alpha || true");
    let named = |more: &str| {
        bench.kind(&format!(r#"{{"id":"p","pkg":{{"desiredState":"INSTALLED","{system}":{{"name":"dd-alpha"{more}}}}}}}"#))
    };
    sh("rpm -e dd-alpha 2>/dev/null || true");
    let began = std::time::Instant::now();
    let mut kind = named("");
    bench.enforce(&mut *kind);
    eprintln!("installed after {:?}", began.elapsed());
    assert_eq!(version(), "1.2-1");
    sh("rpm -e dd-alpha");
    let began = std::time::Instant::now();
    bench.enforce(&mut *kind);
    eprintln!("installed again after {:?}", began.elapsed());
    bench.enforce(&mut *named(r#","version":{"below":"1.2"}"#));
    assert_eq!(version(), "1.1-1");
    bench.enforce(&mut *named(r#","version":{"exact":"1.0-1"}"#));
    assert_eq!(version(), "1.0-1");
    bench.enforce(&mut *named(r#","version":{"latest":{}}"#));
    assert_eq!(version(), "1.2-1");
    let mut held = named(r#","hold":true"#);
    bench.enforce(&mut *held);
    held.remove(&bench.cx()).expect("released and removed");
    assert!(!version().starts_with('1'), "what the policy brought is gone: {}", version());
    let file = r#"{"id":"f","pkg":{"desiredState":"INSTALLED","rpm":{"source":{"localPath":"/srv/rpm/base/dd-beta-1.0-1.noarch.rpm"},"pullDeps":true}}}"#;
    sh("rpm -e dd-beta 2>/dev/null || true");
    bench.enforce(&mut *bench.kind(file));
    assert!(sh("rpm -q dd-beta").starts_with("dd-beta-1.0-1"));
    bench.enforce(
        &mut *bench.kind(&format!(r#"{{"id":"p","pkg":{{"desiredState":"REMOVED","{system}":{{"name":"dd-beta"}}}}}}"#)),
    );
}
