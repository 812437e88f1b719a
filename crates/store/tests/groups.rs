//! The store's suite around groups, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::rows::{at, id, instance, page};
use common::sources::*;
use common::suite::Case;
use drydock_domain::access::Scope;
use drydock_domain::group::OsFamily;
use drydock_domain::ids::GroupId;
use drydock_domain::instance::InstanceState;
use drydock_domain::source::host::SourcesMode;
use drydock_domain::source::resolve::AttachedTo;
use drydock_store::source_records::*;
use drydock_store::{Store, attachments, commit, environments, groups, host_sources, instances};

const CASES: [Case; 5] = crate::cases![
    groups_are_kept_whole_and_edited_by_version,
    an_instance_is_in_one_group_at_most,
    a_group_goes_when_it_is_empty_and_takes_its_attachments,
    members_look_through_their_groups_environment,
    nobody_ends_in_a_deleted_group,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

const ACTIVE: InstanceState = InstanceState::Active;

fn group_id(n: u128) -> GroupId {
    GroupId(id(70_000 + n))
}

fn group(n: u128, environment: Option<u128>) -> GroupRecord {
    GroupRecord {
        id: group_id(n),
        name: format!("g{n}"),
        description: "d".into(),
        environment: environment.map(environment_id),
        compartment: "/".into(),
        family: None,
        created_by: "me".into(),
        created_at: at(0),
        version: 1,
    }
}

async fn insert(store: &Store, group: &GroupRecord) {
    let mut tx = store.begin().await.expect("begins");
    groups::insert(&mut tx, group).await.expect("stored");
    commit(tx).await.expect("committed");
}

async fn join(store: &Store, group: u128, host: u128) -> bool {
    let mut tx = store.begin().await.expect("begins");
    groups::hold(&mut tx, group_id(group)).await.expect("held").expect("there");
    let joined = groups::join(&mut tx, group_id(group), instance(host).id, ACTIVE, "/").await.expect("asked");
    commit(tx).await.expect("committed");
    joined
}

async fn groups_are_kept_whole_and_edited_by_version(a: Store, b: Store) {
    world(&a, 0, 0).await;
    insert(&a, &group(2, Some(1))).await;
    insert(&a, &group(1, None)).await;
    let mut tx = a.begin().await.expect("begins");
    let again = GroupRecord { id: group_id(9), ..group(1, None) };
    assert!(groups::insert(&mut tx, &again).await.expect_err("refused").is_duplicate());
    drop(tx);
    let mut tx = a.begin().await.expect("begins");
    assert!(groups::insert(&mut tx, &group(3, Some(77))).await.expect_err("refused").is_referenced());
    drop(tx);
    let mut c = b.read().await.expect("reads");
    assert_eq!(groups::list(&mut c).await.expect("read"), [group(1, None), group(2, Some(1))], "by name");
    assert_eq!(groups::find_by_name(&mut c, "g2").await.expect("read"), Some(group(2, Some(1))));
    assert_eq!(groups::find_by_name(&mut c, "g\0").await.expect("read"), None);
    drop(c);

    let family = OsFamily { os: "ol".into(), release: "8".into(), architecture: "x86_64".into() };
    let mut tx = a.begin().await.expect("begins");
    assert!(!groups::edit(&mut tx, group_id(1), "x", None, 7).await.expect("asked"), "another version");
    assert!(groups::edit(&mut tx, group_id(1), "x", Some(environment_id(2)), 1).await.expect("asked"));
    assert_eq!(groups::hold(&mut tx, group_id(1)).await.expect("held").map(|g| g.version), Some(3), "holding is a version");
    assert_eq!(groups::hold(&mut tx, group_id(77)).await.expect("asked"), None);
    groups::set_family(&mut tx, group_id(1), Some(&family)).await.expect("stored");
    commit(tx).await.expect("committed");
    let expected = GroupRecord { description: "x".into(), family: Some(family), version: 3, ..group(1, Some(2)) };
    assert_eq!(groups::find(&mut b.read().await.expect("reads"), group_id(1)).await.expect("read"), Some(expected));
    let mut tx = a.begin().await.expect("begins");
    groups::set_family(&mut tx, group_id(1), None).await.expect("stored");
    assert_eq!(groups::find(&mut tx, group_id(1)).await.expect("read").and_then(|g| g.family), None);
}

async fn an_instance_is_in_one_group_at_most(a: Store, b: Store) {
    world(&a, 0, 0).await;
    insert(&a, &group(1, None)).await;
    insert(&a, &group(2, None)).await;
    for host in [3, 1] {
        assert!(join(&a, 1, host).await);
    }
    assert!(!join(&b, 2, 1).await && !join(&b, 1, 1).await, "it is in one");
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::set_state(&mut tx, instance(2).id, InstanceState::Revoked, "", 1).await.expect("stored"));
    commit(tx).await.expect("committed");
    assert!(!join(&b, 2, 2).await, "it is not active");

    let mut c = b.read().await.expect("reads");
    let host = instances::find(&mut c, instance(1).id).await.expect("read").expect("there");
    assert_eq!((host.group, host.version), (Some(group_id(1)), 2));
    assert_eq!(groups::member_counts(&mut c, &Scope::Everywhere).await.expect("read"), BTreeMap::from([(group_id(1), 2)]));
    let first = groups::members(&mut c, group_id(1), &page(1, None), &Scope::Everywhere).await.expect("read");
    assert_eq!(first.items.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["h1"]);
    let rest = groups::members(&mut c, group_id(1), &page(1, first.next_cursor), &Scope::Everywhere).await.expect("read");
    assert_eq!((rest.items[0].name.as_str(), rest.next_cursor), ("h3", None));
    assert_eq!(rest.items[0].os, instance(3).os);
    let targets = instances::targets(&mut c, ACTIVE).await.expect("read");
    let grouped: Vec<_> = targets.iter().map(|t| (t.name.as_str(), t.group.as_deref())).collect();
    assert_eq!(grouped, [("h1", Some("g1")), ("h3", Some("g1"))], "what filters look at");
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    assert!(!groups::leave(&mut tx, group_id(2), instance(1).id).await.expect("asked"));
    assert!(groups::leave(&mut tx, group_id(1), instance(1).id).await.expect("asked"));
    commit(tx).await.expect("committed");
    assert!(join(&b, 2, 1).await);
}

