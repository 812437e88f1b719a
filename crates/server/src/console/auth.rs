//! Who is asking: cookies, sign-in and sign-out, and the two extractors every handler takes. [`Signed`] is a signed-in
//! reader; [`SignedForm`] is the only way to a submitted form and has checked its CSRF token, so a handler cannot
//! forget to. A user's session is in the store; one that an access token began is in memory. Each request asks `control`
//! whether user or token is still good: a disabled or revoked one ends the session.

use std::time::Instant;

use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::{Account, AccountKind, ErrorKind, OpCtx, Principal, Secret, SignInAsk, SignInFrom};
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
    /// The access token in use, if it is one.
    pub token: Option<AccessTokenId>,
    /// Its name.
    pub name: String,
    /// A person, a program, or a token that stands for itself.
    pub kind: AccountKind,
    /// Its groups, for people.
    pub role: String,
    /// What to show.
    pub may: May,
    session: String,
    csrf: String,
    /// The access token that began the session, if it was one.
    secret: Option<Secret>,
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
            role: self.role.clone(),
            may: self.may,
            csrf: self.csrf.clone(),
            notice: self.console.0.notices.take(&self.session),
            assets: urls(),
            version: env!("CARGO_PKG_VERSION"),
            shown_at: self.ctx.now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    /// Goes to `path`, which will say `text` once.
    pub fn done(&self, path: &str, text: impl Into<String>) -> Response {
        self.console.0.notices.leave(&self.session, false, text.into());
        Redirect::to(path).into_response()
    }

    /// Goes back to `path`, which will say why not; failures that no page can explain get their own page.
    pub fn refused(&self, path: &str, error: drydock_control::Error) -> Result<Response, Fail> {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::Unavailable => {
                self.console.0.notices.leave(&self.session, true, error.to_string());
                Ok(Redirect::to(path).into_response())
            }
            _ => Err(self.fail(error)),
        }
    }

    /// As [`Self::refused`], also for a name in the form that nothing has.
    pub fn refused_name(&self, path: &str, error: drydock_control::Error) -> Result<Response, Fail> {
        if error.kind() == ErrorKind::NotFound {
            self.console.0.notices.leave(&self.session, true, error.to_string());
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
        let Some(secret) = &self.secret else {
            return !matches!(control.open_session(&self.session, false).await, Ok(None));
        };
        self.console.0.sessions.is_alive(&self.session, control.now())
            && !matches!(control.authenticate(secret.expose()).await, Err(e) if e.kind() == ErrorKind::Unauthenticated)
    }
}

/// Whose session a cookie names.
struct Known {
    who: Principal,
    csrf: String,
    secret: Option<Secret>,
}

