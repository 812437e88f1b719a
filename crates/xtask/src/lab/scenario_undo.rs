//! `cargo xtask lab run undo`: jobs are taken back on a host of each package manager, exactly.
//!
//! What holds is judged by the host's own database: every package with its version, architecture and state (dpkg's
//! `config-files` too), who asked for it, and the configuration files, before the job and after its undo.
//!
//! 1. *everything*: all updates, with an obsoleted package, a changed configuration file that nobody edited and one that
//!    somebody did; undone.
//! 2. *obsoleted*: where general updates leave it alone (zypper), by name; undone.
//! 3. *named*: an installation with a dependency, a removal, an exact version; the undo's dry run changes nothing; undone.
//! 4. *barred*: what was undone is not installed by the next job until the bar is lifted.
//! 5. *refused*: the host was changed since, or nothing offers the old version; said beforehand, nothing is touched.
//! 6. *soak*: of two newer versions the one comes that the server has known for ten days; without a soak the newest. The ten
//!    days are written into the server's database: nobody waits for them here.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::command::run as run_command;
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{AptArchive, DebPackage, PackageFile, PackageSet, Relation, RpmPackage, RpmRepository};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use super::job::{finish, submit};
use crate::drydock::{Drydock, Programs};

/// One host of each package manager.
const KINDS: [RootKind; 4] = [RootKind::AptBookworm, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "undo-";
/// Until an enrolled host's packages, or a change of them, are visible on the server.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// A version that was known for so long has soaked, days.
const SOAKED_DAYS: u32 = 10;
/// A configuration file that nobody edits.
const CONFIG: &str = "/etc/dd-cfg.conf";
/// The host's configuration files that updates touch.
const CONFIGS: [&str; 2] = [CONFIG, "/etc/dd-conf.conf"];

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let dir = tempfile::tempdir()?;
    let extra = Extra::build(&dir.path().join("extra"))?;
    fleet.hosts.iter().try_for_each(|host| extra.enable(host, "old").and_then(|()| extra.install(host)))?;
    let drydock = Drydock::start(&programs, dir.path())?;
    let outcome = enrol(&fleet, &drydock)
        .and_then(|()| everything(&fleet, &extra, &drydock))
        .and_then(|()| obsoleted(&fleet, &drydock))
        .and_then(|()| named(&fleet, &drydock))
        .and_then(|()| refused(&fleet, &drydock))
        .and_then(|()| soak(&fleet, &extra, &drydock));
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

/// Three repositories of both kinds. `old`: `dd-cfg` 1.0 with its configuration, `dd-app` that needs `dd-lib`; `new`:
/// `dd-cfg` 1.1 with another configuration; `newer`: 1.2.
struct Extra {
    server: LoopbackServer,
}

impl Extra {
    fn build(dir: &std::path::Path) -> Result<Self> {
        let tls = "port=80\ntls=yes\n";
        for (name, version, content) in [("old", "1.0", "port=80\n"), ("new", "1.1", tls), ("newer", "1.2", tls)] {
            let config = vec![PackageFile::new(CONFIG, content).config()];
            let mut rpms = vec![RpmPackage { files: config.clone(), ..RpmPackage::new("dd-cfg", version) }];
            let mut debs = vec![DebPackage { files: config, ..DebPackage::new("dd-cfg", format!("{version}-1")) }];
            if name == "old" {
                rpms.push(RpmPackage { requires: vec!["dd-lib".into()], ..RpmPackage::new("dd-app", "1.0") });
                rpms.push(RpmPackage::new("dd-lib", "1.0"));
                let needs = vec![(Relation::Depends, "dd-lib".to_owned())];
                let lib = vec![PackageFile::new("/etc/dd-lib.conf", "a=1\n").config()];
                debs.push(DebPackage { relations: needs, ..DebPackage::new("dd-app", "1.0-1") });
                debs.push(DebPackage { files: lib, ..DebPackage::new("dd-lib", "1.0-1") });
            }
            RpmRepository { packages: rpms, advisories: Vec::new() }.build(&dir.join("rpm").join(name))?;
            let suite = format!("undo-{name}");
            let archive = AptArchive {
                origin: "Drydock-Lab".into(),
                label: "Lab".into(),
                suite: suite.clone(),
                codename: suite,
                packages: debs,
            };
            archive.build(&dir.join("deb").join(name), None)?;
        }
        Ok(Extra { server: serve_dir(dir)? })
    }

    fn enable(&self, host: &Host, name: &str) -> Result<()> {
        let url = self.server.url();
        let repo = format!("[undo-{name}]\nname=Undo {name}\nbaseurl={url}/rpm/{name}\nenabled=1\ngpgcheck=0\n");
        match host.root().kind.manager() {
            PackageManager::Apt => host.write(
                &format!("/etc/apt/sources.list.d/undo-{name}.list"),
                format!("deb [trusted=yes] {url}/deb/{name} undo-{name} main\n").as_bytes(),
            ),
            PackageManager::Zypper => host
                .write(&format!("/etc/zypp/repos.d/undo-{name}.repo"), format!("{repo}autorefresh=1\ntype=rpm-md\n").as_bytes()),
            _ => host.write(&format!("/etc/yum.repos.d/undo-{name}.repo"), repo.as_bytes()),
        }
    }

    fn install(&self, host: &Host) -> Result<()> {
        let script = match host.root().kind.manager() {
            PackageManager::Apt => "apt-get -q update && apt-get -q -y install dd-cfg",
            PackageManager::Dnf4 => "dnf -q -y install dd-cfg",
            PackageManager::Dnf5 => "dnf5 -q -y install dd-cfg",
            PackageManager::Zypper => "zypper --non-interactive install dd-cfg",
        };
        host.sh(script).map(drop)
    }
}

fn enrol(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let token = drydock.enrolment_token("undo")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
        wait_until(&format!("the packages of {} are visible", host.hostname()), VISIBLE_LIMIT, || {
            Ok(drydock.cli(&["instance", "packages", host.hostname(), "-o", "json"])?.stdout.contains("dd-cfg"))
        })?;
    }
    Ok(())
}

