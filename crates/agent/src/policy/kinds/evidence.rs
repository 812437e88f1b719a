//! What shows a difference: a unified diff where both sides are short texts, else sizes and digests. Never a secret: a text
//! that holds one is told by its size alone, because the old side may hold yesterday's value.

use std::time::Duration;

use drydock_domain::policy::Evidence;
use drydock_domain::policy::host::SECRET_MARKS;
use drydock_domain::policy::report::EVIDENCE_MAX_BYTES;
use drydock_pkgmgr::run::Finished;
use similar::TextDiff;

use crate::policy::kind::Cx;

/// Each side of a diff, bytes: what is larger nobody reads as a diff.
pub const DIFF_SIDE_MAX_BYTES: u64 = 256 * 1024;
/// Looking for the shortest diff; then a longer one will do.
const DIFF_LIMIT: Duration = Duration::from_millis(200);
/// Lines around each difference, count.
const CONTEXT_LINES: usize = 3;

/// Does a text of the document hold a secret?
pub fn has_secret(text: &str) -> bool {
    text.contains(SECRET_MARKS.0)
}

/// From `old` (`None` = nothing was there) to `new` (`None` = nothing is to be).
pub fn diff(cx: &Cx<'_>, path: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Evidence {
    let text = |side: Option<&[u8]>| match side {
        None => Some(String::new()),
        Some(bytes) if bytes.len() as u64 > DIFF_SIDE_MAX_BYTES || bytes.contains(&0) => None,
        Some(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    let (Some(old_text), Some(new_text)) = (text(old), text(new)) else {
        return Evidence::State { old: sizes(old), new: sizes(new) };
    };
    let name = |side: Option<&[u8]>| if side.is_some() { path.to_owned() } else { "/dev/null".to_owned() };
    let found = TextDiff::configure().timeout(DIFF_LIMIT).diff_lines(&old_text, &new_text);
    let text = found.unified_diff().context_radius(CONTEXT_LINES).header(&name(old), &name(new)).to_string();
    Evidence::Diff { text: bounded(&cx.secrets.redact(&text)) }
}

/// Size and digest.
pub fn sizes(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "absent".to_owned(),
        Some(bytes) => format!("{} bytes, sha256 {}", bytes.len(), sha256(bytes)),
    }
}

/// Lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Before and after.
pub fn state(old: impl Into<String>, new: impl Into<String>) -> Option<Evidence> {
    Some(Evidence::State { old: old.into(), new: new.into() })
}

/// What a command printed, output and then errors.
pub fn output(cx: &Cx<'_>, finished: &Finished) -> Evidence {
    let text = [finished.stdout.text(), finished.stderr.text()].concat();
    Evidence::Output { end: finished.describe_end(), text: bounded(&cx.secrets.redact(&text)) }
}

/// Without control characters, cut in its middle where it is too long.
pub fn bounded(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c }).collect();
    if clean.len() <= EVIDENCE_MAX_BYTES {
        return clean;
    }
    let half = EVIDENCE_MAX_BYTES / 2 - 64;
    let (mut front, mut back) = (half, clean.len() - half);
    while !clean.is_char_boundary(front) {
        front -= 1;
    }
    while !clean.is_char_boundary(back) {
        back += 1;
    }
    format!("{}\n[{} bytes not shown]\n{}", &clean[..front], back - front, &clean[back..])
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[test]
    fn texts_are_told_as_a_diff_and_the_rest_by_size_and_digest() {
        let bench = Bench::new();
        let cx = bench.cx();
        let Evidence::Diff { text } = diff(&cx, "/etc/x", Some(b"a\nb\n"), Some(b"a\nc\n")) else { panic!("a diff") };
        assert_eq!(text, "--- /etc/x\n+++ /etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        let Evidence::Diff { text } = diff(&cx, "/etc/x", None, Some(b"token=hunter2\n")) else { panic!("a diff") };
        assert_eq!(text, "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+token=[secret pw]\n");
        let Evidence::State { old, new } = diff(&cx, "/etc/x", Some(b"\0"), None) else { panic!("sizes") };
        assert!(old.starts_with("1 bytes, sha256 6e34") && new == "absent", "{old} {new}");
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        let text = bounded(&"é".repeat(EVIDENCE_MAX_BYTES));
        assert!(text.len() <= EVIDENCE_MAX_BYTES && text.contains("bytes not shown"));
        assert_eq!(bounded("a\u{1b}[0m\n"), "a\u{FFFD}[0m\n");
    }
}
