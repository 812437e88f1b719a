//! What hosts had when: one host or the fleet as of a time, what changed between two times, who had a package.
//!
//! Reads only; what is written is written by [`super::intake`]. Times count to the second.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use drydock_domain::access::Permission;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Package, PackageChange, PackageSet, changes, diff, fingerprint};
use drydock_domain::inventory_history::{ClassId, Holding, PackageId, Timeline, Window};
use drydock_domain::limits::PACKAGE_FIELD_MAX_BYTES;
use drydock_domain::validate::Problems;
use drydock_domain::version::{Scheme, compare};
use drydock_store::history_classes::{self, Fleet};
use drydock_store::records::{InstanceRecord, PageQuery, Paged};
use drydock_store::{Connection, history_packages, history_timelines, in_memory_page};
use jiff::Timestamp;

use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::PackagesView;

/// Bounds in one version range, count: a lower and an upper one.
const BOUNDS_MAX: usize = 2;

/// A package that hosts have, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledView {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
    /// Hosts that have it.
    pub hosts: u32,
}

/// A stretch of time in which a host had a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldingView {
    /// Name of the instance.
    pub host: String,
    /// Architecture of the package.
    pub arch: String,
    /// Its version.
    pub version: String,
    /// Since when.
    pub from: Timestamp,
    /// The host's history begins there: it may have had it before.
    pub from_begin: bool,
    /// Until when; absent: still.
    pub until: Option<Timestamp>,
}

/// What changed between two times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagesDiffView {
    /// Earlier time.
    pub from: Timestamp,
    /// Later time.
    pub to: Timestamp,
    /// By name.
    pub changes: Vec<PackageChange>,
}

/// Which packages and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldingQuery {
    /// A version, or bounds such as `<3.0.14` or `>=3.0,<3.0.14`; empty: every version.
    pub version: String,
    /// Only this architecture; empty: every one.
    pub arch: String,
    /// From this time on; absent: from the beginning.
    pub from: Option<Timestamp>,
    /// Up to this time; absent: up to now.
    pub to: Option<Timestamp>,
    /// The page.
    pub page: PageQuery,
}

impl Control {
    /// The packages an instance had at a time, of those whose name holds `name_contains`.
    pub async fn instance_packages_at(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        name_contains: &str,
        at: Timestamp,
    ) -> Result<PackagesView> {
        let record = self.seen_instance(ctx, "instance.packages", id_or_name).await?;
        let mut c = self.read().await?;
        let line = history_of(&mut c, &record).await?;
        let (set, since) = self.set_at(&mut c, &record, &line, at).await?;
        let body = serde_json::to_vec(&set).map_err(|e| Error::Internal { doing: "write a package set", source: Box::new(e) })?;
        let packages = set.into_vec().into_iter().filter(|p| p.name.contains(name_contains)).collect();
        Ok(PackagesView { fingerprint: fingerprint(&body), changed_at: since, packages })
    }

