//! A report over a whole fleet on real data: the advisories of AlmaLinux 8 over 10,000 hosts. The numbers are counted again by a slow
//! implementation of its own: no index, no interning, versions compared as text, written from the rules.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::time::Instant;

use drydock_domain::advisory::{Advisory, Fix, Severity};
use drydock_domain::applicability::{Fleet, HostInput, Origin};
use drydock_domain::host_rules::{HostRules, ModuleState};
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{ManagerKind, OsFacts, Package};
use drydock_domain::version::{Scheme, compare};
use drydock_testkit::worlds::Dice;

use super::alma::file;
use super::*;

/// Hosts, count.
const HOSTS: usize = 10_000;
/// Different package sets; every host has one of them.
const PROFILES: usize = 300;
/// Packages of a host, count.
const PACKAGES: usize = 600;
/// Streams that hosts may have enabled.
const STREAMS: [(&str, &str); 6] =
    [("nodejs", "18"), ("nodejs", "20"), ("php", "8.0"), ("postgresql", "13"), ("container-tools", "rhel8"), ("python39", "3.9")];

struct Profile {
    packages: Vec<Package>,
    rules: HostRules,
}

fn advisories() -> Option<Vec<Advisory>> {
    let mut all = Vec::new();
    read_feed(None, File::open(file()?).unwrap(), &Hints::default(), &mut |item| {
        if let FeedItem::Advisory(advisory) = item {
            all.push(*advisory);
        }
        Ok(())
    })
    .unwrap();
    Some(all)
}

/// Package sets of names and versions that the advisories know: some fixed, some older than any fix, some in between.
fn profiles(advisories: &[Advisory]) -> Vec<Profile> {
    let mut versions: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for fix in advisories.iter().flat_map(|a| &a.fixes).filter(|f| f.product.release == "8") {
        versions.entry((&fix.name, if fix.arch.is_empty() { "x86_64" } else { &fix.arch })).or_default().insert(&fix.version);
    }
    let all: Vec<_> = versions.into_iter().map(|(key, v)| (key, v.into_iter().collect::<Vec<_>>())).collect();
    let one = |seed: usize| {
        let mut dice = Dice::new(seed as u64);
        let mut chosen: BTreeMap<(&str, &str), Package> = BTreeMap::new();
        while chosen.len() < PACKAGES {
            let Some(((name, arch), versions)) = dice.pick(&all) else { break };
            let version = if dice.chance(20) { "0.0.1-1.el8" } else { dice.pick(versions).copied().unwrap_or("0.0.1-1.el8") };
            let package = Package { name: (*name).into(), arch: (*arch).into(), version: version.into(), ..Package::default() };
            chosen.insert((name, arch), package);
        }
        let stream = |(name, stream): (&str, &str)| ModuleState {
            name: name.into(),
            stream: stream.into(),
            enabled: true,
            profiles: Vec::new(),
        };
        // One stream of a module at most.
        let mut streams: BTreeMap<&str, &str> = BTreeMap::new();
        streams.extend(dice.some(&STREAMS, 40));
        let rules = HostRules { modules: streams.into_iter().map(stream).collect(), ..HostRules::default() };
        Profile { packages: chosen.into_values().collect(), rules }
    };
    (0..PROFILES).map(one).collect()
}

fn os() -> OsFacts {
    OsFacts {
        short_name: "almalinux".into(),
        version: "8.10".into(),
        architecture: "x86_64".into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    }
}

fn instance(number: usize) -> InstanceId {
    format!("0198c0de-0000-7000-8000-{number:012}").parse().unwrap()
}

