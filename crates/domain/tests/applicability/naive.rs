//! The same questions answered slowly: strings, loops, no index, no sharing. Written from the rules, not from the engine.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::advisory::{Advisory, NameKind, Statement, Status};
use drydock_domain::applicability::facts::{PackageFacts, View};
use drydock_domain::inventory::{OsFacts, Package};
use drydock_domain::version::{Scheme, compare};

/// A host as the slow implementation sees it: dnf, no modules.
pub struct Host<'a> {
    pub os: &'a OsFacts,
    pub packages: &'a [Package],
    /// Names that are excluded.
    pub excluded: &'a [String],
    /// `(name, version)`: only this version.
    pub locked: &'a [(String, String)],
    pub views: &'a [(View, &'a [PackageFacts])],
}

/// (name, installed arch, from, to, offered arch, source).
pub type Update = (String, String, String, String, String, String);

fn newer(a: &str, b: &str) -> bool {
    compare(Scheme::Rpm, a, b) == Ok(Ordering::Greater)
}

/// What `dnf check-update` lists.
pub fn updates(host: &Host<'_>) -> BTreeSet<Update> {
    let mut out = BTreeSet::new();
    let names: BTreeSet<&str> = host.packages.iter().map(|p| p.name.as_str()).collect();
    for name in names {
        if host.excluded.iter().any(|e| e == name) {
            continue;
        }
        let free = |p: &PackageFacts| host.locked.iter().all(|(n, v)| n != name || *v == p.version);
        let mut all: Vec<(&View, &PackageFacts)> = Vec::new();
        for (view, facts) in host.views {
            all.extend(facts.iter().filter(|p| p.name == name && free(p)).map(|p| (view, p)));
        }
        let Some(best) = all.iter().map(|(view, _)| view.priority).min() else { continue };
        all.retain(|(view, _)| view.priority == best);
        let installed: Vec<&Package> = host.packages.iter().filter(|p| p.name == name).collect();
        let mut found: BTreeMap<&str, (&View, &PackageFacts, &Package)> = BTreeMap::new();
        for (view, candidate) in all {
            let fits = |p: &&&Package| p.arch == candidate.arch || p.arch == "noarch" || candidate.arch == "noarch";
            let rivals: Vec<&&Package> = installed.iter().filter(fits).collect();
            if rivals.is_empty() || rivals.iter().any(|p| !newer(&candidate.version, &p.version)) {
                continue;
            }
            let from = rivals.into_iter().fold(None::<&Package>, |best, p| match best {
                Some(b) if !newer(&p.version, &b.version) => Some(b),
                _ => Some(p),
            });
            let better = found.get(candidate.arch.as_str()).is_none_or(|(_, old, _)| newer(&candidate.version, &old.version));
            if let (true, Some(from)) = (better, from) {
                found.insert(&candidate.arch, (view, candidate, from));
            }
        }
        for (view, to, from) in found.into_values() {
            out.insert((
                name.to_owned(),
                from.arch.clone(),
                from.version.clone(),
                to.version.clone(),
                to.arch.clone(),
                view.source.clone(),
            ));
        }
    }
    out
}

/// Newest installed of each name and architecture.
fn counted<'a>(host: &Host<'a>) -> Vec<&'a Package> {
    let beaten =
        |p: &&Package| host.packages.iter().any(|o| o.name == p.name && o.arch == p.arch && newer(&o.version, &p.version));
    host.packages.iter().filter(|p| !beaten(p)).collect()
}

fn source(p: &Package) -> (&str, String) {
    let stem = p.source.trim_end_matches(".src.rpm");
    let mut parts = stem.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(r), Some(v), Some(n)) => {
            let epoch = p.version.split_once(':').map_or(String::new(), |(e, _)| format!("{e}:"));
            (n, format!("{epoch}{v}-{r}"))
        }
        _ => (&p.name, p.version.clone()),
    }
}

