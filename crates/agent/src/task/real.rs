//! The host as it is: package managers through [`DetachedRunner`], scripts, systemd.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::inventory::{Finding, PackageSet, RebootReason};
use drydock_domain::patch::modules::ModuleResult;
use drydock_domain::patch::report::{Output, PackageResult, Plan, StepKind};
use drydock_domain::patch::spec::{ExecStepConfig, PatchConfig};
use drydock_domain::patch::undo::UndoOrder;
use drydock_domain::rollout::health::HealthCheck;
use drydock_domain::work::Directive;
use drydock_pkgmgr::run::{CommandSpec, End, Finished, RunError, Runner, SystemRunner};
use drydock_pkgmgr::{ApplyOutcome, Backend, PackageManager, PkgError, RepairReport, detect, verify_with};
use jiff::Timestamp;

use super::control::Control;
use super::fetch::{FetchError, Source};
use super::host::{Host, Probe, ScriptEnd, Settled, Trouble};
use super::{probe, script};
use crate::detached::{DetachedRunner, Fate, own_program};
use crate::inventory::collect::installed;
use crate::link::channel::chain;
use crate::paths::Paths;
use crate::platform;

/// A reboot command answers at once; a hung process 1 must not hang us.
const REBOOT_COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// This host, for one task.
pub struct RealHost {
    dir: PathBuf,
    job: JobId,
    task: TaskId,
    /// Found when they are first needed: a task that waits is looked at often.
    backends: OnceCell<Vec<Backend>>,
    runner: DetachedRunner,
    control: Control,
    began: Instant,
    read_only: bool,
    /// Where the server and the own certificate are found, for package files.
    paths: Option<Paths>,
}

impl RealHost {
    /// For `task`; `runs` is where the directories of running commands are.
    pub fn new(runs: &Path, job: JobId, task: TaskId, control: Control, read_only: bool) -> Self {
        let dir = runs.join(task.to_string());
        let runner = DetachedRunner::new(own_program(), control.clone(), task, dir.clone());
        RealHost { dir, job, task, backends: OnceCell::new(), runner, control, began: Instant::now(), read_only, paths: None }
    }

    /// With the places of the agent, so that package files of an undo can be fetched.
    pub fn with_paths(mut self, paths: &Paths) -> Self {
        self.paths = Some(paths.clone());
        self
    }

    /// The settings with the package files of an undo on this host.
    fn with_files(&self, config: &PatchConfig) -> Result<PatchConfig, Trouble> {
        let mut config = config.clone();
        let Some(order) = config.undo.as_mut().filter(|o| !o.files.is_empty()) else { return Ok(config) };
        let fetched = || -> Result<UndoOrder, FetchError> {
            let paths = self.paths.as_ref().ok_or_else(|| FetchError::Setup("this agent has no place for them".to_owned()))?;
            let stop = || self.control.wish(self.task) >= Directive::Stop;
            Source::of(paths)?.fetch(order, &self.dir.join("files"), &stop)
        };
        match fetched() {
            Ok(fetched) => {
                *order = fetched;
                Ok(config)
            }
            Err(FetchError::Stopped { .. }) => Err(Trouble::Killed),
            Err(e) => Err(Trouble::Failed(chain(&e))),
        }
    }

    fn enter(&self, place: &str, armed: bool) -> PathBuf {
        let dir = self.dir.join(place);
        self.runner.enter(dir.clone());
        self.runner.arm(armed);
        dir
    }

