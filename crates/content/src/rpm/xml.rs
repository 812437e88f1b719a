//! XML as repositories have it, strictly: a walker over one fragment that refuses everything an XML 1.0 parser of a
//! package manager refuses, because what is published from here must never be malformed.
//!
//! Absent on purpose: DTDs and entities beyond the five predefined ones, encodings other than UTF-8, names beyond ASCII,
//! namespaces (prefixes are part of names, as repositories use them).

use std::borrow::Cow;

/// Deepest nesting inside one fragment, levels. Repository metadata has five.
const MAX_DEPTH: usize = 32;
/// Attributes of one element, count.
const MAX_ATTRIBUTES: usize = 64;

/// Not XML, or XML that is refused here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct XmlError {
    /// Where, bytes from the beginning of the document (uncompressed).
    pub offset: u64,
    /// What is wrong.
    pub problem: String,
}

impl XmlError {
    pub(crate) fn new(offset: u64, problem: impl Into<String>) -> Self {
        Self { offset, problem: problem.into() }
    }
}

/// What the walker meets. Comments and processing instructions are checked and passed over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// A start tag, or an element without content (`Tag::empty`; no `End` follows).
    Start(Tag<'a>),
    /// An end tag; its name is the one of the start tag.
    End {
        /// First byte behind it.
        end: usize,
    },
    /// Character data with references, which are checked ([`decode`] resolves them).
    Text(&'a str),
    /// Character data as is.
    CData(&'a str),
}

/// A start tag whose attributes were checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'a> {
    /// Name with its prefix.
    pub name: &'a str,
    /// `<name …/>`.
    pub empty: bool,
    /// Its first byte, in the fragment.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
    attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// The attributes in order: name and raw value.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }

    /// The value of an attribute, references resolved.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.attributes().find(|(key, _)| *key == name).map(|(_, value)| decode(value))
    }
}

/// Iterates over attributes that were already checked.
pub(crate) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_start_matches(is_space);
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start_matches(is_space);
        let quote = after.chars().next()?;
        let (value, rest) = after.get(1..)?.split_once(quote)?;
        self.rest = rest;
        Some((name.trim_end_matches(is_space), value))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Walks over the events of one fragment. After the last end tag only white space, comments and processing instructions
/// may follow.
pub(crate) struct Walker<'a> {
    text: &'a str,
    position: usize,
    open: Vec<&'a str>,
    started: bool,
}

