//! `cargo xtask lab run sources`: hosts of every kind live on managed software sources.
//!
//! What holds is judged inside the hosts: by the package managers' own answers, by dpkg and rpm, and by the bytes, modes
//! and times of the repository definitions before enrolment and after `unregister`.
//!
//! 1. *attach*: mirrors are synced, a selection is made of them, hosts are attached through an environment, some of them
//!    exclusively: their own definitions are set aside. The upstream is then taken away for good: whatever is installed
//!    from here on comes from Drydock.
//! 2. *promote*: a new snapshot stays invisible to hosts until it is promoted; a patch job then updates from it.
//! 3. *roll back*: the pointer goes back, and the package managers see it.
//! 4. *undone*: a snapshot without the old version is promoted; the job is taken back all the same, with the package files
//!    that the server keeps.
//! 5. *unregister*: every byte comes back, also when `unregister` is killed in the middle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use serde_json::{Value, json};

use super::Fleet;
use super::job::{finish, snapshot, submit, truthful};
use crate::drydock::{Drydock, Programs};

/// One host of each package manager, and both Debian releases.
const KINDS: [RootKind; 5] = [RootKind::AptBookworm, RootKind::AptTrixie, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Hosts that keep their own repositories beside ours at first; the others are exclusive.
const ADDITIVE: [RootKind; 1] = [RootKind::AptTrixie];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "sources-";
/// Until a host has applied a change of its sources; a busy machine gets ten times what it takes.
const APPLIED_LIMIT: Duration = Duration::from_secs(60);
/// Until a content job that nobody follows has ended.
const DERIVED_LIMIT: Duration = Duration::from_secs(60);
/// What every package manager of a managed host says.
const BANNER: &str = "This system is receiving updates from Drydock.";
/// Times that `unregister` is killed before it may end.
const KILLS: u32 = 6;

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let before: BTreeMap<&str, String> =
        fleet.hosts.iter().map(|host| Ok((host.hostname(), definitions(host)?))).collect::<Result<_>>()?;
    let dir = tempfile::tempdir()?;
    let drydock = Drydock::start(&programs, dir.path())?;
    let outcome = attach(&fleet, &drydock)
        .and_then(|()| {
            let job = promote(&fleet, &drydock)?;
            roll_back(&fleet, &drydock)?;
            undone(&fleet, &drydock, &job)
        })
        .and_then(|()| unregister(&fleet, &drydock, &before));
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

fn manager(host: &Host) -> PackageManager {
    host.root().kind.manager()
}

fn is_apt(host: &Host) -> bool {
    manager(host) == PackageManager::Apt
}

fn is_additive(host: &Host) -> bool {
    ADDITIVE.contains(&host.root().kind)
}

/// Every repository definition with its mode, owner, time and content.
fn definitions(host: &Host) -> Result<String> {
    host.sh("find /etc/yum.repos.d /etc/zypp/repos.d /etc/apt/sources.list /etc/apt/sources.list.d -type f \
         -printf '%p %m %u:%g %T@ %s ' -exec sha256sum {} ';' 2>/dev/null | sort")
}

/// The command of an operator, which must succeed.
fn told(drydock: &Drydock, args: &[&str]) -> Result<String> {
    drydock.cli(args)?.success().with_context(|| format!("drydock {}", args.join(" ")))
}

fn make_sources(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let url = fleet.server.url();
    let key = fleet.standard.dir().join("deb/key.asc");
    let key = key.to_str().context("the path of the archive's key must be text")?;
    for set in ["base", "updates"] {
        let (rpm, from) = (format!("rpm-{set}"), format!("{url}/rpm/{set}/"));
        told(drydock, &["source", "create", &rpm, "--rpm", &from, "--no-gpgcheck", "--policy", "immediate", "--sync"])?;
        let (deb, from) = (format!("deb-{set}"), format!("{url}/deb/{set}"));
        let suite = if set == "base" { "lab" } else { "lab-updates" };
        told(
            drydock,
            &[
                "source",
                "create",
                &deb,
                "--deb",
                &from,
                "--suite",
                suite,
                "--component",
                "main",
                "--key-file",
                key,
                "--policy",
                "immediate",
                "--sync",
            ],
        )?;
    }
    for (name, from) in [("lab-rpm", "rpm-base"), ("lab-deb", "deb-base")] {
        told(drydock, &["source", "create", name, "--from", from, "--no-gpgcheck"])?;
        newest(drydock, name, 1)?;
    }
    Ok(())
}

/// Waits until the source's newest snapshot has this number: selections are made in the background.
fn newest(drydock: &Drydock, source: &str, number: u64) -> Result<()> {
    drydock_testkit::wait::wait_until(&format!("{source} has snapshot {number}"), DERIVED_LIMIT, || {
        Ok(drydock.json(&["source", "show", source])?["current"]["number"].as_u64() == Some(number))
    })
}

/// Waits until the host has applied its newest document; gives what it said of it.
fn applied(drydock: &Drydock, host: &Host) -> Result<Value> {
    let name = host.hostname();
    let mut last = Value::Null;
    drydock_testkit::wait::wait_until(&format!("{name} has applied its sources"), APPLIED_LIMIT, || {
        last = drydock.json(&["instance", "sources", name])?;
        Ok(last["applied"] == true)
    })
    .with_context(|| format!("{last:#}"))?;
    ensure!(last["report"]["state"] == "APPLIED", "{name}: {last:#}");
    Ok(last)
}

fn attach(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    make_sources(fleet, drydock)?;
    for (name, rank) in [("dev", "10"), ("prod", "20")] {
        told(drydock, &["environment", "create", name, "--rank", rank])?;
    }
    told(drydock, &["environment", "promote", "dev", "--source", "lab-rpm", "--source", "lab-deb"])?;
    told(drydock, &["environment", "attach", "dev", "lab-rpm", "lab-deb"])?;
    let refused = drydock.cli(&["source", "delete", "lab-rpm"])?;
    ensure!(!refused.ok(), "a source that an environment uses was deleted");
    let token = drydock.enrolment_token("lab")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
        let mode = if is_additive(host) { "additive" } else { "exclusive" };
        told(drydock, &["instance", "sources", host.hostname(), "--environment", "dev", "--mode", mode])?;
    }
    for host in &fleet.hosts {
        let said = applied(drydock, host)?;
        let set_aside = said["report"]["takenOver"].as_array().map_or(0, Vec::len);
        ensure!((set_aside > 0) != is_additive(host), "{}: {said:#}", host.hostname());
        eprintln!("  {}: applied, {set_aside} definitions set aside", host.hostname());
    }
    fleet.server.set_down(true);
    fleet.hosts.iter().try_for_each(lives_on_drydock)
}

