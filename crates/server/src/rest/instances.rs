//! Managed instances and their inventory.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, EditInstance, HistoryEntry, Instance, InstanceRules, MatchInstances, MatchedInstances, MoveTo, PackageList, Page,
    RejectInstance, UpdateList,
};
use drydock_control::records::InstanceQuery;
use drydock_control::{InstanceEdit, InstanceView};
use drydock_domain::instance::InstanceState;
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, if_match, read_body};
use super::{encode, no_body, split_verb, with_etag};
use crate::state::AppState;

fn answer(view: InstanceView) -> Response {
    let instance = encode::instance(view);
    with_etag(&instance.etag, Json(&instance).into_response())
}

/// Instances by name.
#[utoipa::path(get, path = "/api/v1/instances", tag = "instances", operation_id = "listInstances",
    params(("state" = Option<InstanceState>, Query, description = "Only this state"),
        ("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("label" = Option<Vec<String>>, Query, description = "Only instances with this label, `key=value`; repeat for more"),
        ("zone" = Option<String>, Query, description = "Only this zone"),
        ("compartment" = Option<String>, Query, description = "Only in the compartment with this path or below, for example \
            `/A`"),
        ("filter" = Option<String>, Query, description = "Only instances that match this filter, for example \
            `package openssl < 3.0.14 and os.version = \"8*\"`; 4096 bytes at most"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<Instance>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<Instance>>> {
    let labels = params
        .all("label")
        .iter()
        .map(|pair| {
            let split = pair.split_once('=').filter(|(key, _)| !key.is_empty());
            let found = split.map(|(key, value)| (key.to_owned(), value.to_owned()));
            found.ok_or_else(|| Failure::field("label", format!("{pair:?} is not key=value")))
        })
        .collect::<Result<Vec<_>>>()?;
    let query = InstanceQuery {
        state: params.parsed("state", "PENDING, ACTIVE, REJECTED or REVOKED", InstanceState::parse)?,
        name_contains: params.one("q")?.unwrap_or_default(),
        labels,
        zone: params.one("zone")?,
        compartment: params.one("compartment")?,
        page: params.page()?,
    };
    let filter = params.one("filter")?;
    params.finish()?;
    let found = match filter {
        Some(filter) => state.control.search_instances(&caller.ctx, &query, &filter).await?,
        None => state.control.list_instances(&caller.ctx, &query).await?,
    };
    Ok(Json(encode::page(found, encode::instance)))
}

/// One instance.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}", tag = "instances", operation_id = "getInstance",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = Instance, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(answer(state.control.get_instance(&caller.ctx, &id).await?))
}

/// The active instances that a patch job with this filter would reach if it began now.
#[utoipa::path(post, path = "/api/v1/instances:match", tag = "instances", operation_id = "matchInstances",
    request_body = MatchInstances,
    responses((status = 200, body = MatchedInstances), (status = "default", body = ApiError)))]
pub async fn matching(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<MatchInstances>,
) -> Result<Json<MatchedInstances>> {
    params.finish()?;
    let found = state.control.match_instances(&caller.ctx, &ask.instance_filter, ask.compartment.as_deref()).await?;
    let instances = found.hosts.into_iter().map(encode::named_instance).collect();
    Ok(Json(MatchedInstances { total: found.total, instances, not_patchable: found.not_patchable }))
}

