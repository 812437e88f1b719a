//! What each host had when: one short row a host, replaced when its packages change and gone with the instance.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::SectionKind;
use drydock_domain::inventory_history::timeline::class_at;
use drydock_domain::inventory_history::{ClassId, Damaged, Timeline};
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::history_packed::{self, Packed};
use crate::row::{bytes, id, text, time};
use crate::sql::Sql;

/// Names in one list, count.
const CHUNK_NAMES: usize = 200;
/// Rows written by one statement, count. Not more: for each parameter the driver looks through all of them.
const CHUNK_ROWS: usize = 32;

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
        let mut sql = Sql::new("SELECT instance_id, spans FROM history_timelines WHERE instance_id IN ");
        sql.bind_list(chunk.iter().map(ToString::to_string));
        for row in &sql.fetch(c, "read the inventory history of instances").await? {
            out.insert(id(row, "instance_id")?, read(row)?);
        }
    }
    Ok(out)
}

/// The history of every host, with its name: by name.
pub async fn all(c: &mut AnyConnection) -> StoreResult<Vec<(String, Timeline)>> {
    let sql =
        Sql::new("SELECT i.name, t.spans FROM history_timelines t JOIN instances i ON i.id = t.instance_id ORDER BY i.name");
    let rows = sql.fetch(c, "read the inventory history of the fleet").await?;
    rows.iter().map(|r| Ok((text(r, "name")?, read(r)?))).collect()
}

/// What every host had at a time: hosts whose history begins later are left out.
pub async fn fleet_at(c: &mut AnyConnection, at: Timestamp) -> StoreResult<Vec<(InstanceId, ClassId)>> {
    let text = history_packed::fetch(SPANS.sql(c), c, "read the inventory history of the fleet").await?;
    let mut out = Vec::new();
    for entry in history_packed::entries(&text) {
        let [instance, spans] = history_packed::fields(entry)?;
        if let Some(class) = class_at(&history_packed::bytes(spans)?, at.as_second()).map_err(damaged)? {
            let instance =
                instance.parse().map_err(|_| StoreError::Row { column: "instance_id", problem: "no id".to_owned() })?;
            out.push((instance, class));
        }
    }
    out.sort_unstable();
    Ok(out)
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

fn damaged(e: Damaged) -> StoreError {
    StoreError::Row { column: "spans", problem: e.to_string() }
}
