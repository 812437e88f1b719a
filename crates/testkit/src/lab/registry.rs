//! Which hosts exist on this machine, found through their directories, and the removal of those
//! whose owner died without cleaning up (a killed test run).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{NSPAWN_RUNTIME_DIR, hosts_dir, nspawn_runtime_mark, roots_dir};
use crate::cache::{mounts_under, remove_tree};
use crate::command::run;
use crate::process::ProcessMark;
use crate::upstream::upstream_dir;
use crate::wait::wait_until;

/// In a host's directory: the pid of its systemd-nspawn.
pub(super) const NSPAWN_PID_FILE: &str = "nspawn.pid";
/// In a host's directory: the mark of the process that owns it.
pub(super) const OWNER_FILE: &str = "owner";
/// In a host's directory: where its overlay is mounted.
pub(super) const ROOT_DIR: &str = "root";
/// Unmounting is instantaneous unless a file is in use, and then a lazy one follows.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(30);
/// From a killed host to the end of its last process.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A host that is running, in whichever process.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its hostname.
    pub name: String,
    /// Its directory, with `console.log`.
    pub dir: PathBuf,
    /// Process id, on this machine, of its PID 1; `None` while it starts.
    pub init: Option<u32>,
}

/// The hosts that run now.
///
/// # Errors
/// When the cache directory cannot be read.
pub fn running() -> Result<Vec<Registered>> {
    let mut hosts = Vec::new();
    for dir in host_dirs()? {
        let Some(nspawn) = nspawn_of(&dir) else { continue };
        let name = fs::read_to_string(dir.join(ROOT_DIR).join("etc/hostname")).unwrap_or_default().trim().to_owned();
        hosts.push(Registered { name, init: init_of(nspawn), dir });
    }
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hosts)
}

/// Removes hosts whose owner is dead, and with the last host our tmpfs for systemd-nspawn.
///
/// # Errors
/// When something cannot be unmounted or removed.
pub fn remove_leftovers() -> Result<()> {
    let _lock = lock()?;
    remove_orphans()?;
    if host_dirs()?.is_empty() && nspawn_runtime_mark().exists() {
        run(Command::new("umount").arg(NSPAWN_RUNTIME_DIR), UNMOUNT_LIMIT)?.success()?;
    }
    Ok(())
}

/// Removes every cached root and repository; the next use makes them anew.
///
/// # Errors
/// When a host runs, since it stands on a root, or something cannot be removed.
pub fn remove_cache() -> Result<()> {
    let _lock = lock()?;
    if let Some(dir) = host_dirs()?.first() {
        bail!("{} is in use: end the test or the hosts first", dir.display());
    }
    remove_tree(&roots_dir()?)?;
    remove_tree(&upstream_dir()?)
}

/// Keeps other processes from creating or removing hosts until the file is dropped.
pub(super) fn lock() -> Result<File> {
    let dir = hosts_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The part of [`remove_leftovers`] that every new host begins with. Needs [`lock`].
pub(super) fn remove_orphans() -> Result<()> {
    for dir in host_dirs()? {
        // Owners write their file under the lock, so one without it died on the way there.
        let owner = fs::read_to_string(dir.join(OWNER_FILE)).ok().and_then(|owner| owner.parse::<ProcessMark>().ok());
        if owner.is_some_and(|owner| owner.is_alive()) {
            continue;
        }
        if let Some(nspawn) = nspawn_of(&dir) {
            let processes = [init_of(nspawn), Some(nspawn)].into_iter().flatten();
            // One that ended meanwhile has no mark.
            let processes: Vec<_> = processes.filter_map(|pid| ProcessMark::of(pid).ok()).collect();
            for process in &processes {
                let _ = kill(Pid::from_raw(i32::try_from(process.pid())?), Signal::SIGKILL);
            }
            // PID 1 ends after every other process of its host, and those hold the overlay.
            wait_until("a left-over host is gone", END_LIMIT, || Ok(!processes.iter().any(ProcessMark::is_alive)))?;
        }
        remove_host_dir(&dir)?;
    }
    Ok(())
}

/// Unmounts and removes a host's directory.
pub(super) fn remove_host_dir(dir: &Path) -> Result<()> {
    let root = dir.join(ROOT_DIR);
    while !mounts_under(&root)?.is_empty() {
        let plain = run(Command::new("umount").arg("--recursive").arg(&root), UNMOUNT_LIMIT)?;
        if !plain.ok() {
            // Something still holds a file; the mount goes when that ends.
            run(Command::new("umount").args(["--lazy", "--recursive"]).arg(&root), UNMOUNT_LIMIT)?.success()?;
        }
    }
    remove_tree(dir)
}

/// Process id of the host's PID 1: the child of systemd-nspawn that is 1 in its own namespace.
pub(super) fn init_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().filter_map(|child| child.parse().ok()).find(|child: &u32| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        // Two numbers: this machine's and the namespace's.
        ids.is_some_and(|ids| {
            ids.split_whitespace().collect::<Vec<_>>().as_slice().get(1..).is_some_and(|inner| inner.last() == Some(&"1"))
        })
    })
}

fn host_dirs() -> Result<Vec<PathBuf>> {
    let dir = hosts_dir()?;
    match fs::read_dir(&dir) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", dir.display())),
    }
}

/// The running systemd-nspawn of a host directory. The pid may since belong to another process,
/// so its command line must name the directory.
fn nspawn_of(dir: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(dir.join(NSPAWN_PID_FILE)).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    String::from_utf8_lossy(&command).contains(dir.to_str()?).then_some(pid)
}