/// Does a fix touch a package of a host? The rules in a few lines.
fn touches(fix: &Fix, package: &Package, profile: &Profile) -> bool {
    let modular = |version: &str| version.contains(".module");
    let major = |version: &str| version.split(['.', '-']).next().unwrap_or_default().to_owned();
    let module = match &fix.module {
        Some(m) => profile.rules.modules.iter().any(|s| s.name == m.name && s.stream == m.stream),
        None if modular(&fix.version) && modular(&package.version) => major(&fix.version) == major(&package.version),
        None => modular(&fix.version) == modular(&package.version),
    };
    fix.product.os == "almalinux"
        && fix.product.release == "8"
        && fix.name == package.name
        && (fix.arch.is_empty() || fix.arch == package.arch)
        && module
        && compare(Scheme::Rpm, &package.version, &fix.version) == Ok(Ordering::Less)
}

/// Hosts of each advisory, and of each CVE.
fn slowly(advisories: &[Advisory], profiles: &[Profile]) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let (mut by_advisory, mut by_cve) = (BTreeMap::new(), BTreeMap::new());
    for (number, profile) in profiles.iter().enumerate() {
        let hosts = u32::try_from((0..HOSTS).filter(|host| host % PROFILES == number).count()).unwrap();
        let mut names: HashMap<&str, Vec<&Package>> = HashMap::new();
        for package in &profile.packages {
            names.entry(&package.name).or_default().push(package);
        }
        let (mut ids, mut cves) = (BTreeSet::new(), BTreeSet::new());
        for advisory in advisories.iter().filter(|a| !a.withdrawn) {
            let touched = advisory.fixes.iter().any(|fix| {
                names.get(fix.name.as_str()).is_some_and(|found| found.iter().any(|package| touches(fix, package, profile)))
            });
            if touched {
                ids.insert(&advisory.id);
                cves.extend(&advisory.cves);
            }
        }
        ids.into_iter().for_each(|id| *by_advisory.entry(id.clone()).or_insert(0) += hosts);
        cves.into_iter().for_each(|cve| *by_cve.entry(cve.clone()).or_insert(0) += hosts);
    }
    (by_advisory, by_cve)
}

#[test]
fn ten_thousand_hosts_against_a_whole_release() {
    let Some(advisories) = advisories() else { return };
    let profiles = profiles(&advisories);
    let os = os();
    let began = Instant::now();
    let mut fleet = Fleet::new();
    let origin = Origin::Feed("almalinux".into());
    advisories.iter().for_each(|a| fleet.put_advisory(&origin, a));
    let keys: Vec<Vec<_>> =
        profiles.iter().map(|p| p.packages.iter().map(|package| fleet.package(Scheme::Rpm, package)).collect()).collect();
    for host in 0..HOSTS {
        let (profile, packages) = (&profiles[host % PROFILES], &keys[host % PROFILES]);
        let input = HostInput { os: &os, scheme: Scheme::Rpm, packages, rules: &profile.rules, views: &[] };
        fleet.put_host(instance(host), input);
    }
    let settled = fleet.settle();
    let (advisory_totals, cve_totals) = (fleet.advisory_totals(), fleet.vulnerability_totals());
    println!("{HOSTS} hosts, {} classes, in {} ms (this build)", settled.classes_computed, began.elapsed().as_millis());

    let (want_advisories, want_cves) = slowly(&advisories, &profiles);
    let got: BTreeMap<String, u32> = advisory_totals.iter().map(|t| (t.id.clone(), t.applicable)).collect();
    assert_eq!(got, want_advisories);
    let got: BTreeMap<String, u32> = cve_totals.iter().map(|t| (t.id.clone(), t.open)).collect();
    assert_eq!(got, want_cves);
    assert!(want_advisories.len() > 1000 && want_cves.len() > 2000, "{} {}", want_advisories.len(), want_cves.len());
    // Without a source nothing can be installed, and everything above stays true.
    assert!(advisory_totals.iter().all(|t| t.installable == 0));
    let critical: Vec<_> = advisory_totals.iter().filter(|t| t.severity == Severity::Critical).collect();
    assert!(!critical.is_empty() && critical.iter().all(|t| fleet.hosts_of_advisory(&t.id).len() == t.applicable as usize));
}
