//! Which signatures count: made by a key of the source that may sign now ([`super::cert`]), over these bytes, with a hash
//! that still holds, not in the future, not expired. One good signature is enough; a key of the source whose signature
//! does not fit the bytes makes the whole refused, as apt does.

use std::time::Duration;

use jiff::Timestamp;
use pgp::composed::{Deserializable as _, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType, SubpacketData};

use super::cert::{Cert, Signer, issuer};
use super::{OpenPgpError, armor, clear, jiff_time};

/// Keys a source may have, certificates.
const CERTS_MAX: usize = 256;
/// Signatures on one file; Debian's have three.
const SIGNATURES_MAX: usize = 16;
/// Keys tried for one signature. One that names its maker fits one or two; one that names nobody could fit all, and every
/// try reads the whole file.
const CANDIDATES_MAX: usize = 8;
/// How far in the future a signature may be: clocks differ.
const FUTURE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A signature that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Fingerprint of the signer's primary key, upper-case hexadecimal.
    pub fingerprint: String,
    /// When it was made.
    pub signed_at: Timestamp,
    /// What is wrong with it though it is accepted; becomes a finding.
    pub weak: Option<String>,
}

/// The keys of a source.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    certs: Vec<Cert>,
}

/// What one signature came to.
enum Outcome {
    Good(Verified),
    /// Made by a key the source does not have.
    Unknown(String),
    /// By a key of the source, over other bytes.
    Bad(String),
    /// By a key of the source, and it does not count.
    Refused(String),
}

impl Keyring {
    /// Reads armoured public keys, each text one or several.
    ///
    /// # Errors
    /// When one holds no public key, is binary, or is beyond the bounds.
    pub fn parse(texts: &[String]) -> Result<Keyring, OpenPgpError> {
        let mut certs: Vec<Cert> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let refused = |problem: String| OpenPgpError::Key { number: index + 1, problem };
            let blocks = armor::blocks(text, "PUBLIC KEY BLOCK").map_err(refused)?;
            if blocks.is_empty() {
                return Err(refused(no_block(text)));
            }
            for block in blocks {
                let before = certs.len();
                let parsed = SignedPublicKey::from_bytes_many(block.as_slice()).map_err(|e| refused(e.to_string()))?;
                for key in parsed {
                    certs.push(Cert::new(key.map_err(|e| refused(format!("it is no usable public key: {e}")))?));
                    if certs.len() > CERTS_MAX {
                        return Err(refused(format!("a source has at most {CERTS_MAX} keys")));
                    }
                }
                if certs.len() == before {
                    return Err(refused("it holds no public key".to_owned()));
                }
            }
        }
        Ok(Keyring { certs })
    }

    /// It has no keys.
    pub fn is_empty(&self) -> bool {
        self.certs.is_empty()
    }

    /// Fingerprints of the primary keys.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certs.iter().map(|cert| cert.fingerprint.clone()).collect()
    }

    /// Checks a signature that stands apart (`Release.gpg`, `repomd.xml.asc`), armoured or binary.
    ///
    /// # Errors
    /// Why no signature counts.
    pub fn verify_detached(&self, data: &[u8], signature: &[u8], now: Timestamp) -> Result<Verified, OpenPgpError> {
        self.verify(data, &signatures(signature)?, now)
    }

    /// Checks a clear-signed text (`InRelease`) and returns what is signed of it.
    ///
    /// # Errors
    /// Why no signature counts.
    pub fn verify_clearsigned(&self, text: &[u8], now: Timestamp) -> Result<(String, Verified), OpenPgpError> {
        let clear = clear::split(text)?;
        let verified = self.verify(&clear.signed, &signatures(clear.signature.as_bytes())?, now)?;
        Ok((clear.payload, verified))
    }

    fn verify(&self, data: &[u8], signatures: &[Signature], now: Timestamp) -> Result<Verified, OpenPgpError> {
        if self.certs.is_empty() {
            return Err(OpenPgpError::NoKeys);
        }
        let (mut good, mut unknown, mut bad, mut reasons) = (None, Vec::new(), Vec::new(), Vec::new());
        for signature in signatures {
            match self.judge(signature, data, now) {
                Outcome::Good(verified) => good = good.or(Some(verified)),
                Outcome::Unknown(issuer) => unknown.push(issuer),
                Outcome::Bad(reason) => bad.push(reason),
                Outcome::Refused(reason) => reasons.push(reason),
            }
        }
        if !bad.is_empty() {
            return Err(OpenPgpError::Refused { reasons: bad });
        }
        if let Some(mut verified) = good {
            if let Some(reason) = reasons.into_iter().next() {
                verified.weak.get_or_insert(format!("another signature on it does not count: {reason}"));
            }
            return Ok(verified);
        }
        if reasons.is_empty() {
            return Err(OpenPgpError::UnknownKey { signers: unknown, known: self.fingerprints() });
        }
        Err(OpenPgpError::Refused { reasons })
    }

    fn judge(&self, signature: &Signature, data: &[u8], now: Timestamp) -> Outcome {
        let by = issuer(signature);
        let candidates: Vec<(&Cert, Signer<'_>)> = self
            .certs
            .iter()
            .flat_map(|cert| cert.candidates(signature).into_iter().map(move |signer| (cert, signer)))
            .take(CANDIDATES_MAX)
            .collect();
        if candidates.is_empty() {
            return Outcome::Unknown(by);
        }
        let signed_at = match acceptable(signature, now) {
            Ok(at) => at,
            Err(reason) => return Outcome::Refused(format!("the signature of {by} does not count: {reason}")),
        };
        let mut refused = None;
        for (cert, signer) in candidates {
            let fits = match &signer {
                Signer::Primary(key) => signature.verify(*key, data),
                Signer::Sub(sub) => signature.verify(&sub.key, data),
            };
            if fits.is_err() {
                continue;
            }
            match cert.may_sign(&signer, signed_at, now) {
                Ok(()) => {
                    let weak = cert.weakness(&signer);
                    return Outcome::Good(Verified { fingerprint: cert.fingerprint.clone(), signed_at, weak });
                }
                Err(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(reason) => Outcome::Refused(reason),
            None => Outcome::Bad(format!("the signature of {by} does not fit the file: it was changed or is damaged")),
        }
    }
}

/// What a signature says of itself, before any key is asked.
fn acceptable(signature: &Signature, now: Timestamp) -> Result<Timestamp, String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("it is not a signature on data".to_owned());
    }
    match signature.hash_alg() {
        Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512) => {}
        Some(HashAlgorithm::Sha1) => {
            return Err("it uses SHA-1, which can be forged; the upstream must sign with SHA-256 or better".to_owned());
        }
        Some(other) => return Err(format!("it uses the hash {other}; SHA-256, SHA-384 and SHA-512 are accepted")),
        None => return Err("its version is not known".to_owned()),
    }
    let Some(config) = signature.config() else { return Err("its version is not known".to_owned()) };
    let unknown = |data: &SubpacketData| {
        matches!(data, SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_))
    };
    if config.hashed_subpackets().any(|p| p.is_critical && unknown(&p.data)) {
        return Err("it has a critical part that is not known here".to_owned());
    }
    let Some(created) = signature.created() else { return Err("it has no date".to_owned()) };
    let signed_at = jiff_time(created);
    if now.checked_add(FUTURE_MAX).is_ok_and(|limit| signed_at > limit) {
        return Err(format!("it was made at {signed_at}, in the future; check the clock of this server"));
    }
    let lifetime = signature.signature_expiration_time().map_or(0, |d| i64::from(d.as_secs()));
    if lifetime > 0 && signed_at.as_second() + lifetime <= now.as_second() {
        return Err("it has expired".to_owned());
    }
    Ok(signed_at)
}

