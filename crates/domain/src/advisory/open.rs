//! What is answered about vulnerabilities: where they are open, since when, and what closes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exception::ExceptionMark;
use super::report::FixPlace;
use super::{Cvss, Epss, Kev, Severity, Statement, Vulnerability};
use crate::applicability::OpenState;
use crate::ids::InstanceId;

/// A vulnerability that is open on some host, in a list: known exploited ones first, then those that are
/// overdue, then the worst, the likeliest, the most widespread. Hosts on which it is accepted are counted apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VulnerabilitySummary {
    /// `CVE-2026-1234`.
    pub id: String,
    /// The vendors' word, else by the score.
    pub severity: Severity,
    /// The score by the newest edition of CVSS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cvss: Option<Cvss>,
    /// Known to be exploited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kev: Option<Kev>,
    /// Likely to be exploited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epss: Option<Epss>,
    /// First published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Hosts on which it is open, count.
    pub hosts: u32,
    /// Hosts among them that can close it now, count.
    pub installable: u32,
    /// Since when it is open on the host that had it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it has to be closed there, by its severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Hosts on which it is overdue, count.
    pub overdue: u32,
    /// Hosts on which it is open and accepted for now, count; they are in no other number.
    pub excepted: u32,
}

/// One vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityDetail {
    /// As in lists.
    pub summary: VulnerabilitySummary,
    /// Everything that feeds say of it together.
    pub vulnerability: Vulnerability,
    /// Advisories that close it.
    pub advisories: Vec<String>,
    /// What vendors state of packages, at most 1,000.
    pub statements: Vec<Statement>,
    /// Where fixes are to be had.
    pub places: Vec<FixPlace>,
}

/// A package of a host that a vulnerability is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AffectedPackage {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version on the host.
    pub installed: String,
    /// First version without it; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The advisory that brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<String>,
    /// How it stands.
    pub state: OpenState,
    /// In the vendor's words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
}

/// A host on which a vulnerability is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = VulnerableInstance))]
#[serde(rename_all = "camelCase")]
pub struct AffectedInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// How it stands, by the worst package.
    pub state: OpenState,
    /// First seen open there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it has to be closed, by the severity that the list of the fleet shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// That time has passed, and it is not accepted.
    #[serde(default)]
    pub overdue: bool,
    /// It is accepted for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<ExceptionMark>,
    /// In which packages.
    pub packages: Vec<AffectedPackage>,
}

/// A vulnerability that is open on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceVulnerability {
    /// `CVE-2026-1234`.
    pub id: String,
    /// In this host's packages, else the vendors' word, else by the score.
    pub severity: Severity,
    /// The score by the newest edition of CVSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss: Option<Cvss>,
    /// Known to be exploited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kev: Option<Kev>,
    /// Likely to be exploited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<Epss>,
    /// How it stands, by the worst package.
    pub state: OpenState,
    /// First seen open there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it has to be closed, by the severity that the list of the fleet shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// That time has passed, and it is not accepted.
    #[serde(default)]
    pub overdue: bool,
    /// It is accepted for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<ExceptionMark>,
    /// In which packages.
    pub packages: Vec<AffectedPackage>,
}

/// The fleet in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FleetSecurity {
    /// Hosts with an inventory, count.
    pub hosts: u32,
    /// Hosts among them whose updates this server decides about, because they see its sources.
    pub served: u32,
    /// Hosts with a security update they can install now, count.
    pub with_security_updates: u32,
    /// Advisories that some host needs, count by severity.
    pub advisories: BTreeMap<Severity, u32>,
    /// Those among them that all these hosts can install now.
    pub installable_advisories: BTreeMap<Severity, u32>,
    /// Vulnerabilities that are open somewhere, count by severity.
    pub vulnerabilities: BTreeMap<Severity, u32>,
    /// Those among them that are overdue on some host.
    pub overdue: BTreeMap<Severity, u32>,
    /// Those among them that are known to be exploited, count.
    pub exploited: u32,
    /// Vulnerabilities that are accepted on every host they are open on, count; they are in no other number.
    pub excepted: u32,
}

impl OpenState {
    /// The shown name.
    pub fn as_str(self) -> &'static str {
        match self {
            OpenState::AwaitsReboot => "AWAITS_REBOOT",
            OpenState::Installable => "INSTALLABLE",
            OpenState::Applicable => "APPLICABLE",
            OpenState::UnderInvestigation => "UNDER_INVESTIGATION",
            OpenState::NoFix => "NO_FIX",
            OpenState::WontFix => "WONT_FIX",
        }
    }
}
