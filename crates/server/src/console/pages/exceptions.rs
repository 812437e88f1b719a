//! Exceptions: vulnerabilities that are accepted for a while, who answers for it, and taking it back. Making one is on the
//! page of the vulnerability.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_domain::advisory::exception::{Exception, ExceptionEdit, ScopeSpec};
use drydock_domain::validate::Invalid;
use jiff::Timestamp;
use serde::Deserialize;

use super::vulnerabilities::read_day;
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::view::{self, Badge, When};

struct Row {
    id: String,
    cve: String,
    scope: String,
    owner: String,
    reason: String,
    state: Badge,
    until: When,
    /// For the form's field.
    until_day: String,
    hosts: String,
    by: String,
    made: When,
}

impl Row {
    fn new(e: &Exception, now: Timestamp) -> Self {
        let state = if e.expired { Badge { tone: "idle", label: "ENDED" } } else { Badge { tone: "warn", label: "ACCEPTED" } };
        Row {
            id: e.id.to_string(),
            cve: e.cve.clone(),
            scope: match &e.scope {
                ScopeSpec::All {} if e.compartment != "/" => format!("all hosts of {}", e.compartment),
                ScopeSpec::All {} => "all hosts".to_owned(),
                ScopeSpec::Instance(name) => format!("instance {name}"),
                ScopeSpec::Group(name) => format!("group {name}"),
                ScopeSpec::Label { key, value } => format!("hosts with label {key}={value}"),
            },
            owner: e.owner.clone(),
            reason: e.reason.clone(),
            state,
            until: view::when(e.until, now),
            until_day: e.until.strftime("%Y-%m-%d").to_string(),
            hosts: view::plural(u64::from(e.hosts), "host", "hosts"),
            by: e.created_by.clone(),
            made: view::when(e.created_at, now),
        }
    }
}

/// The list's filter.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "exceptions.html")]
struct ListPage {
    c: Chrome,
    q: String,
    rows: Vec<Row>,
}

/// `GET /exceptions`
pub async fn list(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let q = f.q.trim().to_lowercase();
    let found = who.control().list_exceptions(&who.ctx).await.map_err(|e| who.fail(e))?;
    let says = |e: &&Exception| [&e.cve, &e.owner, &e.reason].iter().any(|text| text.to_lowercase().contains(&q));
    Ok(Html(ListPage {
        c: who.chrome("Accepted vulnerabilities", "/vulnerabilities"),
        rows: found.iter().filter(says).map(|e| Row::new(e, who.ctx.now)).collect(),
        q: f.q,
    }))
}

#[derive(Template)]
#[template(path = "exception.html")]
struct ShowPage {
    c: Chrome,
    e: Row,
}

/// `GET /exceptions/{id}`
pub async fn show(who: Signed, Path(id): Path<String>) -> Result<Html<impl Template>, Fail> {
    let found = who.control().get_exception(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    Ok(Html(ShowPage {
        c: who.chrome(format!("Exception of {}", found.cve), "/vulnerabilities"),
        e: Row::new(&found, who.ctx.now),
    }))
}

fn path_of(id: &str) -> String {
    format!("/exceptions/{}", form_encode(id))
}

/// `POST /exceptions/{id}/edit`: what is as it was is not sent on, so that an ended one can be given other words.
pub async fn edit(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let before = who.control().get_exception(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    let until = if f.text("until") == before.until.strftime("%Y-%m-%d").to_string() {
        None
    } else {
        match read_day(&f.text("until")) {
            Some(day) => Some(day),
            None => {
                let invalid = Invalid::one("until", "is no day; write 2027-03-01");
                return who.refused(&path_of(&id), drydock_control::Error::Invalid(invalid));
            }
        }
    };
    let edit = ExceptionEdit { owner: Some(f.text("owner")), reason: Some(f.text("reason")), until };
    match who.control().edit_exception(&who.ctx, &id, edit).await {
        Ok(e) => Ok(who.done(&path_of(&id), format!("Saved: {} is accepted until {}.", e.cve, e.until.strftime("%Y-%m-%d")))),
        Err(e) => who.refused(&path_of(&id), e),
    }
}

/// `POST /exceptions/{id}/delete`
pub async fn delete(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_exception(&who.ctx, &id).await {
        Ok(()) => Ok(who.done("/exceptions", "The exception is taken back; what it covered counts again.")),
        Err(e) => who.refused(&path_of(&id), e),
    }
}
