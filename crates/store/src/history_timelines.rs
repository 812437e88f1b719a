//! What each host had when: one short row a host, replaced when its packages change and gone with the instance.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::Scope;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::SectionKind;
use drydock_domain::inventory_history::{ClassId, Damaged, Timeline};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::history_packed::{self, Packed};
use crate::row::{bytes, id, int, text, time};
use crate::sql::Sql;

/// Names in one list, count.
const CHUNK_NAMES: usize = 200;
/// Rows written by one statement, count.
const CHUNK_ROWS: usize = 256;

const SPANS: Packed = Packed {
    sqlite: "SELECT group_concat(instance_id || ':' || hex(spans), ',') AS packed FROM history_timelines",
    postgres: "SELECT string_agg(instance_id || ':' || encode(spans, 'hex'), ',') AS packed FROM history_timelines",
};

/// The history of one host; `None`: it never reported its packages.
pub async fn of_host(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<Timeline>> {
    Ok(of_hosts(c, &[instance]).await?.remove(&instance))
}

/// The histories of some hosts.
pub async fn of_hosts(c: &mut AnyConnection, instances: &[InstanceId]) -> StoreResult<BTreeMap<InstanceId, Timeline>> {
    let mut out = BTreeMap::new();
    for chunk in instances.chunks(CHUNK_NAMES) {
        let mut sql = SPANS.sql(c);
        sql.push(" WHERE instance_id IN ").bind_list(chunk.iter().map(ToString::to_string));
        let text = history_packed::fetch(sql, c, "read the inventory history of instances").await?;
        for entry in history_packed::entries(&text) {
            let [instance, spans] = history_packed::fields(entry)?;
            let line = Timeline::decode(&history_packed::bytes(spans)?).map_err(damaged)?;
            out.insert(history_packed::id(instance)?, line);
        }
    }
    Ok(out)
}

/// The history of every host in `scope`, with its name: by name.
pub async fn all(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<(String, Timeline)>> {
    let mut sql =
        Sql::new("SELECT i.name, t.spans FROM history_timelines t JOIN instances i ON i.id = t.instance_id WHERE 1 = 1");
    sql.within("i.compartment", scope).push(" ORDER BY i.name");
    let rows = sql.fetch(c, "read the inventory history of the fleet").await?;
    rows.iter().map(|r| Ok((text(r, "name")?, read(r)?))).collect()
}

/// The history of every host as it is stored, by host.
pub(crate) async fn stored(c: &mut AnyConnection) -> StoreResult<Vec<(InstanceId, Vec<u8>)>> {
    let text = history_packed::fetch(SPANS.sql(c), c, "read the inventory history of the fleet").await?;
    let mut out = Vec::new();
    for entry in history_packed::entries(&text) {
        let [instance, spans] = history_packed::fields(entry)?;
        out.push((history_packed::id(instance)?, history_packed::bytes(spans)?));
    }
    out.sort_unstable_by_key(|(instance, _)| *instance);
    Ok(out)
}

/// Another one after every change of any history: writers count in it ([`note`]), and a host that is deleted takes its own
/// away.
pub(crate) async fn stamp(c: &mut AnyConnection) -> StoreResult<(i64, i64)> {
    let row = sqlx::query("SELECT swept_at, (SELECT count(*) FROM history_timelines) AS n FROM history_state WHERE id = 1")
        .fetch_one(c)
        .await
        .map_err(StoreError::query("read the state of the inventory history"))?;
    Ok((int(&row, "swept_at")?, int(&row, "n")?))
}

/// Says that histories change in this transaction, for who changes them without a [`crate::history_writer::Writer`]; before
/// anything else. The time of the last sweep is counted up: a microsecond a write is nothing to a daily one.
pub async fn note(c: &mut AnyConnection) -> StoreResult<()> {
    sqlx::query("UPDATE history_state SET swept_at = swept_at + 1 WHERE id = 1")
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("hold the inventory history"))
}

/// Replaces histories.
pub async fn put(c: &mut AnyConnection, timelines: &BTreeMap<InstanceId, Timeline>) -> StoreResult<()> {
    let rows: Vec<_> = timelines.iter().filter_map(|(id, line)| Some((id, line, line.present()?))).collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new("INSERT INTO history_timelines (instance_id, class_id, first_end, spans) VALUES ");
        for (n, (id, line, class)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(id.to_string()).push(", ").bind(i64::from(class.0));
            sql.push(", ").bind(line.first_end()).push(", ").bind(line.encode()).push(")");
        }
        sql.push(
            " ON CONFLICT (instance_id) DO UPDATE SET class_id = excluded.class_id, first_end = excluded.first_end, \
             spans = excluded.spans",
        );
        sql.execute(c, "store the inventory history of instances").await?;
    }
    Ok(())
}

/// Hosts whose packages are known and whose history has not begun: those of a database that is older than the history.
/// With the fingerprint of their packages and since when they have them.
pub async fn without(c: &mut AnyConnection, limit: u32) -> StoreResult<Vec<(InstanceId, String, Timestamp)>> {
    let mut sql = Sql::new("SELECT p.instance_id, p.fingerprint, p.changed_at FROM instance_sections p WHERE p.kind = ");
    sql.bind(SectionKind::Packages.as_str());
    sql.push(" AND NOT EXISTS (SELECT 1 FROM history_timelines t WHERE t.instance_id = p.instance_id)");
    sql.push(" ORDER BY p.instance_id LIMIT ").bind(i64::from(limit));
    let rows = sql.fetch(c, "look for instances without an inventory history").await?;
    rows.iter().map(|r| Ok((id(r, "instance_id")?, text(r, "fingerprint")?, time(r, "changed_at")?))).collect()
}

/// Histories with a span that ended at or before this time, some of them.
pub async fn ended_before(c: &mut AnyConnection, before: Timestamp, limit: u32) -> StoreResult<BTreeMap<InstanceId, Timeline>> {
    let mut sql = Sql::new("SELECT instance_id, spans FROM history_timelines WHERE first_end <= ");
    sql.bind(before.as_second()).push(" ORDER BY instance_id LIMIT ").bind(i64::from(limit));
    let rows = sql.fetch(c, "look for old inventory history").await?;
    rows.iter().map(|r| Ok((id(r, "instance_id")?, read(r)?))).collect()
}

/// Forgets the history of a host; it begins anew with what the host has.
pub async fn forget(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<bool> {
    sqlx::query("DELETE FROM history_timelines WHERE instance_id = $1")
        .bind(instance.to_string())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("forget the inventory history of an instance"))
}

/// Every class that any history names.
pub(crate) async fn classes(c: &mut AnyConnection) -> StoreResult<BTreeSet<ClassId>> {
    let rows = Sql::new("SELECT spans FROM history_timelines").fetch(c, "read the inventory history of the fleet").await?;
    let mut out = BTreeSet::new();
    for row in &rows {
        out.extend(read(row)?.spans().map(|span| span.class));
    }
    Ok(out)
}

fn read(row: &AnyRow) -> StoreResult<Timeline> {
    Timeline::decode(&bytes(row, "spans")?).map_err(damaged)
}

pub(crate) fn damaged(e: Damaged) -> StoreError {
    StoreError::Row { column: "spans", problem: e.to_string() }
}
