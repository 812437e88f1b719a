//! Candidates of rpm hosts, as `dnf check-update`, `dnf5 check-upgrade`, `yum check-update` and `zypper list-updates` choose them.
//!
//! dnf: hide by modules, excludes and versionlock; of each name keep the repositories of the best priority; a package is an update
//! when an older one of the same (or no) architecture is installed and none as new; newest per name and architecture. zypper: of what
//! it may legally change to (vendor, architecture, newer), the best priority, then the newest.

use std::collections::BTreeSet;

use super::env::{Env, Managed};
use super::facts::Bound;
use super::intern::{IdSet, NONE, Name, Text, small};
use super::patterns::{Written, glob, listed, lock_allows, means};
use super::snapshot::{Available, AvailableId, BOUNDS, bounded};
use super::tables::{Installed, PackageKey, Tables};
use crate::version::{Scheme, compare};

/// Why an update is not going to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Held {
    /// It is taken.
    Free,
    /// `excludepkgs`, or missing from `includepkgs`.
    Excluded,
    /// dnf's versionlock.
    VersionLock,
    /// zypper's lock.
    Locked,
    /// apt-mark hold.
    Hold,
}

/// One row of what a host is offered for the packages of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Offer {
    /// What it replaces; [`NONE`] for a package that is not installed and obsoletes.
    pub from: PackageKey,
    pub to: AvailableId,
    /// Which view.
    pub view: u32,
    /// The name it obsoletes; [`NONE`] for an update.
    pub obsoletes: Name,
    pub held: Held,
}

/// A package of a view.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    id: AvailableId,
    view: usize,
    package: &'a Available,
}

/// What a host with these packages of one name is offered.
pub(super) fn offers(tables: &Tables, env: &Env, name: Name, lot: &[PackageKey]) -> Vec<Offer> {
    let installed: Vec<(PackageKey, &Installed)> = lot.iter().map(|key| (*key, tables.installed(*key))).collect();
    let all = candidates(tables, env, name);
    let mut out = match env.managed {
        Managed::Zypper => zypper(tables, env, &installed, &all),
        _ => dnf(tables, env, &installed, &all),
    };
    if !env.rules.ignore_obsoletes && env.managed != Managed::Zypper {
        obsoleters(tables, env, name, &installed, &mut out);
    }
    out
}

/// The packages of a name that the module filter shows.
fn candidates<'a>(tables: &'a Tables, env: &Env, name: Name) -> Vec<Candidate<'a>> {
    let mut out = Vec::new();
    for (view, snapshot) in env.snapshots(tables) {
        for id in snapshot.named(name) {
            let package = tables.available.get(*id);
            if env.modular.shows(*id, package, env.views[view].hotfix) {
                out.push(Candidate { id: *id, view, package });
            }
        }
    }
    out
}

fn written<'a>(tables: &'a Tables, package: &Available) -> Written<'a> {
    Written {
        name: tables.name_text(package.name),
        version: tables.version_text(package.version),
        arch: tables.texts.get(package.arch),
    }
}

/// Why dnf does not see a candidate.
fn hidden(tables: &Tables, env: &Env, c: &Candidate<'_>) -> Held {
    if env.rules.excludes.is_empty() && env.rules.includes.is_empty() && env.rules.locks.is_empty() {
        return Held::Free;
    }
    if excluded(tables, env, c) {
        return Held::Excluded;
    }
    let free = lock_allows(&env.rules.locks, written(tables, c.package)) && !env.against_locks.contains(&c.id);
    if free { Held::Free } else { Held::VersionLock }
}

/// Is a candidate in the excludes, or not in the includes?
fn excluded(tables: &Tables, env: &Env, c: &Candidate<'_>) -> bool {
    let (text, repository) = (written(tables, c.package), env.views[c.view].repository.as_str());
    // The main list of includes and the repository's own are one; where there is any, a package must be in it.
    let includes = || env.rules.includes.iter().filter(|i| i.repository.is_empty() || i.repository == repository);
    let missing = includes().next().is_some() && !includes().any(|i| means(&i.pattern, text));
    missing || listed(&env.rules.excludes, repository, text)
}

