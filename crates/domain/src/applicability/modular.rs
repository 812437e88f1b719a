//! dnf's module filter: which packages a host sees, given which streams are enabled or default in what it is offered. Packages of
//! other streams are hidden; a name that an active stream brings is hidden everywhere else, and so is what provides it, except in hotfix repositories.

use super::intern::{IdMap, IdSet, Name, Text, Texts, Version};
use super::snapshot::{Available, AvailableId, Module, Nevra, Snapshot};
use crate::host_rules::HostRules;

/// Turns of the search for streams that others require, count: chains of modules are two or three long.
const REQUIRES_TURNS_MAX: usize = 16;

/// What is hidden.
#[derive(Debug, Default)]
pub(super) struct Modular {
    active: IdSet<Nevra>,
    inactive: IdSet<Nevra>,
    shadowed: IdSet<Name>,
    /// Packages that provide a shadowed name.
    provided: IdSet<AvailableId>,
    /// Streams in force, by module.
    streams: IdMap<Text, Text>,
    /// Which (module, stream) a package version belongs to.
    artifacts: IdMap<(Name, Version), (Text, Text)>,
}

impl Modular {
    /// Of the snapshots a host sees, in the order in which dnf reads them: by priority, then by the repository's id.
    pub fn new(snapshots: &[&Snapshot], rules: &HostRules, architecture: &str, texts: &Texts) -> Self {
        let fits = |m: &&Module| {
            let arch = texts.get(m.arch);
            arch.is_empty() || arch == "noarch" || arch == architecture
        };
        let modules: Vec<&Module> = snapshots.iter().flat_map(|s| &s.modules).filter(fits).collect();
        let mut out = Modular { streams: wanted(snapshots, rules, texts), ..Modular::default() };
        if modules.is_empty() {
            return out;
        }
        let chosen = choose(&modules, &mut out.streams, rules, texts);
        for (n, module) in modules.iter().enumerate() {
            for artifact in &module.artifacts {
                out.artifacts.insert((artifact.0, artifact.2), (module.name, module.stream));
                if chosen.contains(&n) {
                    out.shadowed.insert(artifact.0);
                    out.active.insert(*artifact);
                } else {
                    out.inactive.insert(*artifact);
                }
            }
        }
        for snapshot in snapshots {
            out.provided.extend(out.shadowed.iter().flat_map(|name| snapshot.providing(*name)));
        }
        out
    }

    /// May the host see this package?
    pub fn shows(&self, id: AvailableId, package: &Available, hotfix: bool) -> bool {
        let nevra = (package.name, package.arch, package.version);
        if hotfix || self.active.contains(&nevra) {
            return true;
        }
        !self.inactive.contains(&nevra) && !self.shadowed.contains(&package.name) && !self.provided.contains(&id)
    }

    /// Is this stream in force?
    pub fn in_force(&self, module: Text, stream: Text) -> bool {
        self.streams.get(&module) == Some(&stream)
    }

    /// Which (module, stream) a version of a package belongs to, as far as the host's repositories say.
    pub fn stream_of(&self, name: Name, version: Version) -> Option<(Text, Text)> {
        self.artifacts.get(&(name, version)).copied()
    }
}

/// Streams that the host has enabled, and default streams of modules it says nothing of.
fn wanted(snapshots: &[&Snapshot], rules: &HostRules, texts: &Texts) -> IdMap<Text, Text> {
    let mut streams = defaults(snapshots.iter().flat_map(|s| &s.default_streams));
    streams.retain(|module, _| !rules.modules.iter().any(|m| m.name == texts.get(*module)));
    for state in rules.modules.iter().filter(|m| m.enabled) {
        if let (Some(module), Some(stream)) = (texts.find(&state.name), texts.find(&state.stream)) {
            streams.insert(module, stream);
        }
    }
    streams
}

/// The default streams that repositories agree on, as libmodulemd and libdnf merge them: two statements that differ cancel each
/// other out, unless one of them was written later; after that the next one counts as if it were the first.
fn defaults<'a>(said: impl Iterator<Item = &'a (Text, Text, u64)>) -> IdMap<Text, Text> {
    let mut merged: IdMap<Text, (u64, Option<Text>)> = IdMap::default();
    for (module, stream, modified) in said {
        let (at, kept) = merged.entry(*module).or_insert((*modified, None));
        *kept = match *kept {
            Some(other) if other != *stream && *at == *modified => None,
            Some(other) if *at > *modified => Some(other),
            _ => Some(*stream),
        };
        *at = (*at).max(*modified);
    }
    merged.into_iter().filter_map(|(module, (_, stream))| Some((module, stream?))).collect()
}

/// The builds in force: every one of a stream in force whose requirements hold. Streams that those require are added.
fn choose(modules: &[&Module], streams: &mut IdMap<Text, Text>, rules: &HostRules, texts: &Texts) -> IdSet<usize> {
    for _ in 0..REQUIRES_TURNS_MAX {
        let mut added = false;
        let mut chosen = IdSet::default();
        for (n, module) in modules.iter().enumerate() {
            if streams.get(&module.name) == Some(&module.stream) && holds(module, modules, streams, rules, texts, &mut added) {
                chosen.insert(n);
            }
        }
        if !added {
            return chosen;
        }
    }
    IdSet::default()
}

/// Do a build's requirements hold? One on a module that nobody set picks the first stream that is allowed and there.
fn holds(
    module: &Module,
    modules: &[&Module],
    streams: &mut IdMap<Text, Text>,
    rules: &HostRules,
    texts: &Texts,
    added: &mut bool,
) -> bool {
    module.requires.iter().all(|(name, allowed)| {
        let written = texts.get(*name);
        if written == "platform" {
            let own = rules.platform.strip_prefix("platform:").unwrap_or(&rules.platform);
            return own.is_empty() || allowed.is_empty() || allowed.iter().any(|s| texts.get(*s) == own);
        }
        if let Some(stream) = streams.get(name) {
            return allowed.is_empty() || allowed.contains(stream);
        }
        if rules.modules.iter().any(|m| m.name == written) {
            return false;
        }
        let found = modules.iter().find(|m| m.name == *name && (allowed.is_empty() || allowed.contains(&m.stream)));
        if let Some(found) = found {
            streams.insert(*name, found.stream);
            *added = true;
        }
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_that_contradict_each_other_leave_a_module_without_default() {
        let (one, two) = (Some(1), Some(2));
        for (said, want) in [
            (&[][..], None),
            (&[(9, 1, 0)][..], one),
            (&[(9, 1, 0), (9, 1, 0)], one),
            (&[(9, 1, 0), (9, 2, 0)], None),
            // Asked of dnf 4 and dnf 5.
            (&[(9, 1, 0), (9, 1, 0), (9, 2, 0)], None),
            (&[(9, 1, 0), (9, 2, 0), (9, 1, 0)], one),
            (&[(9, 1, 0), (9, 2, 0), (9, 2, 0)], two),
            (&[(9, 2, 0), (9, 1, 0), (9, 1, 0)], one),
            (&[(9, 2, 0), (9, 1, 0), (9, 2, 0)], two),
            (&[(9, 2, 0), (9, 2, 0), (9, 1, 0)], None),
            (&[(9, 1, 5), (9, 2, 6)], two),
            (&[(9, 2, 6), (9, 1, 5)], two),
            (&[(9, 1, 6), (9, 1, 5), (9, 2, 5)], one),
            (&[(8, 1, 0), (9, 2, 0)], two),
        ] {
            assert_eq!(defaults(said.iter()).get(&9).copied(), want, "{said:?}");
        }
    }
}
