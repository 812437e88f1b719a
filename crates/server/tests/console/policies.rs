//! Pages of OS policies over a server with a host that has policies and tells how they stand.

use drydock_control::ApplyAsk;
use drydock_domain::access::Role;
use drydock_domain::policy::report::HOST_POLICIES_REPORT_VERSION;
use drydock_domain::policy::{HostPoliciesReport, OsPolicyAssignment};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{Host, World, wait_until};

fn assignment(content: &str) -> OsPolicyAssignment {
    serde_json::from_value(json!({
        "description": "greets <b>people</b>",
        "osPolicies": [{"id": "motd", "mode": "ENFORCEMENT", "resourceGroups": [{"resources": [
            {"id": "motd", "file": {"path": "/etc/motd", "state": "CONTENTS_MATCH", "content": content}},
            {"id": "ssh", "service": {"name": "ssh", "running": true}},
        ]}]}],
        "instanceFilter": {"inclusionLabels": [{"labels": {"env": "prod"}}]},
        "rollout": {"disruptionBudget": {"fixed": 1}, "minWaitDuration": "0s", "haltOnNonCompliant": {"fixed": 1},
            "healthChecks": {"checks": [{"unitActive": {"unit": "ssh.service"}}]}},
        "variables": {"port": "80"},
    }))
    .expect("an assignment")
}

async fn apply(world: &World, content: &str) {
    let ask = ApplyAsk { name: Some("web".into()), reason: "ticket <7>".into(), ..ApplyAsk::default() };
    world.control().apply_policy(&world.ctx(), assignment(content), &ask).await.expect("applied");
}

