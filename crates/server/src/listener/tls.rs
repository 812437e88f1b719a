//! The TLS side of the one port: ALPN for HTTP/1.1 and HTTP/2, client certificates of our own CA asked for but not
//! demanded (people have none, a host that enrols has none yet).

use std::sync::{Arc, RwLock};

use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::pki::{Authority, ServerIdentity};

/// The TLS set-up could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS ({0})")]
pub struct TlsError(String);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Verifies client certificates against our CA.
pub fn client_verifier(ca: &Authority) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.cert_der().clone()).map_err(|e| TlsError(e.to_string()))?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| TlsError(e.to_string()))
}

/// The certificate shown to peers; it can be replaced while the port is open.
#[derive(Debug)]
pub struct ShownCertificate(RwLock<Arc<CertifiedKey>>);

impl ShownCertificate {
    /// Shows `identity`.
    pub fn new(identity: ServerIdentity) -> Result<Self, TlsError> {
        Ok(ShownCertificate(RwLock::new(certified(identity)?)))
    }

    /// Shows `identity` to connections from now on.
    pub fn replace(&self, identity: ServerIdentity) -> Result<(), TlsError> {
        let key = certified(identity)?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = key;
        Ok(())
    }
}

fn certified(identity: ServerIdentity) -> Result<Arc<CertifiedKey>, TlsError> {
    CertifiedKey::from_der(identity.chain, identity.key, &provider()).map(Arc::new).map_err(|e| TlsError(e.to_string()))
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

/// The port's TLS configuration.
pub fn server_config(ca: &Authority, shown: Arc<ShownCertificate>) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(e.to_string()))?
        .with_client_cert_verifier(client_verifier(ca)?)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
