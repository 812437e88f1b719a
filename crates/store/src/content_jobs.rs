//! Content jobs and their leases. A job is claimed, its lease renewed while it runs, and finished only by the holder of
//! the lease; one whose holder died is claimed again when the lease has ended.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::ids::{ContentJobId, SourceId};
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::db::{Store, commit};
use crate::error::{StoreError, StoreResult};
use crate::records::Paged;
use crate::row::{
    count, flag, id, int, json, micros, opt_id, opt_json, opt_text, opt_time, parsed, storable, text, time, to_json,
};
use crate::source_records::{ContentJobQuery, ContentJobRecord};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, kind, source_id, state, input, progress, message, findings_total, requested_by, created_at, \
     started_at, finished_at, attempts, lease_owner, lease_until, cancel_requested, version FROM content_jobs";

/// Adds a PENDING job. `false`: a SYNC or DERIVE of this source waits already; take that one ([`waiting`]).
pub async fn insert(c: &mut AnyConnection, job: &ContentJobRecord) -> StoreResult<bool> {
    sqlx::query(
        "INSERT INTO content_jobs (id, kind, source_id, subject, state, input, progress, message, findings, findings_total, \
         requested_by, created_at, attempts, cancel_requested, version) \
         VALUES ($1, $2, $3, $4, 'PENDING', $5, $6, $7, '[]', 0, $8, $9, 0, 0, 1) ON CONFLICT DO NOTHING",
    )
    .bind(job.id.to_string())
    .bind(job.kind.as_str())
    .bind(job.source.map(|s| s.to_string()))
    .bind(job.source.map_or_else(|| job.kind.as_str().to_owned(), |s| s.to_string()))
    .bind(job.input.clone())
    .bind(to_json("progress of a content job", &job.progress)?)
    .bind(storable(&job.message))
    .bind(storable(&job.requested_by))
    .bind(micros(job.created_at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store a content job"))
}

/// The job with this id.
pub async fn find(c: &mut AnyConnection, job: ContentJobId) -> StoreResult<Option<ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(job.to_string());
    sql.fetch(c, "read a content job").await?.first().map(read).transpose()
}

/// These jobs, as far as they exist.
pub async fn find_all(c: &mut AnyConnection, jobs: &[ContentJobId]) -> StoreResult<BTreeMap<ContentJobId, ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id IN ").bind_list(jobs.iter().map(ToString::to_string));
    let rows = sql.fetch(c, "read content jobs").await?;
    rows.iter().map(|r| read(r).map(|j| (j.id, j))).collect()
}

/// The job of a kind that waits for a source.
pub async fn waiting(c: &mut AnyConnection, source: SourceId, kind: ContentJobKind) -> StoreResult<Option<ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE source_id = ").bind(source.to_string()).push(" AND kind = ").bind(kind.as_str());
    sql.push(" AND state = 'PENDING' ORDER BY id LIMIT 1");
    sql.fetch(c, "read the waiting job of a software source").await?.first().map(read).transpose()
}

/// Jobs that wait or run (of one source, when named), oldest first.
pub async fn open(c: &mut AnyConnection, source: Option<SourceId>) -> StoreResult<Vec<ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE state IN ('PENDING', 'RUNNING')");
    if let Some(source) = source {
        sql.push(" AND source_id = ").bind(source.to_string());
    }
    sql.push(" ORDER BY id");
    sql.fetch(c, "read the open content jobs").await?.iter().map(read).collect()
}

/// The newest job of each of these sources that has one.
pub async fn newest_of(c: &mut AnyConnection, sources: &[SourceId]) -> StoreResult<BTreeMap<SourceId, ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id IN (SELECT max(n.id) FROM content_jobs n WHERE n.source_id IN ");
    sql.bind_list(sources.iter().map(ToString::to_string)).push(" GROUP BY n.source_id)");
    let rows = sql.fetch(c, "read the newest jobs of software sources").await?;
    let jobs = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(jobs.into_iter().filter_map(|j| j.source.map(|s| (s, j))).collect())
}

