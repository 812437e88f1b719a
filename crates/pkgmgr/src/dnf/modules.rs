//! Module streams and profiles of dnf 4: what is offered and set, a plan of changes, doing exactly that plan, and the truth
//! afterwards, from the files that dnf keeps:
//!
//! ```text
//! [nodejs]
//! name=nodejs
//! stream=18
//! profiles=common, devel
//! state=enabled
//! ```
//!
//! dnf writes them right in front of its package transaction. A plan that was interrupted there finds the states as
//! they are to be and goes on with the packages.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::module_rules::HostModules;
use drydock_domain::patch::modules::{
    ModuleAction, ModuleChange, ModuleResult, ModuleState, ModuleStatus, PLANNED_MODULES_MAX, PlannedModule,
};
use drydock_domain::patch::report::Plan;

use super::Dnf;
use super::helper::{Answer, Request, Target, Told};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::exec::{SOLVE_TIME_LIMIT, cut, join_findings};
use crate::rules::modules::of_file;
use crate::run::Runner;
use crate::wish::refuse_protected;

const TOOL: &str = "dnf";
const DIRECTORY: &str = "etc/dnf/modules.d";
/// Files in the directory, count: a distribution has about a hundred modules.
const FILES_MAX: usize = 4096;
/// One of them, bytes: four short lines.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// What the repositories offer, from the metadata that is there, and what is set.
pub(super) fn list(dnf: &Dnf, runner: &dyn Runner) -> Result<(HostModules, Answer), PkgError> {
    let (mut answer, _) = dnf.ask(runner, &Request { action: "modules", ..Default::default() }, SOLVE_TIME_LIMIT)?;
    answer.streams.sort();
    let streams = std::mem::take(&mut answer.streams);
    // dnf knows states of modules that are offered; its files know the others as well.
    let mut states = states(&dnf.root)?;
    states.extend(std::mem::take(&mut answer.states));
    Ok((HostModules { streams, states }, answer))
}

/// The dry run: rules first, then dnf's solvers for what the rules allow.
pub(super) fn plan(dnf: &Dnf, runner: &dyn Runner, job: &[ModuleChange], bars: Bars<'_>, strict: bool) -> Result<Plan, PkgError> {
    let (host, listed) = list(dnf, runner)?;
    if strict && !listed.findings.is_empty() {
        return Err(PkgError::BrokenRepository { details: join_findings(&listed.findings) });
    }
    let judged: Vec<Option<String>> = job.iter().map(|change| host.refusal(change, job)).collect();
    let allowed: Vec<usize> = (0..job.len()).filter(|i| judged[*i].is_none()).collect();
    let mut answer = Answer::default();
    if !allowed.is_empty() {
        let modules = allowed.iter().map(|i| job[*i].clone()).collect();
        let request = Request { action: "plan", modules, ..Default::default() };
        answer = dnf.ask(runner, &request, SOLVE_TIME_LIMIT)?.0;
        refuse_protected(runner, TOOL, &answer.actions)?;
        bars.refuse(TOOL, &answer.actions)?;
    }
    let refused = |i: usize| {
        let by_dnf = allowed.iter().position(|a| *a == i).and_then(|place| answer.refused_changes.get(&place));
        judged[i].clone().or_else(|| by_dnf.map(|words| cut(words)))
    };
    let mut modules: Vec<PlannedModule> = job.iter().enumerate().map(|(i, c)| asked(c, refused(i), &host, &answer)).collect();
    modules.extend(answer.told.iter().filter_map(|told| implied(told, job)));
    if modules.len() > PLANNED_MODULES_MAX {
        let details = format!("it would change {} modules; at most {PLANNED_MODULES_MAX} in one job", modules.len());
        return Err(PkgError::Refused { tool: TOOL.to_owned(), details });
    }
    answer.actions.sort();
    let before = answer.standing();
    Ok(Plan {
        manager: ManagerKind::Dnf,
        actions: answer.actions,
        skipped: Vec::new(),
        patches: Vec::new(),
        requested: answer.requested,
        modules,
        findings: listed.findings,
        before: Some(before),
        undo: None,
    })
}

/// A change of the job with what dnf makes of it.
fn asked(change: &ModuleChange, refused: Option<String>, host: &HostModules, answer: &Answer) -> PlannedModule {
    let told = answer.told.iter().find(|t| t.module == change.module).filter(|_| refused.is_none());
    let before = told.map_or_else(|| host.state(&change.module), |t| t.before.clone());
    PlannedModule {
        change: change.clone(),
        implied: false,
        after: told.map_or_else(|| before.clone(), |t| t.after.clone()),
        before,
        packages: told.map(|t| t.packages.clone()).unwrap_or_default(),
        refused: refused.unwrap_or_default(),
    }
}

