//! What this process remembers of interned packages and classes, so that a report that holds nothing new costs no look
//! at the database. Rows never change, so a memory is right until rows are forgotten: every transaction that writes
//! history compares [`Memo`]'s count of sweeps with the stored one first.
//!
//! Bounded: [`PACKAGES_MAX`] packages (some 40 MB), [`CLASSES_MAX`] classes (some 10 MB). Absent: anything that is not
//! committed.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use drydock_domain::inventory::{Package, PackageSet};
use drydock_domain::inventory_history::{ClassId, PackageId};
use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::{history_classes, history_packages};

/// Packages remembered, count; at more, all are forgotten and learnt anew.
pub const PACKAGES_MAX: usize = 200_000;
/// Decoded classes remembered, count, in each of two generations.
pub const CLASSES_MAX: usize = 2000;

/// A package with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interned {
    /// Its number.
    pub id: PackageId,
    /// Itself.
    pub package: Package,
    /// Its canonical JSON.
    pub json: Box<[u8]>,
}

impl Interned {
    pub(crate) fn new(id: PackageId, package: Package) -> StoreResult<Self> {
        let json = serde_json::to_vec(&package).map_err(|source| StoreError::Encode { what: "a package", source })?;
        Ok(Interned { id, package, json: json.into_boxed_slice() })
    }
}

/// A reported package set whose every package was known.
#[derive(Debug, Clone)]
pub struct Recognised {
    pub(crate) sweeps: i64,
    pub(crate) packages: Vec<Arc<Interned>>,
}

impl Recognised {
    /// The packages, sorted.
    pub fn packages(&self) -> &[Arc<Interned>] {
        &self.packages
    }
}

/// A class, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) depth: u32,
    pub(crate) ids: Vec<PackageId>,
}

/// The memory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Memo(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    packages: RwLock<Packages>,
    classes: Mutex<Classes>,
}

#[derive(Debug, Default)]
struct Packages {
    sweeps: i64,
    by_id: HashMap<PackageId, Arc<Interned>>,
    by_json: HashSet<ByJson>,
}

#[derive(Debug, Default)]
struct Classes {
    new: HashMap<ClassId, Arc<Decoded>>,
    old: HashMap<ClassId, Arc<Decoded>>,
}

#[derive(Debug)]
struct ByJson(Arc<Interned>);

impl Borrow<[u8]> for ByJson {
    fn borrow(&self) -> &[u8] {
        &self.0.json
    }
}

impl Hash for ByJson {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.json.hash(state);
    }
}

impl PartialEq for ByJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.json == other.0.json
    }
}

impl Eq for ByJson {}

impl Memo {
    /// Reads a package section without parsing it: `Some` when it is canonical JSON made of packages that are all known
    /// here, which is what nearly every report is. `None` says nothing; it must be parsed and checked.
    pub fn recognise(&self, body: &[u8]) -> Option<Recognised> {
        let inner = body.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let known = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        let mut packages: Vec<Arc<Interned>> = Vec::with_capacity(inner.len() / 96);
        let mut start = 0;
        let ends = memchr::memmem::find_iter(inner, b"},{").map(|at| at + 1).chain([inner.len()]);
        for end in ends {
            if inner.is_empty() {
                break;
            }
            let next = &known.by_json.get(inner.get(start..end)?)?.0;
            if packages.last().is_some_and(|last| last.package >= next.package) {
                return None;
            }
            packages.push(Arc::clone(next));
            start = end + 1;
        }
        Some(Recognised { sweeps: known.sweeps, packages })
    }

    /// Adds what is remembered of `ids` to `found`; returns the rest.
    pub(crate) fn remembered(&self, ids: &[PackageId], found: &mut HashMap<PackageId, Arc<Interned>>) -> Vec<PackageId> {
        let known = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        for id in ids {
            match known.by_id.get(id) {
                Some(package) => drop(found.insert(*id, Arc::clone(package))),
                None => missing.push(*id),
            }
        }
        missing
    }

    /// Packages by number, in that order: from memory, else from the database. Not for a connection that is writing:
    /// what it reads is remembered.
    pub async fn packages(&self, c: &mut AnyConnection, ids: &[PackageId]) -> StoreResult<Vec<Arc<Interned>>> {
        let mut found = HashMap::with_capacity(ids.len());
        let missing = self.remembered(ids, &mut found);
        if !missing.is_empty() {
            let sweeps = history_packages::sweeps(c).await?;
            let mut learnt = Vec::with_capacity(missing.len());
            for (id, package) in history_packages::by_ids(c, &missing).await? {
                learnt.push(Arc::new(Interned::new(id, package)?));
            }
            found.extend(learnt.iter().map(|p| (p.id, Arc::clone(p))));
            self.add_packages(sweeps, learnt);
        }
        let one = |id: &PackageId| {
            let gone = || StoreError::Row { column: "ids", problem: format!("there is no package {}", id.0) };
            found.get(id).cloned().ok_or_else(gone)
        };
        ids.iter().map(one).collect()
    }

