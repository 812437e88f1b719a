//! Audit records: an inbox, a chain of hashes, its head and its seals, and how far receivers outside have got. Written once,
//! never edited; whole sealed segments may go at the old end. Absent on purpose: hashing and signing.

use std::borrow::Cow;

use drydock_domain::access::Scope;
use drydock_domain::audit::Record;
use drydock_domain::audit::chain::{Hash, Seal, SealKind, hex, unhex};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::records::{AuditRecord, PageQuery, Paged};
use crate::row::{big_count, int, micros, opt_int, parsed, storable, text};
use crate::sql::{Sql, like_escaped};

/// Rows stored with one statement, count: 16 parameters each stay below every database's limit. Statements of this size are
/// kept prepared; smaller ones are not.
const INSERT_ROWS: usize = 100;

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0: there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Which records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Name or id of who.
    pub who: Option<String>,
    /// Operation; `patch-job.*` is all of a noun.
    pub operation: Option<String>,
    /// Part of the resource.
    pub resource: Option<String>,
    /// `allowed`, `denied`, `failed`.
    pub outcome: Option<String>,
    /// The request it came with.
    pub request_id: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Page.
    pub page: PageQuery,
}

/// Adds a record to the inbox.
pub async fn insert(c: &mut AnyConnection, id: Uuid, record: &Record<'_>) -> StoreResult<()> {
    let mut sql = Sql::new(
        "INSERT INTO audit_inbox (at, who_kind, who_id, who, address, request_id, operation, compartment, resource, decision, \
         reason, parameters, outcome, error, duration_ms, id) VALUES (",
    );
    bind(&mut sql, record)?;
    sql.push(", ").bind(id.to_string()).push(")");
    sql.execute(c, "store an audit record").await.map(drop)
}

/// The oldest records of the inbox with their ids.
pub async fn inbox(c: &mut AnyConnection, limit: u32) -> StoreResult<Vec<(String, Record<'static>)>> {
    let mut sql = Sql::new("SELECT * FROM audit_inbox ORDER BY id LIMIT ");
    sql.bind(i64::from(limit));
    let rows = sql.fetch(c, "read the inbox of the audit").await?;
    rows.iter().map(|r| Ok((text(r, "id")?, read(r)?))).collect()
}

/// Takes records out of the inbox; returns how many were there.
pub async fn take(c: &mut AnyConnection, ids: Vec<String>) -> StoreResult<u64> {
    let mut taken = 0;
    let mut ids = ids.into_iter().peekable();
    while ids.peek().is_some() {
        let mut sql = Sql::new("DELETE FROM audit_inbox WHERE id IN ");
        sql.bind_list(ids.by_ref().take(INSERT_ROWS));
        taken += sql.execute(c, "empty the inbox of the audit").await?;
    }
    Ok(taken)
}

/// The end of the chain.
pub async fn head(c: &mut AnyConnection) -> StoreResult<Head> {
    let rows = Sql::new("SELECT seq, hash FROM audit_head WHERE id = 1").fetch(c, "read the end of the audit").await?;
    let row = rows.first().ok_or(StoreError::Row { column: "seq", problem: "the audit has no end".to_owned() })?;
    Ok(Head { seq: big_count(row, "seq")?, hash: parsed(row, "hash", unhex)? })
}

/// Moves the end of the chain, if it is still where it was read.
pub async fn move_head(c: &mut AnyConnection, from: &Head, to: &Head) -> StoreResult<bool> {
    let mut sql = Sql::new("UPDATE audit_head SET seq = ");
    sql.bind(number(to.seq)?).push(", hash = ").bind(hex(&to.hash)).push(" WHERE id = 1 AND seq = ");
    sql.bind(number(from.seq)?).push(" AND hash = ").bind(hex(&from.hash));
    Ok(sql.execute(c, "move the end of the audit").await? == 1)
}

/// Adds records to the chain.
pub async fn append(c: &mut AnyConnection, records: &[AuditRecord]) -> StoreResult<()> {
    for some in records.chunks(INSERT_ROWS) {
        let mut sql = Sql::new(
            "INSERT INTO audit_chain (at, who_kind, who_id, who, address, request_id, operation, compartment, resource, \
             decision, reason, parameters, outcome, error, duration_ms, seq, hash) VALUES ",
        );
        for (n, own) in some.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" });
            bind(&mut sql, &own.record)?;
            sql.push(", ").bind(number(own.seq)?).push(", ").bind(hex(&own.hash)).push(")");
        }
        if some.len() != INSERT_ROWS && some.len() != 1 {
            sql.once();
        }
        sql.execute(c, "store records of the audit").await?;
    }
    Ok(())
}

