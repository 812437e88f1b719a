//! What this process remembers of interned packages and classes, so that a report that holds nothing new costs no look
//! at the database. Rows never change, so a memory is right until rows are forgotten: every transaction that writes
//! history compares [`Memo`]'s count of sweeps with the stored one first.
//!
//! Bounded: [`PACKAGES_MAX`] packages (some 80 MB), twice [`CLASSES_MAX`] classes (some 30 MB), one short row a host. Absent: anything that is not
//! committed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Package, PackageSet, SectionKind, check_body};
use drydock_domain::inventory_history::timeline::class_at;
use drydock_domain::inventory_history::{ClassId, PackageId, class};
use drydock_domain::limits::PACKAGES_MAX as PACKAGES_PER_HOST;
use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::{history_classes, history_packages, history_timelines};

/// Packages remembered, count; at more, all are forgotten and learnt anew.
pub const PACKAGES_MAX: usize = 200_000;
/// Decoded classes remembered, count, in each of two generations.
pub const CLASSES_MAX: usize = 6000;
/// Fingerprints of stored package sets remembered, count (some 100 bytes each); at more, all are forgotten.
pub const FINGERPRINTS_MAX: usize = 50_000;

/// Steps from class to class remembered, count (some 10 kB each, 50 kB at most); at more, all are forgotten.
pub const STEPS_MAX: usize = 1000;

/// What a step from one class to another changes: how many packages, and the first changes as they are stored.
pub type Step = (u32, Arc<str>);

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

/// A reported package set, of which most packages were known.
#[derive(Debug, Clone)]
pub struct Recognised {
    pub(crate) sweeps: i64,
    /// Known packages, as of that count of sweeps.
    pub(crate) ids: Vec<PackageId>,
    /// The others.
    pub(crate) new: Vec<Package>,
    body: Arc<Vec<u8>>,
}

impl Recognised {
    /// The whole set, from what was reported.
    pub(crate) fn parse(&self) -> StoreResult<Vec<Package>> {
        let bad = |e: serde_json::Error| StoreError::Row { column: "body", problem: e.to_string() };
        serde_json::from_slice::<PackageSet>(&self.body).map(PackageSet::into_vec).map_err(bad)
    }
}

/// A class, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) depth: u32,
    pub(crate) ids: Arc<Vec<PackageId>>,
}

/// The histories of all hosts as they are stored, one after the other.
#[derive(Debug, Default)]
struct Lines {
    /// As of this state of the histories.
    stamp: (i64, i64),
    /// Each host, and where its history ends in `bytes`; it begins where the one before ends.
    hosts: Vec<(InstanceId, usize)>,
    bytes: Vec<u8>,
}

/// The memory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Memo(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    packages: RwLock<Packages>,
    classes: Mutex<Classes>,
    lines: Mutex<Option<Arc<Lines>>>,
}

/// Packages by number and by JSON. The JSON of all of them is one text, in which what was learnt together stands together:
/// the packages of a report are found nearly in the order in which they lie in memory.
#[derive(Debug, Default)]
struct Packages {
    sweeps: i64,
    by_id: HashMap<PackageId, Arc<Interned>>,
    hasher: foldhash::fast::RandomState,
    by_json: HashMap<u64, Place, Plain>,
    text: Vec<u8>,
}

/// Where a package's JSON is.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    len: u16,
    id: PackageId,
}

/// A key that is a hash already.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl BuildHasher for Plain {
    type Hasher = Kept;

    fn build_hasher(&self) -> Kept {
        Kept(0)
    }
}

struct Kept(u64);

impl Hasher for Kept {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |n, byte| n.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

impl Packages {
    fn find(&self, json: &[u8]) -> Option<PackageId> {
        let place = self.by_json.get(&self.hasher.hash_one(json))?;
        let start = place.start as usize;
        (self.text.get(start..start + usize::from(place.len))? == json).then_some(place.id)
    }

    /// Two packages of one hash: the newer one is found from then on, the other is looked up in the database.
    fn add(&mut self, package: Arc<Interned>) {
        if let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u16::try_from(package.json.len()))
            && self.find(&package.json).is_none()
        {
            let hash = self.hasher.hash_one(&*package.json);
            self.text.extend_from_slice(&package.json);
            self.by_json.insert(hash, Place { start, len, id: package.id });
        }
        self.by_id.insert(package.id, package);
    }
}

