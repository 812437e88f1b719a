//! How hosts stand with their policies, now and before, what drifted, and the secrets that policies name.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    ApiError, ComplianceCounts, ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance,
    HostDriftEvent, Page, PolicyCompliance, PolicySecret, ResourceCompliance, SetPolicySecret,
};
use drydock_control::Secret;
use drydock_control::store::compliance::{IntervalQuery, ResultQuery};
use drydock_control::store::drift::DriftQuery;
use drydock_domain::policy::{ComplianceState, DriftOutcome, HostPolicies};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::error::Result;
use super::extract::{Caller, Params, StrictJson, no_idempotency_key};
use super::{csv, encode};
use crate::state::AppState;

/// Days of a trend when none are asked for, count.
const TREND_DAYS: u32 = 30;

fn state_of(params: &mut Params) -> Result<Option<ComplianceState>> {
    params.parsed("state", "COMPLIANT, NON_COMPLIANT or UNKNOWN", ComplianceState::parse)
}

fn moment(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn numbers(counts: &ComplianceCounts) -> [String; 3] {
    [counts.compliant, counts.non_compliant, counts.unknown].map(|n| n.to_string())
}

fn all_of<T>(items: Vec<T>) -> Page<T> {
    Page { items, next_cursor: None }
}

/// How the whole fleet stands: hosts by state, assignments, why not, and drift of the last day.
#[utoipa::path(get, path = "/api/v1/compliance", tag = "compliance", operation_id = "getFleetCompliance",
    responses((status = 200, body = FleetCompliance), (status = "default", body = ApiError)))]
pub async fn fleet(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<FleetCompliance>> {
    params.finish()?;
    Ok(Json(state.control.fleet_compliance(&caller.ctx).await?))
}

/// How each policy stands over its hosts. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/compliance/policies", tag = "compliance", operation_id = "listPolicyCompliance",
    params(("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("format" = Option<String>, Query, description = "json, or csv: a file")),
    responses((status = 200, body = Page<PolicyCompliance>), (status = "default", body = ApiError)))]
pub async fn policies(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let assignment = params.one("assignment")?;
    let as_csv = csv::wanted(&mut params)?;
    params.finish()?;
    let found = state.control.compliance_by_policy(&caller.ctx, assignment.as_deref()).await?;
    if !as_csv {
        return Ok(Json(all_of(found)).into_response());
    }
    let header = ["assignment", "policy", "compliant", "non_compliant", "unknown"];
    let row = |p: PolicyCompliance| [vec![p.assignment, p.policy], numbers(&p.hosts).to_vec()].concat();
    Ok(csv::file("compliance-policies", &header, found.into_iter().map(row)))
}

/// How each resource stands over its hosts. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/compliance/resources", tag = "compliance", operation_id = "listResourceCompliance",
    params(("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("policy" = Option<String>, Query, description = "Only this policy"),
        ("format" = Option<String>, Query, description = "json, or csv: a file")),
    responses((status = 200, body = Page<ResourceCompliance>), (status = "default", body = ApiError)))]
pub async fn resources(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let (assignment, policy) = (params.one("assignment")?, params.one("policy")?);
    let as_csv = csv::wanted(&mut params)?;
    params.finish()?;
    let found = state.control.compliance_by_resource(&caller.ctx, assignment.as_deref(), policy.as_deref()).await?;
    if !as_csv {
        return Ok(Json(all_of(found)).into_response());
    }
    let header = ["assignment", "policy", "resource", "compliant", "non_compliant", "unknown"];
    let row = |r: ResourceCompliance| [vec![r.assignment, r.policy, r.resource], numbers(&r.hosts).to_vec()].concat();
    Ok(csv::file("compliance-resources", &header, found.into_iter().map(row)))
}

/// How policies stand on hosts: one row for each host and policy.
#[utoipa::path(get, path = "/api/v1/compliance/results", tag = "compliance", operation_id = "listComplianceResults",
    params(("instance" = Option<String>, Query, description = "Only this host, by name or id"),
        ("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("policy" = Option<String>, Query, description = "Only this policy"),
        ("state" = Option<ComplianceState>, Query, description = "Only this state"),
        ("reason" = Option<String>, Query, description = "Only this reason"),
        ("format" = Option<String>, Query, description = "json (pages), or csv: all rows as a file"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<ComplianceResult>), (status = "default", body = ApiError)))]
