//! The one store suite, on SQLite always and on PostgreSQL where there is one. Each case gets two stores on one fresh
//! database: two servers, as far as the database can tell.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, instance, page, profile};
use common::suite::Case;

use drydock_domain::access::{Role, Scope};
use drydock_domain::ids::{AccessTokenId, InstanceId, JobId, TaskId};
use drydock_domain::instance::{InstanceState, Labels, PendingReason};
use drydock_domain::inventory::{PackageChange, SectionKind, fingerprint};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_store::idempotency::KeyUse;
use drydock_store::instances::{Certificate, Edit};
use drydock_store::inventory::Pointer;
use drydock_store::records::*;
use drydock_store::{
    Store, StoreError, access_tokens, commit, fleet, history, idempotency, instances, inventory, patch_jobs, patch_tasks,
    profiles,
};

const CASES: [Case; 13] = crate::cases![
    profiles_and_tokens_are_found_by_their_digest,
    instances_are_kept_whole_and_edited_by_version,
    instances_are_listed_by_filter_and_page,
    keys_change_only_from_the_key_that_was_read,
    inventory_bodies_are_shared,
    jobs_and_tasks_are_kept_whole,
    reports_are_stored_once_and_only_forward,
    open_tasks_know_their_host_and_their_rival,
    history_is_read_newest_first,
    the_fleet_is_counted,
    of_two_servers_one_lets_a_task_go,
    of_two_servers_one_gives_a_host_work,
    of_two_requests_one_takes_the_last_use_and_the_key,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn job(n: u128) -> JobRecord {
    let spec = format!(r#"{{"displayName":"job {n}","instanceFilter":{{"all":true}},"dryRun":true}}"#);
    JobRecord {
        id: JobId(id(1000 + n)),
        spec: serde_json::from_str(&spec).expect("a spec"),
        state: JobState::Patching,
        created_by: "me".into(),
        created_at: at(0),
        deadline: Some(at(60)),
        finished_at: None,
        cancel_requested: false,
        kill_requested: false,
        error_message: String::new(),
        origin: JobOrigin::Asked,
        control: Default::default(),
        plans: vec![],
        compartment: "/A".into(),
        owner: "token 7".into(),
        version: 1,
    }
}

fn task(job: u128, host: u128) -> TaskRecord {
    TaskRecord {
        id: TaskId(id(10_000 * job + host)),
        job: JobId(id(1000 + job)),
        job_display_name: format!("job {job}"),
        dry_run: true,
        instance: InstanceId(id(100 + host)),
        instance_name: format!("h{host}"),
        wave: 0,
        zone: "z".into(),
        state: TaskState::Pending,
        waiting_on: None,
        message: String::new(),
        order_number: None,
        report_seq: 0,
        planned: 0,
        applied: 0,
        skipped: 0,
        reboots: 0,
        created_at: at(0),
        updated_at: at(0),
        finished_at: None,
        version: 1,
    }
}

/// A profile, hosts, and jobs with a task for each host.
async fn fleet_of(store: &Store, hosts: u128, jobs: u128) {
    let mut tx = store.begin().await.expect("begins");
    profiles::insert(&mut tx, &profile(), "t").await.expect("stored");
    for n in 1..=hosts {
        instances::insert(&mut tx, &instance(n)).await.expect("stored");
    }
    for j in 1..=jobs {
        patch_jobs::insert(&mut tx, &job(j)).await.expect("stored");
        let tasks: Vec<_> = (1..=hosts).map(|n| task(j, n)).collect();
        patch_tasks::insert_pending(&mut tx, &tasks).await.expect("stored");
    }
    commit(tx).await.expect("committed");
}

async fn profiles_and_tokens_are_found_by_their_digest(a: Store, b: Store) {
    let token = AccessTokenRecord {
        id: AccessTokenId(id(5)),
        name: "ci".into(),
        role: Some(Role::Operator),
        user: None,
        scope: Vec::new(),
        second_factor: false,
        signed_in: false,
        created_by: "server".into(),
        expires_at: Some(at(9)),
        created_at: at(0),
        last_used_at: None,
        revoked: false,
    };
    let mut tx = a.begin().await.expect("begins");
    profiles::insert(&mut tx, &profile(), "digest-p").await.expect("stored");
    access_tokens::insert(&mut tx, &token, "digest-t").await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(profiles::find_by_token(&mut c, "digest-p").await.expect("read"), Some(profile()));
    assert_eq!(profiles::find_by_token(&mut c, "digest").await.expect("read"), None);
    assert_eq!(access_tokens::find_by_secret(&mut c, "digest-t").await.expect("read"), Some(token.clone()));
    let mut tx = a.begin().await.expect("begins");
    for (used, kept) in [(at(5), at(5)), (at(3), at(5))] {
        access_tokens::touch(&mut tx, token.id, used).await.expect("stored");
        assert_eq!(access_tokens::find(&mut tx, token.id).await.expect("read").expect("there").last_used_at, Some(kept));
    }
    assert!(access_tokens::revoke(&mut tx, token.id).await.expect("stored"));
    assert!(!access_tokens::revoke(&mut tx, token.id).await.expect("stored"), "once");
    assert!(profiles::revoke(&mut tx, profile().id).await.expect("stored"));
    assert!(!profiles::take_use(&mut tx, profile().id, 5).await.expect("stored"), "a revoked one lets nobody in");
    commit(tx).await.expect("committed");
    assert!(profiles::find(&mut c, profile().id).await.expect("read").expect("there").revoked);
    assert!(access_tokens::list(&mut c, &page(1, None)).await.expect("read").items[0].revoked);
    assert_eq!(profiles::list(&mut c, &page(1, None), &Scope::Everywhere).await.expect("read").next_cursor, None);
}

async fn instances_are_kept_whole_and_edited_by_version(a: Store, b: Store) {
    let pending = InstanceRecord {
        state: InstanceState::Pending,
        pending_reason: Some(PendingReason::DuplicateMachineId),
        duplicate_of: Some(instance(1).id),
        machine_id: "m1".into(),
        ..instance(2)
    };
    fleet_of(&a, 1, 0).await;
    let mut tx = a.begin().await.expect("begins");
    instances::insert(&mut tx, &pending).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    assert_eq!(instances::find(&mut tx, pending.id).await.expect("read"), Some(pending.clone()));
    assert_eq!(instances::find_by_name(&mut tx, "h2").await.expect("read"), Some(pending.clone()));
    assert_eq!(instances::find_by_key(&mut tx, &pending.spki_sha256).await.expect("read"), Some(pending.clone()));
    let states = [InstanceState::Pending, InstanceState::Active];
    assert_eq!(instances::with_machine_id(&mut tx, "m1", &states).await.expect("read").len(), 2);
    assert_eq!(instances::with_machine_id(&mut tx, "m1", &states[1..]).await.expect("read").len(), 1);
    let labels = Labels::from([("role".into(), "db".into())]);
    let edit = Edit { labels: &labels, zone: "z2" };
    assert!(instances::edit(&mut tx, pending.id, edit, 1).await.expect("stored"));
    assert!(!instances::edit(&mut tx, pending.id, edit, 1).await.expect("stored"), "the version moved on");
    assert!(!instances::set_state(&mut tx, pending.id, InstanceState::Active, "", 1).await.expect("stored"));
    assert!(instances::set_state(&mut tx, pending.id, InstanceState::Rejected, "no", 2).await.expect("stored"));
    instances::touch(&mut tx, pending.id, at(5)).await.expect("stored");
    instances::touch(&mut tx, pending.id, at(4)).await.expect("stored");
    let now = instances::find(&mut tx, pending.id).await.expect("read").expect("there");
    assert_eq!((now.version, now.pending_reason, now.reject_reason.as_str()), (3, None, "no"));
    assert_eq!((now.last_seen, now.zone.as_str(), now.labels), (Some(at(5)), "z2", labels));
    commit(tx).await.expect("committed");

    let same_name = InstanceRecord { id: InstanceId(id(999)), spki_sha256: "k".into(), ..instance(1) };
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::insert(&mut tx, &same_name).await.expect_err("taken").is_duplicate());
    drop(tx);
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::delete(&mut tx, pending.id).await.expect("deleted"), "with its labels");
    assert!(!instances::delete(&mut tx, pending.id).await.expect("read"));
    drop(tx);
    let mut c = b.read().await.expect("reads");
    assert!(instances::find(&mut c, pending.id).await.expect("read").is_some(), "a dropped transaction changes nothing");
}

