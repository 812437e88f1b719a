//! Sources, environments and groups: from an uploaded package to a promoted snapshot, with nothing but forms.

use drydock_domain::access::Role;
use drydock_domain::source::job::ContentJobState;
use drydock_domain::source::spec::SourceSpec;
use drydock_testkit::upstream::DebPackage;
use http::StatusCode;

use crate::support::{World, wait_until};

/// A source whose snapshots are: nothing (1), `demo 1.0` (2), `demo 1.1` beside it (3).
async fn source_with_two_snapshots(world: &World) {
    let spec: SourceSpec =
        serde_json::from_value(serde_json::json!({"name": "ours", "format": "deb", "origin": {"local": {"suite": "stable"}}}))
            .expect("a specification");
    let (control, ctx) = (world.control(), world.ctx());
    control.create_source(&ctx, spec).await.expect("made");
    // An upload that waits beside the job of the first snapshot would be taken along by it.
    wait_until("the first snapshot", async || control.get_snapshot(&ctx, "ours", "1").await.ok()).await;
    for version in ["1.0", "1.1"] {
        let dir = tempfile::tempdir().expect("a directory");
        let into = dir.path().to_owned();
        let build = tokio::task::spawn_blocking(move || DebPackage::new("demo", version).build(&into));
        build.await.expect("ran").expect("built");
        let name = format!("demo_{version}_all.deb");
        let job = control.upload_unit(&ctx, "ours", &dir.path().join(&name), &name).await.expect("taken");
        wait_until("the upload", async || {
            let job = control.get_content_job(&ctx, job.id).await.expect("there");
            assert_ne!(job.state, ContentJobState::Failed, "{}", job.message);
            (job.state == ContentJobState::Succeeded).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_shows_its_snapshots_and_how_they_differ() {
    let world = World::start().await;
    let mut browser = world.admin().await;
    browser.page("/sources").await.has("No source yet");
    source_with_two_snapshots(&world).await;
    browser.page("/sources").await.has("/sources/ours").has("uploaded packages").has("2 packages").has("SUCCEEDED");
    let page = browser.page("/sources/ours").await;
    page.has("/sources/ours/snapshots/3").has("/sources/ours/snapshots/2").has("from=2&amp;to=3").lacks("Synchronise now");
    browser.page("/sources/ours/snapshots/2").await.has("demo").has("1.0").lacks(">1.1<");
    browser.page("/sources/ours/snapshots/3?q=nothing").await.has("No package with “nothing” in its name");
    browser.page("/sources/ours/diff?from=2&to=3").await.has("1 package added").has("added").has(">1.1<");
    // What cannot be synchronised says so on its page.
    let refused = browser.post("/sources/ours/sync", &[]).await;
    assert_eq!((refused.status, refused.location()), (StatusCode::SEE_OTHER, "/sources/ours"));
    browser.page("/sources/ours").await.has("notice-bad");
    for path in
        ["/sources/none", "/sources/ours/snapshots/9", "/sources/ours/diff?from=1&to=9", "/environments/none", "/groups/none"]
    {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_promoted_after_a_look_and_rolled_back() {
    let world = World::start().await;
    source_with_two_snapshots(&world).await;
    let mut browser = world.admin().await;
    browser.post("/environments", &[("name", "dev"), ("rank", "first"), ("description", "")]).await;
    browser.page("/environments").await.has("whole number");
    let made = browser.post("/environments", &[("name", "dev"), ("rank", "1"), ("description", "first <b>stop</b>")]).await;
    assert_eq!(made.location(), "/environments/dev", "{}", made.body);
    browser.page("/environments/dev").await.has("Nothing yet").lacks("<b>stop");
    let control = world.control();
    let first = control.get_snapshot(&world.ctx(), "ours", "2").await.expect("there");
    let promotion = serde_json::from_value(serde_json::json!({"sources": ["ours"], "snapshot": first.id})).expect("a promotion");
    control.promote(&world.ctx(), "dev", promotion).await.expect("promoted");
    browser.page("/environments/dev").await.has("BEHIND");

    let preview = browser.post("/environments/dev/preview", &[]).await;
    assert_eq!(preview.status, StatusCode::OK, "{}", preview.body);
    preview.has("snapshot 2 → snapshot 3").has("1 added").has("Nothing has changed yet");
    assert_eq!(control.get_environment(&world.ctx(), "dev").await.expect("there").pointers[0].snapshot.number, 2);
    browser.post("/environments/dev/promote", &[("sources", "ours")]).await;
    assert_eq!(control.get_environment(&world.ctx(), "dev").await.expect("there").pointers[0].snapshot.number, 3);
    browser.page("/environments/dev").await.has("ours is at snapshot 3").lacks("BEHIND");
    browser.post("/environments/dev/preview", &[("rollback", "1")]).await.has("Roll dev back").has("→ snapshot 2");
    browser.post("/environments/dev/promote", &[("rollback", "1")]).await;
    assert_eq!(control.get_environment(&world.ctx(), "dev").await.expect("there").pointers[0].snapshot.number, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_filled_and_patched() {
    let world = World::start().await;
    source_with_two_snapshots(&world).await;
    world.host("web-1").await;
    let mut browser = world.admin().await;
    let made = browser.post("/groups", &[("name", "web"), ("description", "front"), ("environment", "")]).await;
    assert_eq!(made.location(), "/groups/web", "{}", made.body);
    browser.post("/groups/web/members", &[("add", "web-1\r\nnobody"), ("remove", "")]).await;
    browser.page("/groups/web").await.has("nobody").has("No member yet");
    browser.post("/groups/web/sources", &[("attach", "ours"), ("detach", "")]).await;
    browser.page("/groups/web").await.has("/sources/ours");
    let start = browser.page("/patch-jobs/new?what=security&group=web").await;
    start.has(">web</textarea>").has(r#"value="filter" checked"#);
    browser.post("/groups/web/edit", &[("environment", "none-such"), ("description", "x")]).await;
    browser.page("/groups/web").await.has("notice-bad").has("front");
    browser.post("/groups/web/sources", &[("attach", ""), ("detach", "ours")]).await;
    let gone = browser.post("/groups/web/delete", &[]).await;
    assert_eq!(gone.location(), "/groups", "{}", gone.body);
    browser.page("/groups").await.has("No group yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_looks_and_changes_nothing() {
    let world = World::start().await;
    source_with_two_snapshots(&world).await;
    let mut admin = world.admin().await;
    admin.post("/environments", &[("name", "dev"), ("rank", "1"), ("description", "")]).await;
    admin.post("/groups", &[("name", "web"), ("description", ""), ("environment", "")]).await;
    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    for path in ["/sources", "/sources/ours", "/environments", "/environments/dev", "/groups", "/groups/web"] {
        let page = viewer.page(path).await;
        assert_eq!(page.body.matches(r#"<form method="post""#).count(), 1, "{path}: only sign-out");
    }
    let asked: [(&str, &[(&str, &str)]); 8] = [
        ("/sources/ours/sync", &[]),
        ("/environments", &[("name", "x"), ("rank", "2"), ("description", "")]),
        ("/environments/dev/promote", &[("sources", "ours")]),
        ("/groups", &[("name", "x"), ("description", ""), ("environment", "")]),
        ("/groups/web/members", &[("add", "x")]),
        ("/groups/web/sources", &[("attach", "ours")]),
        ("/groups/web/edit", &[("description", "x")]),
        ("/groups/web/delete", &[]),
    ];
    for (path, fields) in asked {
        let page = viewer.post(path, fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_named_packages_or_advisories_comes_from_the_form() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut browser = world.admin().await;
    let base = [("target", "instances"), ("instances", "web-1"), ("reboot", "NEVER"), ("action", "preview")];
    let with = |more: &[(&'static str, &'static str)]| base.iter().chain(more).copied().collect::<Vec<_>>();
    browser.post("/patch-jobs", &with(&[("what", "packages")])).await.has("name at least one package");
    let bad = browser.post("/patch-jobs", &with(&[("what", "packages"), ("install", "ok\r\n-rf")])).await;
    bad.has("is no package name").has("ok\n-rf");
    let made = browser.post("/patch-jobs", &with(&[("what", "packages"), ("install", "nginx=1.2"), ("remove", "telnet")])).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.body);
    let jobs = world.control().list_patch_jobs(&world.ctx(), &Default::default()).await.expect("jobs").items;
    let changes = jobs[0].record.spec.patch_config.packages.clone().expect("named packages");
    assert_eq!((changes.install, changes.remove), (vec!["nginx=1.2".to_owned()], vec!["telnet".to_owned()]));
    // Again from that job: the form says the same.
    let again = browser.page(&format!("/patch-jobs/new?from={}", jobs[0].record.id)).await;
    again.has("nginx=1.2").has("telnet").lacks("does not carry over");
    let made =
        browser.post("/patch-jobs", &with(&[("what", "advisories"), ("advisories", "CVE-2026-1234\r\nELSA-2026-2")])).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.body);
    let jobs = world.control().list_patch_jobs(&world.ctx(), &Default::default()).await.expect("jobs").items;
    let newest = jobs.iter().map(|j| &j.record.spec.patch_config).find(|c| !c.cves.is_empty()).expect("the job");
    assert_eq!(
        (newest.cves.clone(), newest.advisories.clone()),
        (vec!["CVE-2026-1234".to_owned()], vec!["ELSA-2026-2".to_owned()])
    );
}
