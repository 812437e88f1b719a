//! Asks real package managers about many worlds: one container over a lab root, one driver that goes through the cases.
//!
//! The container has a volatile overlay: each case replaces its package database and configuration. What a tool printed is read by
//! the caller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::deb::DebWorld;
use super::rpm::{RpmWorld, universe_dir};
use crate::command::run;
use crate::lab::{Root, RootKind};

/// One case takes a second or two at most; thousands of them hours.
const LIMIT_PER_CASE: Duration = Duration::from_secs(20);
/// Starting the container.
const LIMIT_MORE: Duration = Duration::from_secs(120);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// dnf 4: `check-update`, `updateinfo list`.
    Dnf4,
    /// dnf 5: `check-upgrade`, `advisory list`.
    Dnf5,
    /// `zypper list-updates`, `list-patches`.
    Zypper,
    /// `apt list --upgradable`.
    Apt,
}

/// What a tool printed in a case, by the name of the question; exit codes under `<name>.code`.
pub type Answers = BTreeMap<String, String>;

const DNF4: &str = include_str!("drivers/dnf4.py");
const DNF5: &str = include_str!("drivers/dnf5.sh");
const ZYPPER: &str = include_str!("drivers/zypper.sh");
const APT: &str = include_str!("drivers/apt.sh");

/// A world of either kind.
trait World {
    fn write(&self, dir: &Path) -> Result<()>;
}

impl World for RpmWorld {
    fn write(&self, dir: &Path) -> Result<()> {
        RpmWorld::write(self, dir)
    }
}

impl World for DebWorld {
    fn write(&self, dir: &Path) -> Result<()> {
        DebWorld::write(self, dir)
    }
}

/// Asks about worlds, in their order. The worlds are [`RpmWorld`]s for rpm tools, [`DebWorld`]s for apt.
///
/// # Errors
/// When the root cannot be made, a world cannot be written, or the driver fails.
#[allow(private_bounds)]
pub fn ask<W: World>(tool: Tool, worlds: &[W], case_dir: &Path) -> Result<Vec<Answers>> {
    let (kind, shell, driver) = match tool {
        Tool::Dnf4 => (RootKind::Dnf4, "python3", DNF4),
        Tool::Dnf5 => (RootKind::Dnf5, "bash", DNF5),
        Tool::Zypper => (RootKind::Zypper, "bash", ZYPPER),
        Tool::Apt => (RootKind::AptBookworm, "bash", APT),
    };
    for (at, world) in worlds.iter().enumerate() {
        let dir = case_dir.join(at.to_string());
        world.write(&dir)?;
        fs::create_dir_all(dir.join("out"))?;
    }
    fs::write(case_dir.join("driver"), driver)?;
    let root = Root::ensure(kind)?;
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay"]).arg("-D").arg(&root.path);
    command.arg(format!("--bind={}:/cases", case_dir.display()));
    if tool != Tool::Apt {
        command.arg(format!("--bind-ro={}:/universe", universe_dir()?.display()));
    }
    command.args(["/usr/bin/env", "LC_ALL=C.UTF-8", shell, "/cases/driver", &worlds.len().to_string()]);
    let limit = LIMIT_MORE + LIMIT_PER_CASE * u32::try_from(worlds.len()).unwrap_or(u32::MAX);
    run(&mut command, limit)?.success().with_context(|| format!("the driver of {tool:?} failed"))?;
    (0..worlds.len()).map(|at| answers(&case_dir.join(at.to_string()).join("out"))).collect()
}

fn answers(dir: &Path) -> Result<Answers> {
    let mut found = Answers::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        found.insert(name, String::from_utf8_lossy(&fs::read(&path)?).into_owned());
    }
    Ok(found)
}
