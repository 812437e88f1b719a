//! What is answered about feeds and advisories: the documents of the API, the command and the console. Absent on purpose:
//! how the answers are found (room `applicability`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Advisory, AdvisoryKind, Severity};
use crate::ids::InstanceId;

/// Whose answer the list of a host's updates is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum UpdatesFrom {
    /// This server's, from the snapshots the host sees, its packages and its rules.
    Server,
    /// The host's own package manager's: the host sees no source of this server.
    #[default]
    Host,
}

/// A problem of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FeedFinding {
    /// The first entry that has it.
    pub entry: String,
    /// What is wrong.
    pub problem: String,
    /// Entries that have it, count.
    pub count: u64,
}

/// A feed of advisories or vulnerabilities, as last imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// The form of its files: `osv`, `debian-tracker`, `debian-list`, `usn`, `csaf`, `kev`, `epss`, `updateinfo`.
    pub kind: String,
    /// The last import held everything the feed says; what is not in it any more was taken back.
    pub complete: bool,
    /// Advisories kept of it, withdrawn ones included, count.
    pub advisories: u64,
    /// Vulnerabilities kept of it, count.
    pub vulnerabilities: u64,
    /// Statements about packages kept of it, count.
    pub statements: u64,
    /// Entries that the last import left out or cut, count.
    pub findings_total: u64,
    /// Who imported last.
    pub imported_by: String,
    /// When.
    pub imported_at: Timestamp,
    /// First imported.
    pub created_at: Timestamp,
}

/// A feed with what was wrong with its last import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FeedDetail {
    /// The feed.
    pub feed: Feed,
    /// What was wrong, at most 200 different problems.
    pub findings: Vec<FeedFinding>,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// The feed as it is now.
    pub feed: Feed,
    /// The same file was imported before: nothing was done.
    pub unchanged: bool,
    /// Entries in the file, count.
    pub documents: u64,
    /// Advisories that were not there before, count.
    pub added: u64,
    /// Advisories that were there and say something else now, count.
    pub changed: u64,
    /// Advisories that a complete feed does not have any more, or that it takes back itself, count.
    pub withdrawn: u64,
    /// Entries or parts of entries left out, count.
    pub left_out: u64,
    /// Why, at most 200 different problems.
    pub findings: Vec<FeedFinding>,
}

/// An advisory in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct AdvisorySummary {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// In our words.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// First published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// Last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
    /// Taken back by the vendor.
    pub withdrawn: bool,
    /// CVE ids.
    pub cves: Vec<String>,
    /// Who says so: `feed almalinux8`, `source ol9-base`.
    pub origins: Vec<String>,
    /// Hosts that need it, count.
    pub applicable: u32,
    /// Hosts among them that can install it now, count.
    pub installable: u32,
}

/// Where a fix is to be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FixPlace {
    /// Package.
    pub package: String,
    /// Version there that closes it.
    pub version: String,
    /// Software source.
    pub source: String,
    /// Number of the snapshot.
    pub snapshot: u32,
    /// Lifecycle environments that show this snapshot; `latest` = hosts without one.
    pub environments: Vec<String>,
}

/// One advisory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdvisoryDetail {
    /// Everything that is said, of all origins together.
    pub advisory: Advisory,
    /// Who says so.
    pub origins: Vec<String>,
    /// Hosts that need it, count.
    pub applicable: u32,
    /// Hosts among them that can install it now, count.
    pub installable: u32,
    /// Where its packages are to be had.
    pub places: Vec<FixPlace>,
}

/// A package of a host that an advisory mends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdvisedPackage {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version on the host.
    pub installed: String,
    /// First version without the fault.
    pub fixed: String,
    /// That or a later version is in a snapshot the host sees, and nothing holds it back.
    pub installable: bool,
}

/// A host that needs an advisory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdvisedInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// All of it can be installed now.
    pub installable: bool,
    /// What it mends there.
    pub packages: Vec<AdvisedPackage>,
}

/// An advisory that a host needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceAdvisory {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: AdvisoryKind,
    /// In our words.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// CVE ids.
    pub cves: Vec<String>,
    /// All of it can be installed now.
    pub installable: bool,
    /// What it mends there.
    pub packages: Vec<AdvisedPackage>,
}