    /// The packages of a class. Not for a connection that is writing.
    pub async fn set(&self, c: &mut AnyConnection, class: ClassId) -> StoreResult<PackageSet> {
        let ids = match self.class(class) {
            Some(known) => known.ids.clone(),
            None => history_classes::decode(c, &[class].into()).await?.remove(&class).unwrap_or_default(),
        };
        let packages = self.packages(c, &ids).await?;
        Ok(PackageSet::new(packages.iter().map(|p| p.package.clone()).collect()))
    }

    /// The package with this canonical JSON.
    pub(crate) fn by_json(&self, json: &[u8]) -> Option<Arc<Interned>> {
        let known = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        known.by_json.get(json).map(|found| Arc::clone(&found.0))
    }

    /// Forgets everything unless nothing was swept since it was learnt.
    pub(crate) fn check(&self, sweeps: i64) {
        let mut packages = self.0.packages.write().unwrap_or_else(PoisonError::into_inner);
        if packages.sweeps != sweeps {
            *packages = Packages { sweeps, ..Packages::default() };
            *self.classes() = Classes::default();
        }
    }

    /// Remembers committed packages, as of a count of sweeps.
    pub(crate) fn add_packages(&self, sweeps: i64, packages: impl IntoIterator<Item = Arc<Interned>>) {
        let mut known = self.0.packages.write().unwrap_or_else(PoisonError::into_inner);
        if known.sweeps != sweeps {
            return;
        }
        if known.by_id.len() > PACKAGES_MAX {
            *known = Packages { sweeps, ..Packages::default() };
        }
        for package in packages {
            known.by_json.insert(ByJson(Arc::clone(&package)));
            known.by_id.insert(package.id, package);
        }
    }

    pub(crate) fn class(&self, id: ClassId) -> Option<Arc<Decoded>> {
        let mut classes = self.classes();
        if let Some(found) = classes.new.get(&id) {
            return Some(Arc::clone(found));
        }
        let found = classes.old.get(&id).cloned()?;
        classes.put(id, Arc::clone(&found));
        Some(found)
    }

    /// Remembers committed classes, as of a count of sweeps.
    pub(crate) fn add_classes(&self, sweeps: i64, decoded: impl IntoIterator<Item = (ClassId, Arc<Decoded>)>) {
        let packages = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        if packages.sweeps == sweeps {
            let mut classes = self.classes();
            for (id, class) in decoded {
                classes.put(id, class);
            }
        }
    }

    fn classes(&self) -> MutexGuard<'_, Classes> {
        self.0.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Classes {
    fn put(&mut self, id: ClassId, class: Arc<Decoded>) {
        if self.new.len() >= CLASSES_MAX {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(id, class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package { name: name.into(), arch: "x".into(), version: "1".into(), source: String::new(), vendor: String::new() }
    }

    fn memo(names: &[&str]) -> Memo {
        let memo = Memo::default();
        let interned = |(n, name): (usize, &&str)| {
            Arc::new(Interned::new(PackageId(u32::try_from(n).expect("small")), package(name)).expect("JSON"))
        };
        memo.add_packages(0, names.iter().enumerate().map(interned));
        memo
    }

    #[test]
    fn a_canonical_body_of_known_packages_is_recognised_and_no_other() {
        let memo = memo(&["a", "b", "},{", "c"]);
        let body = |names: &[&str]| serde_json::to_vec(&names.iter().map(|n| package(n)).collect::<Vec<_>>()).expect("JSON");
        let ids = |body: &[u8]| memo.recognise(body).map(|r| r.packages.iter().map(|p| p.id.0).collect::<Vec<_>>());
        assert_eq!(ids(&body(&["a", "b", "c"])), Some(vec![0, 1, 3]));
        assert_eq!(ids(b"[]"), Some(vec![]));
        for other in [&["b", "a"][..], &["a", "a"], &["a", "new"], &["},{"]] {
            assert_eq!(ids(&body(other)), None, "{other:?}");
        }
        for garbage in [&b""[..], b"[", b"]", b"{}", b"[{}]", b"[,]", b"[}{},{]"] {
            assert_eq!(ids(garbage), None);
        }
        let mut spaced = body(&["a"]);
        spaced.insert(1, b' ');
        assert_eq!(ids(&spaced), None, "not canonical");
        assert_eq!(PackageSet::new(vec![package("b"), package("a")]).as_slice()[0].name, "a", "sorted by name first");
    }

    #[test]
    fn after_a_sweep_nothing_is_known() {
        let memo = memo(&["a"]);
        memo.check(0);
        assert!(memo.by_json(&serde_json::to_vec(&package("a")).expect("JSON")).is_some());
        memo.check(1);
        assert!(memo.by_json(&serde_json::to_vec(&package("a")).expect("JSON")).is_none());
        memo.add_packages(0, [Arc::new(Interned::new(PackageId(9), package("z")).expect("JSON"))]);
        assert!(memo.by_json(&serde_json::to_vec(&package("z")).expect("JSON")).is_none(), "learnt before it");
    }
}
