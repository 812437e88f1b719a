//! `cargo xtask lab run policy`: the two policies of the well-known Apache example on a dnf host and an apt host.
//!
//! Judged inside the hosts, never by our own report alone:
//! 1. *applied*: the package is installed, its service runs and is enabled.
//! 2. *drift*: stopped and disabled by hand, package removed, file edited, deleted, renamed over, its mode changed: all come back.
//! 3. *alone*: the same with the server killed, and with the keeper and the agent killed.
//! 4. *script*: the example's own form, a script that checks and one that repairs.
//! 5. *validation*: reports only.
//! 6. *fought*: another program keeps changing a file: FLAPPING is reported, and repairs are spaced out.
//! 7. *gated*: a revision that breaks a service fails its health check on the first host; the second is never touched.
//! 8. *un-assigned*: everything stays as it is, but what says REMOVE goes; nobody repairs any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{AptArchive, DebPackage, PackageFile, RpmPackage, RpmRepository};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use crate::drydock::{Drydock, Programs};

/// The example is for both.
const KINDS: [RootKind; 2] = [RootKind::Dnf4, RootKind::AptBookworm];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "policy-";
/// Until a host is visible on the server.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// Until a policy is brought about on a host, packages included.
const APPLY_LIMIT: Duration = Duration::from_secs(120);
/// Until drift is repaired. The bench says how long it really takes.
const REPAIR_LIMIT: Duration = Duration::from_secs(30);
/// How long a host is watched when nothing may happen on it: many times what a repair takes.
const QUIET: Duration = Duration::from_secs(4);
/// The file of the policy.
const MOTD: &str = "/etc/dd-policy/motd";
/// More of its files, each with what is done to it by hand.
const BROKEN: [(&str, &str); 4] = [
    ("deleted", "rm -f FILE"),
    ("edited", "echo changed >> FILE"),
    ("mode", "chmod 0666 FILE"),
    ("replaced", "echo other > FILE.new; mv FILE.new FILE"),
];
/// A file that goes with its policy.
const BANNER: &str = "/etc/dd-policy/banner";
/// A service that ends as soon as its file does not say `good`; the policy keeps the file alone, so that it is compliant all
/// the same.
const APP: &str = "dd-app.service";
/// Its file.
const APP_FILE: &str = "/etc/dd-policy/app.conf";
/// The assignment of that file.
const GATED: &str = "gated";
/// The assignment's name.
const NAME: &str = "apache";

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let dir = tempfile::tempdir()?;
    let web = Web::build(&dir.path().join("web"))?;
    fleet.hosts.iter().try_for_each(|host| web.enable(host))?;
    let mut drydock = Drydock::start(&programs, dir.path())?;
    let outcome = enrol(&fleet, &drydock)
        .and_then(|()| applied(&fleet, &drydock))
        .and_then(|()| fleet.hosts.iter().try_for_each(drift))
        .and_then(|()| alone(&fleet, &mut drydock))
        .and_then(|()| reported(&fleet, &drydock))
        .and_then(|()| script(&fleet, &drydock))
        .and_then(|()| validation(&fleet, &drydock))
        .and_then(|()| fought(&fleet, &drydock))
        .and_then(|()| gated(&fleet, &drydock))
        .and_then(|()| unassigned(&fleet, &drydock));
    let tails: Vec<String> = if outcome.is_err() { fleet.hosts.iter().map(agent_tail).collect() } else { Vec::new() };
    outcome.with_context(|| format!("the server's log ends with:\n{}\n{}", drydock.log_tail(), tails.join("\n")))
}

fn agent_tail(host: &Host) -> String {
    let text = host.sh("tail -n 40 /var/log/drydock-agent/*.log; journalctl -q --no-pager -n 40 || true");
    format!("{}'s agent:\n{}", host.hostname(), text.unwrap_or_default())
}

/// A web server under the name each family gives it.
fn package(host: &Host) -> &'static str {
    if host.root().kind.manager() == PackageManager::Apt { "apache2" } else { "httpd" }
}

/// `httpd` and `apache2` in repositories of their own, each with a unit that does nothing for ever.
struct Web {
    server: LoopbackServer,
}

