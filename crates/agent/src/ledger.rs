//! The agent's memory (DESIGN decision 6): one file per task, written before the step it names is begun; the highest
//! order number ever taken; final reports until the server has stored them.
//!
//! A file is two lines: `{"sha256":…}` and the entry as JSON. A file that does not fit its checksum is set aside as
//! `*.corrupt` and told, never believed and never fatal.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use drydock_domain::ids::TaskId;
use drydock_domain::inventory::{Finding, fingerprint};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::work::WorkOrder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::platform::{private_dir, sync_dir, write_durably};
use crate::task::machine::State;

/// Final reports kept for a server that is away, count: one host gets a handful of tasks a month.
pub const OUTBOX_MAX: usize = 64;
/// Corrupt files kept for people to look at, count.
const CORRUPT_KEPT_MAX: usize = 8;
/// Tasks held at once, count: a server that sends more is broken.
pub const TASKS_MAX: usize = 128;
/// File with the highest order number.
const NUMBER_FILE: &str = "number";
/// Ending of task files.
const TASK_ENDING: &str = "task";

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What was ordered.
    pub order: WorkOrder,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The boot in which the entry was last saved: another one now means that the host went down in between.
    pub boot: String,
    /// The step to be done or under way.
    pub state: State,
    /// One of the reboots was after patching.
    pub rebooted_after: bool,
    /// Plans of `report` before this index belong to earlier rounds.
    pub round_from: usize,
    /// Packages the tool named as failed in this round, with its words.
    #[serde(default)]
    pub failed_packages: Vec<(String, String)>,
    /// Broken repositories seen when this round read them; the round's first plan tells them.
    #[serde(default)]
    pub refresh_findings: Vec<Finding>,
    /// A plan's transaction was begun, in any round.
    #[serde(default)]
    pub applied: bool,
    /// Units that were failed before the task changed anything, where a health check needs to know.
    #[serde(default)]
    pub failed_units: Option<Vec<String>>,
    /// The tool itself suggested a reboot since the last one.
    #[serde(default)]
    pub reboot_suggested: bool,
    /// What the server is told.
    pub report: TaskReport,
    /// The highest `seq` the server has stored.
    pub stored_seq: u64,
}

impl Entry {
    /// The task.
    pub fn id(&self) -> TaskId {
        self.order.task.task
    }
}

/// What went wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk said no.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    File {
        /// `write`, `read` …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The entry cannot be written as JSON.
    #[error("the entry of task {task} cannot be encoded: {why}")]
    Encode {
        /// The task.
        task: TaskId,
        /// Why.
        why: String,
    },
    /// Too many at once.
    #[error("{TASKS_MAX} tasks are held already; this one is refused")]
    Full,
    /// No such task.
    #[error("task {0} is not in the ledger")]
    Unknown(TaskId),
    /// Only in tests: the process is taken to be dead here.
    #[error("the test ended the process here")]
    Crashed,
}

/// The ledger of one agent.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    entries: BTreeMap<TaskId, Entry>,
    /// Entries whose newest form is in memory only.
    unsaved: std::collections::BTreeSet<TaskId>,
    number: u64,
    problems: Vec<String>,
    /// Tests: saves that still succeed before the process counts as dead.
    #[cfg(test)]
    pub saves_left: Option<u32>,
    /// Tests: the disk is full.
    #[cfg(test)]
    pub disk_full: bool,
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::File { what, path, source }
}

impl Ledger {
    /// Opens the ledger in `dir`, made if missing.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        private_dir(dir).map_err(file_error("create", dir))?;
        let mut ledger = Ledger {
            dir: dir.to_owned(),
            entries: BTreeMap::new(),
            unsaved: Default::default(),
            number: 0,
            problems: Vec::new(),
            #[cfg(test)]
            saves_left: None,
            #[cfg(test)]
            disk_full: false,
        };
        let mut corrupt = Vec::new();
        for file in fs::read_dir(dir).map_err(file_error("read", dir))?.flatten() {
            let path = file.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some(TASK_ENDING) => ledger.load(&path),
                Some("corrupt") => corrupt.push(path),
                // Left by a crash between writing and renaming: the old file is still the true one.
                Some("tmp") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        let number_path = dir.join(NUMBER_FILE);
        match fs::read(&number_path) {
            Ok(bytes) => match unseal::<u64>(&bytes) {
                Ok(number) => ledger.number = number,
                Err(why) => ledger.set_aside(&number_path, &why),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(file_error("read", &number_path)(e)),
        }
        let highest = ledger.entries.values().map(|e| e.order.number).max().unwrap_or(0);
        ledger.number = ledger.number.max(highest);
        corrupt.sort();
        for old in corrupt.iter().rev().skip(CORRUPT_KEPT_MAX) {
            let _ = fs::remove_file(old);
        }
        Ok(ledger)
    }

    fn load(&mut self, path: &Path) {
        let loaded = fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| unseal::<Entry>(&bytes));
        match loaded {
            Ok(entry) => drop(self.entries.insert(entry.id(), entry)),
            Err(why) => self.set_aside(path, &why),
        }
    }

    fn set_aside(&mut self, path: &Path, why: &str) {
        let mut to = path.as_os_str().to_owned();
        to.push(".corrupt");
        let text =
            format!("ledger file {} cannot be believed ({why}); it was set aside as {}", path.display(), to.to_string_lossy());
        tracing::error!("{text}");
        if let Err(e) = fs::rename(path, &to) {
            tracing::error!("setting it aside failed: {e}");
        }
        self.problems.push(text);
    }

