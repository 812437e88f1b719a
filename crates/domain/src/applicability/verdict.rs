//! What follows from one lot for hosts of one kind: what is offered, which advisories apply, which vulnerabilities are open.
//!
//! An advisory applies to the newest installed package of each architecture (and to the running kernel) that is older than its fix. A
//! vulnerability is open when an advisory that names it applies, or a vendor says that the package is touched; the vendor's statement
//! for the package goes before advisories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::advisories::{AdvisoryId, FixRow, Kept, StatementRow, VulnId};
use super::env::{Env, Managed};
use super::intern::{EMPTY, NONE, Text, Version};
use super::rules_rpm::{Held, Offer};
use super::tables::{Installed, Lot, LotId, PackageKey, Tables};
use super::{rules_apt, rules_rpm};
use crate::advisory::{AdvisoryKind, NameKind, Severity, Status};
use crate::version::Scheme;

/// How open a vulnerability is, the least first: what an operator can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OpenState {
    /// The fix is installed, and an older kernel still runs.
    AwaitsReboot,
    /// A fix is in what the host sees.
    Installable,
    /// A fix exists; what the host sees does not have it, or the host holds it back.
    Applicable,
    /// The vendor still looks whether the package is touched.
    UnderInvestigation,
    /// The vendor has no fix yet.
    NoFix,
    /// The vendor will not fix it here.
    WontFix,
}

impl OpenState {
    /// From the least to the worst.
    pub const ALL: [OpenState; 6] = [
        OpenState::AwaitsReboot,
        OpenState::Installable,
        OpenState::Applicable,
        OpenState::UnderInvestigation,
        OpenState::NoFix,
        OpenState::WontFix,
    ];
}

/// An offer with what is said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OfferRow {
    pub offer: Offer,
    pub kind: AdvisoryKind,
    pub severity: Severity,
    pub advisories: Vec<AdvisoryId>,
}

/// An advisory that applies to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AdvisoryRow {
    pub advisory: AdvisoryId,
    pub package: PackageKey,
    pub fix: Version,
    pub by: NameKind,
    pub state: OpenState,
}

/// A vulnerability open in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRow {
    pub vuln: VulnId,
    pub package: PackageKey,
    /// [`NONE`]: no fix.
    pub fix: Version,
    pub advisory: AdvisoryId,
    pub state: OpenState,
    pub severity: Severity,
    pub justification: Text,
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub offers: Vec<OfferRow>,
    pub advisories: Vec<AdvisoryRow>,
    pub open: Vec<OpenRow>,
}

impl Verdict {
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty() && self.advisories.is_empty() && self.open.is_empty()
    }
}

/// Computes it. `kernel` is the running one's release; empty when unknown.
pub(super) fn judge(tables: &Tables, env: &Env, lot: LotId, kernel: &str) -> Verdict {
    let lot = &tables.lots[lot as usize];
    let offers = match env.managed {
        Managed::Apt => rules_apt::offers(tables, env, lot.name, &lot.packages),
        Managed::Dnf | Managed::Dnf5 | Managed::Zypper => rules_rpm::offers(tables, env, lot.name, &lot.packages),
    };
    let case = Case { tables, env, lot, offers: &offers, kernel };
    let mut out = Verdict::default();
    for key in case.counted() {
        case.package(key, &mut out);
    }
    out.advisories.sort_unstable();
    out.advisories.dedup();
    out.open.sort_unstable_by_key(|row| (row.vuln, row.package));
    out.offers = offers.iter().map(|offer| case.described(*offer, &out.advisories)).collect();
    out
}

/// A vulnerability that concerns a package and is not open in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SettledRow {
    pub vuln: VulnId,
    pub package: PackageKey,
    /// It was, and the fix is installed; `false`: the vendor says that it never was.
    pub affected: bool,
    pub justification: Text,
}