/// Reads the repositories as an operator at the host would; everything that is printed. An additive host still has its
/// own repositories, whose server is away for most of this scenario: its package manager says so and fails.
fn refresh(host: &Host) -> Result<String> {
    let command = match manager(host) {
        PackageManager::Apt => "apt-get update 2>&1",
        PackageManager::Dnf4 => "dnf --refresh makecache 2>&1",
        PackageManager::Dnf5 => "dnf5 --refresh makecache 2>&1",
        PackageManager::Zypper => "zypper --non-interactive refresh --force 2>&1",
    };
    if is_additive(host) { host.sh(&format!("{command} || true")) } else { host.sh(command) }
}

/// With the upstream away, a package is removed and installed again, and the banner is seen.
fn lives_on_drydock(host: &Host) -> Result<()> {
    let name = host.hostname();
    let script = match manager(host) {
        PackageManager::Apt => {
            "export DEBIAN_FRONTEND=noninteractive; apt-get update 2>&1; apt-get -y remove dd-alpha 2>&1 && apt-get -y install dd-alpha 2>&1"
        }
        PackageManager::Dnf4 => "dnf -y remove dd-alpha 2>&1 && dnf -y install dd-alpha 2>&1",
        PackageManager::Dnf5 => "dnf5 -y remove dd-alpha 2>&1 && dnf5 -y install dd-alpha 2>&1",
        PackageManager::Zypper => {
            "zypper --non-interactive remove dd-alpha 2>&1 && zypper --non-interactive install dd-alpha 2>&1"
        }
    };
    let printed = host.sh(script)?;
    ensure!(host.installed("dd-alpha")?.as_deref() == Some("1.0-1"), "{name}: dd-alpha was not installed again:\n{printed}");
    match manager(host) {
        // zypper 1.14 has no hook that runs before or after a command.
        PackageManager::Zypper => {}
        _ => ensure!(printed.contains(BANNER), "{name}: no banner in\n{printed}"),
    }
    if manager(host) == PackageManager::Dnf4 {
        foreign_repositories_are_off(host)?;
    }
    Ok(())
}

