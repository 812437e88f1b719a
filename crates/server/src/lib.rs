//! The daemon `drydockd`: REST, gRPC, configuration, keys, wiring. A handler decodes, calls one operation of
//! `control`, encodes. Absent on purpose: decisions, SQL.

pub mod config;
pub mod files;
pub mod limits;
pub mod listener;
pub mod pki;
pub mod shutdown;
