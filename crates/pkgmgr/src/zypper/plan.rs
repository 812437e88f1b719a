//! Planning with zypper: selected patches, and with `with_update` every newer package, as exact words of one
//! `zypper install --dry-run`; what would touch an excluded or locked package is dropped and named.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::operation::UpdateType;
use drydock_domain::patch::report::{Plan, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;

use super::xml::{Answer, Listed};
use super::{LOCKED, Newer, Older, World, Zypper, actions_of, auto, command, is_good, refusal};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::run::Runner;
use crate::solve::{Wanted, solve};
use crate::wish::{type_of, unmatched};

pub(super) fn plan(
    zypper: &Zypper,
    runner: &dyn Runner,
    config: &PatchConfig,
    bars: Bars<'_>,
    world: World,
) -> Result<Plan, PkgError> {
    let settings = &config.zypper;
    let (ids, met) = chosen_ids(zypper, runner, config, &world)?;
    let excludes = Excludes::new(&settings.excludes)?;
    let mut skipped = Vec::new();
    let mut wanted = Vec::new();
    for patch in &world.patches {
        match patch_refused(patch, config, &ids, &excludes, &world) {
            Some(reason) => skipped.push(skip(patch, reason)),
            None => wanted.push(wish(patch, format!("patch:{}", patch.name))),
        }
    }
    let barred: Vec<Newer<'_>> =
        world.packages.iter().filter(|p| bars.why(&p.name, &p.arch, &p.edition).is_some()).map(newer).collect();
    let older = if barred.is_empty() { Older::new() } else { zypper.unbarred(runner, &barred, bars)? };
    wanted.extend(package_wishes(config, &excludes, bars, &older, &world));
    let mut attempt = |wanted: &[Wanted]| -> Result<Result<Answer, String>, PkgError> {
        let words: Vec<String> = wanted.iter().map(|w| w.word.clone()).collect();
        let (answer, finished) = zypper.ask(runner, &command::dry_run(&words, false))?;
        if !is_good(&finished) {
            return Ok(Err(refusal(&answer, &finished)));
        }
        Ok(match objection(&answer, &excludes, bars, &world) {
            Some(why) => Err(why),
            None => Ok(answer),
        })
    };
    let solved = solve(wanted, "zypper install --dry-run", &mut attempt)?;
    let answer = solved.transaction.unwrap_or_default();
    let actions = actions_of(&answer, Some(&world));
    let dropped: BTreeMap<String, String> = solved.dropped.into_iter().map(|(w, why)| (w.word, why)).collect();
    for patch in &world.patches {
        if let Some(why) = dropped.get(&format!("patch:{}", patch.name)) {
            skipped.push(skip(patch, why.clone()));
        }
    }
    for package in &world.packages {
        let taken =
            actions.iter().any(|a| a.name == package.name && a.arch == package.arch && a.to.as_ref() == Some(&package.edition));
        if !taken {
            skipped.push(skip(package, why_not(package, &excludes, bars, &world, &dropped)));
        }
    }
    let missing = settings.exclusive_patches.iter().filter(|n| !world.patches.iter().any(|p| p.name == **n));
    skipped.extend(missing.map(|name| SkippedUpdate {
        name: name.clone(),
        arch: String::new(),
        version: String::new(),
        reason: "no such patch is needed on this host".to_owned(),
    }));
    skipped.extend(unmatched(config.advisories.iter().chain(&config.cves), &met));
    skipped.sort();
    let mut patches: Vec<String> = answer.solvables.iter().filter(|s| s.kind == "patch").map(|s| s.name.clone()).collect();
    patches.sort();
    let before = auto::standing(&zypper.root, &actions);
    Ok(Plan {
        manager: ManagerKind::Zypper,
        actions,
        skipped,
        patches,
        requested: Vec::new(),
        modules: Vec::new(),
        findings: world.findings,
        before: Some(before),
        undo: None,
    })
}

/// Why an available package is not in the plan. `dropped`: words that spoilt the transaction.
fn why_not(package: &Listed, excludes: &Excludes, bars: Bars<'_>, world: &World, dropped: &BTreeMap<String, String>) -> String {
    if world.locks.matching(&package.name).is_some() {
        return LOCKED.to_owned();
    }
    if let Some(why) = bars.why(&package.name, &package.arch, &package.edition) {
        return why;
    }
    if let Some(pattern) = excludes.matching(&package.name) {
        return format!("excluded by {pattern}");
    }
    let word = format!("{}.{}={}", package.name, package.arch, package.edition);
    dropped.get(&word).cloned().unwrap_or_else(|| "no selected patch brings it".to_owned())
}

fn newer(listed: &Listed) -> Newer<'_> {
    Newer { name: &listed.name, arch: &listed.arch, from: &listed.edition_old, to: &listed.edition }
}

