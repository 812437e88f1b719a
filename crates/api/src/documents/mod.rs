//! Documents that people write in YAML or JSON, read so that every problem has a file, a line, a column and the path inside
//! the document. [`tree`] keeps where each value stands, [`de`] gives the values to serde, [`policies`] reads OS policies.
//!
//! Own code because a validator names a *path*, and no serde front end of YAML keeps the way from a path back to its
//! place (docs/decisions/0009). Scalars are read by what a field wants, so that `osVersion: 8` and `'8'` are the same.
//!
//! Absent: fetching files, and what the documents mean.

mod de;
pub mod policies;
mod tree;

pub use policies::{Document, Problem, Read, read_policies};
