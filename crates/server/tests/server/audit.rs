//! The audit over REST: what a request leaves, and an export that proves itself.

use drydock_domain::audit::chain::{Seal, unhex};
use drydock_domain::audit::verify::{Broken, Summary, Verifier};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use drydock_api::agent::v1::{PullPoliciesRequest, PullSourcesRequest, RenewRequest};

use crate::support::{Agent, TestServer, csr, wait_until};

fn verified(text: &str, key: [u8; 32]) -> Result<Summary, Broken> {
    let signed = |seal: &Seal| {
        seal.key == key && UnparsedPublicKey::new(&ED25519, seal.key).verify(&seal.signed_bytes(), &seal.signature).is_ok()
    };
    let mut verifier = Verifier::new(&signed);
    text.lines().all(|line| verifier.line(line.as_bytes()));
    verifier.finish()
}

async fn records(server: &TestServer, query: &str) -> Vec<Value> {
    let got = server.admin.get(&format!("/audit?{query}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body["items"].as_array().expect("records").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_leaves_one_record_with_what_it_asked_for_and_how_it_ended() {
    let server = TestServer::start().await;
    let operator = server.person("operator").await;
    let made = operator.request("POST", "/groups").header("x-request-id", "req-77").json(&json!({"name": "web"})).send().await;
    assert_eq!(made.expect("an answer").status(), 201);
    assert_eq!(operator.get("/groups/none").await.status, 404);
    assert_eq!(operator.get("/instances?limit=5").await.status, 200);

    let [own] = &records(&server, "requestId=req-77").await[..] else { panic!("one record") };
    assert_eq!((&own["who"], &own["operation"]), (&json!("a operator"), &json!("group.create")), "{own}");
    assert_eq!((&own["address"], &own["decision"], &own["outcome"]), (&json!("127.0.0.1"), &json!("allow"), &json!("allowed")));
    assert_eq!(own["parameters"], json!({"body": {"name": "web"}}), "{own}");
    assert!(own["durationMs"].is_u64() && own["reason"].as_str().is_some_and(|r| r.contains("Operators")), "{own}");
    let [read] = &records(&server, "operation=instance.list&who=a%20operator").await[..] else { panic!("one record") };
    assert_eq!((&read["parameters"], &read["outcome"]), (&json!({"query": {"limit": "5"}}), &json!("allowed")), "{read}");
    assert!(read["durationMs"].is_u64(), "{read}");
    let [missed] = &records(&server, "operation=group.show&outcome=failed").await[..] else { panic!("one record") };
    assert_eq!(missed["who"], "a operator", "{missed}");
    assert_eq!(server.admin.get("/audit?outcome=maybe").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_into_an_export_and_the_export_proves_itself() {
    let server = TestServer::start().await;
    let set = server.admin.request("PUT", "/secrets/db").json(&json!({"value": "hunter2-hunter2"})).send().await;
    assert!(set.expect("an answer").status().is_success());
    let step = json!({"linuxExecStepConfig": {"script": "echo hunter2-hunter2", "interpreter": "SHELL"}});
    let spec = json!({"instanceFilter": {"all": true}, "dryRun": true, "patchConfig": {"preStep": step}});
    server.admin.post("/patch-jobs", spec).await;
    let viewer = server.person("viewer").await;
    assert_eq!(viewer.get("/audit:export").await.status, 403);

    let answer = server.admin.request("GET", "/audit:export").send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/jsonl");
    let text = answer.text().await.expect("a body");
    assert!(text.contains("secret.") && text.contains("patch-job.create"), "{text}");
    assert!(!text.contains("hunter2"), "a secret is in the audit");
    assert!(!text.contains(&server.admin.token) && !text.contains(&viewer.token));
    let status = server.admin.get("/audit-settings").await.body;
    let key: [u8; 32] = unhex(status["key"].as_str().expect("a key")).expect("32 bytes");
    let good = verified(&text, key).expect("whole");
    assert!(good.first == 1 && good.records > 3, "{good:?}");
    let forged = text.replacen("\"outcome\":\"denied\"", "\"outcome\":\"allowed\"", 1);
    assert_ne!(forged, text, "the viewer was denied");
    verified(&forged, key).expect_err("found");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_family_are_switched_off_and_that_is_on_record() {
    let server = TestServer::start().await;
    let off = json!({"reads": {"instances": false}, "keepDays": 30});
    let set = server.admin.request("PUT", "/audit-settings").json(&off).send().await.expect("an answer");
    assert_eq!(set.status(), 200);
    assert_eq!(server.admin.get("/instances").await.status, 200);
    assert_eq!(server.admin.get("/sources").await.status, 200);
    assert!(records(&server, "operation=instance.list").await.is_empty());
    assert_eq!(records(&server, "operation=source.list").await.len(), 1);
    let [set] = &records(&server, "operation=audit.settings-set").await[..] else { panic!("one record") };
    assert_eq!(set["parameters"]["reads"], json!({"instances": false}), "{set}");
    let seal = server.admin.request("POST", "/audit:seal").send().await.expect("an answer");
    assert_eq!(seal.status(), 200);
    let bad = server.admin.request("PUT", "/audit-settings").json(&json!({"keepDays": 1})).send().await.expect("an answer");
    assert_eq!(bad.status(), 400);
}

/// An assignment for every host.
const EVERYWHERE: &str = r#"{"name": "web", "instanceFilter": {"all": true}, "rollout": {"disruptionBudget": {"percent": 100},
    "minWaitDuration": "0s"}, "osPolicies": [{"id": "p", "mode": "VALIDATION", "resourceGroups": [{"resources": [{"id": "r",
    "exec": {"validate": {"interpreter": "SHELL", "script": "exit 100"}}}]}]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_ask_for_is_on_record_with_the_address_they_came_from_also_what_they_are_refused() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    agent.link().await.renew(RenewRequest { csr_der: csr(&key) }).await.expect("renewed");
    let stranger = Agent::new(server.running.addr, &server.running.ca_pem, "web-2").enrol("dde_wrong").await;
    stranger.expect_err("refused");
    let done = server.admin.request("POST", &format!("/instances/{}:revoke", agent.instance)).send().await.expect("an answer");
    assert_eq!(done.status(), 200);
    agent.link().await.renew(RenewRequest { csr_der: csr(&key) }).await.expect_err("revoked");
    for (query, count) in [
        ("operation=instance.enrol&outcome=allowed", 1),
        ("operation=instance.enrol&outcome=denied", 1),
        // With the enrolment, and the renewal.
        ("operation=certificate.issue&outcome=allowed", 2),
        ("operation=certificate.issue&outcome=denied", 1),
    ] {
        let found = records(&server, query).await;
        assert_eq!(found.len(), count, "{query}: {found:?}");
        assert!(found.iter().all(|own| own["address"] == "127.0.0.1" && own["whoKind"] == "instance"), "{query}: {found:?}");
    }
    let refused = &records(&server, "operation=instance.enrol&outcome=denied").await[0];
    assert_eq!(refused["who"], "host web-2", "{refused}");
    assert!(refused["reason"].as_str().is_some_and(|why| why.contains("token is not known")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_sources_sent_to_a_host_are_on_record_once_for_each_generation() {
    let server = TestServer::start().await;
    let agent = server.agent("web-1").await;
    let made = server.admin.post("/policy-assignments", serde_json::from_str(EVERYWHERE).expect("JSON")).await;
    assert_eq!(made.status, 201, "{made:?}");
    server.admin.post("/sources", json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
    let attached = server.admin.request("PUT", "/instances/web-1/sources").json(&json!({"attach": ["ours"]})).send().await;
    assert_eq!(attached.expect("an answer").status(), 200);
    let policies = async || {
        let ask = PullPoliciesRequest { generation: 0, check: 0 };
        agent.link().await.pull_policies(ask).await.expect("pulled").into_inner()
    };
    wait_until("a policies document", async || policies().await.changed.then_some(())).await;
    // It asks again as if its answer had been lost.
    assert!(policies().await.changed);
    let [sent] = &records(&server, "operation=policy.send").await[..] else { panic!("one record") };
    let named = json!([{"assignment": "web", "revision": 1, "policy": "p"}]);
    assert_eq!((&sent["parameters"]["policies"], &sent["address"]), (&named, &json!("127.0.0.1")), "{sent}");
    assert!(sent["resource"].as_str().is_some_and(|r| r.contains(&agent.instance) && r.contains("web-1")), "{sent}");
    let sources = async || {
        let ask = PullSourcesRequest { generation: 0 };
        agent.link().await.pull_sources(ask).await.expect("pulled").into_inner()
    };
    let mut last = wait_until("a sources document", async || Some(sources().await).filter(|own| own.changed)).await;
    for _ in 0..3 {
        last = sources().await;
    }
    let generations = records(&server, "operation=source.send").await;
    let own: Vec<u64> = generations.iter().filter_map(|r| r["parameters"]["generation"].as_u64()).collect();
    let mut once = own.clone();
    once.dedup();
    assert!(!own.is_empty() && own == once, "one record for each generation: {generations:?}");
    let document: Value = serde_json::from_slice(&last.document).expect("JSON");
    assert_eq!(document["generation"], json!(own[0]), "{generations:?}");
}
