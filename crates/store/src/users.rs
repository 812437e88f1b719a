//! Accounts of people and programs, and what they sign in with. Hashes and sealed secrets are read by their own functions
//! only, so that no list carries them about.

use drydock_domain::access::user::{UserKind, folded_name};
use drydock_domain::ids::UserId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::compartments::changed;
use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{flag, id, int, micros, opt_bytes, opt_micros, opt_text, opt_time, parsed, storable, text, time};
use crate::sql::Sql;
use crate::{access_tokens, sessions};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// Its name, as written.
    pub name: String,
    /// A person or a program.
    pub kind: UserKind,
    /// For people.
    pub description: String,
    /// For people.
    pub email: String,
    /// Nothing that belongs to it lets anybody in.
    pub disabled: bool,
    /// It has a password.
    pub has_password: bool,
    /// Since when it has this one.
    pub password_changed_at: Option<Timestamp>,
    /// The next sign-in has to choose another one.
    pub password_expired: bool,
    /// It has a second factor.
    pub second_factor: bool,
    /// Signing in with a password is refused until then.
    pub locked_until: Option<Timestamp>,
    /// Who vouches for it, and under which name there (OIDC).
    pub oidc: Option<(String, String)>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When somebody last signed in.
    pub last_sign_in_at: Option<Timestamp>,
    /// Grows with every edit; the etag.
    pub version: i64,
}

/// What a sign-in is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInSecrets {
    /// Hash of the password.
    pub password_hash: Option<String>,
    /// The sealed secret of the second factor, confirmed or not.
    pub totp_secret: Option<Vec<u8>>,
    /// A code of it was shown once.
    pub totp_confirmed: bool,
    /// The step of the last code that was taken.
    pub totp_last_step: i64,
    /// Failures since the last good sign-in, count.
    pub failed_count: i64,
    /// Refused until then.
    pub locked_until: Option<Timestamp>,
}

const COLUMNS: &str = "SELECT id, name, kind, description, email, disabled, \
    CASE WHEN password_hash IS NULL THEN 0 ELSE 1 END AS has_password, password_changed_at, password_expired, totp_confirmed, \
    locked_until, oidc_issuer, oidc_subject, created_by, created_at, last_sign_in_at, version FROM users";

/// Adds an account. A duplicate (see [`StoreError::is_duplicate`]) means its name is taken.
pub async fn insert(c: &mut AnyConnection, user: &UserRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO users (id, name, folded_name, kind, description, email, disabled, oidc_issuer, oidc_subject, created_by, \
         created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(user.id.to_string())
    .bind(storable(&user.name))
    .bind(storable(&folded_name(&user.name)))
    .bind(user.kind.as_str())
    .bind(storable(&user.description))
    .bind(storable(&user.email))
    .bind(i64::from(user.disabled))
    .bind(user.oidc.as_ref().map(|(issuer, _)| storable(issuer)))
    .bind(user.oidc.as_ref().map(|(_, subject)| storable(subject)))
    .bind(storable(&user.created_by))
    .bind(micros(user.created_at))
    .bind(user.version)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a user"))
}

/// The account with this id.
pub async fn find(c: &mut AnyConnection, user: UserId) -> StoreResult<Option<UserRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(user.to_string());
    sql.fetch(c, "read a user").await?.first().map(read).transpose()
}

/// The account with this name, in any case.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<UserRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE folded_name = ").bind(storable(&folded_name(name)));
    sql.fetch(c, "look up a user by name").await?.first().map(read).transpose()
}

/// The account that an OIDC issuer vouches for.
pub async fn find_by_oidc(c: &mut AnyConnection, issuer: &str, subject: &str) -> StoreResult<Option<UserRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE oidc_issuer = ").bind(storable(issuer)).push(" AND oidc_subject = ").bind(storable(subject));
    sql.fetch(c, "look up a user by who vouches for it").await?.first().map(read).transpose()
}

/// Accounts by name.
pub async fn list(c: &mut AnyConnection, page: &PageQuery) -> StoreResult<Paged<UserRecord>> {
    let mut sql = Sql::new(COLUMNS);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" WHERE folded_name > ").bind(last);
    }
    sql.push(" ORDER BY folded_name LIMIT ").bind(cursor::fetch_limit(page));
    let users = sql.fetch(c, "list users").await?.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, users, |user| vec![folded_name(&user.name)]))
}

/// How many there are.
pub async fn count(c: &mut AnyConnection) -> StoreResult<i64> {
    let rows = Sql::new("SELECT count(*) AS n FROM users").fetch(c, "count users").await?;
    rows.first().map_or(Ok(0), |row| int(row, "n"))
}

