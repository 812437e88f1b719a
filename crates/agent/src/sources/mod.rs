//! The host's software sources: what the server wants this host to see becomes files of its package manager.
//!
//! ```text
//! server ─ signed document ─> document (kept, fsync) ─> render (pure: files) ─> apply (journal, disk, takeover) ─> report
//!                             certificate (key of its own)
//! ```
//! The document on the disk is the truth while the server is away. The changes are made by a process apart from the
//! daemon ([`worker`]), whose unit may not write where package managers keep their files.
//!
//! Absent: which sources a host sees (the server decides), fetching metadata (the package managers do).

pub mod apply;
mod apt;
pub mod ca_hash;
pub mod certificate;
pub mod disk;
pub mod displace;
pub mod document;
pub mod journal;
pub mod plugin;
pub mod pull;
pub mod render;
mod report;
mod rpm;
pub mod site;
pub mod takeover;
pub mod value;
pub mod watch;
pub mod worker;

pub use report::Outbox;
