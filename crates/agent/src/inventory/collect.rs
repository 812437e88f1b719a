//! Reading the sections from the host. Changes nothing; only [`Collector::refresh`] fetches, when it is asked to.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use drydock_domain::host_rules::HostRules;
use drydock_domain::inventory::{Finding, Health, OsFacts, Package, PackageSet, SectionKind, UpdateSet, check_body};
use drydock_pkgmgr::run::{CommandSpec, Runner, SystemRunner};
use drydock_pkgmgr::{Backend, PackageManager, detect, kernel_installed, rules};
use jiff::Timestamp;
use serde::Serialize;

use super::{Section, os, stale};
use crate::link::session::lock;
use crate::platform;

/// systemctl list-units answers in milliseconds; a hung process 1 must not hang us.
const UNITS_TIME_LIMIT: Duration = Duration::from_secs(20);
/// Failed units told, count.
const UNITS_MAX: usize = 1000;

/// Reads the host.
pub struct Collector {
    root: PathBuf,
    runner: SystemRunner,
    backends: Vec<Backend>,
    booted_at: Option<Timestamp>,
    /// What the last refresh found: the tools themselves go on with older metadata and say nothing more.
    refreshed: Mutex<Vec<Finding>>,
}

impl Collector {
    /// For the host at `root` (`/`).
    pub fn new(root: &Path) -> Self {
        let runner = SystemRunner::new();
        let backends = detect(root, &runner);
        // Read once: the kernel computes it from the clock, so that it wanders by a second.
        Collector { root: root.to_owned(), runner, backends, booted_at: platform::booted_at(), refreshed: Mutex::default() }
    }

    /// The package managers found.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Directories whose change means that packages changed.
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        self.backends.iter().flat_map(|b| b.watch_paths()).collect()
    }

    /// Directories whose change means that the host's rules may have changed.
    pub fn rule_paths(&self) -> Vec<PathBuf> {
        self.backends.iter().flat_map(|b| rules::paths(b.kind(), &self.root)).collect()
    }

    /// One section, canonical.
    pub fn section(&self, kind: SectionKind) -> anyhow::Result<Section> {
        let body = match kind {
            SectionKind::Os => encode(&self.os())?,
            SectionKind::Packages => encode(&self.packages()?)?,
            SectionKind::Updates => encode(&self.updates())?,
            SectionKind::Health => encode(&self.health())?,
            SectionKind::Rules => encode(&self.rules()?)?,
        };
        // The server makes bodies canonical the same way; what it would refuse is better refused here, with a log line.
        Ok(Section::new(check_body(kind, &body)?))
    }

    /// Operating-system facts.
    pub fn os(&self) -> OsFacts {
        os::read(&self.root, self.booted_at, self.backends.iter().map(PackageManager::kind).collect())
    }

    /// What decides which updates are taken, as the package manager that owns the host has it.
    pub fn rules(&self) -> anyhow::Result<HostRules> {
        let Some(owner) = self.backends.first() else { return Ok(HostRules::default()) };
        rules::read(owner.kind(), &self.root, &self.runner).with_context(|| format!("{} rules", owner.kind().as_str()))
    }

    /// Everything installed.
    pub fn packages(&self) -> anyhow::Result<PackageSet> {
        installed(&self.backends, &self.runner)
    }

    /// What could be updated, from the metadata that is there. A manager that fails is a finding, not an error: the
    /// rest is still true.
    pub fn updates(&self) -> UpdateSet {
        let mut all = UpdateSet::default();
        for backend in &self.backends {
            match backend.updates(&self.runner) {
                Ok(set) => {
                    all.updates.extend(set.updates);
                    all.findings.extend(set.findings);
                }
                Err(e) => all.findings.push(finding(backend, &e)),
            }
        }
        for found in lock(&self.refreshed).iter() {
            if !all.findings.iter().any(|f| f.subject == found.subject) {
                all.findings.push(found.clone());
            }
        }
        all.updates.sort_unstable();
        all.findings.sort_unstable();
        all.findings.dedup();
        all
    }

    /// Reads the repositories' metadata.
    pub fn refresh(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for backend in &self.backends {
            match backend.refresh(&self.runner) {
                Ok(found) => findings.extend(found),
                Err(e) => findings.push(finding(backend, &e)),
            }
        }
        lock(&self.refreshed).clone_from(&findings);
        findings
    }

    /// Reboot and restart needs.
    pub fn health(&self) -> Health {
        let uname = platform::uname();
        let kernel = kernel_installed(&self.root, &uname.release);
        let mut reboot_reasons = Vec::new();
        for backend in &self.backends {
            match backend.reboot_hint(&self.runner, self.booted_at.unwrap_or(Timestamp::UNIX_EPOCH)) {
                Ok(reasons) => reboot_reasons.extend(reasons),
                Err(e) => tracing::warn!("cannot tell whether {} asks for a reboot: {e}", backend.kind().as_str()),
            }
        }
        reboot_reasons.sort_unstable();
        reboot_reasons.dedup();
        Health {
            reboot_reasons,
            running_kernel: uname.release,
            installed_kernel: kernel.installed,
            stale_services: stale::services(Path::new("/proc")),
            failed_units: self.failed_units(),
        }
    }

    fn failed_units(&self) -> Vec<String> {
        if !platform::has_systemd() {
            return Vec::new();
        }
        let spec = CommandSpec::new("systemctl", "systemctl list-units", UNITS_TIME_LIMIT).args([
            "list-units",
            "--failed",
            "--plain",
            "--no-legend",
            "--full",
            "--no-pager",
        ]);
        match self.runner.run(&spec) {
            Ok(done) if done.success() => failed_units(&done.stdout.text()),
            Ok(done) => {
                tracing::debug!("systemctl list-units: {}", done.describe_end());
                Vec::new()
            }
            Err(e) => {
                tracing::debug!("systemctl list-units: {e}");
                Vec::new()
            }
        }
    }
}

