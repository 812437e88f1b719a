//! Results of a fleet, in words: of one host, and which hosts an advisory, a vulnerability or a package concerns.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::advisories::{AdvisoryId, VulnId};
use super::class::{Class, HostCounts, find, known, unpack};
use super::fleet::Fleet;
use super::intern::{EMPTY, NONE, Name};
use super::rules_rpm::Held;
use super::tables::RootId;
use super::verdict::{OfferRow, OpenState};
use crate::advisory::{AdvisoryKind, NameKind, Severity, Status};
use crate::ids::InstanceId;
use crate::version::Scheme;

/// What follows for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostReport {
    /// Updates, by name; held ones too.
    pub updates: Vec<HostUpdate>,
    /// Advisories that apply, by id.
    pub advisories: Vec<HostAdvisory>,
    /// Open vulnerabilities, by id.
    pub vulnerabilities: Vec<HostVulnerability>,
}

/// An update that a host is offered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostUpdate {
    /// Package name.
    pub name: String,
    /// Architecture that is installed; of a package that is not: the one offered.
    pub arch: String,
    /// Installed version; empty when it is a new package that obsoletes others.
    pub from: String,
    /// Version offered.
    pub to: String,
    /// Architecture offered.
    pub to_arch: String,
    /// The view that offers it.
    pub source: String,
    /// The snapshot behind it.
    pub root: String,
    /// What it is for, as the advisories it satisfies say.
    pub kind: AdvisoryKind,
    /// The worst of them.
    pub severity: Severity,
    /// Their ids.
    pub advisories: Vec<String>,
    /// Names it replaces.
    pub obsoletes: Vec<String>,
    /// Why it is not going to be installed; empty = free.
    pub held: String,
    /// deb: to how many hundredths of hosts it is rolled out; 100 = to all.
    pub phased_percent: u8,
}

/// An advisory that applies to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAdvisory {
    /// Id.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// How bad.
    pub severity: Severity,
    /// What it closes.
    pub cves: Vec<String>,
    /// Can all its fixes be installed from what the host sees?
    pub installable: bool,
    /// Where it applies.
    pub packages: Vec<AdvisoryPackage>,
}

/// A package that an advisory applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdvisoryPackage {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version installed.
    pub installed: String,
    /// First version without the fault (of the source, where the advisory names sources).
    pub fixed: String,
    /// Can it be installed from what the host sees?
    pub installable: bool,
}

/// A vulnerability that is open on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVulnerability {
    /// Id.
    pub id: String,
    /// The vendor's severity for the package, else the vulnerability's.
    pub severity: Severity,
    /// The worst of its packages.
    pub state: OpenState,
    /// Where it is open.
    pub packages: Vec<OpenPackage>,
}

/// A package with an open vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPackage {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version installed.
    pub installed: String,
    /// First version without the fault (of the source, where the vendor names sources); none: there is no fix.
    pub fixed: Option<String>,
    /// The advisory that brings it.
    pub advisory: Option<String>,
    /// What can be done.
    pub state: OpenState,
    /// In the vendor's words.
    pub justification: String,
}

/// An advisory over the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoryTotal {
    /// Id.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// How bad.
    pub severity: Severity,
    /// Hosts it applies to.
    pub applicable: u32,
    /// Of these, hosts that see all its fixes.
    pub installable: u32,
}

/// A vulnerability over the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VulnerabilityTotal {
    /// Id.
    pub id: String,
    /// As the vulnerability says; packages of hosts may differ.
    pub severity: Severity,
    /// Hosts it is open on.
    pub open: u32,
    /// Of these, hosts that can close it from what they see.
    pub installable: u32,
}

/// Sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Hosts.
    pub hosts: usize,
    /// Classes: distinct results at most.
    pub classes: usize,
    /// Distinct installed packages ever seen.
    pub packages: usize,
    /// Snapshots that are there.
    pub snapshots: usize,
    /// Advisories that somebody says something of.
    pub advisories: usize,
    /// Vendors' statements.
    pub statements: usize,
    /// Texts that are no versions: their packages take part in nothing.
    pub bad_versions: usize,
}

impl Held {
    /// For people.
    fn words(self, zypper: bool) -> &'static str {
        match self {
            Held::Free => "",
            Held::Excluded => "excluded",
            Held::VersionLock => "versionlock",
            Held::Locked if zypper => "locked",
            Held::Locked => "versionlock",
            Held::Hold => "held by apt-mark",
        }
    }
}

