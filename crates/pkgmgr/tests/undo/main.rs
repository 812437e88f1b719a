//! Tasks taken back by the real package managers, each in a container over a lab root: upgrade, install, remove,
//! obsoletes, a downgrade, changed configuration files, packages that were gone except for those, kernels side by side,
//! a version that no repository offers any more. The sets that dpkg and rpm show afterwards are those of before.
//!
//! The container runs this very program again ([`inside`]). Absent: the agent and the server.

mod inside;
mod random;
mod worlds;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drydock_testkit::command::run;
use drydock_testkit::lab::{Root, RootKind, skip_reason};

/// One container, with about ten transactions.
const LIMIT: Duration = Duration::from_secs(300);
/// Says to the program that it is inside, and over which root.
const INSIDE: &str = "DRYDOCK_UNDO_INSIDE";

/// Runs [`inside`] over a root, or says why that cannot be here.
fn take_back(kind: RootKind) -> Result<()> {
    if let Some(reason) = skip_reason()? {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    let repositories = worlds::repositories()?;
    let root = Root::ensure(kind)?;
    let program = std::env::current_exe()?;
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay"]).arg("-D").arg(&root.path);
    command.arg(format!("--bind-ro={}:/cases", repositories.display()));
    command.arg(format!("--bind-ro={}:/probe", program.parent().unwrap_or(Path::new("/")).display()));
    command.arg(format!("--setenv={INSIDE}={}", kind.name())).args(["--setenv=LC_ALL=C.UTF-8", "--setenv=RUST_BACKTRACE=0"]);
    command.arg(Path::new("/probe").join(program.file_name().context("a program has a name")?));
    command.args(["--exact", "everything_inside_a_root", "--nocapture"]);
    let out = run(&mut command, LIMIT)?.success().with_context(|| format!("over {}", kind.name()))?;
    // A root that ran nothing would prove nothing.
    anyhow::ensure!(out.contains(inside::DONE), "over {}: it did not come to its end:\n{out}", kind.name());
    Ok(())
}

#[test]
fn apt_takes_back_exactly() -> Result<()> {
    take_back(RootKind::AptBookworm)
}

#[test]
fn apt_3_takes_back_exactly() -> Result<()> {
    take_back(RootKind::AptTrixie)
}

#[test]
fn dnf_4_takes_back_exactly() -> Result<()> {
    take_back(RootKind::Dnf4)
}

#[test]
fn dnf_5_takes_back_exactly() -> Result<()> {
    take_back(RootKind::Dnf5)
}

#[test]
fn zypper_takes_back_exactly() -> Result<()> {
    take_back(RootKind::Zypper)
}

/// What [`take_back`] runs in the container; here it has nothing to do.
#[test]
fn everything_inside_a_root() -> Result<()> {
    match std::env::var(INSIDE) {
        Ok(root) => inside::run(&root),
        Err(_) => Ok(()),
    }
}
