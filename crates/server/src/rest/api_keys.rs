//! API keys of users.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{AddApiKey, ApiError, ApiKey, Page};
use drydock_control::ApiKeyView;
use http::{HeaderMap, StatusCode};

use super::error::Result;
use super::extract::{Caller, Params, StrictJson, no_idempotency_key};
use crate::state::AppState;

/// The public keys that a user signs requests with (at most three).
#[utoipa::path(get, path = "/api/v1/users/{name}/api-keys", tag = "access", operation_id = "listApiKeys",
    params(("name" = String, Path)),
    responses((status = 200, body = Page<ApiKey>), (status = "default", body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<Page<ApiKey>>> {
    params.finish()?;
    let keys = state.control.list_api_keys(&caller.ctx, &name).await?;
    Ok(Json(Page { items: keys.into_iter().map(encode).collect(), next_cursor: None }))
}

/// Adds a public key to a user. Whoever has its private half can act as that user from now on.
#[utoipa::path(post, path = "/api/v1/users/{name}/api-keys", tag = "access", operation_id = "addApiKey",
    params(("name" = String, Path)), request_body = AddApiKey,
    responses((status = 201, body = ApiKey), (status = "default", body = ApiError)))]
pub async fn add(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<AddApiKey>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let key = state.control.add_api_key(&caller.ctx, &name, &ask.public_key).await?;
    Ok((StatusCode::CREATED, Json(encode(key))).into_response())
}

/// Deletes a public key of a user: requests signed with it are refused from now on.
#[utoipa::path(delete, path = "/api/v1/users/{name}/api-keys/{fingerprint}", tag = "access", operation_id = "deleteApiKey",
    params(("name" = String, Path), ("fingerprint" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path((name, fingerprint)): Path<(String, String)>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_api_key(&caller.ctx, &name, &fingerprint).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn encode(key: ApiKeyView) -> ApiKey {
    ApiKey {
        fingerprint: key.record.fingerprint,
        key_id: key.key_id,
        bits: u32::try_from(key.bits).unwrap_or(u32::MAX),
        created_at: key.record.created_at,
        last_used_at: key.record.last_used_at,
    }
}
