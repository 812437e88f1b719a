//! Since when versions of packages are known here: what hosts' updates, plans and snapshots named. For soak.

use std::collections::BTreeMap;

use drydock_domain::ids::SnapshotId;
use drydock_domain::inventory::SectionKind;
use drydock_domain::patch::soak::{Sighting, SoakVersion};
use jiff::{SignedDuration, Timestamp};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::StoreResult;
use crate::row::{bytes, count, id, micros, storable, text, time};
use crate::sql::Sql;

/// Rows written by one statement, count: 6 parameters each.
const CHUNK_ROWS: usize = 128;
/// Names in one list, count.
const CHUNK_NAMES: usize = 200;
/// A row says when it was last seen to so many hours: what is offered for weeks is not written each time.
const LAST_SEEN_STEP: SignedDuration = SignedDuration::from_hours(24);

/// A list of updates whose versions are to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatesToNote {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The section as JSON.
    pub body: Vec<u8>,
    /// When a host first reported it.
    pub created_at: Timestamp,
}

/// Notes that `versions` were offered from `first` to `last`; `true` beside one: to a host that did not have the package.
/// Each version stands there once. A first sight only ever moves back.
pub async fn note(c: &mut AnyConnection, versions: &[(SoakVersion, bool)], first: Timestamp, last: Timestamp) -> StoreResult<()> {
    let mut once: BTreeMap<&SoakVersion, bool> = BTreeMap::new();
    for (version, fresh) in versions {
        *once.entry(version).or_default() |= *fresh;
    }
    let once: Vec<(&SoakVersion, bool)> = once.into_iter().collect();
    for chunk in once.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new("INSERT INTO seen_versions (name, arch, version, first_seen, last_seen, fresh) VALUES ");
        for (n, (version, fresh)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(storable(&version.name)).push(", ").bind(storable(&version.arch));
            sql.push(", ").bind(storable(&version.version)).push(", ").bind(micros(first)).push(", ").bind(micros(last));
            sql.push(", ").bind(i64::from(*fresh)).push(")");
        }
        sql.push(
            " ON CONFLICT (name, arch, version) DO UPDATE SET \
             first_seen = CASE WHEN excluded.first_seen < seen_versions.first_seen THEN excluded.first_seen \
             ELSE seen_versions.first_seen END, \
             last_seen = CASE WHEN excluded.last_seen > seen_versions.last_seen THEN excluded.last_seen \
             ELSE seen_versions.last_seen END, \
             fresh = CASE WHEN excluded.fresh > seen_versions.fresh THEN 1 ELSE seen_versions.fresh END \
             WHERE excluded.first_seen < seen_versions.first_seen OR excluded.fresh > seen_versions.fresh \
             OR excluded.last_seen >= seen_versions.last_seen + ",
        )
        .bind(i64::try_from(LAST_SEEN_STEP.as_micros()).unwrap_or(i64::MAX));
        sql.execute(c, "note when versions were seen").await?;
    }
    Ok(())
}

/// What is known of packages with these names.
pub async fn of_names(c: &mut AnyConnection, names: &[String]) -> StoreResult<Vec<Sighting>> {
    let mut out = Vec::new();
    for chunk in names.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new("SELECT name, arch, version, first_seen FROM seen_versions WHERE name IN ");
        sql.bind_list(chunk.iter().map(|name| storable(name)));
        let rows = sql.fetch(c, "read when versions were seen").await?;
        out.extend(rows.iter().map(sighting).collect::<StoreResult<Vec<_>>>()?);
    }
    Ok(out)
}