/// What is settled in a lot. Not remembered: somebody asks for one host at a time.
pub(super) fn settled(tables: &Tables, env: &Env, lot: LotId, kernel: &str) -> Vec<SettledRow> {
    // What is offered changes how an open one stands, not whether it is open.
    let case = Case { tables, env, lot: &tables.lots[lot as usize], offers: &[], kernel };
    let mut out = Vec::new();
    for key in case.counted() {
        case.settled(key, &mut out);
    }
    out
}

/// Vulnerabilities that somebody says something of, by id.
fn named(said: &BTreeMap<VulnId, Said>, words: &BTreeMap<VulnId, &StatementRow>) -> Vec<VulnId> {
    let mut vulns: Vec<VulnId> = said.keys().chain(words.keys()).copied().collect();
    vulns.sort_unstable();
    vulns.dedup();
    vulns
}

struct Case<'a> {
    tables: &'a Tables,
    env: &'a Env,
    lot: &'a Lot,
    offers: &'a [Offer],
    kernel: &'a str,
}

/// What advisories say of one vulnerability in one package.
#[derive(Default)]
struct Said {
    /// The newest fix of an advisory that applies.
    open: Option<(FixRow, AdvisoryId)>,
    /// An advisory's fix is installed.
    closed: bool,
    severity: Severity,
}

