//! The console: server-rendered pages over the operations of `control`. A handler decodes, calls operations, renders;
//! decisions are elsewhere. Pages work without JavaScript, except that live rows then need a reload.
//!
//! Absent on purpose: access to the store, permissions (what a role may not do is hidden here and refused by
//! `control`), a build step for the assets.

mod assets;
mod auth;
mod charts;
mod cookies;
mod deployment_form;
mod error;
mod fields;
mod job_form;
mod live;
mod moment;
mod oidc;
mod pages;
mod report;
mod rows;
mod session;
mod sign_in;
mod view;

pub(crate) use view::soak_words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use drydock_control::Control;

use auth::Token;
use session::{Notices, Sessions};

use crate::state::AppState;

/// Body of a form, bytes: two scripts of 64 KiB, percent-encoded at worst, and a thousand names.
const FORM_MAX_BYTES: usize = 1024 * 1024;
/// Nothing inline, nothing from elsewhere, no framing, forms only to us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every handler of the console holds. Cheap to clone.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    app: AppState,
    sessions: Sessions<Token>,
    notices: Notices,
}

impl Console {
    fn control(&self) -> &Control {
        &self.0.app.control
    }
}

/// All pages and assets, with their security headers; to be merged at the root of the one TLS port.
pub fn router(app: AppState) -> Router {
    // Nobody is signed in yet.
    let console = Console(Arc::new(Inner { app, sessions: Sessions::default(), notices: Notices::default() }));
    use pages::{
        access, advisories, approvals, audit, deployments, enrolment, environments, exceptions, groups, jobs, overview, packages,
        sources, start, vulnerabilities,
    };
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/overview/live", get(overview::live))
        .route("/sign-in", get(sign_in::sign_in_page).post(sign_in::sign_in))
        .route("/sign-in/oidc", get(oidc::begin))
        .route("/sign-in/oidc/callback", get(oidc::callback))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/patch-jobs", get(jobs::list).post(start::submit))
        .route("/patch-jobs/new", get(start::form))
        .route("/patch-jobs/{id}", get(jobs::show))
        .route("/patch-jobs/{id}/live", get(live::stream))
        .route("/patch-jobs/{id}/cancel", post(jobs::cancel))
        .route("/patch-jobs/{id}/tasks/{task}", get(jobs::task))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/new-deployment", get(deployments::form))
        .route("/deployments/{name}", get(deployments::show))
        .route("/deployments/{name}/pause", post(deployments::pause))
        .route("/deployments/{name}/resume", post(deployments::resume))
        .route("/deployments/{name}/run", post(deployments::run))
        .route("/deployments/{name}/delete", post(deployments::delete))
        .route("/vulnerabilities", get(vulnerabilities::list))
        .route("/vulnerabilities/{id}", get(vulnerabilities::show))
        .route("/vulnerabilities/{id}/except", post(vulnerabilities::except))
        .route("/exceptions", get(exceptions::list))
        .route("/exceptions/{id}", get(exceptions::show))
        .route("/exceptions/{id}/edit", post(exceptions::edit))
        .route("/exceptions/{id}/delete", post(exceptions::delete))
        .route("/packages", get(packages::list))
        .route("/packages/{name}", get(packages::show))
        .route("/advisories", get(advisories::list))
        .route("/advisories/{id}", get(advisories::show))
        .route("/sources", get(sources::list))
        .route("/sources/{name}", get(sources::show))
        .route("/sources/{name}/sync", post(sources::sync))
        .route("/sources/{name}/diff", get(sources::diff))
        .route("/sources/{name}/snapshots/{number}", get(sources::snapshot))
        .route("/environments", get(environments::list).post(environments::create))
        .route("/environments/{name}", get(environments::show))
        .route("/environments/{name}/preview", post(environments::preview))
        .route("/environments/{name}/promote", post(environments::promote))
        .route("/groups", get(groups::list).post(groups::create))
        .route("/groups/{name}", get(groups::show))
        .route("/groups/{name}/members", post(groups::members))
        .route("/groups/{name}/sources", post(groups::sources))
        .route("/groups/{name}/edit", post(groups::edit))
        .route("/groups/{name}/delete", post(groups::delete))
        .route("/enrolment", get(enrolment::list).post(enrolment::create))
        .route("/enrolment/{id}/revoke", post(enrolment::revoke))
        .route("/access-tokens", get(access::list).post(access::create))
        .route("/access-tokens/{id}/revoke", post(access::revoke))
        .route("/audit", get(audit::list))
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}/approve", post(approvals::approve))
        .route("/approvals/{id}/refuse", post(approvals::refuse))
        .merge(instance_pages())
        .merge(policy_pages())
        .merge(user_pages())
        .fallback(error::no_such_page)
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
        .with_state(console);
    Router::new().merge(pages).route("/assets/{name}", get(assets::serve)).layer(middleware::from_fn(secure))
}

