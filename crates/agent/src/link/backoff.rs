//! How long to wait before the next try. Jitter, because a server that comes back must not meet its whole fleet at once.

use std::time::Duration;

/// First pause, seconds.
pub const FIRST_SECS: f64 = 1.0;
/// Longest pause, seconds.
pub const LAST_SECS: f64 = 60.0;

/// Exponential pauses with jitter.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause: 1 s, 2 s, 4 s … 60 s, of which a random part between half and all (`random` in 0..1).
    pub fn next(&mut self, random: f64) -> Duration {
        let exponent = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let full = (FIRST_SECS * f64::from(1u32 << exponent)).min(LAST_SECS);
        Duration::from_secs_f64(full * (0.5 + 0.5 * random.clamp(0.0, 1.0)))
    }
}

/// A random number in 0..1: the low bits of a version 7 UUID are random.
pub fn random() -> f64 {
    let bits = uuid::Uuid::now_v7().as_u128() as u32;
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_start_over() {
        let mut backoff = Backoff::default();
        let full: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert!(backoff.next(0.0) >= Duration::from_secs(30));
        }
        backoff.reset();
        assert!(backoff.next(0.0) <= Duration::from_secs(1));
        assert!((0.0..1.0).contains(&random()));
    }
}
