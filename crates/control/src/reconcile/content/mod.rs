//! Everything that happens to content by itself: syncs that are due, custom sources whose inputs moved, jobs that are
//! claimed and run, heads that need a newer key, snapshots and files that nobody needs any more.
//!
//! Jobs run in tasks of this process, each under a lease: a server that dies loses the lease, not the job.

mod keys;
mod retention;
mod run;
mod work;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use drydock_domain::ids::{ContentJobId, SnapshotId, SourceId};
use drydock_domain::source::job::{ContentJobKind, ContentJobState};
use drydock_store::source_records::{ContentJobRecord, SourceKind, SourceOutline};
use drydock_store::{commit, content_jobs, snapshots, sources};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Control;
use crate::error::{Error, Result};
use crate::ops::due_at;
use work::DerivedState;

/// Jobs at work at once in one process, count: two cores' worth, and an upstream that hangs holds only one.
const AT_WORK_MAX: usize = 2;
/// A derivation that failed is tried again after this, seconds, doubled with each failure in a row …
const DERIVE_RETRY_SECS: u64 = 60;
/// Old snapshots, uploads and heads are looked for every so many turns (a minute when nothing wakes the loop).
const TIDY_EVERY: u64 = 60;
/// Time between collections, hours.
const COLLECT_EVERY_HOURS: i64 = 24;
/// The same after one that failed, hours.
const COLLECT_AGAIN_HOURS: i64 = 1;
/// How long a stopping server waits for jobs to let go before it gives their leases back.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The content jobs at work in this process. Dropping it ends them where they are, as a kill would.
pub struct Runner {
    /// Its name in leases.
    id: Uuid,
    tasks: JoinSet<()>,
    turns: u64,
}

impl Default for Runner {
    fn default() -> Self {
        Runner { id: Uuid::now_v7(), tasks: JoinSet::new(), turns: 0 }
    }
}

impl Runner {
    /// Does everything that is due about content and claims jobs while there is room. Returns what failed.
    pub async fn turn(&mut self, control: &Control) -> Vec<(String, Error)> {
        let mut failed = Vec::new();
        if !control.has_content() {
            return failed;
        }
        let mut note = |what: &str, done: Result<()>| {
            if let Err(e) = done {
                failed.push((what.to_owned(), e));
            }
        };
        if self.turns.is_multiple_of(TIDY_EVERY) {
            note("tidying content", retention::turn(control).await);
            note("signing with the present repository keys", keys::turn(control).await);
        }
        note("looking for content jobs that are due", schedule(control).await);
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a content job ended without a word; it runs again when its lease has ended");
            }
        }
        note("claiming a content job", self.claim(control).await);
        self.turns = self.turns.wrapping_add(1);
        failed
    }

    async fn claim(&mut self, control: &Control) -> Result<()> {
        while self.tasks.len() < AT_WORK_MAX {
            let Some((job, owner)) = run::claim(control, self.id).await? else { break };
            let control = control.clone();
            self.tasks.spawn(async move {
                run::run(&control, job, &owner).await;
                // Something may wait for this one, or take from its source.
                control.wake();
            });
        }
        Ok(())
    }

    /// Waits until no job is at work.
    pub async fn idle(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends the jobs at work and gives them back: the next server begins with them at once.
    pub(super) async fn stop(mut self, control: &Control) {
        self.tasks.abort_all();
        let _late_ones_lose_their_lease = tokio::time::timeout(STOP_WAIT, self.idle()).await;
        if let Err(error) = run::give_back_all(control, self.id).await {
            tracing::warn!(%error, "content jobs that were at work are not given back; they go on when their leases end");
        }
    }
}

/// Makes jobs for what is due: one that waits or runs for a source is enough.
async fn schedule(control: &Control) -> Result<()> {
    let now = control.now();
    let mut c = control.read().await?;
    let outlines = sources::outlines(&mut c).await?;
    let open: HashSet<SourceId> = content_jobs::open(&mut c, None).await?.into_iter().filter_map(|j| j.source).collect();
    let idle: Vec<&SourceOutline> = outlines.iter().filter(|s| !open.contains(&s.id)).collect();
    let last: Vec<ContentJobId> = idle
        .iter()
        .filter(|s| s.sync_interval_secs.is_some() || s.kind == SourceKind::Sources)
        .filter_map(|s| s.last_job)
        .collect();
    let last = content_jobs::find_all(&mut c, &last).await?;
    let ended = |s: &SourceOutline| s.last_job.and_then(|id| last.get(&id)).and_then(|j: &ContentJobRecord| j.finished_at);
    let mut due = Vec::new();
    for source in &idle {
        match source.kind {
            SourceKind::Upstream => {
                let next = source.sync_interval_secs.map(|secs| due_at(secs, source.failures, ended(source), Timestamp::MIN));
                if next.is_some_and(|next| next <= now) {
                    due.push((source.id, ContentJobKind::Sync));
                }
            }
            SourceKind::Sources => {
                let wait = source.failures > 0 && due_at(DERIVE_RETRY_SECS, source.failures, ended(source), Timestamp::MIN) > now;
                if !wait && inputs_moved(&mut c, source, &outlines).await? {
                    due.push((source.id, ContentJobKind::Derive));
                }
            }
            SourceKind::Local => {}
        }
    }
    drop(c);
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = control.begin().await?;
    for (source, kind) in due {
        let job = control.new_content_job(kind, Some(source), None, "server", now);
        content_jobs::insert(&mut tx, &job).await?;
    }
    Ok(commit(tx).await?)
}

/// Was a custom source last made from other snapshots than the newest of its inputs, or by another specification?
async fn inputs_moved(c: &mut drydock_store::Connection, source: &SourceOutline, all: &[SourceOutline]) -> Result<bool> {
    let Some(inputs) = newest_inputs(c, &source.from, all).await? else { return Ok(false) };
    let made = sources::sync_state(c, source.id).await?;
    let made: Option<DerivedState> = made.and_then(|text| serde_json::from_str(&text).ok());
    Ok(made.is_none_or(|made| made.inputs != inputs || made.version != source.version))
}

/// The newest snapshot of each named source; `None` while one has none yet.
async fn newest_inputs(
    c: &mut drydock_store::Connection,
    from: &[String],
    all: &[SourceOutline],
) -> Result<Option<BTreeMap<SourceId, SnapshotId>>> {
    let ids: Vec<SourceId> = all.iter().filter(|s| from.contains(&s.name)).map(|s| s.id).collect();
    let newest = snapshots::newest_of(c, &ids).await?;
    let complete = ids.len() == from.len() && newest.len() == from.len();
    Ok(complete.then(|| newest.into_values().map(|s| (s.source, s.id)).collect()))
}

/// Has it been long enough since the last collection?
fn collection_due(last: Option<&ContentJobRecord>, now: Timestamp) -> bool {
    let Some(last) = last else { return true };
    let hours = match last.state {
        ContentJobState::Pending | ContentJobState::Running => return false,
        ContentJobState::Failed => COLLECT_AGAIN_HOURS,
        ContentJobState::Succeeded | ContentJobState::Canceled => COLLECT_EVERY_HOURS,
    };
    now.duration_since(last.created_at) >= SignedDuration::from_hours(hours)
}
