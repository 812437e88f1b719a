//! The HTTP client of one source: its own TLS settings (system's and source's authorities, client certificate), its own
//! proxy, no redirects by itself, HTTP/1.1 (what every mirror and every proxy speaks alike).
//!
//! No crypto provider is installed for the process: a library that does takes that choice from the program.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, NoProxy, Proxy, Url, redirect};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{FetchError, Limits, UpstreamAccess};

/// The system's authorities are read again after this, so an operator's change needs no restart.
const ROOTS_KEPT: Duration = Duration::from_secs(3600);
/// Certificates in one PEM text.
const PEM_MAX: usize = 512;

fn setting(field: &'static str, problem: impl Into<String>) -> FetchError {
    FetchError::Setting { field, problem: problem.into() }
}

pub(super) fn client(access: &UpstreamAccess, limits: &Limits) -> Result<Client, FetchError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config(access)?)
        .user_agent(concat!("drydock/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(limits.connect)
        .pool_idle_timeout(Duration::from_secs(30))
        .http1_only()
        .referer(false)
        .no_proxy();
    if let Some(proxy) = &access.proxy {
        builder = builder.proxy(self::proxy(proxy.expose())?);
    }
    builder.build().map_err(|e| setting("(client)", format!("cannot be used: {}", e.without_url())))
}

fn proxy(text: &str) -> Result<Proxy, FetchError> {
    // The text holds a password: it never becomes part of a message.
    let url: Url = text.parse().map_err(|_| setting("proxy", "is no URL; write http://[user:password@]host:port"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(setting("proxy", "is no http:// or https:// URL; write http://[user:password@]host:port"));
    }
    let proxy = Proxy::all(url).map_err(|_| setting("proxy", "cannot be used; write http://[user:password@]host:port"))?;
    Ok(proxy.no_proxy(NoProxy::from_string("")))
}

fn config(access: &UpstreamAccess) -> Result<ClientConfig, FetchError> {
    let mut roots = system_roots();
    if let Some(pem) = &access.ca_pem {
        let store = Arc::make_mut(&mut roots);
        for certificate in certificates(pem, "caPem")? {
            store.add(certificate).map_err(|e| setting("caPem", format!("holds a certificate that cannot be used: {e}")))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| setting("(tls)", format!("cannot be used: {e}")))?
        .with_root_certificates(roots);
    let mut config = match (&access.client_certificate_pem, &access.client_key_pem) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "clientCertificatePem")?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|_| setting("clientKeyPem", "holds no private key in PEM form (without a passphrase)"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| setting("clientKeyPem", format!("cannot be used with clientCertificatePem: {e}")))?
        }
        (Some(_), None) => return Err(setting("clientKeyPem", "is missing; a client certificate needs its key")),
        (None, Some(_)) => return Err(setting("clientCertificatePem", "is missing; a client key needs its certificate")),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &str, field: &'static str) -> Result<Vec<CertificateDer<'static>>, FetchError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(PEM_MAX)
        .collect::<Result<_, _>>()
        .map_err(|e| setting(field, format!("is broken PEM: {e}")))?;
    if found.is_empty() { Err(setting(field, "holds no certificate in PEM form")) } else { Ok(found) }
}

fn system_roots() -> Arc<RootCertStore> {
    static KEPT: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, roots)) = &*kept
        && read.elapsed() < ROOTS_KEPT
    {
        return Arc::clone(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "a certificate authority of this system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let roots = Arc::new(roots);
    *kept = Some((Instant::now(), Arc::clone(&roots)));
    roots
}
