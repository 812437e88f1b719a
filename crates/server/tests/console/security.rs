//! Advisories, vulnerabilities and deployments as pages: what is open is found, seen, accepted, and led to a patch job.

use drydock_control::ImportAsk;
use drydock_domain::access::Role;
use drydock_domain::patch::deployment::PatchDeploymentSpec;
use http::StatusCode;
use serde_json::json;

use crate::support::{World, wait_until};

/// A host on which CVE-2026-4242 is open, known from a feed.
async fn world() -> World {
    let world = World::start().await;
    world.host("web-1").await;
    let document = json!({
        "id": "DSA-6015-1", "summary": "Important: openssl <security> update", "details": "text",
        "published": "2026-11-01T00:00:00Z", "modified": "2026-11-02T00:00:00Z", "related": ["CVE-2026-4242"],
        "affected": [{
            "package": {"ecosystem": "Debian:12", "name": "openssl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.17-1~deb12u3"}]}],
        }],
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("feed.json");
    std::fs::write(&file, document.to_string()).expect("written");
    world.control().import_feed(&world.ctx(), "debian", &ImportAsk::default(), &file).await.expect("imported");
    wait_until("the vulnerability is open", async || {
        let found = world.control().vulnerability_instances(&world.ctx(), "CVE-2026-4242", false, &Default::default()).await;
        found.ok().filter(|page| !page.items.is_empty()).map(drop)
    })
    .await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_found_and_leads_to_a_patch_job() {
    let world = world().await;
    let mut browser = world.admin().await;
    browser.page("/").await.has("/vulnerabilities").has("/advisories").has("/deployments");
    let list = browser.page("/vulnerabilities").await;
    list.has("/vulnerabilities/CVE-2026-4242").has("IMPORTANT").has("<caption");
    browser
        .page("/vulnerabilities?q=4242&severity=IMPORTANT")
        .await
        .has("/vulnerabilities/CVE-2026-4242")
        .has("selected>IMPORTANT");
    browser.page("/vulnerabilities?severity=CRITICAL").await.has("No open vulnerability matches").lacks("/vulnerabilities/CVE");
    browser
        .page("/vulnerabilities?overdue=1")
        .await
        .has("No open vulnerability matches")
        .has(r#"name="overdue" value="1" checked"#);

    let shown = browser.page("/vulnerabilities/CVE-2026-4242").await;
    shown.has("web-1").has("openssl 3.0.17-1~deb12u2, fixed in 3.0.17-1~deb12u3").has("/advisories/DSA-6015-1").has("APPLICABLE");
    let advisories = browser.page("/advisories?applicable=1").await;
    advisories.has("/advisories/DSA-6015-1").has("&#60;security&#62;").lacks("<security>");
    browser.page("/advisories?package=nothing").await.has("No advisory matches");
    browser.page("/advisories?kind=BUGFIX").await.has("No advisory matches");
    let advisory = browser.page("/advisories/DSA-6015-1").await;
    advisory
        .has("web-1")
        .has("openssl 3.0.17-1~deb12u2 → 3.0.17-1~deb12u3")
        .has("/vulnerabilities/CVE-2026-4242")
        .has("debian 12");
    let form = browser.page("/patch-jobs/new?what=advisories&advisory=DSA-6015-1").await;
    advisory.has("/patch-jobs/new?what=advisories&amp;advisory=DSA-6015-1");
    form.has("DSA-6015-1");
    for path in ["/vulnerabilities/CVE-1999-0000", "/advisories/none", "/deployments/none"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vulnerability_is_accepted_for_a_while_by_who_may() {
    let world = world().await;
    let mut browser = world.admin().await;
    let (page, except) = ("/vulnerabilities/CVE-2026-4242", "/vulnerabilities/CVE-2026-4242/except");
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 20)).strftime("%Y-%m-%d").to_string();
    let refused = browser.post(except, &[("scope", "all"), ("until", "soon"), ("reason", "x")]).await;
    assert_eq!((refused.status, refused.location()), (StatusCode::SEE_OTHER, page));
    browser.page(page).await.has("is no day");
    let done =
        browser.post(except, &[("scope", "instance"), ("name", "web-1"), ("until", &until), ("reason", "no <route>")]).await;
    assert_eq!(done.location(), page, "{}", done.body);
    browser.page(page).await.has("now on 1 of its hosts").has("no &#60;route&#62;").has("1 accepted");
    browser.page("/vulnerabilities").await.has("No vulnerability is known to be open");
    browser.page("/vulnerabilities?excepted=1").await.has("+1 accepted");

    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    let seen = viewer.page(page).await;
    seen.has("web-1").lacks("/except").lacks("/patch-jobs/new");
    let denied = viewer.post(except, &[("scope", "all"), ("until", &until), ("reason", "x")]).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_shows_its_schedule_and_its_runs() {
    let world = World::start().await;
    let mut browser = world.admin().await;
    browser.page("/deployments").await.has("No deployment yet");
    let spec: PatchDeploymentSpec = serde_json::from_value(json!({
        "name": "nightly", "description": "all <hosts>", "instanceFilter": {"query": "label env=prod"},
        "patchConfig": {"overdue": true},
        "recurringSchedule": {"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 3}, "frequency": "DAILY"},
    }))
    .expect("a specification");
    world.control().create_deployment(&world.ctx(), spec).await.expect("made");
    let run = world.control().run_deployment(&world.ctx(), "nightly", None).await.expect("begun");
    let list = browser.page("/deployments").await;
    list.has("/deployments/nightly").has("ACTIVE").has("where label env=prod").has("all &#60;hosts&#62;");
    let shown = browser.page("/deployments/nightly").await;
    shown.has("Next runs").has("03:00 UTC").has("STARTED").has("asked for");
    let job = format!("/patch-jobs/{}", run.job.expect("a job"));
    shown.has(&job);
    browser.page(&job).await.has("closing what is overdue");
    world.control().pause_deployment(&world.ctx(), "nightly").await.expect("paused");
    browser.page("/deployments/nightly").await.has("PAUSED").has("Paused by");
}
