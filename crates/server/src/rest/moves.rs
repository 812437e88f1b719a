//! `:move` of everything that has a name and lies in a compartment, the same for all. Instances, groups and enrolment profiles
//! have theirs beside their other verbs.

use axum::Json;
use axum::extract::{Path, Request, State};
use drydock_api::rest::{ApiError, MoveTo};
use drydock_control::Movable;

use super::error::{Failure, Result};
use super::extract::{Caller, Params, read_body};
use super::split_verb;
use crate::state::AppState;

/// Moves a thing; `body` says where to. The answer is where it lies now.
pub async fn moved(state: &AppState, caller: &Caller, what: Movable, name: &str, body: &[u8]) -> Result<Json<MoveTo>> {
    let ask: MoveTo = caller.parse(body)?;
    Ok(Json(MoveTo { compartment: state.control.move_thing(&caller.ctx, what, name, &ask.compartment).await? }))
}

/// For what has no other verb.
async fn only(
    state: AppState,
    target: &str,
    caller: Caller,
    params: Params,
    request: Request,
    (what, plural): (Movable, &str),
) -> Result<Json<MoveTo>> {
    params.finish()?;
    let (name, verb) = split_verb(target)?;
    if verb != "move" {
        return Err(Failure::not_found(format!("{plural} have no {verb:?}; there is :move")));
    }
    let body = read_body(request).await?;
    moved(&state, &caller, what, name, &body).await
}

/// Puts a maintenance window into another compartment: it reaches the instances there and below.
#[utoipa::path(post, path = "/api/v1/maintenance-windows/{name}:move", tag = "maintenance", operation_id = "moveMaintenanceWindow",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
pub async fn window(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<MoveTo>> {
    only(state, &target, caller, params, request, (Movable::Window, "maintenance windows")).await
}

/// Puts a freeze calendar into another compartment: it reaches the instances there and below.
#[utoipa::path(post, path = "/api/v1/freeze-calendars/{name}:move", tag = "maintenance", operation_id = "moveFreezeCalendar",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
pub async fn freeze(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<MoveTo>> {
    only(state, &target, caller, params, request, (Movable::Freeze, "freeze calendars")).await
}

/// Puts a secret into another compartment: policies of assignments there and below may use it.
#[utoipa::path(post, path = "/api/v1/secrets/{name}:move", tag = "secrets", operation_id = "moveSecret",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
pub async fn secret(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<MoveTo>> {
    only(state, &target, caller, params, request, (Movable::Secret, "secrets")).await
}

/// Puts a software source with its snapshots into another compartment.
#[utoipa::path(post, path = "/api/v1/sources/{name}:move", tag = "sources", operation_id = "moveSource",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn source() {}

/// Puts a lifecycle environment into another compartment.
#[utoipa::path(post, path = "/api/v1/environments/{name}:move", tag = "environments", operation_id = "moveEnvironment",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn environment() {}

/// Puts a patch deployment into another compartment: its next runs reach the instances there and below.
#[utoipa::path(post, path = "/api/v1/deployments/{name}:move", tag = "deployments", operation_id = "moveDeployment",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn deployment() {}

/// Puts a group of reboot slots into another compartment: it reaches the instances there and below.
#[utoipa::path(post, path = "/api/v1/reboot-slot-groups/{name}:move", tag = "maintenance", operation_id = "moveRebootSlotGroup",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn slots() {}

/// Puts a policy assignment into another compartment: it reaches the instances there and below, others leave it.
#[utoipa::path(post, path = "/api/v1/policy-assignments/{name}:move", tag = "policies", operation_id = "movePolicyAssignment",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = MoveTo), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn assignment() {}
