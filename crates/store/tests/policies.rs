//! The store's suite around policies, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, instance, page, profile};
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::ids::{AssignmentId, InstanceId, JobId, PreviewId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::policy::standing::{HostPhase, PolicyProblem, PolicySecret, PreviewSource, RolloutState};
use drydock_domain::policy::{
    AssignmentHealth, ComplianceState, DriftEvent, DriftOutcome, HealthState, OsPolicyAssignment, ResourceResult,
};
use drydock_store::compliance::{self, IntervalQuery, ResourceRecord, ResultQuery, ResultRecord};
use drydock_store::drift::DriftQuery;
use drydock_store::host_policies::{Document, ReportNote};
use drydock_store::policies::{AssignmentRecord, RevisionRecord, Settings};
use drydock_store::policy_hosts::AssignedRecord;
use drydock_store::policy_previews::{AnswerRecord, PreviewRecord};
use drydock_store::policy_secrets::SealedSecret;
use drydock_store::{
    Store, commit, drift, host_policies, instances, patch_tasks, policies, policy_health, policy_hosts, policy_previews,
    policy_secrets, profiles,
};

use ComplianceState::{Compliant, NonCompliant, Unknown};

const CASES: [Case; 8] = crate::cases![
    assignments_and_revisions_are_kept_and_changed_by_version,
    rows_of_hosts_say_who_has_what_and_go_with_both,
    a_document_is_stored_behind_its_number_and_a_report_behind_its_own,
    results_are_counted_and_listed_as_the_host_speaks_or_not,
    intervals_tell_how_it_was,
    drift_is_stored_once_and_forgotten,
    previews_and_secrets_come_and_go,
    health_is_of_the_newest_revision_and_goes_with_its_host,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn assignment(n: u128, name: &str) -> AssignmentRecord {
    AssignmentRecord {
        id: AssignmentId(id(60_000 + n)),
        name: name.into(),
        settings: Settings { description: "why".into(), ..Settings::default() },
        policies: vec!["p".into()],
        target: 1,
        baseline: 0,
        deleted: false,
        state: RolloutState::InProgress,
        control: Default::default(),
        started_at: at(0),
        ended_at: None,
        compartment: "/A".into(),
        created_by: "me".into(),
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    }
}

fn revision(of: &AssignmentRecord, number: u64) -> RevisionRecord {
    let document = serde_json::json!({"name": of.name, "instanceFilter": {"all": true},
        "osPolicies": [{"id": "p", "mode": "ENFORCEMENT", "resourceGroups": []}],
        "rollout": {"disruptionBudget": {"fixed": 1}, "minWaitDuration": "0s"}});
    RevisionRecord {
        assignment: of.id,
        number,
        document: serde_json::from_value(document).expect("a document"),
        deleted: false,
        reason: "why\0".into(),
        created_by: "me".into(),
        created_at: at(1),
        state: RolloutState::InProgress,
    }
}

fn host(n: u128) -> InstanceId {
    instance(n).id
}

fn assigned(of: &AssignmentRecord, n: u128, revision: u64, phase: HostPhase) -> AssignedRecord {
    AssignedRecord {
        assignment: of.id,
        instance: host(n),
        zone: "a".into(),
        revision,
        phase,
        generation: 0,
        let_go_at: Some(at(2)),
        has_at: None,
        waiting_on: None,
    }
}

async fn hosts(store: &Store, n: u128) {
    let mut tx = store.begin().await.expect("begun");
    profiles::insert(&mut tx, &profile(), "token").await.expect("a profile");
    for i in 1..=n {
        instances::insert(&mut tx, &instance(i)).await.expect("a host");
    }
    commit(tx).await.expect("committed");
}

async fn assignments_and_revisions_are_kept_and_changed_by_version(store: Store, _: Store) {
    let mut tx = store.begin().await.expect("begun");
    let web = assignment(1, "web");
    policies::insert(&mut tx, &web).await.expect("stored");
    policies::insert(&mut tx, &assignment(2, "db")).await.expect("stored");
    for n in 1..=3 {
        policies::insert_revision(&mut tx, &revision(&web, n)).await.expect("stored");
    }
    assert_eq!(policies::find_by_name(&mut tx, "web").await.expect("read"), Some(web.clone()));
    assert_eq!(policies::count(&mut tx).await.expect("counted"), 2);
    let first = policies::list(&mut tx, &page(1, None), &Scope::Everywhere).await.expect("a page");
    assert_eq!(first.items[0].name, "db");
    let second = policies::list(&mut tx, &page(1, first.next_cursor), &Scope::Everywhere).await.expect("a page");
    assert_eq!((second.items[0].name.as_str(), second.next_cursor.is_some()), ("web", false));
    let changed = AssignmentRecord { target: 3, state: RolloutState::Halted, ended_at: Some(at(9)), ..web.clone() };
    assert!(policies::update(&mut tx, &changed).await.expect("stored"));
    assert!(!policies::update(&mut tx, &changed).await.expect("stored"), "an old version changes nothing");
    policies::set_revision_state(&mut tx, web.id, 3, RolloutState::Halted).await.expect("stored");
    let newest = policies::revision(&mut tx, web.id, 3).await.expect("read").expect("there");
    assert_eq!((newest.state, newest.document.os_policies.len()), (RolloutState::Halted, 1));
    let list = policies::revisions(&mut tx, web.id, &page(2, None)).await.expect("a page");
    assert_eq!(list.items.iter().map(|r| r.number).collect::<Vec<_>>(), [3, 2]);
    let rest = policies::revisions(&mut tx, web.id, &page(2, list.next_cursor)).await.expect("a page");
    assert_eq!(rest.items.iter().map(|r| r.number).collect::<Vec<_>>(), [1]);
    assert!(!policies::delete(&mut tx, &web).await.expect("looked"), "an old version");
    assert!(policies::delete(&mut tx, &AssignmentRecord { version: 2, ..web.clone() }).await.expect("deleted"));
    assert_eq!(policies::revision(&mut tx, web.id, 1).await.expect("read"), None);
    // Last: on PostgreSQL a refused statement ends its transaction.
    let twice = policies::insert(&mut tx, &assignment(3, "db")).await.expect_err("a name is unique");
    assert!(twice.is_duplicate(), "{twice}");
}

async fn rows_of_hosts_say_who_has_what_and_go_with_both(store: Store, _: Store) {
    hosts(&store, 3).await;
    let mut tx = store.begin().await.expect("begun");
    let (web, db) = (assignment(1, "web"), assignment(2, "db"));
    policies::insert(&mut tx, &web).await.expect("stored");
    policies::insert(&mut tx, &db).await.expect("stored");
    let held = WaitingOn::Budget { in_use: 1, limit: 1, zone: Some("a".into()) };
    let rows = [
        assigned(&web, 1, 1, HostPhase::Changing),
        AssignedRecord { waiting_on: Some(held.clone()), ..assigned(&web, 2, 0, HostPhase::Pending) },
        assigned(&web, 3, 1, HostPhase::Done),
        assigned(&db, 1, 1, HostPhase::Changing),
    ];
    policy_hosts::put(&mut tx, &rows).await.expect("stored");
    policy_hosts::put(&mut tx, &rows[..1]).await.expect("stored again");
    assert_eq!(policy_hosts::all(&mut tx).await.expect("read").len(), 4);
    assert_eq!(policy_hosts::changing(&mut tx, None).await.expect("counted")["a"], 1, "a host counts once");
    assert_eq!(policy_hosts::changing(&mut tx, Some(db.id)).await.expect("counted")["a"], 1);
    assert_eq!(policy_hosts::changing_hosts(&mut tx, db.id).await.expect("read").len(), 1);
    let disrupted = patch_tasks::disrupted_by_others(&mut tx, JobId(id(1))).await.expect("counted");
    assert_eq!(disrupted["a"], 1, "patch jobs see it");
    let mut phases = policy_hosts::phases(&mut tx, web.id).await.expect("counted");
    phases.sort_by_key(|(phase, ..)| phase.as_str());
    let expected = [(HostPhase::Changing, None, 1), (HostPhase::Done, None, 1), (HostPhase::Pending, Some(held), 1)];
    assert_eq!(phases, expected);
    assert_eq!(policy_hosts::by_revision(&mut tx, web.id).await.expect("counted")[&1], 2);
    policy_hosts::set_generation(&mut tx, host(1), 77).await.expect("stored");
    policy_hosts::set_generation(&mut tx, host(2), 77).await.expect("stored");
    let one = policy_hosts::of_instance(&mut tx, host(1)).await.expect("read");
    assert!(one.iter().all(|r| r.generation == 77));
    assert_eq!(policy_hosts::of_instance(&mut tx, host(2)).await.expect("read")[0].generation, 0, "it has no revision");
    policy_hosts::set_has(&mut tx, &one[0], at(5)).await.expect("stored");
    policy_hosts::set_has(&mut tx, &one[0], at(6)).await.expect("stored");
    let again = policy_hosts::of_instance(&mut tx, host(1)).await.expect("read");
    assert!(again.iter().any(|r| r.has_at == Some(at(5))), "the first time counts");
    let named = policy_hosts::list(&mut tx, web.id, Some(HostPhase::Pending), &page(10, None)).await.expect("a page");
    assert_eq!(named.items.iter().map(|h| h.instance_name.as_str()).collect::<Vec<_>>(), ["h2"]);
    let inputs = policy_hosts::inputs(&mut tx, None, 2).await.expect("read");
    let rest = policy_hosts::inputs(&mut tx, inputs.last().map(|h| h.instance), 2).await.expect("read");
    assert_eq!((inputs.len(), rest.len(), inputs[0].generation), (2, 1, 0));
    assert!(instances::delete(&mut tx, host(3)).await.expect("deleted"));
    policy_hosts::delete(&mut tx, web.id, host(2)).await.expect("deleted");
    assert!(policies::delete(&mut tx, &db).await.expect("deleted"));
    let left = policy_hosts::all(&mut tx).await.expect("read");
    assert_eq!(left.iter().map(|r| (r.assignment, r.instance)).collect::<Vec<_>>(), [(web.id, host(1))]);
    commit(tx).await.expect("committed");
}

async fn a_document_is_stored_behind_its_number_and_a_report_behind_its_own(store: Store, _: Store) {
    hosts(&store, 1).await;
    let mut tx = store.begin().await.expect("begun");
    let problem = PolicyProblem {
        assignment: "web".into(),
        policy: "p".into(),
        resource: String::new(),
        message: "no".into(),
        whole: true,
    };
    let problems = [problem];
    let document = |generation| Document { generation, fingerprint: "f", document: "{}", problems: &problems, at: at(3) };
    assert_eq!(host_policies::pull_state(&mut tx, host(1)).await.expect("read").generation, 0);
    assert!(host_policies::put(&mut tx, host(1), &document(10), 0).await.expect("stored"));
    assert!(!host_policies::put(&mut tx, host(1), &document(11), 0).await.expect("looked"), "somebody was faster");
    assert!(!host_policies::put(&mut tx, host(1), &document(10), 10).await.expect("looked"), "numbers only grow");
    assert!(host_policies::put(&mut tx, host(1), &document(11), 10).await.expect("stored"));
    assert_eq!(host_policies::ask_check(&mut tx, host(1)).await.expect("asked"), Some(1));
    assert_eq!(host_policies::ask_check(&mut tx, host(2)).await.expect("asked"), None, "it has no policies");
    host_policies::note_pulled(&mut tx, host(1), at(4)).await.expect("noted");
    let state = host_policies::pull_state(&mut tx, host(1)).await.expect("read");
    assert_eq!((state.generation, state.check, state.pulled), (11, 1, true));
    let note = |seq, check| ReportNote { seq, generation: 11, check, problem: "", at: at(5) };
    assert!(host_policies::take_report(&mut tx, host(1), &note(5, 9)).await.expect("stored"));
    assert!(!host_policies::take_report(&mut tx, host(1), &note(5, 1)).await.expect("looked"), "not newer");
    let found = host_policies::find(&mut tx, host(1)).await.expect("read").expect("there");
    assert_eq!((found.report_seq, found.check_done, found.problems.len()), (5, 0, 1), "nobody asked for check 9");
    host_policies::set_absent(&mut tx, host(1), "vm-not-running").await.expect("noted");
    assert!(host_policies::take_report(&mut tx, host(1), &note(6, 1)).await.expect("stored"));
    let found = host_policies::find(&mut tx, host(1)).await.expect("read").expect("there");
    assert_eq!((found.check_done, found.absent.as_str()), (1, ""), "who reports speaks");
    assert!(host_policies::any(&mut tx).await.expect("looked"));
    host_policies::raise_check(&mut tx, host(1), 40).await.expect("stored");
    assert_eq!(host_policies::ask_check(&mut tx, host(1)).await.expect("asked"), Some(41));
    commit(tx).await.expect("committed");
}

fn result(policy: &str, state: ComplianceState, reason: &str, since: i64) -> ResultRecord {
    ResultRecord {
        assignment: "web".into(),
        policy: policy.into(),
        revision: 1,
        state,
        reason: reason.into(),
        run: "run".into(),
        checked_at: Some(at(since)),
        since: at(since),
    }
}

async fn results_are_counted_and_listed_as_the_host_speaks_or_not(store: Store, _: Store) {
    hosts(&store, 3).await;
    let mut tx = store.begin().await.expect("begun");
    for (n, states) in [(1, [Compliant, Compliant]), (2, [Compliant, NonCompliant]), (3, [Compliant, Compliant])] {
        host_policies::ensure(&mut tx, host(n)).await.expect("begun");
        for (policy, state) in ["p", "q"].into_iter().zip(states) {
            let reason = if state == NonCompliant { "execution-errors" } else { "" };
            compliance::put_result(&mut tx, host(n), &result(policy, state, reason, 10)).await.expect("stored");
            let one = ResourceRecord {
                assignment: "web".into(),
                policy: policy.into(),
                position: 0,
                result: ResourceResult { id: "r".into(), state, ..ResourceResult::default() },
            };
            compliance::put_resource(&mut tx, host(n), &one).await.expect("stored");
        }
    }
    host_policies::set_absent(&mut tx, host(3), "vm-not-running").await.expect("noted");
    let counts = compliance::hosts(&mut tx, Some("web"), &Scope::Everywhere).await.expect("counted");
    assert_eq!((counts.compliant, counts.non_compliant, counts.unknown), (1, 1, 1));
    assert_eq!(compliance::by_assignment(&mut tx, &Scope::Everywhere).await.expect("counted")["web"], counts);
    let by_policy = compliance::by_policy(&mut tx, None, &Scope::Everywhere).await.expect("counted");
    assert_eq!(by_policy.iter().map(|p| (p.policy.as_str(), p.hosts.compliant)).collect::<Vec<_>>(), [("p", 2), ("q", 1)]);
    let by_resource = compliance::by_resource(&mut tx, Some("web"), Some("q"), &Scope::Everywhere).await.expect("counted");
    assert_eq!((by_resource.len(), by_resource[0].hosts.non_compliant, by_resource[0].hosts.unknown), (1, 1, 1));
    let reasons = compliance::reasons(&mut tx, &Scope::Everywhere).await.expect("counted");
    assert_eq!((reasons["execution-errors"], reasons["vm-not-running"]), (1, 2));
    let of_hosts = compliance::of_hosts(&mut tx, "web", &[host(1), host(2), host(3)]).await.expect("read");
    assert_eq!(of_hosts[&host(2)], (NonCompliant, "execution-errors".to_owned()));
    assert_eq!(of_hosts[&host(3)].0, Unknown);
    assert_eq!(compliance::bad_hosts(&mut tx, "web").await.expect("read").keys().collect::<Vec<_>>(), [&host(2)]);
    let mut query = ResultQuery { page: page(4, None), ..ResultQuery::default() };
    let first = compliance::list(&mut tx, &query, &Scope::Everywhere).await.expect("a page");
    query.page = page(4, first.next_cursor.clone());
    let rest = compliance::list(&mut tx, &query, &Scope::Everywhere).await.expect("a page");
    assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor.is_some()), (4, 2, false));
    let bad = ResultQuery { state: Some(Unknown), reason: Some("vm-not-running".into()), ..ResultQuery::default() };
    assert_eq!(compliance::list(&mut tx, &bad, &Scope::Everywhere).await.expect("a page").items.len(), 2);
    compliance::delete_result(&mut tx, host(1), "web", "q").await.expect("deleted");
    assert_eq!(compliance::of_instance(&mut tx, host(1)).await.expect("read").len(), 1);
    assert_eq!(compliance::resources_of(&mut tx, host(1)).await.expect("read").len(), 1);
    compliance::delete_resource(&mut tx, host(1), "web", "p", "r").await.expect("deleted");
    assert!(compliance::resources_of(&mut tx, host(1)).await.expect("read").is_empty());
    commit(tx).await.expect("committed");
}

