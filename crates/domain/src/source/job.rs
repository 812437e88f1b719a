//! Content jobs: syncs, derivations, uploads and collections that run in the background, as users see them; and where a
//! snapshot came from.

use serde::{Deserialize, Serialize};

/// What a content job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContentJobKind {
    /// Mirrors an upstream.
    Sync,
    /// Makes a custom source anew from the sources it takes from.
    Derive,
    /// Adds uploaded package files to a local source.
    Upload,
    /// Takes in snapshots that another server exported.
    Import,
    /// Frees what nothing refers to.
    Collect,
}

impl ContentJobKind {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            ContentJobKind::Sync => "SYNC",
            ContentJobKind::Derive => "DERIVE",
            ContentJobKind::Upload => "UPLOAD",
            ContentJobKind::Import => "IMPORT",
            ContentJobKind::Collect => "COLLECT",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        use ContentJobKind::{Collect, Derive, Import, Sync, Upload};
        [Sync, Derive, Upload, Import, Collect].into_iter().find(|k| k.as_str() == text)
    }
}

/// How a content job stands. A job whose server died is PENDING again when its lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContentJobState {
    /// Waits for its turn.
    Pending,
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Given up; its message says why and what to do.
    Failed,
    /// Stopped by a person.
    Canceled,
}

impl ContentJobState {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            ContentJobState::Pending => "PENDING",
            ContentJobState::Running => "RUNNING",
            ContentJobState::Succeeded => "SUCCEEDED",
            ContentJobState::Failed => "FAILED",
            ContentJobState::Canceled => "CANCELED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        use ContentJobState::{Canceled, Failed, Pending, Running, Succeeded};
        [Pending, Running, Succeeded, Failed, Canceled].into_iter().find(|s| s.as_str() == text)
    }

    /// Nothing more happens to it.
    pub fn is_final(self) -> bool {
        !matches!(self, ContentJobState::Pending | ContentJobState::Running)
    }
}

/// Where a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct JobProgress {
    /// What is being done, for people; empty before it began.
    pub stage: String,
    /// Done of this stage (packages, files or bytes: the stage says which).
    pub done: u64,
    /// Of how many; absent while unknown.
    pub total: Option<u64>,
}

/// Where a snapshot came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SnapshotOrigin {
    /// A sync of its upstream.
    Sync,
    /// Made from snapshots of other sources.
    Derived,
    /// Uploaded files.
    Upload,
    /// Exported by another server.
    Import,
}

impl SnapshotOrigin {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            SnapshotOrigin::Sync => "SYNC",
            SnapshotOrigin::Derived => "DERIVED",
            SnapshotOrigin::Upload => "UPLOAD",
            SnapshotOrigin::Import => "IMPORT",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        use SnapshotOrigin::{Derived, Import, Sync, Upload};
        [Sync, Derived, Upload, Import].into_iter().find(|o| o.as_str() == text)
    }
}
