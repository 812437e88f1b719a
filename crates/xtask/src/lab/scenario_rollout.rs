//! `cargo xtask lab run rollout`: an update that breaks a service meets real hosts in two zones.
//!
//! The first wave (one zone) installs it, fails its health gate, the job halts by itself, the wave is undone. Judged inside
//! the hosts: package sets before and after, the service, and that nobody ever touched the other zone. Then the same job
//! with a good update goes through both waves. Its health checks include requests to an address that is not loopback.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, PackageManager, RootKind};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{AptArchive, DebPackage, PackageFile, RpmPackage, RpmRepository, Scripts};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use super::Fleet;
use super::job::{Installed, JOB_LIMIT, finish, show, snapshot, submit};
use crate::drydock::{Drydock, Programs};

/// An apt and an rpm host in each zone: the first two are the first zone.
const KINDS: [RootKind; 4] = [RootKind::AptBookworm, RootKind::Dnf4, RootKind::AptTrixie, RootKind::Dnf5];
/// Their zones.
const ZONES: [&str; 4] = ["lab-a", "lab-a", "lab-b", "lab-b"];
/// Hosts of the first wave.
const FIRST: usize = 2;
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "rollout-";
/// Until something that hosts did is visible on the server.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// In hosts: one line per run of an installation script of `dd-web`.
const SCRIPTS_LOG: &str = "/var/log/dd-web.log";
/// The service that the bad update breaks.
const UNIT: &str = "dd-web.service";

/// Runs the scenario; `agent` is the shipped agent, a fresh build when absent.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    let dir = tempfile::tempdir()?;
    let web = Web::build(&dir.path().join("web"))?;
    fleet.hosts.iter().try_for_each(|host| web.install(host))?;
    let drydock = Drydock::start(&programs, dir.path())?;
    let outcome = enrol(&fleet, &drydock)
        .and_then(|()| bad_update(&fleet, &web, &drydock))
        .and_then(|()| good_update(&fleet, &web, &drydock, Answerer::start()?.as_ref()));
    outcome.with_context(|| format!("the server's log ends with:\n{}", drydock.log_tail()))
}

/// `dd-web` in repositories of their own: 1.0 works, 1.1 does not, 1.2 does.
struct Web {
    server: LoopbackServer,
}

impl Web {
    fn build(dir: &Path) -> Result<Self> {
        for (name, version, program) in [("old", "1.0", "sleep"), ("bad", "1.1", "false"), ("good", "1.2", "sleep")] {
            let (files, scripts) = (unit(), Scripts { after_install: after_install(version, program), ..Scripts::default() });
            let rpm = RpmPackage { files: files.clone(), scripts: scripts.clone(), ..RpmPackage::new("dd-web", version) };
            RpmRepository { packages: vec![rpm], advisories: Vec::new() }.build(&dir.join("rpm").join(name))?;
            let deb = DebPackage { files, scripts, ..DebPackage::new("dd-web", format!("{version}-1")) };
            let suite = format!("web-{name}");
            let archive = AptArchive {
                origin: "Drydock-Lab".into(),
                label: "Lab".into(),
                suite: suite.clone(),
                codename: suite,
                packages: vec![deb],
            };
            archive.build(&dir.join("deb").join(name), None)?;
        }
        Ok(Web { server: serve_dir(dir)? })
    }

    fn enable(&self, host: &Host, name: &str) -> Result<()> {
        let url = self.server.url();
        match host.root().kind.manager() {
            PackageManager::Apt => host.write(
                &format!("/etc/apt/sources.list.d/web-{name}.list"),
                format!("deb [trusted=yes] {url}/deb/{name} web-{name} main\n").as_bytes(),
            ),
            _ => host.write(
                &format!("/etc/yum.repos.d/web-{name}.repo"),
                format!("[web-{name}]\nname=Web {name}\nbaseurl={url}/rpm/{name}\nenabled=1\ngpgcheck=0\n").as_bytes(),
            ),
        }
    }

    fn install(&self, host: &Host) -> Result<()> {
        self.enable(host, "old")?;
        host.sh(match host.root().kind.manager() {
            PackageManager::Apt => "apt-get -q update && apt-get -q -y install dd-web",
            PackageManager::Dnf5 => "dnf5 -q -y install dd-web",
            _ => "dnf -q -y install dd-web",
        })?;
        ensure!(is_active(host)?, "{}: {UNIT} does not run to begin with", host.hostname());
        Ok(())
    }
}

