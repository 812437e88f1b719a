//! Compartments. A path in an address is percent-encoded as one segment (`/A/web` is `%2FA%2Fweb`); an id does as well.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Compartment, CreateCompartment, EditCompartment, Page};
use drydock_control::CompartmentEdit;
use drydock_control::store::compartments::CompartmentRecord;
use http::{HeaderMap, StatusCode};

use super::error::Result;
use super::extract::{Caller, Params, StrictJson, if_match, no_idempotency_key};
use super::with_etag;
use crate::state::AppState;

/// Compartments that the caller may see, by path. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/compartments", tag = "access", operation_id = "listCompartments",
    responses((status = 200, body = Page<Compartment>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<Compartment>>> {
    params.finish()?;
    let found = state.control.list_compartments(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode).collect(), next_cursor: None }))
}

/// Makes a compartment.
#[utoipa::path(post, path = "/api/v1/compartments", tag = "access", operation_id = "createCompartment",
    request_body = CreateCompartment,
    responses((status = 201, body = Compartment), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<CreateCompartment>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let made = state.control.create_compartment(&caller.ctx, &ask.parent, &ask.name, &ask.description).await?;
    Ok((StatusCode::CREATED, answer(made)).into_response())
}

/// One compartment.
#[utoipa::path(get, path = "/api/v1/compartments/{path}", tag = "access", operation_id = "getCompartment",
    params(("path" = String, Path, description = "Path, percent-encoded, or id")),
    responses((status = 200, body = Compartment), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(path): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(answer(state.control.get_compartment(&caller.ctx, &path).await?))
}

/// Describes, renames or moves a compartment; everything in it goes along. Refused when a statement would lose its place.
#[utoipa::path(patch, path = "/api/v1/compartments/{path}", tag = "access", operation_id = "editCompartment",
    params(("path" = String, Path, description = "Path, percent-encoded, or id")), request_body = EditCompartment,
    responses((status = 200, body = Compartment), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(path): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<EditCompartment>,
) -> Result<Response> {
    params.finish()?;
    let edit = CompartmentEdit { description: ask.description, name: ask.name, parent: ask.parent };
    let tag = if_match(&headers)?;
    Ok(answer(state.control.edit_compartment(&caller.ctx, &path, &edit, tag.as_deref()).await?))
}

/// Deletes an empty compartment.
#[utoipa::path(delete, path = "/api/v1/compartments/{path}", tag = "access", operation_id = "deleteCompartment",
    params(("path" = String, Path, description = "Path, percent-encoded, or id")),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(path): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_compartment(&caller.ctx, &path).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(own: CompartmentRecord) -> Response {
    let etag = own.version.to_string();
    with_etag(&etag, Json(encode(own)).into_response())
}

fn encode(own: CompartmentRecord) -> Compartment {
    Compartment {
        id: if own.path == "/" { "tenancy".to_owned() } else { own.id.to_string() },
        path: own.path,
        description: own.description,
        created_by: own.created_by,
        created_at: own.created_at,
        etag: own.version.to_string(),
    }
}
