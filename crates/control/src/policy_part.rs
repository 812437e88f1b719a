//! What this process remembers of policies: revisions it has read, hosts that changed, which documents are up to date. All
//! of it can be lost: it is read and made again.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use drydock_domain::ids::{AssignmentId, InstanceId};
use drydock_domain::policy::OsPolicyAssignment;
use drydock_store::policies;
use jiff::Timestamp;

use crate::Control;
use crate::error::{Error, Result};
use crate::seal::SecretKey;

/// Revisions kept in memory, count; beyond that all are forgotten and read again.
const REVISIONS_KEPT_MAX: usize = 1000;

/// A revision as decisions need it.
#[derive(Debug)]
pub(crate) struct Revision {
    /// As written.
    pub(crate) document: OsPolicyAssignment,
    /// It takes the assignment away.
    pub(crate) deleted: bool,
}

/// What a turn of the reconciler remembers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// [`PolicyPart::changes`] at the last look at all hosts; `None`: there was none.
    pub(crate) changes: Option<u64>,
    /// A rollout is not over.
    pub(crate) active: bool,
    /// When time alone changes something.
    pub(crate) wake_at: Option<Timestamp>,
    /// From what the document of each host was last made.
    pub(crate) made_from: HashMap<InstanceId, String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PolicyPart {
    changes: AtomicU64,
    hosts: Mutex<BTreeSet<InstanceId>>,
    seen: Mutex<Seen>,
    revisions: Mutex<HashMap<(AssignmentId, u64), Arc<Revision>>>,
    key: OnceLock<SecretKey>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PolicyPart {
    /// Something changed that may concern many hosts.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Something changed about one host.
    pub(crate) fn host_changed(&self, host: InstanceId) {
        lock(&self.hosts).insert(host);
    }

    /// Hosts that changed since the last time they were taken.
    pub(crate) fn take_hosts(&self) -> BTreeSet<InstanceId> {
        std::mem::take(&mut *lock(&self.hosts))
    }

    pub(crate) fn has_hosts(&self) -> bool {
        !lock(&self.hosts).is_empty()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub(crate) fn set_key(&self, key: SecretKey) {
        // A key that was given before stays.
        let _ = self.key.set(key);
    }

    pub(crate) fn key(&self) -> Result<&SecretKey> {
        const MESSAGE: &str = "this server was started without the key of its secrets";
        self.key.get().ok_or(Error::Unavailable { message: MESSAGE, source: None })
    }
}

impl Control {
    /// A revision; they never change, so it is read once.
    pub(crate) async fn revision(&self, assignment: AssignmentId, number: u64) -> Result<Option<Arc<Revision>>> {
        let known = lock(&self.policies().revisions).get(&(assignment, number)).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(found) = policies::revision(&mut *self.read().await?, assignment, number).await? else { return Ok(None) };
        let revision = Arc::new(Revision { document: found.document, deleted: found.deleted });
        let mut kept = lock(&self.policies().revisions);
        if kept.len() >= REVISIONS_KEPT_MAX {
            kept.clear();
        }
        kept.insert((assignment, number), Arc::clone(&revision));
        Ok(Some(revision))
    }
}