/// Reads signature packets, armoured or binary.
fn signatures(given: &[u8]) -> Result<Vec<Signature>, OpenPgpError> {
    let malformed = |problem: String| OpenPgpError::Malformed { problem };
    if given.len() > armor::ARMOR_MAX_BYTES {
        return Err(malformed(format!("the signature is larger than {} bytes", armor::ARMOR_MAX_BYTES)));
    }
    let blocks = match std::str::from_utf8(given) {
        Ok(text) if text.contains("-----BEGIN PGP ") => armor::blocks(text, "SIGNATURE").map_err(malformed)?,
        _ => vec![given.to_vec()],
    };
    let mut found = Vec::new();
    for block in blocks {
        for packet in PacketParser::new(block.as_slice()) {
            match packet {
                Ok(Packet::Signature(signature)) => found.push(signature),
                Ok(_) | Err(_) if !found.is_empty() => {}
                Ok(_) => return Err(malformed("it holds something other than signatures".to_owned())),
                Err(e) => return Err(malformed(format!("it is no OpenPGP signature: {e}"))),
            }
            if found.len() > SIGNATURES_MAX {
                return Err(malformed(format!("it holds more than {SIGNATURES_MAX} signatures")));
            }
        }
    }
    if found.is_empty() { Err(malformed("it holds no signature".to_owned())) } else { Ok(found) }
}

fn no_block(text: &str) -> String {
    if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        "it is a private key; give the public one (`gpg --armor --export`)".to_owned()
    } else {
        "it is not ASCII-armoured; convert a keyring with `gpg --no-default-keyring --keyring ./FILE --armor --export`".to_owned()
    }
}
