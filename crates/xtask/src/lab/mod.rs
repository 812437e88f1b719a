//! `cargo xtask lab`: real hosts on this machine, for trying things by hand and for scenarios.
//!
//! `up` leaves a keeper process behind that owns the hosts and serves their repositories; `down`
//! ends it. Scenarios own their hosts themselves and need no `up`.

mod fleet;
mod job;
mod keeper;
mod packages_modules;
mod scenario_faults;
mod scenario_packages;
mod scenario_patch;
mod scenario_policy;
mod scenario_resources;
mod scenario_rollout;
mod scenario_sources;
mod scenario_torn;
mod scenario_undo;
mod scenario_walk;
mod walk_access;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Subcommand, ValueEnum};
use drydock_testkit::lab;

use crate::release;
use fleet::Fleet;

/// Prefix of the names of hosts that `up` boots, so that a scenario may run beside them.
const UP_PREFIX: &str = "lab-";

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Boot one host of each kind with the standard packages and updates, and leave them running
    Up,
    /// Remove the hosts of `up`, and what killed test runs left behind
    Down {
        /// Also remove the cached roots and repositories
        #[arg(long)]
        cache: bool,
    },
    /// Show the running hosts
    List,
    /// Run a command, or a shell, in a running host
    Enter {
        /// Name as `list` shows it
        name: String,
        /// The command; a login shell without one
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a scenario on hosts of its own
    Run {
        /// Which scenario
        name: Scenario,
        /// With the agent as it is shipped, and the oldest host, instead of a fresh build
        #[arg(long)]
        shipped: bool,
        /// For ten minutes instead of less than one (torn)
        #[arg(long)]
        long: bool,
    },
    /// Own the hosts of `up` until told to end
    #[command(hide = true)]
    Keep,
}

/// The scenarios.
#[derive(Clone, Copy, ValueEnum)]
pub enum Scenario {
    /// One patch job over hosts of every kind
    Patch,
    /// Named packages, chosen updates and staged downloads on hosts of every kind
    Packages,
    /// Hosts of every kind live on managed software sources
    Sources,
    /// A bad update meets waves: health gate, halt, undo
    Rollout,
    /// Jobs are taken back exactly on a host of each package manager
    Undo,
    /// OS policies are brought about and kept true, whatever happens to the host
    Policy,
    /// The agent's tests of resources, watchers and systemd inside hosts of each kind
    Resources,
    /// Package managers refresh in loops while snapshots move and the server is killed
    Torn,
    /// README.md as a new user reads it, in a fresh Debian host
    Walk,
    /// Faults of scripts, disks, locks, repositories, power and server, one after the other
    Faults,
}

/// Runs one `lab` command.
///
/// # Errors
/// When the machine cannot run hosts, or the command fails.
pub fn run(command: Command) -> Result<()> {
    if let Some(reason) = lab::skip_reason()? {
        bail!("this machine cannot run lab hosts: {reason}");
    }
    match command {
        Command::Up => {
            keeper::up()?;
            list()
        }
        Command::Down { cache } => keeper::down(cache),
        Command::List => list(),
        Command::Enter { name, command } => enter(&name, command),
        Command::Run { name, shipped, long } => run_scenario(name, shipped.then(release::agent).transpose()?, long),
        Command::Keep => keeper::keep(),
    }
}

/// Runs a scenario with `agent` in its hosts, or with a fresh build; `is_long`: for as long as it can be worth.
///
/// # Errors
/// At the first thing that is not as it must be.
pub fn run_scenario(name: Scenario, agent: Option<PathBuf>, is_long: bool) -> Result<()> {
    match name {
        Scenario::Patch => scenario_patch::run(agent),
        Scenario::Packages => scenario_packages::run(agent),
        Scenario::Sources => scenario_sources::run(agent),
        Scenario::Rollout => scenario_rollout::run(agent),
        Scenario::Undo => scenario_undo::run(agent),
        Scenario::Policy => scenario_policy::run(agent),
        Scenario::Resources => scenario_resources::run(),
        Scenario::Torn => scenario_torn::run(agent, is_long),
        Scenario::Walk => scenario_walk::run(agent),
        Scenario::Faults => scenario_faults::run(agent),
    }
}

fn list() -> Result<()> {
    let hosts = lab::running()?;
    for host in &hosts {
        println!("{:20} {}", host.name, host.dir.join("console.log").display());
    }
    match hosts.first() {
        Some(host) => println!("enter one with: cargo xtask lab enter {}", host.name),
        None => println!("no host is running; start them with: cargo xtask lab up"),
    }
    Ok(())
}

fn enter(name: &str, command: Vec<String>) -> Result<()> {
    let hosts = lab::running()?;
    let host = hosts.iter().find(|host| host.name == name);
    let host = host.with_context(|| format!("no host {name} is running: see cargo xtask lab list"))?;
    let shell = || vec!["bash".to_owned(), "--login".to_owned()];
    let command = if command.is_empty() { shell() } else { command };
    // Replaces this process: the terminal, signals and the exit status are the command's.
    Err(host.command(&command)?.exec()).context("cannot enter the host")
}
