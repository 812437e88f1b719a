//! The two-person rule: which operations need the approval of another principal. A rule names operations and where they are
//! meant to be (a compartment and what lies below, labels of the hosts concerned). Absent on purpose: requests, who approved
//! (the store knows), and whether somebody may approve (whoever may do the operation and did not ask for it).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operations::{OPERATIONS, Operation};
use super::scope::is_below;
use crate::limits::{DESCRIPTION_MAX_BYTES, LABELS_MAX};
use crate::validate::{Invalid, Problems};

/// Operations of one rule, count.
pub const RULE_OPERATIONS_MAX: usize = 50;
/// Rules, count.
pub const APPROVAL_RULES_MAX: usize = 200;
/// Shortest time after which a request for approval is over, seconds.
pub const APPROVAL_EXPIRES_MIN_SECS: u32 = 60;
/// Longest, seconds (30 days).
pub const APPROVAL_EXPIRES_MAX_SECS: u32 = 30 * 24 * 3600;
/// Without a word about it, seconds (a day).
const APPROVAL_EXPIRES_DEFAULT_SECS: u32 = 24 * 3600;
/// Longest name of a rule, bytes.
const RULE_NAME_MAX_BYTES: usize = 100;

/// Which operations need approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRuleSpec {
    /// Its name; never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Names of operations as in audit records (`instance.delete`), or all changing ones of a noun (`environment.*`).
    /// `patch-job.create` means every way to start a patch job: also `patch-job.rerun` and `patch-deployment.run`.
    pub operations: Vec<String>,
    /// Path of a compartment: what is about things there and below, or about a host there or below. Absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
    /// Only where a host concerned has all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// A request is over after this, seconds.
    #[serde(default = "expires")]
    pub expires_after_secs: u32,
}

fn expires() -> u32 {
    APPROVAL_EXPIRES_DEFAULT_SECS
}

/// Operations whose hosts are known beside the thing they are about: a rule with labels is held against those.
const ABOUT_HOSTS: &[&str] = &[
    "patch-job.create",
    "patch-job.rerun",
    "patch-job.undo",
    "patch-deployment.run",
    "policy-assignment.create",
    "policy-assignment.edit",
];

/// Makes a patch job.
const MAKES_A_JOB: &str = "patch-job.create";
/// Make one, too: a rule about [`MAKES_A_JOB`] means them as well, or it would be walked around by a deployment.
const MAKE_ONE_TOO: &[&str] = &["patch-job.rerun", "patch-deployment.run"];

/// A host that an operation concerns.
#[derive(Debug, Clone, Copy)]
pub struct Concerned<'a> {
    /// Path of its compartment.
    pub compartment: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl Operation {
    /// Does it change something?
    pub fn changes(&self) -> bool {
        !self.rights.iter().all(|right| right.ends_with("_INSPECT") || right.ends_with("_READ"))
    }
}

impl ApprovalRuleSpec {
    /// Checks it; every problem is named.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        let proper = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.name.is_empty() || self.name.len() > RULE_NAME_MAX_BYTES || !self.name.chars().all(proper) {
            problems.add("name", format!("has 1 to {RULE_NAME_MAX_BYTES} letters, digits and . _ -"));
        }
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        if self.operations.is_empty() {
            problems.add("operations", "is empty; name some, for example patch-job.create");
        }
        problems.count("operations", self.operations.len(), RULE_OPERATIONS_MAX);
        for (i, pattern) in self.operations.iter().enumerate() {
            self.check_pattern(&format!("operations[{i}]"), pattern, &mut problems);
        }
        problems.count("labels", self.labels.len(), LABELS_MAX);
        let range = APPROVAL_EXPIRES_MIN_SECS..=APPROVAL_EXPIRES_MAX_SECS;
        if !range.contains(&self.expires_after_secs) {
            let why = format!("is between {APPROVAL_EXPIRES_MIN_SECS} and {APPROVAL_EXPIRES_MAX_SECS} seconds");
            problems.add("expiresAfterSecs", why);
        }
        problems.finish()
    }

    fn check_pattern(&self, field: &str, pattern: &str, problems: &mut Problems) {
        let shown = crate::query::shown(pattern);
        let of_it: Vec<&Operation> = OPERATIONS.iter().filter(|own| is_meant(pattern, own.name)).collect();
        if of_it.is_empty() {
            let near = crate::query::nearest(pattern, OPERATIONS.iter().map(|own| own.name));
            let near = near.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            problems.add(field, format!("there is no operation {shown}{near}"));
        } else if !of_it.iter().any(|own| own.changes()) {
            problems.add(field, format!("{shown} changes nothing"));
        }
        if !self.labels.is_empty()
            && !of_it.iter().any(|own| own.name.starts_with("instance.") || ABOUT_HOSTS.contains(&own.name))
        {
            let known = ABOUT_HOSTS.join(", ");
            problems.add(field, format!("labels are of hosts, and {shown} is about none; only instance.* and {known} are"));
        }
    }

    /// Is it about this operation, somewhere?
    pub fn means(&self, operation: &str) -> bool {
        let named = |name: &str| self.operations.iter().any(|pattern| is_meant(pattern, name));
        let meant = named(operation) || (MAKE_ONE_TOO.contains(&operation) && named(MAKES_A_JOB));
        meant && OPERATIONS.iter().any(|own| own.name == operation && own.changes())
    }

    /// Does an operation in this compartment, which concerns these hosts, need approval by it?
    pub fn demands<'a>(&self, operation: &str, compartment: &str, hosts: impl IntoIterator<Item = Concerned<'a>>) -> bool {
        if !self.means(operation) {
            return false;
        }
        let is_there = |path: &str| self.compartment.as_deref().is_none_or(|outer| is_below(path, outer));
        let here = is_there(compartment);
        if here && self.labels.is_empty() {
            return true;
        }
        // Whoever works from further up reaches the hosts of the rule's compartment all the same.
        let marked = |host: Concerned<'_>| {
            (here || is_there(host.compartment)) && self.labels.iter().all(|(key, value)| host.labels.get(key) == Some(value))
        };
        hosts.into_iter().any(marked)
    }
}

