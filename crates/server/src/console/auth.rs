//! Who is asking: the two extractors every handler takes, and the frame of pages. [`Signed`] is a signed-in
//! reader; [`SignedForm`] is the only way to a submitted form and has checked its CSRF token, so a handler cannot
//! forget to. A user's session is in the store; one that an access token began is in memory. Each request asks `control`
//! whether user or token is still good: a disabled or revoked one ends the session.

use std::time::Instant;

use axum::extract::{Form, FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::{Account, AccountKind, ErrorKind, OpCtx, Principal, Secret};
use drydock_domain::ids::AccessTokenId;
use http::Extensions;

use super::Console;
use super::assets::{AssetUrls, urls};
use super::cookies::{NEXT_MAX_BYTES, SESSION_COOKIE, cookie, set_cookie, with_cookies};
use super::error::{self, Fail};
use super::fields::Fields;
use super::session::{Notice, same};
use super::view::{May, may};
use crate::request::RequestInfo;
use crate::rest::recorded::recorded_form;

/// The access token behind a session. The secret stays in memory: `control` is asked with it on each request.
#[derive(Debug, Clone)]
pub struct Token {
    id: AccessTokenId,
    secret: Secret,
}

impl Token {
    /// The token with this secret.
    pub(super) fn new(id: AccessTokenId, secret: Secret) -> Self {
        Token { id, secret }
    }
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
    /// Requests for approval that wait for the reader.
    pub waiting: usize,
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

    /// Ends the session.
    pub(super) async fn end_session(&self) -> Result<(), drydock_control::Error> {
        self.console.0.sessions.end(&self.session);
        self.control().sign_out(&self.ctx).await
    }

    /// The frame of a page; takes the notice left for it.
    pub fn chrome(&self, title: impl Into<String>, active: &'static str) -> Chrome {
        Chrome {
            title: title.into(),
            active,
            user: self.name.clone(),
            role: self.role.clone(),
            may: self.may,
            waiting: self.waiting,
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

    /// For a stream that outlives its request: is this session still good? Its groups are those of now then. The store may be
    /// down for a moment; only a clear no ends the stream.
    pub async fn still_good(&mut self) -> bool {
        let control = self.console.control();
        let now = match &self.secret {
            None => match control.open_session(&self.session, false).await {
                Ok(None) => return false,
                Ok(Some(open)) => Ok(open.who),
                Err(e) => Err(e),
            },
            Some(_) if !self.console.0.sessions.is_alive(&self.session, control.now()) => return false,
            Some(secret) => control.authenticate(secret.expose()).await,
        };
        match now {
            Ok(who) => self.ctx.who = who,
            Err(e) => return e.kind() != ErrorKind::Unauthenticated,
        }
        true
    }
}

/// Whose session a cookie names.
struct Known {
    who: Principal,
    csrf: String,
    secret: Option<Secret>,
}

/// Does an open page ask by itself? No person does then, also when the browser opens its stream again.
fn is_live(parts: &Parts) -> bool {
    parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str().ends_with("/live"))
}

/// Looks a cookie up: a session of a user, else one that an access token began. `keep`: being asked keeps it from idling out.
async fn known(console: &Console, id: &str, keep: bool) -> Result<Option<Known>, drydock_control::Error> {
    let control = console.control();
    if let Some(open) = control.open_session(id, keep).await? {
        return Ok(Some(Known { who: open.who, csrf: open.csrf, secret: None }));
    }
    let sessions = &console.0.sessions;
    let found = if keep { sessions.get(id, control.now()) } else { sessions.peek(id, control.now()) };
    let Some(session) = found else { return Ok(None) };
    match control.authenticate(session.token.secret.expose()).await {
        Ok(who) => Ok(Some(Known { who, csrf: session.csrf, secret: Some(session.token.secret) })),
        Err(e) if matches!(e.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => {
            sessions.end(id);
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
        let known = known(console, &id, !is_live(parts)).await.map_err(failed)?.ok_or_else(|| sign_in_first(parts))?;
        let Some(own) = known.who.account() else { return Err(sign_in_first(parts)) };
        let (token, name, role) = (own.token, own.name.clone(), role_text(own));
        let kind = own.kind;
        if let Some(info) = parts.extensions.get::<RequestInfo>() {
            info.set_who(&name);
        }
        if let Err(wait) = console.0.app.rates.principal(&known.who.id(), Instant::now()) {
            return Err(crate::rates::plain(wait, &format!("Too many requests of {name}.")));
        }
        let may = may(&control.permissions_somewhere(&known.who).await.map_err(failed)?);
        let info = parts.extensions.get::<RequestInfo>().cloned().unwrap_or_else(RequestInfo::unknown);
        let ctx = info.ctx(control, known.who, &parts.extensions);
        let waiting = control.approvals_waiting(&ctx).await.map_err(failed)?;
        Ok(Signed {
            console: console.clone(),
            ctx,
            token,
            name,
            kind,
            role,
            may,
            waiting,
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
        let parts_of = format!("{} {}", parts.method, parts.uri);
        let form = Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), console).await;
        let fields = match form {
            Ok(Form(pairs)) => Fields(pairs),
            Err(e) => return Err(error::page(e.status(), "The form could not be read", &e.body_text(), &who.ctx.request_id)),
        };
        if !same(fields.get("csrf"), &who.csrf) {
            return Err(error::forged(&who.ctx.request_id));
        }
        who.ctx.notes.asked(asked(&parts_of, &fields).as_bytes());
        if let Some(kept) = recorded_form(&fields.0) {
            who.ctx.notes.set_parameters("form", kept);
        }
        Ok(SignedForm { who, fields })
    }
}

/// What a form asks for, to know it again: all of it but the token of its session.
fn asked(parts_of: &str, fields: &Fields) -> String {
    let told = fields.0.iter().filter(|(name, _)| name != "csrf").map(|(name, value)| format!("{name}={value:?}"));
    std::iter::once(parts_of.to_owned()).chain(told).collect::<Vec<_>>().join("\n")
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
    /// Requests for approval that wait for the reader.
    pub waiting: usize,
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
    /// What waits there for the reader, count.
    pub waiting: usize,
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
            ("/approvals", "Approvals", true),
            ("/users", "Users", self.may.manage_access),
            ("/user-groups", "User groups", self.may.manage_access),
            ("/access-tokens", "Access tokens", self.may.manage_access),
            ("/audit", "Audit", self.may.read_audit),
        ]
        .into_iter()
        .filter(|(_, _, shown)| *shown)
        .map(|(href, label, _)| {
            let waiting = if href == "/approvals" { self.waiting } else { 0 };
            NavItem { href, label, current: href == self.active, waiting }
        })
        .collect()
    }
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
    let to_sign_in = Redirect::to(&format!("/sign-in?next={query}"));
    // Browsers leave the cookie out when another site leads here: what they did not show is not taken from them.
    match cookie(&parts.headers, SESSION_COOKIE) {
        Some(_) => with_cookies(to_sign_in, [set_cookie(SESSION_COOKIE, "", 0)]),
        None => to_sign_in.into_response(),
    }
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

/// The request's id, from the server's outermost layer.
pub(super) fn request_id(extensions: &Extensions) -> String {
    extensions.get::<RequestInfo>().map_or_else(String::new, |info| info.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(form_encode("/a?b=c&d=é"), "/a%3Fb%3Dc%26d%3D%C3%A9");
    }
}
