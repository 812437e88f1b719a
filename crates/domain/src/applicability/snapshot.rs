//! What the engine keeps of a snapshot: which packages it holds by name, what they obsolete, its module builds. Packages are shared
//! between snapshots, so the next snapshot of a source costs four bytes a package.

use std::collections::HashSet;

use super::facts::{Bound, DefaultStream, Dependency, ModuleFacts, PackageFacts, ReleaseFacts, SnapshotChange, SnapshotFacts};
use super::intern::{IdMap, IdSet, Name, Text, Texts, Version, Versions, small};
use crate::version::{Scheme, compare};

/// An available package, dense over all snapshots.
pub(super) type AvailableId = u32;

/// What decides about an available package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Available {
    pub name: Name,
    pub arch: Text,
    pub version: Version,
    pub source: Name,
    pub source_version: Version,
    pub vendor: Text,
    pub phased: u8,
}

/// Name, architecture, version: what a module lists.
pub(super) type Nevra = (Name, Text, Version);

/// A build of a module stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub name: Text,
    pub stream: Text,
    pub version: u64,
    pub context: Text,
    pub arch: Text,
    pub artifacts: Vec<Nevra>,
    pub requires: Vec<(Text, Vec<Text>)>,
}

/// `obsoletes` of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Obsolete {
    pub by: AvailableId,
    pub bound: u8,
    pub version: Text,
}

/// One snapshot.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// By name.
    pub packages: Vec<AvailableId>,
    /// Where the packages of a name begin and how many they are.
    pub by_name: IdMap<Name, (u32, u32)>,
    /// By the name that is obsoleted.
    pub obsoletes: IdMap<Name, Vec<Obsolete>>,
    /// By a name that is provided beside the package's own.
    pub provides: IdMap<Name, Vec<AvailableId>>,
    pub modules: Vec<Module>,
    /// Module, stream, when it was written.
    pub default_streams: Vec<(Text, Text, u64)>,
    pub release: ReleaseFacts,
}

/// All available packages, each once.
#[derive(Debug, Default)]
pub(super) struct AvailableTable {
    pub all: Vec<Available>,
    ids: IdMap<Available, AvailableId>,
}

impl AvailableTable {
    pub fn id(&mut self, package: Available) -> AvailableId {
        let next = small(self.all.len());
        let id = *self.ids.entry(package).or_insert(next);
        if id == next {
            self.all.push(package);
        }
        id
    }

    pub fn get(&self, id: AvailableId) -> &Available {
        &self.all[id as usize]
    }
}

/// Bounds as small numbers, for storing.
pub(super) const BOUNDS: [Bound; 6] =
    [Bound::Any, Bound::Less, Bound::LessEqual, Bound::Equal, Bound::GreaterEqual, Bound::Greater];

impl Snapshot {
    pub fn new(
        scheme: Scheme,
        facts: &SnapshotFacts,
        texts: &mut Texts,
        versions: &mut Versions,
        table: &mut AvailableTable,
    ) -> Self {
        let mut packages = Vec::with_capacity(facts.packages.len());
        let (mut obsoletes, mut provides) = (IdMap::default(), IdMap::default());
        for package in &facts.packages {
            packages.push(put(scheme, package, (&mut obsoletes, &mut provides), texts, versions, table));
        }
        tidy(&mut obsoletes);
        tidy(&mut provides);
        let modules = facts.modules.iter().map(|m| module(m, texts, versions)).collect();
        let default_streams = facts.default_streams.iter().map(|d| default_stream(d, texts)).collect();
        let mut snapshot = Snapshot {
            packages,
            obsoletes,
            provides,
            modules,
            default_streams,
            release: facts.release.clone(),
            ..Snapshot::default()
        };
        snapshot.index(table);
        snapshot
    }

