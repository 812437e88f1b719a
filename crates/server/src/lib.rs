//! The daemon `drydockd`: REST, gRPC, configuration, keys, wiring. A handler decodes, calls one operation of
//! `control`, encodes. Absent on purpose: decisions, SQL.

pub mod config;
pub mod failures;
pub mod files;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod pki;
pub mod shutdown;
pub mod state;

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
