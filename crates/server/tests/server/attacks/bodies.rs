//! Bodies made to cost more than they are: nesting, numbers, repeated keys, sizes. Every operation that takes JSON gets them.

use std::time::{Duration, Instant};

use crate::guard::{bodies, document, world::World};
use crate::support::{TestServer, answer};

/// A refusal is cheap.
const REFUSAL_MAX: Duration = Duration::from_secs(2);

/// Bodies that no operation takes, each with what is wrong.
fn bombs() -> Vec<(&'static str, String)> {
    let deep = 100_000;
    vec![
        ("nested lists", "[".repeat(deep)),
        ("nested objects", r#"{"a":"#.repeat(deep)),
        ("nested objects that end", format!("{}1{}", r#"{"a":"#.repeat(deep), "}".repeat(deep))),
        ("a number beyond all numbers", r#"{"name":1e999999999}"#.to_owned()),
        ("a number of many digits", format!(r#"{{"rank":{}}}"#, "9".repeat(100_000))),
        ("a text where an object stands", format!("\"{}\"", "a".repeat(500_000))),
        ("half a surrogate", r#"{"name":"\ud800"}"#.to_owned()),
        ("not UTF-8 as far as JSON goes", "{\"name\":\"\u{0}\"}".to_owned()),
        ("unknown keys", format!("{{{}}}", (0..20_000).map(|i| format!("\"k{i}\":0")).collect::<Vec<_>>().join(","))),
        ("nothing", String::new()),
        ("a comment", "{/* x */}".to_owned()),
        ("two documents", "{}{}".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_takes_a_bomb_and_each_refusal_is_cheap() {
    let world = World::start().await;
    let with_body = |o: &document::Operation| o.method != "GET" && bodies::least(&document::document(), &o.value).is_some();
    let operations: Vec<document::Operation> = document::operations().into_iter().filter(with_body).collect();
    assert!(operations.len() >= 30, "{}", operations.len());
    for operation in &operations {
        let path = world.filled(&operation.path);
        let path = path.strip_prefix("/api/v1").expect("under it");
        for (what, body) in bombs() {
            let request = world.server.admin.request(&operation.method, path).header("content-type", "application/json");
            let began = Instant::now();
            let said = answer(request.body(body.clone())).await;
            // Where nothing has to be said, nothing is a body.
            let optional = what == "nothing" && said.status < 300;
            assert!(optional || matches!(said.status, 400 | 409 | 413), "{}: {what}: {said:?}", operation.id);
            assert!(began.elapsed() < REFUSAL_MAX, "{}: {what}: {:?}", operation.id, began.elapsed());
        }
    }
    assert_eq!(world.server.admin.get("/whoami").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_twice_are_refused() {
    let server = TestServer::start().await;
    for (path, body) in [
        ("/groups", r#"{"name":"a","name":"b"}"#),
        ("/environments", r#"{"name":"a","rank":1,"rank":2}"#),
        ("/patch-jobs", r#"{"instanceFilter":{"all":true},"instanceFilter":{"instances":["x"]}}"#),
        ("/patch-jobs", r#"{"instanceFilter":{"all":false,"all":true}}"#),
    ] {
        let said = answer(server.admin.request("POST", path).header("content-type", "application/json").body(body)).await;
        assert_eq!(said.status, 400, "{body}: {said:?}");
        assert!(said.body["message"].as_str().is_some_and(|m| m.contains("duplicate field")), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_whether_or_not_they_say_so() {
    let server = TestServer::start().await;
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(drydock_server::limits::REST_BODY_MAX_BYTES));
    for method_path in
        [("POST", "/groups"), ("POST", "/patch-jobs"), ("PUT", "/vulnerability-sla"), ("POST", "/policy-assignments")]
    {
        let request = |body: reqwest::Body| {
            let request = server.admin.request(method_path.0, method_path.1).header("content-type", "application/json");
            answer(request.body(body))
        };
        let said = request(large.clone().into()).await;
        assert_eq!(said.status, 413, "{method_path:?}: {said:?}");
        let pieces = large.as_bytes().chunks(64 * 1024).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
        let said = request(reqwest::Body::wrap_stream(futures::stream::iter(pieces))).await;
        assert_eq!(said.status, 413, "{method_path:?} in pieces: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_grow_when_read_are_refused() {
    let server = TestServer::start().await;
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        let before = i - 1;
        laughs +=
            &format!("a{i}: &a{i} [*a{before},*a{before},*a{before},*a{before},*a{before},*a{before},*a{before},*a{before}]\n");
    }
    let deep = "- ".repeat(50_000);
    for (what, body) in [("aliases of aliases", laughs), ("nested lists", deep), ("flow", "[".repeat(50_000))] {
        let began = Instant::now();
        let request = server.admin.request("PUT", "/policy-assignments/x").header("content-type", "application/yaml");
        let said = answer(request.body(body)).await;
        assert_eq!(said.status, 400, "{what}: {said:?}");
        assert!(began.elapsed() < REFUSAL_MAX, "{what}: {:?}", began.elapsed());
    }
}
