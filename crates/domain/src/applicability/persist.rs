//! A fleet as bytes and back: tables, snapshots, advisories, hosts and the results of their classes, so that a restarted server
//! computes nothing anew. What follows from single lots is left out; it is computed when a host is looked at or touched.

use super::advisories::{Edition, FixRow, From, StatementRow};
use super::class::{HostCounts, Outcome};
use super::codec::{BadState, Reader, Writer};
use super::env::{EnvKey, Managed};
use super::facts::{ReleaseFacts, View};
use super::fleet::Fleet;
use super::intern::{IdMap, small};
use super::snapshot::{Available, Module, Obsolete, Snapshot};
use super::tables::Installed;
use crate::advisory::{AdvisoryKind, NameKind, Product, Severity, Status};
use crate::ids::InstanceId;
use crate::version::Scheme;

const SCHEMES: [Scheme; 2] = [Scheme::Rpm, Scheme::Deb];
const KINDS: [AdvisoryKind; 4] = [AdvisoryKind::Security, AdvisoryKind::Bugfix, AdvisoryKind::Enhancement, AdvisoryKind::Other];
const BYS: [NameKind; 2] = [NameKind::Binary, NameKind::Source];
const STATUSES: [Status; 5] = [Status::Affected, Status::NotAffected, Status::Fixed, Status::UnderInvestigation, Status::WontFix];
const MANAGED: [Managed; 4] = [Managed::Apt, Managed::Dnf, Managed::Zypper, Managed::Dnf5];

fn one_of<T: Copy>(r: &mut Reader<'_>, all: &[T], what: &'static str) -> Result<T, BadState> {
    Ok(all[r.id(all.len(), what)? as usize])
}

fn place<T: PartialEq>(w: &mut Writer, all: &[T], value: &T) {
    w.count(all.iter().position(|v| v == value).unwrap_or(0));
}

fn flag(r: &mut Reader<'_>) -> Result<bool, BadState> {
    Ok(r.id(2, "a flag")? == 1)
}

impl Fleet {
    /// Everything. What was put since the last settlement is computed after [`Fleet::restore`].
    pub fn save(&self) -> Vec<u8> {
        let mut w = Writer::default();
        let t = &self.tables;
        w.count(t.texts.len());
        t.texts.all().for_each(|text| w.text(text));
        w.list(t.versions.names(), |w, (text, scheme)| {
            w.id(*text);
            place(w, &SCHEMES, scheme);
        });
        w.list(t.versions.all(), |w, (name, text)| {
            w.id(*name);
            w.id(*text);
        });
        w.list(&t.available.all, |w, p| {
            [p.name, p.arch, p.version, p.source, p.source_version, p.vendor, u32::from(p.phased)]
                .into_iter()
                .for_each(|n| w.id(n));
        });
        w.list(&t.installed, |w, p| {
            [p.name, p.arch, p.version, p.source, p.source_version, p.vendor, u32::from(p.modular)]
                .into_iter()
                .for_each(|n| w.id(n));
        });
        w.list(&t.lots, |w, lot| w.list(&lot.packages, |w, p| w.id(*p)));
        w.list(&t.root_names, |w, root| w.id(*root));
        w.list(&t.snapshots, |w, snapshot| match snapshot {
            None => w.count(0),
            Some((scheme, snapshot)) => {
                w.count(1);
                place(w, &SCHEMES, scheme);
                write_snapshot(w, snapshot);
            }
        });
        self.save_advisories(&mut w);
        self.save_hosts(&mut w);
        w.finish()
    }

    fn save_advisories(&self, w: &mut Writer) {
        let a = &self.tables.advisories;
        w.list(a.products(), |w, p| {
            w.text(&p.os);
            w.text(&p.release);
        });
        w.list(&a.vulns, |w, v| {
            w.id(v.id);
            place(w, &Severity::ALL, &v.severity);
        });
        w.list(&a.records, |w, r| w.id(r.id));
        let said: Vec<_> = a.origins().iter().flat_map(|(from, all)| all.values().map(move |e| (*from, *e))).collect();
        let kept: Vec<_> = said.iter().filter_map(|(from, id)| Some((*from, &a.edition(*id)?.edition))).collect();
        w.list(&kept, |w, (from, edition)| {
            write_from(w, *from);
            write_edition(w, edition);
        });
        let statements: Vec<_> = a.statements().flat_map(|(name, rows)| rows.iter().map(move |row| (*name, *row))).collect();
        w.list(&statements, |w, (name, s)| {
            w.id(*name);
            write_from(w, s.from);
            w.id(s.vuln);
            w.id(s.product);
            place(w, &BYS, &s.by);
            write_module(w, s.module);
            place(w, &STATUSES, &s.status);
            w.maybe(s.version);
            place(w, &Severity::ALL, &s.severity);
            w.id(s.justification);
        });
    }

