//! The shape that Release files, Packages files and control files of packages share: stanzas of `Field: value` lines with
//! continuation lines. Only slices of the input are handed out; nothing is copied.
//!
//! Absent: what a field means, comments (apt reads none in indexes), writing.

use std::ops::Range;

use memchr::memchr;

/// One field of a stanza.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// Name as written; compare it without regard to case.
    pub name: &'a [u8],
    /// Everything behind the colon up to the next field, without surrounding blanks; continuation lines are in it.
    pub value: &'a [u8],
    /// Where the field stands in the stanza, line end included.
    pub span: Range<usize>,
}

impl Field<'_> {
    /// Whether this is the field `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as text of one line, if it is.
    pub fn line(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.value).ok()?;
        (!text.bytes().any(|byte| byte.is_ascii_control())).then_some(text)
    }
}

/// A line that is neither a field nor the continuation of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is neither `Field: value` nor a continuation")]
pub struct BadLine {
    /// Counted from 1 within the stanza.
    pub line: usize,
}

/// The fields of one stanza, in order.
pub(crate) struct Fields<'a> {
    stanza: &'a [u8],
    at: usize,
    line: usize,
}

/// Reads the fields of a stanza that ends at its last line.
pub(crate) fn fields(stanza: &[u8]) -> Fields<'_> {
    Fields { stanza, at: 0, line: 0 }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.stanza.get(self.at..)?;
        if rest.is_empty() {
            return None;
        }
        let first_line = self.line + 1;
        let mut end = line_end(rest, 0);
        self.line += 1;
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(rest, end);
            self.line += 1;
        }
        let start = self.at;
        self.at += end;
        let field = &rest[..end];
        let colon = memchr(b':', field).filter(|colon| is_name(&field[..*colon]));
        let Some(colon) = colon else {
            self.at = self.stanza.len();
            return Some(Err(BadLine { line: first_line }));
        };
        Some(Ok(Field { name: &field[..colon], value: field[colon + 1..].trim_ascii(), span: start..start + end }))
    }
}

/// Position behind the line that begins at `from`.
fn line_end(text: &[u8], from: usize) -> usize {
    memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at + 1)
}

/// Printable ASCII without blanks; a name does not begin with `#` or `-`.
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| !matches!(byte, b'#' | b'-')) && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_continuations_and_their_places() {
        let stanza = b"Package: a\nTag: x::y,\n z::w\nEmpty:\nLast:  v ";
        let all: Vec<_> = fields(stanza).map(Result::unwrap).collect();
        let seen: Vec<_> = all.iter().map(|f| (f.name, f.value, &stanza[f.span.clone()])).collect();
        assert_eq!(
            seen,
            [
                (&b"Package"[..], &b"a"[..], &b"Package: a\n"[..]),
                (b"Tag", b"x::y,\n z::w", b"Tag: x::y,\n z::w\n"),
                (b"Empty", b"", b"Empty:\n"),
                (b"Last", b"v", b"Last:  v "),
            ]
        );
        assert!(all[0].is("pACKAGE"));
        assert_eq!(all[1].line(), None);
        assert_eq!(all[3].line(), Some("v"));
    }

    #[test]
    fn a_line_that_is_no_field_ends_the_stanza_with_its_number() {
        for (text, line) in
            [("a: 1\n b\nnothing here\nc: 2\n", 3), (" begins with a blank: 1\n", 1), (": no name\n", 1), ("# x: y\n", 1)]
        {
            let last = fields(text.as_bytes()).last().unwrap();
            assert_eq!(last, Err(BadLine { line }), "{text}");
        }
        assert_eq!(fields(b"").next(), None);
    }
}
