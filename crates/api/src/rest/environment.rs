//! Lifecycle environments and promotions.

use drydock_domain::ids::{EnvironmentId, SnapshotId};
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::unit::UnitChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DiffCounts;

/// A lifecycle environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// As made.
    pub spec: EnvironmentSpec,
    /// Which snapshot of each source its hosts see, sorted by source.
    pub pointers: Vec<EnvironmentPointer>,
    /// Sources attached to every host of it, by name.
    pub sources: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Changes with every edit; for If-Match.
    pub etag: String,
}

/// One snapshot of a source, named shortly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRef {
    /// Its id.
    pub id: SnapshotId,
    /// Its number in the source.
    pub number: u64,
}

/// What an environment points at for one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentPointer {
    /// Name of the source.
    pub source: String,
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// When it was promoted.
    pub moved_at: Timestamp,
    /// By whom.
    pub moved_by: String,
}

/// What a promotion did, or (dry run) would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PromotionResult {
    /// Name of the environment.
    pub environment: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// One entry a source whose pointer moves; empty = everything is there already.
    pub moves: Vec<PromotionMove>,
}

/// One pointer's move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PromotionMove {
    /// Name of the source.
    pub source: String,
    /// Where it pointed; absent = the source was never promoted there.
    pub from: Option<SnapshotRef>,
    /// Where it points now.
    pub to: SnapshotRef,
    /// What changes in the source.
    pub counts: DiffCounts,
    /// The first of the changes (at most 100).
    pub changes: Vec<UnitChange>,
    /// Managed instances that see it, count.
    pub instances: u64,
    /// The first of them by name (at most 100).
    pub instance_names: Vec<String>,
}

/// One earlier move of an environment's pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PointerMove {
    /// Name of the source.
    pub source: String,
    /// Where it pointed; absent = the first promotion, or a snapshot that is gone.
    pub from: Option<SnapshotRef>,
    /// Where it pointed from then on.
    pub to: Option<SnapshotRef>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}
