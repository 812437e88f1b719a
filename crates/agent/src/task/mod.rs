//! Patch tasks: taking orders ([`order`]), deciding ([`machine`]), doing ([`executor`] on a [`host::Host`]), telling
//! ([`report`]). One task runs at a time; the ledger says which. A task that waits for its maintenance window or a reboot
//! slot ([`slots`]) lets others go first.

pub mod control;
pub mod executor;
mod fetch;
mod frozen;
pub mod health;
pub mod host;
pub mod machine;
pub mod order;
mod planning;
pub mod probe;
pub mod real;
pub mod report;
pub mod script;
pub mod slots;
mod soaking;
mod wait;
pub mod worker;
