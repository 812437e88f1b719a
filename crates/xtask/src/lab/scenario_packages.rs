//! `cargo xtask lab run packages`: package operations as jobs on hosts of every kind.
//!
//! What holds is judged by dpkg and rpm inside the hosts; each report is compared with them.
//!
//! 1. *install* by name, which brings a dependency, and by an exact version that is not the newest; the dry run tells
//!    both beforehand.
//! 2. *remove* with a dependent.
//! 3. *update* one package, and nothing else.
//! 4. *advisory*: the packages it names; the server, which knows no advisory of the apt hosts here, has nothing for them to do.
//! 5. *staged*: downloaded while the repositories are there, installed while they are not.
//! 6. *refused*: removals that the host's package manager protects.
//! 7. module streams and profiles: see [`super::packages_modules`].

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{AptArchive, DebPackage, HELD_PACKAGE, PackageSet, Relation, RpmPackage, RpmRepository};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use super::job::{Installed, Tasks, finish, snapshot, submit, truthful};
use super::packages_modules;
use crate::drydock::{Drydock, Programs};

/// One host of each package manager.
const KINDS: [RootKind; 4] = [RootKind::AptBookworm, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "packages-";
/// Until an enrolled host's packages are visible.
const VISIBLE_LIMIT: Duration = Duration::from_secs(30);
/// The suite of the extra Debian archive.
const EXTRA_SUITE: &str = "lab-extra";

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let dir = tempfile::tempdir()?;
    let extra = Extra::build(dir.path().join("extra"))?;
    fleet.enable(PackageSet::Updates)?;
    fleet.enable(PackageSet::Security)?;
    fleet.hosts.iter().try_for_each(|host| extra.enable(host))?;
    let drydock = Drydock::start(&programs, dir.path())?;
    let outcome = enrol(&fleet, &drydock)
        .and_then(|()| install(&fleet, &drydock))
        .and_then(|()| remove(&fleet, &drydock))
        .and_then(|()| update(&fleet, &drydock))
        .and_then(|()| advisory(&fleet, &drydock))
        .and_then(|()| staged(&fleet, &extra, &drydock))
        .and_then(|()| refused(&fleet, &drydock))
        .and_then(|()| packages_modules::run(&fleet, &drydock, &dir.path().join("modules")));
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

/// A small repository of both kinds: `dd-app` needs `dd-lib`, which comes in two versions.
struct Extra {
    server: LoopbackServer,
}

impl Extra {
    fn build(dir: PathBuf) -> Result<Self> {
        let app = RpmPackage { requires: vec!["dd-lib".into()], ..RpmPackage::new("dd-app", "1.0") };
        let libs = ["1.0", "1.1"].map(|version| RpmPackage::new("dd-lib", version));
        let packages = std::iter::once(app).chain(libs).collect();
        RpmRepository { packages, advisories: Vec::new() }.build(&dir.join("rpm"))?;
        let needs_lib = vec![(Relation::Depends, "dd-lib".to_owned())];
        let app = DebPackage { relations: needs_lib, ..DebPackage::new("dd-app", "1.0-1") };
        let libs = ["1.0-1", "1.1-1"].map(|version| DebPackage::new("dd-lib", version));
        let archive = AptArchive {
            origin: "Drydock-Lab".into(),
            label: "Lab".into(),
            suite: EXTRA_SUITE.into(),
            codename: EXTRA_SUITE.into(),
            packages: std::iter::once(app).chain(libs).collect(),
        };
        archive.build(&dir.join("deb"), None)?;
        Ok(Extra { server: serve_dir(&dir)? })
    }

    fn enable(&self, host: &Host) -> Result<()> {
        let url = self.server.url();
        let repo = format!("[lab-extra]\nname=Lab extra\nbaseurl={url}/rpm\nenabled=1\ngpgcheck=0\n");
        match host.root().kind.manager() {
            PackageManager::Apt => host.write(
                "/etc/apt/sources.list.d/lab-extra.list",
                format!("deb [trusted=yes] {url}/deb {EXTRA_SUITE} main\n").as_bytes(),
            ),
            PackageManager::Zypper => host.write("/etc/zypp/repos.d/lab-extra.repo", format!("{repo}type=rpm-md\n").as_bytes()),
            _ => host.write("/etc/yum.repos.d/lab-extra.repo", repo.as_bytes()),
        }
    }
}

/// The package database of the host holds exactly this version of the package.
fn expect(host: &Host, package: &str, version: Option<&str>) -> Result<()> {
    let installed = host.installed(package)?;
    ensure!(installed.as_deref() == version, "{}: {package} is {installed:?}, not {version:?}", host.hostname());
    Ok(())
}

fn enrol(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let token = drydock.enrolment_token("packages")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
        let name = host.hostname();
        wait_until(&format!("the packages of {name} are visible"), VISIBLE_LIMIT, || {
            Ok(drydock.cli(&["instance", "packages", name, "-o", "json"])?.stdout.contains("dd-alpha"))
        })?;
    }
    Ok(())
}

