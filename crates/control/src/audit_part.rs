//! How the audit is kept: what changes something leaves its record in its own transaction, in the inbox; reads go through a
//! bounded queue in memory, so that no request waits; the *chainer* takes both, at the latest after a second, numbers the
//! records, hashes each with the one before, and signs the end from time to time. Killing the server loses at most the reads
//! of the last second. Absent: what a hash covers (`domain::audit::chain`), and operations on the audit (`ops::audit`).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::audit::chain::{Hash, Seal, SealKind, hash, hex};
use drydock_domain::audit::family::AuditSettings;
use drydock_domain::audit::{NO_PARAMETERS, Outcome, Record};
use drydock_domain::inventory::fingerprint;
use drydock_store::audit::{self, Head};
use drydock_store::records::AuditRecord;
use drydock_store::{Tx, commit, settings};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::Control;
use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::ops::SentDocuments;

/// Reads that wait to be chained, records: some seconds of a very busy server, 10 MB.
const QUEUE_MAX: usize = 16 * 1024;
/// Records chained in one transaction, count.
const BATCH: usize = 1000;
/// A seal is made after so many records …
const SEAL_RECORDS: u64 = 1000;
/// … or after so long, seconds, when there is something to seal.
const SEAL_AFTER_SECS: i64 = 60;
/// Settings are read anew after this, seconds: another server on the same database may have changed them.
const SETTINGS_FRESH_SECS: i64 = 10;
/// Batches that another server may win in a row before this one leaves the rest to its next turn, count.
const RACES_MAX: usize = 5;
/// Name of the setting.
pub(crate) const SETTING: &str = "audit";

/// What this process keeps of the audit.
pub(crate) struct AuditPart {
    queue: Mutex<VecDeque<Record<'static>>>,
    lost: AtomicU64,
    wake: Notify,
    settings: Mutex<Option<(Timestamp, AuditSettings)>>,
    /// What went to hosts and is on record.
    pub(crate) sent: SentDocuments,
    /// One turn of the chainer at a time.
    chain: tokio::sync::Mutex<Chain>,
}

impl Default for AuditPart {
    fn default() -> Self {
        AuditPart {
            queue: Mutex::default(),
            lost: AtomicU64::new(0),
            wake: Notify::new(),
            settings: Mutex::default(),
            sent: SentDocuments::default(),
            chain: tokio::sync::Mutex::new(Chain { known: None, sealed: None, encoded: Vec::new() }),
        }
    }
}

/// What the chainer remembers.
struct Chain {
    /// The end of the chain as it was left: an end that goes back was tampered with.
    known: Option<Head>,
    /// Number and time of the last seal this process knows.
    sealed: Option<(u64, Timestamp)>,
    encoded: Vec<u8>,
}

/// What travels with a request for its records.
#[derive(Clone, Default)]
pub struct CallNotes(Arc<Notes>);

#[derive(Default)]
struct Notes {
    /// Of each part of the request (`query`, `body`) what may be recorded.
    parameters: Mutex<Map<String, Value>>,
    /// SHA-256 over what was asked for until now, hex.
    asked: Mutex<Option<String>>,
    /// Reads that wait for the end of the request; absent when nobody will tell it.
    reads: Mutex<Option<Vec<Record<'static>>>>,
}

impl CallNotes {
    /// For a request whose end is told with [`Control::audit_call_ended`].
    pub fn of_request() -> CallNotes {
        let notes = Notes { reads: Mutex::new(Some(Vec::new())), ..Notes::default() };
        CallNotes(Arc::new(notes))
    }

