//! Exceptions: vulnerabilities that are accepted for a while, with who answers for it.

use drydock_domain::access::Scope;
use drydock_domain::advisory::exception::HostFacts;
use drydock_domain::ids::{ExceptionId, GroupId, InstanceId};
use drydock_domain::instance::Labels;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::advisory_records::ExceptionRecord;
use crate::error::{StoreError, StoreResult};
use crate::row::{id, int, json, micros, opt_id, opt_micros, opt_time, storable, text, time};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, cve, scope, owner, reason, created_by, created_at, expires_at, version, compartment \
     FROM vulnerability_exceptions";

/// Adds an exception.
pub async fn insert(c: &mut AnyConnection, exception: &ExceptionRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO vulnerability_exceptions (id, cve, scope, owner, reason, created_by, created_at, expires_at, version, \
         compartment) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(exception.id.to_string())
    .bind(storable(&exception.cve))
    .bind(storable(&exception.scope))
    .bind(storable(&exception.owner))
    .bind(storable(&exception.reason))
    .bind(storable(&exception.created_by))
    .bind(micros(exception.created_at))
    .bind(opt_micros(exception.expires_at))
    .bind(exception.version)
    .bind(storable(&exception.compartment))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an exception"))
}

/// Replaces scope, owner, reason and end, if the version is still the one read; the version grows.
pub async fn update(c: &mut AnyConnection, exception: &ExceptionRecord) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE vulnerability_exceptions SET scope = $2, owner = $3, reason = $4, expires_at = $5, version = version + 1 \
         WHERE id = $1 AND version = $6",
    )
    .bind(exception.id.to_string())
    .bind(storable(&exception.scope))
    .bind(storable(&exception.owner))
    .bind(storable(&exception.reason))
    .bind(opt_micros(exception.expires_at))
    .bind(exception.version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("edit an exception"))
}

/// All of them, newest first: some hundred.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<ExceptionRecord>> {
    within(c, &Scope::Everywhere).await
}

/// Those in `scope`, newest first.
pub async fn within(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<ExceptionRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope).push(" ORDER BY id DESC");
    sql.fetch(c, "list exceptions").await?.iter().map(read).collect()
}

/// The exception with this id.
pub async fn find(c: &mut AnyConnection, exception: ExceptionId) -> StoreResult<Option<ExceptionRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(exception.to_string());
    sql.fetch(c, "read an exception").await?.first().map(read).transpose()
}

/// Removes an exception.
pub async fn delete(c: &mut AnyConnection, exception: ExceptionId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM vulnerability_exceptions WHERE id = $1")
        .bind(exception.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete an exception"))
}

/// What the scopes of exceptions look at, of one ACTIVE host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedHost {
    /// The host.
    pub instance: InstanceId,
    /// The group it is in.
    pub group: Option<GroupId>,
    /// Its labels.
    pub labels: Labels,
    /// Path of its compartment.
    pub compartment: String,
}

impl ScopedHost {
    /// As the rules take it.
    pub fn facts(&self) -> HostFacts<'_> {
        HostFacts { instance: self.instance, group: self.group, labels: &self.labels }
    }
}

/// What scopes look at, of every ACTIVE host: some 200 bytes each.
pub async fn hosts(c: &mut AnyConnection) -> StoreResult<Vec<ScopedHost>> {
    let sql = Sql::new("SELECT id, group_id, labels, compartment FROM instances WHERE state = 'ACTIVE'");
    let read = |row: &AnyRow| {
        let (instance, group) = (id(row, "id")?, opt_id(row, "group_id")?);
        Ok(ScopedHost { instance, group, labels: json(row, "labels")?, compartment: text(row, "compartment")? })
    };
    sql.fetch(c, "read which hosts exceptions are about").await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> StoreResult<ExceptionRecord> {
    Ok(ExceptionRecord {
        id: id(row, "id")?,
        cve: text(row, "cve")?,
        scope: text(row, "scope")?,
        owner: text(row, "owner")?,
        reason: text(row, "reason")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: opt_time(row, "expires_at")?,
        version: int(row, "version")?,
        compartment: text(row, "compartment")?,
    })
}
