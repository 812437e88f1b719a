//! The tables every computation reads: texts, versions, installed and available packages, lots, snapshots, advisories. They only grow,
//! except that snapshots and advisories are taken out.

use super::advisories::Advisories;
use super::intern::{IdMap, IdSet, NONE, Name, Text, Texts, Version, Versions, small};
use super::snapshot::{AvailableTable, Snapshot, source_of};
use crate::inventory::Package;
use crate::version::Scheme;

/// An installed package, interned.
pub type PackageKey = u32;
/// All installed packages of one name on one host, interned: several for kernels and for foreign architectures. A host is a set of
/// lots; what follows from a lot is computed once for all hosts that have it.
pub(super) type LotId = u32;
/// A snapshot's place.
pub(super) type RootId = u32;

/// What decides about an installed package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Installed {
    pub name: Name,
    pub arch: Text,
    pub version: Version,
    pub source: Name,
    pub source_version: Version,
    pub vendor: Text,
    /// rpm: its release says that it was built for a module.
    pub modular: bool,
}

/// A lot.
#[derive(Debug)]
pub(super) struct Lot {
    pub name: Name,
    pub packages: Box<[PackageKey]>,
    /// Is it about kernels, of which the running one counts?
    pub kernel: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tables {
    pub texts: Texts,
    pub versions: Versions,
    pub noarch: Text,
    pub all: Text,
    pub available: AvailableTable,
    pub installed: Vec<Installed>,
    installed_ids: IdMap<Installed, PackageKey>,
    pub lots: Vec<Lot>,
    lot_ids: IdMap<Box<[PackageKey]>, LotId>,
    /// Lot of one package alone.
    single: Vec<LotId>,
    pub lots_by_name: IdMap<Name, Vec<LotId>>,
    /// By the source of one of their packages, where that is another name.
    pub lots_by_source: IdMap<Name, Vec<LotId>>,
    pub roots: IdMap<Text, RootId>,
    pub root_names: Vec<Text>,
    /// By [`RootId`]; absent when it was taken out or never put.
    pub snapshots: Vec<Option<(Scheme, Snapshot)>>,
    pub advisories: Advisories,
}

impl Default for Tables {
    fn default() -> Self {
        let mut texts = Texts::default();
        let (noarch, all) = (texts.id("noarch"), texts.id("all"));
        Tables {
            texts,
            noarch,
            all,
            versions: Versions::default(),
            available: AvailableTable::default(),
            installed: Vec::new(),
            installed_ids: IdMap::default(),
            lots: Vec::new(),
            lot_ids: IdMap::default(),
            single: Vec::new(),
            lots_by_name: IdMap::default(),
            lots_by_source: IdMap::default(),
            roots: IdMap::default(),
            root_names: Vec::new(),
            snapshots: Vec::new(),
            advisories: Advisories::default(),
        }
    }
}

impl Tables {
    pub fn installed(&self, key: PackageKey) -> &Installed {
        &self.installed[key as usize]
    }

    pub fn name_text(&self, name: Name) -> &str {
        self.texts.get(self.versions.name_text(name))
    }

    pub fn version_text(&self, version: Version) -> &str {
        if version == NONE { "" } else { self.texts.get(self.versions.text(version)) }
    }

    /// Interns an installed package.
    pub fn package(&mut self, scheme: Scheme, p: &Package) -> PackageKey {
        let text = self.texts.id(&p.name);
        let name = self.versions.name(text, scheme);
        let version = self.versions.version(&mut self.texts, name, &p.version);
        let (source_name, source_version) = split_source(scheme, &p.source);
        let (source, source_version) =
            source_of(scheme, (&p.name, &p.version), source_name, source_version, &mut self.texts, &mut self.versions);
        let fact = Installed {
            name,
            arch: self.texts.id(&p.arch),
            version,
            source,
            source_version,
            vendor: self.texts.id(&p.vendor),
            modular: scheme == Scheme::Rpm && p.version.contains(".module"),
        };
        self.intern_installed(fact)
    }

    pub fn intern_installed(&mut self, fact: Installed) -> PackageKey {
        let next = small(self.installed.len());
        let key = *self.installed_ids.entry(fact).or_insert(next);
        if key == next {
            self.installed.push(fact);
            self.single.push(NONE);
        }
        key
    }

    /// Interns a lot: packages of one name, sorted.
    pub fn lot(&mut self, packages: &[PackageKey]) -> LotId {
        if let [one] = packages
            && self.single[*one as usize] != NONE
        {
            return self.single[*one as usize];
        }
        if let Some(id) = self.lot_ids.get(packages) {
            return *id;
        }
        let id = small(self.lots.len());
        let name = packages.first().map_or(NONE, |p| self.installed(*p).name);
        let kernel = kernel_name(self.versions.scheme(name), self.name_text(name));
        let mut sources: IdSet<Name> = packages.iter().map(|p| self.installed(*p).source).collect();
        sources.remove(&name);
        self.lots.push(Lot { name, packages: packages.into(), kernel });
        self.lots_by_name.entry(name).or_default().push(id);
        for source in sources {
            self.lots_by_source.entry(source).or_default().push(id);
        }
        if let [one] = packages {
            self.single[*one as usize] = id;
        } else {
            self.lot_ids.insert(packages.into(), id);
        }
        id
    }