/// A job over every host with this configuration, to its end.
fn job(fleet: &Fleet, drydock: &Drydock, name: &str, mut config: Value, state: &str) -> Result<(Vec<Installed>, Tasks)> {
    let before = fleet.hosts.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    config["rebootConfig"] = json!("NEVER");
    let id = submit(drydock, name, json!({ "instanceFilter": { "all": true }, "patchConfig": config }))?;
    Ok((before, finish(drydock, &id, state)?))
}

fn all_truthful(fleet: &Fleet, before: &[Installed], tasks: &Tasks) -> Result<()> {
    fleet.hosts.iter().zip(before).try_for_each(|(host, before)| truthful(host, before, &tasks[host.hostname()]))
}

/// Exactly these lab packages changed on the host, to these versions.
pub(super) fn changed(host: &Host, before: &Installed, wanted: &[(&str, Option<&str>)]) -> Result<()> {
    let mut after = before.clone();
    for (name, version) in wanted {
        match version {
            Some(version) => after.insert((*name).to_owned(), (*version).to_owned()),
            None => after.remove(*name),
        };
    }
    let now = snapshot(host)?;
    ensure!(now == after, "{}: the packages are\n{now:#?}\nnot\n{after:#?}", host.hostname());
    Ok(())
}

/// By name with a dependency, by an exact version; the dry run says so first and changes nothing.
fn install(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let words = json!(["dd-app", "dd-alpha=1.1-1"]);
    let before = fleet.hosts.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    let dry = json!({
        "instanceFilter": { "all": true }, "dryRun": true, "patchConfig": { "packages": { "install": words } },
    });
    let id = submit(drydock, "install (dry run)", dry)?;
    let tasks = finish(drydock, &id, "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[])?;
        let none = Vec::new();
        let planned = tasks[host.hostname()]["report"]["plans"][0]["actions"].as_array().unwrap_or(&none).clone();
        let mut planned: Vec<String> = planned.iter().map(|a| format!("{} {} {}", a["action"], a["name"], a["to"])).collect();
        planned.sort();
        let wanted = [r#""INSTALL" "dd-app" "1.0-1""#, r#""INSTALL" "dd-lib" "1.1-1""#, r#""UPGRADE" "dd-alpha" "1.1-1""#];
        ensure!(planned == wanted, "{}: the dry run plans {planned:#?}", host.hostname());
    }
    let (before, tasks) = job(fleet, drydock, "install", json!({ "packages": { "install": words } }), "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[("dd-app", Some("1.0-1")), ("dd-lib", Some("1.1-1")), ("dd-alpha", Some("1.1-1"))])?;
        if host.root().kind.manager() == PackageManager::Apt {
            let auto = host.sh("apt-mark showauto")?;
            let is_auto = |name: &str| auto.lines().any(|line| line == name);
            ensure!(
                is_auto("dd-lib") && !is_auto("dd-app"),
                "what was asked for is a dependency, or the other way round:\n{auto}"
            );
        }
    }
    all_truthful(fleet, &before, &tasks)
}

/// What depends on it goes along.
fn remove(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let (before, tasks) = job(fleet, drydock, "remove", json!({ "packages": { "remove": ["dd-lib"] } }), "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[("dd-lib", None), ("dd-app", None)])?;
    }
    all_truthful(fleet, &before, &tasks)
}

/// One package; a held one and one that is not there are told and left alone.
fn update(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let config = json!({ "packages": { "update": ["dd-beta", HELD_PACKAGE, "dd-app"] } });
    let (before, tasks) = job(fleet, drydock, "update", config, "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[("dd-beta", Some("1:1.1-1"))])?;
        let skipped = tasks[host.hostname()]["report"]["plans"][0]["skipped"].to_string();
        ensure!(
            skipped.contains(HELD_PACKAGE) && skipped.contains("not installed on this host"),
            "{}: nothing is said of what was left alone: {skipped}",
            host.hostname()
        );
    }
    all_truthful(fleet, &before, &tasks)
}

/// rpm hosts take what the advisory names; for apt hosts the server decides, and it was given no advisories of theirs.
fn advisory(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let config = json!({ "advisories": ["LABBA-2026:0007"] });
    let (before, tasks) = job(fleet, drydock, "advisory", config, "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        let task = &tasks[host.hostname()];
        if host.root().kind.manager() == PackageManager::Apt {
            changed(host, before, &[])?;
            let message = task["message"].as_str().unwrap_or_default();
            ensure!(task["state"] == "SUCCEEDED" && message.contains("nothing to do"), "apt says {message:?}");
        } else {
            ensure!(task["state"] == "SUCCEEDED", "{}: {task:#}", host.hostname());
            changed(host, before, &[("dd-slow", Some("1.1-1")), ("dd-service", Some("1.1-1"))])?;
            truthful(host, before, task)?;
        }
    }
    Ok(())
}

/// Downloaded first; installed from the cache while no repository answers.
fn staged(fleet: &Fleet, extra: &Extra, drydock: &Drydock) -> Result<()> {
    let packages = json!({ "install": ["dd-app"], "update": ["dd-conf"] });
    let config = json!({ "packages": packages, "downloadOnly": true });
    let (before, tasks) = job(fleet, drydock, "download only", config, "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[])?;
        let message = tasks[host.hostname()]["message"].as_str().unwrap_or_default();
        ensure!(message.starts_with("staged"), "{}: the report says {message:?}", host.hostname());
    }
    all_truthful(fleet, &before, &tasks)?;
    for server in [&fleet.server, &extra.server] {
        server.set_down(true);
    }
    let asked = fleet.server.requests() + extra.server.requests();
    let config = json!({ "packages": packages, "fromCache": true });
    let (before, tasks) = job(fleet, drydock, "apply from the cache", config, "SUCCEEDED")?;
    let wanted = [("dd-app", Some("1.0-1")), ("dd-lib", Some("1.1-1")), ("dd-conf", Some("1.1-1"))];
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &wanted)?;
    }
    all_truthful(fleet, &before, &tasks)?;
    for server in [&fleet.server, &extra.server] {
        server.set_down(false);
    }
    eprintln!("  requests while the repositories were down: {}", fleet.server.requests() + extra.server.requests() - asked);
    Ok(())
}

