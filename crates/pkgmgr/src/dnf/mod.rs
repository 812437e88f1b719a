//! dnf 4. Its command line prints tables for people, so a small helper (`helper.py`) uses dnf's own Python API with
//! the interpreter of the host's dnf; plugins (versionlock, subscription-manager) work as they do for dnf itself.

mod helper;
mod modules;
mod named;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, UpdateSet};
use drydock_domain::patch::module_rules::HostModules;
use drydock_domain::patch::modules::ModuleResult;
use drydock_domain::patch::report::{Plan, PlannedAction, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;
use jiff::Timestamp;

use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::exec::{
    APPLY_TIME_LIMIT, REFRESH_TIME_LIMIT, REPAIR_TIME_LIMIT, SOLVE_TIME_LIMIT, complete, cut, failed, join_findings,
    planned_changes, run_waiting,
};
use crate::manager::{ApplyOutcome, BrokenPackage, ExitSummary, PackageManager, RepairReport};
use crate::rpm;
use crate::run::{Finished, Runner};
use crate::verify::{difference, remaining};
use crate::wish::unmatched;
pub(crate) use helper::failures;
use helper::{Answer, Choose, Request, Target};

/// Rounds of planning until no excluded package is pulled in; each hides the ones found before.
const EXCLUDE_ROUNDS_MAX: usize = 10;

/// dnf 4 of this host.
#[derive(Debug, Clone)]
pub struct Dnf {
    root: PathBuf,
    python: String,
    dbpath: PathBuf,
}

impl Dnf {
    /// dnf of the host at `root` (`/`).
    pub fn new(root: &Path, runner: &dyn Runner) -> Self {
        Dnf { root: root.to_owned(), python: interpreter(root), dbpath: rpm::dbpath(runner) }
    }

    fn ask(&self, runner: &dyn Runner, request: &Request, limit: Duration) -> Result<(Answer, Finished), PkgError> {
        let label = format!("dnf ({})", request.action);
        let mut spec = helper::spec(&self.python, request, limit)
            .map_err(|e| PkgError::Parse { label: label.clone(), what: e.to_string() })?;
        if matches!(request.action, "apply" | "repair") {
            spec = spec.mutating();
        }
        let finished = run_waiting(runner, &spec, locked)?;
        let answer = match helper::parse(&complete(&spec, &finished)?) {
            Ok(answer) => answer,
            Err(_) if !finished.success() => return Err(failed(&spec, &finished)),
            Err(what) => return Err(PkgError::Parse { label, what }),
        };
        if let Some(details) = answer.refused {
            return Err(PkgError::Refused { tool: "dnf".to_owned(), details: cut(&details) });
        }
        match answer.error {
            Some(message) => Err(PkgError::Failed { label, end: finished.describe_end(), message: cut(&message) }),
            None => Ok((answer, finished)),
        }
    }
}

impl Dnf {
    /// Asks for an action on exactly this transaction.
    fn exactly(
        &self,
        runner: &dyn Runner,
        action: &'static str,
        todo: &[PlannedAction],
        targets: Vec<Target>,
        plan: &Plan,
    ) -> Result<(Answer, Finished), PkgError> {
        let request = match &plan.undo {
            Some(order) => undo::request(action, order, todo),
            None => Request { action, actions: todo.to_vec(), targets, requested: plan.requested.clone(), ..Default::default() },
        };
        let (answer, finished) = self.ask(runner, &request, APPLY_TIME_LIMIT)?;
        if !answer.moved.is_empty() {
            return Err(PkgError::WorldMoved { details: cut(&answer.moved.join("; ")) });
        }
        if let Some(would) = &answer.would {
            let details = difference(todo, would).unwrap_or_else(|| "another transaction".to_owned());
            return Err(PkgError::WorldMoved { details });
        }
        Ok((answer, finished))
    }
}

/// The interpreter dnf itself uses, from the first line of its script: a newer `python3` may lack dnf's modules.
pub fn interpreter(root: &Path) -> String {
    let of = |path: &str| {
        let text = std::fs::read(root.join(path)).ok()?;
        let line = String::from_utf8_lossy(text.split(|b| *b == b'\n').next()?).into_owned();
        let program = line.strip_prefix("#!")?.split_whitespace().next()?.to_owned();
        program.contains("python").then_some(program)
    };
    ["usr/bin/dnf-3", "usr/bin/dnf"].into_iter().find_map(of).unwrap_or_else(|| "python3".to_owned())
}

/// The helper's answer says that another dnf holds a lock:
/// `Failed to obtain the transaction lock (logged in as: root)`, `Metadata already locked by 4242`.
fn locked(finished: &Finished) -> Option<Option<String>> {
    let message = helper::parse(&finished.stdout.text()).ok()?.locked?;
    let pid = message.rsplit(' ').next().filter(|w| w.parse::<u32>().is_ok());
    Some(pid.map(|p| format!("process {p}")))
}

/// Names and reasons of everything available that a plan leaves out.
pub(crate) fn skipped(
    available: &[drydock_domain::inventory::Update],
    actions: &[PlannedAction],
    config: &PatchConfig,
    excludes: &Excludes,
    problems: &BTreeMap<String, String>,
) -> Vec<SkippedUpdate> {
    let settings = &config.yum;
    let mut out = Vec::new();
    for update in available {
        let taken = actions.iter().any(|a| a.name == update.name && a.arch == update.arch && a.to.as_deref() == Some(&update.to));
        if taken {
            continue;
        }
        let other = actions.iter().find(|a| a.name == update.name && a.arch == update.arch && a.to.is_some());
        let reason = if !update.held.is_empty() {
            update.held.clone()
        } else if !settings.exclusive_packages.is_empty() && !settings.exclusive_packages.contains(&update.name) {
            "not among the exclusive packages".to_owned()
        } else if let (true, Some(pattern)) = (settings.exclusive_packages.is_empty(), excludes.matching(&update.name)) {
            format!("excluded by {pattern}")
        } else if let Some(other) = other {
            format!("minimal: {} closes the advisories", other.to.as_deref().unwrap_or_default())
        } else if settings.security && update.kind != drydock_domain::inventory::UpdateKind::Security {
            "not a security update".to_owned()
        } else if settings.minimal && update.kind == drydock_domain::inventory::UpdateKind::Unknown {
            "no security, bugfix or enhancement advisory names it".to_owned()
        } else if config.chooses() && !problems.contains_key(&format!("{}.{}", update.name, update.arch)) {
            "not among the chosen types, advisories and CVEs".to_owned()
        } else {
            let words = problems.get(&format!("{}.{}", update.name, update.arch));
            words.map_or_else(
                || "left out by the solver: its dependencies cannot be met".to_owned(),
                |w| format!("its dependencies cannot be met: {}", cut(w)),
            )
        };
        out.push(SkippedUpdate { name: update.name.clone(), arch: update.arch.clone(), version: update.to.clone(), reason });
    }
    out.sort();
    out.dedup();
    out
}

/// Exclusive packages that are not on this host.
pub(crate) fn not_installed(names: &[String]) -> impl Iterator<Item = SkippedUpdate> {
    names.iter().map(|name| SkippedUpdate {
        name: name.clone(),
        arch: String::new(),
        version: String::new(),
        reason: "not installed on this host".to_owned(),
    })
}

impl PackageManager for Dnf {
    fn kind(&self) -> ManagerKind {
        ManagerKind::Dnf
    }

    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
        rpm::installed(runner)
    }

    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
        rpm::twice(&self.root, runner)
    }

    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError> {
        let (answer, _) = self.ask(runner, &Request { action: "refresh", ..Default::default() }, REFRESH_TIME_LIMIT)?;
        if answer.working == 0 && !answer.findings.is_empty() {
            return Err(PkgError::NothingWorks { details: join_findings(&answer.findings) });
        }
        Ok(answer.findings)
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        let (mut answer, _) = self.ask(runner, &Request { action: "updates", ..Default::default() }, SOLVE_TIME_LIMIT)?;
        answer.updates.sort();
        Ok(UpdateSet { updates: answer.updates, findings: answer.findings })
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if let Some(order) = &config.undo {
            return undo::plan(self, runner, config, order);
        }
        let bars = Bars::new(config)?;
        if let Some(packages) = &config.packages {
            return named::plan(self, runner, packages, bars, config.strict_repositories);
        }
        if !config.modules.is_empty() {
            return modules::plan(self, runner, &config.modules, bars, config.strict_repositories);
        }
        let settings = &config.yum;
        let excludes = Excludes::new(&settings.excludes)?;
        let mut hidden: BTreeSet<String> = BTreeSet::new();
        for _ in 0..EXCLUDE_ROUNDS_MAX {
            let request = Request {
                action: "plan",
                excluded_names: hidden.iter().cloned().collect(),
                exclusive: settings.exclusive_packages.clone(),
                security: settings.security,
                minimal: settings.minimal,
                choose: config.chooses().then(|| Choose {
                    types: config.update_types.clone(),
                    advisories: config.advisories.clone(),
                    cves: config.cves.clone(),
                }),
                barred: bars.all().to_vec(),
                ..Default::default()
            };
            let (mut answer, _) = self.ask(runner, &request, SOLVE_TIME_LIMIT)?;
            if config.strict_repositories && !answer.findings.is_empty() {
                return Err(PkgError::BrokenRepository { details: join_findings(&answer.findings) });
            }
            let names = answer.actions.iter().map(|a| &a.name).chain(answer.available.iter().map(|u| &u.name));
            let known = hidden.len();
            if settings.exclusive_packages.is_empty() {
                hidden.extend(names.filter(|n| excludes.matching(n).is_some()).cloned());
            }
            if hidden.len() > known {
                continue;
            }
            answer.actions.sort();
            let mut left = skipped(&answer.available, &answer.actions, config, &excludes, &answer.problems);
            left.extend(not_installed(&answer.missing));
            left.extend(unmatched(config.advisories.iter().chain(&config.cves), &answer.met));
            left.sort();
            let before = answer.standing();
            return Ok(Plan {
                manager: ManagerKind::Dnf,
                actions: answer.actions,
                skipped: left,
                patches: Vec::new(),
                requested: Vec::new(),
                modules: Vec::new(),
                findings: answer.findings,
                before: Some(before),
                undo: None,
            });
        }
        Err(PkgError::Failed {
            label: "dnf (plan)".to_owned(),
            end: format!("{EXCLUDE_ROUNDS_MAX} rounds"),
            message: "excluded packages are still pulled in by others; exclude those as well".to_owned(),
        })
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Dnf {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Dnf });
        }
        let installed = PackageSet::new(self.installed(runner)?);
        let todo = rpm::as_transaction(remaining(plan, &installed), &installed);
        if todo.is_empty() {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        let (answer, finished) = self.exactly(runner, "download", &todo, Vec::new(), plan)?;
        Ok(ApplyOutcome { output: helper::people(&finished), ..ApplyOutcome::downloaded(&finished, "dnf", answer.downloaded) })
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Dnf {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Dnf });
        }
        let installed = PackageSet::new(self.installed(runner)?);
        let todo = rpm::as_transaction(remaining(plan, &installed), &installed);
        let (targets, modules) = modules::targets(&self.root, plan)?;
        if todo.is_empty() && modules == 0 {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        let (answer, finished) = self.exactly(runner, "apply", &todo, targets, plan)?;
        let failed_packages = helper::failures(&answer.errors.join("\n"));
        let success = answer.failure.is_none();
        let message = match &answer.failure {
            None => format!("dnf made {}", planned_changes(todo.len() + modules)),
            Some(failure) => format!("dnf failed: {}", cut(failure)),
        };
        Ok(ApplyOutcome {
            exit: ExitSummary::from(&finished),
            output: helper::people(&finished),
            success,
            message,
            failed_packages,
            reboot_suggested: answer.reboot_suggested,
        })
    }

    fn modules(&self, runner: &dyn Runner) -> Result<HostModules, PkgError> {
        Ok(modules::list(self, runner)?.0)
    }

    fn verify_modules(&self, plan: &Plan) -> Result<Vec<ModuleResult>, PkgError> {
        modules::verify(&self.root, plan)
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        let twice = self.broken(runner)?;
        if twice.is_empty() {
            return Ok(RepairReport { message: "nothing to mend".to_owned(), ..Default::default() });
        }
        let request = Request { action: "repair", remove: rpm::removals(&twice), ..Default::default() };
        let (answer, finished) = self.ask(runner, &request, REPAIR_TIME_LIMIT)?;
        let names: Vec<String> = twice.iter().map(|b| format!("{} {}", b.package.name, b.package.version)).collect();
        let message = format!(
            "took away {} of {} left behind by an interrupted transaction: {}",
            answer.removed.len(),
            twice.len(),
            names.join(", ")
        );
        Ok(RepairReport { needed: true, output: helper::people(&finished), message: cut(&message) })
    }

    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        let mut reasons = rpm::reboot_reasons(&self.root, runner, booted_at)?;
        // Loading the repositories' metadata costs seconds: only when anything was installed since the boot.
        if rpm::entries(runner)?.iter().any(|e| e.installed_at > booted_at.as_second()) {
            let request = Request { action: "reboot", booted_at: Some(booted_at.as_second()), ..Default::default() };
            let (answer, _) = self.ask(runner, &request, SOLVE_TIME_LIMIT)?;
            reasons.extend(answer.asked.into_iter().map(|a| RebootReason {
                source: "advisory".to_owned(),
                detail: format!("{} of {} suggests it", a.advisory, a.package),
            }));
        }
        reasons.sort();
        reasons.dedup();
        Ok(reasons)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        vec![self.dbpath.clone()]
    }
}
