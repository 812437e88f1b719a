//! Policies of access statements, dynamic groups, questions about access.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{
    AccessDecision, AccessHolders, AccessPolicy, ApiError, ConsideredStatement, CreateAccessPolicy, DynamicGroup,
    EditAccessPolicy, HoldingAccount, HoldingStatement, Page, SetDynamicGroup, TestAccess,
};
use drydock_control::store::dynamic_groups::DynamicGroupRecord;
use drydock_control::{AccessPolicyView, DecisionView, DynamicGroupSpec};
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, if_match, no_idempotency_key};
use super::with_etag;
use crate::state::AppState;

/// Policies that the caller may see, by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/access-policies", tag = "access", operation_id = "listAccessPolicies",
    responses((status = 200, body = Page<AccessPolicy>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<AccessPolicy>>> {
    params.finish()?;
    let found = state.control.list_access_policies(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode).collect(), next_cursor: None }))
}

/// Makes a policy. It holds from the next request on.
#[utoipa::path(post, path = "/api/v1/access-policies", tag = "access", operation_id = "createAccessPolicy",
    request_body = CreateAccessPolicy,
    responses((status = 201, body = AccessPolicy), (status = "default", body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<CreateAccessPolicy>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let CreateAccessPolicy { name, compartment, description, statements } = ask;
    let made = state.control.create_access_policy(&caller.ctx, &name, &compartment, &description, &statements).await?;
    Ok((StatusCode::CREATED, answer(made)).into_response())
}

/// One policy.
#[utoipa::path(get, path = "/api/v1/access-policies/{name}", tag = "access", operation_id = "getAccessPolicy",
    params(("name" = String, Path)),
    responses((status = 200, body = AccessPolicy), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(name): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(answer(state.control.get_access_policy(&caller.ctx, &name).await?))
}

/// Replaces description or statements.
#[utoipa::path(patch, path = "/api/v1/access-policies/{name}", tag = "access", operation_id = "editAccessPolicy",
    params(("name" = String, Path)), request_body = EditAccessPolicy,
    responses((status = 200, body = AccessPolicy), (status = "default", body = ApiError)))]
pub async fn edit(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<EditAccessPolicy>,
) -> Result<Response> {
    params.finish()?;
    let tag = if_match(&headers)?;
    let (description, statements) = (ask.description.as_deref(), ask.statements.as_deref());
    let edited = state.control.edit_access_policy(&caller.ctx, &name, description, statements, tag.as_deref()).await?;
    Ok(answer(edited))
}

/// Deletes a policy: what it gave is gone, what it denied is open.
#[utoipa::path(delete, path = "/api/v1/access-policies/{name}", tag = "access", operation_id = "deleteAccessPolicy",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_access_policy(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dynamic groups by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/dynamic-groups", tag = "access", operation_id = "listDynamicGroups",
    responses((status = 200, body = Page<DynamicGroup>), (status = "default", body = ApiError)))]
pub async fn list_groups(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<DynamicGroup>>> {
    params.finish()?;
    let found = state.control.list_dynamic_groups(&caller.ctx).await?;
    Ok(Json(Page { items: found.into_iter().map(encode_group).collect(), next_cursor: None }))
}

/// Makes a dynamic group.
#[utoipa::path(post, path = "/api/v1/dynamic-groups", tag = "access", operation_id = "createDynamicGroup",
    request_body = SetDynamicGroup,
    responses((status = 201, body = DynamicGroup), (status = "default", body = ApiError)))]
pub async fn create_group(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<SetDynamicGroup>,
) -> Result<Response> {
    params.finish()?;
    no_idempotency_key(&headers)?;
    let made = state.control.create_dynamic_group(&caller.ctx, &spec(ask)).await?;
    Ok((StatusCode::CREATED, group_answer(made)).into_response())
}

/// One dynamic group.
#[utoipa::path(get, path = "/api/v1/dynamic-groups/{name}", tag = "access", operation_id = "getDynamicGroup",
    params(("name" = String, Path)),
    responses((status = 200, body = DynamicGroup), (status = "default", body = ApiError)))]
pub async fn get_group(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    Ok(group_answer(state.control.get_dynamic_group(&caller.ctx, &name).await?))
}

/// Replaces description and rules.
#[utoipa::path(put, path = "/api/v1/dynamic-groups/{name}", tag = "access", operation_id = "editDynamicGroup",
    params(("name" = String, Path)), request_body = SetDynamicGroup,
    responses((status = 200, body = DynamicGroup), (status = "default", body = ApiError)))]
