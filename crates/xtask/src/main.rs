//! Developer commands, run as `cargo xtask COMMAND`. One module per command; this file only
//! decodes the command line.

mod lab;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Drydock", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Real hosts on this machine: boot them, enter them, run a scenario on them (needs root)
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Lab(command) => lab::run(command),
    }
}
