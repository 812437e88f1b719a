//! Patch deployments and their executions. A change of a deployment is conditional on the version read; the row is what
//! runs of one deployment queue behind, so that a moment is decided once, also between two servers.

use drydock_domain::access::Scope;
use drydock_domain::ids::{DeploymentId, ExecutionId, JobId};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, PatchDeploymentSpec};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{id, int, json, micros, opt_id, opt_micros, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

/// A patch deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentRecord {
    /// Its id.
    pub id: DeploymentId,
    /// As made or last edited.
    pub spec: PatchDeploymentSpec,
    /// ACTIVE, PAUSED.
    pub state: DeploymentState,
    /// Who paused it; empty while it is ACTIVE.
    pub paused_by: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited, paused or resumed.
    pub updated_at: Timestamp,
    /// The next run by the schedule; `None`: none is due any more.
    pub next_at: Option<Timestamp>,
    /// When its newest job was started.
    pub last_at: Option<Timestamp>,
    /// That job.
    pub last_job: Option<JobId>,
    /// Path of its compartment.
    pub compartment: String,
    /// In whose name its runs start: a principal's key; empty: the server's.
    pub owner: String,
    /// Grows with every change of the row; the etag.
    pub version: i64,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRecord {
    /// Its id; grows with the time it was decided.
    pub id: ExecutionId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// When the schedule said; `None`: a person asked for it.
    pub due_at: Option<Timestamp>,
    /// When it was decided.
    pub at: Timestamp,
    /// STARTED, QUEUED, SKIPPED, MISSED.
    pub outcome: ExecutionOutcome,
    /// Why, when it was not started.
    pub reason: String,
    /// Who decided: a person, or `server`.
    pub who: String,
    /// The job, when it was started.
    pub job: Option<JobId>,
}

const COLUMNS: &str = "SELECT d.id, d.spec, d.state, d.paused_by, d.created_by, d.created_at, d.updated_at, d.next_at, \
                       d.last_at, d.last_job, d.compartment, d.owner, d.version FROM patch_deployments d";
const EXECUTION: &str = "SELECT id, deployment_id, due_at, at, outcome, reason, who, job_id FROM patch_executions";

/// Adds a deployment. A duplicate (see [`StoreError::is_duplicate`]) means its name is taken.
pub async fn insert(c: &mut AnyConnection, deployment: &DeploymentRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO patch_deployments (id, name, spec, state, paused_by, created_by, created_at, updated_at, next_at, \
         last_at, last_job, version, compartment, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(deployment.id.to_string())
    .bind(deployment.spec.name.clone())
    .bind(to_json("a patch deployment", &deployment.spec)?)
    .bind(deployment.state.as_str())
    .bind(storable(&deployment.paused_by))
    .bind(storable(&deployment.created_by))
    .bind(micros(deployment.created_at))
    .bind(micros(deployment.updated_at))
    .bind(opt_micros(deployment.next_at))
    .bind(opt_micros(deployment.last_at))
    .bind(deployment.last_job.map(|job| job.to_string()))
    .bind(deployment.version)
    .bind(deployment.compartment.clone())
    .bind(deployment.owner.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a patch deployment"))
}

/// The deployment with this id.
pub async fn find(c: &mut AnyConnection, deployment: DeploymentId) -> StoreResult<Option<DeploymentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE d.id = ").bind(deployment.to_string());
    sql.fetch(c, "read a patch deployment").await?.first().map(read).transpose()
}

/// The deployment with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<DeploymentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE d.name = ").bind(storable(name));
    sql.fetch(c, "look up a patch deployment by name").await?.first().map(read).transpose()
}

/// Deployments in the compartments of `scope`, by name.
pub async fn list(c: &mut AnyConnection, page: &PageQuery, scope: &Scope) -> StoreResult<Paged<DeploymentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("d.compartment", scope);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND d.name > ").bind(last);
    }
    sql.push(" ORDER BY d.name LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list patch deployments").await?;
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |d| vec![d.spec.name.clone()]))
}

/// How many there are.
pub async fn count(c: &mut AnyConnection) -> StoreResult<u64> {
    let rows = Sql::new("SELECT count(*) AS n FROM patch_deployments").fetch(c, "count patch deployments").await?;
    rows.first().map_or(Ok(0), |r| crate::row::big_count(r, "n"))
}

