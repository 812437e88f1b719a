//! The thread that collects: at start, when the package database changed, and every few minutes as a net.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use drydock_domain::inventory::SectionKind;
use jiff::Timestamp;

use super::Board;
use super::collect::Collector;
use crate::link::backoff::random;

/// After a change of the package database the updates are computed once it has been quiet this long: solving
/// dependencies costs a second of processor time, and a transaction changes the database hundreds of times.
const UPDATES_QUIET: Duration = Duration::from_secs(5);

/// What the thread is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The package database changed.
    Packages,
    /// The package manager's configuration changed.
    Rules,
    /// Everything.
    Full,
    /// The repositories are others now: their metadata, then everything.
    Refresh,
}

/// How often without being asked.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Full inventory.
    pub full: Duration,
    /// Refresh of the repositories' metadata; `None` = never.
    pub refresh: Option<Duration>,
}

/// Starts the thread. `patching` is true while a patch task owns the package manager: packages are still read (that
/// needs no lock), updates and refreshes wait.
pub fn start(
    collector: Collector,
    board: Arc<Board>,
    intervals: Intervals,
    patching: Arc<AtomicBool>,
) -> std::io::Result<Sender<Ask>> {
    let (sender, receiver) = channel();
    let mut worker = Worker { collector, board, intervals, patching, updates_due: None };
    std::thread::Builder::new().name("inventory".to_owned()).spawn(move || worker.run(&receiver))?;
    Ok(sender)
}

struct Worker {
    collector: Collector,
    board: Arc<Board>,
    intervals: Intervals,
    patching: Arc<AtomicBool>,
    updates_due: Option<Instant>,
}

impl Worker {
    fn run(&mut self, asks: &Receiver<Ask>) {
        // What the server shows first comes first; the updates take longest and nobody waits for them.
        for kind in [SectionKind::Os, SectionKind::Packages, SectionKind::Health, SectionKind::Rules, SectionKind::Updates] {
            self.collect(kind);
        }
        let spread = |d: Duration| d.mul_f64(0.9 + 0.2 * random());
        let mut full_due = Instant::now() + spread(self.intervals.full);
        let mut refresh_asked = false;
        let mut refresh_due = self.intervals.refresh.map(|d| Instant::now() + spread(d));
        loop {
            // Asked for while a task owned the package manager.
            let asked_due = refresh_asked.then(|| Instant::now() + UPDATES_QUIET);
            let next = [Some(full_due), refresh_due, self.updates_due, asked_due].into_iter().flatten().min().unwrap_or(full_due);
            match asks.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Ask::Packages) => {
                    self.collect(SectionKind::Packages);
                    self.collect(SectionKind::Health);
                    self.updates_due = Some(Instant::now() + UPDATES_QUIET);
                }
                Ok(Ask::Rules) => {
                    self.collect(SectionKind::Rules);
                    self.updates_due = Some(Instant::now() + UPDATES_QUIET);
                }
                Ok(Ask::Full) => full_due = Instant::now(),
                Ok(Ask::Refresh) => refresh_asked = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            let free = !self.patching.load(Ordering::Relaxed);
            if refresh_due.is_some_and(|due| due <= now) || (refresh_asked && free) {
                if free {
                    refresh_asked = false;
                    for finding in self.collector.refresh() {
                        tracing::warn!("repository {}: {}", finding.subject, finding.message);
                    }
                    full_due = now;
                }
                refresh_due = self.intervals.refresh.map(|d| now + spread(d));
            }
            if full_due <= now {
                for kind in [SectionKind::Os, SectionKind::Packages, SectionKind::Health, SectionKind::Rules] {
                    self.collect(kind);
                }
                self.updates_due = Some(now);
                full_due = Instant::now() + spread(self.intervals.full);
            }
            if self.updates_due.is_some_and(|due| due <= now) {
                self.updates_due = (!free).then(|| now + UPDATES_QUIET);
                if free {
                    // A hold of dpkg is in its database of packages.
                    self.collect(SectionKind::Rules);
                    self.collect(SectionKind::Updates);
                }
            }
        }
    }

    fn collect(&self, kind: SectionKind) {
        let began = Instant::now();
        match self.collector.section(kind) {
            Ok(section) => {
                tracing::debug!(
                    took_ms = began.elapsed().as_millis() as u64,
                    bytes = section.body.len(),
                    "inventory: {} read",
                    kind.as_str()
                );
                self.board.put(kind, section, Timestamp::now());
            }
            Err(e) => {
                tracing::warn!("inventory: {} could not be read: {e:#}", kind.as_str());
                self.board.complain(kind, format!("{e:#}"));
            }
        }
    }
}

/// While it lives, the package manager belongs to a patch task.
pub struct Patching(Arc<AtomicBool>);

impl Patching {
    /// Takes it.
    pub fn begin(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Patching(Arc::clone(flag))
    }
}

impl Drop for Patching {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
