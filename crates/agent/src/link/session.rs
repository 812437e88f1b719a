//! The attached session: connect, attach, and then do what hints, changes and clocks ask for, until the connection or
//! the agent ends. Everything sent is idempotent, so a lost answer costs a repetition and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use drydock_api::agent::v1::{
    AcquireRebootSlotRequest, AttachRequest, HeldTask, Hint, PullWorkRequest, RefuseOrderRequest, RenewRequest,
    ReportInventoryRequest, ReportTaskRequest, SignedOrder,
};
use drydock_domain::ids::TaskId;
use drydock_domain::inventory::SectionKind;
use drydock_domain::work::Directive;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;

use super::backoff::{Backoff, random};
use super::channel::{Target, USER_AGENT, chain, connect, timed};
use super::enrol::{Answer, EnrolError, ask, told};
use super::tls;
use crate::identity::{self, Identity, Issued};
use crate::inventory::collect::Collector;
use crate::inventory::report::Known;
use crate::inventory::{Board, Section};
use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::platform;
use crate::policy::pull::Pull as PullPolicies;
use crate::policy::ward::Ward;
use crate::socket::Status;
use crate::sources::pull::Pull;
use crate::task::control::Control;
use crate::task::machine::State;
use crate::task::order::{self, NotTaken, Taker};
use crate::task::slots::Slots;

/// Orders are looked for this often without a hint: the net under lost hints.
const PULL_INTERVAL: Duration = Duration::from_secs(60);
/// A heartbeat is expected this often when the server names no other interval, seconds.
const HEARTBEAT_DEFAULT_SECS: u32 = 30;
/// Longest heartbeat interval believed, seconds.
const HEARTBEAT_MAX_SECS: u32 = 600;
/// Missed heartbeats until the line counts as dead.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// A failed renewal is tried again after this.
const RENEW_RETRY: Duration = Duration::from_secs(300);
/// The server's answer to Attach.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// A session that lived this long was a success: the next pause starts small again.
const SETTLED: Duration = Duration::from_secs(30);
/// The server refuses our certificate: asked again at this pace, because a person may undo it.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);

/// How the policies stand is told this long after it changed: drift comes in bursts.
const TELL_PAUSE: Duration = Duration::from_millis(500);

/// A slot is asked for again after this when the server cannot answer, seconds.
const SLOT_RETRY_SECS: u32 = 60;

type Client = AgentLinkClient<Channel>;

/// What the session shares with the rest of the agent.
#[derive(Clone)]
pub struct Shared {
    /// Where the identity lives.
    pub paths: Paths,
    /// Newest inventory.
    pub board: Arc<Board>,
    /// Tasks.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The server's wishes.
    pub control: Control,
    /// Wakes the link: a report is due.
    pub reports: Arc<Notify>,
    /// Wakes the thread that keeps the host's sources.
    pub sources: std::sync::mpsc::Sender<crate::sources::worker::Ask>,
    /// Sees that the keeper of policies runs.
    pub ward: Ward,
    /// Wakes the link: the keeper of policies tells something.
    pub standing: Arc<Notify>,
    /// Reboot slots that tasks wait for.
    pub slots: Slots,
    /// Wakes the task worker: an order was taken, a wish was heard, a slot was given.
    pub orders: std::sync::mpsc::Sender<()>,
    /// Only dry runs are taken.
    pub read_only: bool,
    /// For the local socket.
    pub status: Arc<Mutex<Status>>,
}

/// Locks; a panic elsewhere leaves the data as usable as before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Connect(String),
    #[error("the server does not accept this agent: {0}")]
    Refused(String),
    #[error("{call} failed: {why}")]
    Call { call: &'static str, why: String },
    #[error("the server ended the session")]
    Closed,
    #[error("the server was silent for {0} s")]
    Silent(u64),
    #[error("the certificate was renewed")]
    Renewed,
}

