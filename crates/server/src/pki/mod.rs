//! The server's own certification authority: one ECDSA P-256 CA made at the first run, the server's certificate, the
//! agents' and package managers' certificates, and the key that signs work orders. Absent on purpose: revocation lists (every call asks the
//! store) and foreign CAs.

mod authority;
mod peer;
mod secret_key;
mod server_cert;
mod work_key;

pub use authority::{Authority, CsrError, CsrKey, IssuedCertificate, check_csr};
pub use peer::{CertificateUse, PeerCertificate, PeerError};
pub use secret_key::ensure as ensure_secret_key;
pub use server_cert::{ServerIdentity, ensure as ensure_server_cert};
pub use work_key::{create as create_work_key, load as load_work_key};

use std::path::PathBuf;

/// Something of the PKI that could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read.
    #[error("cannot read {path}; check its owner and mode, or restore it from a backup")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}; check space, owner and mode of the data directory")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key or certificate file does not hold one.
    #[error("{path} is damaged ({message}); restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        message: String,
    },
    /// The cryptographic library refused.
    #[error("cannot make the {what} ({message})")]
    Make {
        /// Key or certificate of what.
        what: &'static str,
        /// The library's words.
        message: String,
    },
}

/// Fingerprint of a data directory's CA, read from its certificate alone.
pub fn fingerprint_of(dir: &crate::files::DataDir) -> Result<String, PkiError> {
    use rustls::pki_types::pem::PemObject;
    let path = dir.ca_cert();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(read_text(&path)?.as_bytes());
    der.map(|d| sha256_hex(&d)).map_err(|e| PkiError::Damaged { path, message: e.to_string() })
}

fn read_text(path: &std::path::Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.to_owned(), source })
}

fn write(path: &std::path::Path, text: &str, mode: u32) -> Result<(), PkiError> {
    crate::files::write_atomic(path, text.as_bytes(), mode).map_err(|source| PkiError::Write { path: path.to_owned(), source })
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// SHA-256, lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests;
