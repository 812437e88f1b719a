//! Which sources a host sees, through which environment, and why one that is attached is not visible. Pure.

use serde::{Deserialize, Serialize};

use crate::ids::{EnvironmentId, GroupId, InstanceId};

/// What a source is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttachedTo {
    /// One instance.
    Instance(InstanceId),
    /// Every instance of a group.
    Group(GroupId),
    /// Every instance in an environment.
    Environment(EnvironmentId),
}

impl AttachedTo {
    /// The stored name of the kind, for example `INSTANCE`.
    pub fn kind(self) -> &'static str {
        match self {
            AttachedTo::Instance(_) => "INSTANCE",
            AttachedTo::Group(_) => "GROUP",
            AttachedTo::Environment(_) => "ENVIRONMENT",
        }
    }
}
