//! dnf 4, dnf 5 and yum 3: `excludepkgs`, `includepkgs` and what else of the configuration decides about updates.
//!
//! Checked against dnf 4.14 and dnf 5.4 with `--dump`: equal keys of a section replace each other, `exclude` and
//! `excludepkgs` add up, as do the files of dnf 5 (/usr/share/dnf5/libdnf.conf.d, /etc/dnf/libdnf5.conf.d, of equal names
//! that in /etc, then dnf.conf). yum 3 knows `exclude` only and replaces its list of side-by-side packages.
//!
//! Absent: variables (`$releasever`) in patterns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_domain::host_rules::{HostRules, PackageExclude};
use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::pattern::Pattern;

use super::ini::{self, Section, append};
use super::{below, files, modules, text, versionlock};

/// What dnf lets live side by side; configured words are added.
const DNF_INSTALL_ONLY: [&str; 6] = [
    "kernel",
    "kernel-PAE",
    "installonlypkg(kernel)",
    "installonlypkg(kernel-module)",
    "installonlypkg(vm)",
    "multiversion(kernel)",
];

/// Options of `[main]` or of a repository that count here.
#[derive(Debug, Clone, Default)]
struct Lists {
    excludes: Vec<String>,
    includes: Vec<String>,
}

impl Lists {
    fn read(&mut self, section: &Section, kind: ManagerKind) {
        for (key, value) in &section.options {
            match (key.as_str(), kind) {
                ("exclude", _) | ("excludepkgs", ManagerKind::Dnf | ManagerKind::Dnf5) => append(&mut self.excludes, value),
                ("includepkgs", _) => append(&mut self.includes, value),
                _ => {}
            }
        }
    }
}

/// `[main]` over all its files, and repositories in the order found.
struct Config {
    kind: ManagerKind,
    main: Section,
    lists: Lists,
    install_only: Vec<String>,
    repositories: Vec<(Section, Lists)>,
}

/// Reads the rules of the host at `root`.
pub(super) fn read(kind: ManagerKind, root: &Path) -> HostRules {
    let config = Config::read(kind, root);
    let disabled: Vec<String> = config.main.get("disable_excludes").map(|v| ini::words(v).collect()).unwrap_or_default();
    let off = |repository: &str| disabled.iter().any(|d| d == "all" || d == "*" || d == repository);
    let listed = |patterns: &[String], repository: &str| -> Vec<PackageExclude> {
        let one = |pattern: &String| PackageExclude { pattern: pattern.clone(), repository: repository.to_owned() };
        patterns.iter().map(one).collect()
    };
    let mut rules = HostRules {
        locks: versionlock::read(kind, root, config.main.flag("plugins")),
        modules: modules::read(kind, root),
        multi_version: config.install_only,
        ignore_obsoletes: config.main.flag("obsoletes") == Some(false),
        vendor_change: config.main.flag("allow_vendor_change"),
        platform: platform(&config.main, kind, root),
        ..HostRules::default()
    };
    if !off("main") {
        rules.excludes = listed(&config.lists.excludes, "");
        rules.includes = listed(&config.lists.includes, "");
    }
    let enabled = config.repositories.iter().filter(|(section, _)| section.flag("enabled") != Some(false));
    for (section, lists) in enabled.filter(|(section, _)| !off(&section.name)) {
        rules.excludes.extend(listed(&lists.excludes, &section.name));
        rules.includes.extend(listed(&lists.includes, &section.name));
    }
    rules
}

impl Config {
    fn read(kind: ManagerKind, root: &Path) -> Self {
        let mut config = Config {
            kind,
            main: Section::default(),
            lists: Lists::default(),
            install_only: Vec::new(),
            repositories: Vec::new(),
        };
        for path in main_files(kind, root) {
            config.file(&path, true);
        }
        for dir in config.repository_dirs() {
            for path in files(&below(root, &dir), |name| name.ends_with(".repo")) {
                config.file(&path, false);
            }
        }
        if kind == ManagerKind::Dnf5 {
            config.overrides(root);
        }
        config
    }

