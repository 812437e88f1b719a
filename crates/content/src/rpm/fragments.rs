//! Cuts a metadata document into the elements below its root, one at a time: memory holds one element and a read buffer,
//! however large the document is.
//!
//! Elements other than the wanted one are passed over, as package managers do. Absent: looking into the elements
//! ([`super::xml::Walker`]).

use std::io::{BufRead, Read as _};

use super::xml::{Tag, Walker, XmlError, check_characters, cut, tag_end};

/// Room for input, bytes; grows only for an element that is larger.
const BUFFER_BYTES: usize = 256 * 1024;
/// Longest root tag with everything in front of it, bytes.
const MAX_PROLOG_BYTES: usize = 64 * 1024;

/// Why a document could not be cut.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Not XML, or XML that is refused.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Reading or decompressing failed.
    #[error("byte {offset}: {source}")]
    Read {
        /// Bytes read before, uncompressed.
        offset: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What the document is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Name of the root element.
    pub root: &'static str,
    /// Name of the elements that are given out.
    pub element: &'static str,
    /// Largest element, bytes.
    pub max_bytes: usize,
}

/// One element, valid UTF-8, from `<` to `>`; well-formedness is not yet checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'a> {
    /// The element.
    pub text: &'a str,
    /// Of its first byte in the document.
    pub offset: u64,
}

/// The elements of a document.
pub(crate) struct Fragments<R> {
    input: R,
    shape: Shape,
    buffer: Vec<u8>,
    /// First byte of `buffer` not given out.
    start: usize,
    /// Of `buffer[0]` in the document.
    offset: u64,
    /// Declarations of prefixes other than `rpm`, as attributes with a space in front.
    declarations: String,
    root_attributes: Vec<(String, String)>,
    finished: bool,
}

impl<R: BufRead> Fragments<R> {
    /// Reads up to the root element.
    ///
    /// # Errors
    /// When reading fails or the document is none of this shape.
    pub fn open(input: R, shape: Shape) -> Result<Self, ScanError> {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        let (declarations, root_attributes) = (String::new(), Vec::new());
        let mut document = Self { input, shape, buffer, start: 0, offset: 0, declarations, root_attributes, finished: false };
        document.prolog()?;
        Ok(document)
    }

    /// An attribute of the root element.
    pub fn root_attribute(&self, name: &str) -> Option<&str> {
        self.root_attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Declarations of prefixes that the root makes besides `rpm`, to be written into fragments that use them.
    pub fn declarations(&self) -> &str {
        &self.declarations
    }

    /// The next element; `None` after the root was closed and the input ended.
    ///
    /// # Errors
    /// When reading fails, the document is truncated or malformed, or an element is too large.
    pub fn next(&mut self) -> Result<Option<Fragment<'_>>, ScanError> {
        while !self.finished {
            self.skip_text(true)?;
            match self.peek(1)? {
                Some(b'/') => {
                    let length = self.through(|bytes| memchr::memchr(b'>', bytes).map(|at| at + 1), MAX_PROLOG_BYTES)?;
                    self.close_root(length)?;
                }
                Some(b'?') => self.skip("?>", 2)?,
                Some(b'!') => self.skip_declaration()?,
                Some(_) => {
                    let mut depth = Depth::default();
                    let length = self.through(|bytes| depth.end(bytes), self.shape.max_bytes)?;
                    if self.is_wanted() {
                        let (start, offset) = (self.start, self.offset + self.start as u64);
                        self.start += length;
                        let text = utf8(self.buffer.get(start..start + length).unwrap_or_default(), offset)?;
                        return Ok(Some(Fragment { text, offset }));
                    }
                    let text = utf8(self.buffer.get(self.start..self.start + length).unwrap_or_default(), self.position())?;
                    super::xml::check(text).map_err(|error| XmlError::new(self.position() + error.offset, error.problem))?;
                    self.start += length;
                }
                None => return Err(self.truncated()),
            }
        }
        Ok(None)
    }

    /// Bytes given out or passed over so far; after the last element the size of the document.
    pub fn position(&self) -> u64 {
        self.offset + self.start as u64
    }

    fn refuse(&self, problem: impl Into<String>) -> ScanError {
        XmlError::new(self.position(), problem).into()
    }

