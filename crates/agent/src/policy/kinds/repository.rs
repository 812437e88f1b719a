//! A package repository: a file of its own for apt, yum or zypper, named `drydock_managed_…`. What an earlier form of the resource
//! wrote under another name is removed.
//!
//! apt trusts a repository's key for that repository alone (`signed-by`), never for all. A key is fetched once and kept with the
//! resource. Absent: reading the repository's metadata (whoever installs from it does).

use drydock_domain::inventory::ManagerKind;
use drydock_domain::policy::spec::{AptRepository, ArchiveType, RepositoryResource, RpmRepository};
use drydock_pkgmgr::PackageManager;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::evidence::sha256;
use super::foreign::Foreign;
use super::managed::{self, Managed};
use super::pkg::database::{Database, System, serves};
use super::place::Place;
use super::source::fetch_small;
use super::{command, note};
use crate::platform;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};
use crate::sources::takeover::BACKUP;

/// In every file and key name of ours.
const PREFIX: &str = "drydock_managed_";
/// First line of every file.
const HEAD: &str = "# Managed by Drydock\n";
/// A key, bytes: those of large vendors have some hundred KiB.
const KEY_MAX_BYTES: u64 = 1024 * 1024;
/// Digits of a digest in a file's name, as Google's agent has.
const NAME_DIGITS: usize = 10;

/// The resource.
pub struct RepositoryKind {
    system: System,
    own: Own,
    database: Arc<Database>,
}

enum Own {
    Apt(AptRepository),
    Rpm(RpmRepository),
}

/// The files that were written last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    paths: Vec<String>,
}

/// From the document.
pub fn build(spec: &RepositoryResource, database: &Arc<Database>) -> Box<dyn Kind> {
    let (system, own) = match (&spec.apt, &spec.yum, &spec.zypper) {
        (Some(apt), _, _) => (System::Apt, Own::Apt(apt.clone())),
        (_, Some(yum), _) => (System::Yum, Own::Rpm(yum.clone())),
        (_, _, Some(zypper)) => (System::Zypper, Own::Rpm(zypper.clone())),
        _ => return Box::new(Foreign::new("GooGet repositories are for Windows hosts")),
    };
    Box::new(RepositoryKind { system, own, database: Arc::clone(database) })
}

impl RepositoryKind {
    /// Every file of it, the one that makes it known last.
    fn files(&self, cx: &Cx<'_>) -> Result<Vec<Managed>, Failure> {
        match &self.own {
            Own::Apt(own) => apt_files(cx, own),
            Own::Rpm(own) => Ok(vec![rpm_file(self.system, own)]),
        }
    }

    fn manager(&self, cx: &Cx<'_>) -> Option<ManagerKind> {
        self.database.manager(cx.runner).map(|m| m.kind())
    }

    /// Where the host's sources are managed exclusively, others' definitions are set aside; writing them again would be a fight
    /// between us and ourselves.
    fn not_set_aside(&self, cx: &Cx<'_>) -> Result<(), Failure> {
        for file in self.files(cx)? {
            let backup = format!("{}.{BACKUP}", file.path);
            if Place::find(cx.root, &backup)?.map(|p| p.look()).transpose()?.flatten().is_some() {
                return Err(Failure::of(format!(
                    "{} is set aside: this host's software sources are managed exclusively; make it one of them instead",
                    file.path
                )));
            }
        }
        Ok(())
    }

    fn is_ours(&self, cx: &Cx<'_>) -> bool {
        self.manager(cx).is_some_and(|m| serves(self.system, m))
    }
}

fn apt_files(cx: &Cx<'_>, own: &AptRepository) -> Result<Vec<Managed>, Failure> {
    let archive = if own.archive_type == ArchiveType::Deb { "deb" } else { "deb-src" };
    let line = format!("{} {} {}", own.uri, own.distribution, own.components.join(" "));
    let line = line.trim_end().to_owned();
    let name = short(&format!("{archive} {line}"));
    let list = |options: &str| {
        let path = format!("/etc/apt/sources.list.d/{PREFIX}{name}.list");
        Managed::text(path, format!("{HEAD}{archive} {options}{line}\n"))
    };
    if own.gpg_key.is_empty() {
        return Ok(vec![list("")]);
    }
    let key = key(cx, &own.gpg_key)?;
    // apt tells the two forms apart by the name alone.
    let suffix = if is_armoured(&key) { "asc" } else { "gpg" };
    let path = format!("/etc/apt/keyrings/{PREFIX}{}.{suffix}", short(&own.gpg_key));
    let options = format!("[signed-by={path}] ");
    Ok(vec![Managed::text(path, key), list(&options)])
}

