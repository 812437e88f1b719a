//! What a host tells of its patch task: one cumulative document. Each report is the whole picture so far, so a lost
//! one costs nothing and a repeated one changes nothing; the higher `seq` wins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::modules::{ModuleResult, PlannedModule};
use super::task::TaskState;
use super::undo::{Standing, UndoOrder};
use crate::ids::TaskId;
use crate::inventory::{Finding, ManagerKind, UpdateKind};
use crate::limits::{OUTPUT_PART_MAX_BYTES, PACKAGE_FIELD_MAX_BYTES, PACKAGES_MAX};
use crate::rollout::health::{HealthResult, check_results};
use crate::validate::{Invalid, Problems};

/// What one package is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionKind {
    /// A newer version replaces an older one.
    Upgrade,
    /// Was not installed (a dependency, a new kernel).
    Install,
    /// Goes away (obsoleted, conflicting).
    Remove,
    /// An older version replaces a newer one.
    Downgrade,
    /// The same version again.
    Reinstall,
}

/// One line of a plan: exact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// What happens.
    pub action: ActionKind,
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version installed now; absent for INSTALL.
    pub from: Option<String>,
    /// Version to be installed; absent for REMOVE.
    pub to: Option<String>,
    /// Repository id or archive it comes from; empty for REMOVE.
    #[serde(default)]
    pub repository: String,
    /// Why it is updated, as the host's repositories say.
    #[serde(default)]
    pub kind: UpdateKind,
    /// Advisory ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
}

/// An update that is available and not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkippedUpdate {
    /// Package (or zypper patch) name.
    pub name: String,
    /// Architecture.
    #[serde(default)]
    pub arch: String,
    /// Version that was available.
    #[serde(default)]
    pub version: String,
    /// `excluded by kernel*`, `held by apt-mark`, `versionlock`, `not a security update`, `dependency of a held package` …
    pub reason: String,
}

/// What a package manager would do: frozen exact versions. `apply` does exactly this or refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whose plan.
    pub manager: ManagerKind,
    /// Sorted.
    pub actions: Vec<PlannedAction>,
    /// Available but not taken; sorted.
    #[serde(default)]
    pub skipped: Vec<SkippedUpdate>,
    /// zypper: names of the patches this plan completes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
    /// Names of packages that the job asks to install: kept as wanted by a person, never taken for a dependency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<String>,
    /// dnf 4: changes of module streams and profiles. One refused change refuses the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<PlannedModule>,
    /// Broken repositories seen while planning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What the host had beside versions, so that this can be taken back; absent from older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Standing>,
    /// The plan takes a task back: what apply has to restore beside versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoOrder>,
}

/// What became of one planned package, by re-reading the package database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PackageOutcome {
    /// The database holds exactly what was planned.
    Applied,
    /// The database still holds what was there before.
    NotApplied,
    /// The database holds something else, or a half-configured package.
    Different,
    /// Changed without having been planned.
    Unplanned,
}

/// One package of the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageResult {
    /// The planned action (for UNPLANNED: what happened).
    #[serde(flatten)]
    pub planned: PlannedAction,
    /// What the database says now.
    pub outcome: PackageOutcome,
    /// Version found now; absent = not installed.
    pub found: Option<String>,
    /// The tool's own words for a failure; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The steps of a task, in the order they may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepKind {
    /// The operator's script before anything else.
    PreStep,
    /// Mending what an interrupted transaction left behind.
    Repair,
    /// Reading the repositories' metadata.
    Refresh,
    /// The package manager's dry run.
    Plan,
    /// Downloading the plan's packages, installing nothing.
    Download,
    /// Installing the plan.
    Apply,
    /// Rebooting.
    Reboot,
    /// Re-reading the package database.
    Verify,
    /// The operator's script at the end.
    PostStep,
    /// The job's health checks, last of all.
    Health,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepOutcome {
    /// Still running.
    Running,
    /// Done.
    Succeeded,
    /// Did not do its work.
    Failed,
    /// Killed at its time limit.
    TimedOut,
    /// Killed on request.
    Killed,
    /// The agent or the host went down while it ran; what follows mends it.
    Interrupted,
}

