//! Enrolment profiles: found by the SHA-256 of their token, which is never stored itself.

use drydock_domain::access::Scope;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::ProfileId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged, ProfileRecord};
use crate::row::{count, flag, id, json, micros, storable, text, time, to_json};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, spec, uses, revoked, created_by, created_at, compartment FROM profiles";

/// Adds a profile.
pub async fn insert(c: &mut AnyConnection, profile: &ProfileRecord, token_sha256: &str) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO profiles (id, token_sha256, spec, uses, revoked, created_by, created_at, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(profile.id.to_string())
    .bind(token_sha256.to_owned())
    .bind(to_json("an enrolment profile", &profile.spec)?)
    .bind(i64::from(profile.uses))
    .bind(i64::from(profile.revoked))
    .bind(profile.created_by.clone())
    .bind(micros(profile.created_at))
    .bind(storable(&profile.spec.compartment))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an enrolment profile"))
}

/// The profile with this token.
pub async fn find_by_token(c: &mut AnyConnection, token_sha256: &str) -> StoreResult<Option<ProfileRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE token_sha256 = ").bind(token_sha256.to_owned());
    sql.fetch(c, "look up an enrolment token").await?.first().map(read).transpose()
}

/// The profile with this id.
pub async fn find(c: &mut AnyConnection, profile: ProfileId) -> StoreResult<Option<ProfileRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(profile.to_string());
    sql.fetch(c, "read an enrolment profile").await?.first().map(read).transpose()
}

/// Profiles in `scope`, newest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery, scope: &Scope) -> StoreResult<Paged<ProfileRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND id < ").bind(last);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list enrolment profiles").await?;
    let profiles = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, profiles, |p| vec![p.id.to_string()]))
}

/// Counts one use, if there are fewer than `below` and the profile is not revoked. `false`: somebody took the last
/// one, or revoked it, meanwhile.
pub async fn take_use(c: &mut AnyConnection, profile: ProfileId, below: u32) -> StoreResult<bool> {
    sqlx::query("UPDATE profiles SET uses = uses + 1 WHERE id = $1 AND revoked = 0 AND uses < $2")
        .bind(profile.to_string())
        .bind(i64::from(below))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("count a use of an enrolment profile"))
}

/// Revokes a profile. `false`: there is none, or it is revoked.
pub async fn revoke(c: &mut AnyConnection, profile: ProfileId) -> StoreResult<bool> {
    sqlx::query("UPDATE profiles SET revoked = 1 WHERE id = $1 AND revoked = 0")
        .bind(profile.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("revoke an enrolment profile"))
}

fn read(row: &AnyRow) -> StoreResult<ProfileRecord> {
    // The column follows moves and renames of compartments; what was said when the profile was made does not.
    let spec: ProfileSpec = json(row, "spec")?;
    Ok(ProfileRecord {
        id: id(row, "id")?,
        spec: ProfileSpec { compartment: text(row, "compartment")?, ..spec },
        uses: count(row, "uses")?,
        revoked: flag(row, "revoked")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
    })
}