    /// The next snapshot of a source, from what differs.
    pub fn after(
        &self,
        scheme: Scheme,
        change: &SnapshotChange,
        texts: &mut Texts,
        versions: &mut Versions,
        table: &mut AvailableTable,
    ) -> Self {
        let mut replaced: HashSet<(Name, Text, Version)> = HashSet::new();
        let gone = change.gone.iter().map(|(name, arch, version)| (name, arch, version));
        for (name, arch, version) in gone.chain(change.there.iter().map(|p| (&p.name, &p.arch, &p.version))) {
            let text = texts.id(name);
            let name = versions.name(text, scheme);
            replaced.insert((name, texts.id(arch), versions.version(texts, name, version)));
        }
        let stays = |id: &AvailableId, table: &AvailableTable| {
            let package = table.get(*id);
            !replaced.contains(&(package.name, package.arch, package.version))
        };
        let mut packages: Vec<AvailableId> = self.packages.iter().filter(|id| stays(id, table)).copied().collect();
        let mut obsoletes = self.obsoletes.clone();
        obsoletes.values_mut().for_each(|rows| rows.retain(|row| stays(&row.by, table)));
        let mut provides = self.provides.clone();
        provides.values_mut().for_each(|rows| rows.retain(|by| stays(by, table)));
        for package in &change.there {
            packages.push(put(scheme, package, (&mut obsoletes, &mut provides), texts, versions, table));
        }
        tidy(&mut obsoletes);
        tidy(&mut provides);
        let (modules, default_streams) = match &change.modules {
            None => (self.modules.clone(), self.default_streams.clone()),
            Some((modules, streams)) => (
                modules.iter().map(|m| module(m, texts, versions)).collect(),
                streams.iter().map(|d| default_stream(d, texts)).collect(),
            ),
        };
        let release = change.release.as_ref().unwrap_or(&self.release).clone();
        let mut snapshot = Snapshot { packages, obsoletes, provides, modules, default_streams, release, ..Snapshot::default() };
        snapshot.index(table);
        snapshot
    }

    /// Sorts the packages and finds where each name begins.
    pub fn index(&mut self, table: &AvailableTable) {
        self.packages.sort_unstable_by_key(|id| (table.get(*id).name, *id));
        self.packages.dedup();
        self.by_name.clear();
        let mut start = 0;
        for chunk in self.packages.chunk_by(|a, b| table.get(*a).name == table.get(*b).name) {
            self.by_name.insert(table.get(chunk[0]).name, (small(start), small(chunk.len())));
            start += chunk.len();
        }
    }

    /// The packages of a name.
    pub fn named(&self, name: Name) -> &[AvailableId] {
        let Some((start, len)) = self.by_name.get(&name) else { return &[] };
        self.packages.get(*start as usize..(*start + *len) as usize).unwrap_or(&[])
    }

    /// What obsoletes packages of a name.
    pub fn obsoleting(&self, name: Name) -> &[Obsolete] {
        self.obsoletes.get(&name).map_or(&[], Vec::as_slice)
    }

