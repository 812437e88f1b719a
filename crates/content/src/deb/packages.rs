//! Packages files: the stanzas of an index, one at a time from a stream, each with the fields a unit is made of and its
//! bytes as they are published again (`Filename` rewritten, everything else untouched).
//!
//! A stanza that cannot be a unit is left out with its reason; the rest of the index stands. Bounded by
//! [`STANZA_MAX_BYTES`], whatever the stream holds.
//! Absent: decompression, order, duplicates (see [`super::index`]), relations between packages.

use std::io::{self, Read};

use memchr::{memchr, memmem};

use super::control::{self, BadLine};
use crate::digest::Sha256;

/// Largest stanza, bytes: Debian's largest is 20 kB. Larger ones are skipped.
pub const STANZA_MAX_BYTES: usize = 1024 * 1024;
/// Name of a package, bytes.
pub const NAME_MAX_BYTES: usize = 255;
/// Version of a package, bytes: what `domain::version` reads.
pub const VERSION_MAX_BYTES: usize = 200;
/// `Filename`, bytes.
pub const LOCATION_MAX_BYTES: usize = 1024;
/// Largest package file, bytes (64 GiB).
pub const PACKAGE_MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Read at once, bytes.
const READ_BYTES: usize = 256 * 1024;

/// Why a stanza is no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in the form of a stanza.
    #[error(transparent)]
    Form(#[from] BadLine),
    /// A field that a unit needs.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Twice, and nobody can say which one counts.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
    /// A value that cannot be.
    #[error("`{0}` is not one")]
    Value(&'static str),
    /// Sums of weak algorithms only.
    #[error("it has no SHA256; MD5 and SHA-1 prove nothing")]
    NoSha256,
    /// The path leaves the repository.
    #[error("its Filename leaves the repository")]
    Path,
}

/// One package of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// `Package`.
    pub name: String,
    /// `Architecture`.
    pub arch: String,
    /// `Version`.
    pub version: String,
    /// Name in `Source`; the package's own when there is none.
    pub source: String,
    /// `Filename` as the upstream has it, without `./` in front.
    pub location: String,
    /// `Size`, bytes.
    pub size: u64,
    /// `SHA256`.
    pub sha256: Sha256,
    /// Its stanza as it is published, with the blank line that ends it.
    pub stanza: Vec<u8>,
}

/// What was refused, for a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `name version`, as far as known.
    pub what: String,
    /// Why.
    pub why: Refusal,
}

/// Values of the fields that count, as they were found.
#[derive(Default)]
struct Found<'a> {
    name: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    arch: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    sha256: Option<&'a [u8]>,
    file_at: std::ops::Range<usize>,
}

impl Package {
    /// Reads one stanza (without carriage returns; see [`Stanzas`]).
    ///
    /// # Errors
    /// Why it is no unit.
    pub fn parse(stanza: &[u8]) -> Result<Self, Refused> {
        let mut found = Found::default();
        let read = found.read(stanza);
        let package = read.and_then(|()| found.package(stanza));
        package.map_err(|why| Refused { what: found.label(), why })
    }

    /// Where the package is published, from the root of the archive.
    pub fn pool_path(&self) -> String {
        pool_path(&self.sha256, &self.location)
    }
}

/// `pool/<digest>/<file>`, where a file of this digest and upstream location is published.
pub(crate) fn pool_path(sha256: &Sha256, location: &str) -> String {
    let name = location.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".+~_-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).take(FILE_NAME_MAX_CHARS).collect();
    let name = name.trim_start_matches('.');
    format!("pool/sha256-{sha256}/{}", if name.is_empty() { "package.deb" } else { name })
}

/// A published file name, characters.
const FILE_NAME_MAX_CHARS: usize = 200;

