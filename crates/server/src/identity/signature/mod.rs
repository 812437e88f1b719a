//! Request signatures as clients of the Oracle service make them (draft-cavage-http-signatures-08, RSA with SHA-256):
//! [`header`] reads `Authorization: Signature …`, [`check`] says what was signed and whether it covers enough of the
//! request, [`date`] reads its date. All of it is pure: keys, the clock and signatures seen before are arguments or the
//! caller's business.
//!
//! The order for a caller: [`header::read`] → [`check::head`] → look the key up by [`header::KeyId`] →
//! [`check::Head::made_by`] → [`check::BodyRule::holds`] → for a changing request, refuse a [`check::Head::seen_key`] that
//! came before.

pub mod check;
pub mod date;
pub mod header;

#[cfg(test)]
mod tests;

use check::SKEW_MAX;
use header::{AUTHORIZATION_MAX_BYTES, HEADERS_MAX};

/// Why a signed request is not taken. Every one is answered with 401; a wrong signature, an unknown key and an unknown user
/// read alike, so that nobody learns who has a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than one Authorization header.
    #[error("the request has several Authorization headers")]
    SeveralAuthorizations,
    /// Not of the form `Signature name="value",…`.
    #[error("the Authorization header cannot be read: {0}")]
    Malformed(&'static str),
    /// Longer than any signature.
    #[error("the Authorization header is longer than {AUTHORIZATION_MAX_BYTES} bytes")]
    TooLong,
    /// A parameter that is not one of ours.
    #[error("the Authorization header has an unknown parameter; it takes algorithm, headers, keyId, signature and version")]
    UnknownParameter,
    /// A parameter came twice.
    #[error("the Authorization header has the parameter {0} twice")]
    Twice(&'static str),
    /// A parameter is not there.
    #[error("the Authorization header has no {0}")]
    Missing(&'static str),
    /// Another algorithm.
    #[error("the algorithm must be rsa-sha256")]
    Algorithm,
    /// Another version of the scheme.
    #[error("the version must be 1")]
    Version,
    /// Not `tenancy/user/fingerprint`.
    #[error("the keyId must be TENANCY/USER/FINGERPRINT, as `drydock access api-key add` prints it")]
    KeyId,
    /// The list of signed headers is broken.
    #[error("the list of signed headers must have 1 to {HEADERS_MAX} names in lower case, each once, with single spaces between")]
    HeaderList,
    /// A method that is not signed in any known way.
    #[error("requests with this method cannot be signed")]
    Method,
    /// A header that must be signed is not.
    #[error("the signature does not cover {0}")]
    NotCovered(&'static str),
    /// A signed header is not in the request.
    #[error("the signature covers a header that the request does not have: {0}")]
    Absent(String),
    /// A signed header is there more than once, or has bytes that are no text.
    #[error("the signed header {0} is ambiguous: send it once, as plain text")]
    Ambiguous(String),
    /// The date is no HTTP date.
    #[error("the date cannot be read; send it as `Sun, 22 Nov 2026 14:33:35 GMT`")]
    Date,
    /// The date is too far from now.
    #[error("the request's date is more than {} s away from the server's clock; set the clock, and sign anew", SKEW_MAX.as_secs())]
    Skew,
    /// The request names its target or host in a form that signatures do not cover.
    #[error("a signed request names its path in the request line and its host in the Host header, nothing else")]
    Target,
    /// Signed for another server.
    #[error("the request was signed for another host")]
    Host,
    /// The announced digest is no SHA-256 in base64.
    #[error("x-content-sha256 is not the base64 of a SHA-256")]
    Digest,
    /// The announced length is no number.
    #[error("content-length is not a number")]
    Length,
    /// The body is not the one that was signed.
    #[error("the body is not the one that was signed")]
    Body,
    /// The key did not make this signature, or nobody has this key.
    #[error("the signature is not one of a known key")]
    NoMatch,
    /// The same signature came before, with a request that changes something.
    #[error("this signature was used before; sign every request anew")]
    Replayed,
}
