//! What the operations around software sources return and take. Specs in here are redacted: what is written and never
//! shown again (client keys, passwords of proxies) is gone.

use std::sync::Arc;

use drydock_content::serve::ServeView;
use drydock_domain::group::{GroupSpec, OsFamily};
use drydock_domain::ids::{ContentJobId, EnvironmentId, GroupId, InstanceId, SnapshotId, SourceId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::Finding;
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::host::{HostSource, HostSourcesReport, SourcesMode};
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress, SnapshotOrigin};
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::{SnapshotStats, Unit, UnitChange};
use drydock_store::records::PageQuery;
pub use drydock_store::source_records::SourceQuery;
use jiff::Timestamp;

use crate::context::OpCtx;

/// A software source and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceView {
    /// Its id.
    pub id: SourceId,
    /// Path of its compartment.
    pub compartment: String,
    /// As made or last edited, redacted.
    pub spec: SourceSpec,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Its newest snapshot; absent before the first sync.
    pub current: Option<SnapshotView>,
    /// Its newest job.
    pub last_job: Option<ContentJobView>,
    /// When its upstream was last read with success (also when nothing was new).
    pub last_synced_at: Option<Timestamp>,
    /// When it is synced again by itself; absent: only when asked.
    pub next_sync_at: Option<Timestamp>,
    /// Syncs that failed since the last one that did not.
    pub failures: u32,
    /// Hosts, groups and environments it is attached to.
    pub attachments: u64,
    /// Custom sources that take from it, and its children, by name.
    pub used_by: Vec<String>,
    /// Grows with every edit of the spec.
    pub version: i64,
}

impl SourceView {
    /// Changes with every edit; without quotes.
    pub fn etag(&self) -> String {
        self.version.to_string()
    }
}

/// One frozen state of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotView {
    /// Its id.
    pub id: SnapshotId,
    /// Name of the source.
    pub source: String,
    /// 1, 2, 3 … within the source.
    pub number: u64,
    /// Hash of everything in it: equal roots are equal snapshots, on every server.
    pub root: String,
    /// Sizes.
    pub stats: SnapshotStats,
    /// Where it came from.
    pub origin: SnapshotOrigin,
    /// When it was made.
    pub created_at: Timestamp,
    /// What was odd about the upstream then; empty in lists.
    pub findings: Vec<Finding>,
    /// How much was odd, count.
    pub findings_total: u32,
    /// Environments that point at it now.
    pub environments: Vec<String>,
    /// It is the newest of its source.
    pub latest: bool,
}

/// A snapshot, named shortly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Its id.
    pub id: SnapshotId,
    /// Its number within the source.
    pub number: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which units of a snapshot to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitQuery {
    /// Only names that hold this text.
    pub name_contains: String,
    /// Only this index (deb: `main/amd64`).
    pub index: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Units; absent = 100; at most 1,000.
    pub limit: Option<u32>,
}

/// Units of a snapshot, in the order of their indexes and names.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPage {
    /// The snapshot they are of.
    pub snapshot: SnapshotRef,
    /// The units.
    pub units: Vec<Unit>,
    /// Give it as `cursor` to read on; absent on the last page.
    pub next_cursor: Option<String>,
}

/// How much differs between two snapshots, count of units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Only in the newer one.
    pub added: u64,
    /// Only in the older one.
    pub removed: u64,
    /// The same file, other metadata.
    pub changed: u64,
    /// Advisories only in the newer one or with other text.
    pub advisories: u64,
}

/// What differs between two snapshots of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffView {
    /// Name of the source.
    pub source: String,
    /// The older side.
    pub from: SnapshotRef,
    /// The newer side.
    pub to: SnapshotRef,
    /// How much differs.
    pub counts: DiffCounts,
    /// What, cut to the limit asked for.
    pub changes: Vec<UnitChange>,
    /// There is more.
    pub truncated: bool,
}

/// A lifecycle environment and what it points at.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentView {
    /// Its id.
    pub id: EnvironmentId,
    /// Path of its compartment.
    pub compartment: String,
    /// As made.
    pub spec: EnvironmentSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// One for each source promoted into it, by source name.
    pub pointers: Vec<PointerView>,
    /// Sources attached to it, by name.
    pub attached: Vec<String>,
    /// Instances that are in it.
    pub instances: u64,
    /// Grows with every edit.
    pub version: i64,
}

