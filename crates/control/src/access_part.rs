//! The statements that decide, put together once and again when something that decides has changed. A stored policy that
//! cannot be read (its text came from elsewhere, or a later version wrote it) closes everything but what administrators may:
//! it may have held a `deny`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::access::builtin;
use drydock_domain::access::compartment::{Compartment, Tree};
use drydock_domain::access::compile::{Compiled, Policy, compile};
use drydock_domain::access::dynamic_group::{DynamicGroup, Join, MatchingRules, MemberFacts, groups_of};
use drydock_domain::access::request::{Membership, Principal};
use drydock_domain::access::scope::path_of;
use drydock_domain::instance::Labels;
use drydock_store::{Connection, access_policies, compartments, dynamic_groups};

use crate::Control;
use crate::error::{Error, Result};

/// Id and name of the root of all compartments.
pub(crate) const TENANCY: &str = "tenancy";
/// Its path.
pub(crate) const ROOT: &str = "/";

/// What decides, at one moment.
pub(crate) struct Loaded {
    /// See [`compartments::access_version`].
    version: i64,
    /// The statements in their places.
    pub(crate) compiled: Compiled,
    /// Ids of compartments by their paths.
    ids: HashMap<String, String>,
    /// Dynamic groups, read.
    dynamic: Vec<DynamicGroup>,
}

impl Loaded {
    /// Id of the compartment with this path.
    pub(crate) fn id_of(&self, path: &str) -> Option<&str> {
        self.ids.get(path).map(String::as_str)
    }

    /// An instance as statements see it, and the names of the dynamic groups it is in.
    pub(crate) fn instance(&self, id: &str, name: &str, compartment: &str, labels: &Labels) -> (Principal, Vec<String>) {
        let lies = self.id_of(compartment).unwrap_or_default();
        let facts = MemberFacts::instance(id, lies);
        let facts = labels.iter().fold(facts, |facts, (key, value)| facts.label(key, value));
        let groups = groups_of(&self.dynamic, &facts);
        let names = groups.iter().map(|group| group.name().to_owned()).collect();
        (groups.into_iter().fold(Principal::instance(id, name), Principal::in_dynamic_group), names)
    }

    /// Are there any dynamic groups?
    pub(crate) fn has_dynamic_groups(&self) -> bool {
        !self.dynamic.is_empty()
    }

    /// All paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        self.ids.keys().cloned()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct AccessPart {
    loaded: Mutex<Option<Arc<Loaded>>>,
}

impl AccessPart {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compartments as statements see them: the tenancy, and those that are stored.
pub(crate) fn tree_of(stored: &[compartments::CompartmentRecord]) -> Result<(Tree, HashMap<String, String>)> {
    let mut ids: HashMap<String, String> = HashMap::from([(ROOT.to_owned(), TENANCY.to_owned())]);
    ids.extend(stored.iter().map(|own| (own.path.clone(), own.id.to_string())));
    let mut all = vec![Compartment { id: TENANCY.to_owned(), name: TENANCY.to_owned(), parent: None }];
    for own in stored {
        let (outer, name) = split(&own.path);
        let parent = ids.get(outer).cloned();
        all.push(Compartment {
            id: own.id.to_string(),
            name: name.to_owned(),
            parent: parent.or_else(|| Some(outer.to_owned())),
        });
    }
    let tree = Tree::build(&all).map_err(|e| Error::conflict(e.to_string()))?;
    Ok((tree, ids))
}

/// `/A/web` → (`/A`, `web`).
pub(crate) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => (ROOT, name),
        Some(parts) => parts,
        None => (ROOT, path),
    }
}

impl Control {
    /// What decides now.
    pub(crate) async fn access(&self) -> Result<Arc<Loaded>> {
        let mut c = self.read().await?;
        let version = compartments::access_version(&mut c).await?;
        let kept = self.access_part().lock().clone();
        if let Some(kept) = kept.filter(|kept| kept.version == version) {
            return Ok(kept);
        }
        let loaded = Arc::new(load(&mut c).await?);
        *self.access_part().lock() = Some(loaded.clone());
        Ok(loaded)
    }

    /// What somebody calls a compartment, as its path is written: `/a/WEB` and `/a/WEB/` are `/A/web`.
    pub(crate) async fn compartment_path(&self, written: &str) -> Result<String> {
        let loaded = self.access().await?;
        find_path(&loaded, written).ok_or_else(|| Error::NotFound(format!("compartment {}", crate::ops::cut(written, 255))))
    }
}

/// See [`Control::compartment_path`].
pub(crate) fn find_path(loaded: &Loaded, written: &str) -> Option<String> {
    let tree = loaded.compiled.tree();
    let names: Vec<String> = written.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Some(ROOT.to_owned());
    }
    tree.resolve(tree.root(), &names).map(|at| path_of(&loaded.compiled, at))
}

/// Reads and compiles everything. The version is read first: a change that comes between is seen the next time.
async fn load(c: &mut Connection) -> Result<Loaded> {
    let version = compartments::access_version(c).await?;
    let (tree, ids) = tree_of(&compartments::list(c).await?)?;
    let mut policies =
        builtin::policies(TENANCY).map_err(|e| Error::Internal { doing: "read its own access policies", source: Box::new(e) })?;
    let mut broken = false;
    for own in access_policies::list(c).await? {
        let id = ids.get(&own.compartment).map_or(own.compartment.as_str(), String::as_str);
        match Policy::parse(&own.name, id, &own.statements) {
            Ok(policy) => policies.push(policy),
            Err(error) => {
                tracing::error!(policy = own.name, %error, "an access policy cannot be read: nobody but administrators may do anything");
                broken = true;
            }
        }
    }
    if broken {
        // Agents go on speaking for their hosts: what they bring is no less true.
        policies.retain(|policy| [builtin::ADMINISTRATORS_POLICY, builtin::AGENTS_POLICY].contains(&policy.name.as_str()));
    }
    let compiled = compile(&policies, tree);
    for misplaced in compiled.misplaced() {
        tracing::warn!(%misplaced, "an access statement has no effect");
    }
    let mut dynamic = Vec::new();
    for own in dynamic_groups::list(c).await? {
        let join = if own.match_all { Join::All } else { Join::Any };
        match MatchingRules::parse(&own.rules, join) {
            Ok(rules) => dynamic.push(DynamicGroup { membership: Membership::new(&own.id.to_string(), None, &own.name), rules }),
            Err(error) => tracing::error!(group = own.name, %error, "a dynamic group cannot be read: nobody is in it"),
        }
    }
    Ok(Loaded { version, compiled, ids, dynamic })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_path_is_its_parent_and_its_name() {
        assert_eq!(split("/A"), ("/", "A"));
        assert_eq!(split("/A/web"), ("/A", "web"));
    }
}
