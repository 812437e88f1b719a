//! Filters over `/api/v1`: lists, what a job would reach, groups; refusals name the parameter and the column.

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_domain::inventory::ManagerKind;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Person, TestServer};

async fn host(server: &TestServer, name: &str, version: &str, packages: &[(&str, &str)]) -> Agent {
    let mut agent = server.agent(name).await;
    agent.os.version = version.to_owned();
    agent.os.architecture = "x86_64".to_owned();
    agent.os.managers = vec![ManagerKind::Apt];
    let sections = agent.sections(packages);
    let request = ReportInventoryRequest { sections, ..Default::default() };
    agent.link().await.report_inventory(request).await.expect("stored");
    agent
}

fn names(items: &Value) -> Vec<&str> {
    items.as_array().expect("rows").iter().map(|i| i["name"].as_str().expect("a name")).collect()
}

/// The list under a filter, and further parameters.
async fn search(who: &Person, filter: &str, more: &str) -> Answer {
    let encoded: String = filter.bytes().map(|b| format!("%{b:02X}")).collect();
    who.get(&format!("/instances?filter={encoded}{more}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_works_alike_in_lists_jobs_and_groups() {
    let server = TestServer::start().await;
    host(&server, "web-1", "12", &[("openssl", "3.0.11-1~deb12u2"), ("nginx", "1.22.1-9")]).await;
    host(&server, "web-2", "12", &[("openssl", "3.0.14-1~deb12u2"), ("nginx", "1.22.1-9")]).await;
    host(&server, "db-1", "13", &[("openssl", "3.0.11-1~deb12u2")]).await;

    let filter = "package openssl < 3.0.14 and os.version = \"12*\"";
    let listed = search(&server.admin, filter, "").await;
    assert_eq!((listed.status, names(&listed.body["items"])), (200, vec!["web-1"]), "{listed:?}");
    let page = search(&server.admin, "inventory", "&limit=2").await;
    assert_eq!(names(&page.body["items"]), ["db-1", "web-1"]);
    let next = page.body["nextCursor"].as_str().expect("more").to_owned();
    let rest = search(&server.admin, "inventory", &format!("&limit=2&cursor={next}")).await;
    assert_eq!((names(&rest.body["items"]), rest.body["nextCursor"].as_str()), (vec!["web-2"], None));

    let would = server.admin.post("/instances:match", json!({"instanceFilter": {"query": filter}})).await;
    assert_eq!((would.status, &would.body["total"], names(&would.body["instances"])), (200, &json!(1), vec!["web-1"]));
    let job = server.admin.patch_job(json!({"instanceFilter": {"query": filter}, "dryRun": true})).await;
    let path = format!("/patch-jobs/{}/tasks", job["id"].as_str().expect("an id"));
    let tasks = server.admin.wait_for(&path, "the job's hosts", |b| b["items"].as_array().is_some_and(|i| !i.is_empty())).await;
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(tasks["items"][0]["instanceName"], "web-1");

    assert_eq!(server.admin.post("/groups", json!({"name": "web"})).await.status, 201);
    server.admin.post("/groups/web:add", json!({"filter": "name = web-1"})).await;
    let added = server.admin.post("/groups/web:add", json!({"filter": "package openssl"})).await;
    assert_eq!(added.status, 200, "{added:?}");
    let counts = ["addedTotal", "alreadyMembers", "leftOutTotal"].map(|k| added.body[k].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(1)], "{added:?}");
    assert_eq!(added.body["leftOut"][0]["why"], "it runs release 13 of debian, not 12", "{added:?}");
    assert_eq!(names(&search(&server.admin, "group = web", "").await.body["items"]), ["web-1", "web-2"]);
    assert_eq!(server.admin.post("/groups/web:remove", json!({"filter": "inventory"})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_cannot_be_read_is_refused_with_its_place() {
    let server = TestServer::start().await;
    server.agent("web-1").await;
    let refused = |answer: &Answer, field: &str, message: &str| {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.body["fields"][0]["field"], field, "{answer:?}");
        let text = answer.body["fields"][0]["message"].as_str().expect("a text");
        assert!(text.contains(message), "{text}");
    };
    for (filter, message) in [
        ("os.verison = 8", "column 1: there is no field \"os.verison\"; did you mean os.version?"),
        ("package openssl <", "column 18: expected a version, found the end"),
        ("package a < \"not a version\"", "is not a version"),
        ("", "the filter is empty"),
        (&"(".repeat(2000), "more than 20"),
        (&"x".repeat(5000), "at most 4096"),
    ] {
        refused(&search(&server.admin, filter, "").await, "filter", message);
        let spec = json!({"instanceFilter": {"query": filter}});
        refused(&server.admin.post("/patch-jobs", spec.clone()).await, "instanceFilter.query", message);
        refused(&server.admin.post("/instances:match", spec).await, "instanceFilter.query", message);
    }
    server.admin.post("/groups", json!({"name": "web"})).await;
    refused(
        &server.admin.post("/groups/web:add", json!({"filter": "reboot = yes"})).await,
        "filter",
        "column 8: reboot takes no",
    );
    let viewer = server.person("viewer").await;
    assert_eq!(viewer.post("/groups/web:add", json!({"filter": "inventory"})).await.status, 403);
    assert_eq!(search(&viewer, "not inventory", "").await.status, 200);
}