async fn intervals_tell_how_it_was(store: Store, _: Store) {
    hosts(&store, 1).await;
    let mut tx = store.begin().await.expect("begun");
    for (state, since) in [(Unknown, 10), (NonCompliant, 20), (Compliant, 30)] {
        compliance::begin_interval(&mut tx, host(1), &result("p", state, "", since)).await.expect("stored");
    }
    let was = |c| (c, ());
    for (secs, expected) in [(5, [0, 0, 0]), (10, [0, 0, 1]), (29, [0, 1, 0]), (99, [1, 0, 0])] {
        let counts = compliance::at(&mut tx, Some("web"), at(secs), &Scope::Everywhere).await.expect("counted");
        assert_eq!(was([counts.compliant, counts.non_compliant, counts.unknown]), was(expected), "at {secs}");
    }
    let query = IntervalQuery { page: page(2, None), ..IntervalQuery::default() };
    let first = compliance::intervals(&mut tx, &query, &Scope::Everywhere).await.expect("a page");
    assert_eq!(
        first.items.iter().map(|i| (i.state, i.until)).collect::<Vec<_>>(),
        [(Compliant, None), (NonCompliant, Some(at(30)))]
    );
    let rest = IntervalQuery { page: page(2, first.next_cursor), ..query };
    assert_eq!(compliance::intervals(&mut tx, &rest, &Scope::Everywhere).await.expect("a page").items.len(), 1);
    assert_eq!(compliance::forget_intervals(&mut tx, at(25)).await.expect("forgotten"), 1);
    compliance::end_intervals_of(&mut tx, "web", at(40)).await.expect("ended");
    let none = compliance::at(&mut tx, None, at(50), &Scope::Everywhere).await.expect("counted");
    assert_eq!(none.total(), 0);
    commit(tx).await.expect("committed");
}

