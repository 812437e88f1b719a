//! zypper's commands and exit codes (zypper(8), 1.14), and `zypper info -t patch`, which has no form for machines:
//!
//! ```text
//! Information for patch SUSE-2026-1:
//! ----------------------------------
//! Name        : SUSE-2026-1
//! Conflicts   : [2]
//!     openssl.x86_64 < 3.1-2
//!     openssl < 3.1-2
//! ```
//!
//! A patch "conflicts" with the package versions older than those it brings.

use std::time::Duration;

use crate::exec::{APPLY_TIME_LIMIT, QUERY_TIME_LIMIT, REFRESH_TIME_LIMIT, SOLVE_TIME_LIMIT, cut};
use crate::run::{CommandSpec, End, Finished};

/// The solver found no solution by itself.
pub(crate) const EXIT_ZYPP: i32 = 4;
/// Another zypper runs.
pub(crate) const EXIT_LOCKED: i32 = 7;
/// A name is not known.
pub(crate) const EXIT_NOT_FOUND: i32 = 104;
/// A reboot is suggested.
pub(crate) const EXIT_REBOOT: i32 = 102;
/// Repositories were skipped because they are broken.
pub(crate) const EXIT_REPOS_SKIPPED: i32 = 106;
/// A %post script failed; everything is installed.
pub(crate) const EXIT_SCRIPT_FAILED: i32 = 107;
/// Exit codes of an answer that can be read: 100 and 101 tell of needed patches, 103 of a zypper that was updated.
pub(crate) const GOOD: [i32; 7] = [0, 100, 101, EXIT_REBOOT, 103, EXIT_REPOS_SKIPPED, EXIT_SCRIPT_FAILED];
/// Patch names on one command line.
pub(crate) const NAMES_PER_COMMAND: usize = 500;

fn xml(label: &str, limit: Duration) -> CommandSpec {
    CommandSpec::new("zypper", label, limit).args(["--xmlout", "--non-interactive", "--no-refresh"])
}

/// Reads the repositories' metadata.
pub(crate) fn refresh() -> CommandSpec {
    CommandSpec::new("zypper", "zypper refresh", REFRESH_TIME_LIMIT).args(["--xmlout", "--non-interactive", "refresh"])
}

/// Needed and optional patches.
pub(crate) fn list_patches() -> CommandSpec {
    xml("zypper list-patches", SOLVE_TIME_LIMIT).args(["list-patches", "--with-optional"])
}

/// Needed and optional patches that close a CVE.
pub(crate) fn patches_for_cve(cve: &str) -> CommandSpec {
    list_patches().args([format!("--cve={cve}")])
}

/// What installing and removing named packages would do; `removes`: also what depends on the removed ones goes, as with
/// `zypper remove`.
pub(crate) fn named_dry_run(words: &[String], downgrade: bool, removes: bool) -> CommandSpec {
    let spec = xml("zypper install --dry-run", SOLVE_TIME_LIMIT).args(["install", "--dry-run"]);
    let spec = if removes { spec.args(["--force-resolution"]) } else { spec };
    options(spec, downgrade).args(["--"]).args(words.iter().cloned())
}

/// Only downloads what [`install`] would install.
pub(crate) fn download(words: &[String], downgrade: bool) -> CommandSpec {
    let spec = CommandSpec::new("zypper", "zypper install --download-only", APPLY_TIME_LIMIT).args([
        "--non-interactive",
        "--no-refresh",
        "--no-color",
        "install",
        "--download-only",
    ]);
    options(spec, downgrade).args(["--"]).args(words.iter().cloned())
}

/// Newer packages, also those that locks or dependencies keep.
pub(crate) fn list_updates() -> CommandSpec {
    xml("zypper list-updates", SOLVE_TIME_LIMIT).args(["list-updates", "--all"])
}

/// Every version that repositories have of these packages.
pub(crate) fn versions(names: &[String]) -> CommandSpec {
    xml("zypper search", SOLVE_TIME_LIMIT)
        .args(["search", "--details", "--match-exact", "--type", "package", "--"])
        .args(names.iter().cloned())
}

/// Package locks.
pub(crate) fn locks() -> CommandSpec {
    xml("zypper locks", QUERY_TIME_LIMIT).args(["locks"])
}

/// What patches bring.
pub(crate) fn patch_info(names: &[String]) -> CommandSpec {
    CommandSpec::new("zypper", "zypper info", SOLVE_TIME_LIMIT)
        .args(["--non-interactive", "--no-refresh", "info", "-t", "patch", "--"])
        .args(names.iter().cloned())
}

/// What installing these words would do.
pub(crate) fn dry_run(words: &[String], downgrade: bool) -> CommandSpec {
    let spec = xml("zypper install --dry-run", SOLVE_TIME_LIMIT).args(["install", "--dry-run"]);
    options(local(spec, words), downgrade).args(["--"]).args(words.iter().cloned())
}

