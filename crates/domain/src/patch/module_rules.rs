//! Which module changes a host allows, by what its repositories offer and what is enabled. Pure; the rules are those of
//! Oracle's OS Management:
//!
//! - the enabled stream may be enabled again, another one only be switched to;
//! - a module is disabled after its profiles are gone;
//! - a profile needs its stream enabled, or active as the module's default.
//!
//! Every change counts with the others of its job: `remove` before `disable`, `enable` before `install`. Absent: what
//! packages and other modules have to say; dnf's solvers do that.

use std::collections::BTreeMap;

use super::modules::{ModuleAction, ModuleChange, ModuleState, ModuleStatus, ModuleStream};

/// Names in a refusal, count.
const NAMED_MAX: usize = 20;

/// The modules of a host.
#[derive(Debug, Clone, Default)]
pub struct HostModules {
    /// What the repositories offer.
    pub streams: Vec<ModuleStream>,
    /// What is set, by module.
    pub states: BTreeMap<String, ModuleState>,
}

impl HostModules {
    /// The state of a module.
    pub fn state(&self, module: &str) -> ModuleState {
        self.states.get(module).cloned().unwrap_or_default()
    }

    fn of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a ModuleStream> {
        self.streams.iter().filter(move |s| s.module == module)
    }

    fn default_stream(&self, module: &str) -> Option<&str> {
        self.streams.iter().find(|s| s.module == module && s.is_default).map(|s| s.stream.as_str())
    }

    /// Why `change` is refused beside the other changes of its job; `None` when it is allowed.
    pub fn refusal(&self, change: &ModuleChange, job: &[ModuleChange]) -> Option<String> {
        let (module, state) = (change.module.as_str(), self.state(&change.module));
        if self.of(module).next().is_none() {
            // A module that went from the repositories can still be let go.
            let may_go = change.action == ModuleAction::Reset && state.status != ModuleStatus::Unset;
            return (!may_go).then(|| format!("no repository of this host offers a module {module}"));
        }
        if let Some(stream) = &change.stream
            && !self.of(module).any(|s| s.stream == *stream)
        {
            let known = self.of(module).map(|s| s.stream.clone()).collect();
            return Some(format!("{module} has no stream {stream}; it has {}", listed(known)));
        }
        match change.action {
            ModuleAction::Enable => self.enable(change, &state),
            ModuleAction::Disable => disable(change, &state, job),
            ModuleAction::Install => self.install(change, &state, job),
            ModuleAction::Switch | ModuleAction::Reset | ModuleAction::Remove => None,
        }
    }

    fn enable(&self, change: &ModuleChange, state: &ModuleState) -> Option<String> {
        let stream = change.stream.as_deref()?;
        let other = state.status == ModuleStatus::Enabled && state.stream != stream;
        other.then(|| format!("stream {} is enabled; use switch:{}:{stream}", state.stream, change.module))
    }

    fn install(&self, change: &ModuleChange, state: &ModuleState, job: &[ModuleChange]) -> Option<String> {
        let (module, stream, profile) = (&change.module, change.stream.as_deref()?, change.profile.as_deref()?);
        let known: Vec<String> = self.of(module).filter(|s| s.stream == stream).flat_map(|s| s.profiles.clone()).collect();
        if !known.iter().any(|p| p == profile) {
            return Some(format!("{module}:{stream} has no profile {profile}; it has {}", listed(known)));
        }
        let comes = |c: &ModuleChange| {
            c.module == *module
                && matches!(c.action, ModuleAction::Enable | ModuleAction::Switch)
                && c.stream.as_deref() == Some(stream)
        };
        if job.iter().any(comes) {
            return None;
        }
        match state.status {
            ModuleStatus::Enabled if state.stream == stream => None,
            ModuleStatus::Enabled => Some(format!("stream {} is enabled; add switch:{module}:{stream} to the job", state.stream)),
            ModuleStatus::Disabled => Some(format!("the module is disabled; add enable:{module}:{stream} to the job")),
            ModuleStatus::Unset if self.default_stream(module) == Some(stream) => None,
            ModuleStatus::Unset => Some(format!("the stream is not enabled; add enable:{module}:{stream} to the job")),
        }
    }
}

fn disable(change: &ModuleChange, state: &ModuleState, job: &[ModuleChange]) -> Option<String> {
    let goes = |profile: &str| {
        job.iter().any(|c| {
            c.module == change.module
                && c.action == ModuleAction::Remove
                && c.stream.as_deref() == Some(&state.stream)
                && c.profile.as_deref().is_none_or(|p| p == profile)
        })
    };
    let left: Vec<String> = state.profiles.iter().filter(|p| !goes(p)).cloned().collect();
    let hint = format!("add remove:{}:{} to the job", change.module, state.stream);
    (!left.is_empty()).then(|| format!("profiles of it are installed: {}; {hint}", listed(left)))
}