/// All that an undo must give back, as the host itself tells it: a line per package, per mark and per line of configuration.
type Picture = Vec<String>;

fn picture(host: &Host) -> Result<Picture> {
    let mut lines: Picture = match host.root().kind.manager() {
        PackageManager::Apt => {
            let packages = host.sh("dpkg-query -W -f '${Package} ${Architecture} ${Version} ${db:Status-Status}\\n'")?;
            let auto = host.sh("apt-mark showauto")?;
            let held = host.sh("apt-mark showhold")?;
            let marked = |list: &str, mark: &str| list.lines().map(|l| format!("{mark} {l}")).collect::<Vec<_>>();
            let own = packages.lines().map(str::to_owned);
            own.chain(marked(&auto, "auto")).chain(marked(&held, "hold")).collect()
        }
        // The time of installation is no part of it, and every other field of the header is.
        _ => host.sh("rpm -qa --qf '%{NEVRA} %{SHA256HEADER}\\n'")?.lines().map(str::to_owned).collect(),
    };
    for path in CONFIGS {
        let content = if host.exists(path)? { host.read(path)? } else { "absent".to_owned() };
        lines.push(format!("{path}: {content:?}"));
    }
    lines.sort();
    Ok(lines)
}

fn pictures(fleet: &Fleet) -> Result<Vec<Picture>> {
    fleet.hosts.iter().map(picture).collect()
}

/// Every host is as it was.
fn same(fleet: &Fleet, before: &[Picture], when: &str) -> Result<()> {
    for (host, before) in fleet.hosts.iter().zip(before) {
        let now = picture(host)?;
        let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
        let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
        ensure!(gone.is_empty() && new.is_empty(), "{} {when}: gone {gone:#?}, new {new:#?}", host.hostname());
    }
    Ok(())
}

