//! Small random worlds: a host's package database, its repositories and its rules, from a seed. They are given to the real package
//! managers and to our own engine, and both must answer the same.
//!
//! Packages have no dependencies: which update is *offered* is asked here, not whether a transaction can be solved. Absent:
//! file conflicts, signatures, downloads.

mod ask;
mod deb;
mod rpm;

pub use ask::{Answers, Tool, ask};
pub use deb::{DebStanza, DebWorld, Suite, deb_world};
pub use rpm::{ModuleBuild, RpmWorld, WorldRepository, rpm_world, universe};

/// Deterministic throws (splitmix64, public domain).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// True in `percent` of 100 throws.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Each with this chance, in order.
    pub fn some<T: Clone>(&mut self, of: &[T], percent: usize) -> Vec<T> {
        of.iter().filter(|_| self.chance(percent)).cloned().collect()
    }
}
