//! The store's suite around patch deployments, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, page};
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::ids::{DeploymentId, ExecutionId, JobId};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, PatchDeploymentSpec};
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_store::deployments::{DeploymentRecord, ExecutionRecord};
use drydock_store::records::{JobQuery, JobRecord};
use drydock_store::{Store, commit, deployments, patch_jobs};

const CASES: [Case; 5] = crate::cases![
    deployments_are_kept_whole_and_changed_by_version,
    what_is_due_comes_in_its_order,
    a_moment_is_decided_once_also_by_two_servers,
    jobs_name_their_deployment_and_their_first_run,
    a_deployment_goes_with_its_executions_and_leaves_its_jobs,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn deployment(n: u128, next: Option<i64>) -> DeploymentRecord {
    let spec = format!(
        r#"{{"name":"d{n}","instanceFilter":{{"all":true}},"overlap":"queue","recurringSchedule":{{"timeZone":{{"id":"UTC"}},
        "timeOfDay":{{"hours":3}},"frequency":"DAILY"}}}}"#
    );
    DeploymentRecord {
        id: DeploymentId(id(80_000 + n)),
        spec: serde_json::from_str::<PatchDeploymentSpec>(&spec).expect("a spec"),
        state: DeploymentState::Active,
        paused_by: String::new(),
        created_by: "me".into(),
        created_at: at(0),
        updated_at: at(0),
        next_at: next.map(at),
        last_at: None,
        last_job: None,
        compartment: "/A".into(),
        owner: "user 7".into(),
        version: 1,
    }
}

fn execution(n: u128, of: u128, due: Option<i64>, outcome: ExecutionOutcome) -> ExecutionRecord {
    ExecutionRecord {
        id: ExecutionId(id(90_000 + n)),
        deployment: deployment(of, None).id,
        due_at: due.map(at),
        at: at(5),
        outcome,
        reason: "why".into(),
        who: "me".into(),
        job: None,
    }
}

