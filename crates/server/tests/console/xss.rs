//! Hostile texts in every field a host can report, looked at in headless Chromium: no element and no script of theirs is
//! on any page, also not in what a page fetches while it is open, and the policy of the page is not touched by them.

use std::panic::AssertUnwindSafe;

use drydock_control::ApplyAsk;
use drydock_domain::ids::TaskId;
use drydock_domain::inventory::SectionKind;
use drydock_domain::policy::report::HOST_POLICIES_REPORT_VERSION;
use drydock_domain::policy::{HostPoliciesReport, OsPolicyAssignment};
use fantoccini::key::Key;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::chromium::{Chromium, Driver};
use crate::support::{Host, World, finished, wait_until};

/// It leaves attributes, texts and scripts, makes an element that can be found, and runs three ways if it is let.
const HOSTILE: &str =
    "x'\"--></script></textarea><i data-xss></i><img src=x onerror=\"window.xss=1\"><script>window.xss=1</script>";

/// What is looked at on every page: elements of theirs, scripts of theirs that ran, what the page's policy had to stop.
const LOOK: &str = "return [document.querySelectorAll('[data-xss],img[src=x]').length, window.xss === undefined ? 0 : 1, \
     document.querySelectorAll('script:not([src])').length, document.querySelectorAll('[onerror],[onload],[onclick]').length]";

/// Pointers to all texts in a document.
fn texts(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(at.to_owned()),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| texts(v, &format!("{at}/{i}"), out)),
        Value::Object(fields) => fields.iter().for_each(|(k, v)| texts(v, &format!("{at}/{k}"), out)),
        _ => {}
    }
}

/// Puts the hostile text in place of each text of a document that the server takes it in.
async fn laced(document: Value, mut takes: impl AsyncFnMut(&Value) -> bool) -> (Value, Vec<String>) {
    let mut all = Vec::new();
    texts(&document, "", &mut all);
    let (mut laced, mut taken) = (document, Vec::new());
    for pointer in all {
        let mut tried = laced.clone();
        if let Some(place) = tried.pointer_mut(&pointer) {
            *place = json!(HOSTILE);
        }
        if takes(&tried).await {
            laced = tried;
            taken.push(pointer);
        }
    }
    (laced, taken)
}

/// An inventory with everything in it.
fn sections(hostname: &str, machine_id: &str) -> Vec<(SectionKind, Value)> {
    let os = json!({"hostname": hostname, "longName": "Debian", "shortName": "debian", "version": "12", "architecture": "x86_64",
        "kernelRelease": "6.1", "kernelVersion": "#1", "bootId": "b", "machineId": machine_id, "agentVersion": "0.1.0"});
    let packages = json!([{"name": "openssl", "arch": "amd64", "version": "3.0.17-1", "source": "openssl", "vendor": "v"}]);
    let updates = json!({
        "updates": [{"name": "openssl", "arch": "amd64", "from": "3.0.17-1", "to": "3.0.17-2", "repository": "r",
            "kind": "security", "advisories": ["DSA-1-1"], "severity": "Important", "held": "held"}],
        "findings": [{"subject": "s", "message": "m"}],
    });
    let health = json!({"rebootReasons": [{"source": "kernel", "detail": "d"}], "runningKernel": "6.1", "installedKernel": "6.2",
        "staleServices": ["nginx.service"], "failedUnits": ["ssh.service"]});
    vec![(SectionKind::Os, os), (SectionKind::Packages, packages), (SectionKind::Updates, updates), (SectionKind::Health, health)]
}

/// Every field of the inventory that takes it; the packages' one by one, since a name is a page of its own.
async fn lace_inventory(host: &Host) -> Vec<String> {
    let mut all = Vec::new();
    for (kind, template) in sections(host.hostname(), host.machine_id()) {
        let (_, taken) = laced(template, async |document| host.try_section(kind, document).await.is_ok()).await;
        all.extend(taken.iter().map(|pointer| format!("{}{pointer}", kind.as_str())));
    }
    all
}

/// Every field of a task's report that takes it.
async fn lace_task(host: &Host, task: TaskId) -> Vec<String> {
    let mut seq = 10;
    let mut template = finished();
    template["state"] = json!("APPLYING_PATCHES");
    let (_, taken) = laced(template, async |document| {
        seq += 1;
        let state = document["state"].as_str().unwrap_or_default().to_owned();
        host.try_report(task, seq, &state, document.clone()).await
    })
    .await;
    taken
}