async fn drift_is_stored_once_and_forgotten(store: Store, _: Store) {
    hosts(&store, 1).await;
    let mut tx = store.begin().await.expect("begun");
    let event = |number: u64, seen: i64| DriftEvent {
        number,
        assignment: "web".into(),
        policy: "p".into(),
        resource: "r".into(),
        seen_at: at(seen),
        repaired_at: None,
        what: "inactive".into(),
        noticed_by: "unit signal".into(),
        cause: String::new(),
        outcome: DriftOutcome::Failed,
    };
    for n in 1..=5 {
        drift::put(&mut tx, host(1), &event(n, i64::try_from(n).expect("small") * 10)).await.expect("stored");
    }
    let repaired = DriftEvent { repaired_at: Some(at(52)), outcome: DriftOutcome::Repaired, ..event(5, 50) };
    drift::put(&mut tx, host(1), &repaired).await.expect("stored");
    let query = DriftQuery { page: page(3, None), ..DriftQuery::default() };
    let first = drift::list(&mut tx, &query, &Scope::Everywhere).await.expect("a page");
    assert_eq!(first.items[0].time_to_repair_ms, Some(2000));
    assert_eq!(first.items.iter().map(|e| e.event.number).collect::<Vec<_>>(), [5, 4, 3]);
    let rest = drift::list(&mut tx, &DriftQuery { page: page(3, first.next_cursor), ..query.clone() }, &Scope::Everywhere)
        .await
        .expect("a page");
    assert_eq!(rest.items.iter().map(|e| e.event.number).collect::<Vec<_>>(), [2, 1]);
    let failed = DriftQuery { outcome: Some(DriftOutcome::Failed), since: Some(at(25)), ..DriftQuery::default() };
    assert_eq!(drift::list(&mut tx, &failed, &Scope::Everywhere).await.expect("a page").items.len(), 2);
    assert_eq!(drift::counts(&mut tx, Some("web"), at(20), at(51), &Scope::Everywhere).await.expect("counted"), (4, 1));
    assert_eq!(drift::crowded(&mut tx, 4).await.expect("looked"), [host(1)]);
    assert_eq!(drift::cut(&mut tx, host(1), 4).await.expect("cut"), 1);
    assert!(drift::crowded(&mut tx, 4).await.expect("looked").is_empty());
    assert_eq!(drift::forget(&mut tx, at(40)).await.expect("forgotten"), 2);
    commit(tx).await.expect("committed");
}

