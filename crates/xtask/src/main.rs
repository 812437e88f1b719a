//! Developer commands, run as `cargo xtask COMMAND`. One module per command; this file only
//! decodes the command line.

mod bench;
mod bench_access;
mod bench_applicability;
mod bench_content;
mod bench_drift;
mod bench_filter;
mod bench_history;
mod bench_turn;
mod demo;
mod drydock;
mod lab;
mod oracle;
mod release;
mod setup;
mod sh;
mod simulate;
mod test_cmd;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Drydock", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The main job on this machine, changing nothing on it
    Demo,
    /// Everything that CI runs
    Test(test_cmd::Options),
    /// Print figures
    Bench {
        /// Which
        name: bench::Benchmark,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Simulated fleets: what must never be is looked for after every event
    #[command(subcommand)]
    Simulate(simulate::Simulation),
    /// Decisions about access beside Cedar's, on generated statements
    Oracle,
    /// Build what is shipped
    #[command(subcommand)]
    Release(Release),
    /// Real hosts on this machine: boot them, enter them, run a scenario on them (needs root)
    #[command(subcommand)]
    Lab(lab::Command),
}

#[derive(Subcommand)]
enum Release {
    /// The agent, for glibc 2.17 and later, with the proof from its symbol table
    Agent,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo => demo::run(),
        Command::Test(options) => test_cmd::run(options),
        Command::Bench { name, json } => bench::run(name, json),
        Command::Simulate(simulation) => simulate::run(&simulation),
        Command::Oracle => oracle::run(),
        Command::Release(Release::Agent) => release::agent().map(|binary| println!("{}", binary.display())),
        Command::Lab(command) => lab::run(command),
    }
}
