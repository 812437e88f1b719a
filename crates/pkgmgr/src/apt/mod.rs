//! apt and dpkg. `plan.rs` decides what to ask for; the other files are one external command each.

mod dpkg_query;
mod install;
mod marks;
mod named;
mod plan;
mod policy;
mod repair;
mod simulate;
mod undo;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, Update, UpdateKind, UpdateSet};
use drydock_domain::patch::report::{ActionKind, Plan, PlannedAction};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::{LeftOver, Mark, Marked, Standing, UndoOrder};
use jiff::Timestamp;

use crate::barred::Bars;
use crate::error::PkgError;
use crate::exec::{complete, failed, join_findings, planned_changes, run, run_text, run_waiting};
use crate::kernel::kernel_installed;
use crate::manager::{ApplyOutcome, BrokenPackage, ExitSummary, PackageManager, RepairReport};
use crate::run::Runner;
use crate::undo::Undo;
use crate::verify::{difference, remaining};
use dpkg_query::{Entry, State};
use simulate::{Request, Simulation};

/// Shown wherever a hold keeps a package.
const HELD: &str = "held by apt-mark";

/// apt and dpkg of this host.
#[derive(Debug, Clone)]
pub struct Apt {
    root: PathBuf,
}

/// The dpkg database as read at one moment.
struct Database {
    entries: Vec<Entry>,
    native: Native,
}

/// The host's own architecture: its packages are named without a suffix.
#[derive(Debug, Clone, Default)]
struct Native(String);

impl Native {
    /// The word apt uses for a package: `name`, or `name:arch` for a foreign architecture.
    fn word(&self, name: &str, arch: &str) -> String {
        if arch == "all" || arch == self.0 || arch.is_empty() { name.to_owned() } else { format!("{name}:{arch}") }
    }
}

impl Database {
    fn read(runner: &dyn Runner) -> Result<Self, PkgError> {
        let spec = dpkg_query::spec();
        let text = run_text(runner, &spec, &[0])?;
        let entries = dpkg_query::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })?;
        // dpkg itself is of the native architecture everywhere.
        let native = entries.iter().find(|e| e.package.name == "dpkg").map(|e| e.package.arch.clone()).unwrap_or_default();
        Ok(Database { entries, native: Native(native) })
    }

    fn installed(&self) -> Vec<Package> {
        self.entries.iter().filter(|e| e.state == State::Installed).map(|e| e.package.clone()).collect()
    }

    fn broken(&self) -> Vec<BrokenPackage> {
        let broken = |e: &Entry| match e.state {
            State::Between(state) => Some(BrokenPackage { package: e.package.clone(), state: state.to_owned() }),
            State::Installed | State::Absent => None,
        };
        self.entries.iter().filter_map(broken).collect()
    }

    /// Packages in a state between.
    fn between(&self) -> Vec<Package> {
        self.broken().into_iter().map(|b| b.package).collect()
    }

    /// The installed package of this name; `arch` `None` or `all` = the native one.
    fn find(&self, name: &str, arch: Option<&str>) -> Option<&Entry> {
        let fits = |e: &&Entry| {
            let own = e.package.arch.as_str();
            e.package.name == name
                && e.state != State::Absent
                && match arch {
                    Some(arch) if arch != "all" => own == arch || own == "all",
                    _ => own == self.native.0 || own == "all",
                }
        };
        self.entries.iter().find(fits)
    }

    fn is_held(&self, name: &str, arch: &str) -> bool {
        self.find(name, Some(arch)).is_some_and(|e| e.held)
    }
}

impl Apt {
    /// apt of the host at `root` (`/`).
    pub fn new(root: &Path) -> Self {
        Apt { root: root.to_owned() }
    }

    /// What is there beside versions before `actions`.
    fn standing(&self, database: &Database, actions: &[PlannedAction]) -> Standing {
        let automatic = marks::kept(&self.root);
        let marked = |a: &&PlannedAction| a.from.is_some();
        let mark = |a: &PlannedAction| {
            // apt keeps marks of packages for all architectures under the host's own.
            let arch = if a.arch == "all" { &database.native.0 } else { &a.arch };
            let automatic = automatic.contains(&(a.name.clone(), arch.clone()));
            let mark = if automatic { Mark::Dependency } else { Mark::Person };
            Marked { name: a.name.clone(), arch: a.arch.clone(), mark }
        };
        let mut marks: Vec<Marked> = actions.iter().filter(marked).map(mark).collect();
        marks.sort();
        let left = database.entries.iter().filter(|e| e.left);
        let left = left.map(|e| LeftOver { name: e.package.name.clone(), arch: e.package.arch.clone() });
        let mut left: Vec<LeftOver> = left.collect();
        left.sort();
        Standing { marks, left }
    }

