//! Everything behind the port: REST, agent protocol, content, console, health, in one router.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode};

use crate::metrics::ContentGauges;
use crate::request::AGENT_PATH;
use crate::rest::error::{Failure, Result};
use crate::rest::extract::{Caller, Params};
use crate::state::AppState;

/// What Prometheus is told about the text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The router of one daemon.
pub fn router(state: AppState) -> Router {
    let health = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state.clone());
    // The agent service answers unknown calls itself, in gRPC's own way.
    let agents = Router::new()
        .route_service(&format!("{AGENT_PATH}{{call}}"), crate::grpc::service(state.clone()))
        .layer(from_fn(crate::grpc::gate));
    Router::new()
        .merge(crate::rest::router(state.clone()))
        .merge(health)
        .merge(agents)
        .merge(crate::content_routes::router(state.clone()))
        .merge(crate::console::router(state.clone()))
        .layer(from_fn_with_state(state.clone(), crate::identity::signed::authenticate))
        .layer(from_fn_with_state(state.clone(), crate::rates::by_address))
        .layer(from_fn_with_state(state, crate::request::surround))
        .layer(map_response(no_sniff))
}

/// Browsers guess no content types, and keep to TLS once they have seen it.
async fn no_sniff(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    response
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can work: the store answers, there is room for what it has to store, and it is not going down.
async fn readyz(State(state): State<AppState>) -> Response {
    if state.shutdown.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "going down\n").into_response();
    }
    if let Some(free) = free_bytes(&state.settings.data_dir)
        && free < crate::limits::DISK_FREE_MIN_BYTES
    {
        tracing::warn!(free, path = %state.settings.data_dir.display(), "not ready: the disk is full");
        let why = format!("the disk of the data directory is full: {} KiB are free\n", free / 1024);
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    match state.control.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(error = %crate::rest::error::chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

/// Room for the server's user on the disk of a directory; `None` when the system does not say.
pub(crate) fn free_bytes(data_dir: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(data_dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Counters and gauges, for who may read all hosts: what a fleet looks like is nobody else's business.
async fn metrics(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    state.control.may_see_metrics(&caller.ctx).await?;
    let streams = u64::from(state.settings.content_streams_max);
    let content = ContentGauges {
        streams: streams.saturating_sub(state.content_streams.available_permits() as u64),
        free_bytes: free_bytes(&state.settings.content_dir),
    };
    let text = state.metrics.render(&state.control, &content).await.map_err(Failure::from)?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_read_where_the_data_is() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(free_bytes(dir.path()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(&dir.path().join("missing")), None);
    }
}
