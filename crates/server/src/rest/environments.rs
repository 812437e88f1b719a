//! Lifecycle environments and promotions, and what an instance sees.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, EditAttachments, EditInstanceSources, Environment, InstanceSources, Page, PointerMove, PromotionResult,
};
use drydock_control::{AttachTarget, Movable, SourcesChange};
use drydock_domain::source::environment::{EnvironmentSpec, Promotion};
use http::{HeaderValue, StatusCode};

use super::encode_content as encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, read_body};
use super::{moves, split_verb};
use crate::state::AppState;

/// Lifecycle environments by rank. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/environments", tag = "environments", operation_id = "listEnvironments",
    responses((status = 200, body = Page<Environment>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<Environment>>> {
    params.finish()?;
    let found = state.control.list_environments(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode::environment).collect(), next_cursor: None }))
}

/// Makes a lifecycle environment.
#[utoipa::path(post, path = "/api/v1/environments", tag = "environments", operation_id = "createEnvironment",
    request_body = EnvironmentSpec,
    responses((status = 201, body = Environment), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<EnvironmentSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_environment(&caller.ctx, spec).await?;
    let location = format!("/api/v1/environments/{}", view.spec.name);
    let mut response = (StatusCode::CREATED, Json(encode::environment(view))).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One lifecycle environment with what it points at.
#[utoipa::path(get, path = "/api/v1/environments/{name}", tag = "environments", operation_id = "getEnvironment",
    params(("name" = String, Path)),
    responses((status = 200, body = Environment), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<Environment>> {
    params.finish()?;
    Ok(Json(encode::environment(state.control.get_environment(&caller.ctx, &name).await?)))
}

/// Deletes a lifecycle environment. Refused while instances are in it.
#[utoipa::path(delete, path = "/api/v1/environments/{name}", tag = "environments", operation_id = "deleteEnvironment",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_environment(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Promotes snapshots into an environment, or rolls it back. With `dryRun` nothing changes and the answer says what
/// would.
#[utoipa::path(post, path = "/api/v1/environments/{name}:promote", tag = "environments", operation_id = "promote",
    params(("name" = String, Path)), request_body = Promotion,
    responses((status = 200, body = PromotionResult), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let (name, verb) = split_verb(&target)?;
    let body = read_body(request).await?;
    match verb {
        "promote" => {
            let promotion: Promotion = caller.parse(&body)?;
            Ok(Json(encode::promotion(state.control.promote(&caller.ctx, name, promotion).await?)).into_response())
        }
        "move" => Ok(moves::moved(&state, &caller, Movable::Environment, name, &body).await?.into_response()),
        _ => Err(Failure::not_found(format!("environments have no {verb:?}; there are :promote and :move"))),
    }
}

/// What an environment pointed at before, newest move first.
#[utoipa::path(get, path = "/api/v1/environments/{name}/history", tag = "environments",
    operation_id = "listEnvironmentHistory",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PointerMove>), (status = "default", body = ApiError)))]
pub async fn history(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PointerMove>>> {
    let page = params.page()?;
    params.finish()?;
    let moves = state.control.environment_history(&caller.ctx, &name, &page).await?;
    Ok(Json(super::encode::page(moves, encode::pointer_move)))
}

/// Attaches sources to every instance of an environment, and detaches them.
#[utoipa::path(put, path = "/api/v1/environments/{name}/sources", tag = "environments",
    operation_id = "editEnvironmentSources", params(("name" = String, Path)), request_body = EditAttachments,
    responses((status = 200, body = Environment), (status = "default", body = ApiError)))]
pub async fn edit_sources(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditAttachments>,
) -> Result<Json<Environment>> {
    params.finish()?;
    let target = AttachTarget::Environment(name);
    state.control.change_attachments(&caller.ctx, &target, &edit.attach, &edit.detach).await?;
    let AttachTarget::Environment(name) = target else { return Err(Failure::not_found("there is no such environment")) };
    Ok(Json(encode::environment(state.control.get_environment(&caller.ctx, &name).await?)))
}

/// Software sources of an instance, and how far its host is with them.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/sources", tag = "instances", operation_id = "getInstanceSources",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = InstanceSources), (status = "default", body = ApiError)))]
pub async fn of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<InstanceSources>> {
    params.finish()?;
    Ok(Json(encode::instance_sources(state.control.instance_sources(&caller.ctx, &id).await?)))
}

/// Attaches and detaches sources of one instance, and sets its mode and environment; all of it or nothing.
#[utoipa::path(put, path = "/api/v1/instances/{idOrName}/sources", tag = "instances",
    operation_id = "editInstanceSources", params(("idOrName" = String, Path)), request_body = EditInstanceSources,
    responses((status = 200, body = InstanceSources), (status = "default", body = ApiError)))]
pub async fn edit_of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditInstanceSources>,
) -> Result<Json<InstanceSources>> {
    params.finish()?;
    let EditInstanceSources { attach, detach, mode, environment } = edit;
    let change = SourcesChange { attach, detach, mode, environment };
    Ok(Json(encode::instance_sources(state.control.change_instance_sources(&caller.ctx, &id, &change).await?)))
}
