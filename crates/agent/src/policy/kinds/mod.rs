//! Every kind of resource, one file each. [`build`] is the only door: the engine sees [`Kind`] alone.
//!
//! Absent: order, modes, dependencies, time (the engine's), and whose resource it is (the document's).

mod foreign;
mod memory;

use std::path::{Path, PathBuf};

use drydock_domain::policy::Resource;

use super::kind::Kind;
use foreign::Foreign;
pub use memory::{FileMemory, NoMemory};

/// What resources of one keeper share.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The host: `/`, or a root in tests.
    pub root: PathBuf,
    /// In front of `bucket/object` of a gcs source.
    pub gcs_base_url: String,
}

impl HostFacts {
    /// For the host at `root`.
    pub fn new(root: &Path, gcs_base_url: &str) -> Self {
        HostFacts { root: root.to_owned(), gcs_base_url: gcs_base_url.to_owned() }
    }
}

/// The resource as something that can be checked and brought about. What no host of this system can have says so.
pub fn build(resource: &Resource, host: &HostFacts) -> Box<dyn Kind> {
    let _ = host;
    match resource.kinds().as_slice() {
        [_] => Box::new(Foreign::new("this agent does not know this kind of resource; upgrade it")),
        _ => Box::new(Foreign::new("the resource is not of exactly one kind")),
    }
}
