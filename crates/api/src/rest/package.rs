//! Packages across the fleet and over time.

use drydock_domain::inventory::PackageChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A package that hosts have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstalledPackage {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
    /// How many hosts have it.
    pub hosts: u32,
}

/// A stretch of time in which a host had a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageHolding {
    /// Name of the instance.
    pub host: String,
    /// Architecture of the package.
    pub arch: String,
    /// Its version.
    pub version: String,
    /// Since when, to the second: when the host reported it first.
    pub from: Timestamp,
    /// The host's history begins there: it may have had the package before.
    pub from_begin: bool,
    /// Until when; absent: it still has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What changed in the packages of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackageChanges {
    /// Earlier time.
    pub from: Timestamp,
    /// Later time.
    pub to: Timestamp,
    /// By name.
    pub changes: Vec<PackageChange>,
}