    fn file(&mut self, path: &Path, may_be_main: bool) {
        for section in text(path).map(|text| ini::parse(&text)).unwrap_or_default() {
            if section.name != "main" {
                let mut lists = Lists::default();
                lists.read(&section, self.kind);
                self.repositories.push((section, lists));
            } else if may_be_main {
                self.lists.read(&section, self.kind);
                if let Some(value) = section.get("installonlypkgs") {
                    if self.install_only.is_empty() && self.kind != ManagerKind::Yum {
                        self.install_only = DNF_INSTALL_ONLY.map(str::to_owned).to_vec();
                    }
                    append(&mut self.install_only, value);
                }
                // Of single values the file read last decides.
                self.main.options.retain(|(key, _)| section.get(key).is_none());
                self.main.options.extend(section.options);
            }
        }
    }

    fn repository_dirs(&self) -> Vec<String> {
        let default: &[&str] = match self.kind {
            ManagerKind::Dnf5 => &["etc/yum.repos.d", "etc/distro.repos.d", "usr/share/dnf5/repos.d"],
            _ => &["etc/yum.repos.d", "etc/yum/repos.d", "etc/distro.repos.d"],
        };
        match self.main.get("reposdir") {
            Some(dirs) if !dirs.is_empty() => ini::words(dirs).collect(),
            _ => default.iter().map(|dir| (*dir).to_owned()).collect(),
        }
    }

    /// dnf 5: options put over those of repositories, whose ids may be patterns.
    fn overrides(&mut self, root: &Path) {
        for path in merged(root, "usr/share/dnf5/repos.override.d", "etc/dnf/repos.override.d", ".repo") {
            for section in text(&path).map(|text| ini::parse(&text)).unwrap_or_default() {
                let Ok(matcher) = Pattern(section.name.clone()).compile() else { continue };
                for (repository, lists) in self.repositories.iter_mut().filter(|(r, _)| matcher.matches(&r.name)) {
                    lists.read(&section, self.kind);
                    repository.options.retain(|(key, _)| section.get(key).is_none());
                    repository.options.extend(section.options.clone());
                }
            }
        }
    }
}

/// The files that may have a section `[main]`, the one that decides last.
fn main_files(kind: ManagerKind, root: &Path) -> Vec<PathBuf> {
    match kind {
        ManagerKind::Yum => vec![root.join("etc/yum.conf")],
        ManagerKind::Dnf5 => {
            let mut paths = merged(root, "usr/share/dnf5/libdnf.conf.d", "etc/dnf/libdnf5.conf.d", ".conf");
            paths.push(root.join("etc/dnf/dnf.conf"));
            paths
        }
        _ => vec![root.join("etc/dnf/dnf.conf")],
    }
}

/// The files of two directories by name; of two equal names the one of the second directory.
fn merged(root: &Path, vendor: &str, own: &str, suffix: &str) -> Vec<PathBuf> {
    let all = [vendor, own].into_iter().flat_map(|dir| files(&root.join(dir), |name| name.ends_with(suffix)));
    let by_name: BTreeMap<_, _> = all.filter_map(|path| Some((path.file_name()?.to_owned(), path))).collect();
    by_name.into_values().collect()
}

/// The platform that module streams are built for.
fn platform(main: &Section, kind: ManagerKind, root: &Path) -> String {
    if kind == ManagerKind::Yum {
        return String::new();
    }
    if let Some(platform) = main.get("module_platform_id").filter(|platform| !platform.is_empty()) {
        return platform.to_owned();
    }
    let release = ["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| text(&root.join(path))).unwrap_or_default();
    let value = release.lines().filter_map(|line| line.trim().strip_prefix("PLATFORM_ID=")).next_back();
    value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
}
