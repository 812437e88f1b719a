//! Software sources. Edits are conditional on the version read; what a sync leaves behind is not an edit.

use drydock_domain::access::Scope;
use drydock_domain::ids::{ContentJobId, SourceId};
use drydock_domain::source::spec::{Origin, SourceSpec};
use drydock_domain::source::unit::Format;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::Paged;
use crate::row::{count, id, int, json, micros, opt_id, opt_int, opt_text, opt_time, parsed, storable, text, time, to_json};
use crate::source_records::{SourceKind, SourceOutline, SourceQuery, SourceRecord};
use crate::sql::{Sql, like_escaped};

const COLUMNS: &str =
    "SELECT id, spec, last_sync_at, last_job_id, failures, compartment, created_by, created_at, version FROM sources";

/// Adds a source. A duplicate (see [`StoreError::is_duplicate`]) means its name was taken meanwhile.
pub async fn insert(c: &mut AnyConnection, source: &SourceRecord) -> StoreResult<()> {
    let (kind, from) = kind_of(&source.spec);
    sqlx::query(
        "INSERT INTO sources (id, name, format, kind, parent, derived_from, sync_interval_secs, spec, last_sync_at, \
         last_job_id, failures, created_by, created_at, version, compartment) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(source.id.to_string())
    .bind(source.spec.name.clone())
    .bind(source.spec.format.as_str())
    .bind(kind.as_str())
    .bind(source.spec.parent.clone())
    .bind(to_json("names of sources", from)?)
    .bind(interval_of(&source.spec))
    .bind(to_json("a software source", &source.spec)?)
    .bind(source.last_sync_at.map(micros))
    .bind(source.last_job.map(|j| j.to_string()))
    .bind(i64::from(source.failures))
    .bind(source.created_by.clone())
    .bind(micros(source.created_at))
    .bind(source.version)
    .bind(source.compartment.clone())
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store a software source"))
}

/// The source with this id.
pub async fn find(c: &mut AnyConnection, source: SourceId) -> StoreResult<Option<SourceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(source.to_string());
    sql.fetch(c, "read a software source").await?.first().map(read).transpose()
}

/// The source with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<SourceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up a software source by name").await?.first().map(read).transpose()
}

/// These sources, by name.
pub async fn find_all(c: &mut AnyConnection, sources: &[SourceId]) -> StoreResult<Vec<SourceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id IN ").bind_list(sources.iter().map(ToString::to_string)).push(" ORDER BY name");
    sql.fetch(c, "read software sources").await?.iter().map(read).collect()
}

/// Sources in the compartments of `scope`, by name.
pub async fn list(c: &mut AnyConnection, query: &SourceQuery, scope: &Scope) -> StoreResult<Paged<SourceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND name > ").bind(last);
    }
    if let Some(format) = query.format {
        sql.push(" AND format = ").bind(format.as_str());
    }
    if !query.name_contains.is_empty() {
        let pattern = format!("%{}%", like_escaped(&storable(&query.name_contains).to_lowercase()));
        sql.push(" AND name LIKE ").bind(pattern).push(" ESCAPE '\\'");
    }
    sql.push(" ORDER BY name LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list software sources").await?;
    let sources = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, sources, |s| vec![s.spec.name.clone()]))
}

/// Every source by name, without specifications: some 200 bytes each.
pub async fn outlines(c: &mut AnyConnection) -> StoreResult<Vec<SourceOutline>> {
    let sql = Sql::new(
        "SELECT id, name, format, kind, parent, derived_from, sync_interval_secs, last_sync_at, failures, last_job_id, \
         compartment, version FROM sources ORDER BY name",
    );
    sql.fetch(c, "read the outlines of software sources").await?.iter().map(read_outline).collect()
}

/// Replaces the specification, if the version is still the one read. Name and format stay what they are.
pub async fn edit(c: &mut AnyConnection, source: SourceId, spec: &SourceSpec, version: i64) -> StoreResult<bool> {
    let (kind, from) = kind_of(spec);
    sqlx::query(
        "UPDATE sources SET kind = $2, parent = $3, derived_from = $4, sync_interval_secs = $5, spec = $6, \
         version = version + 1 WHERE id = $1 AND version = $7 AND name = $8 AND format = $9",
    )
    .bind(source.to_string())
    .bind(kind.as_str())
    .bind(spec.parent.clone())
    .bind(to_json("names of sources", from)?)
    .bind(interval_of(spec))
    .bind(to_json("a software source", spec)?)
    .bind(version)
    .bind(spec.name.clone())
    .bind(spec.format.as_str())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("edit a software source"))
}

