//! Groups of users and who is in them. The groups that come with the program have no row; their members have.

use drydock_domain::access::user::folded_name;
use drydock_domain::ids::{UserGroupId, UserId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::compartments::changed;
use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{flag, id, int, micros, opt_text, storable, text, time};
use crate::sql::Sql;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserGroupRecord {
    /// Its id.
    pub id: UserGroupId,
    /// Its name, as written.
    pub name: String,
    /// For people.
    pub description: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// A group that somebody is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id: a UUID, or `administrators`, `operators`, `viewers`.
    pub id: String,
    /// Its name; `None`: it comes with the program.
    pub name: Option<String>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The user.
    pub id: UserId,
    /// Its name.
    pub name: String,
    /// Nothing that belongs to it lets anybody in.
    pub disabled: bool,
    /// Who put it into the group.
    pub added_by: String,
    /// When.
    pub added_at: Timestamp,
}

const COLUMNS: &str = "SELECT id, name, description, created_by, created_at, version FROM user_groups";

/// Adds a group. A duplicate (see [`StoreError::is_duplicate`]) means its name is taken.
pub async fn insert(c: &mut AnyConnection, group: &UserGroupRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO user_groups (id, name, folded_name, description, created_by, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(group.id.to_string())
    .bind(storable(&group.name))
    .bind(storable(&folded_name(&group.name)))
    .bind(storable(&group.description))
    .bind(storable(&group.created_by))
    .bind(micros(group.created_at))
    .bind(group.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store a user group"))?;
    changed(c).await
}

/// The group with this name, in any case.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<UserGroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE folded_name = ").bind(storable(&folded_name(name)));
    sql.fetch(c, "look up a user group").await?.first().map(read).transpose()
}

/// All of them by name: some hundred.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<UserGroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY folded_name");
    sql.fetch(c, "list user groups").await?.iter().map(read).collect()
}

/// Replaces the description, if the version is still the one read.
pub async fn describe(c: &mut AnyConnection, group: UserGroupId, description: &str, version: i64) -> StoreResult<bool> {
    sqlx::query("UPDATE user_groups SET description = $2, version = version + 1 WHERE id = $1 AND version = $3")
        .bind(group.to_string())
        .bind(storable(description))
        .bind(version)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("edit a user group"))
}