fn unit() -> Vec<PackageFile> {
    let text = "[Unit]\nDescription=Lab web\n[Service]\nExecStart=/usr/lib/dd-web/program infinity\n";
    let readme = "The program beside this file is made on installation.\n";
    vec![PackageFile::new("/usr/lib/systemd/system/dd-web.service", text), PackageFile::new("/usr/lib/dd-web/README", readme)]
}

/// The program is one of the host's own: a binary of ours would not run on every root.
fn after_install(version: &str, program: &str) -> String {
    format!(
        "echo '{version}' >> {SCRIPTS_LOG}\n\
         cp /bin/{program} /usr/lib/dd-web/program.new\n\
         mv -f /usr/lib/dd-web/program.new /usr/lib/dd-web/program\n\
         if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl restart {UNIT}; fi || true\n"
    )
}

fn is_active(host: &Host) -> Result<bool> {
    Ok(host.run(&["systemctl", "is-active", UNIT])?.stdout.trim() == "active")
}

fn enrol(fleet: &Fleet, drydock: &Drydock) -> Result<()> {
    let token = drydock.enrolment_token("rollout")?;
    for (host, zone) in fleet.hosts.iter().zip(ZONES) {
        drydock.install_agent(host, &token)?;
        drydock.cli(&["instance", "edit", host.hostname(), "--zone", zone])?.success()?;
        wait_until(&format!("the packages of {} are visible", host.hostname()), VISIBLE_LIMIT, || {
            Ok(drydock.cli(&["instance", "packages", host.hostname(), "-o", "json"])?.stdout.contains("dd-web"))
        })?;
    }
    Ok(())
}

/// The first zone is the first wave; one failure halts, and the wave is taken back.
fn spec() -> Value {
    json!({
        "instanceFilter": { "all": true },
        "patchConfig": {
            "rebootConfig": "NEVER",
            "packages": { "update": ["dd-web"] },
            "healthChecks": {
                "checks": [{ "unitActive": { "unit": UNIT } }, { "noNewFailedUnits": {} }],
                "withinSecs": 10,
                "settleSecs": 2,
            },
        },
        "rollout": {
            "mode": "ZONE_BY_ZONE",
            "disruptionBudget": { "fixed": 2 },
            "waves": [{ "name": "first", "select": { "zones": ["lab-a"] } }, { "name": "others" }],
            "haltAfter": { "fixed": 1 },
            "undoFailedWave": true,
        },
    })
}

fn scripts_log(host: &Host) -> Result<Vec<String>> {
    Ok(host.read(SCRIPTS_LOG)?.lines().map(str::to_owned).collect())
}

fn bad_update(fleet: &Fleet, web: &Web, drydock: &Drydock) -> Result<()> {
    fleet.hosts.iter().try_for_each(|host| web.enable(host, "bad"))?;
    let before: Vec<Installed> = fleet.hosts.iter().map(snapshot).collect::<Result<_>>()?;
    let id = submit(drydock, "a bad update", spec())?;
    wait_until("the job halts", JOB_LIMIT, || Ok(show(drydock, &id)?.0["rollout"]["halted"].is_object()))
        .with_context(|| format!("the job: {:#?}", show(drydock, &id).unwrap_or_default()))?;
    let mut undone = String::new();
    wait_until("the wave is being undone", JOB_LIMIT, || {
        undone = show(drydock, &id)?.0["rollout"]["undoJob"].as_str().unwrap_or_default().to_owned();
        Ok(!undone.is_empty())
    })?;
    finish(drydock, &undone, "SUCCEEDED")?;
    let (job, tasks) = show(drydock, &id)?;
    ensure!(job["rollout"]["halted"]["cause"]["wave"] == "first", "halted by {:#}", job["rollout"]["halted"]);
    let (first, others) = fleet.hosts.split_at(FIRST);
    for (host, before) in first.iter().zip(&before) {
        let task = &tasks[host.hostname()];
        let message = task["message"].as_str().unwrap_or_default();
        ensure!(task["state"] == "FAILED" && message.contains(UNIT), "{}: {} {message}", host.hostname(), task["state"]);
        ensure!(snapshot(host)? == *before, "{}: the wave is not as it was", host.hostname());
        ensure!(is_active(host)?, "{}: {UNIT} does not run after the undo", host.hostname());
        ensure!(scripts_log(host)? == ["1.0", "1.1", "1.0"], "{}: {:?}", host.hostname(), scripts_log(host)?);
    }
    for (host, before) in others.iter().zip(&before[FIRST..]) {
        let task = &tasks[host.hostname()];
        ensure!(task["state"] == "PENDING" && task["waitingOn"]["reason"] == "HALTED", "{}: {task:#}", host.hostname());
        ensure!(snapshot(host)? == *before && scripts_log(host)? == ["1.0"], "{}: was touched", host.hostname());
        // Neither its ledger nor its log ever heard of the task.
        let id = task["id"].as_str().context("a task has no id")?;
        let known = host.sh(&format!("grep -rls '{id}' /var/lib/drydock-agent /var/log/drydock-agent || true"))?;
        ensure!(known.trim().is_empty(), "{}: its agent was told of the task: {known}", host.hostname());
    }
    drydock.cli(&["patch", "abort", &id])?.success()?;
    finish(drydock, &id, "CANCELED")?;
    Ok(())
}

