//! Pages and forms over a server with hosts.

use drydock_domain::instance::InstanceState;
use http::StatusCode;

use crate::support::{World, finished};

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_counts_and_leads_to_the_lists() {
    let world = World::start().await;
    world.host("web-1").await;
    let host = world.host_with("db-1", "bbbb", true).await;
    let mut browser = world.admin().await;
    let page = browser.page("/").await;
    for (value, label) in [(2, "active instances"), (1, "need security updates"), (1, "need a reboot"), (1, "have held updates")]
    {
        page.has(&format!(r#"<span class="tile-n">{value}</span><span class="tile-l">{label}</span>"#));
    }
    for need in ["security", "reboot", "held"] {
        let list = browser.page(&format!("/instances?need={need}")).await;
        list.has("web-1").lacks(&host.id.to_string());
    }
    browser.page("/instances?need=findings").await.has("No instance matches");
    browser.page("/instances?label=env%3Dprod&zone=zone-a&q=WEB").await.has("web-1").lacks("db-1");
    browser.page("/instances?label=oops").await.has("is not written as key=value").has(r#"value="oops""#);
    let filtered = browser.page("/instances?filter=package+openssl+%3D+3.0.*+and+reboot").await;
    filtered
        .has("web-1")
        .lacks("db-1")
        .has("/patch-jobs/new?what=security&#38;query=package%20openssl%20%3D%203.0.%2A%20and%20reboot");
    let refused = browser.page("/instances?filter=pakage+openssl").await;
    refused
        .has("did you mean package?")
        .has(r#"aria-describedby="filter-error""#)
        .has(r#"value="pakage openssl""#)
        .lacks("web-1");
    let form = browser.page("/patch-jobs/new?what=security&query=package+openssl+%3C+3.0.18").await;
    form.has(r#"value="filter" checked"#).has(r#"value="package openssl &#60; 3.0.18""#);
    let form = [("target", "filter"), ("query", "pakage openssl"), ("what", "all"), ("reboot", "DEFAULT")];
    browser.post("/patch-jobs", &form).await.has("did you mean package?").has(r#"id="query-error""#);
    browser.page("/overview/live").await.has("need security updates").lacks("<html");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_shown_with_a_warning_and_accepted_by_a_person() {
    let world = World::start().await;
    let first = world.host_with("web-1", "cccc", true).await;
    let twin = world.host_with("web-1-copy", "cccc", true).await;
    let other = world.host_with("mail-1", "dddd", false).await;
    let mut browser = world.admin().await;
    browser.page("/").await.has("Possible clone").has(&format!("/instances/{}", first.id)).has("Accept as a second instance");
    let done = browser.post(&format!("/instances/{}/accept", twin.id), &[]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/"));
    let page = browser.page("/").await;
    page.has("is accepted").lacks("Possible clone");
    browser.page("/").await.lacks("is accepted");
    browser.post(&format!("/instances/{}/reject", other.id), &[("reason", "not ours")]).await;
    browser.page("/").await.has("mail-1 is rejected.").lacks("Pending enrolments");
    let ctx = world.ctx();
    let state = async |id| world.control().get_instance(&ctx, &format!("{id}")).await.expect("there").record;
    assert_eq!(state(twin.id).await.state, InstanceState::Active);
    let rejected = state(other.id).await;
    assert_eq!((rejected.state, rejected.reject_reason.as_str()), (InstanceState::Rejected, "not ours"));
    // Accepted twice: the second says why not, on the page.
    browser.post(&format!("/instances/{}/accept", twin.id), &[]).await;
    browser.page("/").await.has("notice-bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_shows_what_its_host_reported() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let at = |tab: &str| format!("/instances/{}{tab}", host.id);
    let summary = browser.page(&at("")).await;
    summary.has("Debian GNU/Linux 12 (bookworm)").has("6.1.0-41-amd64").has("REBOOT REQUIRED");
    summary.has("linux-image-6.1.0-42-amd64 is newer").has("nginx.service").has("1 security update");
    let updates = browser.page(&at("/updates")).await;
    updates.has("3.0.17-1~deb12u2 → 3.0.17-1~deb12u3").has("DSA-6015-1").has("held by apt-mark").has("Important");
    browser.page(&at("/packages")).await.has("2 packages installed").has("5.2.15-2");
    browser.page(&at("/packages?q=ssl")).await.has("openssl").lacks("5.2.15-2");
    browser.page(&at("/history")).await.has("enrolled");
    browser.page(&at("/tasks")).await.has("No patch job has reached this instance");
    for path in ["/instances/nobody", "/no-such-page", "/patch-jobs/not-an-id"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        page.has("Not found").has("To the overview");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_edited_refused_in_place_and_never_markup() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let (page_path, edit_path) = (format!("/instances/{}", host.id), format!("/instances/{}/edit", host.id));
    let etag = browser.page(&page_path).await.hidden("etag");
    let bad = browser.post(&edit_path, &[("labels", "Env=x\nrole=db"), ("zone", "z9"), ("etag", &etag)]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.has("Env=x\nrole=db").has(r#"value="z9""#).has("a label key starts with a-z");
    let hostile = "note=<script>alert(1)</script>\"'";
    let good = browser.post(&edit_path, &[("labels", hostile), ("zone", "<b>z</b>"), ("etag", &etag)]).await;
    assert_eq!(good.status, StatusCode::SEE_OTHER, "{}", good.body);
    for path in [page_path.as_str(), "/instances", "/"] {
        browser.page(path).await.lacks("<script>alert").lacks("<b>z");
    }
    let stale = browser.post(&edit_path, &[("labels", "a=b"), ("zone", ""), ("etag", &etag)]).await;
    assert_eq!(stale.status, StatusCode::UNPROCESSABLE_ENTITY, "somebody else's edit is not overwritten");
    stale.has("a=b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_form_keeps_everything_typed() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut browser = world.admin().await;
    let fields = [
        ("displayName", "Thursday & \"Friday\""),
        ("description", "first line\r\nsecond"),
        ("target", "instances"),
        ("instances", "web-1"),
        ("labels", "env=prod"),
        ("what", "all"),
        ("dist", "on"),
        ("excludes", "kernel*\r\n/(/"),
        ("reboot", "NEVER"),
        ("concurrency", "0"),
        ("concurrencyUnit", "percent"),
        ("duration", "soon"),
        ("preScript", "#!/bin/sh\r\necho <hi>\r\n"),
        ("preLimit", "30"),
        ("soak", "999"),
        ("soakExceptSecurity", "on"),
        ("waves", "canary=1,bake=10m\r\nothers"),
        ("action", "start"),
    ];
    let page = browser.post("/patch-jobs", &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.has("“soon” is not a whole number of minutes").has(r#"aria-invalid="true" aria-describedby="duration-error"#);
    let mut mended = fields;
    mended[11].1 = "90";
    let page = browser.post("/patch-jobs", &mended).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.has("“/(/” is not a valid regular expression").has("must be between 1 and 100");
    page.has(r#"value="Thursday &#38; &#34;Friday&#34;""#).has("first line\nsecond").has("kernel*\n/(/").has("env=prod");
    page.has("#!/bin/sh\necho &#60;hi&#62;").has(r#"name="dist" checked"#).has(r#"value="NEVER" checked"#).has(r#"value="90""#);
    page.has(r#"<option value="percent" selected>"#).has(r#"value="all" checked"#);
    page.has(r#"value="999" autocomplete="off" aria-invalid="true" aria-describedby="soak-error"#);
    page.has(r#"name="soakExceptSecurity" checked"#).has("canary=1,bake=10m\nothers");
    let waves = browser.post("/patch-jobs", &[("target", "all"), ("what", "all"), ("waves", "canary=many")]).await;
    waves.has("is no item of a wave").has("waves-error");
    let nobody = browser
        .post("/patch-jobs", &[("target", "instances"), ("instances", "no-such-host"), ("what", "all"), ("reboot", "DEFAULT")])
        .await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", nobody.body);
    nobody.has("no-such-host").has("instances-error");
    assert!(world.control().list_patch_jobs(&world.ctx(), &Default::default()).await.expect("jobs").items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_read_started_for_real_and_pressed_twice_is_one_job() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let form = browser.page("/patch-jobs/new?what=security&instance=web-1").await;
    form.has("web-1").has(r#"value="security" checked"#);
    let key = form.hidden("key");
    let fields = [
        ("target", "instances"),
        ("instances", "web-1"),
        ("what", "security"),
        ("reboot", "NEVER"),
        ("displayName", "openssl"),
        ("soak", "7d"),
        ("soakExceptSecurity", "on"),
        ("waves", "canary=1\nothers"),
        ("key", &key),
    ];
    let with = |action| fields.iter().copied().chain([("action", action)]).collect::<Vec<_>>();
    let preview = browser.post("/patch-jobs", &with("preview")).await;
    let again = browser.post("/patch-jobs", &with("preview")).await;
    assert_eq!(preview.status, StatusCode::SEE_OTHER, "{}", preview.body);
    assert_eq!(preview.location(), again.location());
    let started = browser.post("/patch-jobs", &with("start")).await;
    assert_ne!(preview.location(), started.location());

    let order = host.pull().await;
    assert!(order.task.dry_run && order.task.config.apt.security, "{order:?}");
    host.report(order.task.task, 1, "SUCCEEDED", finished()).await;
    let path = preview.location().to_owned();
    let spec = world.control().get_patch_job(&world.ctx(), order.task.job).await.expect("the job").record.spec;
    assert_eq!((spec.patch_config.soak_days, spec.patch_config.soak_except_security), (7, true));
    assert_eq!(spec.rollout.iter().flat_map(|r| &r.waves).map(|w| w.name.as_str()).collect::<Vec<_>>(), ["canary", "others"]);
    browser.page(&path).await.has("7 days, security updates at once");
    let page = crate::support::wait_until("the preview is done", async || {
        let page = browser.page(&path).await;
        page.body.contains("Install this now").then_some(page)
    })
    .await;
    page.has("dry run: nothing is changed").has("web-1").lacks("Cancel…");
    let task = browser.page(&format!("{path}/tasks/{}", order.task.task)).await;
    task.has("3.0.17-1~deb12u2 → 3.0.17-1~deb12u3").has("Debian-Security:12/stable-security").has("held by apt-mark");
    task.has("exit code 0").has("Setting up openssl").has("APPLIED");
    task.has("unit nginx.service").has("UNHEALTHY").has("is &#60;failed&#62;").has("3.0.17-1~deb12u9");
    let fragment = browser.page(&format!("{path}/tasks/{}?fragment=1", order.task.task)).await;
    fragment.has("held by apt-mark").lacks("<html");
    let from = path.rsplit('/').next().expect("an id");
    let real = browser.page(&format!("/patch-jobs/new?from={from}")).await;
    real.has(r#"value="openssl""#).has(r#"value="NEVER" checked"#).lacks("does not carry over");
    real.has(r#"name="soak" inputmode="numeric" value="7""#).has("canary=1\nothers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_by_a_person() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let fields = [("target", "all"), ("what", "all"), ("reboot", "DEFAULT"), ("action", "start")];
    let path = browser.post("/patch-jobs", &fields).await.location().to_owned();
    let order = host.pull().await;
    host.report(order.task.task, 1, "APPLYING_PATCHES", serde_json::json!({})).await;
    browser.page(&path).await.has("Stop the job").has("Kill running commands").has("APPLYING_PATCHES");
    let done = browser.post(&format!("{path}/cancel"), &[("kill", "1")]).await;
    assert_eq!(done.location(), path);
    browser.page(&path).await.has("Running commands are being killed.").has("KILLING");
    let job = world.control().get_patch_job(&world.ctx(), order.task.job).await.expect("the job").record;
    assert!(job.cancel_requested && job.kill_requested);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once() {
    let world = World::start().await;
    let mut browser = world.admin().await;
    let bad = browser
        .post("/enrolment", &[("displayName", ""), ("maxUses", "many"), ("labels", "role=web"), ("compartment", "/")])
        .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.has("is not a whole number of hosts").has("many").has("role=web");
    let made = browser
        .post("/enrolment", &[("displayName", "web"), ("expiresHours", "2"), ("compartment", "/"), ("autoAccept", "on")])
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.has("drydock-agent enrol --server https://").has(&world.running.ca_fingerprint).has("dde_");
    browser.page("/enrolment").await.has("web").has("OPEN").lacks("dde_");
    let profiles = world.control().list_profiles(&world.ctx(), &Default::default()).await.expect("profiles").items;
    assert!(profiles[0].spec.auto_accept && profiles[0].spec.expires_at.is_some());
    browser.post(&format!("/enrolment/{}/revoke", profiles[0].id), &[]).await;
    browser.page("/enrolment").await.has("REVOKED");

    let made = browser.post("/access-tokens", &[("name", "grafana"), ("role", "viewer"), ("expiresDays", "30")]).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let secret: String = made.body.split("ddt_").nth(1).expect("a secret").chars().take(43).collect();
    browser.page("/access-tokens").await.has("grafana").lacks(&secret);
    let mut viewer = world.browser(&format!("ddt_{secret}")).await;
    viewer.page("/").await.has("viewer");
    browser.page("/audit").await.has("grafana").has("allowed");
}