    fn save_hosts(&self, w: &mut Writer) {
        let classes: Vec<_> = self.classes.iter().flatten().collect();
        // Kinds and sets are numbered anew, in the order of the classes that use them.
        let (mut envs, mut sets): (IdMap<u32, u32>, IdMap<u32, u32>) = (IdMap::default(), IdMap::default());
        let (mut env_order, mut set_order) = (Vec::new(), Vec::new());
        for class in &classes {
            envs.entry(class.env).or_insert_with(|| {
                env_order.push(class.env);
                small(env_order.len() - 1)
            });
            sets.entry(class.set).or_insert_with(|| {
                set_order.push(class.set);
                small(set_order.len() - 1)
            });
        }
        let env_keys: Vec<_> = env_order.iter().filter_map(|id| self.envs[*id as usize].as_ref()).map(|e| &e.key).collect();
        w.list(&env_keys, |w, key| write_env(w, key));
        let rooms: Vec<_> = set_order.iter().filter_map(|id| self.sets[*id as usize].as_ref()).collect();
        w.list(&rooms, |w, room| write_rising(w, &room.packages));
        w.list(&classes, |w, class| {
            w.id(envs[&class.env]);
            w.id(sets[&class.set]);
            w.id(class.kernel);
            w.count(class.hosts.len());
            class.hosts.iter().for_each(|host| w.bytes(host.0.as_bytes()));
            write_outcome(w, &class.outcome);
        });
        w.count(usize::from(self.unsettled()));
    }

    /// What was saved: hosts, snapshots, advisories and results.
    ///
    /// # Errors
    /// When the bytes are of another version or not what was saved: start with [`Fleet::new`].
    pub fn restore(bytes: &[u8]) -> Result<Fleet, BadState> {
        let mut r = Reader::new(bytes)?;
        let mut fleet = Fleet::new();
        fleet.restore_tables(&mut r)?;
        fleet.restore_advisories(&mut r)?;
        fleet.restore_hosts(&mut r)?;
        r.end()?;
        Ok(fleet)
    }

    fn restore_tables(&mut self, r: &mut Reader<'_>) -> Result<(), BadState> {
        let t = &mut self.tables;
        for n in 0..r.count()? {
            let text = r.text()?;
            if t.texts.id(text) as usize != n {
                return Err(BadState::Inconsistent("a text twice"));
            }
        }
        let texts = t.texts.len();
        for n in 0..r.count()? {
            let text = r.id(texts, "a text")?;
            let scheme = one_of(r, &SCHEMES, "a scheme")?;
            if t.versions.name(text, scheme) as usize != n {
                return Err(BadState::Inconsistent("a name twice"));
            }
        }
        let names = t.versions.names().len();
        for n in 0..r.count()? {
            let name = r.id(names, "a name")?;
            let text = t.texts.get(r.id(texts, "a text")?).to_owned();
            if t.versions.version(&mut t.texts, name, &text) as usize != n {
                return Err(BadState::Inconsistent("a version twice"));
            }
        }
        t.versions.rank_all();
        let versions = t.versions.all().len();
        for n in 0..r.count()? {
            let [name, arch, version, source, source_version, vendor] = package(r, (names, texts, versions))?;
            let phased = r.id(256, "a percentage")? as u8;
            let id = t.available.id(Available { name, arch, version, source, source_version, vendor, phased });
            if id as usize != n {
                return Err(BadState::Inconsistent("a package twice"));
            }
        }
        for n in 0..r.count()? {
            let [name, arch, version, source, source_version, vendor] = package(r, (names, texts, versions))?;
            let modular = flag(r)?;
            let fact = Installed { name, arch, version, source, source_version, vendor, modular };
            if t.intern_installed(fact) as usize != n {
                return Err(BadState::Inconsistent("a package twice"));
            }
        }
        let installed = t.installed.len();
        for n in 0..r.count()? {
            let lot = r.list(|r| r.id(installed, "a package"))?;
            if lot.is_empty() || t.lot(&lot) as usize != n {
                return Err(BadState::Inconsistent("a lot twice"));
            }
        }
        for n in 0..r.count()? {
            let root = t.texts.get(r.id(texts, "a text")?).to_owned();
            if t.root(&root) as usize != n {
                return Err(BadState::Inconsistent("a root twice"));
            }
        }
        let bounds = Bounds { texts, names, versions, available: t.available.all.len() };
        let count = r.count()?;
        if count != t.snapshots.len() {
            return Err(BadState::Inconsistent("a snapshot"));
        }
        for n in 0..count {
            if flag(r)? {
                let scheme = one_of(r, &SCHEMES, "a scheme")?;
                let mut snapshot = read_snapshot(r, &bounds)?;
                snapshot.index(&t.available);
                t.snapshots[n] = Some((scheme, snapshot));
            }
        }
        Ok(())
    }

