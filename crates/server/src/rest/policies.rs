//! Assignments of OS policies, their revisions, previews and checks. Documents come as YAML or JSON, as people write them;
//! every problem of one names its line and column.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::documents::{Document, read_policies};
use drydock_api::rest::{
    ApiError, AppliedAssignment, ApplyOutcome, CheckedInstance, HostPhase, Page, PolicyAssignment, PolicyCheckRun, PolicyHost,
    PolicyPreview, PolicyRevision, PolicyRevisionDiff, PreviewHost, PreviewSource, RunPolicyCheck,
};
use drydock_control::{ApplyAsk, CheckAsk, CheckedHost, Movable, PolicyUse};
use drydock_domain::ids::PreviewId;
use drydock_domain::policy::OsPolicyAssignment;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params, StrictJson, if_match, read_body};
use super::{csv, encode, moves, no_body, split_verb, with_etag};
use crate::state::AppState;

/// What problems of a body name as their file.
const BODY: &str = "body";

/// Reads the one assignment of a body.
async fn document(request: Request) -> Result<OsPolicyAssignment> {
    let body = read_body(request).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Failure::field(BODY, "is not UTF-8"))?;
    let read = read_policies(BODY, text);
    if !read.problems.is_empty() {
        let found = read.problems.into_iter().map(|p| {
            let field = if p.path.is_empty() { BODY.to_owned() } else { p.path };
            (field, format!("{} (line {}, column {})", p.message, p.line, p.column))
        });
        return Err(Failure::fields(found));
    }
    let mut documents = read.documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(Document::Assignment(assignment)), None) => Ok(*assignment),
        (Some(Document::Policy(_)), None) => {
            let message =
                "is a policy without hosts; put it into the osPolicies of an assignment with instanceFilter and rollout";
            Err(Failure::field(BODY, message))
        }
        _ => Err(Failure::field(BODY, "holds more than one document; apply them one by one")),
    }
}

/// The same for who may apply it, or preview it; others are told nothing of the body but that they may not.
async fn document_of(state: &AppState, caller: &Caller, what: PolicyUse, request: Request) -> Result<OsPolicyAssignment> {
    match document(request).await {
        Err(failure) => {
            state.control.may_use_policy(&caller.ctx, what).await?;
            Err(failure)
        }
        Ok(read) => {
            // As the server understood it: documents may also come as YAML.
            caller.record::<OsPolicyAssignment>(&serde_json::to_vec(&read).unwrap_or_default());
            Ok(read)
        }
    }
}

fn truth(params: &mut Params, name: &str) -> Result<bool> {
    Ok(params.parsed(name, "true or false", |t| t.parse::<bool>().ok())?.unwrap_or_default())
}

fn shown(status: StatusCode, assignment: &PolicyAssignment) -> Response {
    with_etag(&assignment.etag, (status, Json(assignment)).into_response())
}

fn applied(answer: &AppliedAssignment) -> Response {
    let is_new = answer.outcome == ApplyOutcome::Created && !answer.dry_run;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, Json(answer)).into_response();
    if let Some(assignment) = &answer.assignment {
        response = with_etag(&assignment.etag, response);
        let location = HeaderValue::from_str(&format!("/api/v1/policy-assignments/{}", assignment.name));
        if let (true, Ok(location)) = (is_new, location) {
            response.headers_mut().insert(http::header::LOCATION, location);
        }
    }
    response
}

/// Policy assignments by name, without their documents.
#[utoipa::path(get, path = "/api/v1/policy-assignments", tag = "policies", operation_id = "listPolicyAssignments",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PolicyAssignment>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, mut params: Params) -> Result<Json<Page<PolicyAssignment>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.list_policies(&caller.ctx, &page).await?, |p| p)))
}

