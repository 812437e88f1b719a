//! The daemon's part: sees that a keeper runs while there is something to keep, and that it is the one of this version. The
//! keeper is a transient unit of its own where systemd runs the host, a session of its own elsewhere.
//!
//! Its end is seen by its lock, which a thread waits for: nothing is asked periodically.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::fingerprint;
use drydock_domain::policy::ComplianceState;
use drydock_domain::policy::report::reason;
use futures::StreamExt;
use inotify::{Inotify, WatchMask};
use tokio::sync::Notify;

use super::document;
use super::keeper::Process;
use super::leftovers::Leftovers;
use super::outbox;
use super::site::{Files, PREVIEW_PREFIX};
use crate::detached::own_program;
use crate::link::session::lock;
use crate::paths::Paths;
use crate::platform;
use crate::socket::{PoliciesStatus, Status};

/// A keeper has this long to take its lock, or to let go of it.
const TURN_LIMIT: Duration = Duration::from_secs(30);
/// How often the lock is looked at meanwhile.
const TURN_LOOK: Duration = Duration::from_millis(50);
/// A keeper that ended is started again after this, and after twice as long each time it ends at once.
const RESTART_FIRST: Duration = Duration::from_secs(1);
/// The longest pause until another start.
const RESTART_MAX: Duration = Duration::from_secs(300);
/// A keeper that lived this long was well.
const SETTLED: Duration = Duration::from_secs(60);
/// One read of the kernel's queue, bytes.
const BUFFER_BYTES: usize = 4096;
/// Variables of the agent's environment that the keeper gets, for its downloads.
const PASSED_THROUGH: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Wakes the thread that sees that the keeper runs.
#[derive(Debug, Clone)]
pub struct Ward(Sender<()>);

impl Ward {
    /// Wakes whoever holds the other end.
    pub fn of(wakes: Sender<()>) -> Self {
        Ward(wakes)
    }

    /// Something came to be kept.
    pub fn look(&self) {
        // Gone only when the agent ends.
        let _ = self.0.send(());
    }
}

/// Starts the thread, and tells `reports` when the keeper has something to tell.
pub fn start(paths: &Paths, instance: InstanceId, reports: Arc<Notify>, status: Arc<Mutex<Status>>) -> anyhow::Result<Ward> {
    let files = Files::of(paths);
    files.make().with_context(|| format!("cannot create {}", files.dir().display()))?;
    let inotify = Inotify::init()?;
    inotify.watches().add(files.outbox(), WatchMask::MOVED_TO)?;
    let mut events = inotify.into_event_stream(vec![0; BUFFER_BYTES])?;
    let own = paths.clone();
    tokio::spawn(async move {
        lock(&status).policies = shown(&own, instance);
        while let Some(Ok(_)) = events.next().await {
            lock(&status).policies = shown(&own, instance);
            reports.notify_one();
        }
        tracing::warn!("the keeper's results cannot be watched; they are sent with the next look");
    });
    let (sender, wakes) = channel();
    let watch = Watch { paths: paths.clone(), files, instance };
    std::thread::Builder::new().name("policies".to_owned()).spawn(move || watch.run(&wakes))?;
    Ok(Ward::of(sender))
}

struct Watch {
    paths: Paths,
    files: Files,
    instance: InstanceId,
}

impl Watch {
    fn run(&self, wakes: &Receiver<()>) {
        // One of another version must not go on with what it does not know; settings may have changed, too.
        let version = Process::read(&self.files).map(|p| p.version);
        if is_held(&self.files) && version.as_deref() != Some(env!("CARGO_PKG_VERSION")) {
            tracing::info!("the keeper of another version is replaced");
            if let Err(e) = stop(&self.paths) {
                tracing::warn!("{e:#}");
            }
        }
        if let Err(e) = std::fs::write(self.files.look(), b"") {
            tracing::debug!("{}: {e}", self.files.look().display());
        }
        let mut pause = RESTART_FIRST;
        loop {
            if !is_held(&self.files) {
                if !self.is_wanted() {
                    if wakes.recv().is_err() {
                        return;
                    }
                    continue;
                }
                let before = Process::read(&self.files);
                if let Err(e) = begin(&self.paths) {
                    tracing::error!("the keeper of policies cannot be started: {e:#}; next try in {} s", pause.as_secs());
                }
                // One that had little to do may be gone before it is seen.
                wait_until(|| is_held(&self.files) || Process::read(&self.files) != before);
            }
            let began = Instant::now();
            self.wait_for_end();
            while wakes.try_recv().is_ok() {}
            if !self.is_wanted() {
                continue;
            }
            pause = if began.elapsed() >= SETTLED { RESTART_FIRST } else { (pause * 2).min(RESTART_MAX) };
            tracing::warn!("the keeper of policies has ended; it is started again in {} s", pause.as_secs());
            std::thread::sleep(pause);
        }
    }

    fn wait_for_end(&self) {
        if let Err(e) = platform::wait_for_lock(&self.files.lock()) {
            tracing::warn!("the keeper's end cannot be waited for: {e}");
            std::thread::sleep(RESTART_MAX);
        }
    }

    /// Is there something to keep, to take back, to look at, or to tell?
    fn is_wanted(&self) -> bool {
        let listed = std::fs::read_dir(self.files.dir()).into_iter().flatten().flatten();
        if listed.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(PREVIEW_PREFIX)) {
            return true;
        }
        if !Leftovers::open(&self.files.leftovers()).0.gone().is_empty() {
            return true;
        }
        let document = document::load(&self.files.document()).ok().flatten().map(|k| k.document);
        let told = outbox::results(&self.files, self.instance).map_or(0, |r| r.generation);
        match document.filter(|d| d.instance == self.instance) {
            Some(document) => !document.policies.is_empty() || document.generation != told,
            // What another enrolment brought may have to be taken back.
            None => self.files.leftovers().exists() && self.files.document().exists(),
        }
    }
}

