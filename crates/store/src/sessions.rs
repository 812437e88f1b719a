//! Sessions of the console: found by the SHA-256 of what the browser keeps.

use drydock_domain::ids::{SessionId, UserId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{flag, id, micros, storable, text, time};
use crate::sql::Sql;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id; not what lets anybody in.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The name of that user.
    pub user_name: String,
    /// Every form of it carries this.
    pub csrf: String,
    /// How they signed in: `password`, `oidc`.
    pub way: String,
    /// They showed a second factor.
    pub second_factor: bool,
    /// Where from.
    pub address: String,
    /// With what.
    pub user_agent: String,
    /// When.
    pub created_at: Timestamp,
    /// Last used, to the minute.
    pub used_at: Timestamp,
}

/// When sessions that began or were used last before that have ended.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Last used before.
    pub idle: Timestamp,
    /// Begun before.
    pub absolute: Timestamp,
}

const COLUMNS: &str = "SELECT s.id, s.user_id, u.name AS user_name, s.csrf, s.way, s.second_factor, s.address, s.user_agent, \
                       s.created_at, s.used_at FROM sessions s JOIN users u ON u.id = s.user_id";

/// Adds a session.
pub async fn insert(c: &mut AnyConnection, session: &SessionRecord, secret_sha256: &str) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO sessions (id, secret_sha256, user_id, csrf, way, second_factor, address, user_agent, created_at, used_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(session.id.to_string())
    .bind(secret_sha256.to_owned())
    .bind(session.user.to_string())
    .bind(session.csrf.clone())
    .bind(session.way.clone())
    .bind(i64::from(session.second_factor))
    .bind(storable(&session.address))
    .bind(storable(&session.user_agent))
    .bind(micros(session.created_at))
    .bind(micros(session.used_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a session"))
}

/// The session with this secret.
pub async fn find_by_secret(c: &mut AnyConnection, secret_sha256: &str) -> StoreResult<Option<SessionRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE s.secret_sha256 = ").bind(secret_sha256.to_owned());
    sql.fetch(c, "look up a session").await?.first().map(read).transpose()
}

/// The session with this id.
pub async fn find(c: &mut AnyConnection, session: SessionId) -> StoreResult<Option<SessionRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE s.id = ").bind(session.to_string());
    sql.fetch(c, "read a session").await?.first().map(read).transpose()
}

/// Sessions that have not ended, newest first; of one user or of all.
pub async fn list(
    c: &mut AnyConnection,
    user: Option<UserId>,
    ends: Ends,
    page: &PageQuery,
) -> StoreResult<Paged<SessionRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE s.used_at > ").bind(micros(ends.idle)).push(" AND s.created_at > ").bind(micros(ends.absolute));
    if let Some(user) = user {
        sql.push(" AND s.user_id = ").bind(user.to_string());
    }
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND s.id < ").bind(last);
    }
    sql.push(" ORDER BY s.id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let sessions = sql.fetch(c, "list sessions").await?.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, sessions, |session| vec![session.id.to_string()]))
}

/// Notes a use; never goes back.
pub async fn touch(c: &mut AnyConnection, session: SessionId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE sessions SET used_at = $2 WHERE id = $1 AND used_at < $2")
        .bind(session.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note the use of a session"))
}

/// Notes that a second factor was shown in it.
pub async fn verified(c: &mut AnyConnection, session: SessionId) -> StoreResult<()> {
    sqlx::query("UPDATE sessions SET second_factor = 1 WHERE id = $1")
        .bind(session.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note a second factor"))
}

/// Notes that no session of a user stands for a second factor any more.
pub async fn unverify(c: &mut AnyConnection, user: UserId) -> StoreResult<()> {
    sqlx::query("UPDATE sessions SET second_factor = 0 WHERE user_id = $1")
        .bind(user.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("take the second factor from the sessions of a user"))
}

/// Ends a session. `false`: it is gone.
pub async fn end(c: &mut AnyConnection, session: SessionId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM sessions WHERE id = $1")
        .bind(session.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("end a session"))
}

/// Ends all sessions of a user but one; says how many.
pub async fn end_others(c: &mut AnyConnection, user: UserId, but: Option<SessionId>) -> StoreResult<u64> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
        .bind(user.to_string())
        .bind(but.map_or_else(String::new, |id| id.to_string()))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("end the sessions of a user"))
}

/// Ends the sessions of a user that began this way.
pub async fn end_begun_by(c: &mut AnyConnection, user: UserId, way: &str) -> StoreResult<()> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND way = $2")
        .bind(user.to_string())
        .bind(way.to_owned())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("end the sessions that a user began in one way"))
}

/// Forgets sessions that have ended, and of a user all but the `keep` newest.
pub async fn sweep(c: &mut AnyConnection, user: UserId, ends: Ends, keep: u32) -> StoreResult<()> {
    sqlx::query("DELETE FROM sessions WHERE used_at <= $1 OR created_at <= $2")
        .bind(micros(ends.idle))
        .bind(micros(ends.absolute))
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("forget ended sessions"))?;
    sqlx::query(
        "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN \
         (SELECT id FROM sessions WHERE user_id = $1 ORDER BY id DESC LIMIT $2)",
    )
    .bind(user.to_string())
    .bind(i64::from(keep))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("end the oldest sessions of a user"))
}

fn read(row: &AnyRow) -> StoreResult<SessionRecord> {
    Ok(SessionRecord {
        id: id(row, "id")?,
        user: id(row, "user_id")?,
        user_name: text(row, "user_name")?,
        csrf: text(row, "csrf")?,
        way: text(row, "way")?,
        second_factor: flag(row, "second_factor")?,
        address: text(row, "address")?,
        user_agent: text(row, "user_agent")?,
        created_at: time(row, "created_at")?,
        used_at: time(row, "used_at")?,
    })
}
