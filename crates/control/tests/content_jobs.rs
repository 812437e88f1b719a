//! Content jobs under bad luck: servers that die anywhere in them, two servers on one store, cancellations, and what is
//! freed when nothing refers to it.
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::sources::{Yum, promotion};
use common::*;
use drydock_control::reconcile::Runner;
use drydock_control::store::{Location, Store};
use drydock_control::{Config, ContentJobQuery, Control, ErrorKind, WorkKey};
use drydock_domain::source::environment::EnvironmentSpec;
use drydock_domain::source::job::{ContentJobKind, ContentJobState};

/// Turns of a test that waits for something, count: each is a millisecond.
const PATIENCE: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_anywhere_in_a_sync_loses_nothing_and_shows_no_half() {
    let yum = Yum::new(200);
    let mut interrupted = 0;
    for kill_after_ms in [0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128] {
        let mut w = World::new().await;
        w.collected().await;
        w.control.create_source(&w.server(), yum.spec("base", "")).await.expect("a source");
        let job = w.control.sync_source(&w.server(), "base").await.expect("a job").id;
        let mut runner = Runner::default();
        assert!(runner.turn(&w.control).await.is_empty());
        tokio::time::sleep(Duration::from_millis(kill_after_ms)).await;
        drop(runner);
        w.restart().await;
        let left = w.content_job(job).await;
        let source = w.control.get_source(&w.server(), "base").await.expect("the source");
        if left.state == ContentJobState::Running {
            interrupted += 1;
            assert!(source.current.is_none(), "no half of it is seen");
            let mut next = Runner::default();
            next.turn(&w.control).await;
            next.idle().await;
            assert_eq!(w.content_job(job).await.state, ContentJobState::Running, "its lease still runs");
            w.pass(31);
        } else {
            assert_eq!(left.state, ContentJobState::Succeeded);
            assert_eq!(source.current.expect("a snapshot").number, 1);
        }
        w.run_jobs().await;
        assert_eq!(w.content_job(job).await.state, ContentJobState::Succeeded, "{}", w.content_job(job).await.message);
        let source = w.control.get_source(&w.server(), "base").await.expect("the source");
        let current = source.current.expect("a snapshot");
        assert_eq!((current.number, current.stats.packages), (1, 200), "once");
    }
    assert!(interrupted > 0, "no kill came in time to be one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_store_never_run_one_job_at_once() {
    let w = World::new().await;
    let yum = Yum::new(50);
    for n in 0..4 {
        w.control.create_source(&w.server(), yum.spec(&format!("s{n}"), "")).await.expect("a source");
    }
    w.run_jobs().await;
    for n in 0..4 {
        w.control.sync_source(&w.server(), &format!("s{n}")).await.expect("a job");
        // The same again is the same job.
        w.control.sync_source(&w.server(), &format!("s{n}")).await.expect("a job");
    }
    let other = w.second().await;
    let (mut one, mut two) = (Runner::default(), Runner::default());
    for _ in 0..PATIENCE {
        w.tick();
        let (a, b) = tokio::join!(one.turn(&w.control), two.turn(&other));
        assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
        if w.open_content_jobs().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let query = ContentJobQuery { kind: Some(ContentJobKind::Sync), ..ContentJobQuery::default() };
    let jobs = w.control.list_content_jobs(&w.server(), &query).await.expect("jobs").items;
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().all(|j| j.state == ContentJobState::Succeeded), "{jobs:?}");
    for job in &jobs {
        let source = job.source.as_deref().expect("a source");
        let snapshots = w.control.list_snapshots(&w.server(), source, &Default::default()).await.expect("snapshots").items;
        assert_eq!(snapshots.len(), 1, "{source} was taken in once");
    }
    let attempts = w.attempts().await;
    assert!(attempts.iter().all(|n| *n == 1), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_lost_its_lease_shows_nothing() {
    let w = World::new().await;
    w.collected().await;
    let yum = Yum::new(300);
    w.control.create_source(&w.server(), yum.spec("base", "")).await.expect("a source");
    let job = w.control.sync_source(&w.server(), "base").await.expect("a job").id;
    let (mut slow, mut fast) = (Runner::default(), Runner::default());
    assert!(slow.turn(&w.control).await.is_empty());
    // The clock jumps: the lease is over before the first one could renew it.
    w.pass(3600);
    let other = w.second().await;
    for _ in 0..PATIENCE {
        fast.turn(&other).await;
        fast.idle().await;
        if w.content_job(job).await.state.is_final() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slow.idle().await;
    let done = w.content_job(job).await;
    assert_eq!(done.state, ContentJobState::Succeeded, "{}", done.message);
    let snapshots = w.control.list_snapshots(&w.server(), "base", &Default::default()).await.expect("snapshots").items;
    assert_eq!(snapshots.iter().map(|s| s.number).collect::<Vec<_>>(), [1], "one of them wrote it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_cancelled_before_it_begins_and_while_it_works() {
    let w = World::new().await;
    w.collected().await;
    // Nobody answers there: the sync waits until it is cancelled.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let spec = format!(r#"{{"name":"slow","format":"rpm","origin":{{"upstream":{{"urls":["{url}"]}}}}}}"#);
    w.control.create_source(&w.server(), common::sources::spec(&spec)).await.expect("a source");
    let job = w.control.sync_source(&w.server(), "slow").await.expect("a job").id;
    let done = w.control.cancel_content_job(&w.server(), job).await.expect("cancelled");
    assert_eq!(done.state, ContentJobState::Canceled);
    assert_eq!(w.control.cancel_content_job(&w.server(), job).await.expect_err("over").kind(), ErrorKind::Conflict);

    let job = w.control.sync_source(&w.server(), "slow").await.expect("a job").id;
    let mut runner = Runner::default();
    assert!(runner.turn(&w.control).await.is_empty());
    assert_eq!(w.content_job(job).await.state, ContentJobState::Running);
    let asked = w.control.cancel_content_job(&w.server(), job).await.expect("asked");
    assert!(asked.cancel_requested);
    tokio::time::timeout(Duration::from_secs(20), runner.idle()).await.expect("ends soon");
    assert_eq!(w.content_job(job).await.state, ContentJobState::Canceled);
    let source = w.control.get_source(&w.server(), "slow").await.expect("the source");
    assert_eq!(source.failures, 0, "a person's wish is no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_gives_its_jobs_back_at_once() {
    let w = World::new().await;
    w.collected().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let spec = format!(r#"{{"name":"slow","format":"rpm","origin":{{"upstream":{{"urls":["{url}"]}}}}}}"#);
    w.control.create_source(&w.server(), common::sources::spec(&spec)).await.expect("a source");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(drydock_control::reconcile::run(w.control.clone(), stopped));
    let job = w.control.sync_source(&w.server(), "slow").await.expect("a job").id;
    let mut watch = w.control.watch_content_job(job);
    let claimed = async {
        while w.content_job(job).await.state != ContentJobState::Running {
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), claimed).await.expect("claimed");
    stop.send(true).expect("it listens");
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("ends").expect("without a panic");
    // No time goes by, and the next server has it.
    let mut next = Runner::default();
    assert!(next.turn(&w.control).await.is_empty());
    assert_eq!(w.attempts().await.iter().max(), Some(&2));
}

#[tokio::test]
async fn what_nothing_refers_to_is_freed_and_the_rest_is_not() {
    let w = World::new().await;
    let yum = Yum::new(20);
    w.synced(&yum, "base").await;
    let content = w.dir.path().join("content");
    std::fs::create_dir_all(content.join("blobs/00")).expect("a directory");
    std::fs::write(content.join("blobs/00").join("0".repeat(62)), b"nobody's").expect("written");
    let dry = w.control.collect_garbage(&w.server(), true).await.expect("a look");
    assert_eq!((dry.dry_run, dry.blobs.count), (true, 1), "{dry:?}");
    assert!(content.join("blobs/00").join("0".repeat(62)).exists());
    let freed = w.control.collect_garbage(&w.server(), false).await.expect("collected");
    assert_eq!(freed.blobs.count, 1);
    assert!(!content.join("blobs/00").join("0".repeat(62)).exists());
    let viewer = w.person(drydock_domain::access::Role::Viewer).await;
    assert_eq!(w.control.collect_garbage(&viewer, true).await.expect_err("denied").kind(), ErrorKind::Forbidden);
    // Everything a snapshot is made of is still there.
    let units = w.control.snapshot_units(&w.server(), "base", "1", &Default::default()).await.expect("units").units;
    assert_eq!(units.len(), 20);
    yum.publish(20, 2, 0);
    w.sync("base").await;
    let diff = w.control.snapshot_diff(&w.server(), "base", "1", "latest", Some(5)).await.expect("a difference");
    assert_eq!((diff.counts.added, diff.counts.removed, diff.changes.len(), diff.truncated), (20, 0, 5, true));
    // Once a day by itself.
    let query = ContentJobQuery { kind: Some(ContentJobKind::Collect), ..ContentJobQuery::default() };
    let collections = || async { w.control.list_content_jobs(&w.server(), &query).await.expect("jobs").items.len() };
    let before = collections().await;
    w.pass(25 * 3600);
    w.run_jobs().await;
    assert_eq!(collections().await, before + 1);
}

#[tokio::test]
async fn without_content_the_operations_say_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&Location::Sqlite(dir.path().join("d.sqlite"))).await.expect("a store");
    let (key, _) = WorkKey::generate().expect("a key");
    let control = Control::new(store, Config::default(), key, std::sync::Arc::new(drydock_control::SystemClock));
    let ctx = control.ctx(drydock_control::Principal::Server, "x");
    let yum = r#"{"name":"a","format":"rpm","origin":{"local":{}}}"#;
    let refused = control.create_source(&ctx, common::sources::spec(yum)).await.expect_err("no content");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let prod = EnvironmentSpec { name: "prod".into(), description: String::new(), rank: 1, compartment: None };
    control.create_environment(&ctx, prod).await.expect("needs none");
    assert_eq!(control.promote(&ctx, "prod", promotion("{}")).await.expect_err("no content").kind(), ErrorKind::Unavailable);
    assert!(drydock_control::reconcile::turn(&control).await.is_empty());
    assert!(Runner::default().turn(&control).await.is_empty());
}