fn is_meant(pattern: &str, operation: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(noun) => operation.split_once('.').is_some_and(|(own, _)| own == noun),
        None => pattern == operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> ApprovalRuleSpec {
        serde_json::from_str(json).expect("a rule")
    }

    #[test]
    fn a_rule_means_what_it_names() {
        let own = rule(r#"{"name":"r","operations":["environment.*","instance.delete"],"compartment":"/A"}"#);
        own.validate().expect("good");
        let none = std::iter::empty;
        assert!(own.demands("environment.promote", "/A/web", none()) && own.demands("instance.delete", "/A", none()));
        assert!(!own.demands("environment.promote", "/B", none()), "elsewhere");
        assert!(!own.demands("environment.show", "/A", none()), "reading never needs approval");
        assert!(!own.demands("instance.edit", "/A", none()));
    }

    #[test]
    fn labels_are_those_of_any_host_concerned() {
        let own = rule(r#"{"name":"r","operations":["patch-job.create"],"labels":{"env":"prod"}}"#);
        own.validate().expect("good");
        let of = |value: &str| BTreeMap::from([("env".to_owned(), value.to_owned())]);
        let (test, prod) = (of("test"), of("prod"));
        let at = |compartment, labels| Concerned { compartment, labels };
        assert!(own.demands("patch-job.create", "/", [at("/A", &test), at("/A", &prod)]));
        assert!(!own.demands("patch-job.create", "/", [at("/A", &test)]));
        let own = rule(r#"{"name":"r","operations":["patch-job.create"],"labels":{"env":"prod"},"compartment":"/A/web"}"#);
        assert!(own.demands("patch-job.create", "/", [at("/A/web/x", &prod)]), "made further up");
        assert!(!own.demands("patch-job.create", "/", [at("/A/web", &test), at("/A", &prod)]), "one host has both");
        assert!(own.demands("patch-job.create", "/A/web", [at("/A/web", &prod)]));
    }

    #[test]
    fn a_rule_about_making_jobs_means_every_way_to_make_one() {
        let own = rule(r#"{"name":"r","operations":["patch-job.create"]}"#);
        let none = std::iter::empty;
        for operation in ["patch-job.create", "patch-job.rerun", "patch-deployment.run"] {
            assert!(own.demands(operation, "/", none()), "{operation}");
        }
        assert!(!own.demands("patch-job.cancel", "/", none()) && !own.demands("patch-job.undo", "/", none()));
        let own = rule(r#"{"name":"r","operations":["patch-job.rerun"]}"#);
        assert!(!own.demands("patch-job.create", "/", none()));
    }

    #[test]
    fn bad_rules_are_refused_with_the_field() {
        for (json, field, wanted) in [
            (r#"{"name":"","operations":["instance.delete"]}"#, "name", "letters"),
            (r#"{"name":"r","operations":[]}"#, "operations", "is empty"),
            (r#"{"name":"r","operations":["instance.delte"]}"#, "operations[0]", "did you mean instance.delete?"),
            (r#"{"name":"r","operations":["instance.list"]}"#, "operations[0]", "changes nothing"),
            (r#"{"name":"r","operations":["environment.promote"],"labels":{"a":"b"}}"#, "operations[0]", "is about none"),
            (r#"{"name":"r","operations":["instance.*"],"expiresAfterSecs":5}"#, "expiresAfterSecs", "between 60"),
        ] {
            let bad = rule(json).validate().expect_err(json);
            assert_eq!(bad.errors[0].field, field, "{json}");
            assert!(bad.errors[0].message.contains(wanted), "{json}: {}", bad.errors[0].message);
        }
    }
}
