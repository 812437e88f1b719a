//! `apt-get install` of exact versions, and what it says of packages that failed (apt 2.6, dpkg 1.21):
//!
//! ```text
//! Setting up dd-fails (2.0-1) ...
//! dpkg: error processing package dd-fails (--configure):
//!  installed dd-fails package post-installation script subprocess returned error exit status 1
//! Errors were encountered while processing:
//!  dd-fails
//! E: Sub-process /usr/bin/dpkg returned an error code (1)
//! ```

use drydock_domain::patch::report::{ActionKind, PlannedAction};
use drydock_domain::patch::undo::UndoOrder;

use super::Native;
use crate::error::PkgError;
use crate::exec::{APPLY_TIME_LIMIT, LOCK_WAIT_LIMIT};
use crate::run::CommandSpec;

/// Options of every dpkg run: a changed configuration file is kept and never asked about.
pub(crate) const CONFFILE_OPTIONS: [&str; 2] = ["--force-confdef", "--force-confold"];

/// The command for exactly these actions.
pub(crate) fn spec(actions: &[PlannedAction], native: &Native, undo: Option<&UndoOrder>) -> Result<CommandSpec, PkgError> {
    Ok(command(actions, native, undo, "apt-get install", &["install"])?.mutating())
}

/// Only downloads what [`spec`] would install.
pub(crate) fn download(actions: &[PlannedAction], native: &Native) -> Result<CommandSpec, PkgError> {
    command(actions, native, None, "apt-get --download-only install", &["--download-only", "install"])
}

fn command(
    actions: &[PlannedAction],
    native: &Native,
    undo: Option<&UndoOrder>,
    label: &str,
    verb: &[&str],
) -> Result<CommandSpec, PkgError> {
    let mut spec = CommandSpec::new("apt-get", label, APPLY_TIME_LIMIT)
        .args(["-y", "-q", "-o", "APT::Color=0", "-o", "Dpkg::Use-Pty=0"])
        .args(["-o".to_owned(), format!("DPkg::Lock::Timeout={}", LOCK_WAIT_LIMIT.as_secs())]);
    for option in CONFFILE_OPTIONS {
        spec = spec.args(["-o".to_owned(), format!("Dpkg::Options::={option}")]);
    }
    spec = spec.args(["--no-install-recommends"]);
    if has(actions, ActionKind::Downgrade) {
        spec = spec.args(["--allow-downgrades"]);
    }
    if !has(actions, ActionKind::Remove) {
        spec = spec.args(["--no-remove"]);
    }
    Ok(spec.args(verb.iter().copied()).args(["--"]).args(words(actions, native, undo)?))
}

/// Does the plan hold such an action?
pub(crate) fn has(actions: &[PlannedAction], kind: ActionKind) -> bool {
    actions.iter().any(|a| a.action == kind)
}

/// The words of `apt-get install`: `name:arch=version`, and `name:arch-` for a removal. Refuses anything that could be
/// an option or a pattern.
///
/// A version of which `undo` brings a file is asked for by the path of that file.
pub(crate) fn words(actions: &[PlannedAction], native: &Native, undo: Option<&UndoOrder>) -> Result<Vec<String>, PkgError> {
    let file = |a: &PlannedAction| undo?.local_file(&a.name, &a.arch, a.to.as_deref()?).filter(|f| f.starts_with('/'));
    let word = |a: &PlannedAction| word(a, native).map(|word| file(a).map_or(word, str::to_owned));
    actions.iter().map(word).collect()
}

fn word(action: &PlannedAction, native: &Native) -> Result<String, PkgError> {
    let safe_name = action.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && action.name.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b));
    let safe_arch = action.arch.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let bad = || PkgError::BadPlan {
        details: format!("{} {:?} has an unusable name, architecture or version", action.name, action.to),
    };
    if !safe_name || !safe_arch {
        return Err(bad());
    }
    let name = native.word(&action.name, &action.arch);
    match (action.action, &action.to) {
        (ActionKind::Remove, _) => Ok(format!("{name}-")),
        (_, Some(to)) if !to.is_empty() && to.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-:~".contains(&b)) => {
            Ok(format!("{name}={to}"))
        }
        _ => Err(bad()),
    }
}

/// Packages dpkg named as failed, each with the line that says why.
pub(crate) fn parse_failures(text: &str) -> Vec<(String, String)> {
    let mut failures: Vec<(String, String)> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let rest =
            line.strip_prefix("dpkg: error processing package ").or_else(|| line.strip_prefix("dpkg: error processing archive "));
        let Some(rest) = rest else { continue };
        let named = rest.split([' ', ':']).next().unwrap_or(rest);
        // An archive is named by its path: /var/cache/apt/archives/NAME_VERSION_ARCH.deb
        let name = named.rsplit('/').next().unwrap_or(named).split('_').next().unwrap_or(named).to_owned();
        let mut why = String::new();
        while let Some(next) = lines.next_if(|l| l.starts_with(' ')) {
            why.push_str(if why.is_empty() { "" } else { " " });
            why.push_str(next.trim());
        }
        if !failures.iter().any(|(n, _)| *n == name) {
            failures.push((name, crate::exec::cut(&why)));
        }
    }
    failures
}

/// apt's own `E:` lines, joined: the reason of a failure for people.
pub(crate) fn errors(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("E: ")).collect();
    crate::exec::cut(&lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_packages_come_with_dpkgs_words() {
        let text = "Setting up dd-fails (2.0-1) ...\ndpkg: error processing package dd-fails (--configure):\n \
            installed dd-fails package post-installation script subprocess returned error exit status 1\n\
            dpkg: dependency problems prevent configuration of dd-needs:amd64:\n dd-needs depends on dd-fails.\n\n\
            dpkg: error processing package dd-needs:amd64 (--configure):\n dependency problems - leaving unconfigured\n\
            dpkg: error processing archive /var/cache/apt/archives/dd-clash_2.0-1_all.deb (--unpack):\n trying to overwrite '/x'\n\
            Errors were encountered while processing:\n dd-fails\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n";
        let got = parse_failures(text);
        let names: Vec<_> = got.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["dd-fails", "dd-needs", "dd-clash"]);
        assert!(got[0].1.ends_with("exit status 1"));
        assert_eq!(errors(text), "Sub-process /usr/bin/dpkg returned an error code (1)");
    }
}
