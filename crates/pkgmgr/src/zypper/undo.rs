//! Taking a task back with zypper: one dry run of exactly the inverse, with local files of versions that no repository
//! offers; zypper asks a person where that cannot be, and its question is the refusal.

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::pattern::Pattern;
use drydock_domain::patch::report::Plan;
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::UndoOrder;

use super::{LOCKED, Zypper, actions_of, auto, command, is_good, refusal, words};
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::undo::{Undo, inexact};
use crate::wish::refuse_protected;

const TOOL: &str = "zypper";

pub(super) fn plan(zypper: &Zypper, runner: &dyn Runner, config: &PatchConfig, order: &UndoOrder) -> Result<Plan, PkgError> {
    let undo = Undo::new(config, order, &zypper.installed(runner)?, &[], &rpm::order)?;
    refuse_protected(runner, TOOL, &undo.actions)?;
    let locks = zypper.list(runner, &command::locks())?.locks.into_iter().map(Pattern);
    let locks = Excludes::new(&locks.filter(|p| p.compile().is_ok()).collect::<Vec<_>>())?;
    let locked = undo.actions.iter().filter(|a| locks.matching(&a.name).is_some());
    let locked: Vec<String> =
        locked.map(|a| format!("{} is {LOCKED}; an administrator of the host has to release it first", a.name)).collect();
    if !locked.is_empty() {
        return Err(inexact(TOOL, locked));
    }
    let mut actions = Vec::new();
    if !undo.actions.is_empty() {
        let (answer, finished) = zypper.ask(runner, &command::dry_run(&words(&undo.actions, &[], Some(order))?, true))?;
        if !is_good(&finished) {
            return Err(inexact(TOOL, vec![refusal(&answer, &finished)]));
        }
        actions = actions_of(&answer, None);
        undo.exact(TOOL, &actions)?;
    }
    let before = auto::standing(&zypper.root, &actions);
    Ok(Plan {
        manager: ManagerKind::Zypper,
        actions,
        skipped: Vec::new(),
        patches: Vec::new(),
        requested: Vec::new(),
        modules: Vec::new(),
        findings: Vec::new(),
        before: Some(before),
        undo: Some(order.clone()),
    })
}
