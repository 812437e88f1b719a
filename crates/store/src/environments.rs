//! Lifecycle environments and who is in them.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::ids::{EnvironmentId, InstanceId};
use drydock_domain::source::environment::EnvironmentSpec;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{big_count, count, id, int, micros, storable, text, time};
use crate::source_records::EnvironmentRecord;
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, name, rank, description, compartment, created_by, created_at, version FROM environments";

/// Adds an environment. A duplicate (see [`StoreError::is_duplicate`]) means its name or rank was taken meanwhile.
pub async fn insert(c: &mut AnyConnection, environment: &EnvironmentRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO environments (id, name, rank, description, created_by, created_at, version, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(environment.id.to_string())
    .bind(environment.spec.name.clone())
    .bind(i64::from(environment.spec.rank))
    .bind(environment.spec.description.clone())
    .bind(environment.created_by.clone())
    .bind(micros(environment.created_at))
    .bind(environment.version)
    .bind(environment.compartment.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a lifecycle environment"))
}

/// The environment with this id.
pub async fn find(c: &mut AnyConnection, environment: EnvironmentId) -> StoreResult<Option<EnvironmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(environment.to_string());
    sql.fetch(c, "read a lifecycle environment").await?.first().map(read).transpose()
}

/// The environment with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<EnvironmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up a lifecycle environment by name").await?.first().map(read).transpose()
}

/// All of them, lowest rank first: a handful.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<EnvironmentRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY rank");
    sql.fetch(c, "list lifecycle environments").await?.iter().map(read).collect()
}

/// Replaces description and rank, if the version is still the one read. The name stays what it is.
pub async fn edit(c: &mut AnyConnection, environment: EnvironmentId, spec: &EnvironmentSpec, version: i64) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE environments SET rank = $2, description = $3, version = version + 1 WHERE id = $1 AND version = $4 AND name = $5",
    )
    .bind(environment.to_string())
    .bind(i64::from(spec.rank))
    .bind(spec.description.clone())
    .bind(version)
    .bind(spec.name.clone())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("edit a lifecycle environment"))
}

/// Deletes an environment with its pointers, their history and its attachments, if no instance is in it and no group
/// names it. `false`: one does, or it is gone. Of an instance put into it at the same moment the database refuses one:
/// see [`StoreError::is_referenced`].
pub async fn delete(c: &mut AnyConnection, environment: EnvironmentId) -> StoreResult<bool> {
    let gone = sqlx::query(
        "DELETE FROM environments WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.environment_id = $1) \
         AND NOT EXISTS (SELECT 1 FROM instance_groups g WHERE g.environment_id = $1)",
    )
    .bind(environment.to_string())
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("delete a lifecycle environment"))?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    for statement in [
        "DELETE FROM pointers WHERE environment_id = $1",
        "DELETE FROM pointer_moves WHERE environment_id = $1",
        "DELETE FROM attachments WHERE target_id = $1 AND target_kind = 'ENVIRONMENT'",
    ] {
        sqlx::query(statement)
            .bind(environment.to_string())
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("clear a deleted lifecycle environment"))?;
    }
    Ok(true)
}

/// Instances of `scope` in each environment that has some, by themselves or by their group, whatever their state.
pub async fn instance_counts(c: &mut AnyConnection, scope: &Scope) -> StoreResult<BTreeMap<EnvironmentId, u64>> {
    let mut sql = Sql::new(
        "SELECT COALESCE(i.environment_id, g.environment_id) AS place, count(*) AS n FROM instances i \
         LEFT JOIN instance_groups g ON g.id = i.group_id \
         WHERE (i.environment_id IS NOT NULL OR g.environment_id IS NOT NULL)",
    );
    sql.within("i.compartment", scope).push(" GROUP BY COALESCE(i.environment_id, g.environment_id)");
    let rows = sql.fetch(c, "count the instances of lifecycle environments").await?;
    rows.iter().map(|r| Ok((id(r, "place")?, big_count(r, "n")?))).collect()
}

/// The first instances of an environment by name, whatever their state.
pub async fn instances(c: &mut AnyConnection, environment: EnvironmentId, limit: u32) -> StoreResult<Vec<(InstanceId, String)>> {
    let mut sql = Sql::new("SELECT id, name FROM instances WHERE environment_id = ");
    sql.bind(environment.to_string()).push(" ORDER BY name LIMIT ").bind(i64::from(limit));
    let rows = sql.fetch(c, "read the instances of a lifecycle environment").await?;
    rows.iter().map(|r| Ok((id(r, "id")?, text(r, "name")?))).collect()
}

fn read(row: &AnyRow) -> StoreResult<EnvironmentRecord> {
    Ok(EnvironmentRecord {
        id: id(row, "id")?,
        spec: EnvironmentSpec {
            name: text(row, "name")?,
            description: text(row, "description")?,
            rank: count(row, "rank")?,
            compartment: None,
        },
        compartment: text(row, "compartment")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}
