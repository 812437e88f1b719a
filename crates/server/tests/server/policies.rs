//! OS policies over the port: Google's documents in, signed documents to agents, reports back, compliance out.

use drydock_api::agent::v1::{PullPoliciesRequest, PullPoliciesResponse, ReportPoliciesRequest};
use drydock_domain::policy::host::signed_bytes;
use drydock_domain::policy::{
    AssignmentHealth, ComplianceState, HealthState, HostPolicies, HostPoliciesReport, PolicyResult, ResourceResult,
};
use drydock_domain::rollout::health::HealthResult;
use jiff::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::support::*;

/// As people have it in a file, in the spelling of Google's documentation.
const YAML: &str = "\
# The web servers.
os_policies:
  - id: install-httpd
    mode: ENFORCEMENT
    resource_groups:
      - resources:
          - id: httpd
            pkg:
              desired_state: INSTALLED
              apt:
                name: apache2
instance_filter:
  all: true
rollout:
  disruption_budget:
    percent: 100
  min_wait_duration: 0s
";

async fn send(person: &Person, method: &str, path: &str, body: &str) -> Answer {
    let request = person.request(method, path).header("content-type", "application/yaml").body(body.to_owned());
    answer(request).await
}

async fn pull(agent: &Agent, generation: u64) -> PullPoliciesResponse {
    let request = PullPoliciesRequest { generation, check: 0 };
    agent.link().await.pull_policies(request).await.expect("an answer").into_inner()
}

async fn document(agent: &Agent) -> HostPolicies {
    let pulled = wait_until("a policies document", async || Some(pull(agent, 0).await).filter(|p| p.changed)).await;
    let key = UnparsedPublicKey::new(&ED25519, agent.work_key.clone());
    key.verify(&signed_bytes(&pulled.document), &pulled.signature).expect("signed by the server");
    serde_json::from_slice(&pulled.document).expect("a document")
}

