//! How people name a snapshot of a source: its number, its id, `latest`, `as-of:<time>`, or an environment that points
//! at it.

use drydock_domain::ids::SnapshotId;
use jiff::Timestamp;

use crate::error::{Error, Result};

/// Longest selector looked at, bytes: a UUID has 36, a time about as many.
const SELECTOR_MAX_BYTES: usize = 128;
/// What stands before a time.
const AS_OF: &str = "as-of:";

/// A selector as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    /// The newest.
    Latest,
    /// By number.
    Number(u64),
    /// By id.
    Id(SnapshotId),
    /// The newest at that moment.
    AsOf(Timestamp),
    /// What this environment points at.
    Environment(String),
}

impl Selector {
    /// Reads a selector. Names of environments that are numbers are shadowed by numbers.
    pub(super) fn parse(text: &str) -> Result<Selector> {
        if text.is_empty() || text.len() > SELECTOR_MAX_BYTES {
            return Err(wrong(text));
        }
        if text == "latest" {
            return Ok(Selector::Latest);
        }
        if let Some(time) = text.strip_prefix(AS_OF) {
            return time.parse().map(Selector::AsOf).map_err(|_| wrong(text));
        }
        if let Ok(number) = text.parse() {
            return Ok(Selector::Number(number));
        }
        if let Ok(id) = text.parse() {
            return Ok(Selector::Id(id));
        }
        Ok(Selector::Environment(text.to_owned()))
    }
}

fn wrong(text: &str) -> Error {
    let shown = super::act::cut(text, SELECTOR_MAX_BYTES);
    Error::invalid(
        "snapshot",
        format!("{shown:?} names no snapshot; give its number, its id, `latest`, `as-of:2026-11-01T00:00:00Z` or an environment"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_named_in_five_ways() {
        assert_eq!(Selector::parse("latest").expect("ok"), Selector::Latest);
        assert_eq!(Selector::parse("7").expect("ok"), Selector::Number(7));
        let id = "0198c0de-0000-7000-8000-000000000001";
        assert_eq!(Selector::parse(id).expect("ok"), Selector::Id(id.parse().expect("an id")));
        let at = "2026-11-01T00:00:00Z";
        assert_eq!(Selector::parse("as-of:2026-11-01T00:00:00Z").expect("ok"), Selector::AsOf(at.parse().expect("a time")));
        assert_eq!(Selector::parse("prod").expect("ok"), Selector::Environment("prod".into()));
        assert!(Selector::parse("as-of:yesterday").is_err());
        assert!(Selector::parse("").is_err());
        assert!(Selector::parse(&"x".repeat(200)).is_err());
    }
}
