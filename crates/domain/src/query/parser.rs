//! From pieces to the tree, by recursive descent:
//!
//! ```text
//! or   := and { "or" and }        term := FIELD comparison VALUE | "package" NAME [comparison VERSION] | …
//! and  := not { "and" not }
//! not  := "not" not | "(" or ")" | term
//! ```
//!
//! Recursion is bounded by [`QUERY_NESTING_MAX`].

use super::ast::{Comparison, Equality, Expr, PackageTerm, SectionTerm, Term, UNITS};
use super::error::{BadQuery, nearest, shown};
use super::fields::{FIELDS, Field, Flag, MEANT, TextField, VersionField, field_of};
use super::glob::{Glob, is_joining};
use super::lexer::{self, Spanned, Token};
use super::{AGE_MAX_SECS, QUERY_NESTING_MAX, QUERY_TERMS_MAX};
use crate::instance::InstanceState;
use crate::inventory::ManagerKind;
use crate::limits::LABEL_MAX_BYTES;
use crate::version::{deb, rpm};

/// A term that shows how one looks, for refusals of nothing.
const EXAMPLE: &str = "package openssl < 3.0.14 and label env=prod";
/// The package managers, as they are listed in refusals.
const MANAGERS: [ManagerKind; 5] = [ManagerKind::Apt, ManagerKind::Dnf, ManagerKind::Dnf5, ManagerKind::Yum, ManagerKind::Zypper];

type Result<T> = std::result::Result<T, BadQuery>;

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Expr> {
    let (tokens, end) = lexer::read(text)?;
    if tokens.is_empty() {
        return Err(BadQuery::new(1, format!("the filter is empty; write for example {EXAMPLE}")));
    }
    let mut parser = Parser { tokens: &tokens, at: 0, end, depth: 0, terms: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(Token::Close) => Err(parser.error("this ) closes nothing; remove it or open a ( before")),
        Some(_) => Err(parser.expected("and, or, or the end")),
    }
}