fn listed(mut names: Vec<String>) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` has streams 1 (default) and 2, `b` one stream without default, `gone` is enabled and not offered.
    fn host(states: &[(&str, ModuleStatus, &str, &[&str])]) -> HostModules {
        let stream = |module: &str, stream: &str, is_default: bool| ModuleStream {
            module: module.into(),
            stream: stream.into(),
            is_default,
            profiles: vec!["common".into(), "devel".into()],
            ..Default::default()
        };
        let state = |(module, status, stream, profiles): &(&str, ModuleStatus, &str, &[&str])| {
            let profiles = profiles.iter().map(|p| (*p).to_owned()).collect();
            ((*module).to_owned(), ModuleState { status: *status, stream: (*stream).to_owned(), profiles })
        };
        HostModules {
            streams: vec![stream("a", "1", true), stream("a", "2", false), stream("b", "x", false)],
            states: states.iter().map(state).collect(),
        }
    }

    fn judge(host: &HostModules, job: &[&str]) -> Vec<String> {
        let job: Vec<ModuleChange> = job.iter().map(|c| c.parse().expect("a change")).collect();
        job.iter().map(|c| host.refusal(c, &job).unwrap_or_default()).collect()
    }

    #[test]
    fn rules() {
        use ModuleStatus::{Disabled, Enabled};
        let fresh = host(&[]);
        let on = host(&[("a", Enabled, "1", &["common", "devel"]), ("gone", Enabled, "9", &["x"])]);
        let off = host(&[("a", Disabled, "", &[])]);
        for (host, job, why) in [
            // What is not offered.
            (&fresh, vec!["enable:c:1"], "no repository of this host offers a module c"),
            (&fresh, vec!["reset:c"], "no repository of this host offers a module c"),
            (&fresh, vec!["enable:a:9"], "a has no stream 9; it has 1, 2"),
            (&fresh, vec!["install:a:1/server"], "a:1 has no profile server; it has common, devel"),
            (&on, vec!["reset:gone"], ""),
            (&on, vec!["disable:gone"], "no repository of this host offers a module gone"),
            (&on, vec!["switch:gone:9"], "no repository of this host offers a module gone"),
            // Enabling again is nothing, another stream is a switch.
            (&fresh, vec!["enable:a:2"], ""),
            (&on, vec!["enable:a:1"], ""),
            (&on, vec!["enable:a:2"], "stream 1 is enabled; use switch:a:2"),
            (&off, vec!["enable:a:2"], ""),
            (&on, vec!["switch:a:2"], ""),
            (&fresh, vec!["switch:a:2"], ""),
            (&off, vec!["switch:a:2"], ""),
            // Profiles first, then the module.
            (&on, vec!["disable:a"], "profiles of it are installed: common, devel; add remove:a:1 to the job"),
            (&on, vec!["disable:a", "remove:a:1/common"], "profiles of it are installed: devel; add remove:a:1 to the job"),
            (&on, vec!["disable:a", "remove:a:1"], ""),
            (&on, vec!["disable:a", "remove:a:1/common", "remove:a:1/devel"], ""),
            (&off, vec!["disable:a"], ""),
            (&on, vec!["reset:a"], ""),
            // A profile needs its stream.
            (&fresh, vec!["install:a:1/common"], ""),
            (&fresh, vec!["install:a:2/common"], "the stream is not enabled; add enable:a:2 to the job"),
            (&fresh, vec!["install:b:x/common"], "the stream is not enabled; add enable:b:x to the job"),
            (&fresh, vec!["install:b:x/common", "enable:b:x"], ""),
            (&on, vec!["install:a:1/common"], ""),
            (&on, vec!["install:a:2/common"], "stream 1 is enabled; add switch:a:2 to the job"),
            (&on, vec!["install:a:2/common", "switch:a:2"], ""),
            (&off, vec!["install:a:1/common"], "the module is disabled; add enable:a:1 to the job"),
            // Nothing to remove is no error.
            (&fresh, vec!["remove:a:2/common"], ""),
        ] {
            assert_eq!(judge(host, &job)[0], why, "{job:?}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names = (10..40).map(|i| format!("s{i}")).collect();
        assert!(listed(names).ends_with("s29, 10 more"));
        assert_eq!(listed(Vec::new()), "none");
    }
}