/// Edits labels and zone; absent fields stay.
#[utoipa::path(patch, path = "/api/v1/instances/{idOrName}", tag = "instances", operation_id = "editInstance",
    params(("idOrName" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = EditInstance,
    responses((status = 200, body = Instance, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(edit): StrictJson<EditInstance>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    let edit = InstanceEdit { labels: edit.labels, zone: edit.zone };
    Ok(answer(state.control.edit_instance(&caller.ctx, &id, edit, if_match.as_deref()).await?))
}

/// Deletes the record of an instance and everything known of it. Its agent is cut off.
#[utoipa::path(delete, path = "/api/v1/instances/{idOrName}", tag = "instances", operation_id = "deleteInstance",
    params(("idOrName" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, params: Params) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_instance(&caller.ctx, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `:accept`, `:reject`, `:revoke` and `:move`.
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    let body = read_body(request).await?;
    let view = match verb {
        "accept" => {
            no_body(&body)?;
            state.control.accept_instance(&caller.ctx, id).await?
        }
        "reject" => {
            let ask: RejectInstance = if body.is_empty() { RejectInstance::default() } else { caller.parse(&body)? };
            state.control.reject_instance(&caller.ctx, id, &ask.reason).await?
        }
        "revoke" => {
            no_body(&body)?;
            state.control.revoke_instance(&caller.ctx, id).await?
        }
        "move" => {
            let ask: MoveTo = caller.parse(&body)?;
            state.control.move_instance(&caller.ctx, id, &ask.compartment).await?
        }
        _ => {
            let text = format!("instances have no {verb:?}; there are :accept, :reject, :revoke and :move");
            return Err(Failure::not_found(text));
        }
    };
    Ok(answer(view))
}

/// Lets a pending instance in.
#[utoipa::path(post, path = "/api/v1/instances/{idOrName}:accept", tag = "instances", operation_id = "acceptInstance",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = Instance), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn accept() {}

/// Refuses a pending instance; the reason is told to the host's operator.
#[utoipa::path(post, path = "/api/v1/instances/{idOrName}:reject", tag = "instances", operation_id = "rejectInstance",
    params(("idOrName" = String, Path)), request_body = Option<RejectInstance>,
    responses((status = 200, body = Instance), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn reject() {}

/// Revokes an instance: its certificate is accepted no more, and its open stream is cut.
#[utoipa::path(post, path = "/api/v1/instances/{idOrName}:revoke", tag = "instances", operation_id = "revokeInstance",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = Instance), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn revoke() {}

/// Puts an instance into another compartment, where other statements hold.
#[utoipa::path(post, path = "/api/v1/instances/{idOrName}:move", tag = "instances", operation_id = "moveInstance",
    params(("idOrName" = String, Path)), request_body = MoveTo,
    responses((status = 200, body = Instance), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn move_to() {}

/// Installed packages.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/packages", tag = "instances", operation_id = "listPackages",
    params(("idOrName" = String, Path), ("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("asOf" = Option<String>, Query, description = "As of this time, for example 2026-11-19T22:00:00Z; absent: now")),
    responses((status = 200, body = PackageList), (status = "default", body = ApiError)))]
pub async fn packages(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<PackageList>> {
    let (q, at) = (params.one("q")?.unwrap_or_default(), super::packages::time(&mut params, "asOf")?);
    params.finish()?;
    let found = match at {
        Some(at) => state.control.instance_packages_at(&caller.ctx, &id, &q, at).await?,
        None => state.control.instance_packages(&caller.ctx, &id, &q).await?,
    };
    Ok(Json(encode::packages(found)))
}

/// Available updates, broken repositories, reboot and restart needs.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/updates", tag = "instances", operation_id = "listUpdates",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = UpdateList), (status = "default", body = ApiError)))]
pub async fn updates(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<UpdateList>> {
    params.finish()?;
    Ok(Json(encode::updates(state.control.instance_updates(&caller.ctx, &id).await?)))
}

/// Holds, locks, excludes, pins and module streams in the host's configuration.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/rules", tag = "instances", operation_id = "showInstanceRules",
    params(("idOrName" = String, Path)),
    responses((status = 200, body = InstanceRules), (status = "default", body = ApiError)))]
pub async fn rules(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<InstanceRules>> {
    params.finish()?;
    Ok(Json(encode::rules(state.control.instance_rules(&caller.ctx, &id).await?)))
}

/// What happened to an instance, newest first.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/history", tag = "instances", operation_id = "listHistory",
    params(("idOrName" = String, Path),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<HistoryEntry>), (status = "default", body = ApiError)))]
pub async fn history(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<HistoryEntry>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.instance_history(&caller.ctx, &id, &page).await?, encode::history)))
}
