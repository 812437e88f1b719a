//! What the engine of applicability needs to know of a snapshot: facts of its packages, module builds, default streams,
//! what pins look at, and its advisories as they are stored; of one snapshot whole, or of two what differs.
//!
//! Measured (`content-bench facts`): 42,000 rpm packages in half a second on two busy cores, nearly all of it unpacking.
//! For that little nothing is kept beside the objects.
//!
//! Absent: what the facts mean (room `domain::applicability`), the meaning of an advisory ([`crate::feeds`]).

mod deb;
mod module;
mod rpm;
mod streams;

pub use streams::snapshot_streams;

use std::collections::{BTreeSet, HashSet};

use drydock_domain::applicability::facts::{DefaultStream, ModuleFacts, PackageFacts, ReleaseFacts, SnapshotFacts};
use drydock_domain::source::unit::Format;

use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::snapshot::{AdvisoryRecord, SnapshotDoc, SnapshotRoot, advisory_key, load, read_record};
use crate::tree::{self, Head, TreeRef, diff_part, map_part};

/// What tells packages of a snapshot apart here. Two files of one name, architecture and version are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageKey {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Full version, in the form of [`PackageFacts::version`].
    pub version: String,
}

impl PackageKey {
    /// The key of these facts.
    pub fn of(facts: &PackageFacts) -> Self {
        PackageKey { name: facts.name.clone(), arch: facts.arch.clone(), version: facts.version.clone() }
    }
}

/// How the facts of one snapshot become those of another: take the removed away, then put the added in, in place of facts
/// with an equal key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsDiff {
    /// Packages that are gone; sorted.
    pub removed: Vec<PackageKey>,
    /// New packages, and those of which other facts are known now; sorted by key.
    pub added: Vec<PackageFacts>,
    /// All module builds and default streams, when anything about modules changed.
    pub modules: Option<ModulesOf>,
    /// What pins look at, when it changed.
    pub release: Option<ReleaseFacts>,
}

/// Module builds, and default streams as (module, stream).
pub type ModulesOf = (Vec<ModuleFacts>, Vec<DefaultStream>);

/// An advisory as its repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoryFragment {
    /// What is known of it without reading further.
    pub record: AdvisoryRecord,
    /// The whole `<update>` element.
    pub xml: String,
}

/// How the advisories of one snapshot become those of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvisoriesDiff {
    /// Ids that are gone; sorted.
    pub removed: Vec<String>,
    /// New ones, and those that read otherwise now.
    pub added: Vec<AdvisoryFragment>,
}

/// The facts of a snapshot. Blocking; several threads for some hundred milliseconds.
///
/// # Errors
/// When the snapshot is not here or damaged.
pub fn snapshot_facts(store: &ObjectStore, root: &SnapshotRoot) -> ContentResult<SnapshotFacts> {
    let doc = load(store, root)?;
    let mut packages = Vec::new();
    for tree in doc.packages.values() {
        packages.extend(map_part(store, tree, 0, reader(doc.format))?);
    }
    let packages = distinct(packages, doc.packages.len() > 1);
    let (modules, default_streams) = modules(store, doc.modules.as_ref())?;
    Ok(SnapshotFacts { packages, modules, default_streams, release: deb::release(&doc) })
}

/// What differs between the facts of two snapshots of one source. Reads only what the snapshots do not share.
///
/// # Errors
/// When one of them is not here or damaged, or they are of different formats.
pub fn facts_diff(store: &ObjectStore, old: &SnapshotRoot, new: &SnapshotRoot) -> ContentResult<FactsDiff> {
    if old == new {
        return Ok(FactsDiff::default());
    }
    let (old, new) = both(store, old, new)?;
    let (mut added, mut gone) = (Vec::new(), BTreeSet::new());
    let indexes: BTreeSet<&String> = old.packages.keys().chain(new.packages.keys()).collect();
    for index in indexes {
        let trees = (old.packages.get(index), new.packages.get(index));
        let found = diff_part(store, trees, 0, package_group, reader(new.format))?;
        added.extend(found.changed);
        for group in found.gone {
            // The rest of its entries may be where nothing changed, or in another index.
            let elsewhere = new.packages.iter().filter(|(name, _)| *name != index || group.at_edge);
            if !elsewhere.map(|(_, tree)| holds(store, tree, &group.group)).collect::<ContentResult<Vec<bool>>>()?.contains(&true)
            {
                let (name, arch, version) = names(&group.group, new.format)?;
                gone.insert(PackageKey { name, arch, version });
            }
        }
    }
    let added = distinct(added, true);
    let kept: HashSet<PackageKey> = added.iter().map(PackageKey::of).collect();
    let release = deb::release(&new);
    Ok(FactsDiff {
        removed: gone.into_iter().filter(|key| !kept.contains(key)).collect(),
        added,
        modules: if old.modules == new.modules { None } else { Some(modules(store, new.modules.as_ref())?) },
        release: (release != deb::release(&old)).then_some(release),
    })
}

/// The advisories of a snapshot, by id. After an error there is nothing more.
///
/// # Errors
/// When the snapshot is not here or damaged.
pub fn snapshot_advisories(
    store: &ObjectStore,
    root: &SnapshotRoot,
) -> ContentResult<impl Iterator<Item = ContentResult<AdvisoryFragment>> + Send + use<>> {
    let tree = load(store, root)?.advisories;
    let entries = tree.map(|tree| tree::iter_full(store, &tree, None));
    let read = |entry: tree::Entry| fragment(&entry.record, entry.parts.into_iter().next().unwrap_or_default());
    Ok(entries.into_iter().flatten().map(move |entry| entry.and_then(read)))
}