impl<'a> Walker<'a> {
    /// Begins with the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, open: Vec::with_capacity(8), started: false }
    }

    /// Elements that are open now.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// When the fragment is malformed; the offset is within the fragment.
    pub fn next(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        loop {
            let bytes = self.text.as_bytes();
            let Some(&byte) = bytes.get(self.position) else {
                return match self.open.last() {
                    Some(name) => Err(self.refuse(format!("<{name}> is not closed"))),
                    None if self.started => Ok(None),
                    None => Err(self.refuse("no element")),
                };
            };
            if byte != b'<' {
                if let Some(text) = self.text_run()? {
                    return Ok(Some(Event::Text(text)));
                }
                continue;
            }
            match bytes.get(self.position + 1) {
                Some(b'/') => return self.end_tag().map(Some),
                Some(b'?') => self.instruction()?,
                Some(b'!') => {
                    if let Some(text) = self.declaration()? {
                        return Ok(Some(Event::CData(text)));
                    }
                }
                _ => return self.start_tag().map(Some),
            }
        }
    }

    fn refuse(&self, problem: impl Into<String>) -> XmlError {
        XmlError::new(self.position as u64, problem)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// Character data up to the next tag; `None` for white space outside of the root.
    fn text_run(&mut self) -> Result<Option<&'a str>, XmlError> {
        let rest = self.rest();
        let length = memchr::memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        if self.open.is_empty() {
            if !text.chars().all(is_space) {
                return Err(self.refuse("text outside of the element"));
            }
        } else {
            check_characters(text).map_err(|problem| self.refuse(problem))?;
            check_references(text).map_err(|problem| self.refuse(problem))?;
            if memchr::memchr(b']', text.as_bytes()).is_some() && text.contains("]]>") {
                return Err(self.refuse("`]]>` in text"));
            }
        }
        self.position += length;
        Ok((!self.open.is_empty()).then_some(text))
    }

    fn end_tag(&mut self) -> Result<Event<'a>, XmlError> {
        let rest = self.rest();
        let close = memchr::memchr(b'>', rest.as_bytes()).ok_or_else(|| self.refuse("an end tag is not closed"))?;
        let name = rest.get(2..close).unwrap_or_default().trim_end_matches(is_space);
        match self.open.pop() {
            Some(open) if open == name => {}
            Some(open) => return Err(self.refuse(format!("<{}> is closed by </{}>", cut(open), cut(name)))),
            None => return Err(self.refuse(format!("</{}> closes nothing", cut(name)))),
        }
        self.position += close + 1;
        Ok(Event::End { end: self.position })
    }

    fn start_tag(&mut self) -> Result<Event<'a>, XmlError> {
        if self.started && self.open.is_empty() {
            return Err(self.refuse("a second root element"));
        }
        let start = self.position;
        let rest = self.rest();
        let close = tag_end(rest.as_bytes()).ok_or_else(|| self.refuse("a tag is not closed"))?;
        let inner = rest.get(1..close).unwrap_or_default();
        let (inner, empty) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
        let length = inner.bytes().position(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(length);
        if !is_name(name) {
            return Err(self.refuse(format!("`{}` is not a name of an element", cut(name))));
        }
        check_attributes(attributes).map_err(|problem| self.refuse(format!("<{}>: {problem}", cut(name))))?;
        self.position += close + 1;
        self.started = true;
        if !empty {
            if self.open.len() >= MAX_DEPTH {
                return Err(self.refuse(format!("elements are nested deeper than {MAX_DEPTH} levels")));
            }
            self.open.push(name);
        }
        Ok(Event::Start(Tag { name, empty, start, end: self.position, attributes }))
    }

    fn instruction(&mut self) -> Result<(), XmlError> {
        let rest = self.rest();
        let length = rest.find("?>").ok_or_else(|| self.refuse("a processing instruction is not closed"))?;
        let inner = rest.get(2..length).unwrap_or_default();
        let target = inner.split(is_space).next().unwrap_or_default();
        if !is_name(target) || target.eq_ignore_ascii_case("xml") {
            return Err(self.refuse("a bad processing instruction"));
        }
        check_characters(inner).map_err(|problem| self.refuse(problem))?;
        self.position += length + 2;
        Ok(())
    }

    /// A comment (`None`) or a CDATA section; everything else with `<!` is refused.
    fn declaration(&mut self) -> Result<Option<&'a str>, XmlError> {
        let rest = self.rest();
        if let Some(comment) = rest.strip_prefix("<!--") {
            let length = comment.find("--").ok_or_else(|| self.refuse("a comment is not closed"))?;
            if comment.as_bytes().get(length + 2) != Some(&b'>') {
                return Err(self.refuse("`--` in a comment"));
            }
            check_characters(comment.get(..length).unwrap_or_default()).map_err(|problem| self.refuse(problem))?;
            self.position += 4 + length + 3;
            return Ok(None);
        }
        if let Some(section) = rest.strip_prefix("<![CDATA[") {
            if self.open.is_empty() {
                return Err(self.refuse("text outside of the element"));
            }
            let length = section.find("]]>").ok_or_else(|| self.refuse("a CDATA section is not closed"))?;
            let text = section.get(..length).unwrap_or_default();
            check_characters(text).map_err(|problem| self.refuse(problem))?;
            self.position += 9 + length + 3;
            return Ok(Some(text));
        }
        Err(self.refuse("a document type definition or unknown declaration; none is accepted"))
    }
}

