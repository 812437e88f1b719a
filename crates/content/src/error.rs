//! What can go wrong with files and stored content. Failures of a sync are [`crate::SyncError`], of a download
//! [`crate::fetch::FetchError`]; both say what an operator does about it.

use std::io;
use std::path::{Path, PathBuf};

/// A result of the content directory.
pub type ContentResult<T> = Result<T, ContentError>;

/// Why stored content could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file operation failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done, for example `write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file system of the content directory is full (or the user's quota used up).
    #[error(
        "cannot {doing} {}: no space left; nothing half-written is visible. Free space there, or collect garbage \
         (`drydock content collect`), then try again",
        path.display()
    )]
    Full {
        /// What was being done, for example `write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// Something that stored content refers to is not there.
    #[error("{what} {id} is missing in the content directory; restore it from a backup, or sync the source again")]
    Missing {
        /// What kind of thing, for example `tree node`.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// Stored bytes are not what was written.
    #[error("{what} {id} is damaged: {problem}; restore it from a backup, or remove it and sync the source again")]
    Damaged {
        /// What kind of thing, for example `tree node`.
        what: &'static str,
        /// Its name.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// Something is larger than this server handles.
    #[error("{what} is beyond the limit of {limit}")]
    TooLarge {
        /// What, with its name.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The caller asked for something that cannot be.
    #[error("{what}: {problem}")]
    Refused {
        /// What was asked, with its object.
        what: String,
        /// Why not.
        problem: String,
    },
    /// Signing or reading a repository key failed.
    #[error(transparent)]
    OpenPgp(#[from] crate::openpgp::OpenPgpError),
    /// The work was given up because nobody waits for it any more.
    #[error("cancelled")]
    Cancelled,
}

impl ContentError {
    /// A file operation failed; a full disk becomes [`ContentError::Full`].
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContentError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ContentError::Full { doing, path },
            _ => ContentError::Io { doing, path, source },
        }
    }

    /// Stored bytes are not what was written.
    pub fn damaged(what: &'static str, id: impl ToString, problem: impl Into<String>) -> ContentError {
        ContentError::Damaged { what, id: id.to_string(), problem: problem.into() }
    }

    /// The disk is full: retrying helps once there is space.
    pub fn is_full(&self) -> bool {
        matches!(self, ContentError::Full { .. })
    }
}
