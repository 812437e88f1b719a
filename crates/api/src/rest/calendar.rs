//! Maintenance windows, freeze calendars and groups of reboot slots.

use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use drydock_domain::work::Interval;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A maintenance window with its next openings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowView {
    /// What it says.
    pub spec: MaintenanceWindow,
    /// Open now, or next, and the openings after that: at most five. Freezes of hosts are not taken off.
    pub openings: Vec<Opening>,
    /// Path of its compartment: it reaches instances there and below.
    #[serde(default)]
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Changes with every edit.
    pub etag: String,
}

/// From a moment to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl From<Interval> for Opening {
    fn from(interval: Interval) -> Self {
        Opening { from: interval.from, to: interval.to }
    }
}

/// A freeze calendar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FreezeCalendarView {
    /// What it says.
    pub spec: FreezeCalendar,
    /// A period of it is on now.
    pub frozen: bool,
    /// Path of its compartment: it reaches instances there and below.
    #[serde(default)]
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Changes with every edit.
    pub etag: String,
}

/// A group of reboot slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RebootSlotGroup {
    /// What it says.
    pub spec: RebootSlots,
    /// Who holds a slot, longest first.
    pub holders: Vec<SlotHolder>,
    /// Path of its compartment: it reaches instances there and below.
    #[serde(default)]
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Changes with every edit.
    pub etag: String,
}

/// Who holds a reboot slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SlotHolder {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// The task.
    pub task: TaskId,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// Free again after this moment.
    pub expires_at: Timestamp,
}

/// Whose slot is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseSlot {
    /// The host, by name or id.
    pub instance: String,
}