    fn simulate(&self, runner: &dyn Runner, request: &Request) -> Result<Simulation, PkgError> {
        let spec = simulate::spec(request);
        let text = run_text(runner, &spec, &[0])?;
        simulate::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
    }

    /// Versions and archives of these packages, and which archives are security archives.
    fn offers(&self, runner: &dyn Runner, names: &[String]) -> Result<Offers, PkgError> {
        if names.is_empty() {
            return Ok(Offers::default());
        }
        let security = policy::parse_archives(&run_text(runner, &policy::archives_spec(), &[0])?);
        let mut table = policy::Table::new();
        for part in names.chunks(policy::NAMES_PER_COMMAND) {
            table.extend(policy::parse_names(&run_text(runner, &policy::names_spec(part), &[0])?));
        }
        Ok(Offers { security, table })
    }
}

/// What the archives offer for some packages.
#[derive(Debug, Default)]
struct Offers {
    security: policy::SecurityArchives,
    table: policy::Table,
}

impl Offers {
    /// The versions newer than `from` and not newer than `to`.
    fn between<'a>(&'a self, word: &str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a policy::Version> {
        let order = |a: &str, b: &str| drydock_domain::version::compare(drydock_domain::version::Scheme::Deb, a, b);
        self.table.get(word).into_iter().flatten().filter(move |v| {
            order(&v.version, from).is_ok_and(std::cmp::Ordering::is_gt)
                && order(&v.version, to).is_ok_and(std::cmp::Ordering::is_le)
        })
    }

    /// Security when a security archive has any version on the way: a newer one from elsewhere contains its fix.
    fn kind(&self, word: &str, from: &str, to: &str) -> UpdateKind {
        let security = self.between(word, from, to).any(|v| self.security.any(&v.archives));
        if security { UpdateKind::Security } else { UpdateKind::Unknown }
    }

    /// The versions on the way that a security archive has. apt lists versions newest first.
    fn security<'a>(&'a self, word: &str, from: &'a str, to: &'a str) -> impl Iterator<Item = String> {
        self.between(word, from, to).filter(|v| self.security.any(&v.archives)).map(|v| v.version.clone())
    }

    /// The newest of them.
    fn newest_security(&self, word: &str, from: &str, to: &str) -> Option<String> {
        self.security(word, from, to).next()
    }

    /// `10%` when this version is still being phased in.
    fn phased(&self, word: &str, version: &str) -> Option<&str> {
        self.table.get(word)?.iter().find(|v| v.version == version)?.phased.as_deref()
    }
}

/// Makes plan lines of a simulation.
fn actions_of(simulation: &Simulation, database: &Database, offers: &Offers) -> Vec<PlannedAction> {
    let mut actions: Vec<PlannedAction> = Vec::new();
    for inst in &simulation.install {
        let action = match &inst.from {
            None => ActionKind::Install,
            Some(from) if *from == inst.to => ActionKind::Reinstall,
            Some(from) => {
                let order = drydock_domain::version::compare(drydock_domain::version::Scheme::Deb, &inst.to, from);
                if order.is_ok_and(std::cmp::Ordering::is_lt) { ActionKind::Downgrade } else { ActionKind::Upgrade }
            }
        };
        let word = database.native.word(&inst.name, &inst.arch);
        let kind = inst.from.as_ref().map(|from| offers.kind(&word, from, &inst.to)).unwrap_or_default();
        actions.push(PlannedAction {
            action,
            name: inst.name.clone(),
            arch: inst.arch.clone(),
            from: inst.from.clone(),
            to: Some(inst.to.clone()),
            repository: inst.archives.first().cloned().unwrap_or_default(),
            kind,
            advisories: Vec::new(),
        });
    }
    for remv in &simulation.remove {
        let arch = remv.arch.clone().or_else(|| database.find(&remv.name, None).map(|e| e.package.arch.clone()));
        actions.push(PlannedAction {
            action: ActionKind::Remove,
            name: remv.name.clone(),
            arch: arch.unwrap_or_default(),
            from: Some(remv.version.clone()),
            to: None,
            repository: String::new(),
            kind: UpdateKind::Unknown,
            advisories: Vec::new(),
        });
    }
    actions.sort();
    actions
}

