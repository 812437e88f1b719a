//! What tells people that a host is managed, and keeps other repositories out until they are set aside: plugins and
//! settings of the package managers, as far as each has a place for them.
//!
//! | manager | banner | exclusive in memory |
//! |---|---|---|
//! | dnf 4, yum 3 | plugin | plugin |
//! | dnf 5 | its "actions" plugin, where installed | `repos.override.d` |
//! | apt | `APT::Update::Pre-Invoke` ([`super::apt`]) | no such place |
//! | zypper | no such place | no such place |

use std::path::Path;

use drydock_domain::inventory::ManagerKind;
use drydock_pkgmgr::run::{CommandSpec, Runner};

use super::render::{HostFile, Rendered};

/// What people see.
pub const BANNER: &str = "This system is receiving updates from Drydock.";
/// Asking an interpreter for a path.
const ASK_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
const DNF4: &str = include_str!("../../../../packaging/plugins/dnf4.py");
const YUM3: &str = include_str!("../../../../packaging/plugins/yum3.py");
/// dnf 5's "actions" plugin, when it is installed, has this directory.
const ACTIONS_DIR: &str = "/etc/dnf/libdnf5-plugins/actions.d";
/// Where yum 3 looks for plugins.
const YUM3_DIRS: [&str; 2] = ["/usr/lib/yum-plugins", "/usr/share/yum-plugins"];

/// Adds the files of `manager`'s plugin.
pub fn render(facts: &super::render::Facts, exclusive: bool, out: &mut Rendered) {
    let settings = format!("[main]\nenabled=1\nexclusive={}\n", u8::from(exclusive));
    match (facts.manager, facts.plugin_dir.as_deref()) {
        (ManagerKind::Dnf, Some(dir)) => {
            out.dirs.push(("/etc/dnf/plugins".to_owned(), 0o755));
            out.files.push(HostFile::open("/etc/dnf/plugins/drydock.conf", settings));
            out.files.push(HostFile::open(format!("{dir}/drydock.py"), DNF4));
        }
        (ManagerKind::Yum, Some(dir)) => {
            out.dirs.push(("/etc/yum/pluginconf.d".to_owned(), 0o755));
            out.files.push(HostFile::open("/etc/yum/pluginconf.d/drydock.conf", settings));
            out.files.push(HostFile::open(format!("{dir}/drydock.py"), YUM3));
        }
        (ManagerKind::Dnf5, actions) => {
            if let Some(dir) = actions {
                let words = BANNER.replace(' ', "\\ ");
                let action = format!("repos_configured::::/bin/sh -c echo\\ '{words}'\\ >&2\n");
                out.files.push(HostFile::open(format!("{dir}/drydock.actions"), action));
            }
            if exclusive {
                out.dirs.push(("/etc/dnf/repos.override.d".to_owned(), 0o755));
                let text = "# Written by drydock-agent: only Drydock's repositories are used.\n[*]\nenabled=0\n\n[drydock-*]\nenabled=1\n";
                out.files.push(HostFile::open("/etc/dnf/repos.override.d/99-drydock.repo", text));
            }
        }
        _ => {}
    }
}

/// Where the manager of the host at `root` looks for plugins, asked of itself. `None`: it has no such place, and goes
/// without.
pub fn directory(root: &Path, manager: ManagerKind, runner: &dyn Runner) -> Option<String> {
    let there = |dir: &str| root.join(dir.trim_start_matches('/')).is_dir().then(|| dir.to_owned());
    match manager {
        ManagerKind::Dnf => {
            let python = drydock_pkgmgr::dnf_interpreter(root);
            let spec = CommandSpec::new(&python, "python (dnf's plugin path)", ASK_LIMIT)
                .args(["-c", "import dnf.const; print(dnf.const.PLUGINPATH)"]);
            let done = runner.run(&spec).ok().filter(|d| d.success())?;
            let path = done.stdout.text().lines().next_back().map(|l| l.trim().to_owned())?;
            path.starts_with('/').then(|| there(&path)).flatten()
        }
        ManagerKind::Yum => YUM3_DIRS.into_iter().find_map(there),
        ManagerKind::Dnf5 => there(ACTIONS_DIR),
        ManagerKind::Apt | ManagerKind::Zypper => None,
    }
}

/// What Python leaves beside a plugin it has loaded: compiled forms, in `__pycache__` (3) or next to it (2).
pub fn compiled(file: &Path) -> Vec<std::path::PathBuf> {
    let (Some(dir), Some(stem)) = (file.parent(), file.file_stem().and_then(|s| s.to_str())) else { return Vec::new() };
    if file.extension().is_none_or(|e| e != "py") {
        return Vec::new();
    }
    let cached = std::fs::read_dir(dir.join("__pycache__")).into_iter().flatten().flatten().map(|e| e.path());
    let is_ours = |p: &std::path::PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.')) && name.ends_with(".pyc")
    };
    let beside = ["pyc", "pyo"].map(|e| dir.join(format!("{stem}.{e}")));
    cached.filter(is_ours).chain(beside.into_iter().filter(|p| p.exists())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_forms_are_found_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("__pycache__")).expect("made");
        for name in
            ["__pycache__/drydock.cpython-36.opt-1.pyc", "__pycache__/other.pyc", "__pycache__/drydockish.pyc", "drydock.pyo"]
        {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        let found = compiled(&dir.path().join("drydock.py"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(compiled(&dir.path().join("drydock.conf")).is_empty());
    }

    #[test]
    fn the_plugins_print_the_banner_of_all() {
        assert!(DNF4.contains(BANNER) && YUM3.contains(BANNER));
    }
}