impl<'a> Found<'a> {
    fn read(&mut self, stanza: &'a [u8]) -> Result<(), Refusal> {
        for field in control::fields(stanza) {
            let field = field?;
            // The first letter rules out most fields of a stanza before any name is compared.
            let (slot, name) = match field.name[0] | 0x20 {
                b'p' if field.is("Package") => (&mut self.name, "Package"),
                b'v' if field.is("Version") => (&mut self.version, "Version"),
                b'a' if field.is("Architecture") => (&mut self.arch, "Architecture"),
                b's' if field.is("Source") => (&mut self.source, "Source"),
                b's' if field.is("Size") => (&mut self.size, "Size"),
                b's' if field.is("SHA256") => (&mut self.sha256, "SHA256"),
                b'f' if field.is("Filename") => {
                    self.file_at = field.span.clone();
                    (&mut self.file, "Filename")
                }
                _ => continue,
            };
            if slot.replace(field.value).is_some() {
                return Err(Refusal::Twice(name));
            }
        }
        Ok(())
    }

    fn package(&self, stanza: &[u8]) -> Result<Package, Refusal> {
        let name = word(self.name, "Package", NAME_MAX_BYTES)?;
        let version = word(self.version, "Version", VERSION_MAX_BYTES)?;
        let arch = word(self.arch, "Architecture", NAME_MAX_BYTES)?;
        let size = word(self.size, "Size", NAME_MAX_BYTES)?.parse().map_err(|_| Refusal::Value("Size"))?;
        if size > PACKAGE_MAX_BYTES {
            return Err(Refusal::Value("Size"));
        }
        let sha256 = self.sha256.ok_or(Refusal::NoSha256)?;
        let sha256: Sha256 =
            word(Some(sha256), "SHA256", NAME_MAX_BYTES)?.to_ascii_lowercase().parse().map_err(|_| Refusal::Value("SHA256"))?;
        let location = self.location()?;
        let source = self.source.map(|value| value.split(|byte| matches!(byte, b' ' | b'(' | b'\n')).next().unwrap_or_default());
        let source = source.filter(|value| !value.is_empty()).map(|value| word(Some(value), "Source", NAME_MAX_BYTES));
        let mut package = Package {
            source: source.transpose()?.unwrap_or(name).to_owned(),
            name: name.to_owned(),
            arch: arch.to_owned(),
            version: version.to_owned(),
            location: location.to_owned(),
            size,
            sha256,
            stanza: Vec::new(),
        };
        package.stanza = self.rewritten(stanza, &package.pool_path());
        Ok(package)
    }

    fn location(&self) -> Result<&'a str, Refusal> {
        let file = std::str::from_utf8(self.file.ok_or(Refusal::Missing("Filename"))?).map_err(|_| Refusal::Value("Filename"))?;
        let file = file.trim_start_matches("./");
        if file.is_empty() || file.len() > LOCATION_MAX_BYTES || file.chars().any(char::is_control) || file.contains('\\') {
            return Err(Refusal::Value("Filename"));
        }
        let leaves = file.starts_with('/') || file.split('/').any(|part| part == "..");
        // A scheme would name another server.
        if leaves || file.contains("://") { Err(Refusal::Path) } else { Ok(file) }
    }

    fn rewritten(&self, stanza: &[u8], path: &str) -> Vec<u8> {
        let (before, after) = (&stanza[..self.file_at.start], &stanza[self.file_at.end..]);
        let mut bytes = Vec::with_capacity(stanza.len() + path.len() + 16);
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(b"Filename: ");
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(after);
        let text = bytes.trim_ascii_end().len();
        bytes.truncate(text);
        bytes.extend_from_slice(b"\n\n");
        bytes
    }

    fn label(&self) -> String {
        let shown = |value: Option<&[u8]>| {
            let text = String::from_utf8_lossy(value.unwrap_or(b"?")).into_owned();
            text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
        };
        format!("{} {}", shown(self.name), shown(self.version))
    }
}

/// A value that becomes part of keys and paths: graphic ASCII without a slash.
fn word<'a>(value: Option<&'a [u8]>, name: &'static str, max: usize) -> Result<&'a str, Refusal> {
    let value = value.ok_or(Refusal::Missing(name))?;
    let plain = !value.is_empty() && value.len() <= max && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
    match std::str::from_utf8(value) {
        Ok(text) if plain => Ok(text),
        _ => Err(Refusal::Value(name)),
    }
}

