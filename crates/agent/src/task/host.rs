//! What a task needs of the host it runs on: the one seam between the executor and the world. [`super::real`] is the
//! world; the executor's tests bring another.

use std::time::Duration;

use drydock_domain::inventory::{Finding, PackageSet, RebootReason};
use drydock_domain::patch::modules::ModuleResult;
use drydock_domain::patch::report::{Output, PackageResult, Plan, StepKind};
use drydock_domain::patch::spec::{ExecStepConfig, PatchConfig};
use drydock_domain::rollout::health::HealthCheck;
use drydock_pkgmgr::{ApplyOutcome, RepairReport};
use jiff::Timestamp;

/// Why something did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It failed; words for people.
    Failed(String),
    /// Ended at its time limit.
    TimedOut(String),
    /// Killed on request.
    Killed,
    /// It began, and how it ended is not known.
    Interrupted(String),
}

/// How an operator's script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptEnd {
    /// Its exit code, or why there is none.
    pub code: Result<i32, Trouble>,
    /// What it printed.
    pub output: Output,
}

/// What survived an earlier agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Exit code of the last command, when it came to its own end.
    pub exit_code: Option<i32>,
    /// What it printed.
    pub output: Output,
}

/// A health check, made once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// It holds.
    pub healthy: bool,
    /// What was found, for people.
    pub detail: String,
    /// What its command printed.
    pub output: Output,
    /// Its command's exit code.
    pub exit_code: Option<i32>,
}

impl Probe {
    /// It holds.
    pub fn well(detail: impl Into<String>) -> Self {
        Probe { healthy: true, detail: detail.into(), ..Probe::default() }
    }

    /// It does not.
    pub fn ill(detail: impl Into<String>) -> Self {
        Probe { detail: detail.into(), ..Probe::default() }
    }
}

/// The host.
pub trait Host {
    /// The clock.
    fn now(&self) -> Timestamp;
    /// A clock that nobody sets: time since some moment of this process.
    fn monotonic(&self) -> Duration;
    /// This boot.
    fn boot_id(&self) -> String;
    /// Pauses.
    fn pause(&mut self, time: Duration);
    /// Waits for commands that an earlier agent left running in `place`; `None` when none had begun.
    fn settle(&mut self, place: &str) -> Result<Option<Settled>, Trouble>;
    /// Runs a script once: a second call with the same `place` takes up the first run and never runs it again.
    fn script(&mut self, place: &str, step: StepKind, config: &ExecStepConfig) -> ScriptEnd;
    /// Mends an interrupted transaction.
    fn repair(&mut self, place: &str) -> Result<RepairReport, Trouble>;
    /// Reads the repositories' metadata; `None` = this host may not be changed, what is there must do.
    fn refresh(&mut self, place: &str) -> Result<Option<Vec<Finding>>, Trouble>;
    /// One plan per package manager.
    fn plan(&mut self, config: &PatchConfig) -> Result<Vec<Plan>, Trouble>;
    /// Downloads what a plan would install.
    fn download(&mut self, place: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble>;
    /// Applies what is not yet true of a plan.
    fn apply(&mut self, place: &str, plan: &Plan) -> Result<ApplyOutcome, Trouble>;
    /// Everything installed.
    fn installed(&mut self) -> Result<PackageSet, Trouble>;
    /// What became of `plan`, by reading the package database again.
    fn verify(&mut self, plan: &Plan, before: &PackageSet, failed: &[(String, String)]) -> Result<Vec<PackageResult>, Trouble>;
    /// What became of the module changes of `plan`, by reading the host's module states again.
    fn verify_modules(&mut self, plan: &Plan) -> Result<Vec<ModuleResult>, Trouble>;
    /// Makes a health check that needs no comparison; `place` is its own. It ends within `limit`.
    fn probe(&mut self, place: &str, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble>;
    /// Units of the init system that are failed now, sorted; or why that cannot be told.
    fn failed_units(&mut self) -> Result<Vec<String>, String>;
    /// The init system is still starting the host: units may yet fail.
    fn starting(&mut self) -> bool;
    /// Why the host asks for a reboot.
    fn reboot_reasons(&mut self) -> Vec<RebootReason>;
    /// Asks the host to go down and come up again.
    fn reboot(&mut self) -> Result<(), String>;
    /// Keeps the package set of before a round, for the time after a restart.
    fn keep_before(&mut self, round: usize, before: &PackageSet) -> Result<(), String>;
    /// The kept set.
    fn before(&mut self, round: usize) -> Option<PackageSet>;
    /// Removes everything kept for this task.
    fn clean(&mut self);
}
