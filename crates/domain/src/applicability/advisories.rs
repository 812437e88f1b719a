//! Advisories and statements as the engine keeps them: fixes by package name. The same advisory from several origins is one; what two
//! origins say alike is stored once (an *edition*), so the next snapshot's updateinfo costs nothing that it repeats.

use std::collections::{BTreeMap, BTreeSet};

use super::intern::{IdMap, NONE, Name, Text, Texts, Version, Versions, small};
use super::tables::RootId;
use crate::advisory::{Advisory, AdvisoryKind, NameKind, Product, Severity, Statement, Status};

/// Where advisories and statements come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A feed, by its name: counts for the hosts that its products mean.
    Feed(String),
    /// A snapshot, by its root: counts for hosts that see this snapshot.
    Snapshot(String),
}

/// The same, interned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum From {
    Feed(Text),
    Root(RootId),
}

pub(super) type AdvisoryId = u32;
pub(super) type VulnId = u32;
pub(super) type EditionId = u32;

/// A fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FixRow {
    pub name: Name,
    pub by: NameKind,
    /// Empty = all.
    pub arch: Text,
    pub version: Version,
    pub product: u32,
    pub module: Option<(Text, Text)>,
    /// rpm: the version says that it was built for a module.
    pub modular: bool,
}

/// What an origin says of an advisory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edition {
    pub advisory: AdvisoryId,
    pub kind: AdvisoryKind,
    pub severity: Severity,
    pub withdrawn: bool,
    pub cves: Box<[VulnId]>,
    pub fixes: Box<[FixRow]>,
}

/// An edition and who says so.
#[derive(Debug)]
pub(super) struct Kept {
    pub edition: Edition,
    pub feeds: BTreeSet<Text>,
    pub roots: BTreeSet<RootId>,
}

/// An advisory.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub id: Text,
    pub editions: Vec<EditionId>,
    /// A feed took it back.
    pub withdrawn: bool,
}

/// A vulnerability.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vuln {
    pub id: Text,
    pub severity: Severity,
}

/// A vendor's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatementRow {
    pub vuln: VulnId,
    pub product: u32,
    pub by: NameKind,
    pub module: Option<(Text, Text)>,
    pub status: Status,
    /// [`Status::Fixed`]; else [`NONE`].
    pub version: Version,
    pub severity: Severity,
    pub justification: Text,
    pub from: From,
}

/// Names that something was said of: lots of these names (and, by source, of packages built from them) are looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Touched {
    pub name: Name,
    pub by: NameKind,
    /// Only hosts that see this; [`NONE`] = all.
    pub root: RootId,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Advisories {
    pub records: Vec<Record>,
    ids: IdMap<Text, AdvisoryId>,
    pub editions: Vec<Option<Kept>>,
    unused: Vec<EditionId>,
    by_origin: BTreeMap<From, BTreeMap<AdvisoryId, EditionId>>,
    fixes: IdMap<Name, Vec<(EditionId, FixRow)>>,
    products: Vec<Product>,
    product_ids: BTreeMap<Product, u32>,
    pub vulns: Vec<Vuln>,
    vuln_ids: IdMap<Text, VulnId>,
    statements: IdMap<Name, Vec<StatementRow>>,
    /// Names that an origin has statements on: taking back one origin does not walk all of them.
    stated: BTreeMap<From, BTreeSet<Name>>,
    pub touched: BTreeSet<Touched>,
}

impl Advisories {
    pub fn products(&self) -> &[Product] {
        &self.products
    }

    pub fn product(&mut self, product: &Product) -> u32 {
        if let Some(id) = self.product_ids.get(product) {
            return *id;
        }
        let id = small(self.products.len());
        self.products.push(product.clone());
        self.product_ids.insert(product.clone(), id);
        id
    }

