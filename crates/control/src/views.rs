//! What operations return and take that is more than one row: rows with what follows from them now.

use std::collections::BTreeMap;

use drydock_domain::access::Role;
use drydock_domain::advisory::report::UpdatesFrom;
use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::{InstanceState, Labels, Reachability};
use drydock_domain::inventory::{Finding, Health, ManagerKind, OsFacts, Package, Update};
use drydock_domain::patch::job::StateCounts;
use drydock_domain::patch::report::{PackageResult, SkippedUpdate, TaskReport};
use drydock_domain::patch::undo::{UndoAction, UndoRefusal};
use drydock_domain::rollout::health::HealthResult;
use drydock_domain::rollout::{self, PlannedZone, RebootSlots, RolloutPlan, WaveStatus};
use drydock_domain::work::Directive;
use drydock_store::calendars::{CalendarRecord, SlotRecord};
use drydock_store::deployments::DeploymentRecord;
use drydock_store::records::{InstanceRecord, JobRecord, TaskRecord};
use jiff::Timestamp;

use crate::context::Secret;

/// An instance, and whether it can be reached now.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Its row.
    pub record: InstanceRecord,
    /// ONLINE, OFFLINE, NEVER_SEEN.
    pub reachability: Reachability,
    /// When its agent last spoke; newer than the row's.
    pub last_seen: Option<Timestamp>,
    /// Name of the group it is in.
    pub group: Option<String>,
    /// Name of the environment it looks through, its own or its group's.
    pub environment: Option<String>,
}

impl InstanceView {
    /// Changes with every edit; without quotes.
    pub fn etag(&self) -> String {
        self.record.version.to_string()
    }
}

/// A patch job with its tasks counted.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Its row.
    pub record: JobRecord,
    /// Tasks per state.
    pub counts: StateCounts,
    /// 0 to 100; 0 before the hosts are looked up.
    pub percent_complete: f64,
    /// How its rollout stands; not in lists, and not before the hosts are looked up.
    pub rollout: Option<RolloutView>,
    /// Hosts that its filter chooses and that whoever started it may see and not patch; only in the answer to its start.
    pub not_patchable: Option<u64>,
}

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutView {
    /// The newest plan.
    pub plan: RolloutPlan,
    /// Its waves.
    pub waves: Vec<WaveStatus>,
    /// Its zones.
    pub zones: Vec<ZoneView>,
    /// What people and the planner did.
    pub control: rollout::Control,
    /// The job that takes the failed wave back.
    pub undo_job: Option<JobId>,
    /// Jobs that take this one back.
    pub undone_by: Vec<JobId>,
}

/// A maintenance window, a freeze calendar or a group of reboot slots.
#[derive(Debug, Clone, PartialEq)]
pub struct CalendarView<T> {
    /// Its row.
    pub record: CalendarRecord,
    /// What it says.
    pub spec: T,
}

impl<T> CalendarView<T> {
    /// Changes with every edit; without quotes.
    pub fn etag(&self) -> String {
        self.record.version.to_string()
    }
}

/// A group of reboot slots.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotGroupView {
    /// The group.
    pub group: CalendarView<RebootSlots>,
    /// Who holds a slot, longest first.
    pub holders: Vec<SlotRecord>,
}

/// Everything that a job did.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutcome {
    /// The job.
    pub job: JobView,
    /// When the report was made.
    pub made_at: Timestamp,
    /// Its hosts, by name.
    pub hosts: Vec<HostOutcome>,
}

/// What a job did on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOutcome {
    /// The host's part of the job.
    pub task: TaskRecord,
    /// Its packages with what became of them.
    pub packages: Vec<PackageResult>,
    /// What its plans left out.
    pub skipped: Vec<SkippedUpdate>,
    /// Its health checks.
    pub health: Vec<HealthResult>,
}

/// What is to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoAsk {
    /// Only on these hosts, by name or id; empty = on all that the job changed.
    pub instances: Vec<String>,
    /// Plan only.
    pub dry_run: bool,
    /// Leave out hosts where it cannot be done exactly.
    pub skip_refused: bool,
}

/// What an undo means to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoHost {
    /// The task that is taken back.
    pub task: TaskId,
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub instance_name: String,
    /// What moves; empty when it is refused.
    pub actions: Vec<UndoAction>,
    /// Why it cannot be done exactly.
    pub refused: Vec<UndoRefusal>,
}

/// A zone and its disruption budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneView {
    /// As planned.
    pub zone: PlannedZone,
    /// The job's hosts at work.
    pub running: u32,
    /// The job's hosts that failed and keep their place.
    pub failed: u32,
    /// Hosts that other jobs are at work on.
    pub others: u32,
}

impl JobView {
    /// Changes with every change of the row; without quotes.
    pub fn etag(&self) -> String {
        self.record.version.to_string()
    }
}

