//! ID tokens: is this one signed by the provider, for this server, for this very sign-in, and fresh? Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{Algorithm, KeySet};
use super::provider::same;

/// Longest token looked at, bytes: some providers list a thousand groups.
const TOKEN_MAX_BYTES: usize = 64 * 1024;
/// Clocks of provider and server may differ by this much, seconds.
const SKEW_SECS: i64 = 60;
/// A token of the code flow is made for the request that asks for it: older ones are refused, seconds.
const AGE_MAX_SECS: i64 = 600;
/// Longest subject, bytes (the standard's bound).
const SUBJECT_MAX_BYTES: usize = 255;
/// Audiences of one token, count.
const AUDIENCES_MAX: usize = 20;

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not three parts of base64url, or not JSON in them.
    #[error("it is not a signed token ({0})")]
    Form(&'static str),
    /// `none`, HMAC or something unknown.
    #[error("it is signed with {0:?}; RS256 and ES256 are taken")]
    Algorithm(String),
    /// It asks for something that this reader does not know and must.
    #[error("its header has critical extensions")]
    Critical,
    /// No key of the provider with this id.
    #[error("none of the provider's keys has the id that it names")]
    UnknownKey,
    /// Signed by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// A claim that must be there is not, or is something else.
    #[error("its claim {0} is missing or of another form")]
    Claim(&'static str),
    /// From another issuer.
    #[error("it is from the issuer {0:?}")]
    Issuer(String),
    /// For another client.
    #[error("it is for another client")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Made in the future, or long ago.
    #[error("it was made at another time than now; compare the clocks of server and provider")]
    IssuedAt,
    /// For another sign-in.
    #[error("its nonce is not that of this sign-in")]
    Nonce,
}

/// What the token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// This server at the provider.
    pub client_id: &'a str,
    /// Made for this sign-in.
    pub nonce: &'a str,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Verifies `token` and returns its claims.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>, now: Timestamp) -> Result<Map<String, Value>, BadToken> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(BadToken::Form("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(head), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(BadToken::Form("it has not three parts"));
    };
    let read: Head = serde_json::from_slice(&decoded(head)?).map_err(|_| BadToken::Form("its header is not JSON"))?;
    let algorithm = Algorithm::parse(&read.alg).ok_or(BadToken::Algorithm(read.alg))?;
    if read.crit.is_some() {
        return Err(BadToken::Critical);
    }
    let id = read.kid.as_deref();
    if !keys.has(id, algorithm) {
        return Err(BadToken::UnknownKey);
    }
    let message = &token.as_bytes()[..head.len() + 1 + claims.len()];
    if !keys.made(id, algorithm, message, &decoded(signature)?) {
        return Err(BadToken::Signature);
    }
    let claims: Map<String, Value> =
        serde_json::from_slice(&decoded(claims)?).map_err(|_| BadToken::Form("its claims are not a JSON object"))?;
    check(&claims, expected, now.as_second())?;
    Ok(claims)
}

fn decoded(part: &str) -> Result<Vec<u8>, BadToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Form("it is not base64url"))
}

fn check(claims: &Map<String, Value>, expected: &Expected<'_>, now: i64) -> Result<(), BadToken> {
    let text = |name: &'static str| claims.get(name).and_then(Value::as_str).ok_or(BadToken::Claim(name));
    let issuer = text("iss")?;
    if issuer != expected.issuer {
        return Err(BadToken::Issuer(issuer.chars().take(200).collect()));
    }
    check_audience(claims, expected.client_id)?;
    if time(claims, "exp")?.ok_or(BadToken::Claim("exp"))? <= now - SKEW_SECS {
        return Err(BadToken::Expired);
    }
    let made = time(claims, "iat")?.ok_or(BadToken::Claim("iat"))?;
    let begins = time(claims, "nbf")?.unwrap_or(made);
    if made.max(begins) > now + SKEW_SECS || made < now - AGE_MAX_SECS {
        return Err(BadToken::IssuedAt);
    }
    if !same(text("nonce")?, expected.nonce) {
        return Err(BadToken::Nonce);
    }
    let subject = text("sub")?;
    if !(1..=SUBJECT_MAX_BYTES).contains(&subject.len()) || subject.chars().any(char::is_control) {
        return Err(BadToken::Claim("sub"));
    }
    Ok(())
}

/// The token is for us; when it is for others too, or names who asked for it, we must be the one who asked.
fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), BadToken> {
    let others = match claims.get("aud") {
        Some(Value::String(one)) if one == client_id => false,
        Some(Value::Array(all)) if (1..=AUDIENCES_MAX).contains(&all.len()) && all.iter().any(|a| a == client_id) => {
            all.len() > 1
        }
        Some(Value::String(_) | Value::Array(_)) => return Err(BadToken::Audience),
        _ => return Err(BadToken::Claim("aud")),
    };
    match claims.get("azp") {
        None if !others => Ok(()),
        Some(party) if party == client_id => Ok(()),
        _ => Err(BadToken::Audience),
    }
}

/// Seconds since 1970; some providers write fractions.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, BadToken> {
    /// Beyond this a number is no time (year 9999).
    const SECONDS_MAX: f64 = 253_402_300_799.0;
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(Some(seconds as i64)),
            _ => Err(BadToken::Claim(name)),
        },
        Some(_) => Err(BadToken::Claim(name)),
    }
}
