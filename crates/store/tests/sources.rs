//! The store's suite around sources, snapshots, environments, pointers, attachments and hosts' documents, on SQLite
//! always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::rows::{at, id, instance, page};
use common::sources::*;
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::ids::ContentJobId;
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::Finding;
use drydock_domain::source::host::{HostSourcesReport, HostSourcesState, SourcesMode};
use drydock_domain::source::resolve::AttachedTo;
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::Format;
use drydock_store::host_sources::Document;
use drydock_store::pointers::{MOVES_KEPT, Move};
use drydock_store::records::PageQuery;
use drydock_store::source_records::*;
use drydock_store::{Store, attachments, commit, environments, host_sources, instances, pointers, snapshots, sources};

const CASES: [Case; 14] = crate::cases![
    sources_are_kept_whole_and_edited_by_version,
    sources_are_listed_by_filter_and_page,
    a_sync_is_not_an_edit,
    snapshots_are_found_by_number_time_and_age,
    a_snapshot_in_use_is_not_retired,
    environments_are_kept_by_rank_and_not_deleted_under_hosts,
    a_pointer_moves_with_its_history,
    old_moves_are_forgotten,
    a_pointer_names_its_own_sources_snapshots_only,
    of_two_servers_one_moves_a_pointer,
    attachments_go_with_what_they_name,
    no_attachment_outlives_its_target,
    hosts_of_a_promotion_are_counted,
    documents_grow_by_generation_and_reports_stand_beside_them,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

async fn sources_are_kept_whole_and_edited_by_version(a: Store, b: Store) {
    let mut tx = a.begin().await.expect("begins");
    sources::insert(&mut tx, &source(1)).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut tx = a.begin().await.expect("begins");
    let again = SourceRecord { id: source_id(2), ..source(1) };
    assert!(sources::insert(&mut tx, &again).await.expect_err("refused").is_duplicate(), "one name, one source");
    drop(tx);

    let mut c = b.read().await.expect("reads");
    assert_eq!(sources::find(&mut c, source_id(1)).await.expect("read"), Some(source(1)), "secrets and all");
    assert_eq!(sources::find_by_name(&mut c, "s1").await.expect("read"), Some(source(1)));
    assert_eq!(sources::find_by_name(&mut c, "s\0").await.expect("read"), None);
    drop(c);

    let edited = SourceSpec { description: "new".into(), sync_interval_secs: None, parent: None, ..source(1).spec };
    let mut tx = a.begin().await.expect("begins");
    assert!(!sources::edit(&mut tx, source_id(1), &edited, 7).await.expect("asked"), "another version");
    let renamed = SourceSpec { name: "other".into(), ..edited.clone() };
    assert!(!sources::edit(&mut tx, source_id(1), &renamed, 1).await.expect("asked"), "a name never changes");
    let other_format = SourceSpec { format: Format::Deb, ..edited.clone() };
    assert!(!sources::edit(&mut tx, source_id(1), &other_format, 1).await.expect("asked"), "nor a format");
    assert!(sources::edit(&mut tx, source_id(1), &edited, 1).await.expect("asked"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let expected = SourceRecord { spec: edited, version: 2, ..source(1) };
    assert_eq!(sources::find(&mut c, source_id(1)).await.expect("read"), Some(expected));
    let outline = sources::outlines(&mut c).await.expect("read").pop().expect("there");
    assert_eq!((outline.parent, outline.sync_interval_secs, outline.version), (None, None, 2), "columns follow the edit");
}

async fn sources_are_listed_by_filter_and_page(a: Store, b: Store) {
    let mut tx = a.begin().await.expect("begins");
    for n in 1..=5 {
        sources::insert(&mut tx, &source(n)).await.expect("stored");
    }
    let spec: SourceSpec =
        serde_json::from_str(r#"{"name":"mix_1","format":"deb","origin":{"sources":{"from":["b","a"]}}}"#).expect("a spec");
    sources::insert(&mut tx, &SourceRecord { spec, ..source(6) }).await.expect("stored");
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    let mut names = Vec::new();
    let mut query = SourceQuery { page: page(2, None), ..SourceQuery::default() };
    loop {
        let got = sources::list(&mut c, &query, &Scope::Everywhere).await.expect("read");
        names.extend(got.items.into_iter().map(|s| s.spec.name));
        match got.next_cursor {
            Some(next) => query.page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["mix_1", "s1", "s2", "s3", "s4", "s5"]);
    let deb = SourceQuery { format: Some(Format::Deb), ..SourceQuery::default() };
    assert_eq!(sources::list(&mut c, &deb, &Scope::Everywhere).await.expect("read").items.len(), 1);
    let holds = |text: &str| SourceQuery { name_contains: text.into(), ..SourceQuery::default() };
    assert_eq!(sources::list(&mut c, &holds("S3"), &Scope::Everywhere).await.expect("read").items.len(), 1, "whatever the case");
    assert_eq!(
        sources::list(&mut c, &holds("_"), &Scope::Everywhere).await.expect("read").items.len(),
        1,
        "an underscore is an underscore"
    );
    let two = sources::find_all(&mut c, &[source_id(2), source_id(1), source_id(77)]).await.expect("read");
    assert_eq!(two, [source(1), source(2)]);
    let outlines = sources::outlines(&mut c).await.expect("read");
    assert_eq!(outlines.len(), 6);
    assert_eq!((outlines[0].kind, outlines[0].from.join(" ")), (SourceKind::Sources, "b a".to_owned()), "the order counts");
    assert_eq!((outlines[1].kind, outlines[1].parent.as_deref()), (SourceKind::Upstream, Some("base")));
    assert_eq!(outlines[1].sync_interval_secs, Some(3600));
}

async fn a_sync_is_not_an_edit(a: Store, b: Store) {
    world(&a, 1, 0).await;
    let job = |n| ContentJobId(id(n));
    let mut tx = a.begin().await.expect("begins");
    assert!(sources::set_job_ended(&mut tx, source_id(1), job(1), true).await.expect("stored"));
    assert!(sources::set_job_ended(&mut tx, source_id(1), job(2), true).await.expect("stored"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let failed = SourceRecord { failures: 2, last_job: Some(job(2)), ..source(1) };
    assert_eq!(sources::find(&mut c, source_id(1)).await.expect("read"), Some(failed));
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(sources::set_synced(&mut tx, source_id(1), job(3), Some(r#"{"x":1}"#), at(5)).await.expect("stored"));
    assert!(!sources::set_synced(&mut tx, source_id(9), job(3), None, at(5)).await.expect("asked"), "no such source");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let synced = SourceRecord { last_sync_at: Some(at(5)), last_job: Some(job(3)), ..source(1) };
    assert_eq!(sources::find(&mut c, source_id(1)).await.expect("read"), Some(synced), "the version stays");
    assert_eq!(sources::sync_state(&mut c, source_id(1)).await.expect("read").as_deref(), Some(r#"{"x":1}"#));
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    sources::forget_sync_state(&mut tx, source_id(1)).await.expect("stored");
    commit(tx).await.expect("committed");
    assert_eq!(sources::sync_state(&mut b.read().await.expect("reads"), source_id(1)).await.expect("read"), None);
}

async fn snapshots_are_found_by_number_time_and_age(a: Store, b: Store) {
    world(&a, 3, 4).await;
    let finding = Finding { subject: "x.rpm".into(), message: "two of a kind".into() };
    let five = SnapshotRecord { findings_total: 1, kept: true, ..snapshot(1, 5) };
    let mut tx = a.begin().await.expect("begins");
    snapshots::insert(&mut tx, &five, std::slice::from_ref(&finding)).await.expect("stored");
    commit(tx).await.expect("committed");
    let mut tx = a.begin().await.expect("begins");
    let rival = SnapshotRecord { id: snapshot_id(1, 99), ..snapshot(1, 5) };
    assert!(snapshots::insert(&mut tx, &rival, &[]).await.expect_err("refused").is_duplicate(), "one number, one snapshot");
    drop(tx);

    let mut c = b.read().await.expect("reads");
    let one = source_id(1);
    assert_eq!(snapshots::find(&mut c, five.id).await.expect("read"), Some(five.clone()));
    assert_eq!(snapshots::findings(&mut c, five.id).await.expect("read"), [finding]);
    assert_eq!(snapshots::findings(&mut c, snapshot_id(1, 88)).await.expect("read"), []);
    assert_eq!(snapshots::by_number(&mut c, one, 2).await.expect("read"), Some(snapshot(1, 2)));
    assert_eq!(snapshots::by_number(&mut c, one, 6).await.expect("read"), None);
    assert_eq!(snapshots::newest(&mut c, one).await.expect("read"), Some(five.clone()));
    for (secs, number) in [(99, None), (100, Some(1)), (199, Some(1)), (200, Some(2)), (10_000, Some(5))] {
        let got = snapshots::as_of(&mut c, one, at(secs)).await.expect("read");
        assert_eq!(got.map(|s| s.number), number, "as of {secs}");
    }
    let newest = snapshots::newest_of(&mut c, &[one, source_id(2), source_id(9)]).await.expect("read");
    assert_eq!(newest, BTreeMap::from([(one, five.clone()), (source_id(2), snapshot(2, 4))]));
    let some = snapshots::find_all(&mut c, &[five.id, snapshot_id(3, 1), snapshot_id(3, 9)]).await.expect("read");
    assert_eq!(some.into_keys().collect::<BTreeSet<_>>(), BTreeSet::from([five.id, snapshot_id(3, 1)]));
    let first = snapshots::list(&mut c, one, &page(3, None)).await.expect("read");
    assert_eq!(first.items.iter().map(|s| s.number).collect::<Vec<_>>(), [5, 4, 3]);
    let rest = snapshots::list(&mut c, one, &page(3, first.next_cursor)).await.expect("read");
    assert_eq!((rest.items.iter().map(|s| s.number).collect::<Vec<_>>(), rest.next_cursor), (vec![2, 1], None));
    assert_eq!(snapshots::roots(&mut c).await.expect("read").len(), 13);
    assert_eq!(snapshots::newest_roots(&mut c, one, 2).await.expect("read"), [five.root, snapshot(1, 4).root]);
}

async fn a_snapshot_in_use_is_not_retired(a: Store, b: Store) {
    world(&a, 2, 5).await;
    assert!(point(&a, Some(1), 1, 2).await);
    assert!(point(&a, None, 1, 5).await);
    let mut tx = a.begin().await.expect("begins");
    assert!(snapshots::set_kept(&mut tx, snapshot_id(1, 3), true).await.expect("stored"));
    assert!(!snapshots::set_kept(&mut tx, snapshot_id(1, 9), true).await.expect("asked"));
    commit(tx).await.expect("committed");
    let uses = snapshots::uses(&mut b.read().await.expect("reads"), source_id(1)).await.expect("read");
    let seen: Vec<_> = uses.iter().map(|u| (u.snapshot.number, u.pointers, u.snapshot.kept)).collect();
    assert_eq!(seen, [(1, 0, false), (2, 1, false), (3, 0, true), (4, 0, false), (5, 1, false)]);
    let mut tx = b.begin().await.expect("begins");
    for (source, number, goes) in [(1, 1, true), (1, 1, false), (1, 2, false), (1, 3, false), (1, 5, false), (2, 5, false)] {
        let gone = snapshots::delete_unused(&mut tx, snapshot_id(source, number)).await.expect("asked");
        assert_eq!(gone, goes, "{source}/{number}");
    }
    commit(tx).await.expect("committed");
    assert_eq!(
        snapshots::list(&mut a.read().await.expect("reads"), source_id(1), &PageQuery::default())
            .await
            .expect("read")
            .items
            .len(),
        4
    );
}

async fn environments_are_kept_by_rank_and_not_deleted_under_hosts(a: Store, b: Store) {
    world(&a, 1, 2).await;
    for rival in [environment(9, "prod"), EnvironmentRecord { id: environment_id(9), ..environment(2, "stage") }] {
        let mut tx = a.begin().await.expect("begins");
        assert!(environments::insert(&mut tx, &rival).await.expect_err("refused").is_duplicate(), "{}", rival.spec.name);
    }
    put_into(&a, 1, Some(2), SourcesMode::Exclusive).await;
    put_into(&a, 2, Some(2), SourcesMode::Additive).await;
    let mut c = b.read().await.expect("reads");
    let all = environments::list(&mut c).await.expect("read");
    assert_eq!(all, [environment(1, "dev"), environment(2, "prod")]);
    assert_eq!(environments::find_by_name(&mut c, "prod").await.expect("read"), Some(environment(2, "prod")));
    assert_eq!(
        environments::instance_counts(&mut c, &Scope::Everywhere).await.expect("read"),
        BTreeMap::from([(environment_id(2), 2)])
    );
    let inside = environments::instances(&mut c, environment_id(2), 1).await.expect("read");
    assert_eq!(inside, [(instance(1).id, "h1".to_owned())]);
    let host = instances::find(&mut c, instance(1).id).await.expect("read").expect("there");
    assert_eq!((host.environment, host.sources_mode, host.version), (Some(environment_id(2)), SourcesMode::Exclusive, 2));
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    let spec = drydock_domain::source::environment::EnvironmentSpec { rank: 0, ..environment(2, "prod").spec };
    assert!(!environments::edit(&mut tx, environment_id(2), &spec, 5).await.expect("asked"));
    assert!(environments::edit(&mut tx, environment_id(2), &spec, 1).await.expect("asked"));
    assert_eq!(environments::list(&mut tx).await.expect("read")[0].spec, spec, "lowest rank first");
    attachments::attach(&mut tx, &attachment(AttachedTo::Environment(environment_id(2)), 1)).await.expect("stored");
    commit(tx).await.expect("committed");
    assert!(point(&a, Some(2), 1, 1).await);

    let mut tx = a.begin().await.expect("begins");
    assert!(!environments::delete(&mut tx, environment_id(2)).await.expect("asked"), "hosts are in it");
    let gone = instances::set_sources(&mut tx, instance(3).id, SourcesMode::Additive, Some(environment_id(77)), 1).await;
    assert!(gone.expect_err("refused").is_referenced(), "no such environment");
    drop(tx);
    put_into(&a, 1, None, SourcesMode::Additive).await;
    put_into(&a, 2, Some(1), SourcesMode::Additive).await;
    let mut tx = a.begin().await.expect("begins");
    assert!(environments::delete(&mut tx, environment_id(2)).await.expect("asked"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(environments::find(&mut c, environment_id(2)).await.expect("read"), None);
    assert_eq!(pointers::of_source(&mut c, source_id(1)).await.expect("read"), [], "its pointers go");
    assert_eq!(pointers::moves(&mut c, Some(environment_id(2)), source_id(1)).await.expect("read"), []);
    assert_eq!(attachments::all(&mut c).await.expect("read"), [], "its attachments go");
}

async fn a_pointer_moves_with_its_history(a: Store, b: Store) {
    world(&a, 2, 3).await;
    for (environment, source, number) in [(None, 1, 1), (Some(1), 1, 1), (None, 1, 2), (Some(1), 1, 2), (Some(1), 2, 3)] {
        assert!(point(&a, environment, source, number).await);
    }
    let mut c = b.read().await.expect("reads");
    let dev = Some(environment_id(1));
    let (pointer, head) = pointers::with_head(&mut c, dev, source_id(1)).await.expect("read").expect("there");
    let expected = PointerRecord {
        environment: dev,
        source: source_id(1),
        snapshot: snapshot_id(1, 2),
        number: 2,
        root: snapshot(1, 2).root,
        moved_at: at(1),
        moved_by: "me".into(),
        version: 2,
    };
    assert_eq!((&pointer, head.as_str()), (&expected, "head of 2"));
    assert_eq!(pointers::find(&mut c, dev, source_id(1)).await.expect("read"), Some(expected));
    assert_eq!(pointers::with_head(&mut c, Some(environment_id(2)), source_id(1)).await.expect("read"), None);
    assert_eq!(pointers::of_view(&mut c, dev).await.expect("read").len(), 2);
    assert_eq!(pointers::of_view(&mut c, None).await.expect("read").len(), 1);
    let of_source = pointers::of_source(&mut c, source_id(1)).await.expect("read");
    assert_eq!(of_source.iter().map(|p| p.environment).collect::<Vec<_>>(), [None, dev]);
    assert_eq!(pointers::all(&mut c).await.expect("read").len(), 3);

    let moves = pointers::moves(&mut c, dev, source_id(1)).await.expect("read");
    let steps: Vec<_> = moves.iter().map(|m| (m.from, m.to, m.at)).collect();
    let (one, two) = ((snapshot_id(1, 1), 1), (snapshot_id(1, 2), 2));
    assert_eq!(steps, [(None, one, at(0)), (Some(one), two, at(1))]);
    let seen = pointers::seen(&mut c, dev, source_id(1)).await.expect("read");
    assert_eq!(seen, BTreeSet::from([one.0, two.0]));
    assert!(pointers::seen(&mut c, Some(environment_id(2)), source_id(1)).await.expect("read").is_empty());
    let newest = pointers::history(&mut c, dev, None, &page(2, None), &Scope::Everywhere).await.expect("read");
    let rest = pointers::history(&mut c, dev, None, &page(2, newest.next_cursor), &Scope::Everywhere).await.expect("read");
    assert_eq!((newest.items.len(), newest.items[0].at, rest.items.len()), (2, at(1), 1));
    let of_two =
        pointers::history(&mut c, dev, Some(source_id(2)), &PageQuery::default(), &Scope::Everywhere).await.expect("read");
    assert_eq!(of_two.items.iter().map(|m| m.to.1).collect::<Vec<_>>(), [3]);
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    assert!(pointers::renew_head(&mut tx, &pointer, "signed anew", pointer.moved_at).await.expect("stored"));
    let stale = PointerRecord { version: 1, ..pointer };
    assert!(!pointers::renew_head(&mut tx, &stale, "late", stale.moved_at).await.expect("asked"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let (renewed, head) = pointers::with_head(&mut c, dev, source_id(1)).await.expect("read").expect("there");
    assert_eq!((renewed.version, renewed.number, head.as_str()), (3, 2, "signed anew"));
    assert_eq!(pointers::moves(&mut c, dev, source_id(1)).await.expect("read").len(), 2, "that is no move");
}

async fn old_moves_are_forgotten(a: Store, b: Store) {
    world(&a, 1, 2).await;
    let total = u32::try_from(MOVES_KEPT).expect("small") + 3;
    for n in 0..total {
        assert!(point(&a, Some(1), 1, 1 + n % 2).await);
        if n == 50 {
            // Versions get a gap: it costs no move.
            let mut tx = a.begin().await.expect("begins");
            let now = pointers::find(&mut tx, Some(environment_id(1)), source_id(1)).await.expect("read").expect("there");
            assert!(pointers::renew_head(&mut tx, &now, "signed anew", now.moved_at).await.expect("stored"));
            commit(tx).await.expect("committed");
        }
    }
    let mut c = b.read().await.expect("reads");
    let moves = pointers::moves(&mut c, Some(environment_id(1)), source_id(1)).await.expect("read");
    assert_eq!(i64::try_from(moves.len()).expect("small"), MOVES_KEPT);
    assert_eq!((moves[0].at, moves.last().map(|m| m.at)), (at(3), Some(at(i64::from(total)))), "the newest are kept");
}

async fn a_pointer_names_its_own_sources_snapshots_only(a: Store, _b: Store) {
    world(&a, 2, 2).await;
    for to in [snapshot_id(2, 1), snapshot_id(1, 9)] {
        let mut tx = a.begin().await.expect("begins");
        let step = Move {
            id: id(1),
            environment: None,
            source: source_id(1),
            from: None,
            to,
            to_number: 1,
            head: "{}",
            at: at(0),
            who: "me",
        };
        assert!(pointers::move_to(&mut tx, &step).await.expect_err("refused").is_referenced());
    }
}

async fn of_two_servers_one_moves_a_pointer(a: Store, b: Store) {
    world(&a, 10, 3).await;
    for s in 1..=10 {
        for first in [true, false] {
            let from = pointers::find(&mut a.read().await.expect("reads"), None, source_id(s)).await.expect("read");
            assert_eq!(from.is_none(), first);
            let go = |store: Store, number: u32, from: Option<PointerRecord>| async move {
                let mut tx = store.begin().await.expect("begins");
                let step = Move {
                    id: id(s * 1000 + u128::from(number) * 10 + u128::from(first)),
                    environment: None,
                    source: source_id(s),
                    from: from.as_ref(),
                    to: snapshot_id(s, number),
                    to_number: number,
                    head: "{}",
                    at: at(0),
                    who: "me",
                };
                let moved = pointers::move_to(&mut tx, &step).await.expect("asked");
                commit(tx).await.expect("committed");
                moved
            };
            let one = tokio::spawn(go(a.clone(), 2, from.clone()));
            let two = tokio::spawn(go(b.clone(), 3, from));
            let won = [one.await.expect("ran"), two.await.expect("ran")];
            assert_eq!(won.iter().filter(|w| **w).count(), 1, "{won:?}");
        }
        let moves = pointers::moves(&mut a.read().await.expect("reads"), None, source_id(s)).await.expect("read");
        let now = pointers::find(&mut b.read().await.expect("reads"), None, source_id(s)).await.expect("read").expect("there");
        assert_eq!((moves.len(), moves[1].to.0, now.version), (2, now.snapshot, 2), "the history is the pointer's");
    }
}

async fn attachments_go_with_what_they_name(a: Store, b: Store) {
    world(&a, 3, 1).await;
    let prod = AttachedTo::Environment(environment_id(2));
    let mut tx = a.begin().await.expect("begins");
    for attached in [attachment(on_host(1), 1), attachment(on_host(1), 2), attachment(on_host(2), 1), attachment(prod, 3)] {
        assert!(attachments::attach(&mut tx, &attached).await.expect("stored"));
    }
    assert!(!attachments::attach(&mut tx, &attachment(prod, 3)).await.expect("asked"), "it is attached already");
    commit(tx).await.expect("committed");
    let mut tx = a.begin().await.expect("begins");
    assert!(attachments::attach(&mut tx, &attachment(prod, 9)).await.expect_err("refused").is_referenced());
    drop(tx);

    let mut c = b.read().await.expect("reads");
    let of_targets = attachments::of_targets(&mut c, &[prod, on_host(1), on_host(3)]).await.expect("read");
    assert_eq!(of_targets, [attachment(on_host(1), 1), attachment(on_host(1), 2), attachment(prod, 3)]);
    assert_eq!(attachments::of_targets(&mut c, &[]).await.expect("read"), []);
    let of_one = attachments::of_source(&mut c, source_id(1)).await.expect("read");
    assert_eq!(of_one, [attachment(on_host(1), 1), attachment(on_host(2), 1)]);
    let counts = attachments::counts(&mut c, &[source_id(1), source_id(2), source_id(9)]).await.expect("read");
    assert_eq!(counts, BTreeMap::from([(source_id(1), 2), (source_id(2), 1)]));
    assert_eq!(attachments::all(&mut c).await.expect("read").len(), 4);
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    assert!(!sources::delete(&mut tx, source_id(1), 1).await.expect("asked"), "it is attached");
    assert!(attachments::detach(&mut tx, on_host(2), source_id(1)).await.expect("stored"));
    assert!(!attachments::detach(&mut tx, on_host(2), source_id(1)).await.expect("asked"));
    assert!(instances::delete(&mut tx, instance(1).id).await.expect("stored"));
    assert!(!sources::delete(&mut tx, source_id(1), 2).await.expect("asked"), "another version");
    commit(tx).await.expect("committed");
    assert_eq!(attachments::all(&mut b.read().await.expect("reads")).await.expect("read"), [attachment(prod, 3)]);

    assert!(point(&a, Some(1), 1, 1).await);
    let mut tx = a.begin().await.expect("begins");
    assert!(sources::delete(&mut tx, source_id(1), 1).await.expect("asked"), "with snapshots and pointers");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(snapshots::find(&mut c, snapshot_id(1, 1)).await.expect("read"), None);
    assert_eq!(pointers::all(&mut c).await.expect("read"), []);
}

async fn no_attachment_outlives_its_target(a: Store, b: Store) {
    world(&a, 1, 0).await;
    let mut tx = a.begin().await.expect("begins");
    for nowhere in [on_host(77), AttachedTo::Environment(environment_id(77))] {
        assert!(!attachments::attach(&mut tx, &attachment(nowhere, 1)).await.expect("asked"));
    }
    commit(tx).await.expect("committed");
    for round in 10..30 {
        let mut tx = a.begin().await.expect("begins");
        instances::insert(&mut tx, &instance(round)).await.expect("stored");
        commit(tx).await.expect("committed");
        let attach = |store: Store| async move {
            let mut tx = store.begin().await.expect("begins");
            attachments::attach(&mut tx, &attachment(on_host(round), 1)).await.expect("asked");
            commit(tx).await.expect("committed");
        };
        let delete = |store: Store| async move {
            let mut tx = store.begin().await.expect("begins");
            assert!(instances::delete(&mut tx, instance(round).id).await.expect("stored"));
            commit(tx).await.expect("committed");
        };
        let (one, two) = (tokio::spawn(attach(a.clone())), tokio::spawn(delete(b.clone())));
        one.await.expect("ran");
        two.await.expect("ran");
    }
    assert_eq!(attachments::all(&mut a.read().await.expect("reads")).await.expect("read"), []);
}

async fn hosts_of_a_promotion_are_counted(a: Store, b: Store) {
    world(&a, 2, 1).await;
    for host in 1..=3 {
        put_into(&a, host, Some(2), SourcesMode::Additive).await;
    }
    let mut tx = a.begin().await.expect("begins");
    attachments::attach(&mut tx, &attachment(on_host(1), 1)).await.expect("stored");
    attachments::attach(&mut tx, &attachment(on_host(3), 1)).await.expect("stored");
    attachments::attach(&mut tx, &attachment(AttachedTo::Environment(environment_id(2)), 2)).await.expect("stored");
    assert!(instances::set_state(&mut tx, instance(3).id, InstanceState::Revoked, "", 2).await.expect("stored"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    let prod = environment_id(2);
    let one = attachments::hosts_seeing(&mut c, prod, source_id(1), 10, &Scope::Everywhere).await.expect("read");
    assert_eq!(one, HostsSeeing { total: 1, first: vec![(instance(1).id, "h1".into())] }, "revoked hosts see nothing");
    let two = attachments::hosts_seeing(&mut c, prod, source_id(2), 1, &Scope::Everywhere).await.expect("read");
    assert_eq!(two, HostsSeeing { total: 2, first: vec![(instance(1).id, "h1".into())] });
    let dev = attachments::hosts_seeing(&mut c, environment_id(1), source_id(1), 10, &Scope::Everywhere).await.expect("read");
    assert_eq!(dev, HostsSeeing::default());
}

async fn documents_grow_by_generation_and_reports_stand_beside_them(a: Store, b: Store) {
    world(&a, 1, 1).await;
    let host = instance(1).id;
    let report = HostSourcesReport {
        generation: 0,
        state: HostSourcesState::Failed,
        taken_over: vec!["/etc/x.repo".into()],
        findings: vec![Finding { subject: "a".into(), message: "b".into() }],
    };
    let document =
        |generation, text: &'static str| Document { generation, fingerprint: text, document: text, problems: &[], at: at(9) };
    let mut tx = a.begin().await.expect("begins");
    host_sources::put_report(&mut tx, host, &report, at(4)).await.expect("stored");
    commit(tx).await.expect("committed");
    assert_eq!(host_sources::generation(&mut b.read().await.expect("reads"), host).await.expect("read"), 0);
    let inputs = host_sources::inputs(&mut b.read().await.expect("reads"), None, 10).await.expect("read");
    assert_eq!(inputs, [], "nobody gave it sources");

    let mut tx = a.begin().await.expect("begins");
    let problems = ["why not".to_owned()];
    let first = Document { problems: &problems, ..document(1, "one") };
    assert!(host_sources::put(&mut tx, host, &first, 0).await.expect("stored"));
    assert!(!host_sources::put(&mut tx, host, &document(1, "x"), 0).await.expect("asked"), "somebody was faster");
    assert!(!host_sources::put(&mut tx, host, &document(1, "x"), 1).await.expect("asked"), "generations grow");
    assert!(host_sources::put(&mut tx, host, &document(2, "two"), 1).await.expect("stored"));
    host_sources::set_problems(&mut tx, host, &problems).await.expect("stored");
    assert!(host_sources::put(&mut tx, instance(2).id, &document(1, "other"), 0).await.expect("stored"));
    commit(tx).await.expect("committed");
    let expected = HostSourcesRecord {
        instance: host,
        generation: 2,
        fingerprint: "two".into(),
        document: "two".into(),
        problems: problems.to_vec(),
        made_at: Some(at(9)),
        report: Some(report),
        reported_at: Some(at(4)),
    };
    let mut c = b.read().await.expect("reads");
    assert_eq!(host_sources::find(&mut c, host).await.expect("read"), Some(expected));
    assert_eq!(host_sources::generation(&mut c, host).await.expect("read"), 2);
    drop(c);

    put_into(&a, 3, None, SourcesMode::Exclusive).await;
    let mut c = b.read().await.expect("reads");
    let first = host_sources::inputs(&mut c, None, 2).await.expect("read");
    let rest = host_sources::inputs(&mut c, first.last().map(|i| i.instance), 2).await.expect("read");
    let seen: Vec<_> =
        first.iter().chain(&rest).map(|i| (i.name.as_str(), i.generation, i.fingerprint.as_str(), i.mode)).collect();
    let additive = SourcesMode::Additive;
    assert_eq!(seen, [("h1", 2, "two", additive), ("h2", 1, "other", additive), ("h3", 0, "", SourcesMode::Exclusive)]);
    assert_eq!(first[0].os, instance(1).os);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::set_state(&mut tx, host, InstanceState::Revoked, "", 1).await.expect("stored"));
    assert!(instances::delete(&mut tx, instance(2).id).await.expect("stored"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(host_sources::inputs_of(&mut c, host).await.expect("read"), None, "a revoked host gets nothing");
    assert_eq!(host_sources::find(&mut c, instance(2).id).await.expect("read"), None, "gone with its host");
}
