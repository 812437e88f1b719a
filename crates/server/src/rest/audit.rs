//! The audit: records, an export of it as JSON lines, settings, seals.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{self, ApiError, AuditForward, AuditRecord, AuditSeal, DropAudit, DroppedAudit, Page};
use drydock_control::records;
use drydock_control::store::audit::AuditQuery;
use drydock_control::{AuditExport, AuditStatus};
use drydock_domain::audit::chain::{Seal, hex, key_fingerprint};
use drydock_domain::audit::family::AuditSettings;
use drydock_domain::audit::line::push_seal;
use futures::Stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use jiff::Timestamp;

use super::error::Result;
use super::extract::{Caller, Params, StrictJson};
use super::{encode, no_body};
use crate::state::AppState;

/// What an export is.
const JSON_LINES: &str = "application/jsonl";

/// Audit records, newest first, about what lies where the caller may read them.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "listAudit",
    params(("who" = Option<String>, Query, description = "Name or id of who did it"),
        ("operation" = Option<String>, Query, description = "Operation; `patch-job.*` is all of a noun"),
        ("resource" = Option<String>, Query, description = "Part of the object"),
        ("outcome" = Option<String>, Query, description = "allowed, denied or failed"),
        ("requestId" = Option<String>, Query, description = "The request it came with"),
        ("since" = Option<Timestamp>, Query, description = "From this moment on"),
        ("until" = Option<Timestamp>, Query, description = "Before this moment"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<AuditRecord>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<AuditRecord>>> {
    let query = AuditQuery {
        who: params.one("who")?,
        operation: params.one("operation")?,
        resource: params.one("resource")?,
        outcome: outcome(&mut params)?,
        request_id: params.one("requestId")?,
        since: moment(&mut params, "since")?,
        until: moment(&mut params, "until")?,
        page: params.page()?,
    };
    params.finish()?;
    let found = state.control.list_audit(&caller.ctx, &query).await?;
    Ok(Json(encode::page(found, record)))
}

fn outcome(params: &mut Params) -> Result<Option<String>> {
    let known = |text: &str| matches!(text, "allowed" | "denied" | "failed").then(|| text.to_owned());
    params.parsed("outcome", "allowed, denied or failed", known)
}

fn moment(params: &mut Params, name: &str) -> Result<Option<Timestamp>> {
    params.parsed(name, "a time such as 2026-11-02T08:00:00Z", |t| t.parse().ok())
}

/// The audit as JSON lines: whole sealed segments with everything recorded from `since` to `until`, closed by a signed line.
/// `drydock audit verify` checks it without a server.
#[utoipa::path(get, path = "/api/v1/audit:export", tag = "audit", operation_id = "exportAudit",
    params(("since" = Option<Timestamp>, Query, description = "From this moment on, and some earlier ones"),
        ("until" = Option<Timestamp>, Query, description = "To this moment, and some later ones")),
    responses((status = 200, body = String, content_type = "application/jsonl"), (status = "default", body = ApiError)))]
pub async fn export(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Response> {
    let (since, until) = (moment(&mut params, "since")?, moment(&mut params, "until")?);
    params.finish()?;
    let export = state.control.export_audit(&caller.ctx, since, until).await?;
    let headers = [(CONTENT_TYPE, JSON_LINES), (CONTENT_DISPOSITION, "attachment; filename=\"drydock-audit.jsonl\"")];
    Ok((headers, Body::from_stream(pieces(export))).into_response())
}

/// A failure in the middle ends the body early; the file then lacks its signed end, which tells whoever checks it.
fn pieces(export: AuditExport) -> impl Stream<Item = std::result::Result<Vec<u8>, std::io::Error>> {
    futures::stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(Some(lines)) => Some((Ok(lines), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "an export of the audit could not be finished");
                Some((Err(std::io::Error::other(error)), None))
            }
        }
    })
}

/// What is recorded and kept, how far the audit reaches, and the key that seals are signed with.
#[utoipa::path(get, path = "/api/v1/audit-settings", tag = "audit", operation_id = "getAuditSettings",
    responses((status = 200, body = rest::AuditStatus), (status = "default", body = ApiError)))]
pub async fn status(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<rest::AuditStatus>> {
    params.finish()?;
    Ok(Json(standing(state.control.audit_status(&caller.ctx).await?)))
}

/// Changes what is recorded and how long it is kept.
#[utoipa::path(put, path = "/api/v1/audit-settings", tag = "audit", operation_id = "setAuditSettings",
    request_body = AuditSettings,
    responses((status = 200, body = rest::AuditStatus), (status = "default", body = ApiError)))]
pub async fn set(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(settings): StrictJson<AuditSettings>,
) -> Result<Json<rest::AuditStatus>> {
    params.finish()?;
    Ok(Json(standing(state.control.set_audit_settings(&caller.ctx, settings).await?)))
}

/// Signs the end of the chain now. Keep the answer elsewhere: it proves later that nothing before it was changed or cut off.
#[utoipa::path(post, path = "/api/v1/audit:seal", tag = "audit", operation_id = "sealAudit",
    responses((status = 200, body = AuditSeal), (status = "default", body = ApiError)))]
pub async fn seal(State(state): State<AppState>, caller: Caller, params: Params, body: bytes::Bytes) -> Result<Json<AuditSeal>> {
    params.finish()?;
    no_body(&body)?;
    Ok(Json(encoded(&state.control.make_audit_seal(&caller.ctx).await?)))
}

/// Drops whole sealed segments that are older. What stays is still provable: the chain goes on from the last seal.
#[utoipa::path(post, path = "/api/v1/audit:drop", tag = "audit", operation_id = "dropAudit",
    request_body = DropAudit,
    responses((status = 200, body = DroppedAudit), (status = "default", body = ApiError)))]
pub async fn drop_old(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<DropAudit>,
) -> Result<Json<DroppedAudit>> {
    params.finish()?;
    Ok(Json(DroppedAudit { records: state.control.drop_audit(&caller.ctx, ask.before).await? }))
}

fn record(r: records::AuditRecord) -> AuditRecord {
    let records::AuditRecord { seq, record: r, hash } = r;
    AuditRecord {
        seq,
        at: r.at,
        who_kind: r.who_kind.into_owned(),
        who_id: r.who_id.into_owned(),
        who: r.who.into_owned(),
        address: r.address.into_owned(),
        request_id: r.request_id.into_owned(),
        operation: r.operation.into_owned(),
        compartment: r.compartment.into_owned(),
        resource: r.resource.into_owned(),
        decision: r.decision.into_owned(),
        reason: r.reason.into_owned(),
        // A row that was tampered with is shown all the same.
        parameters: serde_json::from_str(&r.parameters).unwrap_or_else(|_| r.parameters.into_owned().into()),
        outcome: r.outcome.into_owned(),
        error: r.error.into_owned(),
        duration_ms: r.duration_ms,
        hash: hex(&hash),
    }
}

fn standing(s: AuditStatus) -> rest::AuditStatus {
    rest::AuditStatus {
        settings: s.settings,
        first: s.first,
        last: s.last,
        seal: s.seal.as_ref().map(encoded),
        key: hex(&s.key),
        key_fingerprint: key_fingerprint(&s.key),
        forwards: s.forwards.into_iter().map(|(target, seq)| AuditForward { target, seq }).collect(),
    }
}

fn encoded(seal: &Seal) -> AuditSeal {
    let mut line = Vec::new();
    push_seal(&mut line, seal);
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    AuditSeal { seq: seal.seq, hash: hex(&seal.hash), at: seal.at, line }
}
