//! `cargo xtask lab run walk`: README.md as a new user reads it, in a fresh Debian host that is server and managed host
//! at once: from built programs to a patched host, and how long the machine takes for it.
//!
//! Then its five commands that let a team at its hosts ([`walk_access`]).
//!
//! The commands are the ones in README.md. Put in are what the reader puts in: the token and fingerprint that the
//! commands before printed, the job's id; and a free port, because lab hosts share the machine's network.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::{Host, Root, RootKind};
use drydock_testkit::serve::serve_dir;
use drydock_testkit::upstream::{HELD_PACKAGE, PackageSet, standard};
use drydock_testkit::wait::wait_until;

use super::walk_access;
use crate::drydock::Programs;

/// The part of README.md that is walked.
const SECTION: &str = "## From built programs to a patched host";
/// From `enrol` to the host's appearance as ONLINE.
const VISIBLE_LIMIT: Duration = Duration::from_secs(10);
/// One command of the walk.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Walks; `agent` is the agent to install, a fresh build when absent.
///
/// # Errors
/// At the first command that fails, or when the host is not patched in time.
pub fn run(agent: Option<PathBuf>) -> Result<()> {
    let programs = Programs::build(agent)?;
    let standard = standard()?;
    let server = serve_dir(standard.dir())?;
    let host = Host::start(&Root::ensure(RootKind::AptBookworm)?, "walk-web-1")?;
    standard.prepare(&host, &server.url())?;
    standard.enable(&host, PackageSet::Updates, &server.url())?;
    standard.enable(&host, PackageSet::Security, &server.url())?;
    place(&host, &programs)?;

    let begun = Instant::now();
    let mut walk = Walk::new(&host)?;
    let page = std::fs::read_to_string(repository().join("README.md"))?;
    for command in commands(&page, SECTION, 9)? {
        walk.step(&command)?;
    }
    let took = begun.elapsed();

    for (package, version) in [("dd-alpha", "1.2-1"), ("dd-reboot", "1.1-1"), (HELD_PACKAGE, "1.0-1")] {
        let found = host.installed(package)?;
        ensure!(found.as_deref() == Some(version), "{package} is {found:?} after the walk, not {version}");
    }
    for wanted in ["dd-alpha", "APPLIED", "| draining", "held by apt-mark"] {
        ensure!(walk.printed.contains(wanted), "the last command does not show {wanted:?}:\n{}", walk.printed);
    }
    let history = host.sh("HOME=/root drydock instance history walk-web-1")?;
    ensure!(history.contains("enrolled") && !history.contains("rebooted"), "nobody rebooted the host:\n{history}");
    eprintln!("walk: from programs to a patched host in {:.1} s of machine time", took.as_secs_f64());
    for command in commands(&page, walk_access::SECTION, 5)? {
        walk.step(&command)?;
    }
    walk_access::tried(&host, &walk)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What the reader has before the first command: the programs, the unit, a script.
fn place(host: &Host, programs: &Programs) -> Result<()> {
    host.copy_in(&programs.server, "/usr/bin/drydockd", 0o755)?;
    host.copy_in(&programs.cli, "/usr/bin/drydock", 0o755)?;
    host.copy_in(&programs.agent, "/usr/bin/drydock-agent", 0o755)?;
    host.sh("mkdir -p /root/packaging")?;
    let unit = std::fs::read(repository().join("packaging/drydockd.service"))?;
    host.write("/root/packaging/drydockd.service", &unit)?;
    host.write("/root/drain.sh", b"#!/bin/sh\necho draining\n")?;
    host.write("/etc/hosts", format!("127.0.0.1 localhost {} drydock.example.com\n", host.hostname()).as_bytes())
}

/// The commands of a walked section, in order; so many at least.
fn commands(page: &str, title: &str, least: usize) -> Result<Vec<String>> {
    let section = page.split(title).nth(1).with_context(|| format!("README.md has no section {title:?}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let found: Vec<String> = section.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect();
    ensure!(found.len() >= least, "README.md has {} commands in {title:?}", found.len());
    Ok(found)
}

pub(super) struct Walk<'a> {
    host: &'a Host,
    pub(super) port: u16,
    access_token: String,
    enrolment_token: String,
    pub(super) fingerprint: String,
    job: String,
    /// By the last command.
    printed: String,
}

impl<'a> Walk<'a> {
    fn new(host: &'a Host) -> Result<Self> {
        // Taken and given back: the server binds it a moment later.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("cannot find a free port")?.port();
        let none = String::new;
        let (access_token, enrolment_token, fingerprint, job) = (none(), none(), none(), none());
        Ok(Self { host, port, access_token, enrolment_token, fingerprint, job, printed: none() })
    }

    /// Runs one command as the reader does, and notes what the next ones need.
    fn step(&mut self, written: &str) -> Result<()> {
        let begun = Instant::now();
        let command = self.filled_in(written);
        if written.starts_with("drydock instance list") {
            self.online()?;
        }
        let script = format!("export HOME=/root; cd /root && {command}");
        let ran = self.host.run_within(&["sh", "-c", &script], COMMAND_LIMIT)?;
        let (errors, printed) = (ran.stderr.clone(), ran.success().with_context(|| format!("README's command: {written}"))?);
        eprintln!("  {:5.1} s  {written}", begun.elapsed().as_secs_f64());
        let said = format!("{printed}\n{errors}");
        let word = |is: &dyn Fn(&str) -> bool| said.split_whitespace().find(|w| is(w)).map(str::to_owned);
        if written.contains("drydockd init") {
            self.access_token = word(&|w| w.starts_with("ddt_")).context("init shows no token")?;
            self.fingerprint = word(&is_fingerprint).context("init shows no fingerprint")?;
        } else if written.starts_with("drydock enrolment create") {
            self.enrolment_token = word(&|w| w.starts_with("dde_")).context("enrolment create shows no token")?;
            ensure!(said.contains(&format!("drydock-agent enrol --server https://drydock.example.com:{}", self.port)), "{said}");
        } else if written.starts_with("drydock patch run") {
            self.job = word(&is_uuid).context("patch run shows no job id")?;
        }
        self.printed = printed;
        Ok(())
    }

    fn filled_in(&self, written: &str) -> String {
        let mut words: Vec<String> = written.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            match word.as_str() {
                "FINGERPRINT" => word.clone_from(&self.fingerprint),
                "TOKEN" => word.clone_from(&self.enrolment_token),
                "web-1" => self.host.hostname().clone_into(word),
                id if is_uuid(id) => word.clone_from(&self.job),
                _ => {}
            }
        }
        let mut command = words.join(" ").replace(":8443", &format!(":{}", self.port));
        if written.contains("drydockd init") {
            command += &format!(" --listen 127.0.0.1:{}", self.port);
        }
        if written.contains("--token - ") {
            command = format!("echo {} | {command}", self.access_token);
        }
        command
    }

    fn online(&self) -> Result<()> {
        wait_until("the host is online", VISIBLE_LIMIT, || {
            let list = self.host.run(&["sh", "-c", "HOME=/root drydock instance list -o json"])?;
            Ok(list.stdout.contains(self.host.hostname()) && list.stdout.contains("bookworm"))
        })
    }
}

fn is_fingerprint(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
