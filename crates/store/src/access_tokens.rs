//! Access tokens: found by the SHA-256 of their secret, which is never stored itself.

use drydock_domain::access::Role;
use drydock_domain::ids::AccessTokenId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{AccessTokenRecord, PageQuery, Paged};
use crate::row::{flag, id, micros, opt_micros, opt_time, parsed, text, time};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, name, role, expires_at, created_at, last_used_at, revoked FROM access_tokens";

/// Adds a token.
pub async fn insert(c: &mut AnyConnection, token: &AccessTokenRecord, secret_sha256: &str) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO access_tokens (id, name, role, secret_sha256, expires_at, created_at, last_used_at, revoked) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(token.id.to_string())
    .bind(token.name.clone())
    .bind(token.role.as_str())
    .bind(secret_sha256.to_owned())
    .bind(opt_micros(token.expires_at))
    .bind(micros(token.created_at))
    .bind(opt_micros(token.last_used_at))
    .bind(i64::from(token.revoked))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an access token"))
}

/// The token with this secret.
pub async fn find_by_secret(c: &mut AnyConnection, secret_sha256: &str) -> StoreResult<Option<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE secret_sha256 = ").bind(secret_sha256.to_owned());
    sql.fetch(c, "look up an access token").await?.first().map(read).transpose()
}

/// The token with this id.
pub async fn find(c: &mut AnyConnection, token: AccessTokenId) -> StoreResult<Option<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(token.to_string());
    sql.fetch(c, "read an access token").await?.first().map(read).transpose()
}

/// Tokens, oldest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery) -> StoreResult<Paged<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" WHERE id > ").bind(last);
    }
    sql.push(" ORDER BY id LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list access tokens").await?;
    let tokens = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, tokens, |t| vec![t.id.to_string()]))
}

/// Revokes a token. `false`: there is none, or it is revoked.
pub async fn revoke(c: &mut AnyConnection, token: AccessTokenId) -> StoreResult<bool> {
    sqlx::query("UPDATE access_tokens SET revoked = 1 WHERE id = $1 AND revoked = 0")
        .bind(token.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("revoke an access token"))
}

/// Notes a use; never goes back.
pub async fn touch(c: &mut AnyConnection, token: AccessTokenId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE access_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
        .bind(token.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note the use of an access token"))
}

fn read(row: &AnyRow) -> StoreResult<AccessTokenRecord> {
    Ok(AccessTokenRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        role: parsed(row, "role", Role::parse)?,
        expires_at: opt_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
        last_used_at: opt_time(row, "last_used_at")?,
        revoked: flag(row, "revoked")?,
    })
}
