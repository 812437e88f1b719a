//! Enrolment profiles.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, CreatedProfile, EnrolmentProfile, MoveTo, Page};
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::ProfileId;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, no_idempotency_key, read_body};
use super::{encode, no_body, split_verb};
use crate::state::AppState;

/// Enrolment profiles, without their tokens.
#[utoipa::path(get, path = "/api/v1/enrolment-profiles", tag = "enrolment", operation_id = "listEnrolmentProfiles",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<EnrolmentProfile>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<EnrolmentProfile>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.list_profiles(&caller.ctx, &page).await?, encode::profile)))
}

/// Makes an enrolment profile. The answer shows its token and the command for hosts, once.
#[utoipa::path(post, path = "/api/v1/enrolment-profiles", tag = "enrolment", operation_id = "createEnrolmentProfile",
    request_body = ProfileSpec,
    responses((status = 201, body = CreatedProfile), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<ProfileSpec>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let (profile, token) = state.control.create_profile(&caller.ctx, spec).await?;
    let created = CreatedProfile {
        profile: encode::profile(profile),
        command: state.enrol_command(token.expose()),
        token: token.expose().to_owned(),
        ca_fingerprint: state.ca_fingerprint(),
    };
    Ok((StatusCode::CREATED, super::NO_STORE, Json(created)).into_response())
}

/// One enrolment profile.
#[utoipa::path(get, path = "/api/v1/enrolment-profiles/{id}", tag = "enrolment", operation_id = "getEnrolmentProfile",
    params(("id" = ProfileId, Path)),
    responses((status = 200, body = EnrolmentProfile), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<EnrolmentProfile>> {
    params.finish()?;
    Ok(Json(encode::profile(state.control.get_profile(&caller.ctx, id.parse::<ProfileId>()?).await?)))
}

/// Revokes an enrolment profile: its token lets nobody in any more. Hosts that are in stay.
#[utoipa::path(post, path = "/api/v1/enrolment-profiles/{id}:revoke", tag = "enrolment",
    operation_id = "revokeEnrolmentProfile", params(("id" = ProfileId, Path)),
    responses((status = 200, body = EnrolmentProfile), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<EnrolmentProfile>> {
    params.finish()?;
    let body = read_body(request).await?;
    let (id, verb) = split_verb(&target)?;
    let id = id.parse::<ProfileId>()?;
    let profile = match verb {
        "revoke" => {
            no_body(&body)?;
            state.control.revoke_profile(&caller.ctx, id).await?
        }
        "move" => {
            let ask: MoveTo = caller.parse(&body)?;
            state.control.move_profile(&caller.ctx, id, &ask.compartment).await?
        }
        _ => return Err(Failure::not_found(format!("enrolment profiles have no {verb:?}; there are :revoke and :move"))),
    };
    Ok(Json(encode::profile(profile)))
}

/// Puts an enrolment profile into another compartment: hosts that enrol from now on land there.
#[utoipa::path(post, path = "/api/v1/enrolment-profiles/{id}:move", tag = "enrolment",
    operation_id = "moveEnrolmentProfile", params(("id" = ProfileId, Path)), request_body = MoveTo,
    responses((status = 200, body = EnrolmentProfile), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn move_to() {}