    fn restore_advisories(&mut self, r: &mut Reader<'_>) -> Result<(), BadState> {
        let t = &mut self.tables;
        let (texts, roots) = (t.texts.len(), t.root_names.len());
        let (names, versions) = (t.versions.names().len(), t.versions.all().len());
        for _ in 0..r.count()? {
            let (os, release) = (r.text()?, r.text()?);
            t.advisories.product(&Product::new(os, release));
        }
        let products = t.advisories.products().len();
        for _ in 0..r.count()? {
            let id = r.id(texts, "a text")?;
            let vuln = t.advisories.vuln(id);
            t.advisories.vulns[vuln as usize].severity = one_of(r, &Severity::ALL, "a severity")?;
        }
        for _ in 0..r.count()? {
            let id = r.id(texts, "a text")?;
            t.advisories.advisory(id);
        }
        let (vulns, records) = (t.advisories.vulns.len(), t.advisories.records.len());
        for _ in 0..r.count()? {
            let from = read_from(r, texts, roots)?;
            let advisory = r.id(records, "an advisory")?;
            let kind = one_of(r, &KINDS, "a kind")?;
            let severity = one_of(r, &Severity::ALL, "a severity")?;
            let withdrawn = flag(r)?;
            let cves = r.list(|r| r.id(vulns, "a vulnerability"))?.into();
            let fixes = r.list(|r| {
                Ok(FixRow {
                    name: r.id(names, "a name")?,
                    by: one_of(r, &BYS, "a kind of name")?,
                    arch: r.id(texts, "a text")?,
                    version: r.id(versions, "a version")?,
                    product: r.id(products, "a product")?,
                    module: read_module(r, texts)?,
                    modular: flag(r)?,
                })
            })?;
            t.advisories.put(from, Edition { advisory, kind, severity, withdrawn, cves, fixes: fixes.into() });
        }
        for _ in 0..r.count()? {
            let name = r.id(names, "a name")?;
            let from = read_from(r, texts, roots)?;
            let row = StatementRow {
                from,
                vuln: r.id(vulns, "a vulnerability")?,
                product: r.id(products, "a product")?,
                by: one_of(r, &BYS, "a kind of name")?,
                module: read_module(r, texts)?,
                status: one_of(r, &STATUSES, "a status")?,
                version: r.maybe(versions, "a version")?,
                severity: one_of(r, &Severity::ALL, "a severity")?,
                justification: r.id(texts, "a text")?,
            };
            t.advisories.add_statement(name, row);
        }
        // All of it was settled when it was saved.
        t.advisories.touched.clear();
        Ok(())
    }

    fn restore_hosts(&mut self, r: &mut Reader<'_>) -> Result<(), BadState> {
        let mut envs = Vec::new();
        for _ in 0..r.count()? {
            let key = read_env(r)?;
            envs.push(self.env(key));
        }
        let installed = self.tables.installed.len();
        let mut sets = Vec::new();
        for _ in 0..r.count()? {
            let packages = read_rising(r, installed)?;
            sets.push(self.set(&packages));
        }
        let texts = self.tables.texts.len();
        let (advisories, vulns) = (self.tables.advisories.records.len(), self.tables.advisories.vulns.len());
        for _ in 0..r.count()? {
            let env = envs[r.id(envs.len(), "a kind of host")? as usize];
            let set = sets[r.id(sets.len(), "a package set")? as usize];
            let kernel = r.id(texts, "a text")?;
            let class = self.class(env, set, kernel);
            for _ in 0..r.count()? {
                let bytes = r.bytes(16)?.try_into().map_err(|_| BadState::Damaged)?;
                self.restore_host(InstanceId(uuid::Uuid::from_bytes(bytes)), class)?;
            }
            let outcome = read_outcome(r, advisories, vulns)?;
            self.restore_outcome(class, outcome);
        }
        let unsettled = flag(r)?;
        self.restored(unsettled);
        Ok(())
    }
}

