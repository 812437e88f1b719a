//! Versions of packages: parse, compare, order. rpm's rules come from a crate that our tests hold against rpm's own
//! table; dpkg's are written here, because the available crates differ from dpkg (on empty revisions and `~`).

pub mod deb;
mod key;
pub mod rpm;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use key::{SortKey, sort_key};

/// Longest version accepted, bytes. Real ones stay below 80; keys and comparisons are bounded by this.
pub const VERSION_MAX_BYTES: usize = 200;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// rpm: `[epoch:]version[-release]`.
    Rpm,
    /// dpkg: `[epoch:]upstream[-revision]`, deb-version(7).
    Deb,
}

/// A version that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version: {why}")]
pub struct BadVersion {
    /// What was given, cut to 64 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl BadVersion {
    pub(crate) fn new(text: &str, why: &'static str) -> Self {
        BadVersion { text: text.chars().take(64).collect(), why }
    }
}

/// Compares two versions by the rules of `scheme`.
pub fn compare(scheme: Scheme, a: &str, b: &str) -> Result<Ordering, BadVersion> {
    match scheme {
        Scheme::Rpm => Ok(rpm::parse(a)?.cmp(&rpm::parse(b)?)),
        Scheme::Deb => Ok(deb::parse(a)?.cmp(&deb::parse(b)?)),
    }
}