impl Case<'_> {
    /// The packages that count: the newest of each architecture, and the running kernel.
    fn counted(&self) -> Vec<PackageKey> {
        let rank = |key: &PackageKey| self.tables.versions.rank(self.tables.installed(*key).version);
        let arch = |key: &PackageKey| self.tables.installed(*key).arch;
        if self.env.managed == Managed::Apt {
            let runs = !self.lot.kernel || self.kernel.is_empty() || self.deb_kernel_runs();
            return if runs { self.lot.packages.to_vec() } else { Vec::new() };
        }
        if self.env.managed == Managed::Zypper && !suse_multi_version(self.tables.name_text(self.lot.name)) {
            // libsolv asks for every installed package that is older.
            return self.lot.packages.to_vec();
        }
        let newest =
            |key: &&PackageKey| !self.lot.packages.iter().any(|other| arch(other) == arch(key) && rank(other) > rank(key));
        self.lot.packages.iter().filter(|key| newest(key) || (self.lot.kernel && self.rpm_kernel_runs(**key))).copied().collect()
    }

    fn deb_kernel_runs(&self) -> bool {
        let name = self.tables.name_text(self.lot.name);
        name.find(|c: char| c.is_ascii_digit()).is_some_and(|at| &name[at..] == self.kernel)
    }

    /// `4.18.0-553.el8.x86_64` is version, release and architecture; SUSE writes `6.4.0-150600.23-default` for `…23.1`.
    fn rpm_kernel_runs(&self, key: PackageKey) -> bool {
        let own = self.tables.installed(key);
        let version = self.tables.version_text(own.version);
        let version = version.split_once(':').map_or(version, |(_, v)| v);
        let arch = self.tables.texts.get(own.arch);
        if self.kernel.strip_suffix(arch).and_then(|k| k.strip_suffix('.')) == Some(version) {
            return true;
        }
        let flavourless = self.kernel.rsplit_once('-').map_or("", |(v, _)| v);
        self.env.managed == Managed::Zypper
            && flavourless.contains('-')
            && version.strip_prefix(flavourless).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    fn package(&self, key: PackageKey, out: &mut Verdict) {
        let own = self.tables.installed(key);
        let said = self.said(key, own, &mut out.advisories);
        let words = self.words(own);
        for vuln in named(&said, &words) {
            let row = self.open(key, own, vuln, said.get(&vuln), words.get(&vuln).copied());
            out.open.extend(row);
        }
    }

    /// What concerns a package and is not open in it.
    fn settled(&self, key: PackageKey, out: &mut Vec<SettledRow>) {
        let own = self.tables.installed(key);
        let said = self.said(key, own, &mut Vec::new());
        let words = self.words(own);
        for vuln in named(&said, &words) {
            let (said, word) = (said.get(&vuln), words.get(&vuln).copied());
            if self.open(key, own, vuln, said, word).is_none() {
                let affected = word.is_none_or(|w| w.status != Status::NotAffected);
                out.push(SettledRow { vuln, package: key, affected, justification: word.map_or(EMPTY, |w| w.justification) });
            }
        }
    }

    /// What advisories say of a package; those that apply are noted.
    fn said(&self, key: PackageKey, own: &Installed, applying: &mut Vec<AdvisoryRow>) -> BTreeMap<VulnId, Said> {
        let advisories = &self.tables.advisories;
        let mut said: BTreeMap<VulnId, Said> = BTreeMap::new();
        for (by, name) in [(NameKind::Binary, own.name), (NameKind::Source, own.source)] {
            for (edition, fix) in advisories.fixes_of(name).iter().filter(|(_, fix)| fix.by == by) {
                let Some(kept) = advisories.edition(*edition) else { continue };
                if !self.concerns(own, fix, kept) {
                    continue;
                }
                let advisory = kept.edition.advisory;
                let applies = self.tables.versions.older(version_of(own, by), fix.version);
                if applies {
                    let state = self.state(key, own, fix.by, fix.version);
                    applying.push(AdvisoryRow { advisory, package: key, fix: fix.version, by, state });
                }
                for cve in &kept.edition.cves {
                    let entry = said.entry(*cve).or_default();
                    entry.closed |= !applies;
                    if applies {
                        entry.severity = entry.severity.max(kept.edition.severity);
                        // Of equal fixes the first id is named, in whatever order they came.
                        let text = |id: AdvisoryId| self.tables.texts.get(advisories.records[id as usize].id);
                        let further = |(old, id): &(FixRow, AdvisoryId)| {
                            let (old_rank, rank) =
                                (self.tables.versions.rank(old.version), self.tables.versions.rank(fix.version));
                            old.by == fix.by && (old_rank > rank || (old_rank == rank && text(*id) <= text(advisory)))
                        };
                        if !entry.open.as_ref().is_some_and(further) {
                            entry.open = Some((*fix, advisory));
                        }
                    }
                }
            }
        }
        said
    }

    /// Is a fix about this package on this kind of host?
    fn concerns(&self, own: &Installed, fix: &FixRow, kept: &Kept) -> bool {
        let env = self.env;
        env.is_of(fix.product)
            && self.arch_fits(own, fix)
            && self.tables.advisories.counts(kept, |root| env.sees(root))
            && self.module_fits(own, fix, kept)
            && self.vendor_fits(own, fix, kept)
    }

    fn arch_fits(&self, own: &Installed, fix: &FixRow) -> bool {
        if fix.arch == EMPTY || fix.arch == own.arch {
            return true;
        }
        // A patch of SUSE's is about packages without an architecture too, and one without is about all.
        self.env.managed == Managed::Zypper && (own.arch == self.tables.noarch || fix.arch == self.tables.noarch)
    }

    /// zypper: a patch whose own repository has the fixed package only from vendors that the host does not change to is not for it.
    fn vendor_fits(&self, own: &Installed, fix: &FixRow, kept: &Kept) -> bool {
        if self.env.managed != Managed::Zypper || !kept.feeds.is_empty() || fix.by == NameKind::Source {
            return true;
        }
        let allowed = self.env.rules.vendor_change == Some(true);
        let views = self.env.views.iter().filter(|v| kept.roots.contains(&v.root));
        let snapshots = views.filter_map(|v| self.tables.snapshot(v.root));
        let mut fixed = snapshots
            .flat_map(|s| s.named(own.name))
            .map(|id| self.tables.available.get(*id))
            .filter(|p| self.tables.versions.at_least(p.version, fix.version))
            .filter(|p| fix.arch == EMPTY || fix.arch == self.tables.noarch || p.arch == fix.arch || p.arch == self.tables.noarch)
            .peekable();
        fixed.peek().is_none() || fixed.any(|p| allowed || rules_rpm::same_vendor(self.tables, own.vendor, p.vendor))
    }

    fn module_fits(&self, own: &Installed, fix: &FixRow, kept: &Kept) -> bool {
        if !self.env.managed.is_dnf() {
            return true;
        }
        match fix.module {
            Some((module, stream)) => self.env.modular.in_force(module, stream),
            // updateinfo without a module is taken as dnf takes it: by name, architecture and version.
            None if kept.feeds.is_empty() => true,
            None if fix.modular && own.modular => {
                match (self.env.modular.stream_of(own.name, own.version), self.env.modular.stream_of(own.name, fix.version)) {
                    (Some(a), Some(b)) => a == b,
                    _ => self.same_major(own.version, fix.version),
                }
            }
            None => fix.modular == own.modular,
        }
    }

    /// The stream is unknown on both sides: versions of one stream begin alike.
    fn same_major(&self, a: Version, b: Version) -> bool {
        let major = |v| self.tables.version_text(v).split(['.', '-']).next().unwrap_or_default().to_owned();
        major(a) == major(b)
    }

    /// Can the fix be installed from what the host sees?
    fn state(&self, key: PackageKey, own: &Installed, by: NameKind, fix: Version) -> OpenState {
        let versions = &self.tables.versions;
        let is_there = self.lot.packages.iter().any(|other| {
            let other = self.tables.installed(*other);
            other.arch == own.arch && versions.at_least(version_of(other, by), fix) && source_fits(own, other.source, by)
        });
        if is_there {
            return OpenState::AwaitsReboot;
        }
        let offered = self.offers.iter().filter(|o| o.held == Held::Free).any(|offer| {
            let to = self.tables.available.get(offer.to);
            let version = if by == NameKind::Source { to.source_version } else { to.version };
            offer.obsoletes != NONE
                || (offer.from == key || to.arch == own.arch)
                    && source_fits(own, to.source, by)
                    && versions.at_least(version, fix)
        });
        if offered || (self.lot.kernel && self.env.managed == Managed::Apt && self.newer_source(own, by, fix)) {
            OpenState::Installable
        } else {
            OpenState::Applicable
        }
    }

    /// deb kernels have a new name for each version: is there any package of this source with the fix?
    fn newer_source(&self, own: &Installed, by: NameKind, fix: Version) -> bool {
        by == NameKind::Source
            && self.env.snapshots(self.tables).any(|(_, snapshot)| {
                snapshot
                    .packages
                    .iter()
                    .map(|id| self.tables.available.get(*id))
                    .any(|p| p.source == own.source && self.tables.versions.at_least(p.source_version, fix))
            })
    }

    /// The statement to go by for each vulnerability: the one for the closest product; of several the worst.
    fn words(&self, own: &Installed) -> BTreeMap<VulnId, &StatementRow> {
        let advisories = &self.tables.advisories;
        let closeness = |s: &StatementRow| {
            let product = &advisories.products()[s.product as usize];
            (
                product.release.len(),
                product.os.len(),
                s.by == NameKind::Binary,
                weight(s.status),
                self.tables.versions.rank(s.version),
            )
        };
        let mut out: BTreeMap<VulnId, &StatementRow> = BTreeMap::new();
        for (by, name) in [(NameKind::Binary, own.name), (NameKind::Source, own.source)] {
            for s in advisories.statements_of(name).iter().filter(|s| s.by == by && self.env.is_of(s.product)) {
                let module = match s.module {
                    Some((module, stream)) => self.env.modular.in_force(module, stream),
                    None => true,
                };
                if module && out.get(&s.vuln).is_none_or(|old| closeness(s) > closeness(old)) {
                    out.insert(s.vuln, s);
                }
            }
        }
        out
    }

    fn open(
        &self,
        key: PackageKey,
        own: &Installed,
        vuln: VulnId,
        said: Option<&Said>,
        word: Option<&StatementRow>,
    ) -> Option<OpenRow> {
        let by_advisory = said.and_then(|s| s.open);
        let closed = said.is_some_and(|s| s.closed && s.open.is_none());
        let fixed = |fix: Version, by| (fix, self.state(key, own, by, fix));
        let (fix, state) = match (word.map(|w| (w.status, w)), by_advisory) {
            (Some((Status::NotAffected, _)), _) => return None,
            (Some((Status::Fixed, w)), _) => {
                if self.tables.versions.at_least(version_of(own, w.by), w.version) {
                    return None;
                }
                fixed(w.version, w.by)
            }
            (_, Some((fix, _))) => fixed(fix.version, fix.by),
            _ if closed => return None,
            (Some((Status::Affected, _)), None) => (NONE, OpenState::NoFix),
            (Some((Status::UnderInvestigation, _)), None) => (NONE, OpenState::UnderInvestigation),
            (Some((Status::WontFix, _)), None) => (NONE, OpenState::WontFix),
            (None, None) => return None,
        };
        Some(OpenRow {
            vuln,
            package: key,
            fix,
            advisory: by_advisory.map_or(NONE, |(_, advisory)| advisory),
            state,
            severity: word.map_or(Severity::Unknown, |w| w.severity),
            justification: word.map_or(EMPTY, |w| w.justification),
        })
    }

    /// What the offer brings, by the advisories that apply to what it replaces and that it satisfies.
    fn described(&self, offer: Offer, applying: &[AdvisoryRow]) -> OfferRow {
        let to = self.tables.available.get(offer.to);
        let satisfied = |row: &&AdvisoryRow| {
            let version = if row.by == NameKind::Source { to.source_version } else { to.version };
            // Versions of two sources do not compare: their ranks are of two names.
            offer.obsoletes == NONE
                && row.package == offer.from
                && source_fits(self.tables.installed(row.package), to.source, row.by)
                && self.tables.versions.at_least(version, row.fix)
        };
        let mut advisories: Vec<AdvisoryId> = applying.iter().filter(satisfied).map(|row| row.advisory).collect();
        advisories.dedup();
        let (mut kind, mut severity) = (AdvisoryKind::Other, Severity::Unknown);
        for advisory in &advisories {
            let (k, s) = self.tables.advisories.weight(*advisory, |root| self.env.sees(root));
            (kind, severity) = (kind.min(k), severity.max(s));
        }
        if self.env.key.scheme == Scheme::Deb && kind == AdvisoryKind::Other && self.is_security_archive(offer.view) {
            kind = AdvisoryKind::Security;
        }
        OfferRow { offer, kind, severity, advisories }
    }

    /// Debian and Ubuntu put security updates in archives of their own.
    fn is_security_archive(&self, view: u32) -> bool {
        let root = self.env.views.get(view as usize).map_or(NONE, |v| v.root);
        self.tables.snapshot(root).is_some_and(|s| {
            let release = &s.release;
            release.label.ends_with("-Security")
                || release.suite.ends_with("-security")
                || release.codename.ends_with("-security")
        })
    }
}

fn version_of(own: &Installed, by: NameKind) -> Version {
    if by == NameKind::Source { own.source_version } else { own.version }
}

fn source_fits(own: &Installed, source: u32, by: NameKind) -> bool {
    by == NameKind::Binary || own.source == source
}

/// SUSE's kernels, which `multiversion = provides:multiversion(kernel)` keeps beside each other.
fn suse_multi_version(name: &str) -> bool {
    const OTHERS: [&str; 4] = ["kernel-core", "kernel-modules", "kernel-firmware", "kernel-headers"];
    name.starts_with("kernel-") && !OTHERS.iter().any(|other| name.starts_with(other))
}

/// Of contradicting statements of one closeness the worst counts.
fn weight(status: Status) -> u8 {
    match status {
        Status::NotAffected => 0,
        Status::Fixed => 1,
        Status::UnderInvestigation => 2,
        Status::WontFix => 3,
        Status::Affected => 4,
    }
}
