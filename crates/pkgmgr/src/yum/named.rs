//! Planning named packages with yum 3, and the words for chosen updates. One command installs or removes, never both.

use std::collections::BTreeSet;

use drydock_domain::inventory::{ManagerKind, PackageSet, Update};
use drydock_domain::patch::operation::{PackageChanges, PackageWord};
use drydock_domain::patch::report::{Plan, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;

use super::{Yum, command};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::wish::{Wishes, chosen, refuse_protected, unmatched};

const TOOL: &str = "yum";

pub(super) fn plan(yum: &Yum, runner: &dyn Runner, packages: &PackageChanges, bars: Bars<'_>) -> Result<Plan, PkgError> {
    let installed = PackageSet::new(yum.installed(runner)?);
    let mut wishes = Wishes::new(packages, &installed, &rpm::order)?;
    let arriving: Vec<String> = wishes.install.iter().chain(&wishes.update).map(word).collect();
    let leaving: Vec<String> = wishes.remove.iter().map(word).collect();
    let refused = |details: String| PkgError::Refused { tool: TOOL.to_owned(), details };
    let spec = match (arriving.is_empty(), leaving.is_empty()) {
        (true, true) => None,
        (false, true) => Some(command::install_dry_run(&arriving)),
        (true, false) => Some(command::remove_dry_run(&leaving)),
        (false, false) => return Err(refused("it cannot install and remove in one transaction; submit two jobs".to_owned())),
    };
    let actions = match spec {
        None => Vec::new(),
        Some(spec) => Yum::dry_run(runner, &spec, &installed)?.map_err(refused)?,
    };
    refuse_protected(runner, TOOL, &actions)?;
    bars.refuse(TOOL, &actions)?;
    wishes.settle(TOOL, &actions, &|_| None)?;
    Ok(Plan {
        manager: ManagerKind::Yum,
        actions,
        requested: wishes.requested(),
        modules: Vec::new(),
        skipped: wishes.notes,
        patches: Vec::new(),
        findings: Vec::new(),
        before: None,
        undo: None,
    })
}

/// `[epoch:]name-version-release.arch`, as far as it is said.
fn word(word: &PackageWord) -> String {
    let version = word.version.as_deref().unwrap_or_default();
    let (epoch, version) = version.split_once(':').map_or((String::new(), version), |(e, v)| (format!("{e}:"), v));
    let part = |sign: char, text: &str| if text.is_empty() { String::new() } else { format!("{sign}{text}") };
    format!("{epoch}{}{}{}", word.name, part('-', version), part('.', word.arch.as_deref().unwrap_or_default()))
}

/// The words that ask for the chosen updates, and the ids that chose none.
pub(super) fn chosen_words(
    runner: &dyn Runner,
    config: &PatchConfig,
    available: &[Update],
    excludes: &Excludes,
) -> Result<(Vec<String>, Vec<SkippedUpdate>), PkgError> {
    let all = command::parse_advisories(&Yum::text(runner, &command::advisories(), &[0])?);
    let mut ids: BTreeSet<String> = config.advisories.iter().cloned().collect();
    let mut met: BTreeSet<String> = all.iter().map(|l| l.name.clone()).collect();
    for cve in &config.cves {
        let closing = command::parse_advisories(&Yum::text(runner, &command::closing_cve(cve), &[0])?);
        if !closing.is_empty() {
            met.insert(cve.clone());
        }
        ids.extend(closing.into_iter().map(|l| l.name));
    }
    let free = chosen(config, available, &all, &ids).into_iter().filter(|c| excludes.matching(&c.name).is_none());
    let words = free.map(|c| {
        let version = c.closing.filter(|_| config.yum.minimal).unwrap_or(c.newest);
        word(&PackageWord { name: c.name, arch: Some(c.arch), version: Some(version) })
    });
    let unmet = unmatched(config.advisories.iter().chain(&config.cves), &met);
    Ok((words.collect(), unmet))
}
