//! `cargo xtask lab run patch`: one patch job over hosts of every kind, then again with things going wrong.
//!
//! What holds is judged by reading dpkg and rpm inside the hosts and by the log that the packages' scripts write, never
//! by Drydock's own report; the report in turn is compared with the hosts.
//!
//! 1. *security*: security updates only, with pre- and post-scripts, a held package and one reboot.
//! 2. *interrupted*: all updates with an exclude, the server killed and restarted mid-job, one agent killed
//!    mid-transaction.
//! 3. *faults*: updates whose scripts fail; the report says so, package by package.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::upstream::{DebPackage, HELD_PACKAGE, PackageSet, RpmPackage, SCRIPTLET_LOG, SLOW_SECONDS_FILE};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use super::job::{Installed, JOB_LIMIT, Tasks, finish, snapshot, submit, truthful};
use crate::drydock::{Drydock, Programs};

/// One host of each package manager, and both Debian releases. The shipped agent also runs on the oldest C library here
/// ([`RootKind::Bullseye`]), which a fresh build of this machine does not.
const KINDS: [RootKind; 5] = [RootKind::AptBookworm, RootKind::AptTrixie, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "patch-";
/// Until an enrolled host's packages are visible.
const VISIBLE_LIMIT: Duration = Duration::from_secs(30);
/// Until a package installed by hand is visible: aimed at 2 s, printed as measured; a busy machine gets five times that.
const BY_HAND_LIMIT: Duration = Duration::from_secs(10);
/// Seconds that `dd-slow` keeps its transaction open: time to kill things in it.
const SLOW_SECONDS: u32 = 8;
/// What the steps append to.
const STEPS_LOG: &str = "/var/log/steps.log";

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let mut kinds = KINDS.to_vec();
    if agent.is_some() {
        kinds.push(RootKind::Bullseye);
    }
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&kinds, PREFIX)?;
    for host in &fleet.hosts {
        starts_from_base(host)?;
    }
    offer_updates(&fleet)?;
    let dir = tempfile::tempdir()?;
    let mut drydock = Drydock::start(&programs, dir.path())?;
    let outcome = enrol(&fleet, &drydock)
        .and_then(|()| security(&fleet, &drydock))
        .and_then(|()| interrupted(&fleet, &mut drydock))
        .and_then(|()| faults(&fleet, &drydock));
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

/// Every host has the old versions and nothing of the updates.
fn starts_from_base(host: &Host) -> Result<()> {
    for (package, version) in
        [("dd-alpha", Some("1.0-1")), ("dd-beta", Some("1:1.0-1")), (HELD_PACKAGE, Some("1.0-1")), ("dd-new", None)]
    {
        expect(host, package, version)?;
    }
    Ok(())
}

/// The package database of the host holds exactly this version of the package.
fn expect(host: &Host, package: &str, version: Option<&str>) -> Result<()> {
    let installed = host.installed(package)?;
    ensure!(installed.as_deref() == version, "{}: {package} is {installed:?}, not {version:?}", host.hostname());
    Ok(())
}

/// The updates appear on every host, beside a third-party repository that nobody serves.
fn offer_updates(fleet: &Fleet) -> Result<()> {
    fleet.enable(PackageSet::Updates)?;
    fleet.enable(PackageSet::Security)?;
    fleet.hosts.iter().try_for_each(|host| fleet.standard.add_unreachable(host))
}

/// Every host's agent is enrolled, and its packages are visible.
fn enrol(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let token = drydock.enrolment_token("lab")?;
    for host in &fleet.hosts {
        let begun = Instant::now();
        drydock.install_agent(host, &token)?;
        let name = host.hostname();
        wait_until(&format!("the packages of {name} are visible"), VISIBLE_LIMIT, || {
            Ok(drydock.cli(&["instance", "packages", name, "-o", "json"])?.stdout.contains("dd-alpha"))
        })?;
        eprintln!("  {name}: enrolled and visible after {:.1} s", begun.elapsed().as_secs_f64());
    }
    by_hand(fleet, drydock)
}

