//! Advisories: which there are, which hosts need them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Page};
use drydock_control::AdvisoryQuery;
use drydock_domain::advisory::report::{AdvisedInstance, AdvisoryDetail, AdvisorySummary, InstanceAdvisory};
use drydock_domain::advisory::{AdvisoryKind, Severity};
use jiff::Timestamp;

use super::error::Result;
use super::extract::{Caller, Params};
use super::{csv, encode};
use crate::state::AppState;

/// Advisories of every feed and of the snapshots hosts see, newest first.
#[utoipa::path(get, path = "/api/v1/advisories", tag = "advisories", operation_id = "listAdvisories",
    params(("kind" = Option<Vec<AdvisoryKind>>, Query, description = "Only these kinds; repeat for more"),
        ("severity" = Option<Severity>, Query, description = "At least so bad"),
        ("q" = Option<String>, Query, description = "Id, title or a CVE holds this text"),
        ("cve" = Option<String>, Query, description = "Closes this CVE"),
        ("package" = Option<String>, Query, description = "Mends this package"),
        ("since" = Option<String>, Query, description = "Issued or changed since this time"),
        ("applicable" = Option<bool>, Query, description = "true: some host needs it"),
        ("format" = Option<String>, Query, description = "json (pages), or csv: all rows as a file"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<AdvisorySummary>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let mut kinds = Vec::new();
    for word in params.all("kind") {
        let found = [AdvisoryKind::Security, AdvisoryKind::Bugfix, AdvisoryKind::Enhancement, AdvisoryKind::Other]
            .into_iter()
            .find(|k| k.as_str() == word);
        kinds.push(found.ok_or_else(|| {
            super::error::Failure::field("kind", format!("{word:?} is not SECURITY, BUGFIX, ENHANCEMENT or OTHER"))
        })?);
    }
    let query = AdvisoryQuery {
        kinds,
        severity: severity(&mut params)?,
        text: params.one("q")?,
        cve: params.one("cve")?,
        package: params.one("package")?,
        since: params.parsed("since", "a time such as 2026-11-01T00:00:00Z", |t| t.parse::<Timestamp>().ok())?,
        applicable: flag(&mut params, "applicable")?,
    };
    let as_csv = csv::wanted(&mut params)?;
    let page = params.page()?;
    params.finish()?;
    if as_csv {
        let rows = state.control.export_advisories(&caller.ctx, &query).await?;
        return Ok(csv::file("advisories", &HEADER, rows.into_iter().map(row)));
    }
    let found = state.control.list_advisories(&caller.ctx, &query, &page).await?;
    Ok(Json(encode::page(found, |a| a)).into_response())
}

const HEADER: [&str; 10] =
    ["id", "kind", "severity", "issued", "updated", "applicable", "installable", "cves", "origins", "title"];

fn row(a: AdvisorySummary) -> Vec<String> {
    vec![
        a.id,
        a.kind.as_str().to_owned(),
        a.severity.as_str().to_owned(),
        time(a.issued),
        time(a.updated),
        a.applicable.to_string(),
        a.installable.to_string(),
        a.cves.join(" "),
        a.origins.join("; "),
        a.title,
    ]
}

pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map(|t| t.to_string()).unwrap_or_default()
}

pub(super) fn flag(params: &mut Params, name: &str) -> Result<bool> {
    Ok(params.parsed(name, "true or false", |t| t.parse().ok())?.unwrap_or_default())
}

pub(super) fn severity(params: &mut Params) -> Result<Option<Severity>> {
    params.parsed("severity", "CRITICAL, IMPORTANT, MODERATE, LOW, NEGLIGIBLE or UNKNOWN", Severity::parse)
}

/// One advisory with everything that is said of it, and where its packages are to be had.
#[utoipa::path(get, path = "/api/v1/advisories/{id}", tag = "advisories", operation_id = "getAdvisory",
    params(("id" = String, Path)),
    responses((status = 200, body = AdvisoryDetail), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<AdvisoryDetail>> {
    params.finish()?;
    Ok(Json(state.control.get_advisory(&caller.ctx, &id).await?))
}

/// Hosts that need an advisory, by name.
#[utoipa::path(get, path = "/api/v1/advisories/{id}/instances", tag = "advisories", operation_id = "listAdvisoryInstances",
    params(("id" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<AdvisedInstance>), (status = "default", body = ApiError)))]
pub async fn instances(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<AdvisedInstance>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.advisory_instances(&caller.ctx, &id, &page).await?, |a| a)))
}

/// Advisories that an instance needs, worst first. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/advisories", tag = "instances",
    operation_id = "listInstanceAdvisories",
    params(("idOrName" = String, Path), ("format" = Option<String>, Query, description = "json or csv")),
    responses((status = 200, body = Page<InstanceAdvisory>), (status = "default", body = ApiError)))]
pub async fn of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Response> {
    let as_csv = csv::wanted(&mut params)?;
    params.finish()?;
    let items = state.control.instance_advisories(&caller.ctx, &id).await?;
    if as_csv {
        let header = ["id", "kind", "severity", "installable", "cves", "packages", "title"];
        let rows = items.into_iter().map(|a| {
            let packages = a.packages.iter().map(|p| format!("{} {} < {}", p.name, p.installed, p.fixed));
            vec![
                a.id,
                a.kind.as_str().to_owned(),
                a.severity.as_str().to_owned(),
                a.installable.to_string(),
                a.cves.join(" "),
                packages.collect::<Vec<_>>().join("; "),
                a.title,
            ]
        });
        return Ok(csv::file("advisories", &header, rows));
    }
    Ok(Json(Page { items, next_cursor: None }).into_response())
}
