//! What somebody does to their own account: signing in for a token, password, second factor, sessions.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, ChangePassword, ConfirmSecondFactor, CreatedAccessToken, OfferedSecondFactor, Page, RecoveryCodes, Session, SignIn,
};
use drydock_control::store::sessions::SessionRecord;
use drydock_control::{ErrorKind, Secret, SignInAsk, SignInFrom, WhoseSessions};
use drydock_domain::ids::SessionId;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, address_of, no_idempotency_key};
use super::{encode, no_body, split_verb};
use crate::rates::too_many;
use crate::request::RequestInfo;
use crate::state::AppState;

/// Signs in with a password (and a code) for an access token that is good for twelve hours. Needs no token. Whoever has to
/// choose another password is told so about the field newPassword.
#[utoipa::path(post, path = "/api/v1/tokens:sign-in", tag = "users", operation_id = "signIn", request_body = SignIn, security(),
    responses((status = 201, body = CreatedAccessToken), (status = "default", body = ApiError)))]
pub async fn sign_in(
    State(state): State<AppState>,
    params: Params,
    headers: HeaderMap,
    extensions: http::Extensions,
    StrictJson(asked): StrictJson<SignIn>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let address = address_of(&extensions);
    let request_id = extensions.get::<RequestInfo>().map_or_else(String::new, |info| info.id.clone());
    let failures = &state.sign_in_failures;
    failures.check(address, Instant::now()).map_err(|wait| too_many(wait, &format!("failed sign-ins from {address}")))?;
    state.rates.sign_in(address, &asked.user, Instant::now()).map_err(|too| too_many(too.wait, &too.of))?;
    let from = SignInFrom { address: Some(address), request_id, user_agent: String::new() };
    let ask = SignInAsk {
        name: asked.user,
        password: Secret::new(asked.password),
        code: asked.code,
        new_password: asked.new_password.map(Secret::new),
    };
    let made = state.control.sign_in_for_token(&from, &ask, asked.name.as_deref().unwrap_or_default()).await;
    let (token, secret) = made.inspect_err(|error| {
        if error.kind() == ErrorKind::Unauthenticated {
            failures.failed(address, Instant::now());
        }
    })?;
    let created = CreatedAccessToken { token: encode::access_token(token), secret: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, super::NO_STORE, Json(created)).into_response())
}

/// Changes one's own password. Other sessions end, and tokens got by signing in; tokens that were made stay.
#[utoipa::path(post, path = "/api/v1/whoami:change-password", tag = "users", operation_id = "changePassword",
    request_body = ChangePassword,
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn change_password(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<ChangePassword>,
) -> Result<StatusCode> {
    params.finish()?;
    let (old, new) = (Secret::new(ask.old_password), Secret::new(ask.new_password));
    state.control.change_password(&caller.ctx, &old, &new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a secret for an authenticator app; it counts once it is confirmed with a code.
#[utoipa::path(post, path = "/api/v1/whoami:offer-second-factor", tag = "users", operation_id = "offerSecondFactor",
    responses((status = 200, body = OfferedSecondFactor), (status = "default", body = ApiError)))]
pub async fn offer_second_factor(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    no_body(&body)?;
    let offered = state.control.offer_second_factor(&caller.ctx).await?;
    let offered = OfferedSecondFactor { uri: offered.uri.expose().to_owned(), secret: offered.secret.expose().to_owned() };
    Ok((super::NO_STORE, Json(offered)).into_response())
}

/// Confirms the second factor with its first code. The answer shows the recovery codes, once.
#[utoipa::path(post, path = "/api/v1/whoami:confirm-second-factor", tag = "users", operation_id = "confirmSecondFactor",
    request_body = ConfirmSecondFactor,
    responses((status = 200, body = RecoveryCodes), (status = "default", body = ApiError)))]
pub async fn confirm_second_factor(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<ConfirmSecondFactor>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let codes = state.control.confirm_second_factor(&caller.ctx, &ask.code).await?;
    let codes = RecoveryCodes { codes: codes.iter().map(|code| code.expose().to_owned()).collect() };
    Ok((super::NO_STORE, Json(codes)).into_response())
}

/// Takes one's own second factor away, with a code of it.
#[utoipa::path(post, path = "/api/v1/whoami:remove-second-factor", tag = "users", operation_id = "removeSecondFactor",
    request_body = ConfirmSecondFactor,
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn remove_second_factor(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<ConfirmSecondFactor>,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.remove_second_factor(&caller.ctx, &ask.code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sessions of the console that have not ended, newest first: one's own, those of a user, or all.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "users", operation_id = "listSessions",
    params(("user" = Option<String>, Query, description = "Name of a user; without user and all, the caller's own"),
        ("all" = Option<bool>, Query, description = "Those of everybody"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<Session>), (status = "default", body = ApiError)))]
pub async fn sessions(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<Session>>> {
    let page = params.page()?;
    let user = params.one("user")?;
    let all = params.parsed("all", "true or false", |text| text.parse::<bool>().ok())?.unwrap_or(false);
    params.finish()?;
    let whose = match &user {
        Some(_) if all => return Err(Failure::field("all", "goes with no user")),
        Some(name) => WhoseSessions::User(name),
        None if all => WhoseSessions::All,
        None => WhoseSessions::Own,
    };
    let found = state.control.list_sessions(&caller.ctx, whose, &page).await?;
    Ok(Json(encode::page(found, session)))
}

/// Ends a session at once. Everybody may end their own.
#[utoipa::path(post, path = "/api/v1/sessions/{id}:revoke", tag = "users", operation_id = "revokeSession",
    params(("id" = SessionId, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn session_verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<StatusCode> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    if verb != "revoke" {
        return Err(Failure::not_found(format!("sessions have no {verb:?}; there is :revoke")));
    }
    no_body(&body)?;
    state.control.revoke_session(&caller.ctx, id.parse::<SessionId>()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn session(r: SessionRecord) -> Session {
    Session {
        id: r.id,
        user: r.user_name,
        way: r.way,
        second_factor: r.second_factor,
        address: r.address,
        user_agent: r.user_agent,
        created_at: r.created_at,
        used_at: r.used_at,
    }
}
