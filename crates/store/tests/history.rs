//! The store's suite around the inventory history: interned packages, classes, timelines, what is swept; on SQLite always
//! and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::rows::{at, instance};
use common::sources::world;
use common::suite::Case;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Package, PackageSet, SectionKind, fingerprint};
use drydock_domain::inventory_history::{CHAIN_MAX, ClassId, PackageId, Timeline, Window};
use drydock_store::history_memo::Memo;
use drydock_store::history_writer::{Reported, Swept, Writer, sweep};
use drydock_store::inventory::Pointer;
use drydock_store::records::{HistoryRecord, InventorySummary, PageQuery};
use drydock_store::{Store, commit, history, history_classes, history_packages, history_timelines, instances, inventory};

const CASES: [Case; 6] = crate::cases![
    many_instances_are_written_at_once,
    sets_are_interned_once_and_read_back,
    a_chain_of_changes_is_read_back_at_every_step,
    two_servers_never_give_a_number_twice,
    the_fleet_is_read_now_and_as_of_a_time,
    what_nothing_names_is_swept,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn package(n: u32, version: u32) -> Package {
    Package {
        name: format!("p{n:03}"),
        arch: "x86_64".into(),
        version: format!("{version}-1.el9"),
        source: format!("p{n:03}-{version}-1.el9.src.rpm"),
        vendor: if n.is_multiple_of(2) { "V".into() } else { String::new() },
    }
}

/// Packages `0..count`, of which some have another version.
fn set(count: u32, changed: &[(u32, u32)]) -> Vec<Package> {
    let version = |n: u32| changed.iter().find(|(c, _)| *c == n).map_or(1, |(_, v)| *v);
    (0..count).map(|n| package(n, version(n))).collect()
}

/// Interns a set as the next thing that one server does.
async fn intern(store: &Store, memo: &Memo, packages: Vec<Package>, base: Option<ClassId>) -> (Arc<[PackageId]>, ClassId) {
    let body = serde_json::to_vec(&packages).expect("JSON");
    let reported = match memo.recognise(&Arc::new(body)) {
        Some(known) => Reported::Recognised(known),
        None => Reported::Parsed(packages),
    };
    let mut tx = store.begin().await.expect("begins");
    let mut writer = Writer::begin(&mut tx, memo).await.expect("held");
    let ids = writer.intern(&mut tx, vec![reported]).await.expect("interned").remove(0);
    let class = writer.classes(&mut tx, &[(ids.clone(), base)]).await.expect("a class")[0];
    let learnt = writer.finish(&mut tx).await.expect("written");
    commit(tx).await.expect("committed");
    learnt.remember();
    (ids, class)
}

async fn read_back(store: &Store, class: ClassId) -> Vec<Package> {
    let mut c = store.read().await.expect("reads");
    let ids = history_classes::decode(&mut c, &[class].into()).await.expect("decoded").remove(&class).expect("there");
    let found = history_packages::by_ids(&mut c, &ids).await.expect("read");
    PackageSet::new(found.into_iter().map(|(_, p)| p).collect()).as_slice().to_vec()
}

async fn put(store: &Store, host: u128, line: Timeline) {
    let mut tx = store.begin().await.expect("begins");
    history_timelines::note(&mut tx).await.expect("noted");
    history_timelines::put(&mut tx, &BTreeMap::from([(instance(host).id, line)])).await.expect("stored");
    commit(tx).await.expect("committed");
}

async fn sets_are_interned_once_and_read_back(a: Store, b: Store) {
    let (memo, other) = (Memo::default(), Memo::default());
    let (ids, class) = intern(&a, &memo, set(600, &[]), None).await;
    assert_eq!(ids.len(), 600);
    assert_eq!(intern(&a, &memo, set(600, &[]), None).await, (ids.clone(), class), "recognised");
    assert_eq!(intern(&b, &other, set(600, &[]), None).await, (ids.clone(), class), "found");
    assert_eq!(read_back(&b, class).await, set(600, &[]));
    let (_, empty) = intern(&a, &memo, vec![], Some(class)).await;
    assert_eq!(read_back(&a, empty).await, []);

    let mut c = b.read().await.expect("reads");
    let all = history_packages::after(&mut c, PackageId(0), 1000).await.expect("read");
    assert_eq!((all.len(), &all[0].1), (600, &package(0, 1)), "numbered in order");
    assert_eq!(history_packages::after(&mut c, all[597].0, 1000).await.expect("read"), all[598..]);
    drop(c);
    intern(&a, &memo, set(600, &[(7, 2)]), Some(class)).await;
    let mut c = b.read().await.expect("reads");
    let versions = history_packages::named(&mut c, "p007").await.expect("read");
    assert_eq!(versions.iter().map(|(_, p)| p.version.as_str()).collect::<Vec<_>>(), ["1-1.el9", "2-1.el9"]);
    assert!(history_packages::named(&mut c, "p").await.expect("read").is_empty());
    let wanted: Vec<PackageId> = versions.iter().map(|(id, _)| *id).collect();
    let every = BTreeSet::from([class, empty, ClassId(class.0 + 2)]);
    let held = history_classes::holding(&mut c, &every, &wanted).await.expect("read");
    assert_eq!(held, BTreeMap::from([(class, vec![wanted[0]]), (ClassId(class.0 + 2), vec![wanted[1]])]));
}

async fn a_chain_of_changes_is_read_back_at_every_step(a: Store, b: Store) {
    let memo = Memo::default();
    let mut base = None;
    let mut made = Vec::new();
    for step in 0..3 * CHAIN_MAX {
        let packages = set(300, &[(step, 2), (step + 50, 3)]);
        let (_, class) = intern(&a, &memo, packages.clone(), base).await;
        made.push((class, packages));
        base = Some(class);
    }
    for (class, packages) in &made {
        assert_eq!(&read_back(&b, *class).await, packages);
    }
    let mut c = b.read().await.expect("reads");
    let rows = history_classes::rows(&mut c, &made.iter().map(|(class, _)| *class).collect()).await.expect("read");
    assert_eq!(rows.values().map(|r| r.depth).max(), Some(CHAIN_MAX));
    let small = rows.values().filter(|r| r.ids.len() < 20).count();
    assert!(small > 2 * rows.len() / 3, "{small} of {} are differences", rows.len());
    let gone = history_classes::decode(&mut c, &[ClassId(9999)].into()).await;
    assert!(gone.is_err(), "a class that is not there is no empty set");
}

async fn two_servers_never_give_a_number_twice(a: Store, b: Store) {
    let one = async |store: &Store, seed: u32| {
        let memo = Memo::default();
        let mut out = Vec::new();
        for n in 0..10 {
            let packages = set(20, &[(n, seed), (n + 1, 100 + n)]);
            out.push((intern(store, &memo, packages.clone(), None).await.1, packages));
        }
        out
    };
    let (left, right) = tokio::join!(one(&a, 5), one(&b, 6));
    let classes: BTreeSet<ClassId> = left.iter().chain(&right).map(|(class, _)| *class).collect();
    assert_eq!(classes.len(), 20);
    for (class, packages) in left.iter().chain(&right) {
        assert_eq!(&read_back(&a, *class).await, packages);
    }
    // A failure undoes numbers and all, and the memory learns nothing of it.
    let memo = Memo::default();
    let mut tx = a.begin().await.expect("begins");
    let mut writer = Writer::begin(&mut tx, &memo).await.expect("held");
    writer.intern(&mut tx, vec![Reported::Parsed(set(3, &[(0, 77)]))]).await.expect("interned");
    drop(tx);
    let (_, class) = intern(&b, &memo, set(3, &[(0, 88)]), None).await;
    assert_eq!(read_back(&a, class).await, set(3, &[(0, 88)]));
}

async fn the_fleet_is_read_now_and_as_of_a_time(a: Store, b: Store) {
    world(&a, 0, 3).await;
    let memo = Memo::default();
    let (_, old) = intern(&a, &memo, set(10, &[]), None).await;
    let (_, new) = intern(&a, &memo, set(10, &[(1, 2)]), Some(old)).await;
    let second = |n: i64| at(n).as_second();
    let mut changed = Timeline::starting(second(0), old);
    changed.record(second(100), new);
    put(&a, 1, changed.clone()).await;
    put(&a, 2, Timeline::starting(second(50), old)).await;
    let mut c = b.read().await.expect("reads");
    let hosts = history_classes::hosts(&mut c).await.expect("read");
    assert_eq!(hosts, [(instance(1).id, new), (instance(2).id, old)]);
    let classes = memo.decode(&mut c, &[old, new].into()).await.expect("decoded");
    assert_eq!(classes.keys().copied().collect::<Vec<_>>(), [old, new]);
    assert_eq!(classes[&new].len(), 10);
    // A memory that lives on, which must see what others change.
    let elsewhere = Memo::default();
    let then = async |c: &mut drydock_store::Connection, secs| elsewhere.fleet_at(c, at(secs)).await.expect("read");
    assert_eq!(then(&mut c, -1).await, []);
    assert_eq!(then(&mut c, 20).await, [(instance(1).id, old)]);
    assert_eq!(then(&mut c, 100).await, [(instance(1).id, new), (instance(2).id, old)]);
    let lines = history_timelines::all(&mut c, &drydock_domain::access::Scope::Everywhere).await.expect("read");
    assert_eq!(lines[0], ("h1".to_owned(), changed.clone()));
    assert_eq!(history_classes::of_host(&mut c, instance(1).id).await.expect("read"), Some(new));
    assert_eq!(history_classes::of_host(&mut c, instance(3).id).await.expect("read"), None);
    assert_eq!(changed.classes(Window { from: second(100), until: second(200) }).collect::<Vec<_>>(), [new]);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::delete(&mut tx, instance(1).id).await.expect("deleted"));
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(history_timelines::of_host(&mut c, instance(1).id).await.expect("read"), None, "gone with the instance");
    assert_eq!(then(&mut c, 100).await, [(instance(2).id, old)], "the one that was remembered too");
    drop(c);
    let (_, newer) = intern(&a, &memo, set(10, &[(1, 2)]), Some(old)).await;
    let mut moved = Timeline::starting(second(50), old);
    moved.record(second(90), newer);
    put(&a, 2, moved).await;
    let mut c = b.read().await.expect("reads");
    assert_eq!(then(&mut c, 100).await, [(instance(2).id, newer)]);
    assert_eq!(then(&mut c, 60).await, [(instance(2).id, old)]);
}

