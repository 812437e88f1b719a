//! What happened to an instance: written once, never edited, gone with the instance.

use std::sync::Arc;

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::PackageChangeRef;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{HistoryRecord, PageQuery, Paged};
use crate::row::{count, json, micros, opt_id, storable, text, time, to_json};
use crate::sql::Sql;

/// Adds an entry.
pub async fn insert(c: &mut AnyConnection, id: Uuid, instance: InstanceId, entry: &HistoryRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO history (id, instance_id, at, kind, message, changes, changes_total, task_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.to_string())
    .bind(instance.to_string())
    .bind(micros(entry.at))
    .bind(storable(&entry.kind))
    .bind(storable(&entry.message))
    .bind(to_json("package changes", &entry.changes)?)
    .bind(i64::from(entry.changes_total))
    .bind(entry.task.map(|t| t.to_string()))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a history entry"))
}

/// Rows written by one statement, count.
const CHUNK_ROWS: usize = 128;

/// An entry whose package changes are written already: hosts that changed alike share them.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its id.
    pub id: Uuid,
    /// The instance.
    pub instance: InstanceId,
    /// The entry; its own changes are not looked at.
    pub entry: HistoryRecord,
    /// By [`changes`].
    pub changes: Arc<str>,
}

/// Package changes as they are stored.
pub fn changes(changes: &[PackageChangeRef<'_>]) -> StoreResult<Arc<str>> {
    to_json("package changes", &changes).map(Arc::from)
}

/// Adds entries.
pub async fn insert_all(c: &mut AnyConnection, entries: &[Ready]) -> StoreResult<()> {
    for chunk in entries.chunks(CHUNK_ROWS) {
        let mut sql =
            Sql::new("INSERT INTO history (id, instance_id, at, kind, message, changes, changes_total, task_id) VALUES ");
        for (n, Ready { id, instance, entry, changes }) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(id.to_string()).push(", ").bind(instance.to_string());
            sql.push(", ").bind(micros(entry.at)).push(", ").bind(storable(&entry.kind)).push(", ");
            sql.bind(storable(&entry.message)).push(", ").bind(changes.to_string());
            sql.push(", ").bind(i64::from(entry.changes_total)).push(", ");
            sql.bind(entry.task.map(|t| t.to_string())).push(")");
        }
        sql.execute(c, "store history entries").await?;
    }
    Ok(())
}

/// Entries of an instance, newest first.
pub async fn list(c: &mut AnyConnection, instance: InstanceId, page: &PageQuery) -> StoreResult<Paged<HistoryRecord>> {
    let mut sql = Sql::new("SELECT id, at, kind, message, changes, changes_total, task_id FROM history WHERE instance_id = ");
    sql.bind(instance.to_string());
    if let Some([at, id]) = cursor::keys::<2>(page)? {
        sql.push(" AND (at, id) < (").bind(cursor::number(&at)?).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY at DESC, id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list the history of an instance").await?;
    let entries = rows.iter().map(|r| Ok((text(r, "id")?, read(r)?))).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, entries, |(id, e)| vec![micros(e.at).to_string(), id.clone()]).map(|(_, e)| e))
}

fn read(row: &AnyRow) -> StoreResult<HistoryRecord> {
    Ok(HistoryRecord {
        at: time(row, "at")?,
        kind: text(row, "kind")?,
        message: text(row, "message")?,
        changes: json(row, "changes")?,
        changes_total: count(row, "changes_total")?,
        task: opt_id(row, "task_id")?,
    })
}
