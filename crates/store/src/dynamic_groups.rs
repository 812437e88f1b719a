//! Dynamic groups: matching rules over hosts.

use drydock_domain::ids::DynamicGroupId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::compartments::changed;
use crate::error::{StoreError, StoreResult};
use crate::row::{flag, id, int, micros, storable, text, time};
use crate::sql::Sql;

/// A dynamic group as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicGroupRecord {
    /// Its id.
    pub id: DynamicGroupId,
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Its matching rules.
    pub rules: String,
    /// All of several rules have to match, not any of them.
    pub match_all: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

const COLUMNS: &str =
    "SELECT id, name, description, rules, match_all, created_by, created_at, updated_at, version FROM dynamic_groups";

/// All of them by name.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<DynamicGroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY name");
    sql.fetch(c, "list dynamic groups").await?.iter().map(read).collect()
}

/// The group with this name.
pub async fn find(c: &mut AnyConnection, name: &str) -> StoreResult<Option<DynamicGroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up a dynamic group").await?.first().map(read).transpose()
}

/// Adds a group. A duplicate (see [`StoreError::is_duplicate`]) means its name is taken.
pub async fn insert(c: &mut AnyConnection, own: &DynamicGroupRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO dynamic_groups (id, name, description, rules, match_all, created_by, created_at, updated_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.name))
    .bind(storable(&own.description))
    .bind(storable(&own.rules))
    .bind(i64::from(own.match_all))
    .bind(storable(&own.created_by))
    .bind(micros(own.created_at))
    .bind(micros(own.updated_at))
    .bind(own.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store a dynamic group"))?;
    changed(c).await
}

/// Replaces what was written, if the version is still the one read.
pub async fn update(c: &mut AnyConnection, own: &DynamicGroupRecord) -> StoreResult<bool> {
    let updated = sqlx::query(
        "UPDATE dynamic_groups SET description = $2, rules = $3, match_all = $4, updated_at = $5, version = version + 1 \
         WHERE id = $1 AND version = $6",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.description))
    .bind(storable(&own.rules))
    .bind(i64::from(own.match_all))
    .bind(micros(own.updated_at))
    .bind(own.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("edit a dynamic group"))?;
    changed(c).await?;
    Ok(updated.rows_affected() == 1)
}

/// Deletes a group, if the version is still the one read.
pub async fn delete(c: &mut AnyConnection, own: DynamicGroupId, version: i64) -> StoreResult<bool> {
    let deleted = sqlx::query("DELETE FROM dynamic_groups WHERE id = $1 AND version = $2")
        .bind(own.to_string())
        .bind(version)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete a dynamic group"))?;
    changed(c).await?;
    Ok(deleted.rows_affected() == 1)
}

fn read(row: &AnyRow) -> StoreResult<DynamicGroupRecord> {
    Ok(DynamicGroupRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        rules: text(row, "rules")?,
        match_all: flag(row, "match_all")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: int(row, "version")?,
    })
}
