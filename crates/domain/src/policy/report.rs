//! What a host tells about its policies: how each resource stands, what was done about it, and what drifted since. States,
//! step kinds and reasons are Google's (OS Config v1 `OSPolicyAssignmentReport`) with outcome, duration and evidence added to
//! each step.
//!
//! A report is the whole present picture ("the highest `seq` wins"); drift events are the exception: each is told once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::rollout::health::{CHECKS_MAX, HealthResult, check_results};
use crate::validate::{Invalid, Problems};

use super::check::RESOURCES_MAX;
use super::host::HOST_POLICIES_MAX;

/// Version of [`HostPoliciesReport`]'s form.
pub const HOST_POLICIES_REPORT_VERSION: u32 = 1;
/// A report, bytes.
pub const HOST_POLICIES_REPORT_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Drift events in one report, count; more wait on the host.
pub const DRIFT_EVENTS_MAX: usize = 500;
/// Steps of one resource, count: the four kinds.
const STEPS_MAX: usize = 4;
/// One text of evidence (a diff, an output), bytes; what is longer is cut in the middle by the agent.
pub const EVIDENCE_MAX_BYTES: usize = 16 * 1024;
/// One message, bytes.
pub const MESSAGE_MAX_BYTES: usize = 4 * DESCRIPTION_MAX_BYTES;

/// How something stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ComplianceState {
    /// Nobody could tell; the reason says why.
    #[default]
    Unknown,
    /// As it should be.
    Compliant,
    /// Not as it should be.
    NonCompliant,
}

impl ComplianceState {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            ComplianceState::Unknown => "UNKNOWN",
            ComplianceState::Compliant => "COMPLIANT",
            ComplianceState::NonCompliant => "NON_COMPLIANT",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [ComplianceState::Unknown, ComplianceState::Compliant, ComplianceState::NonCompliant]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    /// Of several: NON_COMPLIANT if any is, else UNKNOWN if any is, else COMPLIANT (also of none).
    pub fn of_all(states: impl IntoIterator<Item = ComplianceState>) -> ComplianceState {
        let mut all = ComplianceState::Compliant;
        for state in states {
            match state {
                ComplianceState::NonCompliant => return ComplianceState::NonCompliant,
                ComplianceState::Unknown => all = ComplianceState::Unknown,
                ComplianceState::Compliant => {}
            }
        }
        all
    }
}

/// Why a state is what it is, in the words of Google's reports; the last ones are *ours*.
pub mod reason {
    /// A step failed.
    pub const EXECUTION_ERRORS: &str = "execution-errors";
    /// An earlier resource of the policy failed, so this one was not looked at.
    pub const SKIPPED: &str = "execution-skipped-by-agent";
    /// Policy: a resource of it failed.
    pub const RESOURCE_ERRORS: &str = "resource-execution-errors";
    /// Enforcement was tried and the resource is still not as it should be.
    pub const ATTEMPT_FAILED: &str = "os-policy-execution-attempt-failed";
    /// The host has no agent that was ever heard of.
    pub const NO_AGENT: &str = "no-agent-detected";
    /// The host's agent is too old.
    pub const NOT_SUPPORTED: &str = "os-policies-not-supported-by-agent";
    /// The host has been silent for too long.
    pub const HOST_NOT_RUNNING: &str = "vm-not-running";
    /// The host has not reported on this revision yet.
    pub const NO_DATA: &str = "no-compliance-data";
    /// *Ours*: the resource is for another kind of system (googet, msi, PowerShell).
    pub const NOT_APPLICABLE: &str = "not-applicable";
    /// *Ours*: no resource group of the policy is for this host.
    pub const NO_GROUP: &str = "no-resource-group-match";
    /// *Ours*: something else keeps changing it back; repairs are spaced out.
    pub const FLAPPING: &str = "flapping";
    /// *Ours*: a resource it depends on is not as it should be.
    pub const DEPENDENCY: &str = "dependency-not-compliant";
    /// *Ours*: the policy cannot be given to the host: a template has no value there, or a secret is not set.
    pub const TEMPLATE: &str = "template-error";
    /// *Ours*: the host is enrolled read-only.
    pub const READ_ONLY: &str = "host-is-read-only";
    /// *Ours*: the change waits until a patch task on this host is done.
    pub const WAITS_FOR_TASK: &str = "waits-for-patch-task";
}

