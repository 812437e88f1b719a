//! Background work on sources, and what a collection freed.

use drydock_domain::ids::ContentJobId;
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Background work on a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ContentJob {
    /// Its id.
    pub id: ContentJobId,
    /// What it does.
    pub kind: ContentJobKind,
    /// Name of the source; absent for a collection.
    pub source: Option<String>,
    /// PENDING … SUCCEEDED.
    pub state: ContentJobState,
    /// What it is at.
    pub progress: JobProgress,
    /// Result or failure in one line.
    pub message: String,
    /// Oddities noted, count; the job alone shows them.
    pub findings_total: u32,
    /// Who asked for it; `server` for syncs that were due.
    pub requested_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
}

/// A content job with the oddities it noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ContentJobDetail {
    /// What lists show.
    #[serde(flatten)]
    pub job: ContentJob,
    /// At most 1,000.
    pub findings: Vec<Finding>,
}

/// How much of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Freed {
    /// Files.
    pub count: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
}

/// What a collection freed, or (dry run) would free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CollectReport {
    /// Nothing was freed.
    pub dry_run: bool,
    /// Parts of snapshots.
    pub objects: Freed,
    /// Package files.
    pub blobs: Freed,
    /// Published metadata files.
    pub metadata: Freed,
    /// Things that look unused and are kept, and why; a sample.
    pub kept: Vec<String>,
}
