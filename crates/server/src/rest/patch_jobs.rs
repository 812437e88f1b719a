//! Patch jobs and tasks.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, ApprovePatchJob, CancelPatchJob, HaltPatchJob, Page, PatchJob, PatchTask, PatchTaskDetail, RerunPatchJob,
    ResumePatchJob,
};
use drydock_control::JobView;
use drydock_control::records::{JobQuery, TaskQuery};
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::RolloutPlan;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, idempotency_key, parse_json, read_body};
use super::{encode, no_body, split_verb, with_etag};
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

/// `:cancel`, `:rerun` and what steers a rollout.
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
    let control = &state.control;
    let ctx = &caller.ctx;
    if !VERBS.contains(&verb) {
        let known = VERBS.join(", :");
        return Err(Failure::not_found(format!("patch jobs have no {verb:?}; there are :{known}")));
    }
    let id = id.parse::<JobId>()?;
    let body = read_body(request).await?;
    let view = match verb {
        "cancel" => control.cancel_patch_job(ctx, id, or_default::<CancelPatchJob>(&body)?.kill).await?,
        "rerun" => {
            let key = idempotency_key(&headers)?;
            let ask: RerunPatchJob = or_default(&body)?;
            return Ok(created(control.rerun_patch_job(ctx, id, ask.all_hosts, key.as_deref()).await?));
        }
        "pause" => {
            no_body(&body)?;
            control.pause_patch_job(ctx, id).await?
        }
        "resume" => control.resume_patch_job(ctx, id, or_default::<ResumePatchJob>(&body)?.rollout).await?,
        "halt" => control.halt_patch_job(ctx, id, &or_default::<HaltPatchJob>(&body)?.reason).await?,
        "abort" => {
            no_body(&body)?;
            control.abort_patch_job(ctx, id).await?
        }
        _ => control.approve_patch_job(ctx, id, or_default::<ApprovePatchJob>(&body)?.wave.as_deref()).await?,
    };
    Ok(answer(StatusCode::OK, view))
}

/// What may be done to a patch job.
const VERBS: [&str; 7] = ["cancel", "rerun", "pause", "resume", "halt", "abort", "approve"];

fn or_default<T: serde::de::DeserializeOwned + Default>(body: &[u8]) -> Result<T> {
    if body.is_empty() { Ok(T::default()) } else { parse_json(body) }
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

/// Pauses a patch job: hosts at work go on, no other is let go.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:pause", tag = "patch", operation_id = "pausePatchJob",
    params(("id" = JobId, Path)), responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn pause() {}

/// Ends a pause or a halt; failures up to now count no more. With `rollout`, hosts that have not begun are laid out anew.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:resume", tag = "patch", operation_id = "resumePatchJob",
    params(("id" = JobId, Path)), request_body = Option<ResumePatchJob>,
    responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn resume() {}

/// Halts a patch job as a failed wave would, until somebody resumes or aborts it.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:halt", tag = "patch", operation_id = "haltPatchJob",
    params(("id" = JobId, Path)), request_body = Option<HaltPatchJob>,
    responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn halt() {}

/// Ends a patch job: hosts that have not begun are out, the others finish their step.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:abort", tag = "patch", operation_id = "abortPatchJob",
    params(("id" = JobId, Path)), responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn abort() {}

/// Approves the start of a patch job (by another person than the one who asked for it), or what follows a wave.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:approve", tag = "patch", operation_id = "approvePatchJob",
    params(("id" = JobId, Path)), request_body = Option<ApprovePatchJob>,
    responses((status = 200, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn approve() {}

/// Every rollout plan that a patch job had, oldest first.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/plans", tag = "patch", operation_id = "listPatchJobPlans",
    params(("id" = JobId, Path)),
    responses((status = 200, body = Vec<RolloutPlan>), (status = "default", body = ApiError)))]
pub async fn plans(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<RolloutPlan>>> {
    params.finish()?;
    Ok(Json(state.control.patch_job_plans(&caller.ctx, id.parse::<JobId>()?).await?))
}

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