/// One piece of an index.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A stanza without the blank line behind it.
    Stanza(&'a [u8]),
    /// A stanza larger than [`STANZA_MAX_BYTES`]; this is its beginning, the rest was skipped.
    TooLarge(&'a [u8]),
}

/// Splits a stream into stanzas. Carriage returns go; a missing last line end is tolerated.
pub struct Stanzas<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What of the buffer is not handed out yet.
    start: usize,
    /// Up to where it has been searched for the end of a stanza.
    searched: usize,
    ended: bool,
    /// The rest of a stanza that is too large is being skipped.
    skipping: bool,
    carriage_returns: bool,
    blank_line: memmem::Finder<'static>,
}

impl<R: Read> Stanzas<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            ended: false,
            skipping: false,
            carriage_returns: false,
            blank_line: memmem::Finder::new(b"\n\n"),
        }
    }

    /// Whether there were carriage returns so far.
    pub fn carriage_returns(&self) -> bool {
        self.carriage_returns
    }

    /// The next piece.
    ///
    /// # Errors
    /// When the stream fails.
    // Not an iterator: a piece borrows the buffer.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            let end = match self.blank_line.find(&self.buffer[self.searched..]) {
                Some(at) => self.searched + at + 1,
                None if self.ended => self.buffer.len(),
                None => {
                    if let Some(too_large) = self.more()? {
                        return Ok(Some(Piece::TooLarge(&self.buffer[too_large])));
                    }
                    continue;
                }
            };
            let from = self.start;
            self.start = self.buffer.len().min(end + 1);
            self.searched = self.start;
            let skipped = std::mem::take(&mut self.skipping);
            let blanks = self.buffer[from..end].iter().take_while(|byte| **byte == b'\n').count();
            let stanza = from + blanks..end;
            if !skipped && !self.buffer[stanza.clone()].iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(Piece::Stanza(&self.buffer[stanza])));
            }
            if self.ended && self.start >= self.buffer.len() {
                return Ok(None);
            }
        }
    }

    /// Reads on. The range is the beginning of a stanza that has become too large.
    fn more(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        if self.buffer.len() - self.start > STANZA_MAX_BYTES {
            let from = self.start;
            // The last byte stays: the end of the stanza may lie across it.
            self.start = self.buffer.len() - 1;
            self.searched = self.start;
            if !std::mem::replace(&mut self.skipping, true) {
                return Ok(Some(from..from + TOO_LARGE_SHOWN_BYTES));
            }
        }
        self.searched = self.start.max(self.buffer.len().saturating_sub(1)) - self.start;
        self.buffer.drain(..self.start);
        self.start = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + READ_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[old..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(old + read.as_ref().copied().unwrap_or(0));
        self.ended = read? == 0;
        if memchr(b'\r', &self.buffer[old..]).is_some() {
            self.carriage_returns = true;
            self.buffer.retain(|byte| *byte != b'\r');
        }
        Ok(None)
    }
}

