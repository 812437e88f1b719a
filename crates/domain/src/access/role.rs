//! Roles of access tokens and the coarse permissions they are made of. What each of those stands for in the statement language
//! is in [`operations`](super::operations); how roles become statements is in [`builtin`](super::builtin).

use serde::{Deserialize, Serialize};

/// The role of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, including enrolment profiles and access tokens.
    Administrator,
    /// Starts and cancels patch jobs, accepts hosts, edits labels, runs software sources and environments, imports advisories, applies policies.
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
    /// Read software sources, snapshots, lifecycle environments, content jobs, and the content itself.
    SourceRead,
    /// Create, edit, delete, sync and fill software sources.
    SourceManage,
    /// Create and delete lifecycle environments; promote into them and roll them back.
    EnvironmentManage,
    /// Read advisories, vulnerabilities, where they are open, and their feeds.
    AdvisoryRead,
    /// Import and delete feeds of advisories; accept vulnerabilities for a while; set how soon they have to be closed.
    AdvisoryManage,
    /// Read policy assignments, previews, compliance, drift events, and the names of secrets.
    PolicyRead,
    /// Apply, delete, cancel and resume policy assignments; preview and check on demand.
    PolicyManage,
    /// Set and delete secrets. Nobody reads their values.
    SecretManage,
}

impl Permission {
    /// All of them.
    pub const ALL: [Permission; 16] = [
        Permission::InstanceRead,
        Permission::InstanceManage,
        Permission::EnrolmentRead,
        Permission::EnrolmentManage,
        Permission::PatchRead,
        Permission::PatchManage,
        Permission::AccessManage,
        Permission::AuditRead,
        Permission::SourceRead,
        Permission::SourceManage,
        Permission::EnvironmentManage,
        Permission::AdvisoryRead,
        Permission::AdvisoryManage,
        Permission::PolicyRead,
        Permission::PolicyManage,
        Permission::SecretManage,
    ];
}

/// The table: may `role` do `permission`?
pub fn allows(role: Role, permission: Permission) -> bool {
    use Permission::{
        AccessManage, AdvisoryManage, AdvisoryRead, AuditRead, EnrolmentManage, EnrolmentRead, EnvironmentManage, InstanceManage,
        InstanceRead, PatchManage, PatchRead, PolicyManage, PolicyRead, SecretManage, SourceManage, SourceRead,
    };
    match (role, permission) {
        (Role::Administrator, _) => true,
        (_, InstanceRead | EnrolmentRead | PatchRead | SourceRead | AdvisoryRead | PolicyRead) => true,
        (Role::Operator, InstanceManage | PatchManage | SourceManage | EnvironmentManage | AdvisoryManage | PolicyManage) => true,
        (Role::Operator, EnrolmentManage | AccessManage | AuditRead | SecretManage) => false,
        (Role::Viewer, InstanceManage | EnrolmentManage | PatchManage | SourceManage | EnvironmentManage | AdvisoryManage) => {
            false
        }
        (Role::Viewer, AccessManage | AuditRead | PolicyManage | SecretManage) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use Permission as P;
        let operator = [
            P::InstanceRead,
            P::InstanceManage,
            P::EnrolmentRead,
            P::PatchRead,
            P::PatchManage,
            P::SourceRead,
            P::SourceManage,
            P::EnvironmentManage,
            P::AdvisoryRead,
            P::AdvisoryManage,
            P::PolicyRead,
            P::PolicyManage,
        ];
        let viewer = [P::InstanceRead, P::EnrolmentRead, P::PatchRead, P::SourceRead, P::AdvisoryRead, P::PolicyRead];
        for permission in P::ALL {
            assert!(allows(Role::Administrator, permission), "{permission:?}");
            assert_eq!(allows(Role::Operator, permission), operator.contains(&permission), "{permission:?}");
            assert_eq!(allows(Role::Viewer, permission), viewer.contains(&permission), "{permission:?}");
        }
    }
}
