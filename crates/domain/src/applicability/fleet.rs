//! The fleet: inputs in, results out. Nothing is computed until [`Fleet::settle`], and then only what the inputs touched.
//!
//! Owned by one lock outside; queries need `&self` only. Absent on purpose: texts of advisories (the store has them), time, files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::advisories::{Advisories, From, Origin, Touched};
use super::class::{Class, Outcome, Scratch, known, unite};
use super::codec::BadState;
use super::env::{Env, EnvKey};
use super::facts::{SnapshotChange, SnapshotFacts, View};
use super::intern::{IdMap, IdSet, NONE, Text, small};
use super::snapshot::Snapshot;
use super::tables::{LotId, PackageKey, RootId, Tables};
use super::verdict::Verdict;
use crate::advisory::{Advisory, NameKind, Statement, Vulnerability};
use crate::host_rules::HostRules;
use crate::ids::InstanceId;
use crate::inventory::{OsFacts, Package};
use crate::version::Scheme;

/// What is known of a host.
#[derive(Debug, Clone, Copy)]
pub struct HostInput<'a> {
    /// System, release, architecture, package manager, running kernel.
    pub os: &'a OsFacts,
    /// Whose version rules.
    pub scheme: Scheme,
    /// Installed packages by [`Fleet::package`]; fastest when strictly ascending.
    pub packages: &'a [PackageKey],
    /// Its holds, locks, excludes, pins, module streams.
    pub rules: &'a HostRules,
    /// What it sees, in the order it gets them.
    pub views: &'a [View],
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Hosts whose updates, advisories or vulnerabilities are others than before; removed hosts are not in it.
    pub hosts_changed: Vec<InstanceId>,
    /// Classes that were united anew.
    pub classes_computed: usize,
}

#[derive(Debug)]
pub(super) struct PackageRoom {
    pub packages: Box<[PackageKey]>,
    pub lots: Arc<[LotId]>,
    pub classes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fleet {
    pub(super) tables: Tables,
    pub(super) envs: Vec<Option<Env>>,
    env_ids: HashMap<Arc<EnvKey>, u32>,
    env_classes: Vec<IdSet<u32>>,
    pub(super) sets: Vec<Option<PackageRoom>>,
    set_ids: IdMap<Box<[PackageKey]>, u32>,
    pub(super) classes: Vec<Option<Class>>,
    class_ids: IdMap<(u32, u32, Text), u32>,
    pub(super) hosts: HashMap<InstanceId, u32>,
    unused_envs: Vec<u32>,
    unused_sets: Vec<u32>,
    unused_classes: Vec<u32>,
    dirty: IdSet<u32>,
    /// Hosts that were put anew, with the digest of what they were shown before.
    moved: BTreeMap<InstanceId, Option<u64>>,
    scratch: Scratch,
}

impl Fleet {
    /// An empty fleet.
    pub fn new() -> Self {
        Fleet::default()
    }

    /// Puts a snapshot; one that is there stays as it is.
    pub fn put_snapshot(&mut self, root: &str, scheme: Scheme, facts: &SnapshotFacts) {
        let id = self.tables.root(root);
        if self.tables.snapshots[id as usize].is_some() {
            return;
        }
        let t = &mut self.tables;
        let snapshot = Snapshot::new(scheme, facts, &mut t.texts, &mut t.versions, &mut t.available);
        t.snapshots[id as usize] = Some((scheme, snapshot));
        self.stale_where(id);
    }

    /// Puts the next snapshot of a source by what differs from one that is there, with all that one says of advisories: what
    /// it says otherwise is put and removed then. `false`: that one is not there; one that is there already stays as it is.
    pub fn put_snapshot_after(&mut self, root: &str, base: &str, change: &SnapshotChange) -> bool {
        let (id, base) = (self.tables.root(root), self.tables.root(base));
        if self.tables.snapshots[id as usize].is_some() {
            return true;
        }
        let t = &mut self.tables;
        let Some((scheme, before)) = t.snapshots[base as usize].take() else { return false };
        let snapshot = before.after(scheme, change, &mut t.texts, &mut t.versions, &mut t.available);
        t.snapshots[base as usize] = Some((scheme, before));
        t.snapshots[id as usize] = Some((scheme, snapshot));
        self.said(From::Root(id), |advisories| advisories.copy(From::Root(base), id));
        self.stale_where(id);
        true
    }

    /// Is a snapshot there?
    pub fn has_snapshot(&self, root: &str) -> bool {
        self.tables.find_root(root).is_some_and(|id| self.tables.snapshot(id).is_some())
    }

