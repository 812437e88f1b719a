//! Patch tasks and their reports. Every change is conditional on the version read.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::Scope;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::SectionKind;
use drydock_domain::patch::job::StateCounts;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged, TaskQuery, TaskRecord};
use crate::row::{
    big_count, count, flag, id, int, json, micros, opt_id, opt_int, opt_json, opt_micros, opt_parsed, opt_text, opt_time, parsed,
    storable, text, time, to_json,
};
use crate::sql::Sql;

/// Tasks stored by one statement: 11 parameters each, far below SQLite's 32,766.
const INSERT_ROWS: usize = 500;

const COLUMNS: &str = "SELECT t.id, t.job_id, j.display_name, j.dry_run, t.instance_id, t.instance_name, t.state, \
     t.waiting_on, t.message, t.order_number, t.report_seq, t.planned, t.applied, t.skipped, t.reboots, t.created_at, \
     t.updated_at, t.finished_at, t.version, t.wave, t.zone";
const FROM: &str = " FROM patch_tasks t JOIN patch_jobs j ON j.id = t.job_id";

/// Adds new PENDING tasks; a host the job already has keeps its task.
pub async fn insert_pending(c: &mut AnyConnection, tasks: &[TaskRecord]) -> StoreResult<()> {
    for chunk in tasks.chunks(INSERT_ROWS) {
        let mut sql = Sql::new(
            "INSERT INTO patch_tasks (id, job_id, instance_id, instance_name, state, message, created_at, updated_at, \
             version, wave, zone, done, report_seq, planned, applied, skipped, reboots) VALUES ",
        );
        for (i, task) in chunk.iter().enumerate() {
            sql.push(if i == 0 { "(" } else { ", (" }).bind(task.id.to_string());
            sql.push(", ").bind(task.job.to_string());
            sql.push(", ").bind(task.instance.to_string());
            sql.push(", ").bind(task.instance_name.clone());
            sql.push(", ").bind(TaskState::Pending.as_str());
            sql.push(", ").bind(storable(&task.message));
            sql.push(", ").bind(micros(task.created_at));
            sql.push(", ").bind(micros(task.updated_at));
            sql.push(", ").bind(task.version);
            sql.push(", ").bind(i64::from(task.wave));
            sql.push(", ").bind(storable(&task.zone)).push(", 0, 0, 0, 0, 0, 0)");
        }
        sql.push(" ON CONFLICT (job_id, instance_id) DO NOTHING");
        sql.execute(c, "store patch tasks").await?;
    }
    Ok(())
}

/// The task with this id.
pub async fn find(c: &mut AnyConnection, task: TaskId) -> StoreResult<Option<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.id = ").bind(task.to_string());
    sql.fetch(c, "read a patch task").await?.first().map(read).transpose()
}

/// The task of a job on this instance.
pub async fn of_job_and_instance(c: &mut AnyConnection, job: JobId, instance: InstanceId) -> StoreResult<Option<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.job_id = ").bind(job.to_string());
    sql.push(" AND t.instance_id = ").bind(instance.to_string());
    sql.fetch(c, "read the patch task of an instance").await?.first().map(read).transpose()
}

/// Tasks of a job, by instance name.
pub async fn list(c: &mut AnyConnection, job: JobId, query: &TaskQuery) -> StoreResult<Paged<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.job_id = ").bind(job.to_string());
    if let Some([name, last]) = cursor::keys::<2>(&query.page)? {
        sql.push(" AND (t.instance_name, t.id) > (").bind(name).push(", ").bind(last).push(")");
    }
    if let Some(state) = query.state {
        sql.push(" AND t.state = ").bind(state.as_str());
    }
    if let Some(since) = query.updated_since {
        sql.push(" AND t.updated_at >= ").bind(micros(since));
    }
    sql.push(" ORDER BY t.instance_name, t.id LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list patch tasks").await?;
    let tasks = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, tasks, |t| vec![t.instance_name.clone(), t.id.to_string()]))
}

/// Tasks of an instance, newest first.
pub async fn of_instance(
    c: &mut AnyConnection,
    instance: InstanceId,
    page: &PageQuery,
    scope: &Scope,
) -> StoreResult<Paged<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.instance_id = ").bind(instance.to_string());
    if *scope != Scope::Everywhere {
        sql.push(" AND t.job_id IN (SELECT j.id FROM patch_jobs j WHERE 1 = 1").within("j.compartment", scope).push(")");
    }
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND t.id < ").bind(last);
    }
    sql.push(" ORDER BY t.id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the patch tasks of an instance").await?;
    let tasks = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, tasks, |t| vec![t.id.to_string()]))
}

