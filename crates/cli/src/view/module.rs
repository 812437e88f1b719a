//! Modules of an instance, one line for each stream.

use comfy_table::Table;
use drydock_domain::patch::modules::{HostModule, ModuleStatus, ModuleStream};

use crate::text::{clean, or_dash, table};

/// The table.
pub fn modules(items: &[HostModule]) -> Table {
    let mut rows = table(&["MODULE", "STREAM", "STATE", "PROFILES", "VERSION", "SOURCE", "SUMMARY"]);
    for module in items {
        let gone = (!module.state.stream.is_empty() && !module.streams.iter().any(|s| s.stream == module.state.stream))
            .then(|| ModuleStream { stream: module.state.stream.clone(), ..Default::default() });
        let none = (module.streams.is_empty() && gone.is_none()).then(ModuleStream::default);
        for stream in module.streams.iter().chain(&gone).chain(&none) {
            rows.add_row([
                clean(&module.module),
                or_dash(&stream.stream),
                state(module, stream),
                or_dash(&profiles(module, stream)),
                or_dash(&stream.version),
                or_dash(&stream.repository),
                or_dash(&stream.summary),
            ]);
        }
    }
    rows
}

fn state(module: &HostModule, stream: &ModuleStream) -> String {
    let words = match module.state.status {
        ModuleStatus::Enabled if module.state.stream == stream.stream => "enabled",
        ModuleStatus::Disabled => "disabled",
        ModuleStatus::Unset if stream.is_default => "active",
        ModuleStatus::Enabled | ModuleStatus::Unset => "",
    };
    match (words, stream.is_default) {
        ("", true) => "default".to_owned(),
        ("", false) => "-".to_owned(),
        (words, true) => format!("{words}, default"),
        (words, false) => words.to_owned(),
    }
}

/// Names with marks: `[i]` installed, `[d]` installed when none is named.
fn profiles(module: &HostModule, stream: &ModuleStream) -> String {
    let enabled = module.state.status == ModuleStatus::Enabled && module.state.stream == stream.stream;
    let mut names = stream.profiles.clone();
    if enabled {
        names.extend(module.state.profiles.clone());
    }
    names.sort_unstable();
    names.dedup();
    let mark = |name: &String| {
        let installed = if enabled && module.state.profiles.contains(name) { " [i]" } else { "" };
        let default = if stream.default_profiles.contains(name) { " [d]" } else { "" };
        format!("{name}{default}{installed}")
    };
    names.iter().map(mark).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::render;
    use drydock_domain::patch::modules::ModuleState;

    #[test]
    fn streams_are_told_with_what_is_set() {
        let stream = |stream: &str, is_default| ModuleStream {
            stream: stream.into(),
            is_default,
            profiles: vec!["common".into(), "devel".into()],
            default_profiles: vec!["common".into()],
            version: "20260101".into(),
            repository: "appstream".into(),
            ..Default::default()
        };
        let module = |name: &str, status, on: &str, profiles: &[&str], streams: &[ModuleStream]| HostModule {
            module: name.into(),
            state: ModuleState { status, stream: on.into(), profiles: profiles.iter().map(|p| (*p).into()).collect() },
            streams: streams.to_vec(),
        };
        use ModuleStatus::{Disabled, Enabled, Unset};
        let both = [stream("1", true), stream("2", false)];
        let shown = render(
            modules(&[
                module("a", Enabled, "2", &["devel"], &both),
                module("b", Unset, "", &[], &both[..1]),
                module("c", Disabled, "", &[], &both[1..]),
                module("gone", Enabled, "9", &["x"], &[]),
                module("hidden", Disabled, "", &[], &[]),
            ]),
            0,
            false,
        );
        let lines: Vec<String> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "MODULE STREAM STATE PROFILES VERSION SOURCE SUMMARY",
                "a 1 default common [d], devel 20260101 appstream -",
                "a 2 enabled common [d], devel [i] 20260101 appstream -",
                "b 1 active, default common [d], devel 20260101 appstream -",
                "c 2 disabled common [d], devel 20260101 appstream -",
                "gone 9 enabled x [i] - - -",
                "hidden - disabled - - - -",
            ]
        );
    }
}
