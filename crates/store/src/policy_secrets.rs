//! Secrets of policies: names, versions, and values as `control` sealed them. Absent: the key.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::policy::standing::PolicySecret;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::policies::number;
use crate::row::{big_count, bytes, micros, storable, text, time};
use crate::sql::Sql;

/// A secret with its sealed value.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// What people may see.
    pub shown: PolicySecret,
    /// The value, encrypted.
    pub sealed: Vec<u8>,
}

const COLUMNS: &str = "SELECT name, compartment, version, updated_by, created_at, updated_at, sealed FROM policy_secrets";

/// Every secret by name, without values.
pub async fn all(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<PolicySecret>> {
    let mut sql =
        Sql::new("SELECT name, compartment, version, updated_by, created_at, updated_at FROM policy_secrets WHERE 1 = 1");
    sql.within("compartment", scope).push(" ORDER BY name");
    sql.fetch(c, "list secrets").await?.iter().map(read).collect()
}

/// Versions by name, with the paths of the secrets' compartments.
pub async fn versions(c: &mut AnyConnection) -> StoreResult<BTreeMap<String, (u64, String)>> {
    let rows = Sql::new("SELECT name, version, compartment FROM policy_secrets").fetch(c, "read the versions of secrets").await?;
    rows.iter().map(|r| Ok((text(r, "name")?, (big_count(r, "version")?, text(r, "compartment")?)))).collect()
}

/// One secret.
pub async fn find(c: &mut AnyConnection, name: &str) -> StoreResult<Option<SealedSecret>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "read a secret").await?.first().map(read_sealed).transpose()
}

/// These secrets, as far as they are there.
pub async fn find_all(c: &mut AnyConnection, names: &[String]) -> StoreResult<Vec<SealedSecret>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name IN ").bind_list(names.iter().cloned());
    sql.fetch(c, "read secrets").await?.iter().map(read_sealed).collect()
}

/// Stores a value, if the secret still has the version before it (1: none was there). `false`: somebody else was faster.
pub async fn put(c: &mut AnyConnection, secret: &SealedSecret) -> StoreResult<bool> {
    let shown = &secret.shown;
    sqlx::query(
        "INSERT INTO policy_secrets (name, version, sealed, updated_by, created_at, updated_at, compartment) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, sealed = excluded.sealed, \
         updated_by = excluded.updated_by, updated_at = excluded.updated_at WHERE policy_secrets.version < excluded.version",
    )
    .bind(shown.name.clone())
    .bind(number(shown.version))
    .bind(secret.sealed.clone())
    .bind(storable(&shown.updated_by))
    .bind(micros(shown.created_at))
    .bind(micros(shown.updated_at))
    .bind(shown.compartment.clone())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store a secret"))
}

/// Deletes a secret. `false`: there is none.
pub async fn delete(c: &mut AnyConnection, name: &str) -> StoreResult<bool> {
    sqlx::query("DELETE FROM policy_secrets WHERE name = $1")
        .bind(storable(name))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete a secret"))
}

fn read(row: &AnyRow) -> StoreResult<PolicySecret> {
    Ok(PolicySecret {
        name: text(row, "name")?,
        compartment: text(row, "compartment")?,
        version: big_count(row, "version")?,
        updated_by: text(row, "updated_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn read_sealed(row: &AnyRow) -> StoreResult<SealedSecret> {
    Ok(SealedSecret { shown: read(row)?, sealed: bytes(row, "sealed")? })
}
