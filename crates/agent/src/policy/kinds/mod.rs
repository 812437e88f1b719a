//! Every kind of resource, one file each. [`build`] is the only door: the engine sees [`Kind`] alone.
//!
//! Absent: order, modes, dependencies, time (the engine's), and whose resource it is (the document's).

mod accounts;
mod attributes;
mod command;
mod cron;
mod directory;
mod evidence;
mod exec;
mod file;
mod foreign;
mod group;
mod kernel_module;
mod line;
mod managed;
mod memory;
mod note;
mod pkg;
mod place;
mod repository;
mod service;
#[cfg(test)]
mod settings_tests;
mod source;
mod symlink;
mod sysctl;
#[cfg(test)]
mod testing;
mod timer;
mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock_domain::policy::{Resource, ResourceKind};

use super::kind::Kind;
use cron::CronKind;
use directory::DirectoryKind;
use file::FileKind;
use foreign::Foreign;
use group::GroupKind;
use kernel_module::KernelModuleKind;
use line::LineKind;
pub use memory::{FileMemory, NoMemory};
use pkg::database::Database;
use service::ServiceKind;
use symlink::SymlinkKind;
use sysctl::SysctlKind;
use timer::TimerKind;
use user::UserKind;

/// What resources of one keeper share.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The host: `/`, or a root in tests.
    pub root: PathBuf,
    /// In front of `bucket/object` of a gcs source.
    pub gcs_base_url: String,
    /// Its package manager and packages, read once for all.
    packages: Arc<Database>,
}

impl HostFacts {
    /// For the host at `root`.
    pub fn new(root: &Path, gcs_base_url: &str) -> Self {
        HostFacts { root: root.to_owned(), gcs_base_url: gcs_base_url.to_owned(), packages: Arc::new(Database::new(root)) }
    }
}

/// The resource as something that can be checked and brought about. What no host of this system can have says so.
pub fn build(resource: &Resource, host: &HostFacts) -> Box<dyn Kind> {
    let kinds = resource.kinds();
    let [kind] = kinds.as_slice() else { return Box::new(Foreign::new("the resource is not of exactly one kind")) };
    match kind {
        ResourceKind::File(spec) if is_foreign_path(&spec.path) => Box::new(Foreign::new("the path is one of Windows")),
        ResourceKind::File(spec) => Box::new(FileKind::new(spec, &host.gcs_base_url)),
        ResourceKind::Directory(spec) => Box::new(DirectoryKind::new(spec)),
        ResourceKind::Symlink(spec) => Box::new(SymlinkKind::new(spec)),
        ResourceKind::Line(spec) => Box::new(LineKind::new(spec)),
        ResourceKind::Exec(spec) => exec::build(spec, &host.gcs_base_url),
        ResourceKind::User(spec) => Box::new(UserKind::new(spec)),
        ResourceKind::Group(spec) => Box::new(GroupKind::new(spec)),
        ResourceKind::Sysctl(spec) => Box::new(SysctlKind::new(spec)),
        ResourceKind::KernelModule(spec) => Box::new(KernelModuleKind::new(spec)),
        ResourceKind::Timer(spec) => Box::new(TimerKind::new(spec)),
        ResourceKind::Cron(spec) => Box::new(CronKind::new(spec)),
        ResourceKind::Service(spec) => Box::new(ServiceKind::new(spec)),
        ResourceKind::Pkg(spec) => pkg::build(spec, &host.gcs_base_url, &host.packages),
        ResourceKind::Repository(spec) => repository::build(spec, &host.packages),
    }
}

/// `C:\...`, which the format allows.
fn is_foreign_path(path: &str) -> bool {
    !path.starts_with('/')
}
