//! OS policies on this host: the kept document is brought about and kept true, also while the server is away.
//!
//! ```text
//! server ─ signed document ─> document (kept, fsync) ─> keeper: engine (validate → check → enforce → post-check)
//!                                                         ↑ events (files, units, packages, sysctl), a net of timers
//!                                                         └> outbox (results, drift) ─> link ─> server
//! ```
//! The keeper is a process of its own (`drydock-agent keep-policies`): the daemon's unit may not write to /etc and /usr, and
//! a daemon that restarts does not stop it. [`kind`] is what every kind of resource can do.
//!
//! Absent: which policies a host has (the server decides).

mod cause;
pub mod debounce;
pub mod document;
pub mod engine;
pub mod flap;
pub mod keeper;
pub mod kind;
pub mod kinds;
#[cfg(test)]
mod lab_host;
pub mod leftovers;
pub mod outbox;
pub mod pull;
pub mod site;
pub mod systemd;
pub mod values;
pub mod ward;
pub mod watch;
