//! Hashes of passwords: argon2id with the parameters that OWASP's cheat sheet gives first (19 MiB, 2 passes, 1 lane), on threads
//! of their own and few at a time: a hash costs 19 MiB and some 20 ms on purpose. Whoever does not exist costs the same.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::context::Secret;
use crate::error::{Error, Result};

/// Memory of a hash, KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it, count.
const PASSES: u32 = 2;
/// Lanes, count.
const LANES: u32 = 1;
/// Hashes at once, count: their memory is 80 MiB.
const HASHES_AT_ONCE_MAX: usize = 4;
/// Sign-ins that wait for their turn, count; more are told to come back.
const WAITING_MAX: usize = 64;
/// Random bytes of a salt.
const SALT_BYTES: usize = 16;
/// Checked when there is no hash: the same parameters, of no password that anybody knows.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZHJ5ZG9ja25vYm9keXMh$1vVyHd2R3Dq0m0mB1q1r8m3o0lq0n8c7m6qk5b4a3F0";

/// See the module.
pub(crate) struct Passwords {
    running: Semaphore,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { running: Semaphore::new(HASHES_AT_ONCE_MAX), waiting: Semaphore::new(HASHES_AT_ONCE_MAX + WAITING_MAX) }
    }
}

impl Passwords {
    /// A place among those who wait. Whoever counts tries takes it before: that there was none is nobody's failure.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>> {
        self.waiting.try_acquire().map_err(|_| busy())
    }

    /// The hash to store of a password, as PHC text.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<String> {
        let password = password.clone();
        self.run(self.place()?, move || {
            let mut bytes = [0_u8; SALT_BYTES];
            SystemRandom::new().fill(&mut bytes).map_err(|_| failed("the machine gives no random bytes"))?;
            let salt = SaltString::encode_b64(&bytes).map_err(failed)?;
            let hash = hasher()?.hash_password(password.expose().as_bytes(), &salt).map_err(failed)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Is it the password of this hash? Without a hash it takes as long and is not.
    pub(crate) async fn verify(&self, place: SemaphorePermit<'_>, password: &Secret, hash: Option<String>) -> Result<bool> {
        let password = password.clone();
        self.run(place, move || {
            let is_somebody = hash.is_some();
            let text = hash.unwrap_or_else(|| NOBODY.to_owned());
            let hash = PasswordHash::new(&text).map_err(failed)?;
            Ok(hasher()?.verify_password(password.expose().as_bytes(), &hash).is_ok() && is_somebody)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        _place: SemaphorePermit<'_>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.running.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(failed)?
    }
}

fn busy() -> Error {
    Error::Unavailable { message: "too many people sign in at this moment", source: None }
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal { doing: "hash a password", source: error.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let passwords = Passwords::default();
        let secret = |text: &str| Secret::new(text);
        let hash = passwords.hash(&secret("unten rot acht mauer")).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(&secret("unten rot acht mauer")).await.expect("hashed"), "salted");
        assert!(
            passwords
                .verify(passwords.place().expect("a place"), &secret("unten rot acht mauer"), Some(hash.clone()))
                .await
                .expect("checked")
        );
        assert!(
            !passwords
                .verify(passwords.place().expect("a place"), &secret("unten rot acht mauer "), Some(hash))
                .await
                .expect("checked")
        );
        assert!(!passwords.verify(passwords.place().expect("a place"), &secret(""), None).await.expect("nobody has a hash, too"));
        assert!(passwords.verify(passwords.place().expect("a place"), &secret("x"), Some("damaged".to_owned())).await.is_err());
    }
}
