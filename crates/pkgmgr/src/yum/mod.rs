//! yum 3 (Enterprise Linux 7 and older). Held against documented output only: no such host is in the lab, so every
//! command that changes the host is checked by a dry run first, as with the other managers.

mod command;
mod named;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, Update, UpdateSet};
use drydock_domain::patch::report::{Plan, PlannedAction};
use drydock_domain::patch::spec::{PatchConfig, is_package_name};
use drydock_domain::patch::undo::Standing;
use jiff::Timestamp;

use crate::barred::Bars;
use crate::dnf::{not_installed, skipped};
use crate::dnf5::{Offered, closing, exclusive, update};
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::exec::{complete, cut, failed, join_findings, last_words, planned_changes, run_waiting};
use crate::manager::{ApplyOutcome, BrokenPackage, ExitSummary, PackageManager, RepairReport};
use crate::rpm;
use crate::run::{CommandSpec, End, Runner};
use crate::verify::{difference, remaining};

/// Rounds of planning until no excluded package is pulled in; each hides the ones found before.
const EXCLUDE_ROUNDS_MAX: usize = 10;

/// yum 3 of this host.
#[derive(Debug, Clone)]
pub struct Yum {
    root: PathBuf,
    dbpath: PathBuf,
}

impl Yum {
    /// yum of the host at `root` (`/`).
    pub fn new(root: &Path, runner: &dyn Runner) -> Self {
        Yum { root: root.to_owned(), dbpath: rpm::dbpath(runner) }
    }

    fn text(runner: &dyn Runner, spec: &CommandSpec, good: &[i32]) -> Result<String, PkgError> {
        let finished = run_waiting(runner, spec, command::locked)?;
        if !matches!(finished.end, End::Exited(code) if good.contains(&code)) {
            return Err(failed(spec, &finished));
        }
        complete(spec, &finished)
    }

    fn available(runner: &dyn Runner, installed: &PackageSet) -> Result<Vec<Update>, PkgError> {
        let query = |all: bool| -> Result<Vec<Offered>, PkgError> {
            let spec = command::check_update(all);
            let text = Self::text(runner, &spec, &[0, command::EXIT_UPDATES])?;
            command::parse_check_update(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
        };
        let (visible, everything) = (query(false)?, query(true)?);
        let advisories = command::parse_advisories(&Self::text(runner, &command::advisories(), &[0])?);
        let hidden = everything.iter().filter(|o| !visible.contains(o));
        let mut updates: Vec<Update> = visible
            .iter()
            .map(|o| (o, String::new()))
            .chain(hidden.map(|o| (o, "versionlock or exclude of the host's yum configuration".to_owned())))
            .map(|(offered, held)| update(offered, held, installed, &advisories))
            .collect();
        updates.sort();
        Ok(updates)
    }

    /// A dry run: exit code 1 with a table is the expected end of `--assumeno`.
    fn dry_run(
        runner: &dyn Runner,
        spec: &CommandSpec,
        installed: &PackageSet,
    ) -> Result<Result<Vec<PlannedAction>, String>, PkgError> {
        let finished = run_waiting(runner, spec, command::locked)?;
        let table = table::parse(&complete(spec, &finished)?, installed)
            .map_err(|what| PkgError::Parse { label: spec.label.clone(), what })?;
        Ok(match (table, finished.end) {
            (Some(actions), End::Exited(0 | 1)) => Ok(actions),
            (None, End::Exited(0)) => Ok(Vec::new()),
            _ => Err(last_words(&finished)),
        })
    }
}

impl Yum {
    /// What of the plan is left to do and the words for it, after a dry run that would do exactly this; `None` when
    /// nothing is left.
    fn checked(&self, runner: &dyn Runner, plan: &Plan) -> Result<Option<Asked>, PkgError> {
        if plan.manager != ManagerKind::Yum {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Yum });
        }
        let installed = PackageSet::new(self.installed(runner)?);
        let todo = rpm::as_transaction(remaining(plan, &installed), &installed);
        if todo.is_empty() {
            return Ok(None);
        }
        let words = words(&todo)?;
        let spec = if only_removes(&todo) { command::remove_dry_run(&words) } else { command::install_dry_run(&words) };
        match Self::dry_run(runner, &spec, &installed)? {
            Err(details) => Err(PkgError::WorldMoved { details }),
            Ok(actions) => match difference(&todo, &actions) {
                Some(details) => Err(PkgError::WorldMoved { details }),
                None => Ok(Some((todo, words))),
            },
        }
    }
}

/// Actions, and the words that ask for exactly them.
type Asked = (Vec<PlannedAction>, Vec<String>);

/// Does nothing arrive?
fn only_removes(actions: &[PlannedAction]) -> bool {
    actions.iter().all(|a| a.to.is_none())
}