/// Deletes a group and with it who is in it. `false`: it is gone.
pub async fn delete(c: &mut AnyConnection, group: UserGroupId) -> StoreResult<bool> {
    let failed = StoreError::query("empty a user group");
    sqlx::query("DELETE FROM user_group_members WHERE group_id = $1")
        .bind(group.to_string())
        .execute(&mut *c)
        .await
        .map_err(failed)?;
    let deleted = sqlx::query("DELETE FROM user_groups WHERE id = $1")
        .bind(group.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete a user group"))?;
    changed(c).await?;
    Ok(deleted.rows_affected() == 1)
}

/// Puts a user into a group. `false`: it is in it.
pub async fn join(c: &mut AnyConnection, group: &str, user: UserId, by: &str, at: Timestamp) -> StoreResult<bool> {
    let joined = sqlx::query(
        "INSERT INTO user_group_members (group_id, user_id, added_by, added_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(group.to_owned())
    .bind(user.to_string())
    .bind(storable(by))
    .bind(micros(at))
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("put a user into a group"))?;
    changed(c).await?;
    Ok(joined.rows_affected() == 1)
}

/// Takes a user out of a group. `false`: it is not in it.
pub async fn leave(c: &mut AnyConnection, group: &str, user: UserId) -> StoreResult<bool> {
    let left = sqlx::query("DELETE FROM user_group_members WHERE group_id = $1 AND user_id = $2")
        .bind(group.to_owned())
        .bind(user.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("take a user out of a group"))?;
    changed(c).await?;
    Ok(left.rows_affected() == 1)
}

/// The groups a user is in, by name.
pub async fn of_user(c: &mut AnyConnection, user: UserId) -> StoreResult<Vec<Joined>> {
    Ok(of_users(c, &[user]).await?.into_iter().map(|(_, joined)| joined).collect())
}

/// The groups that some users are in, by name.
pub async fn of_users(c: &mut AnyConnection, users: &[UserId]) -> StoreResult<Vec<(UserId, Joined)>> {
    let mut sql = Sql::new(
        "SELECT m.user_id, m.group_id AS id, g.name AS name FROM user_group_members m \
         LEFT JOIN user_groups g ON g.id = m.group_id WHERE m.user_id IN ",
    );
    sql.bind_list(users.iter().map(ToString::to_string)).push(" ORDER BY g.folded_name, m.group_id");
    let rows = sql.fetch(c, "read the groups of users").await?;
    let read = |row: &AnyRow| Ok((id(row, "user_id")?, Joined { id: text(row, "id")?, name: opt_text(row, "name")? }));
    rows.iter().map(read).collect()
}

/// Ids of the groups that somebody put a user into.
pub async fn joined_by(c: &mut AnyConnection, user: UserId, by: &str) -> StoreResult<Vec<String>> {
    let mut sql = Sql::new("SELECT group_id FROM user_group_members WHERE user_id = ");
    sql.bind(user.to_string()).push(" AND added_by = ").bind(storable(by)).push(" ORDER BY group_id");
    sql.fetch(c, "read who put a user into groups").await?.iter().map(|row| text(row, "group_id")).collect()
}

/// Members of a group by name.
pub async fn members(c: &mut AnyConnection, group: &str, page: &PageQuery) -> StoreResult<Paged<MemberRecord>> {
    let mut sql = Sql::new(
        "SELECT u.id, u.name, u.folded_name, u.disabled, m.added_by, m.added_at FROM user_group_members m \
         JOIN users u ON u.id = m.user_id WHERE m.group_id = ",
    );
    sql.bind(group.to_owned());
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND u.folded_name > ").bind(last);
    }
    sql.push(" ORDER BY u.folded_name LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the members of a user group").await?;
    let members = rows.iter().map(read_member).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, members, |member| vec![folded_name(&member.name)]))
}

/// How many are in each group, by its id.
pub async fn counts(c: &mut AnyConnection) -> StoreResult<Vec<(String, i64)>> {
    let sql = Sql::new("SELECT group_id, count(*) AS n FROM user_group_members GROUP BY group_id");
    let rows = sql.fetch(c, "count the members of user groups").await?;
    rows.iter().map(|row| Ok((text(row, "group_id")?, int(row, "n")?))).collect()
}

/// Who could let administrators in: members of the group that are not disabled, and tokens of its role that are good.
pub async fn ways_in(c: &mut AnyConnection, group: &str, role: &str, now: Timestamp) -> StoreResult<i64> {
    let mut sql = Sql::new(
        "SELECT (SELECT count(*) FROM user_group_members m JOIN users u ON u.id = m.user_id WHERE u.disabled = 0 AND m.group_id = ",
    );
    sql.bind(group.to_owned())
        .push(") + (SELECT count(*) FROM access_tokens WHERE user_id IS NULL AND scope IS NULL AND revoked = 0 AND role = ");
    sql.bind(role.to_owned()).push(" AND (expires_at IS NULL OR expires_at > ").bind(micros(now)).push(")) AS n");
    sql.fetch(c, "count who administers").await?.first().map_or(Ok(0), |row| int(row, "n"))
}

fn read(row: &AnyRow) -> StoreResult<UserGroupRecord> {
    Ok(UserGroupRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}

fn read_member(row: &AnyRow) -> StoreResult<MemberRecord> {
    Ok(MemberRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        disabled: flag(row, "disabled")?,
        added_by: text(row, "added_by")?,
        added_at: time(row, "added_at")?,
    })
}