/// Jobs, newest first.
pub async fn list(c: &mut AnyConnection, query: &ContentJobQuery, scope: &Scope) -> StoreResult<Paged<ContentJobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1");
    if *scope != Scope::Everywhere {
        sql.push(" AND (source_id IN (SELECT id FROM sources WHERE 1 = 1").within("compartment", scope).push(")");
        // What belongs to no source is the tenancy's.
        sql.push(if scope.holds_in("/") { " OR source_id IS NULL)" } else { ")" });
    }
    if let Some([last]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND id < ").bind(last);
    }
    if let Some(state) = query.state {
        sql.push(" AND state = ").bind(state.as_str());
    }
    if let Some(kind) = query.kind {
        sql.push(" AND kind = ").bind(kind.as_str());
    }
    if let Some(source) = query.source {
        sql.push(" AND source_id = ").bind(source.to_string());
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list content jobs").await?;
    let jobs = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, jobs, |j| vec![j.id.to_string()]))
}

/// The findings of a job; none when there is no such job.
pub async fn findings(c: &mut AnyConnection, job: ContentJobId) -> StoreResult<Vec<Finding>> {
    let mut sql = Sql::new("SELECT findings FROM content_jobs WHERE id = ");
    sql.bind(job.to_string());
    let rows = sql.fetch(c, "read the findings of a content job").await?;
    Ok(rows.first().map(|r| json(r, "findings")).transpose()?.unwrap_or_default())
}

/// Replaces what a job works on while it waits. `false`: it runs, is over, or is not there.
pub async fn set_input(c: &mut AnyConnection, job: ContentJobId, input: &str) -> StoreResult<bool> {
    sqlx::query("UPDATE content_jobs SET input = $2, version = version + 1 WHERE id = $1 AND state = 'PENDING'")
        .bind(job.to_string())
        .bind(input.to_owned())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("replace the input of a content job"))
}

/// May be claimed at `$1`: waits and nothing runs on its subject, or its lease has ended.
const CLAIMABLE: &str = "((j.state = 'PENDING' AND NOT EXISTS (SELECT 1 FROM content_jobs r \
     WHERE r.subject = j.subject AND r.state = 'RUNNING')) OR (j.state = 'RUNNING' AND j.lease_until <= $1))";

/// Claims the oldest job that may be claimed at `now`, until `lease_until`, in a transaction of its own. `None`: there
/// is none, or another server was faster; the next look finds what is left.
///
/// `owner` names one claim, not one server: two claims of one server must not be mistaken for each other.
pub async fn claim(store: &Store, owner: &str, now: Timestamp, lease_until: Timestamp) -> StoreResult<Option<ContentJobRecord>> {
    let mut tx = store.begin().await?;
    // The test stands in the outer WHERE too: PostgreSQL, having waited for the row, rechecks only that. Two jobs of
    // one subject are kept apart by the unique index over what runs.
    let mut sql = Sql::new("UPDATE content_jobs AS j SET state = 'RUNNING', started_at = COALESCE(j.started_at, ");
    sql.bind(micros(now)).push("), lease_owner = ").bind(owner.to_owned());
    sql.push(", lease_until = ").bind(micros(lease_until));
    sql.push(", attempts = j.attempts + 1, version = j.version + 1 WHERE j.id = (SELECT j.id FROM content_jobs j WHERE ");
    sql.push(CLAIMABLE).push(" ORDER BY j.created_at, j.id LIMIT 1) AND ").push(CLAIMABLE).push(" RETURNING id");
    let claimed = match sql.fetch(&mut tx, "claim a content job").await {
        Ok(rows) => rows.first().map(|r| id::<ContentJobId>(r, "id")).transpose()?,
        Err(e) if e.is_duplicate() => None,
        Err(e) => return Err(e),
    };
    let Some(job) = claimed else { return Ok(None) };
    let record = find(&mut tx, job).await?;
    commit(tx).await?;
    Ok(record)
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Go on.
    Held,
    /// The lease is renewed, but somebody asked to cancel the job.
    CancelRequested,
    /// Somebody else has the job, or it is over: stop and write nothing.
    Lost,
}

/// Renews the lease of `owner` and notes where the job is.
pub async fn renew(
    c: &mut AnyConnection,
    job: ContentJobId,
    owner: &str,
    lease_until: Timestamp,
    progress: &JobProgress,
) -> StoreResult<Renewal> {
    let row = sqlx::query(
        "UPDATE content_jobs SET lease_until = $3, progress = $4, version = version + 1 \
         WHERE id = $1 AND state = 'RUNNING' AND lease_owner = $2 RETURNING cancel_requested",
    )
    .bind(job.to_string())
    .bind(owner.to_owned())
    .bind(micros(lease_until))
    .bind(to_json("progress of a content job", progress)?)
    .fetch_optional(c)
    .await
    .map_err(StoreError::query("renew the lease of a content job"))?;
    Ok(match row.map(|r| flag(&r, "cancel_requested")).transpose()? {
        None => Renewal::Lost,
        Some(true) => Renewal::CancelRequested,
        Some(false) => Renewal::Held,
    })
}

