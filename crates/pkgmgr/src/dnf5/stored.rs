//! A plan as one of dnf5's stored transactions (`transaction.json`, version 1.0), which `dnf5 replay` carries out
//! exactly or refuses. What `dnf5 --store` writes also names downloaded files; without them replay downloads itself.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use drydock_domain::patch::report::{ActionKind, PlannedAction};
use drydock_domain::patch::undo::{Mark, UndoOrder};
use serde_json::{Value, json};

/// Where stored transactions are put: memory first, so that a full disk does not stop the patching that would mend it.
const PLACES: [&str; 3] = ["/run/drydock-agent", "/run", "/tmp"];

/// A directory with one stored transaction, removed when dropped.
#[derive(Debug)]
pub(crate) struct Stored(PathBuf);

impl Stored {
    /// Writes the transaction. `reasons`: why installed packages are there; `requested`: new ones that a person wants.
    pub(crate) fn write(
        actions: &[PlannedAction],
        reasons: &BTreeMap<(String, String), String>,
        requested: &[String],
        undo: Option<&UndoOrder>,
    ) -> std::io::Result<Self> {
        static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("drydock-transaction-{}-{number}", std::process::id());
        let mut last = std::io::Error::other("no place for a stored transaction");
        for place in PLACES {
            let directory = Path::new(place).join(&name);
            match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {
                    let stored = Stored(directory);
                    std::fs::write(stored.0.join("transaction.json"), document(actions, reasons, requested, undo).to_string())?;
                    return Ok(stored);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Left-overs in /run are gone after the next boot.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn document(
    actions: &[PlannedAction],
    reasons: &BTreeMap<(String, String), String>,
    requested: &[String],
    undo: Option<&UndoOrder>,
) -> Value {
    let marked = |a: &PlannedAction| {
        let order = undo?;
        // A package with a line for each version keeps the mark of the one that comes back.
        let of = order.actions.iter().filter(|u| u.name == a.name && u.arch == a.arch);
        Some(of.clone().find_map(|u| u.mark).map_or_else(|| reason_of_own(reasons, a), |mark| word(mark).to_owned()))
    };
    // A new package that replaces another one must not look like a dependency, or autoremove takes it away one day.
    let replaces = actions.iter().any(|a| a.action == ActionKind::Remove);
    let reason = |a: &PlannedAction| {
        let own = reasons.get(&(a.name.clone(), a.arch.clone())).cloned();
        let dependency = a.action == ActionKind::Install && !replaces && !requested.contains(&a.name);
        marked(a).or(own).unwrap_or_else(|| if dependency { "Dependency" } else { "User" }.to_owned())
    };
    let mut rpms = Vec::new();
    for a in actions {
        let nevra = |version: &String| format!("{}-{version}.{}", a.name, a.arch);
        if let Some(to) = &a.to {
            let word = match a.action {
                ActionKind::Install => "Install",
                ActionKind::Upgrade => "Upgrade",
                ActionKind::Downgrade => "Downgrade",
                ActionKind::Reinstall => "Reinstall",
                ActionKind::Remove => "Remove",
            };
            let file = undo.and_then(|order| order.local_file(&a.name, &a.arch, to));
            rpms.push(match file.filter(|f| f.starts_with('/')) {
                Some(file) => json!({"nevra": nevra(to), "action": word, "reason": reason(a), "package_path": file}),
                None => json!({"nevra": nevra(to), "action": word, "reason": reason(a), "repo_id": a.repository}),
            });
        }
        if let Some(from) = &a.from {
            let word = if a.to.is_some() { "Replaced" } else { "Remove" };
            rpms.push(json!({"nevra": nevra(from), "action": word, "reason": reason(a), "repo_id": "@System"}));
        }
    }
    json!({"version": "1.0", "rpms": rpms})
}

/// Why a package is there; what nobody noted was wanted by a person.
fn reason_of_own(reasons: &BTreeMap<(String, String), String>, action: &PlannedAction) -> String {
    reasons.get(&(action.name.clone(), action.arch.clone())).cloned().unwrap_or_else(|| "User".to_owned())
}

/// dnf5's word for a mark.
fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Person => "User",
        Mark::Dependency => "Dependency",
        Mark::WeakDependency => "Weak Dependency",
        Mark::Group => "Group",
    }
}

/// The mark of dnf5's word; others (`None`, `External User`) are no mark.
pub(crate) fn mark(reason: &str) -> Option<Mark> {
    [Mark::Person, Mark::Dependency, Mark::WeakDependency, Mark::Group].into_iter().find(|m| word(*m) == reason)
}

/// Where dnf5 keeps its reasons, below the host's root.
const REASONS_FILE: &str = "usr/lib/sysimage/libdnf5/packages.toml";

/// Why installed packages are there, by `name.arch`, as dnf5 keeps it:
///
/// ```text
/// version = "1.0"
/// [packages]
/// "curl.x86_64" = {reason="User"}
/// ```
pub(crate) fn kept_reasons(root: &Path) -> BTreeMap<String, String> {
    parse_kept(&std::fs::read_to_string(root.join(REASONS_FILE)).unwrap_or_default())
}

fn parse_kept(text: &str) -> BTreeMap<String, String> {
    let Ok(document) = text.parse::<toml::Table>() else { return BTreeMap::new() };
    let packages = document.get("packages").and_then(toml::Value::as_table).into_iter().flatten();
    packages.filter_map(|(key, value)| Some((key.clone(), value.get("reason")?.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::inventory::UpdateKind;

    #[test]
    fn a_plan_becomes_dnf5s_own_words() {
        let action = |action, name: &str, from: Option<&str>, to: Option<&str>| PlannedAction {
            action,
            name: name.into(),
            arch: "noarch".into(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            repository: "lab".into(),
            kind: UpdateKind::Unknown,
            advisories: Vec::new(),
        };
        let actions =
            [action(ActionKind::Upgrade, "a", Some("1-1"), Some("1:2-1")), action(ActionKind::Install, "b", None, Some("1-1"))];
        let reasons = BTreeMap::from([(("a".to_owned(), "noarch".to_owned()), "Dependency".to_owned())]);
        let stored = Stored::write(&actions, &reasons, &[], None).expect("written");
        let path = stored.directory().to_owned();
        let text = std::fs::read_to_string(path.join("transaction.json")).expect("readable");
        let document: Value = serde_json::from_str(&text).expect("json");
        let rows: Vec<_> = document["rpms"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|r| {
                format!(
                    "{} {} {}",
                    r["nevra"].as_str().unwrap_or(""),
                    r["action"].as_str().unwrap_or(""),
                    r["reason"].as_str().unwrap_or("")
                )
            })
            .collect();
        assert_eq!(
            rows,
            ["a-1:2-1.noarch Upgrade Dependency", "a-1-1.noarch Replaced Dependency", "b-1-1.noarch Install Dependency"]
        );
        drop(stored);
        assert!(!path.exists());
    }
}
