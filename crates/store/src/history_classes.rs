//! Package sets as classes: equal hosts share one, and a class is stored as its difference to an older one where that is
//! shorter, over at most [`CHAIN_MAX`] steps.
//!
//! To read in bulk: [`hosts`] gives every active host with its class; [`decode`] gives some classes. A class is never edited and its number never given to another set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory_history::{CHAIN_MAX, ClassId, Damaged, PackageId, class};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::history_packed::{self, Packed};
use crate::row::count;
use crate::sql::Sql;

/// Names in one list, count.
const CHUNK_NAMES: usize = 1000;
/// Rows written by one statement, count.
const CHUNK_ROWS: usize = 128;
/// More classes than this are read as a whole table instead of one by one, count.
const SCAN_ABOVE: usize = 20_000;

/// No class has this number: they begin at one.
const NO_BASE: ClassId = ClassId(0);

const HOSTS: Packed = Packed {
    sqlite: "SELECT group_concat(t.instance_id || ':' || t.class_id, ',') AS packed FROM history_timelines t",
    postgres: "SELECT string_agg(t.instance_id || ':' || t.class_id, ',') AS packed FROM history_timelines t",
};
const ROWS: Packed = Packed {
    sqlite: "SELECT group_concat(id || ':' || COALESCE(base_id, 0) || ':' || depth || ':' || hex(ids), ',') AS packed \
             FROM history_classes",
    postgres: "SELECT string_agg(id || ':' || COALESCE(base_id, 0) || ':' || depth || ':' || encode(ids, 'hex'), ',') AS packed \
               FROM history_classes",
};

/// The fleet at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Hosts by id.
    pub hosts: Vec<(InstanceId, ClassId)>,
    /// Each class that one of them has: ascending ids.
    pub classes: BTreeMap<ClassId, Arc<Vec<PackageId>>>,
}

/// A class as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRow {
    /// The class that `ids` is the difference to.
    pub base: Option<ClassId>,
    /// Classes between this one and one written in full.
    pub depth: u32,
    /// The set, as `domain::inventory_history::class` reads it.
    pub ids: Vec<u8>,
}

/// Every active host that reported its packages, by id.
pub async fn hosts(c: &mut AnyConnection) -> StoreResult<Vec<(InstanceId, ClassId)>> {
    let mut sql = HOSTS.sql(c);
    sql.push(" JOIN instances i ON i.id = t.instance_id WHERE i.state = 'ACTIVE'");
    let text = history_packed::fetch(sql, c, "read the package classes of the fleet").await?;
    let mut hosts: Vec<(InstanceId, ClassId)> = Vec::new();
    for entry in history_packed::entries(&text) {
        let [instance, class] = history_packed::fields(entry)?;
        hosts.push((history_packed::id(instance)?, ClassId(history_packed::number(class)?)));
    }
    hosts.sort_unstable();
    Ok(hosts)
}

