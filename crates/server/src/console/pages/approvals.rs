//! Requests for approval by the two-person rule: what waits for the reader, what became of others, and the rules for those who
//! may read them. Absent: making rules (a command does that), and starts of patch jobs, which wait on their own pages.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use drydock_control::store::approvals::{ApprovalRecord, ApprovalRuleRecord, ApprovalState};
use drydock_domain::ids::ApprovalId;
use jiff::Timestamp;

use super::CursorQuery;
use super::jobs::read_id;
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

struct Row {
    id: ApprovalId,
    operation: String,
    resource: String,
    compartment: String,
    rule: String,
    requester: String,
    own: bool,
    made: When,
    until: When,
    badge: Badge,
    /// It waits for a decision.
    open: bool,
    decision: String,
}

impl Row {
    fn new(own: ApprovalRecord, who: &Signed, now: Timestamp) -> Self {
        let open = own.state == ApprovalState::Pending && own.expires_at > now;
        let by = own.approver.as_deref().map(|name| format!("by {name}"));
        let said = Some(own.reason.as_str()).filter(|reason| !reason.is_empty()).map(|reason| format!("“{reason}”"));
        Row {
            id: own.id,
            own: own.requester_key == who.ctx.who.key(),
            badge: badge(own.state, own.expires_at <= now),
            decision: [by, said].into_iter().flatten().collect::<Vec<_>>().join(": "),
            made: view::when(own.created_at, now),
            until: view::when(own.expires_at, now),
            operation: own.operation,
            resource: own.resource,
            compartment: own.compartment,
            rule: own.rule,
            requester: own.requester,
            open,
        }
    }
}

fn badge(state: ApprovalState, over: bool) -> Badge {
    let (tone, label) = match state {
        ApprovalState::Pending | ApprovalState::Approved if over => ("idle", "EXPIRED"),
        ApprovalState::Pending => ("warn", "PENDING"),
        ApprovalState::Approved => ("ok", "APPROVED"),
        ApprovalState::Refused => ("bad", "REFUSED"),
        ApprovalState::Used => ("idle", "USED"),
    };
    Badge { tone, label }
}

struct RuleRow {
    name: String,
    description: String,
    operations: String,
    place: String,
    lasts: String,
}

impl RuleRow {
    fn new(own: ApprovalRuleRecord) -> Self {
        let labels: Vec<String> = own.spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let place = own.spec.compartment.unwrap_or_else(|| "everywhere".to_owned());
        RuleRow {
            place: if labels.is_empty() { place } else { format!("{place}, hosts with {}", labels.join(", ")) },
            operations: own.spec.operations.join(", "),
            lasts: view::duration(u64::from(own.spec.expires_after_secs)),
            name: own.spec.name,
            description: own.spec.description,
        }
    }
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct ListPage {
    c: Chrome,
    open: Vec<Row>,
    past: Vec<Row>,
    pager: Pager,
    /// `None`: the reader may not read them.
    rules: Option<Vec<RuleRow>>,
}

/// `GET /approvals`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let found = control.list_approvals(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let rules = match who.may.manage_access {
        // Somebody may manage access somewhere and not here: then there is no such list.
        true => control.list_approval_rules(&who.ctx).await.ok(),
        false => None,
    };
    let rows = found.items.into_iter().map(|own| Row::new(own, &who, who.ctx.now));
    let (open, past) = rows.partition(|row| row.open);
    Ok(Html(ListPage {
        c: who.chrome("Approvals", "/approvals"),
        open,
        past,
        pager: Pager::new("/approvals", cursor.cursor.as_deref(), found.next_cursor.as_deref()),
        rules: rules.map(|all| all.into_iter().map(RuleRow::new).collect()),
    }))
}

/// `POST /approvals/{id}/approve`
pub async fn approve(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    decide(&id, form, true).await
}

/// `POST /approvals/{id}/refuse`
pub async fn refuse(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    decide(&id, form, false).await
}

async fn decide(id: &str, form: SignedForm, approve: bool) -> Result<Response, Fail> {
    let (who, reason) = (form.who, form.fields.text("reason"));
    let id: ApprovalId = match read_id(&who, id) {
        Ok(id) => id,
        Err(page) => return Ok(page.into_response()),
    };
    match who.control().decide_approval(&who.ctx, id, approve, &reason).await {
        Ok(own) if approve => {
            let text = format!("Approved: {} may now repeat {} on {}.", own.requester, own.operation, own.resource);
            Ok(who.done("/approvals", text))
        }
        Ok(own) => Ok(who.done("/approvals", format!("Refused: {} on {}.", own.operation, own.resource))),
        Err(e) => who.refused("/approvals", e),
    }
}
