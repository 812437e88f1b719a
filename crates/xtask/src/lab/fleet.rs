//! Hosts of several kinds with the standard packages installed, and the server of their
//! repositories.

use std::time::Instant;

use anyhow::{Result, anyhow};
use drydock_testkit::lab::{Host, Root, RootKind, ensure_all};
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{PackageSet, Standard, standard};

/// Running hosts. Dropping it removes them all.
pub struct Fleet {
    /// The repositories.
    pub standard: Standard,
    /// Serves them to the hosts.
    pub server: LoopbackServer,
    /// In the order of the kinds asked for.
    pub hosts: Vec<Host>,
}

impl Fleet {
    /// Boots one host per kind, named `prefix` and the kind's name, with the base packages
    /// installed and no update visible yet. Roots that are not cached are made first.
    ///
    /// # Errors
    /// When a root cannot be made, a host does not boot, or its packages do not install.
    pub fn start(kinds: &[RootKind], prefix: &str) -> Result<Self> {
        let begun = Instant::now();
        eprintln!("repositories and roots (minutes the first time, then cached) ...");
        let standard = standard()?;
        let server = serve_dir(standard.dir())?;
        let roots = ensure_all(kinds)?;
        eprintln!("{} hosts ...", roots.len());
        let hosts = start_hosts(&roots, prefix, &standard, &server.url())?;
        eprintln!("{} hosts are up after {} s", hosts.len(), begun.elapsed().as_secs());
        Ok(Self { standard, server, hosts })
    }

    /// Makes a set of packages visible to every host.
    ///
    /// # Errors
    /// When a host refuses.
    pub fn enable(&self, set: PackageSet) -> Result<()> {
        self.hosts.iter().try_for_each(|host| self.standard.enable(host, set, &self.server.url()))
    }
}

/// All at once: a boot waits more than it computes.
fn start_hosts(roots: &[Root], prefix: &str, standard: &Standard, url: &str) -> Result<Vec<Host>> {
    let start = |root: &Root| -> Result<Host> {
        let host = Host::start(root, &format!("{prefix}{}", root.kind.name()))?;
        standard.prepare(&host, url)?;
        Ok(host)
    };
    std::thread::scope(|scope| {
        let starting: Vec<_> = roots.iter().map(|root| scope.spawn(move || start(root))).collect();
        let started: Vec<_> =
            starting.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("starting a host panicked"))).collect();
        started.into_iter().map(|host| host?).collect()
    })
}
