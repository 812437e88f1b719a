//! apt_preferences(5): the file, then the directory's files by name; of those only the ones apt would read.
//!
//! ```text
//! Explanation: stay with the stable branch
//! Package: nginx src:openssl
//! Pin: release a=stable, n=bookworm
//! Pin-Priority: 990
//! ```

use std::path::Path;

use drydock_domain::host_rules::Pin;

use super::{files, text};

/// Reads every stanza in the order apt does.
pub(super) fn read(file: &Path, parts: &Path) -> Vec<Pin> {
    let beside = files(parts, is_read);
    let texts = std::iter::once(file.to_owned()).chain(beside).filter_map(|path| text(&path));
    texts.flat_map(|text| stanzas(&text)).collect()
}

/// Without a suffix or with `.pref`; letters, digits, `-`, `_` and `.` only.
fn is_read(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    plain && !name.starts_with('.') && matches!(suffix, None | Some("pref"))
}

fn stanzas(text: &str) -> Vec<Pin> {
    let mut pins = Vec::new();
    let mut draft: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            pins.extend(pin(&std::mem::take(&mut draft)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = draft.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            draft.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    pins
}

/// A stanza that lacks a field, or has priority 0, is none to apt.
fn pin(fields: &[(String, String)]) -> Option<Pin> {
    let get = |key: &str| fields.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let packages: Vec<String> = get("package")?.split_whitespace().map(str::to_owned).collect();
    let priority: i32 = get("pin-priority")?.parse().ok().filter(|priority| *priority != 0)?;
    let pin = get("pin").filter(|pin| !pin.is_empty())?.to_owned();
    (!packages.is_empty()).then_some(Pin { packages, pin, priority })
}