/// Tasks of an instance that were let go and are not final, oldest first.
pub async fn at_work(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.instance_id = ").bind(instance.to_string());
    sql.push(" AND t.done = 0 AND t.state <> ").bind(TaskState::Pending.as_str()).push(" ORDER BY t.id");
    sql.fetch(c, "read the work of an instance").await?.iter().map(read).collect()
}

/// These tasks, as far as they belong to the instance.
pub async fn of_instance_by_id(c: &mut AnyConnection, instance: InstanceId, tasks: &[TaskId]) -> StoreResult<Vec<TaskRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE t.instance_id = ").bind(instance.to_string());
    sql.push(" AND t.id IN ").bind_list(tasks.iter().map(ToString::to_string));
    sql.fetch(c, "read the tasks an agent holds").await?.iter().map(read).collect()
}

/// A task that is not final, with what decides about it.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTask {
    /// Its row.
    pub task: TaskRecord,
    /// State of its instance; absent = the instance was deleted.
    pub instance_state: Option<InstanceState>,
    /// Path of the compartment of its instance.
    pub instance_compartment: Option<String>,
    /// When the instance was last heard of, as stored.
    pub last_seen: Option<Timestamp>,
    /// A task of the same host in another job that is older, or at work.
    pub other_task: Option<TaskId>,
}

/// The tasks of a job that are not final, by instance name.
pub async fn open(c: &mut AnyConnection, job: JobId) -> StoreResult<Vec<OpenTask>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(
        ", i.state AS instance_state, i.compartment AS instance_compartment, i.last_seen, (SELECT min(o.id) FROM patch_tasks o WHERE o.instance_id = t.instance_id \
         AND o.done = 0 AND o.job_id <> t.job_id AND (o.id < t.id OR o.state <> 'PENDING')) AS other_task",
    );
    sql.push(FROM).push(" LEFT JOIN instances i ON i.id = t.instance_id WHERE t.job_id = ").bind(job.to_string());
    sql.push(" AND t.done = 0 ORDER BY t.instance_name, t.id");
    let rows = sql.fetch(c, "read the open tasks of a patch job").await?;
    let read = |r: &AnyRow| {
        Ok(OpenTask {
            task: read(r)?,
            instance_state: opt_parsed(r, "instance_state", InstanceState::parse)?,
            instance_compartment: opt_text(r, "instance_compartment")?,
            last_seen: opt_time(r, "last_seen")?,
            other_task: opt_id(r, "other_task")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Tasks per state, for each of these jobs that has tasks.
pub async fn counts(c: &mut AnyConnection, jobs: &[JobId]) -> StoreResult<BTreeMap<JobId, StateCounts>> {
    let mut sql = Sql::new("SELECT job_id, state, count(*) AS n FROM patch_tasks WHERE job_id IN ");
    sql.bind_list(jobs.iter().map(ToString::to_string)).push(" GROUP BY job_id, state");
    let rows = sql.fetch(c, "count patch tasks").await?;
    let mut out: BTreeMap<JobId, StateCounts> = BTreeMap::new();
    for row in &rows {
        let state = parsed(row, "state", TaskState::parse)?;
        out.entry(id(row, "job_id")?).or_default().insert(state, count(row, "n")?);
    }
    Ok(out)
}

/// Instances on which a job did not succeed; with `all`, every one it reached.
pub async fn to_do_again(c: &mut AnyConnection, job: JobId, all: bool) -> StoreResult<BTreeSet<InstanceId>> {
    let mut sql = Sql::new("SELECT instance_id FROM patch_tasks WHERE job_id = ");
    sql.bind(job.to_string());
    if !all {
        let succeeded = TaskState::ALL.into_iter().filter(|state| state.is_success());
        sql.push(" AND state NOT IN ").bind_list(succeeded.map(|state| state.as_str().to_owned()));
    }
    let rows = sql.fetch(c, "read the hosts of an ended patch job").await?;
    rows.iter().map(|r| id(r, "instance_id")).collect()
}

/// Stores state, hold, message and times of `task`, if the row still has `task.version`; the row's version grows.
pub async fn update(c: &mut AnyConnection, task: &TaskRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE patch_tasks SET state = $2, done = $3, waiting_on = $4, message = $5, updated_at = $6, finished_at = $7, \
         version = version + 1 WHERE id = $1 AND version = $8",
    )
    .bind(task.id.to_string())
    .bind(task.state.as_str())
    .bind(i64::from(task.state.is_final()))
    .bind(task.waiting_on.as_ref().map(|w| to_json("a hold", w)).transpose()?)
    .bind(storable(&task.message))
    .bind(micros(task.updated_at))
    .bind(opt_micros(task.finished_at))
    .bind(task.version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store the state of a patch task"))
}

/// Lets a task go with its order number, if the row still has `task.version` and no other task of the host is at work.
///
/// The caller holds the instance's row (it has just drawn the number), so of two servers the second sees the first's
/// task here: on PostgreSQL a statement sees what was committed before it began.
pub async fn let_go(c: &mut AnyConnection, task: &TaskRecord, number: i64) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE patch_tasks SET state = $2, waiting_on = NULL, message = $3, order_number = $4, updated_at = $5, \
         version = version + 1 WHERE id = $1 AND version = $6 AND NOT EXISTS (SELECT 1 FROM patch_tasks o \
         WHERE o.instance_id = $7 AND o.done = 0 AND o.state <> 'PENDING' AND o.id <> $1)",
    )
    .bind(task.id.to_string())
    .bind(task.state.as_str())
    .bind(storable(&task.message))
    .bind(number)
    .bind(micros(task.updated_at))
    .bind(task.version)
    .bind(task.instance.to_string())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("let a patch task go"))
}

