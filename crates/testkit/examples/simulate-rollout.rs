//! `cargo xtask simulate rollout` runs this: plays seeds, prints their figures, and for a seed that failed the one command
//! that replays it.
//!
//!     simulate-rollout [--seeds N] [--first SEED] [--json] [--trace] [--plant NAME]

use std::process::ExitCode;

use drydock_testkit::rollout_sim::{Plant, play, play_many};

/// Failing seeds that are told in full, count.
const SHOWN_MAX: usize = 30;

struct Options {
    seeds: u64,
    first: u64,
    json: bool,
    trace: bool,
    plant: Option<Plant>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 1000, first: 1, json: false, trace: false, plant: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{argument} {text}: {e}"));
        match argument.as_str() {
            "--seeds" => options.seeds = number(value()?)?,
            "--first" => options.first = number(value()?)?,
            "--json" => options.json = true,
            "--trace" => options.trace = true,
            "--plant" => {
                let name = value()?;
                let found = Plant::ALL.into_iter().find(|(n, _)| *n == name);
                let names: Vec<&str> = Plant::ALL.iter().map(|(n, _)| *n).collect();
                options.plant = Some(found.ok_or_else(|| format!("--plant {name}: one of {}", names.join(", ")))?.1);
            }
            _ => return Err(format!("{argument}: not known; see --seeds, --first, --json, --trace, --plant")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if options.trace {
        let outcome = play(options.first, options.plant, true);
        outcome.trace.iter().for_each(|line| println!("{line}"));
    }
    let seeds = if options.trace { 1 } else { options.seeds };
    let (summary, failed, measured) = play_many(options.first, seeds, options.plant);
    if options.json {
        println!("{}", serde_json::to_string(&summary).unwrap_or_default());
    } else {
        println!("{summary:#?}\ncontainment was measured in {measured} runs");
    }
    let planted = options.plant.and_then(|p| Plant::ALL.into_iter().find(|(_, q)| *q == p));
    let plant = planted.map(|(name, _)| format!(" --plant {name}")).unwrap_or_default();
    for outcome in failed.iter().take(SHOWN_MAX) {
        eprintln!("seed {} ({} hosts):", outcome.seed, outcome.hosts);
        outcome.violations.iter().for_each(|v| eprintln!("  {:?} {}", v.kind, v.what));
        eprintln!("  again: cargo xtask simulate rollout --first {} --trace{plant}", outcome.seed);
    }
    if failed.len() > SHOWN_MAX {
        eprintln!("and {} more seeds", failed.len() - SHOWN_MAX);
    }
    if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