    pub fn vuln(&mut self, id: Text) -> VulnId {
        let next = small(self.vulns.len());
        let vuln = *self.vuln_ids.entry(id).or_insert(next);
        if vuln == next {
            self.vulns.push(Vuln { id, severity: Severity::Unknown });
        }
        vuln
    }

    pub fn find_vuln(&self, id: Text) -> Option<VulnId> {
        self.vuln_ids.get(&id).copied()
    }

    pub fn advisory(&mut self, id: Text) -> AdvisoryId {
        let next = small(self.records.len());
        let advisory = *self.ids.entry(id).or_insert(next);
        if advisory == next {
            self.records.push(Record { id, ..Record::default() });
        }
        advisory
    }

    pub fn find(&self, id: Text) -> Option<AdvisoryId> {
        self.ids.get(&id).copied()
    }

    pub fn edition(&self, id: EditionId) -> Option<&Kept> {
        self.editions.get(id as usize)?.as_ref()
    }

    /// The fixes of a name.
    pub fn fixes_of(&self, name: Name) -> &[(EditionId, FixRow)] {
        self.fixes.get(&name).map_or(&[], Vec::as_slice)
    }

    /// The statements on a name.
    pub fn statements_of(&self, name: Name) -> &[StatementRow] {
        self.statements.get(&name).map_or(&[], Vec::as_slice)
    }

    pub fn origins(&self) -> &BTreeMap<From, BTreeMap<AdvisoryId, EditionId>> {
        &self.by_origin
    }

    pub fn statements(&self) -> impl Iterator<Item = (&Name, &Vec<StatementRow>)> {
        self.statements.iter()
    }

    /// Makes the edition that an advisory is. `root`'s fixes are for everybody who sees it.
    pub fn read(&mut self, a: &Advisory, texts: &mut Texts, versions: &mut Versions) -> Edition {
        let id = texts.id(&a.id);
        let advisory = self.advisory(id);
        let mut fixes: Vec<FixRow> = Vec::with_capacity(a.fixes.len());
        for fix in &a.fixes {
            let text = texts.id(&fix.name);
            let name = versions.name(text, fix.scheme);
            fixes.push(FixRow {
                name,
                by: fix.by,
                arch: texts.id(&fix.arch),
                version: versions.version(texts, name, &fix.version),
                product: self.product(&fix.product),
                module: fix.module.as_ref().map(|m| (texts.id(&m.name), texts.id(&m.stream))),
                modular: fix.version.contains(".module"),
            });
        }
        fixes.sort_unstable();
        fixes.dedup();
        let mut cves: Vec<VulnId> = a.cves.iter().map(|c| texts.id(c)).map(|c| self.vuln(c)).collect();
        cves.sort_unstable();
        cves.dedup();
        let (kind, severity, withdrawn) = (a.kind, a.severity, a.withdrawn);
        Edition { advisory, kind, severity, withdrawn, cves: cves.into(), fixes: fixes.into() }
    }

    /// An origin says this now.
    pub fn put(&mut self, from: From, edition: Edition) {
        let advisory = edition.advisory;
        let had = self.by_origin.get(&from).and_then(|all| all.get(&advisory)).copied();
        if had.and_then(|id| self.edition(id)).is_some_and(|kept| kept.edition == edition) {
            return;
        }
        if had.is_some() {
            self.remove(from, advisory);
        }
        let same = self.records[advisory as usize]
            .editions
            .iter()
            .copied()
            .find(|id| self.edition(*id).is_some_and(|kept| kept.edition == edition));
        let id = same.unwrap_or_else(|| self.keep(edition));
        if let Some(kept) = self.editions[id as usize].as_mut() {
            match from {
                From::Feed(text) => kept.feeds.insert(text),
                From::Root(root) => kept.roots.insert(root),
            };
        }
        self.by_origin.entry(from).or_default().insert(advisory, id);
        self.touch(id, from);
        self.judge_withdrawn(advisory);
    }

