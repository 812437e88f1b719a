//! The content directory in a backup: snapshots and published metadata, or the package files too, after everything
//! else, closed by a count and a checksum of all of it. Half-done files are never in it. Files of content never change once they have their name, so copying
//! them while the server works is safe; one that is collected meanwhile is left out. They are written to disk when they
//! are all there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{BackupError, COPY_BYTES, SMALL_FILE_MAX_BYTES, failed};

/// What names of content begin with in the archive.
pub(super) const PREFIX: &str = "content/";
/// The last entry of an archive with content.
pub(super) const TRAILER: &str = "content.json";
/// Where partial downloads are; never copied.
const STAGING: &str = "staging";
/// Where package files are, and what they are found by.
const PACKAGE_FILES: [&str; 2] = ["blobs", "blobs-by"];
/// Directories below each other in a content directory.
const DEPTH_MAX: usize = 8;
/// Where content is unpacked before it gets its names.
const SCRATCH: &str = ".restore";

/// How much of the content directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// Snapshots, published metadata, where packages come from. Without them frozen snapshots are lost.
    Snapshots,
    /// Package files as well: uploaded ones cannot be got again.
    Everything,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentSum {
    /// Files, count.
    pub files: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
    /// SHA-256 over all names and bytes in their order, lower-case hex.
    pub sha256: String,
}

struct Summing {
    files: u64,
    bytes: u64,
    sum: Context,
}

impl Summing {
    fn new() -> Self {
        Summing { files: 0, bytes: 0, sum: Context::new(&SHA256) }
    }

    fn begin(&mut self, name: &str) {
        self.files += 1;
        self.sum.update(name.as_bytes());
        self.sum.update(&[0]);
    }

    fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.sum.update(piece);
    }

    fn finish(self) -> ContentSum {
        let sha256 = crate::pki::hex(self.sum.finish().as_ref());
        ContentSum { files: self.files, bytes: self.bytes, sha256 }
    }
}

struct Reading<'a> {
    file: File,
    summing: &'a mut Summing,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.summing.add(&buffer[..n]);
        Ok(n)
    }
}

/// Adds the content directory to the archive.
pub(super) fn append(tar: &mut tar::Builder<impl Write>, dir: &Path, portion: Portion) -> io::Result<ContentSum> {
    let mut summing = Summing::new();
    let leave_out: &[&str] = match portion {
        Portion::Snapshots => &PACKAGE_FILES,
        Portion::Everything => &[],
    };
    walk(dir, &mut PathBuf::new(), leave_out, &mut |name| append_one(tar, dir, name, &mut summing))?;
    let sum = summing.finish();
    let json = serde_json::to_vec(&sum).map_err(io::Error::other)?;
    super::append_small(tar, TRAILER, &json)?;
    Ok(sum)
}

/// Calls `each` with the relative path of every file, in order; `leave_out` are directories at the top.
fn walk(dir: &Path, below: &mut PathBuf, leave_out: &[&str], each: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut entries = match std::fs::read_dir(dir.join(&*below)) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    entries.sort_unstable_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is_top = below.as_os_str().is_empty();
        let left_out = is_top && (name == STAGING || leave_out.iter().any(|n| name == *n));
        if name.as_encoded_bytes().starts_with(b".") || left_out {
            continue;
        }
        let kind = entry.file_type()?;
        below.push(&name);
        if kind.is_dir() && below.components().count() < DEPTH_MAX {
            walk(dir, below, leave_out, each)?;
        } else if kind.is_file() {
            each(below)?;
        }
        below.pop();
    }
    Ok(())
}

fn append_one(tar: &mut tar::Builder<impl Write>, dir: &Path, name: &Path, summing: &mut Summing) -> io::Result<()> {
    let file = match File::open(dir.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let Some(text) = name.to_str() else { return Ok(()) };
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&file.metadata()?);
    summing.begin(text);
    tar.append_data(&mut header, format!("{PREFIX}{text}"), Reading { file, summing })
}

/// Content on its way back: in a scratch directory on the content's own disk until all of it is checked.
pub(super) struct Returning {
    dir: PathBuf,
    summing: Summing,
    expected: Option<ContentSum>,
}