/// What versionlock keeps away beside other versions: packages that obsolete an offered version which is locked, unless a lock means
/// them too. They are kept from being updates of their own older versions as well.
pub(super) fn against_locks(tables: &Tables, env: &Env) -> IdSet<AvailableId> {
    let mut out = IdSet::default();
    if env.rules.locks.iter().all(|lock| lock.exclude) {
        return out;
    }
    let is_locked = |text| env.rules.locks.iter().any(|lock| !lock.exclude && means(&lock.pattern, text));
    let obsoleted: BTreeSet<Name> = env.snapshots(tables).flat_map(|(_, s)| s.obsoletes.keys().copied()).collect();
    for name in obsoleted {
        let mut kept = candidates(tables, env, name);
        kept.retain(|c| is_locked(written(tables, c.package)) && !excluded(tables, env, c));
        for row in env.snapshots(tables).flat_map(|(_, s)| s.obsoleting(name)).filter(|_| !kept.is_empty()) {
            let bound = BOUNDS[usize::from(row.bound).min(BOUNDS.len() - 1)];
            let limit = tables.texts.get(row.version);
            let meets = |c: &Candidate<'_>| bounded(Scheme::Rpm, tables.version_text(c.package.version), bound, limit);
            if kept.iter().any(meets) && !is_locked(written(tables, tables.available.get(row.by))) {
                out.insert(row.by);
            }
        }
    }
    out
}

/// Same architecture, or one of them without any.
fn fits(tables: &Tables, a: Text, b: Text) -> bool {
    a == b || a == tables.noarch || b == tables.noarch
}

/// The newest installed package that this one would replace; none when one as new is there.
fn replaces(tables: &Tables, installed: &[(PackageKey, &Installed)], package: &Available) -> Option<PackageKey> {
    let new = tables.versions.rank(package.version);
    let mut from: Option<(u32, PackageKey)> = None;
    for (key, own) in installed.iter().filter(|(_, own)| fits(tables, own.arch, package.arch)) {
        let rank = tables.versions.rank(own.version);
        if rank == 0 || rank >= new {
            return None;
        }
        from = from.max(Some((rank, *key)));
    }
    from.map(|(_, key)| key)
}