/// Packages asked for beside patches: every newer one, or those that no needed patch names (OTHER). `older`: what comes in
/// the place of barred versions.
fn package_wishes(config: &PatchConfig, excludes: &Excludes, bars: Bars<'_>, older: &Older, world: &World) -> Vec<Wanted> {
    let settings = &config.zypper;
    let all = settings.with_update && settings.exclusive_patches.is_empty();
    let unnamed = |p: &Listed| world.patches_of(&p.name, &p.arch, &p.edition_old, &p.edition).0.is_empty();
    let others = config.update_types.contains(&UpdateType::Other);
    let free = world.packages.iter().filter(|p| excludes.matching(&p.name).is_none() && world.locks.matching(&p.name).is_none());
    let asked = free.filter(|p| all || (others && unnamed(p)));
    let version = |p: &&Listed| match bars.why(&p.name, &p.arch, &p.edition) {
        None => Some(p.edition.clone()),
        Some(_) => older.get(&(p.name.clone(), p.arch.clone())).cloned(),
    };
    asked.filter_map(|p| Some(wish(p, format!("{}.{}={}", p.name, p.arch, version(&p)?)))).collect()
}

/// The patches that the job's advisories and CVEs mean, and which of the two met a patch of this host.
fn chosen_ids(
    zypper: &Zypper,
    runner: &dyn Runner,
    config: &PatchConfig,
    world: &World,
) -> Result<(BTreeSet<String>, BTreeSet<String>), PkgError> {
    let mut ids: BTreeSet<String> = config.advisories.iter().cloned().collect();
    let mut met: BTreeSet<String> = world.patches.iter().map(|p| p.name.clone()).collect();
    for cve in &config.cves {
        let answer = zypper.list(runner, &command::patches_for_cve(cve))?;
        let closing: Vec<String> = answer.listed.into_iter().filter(|p| met.contains(&p.name)).map(|p| p.name).collect();
        if !closing.is_empty() {
            met.insert(cve.clone());
        }
        ids.extend(closing);
    }
    Ok((ids, met))
}

/// Why the settings leave a patch out. `ids`: patches that the job's advisories and CVEs mean.
fn patch_refused(
    patch: &Listed,
    config: &PatchConfig,
    ids: &BTreeSet<String>,
    excludes: &Excludes,
    world: &World,
) -> Option<String> {
    let settings = &config.zypper;
    let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|w| w.eq_ignore_ascii_case(word));
    if !settings.exclusive_patches.is_empty() {
        let named = settings.exclusive_patches.contains(&patch.name);
        return (!named).then(|| "not among the exclusive patches".to_owned());
    }
    if let Some(pattern) = excludes.matching(&patch.name) {
        return Some(format!("excluded by {pattern}"));
    }
    let kind = type_of(&patch.category);
    let by_type = kind != UpdateType::Other && config.update_types.contains(&kind);
    if config.chooses() && !by_type && !ids.contains(&patch.name) {
        return Some("not among the chosen types, advisories and CVEs".to_owned());
    }
    if patch.status == "optional" && !config.chooses() && !settings.with_optional {
        return Some("optional, and with-optional is off".to_owned());
    }
    if !any(&settings.categories, &patch.category) {
        return Some(format!("its category {} is not selected", patch.category));
    }
    if !any(&settings.severities, &patch.severity) {
        return Some(format!("its severity {} is not selected", patch.severity));
    }
    // Saves a dry run: zypper would ask a person about the lock.
    let locked = world.contents.iter().find(|(name, package, _)| {
        *name == patch.name
            && world.locks.matching(package.split('.').next().unwrap_or(package)).is_some()
            && world.packages.iter().any(|p| p.name == *package)
    });
    locked.map(|(_, package, _)| format!("needs {package}, {LOCKED}"))
}

/// Why a transaction is not acceptable.
fn objection(answer: &Answer, excludes: &Excludes, bars: Bars<'_>, world: &World) -> Option<String> {
    answer.solvables.iter().filter(|s| s.kind == "package").find_map(|s| {
        let verb = if s.section == "to-remove" { "would remove" } else { "needs" };
        if let Some(pattern) = excludes.matching(&s.name) {
            return Some(format!("{verb} {}, excluded by {pattern}", s.name));
        }
        let barred = bars.why(&s.name, &s.arch, &s.edition).filter(|_| s.section != "to-remove");
        if let Some(why) = barred {
            return Some(format!("needs {} {}, {why}", s.name, s.edition));
        }
        world.locks.matching(&s.name).map(|_| format!("{verb} {}, {LOCKED}", s.name))
    })
}

fn wish(listed: &Listed, word: String) -> Wanted {
    Wanted { word, name: listed.name.clone(), arch: listed.arch.clone(), source: listed.name.clone() }
}

fn skip(listed: &Listed, reason: String) -> SkippedUpdate {
    SkippedUpdate { name: listed.name.clone(), arch: listed.arch.clone(), version: listed.edition.clone(), reason }
}