/// Beginning of a stanza that is too large, bytes: enough for its name.
const TOO_LARGE_SHOWN_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn stanza(file: &str, more: &str) -> String {
        format!("Package: dd\nVersion: 1:2-3\nArchitecture: amd64\nFilename: {file}\nSize: 12\nSHA256: {SUM}\n{more}")
    }

    fn refusal(text: &str) -> Refusal {
        Package::parse(text.as_bytes()).unwrap_err().why
    }

    /// A reader that gives `step` bytes at a time: ends of stanzas fall everywhere.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn pieces(text: &[u8], step: usize) -> Vec<Result<String, usize>> {
        let mut stanzas = Stanzas::new(Trickle(text, step));
        let mut all = Vec::new();
        while let Some(piece) = stanzas.next().unwrap() {
            all.push(match piece {
                Piece::Stanza(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
                Piece::TooLarge(bytes) => Err(bytes.len()),
            });
        }
        all
    }

    #[test]
    fn a_stanza_becomes_a_package_and_only_filename_changes() {
        let text = stanza("./pool/main/d/dd_2-3+b1~x_amd64.deb", "Source: ddsrc (2)\nX-Unknown: \u{e9}\n more\n .\n  text \n");
        let package = Package::parse(text.as_bytes()).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str(), package.source.as_str()), ("dd", "1:2-3", "ddsrc"));
        assert_eq!((package.location.as_str(), package.size), ("pool/main/d/dd_2-3+b1~x_amd64.deb", 12));
        let ours = format!("pool/sha256-{SUM}/dd_2-3+b1~x_amd64.deb");
        assert_eq!(package.pool_path(), ours);
        let expected = text.trim_end().replace("./pool/main/d/dd_2-3+b1~x_amd64.deb", &ours) + "\n\n";
        assert_eq!(String::from_utf8(package.stanza).unwrap(), expected);
    }

    #[test]
    fn paths_that_leave_the_repository_are_refused() {
        for file in ["../x.deb", "/etc/x.deb", "pool/../../x.deb", "http://other.invalid/x.deb", ".//x/..", "./../x"] {
            assert_eq!(refusal(&stanza(file, "")), Refusal::Path, "{file}");
        }
        for file in ["", "a\u{1}b", "a\\b", &"x/".repeat(600)] {
            assert_eq!(refusal(&stanza(file, "")), Refusal::Value("Filename"), "{file}");
        }
        let published = pool_path(&SUM.parse().unwrap(), "pool/..a b%2e\u{e9}.deb");
        assert_eq!(published, format!("pool/sha256-{SUM}/a_b_2e_.deb"));
        assert!(pool_path(&SUM.parse().unwrap(), "a/...").ends_with("/package.deb"));
    }

    #[test]
    fn what_a_unit_needs_is_asked_for_by_name() {
        let whole = stanza("a.deb", "");
        for (field, why) in [
            ("Package", Refusal::Missing("Package")),
            ("Version", Refusal::Missing("Version")),
            ("Architecture", Refusal::Missing("Architecture")),
            ("Filename", Refusal::Missing("Filename")),
            ("Size", Refusal::Missing("Size")),
            ("SHA256", Refusal::NoSha256),
        ] {
            let without: String = whole.lines().filter(|line| !line.starts_with(field)).map(|line| format!("{line}\n")).collect();
            assert_eq!(refusal(&without), why);
            let twice = format!("{whole}{}\n", whole.lines().find(|line| line.starts_with(field)).unwrap().to_lowercase());
            assert!(matches!(refusal(&twice), Refusal::Twice(name) if name == field), "{field}");
        }
        assert_eq!(refusal(&whole.replace("Size: 12", "Size: -1")), Refusal::Value("Size"));
        assert_eq!(refusal(&whole.replace("Size: 12", "Size: 99999999999999")), Refusal::Value("Size"));
        assert_eq!(refusal(&whole.replace("Package: dd", "Package: a/b")), Refusal::Value("Package"));
        assert_eq!(refusal(&whole.replace("1:2-3", "1 2")), Refusal::Value("Version"));
        assert_eq!(refusal(&whole.replace("Size", "no colon")), Refusal::Form(BadLine { line: 5 }));
    }

    #[test]
    fn stanzas_are_split_wherever_the_stream_is_cut() {
        let text = "\n\na: 1\n b\n\n\n\nc: 2\n\n \n\nd: 3";
        let expected = [Ok("a: 1\n b\n".to_owned()), Ok("c: 2\n".to_owned()), Ok("d: 3".to_owned())];
        for step in 1..text.len() + 1 {
            assert_eq!(pieces(text.as_bytes(), step), expected, "{step} bytes at a time");
            let windows = text.replace('\n', "\r\n");
            assert_eq!(pieces(windows.as_bytes(), step), expected, "{step} bytes at a time, CRLF");
        }
        assert_eq!(pieces(b"", 1), []);
        assert_eq!(pieces(b"\n\n\n", 2), []);
    }

    #[test]
    fn a_huge_stanza_is_skipped_and_the_next_one_read() {
        let mut text = b"Package: huge\nX: ".to_vec();
        text.resize(3 * STANZA_MAX_BYTES, b'x');
        text.extend_from_slice(b"\n\nPackage: next\n");
        for step in [4096, 65_537, usize::MAX] {
            assert_eq!(pieces(&text, step), [Err(TOO_LARGE_SHOWN_BYTES), Ok("Package: next\n".to_owned())]);
            let mut stanzas = Stanzas::new(Trickle(&text, step));
            while stanzas.next().unwrap().is_some() {
                assert!(stanzas.buffer.capacity() < 4 * STANZA_MAX_BYTES, "memory stays bounded");
            }
        }
    }
}