/// Every host is no longer as it was.
fn changed(fleet: &Fleet, before: &[Picture]) -> Result<()> {
    for (host, before) in fleet.hosts.iter().zip(before) {
        ensure!(picture(host)? != *before, "{}: the job changed nothing, so nothing is shown", host.hostname());
    }
    Ok(())
}

/// A job over every host.
fn job(drydock: &Drydock, name: &str, mut config: Value) -> Result<String> {
    config["rebootConfig"] = json!("NEVER");
    let id = submit(drydock, name, json!({ "instanceFilter": { "all": true }, "patchConfig": config }))?;
    finish(drydock, &id, "SUCCEEDED")?;
    Ok(id)
}

/// General updates of every kind, obsoleted packages included.
fn all_updates() -> Value {
    json!({ "apt": { "type": "DIST" }, "zypper": { "withUpdate": true, "withOptional": true } })
}

/// Undoes a job on every host.
fn undo(drydock: &Drydock, job: &str, more: &[&str]) -> Result<()> {
    let started = drydock.json(&[&["patch", "undo", job, "--yes", "--no-wait"], more].concat())?;
    let id = started["id"].as_str().context("patch undo printed no job id")?.to_owned();
    eprintln!("undo: job {id}");
    let tasks = finish(drydock, &id, "SUCCEEDED")?;
    // The host itself compared its database with what was there before.
    ensure!(
        tasks.values().all(|task| task["report"]["steps"].to_string().contains("VERIFY") || !more.is_empty()),
        "nothing was verified"
    );
    Ok(())
}

fn everything(fleet: &Fleet, extra: &Extra, drydock: &Drydock) -> Result<()> {
    let before = pictures(fleet)?;
    fleet.enable(PackageSet::Updates)?;
    fleet.enable(PackageSet::Security)?;
    fleet.hosts.iter().try_for_each(|host| extra.enable(host, "new"))?;
    let id = job(drydock, "everything", all_updates())?;
    changed(fleet, &before)?;
    let updated = pictures(fleet)?;
    for (host, now) in fleet.hosts.iter().zip(&updated) {
        let text = now.join("\n");
        // zypper's own updates leave obsoleted packages alone: see `obsoleted`.
        let replaced = text.contains("dd-new") || host.root().kind.manager() == PackageManager::Zypper;
        ensure!(replaced && text.contains("tls=yes"), "{}: not updated:\n{text}", host.hostname());
    }
    undo(drydock, &id, &[])?;
    same(fleet, &before, "after the undo of everything")?;
    barred(fleet, drydock, &updated)
}

/// The next general update leaves what was undone alone (an older version between the two may come), until the bar is
/// lifted.
fn barred(fleet: &Fleet, drydock: &Drydock, updated: &[Picture]) -> Result<()> {
    let bars = drydock.items(&["patch", "bars", "list"])?;
    let id = job(drydock, "with bars", all_updates())?;
    let tasks = super::job::show(drydock, &id)?.1;
    for host in &fleet.hosts {
        let name = host.hostname();
        let mut beta = false;
        for bar in bars.iter().filter(|bar| bar["instanceName"] == name) {
            let (package, version) = (bar["name"].as_str().unwrap_or_default(), bar["version"].as_str());
            beta |= package == "dd-beta";
            let installed = host.installed(package)?;
            ensure!(installed.as_deref() != version, "{name}: {package} {version:?} was installed although it is barred");
        }
        ensure!(beta, "{name}: dd-beta is not barred: {bars:#?}");
        let plans = tasks[name]["report"]["plans"].to_string();
        ensure!(plans.contains("barred"), "{name}: nothing is said of what is barred: {plans}");
    }
    let before = pictures(fleet)?;
    lift(fleet, drydock)?;
    let id = job(drydock, "bars lifted", all_updates())?;
    same(fleet, updated, "after the bars were lifted")?;
    undo(drydock, &id, &[])?;
    same(fleet, &before, "after the second undo")?;
    lift(fleet, drydock)
}

