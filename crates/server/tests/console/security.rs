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

    // What is accepted is listed, changed and taken back.
    let list = browser.page("/exceptions").await;
    list.has("CVE-2026-4242").has("instance web-1").has("covers 1 host now").has("ACCEPTED");
    browser.page("/exceptions?q=nobody").await.has("No exception matches");
    let id = world.control().list_exceptions(&world.ctx()).await.expect("listed")[0].id;
    let (one, edit, delete) = (format!("/exceptions/{id}"), format!("/exceptions/{id}/edit"), format!("/exceptions/{id}/delete"));
    browser.page(page).await.has(&one);
    browser.page(&one).await.has("no &#60;route&#62;").has(&format!(r#"value="{until}""#));
    browser.post(&edit, &[("until", "never"), ("owner", "ann"), ("reason", "x")]).await;
    browser.page(&one).await.has("is no day").lacks("ann");
    browser.post(&edit, &[("until", &until), ("owner", ""), ("reason", "x")]).await;
    browser.page(&one).await.has("notice-bad").has("no &#60;route&#62;");
    let done = browser.post(&edit, &[("until", &until), ("owner", "ann"), ("reason", "the router blocks it")]).await;
    assert_eq!(done.location(), one, "{}", done.body);
    browser.page(&one).await.has("Saved: CVE-2026-4242 is accepted until").has("ann").has("the router blocks it");

    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    viewer.page(&one).await.has("ann").lacks("/edit").lacks("/delete");
    for path in [&edit, &delete] {
        let denied = viewer.post(path, &[("until", &until), ("owner", "me"), ("reason", "x")]).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(browser.post_raw(&delete, &[]).await.status, StatusCode::FORBIDDEN, "no form without its token");
    assert_eq!(browser.post(&delete, &[]).await.location(), "/exceptions");
    browser.page("/exceptions").await.has("counts again").has("No vulnerability is accepted");
    assert_eq!(browser.get(&one).await.status, StatusCode::NOT_FOUND);

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

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_made_paused_resumed_run_and_deleted() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut browser = world.admin().await;
    browser.page("/deployments").await.has("/new-deployment");
    let form = browser.page("/new-deployment").await;
    form.has(r#"name="monthDay""#).has(r#"name="excludes""#).lacks(r#"name="displayName""#);
    let typed = [
        ("name", "Web Nights"),
        ("when", "weekly"),
        ("day", "Monday"),
        ("day", "Thursday"),
        ("at", "22:30"),
        ("zone", "Europe/Nowhere"),
        ("overlap", "queue"),
        ("what", "security"),
        ("target", "filter"),
        ("labels", "env=prod"),
        ("reboot", "NEVER"),
        ("duration", "90"),
    ];
    let with = |changes: &[(&'static str, &'static str)]| {
        let changed = |(name, value)| (name, changes.iter().find(|(n, _)| *n == name).map_or(value, |(_, v)| *v));
        typed.into_iter().map(changed).collect::<Vec<_>>()
    };
    let refused = browser.post("/deployments", &typed).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    refused.has("name-error").has("Nothing was made").has("Europe/Nowhere").has(r#"value="Thursday" checked"#).has("env=prod");
    let refused = browser.post("/deployments", &with(&[("name", "web-nights")])).await;
    refused.has("time zone").lacks("name-error");
    let right = with(&[("name", "web-nights"), ("zone", "UTC")]);
    let made = browser.post("/deployments", &right).await;
    assert_eq!((made.status, made.location()), (StatusCode::SEE_OTHER, "/deployments/web-nights"), "{}", made.body);
    let shown = browser.page("/deployments/web-nights").await;
    shown.has("Mon, Thu at 22:30 UTC").has("first run is").has("the next run is queued").has("1 h 30 min");
    shown.has("/deployments/web-nights/pause").lacks("/resume");
    let again = browser.post("/deployments", &right).await;
    again.has("exists already").has("Nothing was made");

    assert_eq!(browser.post("/deployments/web-nights/pause", &[]).await.location(), "/deployments/web-nights");
    browser.page("/deployments/web-nights").await.has("PAUSED").has("/deployments/web-nights/resume").lacks("/pause");
    browser.post("/deployments/web-nights/resume", &[]).await;
    browser.page("/deployments/web-nights").await.has("ACTIVE").has("Resumed: its next run is");
    let run = browser.post("/deployments/web-nights/run", &[("key", "k1")]).await;
    assert!(run.location().starts_with("/patch-jobs/"), "{}", run.location());
    assert_eq!(browser.post("/deployments/web-nights/run", &[("key", "k1")]).await.location(), run.location(), "pressed twice");

    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    viewer.page("/deployments/web-nights").await.lacks("/pause").lacks("/run").lacks("/delete");
    viewer.page("/deployments").await.lacks("/new-deployment");
    assert_eq!(viewer.get("/new-deployment").await.status, StatusCode::FORBIDDEN);
    for action in ["", "/web-nights/pause", "/web-nights/resume", "/web-nights/run", "/web-nights/delete"] {
        let denied = viewer.post(&format!("/deployments{action}"), &right).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(browser.post("/deployments/web-nights/delete", &[]).await.location(), "/deployments");
    browser.page("/deployments").await.has("is deleted").has("No deployment yet");
}
