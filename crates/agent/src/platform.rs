//! Every unix-only call of the agent: facts of the running system, processes, signals, durable files. A port to
//! another system replaces this file. Absent: policy, package managers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

/// Clock ticks of `/proc/PID/stat` per second: fixed by the kernel's interface on all architectures we ship.
const TICKS_PER_SEC: u64 = 100;
/// Rounds of killing descendants: each round may find children forked meanwhile; a fork bomb must not hold us for ever.
const KILL_ROUNDS_MAX: usize = 50;

/// What uname(2) says.
#[derive(Debug, Clone, Default)]
pub struct Uname {
    /// Host name.
    pub node: String,
    /// Kernel release.
    pub release: String,
    /// Kernel build.
    pub version: String,
    /// Architecture as the kernel names it.
    pub machine: String,
}

/// Reads uname(2); empty fields when the kernel refuses (a sandbox).
pub fn uname() -> Uname {
    let Ok(u) = nix::sys::utsname::uname() else { return Uname::default() };
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    Uname { node: text(u.nodename()), release: text(u.release()), version: text(u.version()), machine: text(u.machine()) }
}

/// Identifies one boot, also of a container: containers share the kernel's id, but process 1 starts anew.
pub fn boot_id() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let first = process_start_ticks(1).unwrap_or(0);
    format!("{}.{first}", kernel.trim())
}

/// When process 1 started: the boot of this host or container.
pub fn booted_at() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let first = i64::try_from(process_start_ticks(1)? / TICKS_PER_SEC).ok()?;
    Timestamp::from_second(boot.checked_add(first)?).ok()
}

/// Start of a process in ticks since the kernel's boot; `None` when there is no such process. With the process id it
/// names one process for ever: ids are reused, starts are not.
pub fn process_start_ticks(pid: i32) -> Option<u64> {
    stat_fields(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.1
}

/// Parent and start time out of a line of `/proc/PID/stat`. The name in parentheses may hold anything.
pub fn stat_fields(line: &str) -> Option<(i32, Option<u64>)> {
    let rest = &line[line.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19).and_then(|f| f.parse().ok())))
}

/// Is a process a zombie or gone? A zombie does nothing any more.
pub fn process_is_over(pid: i32, start_ticks: u64) -> bool {
    let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = line.rfind(')').and_then(|at| line[at + 1..].trim_start().chars().next());
    stat_fields(&line).and_then(|f| f.1) != Some(start_ticks) || matches!(state, Some('Z' | 'X'))
}

/// /etc/machine-id below `root`, or D-Bus's older place; empty when the host has none.
pub fn machine_id(root: &Path) -> String {
    ["etc/machine-id", "var/lib/dbus/machine-id"]
        .iter()
        .find_map(|p| fs::read_to_string(root.join(p)).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
        .unwrap_or_default()
}

/// Processor time of this process and of the children it has waited for.
pub fn cpu_time() -> Duration {
    let sum = |who| getrusage(who).map_or(0, |u| u.user_time().num_microseconds() + u.system_time().num_microseconds());
    let micros = sum(UsageWho::RUSAGE_SELF) + sum(UsageWho::RUSAGE_CHILDREN);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Are we root?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Does systemd run this host?
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Our own process id.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Leaves the session and process group of whoever started us.
pub fn leave_session() -> io::Result<()> {
    nix::unistd::setsid().map(|_| ()).map_err(io::Error::from)
}

/// Orphans of our children become ours instead of process 1's, so that they can be found and ended.
pub fn adopt_orphans() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)
}

/// Ends a process group: TERM or KILL. A group that is gone is what we want.
pub fn end_group(group: i32, hard: bool) {
    let signal = if hard { Signal::SIGKILL } else { Signal::SIGTERM };
    let _ = killpg(Pid::from_raw(group), signal);
}

/// Kills every descendant of this process, also those that left their group or session; returns how many were killed.
pub fn kill_descendants() -> usize {
    let own = own_pid();
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..KILL_ROUNDS_MAX {
        let found: Vec<i32> = descendants(own);
        if found.is_empty() {
            break;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            killed.insert(pid);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.len()
}

/// Living descendants of `of`, by one pass over /proc.
pub fn descendants(of: i32) -> Vec<i32> {
    let mut parents = std::collections::HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(line) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let zombie = line.rfind(')').is_some_and(|at| line[at + 1..].trim_start().starts_with(['Z', 'X']));
        if let (Some((parent, _)), false) = (stat_fields(&line), zombie) {
            parents.insert(pid, parent);
        }
    }
    let below = |mut pid: i32| {
        // A chain of parents longer than the table is a race between our reads.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(&parent) if parent == of => return true,
                Some(&parent) => pid = parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|pid| below(*pid)).collect()
}

/// Waits for TERM or INT on the calling thread. Every thread started after [`block_end_signals`] leaves them to it.
pub fn wait_for_end_signal() {
    let _ = end_signals().wait();
}

/// Blocks TERM and INT for this thread and those it starts. Commands started by std get an empty mask again.
pub fn block_end_signals() -> io::Result<()> {
    end_signals().thread_block().map_err(io::Error::from)
}

fn end_signals() -> nix::sys::signal::SigSet {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set
}

/// A file lock that ends with the process that holds it.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] Flock<File>);

/// Takes the lock of `path` without waiting; `None` when somebody else has it.
pub fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Lock(lock))),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(e.into()),
    }
}

/// Waits until nobody holds the lock of `path`.
pub fn wait_for_lock(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map(drop).map_err(|(_, e)| e.into())
}

/// Kills one process; one that is gone is what we want.
pub fn kill_process(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Creates a directory only root may enter, with its parents.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a rename or unlink in `dir` survive a power loss.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes a whole file so that after a crash there is either the old or the new one: temporary file, fsync, rename,
/// fsync of the directory.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a path without a directory"))?;
    let mut name = path.file_name().ok_or_else(|| io::Error::other("a path without a name"))?.to_owned();
    name.push(".tmp");
    let temporary = dir.join(name);
    let written = (|| {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // Half a file must not take the space that the next try needs.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_dir(dir)
}

/// The commands that reboot a host, in the order they are tried.
pub const REBOOT_COMMANDS: [&[&str]; 4] = [&["systemctl", "reboot"], &["shutdown", "-r", "now"], &["reboot"], &["init", "6"]];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_is_read() {
        let line = "42 (a b) c)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        assert_eq!(stat_fields(line), Some((7, Some(12345))));
        assert_eq!(stat_fields("42 (x"), None);
    }

    #[test]
    fn this_boot_has_an_id_and_a_time() {
        assert!(boot_id().len() > 30, "{}", boot_id());
        assert!(booted_at().expect("a time") <= Timestamp::now());
    }

    #[test]
    fn a_durable_write_replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        write_durably(&path, b"one", 0o600).expect("written");
        write_durably(&path, b"two", 0o600).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let first = try_lock(&path).expect("locked");
        assert!(first.is_some());
        assert!(try_lock(&path).expect("asked").is_none());
        drop(first);
        assert!(try_lock(&path).expect("asked").is_some());
    }
}
