//! The content certificate: a key of its own for package managers, which run as other users than the agent. Key,
//! certificate and CA are one file, so that they always fit.

use std::path::Path;

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::identity;
use crate::ledger::{seal, unseal};
use crate::platform::write_durably;

/// Share of its life after which a certificate is renewed, percent: just before the agent's own is.
const RENEW_AT_PERCENT: i64 = 60;

/// Key, certificate chain and CA.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentCertificate {
    /// Whose.
    pub instance: InstanceId,
    /// Private key, PEM.
    pub key_pem: String,
    /// Chain, leaf first, PEM.
    pub certificate_pem: String,
}

impl std::fmt::Debug for ContentCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentCertificate").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl ContentCertificate {
    /// The kept one; one that cannot be read is asked for anew.
    pub fn load(path: &Path, instance: InstanceId) -> Option<Self> {
        let kept: Self = unseal(&std::fs::read(path).ok()?).ok()?;
        (kept.instance == instance).then_some(kept)
    }

    /// Is it time for a new one?
    pub fn is_due(&self, now: Timestamp) -> bool {
        let Some((begin, end)) = self.life() else { return true };
        now.as_second() - begin >= (end - begin) * RENEW_AT_PERCENT / 100
    }

    fn life(&self) -> Option<(i64, i64)> {
        let der = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).ok()?;
        let (_, cert) = x509_parser::parse_x509_certificate(&der).ok()?;
        Some((cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp()))
    }

    /// Certificate and key in one text, as curl and apt read them.
    pub fn client_pem(&self) -> String {
        let line = |pem: &str| format!("{}\n", pem.trim_end());
        format!("{}{}", line(&self.certificate_pem), line(&self.key_pem))
    }
}

/// A new key and its request, DER.
pub fn request() -> Result<(KeyPair, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let csr = identity::request(&key)?;
    Ok((key, csr))
}

/// Keeps what the server issued for `key`.
pub fn store(path: &Path, instance: InstanceId, key: &KeyPair, certificate_pem: &str) -> Result<(), String> {
    let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|e| e.to_string())?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).map_err(|e| e.to_string())?;
    if cert.tbs_certificate.subject_pki.raw != key_info(key) {
        return Err("the server certified another key than the one asked for".to_owned());
    }
    let kept = ContentCertificate { instance, key_pem: key.serialize_pem(), certificate_pem: certificate_pem.to_owned() };
    let sealed = seal(&kept)?;
    write_durably(path, &sealed, 0o600).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn key_info(key: &KeyPair) -> Vec<u8> {
    use rcgen::PublicKeyData;
    key.subject_public_key_info()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_is_kept_whole_and_renewed_in_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("certificate");
        let me = InstanceId(Uuid::from_u128(1));
        let (key, csr) = request().expect("a request");
        assert!(!csr.is_empty());
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 11);
        let cert = params.self_signed(&key).expect("signed").pem();
        let stranger = rcgen::CertificateParams::new(Vec::new()).expect("params");
        let stranger = stranger.self_signed(&KeyPair::generate().expect("a key")).expect("signed").pem();
        assert!(store(&path, me, &key, &stranger).is_err());
        assert!(ContentCertificate::load(&path, me).is_none());
        store(&path, me, &key, &cert).expect("stored");
        let kept = ContentCertificate::load(&path, me).expect("kept");
        assert!(ContentCertificate::load(&path, InstanceId(Uuid::from_u128(2))).is_none(), "another instance's");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert!(!kept.is_due(at("2026-03-01T00:00:00Z")) && kept.is_due(at("2026-03-03T00:00:00Z")));
        let pem = kept.client_pem();
        assert!(pem.contains("BEGIN CERTIFICATE") && pem.contains("BEGIN PRIVATE KEY"));
        assert!(!format!("{kept:?}").contains("PRIVATE"));
    }
}