/// How a job ended.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// SUCCEEDED, FAILED or CANCELED.
    pub state: ContentJobState,
    /// What came of it, or why it failed and what to do.
    pub message: &'a str,
    /// What was odd.
    pub findings: &'a [Finding],
    /// When.
    pub at: Timestamp,
}

/// Ends a job, if `owner` still has it. `false`: it was lost; the caller drops its transaction, so that nothing of what
/// the job made becomes visible. It is therefore the first statement of that transaction.
pub async fn finish(c: &mut AnyConnection, job: ContentJobId, owner: &str, end: &End<'_>) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE content_jobs SET state = $3, message = $4, findings = $5, findings_total = $6, finished_at = $7, \
         lease_owner = NULL, lease_until = NULL, version = version + 1 \
         WHERE id = $1 AND state = 'RUNNING' AND lease_owner = $2",
    )
    .bind(job.to_string())
    .bind(owner.to_owned())
    .bind(end.state.as_str())
    .bind(storable(end.message))
    .bind(storable(&to_json("findings", end.findings)?))
    .bind(i64::try_from(end.findings.len()).unwrap_or(i64::MAX))
    .bind(micros(end.at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("end a content job"))
}

/// Ends the lease of a job that `owner` has, so that anybody may claim it now: the server stops. `false`: it was lost.
pub async fn give_back(c: &mut AnyConnection, job: ContentJobId, owner: &str) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE content_jobs SET lease_until = 0, version = version + 1 \
         WHERE id = $1 AND state = 'RUNNING' AND lease_owner = $2",
    )
    .bind(job.to_string())
    .bind(owner.to_owned())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("give a content job back"))
}

/// Cancels a job: one that waits ends at once, one that runs is asked to. `None`: there is none, or it is over;
/// otherwise the state it has now.
pub async fn cancel(c: &mut AnyConnection, job: ContentJobId, at: Timestamp) -> StoreResult<Option<ContentJobState>> {
    let row = sqlx::query(
        "UPDATE content_jobs SET cancel_requested = 1, finished_at = CASE WHEN state = 'PENDING' THEN $2 ELSE finished_at END, \
         state = CASE WHEN state = 'PENDING' THEN 'CANCELED' ELSE state END, version = version + 1 \
         WHERE id = $1 AND state IN ('PENDING', 'RUNNING') RETURNING state",
    )
    .bind(job.to_string())
    .bind(micros(at))
    .fetch_optional(c)
    .await
    .map_err(StoreError::query("cancel a content job"))?;
    row.map(|r| parsed(&r, "state", ContentJobState::parse)).transpose()
}

/// Forgets jobs that ended before `before`, but the newest of each source. Says how many.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query(
        "DELETE FROM content_jobs WHERE finished_at < $1 AND state IN ('SUCCEEDED', 'FAILED', 'CANCELED') \
         AND EXISTS (SELECT 1 FROM content_jobs n WHERE n.subject = content_jobs.subject AND n.id > content_jobs.id)",
    )
    .bind(micros(before))
    .execute(c)
    .await
    .map(|r| r.rows_affected())
    .map_err(StoreError::query("forget old content jobs"))
}

fn read(row: &AnyRow) -> StoreResult<ContentJobRecord> {
    Ok(ContentJobRecord {
        id: id(row, "id")?,
        kind: parsed(row, "kind", ContentJobKind::parse)?,
        source: opt_id(row, "source_id")?,
        state: parsed(row, "state", ContentJobState::parse)?,
        input: opt_text(row, "input")?,
        progress: opt_json(row, "progress")?.unwrap_or_default(),
        message: text(row, "message")?,
        findings_total: count(row, "findings_total")?,
        requested_by: text(row, "requested_by")?,
        created_at: time(row, "created_at")?,
        started_at: opt_time(row, "started_at")?,
        finished_at: opt_time(row, "finished_at")?,
        attempts: count(row, "attempts")?,
        lease_owner: opt_text(row, "lease_owner")?,
        lease_until: opt_time(row, "lease_until")?,
        cancel_requested: flag(row, "cancel_requested")?,
        version: int(row, "version")?,
    })
}