/// The words that ask for exactly the arriving packages; what leaves is implied by them and checked by the dry run.
/// Where nothing arrives, the words for what leaves.
fn words(actions: &[PlannedAction]) -> Result<Vec<String>, PkgError> {
    let leaving = only_removes(actions);
    let arriving = actions.iter().filter_map(|a| Some((a, if leaving { a.from.as_ref()? } else { a.to.as_ref()? })));
    let word = |(a, to): (&PlannedAction, &String)| {
        let safe = is_package_name(&a.name) && to.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^".contains(&b));
        // yum 3 wants the epoch in front of the name.
        let (epoch, version) = to.split_once(':').map_or((String::new(), to.as_str()), |(e, v)| (format!("{e}:"), v));
        if safe {
            Ok(format!("{epoch}{}-{version}.{}", a.name, a.arch))
        } else {
            Err(PkgError::BadPlan { details: format!("{} has an unusable name or version", a.name) })
        }
    };
    arriving.map(word).collect()
}

impl PackageManager for Yum {
    fn kind(&self) -> ManagerKind {
        ManagerKind::Yum
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
        let findings = command::parse_refresh(&complete(&spec, &finished)?);
        match (finished.success(), findings.is_empty()) {
            (true, _) => Ok(findings),
            (false, true) => Err(failed(&spec, &finished)),
            (false, false) => Err(PkgError::NothingWorks { details: join_findings(&findings) }),
        }
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        let installed = PackageSet::new(self.installed(runner)?);
        Ok(UpdateSet { updates: Self::available(runner, &installed)?, findings: Vec::new() })
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if config.undo.is_some() {
            let details = "it cannot install and remove in one transaction, so a task cannot be taken back exactly";
            return Err(PkgError::Refused { tool: "yum".to_owned(), details: details.to_owned() });
        }
        let bars = Bars::new(config)?;
        if let Some(packages) = &config.packages {
            return named::plan(self, runner, packages, bars);
        }
        let settings = &config.yum;
        let excludes = Excludes::new(&settings.excludes)?;
        let installed = PackageSet::new(self.installed(runner)?);
        let available = Self::available(runner, &installed)?;
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
        let mut actions = Vec::new();
        for round in 0..=EXCLUDE_ROUNDS_MAX {
            if (only || config.chooses()) && names.is_empty() {
                break;
            }
            let excluded: Vec<String> = hidden.iter().cloned().chain(bars.nevras()).collect();
            let spec = command::dry_run(settings.security, minimal, &excluded, &names);
            let error = |end: String, message: String| PkgError::Failed { label: spec.label.clone(), end, message };
            actions = Self::dry_run(runner, &spec, &installed)?.map_err(|words| error("dry run".to_owned(), words))?;
            let known = hidden.len();
            if !only {
                hidden.extend(actions.iter().map(|a| a.name.clone()).filter(|n| excludes.matching(n).is_some()));
            }
            if hidden.len() == known {
                break;
            }
            if round == EXCLUDE_ROUNDS_MAX {
                let message = "excluded packages are still pulled in by others; exclude those as well";
                return Err(error(format!("{EXCLUDE_ROUNDS_MAX} rounds"), message.to_owned()));
            }
        }
        let advisories = command::parse_advisories(&Self::text(runner, &command::advisories(), &[0])?);
        for action in &mut actions {
            if let (Some(from), Some(to)) = (&action.from, &action.to) {
                let (ids, kind, _) = closing(&action.name, &action.arch, from, to, &advisories);
                (action.advisories, action.kind) = (ids, kind);
            }
        }
        let mut left = skipped(&available, &actions, config, &excludes, &BTreeMap::new());
        left.extend(not_installed(&missing));
        left.extend(unmet);
        for update in &mut left {
            update.reason = bars.why(&update.name, &update.arch, &update.version).unwrap_or_else(|| update.reason.clone());
        }
        bars.refuse("yum", &actions)?;
        left.sort();
        Ok(Plan {
            manager: ManagerKind::Yum,
            actions,
            skipped: left,
            patches: Vec::new(),
            requested: Vec::new(),
            modules: Vec::new(),
            findings: Vec::new(),
            before: Some(Standing::default()),
            undo: None,
        })
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        match self.checked(runner, plan)? {
            Some((todo, words)) if !only_removes(&todo) => {
                let finished = run_waiting(runner, &command::download(&words), command::locked)?;
                Ok(ApplyOutcome::downloaded(&finished, "yum", words.len()))
            }
            _ => Ok(ApplyOutcome::nothing_to_do()),
        }
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        let Some((todo, words)) = self.checked(runner, plan)? else { return Ok(ApplyOutcome::nothing_to_do()) };
        let spec = if only_removes(&todo) { command::remove(&words) } else { command::install(&words) };
        let finished = run_waiting(runner, &spec, command::locked)?;
        let success = finished.success();
        let message = if success {
            format!("yum made {}", planned_changes(todo.len()))
        } else {
            format!("yum failed ({}): {}", finished.describe_end(), last_words(&finished))
        };
        Ok(ApplyOutcome {
            exit: ExitSummary::from(&finished),
            output: finished.output(),
            success,
            message: cut(&message),
            failed_packages: crate::dnf::failures(&finished.stdout.text()),
            reboot_suggested: false,
        })
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        rpm::mend_twice(&self.root, runner)
    }

    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        rpm::reboot_reasons(&self.root, runner, booted_at)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        vec![self.dbpath.clone()]
    }
}
