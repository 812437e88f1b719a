//! Lifecycle environments and promotions.

use drydock_domain::ids::{EnvironmentId, InstanceId};
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::unit::UnitChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DiffCounts, SnapshotRef};

/// A lifecycle environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// Path of its compartment.
    #[serde(default)]
    pub compartment: String,
    /// As made.
    pub spec: EnvironmentSpec,
    /// Which snapshot of each source its hosts see, sorted by source.
    pub pointers: Vec<EnvironmentPointer>,
    /// Sources attached to every host of it, by name.
    pub sources: Vec<String>,
    /// Managed instances in it, count.
    pub instances: u64,
    /// When it was made.
    pub created_at: Timestamp,
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
    /// The source has a newer snapshot.
    pub behind: bool,
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
    /// One entry a source whose pointer moves, by name.
    pub moves: Vec<PromotionMove>,
    /// Sources that already pointed there, by name.
    pub unchanged: Vec<String>,
}

/// One source's part of a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PromotionMove {
    /// Name of the source.
    pub source: String,
    /// Where the environment points before it; absent = nowhere.
    pub from: Option<SnapshotRef>,
    /// Where it points after it.
    pub to: SnapshotRef,
    /// What changes in the source; everything is `added` at the first promotion.
    pub counts: DiffCounts,
    /// The first of these changes (at most 100).
    #[serde(default)]
    pub changes: Vec<UnitChange>,
    /// Managed instances that see the source through the environment, count.
    pub instances: u64,
    /// Of these, the ones with an installed package that gets a newer version by it, count.
    pub instances_affected: u64,
    /// The first of them, those with most updates first.
    pub affected: Vec<AffectedInstance>,
    /// New versions that instances would be offered, those for most instances first (cut).
    pub upgrades: Vec<OfferedUpgrade>,
    /// The counts of instances and upgrades are lower bounds: there was too much to look at all of it.
    pub truncated: bool,
}

/// A managed instance that a promotion brings updates to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AffectedInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Packages with a newer version, count.
    pub updates: u32,
}

/// A version that a promotion offers to instances with an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OfferedUpgrade {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// The newest version offered.
    pub to: String,
    /// Instances with an older one, count.
    pub instances: u64,
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
