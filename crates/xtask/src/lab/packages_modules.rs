//! The part of `cargo xtask lab run packages` about module streams and profiles, on the dnf 4 host. What holds is judged
//! by rpm, by dnf and by the files under /etc/dnf/modules.d inside the host.
//!
//! 1. *elsewhere*: hosts of other package managers say that they have none; nothing changes.
//! 2. *enabled*: a stream and a profile in one job, by the command's own flags.
//! 3. *refused*: three reasons in one dry run; a job with one refused change changes nothing.
//! 4. *switched*: to another stream, with another module that needs it; the packages follow.
//! 5. *removed*: the profile with its packages, then the module is disabled and its packages cannot be had.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{ModuleStream, RpmPackage, RpmRepository, add_modules};
use serde_json::{Value, json};

use super::Fleet;
use super::job::{Tasks, finish, snapshot, submit, truthful};
use super::scenario_packages::changed;
use crate::drydock::Drydock;

/// Where dnf keeps the state of the module.
const STATE_FILE: &str = "/etc/dnf/modules.d/ddmod.module";

/// Runs this part; `dir` is for the repository.
///
/// # Errors
/// At the first thing that is not as it must be.
pub fn run(fleet: &Fleet, drydock: &Drydock, dir: &Path) -> Result<()> {
    let server = repository(dir)?;
    let host = fleet.hosts.iter().find(|h| h.root().kind.manager() == PackageManager::Dnf4).context("no dnf 4 host")?;
    let repo = format!("[lab-modules]\nname=Lab modules\nbaseurl={}\nenabled=1\ngpgcheck=0\n", server.url());
    host.write("/etc/yum.repos.d/lab-modules.repo", repo.as_bytes())?;
    elsewhere(fleet, drydock)?;
    enabled(host, drydock)?;
    refused(host, drydock)?;
    switched(host, drydock)?;
    removed(host, drydock)
}

/// `ddmod` with streams 1 (default) and 2, `ddneeds`, whose stream x needs ddmod:2.
fn repository(dir: &Path) -> Result<LoopbackServer> {
    let package = |name: &str, version: &str| RpmPackage::new(name, version);
    let app = |version: &str| RpmPackage { requires: vec!["dd-mod-lib".into()], ..package("dd-mod-app", version) };
    let one = [app("1.0"), package("dd-mod-lib", "1.0"), package("dd-mod-extra", "1.0")];
    let two = [app("2.0"), package("dd-mod-lib", "2.0"), package("dd-mod-new", "2.0")];
    let needs = [package("dd-mod-needs", "5.0")];
    let full = |more: &str| ("full".to_owned(), vec!["dd-mod-app".to_owned(), more.to_owned()]);
    let mut first = ModuleStream { is_default: true, ..ModuleStream::new("ddmod", "1", "dd-mod-app", &one) };
    first.profiles.push(full("dd-mod-extra"));
    let mut second = ModuleStream::new("ddmod", "2", "dd-mod-app", &two);
    second.profiles.push(full("dd-mod-new"));
    let requires = vec![("ddmod".to_owned(), "2".to_owned())];
    let third = ModuleStream { requires, ..ModuleStream::new("ddneeds", "x", "dd-mod-needs", &needs) };
    RpmRepository { packages: [&one[..], &two[..], &needs[..]].concat(), advisories: Vec::new() }.build(dir)?;
    add_modules(dir, &[first, second, third])?;
    serve_dir(dir)
}

/// A job on this host with these changes, to its end.
fn job(host: &Host, drydock: &Drydock, changes: &[&str], dry_run: bool, state: &str) -> Result<Value> {
    let mut words = vec!["patch", if dry_run { "plan" } else { "run" }, "--instance", host.hostname(), "--reboot", "never"];
    words.extend(changes.iter().flat_map(|change| ["--module", *change]));
    words.push("--no-wait");
    let job = drydock.json(&words)?;
    let id = job["id"].as_str().context("no job id")?;
    eprintln!("modules {}: job {id}", changes.join(" "));
    let mut tasks: Tasks = finish(drydock, id, state)?;
    tasks.remove(host.hostname()).context("no task of the host")
}

/// dnf's file says exactly this of the stream, the profiles and the state.
fn stands(host: &Host, stream: &str, profiles: &str, state: &str) -> Result<()> {
    let text = host.read(STATE_FILE)?;
    let wanted = [format!("stream={stream}"), format!("profiles={profiles}"), format!("state={state}")];
    ensure!(wanted.iter().all(|line| text.lines().any(|l| l == line)), "{}: {wanted:?} is not in\n{text}", host.hostname());
    Ok(())
}

/// The outcomes of the changes, in the order asked.
fn outcomes(task: &Value, list: &str) -> Vec<String> {
    let none = Vec::new();
    let all = task["report"]["modules"].as_array().unwrap_or(&none);
    all.iter().map(|m| m[list].as_str().unwrap_or_default().to_owned()).collect()
}

fn elsewhere(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let before = fleet.hosts.iter().map(snapshot).collect::<Result<Vec<_>>>()?;
    let changes = json!([{ "action": "ENABLE", "module": "ddmod", "stream": "1" }]);
    let spec = json!({ "instanceFilter": { "all": true }, "dryRun": true, "patchConfig": { "modules": changes } });
    let id = submit(drydock, "module on every host (dry run)", spec)?;
    let tasks = finish(drydock, &id, "COMPLETED_WITH_ERRORS")?;
    for (host, before) in fleet.hosts.iter().zip(&before) {
        changed(host, before, &[])?;
        let (task, manager) = (&tasks[host.hostname()], host.root().kind.manager());
        let message = task["message"].as_str().unwrap_or_default();
        if manager == PackageManager::Dnf4 {
            ensure!(message == "dry run: 1 change planned, nothing was changed", "the dnf 4 host says {message:?}");
            ensure!(!host.exists(STATE_FILE)?, "a dry run wrote {STATE_FILE}");
        } else {
            let fits = task["state"] == "FAILED" && message.contains("has no module streams and profiles");
            ensure!(fits, "{} says {message:?}", host.hostname());
        }
    }
    Ok(())
}