/// Captured output: the first and the last part; what lay between is counted, not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Output {
    /// First bytes, lossy UTF-8.
    pub head: String,
    /// Last bytes when there were more than fit into the head.
    pub tail: String,
    /// Bytes between head and tail that were not kept.
    pub dropped_bytes: u64,
}

/// One step as it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// Which.
    pub step: StepKind,
    /// Began.
    pub started_at: Timestamp,
    /// Ended; absent while it runs.
    pub ended_at: Option<Timestamp>,
    /// How.
    pub outcome: StepOutcome,
    /// Exit code, where one command stands for the step.
    pub exit_code: Option<i32>,
    /// What happened, for people: `planned 3 updates, skipped 1`.
    #[serde(default)]
    pub message: String,
    /// What the command printed (standard output and error, in the order they came).
    #[serde(default)]
    pub output: Output,
}

/// The whole picture of one host's task so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// Grows with every change; starts at 1.
    pub seq: u64,
    /// The agent's clock.
    pub at: Timestamp,
    /// Where it stands.
    pub state: TaskState,
    /// One line for people: the failure, or what is going on.
    #[serde(default)]
    pub message: String,
    /// Steps in the order they ran.
    #[serde(default)]
    pub steps: Vec<StepReport>,
    /// The plans, one per package manager of the host, and one more per planning round after a reboot.
    #[serde(default)]
    pub plans: Vec<Plan>,
    /// What became of each planned package.
    #[serde(default)]
    pub packages: Vec<PackageResult>,
    /// What became of each planned module change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleResult>,
    /// The newest result of each health check, in the job's order; empty before they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthResult>,
    /// Where the newest plan differs from what the job's first wave planned; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<PlanDifference>,
    /// Reboots done so far.
    #[serde(default)]
    pub reboots: u32,
    /// Why the host still asks for a reboot; empty = it does not.
    #[serde(default)]
    pub reboot_reasons: Vec<String>,
}

/// A package that the host plans in another version than the job's first wave, or that the first wave did not plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlanDifference {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// The first wave's version; absent = it planned none.
    pub frozen: Option<String>,
    /// This host's version.
    pub planned: String,
}

/// Most steps one task may report: 5 reboots × 6 steps, doubled.
pub const STEPS_MAX: usize = 64;
/// Most plans one task may report.
pub const PLANS_MAX: usize = 16;
/// Most differences from the first wave's plan one task may report; how many there are stands in the step's message.
pub const DIFFERS_MAX: usize = 1000;

impl TaskReport {
    /// Checks a report from a host: hostile input.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if !self.state.is_reportable() {
            problems.add("state", format!("{} is not for an agent to report", self.state.as_str()));
        }
        problems.count("steps", self.steps.len(), STEPS_MAX);
        problems.count("plans", self.plans.len(), PLANS_MAX);
        problems.count("packages", self.packages.len(), PACKAGES_MAX);
        if self.message.len() > 8 * 1024 {
            problems.add("message", "is longer than 8 KiB");
        }
        check_results(&self.health, &mut problems);
        problems.count("differs", self.differs.len(), DIFFERS_MAX);
        let long = |d: &PlanDifference| {
            let fields = [Some(&d.name), Some(&d.arch), d.frozen.as_ref(), Some(&d.planned)];
            fields.into_iter().flatten().any(|text| text.len() > PACKAGE_FIELD_MAX_BYTES)
        };
        if self.differs.iter().take(DIFFERS_MAX).any(long) {
            problems.add("differs", format!("holds a name or version of more than {PACKAGE_FIELD_MAX_BYTES} bytes"));
        }
        self.check_modules(&mut problems);
        self.check_standing(&mut problems);
        for step in &self.steps {
            // Replacing invalid UTF-8 by U+FFFD may triple the bytes.
            if step.output.head.len() > 3 * OUTPUT_PART_MAX_BYTES || step.output.tail.len() > 3 * OUTPUT_PART_MAX_BYTES {
                problems.add("steps.output", "is longer than the agent may send");
            }
        }
        problems.finish()
    }
}
