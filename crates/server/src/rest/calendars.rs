//! Maintenance windows, freeze calendars and groups of reboot slots.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, FreezeCalendarView, MaintenanceWindowView, RebootSlotGroup, ReleaseSlot, SlotHolder};
use drydock_control::store::calendars::SlotRecord;
use drydock_control::{CalendarView, Movable, SlotGroupView};
use drydock_domain::rollout::window::intervals;
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, if_match, read_body};
use super::{moves, split_verb, with_etag};
use crate::state::AppState;

/// Openings told of a window, count.
const OPENINGS_TOLD: usize = 5;

fn answer<T: Serialize>(status: StatusCode, etag: &str, body: &T) -> Response {
    with_etag(etag, (status, Json(body)).into_response())
}

fn window(view: CalendarView<MaintenanceWindow>, now: Timestamp) -> MaintenanceWindowView {
    let checked = view.spec.window(jiff::tz::db()).ok();
    let openings = checked.map(|w| intervals(&[w], &[], now, OPENINGS_TOLD)).unwrap_or_default();
    MaintenanceWindowView {
        openings: openings.into_iter().map(Into::into).collect(),
        etag: view.etag(),
        spec: view.spec,
        compartment: view.record.compartment,
        created_by: view.record.created_by,
        created_at: view.record.created_at,
        updated_at: view.record.updated_at,
    }
}

fn freeze(view: CalendarView<FreezeCalendar>, now: Timestamp) -> FreezeCalendarView {
    FreezeCalendarView {
        frozen: view.spec.periods.iter().any(|p| p.from <= now && now < p.to),
        etag: view.etag(),
        spec: view.spec,
        compartment: view.record.compartment,
        created_by: view.record.created_by,
        created_at: view.record.created_at,
        updated_at: view.record.updated_at,
    }
}

fn slots(view: CalendarView<RebootSlots>, holders: Vec<SlotRecord>) -> RebootSlotGroup {
    let holder = |h: SlotRecord| SlotHolder {
        instance: h.instance,
        instance_name: h.instance_name,
        task: h.task,
        why: h.why,
        since: h.since,
        expires_at: h.expires_at,
    };
    RebootSlotGroup {
        holders: holders.into_iter().map(holder).collect(),
        etag: view.etag(),
        spec: view.spec,
        compartment: view.record.compartment,
        created_by: view.record.created_by,
        created_at: view.record.created_at,
        updated_at: view.record.updated_at,
    }
}

/// Maintenance windows with their next openings, by name.
#[utoipa::path(get, path = "/api/v1/maintenance-windows", tag = "maintenance", operation_id = "listMaintenanceWindows",
    responses((status = 200, body = Vec<MaintenanceWindowView>), (status = "default", body = ApiError)))]
