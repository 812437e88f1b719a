//! The host daemon drydock-agent: it tells the server what is installed (inventory), runs the patch tasks the server
//! orders (task), and survives being killed at any moment (ledger, supervise).
//!
//! Threads: one runs everything asynchronous (link, socket, watchers), one collects the inventory, one executes tasks.
//! Policies are kept by a process of its own (policy); a thread here only sees that it runs.
//! Absent on purpose: deciding *what* should be installed; this crate only knows *how*.

/// The command line.
pub mod cli;
/// agent.toml.
pub mod config;
/// Wiring of the daemon.
mod daemon;
/// Commands that outlive the agent.
pub mod detached;
/// Key, certificate, trusted root.
pub mod identity;
/// What the host says of itself.
pub mod inventory;
/// Memory of tasks.
pub mod ledger;
/// The connection to the server.
pub mod link;
/// Logs.
mod logging;
/// Where files are.
pub mod paths;
/// Unix.
pub mod platform;
/// OS policies.
pub mod policy;
/// The local status socket.
pub mod socket;
/// The host's software sources.
pub mod sources;
/// The process that runs one command apart from the agent.
pub mod supervise;
/// Patch tasks.
pub mod task;
/// The systemd unit.
mod unit;