/// Replaces what people write about an account, and whether it is disabled, if the version is still the one read.
pub async fn update(c: &mut AnyConnection, user: &UserRecord) -> StoreResult<bool> {
    let updated = sqlx::query(
        "UPDATE users SET description = $2, email = $3, disabled = $4, version = version + 1 WHERE id = $1 AND version = $5",
    )
    .bind(user.id.to_string())
    .bind(storable(&user.description))
    .bind(storable(&user.email))
    .bind(i64::from(user.disabled))
    .bind(user.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("edit a user"))?;
    changed(c).await?;
    Ok(updated.rows_affected() == 1)
}

/// Says who vouches for an account. A duplicate means that another account has it already.
pub async fn set_oidc(c: &mut AnyConnection, user: UserId, oidc: Option<(&str, &str)>) -> StoreResult<()> {
    sqlx::query("UPDATE users SET oidc_issuer = $2, oidc_subject = $3, version = version + 1 WHERE id = $1")
        .bind(user.to_string())
        .bind(oidc.map(|(issuer, _)| storable(issuer)))
        .bind(oidc.map(|(_, subject)| storable(subject)))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store who vouches for a user"))
}

/// Deletes an account with its memberships, keys, sessions and tokens. `false`: it is gone.
pub async fn delete(c: &mut AnyConnection, user: UserId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM access_tokens WHERE user_id = $1")
        .bind(user.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete the tokens of a user"))?;
    let deleted = sqlx::query("DELETE FROM users WHERE id = $1")
        .bind(user.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete a user"))?;
    changed(c).await?;
    Ok(deleted.rows_affected() == 1)
}

/// What a sign-in of this account is checked against.
pub async fn secrets(c: &mut AnyConnection, user: UserId) -> StoreResult<Option<SignInSecrets>> {
    let mut sql = Sql::new(
        "SELECT password_hash, totp_secret, totp_confirmed, totp_last_step, failed_count, locked_until FROM users WHERE id = ",
    );
    sql.bind(user.to_string());
    let rows = sql.fetch(c, "read what a user signs in with").await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(SignInSecrets {
        password_hash: opt_text(row, "password_hash")?,
        totp_secret: opt_bytes(row, "totp_secret")?,
        totp_confirmed: flag(row, "totp_confirmed")?,
        totp_last_step: int(row, "totp_last_step")?,
        failed_count: int(row, "failed_count")?,
        locked_until: opt_time(row, "locked_until")?,
    }))
}

/// Gives an account another password (`None`: none). Whoever was locked out is let try again.
pub async fn set_password(
    c: &mut AnyConnection,
    user: UserId,
    hash: Option<&str>,
    expired: bool,
    at: Timestamp,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE users SET password_hash = $2, password_expired = $3, password_changed_at = $4, failed_count = 0, \
         locked_until = NULL, version = version + 1 WHERE id = $1",
    )
    .bind(user.to_string())
    .bind(hash.map(str::to_owned))
    .bind(i64::from(expired))
    .bind(micros(at))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("store a password"))
}

/// Counts a failed sign-in and says how many there are now.
pub async fn failed(c: &mut AnyConnection, user: UserId) -> StoreResult<i64> {
    sqlx::query("UPDATE users SET failed_count = failed_count + 1 WHERE id = $1")
        .bind(user.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("count a failed sign-in"))?;
    let mut sql = Sql::new("SELECT failed_count FROM users WHERE id = ");
    sql.bind(user.to_string());
    sql.fetch(c, "count failed sign-ins").await?.first().map_or(Ok(0), |row| int(row, "failed_count"))
}

/// Locks an account's password out until then.
pub async fn lock(c: &mut AnyConnection, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
    sqlx::query("UPDATE users SET locked_until = $2 WHERE id = $1")
        .bind(user.to_string())
        .bind(opt_micros(until))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("lock a user out"))
}

/// The last failures count no more.
pub async fn forgive(c: &mut AnyConnection, user: UserId) -> StoreResult<()> {
    sqlx::query("UPDATE users SET failed_count = 0, locked_until = NULL WHERE id = $1")
        .bind(user.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("forget failed sign-ins"))
}

