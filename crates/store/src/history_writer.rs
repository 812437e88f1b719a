//! Interns package sets inside a transaction of the caller: packages and classes that are new get their numbers.
//!
//! Begin, intern any number of sets, finish, commit, and only then remember. Writers hold the one row of
//! `history_state`, so that two servers never give a number twice and nothing is swept under a writer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use drydock_domain::inventory::Package;
use drydock_domain::inventory_history::{CHAIN_MAX, ClassId, PackageId, class, digest};
use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::error::{StoreError, StoreResult};
use crate::history_classes::{self, ClassRow, damaged};
use crate::history_memo::{Decoded, Interned, Memo, Recognised, Step};
use crate::row::{int, micros};
use crate::{history_packages, history_timelines, inventory};

/// Largest number given to a package or a class: what four bytes with a sign hold.
const NUMBER_MAX: i64 = i32::MAX as i64;
/// Rows deleted in one statement, count.
const DELETE_CHUNK_ROWS: usize = 1000;

/// A set and its class.
type Known = (Arc<[PackageId]>, ClassId);

/// A package set as it was reported.
#[derive(Debug, Clone)]
pub enum Reported {
    /// By [`Memo::recognise`].
    Recognised(Recognised),
    /// Checked packages.
    Parsed(Vec<Package>),
}

/// Interns package sets.
#[derive(Debug)]
pub struct Writer {
    memo: Memo,
    sweeps: i64,
    next_package: i64,
    next_class: i64,
    fresh_packages: HashMap<Box<[u8]>, Arc<Interned>>,
    fresh_classes: HashMap<ClassId, Arc<Decoded>>,
    /// Sets whose class is known, by digest; what shares a digest is compared.
    by_digest: HashMap<i64, Vec<Known>>,
}

/// What became known; remembered once it is committed.
#[derive(Debug)]
#[must_use = "forgotten knowledge costs time"]
pub struct Learnt {
    writer: Writer,
    fingerprints: Vec<String>,
    steps: Vec<((ClassId, ClassId), Step)>,
}

impl Learnt {
    /// The bodies with these fingerprints are stored, too.
    pub fn stored(&mut self, fingerprints: impl IntoIterator<Item = String>) {
        self.fingerprints.extend(fingerprints);
    }

    /// Steps between classes that were taken.
    pub fn stepped(&mut self, steps: impl IntoIterator<Item = ((ClassId, ClassId), Step)>) {
        self.steps.extend(steps);
    }

    /// After the commit.
    pub fn remember(self) {
        let Writer { memo, sweeps, fresh_packages, fresh_classes, .. } = self.writer;
        memo.add_fingerprints(sweeps, self.fingerprints);
        memo.add_packages(sweeps, fresh_packages.into_values());
        memo.add_classes(sweeps, fresh_classes);
        memo.add_steps(sweeps, self.steps);
    }
}

impl Writer {
    /// Holds the history until the transaction ends, and says that it changes (as [`history_timelines::note`] does).
    pub async fn begin(c: &mut AnyConnection, memo: &Memo) -> StoreResult<Self> {
        let row = sqlx::query(
            "UPDATE history_state SET swept_at = swept_at + 1 WHERE id = 1 RETURNING next_package, next_class, sweeps",
        )
        .fetch_one(c)
        .await
        .map_err(StoreError::query("hold the inventory history"))?;
        let sweeps = int(&row, "sweeps")?;
        memo.check(sweeps);
        Ok(Writer {
            memo: memo.clone(),
            sweeps,
            next_package: int(&row, "next_package")?,
            next_class: int(&row, "next_class")?,
            fresh_packages: HashMap::new(),
            fresh_classes: HashMap::new(),
            by_digest: HashMap::new(),
        })
    }

    /// The ids of some sets, each ascending, in the order given.
    pub async fn intern(&mut self, c: &mut AnyConnection, sets: Vec<Reported>) -> StoreResult<Vec<Arc<[PackageId]>>> {
        let mut lists: Vec<Vec<Result<PackageId, Box<[u8]>>>> = Vec::with_capacity(sets.len());
        let mut missing: HashMap<Box<[u8]>, Package> = HashMap::new();
        for set in sets {
            let (known, packages) = match set {
                Reported::Recognised(found) if found.sweeps == self.sweeps => (found.ids, found.new),
                Reported::Recognised(stale) => (Vec::new(), stale.parse()?),
                Reported::Parsed(packages) => (Vec::new(), packages),
            };
            let mut list: Vec<_> = known.into_iter().map(Ok).collect();
            for package in packages {
                let json = Interned::new(PackageId(0), package)?;
                let fresh = self.fresh_packages.get(&json.json).map(|p| p.id);
                list.push(fresh.or_else(|| self.memo.by_json(&json.json)).ok_or_else(|| json.json.clone()));
                if list.last().is_some_and(Result::is_err) {
                    missing.insert(json.json, json.package);
                }
            }
            lists.push(list);
        }
        self.learn(c, missing).await?;
        let number = |entry: Result<PackageId, Box<[u8]>>| match entry {
            Ok(id) => Ok(id),
            Err(json) => self.fresh_packages.get(&json).map(|p| p.id).ok_or_else(lost),
        };
        let mut out = Vec::with_capacity(lists.len());
        for list in lists {
            let mut ids = list.into_iter().map(number).collect::<StoreResult<Vec<_>>>()?;
            ids.sort_unstable();
            ids.dedup();
            out.push(ids.into());
        }
        Ok(out)
    }

