//! OpenPGP: who signed the metadata of an upstream, and our own signatures on what we publish.
//!
//! The cryptography and the packet formats are the `pgp` crate's; it decides nothing. The policy is here: which keys are
//! valid when ([`cert`]), which signatures count ([`verify`]). Signing is in [`sign`], the server's own keys as files in
//! [`files`].
//!
//! Absent: trust paths. A source names the keys it trusts; a signature of one of them is good, any other is not.

mod armor;
mod cert;
mod clear;
pub mod files;
mod sign;
mod verify;

pub use clear::clearsigned_payload;
pub use files::{KeyState, KeyView, RepositoryKeys};
pub use sign::{RepositoryKey, clearsign, sign_detached};
pub use verify::{Keyring, Verified};

/// Why a key or a signature is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenPgpError {
    /// A public key cannot be read.
    #[error("key {number} of the source cannot be read: {problem}")]
    Key {
        /// Which key of the list, from 1.
        number: usize,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The source has no keys at all.
    #[error("the source has no keys; add the upstream's public key to `keys` of the source")]
    NoKeys,
    /// A signature or a signed text cannot be read.
    #[error("it cannot be read: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// Signed by keys the source does not have.
    #[error(
        "signed by {}, but the source has only {}; if the upstream has changed its key, add the new one to `keys` of the \
         source",
        signers.join(", "),
        known.join(", ")
    )]
    UnknownKey {
        /// Ids of the keys that signed.
        signers: Vec<String>,
        /// Fingerprints of the keys the source has.
        known: Vec<String>,
    },
    /// A key of the source signed, and the signature does not count.
    #[error("{}", reasons.join("; "))]
    Refused {
        /// One sentence a signature.
        reasons: Vec<String>,
    },
    /// Making a key or a signature failed.
    #[error("cannot {doing}: {problem}")]
    Signing {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        problem: String,
    },
    /// The files of the server's repository keys.
    #[error("repository keys in {path}: {problem}")]
    Files {
        /// Which file or directory.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A moment as OpenPGP counts it. Times outside its range become its ends.
fn pgp_time(at: jiff::Timestamp) -> pgp::types::Timestamp {
    pgp::types::Timestamp::from_secs(u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX))
}

/// The moment of an OpenPGP time.
fn jiff_time(at: pgp::types::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::from(at.as_secs())).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Upper-case hexadecimal, as gpg shows key ids and fingerprints.
fn upper_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// Keys, signatures and signed texts, for [`crate::fuzz`].
pub(crate) fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let ring = Keyring::parse(&[text]).unwrap_or_default();
    let now = jiff::Timestamp::UNIX_EPOCH;
    // Nothing may be accepted here: a seed's key never signed at the beginning of time.
    assert!(ring.verify_detached(b"data", input, now).is_err());
    assert!(ring.verify_clearsigned(input, now).is_err());
    if let Ok(payload) = clearsigned_payload(input) {
        assert!(payload.len() <= input.len());
    }
}

#[cfg(test)]
mod tests;
