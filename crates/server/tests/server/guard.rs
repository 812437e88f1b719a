//! Every operation of the OpenAPI document: refused without a token, refused for a viewer when it changes something,
//! and really there. And the document itself, locked.

use serde_json::Value;

use crate::support::{TestServer, answer};

/// Changes that a viewer may make. This list may only shrink: a viewer reads.
const VIEWERS_MAY: [&str; 0] = [];
/// Reads that a viewer may not do: they tell of people, not of hosts.
const HIDDEN_FROM_VIEWERS: [&str; 2] = ["listAccessTokens", "listAudit"];

/// A body each operation takes, so that a refusal is about the caller and not about the body.
fn body_of(operation: &str) -> Value {
    match operation {
        "createAccessToken" => serde_json::json!({"name": "x", "role": "viewer"}),
        "createEnrolmentProfile" => serde_json::json!({"displayName": "x"}),
        "createSource" | "editSource" => serde_json::json!({"name": "x", "format": "rpm", "origin": {"local": {}}}),
        "createEnvironment" => serde_json::json!({"name": "x", "rank": 1}),
        "createGroup" => serde_json::json!({"name": "x"}),
        "addMatchingToGroup" => serde_json::json!({"filter": "reboot"}),
        "matchInstances" => serde_json::json!({"instanceFilter": {"all": true}}),
        "createPatchJob" => serde_json::json!({"instanceFilter": {"all": true}}),
        "createDeployment" | "editDeployment" => serde_json::json!({"name": "x", "instanceFilter": {"all": true},
            "oneTimeSchedule": {"executeTime": "2999-01-01T00:00:00Z"}}),
        "createVulnerabilityException" => serde_json::json!({"cve": "CVE-2026-1", "scope": {"all": {}}, "reason": "x",
            "until": "2026-12-01T00:00:00Z"}),
        "createMaintenanceWindow" | "editMaintenanceWindow" => serde_json::json!({"name": "x", "instanceFilter": {"all": true},
            "durationSecs": 3600, "schedule": {"timeZone": {"id": "UTC"}, "frequency": "DAILY", "timeOfDay": {"hours": 3}}}),
        "createFreezeCalendar" | "editFreezeCalendar" => serde_json::json!({"name": "x", "instanceFilter": {"all": true},
            "periods": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z"}]}),
        "createRebootSlotGroup" | "editRebootSlotGroup" => serde_json::json!({"name": "x", "instanceFilter": {"all": true},
            "slots": 1}),
        "releaseRebootSlot" => serde_json::json!({"instance": "x"}),
        "createPolicyAssignment" | "createPolicyPreview" => policy(Some("x")),
        "applyPolicyAssignment" => policy(None),
        "setSecret" => serde_json::json!({"value": "x"}),
        _ => serde_json::json!({}),
    }
}

fn policy(name: Option<&str>) -> Value {
    let exec = serde_json::json!({"validate": {"interpreter": "SHELL", "script": "exit 100"}});
    let mut assignment = serde_json::json!({
        "osPolicies": [{"id": "p", "mode": "VALIDATION", "resourceGroups": [{"resources": [{"id": "r", "exec": exec}]}]}],
        "instanceFilter": {"all": true}, "rollout": {"disruptionBudget": {"percent": 10}, "minWaitDuration": "0s"}});
    if let Some(name) = name {
        assignment["name"] = name.into();
    }
    assignment
}

/// (operation id, method, path with ids filled in) of every operation.
fn operations() -> Vec<(String, String, String)> {
    let doc: Value = serde_json::from_str(&drydock_server::rest::openapi_json()).expect("JSON");
    let id = uuid::Uuid::from_u128(1).to_string();
    let mut found = Vec::new();
    for (path, methods) in doc["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let filled = path.strip_prefix("/api/v1").expect("under /api/v1");
            let filled = filled.replace("{id}", &id).replace("{idOrName}", &id).replace("{taskId}", &id);
            let filled = filled.replace("{name}", "none-such").replace("{selector}", "latest").replace("{number}", "1");
            assert!(!filled.contains('{'), "{path}: fill the parameter in here");
            let operation = operation["operationId"].as_str().expect("an operation id").to_owned();
            found.push((operation, method.to_uppercase(), filled));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_who_calls_and_whether_they_may() {
    let server = TestServer::start().await;
    let viewer = server.person("viewer").await;
    let operations = operations();
    assert!(operations.len() >= 55, "the document lost operations: {}", operations.len());
    for (operation, method, path) in &operations {
        let bare = viewer.client.request(method.parse().expect("a method"), format!("{}/api/v1{path}", viewer.base));
        let bare = answer(bare.json(&body_of(operation))).await;
        assert_eq!(bare.status, 401, "{operation}: an operation without a token has to be refused ({bare:?})");
        assert_eq!(bare.body["kind"], "UNAUTHENTICATED", "{operation}: {bare:?}");
        assert!(bare.headers.contains_key("www-authenticate"), "{operation}");
        let mut request = viewer.request(method, path);
        if method != "GET" {
            request = request.json(&body_of(operation));
        }
        let seen = answer(request).await;
        let changes = method != "GET" && !VIEWERS_MAY.contains(&operation.as_str());
        if changes || HIDDEN_FROM_VIEWERS.contains(&operation.as_str()) {
            assert_eq!(seen.status, 403, "{operation}: a viewer must not ({seen:?})");
            assert_eq!(seen.body["kind"], "FORBIDDEN", "{operation}: {seen:?}");
        } else {
            // 400: a parameter is missing; reading was not refused.
            assert!(matches!(seen.status, 200 | 400 | 404), "{operation}: a viewer may read ({seen:?})");
            let routed = seen.body["message"].as_str().is_none_or(|m| !m.contains("no such path"));
            assert!(routed, "{operation} is in the document but has no route");
        }
    }
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
        let (_, method, path) = operations().into_iter().find(|(o, _, _)| o == operation).expect("there");
        let seen = answer(operator.request(&method, &path).json(&body_of(operation))).await;
        // 400: allowed, but no instance matches.
        assert_eq!(seen.status, status, "{operation}: {seen:?}");
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_counts_are_numbers() {
    let doc: Value = serde_json::from_str(&drydock_server::rest::openapi_json()).expect("JSON");
    let schemas = &doc["components"]["schemas"];
    let mut left = vec![&doc];
    while let Some(value) = left.pop() {
        if let Some(name) = value["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/")) {
            assert!(schemas[name].is_object(), "{name} is referred to and not described");
        }
        left.extend(value.as_object().into_iter().flat_map(|o| o.values()));
        left.extend(value.as_array().into_iter().flatten());
    }
    let counts = &schemas["PatchJob"]["properties"]["instanceDetailsSummary"]["additionalProperties"];
    assert_eq!(counts["type"], "integer", "{counts}");
}

/// You changed the API: look at the difference, then run the tests with UPDATE_OPENAPI=1 and commit the file.
#[test]
fn the_document_is_the_one_reviewers_saw() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = drydock_server::rest::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != now {
        let line = kept.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or_default() + 1;
        panic!("openapi.json differs from line {line}: run with UPDATE_OPENAPI=1 and review the difference");
    }
}