async fn previews_and_secrets_come_and_go(store: Store, _: Store) {
    hosts(&store, 2).await;
    let mut tx = store.begin().await.expect("begun");
    let preview = PreviewRecord {
        id: PreviewId(id(5)),
        name: "web".into(),
        document: OsPolicyAssignment::default(),
        compartment: "/".into(),
        created_by: "me".into(),
        created_at: at(0),
        expires_at: at(100),
    };
    let waiting = |n| AnswerRecord {
        instance: host(n),
        source: PreviewSource::Waiting,
        at: None,
        would_change: 0,
        problem: String::new(),
        policies: Vec::new(),
    };
    policy_previews::insert(&mut tx, &preview, &[waiting(1), waiting(2)]).await.expect("stored");
    assert_eq!(policy_previews::open_of(&mut tx, host(1), at(1), 16).await.expect("read"), [preview.id]);
    assert!(policy_previews::open_of(&mut tx, host(1), at(100), 16).await.expect("read").is_empty(), "over");
    let answer = AnswerRecord { source: PreviewSource::Host, at: Some(at(3)), would_change: 2, ..waiting(1) };
    assert!(policy_previews::answer(&mut tx, preview.id, &answer).await.expect("stored"));
    assert!(!policy_previews::answer(&mut tx, preview.id, &waiting(9)).await.expect("looked"), "nobody asked it");
    let counts = policy_previews::counts(&mut tx, preview.id).await.expect("counted");
    assert_eq!((counts.waiting, counts.answered, counts.would_change), (1, 1, 1));
    let list = policy_previews::answers(&mut tx, preview.id, Some(PreviewSource::Host), &page(5, None)).await.expect("a page");
    assert_eq!((list.items.len(), list.items[0].would_change), (1, 2));
    assert_eq!(policy_previews::list(&mut tx, &page(5, None), &Scope::Everywhere).await.expect("a page").items.len(), 1);
    assert_eq!(policy_previews::forget(&mut tx, at(100)).await.expect("forgotten"), 1);
    assert!(!policy_previews::delete(&mut tx, preview.id).await.expect("looked"));
    let secret = |version: u64| SealedSecret {
        shown: PolicySecret {
            name: "db".into(),
            version,
            compartment: "/".into(),
            updated_by: "me".into(),
            created_at: at(0),
            updated_at: at(1),
        },
        sealed: vec![0, 255, 1],
    };
    assert!(policy_secrets::put(&mut tx, &secret(7)).await.expect("stored"));
    assert!(!policy_secrets::put(&mut tx, &secret(7)).await.expect("looked"), "versions only grow");
    assert!(policy_secrets::put(&mut tx, &secret(8)).await.expect("stored"));
    assert_eq!(policy_secrets::versions(&mut tx).await.expect("read")["db"], (8, "/".to_owned()));
    let found = policy_secrets::find_all(&mut tx, &["db".into(), "none".into()]).await.expect("read");
    assert!(found.len() == 1 && found[0].sealed == [0, 255, 1]);
    assert!(policy_secrets::delete(&mut tx, "db").await.expect("deleted"));
    assert!(policy_secrets::find(&mut tx, "db").await.expect("read").is_none());
    commit(tx).await.expect("committed");
}

