//! Reading certificates: which instance a peer's certificate names, and with which key. The TLS layer has verified the
//! chain before any of this runs; whether the instance may still speak is the store's answer.

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::sha256_hex;

/// What the SAN URI of an agent's certificate begins with.
const INSTANCE_URI: &str = "drydock:instance:";

/// The SAN URI that names an instance.
pub(super) fn instance_uri(instance: InstanceId) -> String {
    format!("{INSTANCE_URI}{instance}")
}

/// What an agent's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The instance.
    pub instance: InstanceId,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub key_fingerprint: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A certificate that is not an agent's.
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
    /// Reads an agent's certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, PeerError> {
        let cert = parse(der)?;
        let instance = alt_names(&cert)?
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(INSTANCE_URI)?.parse::<InstanceId>().ok(),
                _ => None,
            })
            .ok_or(PeerError::NoInstance)?;
        Ok(PeerCertificate { instance, key_fingerprint: sha256_hex(cert.public_key().raw), expires_at: end(&cert) })
    }
}
