//! Puts together what applying needs from the state directory and the host, for the daemon's look, for the process
//! that applies, and for `unregister`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use drydock_domain::inventory::ManagerKind;
use drydock_domain::source::host::{HostSources, HostSourcesReport, HostSourcesState, SourcesMode};
use drydock_pkgmgr::run::{CommandSpec, Finished, Runner, SystemRunner};
use drydock_pkgmgr::{PackageManager, detect};

use super::apply::{Site, apply, release};
use super::certificate::ContentCertificate;
use super::disk::{Disk, exists};
use super::journal::Kept;
use super::render::{CLIENT_FILE, Facts, Input, finding, render};
use super::{Outbox, document, plugin};
use crate::config::Config;
use crate::identity::InstanceFile;
use crate::link::address::{Proxy, ServerAddress};
use crate::paths::Paths;
use crate::platform::{self, Lock};

/// How long another process may be at the sources.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// How often the lock is tried.
const LOCK_LOOK: Duration = Duration::from_millis(50);
/// dpkg answers at once.
const DPKG_LIMIT: Duration = Duration::from_secs(20);
/// The user apt fetches as.
const APT_USER: &str = "_apt";

/// Files of the sources in the state directory.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Of this agent.
    pub fn of(paths: &Paths) -> Self {
        Files { dir: paths.sources() }
    }

    /// Made if missing.
    pub fn make(&self) -> std::io::Result<()> {
        platform::private_dir(&self.dir)
    }

    /// The document.
    pub fn document(&self) -> PathBuf {
        self.dir.join("document")
    }

    /// The content certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("certificate")
    }

    /// What was done to the host.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// The process that applies.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Reports.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(&self.dir.join("report"))
    }

    /// One process at a time changes the host's sources.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let until = Instant::now() + LOCK_LIMIT;
        loop {
            if let Some(lock) = platform::try_lock(&self.dir.join("lock"))? {
                return Ok(lock);
            }
            let waited = LOCK_LIMIT.as_secs();
            anyhow::ensure!(
                Instant::now() < until,
                "another process works on the sources of this host for {waited} s; try again"
            );
            std::thread::sleep(LOCK_LOOK);
        }
    }
}

/// What the host is like; `None` when no package manager is known.
pub fn facts(root: &Path, runner: &dyn Runner) -> Option<Facts> {
    let manager = detect(root, runner).first()?.kind();
    let is_apt = manager == ManagerKind::Apt;
    Some(Facts {
        manager,
        plugin_dir: plugin::directory(root, manager, runner),
        apt_user: if is_apt { user_id(root, APT_USER) } else { None },
        architectures: if is_apt { architectures(runner) } else { Vec::new() },
    })
}

