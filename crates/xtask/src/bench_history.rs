//! `cargo xtask bench history`: a year of a fleet's inventory history in SQLite, the fleet as of a time, what an
//! unchanged host sends, and how many full reports a second a server takes. What is measured runs in programs of its
//! own, built with optimisation; the fleet is described in `crates/control/examples/history-bench/fleet.rs`.
//!
//! - `stored_mib`: what the database file grew by: tables and indices of the history, page by page.
//! - `asof_ms`: median of 21 times of the year: every host's class at the time, and each class decoded. `asof_first_ms`
//!   is the first one, `asof_worst_ms` the slowest.
//! - `unchanged_report_bytes`: the message of a host that is as it was, without the five bytes that gRPC puts in front
//!   and without HTTP/2 headers.
//! - `full_reports_per_s`: 10,000 hosts, every one changed by a patch wave since its last report, each sends all five
//!   sections in full (600 packages, about 70 kB of JSON), 512 at a time, into the server's operation (no TLS, no gRPC),
//!   each answered after its commit. `fleet_…`: hosts of profiles share package sets (`…_sets` says how many there are);
//!   `distinct_…`: each host has a set of its own; `…_first…`: into an empty database; `…_processor_us`: processor time a
//!   report took. `full_reports_per_s` is `fleet_changed_reports_per_s`.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{release, sh};

/// Builds an example with optimisation and returns what it prints.
fn example(package: &str, name: &str, features: &[&str]) -> Result<String> {
    let mut args = vec!["build", "--locked", "--release", "--package", package, "--example", name];
    for feature in features {
        args.extend(["--features", feature]);
    }
    sh::run(sh::cargo(args))?;
    sh::output(Command::new(release::target_dir()?.join("release/examples").join(name)))
}

/// Measures everything.
///
/// # Errors
/// When something cannot be built or fails.
pub fn history() -> Result<Value> {
    let printed = example("drydock-control", "history-bench", &[])?;
    let mut figures: Value = serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))?;
    let bytes: u64 = example("drydock-api", "report-bytes", &["agent-client"])?.trim().parse()?;
    figures["unchanged_report_bytes"] = json!(bytes);
    figures["full_reports_per_s"] = figures["fleet_changed_reports_per_s"].clone();
    Ok(figures)
}