/// What the host's package manager protects stays, and the report says so in its words.
fn refused(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    for host in &fleet.hosts {
        let (package, words) = match host.root().kind.manager() {
            PackageManager::Apt => ("hostname", "Essential packages were removed"),
            PackageManager::Zypper => (HELD_PACKAGE, "locked by zypper addlock"),
            PackageManager::Dnf4 | PackageManager::Dnf5 => {
                host.sh("mkdir -p /etc/dnf/protected.d && echo dd-reboot > /etc/dnf/protected.d/lab.conf")?;
                ("dd-reboot", "protected packages: dd-reboot")
            }
        };
        let before = snapshot(host)?;
        let name = host.hostname();
        let spec = json!({
            "instanceFilter": { "instanceNamePrefixes": [name] },
            "patchConfig": { "packages": { "remove": [package, "dd-beta"] } },
        });
        let id = submit(drydock, &format!("refused on {name}"), spec)?;
        let tasks = finish(drydock, &id, "COMPLETED_WITH_ERRORS")?;
        let message = tasks[name]["message"].as_str().unwrap_or_default();
        ensure!(tasks[name]["state"] == "FAILED" && message.contains(words), "{name} says {message:?}");
        changed(host, &before, &[])?;
        truthful(host, &before, &tasks[name])?;
        expect(host, "dd-beta", Some("1:1.1-1"))?;
    }
    Ok(())
}