/// Installs these words. Its output is for people, hence no XML.
pub(crate) fn install(words: &[String], downgrade: bool) -> CommandSpec {
    let spec = CommandSpec::new("zypper", "zypper install", APPLY_TIME_LIMIT).args([
        "--non-interactive",
        "--no-refresh",
        "--no-color",
        "install",
    ]);
    options(local(spec, words), downgrade).args(["--"]).args(words.iter().cloned()).mutating()
}

/// Package files by path are what the server's signed order says, byte for byte, whoever else signed them.
fn local(spec: CommandSpec, words: &[String]) -> CommandSpec {
    if words.iter().any(|w| w.starts_with('/')) { spec.args(["--allow-unsigned-rpm"]) } else { spec }
}

fn options(spec: CommandSpec, downgrade: bool) -> CommandSpec {
    let spec = spec.args(["--no-recommends", "--auto-agree-with-licenses"]);
    if downgrade { spec.args(["--oldpackage"]) } else { spec }
}

/// Exit code 102: libzypp noted that a patch or core package wants a reboot.
pub(crate) fn needs_rebooting() -> CommandSpec {
    CommandSpec::new("zypper", "zypper needs-rebooting", QUERY_TIME_LIMIT).args(["--non-interactive", "needs-rebooting"])
}

/// Are the dependencies of everything installed met?
pub(crate) fn verify() -> CommandSpec {
    xml("zypper verify --dry-run", SOLVE_TIME_LIMIT).args(["verify", "--dry-run"])
}

/// Another zypper or YaST holds the lock; zypper names it:
/// `System management is locked by the application with pid 4242 (zypper).`
pub(crate) fn locked(finished: &Finished) -> Option<Option<String>> {
    if finished.end != End::Exited(EXIT_LOCKED) {
        return None;
    }
    let text = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
    let holder =
        text.split_once("with pid ").map(|(_, rest)| rest.split(['.', '\n']).next().unwrap_or_default().trim().to_owned());
    Some(holder.map(|h| format!("process {h}")))
}

/// The packages each patch brings, as (patch, package, edition).
pub(crate) fn parse_patch_info(text: &str) -> Vec<(String, String, String)> {
    let (mut out, mut patch, mut inside) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        let value = |key: &str| line.strip_prefix(key).and_then(|r| r.trim_start().strip_prefix(':')).map(str::trim);
        if let Some(name) = value("Name") {
            patch = name.to_owned();
        }
        let entry = if let Some(first) = value("Conflicts") {
            inside = true;
            first
        } else if inside && line.starts_with(' ') {
            line.trim()
        } else {
            inside = false;
            continue;
        };
        let Some((package, edition)) = entry.split_once(" < ") else { continue };
        if package.contains(':') {
            continue; // srcpackage:… and pattern:… are not installed
        }
        out.push((patch.clone(), package.to_owned(), edition.to_owned()));
    }
    out
}

/// Packages zypper named as failed:
/// `Installation of dr-fails-2.0-1.noarch failed:` and `warning: %post(dr-postfails-2.0-1.noarch) scriptlet failed, exit status 1`.
pub(crate) fn parse_failures(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let named = if let Some(rest) = line.strip_prefix("Installation of ").or_else(|| line.strip_prefix("Removal of ")) {
            rest.split_once(" failed").map(|(nevra, _)| nevra)
        } else if line.contains("scriptlet failed") {
            line.split_once("%").and_then(|(_, r)| r.split_once('(')).and_then(|(_, r)| r.split_once(')')).map(|(n, _)| n)
        } else {
            None
        };
        if let Some(nevra) = named
            && !out.iter().any(|(n, _)| n == nevra)
        {
            out.push((nevra.to_owned(), cut(line)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_list_what_they_bring_on_one_line_or_many() {
        let text = "Information for patch A:\n---\nName        : A\nStatus      : needed\nConflicts   : dr-plain < 2.0-1\n\n\
            Information for patch B:\nName        : B\nConflicts   : [3]\n    openssl.x86_64 < 3.1-2\n    openssl < 3.1-2\n    srcpackage:openssl < 3.1-2\n";
        let got = parse_patch_info(text);
        let rows: Vec<_> = got.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        assert_eq!(rows, [("A", "dr-plain", "2.0-1"), ("B", "openssl.x86_64", "3.1-2"), ("B", "openssl", "3.1-2")]);
    }

    #[test]
    fn failed_packages_are_named_once() {
        let text = "error: %prein(dr-fails-2.0-1.noarch) scriptlet failed, exit status 1\n\
            Installation of dr-fails-2.0-1.noarch failed:\nwarning: %post(dr-postfails-2.0-1.noarch) scriptlet failed, exit status 1\n";
        let names: Vec<_> = parse_failures(text).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["dr-fails-2.0-1.noarch", "dr-postfails-2.0-1.noarch"]);
    }
}
