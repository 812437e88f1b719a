//! REST, content and the daemon's own paths: without a token, with one that is good for little, with one that may all.

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::document::{Operation, document, operations};
use super::routes::{Route, routes};
use super::world::World;
use super::{METHODS, OPEN, Said, ask, bodies};
use crate::support::{TestServer, answer};

/// Reads that a viewer may not do: they tell of people and of who may what, not of hosts.
const HIDDEN_FROM_VIEWERS: [&str; 19] = [
    "exportAudit",
    "getAccessPolicy",
    "getAuditSettings",
    "getCompartment",
    "getDynamicGroup",
    "getUser",
    "getUserGroup",
    "listAccessPolicies",
    "listAccessTokens",
    "listApiKeys",
    "listApprovalRules",
    "listAudit",
    "listCompartments",
    "listDynamicGroups",
    "listSessions",
    "listUserGroupMembers",
    "listUserGroups",
    "listUsers",
    "whoCan",
];
/// What somebody may do whom no statement gives anything: ask who they are, what they may, and what they asked for; sign in.
/// This list may only shrink.
const NOBODY_MAY: [&str; 4] = ["whoami", "testAccess", "listApprovals", "signIn"];
/// Operations that POST and change nothing of others. This list may only shrink.
const READS_BY_POST: [&str; 2] = ["testAccess", "signIn"];

fn router(server: &TestServer) -> Router {
    drydock_server::web::router(server.running.state.clone())
}

/// Paths that the console answers have sessions, not tokens.
fn is_console(route: &Route) -> bool {
    !(route.is_rest()
        || route.path.starts_with("/content/")
        || ["/healthz", "/readyz", "/metrics"].contains(&route.path.as_str()))
}

fn request(method: &str, path: &str, token: &str, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .expect("a request")
}

/// What an operation needs in its query.
fn query(operation: &str) -> String {
    match operation {
        "diffSnapshots" => "?from=latest&to=latest",
        "uploadPackage" => "?fileName=a.deb",
        "whoCan" => "?permission=DRYDOCK_INSTANCE_READ&resource=/",
        "listPackageChanges" => return format!("?from={}", jiff::Timestamp::now()),
        "listSessions" => "?user=ann",
        _ => "",
    }
    .to_owned()
}

/// The thing is there and read; or it is there and not in a state in which this can be said of it.
fn there(seen: &Said) -> bool {
    matches!(seen.status.as_u16(), 200 | 409) || seen.body.contains("name, password or code is wrong")
}