async fn instances_are_listed_by_filter_and_page(a: Store, _b: Store) {
    fleet_of(&a, 5, 0).await;
    let mut c = a.read().await.expect("reads");
    let list = async |c: &mut drydock_store::Reader, query: InstanceQuery| {
        let page = instances::list(c, &query, &Scope::Everywhere).await.expect("read");
        (page.items.into_iter().map(|i| i.name).collect::<Vec<_>>(), page.next_cursor)
    };
    let (names, cursor) = list(&mut c, InstanceQuery { page: page(3, None), ..InstanceQuery::default() }).await;
    assert_eq!(names, ["h1", "h2", "h3"]);
    let (names, cursor) = list(&mut c, InstanceQuery { page: page(3, cursor), ..InstanceQuery::default() }).await;
    assert_eq!((names, cursor), (vec!["h4".to_owned(), "h5".to_owned()], None));
    let all = InstanceQuery {
        state: Some(InstanceState::Active),
        name_contains: "H".into(),
        labels: vec![("env".into(), "x".into()), ("n".into(), "3".into())],
        compartment: None,
        zone: Some("z".into()),
        page: page(9, None),
    };
    assert_eq!(list(&mut c, all.clone()).await.0, ["h3"]);
    for nothing in [
        InstanceQuery { state: Some(InstanceState::Revoked), ..all.clone() },
        InstanceQuery { zone: Some("y".into()), ..all.clone() },
        InstanceQuery { name_contains: "_".into(), ..all.clone() },
        InstanceQuery { labels: vec![("n".into(), "3' OR '1'='1".into())], ..all.clone() },
        InstanceQuery { name_contains: "\0".into(), ..all },
    ] {
        assert!(list(&mut c, nothing).await.0.is_empty());
    }
    let forged = InstanceQuery { page: page(3, Some("zz".into())), ..InstanceQuery::default() };
    assert!(matches!(instances::list(&mut c, &forged, &Scope::Everywhere).await, Err(StoreError::Cursor)));
    assert_eq!(instances::targets(&mut c, InstanceState::Active).await.expect("read").len(), 5);
    assert_eq!(instances::names_like(&mut c, "h1").await.expect("read"), ["h1"]);
}

