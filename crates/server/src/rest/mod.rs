//! `/api/v1`: each handler decodes, calls one operation of `control`, encodes. Absent on purpose: decisions, and
//! authorisation (each operation asks for its own permission).

mod access;
mod advisories;
mod advisory_feeds;
mod api_keys;
mod approvals;
mod audit;
mod bom;
mod calendars;
mod compartments;
mod compliance;
mod content_jobs;
mod csv;
mod deployments;
pub mod encode;
pub mod encode_content;
mod enrolment;
mod environments;
pub mod error;
mod events;
mod exceptions;
pub mod extract;
mod groups;
mod instances;
mod job_report;
mod modules;
mod moves;
mod oidc_links;
mod packages;
mod patch_jobs;
mod policies;
pub(crate) mod recorded;
mod sign_in;
mod snapshots;
mod sources;
mod statements;
mod upload;
mod user_groups;
mod users;
mod vulnerabilities;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use utoipa::OpenApi;

use crate::state::AppState;
use error::{Failure, Result};

/// Answers that show a secret are kept by nobody on the way.
pub(crate) const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// The document of the API, made from the handlers. A snapshot in `openapi.json` shows every change of it to reviewers.
#[derive(OpenApi)]
#[openapi(
    info(title = "Drydock", description = "Patches, inventory and software sources of Linux fleets. Send an access token as \
        `Authorization: Bearer ddt_…`, or sign requests with an API key (docs/sign-in.md); unknown fields and parameters are \
        refused; lists are pages with a cursor."),
    paths(
        access::whoami, access::list, access::create, access::verb, audit::list, audit::export, audit::status, audit::set, audit::seal, audit::drop_old,
        api_keys::list, api_keys::add, api_keys::delete, oidc_links::link, oidc_links::unlink,
        users::list, users::create, users::get, users::edit, users::delete, users::set_password, users::reset_second_factor,
        sign_in::sign_in, sign_in::change_password, sign_in::offer_second_factor, sign_in::confirm_second_factor,
        sign_in::remove_second_factor, sign_in::sessions, sign_in::session_verb,
        user_groups::list, user_groups::create, user_groups::get, user_groups::edit, user_groups::delete,
        user_groups::members, user_groups::edit_members,
        compartments::list, compartments::create, compartments::get, compartments::edit, compartments::delete,
        approvals::list_rules, approvals::set_rule, approvals::delete_rule, approvals::list, approvals::verb, approvals::refuse,
        statements::test, statements::who_can, statements::list, statements::create, statements::get, statements::edit, statements::delete,
        statements::list_groups, statements::create_group, statements::get_group, statements::edit_group, statements::delete_group,
        enrolment::list, enrolment::create, enrolment::get, enrolment::verb, enrolment::move_to,
        instances::list, instances::get, instances::edit, instances::delete, instances::accept, instances::reject,
        instances::revoke, instances::move_to, instances::matching, instances::packages, packages::changes, packages::list, packages::holdings,
        instances::updates, modules::of_instance, instances::rules, instances::history,
        patch_jobs::list, patch_jobs::create, patch_jobs::get, patch_jobs::cancel, patch_jobs::rerun,
        patch_jobs::pause, patch_jobs::resume, patch_jobs::halt, patch_jobs::abort, patch_jobs::approve, patch_jobs::plans,
        calendars::list_windows, calendars::create_window, calendars::get_window, calendars::edit_window, calendars::delete_window,
        calendars::list_freezes, calendars::create_freeze, calendars::get_freeze, calendars::edit_freeze, calendars::delete_freeze,
        calendars::list_slots, calendars::create_slot, calendars::get_slot, calendars::edit_slot, calendars::delete_slot,
        calendars::release_slot,
        moves::window, moves::freeze, moves::secret, moves::source, moves::environment, moves::deployment, moves::slots,
        moves::assignment,
        job_report::get, patch_jobs::undo, patch_jobs::undo_preview, patch_jobs::bars, patch_jobs::lift_bars, patch_jobs::tasks,
        patch_jobs::task, deployments::list, deployments::create, deployments::get, deployments::edit, deployments::delete,
        deployments::executions, deployments::pause, deployments::resume, deployments::run, deployments::skip_next,
        events::follow,
        sources::list, sources::create, sources::get, sources::diff, sources::edit, sources::delete, sources::verb,
        sources::packages, upload::upload, snapshots::list, snapshots::get, snapshots::units,
        environments::list, environments::create, environments::get, environments::delete, environments::verb,
        environments::history, environments::edit_sources, environments::of_instance, environments::edit_of_instance,
        groups::list, groups::create, groups::get, groups::edit, groups::delete, groups::members, groups::edit_members,
        groups::edit_sources, groups::add, groups::move_to,
        content_jobs::list, content_jobs::get, content_jobs::verb, content_jobs::collect, content_jobs::keys,
        content_jobs::prepare_key, content_jobs::switch_key, content_jobs::retire_key,
        advisory_feeds::list, advisory_feeds::get, advisory_feeds::delete, advisory_feeds::verb,
        advisories::list, advisories::get, advisories::instances, advisories::of_instance,
        vulnerabilities::list, vulnerabilities::get, vulnerabilities::instances, vulnerabilities::of_instance,
        vulnerabilities::fleet,
        policies::list, policies::create, policies::get, policies::apply, policies::delete, policies::instances,
        policies::revisions, policies::revision, policies::diff, policies::cancel, policies::resume, policies::check_assignment,
        policies::check, policies::list_previews, policies::create_preview, policies::get_preview, policies::delete_preview,
        policies::preview_instances, compliance::fleet, compliance::policies, compliance::resources, compliance::results,
        compliance::history, compliance::trend, compliance::of_instance, compliance::document_of_instance, compliance::drift,
        compliance::secrets, compliance::secret, compliance::set_secret, compliance::delete_secret,
        bom::sbom, bom::vex, exceptions::list, exceptions::create, exceptions::get, exceptions::edit, exceptions::delete, exceptions::sla, exceptions::set_sla,
    ),
    modifiers(&BearerToken),
    security(("accessToken" = []))
)]
pub struct ApiDoc;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, doc: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        doc.components.get_or_insert_default().add_security_scheme("accessToken", scheme);
        doc.info.license = Some(utoipa::openapi::LicenseBuilder::new().name("Apache-2.0").build());
    }
}

