//! `cargo xtask simulate rollout`: simulated fleets on which rollouts are tried, in a process of its own, built with
//! optimisation. Prints figures, or one JSON object; a seed that fails is told with the command that replays it.

use std::process::Command;

use anyhow::Result;
use clap::Subcommand;

use crate::{release, sh};

/// What is simulated.
#[derive(Debug, Subcommand)]
pub enum Simulation {
    /// Rollouts over fleets of 10 to 10,000 hosts, with everything that goes wrong
    Rollout(Options),
}

/// Which fleets.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How many
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first; the others follow by number
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Tell what happens in the first, line by line, and play no other
    #[arg(long, conflicts_with = "json")]
    trace: bool,
    /// A bug of the simulated server that must be found: budget, window, halt, twice, reason, lost
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
}

impl Options {
    /// Many fleets, for people.
    pub fn of(seeds: u64) -> Self {
        Options { seeds, first: 1, json: false, trace: false, plant: None }
    }
}

/// Runs it.
///
/// # Errors
/// When the program cannot be built, or finds that something happened which must not.
pub fn run(simulation: &Simulation) -> Result<()> {
    let Simulation::Rollout(options) = simulation;
    sh::run(sh::cargo(["build", "--locked", "--release", "--package", "drydock-testkit", "--example", "simulate-rollout"]))?;
    let mut command = Command::new(release::target_dir()?.join("release/examples/simulate-rollout"));
    command.args(["--seeds", &options.seeds.to_string(), "--first", &options.first.to_string()]);
    command.args(options.json.then_some("--json")).args(options.trace.then_some("--trace"));
    if let Some(plant) = &options.plant {
        command.args(["--plant", plant]);
    }
    sh::run(command)
}
