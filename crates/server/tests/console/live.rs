//! The live stream of a job, event by event.

use drydock_domain::access::Role;
use futures::StreamExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{LIMIT, World, finished};

/// Events of a stream: name and data.
struct Events {
    body: axum::body::BodyDataStream,
    buffer: String,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
                let event =
                    field("event:").map(|e| (e, field("data:").and_then(|d| serde_json::from_str(&d).ok()).unwrap_or_default()));
                self.buffer = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(LIMIT, self.body.next()).await.expect("in time")?.expect("a chunk");
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event that is `good`.
    async fn until(&mut self, good: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().await.expect("not the end");
            if good(&name, &data) {
                return data;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_page_hears_of_every_change_and_of_the_end() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.browser(&world.token("wall screen", Role::Viewer).await).await;
    let mut operator = world.admin().await;
    let fields = [("target", "all"), ("what", "security"), ("reboot", "NEVER"), ("action", "start")];
    let path = operator.post("/patch-jobs", &fields).await.location().to_owned();

    let response = browser.send(Method::GET, &format!("{path}/live?since=0"), String::new()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events { body: response.into_body().into_data_stream(), buffer: String::new() };

    let order = host.pull().await;
    host.report(order.task.task, 1, "APPLYING_PATCHES", json!({"message": "installing <1> package"})).await;
    let row = events.until(|name, data| name == "task" && data["state"] == "APPLYING_PATCHES").await;
    assert_eq!(row["name"], "web-1");
    let html = row["html"].as_str().expect("markup");
    assert!(html.contains("installing &#60;1&#62; package") && html.starts_with("<tr id=\"task-"), "{html}");

    host.report(order.task.task, 2, "SUCCEEDED", finished()).await;
    let row = events.until(|name, data| name == "task" && data["state"] == "SUCCEEDED").await;
    assert!(row["html"].as_str().is_some_and(|h| h.contains("1 package installed as planned")), "{row}");
    let job = events.until(|name, data| name == "job" && data["final"] == true).await;
    assert_eq!((job["state"].as_str(), job["words"].as_str()), (Some("SUCCEEDED"), Some("SUCCEEDED: 1 of 1 host done")));
    assert_eq!(events.next().await.map(|e| e.0).as_deref(), Some("end"));
    assert!(events.next().await.is_none(), "the stream ends after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_nothing() {
    let world = World::start().await;
    let page = world.stranger().get("/patch-jobs/0198c0de-0000-7000-8000-000000000001/live").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let missing = world.admin().await.get("/patch-jobs/0198c0de-0000-7000-8000-000000000001/live").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_live_pages() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut browser = world.browser(&world.token("leaver", Role::Viewer).await).await;
    let fields = [("target", "all"), ("what", "security"), ("reboot", "NEVER"), ("action", "start")];
    let path = world.admin().await.post("/patch-jobs", &fields).await.location().to_owned();
    let response = browser.send(Method::GET, &format!("{path}/live"), String::new()).await;
    let mut events = Events { body: response.into_body().into_data_stream(), buffer: String::new() };
    events.until(|name, _| name == "job").await;
    let ctx = world.ctx();
    let tokens = world.control().list_access_tokens(&ctx, None, &Default::default()).await.expect("tokens").items;
    let leaver = tokens.iter().find(|t| t.name == "leaver").expect("the token");
    world.control().revoke_access_token(&ctx, leaver.id).await.expect("revoked");
    events.until(|name, _| name == "signed-out").await;
    assert!(events.next().await.is_none(), "nothing comes after that");
}
