//! Signing in and out: the form, what it is checked against, and the session that it begins. How often somebody may try is
//! `rates`' and `failures`'; who is right is `control`'s.

use std::time::Instant;

use askama::Template;
use axum::extract::{Form, FromRequest, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use drydock_control::{ErrorKind, Secret, SignInAsk, SignInFrom};
use serde::Deserialize;

use super::Console;
use super::assets::{AssetUrls, urls};
use super::auth::{SignedForm, Token, request_id};
use super::cookies::{SESSION_COOKIE, cookie, local_path, set_cookie, with_cookies};
use super::error::{self, Fail};
use super::fields::Fields;
use super::session::{NoRandomness, SESSION_ABSOLUTE_SECS, same, secret};
use crate::rates::secs;
use crate::rest::extract::address_of;

/// Before there is a session, the sign-in form is tied to the browser by this cookie.
const FORM_COOKIE: &str = "__Host-drydock-form";
/// Time to fill in the sign-in form, seconds.
const FORM_COOKIE_SECS: i64 = 3600;
/// An access token as typed, bytes: longer is not one of ours.
const TOKEN_MAX_BYTES: usize = 256;

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
    pub next: String,
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
    let failures = &app.sign_in_failures;
    if let Err(wait) = failures.check(address, Instant::now()) {
        let why = format!("Too many failed sign-ins from {address}. Wait {} s.", secs(wait));
        return form(&console, &typed, Some(why));
    }
    if !by_token && let Err(too) = app.rates.sign_in(address, &typed.user, Instant::now()) {
        return form(&console, &typed, Some(format!("Too many {}. Wait {} s.", too.of, secs(too.wait))));
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
            failures.failed(address, Instant::now());
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
    Random(NoRandomness),
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
    let token = Token::new(id, Secret::new(typed));
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
    if let Err(e) = who.end_session().await {
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
        return error::page(StatusCode::SERVICE_UNAVAILABLE, "Sign-in failed", &NoRandomness.to_string(), "");
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
