//! The keys this server signs its repositories with, and the signatures: Ed25519 in the form that GnuPG 2.1 and newer
//! read (version 4 keys, EdDSA), SHA-512 over the data. Several keys make several signatures on one file, so hosts
//! accept it while keys are changed.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use pgp::composed::{ArmorOptions, Deserializable as _, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Features, KeyFlags, PacketTrait as _, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, Password, SignedUser, Tag};

use super::{OpenPgpError, clear, pgp_time, upper_hex};
use crate::secret::Secret;

/// Characters on a line of armour.
const ARMOR_LINE: usize = 64;

/// A secret key of the server.
#[derive(Clone)]
pub struct RepositoryKey {
    key: Arc<SignedSecretKey>,
    fingerprint: String,
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryKey({})", self.fingerprint)
    }
}

impl RepositoryKey {
    /// Makes a key for `user_id`, valid from `now` on without end: hosts hold it, and an end would cut them all off on
    /// one day. It is replaced by rotation instead.
    ///
    /// # Errors
    /// When the library fails.
    pub fn generate(user_id: &str, now: Timestamp) -> Result<RepositoryKey, OpenPgpError> {
        let failed = |problem: String| OpenPgpError::Signing { doing: "make a repository key", problem };
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .created_at(pgp_time(now))
            .primary_user_id(user_id.to_owned());
        let params = params.build().map_err(|e| failed(e.to_string()))?;
        let mut key = params.generate(rand::thread_rng()).map_err(|e| failed(e.to_string()))?;
        // The library dates the self-signature by the system's clock; ours is an argument.
        let users = key.details.users.iter().map(|user| self_signed(&key, user, now)).collect::<Result<_, _>>();
        key.details.users = users.map_err(|e: pgp::errors::Error| failed(e.to_string()))?;
        Ok(RepositoryKey::of(key))
    }

    fn of(key: SignedSecretKey) -> RepositoryKey {
        RepositoryKey { fingerprint: upper_hex(key.primary_key.fingerprint().as_bytes()), key: Arc::new(key) }
    }

    /// Reads what [`Self::secret_armored`] wrote.
    ///
    /// # Errors
    /// When it is no secret key, or not one that can sign.
    pub fn from_secret_armored(text: &str) -> Result<RepositoryKey, OpenPgpError> {
        let failed = |problem: String| OpenPgpError::Signing { doing: "read a repository key", problem };
        let (key, _) = SignedSecretKey::from_string(text).map_err(|e| failed(e.to_string()))?;
        let key = RepositoryKey::of(key);
        key.signature(b"", SignatureType::Binary, Timestamp::UNIX_EPOCH).map_err(|e| failed(e.to_string()))?;
        Ok(key)
    }

    /// The secret key, ASCII-armoured.
    ///
    /// # Errors
    /// When the library fails.
    pub fn secret_armored(&self) -> Result<Secret, OpenPgpError> {
        let armored = self.key.to_armored_string(ArmorOptions::default());
        armored.map(Secret::new).map_err(|e| OpenPgpError::Signing { doing: "write a key", problem: e.to_string() })
    }

    /// The public key, ASCII-armoured: what hosts get.
    ///
    /// # Errors
    /// When the library fails.
    pub fn public_armored(&self) -> Result<String, OpenPgpError> {
        let armored = self.key.to_public_key().to_armored_string(ArmorOptions::default());
        armored.map_err(|e| OpenPgpError::Signing { doing: "write a key", problem: e.to_string() })
    }

    /// Fingerprint, upper-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn signature(&self, data: &[u8], typ: SignatureType, at: Timestamp) -> Result<Vec<u8>, pgp::errors::Error> {
        let primary = &self.key.primary_key;
        let mut config = SignatureConfig::v4(typ, primary.algorithm(), HashAlgorithm::Sha512);
        config.hashed_subpackets = vec![
            Subpacket::regular(SubpacketData::SignatureCreationTime(pgp_time(at)))?,
            Subpacket::regular(SubpacketData::IssuerFingerprint(primary.fingerprint()))?,
        ];
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(primary.legacy_key_id()))?];
        let mut packet = Vec::new();
        config.sign(primary, &Password::empty(), data)?.to_writer_with_header(&mut packet)?;
        Ok(packet)
    }
}

fn self_signed(key: &SignedSecretKey, user: &SignedUser, now: Timestamp) -> Result<SignedUser, pgp::errors::Error> {
    let primary = &key.primary_key;
    let (mut flags, mut features) = (KeyFlags::default(), Features::new());
    flags.set_certify(true);
    flags.set_sign(true);
    features.set_seipd_v1(true);
    let mut config = SignatureConfig::v4(SignatureType::CertPositive, primary.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(pgp_time(now)))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(primary.fingerprint()))?,
        Subpacket::critical(SubpacketData::KeyFlags(flags))?,
        Subpacket::regular(SubpacketData::IsPrimary(true))?,
        Subpacket::regular(SubpacketData::Features(features))?,
        Subpacket::regular(SubpacketData::PreferredHashAlgorithms(
            [HashAlgorithm::Sha512, HashAlgorithm::Sha256].into_iter().collect(),
        ))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(primary.legacy_key_id()))?];
    let public = key.to_public_key();
    let signature: Signature =
        config.sign_certification(primary, &public.primary_key, &Password::empty(), Tag::UserId, &user.id)?;
    Ok(SignedUser::new(user.id.clone(), vec![signature]))
}

/// Signs data with every key; one armoured block.
///
/// # Errors
/// When there is no key, or the library fails.
pub fn sign_detached(keys: &[RepositoryKey], data: &[u8], at: Timestamp) -> Result<String, OpenPgpError> {
    signatures(keys, data, SignatureType::Binary, at)
}

/// Signs a text in clear (`InRelease`) with every key.
///
/// # Errors
/// When there is no key, or the library fails.
pub fn clearsign(keys: &[RepositoryKey], text: &str, at: Timestamp) -> Result<String, OpenPgpError> {
    let block = signatures(keys, &clear::canonical(text), SignatureType::Text, at)?;
    Ok(format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}{block}", clear::escape(text)))
}

fn signatures(keys: &[RepositoryKey], data: &[u8], typ: SignatureType, at: Timestamp) -> Result<String, OpenPgpError> {
    let failed = |problem: String| OpenPgpError::Signing { doing: "sign repository metadata", problem };
    if keys.is_empty() {
        return Err(failed("this server has no repository key".to_owned()));
    }
    let mut packets = Vec::new();
    for key in keys {
        packets.extend(key.signature(data, typ, at).map_err(|e| failed(e.to_string()))?);
    }
    let body = base64::engine::general_purpose::STANDARD.encode(&packets);
    let mut armored = String::from("-----BEGIN PGP SIGNATURE-----\n\n");
    for (at, c) in body.chars().enumerate() {
        armored.push(c);
        if (at + 1) % ARMOR_LINE == 0 {
            armored.push('\n');
        }
    }
    if !armored.ends_with('\n') {
        armored.push('\n');
    }
    armored.push('=');
    armored.push_str(&base64::engine::general_purpose::STANDARD.encode(&crc24(&packets).to_be_bytes()[1..]));
    armored.push_str("\n-----END PGP SIGNATURE-----\n");
    Ok(armored)
}

/// The checksum at the end of armour. RFC 9580 calls it optional; old readers (rpm 4.14's) insist on it.
fn crc24(data: &[u8]) -> u32 {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in data {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}
