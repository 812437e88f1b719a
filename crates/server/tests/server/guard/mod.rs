//! Everything that answers – REST, agent protocol, content, console – asks who calls and whether they may. The routes
//! come from the sources and from the OpenAPI document; each list of exceptions may only shrink.

mod agents;
pub mod bodies;
mod console;
pub mod document;
mod operations;
mod records;
mod rest;
pub mod routes;
pub mod world;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt;

/// Every method that a route could answer.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
/// Paths for everybody: probes, the API's document, what a page of the sign-in needs, and ways to sign in. This list may only
/// shrink.
const OPEN: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/api/v1/openapi.json",
    "/assets/{name}",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
    "/api/v1/tokens:sign-in",
];
/// What of an answer is shown in messages.
const SHOWN_CHARS: usize = 200;
/// Longest body of an answer that is looked at, bytes.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What the router answers; the body only where it has an end.
#[derive(Debug)]
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Said {
    /// Status and what is said, in a few words: of a page its heading and first sentence.
    fn short(&self) -> String {
        let text = self.body.split_once("<h1>").map_or(self.body.as_str(), |(_, rest)| rest);
        let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN_CHARS).collect();
        format!("{} {words}", self.status)
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Said {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    // Events and hints come for as long as somebody listens.
    let kind = parts.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let endless = kind == "text/event-stream" || kind.starts_with("application/grpc");
    let body = if endless { Vec::new() } else { axum::body::to_bytes(body, ANSWER_MAX_BYTES).await.expect("a body").to_vec() };
    Said { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

#[test]
fn what_is_open_to_everybody_does_not_grow() {
    assert!(OPEN.len() <= 8, "OPEN may only shrink");
}