/// Advisories that apply: id to the packages `(name, arch, installed)`.
pub fn advisories<'a>(
    host: &Host<'_>,
    all: impl IntoIterator<Item = &'a Advisory>,
) -> BTreeMap<String, BTreeSet<(String, String, String)>> {
    let mut out: BTreeMap<String, BTreeSet<(String, String, String)>> = BTreeMap::new();
    for advisory in all.into_iter().filter(|a| !a.withdrawn) {
        for fix in &advisory.fixes {
            for p in counted(host) {
                let (source_name, source_version) = source(p);
                let (name, version) = match fix.by {
                    NameKind::Binary => (p.name.as_str(), p.version.as_str()),
                    NameKind::Source => (source_name, source_version.as_str()),
                };
                let arch = fix.arch.is_empty() || fix.arch == p.arch;
                if fix.product.matches(host.os) && name == fix.name && arch && newer(&fix.version, version) {
                    let package = (p.name.clone(), p.arch.clone(), p.version.clone());
                    out.entry(advisory.id.clone()).or_default().insert(package);
                }
            }
        }
    }
    out
}

/// The advisories that an update satisfies, of those that apply to what it replaces. `(name, arch, from, to)`; what is offered is
/// built from a source of its own name.
pub fn told<'a>(
    host: &Host<'_>,
    all: impl IntoIterator<Item = &'a Advisory>,
    (name, arch, from, to): (&str, &str, &str, &str),
) -> BTreeSet<String> {
    let counted = counted(host);
    let Some(p) = counted.into_iter().find(|p| p.name == name && p.arch == arch && p.version == from) else {
        return BTreeSet::new();
    };
    let (source_name, source_version) = source(p);
    let satisfied = |a: &&Advisory| {
        a.fixes.iter().any(|fix| {
            let (own, version) = match fix.by {
                NameKind::Binary => (name, p.version.as_str()),
                NameKind::Source => (source_name, source_version.as_str()),
            };
            let applies = own == fix.name && (fix.arch.is_empty() || fix.arch == arch) && newer(&fix.version, version);
            let same_source = fix.by == NameKind::Binary || source_name == name;
            fix.product.matches(host.os) && applies && same_source && !newer(&fix.version, to)
        })
    };
    all.into_iter().filter(|a| !a.withdrawn).filter(satisfied).map(|a| a.id.clone()).collect()
}

/// Open vulnerabilities: id to the names of packages.
pub fn open(host: &Host<'_>, advisories: &[Advisory], statements: &[Statement]) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for p in counted(host) {
        let mut vulns: BTreeSet<&str> = advisories.iter().flat_map(|a| a.cves.iter().map(String::as_str)).collect();
        vulns.extend(statements.iter().map(|s| s.vulnerability.as_str()));
        let one = Host { packages: std::slice::from_ref(p), ..*host };
        for vuln in vulns {
            let naming: Vec<&Advisory> = advisories.iter().filter(|a| !a.withdrawn && a.cves.iter().any(|c| c == vuln)).collect();
            let applies = !self::advisories(&one, naming.iter().copied()).is_empty();
            let (source_name, source_version) = source(p);
            let about = |by: NameKind, name: &str| match by {
                NameKind::Binary => name == p.name,
                NameKind::Source => name == source_name,
            };
            let named = naming.iter().any(|a| {
                a.fixes
                    .iter()
                    .any(|f| about(f.by, &f.name) && f.product.matches(host.os) && (f.arch.is_empty() || f.arch == p.arch))
            });
            let word = statements
                .iter()
                .filter(|s| s.vulnerability == vuln && about(s.by, &s.name) && s.product.matches(host.os))
                .max_by(|a, b| {
                    let key =
                        |s: &Statement| (s.product.release.len(), s.product.os.len(), s.by == NameKind::Binary, worse(s.status));
                    key(a).cmp(&key(b)).then_with(|| compare(Scheme::Rpm, &a.version, &b.version).unwrap_or(Ordering::Equal))
                });
            let open = match word.map(|w| (w.status, w)) {
                Some((Status::NotAffected, _)) => false,
                Some((Status::Fixed, w)) => {
                    newer(&w.version, if w.by == NameKind::Binary { &p.version } else { &source_version })
                }
                Some(_) => applies || !named,
                None => applies,
            };
            if open {
                out.entry(vuln.to_owned()).or_default().insert(p.name.clone());
            }
        }
    }
    out
}

fn worse(status: Status) -> u8 {
    match status {
        Status::NotAffected => 0,
        Status::Fixed => 1,
        Status::UnderInvestigation => 2,
        Status::WontFix => 3,
        Status::Affected => 4,
    }
}
