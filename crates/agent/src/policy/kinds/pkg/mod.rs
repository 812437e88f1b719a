//! Packages, by name and by file, with the host's own package manager; what is for another one is not for this host.

mod by_file;
pub mod database;
mod hold;
mod named;
mod offers;

use std::sync::Arc;

use drydock_domain::policy::PackageResource;

use super::foreign::Foreign;
use crate::policy::kind::Kind;
use by_file::FilePackageKind;
use database::{Database, System};
use named::NamedKind;

/// From the document.
pub fn build(spec: &PackageResource, gcs_base_url: &str, database: &Arc<Database>) -> Box<dyn Kind> {
    let named = [(System::Apt, &spec.apt), (System::Yum, &spec.yum), (System::Zypper, &spec.zypper)];
    if let Some((system, own)) = named.into_iter().find_map(|(system, own)| Some((system, own.as_ref()?))) {
        return Box::new(NamedKind::new(system, own, spec.desired_state, Arc::clone(database)));
    }
    let files = [(System::Apt, &spec.deb), (System::Rpm, &spec.rpm)];
    match files.into_iter().find_map(|(system, own)| Some((system, own.as_ref()?))) {
        Some((system, own)) => Box::new(FilePackageKind::new(system, own, gcs_base_url, Arc::clone(database))),
        None => Box::new(Foreign::new("googet and msi packages are for Windows hosts")),
    }
}

#[cfg(test)]
mod tests;