/// Makes an assignment and rolls it out. The body is Google's OSPolicyAssignment with ours beside it, YAML or JSON, in either
/// spelling of names; it has a `name`. Refused when two policies of equal priority want different things of one object on a
/// host there is.
#[utoipa::path(post, path = "/api/v1/policy-assignments", tag = "policies", operation_id = "createPolicyAssignment",
    params(("dryRun" = Option<bool>, Query, description = "true: nothing is stored"),
        ("compartment" = Option<String>, Query,
            description = "Path of the compartment a new one is made in; absent: the tenancy, or the one topmost in which the caller may"),
        ("reason" = Option<String>, Query, description = "Why, kept with the revision")),
    request_body = OsPolicyAssignment,
    responses((status = 201, body = AppliedAssignment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn create(State(state): State<AppState>, caller: Caller, mut params: Params, request: Request) -> Result<Response> {
    let ask = ApplyAsk {
        dry_run: truth(&mut params, "dryRun")?,
        reason: params.one("reason")?.unwrap_or_default(),
        create: true,
        compartment: params.one("compartment")?,
        ..ApplyAsk::default()
    };
    params.finish()?;
    let document = document_of(&state, &caller, PolicyUse::Apply, request).await?;
    Ok(applied(&state.control.apply_policy(&caller.ctx, document, &ask).await?))
}

/// One assignment with its newest document and how far its rollout is.
#[utoipa::path(get, path = "/api/v1/policy-assignments/{name}", tag = "policies", operation_id = "getPolicyAssignment",
    params(("name" = String, Path)),
    responses((status = 200, body = PolicyAssignment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(name): Path<String>, caller: Caller, params: Params) -> Result<Response> {
    params.finish()?;
    Ok(shown(StatusCode::OK, &state.control.get_policy(&caller.ctx, &name).await?))
}

/// Makes the assignment or gives it a new revision, which is rolled out. A document that says what is there already changes
/// nothing; one that changes only description or rollout settings makes no revision. Refused while a rollout is under way.
#[utoipa::path(put, path = "/api/v1/policy-assignments/{name}", tag = "policies", operation_id = "applyPolicyAssignment",
    params(("name" = String, Path), ("dryRun" = Option<bool>, Query, description = "true: nothing is stored"),
        ("compartment" = Option<String>, Query,
            description = "Path of the compartment a new one is made in; absent: the tenancy, or the one topmost in which the caller may"),
        ("reason" = Option<String>, Query, description = "Why, kept with the revision"),
        ("If-Match" = Option<String>, Header, description = "The etag the edit is based on; 412 when it is an older one")),
    request_body = OsPolicyAssignment,
    responses((status = 200, body = AppliedAssignment, headers(("ETag" = String))),
        (status = 201, body = AppliedAssignment, headers(("ETag" = String))), (status = "default", body = ApiError)))]
pub async fn apply(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let ask = ApplyAsk {
        name: Some(name),
        dry_run: truth(&mut params, "dryRun")?,
        reason: params.one("reason")?.unwrap_or_default(),
        create: false,
        compartment: params.one("compartment")?,
        if_match: if_match(&headers)?,
    };
    params.finish()?;
    let document = document_of(&state, &caller, PolicyUse::Apply, request).await?;
    Ok(applied(&state.control.apply_policy(&caller.ctx, document, &ask).await?))
}

/// Takes an assignment away: hosts lose it as the disruption budget allows, then it is gone. What it brought about stays, but
/// for resources with `onUnassign: REMOVE`.
#[utoipa::path(delete, path = "/api/v1/policy-assignments/{name}", tag = "policies", operation_id = "deletePolicyAssignment",
    params(("name" = String, Path), ("reason" = Option<String>, Query, description = "Why, kept with the audit"),
        ("If-Match" = Option<String>, Header, description = "The etag it is based on; 412 when it is an older one")),
    responses((status = 202, body = PolicyAssignment), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let reason = params.one("reason")?.unwrap_or_default();
    params.finish()?;
    let if_match = if_match(&headers)?;
    let gone = state.control.delete_policy(&caller.ctx, &name, &reason, if_match.as_deref()).await?;
    Ok(shown(StatusCode::ACCEPTED, &gone))
}

/// Hosts of an assignment by name: the revision each is to have, how far it is, why it waits.
#[utoipa::path(get, path = "/api/v1/policy-assignments/{name}/instances", tag = "policies", operation_id = "listPolicyInstances",
    params(("name" = String, Path), ("phase" = Option<HostPhase>, Query, description = "Only hosts so far"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PolicyHost>), (status = "default", body = ApiError)))]
pub async fn instances(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PolicyHost>>> {
    let phase = params.parsed("phase", "PENDING, CHANGING or DONE", HostPhase::parse)?;
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.policy_instances(&caller.ctx, &name, phase, &page).await?, |h| h)))
}

/// Revisions of an assignment, newest first, without their documents.
#[utoipa::path(get, path = "/api/v1/policy-assignments/{name}/revisions", tag = "policies", operation_id = "listPolicyRevisions",
    params(("name" = String, Path), ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PolicyRevision>), (status = "default", body = ApiError)))]
