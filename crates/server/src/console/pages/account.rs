//! One's own account: password, second factor, sessions, access tokens.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use drydock_control::records::{AccessTokenRecord, PageQuery};
use drydock_control::{AccountKind, ErrorKind, Secret, TokenAsk, WhoseSessions};
use drydock_domain::ids::{AccessTokenId, SessionId};
use jiff::{SignedDuration, Timestamp};
use qrcode::QrCode;
use qrcode::render::svg;

use super::jobs::read_id;
use super::users::SessionRow;
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{Fail, Html};
use crate::console::view::{self, Badge, When};

/// Sessions and tokens shown, count each.
const ROWS: u32 = 100;
/// Side of a picture for an authenticator app, pixels.
const PICTURE_PIXELS: u32 = 240;

struct TokenRow {
    id: AccessTokenId,
    name: String,
    scope: String,
    badge: Badge,
    usable: bool,
    last_used: Option<When>,
    expires: Option<When>,
}

impl TokenRow {
    fn new(token: &AccessTokenRecord, now: Timestamp) -> Self {
        let expired = token.expires_at.is_some_and(|at| at <= now);
        let badge = match (token.revoked, expired) {
            (true, _) => Badge { tone: "bad", label: "REVOKED" },
            (false, true) => Badge { tone: "idle", label: "EXPIRED" },
            (false, false) => Badge { tone: "ok", label: "GOOD" },
        };
        TokenRow {
            id: token.id,
            name: token.name.clone(),
            scope: token.scope.join("; "),
            badge,
            usable: !token.revoked && !expired,
            last_used: view::when_opt(token.last_used_at, now),
            expires: view::when_opt(token.expires_at, now),
        }
    }
}

/// What is shown once.
#[derive(Default)]
struct Once {
    /// Secret of a token that was made.
    token: Option<String>,
    /// Recovery codes.
    codes: Vec<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    c: Chrome,
    name: String,
    groups: Vec<String>,
    /// The session of a person, not of a token that stands for itself.
    person: bool,
    has_password: bool,
    second_factor: bool,
    codes_left: i64,
    once: Once,
    sessions: Vec<SessionRow>,
    tokens: Vec<TokenRow>,
}

async fn page(who: &Signed, once: Once) -> Result<Page, Fail> {
    let control = who.control();
    let own = who.ctx.who.account();
    let (groups, session) = own.map(|own| (own.groups.clone(), own.session)).unwrap_or_default();
    let mut page = Page {
        c: who.chrome("Your account", "/account"),
        name: who.name.clone(),
        groups,
        person: who.kind == AccountKind::User,
        has_password: false,
        second_factor: false,
        codes_left: 0,
        once,
        sessions: Vec::new(),
        tokens: Vec::new(),
    };
    if matches!(who.kind, AccountKind::Token | AccountKind::Instance) {
        return Ok(page);
    }
    let user = control.get_user(&who.ctx, &who.name).await.map_err(|e| who.fail(e))?.user;
    (page.has_password, page.second_factor) = (user.has_password, user.second_factor);
    if user.second_factor {
        page.codes_left = control.recovery_codes_left(&who.ctx).await.unwrap_or(0);
    }
    let rows = PageQuery { cursor: None, limit: Some(ROWS) };
    let sessions = control.list_sessions(&who.ctx, WhoseSessions::Own, &rows).await.map_err(|e| who.fail(e))?;
    page.sessions = sessions.items.iter().map(|own| SessionRow::new(own, session, who.ctx.now)).collect();
    let tokens = control.list_access_tokens(&who.ctx, Some(&who.name), &rows).await.map_err(|e| who.fail(e))?;
    page.tokens = tokens.items.iter().map(|token| TokenRow::new(token, who.ctx.now)).collect();
    Ok(page)
}

/// `GET /account`
pub async fn show(who: Signed) -> Result<Html<impl Template>, Fail> {
    Ok(Html(page(&who, Once::default()).await?))
}

