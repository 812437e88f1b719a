//! Bytes of a saved fleet: numbers of 7 bits a byte, texts with their length, a head with version and checksum. Reading checks every
//! count and every id before it is used.

use sha2::{Digest, Sha256};

/// What a saved fleet begins with; the number is the form's version.
const MAGIC: &[u8; 8] = b"ddfleet\x01";
/// SHA-256 of the body, behind the magic.
const DIGEST_BYTES: usize = 32;

/// A saved fleet that cannot be used: start from nothing and put everything anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Written by another version, or something else altogether.
    #[error("the saved applicability state has another form; it is computed anew")]
    Form,
    /// Cut short or changed.
    #[error("the saved applicability state is damaged (its checksum differs); it is computed anew")]
    Damaged,
    /// Checksum right, content impossible.
    #[error("the saved applicability state names {0} that it does not hold; it is computed anew")]
    Inconsistent(&'static str),
}

/// Writes.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n as u8 & 0x7f) | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    pub fn id(&mut self, n: u32) {
        self.number(u64::from(n));
    }

    /// An id that may be "none".
    pub fn maybe(&mut self, n: u32) {
        self.number(if n == u32::MAX { 0 } else { u64::from(n) + 1 });
    }

    pub fn count(&mut self, n: usize) {
        self.number(n as u64);
    }

    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn list<T>(&mut self, list: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.count(list.len());
        list.iter().for_each(|item| each(self, item));
    }

    /// The whole, with its head.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + MAGIC.len() + DIGEST_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&Sha256::digest(&self.0));
        out.extend_from_slice(&self.0);
        out
    }
}

/// Reads.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the head.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BadState> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadState::Form)?;
        let (digest, body) = rest.split_at_checked(DIGEST_BYTES).ok_or(BadState::Damaged)?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(BadState::Damaged);
        }
        Ok(Reader(body))
    }

    pub fn number(&mut self) -> Result<u64, BadState> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(BadState::Damaged)?;
            self.0 = rest;
            n |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(BadState::Damaged)
    }

    /// An id below `bound`.
    pub fn id(&mut self, bound: usize, what: &'static str) -> Result<u32, BadState> {
        let n = self.number()?;
        if n < bound as u64 {
            u32::try_from(n).map_err(|_| BadState::Inconsistent(what))
        } else {
            Err(BadState::Inconsistent(what))
        }
    }

    /// "None" or an id below `bound`.
    pub fn maybe(&mut self, bound: usize, what: &'static str) -> Result<u32, BadState> {
        match self.number()? {
            0 => Ok(u32::MAX),
            n if n <= bound as u64 => u32::try_from(n - 1).map_err(|_| BadState::Inconsistent(what)),
            _ => Err(BadState::Inconsistent(what)),
        }
    }

    /// How many items follow: each takes at least one byte, so a wrong count cannot ask for more memory than was given.
    pub fn count(&mut self) -> Result<usize, BadState> {
        let n = usize::try_from(self.number()?).map_err(|_| BadState::Damaged)?;
        if n <= self.0.len() { Ok(n) } else { Err(BadState::Damaged) }
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], BadState> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(BadState::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn text(&mut self) -> Result<&'a str, BadState> {
        let n = self.count()?;
        std::str::from_utf8(self.bytes(n)?).map_err(|_| BadState::Damaged)
    }

    pub fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Result<T, BadState>) -> Result<Vec<T>, BadState> {
        (0..self.count()?).map(|_| each(self)).collect()
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), BadState> {
        if self.0.is_empty() { Ok(()) } else { Err(BadState::Damaged) }
    }
}
