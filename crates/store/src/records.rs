//! What the rows are once read: plain structs of domain types. Absent on purpose: decisions, and anything a row does
//! not hold (reachability, percentages).

use drydock_domain::access::Role;
use drydock_domain::audit::Record;
use drydock_domain::audit::chain::Hash;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::{AccessTokenId, EnvironmentId, GroupId, InstanceId, JobId, ProfileId, TaskId, UserId};
use drydock_domain::instance::{InstanceState, Labels, PendingReason};
use drydock_domain::inventory::{OsFacts, PackageChange, SectionKind};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{self, RolloutPlan};
use drydock_domain::source::host::SourcesMode;
use jiff::Timestamp;

/// A managed instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRecord {
    /// Its id.
    pub id: InstanceId,
    /// Unique name: the host name, with a suffix when two hosts share one.
    pub name: String,
    /// PENDING, ACTIVE …
    pub state: InstanceState,
    /// Why it waits for a person; only when PENDING.
    pub pending_reason: Option<PendingReason>,
    /// The instance with the same machine-id that was there first.
    pub duplicate_of: Option<InstanceId>,
    /// Why it was rejected; empty otherwise.
    pub reject_reason: String,
    /// The profile it enrolled with.
    pub profile: ProfileId,
    /// /etc/machine-id at enrolment.
    pub machine_id: String,
    /// SHA-256 of its current public key (SPKI, DER), lower-case hex.
    pub spki_sha256: String,
    /// The key before that, until the new one was first used.
    pub previous_spki_sha256: Option<String>,
    /// Serial number of its newest certificate, hex; absent before it has one.
    pub certificate_serial: Option<String>,
    /// When that certificate ends.
    pub certificate_expires_at: Option<Timestamp>,
    /// Asked to enrol.
    pub created_at: Timestamp,
    /// When its agent last spoke, as stored (written in batches, some seconds late).
    pub last_seen: Option<Timestamp>,
    /// Labels.
    pub labels: Labels,
    /// Zone.
    pub zone: String,
    /// Compartment.
    pub compartment: String,
    /// Operating-system facts, first from the enrolment, then from the inventory.
    pub os: Option<OsFacts>,
    /// What the inventory adds up to; absent before the first.
    pub inventory: Option<InventorySummary>,
    /// What becomes of repository definitions that were on the host before.
    pub sources_mode: SourcesMode,
    /// Its own lifecycle environment.
    pub environment: Option<EnvironmentId>,
    /// The group it is in.
    pub group: Option<GroupId>,
    /// The lifecycle environment of that group.
    pub group_environment: Option<EnvironmentId>,
    /// SHA-256 of the public key of its content certificate (SPKI, DER), lower-case hex.
    pub content_spki_sha256: Option<String>,
    /// The one before that; good beside it.
    pub previous_content_spki_sha256: Option<String>,
    /// Grows with every edit by a person; the etag.
    pub version: i64,
}

impl InstanceRecord {
    /// The environment it looks through: its own, else that of its group.
    pub fn place(&self) -> Option<EnvironmentId> {
        self.environment.or(self.group_environment)
    }
}

/// Counts of the inventory, for lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InventorySummary {
    /// Installed packages.
    pub packages: u32,
    /// Available updates that are not held.
    pub updates: u32,
    /// Of these, security updates.
    pub security_updates: u32,
    /// Held updates.
    pub held_updates: u32,
    /// The host asks for a reboot.
    pub reboot_required: bool,
    /// Broken repositories.
    pub findings: u32,
    /// When any section last changed.
    pub changed_at: Option<Timestamp>,
}

/// One section of an instance's inventory: the pointer and the shared body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionRecord {
    /// Which section.
    pub kind: SectionKind,
    /// SHA-256 of `body`.
    pub fingerprint: String,
    /// The fingerprint as the agent names it; differs when an agent of another version writes other fields.
    pub reported_fingerprint: String,
    /// When the pointer last moved.
    pub changed_at: Timestamp,
    /// When the agent last said it is still so.
    pub reported_at: Timestamp,
    /// Canonical JSON.
    pub body: Vec<u8>,
}

/// One thing that happened to an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRecord {
    /// When.
    pub at: Timestamp,
    /// `enrolled`, `accepted`, `packages-changed`, `patch-task`, `rebooted`, `revoked` …
    pub kind: String,
    /// For people.
    pub message: String,
    /// Package changes, cut.
    pub changes: Vec<PackageChange>,
    /// How many packages changed.
    pub changes_total: u32,
    /// The patch task, when it was one.
    pub task: Option<TaskId>,
}

/// An enrolment profile. Its token is stored as SHA-256 only and is not part of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRecord {
    /// Its id.
    pub id: ProfileId,
    /// As created.
    pub spec: ProfileSpec,
    /// Hosts let in so far.
    pub uses: u32,
    /// Revoked by a person.
    pub revoked: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// An access token. Its secret is stored as SHA-256 only and is not part of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenRecord {
    /// Its id.
    pub id: AccessTokenId,
    /// What it is for, or whose it is.
    pub name: String,
    /// What it may do when it stands for itself; absent: it is a user's.
    pub role: Option<Role>,
    /// The user it belongs to.
    pub user: Option<TokenUser>,
    /// What it is narrowed to, as written; empty: not narrowed.
    pub scope: Vec<String>,
    /// Whoever made it had just shown a second factor.
    pub second_factor: bool,
    /// It was got by signing in: it ends when what its user signs in with changes.
    pub signed_in: bool,
    /// Who made it, as the key of a principal (`user 0198…`, `token …`, `server`); empty: it is older than users.
    pub created_by: String,
    /// Ends; absent = never.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Revoked by a person.
    pub revoked: bool,
}

