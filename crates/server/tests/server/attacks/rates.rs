//! Limits on how much one principal and one address may ask.

use crate::support::{TestServer, answer};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_waits_and_others_do_not() {
    let server = TestServer::start_with(|s| s.principal_requests_per_s = 2).await;
    let busy = server.person("viewer").await;
    let mut last = busy.get("/whoami").await;
    for _ in 0..200 {
        if last.status != 200 {
            break;
        }
        last = busy.get("/whoami").await;
    }
    assert_eq!(last.status, 429, "{last:?}");
    assert_eq!(last.body["kind"], "UNAVAILABLE", "{last:?}");
    let wait: u64 = last.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(server.admin.get("/whoami").await.status, 200, "another principal");
    let health = server.admin.client.get(format!("{}/healthz", server.admin.base)).send().await.expect("an answer");
    assert_eq!(health.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_much_waits_whoever_it_says_it_is() {
    let server = TestServer::start_with(|s| s.address_requests_per_s = 2).await;
    let agent = server.agent("web-1").await;
    let base = &server.admin.base;
    let mut status = 401;
    for _ in 0..200 {
        let said = answer(server.admin.client.get(format!("{base}/api/v1/instances"))).await;
        status = said.status;
        if status == 429 {
            assert!(said.headers.contains_key("retry-after"), "{said:?}");
            break;
        }
    }
    assert_eq!(status, 429, "without any token");
    let page = server.admin.client.get(format!("{base}/sign-in")).send().await.expect("an answer");
    assert_eq!(page.status(), 429);
    assert!(page.headers().contains_key("retry-after"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.admin.client.get(format!("{base}{path}")).send().await.expect("an answer").status(), 200, "{path}");
    }
    agent.link().await.pull_work(tonic::Request::new(Default::default())).await.expect("agents are counted one by one");
}