    /// As [`RealHost::enter`], without the commands an earlier agent has begun there. Which commands mend a host depends
    /// on its state: the result of another one, or of one that the reboot ended, must not stand for this one's. They
    /// have been waited for ([`Host::settle`]).
    fn enter_anew(&self, place: &str) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.dir.join(place)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.enter(place, false);
        Ok(())
    }

    fn trouble(&self, error: &PkgError) -> Trouble {
        if self.runner.vanished() {
            return Trouble::Interrupted("its command vanished".to_owned());
        }
        match error {
            PkgError::Killed { .. } => Trouble::Killed,
            PkgError::TimedOut { .. } => Trouble::TimedOut(chain(error)),
            other => Trouble::Failed(chain(other)),
        }
    }

    fn before_file(&self, round: usize) -> PathBuf {
        self.dir.join(format!("before-{round}.json"))
    }

    fn backend_of(&self, plan: &Plan) -> Result<&Backend, Trouble> {
        let backend = self.managers()?.iter().find(|b| b.kind() == plan.manager);
        backend.ok_or_else(|| Trouble::Failed(format!("{} is not on this host any more", plan.manager.as_str())))
    }

    fn backends(&self) -> &[Backend] {
        self.backends.get_or_init(|| detect(Path::new("/"), &SystemRunner::new()))
    }

    /// A host without a known manager must not succeed with an empty plan.
    fn managers(&self) -> Result<&[Backend], Trouble> {
        if self.backends().is_empty() {
            return Err(Trouble::Failed("no package manager this agent knows was found on this host".to_owned()));
        }
        Ok(self.backends())
    }

    /// A check's command ends with this agent: made again, it does no harm.
    fn probe_command(&self, place: &str, config: &ExecStepConfig, limit: Duration) -> Result<Probe, Trouble> {
        let config = probe::limited(config, limit);
        let command = match script::command(&self.dir.join(place), StepKind::Health, &config, self.job, self.task) {
            Ok(command) => CommandSpec { mutates: false, ..command },
            Err(why) => return Ok(Probe::ill(why)),
        };
        self.armed(|runner| probe::command(runner, &command, |code| config.is_success(code)))
    }

    /// Runs with a runner whose command a KILL ends.
    fn armed<T>(&self, run: impl FnOnce(&SystemRunner) -> T) -> T {
        let runner = SystemRunner::new();
        self.control.arm(self.task, Some(runner.kill_switch()));
        let done = run(&runner);
        self.control.arm(self.task, None);
        done
    }
}

impl Host for RealHost {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn boot_id(&self) -> String {
        platform::boot_id()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn settle(&mut self, place: &str) -> Result<Option<Settled>, Trouble> {
        let dir = self.enter(place, true);
        let mut last = None;
        // One level: commands directly, or plans with their commands.
        let below = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
        for at in std::iter::once(dir.clone()).chain(below) {
            match self.runner.settle(&at).map_err(|e| Trouble::Failed(format!("{}: {e}", at.display())))? {
                Some(Fate::Ended(f)) => last = Some(Settled { exit_code: f.exit_code, output: f.output() }),
                Some(_) => last = Some(Settled::default()),
                None => {}
            }
        }
        self.runner.arm(false);
        Ok(last)
    }

    fn script(&mut self, place: &str, step: StepKind, config: &ExecStepConfig) -> ScriptEnd {
        let dir = self.enter(place, true);
        let end = run_script(&self.runner, &dir, step, config, self.job, self.task);
        self.runner.arm(false);
        end
    }

    fn repair(&mut self, place: &str) -> Result<RepairReport, Trouble> {
        self.enter_anew(place).map_err(|e| Trouble::Failed(format!("what an earlier repair left cannot be removed: {e}")))?;
        let mut all = RepairReport::default();
        for backend in self.managers()? {
            let one = backend.repair(&self.runner).map_err(|e| self.trouble(&e))?;
            if one.needed {
                all = one;
            }
        }
        Ok(all)
    }

    fn refresh(&mut self, place: &str) -> Result<Option<Vec<Finding>>, Trouble> {
        if self.read_only {
            return Ok(None);
        }
        self.enter(place, true);
        let mut all = Vec::new();
        for backend in self.managers()? {
            all.extend(backend.refresh(&self.runner).map_err(|e| self.trouble(&e))?);
        }
        self.runner.arm(false);
        Ok(Some(all))
    }

    fn plan(&mut self, config: &PatchConfig) -> Result<Vec<Plan>, Trouble> {
        let config = self.with_files(config)?;
        if config.undo.is_some() {
            // dnf5 tries an undo by a command that outlives the agent: an earlier try's answer must not stand for this one.
            self.enter_anew("plan").map_err(|e| Trouble::Failed(format!("what an earlier plan left cannot be removed: {e}")))?;
        }
        self.enter("plan", true);
        let plans = self.managers()?.iter().map(|b| b.plan(&self.runner, &config).map_err(|e| self.trouble(&e))).collect();
        self.runner.arm(false);
        plans
    }

