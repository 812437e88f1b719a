//! Exclusive mode (DESIGN decision 17): other repository definitions are renamed to `*.drydock-backup` and come back,
//! byte for byte, with their times, owners and attributes, because a rename keeps all of them.
//!
//! ```text
//! journal says X → X.drydock-backup ─> X renamed                          (killed between: renamed at the next look)
//! X appears again: journal says where ─> X renamed, over an earlier newer one
//! restore: X, if it appeared again, is put with the newer ones ─> X.drydock-backup renamed to X
//!          ─> a newer one that differs becomes X.drydock-new ─> journal forgets X
//! ```
//! What had happened when the process was killed is read from which of the names exist; every step may be repeated.
//! Absent: which files are ours ([`super::journal`]), when to look ([`super::worker`]).

use std::fs;
use std::path::Path;

use drydock_domain::inventory::{Finding, ManagerKind};

use super::disk::{Disk, DiskError, exists};
use super::journal::{Kept, Taken, free_name};

/// Ending of a definition that was set aside.
pub const BACKUP: &str = "drydock-backup";
/// Ending of a definition that appeared while the older one was set aside.
pub const NEW: &str = "drydock-new";
/// Definitions set aside, count: a host has some twenty.
const TAKEN_MAX: usize = 1000;
/// Names looked at in one directory, count.
const ENTRIES_MAX: usize = 10_000;

/// Where a manager looks for repository definitions: single files, and directories with the endings it reads there.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    files: &'static [&'static str],
    dirs: &'static [&'static str],
    endings: &'static [&'static str],
}

impl Places {
    /// Of `manager`.
    pub fn of(manager: ManagerKind) -> Self {
        match manager {
            ManagerKind::Apt => {
                Places { files: &["/etc/apt/sources.list"], dirs: &["/etc/apt/sources.list.d"], endings: &["list", "sources"] }
            }
            ManagerKind::Dnf | ManagerKind::Dnf5 | ManagerKind::Yum => {
                Places { files: &[], dirs: &["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"], endings: &["repo"] }
            }
            ManagerKind::Zypper => Places { files: &[], dirs: &["/etc/zypp/repos.d"], endings: &["repo"] },
        }
    }

    /// Directories in which definitions appear.
    pub fn watched(self) -> Vec<&'static str> {
        let parents = self.files.iter().filter_map(|f| Path::new(f).parent()?.to_str());
        self.dirs.iter().copied().chain(parents).collect()
    }

    /// [`Places::watched`] of all managers.
    pub fn all_watched() -> Vec<&'static str> {
        [ManagerKind::Apt, ManagerKind::Dnf, ManagerKind::Zypper].into_iter().flat_map(|m| Places::of(m).watched()).collect()
    }

    /// Would a manager read the file at `path` (`/etc/…`) as a definition?
    pub fn defines(self, path: &str) -> bool {
        let below =
            |dir: &&str| path.strip_prefix(*dir).and_then(|rest| rest.strip_prefix('/')).is_some_and(|n| !n.contains('/'));
        let ending = |e: &&str| path.strip_suffix(*e).is_some_and(|rest| rest.ends_with('.'));
        self.files.contains(&path) || self.dirs.iter().any(below) && self.endings.iter().any(ending)
    }

    /// The definitions there are now, sorted. Directories and special files are none.
    fn definitions(self, disk: &Disk) -> Vec<String> {
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_file() || m.is_symlink());
        let mut found: Vec<String> = self.files.iter().filter(|f| is_file(&disk.host(f))).map(|f| (*f).to_owned()).collect();
        for dir in self.dirs {
            for entry in fs::read_dir(disk.host(dir)).into_iter().flatten().flatten().take(ENTRIES_MAX) {
                // A name that is not text is read by no package manager we know.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let reads = self.endings.iter().any(|e| name.strip_suffix(e).is_some_and(|n| n.ends_with('.')));
                if reads && !name.starts_with('.') && is_file(&entry.path()) {
                    found.push(format!("{dir}/{name}"));
                }
            }
        }
        found.sort();
        found
    }
}

