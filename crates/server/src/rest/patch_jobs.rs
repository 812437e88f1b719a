//! Patch jobs and tasks.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, ApprovePatchJob, BarredVersion, CancelPatchJob, HaltPatchJob, LiftBars, LiftedBars, Page, PatchJob, PatchTask,
    PatchTaskDetail, RerunPatchJob, ResumePatchJob, UndoPatchJob, UndoPreview,
};
use drydock_control::records::{JobQuery, TaskQuery};
use drydock_control::store::undo::BarQuery;
use drydock_control::{JobView, UndoAsk};
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::RolloutPlan;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, idempotency_key, read_body};
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
        "cancel" => control.cancel_patch_job(ctx, id, or_default::<CancelPatchJob>(&caller, &body)?.kill).await?,
        "rerun" => {
            let key = idempotency_key(&headers)?;
            let ask: RerunPatchJob = or_default(&caller, &body)?;
            return Ok(created(control.rerun_patch_job(ctx, id, ask.all_hosts, key.as_deref()).await?));
        }
        "undo" => {
            let key = idempotency_key(&headers)?;
            let UndoPatchJob { instances, dry_run, skip_refused } = or_default(&caller, &body)?;
            let ask = UndoAsk { instances, dry_run, skip_refused };
            return Ok(created(control.undo_patch_job(ctx, id, ask, key.as_deref()).await?));
        }
        "pause" => {
            no_body(&body)?;
            control.pause_patch_job(ctx, id).await?
        }
        "resume" => control.resume_patch_job(ctx, id, or_default::<ResumePatchJob>(&caller, &body)?.rollout).await?,
        "halt" => control.halt_patch_job(ctx, id, &or_default::<HaltPatchJob>(&caller, &body)?.reason).await?,
        "abort" => {
            no_body(&body)?;
            control.abort_patch_job(ctx, id).await?
        }
        _ => control.approve_patch_job(ctx, id, or_default::<ApprovePatchJob>(&caller, &body)?.wave.as_deref()).await?,
    };
    Ok(answer(StatusCode::OK, view))
}

/// What may be done to a patch job.
const VERBS: [&str; 8] = ["cancel", "rerun", "undo", "pause", "resume", "halt", "abort", "approve"];

fn or_default<T: serde::de::DeserializeOwned + Default>(caller: &Caller, body: &[u8]) -> Result<T> {
    if body.is_empty() { Ok(T::default()) } else { caller.parse(body) }
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

/// Takes a patch job back: a new job that gives its hosts exactly what they had before, and bars what it takes away until
/// somebody lifts that. Nothing begins where a host refuses, unless those are to be left out.
#[utoipa::path(post, path = "/api/v1/patch-jobs/{id}:undo", tag = "patch", operation_id = "undoPatchJob",
    params(("id" = JobId, Path), ("Idempotency-Key" = Option<String>, Header,
        description = "1 to 128 visible ASCII characters, remembered for 24 hours: the same key and body give the same job")),
    request_body = Option<UndoPatchJob>,
    responses((status = 201, body = PatchJob), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn undo() {}

/// What taking a patch job back means to each host that it changed: what moves, or why it cannot be done exactly.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/undo", tag = "patch", operation_id = "previewUndo",
    params(("id" = JobId, Path), ("instance" = Option<String>, Query, description = "Only this host of the job, by name or id")),
    responses((status = 200, body = Vec<UndoPreview>), (status = "default", body = ApiError)))]
pub async fn undo_preview(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Vec<UndoPreview>>> {
    let hosts: Vec<String> = params.one("instance")?.into_iter().collect();
    params.finish()?;
    let hosts = state.control.preview_undo(&caller.ctx, id.parse::<JobId>()?, &hosts).await?;
    Ok(Json(hosts.into_iter().map(encode::undo_host).collect()))
}

/// Versions that were taken back and are barred on hosts, newest first.
#[utoipa::path(get, path = "/api/v1/barred-versions", tag = "patch", operation_id = "listBarredVersions",
    params(("instance" = Option<String>, Query, description = "Of this host, by name or id"),
        ("job" = Option<JobId>, Query, description = "Set by this job"),
        ("name" = Option<String>, Query, description = "Of this package"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<BarredVersion>), (status = "default", body = ApiError)))]
pub async fn bars(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<BarredVersion>>> {
    let host = params.one("instance")?;
    let job = params.parsed("job", "a patch job id", |t| t.parse::<JobId>().ok())?;
    let (name, page) = (params.one("name")?, params.page()?);
    params.finish()?;
    let instance = instance_of(&state, &caller, host.as_deref()).await?;
    let query = BarQuery { instance, job, name, page };
    Ok(Json(encode::page(state.control.list_bars(&caller.ctx, &query).await?, encode::bar)))
}

/// Lets versions come back to hosts.
#[utoipa::path(post, path = "/api/v1/barred-versions:lift", tag = "patch", operation_id = "liftBarredVersions",
    request_body = LiftBars, responses((status = 200, body = LiftedBars), (status = "default", body = ApiError)))]
pub async fn lift_bars(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<LiftBars>,
) -> Result<Json<LiftedBars>> {
    params.finish()?;
    let instance = instance_of(&state, &caller, ask.instance.as_deref()).await?;
    let query = BarQuery { instance, job: ask.job, name: ask.name, ..BarQuery::default() };
    Ok(Json(LiftedBars { lifted: state.control.lift_bars(&caller.ctx, &query).await? }))
}

async fn instance_of(state: &AppState, caller: &Caller, host: Option<&str>) -> Result<Option<InstanceId>> {
    match host {
        Some(host) => Ok(Some(state.control.get_instance(&caller.ctx, host).await?.record.id)),
        None => Ok(None),
    }
}

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
