//! Which kernel is installed and which one runs: read from `/lib/modules`, which every packaged kernel fills.

use std::cmp::Ordering;
use std::path::Path;

use drydock_domain::inventory::RebootReason;

/// Running and newest installed kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// uname -r.
    pub running: String,
    /// Newest bootable installed kernel; empty when the host has none of its own (a container).
    pub installed: String,
}

impl KernelState {
    /// A reason to reboot when a newer kernel than the running one is installed. Kernels of another flavour
    /// (`-cloud-amd64`, `.el8uek`) than the running one are not compared: which one boots is the boot loader's choice.
    pub fn reboot_reason(&self) -> Option<RebootReason> {
        if self.installed.is_empty() || release_order(&self.installed, &self.running) != Ordering::Greater {
            return None;
        }
        Some(RebootReason {
            source: "kernel".to_owned(),
            detail: format!("kernel {} is installed, {} is running", self.installed, self.running),
        })
    }
}

/// Reads the newest installed kernel under `root` (`/`) and compares it with the running release.
///
/// A directory in `/lib/modules` counts when it has a kernel: `/boot/vmlinuz-RELEASE` (deb, SUSE, RHEL 7) or
/// `RELEASE/vmlinuz` (RHEL 8 and later). Left-over module directories of removed kernels have neither.
pub fn kernel_installed(root: &Path, running: &str) -> KernelState {
    let mut newest = String::new();
    let modules = ["lib/modules", "usr/lib/modules"].map(|d| root.join(d));
    for dir in modules {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(release) = entry.file_name().into_string() else { continue };
            let boot = root.join("boot");
            let bootable = boot.join(format!("vmlinuz-{release}")).exists()
                || boot.join(format!("Image-{release}")).exists()
                || entry.path().join("vmlinuz").exists();
            if !bootable || (!running.is_empty() && flavour(&release) != flavour(running)) {
                continue;
            }
            if newest.is_empty() || release_order(&release, &newest) == Ordering::Greater {
                newest = release;
            }
        }
    }
    KernelState { running: running.to_owned(), installed: newest }
}

/// The part of a release after its version: `6.1.0-30-cloud-amd64` → `cloud-amd64`, `5.15.0-3.60.5.el8uek.x86_64` →
/// `el8uek.x86_64`, `5.14.21-150500.55-default` → `default`.
fn flavour(release: &str) -> &str {
    if let Some(at) = release.find(".el").or_else(|| release.find(".fc")).or_else(|| release.find(".amzn")) {
        // el8_9 and el8_10 are minor releases of one flavour; uek is another one.
        return if release[at..].contains("uek") { "uek" } else { "" };
    }
    match release.split('-').position(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
        Some(n) => release.splitn(n + 1, '-').last().unwrap_or_default(),
        None => "",
    }
}

/// Orders kernel releases by rpm's segment rules, which also suit Debian's and SUSE's release strings.
fn release_order(a: &str, b: &str) -> Ordering {
    drydock_domain::version::rpm::segments(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(kernels: &[&str], left_over: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("boot")).expect("boot");
        for k in kernels.iter().chain(left_over) {
            std::fs::create_dir_all(dir.path().join("lib/modules").join(k)).expect("modules");
        }
        for k in kernels {
            std::fs::write(dir.path().join(format!("boot/vmlinuz-{k}")), "").expect("kernel");
        }
        dir
    }

    #[test]
    fn the_newest_bootable_kernel_of_the_running_flavour_is_found() {
        let dir = root(&["6.1.0-9-amd64", "6.1.0-30-amd64", "6.1.0-40-cloud-amd64"], &["6.9.0-1-amd64"]);
        let state = kernel_installed(dir.path(), "6.1.0-9-amd64");
        assert_eq!(state.installed, "6.1.0-30-amd64");
        assert!(state.reboot_reason().expect("a reason").detail.contains("6.1.0-30-amd64"));
        assert_eq!(kernel_installed(dir.path(), "6.1.0-30-amd64").reboot_reason(), None);
    }

    #[test]
    fn minor_releases_of_red_hat_kernels_are_one_flavour() {
        let dir = root(&["4.18.0-553.el8_10.x86_64", "5.15.0-3.el8uek.x86_64"], &[]);
        assert_eq!(kernel_installed(dir.path(), "4.18.0-513.el8_9.x86_64").installed, "4.18.0-553.el8_10.x86_64");
    }

    #[test]
    fn a_container_has_no_kernel_and_no_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = kernel_installed(dir.path(), "6.1.0-9-amd64");
        assert_eq!((state.installed.as_str(), state.reboot_reason()), ("", None));
    }
}
