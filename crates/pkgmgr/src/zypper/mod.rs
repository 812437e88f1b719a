//! zypper. Lists and dry runs come as XML; a plan asks for exact editions, so that applying cannot bring newer ones.

mod auto;
mod command;
mod named;
mod plan;
mod undo;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drydock_domain::inventory::{Finding, ManagerKind, Package, PackageSet, RebootReason, Update, UpdateKind, UpdateSet};
use drydock_domain::patch::pattern::Pattern;
use drydock_domain::patch::report::{ActionKind, Output, Plan, PlannedAction};
use drydock_domain::patch::spec::{PatchConfig, is_package_name};
use drydock_domain::patch::undo::UndoOrder;
use jiff::Timestamp;

use crate::barred::Bars;
use crate::error::PkgError;
use crate::excludes::Excludes;
use crate::exec::{complete, cut, failed, join_findings, last_words, planned_changes, run, run_waiting};
use crate::manager::{ApplyOutcome, BrokenPackage, ExitSummary, PackageManager, RepairReport};
use crate::rpm;
use crate::run::{Captured, CommandSpec, End, Finished, Runner};
use crate::undo::Undo;
use crate::verify::{difference, remaining};
use xml::{Answer, Listed};

/// Runs of zypper one apply may take: it stops at the first package that fails, and the others go on in the next run.
const APPLY_ROUNDS_MAX: usize = 5;
/// Shown wherever a lock keeps a package.
const LOCKED: &str = "locked by zypper addlock";

/// zypper of this host.
#[derive(Debug, Clone)]
pub struct Zypper {
    root: PathBuf,
    dbpath: PathBuf,
}

/// What the host's repositories offer and its administrator locked.
struct World {
    patches: Vec<Listed>,
    packages: Vec<Listed>,
    /// (patch, package name or name.arch, edition).
    contents: Vec<(String, String, String)>,
    locks: Excludes,
    findings: Vec<Finding>,
}

impl Zypper {
    /// zypper of the host at `root` (`/`).
    pub fn new(root: &Path, runner: &dyn Runner) -> Self {
        Zypper { root: root.to_owned(), dbpath: rpm::dbpath(runner) }
    }

    /// Runs a command that answers in XML; the answer of a refusal (exit codes 4, 104) is read as well.
    fn ask(&self, runner: &dyn Runner, spec: &CommandSpec) -> Result<(Answer, Finished), PkgError> {
        let finished = run_waiting(runner, spec, command::locked)?;
        let answer =
            xml::parse(&complete(spec, &finished)?).map_err(|what| PkgError::Parse { label: spec.label.clone(), what })?;
        Ok((answer, finished))
    }

    /// As [`Self::ask`], for commands whose refusal is a failure.
    fn list(&self, runner: &dyn Runner, spec: &CommandSpec) -> Result<Answer, PkgError> {
        let (answer, finished) = self.ask(runner, spec)?;
        if !is_good(&finished) {
            let message = if answer.errors.is_empty() { last_words(&finished) } else { cut(&answer.errors.join("; ")) };
            return Err(PkgError::Failed { label: spec.label.clone(), end: finished.describe_end(), message });
        }
        Ok(answer)
    }

