//! `apt-mark`: which packages came as dependencies, read before and restored after installing exact versions.
//!
//! `apt-mark showauto NAME…` prints those of the names that are marked automatic, one per line.

use std::collections::BTreeSet;
use std::path::Path;

use drydock_domain::patch::report::{ActionKind, PlannedAction};

use super::Native;
use crate::error::PkgError;
use crate::exec::{QUERY_TIME_LIMIT, run_text};
use crate::run::{CommandSpec, Runner};

/// Where apt keeps its marks; absent before the first dependency came:
///
/// ```text
/// Package: libfoo1
/// Architecture: amd64
/// Auto-Installed: 1
/// ```
const EXTENDED_STATES: &str = "var/lib/apt/extended_states";

/// The packages that are marked as dependencies, as (name, architecture).
pub(super) fn kept(root: &Path) -> BTreeSet<(String, String)> {
    parse_states(&std::fs::read_to_string(root.join(EXTENDED_STATES)).unwrap_or_default())
}

fn parse_states(text: &str) -> BTreeSet<(String, String)> {
    let stanza = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
        (field("Auto-Installed") == Some("1")).then(|| Some((field("Package")?.to_owned(), field("Architecture")?.to_owned())))?
    };
    text.split("\n\n").filter_map(stanza).collect()
}

fn mark(verb: &str, names: &[String]) -> CommandSpec {
    CommandSpec::new("apt-mark", format!("apt-mark {verb}"), QUERY_TIME_LIMIT).args([verb, "--"]).args(names.iter().cloned())
}

/// The packages of the plan that have to be marked automatic afterwards: those that are now, and new ones that nobody
/// `requested`, which only come as dependencies.
pub(super) fn automatic(
    runner: &dyn Runner,
    actions: &[PlannedAction],
    requested: &[String],
    native: &Native,
) -> Result<Vec<String>, PkgError> {
    let words = |new: bool| -> Vec<String> {
        actions
            .iter()
            .filter(|a| a.action != ActionKind::Remove && (a.action == ActionKind::Install) == new)
            .filter(|a| !new || !requested.contains(&a.name))
            .map(|a| native.word(&a.name, &a.arch))
            .collect()
    };
    let present = words(false);
    let mut automatic = words(true);
    if !present.is_empty() {
        automatic.extend(run_text(runner, &mark("showauto", &present), &[0])?.lines().map(str::to_owned));
    }
    Ok(automatic)
}

/// Marks them; a failed transaction may have left some of them out, which `apt-mark` then names and skips.
pub(super) fn restore(runner: &dyn Runner, names: &[String]) -> Result<(), PkgError> {
    if names.is_empty() {
        return Ok(());
    }
    run_text(runner, &mark("auto", names), &[0, 100]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_as_a_dependency_is_kept_as_one() {
        let text = "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nArchitecture: amd64\nAuto-Installed: 0\n\n\
            Package: c\nArchitecture: i386\nAuto-Installed: 1\n";
        let kept: Vec<_> = parse_states(text).into_iter().map(|(n, a)| format!("{n}:{a}")).collect();
        assert_eq!(kept, ["a:amd64", "c:i386"]);
        assert!(parse_states("").is_empty());
    }
}
