//! dnf 5. Its C++ library cannot be presumed to have Python bindings on a host, so the command line is used: queries in
//! chosen formats and JSON, dry runs by their table, applying as a stored transaction.

mod command;
mod named;
mod stored;
mod table;
mod undo;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, Update, UpdateKind, UpdateSet};
use drydock_domain::patch::report::{Plan, PlannedAction};
use drydock_domain::patch::spec::{PatchConfig, YumSettings, is_package_name};
use drydock_domain::patch::undo::{Marked, Standing};
use jiff::Timestamp;

use crate::barred::Bars;
use crate::dnf::{not_installed, skipped};
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::exec::{complete, cut, failed, join_findings, last_words, planned_changes, run_waiting};
use crate::manager::{ApplyOutcome, BrokenPackage, ExitSummary, PackageManager, RepairReport};
use crate::rpm;
use crate::run::{CommandSpec, End, Finished, RunError, Runner};
use crate::undo::Undo;
use crate::verify::{difference, remaining};
use command::DryRun;
pub(crate) use command::{AdvisoryLine, Offered, split_nevra};
use table::Table;

/// Rounds of planning until no excluded package is pulled in; each hides the ones found before.
const EXCLUDE_ROUNDS_MAX: usize = 10;

/// dnf 5 of this host.
#[derive(Debug, Clone)]
pub struct Dnf5 {
    root: PathBuf,
    dbpath: PathBuf,
}

impl Dnf5 {
    /// dnf 5 of the host at `root` (`/`).
    pub fn new(root: &Path, runner: &dyn Runner) -> Self {
        Dnf5 { root: root.to_owned(), dbpath: rpm::dbpath(runner) }
    }

