//! Real hosts on one Debian machine: a [`Root`] is a cached Debian tree with a package manager, a
//! [`Host`] is a running copy of one with real systemd, its own machine-id and hostname.
//!
//! Roots come from the machine's own Debian archive through mmdebstrap; hosts are overlays booted
//! by systemd-nspawn. Hosts share the machine's network, so 127.0.0.1 in a host is the machine's:
//! a server or repository on loopback is reachable, and two hosts cannot bind the same port.
//!
//! Absent: other processors and other kernels. `/proc/sys/kernel/random/boot_id` belongs to the
//! kernel and does not change when a host reboots; what changes is the start time of PID 1.

mod archive;
mod host;
mod registry;
mod root;
mod supervisor;

pub use host::{BOOT_LIMIT, COMMAND_LIMIT, Host};
pub use registry::{Registered, remove_cache, remove_leftovers, running};
pub use root::{PackageManager, Root, RootKind, ensure_all};

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cache;

/// Everything [`crate::lab`] and [`crate::upstream`] need from Debian, by package name.
pub const DEBIAN_PACKAGES: &[&str] = &[
    "apt-utils",
    "createrepo-c",
    "debian-archive-keyring",
    "dpkg",
    "gpg",
    "gpg-agent",
    "mmdebstrap",
    "mount",
    "rpm",
    "systemd-container",
    "util-linux",
];

/// Tools of [`DEBIAN_PACKAGES`] that hosts need.
const HOST_TOOLS: &[&str] = &["mmdebstrap", "systemd-nspawn", "nsenter", "mount", "umount", "chroot"];
/// Tools of [`DEBIAN_PACKAGES`] that repositories need.
const REPOSITORY_TOOLS: &[&str] = &["rpmbuild", "createrepo_c", "modifyrepo_c", "dpkg-deb", "apt-ftparchive", "gpg", "gpgconf"];

/// Says whether lab hosts can run here: `None` if they can, otherwise why not, for a test to print
/// before it returns.
///
/// # Errors
/// Under `CI=true` a reason is an error: a test that silently proves nothing is worse than none.
pub fn skip_reason() -> Result<Option<String>> {
    if !nix::unistd::geteuid().is_root() {
        return verdict(Some("lab hosts need root".into()));
    }
    let tools = [HOST_TOOLS, REPOSITORY_TOOLS].concat();
    verdict(missing_tools(&tools))
}

/// As [`skip_reason`], for building repositories only; needs no root.
///
/// # Errors
/// Under `CI=true`, when something is missing.
pub fn repositories_skip_reason() -> Result<Option<String>> {
    verdict(missing_tools(REPOSITORY_TOOLS))
}

fn verdict(reason: Option<String>) -> Result<Option<String>> {
    match reason {
        Some(reason) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => bail!("{reason} (CI=true allows no skipping)"),
        reason => Ok(reason),
    }
}

fn missing_tools(tools: &[&str]) -> Option<String> {
    let missing: Vec<_> = tools.iter().copied().filter(|tool| !in_path(tool)).collect();
    (!missing.is_empty())
        .then(|| format!("not installed: {}; install with apt-get install {}", missing.join(", "), DEBIAN_PACKAGES.join(" ")))
}

fn in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the directories where mount and chroot helpers live.
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]).any(|dir| dir.join(tool).is_file())
}

fn roots_dir() -> Result<PathBuf> {
    Ok(cache::cache_dir()?.join("lab/roots"))
}

fn hosts_dir() -> Result<PathBuf> {
    Ok(cache::cache_dir()?.join("lab/hosts"))
}

/// The directory where systemd-nspawn keeps its rendezvous sockets; it must be a tmpfs.
const NSPAWN_RUNTIME_DIR: &str = "/run/systemd/nspawn";
/// Marks the tmpfs as ours, so that [`remove_leftovers`] takes away only what we mounted.
const NSPAWN_RUNTIME_MARK: &str = ".drydock-lab";

fn nspawn_runtime_mark() -> PathBuf {
    Path::new(NSPAWN_RUNTIME_DIR).join(NSPAWN_RUNTIME_MARK)
}
