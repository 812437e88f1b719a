//! A package by file: installed where it is not, or where an older version is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drydock_domain::inventory::ManagerKind;
use drydock_domain::policy::Evidence;
use drydock_domain::policy::spec::PackageFile;
use drydock_domain::version::{Scheme, compare};
use drydock_pkgmgr::PackageManager;
use drydock_pkgmgr::run::{CommandSpec, End};
use serde::{Deserialize, Serialize};

use super::database::{Database, System, serves};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};
use crate::policy::kinds::source::Source;
use crate::policy::kinds::{command, evidence, note};

/// Installing one file with what it needs.
const INSTALL_LIMIT: Duration = Duration::from_secs(3600);
/// The tool's last words in a message, bytes; the evidence has more.
const WORDS_MAX_BYTES: usize = 600;

/// The resource.
pub struct FilePackageKind {
    system: System,
    spec: PackageFile,
    source: Source,
    database: Arc<Database>,
    /// What the file holds, once it was read.
    label: Option<Label>,
}

/// What a package file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    file: PathBuf,
    name: String,
    version: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    versions: Vec<String>,
}

impl FilePackageKind {
    /// From the document.
    pub fn new(system: System, spec: &PackageFile, gcs_base_url: &str, database: Arc<Database>) -> Self {
        FilePackageKind { system, source: Source::new(&spec.source, gcs_base_url), spec: spec.clone(), database, label: None }
    }

    fn read(&self, cx: &Cx<'_>) -> Result<Label, Failure> {
        let file = self.source.fetch(cx)?;
        let path = file.to_string_lossy().into_owned();
        let text = match self.system {
            System::Apt => command::run(cx, "dpkg-deb", &["-W", "--showformat=${Package}\\t${Version}\\n", "--", &path])?,
            _ => {
                let form = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n";
                command::run(cx, "rpm", &["-qp", "--nosignature", "--qf", form, "--", &path])?
            }
        };
        let text = text.stdout.text();
        let (name, version) =
            text.trim().split_once('\t').ok_or_else(|| Failure::of(format!("{path} is no package that can be read")))?;
        // Epoch 0 is what no epoch means; the database does not write it.
        let version = version.strip_prefix("0:").unwrap_or(version);
        Ok(Label { file, name: name.to_owned(), version: version.to_owned() })
    }

    fn versions(&self, cx: &Cx<'_>, name: &str) -> Result<Vec<String>, Failure> {
        let host = self.database.host(cx.runner)?;
        Ok(host.installed.find(name, "").map(|p| p.version.clone()).collect())
    }

    fn is_new_enough(&self, version: &str, want: &str) -> bool {
        let scheme = if self.system == System::Apt { Scheme::Deb } else { Scheme::Rpm };
        compare(scheme, version, want).is_ok_and(std::cmp::Ordering::is_ge)
    }

    fn command(&self, manager: ManagerKind, file: &Path) -> CommandSpec {
        let path = file.to_string_lossy().into_owned();
        let (program, args): (&str, Vec<&str>) = match (manager, self.spec.pull_deps) {
            (ManagerKind::Apt, false) => ("dpkg", vec!["--force-confdef", "--force-confold", "-i", "--"]),
            (ManagerKind::Apt, true) => (
                "apt-get",
                vec![
                    "-y",
                    "-q",
                    "--no-remove",
                    "-o",
                    "Dpkg::Use-Pty=0",
                    "-o",
                    "DPkg::Lock::Timeout=300",
                    "-o",
                    "Dpkg::Options::=--force-confdef",
                    "-o",
                    "Dpkg::Options::=--force-confold",
                    "install",
                    "--",
                ],
            ),
            (_, false) => ("rpm", vec!["--upgrade", "--replacepkgs", "--"]),
            (ManagerKind::Zypper, true) => (
                "zypper",
                vec!["--non-interactive", "--no-gpg-checks", "install", "--no-force-resolution", "--allow-unsigned-rpm", "--"],
            ),
            (ManagerKind::Dnf5, true) => ("dnf5", vec!["-y", "install"]),
            (ManagerKind::Dnf, true) => ("dnf", vec!["-y", "install"]),
            (ManagerKind::Yum, true) => ("yum", vec!["-y", "install"]),
        };
        CommandSpec::new(program, format!("{program} (package file)"), INSTALL_LIMIT).args(args).args([path]).mutating()
    }
}

