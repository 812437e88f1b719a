//! Planning named packages with zypper: one dry run of all of them. zypper protects nothing by itself and knows no
//! dependencies that it would not note as asked for, hence no `requested`.

use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::Plan;

use super::{LOCKED, World, Zypper, actions_of, command, is_good, refusal};
use crate::error::PkgError;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::wish::{Wishes, refuse_protected};

const TOOL: &str = "zypper";

pub(super) fn plan(zypper: &Zypper, runner: &dyn Runner, packages: &PackageChanges, world: World) -> Result<Plan, PkgError> {
    let installed = PackageSet::new(zypper.installed(runner)?);
    let mut wishes = Wishes::new(packages, &installed, &rpm::order)?;
    wishes.keep(TOOL, &|w| world.locks.matching(&w.name).map(|_| LOCKED.to_owned()))?;
    let arriving = wishes.install.iter().chain(&wishes.update).map(|w| word(w, ""));
    let words: Vec<String> = arriving.chain(wishes.remove.iter().map(|w| word(w, "!"))).collect();
    let mut actions = Vec::new();
    if !words.is_empty() {
        let refused = |details| PkgError::Refused { tool: TOOL.to_owned(), details };
        let spec = command::named_dry_run(&words, wishes.may_go_back(), !wishes.remove.is_empty());
        let (answer, finished) = zypper.ask(runner, &spec)?;
        if !is_good(&finished) {
            return Err(refused(refusal(&answer, &finished)));
        }
        actions = actions_of(&answer, Some(&world));
        if let Some(locked) = actions.iter().find(|a| world.locks.matching(&a.name).is_some()) {
            return Err(refused(format!("it would change {}, {LOCKED}", locked.name)));
        }
    }
    refuse_protected(runner, TOOL, &actions)?;
    wishes.settle(TOOL, &actions, &|_| None)?;
    Ok(Plan {
        manager: ManagerKind::Zypper,
        actions,
        requested: wishes.requested(),
        modules: Vec::new(),
        skipped: wishes.notes,
        patches: Vec::new(),
        findings: world.findings,
        before: None,
        undo: None,
    })
}

/// `name.arch=version`, as far as it is said; `!` in front removes.
fn word(word: &PackageWord, sign: &str) -> String {
    let part = |mark: char, text: &Option<String>| text.as_ref().map(|t| format!("{mark}{t}")).unwrap_or_default();
    format!("{sign}{}{}{}", word.name, part('.', &word.arch), part('=', &word.version))
}
