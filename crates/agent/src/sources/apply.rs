//! Makes the host what the document says, or gives it back. May be killed anywhere and repeated: what is already so is
//! left alone, and the journal knows what is ours.
//!
//! ```text
//! additive mode: restore what was set aside
//! others' files at our paths are set aside ─> journal says which files and directories are coming ─> they are written,
//!   unchanged ones keep their time ─> files of earlier documents are removed, others' put back there ─> exclusive mode: others' definitions are set aside ─> rpm keys
//! ```
//! Ours come before theirs go, so that there is no moment without repositories; when none of ours can be written, theirs
//! stay.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use drydock_domain::inventory::{Finding, ManagerKind};
use drydock_domain::source::host::{HostSources, HostSourcesReport, HostSourcesState, SourcesMode};
use drydock_pkgmgr::run::{CommandSpec, Runner};

use super::disk::{Disk, DiskError, exists};
use super::displace::{displace, put_back};
use super::journal::{Journal, Kept, RpmKey, Taken};
use super::plugin;
use super::render::{CLIENT_FILE, CONTENT_DIR, KEYS_DIR, Rendered, finding};
use super::takeover::{self, Places};

/// Files looked at in one directory, count.
const OWN_FILES_MAX: usize = 10_000;
/// Reading or changing the keys of the rpm database.
const RPM_LIMIT: Duration = Duration::from_secs(120);

/// The host to work on.
pub struct Site<'a> {
    /// Its files.
    pub disk: &'a Disk,
    /// Its package manager.
    pub manager: ManagerKind,
    /// Runs rpm; `None` = another root than the running system's, whose rpm is not ours to ask.
    pub runner: Option<&'a dyn Runner>,
}

/// Applies `document`; `rendered` are the files it means here.
pub fn apply(site: &Site<'_>, kept: &mut Kept, document: &HostSources, rendered: &Rendered) -> HostSourcesReport {
    let mut findings = rendered.findings.clone();
    let complete = match change(site, kept, document, rendered, &mut findings) {
        Ok(complete) => complete && !rendered.incomplete,
        Err(e) => {
            findings.push(finding("sources", &e.to_string()));
            false
        }
    };
    HostSourcesReport {
        generation: document.generation,
        state: if complete { HostSourcesState::Applied } else { HostSourcesState::Failed },
        taken_over: set_aside(&kept.journal),
        findings,
    }
}

/// Definitions of others that are not where they were.
fn set_aside(journal: &Journal) -> Vec<String> {
    let mut all: Vec<String> = journal.taken.iter().chain(&journal.displaced).map(|t| t.original.clone()).collect();
    all.sort_unstable();
    all
}

/// Makes the changes; false when something is left to do that a later try may achieve.
fn change(
    site: &Site<'_>,
    kept: &mut Kept,
    document: &HostSources,
    rendered: &Rendered,
    findings: &mut Vec<Finding>,
) -> Result<bool, DiskError> {
    let places = Places::of(site.manager);
    mend(site, kept, places, findings)?;
    let exclusive = document.mode == SourcesMode::Exclusive;
    if !exclusive {
        findings.extend(takeover::restore(site.disk, kept)?);
    }
    write(site.disk, kept, rendered, findings)?;
    // Sources that cannot be written to this host must not leave it with no repository at all.
    let in_place = document.sources.is_empty() || rendered.files.iter().any(|f| places.defines(&f.path));
    if exclusive && in_place {
        takeover::take(site.disk, kept, places)?;
    } else if exclusive {
        findings.push(finding("sources", "none of them can be written to this host; its own definitions are not set aside"));
    }
    let restored = exclusive || kept.journal.taken.is_empty();
    Ok(keys(site, kept, &rendered.rpm_keys, findings)? && restored)
}

/// Gives the host back: everything set aside returns, everything of ours goes. An error leaves the journal, so that it
/// can be repeated.
pub fn release(site: &Site<'_>, kept: &mut Kept) -> Result<Vec<Finding>, DiskError> {
    let mut findings = Vec::new();
    mend(site, kept, Places::of(site.manager), &mut findings)?;
    findings.extend(takeover::restore(site.disk, kept)?);
    keys(site, kept, &[], &mut findings)?;
    write(site.disk, kept, &Rendered::default(), &mut findings)?;
    Ok(findings)
}

