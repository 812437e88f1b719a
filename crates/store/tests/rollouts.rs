//! Rollouts, undo jobs, calendars and reboot slots, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, instance, page, profile};
use common::suite::Case;

use drydock_domain::access::Scope;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::inventory::{SectionKind, fingerprint};
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_domain::patch::soak::SoakVersion;
use drydock_domain::patch::task::TaskState;
use drydock_domain::patch::undo::{Barred, UndoOrder};
use drydock_domain::rollout::{Approval, Control, Halt, HaltCause, RolloutPlan};
use drydock_domain::work::FrozenVersion;
use drydock_store::calendars::{CalendarKind, CalendarRecord, SlotRecord};
use drydock_store::inventory::Pointer;
use drydock_store::records::*;
use drydock_store::undo::{BarQuery, BarRecord};
use drydock_store::{
    Store, calendars, commit, frozen, instances, inventory, patch_jobs, patch_tasks, profiles, seen, snapshots, sources, undo,
};

const CASES: [Case; 8] = crate::cases![
    plans_and_what_people_did_are_kept_with_the_job,
    a_halt_is_taken_back_once,
    the_planner_reads_narrow_rows,
    bars_are_set_once_and_lifted,
    frozen_versions_are_of_the_first_wave,
    versions_are_seen_first_once_and_forgotten_at_last,
    updates_and_snapshots_wait_to_be_noted,
    calendars_have_their_names_and_slots_their_holders,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn job(n: u128, origin: JobOrigin, dry_run: bool) -> JobRecord {
    let spec = format!(r#"{{"displayName":"job {n}","instanceFilter":{{"all":true}},"dryRun":{dry_run}}}"#);
    JobRecord {
        id: JobId(id(1000 + n)),
        spec: serde_json::from_str(&spec).expect("a spec"),
        state: JobState::Patching,
        created_by: "me".into(),
        created_at: at(0),
        deadline: None,
        finished_at: None,
        cancel_requested: false,
        kill_requested: false,
        error_message: String::new(),
        origin,
        control: Control::default(),
        plans: vec![],
        compartment: "/A".into(),
        owner: "token 7".into(),
        version: 1,
    }
}

fn task(job: u128, host: u128, wave: u16, zone: &str) -> TaskRecord {
    TaskRecord {
        id: TaskId(id(10_000 * job + host)),
        job: JobId(id(1000 + job)),
        job_display_name: format!("job {job}"),
        dry_run: false,
        instance: InstanceId(id(100 + host)),
        instance_name: format!("h{host}"),
        wave,
        zone: zone.into(),
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

/// A profile, three hosts, two real jobs and a dry run with a task for each host.
async fn fleet(store: &Store) {
    let mut tx = store.begin().await.expect("begins");
    profiles::insert(&mut tx, &profile(), "t").await.expect("stored");
    for n in 1..=3 {
        instances::insert(&mut tx, &instance(n)).await.expect("stored");
    }
    for j in 1..=3 {
        patch_jobs::insert(&mut tx, &job(j, JobOrigin::Asked, j == 3)).await.expect("stored");
        let zone = |n| if n == 3 { "b" } else { "a" };
        let tasks: Vec<_> = (1..=3).map(|n| task(j, n, u16::from(n == 3), zone(n))).collect();
        patch_tasks::insert_pending(&mut tx, &tasks).await.expect("stored");
    }
    commit(tx).await.expect("committed");
}

async fn moved(store: &Store, task: &TaskRecord, state: TaskState, finished: Option<i64>) {
    let mut tx = store.begin().await.expect("begins");
    let now = patch_tasks::find(&mut tx, task.id).await.expect("read").expect("there");
    let finished_at = finished.map(at);
    let after = TaskRecord { state, finished_at, updated_at: finished_at.unwrap_or(now.updated_at), ..now };
    assert!(patch_tasks::update(&mut tx, &after).await.expect("stored"));
    commit(tx).await.expect("committed");
}

async fn plans_and_what_people_did_are_kept_with_the_job(a: Store, b: Store) {
    fleet(&a).await;
    let before = job(1, JobOrigin::Asked, false);
    let control = Control {
        halted: Some(Halt { at: at(5), wave: Some(0), cause: HaltCause::Asked { by: "me".into(), reason: "why".into() } }),
        approved: Some(Approval { by: "you".into(), at: at(4) }),
        ..Control::default()
    };
    let plans = vec![RolloutPlan { number: 1, ..RolloutPlan::default() }, RolloutPlan { number: 2, ..RolloutPlan::default() }];
    let after = JobRecord { control, plans, ..before.clone() };
    let mut tx = a.begin().await.expect("begins");
    assert!(patch_jobs::update(&mut tx, &after).await.expect("stored"));
    assert!(!patch_jobs::update(&mut tx, &after).await.expect("stored"), "the version moved on");
    patch_tasks::set_waves(&mut tx, &[(task(1, 1, 0, "a").id, 2)]).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let found = patch_jobs::find(&mut c, after.id).await.expect("read").expect("there");
    assert_eq!(found, JobRecord { version: 2, ..after });
    let tasks = patch_tasks::list(&mut c, found.id, &TaskQuery::default()).await.expect("read").items;
    let seen: Vec<_> = tasks.iter().map(|t| (t.wave, t.zone.as_str(), t.version)).collect();
    assert_eq!(seen, [(2, "a", 1), (0, "a", 1), (1, "b", 1)], "whoever is at work on a task goes on");
    let found = patch_tasks::of_job_and_instance(&mut c, job(1, JobOrigin::Asked, false).id, instance(2).id).await.expect("read");
    assert_eq!(found.map(|t| t.id), Some(task(1, 2, 0, "a").id));
}

async fn a_halt_is_taken_back_once(a: Store, b: Store) {
    fleet(&a).await;
    let undone = job(1, JobOrigin::Asked, false).id;
    let by_itself = JobOrigin::Undo { job: undone, wave: Some("canary".into()), halted_at: Some(at(5)) };
    let by_hand = JobOrigin::Undo { job: undone, wave: None, halted_at: None };
    let mut tx = a.begin().await.expect("begins");
    for (n, origin) in [(11, &by_itself), (12, &by_hand), (13, &by_hand)] {
        patch_jobs::insert(&mut tx, &job(n, origin.clone(), false)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    assert!(patch_jobs::insert(&mut tx, &job(14, by_itself.clone(), false)).await.expect_err("once").is_duplicate());
    drop(tx);
    let mut c = b.read().await.expect("reads");
    let found = patch_jobs::undone_by(&mut c, undone).await.expect("read");
    assert_eq!(found.iter().map(|j| &j.origin).collect::<Vec<_>>(), [&by_itself, &by_hand, &by_hand]);
}

async fn the_planner_reads_narrow_rows(a: Store, b: Store) {
    fleet(&a).await;
    moved(&a, &task(1, 1, 0, "a"), TaskState::Succeeded, Some(7)).await;
    moved(&a, &task(2, 1, 0, "a"), TaskState::ApplyingPatches, None).await;
    moved(&a, &task(2, 3, 0, "a"), TaskState::Rebooting, None).await;
    moved(&a, &task(3, 2, 0, "a"), TaskState::ApplyingPatches, None).await;
    let (one, two) = (JobId(id(1001)), JobId(id(1002)));
    let mut c = b.read().await.expect("reads");
    let ended = patch_tasks::ended(&mut c, one).await.expect("read");
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].wave, ended[0].zone.as_str(), ended[0].state, ended[0].at), (0, "a", TaskState::Succeeded, at(7)));
    let others = patch_tasks::disrupted_by_others(&mut c, one).await.expect("read");
    assert_eq!(others.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 1), ("b".to_owned(), 1)], "a dry run disturbs nobody");
    assert!(patch_tasks::disrupted_by_others(&mut c, two).await.expect("read").is_empty());

    // What is watched while a wave bakes: failed units before, and what the host says now.
    let body = br#"{"failedUnits":["x.service"]}"#.to_vec();
    let print = fingerprint(&body);
    let mut tx = a.begin().await.expect("begins");
    patch_tasks::queue_for_budget(&mut tx).await.expect("queued");
    patch_tasks::set_units_before(&mut tx, task(1, 1, 0, "a").id, &["y.service".into()]).await.expect("stored");
    for kind in [SectionKind::Health, SectionKind::Packages] {
        inventory::put_body(&mut tx, kind, &print, &body, at(1)).await.expect("stored");
        let pointer = Pointer { kind, fingerprint: print.clone(), reported_fingerprint: print.clone(), changed_at: at(6) };
        inventory::set_pointer(&mut tx, instance(1).id, &pointer).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let watched = patch_tasks::watched(&mut c, one, &[0, 1]).await.expect("read");
    assert_eq!(watched.len(), 1);
    assert_eq!((watched[0].units_before.clone(), watched[0].health.clone()), (Some(vec!["y.service".into()]), Some(print)));
    assert!(patch_tasks::watched(&mut c, one, &[1]).await.expect("read").is_empty());
    assert!(patch_tasks::watched(&mut c, one, &[]).await.expect("read").is_empty());
}

async fn bars_are_set_once_and_lifted(a: Store, b: Store) {
    fleet(&a).await;
    let bar = |n: u128, host: u128, name: &str| BarRecord {
        id: id(n),
        instance: instance(host).id,
        instance_name: instance(host).name,
        bar: Barred { name: name.into(), arch: "x".into(), version: "2".into(), reason: "undone\0".into() },
        job: JobId(id(1002)),
        created_at: at(3),
    };
    let order = UndoOrder::default();
    let mut tx = a.begin().await.expect("begins");
    for (n, host, name, new) in [(1, 1, "a", true), (2, 1, "b", true), (3, 2, "a", true), (4, 1, "a", false)] {
        assert_eq!(undo::bar(&mut tx, &bar(n, host, name)).await.expect("stored"), new);
    }
    let task = task(1, 1, 0, "a").id;
    undo::put_order(&mut tx, task, &order).await.expect("stored");
    undo::put_order(&mut tx, task, &order).await.expect("the first one stays");
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    assert_eq!(undo::order(&mut tx, task).await.expect("read"), Some(order));
    let names: Vec<String> = undo::bars_of(&mut tx, instance(1).id).await.expect("read").into_iter().map(|b| b.name).collect();
    assert_eq!(names, ["a", "b"]);
    let first =
        undo::bars(&mut tx, &BarQuery { page: page(2, None), ..BarQuery::default() }, &Scope::Everywhere).await.expect("read");
    assert_eq!(first.items.iter().map(|b| b.id).collect::<Vec<_>>(), [id(3), id(2)], "newest first");
    let next = undo::bars(&mut tx, &BarQuery { page: page(2, first.next_cursor), ..BarQuery::default() }, &Scope::Everywhere)
        .await
        .expect("read");
    assert_eq!(next.items[0].bar.reason, "undone\u{fffd}");
    undo::lift_one(&mut tx, instance(2).id, "a", "x", "2").await.expect("lifted");
    let of_b = BarQuery { name: Some("b".into()), instance: Some(instance(1).id), ..BarQuery::default() };
    let elsewhere = Scope::In(vec!["/B".into()]);
    assert!(undo::bars(&mut tx, &BarQuery::default(), &elsewhere).await.expect("read").items.is_empty());
    assert_eq!(undo::lift(&mut tx, &of_b, &elsewhere).await.expect("lifted"), 0, "they lie in the tenancy");
    assert_eq!(undo::lift(&mut tx, &of_b, &Scope::Everywhere).await.expect("lifted"), 1);
    let of_job = BarQuery { job: Some(JobId(id(1002))), ..BarQuery::default() };
    assert_eq!(undo::lift(&mut tx, &of_job, &Scope::Everywhere).await.expect("lifted"), 1);
}

async fn frozen_versions_are_of_the_first_wave(a: Store, b: Store) {
    fleet(&a).await;
    let version = |name: &str, version: &str| FrozenVersion { name: name.into(), arch: "x".into(), version: version.into() };
    let one = JobId(id(1001));
    let mut tx = a.begin().await.expect("begins");
    assert_eq!(frozen::first_wave(&mut tx, one, "debian 12").await.expect("read"), None);
    frozen::add(&mut tx, one, "debian 12", 1, &[version("a", "1"), version("b", "1")]).await.expect("stored");
    frozen::add(&mut tx, one, "debian 12", 1, &[version("a", "1"), version("a", "2")]).await.expect("stored");
    frozen::add(&mut tx, one, "debian 13", 2, &[version("a", "9")]).await.expect("stored");
    frozen::add(&mut tx, one, "debian 13", 2, &[]).await.expect("nothing is nothing");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(frozen::first_wave(&mut c, one, "debian 12").await.expect("read"), Some(1));
    let of = frozen::of_wave(&mut c, one, "debian 12", 1).await.expect("read");
    assert_eq!(of, [version("a", "1"), version("a", "2"), version("b", "1")]);
    assert!(frozen::of_wave(&mut c, JobId(id(1002)), "debian 12", 1).await.expect("read").is_empty());
}

fn seen_version(name: &str, version: &str) -> SoakVersion {
    SoakVersion { name: name.into(), arch: "x".into(), version: version.into() }
}

async fn versions_are_seen_first_once_and_forgotten_at_last(a: Store, b: Store) {
    const HOUR: i64 = 3600;
    let version = seen_version;
    let mut tx = a.begin().await.expect("begins");
    let twice = [(version("a", "1"), false), (version("a", "1"), true), (version("b", "1\0"), false)];
    seen::note(&mut tx, &twice, at(50), at(50)).await.expect("noted");
    // Neither later nor, for a while, sooner news changes a row; an earlier sight does.
    seen::note(&mut tx, &[(version("a", "1"), false)], at(90), at(90)).await.expect("noted");
    seen::note(&mut tx, &[(version("a", "1"), false), (version("a", "2"), false)], at(40), at(60)).await.expect("noted");
    let many: Vec<(SoakVersion, bool)> = (0..300).map(|n| (version(&format!("p{n:03}"), "1"), false)).collect();
    seen::note(&mut tx, &many, at(70), at(70)).await.expect("noted");
    commit(tx).await.expect("committed");

    let mut tx = b.begin().await.expect("begins");
    let mut found = seen::of_names(&mut tx, &["a".into(), "b".into(), "none".into()]).await.expect("read");
    found.sort();
    let list: Vec<(String, i64)> = found
        .into_iter()
        .map(|s| (format!("{} {}", s.version.name, s.version.version), s.first_seen.as_second() - at(0).as_second()))
        .collect();
    assert_eq!(list, [("a 1".to_owned(), 40), ("a 2".to_owned(), 40), ("b 1\u{fffd}".to_owned(), 50)]);
    let names: Vec<String> = (0..300).map(|n| format!("p{n:03}")).collect();
    assert_eq!(seen::of_names(&mut tx, &names).await.expect("read").len(), 300);
    let fresh = seen::fresh(&mut tx, 10).await.expect("read");
    assert_eq!(fresh.iter().map(|s| &s.version).collect::<Vec<_>>(), [&version("a", "1")], "a host did not have it");

    // A day later it counts as seen again.
    seen::note(&mut tx, &[(version("b", "1\0"), true)], at(25 * HOUR), at(25 * HOUR)).await.expect("noted");
    assert_eq!(seen::fresh(&mut tx, 1).await.expect("read")[0].version.name, "b", "the newest");
    assert_eq!(seen::forget(&mut tx, at(70), usize::MAX).await.expect("forgotten"), 2, "a 1 and a 2");
    assert_eq!(seen::forget(&mut tx, at(70), 299).await.expect("forgotten"), 2, "beyond the limit");
    let left =
        seen::of_names(&mut tx, &["a".into(), "b".into(), "p000".into(), "p001".into(), "p002".into()]).await.expect("read");
    let mut left: Vec<&str> = left.iter().map(|s| s.version.name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["b", "p002"]);
}

async fn updates_and_snapshots_wait_to_be_noted(a: Store, b: Store) {
    fleet(&a).await;
    let mut tx = a.begin().await.expect("begins");
    let body = |n: u8| (SectionKind::Updates, fingerprint(&[n]), vec![n]);
    inventory::put_bodies(&mut tx, vec![body(1), body(2)], at(10)).await.expect("stored");
    inventory::put_bodies(&mut tx, vec![(SectionKind::Health, fingerprint(&[3]), vec![3])], at(10)).await.expect("stored");
    let pointer = Pointer {
        kind: SectionKind::Updates,
        fingerprint: fingerprint(&[1]),
        reported_fingerprint: fingerprint(&[1]),
        changed_at: at(10),
    };
    inventory::set_pointer(&mut tx, instance(1).id, &pointer).await.expect("set");
    commit(tx).await.expect("committed");

    let mut tx = b.begin().await.expect("begins");
    let waiting = seen::updates_to_note(&mut tx, at(20), 10).await.expect("read");
    let mut prints: Vec<&str> = waiting.iter().map(|u| u.fingerprint.as_str()).collect();
    prints.sort_unstable();
    let mut both = [fingerprint(&[1]), fingerprint(&[2])];
    both.sort_unstable();
    assert_eq!(prints, both);
    assert!(waiting.iter().all(|u| u.created_at == at(10) && u.body.len() == 1));
    assert_eq!(seen::updates_to_note(&mut tx, at(20), 1).await.expect("read").len(), 1);
    seen::updates_noted(&mut tx, &both, at(20)).await.expect("noted");
    assert!(seen::updates_to_note(&mut tx, at(20), 10).await.expect("read").is_empty());
    let again = seen::updates_to_note(&mut tx, at(21), 10).await.expect("read");
    assert_eq!(again.iter().map(|u| &u.fingerprint).collect::<Vec<_>>(), [&fingerprint(&[1])], "what a host still reports");

    assert_eq!(seen::snapshot_to_note(&mut tx).await.expect("read"), None);
    sources::insert(&mut tx, &common::sources::source(1)).await.expect("stored");
    let (second, first) = (common::sources::snapshot(1, 2), common::sources::snapshot(1, 1));
    for one in [&second, &first] {
        snapshots::insert(&mut tx, one, &[]).await.expect("stored");
    }
    for one in [first, second] {
        assert_eq!(seen::snapshot_to_note(&mut tx).await.expect("read"), Some(one.id), "oldest first");
        seen::snapshot_noted(&mut tx, one.id).await.expect("noted");
    }
    assert_eq!(seen::snapshot_to_note(&mut tx).await.expect("read"), None);
}

async fn calendars_have_their_names_and_slots_their_holders(a: Store, b: Store) {
    fleet(&a).await;
    let calendar = |n: u128, kind, name: &str| CalendarRecord {
        id: id(n),
        kind,
        name: name.into(),
        spec: "{}".into(),
        compartment: "/A".into(),
        created_by: "me".into(),
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    };
    let group = calendar(3, CalendarKind::RebootSlots, "x");
    let mut tx = a.begin().await.expect("begins");
    calendars::insert(&mut tx, &calendar(1, CalendarKind::Window, "x")).await.expect("stored");
    calendars::insert(&mut tx, &calendar(2, CalendarKind::Freeze, "x")).await.expect("stored");
    calendars::insert(&mut tx, &group).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut tx = b.begin().await.expect("begins");
    assert!(calendars::insert(&mut tx, &calendar(4, CalendarKind::Window, "x")).await.expect_err("taken").is_duplicate());
    drop(tx);
    let mut tx = b.begin().await.expect("begins");
    let both = calendars::list(&mut tx, &[CalendarKind::Window, CalendarKind::Freeze], &Scope::Everywhere).await.expect("read");
    assert_eq!(both.len(), 2);
    let edited = CalendarRecord { spec: "[]".into(), updated_at: at(1), ..group.clone() };
    assert!(calendars::update(&mut tx, &edited).await.expect("stored"));
    assert!(!calendars::update(&mut tx, &edited).await.expect("stored"), "the version moved on");
    let found = calendars::find(&mut tx, CalendarKind::RebootSlots, "x").await.expect("read").expect("there");
    assert_eq!(found, CalendarRecord { version: 2, ..edited });

    let slot = |n: u128, since: i64, until: i64| SlotRecord {
        task: task(1, n, 0, "a").id,
        instance: instance(n).id,
        instance_name: format!("h{n}"),
        why: "reboot".into(),
        since: at(since),
        expires_at: at(until),
    };
    assert!(calendars::hold(&mut tx, group.id).await.expect("held"));
    assert!(!calendars::hold(&mut tx, id(99)).await.expect("asked"));
    calendars::take_slot(&mut tx, group.id, &slot(1, 2, 10)).await.expect("given");
    calendars::take_slot(&mut tx, group.id, &slot(2, 1, 5)).await.expect("given");
    let names = async |tx: &mut drydock_store::Tx, now| {
        let held = calendars::holders(tx, group.id, at(now)).await.expect("read");
        held.into_iter().map(|h| h.instance_name).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut tx, 3).await, ["h2", "h1"], "longest first");
    assert_eq!(names(&mut tx, 5).await, ["h1"], "one has expired");
    calendars::take_slot(&mut tx, group.id, &slot(2, 6, 12)).await.expect("given anew");
    assert_eq!(names(&mut tx, 7).await, ["h1", "h2"]);
    assert_eq!(calendars::release_of_task(&mut tx, slot(1, 0, 0).task).await.expect("taken back"), 1);
    assert_eq!(calendars::release_of_host(&mut tx, group.id, instance(1).id).await.expect("asked"), 0);
    assert_eq!(calendars::forget_expired(&mut tx, at(13)).await.expect("forgotten"), 1);
    calendars::take_slot(&mut tx, group.id, &slot(3, 6, 12)).await.expect("given");
    assert!(calendars::delete(&mut tx, group.id).await.expect("deleted"), "with its slots");
    assert!(!calendars::delete(&mut tx, group.id).await.expect("asked"));
}
