//! Access tokens of people and programs: the list, making one (its secret is shown once), revoking. Administrators
//! only; `control` decides that.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use drydock_control::records::AccessTokenRecord;
use drydock_control::{ErrorKind, TokenAsk};
use drydock_domain::access::Role;
use drydock_domain::ids::AccessTokenId;
use jiff::{SignedDuration, Timestamp};

use super::jobs::read_id;
use super::{CursorQuery, FieldErrors};
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{Fail, Html};
use crate::console::fields::Fields;
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Shown once, after making.
struct Created {
    name: String,
    role: String,
    secret: String,
}

struct Row {
    id: AccessTokenId,
    name: String,
    role: String,
    badge: Badge,
    own: bool,
    usable: bool,
    last_used: Option<When>,
    expires: Option<When>,
    created: When,
}

/// What a token may do, for people.
fn whose(t: &AccessTokenRecord) -> String {
    let narrowed = if t.scope.is_empty() { "" } else { ", narrowed" };
    match (&t.user, t.role) {
        (Some(user), _) => format!("user {}{narrowed}", user.name),
        (None, role) => format!("{}{narrowed}", role.map_or("", Role::as_str)),
    }
}

impl Row {
    fn new(t: &AccessTokenRecord, own: Option<AccessTokenId>, now: Timestamp) -> Self {
        let expired = t.expires_at.is_some_and(|at| at <= now);
        let badge = match (t.revoked, expired) {
            (true, _) => Badge { tone: "bad", label: "REVOKED" },
            (false, true) => Badge { tone: "idle", label: "EXPIRED" },
            (false, false) => Badge { tone: "ok", label: "GOOD" },
        };
        Row {
            id: t.id,
            name: t.name.clone(),
            role: whose(t),
            badge,
            own: Some(t.id) == own,
            usable: !t.revoked,
            last_used: view::when_opt(t.last_used_at, now),
            expires: view::when_opt(t.expires_at, now),
            created: view::when(t.created_at, now),
        }
    }
}

/// The form as typed.
#[derive(Debug, Clone, Default)]
struct TokenForm {
    name: String,
    role: String,
    expires_days: String,
    errors: Vec<(&'static str, String)>,
}

impl TokenForm {
    fn read(f: &Fields) -> Self {
        TokenForm { name: f.text("name"), role: f.text("role"), expires_days: f.text("expiresDays"), errors: Vec::new() }
    }

    fn error(&self, field: &str) -> Option<String> {
        FieldErrors(self.errors.clone()).of(field)
    }

    fn roles(&self) -> Vec<(&'static str, &'static str, bool)> {
        [
            (Role::Viewer, "viewer: reads"),
            (Role::Operator, "operator: patches, accepts hosts"),
            (Role::Administrator, "administrator: everything"),
        ]
        .map(|(role, words)| (role.as_str(), words, role.as_str() == self.role))
        .to_vec()
    }

    fn parts(&mut self, now: Timestamp) -> Option<(Role, Option<Timestamp>)> {
        let role = Role::parse(&self.role);
        if role.is_none() {
            self.errors.push(("role", "choose a role".into()));
        }
        let mut expires_at = None;
        if !self.expires_days.is_empty() {
            let days = self.expires_days.parse::<i64>().ok().filter(|d| *d > 0).and_then(|d| d.checked_mul(24));
            expires_at = days.and_then(SignedDuration::try_from_hours).and_then(|d| now.checked_add(d).ok());
            if expires_at.is_none() {
                self.errors.push(("expiresDays", format!("“{}” is not a number of days from now", self.expires_days)));
            }
        }
        role.filter(|_| self.errors.is_empty()).map(|role| (role, expires_at))
    }
}

#[derive(Template)]
#[template(path = "access_tokens.html")]
struct Page {
    c: Chrome,
    created: Option<Created>,
    rows: Vec<Row>,
    pager: Pager,
    f: TokenForm,
}

async fn page(who: &Signed, cursor: &CursorQuery, created: Option<Created>, f: TokenForm) -> Result<Page, Fail> {
    let tokens = who.control().list_access_tokens(&who.ctx, None, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Page {
        c: who.chrome("Access tokens", "/access-tokens"),
        created,
        rows: tokens.items.iter().map(|t| Row::new(t, who.token, who.ctx.now)).collect(),
        pager: Pager::new("/access-tokens", cursor.cursor.as_deref(), tokens.next_cursor.as_deref()),
        f,
    })
}

/// `GET /access-tokens`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    page(&who, &cursor, None, TokenForm::default()).await.map(Html)
}

/// `POST /access-tokens`: answers with the page itself, because the secret may be shown this once only.
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let mut f = TokenForm::read(&form.fields);
    let first = CursorQuery::default();
    let refused = |page| (StatusCode::UNPROCESSABLE_ENTITY, Html(page)).into_response();
    let Some((role, expires_at)) = f.parts(who.ctx.now) else { return Ok(refused(page(&who, &first, None, f).await?)) };
    let ask = TokenAsk { name: f.name.clone(), role: Some(role), expires_at, ..TokenAsk::default() };
    match who.control().create_access_token(&who.ctx, ask).await {
        Ok((token, secret)) => {
            let created = Created { role: whose(&token), name: token.name, secret: secret.expose().to_owned() };
            Ok((StatusCode::CREATED, Html(page(&who, &first, Some(created), TokenForm::default()).await?)).into_response())
        }
        Err(e) if e.kind() == ErrorKind::Invalid => {
            for error in e.fields() {
                let field = match error.field.as_str() {
                    "name" => "name",
                    "expiresAt" => "expiresDays",
                    _ => "",
                };
                f.errors.push((field, error.message.clone()));
            }
            Ok(refused(page(&who, &first, None, f).await?))
        }
        Err(e) => Err(who.fail(e)),
    }
}

/// `POST /access-tokens/{id}/revoke`
pub async fn revoke(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: AccessTokenId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    match who.control().revoke_access_token(&who.ctx, id).await {
        Ok(t) => Ok(who.done("/access-tokens", format!("The token “{}” is revoked.", t.name))),
        Err(e) => who.refused("/access-tokens", e),
    }
}
