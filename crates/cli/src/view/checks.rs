//! What a host says of its health after patching, and of plans that differ from the first wave's.

use drydock_domain::patch::report::TaskReport;

use crate::text::{clean, or_dash, render, state_cell, table};

/// The newest result of each health check; empty where none was made.
pub fn health(report: &TaskReport, colour: bool) -> String {
    if report.health.is_empty() {
        return String::new();
    }
    let mut rows = table(&["HEALTH CHECK", "RESULT", "DETAIL"]);
    for result in &report.health {
        let word = if result.healthy { "HEALTHY" } else { "UNHEALTHY" };
        rows.add_row([clean(&result.check).into(), state_cell(word), or_dash(&result.detail).into()]);
    }
    render(rows, 2, colour)
}

/// What the host installs otherwise than the job's first wave; empty where nothing is.
pub fn differs(report: &TaskReport, colour: bool) -> String {
    if report.differs.is_empty() {
        return String::new();
    }
    let mut rows = table(&["OTHER THAN THE FIRST WAVE", "ARCH", "FIRST WAVE", "HERE"]);
    for one in &report.differs {
        let frozen = one.frozen.as_deref().unwrap_or_default();
        rows.add_row([clean(&one.name), or_dash(&one.arch), or_dash(frozen), clean(&one.planned)]);
    }
    render(rows, 2, colour)
}