struct Parser<'a> {
    tokens: &'a [Spanned],
    at: usize,
    /// The column after the last token.
    end: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |t| t.column)
    }

    fn error(&self, message: impl Into<String>) -> BadQuery {
        BadQuery::new(self.column(), message)
    }

    fn expected(&self, what: &str) -> BadQuery {
        self.error(format!("expected {what}, found {}", found(self.peek())))
    }

    fn joins(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.joins(word);
        self.at += usize::from(there);
        there
    }

    fn or(&mut self) -> Result<Expr> {
        let mut parts = vec![self.and()?];
        while self.take("or") {
            parts.push(self.and()?);
        }
        Expr::any(parts).ok_or_else(|| self.expected("a term"))
    }

    fn and(&mut self) -> Result<Expr> {
        let mut parts = vec![self.not()?];
        while self.take("and") {
            parts.push(self.not()?);
        }
        Expr::all(parts).ok_or_else(|| self.expected("a term"))
    }

    fn not(&mut self) -> Result<Expr> {
        let opens = matches!(self.peek(), Some(Token::Open));
        if !opens && !self.joins("not") {
            return self.term().map(Expr::Term);
        }
        if self.depth == QUERY_NESTING_MAX {
            return Err(self.error(format!("more than {QUERY_NESTING_MAX} ( and not inside each other; write it flatter")));
        }
        let column = self.column();
        self.at += 1;
        self.depth += 1;
        let inner = if opens { self.or()? } else { Expr::Not(Box::new(self.not()?)) };
        self.depth -= 1;
        if opens {
            if !matches!(self.peek(), Some(Token::Close)) {
                return Err(self.expected(&format!("and, or, or the ) that closes the ( of column {column}")));
            }
            self.at += 1;
        }
        Ok(inner)
    }

    fn term(&mut self) -> Result<Term> {
        let word = match self.peek() {
            Some(Token::Word(word)) if !is_joining(word) => word,
            _ => return Err(self.expected("a field such as package, os.version or label")),
        };
        let Some(field) = field_of(word) else { return Err(self.error(unknown(word))) };
        self.terms += 1;
        if self.terms > QUERY_TERMS_MAX {
            return Err(self.error(format!("more than {QUERY_TERMS_MAX} terms; use wildcards, labels or groups")));
        }
        self.at += 1;
        match field {
            Field::Package => self.package(),
            Field::Update => self.named("the name of a package").map(|v| Term::Section(SectionTerm::Update(v))),
            Field::Advisory => self.named("an advisory such as ELSA-2026-1234").map(|v| Term::Section(SectionTerm::Advisory(v))),
            Field::Cve => self.named("a CVE such as CVE-2026-1234").map(|v| Term::Section(SectionTerm::Cve(v.into_cve()))),
            Field::Label => self.label(),
            Field::State => self.state(),
            Field::LastSeen => self.last_seen(),
            Field::Text(field) => self.text(field),
            Field::Version(field) => self.version(field),
            Field::Count(field) => {
                let op = self.comparison(field.as_str())?;
                Ok(Term::Count(field, op, self.number()?))
            }
            Field::Flag(flag) => self.flag(flag),
        }
    }

    fn package(&mut self) -> Result<Term> {
        let name = self.named("the name of a package")?;
        let version = match self.peek() {
            Some(Token::Compare(op)) => {
                self.at += 1;
                let column = self.column();
                let value = self.value("a version")?;
                check_version(*op, &value).map_err(|message| BadQuery::new(column, message))?;
                Some((*op, value))
            }
            // `package openssl 3.0.14`: what stands there is a version, not the next term.
            Some(Token::Word(word)) if !is_joining(word) && field_of(word).is_none() => {
                return Err(self.expected("a comparison (< <= = != >= >), and, or, or the end"));
            }
            _ => None,
        };
        Ok(Term::Section(SectionTerm::Package(PackageTerm { name, version })))
    }

    fn label(&mut self) -> Result<Term> {
        let column = self.column();
        let key = self.value("the key of a label")?;
        let key = key.exact().filter(|key| is_label_key(key)).map(str::to_owned).ok_or_else(|| {
            BadQuery::new(column, format!("{key} is no key of a label: it starts with a-z and holds a-z 0-9 _ -"))
        })?;
        if !matches!(self.peek(), Some(Token::Compare(_))) {
            return Ok(Term::Label(key, None));
        }
        let op = self.equality("label")?;
        Ok(Term::Label(key, Some((op, self.value("the value of a label")?))))
    }

    fn state(&mut self) -> Result<Term> {
        let op = self.equality("state")?;
        let column = self.column();
        let value = self.value("PENDING, ACTIVE, REJECTED or REVOKED")?;
        let state = value.exact().and_then(|text| InstanceState::parse(&text.to_ascii_uppercase()));
        let state = state.ok_or_else(|| {
            BadQuery::new(column, format!("expected PENDING, ACTIVE, REJECTED or REVOKED, found {}", shown(&value.to_string())))
        })?;
        Ok(Term::State(op, state))
    }

    fn last_seen(&mut self) -> Result<Term> {
        let op = self.comparison("lastSeen")?;
        if op.equality().is_some() {
            self.at -= 1;
            return Err(self.error("lastSeen takes < <= >= or >, for example lastSeen < 2d for hosts seen in the last two days"));
        }
        let column = self.column();
        let value = self.value("a duration such as 30m or 2d")?;
        let secs = value.exact().and_then(seconds).ok_or_else(|| {
            let text = shown(&value.to_string());
            BadQuery::new(
                column,
                format!("expected a duration such as 90s, 30m, 12h, 2d or 1w, of ten years at most, found {text}"),
            )
        })?;
        Ok(Term::LastSeen(op, secs))
    }

    fn text(&mut self, field: TextField) -> Result<Term> {
        let op = self.equality(field.as_str())?;
        let column = self.column();
        let value = self.value("a value")?;
        if field == TextField::Manager
            && let Some(text) = value.exact()
            && !MANAGERS.iter().any(|m| m.as_str() == text)
        {
            let names: Vec<&str> = MANAGERS.iter().map(|m| m.as_str()).collect();
            return Err(BadQuery::new(column, format!("expected one of {}, found {}", names.join(", "), shown(text))));
        }
        Ok(Term::Text(field, op, value))
    }

    fn version(&mut self, field: VersionField) -> Result<Term> {
        let op = self.comparison(field.as_str())?;
        let column = self.column();
        let value = self.value("a version")?;
        if op.equality().is_none() && value.exact().is_none_or(str::is_empty) {
            return Err(BadQuery::new(column, wild(op, &value)));
        }
        Ok(Term::Version(field, op, value))
    }

    fn flag(&mut self, flag: Flag) -> Result<Term> {
        let name = flag.as_str();
        match self.peek() {
            Some(Token::Compare(_)) => Err(self.error(format!("{name} takes no comparison; write {name} or not {name}"))),
            _ => Ok(Term::Flag(flag)),
        }
    }

    fn comparison(&mut self, field: &str) -> Result<Comparison> {
        match self.peek() {
            Some(Token::Compare(op)) => {
                self.at += 1;
                Ok(*op)
            }
            _ => Err(self.expected(&format!("a comparison (< <= = != >= >) after {field}"))),
        }
    }

    fn equality(&mut self, field: &str) -> Result<Equality> {
        match self.peek() {
            Some(Token::Compare(op)) => {
                let equality = op.equality().ok_or_else(|| self.expected(&format!("= or != after {field}")))?;
                self.at += 1;
                Ok(equality)
            }
            _ => Err(self.expected(&format!("= or != after {field}"))),
        }
    }

    fn number(&mut self) -> Result<u64> {
        let column = self.column();
        let value = self.value("a number")?;
        let digits = value.exact().filter(|t| (1..=9).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|t| t.parse().ok()).ok_or_else(|| {
            BadQuery::new(column, format!("expected a number up to 999999999, found {}", shown(&value.to_string())))
        })
    }

    /// A value that is not empty.
    fn named(&mut self, what: &str) -> Result<Glob> {
        let column = self.column();
        let value = self.value(what)?;
        if value.exact() == Some("") {
            return Err(BadQuery::new(column, format!("expected {what}, found an empty text")));
        }
        Ok(value)
    }

    fn value(&mut self, what: &str) -> Result<Glob> {
        let value = match self.peek() {
            Some(Token::Word(word)) if is_joining(word) => {
                let text = format!("expected {what}, found {word}; write \"{word}\" in quotes if that is it");
                return Err(self.error(text));
            }
            Some(Token::Word(word)) => Glob::word(word),
            Some(Token::Quoted(value)) => value.clone(),
            _ => return Err(self.expected(what)),
        };
        self.at += 1;
        Ok(value)
    }
}

