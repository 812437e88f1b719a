//! Families of operations: reads of each may be recorded or not. What changes something and what is denied is always
//! recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! families {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $nouns:expr;)+) => {
        /// A family of operations.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(rename_all = "lowercase")]
        pub enum Family { $($(#[$doc])* $name),+ }

        impl Family {
            /// All of them.
            pub const ALL: &[Family] = &[$(Family::$name),+];

            /// As settings write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Family::$name => $text),+ }
            }

            fn nouns(self) -> &'static [&'static str] {
                match self { $(Family::$name => &$nouns),+ }
            }
        }
    };
}

families! {
    /// Who may do what: users, groups, policies, compartments, tokens, sessions.
    Access = "access": ["access-token", "user", "user-group", "service-account", "access-policy", "access", "dynamic-group",
        "compartment", "session", "api-key", "approval", "approval-rule", "identity-provider"];
    /// The audit itself.
    Audit = "audit": ["audit"];
    /// Secrets.
    Secrets = "secrets": ["secret"];
    /// How hosts come in.
    Enrolment = "enrolment": ["enrolment-profile", "certificate", "content-certificate"];
    /// Hosts, their inventory and groups.
    Instances = "instances": ["instance", "group", "package", "overview", "fleet", "metrics"];
    /// Patch jobs, deployments, calendars.
    Patching = "patching": ["patch-job", "patch-task", "patch-deployment", "barred-version", "maintenance-window",
        "freeze-calendar", "reboot-slot", "reboot-slot-group", "window", "freeze"];
    /// Sources, snapshots, environments, content.
    Content = "content": ["source", "snapshot", "environment", "content", "content-job", "repository-key"];
    /// Advisories, vulnerabilities, exceptions.
    Advisories = "advisories": ["advisory", "advisory-feed", "vulnerability", "exception", "feed", "sla"];
    /// OS policies and compliance.
    Policies = "policies": ["policy-assignment", "policy-preview", "policy", "compliance", "drift"];
    /// Everything that has no family of its own.
    Other = "other": [];
}

/// The family of an operation such as `patch-job.list`.
pub fn family(operation: &str) -> Family {
    let noun = operation.split_once('.').map_or(operation, |(noun, _)| noun);
    Family::ALL.iter().copied().find(|f| f.nouns().contains(&noun)).unwrap_or(Family::Other)
}

/// Which reads are recorded, and for how long records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditSettings {
    /// Are reads of a family recorded? What is not named is: one record per call.
    pub reads: BTreeMap<Family, bool>,
    /// Whole sealed segments whose records are all older are dropped, days; absent: nothing is ever dropped.
    pub keep_days: Option<u32>,
}

/// Shortest time records may be kept, days.
pub const KEEP_DAYS_MIN: u32 = 7;
/// Longest, days (a hundred years).
pub const KEEP_DAYS_MAX: u32 = 36_500;

impl AuditSettings {
    /// Is a read by this operation recorded?
    pub fn records_read(&self, operation: &str) -> bool {
        self.reads.get(&family(operation)).copied().unwrap_or(true)
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let days = self.keep_days?;
        let fits = (KEEP_DAYS_MIN..=KEEP_DAYS_MAX).contains(&days);
        (!fits).then(|| format!("keepDays is {days}; {KEEP_DAYS_MIN} to {KEEP_DAYS_MAX} days are possible, or leave it out"))
    }
}
