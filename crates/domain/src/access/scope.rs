//! What somebody may see of a list: the compartments in which they hold the permissions that the list asks for. Conditions are
//! decided once for each compartment; variables of single things (`target.…` but the compartment's) do not apply to a list,
//! so a statement under such a condition neither shows nor hides anything in it (the vendor's rule, reference 4.1, 4.4).

use super::compartment::At;
use super::compile::Compiled;
use super::decide::decide_all;
use super::permissions::Right;
use super::request::{Facts, Principal, Resource};

/// Compartments in which somebody holds some permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Everywhere,
    /// In those with these paths (`/`, `/A/web`), sorted; maybe in none.
    In(Vec<String>),
}

impl Scope {
    /// Nowhere.
    pub fn is_nowhere(&self) -> bool {
        matches!(self, Scope::In(paths) if paths.is_empty())
    }

    /// Does it hold in the compartment with this path?
    pub fn holds_in(&self, path: &str) -> bool {
        match self {
            Scope::Everywhere => true,
            Scope::In(paths) => paths.binary_search_by(|own| own.as_str().cmp(path)).is_ok(),
        }
    }

    /// What is left of it in the compartment `path` and everything below.
    #[must_use]
    pub fn below(self, path: &str, all: impl Iterator<Item = String>) -> Scope {
        if path == "/" {
            return self;
        }
        let paths: Vec<String> = match self {
            Scope::Everywhere => all.collect(),
            Scope::In(paths) => paths,
        };
        Scope::In(paths.into_iter().filter(|own| is_below(own, path)).collect())
    }

    /// Where both hold.
    #[must_use]
    pub fn and(self, other: Scope) -> Scope {
        match (self, other) {
            (Scope::Everywhere, other) => other,
            (own, Scope::Everywhere) => own,
            (Scope::In(own), other) => Scope::In(own.into_iter().filter(|path| other.holds_in(path)).collect()),
        }
    }
}

/// Is the compartment `path` the compartment `outer` or inside it? Both are paths.
pub fn is_below(path: &str, outer: &str) -> bool {
    outer == "/" || path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// The path of a compartment: `/` is the tenancy, `/A/web` lies two levels below.
pub fn path_of(compiled: &Compiled, at: At) -> String {
    if at == compiled.tree().root() {
        return "/".to_owned();
    }
    format!("/{}", compiled.tree().path(at).replace(':', "/"))
}

/// Where somebody holds all of `rights`.
pub fn scope(compiled: &Compiled, principal: &Principal, rights: &[Right], facts: &Facts) -> Scope {
    let tree = compiled.tree();
    let mut held = Vec::new();
    let mut all = true;
    for at in tree.within(tree.root()) {
        let resource = Resource::in_compartment(tree.id(at));
        if decide_all(compiled, principal, rights, &resource, facts).is_allowed() {
            held.push(path_of(compiled, at));
        } else {
            all = false;
        }
    }
    if all {
        return Scope::Everywhere;
    }
    held.sort_unstable();
    Scope::In(held)
}

/// Does a statement about somebody and this permission have a condition? If none does, one decision holds for everything in a
/// compartment.
pub fn is_conditional(compiled: &Compiled, principal: &Principal, right: Right) -> bool {
    let buckets = principal.keys().iter().filter_map(|key| compiled.by_subject.get(key));
    buckets.flat_map(|b| b.allows.iter().chain(&b.denies)).any(|entry| entry.rights.has(right) && entry.check.is_some())
}

/// Does some statement give the permission to somebody somewhere, conditions and `deny` left aside? For showing buttons, not for
/// decisions.
pub fn maybe_somewhere(compiled: &Compiled, principal: &Principal, right: Right) -> bool {
    let buckets = principal.keys().iter().filter_map(|key| compiled.by_subject.get(key));
    buckets.flat_map(|bucket| &bucket.allows).any(|entry| entry.rights.has(right))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::compartment::{Compartment, Tree};
    use super::super::compile::{Policy, compile};
    use super::super::request::Membership;
    use super::*;

    fn compiled(text: &str) -> Compiled {
        let one = |id: &str, name: &str, parent: Option<&str>| Compartment {
            id: id.to_owned(),
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
        };
        let all = [one("t", "tenancy", None), one("a", "A", Some("t")), one("w", "web", Some("a")), one("b", "B", Some("t"))];
        let policy = Policy::parse("p", "t", text).expect("statements");
        compile(&[policy], Tree::build(&all).expect("a tree"))
    }

    fn where_held(text: &str) -> Scope {
        let who = Principal::user("u", "ann", false).in_group(&Membership::new("g", None, "G"));
        let right = Right::find("DRYDOCK_INSTANCE_INSPECT").expect("known");
        scope(&compiled(text), &who, &[right], &Facts::at(Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_list_shows_what_lies_in_the_compartments_where_it_may_be_seen() {
        let some = |paths: &[&str]| Scope::In(paths.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(where_held("allow group G to manage drydock-family in tenancy"), Scope::Everywhere);
        assert_eq!(where_held("allow group G to inspect drydock-instances in compartment A"), some(&["/A", "/A/web"]));
        assert_eq!(where_held("allow group Other to inspect drydock-instances in tenancy"), some(&[]));
        let denied = "allow group G to inspect drydock-instances in tenancy\n\
                      deny group G to inspect drydock-instances in compartment A:web";
        assert_eq!(where_held(denied), some(&["/", "/A", "/B"]));
        let by_name = "allow group G to inspect drydock-instances in tenancy where target.compartment.name = 'B'";
        assert_eq!(where_held(by_name), some(&["/B"]));
        let by_one = "allow group G to inspect drydock-instances in tenancy where target.managed-instance.id = 'i-1'";
        assert_eq!(where_held(by_one), some(&[]), "a condition on one thing shows nothing in a list");
    }

    #[test]
    fn paths_lie_in_each_other_by_whole_names() {
        assert!(is_below("/A/web", "/A") && is_below("/A", "/A") && is_below("/A", "/"));
        assert!(!is_below("/AB", "/A") && !is_below("/", "/A") && !is_below("/A", "/A/web"));
        let all = || ["/", "/A", "/A/web", "/B"].iter().map(|p| (*p).to_owned());
        assert_eq!(Scope::Everywhere.below("/A", all()), Scope::In(vec!["/A".into(), "/A/web".into()]));
        assert_eq!(Scope::Everywhere.below("/", all()), Scope::Everywhere);
        let both = Scope::In(vec!["/A".into(), "/B".into()]).and(Scope::In(vec!["/B".into()]));
        assert!(both.holds_in("/B") && !both.holds_in("/A") && !both.is_nowhere());
    }
}
