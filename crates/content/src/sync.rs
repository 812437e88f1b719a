//! What goes into a sync and comes out of it, whatever the format: requests, states, outcomes, findings, progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drydock_domain::ids::SourceId;
use drydock_domain::inventory::Finding;
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::SnapshotStats;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ContentError;
use crate::fetch::{FetchError, Validators};
use crate::openpgp::OpenPgpError;
use crate::snapshot::SnapshotRoot;

/// Findings kept of one sync.
pub const FINDINGS_MAX: usize = 1000;
/// Longest subject or message of a finding, bytes.
pub const FINDING_MAX_BYTES: usize = 1024;
/// Version of [`SyncState`]'s form; a state of another version is as good as none.
pub const SYNC_STATE_VERSION: u32 = 1;

/// What to sync.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Whose units these are.
    pub source: SourceId,
    /// The source, with its secrets.
    pub spec: SourceSpec,
    /// State of the last successful sync.
    pub previous: Option<SyncState>,
    /// Now.
    pub now: Timestamp,
}

/// A change of a local source.
#[derive(Debug, Clone)]
pub struct LocalRequest {
    /// Whose units these are.
    pub source: SourceId,
    /// The source.
    pub spec: SourceSpec,
    /// Its newest snapshot.
    pub previous: Option<SnapshotRoot>,
    /// Files to take in. They are read, not moved.
    pub files: Vec<LocalFile>,
    /// Units to take out, by the digest their record names.
    pub remove: Vec<Digest>,
    /// Now.
    pub now: Timestamp,
}

/// An uploaded package file.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name as uploaded; a hint, the file's own header decides.
    pub file_name: String,
}

/// What a sync leaves for the next one. Opaque to callers: they keep it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncState {
    /// [`SYNC_STATE_VERSION`] of the writer.
    pub version: u32,
    /// The snapshot it made.
    pub root: Option<SnapshotRoot>,
    /// Validators of the file that names the others (`repomd.xml`, `InRelease`).
    #[serde(default)]
    pub validators: Option<Validators>,
    /// What else the format keeps, for example the digest of `repomd.xml` and of the settings that shaped the snapshot.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// What a sync made.
#[derive(Debug, Clone)]
pub struct SyncOutcome {
    /// The snapshot, complete.
    pub root: SnapshotRoot,
    /// It differs from the one before.
    pub changed: bool,
    /// Its sizes.
    pub stats: SnapshotStats,
    /// For the next sync.
    pub state: SyncState,
    /// Oddities that were tolerated.
    pub findings: Vec<Finding>,
}

/// Collects findings, bounded.
#[derive(Debug, Default, Clone)]
pub struct Findings {
    kept: Vec<Finding>,
    more: u64,
}

impl Findings {
    /// None yet.
    pub fn new() -> Findings {
        Findings::default()
    }

    /// Adds one; beyond [`FINDINGS_MAX`] it is only counted.
    pub fn note(&mut self, subject: impl AsRef<str>, message: impl AsRef<str>) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { subject: cut(subject.as_ref()), message: cut(message.as_ref()) });
        } else {
            self.more += 1;
        }
    }

    /// Adds those of a part.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.note(finding.subject, finding.message);
        }
    }

    /// Nothing odd was seen.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The list; its last entry says how many more there were.
    pub fn into_vec(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let message = format!("{} more findings are not shown", self.more);
            self.kept.push(Finding { subject: String::new(), message });
        }
        self.kept
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(FINDING_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for example `packages`.
    pub stage: &'static str,
    /// Items or bytes done in this stage.
    pub done: u64,
    /// Of how many, when known.
    pub total: Option<u64>,
}

/// Where progress goes, and where a sync sees that nobody waits for it any more.
#[derive(Clone)]
pub struct ProgressSink {
    report: Arc<dyn Fn(Progress) + Send + Sync>,
    cancelled: Arc<AtomicBool>,
    /// Flags of the sinks this one was made from.
    parents: Vec<Arc<AtomicBool>>,
}

