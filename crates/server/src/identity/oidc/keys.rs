//! The provider's public keys (a JSON Web Key Set), as far as ID tokens are signed with them: RSA for RS256, P-256 for ES256.
//! What is for something else is left out, so a provider may publish whatever it likes beside them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Keys of one set, count; what comes after is left out.
const KEYS_MAX: usize = 100;

/// How a token is signed. There is no room here for `none` and for HMAC, whose key the client would share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Reads `alg`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            _ => None,
        }
    }
}

/// The usable keys of a set.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    good_for: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let set: Set = serde_json::from_slice(json)?;
        let keys = set.keys.into_iter().take(KEYS_MAX).filter_map(|key| Key::of(serde_json::from_value(key).ok()?));
        Ok(KeySet(keys.collect()))
    }

    /// Does a key of this set with this id (any, when the token names none) fit the algorithm?
    pub fn has(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(id, algorithm).next().is_some()
    }

    /// Did one of those keys sign `message`?
    pub fn made(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.candidates(id, algorithm).any(|key| key.public.made(message, signature))
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            let fits = match key.public {
                Public::Rsa { .. } => algorithm == Algorithm::Rs256,
                Public::P256(_) => algorithm == Algorithm::Es256,
            };
            fits && id.is_none_or(|id| key.id.as_deref() == Some(id))
        })
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.good_for.is_some_and(|good_for| good_for != "sig") {
            return None;
        }
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let is_for = |alg: &str| jwk.alg.as_deref().is_none_or(|a| a == alg);
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) if is_for("RS256") => Public::Rsa { n: number(jwk.n)?, e: number(jwk.e)? },
            ("EC", Some("P-256")) if is_for("ES256") => {
                let (x, y) = (number(jwk.x)?, number(jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Public::P256([vec![4], x, y].concat())
            }
            _ => return None,
        };
        Some(Key { id: jwk.kid, public })
    }
}

impl Public {
    fn made(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            // Shorter keys than 2,048 bits verify nothing.
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Public::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok(),
        }
    }
}
