//! Over `/api/v1`: whoever may not see a host gets, for every path of it, the bytes that he gets for one that is not there.

use drydock_api::agent::v1::ReportInventoryRequest;
use serde_json::{Value, json};

use crate::support::{Answer, Person, TestServer, answer};

/// What follows `/instances/{name}`: reads.
const READS: [&str; 13] = [
    "",
    "/packages",
    "/updates",
    "/history",
    "/tasks",
    "/sources",
    "/modules",
    "/rules",
    "/advisories",
    "/vulnerabilities",
    "/sbom",
    "/vex",
    "/package-changes?from=2026-01-01T00:00:00Z",
];

/// The status, the headers but those of the moment, and the body without the request's id and the name asked for.
fn bytes(answer: &Answer, asked: &str) -> (u16, Vec<(String, String)>, String) {
    let moment = ["date", "x-request-id", "content-length"];
    let headers = answer.headers.iter().filter(|(name, _)| !moment.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
    headers.sort();
    let id = answer.headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut body = answer.body.to_string().replace(asked, "NAME");
    if !id.is_empty() {
        body = body.replace(id, "ID");
    }
    (answer.status, headers, body)
}

async fn made(who: &Person, path: &str, body: Value) {
    let made = who.post(path, body).await;
    assert!(matches!(made.status, 200 | 201), "{path}: {made:?}");
}

fn names(page: &Answer) -> Vec<&str> {
    page.body["items"].as_array().expect("rows").iter().map(|i| i["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_seen_is_not_there() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    for name in ["A", "B"] {
        made(admin, "/compartments", json!({"name": name})).await;
    }
    for (name, path) in [("seen-1", "/A"), ("kept-1", "/B")] {
        let agent = server.agent(name).await;
        let sections = agent.sections(&[("openssl", "3.0.11-1~deb12u2")]);
        let report = ReportInventoryRequest { sections, ..Default::default() };
        agent.link().await.report_inventory(report).await.expect("stored");
        let moved = admin.post(&format!("/instances/{name}:move"), json!({"compartment": path})).await;
        assert_eq!((moved.status, &moved.body["compartment"]), (200, &json!(path)), "{moved:?}");
        made(admin, "/groups", json!({"name": format!("of-{name}"), "compartment": path})).await;
    }
    let statements = "deny group Operators to manage drydock-family in compartment B";
    made(admin, "/access-policies", json!({"name": "kept", "statements": statements})).await;
    let operator = server.person("operator").await;

    assert_eq!(names(&operator.get("/instances").await), ["seen-1"]);
    assert_eq!(names(&admin.get("/instances").await), ["kept-1", "seen-1"]);
    assert_eq!(names(&admin.get("/instances?compartment=/B").await), ["kept-1"]);
    let hidden = operator.get("/instances?compartment=/B").await;
    let none = operator.get("/instances?compartment=/C").await;
    assert_eq!(bytes(&hidden, "/B"), bytes(&none, "/C"));
    let groups = operator.get("/groups").await;
    let groups: Vec<&Value> = groups.body["items"].as_array().expect("rows").iter().map(|g| &g["spec"]["name"]).collect();
    assert_eq!(groups, ["of-seen-1"]);

    for rest in READS {
        let kept = operator.get(&format!("/instances/kept-1{rest}")).await;
        let none = operator.get(&format!("/instances/none-1{rest}")).await;
        assert_eq!(kept.status, 404, "{rest}: {kept:?}");
        assert_eq!(bytes(&kept, "kept-1"), bytes(&none, "none-1"), "{rest}");
    }
    let changes: [(&str, &str, Value); 8] = [
        ("PATCH", "", json!({"zone": "z"})),
        ("DELETE", "", Value::Null),
        ("POST", ":accept", Value::Null),
        ("POST", ":reject", json!({"reason": "r"})),
        ("POST", ":revoke", Value::Null),
        ("POST", ":move", json!({"compartment": "/A"})),
        ("PUT", "/sources", json!({"mode": "additive"})),
        ("PUT", "/sources", json!({"attach": ["nothing"]})),
    ];
    for (method, rest, body) in changes {
        let ask = async |name: &str| {
            let request = operator.request(method, &format!("/instances/{name}{rest}"));
            answer(if body.is_null() { request } else { request.json(&body) }).await
        };
        let (kept, none) = (ask("kept-1").await, ask("none-1").await);
        assert_eq!(kept.status, 404, "{method} {rest}: {kept:?}");
        assert_eq!(bytes(&kept, "kept-1"), bytes(&none, "none-1"), "{method} {rest}");
    }
    for rest in ["", "/members"] {
        let (kept, none) =
            (operator.get(&format!("/groups/of-kept-1{rest}")).await, operator.get(&format!("/groups/of-none-1{rest}")).await);
        assert_eq!(kept.status, 404, "{kept:?}");
        assert_eq!(bytes(&kept, "of-kept-1"), bytes(&none, "of-none-1"), "{rest}");
    }
    let still = admin.get("/instances/kept-1").await;
    assert_eq!((still.status, &still.body["compartment"], &still.body["state"]), (200, &json!("/B"), &json!("ACTIVE")));
    let moved = operator.post("/instances/seen-1:move", json!({"compartment": "/"})).await;
    assert_eq!((moved.status, moved.body["message"].as_str().is_some_and(|m| m.contains("DRYDOCK_INSTANCE_MOVE"))), (403, true));
}