impl Web {
    fn build(dir: &Path) -> Result<Self> {
        let unit = |name: &str| {
            let text = format!(
                "[Unit]\nDescription=Lab {name}\n[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n\
                 [Install]\nWantedBy=multi-user.target\n"
            );
            vec![PackageFile::new(format!("/usr/lib/systemd/system/{name}.service"), text)]
        };
        let rpm = RpmPackage { files: unit("httpd"), ..RpmPackage::new("httpd", "2.4.99") };
        RpmRepository { packages: vec![rpm], advisories: Vec::new() }.build(&dir.join("rpm"))?;
        let deb = DebPackage { files: unit("apache2"), ..DebPackage::new("apache2", "9:2.4.99-1") };
        let archive = AptArchive {
            origin: "Drydock-Lab".into(),
            label: "Lab".into(),
            suite: "web".into(),
            codename: "web".into(),
            packages: vec![deb],
        };
        archive.build(&dir.join("deb"), None)?;
        Ok(Web { server: serve_dir(dir)? })
    }

    fn enable(&self, host: &Host) -> Result<()> {
        let url = self.server.url();
        match host.root().kind.manager() {
            PackageManager::Apt => {
                host.write("/etc/apt/sources.list.d/web.list", format!("deb [trusted=yes] {url}/deb web main\n").as_bytes())?
            }
            _ => host.write(
                "/etc/yum.repos.d/web.repo",
                format!("[web]\nname=Web\nbaseurl={url}/rpm\nenabled=1\ngpgcheck=0\n").as_bytes(),
            )?,
        }
        host.sh("mkdir -p /etc/dd-policy").map(drop)
    }
}

fn enrol(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let token = drydock.enrolment_token("policy")?;
    for host in &fleet.hosts {
        drydock.install_agent(host, &token)?;
        drydock.cli(&["instance", "edit", host.hostname(), "--label", &format!("web={}", package(host))])?.success()?;
        wait_until(&format!("the packages of {} are visible", host.hostname()), VISIBLE_LIMIT, || {
            Ok(drydock.json(&["instance", "show", host.hostname()])?["inventory"]["packages"].as_u64().unwrap_or(0) > 0)
        })?;
    }
    Ok(())
}

/// One assignment a host: the package policy and the policy that keeps its service as `always_up` says.
fn assignment(host: &Host, always_up: &Value, motd: &str) -> Value {
    let manager = if package(host) == "httpd" { "yum" } else { "apt" };
    let install = json!({ "id": "install", "pkg": { "desiredState": "INSTALLED", (manager): { "name": package(host) } } });
    let motd =
        json!({ "id": "motd", "file": { "path": MOTD, "content": motd, "state": "CONTENTS_MATCH", "permissions": "0640" } });
    let banner = json!({
        "id": "banner",
        "file": { "path": BANNER, "content": "managed\n", "state": "PRESENT" },
        "onUnassign": "REMOVE",
    });
    let kept = BROKEN.iter().map(|(name, _)| {
        let path = format!("/etc/dd-policy/{name}");
        json!({ "id": name, "file": { "path": path, "content": "kept\n", "state": "CONTENTS_MATCH", "permissions": "0640" } })
    });
    let first: Vec<Value> = [install, motd, banner].into_iter().chain(kept).collect();
    let policy =
        |id: &str, resources: Value| json!({ "id": id, "mode": "ENFORCEMENT", "resourceGroups": [{ "resources": resources }] });
    json!({
        "name": format!("{NAME}-{}", package(host)),
        "osPolicies": [
            policy("apache-install", json!(first)),
            policy("apache-always-up", json!([always_up])),
        ],
        "instanceFilter": { "inclusionLabels": [{ "labels": { "web": package(host) } }] },
        "rollout": { "disruptionBudget": { "percent": 100 }, "minWaitDuration": "0s" },
    })
}

fn service(host: &Host) -> Value {
    json!({ "id": "keep-running", "service": { "name": package(host), "running": true, "enabled": true } })
}

/// The example's form: nothing of ours in it but `watch`, without which the script would run once an hour.
fn scripted(host: &Host) -> Value {
    let unit = package(host);
    json!({
        "id": "keep-running",
        "exec": {
            "validate": { "interpreter": "SHELL", "script": format!("if systemctl is-active --quiet {unit}; then exit 100; else exit 101; fi\n") },
            "enforce": { "interpreter": "SHELL", "script": format!("systemctl start {unit} && exit 100\n") },
            "watch": { "units": [unit] },
        },
    })
}

fn apply(drydock: &Drydock, document: &Value) -> Result<()> {
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    std::fs::write(file.path(), document.to_string())?;
    let path = file.path().to_str().context("the temporary directory's name is not UTF-8")?;
    drydock.cli(&["policy", "apply", path, "--wait"])?.success().map(drop)
}

fn is_up(host: &Host) -> Result<bool> {
    let unit = package(host);
    let answers = host.sh(&format!("systemctl is-active {unit}; systemctl is-enabled {unit}; true"))?;
    Ok(answers.lines().collect::<Vec<_>>() == ["active", "enabled"])
}

