//! Patch jobs and tasks.

use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::{JobState, StateCounts};
use drydock_domain::patch::report::{PackageResult, SkippedUpdate, TaskReport};
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::patch::undo::{UndoAction, UndoRefusal};
use drydock_domain::rollout::health::HealthResult;
use drydock_domain::rollout::{Control, PlannedZone, Rollout, RolloutPlan, WaveStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Tasks per state, as `{"SUCCEEDED": 3, "FAILED": 1}`.
pub type InstanceDetailsSummary = StateCounts;

/// A patch job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchJob {
    /// Its id.
    pub id: JobId,
    /// As submitted.
    pub spec: PatchJobSpec,
    /// STARTED … SUCCEEDED.
    pub state: JobState,
    /// Path of its compartment: it reaches instances there and below.
    #[serde(default)]
    pub compartment: String,
    /// Instances that its filter chooses besides, and that whoever started it may see and not patch; only in the answer to
    /// its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_patchable: Option<u64>,
    /// Who started it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When the last task became final.
    pub finished_at: Option<Timestamp>,
    /// When its duration ends.
    pub deadline: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Tasks per state.
    #[cfg_attr(feature = "schema", schema(value_type = std::collections::BTreeMap<String, u32>))]
    pub instance_details_summary: InstanceDetailsSummary,
    /// 0 to 100.
    pub percent_complete: f64,
    /// Job-level failure only.
    #[serde(default)]
    pub error_message: String,
    /// Name of the patch deployment whose run it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_deployment: Option<String>,
    /// The ended job that it is a rerun of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<JobId>,
    /// The job that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_of: Option<JobId>,
    /// How its rollout stands; not in lists, and not before its hosts are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<PatchRollout>,
    /// Changes with every edit.
    pub etag: String,
}

/// How the rollout of a patch job stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchRollout {
    /// The newest plan.
    pub plan: RolloutPlan,
    /// Its waves, in order.
    pub waves: Vec<WaveStatus>,
    /// Its zones.
    pub zones: Vec<PatchZone>,
    /// Pauses, halts, approvals, answers of gates.
    #[serde(flatten)]
    pub control: Control,
    /// Why the job halted, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_because: Option<String>,
    /// The job that takes the failed wave back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_job: Option<JobId>,
    /// All jobs that take this one back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone_by: Vec<JobId>,
}

/// A zone of a patch job, and its disruption budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchZone {
    /// The zone as planned.
    #[serde(flatten)]
    pub zone: PlannedZone,
    /// Places of the budget that are taken: at work, failed, and by other jobs.
    pub in_use: u32,
    /// The job's hosts at work.
    pub running: u32,
    /// The job's hosts that failed and keep their place.
    pub failed: u32,
    /// Hosts that other jobs are at work on.
    pub others: u32,
}

/// One host's part of a patch job, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchTask {
    /// Its id.
    pub id: TaskId,
    /// The job.
    pub job: JobId,
    /// The job's display name.
    pub job_display_name: String,
    /// The job is a dry run.
    pub dry_run: bool,
    /// The host.
    pub instance: InstanceId,
    /// The host's name.
    pub instance_name: String,
    /// Its wave: place in the newest plan, from 0.
    #[serde(default)]
    pub wave: u16,
    /// The host's zone when the job looked it up; empty = none.
    #[serde(default)]
    pub zone: String,
    /// PENDING … SUCCEEDED.
    pub state: TaskState,
    /// Why it is held; only when PENDING.
    pub waiting_on: Option<WaitingOn>,
    /// One line: the failure, or what is going on.
    pub message: String,
    /// Planned package actions (all plans).
    pub planned: u32,
    /// Packages that became what was planned.
    pub applied: u32,
    /// Updates not taken, with reasons in the detail.
    pub skipped: u32,
    /// Reboots done.
    pub reboots: u32,
    /// Last change.
    pub updated_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

/// A task with the host's whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchTaskDetail {
    /// What lists show.
    #[serde(flatten)]
    pub task: PatchTask,
    /// What the host told; absent until it told something.
    pub report: Option<TaskReport>,
}

/// How to cancel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CancelPatchJob {
    /// `true`: end the running command's process group. `false`: stop before the next step.
    pub kill: bool,
}

/// Where to run an ended job again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RerunPatchJob {
    /// `true`: on every host of the job. `false`: on those where it did not succeed.
    pub all_hosts: bool,
}

/// How to go on after a pause or a halt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResumePatchJob {
    /// Another rollout for the hosts that have not begun; absent = as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Why a job is halted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HaltPatchJob {
    /// For people.
    pub reason: String,
}

/// What is approved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovePatchJob {
    /// What follows this wave; absent = the job's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
}

/// Everything that a patch job did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchJobReport {
    /// When the report was made; of a job under way it tells how far it is.
    pub made_at: Timestamp,
    /// The job.
    pub job: PatchJob,
    /// Its hosts, by name.
    pub hosts: Vec<PatchJobReportHost>,
}

/// What a patch job did on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchJobReportHost {
    /// The host's part of the job.
    #[serde(flatten)]
    pub task: PatchTask,
    /// Name of its wave.
    pub wave_name: String,
    /// Its packages with what became of them; those that were only planned say so.
    pub packages: Vec<PackageResult>,
    /// What its plans left out, each with the reason: excluded, held, too young for the job's soak …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<SkippedUpdate>,
    /// Its health checks.
    pub health: Vec<HealthResult>,
}

/// What is to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UndoPatchJob {
    /// Only on these hosts of the job, by name or id; empty = on all that it changed.
    pub instances: Vec<String>,
    /// Plan only.
    pub dry_run: bool,
    /// `true`: leave out hosts where it cannot be done exactly. `false`: nothing begins where one refuses.
    pub skip_refused: bool,
}

/// What an undo means to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UndoPreview {
    /// The task that is taken back.
    pub task: TaskId,
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// What moves; empty when it is refused.
    pub actions: Vec<UndoAction>,
    /// Why it cannot be taken back exactly; empty when it can.
    pub refused: Vec<UndoRefusal>,
}

/// A version that no order installs on a host, until somebody lifts the bar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BarredVersion {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// The version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// The job that took it back.
    pub job: JobId,
    /// When.
    pub created_at: Timestamp,
}

/// Which bars are lifted: all that fit. At least one field is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LiftBars {
    /// Of this host (name or id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Set by this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Of this package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How many bars were lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LiftedBars {
    /// Versions that may come back.
    pub lifted: u64,
}
