//! Taking a task back with apt: one simulation of exactly the inverse; afterwards configuration files of packages that
//! were not there before are purged, and packages that came as dependencies are marked so again.
//!
//! apt has no word for "remove this and purge that": the transaction removes, then dpkg purges what has to leave nothing.

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::report::Plan;
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::{Mark, UndoOrder};
use drydock_domain::version::{Scheme, compare};

use super::dpkg_query::State;
use super::simulate::{self, Request};
use super::{Apt, Database, HELD, Offers, actions_of, install, marks, plan};
use crate::error::PkgError;
use crate::exec::{APPLY_TIME_LIMIT, complete, last_words, run, run_waiting};
use crate::manager::ApplyOutcome;
use crate::run::{CommandSpec, Runner};
use crate::undo::{Undo, inexact};
use crate::wish::refuse_protected;

const TOOL: &str = "apt-get";

pub(super) fn plan(apt: &Apt, runner: &dyn Runner, config: &PatchConfig, order: &UndoOrder) -> Result<Plan, PkgError> {
    let database = Database::read(runner)?;
    let undo = Undo::new(config, order, &database.installed(), &database.between(), &by_dpkg)?;
    let held = undo.actions.iter().filter(|a| database.is_held(&a.name, &a.arch));
    let held: Vec<String> =
        held.map(|a| format!("{} is {HELD}; an administrator of the host has to release it first", a.name)).collect();
    if !held.is_empty() {
        return Err(inexact(TOOL, held));
    }
    refuse_protected(runner, TOOL, &undo.actions)?;
    let mut actions = Vec::new();
    if !undo.actions.is_empty() {
        let words = install::words(&undo.actions, &database.native, Some(order))?;
        let spec = simulate::spec(&Request::Named { words, downgrade: true });
        let finished = run(runner, &spec)?;
        let text = complete(&spec, &finished)?;
        if !finished.success() {
            return Err(inexact(TOOL, refused(&format!("{text}\n{}", finished.stderr.text()))));
        }
        let simulation = simulate::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })?;
        actions = actions_of(&simulation, &database, &Offers::default());
        undo.exact(TOOL, &actions)?;
    }
    let before = apt.standing(&database, &actions);
    Ok(Plan {
        manager: ManagerKind::Apt,
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

pub(super) fn by_dpkg(a: &str, b: &str) -> std::cmp::Ordering {
    compare(Scheme::Deb, a, b).unwrap_or_else(|_| a.cmp(b))
}

/// Every version that no archive offers, or what apt says of dependencies.
fn refused(text: &str) -> Vec<String> {
    let errors: Vec<String> = text.lines().filter_map(|l| l.strip_prefix("E: ")).map(str::to_owned).collect();
    let missing: Vec<String> =
        errors.iter().filter(|e| e.contains("was not found") || e.contains("Unable to locate")).cloned().collect();
    if missing.is_empty() && (errors.is_empty() || text.contains(" : ")) {
        return vec![plan::unmet(text)];
    }
    if missing.is_empty() { errors } else { missing }
}

fn purge(words: &[String]) -> CommandSpec {
    CommandSpec::new("dpkg", "dpkg --purge", APPLY_TIME_LIMIT).args(["--purge", "--"]).args(words.iter().cloned()).mutating()
}

/// What is to be done beside versions, after a transaction that worked: `outcome` says when it cannot be.
pub(super) fn settle(runner: &dyn Runner, order: &UndoOrder, mut outcome: ApplyOutcome) -> Result<ApplyOutcome, PkgError> {
    let left = purgeable(&Database::read(runner)?, order);
    if !left.is_empty() {
        let finished = run_waiting(runner, &purge(&left), super::update::locked)?;
        outcome.output = super::repair::joined(&outcome.output, &finished.output());
        let still = purgeable(&Database::read(runner)?, order);
        if !still.is_empty() {
            outcome.success = false;
            outcome.message = format!(
                "{}; dpkg --purge left configuration files of {} ({}): {}",
                outcome.message,
                still.join(", "),
                finished.describe_end(),
                last_words(&finished)
            );
        }
    }
    let database = Database::read(runner)?;
    let back = order.actions.iter().filter(|a| a.before.is_some() && a.mark.is_some_and(|m| m != Mark::Person));
    let there = back.filter(|a| database.find(&a.name, Some(&a.arch)).is_some());
    let automatic: Vec<String> = there.map(|a| database.native.word(&a.name, &a.arch)).collect();
    if let Err(e) = marks::restore(runner, &automatic) {
        outcome.success = false;
        outcome.message = format!("{}; marking dependencies failed: {e}", outcome.message);
    }
    Ok(outcome)
}

/// Packages of the order that left configuration files which were not there before the task.
fn purgeable(database: &Database, order: &UndoOrder) -> Vec<String> {
    let gone = order.actions.iter().filter(|a| a.purge && a.before.is_none());
    let left = gone.filter(|a| {
        let entry = |e: &&super::dpkg_query::Entry| e.package.name == a.name && e.package.arch == a.arch;
        database.entries.iter().find(entry).is_some_and(|e| e.left && e.state == State::Absent)
    });
    left.map(|a| database.native.word(&a.name, &a.arch)).collect()
}
