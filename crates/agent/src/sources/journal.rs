//! What the sources have done to this host, written before each step that a later one must know of: which repository
//! definitions were set aside under which name, and which files and directories are ours.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskError, exists};
use crate::ledger::{seal, unseal};

/// A repository definition of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// Its path (`/etc/…`).
    pub original: String,
    /// Where it waits. Nothing had this name when it was chosen: if something has it now, the rename was made.
    pub backup: String,
    /// Where the newest one waits that appeared at `original` after the rename (a package's update writes its file
    /// again).
    #[serde(default)]
    pub newer: Option<String>,
}

/// Keys imported into the rpm database from one file of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RpmKey {
    /// The file.
    pub file: String,
    /// Names of the `gpg-pubkey` packages that came with it, without those that were there before.
    pub packages: Vec<String>,
}

/// The journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Set aside.
    #[serde(default)]
    pub taken: Vec<Taken>,
    /// Files of somebody else that had the path of one of ours; set aside.
    #[serde(default)]
    pub displaced: Vec<Taken>,
    /// Files of ours, or about to be written.
    #[serde(default)]
    pub files: Vec<String>,
    /// Directories we made, or were about to make, in the order of making.
    #[serde(default)]
    pub dirs: Vec<String>,
    /// Imported keys.
    #[serde(default)]
    pub rpm_keys: Vec<RpmKey>,
}

/// The journal and its file.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    /// What it says.
    pub journal: Journal,
    /// Why the file was not believed.
    pub problem: Option<String>,
    /// There is no file yet, or no more.
    pub missing: bool,
}

impl Kept {
    /// Reads the journal of the state directory. One that cannot be believed is not: the caller rebuilds it from what
    /// the host shows.
    pub fn read(path: &Path) -> Self {
        let mut missing = false;
        let (journal, problem) = match std::fs::read(path) {
            Ok(bytes) => match unseal::<Journal>(&bytes) {
                Ok(journal) => (journal, None),
                Err(why) => (Journal::default(), Some(why)),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                missing = true;
                (Journal::default(), None)
            }
            Err(e) => (Journal::default(), Some(e.to_string())),
        };
        Kept { path: path.to_owned(), journal, problem, missing }
    }

    /// Makes `change` and saves, if it changes anything. After this returns the disk has it.
    pub fn update(&mut self, disk: &Disk, change: impl FnOnce(&mut Journal)) -> Result<(), DiskError> {
        let mut next = self.journal.clone();
        change(&mut next);
        if next == self.journal && self.problem.is_none() {
            return Ok(());
        }
        if !disk.is_dry() {
            let sealed = seal(&next).map_err(|why| DiskError::File {
                what: "encode",
                path: self.path.clone(),
                source: std::io::Error::other(why),
            })?;
            disk.write(&self.path, &sealed, 0o600, None)?;
        }
        self.journal = next;
        (self.problem, self.missing) = (None, false);
        Ok(())
    }

    /// Is `path` a file of ours?
    pub fn owns(&self, path: &str) -> bool {
        self.journal.files.iter().any(|f| f == path)
    }
}

/// A name beside `original` that nothing has: `X.drydock-backup`, `X.drydock-backup-2` …
pub fn free_name(disk: &Disk, journal: &Journal, original: &str, ending: &str) -> String {
    let is_free = |name: &String| {
        let promised =
            journal.taken.iter().chain(&journal.displaced).any(|t| t.backup == *name || t.newer.as_ref() == Some(name));
        !promised && !exists(&disk.host(name))
    };
    let numbered = (2u64..).map(|n| format!("{original}.{ending}-{n}"));
    std::iter::once(format!("{original}.{ending}")).chain(numbered).find(is_free).unwrap_or_default()
}
