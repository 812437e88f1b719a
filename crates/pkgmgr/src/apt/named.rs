//! Planning named packages with apt: one simulation of all of them, as apt-get itself would do and refuse it.

use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::Plan;
use drydock_domain::version::{Scheme, compare};

use super::simulate::{self, Request, Simulation};
use super::{Apt, Database, HELD, Native, Offers, actions_of, install, plan};
use crate::barred::{self, Bars};
use crate::error::PkgError;
use crate::exec::{complete, run};
use crate::run::Runner;
use crate::wish::{Wishes, refuse_protected};

const TOOL: &str = "apt-get";

pub(super) fn plan(apt: &Apt, runner: &dyn Runner, packages: &PackageChanges, bars: Bars<'_>) -> Result<Plan, PkgError> {
    let database = Database::read(runner)?;
    let installed = PackageSet::new(database.installed());
    let order = |a: &str, b: &str| compare(Scheme::Deb, a, b).unwrap_or_else(|_| a.cmp(b));
    let mut wishes = Wishes::new(packages, &installed, &order)?;
    let held = |w: &PackageWord| {
        let held = database.find(&w.name, w.arch.as_deref()).is_some_and(|e| e.held);
        held.then(|| HELD.to_owned())
    };
    wishes.keep(TOOL, &held)?;
    let simulation = unbarred(apt, runner, &mut wishes, &database, bars)?;
    let actions = actions_of(&simulation, &database, &Offers::default());
    refuse_protected(runner, TOOL, &actions)?;
    let names: Vec<String> =
        actions.iter().filter(|a| a.from.is_some() && a.to.is_some()).map(|a| database.native.word(&a.name, &a.arch)).collect();
    let offers = apt.offers(runner, &names)?;
    let actions = actions_of(&simulation, &database, &offers);
    wishes.settle(TOOL, &actions, &|_| None)?;
    let requested = wishes.requested();
    let before = apt.standing(&database, &actions);
    Ok(Plan {
        manager: ManagerKind::Apt,
        actions,
        skipped: wishes.notes,
        patches: Vec::new(),
        requested,
        modules: Vec::new(),
        findings: Vec::new(),
        before: Some(before),
        undo: None,
    })
}

/// apt's transaction without barred versions: a package that is only to be updated gets the newest other version, or is
/// noted; anything else that brings a barred version refuses the plan.
fn unbarred(
    apt: &Apt,
    runner: &dyn Runner,
    wishes: &mut Wishes,
    database: &Database,
    bars: Bars<'_>,
) -> Result<Simulation, PkgError> {
    loop {
        if wishes.is_empty() {
            return Ok(Simulation::default());
        }
        let simulation = ask(runner, wishes, &database.native)?;
        let actions = actions_of(&simulation, database, &Offers::default());
        let Some((action, why)) = bars.first(&actions) else { return Ok(simulation) };
        let names = |w: &PackageWord| w.name == action.name && w.arch.as_ref().is_none_or(|a| *a == action.arch);
        // Every turn takes a word away or gives it a version, so there are not more turns than words.
        let Some(at) = wishes.update.iter().position(names) else {
            return Err(PkgError::Refused { tool: TOOL.to_owned(), details: barred::told(action, &why) });
        };
        let word = database.native.word(&action.name, &action.arch);
        let offers = apt.offers(runner, std::slice::from_ref(&word))?;
        let (from, to) = (action.from.as_deref().unwrap_or_default(), action.to.as_deref().unwrap_or_default());
        let free = |v: &&super::policy::Version| bars.why(&action.name, &action.arch, &v.version).is_none();
        let older = offers.between(&word, from, to).find(free).map(|v| v.version.clone());
        let older = older.filter(|_| wishes.update[at].version.is_none());
        wishes.notes.push(barred::skipped(action, why));
        match older {
            Some(version) => wishes.update[at].version = Some(version),
            None => {
                wishes.update.remove(at);
            }
        }
    }
}

/// apt's transaction for the words, or its refusal.
fn ask(runner: &dyn Runner, wishes: &Wishes, native: &Native) -> Result<Simulation, PkgError> {
    let arriving = wishes.install.iter().chain(&wishes.update).map(|w| word(w, native, ""));
    let words = arriving.chain(wishes.remove.iter().map(|w| word(w, native, "-"))).collect();
    let spec = simulate::spec(&Request::Named { words, downgrade: wishes.may_go_back() });
    let finished = run(runner, &spec)?;
    let text = complete(&spec, &finished)?;
    if !finished.success() {
        let (said, errors) = (finished.stderr.text(), install::errors(&finished.stderr.text()));
        // "held broken packages" says nothing that a person could act on; the line above it does.
        let unmet = format!("{text}\n{said}");
        let details = if errors.is_empty() || unmet.contains(" : ") { plan::unmet(&unmet) } else { errors };
        return Err(PkgError::Refused { tool: TOOL.to_owned(), details });
    }
    simulate::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
}

/// `name:arch=version`; a removal is `name:arch-` and takes whatever version there is, which was compared before.
fn word(word: &PackageWord, native: &Native, sign: &str) -> String {
    let name = native.word(&word.name, word.arch.as_deref().unwrap_or_default());
    match &word.version {
        Some(version) if sign.is_empty() => format!("{name}={version}"),
        _ => format!("{name}{sign}"),
    }
}
