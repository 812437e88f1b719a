//! Debian packages and archives, by dpkg-deb and apt-ftparchive.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{PackageFile, Scripts, TOOL_LIMIT, for_each_in_parallel};
use crate::command::run;

/// A relation field of a Debian package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `Depends`.
    Depends,
    /// `Provides`.
    Provides,
    /// `Conflicts`.
    Conflicts,
    /// `Breaks`.
    Breaks,
    /// `Replaces`.
    Replaces,
}

/// One Debian package.
#[derive(Debug, Clone)]
pub struct DebPackage {
    /// Name.
    pub name: String,
    /// Full version: `[epoch:]upstream[-revision]`.
    pub version: String,
    /// Whether it is for this machine's architecture instead of `all`.
    pub native: bool,
    /// Relations and their value, such as `(Depends, "dd-new (= 2.0-1)")`.
    pub relations: Vec<(Relation, String)>,
    /// What it installs.
    pub files: Vec<PackageFile>,
    /// Maintainer scripts.
    pub scripts: Scripts,
}

impl DebPackage {
    /// An empty package for all architectures.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            native: false,
            relations: Vec::new(),
            files: Vec::new(),
            scripts: Scripts::default(),
        }
    }

    /// Builds the package file into `into`.
    ///
    /// # Errors
    /// When dpkg-deb fails.
    pub fn build(&self, into: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("cannot create a directory to build in")?;
        let tree = work.path().join("tree");
        let control = tree.join("DEBIAN");
        fs::create_dir_all(&control)?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))?;
        let arch = if self.native { native_arch()? } else { "all".into() };
        fs::write(control.join("control"), self.control(&arch))?;
        for file in &self.files {
            let path = tree.join(file.path.trim_start_matches('/'));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, &file.content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        }
        let conffiles: String = self.files.iter().filter(|file| file.config).map(|file| format!("{}\n", file.path)).collect();
        if !conffiles.is_empty() {
            fs::write(control.join("conffiles"), conffiles)?;
        }
        let configure = format!("[ \"$1\" = configure ] || exit 0\n{}", self.scripts.after_install);
        for (name, body, wanted) in [
            ("preinst", &self.scripts.before_install, !self.scripts.before_install.is_empty()),
            ("postinst", &configure, !self.scripts.after_install.is_empty()),
        ] {
            if wanted {
                let path = control.join(name);
                fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        let mut command = Command::new("dpkg-deb");
        // The oldest apt of the lab reads no zstd.
        command.args(["--build", "--root-owner-group", "-Zgzip"]).arg(&tree).arg(into);
        run(&mut command, TOOL_LIMIT)?.success().with_context(|| format!("cannot build {} {}", self.name, self.version))?;
        Ok(())
    }

    // Writing to a string cannot fail.
    fn control(&self, arch: &str) -> String {
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {arch}\nMaintainer: Drydock Lab <lab@drydock.invalid>\nSection: misc\nPriority: optional\n",
            self.name, self.version
        );
        use Relation::{Breaks, Conflicts, Depends, Provides, Replaces};
        for relation in [Depends, Provides, Conflicts, Breaks, Replaces] {
            let values: Vec<_> =
                self.relations.iter().filter(|(of, _)| *of == relation).map(|(_, value)| value.as_str()).collect();
            if !values.is_empty() {
                let _ = writeln!(control, "{relation:?}: {}", values.join(", "));
            }
        }
        let _ = writeln!(control, "Description: lab package {}", self.name);
        control
    }
}

/// This machine's architecture in Debian's words.
fn native_arch() -> Result<String> {
    Ok(run(Command::new("dpkg").arg("--print-architecture"), TOOL_LIMIT)?.success()?.trim().to_owned())
}

/// A Debian archive with one suite and the component `main`.
#[derive(Debug, Clone)]
pub struct AptArchive {
    /// `Origin` of its Release file.
    pub origin: String,
    /// `Label`.
    pub label: String,
    /// `Suite`, and the name in a sources.list.
    pub suite: String,
    /// `Codename`.
    pub codename: String,
    /// Its packages.
    pub packages: Vec<DebPackage>,
}

impl AptArchive {
    /// Builds the archive in `dir`, which is created; with a key, it is signed.
    ///
    /// # Errors
    /// When a package cannot be built, or indexing or signing fails.
    pub fn build(&self, dir: &Path, key: Option<&SigningKey>) -> Result<()> {
        let pool = dir.join("pool");
        let suite = dir.join("dists").join(&self.suite);
        let arch = native_arch()?;
        let index = suite.join(format!("main/binary-{arch}"));
        for dir in [&pool, &index] {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        for_each_in_parallel(&self.packages, |package| package.build(&pool))?;
        let packages = run(Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(dir), TOOL_LIMIT)?.success()?;
        fs::write(index.join("Packages"), packages)?;
        let mut release = Command::new("apt-ftparchive");
        for (field, value) in [
            ("Origin", self.origin.as_str()),
            ("Label", &self.label),
            ("Suite", &self.suite),
            ("Codename", &self.codename),
            ("Architectures", &arch),
            ("Components", "main"),
        ] {
            release.arg("-o").arg(format!("APT::FTPArchive::Release::{field}={value}"));
        }
        let release = run(release.arg("release").arg(&suite), TOOL_LIMIT)?.success()?;
        fs::write(suite.join("Release"), release)?;
        if let Some(key) = key {
            key.sign_release(&suite)?;
        }
        Ok(())
    }
}

/// A throw-away OpenPGP key in its own keyring.
pub struct SigningKey {
    home: tempfile::TempDir,
}

impl SigningKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When gpg fails.
    pub fn generate() -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700))?;
        let key = Self { home };
        key.gpg(&["--quick-generate-key", "Drydock Lab <lab@drydock.invalid>", "rsa3072", "sign", "never"])?;
        Ok(key)
    }

    /// Writes the public key, armoured, for `signed-by`.
    ///
    /// # Errors
    /// When gpg fails.
    pub fn export(&self, to: &Path) -> Result<()> {
        let to = to.to_str().context("the path of a public key must be text")?;
        self.gpg(&["--armor", "--output", to, "--export"])
    }

    pub(super) fn sign_release(&self, suite: &Path) -> Result<()> {
        let file = |name: &str| -> Result<String> {
            let path: PathBuf = suite.join(name);
            Ok(path.to_str().context("the path of an archive must be text")?.to_owned())
        };
        let release = file("Release")?;
        self.gpg(&["--clearsign", "--output", &file("InRelease")?, &release])?;
        self.gpg(&["--armor", "--detach-sign", "--output", &file("Release.gpg")?, &release])
    }

    fn gpg(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path());
        command.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--digest-algo", "SHA256"]);
        run(command.args(arguments), TOOL_LIMIT)?.success()?;
        Ok(())
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        // gpg leaves an agent behind that would outlive its directory.
        let _ = run(Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]), TOOL_LIMIT);
    }
}