/// dpkg's own architecture and the foreign ones it was told of.
fn architectures(runner: &dyn Runner) -> Vec<String> {
    let ask = |option: &str| {
        let spec = CommandSpec::new("dpkg", "dpkg (architectures)", DPKG_LIMIT).args([option]);
        runner.run(&spec).ok().filter(Finished::success).map(|d| d.stdout.text()).unwrap_or_default()
    };
    let text = format!("{}\n{}", ask("--print-architecture"), ask("--print-foreign-architectures"));
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// A user of the host's own password file; apt's is always there.
fn user_id(root: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(root.join("etc/passwd")).ok()?;
    let line = text.lines().find(|l| l.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The running system's rpm is asked only about the running system.
fn runner_for<'a>(root: &Path, runner: &'a dyn Runner) -> Option<&'a dyn Runner> {
    (root == Path::new("/")).then_some(runner)
}

/// Applies the kept document on `disk`; `None` when there never was one.
pub fn apply_kept(paths: &Paths, disk: &Disk, facts: Option<&Facts>, runner: &dyn Runner) -> Option<HostSourcesReport> {
    let files = Files::of(paths);
    let failed = |generation, subject: &str, why: &str| HostSourcesReport {
        generation,
        state: HostSourcesState::Failed,
        taken_over: Vec::new(),
        findings: vec![finding(subject, why)],
    };
    let document = match document::load(&files.document()) {
        Ok(document) => document?,
        Err(why) => {
            return Some(failed(0, "document", &format!("the kept document cannot be believed ({why}); it is asked for again")));
        }
    };
    let Some(facts) = facts else {
        return Some(failed(document.generation, "host", "no package manager this agent knows was found on this host"));
    };
    match with(paths, disk, facts, runner, &document) {
        Ok(report) => Some(report),
        Err(e) => Some(failed(document.generation, "sources", &format!("{e:#}"))),
    }
}

fn with(
    paths: &Paths,
    disk: &Disk,
    facts: &Facts,
    runner: &dyn Runner,
    document: &HostSources,
) -> anyhow::Result<HostSourcesReport> {
    let files = Files::of(paths);
    let bytes = std::fs::read(paths.instance()).context("cannot read who this host is")?;
    let instance: InstanceFile = serde_json::from_slice(&bytes).context("cannot read who this host is")?;
    // One of an earlier enrolment: the host is given back until the new server says what it is to see.
    let empty = (document.instance != instance.instance_id).then(|| HostSources {
        instance: instance.instance_id,
        generation: 0,
        mode: SourcesMode::Additive,
        sources: Vec::new(),
        ..document.clone()
    });
    let document = empty.as_ref().unwrap_or(document);
    let server = ServerAddress::parse(&instance.server).map_err(anyhow::Error::msg)?;
    let configured = Config::read(&paths.config)?.proxy;
    let proxy = match configured.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(url) => Some(Some(Proxy::parse(url).map_err(anyhow::Error::msg)?)),
    };
    let client_pem = match ContentCertificate::load(&files.certificate(), instance.instance_id) {
        Some(certificate) => certificate.client_pem(),
        None if document.sources.is_empty() => String::new(),
        None => anyhow::bail!("there is no content certificate yet: the server has issued none; the agent's log says why"),
    };
    let ca_pem = std::fs::read_to_string(paths.ca()).context("cannot read the server's CA")?;
    let input = Input {
        document,
        server: &server,
        proxy: proxy.as_ref().map(Option::as_ref),
        ca_pem: &ca_pem,
        client_pem: &client_pem,
        facts,
    };
    let site = Site { disk, manager: facts.manager, runner: runner_for(&paths.root, runner) };
    Ok(apply(&site, &mut Kept::read(&files.journal()), document, &render(&input)))
}

/// `drydock-agent apply-sources`: applies the kept document and keeps the report.
pub fn apply_now(paths: &Paths) -> anyhow::Result<()> {
    let files = Files::of(paths);
    let _lock = files.lock()?;
    anyhow::ensure!(!Config::read(&paths.config)?.read_only, "this host is enrolled read-only: its repositories are left alone");
    let runner = SystemRunner::new();
    let facts = facts(&paths.root, &runner);
    let Some(report) = apply_kept(paths, &Disk::new(&paths.root), facts.as_ref(), &runner) else { return Ok(()) };
    for found in &report.findings {
        println!("{}: {}", found.subject, found.message);
    }
    files.outbox().put(report).map_err(anyhow::Error::msg)?;
    Ok(())
}

/// What [`give_back`] did.
#[derive(Debug, Default)]
pub struct GivenBack {
    /// Lines for people.
    pub lines: Vec<String>,
    /// Held until the state directory is gone: an applying process that comes late finds nothing to apply.
    pub lock: Option<Lock>,
}

/// `unregister`: gives the host's repository definitions back and removes everything of ours. The service is stopped.
pub fn give_back(paths: &Paths) -> anyhow::Result<GivenBack> {
    let files = Files::of(paths);
    if !paths.sources().is_dir() {
        return Ok(GivenBack::default());
    }
    let lock = Some(files.lock()?);
    let disk = Disk::new(&paths.root);
    if !files.journal().exists() && !exists(&disk.host(CLIENT_FILE)) {
        return Ok(GivenBack { lines: Vec::new(), lock });
    }
    let runner = SystemRunner::new();
    let mut kept = Kept::read(&files.journal());
    // Without a manager nothing can have been set aside but what the journal says.
    let manager = facts(&paths.root, &runner).map_or(ManagerKind::Dnf, |f| f.manager);
    let set_aside = |kept: &Kept| kept.journal.taken.len() + kept.journal.displaced.len();
    let count = set_aside(&kept);
    let site = Site { disk: &disk, manager, runner: runner_for(&paths.root, &runner) };
    let findings = release(&site, &mut kept).context("the host's repository definitions could not all be given back")?;
    let left = set_aside(&kept);
    let mut lines: Vec<String> = findings.into_iter().map(|f| format!("{}: {}", f.subject, f.message)).collect();
    if count > left {
        lines.push(format!("Repository definitions restored: {}.", count - left));
    }
    anyhow::ensure!(left == 0, "{}", lines.join("\n"));
    Ok(GivenBack { lines, lock })
}