struct Bounds {
    texts: usize,
    names: usize,
    versions: usize,
    available: usize,
}

fn package(r: &mut Reader<'_>, (names, texts, versions): (usize, usize, usize)) -> Result<[u32; 6], BadState> {
    Ok([
        r.id(names, "a name")?,
        r.id(texts, "a text")?,
        r.id(versions, "a version")?,
        r.id(names, "a name")?,
        r.id(versions, "a version")?,
        r.id(texts, "a text")?,
    ])
}

/// A sorted list: each as the distance to the one before.
fn write_rising(w: &mut Writer, list: &[u32]) {
    let mut before = 0;
    w.list(list, |w, n| {
        w.id(n - before);
        before = *n;
    });
}

fn read_rising(r: &mut Reader<'_>, bound: usize) -> Result<Vec<u32>, BadState> {
    let mut before = 0_usize;
    r.list(|r| {
        before += r.id(bound, "a package")? as usize;
        if before < bound { Ok(small(before)) } else { Err(BadState::Inconsistent("a package")) }
    })
}

fn write_from(w: &mut Writer, from: From) {
    match from {
        From::Feed(text) => {
            w.count(0);
            w.id(text);
        }
        From::Root(root) => {
            w.count(1);
            w.id(root);
        }
    }
}

fn read_from(r: &mut Reader<'_>, texts: usize, roots: usize) -> Result<From, BadState> {
    Ok(if flag(r)? { From::Root(r.id(roots, "a root")?) } else { From::Feed(r.id(texts, "a text")?) })
}

fn write_module(w: &mut Writer, module: Option<(u32, u32)>) {
    w.count(usize::from(module.is_some()));
    if let Some((name, stream)) = module {
        w.id(name);
        w.id(stream);
    }
}

fn read_module(r: &mut Reader<'_>, texts: usize) -> Result<Option<(u32, u32)>, BadState> {
    Ok(if flag(r)? { Some((r.id(texts, "a text")?, r.id(texts, "a text")?)) } else { None })
}

fn write_edition(w: &mut Writer, edition: &Edition) {
    w.id(edition.advisory);
    place(w, &KINDS, &edition.kind);
    place(w, &Severity::ALL, &edition.severity);
    w.count(usize::from(edition.withdrawn));
    w.list(&edition.cves, |w, v| w.id(*v));
    w.list(&edition.fixes, |w, fix| {
        w.id(fix.name);
        place(w, &BYS, &fix.by);
        w.id(fix.arch);
        w.id(fix.version);
        w.id(fix.product);
        write_module(w, fix.module);
        w.count(usize::from(fix.modular));
    });
}

fn write_snapshot(w: &mut Writer, s: &Snapshot) {
    w.list(&s.packages, |w, p| w.id(*p));
    let obsoletes: Vec<_> = s.obsoletes.iter().collect();
    w.list(&obsoletes, |w, (name, rows)| {
        w.id(**name);
        w.list(rows, |w, row| {
            w.id(row.by);
            w.count(usize::from(row.bound));
            w.id(row.version);
        });
    });
    let provides: Vec<_> = s.provides.iter().collect();
    w.list(&provides, |w, (name, rows)| {
        w.id(**name);
        w.list(rows, |w, by| w.id(*by));
    });
    w.list(&s.modules, |w, m| {
        [m.name, m.stream, m.context, m.arch].into_iter().for_each(|n| w.id(n));
        w.number(m.version);
        w.list(&m.artifacts, |w, (name, arch, version)| [*name, *arch, *version].into_iter().for_each(|n| w.id(n)));
        w.list(&m.requires, |w, (module, streams)| {
            w.id(*module);
            w.list(streams, |w, s| w.id(*s));
        });
    });
    w.list(&s.default_streams, |w, (module, stream, modified)| {
        w.id(*module);
        w.id(*stream);
        w.number(*modified);
    });
    let ReleaseFacts { origin, label, suite, codename, version, not_automatic, but_automatic_upgrades } = &s.release;
    [origin, label, suite, codename, version].into_iter().for_each(|text| w.text(text));
    [not_automatic, but_automatic_upgrades].into_iter().for_each(|b| w.count(usize::from(*b)));
}

