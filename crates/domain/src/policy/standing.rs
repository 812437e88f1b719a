//! How assignments, their rollouts and the hosts' compliance stand: what people and programs are shown. The forms here are
//! those of the REST interface.
//!
//! Absent: how any of it is found out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::assignment::OsPolicyAssignment;
use super::report::{AssignmentHealth, ComplianceState, DriftEvent, HealthState, PolicyResult, ResourceResult};
use super::resolve::Conflict;
use crate::ids::{InstanceId, PreviewId};
use crate::patch::admission::WaitingOn;

/// Where the rollout of a revision stands; Google's names and one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RolloutState {
    /// Hosts get it, as the budget allows.
    InProgress,
    /// *Ours*: too many hosts that have it are not compliant; a person resumes or cancels it.
    Halted,
    /// Nobody else gets it; hosts that were let go are not done.
    Cancelling,
    /// A person ended it. Hosts that have it keep it, the others keep what they had.
    Cancelled,
    /// Every host has it, or will get it as soon as it is there.
    Succeeded,
}

impl RolloutState {
    /// All of them.
    pub const ALL: [RolloutState; 5] = [
        RolloutState::InProgress,
        RolloutState::Halted,
        RolloutState::Cancelling,
        RolloutState::Cancelled,
        RolloutState::Succeeded,
    ];

    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutState::InProgress => "IN_PROGRESS",
            RolloutState::Halted => "HALTED",
            RolloutState::Cancelling => "CANCELLING",
            RolloutState::Cancelled => "CANCELLED",
            RolloutState::Succeeded => "SUCCEEDED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        RolloutState::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// The rollout is not over: the assignment takes no other revision.
    pub fn is_active(self) -> bool {
        !matches!(self, RolloutState::Cancelled | RolloutState::Succeeded)
    }
}

/// An assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyAssignment {
    /// Its name, unique.
    pub name: String,
    /// Path of its compartment: it reaches hosts there and below.
    #[serde(default)]
    pub compartment: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Ids of its policies.
    pub policies: Vec<String>,
    /// The newest revision.
    pub revision: u64,
    /// The last revision that was rolled out to the end: what new hosts get. Absent: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<u64>,
    /// The newest revision takes the assignment away: it is gone when that is rolled out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// How far the newest revision is.
    pub rollout: RolloutProgress,
    /// Hosts that have any revision of it, by how they stand.
    pub compliance: ComplianceCounts,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last got a revision or other settings.
    pub updated_at: Timestamp,
    /// Changes with every edit and every step of the rollout's state.
    pub etag: String,
    /// The newest revision as written, with the present description and rollout settings; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<OsPolicyAssignment>,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RolloutProgress {
    /// IN_PROGRESS …
    pub state: RolloutState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_because: Option<String>,
    /// Hosts that are not let go.
    pub pending: u32,
    /// Hosts that were let go and have not said that they have it, or whose wait is not over.
    pub changing: u32,
    /// Hosts that have it.
    pub done: u32,
    /// Why hosts are held, by the reason's name, count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting_on: BTreeMap<String, u32>,
}

/// How many hosts stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ComplianceCounts {
    /// COMPLIANT.
    pub compliant: u32,
    /// NON_COMPLIANT.
    pub non_compliant: u32,
    /// UNKNOWN.
    pub unknown: u32,
}

impl ComplianceCounts {
    /// Counts `n` more.
    pub fn add(&mut self, state: ComplianceState, n: u32) {
        let place = match state {
            ComplianceState::Compliant => &mut self.compliant,
            ComplianceState::NonCompliant => &mut self.non_compliant,
            ComplianceState::Unknown => &mut self.unknown,
        };
        *place = place.saturating_add(n);
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.compliant.saturating_add(self.non_compliant).saturating_add(self.unknown)
    }
}

