//! Units: the packages of a repository, as every room names them.

use serde::{Deserialize, Serialize};

/// Which family of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// yum metadata (repomd.xml): yum, dnf 4, dnf 5, zypper.
    Rpm,
    /// apt metadata (Release, Packages).
    Deb,
}

impl Format {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Rpm => "rpm",
            Format::Deb => "deb",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Format::Rpm, Format::Deb].into_iter().find(|f| f.as_str() == text)
    }
}

/// One package of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Package name.
    pub name: String,
    /// Architecture as the package manager writes it (`x86_64`, `noarch`, `amd64`, `all`).
    pub arch: String,
    /// Full version: `1:2.3-4` (deb), `2.3-4.el8` or `1:2.3-4.el8` (rpm; epoch 0 is not written).
    pub version: String,
    /// Source package: name only (deb `openssl`; rpm: name part of the source rpm); empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Checksum of the package file as the metadata names it: `sha256-<hex>`, for old repositories `sha1-<hex>`.
    pub digest: String,
    /// Size of the package file, bytes.
    pub size: u64,
    /// Index it is listed in: deb `component/arch`, for example `main/amd64`; empty for rpm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub index: String,
}

/// What differs between two snapshots, one line a unit. An upgrade is a removal and an addition of one name; callers
/// pair them by (name, arch).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "change", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnitChange {
    /// Only in the newer snapshot.
    Added {
        /// The unit.
        unit: Unit,
    },
    /// Only in the older snapshot.
    Removed {
        /// The unit.
        unit: Unit,
    },
    /// The same file, other metadata.
    Changed {
        /// The unit.
        unit: Unit,
    },
}

/// Sizes of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotStats {
    /// Packages, count. In deb sources a package of architecture `all` counts once for each index that lists it.
    pub packages: u64,
    /// Sum of the package files' sizes, bytes.
    pub package_bytes: u64,
    /// Advisories, count.
    pub advisories: u64,
    /// Modules (documents of modules.yaml), count.
    pub modules: u64,
}
