//! Which packages a host had when, kept small: packages are interned to numbers, a package set is a *class* that equal
//! hosts share, and a host's history is a short list of (time, class).
//!
//! [`class`] writes a set as bytes, alone or as its difference to another class; [`timeline`] writes what a host had
//! from when to when; [`digest`] finds what is stored already. Absent: who mints the numbers, where the bytes are, how long they are kept.

pub mod class;
pub mod digest;
pub mod timeline;
mod varint;

#[cfg(test)]
mod model_tests;

use serde::{Deserialize, Serialize};

pub use timeline::{Holding, Span, Timeline, Window};

/// An interned package: one (name, architecture, version, source, vendor). The number is never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackageId(pub u32);

/// A package set, held by any number of hosts. The number is never given to another set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub u32);

/// Classes between a class and one that is written in full, count: what reading one class may cost in rows.
pub const CHAIN_MAX: u32 = 5;

/// Stored bytes that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored {what} is damaged: {why}")]
pub struct Damaged {
    /// `class` or `timeline`.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What turns one package set into another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdDelta {
    /// In the old set only, ascending.
    pub removed: Vec<PackageId>,
    /// In the new set only, ascending.
    pub added: Vec<PackageId>,
}

/// The difference of two ascending sets.
pub fn diff(old: &[PackageId], new: &[PackageId]) -> IdDelta {
    let mut delta = IdDelta::default();
    let (mut a, mut b) = (0, 0);
    while let (Some(x), Some(y)) = (old.get(a), new.get(b)) {
        match x.cmp(y) {
            std::cmp::Ordering::Equal => {
                a += 1;
                b += 1;
            }
            std::cmp::Ordering::Less => {
                delta.removed.push(*x);
                a += 1;
            }
            std::cmp::Ordering::Greater => {
                delta.added.push(*y);
                b += 1;
            }
        }
    }
    delta.removed.extend_from_slice(old.get(a..).unwrap_or_default());
    delta.added.extend_from_slice(new.get(b..).unwrap_or_default());
    delta
}