async fn swept(store: &Store, unless_since: i64, now: i64) -> Option<Swept> {
    let mut tx = store.begin().await.expect("begins");
    let swept = sweep(&mut tx, at(unless_since), at(now)).await.expect("swept");
    commit(tx).await.expect("committed");
    swept
}

async fn what_nothing_names_is_swept(a: Store, b: Store) {
    world(&a, 0, 2).await;
    let memo = Memo::default();
    let (_, base) = intern(&a, &memo, set(40, &[]), None).await;
    let (_, kept) = intern(&a, &memo, set(40, &[(1, 2)]), Some(base)).await;
    let (_, pointed) = intern(&a, &memo, set(40, &[(2, 2)]), Some(base)).await;
    let (_, lost) = intern(&a, &memo, set(40, &[(3, 9)]), Some(base)).await;
    let mut line = Timeline::starting(0, lost);
    line.record(at(10).as_second(), kept);
    put(&a, 1, line).await;

    // A body of packages is stored as its class and read as what was reported.
    let body = serde_json::to_vec(&set(40, &[(2, 2)])).expect("JSON");
    let print = fingerprint(&body);
    let mut tx = a.begin().await.expect("begins");
    inventory::put_body(&mut tx, SectionKind::Packages, &print, &inventory::class_body(pointed), at(0)).await.expect("stored");
    let pointer = Pointer {
        kind: SectionKind::Packages,
        fingerprint: print.clone(),
        reported_fingerprint: print.clone(),
        changed_at: at(5),
    };
    inventory::set_pointer(&mut tx, instance(2).id, &pointer).await.expect("stored");
    commit(tx).await.expect("committed");

    assert_eq!(swept(&a, 0, 100).await, Some(Swept::default()), "everything is named");
    assert_eq!(swept(&a, 50, 100).await, None, "that was just done");
    let mut tx = b.begin().await.expect("begins");
    let without = history_timelines::without(&mut tx, 10).await.expect("read");
    assert_eq!(without, [(instance(2).id, print.clone(), at(5))], "its history has not begun");
    let old: BTreeMap<InstanceId, Timeline> = history_timelines::ended_before(&mut tx, at(10), 10).await.expect("read");
    let mut line = old[&instance(1).id].clone();
    assert!(history_timelines::ended_before(&mut tx, at(9), 10).await.expect("read").is_empty());
    assert!(line.cut(at(10).as_second()));
    history_timelines::put(&mut tx, &BTreeMap::from([(instance(1).id, line)])).await.expect("stored");
    commit(tx).await.expect("committed");
    assert_eq!(swept(&b, 100, 200).await, Some(Swept { classes: 1, packages: 1 }));
    let mut c = a.read().await.expect("reads");
    assert!(history_packages::named(&mut c, "p003").await.expect("read").iter().all(|(_, p)| p.version == "1-1.el9"));
    assert_eq!(inventory::body(&mut c, SectionKind::Packages, &print).await.expect("read"), Some(body.clone()));
    let section = inventory::section(&mut c, instance(2).id, SectionKind::Packages).await.expect("read").expect("there");
    assert_eq!(section.body, body);
    drop(c);
    assert_eq!(read_back(&a, kept).await, set(40, &[(1, 2)]), "its base stays");
    // The same set again, by a server that still remembers it: it gets a new number.
    let (_, again) = intern(&a, &memo, set(40, &[(3, 9)]), Some(kept)).await;
    assert!(again > lost);
    assert_eq!(read_back(&b, again).await, set(40, &[(3, 9)]));
}

