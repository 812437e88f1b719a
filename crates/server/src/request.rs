//! What surrounds every request: its id, its time limit, its access log line, its counters, and the one error shape
//! for answers that no handler made. Log lines hold the path without its query, and never a header or a body.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};

use drydock_control::{CallNotes, Control, OpCtx, Principal};

use crate::content_routes::CONTENT_PATH;
use crate::limits;
use crate::listener::Peer;
use crate::metrics::RequestLabels;
use crate::rest::error::Failure;
use crate::state::AppState;

/// Carries the request's id in both directions.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a client, bytes.
const REQUEST_ID_MAX_BYTES: usize = 64;
/// Path of the agent protocol.
pub const AGENT_PATH: &str = "/drydock.agent.v1.AgentLink/";
/// Its calls, as metric labels.
const AGENT_CALLS: [&str; 15] = [
    "Enrol",
    "Renew",
    "Attach",
    "ReportInventory",
    "PullWork",
    "ReportTask",
    "RefuseOrder",
    "AcquireRebootSlot",
    "PullSources",
    "ReportSources",
    "PullPolicies",
    "ReportPolicies",
    "IssueContentCertificate",
    "IssueAccessToken",
    "Unregister",
];

/// One request's id and, once known, its caller; an extension of every request.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Its id: the client's `X-Request-Id` when it is sensible, otherwise ours.
    pub id: String,
    /// For its audit records.
    pub notes: CallNotes,
    who: Arc<OnceLock<String>>,
}

impl RequestInfo {
    fn of(request: &Request) -> Self {
        let given = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(|id| {
            (1..=REQUEST_ID_MAX_BYTES).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        });
        let id = given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        RequestInfo { id, notes: CallNotes::of_request(), who: Arc::default() }
    }

    /// For a request that came without the outermost layer.
    pub(crate) fn unknown() -> Self {
        RequestInfo { id: "-".to_owned(), notes: CallNotes::default(), who: Arc::default() }
    }

    /// What operations take of this request.
    pub fn ctx(&self, control: &Control, who: Principal, extensions: &http::Extensions) -> OpCtx {
        let ctx = control.ctx(who, self.id.clone()).with_notes(self.notes.clone());
        match extensions.get::<Peer>() {
            Some(peer) => ctx.from_address(peer.address.ip()),
            None => ctx,
        }
    }

    /// Notes who calls, for the access log.
    pub fn set_who(&self, name: &str) {
        let _ = self.who.set(name.to_owned());
    }
}

/// The outermost layer.
pub async fn surround(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = state.metrics.begin();
    let info = RequestInfo::of(&request);
    let is_agent = request.uri().path().starts_with(AGENT_PATH);
    let limit = time_limit(&request);
    let route = route_label(&request, is_agent);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let address = request.extensions().get::<Peer>().map(|p| p.address);
    request.extensions_mut().insert(info.clone());
    let mut response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_long(is_agent, limit),
    };
    finish_error(&mut response, &info, &path);
    let failure = (response.status().is_client_error() || response.status().is_server_error()).then(|| response.status());
    state.control.audit_call_ended(&info.notes, failure.map(|s| s.to_string()).as_deref());
    if let Ok(value) = HeaderValue::from_str(&info.id) {
        response.headers_mut().insert(&REQUEST_ID, value);
    }
    let took = began.elapsed();
    let grpc_status = response.headers().get("grpc-status").and_then(|v| v.to_str().ok());
    let status = grpc_status.map_or_else(|| response.status().as_str().to_owned(), |s| format!("grpc-{s}"));
    log_access(&Access {
        request_id: &info.id,
        method: &method,
        path: &path,
        status: &status,
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        who: info.who.get().map_or("-", String::as_str),
        address: address.map(|a| a.to_string()).unwrap_or_default(),
        is_routine: is_routine(&path) && matches!(status.as_str(), "200" | "206" | "304" | "grpc-0"),
    });
    state.metrics.answered(RequestLabels { method: method_label(&method).to_owned(), route, status }, took);
    response
}

struct Access<'a> {
    request_id: &'a str,
    method: &'a http::Method,
    path: &'a str,
    status: &'a str,
    ms: u64,
    who: &'a str,
    address: String,
    is_routine: bool,
}

/// One line a request; what machines ask again and again without news is there for who wants it (level debug).
fn log_access(a: &Access<'_>) {
    let Access { request_id, method, path, status, ms, who, address, is_routine } = a;
    if *is_routine {
        tracing::debug!(target: "access", request_id, %method, path, status, ms, who, address, "request");
    } else {
        tracing::info!(target: "access", request_id, %method, path, status, ms, who, address, "request");
    }
}

