//! Background work on sources, collection of what nobody needs, and the keys that sign repositories.

use axum::Json;
use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, CollectReport, ContentJob, ContentJobDetail, Page, RepositoryKeys};
use drydock_control::{ContentJobQuery, KeyRotation};
use drydock_domain::ids::ContentJobId;
use drydock_domain::source::job::{ContentJobKind, ContentJobState};

use super::encode_content as encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params};
use super::{no_body, split_verb};
use crate::state::AppState;

/// Content jobs, newest first.
#[utoipa::path(get, path = "/api/v1/content-jobs", tag = "content", operation_id = "listContentJobs",
    params(("kind" = Option<ContentJobKind>, Query, description = "Only this kind"),
        ("state" = Option<ContentJobState>, Query, description = "Only this state"),
        ("source" = Option<String>, Query, description = "Only jobs of this source"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<ContentJob>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<ContentJob>>> {
    let query = ContentJobQuery {
        kind: params.parsed("kind", "SYNC, DERIVE, UPLOAD, IMPORT or COLLECT", ContentJobKind::parse)?,
        state: params.parsed("state", "a state of content jobs, for example RUNNING", ContentJobState::parse)?,
        source: params.one("source")?,
        page: params.page()?,
    };
    params.finish()?;
    Ok(Json(super::encode::page(state.control.list_content_jobs(&caller.ctx, &query).await?, encode::content_job)))
}

/// One content job with what it noted.
#[utoipa::path(get, path = "/api/v1/content-jobs/{id}", tag = "content", operation_id = "getContentJob",
    params(("id" = ContentJobId, Path)),
    responses((status = 200, body = ContentJobDetail), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<ContentJobDetail>> {
    params.finish()?;
    let id = id.parse::<ContentJobId>()?;
    Ok(Json(encode::content_job_detail(state.control.get_content_job(&caller.ctx, id).await?)))
}

/// Cancels a content job. Nothing of it becomes visible.
#[utoipa::path(post, path = "/api/v1/content-jobs/{id}:cancel", tag = "content", operation_id = "cancelContentJob",
    params(("id" = ContentJobId, Path)),
    responses((status = 200, body = ContentJobDetail), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Json<ContentJobDetail>> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    if verb != "cancel" {
        return Err(Failure::not_found(format!("content jobs have no {verb:?}; there is :cancel")));
    }
    no_body(&body)?;
    let id = id.parse::<ContentJobId>()?;
    Ok(Json(encode::content_job_detail(state.control.cancel_content_job(&caller.ctx, id).await?)))
}

/// Frees what no snapshot needs any more; with `dryRun=true` says what would be freed, and why other things are kept.
#[utoipa::path(post, path = "/api/v1/content:collect", tag = "content", operation_id = "collectContent",
    params(("dryRun" = Option<bool>, Query, description = "Free nothing; false when absent")),
    responses((status = 200, body = CollectReport), (status = "default", body = ApiError)))]
pub async fn collect(
    State(state): State<AppState>,
    caller: Caller,
    mut params: Params,
    body: bytes::Bytes,
) -> Result<Json<CollectReport>> {
    let dry_run = params.parsed("dryRun", "true or false", |t| t.parse::<bool>().ok())?.unwrap_or(false);
    params.finish()?;
    no_body(&body)?;
    Ok(Json(encode::collected(state.control.collect_garbage(&caller.ctx, dry_run).await?)))
}

/// The public keys of this server's repositories.
#[utoipa::path(get, path = "/api/v1/repository-keys", tag = "content", operation_id = "listRepositoryKeys",
    responses((status = 200, body = RepositoryKeys), (status = "default", body = ApiError)))]
pub async fn keys(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<RepositoryKeys>> {
    params.finish()?;
    Ok(Json(encode::repository_keys(state.control.repository_keys(&caller.ctx).await?)))
}

async fn rotate(
    state: &AppState,
    caller: &Caller,
    params: Params,
    body: &[u8],
    step: KeyRotation,
) -> Result<Json<RepositoryKeys>> {
    params.finish()?;
    no_body(body)?;
    Ok(Json(encode::repository_keys(state.control.rotate_repository_key(&caller.ctx, step).await?)))
}

/// First step of changing the key: makes a new one and tells the hosts; the old one goes on signing.
#[utoipa::path(post, path = "/api/v1/repository-keys:prepare", tag = "content", operation_id = "prepareRepositoryKey",
    responses((status = 200, body = RepositoryKeys), (status = "default", body = ApiError)))]
pub async fn prepare_key(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Json<RepositoryKeys>> {
    rotate(&state, &caller, params, &body, KeyRotation::Prepare).await
}

/// Second step: the new key signs; the old one stays known to the hosts.
#[utoipa::path(post, path = "/api/v1/repository-keys:switch", tag = "content", operation_id = "switchRepositoryKey",
    responses((status = 200, body = RepositoryKeys), (status = "default", body = ApiError)))]
pub async fn switch_key(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Json<RepositoryKeys>> {
    rotate(&state, &caller, params, &body, KeyRotation::Switch).await
}

/// Last step: the old key is forgotten.
#[utoipa::path(post, path = "/api/v1/repository-keys:retire", tag = "content", operation_id = "retireRepositoryKey",
    responses((status = 200, body = RepositoryKeys), (status = "default", body = ApiError)))]
pub async fn retire_key(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Json<RepositoryKeys>> {
    rotate(&state, &caller, params, &body, KeyRotation::Retire).await
}
