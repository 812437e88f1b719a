//! `cargo xtask lab run patch`: one patch job over hosts of every kind.
//!
//! What holds is judged by reading dpkg and rpm inside the hosts, never by Drydock's own report.
//! Done here: the hosts, their first state, the repositories with updates. Absent so far: server
//! and agents; they join between [`offer_updates`] and the end of [`run`].

use anyhow::{Result, ensure};
use drydock_testkit::lab::{Host, RootKind};
use drydock_testkit::upstream::{HELD_PACKAGE, PackageSet};

use super::Fleet;

/// One host of each package manager, and both Debian releases.
const KINDS: [RootKind; 5] = [RootKind::AptBookworm, RootKind::AptTrixie, RootKind::Dnf4, RootKind::Dnf5, RootKind::Zypper];
/// Prefix of the names of this scenario's hosts.
const PREFIX: &str = "patch-";

/// Runs the scenario.
///
/// # Errors
/// At the first thing that is not as it must be, saying on which host.
pub fn run() -> Result<()> {
    let fleet = Fleet::start(&KINDS, PREFIX)?;
    for host in &fleet.hosts {
        starts_from_base(host)?;
    }
    offer_updates(&fleet)?;
    println!("patch: {} hosts hold the base packages and are offered updates", fleet.hosts.len());
    Ok(())
}

/// Every host has the old versions and nothing of the updates.
fn starts_from_base(host: &Host) -> Result<()> {
    for (package, version) in
        [("dd-alpha", Some("1.0-1")), ("dd-beta", Some("1:1.0-1")), (HELD_PACKAGE, Some("1.0-1")), ("dd-new", None)]
    {
        let installed = host.installed(package)?;
        ensure!(installed.as_deref() == version, "{}: {package} is {installed:?}, not {version:?}", host.hostname());
    }
    Ok(())
}

/// The updates appear on every host, beside a third-party repository that nobody serves.
fn offer_updates(fleet: &Fleet) -> Result<()> {
    fleet.enable(PackageSet::Updates)?;
    fleet.enable(PackageSet::Security)?;
    fleet.hosts.iter().try_for_each(|host| fleet.standard.add_unreachable(host))
}
