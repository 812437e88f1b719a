//! `cargo xtask bench turn`: turns of the reconcilers with one patch job over 10,000 hosts on SQLite, in a process of its
//! own, built with optimisation.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::process::Command;

use crate::{release, sh};

/// Hosts of the fleet.
const HOSTS: &str = "10000";

/// The figures of one fleet.
///
/// # Errors
/// When the program cannot be built or fails.
pub fn turn() -> Result<Value> {
    sh::run(sh::cargo(["build", "--locked", "--release", "--package", "drydock-control", "--example", "turn-bench"]))?;
    let program = release::target_dir()?.join("release/examples/turn-bench");
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command.arg(HOSTS).arg(dir.path());
    let printed = sh::output(command)?;
    serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))
}