/// A change that another one needs.
fn implied(told: &Told, job: &[ModuleChange]) -> Option<PlannedModule> {
    if told.before == told.after || job.iter().any(|c| c.module == told.module) {
        return None;
    }
    let (action, stream) = match told.after.status {
        ModuleStatus::Enabled => (ModuleAction::Enable, Some(told.after.stream.clone())),
        ModuleStatus::Disabled => (ModuleAction::Disable, None),
        ModuleStatus::Unset => (ModuleAction::Reset, None),
    };
    Some(PlannedModule {
        change: ModuleChange { action, module: told.module.clone(), stream, profile: None },
        implied: true,
        before: told.before.clone(),
        after: told.after.clone(),
        packages: told.packages.clone(),
        refused: String::new(),
    })
}

/// What a plan makes of its modules, and how many of them are not so yet. Refuses when one of them is neither as the
/// plan found it nor as it is to be.
pub(super) fn targets(root: &Path, plan: &Plan) -> Result<(Vec<Target>, usize), PkgError> {
    if let Some(details) = plan.refusal() {
        return Err(PkgError::BadPlan { details });
    }
    let found = if plan.modules.is_empty() { BTreeMap::new() } else { states(root)? };
    let mut todo = 0;
    let mut targets: BTreeMap<&str, &PlannedModule> = BTreeMap::new();
    for planned in &plan.modules {
        let module = planned.change.module.as_str();
        if targets.insert(module, planned).is_some() {
            continue;
        }
        let now = found.get(module).cloned().unwrap_or_default();
        if now == planned.after {
            continue;
        }
        if now != planned.before {
            let details = format!("module {module} was {}, and is {now}", planned.before);
            return Err(PkgError::WorldMoved { details });
        }
        todo += 1;
    }
    let target = |(module, planned): (&str, &PlannedModule)| Target { module: module.to_owned(), after: planned.after.clone() };
    Ok((targets.into_iter().map(target).collect(), todo))
}

/// What became of a plan's module changes.
pub(super) fn verify(root: &Path, plan: &Plan) -> Result<Vec<ModuleResult>, PkgError> {
    if plan.modules.is_empty() {
        return Ok(Vec::new());
    }
    let found = states(root)?;
    let result = |planned: &PlannedModule| {
        ModuleResult::new(planned.clone(), found.get(&planned.change.module).cloned().unwrap_or_default())
    };
    Ok(plan.modules.iter().map(result).collect())
}

/// Modules that are enabled or disabled, from dnf's files.
pub(super) fn states(root: &Path) -> Result<BTreeMap<String, ModuleState>, PkgError> {
    let dir = root.join(DIRECTORY);
    let wrong = |what: String| PkgError::Parse { label: format!("/{DIRECTORY}"), what };
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(wrong(e.to_string())),
    };
    let mut states = BTreeMap::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry.map_err(|e| wrong(e.to_string()))?.path();
        if path.extension().is_none_or(|e| e != "module") {
            continue;
        }
        let mut text = String::new();
        let file = std::fs::File::open(&path).map(|f| f.take(FILE_MAX_BYTES));
        file.and_then(|mut f| f.read_to_string(&mut text)).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
        states.extend(parse(&text));
    }
    Ok(states)
}

/// The modules of one file that are enabled or disabled.
fn parse(text: &str) -> impl Iterator<Item = (String, ModuleState)> {
    of_file(text).into_iter().map(|set| {
        let status = if set.enabled { ModuleStatus::Enabled } else { ModuleStatus::Disabled };
        let mut profiles = if set.enabled { set.profiles } else { Vec::new() };
        profiles.sort_unstable();
        profiles.dedup();
        (set.name, ModuleState { status, stream: set.stream, profiles })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_dnf_are_read() {
        let two = "[nodejs]\nname=nodejs\nstream=18\nprofiles=devel, common\nstate=enabled\n\n[perl]\nstream=\nprofiles=\nstate=disabled\n";
        let found: BTreeMap<_, _> = parse(two).collect();
        assert_eq!(found["nodejs"].to_string(), "18 enabled, profiles common, devel");
        assert_eq!(found["perl"], ModuleState { status: ModuleStatus::Disabled, ..Default::default() });
        // Reset modules keep a file that says nothing; what stands in front of a section belongs to none.
        assert!(parse("stream=1\nstate=enabled\n[a]\nname=a\nstream=\nprofiles=\nstate=\n").next().is_none());
        assert!(parse("\0\u{feff}[\n]=\n").next().is_none());
    }

    #[test]
    fn only_module_files_count_and_no_directory_is_no_module() {
        let root = tempfile::tempdir().expect("a root");
        assert!(states(root.path()).expect("read").is_empty());
        let dir = root.path().join(DIRECTORY);
        std::fs::create_dir_all(&dir).expect("a directory");
        for file in ["a.module", "a.module.rpmsave"] {
            let text = format!("[{file}]\nstream=1\nstate=enabled\n");
            std::fs::write(dir.join(file), text).expect("written");
        }
        assert_eq!(states(root.path()).expect("read").into_keys().collect::<Vec<_>>(), ["a.module"]);
        std::fs::create_dir(dir.join("b.module")).expect("a directory");
        assert!(states(root.path()).is_err(), "what cannot be read is not taken for nothing");
    }
}