    /// What a part of the request asks for; must not hold a secret.
    pub fn set_parameters(&self, part: &str, value: Value) {
        self.0.parameters.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), value);
    }

    /// More of what the request asks for, to know it again: method and path, then the body. Nothing of it is kept but a
    /// digest.
    pub fn asked(&self, bytes: &[u8]) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = asked.take().unwrap_or_default();
        *asked = Some(fingerprint(&[before.as_bytes(), b"\n", bytes].concat()));
    }

    /// What the request asks for, as a digest; absent where nobody told ([`CallNotes::asked`]).
    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn parameters(&self) -> String {
        drydock_domain::audit::parameters(&*self.0.parameters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reads(&self) -> MutexGuard<'_, Option<Vec<Record<'static>>>> {
        self.0.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CallNotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallNotes")
    }
}

/// Where a call of a host came from.
#[derive(Debug, Clone, Default)]
pub struct CallFrom {
    /// The request.
    pub request_id: String,
    /// Where from, when it came over the network.
    pub address: Option<IpAddr>,
}

impl From<&str> for CallFrom {
    fn from(request_id: &str) -> CallFrom {
        CallFrom { request_id: request_id.to_owned(), address: None }
    }
}

impl From<&OpCtx> for CallFrom {
    fn from(ctx: &OpCtx) -> CallFrom {
        CallFrom { request_id: ctx.request_id.clone(), address: ctx.address }
    }
}

/// A try to sign in, or to end a session.
#[derive(Debug, Clone)]
pub struct SignInTry<'a> {
    /// What happened: `session.sign-in`, `session.sign-out`, `session.revoke`, …
    pub operation: &'static str,
    /// Who it is, when that is known.
    pub who: Option<&'a Principal>,
    /// The name that was given, when it is not.
    pub name: &'a str,
    /// Where from.
    pub address: Option<IpAddr>,
    /// The request.
    pub request_id: &'a str,
    /// How: `password`, `password and code`, `oidc`, `signature` …
    pub way: &'a str,
    /// Why not; absent: it was let in.
    pub refused: Option<&'a str>,
}

impl Control {
    /// Records in the transaction of what happened.
    pub(crate) async fn audit_in(&self, tx: &mut Tx, record: Record<'_>) -> Result<()> {
        let id = self.mint(record.at);
        audit::insert(tx, id, &record.bounded()).await?;
        // The turn that this wakes comes after the commit or a moment too early; then the next one, in a second, finds it.
        self.audit_part().wake.notify_one();
        Ok(())
    }

