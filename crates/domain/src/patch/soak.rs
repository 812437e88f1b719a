//! Soak: a job takes only versions that the server has known for some days. The server says in an order which versions
//! have soaked and which still do ([`OrderSoak`]); the host plans, and what of its plan has not soaked is barred and
//! planned again ([`OrderSoak::early`]). What the server never saw has not soaked.
//!
//! Absent: where versions were seen and how long that is remembered (the server's store), dates that repositories write
//! into their metadata: they are not used, because a publisher can write any.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::report::{Plan, PlannedAction, TaskReport};
use super::spec::PatchConfig;
use super::spec::is_package_name;
use super::undo::{BARRED_MAX, Barred, is_arch, is_version};
use crate::inventory::{Package, UpdateKind};
use crate::validate::Problems;
use crate::version::{Scheme, compare};

/// Longest soak, days. What hosts are offered is remembered for longer than this ([`FORGET_AFTER_DAYS`]).
pub const SOAK_DAYS_MAX: u32 = 180;
/// A version that nothing offered for this long is forgotten, days: seen again, it soaks again.
pub const FORGET_AFTER_DAYS: i64 = 400;
/// Versions that have soaked, of one order, count: some 80 bytes each.
pub const SOAKED_MAX: usize = 20_000;
/// Versions that still soak, of one order, count.
pub const SOAKING_MAX: usize = 5_000;
/// Versions that one report or one list of updates may teach, count.
pub const SIGHTED_MAX: usize = 10_000;

/// What a reason for a soak begins with.
const SOAKS: &str = "soaks";
const SECS_PER_DAY: i64 = 24 * 3600;

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoakVersion {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
}

/// A version that has not soaked long enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Soaking {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
    /// From then on it may come.
    pub until: Timestamp,
}

/// A version and since when the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// Which.
    pub version: SoakVersion,
    /// When a host or a snapshot first offered it.
    pub first_seen: Timestamp,
}

/// What an order says of soak, as the server knew it when it signed: time that passes on the host frees nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderSoak {
    /// Days that a version must have been known.
    pub days: u32,
    /// Security updates need not wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub except_security: bool,
    /// What may come; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub soaked: Vec<SoakVersion>,
    /// What may come later; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub soaking: Vec<Soaking>,
}

/// When a version first seen at `first_seen` has soaked.
pub fn until(first_seen: Timestamp, days: u32) -> Timestamp {
    first_seen.saturating_add(SignedDuration::from_secs(i64::from(days) * SECS_PER_DAY)).unwrap_or(Timestamp::MAX)
}

/// A moment for people: `2026-11-30 05:22 UTC`.
fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

impl OrderSoak {
    /// What a host with `installed` is told at `now`. `sightings` that cannot concern it (not newer than what it has)
    /// are left out; what does not fit has not soaked.
    pub fn of(config: &PatchConfig, sightings: Vec<Sighting>, installed: &[Package], scheme: Scheme, now: Timestamp) -> Self {
        let mut lowest: HashMap<&str, &str> = HashMap::new();
        for package in installed {
            let known = lowest.entry(&package.name).or_insert(&package.version);
            if compare(scheme, &package.version, known).is_ok_and(Ordering::is_lt) {
                *known = &package.version;
            }
        }
        let newer = |v: &SoakVersion| {
            let installed = lowest.get(v.name.as_str());
            installed.is_none_or(|has| compare(scheme, &v.version, has).is_ok_and(Ordering::is_gt))
        };
        let mut soak = OrderSoak { days: config.soak_days, except_security: config.soak_except_security, ..Self::default() };
        for Sighting { version, first_seen } in sightings.into_iter().filter(|s| newer(&s.version)) {
            let until = until(first_seen, soak.days);
            if until <= now {
                soak.soaked.push(version);
            } else {
                let SoakVersion { name, arch, version } = version;
                soak.soaking.push(Soaking { name, arch, version, until });
            }
        }
        soak.soaked.sort();
        soak.soaked.dedup();
        soak.soaked.truncate(SOAKED_MAX);
        soak.soaking.sort();
        soak.soaking.dedup();
        soak.soaking.truncate(SOAKING_MAX);
        soak
    }

