//! Audit records: written once, never edited.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{AuditRecord, PageQuery, Paged};
use crate::row::{micros, storable, text, time};
use crate::sql::Sql;

/// Adds a record.
pub async fn insert(c: &mut AnyConnection, id: Uuid, record: &AuditRecord) -> StoreResult<()> {
    sqlx::query("INSERT INTO audit (id, at, who, operation, resource, outcome, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(id.to_string())
        .bind(micros(record.at))
        .bind(storable(&record.who))
        .bind(storable(&record.operation))
        .bind(storable(&record.resource))
        .bind(storable(&record.outcome))
        .bind(storable(&record.request_id))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store an audit record"))
}

/// Records, newest first.
pub async fn list(c: &mut AnyConnection, page: &PageQuery) -> StoreResult<Paged<AuditRecord>> {
    let mut sql = Sql::new("SELECT id, at, who, operation, resource, outcome, request_id FROM audit");
    if let Some([at, id]) = cursor::keys::<2>(page)? {
        sql.push(" WHERE (at, id) < (").bind(cursor::number(&at)?).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY at DESC, id DESC LIMIT ").bind(cursor::fetch_limit(page));
    let rows = sql.fetch(c, "list audit records").await?;
    let records = rows.iter().map(|r| Ok((text(r, "id")?, read(r)?))).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(page, records, |(id, r)| vec![micros(r.at).to_string(), id.clone()]).map(|(_, r)| r))
}

fn read(row: &AnyRow) -> StoreResult<AuditRecord> {
    Ok(AuditRecord {
        at: time(row, "at")?,
        who: text(row, "who")?,
        operation: text(row, "operation")?,
        resource: text(row, "resource")?,
        outcome: text(row, "outcome")?,
        request_id: text(row, "request_id")?,
    })
}
