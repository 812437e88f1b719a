//! Software sources.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, ContentJob, Page, SnapshotDiff, Source, UnitPage};
use drydock_control::{Movable, SourceQuery, SourceView};
use drydock_domain::source::spec::SourceSpec;
use drydock_domain::source::unit::Format;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::encode_content as encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, if_match};
use super::{moves, no_body, snapshots, split_verb, with_etag};
use crate::state::AppState;

/// The newest snapshot, as a selector.
const LATEST: &str = "latest";

fn answer(status: StatusCode, view: SourceView) -> Response {
    let source = encode::source(view);
    with_etag(&source.etag, (status, Json(&source)).into_response())
}

/// Software sources by name.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources", operation_id = "listSources",
    params(("format" = Option<Format>, Query, description = "Only rpm or only deb"),
        ("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<Source>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<Source>>> {
    let query = SourceQuery {
        format: params.parsed("format", "rpm or deb", Format::parse)?,
        name_contains: params.one("q")?.unwrap_or_default(),
        page: params.page()?,
    };
    params.finish()?;
    Ok(Json(super::encode::page(state.control.list_sources(&caller.ctx, &query).await?, encode::source)))
}

/// Makes a software source. One with an upstream is synced soon after.
#[utoipa::path(post, path = "/api/v1/sources", tag = "sources", operation_id = "createSource",
    request_body = SourceSpec,
    responses((status = 201, body = Source, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<SourceSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_source(&caller.ctx, spec).await?;
    let location = format!("/api/v1/sources/{}", view.spec.name);
    let mut response = answer(StatusCode::CREATED, view);
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

/// One software source.
#[utoipa::path(get, path = "/api/v1/sources/{name}", tag = "sources", operation_id = "getSource",
    params(("name" = String, Path)),
    responses((status = 200, body = Source, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Response> {
    if let Some((name, verb)) = target.split_once(':') {
        if verb != "diff" {
            return Err(Failure::not_found(format!("sources have no {verb:?} to read; there is :diff")));
        }
        let (from, to) = (required(&mut params, "from")?, params.one("to")?.unwrap_or_else(|| LATEST.to_owned()));
        let limit = params.limit()?;
        params.finish()?;
        let found = state.control.snapshot_diff(&caller.ctx, name, &from, &to, limit).await?;
        return Ok(Json(encode::diff(found)).into_response());
    }
    params.finish()?;
    Ok(answer(StatusCode::OK, state.control.get_source(&caller.ctx, &target).await?))
}

fn required(params: &mut Params, name: &str) -> Result<String> {
    params.one(name)?.ok_or_else(|| Failure::field(name, "is missing"))
}

/// What differs between two snapshots of a source. A snapshot is named by number, id, `latest`, `as-of:<time>` or the
/// name of an environment that points at it.
#[utoipa::path(get, path = "/api/v1/sources/{name}:diff", tag = "sources", operation_id = "diffSnapshots",
    params(("name" = String, Path), ("from" = String, Query, description = "The older snapshot"),
        ("to" = Option<String>, Query, description = "The newer snapshot; `latest` when absent"),
        ("limit" = Option<u32>, Query, description = "Differences to show, 1 to 1000; 100 when absent")),
    responses((status = 200, body = SnapshotDiff), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn diff() {}

/// Replaces a source's spec. Name and format never change; a client key or a proxy password that is left out stays.
#[utoipa::path(put, path = "/api/v1/sources/{name}", tag = "sources", operation_id = "editSource",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = SourceSpec,
    responses((status = 200, body = Source, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<SourceSpec>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    Ok(answer(StatusCode::OK, state.control.edit_source(&caller.ctx, &name, spec, if_match.as_deref()).await?))
}

/// Deletes a source with its snapshots. Refused while anything is attached to it or takes from it.
#[utoipa::path(delete, path = "/api/v1/sources/{name}", tag = "sources", operation_id = "deleteSource",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_source(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Syncs a source now, in the background. A sync that is open already is answered again.
#[utoipa::path(post, path = "/api/v1/sources/{name}:sync", tag = "sources", operation_id = "syncSource",
    params(("name" = String, Path)),
    responses((status = 202, body = ContentJob), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Response> {
    params.finish()?;
    let (name, verb) = split_verb(&target)?;
    if verb == "move" {
        caller.ctx.notes.asked(&body);
        return Ok(moves::moved(&state, &caller, Movable::Source, name, &body).await?.into_response());
    }
    if verb != "sync" {
        return Err(Failure::not_found(format!("sources have no {verb:?} to do; there are :sync and :move")));
    }
    no_body(&body)?;
    let job = state.control.sync_source(&caller.ctx, name).await?;
    Ok((StatusCode::ACCEPTED, Json(encode::content_job(job))).into_response())
}

/// Packages of the newest snapshot.
#[utoipa::path(get, path = "/api/v1/sources/{name}/packages", tag = "sources", operation_id = "listSourcePackages",
    params(("name" = String, Path), ("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("index" = Option<String>, Query, description = "Only this index (deb), for example main/amd64"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = UnitPage), (status = "default", body = ApiError)))]
pub async fn packages(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<UnitPage>> {
    snapshots::units_of(&state, &caller, &name, LATEST, params).await
}
