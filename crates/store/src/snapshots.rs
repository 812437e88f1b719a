//! Snapshots of software sources: added, read, retired; never edited.

use std::collections::BTreeMap;

use drydock_domain::ids::{SnapshotId, SourceId};
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::SnapshotOrigin;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{PageQuery, Paged};
use crate::row::{count, flag, id, json, micros, parsed, text, time, to_json};
use crate::source_records::{SnapshotRecord, SnapshotUse};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT s.id, s.source_id, s.number, s.root, s.stats, s.origin, s.findings_total, s.kept, s.created_at";
const FROM: &str = " FROM snapshots s";

/// Adds a snapshot. A duplicate (see [`StoreError::is_duplicate`]) means its number was taken meanwhile.
pub async fn insert(c: &mut AnyConnection, snapshot: &SnapshotRecord, findings: &[Finding]) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO snapshots (id, source_id, number, root, stats, origin, findings, findings_total, kept, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(snapshot.id.to_string())
    .bind(snapshot.source.to_string())
    .bind(i64::from(snapshot.number))
    .bind(snapshot.root.clone())
    .bind(to_json("sizes of a snapshot", &snapshot.stats)?)
    .bind(snapshot.origin.as_str())
    .bind(to_json("findings", findings)?)
    .bind(i64::from(snapshot.findings_total))
    .bind(i64::from(snapshot.kept))
    .bind(micros(snapshot.created_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a snapshot"))
}

/// The snapshot with this id.
pub async fn find(c: &mut AnyConnection, snapshot: SnapshotId) -> StoreResult<Option<SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.id = ").bind(snapshot.to_string());
    sql.fetch(c, "read a snapshot").await?.first().map(read).transpose()
}

/// The snapshot of a source with this number.
pub async fn by_number(c: &mut AnyConnection, source: SourceId, number: u32) -> StoreResult<Option<SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.source_id = ").bind(source.to_string());
    sql.push(" AND s.number = ").bind(i64::from(number));
    sql.fetch(c, "read a snapshot by its number").await?.first().map(read).transpose()
}

/// The newest snapshot of a source that was made at or before `at`.
pub async fn as_of(c: &mut AnyConnection, source: SourceId, at: Timestamp) -> StoreResult<Option<SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.source_id = ").bind(source.to_string());
    sql.push(" AND s.created_at <= ").bind(micros(at)).push(" ORDER BY s.created_at DESC, s.number DESC LIMIT 1");
    sql.fetch(c, "read the snapshot of a moment").await?.first().map(read).transpose()
}

/// The newest snapshot of a source.
pub async fn newest(c: &mut AnyConnection, source: SourceId) -> StoreResult<Option<SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.source_id = ").bind(source.to_string()).push(" ORDER BY s.number DESC LIMIT 1");
    sql.fetch(c, "read the newest snapshot").await?.first().map(read).transpose()
}

/// The newest snapshot of each of these sources that has one.
pub async fn newest_of(c: &mut AnyConnection, sources: &[SourceId]) -> StoreResult<BTreeMap<SourceId, SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.source_id IN ").bind_list(sources.iter().map(ToString::to_string));
    sql.push(" AND s.number = (SELECT max(n.number) FROM snapshots n WHERE n.source_id = s.source_id)");
    let rows = sql.fetch(c, "read the newest snapshots").await?;
    rows.iter().map(|r| read(r).map(|s| (s.source, s))).collect()
}

/// These snapshots, as far as they exist.
pub async fn find_all(c: &mut AnyConnection, snapshots: &[SnapshotId]) -> StoreResult<BTreeMap<SnapshotId, SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.id IN ").bind_list(snapshots.iter().map(ToString::to_string));
    let rows = sql.fetch(c, "read snapshots").await?;
    rows.iter().map(|r| read(r).map(|s| (s.id, s))).collect()
}

