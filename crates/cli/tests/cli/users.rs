//! Users, groups of users, sessions, and signing in with a password.

use drydock_api::rest::{
    AccessToken, CreatedAccessToken, ErrorKind, PasswordSet, Session, User, UserGroup, UserGroupMember, WhoAmI,
};
use drydock_domain::access::user::UserKind;
use drydock_domain::ids::{AccessTokenId, SessionId, UserId};

use crate::documents::{before, page, uuid};
use crate::fake::{Fake, Prepared, TOKEN, now};

fn ann() -> User {
    User {
        id: UserId(uuid(1)),
        name: "ann".into(),
        kind: UserKind::User,
        description: "night shift".into(),
        email: "ann@example.com".into(),
        groups: vec!["team-a".into()],
        disabled: false,
        has_password: true,
        password_expired: true,
        password_changed_at: Some(before(60)),
        second_factor: true,
        locked_until: None,
        oidc_issuer: None,
        created_by: "root".into(),
        created_at: before(3600),
        last_sign_in_at: None,
    }
}

fn team() -> UserGroup {
    UserGroup {
        id: uuid(2).to_string(),
        name: "team-a".into(),
        description: "compartment A".into(),
        built_in: false,
        members: 1,
        created_by: Some("root".into()),
        created_at: Some(before(3600)),
    }
}

