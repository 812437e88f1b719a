//! Users and service accounts.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, EditUser, Page, PasswordSet, SetPassword, User};
use drydock_control::{Secret, UserEdit};
use drydock_domain::access::user::UserSpec;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, no_idempotency_key, read_body};
use super::{encode, no_body, split_verb};
use crate::state::AppState;

/// Users and service accounts by name.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "listUsers",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<User>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<User>>> {
    let page = params.page()?;
    params.finish()?;
    let found = state.control.list_users(&caller.ctx, &page).await?;
    Ok(Json(encode::page(found, encode::user)))
}

/// Makes a user or a service account. It is in no group and has nothing to sign in with.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", operation_id = "createUser", request_body = UserSpec,
    responses((status = 201, body = User), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<UserSpec>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_user(&caller.ctx, spec).await?;
    let location = format!("/api/v1/users/{}", view.user.name);
    let mut response = (StatusCode::CREATED, Json(encode::user(view))).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One user; everybody may read about themselves.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "users", operation_id = "getUser",
    params(("name" = String, Path)),
    responses((status = 200, body = User), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(name): Path<String>, caller: Caller, params: Params) -> Result<Json<User>> {
    params.finish()?;
    Ok(Json(encode::user(state.control.get_user(&caller.ctx, &name).await?)))
}

/// Edits a user; absent fields stay. A disabled one is refused at once, whatever it shows.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "users", operation_id = "editUser",
    params(("name" = String, Path)), request_body = EditUser,
    responses((status = 200, body = User), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(edit): StrictJson<EditUser>,
) -> Result<Json<User>> {
    params.finish()?;
    let edit = UserEdit { description: edit.description, email: edit.email, disabled: edit.disabled };
    Ok(Json(encode::user(state.control.edit_user(&caller.ctx, &name, &edit).await?)))
}

/// Deletes a user with its tokens, keys and sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "users", operation_id = "deleteUser",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_user(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `:set-password`, `:reset-second-factor`.
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
    match verb {
        "set-password" => {
            no_idempotency_key(&headers)?;
            let ask: SetPassword = caller.parse(&body)?;
            let given = ask.password.map(Secret::new);
            let (view, made_up) = state.control.set_password(&caller.ctx, name, given, ask.lasting).await?;
            let done = PasswordSet { user: encode::user(view), password: made_up.map(|secret| secret.expose().to_owned()) };
            Ok((super::NO_STORE, Json(done)).into_response())
        }
        "reset-second-factor" => {
            no_body(&body)?;
            Ok(Json(encode::user(state.control.reset_second_factor(&caller.ctx, name).await?)).into_response())
        }
        other => Err(Failure::not_found(format!("users have no {other:?}; there are :set-password and :reset-second-factor"))),
    }
}

/// Gives a user a password, or makes one up that is shown once. Unless it is lasting, the next sign-in has to choose another
/// one. The user's sessions end, and the tokens got by signing in.
#[utoipa::path(post, path = "/api/v1/users/{name}:set-password", tag = "users", operation_id = "setPassword",
    params(("name" = String, Path)), request_body = SetPassword,
    responses((status = 200, body = PasswordSet), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn set_password() {}

/// Takes a user's second factor away, for example when the telephone is lost. The user's sessions end, and the tokens got by
/// signing in.
#[utoipa::path(post, path = "/api/v1/users/{name}:reset-second-factor", tag = "users", operation_id = "resetSecondFactor",
    params(("name" = String, Path)),
    responses((status = 200, body = User), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn reset_second_factor() {}
