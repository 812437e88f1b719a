//! What makes the server's certificate good: a CA pinned by fingerprint, a CA certificate, or the machine's own CAs.
//! Absent on purpose: any way to switch the check off.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Where trust comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The CA whose certificate has this SHA-256 (lower-case hex).
    Fingerprint(String),
    /// The CA certificates in this PEM text.
    Pem(String),
    /// The machine's own CAs.
    System,
}

/// The server's chain does not hold the pinned CA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server shows another CA than the pinned one")]
pub struct PinMismatch {
    /// Fingerprint of the last certificate it showed: its CA, if it has one.
    pub shown: String,
}

/// SHA-256 of a certificate, lower-case hex.
pub fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The TLS settings for a trust; `None` leaves the choice to the HTTP client, which takes the machine's CAs.
pub fn config(trust: &Trust) -> Result<Option<ClientConfig>, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::Usage(format!("TLS cannot be set up: {e}")))?;
    let mut config = match trust {
        Trust::System => return Ok(None),
        Trust::Pem(pem) => builder.with_root_certificates(pem_roots(pem)?).with_no_client_auth(),
        Trust::Fingerprint(hex) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint: hex.clone(), provider }))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(config))
}

fn pem_roots(pem: &str) -> Result<RootCertStore, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::Usage(format!("the CA certificate cannot be used: {why}"));
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(cert.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() { Err(wrong(&"it holds no PEM certificate")) } else { Ok(roots) }
}

/// Trusts a chain that holds the pinned CA certificate above its leaf and verifies against it alone, for the server's
/// name.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|c| fingerprint(c) == self.fingerprint) else {
            let shown = fingerprint(intermediates.last().unwrap_or(end_entity));
            return Err(CertificateError::Other(OtherError(Arc::new(PinMismatch { shown }))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS error at the bottom of an HTTP client's error, if there is one.
pub fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&'a (dyn StdError + 'static)> = Some(error);
    while let Some(e) = next {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An I/O error hides what it wraps from `source`.
        let wrapped = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => e.source(),
        };
    }
    None
}

/// What a TLS error means and what to do about it.
pub fn explain(error: &rustls::Error, server: &str, trust: &Trust) -> String {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error
        && let Some(PinMismatch { shown }) = other.downcast_ref::<PinMismatch>()
        && let Trust::Fingerprint(pinned) = trust
    {
        return format!(
            "{server} is not the server that was pinned\n  pinned CA  {pinned}\n  shown CA   {shown}\n\
             Either somebody intercepts the connection, or the server was installed anew. Nothing was sent.\n\
             Read the fingerprint on the server itself (drydockd prints it, also `drydockd check-config`); only if it is the\n\
             shown one, log in again: drydock login --server {server} --token - --ca-fingerprint …"
        );
    }
    let what = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "its certificate is for another name; call it by a name in its certificate, or add this name to `names` in drydockd.toml"
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired; check the clocks of both machines and restart drydockd, which renews it"
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; check the clocks of both machines"
        }
        rustls::Error::InvalidCertificate(_) if *trust == Trust::System => {
            "no CA that this machine knows has signed its certificate; pin the server's own CA with --ca-fingerprint (drydockd prints it at its first start) or --ca-file"
        }
        rustls::Error::InvalidCertificate(_) => {
            "its certificate is not signed by the expected CA; somebody may intercept the connection"
        }
        _ => "the TLS handshake failed; is it a Drydock server that listens there?",
    };
    format!("{server} cannot be trusted: {what}\n  ({error})")
}
