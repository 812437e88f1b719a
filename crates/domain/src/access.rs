//! Who may do what: three roles, one table. Compartment policies in a statement language are another issue's; the
//! permissions named here are the ones they will grant.

use serde::{Deserialize, Serialize};

/// The role of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, including enrolment profiles and access tokens.
    Administrator,
    /// Starts and cancels patch jobs, accepts hosts, edits labels.
    Operator,
    /// Reads.
    Viewer,
}

impl Role {
    /// The stored and shown name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Operator => "operator",
            Role::Viewer => "viewer",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Role::Administrator, Role::Operator, Role::Viewer].into_iter().find(|r| r.as_str() == text)
    }
}

/// One thing a principal may be allowed to do. Each operation of `control` asks for exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Permission {
    /// Read instances, inventory, history.
    InstanceRead,
    /// Edit labels and zone, accept, reject, revoke and delete instances.
    InstanceManage,
    /// Read enrolment profiles (never their tokens).
    EnrolmentRead,
    /// Create and revoke enrolment profiles.
    EnrolmentManage,
    /// Read patch jobs, tasks and outputs.
    PatchRead,
    /// Start and cancel patch jobs.
    PatchManage,
    /// Create, list and revoke access tokens.
    AccessManage,
    /// Read the audit records.
    AuditRead,
}

/// The table: may `role` do `permission`?
pub fn allows(role: Role, permission: Permission) -> bool {
    use Permission::{
        AccessManage, AuditRead, EnrolmentManage, EnrolmentRead, InstanceManage, InstanceRead, PatchManage, PatchRead,
    };
    match (role, permission) {
        (Role::Administrator, _) => true,
        (Role::Operator, InstanceRead | InstanceManage | EnrolmentRead | PatchRead | PatchManage) => true,
        (Role::Operator, EnrolmentManage | AccessManage | AuditRead) => false,
        (Role::Viewer, InstanceRead | PatchRead | EnrolmentRead) => true,
        (Role::Viewer, InstanceManage | EnrolmentManage | PatchManage | AccessManage | AuditRead) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_changes_nothing_and_an_operator_makes_no_tokens() {
        for p in [Permission::InstanceManage, Permission::EnrolmentManage, Permission::PatchManage, Permission::AccessManage] {
            assert!(!allows(Role::Viewer, p), "{p:?}");
            assert!(allows(Role::Administrator, p), "{p:?}");
        }
        assert!(allows(Role::Operator, Permission::PatchManage));
        assert!(!allows(Role::Operator, Permission::AccessManage));
    }
}
