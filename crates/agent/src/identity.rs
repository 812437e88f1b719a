//! Who this agent is: key, certificate, trusted root, the server's signing key. Renewal swaps key and certificate so
//! that a crash between any two writes leaves a pair that fits.
//!
//! ```text
//! next-key.pem written ─> server signs ─> next-cert.pem written ─> key.pem := next-key.pem ─> cert.pem := next-cert.pem
//! ```
//! Before next-cert.pem exists the old pair is used (the server accepts the old key until the new one was first seen);
//! from then on [`Identity::load`] rolls forward.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use drydock_domain::ids::InstanceId;
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::platform::{private_dir, sync_dir, write_durably};

/// Bytes of an Ed25519 public key.
const WORK_KEY_BYTES: usize = 32;

/// What went wrong with the agent's identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing there.
    #[error("this host is not enrolled ({path} is missing); run `drydock-agent enrol`", path = .path.display())]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// The disk said no.
    #[error("cannot {what} {path}", path = .path.display())]
    File {
        /// `read`, `write` …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path} cannot be used: {why}; enrol this host again with `drydock-agent enrol`", path = .path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The file `instance`: what enrolment decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceFile {
    /// The instance this host is.
    pub instance_id: InstanceId,
    /// The server it belongs to.
    pub server: String,
    /// When.
    pub enrolled_at: Timestamp,
    /// `enrol` installed the unit, so `unregister` removes it.
    #[serde(default)]
    pub unit_installed: bool,
}

/// Everything needed to speak to the server.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who we are.
    pub instance: InstanceFile,
    /// Private key, PEM.
    pub key_pem: String,
    /// Certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Trusted root certificates.
    pub roots: Vec<CertificateDer<'static>>,
    /// Signs work orders.
    pub work_key: Vec<u8>,
    /// Certificate's begin.
    pub not_before: Timestamp,
    /// Certificate's end.
    pub not_after: Timestamp,
}

/// What the server hands out at enrolment and renewal.
#[derive(Debug, Clone)]
pub struct Issued<'a> {
    /// Certificate chain, PEM.
    pub certificate_pem: &'a str,
    /// Trusted root, PEM.
    pub ca_pem: &'a str,
    /// Ed25519 public key.
    pub work_key: &'a [u8],
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound if what == "read" => IdentityError::Missing { path },
        _ => IdentityError::File { what, path, source },
    }
}

fn bad(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> IdentityError {
    let path = path.to_owned();
    move |why| IdentityError::Bad { path: path.clone(), why: why.to_string() }
}

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(file_error("read", path))
}

fn write(path: &Path, text: &[u8]) -> Result<(), IdentityError> {
    write_durably(path, text, 0o600).map_err(file_error("write", path))
}

/// Loads the key at `path`, or makes and keeps a new one: the same key makes a repeated enrolment the same request.
pub fn key_or_new(path: &Path) -> Result<KeyPair, IdentityError> {
    match fs::read_to_string(path) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(|e| bad(path)(&e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| bad(path)(&e))?;
            if let Some(dir) = path.parent() {
                private_dir(dir).map_err(file_error("create", dir))?;
            }
            write(path, key.serialize_pem().as_bytes())?;
            Ok(key)
        }
        Err(e) => Err(file_error("read", path)(e)),
    }
}

/// A certificate request for `key`, DER. Names in it mean nothing: the server decides them.
pub fn request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let params = rcgen::CertificateParams::new(Vec::new())?;
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let list = list.map_err(|e| bad(path)(&e))?;
    if list.is_empty() {
        return Err(bad(path)(&"it holds no certificate"));
    }
    Ok(list)
}

/// Public key (SubjectPublicKeyInfo, DER) and life of a certificate.
fn facts(path: &Path, cert: &CertificateDer<'_>) -> Result<(Vec<u8>, Timestamp, Timestamp), IdentityError> {
    let bad = bad(path);
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).map_err(|e| bad(&e))?;
    let time = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp()).map_err(|e| bad(&e));
    let spki = parsed.tbs_certificate.subject_pki.raw.to_vec();
    Ok((spki, time(parsed.validity().not_before)?, time(parsed.validity().not_after)?))
}

