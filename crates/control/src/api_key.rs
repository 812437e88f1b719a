//! Public RSA keys of API clients: read from PEM, named by fingerprint, asked whether they made a signature. Absent on
//! purpose: where keys are kept, and what a request's signature covers (the server's `identity::signature`).
//!
//! The fingerprint is the MD5 of the key's DER form because that is how clients of the Oracle service name their keys. It
//! is a name among one user's keys and protects nothing: a signature is checked against the stored key itself.

use md5::{Digest, Md5};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Longest PEM text looked at, bytes: a key of 8,192 bits has about 1,500.
const PEM_MAX_BYTES: usize = 8 * 1024;
/// Shortest key taken, bits.
pub const KEY_MIN_BITS: usize = 2048;
/// Longest key taken, bits: the longest that the signature library verifies.
pub const KEY_MAX_BITS: usize = 8192;
/// Smallest public exponent taken; smaller ones turn sloppy padding checks anywhere into forgeries.
const EXPONENT_MIN: u64 = 65_537;
/// Longest public exponent, bits: the longest that the signature library verifies.
const EXPONENT_MAX_BITS: u32 = 33;

/// A public key that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadApiKey {
    /// Longer than any key.
    #[error("is longer than {PEM_MAX_BYTES} bytes; send one public key")]
    TooLong,
    /// A secret came instead of its public half.
    #[error(
        "holds a private key, which stays with you: send `openssl rsa -in KEY -pubout`, and consider this one known to others"
    )]
    Private,
    /// Not a public key in PEM form.
    #[error("is no public key in PEM form (`-----BEGIN PUBLIC KEY-----`); make one with `openssl rsa -in KEY -pubout`")]
    NotPem,
    /// Another algorithm.
    #[error("is no RSA key; requests are signed with rsa-sha256")]
    NotRsa,
    /// Too short or too long.
    #[error("has {0} bits; keys have {KEY_MIN_BITS} to {KEY_MAX_BITS}")]
    Bits(usize),
    /// An exponent nobody should use.
    #[error("has an unusual public exponent; make the key with `openssl genrsa`")]
    Exponent,
}

/// A public RSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPublicKey {
    /// PKCS#1 RSAPublicKey, DER.
    pkcs1: Vec<u8>,
    bits: usize,
    fingerprint: String,
}

impl ApiPublicKey {
    /// Reads exactly one `PUBLIC KEY` in PEM form.
    pub fn from_pem(pem: &str) -> Result<Self, BadApiKey> {
        if pem.len() > PEM_MAX_BYTES {
            return Err(BadApiKey::TooLong);
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(BadApiKey::Private);
        }
        let (rest, block) = parse_x509_pem(pem.trim().as_bytes()).map_err(|_| BadApiKey::NotPem)?;
        if block.label != "PUBLIC KEY" || !rest.trim_ascii().is_empty() || !pem.trim_start().starts_with("-----BEGIN") {
            return Err(BadApiKey::NotPem);
        }
        Self::from_der(&block.contents)
    }

    /// Reads a DER SubjectPublicKeyInfo.
    fn from_der(der: &[u8]) -> Result<Self, BadApiKey> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| BadApiKey::NotPem)?;
        if !rest.is_empty() {
            return Err(BadApiKey::NotPem);
        }
        if spki.algorithm.algorithm != OID_PKCS1_RSAENCRYPTION {
            return Err(BadApiKey::NotRsa);
        }
        let Ok(Parsed::RSA(rsa)) = spki.parsed() else { return Err(BadApiKey::NotRsa) };
        let bits = bits_of(rsa.modulus);
        if !(KEY_MIN_BITS..=KEY_MAX_BITS).contains(&bits) {
            return Err(BadApiKey::Bits(bits));
        }
        let exponent = rsa.try_exponent().map_err(|_| BadApiKey::Exponent)?;
        if exponent < EXPONENT_MIN || exponent.is_multiple_of(2) || exponent >= 1 << EXPONENT_MAX_BITS {
            return Err(BadApiKey::Exponent);
        }
        let hash: Vec<String> = Md5::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ApiPublicKey { pkcs1: spki.subject_public_key.data.to_vec(), bits, fingerprint: hash.join(":") })
    }

    /// MD5 of the DER SubjectPublicKeyInfo: lower-case hex with colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Length of the modulus, bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Did the holder of this key sign `message` (RSASSA-PKCS1-v1_5 with SHA-256)?
    pub fn made(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.pkcs1).verify(message, signature).is_ok()
    }
}

/// Bits of a big-endian number; leading zero bytes do not count.
fn bits_of(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else { return 0 };
    (number.len() - first) * 8 - number[first].leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The throw-away key of the vendor's client whose signatures the server's tests verify.
    const KNOWN: &str = include_str!("../tests/fixtures/known_key.pem");
    const SHORT: &str = include_str!("../tests/fixtures/rsa1024.pem");
    const EC: &str = include_str!("../tests/fixtures/p256.pem");
    const SMALL_EXPONENT: &str = include_str!("../tests/fixtures/rsa2048_e3.pem");

    #[test]
    fn a_key_is_named_as_the_vendors_clients_name_it() {
        let key = ApiPublicKey::from_pem(KNOWN).expect("a key");
        assert_eq!(key.fingerprint(), "ee:40:73:78:be:23:50:45:b3:b5:aa:cc:96:8e:02:67");
        assert_eq!(key.bits(), 2048);
        assert_eq!(ApiPublicKey::from_pem(&format!("\n{KNOWN}\n\n")), Ok(key));
    }

    #[test]
    fn what_is_no_usable_public_key_is_refused_with_its_reason() {
        assert_eq!(ApiPublicKey::from_pem(SHORT), Err(BadApiKey::Bits(1024)));
        assert_eq!(ApiPublicKey::from_pem(EC), Err(BadApiKey::NotRsa));
        assert_eq!(ApiPublicKey::from_pem(SMALL_EXPONENT), Err(BadApiKey::Exponent));
        assert_eq!(ApiPublicKey::from_pem(""), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem("ssh-rsa AAAA"), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem(&KNOWN.repeat(2)), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem(&format!("hello\n{KNOWN}")), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem(&KNOWN.replace("PUBLIC", "RSA PUBLIC")), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem(&KNOWN.replace("MIIBIjAN", "MIIBIzAN")), Err(BadApiKey::NotPem));
        assert_eq!(ApiPublicKey::from_pem(&"x".repeat(PEM_MAX_BYTES + 1)), Err(BadApiKey::TooLong));
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(ApiPublicKey::from_pem(private), Err(BadApiKey::Private));
    }
}
