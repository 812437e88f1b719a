//! OS policies: what a host is to be like, and what follows from several policies at once.
//!
//! [`spec`] is what people write: Google's `OSPolicy` (OS Config v1) in its JSON form, both spellings of field names, with
//! our additions marked *ours*; [`assignment`] says for which hosts; [`check`] finds what is wrong with a document, each
//! problem with its path; [`template`] fills in what differs from host to host; [`resolve`] puts together what one host gets and names conflicts; [`host`] is the document a host
//! gets, [`report`] what it answers.
//!
//! Absent: reading YAML with lines and columns (the room `api` does), storing, and everything a host does about it.

pub mod additive;
pub mod assignment;
pub mod check;
pub mod host;
pub mod report;
pub mod resolve;
pub mod spec;
pub mod standing;
pub mod template;
mod words;

pub use additive::{
    CronResource, DirectoryResource, GroupResource, KernelModuleResource, LineResource, OnUnassign, ServiceResource,
    SymlinkResource, SysctlResource, TimerResource, UserResource,
};
pub use assignment::{AssignmentFilter, Inventory, LabelSet, OsPolicyAssignment, PolicyRollout};
pub use host::{AssignmentChecks, HostPolicies, HostPolicy, PoliciesRefused};
pub use report::{
    AssignmentHealth, ComplianceState, DriftEvent, DriftOutcome, Evidence, HealthState, HostPoliciesReport, PolicyResult,
    ResourceResult, StepKind, StepOutcome, StepResult,
};
pub use resolve::{Conflict, HostFacts, Resolution, ResolvedPolicy, resolve};
pub use spec::{
    Exec, ExecResource, ExecWatch, FileResource, FileSource, InventoryFilter, Mode, OsPolicy, PackageResource,
    RepositoryResource, Resource, ResourceGroup, ResourceKind,
};
