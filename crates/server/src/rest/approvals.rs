//! The two-person rule: rules, and requests for approval.

use axum::Json;
use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, Approval, ApprovalRule, DecideApproval, Page};
use drydock_control::store::approvals::{ApprovalRecord, ApprovalRuleRecord, ApprovalState};
use drydock_domain::access::approval::ApprovalRuleSpec;
use drydock_domain::ids::ApprovalId;
use http::StatusCode;

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson};
use super::split_verb;
use crate::state::AppState;

/// Approval rules by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/approval-rules", tag = "access", operation_id = "listApprovalRules",
    responses((status = 200, body = Page<ApprovalRule>), (status = "default", body = ApiError)))]
pub async fn list_rules(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<ApprovalRule>>> {
    params.finish()?;
    let found = state.control.list_approval_rules(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(rule).collect(), next_cursor: None }))
}

/// Makes an approval rule, or replaces the one of its name.
#[utoipa::path(put, path = "/api/v1/approval-rules/{name}", tag = "access", operation_id = "setApprovalRule",
    params(("name" = String, Path)), request_body = ApprovalRuleSpec,
    responses((status = 200, body = ApprovalRule), (status = "default", body = ApiError)))]
pub async fn set_rule(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(spec): StrictJson<ApprovalRuleSpec>,
) -> Result<Json<ApprovalRule>> {
    params.finish()?;
    if spec.name != name {
        return Err(Failure::field("name", "is not the name in the address"));
    }
    Ok(Json(rule(state.control.set_approval_rule(&caller.ctx, spec).await?)))
}

/// Deletes an approval rule.
#[utoipa::path(delete, path = "/api/v1/approval-rules/{name}", tag = "access", operation_id = "deleteApprovalRule",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_rule(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_approval_rule(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Requests for approval, newest first: the caller's own, and those the caller could approve. A page may be short.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "access", operation_id = "listApprovals",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<Approval>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<Approval>>> {
    let page = params.page()?;
    params.finish()?;
    let now = caller.ctx.now;
    let found = state.control.list_approvals(&caller.ctx, &page).await?;
    Ok(Json(super::encode::page(found, |own| request(own, now))))
}

/// Approves what somebody else asked for: they may then repeat their request, once.
#[utoipa::path(post, path = "/api/v1/approvals/{id}:approve", tag = "access", operation_id = "approve",
    params(("id" = ApprovalId, Path)), request_body = DecideApproval,
    responses((status = 200, body = Approval), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<DecideApproval>,
) -> Result<Json<Approval>> {
    params.finish()?;
    let (id, verb) = split_verb(&target)?;
    let approve = match verb {
        "approve" => true,
        "refuse" => false,
        _ => return Err(Failure::not_found(format!("requests for approval have no {verb:?}; there are :approve and :refuse"))),
    };
    let decided = state.control.decide_approval(&caller.ctx, id.parse::<ApprovalId>()?, approve, &ask.reason).await?;
    Ok(Json(request(decided, caller.ctx.now)))
}

/// Refuses what somebody asked for, also one's own.
#[utoipa::path(post, path = "/api/v1/approvals/{id}:refuse", tag = "access", operation_id = "refuseApproval",
    params(("id" = ApprovalId, Path)), request_body = DecideApproval,
    responses((status = 200, body = Approval), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn refuse() {}

fn rule(own: ApprovalRuleRecord) -> ApprovalRule {
    ApprovalRule {
        spec: own.spec,
        created_by: own.created_by,
        created_at: own.created_at,
        updated_at: own.updated_at,
        etag: own.version.to_string(),
    }
}

fn request(own: ApprovalRecord, now: jiff::Timestamp) -> Approval {
    let over = own.expires_at <= now && matches!(own.state, ApprovalState::Pending | ApprovalState::Approved);
    Approval {
        id: own.id,
        rule: own.rule,
        operation: own.operation,
        resource: own.resource,
        compartment: own.compartment,
        requester: own.requester,
        approver: own.approver,
        state: if over { "EXPIRED".to_owned() } else { own.state.as_str().to_owned() },
        reason: own.reason,
        created_at: own.created_at,
        expires_at: own.expires_at,
        decided_at: own.decided_at,
    }
}