/// Sets aside every definition that is not ours.
pub fn take(disk: &Disk, kept: &mut Kept, places: Places) -> Result<(), DiskError> {
    for original in places.definitions(disk) {
        if kept.owns(&original) {
            continue;
        }
        match kept.journal.taken.iter().position(|t| t.original == original) {
            Some(at) if exists(&disk.host(&kept.journal.taken[at].backup)) => take_newer(disk, kept, at)?,
            Some(at) => {
                let to = kept.journal.taken[at].backup.clone();
                disk.rename(&disk.host(&original), &disk.host(&to))?;
            }
            None if kept.journal.taken.len() >= TAKEN_MAX => {
                return Err(DiskError::File {
                    what: "set aside",
                    path: original.into(),
                    source: std::io::Error::other(format!("{TAKEN_MAX} definitions are set aside already")),
                });
            }
            None => {
                let backup = free_name(disk, &kept.journal, &original, BACKUP);
                let taken = Taken { original: original.clone(), backup: backup.clone(), newer: None };
                kept.update(disk, |j| j.taken.push(taken))?;
                disk.rename(&disk.host(&original), &disk.host(&backup))?;
            }
        }
    }
    Ok(())
}

/// The definition at `at` appeared again: only its newest form is kept, as a package manager would.
fn take_newer(disk: &Disk, kept: &mut Kept, at: usize) -> Result<(), DiskError> {
    let original = kept.journal.taken[at].original.clone();
    let newer = match kept.journal.taken[at].newer.clone() {
        Some(newer) => newer,
        None => {
            let newer = free_name(disk, &kept.journal, &original, BACKUP);
            kept.update(disk, |j| j.taken[at].newer = Some(newer.clone()))?;
            newer
        }
    };
    disk.rename(&disk.host(&original), &disk.host(&newer))
}

/// Brings back everything that was set aside, first taken first. One that cannot be brought back does not hold up the
/// others; the journal keeps it, and it is told.
pub fn restore(disk: &Disk, kept: &mut Kept) -> Result<Vec<Finding>, DiskError> {
    let mut findings = Vec::new();
    let mut at = 0;
    while at < kept.journal.taken.len() {
        match restore_one(disk, kept, at, &mut findings) {
            Ok(()) if disk.is_dry() => at += 1,
            Ok(()) => kept.update(disk, |j| drop(j.taken.remove(at)))?,
            Err(DiskError::Ended) => return Err(DiskError::Ended),
            Err(e) => {
                let subject = kept.journal.taken[at].original.clone();
                findings.push(Finding { subject, message: format!("it could not be restored: {e}") });
                at += 1;
            }
        }
    }
    Ok(findings)
}

fn restore_one(disk: &Disk, kept: &mut Kept, at: usize, findings: &mut Vec<Finding>) -> Result<(), DiskError> {
    let taken = kept.journal.taken[at].clone();
    let (original, backup) = (disk.host(&taken.original), disk.host(&taken.backup));
    if exists(&backup) {
        if exists(&original) {
            take_newer(disk, kept, at)?;
        }
        disk.rename(&backup, &original)?;
    } else if !exists(&original) {
        let message = format!("it cannot be restored: somebody removed {}", taken.backup);
        findings.push(Finding { subject: taken.original.clone(), message });
        // Only counts as a change for the journal's sake.
        disk.note();
    } else {
        // Never renamed, or restored already.
        disk.note();
    }
    let Some(newer) = kept.journal.taken[at].newer.clone() else { return Ok(()) };
    let newer = disk.host(&newer);
    if !exists(&newer) || disk.is_dry() {
        return Ok(());
    }
    if same_bytes(&newer, &original) {
        return disk.remove(&newer);
    }
    let kept_as = free_name(disk, &kept.journal, &taken.original, NEW);
    disk.rename(&newer, &disk.host(&kept_as))?;
    let message = format!("it changed while it was set aside: the definition of before is back, the newer one is {kept_as}");
    findings.push(Finding { subject: taken.original, message });
    Ok(())
}

fn same_bytes(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (fs::read(one), fs::read(other)) else { return false };
    one == other
}

/// When the journal is lost: every `X.drydock-backup` is one that was set aside from `X`.
pub fn rebuild(disk: &Disk, kept: &mut Kept, places: Places) -> Result<(), DiskError> {
    let ending = format!(".{BACKUP}");
    let mut taken = Vec::new();
    for dir in places.watched() {
        for entry in fs::read_dir(disk.host(dir)).into_iter().flatten().flatten().take(ENTRIES_MAX) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(first) = name.strip_suffix(&ending) else { continue };
            let original = format!("{dir}/{first}");
            taken.push(Taken { backup: format!("{original}{ending}"), original, newer: None });
        }
    }
    taken.sort_by(|a, b| a.original.cmp(&b.original));
    kept.update(disk, |j| {
        for entry in taken {
            if !j.taken.iter().any(|t| t.original == entry.original) {
                j.taken.push(entry);
            }
        }
    })
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