/// A definition that somebody adds later takes no part, from its first moment on.
fn foreign_repositories_are_off(host: &Host) -> Result<()> {
    let path = "/etc/yum.repos.d/foreign.repo";
    host.write(path, b"[foreign]\nname=Foreign\nbaseurl=http://127.0.0.1:1/\nenabled=1\ngpgcheck=0\n")?;
    let listed = host.sh("dnf -q repolist --enabled 2>/dev/null")?;
    ensure!(!listed.contains("foreign") && listed.contains("drydock-lab-rpm"), "{}: enabled are\n{listed}", host.hostname());
    host.wait_until("the foreign definition is set aside", APPLIED_LIMIT, |host| Ok(!host.exists(path)?))?;
    Ok(())
}

/// The versions of `dd-alpha` that the managed repositories offer, in the package manager's own words.
fn offered(host: &Host) -> Result<String> {
    refresh(host)?;
    host.sh(match manager(host) {
        PackageManager::Apt => "apt-cache madison dd-alpha | grep -F /content/ || true",
        PackageManager::Dnf4 => "dnf -q --disablerepo='*' --enablerepo='drydock-*' repoquery dd-alpha 2>/dev/null",
        PackageManager::Dnf5 => "dnf5 -q --disablerepo='*' --enablerepo='drydock-*' repoquery dd-alpha 2>/dev/null",
        PackageManager::Zypper => {
            "zypper --non-interactive --no-refresh search --details --match-exact dd-alpha | grep -v 'System Packages' || true"
        }
    })
}

/// Makes the selection of these sources, of each package the newest version alone where that is said; its snapshot has this
/// number.
fn select(drydock: &Drydock, name: &str, from: &[&str], newest_alone: bool, number: u64) -> Result<()> {
    let mut spec = drydock.json(&["source", "show", name])?["spec"].clone();
    spec["origin"]["sources"]["from"] = json!(from);
    if newest_alone {
        spec["selection"] = json!({ "newest": 1 });
    }
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    std::fs::write(file.path(), spec.to_string())?;
    let path = file.path().to_str().context("the temporary directory's name is not UTF-8")?;
    told(drydock, &["source", "edit", name, "--file", path])?;
    newest(drydock, name, number)
}

/// The job that updated the hosts.
fn promote(fleet: &Fleet, drydock: &Drydock) -> Result<String> {
    for (name, from) in [("lab-rpm", ["rpm-updates", "rpm-base"]), ("lab-deb", ["deb-updates", "deb-base"])] {
        select(drydock, name, &from, false, 2)?;
    }
    for host in &fleet.hosts {
        let seen = offered(host)?;
        ensure!(seen.contains("1.0") && !seen.contains("1.2"), "{}: before the promotion it sees\n{seen}", host.hostname());
    }
    let preview = drydock.json(&["environment", "promote", "dev", "--source", "lab-rpm", "--source", "lab-deb", "--dry-run"])?;
    let affected: u64 = preview["moves"].as_array().into_iter().flatten().filter_map(|m| m["instancesAffected"].as_u64()).sum();
    ensure!(affected == fleet.hosts.len() as u64, "the preview names {affected} hosts with updates:\n{preview:#}");
    told(drydock, &["environment", "promote", "dev", "--source", "lab-rpm", "--source", "lab-deb"])?;
    for host in &fleet.hosts {
        let seen = offered(host)?;
        ensure!(seen.contains("1.2"), "{}: after the promotion it sees\n{seen}", host.hostname());
    }
    let job = patch(fleet, drydock)?;
    into_prod(fleet, drydock)?;
    Ok(job)
}

/// An ordinary patch job updates from the managed sources; the report is what dpkg and rpm say.
fn patch(fleet: &Fleet, drydock: &Drydock) -> Result<String> {
    let before = fleet.hosts.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    let job = submit(
        drydock,
        "from managed sources",
        json!({
            "instanceFilter": { "all": true },
            "patchConfig": {
                "rebootConfig": "NEVER",
                "apt": { "exclusivePackages": ["dd-alpha"] }, "yum": { "exclusivePackages": ["dd-alpha"] },
                "zypper": { "withUpdate": true, "withOptional": true },
            },
        }),
    )?;
    let tasks = finish(drydock, &job, "SUCCEEDED")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        let installed = host.installed("dd-alpha")?;
        ensure!(installed.as_deref() == Some("1.2-1"), "{}: dd-alpha is {installed:?}", host.hostname());
        truthful(host, before, &tasks[host.hostname()])?;
    }
    Ok(job)
}