async fn call(router: &Router, world: &World, operation: &Operation, token: &str) -> Said {
    let path = world.filled(&operation.path) + &query(&operation.id);
    let body = if operation.method == "GET" { None } else { bodies::least(&document(), &operation.value) };
    let body = body.or_else(|| (operation.method != "GET").then(|| json!({})));
    ask(router, request(&operation.method, &path, token, body.as_ref())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_no_route_answers_and_no_route_answers_a_method_it_does_not_name() {
    let server = TestServer::start().await;
    let router = router(&server);
    let routes = routes();
    assert!(routes.len() >= 160, "the scan lost routes: {}", routes.len());
    let own = routes.iter().filter(|route| !is_console(route));
    for route in own {
        let path = route.path.replace("{*path}", "a/b").replace(['{', '}'], "");
        for method in METHODS {
            let seen = ask(&router, request(method, &path, "", Some(&json!({})))).await;
            if !route.answers(method) {
                assert_eq!(
                    seen.status, 405,
                    "{method} {}: answered, but no route in {} says so: {seen:?}",
                    route.path, route.file
                );
            } else if OPEN.contains(&route.path.as_str()) {
                // Whoever signs in with nothing is told so in its own words.
                let told = route.path.ends_with(":sign-in") && seen.status == 400;
                assert!(seen.status.is_success() || told, "{method} {}: {seen:?}", route.path);
            } else {
                assert_eq!(seen.status, 401, "{method} {} answers who shows nothing: {}", route.path, seen.short());
                assert!(seen.headers.contains_key("www-authenticate") || !route.is_rest(), "{method} {}", route.path);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_changes_nothing_and_reads_what_is_there() {
    let world = World::start().await;
    let router = router(&world.server);
    let viewer = world.server.person("viewer").await;
    assert!(READS_BY_POST.len() <= 2, "READS_BY_POST may only shrink");
    let operations = operations();
    assert!(operations.len() >= 180, "the document lost operations: {}", operations.len());
    let mut wrong = Vec::new();
    for operation in &operations {
        let seen = call(&router, &world, operation, &viewer.token).await;
        let changes = operation.method != "GET" && !READS_BY_POST.contains(&operation.id.as_str());
        let hidden = HIDDEN_FROM_VIEWERS.contains(&operation.id.as_str());
        // 404: what a viewer may not even know of. It is there: the next test reads it.
        let good = if changes || hidden { matches!(seen.status.as_u16(), 403 | 404) } else { there(&seen) };
        if !good || seen.body.contains("no such path") {
            wrong.push(format!("{} {} {}: {}", operation.id, operation.method, operation.path, seen.short()));
        }
    }
    let metrics = ask(&router, request("GET", "/metrics", &viewer.token, None)).await;
    assert_eq!(metrics.status, 200, "{metrics:?}");
    assert!(wrong.is_empty(), "a viewer changes nothing and reads what is there, but\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_statement_gives_anything_neither_reads_nor_changes_anything() {
    assert!(NOBODY_MAY.len() <= 4, "NOBODY_MAY may only shrink");
    let world = World::start().await;
    let router = router(&world.server);
    let nobody = world.server.person("viewer").await;
    world.close_for_viewers().await;
    let mut wrong = Vec::new();
    for operation in operations().iter().filter(|o| !NOBODY_MAY.contains(&o.id.as_str())) {
        let seen = call(&router, &world, operation, &nobody.token).await;
        if !matches!(seen.status.as_u16(), 403 | 404) {
            wrong.push(format!("{} {} {}: {}", operation.id, operation.method, operation.path, seen.short()));
        }
    }
    for path in ["/metrics", "/content/prod/ours/Release", "/content/latest/ours/Release", "/content/keys/repository.asc"] {
        let seen = ask(&router, request("GET", path, &nobody.token, None)).await;
        if !matches!(seen.status.as_u16(), 403 | 404) {
            wrong.push(format!("GET {path}: {}", seen.short()));
        }
    }
    assert!(wrong.is_empty(), "somebody without any permission is answered\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guard_asks_for_is_there() {
    let world = World::start().await;
    let router = router(&world.server);
    let mut wrong = Vec::new();
    for operation in operations().iter().filter(|o| o.method == "GET") {
        let seen = call(&router, &world, operation, &world.server.admin.token).await;
        if !there(&seen) {
            wrong.push(format!("{} {}: {}", operation.id, world.filled(&operation.path), seen.short()));
        }
    }
    assert!(wrong.is_empty(), "an administrator does not read what the guard's world has\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_patches_and_runs_sources_but_makes_no_tokens() {
    let server = TestServer::start().await;
    let operator = server.person("operator").await;
    for (operation, status) in [
        ("createAccessToken", 403),
        ("createEnrolmentProfile", 403),
        ("createPatchJob", 400),
        ("createSource", 201),
        ("createEnvironment", 201),
        ("createGroup", 201),
        ("createDeployment", 201),
        ("createPolicyAssignment", 201),
        ("setSecret", 403),
    ] {
        let found = operations().into_iter().find(|o| o.id == operation).expect("there");
        let path = found.path.strip_prefix("/api/v1").expect("under it").replace("{name}", "x");
        let seen = answer(operator.request(&found.method, &path).json(&bodies::of(operation).expect("known"))).await;
        // 400: allowed, but no instance matches.
        assert_eq!(seen.status, status, "{operation}: {seen:?}");
    }
}
