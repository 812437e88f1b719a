//! Instances and their inventory.

use drydock_domain::host_rules::HostRules;
use std::collections::BTreeMap;

use drydock_domain::advisory::report::UpdatesFrom;
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::{InstanceState, Labels, PendingReason, Reachability};
use drydock_domain::inventory::{Finding, Health, ManagerKind, OsFacts, Package, PackageChange, Update};
use drydock_domain::patch::filter::InstanceFilter;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A managed instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its name: the host name, unique by a suffix (`web-1-2`) when two hosts share one.
    pub name: String,
    /// PENDING, ACTIVE …
    pub state: InstanceState,
    /// Why it waits for a person; only when PENDING.
    pub pending_reason: Option<PendingReason>,
    /// The instance it may be a clone of (same machine-id); only when PENDING for that.
    pub duplicate_of: Option<InstanceId>,
    /// ONLINE, OFFLINE, NEVER_SEEN.
    pub reachability: Reachability,
    /// When the agent last spoke.
    pub last_seen: Option<Timestamp>,
    /// Asked to enrol.
    pub created_at: Timestamp,
    /// Labels.
    pub labels: Labels,
    /// Zone.
    pub zone: String,
    /// Compartment.
    pub compartment: String,
    /// The group it is in.
    #[serde(default)]
    pub group: Option<String>,
    /// The environment it looks through, its own or its group's; absent = it sees the newest snapshots.
    #[serde(default)]
    pub environment: Option<String>,
    /// /etc/machine-id at enrolment.
    pub machine_id: String,
    /// Operating-system facts; absent before the first inventory.
    pub os: Option<OsFacts>,
    /// What the inventory adds up to; absent before the first inventory.
    pub inventory: Option<InventorySummary>,
    /// When its certificate ends; absent before it has one.
    pub certificate_expires_at: Option<Timestamp>,
    /// Changes with every edit; for If-Match.
    pub etag: String,
}

/// Counts of the inventory, for lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InventorySummary {
    /// Installed packages.
    pub packages: u32,
    /// Available updates that are not held.
    pub updates: u32,
    /// Of these, security updates.
    pub security_updates: u32,
    /// Held updates.
    pub held_updates: u32,
    /// The host asks for a reboot.
    pub reboot_required: bool,
    /// Broken repositories.
    pub findings: u32,
    /// When the inventory last changed.
    pub changed_at: Option<Timestamp>,
}

/// What may be edited of an instance; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditInstance {
    /// Replaces all labels.
    pub labels: Option<Labels>,
    /// Replaces the zone.
    pub zone: Option<String>,
}

/// Why a pending instance is rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RejectInstance {
    /// Told to the host's operator.
    pub reason: String,
}

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveTo {
    /// Path of the compartment, for example `/A/web`; `/` is the tenancy.
    pub compartment: String,
}

/// Installed packages of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageList {
    /// Fingerprint of the whole set.
    pub fingerprint: String,
    /// When the set last changed.
    pub changed_at: Timestamp,
    /// Sorted by name; filtered by `q` (part of the name) when asked.
    pub packages: Vec<Package>,
}

/// Available updates of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UpdateList {
    /// When the set last changed.
    pub changed_at: Timestamp,
    /// Sorted by name.
    pub updates: Vec<Update>,
    /// Broken repositories.
    pub findings: Vec<Finding>,
    /// Reboot and restart needs.
    pub health: Health,
    /// Package managers.
    pub managers: Vec<ManagerKind>,
    /// Whose answer the updates are: the server's for hosts that see its sources.
    #[serde(default)]
    pub answered_by: UpdatesFrom,
    /// The server's answer: number of the snapshot that the host sees of each source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshots: BTreeMap<String, u32>,
}

/// What an instance's configuration says of which updates its package manager takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceRules {
    /// When they last changed.
    pub changed_at: Timestamp,
    /// Package managers, the one whose rules these are first.
    pub managers: Vec<ManagerKind>,
    /// The rules; empty = the package manager's defaults.
    pub rules: HostRules,
}

/// One thing that happened to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// `enrolled`, `accepted`, `packages-changed`, `patch-task`, `rebooted`, `revoked` …
    pub kind: String,
    /// For people.
    pub message: String,
    /// Package changes (at most 500; `changes_total` tells how many there were).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<PackageChange>,
    /// How many packages changed.
    #[serde(default)]
    pub changes_total: u32,
    /// The patch task, when it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// Asks which instances a filter reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchInstances {
    /// As in a patch job.
    pub instance_filter: InstanceFilter,
    /// Path of the compartment the job would be in; absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// The active instances that a filter reaches now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MatchedInstances {
    /// All of them, count.
    pub total: u64,
    /// The first 1000 by name.
    pub instances: Vec<NamedInstance>,
    /// Instances that match besides, and that the caller may see and not patch, count.
    #[serde(default)]
    pub not_patchable: u64,
}

/// An instance by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NamedInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
}
