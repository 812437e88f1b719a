//! Packages as numbers: each (name, architecture, version, source, vendor) that any host ever had is one row, never edited and
//! its number never given to another.
//!
//! To read in bulk: [`after`] gives all of them by number, and later only the new ones; [`by_ids`] and [`named`] give
//! some. [`sweeps`] grows when rows were forgotten: what was remembered by number is void then.

use std::collections::HashMap;

use drydock_domain::inventory::Package;
use drydock_domain::inventory_history::{PackageId, digest};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{count, int, text};
use crate::sql::Sql;

const COLUMNS: &str = "SELECT id, name, arch, version, source, vendor FROM history_packages";
/// Names in one list, count.
const CHUNK_NAMES: usize = 1000;
/// Rows written by one statement, count.
const CHUNK_ROWS: usize = 128;
/// In a stored source: the package's name, its version without epoch, "as it stands".
const NAME_MARK: char = '\u{1}';
const VERSION_MARK: char = '\u{2}';
const PLAIN_MARK: char = '\u{3}';

/// Packages with a larger number, ascending.
pub async fn after(c: &mut AnyConnection, after: PackageId, limit: u32) -> StoreResult<Vec<(PackageId, Package)>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id > ").bind(i64::from(after.0)).push(" ORDER BY id LIMIT ").bind(i64::from(limit));
    sql.fetch(c, "read interned packages").await?.iter().map(read).collect()
}

/// The packages with these numbers, in no order; those that are gone are left out.
pub async fn by_ids(c: &mut AnyConnection, ids: &[PackageId]) -> StoreResult<Vec<(PackageId, Package)>> {
    let mut out = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE id IN ").numbers(chunk.iter().map(|id| i64::from(id.0)));
        for row in &sql.fetch(c, "read interned packages").await? {
            out.push(read(row)?);
        }
    }
    Ok(out)
}

/// Every package of this name, by number.
pub async fn named(c: &mut AnyConnection, name: &str) -> StoreResult<Vec<(PackageId, Package)>> {
    let range = digest::of_name(name);
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE digest BETWEEN ").bind(*range.start()).push(" AND ").bind(*range.end());
    let mut found: Vec<_> = sql.fetch(c, "look up a package").await?.iter().map(read).collect::<StoreResult<_>>()?;
    found.retain(|(_, package)| package.name == name);
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

/// How often packages or classes were forgotten.
pub async fn sweeps(c: &mut AnyConnection) -> StoreResult<i64> {
    let row = sqlx::query("SELECT sweeps FROM history_state WHERE id = 1")
        .fetch_one(c)
        .await
        .map_err(StoreError::query("read the state of the inventory history"))?;
    int(&row, "sweeps")
}

/// The numbers of those that are stored.
pub(crate) async fn find(c: &mut AnyConnection, packages: &[&Package]) -> StoreResult<HashMap<Package, PackageId>> {
    let mut found = HashMap::with_capacity(packages.len());
    for chunk in packages.chunks(CHUNK_NAMES) {
        let mut sql = Sql::new(COLUMNS);
        sql.push(" WHERE digest IN ").numbers(chunk.iter().map(|p| key(p)));
        for row in &sql.fetch(c, "look up interned packages").await? {
            let (id, package) = read(row)?;
            found.insert(package, id);
        }
    }
    Ok(found)
}

/// Adds packages under their numbers.
pub(crate) async fn insert(c: &mut AnyConnection, packages: &[(PackageId, Package)]) -> StoreResult<()> {
    for chunk in packages.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new("INSERT INTO history_packages (id, digest, name, arch, version, source, vendor) VALUES ");
        for (n, (id, package)) in chunk.iter().enumerate() {
            // Every field: a row must not stand for two packages.
            let Package { name, arch, version, source, vendor } = package;
            sql.push(if n == 0 { "(" } else { ", (" }).bind(i64::from(id.0)).push(", ").bind(key(package));
            for text in [name.clone(), arch.clone(), version.clone(), short(source, name, version), vendor.clone()] {
                sql.push(", ").bind(text);
            }
            sql.push(")");
        }
        sql.execute(c, "store interned packages").await?;
    }
    Ok(())
}

/// The number of every package.
pub(crate) async fn numbers(c: &mut AnyConnection) -> StoreResult<Vec<PackageId>> {
    let rows = Sql::new("SELECT id FROM history_packages").fetch(c, "read interned packages").await?;
    rows.iter().map(|r| count(r, "id").map(PackageId)).collect()
}

/// Forgets packages.
pub(crate) async fn delete(c: &mut AnyConnection, ids: &[i64]) -> StoreResult<u64> {
    let mut sql = Sql::new("DELETE FROM history_packages WHERE id IN ");
    sql.numbers(ids.iter().copied());
    sql.execute(c, "forget unused packages").await
}

fn key(package: &Package) -> i64 {
    digest::package(&package.name, &[&package.arch, &package.version, &package.source, &package.vendor])
}

fn read(row: &AnyRow) -> StoreResult<(PackageId, Package)> {
    let (name, version) = (text(row, "name")?, text(row, "version")?);
    let source = long(&text(row, "source")?, &name, &version);
    let package = Package { arch: text(row, "arch")?, vendor: text(row, "vendor")?, source, name, version };
    Ok((PackageId(count(row, "id")?), package))
}

fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// A source with its package's name and version as one character each: `openssl-3.0.7-1.el9.src.rpm` repeats both.
fn short(source: &str, name: &str, version: &str) -> String {
    let marked = source.contains([NAME_MARK, VERSION_MARK, PLAIN_MARK]);
    let written = match marked {
        true => String::new(),
        false => source.replacen(without_epoch(version), &VERSION_MARK.to_string(), 1).replacen(name, &NAME_MARK.to_string(), 1),
    };
    if !marked && long(&written, name, version) == source { written } else { format!("{PLAIN_MARK}{source}") }
}

/// The source behind [`short`].
fn long(stored: &str, name: &str, version: &str) -> String {
    match stored.strip_prefix(PLAIN_MARK) {
        Some(plain) => plain.to_owned(),
        None => stored.replacen(NAME_MARK, name, 1).replacen(VERSION_MARK, without_epoch(version), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_short_and_read_whole() {
        for (source, name, version, stored) in [
            ("openssl-3.0.7-1.el9.src.rpm", "openssl", "1:3.0.7-1.el9", "\u{1}-\u{2}.src.rpm"),
            ("openssl 3.0.1-1", "libssl3", "3.0.1-1", "openssl \u{2}"),
            ("", "bash", "5", ""),
            ("gcc-1", "1", "1", "gcc-\u{2}"),
            ("a\u{2}b", "a", "1", "\u{3}a\u{2}b"),
            ("odd", "odd", "odd", "\u{2}"),
        ] {
            assert_eq!(short(source, name, version), stored, "{source}");
            assert_eq!(long(&short(source, name, version), name, version), source);
        }
    }
}
