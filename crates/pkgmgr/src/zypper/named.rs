//! Planning named packages with zypper: one dry run of all of them. zypper protects nothing by itself and knows no
//! dependencies that it would not note as asked for, hence no `requested`.

use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::{Plan, PlannedAction};

use super::{LOCKED, Newer, World, Zypper, actions_of, auto, command, is_good, refusal};
use crate::barred::{self, Bars};
use crate::error::PkgError;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::wish::{Wishes, refuse_protected};

const TOOL: &str = "zypper";

pub(super) fn plan(
    zypper: &Zypper,
    runner: &dyn Runner,
    packages: &PackageChanges,
    bars: Bars<'_>,
    world: World,
) -> Result<Plan, PkgError> {
    let installed = PackageSet::new(zypper.installed(runner)?);
    let mut wishes = Wishes::new(packages, &installed, &rpm::order)?;
    wishes.keep(TOOL, &|w| world.locks.matching(&w.name).map(|_| LOCKED.to_owned()))?;
    let actions = unbarred(zypper, runner, &mut wishes, bars, &world)?;
    refuse_protected(runner, TOOL, &actions)?;
    wishes.settle(TOOL, &actions, &|_| None)?;
    let before = auto::standing(&zypper.root, &actions);
    Ok(Plan {
        manager: ManagerKind::Zypper,
        actions,
        requested: wishes.requested(),
        modules: Vec::new(),
        skipped: wishes.notes,
        patches: Vec::new(),
        findings: world.findings,
        before: Some(before),
        undo: None,
    })
}

/// zypper's transaction without barred versions: a package that is only to be updated gets the newest other version, or is
/// noted; anything else that brings a barred version refuses the plan.
fn unbarred(
    zypper: &Zypper,
    runner: &dyn Runner,
    wishes: &mut Wishes,
    bars: Bars<'_>,
    world: &World,
) -> Result<Vec<PlannedAction>, PkgError> {
    loop {
        let actions = ask(zypper, runner, wishes, world)?;
        let Some((action, why)) = bars.first(&actions) else { return Ok(actions) };
        let names = |w: &PackageWord| w.name == action.name && w.arch.as_ref().is_none_or(|a| *a == action.arch);
        let Some(at) = wishes.update.iter().position(names) else {
            return Err(PkgError::Refused { tool: TOOL.to_owned(), details: barred::told(action, &why) });
        };
        let (from, to) = (action.from.as_deref().unwrap_or_default(), action.to.as_deref().unwrap_or_default());
        let newer = Newer { name: &action.name, arch: &action.arch, from, to };
        let asked = wishes.update[at].version.is_none() && !from.is_empty();
        let older = if asked { zypper.unbarred(runner, &[newer], bars)?.into_values().next() } else { None };
        wishes.notes.push(barred::skipped(action, why));
        match older {
            Some(version) => wishes.update[at].version = Some(version),
            None => {
                wishes.update.remove(at);
            }
        }
    }
}

/// zypper's transaction for the words, or its refusal.
fn ask(zypper: &Zypper, runner: &dyn Runner, wishes: &Wishes, world: &World) -> Result<Vec<PlannedAction>, PkgError> {
    let arriving = wishes.install.iter().chain(&wishes.update).map(|w| word(w, ""));
    let words: Vec<String> = arriving.chain(wishes.remove.iter().map(|w| word(w, "!"))).collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let refused = |details| PkgError::Refused { tool: TOOL.to_owned(), details };
    let spec = command::named_dry_run(&words, wishes.may_go_back(), !wishes.remove.is_empty());
    let (answer, finished) = zypper.ask(runner, &spec)?;
    if !is_good(&finished) {
        return Err(refused(refusal(&answer, &finished)));
    }
    let actions = actions_of(&answer, Some(world));
    if let Some(locked) = actions.iter().find(|a| world.locks.matching(&a.name).is_some()) {
        return Err(refused(format!("it would change {}, {LOCKED}", locked.name)));
    }
    Ok(actions)
}

/// `name.arch=version`, as far as it is said; `!` in front removes.
fn word(word: &PackageWord, sign: &str) -> String {
    let part = |mark: char, text: &Option<String>| text.as_ref().map(|t| format!("{mark}{t}")).unwrap_or_default();
    format!("{sign}{}{}{}", word.name, part('.', &word.arch), part('=', &word.version))
}
