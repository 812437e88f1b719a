//! Rows around software sources, for the suites about them.

use drydock_domain::ids::{ContentJobId, EnvironmentId, InstanceId, SnapshotId, SourceId};
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::host::SourcesMode;
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress, SnapshotOrigin};
use drydock_domain::source::resolve::AttachedTo;
use drydock_domain::source::unit::SnapshotStats;
use drydock_store::pointers::Move;
use drydock_store::source_records::*;
use drydock_store::{Store, commit, environments, instances, pointers, profiles, snapshots, sources};

use super::rows::{at, id, instance, profile};

pub fn source_id(n: u128) -> SourceId {
    SourceId(id(20_000 + n))
}

pub fn snapshot_id(source: u128, number: u32) -> SnapshotId {
    SnapshotId(id(1_000_000 + 1000 * source + u128::from(number)))
}

pub fn environment_id(n: u128) -> EnvironmentId {
    EnvironmentId(id(30_000 + n))
}

pub fn source(n: u128) -> SourceRecord {
    let json = format!(
        r#"{{"name":"s{n}","format":"rpm","parent":"base","syncIntervalSecs":3600,"architectures":["x86_64"],
            "origin":{{"upstream":{{"urls":["https://h/{n}"],"clientKeyPem":"K","proxy":"http://u:p@h:1"}}}}}}"#
    );
    SourceRecord {
        id: source_id(n),
        spec: serde_json::from_str(&json).expect("a spec"),
        last_sync_at: None,
        last_job: None,
        compartment: "/A".into(),
        failures: 0,
        created_by: "me".into(),
        created_at: at(0),
        version: 1,
    }
}

pub fn snapshot(source: u128, number: u32) -> SnapshotRecord {
    SnapshotRecord {
        id: snapshot_id(source, number),
        source: source_id(source),
        number,
        root: format!("{source:032x}{number:032x}"),
        stats: SnapshotStats { packages: 7, package_bytes: u64::from(u32::MAX) * 4, advisories: 2, modules: 1 },
        origin: SnapshotOrigin::Sync,
        findings_total: 0,
        kept: false,
        created_at: at(i64::from(number) * 100),
    }
}

pub fn environment(n: u128, name: &str) -> EnvironmentRecord {
    EnvironmentRecord {
        id: environment_id(n),
        spec: EnvironmentSpec {
            name: name.into(),
            description: format!("{name}!"),
            rank: u32::try_from(n).expect("small"),
            compartment: None,
        },
        compartment: "/A".into(),
        created_by: "me".into(),
        created_at: at(0),
        version: 1,
    }
}

pub fn attachment(target: AttachedTo, source: u128) -> AttachmentRecord {
    AttachmentRecord { target, source: source_id(source), attached_at: at(3), attached_by: "me".into() }
}

pub fn on_host(n: u128) -> AttachedTo {
    AttachedTo::Instance(InstanceId(id(100 + n)))
}

pub fn job(n: u128, kind: ContentJobKind, source: Option<u128>) -> ContentJobRecord {
    ContentJobRecord {
        id: ContentJobId(id(50_000 + n)),
        kind,
        source: source.map(source_id),
        state: ContentJobState::Pending,
        input: None,
        progress: JobProgress::default(),
        message: String::new(),
        findings_total: 0,
        requested_by: "me".into(),
        created_at: at(i64::try_from(n).expect("small")),
        started_at: None,
        finished_at: None,
        attempts: 0,
        lease_owner: None,
        lease_until: None,
        cancel_requested: false,
        version: 1,
    }
}

/// Sources `1..=n` with snapshots `1..=snapshots` each, hosts `1..=3`, environments dev (1) and prod (2).
pub async fn world(store: &Store, n: u128, numbers: u32) {
    let mut tx = store.begin().await.expect("begins");
    profiles::insert(&mut tx, &profile(), "t").await.expect("stored");
    for (n, name) in [(1, "dev"), (2, "prod")] {
        environments::insert(&mut tx, &environment(n, name)).await.expect("stored");
    }
    for host in 1..=3 {
        instances::insert(&mut tx, &instance(host)).await.expect("stored");
    }
    for s in 1..=n {
        sources::insert(&mut tx, &source(s)).await.expect("stored");
        for number in 1..=numbers {
            snapshots::insert(&mut tx, &snapshot(s, number), &[]).await.expect("stored");
        }
    }
    commit(tx).await.expect("committed");
}

/// Moves the pointer of an environment (`None`: `latest`) from where it is.
pub async fn point(store: &Store, environment: Option<u128>, source: u128, number: u32) -> bool {
    let environment = environment.map(environment_id);
    let mut tx = store.begin().await.expect("begins");
    let from = pointers::find(&mut tx, environment, source_id(source)).await.expect("read");
    let version = from.as_ref().map_or(0, |f| f.version);
    let step = Move {
        id: id(9_000_000
            + u128::try_from(version).expect("positive") * 100
            + source
            + if environment.is_some() { 50 } else { 0 }),
        environment,
        source: source_id(source),
        from: from.as_ref(),
        to: snapshot_id(source, number),
        to_number: number,
        head: &format!("head of {number}"),
        at: at(version),
        who: "me",
    };
    let moved = pointers::move_to(&mut tx, &step).await.expect("asked");
    commit(tx).await.expect("committed");
    moved
}

/// Puts a host into an environment.
pub async fn put_into(store: &Store, host: u128, environment: Option<u128>, mode: SourcesMode) {
    let mut tx = store.begin().await.expect("begins");
    let record = instances::find(&mut tx, instance(host).id).await.expect("read").expect("there");
    let environment = environment.map(environment_id);
    assert!(instances::set_sources(&mut tx, record.id, mode, environment, record.version).await.expect("stored"));
    commit(tx).await.expect("committed");
}