fn policy_report(generation: u64, seq: i64) -> Value {
    let now = Timestamp::now();
    json!({
        "version": HOST_POLICIES_REPORT_VERSION, "seq": seq, "generation": generation, "at": now, "problem": "p",
        "policies": [{"assignment": "web", "revision": 1, "policy": "motd", "state": "NON_COMPLIANT", "reason": "r", "run": "r1",
            "checkedAt": now, "resources": [{"id": "motd", "state": "NON_COMPLIANT", "reason": "r", "output": "o", "steps": [
                {"kind": "DESIRED_STATE_CHECK", "outcome": "FAILED", "durationMs": 3, "message": "m",
                 "evidence": {"type": "diff", "text": "t"}},
                {"kind": "DESIRED_STATE_ENFORCEMENT", "outcome": "FAILED", "durationMs": 3, "message": "m",
                 "evidence": {"type": "output", "end": "killed", "text": "t"}},
                {"kind": "DESIRED_STATE_CHECK_POST_ENFORCEMENT", "outcome": "FAILED", "durationMs": 3, "message": "m",
                 "evidence": {"type": "state", "old": "a", "new": "b"}}]}]}],
        "drift": [{"number": seq, "assignment": "web", "policy": "motd", "resource": "motd", "seenAt": now, "repairedAt": now,
            "what": "w", "noticedBy": "n", "cause": "c", "outcome": "REPAIRED"}],
    })
}

/// Every field of a report on policies that takes it.
async fn lace_policies(host: &Host, generation: u64) -> Vec<String> {
    let mut seq = Timestamp::now().as_millisecond();
    let (_, taken) = laced(policy_report(generation, seq), async |document| {
        seq += 1;
        let mut document = document.clone();
        document["seq"] = json!(seq);
        document["drift"][0]["number"] = json!(seq);
        match serde_json::from_value::<HostPoliciesReport>(document) {
            Ok(report) => host.try_policies(&report).await,
            Err(_) => false,
        }
    })
    .await;
    taken
}

fn assignment() -> OsPolicyAssignment {
    serde_json::from_value(json!({
        "osPolicies": [{"id": "motd", "mode": "ENFORCEMENT", "resourceGroups": [{"resources": [
            {"id": "motd", "file": {"path": "/etc/motd", "state": "CONTENTS_MATCH", "content": "hello"}}]}]}],
        "instanceFilter": {"all": true},
        "rollout": {"disruptionBudget": {"percent": 100}, "minWaitDuration": "0s"},
    }))
    .expect("an assignment")
}

/// Nothing of the hostile texts lives on the page that is open.
async fn look(browser: &Chromium, what: &str) {
    let seen = browser.js(LOOK).await;
    assert_eq!(seen, json!([0, 0, 0, 0]), "{what}: [their elements, their scripts, inline scripts, inline handlers]");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_host_reports_lives_on_a_page() {
    let Some(driver) = Driver::start().await else { return };
    let world = World::start().await;
    let host = world.host("web-1").await;
    let ask = ApplyAsk { name: Some("web".into()), ..ApplyAsk::default() };
    world.control().apply_policy(&world.ctx(), assignment(), &ask).await.expect("applied");
    let document = wait_until("a policies document", async || host.policies().await).await;
    let mut admin = world.admin().await;
    let fields = [("target", "all"), ("what", "security"), ("reboot", "NEVER"), ("action", "start"), ("displayName", HOSTILE)];
    let job = admin.post("/patch-jobs", &fields).await.location().to_owned();
    let order = host.pull().await;

    let mut laced = lace_inventory(&host).await;
    laced.extend(lace_policies(&host, document.generation).await);
    println!("hostile texts are taken in {} fields: {}", laced.len(), laced.join(" "));
    assert!(laced.len() >= 20, "hardly anything was taken: {laced:?}");
    let instance = format!("/instances/{}", host.id);
    let pages = [
        "/".to_owned(),
        "/instances".to_owned(),
        instance.clone(),
        format!("{instance}/updates"),
        format!("{instance}/history"),
        format!("{instance}/packages"),
        format!("{instance}/changes?from=0h"),
        format!("{instance}/modules"),
        format!("{instance}/tasks"),
        format!("{instance}/policies"),
        "/packages".to_owned(),
        "/compliance".to_owned(),
        "/drift".to_owned(),
        "/policies/web".to_owned(),
        "/vulnerabilities".to_owned(),
        "/patch-jobs".to_owned(),
        format!("{job}/tasks/{}", order.task.task),
        "/audit".to_owned(),
    ];
    let browser = driver.browser(1280, 900, false).await;
    let result = AssertUnwindSafe(async {
        let base = format!("https://127.0.0.1:{}", world.running.addr.port());
        crate::browser::sign_in(&world, &browser).await;
        // A page that is open while reports come: rows and details are fetched and put in by its script.
        browser.client.goto(&format!("{base}{job}")).await.expect("the page");
        browser.wait_for_text("#live", "Live").await;
        look(&browser, "a job").await;
        let laced = lace_task(&host, order.task.task).await;
        println!("of the task's report in {}: {}", laced.len(), laced.join(" "));
        assert!(laced.len() >= 8, "hardly anything was taken: {laced:?}");
        browser.wait_for_text("tr[data-task]", "APPLYING_PATCHES").await;
        browser.tab_to("Report of web-1").await;
        browser.press(Key::Enter.into()).await;
        browser.wait_for_text(".detail-row", "x'\"-->").await;
        look(&browser, "a job with its live rows").await;
        for page in pages {
            browser.client.goto(&format!("{base}{page}")).await.expect("the page");
            browser.wait_for_text("h1", "").await;
            look(&browser, &page).await;
        }
    })
    .catch_unwind()
    .await;
    browser.client.close().await.expect("closed");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
