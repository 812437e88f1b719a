//! What somebody may see of the fleet's picture, which is made of all of it: hosts, and the names of sources and environments.
//! Whoever may see everything pays nothing for it.

use std::collections::HashSet;

use drydock_domain::ids::InstanceId;

/// See the module; `None` each: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Hosts.
    pub(crate) hosts: Option<HashSet<InstanceId>>,
    /// Sources by name.
    pub(crate) sources: Option<HashSet<String>>,
    /// Environments by name.
    pub(crate) environments: Option<HashSet<String>>,
}

impl Sight {
    /// Is the host in it?
    pub(crate) fn sees(&self, host: InstanceId) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(&host))
    }

    /// Is the source of this name in it?
    pub(crate) fn sees_source(&self, name: &str) -> bool {
        self.sources.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Those of these environments that are in it.
    pub(crate) fn environments_of(&self, names: &[String]) -> Vec<String> {
        let sees = |name: &&String| self.environments.as_ref().is_none_or(|own| own.contains(*name));
        names.iter().filter(sees).cloned().collect()
    }
}