/// Deployments with a run that is due at `now`, the longest due first, `limit` at most.
pub async fn due(c: &mut AnyConnection, now: Timestamp, limit: u32) -> StoreResult<Vec<DeploymentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE d.next_at <= ").bind(micros(now)).push(" ORDER BY d.next_at, d.id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read the patch deployments that are due").await?.iter().map(read).collect()
}

/// Deployments with a run that waits, `limit` at most.
pub async fn waiting(c: &mut AnyConnection, limit: u32) -> StoreResult<Vec<DeploymentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE d.id IN (SELECT deployment_id FROM patch_executions WHERE outcome = 'QUEUED') ORDER BY d.id LIMIT ");
    sql.bind(i64::from(limit));
    sql.fetch(c, "read the patch deployments with a waiting run").await?.iter().map(read).collect()
}

/// Stores what changes of `deployment`, if the row still has `deployment.version`; the row's version grows. In a
/// transaction this also holds the row: whoever else read the same version changes nothing.
pub async fn update(c: &mut AnyConnection, deployment: &DeploymentRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE patch_deployments SET spec = $2, state = $3, paused_by = $4, updated_at = $5, next_at = $6, last_at = $7, \
         last_job = $8, owner = $10, version = version + 1 WHERE id = $1 AND version = $9",
    )
    .bind(deployment.id.to_string())
    .bind(to_json("a patch deployment", &deployment.spec)?)
    .bind(deployment.state.as_str())
    .bind(storable(&deployment.paused_by))
    .bind(micros(deployment.updated_at))
    .bind(opt_micros(deployment.next_at))
    .bind(opt_micros(deployment.last_at))
    .bind(deployment.last_job.map(|job| job.to_string()))
    .bind(deployment.version)
    .bind(deployment.owner.clone())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store a change of a patch deployment"))
}

/// Deletes a deployment with its executions, if the row still has this version; its jobs stay.
pub async fn delete(c: &mut AnyConnection, deployment: DeploymentId, version: i64) -> StoreResult<bool> {
    // Held first: a run that begins at the same moment comes before or not at all.
    let held = sqlx::query("UPDATE patch_deployments SET version = version + 1 WHERE id = $1 AND version = $2")
        .bind(deployment.to_string())
        .bind(version)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("hold a patch deployment"))?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    for (statement, doing) in [
        ("DELETE FROM patch_executions WHERE deployment_id = $1", "delete the executions of a patch deployment"),
        ("DELETE FROM patch_deployments WHERE id = $1", "delete a patch deployment"),
    ] {
        let query = sqlx::query(statement).bind(deployment.to_string());
        query.execute(&mut *c).await.map_err(StoreError::query(doing))?;
    }
    Ok(true)
}

/// The oldest job of a deployment that is not final.
pub async fn open_job(c: &mut AnyConnection, deployment: DeploymentId) -> StoreResult<Option<JobId>> {
    let mut sql = Sql::new("SELECT id FROM patch_jobs WHERE deployment_id = ");
    sql.bind(deployment.to_string()).push(" AND done = 0 ORDER BY id LIMIT 1");
    sql.fetch(c, "look for an open job of a patch deployment").await?.first().map(|r| id(r, "id")).transpose()
}

/// Adds what became of a run. `false`: this moment of the schedule is decided already.
pub async fn insert_execution(c: &mut AnyConnection, execution: &ExecutionRecord) -> StoreResult<bool> {
    sqlx::query(
        "INSERT INTO patch_executions (id, deployment_id, due_at, at, outcome, reason, who, job_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (deployment_id, due_at) DO NOTHING",
    )
    .bind(execution.id.to_string())
    .bind(execution.deployment.to_string())
    .bind(opt_micros(execution.due_at))
    .bind(micros(execution.at))
    .bind(execution.outcome.as_str())
    .bind(storable(&execution.reason))
    .bind(storable(&execution.who))
    .bind(execution.job.map(|job| job.to_string()))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store an execution of a patch deployment"))
}

/// Says what became of a run that waited; the caller holds the deployment. `false`: it waits no more.
pub async fn end_wait(c: &mut AnyConnection, execution: &ExecutionRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE patch_executions SET at = $2, outcome = $3, reason = $4, job_id = $5 WHERE id = $1 AND outcome = 'QUEUED'",
    )
    .bind(execution.id.to_string())
    .bind(micros(execution.at))
    .bind(execution.outcome.as_str())
    .bind(storable(&execution.reason))
    .bind(execution.job.map(|job| job.to_string()))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("end the waiting of an execution"))
}

