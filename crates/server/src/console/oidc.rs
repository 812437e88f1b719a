//! Sign-in with an OpenID Connect provider: the way out and the way back. The flow itself is `identity::oidc`; which user the
//! provider vouches for, and the session, are `control`'s.
//!
//! What the browser keeps in between is a cookie that the provider's redirect brings along (`SameSite=Lax`); the session's own
//! is stricter and would be left out of a page that another site leads to. So the way back ends in a small page that leads on:
//! the next request comes from us.

use std::net::IpAddr;
use std::time::Instant;

use askama::Template;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::{ErrorKind, SignInFrom, Vouched};

use super::Console;
use super::assets::{AssetUrls, urls};
use super::auth::request_id;
use super::cookies::{cookie, local_path, with_cookies};
use super::error::{self, Fail, Html};
use super::sign_in::{Next, sign_in_form, signed_in};
use crate::identity::oidc::provider::BEGUN_MAX_SECS;
use crate::identity::oidc::{Identity, OidcError, Provider, Returned};
use crate::rest::extract::address_of;

/// What the browser keeps while it is at the provider. `__Host-`: no other host can plant it.
const BEGUN_COOKIE: &str = "__Host-drydock-oidc";

#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage {
    assets: &'static AssetUrls,
    next: String,
}

/// `GET /sign-in/oidc`: sends the browser to the provider.
pub async fn begin(State(console): State<Console>, Query(next): Query<Next>, request: Request) -> Response {
    let app = &console.0.app;
    let Some(provider) = &app.oidc else { return not_here(&request) };
    let address = address_of(request.extensions());
    if let Some(wait) = too_many(&console, address, &next.next) {
        return wait;
    }
    match provider.begin(local_path(&next.next)).await {
        Ok(begun) => with_cookies(Redirect::to(&begun.url), [begun_cookie(&begun.cookie, BEGUN_MAX_SECS)]),
        Err(error) => refused(&console, &error, &next.next, &request_id(request.extensions())),
    }
}

/// `GET /sign-in/oidc/callback`: the browser comes back.
pub async fn callback(State(console): State<Console>, request: Request) -> Response {
    let app = &console.0.app;
    let Some(provider) = &app.oidc else { return not_here(&request) };
    let (mut parts, _) = request.into_parts();
    let (request_id, address) = (request_id(&parts.extensions), address_of(&parts.extensions));
    let returned = match Query::<Returned>::from_request_parts(&mut parts, &console).await {
        Ok(Query(returned)) => returned,
        Err(_) => return refused(&console, &OidcError::NotBegun("the query cannot be read"), "", &request_id),
    };
    let kept = cookie(&parts.headers, BEGUN_COOKIE).unwrap_or_default();
    if let Some(wait) = too_many(&console, address, "") {
        return wait;
    }
    let identity = match provider.finish(&kept, &returned, app.control.now()).await {
        Ok(identity) => identity,
        Err(error) => {
            app.sign_in_failures.failed(address, Instant::now());
            return refused(&console, &error, "", &request_id);
        }
    };
    let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let from = SignInFrom { address: Some(address), request_id, user_agent: agent.to_owned() };
    session(&console, provider, identity, &from).await
}

fn not_here(request: &Request) -> Response {
    let text = "This server has no sign-in provider; its configuration has no [oidc].";
    error::page(StatusCode::NOT_FOUND, "Not found", text, &request_id(request.extensions()))
}

/// One address may not try for ever.
fn too_many(console: &Console, address: IpAddr, next: &str) -> Option<Response> {
    let wait = console.0.app.sign_in_failures.check(address, Instant::now()).err()?;
    let text = format!("Too many failed sign-ins from {address}. Wait {} s.", wait.as_secs().max(1));
    Some(sign_in_form(console, next, Some(text)))
}

/// Starts the session and leads on.
async fn session(console: &Console, provider: &Provider, identity: Identity, from: &SignInFrom) -> Response {
    let request_id = from.request_id.as_str();
    let next = local_path(&identity.next).to_owned();
    let vouched = Vouched {
        issuer: identity.issuer,
        subject: identity.subject,
        name: identity.name,
        email: identity.email,
        groups: identity.groups,
        may_create: provider.settings().create_users,
        second_factor: identity.second_factor,
    };
    let started = console.control().sign_in_vouched(&vouched, from).await;
    match started {
        Ok(secret) => {
            let page = SignedInPage { assets: urls(), next };
            let mut response = with_cookies(Html(page), [begun_cookie("", 0)]);
            for cookie in signed_in(console, &secret).headers().get_all(header::SET_COOKIE) {
                response.headers_mut().append(header::SET_COOKIE, cookie.clone());
            }
            response
        }
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal) => {
            Fail::new(error, request_id).into_response()
        }
        Err(error) => {
            if let Some(address) = from.address {
                console.0.app.sign_in_failures.failed(address, Instant::now());
            }
            tracing::warn!(request_id, %error, issuer = vouched.issuer, subject = vouched.subject, "a sign-in with OIDC is refused");
            // Whoever stands here was vouched for: they may know under which name.
            let text = format!(
                "You are signed in at the provider, but not let in here: {error}. Your administrator can link you to a user \
                 (drydock access oidc link); tell them your subject {} and the issuer {}.",
                vouched.subject, vouched.issuer
            );
            with_cookies(error::page(StatusCode::FORBIDDEN, "You are not let in", &text, request_id), [begun_cookie("", 0)])
        }
    }
}

fn refused(console: &Console, error: &OidcError, next: &str, request_id: &str) -> Response {
    let text = crate::rest::error::chain(error);
    tracing::warn!(request_id, error = text, "a sign-in with OIDC failed");
    let page = sign_in_form(console, next, Some(error.for_people().to_owned()));
    with_cookies(page, [begun_cookie("", 0)])
}

fn begun_cookie(value: &str, max_age_secs: i64) -> String {
    format!("{BEGUN_COOKIE}={value}; Path=/; Max-Age={max_age_secs}; Secure; HttpOnly; SameSite=Lax")
}
