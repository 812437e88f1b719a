//! Entry: reads the arguments, runs one command, prints the error with its causes.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match drydock_server::commands::run(drydock_server::commands::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drydockd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
