//! Patch deployments and their executions.

use drydock_domain::ids::{DeploymentId, ExecutionId, JobId};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, PatchDeploymentSpec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A patch deployment: patch jobs on a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchDeployment {
    /// Its id.
    pub id: DeploymentId,
    /// As made or last edited.
    pub spec: PatchDeploymentSpec,
    /// ACTIVE, PAUSED.
    pub state: DeploymentState,
    /// Who paused it; absent while it is ACTIVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// When the next run is due; absent when none is any more.
    pub next_execute_time: Option<Timestamp>,
    /// That and the moments after it, a few.
    pub upcoming: Vec<Timestamp>,
    /// When its newest job was started.
    pub last_execute_time: Option<Timestamp>,
    /// That job.
    pub last_job: Option<JobId>,
    /// Path of its compartment: it reaches instances there and below.
    #[serde(default)]
    pub compartment: String,
    /// Why its newest run failed, if it did: whoever made it may no longer do what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited, paused or resumed.
    pub updated_at: Timestamp,
    /// Changes with every edit and every run.
    pub etag: String,
}

/// What became of a run of a patch deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatchExecution {
    /// Its id.
    pub id: ExecutionId,
    /// When the schedule said; absent: a person asked for it.
    pub due_at: Option<Timestamp>,
    /// When it was decided.
    pub at: Timestamp,
    /// STARTED, QUEUED, SKIPPED, MISSED, FAILED.
    pub outcome: ExecutionOutcome,
    /// Why, when it was not started at once.
    pub reason: String,
    /// Who decided: a person, or `server`.
    pub who: String,
    /// The patch job; absent when it was not started.
    pub job: Option<JobId>,
}

/// Which run to skip.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SkipNextRun {
    /// The run of this time, which has to be the next one: asking twice skips one run. Absent: the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execute_time: Option<Timestamp>,
}
