//! Audit records, newest first, with filters. Who may see which is `control`'s to decide.

use askama::Template;
use axum::extract::Query;
use drydock_control::records::AuditRecord;
use drydock_control::store::audit::AuditQuery;
use jiff::Timestamp;
use serde::Deserialize;

use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed};
use crate::console::error::{Fail, Html};
use crate::console::moment;
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    who: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl Filter {
    fn query(&self, since: Option<Timestamp>) -> AuditQuery {
        let said = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        AuditQuery {
            who: said(&self.who),
            operation: said(&self.operation),
            resource: said(&self.resource),
            outcome: said(&self.outcome),
            since,
            page: CursorQuery { cursor: self.cursor.clone() }.page(),
            ..AuditQuery::default()
        }
    }
}

struct Row {
    seq: u64,
    at: When,
    who: String,
    kind: String,
    address: String,
    operation: String,
    compartment: String,
    resource: String,
    badge: Badge,
    reason: String,
    error: String,
    parameters: Option<String>,
    took: Option<String>,
    request_id: String,
    hash: String,
}

impl Row {
    fn new(r: &AuditRecord, now: Timestamp) -> Self {
        let badge = match &*r.outcome {
            "allowed" => Badge { tone: "ok", label: "allowed" },
            "denied" => Badge { tone: "bad", label: "denied" },
            "failed" => Badge { tone: "warn", label: "failed" },
            _ => Badge { tone: "idle", label: "unknown" },
        };
        // Audit is read for exact times.
        let at = When { relative: r.at.strftime("%Y-%m-%d %H:%M:%S").to_string(), ..view::when(r.at, now) };
        Row {
            seq: r.seq,
            at,
            who: r.who.to_string(),
            kind: r.who_kind.to_string(),
            address: r.address.to_string(),
            operation: r.operation.to_string(),
            compartment: r.compartment.to_string(),
            resource: r.resource.to_string(),
            badge,
            reason: r.reason.to_string(),
            error: r.error.to_string(),
            parameters: Some(r.parameters.to_string()).filter(|p| p != drydock_domain::audit::NO_PARAMETERS),
            took: r.duration_ms.map(|ms| format!("{ms} ms")),
            request_id: r.request_id.to_string(),
            hash: drydock_domain::audit::chain::hex(&r.hash),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    c: Chrome,
    f: Filter,
    outcomes: [&'static str; 3],
    error: Option<String>,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /audit`
pub async fn list(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let (since, error) = match moment::read(&f.since, who.ctx.now) {
        Ok(since) => (since, None),
        Err(message) => (None, Some(message)),
    };
    let found = who.control().list_audit(&who.ctx, &f.query(since)).await.map_err(|e| who.fail(e))?;
    let said = [
        ("who", f.who.as_str()),
        ("operation", &f.operation),
        ("resource", &f.resource),
        ("outcome", &f.outcome),
        ("since", &f.since),
    ];
    Ok(Html(Page {
        c: who.chrome("Audit", "/audit"),
        outcomes: ["allowed", "denied", "failed"],
        error,
        rows: found.items.iter().map(|r| Row::new(r, who.ctx.now)).collect(),
        pager: Pager::new(&list_url("/audit", &said), f.cursor.as_deref(), found.next_cursor.as_deref()),
        f,
    }))
}
