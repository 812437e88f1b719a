//! The pages, one file per noun.

pub mod access;
pub mod account;
pub mod advisories;
pub mod approvals;
pub mod audit;
pub mod compliance;
pub mod deployments;
pub mod enrolment;
pub mod environments;
pub mod exceptions;
pub mod groups;
pub mod instance_past;
pub mod instances;
pub mod jobs;
pub mod overview;
pub mod packages;
pub mod policies;
pub mod sources;
pub mod start;
pub mod users;
pub mod vulnerabilities;

use drydock_control::records::PageQuery;
use serde::Deserialize;

/// Rows of one page of a list.
const PAGE_ROWS: u32 = 100;

/// Which page of a list a link names.
#[derive(Debug, Default, Deserialize)]
pub struct CursorQuery {
    #[serde(default)]
    cursor: Option<String>,
}

impl CursorQuery {
    fn page(&self) -> PageQuery {
        PageQuery { cursor: self.cursor.clone().filter(|c| !c.is_empty()), limit: Some(PAGE_ROWS) }
    }
}

/// The address of a list with its filter; empty fields are left out.
fn list_url(path: &str, pairs: &[(&str, &str)]) -> String {
    let said = pairs.iter().filter(|(_, v)| !v.is_empty());
    let query: Vec<String> = said.map(|(k, v)| format!("{k}={}", super::auth::form_encode(v))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// What is wrong with a field of a small form.
#[derive(Debug, Clone, Default)]
pub struct FieldErrors(pub Vec<(&'static str, String)>);

impl FieldErrors {
    /// All messages of `field`.
    pub fn of(&self, field: &str) -> Option<String> {
        let messages: Vec<&str> = self.0.iter().filter(|(f, _)| *f == field).map(|(_, m)| m.as_str()).collect();
        if messages.is_empty() { None } else { Some(messages.join("; ")) }
    }
}
