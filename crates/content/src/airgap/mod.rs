//! Snapshots carried to a server without a network: a directory or one tar file with the objects and package files they
//! consist of, all or only what other snapshots do not have, and a manifest that names every file with its checksum and
//! is signed with the repository key of the server it comes from.
//!
//! An import trusts nothing but the given public keys: the manifest must be signed by one of them, every file must be
//! what the manifest says, every object what its name says, and at the end every snapshot must be whole. Then it has the
//! same roots as where it came from. Absent: rows of snapshots; callers make them of [`Imported::announced`].

mod export;
mod import;
#[cfg(test)]
mod tests;

pub use export::{ExportRequest, Exported, export};
pub use import::{Announced, Imported, announced, import, index_units};

use std::path::PathBuf;

use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::Format;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Sha256};
use crate::error::{ContentError, ContentResult};
use crate::snapshot::SnapshotRoot;
use crate::sync::ProgressSink;

/// Version of the manifest's form.
pub const MANIFEST_VERSION: u32 = 1;
/// Files of one export: the packages and nodes of ten large distributions.
pub const FILES_MAX: usize = 1_000_000;
/// Largest manifest, bytes: about 200 for each file.
pub const MANIFEST_MAX_BYTES: u64 = 256 << 20;
/// Largest signature file, bytes.
const SIGNATURE_MAX_BYTES: u64 = 64 << 10;
/// Snapshots of one export.
pub const SNAPSHOTS_MAX: usize = 1000;

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.asc";
/// Tells a manifest from everything else the repository key signs.
const KIND: &str = "drydock-content-export";

/// Where an export lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// One tar file.
    Tar(PathBuf),
}

/// A snapshot and what it is called where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportedSnapshot {
    /// The snapshot.
    pub root: SnapshotRoot,
    /// Name of its source.
    pub source: String,
    /// Its number there.
    pub number: u32,
    /// rpm or deb.
    pub format: Format,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    kind: String,
    version: u32,
    created_at: Timestamp,
    snapshots: Vec<ExportedSnapshot>,
    /// What the sources of these snapshots are there, without secrets: a hint for whoever makes them anew.
    sources: Vec<SourceSpec>,
    /// Package files are in here, too.
    packages: bool,
    /// Snapshots that whoever imports this must have: what is theirs is not in here.
    since: Vec<SnapshotRoot>,
    /// Package files that are not in here, count: those of sources that download on demand, or all.
    missing_packages: u64,
    files: Vec<FileEntry>,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileEntry {
    what: What,
    /// Its name in the store.
    id: Sha256,
    /// Checksum of the file; a blob's is its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    size: u64,
    /// Further digests a blob is known by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Object,
    Blob,
}

impl FileEntry {
    fn path(&self) -> String {
        match self.what {
            What::Object => format!("objects/{}", self.id),
            What::Blob => format!("blobs/{}", self.id),
        }
    }

    fn sha256(&self) -> Sha256 {
        self.sha256.unwrap_or(self.id)
    }
}

fn refused(what: impl Into<String>, problem: impl Into<String>) -> ContentError {
    ContentError::Refused { what: what.into(), problem: problem.into() }
}

fn go_on(progress: &ProgressSink) -> ContentResult<()> {
    if progress.is_cancelled() { Err(ContentError::Cancelled) } else { Ok(()) }
}
