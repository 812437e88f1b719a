//! Planning named packages with dnf5, and the words for chosen updates.

use std::collections::BTreeSet;

use drydock_domain::inventory::{ManagerKind, PackageSet, Update};
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::{Plan, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;

use super::{Dnf5, command, refusal};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::wish::{Wishes, chosen, refuse_protected, unmatched};

const TOOL: &str = "dnf5";

pub(super) fn plan(dnf5: &Dnf5, runner: &dyn Runner, packages: &PackageChanges, bars: Bars<'_>) -> Result<Plan, PkgError> {
    let installed = PackageSet::new(dnf5.installed(runner)?);
    let mut wishes = Wishes::new(packages, &installed, &rpm::order)?;
    let available = dnf5.available(runner, bars)?;
    let mut actions = Vec::new();
    // An update without a version that is not offered, or hidden, is a note; dnf5 would refuse all of it.
    let kept = |w: &PackageWord| {
        let of = |u: &&Update| u.name == w.name && w.arch.as_ref().is_none_or(|arch| u.arch == *arch);
        // A barred version beside an older one that may come.
        let free = available.iter().find(|u| of(u) && u.held.is_empty());
        match free.or_else(|| available.iter().find(of)) {
            None if w.version.is_none() => Some("nothing newer is offered".to_owned()),
            None => None,
            Some(update) => (!update.held.is_empty()).then(|| update.held.clone()),
        }
    };
    let updates = Wishes { update: std::mem::take(&mut wishes.update), ..Wishes::default() };
    let mut updates = updates;
    updates.keep(TOOL, &kept)?;
    wishes.update = updates.update;
    wishes.notes.extend(updates.notes);
    if !wishes.is_empty() {
        let words = |list: &[PackageWord]| -> Vec<String> { list.iter().map(word).collect() };
        let (install, remove, update) = (words(&wishes.install), words(&wishes.remove), words(&wishes.update));
        refuse_barred(&wishes, bars)?;
        let spec = command::named(&install, &remove, &update, wishes.may_go_back(), &bars.nevras());
        let table = Dnf5::dry_run(runner, &spec)?;
        let refused = |finished| PkgError::Refused { tool: TOOL.to_owned(), details: refusal(&finished) };
        actions = table.map_err(refused)?.actions;
    }
    refuse_protected(runner, TOOL, &actions)?;
    for action in &mut actions {
        let this = |u: &&Update| u.name == action.name && u.arch == action.arch && Some(&u.to) == action.to.as_ref();
        if let Some(known) = available.iter().find(this) {
            (action.kind, action.advisories) = (known.kind, known.advisories.clone());
        }
    }
    dnf5.advise_older(runner, &mut actions, &available)?;
    wishes.settle(TOOL, &actions, &|_| None)?;
    let before = dnf5.standing(&actions);
    Ok(Plan {
        manager: ManagerKind::Dnf5,
        actions,
        requested: wishes.requested(),
        modules: Vec::new(),
        skipped: wishes.notes,
        patches: Vec::new(),
        findings: Vec::new(),
        before: Some(before),
        undo: None,
    })
}

/// dnf5 says of a hidden package only that nothing matches.
fn refuse_barred(wishes: &Wishes, bars: Bars<'_>) -> Result<(), PkgError> {
    let asked = |w: &PackageWord| bars.all().iter().find(|b| b.name == w.name && w.version.as_ref() == Some(&b.version));
    match wishes.install.iter().chain(&wishes.update).find_map(asked) {
        None => Ok(()),
        Some(b) => {
            let details = format!("it would install {} {}, {}", b.name, b.version, b.told());
            Err(PkgError::Refused { tool: TOOL.to_owned(), details })
        }
    }
}

/// `name-[epoch:]version-release.arch`, as far as it is said.
fn word(word: &PackageWord) -> String {
    let part = |sign: char, text: &Option<String>| text.as_ref().map(|t| format!("{sign}{t}")).unwrap_or_default();
    format!("{}{}{}", word.name, part('-', &word.version), part('.', &word.arch))
}

/// The words that ask for the chosen updates, and the ids that chose none.
pub(super) fn chosen_words(
    runner: &dyn Runner,
    config: &PatchConfig,
    available: &[Update],
    excludes: &Excludes,
) -> Result<(Vec<String>, Vec<SkippedUpdate>), PkgError> {
    let lines = |spec| -> Result<Vec<command::AdvisoryLine>, PkgError> {
        let text = Dnf5::text(runner, &spec)?;
        command::parse_advisories(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
    };
    let all = lines(command::advisories())?;
    let mut ids: BTreeSet<String> = config.advisories.iter().cloned().collect();
    let mut met: BTreeSet<String> = all.iter().map(|l| l.name.clone()).collect();
    // One by one: the answer does not say which CVE an advisory closes.
    for cve in &config.cves {
        let closing: Vec<String> = lines(command::closing_cves(std::slice::from_ref(cve)))?.into_iter().map(|l| l.name).collect();
        if !closing.is_empty() {
            met.insert(cve.clone());
        }
        ids.extend(closing);
    }
    let free = chosen(config, available, &all, &ids).into_iter().filter(|c| excludes.matching(&c.name).is_none());
    let words = free.map(|c| match c.closing.filter(|_| config.yum.minimal) {
        Some(version) => format!("{}-{version}.{}", c.name, c.arch),
        None => format!("{}-{}.{}", c.name, c.newest, c.arch),
    });
    let unmet = unmatched(config.advisories.iter().chain(&config.cves), &met);
    Ok((words.collect(), unmet))
}