    fn keep(&mut self, edition: Edition) -> EditionId {
        let id = self.unused.pop().unwrap_or_else(|| {
            self.editions.push(None);
            small(self.editions.len() - 1)
        });
        self.records[edition.advisory as usize].editions.push(id);
        for fix in &edition.fixes {
            self.fixes.entry(fix.name).or_default().push((id, *fix));
        }
        self.editions[id as usize] = Some(Kept { edition, feeds: BTreeSet::new(), roots: BTreeSet::new() });
        id
    }

    /// An origin says nothing of this advisory any more.
    pub fn remove(&mut self, from: From, advisory: AdvisoryId) {
        let Some(id) = self.by_origin.get_mut(&from).and_then(|all| all.remove(&advisory)) else { return };
        self.touch(id, from);
        let Some(kept) = self.editions[id as usize].as_mut() else { return };
        match from {
            From::Feed(text) => kept.feeds.remove(&text),
            From::Root(root) => kept.roots.remove(&root),
        };
        if kept.feeds.is_empty() && kept.roots.is_empty() {
            for fix in &kept.edition.fixes {
                if let Some(list) = self.fixes.get_mut(&fix.name) {
                    list.retain(|(edition, _)| *edition != id);
                }
            }
            self.editions[id as usize] = None;
            self.records[advisory as usize].editions.retain(|e| *e != id);
            self.unused.push(id);
        }
        self.judge_withdrawn(advisory);
    }

    /// Everything an origin said is taken back.
    pub fn clear(&mut self, from: From) {
        let all: Vec<AdvisoryId> = self.by_origin.get(&from).map(|all| all.keys().copied().collect()).unwrap_or_default();
        for advisory in all {
            self.remove(from, advisory);
        }
        self.by_origin.remove(&from);
        for name in self.stated.remove(&from).unwrap_or_default() {
            let Some(list) = self.statements.get_mut(&name) else { continue };
            for gone in list.iter().filter(|s| s.from == from) {
                self.touched.insert(Touched { name, by: gone.by, root: root_of(from) });
            }
            list.retain(|s| s.from != from);
        }
    }

    /// A snapshot says what another says: of the next snapshot of a source only what differs is read.
    pub fn copy(&mut self, from: From, to: RootId) {
        let all: Vec<(AdvisoryId, EditionId)> = self.by_origin.get(&from).into_iter().flatten().map(|(a, e)| (*a, *e)).collect();
        for (advisory, id) in all {
            let Some(kept) = self.editions[id as usize].as_mut() else { continue };
            kept.roots.insert(to);
            self.by_origin.entry(From::Root(to)).or_default().insert(advisory, id);
            self.touch(id, From::Root(to));
        }
    }

    fn touch(&mut self, id: EditionId, from: From) {
        let root = root_of(from);
        let touched: Vec<Touched> = self.about(id).map(|f| Touched { name: f.name, by: f.by, root }).collect();
        self.touched.extend(touched);
    }

    /// What anybody says that the advisory of an edition fixes: its weight is shown with all of it.
    pub fn about(&self, id: EditionId) -> impl Iterator<Item = &FixRow> {
        let advisory = self.edition(id).map(|kept| kept.edition.advisory);
        let editions = advisory.map(|a| self.records[a as usize].editions.as_slice()).unwrap_or_default();
        editions.iter().filter_map(|e| self.edition(*e)).flat_map(|kept| &kept.edition.fixes)
    }

    fn judge_withdrawn(&mut self, advisory: AdvisoryId) {
        let editions = self.records[advisory as usize].editions.clone();
        let by_feed = |id: &EditionId| self.edition(*id).is_some_and(|k| k.edition.withdrawn && !k.feeds.is_empty());
        let now = editions.iter().any(by_feed);
        if now != self.records[advisory as usize].withdrawn {
            self.records[advisory as usize].withdrawn = now;
            for id in editions {
                self.touch(id, From::Feed(0));
            }
        }
    }