/// Stores a seal.
pub async fn insert_seal(c: &mut AnyConnection, seal: &Seal, after: u64) -> StoreResult<()> {
    let mut sql = Sql::new("INSERT INTO audit_seals (seq, after_seq, hash, at, public_key, signature) VALUES (");
    sql.bind(number(seal.seq)?).push(", ").bind(number(after)?).push(", ").bind(hex(&seal.hash)).push(", ");
    sql.bind(micros(seal.at)).push(", ").bind(hex(&seal.key)).push(", ").bind(hex(&seal.signature)).push(")");
    sql.execute(c, "store a seal of the audit").await.map(drop)
}

/// The newest seal.
pub async fn last_seal(c: &mut AnyConnection) -> StoreResult<Option<Seal>> {
    one_seal(c, Sql::new("SELECT * FROM audit_seals ORDER BY seq DESC LIMIT 1")).await
}

/// The newest seal made before a moment: what it covers was recorded before.
pub async fn last_seal_before(c: &mut AnyConnection, at: Timestamp) -> StoreResult<Option<Seal>> {
    let mut sql = Sql::new("SELECT * FROM audit_seals WHERE at < ");
    sql.bind(micros(at)).push(" ORDER BY seq DESC LIMIT 1");
    one_seal(c, sql).await
}

/// The first seal made at a moment or later.
pub async fn first_seal_from(c: &mut AnyConnection, at: Timestamp) -> StoreResult<Option<Seal>> {
    let mut sql = Sql::new("SELECT * FROM audit_seals WHERE at >= ");
    sql.bind(micros(at)).push(" ORDER BY seq LIMIT 1");
    one_seal(c, sql).await
}

/// The oldest seal.
pub async fn first_seal(c: &mut AnyConnection) -> StoreResult<Option<Seal>> {
    one_seal(c, Sql::new("SELECT * FROM audit_seals WHERE seq > 0 ORDER BY seq LIMIT 1")).await
}

/// Seals of records after a number, up to another one.
pub async fn seals(c: &mut AnyConnection, after: u64, to: u64) -> StoreResult<Vec<Seal>> {
    let mut sql = Sql::new("SELECT * FROM audit_seals WHERE seq > ");
    sql.bind(number(after)?).push(" AND seq <= ").bind(number(to)?).push(" ORDER BY seq");
    sql.fetch(c, "read seals of the audit").await?.iter().map(seal).collect()
}

async fn one_seal(c: &mut AnyConnection, sql: Sql) -> StoreResult<Option<Seal>> {
    sql.fetch(c, "read a seal of the audit").await?.first().map(seal).transpose()
}

/// Number of the oldest record that is kept.
pub async fn first(c: &mut AnyConnection) -> StoreResult<Option<u64>> {
    let rows = Sql::new("SELECT seq FROM audit_chain WHERE seq > 0 ORDER BY seq LIMIT 1")
        .fetch(c, "read the beginning of the audit")
        .await?;
    rows.first().map(|r| big_count(r, "seq")).transpose()
}

/// Records after a number, in order.
pub async fn after(c: &mut AnyConnection, seq: u64, limit: u32) -> StoreResult<Vec<AuditRecord>> {
    let mut sql = Sql::new("SELECT * FROM audit_chain WHERE seq > ");
    sql.bind(number(seq)?).push(" ORDER BY seq LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read records of the audit").await?.iter().map(chained).collect()
}

/// Records about what lies where somebody may see it, newest first.
pub async fn list(c: &mut AnyConnection, scope: &Scope, query: &AuditQuery) -> StoreResult<Paged<AuditRecord>> {
    let mut sql = Sql::new("SELECT * FROM audit_chain WHERE seq > 0");
    if let Some(who) = &query.who {
        sql.push(" AND (who = ").bind(storable(who)).push(" OR who_id = ").bind(storable(who)).push(")");
    }
    if let Some(operation) = &query.operation {
        match operation.strip_suffix('*') {
            Some(start) => {
                let pattern = format!("{}%", like_escaped(&storable(start)));
                sql.push(" AND operation LIKE ").bind(pattern).push(" ESCAPE '\\'");
            }
            None => drop(sql.push(" AND operation = ").bind(storable(operation))),
        }
    }
    if let Some(part) = &query.resource {
        sql.push(" AND resource LIKE ").bind(format!("%{}%", like_escaped(&storable(part)))).push(" ESCAPE '\\'");
    }
    if let Some(outcome) = &query.outcome {
        sql.push(" AND outcome = ").bind(storable(outcome));
    }
    if let Some(request) = &query.request_id {
        sql.push(" AND request_id = ").bind(storable(request));
    }
    if let Some(since) = query.since {
        sql.push(" AND at >= ").bind(micros(since));
    }
    if let Some(until) = query.until {
        sql.push(" AND at < ").bind(micros(until));
    }
    sql.within("compartment", scope);
    if let Some([seq]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND seq < ").bind(cursor::number(&seq)?);
    }
    sql.push(" ORDER BY seq DESC LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list audit records").await?;
    let records = rows.iter().map(chained).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, records, |r| vec![r.seq.to_string()]))
}

