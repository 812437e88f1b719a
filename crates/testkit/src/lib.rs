//! What tests and developer commands need around Drydock: real package repositories built from
//! nothing ([`upstream`]), a loopback server for them ([`serve`]), real hosts ([`lab`]), small random worlds that real package
//! managers are asked about ([`worlds`]), and simulated fleets that rollouts are tried on ([`rollout_sim`]).
//!
//! Absent on purpose: anything a shipped crate could depend on, and any knowledge of Drydock's own server or agent; the
//! simulator knows the domain's decisions and nothing else. A lab host is a plain machine; scenarios put Drydock on it.
//!
//! Everything here is blocking. Async tests call it through `tokio::task::spawn_blocking`.

pub mod cache;
pub mod command;
pub mod keys;
pub mod lab;
pub mod oidc;
pub mod process;
pub mod rollout_sim;
pub mod serve;
pub mod upstream;
pub mod wait;
pub mod worlds;