async fn health_is_of_the_newest_revision_and_goes_with_its_host(store: Store, _: Store) {
    hosts(&store, 2).await;
    let mut tx = store.begin().await.expect("begun");
    let web = assignment(1, "web");
    policies::insert(&mut tx, &web).await.expect("stored");
    policy_hosts::put(&mut tx, &[assigned(&web, 1, 1, HostPhase::Changing)]).await.expect("stored");
    let told = |revision, state, message: &str| AssignmentHealth {
        assignment: "web".into(),
        revision,
        state,
        message: message.into(),
        checks: Vec::new(),
        at: at(0),
    };
    let checking = told(1, HealthState::Checking, "1 of 2");
    assert!(policy_health::put(&mut tx, web.id, host(1), &checking, at(5)).await.expect("stored"));
    assert!(!policy_health::put(&mut tx, web.id, host(1), &checking, at(6)).await.expect("known"));
    let other_words = told(1, HealthState::Checking, "0 of 2");
    assert!(policy_health::put(&mut tx, web.id, host(1), &other_words, at(7)).await.expect("stored"));
    let found = policy_health::of_revision(&mut tx, web.id, 1).await.expect("read");
    assert_eq!((found[&host(1)].since, found[&host(1)].message.as_str()), (at(5), "0 of 2"), "it stands so since then");
    let ill = told(1, HealthState::Unhealthy, "unit a is failed");
    policy_health::put(&mut tx, web.id, host(1), &ill, at(8)).await.expect("stored");
    assert_eq!(policy_health::of_revision(&mut tx, web.id, 1).await.expect("read")[&host(1)].since, at(8));
    policy_health::put(&mut tx, web.id, host(2), &told(2, HealthState::Healthy, ""), at(9)).await.expect("stored");
    assert_eq!(policy_health::of_revision(&mut tx, web.id, 2).await.expect("read").len(), 1);
    let both = policy_health::of_hosts(&mut tx, web.id, &[host(1), host(2)]).await.expect("read");
    assert_eq!((both[&host(1)].clone(), both.len()), (ill, 2));
    policy_hosts::delete(&mut tx, web.id, host(1)).await.expect("deleted");
    assert!(instances::delete(&mut tx, host(2)).await.expect("deleted"));
    assert!(policy_health::of_hosts(&mut tx, web.id, &[host(1), host(2)]).await.expect("read").is_empty());
    commit(tx).await.expect("committed");
}
