//! What a host's configuration says of which updates its package manager takes: holds, locks, excludes, pins, module
//! streams. One file per source; reading changes nothing and asks no network.
//!
//! Absent: what the rules mean for an update (room `domain::applicability`), and rules that live in code: plugins other
//! than versionlock, hooks, command-line options.

mod apt;
mod dnf;
mod ini;
pub(crate) mod modules;
mod preferences;
mod versionlock;
mod zypp;

use std::io::Read;
use std::path::{Path, PathBuf};

use drydock_domain::host_rules::HostRules;
use drydock_domain::inventory::ManagerKind;

use crate::error::PkgError;
use crate::run::Runner;

/// Longest configuration file read, bytes: lists of locked packages have some hundred KiB.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files of one directory, count.
const FILES_MAX: usize = 1000;

/// Reads the rules of the host at `root` (`/`).
///
/// # Errors
/// When a command of the package manager that says its configuration fails.
pub fn read(kind: ManagerKind, root: &Path, runner: &dyn Runner) -> Result<HostRules, PkgError> {
    match kind {
        ManagerKind::Apt => apt::read(root, runner),
        ManagerKind::Dnf | ManagerKind::Dnf5 | ManagerKind::Yum => Ok(dnf::read(kind, root)),
        ManagerKind::Zypper => Ok(zypp::read(root)),
    }
}

/// Directories whose change means that the rules may have changed; those that exist.
pub fn paths(kind: ManagerKind, root: &Path) -> Vec<PathBuf> {
    let dirs: &[&str] = match kind {
        ManagerKind::Apt => &["etc/apt", "etc/apt/apt.conf.d", "etc/apt/preferences.d"],
        ManagerKind::Dnf => &["etc/dnf", "etc/dnf/plugins", "etc/dnf/modules.d", "etc/yum.repos.d"],
        ManagerKind::Dnf5 => &[
            "etc/dnf",
            "etc/dnf/libdnf5.conf.d",
            "etc/dnf/repos.override.d",
            "etc/yum.repos.d",
            "usr/share/dnf5/libdnf.conf.d",
            "usr/lib/sysimage/libdnf5",
        ],
        // Not /etc itself, where yum.conf lies: everything else on the host writes there.
        ManagerKind::Yum => &["etc/yum", "etc/yum/pluginconf.d", "etc/yum.repos.d"],
        ManagerKind::Zypper => &["etc/zypp", "etc/zypp/zypp.conf.d", "etc/zypp/multiversion.d", "etc/zypp/repos.d"],
    };
    dirs.iter().map(|dir| root.join(dir)).filter(|dir| dir.is_dir()).collect()
}

/// The text of a file; `None` when there is none. One that cannot be read says nothing, as to the package manager itself.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => {
            tracing::debug!("{} cannot be read for the host's rules: {e}", path.display());
            None
        }
    }
}

/// The files of a directory whose names are wanted, by name.
fn files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(FILES_MAX);
    let mut paths: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_str().is_some_and(&wanted)).map(|e| e.path()).filter(|p| p.is_file()).collect();
    paths.sort();
    paths
}

/// A path of a configuration file, on the host at `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