    /// The newest versions that are not barred in the place of `wanted` ones, as far as repositories have some newer than the
    /// installed; by name and architecture.
    fn unbarred(&self, runner: &dyn Runner, wanted: &[Newer<'_>], bars: Bars<'_>) -> Result<Older, PkgError> {
        let names: BTreeSet<String> = wanted.iter().map(|w| w.name.to_owned()).filter(|n| is_package_name(n)).collect();
        let names: Vec<String> = names.into_iter().collect();
        let mut older = Older::new();
        for part in names.chunks(command::NAMES_PER_COMMAND) {
            let spec = command::versions(part);
            let (answer, finished) = self.ask(runner, &spec)?;
            if !is_good(&finished) && finished.end != End::Exited(command::EXIT_NOT_FOUND) {
                return Err(failed(&spec, &finished));
            }
            for s in answer.solvables.into_iter().filter(|s| s.kind == "package") {
                let Some(w) = wanted.iter().find(|w| w.name == s.name && w.arch == s.arch) else { continue };
                let between = rpm::order(&s.edition, w.from).is_gt() && rpm::order(&s.edition, w.to).is_lt();
                if !between || bars.why(&s.name, &s.arch, &s.edition).is_some() {
                    continue;
                }
                let best = older.entry((s.name, s.arch)).or_default();
                if best.is_empty() || rpm::order(&s.edition, best).is_gt() {
                    *best = s.edition;
                }
            }
        }
        Ok(older)
    }

    fn world(&self, runner: &dyn Runner) -> Result<World, PkgError> {
        let patches = self.list(runner, &command::list_patches())?;
        let packages = self.list(runner, &command::list_updates())?;
        let locks: Vec<Pattern> = self.list(runner, &command::locks())?.locks.into_iter().map(Pattern).collect();
        let findings = findings(&patches.errors);
        let patches: Vec<Listed> =
            patches.listed.into_iter().filter(|p| matches!(p.status.as_str(), "needed" | "optional")).collect();
        let names: Vec<String> = patches.iter().map(|p| p.name.clone()).collect();
        let mut contents = Vec::new();
        for part in names.chunks(command::NAMES_PER_COMMAND) {
            let spec = command::patch_info(part);
            let finished = run_waiting(runner, &spec, command::locked)?;
            if !is_good(&finished) {
                return Err(failed(&spec, &finished));
            }
            contents.extend(command::parse_patch_info(&complete(&spec, &finished)?));
        }
        // A lock that is no valid pattern of ours cannot match a package name either.
        let locks: Vec<Pattern> = locks.into_iter().filter(|p| p.compile().is_ok()).collect();
        Ok(World { patches, packages: packages.listed, contents, locks: Excludes::new(&locks)?, findings })
    }
}

/// A newer version of an installed package.
struct Newer<'a> {
    name: &'a str,
    arch: &'a str,
    /// Installed.
    from: &'a str,
    /// Offered.
    to: &'a str,
}

/// Versions by name and architecture.
type Older = BTreeMap<(String, String), String>;

impl World {
    /// Patches that bring a package to at most `to` from below: ids, kind, severity.
    fn patches_of(&self, name: &str, arch: &str, from: &str, to: &str) -> (Vec<String>, UpdateKind, String) {
        let with_arch = format!("{name}.{arch}");
        let (mut ids, mut kind, mut severity) = (Vec::new(), UpdateKind::Unknown, String::new());
        for (patch, package, edition) in &self.contents {
            let newer = rpm::order(edition, from).is_gt() && rpm::order(edition, to).is_le();
            if !(package == name || *package == with_arch) || !newer || ids.contains(patch) {
                continue;
            }
            ids.push(patch.clone());
            let Some(listed) = self.patches.iter().find(|p| p.name == *patch) else { continue };
            let this = kind_of(&listed.category);
            if this <= kind {
                kind = this;
                severity = listed.severity.clone();
            }
        }
        ids.sort();
        (ids, kind, if severity == "none" || severity == "unspecified" { String::new() } else { severity })
    }
}

fn is_good(finished: &Finished) -> bool {
    matches!(finished.end, End::Exited(code) if command::GOOD.contains(&code))
}

fn kind_of(category: &str) -> UpdateKind {
    match category {
        "security" => UpdateKind::Security,
        "recommended" | "bugfix" => UpdateKind::Bugfix,
        "feature" | "optional" | "enhancement" | "newpackage" => UpdateKind::Enhancement,
        _ => UpdateKind::Unknown,
    }
}

/// Broken repositories in zypper's error messages: `[alias|url] Failed to retrieve new repository metadata.`
fn findings(errors: &[String]) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for error in errors {
        let Some((_, rest)) = error.split_once('[') else { continue };
        let Some((alias, _)) = rest.split_once('|') else { continue };
        if !out.iter().any(|f| f.subject == alias) {
            out.push(Finding { subject: alias.to_owned(), message: cut(error) });
        }
    }
    out
}