async fn keys_change_only_from_the_key_that_was_read(a: Store, b: Store) {
    fleet_of(&a, 1, 0).await;
    let host = instance(1);
    let certificate = Certificate { spki_sha256: "new", previous: Some(&host.spki_sha256), serial: "0a", not_after: at(9) };
    let mut tx = a.begin().await.expect("begins");
    let active = InstanceState::Active;
    assert!(!instances::set_certificate(&mut tx, host.id, certificate, "other", active).await.expect("stored"));
    assert!(
        !instances::set_certificate(&mut tx, host.id, certificate, &host.spki_sha256, InstanceState::Pending)
            .await
            .expect("stored")
    );
    assert!(instances::set_certificate(&mut tx, host.id, certificate, &host.spki_sha256, active).await.expect("stored"));
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    let now = instances::find(&mut tx, host.id).await.expect("read").expect("there");
    assert_eq!((now.spki_sha256.as_str(), now.previous_spki_sha256.as_deref()), ("new", Some(host.spki_sha256.as_str())));
    assert_eq!((now.certificate_serial.as_deref(), now.certificate_expires_at), (Some("0a"), Some(at(9))));
    instances::drop_previous_key(&mut tx, host.id, "other").await.expect("stored");
    assert!(instances::find(&mut tx, host.id).await.expect("read").expect("there").previous_spki_sha256.is_some());
    instances::drop_previous_key(&mut tx, host.id, "new").await.expect("stored");
    assert_eq!(instances::find(&mut tx, host.id).await.expect("read").expect("there").previous_spki_sha256, None);
    commit(tx).await.expect("committed");
}