async fn a_group_goes_when_it_is_empty_and_takes_its_attachments(a: Store, b: Store) {
    world(&a, 1, 0).await;
    insert(&a, &group(1, None)).await;
    assert!(join(&a, 1, 1).await);
    let mut tx = a.begin().await.expect("begins");
    let there = AttachedTo::Group(group_id(1));
    assert!(attachments::attach(&mut tx, &attachment(there, 1)).await.expect("stored"));
    let nowhere = AttachedTo::Group(group_id(77));
    assert!(!attachments::attach(&mut tx, &attachment(nowhere, 1)).await.expect("asked"), "there is no such group");
    assert!(!groups::delete(&mut tx, group_id(1)).await.expect("asked"), "somebody is in it");
    commit(tx).await.expect("committed");
    assert_eq!(attachments::all(&mut b.read().await.expect("reads")).await.expect("read"), [attachment(there, 1)]);
    let mut tx = a.begin().await.expect("begins");
    assert!(instances::delete(&mut tx, instance(1).id).await.expect("stored"), "a member may go");
    assert!(groups::delete(&mut tx, group_id(1)).await.expect("asked"));
    assert!(!groups::delete(&mut tx, group_id(1)).await.expect("asked"));
    commit(tx).await.expect("committed");
    assert_eq!(attachments::all(&mut b.read().await.expect("reads")).await.expect("read"), []);
}

