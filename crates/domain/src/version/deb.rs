//! dpkg versions, deb-version(7): `[epoch:]upstream[-revision]`. Letters sort before everything else except `~`, which
//! sorts before the end; digits compare as numbers of any length; a missing revision equals `0`.

use std::cmp::Ordering;

use super::{BadVersion, VERSION_MAX_BYTES};

/// A version that was read.
#[derive(Debug, Clone, Copy)]
pub struct DebVersion<'a> {
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

/// Reads `[epoch:]upstream[-revision]`, as strict as `dpkg --validate-version`, except that the upstream part need not
/// start with a digit (dpkg only warns).
pub fn parse(text: &str) -> Result<DebVersion<'_>, BadVersion> {
    if text.len() > VERSION_MAX_BYTES {
        return Err(BadVersion::new(text, "it is longer than 200 bytes"));
    }
    let (epoch, rest) = match text.split_once(':') {
        // dpkg bounds the epoch by INT_MAX.
        Some((e, rest)) if !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()) => {
            let epoch = e.parse::<i32>().map_err(|_| BadVersion::new(text, "its epoch is larger than 2147483647"))?;
            (epoch.unsigned_abs(), rest)
        }
        Some(_) => return Err(BadVersion::new(text, "its epoch is not a number")),
        None => (0, text),
    };
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((_, "")) => return Err(BadVersion::new(text, "its revision is empty")),
        Some((u, r)) => (u, r),
        None => (rest, ""),
    };
    if upstream.is_empty() {
        return Err(BadVersion::new(text, "it has no upstream part"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".+~".contains(&b);
    if !upstream.bytes().all(|b| plain(b) || b == b'-' || b == b':') || !revision.bytes().all(plain) {
        return Err(BadVersion::new(text, "it holds a character other than letters, digits and . + - ~ :"));
    }
    Ok(DebVersion { epoch, upstream, revision })
}

impl<'a> DebVersion<'a> {
    /// Epoch; 0 when none is written.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The upstream part.
    pub fn upstream(&self) -> &'a str {
        self.upstream
    }

    /// The revision; empty when none is written.
    pub fn revision(&self) -> &'a str {
        self.revision
    }
}

impl Ord for DebVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| part(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| part(self.revision.as_bytes(), other.revision.as_bytes()))
    }
}

impl PartialOrd for DebVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebVersion<'_> {}

/// Weight of a character outside digit runs; the end of the string weighs as a digit does: 0.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

/// Compares alternating runs of non-digits and digits.
fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit()) || b.first().is_some_and(|c| !c.is_ascii_digit()) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (run_a, rest_a) = digits(a);
        let (run_b, rest_b) = digits(b);
        // Without leading zeros a longer run is a larger number.
        let order = run_a.len().cmp(&run_b.len()).then_with(|| run_a.cmp(run_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// Splits off the leading digits, without their leading zeros.
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    let zeros = run.iter().take_while(|b| **b == b'0').count();
    (&run[zeros..], rest)
}
