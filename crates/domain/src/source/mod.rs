//! Software sources: what an operator says of a repository, what a snapshot of it is, how lifecycle environments point
//! at snapshots, and what one host is to see of all that. Pure; the bytes are the room `content`'s.

pub mod check;
pub mod environment;
pub mod filter;
pub mod host;
pub mod job;
pub mod name;
pub mod resolve;
pub mod spec;
pub mod unit;
pub mod url;
