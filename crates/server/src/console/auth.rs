//! Who is asking: cookies, sign-in and sign-out, and the two extractors every handler takes. [`Signed`] is a signed-in
//! reader; [`SignedForm`] is the only way to a submitted form and has checked its CSRF token, so a handler cannot
//! forget to. Each request asks `control` whether the access token is still good: a revoked one ends the session.

use std::time::Instant;

use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::{ErrorKind, OpCtx, Secret};
use drydock_domain::access::Role;
use drydock_domain::ids::AccessTokenId;
use http::Extensions;
use serde::Deserialize;

use super::Console;
use super::assets::{AssetUrls, urls};
use super::error::{self, Fail};
use super::fields::Fields;
use super::session::{Notice, SESSION_ABSOLUTE_SECS, same, secret};
use super::view::{May, may};
use crate::request::RequestInfo;
use crate::rest::extract::address_of;

/// The session's id. `__Host-`: only over TLS, only this host, every path.
const SESSION_COOKIE: &str = "__Host-drydock-session";
/// Before there is a session, the sign-in form is tied to the browser by this cookie.
const FORM_COOKIE: &str = "__Host-drydock-form";
/// Time to fill in the sign-in form, seconds.
const FORM_COOKIE_SECS: i64 = 3600;
/// An access token as typed, bytes: longer is not one of ours.
const TOKEN_MAX_BYTES: usize = 256;
/// An address to go to after sign-in, bytes.
const NEXT_MAX_BYTES: usize = 2048;

/// The access token behind a session. The secret stays in memory: `control` is asked with it on each request.
#[derive(Debug, Clone)]
pub struct Token {
    id: AccessTokenId,
    secret: Secret,
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A signed-in reader.
pub struct Signed {
    /// The console.
    pub console: Console,
    /// For operations of `control`.
    pub ctx: OpCtx,
    /// The access token in use.
    pub token: AccessTokenId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What to show.
    pub may: May,
    session: String,
    csrf: String,
    secret: Secret,
}

/// A submitted form of a signed-in person, its CSRF token checked.
pub struct SignedForm {
    /// Who.
    pub who: Signed,
    /// What.
    pub fields: Fields,
}

impl Signed {
    /// The server's shared state.
    pub fn app(&self) -> &crate::state::AppState {
        &self.console.0.app
    }

    /// The operations.
    pub fn control(&self) -> &drydock_control::Control {
        self.console.control()
    }

    /// The frame of a page; takes the notice left for it.
    pub fn chrome(&self, title: impl Into<String>, active: &'static str) -> Chrome {
        Chrome {
            title: title.into(),
            active,
            user: self.name.clone(),
            role: self.role.as_str(),
            may: self.may,
            csrf: self.csrf.clone(),
            notice: self.console.0.sessions.take_notice(&self.session),
            assets: urls(),
            version: env!("CARGO_PKG_VERSION"),
            shown_at: self.ctx.now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    /// Goes to `path`, which will say `text` once.
    pub fn done(&self, path: &str, text: impl Into<String>) -> Response {
        self.console.0.sessions.leave_notice(&self.session, false, text.into());
        Redirect::to(path).into_response()
    }

    /// Goes back to `path`, which will say why not; failures that no page can explain get their own page.
    pub fn refused(&self, path: &str, error: drydock_control::Error) -> Result<Response, Fail> {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::Unavailable => {
                self.console.0.sessions.leave_notice(&self.session, true, error.to_string());
                Ok(Redirect::to(path).into_response())
            }
            _ => Err(self.fail(error)),
        }
    }

    /// As [`Self::refused`], also for a name in the form that nothing has.
    pub fn refused_name(&self, path: &str, error: drydock_control::Error) -> Result<Response, Fail> {
        if error.kind() == ErrorKind::NotFound {
            self.console.0.sessions.leave_notice(&self.session, true, error.to_string());
            return Ok(Redirect::to(path).into_response());
        }
        self.refused(path, error)
    }

    /// The error with the request it belongs to.
    pub fn fail(&self, error: drydock_control::Error) -> Fail {
        Fail::new(error, &self.ctx.request_id)
    }

    /// For a stream that outlives its request: may this session still see things?
    pub async fn still_good(&self) -> bool {
        let control = self.console.control();
        self.console.0.sessions.is_alive(&self.session, control.now())
            && !matches!(control.authenticate(self.secret.expose()).await, Err(e) if e.kind() == ErrorKind::Unauthenticated)
    }
}

impl FromRequestParts<Console> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let control = console.control();
        let request_id = request_id(&parts.extensions);
        let to_sign_in = || sign_in_first(parts);
        let id = cookie(&parts.headers, SESSION_COOKIE).ok_or_else(to_sign_in)?;
        let session = console.0.sessions.get(&id, control.now()).ok_or_else(to_sign_in)?;
        let principal = match control.authenticate(session.token.secret.expose()).await {
            Ok(principal) => principal,
            Err(e) if matches!(e.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => {
                console.0.sessions.end(&id);
                return Err(to_sign_in());
            }
            Err(e) => return Err(Fail::new(e, &request_id).into_response()),
        };
        let Some(own) = principal.account() else { return Err(to_sign_in()) };
        let Some(token) = own.token else { return Err(to_sign_in()) };
        let (name, role) = (own.name.clone(), own.role.unwrap_or(Role::Viewer));
        if let Some(info) = parts.extensions.get::<RequestInfo>() {
            info.set_who(&name);
        }
        Ok(Signed {
            console: console.clone(),
            ctx: control.ctx(principal, request_id),
            token,
            name,
            role,
            may: may(role),
            session: id,
            csrf: session.csrf,
            secret: session.token.secret,
        })
    }
}

impl FromRequest<Console> for SignedForm {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let who = Signed::from_request_parts(&mut parts, console).await?;
        let form = Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), console).await;
        let fields = match form {
            Ok(Form(pairs)) => Fields(pairs),
            Err(e) => return Err(error::page(e.status(), "The form could not be read", &e.body_text(), &who.ctx.request_id)),
        };
        if !same(fields.get("csrf"), &who.csrf) {
            return Err(error::forged(&who.ctx.request_id));
        }
        Ok(SignedForm { who, fields })
    }
}