/// The run of a deployment that waits.
pub async fn queued(c: &mut AnyConnection, deployment: DeploymentId) -> StoreResult<Option<ExecutionRecord>> {
    let mut sql = Sql::new(EXECUTION);
    sql.push(" WHERE outcome = 'QUEUED' AND deployment_id = ").bind(deployment.to_string()).push(" ORDER BY id LIMIT 1");
    sql.fetch(c, "read the waiting run of a patch deployment").await?.first().map(read_execution).transpose()
}

/// The execution with this id.
pub async fn find_execution(c: &mut AnyConnection, execution: ExecutionId) -> StoreResult<Option<ExecutionRecord>> {
    let mut sql = Sql::new(EXECUTION);
    sql.push(" WHERE id = ").bind(execution.to_string());
    sql.fetch(c, "read an execution").await?.first().map(read_execution).transpose()
}

/// What became of this moment of the schedule, if it is decided.
pub async fn decided(c: &mut AnyConnection, deployment: DeploymentId, due_at: Timestamp) -> StoreResult<Option<ExecutionRecord>> {
    let mut sql = Sql::new(EXECUTION);
    sql.push(" WHERE deployment_id = ").bind(deployment.to_string()).push(" AND due_at = ").bind(micros(due_at));
    sql.fetch(c, "read what became of a run").await?.first().map(read_execution).transpose()
}

/// Of each of these deployments the newest execution, if it failed.
pub async fn newest_failed(c: &mut AnyConnection, deployments: &[DeploymentId]) -> StoreResult<Vec<ExecutionRecord>> {
    let mut sql = Sql::new(EXECUTION);
    sql.push(" WHERE outcome = 'FAILED' AND deployment_id IN ").bind_list(deployments.iter().map(ToString::to_string));
    sql.push(
        " AND NOT EXISTS (SELECT 1 FROM patch_executions newer WHERE newer.deployment_id = patch_executions.deployment_id \
         AND newer.id > patch_executions.id)",
    );
    sql.fetch(c, "read which patch deployments failed").await?.iter().map(read_execution).collect()
}

/// Executions of a deployment, newest first.
pub async fn executions(
    c: &mut AnyConnection,
    deployment: DeploymentId,
    page: &PageQuery,
) -> StoreResult<Paged<ExecutionRecord>> {
    let mut sql = Sql::new(EXECUTION);
    sql.push(" WHERE deployment_id = ").bind(deployment.to_string());
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND id < ").bind(last);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the executions of a patch deployment").await?;
    let found = rows.iter().map(read_execution).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |e| vec![e.id.to_string()]))
}

/// Forgets the oldest executions of each deployment beyond the newest `keep`; those that wait stay.
pub async fn forget_executions(c: &mut AnyConnection, keep: u32) -> StoreResult<u64> {
    sqlx::query(
        "DELETE FROM patch_executions WHERE outcome <> 'QUEUED' AND (SELECT count(*) FROM patch_executions newer \
         WHERE newer.deployment_id = patch_executions.deployment_id AND newer.id > patch_executions.id) >= $1",
    )
    .bind(i64::from(keep))
    .execute(c)
    .await
    .map(|r| r.rows_affected())
    .map_err(StoreError::query("forget old executions"))
}

fn read(row: &AnyRow) -> StoreResult<DeploymentRecord> {
    Ok(DeploymentRecord {
        id: id(row, "id")?,
        spec: json(row, "spec")?,
        state: parsed(row, "state", DeploymentState::parse)?,
        paused_by: text(row, "paused_by")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        next_at: opt_time(row, "next_at")?,
        last_at: opt_time(row, "last_at")?,
        last_job: opt_id(row, "last_job")?,
        compartment: text(row, "compartment")?,
        owner: text(row, "owner")?,
        version: int(row, "version")?,
    })
}

fn read_execution(row: &AnyRow) -> StoreResult<ExecutionRecord> {
    Ok(ExecutionRecord {
        id: id(row, "id")?,
        deployment: id(row, "deployment_id")?,
        due_at: opt_time(row, "due_at")?,
        at: time(row, "at")?,
        outcome: parsed(row, "outcome", ExecutionOutcome::parse)?,
        reason: text(row, "reason")?,
        who: text(row, "who")?,
        job: opt_id(row, "job_id")?,
    })
}