fn enabled(host: &Host, drydock: &Drydock) -> Result<()> {
    let before = snapshot(host)?;
    let task = job(host, drydock, &["enable:ddmod:1", "install:ddmod:1/full"], false, "SUCCEEDED")?;
    let wanted = [("dd-mod-app", Some("1.0-1")), ("dd-mod-lib", Some("1.0-1")), ("dd-mod-extra", Some("1.0-1"))];
    changed(host, &before, &wanted)?;
    truthful(host, &before, &task)?;
    stands(host, "1", "full", "enabled")?;
    ensure!(outcomes(&task, "outcome") == ["APPLIED", "APPLIED"], "{task:#}");
    // Nothing to do the second time.
    let task = job(host, drydock, &["enable:ddmod:1"], false, "SUCCEEDED")?;
    ensure!(outcomes(&task, "outcome").is_empty(), "{task:#}");
    stands(host, "1", "full", "enabled")
}

fn refused(host: &Host, drydock: &Drydock) -> Result<()> {
    let before = snapshot(host)?;
    let changes = ["enable:ddmod:2", "enable:ddneeds:x", "enable:ddnone:1"];
    let task = job(host, drydock, &changes, true, "COMPLETED_WITH_ERRORS")?;
    let planned = task["report"]["plans"][0]["modules"].as_array().context("the dry run tells nothing")?;
    let words = ["use switch:ddmod:2", "requires module(ddmod:2)", "no repository of this host offers a module ddnone"];
    for (change, words) in planned.iter().zip(words) {
        let why = change["refused"].as_str().unwrap_or_default();
        ensure!(why.contains(words), "{words:?} is not in {why:?}");
    }
    for dry_run in [true, false] {
        let changes = ["switch:ddmod:2", "enable:ddnone:1"];
        let task = job(host, drydock, &changes, dry_run, "COMPLETED_WITH_ERRORS")?;
        let message = task["message"].as_str().unwrap_or_default();
        ensure!(message.contains("refuses 1 of 2 module changes: enable:ddnone:1"), "the report says {message:?}");
        let planned = task["report"]["plans"][0]["actions"].as_array().map_or(0, Vec::len);
        ensure!((planned == 4) == dry_run, "{planned} packages are planned (dry run: {dry_run})");
        changed(host, &before, &[])?;
        stands(host, "1", "full", "enabled")?;
    }
    job(host, drydock, &["disable:ddmod"], false, "COMPLETED_WITH_ERRORS")?;
    stands(host, "1", "full", "enabled")
}

fn switched(host: &Host, drydock: &Drydock) -> Result<()> {
    let before = snapshot(host)?;
    let task = job(host, drydock, &["enable:ddneeds:x", "switch:ddmod:2"], false, "SUCCEEDED")?;
    let wanted =
        [("dd-mod-app", Some("2.0-1")), ("dd-mod-lib", Some("2.0-1")), ("dd-mod-new", Some("2.0-1")), ("dd-mod-extra", None)];
    changed(host, &before, &wanted)?;
    truthful(host, &before, &task)?;
    stands(host, "2", "full", "enabled")?;
    ensure!(outcomes(&task, "outcome") == ["APPLIED", "APPLIED"], "{task:#}");
    let id = task["job"].as_str().unwrap_or_default();
    let shown = drydock.cli(&["patch", "show", id])?.stdout;
    ensure!(shown.contains("switch:ddmod:2") && shown.contains("MODULE CHANGE"), "patch show says nothing of modules:\n{shown}");
    // What needs the stream keeps it.
    job(host, drydock, &["switch:ddmod:1"], false, "COMPLETED_WITH_ERRORS")?;
    stands(host, "2", "full", "enabled")
}

fn removed(host: &Host, drydock: &Drydock) -> Result<()> {
    let before = snapshot(host)?;
    let gone = [("dd-mod-app", None), ("dd-mod-lib", None), ("dd-mod-new", None)];
    let task = job(host, drydock, &["remove:ddmod:2/full"], false, "SUCCEEDED")?;
    changed(host, &before, &gone)?;
    truthful(host, &before, &task)?;
    stands(host, "2", "", "enabled")?;
    job(host, drydock, &["reset:ddneeds", "disable:ddmod"], false, "SUCCEEDED")?;
    stands(host, "", "", "disabled")?;
    let hidden = host.run(&["dnf", "-q", "-y", "install", "dd-mod-app"])?;
    ensure!(!hidden.ok(), "a package of a disabled module can be installed:\n{}", hidden.stdout);
    job(host, drydock, &["install:ddmod:1/common"], false, "COMPLETED_WITH_ERRORS")?;
    // Everything at once, back and forth.
    let before = snapshot(host)?;
    let task = job(host, drydock, &["switch:ddmod:2", "install:ddmod:2/common"], false, "SUCCEEDED")?;
    changed(host, &before, &[("dd-mod-app", Some("2.0-1")), ("dd-mod-lib", Some("2.0-1"))])?;
    truthful(host, &before, &task)?;
    job(host, drydock, &["remove:ddmod:2", "disable:ddmod"], false, "SUCCEEDED")?;
    changed(host, &before, &[])?;
    stands(host, "", "", "disabled")
}
