//! REST types of `/api/v1`: what the console and the CLI read and write. Documents that are the same everywhere (a
//! job's spec, a plan, a report) are the domain's own types.
//!
//! Rules of the whole API: JSON in camelCase; times RFC 3339 in UTC; unknown fields in requests refused; lists are
//! [`Page`]s with an opaque cursor; every error is [`ApiError`]; resources that change carry an `etag` (also as ETag
//! header, honoured by If-Match); the POST that creates a patch job takes an `Idempotency-Key` header (1 to 128 visible
//! ASCII characters, remembered for 24 hours). POSTs whose answer shows a secret once refuse the header: the secret is
//! not kept and could not be answered again.

mod access;
mod approval;
mod audit;
mod calendar;
mod compartment;
mod content_job;
mod deployment;
mod environment;
mod error;
mod group;
mod instance;
mod module;
mod package;
mod patch;
mod policy;
mod source;
mod user;

pub use access::{
    AccessToken, AddApiKey, ApiKey, CreateAccessToken, CreatedAccessToken, CreatedProfile, EnrolmentProfile, OidcIdentity,
};
pub use approval::{Approval, ApprovalRule, DecideApproval};
pub use audit::{AuditForward, AuditRecord, AuditSeal, AuditStatus, DropAudit, DroppedAudit};
pub use calendar::{FreezeCalendarView, MaintenanceWindowView, Opening, RebootSlotGroup, ReleaseSlot, SlotHolder};
pub use compartment::{
    AccessDecision, AccessHolders, AccessPolicy, Compartment, ConsideredStatement, CreateAccessPolicy, CreateCompartment,
    DynamicGroup, EditAccessPolicy, EditCompartment, HoldingAccount, HoldingStatement, SetDynamicGroup, TestAccess,
};
pub use content_job::{CollectReport, ContentJob, ContentJobDetail, Freed};
pub use deployment::{PatchDeployment, PatchExecution, SkipNextRun};
pub use environment::{
    AffectedInstance, Environment, EnvironmentPointer, OfferedUpgrade, PointerMove, PromotionMove, PromotionResult,
};
pub use error::{ApiError, ErrorKind};
pub use group::{AddMatching, AddedMembers, EditGroup, EditMembers, Group, GroupMember, LeftOutInstance};
pub use instance::{
    EditInstance, HistoryEntry, Instance, InstanceRules, InventorySummary, MatchInstances, MatchedInstances, MoveTo,
    NamedInstance, PackageList, RejectInstance, UpdateList,
};
pub use module::ModuleList;
pub use package::{InstalledPackage, PackageChanges, PackageHolding};
pub use patch::{
    ApprovePatchJob, BarredVersion, CancelPatchJob, HaltPatchJob, InstanceDetailsSummary, LiftBars, LiftedBars, PatchJob,
    PatchJobReport, PatchJobReportHost, PatchRollout, PatchTask, PatchTaskDetail, PatchZone, RerunPatchJob, ResumePatchJob,
    UndoPatchJob, UndoPreview,
};
pub use policy::{
    AppliedAssignment, ApplyOutcome, AssignmentCompliance, CheckedInstance, ComplianceCounts, ComplianceDay, ComplianceInterval,
    ComplianceResult, FleetCompliance, HostCompliance, HostDriftEvent, HostPhase, HostPolicyStanding, PolicyAssignment,
    PolicyCheckRun, PolicyCompliance, PolicyHost, PolicyPreview, PolicyProblem, PolicyRevision, PolicyRevisionDiff, PolicySecret,
    PreviewHost, PreviewSource, ResourceCompliance, RolloutProgress, RolloutState, RunPolicyCheck, SetPolicySecret,
};
pub use source::{
    DiffCounts, EditAttachments, EditInstanceSources, InstanceSource, InstanceSources, RepositoryKey, RepositoryKeys, Snapshot,
    SnapshotDetail, SnapshotDiff, SnapshotRef, Source, UnitPage,
};
pub use user::{
    ChangePassword, ConfirmSecondFactor, EditUser, EditUserGroup, OfferedSecondFactor, PasswordSet, RecoveryCodes, Session,
    SetPassword, SignIn, User, UserGroup, UserGroupMember, WhoAmI,
};

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The rows, in the list's own order.
    pub items: Vec<T>,
    /// Give it as `cursor` to read on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
