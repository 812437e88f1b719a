//! Inventory sections: bodies by content, one pointer per instance and kind. Equal hosts share a body.
//!
//! A body of packages is stored as the name of its class (a zero byte, which no JSON begins with, and the number); who
//! reads it through [`section`] or [`body`] gets the JSON that was reported. Older databases hold some as JSON.

use std::collections::{BTreeSet, HashMap};

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Package, PackageSet, SectionKind};
use drydock_domain::inventory_history::ClassId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::history_packed::{self, Packed};
use crate::records::SectionRecord;
use crate::row::{bytes, int, micros, parsed, text, time};
use crate::sql::Sql;
use crate::{history_classes, history_packages};

/// First byte of a body that names a class.
const CLASS_MARK: u8 = 0;
/// Names in one list, count.
const CHUNK_NAMES: usize = 200;
/// Rows written by one statement, count.
const CHUNK_ROWS: usize = 256;

const POINTERS: Packed = Packed {
    sqlite: "SELECT group_concat(instance_id || ':' || kind || ':' || changed_at || ':' || fingerprint || ':' || \
             CASE WHEN reported_fingerprint = fingerprint THEN '' ELSE reported_fingerprint END, ',') AS packed \
             FROM instance_sections",
    postgres: "SELECT string_agg(instance_id || ':' || kind || ':' || changed_at || ':' || fingerprint || ':' || \
               CASE WHEN reported_fingerprint = fingerprint THEN '' ELSE reported_fingerprint END, ',') AS packed \
               FROM instance_sections",
};

const BODIES: Packed = Packed {
    sqlite: "SELECT group_concat(fingerprint || ':' || hex(body), ',') AS packed FROM sections",
    postgres: "SELECT string_agg(fingerprint || ':' || encode(body, 'hex'), ',') AS packed FROM sections",
};

/// Where an instance's section points to, without the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Which section.
    pub kind: SectionKind,
    /// SHA-256 of the stored body.
    pub fingerprint: String,
    /// The fingerprint as the agent names it.
    pub reported_fingerprint: String,
    /// When the pointer last moved.
    pub changed_at: Timestamp,
}

/// The pointers of an instance.
pub async fn pointers(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Vec<Pointer>> {
    let rows =
        sqlx::query("SELECT kind, fingerprint, reported_fingerprint, changed_at FROM instance_sections WHERE instance_id = $1")
            .bind(instance.to_string())
            .fetch_all(c)
            .await
            .map_err(StoreError::query("read the inventory of an instance"))?;
    rows.iter().map(pointer).collect()
}

/// The pointers of some instances.
pub async fn pointers_of(c: &mut AnyConnection, instances: &[InstanceId]) -> StoreResult<HashMap<InstanceId, Vec<Pointer>>> {
    let mut out: HashMap<InstanceId, Vec<Pointer>> = HashMap::new();
    for chunk in instances.chunks(CHUNK_NAMES) {
        let mut sql = POINTERS.sql(c);
        sql.push(" WHERE instance_id IN ").bind_list(chunk.iter().map(ToString::to_string));
        let text = history_packed::fetch(sql, c, "read the inventory of instances").await?;
        for entry in history_packed::entries(&text) {
            let [instance, kind, changed_at, fingerprint, reported] = history_packed::fields(entry)?;
            let bad = |problem: &str| StoreError::Row { column: "packed", problem: problem.to_owned() };
            let changed_at = changed_at.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok());
            out.entry(history_packed::id(instance)?).or_default().push(Pointer {
                kind: SectionKind::parse(kind).ok_or_else(|| bad("a kind of section is not known to this version"))?,
                fingerprint: fingerprint.to_owned(),
                // Nearly all are equal, and then are not sent twice.
                reported_fingerprint: if reported.is_empty() { fingerprint } else { reported }.to_owned(),
                changed_at: changed_at.ok_or_else(|| bad("a time cannot be read"))?,
            });
        }
    }
    Ok(out)
}

/// Some bodies as they are stored, by fingerprint.
pub async fn stored_bodies(
    c: &mut AnyConnection,
    kind: SectionKind,
    fingerprints: &[String],
) -> StoreResult<HashMap<String, Vec<u8>>> {
    let mut out = HashMap::new();
    for chunk in fingerprints.chunks(CHUNK_NAMES) {
        let mut sql = BODIES.sql(c);
        sql.push(" WHERE kind = ").bind(kind.as_str()).push(" AND fingerprint IN ").bind_list(chunk.iter().cloned());
        let text = history_packed::fetch(sql, c, "read inventory bodies").await?;
        for entry in history_packed::entries(&text) {
            let [fingerprint, body] = history_packed::fields(entry)?;
            out.insert(fingerprint.to_owned(), history_packed::bytes(body)?);
        }
    }
    Ok(out)
}

