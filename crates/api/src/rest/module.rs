//! Modules of an instance.

use drydock_domain::patch::modules::HostModule;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Module streams that an instance's managed sources offer, and what is enabled or disabled on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModuleList {
    /// When the host's settings last changed; absent: its agent has not told them.
    pub changed_at: Option<Timestamp>,
    /// By name.
    pub modules: Vec<HostModule>,
}
