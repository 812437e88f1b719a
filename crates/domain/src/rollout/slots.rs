//! Reboot slots: of a group of hosts only so many may be down for a reboot at a time, whatever jobs they are in. A host
//! takes a slot before it reboots and gives it back when its task has succeeded; one that failed keeps it until it expires
//! or a person releases it.
//!
//! Absent: who holds which slot (the store), who is in the group (the caller judges the filter).

use serde::{Deserialize, Serialize};

use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::patch::filter::InstanceFilter;
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};

/// Slots of one group, count.
pub const SLOTS_MAX: u32 = 10_000;
/// Shortest life of a slot, seconds (10 minutes): less than a server's power-on self-test makes no sense.
pub const EXPIRY_MIN_SECS: u64 = 600;
/// Longest life of a slot, seconds (7 days).
pub const EXPIRY_MAX_SECS: u64 = 7 * 24 * 3600;
/// Life of a slot when nothing is said, seconds (2 hours).
pub const EXPIRY_DEFAULT_SECS: u64 = 2 * 3600;

/// How many hosts of a group may reboot at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RebootSlots {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Who is in the group.
    pub instance_filter: InstanceFilter,
    /// Hosts that may be down at a time, 1 to 10000.
    pub slots: u32,
    /// Seconds after which a slot that was not given back is free again, 600 to 604800; 7200 when absent.
    #[serde(default = "expiry_default")]
    pub expiry_secs: u64,
    /// Path of the compartment in which it is made, for example `/A`: it reaches hosts there and below. Absent: the
    /// tenancy, or the one topmost compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

fn expiry_default() -> u64 {
    EXPIRY_DEFAULT_SECS
}

impl RebootSlots {
    /// Everything an operator can get wrong, each with its field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        self.instance_filter.check("instanceFilter", &mut problems);
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            problems.add("slots", format!("must be between 1 and {SLOTS_MAX}; without a slot no host could ever reboot"));
        }
        if !(EXPIRY_MIN_SECS..=EXPIRY_MAX_SECS).contains(&self.expiry_secs) {
            let allowed = format!("must be between {EXPIRY_MIN_SECS} (10 minutes) and {EXPIRY_MAX_SECS} (7 days)");
            problems.add("expirySecs", allowed);
        }
        problems.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_checked_field_by_field() {
        let read = |text: &str| serde_json::from_str::<RebootSlots>(text).expect("the form is right");
        let good = read(r#"{"name":"db","instanceFilter":{"all":true},"slots":1}"#);
        assert_eq!((good.validate(), good.expiry_secs), (Ok(()), EXPIRY_DEFAULT_SECS));
        let bad = read(r#"{"name":"","instanceFilter":{},"slots":0,"expirySecs":1}"#).validate().expect_err("refused");
        let mut fields: Vec<&str> = bad.errors.iter().map(|e| e.field.as_str()).collect();
        fields.dedup();
        assert_eq!(fields, ["name", "instanceFilter", "slots", "expirySecs"]);
    }
}
