//! What of a plan is true in the package database: before applying (what is left to do) and after (what happened).

use std::collections::BTreeSet;

use drydock_domain::inventory::{PackageSet, UpdateKind, changes, diff};
use drydock_domain::patch::report::{ActionKind, PackageOutcome, PackageResult, Plan, PlannedAction};

use crate::manager::BrokenPackage;

/// The actions of `plan` that are not yet true in `installed`.
///
/// An upgrade is done when the new version is there and the old one is gone: an rpm transaction killed half-way
/// leaves both.
pub fn remaining(plan: &Plan, installed: &PackageSet) -> Vec<PlannedAction> {
    plan.actions.iter().filter(|a| !is_done(a, installed)).cloned().collect()
}

fn is_done(action: &PlannedAction, installed: &PackageSet) -> bool {
    let has = |version: &Option<String>| {
        version.as_ref().is_some_and(|v| installed.find(&action.name, &action.arch).any(|p| p.version == *v))
    };
    match action.action {
        ActionKind::Install | ActionKind::Reinstall => has(&action.to),
        ActionKind::Upgrade | ActionKind::Downgrade => has(&action.to) && !has(&action.from),
        ActionKind::Remove => !has(&action.from),
    }
}

/// [`verify_with`] when nothing is known beyond the two package sets.
pub fn verify(plan: &Plan, before: &PackageSet, after: &PackageSet) -> Vec<PackageResult> {
    verify_with(plan, before, after, &[], &[])
}

/// What became of each planned package, and what changed without having been planned; sorted by name.
///
/// `broken` are packages the database holds half-way, `failed` what the tool named as failed, with its words.
pub fn verify_with(
    plan: &Plan,
    before: &PackageSet,
    after: &PackageSet,
    broken: &[BrokenPackage],
    failed: &[(String, String)],
) -> Vec<PackageResult> {
    let mut out: Vec<PackageResult> = plan.actions.iter().map(|a| judge(a, before, after, broken, failed)).collect();
    // (name, arch, version) that the plan accounts for, coming or going.
    let planned: BTreeSet<(&str, &str, &str)> = plan
        .actions
        .iter()
        .flat_map(|a| [&a.from, &a.to].into_iter().flatten().map(|v| (a.name.as_str(), a.arch.as_str(), v.as_str())))
        .collect();
    let mut delta = diff(before, after);
    // A line that is already told as Different (another version than planned) is not told again as unplanned.
    let told: BTreeSet<(String, String)> = out
        .iter()
        .filter(|r| r.outcome == PackageOutcome::Different)
        .map(|r| (r.planned.name.clone(), r.planned.arch.clone()))
        .collect();
    for side in [&mut delta.added, &mut delta.removed] {
        side.retain(|p| {
            !planned.contains(&(p.name.as_str(), p.arch.as_str(), p.version.as_str()))
                && !told.contains(&(p.name.clone(), p.arch.clone()))
        });
    }
    for change in changes(&delta) {
        let state = broken.iter().find(|b| b.package.name == change.name && b.package.arch == change.arch);
        let found = change.to.clone().or_else(|| state.map(|b| b.package.version.clone()));
        let action = match (&change.from, &change.to) {
            (None, _) => ActionKind::Install,
            (Some(_), None) if state.is_none() => ActionKind::Remove,
            (Some(_), _) => ActionKind::Upgrade,
        };
        out.push(PackageResult {
            planned: PlannedAction {
                action,
                name: change.name,
                arch: change.arch,
                from: change.from,
                to: found.clone(),
                repository: String::new(),
                kind: UpdateKind::Unknown,
                advisories: Vec::new(),
            },
            outcome: PackageOutcome::Unplanned,
            found,
            detail: state.map(|b| b.state.clone()).unwrap_or_default(),
        });
    }
    out.sort();
    out
}

fn judge(
    action: &PlannedAction,
    before: &PackageSet,
    after: &PackageSet,
    broken: &[BrokenPackage],
    failed: &[(String, String)],
) -> PackageResult {
    let half = broken.iter().find(|b| b.package.name == action.name && (b.package.arch == action.arch || action.arch.is_empty()));
    let versions =
        |set: &PackageSet| -> Vec<String> { set.find(&action.name, &action.arch).map(|p| p.version.clone()).collect() };
    let now = versions(after);
    let outcome = if half.is_some() {
        PackageOutcome::Different
    } else if is_done(action, after) {
        PackageOutcome::Applied
    } else if now == versions(before) {
        PackageOutcome::NotApplied
    } else {
        PackageOutcome::Different
    };
    let wanted = action.to.as_ref().filter(|to| now.contains(to)).cloned();
    // Several versions may be installed (kernels); the highest in the set's order stands for them.
    let found = wanted
        .or_else(|| if action.action == ActionKind::Install { None } else { now.last().cloned() })
        .or_else(|| half.map(|b| b.package.version.clone()));
    let words = failed.iter().find(|(name, _)| *name == action.name || *name == format!("{}:{}", action.name, action.arch));
    let detail = match (half, words, outcome) {
        (_, _, PackageOutcome::Applied) => String::new(),
        (Some(half), Some((_, words)), _) => format!("{}: {words}", half.state),
        (Some(half), None, _) => half.state.clone(),
        (None, Some((_, words)), _) => words.clone(),
        (None, None, PackageOutcome::Different) if now.len() > 1 => format!("installed more than once: {}", now.join(", ")),
        _ => String::new(),
    };
    PackageResult { planned: action.clone(), outcome, found, detail }
}

/// How what would happen now differs from what was planned; `None` when it does not. Repositories may differ.
pub(crate) fn difference(planned: &[PlannedAction], now: &[PlannedAction]) -> Option<String> {
    let key = |a: &PlannedAction| (a.name.clone(), a.arch.clone(), a.from.clone(), a.to.clone());
    let planned: BTreeSet<_> = planned.iter().map(key).collect();
    let now: BTreeSet<_> = now.iter().map(key).collect();
    let show = |(name, arch, from, to): &(String, String, Option<String>, Option<String>)| {
        let end = |v: &Option<String>| v.clone().unwrap_or_else(|| "none".to_owned());
        format!("{name}.{arch} {} → {}", end(from), end(to))
    };
    let gone = planned.difference(&now).map(|a| format!("planned {} does not happen", show(a)));
    let extra = now.difference(&planned).map(|a| format!("{} was not planned", show(a)));
    let all: Vec<String> = gone.chain(extra).collect();
    if all.is_empty() { None } else { Some(crate::exec::cut(&all.join("; "))) }
}
