//! `cargo xtask demo`: the main job on this machine, without changing anything on it.
//!
//! A server on SQLite in a directory of its own, this host enrolled read-only (its agent refuses every order that is
//! not a dry run and refreshes no metadata), the inventory, a dry-run patch plan, and a link to the console. It stays
//! until Ctrl-C when a person watches, and ends by itself otherwise. Absent: anything that needs root.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drydock_testkit::command::run as run_command;
use drydock_testkit::wait::wait_until;
use serde_json::Value;

use crate::drydock::{Drydock, Programs};

/// Until this host's packages are visible.
const VISIBLE_LIMIT: Duration = Duration::from_secs(30);
/// Until the dry run is done: the package manager's own simulation, on a busy machine.
const PLAN_LIMIT: Duration = Duration::from_secs(180);

/// Runs the demo.
pub fn run() -> Result<()> {
    let programs = Programs::build(None)?;
    let dir = tempfile::Builder::new().prefix("drydock-demo-").tempdir().context("cannot make a temporary directory")?;
    let drydock = Drydock::start(&programs, dir.path())?;
    say("the server is up", &format!("{} (CA {})", drydock.url(), &drydock.ca_fingerprint[..16]));
    let _agent = Agent::start(&programs, &drydock, dir.path())?;
    let name = enrolled_name(&drydock)?;
    show_inventory(&drydock, &name)?;
    show_plan(&drydock, &name)?;
    println!("\nConsole:  {}\nSign in:  {}\n", drydock.url(), drydock.token());
    println!("The certificate is the demo's own; the browser will ask. Everything is in {}", dir.path().display());
    if std::io::stdin().is_terminal() {
        println!("Ctrl-C ends the demo and removes it.");
        wait_for_interrupt()?;
    }
    Ok(())
}

fn say(what: &str, detail: &str) {
    println!("{what:<28} {detail}");
}

/// This host's agent, read-only, with all its files in the demo's directory.
struct Agent(Child);

impl Agent {
    fn start(programs: &Programs, drydock: &Drydock, dir: &Path) -> Result<Self> {
        let token = drydock.enrolment_token("this host")?;
        let places = |command: &mut Command| {
            command.arg("--state-dir").arg(dir.join("agent")).arg("--config").arg(dir.join("agent.toml"));
            command.arg("--socket").arg(dir.join("agent.sock")).arg("--log-file").arg(dir.join("agent.log"));
        };
        let mut enrol = Command::new(&programs.agent);
        places(&mut enrol);
        enrol.args(["enrol", "--read-only", "--no-start", "--server", &drydock.url(), "--token", &token]);
        enrol.args(["--ca-fingerprint", &drydock.ca_fingerprint]);
        run_command(&mut enrol, VISIBLE_LIMIT)?.success().context("enrolling this host")?;
        let mut daemon = Command::new(&programs.agent);
        places(&mut daemon);
        daemon.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(daemon.spawn().context("cannot start drydock-agent")?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn enrolled_name(drydock: &Drydock) -> Result<String> {
    let items = drydock.items(&["instance", "list"])?;
    let name = items.first().and_then(|item| item["name"].as_str()).context("this host is not in the list")?;
    Ok(name.to_owned())
}

fn show_inventory(drydock: &Drydock, name: &str) -> Result<()> {
    let mut instance = Value::Null;
    wait_until("this host's packages are visible", VISIBLE_LIMIT, || {
        instance = drydock.json(&["instance", "show", name])?;
        Ok(instance["inventory"]["packages"].as_u64().unwrap_or(0) > 0)
    })?;
    say("this host is enrolled", &format!("{name}, read-only"));
    say("operating system", instance["os"]["longName"].as_str().unwrap_or("unknown"));
    say("packages installed", &instance["inventory"]["packages"].to_string());
    Ok(())
}

fn show_plan(drydock: &Drydock, name: &str) -> Result<()> {
    let mut plan = drydock.cli_command(&["patch", "plan", "--instance", name, "--name", "demo"]);
    let planned = run_command(&mut plan, PLAN_LIMIT)?;
    if !planned.ok() {
        bail!("the dry run failed:\n{}{}", planned.stdout, planned.stderr);
    }
    println!("\nWhat a patch job would do (nothing is changed):\n{}", planned.stdout.trim_end());
    Ok(())
}

/// Waits for Ctrl-C; the temporary directory and the processes are removed on the way out.
fn wait_for_interrupt() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c()).context("cannot wait for Ctrl-C")
}
