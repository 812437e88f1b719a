//! The one value every face holds: the store, the clock, the work key, the wake-ups.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use drydock_content::Content;
use drydock_content::openpgp::RepositoryKeys;
use drydock_domain::ids::{AccessTokenId, ApiKeyId, ContentJobId, InstanceId, JobId};
use drydock_domain::instance::{Reachability, reachability};
use drydock_store::history_memo::Memo;
use drydock_store::{Reader, Store, Tx};
use jiff::Timestamp;
use tokio::sync::Notify;
use uuid::{ContextV7, Uuid};

use crate::access_part::AccessPart;
use crate::audit_part::{AuditPart, CallNotes};
use crate::calendar_part::CalendarPart;
use crate::content_part::ContentPart;
use crate::context::{Clock, OpCtx, Principal};
use crate::error::{Error, Result};
use crate::fleet::FleetPart;
use crate::hub::{HintHub, JobWatch, JobWatches};
use crate::key::WorkKey;
use crate::ops::intake;
use crate::password::Passwords;
use crate::policy_part::PolicyPart;
use crate::reconcile::GateAsks;
use crate::selection::SectionCache;

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A host that took no order and has been silent for this long is given up by a patch job, seconds.
    pub no_agent_after_secs: i64,
    /// A pending host asks again after this, seconds.
    pub enrol_retry_secs: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { no_agent_after_secs: 300, enrol_retry_secs: 30 }
    }
}

/// Operations and what they need. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    store: Store,
    config: Config,
    key: WorkKey,
    clock: Arc<dyn Clock>,
    began: Timestamp,
    hub: HintHub,
    watches: JobWatches<JobId>,
    content_watches: JobWatches<ContentJobId>,
    content: OnceLock<ContentPart>,
    fleet: FleetPart,
    wake: Notify,
    contacts: Mutex<Contacts>,
    ids: Mutex<ContextV7>,
    sections: Mutex<SectionCache>,
    intake: intake::Queue,
    history: Memo,
    gate_asks: GateAsks,
    calendars: CalendarPart,
    policies: PolicyPart,
    audit: AuditPart,
    access: AccessPart,
    passwords: Passwords,
    undone_halts: Mutex<HashSet<(JobId, Timestamp)>>,
}

/// Contacts not yet written: the newest per instance and token. Losing them costs some seconds of `last seen`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contacts {
    /// When an agent spoke.
    pub(crate) instances: HashMap<InstanceId, Timestamp>,
    /// When a token was used.
    pub(crate) tokens: HashMap<AccessTokenId, Timestamp>,
    /// When a request was signed with an API key.
    pub(crate) api_keys: HashMap<ApiKeyId, Timestamp>,
}

impl Control {
    /// Puts it together; nothing is read or started.
    pub fn new(store: Store, config: Config, key: WorkKey, clock: Arc<dyn Clock>) -> Self {
        Control(Arc::new(Inner {
            store,
            config,
            key,
            began: clock.now(),
            clock,
            hub: HintHub::default(),
            watches: JobWatches::default(),
            content_watches: JobWatches::default(),
            content: OnceLock::new(),
            fleet: FleetPart::default(),
            wake: Notify::new(),
            contacts: Mutex::default(),
            ids: Mutex::new(ContextV7::new()),
            sections: Mutex::default(),
            intake: intake::Queue::default(),
            history: Memo::default(),
            gate_asks: GateAsks::default(),
            calendars: CalendarPart::default(),
            policies: PolicyPart::default(),
            audit: AuditPart::default(),
            access: AccessPart::default(),
            passwords: Passwords::default(),
            undone_halts: Mutex::default(),
        }))
    }

    /// The same with content: software sources are synced, promoted and served. Content that was given before stays.
    #[must_use]
    pub fn with_content(self, content: Content, keys: RepositoryKeys) -> Self {
        let part = ContentPart::new(content, keys);
        self.0.content.get_or_init(|| part);
        self
    }

    /// Does this server hold content?
    pub fn has_content(&self) -> bool {
        self.0.content.get().is_some()
    }

