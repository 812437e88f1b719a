//! Reading certificates: which instance a peer's certificate names, and with which key. The TLS layer has verified the
//! chain before any of this runs; whether the instance may still speak is the store's answer.

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::sha256_hex;

/// What the SAN URI of an agent's certificate begins with.
const INSTANCE_URI: &str = "drydock:instance:";
/// What the SAN URI of a content certificate begins with.
const CONTENT_URI: &str = "drydock:content:";

/// What a certificate is good for. The SAN URI says so, which only the server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// The agent protocol, and everything a content certificate is good for.
    Agent,
    /// Reading `/content`; for package managers, which run as other users than the agent.
    Content,
}

impl CertificateUse {
    /// The SAN URI that names an instance.
    pub(super) fn uri(self, instance: InstanceId) -> String {
        match self {
            CertificateUse::Agent => format!("{INSTANCE_URI}{instance}"),
            CertificateUse::Content => format!("{CONTENT_URI}{instance}"),
        }
    }

    fn read(uri: &str) -> Option<(Self, InstanceId)> {
        let agent = uri.strip_prefix(INSTANCE_URI).map(|id| (CertificateUse::Agent, id));
        let (good_for, id) = agent.or_else(|| uri.strip_prefix(CONTENT_URI).map(|id| (CertificateUse::Content, id)))?;
        Some((good_for, id.parse::<InstanceId>().ok()?))
    }
}

/// What the certificate of an instance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// What it is good for.
    pub good_for: CertificateUse,
    /// The instance.
    pub instance: InstanceId,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub key_fingerprint: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A certificate that is not an instance's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not X.509.
    #[error("the certificate cannot be read ({0})")]
    Unreadable(String),
    /// Names no instance.
    #[error("the certificate names no instance; it was not made for an agent")]
    NoInstance,
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PeerError> {
    X509Certificate::from_der(der).map(|(_, c)| c).map_err(|e| PeerError::Unreadable(e.to_string()))
}

/// The SubjectPublicKeyInfo of a certificate, DER.
pub(super) fn spki_der(der: &[u8]) -> Result<Vec<u8>, PeerError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// When a certificate ends, and the names it is good for.
pub(super) fn end_and_names(der: &[u8]) -> Result<(Timestamp, Vec<String>), PeerError> {
    let cert = parse(der)?;
    let mut names: Vec<String> = alt_names(&cert)?
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(n) => Some((*n).to_owned()),
            GeneralName::IPAddress(bytes) => match **bytes {
                [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
            },
            _ => None,
        })
        .collect();
    names.sort_unstable();
    Ok((end(&cert), names))
}

fn end(cert: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(cert.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX)
}

fn alt_names<'a>(cert: &'a X509Certificate<'a>) -> Result<Vec<GeneralName<'a>>, PeerError> {
    let extension = cert.subject_alternative_name().map_err(|e| PeerError::Unreadable(e.to_string()))?;
    Ok(extension.map(|e| e.value.general_names.clone()).unwrap_or_default())
}

impl PeerCertificate {
    /// Reads an agent's certificate or a content certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, PeerError> {
        let cert = parse(der)?;
        let (good_for, instance) = alt_names(&cert)?
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => CertificateUse::read(uri),
                _ => None,
            })
            .ok_or(PeerError::NoInstance)?;
        Ok(PeerCertificate { good_for, instance, key_fingerprint: sha256_hex(cert.public_key().raw), expires_at: end(&cert) })
    }
}
