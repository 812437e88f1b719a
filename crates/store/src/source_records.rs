//! What the rows around software sources are once read: plain structs of domain types. Absent on purpose: decisions.
//! Large columns (findings, heads, documents) are not part of these records; each has its own function.

use std::collections::BTreeSet;

use drydock_domain::group::OsFamily;
use drydock_domain::ids::{ContentJobId, EnvironmentId, GroupId, InstanceId, SnapshotId, SourceId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::OsFacts;
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::host::{HostSourcesReport, SourcesMode};
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress, SnapshotOrigin};
use drydock_domain::source::resolve::AttachedTo;
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::{Format, SnapshotStats};
use jiff::Timestamp;

use crate::records::PageQuery;

/// A software source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRecord {
    /// Its id.
    pub id: SourceId,
    /// As made or last edited, with its secrets.
    pub spec: SourceSpec,
    /// When its content was last brought up to date with success (also when nothing was new).
    pub last_sync_at: Option<Timestamp>,
    /// Its newest job that ended.
    pub last_job: Option<ContentJobId>,
    /// Jobs that failed since the last one that did not.
    pub failures: u32,
    /// Path of its compartment.
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Grows with every edit by a person; the etag.
    pub version: i64,
}

/// Where the units of a source come from, without the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Mirrors an upstream.
    Upstream,
    /// Takes from other sources.
    Sources,
    /// Filled by uploads.
    Local,
}

impl SourceKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Upstream => "upstream",
            SourceKind::Sources => "sources",
            SourceKind::Local => "local",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [SourceKind::Upstream, SourceKind::Sources, SourceKind::Local].into_iter().find(|k| k.as_str() == text)
    }
}

/// What reconcilers look at of every source, without the specification and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOutline {
    /// Its id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// rpm or deb.
    pub format: Format,
    /// Where its units come from.
    pub kind: SourceKind,
    /// Name of its parent.
    pub parent: Option<String>,
    /// Names of the sources it takes from.
    pub from: Vec<String>,
    /// Seconds between syncs; absent = only when asked.
    pub sync_interval_secs: Option<u64>,
    /// When its content was last brought up to date with success.
    pub last_sync_at: Option<Timestamp>,
    /// Jobs that failed since the last one that did not.
    pub failures: u32,
    /// Its newest job that ended.
    pub last_job: Option<ContentJobId>,
    /// Grows with every edit by a person.
    pub version: i64,
    /// Path of its compartment.
    pub compartment: String,
}

/// Which sources to list (by name).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceQuery {
    /// Only this format.
    pub format: Option<Format>,
    /// Only names that hold this text, whatever the case.
    pub name_contains: String,
    /// Which page.
    pub page: PageQuery,
}

/// One frozen state of a source. Never edited (but for `kept`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: SnapshotId,
    /// Whose.
    pub source: SourceId,
    /// 1, 2, 3 … per source.
    pub number: u32,
    /// Hash of everything in it, lower-case hex.
    pub root: String,
    /// Sizes.
    pub stats: SnapshotStats,
    /// Where it came from.
    pub origin: SnapshotOrigin,
    /// How many findings it has; see `snapshots::findings`.
    pub findings_total: u32,
    /// Retention leaves it alone.
    pub kept: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A snapshot and who points at it: what retention looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotUse {
    /// The snapshot.
    pub snapshot: SnapshotRecord,
    /// Pointers (environments and `latest`) that are on it now, count.
    pub pointers: u32,
}

/// A lifecycle environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRecord {
    /// Its id.
    pub id: EnvironmentId,
    /// As made or last edited.
    pub spec: EnvironmentSpec,
    /// Path of its compartment.
    pub compartment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Grows with every edit; the etag.
    pub version: i64,
}

/// A managed instance group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its id.
    pub id: GroupId,
    /// Unique; never changes.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Where its members look through that have no environment of their own.
    pub environment: Option<EnvironmentId>,
    /// Path of its compartment; members lie in it or below.
    pub compartment: String,
    /// What the first member was and all others are.
    pub family: Option<OsFamily>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Grows with every edit and every change of members; the etag.
    pub version: i64,
}

/// An instance as a member of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupMemberRecord {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// PENDING, ACTIVE …
    pub state: InstanceState,
    /// What it says of itself.
    pub os: Option<OsFacts>,
}

