//! Access tokens of instances: what a host shows when it asks for something beyond its agent's own calls. A token is not
//! stored: it says whose it is, for which key of the agent and until when, and is signed by the server. It lives for minutes,
//! and whether the host and its key are still good is looked up at every use. Absent on purpose: what its bearer may do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drydock_domain::audit::chain::{hex, unhex};
use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use uuid::Uuid;

use crate::context::Secret;
use crate::key::WorkKey;

/// What such a token begins with.
pub(crate) const PREFIX: &str = "ddi_";
/// Stands before what is signed: a signature of something else is never taken for one of these.
const CONTEXT: &[u8] = b"drydock-instance-token-v1\n";
/// Id, SHA-256 of the agent's key, end in microseconds: bytes.
const CLAIMS_BYTES: usize = 16 + 32 + 8;
/// Ed25519.
const SIGNATURE_BYTES: usize = 64;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Whose it is.
    pub(crate) instance: InstanceId,
    /// SHA-256 of the public key the agent showed when it asked, lower-case hex.
    pub(crate) spki_sha256: String,
    /// Not good from then on.
    pub(crate) expires_at: Timestamp,
}

/// Writes and signs a token. `None`: the key's digest is none.
pub(crate) fn write(key: &WorkKey, claims: &Claims) -> Option<Secret> {
    let digest = unhex::<32>(&claims.spki_sha256)?;
    let mut bytes = Vec::with_capacity(CLAIMS_BYTES + SIGNATURE_BYTES);
    bytes.extend_from_slice(claims.instance.0.as_bytes());
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&claims.expires_at.as_microsecond().to_be_bytes());
    let signature = key.sign_token(&signed(&bytes));
    bytes.extend_from_slice(&signature);
    Some(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// Reads a token that this server's key has signed; `None`: it has not, or it is no token.
pub(crate) fn read(key: &WorkKey, token: &str) -> Option<Claims> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    if bytes.len() != CLAIMS_BYTES + SIGNATURE_BYTES {
        return None;
    }
    let (claims, signature) = bytes.split_at(CLAIMS_BYTES);
    if !key.has_signed_token(&signed(claims), signature) {
        return None;
    }
    let (id, rest) = claims.split_first_chunk::<16>()?;
    let (digest, end) = rest.split_first_chunk::<32>()?;
    let end = i64::from_be_bytes(end.try_into().ok()?);
    Some(Claims {
        instance: InstanceId(Uuid::from_bytes(*id)),
        spki_sha256: hex(digest),
        expires_at: Timestamp::from_microsecond(end).ok()?,
    })
}

fn signed(claims: &[u8]) -> Vec<u8> {
    [CONTEXT, claims].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            instance: InstanceId(Uuid::from_u128(7)),
            spki_sha256: "ab".repeat(32),
            expires_at: Timestamp::from_second(1_800_000_000).expect("a time"),
        }
    }

    #[test]
    fn a_token_says_what_was_signed_and_no_byte_of_it_can_be_changed() {
        let (key, _) = WorkKey::generate().expect("a key");
        let (other, _) = WorkKey::generate().expect("a key");
        let token = write(&key, &claims()).expect("written");
        assert_eq!(read(&key, token.expose()), Some(claims()));
        assert_eq!(read(&other, token.expose()), None, "another server's");
        let bytes = URL_SAFE_NO_PAD.decode(token.expose().strip_prefix(PREFIX).expect("begins so")).expect("base64");
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(read(&key, &format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed))), None, "byte {place}");
        }
        for text in ["", "ddi_", "ddt_abc", "ddi_!!!", &token.expose()[..100], &format!("{}AAAA", token.expose())] {
            assert_eq!(read(&key, text), None, "{text}");
        }
    }

    #[test]
    fn a_signature_of_an_order_is_none_of_a_token() {
        let (key, _) = WorkKey::generate().expect("a key");
        let token = write(&key, &claims()).expect("written");
        let mut bytes = URL_SAFE_NO_PAD.decode(token.expose().strip_prefix(PREFIX).expect("begins so")).expect("base64");
        let forged = key.sign(&bytes[..CLAIMS_BYTES]);
        bytes.splice(CLAIMS_BYTES.., forged);
        assert_eq!(read(&key, &format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))), None);
    }
}
