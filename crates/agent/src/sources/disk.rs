//! Every change the sources make on the host, one step at a time: each is complete or did not happen, and survives a
//! power loss. A dry disk changes nothing and counts what it would have changed.
//!
//! Tests end the process before any step they like ([`Disk::dying_after`]).

use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::platform::sync_dir;

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system said no.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    File {
        /// `write`, `rename` …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Only in tests: the process is taken to be dead here.
    #[error("the test ended the process here")]
    Ended,
}

/// The file system of one host.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    dry: bool,
    changes: Cell<usize>,
    /// Tests: steps that still succeed before the process counts as dead.
    steps_left: Cell<Option<usize>>,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::File { what, path, source }
}

/// Is something there, be it a broken link? An unreadable directory counts as "nothing there" only for its own files.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

impl Disk {
    /// The host at `root` (`/`).
    pub fn new(root: &Path) -> Self {
        Disk { root: root.to_owned(), dry: false, changes: Cell::new(0), steps_left: Cell::new(None) }
    }

    /// As [`Disk::new`], but nothing is changed.
    pub fn dry(root: &Path) -> Self {
        Disk { dry: true, ..Disk::new(root) }
    }

    /// As [`Disk::new`], but the process "dies" after this many steps.
    #[cfg(test)]
    pub fn dying_after(root: &Path, steps: usize) -> Self {
        Disk { steps_left: Cell::new(Some(steps)), ..Disk::new(root) }
    }

    /// How many changes were made (or, dry, would have been).
    pub fn changes(&self) -> usize {
        self.changes.get()
    }

    /// Is this disk dry?
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Where `path` of the host (`/etc/…`) really is.
    pub fn host(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Counts a change that is not one of the file system; false when it must not be made.
    pub fn note(&self) -> bool {
        self.changes.set(self.changes.get() + 1);
        !self.dry
    }

    fn step(&self) -> Result<(), DiskError> {
        if let Some(left) = self.steps_left.get() {
            self.steps_left.set(Some(left.checked_sub(1).ok_or(DiskError::Ended)?));
        }
        Ok(())
    }

    /// Gives `path` these bytes, mode and owner; true when something had to change. What is already so keeps its time.
    pub fn write(&self, path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> Result<bool, DiskError> {
        if self.is_so(path, bytes, mode, owner) {
            return Ok(false);
        }
        if !self.note() {
            return Ok(true);
        }
        let dir = path.parent().ok_or_else(|| failed("write", path)(io::ErrorKind::InvalidInput.into()))?;
        let temporary = temporary(path);
        self.step()?;
        // A left-over of a crash may belong to another user: begun anew, so that the mode holds from the first byte.
        remove_if_there(&temporary).map_err(failed("remove", &temporary))?;
        let mut file = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed("create", &temporary))?;
        self.step()?;
        let written = (|| {
            file.write_all(bytes)?;
            if owner.is_some() {
                std::os::unix::fs::fchown(&file, owner, None)?;
            }
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        })();
        if let Err(e) = written {
            // Half a file must not take the space that the next try needs.
            let _ = fs::remove_file(&temporary);
            return Err(failed("write", path)(e));
        }
        self.step()?;
        fs::rename(&temporary, path).map_err(failed("replace", path))?;
        sync_dir(dir).map_err(failed("write", dir))?;
        Ok(true)
    }

    fn is_so(&self, path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else { return false };
        meta.is_file()
            && meta.mode() & 0o7777 == mode
            && owner.is_none_or(|uid| uid == meta.uid())
            && meta.len() == bytes.len() as u64
            && fs::read(path).is_ok_and(|there| there == bytes)
    }

    /// Renames within one directory.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        if !self.note() {
            return Ok(());
        }
        self.step()?;
        fs::rename(from, to).map_err(failed("rename", from))?;
        let dir = to.parent().unwrap_or(to);
        sync_dir(dir).map_err(failed("write", dir))
    }

    /// Removes a file and what a crash while writing it left; a missing one is what we want.
    pub fn remove(&self, path: &Path) -> Result<(), DiskError> {
        for path in [temporary(path), path.to_owned()] {
            if !exists(&path) || !self.note() {
                continue;
            }
            self.step()?;
            remove_if_there(&path).map_err(failed("remove", &path))?;
            if let Some(dir) = path.parent() {
                sync_dir(dir).map_err(failed("write", dir))?;
            }
        }
        Ok(())
    }

    /// Makes one directory; one that is there keeps its mode, but gets the bits of `mode`.
    pub fn make_dir(&self, path: &Path, mode: u32) -> Result<(), DiskError> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let now = meta.mode() & 0o7777;
                if now & mode != mode && self.note() {
                    self.step()?;
                    fs::set_permissions(path, fs::Permissions::from_mode(now | mode)).map_err(failed("open", path))?;
                }
                Ok(())
            }
            _ => {
                if !self.note() {
                    return Ok(());
                }
                self.step()?;
                fs::create_dir(path).map_err(failed("create", path))?;
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("create", path))
            }
        }
    }

    /// Removes a directory that is empty; somebody else's file in it keeps it.
    pub fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty && self.note() {
            self.step()?;
            fs::remove_dir(path).map_err(failed("remove", path))?;
        }
        Ok(())
    }
}

/// Beside `path`; hidden, and with an ending that no package manager reads.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.drydock-tmp"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_already_so_keeps_its_time_and_a_dry_disk_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::new(dir.path());
        let path = disk.host("/f");
        assert!(disk.write(&path, b"one", 0o640, None).expect("written"));
        let before = fs::metadata(&path).expect("there");
        assert!(!disk.write(&path, b"one", 0o640, None).expect("looked at"));
        assert_eq!(fs::metadata(&path).expect("there").ino(), before.ino());
        assert!(disk.write(&path, b"one", 0o600, None).expect("another mode"));

        let dry = Disk::dry(dir.path());
        assert!(dry.write(&path, b"two", 0o600, None).expect("counted"));
        dry.remove(&path).expect("counted");
        dry.make_dir(&disk.host("/d"), 0o755).expect("counted");
        assert_eq!((dry.changes(), fs::read(&path).expect("there")), (3, b"one".to_vec()));
        assert!(!disk.host("/d").exists());
    }
}
