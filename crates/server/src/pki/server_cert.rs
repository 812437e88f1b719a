//! The server's own certificate: made anew by itself when the configured names change or its end comes near.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Authority, PkiError, read_text, write};
use crate::files::{DataDir, PUBLIC_MODE, SECRET_MODE};

/// Life of the server's certificate (398 days: what browsers accept at most).
const LIFE: Duration = Duration::from_secs(398 * 86_400);
/// It is made anew when less than this is left.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 86_400);

/// What the TLS port shows.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Leaf, then CA: an agent that pins the CA's fingerprint needs to see it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Names it is good for, sorted.
    pub names: Vec<String>,
}

/// Reads the server's certificate, or makes it when it is absent, near its end, from another CA, for another key or
/// for other names than `names`.
pub fn ensure(dir: &DataDir, ca: &Authority, names: &[String], now: Timestamp) -> Result<ServerIdentity, PkiError> {
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    if let Some(found) = usable(dir, ca, &wanted, now) {
        return Ok(found);
    }
    let failed = |e: rcgen::Error| PkiError::Make { what: "server's key", message: e.to_string() };
    let key = KeyPair::generate().map_err(failed)?;
    let cert = ca.issue_server(&key, &wanted, LIFE, now)?;
    write(&dir.server_key(), &key.serialize_pem(), SECRET_MODE)?;
    write(&dir.server_cert(), &cert, PUBLIC_MODE)?;
    tracing::info!(names = wanted.join(","), "made a new server certificate");
    usable(dir, ca, &wanted, now).ok_or_else(|| PkiError::Damaged {
        path: dir.server_cert(),
        message: "the certificate just written does not read back".to_owned(),
    })
}

fn usable(dir: &DataDir, ca: &Authority, wanted: &[String], now: Timestamp) -> Option<ServerIdentity> {
    let cert = CertificateDer::from_pem_slice(read_text(&dir.server_cert()).ok()?.as_bytes()).ok()?.into_owned();
    let key_pem = read_text(&dir.server_key()).ok()?;
    let key_pair = KeyPair::from_pem(&key_pem).ok()?;
    if super::peer::spki_der(&cert).ok()? != rcgen::PublicKeyData::subject_public_key_info(&key_pair) {
        return None;
    }
    let (end, names) = super::peer::end_and_names(&cert).ok()?;
    let (_, ca_cert) = x509_parser::parse_x509_certificate(ca.cert_der()).ok()?;
    let (_, leaf) = x509_parser::parse_x509_certificate(&cert).ok()?;
    if leaf.issuer().as_raw() != ca_cert.subject().as_raw() || names != wanted || end.checked_sub(RENEW_BEFORE).ok()? <= now {
        return None;
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).ok()?;
    Some(ServerIdentity { chain: vec![cert, ca.cert_der().clone()], key, names })
}