/// Keeps a session up for ever. `target` gives the connection for an identity (a renewed one needs a new one).
pub async fn run(shared: Shared, server: super::address::ServerAddress, proxy: Option<super::address::Proxy>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let ended = session(&shared, &server, proxy.as_ref()).await;
        let connected = {
            let mut status = lock(&shared.status);
            let was = status.connected_since.take().is_some();
            status.last_error = (!matches!(ended, Ended::Renewed)).then(|| ended.to_string());
            was
        };
        if connected && began.elapsed() >= SETTLED {
            backoff.reset();
        }
        let pause = match &ended {
            Ended::Renewed => Duration::ZERO,
            Ended::Refused(_) => backoff.next(random()).max(REFUSED_PAUSE.mul_f64(0.5 + 0.5 * random())),
            _ => backoff.next(random()),
        };
        match &ended {
            Ended::Renewed => tracing::info!("certificate renewed, connecting anew"),
            other => tracing::warn!("no connection to {}: {other}; next try in {:.0} s", server.authority(), pause.as_secs_f64()),
        }
        tokio::time::sleep(pause).await;
    }
}

async fn session(shared: &Shared, server: &super::address::ServerAddress, proxy: Option<&super::address::Proxy>) -> Ended {
    let connecting = |e: &dyn std::error::Error| Ended::Connect(chain(e));
    let identity = match Identity::load(&shared.paths) {
        Ok(identity) => identity,
        Err(e) => return connecting(&e),
    };
    lock(&shared.status).certificate_expires = Some(identity.not_after);
    if identity.not_after <= Timestamp::now() {
        return come_back(shared, &identity, server, proxy).await;
    }
    let target = match tls::mutual(&identity) {
        Ok(tls) => Target { server: server.clone(), proxy: proxy.cloned(), tls },
        Err(e) => return connecting(&e),
    };
    let client = match connect(&target).await {
        Ok(client) => client,
        Err(e) => return connecting(&e),
    };
    let attach = AttachRequest { agent_version: USER_AGENT.to_owned(), boot_id: platform::boot_id() };
    // Its stream is the session and has no limit; only the answer has.
    let mut client = client;
    let hints = match tokio::time::timeout(ATTACH_LIMIT, client.attach(attach)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return judged("attach", &status),
        Err(_) => return Ended::Silent(ATTACH_LIMIT.as_secs()),
    };
    tracing::info!("connected to {} as {}", server.authority(), identity.instance.instance_id);
    {
        let mut status = lock(&shared.status);
        status.connected_since = Some(Timestamp::now());
        status.last_error = None;
    }
    let mut session = Session { shared: shared.clone(), client, identity, known: Known::default() };
    session.serve(hints).await
}

/// The host was off for longer than its certificate lived. The server knows it by its key and gives a certificate for
/// the same key without a token, unless a person has revoked the instance meanwhile.
async fn come_back(
    shared: &Shared,
    identity: &Identity,
    server: &super::address::ServerAddress,
    proxy: Option<&super::address::Proxy>,
) -> Ended {
    let refused = |why: &str| {
        Ended::Refused(format!(
            "this host's certificate expired at {} and the server gives no new one ({why}); run `drydock-agent enrol` again \
             with a token, after `drydock-agent unregister` if the instance was revoked or deleted",
            identity.not_after
        ))
    };
    let asked = async {
        let key = identity::key_or_new(&shared.paths.key()).map_err(|e| Ended::Connect(chain(&e)))?;
        let csr = identity::request(&key).map_err(|e| Ended::Connect(e.to_string()))?;
        let tls = tls::without_certificate(identity).map_err(|e| Ended::Connect(chain(&e)))?;
        let target = Target { server: server.clone(), proxy: proxy.cloned(), tls };
        // Reading the facts runs commands.
        let facts = tokio::task::spawn_blocking(|| Collector::new(Path::new("/")).os()).await;
        let facts = facts.map_err(|e| Ended::Connect(e.to_string()))?;
        match ask(&target, "", csr, &facts).await {
            Ok(Answer::Active { instance, response }) if instance == identity.instance.instance_id => Ok(response),
            Ok(Answer::Active { instance, .. }) => Err(refused(&format!("it takes this host for instance {instance}"))),
            Ok(Answer::Pending { message, .. }) => Err(refused(&message)),
            Err(EnrolError::Refused(why) | EnrolError::Answer(why)) => Err(refused(&why)),
            Err(e) => Err(Ended::Connect(format!("{}; this host's certificate expired at {}", chain(&e), identity.not_after))),
        }
    };
    let response = match asked.await {
        Ok(response) => response,
        Err(ended) => return ended,
    };
    let issued = Issued { certificate_pem: &response.certificate_pem, ca_pem: &response.ca_pem, work_key: &response.work_key };
    let stored =
        identity::store_enrolment(&shared.paths, &identity.instance, &issued).and_then(|()| Identity::load(&shared.paths));
    match stored {
        Ok(new) if new.not_after > Timestamp::now() => Ended::Renewed,
        // Without this, the two would ask and answer without a pause.
        Ok(new) => refused(&format!("its newest one ended at {}: set this host's clock", new.not_after)),
        Err(e) => Ended::Connect(chain(&e)),
    }
}