    /// What changed in the packages of an instance from one time to another.
    pub async fn instance_packages_diff(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<PackagesDiffView> {
        let record = self.seen_instance(ctx, "instance.packages", id_or_name).await?;
        if to < from {
            return Err(Error::invalid("to", format!("is {to}, which is before {from}")));
        }
        let mut c = self.read().await?;
        let line = history_of(&mut c, &record).await?;
        let (old, _) = self.set_at(&mut c, &record, &line, from).await?;
        let (new, _) = self.set_at(&mut c, &record, &line, to).await?;
        Ok(PackagesDiffView { from, to, changes: changes(&diff(&old, &new)) })
    }

    /// Every package of the fleet, now (its active hosts) or at a time (every host there still is), with the number of
    /// hosts that have it.
    pub async fn list_packages(
        &self,
        ctx: &OpCtx,
        name_contains: &str,
        at: Option<Timestamp>,
        page: &PageQuery,
    ) -> Result<Paged<InstalledView>> {
        let scope = self.scope_of_hosts(ctx, "package.list", Permission::InstanceRead).await?;
        let mask = self.host_mask(&scope).await?;
        let fleet = self.packages_of(at, mask.as_ref()).await?;
        let mut hosts_of: HashMap<ClassId, u32> = HashMap::new();
        for (_, class) in &fleet.hosts {
            *hosts_of.entry(*class).or_default() += 1;
        }
        let mut counts: HashMap<PackageId, u32> = HashMap::new();
        for (class, ids) in &fleet.classes {
            let hosts = hosts_of.get(class).copied().unwrap_or_default();
            for id in ids.iter() {
                *counts.entry(*id).or_default() += hosts;
            }
        }
        let ids: Vec<PackageId> = counts.keys().copied().collect();
        let packages = self.history().packages(&mut *self.read().await?, &ids).await?;
        // One version may have been built twice; people ask for names and versions.
        let mut rows: BTreeMap<[&str; 3], u32> = BTreeMap::new();
        for found in packages.iter().filter(|p| p.package.name.contains(name_contains)) {
            let Package { name, arch, version, .. } = &found.package;
            *rows.entry([name, version, arch]).or_default() += counts.get(&found.id).copied().unwrap_or_default();
        }
        let view = |([name, version, arch], hosts): ([&str; 3], u32)| InstalledView {
            name: name.to_owned(),
            arch: arch.to_owned(),
            version: version.to_owned(),
            hosts,
        };
        let key = |v: &InstalledView| [v.name.clone(), v.version.clone(), v.arch.clone()];
        Ok(in_memory_page(page, rows.into_iter().map(view), key)?)
    }

    /// The package sets of the fleet: of its active hosts now, or of every host there still is at a time.
    pub async fn fleet_packages(&self, at: Option<Timestamp>) -> Result<Fleet> {
        self.packages_of(at, None).await
    }

    async fn packages_of(&self, at: Option<Timestamp>, mask: Option<&HashSet<InstanceId>>) -> Result<Fleet> {
        let mut c = self.read().await?;
        let mut hosts: Vec<(InstanceId, ClassId)> = match at {
            Some(at) => self.history().fleet_at(&mut c, at).await?,
            None => history_classes::hosts(&mut c).await?,
        };
        if let Some(mask) = mask {
            hosts.retain(|(host, _)| mask.contains(host));
        }
        let wanted: BTreeSet<ClassId> = hosts.iter().map(|(_, class)| *class).collect();
        Ok(Fleet { classes: self.history().decode(&mut c, &wanted).await?, hosts })
    }

    /// Which hosts had a package when, by host, time and version.
    pub async fn who_had(&self, ctx: &OpCtx, name: &str, query: &HoldingQuery) -> Result<Paged<HoldingView>> {
        let scope = self.scope_of_hosts(ctx, "package.who-had", Permission::InstanceRead).await?;
        let mut problems = Problems::default();
        problems.text("name", name, PACKAGE_FIELD_MAX_BYTES);
        problems.text("version", &query.version, BOUNDS_MAX * PACKAGE_FIELD_MAX_BYTES);
        problems.finish()?;
        let wanted_version = Versions::parse(&query.version)?;
        let (from, to) = (query.from.unwrap_or(Timestamp::UNIX_EPOCH), query.to.unwrap_or(ctx.now));
        if to < from {
            return Err(Error::invalid("to", format!("is {to}, which is before {from}")));
        }
        let window = Window { from: from.as_second(), until: to.as_second().saturating_add(1) };
        let mut c = self.read().await?;
        let mut packages: BTreeMap<PackageId, Package> = history_packages::named(&mut c, name).await?.into_iter().collect();
        packages.retain(|_, p| (query.arch.is_empty() || p.arch == query.arch) && wanted_version.holds(p));
        let ids: Vec<PackageId> = packages.keys().copied().collect();
        if ids.is_empty() {
            return Ok(Paged { items: Vec::new(), next_cursor: None });
        }
        let lines = history_timelines::all(&mut c, &scope).await?;
        let classes: BTreeSet<ClassId> = lines.iter().flat_map(|(_, line)| line.spans().map(|span| span.class)).collect();
        let held = history_classes::holding(&mut c, &classes, &ids).await?;
        drop(c);
        let rows = lines.iter().flat_map(|(host, line)| {
            let view = |h: Holding| holding(host, line, &packages, h);
            line.holdings(window, &held).into_iter().filter_map(view).collect::<Vec<_>>()
        });
        let key = |v: &HoldingView| [v.host.clone(), format!("{:020}", v.from.as_second()), v.version.clone(), v.arch.clone()];
        let mut rows: Vec<HoldingView> = rows.collect();
        rows.sort_by_cached_key(key);
        rows.dedup();
        Ok(in_memory_page(&query.page, rows.into_iter(), key)?)
    }

    /// What the host had at a time, and since when.
    async fn set_at(
        &self,
        c: &mut Connection,
        record: &InstanceRecord,
        line: &Timeline,
        at: Timestamp,
    ) -> Result<(PackageSet, Timestamp)> {
        let span = line.spans().filter(|span| span.from <= at.as_second()).last();
        let Some(span) = span else {
            let begins = line.begins().map_or_else(String::new, |begins| moment(begins).to_string());
            return Err(Error::NotFound(format!(
                "inventory of {} at {}: its history begins at {begins}",
                record.name,
                moment(at.as_second())
            )));
        };
        Ok((self.history().set(c, span.class).await?, moment(span.from)))
    }
}

async fn history_of(c: &mut Connection, record: &InstanceRecord) -> Result<Timeline> {
    let line = history_timelines::of_host(c, record.id).await?;
    line.ok_or_else(|| Error::NotFound(format!("inventory of {} yet", record.name)))
}

fn holding(host: &str, line: &Timeline, packages: &BTreeMap<PackageId, Package>, h: Holding) -> Option<HoldingView> {
    let package = packages.get(&h.package)?;
    Some(HoldingView {
        host: host.to_owned(),
        arch: package.arch.clone(),
        version: package.version.clone(),
        from: moment(h.from),
        from_begin: line.begins() == Some(h.from),
        until: h.until.map(moment),
    })
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// Which versions are meant.
#[derive(Debug, PartialEq, Eq)]
enum Versions {
    Every,
    One(String),
    /// All of these hold.
    Range(Vec<(&'static str, String)>),
}

impl Versions {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Versions::Every);
        }
        if !text.starts_with(['<', '>', '=']) {
            return Ok(Versions::One(text.to_owned()));
        }
        let mut bounds = Vec::new();
        for part in text.split(',').map(str::trim) {
            let sign = ["<=", ">=", "<", ">", "="].into_iter().find(|sign| part.starts_with(sign));
            let version = sign.map(|sign| part[sign.len()..].trim()).filter(|version| !version.is_empty());
            let (Some(sign), Some(version)) = (sign, version) else {
                return Err(Error::invalid("version", format!("{part:?} is no bound; write for example >=3.0,<3.0.14")));
            };
            bounds.push((sign, version.to_owned()));
        }
        if bounds.len() > BOUNDS_MAX {
            return Err(Error::invalid("version", format!("has {} bounds; at most {BOUNDS_MAX} are allowed", bounds.len())));
        }
        Ok(Versions::Range(bounds))
    }

    /// A version that cannot be read is in no range.
    fn holds(&self, package: &Package) -> bool {
        let within = |(sign, bound): &(&str, String)| {
            let order = compare(scheme_of(package), &package.version, bound);
            order.is_ok_and(|order| match *sign {
                "<=" => order != Ordering::Greater,
                ">=" => order != Ordering::Less,
                "<" => order == Ordering::Less,
                ">" => order == Ordering::Greater,
                _ => order == Ordering::Equal,
            })
        };
        match self {
            Versions::Every => true,
            Versions::One(version) => package.version == *version,
            Versions::Range(bounds) => bounds.iter().all(within),
        }
    }
}

/// Whose rules a package's version follows: rpm names the source rpm and has architectures of its own.
fn scheme_of(package: &Package) -> Scheme {
    const RPM_ONLY: [&str; 9] = ["x86_64", "noarch", "aarch64", "i686", "i586", "ppc64le", "s390x", "armv7hl", "riscv64gc"];
    let rpm = package.source.ends_with(".rpm") || !package.vendor.is_empty() || RPM_ONLY.contains(&package.arch.as_str());
    if rpm { Scheme::Rpm } else { Scheme::Deb }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(arch: &str, version: &str) -> Package {
        Package { name: "p".into(), arch: arch.into(), version: version.into(), ..Package::default() }
    }

    #[test]
    fn versions_are_one_or_a_range_by_the_rules_of_the_package() {
        let holds = |text: &str, arch: &str, version: &str| Versions::parse(text).expect("valid").holds(&package(arch, version));
        assert!(holds("", "amd64", "1") && holds("1", "amd64", "1") && !holds("1", "amd64", "1.0"));
        assert!(holds(">=3.0,<3.0.14", "x86_64", "3.0.9-1.el9") && !holds(">=3.0, < 3.0.14", "x86_64", "3.0.14-1.el9"));
        assert!(holds("<1.0", "amd64", "1.0~rc1") && holds("=1.0", "amd64", "1.0") && holds(">0", "noarch", "1:0"));
        for wrong in ["<", ">=3,", "<1,<2,<3", ">1 2,"] {
            assert!(Versions::parse(wrong).is_err(), "{wrong}");
        }
    }
}
