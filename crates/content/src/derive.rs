//! Snapshots made of snapshots: filters and composites. The union of the sources' units, the first source first where
//! two have the same (index, name, architecture, version), then the selection.
//!
//! [`pick`] is the same selection for units that are not in a snapshot yet. Absent: following dependencies.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use drydock_domain::source::filter::{AdvisoryFacts, Selection, UnitFacts};
use drydock_domain::source::unit::{Format, SnapshotStats};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;
use crate::snapshot::{self, AdvisoryRecord, DebInfo, ModuleRecord, SnapshotDoc, SnapshotRoot, UnitRecord, nevra, read_record};
use crate::tree::{self, Head, TreeBuilder, TreeRef};

/// Most snapshots that one is made of.
pub const SOURCES_MAX: usize = 64;
/// `Origin` of apt repositories that are made of others.
const DERIVED_ORIGIN: &str = "Drydock";

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeriveRequest {
    /// From these, first source first.
    pub from: Vec<SnapshotRoot>,
    /// What to take of them.
    pub selection: Selection,
    /// Format of all of them.
    pub format: Format,
    /// Name of the source this is made for: how a deb snapshot is published, whatever it was taken from (see
    /// [`Derivation::deb_info`]).
    pub name: String,
}

/// Which of these units a selection takes.
pub fn pick(
    selection: &Selection,
    format: Format,
    units: &[UnitRecord],
    advisories: &[AdvisoryRecord],
    modules: &[ModuleRecord],
) -> ContentResult<Vec<bool>> {
    if selection.is_everything() {
        return Ok(vec![true; units.len()]);
    }
    let mut advised: HashMap<&str, Vec<AdvisoryFacts<'_>>> = HashMap::new();
    if selection.rules.iter().any(|rule| rule.advisory.is_some()) {
        for advisory in advisories {
            let issued = advisory.issued.and_then(|at| Timestamp::from_second(at).ok());
            let facts = AdvisoryFacts { id: &advisory.id, kind: &advisory.kind, issued };
            for package in &advisory.packages {
                advised.entry(package).or_default().push(facts);
            }
        }
    }
    let mut modular: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for module in modules {
        for artifact in &module.artifacts {
            modular.entry(artifact).or_default().push((&module.name, &module.stream));
        }
    }
    for streams in modular.values_mut() {
        streams.sort_unstable();
        streams.dedup();
    }
    let named = !advised.is_empty() || !modular.is_empty();
    let facts: Vec<UnitFacts<'_>> = units
        .iter()
        .map(|unit| {
            let full = if named { nevra(&unit.name, &unit.version, &unit.arch) } else { String::new() };
            UnitFacts {
                name: &unit.name,
                arch: &unit.arch,
                version: &unit.version,
                source: &unit.source,
                advisories: advised.get(full.as_str()).cloned().unwrap_or_default(),
                modules: modular.get(full.as_str()).cloned().unwrap_or_default(),
            }
        })
        .collect();
    Ok(selection.compile(format).select(&facts))
}

/// Is an advisory of use where only the packages named `kept` (each [`nevra`]) are?
pub fn advisory_kept(record: &AdvisoryRecord, kept: &HashSet<String>) -> bool {
    record.packages.iter().any(|package| kept.contains(package))
}

/// Is a document of modules.yaml of use there? Documents other than builds (defaults, obsoletes) always stay: they say
/// nothing where their module is missing.
pub fn module_kept(record: &ModuleRecord, kept: &HashSet<String>) -> bool {
    record.kind != "modulemd" || record.artifacts.iter().any(|package| kept.contains(package))
}

/// Makes a snapshot of others. The same request makes the same snapshot.
pub fn derive(store: &ObjectStore, request: &DeriveRequest) -> ContentResult<SnapshotRoot> {
    let refuse = |problem: String| ContentError::Refused { what: "making a snapshot of others".to_owned(), problem };
    if request.from.is_empty() || request.from.len() > SOURCES_MAX {
        return Err(refuse(format!("{} were given; 1 to {SOURCES_MAX} are needed", request.from.len())));
    }
    if request.selection.is_everything() && request.from.len() == 1 {
        let doc = snapshot::load(store, &request.from[0])?;
        if doc.format != request.format {
            return Err(refuse(format!("snapshot {} is of another format", request.from[0])));
        }
        if doc.deb.is_none() {
            return Ok(request.from[0]);
        }
        // The same trees under a Release of our own.
        let deb = Derivation { store, request, docs: vec![doc.clone()] }.deb_info();
        return snapshot::save(store, &SnapshotDoc { deb, ..doc });
    }
    let mut docs = Vec::new();
    for root in &request.from {
        let doc = snapshot::load(store, root)?;
        if doc.format != request.format {
            return Err(refuse(format!("snapshot {root} is of another format")));
        }
        docs.push(doc);
    }
    let derived = Derivation { store, request, docs }.run()?;
    snapshot::save(store, &derived)
}