fn found(token: Option<&Token>) -> String {
    match token {
        None => "the end".to_owned(),
        Some(Token::Open) => "(".to_owned(),
        Some(Token::Close) => ")".to_owned(),
        Some(Token::Compare(op)) => op.as_str().to_owned(),
        Some(Token::Word(word)) => shown(word),
        Some(Token::Quoted(text)) => shown(text.exact().unwrap_or(&text.to_string())),
    }
}

fn unknown(word: &str) -> String {
    let meant = MEANT.iter().find(|(wrong, _)| wrong.eq_ignore_ascii_case(word)).map(|(_, right)| *right);
    let text = format!("there is no field {}", shown(word));
    match meant.or_else(|| nearest(word, FIELDS.iter().map(|(name, _)| *name))) {
        Some(right) => format!("{text}; did you mean {right}?"),
        None => {
            let all: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            format!("{text}; the fields are {}", all.join(", "))
        }
    }
}

fn is_label_key(key: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    key.len() <= LABEL_MAX_BYTES && key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(tail)
}

/// Is this a version that packages may have, for a comparison that needs one?
fn check_version(op: Comparison, value: &Glob) -> std::result::Result<(), String> {
    match value.exact() {
        None | Some("") if op.equality().is_none() => Err(wild(op, value)),
        Some("") => Err("expected a version, found an empty text".to_owned()),
        Some(text) => match (rpm::parse(text), deb::parse(text)) {
            (Err(bad), Err(_)) => Err(bad.to_string()),
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

fn wild(op: Comparison, value: &Glob) -> String {
    let text = value.to_string();
    format!("expected a version after {}, found {}; wildcards go with = and != only", op.as_str(), shown(&text))
}

/// `2d`, `1d12h`; at most ten years.
fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, size) = UNITS.into_iter().find(|(unit, _)| *unit == c)?;
        total = digits.parse::<u64>().ok()?.checked_mul(size)?.checked_add(total)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty() && total <= AGE_MAX_SECS).then_some(total)
}
