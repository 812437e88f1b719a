//! The key under which secrets of policies are kept: ChaCha20-Poly1305, a new nonce for each value, the name and version of
//! the secret authenticated with it, so that a row cannot stand for another one. Absent: files.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Length of the key, bytes.
pub const SECRET_KEY_BYTES: usize = 32;

/// Why a secret's value cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key has another length.
    #[error("the key of secrets is damaged: it has not {SECRET_KEY_BYTES} bytes; restore it from a backup")]
    Key,
    /// The machine gives no random bytes.
    #[error("cannot seal a secret: the machine gives no random bytes")]
    Random,
    /// Another key, or a damaged row.
    #[error("the secret {name} cannot be opened with this server's key; restore the key file or set the secret again")]
    Open {
        /// The secret.
        name: String,
    },
}

/// The key.
pub struct SecretKey(LessSafeKey);

impl SecretKey {
    /// A new key; the second value is what to keep of it, secret and safe.
    pub fn generate() -> Result<(Self, [u8; SECRET_KEY_BYTES]), SealError> {
        let mut bytes = [0; SECRET_KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::Random)?;
        Ok((Self::from_bytes(&bytes)?, bytes))
    }

    /// Reads what [`SecretKey::generate`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        UnboundKey::new(&CHACHA20_POLY1305, bytes).map(|key| SecretKey(LessSafeKey::new(key))).map_err(|_| SealError::Key)
    }

    /// Seals a value: nonce, then ciphertext with its tag.
    pub(crate) fn seal(&self, name: &str, version: u64, value: &str) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut sealed = value.as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about(name, version)), &mut sealed)
            .map_err(|_| SealError::Random)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`SecretKey::seal`] gave for the same name and version.
    pub(crate) fn open(&self, name: &str, version: u64, sealed: &[u8]) -> Result<String, SealError> {
        let failed = || SealError::Open { name: name.to_owned() };
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut body = body.to_vec();
        let value = self.0.open_in_place(nonce, Aad::from(about(name, version)), &mut body).map_err(|_| failed())?;
        String::from_utf8(value.to_vec()).map_err(|_| failed())
    }
}

fn about(name: &str, version: u64) -> Vec<u8> {
    format!("drydock-secret-v1\n{name}\n{version}").into_bytes()
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_under_its_key_name_and_version() {
        let (key, kept) = SecretKey::generate().expect("a key");
        let sealed = key.seal("db", 3, "hunter2").expect("sealed");
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_ne!(sealed, key.seal("db", 3, "hunter2").expect("sealed"), "a nonce is used once");
        let again = SecretKey::from_bytes(&kept).expect("the same key");
        assert_eq!(again.open("db", 3, &sealed).expect("opened"), "hunter2");
        let (other, _) = SecretKey::generate().expect("a key");
        for wrong in
            [other.open("db", 3, &sealed), key.open("db", 4, &sealed), key.open("web", 3, &sealed), key.open("db", 3, b"x")]
        {
            assert!(wrong.is_err());
        }
    }
}
