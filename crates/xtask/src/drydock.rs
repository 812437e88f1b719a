//! A whole Drydock on this machine for developer commands: the server as its own process, the `drydock` command as
//! people use it, agents put into lab hosts. Everything goes through the shipped programs; nothing is linked in.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drydock_testkit::command::run;
use drydock_testkit::lab::Host;
use drydock_testkit::wait::wait_until;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::Value;

use crate::{release, sh};

/// From starting the server to its first answer.
const SERVER_UP_LIMIT: Duration = Duration::from_secs(30);
/// One call of the `drydock` command that does not follow a job.
const CLI_LIMIT: Duration = Duration::from_secs(60);
/// One call of the agent's `enrol`.
const ENROL_LIMIT: Duration = Duration::from_secs(60);

/// The three programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `drydockd`.
    pub server: PathBuf,
    /// `drydock-agent`.
    pub agent: PathBuf,
    /// `drydock`.
    pub cli: PathBuf,
}

impl Programs {
    /// Builds them; the agent is `agent` when given (the shipped one, say).
    pub fn build(agent: Option<PathBuf>) -> Result<Self> {
        // As `cargo xtask test` builds them: another choice of packages is another choice of features, and would build
        // every library once more.
        sh::run(sh::cargo(["build", "--workspace", "--bins", "--locked"]))?;
        let dir = release::target_dir()?.join("debug");
        let agent = agent.unwrap_or_else(|| dir.join("drydock-agent"));
        Ok(Self { server: dir.join("drydockd"), agent, cli: dir.join("drydock") })
    }
}

/// A server with its data directory and an administrator's token. Dropping it ends the server.
pub struct Drydock {
    programs: Programs,
    dir: PathBuf,
    port: u16,
    /// Of the CA.
    pub ca_fingerprint: String,
    token: String,
    server: Option<Child>,
    /// The port, held open for a server that is killed and comes back: see [`Drydock::start_with_held_port`].
    held: Option<TcpListener>,
}