    fn path(&self, task: TaskId) -> PathBuf {
        self.dir.join(format!("{task}.{TASK_ENDING}"))
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
        #[cfg(test)]
        if let Some(left) = &mut self.saves_left {
            *left = left.checked_sub(1).ok_or(LedgerError::Crashed)?;
        }
        #[cfg(test)]
        if self.disk_full {
            return Err(file_error("write", path)(io::ErrorKind::StorageFull.into()));
        }
        write_durably(path, bytes, 0o600).map_err(file_error("write", path))
    }

    /// What was found wrong when opening.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The highest order number ever taken.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All entries, by task.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// One entry.
    pub fn get(&self, task: TaskId) -> Option<&Entry> {
        self.entries.get(&task)
    }

    /// The unfinished tasks, lowest order number first.
    pub fn unfinished(&self) -> Vec<TaskId> {
        let mut open: Vec<&Entry> = self.entries.values().filter(|e| !e.state.is_finished()).collect();
        open.sort_unstable_by_key(|e| e.order.number);
        open.into_iter().map(Entry::id).collect()
    }

    /// Takes a new order: entry and number are on the disk when this returns.
    pub fn take(&mut self, entry: Entry) -> Result<(), LedgerError> {
        if self.entries.len() >= TASKS_MAX {
            return Err(LedgerError::Full);
        }
        let number = entry.order.number;
        self.write_entry(&entry)?;
        let id = entry.id();
        let sealed = seal(&number).map_err(|why| LedgerError::Encode { task: id, why })?;
        let path = self.dir.join(NUMBER_FILE);
        if let Err(e) = self.write(&path, &sealed) {
            // Half taken is not taken: the server will send it again.
            let _ = fs::remove_file(self.path(id));
            return Err(e);
        }
        self.number = self.number.max(number);
        self.entries.insert(id, entry);
        Ok(())
    }

    fn write_entry(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let bytes = seal(entry).map_err(|why| LedgerError::Encode { task: entry.id(), why })?;
        let path = self.path(entry.id());
        self.write(&path, &bytes)
    }

    /// Saves an entry's new form. On failure the old form stays, on the disk and here.
    pub fn save(&mut self, entry: Entry) -> Result<(), LedgerError> {
        if !self.entries.contains_key(&entry.id()) {
            return Err(LedgerError::Unknown(entry.id()));
        }
        self.write_entry(&entry)?;
        self.unsaved.remove(&entry.id());
        self.entries.insert(entry.id(), entry);
        Ok(())
    }

    /// Keeps an entry's new form in memory when the disk refuses it: a true report must still reach the server.
    pub fn keep_unsaved(&mut self, entry: Entry) {
        self.unsaved.insert(entry.id());
        self.entries.insert(entry.id(), entry);
    }

    /// Tries again to save what is in memory only.
    pub fn retry_unsaved(&mut self) {
        for id in self.unsaved.clone() {
            let Some(entry) = self.entries.get(&id).cloned() else { continue };
            if self.write_entry(&entry).is_ok() {
                self.unsaved.remove(&id);
            }
        }
    }

    /// Reports the server has not stored yet, oldest order first.
    pub fn outbox(&self) -> Vec<TaskReport> {
        let mut due: Vec<&Entry> = self.entries.values().filter(|e| e.report.seq > e.stored_seq).collect();
        due.sort_by_key(|e| e.order.number);
        due.into_iter().map(|e| e.report.clone()).collect()
    }

    /// The server has stored the report with `seq`. A stored final report ends the entry.
    pub fn stored(&mut self, task: TaskId, seq: u64) -> Result<(), LedgerError> {
        let Some(entry) = self.entries.get_mut(&task) else { return Ok(()) };
        entry.stored_seq = entry.stored_seq.max(seq);
        // Not written by itself: losing it costs one repeated report.
        if entry.state.is_finished() && entry.stored_seq >= entry.report.seq {
            self.forget(task)?;
        }
        Ok(())
    }

    /// Drops a task.
    pub fn forget(&mut self, task: TaskId) -> Result<(), LedgerError> {
        self.entries.remove(&task);
        self.unsaved.remove(&task);
        let path = self.path(task);
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(&self.dir).map_err(file_error("write", &self.dir)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(file_error("remove", &path)(e)),
        }
    }

    /// Keeps the outbox within its bound: the oldest final reports go first. Returns the dropped tasks.
    pub fn prune(&mut self) -> Vec<TaskId> {
        let mut finals: Vec<(u64, TaskId)> =
            self.entries.values().filter(|e| e.state.is_finished()).map(|e| (e.order.number, e.id())).collect();
        finals.sort_unstable();
        let drop = finals.len().saturating_sub(OUTBOX_MAX);
        let dropped: Vec<TaskId> = finals.into_iter().take(drop).map(|(_, id)| id).collect();
        for id in &dropped {
            if let Err(e) = self.forget(*id) {
                tracing::warn!("{e}");
            }
        }
        dropped
    }
}

#[derive(Serialize, Deserialize)]
struct Seal {
    sha256: String,
}

pub(crate) fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let body = serde_json::to_vec(value).map_err(|e| e.to_string())?;
    let mut out = serde_json::to_vec(&Seal { sha256: fingerprint(&body) }).map_err(|e| e.to_string())?;
    out.push(b'\n');
    out.extend(body);
    out.push(b'\n');
    Ok(out)
}

pub(crate) fn unseal<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let at = bytes.iter().position(|b| *b == b'\n').ok_or("it is truncated")?;
    let (head, rest) = bytes.split_at(at);
    let body = rest[1..].strip_suffix(b"\n").ok_or("it is truncated")?;
    let sealed: Seal = serde_json::from_slice(head).map_err(|e| e.to_string())?;
    if fingerprint(body) != sealed.sha256 {
        return Err("its checksum does not fit".to_owned());
    }
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
