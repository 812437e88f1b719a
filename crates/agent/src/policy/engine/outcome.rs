//! What a run left: what was changed, and what drifted.

use std::borrow::Cow;

use drydock_domain::policy::{DriftEvent, DriftOutcome};
use jiff::Timestamp;

use super::Key;

/// A resource that was as it should be and then was not.
#[derive(Debug, Clone, PartialEq)]
pub struct Drifted {
    /// Which.
    pub key: Key,
    /// When it was noticed.
    pub seen_at: Timestamp,
    /// What was found.
    pub what: String,
    /// What it was noticed by.
    pub noticed_by: Cow<'static, str>,
    /// Who or what did it.
    pub cause: String,
    /// What became of it; `None` = it is not decided yet.
    pub outcome: Option<DriftOutcome>,
    /// When it was as it should be again.
    pub repaired_at: Option<Timestamp>,
}

impl Drifted {
    /// As it is reported.
    pub fn event(self, number: u64) -> Option<DriftEvent> {
        Some(DriftEvent {
            number,
            assignment: self.key.assignment,
            policy: self.key.policy,
            resource: self.key.resource,
            seen_at: self.seen_at,
            repaired_at: self.repaired_at,
            what: self.what,
            noticed_by: self.noticed_by.into_owned(),
            cause: self.cause,
            outcome: self.outcome?,
        })
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Changes made or tried, count.
    pub changes: usize,
    /// What drifted and is decided.
    pub drift: Vec<Drifted>,
    /// What a change of this run made wanting, although it was as it should be: to be looked at at once.
    pub again: Vec<Key>,
}
