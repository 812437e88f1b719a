//! Access tokens: found by the SHA-256 of their secret, which is never stored itself.

use drydock_domain::access::Role;
use drydock_domain::ids::{AccessTokenId, UserId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{AccessTokenRecord, PageQuery, Paged, TokenUser};
use crate::row::{flag, id, micros, opt_id, opt_json, opt_micros, opt_text, opt_time, parsed, storable, text, time, to_json};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT t.id, t.name, t.role, t.user_id, u.name AS user_name, t.scope, t.second_factor, t.signed_in, t.created_by, t.expires_at, \
                       t.created_at, t.last_used_at, t.revoked FROM access_tokens t LEFT JOIN users u ON u.id = t.user_id";

/// Adds a token.
pub async fn insert(c: &mut AnyConnection, token: &AccessTokenRecord, secret_sha256: &str) -> StoreResult<()> {
    let scope = match token.scope.as_slice() {
        [] => None,
        entries => Some(storable(&to_json("what a token is narrowed to", entries)?)),
    };
    sqlx::query(
        "INSERT INTO access_tokens (id, name, role, secret_sha256, expires_at, created_at, last_used_at, revoked, user_id, scope, \
         second_factor, signed_in, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(token.id.to_string())
    .bind(token.name.clone())
    // Of a user's token it says nothing, and the column takes no NULL.
    .bind(token.role.map_or("", Role::as_str))
    .bind(secret_sha256.to_owned())
    .bind(opt_micros(token.expires_at))
    .bind(micros(token.created_at))
    .bind(opt_micros(token.last_used_at))
    .bind(i64::from(token.revoked))
    .bind(token.user.as_ref().map(|user| user.id.to_string()))
    .bind(scope)
    .bind(i64::from(token.second_factor))
    .bind(i64::from(token.signed_in))
    .bind(token.created_by.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an access token"))
}

/// The token with this secret.
pub async fn find_by_secret(c: &mut AnyConnection, secret_sha256: &str) -> StoreResult<Option<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE t.secret_sha256 = ").bind(secret_sha256.to_owned());
    sql.fetch(c, "look up an access token").await?.first().map(read).transpose()
}

/// The token with this id.
pub async fn find(c: &mut AnyConnection, token: AccessTokenId) -> StoreResult<Option<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE t.id = ").bind(token.to_string());
    sql.fetch(c, "read an access token").await?.first().map(read).transpose()
}

/// Tokens, oldest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery) -> StoreResult<Paged<AccessTokenRecord>> {
    some(c, None, page).await
}

/// Tokens of a user, oldest first.
pub async fn list_of_user(c: &mut AnyConnection, user: UserId, page: &PageQuery) -> StoreResult<Paged<AccessTokenRecord>> {
    some(c, Some(user), page).await
}

async fn some(c: &mut AnyConnection, user: Option<UserId>, page: &PageQuery) -> StoreResult<Paged<AccessTokenRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1");
    if let Some(user) = user {
        sql.push(" AND t.user_id = ").bind(user.to_string());
    }
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND t.id > ").bind(last);
    }
    sql.push(" ORDER BY t.id LIMIT ").bind(cursor::fetch_limit(page));
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

/// Revokes the tokens of a user that were got by signing in, all but one.
pub async fn revoke_signed_in(c: &mut AnyConnection, user: UserId, but: Option<AccessTokenId>) -> StoreResult<()> {
    sqlx::query("UPDATE access_tokens SET revoked = 1 WHERE user_id = $1 AND signed_in = 1 AND id <> $2")
        .bind(user.to_string())
        .bind(but.map_or_else(String::new, |id| id.to_string()))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("revoke the tokens that a user got by signing in"))
}

/// Notes that no token of a user stands for a second factor any more.
pub async fn unverify(c: &mut AnyConnection, user: UserId) -> StoreResult<()> {
    sqlx::query("UPDATE access_tokens SET second_factor = 0 WHERE user_id = $1")
        .bind(user.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("take the second factor from the tokens of a user"))
}

/// Deletes tokens of users that can let nobody in any more, and were of no use since `before`.
pub async fn forget_spent(c: &mut AnyConnection, user: UserId, before: Timestamp) -> StoreResult<()> {
    sqlx::query("DELETE FROM access_tokens WHERE user_id = $1 AND expires_at IS NOT NULL AND expires_at < $2")
        .bind(user.to_string())
        .bind(micros(before))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("forget the expired tokens of a user"))
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

/// The name of a token's user; the user itself is gone only when somebody edited the database by hand.
fn text_or_empty(row: &AnyRow) -> StoreResult<String> {
    Ok(opt_text(row, "user_name")?.unwrap_or_default())
}

fn read(row: &AnyRow) -> StoreResult<AccessTokenRecord> {
    Ok(AccessTokenRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        role: parsed(row, "role", |text| if text.is_empty() { Some(None) } else { Role::parse(text).map(Some) })?,
        user: opt_id(row, "user_id")?.map(|id| Ok(TokenUser { id, name: text_or_empty(row)? })).transpose()?,
        scope: opt_json(row, "scope")?.unwrap_or_default(),
        second_factor: flag(row, "second_factor")?,
        signed_in: flag(row, "signed_in")?,
        expires_at: opt_time(row, "expires_at")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        last_used_at: opt_time(row, "last_used_at")?,
        revoked: flag(row, "revoked")?,
    })
}
