//! Audit records, newest first. Administrators only; `control` decides that.

use askama::Template;
use axum::extract::Query;
use drydock_control::records::AuditRecord;
use jiff::Timestamp;

use super::CursorQuery;
use crate::console::auth::{Chrome, Signed};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

struct Row {
    at: When,
    who: String,
    operation: String,
    resource: String,
    badge: Badge,
    request_id: String,
}

impl Row {
    fn new(r: &AuditRecord, now: Timestamp) -> Self {
        let badge = match r.outcome.as_str() {
            "allowed" => Badge { tone: "ok", label: "allowed" },
            "denied" => Badge { tone: "bad", label: "denied" },
            "failed" => Badge { tone: "warn", label: "failed" },
            _ => Badge { tone: "idle", label: "unknown" },
        };
        // Audit is read for exact times.
        let at = When { relative: r.at.strftime("%Y-%m-%d %H:%M:%S").to_string(), ..view::when(r.at, now) };
        Row {
            at,
            who: r.who.clone(),
            operation: r.operation.clone(),
            resource: r.resource.clone(),
            badge,
            request_id: r.request_id.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    c: Chrome,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /audit`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let records = who.control().list_audit(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(Page {
        c: who.chrome("Audit", "/audit"),
        rows: records.items.iter().map(|r| Row::new(r, who.ctx.now)).collect(),
        pager: Pager::new("/audit", cursor.cursor.as_deref(), records.next_cursor.as_deref()),
    }))
}