    /// The packages that ask for a reboot, by dnf5's own judgement; `None` when it asks for none or cannot tell.
    fn asking_for_reboot(runner: &dyn Runner) -> Result<Option<Vec<String>>, PkgError> {
        for from_cache in [true, false] {
            let told = run_waiting(runner, &command::needs_restarting(from_cache), command::locked)?;
            if let Ok(answer) = command::parse_needs_restarting(&told.stdout.text()) {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    fn text(runner: &dyn Runner, spec: &CommandSpec) -> Result<String, PkgError> {
        let finished = run_waiting(runner, spec, command::locked)?;
        if !finished.success() {
            return Err(failed(spec, &finished));
        }
        complete(spec, &finished)
    }

    /// A dry run: exit code 1 with a table is the expected end of `--assumeno`, 0 means nothing to do.
    fn dry_run(runner: &dyn Runner, spec: &CommandSpec) -> Result<Result<Table, Finished>, PkgError> {
        let finished = run_waiting(runner, spec, command::locked)?;
        let text = complete(spec, &finished)?;
        let table = table::parse(&text).map_err(|what| PkgError::Parse { label: spec.label.clone(), what })?;
        match (table, finished.end) {
            (Some(table), End::Exited(0 | 1)) => Ok(Ok(table)),
            (None, End::Exited(0)) => Ok(Ok(Table::default())),
            _ => Ok(Err(finished)),
        }
    }

    /// All newer versions, with advisories, hidden ones as held.
    fn available(&self, runner: &dyn Runner, bars: Bars<'_>) -> Result<Vec<Update>, PkgError> {
        let query = |all: bool| -> Result<Vec<Offered>, PkgError> {
            let spec = command::upgrades(all, &bars.nevras());
            let text = Self::text(runner, &spec)?;
            command::parse_upgrades(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
        };
        let (visible, everything) = (query(false)?, query(true)?);
        let spec = command::advisories();
        let text = Self::text(runner, &spec)?;
        let advisories = command::parse_advisories(&text).map_err(|what| PkgError::Parse { label: spec.label, what })?;
        let installed = PackageSet::new(self.installed(runner)?);
        let hidden = everything.iter().filter(|o| !visible.contains(o));
        let mut updates: Vec<Update> = visible
            .iter()
            .map(|o| (o, String::new()))
            .chain(hidden.map(|o| {
                let by_host = || "versionlock or exclude of the host's dnf configuration".to_owned();
                (o, bars.why(&o.name, &o.arch, &o.version).unwrap_or_else(by_host))
            }))
            .map(|(offered, held)| update(offered, held, &installed, &advisories))
            .collect();
        updates.sort();
        Ok(updates)
    }
}

pub(crate) fn update(offered: &Offered, held: String, installed: &PackageSet, advisories: &[AdvisoryLine]) -> Update {
    let newest = installed.find(&offered.name, &offered.arch).max_by(|a, b| rpm::order(&a.version, &b.version));
    let from = newest.map(|p| p.version.clone()).unwrap_or_default();
    let (ids, kind, severity) = closing(&offered.name, &offered.arch, &from, &offered.version, advisories);
    Update {
        name: offered.name.clone(),
        arch: offered.arch.clone(),
        from,
        to: offered.version.clone(),
        repository: offered.repository.clone(),
        kind,
        advisories: ids,
        severity,
        held,
    }
}

/// Advisories on the way from one version to another: ids, the weightiest kind, its severity.
pub(crate) fn closing(
    name: &str,
    arch: &str,
    from: &str,
    to: &str,
    advisories: &[AdvisoryLine],
) -> (Vec<String>, UpdateKind, String) {
    let (mut ids, mut kind, mut severity): (Vec<String>, _, _) = (Vec::new(), UpdateKind::Unknown, String::new());
    for line in advisories {
        let Some((own, version, own_arch)) = command::split_nevra(&line.nevra) else { continue };
        let after = from.is_empty() || rpm::order(&version, from).is_gt();
        if own != name || own_arch != arch || !after || rpm::order(&version, to).is_gt() {
            continue;
        }
        let this = match line.kind.as_str() {
            "security" => UpdateKind::Security,
            "bugfix" => UpdateKind::Bugfix,
            "enhancement" | "newpackage" => UpdateKind::Enhancement,
            _ => UpdateKind::Unknown,
        };
        if this <= kind {
            kind = this;
            severity = line.severity.clone();
        }
        ids.push(line.name.clone());
    }
    ids.sort();
    ids.dedup();
    (ids, kind, if severity.eq_ignore_ascii_case("none") { String::new() } else { severity })
}

/// The solver's words for packages it left out, by `name.arch`.
fn problems_by_package(table: &Table, available: &[Update]) -> std::collections::BTreeMap<String, String> {
    let nevra = |u: &Update| format!("{}-{}.{}", u.name, u.to, u.arch);
    let about = |u: &Update| table.problems.iter().find(|p| p.starts_with(&format!("package {} ", nevra(u))));
    let found = available.iter().filter_map(|u| Some((format!("{}.{}", u.name, u.arch), about(u)?.clone())));
    found.collect()
}

/// Names for the command line: exclusive packages that have an update, and those not installed.
pub(crate) fn exclusive(settings: &YumSettings, available: &[Update], installed: &PackageSet) -> (Vec<String>, Vec<String>) {
    let missing = settings.exclusive_packages.iter().filter(|n| installed.find(n, "").next().is_none()).cloned().collect();
    let wanted = settings.exclusive_packages.iter().filter(|n| available.iter().any(|u| u.name == **n && u.held.is_empty()));
    (wanted.cloned().collect(), missing)
}

/// Are there repositories besides the broken ones? Those that another dnf5 (a timer, the inventory) has read a moment before
/// are as good as read, and `makecache` says nothing of them.
fn has_more(runner: &dyn Runner, broken: usize) -> Result<bool, PkgError> {
    let spec = command::enabled();
    let finished = run_waiting(runner, &spec, command::locked)?;
    Ok(finished.success() && command::parse_enabled(&complete(&spec, &finished)?) > broken)
}

impl PackageManager for Dnf5 {
    fn kind(&self) -> ManagerKind {
        ManagerKind::Dnf5
    }

    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
        rpm::installed(runner)
    }

    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
        rpm::twice(&self.root, runner)
    }

    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError> {
        let spec = command::refresh();
        let finished = run_waiting(runner, &spec, command::locked)?;
        let (working, findings) = command::parse_refresh(&complete(&spec, &finished)?);
        if working == 0 && !findings.is_empty() && !(finished.success() && has_more(runner, findings.len())?) {
            return Err(PkgError::NothingWorks { details: join_findings(&findings) });
        }
        if !finished.success() && findings.is_empty() {
            return Err(failed(&spec, &finished));
        }
        Ok(findings)
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        Ok(UpdateSet { updates: self.available(runner, Bars::default())?, findings: Vec::new() })
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if let Some(order) = &config.undo {
            return undo::plan(self, runner, config, order);
        }
        let bars = Bars::new(config)?;
        if let Some(packages) = &config.packages {
            return named::plan(self, runner, packages, bars);
        }
        let settings = &config.yum;
        let excludes = Excludes::new(&settings.excludes)?;
        let (available, barred) = (self.available(runner, bars)?, bars.nevras());
        let installed = PackageSet::new(self.installed(runner)?);
        let (mut names, missing) = exclusive(settings, &available, &installed);
        let only = !settings.exclusive_packages.is_empty();
        let mut unmet = Vec::new();
        if config.chooses() {
            (names, unmet) = named::chosen_words(runner, config, &available, &excludes)?;
        }
        // The chosen words say their versions themselves.
        let minimal = settings.minimal && !config.chooses();
        let mut hidden: BTreeSet<String> = BTreeSet::new();
        if !only {
            hidden.extend(available.iter().map(|u| u.name.clone()).filter(|n| excludes.matching(n).is_some()));
        }
        let mut table = Table::default();
        for round in 0..=EXCLUDE_ROUNDS_MAX {
            if (only || config.chooses()) && names.is_empty() {
                break;
            }
            let excluded: Vec<String> = hidden.iter().cloned().collect();
            let spec =
                DryRun { security: settings.security, minimal, excluded: &excluded, barred: &barred, names: &names }.spec();
            table = Self::dry_run(runner, &spec)?.map_err(|finished| failed(&spec, &finished))?;
            let known = hidden.len();
            if !only {
                hidden.extend(table.actions.iter().map(|a| a.name.clone()).filter(|n| excludes.matching(n).is_some()));
            }
            if hidden.len() == known {
                break;
            }
            if round == EXCLUDE_ROUNDS_MAX {
                return Err(PkgError::Failed {
                    label: spec.label,
                    end: format!("{EXCLUDE_ROUNDS_MAX} rounds"),
                    message: "excluded packages are still pulled in by others; exclude those as well".to_owned(),
                });
            }
        }
        for action in &mut table.actions {
            let known =
                available.iter().find(|u| u.name == action.name && u.arch == action.arch && Some(&u.to) == action.to.as_ref());
            if let Some(known) = known {
                (action.kind, action.advisories) = (known.kind, known.advisories.clone());
            }
        }
        self.advise_older(runner, &mut table.actions, &available)?;
        let mut left = skipped(&available, &table.actions, config, &excludes, &problems_by_package(&table, &available));
        left.extend(not_installed(&missing));
        left.extend(unmet);
        left.sort();
        let before = self.standing(&table.actions);
        Ok(Plan {
            manager: ManagerKind::Dnf5,
            actions: table.actions,
            skipped: left,
            patches: Vec::new(),
            requested: Vec::new(),
            modules: Vec::new(),
            findings: Vec::new(),
            before: Some(before),
            undo: None,
        })
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        let Some(todo) = self.todo(runner, plan)? else { return Ok(ApplyOutcome::nothing_to_do()) };
        self.stored(runner, plan, &todo)?;
        let words: Vec<String> = todo.iter().filter_map(|a| Some(format!("{}-{}.{}", a.name, a.to.as_ref()?, a.arch))).collect();
        if words.is_empty() {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        let finished = run_waiting(runner, &command::download(&words), command::locked)?;
        Ok(ApplyOutcome::downloaded(&finished, "dnf5", words.len()))
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        let Some(todo) = self.todo(runner, plan)? else { return Ok(ApplyOutcome::nothing_to_do()) };
        let stored = self.stored(runner, plan, &todo)?;
        let finished = run_waiting(runner, &command::replay(stored.directory(), removes(&todo)), command::locked)?;
        let failures = command::parse_failures(&finished.stdout.text());
        // A plugin that fails after the transaction (5.4: the "local" one) makes dnf5 end with 1 although everything is
        // installed: the database decides.
        let success = finished.success() || remaining(plan, &PackageSet::new(self.installed(runner)?)).is_empty();
        let message = match (success, failures.iter().find(|(_, w)| !w.starts_with("Non-critical")).or(failures.first())) {
            (true, _) if finished.success() => format!("dnf5 made {}", planned_changes(todo.len())),
            (true, _) => format!(
                "dnf5 made {}, then ended with {}: {}",
                planned_changes(todo.len()),
                finished.describe_end(),
                last_line(&finished)
            ),
            (false, Some((_, words))) => format!("dnf5 failed ({}): {words}", finished.describe_end()),
            (false, None) => format!("dnf5 failed ({}): {}", finished.describe_end(), last_line(&finished)),
        };
        Ok(ApplyOutcome {
            exit: ExitSummary::from(&finished),
            output: finished.output(),
            success,
            message,
            failed_packages: failures,
            reboot_suggested: false,
        })
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        rpm::mend_twice(&self.root, runner)
    }

    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        let mut reasons = rpm::reboot_reasons(&self.root, runner, booted_at)?;
        if let Some(packages) = Self::asking_for_reboot(runner)? {
            let none = packages.is_empty();
            let detail = if none { "dnf5 needs-restarting says so".to_owned() } else { packages.join(", ") + " asked for it" };
            reasons.push(RebootReason { source: "tool".to_owned(), detail });
        }
        Ok(reasons)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        vec![self.dbpath.clone()]
    }
}

impl Dnf5 {
    /// Fills in the advisories of planned versions that are not the newest (`minimal`).
    fn advise_older(&self, runner: &dyn Runner, actions: &mut [PlannedAction], available: &[Update]) -> Result<(), PkgError> {
        let newest =
            |a: &PlannedAction| available.iter().any(|u| u.name == a.name && u.arch == a.arch && Some(&u.to) == a.to.as_ref());
        if actions.iter().all(|a| a.from.is_none() || a.to.is_none() || newest(a)) {
            return Ok(());
        }
        let spec = command::advisories();
        let text = Self::text(runner, &spec)?;
        let advisories = command::parse_advisories(&text).map_err(|what| PkgError::Parse { label: spec.label, what })?;
        for action in actions.iter_mut() {
            if let (Some(from), Some(to)) = (&action.from, &action.to) {
                let (ids, kind, _) = closing(&action.name, &action.arch, from, to, &advisories);
                (action.advisories, action.kind) = (ids, kind);
            }
        }
        Ok(())
    }
}

impl Dnf5 {
    /// What is there beside versions before `actions`.
    fn standing(&self, actions: &[PlannedAction]) -> Standing {
        let reasons = stored::kept_reasons(&self.root);
        let mark = |a: &PlannedAction| {
            let mark = stored::mark(reasons.get(&format!("{}.{}", a.name, a.arch))?)?;
            a.from.as_ref().map(|_| Marked { name: a.name.clone(), arch: a.arch.clone(), mark })
        };
        let mut marks: Vec<Marked> = actions.iter().filter_map(mark).collect();
        marks.sort();
        Standing { marks, left: Vec::new() }
    }

    /// What of the plan is left to do, as one transaction; `None` when nothing is.
    fn todo(&self, runner: &dyn Runner, plan: &Plan) -> Result<Option<Vec<PlannedAction>>, PkgError> {
        if plan.manager != ManagerKind::Dnf5 {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Dnf5 });
        }
        let installed = PackageSet::new(self.installed(runner)?);
        let todo = match &plan.undo {
            Some(order) => Undo::left(order, installed.as_slice(), &[], &rpm::order).actions,
            None => rpm::as_transaction(remaining(plan, &installed), &installed),
        };
        if let Some(bad) = todo.iter().find(|a| !is_package_name(&a.name)) {
            return Err(PkgError::BadPlan { details: format!("{:?} is no package name", bad.name) });
        }
        Ok((!todo.is_empty()).then_some(todo))
    }

