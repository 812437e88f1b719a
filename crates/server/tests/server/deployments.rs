//! Patch deployments over REST, with the server's own clock and a host that does the work; ended jobs run again.

use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Person, TestServer, answer};

fn in_seconds(seconds: i64) -> String {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("in range").to_string()
}

/// Every day at midnight in Berlin, and more.
fn daily(name: &str, more: Value) -> Value {
    let mut spec = json!({"name": name, "instanceFilter": {"all": true},
        "recurringSchedule": {"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 0}, "frequency": "DAILY"}});
    let more = more.as_object().expect("fields").clone();
    spec.as_object_mut().expect("fields").extend(more);
    spec
}

async fn run(person: &Person, name: &str, key: &str) -> Answer {
    answer(person.request("POST", &format!("/deployments/{name}:run")).header("idempotency-key", key)).await
}

async fn end_well(server: &TestServer, agent: &Agent, job: &str) -> Value {
    let order = agent.pull_one().await;
    assert_eq!(order.task.job.to_string(), job);
    agent.report(order.task.task, 1, TaskState::Succeeded).await.expect("taken");
    server.admin.wait_for(&format!("/patch-jobs/{job}"), "ended", |j| j["finishedAt"].is_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_starts_its_job_when_it_is_due() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let at = in_seconds(2);
    let spec = json!({"name": "tonight", "description": "front ends", "instanceFilter": {"instances": ["web-1"]},
        "dryRun": true, "oneTimeSchedule": {"executeTime": at}});
    let made = server.admin.post("/deployments", spec.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["location"], "/api/v1/deployments/tonight");
    assert_eq!((&made.body["nextExecuteTime"], &made.body["upcoming"]), (&json!(at), &json!([at])));
    assert_eq!((&made.body["state"], &made.body["lastJob"]), (&json!("ACTIVE"), &Value::Null));
    let ran = server.admin.wait_for("/deployments/tonight", "its job", |d| d["lastJob"].is_string()).await;
    assert_eq!((&ran["nextExecuteTime"], &ran["upcoming"]), (&Value::Null, &json!([])));
    let job = ran["lastJob"].as_str().expect("an id");
    let ended = end_well(&server, &agent, job).await;
    assert_eq!((&ended["patchDeployment"], &ended["spec"]["dryRun"]), (&json!("tonight"), &json!(true)), "{ended}");
    assert_eq!(ended["state"], "SUCCEEDED");
    let executions = server.admin.get("/deployments/tonight/executions").await;
    let only = &executions.body["items"][0];
    assert_eq!((&only["outcome"], &only["dueAt"], &only["job"]), (&json!("STARTED"), &json!(at), &json!(job)), "{executions:?}");
    let found = server.admin.get("/patch-jobs?patchDeployment=tonight").await;
    assert_eq!(found.body["items"].as_array().map(Vec::len), Some(1), "{found:?}");
    assert_eq!(server.admin.get("/patch-jobs?patchDeployment=other").await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_run_skipped_paused_edited_and_deleted() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let operator = server.person("operator").await;
    let made = operator.post("/deployments", daily("nightly", json!({"overlap": "queue"}))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["upcoming"].as_array().map(Vec::len), Some(5));
    let again = operator.post("/deployments", daily("nightly", json!({}))).await;
    assert_eq!((again.status, again.body["kind"].as_str()), (409, Some("CONFLICT")), "{again:?}");

    let first = run(&operator, "nightly", "k1").await;
    assert_eq!((first.status, first.body["outcome"].as_str()), (201, Some("STARTED")), "{first:?}");
    assert_eq!(run(&operator, "nightly", "k1").await.body, first.body, "the key makes it one run");
    let second = run(&operator, "nightly", "k2").await;
    assert_eq!(second.body["outcome"], "QUEUED", "{second:?}");
    assert!(second.body["reason"].as_str().is_some_and(|r| r.contains(first.body["job"].as_str().expect("a job"))));
    assert_eq!(run(&operator, "nightly", "k3").await.status, 409, "one waits already");
    end_well(&server, &agent, first.body["job"].as_str().expect("a job")).await;
    let list = operator
        .wait_for("/deployments/nightly/executions?limit=1", "the waiting one began", |p| p["items"][0]["outcome"] == "STARTED")
        .await;
    end_well(&server, &agent, list["items"][0]["job"].as_str().expect("a job")).await;

    let next = made.body["upcoming"][0].clone();
    for _ in 0..2 {
        let skipped = operator.post("/deployments/nightly:skip-next", json!({"executeTime": next})).await;
        assert_eq!((skipped.status, &skipped.body["nextExecuteTime"]), (200, &made.body["upcoming"][1]), "{skipped:?}");
    }
    let newest = operator.get("/deployments/nightly/executions?limit=1").await;
    assert_eq!(newest.body["items"][0]["reason"], "skipped by a operator", "{newest:?}");
    let unknown = operator.post("/deployments/nightly:skip-next", json!({"time": next})).await;
    assert_eq!((unknown.status, &unknown.body["fields"][0]["field"]), (400, &json!("time")), "{unknown:?}");

    let paused = operator.post("/deployments/nightly:pause", json!({})).await;
    assert_eq!((&paused.body["state"], &paused.body["pausedBy"]), (&json!("PAUSED"), &json!("a operator")), "{paused:?}");
    let resumed = operator.post("/deployments/nightly:resume", json!({})).await;
    assert_eq!((&resumed.body["state"], &resumed.body["pausedBy"]), (&json!("ACTIVE"), &Value::Null), "{resumed:?}");
    assert_eq!(operator.post("/deployments/nightly:undo", json!({})).await.status, 404);

    let edit = |etag: &str, hours: i32| {
        let spec = daily(
            "nightly",
            json!({"recurringSchedule": {"timeZone": {"id": "Asia/Tokyo"}, "timeOfDay": {"hours": hours},
            "frequency": "WEEKLY", "weekly": {"daysOfWeek": ["MONDAY", "THURSDAY"]}}}),
        );
        operator.request("PUT", "/deployments/nightly").header("if-match", format!("\"{etag}\"")).json(&spec)
    };
    let etag = resumed.body["etag"].as_str().expect("an etag");
    assert_eq!(answer(edit("1", 3)).await.status, 412);
    let edited = answer(edit(etag, 3)).await;
    assert_eq!(edited.status, 200, "{edited:?}");
    assert!(edited.body["nextExecuteTime"].as_str().is_some_and(|t| t.ends_with("T18:00:00Z")), "{edited:?}");
    let wrong = answer(edit(edited.body["etag"].as_str().expect("an etag"), 24)).await;
    assert_eq!((wrong.status, &wrong.body["fields"][0]["field"]), (400, &json!("recurringSchedule.timeOfDay.hours")));

    assert_eq!(operator.get("/deployments?limit=1").await.body["items"][0]["spec"]["name"], "nightly");
    assert_eq!(answer(operator.request("DELETE", "/deployments/nightly")).await.status, 204);
    assert_eq!(operator.get("/deployments/nightly").await.status, 404);
    let jobs = operator.get("/patch-jobs?patchDeployment=nightly").await;
    assert_eq!(jobs.body["items"].as_array().map(Vec::len), Some(2), "its jobs stay: {jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_job_is_run_again_by_the_server() {
    let server = TestServer::start().await;
    let (good, bad) = (server.agent("web-1").await, server.agent("web-2").await);
    let job = server.admin.patch_job(json!({"displayName": "thursday", "instanceFilter": {"all": true}})).await;
    let id = job["id"].as_str().expect("an id");
    let path = format!("/patch-jobs/{id}:rerun");
    let open = server.admin.post(&path, json!({})).await;
    assert_eq!((open.status, open.body["kind"].as_str()), (409, Some("CONFLICT")), "{open:?}");
    for (agent, state) in [(&good, TaskState::Succeeded), (&bad, TaskState::Failed)] {
        let order = agent.pull_one().await;
        agent.report(order.task.task, 1, state).await.expect("taken");
    }
    server.admin.wait_for(&format!("/patch-jobs/{id}"), "ended", |j| j["finishedAt"].is_string()).await;
    let ask = |body: Value| server.admin.request("POST", &path).header("idempotency-key", "again-1").json(&body);
    let again = answer(ask(json!({}))).await;
    assert_eq!((again.status, &again.body["rerunOf"]), (201, &json!(id)), "{again:?}");
    let new = again.body["id"].as_str().expect("an id");
    assert_eq!(again.headers["location"], format!("/api/v1/patch-jobs/{new}"));
    assert_eq!(answer(ask(json!({}))).await.body["id"], json!(new), "the key makes it one job");
    assert_eq!(answer(ask(json!({"allHosts": true}))).await.status, 409, "another request with that key");
    end_well(&server, &bad, new).await;
    let tasks = server.admin.get(&format!("/patch-jobs/{new}/tasks")).await;
    let hosts: Vec<_> = tasks.body["items"].as_array().expect("rows").iter().map(|t| t["instanceName"].clone()).collect();
    assert_eq!(hosts, [json!("web-2")]);
    let viewer = server.person("viewer").await;
    assert_eq!(viewer.post(&path, json!({})).await.status, 403);
}