/// The user an access token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUser {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub name: String,
}

/// A patch job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
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
    /// When its duration ends.
    pub deadline: Option<Timestamp>,
    /// When the last task became final.
    pub finished_at: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
    /// … and to end the running commands.
    pub kill_requested: bool,
    /// Job-level failure only.
    pub error_message: String,
    /// Why there is this job.
    pub origin: JobOrigin,
    /// What people and the planner did to it.
    pub control: rollout::Control,
    /// Its plans, newest last; empty before the hosts are looked up.
    pub plans: Vec<RolloutPlan>,
    /// Path of its compartment.
    pub compartment: String,
    /// In whose name it reaches hosts: a principal's key; empty: the server's.
    pub owner: String,
    /// Grows with every change of the row; the etag, and what admissions are conditional on.
    pub version: i64,
}

/// One host's part of a patch job, without its report.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// The job.
    pub job: JobId,
    /// The job's display name.
    pub job_display_name: String,
    /// The job is a dry run.
    pub dry_run: bool,
    /// The host (its record may be deleted).
    pub instance: InstanceId,
    /// The host's name when the job looked it up.
    pub instance_name: String,
    /// Its wave in the job's newest plan.
    pub wave: u16,
    /// The host's zone when the job looked it up.
    pub zone: String,
    /// PENDING … SUCCEEDED.
    pub state: TaskState,
    /// Why it is held; only when PENDING.
    pub waiting_on: Option<WaitingOn>,
    /// One line: the failure, or what is going on.
    pub message: String,
    /// Number of its order; absent before it is let go.
    pub order_number: Option<u64>,
    /// Highest report stored; 0 = none.
    pub report_seq: u64,
    /// Planned package actions (all plans).
    pub planned: u32,
    /// Packages that became what was planned.
    pub applied: u32,
    /// Updates not taken.
    pub skipped: u32,
    /// Reboots done.
    pub reboots: u32,
    /// When the job looked the host up.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// Grows with every change; every update is conditional on it.
    pub version: i64,
}

/// One audit record with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub seq: u64,
    /// What was recorded.
    pub record: Record<'static>,
    /// Its hash, which covers the record before it.
    pub hash: Hash,
}

impl std::ops::Deref for AuditRecord {
    type Target = Record<'static>;

    fn deref(&self) -> &Self::Target {
        &self.record
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// The rows, in the list's own order.
    pub items: Vec<T>,
    /// Give it as `cursor` to read on; absent on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Paged<T> {
    /// The same page with other rows.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// `next_cursor` of the page before; absent = from the start.
    pub cursor: Option<String>,
    /// Rows; absent = 100; at most 1,000.
    pub limit: Option<u32>,
}

/// Which instances to list (by name).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceQuery {
    /// Only this state.
    pub state: Option<InstanceState>,
    /// Only names that hold this text, whatever the case.
    pub name_contains: String,
    /// Only instances with all these labels.
    pub labels: Vec<(String, String)>,
    /// Only this zone.
    pub zone: Option<String>,
    /// Only in this compartment or below, as people write its path; the scope of a list follows from it.
    pub compartment: Option<String>,
    /// Which page.
    pub page: PageQuery,
}

/// Which patch jobs to list (newest first).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only this state.
    pub state: Option<JobState>,
    /// Only jobs with a task of this instance.
    pub instance: Option<InstanceId>,
    /// Only runs of the patch deployment with this name.
    pub deployment: Option<String>,
    /// Which page.
    pub page: PageQuery,
}

/// Which tasks of a job to list (by instance name).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only this state.
    pub state: Option<TaskState>,
    /// Only tasks changed at or after this moment.
    pub updated_since: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

/// Counts over the whole fleet, for the console's first page and /metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Instances by state name.
    pub instances: std::collections::BTreeMap<&'static str, u64>,
    /// ACTIVE instances heard of since the moment asked for.
    pub online: u64,
    /// ACTIVE instances silent since then.
    pub offline: u64,
    /// ACTIVE instances never heard of.
    pub never_seen: u64,
    /// ACTIVE instances with at least one update that is not held.
    pub with_updates: u64,
    /// ACTIVE instances with at least one security update.
    pub with_security_updates: u64,
    /// ACTIVE instances with at least one held update.
    pub with_held_updates: u64,
    /// Updates over all ACTIVE instances.
    pub updates: u64,
    /// Security updates over all ACTIVE instances.
    pub security_updates: u64,
    /// ACTIVE instances that ask for a reboot.
    pub reboot_required: u64,
    /// ACTIVE instances with broken repositories.
    pub with_findings: u64,
    /// Patch jobs that are not final.
    pub jobs_running: u64,
    /// Tasks of these jobs, by state name.
    pub tasks: std::collections::BTreeMap<&'static str, u64>,
}
