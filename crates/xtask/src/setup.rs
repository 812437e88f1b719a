//! What the machine needs besides Rust: Debian packages, and the cross linker of the shipped agent.
//!
//! As root on a Debian-like machine missing packages are installed; otherwise they are named and the caller decides
//! (under `CI=true` a missing one is a failure). Absent: other distributions; the error says what to install.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use drydock_testkit::cache::{cache_dir, remove_tree};

use crate::sh;

/// What `cargo xtask test` runs besides the lab: C parts of crates, PostgreSQL for the store suite, a browser.
const TEST_PACKAGES: [&str; 7] = ["gcc", "libc6-dev", "postgresql", "chromium", "chromium-driver", "binutils", "python3-venv"];

/// The linker that targets an old glibc, from the Python package index, pinned: it decides what the agent runs on.
const CROSS_LINKER: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.17.1"];

/// Installs what is missing, or says what to install.
pub fn debian_packages() -> Result<()> {
    let wanted = TEST_PACKAGES.iter().chain(drydock_testkit::lab::DEBIAN_PACKAGES.iter());
    let missing: Vec<&str> = wanted.copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() || !sh::have("apt-get") {
        bail!(
            "these Debian packages are missing: {}\ninstall them as root (apt-get install …), then run this again",
            missing.join(" ")
        );
    }
    eprintln!("installing {}", missing.join(" "));
    sh::run(sh::command("apt-get", ["update", "-qq"]))?;
    let mut install = sh::command("apt-get", ["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    sh::run(install)
}

fn is_installed(package: &str) -> bool {
    let query =
        sh::command("dpkg-query", ["-W", "-f", "${db:Status-Status}", package]).stderr(std::process::Stdio::null()).output();
    query.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// Path of cargo-zigbuild, installed into the cache when it is not there or no longer works (the environment belongs to
/// one Python of the machine, which may have gone; or its installation was interrupted).
pub fn cross_linker() -> Result<PathBuf> {
    let home = cache_dir()?.join("tools").join("cross-linker-0.24.0-0.17.1");
    let program = home.join("bin/cargo-zigbuild");
    let linker = sh::command(home.join("bin/python"), ["-m", "ziglang", "version"]).output();
    if program.exists() && linker.is_ok_and(|output| output.status.success()) {
        return Ok(program);
    }
    remove_tree(&home)?;
    sh::run(sh::command("python3", ["-m".as_ref(), "venv".as_ref(), home.as_os_str()]))
        .context("cannot make a Python environment for the cross linker; install python3-venv")?;
    let mut install = sh::command(home.join("bin/pip"), ["install", "--quiet", "--disable-pip-version-check"]);
    install.args(CROSS_LINKER);
    sh::run(install)?;
    Ok(program)
}
