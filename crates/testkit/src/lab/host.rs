//! One host: an overlay over a root, booted, entered, rebooted, cut off, removed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::supervisor::{Machine, Supervisor};
use super::{NSPAWN_RUNTIME_DIR, PackageManager, Root, hosts_dir, nspawn_runtime_mark, registry};
use crate::cache::mounts_under;
use crate::command::{Finished, run, run_with_input};
use crate::process::ProcessMark;
use crate::wait::wait_until;

/// From the start of a host until systemd is up: 3 s alone, more when several start at once.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// Longest time for one command of [`Host::run`]; [`Host::run_within`] takes another.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(300);
/// Mounting an overlay or a tmpfs.
const MOUNT_LIMIT: Duration = Duration::from_secs(30);
/// Longest machine name systemd-nspawn takes, in bytes.
const MACHINE_NAME_MAX: usize = 64;

/// Distinguishes the hosts of one process.
static NEXT_HOST: AtomicU32 = AtomicU32::new(1);

/// A machine of the lab. Dropping it cuts its power and removes every trace, also during a panic.
///
/// `/proc/sys/kernel/random/boot_id` inside is this machine's kernel's and survives a reboot of the
/// host; [`Host::boots`] counts reboots from outside, PID 1's start time tells them inside.
pub struct Host {
    root: Root,
    hostname: String,
    id: String,
    dir: PathBuf,
    supervisor: Option<Supervisor>,
    boots: u32,
}