pub async fn results(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let instance = params.one("instance")?;
    let mut query = ResultQuery {
        instance: None,
        assignment: params.one("assignment")?,
        policy: params.one("policy")?,
        state: state_of(&mut params)?,
        reason: params.one("reason")?,
        page: Default::default(),
    };
    let as_csv = csv::wanted(&mut params)?;
    query.page = params.page()?;
    params.finish()?;
    if !as_csv {
        let found = state.control.compliance_results(&caller.ctx, instance.as_deref(), query).await?;
        return Ok(Json(encode::page(found, |r| r)).into_response());
    }
    let found = state.control.export_compliance_results(&caller.ctx, instance.as_deref(), query).await?;
    let header = ["host", "zone", "assignment", "revision", "policy", "state", "reason", "since", "checked", "run"];
    let row = |r: ComplianceResult| {
        let (revision, checked) = (r.revision.to_string(), moment(r.checked_at));
        let state = r.state.as_str().to_owned();
        vec![r.instance_name, r.zone, r.assignment, revision, r.policy, state, r.reason, r.since.to_string(), checked, r.run]
    };
    Ok(csv::file("compliance", &header, found.into_iter().map(row)))
}

/// How policies stood on hosts, from when to when, newest first.
#[utoipa::path(get, path = "/api/v1/compliance/history", tag = "compliance", operation_id = "listComplianceHistory",
    params(("instance" = Option<String>, Query, description = "Only this host, by name or id"),
        ("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("policy" = Option<String>, Query, description = "Only this policy"),
        ("format" = Option<String>, Query, description = "json (pages), or csv: all rows as a file"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<ComplianceInterval>), (status = "default", body = ApiError)))]
pub async fn history(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let instance = params.one("instance")?;
    let (assignment, policy) = (params.one("assignment")?, params.one("policy")?);
    let as_csv = csv::wanted(&mut params)?;
    let query = IntervalQuery { instance: None, assignment, policy, page: params.page()? };
    params.finish()?;
    if !as_csv {
        let found = state.control.compliance_history(&caller.ctx, instance.as_deref(), query).await?;
        return Ok(Json(encode::page(found, |i| i)).into_response());
    }
    let found = state.control.export_compliance_history(&caller.ctx, instance.as_deref(), query).await?;
    let header = ["host", "assignment", "policy", "state", "reason", "since", "until"];
    let row = |i: ComplianceInterval| {
        let state = i.state.as_str().to_owned();
        vec![i.instance_name, i.assignment, i.policy, state, i.reason, i.since.to_string(), moment(i.until)]
    };
    Ok(csv::file("compliance-history", &header, found.into_iter().map(row)))
}

/// How policies stood at the end of each of the last days (UTC), oldest first; the last one is now.
#[utoipa::path(get, path = "/api/v1/compliance/trend", tag = "compliance", operation_id = "getComplianceTrend",
    params(("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("days" = Option<u32>, Query, description = "1 to 400; 30 when absent"),
        ("format" = Option<String>, Query, description = "json, or csv: a file")),
    responses((status = 200, body = Page<ComplianceDay>), (status = "default", body = ApiError)))]
pub async fn trend(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let assignment = params.one("assignment")?;
    let days = params.parsed("days", "a number of days", |t| t.parse().ok())?.unwrap_or(TREND_DAYS);
    let as_csv = csv::wanted(&mut params)?;
    params.finish()?;
    let found = state.control.compliance_trend(&caller.ctx, assignment.as_deref(), days).await?;
    if !as_csv {
        return Ok(Json(all_of(found)).into_response());
    }
    let header = ["day", "compliant", "non_compliant", "unknown", "drift_events"];
    let row = |d: ComplianceDay| [vec![d.day], numbers(&d.counts).to_vec(), vec![d.drift_events.to_string()]].concat();
    Ok(csv::file("compliance-trend", &header, found.into_iter().map(row)))
}

/// How one host stands: each policy with its resources, steps and evidence.
#[utoipa::path(get, path = "/api/v1/instances/{id}/compliance", tag = "compliance", operation_id = "getInstanceCompliance",
    params(("id" = String, Path, description = "Name or id")),
    responses((status = 200, body = HostCompliance), (status = "default", body = ApiError)))]
pub async fn of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<HostCompliance>> {
    params.finish()?;
    Ok(Json(state.control.host_compliance(&caller.ctx, &id).await?))
}

