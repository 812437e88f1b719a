//! Counts failures by address, in a bounded map, and tells who has to wait. Many people and hosts may share an address
//! (behind a forwarder all of them do), so sign-ins are counted apart from tokens, signatures and enrolments, and a token or a
//! signature that is good is taken whatever its neighbours fail with: tokens have 256 bits, so waiting is not what keeps them
//! from being guessed. It keeps a misconfigured or hostile client from filling the audit and the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{FAILURE_ADDRESSES_MAX, FAILURE_WINDOW, FAILURES_PER_ADDRESS_MAX};

/// Failures by address.
#[derive(Debug, Default)]
pub struct FailureLimit(Mutex<HashMap<IpAddr, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    count: u32,
}

impl Window {
    fn is_over(self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= FAILURE_WINDOW
    }
}

impl FailureLimit {
    /// May this address try now? `Err` says how long it has to wait.
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match windows.get(&network_of(address)) {
            Some(w) if !w.is_over(now) && w.count >= FAILURES_PER_ADDRESS_MAX => {
                Err(FAILURE_WINDOW.saturating_sub(now.saturating_duration_since(w.began)))
            }
            _ => Ok(()),
        }
    }

    /// Notes a failure, unless there were too many: `Err` says how long this address waits.
    pub fn note(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.check(address, now)?;
        self.failed(address, now);
        Ok(())
    }

    /// Notes a failure.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network_of(address);
        if windows.len() >= FAILURE_ADDRESSES_MAX && !windows.contains_key(&key) {
            windows.retain(|_, w| !w.is_over(now));
            if windows.len() >= FAILURE_ADDRESSES_MAX
                && let Some(oldest) = windows.iter().min_by_key(|(_, w)| w.began).map(|(k, _)| *k)
            {
                windows.remove(&oldest);
            }
        }
        let window = windows.entry(key).or_insert(Window { began: now, count: 0 });
        if window.is_over(now) {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
    }
}

/// An IPv6 peer owns at least a /64: its addresses count as one.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_waits_after_too_many_failures_and_others_do_not() {
        let limit = FailureLimit::default();
        let now = Instant::now();
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..FAILURES_PER_ADDRESS_MAX {
            limit.check(bad, now).expect("not yet");
            limit.failed(bad, now);
        }
        assert!(limit.check(bad, now).expect_err("waits") <= FAILURE_WINDOW);
        limit.check(good, now).expect("another address");
        limit.check(bad, now + FAILURE_WINDOW).expect("the wait is over");
    }

    #[test]
    fn ipv6_neighbours_count_together_and_the_map_stays_bounded() {
        let limit = FailureLimit::default();
        let now = Instant::now();
        for i in 0..FAILURES_PER_ADDRESS_MAX {
            limit.failed(format!("2001:db8::{i:x}").parse().expect("an address"), now);
        }
        assert!(limit.check("2001:db8::ffff".parse().expect("an address"), now).is_err());
        for i in 0..(FAILURE_ADDRESSES_MAX as u32 + 100) {
            limit.failed(IpAddr::V4(Ipv4Addr::from(i)), now + Duration::from_millis(1));
        }
        assert!(limit.0.lock().expect("not poisoned").len() <= FAILURE_ADDRESSES_MAX);
    }
}