fn wait_up(host: &Host, why: &str, limit: Duration) -> Result<()> {
    host.wait_until(&format!("{} runs and is enabled {why}", package(host)), limit, is_up)
}

fn motd_is(host: &Host, content: &str) -> Result<bool> {
    file_is(host, MOTD, content)
}

/// Content and mode in one look.
fn file_is(host: &Host, path: &str, content: &str) -> Result<bool> {
    Ok(host.sh(&format!("cat {path} && stat -c %a {path}"))? == format!("{content}640\n"))
}

/// Forgets how often things were repaired, so that each part of the scenario begins afresh.
fn afresh(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    for host in &fleet.hosts {
        drydock.cli(&["policy", "check-now", "--host", host.hostname()])?.success()?;
        compliant(drydock, host, "COMPLIANT")?;
    }
    Ok(())
}

fn applied(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("the policies are applied ...");
    for host in &fleet.hosts {
        apply(drydock, &assignment(host, &service(host), "hello\n"))?;
    }
    for host in &fleet.hosts {
        wait_up(host, "after the policy was applied", APPLY_LIMIT)?;
        ensure!(host.installed(package(host))?.is_some(), "{}: {} is not installed", host.hostname(), package(host));
        host.wait_until("the file is there", REPAIR_LIMIT, |host| Ok(motd_is(host, "hello\n")? && host.exists(BANNER)?))?;
        compliant(drydock, host, "COMPLIANT")?;
    }
    Ok(())
}

/// What the server says of the whole host.
fn compliant(drydock: &Drydock, host: &Host, state: &str) -> Result<()> {
    let name = format!("{NAME}-{}", package(host));
    let mut shown = Vec::new();
    let waited = wait_until(&format!("{} is {state}", host.hostname()), REPAIR_LIMIT, || {
        shown = drydock.items(&["compliance", "list", "--host", host.hostname(), "--assignment", &name])?;
        Ok(!shown.is_empty() && shown.iter().any(|row| row["state"] == state) && (state != "COMPLIANT" || all(&shown, state)))
    });
    waited.with_context(|| format!("the server says {shown:#?}"))
}

fn all(rows: &[Value], state: &str) -> bool {
    rows.iter().all(|row| row["state"] == state)
}

fn drift(host: &Host) -> Result<()> {
    eprintln!("drift on {} ...", host.hostname());
    let unit = package(host);
    host.sh(&format!("systemctl stop {unit}; systemctl disable -q {unit}"))?;
    wait_up(host, "after being stopped and disabled", REPAIR_LIMIT)?;
    for (name, violation) in BROKEN {
        let path = format!("/etc/dd-policy/{name}");
        host.sh(&violation.replace("FILE", &path))?;
        host.wait_until(&format!("`{violation}` is repaired"), REPAIR_LIMIT, |host| file_is(host, &path, "kept\n"))?;
    }
    host.sh("rm -rf /etc/dd-policy")?;
    // Nobody but its owner makes the directory: the file comes as soon as there is one again.
    host.sh("mkdir /etc/dd-policy")?;
    host.wait_until("the file is back in the new directory", REPAIR_LIMIT, |host| motd_is(host, "hello\n"))?;
    Ok(())
}

fn remove_package(host: &Host) -> Result<()> {
    match host.root().kind.manager() {
        PackageManager::Apt => host.sh("dpkg --remove apache2"),
        _ => host.sh("rpm -e httpd"),
    }
    .map(drop)
}

/// Neither the server nor a living agent is needed.
fn alone(fleet: &Fleet, drydock: &mut Drydock) -> Result<()> {
    eprintln!("the server, the keepers and the agents are killed ...");
    afresh(fleet, drydock)?;
    drydock.kill()?;
    for host in &fleet.hosts {
        remove_package(host)?;
        host.wait_until("the package is back without a server", APPLY_LIMIT, |host| {
            Ok(host.installed(package(host))?.is_some())
        })?;
        wait_up(host, "without a server", REPAIR_LIMIT)?;
        // What a keeper did not write down yet dies with it; the host is right all the same.
        host.wait_until("the repair is written down", REPAIR_LIMIT, |host| {
            Ok(host.run(&["grep", "-rqs", "\"resource\":\"install\"", "/var/lib/drydock-agent/policies"])?.ok())
        })?;
        host.sh("pkill -KILL -f '[k]eep-policies' && kill -KILL $(systemctl show -P MainPID drydock-agent)")?;
        host.sh(&format!("systemctl stop {}; rm -f {MOTD}", package(host)))?;
        wait_up(host, "after everything was killed", APPLY_LIMIT)?;
        host.wait_until("the file is back after everything was killed", REPAIR_LIMIT, |host| motd_is(host, "hello\n"))?;
    }
    drydock.serve()
}

