//! Exceptions: a vulnerability that is accepted on some hosts for a while, with who answers for it and why. One that has
//! ended counts for nothing, so what it covered is open again without anybody's doing.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ID_MAX_BYTES;
use crate::ids::{ExceptionId, GroupId, InstanceId};
use crate::instance::{Labels, check_labels};
use crate::validate::{Invalid, Problems};

/// Longest time that a vulnerability may be accepted for at once, days: somebody looks at it again every year.
pub const EXCEPTION_DAYS_MAX: i64 = 366;
/// Longest reason, bytes.
pub const REASON_MAX_BYTES: usize = 2000;
/// Longest name of who answers for it, bytes.
pub const OWNER_MAX_BYTES: usize = 255;
/// Longest name of an instance or group, bytes.
const NAME_MAX_BYTES: usize = 255;

/// On which hosts, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ScopeSpec {
    /// On every host.
    All {},
    /// On this instance, by name or id.
    Instance(String),
    /// On the members of this group, whoever they are at the time.
    Group(String),
    /// On hosts with this label, whoever they are at the time.
    Label {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
}

/// An exception to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExceptionSpec {
    /// `CVE-2026-1234`.
    pub cve: String,
    /// On which hosts.
    pub scope: ScopeSpec,
    /// Who answers for it; absent: the one who makes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself, at most a year ahead.
    pub until: Timestamp,
    /// Path of its compartment: it counts on hosts there and below. Absent: the one in which the caller may make exceptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// What is changed of an exception; what is absent stays. On which hosts it counts stays: make another one for others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExceptionEdit {
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends by itself, at most a year from now. One that has ended counts again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl ExceptionEdit {
    /// Refuses what cannot be; every problem at once.
    pub fn validate(&self, now: Timestamp) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.owner.is_none() && self.reason.is_none() && self.until.is_none() {
            problems.add("", "changes nothing; give owner, reason or until");
        }
        if let Some(owner) = &self.owner {
            problems.text("owner", owner, OWNER_MAX_BYTES);
            if owner.trim().is_empty() {
                problems.add("owner", "is empty; say who answers for it");
            }
        }
        if let Some(reason) = &self.reason {
            check_reason(reason, &mut problems);
        }
        if let Some(until) = self.until {
            check_until(until, now, &mut problems);
        }
        problems.finish()
    }
}

fn check_reason(reason: &str, problems: &mut Problems) {
    problems.text("reason", reason, REASON_MAX_BYTES);
    if reason.trim().is_empty() {
        problems.add("reason", "is empty; say why it is accepted");
    }
}

fn check_until(until: Timestamp, now: Timestamp, problems: &mut Problems) {
    let longest = now.saturating_add(SignedDuration::from_hours(24 * EXCEPTION_DAYS_MAX)).unwrap_or(Timestamp::MAX);
    if until <= now {
        problems.add("until", "is not in the future");
    } else if until > longest {
        problems.add("until", format!("is more than {EXCEPTION_DAYS_MAX} days ahead; accept it for less, and look again then"));
    }
}

impl ExceptionSpec {
    /// Refuses what cannot be; every problem at once.
    pub fn validate(&self, now: Timestamp) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.cve.is_empty() || self.cve.len() > ID_MAX_BYTES || !self.cve.bytes().all(|b| b.is_ascii_graphic()) {
            problems.add("cve", format!("is no id of a vulnerability such as CVE-2026-1234, of {ID_MAX_BYTES} bytes at most"));
        }
        match &self.scope {
            ScopeSpec::All {} => {}
            ScopeSpec::Instance(name) => named("scope.instance", name, &mut problems),
            ScopeSpec::Group(name) => named("scope.group", name, &mut problems),
            ScopeSpec::Label { key, value } => {
                check_labels("scope.label", &Labels::from([(key.clone(), value.clone())]), &mut problems);
            }
        }
        problems.text("owner", &self.owner, OWNER_MAX_BYTES);
        check_reason(&self.reason, &mut problems);
        check_until(self.until, now, &mut problems);
        problems.finish()
    }
}

fn named(field: &str, name: &str, problems: &mut Problems) {
    problems.text(field, name, NAME_MAX_BYTES);
    if name.is_empty() {
        problems.add(field, "is empty");
    }
}

/// On which hosts, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// On every host.
    All {},
    /// On this one.
    Instance(InstanceId),
    /// On members of this group.
    Group(GroupId),
    /// On hosts with this label.
    Label {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
}

/// What a scope looks at.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// The host.
    pub instance: InstanceId,
    /// The group it is in.
    pub group: Option<GroupId>,
    /// Its labels.
    pub labels: &'a Labels,
}

impl Scope {
    /// Is this host one of them?
    pub fn covers(&self, host: HostFacts<'_>) -> bool {
        match self {
            Scope::All {} => true,
            Scope::Instance(id) => *id == host.instance,
            Scope::Group(id) => host.group == Some(*id),
            Scope::Label { key, value } => host.labels.get(key) == Some(value),
        }
    }

    /// Can it be said of a host without its group and labels?
    pub fn needs_facts(&self) -> bool {
        matches!(self, Scope::Group(_) | Scope::Label { .. })
    }
}

/// Does an exception that ends at `until` count at `now`?
pub fn in_force(until: Timestamp, now: Timestamp) -> bool {
    now < until
}

