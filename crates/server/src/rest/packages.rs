//! Packages across the fleet and over time.

use axum::Json;
use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, InstalledPackage, PackageChanges, PackageHolding, Page};
use drydock_control::{HoldingQuery, HoldingView, InstalledView};
use jiff::Timestamp;

use super::encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params};
use crate::state::AppState;

/// A time as query parameters have it.
pub(super) fn time(params: &mut Params, name: &'static str) -> Result<Option<Timestamp>> {
    params.parsed(name, "a time such as 2026-11-19T22:00:00Z", |text| text.parse().ok())
}

/// Packages of the fleet by name and version, with the number of hosts that have each.
#[utoipa::path(get, path = "/api/v1/packages", tag = "packages", operation_id = "listFleetPackages",
    params(("q" = Option<String>, Query, description = "Only names that hold this text"),
        ("asOf" = Option<String>, Query, description = "As of this time; absent: what active instances have now"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<InstalledPackage>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<InstalledPackage>>> {
    let (q, at, page) = (params.one("q")?.unwrap_or_default(), time(&mut params, "asOf")?, params.page()?);
    params.finish()?;
    let found = state.control.list_packages(&caller.ctx, &q, at, &page).await?;
    let row = |v: InstalledView| InstalledPackage { name: v.name, arch: v.arch, version: v.version, hosts: v.hosts };
    Ok(Json(encode::page(found, row)))
}

/// Which instances had a package when, by name of the instance and time.
#[utoipa::path(get, path = "/api/v1/packages/{name}/holdings", tag = "packages", operation_id = "listPackageHoldings",
    params(("name" = String, Path, description = "Name of the package"),
        ("version" = Option<String>, Query, description = "Only this version, or bounds such as `<3.0.14` or `>=3.0,<3.0.14`"),
        ("arch" = Option<String>, Query, description = "Only this architecture"),
        ("from" = Option<String>, Query, description = "From this time on; absent: from the beginning of the history"),
        ("to" = Option<String>, Query, description = "Up to this time; absent: up to now"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PackageHolding>), (status = "default", body = ApiError)))]
pub async fn holdings(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PackageHolding>>> {
    let query = HoldingQuery {
        version: params.one("version")?.unwrap_or_default(),
        arch: params.one("arch")?.unwrap_or_default(),
        from: time(&mut params, "from")?,
        to: time(&mut params, "to")?,
        page: params.page()?,
    };
    params.finish()?;
    let found = state.control.who_had(&caller.ctx, &name, &query).await?;
    let row = |v: HoldingView| {
        let HoldingView { host, arch, version, from, from_begin, until } = v;
        PackageHolding { host, arch, version, from, from_begin, until }
    };
    Ok(Json(encode::page(found, row)))
}

/// What changed in the packages of an instance between two times.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/package-changes", tag = "instances", operation_id = "listPackageChanges",
    params(("idOrName" = String, Path),
        ("from" = String, Query, description = "Earlier time"),
        ("to" = Option<String>, Query, description = "Later time; absent: now")),
    responses((status = 200, body = PackageChanges), (status = "default", body = ApiError)))]
pub async fn changes(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<PackageChanges>> {
    let (from, to) = (time(&mut params, "from")?, time(&mut params, "to")?);
    params.finish()?;
    let from = from.ok_or_else(|| Failure::field("from", "is missing: from when on"))?;
    let found = state.control.instance_packages_diff(&caller.ctx, &id, from, to.unwrap_or(caller.ctx.now)).await?;
    Ok(Json(PackageChanges { from: found.from, to: found.to, changes: found.changes }))
}