impl Fleet {
    /// Everything of one host, as of the last settlement.
    pub fn host(&self, id: InstanceId) -> Option<HostReport> {
        let class = self.class_of(id)?;
        let mut report = HostReport::default();
        let mut advisories: BTreeMap<AdvisoryId, HostAdvisory> = BTreeMap::new();
        let mut open: BTreeMap<VulnId, HostVulnerability> = BTreeMap::new();
        for (_, verdict) in self.verdicts(class) {
            report.updates.extend(verdict.offers.iter().filter_map(|row| self.update(class, row)));
            for row in &verdict.advisories {
                let own = self.tables.installed(row.package);
                let entry = advisories.entry(row.advisory).or_insert_with(|| self.host_advisory(class, row.advisory));
                let installable = row.state <= OpenState::Installable;
                entry.installable &= installable;
                entry.packages.push(AdvisoryPackage {
                    name: self.tables.name_text(own.name).to_owned(),
                    arch: self.tables.texts.get(own.arch).to_owned(),
                    installed: self.tables.version_text(own.version).to_owned(),
                    fixed: self.tables.version_text(row.fix).to_owned(),
                    installable,
                });
            }
            for row in &verdict.open {
                let own = self.tables.installed(row.package);
                let entry = open.entry(row.vuln).or_insert_with(|| HostVulnerability {
                    id: self.vuln_id(row.vuln),
                    severity: Severity::Unknown,
                    state: OpenState::AwaitsReboot,
                    packages: Vec::new(),
                });
                entry.severity = entry.severity.max(row.severity);
                entry.state = entry.state.max(row.state);
                let advisory = |id: AdvisoryId| (id != NONE).then(|| self.advisory_id(id));
                entry.packages.push(OpenPackage {
                    name: self.tables.name_text(own.name).to_owned(),
                    arch: self.tables.texts.get(own.arch).to_owned(),
                    installed: self.tables.version_text(own.version).to_owned(),
                    fixed: (row.fix != NONE).then(|| self.tables.version_text(row.fix).to_owned()),
                    advisory: advisory(row.advisory),
                    state: row.state,
                    justification: self.tables.texts.get(row.justification).to_owned(),
                });
            }
        }
        join_obsoletes(&mut report.updates);
        report.advisories = advisories.into_values().collect();
        report.advisories.sort_by(|a, b| a.id.cmp(&b.id));
        report.advisories.iter_mut().for_each(|a| a.packages.sort_unstable());
        for (vuln, mut found) in open {
            if found.severity == Severity::Unknown {
                found.severity = self.tables.advisories.vulns[vuln as usize].severity;
            }
            found.packages.sort_by(|a, b| (&a.name, &a.arch, &a.installed).cmp(&(&b.name, &b.arch, &b.installed)));
            report.vulnerabilities.push(found);
        }
        report.vulnerabilities.sort_by(|a, b| a.id.cmp(&b.id));
        Some(report)
    }

    fn update(&self, class: &Class, row: &OfferRow) -> Option<HostUpdate> {
        let env = self.env_of(class)?;
        let view = env.views.get(row.offer.view as usize)?;
        let to = self.tables.available.get(row.offer.to);
        let from = (row.offer.from != NONE).then(|| self.tables.installed(row.offer.from));
        let text = |id| self.tables.texts.get(id).to_owned();
        Some(HostUpdate {
            name: self.tables.name_text(to.name).to_owned(),
            arch: text(from.map_or(to.arch, |own| own.arch)),
            from: from.map_or(String::new(), |own| self.tables.version_text(own.version).to_owned()),
            to: self.tables.version_text(to.version).to_owned(),
            to_arch: text(to.arch),
            source: view.source.clone(),
            root: self.root_text(view.root),
            kind: row.kind,
            severity: row.severity,
            advisories: row.advisories.iter().map(|id| self.advisory_id(*id)).collect(),
            obsoletes: match row.offer.obsoletes {
                NONE => Vec::new(),
                name => vec![self.tables.name_text(name).to_owned()],
            },
            held: row.offer.held.words(env.managed == super::env::Managed::Zypper).to_owned(),
            phased_percent: to.phased,
        })
    }

    fn root_text(&self, root: RootId) -> String {
        self.tables.texts.get(self.tables.root_names.get(root as usize).copied().unwrap_or(EMPTY)).to_owned()
    }

    fn advisory_id(&self, id: AdvisoryId) -> String {
        self.tables.texts.get(self.tables.advisories.records[id as usize].id).to_owned()
    }

    fn vuln_id(&self, id: VulnId) -> String {
        self.tables.texts.get(self.tables.advisories.vulns[id as usize].id).to_owned()
    }

    fn host_advisory(&self, class: &Class, id: AdvisoryId) -> HostAdvisory {
        let sees = |root| self.env_of(class).is_some_and(|env| env.sees(root));
        let (kind, severity) = self.tables.advisories.weight(id, sees);
        let cves: BTreeSet<VulnId> =
            self.tables.advisories.said_to(id, sees).flat_map(|edition| edition.cves.iter().copied()).collect();
        let mut cves: Vec<String> = cves.into_iter().map(|v| self.vuln_id(v)).collect();
        cves.sort_unstable();
        HostAdvisory { id: self.advisory_id(id), kind, severity, cves, installable: true, packages: Vec::new() }
    }