impl ProgressSink {
    /// Reports to `report`, which must not block.
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink { report: Arc::new(report), cancelled: Arc::default(), parents: Vec::new() }
    }

    /// Reports to nobody.
    pub fn none() -> ProgressSink {
        ProgressSink::new(|_| {})
    }

    /// Tells how far it is.
    pub fn report(&self, stage: &'static str, done: u64, total: Option<u64>) {
        (self.report)(Progress { stage, done, total });
    }

    /// Reports to the same place; is cancelled with this one and, besides, alone.
    pub(crate) fn child(&self) -> ProgressSink {
        let mut child = self.clone();
        child.parents.push(std::mem::take(&mut child.cancelled));
        child
    }

    /// Makes every later [`Self::check`] fail.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Nobody waits any more.
    pub fn is_cancelled(&self) -> bool {
        std::iter::once(&self.cancelled).chain(&self.parents).any(|flag| flag.load(Ordering::Relaxed))
    }

    /// Blocking loops ask this every thousand items or so.
    ///
    /// # Errors
    /// [`SyncError::Cancelled`] when the sync was given up.
    pub fn check(&self) -> Result<(), SyncError> {
        if self.is_cancelled() { Err(SyncError::Cancelled) } else { Ok(()) }
    }

    /// Cancels when dropped: held across the awaits of a sync, it tells blocking parts that the future is gone.
    pub(crate) fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }
}

/// See [`ProgressSink::cancel_on_drop`].
pub(crate) struct CancelOnDrop(ProgressSink);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why a sync, an upload or a publication failed. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The upstream could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The signature of a file is missing or not right.
    #[error("the signature of {file} is not accepted: {source}")]
    Signature {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: OpenPgpError,
    },
    /// A file of the upstream cannot be used.
    #[error("{file} of the upstream cannot be used: {problem}; nothing was changed")]
    Metadata {
        /// Which file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The upstream is of a kind that is not handled.
    #[error("{what} is not supported; {advice}")]
    Unsupported {
        /// What.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// The source's own settings cannot work.
    #[error("the source's setting {field} {problem}")]
    Spec {
        /// Which setting.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// An uploaded file is refused.
    #[error("the uploaded file {file} is refused: {problem}")]
    Upload {
        /// Which file.
        file: String,
        /// Why.
        problem: String,
    },
    /// The content directory failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Given up.
    #[error("cancelled")]
    Cancelled,
    /// A worker thread ended without an answer.
    #[error("internal failure while {0}; please report it with the server's log")]
    Worker(String),
}

impl SyncError {
    /// A file of the upstream cannot be used.
    pub fn metadata(file: impl Into<String>, problem: impl Into<String>) -> SyncError {
        SyncError::Metadata { file: file.into(), problem: problem.into() }
    }
}

/// Runs blocking work off the async threads. Its sink is cancelled when the returned future is dropped.
///
/// # Errors
/// The work's own; [`SyncError::Worker`] when it panicked.
pub async fn blocking<T: Send + 'static>(
    what: &'static str,
    progress: &ProgressSink,
    work: impl FnOnce(&ProgressSink) -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    let sink = progress.clone();
    tokio::task::spawn_blocking(move || work(&sink)).await.map_err(|_| SyncError::Worker(what.to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded_and_counted() {
        let mut findings = Findings::new();
        for _ in 0..FINDINGS_MAX + 5 {
            findings.note("x", "ä".repeat(2000));
        }
        let list = findings.into_vec();
        assert_eq!(list.len(), FINDINGS_MAX + 1);
        assert!(list[0].message.len() <= FINDING_MAX_BYTES);
        assert!(list[FINDINGS_MAX].message.starts_with("5 more"));
    }

    #[test]
    fn a_dropped_guard_cancels() {
        let sink = ProgressSink::none();
        let guard = sink.cancel_on_drop();
        assert!(sink.check().is_ok());
        drop(guard);
        assert!(matches!(sink.check(), Err(SyncError::Cancelled)));
    }

    #[test]
    fn a_child_is_cancelled_with_its_parent_and_alone() {
        let parent = ProgressSink::none();
        let (one, two) = (parent.child(), parent.child());
        one.cancel();
        assert!(one.is_cancelled() && !two.is_cancelled() && !parent.is_cancelled());
        parent.cancel();
        assert!(two.is_cancelled());
    }
}
