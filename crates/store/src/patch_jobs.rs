//! Patch jobs. Every change is conditional on the version read; the row is also what admissions queue behind.

use drydock_domain::access::Scope;
use drydock_domain::ids::JobId;
use drydock_domain::patch::job::{JobOrigin, JobState};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{JobQuery, JobRecord, Paged};
use crate::row::{
    flag, id, int, json, micros, opt_id, opt_int, opt_json, opt_micros, opt_text, opt_time, parsed, storable, text, time, to_json,
};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, spec, state, created_by, created_at, deadline, finished_at, cancel_requested, \
                       kill_requested, error_message, deployment_id, deployment_name, rerun_of, rerun_all, undo_of, \
                       undo_wave, undo_halt, control, plans, compartment, owner, version FROM patch_jobs";

/// Adds a job. A duplicate (see [`StoreError::is_duplicate`]) means that its halt is taken back by another job already.
pub async fn insert(c: &mut AnyConnection, job: &JobRecord) -> StoreResult<()> {
    let (mut deployment, mut rerun, mut undo) = (None, None, None);
    match &job.origin {
        JobOrigin::Asked => {}
        JobOrigin::Deployment { id, name } => deployment = Some((id, name)),
        JobOrigin::Rerun { job, all_hosts } => rerun = Some((job, *all_hosts)),
        JobOrigin::Undo { job, wave, halted_at } => undo = Some((job, wave.clone(), *halted_at)),
    }
    sqlx::query(
        "INSERT INTO patch_jobs (id, spec, display_name, dry_run, state, done, created_by, created_at, deadline, \
         finished_at, cancel_requested, kill_requested, error_message, version, deployment_id, deployment_name, rerun_of, \
         rerun_all, undo_of, undo_wave, undo_halt, control, plans, compartment, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
         $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)",
    )
    .bind(job.id.to_string())
    .bind(to_json("a patch job", &job.spec)?)
    .bind(job.spec.display_name.clone())
    .bind(i64::from(job.spec.dry_run))
    .bind(job.state.as_str())
    .bind(i64::from(job.state.is_final()))
    .bind(job.created_by.clone())
    .bind(micros(job.created_at))
    .bind(opt_micros(job.deadline))
    .bind(opt_micros(job.finished_at))
    .bind(i64::from(job.cancel_requested))
    .bind(i64::from(job.kill_requested))
    .bind(job.error_message.clone())
    .bind(job.version)
    .bind(deployment.map(|(id, _)| id.to_string()))
    .bind(deployment.map(|(_, name)| name.clone()))
    .bind(rerun.map(|(job, _)| job.to_string()))
    .bind(rerun.map(|(_, all_hosts)| i64::from(all_hosts)))
    .bind(undo.as_ref().map(|(job, ..)| job.to_string()))
    .bind(undo.as_ref().and_then(|(_, wave, _)| wave.clone()))
    .bind(opt_micros(undo.and_then(|(.., halted_at)| halted_at)))
    .bind(to_json("what was done to a patch job", &job.control)?)
    .bind(to_json("the plans of a patch job", &job.plans)?)
    .bind(job.compartment.clone())
    .bind(job.owner.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a patch job"))
}

/// The job with this id.
pub async fn find(c: &mut AnyConnection, job: JobId) -> StoreResult<Option<JobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(job.to_string());
    sql.fetch(c, "read a patch job").await?.first().map(read).transpose()
}

/// Jobs that are not final, oldest first.
pub async fn open(c: &mut AnyConnection) -> StoreResult<Vec<JobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE done = 0 ORDER BY id");
    sql.fetch(c, "read the open patch jobs").await?.iter().map(read).collect()
}

/// Jobs in the compartments of `scope`, newest first.
pub async fn list(c: &mut AnyConnection, query: &JobQuery, scope: &Scope) -> StoreResult<Paged<JobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND id < ").bind(last);
    }
    if let Some(state) = query.state {
        sql.push(" AND state = ").bind(state.as_str());
    }
    if let Some(instance) = query.instance {
        sql.push(" AND id IN (SELECT job_id FROM patch_tasks WHERE instance_id = ").bind(instance.to_string()).push(")");
    }
    if let Some(name) = &query.deployment {
        sql.push(" AND deployment_name = ").bind(storable(name));
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list patch jobs").await?;
    let jobs = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, jobs, |j| vec![j.id.to_string()]))
}

/// Stores state, end, cancellation, error, control and plans of `job`, if the row still has `job.version`; the row's version grows.
///
/// In a transaction this also holds the row: whoever else read the same version changes nothing.
pub async fn update(c: &mut AnyConnection, job: &JobRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE patch_jobs SET state = $2, done = $3, finished_at = $4, cancel_requested = $5, kill_requested = $6, \
         error_message = $7, control = $9, plans = $10, version = version + 1 WHERE id = $1 AND version = $8",
    )
    .bind(job.id.to_string())
    .bind(job.state.as_str())
    .bind(i64::from(job.state.is_final()))
    .bind(opt_micros(job.finished_at))
    .bind(i64::from(job.cancel_requested))
    .bind(i64::from(job.kill_requested))
    .bind(job.error_message.clone())
    .bind(job.version)
    .bind(to_json("what was done to a patch job", &job.control)?)
    .bind(to_json("the plans of a patch job", &job.plans)?)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store the state of a patch job"))
}

/// The jobs that take this one back, oldest first.
pub async fn undone_by(c: &mut AnyConnection, job: JobId) -> StoreResult<Vec<JobRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE undo_of = ").bind(job.to_string()).push(" ORDER BY id");
    sql.fetch(c, "look for the undo of a patch job").await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> StoreResult<JobRecord> {
    let origin = match (opt_id(row, "deployment_id")?, opt_id(row, "rerun_of")?, opt_id(row, "undo_of")?) {
        (Some(id), ..) => JobOrigin::Deployment { id, name: opt_text(row, "deployment_name")?.unwrap_or_default() },
        (None, Some(job), _) => JobOrigin::Rerun { job, all_hosts: opt_int(row, "rerun_all")? == Some(1) },
        (None, None, Some(job)) => {
            JobOrigin::Undo { job, wave: opt_text(row, "undo_wave")?, halted_at: opt_time(row, "undo_halt")? }
        }
        (None, None, None) => JobOrigin::Asked,
    };
    Ok(JobRecord {
        id: id(row, "id")?,
        spec: json(row, "spec")?,
        state: parsed(row, "state", JobState::parse)?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        deadline: opt_time(row, "deadline")?,
        finished_at: opt_time(row, "finished_at")?,
        cancel_requested: flag(row, "cancel_requested")?,
        kill_requested: flag(row, "kill_requested")?,
        error_message: text(row, "error_message")?,
        origin,
        control: opt_json(row, "control")?.unwrap_or_default(),
        plans: opt_json(row, "plans")?.unwrap_or_default(),
        compartment: text(row, "compartment")?,
        owner: text(row, "owner")?,
        version: int(row, "version")?,
    })
}