pub async fn list_windows(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<MaintenanceWindowView>>> {
    params.finish()?;
    let all = state.control.list_calendars::<MaintenanceWindow>(&caller.ctx).await?;
    Ok(Json(all.into_iter().map(|view| window(view, caller.ctx.now)).collect()))
}

/// Makes one.
#[utoipa::path(post, path = "/api/v1/maintenance-windows", tag = "maintenance", operation_id = "createMaintenanceWindow", request_body = MaintenanceWindow,
    responses((status = 201, body = MaintenanceWindowView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create_window(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<MaintenanceWindow>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_calendar(&caller.ctx, spec).await?;
    let location = format!("/api/v1/maintenance-windows/{}", view.record.name);
    let mut response = answer(StatusCode::CREATED, &view.etag(), &window(view, caller.ctx.now));
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance", operation_id = "getMaintenanceWindow", params(("name" = String, Path)),
    responses((status = 200, body = MaintenanceWindowView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get_window(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.get_calendar::<MaintenanceWindow>(&caller.ctx, &name).await?;
    Ok(answer(StatusCode::OK, &view.etag(), &window(view, caller.ctx.now)))
}

/// Replaces one's spec; the name never changes.
#[utoipa::path(put, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance", operation_id = "editMaintenanceWindow",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = MaintenanceWindow,
    responses((status = 200, body = MaintenanceWindowView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit_window(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<MaintenanceWindow>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    let view = state.control.edit_calendar(&caller.ctx, &name, spec, if_match.as_deref()).await?;
    Ok(answer(StatusCode::OK, &view.etag(), &window(view, caller.ctx.now)))
}

/// Deletes one: jobs look at it no more.
#[utoipa::path(delete, path = "/api/v1/maintenance-windows/{name}", tag = "maintenance", operation_id = "deleteMaintenanceWindow", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_window(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_calendar::<MaintenanceWindow>(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Freeze calendars by name.
#[utoipa::path(get, path = "/api/v1/freeze-calendars", tag = "maintenance", operation_id = "listFreezeCalendars",
    responses((status = 200, body = Vec<FreezeCalendarView>), (status = "default", body = ApiError)))]
pub async fn list_freezes(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<FreezeCalendarView>>> {
    params.finish()?;
    let all = state.control.list_calendars::<FreezeCalendar>(&caller.ctx).await?;
    Ok(Json(all.into_iter().map(|view| freeze(view, caller.ctx.now)).collect()))
}

/// Makes one.
#[utoipa::path(post, path = "/api/v1/freeze-calendars", tag = "maintenance", operation_id = "createFreezeCalendar", request_body = FreezeCalendar,
    responses((status = 201, body = FreezeCalendarView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create_freeze(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<FreezeCalendar>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_calendar(&caller.ctx, spec).await?;
    let location = format!("/api/v1/freeze-calendars/{}", view.record.name);
    let mut response = answer(StatusCode::CREATED, &view.etag(), &freeze(view, caller.ctx.now));
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/freeze-calendars/{name}", tag = "maintenance", operation_id = "getFreezeCalendar", params(("name" = String, Path)),
    responses((status = 200, body = FreezeCalendarView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get_freeze(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.get_calendar::<FreezeCalendar>(&caller.ctx, &name).await?;
    Ok(answer(StatusCode::OK, &view.etag(), &freeze(view, caller.ctx.now)))
}

/// Replaces one's spec; the name never changes.
#[utoipa::path(put, path = "/api/v1/freeze-calendars/{name}", tag = "maintenance", operation_id = "editFreezeCalendar",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = FreezeCalendar,
    responses((status = 200, body = FreezeCalendarView, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit_freeze(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<FreezeCalendar>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    let view = state.control.edit_calendar(&caller.ctx, &name, spec, if_match.as_deref()).await?;
    Ok(answer(StatusCode::OK, &view.etag(), &freeze(view, caller.ctx.now)))
}

/// Deletes one: jobs look at it no more.
#[utoipa::path(delete, path = "/api/v1/freeze-calendars/{name}", tag = "maintenance", operation_id = "deleteFreezeCalendar", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_freeze(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_calendar::<FreezeCalendar>(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Groups of reboot slots with who holds one, by name.
#[utoipa::path(get, path = "/api/v1/reboot-slot-groups", tag = "maintenance", operation_id = "listRebootSlotGroups",
    responses((status = 200, body = Vec<RebootSlotGroup>), (status = "default", body = ApiError)))]
pub async fn list_slots(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Vec<RebootSlotGroup>>> {
    params.finish()?;
    let all = state.control.list_slot_groups(&caller.ctx).await?;
    Ok(Json(all.into_iter().map(|view| slots(view.group, view.holders)).collect()))
}

/// Makes one.
#[utoipa::path(post, path = "/api/v1/reboot-slot-groups", tag = "maintenance", operation_id = "createRebootSlotGroup", request_body = RebootSlots,
    responses((status = 201, body = RebootSlotGroup, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create_slot(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<RebootSlots>,
) -> Result<Response> {
    params.finish()?;
    let view = state.control.create_calendar(&caller.ctx, spec).await?;
    let location = format!("/api/v1/reboot-slot-groups/{}", view.record.name);
    let mut response = answer(StatusCode::CREATED, &view.etag(), &slots(view, Vec::new()));
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/reboot-slot-groups/{name}", tag = "maintenance", operation_id = "getRebootSlotGroup", params(("name" = String, Path)),
    responses((status = 200, body = RebootSlotGroup, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get_slot(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    Ok(slot_group(StatusCode::OK, state.control.get_slot_group(&caller.ctx, &name).await?))
}

/// Replaces one's spec; the name never changes.
#[utoipa::path(put, path = "/api/v1/reboot-slot-groups/{name}", tag = "maintenance", operation_id = "editRebootSlotGroup",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = RebootSlots,
    responses((status = 200, body = RebootSlotGroup, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn edit_slot(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(spec): StrictJson<RebootSlots>,
) -> Result<Response> {
    params.finish()?;
    let if_match = if_match(&headers)?;
    state.control.edit_calendar(&caller.ctx, &name, spec, if_match.as_deref()).await?;
    Ok(slot_group(StatusCode::OK, state.control.get_slot_group(&caller.ctx, &name).await?))
}

/// Deletes one: jobs look at it no more.
#[utoipa::path(delete, path = "/api/v1/reboot-slot-groups/{name}", tag = "maintenance", operation_id = "deleteRebootSlotGroup", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_slot(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_calendar::<RebootSlots>(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn slot_group(status: StatusCode, view: SlotGroupView) -> Response {
    let etag = view.group.etag();
    answer(status, &etag, &slots(view.group, view.holders))
}

/// `:release`.
pub async fn slot_verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let (name, verb) = split_verb(&target)?;
    let body = read_body(request).await?;
    if verb == "move" {
        return Ok(moves::moved(&state, &caller, Movable::RebootSlots, name, &body).await?.into_response());
    }
    if verb != "release" {
        return Err(Failure::not_found(format!("groups of reboot slots have no {verb:?}; there are :release and :move")));
    }
    let ask: ReleaseSlot = caller.parse(&body)?;
    Ok(slot_group(StatusCode::OK, state.control.release_reboot_slot(&caller.ctx, name, &ask.instance).await?))
}

/// Takes a slot back from a host that will not give it back itself.
#[utoipa::path(post, path = "/api/v1/reboot-slot-groups/{name}:release", tag = "maintenance", operation_id = "releaseRebootSlot",
    params(("name" = String, Path)), request_body = ReleaseSlot,
    responses((status = 200, body = RebootSlotGroup), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn release_slot() {}