/// What the host says: the file drifted and was repaired, the service fails; hostile texts everywhere.
async fn report(host: &Host, generation: u64, revision: u64) {
    let now = Timestamp::now();
    let report: HostPoliciesReport = serde_json::from_value(json!({
        "version": HOST_POLICIES_REPORT_VERSION, "seq": now.as_millisecond(), "generation": generation, "at": now,
        "policies": [{
            "assignment": "web", "revision": revision, "policy": "motd", "state": "NON_COMPLIANT",
            "reason": "resource-execution-errors", "run": "r1", "checkedAt": now,
            "resources": [
                {"id": "motd", "state": "COMPLIANT", "steps": [
                    {"kind": "DESIRED_STATE_CHECK", "outcome": "SUCCEEDED", "durationMs": 3, "message": "content differs",
                     "evidence": {"type": "diff", "text": "@@ -1 +1 @@\n-<script>alert(1)</script>\n+hello\n"}},
                    {"kind": "DESIRED_STATE_ENFORCEMENT", "outcome": "SUCCEEDED", "durationMs": 1500}]},
                {"id": "ssh", "state": "NON_COMPLIANT", "reason": "execution-errors", "steps": [
                    {"kind": "DESIRED_STATE_CHECK", "outcome": "SUCCEEDED", "durationMs": 2,
                     "evidence": {"type": "state", "old": "inactive", "new": "active"}},
                    {"kind": "DESIRED_STATE_ENFORCEMENT", "outcome": "TIMED_OUT", "durationMs": 61_000, "message": "did not end",
                     "evidence": {"type": "output", "end": "killed", "text": "<img src=x>"}}]},
            ],
        }],
        "drift": [{"number": 1, "assignment": "web", "policy": "motd", "resource": "motd", "seenAt": now, "repairedAt": now,
            "what": "content <differs>", "noticedBy": "file event", "outcome": "REPAIRED"}],
        "health": [{"assignment": "web", "revision": revision, "state": "UNHEALTHY", "at": now,
            "message": "unit ssh.service: is <failed>"}],
    }))
    .expect("a report");
    host.report_policies(&report).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_rollouts_and_evidence_are_shown_as_text() {
    let world = World::start().await;
    let both = [world.host("web-1").await, world.host("web-2").await];
    let mut browser = world.admin().await;
    browser.page("/policies").await.has("No assignment yet");
    browser.page("/compliance").await.has("No host has a policy yet");
    apply(&world, "hello").await;
    // The budget lets one go, whichever.
    let (host, document) = wait_until("a host that is let go", async || {
        for host in &both {
            if let Some(document) = host.policies().await {
                return Some((host, document));
            }
        }
        None
    })
    .await;
    report(host, document.generation, 1).await;

    browser.page("/policies").await.has(r#"href="/policies/web""#).has("greets &#60;b&#62;people").lacks("<b>people");
    let shown = wait_until("the halt of the rollout", async || {
        let page = browser.page("/policies/web").await;
        page.body.contains("HALTED: ").then_some(page)
    })
    .await;
    shown
        .has("labelled env=prod")
        .has("1 host")
        .has("web-1")
        .has("web-2")
        .has("HALTED: ")
        .has("web-1 failed its health checks: unit ssh.service: is &#60;failed&#62;")
        .has("unhealthy: unit ssh.service")
        .has("unit ssh.service; within 120 s")
        .has("ticket &#60;7&#62;")
        .has("The rollout has halted");
    shown.has("/policies/web/resume").has("/policies/web/cancel").has("/policies/web/check");
    browser.page("/policies/web?phase=PENDING").await.lacks(&host.id.to_string());
    browser.page("/policies/web/revisions/1").await.has("What it changed").has("CONTENTS_MATCH").lacks("<b>people");

    let own = browser.page(&format!("/instances/{}/policies", host.id)).await;
    own.has("NON_COMPLIANT")
        .has("execution-errors")
        .has("content differs")
        .has("inactive → active")
        .has("TIMED OUT")
        .has("1 min 1 s");
    own.has("&#60;script&#62;alert(1)&#60;/script&#62;").lacks("<script>alert").lacks("<img src=x>").has(r#"class="diff-del""#);
    own.has("content &#60;differs&#62;").has("file event").has("Check now");

    let fleet = browser.page("/compliance").await;
    fleet.has(r#"<span class="tile-n">1</span><span class="tile-l">hosts not compliant</span>"#);
    fleet.has("resource-execution-errors").has("1 not compliant").has(r#"class="trend""#).lacks("style=");
    browser.page(&format!("/compliance?state=NON_COMPLIANT&instance={}&assignment=web", host.id)).await.has("/instances/");
    browser.page("/compliance?state=COMPLIANT").await.has("Nothing matches");
    browser.page("/compliance?instance=nobody").await.has("Nothing matches").has(r#"value="nobody""#);
    browser.page("/drift").await.has("web/motd/motd").has("REPAIRED").has("0 ms");
    browser.page("/drift?outcome=FAILED").await.has("No drift.");
    assert_eq!(browser.get("/policies/nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_steer_a_rollout_and_hosts_check_on_demand() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    apply(&world, "hello").await;
    let document = wait_until("a policies document", async || host.policies().await).await;
    let before = host.policy_check().await;
    let page = format!("/instances/{}/policies", host.id);
    browser.page(&page).await;
    let done = browser.post(&format!("{page}/check"), &[]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, page.as_str()));
    browser.page(&page).await.has("The host checks all its policies now.").has("A check was asked for and is not done");
    browser.post("/policies/web/check", &[]).await;
    assert!(host.policy_check().await >= before + 2, "each asks anew");
    browser.post("/policies/web/resume", &[]).await;
    browser.page("/policies/web").await.has("notice-bad").has("has not halted");
    browser.post("/policies/web/cancel", &[]).await;
    browser.page("/policies/web").await.has("CANCELLING");
    report(&host, document.generation, 1).await;
    wait_until("the end of the rollout", async || browser.page("/policies/web").await.body.contains("CANCELLED").then_some(()))
        .await;

    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    for path in ["/policies", "/policies/web", "/compliance", "/drift", page.as_str()] {
        let page = viewer.page(path).await;
        assert_eq!(page.body.matches(r#"<form method="post""#).count(), 1, "{path}: only sign-out");
    }
    for path in ["/policies/web/check", "/policies/web/cancel", &format!("{page}/check")] {
        assert_eq!(viewer.post(path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}