/// Everything installed, over all managers.
pub fn installed(backends: &[Backend], runner: &dyn Runner) -> anyhow::Result<PackageSet> {
    let mut all: Vec<Package> = Vec::new();
    for backend in backends {
        all.extend(backend.installed(runner).with_context(|| format!("{} packages", backend.kind().as_str()))?);
    }
    Ok(PackageSet::new(all))
}

fn finding(backend: &Backend, error: &dyn std::error::Error) -> Finding {
    let message: String = crate::link::channel::chain(error).chars().take(300).collect();
    Finding { subject: backend.kind().as_str().to_owned(), message }
}

fn encode<T: Serialize>(value: &T) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// The units in what `systemctl list-units` prints without legend; sorted.
pub(crate) fn failed_units(text: &str) -> Vec<String> {
    let mut units: Vec<String> = text
        .lines()
        .filter_map(|l| l.trim_start_matches(['●', '*', ' ']).split_ascii_whitespace().next())
        .map(str::to_owned)
        .take(UNITS_MAX)
        .collect();
    units.sort_unstable();
    units
}

#[cfg(test)]
mod tests {
    use drydock_domain::inventory::ManagerKind;

    use super::*;

    #[test]
    fn failed_units_are_read_with_and_without_the_dot() {
        let text = "  b.service loaded failed failed B\n● a.mount   loaded failed failed /x\n";
        assert_eq!(failed_units(text), ["a.mount", "b.service"]);
        assert!(failed_units("").is_empty());
    }

    #[test]
    fn this_host_has_packages_in_canonical_form() {
        let collector = Collector::new(Path::new("/"));
        let section = collector.section(SectionKind::Packages).expect("collected");
        let set: PackageSet = serde_json::from_slice(&section.body).expect("a set");
        assert!(set.as_slice().len() > 10, "{}", set.as_slice().len());
        assert_eq!(section, collector.section(SectionKind::Packages).expect("again"));
    }

    #[test]
    fn this_host_has_its_rules() {
        let collector = Collector::new(Path::new("/"));
        let section = collector.section(SectionKind::Rules).expect("collected");
        let rules: HostRules = serde_json::from_slice(&section.body).expect("rules");
        let apt = collector.backends().first().is_some_and(|owner| owner.kind() == ManagerKind::Apt);
        assert_eq!(apt, !rules.architectures.is_empty(), "dpkg says its architecture: {rules:?}");
    }
}