/// A host moves to an environment that nothing was promoted to: it is told so; then the promotion arrives.
fn into_prod(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let host = fleet.hosts.iter().find(|h| manager(h) == PackageManager::Dnf4).context("no dnf 4 host")?;
    let name = host.hostname();
    told(drydock, &["environment", "attach", "prod", "lab-rpm"])?;
    let seen = drydock.json(&["instance", "sources", name, "--environment", "prod"])?;
    let problem = seen["sources"][0]["problem"].as_str().unwrap_or_default().to_owned();
    ensure!(problem.contains("prod"), "{name}: no reason why lab-rpm is invisible:\n{seen:#}");
    told(drydock, &["environment", "promote", "prod", "--source", "lab-rpm"])?;
    applied(drydock, host)?;
    let seen = offered(host)?;
    ensure!(seen.contains("1.2"), "{name}: in prod it sees\n{seen}");
    told(drydock, &["instance", "sources", name, "--environment", "dev"])?;
    applied(drydock, host)?;
    Ok(())
}

fn roll_back(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    told(drydock, &["environment", "promote", "dev", "--rollback"])?;
    for host in &fleet.hosts {
        let seen = offered(host)?;
        ensure!(seen.contains("1.0") && !seen.contains("1.2"), "{}: after the roll back it sees\n{seen}", host.hostname());
    }
    Ok(())
}

/// No repository of any host offers the old version any more, and the upstream is away: its files come from the server.
fn undone(fleet: &Fleet, drydock: &Drydock, job: &str) -> Result<()> {
    select(drydock, "lab-rpm", &["rpm-updates", "rpm-base"], true, 3)?;
    select(drydock, "lab-deb", &["deb-updates", "deb-base"], true, 3)?;
    told(drydock, &["environment", "promote", "dev", "--source", "lab-rpm", "--source", "lab-deb"])?;
    for host in &fleet.hosts {
        let seen = offered(host)?;
        ensure!(seen.contains("1.2") && !seen.contains("1.0"), "{}: it still sees\n{seen}", host.hostname());
    }
    let started = drydock.json(&["patch", "undo", job, "--yes", "--no-wait"])?;
    let undo = started["id"].as_str().context("patch undo printed no job id")?.to_owned();
    eprintln!("undo: job {undo}");
    finish(drydock, &undo, "SUCCEEDED")?;
    for host in &fleet.hosts {
        let installed = host.installed("dd-alpha")?;
        ensure!(installed.as_deref() == Some("1.0-1"), "{}: dd-alpha is {installed:?} after the undo", host.hostname());
        // What was fetched goes with its task.
        let left = host.sh("find /var/lib/drydock-agent -name '*dd-alpha*' 2>/dev/null")?;
        ensure!(left.trim().is_empty(), "{}: the undo left {left}", host.hostname());
    }
    Ok(())
}

fn unregister(fleet: &Fleet, drydock: &Drydock, before: &BTreeMap<&str, String>) -> Result<()> {
    fleet.server.set_down(false);
    for host in &fleet.hosts {
        let name = host.hostname();
        // Killed sooner and later, so that one of them falls between two renames.
        for round in 0..KILLS {
            let delay = format!("0.0{}", round * 3 % 10);
            host.sh(&format!(
                "drydock-agent unregister --force >/dev/null 2>&1 & p=$!; sleep {delay}; kill -9 $p 2>/dev/null; true"
            ))?;
        }
        host.sh("drydock-agent unregister --force")?;
        // What somebody added while we were in charge stays, under the name it was given.
        host.sh("rm -f /etc/yum.repos.d/foreign.repo*")?;
        let after = definitions(host)?;
        ensure!(after == before[name], "{name}: before enrolment\n{}\nafter unregister\n{after}", before[name]);
        let left = host.sh(
            "find /etc /usr/lib /usr/share /var/lib -name '*drydock*' 2>/dev/null | grep -v -e dd-release -e drydock-lab || true",
        )?;
        ensure!(left.trim().is_empty(), "{name}: unregister left\n{left}");
        let printed = refresh(host)?;
        ensure!(!printed.contains(BANNER), "{name}: the banner is still there:\n{printed}");
        eprintln!("  {name}: every byte is back");
    }
    let left = drydock.items(&["instance", "list"])?;
    eprintln!("  {} instances are left on the server", left.len());
    if fleet.hosts.iter().any(is_apt) && left.len() > fleet.hosts.len() {
        anyhow::bail!("more instances than hosts: {left:#?}");
    }
    Ok(())
}
