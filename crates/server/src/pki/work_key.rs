//! The Ed25519 key that signs work orders: a file in PKCS#8 PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drydock_control::WorkKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::{PkiError, read_text, write};
use crate::files::{DataDir, SECRET_MODE};

/// Line length of PEM, characters.
const PEM_LINE: usize = 64;

/// Makes the key at the first run.
pub fn create(dir: &DataDir) -> Result<WorkKey, PkiError> {
    let (key, pkcs8) = WorkKey::generate().map_err(|e| PkiError::Make { what: "work key", message: e.to_string() })?;
    let base64 = STANDARD.encode(pkcs8);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(PEM_LINE) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    write(&dir.work_key(), &pem, SECRET_MODE)?;
    Ok(key)
}

/// Reads the key.
pub fn load(dir: &DataDir) -> Result<WorkKey, PkiError> {
    let path = dir.work_key();
    let damaged = |message: String| PkiError::Damaged { path: path.clone(), message };
    let der = PrivatePkcs8KeyDer::from_pem_slice(read_text(&path)?.as_bytes()).map_err(|e| damaged(e.to_string()))?;
    WorkKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|e| damaged(e.to_string()))
}