fn told(document: &HostPolicies, seq: u64, state: ComplianceState) -> Vec<u8> {
    let now = Timestamp::now();
    let policy = |p: &drydock_domain::policy::HostPolicy| PolicyResult {
        assignment: p.assignment.clone(),
        revision: p.revision,
        policy: p.policy.clone(),
        state,
        reason: "=1+1".to_owned(),
        run: "run".to_owned(),
        checked_at: Some(now),
        resources: p.resources.iter().map(|r| ResourceResult { id: r.id.clone(), state, ..ResourceResult::default() }).collect(),
    };
    let report = HostPoliciesReport {
        version: 1,
        seq,
        generation: document.generation,
        preview: None,
        check: 0,
        at: now,
        problem: String::new(),
        policies: document.policies.iter().map(policy).collect(),
        drift: Vec::new(),
        health: Vec::new(),
    };
    serde_json::to_vec(&report).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_google_reaches_a_host_and_its_answer_is_listed() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let made = send(&server.admin, "PUT", "/policy-assignments/web", YAML).await;
    assert_eq!((made.status, &made.body["outcome"]), (201, &json!("CREATED")), "{made:?}");
    assert_eq!(made.headers["location"], "/api/v1/policy-assignments/web");
    let own = document(&agent).await;
    assert_eq!(own.instance.to_string(), agent.instance);
    assert_eq!(own.policies[0].resources[0].pkg.as_ref().and_then(|p| p.apt.as_ref()).map(|n| n.name.as_str()), Some("apache2"));
    assert!(!pull(&agent, own.generation).await.changed);
    let report = ReportPoliciesRequest { report: told(&own, 1, ComplianceState::NonCompliant) };
    assert!(agent.link().await.report_policies(report).await.expect("taken").into_inner().stored);
    let list = server.admin.get("/compliance/results?instance=web-1&assignment=web").await;
    assert_eq!(list.body["items"][0]["state"], "NON_COMPLIANT", "{list:?}");
    let one = server.admin.get("/instances/web-1/compliance").await;
    assert_eq!(one.body["policies"][0]["policy"], "install-httpd", "{one:?}");
    assert_eq!(one.body["policies"][0]["resources"][0]["id"], "httpd");
    let file = server.admin.request("GET", "/compliance/results?format=csv").send().await.expect("an answer");
    let text = file.text().await.expect("a file");
    assert!(text.contains("NON_COMPLIANT,'=1+1,"), "what hosts say is no formula: {text}");
    let shown = |b: &Value| b["rollout"]["state"] == "SUCCEEDED";
    server.admin.wait_for("/policy-assignments/web", "the end of the rollout", shown).await;
    let own_document = server.admin.get("/instances/web-1/policies").await;
    assert_eq!(own_document.body["generation"], own.generation);
    let summary = server.admin.get("/compliance").await;
    assert_eq!(summary.body["hosts"]["nonCompliant"], 1, "{summary:?}");
    for path in
        ["/compliance/policies", "/compliance/resources?assignment=web", "/compliance/history", "/compliance/trend?days=3"]
    {
        let list = server.admin.get(path).await;
        assert!(list.status == 200 && !list.body["items"].as_array().expect("rows").is_empty(), "{path}: {list:?}");
    }
    assert_eq!(server.admin.get("/policy-assignments/web/instances").await.body["items"][0]["phase"], "DONE");
    assert_eq!(server.admin.get("/policy-assignments/web/revisions").await.body["items"][0]["baseline"], true);
    assert_eq!(server.admin.get("/policy-assignments/web/revisions/1").await.body["document"]["name"], "web");
    let diff = server.admin.get("/policy-assignments/web/revisions/1/diff").await;
    assert!(diff.body["text"].as_str().is_some_and(|t| t.contains("+  \"name\": \"web\"")), "{diff:?}");
    let gone = server.admin.request("DELETE", "/policy-assignments/web").send().await.expect("an answer");
    assert_eq!(gone.status().as_u16(), 202);
    let empty =
        wait_until("a document without it", async || Some(pull(&agent, own.generation).await).filter(|p| p.changed)).await;
    let empty: HostPolicies = serde_json::from_slice(&empty.document).expect("a document");
    assert!(empty.policies.is_empty());
    let report = ReportPoliciesRequest { report: told(&empty, 2, ComplianceState::Compliant) };
    agent.link().await.report_policies(report).await.expect("taken");
    wait_until("the assignment to be gone", async || {
        (server.admin.get("/policy-assignments/web").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_fails_its_health_checks_halts_the_rollout() {
    let server = TestServer::start().await;
    let (one, two) = (server.agent("web-1").await, server.agent("web-2").await);
    let gated =
        YAML.replace("percent: 100", "fixed: 1") + "  health_checks:\n    checks:\n      - unitActive: {unit: httpd.service}\n";
    let made = send(&server.admin, "PUT", "/policy-assignments/web", &gated).await;
    assert_eq!(made.status, 201, "{made:?}");
    let own = document(&one).await;
    assert_eq!((own.version, own.health.len()), (2, 1));
    let mut report: HostPoliciesReport = serde_json::from_slice(&told(&own, 1, ComplianceState::Compliant)).expect("a report");
    report.health = vec![AssignmentHealth {
        assignment: "web".into(),
        revision: 1,
        state: HealthState::Unhealthy,
        message: "unit httpd.service: is failed (for 120 s)".into(),
        checks: vec![HealthResult::new("unit httpd.service", false, "is failed", Timestamp::now())],
        at: Timestamp::now(),
    }];
    let report = ReportPoliciesRequest { report: serde_json::to_vec(&report).expect("JSON") };
    one.link().await.report_policies(report).await.expect("taken");
    let halted = |b: &Value| b["rollout"]["state"] == "HALTED";
    let shown = server.admin.wait_for("/policy-assignments/web", "the halt", halted).await;
    let why = shown["rollout"]["haltedBecause"].as_str().unwrap_or_default();
    assert!(why.contains("web-1 failed its health checks: unit httpd.service: is failed (for 120 s)"), "{why}");
    assert_eq!(shown["document"]["rollout"]["healthChecks"]["withinSecs"], 120, "{shown}");
    let hosts = server.admin.get("/policy-assignments/web/instances").await;
    let health = &hosts.body["items"][0]["health"];
    assert_eq!((&health["state"], &health["checks"][0]["healthy"]), (&json!("UNHEALTHY"), &json!(false)), "{hosts:?}");
    assert!(!pull(&two, 0).await.changed, "the second host never hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_name_their_line_and_column() {
    let server = TestServer::start().await;
    let bad = YAML.replace("mode: ENFORCEMENT", "mode: SOMETIMES");
    let refused = send(&server.admin, "PUT", "/policy-assignments/web", &bad).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body["message"].as_str().is_some_and(|m| m.contains("(line 4, column")), "{refused:?}");
    assert_eq!(refused.body["fields"][0]["field"], "os_policies[0].mode", "as it was written");
    let policy = "id: p\nmode: VALIDATION\nresourceGroups:\n  - resources:\n      - id: r\n        exec:\n          validate:\n            interpreter: SHELL\n            script: exit 100\n";
    let refused = send(&server.admin, "PUT", "/policy-assignments/web", policy).await;
    assert!(
        refused.status == 400 && refused.body["message"].as_str().is_some_and(|m| m.contains("without hosts")),
        "{refused:?}"
    );
    let nameless = send(&server.admin, "POST", "/policy-assignments", YAML).await;
    assert_eq!(nameless.status, 400, "{nameless:?}");
    assert_eq!(server.admin.get("/policy-assignments").await.body["items"], json!([]));
    let other = send(&server.admin, "PUT", "/policy-assignments/web", &format!("name: db\n{YAML}")).await;
    assert_eq!(other.status, 400, "{other:?}");
    let dry = send(&server.admin, "PUT", "/policy-assignments/web?dryRun=true&reason=why", YAML).await;
    assert_eq!((dry.status, &dry.body["dryRun"]), (200, &json!(true)), "{dry:?}");
    assert_eq!(server.admin.get("/policy-assignments/web").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_reads_and_who_is_no_agent_writes_nothing() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    send(&server.admin, "PUT", "/policy-assignments/web", YAML).await;
    let viewer = server.person("viewer").await;
    for (method, path, body) in [
        ("PUT", "/policy-assignments/web", YAML),
        ("POST", "/policy-assignments", YAML),
        ("POST", "/policy-previews", YAML),
        ("PUT", "/policy-assignments/web", "os_policies: {"),
        ("POST", "/policy-previews", "os_policies: {"),
        ("DELETE", "/policy-assignments/web", ""),
        ("POST", "/policy-assignments/web:cancel", ""),
        ("POST", "/policy-assignments/web:resume", ""),
        ("POST", "/policy-assignments/web:check", ""),
    ] {
        let denied = send(&viewer, method, path, body).await;
        assert_eq!(denied.status, 403, "{method} {path}: {denied:?}");
    }
    let checks = viewer.post("/policy-checks", json!({"assignment": "web"})).await;
    assert_eq!(checks.status, 403, "{checks:?}");
    let secret = viewer.request("PUT", "/secrets/db").json(&json!({"value": "hunter2"}));
    assert_eq!(answer(secret).await.status, 403);
    for path in ["/policy-assignments", "/compliance", "/drift-events", "/secrets", "/policy-previews"] {
        assert_eq!(viewer.get(path).await.status, 200, "{path}");
    }
    let set = answer(server.admin.request("PUT", "/secrets/db").json(&json!({"value": "hunter2"}))).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert!(
        !set.body.to_string().contains("hunter2") && !server.admin.get("/secrets").await.body.to_string().contains("hunter2")
    );
    let link = agent.link().await;
    for hostile in [vec![b'{'; 100], vec![0; 1024 * 1024], b"null".to_vec()] {
        let refused = link.clone().report_policies(ReportPoliciesRequest { report: hostile }).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
    let mut stranger = Agent::new(server.running.addr, &server.running.ca_pem, "stranger");
    stranger.certificate_pem.clear();
    let refused = stranger.link().await.pull_policies(PullPoliciesRequest { generation: 0, check: 0 }).await;
    assert!(refused.is_err(), "nobody without a certificate");
}