/// One advisory of a snapshot.
///
/// # Errors
/// When the snapshot is not here or damaged.
pub fn snapshot_advisory(store: &ObjectStore, root: &SnapshotRoot, id: &str) -> ContentResult<Option<AdvisoryFragment>> {
    let Some(tree) = load(store, root)?.advisories else { return Ok(None) };
    let entry = tree::get(store, &tree, &advisory_key(id))?;
    entry.map(|entry| fragment(&entry.record, entry.parts.into_iter().next().unwrap_or_default())).transpose()
}

/// What differs between the advisories of two snapshots. Reads only what they do not share.
///
/// # Errors
/// When one of them is not here or damaged, or they are of different formats.
pub fn advisories_diff(store: &ObjectStore, old: &SnapshotRoot, new: &SnapshotRoot) -> ContentResult<AdvisoriesDiff> {
    if old == new {
        return Ok(AdvisoriesDiff::default());
    }
    let (old, new) = both(store, old, new)?;
    let trees = (old.advisories.as_ref(), new.advisories.as_ref());
    let found = diff_part(store, trees, 0, |key| key, |head, xml| fragment(&head.record, xml.to_vec()))?;
    let mut removed: Vec<String> = found.gone.into_iter().map(|gone| String::from_utf8_lossy(&gone.group).into_owned()).collect();
    removed.sort_unstable();
    Ok(AdvisoriesDiff { removed, added: found.changed })
}

fn both(store: &ObjectStore, old: &SnapshotRoot, new: &SnapshotRoot) -> ContentResult<(SnapshotDoc, SnapshotDoc)> {
    let docs = (load(store, old)?, load(store, new)?);
    if docs.0.format == docs.1.format {
        return Ok(docs);
    }
    Err(ContentError::Refused {
        what: format!("comparing what is known of snapshots {old} and {new}"),
        problem: "one is of an rpm source, the other of a deb source".to_owned(),
    })
}

fn fragment(record: &[u8], xml: Vec<u8>) -> ContentResult<AdvisoryFragment> {
    let record: AdvisoryRecord = read_record(record)?;
    let xml = String::from_utf8(xml).map_err(|_| ContentError::damaged("advisory", &record.id, "its element is not UTF-8"))?;
    Ok(AdvisoryFragment { record, xml })
}

/// Reads the facts of one package from its metadata.
fn reader(format: Format) -> impl Fn(&Head, &[u8]) -> ContentResult<PackageFacts> + Sync {
    move |head, metadata| {
        let (name, arch, version) = names(&head.key, format)?;
        let facts = PackageFacts { name, arch, version, phased_percent: deb::PHASED_ALL, ..PackageFacts::default() };
        match format {
            Format::Rpm => rpm::complete(facts, metadata),
            Format::Deb => Ok(deb::complete(facts, metadata)),
        }
    }
}

/// Name, architecture and version of a key; see [`crate::snapshot::rpm_key`] and [`crate::snapshot::deb_key`].
fn names(key: &[u8], format: Format) -> ContentResult<(String, String, String)> {
    let text = std::str::from_utf8(key).map_err(|_| ContentError::damaged("key", "of a package", "it is not UTF-8"))?;
    let mut fields = text.split('\0');
    let mut next = || fields.next().unwrap_or_default();
    let (name, arch, version) = (next(), next(), next());
    let version = if format == Format::Rpm { version.strip_prefix("0:").unwrap_or(version) } else { version };
    Ok((name.to_owned(), arch.to_owned(), version.to_owned()))
}

/// The part of a key that says name, architecture and version.
fn package_group(key: &[u8]) -> &[u8] {
    memchr::memchr_iter(0, key).nth(2).map_or(key, |end| &key[..end])
}

/// Has the tree an entry of this group?
fn holds(store: &ObjectStore, tree: &TreeRef, group: &[u8]) -> ContentResult<bool> {
    match tree::iter(store, tree, Some(group)).next().transpose()? {
        Some(head) => Ok(package_group(&head.key) == group),
        None => Ok(false),
    }
}

/// One of each key, the last. Those of one tree are in order already.
fn distinct(mut packages: Vec<PackageFacts>, mixed: bool) -> Vec<PackageFacts> {
    fn key(facts: &PackageFacts) -> (&str, &str, &str) {
        (&facts.name, &facts.arch, &facts.version)
    }
    if mixed {
        packages.sort_by(|a, b| key(a).cmp(&key(b)));
    }
    packages.dedup_by(|later, earlier| {
        let equal = key(later) == key(earlier);
        if equal {
            std::mem::swap(later, earlier);
        }
        equal
    });
    packages
}

fn modules(store: &ObjectStore, tree: Option<&TreeRef>) -> ContentResult<ModulesOf> {
    let Some(tree) = tree else { return Ok(ModulesOf::default()) };
    let documents = map_part(store, tree, 0, |head, yaml| Ok(module::read(read_record(&head.record)?, yaml)))?;
    let (mut builds, mut defaults) = (Vec::new(), BTreeSet::new());
    for document in documents {
        match document {
            module::Document::Build(build) => builds.push(build),
            module::Document::Default(default) => {
                defaults.insert(default);
            }
            module::Document::Other => {}
        }
    }
    Ok((builds, defaults.into_iter().collect()))
}

#[cfg(test)]
mod tests;