/// Time to the head of the answer; what follows (events, files) has limits of its own.
fn time_limit(request: &Request) -> Duration {
    let path = request.uri().path();
    if path.starts_with(AGENT_PATH) {
        return limits::AGENT_CALL_MAX;
    }
    if path.starts_with(CONTENT_PATH) {
        return limits::CONTENT_REQUEST_MAX;
    }
    if request.method() != http::Method::POST {
        return limits::REST_REQUEST_MAX;
    }
    match path.strip_prefix("/api/v1/") {
        Some("content:collect") => limits::COLLECT_REQUEST_MAX,
        Some(rest) if rest.starts_with("sources/") && rest.ends_with("/packages") => limits::UPLOAD_REQUEST_MAX,
        Some(rest) if rest.starts_with("advisory-feeds/") => limits::UPLOAD_REQUEST_MAX,
        _ => limits::REST_REQUEST_MAX,
    }
}

/// Probes, what 50,000 agents say every few minutes, and what their package managers fetch.
fn is_routine(path: &str) -> bool {
    match path.strip_prefix(AGENT_PATH) {
        Some(call) => !matches!(call, "Enrol" | "Renew" | "IssueContentCertificate" | "Unregister"),
        None => matches!(path, "/healthz" | "/readyz" | "/metrics") || path.starts_with(CONTENT_PATH),
    }
}

/// The route's template: a bounded set, whatever paths clients try.
fn route_label(request: &Request, is_agent: bool) -> String {
    if is_agent {
        let call = request.uri().path().trim_start_matches(AGENT_PATH);
        let known = AGENT_CALLS.into_iter().find(|c| *c == call).unwrap_or("other");
        return format!("{AGENT_PATH}{known}");
    }
    request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned()
}

/// The method, if it is one of HTTP's own: anybody may invent further ones, and each label stays in memory for ever.
fn method_label(method: &http::Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn too_long(is_agent: bool, limit: Duration) -> Response {
    let message = format!("the server did not answer within {} s; try again", limit.as_secs());
    if is_agent {
        return tonic::Status::unavailable(message).into_http::<axum::body::Body>();
    }
    Failure::unavailable(StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}

/// Gives every error answer of the API its body, with the request's id; logs the reasons of our own faults.
fn finish_error(response: &mut Response, info: &RequestInfo, path: &str) {
    let status = response.status();
    let failure = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure,
        // What the router itself refused: no such path, no such method, a body too large.
        None if (status.is_client_error() || status.is_server_error()) && path.starts_with("/api/") => Failure::of_status(status),
        None => return,
    };
    failure.log(&info.id);
    *response.body_mut() = axum::body::Body::from(failure.body(&info.id));
    let headers = response.headers_mut();
    headers.remove(http::header::CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_and_collections_have_more_time_and_nothing_else_has() {
        let limit = |method: &str, path: &str| {
            let request = http::Request::builder().method(method).uri(path).body(axum::body::Body::empty());
            time_limit(&request.expect("a request"))
        };
        assert_eq!(limit("POST", "/api/v1/sources/local/packages?fileName=a.rpm"), limits::UPLOAD_REQUEST_MAX);
        assert_eq!(limit("POST", "/api/v1/advisory-feeds/almalinux8:import"), limits::UPLOAD_REQUEST_MAX);
        assert_eq!(limit("GET", "/api/v1/sources/local/packages"), limits::REST_REQUEST_MAX);
        assert_eq!(limit("POST", "/api/v1/content:collect"), limits::COLLECT_REQUEST_MAX);
        assert_eq!(limit("POST", "/api/v1/sources"), limits::REST_REQUEST_MAX);
        assert_eq!(limit("GET", "/content/prod/ol9/repodata/repomd.xml"), limits::CONTENT_REQUEST_MAX);
        assert_eq!(limit("POST", "/drydock.agent.v1.AgentLink/PullWork"), limits::AGENT_CALL_MAX);
    }

    #[test]
    fn an_invented_method_makes_no_label_of_its_own() {
        let label = |method: &str| method_label(&http::Method::from_bytes(method.as_bytes()).expect("a method"));
        assert_eq!(["GET", "PATCH", "INVENTED-1", "get"].map(label), ["GET", "PATCH", "other", "other"]);
    }
}