/// What became of an assignment that was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AppliedAssignment {
    /// What was done, or with `dryRun` would be.
    pub outcome: ApplyOutcome,
    /// Nothing was stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Active hosts that its filter matches now.
    pub hosts: u32,
    /// Resources that are left out on some host because a policy of higher priority wants something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Conflict>,
    /// The assignment as it is now; absent when it was a dry run of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<PolicyAssignment>,
}

/// What applying an assignment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplyOutcome {
    /// There was none of this name.
    Created,
    /// Policies, variables or the filter changed: a new revision is rolled out.
    NewRevision,
    /// Only the description or the rollout's settings changed: nothing is rolled out.
    Settings,
    /// It was so already.
    Unchanged,
}

/// A revision of an assignment: it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyRevision {
    /// 1, 2 …
    pub number: u64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// It takes the assignment away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// What became of its rollout.
    pub rollout_state: RolloutState,
    /// New hosts get this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub baseline: bool,
    /// Hosts that are to have it.
    pub hosts: u32,
    /// As written; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<OsPolicyAssignment>,
}

/// What two revisions differ in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyRevisionDiff {
    /// The older one.
    pub from: u64,
    /// The newer one.
    pub to: u64,
    /// Unified diff of both as pretty JSON; empty: they are equal.
    pub text: String,
}

/// One host of an assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyHost {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Its zone.
    pub zone: String,
    /// The revision it is to have now; absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How far it is.
    pub phase: HostPhase,
    /// Why it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<WaitingOn>,
    /// When it said that it has the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_since: Option<Timestamp>,
    /// All its policies of this assignment together.
    pub state: ComplianceState,
    /// Why, where one reason says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How the health checks of the revision it is to have stand; absent: there are none, or it has told nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<AssignmentHealth>,
}

impl PolicyHost {
    /// Why it stands as it does, in words: the reason, and what its health checks say unless they hold.
    pub fn why(&self) -> String {
        let health = self.health.as_ref().and_then(|h| match h.state {
            HealthState::Healthy => None,
            HealthState::Checking => Some(format!("health is being checked: {}", h.message)),
            HealthState::Unhealthy => Some(format!("unhealthy: {}", h.message)),
        });
        let parts = [Some(self.reason.clone()).filter(|r| !r.is_empty()), health];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// How far a host is with the newest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostPhase {
    /// It has not been let go.
    Pending,
    /// It was let go and has not said that it has it, or its wait is not over: it counts against the disruption budget.
    Changing,
    /// It has it.
    Done,
}

impl HostPhase {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            HostPhase::Pending => "PENDING",
            HostPhase::Changing => "CHANGING",
            HostPhase::Done => "DONE",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [HostPhase::Pending, HostPhase::Changing, HostPhase::Done].into_iter().find(|p| p.as_str() == text)
    }
}

/// Why a host does not get a policy as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyProblem {
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Id of the resource; empty: the policy as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The policy is not given to the host for it (else only the resource is left out).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// A preview: what an assignment would change on which host. Nothing is changed by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyPreview {
    /// Its id.
    pub id: PreviewId,
    /// The assignment's name, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path of its compartment.
    #[serde(default)]
    pub compartment: String,
    /// Who asked.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// It is forgotten then; hosts are asked until then.
    pub expires_at: Timestamp,
    /// Hosts it is for.
    pub hosts: u32,
    /// Hosts that have not answered, nor does their inventory.
    pub waiting: u32,
    /// Hosts that answered.
    pub answered: u32,
    /// Hosts that are off, whose inventory answers for packages.
    pub from_inventory: u32,
    /// Hosts on which something would change.
    pub would_change: u32,
}

/// What a preview found on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreviewHost {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Who answered.
    pub source: PreviewSource,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why it could not be looked at; empty: it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Resources that would change.
    pub would_change: u32,
    /// Each policy; a resource that is NON_COMPLIANT would change, its steps show how.
    pub policies: Vec<PolicyResult>,
}

/// Who answered a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PreviewSource {
    /// Nobody yet.
    Waiting,
    /// The host's last inventory, for packages by name; the rest is UNKNOWN.
    Inventory,
    /// The host.
    Host,
}

