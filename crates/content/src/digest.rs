//! Checksums: the SHA-256 that names everything we store, and the digests repositories name files by. MD5 is absent: a
//! file known by nothing better is refused.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDigest {
    /// Wrong length or not hexadecimal.
    #[error("{text:?} is not a {alg} checksum: {want} hexadecimal digits are needed")]
    Hex {
        /// What was given, cut to 160 characters.
        text: String,
        /// Which algorithm it was to be of.
        alg: Alg,
        /// Digits of such a checksum.
        want: usize,
    },
    /// Not one of ours.
    #[error("checksum type {0:?} is not accepted; sha1, sha256, sha384 and sha512 are (MD5 proves nothing any more)")]
    Algorithm(String),
    /// No `-` between algorithm and digits.
    #[error("{0:?} is not of the form sha256-<digits>")]
    Form(String),
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// As [`Digest`].
    pub fn digest(&self) -> Digest {
        Digest { alg: Alg::Sha256, hex: self.to_string() }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = BadDigest;

    /// Digits of either case.
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let bad = || bad_hex(text, Alg::Sha256);
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let high = nibble(pair[0]).ok_or_else(bad)?;
            let low = nibble(pair[1]).ok_or_else(bad)?;
            *byte = (high << 4) | low;
        }
        Ok(Sha256(out))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn bad_hex(text: &str, alg: Alg) -> BadDigest {
    BadDigest::Hex { text: text.chars().take(160).collect(), alg, want: alg.hex_digits() }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Algorithms that repositories name files by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alg {
    /// Only of old repositories; accepted as a checksum, never as part of a signature.
    Sha1,
    /// What we name things by.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Alg {
    const ALL: [Alg; 4] = [Alg::Sha1, Alg::Sha256, Alg::Sha384, Alg::Sha512];

    /// The name in digests and directories.
    pub fn as_str(self) -> &'static str {
        match self {
            Alg::Sha1 => "sha1",
            Alg::Sha256 => "sha256",
            Alg::Sha384 => "sha384",
            Alg::Sha512 => "sha512",
        }
    }

    /// Length of a checksum, hexadecimal digits.
    pub fn hex_digits(self) -> usize {
        match self {
            Alg::Sha1 => 40,
            Alg::Sha256 => 64,
            Alg::Sha384 => 96,
            Alg::Sha512 => 128,
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A checksum and its algorithm, written `sha256-<digits>`, always in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    alg: Alg,
    hex: String,
}

impl Digest {
    /// From digits of either case.
    pub fn new(alg: Alg, digits: &str) -> Result<Self, BadDigest> {
        if digits.len() != alg.hex_digits() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad_hex(digits, alg));
        }
        Ok(Digest { alg, hex: digits.to_ascii_lowercase() })
    }

    /// From the `type` of a `<checksum>` in yum metadata and its text.
    pub fn from_xml_type(kind: &str, digits: &str) -> Result<Self, BadDigest> {
        let alg = match kind {
            "sha" | "sha1" => Alg::Sha1,
            "sha256" => Alg::Sha256,
            "sha384" => Alg::Sha384,
            "sha512" => Alg::Sha512,
            other => return Err(BadDigest::Algorithm(other.chars().take(64).collect())),
        };
        Digest::new(alg, digits.trim())
    }

    /// Its algorithm.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// Its digits, lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The SHA-256, when it is one.
    pub fn sha256(&self) -> Option<Sha256> {
        if self.alg == Alg::Sha256 { self.hex.parse().ok() } else { None }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.alg, self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let (alg, digits) = text.split_once('-').ok_or_else(|| BadDigest::Form(text.chars().take(160).collect()))?;
        let alg = Alg::ALL
            .into_iter()
            .find(|a| a.as_str() == alg)
            .ok_or_else(|| BadDigest::Algorithm(alg.chars().take(64).collect()))?;
        Digest::new(alg, digits)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Counts and hashes what is written through it.
pub struct Hasher<W> {
    inner: W,
    state: sha2::Sha256,
    bytes: u64,
}

impl<W: Write> Hasher<W> {
    /// Around `inner`.
    pub fn new(inner: W) -> Self {
        Hasher { inner, state: sha2::Sha256::new(), bytes: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The inner writer, the checksum and the count of all bytes.
    pub fn finish(self) -> (W, Sha256, u64) {
        (self.inner, Sha256(self.state.finalize().into()), self.bytes)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.state.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that is not what was announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another length.
    #[error("it is {got} bytes long where {want} were announced")]
    Size {
        /// Announced, bytes.
        want: u64,
        /// Found, bytes.
        got: u64,
    },
    /// Another content.
    #[error("its checksum is {got} where {want} was announced")]
    Digest {
        /// Announced.
        want: Digest,
        /// Found.
        got: Digest,
    },
}

enum State {
    Sha1(sha1::Sha1),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

/// Compares bytes with every announced digest while they pass, and always makes the SHA-256.
pub struct Verifier {
    sha256: sha2::Sha256,
    others: Vec<(Alg, State)>,
    want: Vec<Digest>,
    size: Option<u64>,
    bytes: u64,
}

impl Verifier {
    /// For a file announced with these digests and this size.
    pub fn new(want: &[Digest], size: Option<u64>) -> Self {
        let mut others: Vec<(Alg, State)> = Vec::new();
        for digest in want {
            if others.iter().any(|(alg, _)| *alg == digest.alg) {
                continue;
            }
            match digest.alg {
                Alg::Sha256 => {}
                Alg::Sha1 => others.push((Alg::Sha1, State::Sha1(sha1::Sha1::new()))),
                Alg::Sha384 => others.push((Alg::Sha384, State::Sha384(sha2::Sha384::new()))),
                Alg::Sha512 => others.push((Alg::Sha512, State::Sha512(sha2::Sha512::new()))),
            }
        }
        Verifier { sha256: sha2::Sha256::new(), others, want: want.to_vec(), size, bytes: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for (_, state) in &mut self.others {
            match state {
                State::Sha1(s) => s.update(bytes),
                State::Sha384(s) => s.update(bytes),
                State::Sha512(s) => s.update(bytes),
            }
        }
        self.bytes += bytes.len() as u64;
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 and size, when everything announced is true.
    pub fn finish(self) -> Result<(Sha256, u64), Mismatch> {
        if let Some(want) = self.size
            && want != self.bytes
        {
            return Err(Mismatch::Size { want, got: self.bytes });
        }
        let sha256 = Sha256(self.sha256.finalize().into());
        let mut got = vec![sha256.digest()];
        for (alg, state) in self.others {
            let hex = match state {
                State::Sha1(s) => hex(&s.finalize()),
                State::Sha384(s) => hex(&s.finalize()),
                State::Sha512(s) => hex(&s.finalize()),
            };
            got.push(Digest { alg, hex });
        }
        for want in self.want {
            if let Some(got) = got.iter().find(|g| g.alg == want.alg && g.hex != want.hex) {
                return Err(Mismatch::Digest { want, got: got.clone() });
            }
        }
        Ok((sha256, self.bytes))
    }
}

impl Write for Verifier {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_forms() {
        assert_eq!(Sha256::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.to_uppercase().parse::<Sha256>(), Ok(Sha256::of(b"")));
        assert_eq!(serde_json::to_string(&Sha256::of(b"")).expect("json"), format!("\"{EMPTY}\""));
        let digest: Digest = format!("sha256-{EMPTY}").parse().expect("digest");
        assert_eq!(digest.sha256(), Some(Sha256::of(b"")));
        assert_eq!(Digest::from_xml_type("sha", &"A".repeat(40)).expect("sha1").to_string(), format!("sha1-{}", "a".repeat(40)));
        for bad in ["", "sha256-", "sha256-zz", "md5-d41d8cd98f00b204e9800998ecf8427e"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert!("ü".repeat(32).parse::<Sha256>().is_err());
        let err = Digest::from_xml_type("md5", "d41d8cd98f00b204e9800998ecf8427e").expect_err("md5");
        assert!(err.to_string().contains("MD5"), "{err}");
    }

    #[test]
    fn every_announced_digest_is_compared() {
        let sha1 = Digest::new(Alg::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d").expect("sha1 of abc");
        let mut good = Verifier::new(&[sha1.clone(), Sha256::of(b"abc").digest()], Some(3));
        good.update(b"a");
        good.update(b"bc");
        assert_eq!(good.finish(), Ok((Sha256::of(b"abc"), 3)));

        let mut short = Verifier::new(std::slice::from_ref(&sha1), Some(3));
        short.update(b"ab");
        assert_eq!(short.finish(), Err(Mismatch::Size { want: 3, got: 2 }));

        for alg in Alg::ALL {
            let wrong = Digest::new(alg, &"0".repeat(alg.hex_digits())).expect("zeros");
            let mut verifier = Verifier::new(&[sha1.clone(), wrong.clone()], None);
            verifier.update(b"abc");
            assert!(matches!(verifier.finish(), Err(Mismatch::Digest { want, .. }) if want == wrong), "{alg}");
        }
    }
}