/// Stores a report and what follows from it (`task` as it is after the report), if the row still has `task.version`.
pub async fn put_report(c: &mut AnyConnection, task: &TaskRecord, report: &TaskReport) -> StoreResult<bool> {
    let seq = i64::try_from(task.report_seq).unwrap_or(i64::MAX);
    let changed = sqlx::query(
        "UPDATE patch_tasks SET report_seq = $2, planned = $3, applied = $4, skipped = $5, reboots = $6, version = version + 1 \
         WHERE id = $1 AND version = $7 AND report_seq < $2",
    )
    .bind(task.id.to_string())
    .bind(seq)
    .bind(i64::from(task.planned))
    .bind(i64::from(task.applied))
    .bind(i64::from(task.skipped))
    .bind(i64::from(task.reboots))
    .bind(task.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("note a patch task's report"))?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO patch_task_reports (task_id, seq, report) VALUES ($1, $2, $3) ON CONFLICT (task_id) DO UPDATE \
         SET seq = excluded.seq, report = excluded.report",
    )
    .bind(task.id.to_string())
    .bind(seq)
    .bind(to_json("a task report", report)?)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store a patch task's report"))?;
    let after = TaskRecord { version: task.version + 1, ..task.clone() };
    update(c, &after).await
}

/// The stored report of a task.
pub async fn report(c: &mut AnyConnection, task: TaskId) -> StoreResult<Option<TaskReport>> {
    let mut sql = Sql::new("SELECT report FROM patch_task_reports WHERE task_id = ");
    sql.bind(task.to_string());
    sql.fetch(c, "read a patch task's report").await?.first().map(|r| json(r, "report")).transpose()
}

/// A task that is final: what the planner looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Its id.
    pub task: TaskId,
    /// The host.
    pub instance: InstanceId,
    /// Its wave.
    pub wave: u16,
    /// Its zone.
    pub zone: String,
    /// How it ended.
    pub state: TaskState,
    /// When.
    pub at: Timestamp,
}

