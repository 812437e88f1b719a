//! Which units of its upstream a source takes: include and exclude rules, then the newest N.
//!
//! A unit is taken when there is no include rule or one of them matches, and no exclude rule matches. Conditions inside
//! one rule are ANDed; patterns are those of patch excludes (exact name, `glob*`, `/regex/`). Dependencies are not
//! followed: a filter says exactly what it says (peers that follow them halfway surprise people twice).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Take or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FilterAction {
    /// Units that match are taken (and, as soon as there is one such rule, no others).
    Include,
    /// Units that match are left out, also when an include rule matches.
    Exclude,
}

/// One rule. At least one condition is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterRule {
    /// Take or leave.
    pub action: FilterAction,
    /// Package name: exact, `glob*` or `/regex/`.
    #[serde(default)]
    pub name: Option<String>,
    /// Source package name: exact, `glob*` or `/regex/`.
    #[serde(default)]
    pub source: Option<String>,
    /// Architectures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch: Vec<String>,
    /// Version range, all parts must hold: `>= 1.2`, `< 2:0`, `= 3.0-1.el9`. Compared as the format's tools do; a
    /// version without release matches every release (rpm).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version: Vec<String>,
    /// Units of advisories that match (rpm sources with updateinfo).
    #[serde(default)]
    pub advisory: Option<AdvisoryMatch>,
    /// Units of this module, `name` or `name:stream` (rpm sources with modules).
    #[serde(default)]
    pub module: Option<String>,
}

/// Which advisories. Conditions are ANDed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AdvisoryMatch {
    /// Ids, exact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Types: `security`, `bugfix`, `enhancement`, `newpackage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Issued at or after.
    pub issued_after: Option<Timestamp>,
    /// Issued before.
    pub issued_before: Option<Timestamp>,
}

/// The whole selection of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selection {
    /// Rules; the order does not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<FilterRule>,
    /// After the rules: only the newest N versions of each (name, arch, module stream).
    pub newest: Option<u32>,
}

impl Selection {
    /// Takes everything.
    pub fn is_everything(&self) -> bool {
        self.rules.is_empty() && self.newest.is_none()
    }
}
