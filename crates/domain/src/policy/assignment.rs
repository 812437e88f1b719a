//! For which hosts policies are: Google's `OSPolicyAssignment` in its JSON form; additions are marked *ours*.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::{InventoryFilter, OsPolicy};
use crate::instance::Labels;
use crate::patch::spec::Concurrency;
use crate::rollout::health::HealthChecks;

/// Policies and the hosts they are for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OsPolicyAssignment {
    /// Its id, or Google's full name `projects/…/osPolicyAssignments/ID`; a file that is applied under a name may leave it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// In order.
    #[serde(alias = "os_policies")]
    pub os_policies: Vec<OsPolicy>,
    /// Which hosts.
    #[serde(alias = "instance_filter")]
    pub instance_filter: AssignmentFilter,
    /// How fast.
    pub rollout: PolicyRollout,
    /// *Ours*: what `{{ vars.NAME }}` stands for in resources with `template: true`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// Which hosts: `all`, or every kind of criterion that is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AssignmentFilter {
    /// Every active instance; excludes the others.
    pub all: bool,
    /// Hosts with all labels of any of these sets.
    #[serde(alias = "inclusion_labels", skip_serializing_if = "Vec::is_empty")]
    pub inclusion_labels: Vec<LabelSet>,
    /// But not those with all labels of any of these sets.
    #[serde(alias = "exclusion_labels", skip_serializing_if = "Vec::is_empty")]
    pub exclusion_labels: Vec<LabelSet>,
    /// Hosts of any of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inventories: Vec<Inventory>,
    /// *Ours*: hosts in any of these managed instance groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// *Ours*: hosts that look through any of these lifecycle environments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
}

/// A kind of host.
pub type Inventory = InventoryFilter;

/// Labels, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelSet {
    /// Key and value.
    pub labels: Labels,
}

impl LabelSet {
    fn holds(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
    }
}

/// How fast a new revision reaches its hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRollout {
    /// Hosts at once in each zone.
    #[serde(alias = "disruption_budget")]
    pub disruption_budget: Concurrency,
    /// A host keeps its place at least this long after it has the revision: `300s`.
    #[serde(alias = "min_wait_duration")]
    pub min_wait_duration: String,
    /// *Ours*: the rollout halts when so many hosts that have the revision are not compliant.
    #[serde(default, alias = "halt_on_non_compliant", skip_serializing_if = "Option::is_none")]
    pub halt_on_non_compliant: Option<Concurrency>,
    /// *Ours*: what each host checks once it has the revision; a host that fails them counts like one that is not compliant.
    /// They are part of the revision: other checks are another one.
    #[serde(default, alias = "health_checks", skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<HealthChecks>,
}

impl Default for PolicyRollout {
    fn default() -> Self {
        PolicyRollout {
            disruption_budget: Concurrency::Percent(100),
            min_wait_duration: "0s".to_owned(),
            halt_on_non_compliant: None,
            health_checks: None,
        }
    }
}

impl PolicyRollout {
    /// How many failures halt the rollout; `None`: none do. With health checks, the first one does where nothing else is said.
    pub fn failure_limit(&self) -> Option<Concurrency> {
        self.halt_on_non_compliant.or(self.health_checks.as_ref().map(|_| Concurrency::Fixed(1)))
    }

    /// The wait in seconds; `None`: it cannot be read. proto3 JSON: seconds with an `s`, perhaps a fraction.
    pub fn min_wait_secs(&self) -> Option<u64> {
        let number = self.min_wait_duration.strip_suffix('s')?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let whole = Some(whole).filter(|w| digits(w)).and_then(|w| w.parse::<u64>().ok())?;
        let up = u64::from(fraction.bytes().any(|b| b != b'0'));
        digits(fraction).then(|| whole.saturating_add(up))
    }
}

/// What an assignment's filter needs to know of a host.
#[derive(Debug, Clone, Copy)]
pub struct SelectionFacts<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its system: `debian`.
    pub os_short_name: &'a str,
    /// The system's version: `12`.
    pub os_version: &'a str,
    /// Name of the managed instance group it is in.
    pub group: Option<&'a str>,
    /// Name of the lifecycle environment it looks through.
    pub environment: Option<&'a str>,
}

impl AssignmentFilter {
    /// Names no criterion at all.
    pub fn is_empty(&self) -> bool {
        !self.all && self.has_no_criteria()
    }

    /// Names nothing besides `all`.
    pub fn has_no_criteria(&self) -> bool {
        self.inclusion_labels.is_empty()
            && self.exclusion_labels.is_empty()
            && self.inventories.is_empty()
            && self.groups.is_empty()
            && self.environments.is_empty()
    }

    /// Is the host one of them?
    pub fn matches(&self, host: SelectionFacts<'_>) -> bool {
        let any = |named: &[String], own: Option<&str>| named.is_empty() || own.is_some_and(|own| named.iter().any(|n| n == own));
        if self.all {
            return true;
        }
        !self.is_empty()
            && (self.inclusion_labels.is_empty() || self.inclusion_labels.iter().any(|set| set.holds(host.labels)))
            && !self.exclusion_labels.iter().any(|set| set.holds(host.labels))
            && (self.inventories.is_empty() || self.inventories.iter().any(|i| i.matches(host.os_short_name, host.os_version)))
            && any(&self.groups, host.group)
            && any(&self.environments, host.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str) -> bool {
        let filter: AssignmentFilter = serde_json::from_str(filter).expect("a filter");
        let labels = Labels::from([("env".into(), "prod".into()), ("role".into(), "web".into())]);
        filter.matches(SelectionFacts {
            labels: &labels,
            os_short_name: "rhel",
            os_version: "8.10",
            group: Some("web"),
            environment: Some("prod"),
        })
    }

    #[test]
    fn kinds_of_criteria_are_anded_and_entries_ored() {
        assert!(matches(r#"{"all":true}"#));
        assert!(!matches("{}"));
        assert!(matches(r#"{"inclusionLabels":[{"labels":{"env":"dev"}},{"labels":{"env":"prod","role":"web"}}]}"#));
        assert!(!matches(r#"{"inclusion_labels":[{"labels":{"env":"prod"}}],"exclusion_labels":[{"labels":{"role":"web"}}]}"#));
        assert!(matches(r#"{"exclusionLabels":[{"labels":{"role":"db"}}]}"#));
        assert!(matches(r#"{"inventories":[{"osShortName":"rhel","osVersion":"8*"}]}"#));
        assert!(matches(r#"{"inventories":[{"osShortName":"rhel"}]}"#));
        assert!(!matches(r#"{"inventories":[{"osShortName":"rhel","osVersion":"8"}]}"#));
        assert!(!matches(r#"{"inventories":[{"osShortName":"debian"}]}"#));
        assert!(matches(r#"{"groups":["db","web"],"environments":["prod"]}"#));
        assert!(!matches(r#"{"groups":["web"],"environments":["dev"]}"#));
    }

    #[test]
    fn durations_are_seconds_with_an_s() {
        let secs = |text: &str| PolicyRollout { min_wait_duration: text.into(), ..PolicyRollout::default() }.min_wait_secs();
        assert_eq!((secs("300s"), secs("0s"), secs("1.5s"), secs("2.000s")), (Some(300), Some(0), Some(2), Some(2)));
        assert_eq!((secs("5m"), secs("-1s"), secs("s"), secs("1.s"), secs("")), (None, None, None, None, None));
    }
}
