//! Mode, owner, group and SELinux label of files and directories: checked every time, not only given at birth.

use std::path::Path;
use std::time::Duration;

use drydock_pkgmgr::run::CommandSpec;

use super::accounts;
use super::place::{Look, Place, Rights};
use crate::policy::kind::{Cx, Failure};

/// Asking for or setting one label.
const RESTORECON_LIMIT: Duration = Duration::from_secs(30);
/// The bits that three digits speak of.
const PLAIN_BITS: u32 = 0o777;

/// What a resource says; what is empty is left as it is.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Three or four octal digits.
    pub permissions: String,
    /// Name or number.
    pub owner: String,
    /// Name or number.
    pub group: String,
    /// SELinux label; empty = what the host's rules say.
    pub label: String,
    /// Of something new.
    pub default_mode: u32,
}

impl Attributes {
    /// What it should have, given what is there.
    pub fn rights(&self, cx: &Cx<'_>, now: Option<&Look>) -> Result<Rights, Failure> {
        let me = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let before = now.map_or_else(
            || Rights { mode: self.default_mode, uid: me().0, gid: me().1 },
            |n| Rights { mode: n.mode, uid: n.uid, gid: n.gid },
        );
        let mode = match u32::from_str_radix(&self.permissions, 8) {
            Err(_) => before.mode,
            // As chmod(1): three digits say nothing about set-id and sticky bits of what is there.
            Ok(mode) if self.permissions.len() <= 3 => mode | now.map_or(0, |n| n.mode & !PLAIN_BITS),
            Ok(mode) => mode,
        };
        Ok(Rights {
            mode,
            uid: if self.owner.is_empty() { before.uid } else { accounts::uid(cx, &self.owner)? },
            gid: if self.group.is_empty() { before.gid } else { accounts::gid(cx, &self.group)? },
        })
    }

    /// The label to set; `None` = the host's rules, or a host without SELinux.
    pub fn exact_label(&self, cx: &Cx<'_>) -> Option<&str> {
        (!self.label.is_empty() && has_selinux(cx.root)).then_some(self.label.as_str())
    }

    /// How what is there differs: `mode 0600 instead of 0644`.
    pub fn differences(&self, cx: &Cx<'_>, path: &str, place: &Place, now: &Look) -> Result<Vec<String>, Failure> {
        let want = self.rights(cx, Some(now))?;
        let mut found = Vec::new();
        if now.mode != want.mode {
            found.push(format!("mode {:04o} instead of {:04o}", now.mode, want.mode));
        }
        if now.uid != want.uid {
            found.push(format!("owner {} instead of {}", accounts::user_name(cx.root, now.uid), self.owner));
        }
        if now.gid != want.gid {
            found.push(format!("group {} instead of {}", accounts::group_name(cx.root, now.gid), self.group));
        }
        if has_selinux(cx.root) {
            if self.label.is_empty() {
                found.extend(relabel(cx, path, true)?.map(|words| format!("SELinux label: {words}")));
            } else {
                let label = place.label().unwrap_or_else(|| "none".to_owned());
                if label != self.label {
                    found.push(format!("SELinux label {label} instead of {}", self.label));
                }
            }
        }
        Ok(found)
    }

    /// Gives what was written or made the label that the host's rules say.
    pub fn label_by_rules(&self, cx: &Cx<'_>, path: &str) -> Result<(), Failure> {
        if self.label.is_empty() && has_selinux(cx.root) {
            relabel(cx, path, false)?;
        }
        Ok(())
    }
}

/// `0644 root:root`.
pub fn told(root: &Path, look: &Look) -> String {
    format!("{:04o} {}:{}", look.mode, accounts::user_name(root, look.uid), accounts::group_name(root, look.gid))
}

/// `0644 root:root`.
pub fn told_rights(root: &Path, rights: &Rights) -> String {
    format!("{:04o} {}:{}", rights.mode, accounts::user_name(root, rights.uid), accounts::group_name(root, rights.gid))
}

/// Does the kernel of this host enforce or log by labels?
pub fn has_selinux(root: &Path) -> bool {
    root.join("sys/fs/selinux/enforce").exists()
}

/// Gives `path` the label of the host's rules; `only_ask`: says whether that would change it.
///
/// ```text
/// $ restorecon -n -v /etc/motd
/// Would relabel /etc/motd from unconfined_u:object_r:user_home_t:s0 to unconfined_u:object_r:etc_t:s0
/// ```
fn relabel(cx: &Cx<'_>, path: &str, only_ask: bool) -> Result<Option<String>, Failure> {
    let args: &[&str] = if only_ask { &["-n", "-v", "--", path] } else { &["-v", "--", path] };
    let command = CommandSpec::new("restorecon", "restorecon", RESTORECON_LIMIT).args(args.iter().copied());
    let Ok(finished) = cx.runner.run(&command) else {
        // A host with the kernel's part and without the tools has no rules to follow.
        return Ok(None);
    };
    if !finished.success() {
        let words = finished.stderr.text();
        return Err(Failure::of(format!("restorecon {path}: {}: {}", finished.describe_end(), words.trim())));
    }
    let words = finished.stdout.text().trim().to_owned();
    Ok((!words.is_empty()).then_some(words))
}
