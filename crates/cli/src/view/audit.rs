//! Audit records, and how the audit stands.

use comfy_table::Table;
use drydock_api::rest::{AuditRecord, AuditStatus};
use drydock_domain::audit::family::Family;
use jiff::Timestamp;

use crate::text::{ago, clean, or_dash, state_cell, table};

/// The list of audit records.
pub fn records(items: &[AuditRecord], now: Timestamp) -> Table {
    let mut rows = table(&["NO", "WHEN", "WHO", "FROM", "OPERATION", "RESOURCE", "OUTCOME", "WHY"]);
    for record in items {
        // An error says more than the statement that let it happen.
        let why = if record.error.is_empty() { &record.reason } else { &record.error };
        rows.add_row([
            record.seq.to_string().into(),
            ago(record.at, now).into(),
            clean(&record.who).into(),
            or_dash(&record.address).into(),
            clean(&record.operation).into(),
            or_dash(&record.resource).into(),
            state_cell(&clean(&record.outcome)),
            or_dash(why).into(),
        ]);
    }
    rows
}

/// How the audit stands, for people.
pub fn status(status: &AuditStatus, now: Timestamp) -> String {
    let off: Vec<&str> =
        Family::ALL.iter().filter(|f| !status.settings.reads.get(f).copied().unwrap_or(true)).map(|f| f.as_str()).collect();
    let reads = if off.is_empty() { "all".to_owned() } else { format!("all but {}", off.join(", ")) };
    let kept = status.settings.keep_days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
    let sealed = match &status.seal {
        Some(seal) => format!("up to record {}, {}", seal.seq, ago(seal.at, now)),
        None => "nothing yet".to_owned(),
    };
    let mut out =
        format!("Reads recorded  {reads}\nKept            {kept}\nRecords         {} to {}\n", status.first, status.last);
    out += &format!("Sealed          {sealed}\nKey             {}\n", clean(&status.key_fingerprint));
    for forward in &status.forwards {
        out += &format!("Forwarded       {} to {}\n", forward.seq, clean(&forward.target));
    }
    out
}
