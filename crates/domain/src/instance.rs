//! Managed instances: their lifecycle, labels and how reachable they are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::{LABEL_MAX_BYTES, LABELS_MAX, UNREACHABLE_AFTER_SECS};
use crate::validate::Problems;

/// Labels of an instance: what operators select by.
pub type Labels = BTreeMap<String, String>;

/// Where an instance stands between enrolment and removal.
///
/// ```text
/// (enrol) ─┬─> PENDING ──accept──> ACTIVE ──revoke──> REVOKED
///          └─> ACTIVE (auto-accept)   └──unregister──> (deleted)
///              PENDING ──reject──> REJECTED
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceState {
    /// Asked to enrol and waits for a person: no certificate yet.
    Pending,
    /// Enrolled; its agent may talk to the server.
    Active,
    /// A person refused it.
    Rejected,
    /// Was active; its certificate is no longer accepted.
    Revoked,
}

impl InstanceState {
    /// The name shown to users and stored, for example `ACTIVE`.
    pub fn as_str(self) -> &'static str {
        match self {
            InstanceState::Pending => "PENDING",
            InstanceState::Active => "ACTIVE",
            InstanceState::Rejected => "REJECTED",
            InstanceState::Revoked => "REVOKED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [InstanceState::Pending, InstanceState::Active, InstanceState::Rejected, InstanceState::Revoked]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// Why an instance waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PendingReason {
    /// Its enrolment profile does not accept by itself.
    ProfileAsks,
    /// Another active instance has the same machine-id with another key: a clone, or a host installed anew.
    DuplicateMachineId,
}

/// Can the server talk to the instance now?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reachability {
    /// Its agent spoke within the last 90 s.
    Online,
    /// Silent for longer.
    Offline,
    /// Never spoke since it was enrolled.
    NeverSeen,
}

/// Reachability follows from the last contact and `now`; it is never stored.
pub fn reachability(last_seen: Option<Timestamp>, now: Timestamp) -> Reachability {
    match last_seen {
        None => Reachability::NeverSeen,
        Some(seen) if now.as_second() - seen.as_second() <= UNREACHABLE_AFTER_SECS => Reachability::Online,
        Some(_) => Reachability::Offline,
    }
}

/// Checks labels: keys `[a-z][a-z0-9_-]*`, values without control characters, 63 bytes each, 64 of them.
pub fn check_labels(field: &str, labels: &Labels, problems: &mut Problems) {
    problems.count(field, labels.len(), LABELS_MAX);
    for (key, value) in labels {
        let path = format!("{field}.{key}");
        let tail_ok = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !key.starts_with(|c: char| c.is_ascii_lowercase()) || !tail_ok || key.len() > LABEL_MAX_BYTES {
            problems.add(&path, "a label key starts with a-z, holds a-z 0-9 _ - and has at most 63 characters");
        }
        problems.text(&path, value, LABEL_MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reachability_turns_at_ninety_seconds() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let at = |s: i64| Timestamp::from_second(1_000_000 - s).ok();
        assert_eq!(reachability(None, now), Reachability::NeverSeen);
        assert_eq!(reachability(at(90), now), Reachability::Online);
        assert_eq!(reachability(at(91), now), Reachability::Offline);
        // A host whose contact lies in the server's future (the clock stepped back) is still online.
        assert_eq!(reachability(at(-500), now), Reachability::Online);
    }

    #[test]
    fn labels_are_checked_by_key_and_length() {
        let mut problems = Problems::default();
        let labels = Labels::from([("Env".into(), "x".into()), ("ok".into(), "v".repeat(64)), ("role".into(), "db".into())]);
        check_labels("labels", &labels, &mut problems);
        let fields: Vec<_> = problems.finish().expect_err("refused").errors.into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["labels.Env", "labels.ok"]);
    }
}
