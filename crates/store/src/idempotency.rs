//! Idempotency keys: which request a key was first used for, and what it made.

use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::row::{micros, text};

/// What a key was first used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// SHA-256 of the request, hex.
    pub request_sha256: String,
    /// What the request made.
    pub resource: String,
}

/// Takes a key. `false`: it was taken before.
///
/// On PostgreSQL this waits for another transaction that is taking the same key, so of two equal requests one sees
/// the other's result.
pub async fn take(c: &mut AnyConnection, principal: &str, key: &str, used: &KeyUse, now: Timestamp) -> StoreResult<bool> {
    sqlx::query(
        "INSERT INTO idempotency (principal, idem_key, request_sha256, resource_id, created_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal, idem_key) DO NOTHING",
    )
    .bind(principal.to_owned())
    .bind(key.to_owned())
    .bind(used.request_sha256.clone())
    .bind(used.resource.clone())
    .bind(micros(now))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("take an idempotency key"))
}

/// What a key was used for.
pub async fn find(c: &mut AnyConnection, principal: &str, key: &str) -> StoreResult<Option<KeyUse>> {
    let row = sqlx::query("SELECT request_sha256, resource_id FROM idempotency WHERE principal = $1 AND idem_key = $2")
        .bind(principal.to_owned())
        .bind(key.to_owned())
        .fetch_optional(c)
        .await
        .map_err(StoreError::query("look up an idempotency key"))?;
    row.map(|r| Ok(KeyUse { request_sha256: text(&r, "request_sha256")?, resource: text(&r, "resource_id")? })).transpose()
}

/// Forgets keys older than `before`.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
        .bind(micros(before))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget old idempotency keys"))
}
