//! zypper: /etc/zypp/locks, and of zypp.conf `multiversion` and `solver.allowVendorChange`.
//!
//! Locks as zypper 1.14 writes them, a blank line between two; those of other kinds than packages keep no update:
//!
//! ```text
//! type: package
//! version: < 2.0
//! repo: updates
//! match_type: glob
//! case_sensitive: on
//! solvable_name: nginx
//! ```

use std::path::Path;

use drydock_domain::host_rules::{HostRules, PackageLock};

use super::ini::{self, Section};
use super::{files, text};

/// Reads the rules of the host at `root`.
pub(super) fn read(root: &Path) -> HostRules {
    let main = settings(root);
    let mut multi_version: Vec<String> = main.get("multiversion").map(|value| words(value).collect()).unwrap_or_default();
    for path in files(&root.join("etc/zypp/multiversion.d"), |name| !name.starts_with('.')) {
        let text = text(&path).unwrap_or_default();
        multi_version.extend(text.lines().filter(|line| !line.starts_with('#')).flat_map(words));
    }
    HostRules {
        locks: text(&root.join("etc/zypp/locks")).map(|text| locks(&text)).unwrap_or_default(),
        multi_version,
        vendor_change: main.flag("solver.allowVendorChange"),
        ..HostRules::default()
    }
}

/// `[main]` of the vendor's zypp.conf or the host's own in its place, and of the files beside.
fn settings(root: &Path) -> Section {
    let own = root.join("etc/zypp/zypp.conf");
    let base = if own.exists() { own } else { root.join("usr/etc/zypp/zypp.conf") };
    let beside = ["usr/etc/zypp/zypp.conf.d", "etc/zypp/zypp.conf.d"]
        .into_iter()
        .flat_map(|dir| files(&root.join(dir), |name| name.ends_with(".conf")));
    let mut main = Section::default();
    for path in std::iter::once(base).chain(beside) {
        let sections = text(&path).map(|text| ini::parse(&text)).unwrap_or_default();
        for section in sections.into_iter().filter(|section| section.name == "main") {
            main.options.retain(|(key, _)| section.get(key).is_none());
            main.options.extend(section.options);
        }
    }
    main
}

fn words(value: &str) -> impl Iterator<Item = String> {
    ini::words(value).map(|word| word.strip_prefix("provides:").map(str::to_owned).unwrap_or(word))
}

/// One lock being read.
#[derive(Default)]
struct Draft<'a> {
    names: Vec<&'a str>,
    kind: &'a str,
    version: &'a str,
    repository: &'a str,
    matching: &'a str,
}

fn locks(text: &str) -> Vec<PackageLock> {
    let mut locks = Vec::new();
    let mut draft = Draft::default();
    for line in text.lines().map(str::trim).chain([""]) {
        if line.is_empty() {
            locks.extend(std::mem::take(&mut draft).finish());
            continue;
        }
        let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else { continue };
        let value = value.trim();
        match key.trim() {
            "solvable_name" | "query_string" => draft.names.push(value),
            "type" => draft.kind = value,
            "version" => draft.version = value,
            "repo" => draft.repository = value,
            "match_type" => draft.matching = value,
            _ => {}
        }
    }
    locks
}

impl Draft<'_> {
    fn finish(self) -> Vec<PackageLock> {
        if !matches!(self.kind, "" | "package") {
            return Vec::new();
        }
        let pattern = |name: &str| match self.matching {
            "substring" | "word" => format!("*{name}*"),
            "regex" => format!("/{name}/"),
            _ => name.to_owned(),
        };
        let bound = if self.version.is_empty() { String::new() } else { format!(" {}", self.version) };
        let lock =
            |name: &&str| PackageLock { pattern: pattern(name) + &bound, exclude: false, repository: self.repository.to_owned() };
        self.names.iter().map(lock).collect()
    }
}