fn job(n: u128, origin: JobOrigin, state: JobState) -> JobRecord {
    JobRecord {
        id: JobId(id(1000 + n)),
        spec: serde_json::from_str(r#"{"instanceFilter":{"all":true}}"#).expect("a spec"),
        state,
        created_by: "me".into(),
        created_at: at(0),
        deadline: None,
        finished_at: None,
        cancel_requested: false,
        kill_requested: false,
        error_message: String::new(),
        origin,
        control: Default::default(),
        plans: vec![],
        compartment: "/A".into(),
        owner: "token 7".into(),
        version: 1,
    }
}

async fn insert(store: &Store, deployment: &DeploymentRecord) {
    let mut tx = store.begin().await.expect("begins");
    deployments::insert(&mut tx, deployment).await.expect("stored");
    commit(tx).await.expect("committed");
}

async fn deployments_are_kept_whole_and_changed_by_version(a: Store, b: Store) {
    insert(&a, &deployment(2, None)).await;
    insert(&a, &deployment(1, Some(60))).await;
    let mut tx = a.begin().await.expect("begins");
    let again = DeploymentRecord { id: DeploymentId(id(9)), ..deployment(1, None) };
    assert!(deployments::insert(&mut tx, &again).await.expect_err("refused").is_duplicate());
    drop(tx);
    let mut c = b.read().await.expect("reads");
    let elsewhere = Scope::In(vec!["/".into(), "/B".into()]);
    assert!(deployments::list(&mut c, &page(9, None), &elsewhere).await.expect("read").items.is_empty());
    let first = deployments::list(&mut c, &page(1, None), &Scope::Everywhere).await.expect("read");
    assert_eq!(first.items, [deployment(1, Some(60))], "by name");
    let rest = deployments::list(&mut c, &page(1, first.next_cursor), &Scope::Everywhere).await.expect("read");
    assert_eq!((rest.items, rest.next_cursor), (vec![deployment(2, None)], None));
    assert_eq!(deployments::count(&mut c).await.expect("read"), 2);
    assert_eq!(deployments::find_by_name(&mut c, "d\0").await.expect("read"), None);
    drop(c);
    let mut after = deployment(1, Some(120));
    after.state = DeploymentState::Paused;
    after.paused_by = "alice".into();
    after.updated_at = at(9);
    after.last_at = Some(at(8));
    after.last_job = Some(JobId(id(4)));
    after.spec.description = "x".into();
    let mut tx = a.begin().await.expect("begins");
    assert!(deployments::update(&mut tx, &after).await.expect("asked"));
    assert!(!deployments::update(&mut tx, &after).await.expect("asked"), "the version was another");
    commit(tx).await.expect("committed");
    let expected = DeploymentRecord { version: 2, ..after };
    assert_eq!(deployments::find(&mut b.read().await.expect("reads"), expected.id).await.expect("read"), Some(expected));
}

async fn what_is_due_comes_in_its_order(a: Store, b: Store) {
    for (n, next) in [(1, Some(30)), (2, None), (3, Some(10)), (4, Some(31))] {
        insert(&a, &deployment(n, next)).await;
    }
    let mut c = b.read().await.expect("reads");
    let names = |found: Vec<DeploymentRecord>| found.into_iter().map(|d| d.spec.name).collect::<Vec<_>>();
    assert_eq!(names(deployments::due(&mut c, at(9), 10).await.expect("read")), [""; 0]);
    assert_eq!(names(deployments::due(&mut c, at(30), 10).await.expect("read")), ["d3", "d1"]);
    assert_eq!(names(deployments::due(&mut c, at(99), 2).await.expect("read")), ["d3", "d1"]);
}

async fn a_moment_is_decided_once_also_by_two_servers(a: Store, b: Store) {
    use ExecutionOutcome::{Queued, Skipped, Started};
    insert(&a, &deployment(1, Some(10))).await;
    // Both servers read the same row; the first one's change makes the second one's void.
    let seen = deployments::due(&mut a.read().await.expect("reads"), at(10), 5).await.expect("read").remove(0);
    let turn = |store: Store, n: u128, seen: DeploymentRecord| async move {
        let mut tx = store.begin().await.expect("begins");
        let moved = DeploymentRecord { next_at: Some(at(20)), ..seen };
        if !deployments::update(&mut tx, &moved).await.expect("asked") {
            return false;
        }
        assert!(deployments::insert_execution(&mut tx, &execution(n, 1, Some(10), Started)).await.expect("stored"));
        commit(tx).await.expect("committed");
        true
    };
    let (first, second) = tokio::join!(turn(a.clone(), 1, seen.clone()), turn(b.clone(), 2, seen));
    assert!(first ^ second, "{first} {second}");

    let mut tx = a.begin().await.expect("begins");
    let again = execution(3, 1, Some(10), Skipped);
    assert!(!deployments::insert_execution(&mut tx, &again).await.expect("asked"), "decided already");
    for n in [4, 5] {
        let asked = execution(n, 1, None, Queued);
        assert!(deployments::insert_execution(&mut tx, &asked).await.expect("stored"), "people may ask any time");
    }
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let decided = deployments::decided(&mut c, deployment(1, None).id, at(10)).await.expect("read").expect("there");
    assert_eq!((decided.outcome, decided.due_at), (Started, Some(at(10))));
    assert_eq!(deployments::decided(&mut c, deployment(1, None).id, at(20)).await.expect("read"), None);
    let waits = deployments::queued(&mut c, deployment(1, None).id).await.expect("read").expect("there");
    assert_eq!(waits, execution(4, 1, None, Queued));
    assert_eq!(deployments::waiting(&mut c, 5).await.expect("read").len(), 1, "once, though two wait");
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    let begun = ExecutionRecord { outcome: Started, reason: String::new(), at: at(50), job: Some(JobId(id(1))), ..waits };
    assert!(deployments::end_wait(&mut tx, &begun).await.expect("asked"));
    assert!(!deployments::end_wait(&mut tx, &begun).await.expect("asked"), "it waits no more");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let newest = deployments::executions(&mut c, deployment(1, None).id, &page(2, None)).await.expect("read");
    assert_eq!(newest.items, [execution(5, 1, None, Queued), begun.clone()], "newest first");
    let rest = deployments::executions(&mut c, deployment(1, None).id, &page(2, newest.next_cursor)).await.expect("read");
    assert_eq!(rest.items.len(), 1);
    assert_eq!(deployments::find_execution(&mut c, begun.id).await.expect("read"), Some(begun));
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert_eq!(deployments::forget_executions(&mut tx, 1).await.expect("done"), 2, "one that waits stays");
    commit(tx).await.expect("committed");
}

async fn jobs_name_their_deployment_and_their_first_run(a: Store, b: Store) {
    let of = |n: u128| JobOrigin::Deployment { id: deployment(n, None).id, name: format!("d{n}") };
    let again = JobOrigin::Rerun { job: JobId(id(1001)), all_hosts: true };
    let jobs = [
        job(1, of(1), JobState::Succeeded),
        job(2, of(1), JobState::Patching),
        job(3, of(1), JobState::Started),
        job(4, again, JobState::Succeeded),
        job(5, JobOrigin::Asked, JobState::Succeeded),
    ];
    let mut tx = a.begin().await.expect("begins");
    for job in &jobs {
        patch_jobs::insert(&mut tx, job).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    for job in &jobs {
        assert_eq!(patch_jobs::find(&mut c, job.id).await.expect("read").as_ref(), Some(job));
    }
    assert_eq!(deployments::open_job(&mut c, deployment(1, None).id).await.expect("read"), Some(jobs[1].id), "the oldest");
    assert_eq!(deployments::open_job(&mut c, deployment(2, None).id).await.expect("read"), None);
    let query = JobQuery { deployment: Some("d1".into()), page: page(5, None), ..JobQuery::default() };
    assert_eq!(patch_jobs::list(&mut c, &query, &Scope::Everywhere).await.expect("read").items.len(), 3);
    let query = JobQuery { deployment: Some("d\0".into()), ..query };
    assert_eq!(patch_jobs::list(&mut c, &query, &Scope::Everywhere).await.expect("read").items.len(), 0);
}

async fn a_deployment_goes_with_its_executions_and_leaves_its_jobs(a: Store, b: Store) {
    insert(&a, &deployment(1, Some(10))).await;
    let origin = JobOrigin::Deployment { id: deployment(1, None).id, name: "d1".into() };
    let mut tx = a.begin().await.expect("begins");
    patch_jobs::insert(&mut tx, &job(1, origin.clone(), JobState::Patching)).await.expect("stored");
    let run = execution(1, 1, Some(10), ExecutionOutcome::Started);
    deployments::insert_execution(&mut tx, &run).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    assert!(!deployments::delete(&mut tx, deployment(1, None).id, 7).await.expect("asked"), "another version");
    assert!(deployments::delete(&mut tx, deployment(1, None).id, 1).await.expect("asked"));
    commit(tx).await.expect("committed");
    let mut c = a.read().await.expect("reads");
    assert_eq!(deployments::find_by_name(&mut c, "d1").await.expect("read"), None);
    assert_eq!(deployments::find_execution(&mut c, run.id).await.expect("read"), None);
    assert_eq!(patch_jobs::find(&mut c, JobId(id(1001))).await.expect("read").map(|j| j.origin), Some(origin));
}