/// Index of the `>` that closes the tag which begins `bytes`, quotes respected.
pub(crate) fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 1;
    loop {
        let at = from + memchr::memchr3(b'>', b'"', b'\'', bytes.get(from..)?)?;
        match bytes.get(at)? {
            b'>' => return Some(at),
            quote => from = at + 1 + memchr::memchr(*quote, bytes.get(at + 1..)?)? + 1,
        }
    }
}

/// A name of an element or attribute: ASCII, at most one colon, and that inside.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match name.split_once(':') {
        Some((prefix, local)) => part(prefix) && part(local),
        None => part(name),
    }
}

fn check_attributes(mut rest: &str) -> Result<(), Cow<'static, str>> {
    let mut seen: [&str; MAX_ATTRIBUTES] = [""; MAX_ATTRIBUTES];
    let mut count = 0;
    loop {
        let trimmed = rest.trim_start_matches(is_space);
        if trimmed.is_empty() {
            return Ok(());
        }
        if trimmed.len() == rest.len() {
            return Err("no space before an attribute".into());
        }
        let (name, after) = trimmed.split_once('=').ok_or("an attribute without a value")?;
        let name = name.trim_end_matches(is_space);
        if !is_name(name) {
            return Err(format!("`{}` is not a name of an attribute", cut(name)).into());
        }
        let after = after.trim_start_matches(is_space);
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("an attribute without quotes")?;
        let (value, after) = after.get(1..).and_then(|v| v.split_once(quote)).ok_or("an attribute is not closed")?;
        if memchr::memchr(b'<', value.as_bytes()).is_some() {
            return Err("`<` in an attribute".into());
        }
        check_characters(value)?;
        check_references(value)?;
        if seen.iter().take(count).any(|other| *other == name) {
            return Err(format!("attribute {} twice", cut(name)).into());
        }
        *seen.get_mut(count).ok_or_else(|| format!("more than {MAX_ATTRIBUTES} attributes"))? = name;
        count += 1;
        rest = after;
    }
}

/// Characters that XML 1.0 cannot hold, in any form.
pub(crate) fn check_characters(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    if bytes.iter().any(|b| *b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) {
        return Err("a control character");
    }
    // U+FFFE and U+FFFF.
    let noncharacter = |at: usize| matches!(bytes.get(at..at + 3), Some([0xEF, 0xBF, 0xBE | 0xBF]));
    if memchr::memchr_iter(0xEF, bytes).any(noncharacter) {
        return Err("a character that XML does not allow");
    }
    Ok(())
}

fn check_references(text: &str) -> Result<(), &'static str> {
    for at in memchr::memchr_iter(b'&', text.as_bytes()) {
        reference(text.get(at..).unwrap_or_default()).ok_or("a reference that is none of the five or of a character")?;
    }
    Ok(())
}

/// The character that `text` begins with a reference to, and the length of the reference.
fn reference(text: &str) -> Option<(char, usize)> {
    // The longest that is useful: `&#x10FFFF;`; some leading zeros are harmless.
    let end = memchr::memchr(b';', text.as_bytes().get(..text.len().min(16))?)?;
    let name = text.get(1..end)?;
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
            // `from_str_radix` takes a sign.
            digits.chars().all(|c| c.is_digit(radix)).then_some(())?;
            let character = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
            let allowed =
                matches!(character, '\t' | '\n' | '\r') || (character >= ' ' && !matches!(character, '\u{FFFE}' | '\u{FFFF}'));
            allowed.then_some(character)?
        }
    };
    Some((character, end + 1))
}