/// A patch deployment with its coming runs.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentView {
    /// Its row.
    pub record: DeploymentRecord,
    /// The next few moments of its schedule, the next run first; empty when none is due any more.
    pub upcoming: Vec<Timestamp>,
    /// Why its newest run failed, if it did.
    pub failed: Option<String>,
}

impl DeploymentView {
    /// Changes with every change of the row; without quotes.
    pub fn etag(&self) -> String {
        self.record.version.to_string()
    }
}

/// A task with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskDetail {
    /// Its row.
    pub task: TaskRecord,
    /// What the host told; absent until it told something.
    pub report: Option<TaskReport>,
}

/// Installed packages of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct PackagesView {
    /// Fingerprint of the whole set.
    pub fingerprint: String,
    /// When the set last changed.
    pub changed_at: Timestamp,
    /// Sorted by name.
    pub packages: Vec<Package>,
}

/// Available updates of an instance and its health.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdatesView {
    /// When the set last changed.
    pub changed_at: Timestamp,
    /// Sorted by name.
    pub updates: Vec<Update>,
    /// Broken repositories.
    pub findings: Vec<Finding>,
    /// Reboot and restart needs.
    pub health: Health,
    /// Package managers.
    pub managers: Vec<ManagerKind>,
    /// Whose answer the updates are.
    pub answered_by: UpdatesFrom,
    /// The server's answer: number of the snapshot that the host sees of each source.
    pub snapshots: BTreeMap<String, u32>,
}

/// What a host's configuration says of which updates are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct RulesView {
    /// When they last changed.
    pub changed_at: Timestamp,
    /// Package managers, the one whose rules these are first.
    pub managers: Vec<ManagerKind>,
    /// The rules.
    pub rules: HostRules,
}

/// What may be edited of an instance; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceEdit {
    /// Replaces all labels.
    pub labels: Option<Labels>,
    /// Replaces the zone.
    pub zone: Option<String>,
}

/// Who the server takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoAmI {
    /// Name of the user or the access token.
    pub name: String,
    /// `user`, `service-account`, `instance`, `token` or `server`.
    pub kind: &'static str,
    /// The strongest role among the groups.
    pub role: Option<Role>,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// A second factor was shown.
    pub second_factor: bool,
    /// The token that was shown is narrowed.
    pub narrowed: bool,
}

/// What a host says when it asks to enrol.
#[derive(Debug, Clone)]
pub struct EnrolAsk {
    /// The profile's token; empty: the host is known by its key and comes back after its certificate ended.
    pub token: Secret,
    /// SHA-256 of the request's public key (SPKI, DER), lower-case hex. The caller has checked that the host holds
    /// the private key.
    pub spki_sha256: String,
    /// /etc/machine-id.
    pub machine_id: String,
    /// Host name.
    pub hostname: String,
    /// Operating-system facts.
    pub os: OsFacts,
}

/// How an enrolment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// ACTIVE: sign a certificate. PENDING: ask again.
    pub state: InstanceState,
    /// Why it is pending, for people; empty otherwise.
    pub message: String,
    /// When to ask again, seconds.
    pub retry_after_secs: u32,
}

/// One section as an agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionIn {
    /// `os`, `packages` …; a kind this version does not know is left out in silence.
    pub kind: String,
    /// SHA-256 of the section's canonical JSON, lower-case hex.
    pub fingerprint: String,
    /// The body, when the agent sends it.
    pub body: SectionBodyIn,
}

/// How much of a section's body an agent sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionBodyIn {
    /// The fingerprint only.
    None,
    /// All of it: JSON.
    Full(Vec<u8>),
    /// Packages only: what changed.
    Delta {
        /// Fingerprint of the set it applies to.
        base_fingerprint: String,
        /// JSON of a package delta.
        delta: Vec<u8>,
    },
}

/// An order as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOrder {
    /// JSON of the work order: exactly these bytes are signed.
    pub order: Vec<u8>,
    /// Ed25519 over the context and the bytes.
    pub signature: Vec<u8>,
}

/// What to tell an agent about a task it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldAnswer {
    /// Go on, stop, kill.
    Directive(Directive),
    /// The server does not know the task.
    Forget,
}

impl HeldAnswer {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            HeldAnswer::Directive(directive) => directive.as_str(),
            HeldAnswer::Forget => "FORGET",
        }
    }
}

/// What an agent gets when it asks for work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Orders it does not hold yet.
    pub orders: Vec<SignedOrder>,
    /// One answer for each task it holds.
    pub directives: Vec<(drydock_domain::ids::TaskId, HeldAnswer)>,
}

/// What an agent gets that asks for a reboot slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotAnswer {
    /// The host may go down.
    pub granted: bool,
    /// Why not, for people; shown as the task's message: `waits for a reboot slot of group db: held by db1 since …`.
    pub message: String,
    /// To be asked for again after this, seconds; agents keep to 5 to 300.
    pub retry_after_secs: u32,
}

/// What an agent gets for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Go on, stop, kill.
    pub directive: Directive,
    /// This or a later report is stored: a final one may be forgotten by the agent.
    pub stored: bool,
}
