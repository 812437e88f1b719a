//! A filter's text as words, quoted texts, comparisons and parentheses, each with its column. Absent on purpose: which
//! word means what (`parser`).

use super::ast::Comparison;
use super::error::{BadQuery, shown};
use super::glob::{Glob, Piece, is_bare};
use super::{QUERY_MAX_BYTES, VALUE_MAX_BYTES};

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Compare(Comparison),
    /// Without quotes.
    Word(String),
    /// In quotes.
    Quoted(Glob),
}

/// A piece and where it begins, in characters from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned {
    pub(super) column: usize,
    pub(super) token: Token,
}

/// Reads every piece. Also says the column after the last.
pub(super) fn read(text: &str) -> Result<(Vec<Spanned>, usize), BadQuery> {
    if text.len() > QUERY_MAX_BYTES {
        return Err(BadQuery::new(1, format!("the filter has {} bytes; at most {QUERY_MAX_BYTES}", text.len())));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let column = at + 1;
        let next = chars.get(at + 1).copied();
        let (token, length) = match (c, next) {
            (c, _) if c.is_whitespace() => {
                at += 1;
                continue;
            }
            ('(', _) => (Token::Open, 1),
            (')', _) => (Token::Close, 1),
            ('<', Some('=')) => (Token::Compare(Comparison::AtMost), 2),
            ('<', Some('>')) => return Err(BadQuery::new(column, "there is no <>; write != for \"not equal\"")),
            ('<', _) => (Token::Compare(Comparison::Less), 1),
            ('>', Some('=')) => (Token::Compare(Comparison::AtLeast), 2),
            ('>', _) => (Token::Compare(Comparison::Greater), 1),
            ('!', Some('=')) => (Token::Compare(Comparison::Unequal), 2),
            ('=', Some('=')) => return Err(BadQuery::new(column, "there is no ==; write = for \"equal\"")),
            ('=', _) => (Token::Compare(Comparison::Equal), 1),
            ('"' | '\'', _) => quoted(&chars, at)?,
            (c, _) if is_bare(c) => word(&chars, at)?,
            (c, _) => return Err(BadQuery::new(column, strange(c))),
        };
        tokens.push(Spanned { column, token });
        at += length;
    }
    Ok((tokens, chars.len() + 1))
}

fn word(chars: &[char], at: usize) -> Result<(Token, usize), BadQuery> {
    let word: String = chars[at..].iter().take_while(|c| is_bare(**c)).collect();
    if word.len() > VALUE_MAX_BYTES {
        return Err(too_long(at + 1, &word));
    }
    let length = word.chars().count();
    Ok((Token::Word(word), length))
}

/// A quoted text: `\` takes the meaning from a quote, a backslash and the wildcards.
fn quoted(chars: &[char], at: usize) -> Result<(Token, usize), BadQuery> {
    let quote = chars[at];
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut here = at + 1;
    loop {
        let Some(c) = chars.get(here).copied() else {
            return Err(BadQuery::new(at + 1, format!("this quote is never closed; end the text with {quote}")));
        };
        here += 1;
        let piece = match c {
            c if c == quote => break,
            '\\' => match chars.get(here).copied() {
                Some(next) if "\"'\\*?".contains(next) => {
                    here += 1;
                    Piece::Char(next)
                }
                _ => {
                    let message = "a backslash stands before one of \" ' \\ * ?; write \\\\ for the backslash itself";
                    return Err(BadQuery::new(here, message));
                }
            },
            '*' => Piece::Star,
            '?' => Piece::One,
            c if c.is_control() => return Err(BadQuery::new(here, "a control character cannot be in a text; remove it")),
            c => Piece::Char(c),
        };
        plain.push(c);
        pieces.push(piece);
    }
    if plain.len() > VALUE_MAX_BYTES {
        return Err(too_long(at + 1, &plain));
    }
    Ok((Token::Quoted(Glob::of(pieces)), here - at))
}

fn too_long(column: usize, text: &str) -> BadQuery {
    BadQuery::new(column, format!("{} has {} bytes; a value has at most {VALUE_MAX_BYTES}", shown(text), text.len()))
}

fn strange(c: char) -> String {
    match c {
        '&' => "there is no &; write and".to_owned(),
        '|' => "there is no |; write or".to_owned(),
        '!' => "there is no ! alone; write not before a term, or != between field and value".to_owned(),
        ',' => "there is no comma; join terms with and or or, or put a value that holds a comma into quotes".to_owned(),
        c if c.is_control() => "a control character; remove it".to_owned(),
        c => format!("{c:?} cannot stand here; put a value that holds it into quotes"),
    }
}
