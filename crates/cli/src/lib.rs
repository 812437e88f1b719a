//! The operator's command `drydock`: reads arguments, calls `/api/v1`, prints for people or programs. Absent on
//! purpose: decisions (the server's), anything a browser or a script could not do with the same API.

pub mod args;
mod calendar_spec;
mod client;
mod commands;
mod config;
mod deployment_spec;
mod failure;
pub mod progress;
mod signing;
mod spec;
mod text;
mod tls;
mod view;
mod world;

use std::ffi::OsString;

use clap::Parser;

pub use failure::{EXIT_CODES, Ending, Failure};
pub use world::{Pace, Screen, World};

/// Runs one command line and returns the process's exit code.
pub async fn run(args: impl IntoIterator<Item = OsString>, world: &mut World) -> u8 {
    let cli = match args::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // `--help` and `--version` arrive here too: they are answers, not errors.
            let text = e.render();
            let text = if world.colour_out() && !e.use_stderr() { text.ansi().to_string() } else { text.to_string() };
            let written =
                if e.use_stderr() { world.err.write_all(text.as_bytes()) } else { world.out.write_all(text.as_bytes()) };
            let usage = failure::EXIT_USAGE;
            return if e.use_stderr() || written.is_err() { usage } else { 0 };
        }
    };
    let ended = commands::dispatch(cli, world).await;
    let flushed = world.out.flush().map_err(Failure::Output);
    match ended.and_then(|ending| flushed.map(|()| ending)) {
        Ok(ending) => ending.exit_code(),
        Err(failure) => {
            let code = failure.exit_code();
            if !failure.is_silent() {
                // Nothing is left to tell when standard error is gone as well.
                let _ = writeln!(world.err, "{}", failure.explain());
            }
            code
        }
    }
}