/// The OpenAPI document, pretty JSON.
pub fn openapi_json() -> String {
    ApiDoc::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// Routes of `/api/v1`. Custom verbs (`{id}:revoke`) share one segment with the id: the router cannot split it, so the
/// handler does.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/whoami", get(access::whoami))
        .route("/api/v1/access-tokens", get(access::list).post(access::create))
        .route("/api/v1/access-tokens/{id}", post(access::verb))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit:export", get(audit::export))
        .route("/api/v1/audit:seal", post(audit::seal))
        .route("/api/v1/audit:drop", post(audit::drop_old))
        .route("/api/v1/audit-settings", get(audit::status).put(audit::set))
        .route("/api/v1/enrolment-profiles", get(enrolment::list).post(enrolment::create))
        .route("/api/v1/enrolment-profiles/{id}", get(enrolment::get).post(enrolment::verb))
        .route("/api/v1/instances", get(instances::list))
        .route("/api/v1/instances:match", post(instances::matching))
        .route(
            "/api/v1/instances/{id}",
            get(instances::get).patch(instances::edit).delete(instances::delete).post(instances::verb),
        )
        .route("/api/v1/instances/{id}/packages", get(instances::packages))
        .route("/api/v1/instances/{id}/package-changes", get(packages::changes))
        .route("/api/v1/packages", get(packages::list))
        .route("/api/v1/packages/{name}/holdings", get(packages::holdings))
        .route("/api/v1/instances/{id}/updates", get(instances::updates))
        .route("/api/v1/instances/{id}/modules", get(modules::of_instance))
        .route("/api/v1/instances/{id}/rules", get(instances::rules))
        .route("/api/v1/instances/{id}/history", get(instances::history))
        .route("/api/v1/patch-jobs", get(patch_jobs::list).post(patch_jobs::create))
        .route("/api/v1/patch-jobs/{id}", get(patch_jobs::get).post(patch_jobs::verb))
        .route("/api/v1/patch-jobs/{id}/tasks", get(patch_jobs::tasks))
        .route("/api/v1/patch-jobs/{id}/report", get(job_report::get))
        .route("/api/v1/patch-jobs/{id}/plans", get(patch_jobs::plans))
        .route("/api/v1/patch-jobs/{id}/undo", get(patch_jobs::undo_preview))
        .route("/api/v1/barred-versions", get(patch_jobs::bars))
        .route("/api/v1/barred-versions:lift", post(patch_jobs::lift_bars))
        .route("/api/v1/patch-jobs/{id}/tasks/{task}", get(patch_jobs::task))
        .route("/api/v1/patch-jobs/{id}/events", get(events::follow))
        .route("/api/v1/deployments", get(deployments::list).post(deployments::create))
        .route(
            "/api/v1/deployments/{name}",
            get(deployments::get).put(deployments::edit).delete(deployments::delete).post(deployments::verb),
        )
        .route("/api/v1/deployments/{name}/executions", get(deployments::executions))
        .merge(access_routes())
        .merge(user_routes())
        .merge(calendar_routes())
        .merge(policy_routes())
        .merge(content_routes())
        .merge(advisory_routes())
        .with_state(state)
        // 600 packages are 60 kB of JSON and 10 kB of gzip. Event streams stay as they are.
        .layer(tower_http::compression::CompressionLayer::new())
}