/// What happened while the server was away is told: repaired drift, each with its times.
fn reported(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("what happened is reported ...");
    for host in &fleet.hosts {
        let mut drift = Vec::new();
        let waited = wait_until("the drift of the time alone is known", VISIBLE_LIMIT, || {
            drift = drydock.items(&["compliance", "drift", "--host", host.hostname()])?;
            let repaired = |resource: &str| drift.iter().any(|d| d["resource"] == resource && d["outcome"] == "REPAIRED");
            Ok(repaired("install") && repaired("motd") && repaired("keep-running"))
        });
        waited.with_context(|| format!("the server knows of {drift:#?}"))?;
        compliant(drydock, host, "COMPLIANT")?;
    }
    Ok(())
}

fn script(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("the same by scripts ...");
    for host in &fleet.hosts {
        apply(drydock, &assignment(host, &scripted(host), "second\n"))?;
    }
    for host in &fleet.hosts {
        host.wait_until("the second revision is there", APPLY_LIMIT, |host| motd_is(host, "second\n"))?;
        host.sh(&format!("systemctl stop {}", package(host)))?;
        host.wait_until("the script started it again", REPAIR_LIMIT, |host| {
            Ok(host.run(&["systemctl", "is-active", package(host)])?.stdout.trim() == "active")
        })?;
    }
    Ok(())
}

fn validation(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("validation only reports ...");
    for host in &fleet.hosts {
        let mut document = assignment(host, &service(host), "third\n");
        for policy in document["osPolicies"].as_array_mut().into_iter().flatten() {
            policy["mode"] = json!("VALIDATION");
        }
        apply(drydock, &document)?;
    }
    for host in &fleet.hosts {
        compliant(drydock, host, "NON_COMPLIANT")?;
        ensure!(motd_is(host, "second\n")?, "{}: validation changed a file", host.hostname());
        host.sh(&format!("systemctl stop {}", package(host)))?;
        stays(host, "validation started a service", |host| Ok(!is_up(host)?))?;
    }
    Ok(())
}

