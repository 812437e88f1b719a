//! Requests for approval and the rules behind them.

use comfy_table::Table;
use drydock_api::rest::{Approval, ApprovalRule};
use jiff::Timestamp;

use crate::text::{ago, clean, or_dash, state_cell, table};

/// The list of requests.
pub fn requests(items: &[Approval], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "STATE", "WHO", "OPERATION", "RESOURCE", "RULE", "ASKED", "DECIDED BY", "REASON"]);
    for own in items {
        rows.add_row([
            own.id.to_string().into(),
            state_cell(&clean(&own.state)),
            clean(&own.requester).into(),
            clean(&own.operation).into(),
            clean(&own.resource).into(),
            clean(&own.rule).into(),
            ago(own.created_at, now).into(),
            or_dash(own.approver.as_deref().unwrap_or_default()).into(),
            or_dash(&own.reason).into(),
        ]);
    }
    rows
}

/// The list of rules.
pub fn rules(items: &[ApprovalRule]) -> Table {
    let mut rows = table(&["NAME", "OPERATIONS", "COMPARTMENT", "LABELS", "EXPIRES AFTER", "DESCRIPTION"]);
    for own in items {
        let labels: Vec<String> = own.spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.add_row([
            clean(&own.spec.name),
            clean(&own.spec.operations.join(" ")),
            or_dash(own.spec.compartment.as_deref().unwrap_or_default()),
            or_dash(&labels.join(" ")),
            format!("{} s", own.spec.expires_after_secs),
            or_dash(&own.spec.description),
        ]);
    }
    rows
}
