//! What a server with content has besides its rows: the content itself, the keys that sign repositories, and what this
//! process remembers of them. Nothing here is lost with the process.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use drydock_content::openpgp::{KeyState, OpenPgpError, RepositoryKey, RepositoryKeys};
use drydock_content::snapshot::SnapshotRoot;
use drydock_content::{Content, Head, ProgressSink, Publication, SyncError};
use drydock_domain::source::resolve::DebFacts;
use jiff::Timestamp;

use crate::content_views::RepositoryKeyView;
use crate::error::{Error, Result};
use crate::ops::AccessCache;

/// A file of the content directory whose lock keeps collections and makers of content in several processes apart.
const LOCK: &str = "collecting.lock";
/// Whoever waits for the end of a collection in another process looks so often, and so many times: a minute.
const HOLD_LOOKS_EVERY: Duration = Duration::from_millis(100);
const HOLD_LOOKS: usize = 600;

/// Content and what goes with it.
pub(crate) struct ContentPart {
    content: Content,
    keys: RwLock<RepositoryKeys>,
    /// One change of the keys at a time.
    rotation: tokio::sync::Mutex<()>,
    /// Held for reading by whatever makes or publishes content that no row refers to yet, for writing by a collection:
    /// what is being made is never collected. Other processes: see [`ContentPart::lock_content`].
    pub(crate) collecting: tokio::sync::RwLock<()>,
    /// What serving remembers.
    access: Mutex<AccessCache>,
    /// Fingerprints of the keys that every stored head was last seen signed with.
    signed_with: Mutex<Option<Vec<String>>>,
    /// Counts changes made by this process that may concern the documents of many hosts.
    changes: AtomicU64,
    /// What the documents of hosts were last made from.
    documents: Mutex<DocumentsSeen>,
    deb_facts: Mutex<DebFactsCache>,
}

/// What the documents of hosts were last made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DocumentsSeen {
    /// The count of changes then; `None`: nothing was looked at yet.
    pub(crate) changes: Option<u64>,
    /// A stamp of the inputs.
    pub(crate) stamp: String,
}

/// How deb snapshots were published, by root. A root never means anything else.
#[derive(Default)]
pub(crate) struct DebFactsCache(HashMap<String, DebFacts>);

/// Snapshots of which that is remembered, count. Beyond it all are forgotten.
const DEB_FACTS_MAX: usize = 4096;

impl DebFactsCache {
    pub(crate) fn get(&self, root: &str) -> Option<&DebFacts> {
        self.0.get(root)
    }

    pub(crate) fn put(&mut self, root: String, facts: DebFacts) {
        if self.0.len() >= DEB_FACTS_MAX {
            self.0.clear();
        }
        self.0.insert(root, facts);
    }
}

impl ContentPart {
    pub(crate) fn new(content: Content, keys: RepositoryKeys) -> Self {
        ContentPart {
            content,
            keys: RwLock::new(keys),
            rotation: tokio::sync::Mutex::default(),
            collecting: tokio::sync::RwLock::default(),
            access: Mutex::default(),
            signed_with: Mutex::default(),
            changes: AtomicU64::new(0),
            documents: Mutex::default(),
            deb_facts: Mutex::default(),
        }
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, AccessCache> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed that may concern the documents of many hosts, or what is served.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.access().forget();
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn documents(&self) -> MutexGuard<'_, DocumentsSeen> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deb_facts(&self) -> MutexGuard<'_, DebFactsCache> {
        self.deb_facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps collections of other processes away (`exclusive`: everything that makes content there), as long as the file
    /// is open. `None`: they are at it.
    pub(crate) async fn lock_content(&self, exclusive: bool) -> Result<Option<File>> {
        use std::os::unix::fs::OpenOptionsExt;
        const DOING: &str = "lock the content directory";
        let path = self.content.dir().join(LOCK);
        let lock = move || {
            let file = File::options().create(true).append(true).mode(0o600).open(path)?;
            match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(e)) => Err(e),
            }
        };
        blocking(DOING, lock).await?.map_err(|e: std::io::Error| Error::Internal { doing: DOING, source: Box::new(e) })
    }

    /// The same for what makes or reads content beside the server: waits for the end of a collection, most take a moment.
    pub(crate) async fn hold_content(&self) -> Result<File> {
        for _ in 0..HOLD_LOOKS {
            if let Some(held) = self.lock_content(false).await? {
                return Ok(held);
            }
            tokio::time::sleep(HOLD_LOOKS_EVERY).await;
        }
        Err(Error::conflict("the server has been freeing content for a minute; try again when it has ended"))
    }

    /// Public keys that hosts are to know, armoured.
    pub(crate) fn public_keys(&self) -> Result<Vec<String>> {
        self.keys().public().map_err(|e| Error::Internal { doing: "read the repository keys", source: Box::new(e) })
    }

    /// The keys as people see them.
    pub(crate) fn key_views(&self) -> Result<Vec<RepositoryKeyView>> {
        let public = self.public_keys()?;
        let views = self.keys().states().into_iter().zip(public).map(|(key, public_key)| RepositoryKeyView {
            fingerprint: key.fingerprint,
            public_key,
            signs: key.state != KeyState::Next,
        });
        Ok(views.collect())
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> RepositoryKeys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fingerprints of the keys that sign now.
    pub(crate) fn signing_fingerprints(&self) -> Vec<String> {
        self.keys().signing().iter().map(|key| key.fingerprint().to_owned()).collect()
    }

    pub(crate) fn signed_with(&self) -> Option<Vec<String>> {
        self.signed_with.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_signed_with(&self, fingerprints: Vec<String>) {
        *self.signed_with.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprints);
    }

    /// Changes the keys: `change` works on a copy (and writes files), which then takes the place of the old ones.
    pub(crate) async fn change_keys(
        &self,
        change: impl FnOnce(&mut RepositoryKeys) -> std::result::Result<(), OpenPgpError> + Send + 'static,
    ) -> Result<()> {
        let _one_at_a_time = self.rotation.lock().await;
        let mut keys = self.keys();
        let changed = blocking("change the repository keys", move || change(&mut keys).map(|()| keys)).await?;
        let changed = changed.map_err(|e| Error::conflict(e.to_string()))?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }

    /// The publication of a snapshot, made when it is not there.
    pub(crate) async fn publish(&self, root: SnapshotRoot, sink: &ProgressSink) -> std::result::Result<Publication, SyncError> {
        let content = self.content.clone();
        drydock_content::sync::blocking("publishing a snapshot", sink, move |sink| content.publish(&root, sink)).await
    }

    /// The head of a publication, dated `at` and signed.
    pub(crate) async fn head(&self, publication: &Publication, at: Timestamp) -> Result<Head> {
        let (content, publication) = (self.content.clone(), publication.clone());
        let keys: Vec<RepositoryKey> = self.keys().signing();
        let made = blocking("sign the head of a repository", move || content.head(&publication, at, &keys)).await?;
        made.map_err(|e| Error::Internal { doing: "sign the head of a repository", source: Box::new(e) })
    }
}

/// Work that reads and writes files, away from the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(doing: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Internal { doing, source: Box::new(e) })
}
