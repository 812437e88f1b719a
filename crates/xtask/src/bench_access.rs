//! `cargo xtask bench access`: what deciding, listing and recording cost. What is measured runs in programs of its own, built
//! with optimisation.
//!
//! - `decide_us`: one decision among 1,000 statements that are all about whoever asks, each under a condition of its own that
//!   does not hold; `decide_spread_us`, `decide_denied_us`: among 1,000 of 50 groups over 100 compartments.
//! - `list_10k_ms`: all pages of what somebody may see of 10,000 instances in 200 compartments (every second one), on SQLite.
//! - `audit_records_per_s`, `verify_1m_s`: records taken and chained, and 1,000,000 of an export verified; see
//!   `crates/control/examples/audit-bench.rs`.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{release, sh};

/// Hosts of the fleet whose list is measured.
const HOSTS: &str = "10000";

/// Builds an example with optimisation and returns what it prints, one JSON object.
fn example(package: &str, name: &str, args: &[&str]) -> Result<Value> {
    sh::run(sh::cargo(["build", "--locked", "--release", "--package", package, "--example", name]))?;
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(release::target_dir()?.join("release/examples").join(name));
    command.args(args);
    if !args.is_empty() {
        command.arg(dir.path());
    }
    let printed = sh::output(command)?;
    serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))
}

/// Measures everything.
///
/// # Errors
/// When something cannot be built or fails.
pub fn access() -> Result<Value> {
    let mut figures = example("drydock-domain", "access-bench", &[])?;
    let lists = example("drydock-control", "access-list-bench", &[HOSTS])?;
    figures["list_10k_ms"] = lists["list_ms"].clone();
    for name in ["list_page_ms", "list_all_ms", "scope_only_ms"] {
        figures[name] = lists[name].clone();
    }
    let audit = example("drydock-control", "audit-bench", &[])?;
    for (name, value) in audit.as_object().into_iter().flatten() {
        figures[name] = value.clone();
    }
    Ok(figures)
}