/// Compartments, policies of access statements, dynamic groups.
fn access_routes() -> Router<AppState> {
    use {compartments as c, statements as s};
    Router::new()
        .route("/api/v1/compartments", get(c::list).post(c::create))
        .route("/api/v1/compartments/{path}", get(c::get).patch(c::edit).delete(c::delete))
        .route("/api/v1/access-policies", get(s::list).post(s::create))
        .route("/api/v1/access-policies/{name}", get(s::get).patch(s::edit).delete(s::delete))
        .route("/api/v1/approval-rules", get(approvals::list_rules))
        .route("/api/v1/approval-rules/{name}", put(approvals::set_rule).delete(approvals::delete_rule))
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{id}", post(approvals::verb))
        .route("/api/v1/access:test", post(s::test))
        .route("/api/v1/access:who-can", get(s::who_can))
        .route("/api/v1/users/{name}/oidc-identity", put(oidc_links::link).delete(oidc_links::unlink))
        .route("/api/v1/users/{name}/api-keys", get(api_keys::list).post(api_keys::add))
        .route("/api/v1/users/{name}/api-keys/{fingerprint}", axum::routing::delete(api_keys::delete))
        .route("/api/v1/dynamic-groups", get(s::list_groups).post(s::create_group))
        .route("/api/v1/dynamic-groups/{name}", get(s::get_group).put(s::edit_group).delete(s::delete_group))
}