/// Makes plan lines of a dry run.
fn actions_of(answer: &Answer, world: Option<&World>) -> Vec<PlannedAction> {
    let mut actions: Vec<PlannedAction> = Vec::new();
    for s in answer.solvables.iter().filter(|s| s.kind == "package") {
        let line = |action, from: Option<&String>, to: Option<&String>, arch: &str| PlannedAction {
            action,
            name: s.name.clone(),
            arch: arch.to_owned(),
            from: from.cloned(),
            to: to.cloned(),
            repository: if to.is_some() { s.repository.clone() } else { String::new() },
            kind: UpdateKind::Unknown,
            advisories: Vec::new(),
        };
        let changes_arch = !s.arch_old.is_empty() && s.arch_old != s.arch;
        match s.section.as_str() {
            "to-remove" => actions.push(line(ActionKind::Remove, Some(&s.edition), None, &s.arch)),
            _ if s.edition_old.is_empty() => actions.push(line(ActionKind::Install, None, Some(&s.edition), &s.arch)),
            _ if changes_arch => {
                actions.push(line(ActionKind::Install, None, Some(&s.edition), &s.arch));
                actions.push(line(ActionKind::Remove, Some(&s.edition_old), None, &s.arch_old));
            }
            _ => {
                let kind = match rpm::order(&s.edition, &s.edition_old) {
                    std::cmp::Ordering::Greater => ActionKind::Upgrade,
                    std::cmp::Ordering::Less => ActionKind::Downgrade,
                    std::cmp::Ordering::Equal => ActionKind::Reinstall,
                };
                actions.push(line(kind, Some(&s.edition_old), Some(&s.edition), &s.arch));
            }
        }
    }
    if let Some(world) = world {
        for action in &mut actions {
            if let (Some(from), Some(to)) = (&action.from, &action.to) {
                (action.advisories, action.kind, _) = world.patches_of(&action.name, &action.arch, from, to);
            }
        }
    }
    actions.sort();
    actions
}

/// The words that ask for exactly these actions; a version of which `undo` brings a file by the path of that file.
fn words(actions: &[PlannedAction], patches: &[String], undo: Option<&UndoOrder>) -> Result<Vec<String>, PkgError> {
    let mut out = Vec::new();
    for a in actions {
        let version = a.to.as_ref().or(a.from.as_ref());
        let safe = |v: &&String| !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_:~^".contains(&b));
        let arch_ok = !a.arch.is_empty() && a.arch.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let Some(version) = version.filter(safe).filter(|_| is_package_name(&a.name) && arch_ok) else {
            return Err(PkgError::BadPlan { details: format!("{} has an unusable name, architecture or version", a.name) });
        };
        let sign = if a.to.is_none() { "!" } else { "" };
        let file = a.to.as_ref().and_then(|to| undo?.local_file(&a.name, &a.arch, to)).filter(|f| f.starts_with('/'));
        out.push(file.map_or_else(|| format!("{sign}{}.{}={version}", a.name, a.arch), str::to_owned));
    }
    for patch in patches {
        if !is_package_name(patch) {
            return Err(PkgError::BadPlan { details: format!("patch {patch:?} has an unusable name") });
        }
        out.push(format!("patch:{patch}"));
    }
    Ok(out)
}

impl PackageManager for Zypper {
    fn kind(&self) -> ManagerKind {
        ManagerKind::Zypper
    }

    fn installed(&self, runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
        rpm::installed(runner)
    }

    fn broken(&self, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
        rpm::twice(&self.root, runner)
    }

    fn refresh(&self, runner: &dyn Runner) -> Result<Vec<Finding>, PkgError> {
        let (answer, finished) = self.ask(runner, &command::refresh())?;
        let findings = findings(&answer.errors);
        if is_good(&finished) {
            return Ok(findings);
        }
        // `Some of the repositories have not been refreshed because of an error.`, against `Could not refresh the
        // repositories because of errors.`
        if !findings.is_empty() && answer.errors.iter().any(|e| e.starts_with("Some of the repositories")) {
            return Ok(findings);
        }
        let details = if findings.is_empty() { last_words(&finished) } else { join_findings(&findings) };
        Err(PkgError::NothingWorks { details })
    }

    fn updates(&self, runner: &dyn Runner) -> Result<UpdateSet, PkgError> {
        let world = self.world(runner)?;
        let mut updates: Vec<Update> = Vec::new();
        for p in &world.packages {
            let (advisories, kind, severity) = world.patches_of(&p.name, &p.arch, &p.edition_old, &p.edition);
            updates.push(Update {
                name: p.name.clone(),
                arch: p.arch.clone(),
                from: p.edition_old.clone(),
                to: p.edition.clone(),
                repository: p.alias.clone(),
                kind,
                advisories,
                severity,
                held: world.locks.matching(&p.name).map(|_| LOCKED.to_owned()).unwrap_or_default(),
            });
        }
        updates.sort();
        Ok(UpdateSet { updates, findings: world.findings })
    }