/// The policies document that the host is to have, as it gets it: templates filled in, secrets named.
#[utoipa::path(get, path = "/api/v1/instances/{id}/policies", tag = "compliance", operation_id = "getInstancePolicies",
    params(("id" = String, Path, description = "Name or id")),
    responses((status = 200, body = Object), (status = "default", body = ApiError)))]
pub async fn document_of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<HostPolicies>> {
    params.finish()?;
    Ok(Json(state.control.host_policies(&caller.ctx, &id).await?))
}

/// Drift events of hosts, newest first: what was found, by what it was noticed, what became of it and how soon.
#[utoipa::path(get, path = "/api/v1/drift-events", tag = "compliance", operation_id = "listDriftEvents",
    params(("instance" = Option<String>, Query, description = "Only this host, by name or id"),
        ("assignment" = Option<String>, Query, description = "Only this assignment"),
        ("policy" = Option<String>, Query, description = "Only this policy"),
        ("outcome" = Option<DriftOutcome>, Query, description = "Only this outcome"),
        ("since" = Option<String>, Query, description = "Only those noticed since, RFC 3339"),
        ("format" = Option<String>, Query, description = "json (pages), or csv: all rows as a file"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<HostDriftEvent>), (status = "default", body = ApiError)))]
pub async fn drift(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let instance = params.one("instance")?;
    let mut query = DriftQuery {
        instance: None,
        assignment: params.one("assignment")?,
        policy: params.one("policy")?,
        outcome: params.parsed("outcome", "REPAIRED, FAILED, REPORTED or FLAPPING", DriftOutcome::parse)?,
        since: params.parsed("since", "a moment such as 2026-11-23T05:00:00Z", |t| t.parse().ok())?,
        page: Default::default(),
    };
    let as_csv = csv::wanted(&mut params)?;
    query.page = params.page()?;
    params.finish()?;
    if !as_csv {
        let found = state.control.drift_events(&caller.ctx, instance.as_deref(), query).await?;
        return Ok(Json(encode::page(found, |e| e)).into_response());
    }
    let found = state.control.export_drift_events(&caller.ctx, instance.as_deref(), query).await?;
    let header = [
        "host",
        "seen",
        "repaired",
        "time_to_repair_ms",
        "assignment",
        "policy",
        "resource",
        "what",
        "noticed_by",
        "cause",
        "outcome",
    ];
    let row = |e: HostDriftEvent| {
        let took = e.time_to_repair_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let (seen, repaired, outcome) = (e.event.seen_at.to_string(), moment(e.event.repaired_at), e.event.outcome.as_str());
        let (name, e) = (e.instance_name, e.event);
        vec![name, seen, repaired, took, e.assignment, e.policy, e.resource, e.what, e.noticed_by, e.cause, outcome.to_owned()]
    };
    Ok(csv::file("drift-events", &header, found.into_iter().map(row)))
}

/// Secrets by name, without values. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets", operation_id = "listSecrets",
    responses((status = 200, body = Page<PolicySecret>), (status = "default", body = ApiError)))]
pub async fn secrets(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<PolicySecret>>> {
    params.finish()?;
    Ok(Json(all_of(state.control.list_secrets(&caller.ctx).await?)))
}

/// One secret, without its value.
#[utoipa::path(get, path = "/api/v1/secrets/{name}", tag = "secrets", operation_id = "getSecret", params(("name" = String, Path)),
    responses((status = 200, body = PolicySecret), (status = "default", body = ApiError)))]
pub async fn secret(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<PolicySecret>> {
    params.finish()?;
    Ok(Json(state.control.get_secret(&caller.ctx, &name).await?))
}

/// Sets a secret. Hosts whose policies name it get the new value; nobody else ever sees it.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets", operation_id = "setSecret", params(("name" = String, Path)),
    request_body = SetPolicySecret, responses((status = 200, body = PolicySecret), (status = "default", body = ApiError)))]
pub async fn set_secret(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<SetPolicySecret>,
) -> Result<Json<PolicySecret>> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    Ok(Json(state.control.set_secret(&caller.ctx, &name, &Secret::new(ask.value), ask.compartment.as_deref()).await?))
}

/// Deletes a secret. Hosts that have policies which name it keep what they have; those policies reach no other host.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets", operation_id = "deleteSecret",
    params(("name" = String, Path)), responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_secret(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_secret(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