    /// A host's numbers.
    pub fn counts(&self, id: InstanceId) -> Option<HostCounts> {
        Some(self.class_of(id)?.outcome.counts)
    }

    /// Hosts an advisory applies to, by id; `true`: all its fixes are in what the host sees.
    pub fn hosts_of_advisory(&self, id: &str) -> Vec<(InstanceId, bool)> {
        let found = self.tables.texts.find(id).and_then(|id| self.tables.advisories.find(id));
        let Some(advisory) = found else { return Vec::new() };
        self.hosts_where(|class| Some(find(&class.outcome.advisories, advisory)? <= OpenState::Installable))
    }

    /// Hosts a vulnerability is open on, by id.
    pub fn hosts_of_vulnerability(&self, id: &str) -> Vec<(InstanceId, OpenState)> {
        let found = self.tables.texts.find(id).and_then(|id| self.tables.advisories.find_vuln(id));
        let Some(vuln) = found else { return Vec::new() };
        self.hosts_where(|class| find(&class.outcome.open, vuln))
    }

    fn hosts_where<T: Copy>(&self, holds: impl Fn(&Class) -> Option<T>) -> Vec<(InstanceId, T)> {
        let mut out = Vec::new();
        for class in self.classes.iter().flatten() {
            if let Some(value) = holds(class) {
                out.extend(class.hosts.iter().map(|host| (*host, value)));
            }
        }
        out.sort_unstable_by_key(|(host, _)| *host);
        out
    }

    /// Hosts with a free update of a package: installed and offered version.
    pub fn hosts_of_update(&self, name: &str) -> Vec<(InstanceId, String, String)> {
        let Some(text) = self.tables.texts.find(name) else { return Vec::new() };
        let names: Vec<Name> =
            [Scheme::Rpm, Scheme::Deb].into_iter().filter_map(|s| self.tables.versions.find_name(text, s)).collect();
        let mut out = Vec::new();
        for class in self.classes.iter().flatten() {
            let Some(env) = self.env_of(class) else { continue };
            for lot in names.iter().filter_map(|name| self.tables.lots_by_name.get(name)).flatten() {
                if class.lots.binary_search(lot).is_err() {
                    continue;
                }
                let Some(verdict) = known(&self.tables, env, *lot, class.kernel) else { continue };
                for row in verdict.offers.iter().filter(|row| row.offer.held == Held::Free && row.offer.obsoletes == NONE) {
                    let from = self.tables.version_text(self.tables.installed(row.offer.from).version);
                    let to = self.tables.version_text(self.tables.available.get(row.offer.to).version);
                    out.extend(class.hosts.iter().map(|host| (*host, from.to_owned(), to.to_owned())));
                }
            }
        }
        out.sort_unstable();
        out
    }

    /// Every advisory that applies to a host, by id.
    pub fn advisory_totals(&self) -> Vec<AdvisoryTotal> {
        self.advisory_totals_among(None)
    }

    /// The same over these hosts; `None`: over all.
    pub fn advisory_totals_among(&self, among: Option<&HashSet<InstanceId>>) -> Vec<AdvisoryTotal> {
        let sums = self.sums(self.tables.advisories.records.len(), among, |class| &class.outcome.advisories);
        let total = |(id, (applicable, installable)): (u32, (u32, u32))| {
            let (kind, severity) = self.tables.advisories.weight(id, |_| true);
            AdvisoryTotal { id: self.advisory_id(id), kind, severity, applicable, installable }
        };
        let mut out: Vec<AdvisoryTotal> = sums.map(total).collect();
        out.sort_by(|a, b| a.id.cmp(&b.id));
        out
    }

    /// Every vulnerability that is open on a host, by id.
    pub fn vulnerability_totals(&self) -> Vec<VulnerabilityTotal> {
        self.vulnerability_totals_among(None)
    }

    /// The same over these hosts; `None`: over all.
    pub fn vulnerability_totals_among(&self, among: Option<&HashSet<InstanceId>>) -> Vec<VulnerabilityTotal> {
        let vulns = &self.tables.advisories.vulns;
        let sums = self.sums(vulns.len(), among, |class| &class.outcome.open);
        let total = |(id, (open, installable)): (u32, (u32, u32))| VulnerabilityTotal {
            id: self.vuln_id(id),
            severity: vulns[id as usize].severity,
            open,
            installable,
        };
        let mut out: Vec<VulnerabilityTotal> = sums.map(total).collect();
        out.sort_by(|a, b| a.id.cmp(&b.id));
        out
    }

