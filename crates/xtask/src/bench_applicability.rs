//! `cargo xtask bench applicability`: which updates, advisories and vulnerabilities 10,000 hosts of 600 packages have, against a
//! snapshot of 42,000 packages and 4,000 advisories, in a process of its own, built with optimisation.
//!
//! - `full_ms`: every host put and judged, 300 distinct profiles among them; `full_distinct_ms`: every host its own package set.
//! - `advisory_added_ms`, `advisory_removed_ms`, `host_changed_ms`: one input and everything that follows, medians of 9.
//! - `snapshot_changed_1pct_ms`: all hosts look at the next snapshot, in which 1 % of the names have a newer package.
//! - `peak_mib`: of the whole process, both fleets one after the other; `shared_peak_mib`: before the distinct one.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{release, sh};

/// The figures.
///
/// # Errors
/// When the program cannot be built or fails.
pub fn applicability() -> Result<Value> {
    sh::run(sh::cargo(["build", "--locked", "--release", "--package", "drydock-domain", "--example", "applicability-bench"]))?;
    let printed = sh::output(Command::new(release::target_dir()?.join("release/examples/applicability-bench")))?;
    serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))
}
