//! The store's suite around advisories, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use std::collections::HashMap;

use common::rows::{at, id, instance};
use common::sources::*;
use common::suite::Case;
use drydock_domain::advisory::{Advisory, AdvisoryKind, Vulnerability};
use drydock_domain::ids::{ExceptionId, FeedId};
use drydock_domain::instance::InstanceState;
use drydock_store::advisory_records::*;
use drydock_store::records::InstanceRecord;
use drydock_store::{Store, advisories, advisory_feeds, commit, exceptions, feed_chunks, instances, open_cves, settings};

const CASES: [Case; 6] = crate::cases![
    feeds_are_kept_whole_and_go_with_what_they_said,
    an_advisory_is_replaced_per_feed,
    chunks_are_found_by_the_id_of_a_cve,
    hosts_of_which_the_same_is_true_share_a_set,
    exceptions_and_settings_change_by_version,
    scopes_look_at_group_and_labels_of_active_hosts,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn feed(n: u128) -> FeedRecord {
    FeedRecord {
        id: FeedId(id(90_000 + n)),
        name: format!("f{n}"),
        kind: "osv".into(),
        stamps: vec!["s".into()],
        complete: true,
        advisories: 3,
        vulnerabilities: 2,
        statements: 1,
        findings_total: 7,
        imported_by: "me".into(),
        imported_at: at(1),
        created_at: at(0),
        version: 1,
    }
}

fn advisory(id: &str, title: &str) -> Advisory {
    Advisory { id: id.into(), title: title.into(), kind: AdvisoryKind::Security, ..Advisory::default() }
}

async fn insert(store: &Store, feed: &FeedRecord) {
    let mut tx = store.begin().await.expect("begins");
    let findings = [FeedFinding { entry: "x".into(), problem: "bad\0".into(), count: 7 }];
    advisory_feeds::insert(&mut tx, feed, &findings).await.expect("stored");
    commit(tx).await.expect("committed");
}

async fn feeds_are_kept_whole_and_go_with_what_they_said(a: Store, b: Store) {
    insert(&a, &feed(2)).await;
    insert(&a, &feed(1)).await;
    let mut tx = a.begin().await.expect("begins");
    let again = FeedRecord { id: FeedId(id(7)), ..feed(1) };
    assert!(advisory_feeds::insert(&mut tx, &again, &[]).await.expect_err("refused").is_duplicate());
    drop(tx);
    let mut c = b.read().await.expect("reads");
    assert_eq!(advisory_feeds::list(&mut c).await.expect("read"), [feed(1), feed(2)], "by name");
    assert_eq!(advisory_feeds::findings(&mut c, feed(1).id).await.expect("read")[0].count, 7);
    drop(c);
    let next = FeedRecord { stamps: vec!["s".into(), "t".into()], complete: false, imported_at: at(5), ..feed(1) };
    let mut tx = a.begin().await.expect("begins");
    assert!(advisory_feeds::update(&mut tx, &next, &[]).await.expect("asked"));
    assert!(!advisory_feeds::update(&mut tx, &next, &[]).await.expect("asked"), "another version");
    advisories::put(&mut tx, feed(1).id, &advisory("A-1", "t")).await.expect("stored");
    feed_chunks::put(&mut tx, feed(1).id, FeedPart::Statements, "CVE-2026-1", &["x"]).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(advisory_feeds::find_by_name(&mut c, "f1").await.expect("read"), Some(FeedRecord { version: 2, ..next.clone() }));
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(advisory_feeds::delete(&mut tx, feed(1).id).await.expect("asked"));
    assert!(!advisory_feeds::delete(&mut tx, feed(1).id).await.expect("asked"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(advisories::find(&mut c, "A-1").await.expect("read"), []);
    assert!(feed_chunks::buckets(&mut c, feed(1).id, FeedPart::Statements).await.expect("read").is_empty());
}

async fn an_advisory_is_replaced_per_feed(a: Store, b: Store) {
    insert(&a, &feed(1)).await;
    insert(&a, &feed(2)).await;
    let mut tx = a.begin().await.expect("begins");
    for (feed_of, id, title) in [(1, "A-1", "old"), (1, "A-1", "new"), (2, "A-1", "other"), (1, "A-3", "c"), (1, "A-2", "b")] {
        advisories::put(&mut tx, feed(feed_of).id, &advisory(id, title)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let found = advisories::find(&mut c, "A-1").await.expect("read");
    assert_eq!(found, [(feed(1).id, advisory("A-1", "new")), (feed(2).id, advisory("A-1", "other"))]);
    let digests = advisories::digests(&mut c, feed(1).id).await.expect("read");
    assert_eq!(digests.len(), 3);
    assert_eq!(digests["A-2"], advisories::digest(&advisory("A-2", "b")).expect("a digest"));
    let after = advisories::after(&mut c, feed(1).id, "A-1", 1).await.expect("read");
    assert_eq!(after, [advisory("A-2", "b")]);
    let named = advisories::of_feed(&mut c, feed(1).id, &["A-3".into(), "gone".into()]).await.expect("read");
    assert_eq!(named, [advisory("A-3", "c")]);
}

async fn chunks_are_found_by_the_id_of_a_cve(a: Store, b: Store) {
    insert(&a, &feed(1)).await;
    insert(&a, &feed(2)).await;
    let cve = |id: &str| Vulnerability { id: id.into(), ..Vulnerability::default() };
    let part = FeedPart::Vulnerabilities;
    let bucket = feed_chunks::bucket("CVE-2026-1234");
    let mut tx = a.begin().await.expect("begins");
    feed_chunks::put(&mut tx, feed(1).id, part, &bucket, &[cve("CVE-2026-1234")]).await.expect("stored");
    let two = [cve("CVE-2026-1234"), cve("CVE-2026-1999")];
    feed_chunks::put(&mut tx, feed(1).id, part, &bucket, &two).await.expect("stored");
    feed_chunks::put(&mut tx, feed(2).id, part, &bucket, &two[..1]).await.expect("stored");
    feed_chunks::put(&mut tx, feed(1).id, part, "gone", &two).await.expect("stored");
    feed_chunks::remove(&mut tx, feed(1).id, part, "gone").await.expect("removed");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let mine: Vec<Vulnerability> = feed_chunks::of_bucket(&mut c, feed(1).id, part, &bucket).await.expect("read");
    assert_eq!(mine, two);
    let all = feed_chunks::everywhere::<Vulnerability>(&mut c, part, &bucket).await.expect("read");
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 3);
    let digests = feed_chunks::digests(&mut c, feed(1).id, part).await.expect("read");
    assert_eq!(digests, HashMap::from([(bucket.clone(), feed_chunks::digest(&two).expect("a digest"))]));
    assert_eq!(feed_chunks::buckets(&mut c, feed(1).id, part).await.expect("read"), [bucket]);
    assert_eq!(feed_chunks::entries(&mut c, feed(1).id, part).await.expect("read"), 2);
    assert_eq!(feed_chunks::entries(&mut c, feed(1).id, FeedPart::Statements).await.expect("read"), 0);
}

async fn hosts_of_which_the_same_is_true_share_a_set(a: Store, b: Store) {
    world(&a, 0, 0).await;
    let open = OpenCves::from([("CVE-2026-1".to_owned(), at(1)), ("CVE-2026-2".to_owned(), at(2))]);
    let mut tx = a.begin().await.expect("begins");
    let one = open_cves::put(&mut tx, instance(1).id, &OpenCves::new(), at(0)).await.expect("stored");
    let same = open_cves::put(&mut tx, instance(2).id, &open, at(3)).await.expect("stored");
    assert_eq!(open_cves::put(&mut tx, instance(1).id, &open, at(4)).await.expect("stored"), same);
    assert_ne!(one, same);
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let all = open_cves::all(&mut c).await.expect("read");
    assert_eq!((all.hosts.len(), all.sets.len()), (2, 1));
    assert_eq!(all.sets[&same], open);
    assert_eq!(open_cves::of_host(&mut c, instance(1).id).await.expect("read"), Some(open));
    assert_eq!(open_cves::of_host(&mut c, instance(3).id).await.expect("read"), None);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert_eq!(open_cves::forget_unused(&mut tx, at(-1)).await.expect("asked"), 0);
    assert_eq!(open_cves::forget_unused(&mut tx, at(9)).await.expect("asked"), 1, "the empty set");
    instances::delete(&mut tx, instance(1).id).await.expect("deleted");
    commit(tx).await.expect("committed");
    assert_eq!(open_cves::all(&mut b.read().await.expect("reads")).await.expect("read").hosts.len(), 1);
}

async fn exceptions_and_settings_change_by_version(a: Store, b: Store) {
    let exception = |n: u128| ExceptionRecord {
        id: ExceptionId(id(n)),
        cve: "CVE-2026-1".into(),
        scope: "{}".into(),
        owner: "o".into(),
        reason: "r".into(),
        created_by: "me".into(),
        created_at: at(0),
        expires_at: (n == 1).then(|| at(9)),
        version: 1,
        compartment: "/".into(),
    };
    let mut tx = a.begin().await.expect("begins");
    exceptions::insert(&mut tx, &exception(1)).await.expect("stored");
    exceptions::insert(&mut tx, &exception(2)).await.expect("stored");
    let edited = ExceptionRecord { reason: "s".into(), expires_at: None, ..exception(1) };
    assert!(exceptions::update(&mut tx, &edited).await.expect("asked"));
    assert!(!exceptions::update(&mut tx, &edited).await.expect("asked"), "another version");
    settings::put(&mut tx, "sla", "{}", "me", at(1)).await.expect("stored");
    settings::put(&mut tx, "sla", "{\"a\":1}", "you", at(2)).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let edited = ExceptionRecord { version: 2, ..edited };
    assert_eq!(exceptions::list(&mut c).await.expect("read"), [exception(2), edited.clone()]);
    assert_eq!(exceptions::find(&mut c, edited.id).await.expect("read"), Some(edited.clone()));
    let setting = settings::find(&mut c, "sla").await.expect("read").expect("there");
    assert_eq!((setting.body.as_str(), setting.changed_by.as_str(), setting.version), ("{\"a\":1}", "you", 2));
    assert_eq!(settings::find(&mut c, "none").await.expect("read"), None);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(exceptions::delete(&mut tx, edited.id).await.expect("asked"));
    assert!(!exceptions::delete(&mut tx, edited.id).await.expect("asked"));
}

async fn scopes_look_at_group_and_labels_of_active_hosts(a: Store, b: Store) {
    world(&a, 0, 0).await;
    let mut tx = a.begin().await.expect("begins");
    for gone in [2, 3] {
        instances::delete(&mut tx, instance(gone).id).await.expect("deleted");
    }
    let pending = InstanceRecord { state: InstanceState::Pending, ..instance(4) };
    instances::insert(&mut tx, &pending).await.expect("stored");
    commit(tx).await.expect("committed");
    let found = exceptions::hosts(&mut b.read().await.expect("reads")).await.expect("read");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].instance, found[0].group), (instance(1).id, None));
    assert_eq!(found[0].labels, instance(1).labels);
    assert_eq!(found[0].facts().labels.get("n").map(String::as_str), Some("1"));
}
