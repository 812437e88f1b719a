//! What is there before anybody wrote a policy: three groups and the policies that give them what the roles of access tokens
//! always meant, and the one by which agents speak for their own hosts. They come with the program and grow with it; nobody edits or deletes them. `deny` statements narrow them
//! like any others, also for administrators.

use std::fmt::Write as _;

use super::compile::Policy;
use super::error::BadStatement;
use super::operations::COARSE;
use super::request::Membership;
use super::role::{Permission, Role, allows};

/// Name of the policy that gives `Operators` and `Viewers` their rights.
pub const ROLES_POLICY: &str = "drydock-roles";
/// Name of the policy that gives `Administrators` everything.
pub const ADMINISTRATORS_POLICY: &str = "drydock-administrators";

/// Name of the policy that lets agents speak for their hosts.
pub const AGENTS_POLICY: &str = "drydock-agents";

/// All of them.
pub const POLICIES: [&str; 3] = [ADMINISTRATORS_POLICY, ROLES_POLICY, AGENTS_POLICY];

/// A group that is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinGroup {
    /// Its id.
    pub id: &'static str,
    /// Its name in statements.
    pub name: &'static str,
    /// The role whose rights it has.
    pub role: Role,
    /// For people.
    pub description: &'static str,
}

/// The groups that are always there.
pub const BUILTIN_GROUPS: [BuiltinGroup; 3] = [
    BuiltinGroup {
        id: "administrators",
        name: "Administrators",
        role: Role::Administrator,
        description: "may do everything in the tenancy",
    },
    BuiltinGroup {
        id: "operators",
        name: "Operators",
        role: Role::Operator,
        description: "read everything but audit records and change everything but access, in the whole tenancy",
    },
    BuiltinGroup {
        id: "viewers",
        name: "Viewers",
        role: Role::Viewer,
        description: "read hosts, jobs, sources, advisories, policies in the whole tenancy",
    },
];

/// The group of a role.
pub fn group_of(role: Role) -> Membership {
    let group = BUILTIN_GROUPS.into_iter().find(|g| g.role == role);
    group.map_or_else(|| Membership::new("", None, ""), |g| Membership::new(g.id, None, g.name))
}

/// The group with this name, in any case.
pub fn find_group(name: &str) -> Option<BuiltinGroup> {
    BUILTIN_GROUPS.into_iter().find(|g| g.name.eq_ignore_ascii_case(name))
}

/// The built-in policies as text: name and statements.
pub fn texts() -> Vec<(&'static str, String)> {
    let mut roles = String::new();
    for role in [Role::Operator, Role::Viewer] {
        let group = group_of(role);
        for permission in Permission::ALL.into_iter().filter(|p| allows(role, *p)) {
            let rights = COARSE.iter().find(|(p, _)| *p == permission).map_or(&[][..], |(_, rights)| *rights);
            for some in rights.chunks(super::NAMES_MAX) {
                let _ = writeln!(roles, "allow group {} to {{{}}} in tenancy", group.name(), some.join(", "));
            }
        }
    }
    let everything = "allow group Administrators to manage all-resources in tenancy\n".to_owned();
    let agents = "allow resource instance to {OSMH_MANAGED_INSTANCE_ACCESS} in tenancy \
                  where request.principal.id = target.managed-instance.id\n";
    vec![(ADMINISTRATORS_POLICY, everything), (ROLES_POLICY, roles), (AGENTS_POLICY, agents.to_owned())]
}

/// The built-in policies, attached to `tenancy` (the id of the root).
pub fn policies(tenancy: &str) -> Result<Vec<Policy>, BadStatement> {
    texts().into_iter().map(|(name, text)| Policy::parse(name, tenancy, &text)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::compartment::{Compartment, Tree};
    use super::super::compile::compile;
    use super::super::decide::decide;
    use super::super::operations::OPERATIONS;
    use super::super::permissions::Right;
    use super::super::request::{Facts, Principal, Resource};
    use super::*;

    #[test]
    fn members_of_the_groups_may_what_the_roles_always_could() {
        let root = Compartment { id: "t".to_owned(), name: "tenancy".to_owned(), parent: None };
        let inner = Compartment { id: "a".to_owned(), name: "A".to_owned(), parent: Some("t".to_owned()) };
        let tree = Tree::build(&[root, inner]).expect("a tree");
        let compiled = compile(&policies("t").expect("they are statements"), tree);
        assert_eq!(compiled.misplaced(), &[]);
        for role in [Role::Administrator, Role::Operator, Role::Viewer] {
            let who = Principal::service_account("x", "x").in_group(&group_of(role));
            for operation in OPERATIONS {
                for name in operation.rights {
                    let right = Right::find(name).expect("in the table");
                    let resource = Resource::in_compartment("a");
                    let decision = decide(&compiled, &who, right, &resource, &Facts::at(Timestamp::UNIX_EPOCH));
                    assert_eq!(decision.is_allowed(), allows(role, operation.coarse), "{role:?} {}: {name}", operation.name);
                }
            }
        }
    }
}