    /// Records in a transaction of its own; what cannot be stored is logged.
    pub(crate) async fn audit_alone(&self, record: Record<'_>) {
        let (operation, outcome) = (record.operation.to_string(), record.outcome.to_string());
        let written = async {
            let mut tx = self.begin().await?;
            self.audit_in(&mut tx, record).await?;
            Ok::<_, Error>(commit(tx).await?)
        };
        if let Err(error) = written.await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(operation, outcome, %error, source, "cannot store an audit record");
        }
    }

    /// Records a read that was allowed, unless reads of its family are left out. Never waits: at the end of the request,
    /// or now when nobody tells its end. The server's own reads and those of agents about themselves are not recorded.
    pub(crate) fn audit_read(&self, ctx: &OpCtx, record: Record<'_>) {
        if ctx.who.account().is_none() || !self.audit_settings_now().records_read(&record.operation) {
            return;
        }
        let record = record.bounded();
        match ctx.notes.reads().as_mut() {
            // An operation that asks twice is one call.
            Some(held) if held.iter().any(|h| h.operation == record.operation && h.resource == record.resource) => {}
            Some(held) => held.push(record),
            None => self.audit_queue(record),
        }
    }

    /// The request has been answered: its reads are recorded with what became of it.
    pub fn audit_call_ended(&self, notes: &CallNotes, failure: Option<&str>) {
        let now = self.now();
        for mut record in notes.reads().as_mut().map(std::mem::take).unwrap_or_default() {
            record.parameters = notes.parameters().into();
            record.duration_ms = Some(took(record.at, now));
            if let Some(failure) = failure {
                record.outcome = Outcome::Failed.as_str().into();
                record.error = failure.to_owned().into();
            }
            self.audit_queue(record.bounded());
        }
    }

    /// Records a try to sign in. Good ones are stored at once; bad ones go through the bounded queue, because anybody on the
    /// network can make them.
    pub async fn audit_sign_in(&self, t: SignInTry<'_>) {
        let mut record = Record {
            who_kind: t.who.map_or("unknown", |w| w.kind()).into(),
            who_id: t.who.map(Principal::id).unwrap_or_default().into(),
            who: t.who.map_or_else(|| t.name.to_owned(), Principal::name).into(),
            address: t.address.map(|a| a.to_string()).unwrap_or_default().into(),
            request_id: t.request_id.to_owned().into(),
            resource: t.way.to_owned().into(),
            ..self.audit_draft(t.operation, self.now())
        };
        match t.refused {
            None => self.audit_alone(record).await,
            Some(why) => {
                record.decision = "deny".into();
                record.reason = why.to_owned().into();
                record.outcome = Outcome::Denied.as_str().into();
                self.audit_queue(record.bounded());
            }
        }
    }

    /// Records that a host was refused what it asked for before anybody knew it, or knew better. Through the bounded queue,
    /// because anybody on the network can do this.
    pub fn audit_host_refused(&self, from: &CallFrom, who: &str, operation: &'static str, resource: &str, why: &str) {
        let record = Record {
            decision: "deny".into(),
            reason: why.to_owned().into(),
            outcome: Outcome::Denied.as_str().into(),
            resource: resource.to_owned().into(),
            ..self.audit_of_host(from, who, operation, self.now())
        };
        self.audit_queue(record.bounded());
    }

    /// A record of a call of a host.
    pub(crate) fn audit_of_host(&self, from: &CallFrom, who: &str, operation: &str, at: Timestamp) -> Record<'static> {
        Record {
            who_kind: "instance".into(),
            who_id: who.strip_prefix("instance ").unwrap_or_default().to_owned().into(),
            who: who.to_owned().into(),
            address: from.address.map(|a| a.to_string()).unwrap_or_default().into(),
            request_id: from.request_id.clone().into(),
            ..self.audit_draft(operation, at)
        }
    }

    /// A record of something that the server does by itself.
    pub(crate) fn audit_draft(&self, operation: &str, at: Timestamp) -> Record<'static> {
        Record {
            at,
            who_kind: Principal::Server.kind().into(),
            who_id: "".into(),
            who: Principal::Server.name().into(),
            address: "".into(),
            request_id: "".into(),
            operation: operation.to_owned().into(),
            compartment: crate::access_part::ROOT.into(),
            resource: "".into(),
            decision: "allow".into(),
            reason: "".into(),
            parameters: NO_PARAMETERS.into(),
            outcome: Outcome::Allowed.as_str().into(),
            error: "".into(),
            duration_ms: None,
        }
    }

    /// A record of a call.
    pub(crate) fn audit_of(&self, ctx: &OpCtx, operation: &str) -> Record<'static> {
        Record {
            who_kind: ctx.who.kind().into(),
            who_id: ctx.who.id().into(),
            who: ctx.who.name().into(),
            address: ctx.address.map(|a| a.to_string()).unwrap_or_default().into(),
            request_id: ctx.request_id.clone().into(),
            parameters: ctx.notes.parameters().into(),
            ..self.audit_draft(operation, ctx.now)
        }
    }

    fn audit_queue(&self, record: Record<'static>) {
        let part = self.audit_part();
        let mut queue = part.queue();
        if queue.len() < QUEUE_MAX {
            queue.push_back(record);
        } else {
            part.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(queue);
        part.wake.notify_one();
    }

    fn audit_settings_now(&self) -> AuditSettings {
        let held = self.audit_part().settings.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|(_, s)| s.clone()).unwrap_or_default()
    }

    /// The settings, as they are stored.
    pub(crate) async fn audit_settings(&self) -> Result<AuditSettings> {
        let stored = settings::find(&mut *self.read().await?, SETTING).await?;
        let read = |body: &str| {
            serde_json::from_str(body).map_err(|e| Error::Internal { doing: "read the settings of the audit", source: e.into() })
        };
        let found = stored.map(|s| read(&s.body)).transpose()?.unwrap_or_default();
        self.keep_audit_settings(&found);
        Ok(found)
    }

    /// These settings hold from now on.
    pub(crate) fn keep_audit_settings(&self, new: &AuditSettings) {
        let mut held = self.audit_part().settings.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some((self.now(), new.clone()));
    }

    /// Waits until there may be something to chain.
    pub(crate) async fn audit_woken(&self) {
        self.audit_part().wake.notified().await;
    }

    /// A turn of the chainer: everything that was recorded until now is chained; returns how many records.
    pub async fn chain_audit(&self) -> Result<usize> {
        let part = self.audit_part();
        let mut chain = part.chain.lock().await;
        self.refresh_audit_settings().await?;
        if chain.known.is_none() {
            chain.known = Some(audit::head(&mut *self.read().await?).await?);
        }
        let mut chained = 0;
        let mut races = 0;
        loop {
            let queued = part.take_queued(self, BATCH);
            let waiting = !audit::inbox(&mut *self.read().await?, 1).await?.is_empty();
            if queued.is_empty() && !waiting {
                break;
            }
            match self.chain_batch(&mut chain, &queued).await {
                Ok(Some(n)) => {
                    (chained, races) = (chained + n, 0);
                    self.seal_if_due(&mut chain).await?;
                }
                Ok(None) => {
                    part.give_back(queued);
                    races += 1;
                    if races > RACES_MAX {
                        break;
                    }
                }
                Err(error) => {
                    part.give_back(queued);
                    return Err(error);
                }
            }
        }
        self.seal_if_due(&mut chain).await?;
        Ok(chained)
    }

    async fn refresh_audit_settings(&self) -> Result<()> {
        let fresh = {
            let held = self.audit_part().settings.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.now();
            held.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < SignedDuration::from_secs(SETTINGS_FRESH_SECS))
        };
        if fresh { Ok(()) } else { self.audit_settings().await.map(drop) }
    }

    /// Chains what is queued and the oldest of the inbox in one transaction; `None`: another server was faster.
    async fn chain_batch(&self, chain: &mut Chain, queued: &[Record<'static>]) -> Result<Option<usize>> {
        let mut tx = self.begin().await?;
        let from = audit::head(&mut tx).await?;
        let broken = chain.known.and_then(|known| went_back(&known, &from)).map(|what| self.tampering(&what));
        let room = u32::try_from(BATCH.saturating_sub(queued.len()).max(1)).unwrap_or(1);
        let (ids, stored): (Vec<_>, Vec<_>) = audit::inbox(&mut tx, room).await?.into_iter().unzip();
        let mut records = Vec::with_capacity(stored.len() + queued.len() + 1);
        let mut to = from;
        for record in broken.into_iter().chain(stored).chain(queued.iter().cloned()) {
            to.seq += 1;
            to.hash = hash(&mut chain.encoded, &to.hash, to.seq, &record);
            records.push(AuditRecord { seq: to.seq, record, hash: to.hash });
        }
        let expected = ids.len();
        if !audit::move_head(&mut tx, &from, &to).await?
            || audit::take(&mut tx, ids).await? != u64::try_from(expected).unwrap_or(0)
        {
            return Ok(None);
        }
        audit::append(&mut tx, &records).await?;
        commit(tx).await?;
        chain.known = Some(to);
        Ok(Some(records.len()))
    }

    fn tampering(&self, what: &str) -> Record<'static> {
        tracing::error!(what, "the audit was tampered with in the database; export and verify it (drydock audit export, verify)");
        Record {
            resource: what.to_owned().into(),
            outcome: Outcome::Failed.as_str().into(),
            ..self.audit_draft("audit.tampering", self.now())
        }
        .bounded()
    }

    async fn seal_if_due(&self, chain: &mut Chain) -> Result<()> {
        let Some(head) = chain.known else { return Ok(()) };
        let now = self.now();
        if let Some((seq, at)) = chain.sealed {
            let old = now.duration_since(at) >= SignedDuration::from_secs(SEAL_AFTER_SECS);
            if head.seq <= seq || (head.seq - seq < SEAL_RECORDS && !old) {
                return Ok(());
            }
        }
        self.seal(chain, false).await.map(drop)
    }

    /// Chains everything and signs the end.
    pub(crate) async fn seal_audit(&self) -> Result<Option<Seal>> {
        self.chain_audit().await?;
        let mut chain = self.audit_part().chain.lock().await;
        self.seal(&mut chain, true).await
    }

    /// The newest seal; a new one when it is due, or asked for and something is not sealed.
    async fn seal(&self, chain: &mut Chain, asked: bool) -> Result<Option<Seal>> {
        let mut tx = self.begin().await?;
        let head = audit::head(&mut tx).await?;
        // Moved to where it is: until this is committed, no other server chains or seals.
        if !audit::move_head(&mut tx, &head, &head).await? {
            return Ok(None);
        }
        let last = audit::last_seal(&mut tx).await?;
        let now = self.now();
        let due = match last {
            None => head.seq > 0,
            Some(last) => {
                let old = now.duration_since(last.at) >= SignedDuration::from_secs(SEAL_AFTER_SECS);
                head.seq > last.seq && (asked || old || head.seq - last.seq >= SEAL_RECORDS)
            }
        };
        if !due {
            chain.sealed = last.map(|l| (l.seq, l.at));
            return Ok(last);
        }
        let after = last.map_or(0, |l| l.seq);
        let seal = self.sign_seal(SealKind::Interval { after }, head.seq, head.hash, now);
        audit::insert_seal(&mut tx, &seal, after).await?;
        commit(tx).await?;
        chain.sealed = Some((seal.seq, seal.at));
        Ok(Some(seal))
    }

    pub(crate) fn sign_seal(&self, kind: SealKind, seq: u64, hash: Hash, now: Timestamp) -> Seal {
        let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let mut seal = Seal { kind, seq, hash, at, key: self.key().public(), signature: [0; 64] };
        seal.signature = self.key().sign_seal(&seal);
        seal
    }
}

