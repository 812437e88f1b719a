//! Module streams as the host has set them: /etc/dnf/modules.d of dnf 4, libdnf 5's system state.
//!
//! ```text
//! [nodejs]
//! name=nodejs
//! stream=18
//! profiles=common,development
//! state=enabled
//! ```
//!
//! dnf 5, /usr/lib/sysimage/libdnf5/modules.toml:
//!
//! ```text
//! [modules.nodejs]
//! enabled_stream = "18"
//! state = "Enabled"
//! installed_profiles = ["common"]
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use drydock_domain::host_rules::ModuleState;
use drydock_domain::inventory::ManagerKind;
use serde::Deserialize;

use super::{files, ini, text};

/// Reads them. Modules that are neither enabled nor disabled are left out: their default streams count.
pub(super) fn read(kind: ManagerKind, root: &Path) -> Vec<ModuleState> {
    match kind {
        ManagerKind::Dnf => files(&root.join("etc/dnf/modules.d"), |name| name.ends_with(".module"))
            .iter()
            .filter_map(|path| text(path))
            .flat_map(|text| of_file(&text))
            .collect(),
        ManagerKind::Dnf5 => text(&root.join("usr/lib/sysimage/libdnf5/modules.toml")).map(|t| of_state(&t)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The modules of one file of dnf 4 that are enabled or disabled.
pub(crate) fn of_file(text: &str) -> Vec<ModuleState> {
    ini::parse(text).iter().filter_map(of_section).collect()
}

fn of_section(section: &ini::Section) -> Option<ModuleState> {
    let name = section.get("name").filter(|name| !name.is_empty()).unwrap_or(&section.name);
    let profiles = section.get("profiles").map(|value| ini::words(value).collect()).unwrap_or_default();
    state(name, section.get("state")?, section.get("stream").unwrap_or_default(), profiles)
}

fn state(name: &str, state: &str, stream: &str, profiles: Vec<String>) -> Option<ModuleState> {
    let enabled = match state.to_ascii_lowercase().as_str() {
        "enabled" | "installed" if !stream.is_empty() => true,
        "disabled" => false,
        _ => return None,
    };
    let stream = if enabled { stream.to_owned() } else { String::new() };
    Some(ModuleState { name: name.to_owned(), stream, enabled, profiles })
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    modules: BTreeMap<String, Module>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    enabled_stream: String,
    state: String,
    installed_profiles: Vec<String>,
}

fn of_state(text: &str) -> Vec<ModuleState> {
    match toml::from_str::<State>(text) {
        Ok(all) => all
            .modules
            .into_iter()
            .filter_map(|(name, m)| state(&name, &m.state, &m.enabled_stream, m.installed_profiles))
            .collect(),
        Err(e) => {
            tracing::debug!("modules.toml cannot be read: {e}");
            Vec::new()
        }
    }
}