    fn plan(&self, runner: &dyn Runner, config: &PatchConfig) -> Result<Plan, PkgError> {
        if let Some(order) = &config.undo {
            return undo::plan(self, runner, config, order);
        }
        let bars = Bars::new(config)?;
        let world = self.world(runner)?;
        if config.strict_repositories && !world.findings.is_empty() {
            return Err(PkgError::BrokenRepository { details: join_findings(&world.findings) });
        }
        match &config.packages {
            Some(packages) => named::plan(self, runner, packages, bars, world),
            None => plan::plan(self, runner, config, bars, world),
        }
    }

    fn download(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Zypper {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Zypper });
        }
        let installed = PackageSet::new(self.installed(runner)?);
        let todo = rpm::as_transaction(remaining(plan, &installed), &installed);
        if todo.is_empty() {
            return Ok(ApplyOutcome::nothing_to_do());
        }
        let asked = words(&todo, &plan.patches, None)?;
        let downgrade = self.check_unmoved(runner, &todo, &asked)?.0;
        let finished = run_waiting(runner, &command::download(&asked, downgrade), command::locked)?;
        let arriving = todo.iter().filter(|a| a.to.is_some()).count();
        let outcome = ApplyOutcome::downloaded(&finished, "zypper", arriving);
        // zypper's other good exit codes tell of reboots and skipped repositories.
        let message = if is_good(&finished) && !outcome.success {
            format!("zypper downloaded {arriving} packages; nothing was installed")
        } else {
            outcome.message.clone()
        };
        Ok(ApplyOutcome { success: is_good(&finished), message, ..outcome })
    }

    fn apply(&self, runner: &dyn Runner, plan: &Plan) -> Result<ApplyOutcome, PkgError> {
        if plan.manager != ManagerKind::Zypper {
            return Err(PkgError::WrongManager { plan: plan.manager, own: ManagerKind::Zypper });
        }
        let mut failures: Vec<(String, String)> = Vec::new();
        let mut output = Captured::from_bytes(b"");
        let mut first: Option<ApplyOutcome> = None;
        let mut reboot_suggested = false;
        for _ in 0..APPLY_ROUNDS_MAX {
            let installed = PackageSet::new(self.installed(runner)?);
            let mut todo = match &plan.undo {
                Some(order) => Undo::left(order, installed.as_slice(), &[], &rpm::order).actions,
                None => rpm::as_transaction(remaining(plan, &installed), &installed),
            };
            // What failed once is not tried again, nor the patches that need it: only packages are asked for then.
            todo.retain(|a| !failures.iter().any(|(name, _)| *name == a.name));
            if todo.is_empty() {
                break;
            }
            let patches = if failures.is_empty() { plan.patches.as_slice() } else { &[] };
            let round = match self.apply_once(runner, &todo, patches, plan.undo.as_ref()) {
                Ok(round) => round,
                // The rest cannot go without what failed: the first run's report stands.
                Err(PkgError::WorldMoved { .. }) if first.is_some() => break,
                Err(e) => return Err(e),
            };
            let Round { finished, failures: found, wants_reboot } = round;
            output = output.followed_by(&finished.stdout);
            // A broken repository's exit code hides that of a suggested reboot; the summary tells it in any case.
            reboot_suggested |= wants_reboot && !finished_without_change(&finished);
            let known = failures.len();
            failures.extend(
                named(found, plan).into_iter().filter(|(n, _)| !failures.iter().any(|(f, _)| f == n)).collect::<Vec<_>>(),
            );
            let success = is_good(&finished);
            let message = if success {
                format!("zypper made {}", planned_changes(todo.len()))
            } else {
                format!("zypper failed ({})", finished.describe_end())
            };
            let this = outcome_of(&finished, success, message);
            match &mut first {
                None => first = Some(this),
                Some(first) => first.exit.wall += this.exit.wall,
            }
            if success || failures.len() == known {
                break;
            }
        }
        let marked = plan.undo.as_ref().map_or(Ok(()), |order| auto::restore(&self.root, order));
        let Some(mut outcome) = first else { return Ok(ApplyOutcome::nothing_to_do()) };
        outcome.output = output.to_output();
        outcome.reboot_suggested = reboot_suggested;
        if let (false, Some((name, words))) = (outcome.success, failures.first()) {
            outcome.message = format!("{}: {name}: {words}", outcome.message);
        }
        outcome.failed_packages = failures;
        if let Err(e) = marked {
            outcome.success = false;
            outcome.message = format!("{}; marking dependencies failed: {e}", outcome.message);
        }
        Ok(outcome)
    }

    fn repair(&self, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
        let mut report = rpm::mend_twice(&self.root, runner)?;
        let answer = self.list(runner, &command::verify());
        let unmet = match &answer {
            Ok(answer) => actions_of(answer, None).iter().map(|a| a.name.clone()).collect::<Vec<_>>().join(", "),
            Err(e) => e.to_string(),
        };
        if !unmet.is_empty() {
            report.needed = true;
            let said =
                format!("dependencies of installed packages are not met ({}); `zypper verify` shows a person how", cut(&unmet));
            report.message = if report.output == Output::default() { said } else { format!("{}; {said}", report.message) };
        }
        Ok(report)
    }

    fn reboot_hint(&self, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
        let mut reasons = rpm::reboot_reasons(&self.root, runner, booted_at)?;
        // Older zypper does not know the command (exit code 2): the package times above are all there is then.
        if run(runner, &command::needs_rebooting())?.end == End::Exited(command::EXIT_REBOOT) {
            reasons.push(RebootReason { source: "tool".to_owned(), detail: "zypper needs-rebooting says so".to_owned() });
        }
        Ok(reasons)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        vec![self.dbpath.clone()]
    }
}

