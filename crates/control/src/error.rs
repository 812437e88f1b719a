//! Why an operation did not happen: seven kinds, each with one meaning for every face. What the client reads is the
//! `Display`; what the log reads is the chain of sources.

use drydock_domain::validate::{FieldError, Invalid};
use drydock_store::StoreError;

/// A result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an [`Error`]; each face maps it to its own code in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named object is not there.
    NotFound,
    /// The request is wrong.
    Invalid,
    /// Nobody knows the caller.
    Unauthenticated,
    /// The caller may not.
    Forbidden,
    /// The object is not in a state for that, or somebody changed it meanwhile.
    Conflict,
    /// A part is down or busy; trying later may help.
    Unavailable,
    /// Our fault.
    Internal,
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named object is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// The request is wrong; every field is named.
    #[error("the request is refused: {0}")]
    Invalid(Invalid),
    /// Nobody knows the caller.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller may not, and why.
    #[error("{0}")]
    Forbidden(String),
    /// The object is not in a state for that, or somebody changed it meanwhile.
    #[error("{message}")]
    Conflict {
        /// For people.
        message: String,
        /// The version the caller named is no longer the newest.
        stale: bool,
    },
    /// A part is down or busy; trying later may help.
    #[error("{message}; try again in a moment")]
    Unavailable {
        /// What is.
        message: &'static str,
        /// Why.
        #[source]
        source: Option<StoreError>,
    },
    /// Our fault. The text says nothing of the inside; the log has the source.
    #[error("the server failed to {doing}; its log has the reason under this request's id")]
    Internal {
        /// What it was doing.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound(_) => ErrorKind::NotFound,
            Error::Invalid(_) => ErrorKind::Invalid,
            Error::Unauthenticated(_) => ErrorKind::Unauthenticated,
            Error::Forbidden(_) => ErrorKind::Forbidden,
            Error::Conflict { .. } => ErrorKind::Conflict,
            Error::Unavailable { .. } => ErrorKind::Unavailable,
            Error::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// The wrong fields; empty unless the kind is `Invalid`.
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Error::Invalid(invalid) => &invalid.errors,
            _ => &[],
        }
    }

    /// A conflict because the version the caller named (If-Match) is no longer the newest.
    pub fn is_stale(&self) -> bool {
        matches!(self, Error::Conflict { stale: true, .. })
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Error::Conflict { message: message.into(), stale: false }
    }

    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Error::Invalid(Invalid::one(field, message))
    }
}

/// What a failure of the store means for the caller. (The store's error already names the operation that failed.)
impl From<StoreError> for Error {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Cursor => Error::invalid("cursor", e.to_string()),
            StoreError::BackupNotHere => Error::conflict(e.to_string()),
            e if e.is_full() => {
                let message = "the disk of the server's database is full and nothing was stored: make room there";
                Error::Unavailable { message, source: Some(e) }
            }
            e if e.is_temporary() => Error::Unavailable { message: "the database does not answer", source: Some(e) },
            e => Error::Internal { doing: "read or write its database", source: Box::new(e) },
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Invalid(invalid)
    }
}
