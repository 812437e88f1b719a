//! A whole feed at once: every id once, merged. For imports that keep everything in memory anyway; [`super::read_feed`]
//! does not.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use drydock_domain::advisory::{Advisory, ModuleRef, NameKind, Product, Statement, Vulnerability};

use super::{FeedError, FeedItem, FeedKind, FeedReport, Hints, read_feed};

/// Everything a feed says.
#[derive(Debug)]
pub struct Parsed {
    /// Counts, stamp and findings.
    pub report: FeedReport,
    /// Each id once, sorted by it.
    pub advisories: Vec<Advisory>,
    /// Each id once, sorted by it.
    pub vulnerabilities: Vec<Vulnerability>,
    /// Each package of a vulnerability once, the last word; sorted.
    pub statements: Vec<Statement>,
}

/// Vulnerability, package and product of a statement.
type Key = (String, Product, String, NameKind, Option<ModuleRef>);

/// Reads a file; `None` = its kind is found out. Blocks; wrap it in `spawn_blocking`.
///
/// # Errors
/// [`FeedError`] when the file as a whole cannot be read.
pub fn read(path: &Path, kind: Option<FeedKind>, hints: &Hints) -> Result<Parsed, FeedError> {
    let mut advisories: BTreeMap<String, Advisory> = BTreeMap::new();
    let mut vulnerabilities: BTreeMap<String, Vulnerability> = BTreeMap::new();
    let mut statements: BTreeMap<Key, Statement> = BTreeMap::new();
    let report = read_feed(kind, File::open(path)?, hints, &mut |item| {
        match item {
            FeedItem::Advisory(new) => {
                let merged = match advisories.remove(&new.id) {
                    Some(old) => old.merge(*new),
                    None => *new,
                };
                advisories.insert(merged.id.clone(), merged);
            }
            FeedItem::Vulnerability(new) => {
                let merged = match vulnerabilities.remove(&new.id) {
                    Some(old) => old.merge(*new),
                    None => *new,
                };
                vulnerabilities.insert(merged.id.clone(), merged);
            }
            FeedItem::Statement(new) => {
                let key = (new.vulnerability.clone(), new.product.clone(), new.name.clone(), new.by, new.module.clone());
                statements.insert(key, *new);
            }
        }
        Ok(())
    })?;
    Ok(Parsed {
        report,
        advisories: advisories.into_values().collect(),
        vulnerabilities: vulnerabilities.into_values().collect(),
        statements: statements.into_values().collect(),
    })
}