async fn inventory_bodies_are_shared(a: Store, b: Store) {
    fleet_of(&a, 2, 0).await;
    let body = br#"[{"name":"a"}]"#.to_vec();
    let print = fingerprint(&body);
    let kind = SectionKind::Packages;
    let pointer = Pointer { kind, fingerprint: print.clone(), reported_fingerprint: "theirs".into(), changed_at: at(1) };
    let mut tx = a.begin().await.expect("begins");
    for host in [instance(1), instance(2)] {
        inventory::put_body(&mut tx, kind, &print, &body, at(1)).await.expect("stored");
        inventory::set_pointer(&mut tx, host.id, &pointer).await.expect("stored");
    }
    inventory::put_body(&mut tx, kind, "unused", b"x", at(1)).await.expect("stored");
    let summary = InventorySummary { packages: 1, reboot_required: true, changed_at: Some(at(1)), ..InventorySummary::default() };
    instances::set_inventory(&mut tx, instance(1).id, &summary, Some(r#"{"hostname":"new"}"#)).await.expect("stored");
    instances::set_inventory(&mut tx, instance(2).id, &summary, None).await.expect("stored");
    commit(tx).await.expect("committed");

    let mut tx = b.begin().await.expect("begins");
    assert!(inventory::has_body(&mut tx, kind, &print).await.expect("read"));
    assert!(!inventory::has_body(&mut tx, SectionKind::Os, &print).await.expect("read"), "of its kind only");
    assert_eq!(inventory::body(&mut tx, kind, &print).await.expect("read"), Some(body.clone()));
    inventory::confirm(&mut tx, instance(1).id, kind, at(8)).await.expect("stored");
    let section = inventory::section(&mut tx, instance(1).id, kind).await.expect("read").expect("there");
    assert_eq!((section.changed_at, section.reported_at, section.body), (at(1), at(8), body));
    assert_eq!(section.reported_fingerprint, "theirs");
    assert_eq!(inventory::pointers(&mut tx, instance(2).id).await.expect("read"), [pointer]);
    assert_eq!(inventory::forget_unused(&mut tx, at(1)).await.expect("stored"), 0, "not older than that");
    assert_eq!(inventory::forget_unused(&mut tx, at(2)).await.expect("stored"), 1);
    instances::delete(&mut tx, instance(1).id).await.expect("deleted");
    instances::delete(&mut tx, instance(2).id).await.expect("deleted");
    assert_eq!(inventory::forget_unused(&mut tx, at(2)).await.expect("stored"), 1, "nobody has it any more");
    drop(tx);
    let mut c = a.read().await.expect("reads");
    let kept = instances::find(&mut c, instance(1).id).await.expect("read").expect("there");
    assert_eq!((kept.inventory, kept.os.expect("facts").hostname.as_str()), (Some(summary), "new"));
    let kept = instances::find(&mut c, instance(2).id).await.expect("read").expect("there");
    assert_eq!(kept.os.expect("facts").hostname, "h2", "facts that were not sent stay");
    let mut tx = a.begin().await.expect("begins");
    let nowhere = Pointer { kind, fingerprint: "nowhere".into(), reported_fingerprint: "x".into(), changed_at: at(1) };
    // SQLite says so at once, PostgreSQL too: the reference is not deferred.
    assert!(inventory::set_pointer(&mut tx, instance(1).id, &nowhere).await.is_err());
}

async fn jobs_and_tasks_are_kept_whole(a: Store, b: Store) {
    fleet_of(&a, 3, 2).await;
    let mut c = b.read().await.expect("reads");
    assert_eq!(patch_jobs::find(&mut c, job(1).id).await.expect("read"), Some(job(1)));
    assert_eq!(patch_tasks::find(&mut c, task(1, 2).id).await.expect("read"), Some(task(1, 2)));
    let mut tx = a.begin().await.expect("begins");
    patch_tasks::insert_pending(&mut tx, &[TaskRecord { id: TaskId(id(77)), ..task(1, 1) }]).await.expect("stored");
    let ended = JobRecord {
        state: JobState::Canceled,
        finished_at: Some(at(8)),
        cancel_requested: true,
        kill_requested: true,
        error_message: "e".into(),
        ..job(2)
    };
    assert!(patch_jobs::update(&mut tx, &ended).await.expect("stored"));
    assert!(!patch_jobs::update(&mut tx, &ended).await.expect("stored"), "the version moved on");
    let held =
        TaskRecord { waiting_on: Some(WaitingOn::Budget { in_use: 1, limit: 1, zone: None }), updated_at: at(3), ..task(1, 1) };
    assert!(patch_tasks::update(&mut tx, &held).await.expect("stored"));
    assert!(!patch_tasks::update(&mut tx, &held).await.expect("stored"), "the version moved on");
    let state = TaskState::Failed;
    let failed = TaskRecord { state, message: "nul\0".into(), finished_at: Some(at(4)), updated_at: at(4), ..task(1, 2) };
    assert!(patch_tasks::update(&mut tx, &failed).await.expect("stored"));
    commit(tx).await.expect("committed");

    assert_eq!(patch_jobs::find(&mut c, job(2).id).await.expect("read"), Some(JobRecord { version: 2, ..ended }));
    assert_eq!(patch_jobs::open(&mut c).await.expect("read"), [job(1)]);
    let query = |state, instance| JobQuery { state, instance, page: page(5, None), ..JobQuery::default() };
    let ids = |page: Paged<JobRecord>| page.items.into_iter().map(|j| j.id).collect::<Vec<_>>();
    let all = Scope::Everywhere;
    let of_host = patch_jobs::list(&mut c, &query(None, Some(instance(3).id)), &all).await.expect("read");
    assert_eq!(ids(of_host), [job(2).id, job(1).id]);
    assert!(ids(patch_jobs::list(&mut c, &query(None, Some(InstanceId(id(5)))), &all).await.expect("read")).is_empty());
    let canceled = patch_jobs::list(&mut c, &query(Some(JobState::Canceled), None), &all).await.expect("read");
    assert_eq!(ids(canceled), [job(2).id]);
    let elsewhere = Scope::In(vec!["/".into(), "/B".into()]);
    assert!(ids(patch_jobs::list(&mut c, &JobQuery::default(), &elsewhere).await.expect("read")).is_empty());
    let one = JobQuery { page: page(1, None), ..JobQuery::default() };
    let first = patch_jobs::list(&mut c, &one, &all).await.expect("read");
    let next = JobQuery { page: page(1, first.next_cursor), ..one };
    assert_eq!(ids(patch_jobs::list(&mut c, &next, &all).await.expect("read")), [job(1).id]);

    let all = patch_tasks::list(&mut c, job(1).id, &TaskQuery::default()).await.expect("read").items;
    assert_eq!(all.iter().map(|t| t.id).collect::<Vec<_>>(), [task(1, 1).id, task(1, 2).id, task(1, 3).id], "one per host");
    assert_eq!(all[0], TaskRecord { version: 2, ..held });
    assert_eq!(all[1].message, "nul\u{fffd}");
    let mut seen = Vec::new();
    let mut cursor = None;
    for _ in 0..3 {
        let one = TaskQuery { page: page(1, cursor), ..TaskQuery::default() };
        let page = patch_tasks::list(&mut c, job(1).id, &one).await.expect("read");
        seen.extend(page.items.into_iter().map(|t| t.instance_name));
        cursor = page.next_cursor;
    }
    assert_eq!((seen, cursor), (vec!["h1".to_owned(), "h2".to_owned(), "h3".to_owned()], None));
    let since = TaskQuery { updated_since: Some(at(3)), ..TaskQuery::default() };
    assert_eq!(patch_tasks::list(&mut c, job(1).id, &since).await.expect("read").items.len(), 2);
    let failed = TaskQuery { state: Some(TaskState::Failed), ..TaskQuery::default() };
    assert_eq!(patch_tasks::list(&mut c, job(1).id, &failed).await.expect("read").items.len(), 1);
    let counts = patch_tasks::counts(&mut c, &[job(1).id, job(2).id]).await.expect("read");
    assert_eq!(counts[&job(1).id].iter().map(|(s, n)| (s.as_str(), *n)).collect::<Vec<_>>(), [("PENDING", 2), ("FAILED", 1)]);
    assert!(patch_tasks::counts(&mut c, &[]).await.expect("read").is_empty());
    let one = patch_tasks::of_instance(&mut c, instance(2).id, &page(1, None), &Scope::Everywhere).await.expect("read");
    assert_eq!(one.items[0].id, task(2, 2).id, "newest first");
    let two =
        patch_tasks::of_instance(&mut c, instance(2).id, &page(1, one.next_cursor), &Scope::Everywhere).await.expect("read");
    assert_eq!(two.items[0].id, task(1, 2).id);
}

fn report(seq: u64) -> TaskReport {
    let json = format!(
        r#"{{"task":"{}","seq":{seq},"at":"2026-01-01T00:00:00Z","state":"STARTED","message":"nul\u0000 é"}}"#,
        task(1, 1).id
    );
    serde_json::from_str(&json).expect("a report")
}

async fn reports_are_stored_once_and_only_forward(a: Store, b: Store) {
    fleet_of(&a, 1, 1).await;
    let id = task(1, 1).id;
    let after = |seq, version| TaskRecord {
        state: TaskState::Started,
        report_seq: seq,
        planned: 3,
        applied: 2,
        skipped: 1,
        reboots: 4,
        version,
        ..task(1, 1)
    };
    let mut tx = a.begin().await.expect("begins");
    assert_eq!(patch_tasks::report(&mut tx, id).await.expect("read"), None);
    assert!(patch_tasks::put_report(&mut tx, &after(5, 1), &report(5)).await.expect("stored"));
    assert!(!patch_tasks::put_report(&mut tx, &after(6, 1), &report(6)).await.expect("stored"), "the version moved on");
    let now = patch_tasks::find(&mut tx, id).await.expect("read").expect("there");
    assert_eq!((now.planned, now.applied, now.skipped, now.reboots, now.report_seq), (3, 2, 1, 4, 5));
    assert!(!patch_tasks::put_report(&mut tx, &after(4, now.version), &report(4)).await.expect("stored"), "older than stored");
    assert!(patch_tasks::put_report(&mut tx, &after(7, now.version), &report(7)).await.expect("stored"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(patch_tasks::report(&mut c, id).await.expect("read"), Some(report(7)));
    assert_eq!(patch_tasks::at_work(&mut c, instance(1).id).await.expect("read").len(), 1);
    assert_eq!(patch_tasks::of_instance_by_id(&mut c, instance(1).id, &[id]).await.expect("read").len(), 1);
    assert!(patch_tasks::of_instance_by_id(&mut c, instance(2).id, &[id]).await.expect("read").is_empty());
    assert!(patch_tasks::of_instance_by_id(&mut c, instance(1).id, &[]).await.expect("read").is_empty());
}

async fn open_tasks_know_their_host_and_their_rival(a: Store, _b: Store) {
    fleet_of(&a, 2, 2).await;
    let mut tx = a.begin().await.expect("begins");
    instances::touch(&mut tx, instance(1).id, at(5)).await.expect("stored");
    instances::delete(&mut tx, instance(2).id).await.expect("deleted");
    let open = patch_tasks::open(&mut tx, job(2).id).await.expect("read");
    assert_eq!((open[0].instance_state, open[0].last_seen), (Some(InstanceState::Active), Some(at(5))));
    assert_eq!((open[1].instance_state, open[1].last_seen), (None, None), "the task outlives its host");
    assert_eq!(open[0].other_task, Some(task(1, 1).id), "the older job goes first");
    assert_eq!(patch_tasks::open(&mut tx, job(1).id).await.expect("read")[0].other_task, None);
    // A newer task that is at work is waited for as well.
    assert!(patch_tasks::update(&mut tx, &TaskRecord { state: TaskState::Acked, ..task(2, 1) }).await.expect("stored"));
    assert_eq!(patch_tasks::open(&mut tx, job(1).id).await.expect("read")[0].other_task, Some(task(2, 1).id));
    commit(tx).await.expect("committed");
}

async fn history_is_read_newest_first(a: Store, b: Store) {
    fleet_of(&a, 1, 0).await;
    let entry = |n: i64| HistoryRecord {
        at: at(n / 2),
        kind: "packages-changed".into(),
        message: format!("{n}"),
        changes: vec![PackageChange { name: "a".into(), arch: "x".into(), from: None, to: Some("1".into()) }],
        changes_total: 1,
        task: Some(task(1, 1).id),
    };
    let mut tx = a.begin().await.expect("begins");
    for n in 0..5 {
        history::insert(&mut tx, id(n as u128), instance(1).id, &entry(n)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let (mut messages, mut h) = (Vec::new(), None);
    for _ in 0..3 {
        let entries = history::list(&mut c, instance(1).id, &page(2, h)).await.expect("read");
        messages.extend(entries.items.iter().map(|e| e.message.clone()));
        h = entries.next_cursor;
    }
    assert_eq!(messages, ["4", "3", "2", "1", "0"]);
    assert_eq!(h, None);
    assert_eq!(history::list(&mut c, instance(1).id, &page(1, None)).await.expect("read").items, [entry(4)]);
}

async fn the_fleet_is_counted(a: Store, _b: Store) {
    let mut c = a.read().await.expect("reads");
    assert_eq!(fleet::counts(&mut c, at(0), &Scope::Everywhere, &Scope::Everywhere).await.expect("read"), FleetCounts::default());
    drop(c);
    fleet_of(&a, 3, 1).await;
    let mut tx = a.begin().await.expect("begins");
    instances::touch(&mut tx, instance(1).id, at(10)).await.expect("stored");
    instances::touch(&mut tx, instance(2).id, at(1)).await.expect("stored");
    let summary = InventorySummary {
        updates: 3,
        security_updates: 2,
        reboot_required: true,
        findings: 1,
        changed_at: Some(at(1)),
        ..InventorySummary::default()
    };
    instances::set_inventory(&mut tx, instance(1).id, &summary, None).await.expect("stored");
    commit(tx).await.expect("committed");
    let counts = fleet::counts(&mut a.read().await.expect("reads"), at(5), &Scope::Everywhere, &Scope::Everywhere).await;
    let counts = counts.expect("read");
    assert_eq!((counts.online, counts.offline, counts.never_seen), (1, 1, 1));
    assert_eq!((counts.updates, counts.security_updates, counts.with_updates, counts.with_security_updates), (3, 2, 1, 1));
    assert_eq!((counts.reboot_required, counts.with_findings, counts.jobs_running), (1, 1, 1));
    assert_eq!((counts.instances["ACTIVE"], counts.tasks["PENDING"]), (3, 3));
}

/// Draws a number and lets the task go, as the reconciler does; `false` when another server was faster.
async fn let_go(store: Store, job: JobRecord, task: TaskRecord) -> bool {
    let mut tx = store.begin().await.expect("begins");
    if !patch_jobs::update(&mut tx, &job).await.expect("asked") {
        return false;
    }
    let number = instances::next_order_number(&mut tx, task.instance, 50, InstanceState::Active).await.expect("drawn");
    let after = TaskRecord { state: TaskState::Notified, ..task };
    let won = patch_tasks::let_go(&mut tx, &after, number.expect("an active host")).await.expect("asked");
    commit(tx).await.expect("committed");
    won
}

async fn of_two_servers_one_lets_a_task_go(a: Store, b: Store) {
    let hosts = 10;
    fleet_of(&a, hosts, 1).await;
    for n in 1..=hosts {
        let row = patch_jobs::find(&mut a.read().await.expect("reads"), job(1).id).await.expect("read").expect("there");
        let one = tokio::spawn(let_go(a.clone(), row.clone(), task(1, n)));
        let two = tokio::spawn(let_go(b.clone(), row, task(1, n)));
        let won = [one.await.expect("ran"), two.await.expect("ran")];
        assert_eq!(won.iter().filter(|w| **w).count(), 1, "{won:?}");
    }
    let tasks = patch_tasks::list(&mut a.read().await.expect("reads"), job(1).id, &TaskQuery::default()).await.expect("read");
    assert!(tasks.items.iter().all(|t| t.state == TaskState::Notified && t.order_number == Some(50) && t.version == 2));
    let mut tx = a.begin().await.expect("begins");
    let active = InstanceState::Active;
    assert_eq!(instances::next_order_number(&mut tx, instance(1).id, 50, active).await.expect("drawn"), Some(51));
    assert_eq!(instances::next_order_number(&mut tx, instance(1).id, 0, active).await.expect("drawn"), Some(52));
    assert_eq!(instances::next_order_number(&mut tx, instance(1).id, 90, active).await.expect("drawn"), Some(90));
    assert_eq!(instances::next_order_number(&mut tx, InstanceId(id(5)), 0, active).await.expect("asked"), None);
    assert_eq!(instances::next_order_number(&mut tx, instance(1).id, 0, InstanceState::Pending).await.expect("asked"), None);
}

async fn of_two_servers_one_gives_a_host_work(a: Store, b: Store) {
    let hosts = 10;
    fleet_of(&a, hosts, 2).await;
    for n in 1..=hosts {
        let mut c = a.read().await.expect("reads");
        let first = patch_jobs::find(&mut c, job(1).id).await.expect("read").expect("there");
        let second = patch_jobs::find(&mut c, job(2).id).await.expect("read").expect("there");
        drop(c);
        let one = tokio::spawn(let_go(a.clone(), first, task(1, n)));
        let two = tokio::spawn(let_go(b.clone(), second, task(2, n)));
        let won = [one.await.expect("ran"), two.await.expect("ran")];
        assert_eq!(won.iter().filter(|w| **w).count(), 1, "two jobs, one host: {won:?}");
    }
}

async fn of_two_requests_one_takes_the_last_use_and_the_key(a: Store, b: Store) {
    fleet_of(&a, 0, 0).await;
    for n in 1..=10u32 {
        let last_use = |store: Store| async move {
            let mut tx = store.begin().await.expect("begins");
            let won = profiles::take_use(&mut tx, profile().id, n).await.expect("asked");
            commit(tx).await.expect("committed");
            won
        };
        let (one, two) = (tokio::spawn(last_use(a.clone())), tokio::spawn(last_use(b.clone())));
        assert!(one.await.expect("ran") ^ two.await.expect("ran"));

        let take = |store: Store, resource: &'static str| async move {
            let used = KeyUse { request_sha256: "r".into(), resource: resource.into() };
            let mut tx = store.begin().await.expect("begins");
            let won = idempotency::take(&mut tx, "me", &format!("k{n}"), &used, at(0)).await.expect("asked");
            commit(tx).await.expect("committed");
            let found = idempotency::find(&mut store.read().await.expect("reads"), "me", &format!("k{n}")).await;
            (won, found.expect("read").expect("there").resource)
        };
        let (one, two) = (tokio::spawn(take(a.clone(), "one")), tokio::spawn(take(b.clone(), "two")));
        let (one, two) = (one.await.expect("ran"), two.await.expect("ran"));
        assert!(one.0 ^ two.0);
        assert_eq!(one.1, two.1, "both see what the winner made");
        assert_eq!(one.1, if one.0 { "one" } else { "two" });
    }
    assert_eq!(profiles::find(&mut a.read().await.expect("reads"), profile().id).await.expect("read").expect("there").uses, 10);
    let mut tx = a.begin().await.expect("begins");
    assert_eq!(idempotency::forget(&mut tx, at(0)).await.expect("stored"), 0);
    assert_eq!(idempotency::forget(&mut tx, at(1)).await.expect("stored"), 10);
    commit(tx).await.expect("committed");
}
