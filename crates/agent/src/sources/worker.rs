//! The thread that keeps the host as the document says: when a document came, when a repository file changed, and
//! every minute as a net. It only looks; where something is to be changed it starts `drydock-agent apply-sources`
//! apart from the daemon, whose unit may not write to /etc and /usr.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drydock_domain::ids::TaskId;
use drydock_domain::source::host::{HostSourcesReport, HostSourcesState};
use drydock_pkgmgr::run::{CommandSpec, Finished, Runner, SystemRunner};
use tokio::sync::Notify;

use super::disk::Disk;
use super::render::{Facts, finding};
use super::site::{self, Files};
use crate::detached::{DetachedRunner, own_program};
use crate::inventory;
use crate::link::session::lock;
use crate::paths::Paths;
use crate::socket::{SourcesStatus, Status};
use crate::task::control::Control;

/// The host is looked at this often without being asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// While a patch task owns the package manager, repositories do not change under it.
const PATCHING_LOOK: Duration = Duration::from_millis(500);
/// After a failure the same document is tried again this late: somebody must mend the host first.
const FAILED_PAUSE: Duration = Duration::from_secs(600);
/// Writing some files and asking rpm for keys.
const APPLY_LIMIT: Duration = Duration::from_secs(600);

/// What the thread is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A document or certificate came.
    Apply,
    /// A file changed.
    Look,
}

/// What the thread needs.
pub struct Worker {
    /// Places.
    pub paths: Paths,
    /// Nothing on this host may be changed.
    pub read_only: bool,
    /// A patch task owns the package manager.
    pub patching: Arc<AtomicBool>,
    /// Wakes the link: a report is due.
    pub reports: Arc<Notify>,
    /// For the local socket.
    pub status: Arc<Mutex<Status>>,
    /// The metadata is to be read again.
    pub inventory: Sender<inventory::worker::Ask>,
}

/// Starts the thread; at first it applies what is kept, which finishes what a crash interrupted.
pub fn start(worker: Worker) -> std::io::Result<Sender<Ask>> {
    let (sender, asks) = channel();
    let mut running = Running { worker, facts: None, pause_until: None };
    std::thread::Builder::new().name("sources".to_owned()).spawn(move || running.run(&asks))?;
    Ok(sender)
}

struct Running {
    worker: Worker,
    facts: Option<Facts>,
    pause_until: Option<Instant>,
}

impl Running {
    fn run(&mut self, asks: &Receiver<Ask>) {
        self.look();
        self.show();
        loop {
            match asks.recv_timeout(LOOK_INTERVAL) {
                Ok(ask) => {
                    // One look answers all that was asked before it.
                    let pending: Vec<Ask> = asks.try_iter().collect();
                    if ask == Ask::Apply || pending.contains(&Ask::Apply) {
                        self.pause_until = None;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
            self.show();
        }
    }

    /// For people on the host.
    fn show(&self) {
        let Some(report) = Files::of(&self.worker.paths).outbox().newest() else { return };
        lock(&self.worker.status).sources = Some(SourcesStatus {
            generation: report.generation,
            state: if report.state == HostSourcesState::Applied { "APPLIED" } else { "FAILED" }.to_owned(),
            set_aside: report.taken_over,
            findings: report.findings.into_iter().map(|f| format!("{}: {}", f.subject, f.message)).collect(),
        });
    }

    fn look(&mut self) {
        let files = Files::of(&self.worker.paths);
        if !files.document().exists() || self.pause_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        while self.worker.patching.load(Ordering::Relaxed) {
            std::thread::sleep(PATCHING_LOOK);
        }
        let runner = SystemRunner::new();
        if self.facts.is_none() {
            self.facts = site::facts(&self.worker.paths.root, &runner);
        }
        let before = files.outbox().newest();
        let dry = Disk::dry(&self.worker.paths.root);
        let Some(seen) = site::apply_kept(&self.worker.paths, &dry, self.facts.as_ref(), &runner) else { return };
        let known = before.as_ref().is_some_and(|b| b.generation == seen.generation);
        if self.worker.read_only {
            let why = "this host is enrolled read-only: its repositories are left alone; set read_only = false in its agent.toml";
            let report = HostSourcesReport { state: HostSourcesState::Failed, findings: vec![finding("host", why)], ..seen };
            return self.tell(&files, HostSourcesReport { taken_over: Vec::new(), ..report });
        }
        if dry.changes() == 0 && known {
            return;
        }
        let changed = dry.changes();
        if let Err(why) = self.apply(&files) {
            tracing::error!("the host's sources could not be applied: {why}");
            let findings = vec![finding("sources", &why)];
            self.tell(&files, HostSourcesReport { state: HostSourcesState::Failed, findings, ..seen });
        }
        let report = files.outbox().newest();
        let failed = report.as_ref().is_none_or(|r| r.state == HostSourcesState::Failed);
        self.pause_until = failed.then(|| Instant::now() + FAILED_PAUSE);
        if let Some(report) = report.filter(|r| Some(r) != before.as_ref()) {
            self.say(&report);
        }
        // The inventory is always of the running system. Its thread is gone only when the agent ends.
        if changed > 0 && self.worker.paths.root == Path::new("/") {
            let _ = self.worker.inventory.send(inventory::worker::Ask::Refresh);
        }
    }

    fn apply(&self, files: &Files) -> Result<(), String> {
        let done = run_apart(&self.worker.paths, files)?;
        if done.success() {
            return Ok(());
        }
        let said: String = done.stderr.text().trim().chars().take(500).collect();
        Err(format!("{}: {said}", done.describe_end()))
    }

    fn tell(&self, files: &Files, report: HostSourcesReport) {
        match files.outbox().put(report) {
            Ok(true) => self.worker.reports.notify_one(),
            Ok(false) => {}
            Err(e) => tracing::error!("{e}"),
        }
    }

    fn say(&self, report: &HostSourcesReport) {
        self.worker.reports.notify_one();
        let state = if report.state == HostSourcesState::Applied { "applied" } else { "failed" };
        let aside = report.taken_over.len();
        tracing::info!("sources: generation {} {state}, {aside} repository definitions set aside", report.generation);
        for found in &report.findings {
            tracing::warn!("sources: {}: {}", found.subject, found.message);
        }
    }
}

/// Runs `apply-sources` apart from the daemon, or takes up the one that an earlier agent left running.
fn run_apart(paths: &Paths, files: &Files) -> Result<Finished, String> {
    let dir = files.run();
    let program = own_program();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let args = [
        "--root-dir".to_owned(),
        text(&paths.root),
        "--state-dir".to_owned(),
        text(&paths.state),
        "--config".to_owned(),
        text(&paths.config),
        "apply-sources".to_owned(),
    ];
    let spec = CommandSpec::new(text(&program), "drydock-agent apply-sources", APPLY_LIMIT).args(args).mutating();
    let runner = DetachedRunner::new(program, Control::default(), TaskId(uuid::Uuid::nil()), dir.clone());
    // One that an earlier agent began is waited for; its result is of an older document.
    if let Err(e) = runner.settle(&dir) {
        tracing::warn!("{}: {e}", dir.display());
    }
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(format!("cannot remove {}: {e}", dir.display())),
        _ => {}
    }
    let done = runner.run(&spec).map_err(|e| crate::link::channel::chain(&e));
    let _ = std::fs::remove_dir_all(&dir);
    done
}