impl Host {
    /// Makes a host that is switched off: files can be written before its first boot.
    ///
    /// # Errors
    /// When `hostname` is not one, this is not root, or the overlay cannot be mounted.
    pub fn create(root: &Root, hostname: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(!hostname.is_empty() && hostname.chars().all(plain), "{hostname:?} is not a hostname: use a-z, 0-9 and -");
        let lock = registry::lock()?;
        registry::remove_orphans()?;
        mount_nspawn_runtime()?;
        let id = format!("{hostname}-{}-{}", std::process::id(), NEXT_HOST.fetch_add(1, Ordering::Relaxed));
        ensure!(id.len() <= MACHINE_NAME_MAX, "{hostname:?} is too long for a machine name");
        let dir = hosts_dir()?.join(&id);
        for part in ["upper", "work", registry::ROOT_DIR] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        fs::write(dir.join(registry::OWNER_FILE), ProcessMark::this()?.to_string())?;
        drop(lock);
        let host = Self { root: root.clone(), hostname: hostname.to_owned(), id, dir, supervisor: None, boots: 0 };
        host.mount_overlay()?;
        let machine_id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.replace('-', "");
        host.write("/etc/machine-id", machine_id.as_bytes())?;
        host.write("/etc/hostname", format!("{hostname}\n").as_bytes())?;
        host.write("/etc/hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost\n").as_bytes())?;
        Ok(host)
    }

    /// [`Host::create`] and [`Host::boot`].
    ///
    /// # Errors
    /// As those two.
    pub fn start(root: &Root, hostname: &str) -> Result<Self> {
        let mut host = Self::create(root, hostname)?;
        host.boot()?;
        Ok(host)
    }

    fn mount_overlay(&self) -> Result<()> {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.root.path.display(),
            self.dir.join("upper").display(),
            self.dir.join("work").display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "drydock-lab", "-o", &options]).arg(self.overlay());
        run(&mut mount, MOUNT_LIMIT)?.success().context("cannot mount an overlay: lab hosts need root")?;
        Ok(())
    }

    /// The root this host was made from.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The host's name, in the host and here.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The host's file tree as this machine sees it. What the host mounts itself (`/run`, `/tmp`)
    /// is not in it.
    #[must_use]
    pub fn overlay(&self) -> PathBuf {
        self.dir.join(registry::ROOT_DIR)
    }

    /// What systemd wrote to the console so far.
    #[must_use]
    pub fn console(&self) -> String {
        fs::read(self.dir.join("console.log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Switches the host on and waits until systemd has started everything.
    ///
    /// # Errors
    /// When it is on already, or is not up within [`BOOT_LIMIT`].
    pub fn boot(&mut self) -> Result<()> {
        ensure!(!self.is_on(), "{} is already on", self.hostname);
        if let Some(ended) = self.supervisor.take() {
            self.boots = ended.boots();
        }
        let machine =
            Machine { id: self.id.clone(), hostname: self.hostname.clone(), root: self.overlay(), dir: self.dir.clone() };
        self.supervisor = Some(Supervisor::start(machine, self.boots)?);
        self.wait_booted()
    }

    /// Waits until systemd has started everything it wanted to.
    ///
    /// # Errors
    /// When that is not so within [`BOOT_LIMIT`]; the message ends with the console.
    pub fn wait_booted(&self) -> Result<()> {
        let waited = wait_until("systemd is up", BOOT_LIMIT, || {
            ensure!(self.is_on(), "the host switched itself off");
            Ok(self.init().is_some() && matches!(self.system_state().as_str(), "running" | "degraded"))
        });
        waited.with_context(|| format!("{} did not come up; its console:\n{}", self.hostname, self.console()))
    }

    fn system_state(&self) -> String {
        // Fails while the host is between two boots: not an error, just not up.
        self.run(&["systemctl", "is-system-running"]).map(|finished| finished.stdout.trim().to_owned()).unwrap_or_default()
    }

    /// Whether the host is on, be it starting, up or between two boots.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.supervisor.as_ref().is_some_and(|supervisor| supervisor.ended().is_none())
    }

    /// Process id, on this machine, of the host's PID 1. `None` when off or between two boots.
    #[must_use]
    pub fn init(&self) -> Option<u32> {
        self.supervisor.as_ref()?.init()
    }

    /// Times this host was started: 1 after the first boot, one more after each reboot.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.supervisor.as_ref().map_or(self.boots, Supervisor::boots)
    }

    /// Reboots the host as its administrator would and waits until it is up again.
    ///
    /// # Errors
    /// When it is off, or not up again within twice [`BOOT_LIMIT`].
    pub fn reboot(&self) -> Result<()> {
        let boots = self.boots();
        // The answer may be lost with the host, so it is the reboot that counts.
        self.run(&["systemctl", "reboot"])?;
        self.wait_rebooted(boots)
    }

    /// Waits until the host has been started more than `boots` times and is up.
    ///
    /// # Errors
    /// When that is not so within twice [`BOOT_LIMIT`].
    pub fn wait_rebooted(&self, boots: u32) -> Result<()> {
        wait_until("the host rebooted", BOOT_LIMIT, || Ok(self.boots() > boots))?;
        self.wait_booted()
    }

    /// Ends every process of the host at once, as a power cut does. Files stay; [`Host::boot`]
    /// starts it again.
    pub fn cut_power(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill();
            self.boots = supervisor.boots();
        }
    }

    /// Shuts the host down in order.
    ///
    /// # Errors
    /// When it is not off within [`BOOT_LIMIT`].
    pub fn power_off(&mut self) -> Result<()> {
        if self.is_on() {
            self.run(&["systemctl", "poweroff"])?;
            wait_until("the host is off", BOOT_LIMIT, || Ok(!self.is_on()))?;
        }
        self.cut_power();
        Ok(())
    }

    /// Runs a command in the host; a switched-off host runs it in its file tree alone.
    ///
    /// # Errors
    /// When it cannot be started, or does not end within [`COMMAND_LIMIT`]. Its exit status is in
    /// the result: use [`Finished::success`].
    pub fn run(&self, command: &[&str]) -> Result<Finished> {
        self.run_within(command, COMMAND_LIMIT)
    }

    /// [`Host::run`] with another time limit.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_within(&self, command: &[&str], limit: Duration) -> Result<Finished> {
        run(&mut self.command(command)?, limit)
    }

    /// Runs a shell script in the host and returns its output.
    ///
    /// # Errors
    /// When it fails; the message carries what it printed.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.run(&["sh", "-c", script])?.success();
        output.with_context(|| format!("on {}", self.hostname))
    }

    /// The command that enters the host, for callers that need its pipes.
    ///
    /// # Errors
    /// When the host is between two boots.
    pub fn command(&self, inner: &[&str]) -> Result<Command> {
        let mut command = if self.is_on() {
            let init = self.init().with_context(|| format!("{} is between two boots", self.hostname))?;
            enter(init)
        } else {
            let mut chroot = Command::new("chroot");
            chroot.arg(self.overlay());
            chroot
        };
        command.args(ENVIRONMENT).args(inner);
        Ok(command)
    }

    /// Writes a file in the host, mode 0644, with its directories.
    ///
    /// # Errors
    /// When the host or the file system refuses.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        if self.is_on() {
            let script = r#"mkdir -p "$(dirname "$0")" && cat > "$0""#;
            let mut command = self.command(&["sh", "-c", script, path])?;
            run_with_input(&mut command, content, COMMAND_LIMIT)?.success()?;
            return Ok(());
        }
        let inside = self.inside(path);
        if let Some(parent) = inside.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&inside, content).with_context(|| format!("cannot write {path} of {}", self.hostname))
    }

    /// Copies a file of this machine into the host. Not for places the host mounts itself.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn copy_in(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let inside = self.inside(to);
        if let Some(parent) = inside.parent() {
            fs::create_dir_all(parent)?;
        }
        // Renamed into place, so that a running program can be replaced.
        let aside = inside.with_extension("being-copied");
        fs::copy(from, &aside).with_context(|| format!("cannot copy {} to {}", from.display(), self.hostname))?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(mode))?;
        fs::rename(&aside, &inside).with_context(|| format!("cannot write {to} of {}", self.hostname))
    }

    /// Reads a file of the host as text.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self, path: &str) -> Result<String> {
        if self.is_on() {
            return self.run(&["cat", path])?.success();
        }
        fs::read_to_string(self.inside(path)).with_context(|| format!("cannot read {path} of {}", self.hostname))
    }

    /// Whether a path exists in the host.
    ///
    /// # Errors
    /// When the host is between two boots.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.run(&["test", "-e", path])?.ok())
    }

    /// The installed version of a package as the host's package database has it
    /// (`[epoch:]version-release`); `None` when it is not installed whole: dpkg knows half-installed ones.
    ///
    /// # Errors
    /// When the host is between two boots.
    pub fn installed(&self, package: &str) -> Result<Option<String>> {
        if self.root.kind.manager() == PackageManager::Apt {
            let shown = self.run(&["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package])?;
            return Ok(shown.stdout.strip_prefix("installed ").map(str::to_owned));
        }
        let shown = self.run(&["rpm", "-q", "--queryformat", "%{EVR}", package])?;
        Ok(shown.ok().then_some(shown.stdout))
    }

    /// Waits until `holds` of this host. Failures inside count as "not yet": a rebooting host
    /// refuses every command.
    ///
    /// # Errors
    /// When `limit` passes first; the message carries the last failure.
    pub fn wait_until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let mut last = None;
        let waited = wait_until(what, limit, || {
            let held = holds(self);
            Ok(held.unwrap_or_else(|error| {
                last = Some(format!("{error:#}"));
                false
            }))
        });
        match (waited, last) {
            (Err(error), Some(last)) => bail!("on {}: {error:#}; last failure: {last}", self.hostname),
            (waited, _) => waited.with_context(|| format!("on {}", self.hostname)),
        }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.overlay().join(path.trim_start_matches('/'))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.cut_power();
        // A drop cannot fail; what stays behind is removed by the next host's creation.
        if let Err(error) = registry::remove_host_dir(&self.dir) {
            eprintln!("lab host {}: {error:#}", self.hostname);
        }
    }
}