/// `POST /account/password`
pub async fn password(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let (old, new) = (Secret::new(f.get("oldPassword")), Secret::new(f.get("newPassword")));
    if f.get("newPassword") != f.get("newPasswordAgain") {
        let error = drydock_domain::validate::Invalid::one("newPasswordAgain", "is not the same as the new password");
        return who.refused("/account", drydock_control::Error::Invalid(error));
    }
    match who.control().change_password(&who.ctx, &old, &new).await {
        Ok(()) => Ok(who.done("/account", "The password is changed; your other sessions have ended.")),
        Err(e) => who.refused("/account", e),
    }
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct OfferPage {
    c: Chrome,
    /// A picture of `uri`, as SVG; empty when it cannot be drawn.
    picture: String,
    uri: String,
    secret: String,
}

/// `POST /account/second-factor`: answers with the page itself, because the secret may be shown this once only.
pub async fn offer(form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().offer_second_factor(&who.ctx).await {
        Ok(offered) => Ok(Html(OfferPage {
            c: who.chrome("Second factor", "/account"),
            picture: picture(offered.uri.expose()),
            uri: offered.uri.expose().to_owned(),
            secret: offered.secret.expose().to_owned(),
        })
        .into_response()),
        Err(e) => who.refused("/account", e),
    }
}

/// Nothing of the text is in the markup but black and white squares.
fn picture(uri: &str) -> String {
    let Ok(code) = QrCode::new(uri.as_bytes()) else { return String::new() };
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(PICTURE_PIXELS, PICTURE_PIXELS).build();
    // A page is no XML document of its own.
    drawn.split_once("?>").map_or(drawn.clone(), |(_, svg)| svg.to_owned())
}

/// `POST /account/second-factor/confirm`: answers with the recovery codes, once.
pub async fn confirm(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    match who.control().confirm_second_factor(&who.ctx, &f.text("code")).await {
        Ok(codes) => {
            let codes = codes.iter().map(|code| code.expose().to_owned()).collect();
            Ok(Html(page(&who, Once { codes, ..Once::default() }).await?).into_response())
        }
        Err(e) => who.refused("/account", e),
    }
}

/// `POST /account/second-factor/remove`
pub async fn remove(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    match who.control().remove_second_factor(&who.ctx, &f.text("code")).await {
        Ok(()) => Ok(who.done("/account", "You have no second factor any more.")),
        Err(e) => who.refused("/account", e),
    }
}

/// `POST /account/sessions/{id}/end`
pub async fn end_session(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: SessionId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    match who.control().revoke_session(&who.ctx, id).await {
        Ok(()) => Ok(who.done("/account", "The session has ended.")),
        Err(e) => who.refused_name("/account", e),
    }
}

/// `POST /account/tokens`: answers with the page itself, because the secret may be shown this once only.
pub async fn create_token(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let days = f.text("expiresDays");
    let hours = days.parse::<i64>().ok().filter(|days| *days > 0).and_then(|days| days.checked_mul(24));
    let expires_at = hours.and_then(SignedDuration::try_from_hours).and_then(|after| who.ctx.now.checked_add(after).ok());
    if !days.is_empty() && expires_at.is_none() {
        let error = drydock_domain::validate::Invalid::one("expiresDays", "is not a number of days from now");
        return who.refused("/account", drydock_control::Error::Invalid(error));
    }
    let scope = f.area("scope").lines().map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
    let ask = TokenAsk { name: f.text("name"), scope, expires_at, ..TokenAsk::default() };
    match who.control().create_access_token(&who.ctx, ask).await {
        Ok((_, secret)) => {
            let once = Once { token: Some(secret.expose().to_owned()), ..Once::default() };
            Ok(Html(page(&who, once).await?).into_response())
        }
        Err(e) if e.kind() == ErrorKind::Forbidden => Err(who.fail(e)),
        Err(e) => who.refused("/account", e),
    }
}

/// `POST /account/tokens/{id}/revoke`
pub async fn revoke_token(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: AccessTokenId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    match who.control().revoke_access_token(&who.ctx, id).await {
        Ok(token) => Ok(who.done("/account", format!("The token “{}” is revoked.", token.name))),
        Err(e) => who.refused_name("/account", e),
    }
}