/// Resolves references in checked text.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'&', text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut decoded = String::with_capacity(text.len());
    let (before, mut rest) = text.split_at(first);
    decoded.push_str(before);
    while !rest.is_empty() {
        match reference(rest) {
            Some((character, length)) => {
                decoded.push(character);
                rest = rest.get(length..).unwrap_or_default();
            }
            // Not a reference: only in text that was not checked; as it is.
            None => {
                decoded.push('&');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        let next = memchr::memchr(b'&', rest.as_bytes()).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(next);
        decoded.push_str(plain);
        rest = after;
    }
    Cow::Owned(decoded)
}

/// Writes text so that it can stand in an attribute or between tags. Characters that XML cannot hold become `?`.
pub(crate) fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(character),
            '\u{FFFE}' | '\u{FFFF}' => out.push('?'),
            other if other < ' ' => out.push('?'),
            other => out.push(other),
        }
    }
}

/// [`escape_into`] a new string.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text);
    out
}

/// The beginning of something hostile, for a message.
pub(crate) fn cut(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    let mut shown: String = text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Walks over the whole fragment only to check it.
pub(crate) fn check(text: &str) -> Result<(), XmlError> {
    let mut walker = Walker::new(text);
    while walker.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        check(text).unwrap_err().problem
    }

    #[test]
    fn what_parsers_accept() {
        for good in [
            "<a/>",
            "<a></a >",
            "<a b='1'\n c = \"2&amp;&#x20;'>\"/>",
            "<a>x &lt; y<!-- c - c --><![CDATA[<&]]><?p i?></a> <!-- after -->",
            "<rpm:a xmlns:rpm='x' xml:base=''>ü</rpm:a>",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_parsers_refuse() {
        for (bad, why) in [
            ("", "no element"),
            ("<a>", "not closed"),
            ("<a></b>", "closed by"),
            ("<a/></a>", "closes nothing"),
            ("<a/><a/>", "second root"),
            ("x<a/>", "outside"),
            ("<a/>x", "outside"),
            ("<a b=1/>", "without quotes"),
            ("<a b/>", "without a value"),
            ("<a b='1'c='2'/>", "no space"),
            ("<a b='1' b='2'/>", "twice"),
            ("<a b='<'/>", "`<`"),
            ("<a b='&x;'/>", "reference"),
            ("<a>&x;</a>", "reference"),
            ("<a>&amp</a>", "reference"),
            ("<a>&#0;</a>", "reference"),
            ("<a>&#xFFFF;</a>", "reference"),
            ("<a>&#+65;</a>", "reference"),
            ("<a>]]></a>", "`]]>`"),
            ("<a>\u{1}</a>", "control"),
            ("<a>\u{FFFE}</a>", "not allow"),
            ("<a><!-- -- --></a>", "comment"),
            ("<a><!DOCTYPE x></a>", "document type"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "document type"),
            ("<a><?xml version='1.0'?></a>", "processing"),
            ("<1a/>", "name"),
            ("< a/>", "name"),
            ("<a:b:c/>", "name"),
            ("<ä/>", "name"),
            ("<a b='c", "not closed"),
        ] {
            assert!(problem(bad).contains(why), "{bad}: {}", problem(bad));
        }
        assert!(problem(&"<a>".repeat(40)).contains("deeper"));
        let many: String = (0..65).map(|n| format!(" a{n}=''")).collect();
        assert!(problem(&format!("<a{many}/>")).contains("more than 64"));
    }

    #[test]
    fn references_resolve_and_come_back() {
        assert_eq!(decode("a &lt;&#65;&#x42;&amp;&gt; b"), "a <AB&> b");
        assert!(matches!(decode("plain"), Cow::Borrowed("plain")));
        let text = "a<b>&\"c' \t";
        assert_eq!(decode(&escape(text)), text);
        assert_eq!(escape("\u{1}\u{FFFF}"), "??");
    }

    #[test]
    fn attributes_are_found() {
        let Ok(Some(Event::Start(tag))) = Walker::new("<a one = '1' two=\"&quot;2\"/>").next() else { panic!("no tag") };
        assert_eq!(tag.get("one").unwrap(), "1");
        assert_eq!(tag.get("two").unwrap(), "\"2");
        assert_eq!(tag.get("three"), None);
    }
}