pub async fn edit_group(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    StrictJson(ask): StrictJson<SetDynamicGroup>,
) -> Result<Response> {
    params.finish()?;
    let tag = if_match(&headers)?;
    if ask.name != name {
        return Err(Failure::field("name", "never changes; delete the group and make another one"));
    }
    Ok(group_answer(state.control.edit_dynamic_group(&caller.ctx, &spec(ask), tag.as_deref()).await?))
}

/// Deletes a dynamic group: statements about it reach nobody from then on.
#[utoipa::path(delete, path = "/api/v1/dynamic-groups/{name}", tag = "access", operation_id = "deleteDynamicGroup",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_group(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_dynamic_group(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// May somebody do something, and why? About oneself everybody may ask; about others whoever may read policies there.
#[utoipa::path(post, path = "/api/v1/access:test", tag = "access", operation_id = "testAccess", request_body = TestAccess,
    responses((status = 200, body = Page<AccessDecision>), (status = "default", body = ApiError)))]
pub async fn test(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<TestAccess>,
) -> Result<Json<Page<AccessDecision>>> {
    params.finish()?;
    let found = state.control.test_access(&caller.ctx, ask.as_user.as_deref(), &ask.permissions, &ask.resource).await?;
    Ok(Json(Page { items: found.into_iter().map(decision).collect(), next_cursor: None }))
}

/// Who may do something, and by which statements.
#[utoipa::path(get, path = "/api/v1/access:who-can", tag = "access", operation_id = "whoCan",
    params(("permission" = String, Query, description = "For example DRYDOCK_INSTANCE_PATCH"),
        ("resource" = Option<String>, Query, description = "Path of a compartment, or TYPE/NAME; / when absent")),
    responses((status = 200, body = AccessHolders), (status = "default", body = ApiError)))]
pub async fn who_can(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<AccessHolders>> {
    let permission = params.one("permission")?.ok_or_else(|| Failure::field("permission", "is missing"))?;
    let resource = params.one("resource")?.unwrap_or_else(|| "/".to_owned());
    params.finish()?;
    let found = state.control.who_can(&caller.ctx, &permission, &resource).await?;
    let statements = found.statements.into_iter().map(|(policy, line, statement, denies, conditional)| HoldingStatement {
        policy,
        line: u64::try_from(line).unwrap_or(u64::MAX),
        statement,
        denies,
        conditional,
    });
    let accounts = found.accounts.into_iter().map(|(kind, name, by)| HoldingAccount { kind: kind.to_owned(), name, by });
    Ok(Json(AccessHolders { statements: statements.collect(), accounts: accounts.collect() }))
}

fn decision(own: DecisionView) -> AccessDecision {
    let considered = own.considered.into_iter().map(|(policy, line, statement, bearing)| ConsideredStatement {
        policy,
        line: u64::try_from(line).unwrap_or(u64::MAX),
        statement,
        bearing,
    });
    AccessDecision {
        permission: own.permission.to_owned(),
        allowed: own.allowed,
        decision: own.decision,
        considered: considered.collect(),
    }
}

fn answer(own: AccessPolicyView) -> Response {
    let etag = own.record.version.to_string();
    with_etag(&etag, Json(encode(own)).into_response())
}

fn encode(own: AccessPolicyView) -> AccessPolicy {
    let AccessPolicyView { record, builtin } = own;
    AccessPolicy {
        name: record.name,
        compartment: record.compartment,
        description: record.description,
        statements: record.statements,
        builtin,
        created_by: record.created_by,
        created_at: record.created_at,
        updated_at: record.updated_at,
        etag: record.version.to_string(),
    }
}

fn spec(ask: SetDynamicGroup) -> DynamicGroupSpec {
    DynamicGroupSpec { name: ask.name, description: ask.description, rules: ask.rules, match_all: ask.match_all }
}

fn group_answer(own: DynamicGroupRecord) -> Response {
    let etag = own.version.to_string();
    with_etag(&etag, Json(encode_group(own)).into_response())
}

fn encode_group(own: DynamicGroupRecord) -> DynamicGroup {
    DynamicGroup {
        id: own.id.to_string(),
        name: own.name,
        description: own.description,
        rules: own.rules,
        match_all: own.match_all,
        created_by: own.created_by,
        created_at: own.created_at,
        updated_at: own.updated_at,
        etag: own.version.to_string(),
    }
}