/// Answers HTTP at an address of this machine's network, and remembers who asked.
struct Answerer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(IpAddr, String)>>>,
}

impl Answerer {
    /// `None`, with a word about it: this machine has loopback alone.
    fn start() -> Result<Option<Self>> {
        // Connecting a datagram socket sends nothing: it only chooses the address. 198.18.0.0/15 is for tests of networks.
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        let own = socket.connect(("198.18.0.1", 9)).and_then(|()| socket.local_addr()).map(|a| a.ip());
        let Some(own) = own.ok().filter(|ip| !ip.is_loopback() && !ip.is_unspecified()) else {
            eprintln!("this machine has no address but loopback: the health checks ask nobody else");
            return Ok(None);
        };
        let listener = TcpListener::bind((own, 0)).with_context(|| format!("cannot listen on {own}"))?;
        let (address, asked) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&asked);
        std::thread::Builder::new().name("answerer".into()).spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let from = stream.peer_addr().map(|a| a.ip());
                let mut ask = [0; 1024];
                let read = stream.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| stream.read(&mut ask));
                let line = String::from_utf8_lossy(&ask[..read.unwrap_or(0)]).lines().next().unwrap_or_default().to_owned();
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                if let Ok(from) = from {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push((from, line));
                }
            }
        })?;
        Ok(Some(Answerer { address, asked }))
    }

    /// A check of each kind that goes to it.
    fn checks(&self) -> [Value; 2] {
        [
            json!({ "tcp": { "address": self.address.to_string() } }),
            json!({ "http": { "url": format!("http://{}/ready", self.address), "statusMin": 204, "statusMax": 204 } }),
        ]
    }

    fn asked(&self) -> Vec<(IpAddr, String)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A good version goes through both waves; the bad one, barred where it was undone, is nowhere.
fn good_update(fleet: &Fleet, web: &Web, drydock: &Drydock, answerer: Option<&Answerer>) -> Result<()> {
    fleet.hosts.iter().try_for_each(|host| web.enable(host, "good"))?;
    let mut spec = spec();
    let checks = spec["patchConfig"]["healthChecks"]["checks"].as_array_mut().context("the spec has no health checks")?;
    checks.extend(answerer.iter().flat_map(|a| a.checks()));
    let id = submit(drydock, "a good update", spec)?;
    finish(drydock, &id, "SUCCEEDED")?;
    if let Some(answerer) = answerer {
        let asked = answerer.asked();
        let gets = asked.iter().filter(|(from, line)| *from == answerer.address.ip() && line == "GET /ready HTTP/1.1").count();
        ensure!(gets >= fleet.hosts.len(), "each host asks {} at least once: {asked:?}", answerer.address);
    }
    for host in &fleet.hosts {
        let version = host.installed("dd-web")?;
        ensure!(version.as_deref() == Some("1.2-1") && is_active(host)?, "{}: dd-web {version:?}", host.hostname());
    }
    let (job, _) = show(drydock, &id)?;
    let phases: Vec<&str> =
        job["rollout"]["waves"].as_array().into_iter().flatten().filter_map(|w| w["phase"].as_str()).collect();
    ensure!(phases.iter().all(|phase| *phase == "DONE"), "the waves end as {phases:?}");
    Ok(())
}
