//! RPM packages and repositories, by rpmbuild and createrepo_c.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::advisory::updateinfo;
use super::{Advisory, PackageFile, Scripts, TOOL_LIMIT, for_each_in_parallel};
use crate::command::run;

/// The architecture of lab machines in RPM's words.
const NATIVE_ARCH: &str = std::env::consts::ARCH;

/// One RPM package.
#[derive(Debug, Clone)]
pub struct RpmPackage {
    /// Name.
    pub name: String,
    /// Epoch; `None` writes no tag, which means 0.
    pub epoch: Option<u32>,
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
    /// Whether it is for this machine's architecture instead of `noarch`.
    pub native: bool,
    /// Another architecture instead, for example `i686`.
    pub target: Option<&'static str>,
    /// `Vendor:`.
    pub vendor: &'static str,
    /// `ModularityLabel:`; empty = none.
    pub modularity: &'static str,
    /// `Requires:` lines.
    pub requires: Vec<String>,
    /// `Provides:` lines.
    pub provides: Vec<String>,
    /// `Obsoletes:` lines.
    pub obsoletes: Vec<String>,
    /// What it installs.
    pub files: Vec<PackageFile>,
    /// Scriptlets.
    pub scripts: Scripts,
}

impl RpmPackage {
    /// An empty `noarch` package, release 1.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            epoch: None,
            version: version.into(),
            release: "1".into(),
            native: false,
            target: None,
            vendor: "Drydock Lab",
            modularity: "",
            requires: Vec::new(),
            provides: Vec::new(),
            obsoletes: Vec::new(),
            files: Vec::new(),
            scripts: Scripts::default(),
        }
    }

    /// Architecture as RPM writes it.
    #[must_use]
    pub fn arch(&self) -> &'static str {
        self.target.unwrap_or(if self.native { NATIVE_ARCH } else { "noarch" })
    }

    /// `name-version-release.arch.rpm`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch())
    }

    /// `[epoch:]version-release`, as people write it.
    #[must_use]
    pub fn evr(&self) -> String {
        let epoch = self.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        format!("{epoch}{}-{}", self.version, self.release)
    }

    /// Builds the package file into `into`.
    ///
    /// # Errors
    /// When rpmbuild fails.
    pub fn build(&self, into: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("cannot create a directory to build in")?;
        let sources = work.path().join("SOURCES");
        fs::create_dir(&sources)?;
        for (number, file) in self.files.iter().enumerate() {
            let source = sources.join(number.to_string());
            fs::write(&source, &file.content)?;
            fs::set_permissions(&source, fs::Permissions::from_mode(file.mode))?;
        }
        let spec = work.path().join("package.spec");
        fs::write(&spec, self.spec(&sources))?;
        let mut command = Command::new("rpmbuild");
        command.args(["-bb", "--quiet"]);
        command.args(["--define", &format!("_topdir {}", work.path().display())]);
        command.args(["--define", &format!("_rpmdir {}", into.display())]);
        command.args(["--define", "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm"]);
        command.args(["--define", "_binary_payload w1.gzdio", "--define", "debug_package %{nil}"]);
        // Neither stripping nor compressing: files are installed as given.
        command.args(["--define", "__os_install_post %{nil}", "--define", "_build_id_links none"]);
        command.args(["--define", &format!("_dbpath {}", work.path().join("db").display())]);
        if let Some(target) = self.target {
            command.args(["--target", target]);
        }
        command.arg(&spec);
        run(&mut command, TOOL_LIMIT)?.success().with_context(|| format!("cannot build {}", self.file_name()))?;
        Ok(())
    }

    // Writing to a string cannot fail.
    fn spec(&self, sources: &Path) -> String {
        let mut spec = String::new();
        let _ = writeln!(spec, "Name: {}\nVersion: {}\nRelease: {}", self.name, self.version, self.release);
        if let Some(epoch) = self.epoch {
            let _ = writeln!(spec, "Epoch: {epoch}");
        }
        if self.arch() == "noarch" {
            spec.push_str("BuildArch: noarch\n");
        }
        if !self.modularity.is_empty() {
            let _ = writeln!(spec, "ModularityLabel: {}", self.modularity);
        }
        let _ =
            writeln!(spec, "Summary: Lab package {}\nLicense: Apache-2.0\nVendor: {}\nAutoReqProv: no", self.name, self.vendor);
        for (tag, values) in [("Requires", &self.requires), ("Provides", &self.provides), ("Obsoletes", &self.obsoletes)] {
            for value in values {
                let _ = writeln!(spec, "{tag}: {value}");
            }
        }
        let _ = writeln!(spec, "%description\nLab package {}.", self.name);
        spec.push_str("%install\n");
        for (number, file) in self.files.iter().enumerate() {
            let source = sources.join(number.to_string());
            let _ = writeln!(spec, "install -D -m {:o} '{}' '%{{buildroot}}{}'", file.mode, source.display(), file.path);
        }
        for (section, body) in [("%pre", &self.scripts.before_install), ("%post", &self.scripts.after_install)] {
            if !body.is_empty() {
                let _ = writeln!(spec, "{section}\n{}", body.replace('%', "%%"));
            }
        }
        spec.push_str("%files\n");
        for file in &self.files {
            let config = if file.config { "%config(noreplace) " } else { "" };
            let _ = writeln!(spec, "%attr({:o}, root, root) {config}{}", file.mode, file.path);
        }
        spec
    }
}

/// A repository of RPM packages.
#[derive(Debug, Clone, Default)]
pub struct RpmRepository {
    /// Its packages.
    pub packages: Vec<RpmPackage>,
    /// Its advisories; none means no `updateinfo.xml`.
    pub advisories: Vec<Advisory>,
}

impl RpmRepository {
    /// Builds the repository in `dir`, which is created.
    ///
    /// # Errors
    /// When a package cannot be built or createrepo_c fails.
    pub fn build(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for_each_in_parallel(&self.packages, |package| package.build(dir))?;
        run(Command::new("createrepo_c").arg("--quiet").arg(dir), TOOL_LIMIT)?.success()?;
        if !self.advisories.is_empty() {
            let work = tempfile::tempdir()?;
            let file = work.path().join("updateinfo.xml");
            fs::write(&file, updateinfo(&self.advisories))?;
            run(Command::new("modifyrepo_c").arg(&file).arg(dir.join("repodata")), TOOL_LIMIT)?.success()?;
        }
        Ok(())
    }
}
