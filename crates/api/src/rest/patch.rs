//! Patch jobs and tasks.

use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::{JobState, StateCounts};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
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
    /// Changes with every edit.
    pub etag: String,
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
