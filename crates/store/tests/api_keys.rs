//! The store's suite around API keys and signatures, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id};
use common::suite::Case;
use drydock_domain::access::user::UserKind;
use drydock_domain::ids::{ApiKeyId, UserId};
use drydock_store::api_keys::ApiKeyRecord;
use drydock_store::users::UserRecord;
use drydock_store::{Store, api_keys, commit, user_groups, users};

const CASES: [Case; 3] = crate::cases![
    keys_belong_to_one_user_and_go_with_it,
    a_signature_is_taken_once_by_whichever_server,
    groups_know_who_put_a_user_into_them,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

async fn user(store: &Store, n: u128, name: &str) -> UserId {
    let user = UserRecord {
        id: UserId(id(7000 + n)),
        name: name.into(),
        kind: UserKind::User,
        description: String::new(),
        email: String::new(),
        disabled: false,
        has_password: false,
        password_changed_at: None,
        password_expired: false,
        second_factor: false,
        locked_until: None,
        oidc: None,
        created_by: "me".into(),
        created_at: at(0),
        last_sign_in_at: None,
        version: 1,
    };
    let mut tx = store.begin().await.expect("begins");
    users::insert(&mut tx, &user).await.expect("stored");
    commit(tx).await.expect("committed");
    user.id
}

async fn keys_belong_to_one_user_and_go_with_it(a: Store, b: Store) {
    let (ann, bob) = (user(&a, 1, "ann").await, user(&a, 2, "bob").await);
    let key = |n: u128, user: UserId, fingerprint: &str| ApiKeyRecord {
        id: ApiKeyId(id(7100 + n)),
        user,
        fingerprint: fingerprint.into(),
        public_key: "-----BEGIN PUBLIC KEY-----\n".into(),
        created_at: at(1),
        last_used_at: None,
    };
    let (one, two, bobs) = (key(1, ann, "aa:bb"), key(2, ann, "cc:dd"), key(3, bob, "aa:bb"));
    let mut tx = a.begin().await.expect("begins");
    for key in [&one, &two, &bobs] {
        api_keys::insert(&mut tx, key).await.expect("stored");
    }
    for (at_second, kept) in [(60, 60), (30, 60), (90, 90)] {
        api_keys::touch(&mut tx, two.id, at(at_second)).await.expect("stored");
        let found = api_keys::find(&mut tx, ann, "cc:dd").await.expect("read").expect("there");
        assert_eq!(found.last_used_at, Some(at(kept)));
    }
    commit(tx).await.expect("committed");
    let mut tx = a.begin().await.expect("begins");
    let again = api_keys::insert(&mut tx, &key(4, ann, "aa:bb")).await.expect_err("twice");
    assert!(again.is_duplicate(), "{again:?}");
    drop(tx);
    let mut c = b.read().await.expect("reads");
    assert_eq!(api_keys::find(&mut c, ann, "aa:bb").await.expect("read"), Some(one.clone()));
    assert_eq!(api_keys::find(&mut c, bob, "cc:dd").await.expect("read"), None);
    let all = api_keys::of_user(&mut c, ann).await.expect("read");
    assert_eq!(all.iter().map(|key| key.id).collect::<Vec<_>>(), [one.id, two.id]);
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    assert!(api_keys::delete(&mut tx, one.id).await.expect("deleted"));
    assert!(!api_keys::delete(&mut tx, one.id).await.expect("deleted"), "once");
    users::delete(&mut tx, ann).await.expect("deleted");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert!(!api_keys::is_there(&mut c, two.id).await.expect("read"));
    assert!(api_keys::is_there(&mut c, bobs.id).await.expect("read"));
}

async fn a_signature_is_taken_once_by_whichever_server(a: Store, b: Store) {
    let take = async |store: &Store, sha256: &str| {
        let mut tx = store.begin().await.expect("begins");
        let fresh = api_keys::take_signature(&mut tx, sha256, at(300)).await.expect("stored");
        commit(tx).await.expect("committed");
        fresh
    };
    assert_eq!((take(&a, "one").await, take(&b, "one").await, take(&a, "one").await), (true, false, false));
    assert!(take(&b, "two").await);
    let forget = async |second: i64| {
        let mut tx = a.begin().await.expect("begins");
        let count = api_keys::forget_signatures(&mut tx, at(second)).await.expect("forgotten");
        commit(tx).await.expect("committed");
        count
    };
    assert_eq!((forget(300).await, forget(301).await), (0, 2), "as long as their dates could be taken");
}

async fn groups_know_who_put_a_user_into_them(a: Store, b: Store) {
    let ann = user(&a, 5, "ann").await;
    let mut tx = a.begin().await.expect("begins");
    for (group, by) in [("viewers", "oidc https://issuer"), ("operators", "me")] {
        assert!(user_groups::join(&mut tx, group, ann, by, at(1)).await.expect("joined"));
    }
    assert!(!user_groups::join(&mut tx, "operators", ann, "oidc https://issuer", at(2)).await.expect("joined"), "in it");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(user_groups::joined_by(&mut c, ann, "oidc https://issuer").await.expect("read"), ["viewers"]);
    assert_eq!(user_groups::joined_by(&mut c, ann, "me").await.expect("read"), ["operators"]);
}
