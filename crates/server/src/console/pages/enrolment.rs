//! Enrolment profiles: the list, making one (its token is shown once), revoking.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use drydock_control::ErrorKind;
use drydock_control::records::ProfileRecord;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::ProfileId;
use drydock_domain::source::host::SourcesMode;
use jiff::{SignedDuration, Timestamp};

use super::jobs::read_id;
use super::{CursorQuery, FieldErrors};
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{Fail, Html};
use crate::console::fields::Fields;
use crate::console::job_form::read_labels;
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Shown once, after making.
struct Created {
    name: String,
    token: String,
    ca_fingerprint: String,
    command: String,
}

struct Row {
    id: ProfileId,
    name: String,
    description: String,
    badge: Badge,
    uses: String,
    entry: &'static str,
    zone: String,
    compartment: String,
    labels: Vec<String>,
    expires: Option<When>,
    created: When,
    created_by: String,
    usable: bool,
}

impl Row {
    fn new(p: &ProfileRecord, now: Timestamp) -> Self {
        let spec = &p.spec;
        let used_up = spec.max_uses.is_some_and(|max| p.uses >= max);
        let expired = spec.expires_at.is_some_and(|at| at <= now);
        let badge = match (p.revoked, expired, used_up) {
            (true, _, _) => Badge { tone: "bad", label: "REVOKED" },
            (_, true, _) => Badge { tone: "idle", label: "EXPIRED" },
            (_, _, true) => Badge { tone: "idle", label: "USED UP" },
            _ => Badge { tone: "ok", label: "OPEN" },
        };
        Row {
            id: p.id,
            name: spec.display_name.clone(),
            description: spec.description.clone(),
            badge,
            uses: spec.max_uses.map_or_else(|| p.uses.to_string(), |max| format!("{} of {max}", p.uses)),
            entry: if spec.auto_accept { "at once" } else { "after a person accepts" },
            zone: spec.zone.clone(),
            compartment: spec.compartment.clone(),
            labels: view::labels(&spec.labels),
            expires: view::when_opt(spec.expires_at, now),
            created: view::when(p.created_at, now),
            created_by: p.created_by.clone(),
            usable: !p.revoked,
        }
    }
}

/// The form as typed.
#[derive(Debug, Clone, Default)]
struct ProfileForm {
    display_name: String,
    description: String,
    expires_hours: String,
    max_uses: String,
    zone: String,
    compartment: String,
    labels: String,
    auto_accept: bool,
    errors: Vec<(&'static str, String)>,
}

impl ProfileForm {
    fn fresh() -> Self {
        ProfileForm { compartment: "/".into(), expires_hours: "24".into(), ..ProfileForm::default() }
    }

    fn read(f: &Fields) -> Self {
        ProfileForm {
            display_name: f.text("displayName"),
            description: f.text("description"),
            expires_hours: f.text("expiresHours"),
            max_uses: f.text("maxUses"),
            zone: f.text("zone"),
            compartment: f.text("compartment"),
            labels: f.area("labels"),
            auto_accept: f.ticked("autoAccept"),
            errors: Vec::new(),
        }
    }

    fn error(&self, field: &str) -> Option<String> {
        FieldErrors(self.errors.clone()).of(field)
    }

    /// The profile this form means, or `None` with the errors noted.
    fn spec(&mut self, now: Timestamp) -> Option<ProfileSpec> {
        let labels = read_labels(&self.labels).map_err(|m| self.errors.push(("labels", m))).unwrap_or_default();
        let hours: Option<i64> = self.number("expiresHours", &self.expires_hours.clone(), "hours");
        let max_uses = self.number("maxUses", &self.max_uses.clone(), "hosts");
        let expires_at = hours.and_then(|h| {
            let at = SignedDuration::try_from_hours(h).and_then(|d| now.checked_add(d).ok());
            if at.is_none() {
                self.errors.push(("expiresHours", "lies too far away".into()));
            }
            at
        });
        self.errors.is_empty().then(|| ProfileSpec {
            display_name: self.display_name.clone(),
            description: self.description.clone(),
            expires_at,
            max_uses,
            labels,
            compartment: self.compartment.clone(),
            zone: self.zone.clone(),
            auto_accept: self.auto_accept,
            sources_mode: SourcesMode::default(),
            environment: None,
        })
    }

    fn number<N: std::str::FromStr>(&mut self, field: &'static str, text: &str, unit: &str) -> Option<N> {
        let read = text.parse().ok();
        if read.is_none() && !text.is_empty() {
            self.errors.push((field, format!("“{text}” is not a whole number of {unit}")));
        }
        read
    }

    fn refuse(&mut self, error: &drydock_control::Error) {
        for e in error.fields() {
            let field = ["displayName", "description", "expiresAt", "maxUses", "zone", "compartment", "labels"]
                .into_iter()
                .find(|f| e.field.starts_with(f))
                .map_or("", |f| if f == "expiresAt" { "expiresHours" } else { f });
            self.errors.push((field, e.message.clone()));
        }
        if self.errors.is_empty() {
            self.errors.push(("", error.to_string()));
        }
    }
}

#[derive(Template)]
#[template(path = "enrolment.html")]
struct Page {
    c: Chrome,
    created: Option<Created>,
    rows: Vec<Row>,
    pager: Pager,
    f: ProfileForm,
}

async fn page(who: &Signed, cursor: &CursorQuery, created: Option<Created>, f: ProfileForm) -> Result<Page, Fail> {
    let profiles = who.control().list_profiles(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Page {
        c: who.chrome("Enrolment profiles", "/enrolment"),
        created,
        rows: profiles.items.iter().map(|p| Row::new(p, who.ctx.now)).collect(),
        pager: Pager::new("/enrolment", cursor.cursor.as_deref(), profiles.next_cursor.as_deref()),
        f,
    })
}

/// `GET /enrolment`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    page(&who, &cursor, None, ProfileForm::fresh()).await.map(Html)
}

/// `POST /enrolment`: answers with the page itself, because the token may be shown this once only.
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let mut f = ProfileForm::read(&form.fields);
    let first = CursorQuery::default();
    let refused = |page| (StatusCode::UNPROCESSABLE_ENTITY, Html(page)).into_response();
    let Some(spec) = f.spec(who.ctx.now) else { return Ok(refused(page(&who, &first, None, f).await?)) };
    match who.control().create_profile(&who.ctx, spec).await {
        Ok((profile, token)) => {
            let app = who.app();
            let token = token.expose().to_owned();
            let created = Created {
                name: profile.spec.display_name,
                command: app.enrol_command(&token),
                ca_fingerprint: app.ca_fingerprint(),
                token,
            };
            Ok((StatusCode::CREATED, Html(page(&who, &first, Some(created), ProfileForm::fresh()).await?)).into_response())
        }
        Err(e) if matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Conflict) => {
            f.refuse(&e);
            Ok(refused(page(&who, &first, None, f).await?))
        }
        Err(e) => Err(who.fail(e)),
    }
}

/// `POST /enrolment/{id}/revoke`
pub async fn revoke(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: ProfileId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    match who.control().revoke_profile(&who.ctx, id).await {
        Ok(p) => Ok(who.done("/enrolment", format!("“{}” is revoked; its token lets no more hosts in.", p.spec.display_name))),
        Err(e) => who.refused("/enrolment", e),
    }
}
