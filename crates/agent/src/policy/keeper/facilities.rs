//! What the worker works with: the host's systemd, processes and watches, or a test's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock_domain::policy::Resource;
use drydock_domain::policy::host::SECRET_MARKS;
use drydock_pkgmgr::run::{Runner, SystemRunner};

use super::gate::{Prober, RealProber};
use crate::detached::{DetachedRunner, own_program};
use crate::paths::Paths;
use crate::policy::engine::{Line, Workplace};
use crate::policy::kind::{Kind, Secrets, Units, Watch};
use crate::policy::kinds::{self, HostFacts};
use crate::policy::site::Files;
use crate::policy::systemd;

/// Makes something to be done out of a resource.
pub type Build = dyn Fn(&Resource, &HostFacts) -> Box<dyn Kind> + Send;
/// Sets what is watched; it is when this returns.
pub type SetWatches = dyn FnMut(&BTreeSet<Watch>) + Send;

/// What the worker works with.
pub struct Facilities {
    /// Kinds of resources.
    pub build: Box<Build>,
    /// systemd.
    pub units: Box<dyn Units>,
    /// Reading commands and scripts.
    pub runner: Box<dyn Runner>,
    /// Watches.
    pub watch: Box<SetWatches>,
    /// Health checks.
    pub prober: Arc<dyn Prober>,
    /// The agent's own program.
    pub program: PathBuf,
}

impl Facilities {
    /// Those of the host.
    pub fn real(watch: impl FnMut(&BTreeSet<Watch>) + Send + 'static) -> Self {
        Facilities {
            build: Box::new(kinds::build),
            units: systemd::units(),
            runner: Box::new(SystemRunner::new()),
            watch: Box::new(watch),
            prober: Arc::new(RealProber),
            program: own_program(),
        }
    }
}

/// Id of a run, as in the log and the results.
pub fn run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Does its text hold a secret's mark?
pub fn names_secret(resource: &Resource) -> bool {
    serde_json::to_string(resource).is_ok_and(|text| text.contains(SECRET_MARKS.0))
}

/// Removes what is there, a directory with all that is in it.
pub fn remove_any(path: &Path) {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => return,
    };
    if let Err(e) = removed {
        tracing::warn!("cannot remove {}: {e}", path.display());
    }
}

/// What kinds work with.
pub fn workplace<'a>(
    paths: &'a Paths,
    files: &Files,
    with: &'a Facilities,
    transactions: &'a DetachedRunner,
    secrets: &'a dyn Secrets,
) -> Workplace<'a> {
    Workplace {
        root: &paths.root,
        runner: with.runner.as_ref(),
        transactions,
        units: with.units.as_ref(),
        secrets,
        scratch: files.scratch(),
        memory: Some(files.memory()),
    }
}

/// Google's lines, with their labels.
pub fn say(line: &Line<'_>) {
    let Line { quiet, assignment, policy, resource, text } = line;
    match (*quiet, assignment.is_empty(), resource.is_empty()) {
        (true, ..) => tracing::debug!(os_policy_assignment = assignment, os_policy_id = policy, resource_id = resource, "{text}"),
        (false, true, _) => tracing::info!("{text}"),
        (false, false, true) => tracing::info!(os_policy_assignment = assignment, os_policy_id = policy, "{text}"),
        (false, false, false) => {
            tracing::info!(os_policy_assignment = assignment, os_policy_id = policy, resource_id = resource, "{text}");
        }
    }
}
