//! The two-person rule.

use drydock_domain::access::approval::ApprovalRuleSpec;
use drydock_domain::ids::ApprovalId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A rule by which operations need the approval of another person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRule {
    /// As written.
    pub spec: ApprovalRuleSpec,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub etag: String,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Name of the rule.
    pub rule: String,
    /// The operation.
    pub operation: String,
    /// What it is about.
    pub resource: String,
    /// Path of the compartment.
    pub compartment: String,
    /// Who asked.
    pub requester: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// PENDING, APPROVED, REFUSED, USED, EXPIRED.
    pub state: String,
    /// What the approver said.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is good for nothing.
    pub expires_at: Timestamp,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// A word to a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DecideApproval {
    /// Why.
    pub reason: String,
}
