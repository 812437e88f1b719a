//! Feeds of advisories and vulnerabilities: what was imported, when, and what was wrong with it.

use drydock_domain::ids::FeedId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::advisory_records::{FeedFinding, FeedRecord};
use crate::error::{StoreError, StoreResult};
use crate::row::{big_count, flag, id, int, json, micros, storable, text, time, to_json};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, name, kind, stamps, complete, advisories_total, vulnerabilities_total, statements_total, \
                       findings_total, imported_by, imported_at, created_at, version FROM advisory_feeds";

/// Adds a feed. A duplicate (see [`StoreError::is_duplicate`]) means its name was taken meanwhile.
pub async fn insert(c: &mut AnyConnection, feed: &FeedRecord, findings: &[FeedFinding]) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO advisory_feeds (id, name, kind, stamps, complete, advisories_total, vulnerabilities_total, statements_total, \
         findings, findings_total, imported_by, imported_at, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(feed.id.to_string())
    .bind(storable(&feed.name))
    .bind(storable(&feed.kind))
    .bind(to_json("the stamps of a feed", &feed.stamps)?)
    .bind(i64::from(feed.complete))
    .bind(count(feed.advisories))
    .bind(count(feed.vulnerabilities))
    .bind(count(feed.statements))
    .bind(storable(&to_json("the findings of a feed", findings)?))
    .bind(count(feed.findings_total))
    .bind(storable(&feed.imported_by))
    .bind(micros(feed.imported_at))
    .bind(micros(feed.created_at))
    .bind(feed.version)
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an advisory feed"))
}

/// Writes what an import made of a feed, if its version is still the one read; the version grows.
pub async fn update(c: &mut AnyConnection, feed: &FeedRecord, findings: &[FeedFinding]) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE advisory_feeds SET kind = $2, stamps = $3, complete = $4, advisories_total = $5, vulnerabilities_total = $6, \
         statements_total = $7, findings = $8, findings_total = $9, imported_by = $10, imported_at = $11, version = version + 1 \
         WHERE id = $1 AND version = $12",
    )
    .bind(feed.id.to_string())
    .bind(storable(&feed.kind))
    .bind(to_json("the stamps of a feed", &feed.stamps)?)
    .bind(i64::from(feed.complete))
    .bind(count(feed.advisories))
    .bind(count(feed.vulnerabilities))
    .bind(count(feed.statements))
    .bind(storable(&to_json("the findings of a feed", findings)?))
    .bind(count(feed.findings_total))
    .bind(storable(&feed.imported_by))
    .bind(micros(feed.imported_at))
    .bind(feed.version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("note the import of an advisory feed"))
}

/// All of them by name: some dozen.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<FeedRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY name");
    sql.fetch(c, "list advisory feeds").await?.iter().map(read).collect()
}

/// The feed with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<FeedRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up an advisory feed by name").await?.first().map(read).transpose()
}

/// What was wrong with what was imported last.
pub async fn findings(c: &mut AnyConnection, feed: FeedId) -> StoreResult<Vec<FeedFinding>> {
    let mut sql = Sql::new("SELECT findings FROM advisory_feeds WHERE id = ");
    sql.bind(feed.to_string());
    let rows = sql.fetch(c, "read the findings of an advisory feed").await?;
    Ok(rows.first().map(|row| json(row, "findings")).transpose()?.unwrap_or_default())
}

/// Removes a feed with everything it said.
pub async fn delete(c: &mut AnyConnection, feed: FeedId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM advisory_feeds WHERE id = $1")
        .bind(feed.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("delete an advisory feed"))
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn read(row: &AnyRow) -> StoreResult<FeedRecord> {
    Ok(FeedRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        kind: text(row, "kind")?,
        stamps: json(row, "stamps")?,
        complete: flag(row, "complete")?,
        advisories: big_count(row, "advisories_total")?,
        vulnerabilities: big_count(row, "vulnerabilities_total")?,
        statements: big_count(row, "statements_total")?,
        findings_total: big_count(row, "findings_total")?,
        imported_by: text(row, "imported_by")?,
        imported_at: time(row, "imported_at")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}
