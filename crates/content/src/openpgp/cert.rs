//! A public key with its subkeys, and whether one of them may sign data now. The rules are those gpg applies:
//!
//! - the primary key needs a valid self-signature; its expiry and flags are those of the newest one;
//! - a subkey needs a valid binding with the signing flag and the subkey's own signature back;
//! - a revocation counts whenever it was made and for whatever reason;
//! - an expired key is refused also for signatures made while it was valid: apt refuses them too.

use jiff::Timestamp;
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, PublicKey, Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, KeyId, PublicParams, Tag};

use super::{jiff_time, upper_hex};

/// Signatures looked at of one key: vendors' keys carry a few dozens, poisoned ones hundreds of thousands.
const SIGNATURES_MAX: usize = 2000;
/// Subkeys looked at of one key.
const SUBKEYS_MAX: usize = 64;
/// RSA keys shorter than this are accepted and called weak, bits.
const RSA_STRONG_BITS: usize = 2048;

/// One certificate, checked as far as it does not depend on the time.
#[derive(Debug, Clone)]
pub(super) struct Cert {
    key: SignedPublicKey,
    /// Fingerprint of the primary key, upper-case hexadecimal.
    pub fingerprint: String,
}

/// A key of a certificate that a signature names.
pub(super) enum Signer<'a> {
    Primary(&'a PublicKey),
    Sub(&'a SignedPublicSubKey),
}

impl Cert {
    pub fn new(mut key: SignedPublicKey) -> Cert {
        key.public_subkeys.truncate(SUBKEYS_MAX);
        Cert { fingerprint: upper_hex(key.fingerprint().as_bytes()), key }
    }

    /// The keys of this certificate that a signature may be of.
    pub fn candidates(&self, signature: &Signature) -> Vec<Signer<'_>> {
        let mut found = Vec::new();
        if names(signature, &self.key.primary_key) {
            found.push(Signer::Primary(&self.key.primary_key));
        }
        found.extend(self.key.public_subkeys.iter().filter(|sub| names(signature, &sub.key)).map(Signer::Sub));
        found
    }

    /// May this key sign data, judged now, for a signature made at `signed_at`? The answer says why not.
    pub fn may_sign(&self, signer: &Signer<'_>, signed_at: Timestamp, now: Timestamp) -> Result<(), String> {
        let primary = &self.key.primary_key;
        let name = &self.fingerprint;
        if self.key.details.revocation_signatures.iter().take(SIGNATURES_MAX).any(|s| s.verify_key(primary).is_ok()) {
            return Err(format!("key {name} is revoked; remove it from the source and add the upstream's new key"));
        }
        let Some(own) = self.newest_self_signature(now) else {
            return Err(format!("key {name} has no valid signature of its own; export it again, whole"));
        };
        expired(name, jiff_time(primary.created_at()), own, now)?;
        match signer {
            Signer::Primary(key) => {
                if signed_at < jiff_time(key.created_at()) {
                    return Err(format!("the signature is older than its key {name}"));
                }
                if flags(own).is_some_and(|flags| !flags.sign()) {
                    return Err(format!("key {name} may not sign data, only its subkeys may"));
                }
            }
            Signer::Sub(sub) => self.sub_may_sign(sub, signed_at, now)?,
        }
        Ok(())
    }

    fn sub_may_sign(&self, sub: &SignedPublicSubKey, signed_at: Timestamp, now: Timestamp) -> Result<(), String> {
        let primary = &self.key.primary_key;
        let name = format!("{} (subkey of {})", upper_hex(sub.key.fingerprint().as_bytes()), self.fingerprint);
        let of_type = |typ| {
            sub.signatures
                .iter()
                .take(SIGNATURES_MAX)
                .filter(move |s| s.typ() == Some(typ) && s.verify_subkey_binding(primary, &sub.key).is_ok())
        };
        if of_type(SignatureType::SubkeyRevocation).next().is_some() {
            return Err(format!("key {name} is revoked; add the upstream's renewed key to the source"));
        }
        let Some(binding) = newest(of_type(SignatureType::SubkeyBinding), now) else {
            return Err(format!("key {name} is not bound to its primary key; export the key again, whole"));
        };
        expired(&name, jiff_time(sub.key.created_at()), binding, now)?;
        if signed_at < jiff_time(sub.key.created_at()) {
            return Err(format!("the signature is older than its key {name}"));
        }
        if flags(binding).is_none_or(|flags| !flags.sign()) {
            return Err(format!("key {name} may not sign data"));
        }
        // Without the subkey's signature back, anybody could claim a stranger's subkey as his own.
        let back = binding.embedded_signature().is_some_and(|b| b.verify_primary_key_binding(&sub.key, primary).is_ok());
        if back { Ok(()) } else { Err(format!("key {name} does not confirm its primary key")) }
    }

    /// The newest valid self-signature: on the key itself or on a user id that was not taken back.
    fn newest_self_signature(&self, now: Timestamp) -> Option<&Signature> {
        let primary = &self.key.primary_key;
        let direct = self
            .key
            .details
            .direct_signatures
            .iter()
            .take(SIGNATURES_MAX)
            .filter(|s| s.typ() == Some(SignatureType::Key) && s.verify_key(primary).is_ok());
        let users = self.key.details.users.iter().take(SUBKEYS_MAX).filter_map(|user| {
            let own: Vec<&Signature> = user
                .signatures
                .iter()
                .filter(|s| names(s, primary))
                .take(SIGNATURES_MAX)
                .filter(|s| s.verify_certification(primary, Tag::UserId, &user.id).is_ok())
                .collect();
            let last = newest(own.into_iter(), now)?;
            (last.typ() != Some(SignatureType::CertRevocation)).then_some(last)
        });
        newest(direct.chain(users), now)
    }

    /// What is weak about the key that signed, for a finding.
    pub fn weakness(&self, signer: &Signer<'_>) -> Option<String> {
        let params = match signer {
            Signer::Primary(key) => key.public_params(),
            Signer::Sub(sub) => sub.key.public_params(),
        };
        match params {
            PublicParams::RSA(rsa) => {
                // On the wire: two integers of two length bytes each, the exponent of one to four bytes.
                let weak = rsa.write_len() < RSA_STRONG_BITS / 8 + 4;
                weak.then(|| format!("key {} is RSA with less than {RSA_STRONG_BITS} bits", self.fingerprint))
            }
            PublicParams::DSA(_) => Some(format!("key {} is DSA, which apt no longer accepts", self.fingerprint)),
            _ => {
                let own = self.newest_self_signature(Timestamp::MAX)?;
                (own.hash_alg() == Some(HashAlgorithm::Sha1)).then(|| format!("key {} signs itself with SHA-1", self.fingerprint))
            }
        }
    }
}

