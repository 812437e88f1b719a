//! The CA: its certificate and key, and the certificates it issues to hosts.

use std::time::{Duration, SystemTime};

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::SecureRandom;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::{CertificateUse, PkiError, read_text, sha256_hex, write};
use crate::files::{DataDir, PUBLIC_MODE, SECRET_MODE};

/// Life of the CA, years: longer than any installation stays on one machine; a new CA means enrolling every host anew.
const CA_YEARS: i64 = 30;
/// Certificates begin this long before they are made, so that a host whose clock is behind accepts them.
pub(super) const BACKDATE: Duration = Duration::from_secs(300);
/// Largest certificate request, bytes: an ECDSA P-256 request has about 300.
const CSR_MAX_BYTES: usize = 16 * 1024;
/// Seconds of a year, leap days counted.
const YEAR_SECS: u64 = 31_557_600;

/// The certification authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    cert_der: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate made for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Leaf, then CA.
    pub chain_pem: String,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A certificate request that is refused; the host's operator reads this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not a request, or not signed by its own key.
    #[error("the certificate request cannot be read or is not signed by its own key ({0})")]
    Unreadable(String),
    /// Another kind of key.
    #[error("the certificate request has another kind of key; only ECDSA P-256 is accepted")]
    WrongKey,
}

/// Verifies a PKCS#10 request and gives its public key as SubjectPublicKeyInfo (DER). Names and extensions of the
/// request are ignored: the server decides them.
pub fn check_csr(csr_der: &[u8]) -> Result<CsrKey, CsrError> {
    use x509_parser::prelude::{FromDer, X509CertificationRequest};
    if csr_der.len() > CSR_MAX_BYTES {
        return Err(CsrError::Unreadable(format!("more than {CSR_MAX_BYTES} bytes")));
    }
    let parsed = rcgen::CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
        .map_err(|e| CsrError::Unreadable(e.to_string()))?;
    if *parsed.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(CsrError::WrongKey);
    }
    let (rest, request) = X509CertificationRequest::from_der(csr_der).map_err(|e| CsrError::Unreadable(e.to_string()))?;
    if !rest.is_empty() {
        return Err(CsrError::Unreadable("bytes after the request".to_owned()));
    }
    let spki_der = request.certification_request_info.subject_pki.raw.to_vec();
    // The signature's algorithm does not name the curve: the key itself has to be one.
    match SubjectPublicKeyInfo::from_der(&spki_der) {
        Ok(key) if *rcgen::PublicKeyData::algorithm(&key) == rcgen::PKCS_ECDSA_P256_SHA256 => Ok(CsrKey { spki_der }),
        _ => Err(CsrError::WrongKey),
    }
}

/// The verified public key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrKey {
    spki_der: Vec<u8>,
}

impl CsrKey {
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex: what an instance is known by.
    pub fn fingerprint(&self) -> String {
        sha256_hex(&self.spki_der)
    }
}

impl Authority {
    /// Makes the CA at the first run and writes its files.
    pub fn create(dir: &DataDir, now: Timestamp) -> Result<Self, PkiError> {
        let failed = |e: rcgen::Error| PkiError::Make { what: "CA", message: e.to_string() };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = base_params("Drydock CA", now, Duration::from_secs(CA_YEARS as u64 * YEAR_SECS))?;
        // Every installation has its own name, so that a browser or a host never mixes two up.
        params.distinguished_name.push(DnType::OrganizationalUnitName, &sha256_hex(key.public_key_raw())[..16]);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).map_err(failed)?;
        // The key first: a certificate without its key would look like a finished first run.
        write(&dir.ca_key(), &key.serialize_pem(), SECRET_MODE)?;
        write(&dir.ca_cert(), &cert.pem(), PUBLIC_MODE)?;
        Self::load(dir)
    }

    /// Reads the CA's files.
    pub fn load(dir: &DataDir) -> Result<Self, PkiError> {
        let damaged = |path: std::path::PathBuf, message: String| PkiError::Damaged { path, message };
        let cert_pem = read_text(&dir.ca_cert())?;
        let key = KeyPair::from_pem(&read_text(&dir.ca_key())?).map_err(|e| damaged(dir.ca_key(), e.to_string()))?;
        let cert_der =
            CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|e| damaged(dir.ca_cert(), e.to_string()))?.into_owned();
        let spki = super::peer::spki_der(&cert_der).map_err(|e| damaged(dir.ca_cert(), e.to_string()))?;
        if spki != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(damaged(dir.ca_key(), "it is not the key of ca.pem".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&cert_der, key).map_err(|e| damaged(dir.ca_cert(), e.to_string()))?;
        Ok(Authority { issuer, cert_pem, cert_der })
    }

    /// The CA's certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The CA's certificate, DER.
    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert_der
    }

    /// SHA-256 of the CA's certificate (DER), lower-case hex: what `--ca-fingerprint` takes.
    pub fn fingerprint(&self) -> String {
        sha256_hex(&self.cert_der)
    }

    /// A certificate for a key of a host: CN and SAN name the instance, use is client authentication only.
    pub fn issue(
        &self,
        good_for: CertificateUse,
        key: &CsrKey,
        instance: InstanceId,
        life: Duration,
        now: Timestamp,
    ) -> Result<IssuedCertificate, PkiError> {
        let failed = |e: rcgen::Error| PkiError::Make { what: "host's certificate", message: e.to_string() };
        let uri = good_for.uri(instance).try_into().map_err(failed)?;
        let mut params = base_params(&instance.to_string(), now, life)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let public = SubjectPublicKeyInfo::from_der(&key.spki_der).map_err(failed)?;
        let cert = params.signed_by(&public, &self.issuer).map_err(failed)?;
        let serial = params.serial_number.as_ref().map(|s| super::hex(s.as_ref())).unwrap_or_default();
        Ok(IssuedCertificate { chain_pem: cert.pem() + &self.cert_pem, serial, expires_at: end_of(now, life) })
    }

    /// The server's own certificate for `names` (DNS names and IP addresses).
    pub(super) fn issue_server(
        &self,
        key: &KeyPair,
        names: &[String],
        life: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let failed = |e: rcgen::Error| PkiError::Make { what: "server's certificate", message: e.to_string() };
        let mut params = base_params("drydockd", now, life)?;
        params.subject_alt_names = CertificateParams::new(names.to_vec()).map_err(failed)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(failed)?.pem())
    }
}

fn end_of(now: Timestamp, life: Duration) -> Timestamp {
    now.checked_add(life).unwrap_or(Timestamp::MAX)
}

fn base_params(common_name: &str, now: Timestamp, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut serial = [0u8; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| PkiError::Make { what: "serial number", message: "the system gives no random bytes".to_owned() })?;
    serial[0] &= 0x7f; // A serial number is positive.
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let system = |t: Timestamp| SystemTime::from(t);
    params.not_before = system(now.checked_sub(BACKDATE).unwrap_or(now)).into();
    params.not_after = system(end_of(now, life)).into();
    Ok(params)
}
