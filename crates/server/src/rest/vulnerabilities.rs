//! Vulnerabilities: which are open, where, since when.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Page};
use drydock_control::VulnerabilityQuery;
use drydock_domain::advisory::open::{
    AffectedInstance, AffectedPackage, FleetSecurity, InstanceVulnerability, VulnerabilityDetail, VulnerabilitySummary,
};
use drydock_domain::advisory::{Cvss, Epss, Severity};

use super::advisories::{flag, severity, time};
use super::error::Result;
use super::extract::{Caller, Params};
use super::{csv, encode};
use crate::state::AppState;

/// Vulnerabilities that are open on some host: known exploited ones first, then overdue ones, then the worst,
/// the likeliest, the most widespread. Hosts on which one is accepted are counted apart.
#[utoipa::path(get, path = "/api/v1/vulnerabilities", tag = "vulnerabilities", operation_id = "listVulnerabilities",
    params(("severity" = Option<Severity>, Query, description = "At least so bad"),
        ("q" = Option<String>, Query, description = "The id holds this text"),
        ("exploited" = Option<bool>, Query, description = "true: known to be exploited"),
        ("installable" = Option<bool>, Query, description = "true: some host can close it now"),
        ("overdue" = Option<bool>, Query, description = "true: on some host it is open for longer than it may be"),
        ("excepted" = Option<bool>, Query, description = "true: also those that are accepted wherever they are open"),
        ("format" = Option<String>, Query, description = "json (pages), or csv: all rows as a file"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<VulnerabilitySummary>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let query = VulnerabilityQuery {
        severity: severity(&mut params)?,
        text: params.one("q")?,
        exploited: flag(&mut params, "exploited")?,
        installable: flag(&mut params, "installable")?,
        overdue: flag(&mut params, "overdue")?,
        excepted: flag(&mut params, "excepted")?,
    };
    let as_csv = csv::wanted(&mut params)?;
    let page = params.page()?;
    params.finish()?;
    if as_csv {
        let rows = state.control.export_vulnerabilities(&caller.ctx, &query).await?;
        let header =
            ["id", "severity", "cvss", "exploited", "epss", "hosts", "installable", "since", "due", "overdue", "excepted"];
        return Ok(csv::file("vulnerabilities", &header, rows.into_iter().map(row)));
    }
    let found = state.control.list_vulnerabilities(&caller.ctx, &query, &page).await?;
    Ok(Json(encode::page(found, |v| v)).into_response())
}

fn row(v: VulnerabilitySummary) -> Vec<String> {
    vec![
        v.id,
        v.severity.as_str().to_owned(),
        score(v.cvss.as_ref()),
        v.kev.is_some().to_string(),
        epss(v.epss),
        v.hosts.to_string(),
        v.installable.to_string(),
        time(v.since),
        time(v.due),
        v.overdue.to_string(),
        v.excepted.to_string(),
    ]
}

fn score(cvss: Option<&Cvss>) -> String {
    cvss.map(|c| format!("{}.{}", c.tenths / 10, c.tenths % 10)).unwrap_or_default()
}

fn epss(epss: Option<Epss>) -> String {
    epss.map(|e| format!("0.{:06}", e.millionths.min(999_999))).unwrap_or_default()
}

/// One vulnerability with everything that is said of it, open somewhere or not.
#[utoipa::path(get, path = "/api/v1/vulnerabilities/{id}", tag = "vulnerabilities", operation_id = "getVulnerability",
    params(("id" = String, Path)),
    responses((status = 200, body = VulnerabilityDetail), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<VulnerabilityDetail>> {
    params.finish()?;
    Ok(Json(state.control.get_vulnerability(&caller.ctx, &id).await?))
}

/// Hosts on which a vulnerability is open, by name.
#[utoipa::path(get, path = "/api/v1/vulnerabilities/{id}/instances", tag = "vulnerabilities",
    operation_id = "listVulnerabilityInstances",
    params(("id" = String, Path),
        ("excepted" = Option<bool>, Query, description = "true: also those on which it is accepted"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<AffectedInstance>), (status = "default", body = ApiError)))]
pub async fn instances(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<AffectedInstance>>> {
    let excepted = flag(&mut params, "excepted")?;
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.vulnerability_instances(&caller.ctx, &id, excepted, &page).await?, |v| v)))
}

/// Vulnerabilities that are open on an instance, ranked as in lists. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/vulnerabilities", tag = "instances",
    operation_id = "listInstanceVulnerabilities",
    params(("idOrName" = String, Path), ("format" = Option<String>, Query, description = "json or csv"),
        ("excepted" = Option<bool>, Query, description = "true: also those that are accepted on it")),
    responses((status = 200, body = Page<InstanceVulnerability>), (status = "default", body = ApiError)))]
pub async fn of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Response> {
    let as_csv = csv::wanted(&mut params)?;
    let excepted = flag(&mut params, "excepted")?;
    params.finish()?;
    let items = state.control.instance_vulnerabilities(&caller.ctx, &id, excepted).await?;
    if as_csv {
        let header =
            ["id", "severity", "cvss", "exploited", "epss", "state", "since", "due", "overdue", "exceptedUntil", "packages"];
        let package = |p: &AffectedPackage| match &p.fixed {
            Some(fixed) => format!("{} {} < {fixed}", p.name, p.installed),
            None => format!("{} {}", p.name, p.installed),
        };
        let rows = items.into_iter().map(|v| {
            vec![
                v.id,
                v.severity.as_str().to_owned(),
                score(v.cvss.as_ref()),
                v.kev.is_some().to_string(),
                epss(v.epss),
                v.state.as_str().to_owned(),
                time(v.since),
                time(v.due),
                v.overdue.to_string(),
                time(v.exception.map(|e| e.until)),
                v.packages.iter().map(package).collect::<Vec<_>>().join("; "),
            ]
        });
        return Ok(csv::file("vulnerabilities", &header, rows));
    }
    Ok(Json(Page { items, next_cursor: None }).into_response())
}

/// The fleet in numbers: advisories it needs and vulnerabilities that are open, by severity.
#[utoipa::path(get, path = "/api/v1/vulnerabilities:summary", tag = "vulnerabilities", operation_id = "getFleetSecurity",
    responses((status = 200, body = FleetSecurity), (status = "default", body = ApiError)))]
pub async fn fleet(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<FleetSecurity>> {
    params.finish()?;
    Ok(Json(state.control.fleet_security(&caller.ctx).await?))
}
