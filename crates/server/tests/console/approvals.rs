//! The two-person rule in the console: what waits, who approves it, and that it is then done once.

use drydock_domain::access::Role;
use http::StatusCode;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asked_for_is_approved_by_another_person_and_then_done() {
    let world = World::start().await;
    let (control, ctx) = (world.control(), world.ctx());
    let mut admin = world.admin().await;
    let mut asks = world.browser(&world.token("night shift", Role::Operator).await).await;
    for name in ["first", "second"] {
        admin.post("/groups", &[("name", name)]).await;
    }
    admin.page("/approvals").await.has("Nothing waits for a second person").has("drydock approval rule set");
    let rule = r#"{"name":"not-alone","operations":["group.delete"]}"#;
    control.set_approval_rule(&ctx, serde_json::from_str(rule).expect("a rule")).await.expect("set");

    let refused = asks.post("/groups/first/delete", &[]).await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER, "{}", refused.body);
    asks.page("/groups/first").await.has("needs the approval of another person");
    asks.page("/approvals").await.has("group.delete").has("Take back").lacks("Approve…").lacks("not-alone</th>");
    let page = admin.page("/approvals").await;
    page.has("night shift").has("group first").has("Approve…").has("not-alone</th>").has("1<span class=\"sr\"> waiting for you");
    let (_, rest) = page.body.split_once(r#"action="/approvals/"#).expect("a form");
    let id: String = rest.chars().take(36).collect();

    let own = asks.post(&format!("/approvals/{id}/approve"), &[]).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN, "{}", own.body);
    own.has("your own request");
    asks.page("/approvals").await.has("Take back").lacks("APPROVED");
    admin.post(&format!("/approvals/{id}/approve"), &[("reason", "said <b>yes</b>")]).await;
    admin
        .page("/approvals")
        .await
        .has("APPROVED")
        .has("Nothing waits")
        .lacks("<b>yes")
        .lacks("1<span class=\"sr\"> waiting for you");

    asks.post("/groups/first/delete", &[]).await;
    assert_eq!(asks.get("/groups/first").await.status, StatusCode::NOT_FOUND);
    asks.page("/approvals").await.has("USED");
    asks.post("/groups/second/delete", &[]).await;
    assert_eq!(asks.get("/groups/second").await.status, StatusCode::OK, "another group is another request");
}