fn public_key(path: &Path, key_pem: &str) -> Result<Vec<u8>, IdentityError> {
    Ok(KeyPair::from_pem(key_pem).map_err(|e| bad(path)(&e))?.subject_public_key_info())
}

impl Identity {
    /// Loads the identity; finishes or forgets a renewal that a crash interrupted.
    pub fn load(paths: &Paths) -> Result<Self, IdentityError> {
        roll_forward(paths)?;
        let instance_path = paths.instance();
        let instance: InstanceFile = serde_json::from_str(&read(&instance_path)?).map_err(|e| bad(&instance_path)(&e))?;
        let key_pem = read(&paths.key())?;
        let chain = certificates(&paths.cert(), &read(&paths.cert())?)?;
        let roots = certificates(&paths.ca(), &read(&paths.ca())?)?;
        let leaf = chain.first().ok_or_else(|| bad(&paths.cert())(&"it holds no certificate"))?;
        let (spki, not_before, not_after) = facts(&paths.cert(), leaf)?;
        if spki != public_key(&paths.key(), &key_pem)? {
            return Err(bad(&paths.cert())(&"it is for another key than key.pem"));
        }
        let work_key = fs::read(paths.work_key()).map_err(file_error("read", &paths.work_key()))?;
        if work_key.len() != WORK_KEY_BYTES {
            return Err(bad(&paths.work_key())(&"it is not an Ed25519 public key of 32 bytes"));
        }
        Ok(Identity { instance, key_pem, chain, roots, work_key, not_before, not_after })
    }

    /// When to renew: at two thirds of the certificate's life, spread by up to a tenth of it (`jitter` in 0..=1), so
    /// that a fleet enrolled in one minute does not renew in one minute.
    pub fn renew_at(&self, jitter: f64) -> Timestamp {
        let life = self.not_after.as_second() - self.not_before.as_second();
        let share = 2.0 / 3.0 - 0.05 + 0.1 * jitter.clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let after = (life as f64 * share) as i64;
        Timestamp::from_second(self.not_before.as_second() + after).unwrap_or(self.not_after)
    }
}

/// Stores what the first enrolment brought. The file `instance` is last: it says "complete".
pub fn store_enrolment(paths: &Paths, instance: &InstanceFile, issued: &Issued<'_>) -> Result<(), IdentityError> {
    write(&paths.cert(), issued.certificate_pem.as_bytes())?;
    write(&paths.ca(), issued.ca_pem.as_bytes())?;
    write(&paths.work_key(), issued.work_key)?;
    let text = serde_json::to_vec(instance).map_err(|e| bad(&paths.instance())(&e))?;
    write(&paths.instance(), &text)
}

/// Stores what a renewal brought for the key in next-key.pem.
pub fn store_renewal(paths: &Paths, issued: &Issued<'_>) -> Result<(), IdentityError> {
    let next = paths.next_cert();
    let chain = certificates(&next, issued.certificate_pem)?;
    let leaf = chain.first().ok_or_else(|| bad(&next)(&"it holds no certificate"))?;
    if facts(&next, leaf)?.0 != public_key(&paths.next_key(), &read(&paths.next_key())?)? {
        return Err(bad(&next)(&"the server certified another key than the one asked for"));
    }
    if !issued.ca_pem.is_empty() {
        certificates(&paths.ca(), issued.ca_pem)?;
        write(&paths.ca(), issued.ca_pem.as_bytes())?;
    }
    if issued.work_key.len() == WORK_KEY_BYTES {
        write(&paths.work_key(), issued.work_key)?;
    }
    write(&next, issued.certificate_pem.as_bytes())?;
    roll_forward(paths)
}

/// Completes a swap: see the drawing above. Without next-cert.pem there is nothing to complete.
fn roll_forward(paths: &Paths) -> Result<(), IdentityError> {
    let (key, cert, next_key, next_cert) = (paths.key(), paths.cert(), paths.next_key(), paths.next_cert());
    if !next_cert.exists() {
        return Ok(());
    }
    let chain = certificates(&next_cert, &read(&next_cert)?)?;
    let leaf = chain.first().ok_or_else(|| bad(&next_cert)(&"it holds no certificate"))?;
    let wanted = facts(&next_cert, leaf)?.0;
    let fits =
        |path: &Path| fs::read_to_string(path).ok().and_then(|pem| public_key(path, &pem).ok()).is_some_and(|k| k == wanted);
    if next_key.exists() && fits(&next_key) {
        fs::rename(&next_key, &key).map_err(file_error("replace", &key))?;
    }
    if fits(&key) {
        fs::rename(&next_cert, &cert).map_err(file_error("replace", &cert))?;
    } else {
        // Belongs to no key we have: useless, and it must not block the next renewal.
        fs::remove_file(&next_cert).map_err(file_error("remove", &next_cert))?;
    }
    sync_dir(&paths.state).map_err(file_error("write", &paths.state))
}

