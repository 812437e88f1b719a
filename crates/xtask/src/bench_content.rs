//! `cargo xtask bench sync` and `bench snapshot`: what a distribution-sized repository costs. The repositories are
//! generated, seeded and cached by `testkit`, and served on loopback by this process; what is measured runs in a process
//! of its own, built with optimisation.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{LARGE_SUITE, large_apt, large_yum};
use serde_json::{Value, json};

use crate::{release, sh};

/// Builds the measuring program.
fn program() -> Result<PathBuf> {
    sh::run(sh::cargo(["build", "--locked", "--release", "--package", "drydock-content", "--example", "content-bench"]))?;
    Ok(release::target_dir()?.join("release/examples/content-bench"))
}

fn measure(program: &PathBuf, args: &[&str]) -> Result<Value> {
    let mut command = Command::new(program);
    command.args(args);
    let printed = sh::output(command)?;
    serde_json::from_str(printed.trim()).with_context(|| format!("not JSON: {printed}"))
}

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("the temporary directory's name is not UTF-8")
}

/// A first sync and one that finds nothing new, of both families.
///
/// # Errors
/// When a repository cannot be generated or a sync fails.
pub fn sync() -> Result<Value> {
    let program = program()?;
    let dir = tempfile::tempdir()?;
    let yum = serve_dir(&large_yum(0)?)?;
    let rpm = measure(&program, &["sync-rpm", &yum.url(), text(&dir.path().join("rpm"))?])?;
    let apt_dir = large_apt()?;
    let apt = serve_dir(&apt_dir)?;
    let key = apt_dir.join("key.asc");
    let deb = measure(&program, &["sync-deb", &apt.url(), LARGE_SUITE, text(&key)?, text(&dir.path().join("deb"))?])?;
    Ok(json!({
        "rpm_first_s": rpm["first_s"], "rpm_nochange_ms": rpm["nochange_ms"], "rpm_peak_mib": rpm["peak_mib"],
        "rpm_packages": rpm["packages"], "deb_first_s": deb["first_s"], "deb_nochange_ms": deb["nochange_ms"],
        "deb_peak_mib": deb["peak_mib"], "deb_packages": deb["packages"],
    }))
}

/// Snapshots, publications and differences of the large yum repository.
///
/// # Errors
/// When the repository cannot be generated or something fails.
pub fn snapshot() -> Result<Value> {
    let program = program()?;
    let dir = tempfile::tempdir()?;
    let yum = serve_dir(&large_yum(0)?)?;
    measure(&program, &["snapshot", &yum.url(), text(&dir.path().join("content"))?])
}
