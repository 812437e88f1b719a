//! The generated fleet of the benchmark, smaller: every host's answers, and the fleet's, against the slow implementation.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::version::Scheme;

use crate::naive;
use crate::world::{ROOT, Size, World, el8, host, keys, put, rules, stocked, view};

const SIZE: Size = Size { names: 120, advisories: 160, profiles: 6, packages: 40 };
const HOSTS: usize = 30;

#[test]
fn a_fleet_is_judged_as_the_slow_implementation_judges_it() {
    let world = World::new(1, SIZE);
    let mut fleet = stocked(&world);
    for n in 0..HOSTS {
        let packages = keys(&mut fleet, &world.profiles[n % SIZE.profiles]);
        put(&mut fleet, n, &packages, &rules(0), ROOT);
    }
    let settled = fleet.settle();
    assert_eq!((settled.hosts_changed.len(), settled.classes_computed), (HOSTS, SIZE.profiles));
    let os = el8();
    let views = [(view("base", ROOT, 99), world.facts.packages.as_slice())];
    let mut by_advisory: BTreeMap<String, u32> = BTreeMap::new();
    let mut by_vulnerability: BTreeMap<String, u32> = BTreeMap::new();
    let mut nothing = true;
    for n in 0..SIZE.profiles {
        let slow = naive::Host { os: &os, packages: &world.profiles[n], excluded: &[], locked: &[], views: &views };
        let report = fleet.host(host(n)).expect("a host");
        let updates: BTreeSet<naive::Update> = report
            .updates
            .iter()
            .map(|u| (u.name.clone(), u.arch.clone(), u.from.clone(), u.to.clone(), u.to_arch.clone(), u.source.clone()))
            .collect();
        assert_eq!(updates, naive::updates(&slow), "updates of profile {n}");
        let advisories: BTreeSet<String> = report.advisories.iter().map(|a| a.id.clone()).collect();
        let want = naive::advisories(&slow, &world.advisories);
        assert_eq!(advisories, want.keys().cloned().collect::<BTreeSet<_>>(), "advisories of profile {n}");
        let open: BTreeMap<String, BTreeSet<String>> =
            report.vulnerabilities.iter().map(|v| (v.id.clone(), v.packages.iter().map(|p| p.name.clone()).collect())).collect();
        assert_eq!(open, naive::open(&slow, &world.advisories, &[]), "vulnerabilities of profile {n}");
        let counts = fleet.counts(host(n)).expect("a host");
        assert_eq!(counts.updates as usize, updates.len());
        assert_eq!(counts.advisories.iter().sum::<u32>() as usize, advisories.len());
        assert_eq!(counts.vulnerabilities.iter().sum::<u32>() as usize, open.len());
        nothing &= updates.is_empty();
        let hosts = (HOSTS / SIZE.profiles) as u32;
        advisories.into_iter().for_each(|id| *by_advisory.entry(id).or_default() += hosts);
        open.into_keys().for_each(|id| *by_vulnerability.entry(id).or_default() += hosts);
    }
    assert!(!nothing, "a fleet without updates shows nothing");
    let totals: BTreeMap<String, u32> = fleet.advisory_totals().into_iter().map(|t| (t.id, t.applicable)).collect();
    assert_eq!(totals, by_advisory);
    let totals: BTreeMap<String, u32> = fleet.vulnerability_totals().into_iter().map(|t| (t.id, t.open)).collect();
    assert_eq!(totals, by_vulnerability);
    for id in totals.keys().take(20) {
        assert_eq!(fleet.hosts_of_vulnerability(id).len(), totals[id] as usize);
    }
    for (id, hosts) in by_advisory.iter().take(20) {
        assert_eq!(fleet.hosts_of_advisory(id).len(), *hosts as usize);
    }
    let names: BTreeSet<&str> = world.profiles[0].iter().map(|p| p.name.as_str()).collect();
    let report = fleet.host(host(0)).expect("a host");
    for name in names.into_iter().take(10) {
        let own = fleet.hosts_of_update(name).iter().any(|(id, _, _)| *id == host(0));
        assert_eq!(own, report.updates.iter().any(|u| u.name == name), "{name}");
    }
    let closing = report.vulnerabilities.iter().find(|v| v.packages[0].fixed.is_some()).expect("a fix");
    let package = &closing.packages[0];
    assert_eq!(fleet.closing(&closing.id, &package.name, Scheme::Rpm)[0].0, ROOT);
}
