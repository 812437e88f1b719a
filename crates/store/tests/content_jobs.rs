//! The store's suite around content jobs and their leases, and the keys of content certificates; on SQLite always and
//! on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::rows::{at, instance, page};
use common::sources::*;
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::Finding;
use drydock_domain::source::job::ContentJobKind::{Collect, Derive, Sync, Upload};
use drydock_domain::source::job::{ContentJobState, JobProgress};
use drydock_store::content_jobs::{End, Renewal};
use drydock_store::source_records::*;
use drydock_store::{Store, commit, content_jobs, instances, sources};

const CASES: [Case; 8] = crate::cases![
    one_sync_waits_for_a_source,
    a_job_is_claimed_renewed_and_ended_by_its_holder,
    a_job_whose_holder_died_is_claimed_again,
    one_job_runs_on_a_source,
    of_many_claims_each_job_goes_to_one,
    of_two_claims_one_gets_the_job_whose_lease_ended,
    cancelled_and_old_jobs,
    a_content_key_stays_good_until_the_next_but_one,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

async fn add(store: &Store, jobs: &[ContentJobRecord]) -> Vec<bool> {
    let mut tx = store.begin().await.expect("begins");
    let mut added = Vec::new();
    for job in jobs {
        added.push(content_jobs::insert(&mut tx, job).await.expect("stored"));
    }
    commit(tx).await.expect("committed");
    added
}

async fn claim(store: &Store, owner: &str, now: i64) -> Option<ContentJobRecord> {
    content_jobs::claim(store, owner, at(now), at(now + 60)).await.expect("asked")
}

async fn finish(store: &Store, job: &ContentJobRecord, owner: &str, state: ContentJobState, now: i64) -> bool {
    let mut tx = store.begin().await.expect("begins");
    let end = End { state, message: "over\0", findings: &[Finding { subject: "s".into(), message: "m".into() }], at: at(now) };
    let ended = content_jobs::finish(&mut tx, job.id, owner, &end).await.expect("asked");
    commit(tx).await.expect("committed");
    ended
}

async fn read(store: &Store, job: &ContentJobRecord) -> ContentJobRecord {
    content_jobs::find(&mut store.read().await.expect("reads"), job.id).await.expect("read").expect("there")
}

async fn one_sync_waits_for_a_source(a: Store, b: Store) {
    world(&a, 2, 0).await;
    let jobs = [job(1, Sync, Some(1)), job(2, Sync, Some(1)), job(3, Derive, Some(1)), job(4, Sync, Some(2))];
    assert_eq!(add(&a, &jobs).await, [true, false, true, true], "a second one is not needed");
    let uploads = [job(5, Upload, Some(1)), job(6, Upload, Some(1)), job(7, Collect, None)];
    assert_eq!(add(&a, &uploads).await, [true, true, true], "each upload brings other files");
    let mut c = b.read().await.expect("reads");
    let waiting = content_jobs::waiting(&mut c, source_id(1), Sync).await.expect("read");
    assert_eq!(waiting, Some(job(1, Sync, Some(1))), "that is the one");
    assert_eq!(content_jobs::waiting(&mut c, source_id(2), Derive).await.expect("read"), None);
    assert_eq!(content_jobs::open(&mut c, None).await.expect("read").len(), 6);
    assert_eq!(content_jobs::open(&mut c, Some(source_id(1))).await.expect("read").len(), 4);
    let newest = content_jobs::newest_of(&mut c, &[source_id(1), source_id(2), source_id(9)]).await.expect("read");
    let ids: BTreeMap<_, _> = newest.into_iter().map(|(s, j)| (s, j.id)).collect();
    assert_eq!(ids, BTreeMap::from([(source_id(1), uploads[1].id), (source_id(2), jobs[3].id)]));
    let two = content_jobs::find_all(&mut c, &[jobs[0].id, jobs[1].id, jobs[2].id]).await.expect("read");
    assert_eq!(two.len(), 2, "the refused one is not there");

    let all = ContentJobQuery { page: page(4, None), ..ContentJobQuery::default() };
    let first = content_jobs::list(&mut c, &all, &Scope::Everywhere).await.expect("read");
    assert_eq!(first.items.first().map(|j| j.id), Some(uploads[2].id), "newest first");
    let rest = ContentJobQuery { page: page(4, first.next_cursor), ..ContentJobQuery::default() };
    assert_eq!(content_jobs::list(&mut c, &rest, &Scope::Everywhere).await.expect("read").items.len(), 2);
    let of_one = ContentJobQuery { source: Some(source_id(1)), kind: Some(Upload), ..ContentJobQuery::default() };
    assert_eq!(content_jobs::list(&mut c, &of_one, &Scope::Everywhere).await.expect("read").items.len(), 2);
    let running = ContentJobQuery { state: Some(ContentJobState::Running), ..ContentJobQuery::default() };
    assert_eq!(content_jobs::list(&mut c, &running, &Scope::Everywhere).await.expect("read").items, []);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(content_jobs::set_input(&mut tx, uploads[0].id, r#"{"files":[]}"#).await.expect("stored"));
    commit(tx).await.expect("committed");
    assert_eq!(read(&b, &uploads[0]).await.input.as_deref(), Some(r#"{"files":[]}"#));
}

async fn a_job_is_claimed_renewed_and_ended_by_its_holder(a: Store, b: Store) {
    world(&a, 1, 0).await;
    add(&a, &[job(1, Sync, Some(1))]).await;
    let got = claim(&a, "one", 100).await.expect("claimed");
    let expected = ContentJobRecord {
        state: ContentJobState::Running,
        started_at: Some(at(100)),
        attempts: 1,
        lease_owner: Some("one".into()),
        lease_until: Some(at(160)),
        version: 2,
        ..job(1, Sync, Some(1))
    };
    assert_eq!(got, expected);
    assert_eq!(claim(&b, "two", 159).await, None, "the lease holds");

    let progress = JobProgress { stage: "packages".into(), done: 3, total: Some(9) };
    let mut tx = b.begin().await.expect("begins");
    let stolen = content_jobs::renew(&mut tx, got.id, "two", at(500), &progress).await.expect("asked");
    assert_eq!(stolen, Renewal::Lost, "only the holder renews");
    let held = content_jobs::renew(&mut tx, got.id, "one", at(220), &progress).await.expect("stored");
    assert_eq!(held, Renewal::Held);
    assert!(!content_jobs::set_input(&mut tx, got.id, "{}").await.expect("asked"), "it runs");
    commit(tx).await.expect("committed");
    assert_eq!(read(&a, &got).await.progress, progress);
    assert_eq!(claim(&b, "two", 200).await, None, "the renewed lease holds");

    assert!(!finish(&b, &got, "two", ContentJobState::Failed, 210).await, "only the holder ends it");
    assert!(finish(&a, &got, "one", ContentJobState::Succeeded, 215).await);
    assert!(!finish(&a, &got, "one", ContentJobState::Failed, 216).await, "what is over is over");
    let over = read(&b, &got).await;
    assert_eq!((over.state, over.finished_at, over.lease_owner), (ContentJobState::Succeeded, Some(at(215)), None));
    assert_eq!((over.message.as_str(), over.findings_total), ("over\u{fffd}", 1));
    let mut c = b.read().await.expect("reads");
    assert_eq!(content_jobs::findings(&mut c, got.id).await.expect("read")[0].subject, "s");
    drop(c);
    let mut tx = b.begin().await.expect("begins");
    let late = content_jobs::renew(&mut tx, got.id, "one", at(900), &progress).await.expect("asked");
    assert_eq!(late, Renewal::Lost);
    drop(tx);
    assert_eq!(claim(&b, "two", 10_000).await, None, "a finished job is not claimed");
}

async fn a_job_whose_holder_died_is_claimed_again(a: Store, b: Store) {
    world(&a, 1, 0).await;
    add(&a, &[job(1, Sync, Some(1))]).await;
    let first = claim(&a, "one", 100).await.expect("claimed");
    let again = claim(&b, "two", 160).await.expect("the lease has ended");
    assert_eq!((again.id, again.attempts, again.started_at), (first.id, 2, Some(at(100))));
    let mut tx = a.begin().await.expect("begins");
    let renewed = content_jobs::renew(&mut tx, first.id, "one", at(999), &JobProgress::default()).await.expect("asked");
    assert_eq!(renewed, Renewal::Lost, "the first holder has lost it");
    drop(tx);
    assert!(!finish(&a, &first, "one", ContentJobState::Succeeded, 170).await, "and writes nothing");
    let mut tx = b.begin().await.expect("begins");
    assert!(!content_jobs::give_back(&mut tx, first.id, "one").await.expect("asked"));
    assert!(content_jobs::give_back(&mut tx, first.id, "two").await.expect("stored"));
    commit(tx).await.expect("committed");
    assert_eq!(claim(&a, "three", 171).await.expect("given back").attempts, 3);
}

async fn one_job_runs_on_a_source(a: Store, b: Store) {
    world(&a, 2, 0).await;
    add(&a, &[job(1, Sync, Some(1)), job(2, Upload, Some(1)), job(3, Sync, Some(2)), job(4, Collect, None)]).await;
    let mut ids = Vec::new();
    for owner in ["a", "b", "c", "d"] {
        ids.push(claim(&b, owner, 100).await.map(|j| j.id));
    }
    let expected = [job(1, Sync, None).id, job(3, Sync, None).id, job(4, Collect, None).id];
    assert_eq!(ids, [Some(expected[0]), Some(expected[1]), Some(expected[2]), None], "the upload waits for the sync");
    assert_eq!(add(&a, &[job(5, Sync, Some(1))]).await, [true], "another sync may wait behind the running one");
    let dead = claim(&b, "e", 160).await.expect("the lease has ended");
    assert_eq!(dead.id, expected[0], "a dead holder's job goes before what waits for it");
    assert!(finish(&b, &dead, "e", ContentJobState::Failed, 161).await);
    assert_eq!(claim(&a, "f", 162).await.map(|j| j.id), Some(job(2, Upload, None).id));
}

async fn of_many_claims_each_job_goes_to_one(a: Store, b: Store) {
    let jobs = 12;
    world(&a, jobs, 0).await;
    add(&a, &(1..=jobs).map(|n| job(n, Sync, Some(n))).collect::<Vec<_>>()).await;
    let worker = |store: Store, name: &'static str| async move {
        let mut won = Vec::new();
        let mut turn = 0;
        // A lost race answers `None` while others wait: look until nothing waits.
        while content_jobs::open(&mut store.read().await.expect("reads"), None)
            .await
            .expect("read")
            .iter()
            .any(|j| j.state == ContentJobState::Pending)
        {
            turn += 1;
            let owner = format!("{name} {turn}");
            if let Some(job) = claim(&store, &owner, 100).await {
                assert_eq!(job.lease_owner, Some(owner));
                won.push(job.id);
            }
        }
        won
    };
    let workers = [
        tokio::spawn(worker(a.clone(), "a")),
        tokio::spawn(worker(a.clone(), "b")),
        tokio::spawn(worker(b.clone(), "c")),
        tokio::spawn(worker(b.clone(), "d")),
    ];
    let mut won = Vec::new();
    for worker in workers {
        won.extend(worker.await.expect("ran"));
    }
    won.sort_unstable();
    assert_eq!(won, (1..=jobs).map(|n| job(n, Sync, None).id).collect::<Vec<_>>(), "each once");
    for n in 1..=jobs {
        assert_eq!(read(&b, &job(n, Sync, None)).await.attempts, 1);
    }
}

async fn of_two_claims_one_gets_the_job_whose_lease_ended(a: Store, b: Store) {
    world(&a, 1, 0).await;
    add(&a, &[job(1, Sync, Some(1))]).await;
    claim(&a, "first", 0).await.expect("claimed");
    for round in 1..=10i64 {
        let now = round * 1000;
        let (one, two) = (a.clone(), b.clone());
        let one = tokio::spawn(async move { claim(&one, "one", now).await });
        let two = tokio::spawn(async move { claim(&two, "two", now).await });
        let won = [one.await.expect("ran"), two.await.expect("ran")];
        assert_eq!(won.iter().flatten().count(), 1, "{won:?}");
    }
    assert_eq!(read(&a, &job(1, Sync, None)).await.attempts, 11);
}

async fn cancelled_and_old_jobs(a: Store, b: Store) {
    world(&a, 2, 0).await;
    let (waits, runs, other) = (job(2, Upload, Some(1)), job(1, Sync, Some(1)), job(3, Sync, Some(2)));
    add(&a, &[runs.clone(), waits.clone(), other.clone()]).await;
    claim(&a, "one", 100).await.expect("claimed");
    let mut tx = b.begin().await.expect("begins");
    let state = content_jobs::cancel(&mut tx, waits.id, at(101)).await.expect("stored");
    assert_eq!(state, Some(ContentJobState::Canceled), "at once");
    assert_eq!(content_jobs::cancel(&mut tx, waits.id, at(102)).await.expect("asked"), None, "it is over");
    let state = content_jobs::cancel(&mut tx, runs.id, at(102)).await.expect("stored");
    assert_eq!(state, Some(ContentJobState::Running), "its holder is asked");
    let renewed = content_jobs::renew(&mut tx, runs.id, "one", at(200), &JobProgress::default()).await.expect("stored");
    assert_eq!(renewed, Renewal::CancelRequested);
    commit(tx).await.expect("committed");
    assert_eq!(read(&a, &waits).await.finished_at, Some(at(101)));
    assert!(finish(&a, &runs, "one", ContentJobState::Canceled, 110).await);

    let forget = |before: i64| {
        let store = a.clone();
        async move {
            let mut tx = store.begin().await.expect("begins");
            let forgotten = content_jobs::forget(&mut tx, at(before)).await.expect("stored");
            commit(tx).await.expect("committed");
            forgotten
        }
    };
    assert_eq!(forget(101).await, 0, "nothing is that old");
    assert_eq!(forget(1000).await, 1, "but the newest of each source");
    assert_eq!(content_jobs::find(&mut b.read().await.expect("reads"), runs.id).await.expect("read"), None);
    assert_eq!(read(&b, &other).await.state, ContentJobState::Pending);
    let mut tx = a.begin().await.expect("begins");
    assert!(sources::delete(&mut tx, source_id(1), 1).await.expect("stored"));
    commit(tx).await.expect("committed");
    assert_eq!(
        content_jobs::find(&mut b.read().await.expect("reads"), waits.id).await.expect("read"),
        None,
        "gone with its source"
    );
}

async fn a_content_key_stays_good_until_the_next_but_one(a: Store, b: Store) {
    world(&a, 0, 0).await;
    let host = instance(1).id;
    let set = |key: &'static str, state: InstanceState| {
        let store = a.clone();
        async move {
            let mut tx = store.begin().await.expect("begins");
            let stored = instances::set_content_key(&mut tx, host, key, state).await.expect("asked");
            commit(tx).await.expect("committed");
            stored
        }
    };
    let active = InstanceState::Active;
    assert!(!set("k1", InstanceState::Pending).await, "in another state");
    for key in ["k1", "k1", "k2", "k2"] {
        assert!(set(key, active).await);
    }
    let known = |key: &'static str| {
        let store = b.clone();
        async move {
            let mut c = store.read().await.expect("reads");
            instances::find_by_content_key(&mut c, key).await.expect("read").map(|i| i.id)
        }
    };
    assert_eq!((known("k1").await, known("k2").await, known("k3").await), (Some(host), Some(host), None));
    assert!(set("k3", active).await);
    assert_eq!((known("k1").await, known("k2").await, known("k3").await), (None, Some(host), Some(host)));
    let record = instances::find(&mut b.read().await.expect("reads"), host).await.expect("read").expect("there");
    assert_eq!((record.content_spki_sha256.as_deref(), record.previous_content_spki_sha256.as_deref()), (Some("k3"), Some("k2")));
    assert_eq!(record.version, 1, "not an edit by a person");
    let mut tx = a.begin().await.expect("begins");
    let taken = instances::set_content_key(&mut tx, instance(2).id, "k3", active).await;
    assert!(taken.expect_err("refused").is_duplicate(), "one key, one host");
}
