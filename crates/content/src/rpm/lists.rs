//! One `<package>` of `filelists.xml` or `other.xml`: taken as it is and matched with its package by checksum.

use super::fragments::Shape;
use super::primary::has_foreign_prefix;
use super::xml::{Event, Walker, XmlError, escape};

/// `filelists.xml`. One package: a few MiB for documentation of everything.
pub(crate) const FILELISTS: Shape = Shape { root: "filelists", element: "package", max_bytes: 16 * 1024 * 1024 };
/// `other.xml`.
pub(crate) const OTHER: Shape = Shape { root: "otherdata", element: "package", max_bytes: 16 * 1024 * 1024 };

/// Longest checksum that is looked up, hexadecimal digits: SHA-512.
const PKGID_MAX: usize = 128;

/// A fragment that was checked.
#[derive(Debug)]
pub(crate) struct ListEntry {
    /// Lower case; empty when it is none.
    pub pkgid: String,
    foreign_prefix: bool,
}

impl ListEntry {
    /// Checks a fragment.
    ///
    /// # Errors
    /// [`XmlError`] when it is malformed; the offset is within the fragment.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let mut walker = Walker::new(text);
        let mut entry = ListEntry { pkgid: String::new(), foreign_prefix: false };
        while let Some(event) = walker.next()? {
            let Event::Start(tag) = event else { continue };
            entry.foreign_prefix |= has_foreign_prefix(&tag);
            if tag.start == 0
                && let Some(id) = tag.get("pkgid")
                && id.len() <= PKGID_MAX
                && id.bytes().all(|b| b.is_ascii_hexdigit())
            {
                entry.pkgid = id.to_ascii_lowercase();
            }
        }
        Ok(entry)
    }

    /// The fragment as it is stored: with a line feed, and declarations where it needs them.
    pub fn stored(&self, text: &str, declarations: &str) -> String {
        let mut out = String::with_capacity(text.len() + declarations.len() + 1);
        match text.strip_prefix("<package") {
            Some(rest) if self.foreign_prefix => out.extend(["<package", declarations, rest]),
            _ => out.push_str(text),
        }
        out.push('\n');
        out
    }
}

/// What stands for a package that the upstream's file forgot.
pub(crate) fn empty_entry(pkgid: &str, name: &str, arch: &str, epoch: &str, version: &str, release: &str) -> String {
    format!(
        "<package pkgid=\"{pkgid}\" name=\"{}\" arch=\"{}\">\n  <version epoch=\"{epoch}\" ver=\"{}\" rel=\"{}\"/>\n</package>\n",
        escape(name),
        escape(arch),
        escape(version),
        escape(release)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_matched_by_checksum() {
        let text = "<package pkgid=\"ABC1\" name=\"a\" arch=\"noarch\"><version epoch=\"0\" ver=\"1\" rel=\"1\"/><file>/a</file></package>";
        let entry = ListEntry::parse(text).unwrap();
        assert_eq!(entry.pkgid, "abc1");
        assert_eq!(entry.stored(text, " xmlns:x='y'"), format!("{text}\n"));
        for none in ["<package/>", "<package pkgid='xyz'/>", "<package><file pkgid='ab'/></package>"] {
            assert_eq!(ListEntry::parse(none).unwrap().pkgid, "", "{none}");
        }
        assert!(ListEntry::parse("<package><file></package>").is_err());
    }

    #[test]
    fn an_invented_entry_is_like_a_real_one() {
        let entry = empty_entry("ab", "a&b", "noarch", "1", "1", "2");
        assert_eq!(ListEntry::parse(&entry).unwrap().pkgid, "ab");
        assert!(entry.contains("name=\"a&amp;b\" arch=\"noarch\""));
    }
}