fn mend(site: &Site<'_>, kept: &mut Kept, places: Places, findings: &mut Vec<Finding>) -> Result<(), DiskError> {
    // A state directory that was emptied: the journal is always written before the first file of ours.
    let gone = kept.missing && exists(&site.disk.host(CLIENT_FILE));
    let why = kept.problem.clone().or_else(|| gone.then(|| "it is gone, its work is not".to_owned()));
    if let Some(why) = why {
        let message =
            format!("the journal of the sources could not be believed ({why}); it was rebuilt from the names of the files");
        findings.push(finding("journal", &message));
        takeover::rebuild(site.disk, kept, places)?;
        let found = own_files(site.disk);
        let dirs = [CONTENT_DIR.to_owned(), KEYS_DIR.to_owned(), format!("{CONTENT_DIR}/ca")];
        // Beside a file of ours lies what had its path before.
        let backup = |file: &String| format!("{file}.{}", takeover::BACKUP);
        let displaced: Vec<Taken> = found
            .iter()
            .filter(|file| exists(&site.disk.host(&backup(file))))
            .map(|file| Taken { original: file.clone(), backup: backup(file), newer: None })
            .collect();
        kept.update(site.disk, |j| {
            j.taken.retain(|t| !found.contains(&t.original));
            j.displaced.extend(displaced);
            j.files.extend(found);
            j.dirs.extend(dirs);
        })?;
    }
    Ok(())
}

/// Files that can only be ours, by their names. A plugin's file lies where only the package manager knows; applying a
/// document finds it again.
fn own_files(disk: &Disk) -> Vec<String> {
    let places = [
        ("/etc/yum.repos.d", "drydock.repo"),
        ("/etc/zypp/repos.d", "drydock-"),
        ("/etc/apt/sources.list.d", "drydock.sources"),
        ("/etc/apt/apt.conf.d", "50drydock"),
        ("/etc/apt/preferences.d", "50drydock.pref"),
        ("/etc/apt/keyrings", "drydock.gpg"),
        ("/etc/dnf/plugins", "drydock.conf"),
        ("/etc/dnf/repos.override.d", "99-drydock.repo"),
        ("/etc/dnf/libdnf5-plugins/actions.d", "drydock.actions"),
        ("/etc/yum/pluginconf.d", "drydock.conf"),
        (CONTENT_DIR, ""),
        (KEYS_DIR, ""),
        ("/etc/drydock-agent/content/ca", ""),
    ];
    let mut out = Vec::new();
    for (dir, start) in places {
        for entry in std::fs::read_dir(disk.host(dir)).into_iter().flatten().flatten().take(OWN_FILES_MAX) {
            let is_file = entry.file_type().is_ok_and(|t| t.is_file());
            // What was set aside is somebody else's, whatever it was called.
            if let Ok(name) = entry.file_name().into_string()
                && is_file
                && name.starts_with(start)
                && !name.contains(takeover::BACKUP)
            {
                out.push(format!("{dir}/{name}"));
            }
        }
    }
    out
}

/// Writes `rendered` and removes what earlier documents had beyond it.
fn write(disk: &Disk, kept: &mut Kept, rendered: &Rendered, findings: &mut Vec<Finding>) -> Result<(), DiskError> {
    let wanted: BTreeSet<&str> = rendered.files.iter().map(|f| f.path.as_str()).collect();
    displace(disk, kept, &wanted)?;
    let dirs = with_parents(disk, &rendered.dirs);
    let new_dirs: Vec<String> = dirs.iter().map(|(d, _)| d).filter(|d| !disk.host(d).is_dir()).cloned().collect();
    kept.update(disk, |j| {
        let missing: Vec<String> = wanted.iter().filter(|w| !j.files.iter().any(|f| f == *w)).map(|w| (*w).to_owned()).collect();
        j.files.extend(missing);
        for dir in new_dirs {
            if !j.dirs.contains(&dir) {
                j.dirs.push(dir);
            }
        }
    })?;
    for (dir, mode) in &dirs {
        // Others' directories keep their modes; only what leads to our files must be passable.
        let mode = if dir.starts_with("/etc/drydock-agent") || !disk.host(dir).is_dir() { *mode } else { 0 };
        disk.make_dir(&disk.host(dir), mode)?;
    }
    for file in &rendered.files {
        disk.write(&disk.host(&file.path), &file.bytes, file.mode, file.owner)?;
    }
    let stale: Vec<String> = kept.journal.files.iter().filter(|f| !wanted.contains(f.as_str())).cloned().collect();
    for path in &stale {
        let real = disk.host(path);
        for compiled in plugin::compiled(&real) {
            disk.remove(&compiled)?;
        }
        disk.remove(&real)?;
    }
    let is_used = |dir: &String| dirs.iter().any(|(d, _)| Path::new(d).starts_with(dir));
    let unused: Vec<String> = kept.journal.dirs.iter().rev().filter(|d| !is_used(d)).cloned().collect();
    for dir in &unused {
        disk.remove_dir(&disk.host(dir))?;
    }
    // A directory in which somebody else's file lies is not ours any more.
    kept.update(disk, |j| {
        j.files.retain(|f| wanted.contains(f.as_str()));
        j.dirs.retain(is_used);
    })?;
    put_back(disk, kept, &wanted, findings)
}

