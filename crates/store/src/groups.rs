//! Managed instance groups and who is in them.

use std::collections::BTreeMap;

use drydock_domain::access::Scope;
use drydock_domain::group::OsFamily;
use drydock_domain::ids::{EnvironmentId, GroupId, InstanceId};
use drydock_domain::instance::InstanceState;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{big_count, id, int, micros, opt_id, opt_json, opt_text, parsed, storable, text, time};
use crate::source_records::{GroupMemberRecord, GroupRecord};
use crate::sql::{Sql, like_escaped};

const COLUMNS: &str = "SELECT id, name, description, environment_id, os_id, os_release, architecture, created_by, created_at, \
                       version, compartment FROM instance_groups";

/// Adds a group. A duplicate (see [`StoreError::is_duplicate`]) means its name was taken meanwhile; an environment that
/// is gone is an error, too: see [`StoreError::is_referenced`].
pub async fn insert(c: &mut AnyConnection, group: &GroupRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO instance_groups (id, name, description, environment_id, created_by, created_at, version, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(group.id.to_string())
    .bind(group.name.clone())
    .bind(storable(&group.description))
    .bind(group.environment.map(|e| e.to_string()))
    .bind(storable(&group.created_by))
    .bind(micros(group.created_at))
    .bind(group.version)
    .bind(storable(&group.compartment))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a group"))
}

/// The group with this id.
pub async fn find(c: &mut AnyConnection, group: GroupId) -> StoreResult<Option<GroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(group.to_string());
    sql.fetch(c, "read a group").await?.first().map(read).transpose()
}

/// The group with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<GroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up a group by name").await?.first().map(read).transpose()
}

/// All of them by name: some hundred.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<GroupRecord>> {
    within(c, &Scope::Everywhere).await
}

/// Those in `scope` by name.
pub async fn within(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<GroupRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope).push(" ORDER BY name");
    sql.fetch(c, "list groups").await?.iter().map(read).collect()
}

/// Replaces description and environment, if the version is still the one read.
pub async fn edit(
    c: &mut AnyConnection,
    group: GroupId,
    description: &str,
    environment: Option<EnvironmentId>,
    version: i64,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instance_groups SET description = $2, environment_id = $3, version = version + 1 WHERE id = $1 AND version = $4",
    )
    .bind(group.to_string())
    .bind(storable(description))
    .bind(environment.map(|e| e.to_string()))
    .bind(version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("edit a group"))
}

/// Holds a group's row until the transaction that changes its members ends, and counts that as a version. `None`: the
/// group is gone.
pub async fn hold(c: &mut AnyConnection, group: GroupId) -> StoreResult<Option<GroupRecord>> {
    sqlx::query("UPDATE instance_groups SET version = version + 1 WHERE id = $1")
        .bind(group.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("hold a group"))?;
    find(c, group).await
}

/// Says what all members are; the caller holds the group. `None`: nobody is in it.
pub async fn set_family(c: &mut AnyConnection, group: GroupId, family: Option<&OsFamily>) -> StoreResult<()> {
    sqlx::query("UPDATE instance_groups SET os_id = $2, os_release = $3, architecture = $4 WHERE id = $1")
        .bind(group.to_string())
        .bind(family.map(|f| storable(&f.os)))
        .bind(family.map(|f| storable(&f.release)))
        .bind(family.map(|f| storable(&f.architecture)))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store what the members of a group are"))
}

/// Puts an instance into a group; the caller holds the group. `false`: the instance is in one, or no longer in `state` and
/// `compartment`.
pub async fn join(
    c: &mut AnyConnection,
    group: GroupId,
    instance: InstanceId,
    state: InstanceState,
    compartment: &str,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instances SET group_id = $2, version = version + 1 \
         WHERE id = $1 AND group_id IS NULL AND state = $3 AND compartment = $4",
    )
    .bind(instance.to_string())
    .bind(group.to_string())
    .bind(state.as_str())
    .bind(storable(compartment))
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("put an instance into a group"))
}