struct Derivation<'a> {
    store: &'a ObjectStore,
    request: &'a DeriveRequest,
    docs: Vec<SnapshotDoc>,
}

/// A unit of the union: which source and index it is of.
struct Row {
    source: usize,
    index: usize,
}

impl Derivation<'_> {
    fn run(&self) -> ContentResult<SnapshotDoc> {
        let indexes: Vec<&String> =
            self.docs.iter().flat_map(|doc| doc.packages.keys()).collect::<BTreeSet<_>>().into_iter().collect();
        let advisories: Vec<AdvisoryRecord> = self.records(|doc| doc.advisories.as_ref())?;
        let modules: Vec<ModuleRecord> = self.records(|doc| doc.modules.as_ref())?;
        let (mut rows, mut units) = (Vec::new(), Vec::new());
        for (n, index) in indexes.iter().enumerate() {
            self.union(n, index, &mut rows, &mut units)?;
        }
        let taken = pick(&self.request.selection, self.request.format, &units, &advisories, &modules)?;

        let mut doc = SnapshotDoc::empty(self.request.format);
        let mut stats = SnapshotStats::default();
        let mut kept = HashSet::new();
        for (unit, _) in units.iter().zip(&taken).filter(|(_, taken)| **taken) {
            stats.packages += 1;
            stats.package_bytes = stats.package_bytes.saturating_add(unit.size);
            if self.request.format == Format::Rpm {
                kept.insert(nevra(&unit.name, &unit.version, &unit.arch));
            }
        }
        drop(units);
        for (n, index) in indexes.iter().enumerate() {
            let span = rows.iter().zip(&taken).filter(|(row, _)| row.index == n).map(|(row, taken)| (row.source, *taken));
            doc.packages.insert((*index).clone(), self.package_tree(index, &span.collect::<Vec<_>>())?);
        }
        let everything = self.request.selection.is_everything();
        doc.advisories = self.document_tree(
            |doc| doc.advisories.as_ref(),
            snapshot::ADVISORY_PARTS,
            |head| Ok(everything || advisory_kept(&read_record(&head.record)?, &kept)),
        )?;
        doc.modules = self.document_tree(
            |doc| doc.modules.as_ref(),
            snapshot::MODULE_PARTS,
            |head| Ok(everything || module_kept(&read_record(&head.record)?, &kept)),
        )?;
        stats.advisories = doc.advisories.as_ref().map_or(0, |tree| tree.count);
        stats.modules = doc.modules.as_ref().map_or(0, |tree| tree.count);
        doc.stats = stats;
        for extra in self.docs.iter().flat_map(|doc| &doc.extras) {
            if doc.extras.iter().all(|own| own.kind != extra.kind) {
                doc.extras.push(extra.clone());
            }
        }
        doc.deb = self.deb_info();
        Ok(doc)
    }

    /// Records of the documents of all sources.
    fn records<T: DeserializeOwned>(&self, of: impl Fn(&SnapshotDoc) -> Option<&TreeRef>) -> ContentResult<Vec<T>> {
        let trees = self.docs.iter().filter_map(of);
        trees.flat_map(|tree| tree::iter(self.store, tree, None)).map(|head| read_record(&head?.record)).collect()
    }

    /// The units of one index: all sources by key, without those an earlier source has in the same version.
    fn union(&self, n: usize, index: &str, rows: &mut Vec<Row>, units: &mut Vec<UnitRecord>) -> ContentResult<()> {
        let sources = self.docs.iter().map(|doc| doc.packages.get(index)).collect::<Vec<_>>();
        for (source, head) in merged(self.store, &sources) {
            let head = head?;
            let record: UnitRecord = read_record(&head.record)?;
            rows.push(Row { source, index: n });
            units.push(record);
        }
        Ok(())
    }

    /// The tree of the taken rows of an index; `rows` are in the order of [`merged`].
    fn package_tree(&self, index: &str, rows: &[(usize, bool)]) -> ContentResult<TreeRef> {
        let trees: Vec<Option<&TreeRef>> = self.docs.iter().map(|doc| doc.packages.get(index)).collect();
        let parts = trees.iter().flatten().next().map_or(0, |tree| tree.parts());
        // Often one source has all of an index and all of it is taken: then its tree is the answer.
        if let Some((first, _)) = rows.first()
            && let Some(tree) = trees[*first]
            && tree.count == rows.len() as u64
            && rows.iter().all(|(source, taken)| source == first && *taken)
        {
            return Ok(tree.clone());
        }
        let mut wanted = rows.iter();
        let mut builder = TreeBuilder::new(self.store, parts);
        let mut readers: Vec<_> =
            trees.iter().map(|tree| tree.map(|tree| tree::iter_full(self.store, tree, None).peekable())).collect();
        for (source, head) in merged(self.store, &trees) {
            let head = head?;
            let Some((_, taken)) = wanted.next() else { break };
            if !taken {
                continue;
            }
            let Some(reader) = readers[source].as_mut() else { continue };
            while reader.next_if(|entry| entry.as_ref().is_ok_and(|e| e.key < head.key)).is_some() {}
            if let Some(entry) = reader.next() {
                builder.push(&entry?)?;
            }
        }
        builder.finish()
    }

    /// The documents (advisories, modules) of all sources that are kept; for equal keys the first source's.
    fn document_tree(
        &self,
        of: impl Fn(&SnapshotDoc) -> Option<&TreeRef>,
        parts: usize,
        keep: impl Fn(&Head) -> ContentResult<bool>,
    ) -> ContentResult<Option<TreeRef>> {
        let mut entries: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let trees: Vec<Option<&TreeRef>> = self.docs.iter().map(of).collect();
        for (n, tree) in trees.iter().enumerate() {
            let Some(tree) = tree else { continue };
            for head in tree::iter(self.store, tree, None) {
                let head = head?;
                if keep(&head)? {
                    entries.entry(head.key).or_insert(n);
                }
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let mut builder = TreeBuilder::new(self.store, parts);
        let mut readers: Vec<_> =
            trees.iter().map(|tree| tree.map(|tree| tree::iter_full(self.store, tree, None).peekable())).collect();
        for (key, source) in entries {
            let Some(reader) = readers[source].as_mut() else { continue };
            while reader.next_if(|entry| entry.as_ref().is_ok_and(|e| e.key < key)).is_some() {}
            if let Some(entry) = reader.next() {
                builder.push(&entry?)?;
            }
        }
        builder.finish().map(Some)
    }

    /// A Release of our own, with the components and architectures of all sources. What it is called does not depend on
    /// what it is taken from: hosts keep the suite's name in their sources, and apt refuses a repository whose Origin,
    /// Label, Suite or Codename have changed. Other fields are the first source's.
    fn deb_info(&self) -> Option<DebInfo> {
        let mut infos = self.docs.iter().filter_map(|doc| doc.deb.as_ref());
        let name = &self.request.name;
        let mut info = DebInfo {
            dist: name.clone(),
            origin: DERIVED_ORIGIN.to_owned(),
            label: name.clone(),
            suite: name.clone(),
            codename: name.clone(),
            flat: false,
            ..infos.next()?.clone()
        };
        for other in infos {
            for (own, more) in [(&mut info.components, &other.components), (&mut info.architectures, &other.architectures)] {
                for word in more {
                    if !own.contains(word) {
                        own.push(word.clone());
                    }
                }
            }
        }
        Some(info)
    }
}

/// Entries of several trees in the order of keys, each with the number of its tree. Of the entries with equal name,
/// architecture and version only those of the first tree that has some are given.
fn merged<'a>(
    store: &ObjectStore,
    trees: &[Option<&'a TreeRef>],
) -> impl Iterator<Item = (usize, ContentResult<Head>)> + use<'a> {
    let mut heads: Vec<_> = trees.iter().map(|tree| tree.map(|tree| tree::iter(store, tree, None).peekable())).collect();
    // Of the version that is being given out: its part of the key, and which tree has it.
    let mut current: Option<(Vec<u8>, usize)> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some((version, source)) = &current {
                for (n, reader) in heads.iter_mut().enumerate().filter_map(|(n, r)| Some((n, r.as_mut()?))) {
                    let same = |head: &ContentResult<Head>| head.as_ref().is_ok_and(|h| version_part(&h.key) == *version);
                    if n == *source
                        && let Some(head) = reader.next_if(same)
                    {
                        return Some((n, head));
                    }
                    while n != *source && reader.next_if(same).is_some() {}
                }
            }
            let mut next: Option<(Vec<u8>, usize)> = None;
            for (n, reader) in heads.iter_mut().enumerate().filter_map(|(n, r)| Some((n, r.as_mut()?))) {
                match reader.peek() {
                    None => {}
                    Some(Err(_)) => return reader.next().map(|failed| (n, failed)),
                    Some(Ok(head)) => {
                        let version = version_part(&head.key);
                        if next.as_ref().is_none_or(|(lowest, _)| version < lowest.as_slice()) {
                            next = Some((version.to_vec(), n));
                        }
                    }
                }
            }
            current = Some(next?);
        }
    })
}