/// Users, groups of users, and what they sign in with.
fn user_routes() -> Router<AppState> {
    use {sign_in as s, user_groups as g, users as u};
    Router::new()
        .route("/api/v1/tokens:sign-in", post(s::sign_in))
        .route("/api/v1/whoami:change-password", post(s::change_password))
        .route("/api/v1/whoami:offer-second-factor", post(s::offer_second_factor))
        .route("/api/v1/whoami:confirm-second-factor", post(s::confirm_second_factor))
        .route("/api/v1/whoami:remove-second-factor", post(s::remove_second_factor))
        .route("/api/v1/sessions", get(s::sessions))
        .route("/api/v1/sessions/{id}", post(s::session_verb))
        .route("/api/v1/users", get(u::list).post(u::create))
        .route("/api/v1/users/{name}", get(u::get).patch(u::edit).delete(u::delete).post(u::verb))
        .route("/api/v1/user-groups", get(g::list).post(g::create))
        .route("/api/v1/user-groups/{name}", get(g::get).patch(g::edit).delete(g::delete))
        .route("/api/v1/user-groups/{name}/members", get(g::members).put(g::edit_members))
}

/// Maintenance windows, freezes, reboot slots.
fn calendar_routes() -> Router<AppState> {
    use calendars as c;
    Router::new()
        .route("/api/v1/maintenance-windows", get(c::list_windows).post(c::create_window))
        .route(
            "/api/v1/maintenance-windows/{name}",
            get(c::get_window).put(c::edit_window).delete(c::delete_window).post(moves::window),
        )
        .route("/api/v1/freeze-calendars", get(c::list_freezes).post(c::create_freeze))
        .route(
            "/api/v1/freeze-calendars/{name}",
            get(c::get_freeze).put(c::edit_freeze).delete(c::delete_freeze).post(moves::freeze),
        )
        .route("/api/v1/reboot-slot-groups", get(c::list_slots).post(c::create_slot))
        .route("/api/v1/reboot-slot-groups/{name}", get(c::get_slot).put(c::edit_slot).delete(c::delete_slot).post(c::slot_verb))
}

/// OS policies, compliance, drift and secrets.
fn policy_routes() -> Router<AppState> {
    use {compliance as c, policies as p};
    Router::new()
        .route("/api/v1/policy-assignments", get(p::list).post(p::create))
        .route("/api/v1/policy-assignments/{name}", get(p::get).put(p::apply).delete(p::delete).post(p::verb))
        .route("/api/v1/policy-assignments/{name}/instances", get(p::instances))
        .route("/api/v1/policy-assignments/{name}/revisions", get(p::revisions))
        .route("/api/v1/policy-assignments/{name}/revisions/{number}", get(p::revision))
        .route("/api/v1/policy-assignments/{name}/revisions/{number}/diff", get(p::diff))
        .route("/api/v1/policy-checks", post(p::check))
        .route("/api/v1/policy-previews", get(p::list_previews).post(p::create_preview))
        .route("/api/v1/policy-previews/{id}", get(p::get_preview).delete(p::delete_preview))
        .route("/api/v1/policy-previews/{id}/instances", get(p::preview_instances))
        .route("/api/v1/compliance", get(c::fleet))
        .route("/api/v1/compliance/policies", get(c::policies))
        .route("/api/v1/compliance/resources", get(c::resources))
        .route("/api/v1/compliance/results", get(c::results))
        .route("/api/v1/compliance/history", get(c::history))
        .route("/api/v1/compliance/trend", get(c::trend))
        .route("/api/v1/instances/{id}/compliance", get(c::of_instance))
        .route("/api/v1/instances/{id}/policies", get(c::document_of_instance))
        .route("/api/v1/drift-events", get(c::drift))
        .route("/api/v1/secrets", get(c::secrets))
        .route("/api/v1/secrets/{name}", get(c::secret).put(c::set_secret).delete(c::delete_secret).post(moves::secret))
}

