//! Sources, snapshots, environments and content jobs: what is sent, what is printed, how it ends.

use drydock_api::rest::{ContentJob, ContentJobDetail, DiffCounts, Snapshot, SnapshotDetail, Source};
use drydock_domain::ids::{ContentJobId, SnapshotId, SourceId};
use drydock_domain::inventory::Finding;
use drydock_domain::source::environment::Promotion;
use drydock_domain::source::filter::FilterAction;
use drydock_domain::source::job::{ContentJobKind, ContentJobState, JobProgress, SnapshotOrigin};
use drydock_domain::source::spec::{Origin, SignatureCheck, SourceSpec};
use drydock_domain::source::unit::{Format, SnapshotStats};
use serde_json::json;

use crate::documents::{before, uuid};
use crate::fake::Fake;

fn spec(name: &str) -> SourceSpec {
    serde_json::from_value(json!({
        "name": name, "format": "rpm", "origin": { "upstream": { "urls": ["http://yum.example/ol9/"] } }
    }))
    .expect("a spec")
}

fn job(state: ContentJobState, message: &str) -> ContentJob {
    ContentJob {
        id: ContentJobId(uuid(7)),
        kind: ContentJobKind::Sync,
        source: Some("ol9".into()),
        state,
        progress: JobProgress { stage: "reading packages".into(), done: 12, total: Some(40) },
        message: message.into(),
        findings_total: 1,
        requested_by: "admin".into(),
        created_at: before(10),
        started_at: Some(before(9)),
        finished_at: state.is_final().then(|| before(2)),
        cancel_requested: false,
    }
}

fn detail(state: ContentJobState, message: &str) -> ContentJobDetail {
    let finding = Finding { subject: "primary.xml".into(), message: "duplicate \u{1b}[2J package".into() };
    ContentJobDetail { job: job(state, message), findings: vec![finding] }
}

fn snapshot(number: u32) -> Snapshot {
    Snapshot {
        id: SnapshotId(uuid(100 + u128::from(number))),
        source: "ol9".into(),
        number,
        root: "ab".repeat(32),
        stats: SnapshotStats { packages: 42_000, package_bytes: 9_800_000_000, advisories: 12, modules: 0 },
        origin: SnapshotOrigin::Sync,
        created_at: before(3600),
        findings_total: 0,
        environments: vec!["prod".into()],
        latest: true,
    }
}

fn source(name: &str) -> Source {
    serde_json::from_value(json!({
        "id": SourceId(uuid(1)), "spec": spec(name), "current": snapshot(3), "lastJob": job(ContentJobState::Succeeded, "new snapshot 3"),
        "createdBy": "admin", "createdAt": before(86_400), "lastSyncedAt": before(2), "nextSyncAt": null, "failures": 0,
        "attachments": 3, "usedBy": ["web"], "etag": "5"
    }))
    .expect("a source")
}