    /// Adds what an origin says of a vulnerability in a package.
    pub fn put_statement(&mut self, from: From, s: &Statement, texts: &mut Texts, versions: &mut Versions) {
        let (name, row) = self.statement(from, s, texts, versions);
        self.add_statement(name, row);
    }

    /// An origin's statements are these now; only names of which it says something else are touched.
    pub fn replace_statements(&mut self, from: From, all: &[Statement], texts: &mut Texts, versions: &mut Versions) {
        let mut new: BTreeMap<Name, Vec<StatementRow>> = BTreeMap::new();
        for name in self.stated.get(&from).into_iter().flatten() {
            new.insert(*name, Vec::new());
        }
        for s in all {
            let (name, row) = self.statement(from, s, texts, versions);
            new.entry(name).or_default().push(row);
        }
        for (name, rows) in new {
            let list = self.statements.entry(name).or_default();
            if list.iter().filter(|s| s.from == from).eq(rows.iter()) {
                continue;
            }
            let root = root_of(from);
            self.touched.extend(list.iter().filter(|s| s.from == from).chain(&rows).map(|s| Touched { name, by: s.by, root }));
            list.retain(|s| s.from != from);
            let names = self.stated.entry(from).or_default();
            if rows.is_empty() {
                names.remove(&name)
            } else {
                names.insert(name)
            };
            list.extend(rows);
        }
    }

    fn statement(&mut self, from: From, s: &Statement, texts: &mut Texts, versions: &mut Versions) -> (Name, StatementRow) {
        let text = texts.id(&s.name);
        let name = versions.name(text, s.scheme);
        let version = match s.status {
            Status::Fixed => versions.version(texts, name, &s.version),
            _ => NONE,
        };
        let id = texts.id(&s.vulnerability);
        let row = StatementRow {
            vuln: self.vuln(id),
            product: self.product(&s.product),
            by: s.by,
            module: s.module.as_ref().map(|m| (texts.id(&m.name), texts.id(&m.stream))),
            status: s.status,
            version,
            severity: s.severity,
            justification: texts.id(&s.justification),
            from,
        };
        (name, row)
    }

    pub fn add_statement(&mut self, name: Name, row: StatementRow) {
        self.statements.entry(name).or_default().push(row);
        self.stated.entry(row.from).or_default().insert(name);
        self.touched.insert(Touched { name, by: row.by, root: root_of(row.from) });
    }

    /// Does an edition count for hosts that see these snapshots?
    pub fn counts(&self, kept: &Kept, sees: impl Fn(RootId) -> bool) -> bool {
        let record = &self.records[kept.edition.advisory as usize];
        !kept.edition.withdrawn && !record.withdrawn && (!kept.feeds.is_empty() || kept.roots.iter().any(|r| sees(*r)))
    }

    /// What is said of an advisory to hosts that see these snapshots.
    pub fn said_to(&self, advisory: AdvisoryId, sees: impl Fn(RootId) -> bool) -> impl Iterator<Item = &Edition> {
        let editions = self.records[advisory as usize].editions.iter().filter_map(|id| self.edition(*id));
        editions.filter(move |kept| self.counts(kept, &sees)).map(|kept| &kept.edition)
    }

    /// Kind and severity to show to hosts that see these snapshots: the weightiest that is said.
    pub fn weight(&self, advisory: AdvisoryId, sees: impl Fn(RootId) -> bool) -> (AdvisoryKind, Severity) {
        let (mut kind, mut severity) = (AdvisoryKind::Other, Severity::Unknown);
        for edition in self.said_to(advisory, sees) {
            kind = kind.min(edition.kind);
            severity = severity.max(edition.severity);
        }
        (kind, severity)
    }
}

fn root_of(from: From) -> RootId {
    match from {
        From::Feed(_) => NONE,
        From::Root(root) => root,
    }
}
