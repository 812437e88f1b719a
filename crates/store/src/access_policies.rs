//! Policies of access statements: text, and the compartment each is attached to.

use drydock_domain::ids::AccessPolicyId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::compartments::changed;
use crate::error::{StoreError, StoreResult};
use crate::row::{id, int, micros, storable, text, time};
use crate::sql::Sql;

/// A policy as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicyRecord {
    /// Its id.
    pub id: AccessPolicyId,
    /// Its name.
    pub name: String,
    /// Path of the compartment it is attached to.
    pub compartment: String,
    /// For people.
    pub description: String,
    /// Its statements.
    pub statements: String,
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
    "SELECT id, name, compartment, description, statements, created_by, created_at, updated_at, version FROM access_policies";

/// All of them by name.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<AccessPolicyRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY name");
    sql.fetch(c, "list access policies").await?.iter().map(read).collect()
}

/// The policy with this name.
pub async fn find(c: &mut AnyConnection, name: &str) -> StoreResult<Option<AccessPolicyRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up an access policy").await?.first().map(read).transpose()
}

/// Names of the groups of users that somebody made.
pub async fn user_groups(c: &mut AnyConnection) -> StoreResult<Vec<String>> {
    let rows = Sql::new("SELECT name FROM user_groups ORDER BY name").fetch(c, "read the names of user groups").await?;
    rows.iter().map(|row| text(row, "name")).collect()
}

/// Adds a policy. A duplicate (see [`StoreError::is_duplicate`]) means its name is taken.
pub async fn insert(c: &mut AnyConnection, own: &AccessPolicyRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO access_policies (id, name, compartment, description, statements, created_by, created_at, updated_at, \
         version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.name))
    .bind(storable(&own.compartment))
    .bind(storable(&own.description))
    .bind(storable(&own.statements))
    .bind(storable(&own.created_by))
    .bind(micros(own.created_at))
    .bind(micros(own.updated_at))
    .bind(own.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store an access policy"))?;
    changed(c).await
}

/// Replaces description and statements, if the version is still the one read.
pub async fn update(c: &mut AnyConnection, own: &AccessPolicyRecord) -> StoreResult<bool> {
    let updated = sqlx::query(
        "UPDATE access_policies SET description = $2, statements = $3, updated_at = $4, version = version + 1 \
         WHERE id = $1 AND version = $5",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.description))
    .bind(storable(&own.statements))
    .bind(micros(own.updated_at))
    .bind(own.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("edit an access policy"))?;
    changed(c).await?;
    Ok(updated.rows_affected() == 1)
}

/// Deletes a policy, if the version is still the one read.
pub async fn delete(c: &mut AnyConnection, own: AccessPolicyId, version: i64) -> StoreResult<bool> {
    let deleted = sqlx::query("DELETE FROM access_policies WHERE id = $1 AND version = $2")
        .bind(own.to_string())
        .bind(version)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete an access policy"))?;
    changed(c).await?;
    Ok(deleted.rows_affected() == 1)
}

fn read(row: &AnyRow) -> StoreResult<AccessPolicyRecord> {
    Ok(AccessPolicyRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        compartment: text(row, "compartment")?,
        description: text(row, "description")?,
        statements: text(row, "statements")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: int(row, "version")?,
    })
}
