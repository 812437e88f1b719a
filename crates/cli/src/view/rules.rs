//! Rules of a host: what keeps its package manager from taking updates, or makes it prefer some.

use comfy_table::Table;
use drydock_domain::host_rules::{HostRules, PackageExclude};

use crate::text::{clean, or_dash, table};

/// A line for each rule.
pub fn rules(rules: &HostRules) -> Table {
    let mut rows = table(&["RULE", "WHAT", "REPOSITORY", "DETAILS"]);
    let mut row = |rule: &str, what: &str, repository: &str, details: &str| {
        rows.add_row([rule.to_owned(), clean(what), or_dash(repository), or_dash(details)]);
    };
    for name in &rules.holds {
        row("hold", name, "", "");
    }
    for lock in &rules.locks {
        row("lock", &lock.pattern, &lock.repository, if lock.exclude { "never these versions" } else { "only these versions" });
    }
    let patterns = |rule: &'static str, list: &[PackageExclude], row: &mut dyn FnMut(&str, &str, &str, &str)| {
        list.iter().for_each(|entry| row(rule, &entry.pattern, &entry.repository, ""));
    };
    patterns("exclude", &rules.excludes, &mut row);
    patterns("include only", &rules.includes, &mut row);
    for pin in &rules.pins {
        row("pin", &pin.packages.join(" "), "", &format!("{}: priority {}", pin.pin, pin.priority));
    }
    for module in &rules.modules {
        let state = if module.enabled { format!("stream {}", module.stream) } else { "disabled".to_owned() };
        let profiles = if module.profiles.is_empty() { String::new() } else { format!(", {}", module.profiles.join(", ")) };
        row("module", &module.name, "", &format!("{state}{profiles}"));
    }
    for name in &rules.multi_version {
        row("side by side", name, "", "several versions stay installed");
    }
    let settings = [
        ("default release", rules.default_release.clone()),
        ("architectures", rules.architectures.join(" ")),
        ("platform", rules.platform.clone()),
        ("obsoletes", if rules.ignore_obsoletes { "ignored".to_owned() } else { String::new() }),
        (
            "vendor change",
            rules.vendor_change.map(|allowed| if allowed { "allowed" } else { "refused" }.to_owned()).unwrap_or_default(),
        ),
    ];
    for (rule, what) in settings.iter().filter(|(_, what)| !what.is_empty()) {
        row(rule, what, "", "");
    }
    rows
}

#[cfg(test)]
mod tests {
    use drydock_domain::host_rules::{ModuleState, PackageLock, Pin};

    use super::*;

    #[test]
    fn every_rule_is_a_line() {
        let shown = rules(&HostRules {
            holds: vec!["tar".into()],
            locks: vec![PackageLock { pattern: "nginx-0:1.20*".into(), exclude: true, repository: String::new() }],
            excludes: vec![PackageExclude { pattern: "kernel*".into(), repository: "base".into() }],
            pins: vec![Pin { packages: vec!["a".into(), "b".into()], pin: "release n=x".into(), priority: -1 }],
            modules: vec![ModuleState {
                name: "nodejs".into(),
                stream: "18".into(),
                enabled: true,
                profiles: vec!["common".into()],
            }],
            ignore_obsoletes: true,
            vendor_change: Some(false),
            ..HostRules::default()
        })
        .to_string();
        for want in
            ["hold", "tar", "never these", "kernel*", "base", "a b", "priority -1", "stream 18, common", "ignored", "refused"]
        {
            assert!(shown.contains(want), "{want} in\n{shown}");
        }
        assert!(!shown.contains("platform"));
    }
}
