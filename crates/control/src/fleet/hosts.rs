//! Hosts as the picture takes them: what decides about each, and the bodies of those that changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use drydock_domain::applicability::HostInput;
use drydock_domain::applicability::facts::View;
use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{ManagerKind, OsFacts, PackageSet, SectionKind, fingerprint};
use drydock_domain::version::Scheme;
use drydock_store::fleet_hosts::FleetHost;
use drydock_store::history_memo::Memo;
use drydock_store::{Connection, inventory};
use serde::de::DeserializeOwned;

use super::{HostSeen, Model};
use crate::error::{Error, Result};

/// A host to be put in.
pub(crate) struct HostChange {
    id: InstanceId,
    seen: HostSeen,
    os: OsFacts,
    scheme: Scheme,
    packages: Arc<PackageSet>,
    rules: Arc<HostRules>,
}

impl HostChange {
    /// Snapshots that the host looks at.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.seen.views.iter().map(|view| view.root.as_str())
    }
}

/// Snapshots that nobody will see any more, each with the one that its hosts see instead: what a promotion does. `changes`
/// are the hosts to be put in; a snapshot that another host goes on seeing is not in it.
pub(crate) fn promoted(model: &Model, changes: &[HostChange]) -> Vec<(String, String)> {
    let mut moves: BTreeMap<&str, &str> = BTreeMap::new();
    for change in changes {
        let Some(before) = model.hosts.get(&change.id) else { continue };
        for (old, new) in before.views.iter().zip(&change.seen.views) {
            if old.source == new.source && old.root != new.root {
                moves.entry(&old.root).or_insert(&new.root);
            }
        }
    }
    if moves.is_empty() {
        return Vec::new();
    }
    let changing: HashSet<InstanceId> = changes.iter().map(|change| change.id).collect();
    for (_, seen) in model.hosts.iter().filter(|(id, _)| !changing.contains(id)) {
        for view in &seen.views {
            moves.remove(view.root.as_str());
        }
    }
    moves.into_iter().map(|(old, new)| (old.to_owned(), new.to_owned())).collect()
}

/// Bodies that were read, for hosts that share them.
#[derive(Default)]
pub(crate) struct Bodies {
    packages: HashMap<String, Arc<PackageSet>>,
    rules: HashMap<String, Arc<HostRules>>,
}

/// Bodies kept for the next hosts, count: a few hundred megabytes at worst.
const BODIES_MAX: usize = 1000;

/// What a host is to be put in from; `None`: it has no inventory yet.
pub(crate) fn seen(host: &FleetHost, views: Vec<View>) -> Option<HostSeen> {
    let packages = host.packages.as_deref()?;
    let os = host.inputs.os.as_ref()?;
    let rules = host.rules.as_deref().unwrap_or_default();
    // What a report changes without changing any answer (boot id, agent version) is left out.
    let text = format!(
        "{packages} {rules} {} {} {} {} {:?} {views:?}",
        os.short_name, os.version, os.architecture, os.kernel_release, os.managers
    );
    let stamp = fingerprint(text.as_bytes());
    Some(HostSeen { name: host.inputs.name.clone(), stamp, views, place: host.inputs.place() })
}

/// Reads the bodies of a host; `None` when one is gone meanwhile: the next look finds the new one.
pub(crate) async fn read(
    c: &mut Connection,
    memo: &Memo,
    host: &FleetHost,
    seen: HostSeen,
    bodies: &mut Bodies,
) -> Result<Option<HostChange>> {
    let (Some(wanted), Some(os)) = (&host.packages, &host.inputs.os) else { return Ok(None) };
    if bodies.packages.len() + bodies.rules.len() > BODIES_MAX {
        *bodies = Bodies::default();
    }
    let packages = match bodies.packages.get(wanted) {
        Some(known) => Arc::clone(known),
        None => {
            let Some(body) = packages(c, memo, wanted).await? else { return Ok(None) };
            let body = Arc::new(body);
            bodies.packages.insert(wanted.clone(), Arc::clone(&body));
            body
        }
    };
    let rules = match &host.rules {
        None => Arc::default(),
        Some(wanted) => match bodies.rules.get(wanted) {
            Some(known) => Arc::clone(known),
            None => {
                let Some(body) = body::<HostRules>(c, SectionKind::Rules, wanted).await? else { return Ok(None) };
                let body = Arc::new(body);
                bodies.rules.insert(wanted.clone(), Arc::clone(&body));
                body
            }
        },
    };
    Ok(Some(HostChange { id: host.inputs.instance, seen, scheme: scheme(os), os: os.clone(), packages, rules }))
}

/// A set of packages: from what is interned, without its JSON.
async fn packages(c: &mut Connection, memo: &Memo, fingerprint: &str) -> Result<Option<PackageSet>> {
    let Some(stored) = inventory::stored_body(c, SectionKind::Packages, fingerprint).await? else { return Ok(None) };
    match inventory::class_of(&stored)? {
        Some(class) => Ok(Some(memo.set(c, class).await?)),
        None => body(c, SectionKind::Packages, fingerprint).await,
    }
}

async fn body<T: DeserializeOwned>(c: &mut Connection, kind: SectionKind, fingerprint: &str) -> Result<Option<T>> {
    let Some(body) = inventory::body(c, kind, fingerprint).await? else { return Ok(None) };
    let read = serde_json::from_slice(&body);
    read.map(Some).map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })
}

/// Whose version rules a host follows: those of the manager that owns it.
fn scheme(os: &OsFacts) -> Scheme {
    match os.managers.first() {
        Some(ManagerKind::Apt) => Scheme::Deb,
        Some(_) => Scheme::Rpm,
        None if matches!(os.short_name.as_str(), "debian" | "ubuntu") => Scheme::Deb,
        None => Scheme::Rpm,
    }
}

impl Model {
    /// Puts in a host that changed.
    pub(crate) fn put_host(&mut self, change: HostChange) {
        let scheme = change.scheme;
        let mut packages: Vec<_> = change.packages.as_slice().iter().map(|p| self.engine.package(scheme, p)).collect();
        packages.sort_unstable();
        packages.dedup();
        let input = HostInput { os: &change.os, scheme, packages: &packages, rules: &change.rules, views: &change.seen.views };
        self.engine.put_host(change.id, input);
        self.hosts.insert(change.id, change.seen);
    }

    /// Takes out a host.
    pub(crate) fn forget_host(&mut self, host: InstanceId) {
        self.engine.remove_host(host);
        self.hosts.remove(&host);
        self.since.forget(host);
    }
}
