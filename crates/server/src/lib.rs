//! The daemon `drydockd`: REST, gRPC, configuration, keys, wiring. A handler decodes, calls one operation of
//! `control`, encodes. Absent on purpose: decisions, SQL.

pub mod audit_forward;
pub mod backup;
pub mod commands;
pub mod config;
pub mod console;
pub mod content_routes;
pub mod failures;
pub mod files;
pub mod first_run;
pub mod grpc;
pub mod identity;
pub mod limits;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod pki;
pub mod rates;
pub mod request;
pub mod rest;
mod running;
pub mod shutdown;
pub mod state;
pub mod web;

pub use running::{Running, Server, StartError};

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