    /// Finds or adds packages that are not remembered.
    async fn learn(&mut self, c: &mut AnyConnection, missing: HashMap<Box<[u8]>, Package>) -> StoreResult<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let mut stored = history_packages::find(c, &missing.values().collect::<Vec<_>>()).await?;
        let mut added = Vec::new();
        // In one order everywhere, so that numbers do not depend on a hash.
        let mut missing: Vec<_> = missing.into_iter().collect();
        missing.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        for (json, package) in missing {
            let id = match stored.remove(&package) {
                Some(id) => id,
                None => {
                    let id = PackageId(take_number(&mut self.next_package, "package")?);
                    added.push((id, package.clone()));
                    id
                }
            };
            self.fresh_packages.insert(json.clone(), Arc::new(Interned { id, package, json }));
        }
        history_packages::insert(c, &added).await
    }

    /// The classes of some sets, each with the class its host had before, in the order given.
    pub async fn classes(
        &mut self,
        c: &mut AnyConnection,
        sets: &[(Arc<[PackageId]>, Option<ClassId>)],
    ) -> StoreResult<Vec<ClassId>> {
        let digests: Vec<i64> = sets.iter().map(|(ids, _)| digest::class(ids)).collect();
        let mut open: HashMap<i64, Vec<usize>> = HashMap::new();
        for (n, (ids, _)) in sets.iter().enumerate() {
            let same = open.entry(digests[n]).or_default();
            if self.class_of(digests[n], ids).is_none() && !same.iter().any(|m| sets[*m].0 == *ids) {
                same.push(n);
            }
        }
        let mut open: Vec<usize> = open.into_values().flatten().collect();
        open.sort_unstable();
        let candidates = history_classes::find(c, &open.iter().map(|n| digests[*n]).collect::<Vec<_>>()).await?;
        let bases = open.iter().filter_map(|n| sets[*n].1);
        let decoded = self.decoded(c, candidates.iter().copied().chain(bases).collect()).await?;
        for id in candidates {
            if let Some(class) = decoded.get(&id) {
                let ids: Arc<[PackageId]> = Arc::from(&class.ids[..]);
                self.by_digest.entry(digest::class(&ids)).or_default().push((ids, id));
            }
        }
        let mut added = Vec::new();
        for n in open {
            let (ids, base) = &sets[n];
            if self.class_of(digests[n], ids).is_some() {
                continue;
            }
            let base = base.and_then(|id| Some((id, decoded.get(&id)?))).filter(|(_, class)| class.depth < CHAIN_MAX);
            let coded = class::encode(ids, base.map(|(_, class)| &class.ids[..]));
            let base = base.filter(|_| coded.on_base);
            let depth = base.map_or(0, |(_, class)| class.depth + 1);
            let id = ClassId(take_number(&mut self.next_class, "class")?);
            added.push((id, digests[n], ClassRow { base: base.map(|(id, _)| id), depth, ids: coded.bytes }));
            self.fresh_classes.insert(id, Arc::new(Decoded { depth, ids: Arc::new(ids.to_vec()) }));
            self.by_digest.entry(digests[n]).or_default().push((Arc::clone(ids), id));
        }
        history_classes::insert(c, &added).await?;
        sets.iter().zip(digests).map(|((ids, _), digest)| self.class_of(digest, ids).ok_or_else(lost)).collect()
    }

    fn class_of(&self, digest: i64, ids: &[PackageId]) -> Option<ClassId> {
        self.by_digest.get(&digest)?.iter().find(|(known, _)| **known == *ids).map(|(_, class)| *class)
    }

    /// The ids of classes, of which some may be new in this transaction.
    pub async fn ids(
        &mut self,
        c: &mut AnyConnection,
        wanted: BTreeSet<ClassId>,
    ) -> StoreResult<BTreeMap<ClassId, Arc<Vec<PackageId>>>> {
        let decoded = self.decoded(c, wanted).await?;
        Ok(decoded.into_iter().map(|(id, class)| (id, Arc::clone(&class.ids))).collect())
    }

    async fn decoded(
        &mut self,
        c: &mut AnyConnection,
        wanted: BTreeSet<ClassId>,
    ) -> StoreResult<BTreeMap<ClassId, Arc<Decoded>>> {
        let mut out = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for id in wanted {
            match self.fresh_classes.get(&id).cloned().or_else(|| self.memo.class(id)) {
                Some(class) => drop(out.insert(id, class)),
                None => drop(missing.insert(id)),
            }
        }
        if missing.is_empty() {
            return Ok(out);
        }
        let mut all: BTreeMap<ClassId, Arc<Decoded>> = BTreeMap::new();
        for (id, row) in history_classes::rows(c, &missing).await? {
            let base = row.base.and_then(|base| all.get(&base)).map(|class| &class.ids[..]);
            let ids = class::decode(&row.ids, base).map_err(damaged)?;
            all.insert(id, Arc::new(Decoded { depth: row.depth, ids: Arc::new(ids) }));
        }
        for (id, class) in all {
            if missing.contains(&id) {
                self.fresh_classes.insert(id, Arc::clone(&class));
                out.insert(id, class);
            }
        }
        Ok(out)
    }

    /// Packages by number, of which some may be new in this transaction.
    pub async fn packages(
        &mut self,
        c: &mut AnyConnection,
        wanted: &BTreeSet<PackageId>,
    ) -> StoreResult<HashMap<PackageId, Arc<Interned>>> {
        let mut out: HashMap<PackageId, Arc<Interned>> = HashMap::with_capacity(wanted.len());
        for package in self.fresh_packages.values().filter(|p| wanted.contains(&p.id)) {
            out.insert(package.id, Arc::clone(package));
        }
        let rest = wanted.iter().copied().filter(|id| !out.contains_key(id)).collect::<Vec<_>>();
        let missing = self.memo.remembered(&rest, &mut out);
        for (id, package) in history_packages::by_ids(c, &missing).await? {
            let interned = Arc::new(Interned::new(id, package)?);
            self.fresh_packages.insert(interned.json.clone(), Arc::clone(&interned));
            out.insert(id, interned);
        }
        Ok(out)
    }

    /// Writes which numbers were given out. Commit, then [`Learnt::remember`].
    pub async fn finish(self, c: &mut AnyConnection) -> StoreResult<Learnt> {
        sqlx::query("UPDATE history_state SET next_package = $1, next_class = $2 WHERE id = 1")
            .bind(self.next_package)
            .bind(self.next_class)
            .execute(c)
            .await
            .map_err(StoreError::query("note the numbers given to packages"))?;
        Ok(Learnt { writer: self, fingerprints: Vec::new(), steps: Vec::new() })
    }
}