/// How a host stands with its policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPoliciesReport {
    /// [`HOST_POLICIES_REPORT_VERSION`] of the sender.
    pub version: u32,
    /// Grows with every report of this host, also over restarts of the agent.
    pub seq: u64,
    /// Generation of the document it is about; 0 = of none, or a preview.
    pub generation: u64,
    /// Of a preview: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// The newest check on demand (`PullPoliciesResponse.check`) that this report answers.
    #[serde(default)]
    pub check: u64,
    /// When the report was made, by the host's clock.
    pub at: Timestamp,
    /// Why the document could not be taken, or the host could not begin; empty = it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Each policy of the document, in its order.
    pub policies: Vec<PolicyResult>,
    /// What drifted since the last report the server took; each once, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEvent>,
    /// How the health checks of each assignment stand that has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<AssignmentHealth>,
}

/// How the health checks of an assignment stand on a host that has the revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AssignmentHealth {
    /// Id of the assignment.
    pub assignment: String,
    /// Revision of the assignment.
    pub revision: u64,
    /// How they stand.
    pub state: HealthState,
    /// In a sentence: the first check that fails, or that all hold.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The newest result of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthResult>,
    /// Since when they stand so.
    pub at: Timestamp,
}

/// How health checks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthState {
    /// They are being made.
    Checking,
    /// They held for as long as they have to.
    Healthy,
    /// They did not hold in time, or not for long enough.
    Unhealthy,
}

impl HealthState {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthState::Checking => "CHECKING",
            HealthState::Healthy => "HEALTHY",
            HealthState::Unhealthy => "UNHEALTHY",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [HealthState::Checking, HealthState::Healthy, HealthState::Unhealthy].into_iter().find(|s| s.as_str() == text)
    }

    /// The checks are over.
    pub fn is_decided(self) -> bool {
        self != HealthState::Checking
    }
}

/// How one policy stands on a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyResult {
    /// Id of its assignment.
    pub assignment: String,
    /// Revision of the assignment.
    pub revision: u64,
    /// Id of the policy.
    pub policy: String,
    /// See [`ComplianceState::of_all`].
    pub state: ComplianceState,
    /// See [`reason`]; empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Id of the run that this is from, as in the agent's log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// When it was last looked at as a whole; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// In the policy's order.
    pub resources: Vec<ResourceResult>,
}

/// How one resource stands on a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResourceResult {
    /// Its id.
    pub id: String,
    /// How it stands after all steps.
    pub state: ComplianceState,
    /// See [`reason`]; empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was done in the newest run that looked at it; empty = nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepResult>,
    /// exec: what `enforce` left in its outputFilePath.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Which.
    pub kind: StepKind,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// What went wrong and what to do, or what was found, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Google's four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = PolicyStepKind))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepKind {
    /// Can it be looked at at all?
    Validation,
    /// Is it as it should be?
    DesiredStateCheck,
    /// Make it so.
    DesiredStateEnforcement,
    /// Is it now?
    DesiredStateCheckPostEnforcement,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = PolicyStepOutcome))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepOutcome {
    /// It did what it is for (a check that finds drift succeeds, too).
    Succeeded,
    /// It did not; the message says why.
    Failed,
    /// It did not end in time and was stopped.
    TimedOut,
}

/// What shows that a resource is, or was not, as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Evidence {
    /// Unified diff from what was there to what should be.
    Diff {
        /// The text.
        text: String,
    },
    /// Before and after, in the words of the resource's kind: `active, disabled`, `0644 root:root`.
    State {
        /// What was there.
        old: String,
        /// What should be, or is now.
        new: String,
    },
    /// What a command printed.
    Output {
        /// The command's end: `exit code 1`.
        end: String,
        /// Standard output and error, as they came.
        text: String,
    },
}

/// A resource that was as it should be and then was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DriftEvent {
    /// Grows with every event of this host.
    pub number: u64,
    /// Id of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Id of the resource.
    pub resource: String,
    /// When it was noticed.
    pub seen_at: Timestamp,
    /// When it was as it should be again; absent = it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired_at: Option<Timestamp>,
    /// What was found: `inactive`, `content differs`.
    pub what: String,
    /// What the host noticed it by: `file event`, `unit signal`, `package database`, `periodic check` …
    pub noticed_by: String,
    /// Who or what did it, where that is known: the package manager's command line …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// What became of it.
    pub outcome: DriftOutcome,
}