/// Stores bodies, each unless it is there.
pub async fn put_bodies(c: &mut AnyConnection, bodies: Vec<(SectionKind, String, Vec<u8>)>, now: Timestamp) -> StoreResult<()> {
    let mut bodies = bodies.into_iter().peekable();
    while bodies.peek().is_some() {
        let mut sql = Sql::new("INSERT INTO sections (kind, fingerprint, body, created_at) VALUES ");
        for (n, (kind, fingerprint, body)) in bodies.by_ref().take(CHUNK_ROWS).enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(kind.as_str()).push(", ").bind(fingerprint);
            sql.push(", ").bind(body).push(", ").bind(micros(now)).push(")");
        }
        sql.push(" ON CONFLICT (kind, fingerprint) DO NOTHING");
        sql.execute(c, "store inventory bodies").await?;
    }
    Ok(())
}

/// Replaces how a body is stored; what it says stays the same.
pub async fn replace_body(c: &mut AnyConnection, kind: SectionKind, fingerprint: &str, body: &[u8]) -> StoreResult<()> {
    sqlx::query("UPDATE sections SET body = $3 WHERE kind = $1 AND fingerprint = $2")
        .bind(kind.as_str())
        .bind(fingerprint.to_owned())
        .bind(body.to_vec())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("store an inventory body"))
}

/// Points sections of instances at stored bodies, reported at these times.
pub async fn set_pointers(c: &mut AnyConnection, pointers: &[(InstanceId, Pointer, Timestamp)]) -> StoreResult<()> {
    for chunk in pointers.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new(
            "INSERT INTO instance_sections (instance_id, kind, fingerprint, reported_fingerprint, changed_at, reported_at) VALUES ",
        );
        for (n, (instance, pointer, reported_at)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(instance.to_string()).push(", ").bind(pointer.kind.as_str());
            sql.push(", ").bind(pointer.fingerprint.clone()).push(", ").bind(pointer.reported_fingerprint.clone());
            sql.push(", ").bind(micros(pointer.changed_at)).push(", ").bind(micros(*reported_at)).push(")");
        }
        sql.push(
            " ON CONFLICT (instance_id, kind) DO UPDATE SET fingerprint = excluded.fingerprint, \
             reported_fingerprint = excluded.reported_fingerprint, changed_at = excluded.changed_at, \
             reported_at = excluded.reported_at",
        );
        sql.execute(c, "store inventory pointers").await?;
    }
    Ok(())
}

/// Notes that these sections of instances are still as they were.
pub async fn confirm_all(
    c: &mut AnyConnection,
    kinds: &BTreeSet<SectionKind>,
    instances: &[InstanceId],
    now: Timestamp,
) -> StoreResult<()> {
    for chunk in instances.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new("UPDATE instance_sections SET reported_at = ");
        sql.bind(micros(now)).push(" WHERE instance_id IN ").bind_list(chunk.iter().map(ToString::to_string));
        sql.push(" AND kind IN ").bind_list(kinds.iter().map(|kind| kind.as_str().to_owned()));
        sql.execute(c, "note unchanged inventory sections").await?;
    }
    Ok(())
}

fn pointer(r: &AnyRow) -> StoreResult<Pointer> {
    Ok(Pointer {
        kind: parsed(r, "kind", SectionKind::parse)?,
        fingerprint: text(r, "fingerprint")?,
        reported_fingerprint: text(r, "reported_fingerprint")?,
        changed_at: time(r, "changed_at")?,
    })
}

/// A section of an instance with its body.
pub async fn section(c: &mut AnyConnection, instance: InstanceId, kind: SectionKind) -> StoreResult<Option<SectionRecord>> {
    let row = sqlx::query(
        "SELECT p.kind, p.fingerprint, p.reported_fingerprint, p.changed_at, p.reported_at, s.body \
         FROM instance_sections p JOIN sections s ON s.kind = p.kind AND s.fingerprint = p.fingerprint \
         WHERE p.instance_id = $1 AND p.kind = $2",
    )
    .bind(instance.to_string())
    .bind(kind.as_str())
    .fetch_optional(&mut *c)
    .await
    .map_err(StoreError::query("read an inventory section"))?;
    let Some(r) = row else { return Ok(None) };
    Ok(Some(SectionRecord {
        kind: parsed(&r, "kind", SectionKind::parse)?,
        fingerprint: text(&r, "fingerprint")?,
        reported_fingerprint: text(&r, "reported_fingerprint")?,
        changed_at: time(&r, "changed_at")?,
        reported_at: time(&r, "reported_at")?,
        body: written_out(c, bytes(&r, "body")?).await?,
    }))
}

/// Is this body stored?
pub async fn has_body(c: &mut AnyConnection, kind: SectionKind, fingerprint: &str) -> StoreResult<bool> {
    let row = sqlx::query("SELECT count(*) AS n FROM sections WHERE kind = $1 AND fingerprint = $2")
        .bind(kind.as_str())
        .bind(fingerprint.to_owned())
        .fetch_one(c)
        .await
        .map_err(StoreError::query("look up an inventory body"))?;
    Ok(int(&row, "n")? > 0)
}