/// What a host has now; `None`: it never reported its packages.
pub async fn of_host(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<ClassId>> {
    let row = sqlx::query("SELECT class_id FROM history_timelines WHERE instance_id = $1")
        .bind(instance.to_string())
        .fetch_optional(c)
        .await
        .map_err(StoreError::query("read the package class of an instance"))?;
    row.map(|r| class_id(&r, "class_id")).transpose()
}

/// Some classes, decoded. One that is gone is an error: whoever names a class keeps it.
pub async fn decode(c: &mut AnyConnection, wanted: &BTreeSet<ClassId>) -> StoreResult<BTreeMap<ClassId, Vec<PackageId>>> {
    let rows = rows(c, wanted).await?;
    let mut out: BTreeMap<ClassId, Vec<PackageId>> = BTreeMap::new();
    // Bases are older, so they come first.
    for (id, row) in &rows {
        let base = row.base.and_then(|base| out.get(&base)).map(Vec::as_slice);
        let ids = class::decode(&row.ids, base).map_err(damaged)?;
        out.insert(*id, ids);
    }
    out.retain(|id, _| wanted.contains(id));
    Ok(out)
}

/// Which of `packages` (ascending) some classes hold; a class that holds none is left out.
pub async fn holding(
    c: &mut AnyConnection,
    wanted: &BTreeSet<ClassId>,
    packages: &[PackageId],
) -> StoreResult<BTreeMap<ClassId, Vec<PackageId>>> {
    let rows = rows(c, wanted).await?;
    let mut out: BTreeMap<ClassId, Vec<PackageId>> = BTreeMap::new();
    for (id, row) in &rows {
        let base = row.base.map(|base| out.get(&base).map(Vec::as_slice).unwrap_or_default());
        let held = class::holds(&row.ids, base, packages).map_err(damaged)?;
        if !held.is_empty() {
            out.insert(*id, held);
        }
    }
    out.retain(|id, _| wanted.contains(id));
    Ok(out)
}

/// Some classes as they are stored, with every class they are written against.
pub async fn rows(c: &mut AnyConnection, wanted: &BTreeSet<ClassId>) -> StoreResult<BTreeMap<ClassId, ClassRow>> {
    rows_beside(c, wanted, |_| false).await
}

/// The same, without classes that the caller has, and what those stand on.
pub(crate) async fn rows_beside(
    c: &mut AnyConnection,
    wanted: &BTreeSet<ClassId>,
    has: impl Fn(ClassId) -> bool + Send,
) -> StoreResult<BTreeMap<ClassId, ClassRow>> {
    let mut found = if wanted.len() > SCAN_ABOVE { every(c).await? } else { BTreeMap::new() };
    let mut missing: Vec<ClassId> = wanted.iter().copied().filter(|id| !found.contains_key(id)).collect();
    // A chain has a bounded length; one more round finds a missing row.
    for _ in 0..=CHAIN_MAX + 1 {
        if missing.is_empty() {
            return Ok(found);
        }
        for chunk in missing.chunks(CHUNK_NAMES) {
            let mut sql = ROWS.sql(c);
            sql.push(" WHERE id IN ").numbers(chunk.iter().map(|id| i64::from(id.0)));
            let text = history_packed::fetch(sql, c, "read package classes").await?;
            for entry in history_packed::entries(&text) {
                found.extend([read(entry)?]);
            }
        }
        if let Some(gone) = missing.iter().find(|id| !found.contains_key(id)) {
            return Err(StoreError::Row { column: "class_id", problem: format!("there is no class {}", gone.0) });
        }
        let bases: BTreeSet<ClassId> = missing.iter().filter_map(|id| found.get(id)?.base).collect();
        missing = bases.into_iter().filter(|id| !found.contains_key(id) && !has(*id)).collect();
    }
    Err(StoreError::Row { column: "base_id", problem: "classes stand on each other without end".to_owned() })
}

/// Every class as it is stored.
pub(crate) async fn every(c: &mut AnyConnection) -> StoreResult<BTreeMap<ClassId, ClassRow>> {
    let text = history_packed::fetch(ROWS.sql(c), c, "read package classes").await?;
    history_packed::entries(&text).map(read).collect()
}

/// Forgets classes.
pub(crate) async fn delete(c: &mut AnyConnection, ids: &[i64]) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM history_classes WHERE id IN ");
    sql.numbers(ids.iter().copied());
    sql.execute(c, "forget unused package classes").await
}

/// Classes with one of these digests.
pub(crate) async fn find(c: &mut AnyConnection, digests: &[i64]) -> StoreResult<BTreeSet<ClassId>> {
    let mut found = BTreeSet::new();
    for chunk in digests.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new("SELECT id FROM history_classes WHERE digest IN ");
        sql.numbers(chunk.iter().copied());
        for row in &sql.fetch(c, "look up package classes").await? {
            found.insert(class_id(row, "id")?);
        }
    }
    Ok(found)
}

/// Adds classes under their numbers: id, digest and row.
pub(crate) async fn insert(c: &mut AnyConnection, classes: &[(ClassId, i64, ClassRow)]) -> StoreResult<()> {
    for chunk in classes.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new("INSERT INTO history_classes (id, digest, base_id, depth, ids) VALUES ");
        for (n, (id, digest, row)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(i64::from(id.0)).push(", ").bind(*digest);
            sql.push(", ").bind(row.base.map(|b| i64::from(b.0))).push(", ").bind(i64::from(row.depth));
            sql.push(", ").bind(row.ids.clone()).push(")");
        }
        sql.execute(c, "store package classes").await?;
    }
    Ok(())
}

fn read(entry: &str) -> StoreResult<(ClassId, ClassRow)> {
    let [id, base, depth, ids] = history_packed::fields(entry)?;
    let base = Some(ClassId(history_packed::number(base)?)).filter(|base| *base != NO_BASE);
    let row = ClassRow { base, depth: history_packed::number(depth)?, ids: history_packed::bytes(ids)? };
    Ok((ClassId(history_packed::number(id)?), row))
}

pub(crate) fn class_id(row: &AnyRow, column: &'static str) -> StoreResult<ClassId> {
    count(row, column).map(ClassId)
}

pub(crate) fn damaged(e: Damaged) -> StoreError {
    StoreError::Row { column: "ids", problem: e.to_string() }
}
