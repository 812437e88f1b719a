//! The package databases: a transaction writes in bursts, so it is told once it pauses, and only when the database's files
//! really changed (a reader of an rpm database makes events, too).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// A transaction writes in bursts; this long without an event means it paused or ended.
const QUIET: Duration = Duration::from_millis(200);
/// A long transaction is told in between at the latest after this.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// Files looked at in one directory, count: dpkg and rpm keep some twenty.
const FILES_MAX: usize = 1000;
/// Directories whose files are the databases, and what holds packages back: dpkg, apt's marks, rpm (three places), dnf's and
/// zypper's locks.
pub const DIRECTORIES: [&str; 8] = [
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/usr/share/rpm",
    "/etc/yum/pluginconf.d",
    "/etc/dnf/plugins",
    "/etc/dnf",
    "/etc/zypp",
];

/// Size, time of change and inode of each file that holds something.
pub type Stamp = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

/// When the databases were touched, and how they were when they were looked at last.
#[derive(Debug, Default)]
pub struct Packages {
    last: Stamp,
    /// First and last event since.
    busy: Option<(Instant, Instant)>,
}

impl Packages {
    /// From now on changes are news.
    pub fn begin(&mut self, root: &Path) {
        self.last = stamp(root);
    }

    /// An event came.
    pub fn touched(&mut self) {
        let now = Instant::now();
        self.busy = Some((self.busy.map_or(now, |(first, _)| first), now));
    }

    /// Waits until the databases were touched and it is quiet again. While nobody touches them, it waits for ever.
    pub async fn settled(&mut self) {
        match self.busy {
            None => std::future::pending().await,
            Some((first, last)) => {
                tokio::time::sleep_until((last + QUIET).min(first + BUSY_MAX)).await;
                self.busy = None;
            }
        }
    }

    /// Are they others than at the last look?
    pub fn changed(&mut self, root: &Path) -> bool {
        let now = stamp(root);
        std::mem::replace(&mut self.last, now.clone()) != now
    }
}

/// How the databases of the host at `root` are.
pub fn stamp(root: &Path) -> Stamp {
    let dirs = DIRECTORIES.iter().map(|d| root.join(d.trim_start_matches('/')));
    let files = dirs.filter_map(|d| std::fs::read_dir(d).ok()).flat_map(|entries| entries.flatten().take(FILES_MAX));
    files
        .filter(|e| is_data(&e.file_name().to_string_lossy()))
        .filter_map(|e| Some((e.path(), e.metadata().ok()?)))
        // An empty write-ahead log comes and goes with each reader.
        .filter(|(_, m)| m.is_file() && m.len() > 0)
        .map(|(path, m)| (path, (m.len(), m.mtime(), m.mtime_nsec(), m.ino())))
        .collect()
}

/// Readers touch lock and shared-memory files, editors leave copies; only the rest is data.
pub fn is_data(name: &str) -> bool {
    let side = [".dbenv", "__db", "."].iter().any(|p| name.starts_with(p));
    let left = ["-shm", "-old", "~", "#", ".swp", ".tmp"].iter().any(|s| name.ends_with(s));
    let lock = name.contains("lock") && !name.starts_with("versionlock") && name != "locks";
    !(side || left || lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_packages_are_data_and_locks_of_processes_are_not() {
        for data in ["status", "Packages.db", "rpmdb.sqlite", "rpmdb.sqlite-wal", "versionlock.list", "locks", "Packages"] {
            assert!(is_data(data), "{data}");
        }
        for side in ["lock-frontend", ".rpm.lock", "rpmdb.sqlite-shm", "__db.001", "status-old", "versionlock.list~"] {
            assert!(!is_data(side), "{side}");
        }
    }
}