    /// The transaction as dnf5 stores one, checked: it would do exactly this.
    fn stored(&self, runner: &dyn Runner, plan: &Plan, todo: &[PlannedAction]) -> Result<stored::Stored, PkgError> {
        let reasons = command::parse_reasons(&Self::text(runner, &command::reasons())?);
        let stored =
            stored::Stored::write(todo, &reasons, &plan.requested, plan.undo.as_ref()).map_err(|source| PkgError::Run {
                label: "dnf5 replay".to_owned(),
                source: RunError::Plumbing { program: "dnf5".to_owned(), what: "stored transaction", source },
            })?;
        match Self::dry_run(runner, &command::replay_dry_run(stored.directory(), removes(todo)))? {
            Err(finished) => Err(PkgError::WorldMoved { details: refusal(&finished) }),
            Ok(table) => match difference(todo, &table.actions) {
                Some(details) => Err(PkgError::WorldMoved { details }),
                None => Ok(stored),
            },
        }
    }
}

/// Does something go without being replaced?
fn removes(actions: &[PlannedAction]) -> bool {
    actions.iter().any(|a| a.to.is_none())
}

/// dnf5's last line.
fn last_line(finished: &Finished) -> String {
    let words = last_words(finished);
    words.lines().next_back().unwrap_or_default().to_owned()
}

/// Why replay refused: the lines below `Failed to resolve the transaction:`.
fn refusal(finished: &Finished) -> String {
    let text = format!("{}\n{}", finished.stdout.text(), finished.stderr.text());
    let lines = text.lines().skip_while(|l| !l.starts_with("Failed to resolve")).skip(1);
    let lines: Vec<&str> = lines.take_while(|l| !l.trim().is_empty() && !l.starts_with("You can try")).collect();
    if lines.is_empty() { last_words(finished) } else { cut(&lines.join("; ")) }
}
