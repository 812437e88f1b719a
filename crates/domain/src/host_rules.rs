//! Rules of a host that decide which updates its package manager takes: holds, locks, excludes, pins, module streams. The agent reads
//! them from the host's configuration and reports them as an inventory section; room `applicability` obeys them.

use serde::{Deserialize, Serialize};

/// What a host's configuration says. Empty = the package manager's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostRules {
    /// apt: packages on hold (`apt-mark showhold`), `name` or `name:arch`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// dnf, dnf 5: versionlock; zypper: locks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PackageLock>,
    /// dnf, dnf 5, yum: `excludepkgs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<PackageExclude>,
    /// dnf, dnf 5, yum: `includepkgs`: when there are any for a repository (or all), only these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PackageExclude>,
    /// apt: preferences, apt_preferences(5), in the order read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// apt: `APT::Default-Release`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_release: String,
    /// dnf: streams that are enabled or disabled in /etc/dnf/modules.d.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleState>,
    /// dnf: `installonlypkgs`; zypper: `multiversion`: packages (names, globs or `provides(…)`) of which several versions stay installed.
    /// Empty = the tool's default list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multi_version: Vec<String>,
    /// dnf: `obsoletes=0`: obsoletes do not bring updates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_obsoletes: bool,
    /// zypper: `solver.allowVendorChange`; dnf: `allow_vendor_change` (default there: yes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_change: Option<bool>,
    /// dnf: `module_platform_id`, for example `platform:el8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// apt: dpkg's architectures, the native one first; rpm: empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
}

/// A lock on a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PackageLock {
    /// dnf: a NEVRA with globs (`nginx-0:1.20.1-1.el8.*`); zypper: a name with globs, perhaps ` < 2.0` behind it.
    pub pattern: String,
    /// dnf: `!` entries: these versions are never taken, others are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// zypper: only from this repository; empty = all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

/// A pattern of packages left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PackageExclude {
    /// Name, glob or NEVRA glob.
    pub pattern: String,
    /// Only for this repository id; empty = all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

/// A stanza of apt_preferences(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Pin {
    /// `Package:` words: names, globs, `/regex/`, `*`, `src:name`.
    pub packages: Vec<String>,
    /// `Pin:` as written: `version 1.2*`, `release a=stable, n=bookworm`, `origin "host"`.
    pub pin: String,
    /// `Pin-Priority:`.
    pub priority: i32,
}

/// A module as the host has set it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleState {
    /// Module name.
    pub name: String,
    /// Enabled stream; empty when disabled.
    pub stream: String,
    /// `true`: enabled; `false`: disabled.
    pub enabled: bool,
    /// Installed profiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}