fn read_snapshot(r: &mut Reader<'_>, b: &Bounds) -> Result<Snapshot, BadState> {
    let text = |r: &mut Reader<'_>| r.id(b.texts, "a text");
    let packages = r.list(|r| r.id(b.available, "a package"))?;
    let obsoletes = r.list(|r| {
        let name = r.id(b.names, "a name")?;
        let rows = r.list(|r| {
            Ok(Obsolete { by: r.id(b.available, "a package")?, bound: r.id(6, "a bound")? as u8, version: text(r)? })
        })?;
        Ok((name, rows))
    })?;
    let provides = r.list(|r| Ok((r.id(b.names, "a name")?, r.list(|r| r.id(b.available, "a package"))?)))?;
    let modules = r.list(|r| {
        let (name, stream, context, arch) = (text(r)?, text(r)?, text(r)?, text(r)?);
        let version = r.number()?;
        let artifacts = r.list(|r| Ok((r.id(b.names, "a name")?, text(r)?, r.id(b.versions, "a version")?)))?;
        let requires = r.list(|r| Ok((text(r)?, r.list(text)?)))?;
        Ok(Module { name, stream, version, context, arch, artifacts, requires })
    })?;
    let default_streams = r.list(|r| Ok((text(r)?, text(r)?, r.number()?)))?;
    let mut word = || r.text().map(str::to_owned);
    let (origin, label, suite, codename, version) = (word()?, word()?, word()?, word()?, word()?);
    let (not_automatic, but_automatic_upgrades) = (flag(r)?, flag(r)?);
    let release = ReleaseFacts { origin, label, suite, codename, version, not_automatic, but_automatic_upgrades };
    Ok(Snapshot {
        packages,
        obsoletes: obsoletes.into_iter().collect(),
        provides: provides.into_iter().collect(),
        modules,
        default_streams,
        release,
        ..Snapshot::default()
    })
}

fn write_env(w: &mut Writer, key: &EnvKey) {
    place(w, &MANAGED, &key.managed);
    place(w, &SCHEMES, &key.scheme);
    [&key.os, &key.release, &key.architecture].into_iter().for_each(|text| w.text(text));
    // Rules have a form of their own; it cannot fail for plain data.
    w.text(&serde_json::to_string(&key.rules).unwrap_or_default());
    w.list(&key.views, |w, v| {
        w.text(&v.source);
        w.text(&v.root);
        w.id(v.priority);
        w.count(usize::from(v.module_hotfixes));
    });
}

fn read_env(r: &mut Reader<'_>) -> Result<EnvKey, BadState> {
    let (managed, scheme) = (one_of(r, &MANAGED, "a package manager")?, one_of(r, &SCHEMES, "a scheme")?);
    let mut word = || r.text().map(str::to_owned);
    let (os, release, architecture, rules) = (word()?, word()?, word()?, word()?);
    let rules = serde_json::from_str(&rules).map_err(|_| BadState::Inconsistent("rules"))?;
    let views = r.list(|r| {
        Ok(View {
            source: r.text()?.to_owned(),
            root: r.text()?.to_owned(),
            priority: u32::try_from(r.number()?).map_err(|_| BadState::Damaged)?,
            module_hotfixes: flag(r)?,
        })
    })?;
    Ok(EnvKey { managed, scheme, os, release, architecture, rules, views })
}

fn write_outcome(w: &mut Writer, o: &Outcome) {
    write_rising(w, &o.advisories);
    write_rising(w, &o.open);
    w.number(o.offers);
    let c = &o.counts;
    [c.updates, c.security_updates, c.held].into_iter().for_each(|n| w.id(n));
    [&c.advisories, &c.installable, &c.vulnerabilities].into_iter().flatten().for_each(|n| w.id(*n));
}

fn read_outcome(r: &mut Reader<'_>, advisories: usize, vulns: usize) -> Result<Outcome, BadState> {
    // Ids are packed with their state: eight to one.
    let (advisories, open) = (read_rising(r, advisories * 8)?, read_rising(r, vulns * 8)?);
    let offers = r.number()?;
    let mut n = || r.number().and_then(|n| u32::try_from(n).map_err(|_| BadState::Damaged));
    let mut counts = HostCounts { updates: n()?, security_updates: n()?, held: n()?, ..HostCounts::default() };
    for slot in counts.advisories.iter_mut().chain(&mut counts.installable).chain(&mut counts.vulnerabilities) {
        *slot = n()?;
    }
    Ok(Outcome { advisories: advisories.into(), open: open.into(), counts, offers })
}