fn dnf(tables: &Tables, env: &Env, installed: &[(PackageKey, &Installed)], all: &[Candidate<'_>]) -> Vec<Offer> {
    let seen: Vec<(Candidate<'_>, Held)> = all.iter().map(|c| (*c, hidden(tables, env, c))).collect();
    let free: Vec<Candidate<'_>> = seen.iter().filter(|(_, held)| *held == Held::Free).map(|(c, _)| *c).collect();
    let mut out = latest_updates(tables, env, installed, &free, Held::Free);
    if free.len() < all.len() {
        // What is offered beyond that without the host's excludes and locks is shown as held.
        for offer in latest_updates(tables, env, installed, all, Held::Excluded) {
            let package = tables.available.get(offer.to);
            let newer = |o: &Offer| {
                let free = tables.available.get(o.to);
                free.arch == package.arch && !tables.versions.older(free.version, package.version)
            };
            let held = seen.iter().find(|(c, _)| c.id == offer.to && small(c.view) == offer.view).map(|s| s.1);
            if let (false, Some(held)) = (out.iter().any(|o| o.held == Held::Free && newer(o)), held)
                && held != Held::Free
            {
                out.push(Offer { held, ..offer });
            }
        }
    }
    out
}

fn latest_updates(
    tables: &Tables,
    env: &Env,
    installed: &[(PackageKey, &Installed)],
    all: &[Candidate<'_>],
    held: Held,
) -> Vec<Offer> {
    let mut out: Vec<Offer> = Vec::new();
    for c in all.iter().filter(|c| !outranked(env, c, all)) {
        let Some(from) = replaces(tables, installed, c.package) else { continue };
        let offer = Offer { from, to: c.id, view: small(c.view), obsoletes: NONE, held };
        keep_latest(tables, &mut out, offer);
    }
    out
}

/// Has a repository of better priority the same name (dnf 5: of the same architecture)?
fn outranked(env: &Env, c: &Candidate<'_>, all: &[Candidate<'_>]) -> bool {
    let own = env.views[c.view].priority;
    all.iter().any(|other| {
        env.views[other.view].priority < own && (env.managed != Managed::Dnf5 || other.package.arch == c.package.arch)
    })
}

/// Keeps the newest of each name and architecture; of equal ones the first view's.
fn keep_latest(tables: &Tables, out: &mut Vec<Offer>, offer: Offer) {
    let new = tables.available.get(offer.to);
    for old in out.iter_mut() {
        let had = tables.available.get(old.to);
        if (had.name, had.arch, old.obsoletes) == (new.name, new.arch, offer.obsoletes) {
            if tables.versions.older(had.version, new.version) {
                *old = offer;
            }
            return;
        }
    }
    out.push(offer);
}

/// Packages of other names that obsolete what is installed.
fn obsoleters(tables: &Tables, env: &Env, name: Name, installed: &[(PackageKey, &Installed)], out: &mut Vec<Offer>) {
    let mut found = Vec::new();
    let locked = locked_versions(tables, env, name, installed);
    for (view, snapshot) in env.snapshots(tables) {
        for row in snapshot.obsoleting(name) {
            let package = tables.available.get(row.by);
            let candidate = Candidate { id: row.by, view, package };
            let bound = BOUNDS[usize::from(row.bound).min(BOUNDS.len() - 1)];
            let limit = tables.texts.get(row.version);
            let meets = |own: &Installed| {
                bounded(Scheme::Rpm, tables.version_text(own.version), bound, limit) && !unseen(tables, env, own)
            };
            // versionlock keeps away what obsoletes a version that is locked.
            let breaks_lock = locked.iter().any(|version| bounded(Scheme::Rpm, version, bound, limit));
            if package.name == name
                || breaks_lock
                || !env.runs(tables.texts.get(package.arch))
                || !installed.iter().any(|(_, own)| meets(own))
                || !env.modular.shows(row.by, package, env.views[view].hotfix)
                || hidden(tables, env, &candidate) != Held::Free
                || !best_priority(tables, env, &candidate)
            {
                continue;
            }
            let offer = Offer { from: NONE, to: row.by, view: small(view), obsoletes: name, held: Held::Free };
            keep_latest(tables, &mut found, offer);
        }
    }
    out.extend(found);
}

/// Versions of a name, installed or offered, that a lock means.
fn locked_versions<'a>(tables: &'a Tables, env: &Env, name: Name, installed: &[(PackageKey, &Installed)]) -> Vec<&'a str> {
    if env.rules.locks.iter().all(|lock| lock.exclude) {
        return Vec::new();
    }
    let own = installed.iter().map(|(_, own)| (own.version, own.arch));
    let offered = candidates(tables, env, name).into_iter().map(|c| (c.package.version, c.package.arch));
    let means_it = |version: &str, arch| {
        let text = Written { name: tables.name_text(name), version, arch: tables.texts.get(arch) };
        env.rules.locks.iter().any(|lock| !lock.exclude && means(&lock.pattern, text))
    };
    let all = own.chain(offered).map(|(version, arch)| (tables.version_text(version), arch));
    all.filter(|(version, arch)| means_it(version, *arch)).map(|(version, _)| version).collect()
}

/// dnf takes no notice of installed packages that the main configuration excludes.
fn unseen(tables: &Tables, env: &Env, own: &Installed) -> bool {
    let text =
        Written { name: tables.name_text(own.name), version: tables.version_text(own.version), arch: tables.texts.get(own.arch) };
    env.rules.excludes.iter().any(|e| e.repository.is_empty() && means(&e.pattern, text))
}

/// Does the candidate come from a repository of the best priority that has its name?
fn best_priority(tables: &Tables, env: &Env, c: &Candidate<'_>) -> bool {
    let mut seen = candidates(tables, env, c.package.name);
    seen.retain(|other| hidden(tables, env, other) == Held::Free);
    !outranked(env, c, &seen)
}

