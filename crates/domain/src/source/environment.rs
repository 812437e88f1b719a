//! Lifecycle environments: dev → test → prod, any names, in the order of their ranks. An environment points at one
//! snapshot of each source promoted into it; a promotion moves the pointer, a rollback moves it back.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::name::check_name;
use crate::ids::SnapshotId;
use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::validate::{Invalid, Problems};

/// Highest rank.
pub const RANK_MAX: u32 = 1_000_000;
/// Sources named by one promotion, count.
pub const PROMOTION_SOURCES_MAX: usize = 1000;
/// Snapshots kept besides those in use when a source names no number, count.
pub const KEEP_SNAPSHOTS_DEFAULT: u32 = 30;

/// An environment as made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Promotion goes from lower to higher ranks; two environments never have the same.
    pub rank: u32,
    /// Path of the compartment in which it is made, for example `/A`. Absent: the tenancy, or the one topmost
    /// compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// What to promote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promotion {
    /// Sources by name; empty = every source that the environment below has (for the lowest: that this one has).
    #[serde(default)]
    pub sources: Vec<String>,
    /// This snapshot (one source only).
    #[serde(default)]
    pub snapshot: Option<SnapshotId>,
    /// The newest snapshot at that moment.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// Back to the snapshot the environment had before the present one.
    #[serde(default)]
    pub rollback: bool,
    /// Take a snapshot that the environment below never had.
    #[serde(default)]
    pub skip_rank: bool,
    /// Show what would change; change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl EnvironmentSpec {
    /// Checks the specification by itself.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        // Where a snapshot is named, a number is its number and a UUID its id.
        if self.name.bytes().all(|b| b.is_ascii_digit()) || Uuid::try_parse(&self.name).is_ok() {
            problems.add("name", "reads like the number or the id of a snapshot; choose a word");
        }
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        if self.rank > RANK_MAX {
            problems.add("rank", format!("is at most {RANK_MAX}"));
        }
        problems.finish()
    }

    /// Checks that this specification may replace `stored`.
    pub fn check_edit(&self, stored: &EnvironmentSpec) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.name != stored.name {
            problems.add("name", format!("stays {}; make a new environment for another name", stored.name));
        }
        problems.finish()
    }
}

impl Promotion {
    /// Checks what is asked for; `now` refuses a moment that is still to come.
    pub fn validate(&self, now: Timestamp) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.count("sources", self.sources.len(), PROMOTION_SOURCES_MAX);
        for (i, name) in self.sources.iter().enumerate().take(PROMOTION_SOURCES_MAX) {
            let at = format!("sources[{i}]");
            check_name(&at, name, &mut problems);
            if self.sources[..i].contains(name) {
                problems.add(&at, format!("repeats {name}"));
            }
        }
        let ways = [("snapshot", self.snapshot.is_some()), ("asOf", self.as_of.is_some()), ("rollback", self.rollback)];
        let mut given = ways.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            problems.add(second, format!("cannot be combined with {first}; choose one of snapshot, asOf and rollback"));
        }
        if self.snapshot.is_some() && self.sources.len() != 1 {
            problems.add("snapshot", "is one source's snapshot; name exactly that source in sources");
        }
        if self.as_of.is_some_and(|at| at > now) {
            problems.add("asOf", "lies in the future");
        }
        if self.rollback && self.skip_rank {
            problems.add("skipRank", "means nothing for a rollback: the environment had that snapshot already");
        }
        problems.finish()
    }
}

/// Why a snapshot may not enter an environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "snapshot {number} of {source_name} was never in {below}, the environment below {environment}; promote it there first, \
     or skip the rank (--skip-rank)"
)]
pub struct RankRefused {
    /// The source.
    pub source_name: String,
    /// Number of the snapshot.
    pub number: u32,
    /// Where it was to go.
    pub environment: String,
    /// Where it should have been.
    pub below: String,
}

/// An environment as the rank rule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its rank.
    pub rank: u32,
}

/// The environment next below `of`; `None`: it is the lowest.
pub fn next_below<'a>(of: Rung<'_>, all: impl IntoIterator<Item = Rung<'a>>) -> Option<Rung<'a>> {
    all.into_iter().filter(|rung| rung.rank < of.rank).max_by_key(|rung| rung.rank)
}

/// A snapshot on its way into an environment.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its source.
    pub source_name: &'a str,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its number.
    pub number: u32,
}

