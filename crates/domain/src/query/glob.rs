//! Values of terms: a text, or a pattern in which `*` is any text and `?` any one character. Absent on purpose: classes
//! and alternatives; `or` says those.

use std::fmt;

use crate::advisory::vulnerability_id;

/// A value with or without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob(Inner);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Inner {
    Exact(String),
    /// At least one piece is a wildcard, and no two stars follow each other.
    Pieces(Vec<Piece>),
}

/// One character of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// Itself.
    Char(char),
    /// Any one character: `?`.
    One,
    /// Any text, also none: `*`.
    Star,
}

impl Glob {
    /// `CVE-` in front in the case in which ids of vulnerabilities are written.
    pub(super) fn into_cve(self) -> Self {
        Glob(match self.0 {
            Inner::Exact(text) => Inner::Exact(vulnerability_id(&text)),
            Inner::Pieces(mut pieces) => {
                let is = |piece: &Piece, letter: char| matches!(piece, Piece::Char(c) if c.eq_ignore_ascii_case(&letter));
                if pieces.len() >= 4 && "CVE-".chars().zip(&pieces).all(|(letter, piece)| is(piece, letter)) {
                    pieces.iter_mut().zip("CVE-".chars()).for_each(|(piece, letter)| *piece = Piece::Char(letter));
                }
                Inner::Pieces(pieces)
            }
        })
    }

    /// This text and nothing else; a star in it is a star.
    pub fn literal(text: impl Into<String>) -> Self {
        Glob(Inner::Exact(text.into()))
    }

    /// A word in which `*` and `?` are wildcards.
    pub fn word(text: &str) -> Self {
        Glob::of(text.chars().map(|c| match c {
            '*' => Piece::Star,
            '?' => Piece::One,
            c => Piece::Char(c),
        }))
    }

    pub(super) fn of(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut all: Vec<Piece> = pieces.into_iter().collect();
        all.dedup_by(|a, b| *a == Piece::Star && *b == Piece::Star);
        let letter = |p: &Piece| if let Piece::Char(c) = p { Some(*c) } else { None };
        match all.iter().map(letter).collect::<Option<String>>() {
            Some(text) => Glob(Inner::Exact(text)),
            None => Glob(Inner::Pieces(all)),
        }
    }

    /// The text, when there is no wildcard.
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Inner::Exact(text) => Some(text),
            Inner::Pieces(_) => None,
        }
    }

    /// Is any of its own characters this one?
    pub(super) fn holds(&self, c: char) -> bool {
        match &self.0 {
            Inner::Exact(text) => text.contains(c),
            Inner::Pieces(pieces) => pieces.contains(&Piece::Char(c)),
        }
    }

    /// Does the whole `text` match? Backtracks to the last star only: O(n·m) at worst.
    pub fn matches(&self, text: &str) -> bool {
        let pieces = match &self.0 {
            Inner::Exact(own) => return own == text,
            Inner::Pieces(pieces) => pieces,
        };
        let (mut at, mut rest) = (0, text);
        let mut star: Option<(usize, &str)> = None;
        loop {
            let next = rest.chars().next();
            match (pieces.get(at), next) {
                (Some(Piece::Star), _) => {
                    at += 1;
                    star = Some((at, rest));
                    continue;
                }
                (Some(Piece::One), Some(c)) => {
                    (at, rest) = (at + 1, &rest[c.len_utf8()..]);
                    continue;
                }
                (Some(Piece::Char(own)), Some(c)) if *own == c => {
                    (at, rest) = (at + 1, &rest[c.len_utf8()..]);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            // The last star takes one character more.
            let Some((after, from)) = star else { return false };
            let Some(c) = from.chars().next() else { return false };
            rest = &from[c.len_utf8()..];
            star = Some((after, rest));
            at = after;
        }
    }
}

/// May this character stand in a word without quotes?
pub(super) fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"()<>=!\"'\\&|,;`".contains(c)
}

/// Is this one of the words that join terms?
pub(super) fn is_joining(word: &str) -> bool {
    ["and", "or", "not"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

impl fmt::Display for Glob {
    /// Without quotes where the language allows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces: Vec<Piece> = match &self.0 {
            Inner::Exact(text) => text.chars().map(Piece::Char).collect(),
            Inner::Pieces(pieces) => pieces.clone(),
        };
        let bare = |p: &Piece| if let Piece::Char(c) = p { is_bare(*c) && !"*?".contains(*c) } else { true };
        let quoted = pieces.is_empty() || !pieces.iter().all(bare) || self.exact().is_some_and(is_joining);
        let mut text = String::with_capacity(pieces.len() + 2);
        for piece in pieces {
            match piece {
                Piece::Char(c) => {
                    if quoted && "\"\\*?".contains(c) {
                        text.push('\\');
                    }
                    text.push(c);
                }
                Piece::One => text.push('?'),
                Piece::Star => text.push('*'),
            }
        }
        if quoted { write!(f, "\"{text}\"") } else { f.write_str(&text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let cases = [
            ("8*", "8.10", true),
            ("8*", "9", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("lib?sl", "libßsl", true),
            ("?", "ß", true),
            ("?", "", false),
            ("**x", "yyx", true),
            ("*é", "aé", true),
        ];
        for (glob, text, want) in cases {
            assert_eq!(Glob::word(glob).matches(text), want, "{glob} on {text:?}");
        }
        assert!(Glob::literal("*").matches("*") && !Glob::literal("*").matches("x"));
        assert_eq!(Glob::word("a").exact(), Some("a"));
        assert_eq!(Glob::word("a*").exact(), None);
        assert_eq!(Glob::word("a**b"), Glob::word("a*b"));
    }

    #[test]
    fn hostile_patterns_end() {
        let glob = Glob::word(&"a*".repeat(127));
        assert!(!Glob::word(&("a*".repeat(127) + "b")).matches(&"a".repeat(50_000)));
        assert!(glob.matches(&"a".repeat(255)) && !glob.matches(&"a".repeat(126)));
    }

    #[test]
    fn printed_values_have_quotes_where_needed() {
        for (value, want) in [
            (Glob::word("3.0.14-5.el9~rc1^x"), "3.0.14-5.el9~rc1^x"),
            (Glob::word("8*"), "8*"),
            (Glob::literal("8*"), "\"8\\*\""),
            (Glob::literal("two words"), "\"two words\""),
            (Glob::literal("a\"b\\"), "\"a\\\"b\\\\\""),
            (Glob::literal("and"), "\"and\""),
            (Glob::literal("NOT"), "\"NOT\""),
            (Glob::literal(""), "\"\""),
        ] {
            assert_eq!(value.to_string(), want);
        }
    }
}