/// Lifts every bar.
fn lift(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    for host in &fleet.hosts {
        drydock.cli(&["patch", "bars", "lift", "--instance", host.hostname()])?.success()?;
    }
    let left = drydock.items(&["patch", "bars", "list"])?;
    ensure!(left.is_empty(), "bars are left after they were lifted: {left:#?}");
    Ok(())
}

/// A package that takes the place of another, asked for by name where general updates do not bring it.
fn obsoleted(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let before = pictures(fleet)?;
    let zypper =
        fleet.hosts.iter().find(|host| host.root().kind.manager() == PackageManager::Zypper).context("no zypper host")?;
    let config = json!({ "rebootConfig": "NEVER", "packages": { "install": ["dd-new"] } });
    let filter = json!({ "instances": [zypper.hostname()] });
    let id = submit(drydock, "obsoleted", json!({ "instanceFilter": filter, "patchConfig": config }))?;
    finish(drydock, &id, "SUCCEEDED")?;
    let now = picture(zypper)?.join("\n");
    ensure!(now.contains("dd-new") && !now.contains("dd-old"), "dd-new did not take the place of dd-old:\n{now}");
    undo(drydock, &id, &[])?;
    same(fleet, &before, "after the undo of an obsoleted package")
}

fn named(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let before = pictures(fleet)?;
    let words = json!({ "install": ["dd-app"], "remove": ["dd-slow"], "update": ["dd-beta=1:1.1-1"] });
    let id = job(drydock, "named", json!({ "packages": words }))?;
    changed(fleet, &before)?;
    let patched = pictures(fleet)?;
    let dry = drydock.json(&["patch", "undo", &id, "--yes", "--no-wait", "--dry-run"])?;
    let dry = dry["id"].as_str().context("the dry run printed no job id")?;
    let tasks = finish(drydock, dry, "SUCCEEDED")?;
    same(fleet, &patched, "after the undo's dry run")?;
    for (host, task) in &tasks {
        let actions = task["report"]["plans"][0]["actions"].as_array().cloned().unwrap_or_default();
        let mut planned: Vec<String> = actions.iter().map(|a| format!("{} {}", a["action"], a["name"])).collect();
        planned.sort();
        let wanted = [r#""DOWNGRADE" "dd-beta""#, r#""INSTALL" "dd-slow""#, r#""REMOVE" "dd-app""#, r#""REMOVE" "dd-lib""#];
        ensure!(planned == wanted, "{host}: the undo's dry run plans {planned:#?}");
    }
    undo(drydock, &id, &[])?;
    same(fleet, &before, "after the undo of named changes")
}

/// What cannot be undone exactly is refused, and nothing is touched.
fn refused(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    lift(fleet, drydock)?;
    let id = job(drydock, "to be changed by hand", json!({ "packages": { "update": ["dd-beta"], "install": ["dd-lib"] } }))?;
    let (by_hand, rest) = fleet.hosts.split_at(1);
    for host in by_hand {
        host.sh("apt-get -q -y purge dd-beta")?;
        wait_until(&format!("{} without dd-beta is visible", host.hostname()), VISIBLE_LIMIT, || {
            Ok(!drydock.cli(&["instance", "packages", host.hostname(), "-o", "json"])?.stdout.contains("dd-beta"))
        })?;
    }
    let before = pictures(fleet)?;
    let no = drydock.cli(&["patch", "undo", &id, "--yes", "--no-wait"])?;
    let host = by_hand.first().context("no host")?.hostname();
    ensure!(!no.ok() && no.stderr.contains(host) && no.stderr.contains("dd-beta"), "the undo is not refused: {}", no.stderr);
    same(fleet, &before, "after a refused undo")?;
    // The old versions are nowhere any more: each host refuses before it changes anything.
    for host in rest {
        fleet.standard.disable(host, PackageSet::Base)?;
        host.sh("rm -rf /var/cache/dnf/* /var/cache/libdnf5/* /var/cache/zypp/*")?;
    }
    let hosts: Vec<&str> = rest.iter().flat_map(|host| ["--host", host.hostname()]).collect();
    let started = drydock.json(&[&["patch", "undo", &id, "--yes", "--no-wait"], hosts.as_slice()].concat())?;
    let tasks = finish(drydock, started["id"].as_str().context("no job id")?, "COMPLETED_WITH_ERRORS")?;
    for (host, task) in &tasks {
        let message = task["message"].as_str().unwrap_or_default();
        ensure!(message.contains("dd-beta"), "{host}: the refusal does not name the package: {message:?}");
    }
    same(fleet, &before, "after an undo that hosts refused")
}

/// Of two newer versions, the one that has soaked comes.
fn soak(fleet: &Fleet, extra: &Extra, drydock: &Drydock) -> Result<()> {
    ensure!(known_since(drydock, "dd-cfg", "1.1-1", SOAKED_DAYS)? > 0, "the server does not know dd-cfg 1.1-1");
    fleet.hosts.iter().try_for_each(|host| extra.enable(host, "newer"))?;
    let mut config = all_updates();
    config["soakDays"] = json!(7);
    let id = job(drydock, "with a soak", config)?;
    let tasks = super::job::show(drydock, &id)?.1;
    for host in &fleet.hosts {
        let (name, version) = (host.hostname(), host.installed("dd-cfg")?);
        let none = Vec::new();
        let plans = tasks[name]["report"]["plans"].as_array().unwrap_or(&none);
        let skipped = || plans.iter().flat_map(|plan| plan["skipped"].as_array().unwrap_or(&none));
        ensure!(version.as_deref() == Some("1.1-1"), "{name}: dd-cfg is {version:?} with a soak: {plans:#?}");
        let told = |s: &Value| s["name"] == "dd-cfg" && s["version"] == "1.2-1" && s["reason"].to_string().contains("soaks");
        ensure!(skipped().any(told), "{name}: nothing is said of dd-cfg 1.2: {plans:#?}");
        // Nothing else came: everything else was first seen today.
        let results = tasks[name]["report"]["packages"].as_array().unwrap_or(&none);
        ensure!(results.iter().all(|r| r["name"] == "dd-cfg"), "{name}: more came than has soaked: {results:#?}");
    }
    job(drydock, "without a soak", json!({ "packages": { "update": ["dd-cfg"] } }))?;
    for host in &fleet.hosts {
        let version = host.installed("dd-cfg")?;
        ensure!(version.as_deref() == Some("1.2-1"), "{}: dd-cfg is {version:?} without a soak", host.hostname());
    }
    Ok(())
}

/// Lets the server have known a version for so many days more; says how many rows that are.
fn known_since(drydock: &Drydock, name: &str, version: &str, days: u32) -> Result<usize> {
    const SCRIPT: &str = "import sqlite3, sys\n\
        path, days, name, version = sys.argv[1:]\n\
        with sqlite3.connect(path, timeout=30) as base:\n\
        \x20   sql = 'UPDATE seen_versions SET first_seen = first_seen - ? WHERE name = ? AND version = ?'\n\
        \x20   print(base.execute(sql, (int(days) * 86400 * 1000000, name, version)).rowcount)\n";
    let mut python = Command::new("python3");
    python.args(["-I", "-c", SCRIPT]).arg(drydock.database()).arg(days.to_string()).args([name, version]);
    let printed = run_command(&mut python, Duration::from_secs(60))?.success()?;
    printed.trim().parse().with_context(|| format!("the server's database answered {printed:?}"))
}