/// Holds for the whole of [`QUIET`].
fn stays(host: &Host, otherwise: &str, holds: impl Fn(&Host) -> Result<bool>) -> Result<()> {
    let until = std::time::Instant::now() + QUIET;
    while std::time::Instant::now() < until {
        ensure!(holds(host)?, "{}: {otherwise}", host.hostname());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn fought(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("another program fights a policy ...");
    for host in &fleet.hosts {
        apply(drydock, &assignment(host, &service(host), "fourth\n"))?;
    }
    let host = &fleet.hosts[0];
    host.wait_until("the fourth revision is there", APPLY_LIMIT, |host| motd_is(host, "fourth\n"))?;
    host.sh(&format!(
        "systemd-run -q --unit dd-fight sh -c 'n=0; while :; do n=$((n+1)); grep -q foe {MOTD} || {{ echo foe > {MOTD}; \
         echo . >> /var/log/dd-fight; }}; sleep 0.1; done'"
    ))?;
    let mut drift = Vec::new();
    let waited = wait_until("the fight is reported", VISIBLE_LIMIT, || {
        drift = drydock.items(&["compliance", "drift", "--host", host.hostname()])?;
        Ok(drift.iter().any(|d| d["resource"] == "motd" && d["outcome"] == "FLAPPING"))
    });
    waited.with_context(|| format!("the server knows of {drift:#?}"))?;
    let rounds = || -> Result<usize> { Ok(host.read("/var/log/dd-fight")?.lines().count()) };
    let before = rounds()?;
    stays(host, "repairs are not spaced out", |_| Ok(rounds()? <= before + 1))?;
    host.sh("systemctl stop dd-fight")?;
    for other in &fleet.hosts {
        wait_up(other, "after the fight", REPAIR_LIMIT)?;
    }
    Ok(())
}

/// One host at a time; the service must run on each.
fn gate(content: &str) -> Value {
    let file = json!({ "path": APP_FILE, "content": content, "state": "CONTENTS_MATCH" });
    json!({
        "name": GATED,
        "osPolicies": [{ "id": "app", "mode": "ENFORCEMENT", "resourceGroups": [{ "resources": [{ "id": "conf", "file": file }] }] }],
        "instanceFilter": { "inclusionLabels": [{ "labels": { "lab": "yes" } }] },
        "rollout": {
            "disruptionBudget": { "fixed": 1 },
            "minWaitDuration": "0s",
            "healthChecks": {
                "checks": [{ "unitActive": { "unit": APP } }, { "exec": { "script": format!("test -e {APP_FILE}"), "interpreter": "SHELL" } }],
                "withinSecs": 20,
                "settleSecs": 2,
            },
        },
    })
}

fn app_is(host: &Host, content: &str, state: &str) -> Result<bool> {
    let file = host.sh(&format!("cat {APP_FILE} || true"))?;
    Ok(file.trim() == content && host.run(&["systemctl", "is-active", APP])?.stdout.trim() == state)
}

fn gated(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("a revision that breaks a service ...");
    let unit = format!(
        "[Unit]\nDescription=Lab app\nStartLimitIntervalSec=0\n[Service]\nRestart=on-success\nRestartSec=1\nExecStart=/bin/sh -c \
         'while :; do case $(cat {APP_FILE} 2>/dev/null) in good) sleep 0.2;; \"\") exit 0;; *) exit 1;; esac; done'\n"
    );
    for host in &fleet.hosts {
        host.write(&format!("/etc/systemd/system/{APP}"), unit.as_bytes())?;
        host.sh(&format!("systemctl daemon-reload && systemctl start {APP}"))?;
    }
    apply(drydock, &gate("good\n"))?;
    for host in &fleet.hosts {
        ensure!(app_is(host, "good", "active")?, "{}: the rollout ended before the host was well", host.hostname());
    }
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    std::fs::write(file.path(), gate("bad\n").to_string())?;
    let path = file.path().to_str().context("the temporary directory's name is not UTF-8")?;
    let ended = drydock.cli(&["policy", "apply", path, "--wait"])?;
    ensure!(!ended.ok(), "a rollout that halts ends well:\n{}", ended.stdout);
    let shown = drydock.json(&["policy", "show", GATED])?;
    let rollout = &shown["rollout"];
    let why = rollout["haltedBecause"].as_str().unwrap_or_default();
    ensure!(rollout["state"] == "HALTED" && why.contains(&format!("failed its health checks: unit {APP}: ")), "{rollout:#}");
    let (ill, others): (Vec<&Host>, Vec<&Host>) = fleet.hosts.iter().partition(|host| why.contains(host.hostname()));
    ensure!(ill.len() == 1 && others.len() + 1 == fleet.hosts.len(), "{why}");
    ensure!(app_is(ill[0], "bad", "failed")?, "{}: not as the revision makes it", ill[0].hostname());
    let rows = drydock.items(&["compliance", "list", "--host", ill[0].hostname(), "--assignment", GATED])?;
    ensure!(all(&rows, "COMPLIANT"), "it is the health that is wrong, nothing else: {rows:#?}");
    for host in others {
        stays(host, "the second host was touched", |host| app_is(host, "good", "active"))?;
        let held = host.sh("grep -rl 'bad' /var/lib/drydock-agent/policies/document || true")?;
        ensure!(held.trim().is_empty(), "{}: it was given the revision", host.hostname());
    }
    drydock.cli(&["policy", "cancel", GATED])?.success()?;
    wait_until("the rollout is cancelled", APPLY_LIMIT, || {
        Ok(drydock.json(&["policy", "show", GATED])?["rollout"]["state"] == "CANCELLED")
    })?;
    drydock.cli(&["policy", "delete", GATED, "--yes", "--wait"])?.success().map(drop)
}

fn unassigned(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    eprintln!("the assignments are deleted ...");
    for host in &fleet.hosts {
        drydock.cli(&["policy", "delete", &format!("{NAME}-{}", package(host)), "--yes"])?.success()?;
    }
    for host in &fleet.hosts {
        host.wait_until("what says REMOVE is gone", APPLY_LIMIT, |host| Ok(!host.exists(BANNER)?))?;
        ensure!(is_up(host)?, "{}: un-assignment changed the service", host.hostname());
        ensure!(host.installed(package(host))?.is_some(), "{}: un-assignment removed the package", host.hostname());
        ensure!(host.exists(MOTD)?, "{}: un-assignment removed a file", host.hostname());
        host.sh(&format!("systemctl stop {}; rm -f {MOTD}", package(host)))?;
        stays(host, "an un-assigned policy is still kept", |host| Ok(!is_up(host)? && !host.exists(MOTD)?))?;
        let left = host.sh("pgrep -f '[k]eep-policies' || test $? = 1")?;
        ensure!(left.trim().is_empty(), "{}: a keeper with nothing to keep still runs", host.hostname());
    }
    Ok(())
}
