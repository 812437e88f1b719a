//! Bills of materials of instances, and how vulnerabilities stand there: CycloneDX documents.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::ApiError;
use drydock_domain::bom::MEDIA_TYPE;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::error::Result;
use super::extract::{Caller, Params};
use crate::state::AppState;

/// What is installed on an instance, as a CycloneDX 1.6 bill of materials. The same until something else is installed.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/sbom", tag = "instances", operation_id = "getInstanceSbom",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/vnd.cyclonedx+json"),
        (status = "default", body = ApiError)))]
pub async fn sbom(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(document(&state.control.instance_sbom(&caller.ctx, &id).await?))
}

/// Vulnerabilities that are open on an instance, accepted ones too, as CycloneDX 1.6 VEX that refers to its bill of materials.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/vex", tag = "instances", operation_id = "getInstanceVex",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/vnd.cyclonedx+json"),
        (status = "default", body = ApiError)))]
pub async fn vex(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(document(&state.control.instance_vex(&caller.ctx, &id).await?))
}

fn document(value: &Value) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], value.to_string()).into_response()
}