    /// The lots of a package set, sorted.
    pub fn lots_of(&mut self, packages: &[PackageKey]) -> Box<[LotId]> {
        let mut sorted: Vec<PackageKey> = packages.to_vec();
        sorted.sort_unstable_by_key(|p| (self.installed(*p).name, *p));
        sorted.dedup();
        let mut out = Vec::with_capacity(sorted.len());
        let mut rest = sorted.as_slice();
        while let Some(first) = rest.first() {
            let name = self.installed(*first).name;
            let len = rest.iter().position(|p| self.installed(*p).name != name).unwrap_or(rest.len());
            let (lot, tail) = rest.split_at(len);
            out.push(self.lot(lot));
            rest = tail;
        }
        out.sort_unstable();
        out.into()
    }

    pub fn root(&mut self, root: &str) -> RootId {
        let text = self.texts.id(root);
        let next = small(self.snapshots.len());
        let id = *self.roots.entry(text).or_insert(next);
        if id == next {
            self.snapshots.push(None);
            self.root_names.push(text);
        }
        id
    }

    pub fn find_root(&self, root: &str) -> Option<RootId> {
        self.texts.find(root).and_then(|text| self.roots.get(&text).copied())
    }

    pub fn snapshot(&self, root: RootId) -> Option<&Snapshot> {
        self.snapshots.get(root as usize)?.as_ref().map(|(_, s)| s)
    }

    /// Does a lot hold packages of this source?
    pub fn lots_of_source(&self, source: Name) -> impl Iterator<Item = LotId> + '_ {
        let by = |map: &IdMap<Name, Vec<LotId>>| map.get(&source).cloned().unwrap_or_default();
        by(&self.lots_by_source).into_iter().chain(by(&self.lots_by_name))
    }
}

/// Reads `openssl 3.0.1-1` or `openssl 3.0.1-1` without version (deb), `openssl-3.0.1-1.src.rpm` (rpm).
fn split_source(scheme: Scheme, source: &str) -> (&str, &str) {
    match scheme {
        Scheme::Deb => {
            let (name, version) = source.split_once(' ').unwrap_or((source, ""));
            (name, version.trim_start_matches('(').trim_end_matches(')'))
        }
        Scheme::Rpm => {
            let stem = source.strip_suffix(".rpm").unwrap_or(source);
            let stem = stem.strip_suffix(".src").or_else(|| stem.strip_suffix(".nosrc")).unwrap_or(stem);
            let Some(release) = stem.rfind('-') else { return (stem, "") };
            match stem[..release].rfind('-') {
                Some(at) => (&stem[..at], &stem[at + 1..]),
                None => (stem, ""),
            }
        }
    }
}

/// Is this a package of which the one that runs counts, not every one that lies on the disk?
fn kernel_name(scheme: Scheme, name: &str) -> bool {
    match scheme {
        Scheme::Rpm => name == "kernel" || name.starts_with("kernel-"),
        Scheme::Deb => ["linux-image-", "linux-modules-", "linux-headers-", "linux-image-unsigned-", "linux-modules-extra-"]
            .iter()
            .any(|p| name.strip_prefix(p).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (scheme, text, want) in [
            (Scheme::Deb, "openssl 3.0.1-1", ("openssl", "3.0.1-1")),
            (Scheme::Deb, "openssl (3.0.1-1)", ("openssl", "3.0.1-1")),
            (Scheme::Deb, "openssl", ("openssl", "")),
            (Scheme::Deb, "", ("", "")),
            (Scheme::Rpm, "perl-DBI-1.6-2.el8.src.rpm", ("perl-DBI", "1.6-2.el8")),
            (Scheme::Rpm, "odd", ("odd", "")),
        ] {
            assert_eq!(split_source(scheme, text), want, "{text}");
        }
    }

    #[test]
    fn a_host_is_a_set_of_lots() {
        let mut tables = Tables::default();
        let mut key = |name: &str, version: &str| {
            let p = Package { name: name.into(), arch: "x86_64".into(), version: version.into(), ..Package::default() };
            tables.package(Scheme::Rpm, &p)
        };
        let (k1, k2, bash) = (key("kernel", "1-1"), key("kernel", "2-1"), key("bash", "5-1"));
        let lots = tables.lots_of(&[k2, bash, k1, bash]);
        assert_eq!(lots.len(), 2);
        assert_eq!(tables.lots_of(&[bash, k1, k2]), lots);
        assert_ne!(tables.lots_of(&[bash, k1]), lots);
    }
}