/// `dirs` and what is missing above them, parents first.
fn with_parents(disk: &Disk, dirs: &[(String, u32)]) -> Vec<(String, u32)> {
    let mut out: Vec<(String, u32)> = Vec::new();
    for (dir, mode) in dirs {
        let mut above: Vec<&Path> = Path::new(dir).ancestors().skip(1).collect();
        above.reverse();
        for parent in above.into_iter().filter_map(Path::to_str) {
            if !disk.host(parent).is_dir() && !out.iter().any(|(d, _)| d == parent) {
                out.push((parent.to_owned(), 0o755));
            }
        }
        if !out.iter().any(|(d, _)| d == dir) {
            out.push((dir.clone(), *mode));
        }
    }
    out
}

/// Gives the rpm database the keys in `wanted` and takes back those it no longer needs; false when it lacks one.
fn keys(site: &Site<'_>, kept: &mut Kept, wanted: &[String], findings: &mut Vec<Finding>) -> Result<bool, DiskError> {
    let mut complete = true;
    let gone: Vec<RpmKey> = kept.journal.rpm_keys.iter().filter(|k| !wanted.contains(&k.file)).cloned().collect();
    for key in gone {
        let still_used: BTreeSet<&String> =
            kept.journal.rpm_keys.iter().filter(|k| k.file != key.file).flat_map(|k| &k.packages).collect();
        for package in key.packages.iter().filter(|p| !still_used.contains(p)) {
            if site.disk.note()
                && let Some(runner) = site.runner
                && let Err(why) = rpm(runner, &["-e", package])
            {
                tracing::warn!("the key {package} stays in the rpm database: {why}");
            }
        }
        kept.update(site.disk, |j| j.rpm_keys.retain(|k| k.file != key.file))?;
    }
    for file in wanted {
        if kept.journal.rpm_keys.iter().any(|k| k.file == *file) || !site.disk.note() {
            continue;
        }
        let Some(runner) = site.runner else { continue };
        match import(runner, file) {
            Ok(packages) => {
                let key = RpmKey { file: file.clone(), packages };
                kept.update(site.disk, |j| j.rpm_keys.push(key))?;
            }
            Err(why) => {
                complete = false;
                findings.push(finding(file, &format!("the key could not be given to the rpm database: {why}")));
            }
        }
    }
    Ok(complete)
}

/// Imports a key file; the packages that were not there before.
fn import(runner: &dyn Runner, file: &str) -> Result<Vec<String>, String> {
    let present = || -> Result<BTreeSet<String>, String> {
        let text = rpm(runner, &["-qa", "gpg-pubkey*"])?;
        Ok(text.lines().map(|l| l.trim().to_owned()).filter(|l| l.starts_with("gpg-pubkey")).collect())
    };
    let before = present()?;
    rpm(runner, &["--import", file])?;
    Ok(present()?.difference(&before).cloned().collect())
}

fn rpm(runner: &dyn Runner, args: &[&str]) -> Result<String, String> {
    let spec = CommandSpec::new("rpm", "rpm (keys)", RPM_LIMIT).args(args.iter().copied());
    let done = runner.run(&spec).map_err(|e| e.to_string())?;
    if done.success() {
        return Ok(done.stdout.text());
    }
    Err(format!("{}: {}", done.describe_end(), done.stderr.text().trim().chars().take(300).collect::<String>()))
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
