//! Rollouts as clients of the API meet them: how a job stands, what steers it, windows, reboot slots, reports.

use drydock_api::agent::v1::ReportTaskRequest;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use serde_json::json;

use crate::support::{TestServer, answer};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_waves_is_shown_halted_resumed_and_reported() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let (first, second) = (server.agent("web-1").await, server.agent("web-2").await);
    let spec = json!({"displayName": "<script>alert(1)</script>", "instanceFilter": {"all": true},
        "patchConfig": {"soakDays": 7, "soakExceptSecurity": true},
        "rollout": {"waves": [{"name": "canary", "select": {"instances": ["web-1"]}}], "disruptionBudget": {"fixed": 1}}});
    let id = admin.patch_job(spec).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/patch-jobs/{id}");
    let order = first.pull_one().await;
    first.report(order.task.task, 1, TaskState::Started).await.expect("taken");
    first.report(order.task.task, 2, TaskState::Failed).await.expect("taken");
    let job = admin.wait_for(&path, "halted", |j| j["rollout"]["halted"].is_object()).await;
    assert_eq!(job["state"], "PATCHING");
    assert_eq!(job["rollout"]["halted"]["cause"]["cause"], "FAILURES", "{job}");
    let waves = &job["rollout"]["waves"];
    assert_eq!((&waves[0]["name"], &waves[0]["failed"]), (&json!("canary"), &json!(1)), "{job}");
    assert_eq!((&job["rollout"]["plan"]["number"], &job["rollout"]["zones"][0]["budget"]), (&json!(1), &json!(1)), "{job}");
    let tasks = admin.get(&format!("{path}/tasks")).await.body;
    assert_eq!(tasks["items"][1]["waitingOn"]["reason"], "HALTED", "{tasks}");
    assert_eq!(tasks["items"][1]["wave"], 1, "{tasks}");

    let nothing = admin.post(&format!("{path}:approve"), json!({})).await;
    assert_eq!((nothing.status, nothing.body["kind"].as_str()), (409, Some("CONFLICT")), "{nothing:?}");
    let other = json!({"rollout": {"waves": [{"name": "canary", "size": {"fixed": 1}}, {"name": "more", "size": {"fixed": 1}}]}});
    let resumed = admin.post(&format!("{path}:resume"), other).await;
    assert_eq!((resumed.status, &resumed.body["rollout"]["plan"]["number"]), (200, &json!(2)), "{resumed:?}");
    let plans = admin.get(&format!("{path}/plans")).await.body;
    assert_eq!(plans.as_array().map(Vec::len), Some(2), "{plans}");
    let order = second.pull_one().await;
    let told = json!({"task": order.task.task, "seq": 1, "at": jiff::Timestamp::now(), "state": "SUCCEEDED", "message": "",
        "steps": [], "packages": [], "reboots": 0, "rebootReasons": [],
        "plans": [{"manager": "apt", "actions": [], "skipped": [
            {"name": "curl", "arch": "amd64", "version": "8.14-2", "reason": "soaks until 2026-11-30 05:22 UTC"}]}]});
    let told: TaskReport = serde_json::from_value(told).expect("a report");
    assert_eq!(told.state, TaskState::Succeeded);
    let report = ReportTaskRequest { report: serde_json::to_vec(&told).expect("JSON") };
    second.link().await.report_task(report).await.expect("taken");
    admin.wait_for(&path, "ended", |j| j["finishedAt"].is_string()).await;

    let report = admin.get(&format!("{path}/report")).await.body;
    assert_eq!(report["hosts"][0]["instanceName"], "web-1", "{report}");
    assert_eq!(report["hosts"][0]["waveName"], "canary", "{report}");
    let text = async |format: &str| {
        let asked = admin.request("GET", &format!("{path}/report?format={format}")).send().await.expect("answered");
        assert_eq!(asked.status(), 200);
        asked.text().await.expect("text")
    };
    let csv = text("csv").await;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.contains("curl,amd64,,8.14-2,,LEFT_OUT,soaks until 2026-11-30 05:22 UTC"), "{csv}");
    assert_eq!(report["hosts"][1]["leftOut"][0]["name"], "curl", "{report}");
    assert!(csv.lines().next().is_some_and(|h| h.ends_with("outcome,reason")), "{csv}");
    let html = text("html").await;
    assert!(html.contains(r#"<th scope="row">Soak</th><td>7 days, security updates at once</td>"#), "{html}");
    assert!(html.contains("LEFT_OUT") && html.contains("soaks until 2026-11-30"), "{html}");
    assert_eq!(report["job"]["spec"]["patchConfig"]["soakDays"], 7, "{report}");
    assert!(csv.starts_with("host,zone,wave,state,") && csv.contains("web-1,,canary,FAILED"), "{csv}");
    assert!(html.contains("&#60;script&#62;") && !html.contains("<script"), "everything is escaped: {html}");
    assert!(html.contains("web-1") && html.contains("FAILED") && !html.contains("http://"), "{html}");
    let odd = admin.get(&format!("{path}/report?format=pdf")).await;
    assert_eq!((odd.status, &odd.body["fields"][0]["field"]), (400, &json!("format")));
    let undo = admin.post(&format!("{path}:undo"), json!({})).await;
    assert_eq!((undo.status, undo.body["kind"].as_str()), (409, Some("CONFLICT")), "nothing was changed: {undo:?}");
    assert_eq!(admin.get(&format!("{path}/undo")).await.body, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_freezes_and_slots_are_kept_under_their_names() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let window = json!({"name": "nights", "instanceFilter": {"all": true}, "durationSecs": 3600,
        "schedule": {"timeZone": {"id": "Europe/Berlin"}, "frequency": "DAILY", "timeOfDay": {"hours": 3}}});
    let made = admin.post("/maintenance-windows", window.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["location"], "/api/v1/maintenance-windows/nights");
    assert_eq!(made.body["openings"].as_array().map(Vec::len), Some(5), "{made:?}");
    let etag = made.headers["etag"].clone();
    let mut longer = window.clone();
    longer["durationSecs"] = json!(7200);
    let put = |etag: &str| {
        let request = admin.request("PUT", "/maintenance-windows/nights").header("if-match", etag);
        answer(request.json(&longer))
    };
    assert_eq!(put("\"77\"").await.status, 412);
    let edited = put(etag.to_str().expect("text")).await;
    assert_eq!((edited.status, &edited.body["spec"]["durationSecs"]), (200, &json!(7200)), "{edited:?}");
    assert_eq!(admin.get("/maintenance-windows").await.body[0]["spec"]["name"], "nights");

    let freeze = json!({"name": "year-end", "instanceFilter": {"all": true},
        "periods": [{"from": "2020-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z", "reason": "for ever"}]});
    let made = admin.post("/freeze-calendars", freeze).await;
    assert_eq!((made.status, &made.body["frozen"]), (201, &json!(true)), "{made:?}");
    let backwards = json!({"name": "x", "instanceFilter": {"all": true},
        "periods": [{"from": "2021-01-01T00:00:00Z", "to": "2020-01-01T00:00:00Z"}]});
    let refused = admin.post("/freeze-calendars", backwards).await;
    assert_eq!((refused.status, &refused.body["fields"][0]["field"]), (400, &json!("periods[0].to")), "{refused:?}");
    let _agent = server.agent("web-1").await;
    let job = admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
    let tasks = format!("/patch-jobs/{}/tasks", job["id"].as_str().expect("an id"));
    admin.wait_for(&tasks, "frozen", |t| t["items"][0]["waitingOn"]["reason"] == "FROZEN").await;

    let group = json!({"name": "db", "instanceFilter": {"all": true}, "slots": 1});
    let made = admin.post("/reboot-slot-groups", group).await;
    assert_eq!(
        (made.status, &made.body["spec"]["expirySecs"], &made.body["holders"]),
        (201, &json!(7200), &json!([])),
        "{made:?}"
    );
    let released = admin.post("/reboot-slot-groups/db:release", json!({"instance": "web-1"})).await;
    assert_eq!(released.status, 404, "{released:?}");
    for path in ["/maintenance-windows/nights", "/freeze-calendars/year-end", "/reboot-slot-groups/db"] {
        assert_eq!(answer(admin.request("DELETE", path)).await.status, 204, "{path}");
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
}
