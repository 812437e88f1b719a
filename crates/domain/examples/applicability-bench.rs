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

/// An advisory for widely installed packages comes and is taken back: milliseconds each.
fn advisories(world: &World, fleet: &mut Fleet) -> (f64, f64) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let origin = Origin::Snapshot(ROOT.into());
    let fixes = world.advisories.iter().find(|a| a.fixes.len() == 8).map(|a| a.fixes.clone()).unwrap_or_default();
    for n in 0..ROUNDS {
        let advisory = Advisory {
            id: format!("NEW-{n}"),
            kind: AdvisoryKind::Security,
            severity: Severity::Critical,
            cves: vec![format!("CVE-2027-{n}")],
            fixes: fixes.clone(),
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
    (median(added), median(removed))
}

/// A host reports one other package.
fn host_changed(world: &World, fleet: &mut Fleet, dice: &mut Dice) -> f64 {
    let mut changed = Vec::new();
    for n in 0..ROUNDS {
        let mut packages = world.profiles[n].clone();
        let at = dice.below(packages.len());
        packages[at].version = format!("{}.1", packages[at].version);
        let begun = Instant::now();
        let packages = keys(fleet, &packages);
        put(fleet, n, &packages, &rules(n), ROOT);
        fleet.settle();
        changed.push(ms(begun));
    }
    median(changed)
}

/// Hosts of one advisory and the totals of all advisories and vulnerabilities.
fn queries(world: &World, fleet: &Fleet) -> f64 {
    let mut rounds = Vec::new();
    for n in 0..ROUNDS {
        let begun = Instant::now();
        let hosts = fleet.hosts_of_advisory(&world.advisories[n].id).len();
        let totals = fleet.advisory_totals().len() + fleet.vulnerability_totals().len();
        rounds.push(ms(begun));
        assert!(hosts <= HOSTS && totals > 0);
    }
    median(rounds)
}

/// Everybody looks at the next snapshot: reading it, and what follows.
fn snapshot_changed(world: &World, fleet: &mut Fleet, dice: &mut Dice) -> (f64, f64) {
    let next = world.next(dice, 1);
    let begun = Instant::now();
    fleet.put_snapshot("r1", Scheme::Rpm, &next);
    let origin = Origin::Snapshot("r1".into());
    world.advisories.iter().for_each(|a| fleet.put_advisory(&origin, a));
    let load = ms(begun);
    let begun = Instant::now();
    fleet.replace_root(ROOT, "r1");
    fleet.settle();
    (load, ms(begun))
}

/// Package sets of hosts of which no two are alike.
fn distinct(world: &World, fleet: &mut Fleet, dice: &mut Dice) -> Vec<Vec<PackageKey>> {
    let mut sets = Vec::with_capacity(HOSTS);
    for n in 0..HOSTS {
        let mut packages = world.profiles[n % world.profiles.len()].clone();
        for _ in 0..20 {
            let at = dice.below(packages.len());
            let other = dice.below(world.profiles.len()) + dice.below(VERSIONS);
            packages[at] = world.profiles[other % world.profiles.len()][at].clone();
        }
        packages.sort_unstable();
        packages.dedup();
        sets.push(keys(fleet, &packages));
    }
    sets
}

/// Bytes of a saved fleet, and how long saving and restoring take.
fn restart(fleet: &Fleet) -> (usize, f64, f64) {
    let begun = Instant::now();
    let saved = fleet.save();
    let save = ms(begun);
    let begun = Instant::now();
    let restored = Fleet::restore(&saved);
    assert!(restored.is_ok_and(|f| f.stats() == fleet.stats()));
    (saved.len(), save, ms(begun))
}

fn main() {
    let world = World::new(7, ISSUE);
    let begun = Instant::now();
    let mut fleet = stocked(&world);
    let load_ms = ms(begun);
    let shared: Vec<Vec<PackageKey>> = world.profiles.iter().map(|p| keys(&mut fleet, p)).collect();
    let full_ms = full(&world, &shared, &mut fleet);
    let classes = fleet.stats().classes;
    let mut dice = Dice(11);
    let (added, removed) = advisories(&world, &mut fleet);
    let changed = host_changed(&world, &mut fleet, &mut dice);
    let queries = queries(&world, &fleet);
    let begun = Instant::now();
    let report = fleet.host(host(3)).expect("a host");
    let report_ms = ms(begun);
    assert!(!report.updates.is_empty());
    let (saved, save_ms, restore_ms) = restart(&fleet);
    let (next_ms, snapshot) = snapshot_changed(&world, &mut fleet, &mut dice);
    let shared_peak = peak_mib();

    let mut fleet = stocked(&world);
    let sets = distinct(&world, &mut fleet, &mut dice);
    let full_distinct_ms = full(&world, &sets, &mut fleet);
    println!(
        "{{\"full_ms\":{full_ms:.1},\"full_distinct_ms\":{full_distinct_ms:.1},\"advisory_added_ms\":{added:.2},\
         \"advisory_removed_ms\":{removed:.2},\"host_changed_ms\":{changed:.3},\"snapshot_changed_1pct_ms\":{snapshot:.1},\
         \"peak_mib\":{:.0},\"shared_peak_mib\":{shared_peak:.0},\"fleet_queries_ms\":{queries:.2},\"host_report_ms\":{report_ms:.2},\
         \"load_ms\":{load_ms:.0},\"next_load_ms\":{next_ms:.0},\"saved_mib\":{:.1},\"save_ms\":{save_ms:.0},\
         \"restore_ms\":{restore_ms:.0},\"classes\":{classes},\"distinct_classes\":{},\"hosts\":{HOSTS}}}",
        peak_mib(),
        saved as f64 / (1024.0 * 1024.0),
        fleet.stats().classes,
    );
}