impl Kind for FilePackageKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        let manager = self.database.manager(cx.runner).map(|m| m.kind());
        if manager.is_some_and(|m| serves(self.system, m)) {
            self.label = Some(self.read(cx)?);
        }
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let manager = self.database.manager(cx.runner).map(|m| m.kind());
        if manager.is_none_or(|m| !serves(self.system, m)) {
            return Ok(Found::NotApplicable(self.system.foreign(manager)));
        }
        let Some(label) = self.label.clone() else { return Err(Failure::of("its package file was not read yet")) };
        let versions = self.versions(cx, &label.name)?;
        if versions.iter().any(|v| self.is_new_enough(v, &label.version)) {
            return Ok(Found::Compliant);
        }
        let (what, old) = match versions.is_empty() {
            true => (format!("{} is not installed", label.name), "not installed".to_owned()),
            false => {
                let old = versions.join(", ");
                (format!("{} {old} is installed, which is older than {}", label.name, label.version), old)
            }
        };
        Ok(Found::NonCompliant { what, evidence: evidence::state(old, label.version) })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let label = self.read(cx)?;
        let before = self.versions(cx, &label.name)?;
        note::remember_first(cx, || Ok(Before { versions: before.clone() }))?;
        let manager = self.database.host(cx.runner)?.manager.kind();
        let finished = cx.transactions.run(&self.command(manager, &label.file)).map_err(|e| Failure::of(e.to_string()))?;
        self.database.forget();
        if !finished.success() {
            let text = finished.stdout.text();
            let mut words: Vec<char> = text.trim().chars().rev().take(WORDS_MAX_BYTES).collect();
            words.reverse();
            let words: String = words.into_iter().collect();
            let hint = if self.spec.pull_deps { "" } else { "; say `pullDeps: true` if it needs other packages" };
            return Err(Failure {
                message: format!("{} cannot be installed: {}: {words}{hint}", label.name, finished.describe_end()),
                evidence: Some(Evidence::Output { end: finished.describe_end(), text: evidence::bounded(&text) }),
                timed_out: finished.end == End::TimedOut,
            });
        }
        let old = if before.is_empty() { "not installed".to_owned() } else { before.join(", ") };
        self.label = Some(label.clone());
        Ok(Done { what: "installed".to_owned(), evidence: evidence::state(old, label.version), ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let done = |what: String| Ok(Done { what, ..Done::default() });
        let made = note::recall::<Before>(cx)?.is_some_and(|b| b.versions.is_empty());
        if !made {
            return done("left as it is: the policy did not install it".to_owned());
        }
        let name = match &self.label {
            Some(label) => label.name.clone(),
            None => self.read(cx)?.name,
        };
        if self.versions(cx, &name)?.is_empty() {
            return done("gone already".to_owned());
        }
        // The low-level tools refuse where something needs it, which is what is wanted.
        let command = match self.system {
            System::Apt => CommandSpec::new("dpkg", "dpkg -r", INSTALL_LIMIT).args(["-r", "--", &name]),
            _ => CommandSpec::new("rpm", "rpm -e", INSTALL_LIMIT).args(["-e", "--", &name]),
        };
        let finished = cx.transactions.run(&command.mutating()).map_err(|e| Failure::of(e.to_string()))?;
        self.database.forget();
        if finished.success() {
            return done("removed".to_owned());
        }
        done(format!("left as it is: {}", finished.stdout.text().trim().chars().take(WORDS_MAX_BYTES).collect::<String>()))
    }

    fn watches(&self) -> Vec<Watch> {
        let local = self.spec.source.local_path.iter().map(|p| Watch::Path(PathBuf::from(p)));
        std::iter::once(Watch::Packages).chain(local).collect()
    }

    fn changes_packages(&self) -> bool {
        true
    }
}
