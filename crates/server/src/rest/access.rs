//! Who am I, access tokens.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{AccessToken, ApiError, CreateAccessToken, CreatedAccessToken, Page, WhoAmI};
use drydock_control::TokenAsk;
use drydock_domain::ids::AccessTokenId;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, no_idempotency_key};
use super::{encode, no_body, split_verb};
use crate::state::AppState;

/// Who the server takes the caller for.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "access", operation_id = "whoami",
    responses((status = 200, body = WhoAmI), (status = "default", body = ApiError)))]
pub async fn whoami(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<WhoAmI>> {
    params.finish()?;
    let who = state.control.whoami(&caller.ctx).await?;
    Ok(Json(WhoAmI {
        name: who.name,
        kind: who.kind.to_owned(),
        role: who.role,
        groups: who.groups,
        second_factor: who.second_factor,
        narrowed: who.narrowed,
        server_version: crate::VERSION.to_owned(),
    }))
}

/// Access tokens, without their secrets. With `user` that user's only; everybody may list their own.
#[utoipa::path(get, path = "/api/v1/access-tokens", tag = "access", operation_id = "listAccessTokens",
    params(("user" = Option<String>, Query, description = "Name of the user they belong to"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<AccessToken>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<AccessToken>>> {
    let page = params.page()?;
    let user = params.one("user")?;
    params.finish()?;
    let tokens = state.control.list_access_tokens(&caller.ctx, user.as_deref(), &page).await?;
    Ok(Json(encode::page(tokens, encode::access_token)))
}

/// Makes an access token. The answer shows its secret, once. Everybody makes tokens for themselves.
#[utoipa::path(post, path = "/api/v1/access-tokens", tag = "access", operation_id = "createAccessToken",
    request_body = CreateAccessToken,
    responses((status = 201, body = CreatedAccessToken), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<CreateAccessToken>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let ask = TokenAsk { name: ask.name, role: ask.role, user: ask.user, scope: ask.scope, expires_at: ask.expires_at };
    let (token, secret) = state.control.create_access_token(&caller.ctx, ask).await?;
    let created = CreatedAccessToken { token: encode::access_token(token), secret: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, super::NO_STORE, Json(created)).into_response())
}

/// Revokes an access token, now and for good.
#[utoipa::path(post, path = "/api/v1/access-tokens/{id}:revoke", tag = "access", operation_id = "revokeAccessToken",
    params(("id" = AccessTokenId, Path)),
    responses((status = 200, body = AccessToken), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    body: bytes::Bytes,
) -> Result<Json<AccessToken>> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    if verb != "revoke" {
        return Err(Failure::not_found(format!("access tokens have no {verb:?}; there is :revoke")));
    }
    no_body(&body)?;
    let token = state.control.revoke_access_token(&caller.ctx, id.parse::<AccessTokenId>()?).await?;
    Ok(Json(encode::access_token(token)))
}
