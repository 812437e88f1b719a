//! Version locks: the plugin of dnf 4 and yum 3, which may be there or not, and dnf 5's own.
//!
//! dnf 4, /etc/dnf/plugins/versionlock.list; `!` in front: these versions are never taken:
//!
//! ```text
//! # Added lock on Sun Nov 22 2026
//! nginx-0:1.20.1-1.el8.*
//! !bash-0:5.1-2.el8.*
//! ```
//!
//! yum 3, /etc/yum/pluginconf.d/versionlock.list: the epoch stands in front, `0:nginx-1.20.1-1.el7.*`.
//!
//! dnf 5, /etc/dnf/versionlock.toml; the conditions of an entry must all hold:
//!
//! ```text
//! version = "1.0"
//! [[packages]]
//! name = "bash"
//! [[packages.conditions]]
//! key = "evr"          # or epoch, arch
//! comparator = "="     # or < <= > >= !=
//! value = "0:5.2.15-1.fc38"
//! ```

use std::path::Path;

use drydock_domain::host_rules::PackageLock;
use drydock_domain::inventory::ManagerKind;
use serde::Deserialize;

use super::{below, files, ini, text};

/// Reads the locks. `plugins` is what `[main]` says of plugins at all.
pub(super) fn read(kind: ManagerKind, root: &Path, plugins: Option<bool>) -> Vec<PackageLock> {
    match kind {
        ManagerKind::Dnf if plugins != Some(false) && has_dnf_plugin(root) => {
            let conf = root.join("etc/dnf/plugins/versionlock.conf");
            plugin_list(root, &conf).map(|text| lines(&text, str::to_owned)).unwrap_or_default()
        }
        // Plugins of yum 3 are off unless its configuration says otherwise.
        ManagerKind::Yum if plugins == Some(true) && root.join("usr/lib/yum-plugins/versionlock.py").exists() => {
            let conf = root.join("etc/yum/pluginconf.d/versionlock.conf");
            plugin_list(root, &conf).map(|text| lines(&text, epoch_behind_name)).unwrap_or_default()
        }
        ManagerKind::Dnf5 => text(&root.join("etc/dnf/versionlock.toml")).map(|text| entries(&text)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The plugin is a Python module of the interpreter that dnf uses; any of them counts.
fn has_dnf_plugin(root: &Path) -> bool {
    let libraries = ["usr/lib", "usr/lib64"].into_iter().flat_map(|dir| std::fs::read_dir(root.join(dir)).into_iter().flatten());
    let pythons = libraries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("python3"));
    pythons
        .flat_map(|python| ["site-packages", "dist-packages"].map(|dir| python.path().join(dir)))
        .any(|packages| !files(&packages.join("dnf-plugins"), |name| name == "versionlock.py").is_empty())
}

/// The list of a plugin, when its configuration has it on.
fn plugin_list(root: &Path, conf: &Path) -> Option<String> {
    let sections = ini::parse(&text(conf)?);
    let main = sections.iter().find(|section| section.name == "main")?;
    // yum wants it said; dnf takes it as on.
    if main.flag("enabled") == Some(false) {
        return None;
    }
    text(&below(root, main.get("locklist")?))
}

fn lines(text: &str, pattern: impl Fn(&str) -> String) -> Vec<PackageLock> {
    let entries = text.lines().filter(|line| !line.starts_with('#')).map(str::trim).filter(|line| !line.is_empty());
    let lock = |line: &str| {
        let (exclude, words) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        PackageLock { pattern: pattern(words), exclude, repository: String::new() }
    };
    entries.map(lock).collect()
}

/// `0:nginx-1.20.1-1.el7.*` as dnf writes it.
fn epoch_behind_name(pattern: &str) -> String {
    let turned = || {
        let (epoch, rest) = pattern.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|b| b.is_ascii_digit()))?;
        let release = rest.rfind('-')?;
        let version = rest.get(..release)?.rfind('-')?;
        Some(format!("{}-{epoch}:{}", rest.get(..version)?, rest.get(version + 1..)?))
    };
    turned().unwrap_or_else(|| pattern.to_owned())
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    packages: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    key: String,
    comparator: String,
    value: String,
}

fn entries(text: &str) -> Vec<PackageLock> {
    match toml::from_str::<Document>(text) {
        Ok(document) => document.packages.iter().filter_map(lock).collect(),
        Err(e) => {
            tracing::debug!("versionlock.toml cannot be read: {e}");
            Vec::new()
        }
    }
}

/// One version becomes a name-version pattern, bounds stay bounds behind the name. An entry without conditions is none
/// to dnf either.
fn lock(entry: &Entry) -> Option<PackageLock> {
    let of = |key: &'static str| entry.conditions.iter().filter(move |c| c.key == key);
    let arch = of("arch").find(|c| matches!(c.comparator.as_str(), "=" | "==")).map_or("*", |c| c.value.as_str());
    let versions: Vec<&Condition> = of("evr").collect();
    let plain = |pattern: String, exclude| Some(PackageLock { pattern, exclude, repository: String::new() });
    match versions.as_slice() {
        [] => {
            let epoch = of("epoch").find(|c| matches!(c.comparator.as_str(), "=" | "=="));
            epoch.and_then(|c| plain(format!("{}-{}:*.{arch}", entry.name, c.value), false))
        }
        [one] if matches!(one.comparator.as_str(), "=" | "==") => plain(format!("{}-{}.{arch}", entry.name, one.value), false),
        [one] if one.comparator == "!=" => plain(format!("{}-{}.{arch}", entry.name, one.value), true),
        bounds => {
            let bounds = bounds.iter().map(|c| format!(" {} {}", c.comparator, c.value)).collect::<String>();
            plain(format!("{}{bounds}", entry.name), false)
        }
    }
}