/// What became of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DriftOutcome {
    /// It is as it should be again.
    Repaired,
    /// The repair failed.
    Failed,
    /// The policy only reports.
    Reported,
    /// It happened too often: the next repair waits.
    Flapping,
}

impl DriftOutcome {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            DriftOutcome::Repaired => "REPAIRED",
            DriftOutcome::Failed => "FAILED",
            DriftOutcome::Reported => "REPORTED",
            DriftOutcome::Flapping => "FLAPPING",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        use DriftOutcome::{Failed, Flapping, Repaired, Reported};
        [Repaired, Failed, Reported, Flapping].into_iter().find(|o| o.as_str() == text)
    }
}

impl HostPoliciesReport {
    /// Checks a report from a host (hostile input).
    ///
    /// # Errors
    /// Which list or text is too large, or holds control characters.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.text("problem", &self.problem, MESSAGE_MAX_BYTES);
        if let Some(preview) = &self.preview {
            problems.text("preview", preview, 64);
        }
        problems.count("policies", self.policies.len(), HOST_POLICIES_MAX);
        problems.count("drift", self.drift.len(), DRIFT_EVENTS_MAX);
        for (i, policy) in self.policies.iter().enumerate().take(HOST_POLICIES_MAX) {
            policy.check(&format!("policies[{i}]"), &mut problems);
        }
        for (i, event) in self.drift.iter().enumerate().take(DRIFT_EVENTS_MAX) {
            event.check(&format!("drift[{i}]"), &mut problems);
        }
        problems.count("health", self.health.len(), HOST_POLICIES_MAX);
        for (i, health) in self.health.iter().enumerate().take(HOST_POLICIES_MAX) {
            health.check(&format!("health[{i}]"), &mut problems);
        }
        problems.finish()
    }
}

impl AssignmentHealth {
    fn check(&self, at: &str, problems: &mut Problems) {
        problems.text(&format!("{at}.assignment"), &self.assignment, 64);
        problems.text(&format!("{at}.message"), &self.message, MESSAGE_MAX_BYTES);
        check_results(&self.checks, problems);
        for result in self.checks.iter().take(CHECKS_MAX) {
            problems.text(&format!("{at}.checks"), &result.check, MESSAGE_MAX_BYTES);
            problems.text(&format!("{at}.checks"), &result.detail, MESSAGE_MAX_BYTES);
        }
    }
}

impl PolicyResult {
    fn check(&self, at: &str, problems: &mut Problems) {
        for (name, text) in
            [("assignment", &self.assignment), ("policy", &self.policy), ("reason", &self.reason), ("run", &self.run)]
        {
            problems.text(&format!("{at}.{name}"), text, 64);
        }
        problems.count(&format!("{at}.resources"), self.resources.len(), RESOURCES_MAX);
        for (i, resource) in self.resources.iter().enumerate().take(RESOURCES_MAX) {
            resource.check(&format!("{at}.resources[{i}]"), problems);
        }
    }
}

impl ResourceResult {
    fn check(&self, at: &str, problems: &mut Problems) {
        problems.text(&format!("{at}.id"), &self.id, 64);
        problems.text(&format!("{at}.reason"), &self.reason, 64);
        problems.text(&format!("{at}.output"), &self.output, 512_000);
        problems.count(&format!("{at}.steps"), self.steps.len(), STEPS_MAX);
        for (i, step) in self.steps.iter().enumerate().take(STEPS_MAX) {
            let at = format!("{at}.steps[{i}]");
            problems.text(&format!("{at}.message"), &step.message, MESSAGE_MAX_BYTES);
            let texts = match &step.evidence {
                None => continue,
                Some(Evidence::Diff { text }) => [text.as_str(), ""],
                Some(Evidence::State { old, new }) => [old.as_str(), new.as_str()],
                Some(Evidence::Output { end, text }) => [end.as_str(), text.as_str()],
            };
            for text in texts {
                problems.text(&format!("{at}.evidence"), text, EVIDENCE_MAX_BYTES);
            }
        }
    }
}

impl DriftEvent {
    fn check(&self, at: &str, problems: &mut Problems) {
        for (name, text) in [("assignment", &self.assignment), ("policy", &self.policy), ("resource", &self.resource)] {
            problems.text(&format!("{at}.{name}"), text, 64);
        }
        for (name, text) in [("what", &self.what), ("noticedBy", &self.noticed_by), ("cause", &self.cause)] {
            problems.text(&format!("{at}.{name}"), text, MESSAGE_MAX_BYTES);
        }
    }
}
