//! Software sources, their snapshots, and what a host sees of them.

use drydock_domain::ids::{InstanceId, SnapshotId, SourceId};
use drydock_domain::inventory::Finding;
use drydock_domain::source::host::{HostSourcesReport, SourcesMode};
use drydock_domain::source::job::SnapshotOrigin;
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::{SnapshotStats, Unit, UnitChange};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ContentJob;

/// A software source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Path of its compartment.
    #[serde(default)]
    pub compartment: String,
    /// As made or edited; without the upstream's client key and without the proxy's password.
    pub spec: SourceSpec,
    /// The newest snapshot; absent before the first sync.
    pub current: Option<Snapshot>,
    /// The newest background work on it.
    pub last_job: Option<ContentJob>,
    /// When its upstream was last read with success (also when nothing was new).
    pub last_synced_at: Option<Timestamp>,
    /// When it is synced again by itself; absent = only when asked.
    pub next_sync_at: Option<Timestamp>,
    /// Syncs that failed since the last one that did not.
    pub failures: u32,
    /// Hosts and environments it is attached to, count.
    pub attachments: u64,
    /// Custom sources that take from it, and its children, by name.
    pub used_by: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Changes with every edit; for If-Match.
    pub etag: String,
}

/// A snapshot of a source: never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// Name of the source.
    pub source: String,
    /// 1, 2, 3 … in the source.
    pub number: u32,
    /// Hash of everything in it, lower-case hex: equal roots are equal content.
    pub root: String,
    /// Sizes.
    pub stats: SnapshotStats,
    /// What made it.
    pub origin: SnapshotOrigin,
    /// When.
    pub created_at: Timestamp,
    /// Oddities noted while it was made, count; the snapshot alone shows them.
    pub findings_total: u32,
    /// Environments that point at it, by name.
    pub environments: Vec<String>,
    /// It is the newest of its source.
    pub latest: bool,
}

/// One snapshot of a source, named shortly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRef {
    /// Its id.
    pub id: SnapshotId,
    /// Its number in the source.
    pub number: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Units of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnitPage {
    /// The snapshot they are of.
    pub snapshot: SnapshotRef,
    /// In the order of their indexes and names.
    pub items: Vec<Unit>,
    /// Give it as `cursor` to read on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A snapshot with the oddities noted while it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotDetail {
    /// What lists show.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// At most 1,000.
    pub findings: Vec<Finding>,
}

/// How many units differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DiffCounts {
    /// Only in the newer.
    pub added: u64,
    /// Only in the older.
    pub removed: u64,
    /// The same file with other metadata.
    pub changed: u64,
    /// Advisories only in the newer one, or with other text.
    pub advisories: u64,
}

/// What differs between two snapshots of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotDiff {
    /// Name of the source.
    pub source: String,
    /// The older one.
    pub from: SnapshotRef,
    /// The newer one.
    pub to: SnapshotRef,
    /// Of all differences.
    pub counts: DiffCounts,
    /// The first of them (`limit`), sorted by name.
    pub changes: Vec<UnitChange>,
    /// There are more than shown.
    pub truncated: bool,
}

/// What a managed instance sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceSources {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// What becomes of the repository definitions the host had before.
    pub mode: SourcesMode,
    /// The environment it looks through, its own or that of its group; absent = it sees the newest snapshots.
    pub environment: Option<String>,
    /// Everything attached, sorted by name.
    pub sources: Vec<InstanceSource>,
    /// Generation of the document for the host; 0 = none.
    pub generation: u64,
    /// The host has applied the newest document.
    pub applied: bool,
    /// What the host last told; absent until it told something.
    pub report: Option<HostSourcesReport>,
    /// When.
    pub reported_at: Option<Timestamp>,
}

/// One source attached to a managed instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceSource {
    /// Name of the source.
    pub name: String,
    /// What it is attached to: `instance`, `environment <name>`.
    pub attached_to: Vec<String>,
    /// Path below the server's URL; absent: the host does not see the source.
    pub path: Option<String>,
    /// The snapshot the host sees.
    pub snapshot: Option<SnapshotRef>,
    /// Why the host does not see the source.
    pub problem: Option<String>,
}

/// What to change of a managed instance's sources; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditInstanceSources {
    /// Sources to attach to the instance itself, by name.
    pub attach: Vec<String>,
    /// Sources to detach from the instance itself, by name.
    pub detach: Vec<String>,
    /// What becomes of the repository definitions the host had before.
    pub mode: Option<SourcesMode>,
    /// Name of an environment; an empty text takes the instance out of its environment.
    pub environment: Option<String>,
}

/// Which sources to attach to and detach from a lifecycle environment or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditAttachments {
    /// Sources to attach, by name.
    pub attach: Vec<String>,
    /// Sources to detach, by name.
    pub detach: Vec<String>,
}

/// A key that signs the metadata of this server's repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RepositoryKey {
    /// Fingerprint, upper-case hex.
    pub fingerprint: String,
    /// Metadata is signed with it now; `false`: hosts know it already (or still), nothing more.
    pub signing: bool,
    /// The public key, ASCII-armoured.
    pub public_key: String,
}

/// The keys of this server's repositories; the one that signs is the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RepositoryKeys {
    /// The keys.
    pub keys: Vec<RepositoryKey>,
}
