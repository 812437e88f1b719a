//! The thread that executes tasks, one after the other, in the order of their numbers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drydock_domain::ids::TaskId;
use tokio::sync::Notify;

use super::control::Control;
use super::executor::{Executor, Limits, Ran};
use super::real::RealHost;
use super::slots::Slots;
use crate::inventory::worker::{Ask, Patching};
use crate::ledger::Ledger;
use crate::link::session::lock;
use crate::paths::Paths;
use crate::platform;
use crate::policy::site::{Files, set_patching};

/// The ledger is looked at this often even without a wake-up.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// A fault that comes back at once must not fill the log.
const ERROR_PAUSE: Duration = Duration::from_secs(5);

/// What the thread works with.
pub struct TaskWorker {
    /// Where running commands are kept.
    pub paths: Paths,
    /// Tasks.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The server's wishes.
    pub control: Control,
    /// Reboot slots.
    pub slots: Slots,
    /// Wakes the link.
    pub reports: Arc<Notify>,
    /// True while the package manager belongs to a task.
    pub patching: Arc<AtomicBool>,
    /// The inventory thread.
    pub inventory: Sender<Ask>,
    /// Metadata is not refreshed.
    pub read_only: bool,
}

/// Starts the thread; a message wakes it.
pub fn start(worker: TaskWorker) -> std::io::Result<Sender<()>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("tasks".to_owned()).spawn(move || worker.run(&receiver))?;
    Ok(sender)
}

impl TaskWorker {
    fn run(&self, wake: &Receiver<()>) {
        self.remove_orphans();
        let policies = Files::of(&self.paths);
        // Tasks that wait, and when to look at them again: the others go first.
        let mut waiting: HashMap<TaskId, Instant> = HashMap::new();
        loop {
            let now = Instant::now();
            let due = |task: &TaskId| waiting.get(task).is_none_or(|again| *again <= now);
            let next = lock(&self.ledger).unfinished().into_iter().find(due);
            let Some(task) = next else {
                set_patching(&policies, false);
                let rest = waiting.values().min().map_or(LOOK_INTERVAL, |again| again.saturating_duration_since(now));
                match wake.recv_timeout(rest.min(LOOK_INTERVAL)) {
                    // An order, a wish of the server or an answer: whoever waits may go on.
                    Ok(()) => waiting.clear(),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                continue;
            };
            let patching = Patching::begin(&self.patching);
            set_patching(&policies, true);
            let ran = self.execute(task);
            drop(patching);
            waiting.remove(&task);
            if let Ran::Waits { again, .. } = ran {
                waiting.insert(task, Instant::now() + again);
            }
            if !matches!(ran, Ran::Waits { acted: false, .. }) {
                // Gone only when the agent ends.
                let _ = self.inventory.send(Ask::Full);
            }
        }
    }

    fn execute(&self, task: TaskId) -> Ran {
        let Some(job) = lock(&self.ledger).get(task).map(|e| e.order.task.job) else { return Ran::Finished };
        let host = RealHost::new(&self.paths.runs(), job, task, self.control.clone(), self.read_only);
        let mut host = host.with_paths(&self.paths);
        let told = || self.reports.notify_one();
        let mut executor = Executor {
            host: &mut host,
            ledger: &self.ledger,
            control: &self.control,
            slots: &self.slots,
            told: &told,
            limits: Limits::default(),
        };
        let ran = executor.run(task).unwrap_or_else(|e| {
            tracing::error!("task {task}: {e}");
            std::thread::sleep(ERROR_PAUSE);
            Ran::Finished
        });
        if ran == Ran::Finished {
            self.control.forget(task);
        }
        ran
    }

    /// Directories of tasks that the ledger does not know (any more).
    fn remove_orphans(&self) {
        for entry in std::fs::read_dir(self.paths.runs()).into_iter().flatten().flatten() {
            let known = entry
                .file_name()
                .to_str()
                .and_then(|n| n.parse::<TaskId>().ok())
                .is_some_and(|t| lock(&self.ledger).get(t).is_some());
            if !known
                && !in_use(&entry.path(), 3)
                && let Err(e) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!("{} cannot be removed: {e}", entry.path().display());
            }
        }
    }
}

/// Does a supervisor still work below `dir`? It needs its directory to the end.
fn in_use(dir: &Path, depth: u32) -> bool {
    let lock = dir.join("lock");
    if lock.exists() && platform::try_lock(&lock).is_ok_and(|l| l.is_none()) {
        return true;
    }
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    depth > 0 && below.into_iter().any(|p| p.is_dir() && in_use(&p, depth - 1))
}
