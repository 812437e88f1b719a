//! What the rows around advisories are once read: plain structs of domain types. Absent on purpose: decisions.

use std::collections::BTreeMap;

pub use drydock_domain::advisory::report::FeedFinding;
use drydock_domain::ids::{ExceptionId, FeedId};
use jiff::Timestamp;

/// A feed of advisories or vulnerabilities, as last imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRecord {
    /// Its id.
    pub id: FeedId,
    /// Its name: unique.
    pub name: String,
    /// Which form its files have: `osv`, `debian-tracker` …
    pub kind: String,
    /// Fingerprints of what was imported, newest last.
    pub stamps: Vec<String>,
    /// The last import held everything the feed says.
    pub complete: bool,
    /// Advisories kept of it, count.
    pub advisories: u64,
    /// Vulnerabilities kept of it, count.
    pub vulnerabilities: u64,
    /// Statements kept of it, count.
    pub statements: u64,
    /// Problems met by the last import, count; more than are kept.
    pub findings_total: u64,
    /// Who imported last.
    pub imported_by: String,
    /// When.
    pub imported_at: Timestamp,
    /// First imported.
    pub created_at: Timestamp,
    /// Grows with every import.
    pub version: i64,
}

/// Which part of a feed a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedPart {
    /// What it says of CVEs.
    Vulnerabilities,
    /// What it states of packages.
    Statements,
}

impl FeedPart {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            FeedPart::Vulnerabilities => "VULNERABILITIES",
            FeedPart::Statements => "STATEMENTS",
        }
    }
}

/// Since when which CVE is open on a host.
pub type OpenCves = BTreeMap<String, Timestamp>;

/// A vulnerability that is accepted for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRecord {
    /// Its id.
    pub id: ExceptionId,
    /// Which CVE.
    pub cve: String,
    /// Which hosts, JSON of the room `control`.
    pub scope: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ends by itself; absent = never.
    pub expires_at: Option<Timestamp>,
    /// Grows with every edit.
    pub version: i64,
    /// Path of its compartment: it reaches hosts there and below.
    pub compartment: String,
}

/// A setting that operators change while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRecord {
    /// JSON.
    pub body: String,
    /// Who changed it last.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
    /// Grows with every change.
    pub version: i64,
}
