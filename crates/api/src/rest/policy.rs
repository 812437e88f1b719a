//! OS policies: assignments, revisions, previews, compliance, drift, secrets. Most forms are the domain's own, because the
//! console and the command show them unchanged.
//!
//! | Path | Method | Body | Answer |
//! |---|---|---|---|
//! | `/policy-assignments` | GET `cursor`, `limit` | | `Page<PolicyAssignment>` without documents |
//! | `/policy-assignments` | POST `dryRun`, `reason` | Google's document, YAML or JSON, with `name` | 201 `AppliedAssignment` |
//! | `/policy-assignments/{name}` | GET | | `PolicyAssignment` |
//! | `/policy-assignments/{name}` | PUT `dryRun`, `reason`; If-Match | the same; `name` may be left out | `AppliedAssignment` |
//! | `/policy-assignments/{name}` | DELETE `reason` | | 202 `PolicyAssignment`: rolled out as "nothing", then gone |
//! | `/policy-assignments/{name}:cancel`, `:resume` | POST | | `PolicyAssignment` |
//! | `/policy-assignments/{name}:check` | POST | | `PolicyCheckRun` |
//! | `/policy-assignments/{name}/instances` | GET `phase` | | `Page<PolicyHost>` |
//! | `/policy-assignments/{name}/revisions` | GET | | `Page<PolicyRevision>`, newest first, without documents |
//! | `/policy-assignments/{name}/revisions/{number}` | GET | | `PolicyRevision` |
//! | `/policy-assignments/{name}/revisions/{number}/diff` | GET `with` (absent: the one before) | | `PolicyRevisionDiff` |
//! | `/policy-checks` | POST | `RunPolicyCheck` | `PolicyCheckRun` |
//! | `/policy-previews` | GET, POST | Google's document | `Page<PolicyPreview>`, 201 `PolicyPreview` |
//! | `/policy-previews/{id}` | GET, DELETE | | `PolicyPreview` |
//! | `/policy-previews/{id}/instances` | GET `source`, `format` | | `Page<PreviewHost>` or CSV |
//! | `/compliance` | GET | | `FleetCompliance` |
//! | `/compliance/policies` | GET `assignment`, `format` | | `Page<PolicyCompliance>` (all of them) or CSV |
//! | `/compliance/resources` | GET `assignment`, `policy`, `format` | | `Page<ResourceCompliance>` (all of them) or CSV |
//! | `/compliance/results` | GET `instance`, `assignment`, `policy`, `state`, `reason`, `format` | | `Page<ComplianceResult>` or CSV |
//! | `/compliance/history` | GET `instance`, `assignment`, `policy`, `format` | | `Page<ComplianceInterval>` or CSV, newest first |
//! | `/compliance/trend` | GET `assignment`, `days`, `format` | | `Page<ComplianceDay>` (all of them) or CSV |
//! | `/instances/{id}/compliance` | GET | | `HostCompliance` |
//! | `/instances/{id}/policies` | GET | | `HostPolicies`: the document the host is to have |
//! | `/drift-events` | GET `instance`, `assignment`, `policy`, `outcome`, `since`, `format` | | `Page<HostDriftEvent>` or CSV, newest first |
//! | `/secrets` | GET | | `Page<PolicySecret>` (all of them) |
//! | `/secrets/{name}` | GET, PUT, DELETE | `SetPolicySecret` | `PolicySecret` |

use drydock_domain::ids::InstanceId;
pub use drydock_domain::policy::standing::{
    AppliedAssignment, ApplyOutcome, AssignmentCompliance, ComplianceCounts, ComplianceDay, ComplianceInterval, ComplianceResult,
    FleetCompliance, HostCompliance, HostDriftEvent, HostPhase, HostPolicyStanding, PolicyAssignment, PolicyCompliance,
    PolicyHost, PolicyPreview, PolicyProblem, PolicyRevision, PolicyRevisionDiff, PolicySecret, PreviewHost, PreviewSource,
    ResourceCompliance, RolloutProgress, RolloutState,
};
use serde::{Deserialize, Serialize};

/// Which hosts check their policies now: all that are named in any way. At least one has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunPolicyCheck {
    /// Hosts by name or id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// Members of these managed instance groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Hosts of this assignment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment: Option<String>,
}

/// Who was asked to check. A host has done it when `checkDone` of its compliance is at least `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyCheckRun {
    /// Hosts that have policies; others are left out.
    pub instances: Vec<CheckedInstance>,
}

/// A host that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckedInstance {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Number of this check on that host.
    pub check: u64,
}

/// The value of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetPolicySecret {
    /// The value, 1 to 32,768 bytes of text. Never shown again.
    pub value: String,
    /// Path of the compartment a new one is made in; policies of assignments there and below may use it. Absent: the tenancy, or
    /// the one topmost in which the caller may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

impl std::fmt::Debug for SetPolicySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetPolicySecret(…)")
    }
}