/// The rank rule: a snapshot enters when the environment next below has or had it, when there is none below, or when a
/// person skips the rank. `below`: that environment with the snapshots of the source it has or had.
pub fn may_enter(
    candidate: Candidate<'_>,
    environment: &str,
    below: Option<(&str, &BTreeSet<SnapshotId>)>,
    skip_rank: bool,
) -> Result<(), RankRefused> {
    match below {
        Some((below, seen)) if !skip_rank && !seen.contains(&candidate.snapshot) => Err(RankRefused {
            source_name: candidate.source_name.to_owned(),
            number: candidate.number,
            environment: environment.to_owned(),
            below: below.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Where a rollback leads: the snapshot the environment had before the present one. `moves`: (from, to), oldest first.
///
/// A move back to an earlier snapshot undoes what came after it, so that rolling back twice goes back two promotions
/// instead of there and back again. Snapshots are ordered by age.
pub fn rollback_target<S: Copy + Ord>(moves: &[(Option<S>, S)]) -> Option<S> {
    let mut stack: Vec<S> = Vec::new();
    for (from, to) in moves {
        // The history is cut at its old end: there a move may come from something unknown. One from a newer snapshot is
        // a way back, and what it undid is gone.
        if let (true, Some(from)) = (stack.is_empty(), from.filter(|from| from < to)) {
            stack.push(from);
        }
        match stack.iter().position(|s| s == to) {
            Some(at) => stack.truncate(at + 1),
            None => stack.push(*to),
        }
    }
    stack.iter().rev().nth(1).copied()
}

/// A snapshot as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Its number.
    pub number: u32,
    /// A pointer is on it, a rollback would lead to it, or a person marked it.
    pub in_use: bool,
}

/// Numbers of the snapshots that go, oldest first: those not in use, but for the newest `keep` of them.
pub fn surplus(snapshots: &[Retained], keep: Option<u32>) -> Vec<u32> {
    let keep = usize::try_from(keep.unwrap_or(KEEP_SNAPSHOTS_DEFAULT)).unwrap_or(usize::MAX);
    let newest = snapshots.iter().map(|s| s.number).max();
    let mut free: Vec<u32> = snapshots.iter().filter(|s| !s.in_use && Some(s.number) != newest).map(|s| s.number).collect();
    free.sort_unstable();
    free.truncate(free.len().saturating_sub(keep));
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).expect("in range")
    }

    fn id(n: u128) -> SnapshotId {
        SnapshotId(Uuid::from_u128(n))
    }

    fn fields(refused: Result<(), Invalid>) -> Vec<String> {
        refused.err().map(|e| e.errors.into_iter().map(|e| e.field).collect()).unwrap_or_default()
    }

    #[test]
    fn environments() {
        let spec = |name: &str, rank| EnvironmentSpec { name: name.into(), description: String::new(), rank, compartment: None };
        assert_eq!(spec("prod", 0).validate(), Ok(()));
        assert_eq!(fields(spec("7", 0).validate()), ["name"]);
        assert_eq!(fields(spec("0198c0de-0000-7000-8000-000000000001", 0).validate()), ["name"]);
        assert_eq!(fields(spec("latest", RANK_MAX + 1).validate()), ["name", "rank"]);
        let long = EnvironmentSpec { description: "x".repeat(1025), ..spec("prod", 1) };
        assert_eq!(fields(long.validate()), ["description"]);
        assert_eq!(fields(spec("prod", 1).check_edit(&spec("test", 1))), ["name"]);
        assert_eq!(spec("prod", 9).check_edit(&spec("prod", 1)), Ok(()));
    }

    #[test]
    fn promotions() {
        let read = |json: &str| serde_json::from_str::<Promotion>(json).expect("a promotion").validate(at(1_000_000));
        let snapshot = "0198c0de-0000-7000-8000-000000000001";
        for good in [
            "{}".to_owned(),
            r#"{"sources":["a","b"],"asOf":"1970-01-02T00:00:00Z"}"#.to_owned(),
            r#"{"rollback":true,"dryRun":true}"#.to_owned(),
            format!(r#"{{"sources":["a"],"snapshot":"{snapshot}","skipRank":true}}"#),
        ] {
            assert_eq!(read(&good), Ok(()), "{good}");
        }
        for (bad, wrong) in [
            (format!(r#"{{"snapshot":"{snapshot}"}}"#), vec!["snapshot"]),
            (format!(r#"{{"sources":["a","b"],"snapshot":"{snapshot}"}}"#), vec!["snapshot"]),
            (format!(r#"{{"sources":["a"],"snapshot":"{snapshot}","rollback":true}}"#), vec!["rollback"]),
            (r#"{"asOf":"1970-01-02T00:00:00Z","rollback":true}"#.to_owned(), vec!["rollback"]),
            (r#"{"asOf":"2970-01-02T00:00:00Z"}"#.to_owned(), vec!["asOf"]),
            (r#"{"rollback":true,"skipRank":true}"#.to_owned(), vec!["skipRank"]),
            (r#"{"sources":["a","a","B"]}"#.to_owned(), vec!["sources[1]", "sources[2]"]),
        ] {
            assert_eq!(fields(read(&bad)), wrong, "{bad}");
        }
    }

    #[test]
    fn a_snapshot_climbs_rank_by_rank() {
        let (dev, test, prod) =
            (Rung { name: "dev", rank: 10 }, Rung { name: "test", rank: 20 }, Rung { name: "prod", rank: 30 });
        let all = [prod, dev, test];
        assert_eq!(next_below(dev, all), None);
        assert_eq!(next_below(test, all), Some(dev));
        assert_eq!(next_below(prod, all), Some(test));
        let candidate = Candidate { source_name: "ol9", snapshot: id(2), number: 2 };
        let (had, other, never) = (BTreeSet::from([id(1), id(2)]), BTreeSet::from([id(1)]), BTreeSet::new());
        // below, skip, allowed
        for (below, skip, allowed) in [
            (None, false, true),
            (None, true, true),
            (Some(("test", &had)), false, true),
            (Some(("test", &had)), true, true),
            (Some(("test", &other)), false, false),
            (Some(("test", &other)), true, true),
            (Some(("test", &never)), false, false),
            (Some(("test", &never)), true, true),
        ] {
            assert_eq!(may_enter(candidate, "prod", below, skip).is_ok(), allowed, "{below:?} {skip}");
        }
        let refused = may_enter(candidate, "prod", Some(("test", &never)), false).expect_err("refused").to_string();
        assert!(refused.starts_with("snapshot 2 of ol9 was never in test, the environment below prod"), "{refused}");
    }

    #[test]
    fn a_rollback_goes_back_one_promotion_each_time() {
        for (moves, target) in [
            (vec![], None),
            (vec![(None, 1)], None),
            (vec![(None, 1), (Some(1), 2)], Some(1)),
            (vec![(None, 1), (Some(1), 2), (Some(2), 3)], Some(2)),
            // Rolled back once, then once more.
            (vec![(None, 1), (Some(1), 2), (Some(2), 3), (Some(3), 2)], Some(1)),
            (vec![(None, 1), (Some(1), 2), (Some(2), 3), (Some(3), 2), (Some(2), 1)], None),
            // Forward again after a rollback: 3 is what was given up.
            (vec![(None, 1), (Some(1), 2), (Some(2), 3), (Some(3), 2), (Some(2), 4)], Some(2)),
            // The beginning of the history is forgotten.
            (vec![(Some(7), 8)], Some(7)),
            (vec![(Some(7), 8), (Some(8), 9), (Some(9), 8)], Some(7)),
            // It is cut between two ways there and back.
            (vec![(Some(8), 7), (Some(7), 8)], Some(7)),
            (vec![(Some(8), 7)], None),
        ] {
            assert_eq!(rollback_target(&moves), target, "{moves:?}");
        }
    }

    #[test]
    fn retention_takes_the_oldest_that_nothing_uses() {
        let all = |used: &[u32]| (1..=10).map(|n| Retained { number: n, in_use: used.contains(&n) }).collect::<Vec<_>>();
        assert_eq!(surplus(&all(&[10]), Some(3)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(surplus(&all(&[2, 5, 10]), Some(3)), [1, 3, 4, 6]);
        assert_eq!(surplus(&all(&[]), Some(9)), [0; 0], "the newest stays whatever happens");
        assert_eq!(surplus(&all(&[]), Some(1)), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(surplus(&all(&[10]), None), [0; 0]);
        assert_eq!(surplus(&[], Some(1)), [0; 0]);
    }
}
