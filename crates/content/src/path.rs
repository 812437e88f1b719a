//! Paths that upstreams and clients name: relative, without tricks, and how they look inside a URL.
//!
//! Absent: the file system. What passes here is joined to URLs and compared with names; nothing in this room opens a
//! file by a name that came from outside.

use std::fmt::Write as _;

/// Longest path below a repository, bytes.
pub const PATH_MAX_BYTES: usize = 1024;

/// A path that is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} is refused: {problem}")]
pub struct UnsafePath {
    /// The path, cut to 200 characters.
    pub path: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Checks a path that metadata names (`Filename:`, `href`): relative, no scheme, no `..`, no control characters, at most
/// [`PATH_MAX_BYTES`]. `./` and doubled slashes are taken out, as package managers do.
///
/// # Errors
/// [`UnsafePath`] says what is wrong.
pub fn safe_relative(path: &str) -> Result<String, UnsafePath> {
    let refused = |problem| UnsafePath { path: path.chars().take(200).collect(), problem };
    if path.len() > PATH_MAX_BYTES {
        return Err(refused("longer than 1024 bytes"));
    }
    if path.chars().any(char::is_control) {
        return Err(refused("it holds a control character"));
    }
    if path.starts_with('/') {
        return Err(refused("it is absolute"));
    }
    if path.contains('\\') {
        return Err(refused("it holds a backslash"));
    }
    // `a:b` in the first segment reads as a scheme when joined to a URL; an epoch (`foo-1:2.rpm`) comes after a name and
    // is escaped by [`encode_path`], so only `scheme:/` forms are refused.
    if path.split_once(':').is_some_and(|(before, after)| !before.contains('/') && after.starts_with('/')) {
        return Err(refused("it names a scheme"));
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(refused("it leaves its directory")),
            _ => segments.push(segment),
        }
    }
    if segments.is_empty() {
        return Err(refused("it names nothing"));
    }
    Ok(segments.join("/"))
}

/// Percent-encodes a path for a URL: every byte but unreserved characters, `/` and the sub-delimiters that package
/// managers write bare (`+`, `~`, `=`, `,`, `@`, `!`). `+`: mirrors on object stores read a bare plus as a space, so it
/// is escaped too.
pub fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'=' | b',' | b'@' | b'!') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "../a",
            "a/..",
            "http://x/y",
            "file:/x",
            "a\0b",
            "a\nb",
            "a\u{7f}b",
            "a\\b",
            ".",
            "./.",
            "\u{85}",
        ] {
            assert!(safe_relative(bad).is_err(), "{bad:?}");
        }
        assert!(safe_relative(&"a/".repeat(600)).is_err());
        assert_eq!(safe_relative("a/../b").unwrap_err().problem, "it leaves its directory");
    }

    #[test]
    fn ordinary_paths_pass_and_are_made_plain() {
        for (given, plain) in [
            ("pool/main/a/apt/apt_2.6.1_amd64.deb", "pool/main/a/apt/apt_2.6.1_amd64.deb"),
            ("./foo.deb", "foo.deb"),
            ("Packages//a.rpm", "Packages/a.rpm"),
            ("a/foo-1:2.0.rpm", "a/foo-1:2.0.rpm"),
            ("foo_1:2.0.deb", "foo_1:2.0.deb"),
            ("g++-1~rc1.rpm", "g++-1~rc1.rpm"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(safe_relative(given).unwrap(), plain);
        }
    }

    #[test]
    fn paths_are_escaped_for_urls() {
        assert_eq!(encode_path("a/g++_1:2~rc#1?%.deb"), "a/g%2B%2B_1%3A2~rc%231%3F%25.deb");
        assert_eq!(encode_path("ä b"), "%C3%A4%20b");
    }
}