impl PackageManager for Apt {
    fn kind(&self) -> ManagerKind {
        ManagerKind::Apt
    }

    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
        Ok(Database::read(runner)?.installed())
    }

    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
        Ok(Database::read(runner)?.broken())
    }

    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError> {
        let spec = update::spec();
        let finished = run_waiting(runner, &spec, update::locked)?;
        let updated = update::parse(&complete(&spec, &finished)?);
        if !finished.success() && updated.findings.is_empty() {
            return Err(failed(&spec, &finished));
        }
        if updated.working == 0 && !updated.findings.is_empty() {
            return Err(PkgError::NothingWorks { details: join_findings(&updated.findings) });
        }
        Ok(updated.findings)
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        let database = Database::read(runner)?;
        let everything = self.simulate(runner, &Request::Everything)?;
        let actions = actions_of(&everything, &database, &Offers::default());
        let words: Vec<String> =
            actions.iter().filter(|a| a.to.is_some()).map(|a| database.native.word(&a.name, &a.arch)).collect();
        let offers = self.offers(runner, &words)?;
        let mut updates: Vec<Update> = actions_of(&everything, &database, &offers)
            .into_iter()
            .filter_map(|a| {
                let to = a.to?;
                let word = database.native.word(&a.name, &a.arch);
                let held = if database.is_held(&a.name, &a.arch) {
                    HELD.to_owned()
                } else {
                    offers.phased(&word, &to).map(|p| format!("phased update ({p})")).unwrap_or_default()
                };
                Some(Update {
                    name: a.name,
                    arch: a.arch,
                    from: a.from.unwrap_or_default(),
                    to,
                    repository: a.repository,
                    kind: a.kind,
                    advisories: Vec::new(),
                    severity: String::new(),
                    held,
                })
            })
            .collect();
        updates.sort();
        Ok(UpdateSet { updates, findings: Vec::new() })
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if let Some(order) = &config.undo {
            return undo::plan(self, runner, config, order);
        }
        let bars = Bars::new(config)?;
        match &config.packages {
            Some(packages) => named::plan(self, runner, packages, bars),
            None => plan::plan(self, runner, &config.apt, plan::Choice::of(config)?, bars),
        }
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Apt {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Apt });
        }
        let database = Database::read(runner)?;
        let todo = remaining(plan, &PackageSet::new(database.installed()));
        if todo.is_empty() {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        self.check_unmoved(runner, &database, &todo, None)?;
        let finished = run_waiting(runner, &install::download(&todo, &database.native)?, update::locked)?;
        let arriving = todo.iter().filter(|a| a.to.is_some()).count();
        Ok(ApplyOutcome::downloaded(&finished, "apt-get", arriving))
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Apt {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Apt });
        }
        let outcome = self.transact(runner, plan)?;
        match &plan.undo {
            Some(order) if outcome.success => undo::settle(runner, order, outcome),
            _ => Ok(outcome),
        }
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        repair::repair(self, runner)
    }

    fn reboot_hint(&self, runner: &dyn Runner, _booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        self.reboot_reasons(runner)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/var/lib/dpkg")]
    }
}

impl Apt {
    /// What of the plan is not yet true.
    fn todo(plan: &Plan, database: &Database) -> Vec<PlannedAction> {
        let installed = database.installed();
        match &plan.undo {
            Some(order) => Undo::left(order, &installed, &database.between(), &undo::by_dpkg).actions,
            None => remaining(plan, &PackageSet::new(installed)),
        }
    }

