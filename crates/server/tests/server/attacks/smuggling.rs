//! Requests whose length can be read in two ways: what stands behind one must never be taken for another request.

use super::{head, raw, statuses};
use crate::support::TestServer;

/// A change that nobody may have asked for.
fn hidden(server: &TestServer) -> String {
    let body = r#"{"name":"smuggled"}"#;
    format!(
        "{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        head(server, "POST /api/v1/groups"),
        body.len()
    )
}

async fn assert_nothing_came_of_it(server: &TestServer, what: &str) {
    let groups = server.admin.get("/groups").await;
    assert!(!groups.body.to_string().contains("smuggled"), "{what}: the hidden request was done");
    assert_eq!(server.admin.get("/whoami").await.status, 200, "{what}: the server goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_contradict_each_other_are_refused_and_end_the_connection() {
    let server = TestServer::start().await;
    let hidden = hidden(&server);
    let length = hidden.len();
    for (what, headers) in [
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n")),
        ("two lengths in one", format!("Content-Length: 0, {length}\r\n")),
        ("a negative length", "Content-Length: -1\r\n".to_owned()),
        ("a signed length", "Content-Length: +0\r\n".to_owned()),
        ("a length in hex", "Content-Length: 0x0\r\n".to_owned()),
        ("a length beyond all numbers", "Content-Length: 99999999999999999999999\r\n".to_owned()),
        ("a space before the colon", "Content-Length : 0\r\n".to_owned()),
        ("a folded header", format!("X-A: b\r\n Content-Length: {length}\r\n")),
        ("a length and chunks", format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n".to_owned()),
        ("a coding after chunks", "Transfer-Encoding: chunked, identity\r\n".to_owned()),
        ("a carriage return in a header", "X-A: b\rContent-Length: 0\r\n".to_owned()),
        ("a zero byte in a header", "X-A: b\0c\r\n".to_owned()),
        ("a header without a name", ": b\r\n".to_owned()),
    ] {
        let request = format!("{}Content-Type: application/json\r\n{headers}\r\n{hidden}", head(&server, "POST /api/v1/groups"));
        let said = raw(&server, request.as_bytes()).await;
        let statuses = statuses(&said);
        assert!(statuses.len() <= 1, "{what}: answered twice: {said}");
        assert!(statuses.iter().all(|s| (400..500).contains(s)), "{what}: {said}");
        assert_nothing_came_of_it(&server, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_counted_exactly() {
    let server = TestServer::start().await;
    let hidden = hidden(&server);
    for (what, body) in [
        ("a chunk without an end of its size", format!("2 {{}}\r\n0\r\n\r\n{hidden}")),
        ("a size beyond all numbers", format!("FFFFFFFFFFFFFFFFF\r\n{{}}\r\n0\r\n\r\n{hidden}")),
        ("a size that is none", format!("zz\r\n{{}}\r\n0\r\n\r\n{hidden}")),
        ("a chunk that is longer than it says", format!("1\r\n{{}}\r\n0\r\n\r\n{hidden}")),
    ] {
        let lead = head(&server, "POST /api/v1/groups");
        let request = format!("{lead}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let said = raw(&server, request.as_bytes()).await;
        let statuses = statuses(&said);
        assert!(statuses.len() <= 1 && statuses.iter().all(|s| (400..500).contains(s)), "{what}: {said}");
        assert_nothing_came_of_it(&server, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let server = TestServer::start().await;
    let long = "a".repeat(drydock_server::limits::HEADER_MAX_BYTES * 2);
    let many: String = (0..2000).map(|i| format!("X-{i}: a\r\n")).collect();
    for (what, request) in [
        ("a long header", format!("{}X-A: {long}\r\n\r\n", head(&server, "GET /api/v1/whoami"))),
        ("many headers", format!("{}{many}\r\n", head(&server, "GET /api/v1/whoami"))),
        ("a long path", format!("{}\r\n", head(&server, &format!("GET /api/v1/{long}")))),
        ("a long method", format!("{}\r\n", head(&server, &format!("{long} /api/v1/whoami")))),
    ] {
        let said = raw(&server, request.as_bytes()).await;
        let statuses = statuses(&said);
        assert!(statuses.len() <= 1 && statuses.iter().all(|s| (400..500).contains(s)), "{what}: {statuses:?}");
        assert_eq!(server.admin.get("/whoami").await.status, 200, "{what}: the server goes on");
    }
    // Over HTTP/2 the same.
    let refused = server.admin.request("GET", "/whoami").header("x-a", &long).send().await;
    assert!(refused.map_or(true, |answer| answer.status().is_client_error()));
    assert_eq!(server.admin.get("/whoami").await.status, 200);
}