    fn truncated(&self) -> ScanError {
        self.refuse("the document ends too early")
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Whether the element at the position has the wanted name.
    fn is_wanted(&self) -> bool {
        let name = self.pending().get(1..).and_then(|rest| rest.strip_prefix(self.shape.element.as_bytes()));
        name.is_some_and(|after| matches!(after.first(), Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/')))
    }

    /// Reads more; false at the end of the input.
    fn fill(&mut self) -> Result<bool, ScanError> {
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.offset += self.start as u64;
            self.start = 0;
            if self.buffer.len() < BUFFER_BYTES / 2 {
                // One huge element must not hold its memory for the rest of the document.
                self.buffer.shrink_to(BUFFER_BYTES);
            }
        }
        self.buffer.reserve(BUFFER_BYTES / 4);
        let room = (self.buffer.capacity() - self.buffer.len()) as u64;
        let offset = self.offset + self.buffer.len() as u64;
        let read = self.input.by_ref().take(room).read_to_end(&mut self.buffer);
        Ok(read.map_err(|source| ScanError::Read { offset, source })? > 0)
    }

    /// Drops the pending bytes, keeping `keep` last ones.
    fn drop_pending(&mut self, keep: usize) {
        self.start = self.buffer.len().saturating_sub(keep).max(self.start);
    }

    /// The byte `at` bytes behind the position.
    fn peek(&mut self, at: usize) -> Result<Option<u8>, ScanError> {
        while self.pending().len() <= at {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.pending().get(at).copied())
    }

    /// Length of what `find` finds from the position on, reading until it does.
    fn through(&mut self, mut find: impl FnMut(&[u8]) -> Option<usize>, limit: usize) -> Result<usize, ScanError> {
        loop {
            let found = find(self.pending());
            if found.unwrap_or(self.pending().len()) > limit {
                let shown =
                    cut(&String::from_utf8_lossy(self.pending().get(..120.min(self.pending().len())).unwrap_or_default()));
                return Err(self.refuse(format!("an element is larger than {limit} bytes: {shown}")));
            }
            match found {
                Some(length) => return Ok(length),
                None if self.fill()? => {}
                None => return Err(self.truncated()),
            }
        }
    }

    /// Passes over text up to the next tag. Between elements package managers ignore it; in front of the root and with
    /// references, which they would have to resolve, it is refused.
    fn skip_text(&mut self, inside: bool) -> Result<(), ScanError> {
        loop {
            let pending = self.pending();
            let found = memchr::memchr(b'<', pending);
            let text = pending.get(..found.unwrap_or(pending.len())).unwrap_or_default();
            let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
            if !text.iter().all(|b| space(b) || (inside && *b > b' ' && *b != b'&')) {
                return Err(self.refuse("text between elements"));
            }
            match found {
                Some(length) => {
                    self.start += length;
                    return Ok(());
                }
                None => {
                    self.drop_pending(0);
                    if !self.fill()? {
                        return Err(self.truncated());
                    }
                }
            }
        }
    }

    /// Passes over everything through `end`, from `skip` bytes on.
    fn skip(&mut self, end: &str, skip: usize) -> Result<(), ScanError> {
        self.peek(skip)?.ok_or_else(|| self.truncated())?;
        self.start += skip;
        loop {
            if let Some(at) = memchr::memmem::find(self.pending(), end.as_bytes()) {
                self.start += at + end.len();
                return Ok(());
            }
            self.drop_pending(end.len() - 1);
            if !self.fill()? {
                return Err(self.truncated());
            }
        }
    }

    /// A comment is passed over; anything else is refused.
    fn skip_declaration(&mut self) -> Result<(), ScanError> {
        self.peek(3)?.ok_or_else(|| self.truncated())?;
        if self.pending().starts_with(b"<!--") {
            return self.skip("-->", 4);
        }
        Err(self.refuse("a document type definition or text between elements; neither is accepted"))
    }

    fn prolog(&mut self) -> Result<(), ScanError> {
        self.peek(0)?.ok_or_else(|| self.refuse("the document is empty"))?;
        self.peek(8)?;
        if self.pending().starts_with(&[0xEF, 0xBB, 0xBF]) {
            self.start += 3;
        } else if matches!(self.pending(), [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, ..] | [_, 0, ..]) {
            return Err(self.refuse("not UTF-8"));
        }
        if self.pending().starts_with(b"<?xml") {
            let length = self.through(|bytes| memchr::memmem::find(bytes, b"?>").map(|at| at + 2), MAX_PROLOG_BYTES)?;
            check_declaration(self.pending().get(..length).unwrap_or_default()).map_err(|problem| self.refuse(problem))?;
            self.start += length;
        }
        loop {
            self.skip_text(false)?;
            match self.peek(1)? {
                Some(b'?') => self.skip("?>", 2)?,
                Some(b'!') => self.skip_declaration()?,
                Some(_) => return self.root(),
                None => return Err(self.truncated()),
            }
        }
    }

    fn root(&mut self) -> Result<(), ScanError> {
        let length = self.through(|bytes| tag_end(bytes).map(|at| at + 1), MAX_PROLOG_BYTES)?;
        let position = self.position();
        let text = utf8(self.buffer.get(self.start..self.start + length).unwrap_or_default(), position)?;
        let located = |error: XmlError| ScanError::from(XmlError::new(position + error.offset, error.problem));
        let Some(super::xml::Event::Start(tag)) = Walker::new(text).next().map_err(located)? else {
            return Err(self.refuse("no root element"));
        };
        if tag.name != self.shape.root {
            let problem = format!("the root element is <{}>, not <{}>", cut(tag.name), self.shape.root);
            return Err(self.refuse(problem));
        }
        let (declarations, attributes, empty) = (declarations(&tag), owned_attributes(&tag), tag.empty);
        (self.declarations, self.root_attributes) = (declarations, attributes);
        self.start += length;
        if empty { self.epilog() } else { Ok(()) }
    }

    fn close_root(&mut self, length: usize) -> Result<(), ScanError> {
        let tag = self.pending().get(2..length - 1).unwrap_or_default().trim_ascii_end();
        if tag != self.shape.root.as_bytes() {
            return Err(self.refuse(format!("</{}> closes nothing", cut(&String::from_utf8_lossy(tag)))));
        }
        self.start += length;
        self.epilog()
    }

    /// Behind the root only white space and comments may follow; the input is read to its end, which checks the
    /// checksums of its compression.
    fn epilog(&mut self) -> Result<(), ScanError> {
        self.finished = true;
        loop {
            match self.peek(0)? {
                None => return Ok(()),
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.start += 1,
                Some(b'<') if self.peek(1)? == Some(b'!') => self.skip_declaration()?,
                Some(b'<') if self.peek(1)? == Some(b'?') => self.skip("?>", 2)?,
                Some(_) => return Err(self.refuse("something follows the root element")),
            }
        }
    }
}

/// The encoding an XML declaration names, if any, must be UTF-8 or a part of it.
pub(crate) fn check_declaration(declaration: &[u8]) -> Result<(), &'static str> {
    let text = String::from_utf8_lossy(declaration).to_ascii_lowercase();
    let encoding = text.split_once("encoding").map(|(_, after)| after.trim_start_matches([' ', '=', '"', '\'']));
    match encoding {
        Some(name) if !["utf-8", "utf8", "us-ascii"].iter().any(|known| name.starts_with(known)) => {
            Err("an encoding other than UTF-8")
        }
        _ => Ok(()),
    }
}

fn declarations(tag: &Tag<'_>) -> String {
    let foreign = |name: &str| name.strip_prefix("xmlns:").is_some_and(|prefix| prefix != "rpm");
    let mut text = String::new();
    for (name, value) in tag.attributes().filter(|(name, _)| foreign(name)) {
        let quote = if value.contains('"') { '\'' } else { '"' };
        text.extend([" ", name, "="]);
        text.push(quote);
        text.push_str(value);
        text.push(quote);
    }
    text
}

fn owned_attributes(tag: &Tag<'_>) -> Vec<(String, String)> {
    tag.attributes().map(|(name, value)| (name.to_owned(), super::xml::decode(value).into_owned())).collect()
}

fn utf8(bytes: &[u8], offset: u64) -> Result<&str, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| XmlError::new(offset + error.valid_up_to() as u64, "not UTF-8"))?;
    check_characters(text).map_err(|problem| XmlError::new(offset, problem))?;
    Ok(text)
}