/// Pages of managed instances.
fn instance_pages() -> Router<Console> {
    use pages::{instance_past, instances};
    Router::new()
        .route("/instances", get(instances::list))
        .route("/instances/{id}", get(instances::show))
        .route("/instances/{id}/updates", get(instances::updates))
        .route("/instances/{id}/packages", get(instance_past::packages))
        .route("/instances/{id}/changes", get(instance_past::changes))
        .route("/instances/{id}/modules", get(instance_past::modules))
        .route("/instances/{id}/history", get(instances::history))
        .route("/instances/{id}/tasks", get(instances::tasks))
        .route("/instances/{id}/edit", post(instances::edit))
        .route("/instances/{id}/accept", post(instances::accept))
        .route("/instances/{id}/reject", post(instances::reject))
        .route("/instances/{id}/revoke", post(instances::revoke))
        .route("/instances/{id}/delete", post(instances::delete))
}

/// Users, groups of users, one's own account.
fn user_pages() -> Router<Console> {
    use pages::{account, users};
    Router::new()
        .route("/account", get(account::show))
        .route("/account/password", post(account::password))
        .route("/account/second-factor", post(account::offer))
        .route("/account/second-factor/confirm", post(account::confirm))
        .route("/account/second-factor/remove", post(account::remove))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/account/tokens", post(account::create_token))
        .route("/account/tokens/{id}/revoke", post(account::revoke_token))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", get(users::show))
        .route("/users/{name}/edit", post(users::edit))
        .route("/users/{name}/disable", post(users::disable))
        .route("/users/{name}/enable", post(users::enable))
        .route("/users/{name}/password", post(users::password))
        .route("/users/{name}/reset-second-factor", post(users::reset_second_factor))
        .route("/users/{name}/delete", post(users::delete))
        .route("/users/{name}/sessions/{id}/end", post(users::end_session))
        .route("/user-groups", get(users::groups).post(users::create_group))
        .route("/user-groups/{name}", get(users::show_group))
        .route("/user-groups/{name}/members", post(users::change_members))
        .route("/user-groups/{name}/delete", post(users::delete_group))
}

/// Pages of OS policies and of how hosts stand with them.
fn policy_pages() -> Router<Console> {
    use pages::{compliance, policies};
    Router::new()
        .route("/instances/{id}/policies", get(compliance::host))
        .route("/instances/{id}/policies/check", post(compliance::check))
        .route("/policies", get(policies::list))
        .route("/policies/{name}", get(policies::show))
        .route("/policies/{name}/revisions/{number}", get(policies::revision))
        .route("/policies/{name}/cancel", post(policies::cancel))
        .route("/policies/{name}/resume", post(policies::resume))
        .route("/policies/{name}/check", post(policies::check))
        .route("/compliance", get(compliance::fleet))
        .route("/drift", get(compliance::drift))
}

/// Security headers of every answer; pages are never stored, assets say otherwise themselves.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
