//! Package repositories: upstream bytes → verified units → snapshot → publication, in one directory.
//!
//! Absent on purpose: the database (callers keep roots, heads and states as rows), the wire, and any decision about
//! who may have what. `now` is an argument everywhere; the clock is read only to time network reads out.
//!
//! Blocking code is plain functions that callers wrap in `spawn_blocking`; only fetching, syncing and on-demand units
//! are async.

pub mod airgap;
pub mod content;
pub mod deb;
pub mod decompress;
pub mod derive;
pub mod diff;
pub mod digest;
pub mod error;
mod facade;
pub mod facts;
pub mod feeds;
pub mod fetch;
pub mod find;
mod flight;
pub mod fuzz;
pub mod gc;
pub mod head;
pub mod objects;
pub mod openpgp;
pub mod path;
pub mod rpm;
pub mod secret;
pub mod serve;
pub mod snapshot;
pub mod spool;
pub mod sync;
pub mod tree;
pub mod units;
mod zchunk;

pub use content::Content;
pub use error::{ContentError, ContentResult};
pub use head::{Head, Publication, PublishedFile};
pub use secret::Secret;
pub use sync::{Findings, LocalFile, LocalRequest, Progress, ProgressSink, SyncError, SyncOutcome, SyncRequest, SyncState};
