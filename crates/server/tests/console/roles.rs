//! What a role may not do is not shown, and refused when it is asked for all the same.

use drydock_domain::access::Role;
use http::StatusCode;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_no_buttons() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    world.host_with("waiting-1", "aaaa", false).await;
    let mut admin = world.admin().await;
    admin.page("/").await.has("/patch-jobs/new").has("Accept").has("Access tokens");
    let made =
        admin.post("/patch-jobs", &[("target", "all"), ("what", "all"), ("reboot", "DEFAULT"), ("action", "preview")]).await;
    let job = made.location().to_owned();

    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    let summary = format!("/instances/{}", host.id);
    for path in ["/", "/instances", "/patch-jobs", "/enrolment", summary.as_str(), job.as_str()] {
        let page = viewer.page(path).await;
        assert_eq!(page.body.matches(r#"<form method="post""#).count(), 1, "{path}: only sign-out");
        page.lacks("/patch-jobs/new").lacks("Accept").lacks("Revoke").lacks("/access-tokens").lacks("/audit");
    }
    viewer.page("/").await.has("waiting-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_refused_by_the_operations_themselves() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut viewer = world.browser(&world.token("auditor", Role::Viewer).await).await;
    let start = [("target", "all"), ("what", "all"), ("reboot", "DEFAULT"), ("action", "start")];
    let edit = [("labels", "a=b"), ("etag", "*")];
    let token = [("name", "x"), ("role", "administrator")];
    let profile = [("displayName", "x"), ("compartment", "/")];
    let (edit_path, revoke_path, delete_path) = (
        format!("/instances/{}/edit", host.id),
        format!("/instances/{}/revoke", host.id),
        format!("/instances/{}/delete", host.id),
    );
    let asked: [(&str, &[(&str, &str)]); 6] = [
        ("/patch-jobs", &start),
        (&edit_path, &edit),
        (&revoke_path, &[]),
        (&delete_path, &[]),
        ("/access-tokens", &token),
        ("/enrolment", &profile),
    ];
    for (path, fields) in asked {
        let page = viewer.post(path, fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}: {}", page.body);
    }
    for path in ["/patch-jobs/new", "/access-tokens", "/audit"] {
        assert_eq!(viewer.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let ctx = world.ctx();
    assert!(world.control().list_patch_jobs(&ctx, &Default::default()).await.expect("jobs").items.is_empty());
    let still = world.control().get_instance(&ctx, "web-1").await.expect("still there");
    assert_eq!(still.record.labels.get("env").map(String::as_str), Some("prod"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_patches_but_makes_no_tokens() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut operator = world.browser(&world.token("night shift", Role::Operator).await).await;
    operator.page("/").await.has("/patch-jobs/new").lacks("/access-tokens").lacks("/audit");
    operator.page("/enrolment").await.lacks("Make profile");
    let made =
        operator.post("/patch-jobs", &[("target", "all"), ("what", "security"), ("reboot", "NEVER"), ("action", "start")]).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.body);
    assert_eq!(operator.post("/access-tokens", &[("name", "x"), ("role", "viewer")]).await.status, StatusCode::FORBIDDEN);
}