/// Where one view points for one source, without the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerRecord {
    /// The environment; `None` is the view `latest`.
    pub environment: Option<EnvironmentId>,
    /// The source.
    pub source: SourceId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its number.
    pub number: u32,
    /// Its root.
    pub root: String,
    /// When the pointer last moved.
    pub moved_at: Timestamp,
    /// Who moved it.
    pub moved_by: String,
    /// Grows with every move; a move is conditional on it.
    pub version: i64,
}

/// One move of a pointer, as kept in its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerMoveRecord {
    /// The environment; `None` is the view `latest`.
    pub environment: Option<EnvironmentId>,
    /// The source.
    pub source: SourceId,
    /// Where it pointed before (the snapshot may be gone): id and number.
    pub from: Option<(SnapshotId, u32)>,
    /// Where it pointed then (the snapshot may be gone): id and number.
    pub to: (SnapshotId, u32),
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}

/// A source attached to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRecord {
    /// To what.
    pub target: AttachedTo,
    /// Which source.
    pub source: SourceId,
    /// When.
    pub attached_at: Timestamp,
    /// By whom.
    pub attached_by: String,
}

/// The sources document of one host, and the host's last answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSourcesRecord {
    /// Whose.
    pub instance: InstanceId,
    /// 0 = no document yet.
    pub generation: u64,
    /// Of everything in the document but its generation; empty without a document.
    pub fingerprint: String,
    /// JSON of `HostSources`, exactly as it is signed; empty without a document.
    pub document: String,
    /// Why attached sources are not in it, for people.
    pub problems: Vec<String>,
    /// When the document was made.
    pub made_at: Option<Timestamp>,
    /// The host's last answer.
    pub report: Option<HostSourcesReport>,
    /// When it came.
    pub reported_at: Option<Timestamp>,
}

/// What decides about the sources of one ACTIVE host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostInputs {
    /// Its id.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub os: Option<OsFacts>,
    /// What becomes of repository definitions that were on it before.
    pub mode: SourcesMode,
    /// Its own environment.
    pub environment: Option<EnvironmentId>,
    /// The group it is in.
    pub group: Option<GroupId>,
    /// The environment of that group.
    pub group_environment: Option<EnvironmentId>,
    /// Generation of its document; 0 = none yet.
    pub generation: u64,
    /// Fingerprint of its document; empty = none yet.
    pub fingerprint: String,
}

impl HostInputs {
    /// The environment it looks through: its own, else that of its group.
    pub fn place(&self) -> Option<EnvironmentId> {
        self.environment.or(self.group_environment)
    }
}

/// Hosts that see a source in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsSeeing {
    /// How many.
    pub total: u64,
    /// The first of them by name, cut.
    pub first: Vec<(InstanceId, String)>,
}

/// Background work on content, without its findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentJobRecord {
    /// Its id.
    pub id: ContentJobId,
    /// What it does.
    pub kind: ContentJobKind,
    /// Its source; absent for work on the whole content.
    pub source: Option<SourceId>,
    /// PENDING … SUCCEEDED.
    pub state: ContentJobState,
    /// What it works on besides the source, control's JSON: staged files of an upload, `dryRun` of a collection.
    pub input: Option<String>,
    /// Where it is.
    pub progress: JobProgress,
    /// What came of it, or why it failed.
    pub message: String,
    /// How many findings it has; see `content_jobs::findings`.
    pub findings_total: u32,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// How often it was claimed.
    pub attempts: u32,
    /// Whose it is while RUNNING.
    pub lease_owner: Option<String>,
    /// Until when nobody else may take it.
    pub lease_until: Option<Timestamp>,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Grows with every change.
    pub version: i64,
}

/// Which content jobs to list (newest first).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentJobQuery {
    /// Only this state.
    pub state: Option<ContentJobState>,
    /// Only this kind.
    pub kind: Option<ContentJobKind>,
    /// Only jobs of this source.
    pub source: Option<SourceId>,
    /// Which page.
    pub page: PageQuery,
}

/// Snapshots an environment has or had for one source, as far as its history goes.
pub type SeenSnapshots = BTreeSet<SnapshotId>;
