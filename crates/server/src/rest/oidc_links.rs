//! Which users an OpenID Connect provider vouches for.

use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, OidcIdentity};
use http::StatusCode;

use super::error::Result;
use super::extract::{Caller, Params, StrictJson};
use crate::state::AppState;

/// Links a user to a subject of a provider: whoever the provider says is that subject signs in to the console as this user.
#[utoipa::path(put, path = "/api/v1/users/{name}/oidc-identity", tag = "access", operation_id = "linkUser",
    params(("name" = String, Path)), request_body = OidcIdentity,
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn link(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<OidcIdentity>,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.link_user(&caller.ctx, &name, Some((&ask.issuer, &ask.subject))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlinks a user: no provider vouches for it any more. Sessions begun with the
/// provider end.
#[utoipa::path(delete, path = "/api/v1/users/{name}/oidc-identity", tag = "access", operation_id = "unlinkUser",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn unlink(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.link_user(&caller.ctx, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