pub async fn revisions(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PolicyRevision>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.policy_revisions(&caller.ctx, &name, &page).await?, |r| r)))
}

/// One revision with its document.
#[utoipa::path(get, path = "/api/v1/policy-assignments/{name}/revisions/{number}", tag = "policies",
    operation_id = "getPolicyRevision", params(("name" = String, Path), ("number" = u64, Path)),
    responses((status = 200, body = PolicyRevision), (status = "default", body = ApiError)))]
pub async fn revision(
    State(state): State<AppState>,
    Path((name, number)): Path<(String, String)>,
    caller: Caller,
    params: Params,
) -> Result<Json<PolicyRevision>> {
    params.finish()?;
    Ok(Json(state.control.policy_revision(&caller.ctx, &name, revision_number(&number)?).await?))
}

fn revision_number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Failure::field("number", format!("{text:?} is not the number of a revision")))
}

/// What a revision changed against another one.
#[utoipa::path(get, path = "/api/v1/policy-assignments/{name}/revisions/{number}/diff", tag = "policies",
    operation_id = "diffPolicyRevisions",
    params(("name" = String, Path), ("number" = u64, Path), ("with" = Option<u64>, Query, description = "The other one; absent: the one before")),
    responses((status = 200, body = PolicyRevisionDiff), (status = "default", body = ApiError)))]
pub async fn diff(
    State(state): State<AppState>,
    Path((name, number)): Path<(String, String)>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<PolicyRevisionDiff>> {
    let with = params.parsed("with", "the number of a revision", |t| t.parse().ok())?;
    params.finish()?;
    Ok(Json(state.control.policy_diff(&caller.ctx, &name, revision_number(&number)?, with).await?))
}

/// `:cancel`, `:resume` and `:check`.
pub async fn verb(
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
        return Ok(moves::moved(&state, &caller, Movable::Assignment, name, &body).await?.into_response());
    }
    no_body(&body)?;
    let assignment = match verb {
        "cancel" => state.control.cancel_policy(&caller.ctx, name).await?,
        "resume" => state.control.resume_policy(&caller.ctx, name).await?,
        "check" => {
            let ask = CheckAsk { assignment: Some(name.to_owned()), ..CheckAsk::default() };
            return Ok(Json(check_run(state.control.check_policies(&caller.ctx, &ask).await?)).into_response());
        }
        _ => {
            let text = format!("policy assignments have no {verb:?}; there are :cancel, :resume, :check and :move");
            return Err(Failure::not_found(text));
        }
    };
    Ok(shown(StatusCode::OK, &assignment))
}

/// Ends a rollout: hosts that have the revision keep it, the others keep what they had.
#[utoipa::path(post, path = "/api/v1/policy-assignments/{name}:cancel", tag = "policies",
    operation_id = "cancelPolicyRollout", params(("name" = String, Path)),
    responses((status = 200, body = PolicyAssignment), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn cancel() {}

/// Lets a halted rollout go on. Hosts that are not compliant by now do not count any more.
#[utoipa::path(post, path = "/api/v1/policy-assignments/{name}:resume", tag = "policies",
    operation_id = "resumePolicyRollout", params(("name" = String, Path)),
    responses((status = 200, body = PolicyAssignment), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn resume() {}

/// Asks every host of an assignment to check all its policies now.
#[utoipa::path(post, path = "/api/v1/policy-assignments/{name}:check", tag = "policies",
    operation_id = "checkPolicyAssignment", params(("name" = String, Path)),
    responses((status = 200, body = PolicyCheckRun), (status = "default", body = ApiError)))]
#[allow(dead_code)]
async fn check_assignment() {}

fn check_run(asked: Vec<CheckedHost>) -> PolicyCheckRun {
    let host = |h: CheckedHost| CheckedInstance { instance: h.instance, name: h.name, check: h.check };
    PolicyCheckRun { instances: asked.into_iter().map(host).collect() }
}

/// Asks hosts to check all their policies now, and to repair what they may repair. Hosts without policies are left out.
#[utoipa::path(post, path = "/api/v1/policy-checks", tag = "policies", operation_id = "checkPolicies",
    request_body = RunPolicyCheck,
    responses((status = 200, body = PolicyCheckRun), (status = "default", body = ApiError)))]
