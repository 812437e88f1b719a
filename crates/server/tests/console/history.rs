//! What hosts had, as pages: of the fleet and of one host, now and then, and what changed; module streams.

use http::StatusCode;
use jiff::Timestamp;

use crate::support::{World, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_the_fleet_and_who_had_them() {
    let world = World::start().await;
    let (first, second) = (world.host("web-1").await, world.host("web-2").await);
    let mut browser = world.admin().await;
    browser.page("/").await.has("/packages");
    let list = browser.page("/packages?q=open").await;
    list.has("openssl").has("3.0.17-1~deb12u2").has("2 hosts").lacks("bash");
    browser.page("/packages?q=nothing").await.has("No host has such a package");
    browser.page("/packages?at=7d").await.has("What hosts had").has("No host has such a package");
    browser.page("/packages?at=soon").await.has("is no time; write").lacks("openssl");

    // Of several changes within a second the last is kept.
    let reported = Timestamp::now().as_second();
    wait_until("the next second", async || (Timestamp::now().as_second() > reported).then_some(())).await;
    first.report_packages(&[("openssl", "3.0.17-1~deb12u3"), ("tree", "2.1")]).await;
    let had = browser.page("/packages/openssl").await;
    had.has("web-1").has("web-2").has("3.0.17-1~deb12u2").has("3.0.17-1~deb12u3").has("still").has("or earlier");
    browser.page("/packages/openssl?version=%3C3.0.17-1~deb12u3").await.has("web-2").lacks("deb12u3</td>");
    browser.page("/packages/openssl?to=30d").await.has("No host had it then");
    browser.page("/packages/openssl?from=then").await.has("is no time; write").lacks("web-2");
    browser.page("/packages/openssl?from=1d&to=2d").await.has("notice-bad").lacks("web-2");
    browser.page("/packages/%3Cnone%3E").await.has("No host had it then").has("&#60;none&#62;").lacks("<none>");

    let changes = format!("/instances/{}/changes", first.id);
    let told = browser.page(&format!("{changes}?from={}&to=0h", Timestamp::from_second(reported).expect("a time"))).await;
    told.has("3 changes").has("3.0.17-1~deb12u2 → 3.0.17-1~deb12u3").has("2.1 installed").has("5.2.15-2 removed");
    browser.page(&changes).await.has("notice-bad").lacks("installed</td>");
    browser.page(&format!("{changes}?from=x")).await.has("is no time; write");
    browser.page(&format!("/instances/{}/changes?from=0h", second.id)).await.has("0 changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_a_host_as_of_a_time() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let path = format!("/instances/{}/packages", host.id);
    browser.page(&path).await.has("2 packages installed").has("/packages/openssl").has("/changes").has("/modules");
    browser.page(&format!("{path}?at=0h&q=bash")).await.has("with “bash” in the name").lacks("openssl</a>");
    browser.page(&format!("{path}?at=0h")).await.has("2 packages were installed");
    browser.page(&format!("{path}?at=7d")).await.has("at-error").lacks("installed");
    browser.page(&format!("{path}?at=soon")).await.has("is no time; write").lacks("openssl</a>");
    assert_eq!(browser.get("/instances/none/packages").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/instances/none/changes").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn module_streams_of_a_host() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let path = format!("/instances/{}/modules", host.id);
    browser.page(&path).await.has("No module streams");
    host.report_rules(r#"{"modules":[{"name":"nodejs","stream":"18","enabled":true,"profiles":["common"]},{"name":"php","stream":"","enabled":false,"profiles":[]}]}"#).await;
    let shown = browser.page(&path).await;
    shown.has("nodejs").has("stream 18 is enabled, profiles common").has("ENABLED").has("php").has("disabled");
    assert_eq!(browser.get("/instances/none/modules").await.status, StatusCode::NOT_FOUND);
}
