//! The systemd unit: installed by `enrol` where the package did not bring one, removed by `unregister`.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::platform;

/// Name of the unit.
pub const NAME: &str = "drydock-agent.service";
/// The unit's text, as the package installs it.
const TEXT: &str = include_str!("../../../packaging/drydock-agent.service");
/// Where the package puts the program; the unit starts it there.
const PROGRAM: &str = "/usr/bin/drydock-agent";
/// Where `enrol` puts the unit.
const OWN_PATH: &str = "/etc/systemd/system/drydock-agent.service";
/// Where packages put units.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd/system/drydock-agent.service", "/lib/systemd/system/drydock-agent.service"];

/// What became of starting the agent.
#[derive(Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs and will run after each boot.
    Running {
        /// We wrote the unit.
        installed: bool,
    },
    /// A person must do it; the text says how.
    ByHand(String),
}

fn systemctl(args: &[&str]) -> anyhow::Result<()> {
    let out = Command::new("systemctl").args(args).output().context("cannot run systemctl")?;
    anyhow::ensure!(out.status.success(), "systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

/// Starts the agent now and at each boot.
pub fn enable() -> anyhow::Result<Started> {
    if !platform::has_systemd() {
        return Ok(Started::ByHand("this host is not run by systemd: start `drydock-agent run` from its init system".to_owned()));
    }
    let packaged = PACKAGED.iter().any(|p| Path::new(p).exists());
    let program = std::env::current_exe().unwrap_or_default();
    if !packaged && program != Path::new(PROGRAM) {
        return Ok(Started::ByHand(format!(
            "the program is {}; install it as {PROGRAM} and run `drydock-agent enrol` again, or start `{} run` yourself",
            program.display(),
            program.display()
        )));
    }
    if !packaged {
        platform::write_durably(Path::new(OWN_PATH), TEXT.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {OWN_PATH}"))?;
        systemctl(&["daemon-reload"])?;
    }
    systemctl(&["enable", NAME])?;
    systemctl(&["restart", NAME])?;
    Ok(Started::Running { installed: !packaged })
}

/// Stops the agent, keeps it from starting again, and removes the unit if `enrol` wrote it.
pub fn disable(installed: bool) -> anyhow::Result<()> {
    let known = Path::new(OWN_PATH).exists() || PACKAGED.iter().any(|p| Path::new(p).exists());
    if platform::has_systemd() && known {
        systemctl(&["disable", "--now", NAME])?;
    }
    if installed && Path::new(OWN_PATH).exists() {
        std::fs::remove_file(OWN_PATH).with_context(|| format!("cannot remove {OWN_PATH}"))?;
        if platform::has_systemd() {
            systemctl(&["daemon-reload"])?;
            // Failed states of a unit that is gone would still be listed.
            let _ = systemctl(&["reset-failed", NAME]);
        }
    }
    Ok(())
}
