//! A policy's text as words, quoted texts, patterns and signs, each with its place. Absent on purpose: which word means
//! what (`parse`, `dynamic_group`).

use super::error::BadStatement;
use super::statement::Pattern;
use super::{NAME_MAX_BYTES, POLICY_MAX_BYTES};
use crate::query::shown;

/// Where something begins, in lines and characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Without quotes.
    Word(String),
    /// In single quotes.
    Quoted(String),
    /// Between slashes.
    Pattern(Pattern),
    /// One of `, : ; { } ( ) / =`.
    Sign(char),
    /// `!=`
    Unequal,
    /// After the last piece.
    End,
}

impl Token {
    /// As it is shown in refusals.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => shown(word),
            Token::Quoted(text) => format!("the text {}", shown(text)),
            Token::Pattern(pattern) => format!("the pattern {pattern}"),
            Token::Sign(sign) => sign.to_string(),
            Token::Unequal => "!=".to_owned(),
            Token::End => "the end".to_owned(),
        }
    }
}

/// May stand in a word without quotes.
pub(super) fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "_-.@+".contains(c)
}

/// The pieces of a text and where the parser stands.
pub(super) struct Tokens {
    all: Vec<(Place, Token)>,
    at: usize,
    end: (Place, Token),
}

impl Tokens {
    /// Reads every piece.
    pub(super) fn read(text: &str) -> Result<Tokens, BadStatement> {
        let start = Place { line: 1, column: 1 };
        if text.len() > POLICY_MAX_BYTES {
            return Err(BadStatement::new(start, format!("the text has {} bytes; at most {POLICY_MAX_BYTES}", text.len())));
        }
        let mut scanner = Scanner { chars: text.chars().collect(), at: 0, place: start };
        let mut all: Vec<(Place, Token)> = Vec::new();
        loop {
            let after_name = matches!(all.last(), Some((_, Token::Word(_) | Token::Quoted(_))));
            let (place, token) = scanner.next(after_name)?;
            if token == Token::End {
                return Ok(Tokens { all, at: 0, end: (place, token) });
            }
            all.push((place, token));
        }
    }

    /// The piece `ahead` of the one the parser stands at.
    pub(super) fn ahead(&self, ahead: usize) -> &Token {
        &self.all.get(self.at + ahead).unwrap_or(&self.end).1
    }

    /// The piece the parser stands at.
    pub(super) fn peek(&self) -> &Token {
        self.ahead(0)
    }

    /// Where that piece begins.
    pub(super) fn place(&self) -> Place {
        self.all.get(self.at).unwrap_or(&self.end).0
    }

    /// Goes on.
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    /// Is the piece this word, in any case?
    pub(super) fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.ahead(ahead), Token::Word(w) if w.eq_ignore_ascii_case(word))
    }

    /// Goes past this word if it is here.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let there = self.is_word(0, word);
        self.at += usize::from(there);
        there
    }

    /// Goes past this sign if it is here.
    pub(super) fn take_sign(&mut self, sign: char) -> bool {
        let there = *self.peek() == Token::Sign(sign);
        self.at += usize::from(there);
        there
    }

    /// The refusal of the piece that stands here.
    pub(super) fn expected(&self, what: &str) -> BadStatement {
        self.error(format!("expected {what}, found {}", self.peek().shown()))
    }

    /// A refusal at this place.
    pub(super) fn error(&self, message: impl Into<String>) -> BadStatement {
        BadStatement::new(self.place(), message)
    }
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    place: Place,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        if self.peek(0) == Some('\n') {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        self.at += 1;
    }

    /// Past blanks and comments.
    fn skip(&mut self) {
        while let Some(c) = self.peek(0) {
            // The byte order mark that editors of Windows write.
            if c.is_whitespace() || (c == '\u{feff}' && self.at == 0) {
                self.step();
            } else if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.step();
                }
            } else {
                return;
            }
        }
    }

    /// The next piece. A slash after a name stands between domain and name; anywhere else it opens a pattern.
    fn next(&mut self, after_name: bool) -> Result<(Place, Token), BadStatement> {
        self.skip();
        let place = self.place;
        let Some(c) = self.peek(0) else { return Ok((place, Token::End)) };
        let token = match c {
            '\'' => Token::Quoted(self.enclosed('\'', "text")?),
            '/' if !after_name => {
                let text = self.enclosed('/', "pattern")?;
                Token::Pattern(Pattern::read(&text).map_err(|message| BadStatement::new(place, message))?)
            }
            ',' | ':' | ';' | '{' | '}' | '(' | ')' | '/' => {
                self.step();
                Token::Sign(c)
            }
            '=' if self.peek(1) == Some('=') => {
                return Err(BadStatement::new(place, "there is no ==; write = for \"equal\""));
            }
            '=' => {
                self.step();
                Token::Sign('=')
            }
            '!' if self.peek(1) == Some('=') => {
                self.step();
                self.step();
                Token::Unequal
            }
            c if is_bare(c) => Token::Word(self.word()?),
            c => return Err(BadStatement::new(place, strange(c))),
        };
        Ok((place, token))
    }

    fn word(&mut self) -> Result<String, BadStatement> {
        let place = self.place;
        let mut word = String::new();
        while let Some(c) = self.peek(0).filter(|c| is_bare(*c)) {
            word.push(c);
            self.step();
        }
        bounded(place, word)
    }

    /// What stands between two of `fence`, on one line.
    fn enclosed(&mut self, fence: char, what: &str) -> Result<String, BadStatement> {
        let place = self.place;
        self.step();
        let mut text = String::new();
        loop {
            match self.peek(0) {
                Some(c) if c == fence => {
                    self.step();
                    return bounded(place, text);
                }
                None | Some('\n' | '\r') => {
                    let message = format!("this {what} is never closed; end it with {fence} on the same line");
                    return Err(BadStatement::new(place, message));
                }
                Some(c) if c.is_control() => {
                    return Err(BadStatement::new(self.place, format!("a control character cannot be in a {what}; remove it")));
                }
                Some(c) => {
                    text.push(c);
                    self.step();
                }
            }
        }
    }
}

fn bounded(place: Place, text: String) -> Result<String, BadStatement> {
    if text.len() > NAME_MAX_BYTES {
        let message = format!("{} has {} bytes; a name or value has at most {NAME_MAX_BYTES}", shown(&text), text.len());
        return Err(BadStatement::new(place, message));
    }
    Ok(text)
}

fn strange(c: char) -> String {
    match c {
        '"' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' | '`' => {
            format!("{c} cannot stand here; texts and names are put into single quotes: 'text'")
        }
        '#' => "# begins no comment here; write //".to_owned(),
        '&' | '|' => format!("there is no {c}; join comparisons with all {{…, …}} or any {{…, …}}"),
        '<' | '>' => format!("there is no {c}; times are compared with before or between"),
        '!' => "there is no ! alone; write != between variable and value".to_owned(),
        '*' => "a * stands only in a pattern, at its beginning or end: /prod*/".to_owned(),
        c if c.is_control() => "a control character; remove it".to_owned(),
        c => format!("{c:?} cannot stand here; put a name or value that holds it into single quotes"),
    }
}
