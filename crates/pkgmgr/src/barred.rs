//! Versions that a task must not install on this host, ready to ask about.

use drydock_domain::patch::report::{PlannedAction, SkippedUpdate};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::Barred;

use crate::error::PkgError;

/// Barred versions, checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bars<'a>(&'a [Barred]);

impl<'a> Bars<'a> {
    /// Those of an order: words that may reach a command line.
    pub(crate) fn new(config: &'a PatchConfig) -> Result<Self, PkgError> {
        config.check_barred().map_err(|bad| PkgError::BadPlan { details: bad.to_string() })?;
        Ok(Bars(&config.barred))
    }

    /// Why this version is barred.
    pub(crate) fn why(&self, name: &str, arch: &str, version: &str) -> Option<String> {
        let found = self.0.iter().find(|b| b.name == name && b.arch == arch && b.version == version);
        found.map(Barred::told)
    }

    /// The first action that would install a barred version, and why it must not.
    pub(crate) fn first<'b>(&self, actions: &'b [PlannedAction]) -> Option<(&'b PlannedAction, String)> {
        actions.iter().find_map(|a| Some((a, self.why(&a.name, &a.arch, a.to.as_deref()?)?)))
    }

    /// Refuses a transaction that would install a barred version.
    pub(crate) fn refuse(&self, tool: &str, actions: &[PlannedAction]) -> Result<(), PkgError> {
        match self.first(actions) {
            None => Ok(()),
            Some((action, why)) => Err(PkgError::Refused { tool: tool.to_owned(), details: told(action, &why) }),
        }
    }

    /// rpm's words for them: `name-[epoch:]version-release.arch`.
    pub(crate) fn nevras(&self) -> Vec<String> {
        self.0.iter().map(|b| format!("{}-{}.{}", b.name, b.version, b.arch)).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> &'a [Barred] {
        self.0
    }
}

/// A barred action, for a refusal.
pub(crate) fn told(action: &PlannedAction, why: &str) -> String {
    format!("it would install {} {}, {why}", action.name, action.to.as_deref().unwrap_or_default())
}

/// A barred action, as a skipped update.
pub(crate) fn skipped(action: &PlannedAction, reason: String) -> SkippedUpdate {
    SkippedUpdate { name: action.name.clone(), arch: action.arch.clone(), version: action.to.clone().unwrap_or_default(), reason }
}