/// Snapshots of a source, newest first.
pub async fn list(c: &mut AnyConnection, source: SourceId, page: &PageQuery) -> StoreResult<Paged<SnapshotRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(FROM).push(" WHERE s.source_id = ").bind(source.to_string());
    if let Some([last]) = cursor::keys::<1>(page)? {
        sql.push(" AND s.number < ").bind(cursor::number(&last)?);
    }
    sql.push(" ORDER BY s.number DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list snapshots").await?;
    let snapshots = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, snapshots, |s| vec![s.number.to_string()]))
}

/// The findings of a snapshot; none when there is no such snapshot.
pub async fn findings(c: &mut AnyConnection, snapshot: SnapshotId) -> StoreResult<Vec<Finding>> {
    let mut sql = Sql::new("SELECT findings FROM snapshots WHERE id = ");
    sql.bind(snapshot.to_string());
    let rows = sql.fetch(c, "read the findings of a snapshot").await?;
    Ok(rows.first().map(|r| json(r, "findings")).transpose()?.unwrap_or_default())
}

/// Every snapshot of a source with the pointers on it, oldest first: what retention looks at.
pub async fn uses(c: &mut AnyConnection, source: SourceId) -> StoreResult<Vec<SnapshotUse>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(", (SELECT count(*) FROM pointers p WHERE p.source_id = s.source_id AND p.snapshot_id = s.id) AS pointers");
    sql.push(FROM).push(" WHERE s.source_id = ").bind(source.to_string()).push(" ORDER BY s.number");
    let rows = sql.fetch(c, "read the uses of snapshots").await?;
    rows.iter().map(|r| Ok(SnapshotUse { snapshot: read(r)?, pointers: count(r, "pointers")? })).collect()
}

/// Sets or clears the mark that keeps a snapshot from retention. `false`: there is none.
pub async fn set_kept(c: &mut AnyConnection, snapshot: SnapshotId, kept: bool) -> StoreResult<bool> {
    sqlx::query("UPDATE snapshots SET kept = $2 WHERE id = $1")
        .bind(snapshot.to_string())
        .bind(i64::from(kept))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("mark a snapshot"))
}

/// Retires a snapshot that no pointer is on and that is neither marked nor the newest of its source. `false`: it is
/// one of these, or gone. Of a pointer moved to it at the same moment the database refuses one: see
/// [`StoreError::is_referenced`].
pub async fn delete_unused(c: &mut AnyConnection, snapshot: SnapshotId) -> StoreResult<bool> {
    sqlx::query(
        "DELETE FROM snapshots WHERE id = $1 AND kept = 0 \
         AND NOT EXISTS (SELECT 1 FROM pointers p WHERE p.snapshot_id = $1) \
         AND EXISTS (SELECT 1 FROM snapshots n WHERE n.source_id = snapshots.source_id AND n.number > snapshots.number)",
    )
    .bind(snapshot.to_string())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("retire a snapshot"))
}

/// Source and root of every snapshot: what garbage collection keeps.
pub async fn roots(c: &mut AnyConnection) -> StoreResult<Vec<(SourceId, String)>> {
    let sql = Sql::new("SELECT source_id, root FROM snapshots ORDER BY source_id, number");
    let rows = sql.fetch(c, "read the roots of all snapshots").await?;
    rows.iter().map(|r| Ok((id(r, "source_id")?, text(r, "root")?))).collect()
}

/// Roots of the newest snapshots of a source, newest first: whose publications are served.
pub async fn newest_roots(c: &mut AnyConnection, source: SourceId, limit: u32) -> StoreResult<Vec<String>> {
    let mut sql = Sql::new("SELECT root FROM snapshots WHERE source_id = ");
    sql.bind(source.to_string()).push(" ORDER BY number DESC LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read the newest roots of a software source").await?.iter().map(|r| text(r, "root")).collect()
}

fn read(row: &AnyRow) -> StoreResult<SnapshotRecord> {
    Ok(SnapshotRecord {
        id: id(row, "id")?,
        source: id(row, "source_id")?,
        number: count(row, "number")?,
        root: text(row, "root")?,
        stats: json(row, "stats")?,
        origin: parsed(row, "origin", SnapshotOrigin::parse)?,
        findings_total: count(row, "findings_total")?,
        kept: flag(row, "kept")?,
        created_at: time(row, "created_at")?,
    })
}
