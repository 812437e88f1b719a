//! Resources that nothing assigns any more: those that say REMOVE are taken back, the others are left as they are. What is to
//! be taken back one day is on disk before it is brought about, so that no kill and no new document loses it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drydock_domain::policy::resolve::objects;
use drydock_domain::policy::{HostPolicy, Mode, OnUnassign, Resource};
use serde::{Deserialize, Serialize};

use super::engine::Key;
use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

/// A resource to be taken back, now or one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Whose it was.
    pub key: Key,
    /// What it was.
    pub resource: Resource,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Assigned now.
    assigned: Vec<Left>,
    /// To be taken back, in this order.
    gone: Vec<Left>,
}

/// What is remembered.
#[derive(Debug)]
pub struct Leftovers {
    path: PathBuf,
    state: State,
}

fn lefts(policies: &[HostPolicy]) -> impl Iterator<Item = (Mode, Left)> + '_ {
    policies.iter().flat_map(|p| {
        p.resources.iter().map(|resource| {
            let key = Key { assignment: p.assignment.clone(), policy: p.policy.clone(), resource: resource.id.clone() };
            (p.mode, Left { key, resource: resource.clone() })
        })
    })
}

/// What follows from a new document.
fn follow(before: &State, policies: &[HostPolicy]) -> State {
    let removable = |left: &Left| left.resource.on_unassign == OnUnassign::Remove;
    let keys: BTreeSet<Key> = lefts(policies).map(|(_, left)| left.key).collect();
    let owned: BTreeSet<String> = lefts(policies).flat_map(|(_, left)| objects(&left.resource)).collect();
    // Somebody else wants its object, or it is still assigned as it was: nothing to take back.
    let is_gone = |left: &&Left| {
        let own = objects(&left.resource);
        if own.is_empty() { !keys.contains(&left.key) } else { own.is_disjoint(&owned) }
    };
    let mut assigned: Vec<Left> =
        lefts(policies).filter(|(mode, left)| *mode == Mode::Enforcement && removable(left)).map(|(_, left)| left).collect();
    // It was brought about before its policy began to look only.
    let only_looked_at: Vec<Left> = lefts(policies)
        .filter(|(mode, left)| *mode == Mode::Validation && removable(left))
        .map(|(_, left)| left)
        .filter(|left| before.assigned.iter().any(|b| b.key == left.key))
        .collect();
    assigned.extend(only_looked_at);
    // What came last goes first.
    let fresh = before.assigned.iter().rev().filter(is_gone);
    let gone = before.gone.iter().filter(is_gone).chain(fresh).cloned().collect();
    State { assigned, gone }
}

impl Leftovers {
    /// What an earlier keeper remembered.
    ///
    /// # Errors
    /// The file cannot be believed; nothing is remembered then.
    pub fn open(path: &Path) -> (Self, Result<(), String>) {
        let loaded = match std::fs::read(path) {
            Ok(bytes) => unseal(&bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(e) => Err(e.to_string()),
        };
        let told = loaded.as_ref().map(|_| ()).map_err(|why| {
            format!("{} cannot be believed ({why}): what was to be taken back when it is unassigned stays", path.display())
        });
        (Leftovers { path: path.to_owned(), state: loaded.unwrap_or_default() }, told)
    }

    /// A new document: what it does not hold any more is gone. On return the disk knows.
    pub fn assign(&mut self, policies: &[HostPolicy]) -> Result<(), String> {
        self.save(follow(&self.state, policies))
    }

    /// What is to be taken back, in this order.
    pub fn gone(&self) -> &[Left] {
        &self.state.gone
    }

    /// This one was taken back.
    pub fn taken_back(&mut self, key: &Key, resource: &Resource) -> Result<(), String> {
        let mut state = self.state.clone();
        state.gone.retain(|left| left.key != *key || left.resource != *resource);
        self.save(state)
    }

    fn save(&mut self, state: State) -> Result<(), String> {
        if state != self.state {
            let sealed = seal(&state)?;
            write_durably(&self.path, &sealed, 0o600).map_err(|e| format!("cannot write {}: {e}", self.path.display()))?;
            self.state = state;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::policy::FileResource;

    fn file(id: &str, path: &str, on_unassign: OnUnassign) -> Resource {
        let file = FileResource { path: path.into(), content: Some(String::new()), ..FileResource::default() };
        Resource { id: id.into(), file: Some(file), on_unassign, ..Resource::default() }
    }

    fn policy(id: &str, mode: Mode, resources: &[Resource]) -> HostPolicy {
        HostPolicy {
            assignment: "a".into(),
            revision: 1,
            policy: id.into(),
            mode,
            check_interval_secs: 60,
            unmatched: false,
            resources: resources.to_vec(),
        }
    }

    fn gone(left: &Leftovers) -> Vec<&str> {
        left.gone().iter().map(|l| l.key.resource.as_str()).collect()
    }

    #[test]
    fn what_says_remove_is_taken_back_unless_somebody_wants_it() {
        use Mode::{Enforcement, Validation};
        use OnUnassign::{Keep, Remove};
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("leftovers");
        let (mut left, told) = Leftovers::open(&path);
        told.expect("new");
        let resources = [file("a", "/a", Remove), file("k", "/k", Keep), file("b", "/b", Remove), file("c", "/c", Remove)];
        left.assign(&[policy("p", Enforcement, &resources), policy("v", Validation, &[file("x", "/x", Remove)])]).expect("kept");
        assert_eq!(gone(&left), [""; 0]);
        // c's file moves to another policy; b is another file now; a stays; x was only looked at.
        let (mut left, _) = Leftovers::open(&path);
        let now = [file("a", "/a", Remove), file("b", "/elsewhere", Remove)];
        left.assign(&[policy("p", Enforcement, &now), policy("q", Enforcement, &[file("z", "/c", Keep)])]).expect("kept");
        assert_eq!(gone(&left), ["b"]);
        assert_eq!(left.gone()[0].resource, resources[2]);
        // A policy that only looks now has brought it before.
        left.assign(&[policy("p", Validation, &now)]).expect("kept");
        left.assign(&[]).expect("kept");
        let (mut left, _) = Leftovers::open(&path);
        assert_eq!(gone(&left), ["b", "b", "a"], "after a restart, the last one first");
        let first = left.gone()[0].clone();
        left.taken_back(&first.key, &first.resource).expect("kept");
        assert_eq!(gone(&left), ["b", "a"]);
        // It comes back before it was taken back.
        left.assign(&[policy("p", Enforcement, &now[..1])]).expect("kept");
        assert_eq!(gone(&left), ["b"]);
        std::fs::write(&path, "torn").expect("written");
        assert!(Leftovers::open(&path).1.is_err());
    }
}
