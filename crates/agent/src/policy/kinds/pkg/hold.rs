//! Keeping a package as it is, in the package manager's own way.

use drydock_domain::inventory::ManagerKind;
use drydock_pkgmgr::rules;

use super::database::refused;
use crate::policy::kind::{Cx, Failure};
use crate::policy::kinds::command;

/// Does the package manager keep the package as it is?
pub fn is_held(cx: &Cx<'_>, manager: ManagerKind, name: &str) -> Result<bool, Failure> {
    let rules = rules::read(manager, cx.root, cx.runner).map_err(|e| refused("holds cannot be read", &e))?;
    let held = rules.holds.iter().any(|h| h.split(':').next() == Some(name));
    let locked = rules.locks.iter().any(|l| !l.exclude && names(&l.pattern, name));
    Ok(held || locked)
}

/// `nginx-0:1.20.1-1.el8.*` and `nginx` name nginx; `nginx-mod-x-0:1-1` does not.
fn names(pattern: &str, name: &str) -> bool {
    let Some(rest) = pattern.strip_prefix(name) else { return false };
    match rest.strip_prefix('-') {
        None => rest.is_empty() || rest.starts_with([' ', '.']),
        Some(version) => version.starts_with(|c: char| c.is_ascii_digit()),
    }
}

/// Holds or releases it.
pub fn set(cx: &Cx<'_>, manager: ManagerKind, name: &str, hold: bool) -> Result<(), Failure> {
    let (program, args): (&str, [&str; 3]) = match (manager, hold) {
        (ManagerKind::Apt, true) => ("apt-mark", ["hold", "--", name]),
        (ManagerKind::Apt, false) => ("apt-mark", ["unhold", "--", name]),
        (ManagerKind::Dnf | ManagerKind::Yum | ManagerKind::Dnf5, _) => {
            let program = match manager {
                ManagerKind::Yum => "yum",
                ManagerKind::Dnf5 => "dnf5",
                _ => "dnf",
            };
            (program, ["versionlock", if hold { "add" } else { "delete" }, name])
        }
        (ManagerKind::Zypper, true) => ("zypper", ["--non-interactive", "addlock", name]),
        (ManagerKind::Zypper, false) => ("zypper", ["--non-interactive", "removelock", name]),
    };
    command::run(cx, program, &args).map(drop).map_err(|f| {
        let hint =
            if matches!(manager, ManagerKind::Dnf | ManagerKind::Yum) { "; is the versionlock plugin installed?" } else { "" };
        Failure { message: format!("{}{hint}", f.message), ..f }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_its_package_and_not_its_neighbours() {
        for pattern in ["nginx-0:1.20.1-1.el8.*", "nginx", "nginx < 2.0", "nginx-1.20.1-1.*"] {
            assert!(names(pattern, "nginx"), "{pattern}");
        }
        for pattern in ["nginx-mod-0:1-1.*", "nginx2", "libnginx"] {
            assert!(!names(pattern, "nginx"), "{pattern}");
        }
    }
}
