//! Operating-system facts: os-release(5), uname(2), machine-id, boot.

use std::path::Path;

use drydock_domain::inventory::{ManagerKind, OsFacts};
use jiff::Timestamp;

use crate::platform;

/// Reads the facts of the host at `root` (`/`).
pub fn read(root: &Path, booted_at: Option<Timestamp>, managers: Vec<ManagerKind>) -> OsFacts {
    let release = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|p| std::fs::read_to_string(root.join(p)).ok())
        .unwrap_or_default();
    let uname = platform::uname();
    let id = value(&release, "ID").unwrap_or_else(|| "linux".to_owned());
    OsFacts {
        hostname: uname.node,
        long_name: value(&release, "PRETTY_NAME").or_else(|| value(&release, "NAME")).unwrap_or_else(|| id.clone()),
        short_name: id,
        version: value(&release, "VERSION_ID").unwrap_or_default(),
        architecture: normal_architecture(&uname.machine).to_owned(),
        kernel_release: uname.release,
        kernel_version: uname.version,
        boot_id: platform::boot_id(),
        booted_at,
        machine_id: platform::machine_id(root),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        managers,
    }
}

/// Google's normal forms of an architecture.
fn normal_architecture(machine: &str) -> &str {
    match machine {
        "amd64" | "x86_64" => "x86_64",
        "i386" | "i486" | "i586" | "i686" => "x86_32",
        other => other,
    }
}

/// A value of os-release(5): shell quoting, the last assignment wins.
fn value(text: &str, key: &str) -> Option<String> {
    let raw = text.lines().filter_map(|l| l.trim().strip_prefix(key)?.strip_prefix('=')).next_back()?.trim();
    let quoted = ['"', '\''].into_iter().find_map(|q| raw.strip_prefix(q)?.strip_suffix(q));
    let mut out = String::new();
    let mut chars = quoted.unwrap_or(raw).chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_with_its_quoting() {
        let text = "NAME='A'\nID=ol\nVERSION_ID=\"8.10\"\nPRETTY_NAME=\"Oracle \\\"Linux\\\" 8\"\nID=debian\n";
        assert_eq!(value(text, "PRETTY_NAME").as_deref(), Some("Oracle \"Linux\" 8"));
        assert_eq!(value(text, "VERSION_ID").as_deref(), Some("8.10"));
        assert_eq!(value(text, "ID").as_deref(), Some("debian"));
        assert_eq!(value(text, "BUILD"), None);
    }

    #[test]
    fn this_host_has_its_facts() {
        let facts = read(Path::new("/"), None, vec![ManagerKind::Apt]);
        assert!(!facts.kernel_release.is_empty() && !facts.short_name.is_empty() && !facts.boot_id.is_empty());
    }
}
