//! `cargo xtask test`: everything CI runs, in the order in which failures are cheapest.
//!
//! It installs what is missing (as root on Debian), checks form and lints, runs every test of the workspace, compares
//! decisions about access with Cedar's, builds the shipped agent and checks it against the oldest glibc, patches the lab's
//! real hosts, lets them live on managed sources (also while the server is killed) and walks README.md in one.
//! `--quick` leaves out everything from the shipped agent on; `--long` adds ten thousand simulated rollouts, the faults on
//! real hosts, damaged metadata and ten minutes of killed servers. Absent: benchmarks; they are not assertions.

use anyhow::{Context as _, Result};

use crate::{lab, oracle, release, setup, sh, simulate};

/// How long `--long` gives each parser of hostile input, seconds.
const FUZZ_SECONDS: &str = "60";

/// Simulated fleets that `--long` tries rollouts on, count.
const SIMULATED_SEEDS: u64 = 10_000;

/// Which parts to run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Leave out the shipped agent and the lab's runs
    #[arg(long, conflicts_with = "long")]
    quick: bool,
    /// Also ten thousand simulated rollouts, the faults on real hosts (two minutes of full disks, held locks, power cuts and
    /// endless scripts), four minutes of damaged metadata, and ten minutes of package managers while the server is killed
    #[arg(long)]
    long: bool,
}

/// Runs everything; stops at the first failure.
pub fn run(options: Options) -> Result<()> {
    let set_up = setup::debian_packages();
    match (&set_up, sh::is_ci()) {
        (Err(_), true) => return set_up,
        (Err(missing), false) => eprintln!("{missing:#}\ngoing on; tests that need them will say that they are skipped"),
        _ => {}
    }
    let cargo = |args: &[&str]| sh::run(sh::cargo(args));
    cargo(&["fmt", "--all", "--check"]).context("the code is not formatted; run cargo fmt --all")?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    // The binaries come first: tests of whole programs run them.
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    if sh::have("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])?;
    } else {
        cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])?;
    }
    if options.quick {
        eprintln!("--quick: the shipped agent and the lab's runs are left out");
        return Ok(());
    }
    oracle::run()?;
    let agent = release::agent()?;
    lab::run_scenario(lab::Scenario::Patch, Some(agent.clone()), false).context("the lab's patch run")?;
    lab::run_scenario(lab::Scenario::Packages, Some(agent.clone()), false).context("the lab's packages run")?;
    lab::run_scenario(lab::Scenario::Rollout, Some(agent.clone()), false).context("the lab's rollout run")?;
    lab::run_scenario(lab::Scenario::Undo, Some(agent.clone()), false).context("the lab's undo run")?;
    lab::run_scenario(lab::Scenario::Policy, Some(agent.clone()), false).context("the lab's policy run")?;
    lab::run_scenario(lab::Scenario::Resources, None, false).context("the agent's tests on lab hosts")?;
    lab::run_scenario(lab::Scenario::Sources, Some(agent.clone()), false).context("the lab's sources run")?;
    lab::run_scenario(lab::Scenario::Torn, Some(agent.clone()), options.long).context("the lab's torn run")?;
    lab::run_scenario(lab::Scenario::Walk, Some(agent.clone()), false).context("the lab's walk through README.md")?;
    if options.long {
        let fleets = simulate::Simulation::Rollout(simulate::Options::of(SIMULATED_SEEDS));
        simulate::run(&fleets).context("simulated rollouts")?;
        for target in ["rpm", "deb", "upstream", "feeds"] {
            let fuzz = ["run", "--locked", "--release", "--package", "drydock-content", "--example", "content-fuzz", "--"];
            cargo(&[&fuzz[..], &[target, FUZZ_SECONDS]].concat()).context("damaged metadata")?;
        }
        lab::run_scenario(lab::Scenario::Faults, Some(agent), true).context("the lab's faults run")?;
    }
    Ok(())
}
