//! The audit over REST: what a request leaves, and an export that proves itself.

use drydock_domain::audit::chain::{Seal, unhex};
use drydock_domain::audit::verify::{Broken, Summary, Verifier};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::support::TestServer;

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