/// What came or would have come to hosts that did not have the package: the newest so many.
pub async fn fresh(c: &mut AnyConnection, limit: usize) -> StoreResult<Vec<Sighting>> {
    let mut sql = Sql::new("SELECT name, arch, version, first_seen FROM seen_versions WHERE fresh = 1");
    sql.push(" ORDER BY last_seen DESC LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql.fetch(c, "read when new packages were seen").await?.iter().map(sighting).collect()
}

fn sighting(r: &AnyRow) -> StoreResult<Sighting> {
    let version = SoakVersion { name: text(r, "name")?, arch: text(r, "arch")?, version: text(r, "version")? };
    Ok(Sighting { version, first_seen: time(r, "first_seen")? })
}

/// Lists of updates that were never noted, or not since `before` although a host still reports them.
pub async fn updates_to_note(c: &mut AnyConnection, before: Timestamp, limit: usize) -> StoreResult<Vec<UpdatesToNote>> {
    let mut sql = Sql::new("SELECT fingerprint, body, created_at FROM sections WHERE kind = 'updates' AND noted_at < ");
    sql.bind(micros(before)).push(" AND (noted_at = 0 OR EXISTS (SELECT 1 FROM instance_sections p WHERE p.kind = sections.kind");
    sql.push(" AND p.fingerprint = sections.fingerprint)) ORDER BY noted_at LIMIT ");
    sql.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = sql.fetch(c, "read updates whose versions are to be noted").await?;
    let read = |r: &AnyRow| {
        Ok(UpdatesToNote { fingerprint: text(r, "fingerprint")?, body: bytes(r, "body")?, created_at: time(r, "created_at")? })
    };
    rows.iter().map(read).collect()
}

/// The versions of these lists of updates are noted.
pub async fn updates_noted(c: &mut AnyConnection, fingerprints: &[String], now: Timestamp) -> StoreResult<()> {
    for chunk in fingerprints.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new("UPDATE sections SET noted_at = ");
        sql.bind(micros(now)).push(" WHERE kind = ").bind(SectionKind::Updates.as_str());
        sql.push(" AND fingerprint IN ").bind_list(chunk.iter().cloned());
        sql.execute(c, "note which updates were read").await?;
    }
    Ok(())
}

/// The oldest snapshot whose versions are not noted.
pub async fn snapshot_to_note(c: &mut AnyConnection) -> StoreResult<Option<SnapshotId>> {
    let sql = Sql::new("SELECT id FROM snapshots WHERE noted = 0 ORDER BY created_at, id LIMIT 1");
    sql.fetch(c, "read which snapshot is to be noted").await?.first().map(|r| id(r, "id")).transpose()
}

/// The versions of a snapshot are noted.
pub async fn snapshot_noted(c: &mut AnyConnection, snapshot: SnapshotId) -> StoreResult<()> {
    let mut sql = Sql::new("UPDATE snapshots SET noted = 1 WHERE id = ");
    sql.bind(snapshot.to_string());
    sql.execute(c, "note that a snapshot was read").await.map(drop)
}

/// Forgets what nothing offered since `before`, and what was not offered for the longest time beyond `keep` rows. Says how
/// many.
pub async fn forget(c: &mut AnyConnection, before: Timestamp, keep: usize) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM seen_versions WHERE last_seen < ");
    sql.bind(micros(before));
    let old = sql.execute(c, "forget versions that nothing offers").await?;
    let sql = Sql::new("SELECT count(*) AS n FROM seen_versions");
    let rows = sql.fetch(c, "count known versions").await?;
    let known = rows.first().map(|r| count(r, "n")).transpose()?.unwrap_or_default();
    let keep = u64::try_from(keep).unwrap_or(u64::MAX);
    let beyond = u64::from(known).saturating_sub(keep);
    if beyond == 0 {
        return Ok(old);
    }
    let mut sql = Sql::new(
        "DELETE FROM seen_versions WHERE (name, arch, version) IN \
         (SELECT name, arch, version FROM seen_versions ORDER BY last_seen, name, arch, version LIMIT ",
    );
    sql.bind(i64::try_from(beyond).unwrap_or(i64::MAX)).push(")");
    Ok(old + sql.execute(c, "forget versions beyond the limit").await?)
}
