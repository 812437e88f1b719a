//! Why a statement or a matching rule cannot be read, with the place. Absent on purpose: several problems at once; the
//! first one decides what the rest could mean.

use super::scan::Place;

/// A text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct BadStatement {
    /// Which line, from 1.
    pub line: usize,
    /// Where in it, in characters from 1.
    pub column: usize,
    /// What was expected and what is there.
    pub message: String,
}

impl BadStatement {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        BadStatement { line: place.line, column: place.column, message: message.into() }
    }
}
