//! What tasks of undo jobs were ordered to take back, and the versions that are barred on hosts since.

use drydock_domain::access::Scope;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::undo::{Barred, UndoOrder};
use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{id, json, micros, storable, text, time, to_json};
use crate::sql::Sql;

/// A version that must not come back to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRecord {
    /// Its id; grows with time.
    pub id: Uuid,
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Package, version and reason.
    pub bar: Barred,
    /// The job that took it back.
    pub job: JobId,
    /// When.
    pub created_at: Timestamp,
}

/// Which bars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BarQuery {
    /// Of this host.
    pub instance: Option<InstanceId>,
    /// Set by this job.
    pub job: Option<JobId>,
    /// Of this package.
    pub name: Option<String>,
    /// Which part of the answer.
    pub page: PageQuery,
}

/// Keeps what a task is ordered to take back; the first order stays.
pub async fn put_order(c: &mut AnyConnection, task: TaskId, order: &UndoOrder) -> StoreResult<()> {
    sqlx::query("INSERT INTO undo_orders (task_id, body) VALUES ($1, $2) ON CONFLICT (task_id) DO NOTHING")
        .bind(task.to_string())
        .bind(storable(&to_json("an undo order", order)?))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store an undo order"))
}

/// What a task was ordered to take back.
pub async fn order(c: &mut AnyConnection, task: TaskId) -> StoreResult<Option<UndoOrder>> {
    let mut sql = Sql::new("SELECT body FROM undo_orders WHERE task_id = ");
    sql.bind(task.to_string());
    sql.fetch(c, "read an undo order").await?.first().map(|r| json(r, "body")).transpose()
}

/// Bars a version on a host; `false`: it is barred already.
pub async fn bar(c: &mut AnyConnection, record: &BarRecord) -> StoreResult<bool> {
    sqlx::query(
        "INSERT INTO barred_versions (id, instance_id, name, arch, version, reason, job_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (instance_id, name, arch, version) DO NOTHING",
    )
    .bind(record.id.to_string())
    .bind(record.instance.to_string())
    .bind(storable(&record.bar.name))
    .bind(storable(&record.bar.arch))
    .bind(storable(&record.bar.version))
    .bind(storable(&record.bar.reason))
    .bind(record.job.to_string())
    .bind(micros(record.created_at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("bar a version"))
}

/// What is barred on a host.
pub async fn bars_of(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<Barred>> {
    let mut sql = Sql::new("SELECT name, arch, version, reason FROM barred_versions WHERE instance_id = ");
    sql.bind(instance.to_string()).push(" ORDER BY name, arch, version");
    let rows = sql.fetch(c, "read the barred versions of a host").await?;
    let read = |r: &sqlx::any::AnyRow| {
        Ok(Barred { name: text(r, "name")?, arch: text(r, "arch")?, version: text(r, "version")?, reason: text(r, "reason")? })
    };
    rows.iter().map(read).collect()
}

/// Barred versions on hosts in the compartments of `scope`, newest first.
pub async fn bars(c: &mut AnyConnection, query: &BarQuery, scope: &Scope) -> StoreResult<Paged<BarRecord>> {
    let mut sql = Sql::new(
        "SELECT b.id, b.instance_id, i.name AS instance_name, b.name, b.arch, b.version, b.reason, b.job_id, b.created_at \
         FROM barred_versions b JOIN instances i ON i.id = b.instance_id WHERE 1 = 1",
    );
    sql.within("i.compartment", scope);
    if let Some([last]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND b.id < ").bind(last);
    }
    if let Some(instance) = query.instance {
        sql.push(" AND b.instance_id = ").bind(instance.to_string());
    }
    if let Some(job) = query.job {
        sql.push(" AND b.job_id = ").bind(job.to_string());
    }
    if let Some(name) = &query.name {
        sql.push(" AND b.name = ").bind(storable(name));
    }
    sql.push(" ORDER BY b.id DESC LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list barred versions").await?;
    let read = |r: &sqlx::any::AnyRow| {
        Ok(BarRecord {
            id: id(r, "id")?,
            instance: id(r, "instance_id")?,
            instance_name: text(r, "instance_name")?,
            bar: Barred {
                name: text(r, "name")?,
                arch: text(r, "arch")?,
                version: text(r, "version")?,
                reason: text(r, "reason")?,
            },
            job: id(r, "job_id")?,
            created_at: time(r, "created_at")?,
        })
    };
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, found, |b| vec![b.id.to_string()]))
}

/// Lifts bars of hosts in the compartments of `scope`; says how many there were. The page of the query does not count.
pub async fn lift(c: &mut AnyConnection, query: &BarQuery, scope: &Scope) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM barred_versions WHERE 1 = 1");
    if *scope != Scope::Everywhere {
        sql.push(" AND instance_id IN (SELECT id FROM instances WHERE 1 = 1").within("compartment", scope).push(")");
    }
    if let Some(instance) = query.instance {
        sql.push(" AND instance_id = ").bind(instance.to_string());
    }
    if let Some(job) = query.job {
        sql.push(" AND job_id = ").bind(job.to_string());
    }
    if let Some(name) = &query.name {
        sql.push(" AND name = ").bind(storable(name));
    }
    sql.execute(c, "lift barred versions").await
}

/// Lifts the bar of one version on a host, because it came back there by another undo.
pub async fn lift_one(c: &mut AnyConnection, instance: InstanceId, name: &str, arch: &str, version: &str) -> StoreResult<()> {
    sqlx::query("DELETE FROM barred_versions WHERE instance_id = $1 AND name = $2 AND arch = $3 AND version = $4")
        .bind(instance.to_string())
        .bind(storable(name))
        .bind(storable(arch))
        .bind(storable(version))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("lift a barred version"))
}