/// Name, architecture and version of a package's key: everything before the checksum.
fn version_part(key: &[u8]) -> &[u8] {
    key.iter().rposition(|b| *b == 0).map_or(key, |end| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::load;
    use crate::snapshot::testing::{Package, content, deb, rpm};

    fn selection(json: &str) -> Selection {
        serde_json::from_str(json).expect("selection")
    }

    fn made(store: &ObjectStore, from: &[SnapshotRoot], json: &str, format: Format) -> SnapshotDoc {
        let request = DeriveRequest { from: from.to_vec(), selection: selection(json), format, name: "made".into() };
        let root = derive(store, &request).expect("derive");
        assert_eq!(derive(store, &request).expect("derive again"), root);
        load(store, &root).expect("load")
    }

    fn versions(store: &ObjectStore, tree: &TreeRef) -> Vec<String> {
        let unit = |head: ContentResult<Head>| read_record::<UnitRecord>(&head.expect("head").record).expect("record");
        tree::iter(store, tree, None).map(unit).map(|u| format!("{} {}", u.name, u.version)).collect()
    }

    fn ids(store: &ObjectStore, tree: Option<&TreeRef>) -> Vec<String> {
        let shown = |head: ContentResult<Head>| {
            String::from_utf8_lossy(&head.expect("head").key).trim_end_matches('\0').replace('\0', ":")
        };
        tree.map_or(Vec::new(), |tree| tree::iter(store, tree, None).map(shown).collect())
    }

    #[test]
    fn everything_of_one_source_is_its_snapshot() {
        let (_dir, content) = content();
        let store = content.objects();
        let root = rpm(store, &[Package::new("a", "1-1")], &[], &[]);
        let request =
            DeriveRequest { from: vec![root], selection: Selection::default(), format: Format::Rpm, name: "made".into() };
        assert_eq!(derive(store, &request).expect("derive"), root);
        for request in [
            DeriveRequest { format: Format::Deb, ..request.clone() },
            DeriveRequest { format: Format::Deb, selection: selection(r#"{"newest":1}"#), ..request.clone() },
            DeriveRequest { from: Vec::new(), ..request },
        ] {
            assert!(matches!(derive(store, &request), Err(ContentError::Refused { .. })));
        }
    }

    #[test]
    fn filters_take_units_and_what_is_about_them() {
        let (_dir, content) = content();
        let store = content.objects();
        let list = [Package::new("a", "1.9-1"), Package::new("a", "1.10-1"), Package::new("b", "1-1"), Package::new("m", "1-1")];
        let advisories: [(&str, &str, i64, &[&str]); 3] = [
            ("A-1", "security", 1_700_000_000, &["a-0:1.10-1.x86_64", "b-0:1-1.x86_64"]),
            ("A-2", "bugfix", 1_700_000_000, &["b-0:1-1.x86_64"]),
            ("A-3", "security", 1_600_000_000, &["elsewhere-0:1-1.x86_64"]),
        ];
        let root = rpm(store, &list, &advisories, &[("mod", "1", &["m-0:1-1.x86_64"]), ("other", "1", &["x-0:1-1.x86_64"])]);
        let tree = |doc: &SnapshotDoc| versions(store, &doc.packages[""]);

        let newest = made(store, &[root], r#"{"newest":1}"#, Format::Rpm);
        assert_eq!(tree(&newest), ["a 1.10-1", "b 1-1", "m 1-1"]);
        assert_eq!(ids(store, newest.advisories.as_ref()), ["A-1", "A-2"]);
        assert_eq!(ids(store, newest.modules.as_ref()), ["mod:1"]);
        assert_eq!(
            (newest.stats.packages, newest.stats.package_bytes, newest.stats.advisories, newest.stats.modules),
            (3, 30, 2, 1)
        );

        let without = made(
            store,
            &[root],
            r#"{"rules":[{"action":"exclude","name":"b"},{"action":"exclude","module":"mod"}]}"#,
            Format::Rpm,
        );
        assert_eq!(tree(&without), ["a 1.10-1", "a 1.9-1"]);
        assert_eq!(ids(store, without.advisories.as_ref()), ["A-1"]);
        assert_eq!(without.modules, None);

        let secure = made(
            store,
            &[root],
            r#"{"rules":[{"action":"include","advisory":{"types":["security"],"issuedAfter":"2023-01-01T00:00:00Z"}}]}"#,
            Format::Rpm,
        );
        assert_eq!(tree(&secure), ["a 1.10-1", "b 1-1"]);
        let nothing = made(store, &[root], r#"{"rules":[{"action":"include","name":"zzz"}]}"#, Format::Rpm);
        assert_eq!((nothing.stats, nothing.packages[""].count), (SnapshotStats::default(), 0));
        // The fragments come along unchanged.
        let whole = tree::iter_full(store, &newest.packages[""], None).next().expect("one").expect("entry");
        assert_eq!(whole.parts[1], b"<f a 1.10-1 />\n");
    }

    #[test]
    fn the_first_source_wins_for_equal_versions_only() {
        let (_dir, content) = content();
        let store = content.objects();
        let own = Package::new("a", "1-1");
        let mut rebuilt = own.clone();
        rebuilt.digest = format!("sha256-{}", "0".repeat(64));
        let first = rpm(store, &[own.clone(), Package::new("c", "1-1")], &[("A-1", "security", 1, &[])], &[]);
        let second = rpm(
            store,
            &[rebuilt.clone(), Package::new("a", "2-1"), Package::new("b", "1-1")],
            &[("A-1", "bugfix", 2, &[]), ("A-2", "bugfix", 2, &[])],
            &[],
        );
        let digest_of_a = |doc: &SnapshotDoc| {
            let head = tree::iter(store, &doc.packages[""], None).next().expect("one").expect("head");
            read_record::<UnitRecord>(&head.record).expect("record").digest
        };
        let both = made(store, &[first, second], "{}", Format::Rpm);
        assert_eq!(versions(store, &both.packages[""]), ["a 1-1", "a 2-1", "b 1-1", "c 1-1"]);
        assert_eq!(digest_of_a(&both), own.digest);
        assert_eq!(ids(store, both.advisories.as_ref()), ["A-1", "A-2"]);
        let other_way = made(store, &[second, first], "{}", Format::Rpm);
        assert_eq!(digest_of_a(&other_way), rebuilt.digest);
        assert_eq!(both.stats.packages, 4);
    }

    #[test]
    fn deb_sources_join_by_index() {
        let (_dir, content) = content();
        let store = content.objects();
        let (a, b) = (Package::new("a", "1:1.0-1"), Package::new("b", "2"));
        let first = deb(store, &[("main/amd64", std::slice::from_ref(&a))]);
        let second = deb(store, &[("contrib/amd64", std::slice::from_ref(&b)), ("main/amd64", std::slice::from_ref(&a))]);
        let both = made(store, &[first, second], "{}", Format::Deb);
        assert_eq!(both.packages.keys().collect::<Vec<_>>(), ["contrib/amd64", "main/amd64"]);
        assert_eq!(both.packages["main/amd64"], load(store, &first).expect("doc").packages["main/amd64"]);
        let info = both.deb.expect("info");
        assert_eq!((info.dist.as_str(), info.codename.as_str(), info.origin.as_str()), ("made", "made", "Drydock"));
        assert_eq!(info.components, ["main", "contrib"]);
        assert_eq!(both.stats.packages, 2);
    }

    #[test]
    fn a_large_filtered_tree_is_the_tree_of_what_was_taken() {
        let (_dir, content) = content();
        let store = content.objects();
        let all: Vec<Package> = (0..2000).map(|n| Package::new(&format!("p{:04}", n / 2), &format!("{}-1", n % 2 + 1))).collect();
        let newest: Vec<Package> = all.iter().filter(|p| p.version == "2-1").cloned().collect();
        let made =
            made(store, &[rpm(store, &all[..1200], &[], &[]), rpm(store, &all[800..], &[], &[])], r#"{"newest":1}"#, Format::Rpm);
        assert_eq!(made.packages, load(store, &rpm(store, &newest, &[], &[])).expect("doc").packages);
    }
}
