//! Maintenance windows, freeze calendars and groups of reboot slots, with who holds a slot. Changes are conditional on the
//! version read.

use drydock_domain::access::Scope;
use drydock_domain::ids::{InstanceId, TaskId};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{StoreError, StoreResult};
use crate::row::{id, int, micros, parsed, storable, text, time};
use crate::sql::Sql;

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarKind {
    /// A maintenance window.
    Window,
    /// A freeze calendar.
    Freeze,
    /// A group of reboot slots.
    RebootSlots,
}

impl CalendarKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            CalendarKind::Window => "WINDOW",
            CalendarKind::Freeze => "FREEZE",
            CalendarKind::RebootSlots => "REBOOT_SLOTS",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [CalendarKind::Window, CalendarKind::Freeze, CalendarKind::RebootSlots].into_iter().find(|k| k.as_str() == text)
    }
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarRecord {
    /// Its id.
    pub id: Uuid,
    /// What it is.
    pub kind: CalendarKind,
    /// Unique among its kind.
    pub name: String,
    /// JSON.
    pub spec: String,
    /// Path of its compartment: it reaches hosts there and below.
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Grows with every edit; the etag.
    pub version: i64,
}

/// Who holds a reboot slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// The task.
    pub task: TaskId,
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// For people.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// Free again after this moment.
    pub expires_at: Timestamp,
}

const COLUMNS: &str = "SELECT id, kind, name, spec, compartment, created_by, created_at, updated_at, version FROM calendars";

/// Adds an object. A duplicate (see [`StoreError::is_duplicate`]) means that the name is taken.
pub async fn insert(c: &mut AnyConnection, calendar: &CalendarRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO calendars (id, kind, name, spec, created_by, created_at, updated_at, version, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(calendar.id.to_string())
    .bind(calendar.kind.as_str())
    .bind(calendar.name.clone())
    .bind(storable(&calendar.spec))
    .bind(storable(&calendar.created_by))
    .bind(micros(calendar.created_at))
    .bind(micros(calendar.updated_at))
    .bind(calendar.version)
    .bind(calendar.compartment.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a calendar"))
}

/// The object of this kind with this name.
pub async fn find(c: &mut AnyConnection, kind: CalendarKind, name: &str) -> StoreResult<Option<CalendarRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE kind = ").bind(kind.as_str()).push(" AND name = ").bind(storable(name));
    sql.fetch(c, "read a calendar").await?.first().map(read).transpose()
}

/// All of these kinds in the compartments of `scope`, by name: some hundred.
pub async fn list(c: &mut AnyConnection, kinds: &[CalendarKind], scope: &Scope) -> StoreResult<Vec<CalendarRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE kind IN ").bind_list(kinds.iter().map(|k| k.as_str().to_owned()));
    sql.within("compartment", scope).push(" ORDER BY name, kind");
    sql.fetch(c, "list calendars").await?.iter().map(read).collect()
}

/// Replaces the spec, if the version is still the one read; the version grows.
pub async fn update(c: &mut AnyConnection, calendar: &CalendarRecord) -> StoreResult<bool> {
    sqlx::query("UPDATE calendars SET spec = $2, updated_at = $3, version = version + 1 WHERE id = $1 AND version = $4")
        .bind(calendar.id.to_string())
        .bind(storable(&calendar.spec))
        .bind(micros(calendar.updated_at))
        .bind(calendar.version)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("edit a calendar"))
}

/// Removes an object; slots of a group are free with it.
pub async fn delete(c: &mut AnyConnection, calendar: Uuid) -> StoreResult<bool> {
    sqlx::query("DELETE FROM calendars WHERE id = $1")
        .bind(calendar.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete a calendar"))
}

/// Holds a group's row until the transaction ends: who takes a slot sees all that are taken. `false`: it is gone.
pub async fn hold(c: &mut AnyConnection, group: Uuid) -> StoreResult<bool> {
    sqlx::query("UPDATE calendars SET updated_at = updated_at WHERE id = $1")
        .bind(group.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("hold a group of reboot slots"))
}

/// Who holds slots of a group, longest first. Those that have expired are not held.
pub async fn holders(c: &mut AnyConnection, group: Uuid, now: Timestamp) -> StoreResult<Vec<SlotRecord>> {
    let mut sql =
        Sql::new("SELECT task_id, instance_id, instance_name, why, since, expires_at FROM reboot_slots WHERE group_id = ");
    sql.bind(group.to_string()).push(" AND expires_at > ").bind(micros(now)).push(" ORDER BY since, task_id");
    let rows = sql.fetch(c, "read who holds reboot slots").await?;
    let read = |r: &AnyRow| {
        Ok(SlotRecord {
            task: id(r, "task_id")?,
            instance: id(r, "instance_id")?,
            instance_name: text(r, "instance_name")?,
            why: text(r, "why")?,
            since: time(r, "since")?,
            expires_at: time(r, "expires_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Gives a slot; the caller holds the group. One that the task had and that expired is given anew.
pub async fn take_slot(c: &mut AnyConnection, group: Uuid, slot: &SlotRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO reboot_slots (group_id, task_id, instance_id, instance_name, why, since, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (group_id, task_id) DO UPDATE SET since = excluded.since, \
         expires_at = excluded.expires_at",
    )
    .bind(group.to_string())
    .bind(slot.task.to_string())
    .bind(slot.instance.to_string())
    .bind(storable(&slot.instance_name))
    .bind(storable(&slot.why))
    .bind(micros(slot.since))
    .bind(micros(slot.expires_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("give a reboot slot"))
}

/// Takes back every slot that a task holds.
pub async fn release_of_task(c: &mut AnyConnection, task: TaskId) -> StoreResult<u64> {
    sqlx::query("DELETE FROM reboot_slots WHERE task_id = $1")
        .bind(task.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("take back a reboot slot"))
}

/// Takes back the slots that a host holds in a group.
pub async fn release_of_host(c: &mut AnyConnection, group: Uuid, instance: InstanceId) -> StoreResult<u64> {
    sqlx::query("DELETE FROM reboot_slots WHERE group_id = $1 AND instance_id = $2")
        .bind(group.to_string())
        .bind(instance.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("release a reboot slot"))
}

/// Forgets slots that expired before this moment.
pub async fn forget_expired(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query("DELETE FROM reboot_slots WHERE expires_at < $1")
        .bind(micros(before))
        .execute(c)
        .await
        .map(|r| r.rows_affected())
        .map_err(StoreError::query("forget expired reboot slots"))
}

fn read(row: &AnyRow) -> StoreResult<CalendarRecord> {
    Ok(CalendarRecord {
        id: id(row, "id")?,
        kind: parsed(row, "kind", CalendarKind::parse)?,
        name: text(row, "name")?,
        spec: text(row, "spec")?,
        compartment: text(row, "compartment")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: int(row, "version")?,
    })
}