fn rpm_file(system: System, own: &RpmRepository) -> Managed {
    let dir = if system == System::Zypper { "/etc/zypp/repos.d" } else { "/etc/yum.repos.d" };
    let name = if own.display_name.is_empty() { &own.id } else { &own.display_name };
    let mut text = format!("{HEAD}[{}]\nname={name}\nbaseurl={}\nenabled=1\n", own.id, own.base_url);
    if system == System::Zypper {
        text.push_str("autorefresh=1\ntype=rpm-md\n");
    }
    if own.gpg_keys.is_empty() {
        // Without a key nothing of it could be installed otherwise.
        text.push_str("gpgcheck=0\n");
    } else {
        text.push_str(&format!("gpgcheck=1\ngpgkey={}\n", own.gpg_keys.join("\n       ")));
    }
    // An id may hold what a file's name should not.
    let file: String = own.id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    Managed::text(format!("{dir}/{PREFIX}{file}.repo"), text)
}

fn short(text: &str) -> String {
    sha256(text.as_bytes())[..NAME_DIGITS].to_owned()
}

/// The key at an address: from the resource's own place, where it was put when it was fetched.
fn key(cx: &Cx<'_>, address: &str) -> Result<Vec<u8>, Failure> {
    let kept = cx.scratch.join(format!("key-{}", short(address)));
    if let Ok(bytes) = std::fs::read(&kept)
        && is_key(&bytes)
    {
        return Ok(bytes);
    }
    let bytes = fetch_small(cx, address, KEY_MAX_BYTES)?;
    if !is_key(&bytes) {
        return Err(Failure::of(format!("what {address} gives is no OpenPGP key")));
    }
    platform::write_durably(&kept, &bytes, 0o600)
        .map_err(|e| Failure::of(format!("{} cannot be written: {e}", kept.display())))?;
    Ok(bytes)
}

fn is_armoured(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
}

/// Armoured, or a binary packet of kind 6, in its old or new form.
fn is_key(bytes: &[u8]) -> bool {
    is_armoured(bytes) || bytes.first().is_some_and(|b| matches!(b, 0x98..=0x9b | 0xc6))
}

impl Kind for RepositoryKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        if self.is_ours(cx) { self.files(cx).map(drop) } else { Ok(()) }
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        if !self.is_ours(cx) {
            return Ok(Found::NotApplicable(self.system.foreign(self.manager(cx))));
        }
        self.not_set_aside(cx)?;
        // The file itself tells more than its key.
        for file in self.files(cx)?.iter().rev() {
            if let Some((what, evidence)) = file.differs(cx)? {
                return Ok(Found::NonCompliant { what, evidence });
            }
        }
        let written: Written = note::recall(cx)?.unwrap_or_default();
        let now: Vec<String> = self.files(cx)?.into_iter().map(|f| f.path).collect();
        for old in written.paths.iter().filter(|p| !now.contains(p)) {
            if Place::find(cx.root, old)?.map(|p| p.look()).transpose()?.flatten().is_some() {
                return Ok(Found::NonCompliant { what: format!("{old} of an earlier form is there"), evidence: None });
            }
        }
        Ok(Found::Compliant)
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let files = self.files(cx)?;
        let written: Written = note::recall(cx)?.unwrap_or_default();
        let now: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
        // Both the old and the new ones, until the old ones are gone.
        let all = written.paths.iter().filter(|p| !now.contains(p)).chain(&now).cloned().collect();
        note::remember(cx, &Written { paths: all })?;
        let mut shown = None;
        for file in &files {
            if file.differs(cx)?.is_some() {
                shown = file.write(cx)?;
            }
        }
        for old in written.paths.iter().filter(|p| !now.contains(p)) {
            managed::remove(cx, old)?;
        }
        note::remember(cx, &Written { paths: now })?;
        let mut what = "written".to_owned();
        if let (Own::Rpm(own), System::Zypper) = (&self.own, self.system) {
            // zypper takes a repository's key only when it is told to, and only here.
            let args = ["--non-interactive", "--gpg-auto-import-keys", "refresh", "--repo", &own.id];
            if let Err(failure) = command::run(cx, "zypper", &args) {
                what = format!("written; it cannot be read yet: {}", failure.message);
            }
        }
        Ok(Done { what, evidence: shown, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let written: Written = note::recall(cx)?.unwrap_or_default();
        let mut removed = false;
        for path in &written.paths {
            removed |= managed::remove(cx, path)?;
        }
        let what = match (removed, written.paths.is_empty()) {
            (true, _) => "removed",
            (false, false) => "gone already",
            (false, true) => "left as it is: the policy did not write it",
        };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        let paths = match &self.own {
            Own::Rpm(own) => vec![rpm_file(self.system, own).path],
            Own::Apt(own) => {
                let archive = if own.archive_type == ArchiveType::Deb { "deb" } else { "deb-src" };
                let line = format!("{archive} {} {} {}", own.uri, own.distribution, own.components.join(" "));
                let list = format!("/etc/apt/sources.list.d/{PREFIX}{}.list", short(line.trim_end()));
                let key = |suffix| format!("/etc/apt/keyrings/{PREFIX}{}.{suffix}", short(&own.gpg_key));
                if own.gpg_key.is_empty() { vec![list] } else { vec![list, key("asc"), key("gpg")] }
            }
        };
        paths.into_iter().map(|p| Watch::Path(p.into())).collect()
    }
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod tests;