/// Sources, environments and what belongs to them.
fn content_routes() -> Router<AppState> {
    Router::new()
        .route("/api/v1/sources", get(sources::list).post(sources::create))
        .route("/api/v1/sources/{name}", get(sources::get).put(sources::edit).delete(sources::delete).post(sources::verb))
        .route("/api/v1/sources/{name}/packages", get(sources::packages).post(upload::upload))
        .route("/api/v1/sources/{name}/snapshots", get(snapshots::list))
        .route("/api/v1/sources/{name}/snapshots/{selector}", get(snapshots::get))
        .route("/api/v1/sources/{name}/snapshots/{selector}/units", get(snapshots::units))
        .route("/api/v1/environments", get(environments::list).post(environments::create))
        .route("/api/v1/environments/{name}", get(environments::get).delete(environments::delete).post(environments::verb))
        .route("/api/v1/environments/{name}/history", get(environments::history))
        .route("/api/v1/environments/{name}/sources", put(environments::edit_sources))
        .route("/api/v1/instances/{id}/sources", get(environments::of_instance).put(environments::edit_of_instance))
        .route("/api/v1/groups", get(groups::list).post(groups::create))
        .route("/api/v1/groups/{name}", get(groups::get).patch(groups::edit).delete(groups::delete).post(groups::verb))
        .route("/api/v1/groups/{name}/members", get(groups::members).put(groups::edit_members))
        .route("/api/v1/groups/{name}/sources", put(groups::edit_sources))
        .route("/api/v1/content-jobs", get(content_jobs::list))
        .route("/api/v1/content-jobs/{id}", get(content_jobs::get).post(content_jobs::verb))
        .route("/api/v1/content:collect", post(content_jobs::collect))
        .route("/api/v1/repository-keys", get(content_jobs::keys))
        .route("/api/v1/repository-keys:prepare", post(content_jobs::prepare_key))
        .route("/api/v1/repository-keys:switch", post(content_jobs::switch_key))
        .route("/api/v1/repository-keys:retire", post(content_jobs::retire_key))
}

/// Advisories, vulnerabilities and their feeds.
fn advisory_routes() -> Router<AppState> {
    use advisory_feeds as feeds;
    Router::new()
        .route("/api/v1/advisory-feeds", get(feeds::list))
        .route("/api/v1/advisory-feeds/{name}", get(feeds::get).delete(feeds::delete).post(feeds::verb))
        .route("/api/v1/advisories", get(advisories::list))
        .route("/api/v1/advisories/{id}", get(advisories::get))
        .route("/api/v1/advisories/{id}/instances", get(advisories::instances))
        .route("/api/v1/instances/{id}/advisories", get(advisories::of_instance))
        .route("/api/v1/vulnerabilities", get(vulnerabilities::list))
        .route("/api/v1/vulnerabilities:summary", get(vulnerabilities::fleet))
        .route("/api/v1/vulnerabilities/{id}", get(vulnerabilities::get))
        .route("/api/v1/vulnerabilities/{id}/instances", get(vulnerabilities::instances))
        .route("/api/v1/instances/{id}/vulnerabilities", get(vulnerabilities::of_instance))
        .route("/api/v1/instances/{id}/sbom", get(bom::sbom))
        .route("/api/v1/instances/{id}/vex", get(bom::vex))
        .route("/api/v1/vulnerability-exceptions", get(exceptions::list).post(exceptions::create))
        .route("/api/v1/vulnerability-exceptions/{id}", get(exceptions::get).patch(exceptions::edit).delete(exceptions::delete))
        .route("/api/v1/vulnerability-sla", get(exceptions::sla).put(exceptions::set_sla))
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

/// `web-1:accept` → (`web-1`, `accept`). The last colon decides: host names have none.
fn split_verb(target: &str) -> Result<(&str, &str)> {
    let split = target.rsplit_once(':').filter(|(id, verb)| !id.is_empty() && !verb.is_empty());
    split.ok_or_else(|| Failure::of_status(http::StatusCode::METHOD_NOT_ALLOWED))
}

/// Verbs without parameters take no body, or an empty object.
fn no_body(body: &[u8]) -> Result<()> {
    let text = body.trim_ascii();
    if text.is_empty() || text == b"{}" {
        return Ok(());
    }
    Err(Failure::field("body", "this operation takes none"))
}

fn with_etag(etag: &str, mut response: Response) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}
