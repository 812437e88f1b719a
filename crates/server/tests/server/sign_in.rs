//! Signing in over REST: how often, and whom the failures of one hold up.

use drydock_domain::access::user::UserSpec;
use drydock_server::limits::{FAILURES_PER_ADDRESS_MAX, SIGN_INS_PER_NAME_BURST};
use serde_json::json;

use crate::support::{Answer, Person, TestServer, answer};

const PASSWORD: &str = "unten rot acht mauer";

/// A user with a password of their own.
async fn somebody(server: &TestServer, name: &str) {
    let control = &server.running.state.control;
    let ctx = control.ctx(drydock_control::Principal::Server, "test");
    let spec: UserSpec = serde_json::from_value(json!({"name": name})).expect("a user");
    control.create_user(&ctx, spec).await.expect("made");
    control.set_password(&ctx, name, Some(drydock_control::Secret::new(PASSWORD)), true).await.expect("set");
}

async fn sign_in(person: &Person, name: &str, password: &str) -> Answer {
    person.post("/tokens:sign-in", json!({"user": name, "password": password})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_tried_so_often_and_no_oftener_whether_it_is_a_users_or_not() {
    let server = TestServer::start().await;
    somebody(&server, "ann").await;
    somebody(&server, "bob").await;
    for name in ["ann", "nobody"] {
        // A right password does not make more of them, and neither does another way to write the name.
        for n in 0..SIGN_INS_PER_NAME_BURST {
            let written = if n % 2 == 0 { name.to_owned() } else { name.to_uppercase() };
            let tried = sign_in(&server.admin, &written, PASSWORD).await;
            assert_eq!(tried.status, if name == "ann" { 201 } else { 401 }, "{n}: {tried:?}");
        }
        let waits = sign_in(&server.admin, name, PASSWORD).await;
        assert_eq!(waits.status, 429, "{waits:?}");
        assert!(waits.headers.contains_key("retry-after"));
        assert_eq!(waits.body["message"].as_str().expect("told").matches(name).count(), 1, "{waits:?}");
    }
    assert_eq!(sign_in(&server.admin, "bob", PASSWORD).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbours_wrong_tokens_hold_up_nobody_who_has_a_good_one_or_signs_in() {
    let server = TestServer::start().await;
    somebody(&server, "ann").await;
    let stranger = Person { token: "ddt_wrong".into(), ..server.admin.clone() };
    for _ in 0..=FAILURES_PER_ADDRESS_MAX {
        stranger.get("/whoami").await;
    }
    assert_eq!(stranger.get("/whoami").await.status, 429);
    assert_eq!(server.admin.get("/whoami").await.status, 200, "the same address, a good token");
    assert_eq!(sign_in(&server.admin, "ann", PASSWORD).await.status, 201);
    assert_eq!(stranger.get("/whoami").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_tries_no_passwords() {
    let server = TestServer::start().await;
    somebody(&server, "ann").await;
    let body = json!({"user": "ann", "password": PASSWORD}).to_string();
    // What a browser sends for a page of another site without asking us first.
    for simple in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = server.admin.request("POST", "/tokens:sign-in").header("content-type", simple).body(body.clone());
        assert_eq!(answer(request).await.status, 400, "{simple}");
    }
}
