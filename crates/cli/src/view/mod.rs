//! What people read: tables and pages as text, pure functions of documents and the time. Absent on purpose: reading
//! them.

pub mod access;
pub mod advisory;
pub mod approval;
pub mod audit;
pub mod calendar;
pub mod checks;
pub mod compartment;
pub mod compliance;
pub mod content_job;
pub mod deployment;
pub mod enrolment;
pub mod environment;
pub mod exception;
pub mod group;
pub mod instance;
pub mod module;
pub mod package;
pub mod patch;
pub mod policy;
pub mod rollout;
pub mod rules;
pub mod source;
pub mod undo;
pub mod user;

use crate::text::clean;

/// `  key          value` lines; a value that is absent leaves its line out.
pub fn facts(pairs: &[(&str, Option<String>)]) -> String {
    let lines = pairs.iter().filter_map(|(key, value)| value.as_ref().map(|v| format!("  {key:<12} {v}\n")));
    lines.collect()
}

/// A fact that is left out when empty.
pub fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| clean(text))
}
