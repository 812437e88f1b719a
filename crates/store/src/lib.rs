//! Rows, SQL, transactions and migrations, on SQLite and PostgreSQL with one SQL text.
//!
//! A function here reads or writes rows and says how many it changed; what that means is decided in `control`.
//! Absent on purpose: decisions, HTTP types, a clock (every time is an argument, no `now()` in SQL).
//!
//! Rules of the SQL: `$1` parameters; BIGINT, TEXT and BYTEA columns; times in microseconds; flags 0 or 1; JSON as
//! TEXT; updates that follow a decision are conditional on the version that was read; lists are read by key, never by
//! offset.

pub mod access_policies;
pub mod access_tokens;
pub mod advisories;
pub mod advisory_feeds;
pub mod advisory_records;
pub mod api_keys;
pub mod approvals;
pub mod attachments;
pub mod audit;
pub mod calendars;
pub mod candidates;
pub mod compartments;
pub mod compliance;
pub mod content_jobs;
mod cursor;
mod db;
pub mod deployments;
pub mod drift;
pub mod dynamic_groups;
pub mod environments;
mod error;
pub mod exceptions;
pub mod feed_chunks;
pub mod fleet;
pub mod fleet_hosts;
pub mod frozen;
pub mod groups;
pub mod history;
pub mod history_classes;
pub mod history_memo;
pub mod history_packages;
mod history_packed;
pub mod history_timelines;
pub mod history_writer;
pub mod host_policies;
pub mod host_sources;
pub mod idempotency;
pub mod instances;
pub mod inventory;
pub mod open_cves;
mod packed;
pub mod patch_jobs;
pub mod patch_tasks;
pub mod pointers;
pub mod policies;
pub mod policy_health;
pub mod policy_hosts;
pub mod policy_previews;
pub mod policy_secrets;
pub mod profiles;
pub mod records;
mod row;
pub mod seen;
pub mod sessions;
pub mod settings;
pub mod snapshots;
pub mod source_records;
pub mod sources;
mod sql;
pub mod undo;
pub mod user_groups;
pub mod users;

pub use cursor::in_memory_page;
pub use db::{Connection, Location, Reader, Store, Tx, commit};
pub use error::{StoreError, StoreResult};
