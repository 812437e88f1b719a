//! What an undo moves, and what is barred after it.

use comfy_table::Table;
use drydock_api::rest::{BarredVersion, UndoPreview};
use jiff::Timestamp;

use crate::text::{ago, clean, or_dash, render, table};

/// Per host: what is there now and what comes back.
pub fn preview(hosts: &[&UndoPreview], colour: bool) -> String {
    let mut rows = table(&["HOST", "PACKAGE", "ARCH", "NOW", "BACK TO"]);
    for host in hosts {
        for action in &host.actions {
            rows.add_row([
                clean(&host.instance_name),
                clean(&action.name),
                or_dash(&action.arch),
                or_dash(action.now.as_deref().unwrap_or_default()),
                or_dash(action.before.as_deref().unwrap_or_default()),
            ]);
        }
    }
    render(rows, 0, colour)
}

/// The list of barred versions.
pub fn bars(items: &[BarredVersion], now: Timestamp) -> Table {
    let mut rows = table(&["HOST", "PACKAGE", "ARCH", "VERSION", "JOB", "SINCE"]);
    for bar in items {
        rows.add_row([
            clean(&bar.instance_name),
            clean(&bar.name),
            or_dash(&bar.arch),
            clean(&bar.version),
            bar.job.to_string(),
            ago(bar.created_at, now),
        ]);
    }
    rows
}
