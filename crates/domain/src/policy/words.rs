//! Single texts of a policy: what an id, a path, an address, the name of an account may look like.

use super::check::INLINE_MAX_BYTES;
use crate::patch::spec::Concurrency;
use crate::validate::Problems;

/// Any text that is no script and no content, bytes.
pub(super) const TEXT_MAX_BYTES: usize = 4096;
/// An id, bytes (Google: 63).
const ID_MAX_BYTES: usize = 63;

/// Google's form of ids.
pub(super) fn id(field: &str, id: &str, problems: &mut Problems) {
    let first = id.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !first || !rest || id.ends_with('-') || id.len() > ID_MAX_BYTES {
        problems.add(field, format!("{id:?} is not 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -"));
    }
}

pub(super) fn amount(field: &str, amount: Option<Concurrency>, problems: &mut Problems) {
    match amount {
        Some(Concurrency::Fixed(0)) => problems.add(format!("{field}.fixed"), "must be at least 1"),
        Some(Concurrency::Percent(p)) if !(1..=100).contains(&p) => {
            problems.add(format!("{field}.percent"), "must be between 1 and 100");
        }
        _ => {}
    }
}

pub(super) fn text(field: &str, text: &str, problems: &mut Problems) {
    problems.text(field, text, TEXT_MAX_BYTES);
}

/// A text that is needed and has no line break.
pub(super) fn one_line(field: &str, line: &str, problems: &mut Problems) {
    text(field, line, problems);
    if line.trim().is_empty() {
        problems.add(field, "is needed");
    }
    if line.contains('\n') {
        problems.add(field, "must be one line");
    }
}

/// Content of ours may hold any control character that a file may; only its size counts, and NUL is none of text.
pub(super) fn inline(field: &str, content: &str, problems: &mut Problems) {
    if content.len() > INLINE_MAX_BYTES {
        problems.add(field, format!("is {} bytes long; at most {INLINE_MAX_BYTES} are allowed", content.len()));
    }
    if content.contains('\0') {
        problems.add(field, "holds NUL bytes");
    }
}

/// A word of letters, digits and these signs, beginning with a letter or digit.
pub(super) fn word(field: &str, word: &str, signs: &str, problems: &mut Problems) {
    let good = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    if !word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') || !word.chars().all(good) || word.len() > 255 {
        problems.add(field, format!("{word:?} is not 1 to 255 letters, digits and {signs}"));
    }
}

/// useradd(8)'s portable names, and those of Samba machines.
pub(super) fn account(field: &str, name: &str, problems: &mut Problems) {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_$".contains(c);
    if !first || !name.chars().all(good) || name.len() > 32 {
        problems.add(field, format!("{name:?} is not the name of an account: 1 to 32 of a-z, 0-9, _ and -"));
    }
}

pub(super) fn owners(at: &str, owner: &str, group: &str, problems: &mut Problems) {
    for (name, value) in [("owner", owner), ("group", group)] {
        if !value.is_empty() && !value.bytes().all(|b| b.is_ascii_digit()) {
            account(&format!("{at}.{name}"), value, problems);
        }
    }
}

pub(super) fn path(field: &str, path: &str, problems: &mut Problems) {
    text(field, path, problems);
    if !path.starts_with('/') || path.len() < 2 || path.contains('\n') {
        problems.add(field, format!("{path:?} is not an absolute path"));
    } else if path.split('/').any(|part| part == ".." || part == ".") {
        problems.add(field, "must not hold . or .. parts");
    }
}

/// `C:\…`: of Windows, which no agent reads.
pub(super) fn windows_path(path: &str) -> bool {
    path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && path.get(1..2) == Some(":")
}

pub(super) fn permissions(field: &str, octal: &str, problems: &mut Problems) {
    let good = matches!(octal.len(), 3 | 4) && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if !octal.is_empty() && !good {
        problems.add(field, format!("{octal:?} is not three or four octal digits, such as \"644\""));
    }
}

pub(super) fn address(field: &str, url: &str, problems: &mut Problems) {
    one_line(field, url, problems);
    let known = ["http://", "https://", "file:///", "ftp://", "cdrom:", "gs://"];
    if !url.is_empty() && (!known.iter().any(|scheme| url.starts_with(scheme)) || url.contains(char::is_whitespace)) {
        problems.add(field, format!("{url:?} is not an address such as https://example.org/file"));
    }
}
