//! What clients of `/api/v1` rely on: the error shape, pages, etags, idempotency, events.

use std::time::Duration;

use drydock_domain::patch::task::TaskState;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, LIMIT, Person, TestServer, answer};

fn assert_error(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, answer.body["kind"].as_str()), (status, Some(kind)), "{answer:?}");
    assert!(answer.body["message"].as_str().is_some_and(|m| !m.is_empty()), "{answer:?}");
    let id = answer.headers["x-request-id"].to_str().expect("text");
    assert_eq!(answer.body["requestId"], id, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_the_one_shape() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    assert_error(&admin.get("/instances/nobody").await, 404, "NOT_FOUND");
    assert_error(&admin.get("/nothing").await, 404, "NOT_FOUND");
    assert_error(&admin.get("/patch-jobs/not-an-id").await, 400, "INVALID");
    assert_error(&answer(admin.request("DELETE", "/whoami")).await, 405, "INVALID");
    assert_error(&answer(admin.request("POST", "/patch-jobs").body("{}")).await, 400, "INVALID");
    let large = json!({"instanceFilter": {"all": true}, "description": "x".repeat(1_100_000)});
    assert_error(&admin.post("/patch-jobs", large).await, 413, "UNAVAILABLE");
    let misspelt = json!({"instanceFilter": {"all": true}, "patchConfig": {"apt": {"exclude": []}}});
    let refused = admin.post("/patch-jobs", misspelt).await;
    assert_error(&refused, 400, "INVALID");
    assert_eq!(refused.body["fields"][0]["field"], "patchConfig.apt.exclude", "{refused:?}");
    let bad_regex = json!({"instanceFilter": {"all": true}, "patchConfig": {"apt": {"excludes": ["/(/"]}}});
    let refused = admin.post("/patch-jobs", bad_regex).await;
    assert_error(&refused, 400, "INVALID");
    assert_eq!(refused.body["fields"][0]["field"], "patchConfig.apt.excludes[0]", "{refused:?}");
    let refused = admin.post("/patch-jobs", json!({"instanceFilter": {}})).await;
    assert_eq!(refused.body["fields"][0]["field"], "instanceFilter", "{refused:?}");
    let refused = admin.get("/instances?stat=ACTIVE").await;
    assert_error(&refused, 400, "INVALID");
    assert_eq!(refused.body["fields"][0]["field"], "stat");
    let with_parameter = admin.post("/patch-jobs?dryRun=true", json!({"instanceFilter": {"all": true}})).await;
    assert_eq!(with_parameter.body["fields"][0]["field"], "dryRun", "{with_parameter:?}");
    assert_error(&admin.get("/instances?state=active").await, 400, "INVALID");
    assert_error(&admin.get("/instances?cursor=zz").await, 400, "INVALID");
    assert_error(&admin.post("/patch-jobs/0198c0de-0000-7000-8000-000000000001:unpack", json!({})).await, 404, "NOT_FOUND");
    assert_error(&admin.post("/instances/web-1", json!({})).await, 405, "INVALID");
    let own_id = answer(admin.request("GET", "/nothing").header("x-request-id", "my-id-1")).await;
    assert_eq!(own_id.body["requestId"], "my-id-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_refused_and_an_address_that_keeps_trying_waits() {
    let server = TestServer::start().await;
    let stranger = Person { token: "ddt_wrong".into(), ..server.admin.clone() };
    assert_error(&stranger.get("/whoami").await, 401, "UNAUTHENTICATED");
    for _ in 0..drydock_server::limits::FAILURES_PER_ADDRESS_MAX {
        stranger.get("/whoami").await;
    }
    let waits = stranger.get("/whoami").await;
    assert_error(&waits, 429, "UNAVAILABLE");
    assert!(waits.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_at_once() {
    let server = TestServer::start().await;
    let viewer = server.person("viewer").await;
    let who = viewer.get("/whoami").await;
    assert_eq!((who.status, who.body["role"].as_str()), (200, Some("viewer")));
    let tokens = server.admin.get("/access-tokens").await;
    let rows = tokens.body["items"].as_array().expect("rows");
    assert!(!tokens.body.to_string().contains(&viewer.token), "a list shows no secret");
    let id = rows.iter().find(|t| t["name"] == "a viewer").expect("listed")["id"].as_str().expect("an id");
    assert_eq!(server.admin.post(&format!("/access-tokens/{id}:revoke"), json!({})).await.status, 200);
    assert_error(&viewer.get("/whoami").await, 401, "UNAUTHENTICATED");
    let audit = server.admin.get("/audit?limit=5").await;
    assert!(audit.body["items"].as_array().is_some_and(|r| !r.is_empty()), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_page_by_page_and_filtered() {
    let server = TestServer::start().await;
    let body = json!({"displayName": "web", "autoAccept": true, "labels": {"role": "web"}, "zone": "z1"});
    let made = server.admin.post("/enrolment-profiles", body).await;
    let token = made.body["token"].as_str().expect("a token");
    assert!(made.body["command"].as_str().is_some_and(|c| c.contains(token) && c.contains("--ca-fingerprint")), "{made:?}");
    for i in 0..5 {
        let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, &format!("web-{i}"));
        agent.enrol(token).await.expect("in");
    }
    server.agent("db-1").await;
    let mut names = Vec::new();
    let mut path = "/instances?limit=2&label=role=web&zone=z1&q=EB-&state=ACTIVE".to_owned();
    let first = path.clone();
    for _ in 0..3 {
        let page = server.admin.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let rows = page.body["items"].as_array().expect("rows").clone();
        names.extend(rows.iter().map(|r| r["name"].as_str().expect("a name").to_owned()));
        match page.body["nextCursor"].as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
    assert_eq!(server.admin.get("/instances?label=role=db").await.body["items"], json!([]));
    assert_eq!(server.admin.get("/instances?label=role").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_based_on_an_old_etag_is_refused() {
    let server = TestServer::start().await;
    server.agent("web-1").await;
    let seen = server.admin.get("/instances/web-1").await;
    let etag = seen.headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(etag, format!("\"{}\"", seen.body["etag"].as_str().expect("an etag")));
    let edit = |etag: &str, zone: &str| {
        server.admin.request("PATCH", "/instances/web-1").header("if-match", etag).json(&json!({"zone": zone}))
    };
    let edited = answer(edit(&etag, "z1")).await;
    assert_eq!((edited.status, edited.body["zone"].as_str()), (200, Some("z1")), "{edited:?}");
    assert_error(&answer(edit(&etag, "z2")).await, 412, "CONFLICT");
    assert_eq!(answer(edit("*", "z3")).await.status, 200);
    assert_eq!(server.admin.get("/instances/web-1").await.body["zone"], "z3");
    assert_eq!(answer(edit("unquoted", "z4")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_job() {
    let server = TestServer::start().await;
    server.agent("web-1").await;
    let spec = json!({"displayName": "once", "instanceFilter": {"all": true}});
    let ask = |key: &str, spec: &Value| server.admin.request("POST", "/patch-jobs").header("idempotency-key", key).json(spec);
    let first = answer(ask("k-1", &spec)).await;
    let second = answer(ask("k-1", &spec)).await;
    assert_eq!((first.status, second.status), (201, 201), "{second:?}");
    assert_eq!(first.body["id"], second.body["id"]);
    let location = format!("/api/v1/patch-jobs/{}", first.body["id"].as_str().expect("an id"));
    assert_eq!(first.headers["location"], location.as_str());
    let other = json!({"displayName": "other", "instanceFilter": {"all": true}});
    let refused = answer(ask("k-1", &other)).await;
    assert_error(&refused, 409, "CONFLICT");
    assert_eq!(answer(ask("bad key", &spec)).await.status, 400);
    let third = answer(ask("k-2", &spec)).await;
    assert_ne!(third.body["id"], first.body["id"]);
    let profile = server.admin.request("POST", "/enrolment-profiles").header("idempotency-key", "k-3");
    let refused = answer(profile.json(&json!({"displayName": "x"}))).await;
    assert_eq!(refused.body["fields"][0]["field"], "Idempotency-Key", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_a_job_to_its_end() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let job = server.admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
    let path = format!("/patch-jobs/{}/events", job["id"].as_str().expect("an id"));
    let viewer = server.person("viewer").await;
    let response = viewer.request("GET", &path).send().await.expect("a stream");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        let mut body = response.bytes_stream();
        while let Some(piece) = body.next().await {
            text.push_str(&String::from_utf8_lossy(&piece.expect("a piece")));
        }
        text
    });
    let order = agent.pull_one().await;
    agent.report(order.task.task, 1, TaskState::ApplyingPatches).await.expect("taken");
    let seen = format!("/patch-jobs/{}/tasks", job["id"].as_str().expect("an id"));
    server.admin.wait_for(&seen, "applying", |t| t["items"][0]["state"] == "APPLYING_PATCHES").await;
    agent.report(order.task.task, 2, TaskState::Succeeded).await.expect("taken");
    let text = tokio::time::timeout(LIMIT, reading).await.expect("the stream ends").expect("read");
    let events: Vec<(&str, Value)> = text
        .split("\n\n")
        .filter_map(|e| Some((e.strip_prefix("event: ")?.split('\n').next()?, e.split_once("data: ")?.1)))
        .map(|(name, data)| (name, serde_json::from_str(data).expect("JSON")))
        .collect();
    assert_eq!(events.first().map(|(name, _)| *name), Some("job"), "{text}");
    let (name, last) = events.last().expect("events");
    assert_eq!((*name, last["state"].as_str()), ("job", Some("SUCCEEDED")), "{text}");
    let states: Vec<_> = events.iter().filter(|(n, _)| *n == "task").map(|(_, t)| t["state"].clone()).collect();
    assert_eq!(states.last(), Some(&json!("SUCCEEDED")), "{states:?}");
    assert_eq!(viewer.get("/patch-jobs/0198c0de-0000-7000-8000-000000000001/events").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stops_following_however_busy_the_job_is() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let job = server.admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
    let viewer = server.person("viewer").await;
    let path = format!("/patch-jobs/{}/events", job["id"].as_str().expect("an id"));
    let mut body = viewer.request("GET", &path).send().await.expect("a stream").bytes_stream();
    body.next().await.expect("the job").expect("a piece");
    let tokens = server.admin.get("/access-tokens").await.body;
    let token = tokens["items"].as_array().expect("a list").iter().find(|t| t["role"] == "viewer").expect("the viewer's");
    let id = token["id"].as_str().expect("an id");
    assert_eq!(server.admin.post(&format!("/access-tokens/{id}:revoke"), json!({})).await.status, 200);
    let task = agent.pull_one().await.task.task;
    let busy = async {
        for seq in 1.. {
            agent.report(task, seq, TaskState::ApplyingPatches).await.expect("taken");
            let piece = tokio::time::timeout(Duration::from_millis(500), body.next()).await;
            match piece {
                Ok(None) => break,
                Ok(Some(piece)) => drop(piece.expect("ended in order, not by the client's patience")),
                Err(_) => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, busy).await.expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_tells_its_hosts() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let job = server.admin.patch_job(json!({"instanceFilter": {"all": true}})).await;
    let order = agent.pull_one().await;
    agent.report(order.task.task, 1, TaskState::Started).await.expect("taken");
    let path = format!("/patch-jobs/{}", job["id"].as_str().expect("an id"));
    let cancelled = server.admin.post(&format!("{path}:cancel"), json!({"kill": true})).await;
    assert_eq!((cancelled.status, cancelled.body["cancelRequested"].as_bool()), (200, Some(true)), "{cancelled:?}");
    let told = agent.report(order.task.task, 2, TaskState::ApplyingPatches).await.expect("taken");
    assert_eq!(told.directive, "KILL");
    agent.report(order.task.task, 3, TaskState::Canceled).await.expect("taken");
    server.admin.wait_for(&path, "cancelled", |j| j["state"] == "CANCELED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_the_truth() {
    let server = TestServer::start().await;
    server.agent("web-1").await;
    let outside = |path: &str| server.admin.client.get(format!("{}{path}", server.admin.base));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(outside(path).send().await.expect("an answer").status(), 200, "{path}");
    }
    assert_eq!(outside("/metrics").send().await.expect("an answer").status(), 401);
    server.admin.get("/instances/web-1").await;
    let metrics = outside("/metrics").bearer_auth(&server.admin.token).send().await.expect("an answer");
    let text = metrics.text().await.expect("text");
    for line in [
        "drydock_instances{state=\"ACTIVE\"} 1",
        "drydock_requests_total{method=\"GET\",route=\"/api/v1/instances/{id}\",status=\"200\"} 1",
        "drydock_requests_total{method=\"POST\",route=\"/drydock.agent.v1.AgentLink/Enrol\",status=\"200\"} 1",
        "drydock_agents_attached 0",
        // The scrape itself.
        "drydock_requests_in_flight 1",
        "drydock_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains(&server.admin.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_take_places_only_until_the_handshake_s_limit() {
    let server = TestServer::start_with(|s| s.connections_max = 16).await;
    let fresh = || Person::new(server.running.addr, &server.running.ca_pem, &server.admin.token);
    // Before the first of them: its place is free again a limit after it came.
    let began = std::time::Instant::now();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(server.running.addr).await.expect("in the backlog"));
    }
    let asked = fresh();
    // 20 silent peers before us, 16 at a time: we come after the first handshake limit.
    let patient = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(server.running.ca_pem.as_bytes()).expect("a certificate")])
        .no_proxy()
        .timeout(4 * drydock_server::limits::TLS_HANDSHAKE_MAX)
        .build()
        .expect("a client");
    let answer = patient.get(format!("{}/healthz", asked.base)).send().await.expect("an answer after all");
    assert_eq!(answer.status(), 200);
    assert!(began.elapsed() > drydock_server::limits::TLS_HANDSHAKE_MAX, "the limit of connections did not hold anybody back");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn going_down_answers_what_is_under_way_and_cuts_what_never_ends() {
    let server = TestServer::start_with(|s| s.drain_secs = 2).await;
    server.agent("web-1").await;
    let upload = || {
        let (pieces, body) = futures::channel::mpsc::unbounded::<std::io::Result<bytes::Bytes>>();
        pieces.unbounded_send(Ok("{\"instanceFilter\": ".into())).expect("taken");
        let person = Person::new(server.running.addr, &server.running.ca_pem, &server.admin.token);
        let request = person.request("POST", "/patch-jobs").header("content-type", "application/json");
        (pieces, tokio::spawn(request.body(reqwest::Body::wrap_stream(body)).send()))
    };
    let (ending, answered) = upload();
    let (_endless, cut) = upload();
    let metrics = server.running.state.metrics.clone();
    crate::support::wait_until("both requests are under way", async || (metrics.in_flight() == 2).then_some(())).await;
    let mut shutdown = server.running.state.shutdown.clone();
    let stopping = tokio::spawn(server.running.stop());
    shutdown.begun().await;
    ending.unbounded_send(Ok("{\"all\": true}}".into())).expect("taken");
    drop(ending);
    let answer = answered.await.expect("joined").expect("an answer");
    assert_eq!(answer.status(), 201);
    cut.await.expect("joined").expect_err("cut");
    assert_eq!(tokio::time::timeout(LIMIT, stopping).await.expect("in time").expect("joined"), 1);
}
