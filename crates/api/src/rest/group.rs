//! Managed instance groups and their members.

use drydock_domain::group::{GroupSpec, OsFamily};
use drydock_domain::ids::{GroupId, InstanceId};
use drydock_domain::instance::InstanceState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::instance::NamedInstance;

/// A managed instance group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// As made or last edited.
    pub spec: GroupSpec,
    /// What all its members are; absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<OsFamily>,
    /// Sources attached to every member of it, by name.
    pub sources: Vec<String>,
    /// Its members, count.
    pub instances: u64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// An instance as a member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// PENDING, ACTIVE …
    pub state: InstanceState,
    /// Its system, for people.
    pub os: String,
    /// How it differs from what the group is: its system was changed since it was put in. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// What of a group to replace; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditGroup {
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name of the lifecycle environment its members look through; empty = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// Which instances to put into a group and to take out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditMembers {
    /// Instances to put in, by name or id.
    pub add: Vec<String>,
    /// Instances to take out, by name or id.
    pub remove: Vec<String>,
}

/// Which instances to put into a group: those that match a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMatching {
    /// For example `os.id = ol and label env=prod`.
    pub filter: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of the instances that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AddedMembers {
    /// The group afterwards.
    pub group: Group,
    /// Instances put in (with a dry run: that would be), count.
    pub added_total: u64,
    /// The first 1000 of them by name.
    pub added: Vec<NamedInstance>,
    /// Instances that were in it before, count.
    pub already_members: u64,
    /// Instances that match and do not fit, count.
    pub left_out_total: u64,
    /// The first 1000 of them by name.
    pub left_out: Vec<LeftOutInstance>,
}

/// An instance that matches and does not fit into the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeftOutInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Why, for people.
    pub why: String,
}
