//! The fleet in memory: which updates, advisories and vulnerabilities touch which host, as room `applicability` decides it
//! from what the store and the content hold. [`crate::reconcile`] keeps it up to date; operations read it. Nothing here is
//! lost with the process: [`state`] keeps a copy, and without one all of it is read and computed again.

pub(crate) mod catalogue;
pub(crate) mod feeds;
pub(crate) mod hosts;
pub(crate) mod page;
pub(crate) mod roots;
mod severity;
pub(crate) mod sight;
pub(crate) mod since;
pub(crate) mod standing;
pub(crate) mod state;
pub(crate) mod vulnerabilities;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use drydock_domain::advisory::Severity;
use drydock_domain::applicability::Fleet;
use drydock_domain::applicability::facts::View;
use drydock_domain::ids::{EnvironmentId, FeedId, InstanceId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::Control;
use crate::error::{Error, Result};
use catalogue::{Catalogue, Voice};
use since::Since;
pub use state::PictureFile;
use vulnerabilities::Vulnerabilities;

/// What this process holds of the fleet.
#[derive(Default)]
pub(crate) struct FleetPart {
    /// One import of a feed at a time.
    pub(crate) importing: tokio::sync::Mutex<()>,
    /// `None` until the first picture is complete.
    model: RwLock<Option<Model>>,
    /// Counts changes made by this process that may concern many hosts.
    changes: AtomicU64,
    /// Hosts that changed.
    hosts: Mutex<BTreeSet<InstanceId>>,
    /// What was last looked at; held while the picture is brought up to date.
    pub(crate) looked_at: tokio::sync::Mutex<LookedAt>,
    wake: Notify,
    /// Where the picture is kept.
    pub(crate) file: OnceLock<PictureFile>,
    /// What was done for it by this process.
    pub(crate) work: Work,
}

/// Counts of [`FleetWork`].
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) classes_computed: AtomicU64,
    pub(crate) hosts_read: AtomicU64,
    pub(crate) feeds_read: AtomicU64,
    pub(crate) snapshots_read: AtomicU64,
    pub(crate) snapshots_compared: AtomicU64,
}

/// What was done to know which updates and vulnerabilities touch which host, by this process so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetWork {
    /// Results computed: one for all hosts that are alike.
    pub classes_computed: u64,
    /// Hosts whose inventory was read.
    pub hosts_read: u64,
    /// Feeds of which something was read.
    pub feeds_read: u64,
    /// Snapshots that were read whole.
    pub snapshots_read: u64,
    /// Snapshots of which only what differs from another was read.
    pub snapshots_compared: u64,
}

impl Work {
    pub(crate) fn add(count: &AtomicU64, n: usize) {
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Which changes are in the picture.
#[derive(Debug, Default)]
pub(crate) struct LookedAt {
    /// The kept picture was looked for.
    pub(crate) begun: bool,
    /// The picture is another one than the kept one.
    pub(crate) unsaved: bool,
    /// When it was last kept.
    pub(crate) saved_at: Option<Timestamp>,
    /// Of feeds and of sources, counted by this process; `None`: nothing was looked at yet.
    pub(crate) changes: Option<(u64, u64)>,
    /// When everything was last looked at.
    pub(crate) all_at: Option<Timestamp>,
}

/// The picture.
#[derive(Default)]
pub(crate) struct Model {
    /// What decides.
    pub(crate) engine: Fleet,
    /// The words of advisories.
    pub(crate) catalogue: Catalogue,
    /// What is known of CVEs.
    pub(crate) vulnerabilities: Vulnerabilities,
    /// Since when they are open where.
    pub(crate) since: Since,
    /// What each host was put in from.
    pub(crate) hosts: BTreeMap<InstanceId, HostSeen>,
    /// What each feed was put in from.
    pub(crate) feeds: BTreeMap<FeedId, FeedSeen>,
    /// Snapshots that hosts look at: by root, where they come from.
    pub(crate) roots: BTreeMap<String, RootSeen>,
    /// All inputs were looked at: before that a restored picture answers nothing.
    pub(crate) complete: bool,
    /// See [`Model::severities`]; emptied with every change.
    severities: OnceLock<HashMap<String, Severity>>,
}

/// A host as it was put in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostSeen {
    /// Its name.
    pub(crate) name: String,
    /// Of everything that decides: the same stamp, the same answer.
    pub(crate) stamp: String,
    /// What it sees; empty: no source of this server.
    pub(crate) views: Vec<View>,
    /// The environment it looks through.
    pub(crate) place: Option<EnvironmentId>,
}

/// A feed as it was put in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedSeen {
    /// Its name.
    pub(crate) name: String,
    /// Its version then.
    pub(crate) version: i64,
    /// Digests of its advisories by id.
    pub(crate) advisories: HashMap<String, String>,
    /// Digests of its chunks with vulnerabilities by bucket.
    pub(crate) vulnerabilities: HashMap<String, String>,
    /// Digests of its chunks with statements by bucket.
    pub(crate) statements: HashMap<String, String>,
}

