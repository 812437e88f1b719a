//! One look for a burst of events: an editor's save is five of them. Pure: the time is an argument. (The package database's
//! long bursts are one event already when they come here.)

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::kind::Watch;

/// This long without another event ends a burst.
pub const QUIET: Duration = Duration::from_millis(20);
/// A burst is looked at this late even when it goes on.
pub const BURST_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Burst {
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + BURST_MAX)
    }
}

/// Events that wait for the end of their burst.
#[derive(Debug, Clone, Default)]
pub struct Debounce {
    bursts: BTreeMap<Watch, Burst>,
}

impl Debounce {
    /// Something happened to `watch`.
    pub fn push(&mut self, watch: Watch, now: Instant) {
        self.bursts.entry(watch).or_insert(Burst { first: now, last: now }).last = now;
    }

    /// When there is something to take; `None` when nothing happened.
    pub fn due(&self) -> Option<Instant> {
        self.bursts.values().map(Burst::due).min()
    }

    /// What is over by now, each with when it began.
    pub fn take(&mut self, now: Instant) -> Vec<(Watch, Instant)> {
        let due: Vec<Watch> = self.bursts.iter().filter(|(_, b)| b.due() <= now).map(|(w, _)| w.clone()).collect();
        due.into_iter().filter_map(|w| self.bursts.remove(&w).map(|b| (w, b.first))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_look_and_a_storm_cannot_put_it_off() {
        let path = || Watch::Path("/etc/motd".into());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        for ms in [0, 5, 9] {
            debounce.push(path(), at(ms));
        }
        assert_eq!(debounce.due(), Some(at(29)));
        assert_eq!(debounce.take(at(28)), []);
        assert_eq!(debounce.take(at(29)), [(path(), at(0))]);
        assert_eq!(debounce.due(), None);
        for ms in 0..200 {
            debounce.push(path(), at(ms));
        }
        assert_eq!(debounce.due(), Some(at(100)));
        assert_eq!(debounce.take(at(100)), [(path(), at(0))]);
    }
}
