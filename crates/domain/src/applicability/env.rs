//! What hosts of one kind share: system, rules and the snapshots they see, made ready. Everything that follows from a lot is
//! remembered here, so hosts that differ in packages only share the work for the packages they share.

use std::sync::Arc;

use super::facts::View;
use super::intern::{IdMap, IdSet, NONE, Text};
use super::modular::Modular;
use super::rules_apt::AptPins;
use super::rules_rpm;
use super::snapshot::{AvailableId, Snapshot};
use super::tables::{RootId, Tables};
use super::verdict::Verdict;
use crate::host_rules::HostRules;
use crate::inventory::{ManagerKind, OsFacts};
use crate::version::Scheme;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Managed {
    Apt,
    /// dnf 4 and yum.
    Dnf,
    Zypper,
    Dnf5,
}

impl Managed {
    /// Does it filter by module streams, exclude and lock as dnf does?
    pub fn is_dnf(self) -> bool {
        matches!(self, Managed::Dnf | Managed::Dnf5)
    }
}

/// What makes two hosts one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EnvKey {
    pub managed: Managed,
    pub scheme: Scheme,
    pub os: String,
    pub release: String,
    pub architecture: String,
    pub rules: HostRules,
    pub views: Vec<View>,
}

impl EnvKey {
    pub fn new(os: &OsFacts, scheme: Scheme, rules: &HostRules, views: &[View]) -> Self {
        let managed = match (scheme, os.managers.first()) {
            (Scheme::Deb, _) => Managed::Apt,
            (Scheme::Rpm, Some(ManagerKind::Zypper)) => Managed::Zypper,
            (Scheme::Rpm, Some(ManagerKind::Dnf5)) => Managed::Dnf5,
            (Scheme::Rpm, _) => Managed::Dnf,
        };
        EnvKey {
            managed,
            scheme,
            os: os.short_name.clone(),
            release: os.version.clone(),
            architecture: os.architecture.clone(),
            rules: rules.clone(),
            views: views.to_vec(),
        }
    }
}

/// A view, made ready.
#[derive(Debug)]
pub(super) struct EnvView {
    pub root: RootId,
    pub source: String,
    pub repository: String,
    pub priority: u32,
    pub hotfix: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Env {
    pub key: Arc<EnvKey>,
    pub managed: Managed,
    pub rules: HostRules,
    pub views: Vec<EnvView>,
    pub modular: Modular,
    /// dnf: packages that obsolete a version which versionlock keeps.
    pub against_locks: IdSet<AvailableId>,
    pub pins: AptPins,
    /// deb: the host's own architecture.
    pub native: Text,
    /// Per product: does it mean this kind of host?
    pub products: Vec<bool>,
    /// By lot and running kernel: [`NONE`] = nothing follows.
    pub verdicts: IdMap<(u32, Text), Option<Arc<Verdict>>>,
    /// What verdicts were made of has changed: snapshots or modules.
    pub stale: bool,
}

impl Env {
    pub fn new(key: Arc<EnvKey>, tables: &mut Tables) -> Self {
        let native = match key.rules.architectures.first() {
            Some(own) => own.clone(),
            None => deb_architecture(&key.architecture).to_owned(),
        };
        let mut env = Env {
            managed: key.managed,
            rules: key.rules.clone(),
            views: Vec::new(),
            modular: Modular::default(),
            against_locks: IdSet::default(),
            pins: AptPins::default(),
            native: tables.texts.id(&native),
            products: Vec::new(),
            verdicts: IdMap::default(),
            stale: true,
            key,
        };
        env.look(tables);
        env
    }

    /// Takes the views from the key: after it was made or its roots replaced.
    pub fn look(&mut self, tables: &mut Tables) {
        let view = |v: &View, tables: &mut Tables| EnvView {
            root: tables.root(&v.root),
            source: v.source.clone(),
            repository: format!("drydock-{}", v.source),
            priority: v.priority,
            hotfix: v.module_hotfixes,
        };
        self.views = self.key.views.iter().map(|v| view(v, tables)).collect();
    }

    /// Makes module filter and pins of what the views hold now.
    pub fn compile(&mut self, tables: &Tables) {
        let mut seen: Vec<(usize, &Snapshot)> = self.snapshots(tables).collect();
        seen.sort_by_key(|(n, _)| (self.views[*n].priority, self.views[*n].repository.as_str()));
        let seen: Vec<&Snapshot> = seen.into_iter().map(|(_, s)| s).collect();
        self.modular = if self.managed.is_dnf() {
            Modular::new(&seen, &self.rules, &self.key.architecture, &tables.texts)
        } else {
            Modular::default()
        };
        self.against_locks = if self.managed.is_dnf() { rules_rpm::against_locks(tables, self) } else { IdSet::default() };
        self.pins = match self.managed {
            Managed::Apt => AptPins::new(self, tables),
            _ => AptPins::default(),
        };
        self.stale = false;
    }

    /// The snapshots that are there, with the number of their view.
    pub fn snapshots<'a>(&self, tables: &'a Tables) -> impl Iterator<Item = (usize, &'a Snapshot)> {
        self.views.iter().enumerate().filter_map(move |(n, view)| tables.snapshot(view.root).map(|s| (n, s)))
    }

    /// Does the host run packages of this architecture (rpm)?
    pub fn runs(&self, arch: &str) -> bool {
        let own = self.key.architecture.as_str();
        arch == "noarch"
            || arch == own
            || match own {
                "x86_64" => arch.starts_with("x86_64") || matches!(arch, "i686" | "i586" | "i486" | "i386" | "athlon" | "amd64"),
                "x86_32" | "i686" | "i386" => matches!(arch, "i686" | "i586" | "i486" | "i386" | "athlon"),
                "aarch64" => arch == "armv8l",
                _ => own.is_empty(),
            }
    }

    /// Does a product mean this kind of host?
    pub fn is_of(&self, product: u32) -> bool {
        self.products.get(product as usize).copied().unwrap_or(false)
    }

    /// Judges the products that came since the last time.
    pub fn know_products(&mut self, tables: &Tables) {
        let facts = OsFacts { short_name: self.key.os.clone(), version: self.key.release.clone(), ..OsFacts::default() };
        let new = tables.advisories.products().get(self.products.len()..).unwrap_or_default();
        self.products.extend(new.iter().map(|p| p.matches(&facts)));
    }

    /// Is one of the views of this snapshot?
    pub fn sees(&self, root: RootId) -> bool {
        root != NONE && self.views.iter().any(|v| v.root == root)
    }
}

/// dpkg's word for an architecture.
fn deb_architecture(own: &str) -> &str {
    match own {
        "x86_64" => "amd64",
        "x86_32" | "i686" | "i386" => "i386",
        "aarch64" => "arm64",
        "armv7l" => "armhf",
        "ppc64le" => "ppc64el",
        other => other,
    }
}