    fn download(&mut self, place: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble> {
        // What an earlier agent began there ended or is gone: the tools keep what came and fetch only the rest.
        self.enter_anew(place).map_err(|e| Trouble::Failed(format!("what an earlier download left cannot be removed: {e}")))?;
        self.runner.arm(true);
        let outcome = self.backend_of(plan)?.download(&self.runner, plan);
        self.runner.arm(false);
        match outcome {
            Ok(outcome) if outcome.exit.end == End::Killed => Err(Trouble::Killed),
            Ok(outcome) => Ok(outcome),
            Err(e) => Err(self.trouble(&e)),
        }
    }

    fn apply(&mut self, place: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble> {
        self.enter(place, true);
        let outcome = self.backend_of(plan)?.apply(&self.runner, plan);
        self.runner.arm(false);
        match outcome {
            Ok(outcome) if outcome.exit.end == End::Killed => Err(Trouble::Killed),
            Ok(outcome) => Ok(outcome),
            Err(e) => Err(self.trouble(&e)),
        }
    }

    fn installed(&mut self) -> Result<PackageSet, Trouble> {
        self.enter("read", false);
        installed(self.backends(), &self.runner).map_err(|e| Trouble::Failed(format!("{e:#}")))
    }

    fn verify(&mut self, plan: &Plan, before: &PackageSet, failed: &[(String, String)]) -> Result<Vec<PackageResult>, Trouble> {
        let after = self.installed()?;
        let mut broken = Vec::new();
        for backend in self.backends() {
            broken.extend(backend.broken(&self.runner).map_err(|e| self.trouble(&e))?);
        }
        Ok(verify_with(plan, before, &after, &broken, failed))
    }

    fn verify_modules(&mut self, plan: &Plan) -> Result<Vec<ModuleResult>, Trouble> {
        self.backend_of(plan)?.verify_modules(plan).map_err(|e| self.trouble(&e))
    }

    fn probe(&mut self, place: &str, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble> {
        match check {
            HealthCheck::Exec(config) => self.probe_command(place, config, limit),
            HealthCheck::UnitActive(check) => self.armed(|runner| probe::unit(runner, check, limit)),
            HealthCheck::Tcp(check) => Ok(probe::tcp(check, limit)),
            HealthCheck::Http(check) => Ok(probe::http(check, limit)),
            HealthCheck::NoNewFailedUnits(_) => Err(Trouble::Failed("it needs the units of before".to_owned())),
        }
    }

    fn failed_units(&mut self) -> Result<Vec<String>, String> {
        probe::failed_units(&SystemRunner::new())
    }

    fn starting(&mut self) -> bool {
        probe::starting(&SystemRunner::new())
    }

    fn reboot_reasons(&mut self) -> Vec<RebootReason> {
        self.enter("read", false);
        let booted_at = platform::booted_at().unwrap_or(Timestamp::UNIX_EPOCH);
        let mut all = Vec::new();
        for backend in self.backends() {
            match backend.reboot_hint(&self.runner, booted_at) {
                Ok(reasons) => all.extend(reasons),
                Err(e) => tracing::warn!("cannot tell whether {} asks for a reboot: {}", backend.kind().as_str(), chain(&e)),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn reboot(&mut self) -> Result<(), String> {
        let runner = SystemRunner::new();
        let mut said = Vec::new();
        for words in platform::REBOOT_COMMANDS {
            let Some((program, args)) = words.split_first() else { continue };
            let spec = CommandSpec::new(*program, words.join(" "), REBOOT_COMMAND_LIMIT).args(args.iter().copied());
            match runner.run(&spec) {
                Ok(done) if done.success() => return Ok(()),
                Ok(done) => said.push(format!("{}: {} {}", words.join(" "), done.describe_end(), done.stderr.text().trim())),
                Err(e) => said.push(format!("{}: {e}", words.join(" "))),
            }
        }
        Err(said.join("; "))
    }

    fn keep_before(&mut self, round: usize, before: &PackageSet) -> Result<(), String> {
        let text = serde_json::to_vec(before).map_err(|e| e.to_string())?;
        platform::private_dir(&self.dir).map_err(|e| e.to_string())?;
        platform::write_durably(&self.before_file(round), &text, 0o600).map_err(|e| e.to_string())
    }

    fn before(&mut self, round: usize) -> Option<PackageSet> {
        serde_json::from_slice(&std::fs::read(self.before_file(round)).ok()?).ok()
    }

    fn clean(&mut self) {
        self.runner.arm(false);
        match std::fs::remove_dir_all(&self.dir) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!("{} cannot be removed: {e}", self.dir.display()),
        }
    }
}

fn run_script(
    runner: &DetachedRunner,
    dir: &Path,
    step: StepKind,
    config: &ExecStepConfig,
    job: JobId,
    task: TaskId,
) -> ScriptEnd {
    let without = |trouble| ScriptEnd { code: Err(trouble), output: Output::default() };
    let command = match script::command(dir, step, config, job, task) {
        Ok(command) => command,
        Err(why) => return without(Trouble::Failed(why)),
    };
    match runner.run_in(&dir.join("command-1"), &command) {
        Ok(Fate::Ended(finished)) => ScriptEnd { code: code(&finished, command.time_limit), output: finished.output() },
        Ok(Fate::NeverBegan) => without(Trouble::Failed("it could not be started within 90 s".to_owned())),
        Ok(Fate::Vanished(why)) => without(Trouble::Interrupted(why)),
        Err(RunError::NotFound { program, .. }) => without(Trouble::Failed(format!("{program} is not installed on this host"))),
        Err(e) => without(Trouble::Failed(chain(&e))),
    }
}

fn code(finished: &Finished, limit: Duration) -> Result<i32, Trouble> {
    match finished.end {
        End::Exited(code) => Ok(code),
        End::Signaled(signal) => Err(Trouble::Failed(format!("it was ended by signal {signal}"))),
        End::TimedOut => Err(Trouble::TimedOut(format!("it did not end within {} s and was killed", limit.as_secs()))),
        End::Killed => Err(Trouble::Killed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn script(text: &str) -> HealthCheck {
        let interpreter = drydock_domain::patch::spec::Interpreter::Shell;
        HealthCheck::Exec(ExecStepConfig { script: Some(text.to_owned()), interpreter, ..Default::default() })
    }

    #[test]
    fn a_checks_command_runs_anew_each_time_within_what_is_left_and_can_be_killed() {
        let runs = tempfile::tempdir().expect("a directory");
        let (job, task, control) = (JobId(Uuid::nil()), TaskId(Uuid::nil()), Control::default());
        let mut host = RealHost::new(runs.path(), job, task, control.clone(), false);
        let file = runs.path().join("count");
        let count = script(&format!("echo x >> {0}; test $(wc -l < {0}) -ge 2", file.display()));
        let mut probe = |check: &HealthCheck, secs| host.probe("health/check-0", check, Duration::from_secs(secs));
        assert!(!probe(&count, 20).expect("made").healthy);
        assert!(probe(&count, 20).expect("made").healthy, "the second run is another one");
        let slow = probe(&script("sleep 60"), 1).expect("made");
        assert_eq!(slow.detail, "did not end within 1 s");

        let begun = runs.path().join("begun");
        let waits = script(&format!("touch {}; sleep 60", begun.display()));
        let killer = std::thread::spawn(move || {
            let began = Instant::now();
            while !begun.exists() && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(10));
            }
            control.tell(task, drydock_domain::work::Directive::Kill);
        });
        assert_eq!(probe(&waits, 40), Err(Trouble::Killed));
        killer.join().expect("ended");
    }

    #[test]
    fn a_repair_taken_up_again_begins_anew() {
        let runs = tempfile::tempdir().expect("a directory");
        let (job, task) = (JobId(Uuid::nil()), TaskId(Uuid::nil()));
        let mut host = RealHost::new(runs.path(), job, task, Control::default(), false);
        // Nothing of this machine is touched.
        host.backends = OnceCell::from(Vec::new());
        let left = runs.path().join(task.to_string()).join("repair-3/command-1");
        std::fs::create_dir_all(&left).expect("made");
        std::fs::write(left.join("result.json"), r#"{"how":"of another command"}"#).expect("written");
        assert!(matches!(host.repair("repair-3"), Err(Trouble::Failed(_))), "no package manager");
        assert!(!left.exists(), "its result would stand for the next command's");
    }
}
