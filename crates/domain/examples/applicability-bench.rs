//! What applicability of a fleet costs: `cargo xtask bench applicability` runs this, built with optimisation. One JSON object.

#[path = "../tests/applicability/world.rs"]
mod world;

use std::time::Instant;

use drydock_domain::advisory::{Advisory, AdvisoryKind, Severity};
use drydock_domain::applicability::{Fleet, Origin, PackageKey};
use drydock_domain::version::Scheme;
use world::{Dice, ISSUE, ROOT, VERSIONS, World, host, keys, put, rules, stocked};

/// Hosts of the fleet.
const HOSTS: usize = 10_000;
/// Rounds of the small measurements; the median is printed.
const ROUNDS: usize = 9;

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Highest resident size of this process so far, MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}

fn put_all(fleet: &mut Fleet, sets: &[Vec<PackageKey>]) {
    for n in 0..HOSTS {
        put(fleet, n, &sets[n % sets.len()], &rules(n % sets.len()), ROOT);
    }
}

fn full(world: &World, sets: &[Vec<PackageKey>], fleet: &mut Fleet) -> f64 {
    let begun = Instant::now();
    put_all(fleet, sets);
    let settled = fleet.settle();
    let took = ms(begun);
    assert_eq!(settled.hosts_changed.len(), HOSTS, "every host has something to show");
    assert!(!world.advisories.is_empty());
    took
}

fn main() {
    let world = World::new(7, ISSUE);
    let begun = Instant::now();
    let mut fleet = stocked(&world);
    let load_ms = ms(begun);
    let shared: Vec<Vec<PackageKey>> = world.profiles.iter().map(|p| keys(&mut fleet, p)).collect();
    let full_ms = full(&world, &shared, &mut fleet);
    let classes = fleet.stats().classes;

    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let origin = Origin::Snapshot(ROOT.into());
    for n in 0..ROUNDS {
        // A fix of widely installed packages.
        let fixes = world.advisories.iter().find(|a| a.fixes.len() == 8).map(|a| a.fixes.clone()).unwrap_or_default();
        let advisory = Advisory {
            id: format!("NEW-{n}"),
            kind: AdvisoryKind::Security,
            severity: Severity::Critical,
            cves: vec![format!("CVE-2027-{n}")],
            fixes,
            ..Advisory::default()
        };
        let begun = Instant::now();
        fleet.put_advisory(&origin, &advisory);
        fleet.settle();
        added.push(ms(begun));
        let begun = Instant::now();
        fleet.remove_advisory(&origin, &advisory.id);
        fleet.settle();
        removed.push(ms(begun));
    }

    let mut dice = Dice(11);
    let mut changed = Vec::new();
    for n in 0..ROUNDS {
        let mut packages = world.profiles[n].clone();
        let at = dice.below(packages.len());
        packages[at].version = format!("{}.1", packages[at].version);
        let begun = Instant::now();
        let packages = keys(&mut fleet, &packages);
        put(&mut fleet, n, &packages, &rules(n), ROOT);
        fleet.settle();
        changed.push(ms(begun));
    }

    let mut queries = Vec::new();
    for n in 0..ROUNDS {
        let begun = Instant::now();
        let hosts = fleet.hosts_of_advisory(&world.advisories[n].id).len();
        let totals = fleet.advisory_totals().len() + fleet.vulnerability_totals().len();
        queries.push(ms(begun));
        assert!(hosts <= HOSTS && totals > 0);
    }
    let begun = Instant::now();
    let report = fleet.host(host(3)).expect("a host");
    let host_report_ms = ms(begun);
    assert!(!report.updates.is_empty());

    let next = world.next(&mut dice, 1);
    let begun = Instant::now();
    fleet.put_snapshot("r1", Scheme::Rpm, &next);
    let snapshot_put_ms = ms(begun);
    let next_origin = Origin::Snapshot("r1".into());
    world.advisories.iter().for_each(|a| fleet.put_advisory(&next_origin, a));
    let begun = Instant::now();
    fleet.replace_root(ROOT, "r1");
    fleet.settle();
    let snapshot_changed = ms(begun);
    let shared_peak = peak_mib();

    // All distinct: every host its own set.
    let mut fleet = stocked(&world);
    let mut distinct = Vec::with_capacity(HOSTS);
    for n in 0..HOSTS {
        let mut packages = world.profiles[n % world.profiles.len()].clone();
        for _ in 0..20 {
            let at = dice.below(packages.len());
            let (a, b) = (dice.below(world.profiles.len()), dice.below(VERSIONS));
            packages[at] = world.profiles[(a + b) % world.profiles.len()][at].clone();
        }
        packages.sort_unstable();
        packages.dedup();
        distinct.push(keys(&mut fleet, &packages));
    }
    let full_distinct_ms = full(&world, &distinct, &mut fleet);
    let stats = fleet.stats();
    println!(
        "{{\"full_ms\":{full_ms:.1},\"full_distinct_ms\":{full_distinct_ms:.1},\"advisory_added_ms\":{:.2},\"advisory_removed_ms\":{:.2},\
         \"host_changed_ms\":{:.3},\"snapshot_changed_1pct_ms\":{snapshot_changed:.1},\"peak_mib\":{:.0},\"shared_peak_mib\":{shared_peak:.0},\
         \"fleet_queries_ms\":{:.2},\"host_report_ms\":{host_report_ms:.2},\"snapshot_and_advisories_load_ms\":{load_ms:.0},\
         \"next_snapshot_load_ms\":{snapshot_put_ms:.0},\"classes\":{classes},\"distinct_classes\":{},\"hosts\":{HOSTS}}}",
        median(added),
        median(removed),
        median(changed),
        peak_mib(),
        median(queries),
        stats.classes,
    );
}
