//! Public keys that users sign requests with, and the signatures of changing requests that were taken already.

use drydock_domain::ids::{ApiKeyId, UserId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{id, int, micros, opt_time, storable, text, time};
use crate::sql::Sql;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user: UserId,
    /// MD5 of its DER form, hex with colons: its name among the keys of its user.
    pub fingerprint: String,
    /// PEM.
    pub public_key: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When a request was last signed with it, to the minute.
    pub last_used_at: Option<Timestamp>,
}

const COLUMNS: &str = "SELECT id, user_id, fingerprint, public_key, created_at, last_used_at FROM api_keys";

/// Adds a key. A duplicate (see [`StoreError::is_duplicate`]) means that the user has it already.
pub async fn insert(c: &mut AnyConnection, key: &ApiKeyRecord) -> StoreResult<()> {
    sqlx::query("INSERT INTO api_keys (id, user_id, fingerprint, public_key, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(key.id.to_string())
        .bind(key.user.to_string())
        .bind(storable(&key.fingerprint))
        .bind(storable(&key.public_key))
        .bind(micros(key.created_at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store an API key"))
}

/// Keys of a user, oldest first.
pub async fn of_user(c: &mut AnyConnection, user: UserId) -> StoreResult<Vec<ApiKeyRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE user_id = ").bind(user.to_string()).push(" ORDER BY id");
    sql.fetch(c, "list API keys").await?.iter().map(read).collect()
}

/// The key of a user with this fingerprint.
pub async fn find(c: &mut AnyConnection, user: UserId, fingerprint: &str) -> StoreResult<Option<ApiKeyRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE user_id = ").bind(user.to_string()).push(" AND fingerprint = ").bind(storable(fingerprint));
    sql.fetch(c, "look up an API key").await?.first().map(read).transpose()
}

/// Is this key still there?
pub async fn is_there(c: &mut AnyConnection, key: ApiKeyId) -> StoreResult<bool> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM api_keys WHERE id = ");
    sql.bind(key.to_string());
    sql.fetch(c, "look for an API key").await?.first().map_or(Ok(false), |row| Ok(int(row, "n")? > 0))
}

/// Deletes a key. `false`: it is gone.
pub async fn delete(c: &mut AnyConnection, key: ApiKeyId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM api_keys WHERE id = $1")
        .bind(key.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete an API key"))
}

/// Notes a use; never goes back.
pub async fn touch(c: &mut AnyConnection, key: ApiKeyId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
        .bind(key.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note the use of an API key"))
}

/// Takes a signature, to be remembered until then. `false`: it was taken before.
pub async fn take_signature(c: &mut AnyConnection, sha256: &str, until: Timestamp) -> StoreResult<bool> {
    sqlx::query("INSERT INTO seen_signatures (signature_sha256, until) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(sha256.to_owned())
        .bind(micros(until))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("remember a signature"))
}

/// Forgets signatures whose time was over before `now`: their dates alone have them refused.
pub async fn forget_signatures(c: &mut AnyConnection, now: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM seen_signatures WHERE until < $1")
        .bind(micros(now))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget old signatures"))
}

fn read(row: &AnyRow) -> StoreResult<ApiKeyRecord> {
    Ok(ApiKeyRecord {
        id: id(row, "id")?,
        user: id(row, "user_id")?,
        fingerprint: text(row, "fingerprint")?,
        public_key: text(row, "public_key")?,
        created_at: time(row, "created_at")?,
        last_used_at: opt_time(row, "last_used_at")?,
    })
}