/// Finds where an element ends by counting tags; can be asked again when more bytes have come.
#[derive(Default)]
struct Depth {
    position: usize,
    open: usize,
}

impl Depth {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let at = self.position + memchr::memchr(b'<', bytes.get(self.position..)?)?;
            self.position = at;
            let rest = bytes.get(at..)?;
            let length = match rest.get(1)? {
                b'!' if rest.len() < 9 => return None,
                b'!' if rest.starts_with(b"<!--") => 4 + memchr::memmem::find(rest.get(4..)?, b"-->")? + 3,
                b'!' if rest.starts_with(b"<![CDATA[") => 9 + memchr::memmem::find(rest.get(9..)?, b"]]>")? + 3,
                b'?' => memchr::memmem::find(rest, b"?>")? + 2,
                b'/' => {
                    let length = memchr::memchr(b'>', rest)? + 1;
                    self.open = self.open.saturating_sub(1);
                    length
                }
                _ => {
                    let close = tag_end(rest)?;
                    self.open += usize::from(rest.get(close - 1) != Some(&b'/'));
                    close + 1
                }
            };
            self.position = at + length;
            if self.open == 0 && !matches!(rest.get(1), Some(b'!' | b'?')) {
                return Some(self.position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    const SHAPE: Shape = Shape { root: "r", element: "p", max_bytes: 1000 };

    /// Gives out one byte at a time: every boundary is met.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (Some((first, rest)), Some(place)) = (self.0.split_first(), buffer.first_mut()) else { return Ok(0) };
            *place = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn cut_up(bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let mut both = [true, false].map(|slow| {
            let input: Box<dyn BufRead> = if slow { Box::new(BufReader::new(Slow(bytes))) } else { Box::new(bytes) };
            let mut document = Fragments::open(input, SHAPE).map_err(|error| error.to_string())?;
            let mut all = Vec::new();
            while let Some(fragment) = document.next().map_err(|error| error.to_string())? {
                all.push((fragment.offset, fragment.text.to_owned()));
            }
            Ok(all)
        });
        assert_eq!(both[0], both[1]);
        std::mem::replace(&mut both[0], Ok(Vec::new()))
    }

    #[test]
    fn elements_come_as_they_are() {
        let text = "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- <p> --><r a='>' packages='2'>\n text <x><p>no</p></x>\
                    <p>1<!-- </p> --></p>\n<p/><p a='/>'><![CDATA[</p>]]><p>in</p></p><px>no</px><!-- c --></r>\n<!-- end -->\n";
        let all = cut_up(text.as_bytes()).unwrap();
        let texts: Vec<_> = all.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["<p>1<!-- </p> --></p>", "<p/>", "<p a='/>'><![CDATA[</p>]]><p>in</p></p>"]);
        for (offset, fragment) in &all {
            assert!(text.get(*offset as usize..).unwrap().starts_with(fragment.as_str()));
        }
        assert!(cut_up(b"<r/>").unwrap().is_empty());
    }

    #[test]
    fn the_root_is_read() {
        let text = "<r packages='2' xmlns='a' xmlns:rpm='b' xmlns:suse='c' xmlns:q='\"'><p/></r>";
        let document = Fragments::open(text.as_bytes(), SHAPE).unwrap();
        assert_eq!(document.root_attribute("packages"), Some("2"));
        assert_eq!(document.declarations(), " xmlns:suse=\"c\" xmlns:q='\"'");
    }

    #[test]
    fn broken_documents_are_refused() {
        let large = format!("<r><p>{}</p></r>", "x".repeat(1000));
        let endless = format!("<r><p {}", "x".repeat(2000));
        for (bad, why) in [
            (&b""[..], "empty"),
            (b"<r", "too early"),
            (b"<r>", "too early"),
            (b"<r><p/>", "too early"),
            (b"<r><p>", "too early"),
            (b"<r><p></r>", "too early"),
            (b"<r><p/></r><r/>", "follows"),
            (b"<r></r>x", "follows"),
            (b"<q/>", "root element is <q>"),
            (b"x<r/>", "text between"),
            (b"<r>&a;</r>", "text between"),
            (b"<r></p></r>", "closes nothing"),
            (b"<!DOCTYPE r [<!ENTITY a 'b'>]><r/>", "document type"),
            (b"<?xml version='1.0' encoding='utf-16'?><r/>", "UTF-8"),
            (b"\xff\xfe<\0r\0/\0>\0", "UTF-8"),
            (b"<r><p>\xff</p></r>", "byte 6: not UTF-8"),
            (b"<r><p>\x01</p></r>", "control"),
            (b"<r><!--", "too early"),
            (b"<r><![CDATA[x]]></r>", "neither"),
            (b"<r><x><y></x></r>", "closed by"),
            (b"<r><x><y></x></y></r>", "closed by"),
            (large.as_bytes(), "larger than 1000"),
            (endless.as_bytes(), "larger than 1000"),
        ] {
            let error = cut_up(bad).unwrap_err();
            assert!(error.contains(why), "{}: {error}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_document() {
        let shape = Shape { max_bytes: 4 << 20, ..SHAPE };
        let huge = format!("<r>{}<p>{}</p>", "<p>some text</p>".repeat(100_000), "x".repeat(3 << 20));
        let tail = "<p>some text</p>".repeat(100_000);
        let mut document =
            Fragments::open(BufReader::new(huge.as_bytes().chain(tail.as_bytes()).chain(&b"</r>"[..])), shape).unwrap();
        let mut count = 0;
        while document.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 200_001);
        assert!(document.buffer.capacity() <= 4 * BUFFER_BYTES, "{}", document.buffer.capacity());
    }
}
