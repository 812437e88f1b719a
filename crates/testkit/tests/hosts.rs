//! Lab hosts are real: they boot, reboot, lose power, install from the standard repositories and
//! leave nothing behind. Needs root and the tools of `lab::DEBIAN_PACKAGES`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use drydock_testkit::cache::mounts_under;
use drydock_testkit::lab::{Host, PackageManager, Root, RootKind, skip_reason};
use drydock_testkit::process::ProcessMark;
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{PackageSet, SCRIPTLET_LOG, SLOW_SECONDS_FILE, standard};

/// A service of the host starts within this.
const SERVICE_LIMIT: Duration = Duration::from_secs(20);

fn skipped() -> bool {
    let reason = skip_reason().unwrap();
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

fn init_start(host: &Host) -> String {
    host.sh("cut -d' ' -f22 /proc/1/stat").unwrap()
}

/// A host runs commands under its own systemd and identity, comes back from a reboot and a power
/// cut with its files, and is gone without a trace once dropped.
#[test]
fn host_lives_reboots_and_disappears() {
    if skipped() {
        return;
    }
    let root = Root::ensure(RootKind::AptBookworm).unwrap();
    let mut host = Host::start(&root, "lives").unwrap();
    assert_eq!(host.sh("cat /proc/1/comm; hostname").unwrap(), "systemd\nlives\n");
    assert_eq!(host.boots(), 1);
    let id = host.read("/etc/machine-id").unwrap();
    assert_eq!(host.sh("systemctl is-active dbus").unwrap(), "active\n");

    host.write("/var/kept", b"kept").unwrap();
    host.write("/run/lost", b"lost").unwrap();
    let started = init_start(&host);
    host.reboot().unwrap();
    assert_eq!(host.boots(), 2);
    assert_ne!(init_start(&host), started, "PID 1 is another one");
    assert_eq!(host.read("/var/kept").unwrap(), "kept");
    assert!(!host.exists("/run/lost").unwrap(), "/run is fresh after a reboot");

    host.cut_power();
    assert!(!host.is_on() && host.init().is_none());
    host.boot().unwrap();
    assert_eq!((host.boots(), host.read("/etc/machine-id").unwrap()), (3, id.clone()));

    let other = Host::create(&root, "other").unwrap();
    assert_ne!(other.read("/etc/machine-id").unwrap(), id, "each host has an identity of its own");
    assert!(!other.exists("/var/kept").unwrap(), "hosts share nothing");

    host.power_off().unwrap();
    let dir = host.overlay();
    drop(host);
    assert!(!dir.exists() && mounts_under(&dir).unwrap().is_empty());
}

/// A panic while a host runs removes it all the same.
#[test]
fn panic_cleans_up() {
    if skipped() {
        return;
    }
    let root = Root::ensure(RootKind::AptBookworm).unwrap();
    let host = Host::start(&root, "panics").unwrap();
    let (dir, init) = (host.overlay(), host.init().unwrap());
    let panicked = std::thread::spawn(move || {
        let _host = host;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(!dir.exists() && mounts_under(&dir).unwrap().is_empty());
    assert!(!Path::new(&format!("/proc/{init}")).exists(), "its processes are gone");
}

/// Set for the process that [`killed_owner_leaves_nothing`] starts and kills.
const VICTIM_VARIABLE: &str = "DRYDOCK_LAB_VICTIM";

/// A test run that was killed cleans up nothing, so the next host does it.
#[test]
fn killed_owner_leaves_nothing() {
    if skipped() {
        return;
    }
    let root = Root::ensure(RootKind::AptBookworm).unwrap();
    if std::env::var_os(VICTIM_VARIABLE).is_some() {
        let host = Host::start(&root, "victim").unwrap();
        println!("host {} {}", host.init().unwrap(), host.overlay().display());
        std::io::stdout().flush().unwrap();
        // Until it is killed: its input stays open and empty.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_owner_leaves_nothing", "--nocapture"])
        .env(VICTIM_VARIABLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("host ")).unwrap();
    let (init, dir) = line.trim_start_matches("host ").split_once(' ').unwrap();
    let (init, dir) = (ProcessMark::of(init.parse().unwrap()).unwrap(), Path::new(dir));
    assert!(!mounts_under(dir).unwrap().is_empty());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let next = Host::create(&root, "next").unwrap();
    assert!(!init.is_alive(), "the processes of the orphan are gone");
    assert!(!dir.exists() && mounts_under(dir).unwrap().is_empty());
    assert!(next.overlay().exists());
}

/// On every kind of host the base installs, the updates are seen and installed by the host's own
/// package manager, and the held package stays.
fn updates_install(kind: RootKind) {
    if skipped() {
        return;
    }
    let root = Root::ensure(kind).unwrap();
    let standard = standard().unwrap();
    let server = serve_dir(standard.dir()).unwrap();
    let host = Host::start(&root, &format!("std-{}", kind.name())).unwrap();
    standard.prepare(&host, &server.url()).unwrap();
    assert_eq!(host.installed("dd-alpha").unwrap().as_deref(), Some("1.0-1"));
    assert_eq!(host.installed("dd-new").unwrap(), None);
    host.wait_until("dd-service runs", SERVICE_LIMIT, |host| Ok(host.run(&["systemctl", "is-active", "dd-service"])?.ok()))
        .unwrap();

    standard.enable(&host, PackageSet::Updates, &server.url()).unwrap();
    standard.enable(&host, PackageSet::Security, &server.url()).unwrap();
    let upgrade = match kind.manager() {
        PackageManager::Apt => {
            "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y -o Dpkg::Options::=--force-confold dist-upgrade"
        }
        PackageManager::Dnf4 => "dnf -y upgrade",
        PackageManager::Dnf5 => "dnf5 -y upgrade",
        PackageManager::Zypper => {
            "zypper --non-interactive update && zypper --non-interactive dist-upgrade --allow-vendor-change"
        }
    };
    host.write(SLOW_SECONDS_FILE, b"1").unwrap();
    let begun = Instant::now();
    let said = host.sh(upgrade).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "dd-slow took its time");
    for (package, version) in [
        ("dd-alpha", Some("1.2-1")),
        ("dd-beta", Some("1:1.1-1")),
        ("dd-held", Some("1.0-1")),
        ("dd-new", Some("2.0-1")),
        ("dd-reboot", Some("1.1-1")),
        ("dd-slow", Some("1.1-1")),
    ] {
        assert_eq!(host.installed(package).unwrap().as_deref(), version, "{package} after {said}");
    }
    let old = host.installed("dd-old").unwrap();
    let transitional = (kind.manager() == PackageManager::Apt).then_some("2.0-1");
    assert_eq!(old.as_deref(), transitional, "{said}");
    assert_eq!(host.read("/etc/dd-conf.conf").unwrap(), "greeting=edited here\n");
    let log = host.read(SCRIPTLET_LOG).unwrap();
    assert!(log.contains("dd-alpha 1.0\n") && log.contains("dd-alpha 1.2\n"), "{log}");
    assert!(host.sh("readlink /proc/$(systemctl show -P MainPID dd-service)/exe").unwrap().contains("(deleted)"));

    standard.enable(&host, PackageSet::Faults, &server.url()).unwrap();
    // Exit codes differ, with failing scriptlets some rpm front ends even say 0; the database counts.
    host.run(&["sh", "-c", upgrade]).unwrap();
    assert_eq!(
        host.sh(&version_command(kind, "dd-badpre")).unwrap(),
        "1.0-1",
        "a failing script before the installation stops it"
    );
    let failed = host.installed("dd-badpost").unwrap();
    let configured = (kind.manager() != PackageManager::Apt).then_some("1.1-1");
    assert_eq!(failed.as_deref(), configured, "rpm only warns after the installation, dpkg leaves it unconfigured");

    // The updates are gone: the package manager must notice, as a test of a lost repository needs.
    server.set_down(true);
    let refresh = match kind.manager() {
        PackageManager::Apt => "apt-get update -o APT::Update::Error-Mode=any",
        PackageManager::Dnf4 => "dnf --setopt=skip_if_unavailable=false --refresh check-update",
        PackageManager::Dnf5 => "dnf5 --setopt=skip_if_unavailable=false --refresh check-upgrade",
        PackageManager::Zypper => "zypper --non-interactive refresh --force",
    };
    assert!(!host.run(&["sh", "-c", refresh]).unwrap().ok());
}

/// The version in the package database, whatever state the package is in.
fn version_command(kind: RootKind, package: &str) -> String {
    match kind.manager() {
        PackageManager::Apt => format!("dpkg-query -W -f '${{Version}}' {package}"),
        _ => format!("rpm -q --queryformat '%{{EVR}}' {package}"),
    }
}

/// apt on Debian 12.
#[test]
fn updates_install_on_apt_bookworm() {
    updates_install(RootKind::AptBookworm);
}

/// apt on Debian 13.
#[test]
fn updates_install_on_apt_trixie() {
    updates_install(RootKind::AptTrixie);
}

/// dnf 4.
#[test]
fn updates_install_on_dnf4() {
    updates_install(RootKind::Dnf4);
}

/// dnf 5.
#[test]
fn updates_install_on_dnf5() {
    updates_install(RootKind::Dnf5);
}

/// The host for measuring has the packages it is for.
#[test]
fn large_host_has_600_packages() {
    if skipped() {
        return;
    }
    let host = Host::create(&Root::ensure(RootKind::Large).unwrap(), "large").unwrap();
    let packages = host.sh("dpkg-query -W | wc -l").unwrap();
    assert!(packages.trim().parse::<usize>().unwrap() >= 600, "{packages}");
}

/// zypper.
#[test]
fn updates_install_on_zypper() {
    updates_install(RootKind::Zypper);
}