impl EnvironmentView {
    /// Changes with every edit; without quotes.
    pub fn etag(&self) -> String {
        self.version.to_string()
    }
}

/// Where an environment points for one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerView {
    /// Name of the source.
    pub source: String,
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// When it was promoted.
    pub moved_at: Timestamp,
    /// By whom.
    pub moved_by: String,
    /// A newer snapshot exists.
    pub behind: bool,
}

/// One move of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerMoveView {
    /// Name of the source.
    pub source: String,
    /// Where it pointed before; absent: the first promotion, or a snapshot that is gone.
    pub from: Option<SnapshotRef>,
    /// Where it points since; absent: a snapshot that is gone meanwhile.
    pub to: Option<SnapshotRef>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}

/// What a promotion did, or would do.
#[derive(Debug, Clone, PartialEq)]
pub struct PromotionView {
    /// Name of the environment.
    pub environment: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// One for each source, by name; sources that already point there are left out.
    pub moves: Vec<MoveView>,
    /// Sources that already pointed there, by name.
    pub unchanged: Vec<String>,
}

/// One source's part of a promotion.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveView {
    /// Name of the source.
    pub source: String,
    /// Where the environment points now; absent: nowhere.
    pub from: Option<SnapshotRef>,
    /// Where it will.
    pub to: SnapshotRef,
    /// How much differs; everything is `added` at the first promotion.
    pub counts: DiffCounts,
    /// What, cut.
    pub changes: Vec<UnitChange>,
    /// Hosts that see this source through the environment, count.
    pub hosts: u64,
    /// Of these, hosts with an installed package that has a newer version in the new snapshot only, count.
    pub hosts_affected: u64,
    /// Affected hosts, those with most updates first, cut.
    pub affected: Vec<AffectedHost>,
    /// New versions that hosts would be offered, those for most hosts first, cut.
    pub upgrades: Vec<UpgradeView>,
    /// Counts of hosts and upgrades are lower bounds: the difference or the fleet was too large to look at all of it.
    pub truncated: bool,
}

/// A host that a promotion brings updates to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedHost {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Packages with a newer version, count.
    pub updates: u32,
}

/// A version that a promotion offers to hosts with an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeView {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// The newest version offered.
    pub to: String,
    /// Hosts with an older one, count.
    pub hosts: u64,
}

/// What a source is attached to or taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachTarget {
    /// An instance, by id or name.
    Instance(String),
    /// A group, by name.
    Group(String),
    /// A lifecycle environment, by name.
    Environment(String),
}

/// A managed instance group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its id.
    pub id: GroupId,
    /// As made or last edited.
    pub spec: GroupSpec,
    /// What its members are; absent while it has none.
    pub family: Option<OsFamily>,
    /// Sources attached to it, by name.
    pub attached: Vec<String>,
    /// Its members, count.
    pub instances: u64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// What an edit of a group replaces; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupEdit {
    /// Free text.
    pub description: Option<String>,
    /// Name of a lifecycle environment; empty = none.
    pub environment: Option<String>,
}

/// An instance as a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberView {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// PENDING, ACTIVE …
    pub state: InstanceState,
    /// Its system, for people.
    pub os: String,
    /// It has become something else than the group is (a new major version, say), and how.
    pub differs: Option<String>,
}

/// The sources of one instance, and how far its host is with them.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSourcesView {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// What becomes of repository definitions that were on the host before.
    pub mode: SourcesMode,
    /// The environment it looks through: its own, else that of its group.
    pub environment: Option<String>,
    /// What it sees or should see, by source name.
    pub sources: Vec<InstanceSourceView>,
    /// Generation of the document for the host; 0 before the first.
    pub generation: u64,
    /// The host's last answer.
    pub report: Option<HostSourcesReport>,
    /// When it came.
    pub reported_at: Option<Timestamp>,
    /// The host has applied the newest document.
    pub applied: bool,
}