/// An exception as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// Its id.
    pub id: ExceptionId,
    /// Which vulnerability.
    pub cve: String,
    /// On which hosts; an instance or group that is gone is named by its id.
    pub scope: ScopeSpec,
    /// Path of its compartment: of those hosts it counts on the ones there and below.
    #[serde(default = "root_compartment")]
    pub compartment: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub until: Timestamp,
    /// It has ended, and counts for nothing.
    pub expired: bool,
    /// Hosts on which it accepts an open vulnerability now, count.
    pub hosts: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// The tenancy.
fn root_compartment() -> String {
    "/".to_owned()
}

/// That something is accepted, beside what it is said of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExceptionMark {
    /// The exception; where several accept it, the one that lasts longest.
    pub id: ExceptionId,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_scope_covers_by_what_is_true_of_the_host() {
        let id = |n: u128| uuid::Uuid::from_u128(n);
        let labels = Labels::from([("env".into(), "prod".into())]);
        let host = HostFacts { instance: InstanceId(id(1)), group: Some(GroupId(id(2))), labels: &labels };
        let label = |key: &str, value: &str| Scope::Label { key: key.into(), value: value.into() };
        for (scope, covers) in [
            (Scope::All {}, true),
            (Scope::Instance(InstanceId(id(1))), true),
            (Scope::Instance(InstanceId(id(2))), false),
            (Scope::Group(GroupId(id(2))), true),
            (Scope::Group(GroupId(id(1))), false),
            (label("env", "prod"), true),
            (label("env", "test"), false),
            (label("role", "prod"), false),
        ] {
            assert_eq!(scope.covers(host), covers, "{scope:?}");
            let alone = HostFacts { group: None, labels: &Labels::new(), ..host };
            assert!(scope.needs_facts() || scope.covers(alone) == covers, "{scope:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_field_by_field() {
        let now = at("2026-11-23T00:00:00Z");
        let good = ExceptionSpec {
            cve: "CVE-2026-1".into(),
            scope: ScopeSpec::All {},
            owner: String::new(),
            reason: "no network".into(),
            until: at("2027-11-24T00:00:00Z"),
            compartment: None,
        };
        assert_eq!(good.validate(now), Ok(()), "366 days");
        let label = |key: &str| ScopeSpec::Label { key: key.into(), value: "x".into() };
        for (spec, field) in [
            (ExceptionSpec { cve: String::new(), ..good.clone() }, "cve"),
            (ExceptionSpec { cve: "CVE 1".into(), ..good.clone() }, "cve"),
            (ExceptionSpec { cve: "C".repeat(129), ..good.clone() }, "cve"),
            (ExceptionSpec { reason: " \n".into(), ..good.clone() }, "reason"),
            (ExceptionSpec { reason: "x".repeat(2001), ..good.clone() }, "reason"),
            (ExceptionSpec { owner: "\u{1b}[2J".into(), ..good.clone() }, "owner"),
            (ExceptionSpec { until: now, ..good.clone() }, "until"),
            (ExceptionSpec { until: at("2027-11-24T00:00:01Z"), ..good.clone() }, "until"),
            (ExceptionSpec { until: Timestamp::MAX, ..good.clone() }, "until"),
            (ExceptionSpec { scope: ScopeSpec::Instance(String::new()), ..good.clone() }, "scope.instance"),
            (ExceptionSpec { scope: ScopeSpec::Group("g".repeat(300)), ..good.clone() }, "scope.group"),
            (ExceptionSpec { scope: label("Bad Key"), ..good.clone() }, "scope.label.Bad Key"),
        ] {
            let refused = spec.validate(now).expect_err(field);
            assert!(refused.errors.iter().all(|e| e.field == field), "{field}: {refused}");
        }
    }

    #[test]
    fn an_edit_is_held_to_the_same_rules() {
        let now = at("2026-11-23T00:00:00Z");
        let until = |text: &str| ExceptionEdit { until: Some(at(text)), ..ExceptionEdit::default() };
        assert_eq!(until("2027-11-24T00:00:00Z").validate(now), Ok(()));
        for (edit, field) in [
            (ExceptionEdit::default(), ""),
            (until("2026-11-23T00:00:00Z"), "until"),
            (until("2027-11-24T00:00:01Z"), "until"),
            (ExceptionEdit { owner: Some(" ".into()), ..ExceptionEdit::default() }, "owner"),
            (ExceptionEdit { reason: Some(String::new()), ..ExceptionEdit::default() }, "reason"),
        ] {
            let refused = edit.validate(now).expect_err(field);
            assert!(refused.errors.iter().all(|e| e.field == field), "{field}: {refused}");
        }
    }

    #[test]
    fn it_ends_by_itself() {
        let until = at("2026-12-01T00:00:00Z");
        assert!(in_force(until, at("2026-11-30T23:59:59Z")));
        assert!(!in_force(until, until));
    }

    #[test]
    fn scopes_keep_their_written_form() {
        for (scope, text) in [
            (ScopeSpec::All {}, r#"{"all":{}}"#),
            (ScopeSpec::Instance("web-1".into()), r#"{"instance":"web-1"}"#),
            (ScopeSpec::Label { key: "env".into(), value: "prod".into() }, r#"{"label":{"key":"env","value":"prod"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&scope).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<ScopeSpec>(text).expect("read"), scope);
        }
        assert!(serde_json::from_str::<ScopeSpec>(r#"{"all":{},"group":"x"}"#).is_err(), "one of them");
    }
}