    /// What provides a name beside its own.
    pub fn providing(&self, name: Name) -> &[AvailableId] {
        self.provides.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Names whose packages or obsoleters differ between two snapshots. Modules are compared by [`Snapshot::same_modules`].
    pub fn changed_names(&self, other: &Snapshot, table: &AvailableTable) -> Vec<Name> {
        let mut out: Vec<Name> = Vec::new();
        for (a, b) in [(self, other), (other, self)] {
            out.extend(a.by_name.keys().filter(|name| a.named(**name) != b.named(**name)));
            out.extend(a.obsoletes.keys().filter(|name| a.obsoleting(**name) != b.obsoleting(**name)));
            // What a package provides decides whether modules hide it.
            let other = a.provides.keys().filter(|name| a.providing(**name) != b.providing(**name));
            out.extend(other.flat_map(|name| a.providing(*name)).map(|by| table.get(*by).name));
        }
        // Whether an obsoleting package is taken hangs on the other packages of its name.
        let changed: IdSet<Name> = out.iter().copied().collect();
        for snapshot in [self, other] {
            let hangs = |rows: &Vec<Obsolete>| rows.iter().any(|row| changed.contains(&table.get(row.by).name));
            out.extend(snapshot.obsoletes.iter().filter(|(_, rows)| hangs(rows)).map(|(name, _)| *name));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Do two snapshots filter by modules alike?
    pub fn same_modules(&self, other: &Snapshot) -> bool {
        self.modules == other.modules && self.default_streams == other.default_streams && self.release == other.release
    }
}

/// Who provides a name.
type Providers = IdMap<Name, Vec<AvailableId>>;

/// Interns a package and notes what it obsoletes and provides.
fn put(
    scheme: Scheme,
    package: &PackageFacts,
    (obsoletes, provides): (&mut IdMap<Name, Vec<Obsolete>>, &mut Providers),
    texts: &mut Texts,
    versions: &mut Versions,
    table: &mut AvailableTable,
) -> AvailableId {
    let by = table.id(available(scheme, package, texts, versions));
    for Dependency { name, bound, version } in &package.obsoletes {
        let text = texts.id(name);
        let bound = BOUNDS.iter().position(|b| b == bound).unwrap_or(0);
        let row = Obsolete { by, bound: u8::try_from(bound).unwrap_or(0), version: texts.id(version) };
        obsoletes.entry(versions.name(text, scheme)).or_default().push(row);
    }
    for name in &package.provides {
        let text = texts.id(name);
        provides.entry(versions.name(text, scheme)).or_default().push(by);
    }
    by
}

fn tidy<T: Ord>(rows: &mut IdMap<Name, Vec<T>>) {
    rows.retain(|_, list| !list.is_empty());
    for list in rows.values_mut() {
        list.sort_unstable();
        list.dedup();
    }
}

fn available(scheme: Scheme, p: &PackageFacts, texts: &mut Texts, versions: &mut Versions) -> Available {
    let name_text = texts.id(&p.name);
    let name = versions.name(name_text, scheme);
    let version = versions.version(texts, name, &p.version);
    let (source, source_version) = source_of(scheme, (&p.name, &p.version), &p.source, &p.source_version, texts, versions);
    Available {
        name,
        arch: texts.id(&p.arch),
        version,
        source,
        source_version,
        vendor: texts.id(&p.vendor),
        phased: p.phased_percent,
    }
}

/// A package's source and the source's version; a package that names none is its own source.
pub(super) fn source_of(
    scheme: Scheme,
    own: (&str, &str),
    source: &str,
    source_version: &str,
    texts: &mut Texts,
    versions: &mut Versions,
) -> (Name, Version) {
    let name = if source.is_empty() { own.0 } else { source };
    let text = texts.id(name);
    let name = versions.name(text, scheme);
    let version = match own.1.split_once(':') {
        _ if source_version.is_empty() => own.1.to_owned(),
        // The file name of a source rpm has no epoch; its packages do.
        Some((epoch, _)) if scheme == Scheme::Rpm && !source_version.contains(':') => format!("{epoch}:{source_version}"),
        _ => source_version.to_owned(),
    };
    (name, versions.version(texts, name, &version))
}

fn default_stream(d: &DefaultStream, texts: &mut Texts) -> (Text, Text, u64) {
    (texts.id(&d.module), texts.id(&d.stream), d.modified)
}

fn module(m: &ModuleFacts, texts: &mut Texts, versions: &mut Versions) -> Module {
    let artifacts = m.artifacts.iter().filter_map(|text| nevra(text, texts, versions)).collect();
    Module {
        name: texts.id(&m.name),
        stream: texts.id(&m.stream),
        version: m.version,
        context: texts.id(&m.context),
        arch: texts.id(&m.arch),
        artifacts,
        requires: m.requires.iter().map(|(m, s)| (texts.id(m), s.iter().map(|s| texts.id(s)).collect())).collect(),
    }
}

/// Reads `name-epoch:version-release.arch`; source packages are left out.
fn nevra(text: &str, texts: &mut Texts, versions: &mut Versions) -> Option<Nevra> {
    let (rest, arch) = text.rsplit_once('.')?;
    if arch == "src" || arch == "nosrc" {
        return None;
    }
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let name = texts.id(name);
    let name = versions.name(name, Scheme::Rpm);
    let version = versions.version(texts, name, &format!("{version}-{release}"));
    Some((name, texts.id(arch), version))
}

/// Is `version` within `bound` of `limit`? rpm: a bound without a release bounds every release of that version.
pub(super) fn bounded(scheme: Scheme, version: &str, bound: Bound, limit: &str) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    if bound == Bound::Any || limit.is_empty() {
        return true;
    }
    let version = match scheme {
        Scheme::Rpm if !limit.contains('-') => version.rsplit_once('-').map_or(version, |(v, _)| v),
        _ => version,
    };
    let Ok(order) = compare(scheme, version, limit) else { return false };
    match bound {
        Bound::Any => true,
        Bound::Less => order == Less,
        Bound::LessEqual => order != Greater,
        Bound::Equal => order == Equal,
        Bound::GreaterEqual => order != Less,
        Bound::Greater => order == Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_without_a_release_means_every_release() {
        for (version, bound, limit, want) in [
            ("2-1", Bound::Less, "2", false),
            ("2-1", Bound::LessEqual, "2", true),
            ("1-9", Bound::Less, "2", true),
            ("2-1", Bound::Less, "2-2", true),
            ("1:1-1", Bound::Less, "2-1", false),
            ("5-1", Bound::Any, "", true),
            ("2-1", Bound::Equal, "2", true),
        ] {
            assert_eq!(bounded(Scheme::Rpm, version, bound, limit), want, "{version} {bound:?} {limit}");
        }
    }

    #[test]
    fn the_next_snapshot_from_what_differs_is_the_next_snapshot() {
        let package = |name: &str, version: &str, obsoletes: &[&str], vendor: &str| PackageFacts {
            name: name.into(),
            arch: "x86_64".into(),
            version: version.into(),
            vendor: vendor.into(),
            obsoletes: obsoletes
                .iter()
                .map(|o| Dependency { name: (*o).into(), bound: Bound::Any, version: String::new() })
                .collect(),
            phased_percent: 100,
            provides: obsoletes.iter().map(|o| format!("{o}-api")).collect(),
            ..PackageFacts::default()
        };
        let of = |packages: Vec<PackageFacts>, stream: &str| SnapshotFacts {
            packages,
            default_streams: vec![DefaultStream { module: "m".into(), stream: stream.into(), modified: 0 }],
            ..SnapshotFacts::default()
        };
        let old = of(
            vec![
                package("a", "1-1", &["x"], ""),
                package("b", "1-1", &["y"], ""),
                package("c", "1-1", &[], ""),
                package("d", "1-1", &["z"], ""),
            ],
            "1",
        );
        // One stays, one obsoletes something else, one has another vendor, one is gone, one is new.
        let new = of(
            vec![
                package("a", "1-1", &["x"], ""),
                package("b", "1-1", &["w"], ""),
                package("c", "1-1", &[], "v"),
                package("e", "2-1", &["x"], ""),
            ],
            "2",
        );
        let change = SnapshotChange {
            gone: vec![("d".into(), "x86_64".into(), "1-1".into())],
            there: new.packages[1..].to_vec(),
            modules: Some((Vec::new(), new.default_streams.clone())),
            release: None,
        };
        let (mut texts, mut versions, mut table) = (Texts::default(), Versions::default(), AvailableTable::default());
        let before = Snapshot::new(Scheme::Rpm, &old, &mut texts, &mut versions, &mut table);
        let after = before.after(Scheme::Rpm, &change, &mut texts, &mut versions, &mut table);
        let whole = Snapshot::new(Scheme::Rpm, &new, &mut texts, &mut versions, &mut table);
        let parts = |s: &Snapshot| (s.packages.clone(), s.by_name.clone(), s.obsoletes.clone(), s.provides.clone());
        assert_eq!(parts(&after), parts(&whole));
        assert!(after.same_modules(&whole) && !after.same_modules(&before));
        let same = before.after(Scheme::Rpm, &SnapshotChange::default(), &mut texts, &mut versions, &mut table);
        assert_eq!(parts(&same), parts(&before));
    }

    #[test]
    fn an_artifact_is_the_package() {
        let (mut texts, mut versions) = (Texts::default(), Versions::default());
        let read = nevra("perl-DBI-0:1.6-2.module+el8.x86_64", &mut texts, &mut versions).expect("a NEVRA");
        let text = texts.id("perl-DBI");
        let name = versions.name(text, Scheme::Rpm);
        assert_eq!(read, (name, texts.id("x86_64"), versions.version(&mut texts, name, "1.6-2.module+el8")));
        assert!(nevra("a-0:1-1.src", &mut texts, &mut versions).is_none());
    }
}