fn judged(call: &'static str, status: &tonic::Status) -> Ended {
    match status.code() {
        tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => Ended::Refused(told(status)),
        _ => Ended::Call { call, why: told(status) },
    }
}

/// The server understood the question and says no.
fn is_answer(status: &tonic::Status) -> bool {
    use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound, Unimplemented};
    matches!(status.code(), FailedPrecondition | InvalidArgument | NotFound | Unimplemented)
}

/// When the next reboot slot is to be asked for; far away when nobody waits.
fn slot_due(slots: &Slots) -> Instant {
    slots.next_due().map_or_else(|| Instant::now() + PULL_INTERVAL, Instant::from_std)
}

struct Session {
    shared: Shared,
    client: Client,
    identity: Identity,
    known: Known,
}

impl Session {
    async fn serve(&mut self, mut hints: tonic::Streaming<Hint>) -> Ended {
        if let Err(e) = self.catch_up().await {
            return e;
        }
        let silence = |secs: u32| {
            let secs = if secs == 0 { HEARTBEAT_DEFAULT_SECS } else { secs.min(HEARTBEAT_MAX_SECS) };
            Duration::from_secs(u64::from(secs * HEARTBEATS_MISSED_MAX))
        };
        let mut allowed = silence(HEARTBEAT_DEFAULT_SECS);
        let mut heard_by = Instant::now() + allowed;
        let mut pull_at = Instant::now() + PULL_INTERVAL;
        let mut renew_at = self.renewal_due();
        let mut tell_at: Option<Instant> = None;
        let shared = self.shared.clone();
        loop {
            let done = tokio::select! {
                hint = hints.message() => match hint {
                    Ok(Some(hint)) => {
                        allowed = silence(hint.heartbeat_secs);
                        heard_by = Instant::now() + allowed;
                        if hint.look { self.hinted().await } else { Ok(()) }
                    }
                    Ok(None) => Err(Ended::Closed),
                    Err(status) => Err(judged("the session", &status)),
                },
                () = sleep_until(heard_by) => Err(Ended::Silent(allowed.as_secs())),
                () = shared.board.changed() => self.inventory().await,
                () = shared.reports.notified() => match self.flush().await {
                    Ok(()) => { self.sources().await; Ok(()) }
                    e => e,
                },
                () = shared.standing.notified(), if tell_at.is_none() => {
                    tell_at = Some(Instant::now() + TELL_PAUSE);
                    Ok(())
                }
                () = sleep_until(tell_at.unwrap_or(pull_at)), if tell_at.is_some() => {
                    tell_at = None;
                    self.policies().report().await;
                    Ok(())
                }
                () = sleep_until(pull_at) => {
                    pull_at = Instant::now() + PULL_INTERVAL;
                    match self.flush().await { Ok(()) => self.look().await, e => e }
                }
                () = shared.slots.changed() => self.slots().await,
                () = sleep_until(slot_due(&shared.slots)) => self.slots().await,
                () = sleep_until(renew_at) => match self.renew().await {
                    Ok(()) => Err(Ended::Renewed),
                    Err(why) => {
                        tracing::warn!("the certificate could not be renewed: {why}; next try in {} s", RENEW_RETRY.as_secs());
                        renew_at = Instant::now() + RENEW_RETRY;
                        Ok(())
                    }
                },
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Everything that may have waited while there was no session.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        self.flush().await?;
        self.inventory().await?;
        self.look().await?;
        self.slots().await
    }

    /// What the server hints at may be work, sources or a slot that is free now.
    async fn hinted(&mut self) -> Result<(), Ended> {
        self.look().await?;
        self.shared.slots.hurry(std::time::Instant::now());
        self.slots().await
    }

    /// Asks for the reboot slots that tasks wait for.
    async fn slots(&mut self) -> Result<(), Ended> {
        for task in self.shared.slots.due(std::time::Instant::now()) {
            let request = AcquireRebootSlotRequest { task_id: task.to_string() };
            let (granted, message, retry) = match self.client.acquire_reboot_slot(timed(request)).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    (answer.granted, answer.message, answer.retry_after_secs)
                }
                // An older server, or one that does not know the task: nothing is granted.
                Err(status) if is_answer(&status) => {
                    let why = told(&status);
                    (false, format!("waits for a reboot slot; the server gives none: {why}"), SLOT_RETRY_SECS)
                }
                Err(status) => return Err(judged("asking for a reboot slot", &status)),
            };
            self.shared.slots.answered(task, granted, &message, retry, std::time::Instant::now());
            // The worker is gone only when the agent ends.
            let _ = self.shared.orders.send(());
        }
        Ok(())
    }

