//! Managed instance groups, their members and what is attached to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    AddMatching, AddedMembers, ApiError, EditAttachments, EditGroup, EditMembers, Group, GroupMember, MoveTo, Page,
};
use drydock_control::{AttachTarget, GroupEdit};
use drydock_domain::group::GroupSpec;
use http::{HeaderValue, StatusCode};

use super::encode_content as encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson};
use super::split_verb;
use crate::state::AppState;

/// Groups by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups", operation_id = "listGroups",
    responses((status = 200, body = Page<Group>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<Group>>> {
    params.finish()?;
    let found = state.control.list_groups(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode::group).collect(), next_cursor: None }))
}

/// Makes a group. Its first member decides which operating system, major version and architecture the others have.
#[utoipa::path(post, path = "/api/v1/groups", tag = "groups", operation_id = "createGroup", request_body = GroupSpec,
    responses((status = 201, body = Group), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<GroupSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_group(&caller.ctx, spec).await?;
    let location = format!("/api/v1/groups/{}", view.spec.name);
    let mut response = (StatusCode::CREATED, Json(encode::group(view))).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One group.
#[utoipa::path(get, path = "/api/v1/groups/{name}", tag = "groups", operation_id = "getGroup",
    params(("name" = String, Path)),
    responses((status = 200, body = Group), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(name): Path<String>, caller: Caller, params: Params) -> Result<Json<Group>> {
    params.finish()?;
    Ok(Json(encode::group(state.control.get_group(&caller.ctx, &name).await?)))
}

/// Edits description and environment; absent fields stay, nothing else can be overwritten by it.
#[utoipa::path(patch, path = "/api/v1/groups/{name}", tag = "groups", operation_id = "editGroup",
    params(("name" = String, Path)), request_body = EditGroup,
    responses((status = 200, body = Group), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditGroup>,
) -> Result<Json<Group>> {
    params.finish()?;
    let edit = GroupEdit { description: edit.description, environment: edit.environment };
    Ok(Json(encode::group(state.control.edit_group(&caller.ctx, &name, &edit).await?)))
}

/// Deletes a group and what is attached to it. Refused while instances are in it.
#[utoipa::path(delete, path = "/api/v1/groups/{name}", tag = "groups", operation_id = "deleteGroup",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_group(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Members of a group by name.
#[utoipa::path(get, path = "/api/v1/groups/{name}/members", tag = "groups", operation_id = "listGroupMembers",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<GroupMember>), (status = "default", body = ApiError)))]
pub async fn members(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<GroupMember>>> {
    let page = params.page()?;
    params.finish()?;
    let found = state.control.group_members(&caller.ctx, &name, &page).await?;
    Ok(Json(super::encode::page(found, encode::group_member)))
}

/// Puts instances into a group and takes others out; all of it or nothing. Refused for an instance of another operating
/// system, major version or architecture, one that is in another group, and one without inventory.
#[utoipa::path(put, path = "/api/v1/groups/{name}/members", tag = "groups", operation_id = "editGroupMembers",
    params(("name" = String, Path)), request_body = EditMembers,
    responses((status = 200, body = Group), (status = "default", body = ApiError)))]
pub async fn edit_members(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditMembers>,
) -> Result<Json<Group>> {
    params.finish()?;
    Ok(Json(encode::group(state.control.change_members(&caller.ctx, &name, &edit.add, &edit.remove).await?)))
}

/// `:add` and `:move`.
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<serde_json::Value>,
) -> Result<Response> {
    params.finish()?;
    let (name, verb) = split_verb(&target)?;
    let ask = ask.to_string();
    match verb {
        "add" => {
            let ask: AddMatching = caller.parse(ask.as_bytes())?;
            let added = state.control.add_matching(&caller.ctx, name, &ask.filter, ask.dry_run).await?;
            Ok(Json(encode::added_members(added)).into_response())
        }
        "move" => {
            let ask: MoveTo = caller.parse(ask.as_bytes())?;
            let moved = state.control.move_group(&caller.ctx, name, &ask.compartment).await?;
            Ok(Json(encode::group(moved)).into_response())
        }
        _ => Err(Failure::not_found(format!("groups have no {verb:?}; there are :add and :move"))),
    }
}

/// Puts a group into another compartment. Refused while members do not lie there or below.
#[utoipa::path(post, path = "/api/v1/groups/{name}:move", tag = "groups", operation_id = "moveGroup",
    params(("name" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = Group), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn move_to() {}

/// Puts every active instance that matches a filter and fits into a group; the answer says which do not fit, and why.
#[utoipa::path(post, path = "/api/v1/groups/{name}:add", tag = "groups", operation_id = "addMatchingToGroup",
    params(("name" = String, Path)), request_body = AddMatching,
    responses((status = 200, body = AddedMembers), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn add() {}

/// Attaches sources to every member of a group, and detaches them.
#[utoipa::path(put, path = "/api/v1/groups/{name}/sources", tag = "groups", operation_id = "editGroupSources",
    params(("name" = String, Path)), request_body = EditAttachments,
    responses((status = 200, body = Group), (status = "default", body = ApiError)))]
pub async fn edit_sources(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditAttachments>,
) -> Result<Json<Group>> {
    params.finish()?;
    let target = AttachTarget::Group(name.clone());
    state.control.change_attachments(&caller.ctx, &target, &edit.attach, &edit.detach).await?;
    Ok(Json(encode::group(state.control.get_group(&caller.ctx, &name).await?)))
}
