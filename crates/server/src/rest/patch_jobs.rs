//! Patch jobs and tasks.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, CancelPatchJob, Page, PatchJob, PatchTask, PatchTaskDetail, RerunPatchJob};
use drydock_control::JobView;
use drydock_control::records::{JobQuery, TaskQuery};
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, idempotency_key, parse_json, read_body};
use super::{encode, split_verb, with_etag};
use crate::state::AppState;

fn answer(status: StatusCode, view: JobView) -> Response {
    let job = encode::job(view);
    with_etag(&job.etag, (status, Json(&job)).into_response())
}

fn created(view: JobView) -> Response {
    let location = format!("/api/v1/patch-jobs/{}", view.record.id);
    let mut response = answer(StatusCode::CREATED, view);
    if let Ok(value) = http::HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    response
}

/// Patch jobs, newest first.
#[utoipa::path(get, path = "/api/v1/patch-jobs", tag = "patch", operation_id = "listPatchJobs",
    params(("state" = Option<JobState>, Query, description = "Only this state"),
        ("instance" = Option<InstanceId>, Query, description = "Only jobs with a task of this instance"),
        ("patchDeployment" = Option<String>, Query, description = "Only runs of the patch deployment with this name"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PatchJob>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<PatchJob>>> {
    let query = JobQuery {
        state: params.parsed("state", "a state of patch jobs, for example PATCHING", JobState::parse)?,
        instance: params.parsed("instance", "an instance id", |t| t.parse::<InstanceId>().ok())?,
        deployment: params.one("patchDeployment")?,
        page: params.page()?,
    };
    params.finish()?;
    Ok(Json(encode::page(state.control.list_patch_jobs(&caller.ctx, &query).await?, encode::job)))
}

/// Starts a patch job.
#[utoipa::path(post, path = "/api/v1/patch-jobs", tag = "patch", operation_id = "createPatchJob",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 128 visible ASCII characters, remembered for 24 hours: the same key and body give the same job")),
    request_body = PatchJobSpec,
    responses((status = 201, body = PatchJob, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<PatchJobSpec>,
) -> Result<Response> {
    params.finish()?;
    let key = idempotency_key(&headers)?;
    let job = state.control.create_patch_job(&caller.ctx, spec, key.as_deref()).await?;
    Ok(created(job))
}

/// One patch job.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}", tag = "patch", operation_id = "getPatchJob",
    params(("id" = JobId, Path)),
    responses((status = 200, body = PatchJob, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(answer(StatusCode::OK, state.control.get_patch_job(&caller.ctx, id.parse::<JobId>()?).await?))
}

/// `:cancel` and `:rerun`.
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    match verb {
        "cancel" => {
            let id = id.parse::<JobId>()?;
            let body = read_body(request).await?;
            let ask: CancelPatchJob = if body.is_empty() { CancelPatchJob::default() } else { parse_json(&body)? };
            Ok(answer(StatusCode::OK, state.control.cancel_patch_job(&caller.ctx, id, ask.kill).await?))
        }
        "rerun" => {
            let id = id.parse::<JobId>()?;
            let key = idempotency_key(&headers)?;
            let body = read_body(request).await?;
            let ask: RerunPatchJob = if body.is_empty() { RerunPatchJob::default() } else { parse_json(&body)? };
            Ok(created(state.control.rerun_patch_job(&caller.ctx, id, ask.all_hosts, key.as_deref()).await?))
        }
        _ => Err(Failure::not_found(format!("patch jobs have no {verb:?}; there are :cancel and :rerun"))),
    }
}

/// Cancels a patch job: hosts stop before their next step, with `kill` at once.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:cancel", tag = "patch", operation_id = "cancelPatchJob",
    params(("id" = JobId, Path)), request_body = Option<CancelPatchJob>,
    responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn cancel() {}

/// Runs an ended patch job again: a new job with the same settings over the hosts where it did not succeed, as far as they
/// are active still. How many they are does not matter.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:rerun", tag = "patch", operation_id = "rerunPatchJob",
    params(("id" = JobId, Path), ("Idempotency-Key" = Option<String>, Header,
        description = "1 to 128 visible ASCII characters, remembered for 24 hours: the same key and body give the same job")),
    request_body = Option<RerunPatchJob>,
    responses((status = 201, body = PatchJob, headers(("ETag" = String))), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn rerun() {}

/// Tasks of a patch job, by instance name.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/tasks", tag = "patch", operation_id = "listPatchTasks",
    params(("id" = JobId, Path),
        ("state" = Option<TaskState>, Query, description = "Only this state"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PatchTask>), (status = "default", body = ApiError)))]
pub async fn tasks(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PatchTask>>> {
    let query = TaskQuery {
        state: params.parsed("state", "a state of patch tasks, for example FAILED", TaskState::parse)?,
        page: params.page()?,
        ..TaskQuery::default()
    };
    params.finish()?;
    let tasks = state.control.list_tasks(&caller.ctx, id.parse::<JobId>()?, &query).await?;
    Ok(Json(encode::page(tasks, encode::task)))
}

/// One task with the host's whole report.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/tasks/{taskId}", tag = "patch", operation_id = "getPatchTask",
    params(("id" = JobId, Path), ("taskId" = TaskId, Path)),
    responses((status = 200, body = PatchTaskDetail), (status = "default", body = ApiError)))]
pub async fn task(
    State(state): State<AppState>,
    Path((id, task)): Path<(String, String)>,
    caller: Caller,
    params: Params,
) -> Result<Json<PatchTaskDetail>> {
    params.finish()?;
    let (id, task) = (id.parse::<JobId>()?, task.parse::<TaskId>()?);
    Ok(Json(encode::task_detail(state.control.get_task(&caller.ctx, id, task).await?)))
}