impl Drydock {
    /// First run of the server in `dir`, then serves.
    pub fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        // Taken and given back: the server binds it a moment later.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("cannot find a free port")?.port();
        Self::first_run(programs, dir, port, None)
    }

    /// The same with a port that this process holds open and hands to each server it starts, as systemd's socket unit
    /// does: while no server lives, connections wait instead of being refused.
    pub fn start_with_held_port(programs: &Programs, dir: &Path) -> Result<Self> {
        let held = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
        let port = held.local_addr().context("cannot read the port")?.port();
        Self::first_run(programs, dir, port, Some(held))
    }

    fn first_run(programs: &Programs, dir: &Path, port: u16, held: Option<TcpListener>) -> Result<Self> {
        let mut init = Command::new(&programs.server);
        init.arg("init").arg("--config").arg(dir.join("drydockd.toml")).arg("--data-dir").arg(dir.join("data"));
        init.args(["--listen", &format!("127.0.0.1:{port}")]);
        let told = run(&mut init, SERVER_UP_LIMIT)?.success().context("drydockd init")?;
        let word = |wanted: &dyn Fn(&str) -> bool| told.split_whitespace().find(|word| wanted(word)).map(str::to_owned);
        let token = word(&|w| w.starts_with("ddt_")).with_context(|| format!("drydockd init printed no token:\n{told}"))?;
        let ca_fingerprint = word(&|w| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit()))
            .with_context(|| format!("drydockd init printed no CA fingerprint:\n{told}"))?;
        let mut drydock =
            Self { programs: programs.clone(), dir: dir.to_path_buf(), port, ca_fingerprint, token, server: None, held };
        drydock.serve()?;
        Ok(drydock)
    }

    /// Starts the server on its data directory and waits until it answers.
    pub fn serve(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut serve = match &self.held {
            None => Command::new(&self.programs.server),
            Some(held) => handing_over(held, &self.programs.server)?,
        };
        serve.arg("serve").arg("--config").arg(self.dir.join("drydockd.toml"));
        serve.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = serve.spawn().context("cannot start drydockd")?;
        let up = wait_until("drydockd answers", SERVER_UP_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("drydockd ended with {status}");
            }
            Ok(self.cli(&["whoami"])?.ok())
        });
        self.server = Some(child);
        up.with_context(|| format!("the server's log:\n{}", self.log_tail()))
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.server.take() {
            child.kill().context("cannot kill drydockd")?;
            child.wait().context("cannot reap drydockd")?;
        }
        Ok(())
    }

    /// The server's rows.
    pub fn database(&self) -> PathBuf {
        self.dir.join("data").join("drydock.sqlite")
    }

    /// Where the server's log goes.
    pub fn log(&self) -> PathBuf {
        self.dir.join("drydockd.log")
    }

    /// The log's last lines, for an error message.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Console and API address.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The `drydock` command, signed in, for callers that need its pipes.
    pub fn cli_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.cli);
        command.args(args).env("DRYDOCK_SERVER", self.url()).env("DRYDOCK_TOKEN", &self.token);
        command.env("DRYDOCK_CA_FINGERPRINT", &self.ca_fingerprint).env("HOME", &self.dir).stdin(Stdio::null());
        command
    }

    /// Runs the `drydock` command, signed in.
    pub fn cli(&self, args: &[&str]) -> Result<drydock_testkit::command::Finished> {
        run(&mut self.cli_command(args), CLI_LIMIT)
    }

    /// Runs the `drydock` command with `-o json` and reads what it prints.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let printed = self.cli(&[args, &["-o", "json"]].concat())?.success()?;
        serde_json::from_str(&printed).with_context(|| format!("drydock {} printed no JSON:\n{printed}", args.join(" ")))
    }

    /// An enrolment token that accepts by itself, with a label.
    pub fn enrolment_token(&self, name: &str) -> Result<String> {
        let made = self.json(&["enrolment", "create", "--name", name, "--auto-accept", "--label", "lab=yes"])?;
        Ok(made["token"].as_str().context("enrolment create printed no token")?.to_owned())
    }

    /// Puts the agent into a running host, enrols it and starts it.
    pub fn install_agent(&self, host: &Host, token: &str) -> Result<()> {
        host.copy_in(&self.programs.agent, "/usr/bin/drydock-agent", 0o755)?;
        let url = self.url();
        let enrol = ["drydock-agent", "enrol", "--server", &url, "--token", token, "--ca-fingerprint", &self.ca_fingerprint];
        host.run_within(&enrol, ENROL_LIMIT)?.success().with_context(|| format!("enrolling {}", host.hostname()))?;
        let active = host.run(&["systemctl", "is-active", "drydock-agent"])?;
        ensure!(active.ok(), "{}: the agent's unit is not active after enrol: {}", host.hostname(), active.stdout);
        Ok(())
    }

    /// The items of a list command.
    pub fn items(&self, args: &[&str]) -> Result<Vec<Value>> {
        let list = self.json(args)?;
        let items = list.as_array().cloned().or_else(|| list["items"].as_array().cloned());
        items.with_context(|| format!("drydock {} printed no list", args.join(" ")))
    }
}

/// A command that starts `program` with the socket as its descriptor 3, in the way of sd_listen_fds(3). bash, because
/// only a program of its own can put its process id into LISTEN_PID and then become the other one.
fn handing_over(held: &TcpListener, program: &Path) -> Result<Command> {
    let descriptor = held.as_raw_fd();
    fcntl(held, FcntlArg::F_SETFD(FdFlag::empty())).context("cannot let the port's socket be inherited")?;
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("exec 3<&{descriptor}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"")).arg(program);
    Ok(command)
}

impl Drop for Drydock {
    fn drop(&mut self) {
        if let Some(child) = &mut self.server {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
