//! Lifecycle environments: dev → test → prod, any names, in the order of their ranks. An environment points at one
//! snapshot of each source promoted into it; a promotion moves the pointer, a rollback moves it back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::SnapshotId;

/// An environment as made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Promotion goes from lower to higher ranks; two environments never have the same.
    pub rank: u32,
}

/// What to promote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promotion {
    /// Sources by name; empty = every source that the environment below has (for the lowest: that this one has).
    #[serde(default)]
    pub sources: Vec<String>,
    /// This snapshot (one source only).
    #[serde(default)]
    pub snapshot: Option<SnapshotId>,
    /// The newest snapshot at that moment.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// Back to the snapshot the environment had before the present one.
    #[serde(default)]
    pub rollback: bool,
    /// Take a snapshot that the environment below never had.
    #[serde(default)]
    pub skip_rank: bool,
    /// Show what would change; change nothing.
    #[serde(default)]
    pub dry_run: bool,
}