    /// Makes the plan's transaction.
    fn transact(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        let database = Database::read(runner)?;
        let todo = Self::todo(plan, &database);
        if todo.is_empty() {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        self.check_unmoved(runner, &database, &todo, plan.undo.as_ref())?;
        let mut automatic = marks::automatic(runner, &todo, &requested(plan), &database.native)?;
        if let Some(order) = &plan.undo {
            // Marks that the order names are restored at the end.
            automatic.retain(|word| {
                !order.actions.iter().any(|a| a.mark.is_some() && database.native.word(&a.name, &a.arch) == *word)
            });
        }
        let spec = install::spec(&todo, &database.native, plan.undo.as_ref())?;
        let finished = run_waiting(runner, &spec, update::locked)?;
        // `install NAME=VERSION` makes apt forget that a package came as a dependency; autoremove would then never
        // take it away again.
        let marked = marks::restore(runner, &automatic);
        let text = finished.stdout.text();
        let success = finished.success();
        let message = match (success, marked) {
            (true, Ok(())) => format!("apt-get installed {}", planned_changes(todo.len())),
            (true, Err(e)) => {
                format!("apt-get installed {}; marking dependencies failed: {e}", planned_changes(todo.len()))
            }
            (false, _) => format!("apt-get install failed ({}): {}", finished.describe_end(), install::errors(&text)),
        };
        Ok(ApplyOutcome {
            exit: ExitSummary::from(&finished),
            output: finished.output(),
            success,
            message,
            failed_packages: install::parse_failures(&text),
            reboot_suggested: false,
        })
    }

    fn reboot_reasons(&self, runner: &dyn Runner) -> Result<Vec<RebootReason>, PkgError> {
        let mut reasons = Vec::new();
        let flag = ["run/reboot-required", "var/run/reboot-required"].into_iter().find(|p| self.root.join(p).exists());
        if let Some(flag) = flag {
            let names = std::fs::read_to_string(self.root.join(format!("{flag}.pkgs"))).unwrap_or_default();
            let mut names: Vec<&str> = names.lines().map(str::trim).filter(|n| !n.is_empty()).collect();
            names.sort_unstable();
            names.dedup();
            let detail = if names.is_empty() { format!("/{flag} exists") } else { format!("{} asked for it", names.join(", ")) };
            reasons.push(RebootReason { source: "reboot-required".to_owned(), detail });
        }
        let running = run_text(runner, &crate::exec::uname(), &[0])?;
        reasons.extend(kernel_installed(&self.root, running.trim()).reboot_reason());
        Ok(reasons)
    }

    /// Simulates exactly `todo`; anything else that would happen, or a version that is gone, is a moved world.
    fn check_unmoved(
        &self,
        runner: &dyn Runner,
        database: &Database,
        todo: &[PlannedAction],
        undo: Option<&UndoOrder>,
    ) -> Result<(), PkgError> {
        let words = install::words(todo, &database.native, undo)?;
        let request = Request::Exact { words, downgrade: install::has(todo, ActionKind::Downgrade) };
        let spec = simulate::spec(&request);
        let finished = run(runner, &spec)?;
        let text = complete(&spec, &finished)?;
        if !finished.success() {
            let said = finished.stderr.text();
            if said.contains("dpkg was interrupted") {
                return Err(failed(&spec, &finished));
            }
            return Err(PkgError::WorldMoved { details: install::errors(&said) });
        }
        let simulation = simulate::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })?;
        // What is unpacked in the planned version only needs configuring, which apt does not call an installation.
        let unpacked = |a: &&PlannedAction| {
            let between = database.entries.iter().filter(|e| matches!(e.state, State::Between(_)));
            a.to.is_some() && between.clone().any(|e| e.package.name == a.name && Some(&e.package.version) == a.to.as_ref())
        };
        let expected: Vec<PlannedAction> = todo.iter().filter(|a| !unpacked(a)).cloned().collect();
        match difference(&expected, &actions_of(&simulation, database, &Offers::default())) {
            None => Ok(()),
            Some(details) => Err(PkgError::WorldMoved { details }),
        }
    }
}

/// Names that are no dependencies. What an undo brings back is one only where it was noted.
fn requested(plan: &Plan) -> Vec<String> {
    match &plan.undo {
        Some(order) => order.actions.iter().map(|a| a.name.clone()).collect(),
        None => plan.requested.clone(),
    }
}

/// Reasons by (name, arch).
type Reasons = BTreeMap<(String, String), String>;