    /// Takes a snapshot out, with what it said of advisories.
    pub fn remove_snapshot(&mut self, root: &str) {
        let Some(id) = self.tables.find_root(root) else { return };
        self.tables.snapshots[id as usize] = None;
        self.said(From::Root(id), |advisories| advisories.clear(From::Root(id)));
        self.stale_where(id);
    }

    /// The roots there are.
    pub fn snapshots(&self) -> Vec<String> {
        let there =
            |(n, root): (usize, &Text)| self.tables.snapshots[n].as_ref().map(|_| self.tables.texts.get(*root).to_owned());
        self.tables.root_names.iter().enumerate().filter_map(there).collect()
    }

    /// Roots that hosts see and that were never put: they count as empty.
    pub fn missing_snapshots(&self) -> Vec<String> {
        let seen: BTreeSet<RootId> = self.envs.iter().flatten().flat_map(|e| &e.views).map(|v| v.root).collect();
        let missing = seen.into_iter().filter(|root| self.tables.snapshot(*root).is_none());
        missing.map(|root| self.tables.texts.get(self.tables.root_names[root as usize]).to_owned()).collect()
    }

    fn stale_where(&mut self, root: RootId) {
        for env in self.envs.iter_mut().flatten().filter(|env| env.sees(root)) {
            env.stale = true;
            env.verdicts.clear();
        }
    }

    fn origin(&mut self, origin: &Origin) -> From {
        match origin {
            Origin::Feed(name) => From::Feed(self.tables.texts.id(name)),
            Origin::Snapshot(root) => From::Root(self.tables.root(root)),
        }
    }

    /// An origin says this of an advisory now.
    pub fn put_advisory(&mut self, origin: &Origin, advisory: &Advisory) {
        let from = self.origin(origin);
        let t = &mut self.tables;
        let edition = t.advisories.read(advisory, &mut t.texts, &mut t.versions);
        self.said(from, |advisories| advisories.put(from, edition));
    }

    /// Changes what an origin says. Of a snapshot that no host sees nothing is to be looked at again: whoever comes to see it is
    /// judged then ([`Fleet::replace_root`] compares what both snapshots say).
    fn said(&mut self, from: From, change: impl FnOnce(&mut Advisories)) {
        let root = match from {
            From::Root(root) if !self.envs.iter().flatten().any(|env| env.sees(root)) => root,
            _ => return change(&mut self.tables.advisories),
        };
        let before = std::mem::take(&mut self.tables.advisories.touched);
        change(&mut self.tables.advisories);
        let touched = std::mem::replace(&mut self.tables.advisories.touched, before);
        self.tables.advisories.touched.extend(touched.into_iter().filter(|t| t.root != root));
    }

    /// An origin says nothing of an advisory any more.
    pub fn remove_advisory(&mut self, origin: &Origin, id: &str) {
        let from = self.origin(origin);
        if let Some(advisory) = self.tables.texts.find(id).and_then(|id| self.tables.advisories.find(id)) {
            self.said(from, |advisories| advisories.remove(from, advisory));
        }
    }

    /// Adds statements of an origin.
    pub fn put_statements(&mut self, origin: &Origin, statements: &[Statement]) {
        let from = self.origin(origin);
        let t = &mut self.tables;
        for statement in statements {
            t.advisories.put_statement(from, statement, &mut t.texts, &mut t.versions);
        }
    }

    /// An origin's statements are these now; what it said before and says again is not looked at anew.
    pub fn replace_statements(&mut self, origin: &Origin, statements: &[Statement]) {
        let from = self.origin(origin);
        let t = &mut self.tables;
        t.advisories.replace_statements(from, statements, &mut t.texts, &mut t.versions);
    }

    /// Takes back all advisories and statements of an origin.
    pub fn clear_origin(&mut self, origin: &Origin) {
        let from = self.origin(origin);
        self.said(from, |advisories| advisories.clear(from));
    }

    /// Notes a vulnerability's severity.
    pub fn put_vulnerability(&mut self, v: &Vulnerability) {
        let id = self.tables.texts.id(&v.id);
        let vuln = self.tables.advisories.vuln(id);
        let severity = v.effective_severity();
        let known = &mut self.tables.advisories.vulns[vuln as usize];
        if known.severity != severity {
            known.severity = severity;
            let all = self.classes.iter().enumerate().filter_map(|(n, class)| class.as_ref().map(|c| (small(n), c)));
            self.dirty.extend(all.filter(|(_, c)| super::class::find(&c.outcome.open, vuln).is_some()).map(|(n, _)| n));
        }
    }

