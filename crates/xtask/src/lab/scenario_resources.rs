//! `cargo xtask lab run resources`: the agent's own tests of resources, watchers and systemd, inside a booted host of each
//! package manager, where they may change everything: the real systemd, apt, dnf, zypper, mounts, a full disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::command::run as run_command;
use drydock_testkit::lab::{Host, PackageManager, RootKind, ensure_all};
use drydock_testkit::upstream::{Standard, standard};
use serde_json::Value;

use crate::sh;

/// One host of each package manager.
const KINDS: [RootKind; 4] = [RootKind::AptBookworm, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Where the program is put in a host.
const PROGRAM: &str = "/usr/local/bin/agent-tests";
/// All tests of one host.
const LIMIT: Duration = Duration::from_secs(300);
/// Copying repositories into a host.
const COPY_LIMIT: Duration = Duration::from_secs(60);
/// Parts of the agent whose tests are of the host they run on.
const PARTS: [&str; 3] = ["policy::kinds", "policy::systemd", "policy::watch"];

/// Runs the tests, one host after the other.
///
/// # Errors
/// When a test fails, with what it printed.
pub fn run() -> Result<()> {
    let program = program()?;
    let (standard, roots) = (standard()?, ensure_all(&KINDS)?);
    for root in &roots {
        let host = Host::start(root, &format!("resources-{}", root.kind.name()))?;
        on_host(&host, &program, &standard)?;
    }
    Ok(())
}

fn on_host(host: &Host, program: &std::path::Path, standard: &Standard) -> Result<()> {
    host.copy_in(program, PROGRAM, 0o755)?;
    if host.root().kind.manager() != PackageManager::Apt {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(standard.dir().join("rpm")).arg(host.overlay().join("srv/rpm"));
        run_command(&mut copy, COPY_LIMIT)?.success()?;
    }
    // Containers get /proc/sys read-only.
    host.sh("mount -o remount,rw,bind /proc/sys")?;
    let mut command = vec!["env", "DRYDOCK_TEST_ON_LAB_HOST=1", "RUST_BACKTRACE=0", PROGRAM, "--test-threads=1"];
    command.extend(PARTS);
    let done = host.run_within(&command, LIMIT)?;
    ensure!(done.ok(), "on {}:\n{}{}", host.hostname(), done.stdout, done.stderr);
    let told = done.stdout.lines().find(|line| line.starts_with("test result:")).context("the tests told no result")?;
    eprintln!("{:20} {told}", host.hostname());
    Ok(())
}

/// The program with the agent's tests, as `cargo xtask test` builds it.
fn program() -> Result<PathBuf> {
    let build = ["test", "--workspace", "--lib", "--locked", "--no-run", "--message-format", "json"];
    let printed = sh::output(sh::cargo(build))?;
    let messages = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_ours = |message: &Value| message["target"]["name"] == "drydock_agent" && message["profile"]["test"] == true;
    let found = messages.filter(is_ours).find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.context("cargo named no program with the agent's tests")
}
