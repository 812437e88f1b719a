//! Which hosts a job reaches. Google's rules: fields are ANDed, groups of labels ORed with the labels inside a group
//! ANDed, zones ORed, names ORed, prefixes ORed, managed instance groups (ours) ORed, a query (ours) in the language of
//! [`crate::query`]; `all` excludes the others; an empty filter is refused.

use serde::{Deserialize, Serialize};

use crate::instance::Labels;
use crate::limits::FILTER_ENTRIES_MAX;
use crate::query::Query;
use crate::validate::{Invalid, Problems};

/// A filter over instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InstanceFilter {
    /// Every active instance.
    pub all: bool,
    /// Any of these groups; a group matches when the instance has all its labels.
    pub group_labels: Vec<GroupLabel>,
    /// Any of these zones.
    pub zones: Vec<String>,
    /// Any of these instances, by name (host name) or id.
    pub instances: Vec<String>,
    /// Any name that starts so.
    pub instance_name_prefixes: Vec<String>,
    /// *Ours*: members of any of these managed instance groups, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// *Ours*: a filter over the instances and their inventory, for example `package openssl < 3.0.14`; judged when the
    /// job begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// Labels that an instance must have, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupLabel {
    /// Key and value.
    pub labels: Labels,
}

/// What the filter needs to know of an instance.
#[derive(Debug, Clone, Copy)]
pub struct InstanceFacts<'a> {
    /// Its id as text.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Name of the managed instance group it is in.
    pub group: Option<&'a str>,
    /// Does it match the filter's query? Looked at only where there is one: it takes more than these facts.
    pub query_matches: bool,
}

impl InstanceFilter {
    /// Names no criterion at all.
    pub fn is_empty(&self) -> bool {
        !self.all && self.has_no_criteria()
    }

    fn has_no_criteria(&self) -> bool {
        self.group_labels.is_empty()
            && self.zones.is_empty()
            && self.instances.is_empty()
            && self.instance_name_prefixes.is_empty()
            && self.groups.is_empty()
            && self.query.is_none()
    }

    /// Checks a filter that stands alone.
    pub fn validate(&self, at: &str) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        self.check(at, &mut problems);
        problems.finish()
    }

    pub(crate) fn check(&self, at: &str, problems: &mut Problems) {
        if self.is_empty() {
            problems.add(at, "is empty; set all, groupLabels, zones, instances, instanceNamePrefixes, groups or query");
        }
        if self.all && !self.has_no_criteria() {
            problems.add(format!("{at}.all"), "cannot be combined with other criteria");
        }
        let lists = [
            ("zones", &self.zones),
            ("instances", &self.instances),
            ("instanceNamePrefixes", &self.instance_name_prefixes),
            ("groups", &self.groups),
        ];
        for (name, list) in lists {
            let field = format!("{at}.{name}");
            problems.count(&field, list.len(), FILTER_ENTRIES_MAX);
            if list.iter().any(|e| e.trim().is_empty()) {
                problems.add(&field, "has an empty entry; it would match nothing or everything");
            }
        }
        problems.count(&format!("{at}.groupLabels"), self.group_labels.len(), FILTER_ENTRIES_MAX);
        if let Some(Err(bad)) = self.query.as_deref().map(Query::parse) {
            problems.add(format!("{at}.query"), bad.to_string());
        }
        for (i, group) in self.group_labels.iter().enumerate() {
            if group.labels.is_empty() {
                problems.add(format!("{at}.groupLabels[{i}].labels"), "is empty; it would match every instance");
            }
        }
    }

    /// Does the instance match?
    pub fn matches(&self, instance: InstanceFacts<'_>) -> bool {
        if self.all {
            return true;
        }
        if self.is_empty() {
            return false;
        }
        let labelled = |g: &GroupLabel| g.labels.iter().all(|(k, v)| instance.labels.get(k) == Some(v));
        (self.group_labels.is_empty() || self.group_labels.iter().any(labelled))
            && (self.zones.is_empty() || self.zones.iter().any(|z| z == instance.zone))
            && (self.instances.is_empty() || self.instances.iter().any(|n| n == instance.name || n == instance.id))
            && (self.instance_name_prefixes.is_empty()
                || self.instance_name_prefixes.iter().any(|p| instance.name.starts_with(p.as_str())))
            && (self.groups.is_empty() || instance.group.is_some_and(|group| self.groups.iter().any(|g| g == group)))
            && (self.query.is_none() || instance.query_matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str) -> bool {
        let filter: InstanceFilter = serde_json::from_str(filter).expect("a filter");
        let labels = Labels::from([("env".into(), "prod".into()), ("role".into(), "web".into())]);
        filter.matches(InstanceFacts {
            id: "id-1",
            name: "web-1",
            zone: "z1",
            labels: &labels,
            group: Some("g1"),
            query_matches: filter.query.as_deref() == Some("reboot"),
        })
    }

    #[test]
    fn a_query_narrows_the_rest_and_is_read_when_submitted() {
        assert!(matches(r#"{"query":"reboot"}"#) && matches(r#"{"query":"reboot","zones":["z1"]}"#));
        assert!(!matches(r#"{"query":"not reboot"}"#) && !matches(r#"{"query":"reboot","zones":["z0"]}"#));
        let refusal = |query: &str| {
            let filter = InstanceFilter { query: Some(query.to_owned()), ..InstanceFilter::default() };
            let mut problems = Problems::default();
            filter.check("instanceFilter", &mut problems);
            problems.finish().map_err(|invalid| invalid.to_string())
        };
        assert_eq!(refusal("package openssl < 3"), Ok(()));
        let bad = refusal("os.verison = 8").expect_err("misspelt");
        assert!(bad.starts_with("instanceFilter.query: column 1: ") && bad.contains("os.version"), "{bad}");
        assert!(refusal("").expect_err("empty").contains("the filter is empty"));
        let both = InstanceFilter { all: true, query: Some("reboot".into()), ..InstanceFilter::default() };
        let mut problems = Problems::default();
        both.check("f", &mut problems);
        assert!(problems.finish().is_err(), "all hosts and some of them");
    }

    #[test]
    fn fields_are_anded_and_entries_ored() {
        assert!(matches(r#"{"all":true}"#));
        assert!(!matches("{}"));
        assert!(matches(r#"{"groupLabels":[{"labels":{"env":"dev"}},{"labels":{"env":"prod","role":"web"}}]}"#));
        assert!(!matches(r#"{"groupLabels":[{"labels":{"env":"prod","role":"db"}}]}"#));
        assert!(matches(r#"{"zones":["z0","z1"],"instanceNamePrefixes":["web-"]}"#));
        assert!(matches(r#"{"groups":["g0","g1"],"zones":["z1"]}"#));
        assert!(!matches(r#"{"groups":["g0"]}"#) && !matches(r#"{"groups":["g1"],"zones":["z0"]}"#));
        assert!(!matches(r#"{"zones":["z0"],"instanceNamePrefixes":["web-"]}"#));
        assert!(
            matches(r#"{"instances":["web-1"]}"#) && matches(r#"{"instances":["id-1"]}"#) && !matches(r#"{"instances":["web"]}"#)
        );
    }
}
