//! Notes of resources as files, one each. Absent: which file is whose.

use std::path::PathBuf;

use crate::platform;
use crate::policy::kind::{Failure, Memory};

/// A note, bytes: states and file names.
const NOTE_MAX_BYTES: u64 = 64 * 1024;

/// A note kept in a file.
#[derive(Debug, Clone)]
pub struct FileMemory {
    path: PathBuf,
}

impl FileMemory {
    /// The note of `path`, whose directory is made when it is first written.
    pub fn new(path: PathBuf) -> Self {
        FileMemory { path }
    }
}

impl Memory for FileMemory {
    fn recall(&self) -> Result<Option<String>, Failure> {
        let failed = |e: std::io::Error| Failure::of(format!("{} cannot be read: {e}", self.path.display()));
        match std::fs::metadata(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
            Ok(m) if m.len() > NOTE_MAX_BYTES => Err(Failure::of(format!("{} is too large for a note", self.path.display()))),
            Ok(_) => std::fs::read_to_string(&self.path).map(Some).map_err(failed),
        }
    }

    fn remember(&self, note: &str) -> Result<(), Failure> {
        let written = match self.path.parent() {
            Some(dir) => platform::private_dir(dir).and_then(|()| platform::write_durably(&self.path, note.as_bytes(), 0o600)),
            None => Err(std::io::Error::other("a path without a directory")),
        };
        written.map_err(|e| Failure::of(format!("{} cannot be written: {e}; is the disk full?", self.path.display())))
    }
}

/// Forgets everything: previews change nothing, so they have nothing to remember.
#[derive(Debug, Clone, Copy)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn recall(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    fn remember(&self, _note: &str) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_there_for_the_next_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("memory/x");
        assert_eq!(FileMemory::new(path.clone()).recall(), Ok(None));
        FileMemory::new(path.clone()).remember("before").expect("written");
        assert_eq!(FileMemory::new(path).recall(), Ok(Some("before".to_owned())));
    }
}