/// Notes a sign-in that says nothing about the password: failures of that count on.
pub async fn let_in(c: &mut AnyConnection, user: UserId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE users SET last_sign_in_at = $2 WHERE id = $1")
        .bind(user.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note a sign-in"))
}

/// Notes a good sign-in with the password.
pub async fn signed_in(c: &mut AnyConnection, user: UserId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE users SET failed_count = 0, locked_until = NULL, last_sign_in_at = $2 WHERE id = $1")
        .bind(user.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note a sign-in"))
}

/// Stores the sealed secret of a second factor that is to be confirmed, in place of one that was not. `false`: there is a
/// confirmed one.
pub async fn offer_totp(c: &mut AnyConnection, user: UserId, sealed: &[u8]) -> StoreResult<bool> {
    sqlx::query("UPDATE users SET totp_secret = $2, totp_last_step = 0 WHERE id = $1 AND totp_confirmed = 0")
        .bind(user.to_string())
        .bind(sealed.to_vec())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("store a second factor"))
}

/// Confirms the second factor. `false`: none is waiting.
pub async fn confirm_totp(c: &mut AnyConnection, user: UserId) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE users SET totp_confirmed = 1, version = version + 1 \
         WHERE id = $1 AND totp_confirmed = 0 AND totp_secret IS NOT NULL",
    )
    .bind(user.to_string())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("confirm a second factor"))
}

/// Takes the code of a step. `false`: it, or a later one, was taken before.
pub async fn take_step(c: &mut AnyConnection, user: UserId, step: i64) -> StoreResult<bool> {
    sqlx::query("UPDATE users SET totp_last_step = $2 WHERE id = $1 AND totp_last_step < $2")
        .bind(user.to_string())
        .bind(step)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("take a code"))
}

/// Takes the second factor away with its recovery codes; what stood for it does so no more.
pub async fn clear_totp(c: &mut AnyConnection, user: UserId) -> StoreResult<()> {
    sqlx::query(
        "UPDATE users SET totp_secret = NULL, totp_confirmed = 0, totp_last_step = 0, version = version + 1 WHERE id = $1",
    )
    .bind(user.to_string())
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("take a second factor away"))?;
    sessions::unverify(c, user).await?;
    access_tokens::unverify(c, user).await?;
    put_recovery_codes(c, user, &[]).await
}

/// Replaces the recovery codes.
pub async fn put_recovery_codes(c: &mut AnyConnection, user: UserId, digests: &[String]) -> StoreResult<()> {
    let failed = StoreError::query("store recovery codes");
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user.to_string()).execute(&mut *c).await.map_err(failed)?;
    for digest in digests {
        sqlx::query("INSERT INTO recovery_codes (user_id, code_sha256) VALUES ($1, $2)")
            .bind(user.to_string())
            .bind(digest.clone())
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("store recovery codes"))?;
    }
    Ok(())
}

/// Is it a recovery code that was not used?
pub async fn is_recovery_code(c: &mut AnyConnection, user: UserId, digest: &str) -> StoreResult<bool> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM recovery_codes WHERE user_id = ");
    sql.bind(user.to_string()).push(" AND code_sha256 = ").bind(storable(digest));
    sql.fetch(c, "look for a recovery code").await?.first().map_or(Ok(false), |row| Ok(int(row, "n")? > 0))
}

/// Uses a recovery code up. `false`: it is not one.
pub async fn use_recovery_code(c: &mut AnyConnection, user: UserId, digest: &str) -> StoreResult<bool> {
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND code_sha256 = $2")
        .bind(user.to_string())
        .bind(storable(digest))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("use a recovery code"))
}

/// Recovery codes that are left, count.
pub async fn recovery_codes(c: &mut AnyConnection, user: UserId) -> StoreResult<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM recovery_codes WHERE user_id = ");
    sql.bind(user.to_string());
    sql.fetch(c, "count recovery codes").await?.first().map_or(Ok(0), |row| int(row, "n"))
}

fn read(row: &AnyRow) -> StoreResult<UserRecord> {
    Ok(UserRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        kind: parsed(row, "kind", UserKind::parse)?,
        description: text(row, "description")?,
        email: text(row, "email")?,
        disabled: flag(row, "disabled")?,
        has_password: flag(row, "has_password")?,
        password_changed_at: opt_time(row, "password_changed_at")?,
        password_expired: flag(row, "password_expired")?,
        second_factor: flag(row, "totp_confirmed")?,
        locked_until: opt_time(row, "locked_until")?,
        oidc: opt_text(row, "oidc_issuer")?.zip(opt_text(row, "oidc_subject")?),
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        last_sign_in_at: opt_time(row, "last_sign_in_at")?,
        version: int(row, "version")?,
    })
}
