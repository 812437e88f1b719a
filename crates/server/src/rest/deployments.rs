//! Patch deployments and their executions.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Page, PatchDeployment, PatchExecution, SkipNextRun};
use drydock_control::store::deployments::ExecutionRecord;
use drydock_control::{DeploymentView, Movable};
use drydock_domain::patch::deployment::PatchDeploymentSpec;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, idempotency_key, if_match, read_body};
use super::{encode, moves, no_body, split_verb, with_etag};
use crate::state::AppState;

fn deployment(view: DeploymentView) -> PatchDeployment {
    let etag = view.etag();
    let r = view.record;
    PatchDeployment {
        id: r.id,
        spec: r.spec,
        state: r.state,
        paused_by: Some(r.paused_by).filter(|who| !who.is_empty()),
        next_execute_time: r.next_at,
        upcoming: view.upcoming,
        last_execute_time: r.last_at,
        last_job: r.last_job,
        compartment: r.compartment,
        failed: view.failed,
        created_by: r.created_by,
        created_at: r.created_at,
        updated_at: r.updated_at,
        etag,
    }
}

fn execution(r: ExecutionRecord) -> PatchExecution {
    PatchExecution { id: r.id, due_at: r.due_at, at: r.at, outcome: r.outcome, reason: r.reason, who: r.who, job: r.job }
}

fn answer(status: StatusCode, view: DeploymentView) -> Response {
    let shown = deployment(view);
    with_etag(&shown.etag, (status, Json(&shown)).into_response())
}

/// Patch deployments by name.
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", operation_id = "listDeployments",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PatchDeployment>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<PatchDeployment>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.list_deployments(&caller.ctx, &page).await?, deployment)))
}

/// Makes a patch deployment: patch jobs on a schedule, once or again and again.
#[utoipa::path(post, path = "/api/v1/deployments", tag = "deployments", operation_id = "createDeployment",
    request_body = PatchDeploymentSpec,
    responses((status = 201, body = PatchDeployment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<PatchDeploymentSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_deployment(&caller.ctx, spec).await?;
    let location = format!("/api/v1/deployments/{}", view.record.spec.name);
    let mut response = answer(StatusCode::CREATED, view);
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One patch deployment with its next runs.
#[utoipa::path(get, path = "/api/v1/deployments/{name}", tag = "deployments", operation_id = "getDeployment",
    params(("name" = String, Path)),
    responses((status = 200, body = PatchDeployment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(name): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(answer(StatusCode::OK, state.control.get_deployment(&caller.ctx, &name).await?))
}

/// Replaces a deployment's spec; the name never changes. A schedule that changes counts from now.
#[utoipa::path(put, path = "/api/v1/deployments/{name}", tag = "deployments", operation_id = "editDeployment",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = PatchDeploymentSpec,
    responses((status = 200, body = PatchDeployment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<PatchDeploymentSpec>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    Ok(answer(StatusCode::OK, state.control.edit_deployment(&caller.ctx, &name, spec, if_match.as_deref()).await?))
}

/// Deletes a deployment with the list of its executions. Its jobs stay, and go on.
#[utoipa::path(delete, path = "/api/v1/deployments/{name}", tag = "deployments", operation_id = "deleteDeployment",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_deployment(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What became of its runs, newest first: started, waiting, skipped (and why), missed.
#[utoipa::path(get, path = "/api/v1/deployments/{name}/executions", tag = "deployments", operation_id = "listExecutions",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PatchExecution>), (status = "default", body = ApiError)))]
pub async fn executions(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PatchExecution>>> {
    let page = params.page()?;
    params.finish()?;
    let found = state.control.list_executions(&caller.ctx, &name, &page).await?;
    Ok(Json(encode::page(found, execution)))
}

/// `:pause`, `:resume`, `:run` and `:skip-next`.
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let (name, verb) = split_verb(&target)?;
    let body = read_body(request).await?;
    let view = match verb {
        "pause" => {
            no_body(&body)?;
            state.control.pause_deployment(&caller.ctx, name).await?
        }
        "resume" => {
            no_body(&body)?;
            state.control.resume_deployment(&caller.ctx, name).await?
        }
        "skip-next" => {
            let ask: SkipNextRun = if body.is_empty() { SkipNextRun::default() } else { caller.parse(&body)? };
            state.control.skip_next_run(&caller.ctx, name, ask.execute_time).await?
        }
        "run" => {
            no_body(&body)?;
            let key = idempotency_key(&headers)?;
            let run = state.control.run_deployment(&caller.ctx, name, key.as_deref()).await?;
            return Ok((StatusCode::CREATED, Json(execution(run))).into_response());
        }
        "move" => return Ok(moves::moved(&state, &caller, Movable::Deployment, name, &body).await?.into_response()),
        _ => {
            let text = format!("deployments have no {verb:?}; there are :pause, :resume, :run, :skip-next and :move");
            return Err(Failure::not_found(text));
        }
    };
    Ok(answer(StatusCode::OK, view))
}

/// Leaves out every run that becomes due until somebody resumes. Jobs that were started go on.
#[utoipa::path(post, path = "/api/v1/deployments/{name}:pause", tag = "deployments", operation_id = "pauseDeployment",
    params(("name" = String, Path)),
    responses((status = 200, body = PatchDeployment), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn pause() {}

/// Lets a paused deployment run again, from its next run on.
#[utoipa::path(post, path = "/api/v1/deployments/{name}:resume", tag = "deployments", operation_id = "resumeDeployment",
    params(("name" = String, Path)),
    responses((status = 200, body = PatchDeployment), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn resume() {}

/// Starts a run now; the schedule stays as it is. Refused while an earlier one is not finished, unless the deployment's
/// overlap is `queue` (then it waits) or `parallel`.
#[utoipa::path(post, path = "/api/v1/deployments/{name}:run", tag = "deployments", operation_id = "runDeployment",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header,
        description = "1 to 128 visible ASCII characters, remembered for 24 hours: the same key gives the same execution")),
    responses((status = 201, body = PatchExecution), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn run() {}

/// Leaves out the next run by the schedule.
#[utoipa::path(post, path = "/api/v1/deployments/{name}:skip-next", tag = "deployments", operation_id = "skipNextRun",
    params(("name" = String, Path)), request_body = Option<SkipNextRun>,
    responses((status = 200, body = PatchDeployment), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn skip_next() {}