impl PreviewSource {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            PreviewSource::Waiting => "WAITING",
            PreviewSource::Inventory => "INVENTORY",
            PreviewSource::Host => "HOST",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [PreviewSource::Waiting, PreviewSource::Inventory, PreviewSource::Host].into_iter().find(|s| s.as_str() == text)
    }
}

/// How the fleet stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FleetCompliance {
    /// Hosts that have policies, each with all of them together.
    pub hosts: ComplianceCounts,
    /// Active hosts that no assignment is for.
    pub without_policies: u32,
    /// By assignment.
    pub assignments: Vec<AssignmentCompliance>,
    /// Why policies are not compliant or unknown, by reason, count.
    pub reasons: BTreeMap<String, u32>,
    /// Drift events of the last 24 hours.
    pub drift_events: u32,
    /// Of these, repaired.
    pub drift_repaired: u32,
}

/// How the hosts of an assignment stand, each with all its policies of it together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AssignmentCompliance {
    /// Its name.
    pub assignment: String,
    /// Its hosts.
    pub hosts: ComplianceCounts,
}

/// How the hosts of a policy stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyCompliance {
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Its hosts.
    pub hosts: ComplianceCounts,
}

/// How a resource stands on its hosts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResourceCompliance {
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Id of the resource.
    pub resource: String,
    /// Its hosts.
    pub hosts: ComplianceCounts,
}

/// How one policy stands on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ComplianceResult {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Its zone.
    pub zone: String,
    /// Name of the assignment.
    pub assignment: String,
    /// Revision that the host told of; 0: none yet.
    pub revision: u64,
    /// Id of the policy.
    pub policy: String,
    /// How it stands.
    pub state: ComplianceState,
    /// Why, in the words of Google's reports and some of ours; empty: no reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In this state since.
    pub since: Timestamp,
    /// When the host last looked at all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// Id of the run, as in the agent's log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
}

/// How one host stands, with steps and evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostCompliance {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// All its policies together; COMPLIANT where it has none.
    pub state: ComplianceState,
    /// Why nothing newer is known of it: `vm-not-running` …; empty: it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Generation of the document it is to have; 0: it never got one.
    pub generation: u64,
    /// Generation its last report is about.
    pub reported_generation: u64,
    /// When that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// Why the host could not take the document; empty: it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// What it does not get as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PolicyProblem>,
    /// Number of the newest check that somebody asked for.
    pub check_asked: u64,
    /// Number of the newest of these that the host has done.
    pub check_done: u64,
    /// Each policy.
    pub policies: Vec<HostPolicyStanding>,
}

/// One policy of a host with its resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostPolicyStanding {
    /// The policy.
    #[serde(flatten)]
    pub result: ComplianceResult,
    /// In the policy's order, as the host last told.
    pub resources: Vec<ResourceResult>,
}

/// How long a policy was in a state on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ComplianceInterval {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// Name of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// How it stood, as the host told.
    pub state: ComplianceState,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// From then.
    pub since: Timestamp,
    /// Until before then; absent: it still does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// How hosts' policies stood at the end of a day (UTC), or now for today.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ComplianceDay {
    /// `2026-11-23`.
    pub day: String,
    /// Policies of hosts, by how they stood as the hosts told.
    pub counts: ComplianceCounts,
    /// Drift events noticed on that day.
    pub drift_events: u32,
}

/// A drift event of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostDriftEvent {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// As the host told.
    #[serde(flatten)]
    pub event: DriftEvent,
    /// Milliseconds between notice and repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_repair_ms: Option<u64>,
}

/// A secret, without its value: that is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicySecret {
    /// Its name: what `{{ secret.NAME }}` stands for.
    pub name: String,
    /// Path of its compartment.
    #[serde(default)]
    pub compartment: String,
    /// Grows with every new value.
    pub version: u64,
    /// Who set the value.
    pub updated_by: String,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
}
