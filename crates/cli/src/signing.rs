//! Requests signed with an RSA key instead of carrying an access token (draft-cavage-http-signatures-08, as clients of the
//! Oracle service sign): the key's private half never leaves this machine, and a signature is good for one request.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Longest key file, bytes: a key of 4,096 bits has 3,300.
const KEY_FILE_MAX_BYTES: u64 = 32 * 1024;
/// What is signed of every request …
const ALWAYS: [&str; 3] = ["date", "(request-target)", "host"];
/// … and of those with a body.
const WITH_BODY: [&str; 3] = ["content-length", "content-type", "x-content-sha256"];

/// A private key and what the server calls it.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    file: PathBuf,
    pair: Arc<KeyPair>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// Reads an RSA key (PKCS#8 or PKCS#1, PEM, no passphrase). `id` is what `drydock access api-key add` printed.
    pub fn read(path: &Path, id: &str) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Usage(format!("the key {}: {why}", path.display()));
        if id.split('/').count() != 3 || !id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
            return Err(Failure::Usage(format!(
                "{id:?} is no key id; it is TENANCY/USER/FINGERPRINT, see: drydock access api-key list"
            )));
        }
        let size = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
        if size > KEY_FILE_MAX_BYTES {
            return Err(wrong(format!("has more than {KEY_FILE_MAX_BYTES} bytes; is it the right file?")));
        }
        let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let der = PrivateKeyDer::from_pem_slice(&pem);
        let der =
            der.map_err(|_| wrong("is no private key in PEM form without a passphrase; openssl genrsa makes one".to_owned()))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(wrong("is no RSA key; openssl genrsa 2048 makes one".to_owned())),
        };
        let pair = pair.map_err(|e| wrong(format!("is no RSA key of 2,048 to 4,096 bits ({e})")))?;
        let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(SigningKey { id: id.to_owned(), file, pair: Arc::new(pair) })
    }

    /// What the server calls it, and where it lies.
    pub fn id_and_file(&self) -> (String, PathBuf) {
        (self.id.clone(), self.file.clone())
    }

    /// Signs a request that is about to be sent.
    pub fn sign(&self, request: &mut Request, now: Timestamp) -> Result<(), Failure> {
        let failed = |what: &str| Failure::Usage(format!("the request cannot be signed: {what}"));
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut names = ALWAYS.to_vec();
        let put = |request: &mut Request, name: HeaderName, value: String| match HeaderValue::from_str(&value) {
            Ok(value) => {
                request.headers_mut().insert(name, value);
                Ok(())
            }
            Err(_) => Err(failed("a header has characters that headers cannot have")),
        };
        put(request, DATE, date)?;
        if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
            names.extend(WITH_BODY);
            let body = match request.body() {
                None => &[][..],
                Some(body) => body.as_bytes().ok_or_else(|| failed("files are uploaded with an access token"))?,
            };
            let (length, sha256) = (body.len().to_string(), STANDARD.encode(Sha256::digest(body)));
            put(request, CONTENT_LENGTH, length)?;
            put(request, HeaderName::from_static("x-content-sha256"), sha256)?;
            if !request.headers().contains_key(CONTENT_TYPE) {
                put(request, CONTENT_TYPE, "application/json".to_owned())?;
            }
        }
        let text = signed_text(request, &names).ok_or_else(|| failed("a header is not plain text"))?;
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| failed("the key does not sign"))?;
        let value = format!(
            "Signature algorithm=\"rsa-sha256\",headers=\"{}\",keyId=\"{}\",signature=\"{}\",version=\"1\"",
            names.join(" "),
            self.id,
            STANDARD.encode(signature)
        );
        put(request, AUTHORIZATION, value)
    }
}

fn signed_text(request: &Request, names: &[&str]) -> Option<String> {
    let line = |name: &&str| {
        let value = match *name {
            "(request-target)" => format!("{} {}", request.method().as_str().to_ascii_lowercase(), target(request.url())),
            "host" => host(request.url())?,
            other => request.headers().get(other)?.to_str().ok()?.to_owned(),
        };
        Some(format!("{name}: {value}"))
    };
    Some(names.iter().map(line).collect::<Option<Vec<_>>>()?.join("\n"))
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// As the HTTP library writes it: with the port, unless that is the scheme's own.
fn host(url: &Url) -> Option<String> {
    let name = url.host_str()?;
    Some(url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}")))
}
