//! Real package repositories, built from nothing: RPM with rpmbuild and createrepo_c, Debian with
//! dpkg-deb and apt-ftparchive. [`standard`] is the set of packages that lab hosts and tests share.
//!
//! Building is slow, so results are cached by recipe ([`cached`]). Absent: serving
//! ([`crate::serve`]) and telling a host about a repository ([`Standard`] does that).

mod advisory;
mod deb;
mod large;
mod module;
mod rpm;
mod standard;

pub(crate) use advisory::updateinfo;
pub use advisory::{Advisory, AdvisoryKind, Severity};
pub use deb::{AptArchive, DebPackage, Relation, SigningKey};
pub use large::{LARGE_DEBS, LARGE_NAMES, LARGE_SUITE, LARGE_VERSIONS, large_apt, large_yum, write_yum};
pub use module::{ModuleStream, add_modules};
pub use rpm::{RpmPackage, RpmRepository};
pub use standard::{HELD_PACKAGE, PackageSet, SCRIPTLET_LOG, SLOW_SECONDS_FILE, Standard, UNREACHABLE_REPOSITORY, standard};

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::cache::{build_once, cache_dir, recipe_key};

/// One call of a package tool: tiny packages take well under a second each.
pub(crate) const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// Packages built at the same time.
const BUILDERS: usize = 2;
/// Change it when the builders make other repositories from the same recipe.
const BUILDER_EDITION: u32 = 1;

/// A file that a package installs.
#[derive(Debug, Clone)]
pub struct PackageFile {
    /// Absolute path.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Whether it is configuration that an administrator may edit (`%config(noreplace)`, conffile).
    pub config: bool,
}

impl PackageFile {
    /// A plain file, mode 0644.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into(), mode: 0o644, config: false }
    }

    /// The same file, executable.
    #[must_use]
    pub fn executable(mut self) -> Self {
        self.mode = 0o755;
        self
    }

    /// The same file as configuration.
    #[must_use]
    pub fn config(mut self) -> Self {
        self.config = true;
        self
    }
}

/// Shell fragments run around an installation; empty means none. For dpkg they are the maintainer
/// scripts, for rpm the scriptlets; both run under `/bin/sh`.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// Before unpacking (`preinst`, `%pre`).
    pub before_install: String,
    /// After unpacking (`postinst configure`, `%post`).
    pub after_install: String,
}

/// Gives a directory that `build` fills, kept under the cache for as long as `recipe` stays equal.
///
/// # Errors
/// When `build` fails or the cache cannot be written.
pub fn cached(name: &str, recipe: &str, build: impl FnOnce(&std::path::Path) -> Result<()>) -> Result<PathBuf> {
    let key = recipe_key(&format!("{BUILDER_EDITION}\n{recipe}"));
    build_once(&upstream_dir()?, &format!("{name}-{key}"), build)
}

/// Where [`cached`] keeps what it made.
pub(crate) fn upstream_dir() -> Result<PathBuf> {
    Ok(cache_dir()?.join("lab/upstream"))
}

/// Does `work` for each item, [`BUILDERS`] at a time; the first failure is returned.
pub(crate) fn for_each_in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = Mutex::new(items.iter());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..BUILDERS {
            scope.spawn(|| {
                loop {
                    let item = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(item) = item else { return };
                    if let Err(error) = work(item) {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