/// Looks a cookie up: a session of a user, else one that an access token began.
async fn known(console: &Console, id: &str) -> Result<Option<Known>, drydock_control::Error> {
    let control = console.control();
    if let Some(open) = control.open_session(id, true).await? {
        return Ok(Some(Known { who: open.who, csrf: open.csrf, secret: None }));
    }
    let Some(session) = console.0.sessions.get(id, control.now()) else { return Ok(None) };
    match control.authenticate(session.token.secret.expose()).await {
        Ok(who) => Ok(Some(Known { who, csrf: session.csrf, secret: Some(session.token.secret) })),
        Err(e) if matches!(e.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => {
            console.0.sessions.end(id);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

impl FromRequestParts<Console> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let control = console.control();
        let request_id = request_id(&parts.extensions);
        let failed = |e| Fail::new(e, &request_id).into_response();
        let id = cookie(&parts.headers, SESSION_COOKIE).ok_or_else(|| sign_in_first(parts))?;
        let known = known(console, &id).await.map_err(failed)?.ok_or_else(|| sign_in_first(parts))?;
        let Some(own) = known.who.account() else { return Err(sign_in_first(parts)) };
        let (token, name, role) = (own.token, own.name.clone(), role_text(own));
        let kind = own.kind;
        if let Some(info) = parts.extensions.get::<RequestInfo>() {
            info.set_who(&name);
        }
        if !parts.uri.path().ends_with("/live")
            && let Err(wait) = console.0.app.rates.principal(&known.who.id(), Instant::now())
        {
            return Err(crate::rates::plain(wait, &format!("Too many requests of {name}.")));
        }
        let may = may(&control.permissions_somewhere(&known.who).await.map_err(failed)?);
        let address = address_of(&parts.extensions);
        Ok(Signed {
            console: console.clone(),
            ctx: control.ctx(known.who, request_id).from_address(address),
            token,
            name,
            kind,
            role,
            may,
            session: id,
            csrf: known.csrf,
            secret: known.secret,
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

/// What a page shows beside the name: the role of a token, or the groups.
fn role_text(own: &Account) -> String {
    match own.role.filter(|_| own.groups.len() <= 1) {
        Some(role) => role.as_str().to_owned(),
        None => own.groups.join(", "),
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
    pub role: String,
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
            ("/users", "Users", self.may.manage_access),
            ("/user-groups", "User groups", self.may.manage_access),
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
    /// Name of the user, as typed.
    user: String,
    /// Another password has to be chosen.
    choose: bool,
    /// An access token was typed.
    token: bool,
    /// What the button of the sign-in provider says.
    oidc: Option<String>,
    error: Option<String>,
}

/// Where to go after sign-in.
#[derive(Debug, Default, Deserialize)]
pub struct Next {
    #[serde(default)]
    pub(super) next: String,
}

/// What the sign-in form shows again.
#[derive(Debug, Clone, Default)]
struct Typed {
    /// Where to go after sign-in.
    next: String,
    user: String,
    choose: bool,
    token: bool,
}

/// `GET /sign-in`
pub async fn sign_in_page(State(console): State<Console>, Query(next): Query<Next>) -> Response {
    sign_in_form(&console, &next.next, None)
}

/// `POST /sign-in`
pub async fn sign_in(State(console): State<Console>, request: Request) -> Response {
    let from = SignInFrom {
        address: Some(address_of(request.extensions())),
        request_id: request_id(request.extensions()),
        user_agent: request.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned(),
    };
    let form_cookie = cookie(request.headers(), FORM_COOKIE).unwrap_or_default();
    let old_session = cookie(request.headers(), SESSION_COOKIE);
    let fields = match Form::<Vec<(String, String)>>::from_request(request, &console).await {
        Ok(Form(pairs)) => Fields(pairs),
        Err(e) => return error::page(e.status(), "The form could not be read", &e.body_text(), &from.request_id),
    };
    let by_token = !fields.text("token").is_empty();
    let next = fields.get("next").to_owned();
    let choose = !fields.get("newPassword").is_empty();
    let typed = Typed { next, user: fields.text("user"), choose, token: by_token };
    if form_cookie.is_empty() || !same(fields.get("csrf"), &form_cookie) {
        return form(&console, &typed, Some("The form was too old, or cookies are off. Try once more.".to_owned()));
    }
    let app = &console.0.app;
    let address = from.address.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    if let Err(wait) = app.failures.check(address, Instant::now()) {
        let why = format!("Too many failed sign-ins from {address}. Wait {} s.", wait.as_secs().max(1));
        return form(&console, &typed, Some(why));
    }
    let tried = match by_token {
        true => with_token(&console, &fields).await,
        false => with_password(&console, &fields, &from).await,
    };
    match tried {
        Ok(secret) => {
            end_old(&console, old_session, &from).await;
            with_session(&secret, &typed.next)
        }
        Err(Refused::Wrong(why)) => {
            app.failures.failed(address, Instant::now());
            form(&console, &typed, Some(why))
        }
        Err(Refused::Choose(why)) => form(&console, &Typed { choose: true, ..typed }, Some(why)),
        Err(Refused::Failed(e)) => Fail::new(e, &from.request_id).into_response(),
        Err(Refused::Random(e)) => {
            error::page(StatusCode::SERVICE_UNAVAILABLE, "Sign-in failed", &e.to_string(), &from.request_id)
        }
    }
}

/// Why nobody was signed in.
enum Refused {
    /// What was shown is not good.
    Wrong(String),
    /// Another password has to be chosen.
    Choose(String),
    /// Something is broken.
    Failed(drydock_control::Error),
    /// There is no randomness.
    Random(super::session::NoRandomness),
}

/// Begins a session with an access token; the answer is for the cookie.
async fn with_token(console: &Console, fields: &Fields) -> Result<String, Refused> {
    let wrong = || Refused::Wrong("No such token, or it was revoked or has expired.".to_owned());
    let control = console.control();
    let typed = fields.text("token");
    if typed.len() > TOKEN_MAX_BYTES {
        return Err(wrong());
    }
    let known = match control.authenticate(&typed).await {
        Ok(who) => who.account().and_then(|own| own.token),
        Err(e) if !matches!(e.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => return Err(Refused::Failed(e)),
        Err(_) => None,
    };
    let id = known.ok_or_else(wrong)?;
    let token = Token { id, secret: Secret::new(typed) };
    console.0.sessions.start(token, control.now()).map_err(Refused::Random)
}

/// Begins a session with a password; the answer is for the cookie.
async fn with_password(console: &Console, fields: &Fields, from: &SignInFrom) -> Result<String, Refused> {
    let control = console.control();
    let new = fields.get("newPassword");
    if new != fields.get("newPasswordAgain") {
        return Err(Refused::Choose("The two new passwords differ.".to_owned()));
    }
    let code = fields.text("code");
    let ask = SignInAsk {
        name: fields.text("user"),
        password: Secret::new(fields.get("password")),
        code: Some(code).filter(|code| !code.is_empty()),
        new_password: Some(new).filter(|new| !new.is_empty()).map(Secret::new),
    };
    let signed = control.sign_in(from, &ask).await.map_err(|e| match e.kind() {
        ErrorKind::Unauthenticated => Refused::Wrong(sentence(&e.to_string())),
        ErrorKind::Invalid => Refused::Choose(e.fields().iter().map(|f| sentence(&f.message)).collect::<Vec<_>>().join(" ")),
        _ => Refused::Failed(e),
    })?;
    let begun = control.start_session(signed.user.id, "password", signed.second_factor, from).await;
    Ok(begun.map_err(Refused::Failed)?.expose().to_owned())
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Ends the session that this browser had before: nobody goes on with an id that somebody else may have planted.
async fn end_old(console: &Console, old: Option<String>, from: &SignInFrom) {
    let Some(old) = old else { return };
    console.0.sessions.end(&old);
    let control = console.control();
    if let Ok(Some(open)) = control.open_session(&old, false).await
        && let Err(error) = control.sign_out(&control.ctx(open.who, from.request_id.clone())).await
    {
        tracing::warn!(%error, "cannot end the session that a browser had before");
    }
}

/// Gives a browser its session, for who leads it on by themselves.
pub(super) fn signed_in(_console: &Console, secret: &Secret) -> Response {
    with_session(secret.expose(), "/")
}

/// Gives a browser its session and sends it on.
fn with_session(secret: &str, next: &str) -> Response {
    let set = set_cookie(SESSION_COOKIE, secret, SESSION_ABSOLUTE_SECS);
    let clear = set_cookie(FORM_COOKIE, "", 0);
    with_cookies(Redirect::to(local_path(next)), [set, clear])
}

/// `POST /sign-out`
pub async fn sign_out(form: SignedForm) -> Response {
    let who = form.who;
    who.console.0.sessions.end(&who.session);
    if let Err(e) = who.control().sign_out(&who.ctx).await {
        return who.fail(e).into_response();
    }
    with_cookies(Redirect::to("/sign-in"), [set_cookie(SESSION_COOKIE, "", 0)])
}

/// The empty form.
pub(super) fn sign_in_form(console: &Console, next: &str, error: Option<String>) -> Response {
    form(console, &Typed { next: next.to_owned(), ..Typed::default() }, error)
}

/// The form, with a new CSRF token.
fn form(console: &Console, typed: &Typed, error: Option<String>) -> Response {
    let Ok(csrf) = secret() else {
        return error::page(StatusCode::SERVICE_UNAVAILABLE, "Sign-in failed", &super::session::NoRandomness.to_string(), "");
    };
    let set = set_cookie(FORM_COOKIE, &csrf, FORM_COOKIE_SECS);
    let status = if error.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let page = SignInPage {
        assets: urls(),
        csrf,
        next: local_path(&typed.next).to_owned(),
        user: typed.user.clone(),
        choose: typed.choose,
        token: typed.token,
        oidc: console.0.app.oidc.as_ref().map(|provider| provider.settings().label.clone()),
        error,
    };
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
pub(super) fn local_path(path: &str) -> &str {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let local = path.starts_with('/') && !path.starts_with("//") && plain && path.len() <= NEXT_MAX_BYTES;
    if local && !path.starts_with("/sign-") && path != "/overview/live" { path } else { "/" }
}

pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .filter(|value| !value.is_empty())
}

pub(super) fn set_cookie(name: &str, value: &str, max_age_secs: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_secs}; Secure; HttpOnly; SameSite=Strict")
}

pub(super) fn with_cookies<const N: usize>(response: impl IntoResponse, cookies: [String; N]) -> Response {
    let mut response = response.into_response();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// The request's id, from the server's outermost layer.
pub(super) fn request_id(extensions: &Extensions) -> String {
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