async fn many_instances_are_written_at_once(a: Store, b: Store) {
    // More than one statement takes.
    const HOSTS: u128 = 300;
    world(&a, 0, 0).await;
    let mut tx = a.begin().await.expect("begins");
    for n in 4..=HOSTS {
        instances::insert(&mut tx, &instance(n)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    let hosts: Vec<InstanceId> = (1..=HOSTS).map(|n| instance(n).id).collect();
    let kind = SectionKind::Health;
    let print = |n: u128| fingerprint(n.to_string().as_bytes());
    let pointer = |n: u128| Pointer { kind, fingerprint: print(n), reported_fingerprint: print(n), changed_at: at(1) };
    let summary = |n: u128| InventorySummary {
        packages: u32::try_from(n).expect("small"),
        updates: 5,
        security_updates: 4,
        held_updates: 3,
        reboot_required: n.is_multiple_of(2),
        findings: 2,
        changed_at: Some(at(9)),
    };
    let entry = |n: u128| HistoryRecord {
        at: at(9),
        kind: "k".into(),
        message: format!("m{n}"),
        changes: vec![],
        changes_total: 7,
        task: None,
    };
    let mut tx = a.begin().await.expect("begins");
    for _twice in 0..2 {
        let bodies = (1..=HOSTS).map(|n| (kind, print(n), n.to_string().into_bytes())).collect();
        inventory::put_bodies(&mut tx, bodies, at(0)).await.expect("stored");
        let pointers: Vec<_> = (1..=HOSTS).map(|n| (instance(n).id, pointer(n), at(2))).collect();
        inventory::set_pointers(&mut tx, &pointers).await.expect("stored");
    }
    inventory::confirm_all(&mut tx, &[kind].into(), &hosts[..2], at(5)).await.expect("noted");
    let os = |n: u128| (n == 3).then(|| r#"{"hostname":"new"}"#.to_owned());
    let summaries: Vec<_> = (1..=HOSTS).map(|n| (instance(n).id, summary(n), os(n))).collect();
    instances::set_inventories(&mut tx, &summaries).await.expect("stored");
    let entries: Vec<_> = (1..=HOSTS)
        .map(|n| {
            let changes = history::changes(&[]).expect("JSON");
            history::Ready { id: common::rows::id(90_000 + n), instance: instance(n).id, entry: entry(n), changes }
        })
        .collect();
    history::insert_all(&mut tx, &entries).await.expect("stored");
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    let pointers = inventory::pointers_of(&mut c, &hosts).await.expect("read");
    assert_eq!((pointers.len(), &pointers[&hosts[299]]), (300, &vec![pointer(300)]));
    let wanted: Vec<String> = (1..=HOSTS + 1).map(print).collect();
    let bodies = inventory::stored_bodies(&mut c, kind, &wanted).await.expect("read");
    assert_eq!((bodies.len(), &bodies[&print(300)]), (300, &b"300".to_vec()));
    for (n, reported_at) in [(1, at(5)), (3, at(2))] {
        let section = inventory::section(&mut c, instance(n).id, kind).await.expect("read").expect("there");
        assert_eq!((section.body, section.reported_at), (n.to_string().into_bytes(), reported_at));
    }
    let found = instances::inventories(&mut c, &hosts).await.expect("read");
    assert_eq!((found.len(), found[&hosts[299]].0), (300, summary(300)));
    let hostname = async |c: &mut drydock_store::Connection, n| {
        instances::find(c, instance(n).id).await.expect("read").expect("there").os.expect("facts").hostname
    };
    assert_eq!((hostname(&mut c, 3).await, hostname(&mut c, 4).await), ("new".to_owned(), "h4".to_owned()), "others keep theirs");
    for n in [1, 300] {
        let list = history::list(&mut c, instance(n).id, &PageQuery::default()).await.expect("read").items;
        assert_eq!(list, [entry(n)]);
    }
}
