//! The chain: what a record's hash covers, and what a seal's signature covers.
//!
//! `hash(n) = SHA-256("drydock-audit-record-v1\n" ‖ hash(n−1) ‖ n ‖ at ‖ texts ‖ duration)`, where `hash(0)` is 32 zero
//! bytes; `n` is 8 bytes, `at` 8 bytes (microseconds since 1970 UTC, two's complement), each text is its length in 4 bytes
//! and its UTF-8 bytes, in the order of [`Record`]'s fields; duration is one byte 0, or one byte 1 and 8 bytes. All numbers
//! are big-endian. Lengths stand before texts, so no two records have the same bytes.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Record;

/// What the hash of every record begins with; another form of records gets another one.
pub const RECORD_CONTEXT: &[u8] = b"drydock-audit-record-v1\n";
/// What a seal's signature covers in front of the seal: a signature made for anything else never fits.
pub const SEAL_CONTEXT: &[u8] = b"drydock-audit-seal-v1\n";

/// A hash of the chain.
pub type Hash = [u8; 32];

/// The hash before the first record.
pub const GENESIS: Hash = [0; 32];

/// The hash of record number `seq`, which follows the record whose hash is `previous`. `scratch` is overwritten: a million
/// records need one buffer.
pub fn hash(scratch: &mut Vec<u8>, previous: &Hash, seq: u64, record: &Record<'_>) -> Hash {
    scratch.clear();
    scratch.extend_from_slice(RECORD_CONTEXT);
    scratch.extend_from_slice(previous);
    scratch.extend_from_slice(&seq.to_be_bytes());
    scratch.extend_from_slice(&record.at.as_microsecond().to_be_bytes());
    let Record { at: _, who_kind, who_id, who, address, request_id, operation, compartment, resource, .. } = record;
    let Record { decision, reason, parameters, outcome, error, duration_ms, .. } = record;
    for text in [
        who_kind,
        who_id,
        who,
        address,
        request_id,
        operation,
        compartment,
        resource,
        decision,
        reason,
        parameters,
        outcome,
        error,
    ] {
        // Texts are bounded far below 4 GiB; the whole bytes follow in any case.
        scratch.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        scratch.extend_from_slice(text.as_bytes());
    }
    match duration_ms {
        None => scratch.push(0),
        Some(ms) => {
            scratch.push(1);
            scratch.extend_from_slice(&ms.to_be_bytes());
        }
    }
    Sha256::digest(&scratch[..]).into()
}

/// What a seal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealKind {
    /// Made from time to time while records come in; follows the seal of record `after` (0: the first one).
    Interval {
        /// Number of the record sealed before.
        after: u64,
    },
    /// The last line of an export that begins with record `first`: nothing follows.
    Export {
        /// Number of the first record.
        first: u64,
    },
}

/// A signed head of the chain: up to record `seq`, everything was as `hash` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Why it was made.
    pub kind: SealKind,
    /// The last record it covers.
    pub seq: u64,
    /// That record's hash.
    pub hash: Hash,
    /// When it was signed.
    pub at: Timestamp,
    /// Ed25519 public key of who signed.
    pub key: [u8; 32],
    /// Ed25519 signature over [`Seal::signed_bytes`].
    pub signature: [u8; 64],
}

impl Seal {
    /// What the signature covers: [`SEAL_CONTEXT`], one byte of kind (0 interval, 1 export), 8 bytes `after` or `first`,
    /// 8 bytes number, the hash, 8 bytes time in microseconds, the key.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let (kind, number) = match self.kind {
            SealKind::Interval { after } => (0, after),
            SealKind::Export { first } => (1, first),
        };
        let mut out = SEAL_CONTEXT.to_vec();
        out.push(kind);
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.at.as_microsecond().to_be_bytes());
        out.extend_from_slice(&self.key);
        out
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    push_hex(&mut out, bytes);
    out.into_iter().map(char::from).collect()
}

pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Reads what [`hex`] wrote; nothing else, so capitals are refused.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    fn digit(b: u8) -> Option<u8> {
        match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        }
    }
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (to, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// A key's fingerprint, for people to compare: SHA-256, hex.
pub fn key_fingerprint(key: &[u8; 32]) -> String {
    hex(&Sha256::digest(key))
}