#[tokio::test]
async fn users_are_made_listed_disabled_and_deleted() {
    let fake = Fake::start().await;
    fake.json("POST /users", &ann())
        .json("GET /users?limit=1000", &page(vec![ann()]))
        .json("PATCH /users/ann", &User { disabled: true, ..ann() })
        .json("DELETE /users/ann", &serde_json::json!({}))
        .json("POST /users/ann:set-password", &PasswordSet { user: ann(), password: Some("made-up".into()) });
    let made = fake.run("user create ann --email ann@example.com").await;
    assert!(made.out.contains("drydock user set-password ann"), "{}", made.out);
    assert_eq!(fake.seen()[0].body, r#"{"name":"ann","kind":"USER","description":"","email":"ann@example.com"}"#);
    let listed = fake.run("user list").await.out;
    assert!(listed.contains("ann") && listed.contains("team-a") && listed.contains("one-time password + code"), "{listed}");
    let disabled = fake.run("user disable ann").await;
    assert!(disabled.out.contains("ann is disabled"), "{}", disabled.out);
    assert_eq!(fake.seen().last().expect("asked").body, r#"{"disabled":true}"#);
    let set = fake.run("user set-password ann").await.out;
    assert!(set.contains("  made-up\n") && set.contains("once"), "{set}");
    assert_eq!(fake.seen().last().expect("asked").body, r#"{"lasting":false}"#);
    assert!(fake.run("user delete ann").await.out.contains("deleted"));
}

#[tokio::test]
async fn a_password_that_is_asked_for_is_typed_twice_and_never_printed() {
    let fake = Fake::start().await;
    fake.json("POST /users/ann:set-password", &PasswordSet { user: ann(), password: None });
    let typed = "four unrelated words\nfour unrelated words\n";
    let ran = fake.prepared().input(typed).run("user set-password ann --ask").await;
    assert_eq!(fake.seen()[0].body, r#"{"password":"four unrelated words","lasting":false}"#);
    assert!(!ran.out.contains("four") && !ran.err.contains("four"), "{} {}", ran.out, ran.err);
    let ran = fake.prepared().input("one of them here\nthe other there\n").run("user set-password ann --ask").await;
    assert!(ran.err.contains("the two passwords differ") && fake.seen().len() == 1, "{}", ran.err);
}

#[tokio::test]
async fn groups_of_users_have_members() {
    let fake = Fake::start().await;
    let member = UserGroupMember {
        id: UserId(uuid(1)),
        name: "ann".into(),
        disabled: false,
        added_by: "root".into(),
        added_at: before(60),
    };
    fake.json("POST /user-groups", &team())
        .json("GET /user-groups", &page(vec![team()]))
        .json("GET /user-groups/team-a", &team())
        .json("GET /user-groups/team-a/members?limit=100", &page(vec![member]))
        .json("PUT /user-groups/team-a/members", &team());
    assert!(fake.run("user-group create team-a").await.out.contains("drydock user-group add team-a USER"));
    assert!(fake.run("user-group list").await.out.contains("compartment A"));
    assert!(fake.run("user-group add team-a ann bob").await.out.contains("team-a has 1 member."));
    assert_eq!(fake.seen().last().expect("asked").body, r#"{"add":["ann","bob"],"remove":[]}"#);
    let shown = fake.run("user-group show team-a").await.out;
    assert!(shown.contains("User group team-a") && shown.contains("ann"), "{shown}");
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let fake = Fake::start().await;
    let session = Session {
        id: SessionId(uuid(3)),
        user: "ann".into(),
        way: "password".into(),
        second_factor: true,
        address: "192.0.2.1".into(),
        user_agent: "browser".into(),
        created_at: before(600),
        used_at: before(60),
    };
    fake.json("GET /sessions?all=true&limit=1000", &page(vec![session]))
        .json(&format!("POST /sessions/{}:revoke", uuid(3)), &serde_json::json!({}));
    let listed = fake.run("session list --all").await.out;
    assert!(listed.contains("password + code") && listed.contains("192.0.2.1"), "{listed}");
    assert!(fake.run(&format!("session revoke {}", uuid(3))).await.out.contains("has ended"));
}

#[tokio::test]
async fn a_password_gets_a_token_and_one_that_is_good_once_has_to_be_changed() {
    let fake = Fake::start().await;
    let token = AccessToken {
        id: AccessTokenId(uuid(6)),
        name: "drydock login".into(),
        role: None,
        user: Some("ann".into()),
        scope: vec![],
        expires_at: Some(now()),
        created_at: now(),
        last_used_at: None,
        revoked: false,
    };
    let who = WhoAmI {
        name: "ann".into(),
        kind: "user".into(),
        role: None,
        groups: vec!["team-a".into()],
        second_factor: false,
        narrowed: false,
        server_version: "0.1.0".into(),
    };
    let expired = [("newPassword", "this password is good for one sign-in only: choose another one")];
    fake.error("POST /tokens:sign-in", 400, ErrorKind::Invalid, "refused", &expired)
        .json("POST /tokens:sign-in", &CreatedAccessToken { token, secret: TOKEN.into() })
        .json("GET /whoami", &who);
    let typed = "given once\n\nfour unrelated words\nfour unrelated words\n";
    let mut prepared = Prepared::new().input(typed);
    let ran = prepared.run(&format!("login --server {} --user ann", fake.url)).await;
    assert!(ran.out.contains("as ann (team-a)."), "{} {}", ran.out, ran.err);
    let seen = fake.seen();
    assert_eq!(seen[0].body, r#"{"user":"ann","password":"given once","name":"drydock login"}"#);
    assert!(seen[1].body.contains(r#""newPassword":"four unrelated words""#), "{}", seen[1].body);
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains("four"), "{} {}", ran.out, ran.err);
    let kept = std::fs::read_to_string(prepared.home.path().join(".config/drydock/config.toml")).expect("kept");
    assert!(kept.contains(TOKEN) && !kept.contains("four unrelated"), "{kept}");
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_servers_words() {
    let fake = Fake::start().await;
    fake.error("POST /tokens:sign-in", 401, ErrorKind::Unauthenticated, "name, password or code is wrong", &[]);
    let ran = Prepared::new().input("x\n\n").run(&format!("login --server {} --user ann", fake.url)).await;
    assert!(ran.err.contains("name, password or code is wrong") && !ran.err.contains("access token"), "{}", ran.err);
}