    /// The content, to serve files from with what [`Control::authorize_content`] answers.
    pub fn content(&self) -> Option<&Content> {
        self.0.content.get().map(ContentPart::content)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// What an operation takes, for a request that comes in now.
    pub fn ctx(&self, who: Principal, request_id: impl Into<String>) -> OpCtx {
        OpCtx { who, request_id: request_id.into(), now: self.now(), address: None, notes: CallNotes::default() }
    }

    /// Open streams of agents.
    pub fn hub(&self) -> &HintHub {
        &self.0.hub
    }

    /// Tells when a patch job may have changed. Take it first, then read.
    pub fn watch_job(&self, job: JobId) -> JobWatch {
        self.0.watches.watch(job)
    }

    /// Tells when a content job may have changed. Take it first, then read.
    pub fn watch_content_job(&self, job: ContentJobId) -> JobWatch {
        self.0.content_watches.watch(job)
    }

    /// Makes the reconcilers look now instead of at their next turn.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Ed25519 public key of this server's orders.
    pub fn work_public_key(&self) -> [u8; 32] {
        self.0.key.public()
    }

    /// Notes that the instance's agent spoke now. Written in batches by the reconciler.
    pub fn touch(&self, instance: InstanceId) {
        let now = self.now();
        self.contacts().instances.insert(instance, now);
    }

    /// Can the server serve? Asks the database.
    pub async fn ready(&self) -> Result<()> {
        self.0.store.ping().await.map_err(Error::from)
    }

    /// Copies the database (SQLite) to a new file while everything goes on.
    pub async fn backup_to(&self, path: &Path) -> Result<()> {
        self.0.store.backup_to(path).await.map_err(Error::from)
    }

    pub(crate) async fn read(&self) -> Result<Reader> {
        Ok(self.0.store.read().await?)
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(self.0.store.begin().await?)
    }

    /// Inventory reports on their way to the database.
    pub(crate) fn intake(&self) -> &intake::Queue {
        &self.0.intake
    }

    /// Interned packages and classes that this process remembers.
    pub(crate) fn history(&self) -> &Memo {
        &self.0.history
    }

    /// Questions to webhooks of gates that are under way.
    pub(crate) fn gate_asks(&self) -> &GateAsks {
        &self.0.gate_asks
    }

    /// Whom calendars reach, as this process remembers it.
    pub(crate) fn calendar_part(&self) -> &CalendarPart {
        &self.0.calendars
    }

    /// The statements that decide, put together.
    pub(crate) fn access_part(&self) -> &AccessPart {
        &self.0.access
    }

    /// Hashes of passwords.
    pub(crate) fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// What this process remembers of policies.
    pub(crate) fn policies(&self) -> &PolicyPart {
        &self.0.policies
    }

    /// What waits to be recorded, and the end of the audit's chain.
    pub(crate) fn audit_part(&self) -> &AuditPart {
        &self.0.audit
    }

    /// Halts whose wave has been looked at for an undo; lost at a restart, which costs another look.
    pub(crate) fn undone_halts(&self) -> MutexGuard<'_, HashSet<(JobId, Timestamp)>> {
        self.0.undone_halts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn config(&self) -> Config {
        self.0.config
    }

    pub(crate) fn key(&self) -> &WorkKey {
        &self.0.key
    }

    pub(crate) fn content_part(&self) -> Result<&ContentPart> {
        const MESSAGE: &str = "this server was started without its content directory";
        self.0.content.get().ok_or(Error::Unavailable { message: MESSAGE, source: None })
    }

    pub(crate) fn fleet(&self) -> &FleetPart {
        &self.0.fleet
    }

    pub(crate) fn content_job_changed(&self, job: ContentJobId) {
        self.0.content_watches.changed(job);
    }

    pub(crate) fn job_changed(&self, job: JobId) {
        self.0.watches.changed(job);
    }

    pub(crate) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    pub(crate) fn contacts(&self) -> MutexGuard<'_, Contacts> {
        self.0.contacts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inventory sections that filters have read.
    pub(crate) fn sections(&self) -> MutexGuard<'_, SectionCache> {
        self.0.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the instance was last heard of: the row, or the note not yet written.
    pub(crate) fn last_seen(&self, instance: InstanceId, stored: Option<Timestamp>) -> Option<Timestamp> {
        stored.max(self.contacts().instances.get(&instance).copied())
    }

    /// Silence counts from here at the earliest: while this server was away it heard nobody.
    pub(crate) fn patience_from(&self, since: Timestamp) -> Timestamp {
        since.max(self.0.began)
    }

    /// An open stream counts as a sign of life.
    pub(crate) fn reachability(&self, instance: InstanceId, last_seen: Option<Timestamp>, now: Timestamp) -> Reachability {
        if self.0.hub.is_attached(instance) { Reachability::Online } else { reachability(last_seen, now) }
    }

    /// A new id. Ids sort by the time they are made at; ids of one process never go back, also within a millisecond.
    pub(crate) fn mint(&self, now: Timestamp) -> Uuid {
        let since = now.as_nanosecond().max(0);
        let seconds = u64::try_from(since / 1_000_000_000).unwrap_or(0);
        let nanos = u32::try_from(since % 1_000_000_000).unwrap_or(0);
        let context = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos))
    }
}
