//! Rows, SQL, transactions and migrations, on SQLite and PostgreSQL with one SQL text.
//!
//! A function here reads or writes rows and says how many it changed; what that means is decided in `control`.
//! Absent on purpose: decisions, HTTP types, a clock (every time is an argument, no `now()` in SQL).
//!
//! Rules of the SQL: `$1` parameters; BIGINT, TEXT and BYTEA columns; times in microseconds; flags 0 or 1; JSON as
//! TEXT; updates that follow a decision are conditional on the version that was read; lists are read by key, never by
//! offset.

mod db;
mod error;
pub mod records;

pub use db::{Location, Store, Tx};
pub use error::{StoreError, StoreResult};
