//! Snapshots of software sources. One is named by its number, its id, `latest`, `as-of:<RFC 3339>` or the name of an
//! environment that points at it.

use axum::Json;
use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, Page, Snapshot, SnapshotDetail, UnitPage};
use drydock_control::UnitQuery;

use super::encode_content as encode;
use super::error::Result;
use super::extract::{Caller, Params};
use crate::state::AppState;

/// Snapshots of a source, newest first.
#[utoipa::path(get, path = "/api/v1/sources/{name}/snapshots", tag = "sources", operation_id = "listSnapshots",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<Snapshot>), (status = "default", body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<Snapshot>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(super::encode::page(state.control.list_snapshots(&caller.ctx, &name, &page).await?, encode::snapshot)))
}

/// One snapshot with what was odd about its upstream.
#[utoipa::path(get, path = "/api/v1/sources/{name}/snapshots/{selector}", tag = "sources", operation_id = "getSnapshot",
    params(("name" = String, Path),
        ("selector" = String, Path, description = "Number, id, `latest`, `as-of:<time>` or the name of an environment")),
    responses((status = 200, body = SnapshotDetail), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path((name, selector)): Path<(String, String)>,
    caller: Caller,
    params: Params,
) -> Result<Json<SnapshotDetail>> {
    params.finish()?;
    Ok(Json(encode::snapshot_detail(state.control.get_snapshot(&caller.ctx, &name, &selector).await?)))
}

/// Packages of a snapshot.
#[utoipa::path(get, path = "/api/v1/sources/{name}/snapshots/{selector}/units", tag = "sources",
    operation_id = "listSnapshotUnits",
    params(("name" = String, Path),
        ("selector" = String, Path, description = "Number, id, `latest`, `as-of:<time>` or the name of an environment"),
        ("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("index" = Option<String>, Query, description = "Only this index (deb), for example main/amd64"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = UnitPage), (status = "default", body = ApiError)))]
pub async fn units(
    State(state): State<AppState>,
    Path((name, selector)): Path<(String, String)>,
    caller: Caller,
    params: Params,
) -> Result<Json<UnitPage>> {
    units_of(&state, &caller, &name, &selector, params).await
}

pub(super) async fn units_of(
    state: &AppState,
    caller: &Caller,
    name: &str,
    selector: &str,
    mut params: Params,
) -> Result<Json<UnitPage>> {
    let page = params.page()?;
    let query = UnitQuery {
        name_contains: params.one("q")?.unwrap_or_default(),
        index: params.one("index")?,
        cursor: page.cursor,
        limit: page.limit,
    };
    params.finish()?;
    Ok(Json(encode::units(state.control.snapshot_units(&caller.ctx, name, selector, &query).await?)))
}