/// One source that is attached to an instance, directly or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSourceView {
    /// Name of the source.
    pub name: String,
    /// Where it is attached: `instance`, `group <name>`, `environment <name>`.
    pub through: Vec<String>,
    /// What the host is told; absent: the host does not see it.
    pub host_source: Option<HostSource>,
    /// The snapshot the host sees.
    pub snapshot: Option<SnapshotRef>,
    /// Why the host does not see it.
    pub problems: Vec<String>,
}

/// What to change of an instance's sources; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcesChange {
    /// Sources to attach to the instance itself, by name.
    pub attach: Vec<String>,
    /// Sources to detach from the instance itself, by name.
    pub detach: Vec<String>,
    /// What becomes of the repository definitions the host had before.
    pub mode: Option<SourcesMode>,
    /// Name of an environment; an empty text takes the instance out of its environment.
    pub environment: Option<String>,
}

/// Background work on content.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentJobView {
    /// Its id.
    pub id: ContentJobId,
    /// What it does.
    pub kind: ContentJobKind,
    /// Name of its source; absent for work on the whole store.
    pub source: Option<String>,
    /// PENDING … SUCCEEDED.
    pub state: ContentJobState,
    /// Where it is.
    pub progress: JobProgress,
    /// What came of it, or why it failed and what to do.
    pub message: String,
    /// What was odd about the upstream; empty in lists.
    pub findings: Vec<Finding>,
    /// How much was odd, count.
    pub findings_total: u32,
    /// Who asked; `server` when it was due.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began (for the last time).
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
}

/// Which content jobs to list (newest first).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentJobQuery {
    /// Only this state.
    pub state: Option<ContentJobState>,
    /// Only this kind.
    pub kind: Option<ContentJobKind>,
    /// Only jobs of this source (name).
    pub source: Option<String>,
    /// Which page.
    pub page: PageQuery,
}

/// A document of a host's sources as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSources {
    /// JSON of `HostSources`: exactly these bytes are signed.
    pub document: Vec<u8>,
    /// Ed25519 by the work key over the context and the bytes.
    pub signature: Vec<u8>,
    /// Its generation.
    pub generation: u64,
}

/// Who asks for a file of a repository.
#[derive(Debug, Clone)]
pub enum ContentPeer {
    /// An agent's certificate.
    Agent {
        /// The instance it names.
        instance: InstanceId,
        /// SHA-256 of its public key (SPKI, DER), lower-case hex.
        spki_sha256: String,
    },
    /// A content certificate: a host's package managers.
    Host {
        /// The instance it names.
        instance: InstanceId,
        /// SHA-256 of its public key (SPKI, DER), lower-case hex.
        spki_sha256: String,
    },
    /// A person or a program with an access token.
    Person(OpCtx),
}

/// A repository as it is served now. A request in flight keeps the one it began with.
#[derive(Debug, Clone)]
pub struct ContentView {
    /// What [`drydock_content::Content::resolve`] and `unit_file` take.
    pub view: Arc<ServeView>,
    /// Date of its head: when the pointer last moved, whole seconds.
    pub moved_at: Timestamp,
    /// Grows with every move.
    pub version: i64,
}

/// What garbage collection freed or would free.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectView {
    /// Nothing was freed.
    pub dry_run: bool,
    /// Tree nodes and documents.
    pub objects: Freed,
    /// Package files and verbatim documents.
    pub blobs: Freed,
    /// Published metadata files.
    pub metadata: Freed,
    /// Lists of publications, indexes of deleted sources, further names of freed files.
    pub others: Freed,
    /// Things that look unused and are kept, and why; a sample.
    pub kept: Vec<String>,
}

/// How much of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Files.
    pub count: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
}

/// A step of changing the key that signs repositories. Each waits for the hosts: a key signs only after they had time
/// to learn it, and goes only when nothing it signed is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRotation {
    /// Makes a new key and tells the hosts; the old one goes on signing.
    Prepare,
    /// The new key signs from now on; the old one stays known.
    Switch,
    /// Forgets the old key.
    Retire,
}

/// One key of this server's repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryKeyView {
    /// Fingerprint, upper-case hex.
    pub fingerprint: String,
    /// The public key, ASCII-armoured.
    pub public_key: String,
    /// New metadata is signed with it; `false`: hosts know it already (or still), nothing more.
    pub signs: bool,
}
