//! What differs between two snapshots, and listings of one. Both read only the nodes they need.

use std::collections::BTreeSet;

use drydock_domain::source::unit::{Unit, UnitChange};

use crate::content::Content;
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::snapshot::{SnapshotRoot, UnitRecord, load, read_record};
use crate::tree::{self, Change, Head, TreeRef};

/// Most changes given out by one comparison; all are counted.
pub const CHANGES_MAX: usize = 100_000;
/// Most units of one page.
pub const PAGE_MAX_UNITS: usize = 10_000;

/// What differs between two snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotDiff {
    /// Units only in the newer one, count.
    pub added: u64,
    /// Units only in the older one, count.
    pub removed: u64,
    /// The same file, other metadata; count.
    pub changed: u64,
    /// Advisories only in the newer one or with another text, count.
    pub advisories: u64,
    /// The first changes, by index and name.
    pub changes: Vec<UnitChange>,
    /// There are more changes than given.
    pub truncated: bool,
}

/// Compares two snapshots; gives `limit` changes at most.
pub fn diff(store: &ObjectStore, from: &SnapshotRoot, to: &SnapshotRoot, limit: usize) -> ContentResult<SnapshotDiff> {
    let mut found = SnapshotDiff::default();
    if from == to {
        return Ok(found);
    }
    let (old, new) = (load(store, from)?, load(store, to)?);
    if old.format != new.format {
        return Err(ContentError::Refused {
            what: format!("comparing snapshots {from} and {to}"),
            problem: "one is of an rpm source, the other of a deb source".to_owned(),
        });
    }
    let limit = limit.min(CHANGES_MAX);
    let indexes: BTreeSet<&String> = old.packages.keys().chain(new.packages.keys()).collect();
    for index in indexes {
        compare(store, old.packages.get(index), new.packages.get(index), &mut |change| note(&mut found, index, change, limit))?;
    }
    compare(store, old.advisories.as_ref(), new.advisories.as_ref(), &mut |change| {
        found.advisories += u64::from(!matches!(change, Change::Removed(_)));
        Ok(())
    })?;
    Ok(found)
}

/// Compares trees either of which may be absent.
fn compare(
    store: &ObjectStore,
    a: Option<&TreeRef>,
    b: Option<&TreeRef>,
    found: &mut dyn FnMut(Change) -> ContentResult<()>,
) -> ContentResult<()> {
    match (a, b) {
        (Some(a), Some(b)) => tree::diff(store, a, b, found),
        (Some(a), None) => tree::iter(store, a, None).try_for_each(|head| found(Change::Removed(head?))),
        (None, Some(b)) => tree::iter(store, b, None).try_for_each(|head| found(Change::Added(head?))),
        (None, None) => Ok(()),
    }
}

fn note(found: &mut SnapshotDiff, index: &str, change: Change, limit: usize) -> ContentResult<()> {
    let count = match &change {
        Change::Added(_) => &mut found.added,
        Change::Removed(_) => &mut found.removed,
        Change::Changed { .. } => &mut found.changed,
    };
    *count += 1;
    if found.changes.len() >= limit {
        found.truncated = true;
        return Ok(());
    }
    let unit = |head: &Head| Ok::<Unit, ContentError>(read_record::<UnitRecord>(&head.record)?.unit(index));
    found.changes.push(match change {
        Change::Added(head) => UnitChange::Added { unit: unit(&head)? },
        Change::Removed(head) => UnitChange::Removed { unit: unit(&head)? },
        Change::Changed { after, .. } => UnitChange::Changed { unit: unit(&after)? },
    });
    Ok(())
}

/// Which units to list. Empty texts and `None` do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitQuery {
    /// Only names that hold this text.
    pub name_contains: String,
    /// Only names that begin with this text; reads only what it needs.
    pub name_prefix: String,
    /// Only this index (deb: `main/amd64`).
    pub index: Option<String>,
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
    /// Units of a page.
    pub limit: usize,
}

/// A page of units, in the order of indexes and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitPage {
    /// The units.
    pub units: Vec<Unit>,
    /// Give it as cursor to read on; absent on the last page.
    pub next_cursor: Option<String>,
}

/// Lists units of a snapshot.
pub fn units(content: &Content, root: &SnapshotRoot, query: &UnitQuery) -> ContentResult<UnitPage> {
    page(content.objects(), root, query)
}

fn page(store: &ObjectStore, root: &SnapshotRoot, query: &UnitQuery) -> ContentResult<UnitPage> {
    let doc = load(store, root)?;
    let limit = query.limit.clamp(1, PAGE_MAX_UNITS);
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut found = UnitPage::default();
    let mut last: Option<(&String, Vec<u8>)> = None;
    for (index, tree) in doc.packages.iter().filter(|(index, _)| query.index.as_ref().is_none_or(|wanted| *index == wanted)) {
        let mut from = query.name_prefix.clone().into_bytes();
        match &after {
            Some((at, _)) if at > index => continue,
            // The first key above another is that key with a zero byte.
            Some((at, key)) if at == index => from = from.max([&key[..], b"\0"].concat()),
            _ => {}
        }
        for head in tree::iter(store, tree, Some(&from)) {
            let head = head?;
            let name = head.key.split(|b| *b == 0).next().unwrap_or_default();
            if !name.starts_with(query.name_prefix.as_bytes()) {
                break;
            }
            if !contains(name, query.name_contains.as_bytes()) {
                continue;
            }
            if found.units.len() == limit {
                found.next_cursor = last.map(|(index, key)| write_cursor(index, &key));
                return Ok(found);
            }
            found.units.push(read_record::<UnitRecord>(&head.record)?.unit(index));
            last = Some((index, head.key));
        }
    }
    Ok(found)
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    part.is_empty() || memchr::memmem::find(name, part).is_some()
}

