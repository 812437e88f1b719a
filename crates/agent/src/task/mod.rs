//! Patch tasks: taking orders ([`order`]), deciding ([`machine`]), doing ([`executor`] on a [`host::Host`]), telling
//! ([`report`]). One task runs at a time; the ledger says which.

pub mod control;
pub mod executor;
pub mod host;
pub mod machine;
pub mod order;
pub mod real;
pub mod report;
pub mod script;
pub mod worker;