/// One run of zypper while applying.
struct Round {
    finished: Finished,
    /// `name-version.arch` and words.
    failures: Vec<(String, String)>,
    wants_reboot: bool,
}

impl Zypper {
    /// Asks for exactly `todo`; anything else that would happen is a moved world. Does it go back to older versions, and
    /// what zypper answered.
    fn check_unmoved(&self, runner: &dyn Runner, todo: &[PlannedAction], words: &[String]) -> Result<(bool, Answer), PkgError> {
        let downgrade = todo.iter().any(|a| a.action == ActionKind::Downgrade);
        let (answer, finished) = self.ask(runner, &command::dry_run(words, downgrade))?;
        if !is_good(&finished) {
            return Err(PkgError::WorldMoved { details: refusal(&answer, &finished) });
        }
        match difference(todo, &actions_of(&answer, None)) {
            Some(details) => Err(PkgError::WorldMoved { details }),
            None => Ok((downgrade, answer)),
        }
    }

    /// Checks that the transaction is still the planned one and runs it.
    fn apply_once(
        &self,
        runner: &dyn Runner,
        todo: &[PlannedAction],
        patches: &[String],
        undo: Option<&UndoOrder>,
    ) -> Result<Round, PkgError> {
        let words = words(todo, patches, undo)?;
        let (downgrade, answer) = self.check_unmoved(runner, todo, &words)?;
        let finished = run_waiting(runner, &command::install(&words, downgrade), command::locked)?;
        let failures = command::parse_failures(&finished.stdout.text());
        Ok(Round { finished, failures, wants_reboot: answer.need_reboot })
    }
}

/// Was zypper refused before it touched anything (a lock, a signal, a download)?
fn finished_without_change(finished: &Finished) -> bool {
    !finished.stdout.text().contains("Installing: ")
}

/// Why a dry run was refused, for people.
fn refusal(answer: &Answer, finished: &Finished) -> String {
    let words = answer.questions.iter().chain(&answer.errors).next();
    let line = words.map(|w| w.lines().next().unwrap_or(w).trim_start_matches("Problem: 1: ").to_owned());
    let known = matches!(finished.end, End::Exited(command::EXIT_ZYPP | command::EXIT_NOT_FOUND));
    match line {
        Some(line) if known => cut(&line),
        Some(line) => cut(&format!("{} ({line})", finished.describe_end())),
        None => last_words(finished),
    }
}

/// Turns `name-version.arch` into the plan's names.
fn named(found: Vec<(String, String)>, plan: &Plan) -> Vec<(String, String)> {
    let name_of = |nevra: &str| {
        let fits = |a: &&PlannedAction| {
            [&a.from, &a.to].into_iter().flatten().any(|v| {
                let bare = v.split_once(':').map_or(v.as_str(), |(_, rest)| rest);
                nevra == format!("{}-{v}.{}", a.name, a.arch) || nevra == format!("{}-{bare}.{}", a.name, a.arch)
            })
        };
        plan.actions.iter().find(fits).map(|a| a.name.clone())
    };
    found.into_iter().map(|(nevra, words)| (name_of(&nevra).unwrap_or(nevra), words)).collect()
}

fn outcome_of(finished: &Finished, success: bool, message: String) -> ApplyOutcome {
    ApplyOutcome {
        exit: ExitSummary::from(finished),
        output: Output::default(),
        success,
        message,
        failed_packages: Vec::new(),
        reboot_suggested: false,
    }
}
