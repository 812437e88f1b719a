//! Groups of users and who is in them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, EditMembers, EditUserGroup, Page, UserGroup, UserGroupMember};
use drydock_domain::access::user::UserGroupSpec;
use http::{HeaderValue, StatusCode};

use super::encode;
use super::error::Result;
use super::extract::{Caller, Params, StrictJson};
use crate::state::AppState;

/// Groups of users: those that come with the program first, then the others by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/user-groups", tag = "users", operation_id = "listUserGroups",
    responses((status = 200, body = Page<UserGroup>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<UserGroup>>> {
    params.finish()?;
    let found = state.control.list_user_groups(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode::user_group).collect(), next_cursor: None }))
}

/// Makes a group of users, for statements to name.
#[utoipa::path(post, path = "/api/v1/user-groups", tag = "users", operation_id = "createUserGroup", request_body = UserGroupSpec,
    responses((status = 201, body = UserGroup), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<UserGroupSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_user_group(&caller.ctx, spec).await?;
    let location = format!("/api/v1/user-groups/{}", view.name);
    let mut response = (StatusCode::CREATED, Json(encode::user_group(view))).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One group of users.
#[utoipa::path(get, path = "/api/v1/user-groups/{name}", tag = "users", operation_id = "getUserGroup",
    params(("name" = String, Path)),
    responses((status = 200, body = UserGroup), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<UserGroup>> {
    params.finish()?;
    Ok(Json(encode::user_group(state.control.get_user_group(&caller.ctx, &name).await?)))
}

/// Edits the description of a group of users.
#[utoipa::path(patch, path = "/api/v1/user-groups/{name}", tag = "users", operation_id = "editUserGroup",
    params(("name" = String, Path)), request_body = EditUserGroup,
    responses((status = 200, body = UserGroup), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditUserGroup>,
) -> Result<Json<UserGroup>> {
    params.finish()?;
    Ok(Json(encode::user_group(state.control.edit_user_group(&caller.ctx, &name, &edit.description).await?)))
}

/// Deletes a group of users. Statements that name it stay and give nobody anything.
#[utoipa::path(delete, path = "/api/v1/user-groups/{name}", tag = "users", operation_id = "deleteUserGroup",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_user_group(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Members of a group of users by name.
#[utoipa::path(get, path = "/api/v1/user-groups/{name}/members", tag = "users", operation_id = "listUserGroupMembers",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<UserGroupMember>), (status = "default", body = ApiError)))]
pub async fn members(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<UserGroupMember>>> {
    let page = params.page()?;
    params.finish()?;
    let found = state.control.user_group_members(&caller.ctx, &name, &page).await?;
    Ok(Json(encode::page(found, encode::user_group_member)))
}

/// Puts users into a group and takes others out; all of it or nothing.
#[utoipa::path(put, path = "/api/v1/user-groups/{name}/members", tag = "users", operation_id = "editUserGroupMembers",
    params(("name" = String, Path)), request_body = EditMembers,
    responses((status = 200, body = UserGroup), (status = "default", body = ApiError)))]
pub async fn edit_members(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditMembers>,
) -> Result<Json<UserGroup>> {
    params.finish()?;
    let view = state.control.change_user_group_members(&caller.ctx, &name, &edit.add, &edit.remove).await?;
    Ok(Json(encode::user_group(view)))
}
