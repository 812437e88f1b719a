//! `apt-mark`: which packages came as dependencies, read before and restored after installing exact versions.
//!
//! `apt-mark showauto NAME…` prints those of the names that are marked automatic, one per line.

use drydock_domain::patch::report::{ActionKind, PlannedAction};

use super::Native;
use crate::error::PkgError;
use crate::exec::{QUERY_TIME_LIMIT, run_text};
use crate::run::{CommandSpec, Runner};

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