    /// What plans would bring although it has not soaked, and whatever else of these packages still soaks: to be barred.
    pub fn early(&self, plans: &[Plan]) -> Vec<Barred> {
        let soaked: HashSet<(&str, &str, &str)> = self.soaked.iter().map(|v| (&*v.name, &*v.arch, &*v.version)).collect();
        let arrives = |a: &&PlannedAction| a.to.is_some() && a.from != a.to;
        let free = |a: &PlannedAction| {
            let to = a.to.as_deref().unwrap_or_default();
            soaked.contains(&(&a.name, &a.arch, to)) || (self.except_security && a.kind == UpdateKind::Security)
        };
        let mut out: BTreeSet<Barred> = BTreeSet::new();
        for action in plans.iter().flat_map(|p| &p.actions).filter(arrives).filter(|a| !free(a)) {
            let to = action.to.clone().unwrap_or_default();
            let own = self.soaking.iter().filter(|s| s.name == action.name && s.arch == action.arch);
            let mut known = false;
            for soaking in own {
                known |= soaking.version == to;
                // Of a package that lets security updates through, each version is looked at by itself.
                if soaking.version == to || !self.except_security {
                    out.insert(self.bar(&soaking.name, &soaking.arch, &soaking.version, Some(soaking.until)));
                }
            }
            if !known {
                out.insert(self.bar(&action.name, &action.arch, &to, None));
            }
        }
        out.into_iter().collect()
    }

    fn bar(&self, name: &str, arch: &str, version: &str, until: Option<Timestamp>) -> Barred {
        let days = if self.days == 1 { "1 day".to_owned() } else { format!("{} days", self.days) };
        let reason = match until {
            Some(until) => format!("{SOAKS} until {}", shown(until)),
            None => format!("{SOAKS}: the server had not seen it before, and {days} begin now"),
        };
        Barred { name: name.to_owned(), arch: arch.to_owned(), version: version.to_owned(), reason }
    }

    /// Why this cannot be kept to as it is written.
    pub fn wrong(&self) -> Option<String> {
        if !(1..=SOAK_DAYS_MAX).contains(&self.days) {
            return Some(format!("its soak of {} days is not between 1 and {SOAK_DAYS_MAX}", self.days));
        }
        if self.soaked.len() > SOAKED_MAX || self.soaking.len() > SOAKING_MAX {
            return Some(format!("it names more than {SOAKED_MAX} soaked or {SOAKING_MAX} soaking versions"));
        }
        None
    }
}

/// Versions that a report of a task names, whether they came or not: the server knows them from now on. With a soak, what
/// was left out may be a package that the host does not have; `true` beside a version says that it may be.
pub fn sighted(report: &TaskReport, with_soak: bool) -> Vec<(SoakVersion, bool)> {
    let version = |name: &str, arch: &str, version: &str| SoakVersion {
        name: name.to_owned(),
        arch: arch.to_owned(),
        version: version.to_owned(),
    };
    let mut all: BTreeSet<(SoakVersion, bool)> = BTreeSet::new();
    for plan in &report.plans {
        let planned = plan.actions.iter().filter_map(|a| Some((version(&a.name, &a.arch, a.to.as_deref()?), a.from.is_none())));
        let skipped = plan.skipped.iter().map(|s| (version(&s.name, &s.arch, &s.version), with_soak));
        all.extend(planned.chain(skipped).filter(|(v, _)| is_sightable(v)));
    }
    all.into_iter().take(SIGHTED_MAX).collect()
}

/// How many versions these plans left out for a soak; one that several name counts once.
pub fn left_out(plans: &[Plan]) -> usize {
    let soaking = plans.iter().flat_map(|p| &p.skipped).filter(|s| s.reason.starts_with(SOAKS));
    soaking.map(|s| (&s.name, &s.arch, &s.version)).collect::<BTreeSet<_>>().len()
}

/// Could this be a version of a package? A host may report anything.
pub fn is_sightable(version: &SoakVersion) -> bool {
    is_package_name(&version.name) && is_arch(&version.arch) && is_version(&version.version)
}

/// Bars fit beside those that an order has already?
pub fn has_room(barred: &[Barred], more: &[Barred]) -> bool {
    barred.len() + more.len() <= BARRED_MAX
}

impl PatchConfig {
    pub(super) fn check_soak(&self, at: &str, problems: &mut Problems) {
        if self.soak_days > SOAK_DAYS_MAX {
            problems.add(format!("{at}.soakDays"), format!("must be between 0 (no soak) and {SOAK_DAYS_MAX} days"));
        }
        if self.soak_except_security && self.soak_days == 0 {
            problems.add(
                format!("{at}.soakExceptSecurity"),
                "excepts from a soak, and soakDays gives none; set soakDays or leave it out",
            );
        }
        if self.soak_days == 0 {
            return;
        }
        if self.packages.as_ref().is_some_and(|p| !p.install.is_empty()) {
            problems.add(
                format!("{at}.soakDays"),
                "is for updates; a package that is installed by name need not soak, so leave it out",
            );
        }
        if !self.modules.is_empty() {
            problems.add(format!("{at}.soakDays"), "is for updates; changes of modules need not soak, so leave it out");
        }
    }
}

#[cfg(test)]
#[path = "soak_tests.rs"]
mod tests;
