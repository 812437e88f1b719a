//! The server's work key: Ed25519, signs every order, sources document and policies document to an agent, the seals
//! of the audit and the access tokens of instances. Absent on purpose: files and certificates.

use drydock_domain::audit::chain::Seal;
use drydock_domain::source::host;
use drydock_domain::work::signed_bytes;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Why a work key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a PKCS#8 Ed25519 key.
    #[error("the work key is damaged ({0}); restore it from a backup: agents accept orders of this key only")]
    Read(ring::error::KeyRejected),
    /// The machine gives no random bytes.
    #[error("cannot make a work key: the machine gives no random bytes")]
    Random,
}

/// The key pair.
pub struct WorkKey(Ed25519KeyPair);

impl WorkKey {
    /// Makes a new pair; the second value is its PKCS#8 form, to be kept secret and safe.
    pub fn generate() -> Result<(Self, Vec<u8>), KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Ok((Self::from_pkcs8(pkcs8.as_ref())?, pkcs8.as_ref().to_vec()))
    }

    /// Reads what [`WorkKey::generate`] gave.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8(bytes).map(WorkKey).map_err(KeyError::Read)
    }

    /// The public key, 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        // Ed25519 public keys have 32 bytes; a shorter slice cannot come from ring.
        out.iter_mut().zip(self.0.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    /// Signs an order's bytes.
    pub(crate) fn sign(&self, order: &[u8]) -> Vec<u8> {
        self.0.sign(&signed_bytes(order)).as_ref().to_vec()
    }

    /// Signs the bytes of a host's sources document.
    pub(crate) fn sign_sources(&self, document: &[u8]) -> Vec<u8> {
        self.0.sign(&host::signed_bytes(document)).as_ref().to_vec()
    }

    /// Signs the bytes of a host's policies document.
    pub(crate) fn sign_policies(&self, document: &[u8]) -> Vec<u8> {
        self.0.sign(&drydock_domain::policy::host::signed_bytes(document)).as_ref().to_vec()
    }

    /// Signs an instance's access token, context included.
    pub(crate) fn sign_token(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// Did this key make the signature over these bytes?
    pub(crate) fn has_signed_token(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.public_key()).verify(bytes, signature).is_ok()
    }

    /// Signs a seal of the audit.
    pub(crate) fn sign_seal(&self, seal: &Seal) -> [u8; 64] {
        let mut out = [0; 64];
        // Ed25519 signatures have 64 bytes; a shorter slice cannot come from ring.
        out.iter_mut().zip(self.0.sign(&seal.signed_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

impl std::fmt::Debug for WorkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkKey(…)")
    }
}