/// A snapshot that is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootSeen {
    /// The source it is of.
    pub(crate) source: String,
    /// Its number there.
    pub(crate) number: u32,
    /// Environments that point at it, by name; `latest` for the view without one.
    pub(crate) environments: Vec<String>,
}

impl Model {
    /// The picture is another one: what was made of the one before is made again.
    pub(crate) fn changed(&mut self) {
        self.severities = OnceLock::new();
    }

    /// Who says it, for people.
    pub(crate) fn voice(&self, voice: &Voice) -> String {
        match voice {
            Voice::Feed(id) => self.feeds.get(id).map_or_else(|| format!("feed {id}"), |f| format!("feed {}", f.name)),
            Voice::Root(root) => match self.roots.get(root) {
                Some(seen) => format!("source {}", seen.source),
                None => "source".to_owned(),
            },
        }
    }

    /// Does the host see sources of this server? Then what the server says of its updates counts.
    pub(crate) fn sees_sources(&self, host: InstanceId) -> bool {
        self.hosts.get(&host).is_some_and(|seen| !seen.views.is_empty())
    }

    /// A host's name.
    pub(crate) fn host_name(&self, host: InstanceId) -> String {
        self.hosts.get(&host).map_or_else(|| host.to_string(), |h| h.name.clone())
    }
}

impl FleetPart {
    /// Something changed that may concern many hosts.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Changes so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Hosts that changed since the last time they were taken.
    pub(crate) fn changed_hosts(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changed.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The picture, complete or not: for who makes it.
    pub(crate) async fn model(&self) -> RwLockReadGuard<'_, Option<Model>> {
        self.model.read().await
    }

    /// The picture as it is. For threads that may wait.
    pub(crate) fn model_to_read(&self) -> RwLockReadGuard<'_, Option<Model>> {
        self.model.blocking_read()
    }

    /// The picture, to be changed. For threads that may wait.
    pub(crate) fn model_to_change(&self) -> RwLockWriteGuard<'_, Option<Model>> {
        self.model.blocking_write()
    }
}

impl Control {
    /// Keeps the picture of the fleet in a file, so that the next process goes on from it. One that was given before stays.
    #[must_use]
    pub fn with_picture_file(self, file: PictureFile) -> Self {
        self.fleet().file.get_or_init(|| file);
        self
    }

    /// What this process did to know the fleet.
    pub fn fleet_work(&self) -> FleetWork {
        let work = &self.fleet().work;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FleetWork {
            classes_computed: of(&work.classes_computed),
            hosts_read: of(&work.hosts_read),
            feeds_read: of(&work.feeds_read),
            snapshots_read: of(&work.snapshots_read),
            snapshots_compared: of(&work.snapshots_compared),
        }
    }

    /// Feeds, sources or what hosts see of them changed: the fleet is looked at again.
    pub(crate) fn fleet_moved(&self) {
        self.fleet().changed();
        self.policies().changed();
    }

    /// What decides about one host changed.
    pub(crate) fn fleet_host_changed(&self, host: InstanceId) {
        self.fleet().changed_hosts().insert(host);
        self.policies().host_changed(host);
        self.fleet().wake.notify_one();
    }

    /// The picture, for an operation that needs it.
    pub(crate) async fn fleet_model(&self) -> Result<RwLockReadGuard<'_, Model>> {
        let guard = self.fleet().model().await;
        RwLockReadGuard::try_map(guard, |model| model.as_ref().filter(|m| m.complete)).map_err(|_| Error::Unavailable {
            message: "the server has just begun and is still reading advisories and inventories",
            source: None,
        })
    }
}
