//! Talking to the provider: no redirects, no proxy of the environment, every answer bounded in time and size. The provider
//! is configured by the operator; what it answers is still read as hostile input.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::OidcError;

/// Time to connect, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time for one whole request.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Largest answer, bytes: key sets of large providers have some tens of kilobytes.
const ANSWER_MAX_BYTES: usize = 256 * 1024;
/// Certificates in the file of authorities, count.
const AUTHORITIES_MAX: usize = 512;
/// A provider's own word for what went wrong, characters kept for the log.
const REASON_MAX_CHARS: usize = 200;

/// The client for one provider.
pub fn client(ca_file: Option<&Path>) -> Result<Client, OidcError> {
    let setting = |problem: String| OidcError::Setting { key: "ca_file", problem };
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|e| setting(format!("cannot read {}: {e}", path.display())))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem).take(AUTHORITIES_MAX) {
            let certificate = certificate.map_err(|e| setting(format!("{} is broken PEM: {e}", path.display())))?;
            roots.add(certificate).map_err(|e| setting(format!("{} holds an unusable certificate: {e}", path.display())))?;
            count += 1;
        }
        if count == 0 {
            return Err(setting(format!("{} holds no certificate in PEM form", path.display())));
        }
    }
    let unusable = |e: &dyn std::fmt::Display| setting(format!("the client cannot be set up: {e}"));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(concat!("drydock/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .timeout(REQUEST_MAX)
        .referer(false)
        .no_proxy()
        .build()
        .map_err(|e| unusable(&e))
}

/// The body of a GET that was answered with 200.
pub async fn get(client: &Client, url: &Url, doing: &'static str) -> Result<Vec<u8>, OidcError> {
    send(client.get(url.clone()), url, doing).await
}

/// The body of a request that was answered with 200.
pub async fn send(request: RequestBuilder, url: &Url, doing: &'static str) -> Result<Vec<u8>, OidcError> {
    let failed = |problem: String| {
        let mut shown = url.clone();
        shown.set_query(None);
        OidcError::Fetch { doing, url: shown.to_string(), problem }
    };
    let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
    let mut response = request.send().await.map_err(|e| failed(reason(&e.without_url())))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| failed(reason(&e.without_url())))? {
        if body.len() + piece.len() > ANSWER_MAX_BYTES {
            return Err(failed(format!("the answer is larger than {ANSWER_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    if status == StatusCode::OK { Ok(body) } else { Err(failed(format!("it answered {status}{}", own_word(&body)))) }
}

/// `error` of the provider's answer, if it has that form.
fn own_word(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: String,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => format!(" ({:?})", answer.error.chars().take(REASON_MAX_CHARS).collect::<String>()),
        Err(_) => String::new(),
    }
}

/// An error with its sources: the outermost one alone says little.
fn reason(error: &reqwest::Error) -> String {
    crate::rest::error::chain(error)
}