fn is_held(files: &Files) -> bool {
    // A lock that cannot be tried is not ours to judge: starting a keeper will say why.
    platform::try_lock(&files.lock()).is_ok_and(|lock| lock.is_none())
}

/// Waits until it is so; false when it did not come to be so.
fn wait_until(holds: impl Fn() -> bool) -> bool {
    let until = Instant::now() + TURN_LIMIT;
    while !holds() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(TURN_LOOK);
    }
    true
}

/// Name of the transient unit: agents elsewhere (tests) have their own.
fn unit(paths: &Paths) -> String {
    if paths.state == Paths::below(Path::new("/")).state {
        return "drydock-policies.service".to_owned();
    }
    format!("drydock-policies-{}.service", &fingerprint(paths.state.to_string_lossy().as_bytes())[..12])
}

fn arguments(paths: &Paths) -> Vec<std::ffi::OsString> {
    let places =
        [("--root-dir", &paths.root), ("--state-dir", &paths.state), ("--config", &paths.config), ("--log-file", &paths.log)];
    places.into_iter().flat_map(|(option, path)| [option.into(), path.into()]).chain(["keep-policies".into()]).collect()
}

/// Starts a keeper apart from us.
fn begin(paths: &Paths) -> anyhow::Result<()> {
    let program = own_program();
    if platform::has_systemd() {
        match begin_by_systemd(&program, paths) {
            Ok(()) => return Ok(()),
            // In our own unit everything is read-only and ends with the agent.
            Err(e) if std::env::var_os("INVOCATION_ID").is_some() => return Err(e),
            Err(e) => tracing::warn!("{e:#}; the keeper runs in a session of its own instead"),
        }
    }
    let status = Command::new(&program)
        .args(arguments(paths))
        .arg("--detach")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    anyhow::ensure!(status.success(), "the keeper could not be started ({status})");
    Ok(())
}

fn begin_by_systemd(program: &Path, paths: &Paths) -> anyhow::Result<()> {
    let mut command = Command::new("systemd-run");
    command
        .arg(format!("--unit={}", unit(paths)))
        .args(["--collect", "--quiet", "--no-ask-password", "--description=Drydock policies"])
        // What an operator's script leaves in the background on purpose stays.
        .args(["-p", "Restart=on-failure", "-p", "RestartSec=1", "-p", "KillMode=process", "-p", "OOMScoreAdjust=-100"]);
    for key in PASSED_THROUGH {
        if let Ok(value) = std::env::var(key) {
            command.arg(format!("--setenv={key}={value}"));
        }
    }
    let out = command.arg("--").arg(program).args(arguments(paths)).stdin(Stdio::null()).output().context("systemd-run")?;
    let said = String::from_utf8_lossy(&out.stderr);
    // systemd is about to start it again by itself.
    let known = said.contains("already") && said.contains(&unit(paths));
    anyhow::ensure!(out.status.success() || known, "systemd-run: {}", said.trim());
    Ok(())
}

/// Leaves the session of whoever started us and starts the keeper proper.
pub fn detach(paths: &Paths) -> anyhow::Result<()> {
    platform::leave_session().context("cannot leave the session")?;
    let null = Stdio::null;
    Command::new(own_program())
        .args(arguments(paths))
        .current_dir("/")
        .stdin(null())
        .stdout(null())
        .stderr(null())
        .spawn()
        .context("cannot start the keeper")?;
    Ok(())
}

/// Ends the keeper: asks, waits, and ends the process. `unregister` calls it once the daemon is stopped.
pub fn stop(paths: &Paths) -> anyhow::Result<()> {
    let files = Files::of(paths);
    if !files.lock().exists() {
        return Ok(());
    }
    let unit = unit(paths);
    if platform::has_systemd() {
        // Not started by systemd, or gone already: the rest sees to it.
        let _ = Command::new("systemctl").args(["stop", &unit]).stdin(Stdio::null()).output();
    }
    if !is_held(&files) {
        return Ok(());
    }
    std::fs::write(files.stop(), b"").with_context(|| format!("cannot write {}", files.stop().display()))?;
    let is_gone = || !is_held(&files);
    let ended = wait_until(is_gone) || {
        if let Some(process) = Process::read(&files).filter(|p| platform::process_start_ticks(p.pid) == Some(p.start)) {
            platform::kill_process(process.pid);
        }
        wait_until(is_gone)
    };
    let _ = super::site::remove(&files.stop());
    anyhow::ensure!(ended, "the keeper of policies does not end; end it by hand and repeat this");
    Ok(())
}

/// For the local socket; absent = there never was anything to keep.
fn shown(paths: &Paths, instance: InstanceId) -> Option<PoliciesStatus> {
    let files = Files::of(paths);
    let results = outbox::results(&files, instance)?;
    let flapping = results.resources().filter(|(_, r)| r.reason == reason::FLAPPING);
    Some(PoliciesStatus {
        generation: results.generation,
        kept: is_held(&files),
        compliant: results.count(ComplianceState::Compliant),
        non_compliant: results.count(ComplianceState::NonCompliant),
        unknown: results.count(ComplianceState::Unknown),
        drift_repaired: results.repaired,
        flapping: flapping.map(|(p, r)| format!("{}/{}/{}", p.assignment, p.policy, r.id)).collect(),
        problem: results.problem,
    })
}