/// Drops the segments that end with the seal of this record; the seal stays as the new beginning.
pub async fn drop_through(c: &mut AnyConnection, seq: u64) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM audit_seals WHERE seq < ");
    sql.bind(number(seq)?);
    sql.execute(c, "drop seals of old records of the audit").await?;
    let mut sql = Sql::new("DELETE FROM audit_chain WHERE seq <= ");
    sql.bind(number(seq)?);
    sql.execute(c, "drop old records of the audit").await
}

/// How far a receiver has got all records.
pub async fn forwarded(c: &mut AnyConnection, target: &str) -> StoreResult<Option<u64>> {
    let mut sql = Sql::new("SELECT seq FROM audit_forwards WHERE target = ");
    sql.bind(storable(target));
    sql.fetch(c, "read how far the audit is forwarded").await?.first().map(|r| big_count(r, "seq")).transpose()
}

/// Every receiver and how far it has got.
pub async fn forwards(c: &mut AnyConnection) -> StoreResult<Vec<(String, u64)>> {
    let sql = Sql::new("SELECT target, seq FROM audit_forwards ORDER BY target");
    let rows = sql.fetch(c, "read how far the audit is forwarded").await?;
    rows.iter().map(|r| Ok((text(r, "target")?, big_count(r, "seq")?))).collect()
}

/// Notes how far a receiver has got; it never goes back.
pub async fn set_forwarded(c: &mut AnyConnection, target: &str, seq: u64, now: Timestamp) -> StoreResult<()> {
    let mut sql = Sql::new("INSERT INTO audit_forwards (target, seq, changed_at) VALUES (");
    sql.bind(storable(target)).push(", ").bind(number(seq)?).push(", ").bind(micros(now)).push(
        ") ON CONFLICT (target) DO UPDATE SET seq = excluded.seq, changed_at = excluded.changed_at \
         WHERE audit_forwards.seq < excluded.seq",
    );
    sql.execute(c, "note how far the audit is forwarded").await.map(drop)
}

/// Forgets a receiver that is none any more.
pub async fn forget_forward(c: &mut AnyConnection, target: &str) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM audit_forwards WHERE target = ");
    sql.bind(storable(target));
    sql.execute(c, "forget a receiver of the audit").await
}

fn number(n: u64) -> StoreResult<i64> {
    i64::try_from(n).map_err(|_| StoreError::Row { column: "seq", problem: format!("{n} is no number of a record") })
}

/// The fifteen columns of a record, in their order. Texts come from [`Record::bounded`] and hold nothing that a database
/// refuses: what is hashed is what is stored.
fn bind(sql: &mut Sql, r: &Record<'_>) -> StoreResult<()> {
    sql.bind(micros(r.at));
    for value in [
        &r.who_kind,
        &r.who_id,
        &r.who,
        &r.address,
        &r.request_id,
        &r.operation,
        &r.compartment,
        &r.resource,
        &r.decision,
        &r.reason,
        &r.parameters,
        &r.outcome,
        &r.error,
    ] {
        sql.push(", ").bind(value.clone().into_owned());
    }
    sql.push(", ").bind(r.duration_ms.map(number).transpose()?);
    Ok(())
}

fn read(row: &AnyRow) -> StoreResult<Record<'static>> {
    let text = |column| text(row, column).map(Cow::Owned);
    let duration = opt_int(row, "duration_ms")?;
    Ok(Record {
        at: moment(row)?,
        who_kind: text("who_kind")?,
        who_id: text("who_id")?,
        who: text("who")?,
        address: text("address")?,
        request_id: text("request_id")?,
        operation: text("operation")?,
        compartment: text("compartment")?,
        resource: text("resource")?,
        decision: text("decision")?,
        reason: text("reason")?,
        parameters: text("parameters")?,
        outcome: text("outcome")?,
        error: text("error")?,
        duration_ms: duration.and_then(|ms| u64::try_from(ms).ok()),
    })
}

fn chained(row: &AnyRow) -> StoreResult<AuditRecord> {
    Ok(AuditRecord { seq: big_count(row, "seq")?, record: read(row)?, hash: hexadecimal(row, "hash")? })
}

/// A value that somebody damaged is read as nothing: it must not keep the rest from being exported, and the check of the
/// export names the place.
fn hexadecimal<const N: usize>(row: &AnyRow, column: &'static str) -> StoreResult<[u8; N]> {
    Ok(unhex(&text(row, column)?).unwrap_or([0; N]))
}

/// The same for a time.
fn moment(row: &AnyRow) -> StoreResult<Timestamp> {
    Ok(Timestamp::from_microsecond(int(row, "at")?).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn seal(row: &AnyRow) -> StoreResult<Seal> {
    Ok(Seal {
        kind: SealKind::Interval { after: big_count(row, "after_seq")? },
        seq: big_count(row, "seq")?,
        hash: hexadecimal(row, "hash")?,
        at: moment(row)?,
        key: hexadecimal(row, "public_key")?,
        signature: hexadecimal(row, "signature")?,
    })
}