fn write_cursor(index: &str, key: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([index.as_bytes(), b"\0", key].concat())
}

fn read_cursor(cursor: &str) -> ContentResult<(String, Vec<u8>)> {
    use base64::Engine as _;
    let read = || {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let end = bytes.iter().position(|b| *b == 0)?;
        Some((std::str::from_utf8(&bytes[..end]).ok()?.to_owned(), bytes[end + 1..].to_vec()))
    };
    read().ok_or_else(|| ContentError::Refused {
        what: "the cursor".to_owned(),
        problem: "is not one this server gave out; start the list again without it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use drydock_domain::source::unit::Format;

    use super::*;
    use crate::snapshot::testing::{Package, content, deb, rpm};

    fn names(page: &UnitPage) -> Vec<&str> {
        page.units.iter().map(|u| u.name.as_str()).collect()
    }

    #[test]
    fn what_was_added_removed_and_changed() {
        let (_dir, content) = content();
        let store = content.objects();
        let (a, b, c) = (Package::new("a", "1-1"), Package::new("b", "1-1"), Package::new("c", "1-1"));
        let newer = Package::new("a", "2-1");
        let mut edited = b.clone();
        edited.source = "other".to_owned();
        let old = rpm(store, &[a.clone(), b, c.clone()], &[], &[]);
        let new = rpm(store, &[newer.clone(), edited.clone(), c], &[("A-1", "security", 0, &["a-0:2-1.x86_64"])], &[]);
        let found = diff(store, &old, &new, 10).expect("diff");
        assert_eq!((found.added, found.removed, found.changed, found.advisories, found.truncated), (1, 1, 1, 1, false));
        assert_eq!(
            found.changes,
            [
                UnitChange::Removed { unit: a.unit("") },
                UnitChange::Added { unit: newer.unit("") },
                UnitChange::Changed { unit: edited.unit("") }
            ]
        );
        let cut = diff(store, &old, &new, 2).expect("diff");
        assert_eq!((cut.changes.len(), cut.truncated, cut.changed), (2, true, 1));
        assert_eq!(diff(store, &new, &new, 2).expect("diff"), SnapshotDiff::default());
        assert_eq!(diff(store, &new, &old, 9).expect("diff").advisories, 0);
        let other = deb(store, &[]);
        assert!(diff(store, &old, &other, 9).expect_err("formats").to_string().contains("deb source"));
    }

    #[test]
    fn whole_indexes_come_and_go() {
        let (_dir, content) = content();
        let store = content.objects();
        let (a, b) = (Package::new("a", "1"), Package::new("b", "1"));
        let old = deb(store, &[("main/amd64", std::slice::from_ref(&a))]);
        let new = deb(store, &[("main/arm64", &[a.clone(), b.clone()])]);
        let found = diff(store, &old, &new, 10).expect("diff");
        let added = |unit| UnitChange::Added { unit };
        assert_eq!(
            found.changes,
            [UnitChange::Removed { unit: a.unit("main/amd64") }, added(a.unit("main/arm64")), added(b.unit("main/arm64"))]
        );
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let (_dir, content) = content();
        let many: Vec<Package> = (0..300).map(|n| Package::new(&format!("p{n:03}"), "1")).collect();
        let root = deb(content.objects(), &[("main/amd64", &many), ("non-free/amd64", &many[..10])]);
        for limit in [1, 7, 155, 310, 1000] {
            let mut query = UnitQuery { limit, ..UnitQuery::default() };
            let mut all = Vec::new();
            loop {
                let page = units(&content, &root, &query).expect("page");
                assert!(page.units.len() <= limit);
                all.extend(page.units);
                let Some(next) = page.next_cursor else { break };
                query.cursor = Some(next);
            }
            assert_eq!(all.len(), 310);
            assert!(all.windows(2).all(|w| (&w[0].index, &w[0].name) < (&w[1].index, &w[1].name)));
        }
    }

    #[test]
    fn names_are_found_by_their_beginning_and_their_middle() {
        let (_dir, content) = content();
        let list: Vec<Package> = ["bash", "libssl3", "openssl", "openssl-devel", "zsh"].map(|n| Package::new(n, "1-1")).to_vec();
        let root = rpm(content.objects(), &list, &[], &[]);
        let find = |prefix: &str, part: &str| {
            let query = UnitQuery { name_prefix: prefix.into(), name_contains: part.into(), limit: 10, ..UnitQuery::default() };
            units(&content, &root, &query).expect("page")
        };
        assert_eq!(names(&find("open", "")), ["openssl", "openssl-devel"]);
        assert_eq!(names(&find("", "ssl")), ["libssl3", "openssl", "openssl-devel"]);
        assert_eq!(names(&find("open", "devel")), ["openssl-devel"]);
        assert!(find("x", "").units.is_empty());
        let elsewhere = UnitQuery { index: Some("main/amd64".into()), limit: 10, ..UnitQuery::default() };
        assert!(units(&content, &root, &elsewhere).expect("page").units.is_empty());
        let bad = UnitQuery { cursor: Some("!".into()), limit: 10, ..UnitQuery::default() };
        assert!(units(&content, &root, &bad).expect_err("cursor").to_string().contains("start the list again"));
        assert_eq!(Format::Rpm, crate::snapshot::load(content.objects(), &root).expect("doc").format);
    }
}