    /// What a hint asks for.
    async fn look(&mut self) -> Result<(), Ended> {
        self.pull().await?;
        self.sources().await;
        self.policies().run().await;
        Ok(())
    }

    fn policies(&self) -> PullPolicies<'_> {
        let (paths, ward) = (&self.shared.paths, &self.shared.ward);
        PullPolicies { paths, identity: &self.identity, client: self.client.clone(), ward }
    }

    async fn sources(&self) {
        let (paths, asks) = (&self.shared.paths, &self.shared.sources);
        Pull { paths, identity: &self.identity, client: self.client.clone(), asks }.run().await;
    }

    fn renewal_due(&self) -> Instant {
        let wait = self.identity.renew_at(random()).as_second() - Timestamp::now().as_second();
        Instant::now() + Duration::from_secs(u64::try_from(wait).unwrap_or(0))
    }

    async fn renew(&self) -> Result<(), String> {
        let paths = &self.shared.paths;
        let key = identity::key_or_new(&paths.next_key()).map_err(|e| chain(&e))?;
        let csr_der = identity::request(&key).map_err(|e| e.to_string())?;
        let mut client = self.client.clone();
        let response = client.renew(timed(RenewRequest { csr_der })).await.map_err(|s| told(&s))?.into_inner();
        let issued =
            Issued { certificate_pem: &response.certificate_pem, ca_pem: &response.ca_pem, work_key: &response.work_key };
        identity::store_renewal(paths, &issued).map_err(|e| chain(&e))
    }

    async fn inventory(&mut self) -> Result<(), Ended> {
        let sections = self.shared.board.sections();
        if self.known.is_new() && !sections.is_empty() && self.unchanged(&sections).await? {
            self.known.told(&sections);
            lock(&self.shared.status).inventory_reported = Some(Timestamp::now());
            return Ok(());
        }
        let mut reports = self.known.changes(&sections);
        // First round: fingerprints and deltas. Second: what the server lacks, whole.
        for _ in 0..2 {
            if reports.is_empty() {
                break;
            }
            let request = ReportInventoryRequest { sections: reports, combined: Vec::new() };
            let response =
                self.client.report_inventory(timed(request)).await.map_err(|s| judged("reporting the inventory", &s))?;
            reports = Known::full(&sections, &response.into_inner().wanted);
        }
        self.known.told(&sections);
        lock(&self.shared.status).inventory_reported = Some(Timestamp::now());
        Ok(())
    }

    /// Does the server have all of this already?
    async fn unchanged(&mut self, sections: &BTreeMap<SectionKind, Section>) -> Result<bool, Ended> {
        let request = Known::unchanged(sections);
        let response = self.client.report_inventory(timed(request)).await.map_err(|s| judged("reporting the inventory", &s))?;
        Ok(response.into_inner().confirmed)
    }

    /// Sends the reports the server has not stored yet.
    async fn flush(&mut self) -> Result<(), Ended> {
        let due = {
            let mut ledger = lock(&self.shared.ledger);
            ledger.retry_unsaved();
            ledger.outbox()
        };
        for report in due {
            let (task, seq) = (report.task, report.seq);
            let body = match serde_json::to_vec(&report) {
                Ok(body) => body,
                Err(e) => {
                    tracing::error!("task {task}: its report cannot be encoded: {e}");
                    continue;
                }
            };
            let response = match self.client.report_task(timed(ReportTaskRequest { report: body })).await {
                Ok(response) => response.into_inner(),
                // The server will never take this one; holding it back would hold back all others.
                Err(status) if matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::NotFound) => {
                    tracing::error!("task {task}: the server refuses its report: {}", told(&status));
                    self.drop_report(task, seq);
                    continue;
                }
                Err(status) => return Err(judged("reporting a task", &status)),
            };
            self.obey(task, &response.directive);
            if response.stored
                && let Err(e) = lock(&self.shared.ledger).stored(task, seq)
            {
                tracing::warn!("{e}");
            }
        }
        Ok(())
    }

    fn drop_report(&self, task: TaskId, seq: u64) {
        if let Err(e) = lock(&self.shared.ledger).stored(task, seq) {
            tracing::warn!("{e}");
        }
    }

    fn obey(&self, task: TaskId, directive: &str) {
        // The answer to a final report says STOP, too; nobody would ever forget that wish.
        if lock(&self.shared.ledger).get(task).is_none_or(|e| e.state.is_finished()) {
            return;
        }
        match directive {
            "STOP" => self.wish(task, Directive::Stop),
            "KILL" => self.wish(task, Directive::Kill),
            _ => {}
        }
    }

    fn wish(&self, task: TaskId, directive: Directive) {
        self.shared.control.tell(task, directive);
        // A task that waits hears it, too.
        let _ = self.shared.orders.send(());
    }

    /// Takes orders and hears what the held tasks are to do.
    async fn pull(&mut self) -> Result<(), Ended> {
        let held = lock(&self.shared.ledger).entries().map(|e| HeldTask { task_id: e.id().to_string() }).collect();
        let response = self.client.pull_work(timed(PullWorkRequest { held })).await.map_err(|s| judged("asking for work", &s))?;
        let response = response.into_inner();
        for told in response.directives {
            let Ok(task) = told.task_id.parse::<TaskId>() else { continue };
            if told.directive == "FORGET" {
                self.forget(task);
            } else {
                self.obey(task, &told.directive);
            }
        }
        for signed in &response.orders {
            self.take(signed).await?;
        }
        Ok(())
    }

    /// The server does not know the task (it was restored from a backup). A running one is brought to its end first:
    /// half a transaction helps nobody.
    fn forget(&self, task: TaskId) {
        let mut ledger = lock(&self.shared.ledger);
        let state = ledger.get(task).map(|e| e.state.clone());
        if state.as_ref().is_some_and(State::is_finished) {
            tracing::warn!("task {task}: the server does not know it; its report is dropped");
            if let Err(e) = ledger.forget(task) {
                tracing::warn!("{e}");
            }
        } else if matches!(state, Some(State::Wait { .. })) {
            self.wish(task, Directive::Stop);
        }
    }

    async fn take(&mut self, signed: &SignedOrder) -> Result<(), Ended> {
        let boot = platform::boot_id();
        let taker = Taker {
            instance: self.identity.instance.instance_id,
            work_key: &self.identity.work_key,
            read_only: self.shared.read_only,
            boot: &boot,
        };
        let taken = {
            let mut ledger = lock(&self.shared.ledger);
            for dropped in ledger.prune() {
                tracing::warn!("task {dropped}: its report was dropped, the server did not take it for too long");
            }
            order::take(&mut ledger, signed, &taker, Timestamp::now())
        };
        match taken {
            Ok(Some(task)) => {
                tracing::info!("task {task}: order taken");
                // The worker is gone only when the agent ends.
                let _ = self.shared.orders.send(());
                self.flush().await
            }
            Ok(None) => Ok(()),
            Err((task, why)) => self.refuse(task, &why).await,
        }
    }

    async fn refuse(&mut self, task: Option<TaskId>, why: &NotTaken) -> Result<(), Ended> {
        let reason = chain(why);
        tracing::warn!("an order was refused: {reason}");
        let request = RefuseOrderRequest { task_id: task.map(|t| t.to_string()).unwrap_or_default(), reason };
        self.client.refuse_order(timed(request)).await.map_err(|s| judged("refusing an order", &s))?;
        Ok(())
    }
}