/// Reads a CA fingerprint: 64 hexadecimal digits, colons and case ignored.
pub fn parse_fingerprint(text: &str) -> Result<String, String> {
    let hex: String = text.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let hex = hex.strip_prefix("sha256").unwrap_or(&hex).to_owned();
    if hex.len() == 64 && String::from_str(&hex).is_ok_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Ok(hex);
    }
    Err("a CA fingerprint has 64 hexadecimal digits; `drydock enrolment create` prints it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &KeyPair) -> String {
        let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        params.self_signed(key).expect("signed").pem()
    }

    fn enrolled(dir: &Path) -> Paths {
        let paths = Paths::below(dir);
        let key = key_or_new(&paths.key()).expect("a key");
        let pem = signed(&key);
        let instance = InstanceFile {
            instance_id: "0198c0de-0000-7000-8000-000000000001".parse().expect("an id"),
            server: "https://h:8443".into(),
            enrolled_at: Timestamp::UNIX_EPOCH,
            unit_installed: false,
        };
        let issued = Issued { certificate_pem: &pem, ca_pem: &pem, work_key: &[7; 32] };
        store_enrolment(&paths, &instance, &issued).expect("stored");
        paths
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state/key.pem");
        let one = key_or_new(&path).expect("made").serialize_pem();
        assert_eq!(key_or_new(&path).expect("loaded").serialize_pem(), one);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_crash_at_any_point_of_a_renewal_leaves_a_pair_that_fits() {
        for crash_after in 0..4 {
            let dir = tempfile::tempdir().expect("a directory");
            let paths = enrolled(dir.path());
            let old = Identity::load(&paths).expect("loaded").key_pem;
            let next = key_or_new(&paths.next_key()).expect("a key");
            let pem = signed(&next);
            if crash_after >= 1 {
                write(&paths.next_cert(), pem.as_bytes()).expect("written");
            }
            if crash_after >= 2 {
                fs::rename(paths.next_key(), paths.key()).expect("renamed");
            }
            if crash_after >= 3 {
                fs::rename(paths.next_cert(), paths.cert()).expect("renamed");
            }
            let loaded = Identity::load(&paths).expect("a pair that fits");
            assert_eq!(loaded.key_pem == old, crash_after == 0, "crash after {crash_after}");
            assert!(!paths.next_cert().exists());
        }
    }

    #[test]
    fn a_renewal_for_another_key_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = enrolled(dir.path());
        key_or_new(&paths.next_key()).expect("a key");
        let stranger = signed(&KeyPair::generate().expect("a key"));
        let issued = Issued { certificate_pem: &stranger, ca_pem: "", work_key: &[] };
        assert!(store_renewal(&paths, &issued).is_err());
        Identity::load(&paths).expect("still whole");
    }

    #[test]
    fn renewal_is_due_around_two_thirds() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut identity = Identity::load(&enrolled(dir.path())).expect("loaded");
        identity.not_before = Timestamp::UNIX_EPOCH;
        identity.not_after = Timestamp::from_second(3000).expect("in range");
        let (early, late) = (identity.renew_at(0.0).as_second(), identity.renew_at(1.0).as_second());
        assert!((1840..1860).contains(&early) && (2140..2160).contains(&late), "{early} {late}");
    }

    #[test]
    fn fingerprints_are_read_in_every_spelling() {
        let plain = "ab".repeat(32);
        assert_eq!(parse_fingerprint(&"AB:".repeat(32)), Ok(plain.clone()));
        assert_eq!(parse_fingerprint(&format!("sha256:{plain}")), Ok(plain));
        assert!(parse_fingerprint("abc").is_err());
    }
}