/// Does the signature name this key as its issuer? One that names nobody may be anybody's.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, prints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    (ids.is_empty() && prints.is_empty())
        || ids.iter().any(|id| **id == key.legacy_key_id())
        || prints.iter().any(|print| **print == key.fingerprint())
}

/// The newest signature made until `now`. Equal times: the last one in the file, as gpg takes it.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, now: Timestamp) -> Option<&'a Signature> {
    signatures.filter(|s| s.created().is_some_and(|at| jiff_time(at) <= now)).max_by_key(|s| s.created())
}

fn expired(name: &str, created: Timestamp, signature: &Signature, now: Timestamp) -> Result<(), String> {
    let secs = signature.key_expiration_time().map_or(0, |d| i64::from(d.as_secs()));
    if secs == 0 {
        return Ok(());
    }
    match Timestamp::from_second(created.as_second() + secs) {
        Ok(end) if end <= now => Err(format!("key {name} expired at {end}; add the upstream's renewed key to the source")),
        _ => Ok(()),
    }
}

fn flags(signature: &Signature) -> Option<KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|p| match &p.data {
        SubpacketData::KeyFlags(flags) => Some(flags.clone()),
        _ => None,
    })
}

/// How a signature names its maker, for messages.
pub(super) fn issuer(signature: &Signature) -> String {
    if let Some(print) = signature.issuer_fingerprint().first() {
        return upper_hex(print.as_bytes());
    }
    signature.issuer_key_id().first().map_or_else(|| "an unnamed key".to_owned(), |id| upper_hex(key_id_bytes(id)))
}

fn key_id_bytes(id: &KeyId) -> &[u8] {
    id.as_ref()
}