/// The tasks of a job that are final: narrow rows, read each turn.
pub async fn ended(c: &mut AnyConnection, job: JobId) -> StoreResult<Vec<EndedTask>> {
    let mut sql = Sql::new("SELECT id, instance_id, wave, zone, state, finished_at, updated_at FROM patch_tasks WHERE job_id = ");
    sql.bind(job.to_string()).push(" AND done = 1");
    let rows = sql.fetch(c, "read the ended tasks of a patch job").await?;
    let read = |r: &AnyRow| {
        Ok(EndedTask {
            task: id(r, "id")?,
            instance: id(r, "instance_id")?,
            wave: wave(r)?,
            zone: text(r, "zone")?,
            state: parsed(r, "state", TaskState::parse)?,
            at: opt_time(r, "finished_at")?.map_or_else(|| time(r, "updated_at"), Ok)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Hosts that other jobs, and policies, are at work on, by zone. Dry runs disturb nobody.
pub async fn disrupted_by_others(c: &mut AnyConnection, job: JobId) -> StoreResult<BTreeMap<String, u32>> {
    let mut sql = Sql::new(
        "SELECT t.zone, count(*) AS n FROM patch_tasks t JOIN patch_jobs j ON j.id = t.job_id WHERE t.done = 0 \
         AND t.state <> 'PENDING' AND j.dry_run = 0 AND t.job_id <> ",
    );
    sql.bind(job.to_string()).push(" GROUP BY t.zone");
    let rows = sql.fetch(c, "count the hosts that other jobs are at work on").await?;
    let mut by_zone = crate::policy_hosts::changing(c, None).await?;
    for row in &rows {
        *by_zone.entry(text(row, "zone")?).or_default() += count(row, "n")?;
    }
    Ok(by_zone)
}

/// Jobs with a disruption budget queue here until their transaction ends: each sees whom the one before let go.
pub async fn queue_for_budget(c: &mut AnyConnection) -> StoreResult<()> {
    sqlx::query("UPDATE budget_queue SET version = version + 1 WHERE id = 1")
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("queue for the disruption budget"))
}

/// Moves tasks to the waves of a new plan; their versions stay, so whoever is at work on one goes on.
pub async fn set_waves(c: &mut AnyConnection, waves: &[(TaskId, u16)]) -> StoreResult<()> {
    for (task, wave) in waves {
        sqlx::query("UPDATE patch_tasks SET wave = $2 WHERE id = $1")
            .bind(task.to_string())
            .bind(i64::from(*wave))
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("move a patch task to another wave"))?;
    }
    Ok(())
}

/// Notes which systemd units of the host had failed before its task was let go.
pub async fn set_units_before(c: &mut AnyConnection, task: TaskId, units: &[String]) -> StoreResult<()> {
    sqlx::query("UPDATE patch_tasks SET units_before = $2 WHERE id = $1")
        .bind(task.to_string())
        .bind(storable(&to_json("failed units", units)?))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note the failed units of a host"))
}

/// A host that has succeeded and is watched while its wave bakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its task.
    pub task: TaskId,
    /// When it was last heard of, as stored; absent = it is gone.
    pub last_seen: Option<Timestamp>,
    /// Failed units before it was let go; absent = not noted.
    pub units_before: Option<Vec<String>>,
    /// Fingerprint of the body of its health section.
    pub health: Option<String>,
}

/// The hosts of these waves that have succeeded.
pub async fn watched(c: &mut AnyConnection, job: JobId, waves: &[u16]) -> StoreResult<Vec<Watched>> {
    let mut sql = Sql::new(
        "SELECT t.id, t.units_before, i.last_seen, s.fingerprint FROM patch_tasks t LEFT JOIN instances i \
         ON i.id = t.instance_id LEFT JOIN instance_sections s ON s.instance_id = t.instance_id AND s.kind = ",
    );
    sql.bind(SectionKind::Health.as_str()).push(" WHERE t.job_id = ").bind(job.to_string());
    let succeeded = TaskState::ALL.into_iter().filter(|state| state.is_success());
    sql.push(" AND t.state IN ").bind_list(succeeded.map(|state| state.as_str().to_owned()));
    sql.push(" AND t.wave IN ").numbers(waves.iter().map(|w| i64::from(*w)));
    let rows = sql.fetch(c, "read the hosts of a wave that bakes").await?;
    let read = |r: &AnyRow| {
        Ok(Watched {
            task: id(r, "id")?,
            last_seen: opt_time(r, "last_seen")?,
            units_before: opt_json(r, "units_before")?,
            health: opt_text(r, "fingerprint")?,
        })
    };
    rows.iter().map(read).collect()
}

fn wave(row: &AnyRow) -> StoreResult<u16> {
    let n = int(row, "wave")?;
    u16::try_from(n).map_err(|_| StoreError::Row { column: "wave", problem: format!("{n} is no wave") })
}

fn read(row: &AnyRow) -> StoreResult<TaskRecord> {
    Ok(TaskRecord {
        id: id(row, "id")?,
        job: id(row, "job_id")?,
        job_display_name: text(row, "display_name")?,
        dry_run: flag(row, "dry_run")?,
        instance: id(row, "instance_id")?,
        instance_name: text(row, "instance_name")?,
        wave: wave(row)?,
        zone: text(row, "zone")?,
        state: parsed(row, "state", TaskState::parse)?,
        waiting_on: opt_json(row, "waiting_on")?,
        message: text(row, "message")?,
        order_number: opt_int(row, "order_number")?.and_then(|n| u64::try_from(n).ok()),
        report_seq: big_count(row, "report_seq")?,
        planned: count(row, "planned")?,
        applied: count(row, "applied")?,
        skipped: count(row, "skipped")?,
        reboots: count(row, "reboots")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        finished_at: opt_time(row, "finished_at")?,
        version: int(row, "version")?,
    })
}
