//! `cargo xtask bench NAME [--json]`: figures with their command, never asserts.
//!
//! `agent`: the shipped agent on a real host with at least 600 packages: memory when idle, cost of one inventory, size.
//! `sync`, `snapshot`: what distribution-sized repositories cost; see [`crate::bench_content`].
//! `filter`: what filters over the inventory of a fleet cost; see [`crate::bench_filter`].
//! `history`: a year of a fleet's inventory history, and full reports a second; see [`crate::bench_history`].
//! `applicability`: updates, advisories and vulnerabilities of a fleet; see [`crate::bench_applicability`].
//! `access`: what deciding, listing and recording cost; see [`crate::bench_access`].
//! `turn`: what a turn of the reconcilers costs with a job over a whole fleet; see [`crate::bench_turn`].
//! `drift`: how long a host is other than its policy says; see [`crate::bench_drift`].
//! `enrol`: from the agent's start to its packages being visible through the API, on an nspawn host.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use drydock_testkit::lab::{Host, Root, RootKind};
use drydock_testkit::wait::wait_until;
use serde_json::{Value, json};

use crate::drydock::{Drydock, Programs};
use crate::{bench_access, bench_applicability, bench_content, bench_drift, bench_filter, bench_history, bench_turn, release};

/// Packages the measured host must have, as the figures presume.
const PACKAGES_MIN: u64 = 600;
/// Inventories measured; the median is printed.
const ROUNDS: usize = 5;
/// Until the first inventory is visible.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// How long the agent is left alone before its memory is read: its first inventory and updates listing are over.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// The benchmarks.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Benchmark {
    /// Memory, inventory cost and size of the agent
    Agent,
    /// From the agent's start to its packages being visible
    Enrol,
    /// Syncs of a 42,000-package yum repository and of a 63,000-package Debian suite
    Sync,
    /// Snapshots, publications and differences of the same
    Snapshot,
    /// Filters over 10,000 hosts with 300 distinct package sets
    Filter,
    /// A year of inventory history of 10,000 hosts, and full reports a second
    History,
    /// Updates, advisories and vulnerabilities of 10,000 hosts
    Applicability,
    /// Turns of a patch job with waves, zones and a budget over 10,000 hosts
    Turn,
    /// 200 violations of a policy on a booted host
    Drift,
    /// Decisions among 1,000 statements, lists of 10,000 instances, audit records
    Access,
}

/// Runs one benchmark and prints one object.
pub fn run(benchmark: Benchmark, as_json: bool) -> Result<()> {
    let figures = match benchmark {
        Benchmark::Agent | Benchmark::Enrol => on_hosts(benchmark)?,
        Benchmark::Sync => bench_content::sync()?,
        Benchmark::Snapshot => bench_content::snapshot()?,
        Benchmark::Filter => bench_filter::filter()?,
        Benchmark::History => bench_history::history()?,
        Benchmark::Applicability => bench_applicability::applicability()?,
        Benchmark::Turn => bench_turn::turn()?,
        Benchmark::Drift => bench_drift::drift()?,
        Benchmark::Access => bench_access::access()?,
    };
    if as_json {
        println!("{figures}");
    } else {
        for (name, value) in figures.as_object().into_iter().flatten() {
            println!("{name:<22} {value}");
        }
    }
    Ok(())
}

fn on_hosts(benchmark: Benchmark) -> Result<Value> {
    let agent = release::agent()?;
    let programs = Programs::build(Some(agent.clone()))?;
    if matches!(benchmark, Benchmark::Agent) { bench_agent(&programs, &agent) } else { bench_enrol(&programs) }
}

fn bench_agent(programs: &Programs, agent: &Path) -> Result<Value> {
    let host = Host::start(&Root::ensure(RootKind::Large)?, "bench-agent")?;
    let dir = tempfile::tempdir()?;
    let drydock = Drydock::start(programs, dir.path())?;
    drydock.install_agent(&host, &drydock.enrolment_token("bench")?)?;
    visible(&drydock, host.hostname())?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let printed = host.run(&["drydock-agent", "inventory", "--bench-json"])?.success()?;
        let round: Value = serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))?;
        rounds.push(round);
    }
    let packages = rounds[0]["packages"].as_u64().context("no count of packages")?;
    ensure!(packages >= PACKAGES_MIN, "the host has {packages} packages, {PACKAGES_MIN} are needed");
    Ok(json!({
        "idle_pss_mib": round(idle_pss_mib(&host)?),
        "inventory_cpu_ms": median(&rounds, "cpu_ms")?,
        "inventory_wall_ms": median(&rounds, "wall_ms")?,
        "binary_mib": round(agent.metadata()?.len() as f64 / (1024.0 * 1024.0)),
        "packages": packages,
    }))
}

/// Proportional set size of the agent once two readings agree within 64 KiB.
fn idle_pss_mib(host: &Host) -> Result<f64> {
    let pss = || -> Result<f64> {
        let kib = host.sh("awk '/^Pss:/ {print $2}' /proc/$(systemctl show -P MainPID drydock-agent)/smaps_rollup")?;
        Ok(kib.trim().parse::<f64>()? / 1024.0)
    };
    let mut last = pss()?;
    let mut quiet_since = Instant::now();
    wait_until("the agent's memory is steady for five seconds", SETTLE_LIMIT, || {
        let now = pss()?;
        if (now - last).abs() > 1.0 / 16.0 {
            quiet_since = Instant::now();
        }
        last = now;
        Ok(quiet_since.elapsed() > Duration::from_secs(5))
    })?;
    Ok(last)
}

fn median(rounds: &[Value], field: &str) -> Result<f64> {
    let mut values: Vec<f64> = rounds.iter().filter_map(|r| r[field].as_f64()).collect();
    ensure!(values.len() == rounds.len(), "inventory --bench-json prints no {field}");
    values.sort_by(f64::total_cmp);
    Ok(round(values[values.len() / 2]))
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn visible(drydock: &Drydock, name: &str) -> Result<()> {
    wait_until("the host's packages are visible", VISIBLE_LIMIT, || {
        Ok(drydock.json(&["instance", "show", name])?["inventory"]["packages"].as_u64().unwrap_or(0) > 0)
    })
}

fn bench_enrol(programs: &Programs) -> Result<Value> {
    let host = Host::start(&Root::ensure(RootKind::AptBookworm)?, "bench-enrol")?;
    let dir = tempfile::tempdir()?;
    let drydock = Drydock::start(programs, dir.path())?;
    let mut rounds = Vec::new();
    for n in 0..ROUNDS {
        let token = drydock.enrolment_token(&format!("bench {n}"))?;
        let begun = Instant::now();
        drydock.install_agent(&host, &token)?;
        visible(&drydock, host.hostname())?;
        rounds.push(json!({ "ms": begun.elapsed().as_millis() as u64 }));
        host.run(&["drydock-agent", "unregister"])?.success()?;
    }
    Ok(json!({ "start_to_visible_ms": median(&rounds, "ms")? }))
}