#[derive(Debug, Default)]
struct Classes {
    new: HashMap<ClassId, Arc<Decoded>>,
    old: HashMap<ClassId, Arc<Decoded>>,
    /// By the fingerprint of the set's canonical JSON.
    by_fingerprint: HashSet<String>,
    steps: HashMap<(ClassId, ClassId), Step>,
}

impl Memo {
    /// Reads a package section without parsing more of it than is new: `Some` when it is canonical JSON of checked
    /// packages, which nearly every report is. `None` says nothing; it must be parsed and checked.
    pub fn recognise(&self, body: &Arc<Vec<u8>>) -> Option<Recognised> {
        let inner = body.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let mut ids = Vec::with_capacity(inner.len() / 96);
        let mut new: Vec<&[u8]> = Vec::new();
        let sweeps = {
            let known = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
            let mut last: Option<&[u8]> = None;
            let mut start = 0;
            let ends = memchr::memmem::find_iter(inner, b"},{").map(|at| at + 1).chain([inner.len()]);
            for end in ends {
                if inner.is_empty() {
                    break;
                }
                let json = inner.get(start..end)?;
                if !last.is_none_or(|last| follows(last, json)) {
                    return None;
                }
                match known.find(json) {
                    Some(id) => ids.push(id),
                    None => new.push(json),
                }
                last = Some(json);
                start = end + 1;
            }
            known.sweeps
        };
        if ids.len() + new.len() > PACKAGES_PER_HOST {
            return None;
        }
        let new = if new.is_empty() { Vec::new() } else { checked(&new)? };
        Some(Recognised { sweeps, ids, new, body: Arc::clone(body) })
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

    /// Classes, decoded: from memory, else from the database. Not for a connection that is writing.
    pub async fn decode(
        &self,
        c: &mut AnyConnection,
        wanted: &BTreeSet<ClassId>,
    ) -> StoreResult<BTreeMap<ClassId, Arc<Vec<PackageId>>>> {
        let mut found: BTreeMap<ClassId, Arc<Decoded>> = BTreeMap::new();
        {
            let mut known = self.classes();
            found.extend(wanted.iter().filter_map(|id| Some((*id, known.get(*id)?))));
        }
        let missing: BTreeSet<ClassId> = wanted.iter().copied().filter(|id| !found.contains_key(id)).collect();
        if !missing.is_empty() {
            let sweeps = history_packages::sweeps(c).await?;
            let bases = std::sync::Mutex::new(BTreeMap::new());
            let has = |id: ClassId| {
                let base = found.get(&id).cloned().or_else(|| self.class(id));
                let held = base.map(|base| bases.lock().unwrap_or_else(PoisonError::into_inner).insert(id, base));
                held.is_some()
            };
            let rows = history_classes::rows_beside(c, &missing, has).await?;
            let mut learnt = bases.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (id, row) in rows {
                let base = row.base.and_then(|base| learnt.get(&base).or_else(|| found.get(&base)));
                let ids = class::decode(&row.ids, base.map(|base| &base.ids[..])).map_err(history_classes::damaged)?;
                learnt.insert(id, Arc::new(Decoded { depth: row.depth, ids: Arc::new(ids) }));
            }
            found.extend(learnt.iter().filter(|(id, _)| missing.contains(id)).map(|(id, class)| (*id, Arc::clone(class))));
            self.add_classes(sweeps, learnt);
        }
        Ok(found.into_iter().map(|(id, class)| (id, Arc::clone(&class.ids))).collect())
    }

    /// The packages of a class. Not for a connection that is writing.
    pub async fn set(&self, c: &mut AnyConnection, class: ClassId) -> StoreResult<PackageSet> {
        let ids = match self.class(class) {
            Some(known) => Arc::clone(&known.ids),
            None => Arc::new(history_classes::decode(c, &[class].into()).await?.remove(&class).unwrap_or_default()),
        };
        let packages = self.packages(c, &ids).await?;
        Ok(PackageSet::new(packages.iter().map(|p| p.package.clone()).collect()))
    }

    /// What every host had at a time: hosts whose history begins later are left out. The histories are read when one
    /// changed since the last time, some 4 MB of a year of 10,000 hosts.
    pub async fn fleet_at(&self, c: &mut AnyConnection, at: Timestamp) -> StoreResult<Vec<(InstanceId, ClassId)>> {
        // Taken first: what changes while they are read is found the next time.
        let stamp = history_timelines::stamp(c).await?;
        let known = self.lines().clone().filter(|lines| lines.stamp == stamp);
        let lines = match known {
            Some(lines) => lines,
            None => {
                let mut lines = Lines { stamp, ..Lines::default() };
                for (host, spans) in history_timelines::stored(c).await? {
                    lines.bytes.extend_from_slice(&spans);
                    lines.hosts.push((host, lines.bytes.len()));
                }
                let lines = Arc::new(lines);
                *self.lines() = Some(Arc::clone(&lines));
                lines
            }
        };
        let mut out = Vec::with_capacity(lines.hosts.len());
        let mut begin = 0;
        for (host, end) in &lines.hosts {
            let spans = lines.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            let class = class_at(spans, at.as_second()).map_err(history_timelines::damaged)?;
            out.extend(class.map(|class| (*host, class)));
        }
        Ok(out)
    }

    fn lines(&self) -> MutexGuard<'_, Option<Arc<Lines>>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The package with this canonical JSON.
    pub(crate) fn by_json(&self, json: &[u8]) -> Option<PackageId> {
        self.0.packages.read().unwrap_or_else(PoisonError::into_inner).find(json)
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
        // What was learnt together lies together, in the order of reports.
        let mut packages: Vec<_> = packages.into_iter().collect();
        packages.sort_unstable_by(|a, b| a.package.cmp(&b.package));
        for package in packages {
            known.add(package);
        }
    }

    pub(crate) fn class(&self, id: ClassId) -> Option<Arc<Decoded>> {
        self.classes().get(id)
    }

    /// Is this the fingerprint of a canonical package set that was checked and stored (and may be forgotten since)?
    pub fn was_stored(&self, fingerprint: &str) -> bool {
        self.classes().by_fingerprint.contains(fingerprint)
    }

    /// What a step from one class to another changes, if it was taken lately.
    pub fn step(&self, from: ClassId, to: ClassId) -> Option<Step> {
        self.classes().steps.get(&(from, to)).cloned()
    }

    /// Remembers steps between committed classes, as of a count of sweeps.
    pub(crate) fn add_steps(&self, sweeps: i64, steps: impl IntoIterator<Item = ((ClassId, ClassId), Step)>) {
        let packages = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        if packages.sweeps == sweeps {
            let mut classes = self.classes();
            for (step, changes) in steps {
                if classes.steps.len() >= STEPS_MAX {
                    classes.steps.clear();
                }
                classes.steps.insert(step, changes);
            }
        }
    }

    /// Remembers stored bodies, as of a count of sweeps.
    pub(crate) fn add_fingerprints(&self, sweeps: i64, stored: impl IntoIterator<Item = String>) {
        let packages = self.0.packages.read().unwrap_or_else(PoisonError::into_inner);
        if packages.sweeps == sweeps {
            let mut classes = self.classes();
            if classes.by_fingerprint.len() > FINGERPRINTS_MAX {
                classes.by_fingerprint.clear();
            }
            classes.by_fingerprint.extend(stored);
        }
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

/// Does the package of one JSON object come after that of another? Their names tell nearly always.
fn follows(last: &[u8], next: &[u8]) -> bool {
    match (name(last), name(next)) {
        (Some(a), Some(b)) if a != b => a < b,
        _ => {
            let read = |json| serde_json::from_slice::<Package>(json).ok();
            matches!((read(last), read(next)), (Some(a), Some(b)) if a < b)
        }
    }
}

/// The name in front of a package's canonical JSON; `None` where it is written with an escape.
fn name(json: &[u8]) -> Option<&[u8]> {
    let rest = json.strip_prefix(br#"{"name":""#)?;
    let name = rest.get(..memchr::memchr(b'"', rest)?)?;
    (memchr::memchr(b'\\', name).is_none()).then_some(name)
}

/// Packages that are new, if they are as a host may report them and canonical.
fn checked(new: &[&[u8]]) -> Option<Vec<Package>> {
    let body = [b"[", new.join(&b","[..]).as_slice(), b"]"].concat();
    let canonical = check_body(SectionKind::Packages, &body).ok()?;
    if canonical != body {
        return None;
    }
    serde_json::from_slice::<PackageSet>(&body).ok().map(PackageSet::into_vec)
}

impl Classes {
    fn get(&mut self, id: ClassId) -> Option<Arc<Decoded>> {
        if let Some(found) = self.new.get(&id) {
            return Some(Arc::clone(found));
        }
        let found = self.old.get(&id).cloned()?;
        self.put(id, Arc::clone(&found));
        Some(found)
    }

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
        let ids = |body: &[u8]| {
            let found = memo.recognise(&Arc::new(body.to_vec()))?;
            Some((found.ids.iter().map(|id| id.0).collect(), found.new.into_iter().map(|p| p.name).collect()))
        };
        let some = |ids: &[u32], new: &[&str]| Some((ids.to_vec(), new.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()));
        assert_eq!(ids(&body(&["a", "b", "c"])), some(&[0, 1, 3], &[]));
        assert_eq!(ids(&body(&["a", "a\\b", "new", "z"])), some(&[0], &["a\\b", "new", "z"]), "what is new is checked");
        assert_eq!(ids(b"[]"), some(&[], &[]));
        let long = "n".repeat(300);
        for other in [&["b", "a"][..], &["a", "a"], &["new", "a"], &["z", "new"], &["},{"], &[""], &["a", &long], &["a\u{7}"]] {
            assert_eq!(ids(&body(other)), None, "{other:?}");
        }
        for garbage in [&b""[..], b"[", b"]", b"{}", b"[{}]", b"[,]", b"[}{},{]", b"[{\"name\":\"x\"},{\"name\":\"x\"}]"] {
            assert_eq!(ids(garbage), None);
        }
        let mut spaced = body(&["a", "new"]);
        spaced.insert(1, b' ');
        assert_eq!(ids(&spaced), None, "not canonical");
        // Of one name the rest decides, as in a parsed set.
        let versions = |list: &[&str]| {
            let version = |v: &&str| Package { version: (*v).to_owned(), ..package("k") };
            serde_json::to_vec(&list.iter().map(version).collect::<Vec<_>>()).expect("JSON")
        };
        assert!(ids(&versions(&["1", "10", "2"])).is_some() && ids(&versions(&["2", "10"])).is_none());
        let mut with_source = package("k");
        with_source.source = "s".into();
        let both = |a: &Package, b: &Package| serde_json::to_vec(&[a, b]).expect("JSON");
        assert!(ids(&both(&package("k"), &with_source)).is_some() && ids(&both(&with_source, &package("k"))).is_none());
        assert_eq!(PackageSet::new(vec![package("b"), package("a")]).as_slice()[0].name, "a", "sorted by name first");
    }

    #[test]
    fn after_a_sweep_nothing_is_known() {
        let memo = memo(&["a"]);
        memo.check(0);
        assert!(memo.by_json(&serde_json::to_vec(&package("a")).expect("JSON")).is_some());
        memo.check(1);
        assert!(memo.by_json(&serde_json::to_vec(&package("a")).expect("JSON")).is_none());
        memo.add_steps(0, [((ClassId(1), ClassId(2)), (1, Arc::from("[]")))]);
        assert_eq!(memo.step(ClassId(1), ClassId(2)), None, "taken before it");
        memo.add_steps(1, [((ClassId(1), ClassId(2)), (1, Arc::from("[]")))]);
        assert_eq!(memo.step(ClassId(1), ClassId(2)), Some((1, Arc::from("[]"))));
        memo.add_packages(0, [Arc::new(Interned::new(PackageId(9), package("z")).expect("JSON"))]);
        assert!(memo.by_json(&serde_json::to_vec(&package("z")).expect("JSON")).is_none(), "learnt before it");
    }
}