/// What a sweep forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Classes that no history and no stored section names.
    pub classes: usize,
    /// Packages that no class has.
    pub packages: usize,
}

/// Forgets classes that nothing names and packages that no class has, if that was not done since `unless_since`. Reads
/// every class (some 60,000 for a year of 10,000 hosts, a few tenths of a second), so it is for once a day.
pub async fn sweep(c: &mut AnyConnection, unless_since: Timestamp, now: Timestamp) -> StoreResult<Option<Swept>> {
    let due = sqlx::query("UPDATE history_state SET swept_at = $1 WHERE id = 1 AND swept_at <= $2")
        .bind(micros(now))
        .bind(micros(unless_since))
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("hold the inventory history"))?;
    if due.rows_affected() == 0 {
        return Ok(None);
    }
    let mut used = history_timelines::classes(c).await?;
    used.extend(inventory::referenced_classes(c).await?);
    let rows = history_classes::every(c).await?;
    let mut packages: BTreeSet<PackageId> = BTreeSet::new();
    let mut gone_classes = Vec::new();
    // The newest first: whoever stands on a class is newer than it.
    for (id, row) in rows.iter().rev() {
        if used.contains(id) {
            used.extend(row.base);
            packages.extend(class::named(&row.ids).map_err(damaged)?);
        } else {
            gone_classes.push(i64::from(id.0));
        }
    }
    let stored = history_packages::numbers(c).await?;
    let gone_packages: Vec<i64> = stored.into_iter().filter(|id| !packages.contains(id)).map(|id| i64::from(id.0)).collect();
    let swept = Swept { classes: gone_classes.len(), packages: gone_packages.len() };
    for chunk in gone_classes.chunks(DELETE_CHUNK_ROWS) {
        history_classes::delete(c, chunk).await?;
    }
    for chunk in gone_packages.chunks(DELETE_CHUNK_ROWS) {
        history_packages::delete(c, chunk).await?;
    }
    if swept != Swept::default() {
        sqlx::query("UPDATE history_state SET sweeps = sweeps + 1 WHERE id = 1")
            .execute(c)
            .await
            .map_err(StoreError::query("note that inventory history was forgotten"))?;
    }
    Ok(Some(swept))
}

fn take_number(next: &mut i64, what: &'static str) -> StoreResult<u32> {
    let full = || StoreError::Row { column: "history_state", problem: format!("every number for a {what} is given out") };
    let number = u32::try_from(*next).ok().filter(|_| *next <= NUMBER_MAX).ok_or_else(full)?;
    *next += 1;
    Ok(number)
}

fn lost() -> StoreError {
    StoreError::Row { column: "digest", problem: "what was just stored is not there".to_owned() }
}