fn zypper(tables: &Tables, env: &Env, installed: &[(PackageKey, &Installed)], all: &[Candidate<'_>]) -> Vec<Offer> {
    let mut out: Vec<Offer> = Vec::new();
    // libsolv lets no two architectures of a name stand beside each other (SUSE has `-32bit` names), and then changes neither.
    if installed.iter().any(|(_, own)| own.arch != installed[0].1.arch) {
        return out;
    }
    for (key, own) in installed {
        // Of several versions the newest is what is looked at.
        let eldest =
            |(_, other): &(PackageKey, &Installed)| other.arch == own.arch && tables.versions.older(own.version, other.version);
        if installed.iter().any(eldest) {
            continue;
        }
        let legal = |c: &&Candidate<'_>| {
            fits(tables, own.arch, c.package.arch)
                && tables.versions.at_least(c.package.version, own.version)
                && (env.rules.vendor_change == Some(true) || same_vendor(tables, own.vendor, c.package.vendor))
        };
        let legal: Vec<&Candidate<'_>> = all.iter().filter(legal).collect();
        let lock = locked(tables, env, own);
        let free: Vec<&Candidate<'_>> = legal.iter().copied().filter(|c| !locked_candidate(tables, env, c)).collect();
        let (pool, held) = if lock { (&legal, Held::Locked) } else { (&free, Held::Free) };
        let Some(best) = pool.iter().map(|c| env.views[c.view].priority).min() else { continue };
        let replacing = replacing(tables, env, own);
        if replacing.iter().any(|by| by.priority < best) {
            continue;
        }
        // Of one priority, what obsoletes the newer version too goes before it; what is as new as the installed one is no update.
        let newer = |c: &&&Candidate<'_>| {
            env.views[c.view].priority == best
                && tables.versions.older(own.version, c.package.version)
                && !replacing.iter().any(|by| by.priority == best && by.replaces(tables, c.package))
        };
        for c in pool.iter().filter(newer) {
            let offer = Offer { from: *key, to: c.id, view: small(c.view), obsoletes: NONE, held };
            // One candidate a package, whatever its architecture.
            match out.iter_mut().find(|o| o.from == *key) {
                Some(old) if tables.versions.older(tables.available.get(old.to).version, c.package.version) => *old = offer,
                Some(_) => {}
                None => out.push(offer),
            }
        }
    }
    out
}

/// libzypp treats vendors as one when they begin with the same known word.
pub(super) fn same_vendor(tables: &Tables, a: Text, b: Text) -> bool {
    let class = |text: &str| {
        let text = text.to_lowercase();
        ["suse", "opensuse"].into_iter().find(|word| text.starts_with(word)).map_or(text.clone(), str::to_owned)
    };
    a == b || class(tables.texts.get(a)) == class(tables.texts.get(b))
}

fn locked(tables: &Tables, env: &Env, own: &Installed) -> bool {
    env.rules.locks.iter().any(|lock| {
        lock.repository.is_empty() && lock_means(&lock.pattern, tables.name_text(own.name), tables.version_text(own.version))
    })
}

fn locked_candidate(tables: &Tables, env: &Env, c: &Candidate<'_>) -> bool {
    env.rules.locks.iter().any(|lock| {
        (lock.repository.is_empty() || lock.repository == env.views[c.view].repository)
            && lock_means(&lock.pattern, tables.name_text(c.package.name), tables.version_text(c.package.version))
    })
}

/// `name`, a glob, or `name < 2.0`.
fn lock_means(pattern: &str, name: &str, version: &str) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let mut words = pattern.split_whitespace();
    let (Some(own), relation, limit) = (words.next(), words.next(), words.next()) else { return false };
    let (Some(relation), Some(limit)) = (relation, limit) else { return glob(own, name) };
    let version = if limit.contains('-') { version } else { version.rsplit_once('-').map_or(version, |(v, _)| v) };
    let order = compare(Scheme::Rpm, version, limit);
    glob(own, name)
        && match relation {
            "<" => order == Ok(Less),
            "<=" => matches!(order, Ok(Less | Equal)),
            "=" | "==" => order == Ok(Equal),
            ">=" => matches!(order, Ok(Greater | Equal)),
            ">" => order == Ok(Greater),
            _ => false,
        }
}

/// A package that obsoletes an installed one and that zypper's solver may take instead of an update.
struct Replacing {
    priority: u32,
    bound: Bound,
    limit: Text,
}

impl Replacing {
    fn replaces(&self, tables: &Tables, package: &Available) -> bool {
        bounded(Scheme::Rpm, tables.version_text(package.version), self.bound, tables.texts.get(self.limit))
    }
}

fn replacing(tables: &Tables, env: &Env, own: &Installed) -> Vec<Replacing> {
    let mut out = Vec::new();
    for (view, snapshot) in env.snapshots(tables) {
        for row in snapshot.obsoleting(own.name) {
            let by = tables.available.get(row.by);
            let bound = BOUNDS[usize::from(row.bound).min(BOUNDS.len() - 1)];
            let takes = by.name != own.name
                && env.runs(tables.texts.get(by.arch))
                && (env.rules.vendor_change == Some(true) || same_vendor(tables, own.vendor, by.vendor))
                && bounded(Scheme::Rpm, tables.version_text(own.version), bound, tables.texts.get(row.version))
                && !locked_candidate(tables, env, &Candidate { id: row.by, view, package: by });
            if takes {
                out.push(Replacing { priority: env.views[view].priority, bound, limit: row.version });
            }
        }
    }
    out
}
