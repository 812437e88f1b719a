//! Which updates, advisories and vulnerabilities touch a host: decided on the server from package sets, snapshots, advisories and the
//! host's rules, without waking the host, and as its own package manager would answer. DESIGN decision 12.
//!
//! Everything is interned to integers (module `intern`); a host is a set of *lots* (what it has of one name); hosts of one kind
//! (system, rules, views) share what follows from a lot, and hosts with equal lots are one class with one result. A change touches
//! the lots it names and the classes that hold them.
//!
//! Not decided here: dependencies. A candidate that cannot be installed because something it needs is missing is offered, as
//! `dnf check-update` and `apt list --upgradable` offer it.

mod advisories;
mod class;
mod codec;
mod env;
pub mod facts;
mod fleet;
mod intern;
mod modular;
mod patterns;
mod persist;
mod report;
mod rules_apt;
mod rules_rpm;
mod settled;
mod snapshot;
mod tables;
mod verdict;

pub use advisories::Origin;
pub use class::{BySeverity, HostCounts};
pub use codec::BadState;
pub use fleet::{Fleet, HostInput, Settled};
pub use report::{
    AdvisoryPackage, AdvisoryTotal, HostAdvisory, HostReport, HostUpdate, HostVulnerability, OpenPackage, Stats,
    VulnerabilityTotal,
};
pub use settled::{SettledPackage, SettledVulnerability};
pub use tables::PackageKey;
pub use verdict::OpenState;