/// A stored body.
pub async fn body(c: &mut AnyConnection, kind: SectionKind, fingerprint: &str) -> StoreResult<Option<Vec<u8>>> {
    match stored_body(c, kind, fingerprint).await? {
        Some(body) => written_out(c, body).await.map(Some),
        None => Ok(None),
    }
}

/// The class behind a stored body of packages: `Ok(None)` when it is JSON, from a database older than classes.
pub fn class_of(body: &[u8]) -> StoreResult<Option<ClassId>> {
    let Some(number) = body.strip_prefix(&[CLASS_MARK]) else { return Ok(None) };
    let bytes = number.try_into().map_err(|_| StoreError::Row { column: "body", problem: "a class reference is cut".into() })?;
    Ok(Some(ClassId(u32::from_be_bytes(bytes))))
}

/// How a body of packages is stored.
pub fn class_body(class: ClassId) -> Vec<u8> {
    let mut body = vec![CLASS_MARK];
    body.extend_from_slice(&class.0.to_be_bytes());
    body
}

/// A body as JSON.
async fn written_out(c: &mut AnyConnection, body: Vec<u8>) -> StoreResult<Vec<u8>> {
    let Some(class) = class_of(&body)? else { return Ok(body) };
    let ids = history_classes::decode(c, &[class].into()).await?.remove(&class).unwrap_or_default();
    let packages: Vec<Package> = history_packages::by_ids(c, &ids).await?.into_iter().map(|(_, package)| package).collect();
    if packages.len() != ids.len() {
        return Err(StoreError::Row { column: "ids", problem: format!("class {} names packages that are gone", class.0) });
    }
    serde_json::to_vec(&PackageSet::new(packages)).map_err(|source| StoreError::Encode { what: "a package set", source })
}

/// The classes that stored bodies name.
pub(crate) async fn referenced_classes(c: &mut AnyConnection) -> StoreResult<Vec<ClassId>> {
    let mut sql = Sql::new("SELECT body FROM sections WHERE kind = ");
    sql.bind(SectionKind::Packages.as_str());
    let rows = sql.fetch(c, "read the classes of inventory bodies").await?;
    let mut out = Vec::new();
    for row in &rows {
        out.extend(class_of(&bytes(row, "body")?)?);
    }
    Ok(out)
}

/// A body as it is stored.
pub async fn stored_body(c: &mut AnyConnection, kind: SectionKind, fingerprint: &str) -> StoreResult<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT body FROM sections WHERE kind = $1 AND fingerprint = $2")
        .bind(kind.as_str())
        .bind(fingerprint.to_owned())
        .fetch_optional(c)
        .await
        .map_err(StoreError::query("read an inventory body"))?;
    row.map(|r| bytes(&r, "body")).transpose()
}

/// Stores a body unless it is there.
pub async fn put_body(
    c: &mut AnyConnection,
    kind: SectionKind,
    fingerprint: &str,
    body: &[u8],
    now: Timestamp,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO sections (kind, fingerprint, body, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, fingerprint) DO NOTHING",
    )
    .bind(kind.as_str())
    .bind(fingerprint.to_owned())
    .bind(body.to_vec())
    .bind(micros(now))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an inventory body"))
}

/// Points an instance's section at a stored body.
pub async fn set_pointer(c: &mut AnyConnection, instance: InstanceId, pointer: &Pointer) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO instance_sections (instance_id, kind, fingerprint, reported_fingerprint, changed_at, reported_at) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (instance_id, kind) DO UPDATE SET fingerprint = excluded.fingerprint, \
         reported_fingerprint = excluded.reported_fingerprint, changed_at = excluded.changed_at, \
         reported_at = excluded.reported_at",
    )
    .bind(instance.to_string())
    .bind(pointer.kind.as_str())
    .bind(pointer.fingerprint.clone())
    .bind(pointer.reported_fingerprint.clone())
    .bind(micros(pointer.changed_at))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store an inventory pointer"))
}

/// Notes that the section is still as it was.
pub async fn confirm(c: &mut AnyConnection, instance: InstanceId, kind: SectionKind, now: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE instance_sections SET reported_at = $3 WHERE instance_id = $1 AND kind = $2")
        .bind(instance.to_string())
        .bind(kind.as_str())
        .bind(micros(now))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note an unchanged inventory section"))
}

/// Forgets bodies that nothing points at and that were stored before `before`.
pub async fn forget_unused(c: &mut AnyConnection, before: Timestamp) -> StoreResult<u64> {
    sqlx::query(
        "DELETE FROM sections WHERE created_at < $1 AND NOT EXISTS (SELECT 1 FROM instance_sections p \
         WHERE p.kind = sections.kind AND p.fingerprint = sections.fingerprint)",
    )
    .bind(micros(before))
    .execute(c)
    .await
    .map(|r| r.rows_affected())
    .map_err(StoreError::query("forget unused inventory bodies"))
}