pub async fn check(
    State(state): State<AppState>,
    caller: Caller,
    params: Params,
    StrictJson(ask): StrictJson<RunPolicyCheck>,
) -> Result<Json<PolicyCheckRun>> {
    params.finish()?;
    let ask = CheckAsk { instances: ask.instances, groups: ask.groups, assignment: ask.assignment };
    Ok(Json(check_run(state.control.check_policies(&caller.ctx, &ask).await?)))
}

/// Previews, newest first. They are forgotten after a day.
#[utoipa::path(get, path = "/api/v1/policy-previews", tag = "policies", operation_id = "listPolicyPreviews",
    params(("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Rows, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PolicyPreview>), (status = "default", body = ApiError)))]
pub async fn list_previews(
    State(state): State<AppState>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<Page<PolicyPreview>>> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(encode::page(state.control.list_previews(&caller.ctx, &page).await?, |p| p)))
}

/// Asks every host that the assignment of the body is for what it would change. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/policy-previews", tag = "policies", operation_id = "createPolicyPreview",
    params(("compartment" = Option<String>, Query,
        description = "Path of the compartment the assignment would be in; absent: the tenancy, or the one topmost in which the caller may")),
    request_body = OsPolicyAssignment,
    responses((status = 201, body = PolicyPreview), (status = "default", body = ApiError)))]
pub async fn create_preview(
    State(state): State<AppState>,
    caller: Caller,
    mut params: Params,
    request: Request,
) -> Result<Response> {
    let compartment = params.one("compartment")?;
    params.finish()?;
    let document = document_of(&state, &caller, PolicyUse::Preview, request).await?;
    let preview = state.control.start_preview(&caller.ctx, document, compartment.as_deref()).await?;
    let location = format!("/api/v1/policy-previews/{}", preview.id);
    let mut response = (StatusCode::CREATED, Json(preview)).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    Ok(response)
}

/// How far a preview is.
#[utoipa::path(get, path = "/api/v1/policy-previews/{id}", tag = "policies", operation_id = "getPolicyPreview",
    params(("id" = PreviewId, Path)),
    responses((status = 200, body = PolicyPreview), (status = "default", body = ApiError)))]
pub async fn get_preview(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<PolicyPreview>> {
    params.finish()?;
    Ok(Json(state.control.get_preview(&caller.ctx, id.parse::<PreviewId>()?).await?))
}

/// Forgets a preview.
#[utoipa::path(delete, path = "/api/v1/policy-previews/{id}", tag = "policies", operation_id = "deletePolicyPreview",
    params(("id" = PreviewId, Path)), responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete_preview(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_preview(&caller.ctx, id.parse::<PreviewId>()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What hosts answered to a preview, by name: resources that are NON_COMPLIANT would change, their evidence says how.
#[utoipa::path(get, path = "/api/v1/policy-previews/{id}/instances", tag = "policies", operation_id = "listPolicyPreviewInstances",
    params(("id" = PreviewId, Path), ("source" = Option<PreviewSource>, Query, description = "Only hosts so answered for"),
        ("format" = Option<String>, Query, description = "json, or csv: a page with one row for each resource"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
        ("limit" = Option<u32>, Query, description = "Hosts, 1 to 1000; 100 when absent")),
    responses((status = 200, body = Page<PreviewHost>), (status = "default", body = ApiError)))]
pub async fn preview_instances(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Response> {
    let source = params.parsed("source", "WAITING, INVENTORY or HOST", PreviewSource::parse)?;
    let as_csv = csv::wanted(&mut params)?;
    let page = params.page()?;
    params.finish()?;
    let found = state.control.preview_answers(&caller.ctx, id.parse::<PreviewId>()?, source, &page).await?;
    if !as_csv {
        return Ok(Json(encode::page(found, |h| h)).into_response());
    }
    let header = ["host", "source", "policy", "resource", "state", "reason", "message"];
    let rows = found.items.into_iter().flat_map(|host| {
        let PreviewHost { instance_name, source, policies, .. } = host;
        let of_policy = move |policy: drydock_domain::policy::PolicyResult| {
            let (name, id) = (instance_name.clone(), policy.policy);
            policy.resources.into_iter().map(move |r| {
                let message = r.steps.last().map(|s| s.message.clone()).unwrap_or_default();
                let state = r.state.as_str().to_owned();
                vec![name.clone(), source.as_str().to_owned(), id.clone(), r.id, state, r.reason, message]
            })
        };
        policies.into_iter().flat_map(of_policy).collect::<Vec<_>>()
    });
    Ok(csv::file("policy-preview", &header, rows))
}
