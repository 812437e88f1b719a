//! What a promotion means for hosts: which installed packages have a newer version among the units that the new
//! snapshot adds. Pure; hosts with equal package sets are looked at once.

use std::cmp::Ordering;
use std::collections::HashMap;

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Package, PackageSet};
use drydock_domain::source::unit::{Format, UnitChange};
use drydock_domain::version::{Scheme, compare};

use crate::content_views::{AffectedHost, UpgradeView};

/// The newest version that a new snapshot adds, for each name and architecture.
pub(super) struct Offers {
    scheme: Scheme,
    best: HashMap<String, Vec<(String, String)>>,
}

impl Offers {
    /// From the units that are added. A version that cannot be read is left out.
    pub(super) fn new(format: Format, changes: &[UnitChange]) -> Offers {
        let scheme = match format {
            Format::Rpm => Scheme::Rpm,
            Format::Deb => Scheme::Deb,
        };
        let mut best: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for change in changes {
            let UnitChange::Added { unit } = change else { continue };
            let of_name = best.entry(unit.name.clone()).or_default();
            match of_name.iter_mut().find(|(arch, _)| *arch == unit.arch) {
                Some((_, version)) => {
                    if older(scheme, version, &unit.version) {
                        version.clone_from(&unit.version);
                    }
                }
                None => of_name.push((unit.arch.clone(), unit.version.clone())),
            }
        }
        Offers { scheme, best }
    }

    /// Nothing is offered.
    pub(super) fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// What a host with these packages would be offered: `(name, arch, version)`.
    pub(super) fn for_set(&self, set: &PackageSet) -> Vec<Offer> {
        let mut offers = Vec::new();
        // Sorted by name and architecture, so the versions of one package (kernels have several) lie together.
        for installed in set.as_slice().chunk_by(|a, b| a.name == b.name && a.arch == b.arch) {
            let Some(first) = installed.first() else { continue };
            let Some(of_name) = self.best.get(&first.name) else { continue };
            for (arch, version) in of_name.iter().filter(|(arch, _)| *arch == first.arch) {
                if installed.iter().all(|p: &Package| older(self.scheme, &p.version, version)) {
                    offers.push(Offer { name: first.name.clone(), arch: arch.clone(), version: version.clone() });
                }
            }
        }
        offers
    }
}

/// One package a host would be offered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Offer {
    name: String,
    arch: String,
    version: String,
}

fn older(scheme: Scheme, a: &str, b: &str) -> bool {
    compare(scheme, a, b).is_ok_and(|order| order == Ordering::Less)
}

/// Adds up hosts and offers.
#[derive(Default)]
pub(super) struct Sums {
    affected: Vec<AffectedHost>,
    by_offer: HashMap<Offer, u64>,
}

impl Sums {
    /// One host and what it would be offered.
    pub(super) fn add(&mut self, id: InstanceId, name: &str, offers: &[Offer]) {
        if offers.is_empty() {
            return;
        }
        let updates = u32::try_from(offers.len()).unwrap_or(u32::MAX);
        self.affected.push(AffectedHost { id, name: name.to_owned(), updates });
        for offer in offers {
            match self.by_offer.get_mut(offer) {
                Some(hosts) => *hosts += 1,
                None => {
                    self.by_offer.insert(offer.clone(), 1);
                }
            }
        }
    }

    /// How many hosts are affected, the first `limit` of them and the first `limit` upgrades.
    pub(super) fn finish(mut self, limit: usize) -> (u64, Vec<AffectedHost>, Vec<UpgradeView>) {
        let total = u64::try_from(self.affected.len()).unwrap_or(u64::MAX);
        self.affected.sort_by(|a, b| b.updates.cmp(&a.updates).then_with(|| a.name.cmp(&b.name)));
        self.affected.truncate(limit);
        let mut offers: Vec<(Offer, u64)> = self.by_offer.into_iter().collect();
        offers.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        offers.truncate(limit);
        let upgrades = offers.into_iter().map(|(o, hosts)| UpgradeView { name: o.name, arch: o.arch, to: o.version, hosts });
        (total, self.affected, upgrades.collect())
    }
}

#[cfg(test)]
mod tests {
    use drydock_domain::source::unit::Unit;

    use super::*;

    fn added(name: &str, version: &str) -> UnitChange {
        let unit = Unit {
            name: name.into(),
            arch: "x86_64".into(),
            version: version.into(),
            source: String::new(),
            digest: String::new(),
            size: 1,
            index: String::new(),
        };
        UnitChange::Added { unit }
    }

    fn set(packages: &[(&str, &str)]) -> PackageSet {
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).into(),
            arch: "x86_64".into(),
            version: (*version).into(),
            ..Package::default()
        };
        PackageSet::new(packages.iter().map(package).collect())
    }

    #[test]
    fn hosts_with_an_older_version_are_counted_and_others_not() {
        let offers = Offers::new(Format::Rpm, &[added("bash", "5.1-9"), added("bash", "5.1-10"), added("kernel", "5.14-2")]);
        let old = offers.for_set(&set(&[("bash", "5.1-2"), ("zsh", "1-1"), ("kernel", "5.14-1")]));
        assert_eq!(old.len(), 2);
        assert_eq!(old[0].version, "5.1-10", "the newest of those added");
        assert!(offers.for_set(&set(&[("bash", "5.1-10")])).is_empty());
        let both = offers.for_set(&set(&[("kernel", "5.14-1"), ("kernel", "5.14-2")]));
        assert!(both.is_empty(), "the newest of several installed counts");

        let mut sums = Sums::default();
        let id = |n| InstanceId(uuid::Uuid::from_u128(n));
        sums.add(id(1), "a", &old[..1]);
        sums.add(id(2), "b", &old);
        sums.add(id(3), "c", &[]);
        let (total, hosts, upgrades) = sums.finish(1);
        assert_eq!(total, 2);
        assert_eq!((hosts[0].name.as_str(), hosts[0].updates), ("b", 2));
        assert_eq!((upgrades[0].name.as_str(), upgrades[0].hosts), ("bash", 2));
    }
}