impl AuditPart {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Record<'static>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest of the queue, and a record of what did not fit into it.
    fn take_queued(&self, control: &Control, max: usize) -> Vec<Record<'static>> {
        let mut queue = self.queue();
        let take = queue.len().min(max);
        let mut out: Vec<_> = queue.drain(..take).collect();
        drop(queue);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(lost, "reads came faster than they could be recorded");
            let resource = format!("{lost} reads were not recorded: more than {QUEUE_MAX} waited");
            let outcome = Outcome::Failed.as_str();
            let draft = control.audit_draft("audit.overflow", control.now());
            out.push(Record { resource: resource.into(), outcome: outcome.into(), ..draft });
        }
        out
    }

    /// Puts back what could not be chained.
    fn give_back(&self, queued: Vec<Record<'static>>) {
        let mut queue = self.queue();
        for record in queued.into_iter().rev() {
            queue.push_front(record);
        }
    }
}

/// How long it took from `at` to `now`, milliseconds.
pub(crate) fn took(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_millis()).unwrap_or(0)
}

/// The chain may only grow: what is wrong with an end that does not lie at or after the one that was left.
fn went_back(known: &Head, found: &Head) -> Option<String> {
    let shown = |head: &Head| format!("record {} ({})", head.seq, hex(&head.hash));
    let grown = found.seq > known.seq || found == known;
    (!grown).then(|| format!("the audit ended with {} and now ends with {}", shown(known), shown(found)))
}
