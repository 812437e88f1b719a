//! Exceptions: vulnerabilities that are accepted for a while; and the days that vulnerabilities have to be closed in.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Page};
use drydock_domain::advisory::exception::{Exception, ExceptionEdit, ExceptionSpec, ScopeSpec};
use drydock_domain::advisory::sla::Sla;
use http::{HeaderValue, StatusCode};

use super::advisories::time;
use super::csv;
use super::error::Result;
use super::extract::{Caller, Params, StrictJson};
use crate::state::AppState;

/// Exceptions, newest first; ended ones too. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/vulnerability-exceptions", tag = "vulnerabilities",
    operation_id = "listVulnerabilityExceptions",
    params(("format" = Option<String>, Query, description = "json or csv")),
    responses((status = 200, body = Page<Exception>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let as_csv = csv::wanted(&mut params)?;
    params.finish()?;
    let items = state.control.list_exceptions(&caller.ctx).await?;
    if as_csv {
        let header = ["id", "cve", "scope", "hosts", "owner", "reason", "until", "expired", "createdBy", "createdAt"];
        return Ok(csv::file("exceptions", &header, items.into_iter().map(row)));
    }
    Ok(Json(Page { items, next_cursor: None }).into_response())
}

fn row(e: Exception) -> Vec<String> {
    let scope = match e.scope {
        ScopeSpec::All {} => "all".to_owned(),
        ScopeSpec::Instance(name) => format!("instance {name}"),
        ScopeSpec::Group(name) => format!("group {name}"),
        ScopeSpec::Label { key, value } => format!("label {key}={value}"),
    };
    vec![
        e.id.to_string(),
        e.cve,
        scope,
        e.hosts.to_string(),
        e.owner,
        e.reason,
        time(Some(e.until)),
        e.expired.to_string(),
        e.created_by,
        time(Some(e.created_at)),
    ]
}

/// Accepts a vulnerability on some hosts until a time. It is no longer listed as open there, nor overdue, until then.
#[utoipa::path(post, path = "/api/v1/vulnerability-exceptions", tag = "vulnerabilities",
    operation_id = "createVulnerabilityException", request_body = ExceptionSpec,
    responses((status = 201, body = Exception), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<ExceptionSpec>,
) -> Result<Response> {
    params.finish()?;
    let made = state.control.create_exception(&caller.ctx, spec).await?;
    let location = format!("/api/v1/vulnerability-exceptions/{}", made.id);
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One exception.
#[utoipa::path(get, path = "/api/v1/vulnerability-exceptions/{id}", tag = "vulnerabilities",
    operation_id = "getVulnerabilityException", params(("id" = String, Path)),
    responses((status = 200, body = Exception), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<Exception>> {
    params.finish()?;
    Ok(Json(state.control.get_exception(&caller.ctx, &id).await?))
}

/// Changes who answers for an exception, why, or until when; what is absent stays.
#[utoipa::path(patch, path = "/api/v1/vulnerability-exceptions/{id}", tag = "vulnerabilities",
    operation_id = "editVulnerabilityException", params(("id" = String, Path)), request_body = ExceptionEdit,
    responses((status = 200, body = Exception), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<ExceptionEdit>,
) -> Result<Json<Exception>> {
    params.finish()?;
    Ok(Json(state.control.edit_exception(&caller.ctx, &id, edit).await?))
}

/// Takes an exception back: what it covered counts again at once.
#[utoipa::path(delete, path = "/api/v1/vulnerability-exceptions/{id}", tag = "vulnerabilities",
    operation_id = "deleteVulnerabilityException", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_exception(&caller.ctx, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Days that vulnerabilities have to be closed in, by severity.
#[utoipa::path(get, path = "/api/v1/vulnerability-sla", tag = "vulnerabilities", operation_id = "getVulnerabilitySla",
    responses((status = 200, body = Sla), (status = "default", body = ApiError)))]
pub async fn sla(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Sla>> {
    params.finish()?;
    Ok(Json(state.control.vulnerability_sla(&caller.ctx).await?))
}

/// Sets all of them: a severity that is absent has no clock.
#[utoipa::path(put, path = "/api/v1/vulnerability-sla", tag = "vulnerabilities", operation_id = "setVulnerabilitySla",
    request_body = Sla, responses((status = 200, body = Sla), (status = "default", body = ApiError)))]
pub async fn set_sla(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(sla): StrictJson<Sla>,
) -> Result<Json<Sla>> {
    params.finish()?;
    Ok(Json(state.control.set_vulnerability_sla(&caller.ctx, sla).await?))
}
