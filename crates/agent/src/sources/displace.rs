//! Files of somebody else at paths that ours need (a `drydock.repo` an administrator wrote): set aside before the first
//! of our bytes is written there, put back when ours goes, in both modes. As with definitions that are set aside
//! ([`super::takeover`]), the journal knows the name first, and what had happened when the process was killed is read
//! from which of the names exist.
//!
//! ```text
//! journal says X → X.drydock-backup ─> X renamed ─> journal says X is ours ─> ours written
//! ours removed ─> journal says X is not ours ─> X.drydock-backup renamed to X ─> journal forgets X
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use drydock_domain::inventory::Finding;

use super::disk::{Disk, DiskError, exists};
use super::journal::{Kept, Taken, free_name};
use super::takeover::{BACKUP, NEW};

/// What stands near the beginning of our files.
const OURS: &[u8] = b"drydock-agent";
/// Bytes of a file in which it stands.
const HEAD_BYTES: u64 = 256;
/// Where nobody else writes.
const OWN_DIR: &str = "/etc/drydock-agent/";

/// Sets aside what lies at the `wanted` paths and is not ours.
pub fn displace(disk: &Disk, kept: &mut Kept, wanted: &BTreeSet<&str>) -> Result<(), DiskError> {
    for path in wanted {
        let real = disk.host(path);
        if kept.owns(path) || path.starts_with(OWN_DIR) || !is_theirs(&real) {
            continue;
        }
        let known = kept.journal.displaced.iter().find(|t| t.original == *path).map(|t| t.backup.clone());
        let to = match known {
            // It was set aside and another one came before ours was written.
            Some(backup) if exists(&disk.host(&backup)) => free_name(disk, &kept.journal, path, NEW),
            Some(backup) => backup,
            None => {
                let backup = free_name(disk, &kept.journal, path, BACKUP);
                let taken = Taken { original: (*path).to_owned(), backup: backup.clone(), newer: None };
                kept.update(disk, |j| j.displaced.push(taken))?;
                backup
            }
        };
        disk.rename(&real, &disk.host(&to))?;
    }
    Ok(())
}

/// Puts back what was set aside at paths that are not `wanted` any more. Ours are gone from there. One that cannot be put
/// back does not hold up the others; the journal keeps it, and it is told.
pub fn put_back(disk: &Disk, kept: &mut Kept, wanted: &BTreeSet<&str>, findings: &mut Vec<Finding>) -> Result<(), DiskError> {
    let back: Vec<Taken> = kept.journal.displaced.iter().filter(|t| !wanted.contains(t.original.as_str())).cloned().collect();
    for taken in back {
        match put_back_one(disk, kept, &taken, findings) {
            Ok(()) if disk.is_dry() => {}
            Ok(()) => kept.update(disk, |j| j.displaced.retain(|t| t.original != taken.original))?,
            Err(DiskError::Ended) => return Err(DiskError::Ended),
            Err(e) => findings.push(Finding { subject: taken.original, message: format!("it could not be put back: {e}") }),
        }
    }
    Ok(())
}

fn put_back_one(disk: &Disk, kept: &Kept, taken: &Taken, findings: &mut Vec<Finding>) -> Result<(), DiskError> {
    let (original, backup) = (disk.host(&taken.original), disk.host(&taken.backup));
    if !exists(&backup) {
        if !exists(&original) {
            let message = format!("it cannot be put back: somebody removed {}", taken.backup);
            findings.push(Finding { subject: taken.original.clone(), message });
        }
        // Otherwise it was never renamed, or is back already.
        return Ok(());
    }
    if exists(&original) && !disk.is_dry() {
        let kept_as = free_name(disk, &kept.journal, &taken.original, NEW);
        disk.rename(&original, &disk.host(&kept_as))?;
        let message = format!("another one was there: the one of before is back, the newer one is {kept_as}");
        findings.push(Finding { subject: taken.original.clone(), message });
    }
    disk.rename(&backup, &original)
}

/// Files and links that do not say that they are ours. A file of ours that no journal knows is left of an earlier life.
fn is_theirs(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    if !meta.is_file() {
        return meta.is_symlink();
    }
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_err() || !head.windows(OURS.len()).any(|window| window == OURS)
}