async fn members_look_through_their_groups_environment(a: Store, b: Store) {
    world(&a, 2, 0).await;
    insert(&a, &group(1, Some(2))).await;
    for host in [1, 2] {
        assert!(join(&a, 1, host).await);
    }
    // Its own environment wins.
    put_into(&a, 2, Some(1), SourcesMode::Additive).await;
    let mut tx = a.begin().await.expect("begins");
    attachments::attach(&mut tx, &attachment(AttachedTo::Group(group_id(1)), 1)).await.expect("stored");
    attachments::attach(&mut tx, &attachment(AttachedTo::Environment(environment_id(2)), 2)).await.expect("stored");
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    let places: Vec<_> =
        host_sources::inputs(&mut c, None, 10).await.expect("read").iter().map(|h| (h.group, h.place())).collect();
    let own = |n| Some(environment_id(n));
    assert_eq!(places, [(Some(group_id(1)), own(2)), (Some(group_id(1)), own(1))], "h3 has no sources");
    let alone = host_sources::inputs_of(&mut c, instance(3).id).await.expect("read").expect("there");
    assert_eq!((alone.group, alone.place()), (None, None));
    let first = instances::find(&mut c, instance(1).id).await.expect("read").expect("there");
    assert_eq!((first.environment, first.place()), (None, own(2)));
    let counts = environments::instance_counts(&mut c, &Scope::Everywhere).await.expect("read");
    assert_eq!(counts, BTreeMap::from([(environment_id(1), 1), (environment_id(2), 1)]));
    let seeing = |environment, source| {
        let b = b.clone();
        async move {
            let mut c = b.read().await.expect("reads");
            let found =
                attachments::hosts_seeing(&mut c, environment_id(environment), source_id(source), 10, &Scope::Everywhere).await;
            found.expect("read").first.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        }
    };
    assert_eq!(seeing(2, 1).await, ["h1"], "by the group");
    assert_eq!(seeing(1, 1).await, ["h2"], "by the group, through its own environment");
    assert_eq!(seeing(2, 2).await, ["h1"], "by the environment of the group");
    drop(c);
    put_into(&a, 2, None, SourcesMode::Additive).await;
    let mut tx = a.begin().await.expect("begins");
    assert!(!environments::delete(&mut tx, environment_id(2)).await.expect("asked"), "a group names it");
    assert!(groups::edit(&mut tx, group_id(1), "", None, 3).await.expect("asked"));
    assert!(environments::delete(&mut tx, environment_id(2)).await.expect("asked"));
}

async fn nobody_ends_in_a_deleted_group(a: Store, b: Store) {
    world(&a, 0, 0).await;
    for round in 10..30 {
        insert(&a, &group(round, None)).await;
        let mut tx = a.begin().await.expect("begins");
        instances::insert(&mut tx, &instance(round)).await.expect("stored");
        commit(tx).await.expect("committed");
        let enter = |store: Store| async move {
            let mut tx = store.begin().await.expect("begins");
            if groups::hold(&mut tx, group_id(round)).await.expect("asked").is_none() {
                return false;
            }
            let joined = groups::join(&mut tx, group_id(round), instance(round).id, ACTIVE, "/").await.expect("asked");
            commit(tx).await.expect("committed");
            joined
        };
        let delete = |store: Store| async move {
            let mut tx = store.begin().await.expect("begins");
            match groups::delete(&mut tx, group_id(round)).await {
                Ok(gone) => commit(tx).await.map(|()| gone).expect("committed"),
                Err(e) => {
                    assert!(e.is_referenced(), "{e}");
                    false
                }
            }
        };
        let (one, two) = (tokio::spawn(enter(a.clone())), tokio::spawn(delete(b.clone())));
        let (entered, deleted) = (one.await.expect("ran"), two.await.expect("ran"));
        assert_ne!(entered, deleted, "one of them wins");
        let host = instances::find(&mut a.read().await.expect("reads"), instance(round).id).await.expect("read").expect("there");
        assert_eq!(host.group.is_some(), entered);
    }
}