/// Puts a group into another compartment; the caller holds the group.
pub async fn set_compartment(c: &mut AnyConnection, group: GroupId, path: &str) -> StoreResult<()> {
    sqlx::query("UPDATE instance_groups SET compartment = $2 WHERE id = $1")
        .bind(group.to_string())
        .bind(storable(path))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("move a group"))
}

/// A member of a group that does not lie in the compartment `path` or below, if there is one; the caller holds the group.
pub async fn member_outside(c: &mut AnyConnection, group: GroupId, path: &str) -> StoreResult<Option<String>> {
    if path == "/" {
        return Ok(None);
    }
    let mut sql = Sql::new("SELECT name FROM instances WHERE group_id = ");
    sql.bind(group.to_string()).push(" AND compartment <> ").bind(storable(path));
    sql.push(" AND compartment NOT LIKE ").bind(format!("{}/%", like_escaped(path))).push(" ESCAPE '\\' ORDER BY name LIMIT 1");
    let rows = sql.fetch(c, "look for members of a group outside a compartment").await?;
    rows.first().map(|r| text(r, "name")).transpose()
}

/// Takes an instance out of a group; the caller holds the group. `false`: it is not in it.
pub async fn leave(c: &mut AnyConnection, group: GroupId, instance: InstanceId) -> StoreResult<bool> {
    sqlx::query("UPDATE instances SET group_id = NULL, version = version + 1 WHERE id = $1 AND group_id = $2")
        .bind(instance.to_string())
        .bind(group.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("take an instance out of a group"))
}

/// Deletes a group with its attachments, if nobody is in it. `false`: somebody is, or it is gone. Of an instance put into
/// it at the same moment the database refuses one: see [`StoreError::is_referenced`].
pub async fn delete(c: &mut AnyConnection, group: GroupId) -> StoreResult<bool> {
    let gone =
        sqlx::query("DELETE FROM instance_groups WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.group_id = $1)")
            .bind(group.to_string())
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("delete a group"))?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    // Only now: who attaches holds the group's row, so every attachment there will ever be is visible here.
    sqlx::query("DELETE FROM attachments WHERE target_kind = 'GROUP' AND target_id = $1")
        .bind(group.to_string())
        .execute(c)
        .await
        .map_err(StoreError::query("detach the sources of a group"))?;
    Ok(true)
}

/// Members of each group that has some in `scope`, whatever their state.
pub async fn member_counts(c: &mut AnyConnection, scope: &Scope) -> StoreResult<BTreeMap<GroupId, u64>> {
    let mut sql = Sql::new("SELECT group_id, count(*) AS n FROM instances WHERE group_id IS NOT NULL");
    sql.within("compartment", scope).push(" GROUP BY group_id");
    let rows = sql.fetch(c, "count the members of groups").await?;
    rows.iter().map(|r| Ok((id(r, "group_id")?, big_count(r, "n")?))).collect()
}

/// Members of a group in `scope` by name, whatever their state.
pub async fn members(
    c: &mut AnyConnection,
    group: GroupId,
    page: &PageQuery,
    scope: &Scope,
) -> StoreResult<Paged<GroupMemberRecord>> {
    let mut sql = Sql::new("SELECT id, name, state, os FROM instances WHERE group_id = ");
    sql.bind(group.to_string()).within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND name > ").bind(last);
    }
    sql.push(" ORDER BY name LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "read the members of a group").await?;
    let read = |r: &AnyRow| {
        let state = parsed(r, "state", InstanceState::parse)?;
        Ok(GroupMemberRecord { id: id(r, "id")?, name: text(r, "name")?, state, os: opt_json(r, "os")? })
    };
    let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, found, |m| vec![m.name.clone()]))
}

fn read(row: &AnyRow) -> StoreResult<GroupRecord> {
    let family = match (opt_text(row, "os_id")?, opt_text(row, "os_release")?, opt_text(row, "architecture")?) {
        (Some(os), Some(release), Some(architecture)) => Some(OsFamily { os, release, architecture }),
        _ => None,
    };
    Ok(GroupRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        environment: opt_id(row, "environment_id")?,
        compartment: text(row, "compartment")?,
        family,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}
