//! Sort keys: bytes whose plain order is the order of versions, so that the hot path never parses. A key is made once per
//! version; ranks made from keys are compared as integers (room `applicability`).
//!
//! Both encodings are prefix-free where it matters: the end of a part is a byte of its own that stands exactly where the rules
//! put "nothing more".

use super::{BadVersion, Scheme, deb, rpm};

/// A version's sort key: `a.cmp(b)` of two keys of one scheme is [`super::compare`] of their versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(Box<[u8]>);

impl SortKey {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes the key of a version.
pub fn sort_key(scheme: Scheme, text: &str) -> Result<SortKey, BadVersion> {
    let mut out = Vec::with_capacity(text.len() + 12);
    match scheme {
        Scheme::Rpm => rpm_key(&rpm::parse(text)?, &mut out),
        Scheme::Deb => deb_key(&deb::parse(text)?, &mut out),
    }
    Ok(SortKey(out.into_boxed_slice()))
}

/// `~`: before everything, the end included.
const TILDE: u8 = 1;
/// Nothing more.
const END: u8 = 2;
/// rpm: `^`: after the end, before more.
const CARET: u8 = 3;
/// rpm: a segment of letters.
const LETTERS: u8 = 4;
/// rpm: a segment of digits; newer than letters.
const DIGITS: u8 = 5;
/// deb: added to characters that are not letters, so that they sort after letters.
const AFTER_LETTERS: u8 = 0x80;

fn rpm_key(version: &rpm::RpmVersion<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&version.epoch().to_be_bytes());
    rpm_part(version.version().as_bytes(), out);
    // A missing release sorts before every release.
    match version.release() {
        None => out.push(0),
        Some(release) => {
            out.push(1);
            rpm_part(release.as_bytes(), out);
        }
    }
}

fn rpm_part(mut rest: &[u8], out: &mut Vec<u8>) {
    while let [first, after @ ..] = rest {
        match first {
            b'~' => out.push(TILDE),
            b'^' => out.push(CARET),
            b if b.is_ascii_digit() => {
                let (run, tail) = split(rest, u8::is_ascii_digit);
                out.push(DIGITS);
                number(run, out);
                rest = tail;
                continue;
            }
            b if b.is_ascii_alphabetic() => {
                let (run, tail) = split(rest, u8::is_ascii_alphabetic);
                out.push(LETTERS);
                out.extend_from_slice(run);
                // Less than any letter: a prefix sorts first.
                out.push(0);
                rest = tail;
                continue;
            }
            // Everything else only separates.
            _ => {}
        }
        rest = after;
    }
    out.push(END);
}

fn deb_key(version: &deb::DebVersion<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&version.epoch().to_be_bytes());
    deb_part(version.upstream().as_bytes(), out);
    deb_part(version.revision().as_bytes(), out);
}

/// Runs of non-digits and numbers in turn; an empty part is `0`.
fn deb_part(mut rest: &[u8], out: &mut Vec<u8>) {
    loop {
        let (run, tail) = split(rest, |b| !b.is_ascii_digit());
        for byte in run {
            out.push(match byte {
                b'~' => TILDE,
                b if b.is_ascii_alphabetic() => *b,
                b => b | AFTER_LETTERS,
            });
        }
        out.push(END);
        let (digits, tail) = split(tail, u8::is_ascii_digit);
        number(digits, out);
        rest = tail;
        if rest.is_empty() {
            out.push(END);
            return;
        }
    }
}

/// A number of any length: how many digits, then the digits, without leading zeros.
fn number(run: &[u8], out: &mut Vec<u8>) {
    let zeros = run.iter().take_while(|b| **b == b'0').count();
    let digits = &run[zeros..];
    // A version is at most VERSION_MAX_BYTES = 200 long.
    out.push(u8::try_from(digits.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(digits);
}

fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|b| !belongs(b)).unwrap_or(bytes.len()))
}