    /// Interns an installed package. The key stays the same for the life of this fleet and what is restored from it.
    pub fn package(&mut self, scheme: Scheme, package: &Package) -> PackageKey {
        self.tables.package(scheme, package)
    }

    /// Puts or replaces a host.
    pub fn put_host(&mut self, id: InstanceId, input: HostInput<'_>) {
        let kernel = self.tables.texts.id(&input.os.kernel_release);
        let env = self.env(EnvKey::new(input.os, input.scheme, input.rules, input.views));
        let set = self.set(input.packages);
        let class = self.class(env, set, kernel);
        self.move_host(id, class);
    }

    fn move_host(&mut self, id: InstanceId, class: u32) {
        let before = self.hosts.get(&id).copied();
        if before == Some(class) {
            return;
        }
        let shown = before.and_then(|old| self.classes[old as usize].as_ref()).map(|c| c.outcome.digest());
        self.moved.entry(id).or_insert(shown);
        if let Some(to) = self.classes[class as usize].as_mut() {
            to.hosts.insert(id);
        }
        self.hosts.insert(id, class);
        if let Some(old) = before {
            self.leave(id, old);
        }
    }

    /// Takes a host out.
    pub fn remove_host(&mut self, id: InstanceId) {
        self.moved.remove(&id);
        if let Some(old) = self.hosts.remove(&id) {
            self.leave(id, old);
        }
    }

    fn leave(&mut self, id: InstanceId, old: u32) {
        let Some(class) = self.classes[old as usize].as_mut() else { return };
        class.hosts.remove(&id);
        if !class.hosts.is_empty() {
            return;
        }
        let (env, set, kernel) = (class.env, class.set, class.kernel);
        self.classes[old as usize] = None;
        self.class_ids.remove(&(env, set, kernel));
        self.unused_classes.push(old);
        self.dirty.remove(&old);
        self.env_classes[env as usize].remove(&old);
        if self.env_classes[env as usize].is_empty()
            && let Some(gone) = self.envs[env as usize].take()
        {
            self.env_ids.remove(&gone.key);
            self.unused_envs.push(env);
        }
        if let Some(room) = self.sets[set as usize].as_mut() {
            room.classes -= 1;
            if room.classes == 0 {
                let packages = std::mem::take(&mut room.packages);
                self.set_ids.remove(&packages);
                self.sets[set as usize] = None;
                self.unused_sets.push(set);
            }
        }
    }

    pub(super) fn env(&mut self, key: EnvKey) -> u32 {
        if let Some(id) = self.env_ids.get(&key) {
            return *id;
        }
        let key = Arc::new(key);
        let env = Env::new(key.clone(), &mut self.tables);
        let id = place(&mut self.envs, &mut self.unused_envs, env);
        self.env_classes.resize_with(self.envs.len(), IdSet::default);
        self.env_ids.insert(key, id);
        id
    }

    pub(super) fn set(&mut self, packages: &[PackageKey]) -> u32 {
        let sorted: Vec<PackageKey>;
        let packages = if packages.is_sorted_by(|a, b| a < b) {
            packages
        } else {
            sorted = BTreeSet::from_iter(packages.iter().copied()).into_iter().collect();
            &sorted
        };
        if let Some(id) = self.set_ids.get(packages) {
            return *id;
        }
        let lots = self.tables.lots_of(packages).into();
        let room = PackageRoom { packages: packages.into(), lots, classes: 0 };
        let id = place(&mut self.sets, &mut self.unused_sets, room);
        self.set_ids.insert(packages.into(), id);
        id
    }

    pub(super) fn class(&mut self, env: u32, set: u32, kernel: Text) -> u32 {
        if let Some(id) = self.class_ids.get(&(env, set, kernel)) {
            return *id;
        }
        let Some(room) = self.sets[set as usize].as_mut() else { return NONE };
        room.classes += 1;
        let class = Class { env, set, kernel, lots: room.lots.clone(), hosts: BTreeSet::new(), outcome: Default::default() };
        let id = place(&mut self.classes, &mut self.unused_classes, class);
        self.class_ids.insert((env, set, kernel), id);
        self.env_classes[env as usize].insert(id);
        self.dirty.insert(id);
        id
    }