#[tokio::test]
async fn a_mirror_is_made_from_flags_and_its_keys_from_files() {
    let fake = Fake::start().await;
    fake.json("POST /sources", &source("bookworm"));
    let mut prepared = fake.prepared();
    let key = prepared.home.path().join("debian.asc");
    std::fs::write(&key, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n").expect("written");
    let ran = prepared
        .run(&format!(
            "source create bookworm --deb http://deb.example/debian --suite bookworm --component main --key-file {} --exclude 'linux-*' --newest 2 --every 6h",
            key.display()
        ))
        .await;
    assert_eq!(ran.code, 0, "{ran}");
    let sent: SourceSpec = serde_json::from_str(&fake.seen()[0].body).expect("a spec");
    assert_eq!((sent.name.as_str(), sent.format, sent.signatures), ("bookworm", Format::Deb, SignatureCheck::Required));
    assert_eq!((sent.selection.newest, sent.sync_interval_secs, sent.keys.len()), (Some(2), Some(6 * 3600), 1));
    assert_eq!(sent.selection.rules[0].action, FilterAction::Exclude);
    let Origin::Upstream(upstream) = sent.origin else { panic!("{:?}", sent.origin) };
    assert_eq!((upstream.suite.as_deref(), upstream.components.as_slice()), (Some("bookworm"), ["main".to_owned()].as_slice()));
}

#[tokio::test]
async fn one_kind_of_source_and_no_other() {
    let fake = Fake::start().await;
    for line in [
        "source create x",
        "source create x --rpm http://a --deb http://b",
        "source create x --local rpm --from y",
        "source create x --rpm http://a --suite stable",
        "source create x --rpm http://a --client-key k.pem",
    ] {
        let ran = fake.run(line).await;
        assert_eq!(ran.code, 2, "{line}: {ran}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_sync_is_followed_to_its_end_and_its_failure_is_the_exit_code() {
    let fake = Fake::start().await;
    let path = format!("GET /content-jobs/{}", ContentJobId(uuid(7)));
    fake.json("POST /sources/ol9:sync", &job(ContentJobState::Pending, ""))
        .json(&path, &detail(ContentJobState::Running, ""))
        .json(&path, &detail(ContentJobState::Failed, "repomd.xml has another checksum; try again"));
    let ran = fake.run("source sync ol9").await;
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.err.contains("reading packages"), "{ran}");
    assert!(ran.out.contains("repomd.xml has another checksum"), "{ran}");
    assert!(!ran.out.contains('\u{1b}'), "what the upstream wrote must not reach the terminal: {ran}");
}

#[tokio::test]
async fn an_upload_sends_the_file_as_it_is() {
    let fake = Fake::start().await;
    fake.json("POST /sources/inhouse/packages?fileName=tool-1-1.noarch.rpm", &job(ContentJobState::Pending, ""))
        .json(&format!("GET /content-jobs/{}", ContentJobId(uuid(7))), &detail(ContentJobState::Succeeded, "1 package added"));
    let mut prepared = fake.prepared();
    let file = prepared.home.path().join("tool-1-1.noarch.rpm");
    std::fs::write(&file, "package bytes").expect("written");
    let ran = prepared.run(&format!("source upload inhouse {}", file.display())).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.out.contains("tool-1-1.noarch.rpm: SUCCEEDED 1 package added"), "{ran}");
    assert_eq!(fake.seen()[0].body, "package bytes");
    let ran = prepared.run("source upload inhouse /no/such.rpm").await;
    assert_eq!(ran.code, 2, "{ran}");
}

#[tokio::test]
async fn a_snapshot_by_number_is_promoted_by_its_id() {
    let fake = Fake::start().await;
    let found = SnapshotDetail { snapshot: snapshot(3), findings: Vec::new() };
    fake.json("GET /sources/ol9/snapshots/3", &found).json(
        "POST /environments/prod:promote",
        &json!({ "environment": "prod", "dryRun": true, "unchanged": [], "moves": [{
            "source": "ol9", "from": null, "to": { "id": found.snapshot.id, "number": 3, "createdAt": before(3600) },
            "counts": DiffCounts { added: 42_000, removed: 0, changed: 0, advisories: 12 }, "instances": 2, "instancesAffected": 1,
            "affected": [{ "id": uuid(9), "name": "web-1", "updates": 4 }],
            "upgrades": [{ "name": "openssl", "arch": "x86_64", "to": "3.0.7-25", "instances": 1 }], "truncated": false }] }),
    );
    let ran = fake.run("environment promote prod --source ol9 --snapshot 3 --dry-run").await;
    assert_eq!(ran.code, 0, "{ran}");
    let sent: Promotion = serde_json::from_str(&fake.seen()[1].body).expect("a promotion");
    assert_eq!((sent.snapshot, sent.dry_run), (Some(found.snapshot.id), true));
    for part in ["snapshot nothing → 3", "2 hosts would see it, 1 with updates: web-1 (4)", "openssl", "1 source would move"] {
        assert!(ran.out.contains(part), "{part}: {ran}");
    }
    let ran = fake.run("environment promote prod --snapshot 3").await;
    assert_eq!(ran.code, 2, "a number needs its source: {ran}");
}

#[tokio::test]
async fn lists_and_pages_show_sizes_and_environments() {
    let fake = Fake::start().await;
    fake.json("GET /sources?limit=1000", &json!({ "items": [source("ol9")] }))
        .json("GET /sources/ol9/snapshots?limit=100", &json!({ "items": [snapshot(3)] }));
    let ran = fake.run("source list").await;
    assert!(ran.out.contains("9.8 GB") && ran.out.contains("mirror"), "{ran}");
    let ran = fake.run("snapshot list ol9").await;
    assert!(ran.out.contains("prod") && ran.out.contains("42000"), "{ran}");
}
