//! When something keeps changing a resource back: repairs are spaced out instead of fought for. Pure: the time is an argument.
//!
//! After [`REPAIRS_MAX`] repairs of one resource within [`WINDOW`] the next one waits a minute, then two, four, up to an
//! hour. When nothing had to be repaired for a [`WINDOW`] after a wait was over, everything is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::Key;

/// Repairs of one resource within [`WINDOW`] that are made at once, count.
pub const REPAIRS_MAX: usize = 3;
/// What counts as often.
pub const WINDOW: Duration = Duration::from_secs(600);
/// The first wait.
pub const WAIT_FIRST: Duration = Duration::from_secs(60);
/// The longest wait.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);

/// A resource that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// When it may be repaired again.
    pub until: Timestamp,
    /// Repairs since it became restless, count.
    pub repairs: usize,
    /// Nobody was told of this wait yet.
    pub first: bool,
}

#[derive(Debug, Clone, Default)]
struct Record {
    /// Within the window, oldest first.
    repairs: Vec<Timestamp>,
    total: usize,
    wait: Duration,
    until: Option<Timestamp>,
    told: bool,
}

/// Every resource that was repaired lately.
#[derive(Debug, Clone, Default)]
pub struct Flaps {
    records: BTreeMap<Key, Record>,
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl Flaps {
    /// May `key` be repaired now? A wait is said to be new once.
    pub fn may_repair(&mut self, key: &Key, now: Timestamp) -> Result<(), Waits> {
        let Some(record) = self.records.get_mut(key) else { return Ok(()) };
        match record.until {
            Some(until) if now < until => {
                let first = !std::mem::replace(&mut record.told, true);
                Err(Waits { until, repairs: record.total, first })
            }
            _ => Ok(()),
        }
    }

    /// `key` is brought about for the first time, which is no repair; the next time it is.
    pub fn brought(&mut self, key: &Key, now: Timestamp) {
        if self.records.contains_key(key) {
            self.repaired(key, now);
        } else {
            self.records.insert(key.clone(), Record::default());
        }
    }

    /// A repair of `key` begins.
    pub fn repaired(&mut self, key: &Key, now: Timestamp) {
        let record = self.records.entry(key.clone()).or_default();
        // Quiet for long enough since: a new life.
        let last = record.until.or(record.repairs.last().copied());
        if last.is_some_and(|last| now >= after(last, WINDOW)) {
            *record = Record::default();
        }
        record.repairs.retain(|at| after(*at, WINDOW) > now);
        record.repairs.push(now);
        record.total += 1;
        if record.repairs.len() >= REPAIRS_MAX || record.until.is_some() {
            record.wait = if record.wait.is_zero() { WAIT_FIRST } else { (record.wait * 2).min(WAIT_MAX) };
            record.until = Some(after(now, record.wait));
            record.told = false;
            record.repairs.clear();
        }
    }

    /// The first moment after `now` at which a wait ends that kept somebody from repairing.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.records.values().filter(|r| r.told).filter_map(|r| r.until).filter(|until| *until > now).min()
    }

    /// Whose wait is over: to be looked at again. Each is said once.
    pub fn over(&mut self, now: Timestamp) -> Vec<Key> {
        let over = self.records.iter_mut().filter(|(_, r)| r.told && r.until.is_some_and(|until| until <= now));
        over.map(|(key, record)| {
            record.told = false;
            key.clone()
        })
        .collect()
    }

    /// An operator wants it now, or the document changed: only `keep` stay restless.
    pub fn forget(&mut self, keep: impl Fn(&Key) -> bool) {
        self.records.retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { assignment: "a".into(), policy: "p".into(), resource: name.into() }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + secs).expect("in range")
    }

    #[test]
    fn waits_grow_while_it_goes_on_and_end_when_it_is_quiet() {
        let mut flaps = Flaps::default();
        // Second of the try, and how long it has to wait: 0 = it is repaired.
        let table = [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 59),
            (61, 1),
            (62, 0),
            (63, 119),
            (182, 0),
            (183, 239),
            (422, 0),
            (423, 479),
            (902, 0),
            (903, 959),
            (1862, 0),
            (1863, 1919),
            (3782, 0),
            (3783, 3599),
            (7382, 0),
            (7383, 3599),
            // Ten quiet minutes after the wait: a new life.
            (12_000, 0),
            (12_001, 0),
            (12_002, 0),
            (12_003, 59),
        ];
        for (now, wait) in table {
            match flaps.may_repair(&key("x"), at(now)) {
                Ok(()) => {
                    assert_eq!(wait, 0, "at {now}");
                    flaps.repaired(&key("x"), at(now));
                }
                Err(waits) => assert_eq!(waits.until, at(now + wait), "at {now}"),
            }
        }
        assert!(flaps.may_repair(&key("y"), at(12_003)).is_ok(), "another resource is not concerned");
    }

    #[test]
    fn slow_repairs_are_never_too_many_and_a_wait_is_new_once() {
        let mut flaps = Flaps::default();
        for n in 0..50 {
            assert!(flaps.may_repair(&key("slow"), at(n * 301)).is_ok());
            flaps.repaired(&key("slow"), at(n * 301));
        }
        for n in 0..3 {
            flaps.repaired(&key("x"), at(n));
        }
        assert_eq!(flaps.may_repair(&key("x"), at(3)).map_err(|w| (w.first, w.repairs)), Err((true, 3)));
        assert_eq!(flaps.may_repair(&key("x"), at(4)).map_err(|w| w.first), Err(false));
        assert_eq!((flaps.next(at(4)), flaps.over(at(61)).len()), (Some(at(62)), 0));
        assert_eq!(flaps.next(at(62)), None);
        assert_eq!((flaps.over(at(62)), flaps.over(at(62))), (vec![key("x")], Vec::new()));
        for _ in 0..4 {
            assert!(flaps.may_repair(&key("new"), at(9)).is_ok(), "the first time is not counted");
            flaps.brought(&key("new"), at(9));
        }
        assert!(flaps.may_repair(&key("new"), at(9)).is_err());
        flaps.forget(|_| false);
        assert!(flaps.may_repair(&key("x"), at(5)).is_ok(), "an operator asked");
    }
}