/// Deletes a source with its snapshots, pointers and jobs, if the version is still the one read and nothing attaches
/// it. Of an attachment made at the same moment the database refuses one: see [`StoreError::is_referenced`].
pub async fn delete(c: &mut AnyConnection, source: SourceId, version: i64) -> StoreResult<bool> {
    sqlx::query(
        "DELETE FROM sources WHERE id = $1 AND version = $2 \
         AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.source_id = $1)",
    )
    .bind(source.to_string())
    .bind(version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("delete a software source"))
}

/// What the last sync of a source left for the next.
pub async fn sync_state(c: &mut AnyConnection, source: SourceId) -> StoreResult<Option<String>> {
    let mut sql = Sql::new("SELECT sync_state FROM sources WHERE id = ");
    sql.bind(source.to_string());
    let rows = sql.fetch(c, "read the sync state of a software source").await?;
    Ok(rows.first().map(|r| opt_text(r, "sync_state")).transpose()?.flatten())
}

/// Notes that a job brought the source up to date; `state` is for the next one (`None` forgets it).
pub async fn set_synced(
    c: &mut AnyConnection,
    source: SourceId,
    job: ContentJobId,
    state: Option<&str>,
    at: Timestamp,
) -> StoreResult<bool> {
    sqlx::query("UPDATE sources SET last_sync_at = $2, last_job_id = $3, sync_state = $4, failures = 0 WHERE id = $1")
        .bind(source.to_string())
        .bind(micros(at))
        .bind(job.to_string())
        .bind(state.map(str::to_owned))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("note the sync of a software source"))
}

/// Notes that a job of the source ended otherwise; a failure is counted.
pub async fn set_job_ended(c: &mut AnyConnection, source: SourceId, job: ContentJobId, failed: bool) -> StoreResult<bool> {
    sqlx::query("UPDATE sources SET last_job_id = $2, failures = failures + $3 WHERE id = $1")
        .bind(source.to_string())
        .bind(job.to_string())
        .bind(i64::from(failed))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("note the end of a software source's job"))
}

/// Forgets what the last sync left: the next one reads everything anew.
pub async fn forget_sync_state(c: &mut AnyConnection, source: SourceId) -> StoreResult<()> {
    sqlx::query("UPDATE sources SET sync_state = NULL WHERE id = $1")
        .bind(source.to_string())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("forget the sync state of a software source"))
}

fn kind_of(spec: &SourceSpec) -> (SourceKind, &[String]) {
    match &spec.origin {
        Origin::Upstream(_) => (SourceKind::Upstream, &[]),
        Origin::Sources { from } => (SourceKind::Sources, from),
        Origin::Local { .. } => (SourceKind::Local, &[]),
    }
}

fn interval_of(spec: &SourceSpec) -> Option<i64> {
    spec.sync_interval_secs.map(|s| i64::try_from(s).unwrap_or(i64::MAX))
}

fn read(row: &AnyRow) -> StoreResult<SourceRecord> {
    Ok(SourceRecord {
        id: id(row, "id")?,
        spec: json(row, "spec")?,
        compartment: text(row, "compartment")?,
        last_sync_at: opt_time(row, "last_sync_at")?,
        last_job: opt_id(row, "last_job_id")?,
        failures: count(row, "failures")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}

fn read_outline(row: &AnyRow) -> StoreResult<SourceOutline> {
    Ok(SourceOutline {
        compartment: text(row, "compartment")?,
        id: id(row, "id")?,
        name: text(row, "name")?,
        format: parsed(row, "format", Format::parse)?,
        kind: parsed(row, "kind", SourceKind::parse)?,
        parent: opt_text(row, "parent")?,
        from: json(row, "derived_from")?,
        sync_interval_secs: opt_int(row, "sync_interval_secs")?.and_then(|n| u64::try_from(n).ok()),
        last_sync_at: opt_time(row, "last_sync_at")?,
        failures: count(row, "failures")?,
        last_job: opt_id(row, "last_job_id")?,
        version: int(row, "version")?,
    })
}