    /// Hosts by id: all, and those that can do something about it.
    fn sums<'a>(
        &'a self,
        ids: usize,
        among: Option<&HashSet<InstanceId>>,
        list: impl Fn(&'a Class) -> &'a [u32],
    ) -> impl Iterator<Item = (u32, (u32, u32))> {
        let mut sums = vec![(0, 0); ids];
        for class in self.classes.iter().flatten() {
            let hosts = match among {
                None => class.hosts.len(),
                Some(some) => class.hosts.iter().filter(|host| some.contains(host)).count(),
            };
            if hosts == 0 {
                continue;
            }
            let hosts = super::intern::small(hosts);
            for packed in list(class) {
                let (id, state) = unpack(*packed);
                let sum: &mut (u32, u32) = &mut sums[id as usize];
                sum.0 += hosts;
                sum.1 += if state <= OpenState::Installable { hosts } else { 0 };
            }
        }
        sums.into_iter().enumerate().filter(|(_, sum)| sum.0 > 0).map(|(id, sum)| (super::intern::small(id), sum))
    }

    /// Which snapshots hold a version of the package that closes a vulnerability, and the newest such version each.
    pub fn closing(&self, vulnerability: &str, name: &str, scheme: Scheme) -> Vec<(String, String)> {
        let t = &self.tables;
        let name = t.texts.find(name).and_then(|text| t.versions.find_name(text, scheme));
        let vuln = t.texts.find(vulnerability).and_then(|id| t.advisories.find_vuln(id));
        let (Some(name), Some(vuln)) = (name, vuln) else { return Vec::new() };
        let mut out = Vec::new();
        for (n, snapshot) in t.snapshots.iter().enumerate().filter_map(|(n, s)| s.as_ref().map(|(_, s)| (n, s))) {
            let closes = |id: &&u32| {
                let package = t.available.get(**id);
                let fixes = self.fixes(vuln, package.name, package.source);
                let version = |by| if by == NameKind::Source { package.source_version } else { package.version };
                fixes.iter().any(|(by, fix)| t.versions.at_least(version(*by), *fix))
            };
            let best = snapshot.named(name).iter().filter(closes).max_by_key(|id| t.versions.rank(t.available.get(**id).version));
            if let Some(id) = best {
                let root = self.root_text(super::intern::small(n));
                out.push((root, t.version_text(t.available.get(*id).version).to_owned()));
            }
        }
        out.sort_unstable();
        out
    }

    /// Versions that close a vulnerability in a package, as anybody says.
    fn fixes(&self, vuln: VulnId, name: Name, source: Name) -> Vec<(NameKind, u32)> {
        let mut out = Vec::new();
        for (by, name) in [(NameKind::Binary, name), (NameKind::Source, source)] {
            let advisories = self.tables.advisories.fixes_of(name).iter().filter(|(_, fix)| fix.by == by);
            let naming = advisories.filter(|(edition, _)| {
                self.tables.advisories.edition(*edition).is_some_and(|kept| kept.edition.cves.binary_search(&vuln).is_ok())
            });
            out.extend(naming.map(|(_, fix)| (by, fix.version)));
            let words = self.tables.advisories.statements_of(name).iter();
            out.extend(words.filter(|s| s.vuln == vuln && s.by == by && s.status == Status::Fixed).map(|s| (by, s.version)));
        }
        out
    }

    /// The ids of what is open on a host: without the packages, and so without asking why.
    pub fn open_on(&self, id: InstanceId) -> Option<impl Iterator<Item = &str>> {
        let open = &self.class_of(id)?.outcome.open;
        let text = |packed: &u32| self.tables.advisories.vulns[unpack(*packed).0 as usize].id;
        Some(open.iter().map(move |packed| self.tables.texts.get(text(packed))))
    }

    /// The hosts there are, in no order.
    pub fn hosts(&self) -> impl Iterator<Item = InstanceId> {
        self.hosts.keys().copied()
    }

    /// Sizes.
    pub fn stats(&self) -> Stats {
        Stats {
            hosts: self.hosts.len(),
            classes: self.classes.iter().flatten().count(),
            packages: self.tables.installed.len(),
            snapshots: self.tables.snapshots.iter().flatten().count(),
            advisories: self.tables.advisories.records.iter().filter(|r| !r.editions.is_empty()).count(),
            statements: self.tables.advisories.statements().map(|(_, list)| list.len()).sum(),
            bad_versions: self.tables.versions.bad(),
        }
    }
}

/// A package that obsoletes several installed ones is one update.
fn join_obsoletes(updates: &mut Vec<HostUpdate>) {
    updates.sort_unstable();
    updates.dedup_by(|later, first| {
        let same = !first.obsoletes.is_empty()
            && !later.obsoletes.is_empty()
            && (&first.name, &first.to, &first.to_arch, &first.source) == (&later.name, &later.to, &later.to_arch, &later.source);
        if same {
            first.obsoletes.append(&mut later.obsoletes);
        }
        same
    });
}
