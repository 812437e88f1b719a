//! The store's suite around users, their groups, tokens and sessions, on SQLite always and on PostgreSQL where there is one.
#![allow(missing_docs)]

mod common;

use common::rows::{at, id, page};
use common::suite::Case;
use drydock_domain::access::Role;
use drydock_domain::access::user::UserKind;
use drydock_domain::ids::{AccessTokenId, SessionId, UserGroupId, UserId};
use drydock_store::records::{AccessTokenRecord, TokenUser};
use drydock_store::sessions::{Ends, SessionRecord};
use drydock_store::user_groups::{Joined, UserGroupRecord};
use drydock_store::users::UserRecord;
use drydock_store::{Store, access_tokens, commit, compartments, sessions, user_groups, users};

const CASES: [Case; 6] = crate::cases![
    users_are_kept_whole_and_edited_by_version,
    what_a_user_signs_in_with_is_kept_apart,
    a_code_and_a_recovery_code_are_good_once,
    groups_have_members_also_the_ones_without_a_row,
    tokens_of_users_go_with_them,
    sessions_end_by_age_and_by_hand,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite() {
    common::suite::on_sqlite(&CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres() {
    common::suite::on_postgres(&CASES).await;
}

fn user(n: u128, name: &str) -> UserRecord {
    UserRecord {
        id: UserId(id(5000 + n)),
        name: name.into(),
        kind: UserKind::User,
        description: "d".into(),
        email: "a@b".into(),
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
    }
}

async fn stored(store: &Store, user: &UserRecord) {
    let mut tx = store.begin().await.expect("begins");
    users::insert(&mut tx, user).await.expect("stored");
    commit(tx).await.expect("committed");
}

async fn users_are_kept_whole_and_edited_by_version(a: Store, b: Store) {
    let ann = UserRecord { oidc: Some(("https://issuer".into(), "sub".into())), ..user(1, "Ann") };
    stored(&a, &ann).await;
    stored(&a, &UserRecord { kind: UserKind::ServiceAccount, ..user(2, "bot") }).await;
    let mut c = b.read().await.expect("reads");
    assert_eq!(users::find(&mut c, ann.id).await.expect("read"), Some(ann.clone()));
    assert_eq!(users::find_by_name(&mut c, "aNN").await.expect("read"), Some(ann.clone()));
    assert_eq!(users::find_by_oidc(&mut c, "https://issuer", "sub").await.expect("read"), Some(ann.clone()));
    assert_eq!(users::find_by_oidc(&mut c, "https://other", "sub").await.expect("read"), None);
    let first = users::list(&mut c, &page(1, None)).await.expect("read");
    let second = users::list(&mut c, &page(1, first.next_cursor)).await.expect("read");
    assert_eq!((first.items[0].name.as_str(), second.items[0].name.as_str()), ("Ann", "bot"));
    assert_eq!((second.items[0].kind, second.next_cursor), (UserKind::ServiceAccount, None));
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    let taken = users::insert(&mut tx, &user(3, "ANN")).await.expect_err("the name is taken in any case");
    assert!(taken.is_duplicate(), "{taken:?}");
    drop(tx);
    let mut tx = a.begin().await.expect("begins");
    let before = compartments::access_version(&mut tx).await.expect("read");
    let edited = UserRecord { description: "new".into(), email: String::new(), disabled: true, ..ann.clone() };
    assert!(users::update(&mut tx, &edited).await.expect("stored"));
    assert!(!users::update(&mut tx, &edited).await.expect("stored"), "the version is another one now");
    assert!(compartments::access_version(&mut tx).await.expect("read") > before);
    assert_eq!(users::find(&mut tx, ann.id).await.expect("read"), Some(UserRecord { version: 2, ..edited }));
    users::set_oidc(&mut tx, ann.id, None).await.expect("stored");
    assert_eq!(users::find(&mut tx, ann.id).await.expect("read").expect("there").oidc, None);
    assert!(users::delete(&mut tx, ann.id).await.expect("deleted"));
    assert!(!users::delete(&mut tx, ann.id).await.expect("deleted"), "once");
}

async fn what_a_user_signs_in_with_is_kept_apart(a: Store, b: Store) {
    let ann = user(1, "ann");
    stored(&a, &ann).await;
    let mut tx = a.begin().await.expect("begins");
    assert!(users::set_password(&mut tx, ann.id, Some("$argon2id$x"), true, at(5)).await.expect("stored"));
    assert_eq!(users::failed(&mut tx, ann.id).await.expect("counted"), 1);
    assert_eq!(users::failed(&mut tx, ann.id).await.expect("counted"), 2);
    users::lock(&mut tx, ann.id, Some(at(60))).await.expect("locked");
    assert!(users::offer_totp(&mut tx, ann.id, b"sealed").await.expect("stored"));
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    let kept = users::find(&mut c, ann.id).await.expect("read").expect("there");
    assert!(kept.has_password && kept.password_expired && !kept.second_factor);
    assert_eq!((kept.password_changed_at, kept.locked_until), (Some(at(5)), Some(at(60))));
    let secrets = users::secrets(&mut c, ann.id).await.expect("read").expect("there");
    assert_eq!(secrets.password_hash.as_deref(), Some("$argon2id$x"));
    assert_eq!((secrets.totp_secret.as_deref(), secrets.totp_confirmed), (Some(b"sealed".as_slice()), false));
    assert_eq!((secrets.failed_count, secrets.locked_until), (2, Some(at(60))));
    assert!(users::secrets(&mut c, user(9, "x").id).await.expect("read").is_none());
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    users::signed_in(&mut tx, ann.id, at(70)).await.expect("noted");
    let secrets = users::secrets(&mut tx, ann.id).await.expect("read").expect("there");
    assert_eq!((secrets.failed_count, secrets.locked_until), (0, None));
    assert_eq!(users::find(&mut tx, ann.id).await.expect("read").expect("there").last_sign_in_at, Some(at(70)));
    users::set_password(&mut tx, ann.id, None, false, at(80)).await.expect("stored");
    assert!(!users::find(&mut tx, ann.id).await.expect("read").expect("there").has_password);
}

async fn a_code_and_a_recovery_code_are_good_once(a: Store, _b: Store) {
    let ann = user(1, "ann");
    stored(&a, &ann).await;
    let mut tx = a.begin().await.expect("begins");
    assert!(!users::confirm_totp(&mut tx, ann.id).await.expect("stored"), "none is waiting");
    assert!(users::offer_totp(&mut tx, ann.id, b"one").await.expect("stored"));
    assert!(users::offer_totp(&mut tx, ann.id, b"two").await.expect("stored"), "not confirmed yet");
    assert!(users::confirm_totp(&mut tx, ann.id).await.expect("stored"));
    assert!(!users::offer_totp(&mut tx, ann.id, b"three").await.expect("stored"), "nobody replaces a confirmed one");
    assert!(users::find(&mut tx, ann.id).await.expect("read").expect("there").second_factor);
    for (step, good) in [(7, true), (7, false), (6, false), (8, true)] {
        assert_eq!(users::take_step(&mut tx, ann.id, step).await.expect("stored"), good, "{step}");
    }
    users::put_recovery_codes(&mut tx, ann.id, &["x".into(), "y".into()]).await.expect("stored");
    assert!(users::use_recovery_code(&mut tx, ann.id, "x").await.expect("used"));
    assert!(!users::use_recovery_code(&mut tx, ann.id, "x").await.expect("used"), "once");
    assert_eq!(users::recovery_codes(&mut tx, ann.id).await.expect("counted"), 1);
    users::clear_totp(&mut tx, ann.id).await.expect("taken away");
    assert_eq!(users::recovery_codes(&mut tx, ann.id).await.expect("counted"), 0);
    assert!(!users::find(&mut tx, ann.id).await.expect("read").expect("there").second_factor);
}

async fn groups_have_members_also_the_ones_without_a_row(a: Store, b: Store) {
    let (ann, bob) = (user(1, "ann"), user(2, "bob"));
    stored(&a, &ann).await;
    stored(&a, &bob).await;
    let team = UserGroupRecord {
        id: UserGroupId(id(6001)),
        name: "Team-A".into(),
        description: "d".into(),
        created_by: "me".into(),
        created_at: at(0),
        version: 1,
    };
    let team_id = team.id.to_string();
    let mut tx = a.begin().await.expect("begins");
    user_groups::insert(&mut tx, &team).await.expect("stored");
    assert!(user_groups::join(&mut tx, &team_id, ann.id, "me", at(1)).await.expect("joined"));
    assert!(!user_groups::join(&mut tx, &team_id, ann.id, "me", at(2)).await.expect("joined"), "once");
    assert!(user_groups::join(&mut tx, &team_id, bob.id, "me", at(2)).await.expect("joined"));
    assert!(user_groups::join(&mut tx, "administrators", ann.id, "me", at(3)).await.expect("joined"));
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    assert_eq!(user_groups::find_by_name(&mut c, "team-a").await.expect("read"), Some(team.clone()));
    assert_eq!(user_groups::list(&mut c).await.expect("read"), std::slice::from_ref(&team));
    let mut groups = user_groups::of_user(&mut c, ann.id).await.expect("read");
    groups.sort_by(|x, y| x.id.cmp(&y.id));
    let own = Joined { id: team_id.clone(), name: Some("Team-A".into()) };
    assert_eq!(groups, [own, Joined { id: "administrators".into(), name: None }]);
    let first = user_groups::members(&mut c, &team_id, &page(1, None)).await.expect("read");
    let second = user_groups::members(&mut c, &team_id, &page(1, first.next_cursor)).await.expect("read");
    assert_eq!((first.items[0].name.as_str(), second.items[0].name.as_str()), ("ann", "bob"));
    assert_eq!((first.items[0].added_by.as_str(), first.items[0].added_at), ("me", at(1)));
    let counts = user_groups::counts(&mut c).await.expect("read");
    assert!(counts.contains(&(team_id.clone(), 2)) && counts.contains(&("administrators".to_owned(), 1)));
    assert_eq!(user_groups::ways_in(&mut c, "administrators", "administrator", at(9)).await.expect("counted"), 1);
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    assert!(user_groups::leave(&mut tx, "administrators", ann.id).await.expect("left"));
    assert!(!user_groups::leave(&mut tx, "administrators", ann.id).await.expect("left"), "once");
    assert_eq!(user_groups::ways_in(&mut tx, "administrators", "administrator", at(9)).await.expect("counted"), 0);
    assert!(user_groups::describe(&mut tx, team.id, "new", 1).await.expect("stored"));
    assert!(!user_groups::describe(&mut tx, team.id, "newer", 1).await.expect("stored"));
    users::delete(&mut tx, bob.id).await.expect("deleted");
    assert_eq!(user_groups::counts(&mut tx).await.expect("read"), [(team_id, 1)]);
    assert!(user_groups::delete(&mut tx, team.id).await.expect("deleted"));
    assert_eq!(user_groups::of_user(&mut tx, ann.id).await.expect("read"), []);
}

async fn tokens_of_users_go_with_them(a: Store, b: Store) {
    let ann = user(1, "ann");
    stored(&a, &ann).await;
    let own = AccessTokenRecord {
        id: AccessTokenId(id(7001)),
        name: "laptop".into(),
        role: None,
        user: Some(TokenUser { id: ann.id, name: "ann".into() }),
        scope: vec!["read drydock-family".into()],
        second_factor: true,
        signed_in: false,
        created_by: "server".into(),
        expires_at: Some(at(50)),
        created_at: at(0),
        last_used_at: None,
        revoked: false,
    };
    let other = AccessTokenRecord {
        id: AccessTokenId(id(7002)),
        role: Some(Role::Administrator),
        user: None,
        scope: vec![],
        second_factor: false,
        ..own.clone()
    };
    let mut tx = a.begin().await.expect("begins");
    access_tokens::insert(&mut tx, &own, "own").await.expect("stored");
    access_tokens::insert(&mut tx, &other, "other").await.expect("stored");
    commit(tx).await.expect("committed");
    let mut c = b.read().await.expect("reads");
    assert_eq!(access_tokens::find_by_secret(&mut c, "own").await.expect("read"), Some(own.clone()));
    assert_eq!(access_tokens::find_by_secret(&mut c, "other").await.expect("read"), Some(other));
    let of_ann = access_tokens::list_of_user(&mut c, ann.id, &page(9, None)).await.expect("read").items;
    assert_eq!(of_ann, std::slice::from_ref(&own));
    assert_eq!(user_groups::ways_in(&mut c, "administrators", "administrator", at(49)).await.expect("counted"), 1);
    assert_eq!(user_groups::ways_in(&mut c, "administrators", "administrator", at(50)).await.expect("counted"), 0, "expired");
    drop(c);
    let mut tx = a.begin().await.expect("begins");
    users::delete(&mut tx, ann.id).await.expect("deleted");
    let left = access_tokens::list(&mut tx, &page(9, None)).await.expect("read").items;
    assert_eq!(left.iter().map(|t| t.role).collect::<Vec<_>>(), [Some(Role::Administrator)]);
}

async fn sessions_end_by_age_and_by_hand(a: Store, b: Store) {
    let (ann, bob) = (user(1, "ann"), user(2, "bob"));
    stored(&a, &ann).await;
    stored(&a, &bob).await;
    let session = |n: u128, user: &UserRecord| SessionRecord {
        id: SessionId(id(8000 + n)),
        user: user.id,
        user_name: user.name.clone(),
        csrf: "c".into(),
        way: "password".into(),
        second_factor: n == 1,
        address: "::1".into(),
        user_agent: "browser".into(),
        created_at: at(i64::try_from(n).expect("small")),
        used_at: at(i64::try_from(n).expect("small")),
    };
    let mut tx = a.begin().await.expect("begins");
    for n in 1..=4 {
        sessions::insert(&mut tx, &session(n, &ann), &format!("s{n}")).await.expect("stored");
    }
    sessions::insert(&mut tx, &session(5, &bob), "s5").await.expect("stored");
    sessions::touch(&mut tx, session(1, &ann).id, at(100)).await.expect("noted");
    sessions::touch(&mut tx, session(1, &ann).id, at(90)).await.expect("noted");
    commit(tx).await.expect("committed");

    let mut c = b.read().await.expect("reads");
    let first = sessions::find_by_secret(&mut c, "s1").await.expect("read").expect("there");
    assert_eq!(first, SessionRecord { used_at: at(100), ..session(1, &ann) });
    let never = Ends { idle: at(0), absolute: at(0) };
    let listed = sessions::list(&mut c, Some(ann.id), never, &page(3, None)).await.expect("read");
    assert_eq!(listed.items.iter().map(|s| s.id).collect::<Vec<_>>(), [4, 3, 2].map(|n| session(n, &ann).id));
    let rest = sessions::list(&mut c, Some(ann.id), never, &page(3, listed.next_cursor)).await.expect("read");
    assert_eq!(rest.items.len(), 1);
    let ends = Ends { idle: at(3), absolute: at(1) };
    let alive = sessions::list(&mut c, None, ends, &page(9, None)).await.expect("read").items;
    assert_eq!(alive.iter().map(|s| s.id).collect::<Vec<_>>(), [5, 4].map(|n| session(n, &ann).id), "1 is too old, 2 and 3 idle");
    drop(c);

    let mut tx = a.begin().await.expect("begins");
    sessions::sweep(&mut tx, ann.id, Ends { idle: at(2), absolute: at(0) }, 2).await.expect("swept");
    let left = sessions::list(&mut tx, None, never, &page(9, None)).await.expect("read").items;
    assert_eq!(left.iter().map(|s| s.id).collect::<Vec<_>>(), [5, 4, 3].map(|n| session(n, &ann).id), "the two newest of ann");
    assert!(sessions::end(&mut tx, session(4, &ann).id).await.expect("ended"));
    assert!(!sessions::end(&mut tx, session(4, &ann).id).await.expect("ended"), "once");
    assert_eq!(sessions::end_others(&mut tx, bob.id, Some(session(5, &bob).id)).await.expect("ended"), 0);
    assert_eq!(sessions::end_others(&mut tx, bob.id, None).await.expect("ended"), 1);
    users::delete(&mut tx, ann.id).await.expect("deleted");
    assert_eq!(sessions::list(&mut tx, None, never, &page(9, None)).await.expect("read").items, []);
}
