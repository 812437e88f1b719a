//! The `Authorization: Signature name="value",…` header. Hostile input: bounded, every parameter at most once, unknown ones
//! refused, no escapes inside quotes (no client writes any, and two readers would read them in two ways).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Refused;

/// The scheme's name.
const SCHEME: &str = "signature";
/// Longest header looked at, bytes: the signature of a key of 8,192 bits has 1,368.
pub const AUTHORIZATION_MAX_BYTES: usize = 4096;
/// Signed headers, count: clients of the vendor sign six.
pub const HEADERS_MAX: usize = 16;
/// Longest name of a signed header, bytes.
const HEADER_NAME_MAX_BYTES: usize = 64;
/// Longest part of a keyId, bytes: an OCID has about 80, a user's name at most 255.
const KEY_PART_MAX_BYTES: usize = 255;
/// An MD5 in hex with colons, bytes.
const FINGERPRINT_BYTES: usize = 47;

/// Which key: `tenancy/user/fingerprint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    /// The tenancy.
    pub tenancy: String,
    /// The user's name or id.
    pub user: String,
    /// MD5 of the key: lower-case hex with colons.
    pub fingerprint: String,
}

/// The header, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeader {
    /// Which key is said to have signed.
    pub key_id: KeyId,
    /// What was signed, in this order.
    pub headers: Vec<String>,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

/// Does the request come with a signature (readable or not)? Others are not this module's.
pub fn is_signed(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| scheme_and_rest(value.as_bytes()).is_some())
}

/// Reads the header.
pub fn read(headers: &HeaderMap) -> Result<SignatureHeader, Refused> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(Refused::SeveralAuthorizations) };
    if value.len() > AUTHORIZATION_MAX_BYTES {
        return Err(Refused::TooLong);
    }
    let text = value.to_str().map_err(|_| Refused::Malformed("it is not plain ASCII"))?;
    let rest = scheme_and_rest(text.as_bytes()).map(|at| &text[at..]);
    parameters(rest.ok_or(Refused::Malformed("the scheme is not Signature"))?)
}

/// Where the parameters begin.
fn scheme_and_rest(value: &[u8]) -> Option<usize> {
    let scheme = value.get(..SCHEME.len())?;
    let is_ours = scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) && value.get(SCHEME.len()) == Some(&b' ');
    is_ours.then_some(SCHEME.len() + 1)
}

#[derive(Default)]
struct Found<'a> {
    algorithm: Option<&'a str>,
    headers: Option<&'a str>,
    key_id: Option<&'a str>,
    signature: Option<&'a str>,
    version: Option<&'a str>,
}

fn parameters(text: &str) -> Result<SignatureHeader, Refused> {
    let mut found = Found::default();
    let mut rest = text.trim_matches(' ');
    loop {
        let (name, value, after) = parameter(rest)?;
        let (slot, name) = match name {
            "algorithm" => (&mut found.algorithm, "algorithm"),
            "headers" => (&mut found.headers, "headers"),
            "keyId" => (&mut found.key_id, "keyId"),
            "signature" => (&mut found.signature, "signature"),
            "version" => (&mut found.version, "version"),
            _ => return Err(Refused::UnknownParameter),
        };
        if slot.replace(value).is_some() {
            return Err(Refused::Twice(name));
        }
        let after = after.trim_start_matches(' ');
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(',').ok_or(Refused::Malformed("parameters are divided by commas"))?.trim_start_matches(' ');
    }
    complete(&found)
}

/// `name="value"` and what follows it.
fn parameter(text: &str) -> Result<(&str, &str, &str), Refused> {
    let (name, rest) = text.split_once("=\"").ok_or(Refused::Malformed("a parameter is not name=\"value\""))?;
    let (value, after) = rest.split_once('"').ok_or(Refused::Malformed("a quote is not closed"))?;
    if value.contains('\\') {
        return Err(Refused::Malformed("a value holds a backslash"));
    }
    Ok((name, value, after))
}

fn complete(found: &Found<'_>) -> Result<SignatureHeader, Refused> {
    if found.algorithm.ok_or(Refused::Missing("algorithm"))? != "rsa-sha256" {
        return Err(Refused::Algorithm);
    }
    if found.version.is_some_and(|version| version != "1") {
        return Err(Refused::Version);
    }
    let signature = found.signature.ok_or(Refused::Missing("signature"))?;
    Ok(SignatureHeader {
        key_id: key_id(found.key_id.ok_or(Refused::Missing("keyId"))?)?,
        headers: names(found.headers.ok_or(Refused::Missing("headers"))?)?,
        signature: STANDARD.decode(signature).map_err(|_| Refused::Malformed("the signature is not base64"))?,
    })
}

/// Sessions (`ST$…`) and certificates (`…/fed-x509/…`) are other ways to sign in and not taken here: they have no
/// fingerprint of this form.
fn key_id(text: &str) -> Result<KeyId, Refused> {
    let mut parts = text.split('/');
    let (Some(tenancy), Some(user), Some(fingerprint), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refused::KeyId);
    };
    let is_part = |part: &str| (1..=KEY_PART_MAX_BYTES).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_graphic());
    if !is_part(tenancy) || !is_part(user) || !is_fingerprint(fingerprint) {
        return Err(Refused::KeyId);
    }
    Ok(KeyId { tenancy: tenancy.to_owned(), user: user.to_owned(), fingerprint: fingerprint.to_owned() })
}

fn is_fingerprint(text: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == FINGERPRINT_BYTES && text.bytes().enumerate().all(|(at, b)| if at % 3 == 2 { b == b':' } else { is_hex(b) })
}

fn names(text: &str) -> Result<Vec<String>, Refused> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(' ') {
        let is_name = name == "(request-target)"
            || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        if !is_name || name.len() > HEADER_NAME_MAX_BYTES || names.len() == HEADERS_MAX || names.iter().any(|n| n == name) {
            return Err(Refused::HeaderList);
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