/// The frame of a page.
pub struct Chrome {
    /// Of the browser's tab.
    pub title: String,
    /// The page's place in the navigation.
    pub active: &'static str,
    /// Who is signed in.
    pub user: String,
    /// As what.
    pub role: &'static str,
    /// What to show.
    pub may: May,
    /// Every form carries it.
    pub csrf: String,
    /// Left by what was asked last.
    pub notice: Option<Notice>,
    /// Where the assets are.
    pub assets: &'static AssetUrls,
    /// Of the server.
    pub version: &'static str,
    /// When the page was made.
    pub shown_at: String,
}

/// One place of the navigation.
pub struct NavItem {
    /// Where.
    pub href: &'static str,
    /// Its name.
    pub label: &'static str,
    /// The page is there.
    pub current: bool,
}

impl Chrome {
    /// The places this role may go to.
    pub fn nav(&self) -> Vec<NavItem> {
        [
            ("/", "Overview", true),
            ("/instances", "Instances", true),
            ("/patch-jobs", "Patch jobs", true),
            ("/deployments", "Deployments", true),
            ("/policies", "OS policies", true),
            ("/compliance", "Compliance", true),
            ("/vulnerabilities", "Vulnerabilities", true),
            ("/advisories", "Advisories", true),
            ("/packages", "Packages", true),
            ("/groups", "Groups", true),
            ("/sources", "Sources", true),
            ("/environments", "Environments", true),
            ("/enrolment", "Enrolment", true),
            ("/access-tokens", "Access tokens", self.may.manage_access),
            ("/audit", "Audit", self.may.read_audit),
        ]
        .into_iter()
        .filter(|(_, _, shown)| *shown)
        .map(|(href, label, _)| NavItem { href, label, current: href == self.active })
        .collect()
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    assets: &'static AssetUrls,
    csrf: String,
    next: String,
    error: Option<String>,
}

/// Where to go after sign-in.
#[derive(Debug, Default, Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// `GET /sign-in`
pub async fn sign_in_page(Query(next): Query<Next>) -> Response {
    sign_in_form(&next.next, None)
}

/// `POST /sign-in`
pub async fn sign_in(State(console): State<Console>, request: Request) -> Response {
    let request_id = request_id(request.extensions());
    let address = address_of(request.extensions());
    let form_cookie = cookie(request.headers(), FORM_COOKIE).unwrap_or_default();
    let old_session = cookie(request.headers(), SESSION_COOKIE);
    let fields = match Form::<Vec<(String, String)>>::from_request(request, &console).await {
        Ok(Form(pairs)) => Fields(pairs),
        Err(e) => return error::page(e.status(), "The form could not be read", &e.body_text(), &request_id),
    };
    let again = |why: &str| sign_in_form(fields.get("next"), Some(why.to_owned()));
    if form_cookie.is_empty() || !same(fields.get("csrf"), &form_cookie) {
        return again("The form was too old, or cookies are off. Try once more.");
    }
    let app = &console.0.app;
    if let Err(wait) = app.failures.check(address, Instant::now()) {
        return again(&format!("Too many failed sign-ins from {address}. Wait {} s.", wait.as_secs().max(1)));
    }
    let typed = fields.text("token");
    if typed.is_empty() || typed.len() > TOKEN_MAX_BYTES {
        return again("Paste the whole access token; it begins with ddt_.");
    }
    let known = match app.control.authenticate(&typed).await {
        Ok(who) => who.account().and_then(|own| own.token),
        Err(e) if !matches!(e.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => {
            return Fail::new(e, &request_id).into_response();
        }
        Err(_) => None,
    };
    let Some(id) = known else {
        app.failures.failed(address, Instant::now());
        return again("No such token, or it was revoked or has expired.");
    };
    match console.0.sessions.start(Token { id, secret: Secret::new(typed) }, app.control.now()) {
        Ok(session) => {
            if let Some(old) = old_session {
                console.0.sessions.end(&old);
            }
            let set = set_cookie(SESSION_COOKIE, &session, SESSION_ABSOLUTE_SECS);
            let clear = set_cookie(FORM_COOKIE, "", 0);
            with_cookies(Redirect::to(local_path(fields.get("next"))), [set, clear])
        }
        Err(e) => error::page(StatusCode::SERVICE_UNAVAILABLE, "Sign-in failed", &e.to_string(), &request_id),
    }
}

/// `POST /sign-out`
pub async fn sign_out(form: SignedForm) -> Response {
    form.who.console.0.sessions.end(&form.who.session);
    with_cookies(Redirect::to("/sign-in"), [set_cookie(SESSION_COOKIE, "", 0)])
}

fn sign_in_form(next: &str, error: Option<String>) -> Response {
    let Ok(csrf) = secret() else {
        return error::page(StatusCode::SERVICE_UNAVAILABLE, "Sign-in failed", &super::session::NoRandomness.to_string(), "");
    };
    let set = set_cookie(FORM_COOKIE, &csrf, FORM_COOKIE_SECS);
    let status = if error.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let page = SignInPage { assets: urls(), csrf, next: local_path(next).to_owned(), error };
    with_cookies((status, error::Html(page)), [set])
}

/// A browser that opens a page is sent to sign in and comes back; a script or a form is only told.
fn sign_in_first(parts: &Parts) -> Response {
    let wants_page = parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"));
    if !wants_page && parts.headers.contains_key("sec-fetch-mode") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let next = match (&parts.method, parts.uri.path_and_query()) {
        (&Method::GET, Some(path)) if path.as_str().len() <= NEXT_MAX_BYTES => path.as_str(),
        _ => "/",
    };
    let query: String = form_encode(next);
    let clear = set_cookie(SESSION_COOKIE, "", 0);
    with_cookies(Redirect::to(&format!("/sign-in?next={query}")), [clear])
}

/// Percent-encodes everything but letters, digits and a few marks.
pub fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// `path` when it stays on this server, else the first page: nobody is sent elsewhere by a link to our sign-in.
fn local_path(path: &str) -> &str {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let local = path.starts_with('/') && !path.starts_with("//") && plain && path.len() <= NEXT_MAX_BYTES;
    if local && !path.starts_with("/sign-") && path != "/overview/live" { path } else { "/" }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .filter(|value| !value.is_empty())
}

fn set_cookie(name: &str, value: &str, max_age_secs: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_secs}; Secure; HttpOnly; SameSite=Strict")
}

fn with_cookies<const N: usize>(response: impl IntoResponse, cookies: [String; N]) -> Response {
    let mut response = response.into_response();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// The request's id, from the server's outermost layer.
fn request_id(extensions: &Extensions) -> String {
    extensions.get::<RequestInfo>().map_or_else(String::new, |info| info.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_leads_nowhere_else() {
        for path in
            ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/sign-out", "/a b", "/a\nb"]
        {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
        assert_eq!(local_path("/patch-jobs?state=PATCHING"), "/patch-jobs?state=PATCHING");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_an_empty_one_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; __Host-drydock-session=abc; b=2"));
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("abc".into()));
        assert_eq!(cookie(&headers, "c"), None);
        assert!(set_cookie(SESSION_COOKIE, "x", 1).contains("Secure; HttpOnly; SameSite=Strict"));
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(form_encode("/a?b=c&d=é"), "/a%3Fb%3Dc%26d%3D%C3%A9");
    }
}