/// A package that somebody installs by hand appears by itself.
fn by_hand(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let dir = tempfile::tempdir()?;
    DebPackage::new("dd-byhand", "1.0").build(dir.path())?;
    RpmPackage::new("dd-byhand", "1.0").build(dir.path())?;
    for host in &fleet.hosts {
        let name = host.hostname();
        let is_apt = host.root().kind.manager() == PackageManager::Apt;
        let file = package_file(dir.path(), if is_apt { "deb" } else { "rpm" })?;
        host.copy_in(&file, "/var/tmp/dd-byhand", 0o644)?;
        host.sh(if is_apt { "dpkg -i /var/tmp/dd-byhand" } else { "rpm -i --nosignature --nodeps /var/tmp/dd-byhand" })?;
        let begun = Instant::now();
        wait_until(&format!("dd-byhand of {name} is visible"), BY_HAND_LIMIT, || {
            Ok(drydock.cli(&["instance", "packages", name, "-o", "json"])?.stdout.contains("dd-byhand"))
        })?;
        eprintln!("  {name}: a package installed by hand is visible after {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The file of this kind below the directory, wherever the package tool put it.
fn package_file(dir: &Path, extension: &str) -> Result<PathBuf> {
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no .{extension} file was built")
}

/// Security updates only; one reboot; the held package stays; the scripts run once, around it.
fn security(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let before = snapshots(fleet)?;
    let boots: Vec<u32> = fleet.hosts.iter().map(Host::boots).collect();
    let job = submit(
        drydock,
        "security",
        json!({
            "instanceFilter": { "groupLabels": [{ "labels": { "lab": "yes" } }] },
            "patchConfig": {
                "rebootConfig": "DEFAULT",
                "apt": { "security": true }, "yum": { "security": true }, "zypper": { "categories": ["security"] },
                "preStep": step("pre"), "postStep": step("post"),
            },
        }),
    )?;
    let tasks = finish(drydock, &job, "SUCCEEDED")?;
    for (host, boots) in fleet.hosts.iter().zip(boots) {
        let name = host.hostname();
        ensure!(host.boots() == boots + 1, "{name} was booted {} times during the job, not once", host.boots() - boots);
        expect(host, "dd-beta", Some("1:1.0-1"))?;
        expect(host, HELD_PACKAGE, Some("1.0-1"))?;
        expect(host, "dd-conf", Some("1.0-1"))?;
        expect(host, "dd-reboot", Some("1.1-1"))?;
        let alpha = host.installed("dd-alpha")?;
        ensure!(alpha.as_deref().is_some_and(|v| v != "1.0-1"), "{name}: dd-alpha is still {alpha:?}");
        let steps = host.read(STEPS_LOG)?;
        ensure!(steps == "pre 1.0-1\npost 1.1-1\n", "{name}: the steps saw dd-reboot as {steps:?}");
    }
    all_truthful(fleet, &before, &tasks)
}

/// Everything but `dd-beta`; the server is killed mid-job and one agent mid-transaction.
fn interrupted(fleet: &Fleet, drydock: &mut Drydock) -> Result<()> {
    let before = snapshots(fleet)?;
    for host in &fleet.hosts {
        host.write(SLOW_SECONDS_FILE, SLOW_SECONDS.to_string().as_bytes())?;
        host.sh(&format!(": > {SCRIPTLET_LOG}; : > {STEPS_LOG}"))?;
    }
    let job = submit(
        drydock,
        "interrupted",
        json!({
            "instanceFilter": { "all": true },
            "patchConfig": {
                "rebootConfig": "NEVER",
                "apt": { "type": "DIST", "excludes": ["dd-beta"] }, "yum": { "excludes": ["/^dd-bet/"] },
                "zypper": { "withUpdate": true, "withOptional": true, "excludes": ["dd-bet*", "LABBA-2026*0003"] },
                "preStep": step("pre"), "postStep": step("post"),
            },
        }),
    )?;
    let victim = host_of(fleet, RootKind::Dnf4)?;
    victim.wait_until("dd-slow is being installed", JOB_LIMIT, |host| host.exists("/run/dd-slow.running"))?;
    eprintln!("  killing the agent of {} and the server", victim.hostname());
    victim.sh("systemctl kill --signal=KILL --kill-who=main drydock-agent")?;
    drydock.kill()?;
    ensure!(victim.exists("/run/dd-slow.running")?, "the transaction of {} died with its agent", victim.hostname());
    drydock.serve()?;
    let tasks = finish(drydock, &job, "SUCCEEDED")?;
    for host in &fleet.hosts {
        let name = host.hostname();
        expect(host, "dd-alpha", Some("1.2-1"))?;
        expect(host, "dd-beta", Some("1:1.0-1"))?;
        expect(host, HELD_PACKAGE, Some("1.0-1"))?;
        expect(host, "dd-conf", Some("1.1-1"))?;
        expect(host, "dd-slow", Some("1.1-1"))?;
        let conf = host.read("/etc/dd-conf.conf")?;
        ensure!(conf == "greeting=edited here\n", "{name}: the edited configuration file became {conf:?}");
        once_each(host, &["dd-slow 1.1", "dd-conf 1.1"])?;
        let steps = host.read(STEPS_LOG)?;
        ensure!(steps.lines().count() == 2, "{name}: the steps ran as {steps:?}, not once each");
    }
    all_truthful(fleet, &before, &tasks)
}

/// Every package's script that ran in this job ran once, and these did.
fn once_each(host: &Host, wanted: &[&str]) -> Result<()> {
    let log = host.read(SCRIPTLET_LOG)?;
    let lines: std::collections::BTreeSet<&str> = log.lines().collect();
    let all = wanted.iter().all(|line| lines.contains(line));
    ensure!(all && lines.len() == log.lines().count(), "{}: the packages' scripts ran as\n{log}", host.hostname());
    Ok(())
}

/// Updates whose scripts fail: a host that could not apply its plan says so.
fn faults(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    fleet.enable(PackageSet::Faults)?;
    let before = snapshots(fleet)?;
    let only = json!(["dd-badpost", "dd-badpre"]);
    let job = submit(
        drydock,
        "faults",
        json!({
            "instanceFilter": { "all": true },
            "patchConfig": {
                "rebootConfig": "NEVER",
                "apt": { "exclusivePackages": only }, "yum": { "exclusivePackages": only },
                "zypper": { "withUpdate": true, "withOptional": true },
            },
        }),
    )?;
    let tasks = finish(drydock, &job, "COMPLETED_WITH_ERRORS")?;
    for host in &fleet.hosts {
        // A failing %pre or preinst keeps the old version everywhere.
        let bad =
            host.run(&["sh", "-c", "dpkg-query -W -f '${Version}' dd-badpre 2>/dev/null || rpm -q --qf '%{EVR}' dd-badpre"])?;
        ensure!(bad.stdout.starts_with("1.0"), "{}: dd-badpre is {}", host.hostname(), bad.stdout);
        let state = &tasks[host.hostname()]["state"];
        ensure!(state == "FAILED", "{}: the task is {state}, but dd-badpre could not be installed", host.hostname());
    }
    all_truthful(fleet, &before, &tasks)
}

/// A step that notes which `dd-reboot` it saw.
fn step(name: &str) -> Value {
    let script = format!(
        "version=$(dpkg-query -W -f '${{Version}}' dd-reboot 2>/dev/null || rpm -q --qf '%{{EVR}}' dd-reboot)\n\
         echo \"{name} $version\" >> {STEPS_LOG}\necho \"{name} says hello\"\n"
    );
    json!({ "linuxExecStepConfig": { "script": script, "interpreter": "SHELL", "timeLimitSecs": 60 } })
}

/// The packages of every host, as dpkg and rpm have them.
fn snapshots(fleet: &Fleet) -> Result<Vec<Installed>> {
    fleet.hosts.iter().map(snapshot).collect()
}

/// Every host's report says what its package database says.
fn all_truthful(fleet: &Fleet, before: &[Installed], tasks: &Tasks) -> Result<()> {
    fleet.hosts.iter().zip(before).try_for_each(|(host, before)| truthful(host, before, &tasks[host.hostname()]))
}

fn host_of(fleet: &Fleet, kind: RootKind) -> Result<&Host> {
    fleet.hosts.iter().find(|host| host.root().kind == kind).with_context(|| format!("no {} host", kind.name()))
}
