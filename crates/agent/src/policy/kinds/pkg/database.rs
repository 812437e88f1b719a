//! The host's package manager and what is installed, read once for all resources and again when the database's files changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_pkgmgr::run::Runner;
use drydock_pkgmgr::{Backend, PackageManager, PkgError, detect};

use crate::link::channel::chain;
use crate::policy::kind::Failure;
use crate::policy::watch::package_stamp;

/// Shared by the resources of one keeper.
#[derive(Debug)]
pub struct Database {
    root: PathBuf,
    read: Mutex<Option<Read>>,
}

#[derive(Debug, Clone)]
struct Read {
    stamp: crate::policy::watch::PackageStamp,
    host: Host,
}

/// A host as its resources see it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its package manager.
    pub manager: Backend,
    /// What it has installed.
    pub installed: Arc<PackageSet>,
}

impl Database {
    /// Of the host at `root`; nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Database { root: root.to_owned(), read: Mutex::new(None) }
    }

    /// The manager alone; `None` = none that we know.
    pub fn manager(&self, runner: &dyn Runner) -> Option<Backend> {
        let known = self.lock().as_ref().map(|r| r.host.manager.clone());
        known.or_else(|| detect(&self.root, runner).into_iter().next())
    }

    /// Manager and packages as they are now.
    pub fn host(&self, runner: &dyn Runner) -> Result<Host, Failure> {
        let stamp = package_stamp(&self.root);
        if let Some(read) = self.lock().as_ref()
            && read.stamp == stamp
            && !stamp.is_empty()
        {
            return Ok(read.host.clone());
        }
        let manager = self.manager(runner).ok_or_else(|| Failure::of("this host has no package manager that is known"))?;
        let installed = manager.installed(runner).map_err(|e| refused("the package database cannot be read", &e))?;
        let host = Host { manager, installed: Arc::new(PackageSet::new(installed)) };
        // With the stamp from before: what changed while it was read is read again.
        *self.lock() = Some(Read { stamp, host: host.clone() });
        Ok(host)
    }

    /// The next look reads again.
    pub fn forget(&self) {
        let mut read = self.lock();
        if let Some(read) = read.as_mut() {
            read.stamp.clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The package manager's own reason, whole.
pub fn refused(what: &str, e: &PkgError) -> Failure {
    Failure { timed_out: matches!(e, PkgError::TimedOut { .. }), ..Failure::of(format!("{what}: {}", chain(e))) }
}

/// Which manager looks after packages of this system.
pub fn serves(system: System, manager: ManagerKind) -> bool {
    match system {
        System::Apt => manager == ManagerKind::Apt,
        System::Yum => matches!(manager, ManagerKind::Yum | ManagerKind::Dnf | ManagerKind::Dnf5),
        System::Zypper => manager == ManagerKind::Zypper,
        System::Rpm => manager != ManagerKind::Apt,
    }
}

/// As resources name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// apt and dpkg.
    Apt,
    /// yum and dnf.
    Yum,
    /// zypper.
    Zypper,
    /// Whatever sits on rpm.
    Rpm,
}

impl System {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            System::Apt => "apt",
            System::Yum => "yum or dnf",
            System::Zypper => "zypper",
            System::Rpm => "rpm",
        }
    }

    /// Why it is not for this host.
    pub fn foreign(self, manager: Option<ManagerKind>) -> String {
        match manager {
            Some(manager) => format!("this host's package manager is {}, not {}", manager.as_str(), self.as_str()),
            None => format!("this host has no package manager that is known, so no {} either", self.as_str()),
        }
    }
}