/// Commands see the environment of a service, not of whoever runs the tests.
const ENVIRONMENT: [&str; 6] = [
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "TERM=dumb",
];

/// `nsenter` into every namespace of the process; the network is this machine's anyway.
pub(super) fn enter(init: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(init.to_string());
    command.args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]);
    command
}

impl super::Registered {
    /// A command that runs `inner` in this host; the caller's terminal is passed on.
    ///
    /// # Errors
    /// When the host is between two boots.
    pub fn command(&self, inner: &[String]) -> Result<Command> {
        let init = self.init.with_context(|| format!("{} is between two boots: try again", self.name))?;
        let mut command = enter(init);
        command.args(ENVIRONMENT).args(inner);
        Ok(command)
    }
}

fn mount_nspawn_runtime() -> Result<()> {
    let dir = Path::new(NSPAWN_RUNTIME_DIR);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {NSPAWN_RUNTIME_DIR}: lab hosts need root"))?;
    if mounts_under(dir)?.iter().any(|point| point == dir) {
        return Ok(());
    }
    run(Command::new("mount").args(["-t", "tmpfs", "drydock-lab", NSPAWN_RUNTIME_DIR]), MOUNT_LIMIT)?.success()?;
    fs::write(nspawn_runtime_mark(), "")?;
    Ok(())
}
