//! Access tokens and audit records.

use comfy_table::Table;
use drydock_api::rest::{AccessToken, AuditRecord};
use jiff::Timestamp;

use crate::text::{ago, ago_or, clean, or_dash, state_cell, table};

/// The list of access tokens.
pub fn tokens(items: &[AccessToken], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "NAME", "ROLE", "STATE", "LAST USED", "EXPIRES"]);
    for token in items {
        let state = match token.expires_at {
            _ if token.revoked => "REVOKED",
            Some(end) if end <= now => "EXPIRED",
            _ => "ACTIVE",
        };
        rows.add_row([
            token.id.to_string().into(),
            clean(&token.name).into(),
            token.role.as_str().into(),
            state_cell(state),
            ago_or(token.last_used_at, now, "never").into(),
            ago_or(token.expires_at, now, "never").into(),
        ]);
    }
    rows
}

/// The list of audit records.
pub fn audit(items: &[AuditRecord], now: Timestamp) -> Table {
    let mut rows = table(&["WHEN", "WHO", "OPERATION", "RESOURCE", "OUTCOME"]);
    for record in items {
        rows.add_row([
            ago(record.at, now).into(),
            clean(&record.who).into(),
            clean(&record.operation).into(),
            or_dash(&record.resource).into(),
            state_cell(&clean(&record.outcome)),
        ]);
    }
    rows
}