    /// Every host that sees `old` sees `new` from now on: what a promotion does. Only names whose packages or advisories differ are
    /// looked at again.
    pub fn replace_root(&mut self, old: &str, new: &str) {
        let (Some(old_id), new_id) = (self.tables.find_root(old), self.tables.root(new)) else { return };
        if old_id == new_id {
            return;
        }
        // What was said of the old snapshot since the last settlement, while its hosts still see it.
        self.take_touched();
        let seeing: Vec<u32> =
            (0..small(self.envs.len())).filter(|n| self.envs[*n as usize].as_ref().is_some_and(|e| e.sees(old_id))).collect();
        let lots = self.lots_between(old_id, new_id);
        for id in seeing {
            let Some(env) = self.envs[id as usize].as_mut() else { continue };
            let mut key = EnvKey::clone(&env.key);
            key.views.iter_mut().filter(|v| v.root == old).for_each(|v| v.root = new.to_owned());
            if self.env_ids.contains_key(&key) {
                self.join(id, key);
                continue;
            }
            let key = Arc::new(key);
            self.env_ids.remove(&env.key);
            self.env_ids.insert(key.clone(), id);
            env.key = key;
            env.look(&mut self.tables);
            match &lots {
                Some(lots) if !env.stale => {
                    let before = std::mem::take(&mut env.against_locks);
                    env.compile(&self.tables);
                    if env.against_locks == before {
                        self.forget(id, lots);
                    } else {
                        // What a lock keeps away may be of any name.
                        env.stale = true;
                        env.verdicts.clear();
                    }
                }
                _ => {
                    env.stale = true;
                    env.verdicts.clear();
                }
            }
        }
    }

    /// Moves all hosts of a kind to one that is already there.
    fn join(&mut self, env: u32, key: EnvKey) {
        let to = self.env(key);
        for class in self.env_classes[env as usize].clone() {
            let Some((set, kernel, hosts)) = self.classes[class as usize].as_ref().map(|c| (c.set, c.kernel, c.hosts.clone()))
            else {
                continue;
            };
            let target = self.class(to, set, kernel);
            for host in hosts {
                self.move_host(host, target);
            }
        }
    }

    /// Lots that two snapshots may judge differently; none = all of them.
    fn lots_between(&self, old: RootId, new: RootId) -> Option<IdSet<LotId>> {
        let (a, b) = (self.tables.snapshot(old)?, self.tables.snapshot(new)?);
        if !a.same_modules(b) {
            return None;
        }
        let mut lots = IdSet::default();
        let mut take = |name| lots.extend(self.tables.lots_by_name.get(&name).into_iter().flatten().copied());
        a.changed_names(b, &self.tables.available).into_iter().for_each(&mut take);
        let origins = self.tables.advisories.origins();
        let of = |root| origins.get(&From::Root(root)).into_iter().flatten().map(|(_, e)| *e).collect::<BTreeSet<_>>();
        for edition in of(old).symmetric_difference(&of(new)) {
            for fix in self.tables.advisories.about(*edition) {
                lots.extend(self.lots_touched(&Touched { name: fix.name, by: fix.by, root: NONE }));
            }
        }
        Some(lots)
    }

    fn lots_touched(&self, touched: &Touched) -> Vec<LotId> {
        match touched.by {
            NameKind::Binary => self.tables.lots_by_name.get(&touched.name).cloned().unwrap_or_default(),
            NameKind::Source => self.tables.lots_of_source(touched.name).collect(),
        }
    }

    /// Drops remembered verdicts on lots and marks the classes that hold one.
    fn forget(&mut self, env: u32, lots: &IdSet<LotId>) {
        if lots.is_empty() {
            return;
        }
        if let Some(env) = self.envs[env as usize].as_mut() {
            env.verdicts.retain(|(lot, _), _| !lots.contains(lot));
        }
        let few: Option<Vec<LotId>> = (lots.len() <= 64).then(|| lots.iter().copied().collect());
        for class in &self.env_classes[env as usize] {
            let Some(own) = self.classes[*class as usize].as_ref() else { continue };
            let holds = match &few {
                Some(few) => few.iter().any(|lot| own.lots.binary_search(lot).is_ok()),
                None => own.lots.iter().any(|lot| lots.contains(lot)),
            };
            if holds {
                self.dirty.insert(*class);
            }
        }
    }