impl Returning {
    /// Begins in an empty content directory.
    pub(super) fn begin(dir: &Path) -> Result<Self, BackupError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
        let scratch = dir.join(SCRATCH);
        let _ = std::fs::remove_dir_all(&scratch);
        if let Some(entry) = std::fs::read_dir(dir).map_err(failed("read", dir))?.next() {
            let path = entry.map_err(failed("read", dir))?.path();
            // A disk of its own may have this one already.
            if path.file_name().is_none_or(|n| n != "lost+found") {
                return Err(BackupError::Exists { path });
            }
        }
        std::fs::DirBuilder::new().create(&scratch).map_err(failed("create", &scratch))?;
        Ok(Returning { dir: dir.to_owned(), summing: Summing::new(), expected: None })
    }

    fn scratch(&self) -> PathBuf {
        self.dir.join(SCRATCH)
    }

    /// Takes one file.
    pub(super) fn take(&mut self, name: &str, from: &mut impl Read) -> Result<(), String> {
        let relative = Path::new(name);
        let plain = |c: Component<'_>| matches!(c, Component::Normal(n) if !n.as_encoded_bytes().starts_with(b"."));
        if !relative.components().all(plain) || relative.components().count() > DEPTH_MAX {
            return Err(format!("{name:?} is no name of content"));
        }
        let path = self.scratch().join(relative);
        let copied = (|| {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let mut out = File::create_new(&path)?;
            self.summing.begin(name);
            let mut piece = vec![0; COPY_BYTES];
            loop {
                let n = from.read(&mut piece)?;
                if n == 0 {
                    return Ok(());
                }
                self.summing.add(&piece[..n]);
                out.write_all(&piece[..n])?;
            }
        })();
        copied.map_err(|e: io::Error| format!("{name}: {e}"))
    }

    /// Takes the closing entry.
    pub(super) fn close(&mut self, from: &mut impl Read) -> Result<(), String> {
        let mut json = Vec::new();
        from.take(SMALL_FILE_MAX_BYTES).read_to_end(&mut json).map_err(|e| e.to_string())?;
        self.expected = Some(serde_json::from_slice(&json).map_err(|e| format!("{TRAILER}: {e}"))?);
        Ok(())
    }

    /// Gives everything its name, when it is what was written.
    pub(super) fn finish(mut self) -> Result<ContentSum, BackupError> {
        let (dir, scratch) = (self.dir.clone(), self.scratch());
        let found = std::mem::replace(&mut self.summing, Summing::new()).finish();
        if self.expected.as_ref() != Some(&found) {
            let message = "its content is not what was written; the file was cut short or changed".to_owned();
            return Err(BackupError::Damaged { path: dir, message });
        }
        let moved = (|| {
            rustix::fs::syncfs(File::open(&dir)?)?;
            for entry in std::fs::read_dir(&scratch)? {
                let entry = entry?;
                std::fs::rename(entry.path(), dir.join(entry.file_name()))?;
            }
            std::fs::remove_dir(&scratch)?;
            File::open(&dir)?.sync_all()
        })();
        moved.map_err(failed("write", &dir))?;
        Ok(found)
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.scratch());
    }
}

/// Number and size of the package files: what a backup leaves out unless it is told otherwise.
pub fn package_files(dir: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let blobs = dir.join(PACKAGE_FILES[0]);
    walk(&blobs, &mut PathBuf::new(), &[], &mut |name| {
        files += 1;
        bytes += std::fs::metadata(blobs.join(name)).map_or(0, |m| m.len());
        Ok(())
    })?;
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(dir: &Path, portion: Portion) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, dir, portion).expect("packed");
        tar.into_inner().expect("whole")
    }

    fn unpack(bytes: &[u8], to: &Path) -> Result<ContentSum, String> {
        let mut returning = Returning::begin(to).map_err(|e| e.to_string())?;
        for entry in tar::Archive::new(bytes).entries().map_err(|e| e.to_string())? {
            let mut entry = entry.map_err(|e| e.to_string())?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match name.strip_prefix(PREFIX) {
                Some(name) => returning.take(name, &mut entry)?,
                None => returning.close(&mut entry)?,
            }
        }
        returning.finish().map_err(|e| e.to_string())
    }

    #[test]
    fn content_comes_back_whole_without_what_was_half_done() {
        let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        for (name, bytes) in [("blobs/ab/cd", "rpm"), ("objects/00/11", "tree"), ("staging/upload-1", "half"), (".lock", "")] {
            let path = from.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
        assert_eq!(package_files(from.path()).expect("walked"), (1, 3));
        let bytes = packed(from.path(), Portion::Everything);
        let sum = unpack(&bytes, to.path()).expect("whole");
        assert_eq!((sum.files, sum.bytes), (2, 7));
        assert_eq!(std::fs::read_to_string(to.path().join("blobs/ab/cd")).expect("there"), "rpm");
        assert!(!to.path().join("staging").exists() && !to.path().join(SCRATCH).exists());
        assert!(unpack(&bytes, to.path()).expect_err("not empty").contains("move it away"));
        let to = tempfile::tempdir().expect("a directory");
        let sum = unpack(&packed(from.path(), Portion::Snapshots), to.path()).expect("whole");
        assert_eq!((sum.files, sum.bytes), (1, 4));
        assert!(to.path().join("objects/00/11").exists() && !to.path().join("blobs").exists());
    }

    #[test]
    fn a_cut_or_hostile_archive_leaves_nothing_behind() {
        let from = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(from.path().join("blobs")).expect("made");
        std::fs::write(from.path().join("blobs/a"), vec![7; 5000]).expect("written");
        let mut changed = packed(from.path(), Portion::Everything);
        changed[1000] ^= 1;
        let to = tempfile::tempdir().expect("a directory");
        assert!(unpack(&changed, to.path()).is_err());
        assert!(!to.path().join("blobs").exists());
        let mut returning = Returning::begin(to.path()).expect("begun");
        for name in ["../outside", "/etc/passwd", "a/../../b", ".hidden", "a/b/c/d/e/f/g/h/i"] {
            assert!(returning.take(name, &mut io::empty()).is_err(), "{name}");
        }
        assert!(returning.finish().is_err(), "no closing entry");
        assert_eq!(std::fs::read_dir(to.path()).expect("read").count(), 0);
    }
}
