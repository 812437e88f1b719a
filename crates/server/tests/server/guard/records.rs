//! What is asked for is on record: every operation that takes a body, and every form of the console, leaves its parameters in
//! the audit; no secret is among them.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::document::{document, operations};
use super::world::World;
use super::{ask, bodies, console};
use crate::support::answer;

/// Operations whose body is a secret as a whole, and asking what one may oneself, which leaves no record. This list may only
/// shrink.
const SILENT: [&str; 5] = ["changePassword", "confirmSecondFactor", "removeSecondFactor", "signIn", "testAccess"];

/// Parameters of the records that a request left.
async fn parameters(world: &World, request_id: &str) -> Vec<Value> {
    let found = world.server.admin.get(&format!("/audit?requestId={request_id}")).await;
    let items = found.body["items"].as_array().unwrap_or_else(|| panic!("{found:?}"));
    items.iter().map(|record| record["parameters"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_leaves_what_was_asked_for_in_a_record() {
    assert!(SILENT.len() <= 5, "SILENT may only shrink");
    let world = World::start().await;
    let router = drydock_server::web::router(world.server.running.state.clone());
    // Who may not do it is on record with what they asked for, and the world stays as it is.
    let viewer = world.server.person("viewer").await;
    let document = document();
    let mut wrong = Vec::new();
    let with_body = operations().into_iter().filter(|o| !o.value["requestBody"]["content"]["application/json"].is_null());
    for operation in with_body.filter(|o| !SILENT.contains(&o.id.as_str())) {
        let body = bodies::least(&document, &operation.value).expect("a body");
        let request = Request::builder()
            .method(operation.method.as_str())
            .uri(world.filled(&operation.path))
            .header("authorization", format!("Bearer {}", viewer.token))
            .header("x-request-id", &operation.id)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let seen = ask(&router, request.expect("a request")).await;
        let left = parameters(&world, &operation.id).await;
        if !left.iter().any(|own| own["body"].is_object()) {
            wrong.push(format!("{}: {} left {left:?}", operation.id, seen.short()));
        }
    }
    assert!(wrong.is_empty(), "no parameters on record (Caller::parse, StrictJson)\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_the_console_leaves_what_was_asked_for_in_a_record() {
    let world = World::start().await;
    let router = drydock_server::web::router(world.server.running.state.clone());
    let admin = console::sign_in(&router, &world.server.admin).await;
    let form = format!("name=ours-too&description=two&csrf={}", admin.csrf);
    let made = console::send(&router, "POST", "/groups", &admin.cookies, &form).await;
    assert_eq!(made.status, 303, "{made:?}");
    let request_id = made.headers.get("x-request-id").and_then(|v| v.to_str().ok()).expect("an id");
    let left = parameters(&world, request_id).await;
    assert!(left.contains(&json!({"form": {"name": "ours-too", "description": "two"}})), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_record() {
    let world = World::start().await;
    let router = drydock_server::web::router(world.server.running.state.clone());
    let admin = &world.server.admin;
    let secret = format!("hunter2-{}", uuid::Uuid::now_v7().simple());
    for (method, path, body) in [
        ("PUT", "/secrets/more", json!({"value": secret})),
        ("POST", "/users/ann:set-password", json!({"password": secret, "lasting": true})),
        ("POST", "/tokens:sign-in", json!({"user": "ann", "password": secret, "code": secret, "newPassword": secret})),
        ("POST", "/whoami:change-password", json!({"oldPassword": secret, "newPassword": secret})),
        ("POST", "/whoami:confirm-second-factor", json!({"code": secret})),
        (
            "POST",
            "/patch-jobs",
            json!({"instanceFilter": {"all": true}, "dryRun": true, "patchConfig": {"preStep":
            {"linuxExecStepConfig": {"script": format!("#!/bin/sh\ncurl -u me:{secret}")}}}}),
        ),
        (
            "PUT",
            "/sources/ours",
            json!({"name": "ours", "format": "deb", "origin": {"upstream":
            {"urls": [format!("https://me:{secret}@mirror/")], "suite": "s", "clientKeyPem": secret, "proxy": format!("http://me:{secret}@p:1")}}}),
        ),
        (
            "POST",
            "/policy-assignments",
            json!({"name": "more", "instanceFilter": {"all": true}, "variables": {"v": secret},
            "rollout": {"disruptionBudget": {"percent": 10}, "minWaitDuration": "0s"}, "osPolicies": [{"id": "p", "mode": "VALIDATION",
            "resourceGroups": [{"resources": [{"id": "r", "exec": {"validate": {"interpreter": "SHELL", "args": [secret],
            "script": secret}}}, {"id": "f", "file": {"path": "/f", "state": "PRESENT", "file": {"content": secret}}}]}]}]}),
        ),
    ] {
        answer(admin.request(method, path).json(&body)).await;
    }
    let browser = console::sign_in(&router, admin).await;
    let form = format!("csrf={}&password={secret}&name=bob&preScript={secret}", browser.csrf);
    for path in ["/users", "/users/ann/password", "/patch-jobs"] {
        console::send(&router, "POST", path, &browser.cookies, &form).await;
    }
    admin.get("/audit").await;
    let export = admin.request("GET", "/audit:export").send().await.expect("an answer").text().await.expect("text");
    for operation in ["secret.create", "user.set-password", "patch-job.create", "policy-assignment.create", "session.sign-in"] {
        assert!(export.contains(operation), "{operation} is not on record");
    }
    for hidden in [&secret, &browser.csrf, &admin.token] {
        let line = export.lines().find(|line| line.contains(hidden.as_str()));
        assert!(line.is_none(), "a secret is on record: {line:?}");
    }
}