    /// Computes what the inputs since the last time touched.
    pub fn settle(&mut self) -> Settled {
        self.tables.versions.rank_all();
        self.take_touched();
        for n in 0..self.envs.len() {
            let Some(env) = self.envs[n].as_mut() else { continue };
            env.know_products(&self.tables);
            if env.stale {
                env.compile(&self.tables);
                env.verdicts.clear();
                self.dirty.extend(&self.env_classes[n]);
            }
        }
        let mut changed: BTreeSet<InstanceId> = BTreeSet::new();
        let mut dirty: Vec<u32> = std::mem::take(&mut self.dirty).into_iter().collect();
        dirty.sort_unstable();
        for id in &dirty {
            let Some(class) = self.classes[*id as usize].as_mut() else { continue };
            let Some(env) = self.envs[class.env as usize].as_mut() else { continue };
            let outcome = unite(&self.tables, env, &class.lots, class.kernel, &mut self.scratch);
            if outcome.digest() != class.outcome.digest() {
                changed.extend(class.hosts.iter().filter(|h| !self.moved.contains_key(h)));
            }
            class.outcome = outcome;
        }
        for (host, before) in std::mem::take(&mut self.moved) {
            let now = self.hosts.get(&host).and_then(|c| self.classes[*c as usize].as_ref()).map(|c| c.outcome.digest());
            if now != before {
                changed.insert(host);
            }
        }
        Settled { hosts_changed: changed.into_iter().collect(), classes_computed: dirty.len() }
    }

    fn take_touched(&mut self) {
        let touched = std::mem::take(&mut self.tables.advisories.touched);
        let mut everywhere: IdSet<LotId> = IdSet::default();
        let mut somewhere: BTreeMap<RootId, IdSet<LotId>> = BTreeMap::new();
        for t in &touched {
            let lots = self.lots_touched(t);
            if t.root == NONE { everywhere.extend(lots) } else { somewhere.entry(t.root).or_default().extend(lots) }
        }
        for n in 0..self.envs.len() {
            let Some(env) = self.envs[n].as_ref().filter(|env| !env.stale) else { continue };
            let mut lots = everywhere.clone();
            somewhere.iter().filter(|(root, _)| env.sees(**root)).for_each(|(_, own)| lots.extend(own));
            self.forget(small(n), &lots);
        }
    }

    /// The verdicts of a class's lots. After a restart they are not there until something is touched: then they are made now.
    pub(super) fn verdicts<'a>(&'a self, class: &'a Class) -> impl Iterator<Item = (LotId, Arc<Verdict>)> {
        let env = self.envs[class.env as usize].as_ref();
        class.lots.iter().filter_map(move |lot| Some((*lot, known(&self.tables, env?, *lot, class.kernel)?)))
    }

    /// Puts a host that was saved.
    pub(super) fn restore_host(&mut self, id: InstanceId, class: u32) -> Result<(), BadState> {
        let Some(to) = self.classes.get_mut(class as usize).and_then(Option::as_mut) else {
            return Err(BadState::Inconsistent("a class"));
        };
        to.hosts.insert(id);
        if self.hosts.insert(id, class).is_some() {
            return Err(BadState::Inconsistent("a host twice"));
        }
        Ok(())
    }

    /// Puts a result that was saved.
    pub(super) fn restore_outcome(&mut self, class: u32, outcome: Outcome) {
        if let Some(to) = self.classes.get_mut(class as usize).and_then(Option::as_mut) {
            to.outcome = outcome;
        }
    }

    /// Everything that was saved is there: nothing of it is to be computed, unless it was not yet when it was saved.
    pub(super) fn restored(&mut self, unsettled: bool) {
        for env in self.envs.iter_mut().flatten() {
            env.know_products(&self.tables);
            env.compile(&self.tables);
        }
        if !unsettled {
            self.dirty.clear();
        }
    }

    /// Has anything been put since the last settlement?
    pub(super) fn unsettled(&self) -> bool {
        !self.dirty.is_empty()
            || !self.moved.is_empty()
            || !self.tables.advisories.touched.is_empty()
            || self.envs.iter().flatten().any(|env| env.stale)
    }

    pub(super) fn class_of(&self, id: InstanceId) -> Option<&Class> {
        self.classes.get(*self.hosts.get(&id)? as usize)?.as_ref()
    }

    pub(super) fn env_of(&self, class: &Class) -> Option<&Env> {
        self.envs[class.env as usize].as_ref()
    }
}

/// Puts a value into the first free place.
fn place<T>(all: &mut Vec<Option<T>>, unused: &mut Vec<u32>, value: T) -> u32 {
    match unused.pop() {
        Some(id) => {
            all[id as usize] = Some(value);
            id
        }
        None => {
            all.push(Some(value));
            small(all.len() - 1)
        }
    }
}
