//! The PKI against rustls' own verifier and the files it leaves.

use super::*;
use crate::files::DataDir;
use drydock_domain::ids::InstanceId;
use jiff::{Timestamp, ToSpan};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn csr(alg: &'static rcgen::SignatureAlgorithm) -> (rcgen::KeyPair, Vec<u8>) {
    let key = rcgen::KeyPair::generate_for(alg).expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).expect("params");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let der = params.serialize_request(&key).expect("a request").der().to_vec();
    (key, der)
}

fn new_dir() -> (tempfile::TempDir, DataDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let data = DataDir::new(dir.path());
    (dir, data)
}

#[test]
fn an_agent_certificate_names_the_instance_and_nothing_of_the_request() {
    let (_keep, dir) = new_dir();
    let now = Timestamp::now();
    let ca = Authority::create(&dir, now).expect("made");
    let (_, der) = csr(&rcgen::PKCS_ECDSA_P256_SHA256);
    let key = check_csr(&der).expect("accepted");
    let id = InstanceId(uuid::Uuid::from_u128(7));
    let cert = ca.issue(CertificateUse::Agent, &key, id, Duration::from_secs(3600), now).expect("issued");
    let chain: Vec<_> = pem_chain(&cert.chain_pem);
    assert_eq!(chain.len(), 2);
    let peer = PeerCertificate::from_der(&chain[0]).expect("an agent's");
    assert_eq!((peer.good_for, peer.instance, peer.key_fingerprint), (CertificateUse::Agent, id, key.fingerprint()));
    assert_eq!(peer.expires_at.as_second(), cert.expires_at.as_second());
    let text = format!("{:?}", x509_parser::parse_x509_certificate(&chain[0]).expect("parsed").1);
    assert!(!text.contains("evil.example"));
    assert!(!x509_parser::parse_x509_certificate(&chain[0]).expect("parsed").1.is_ca());
    // The TLS library's own verifier accepts it now and not after its end.
    let verifier = crate::listener::tls::client_verifier(&ca).expect("a verifier");
    let at = |t: Timestamp| {
        let unix = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(t.as_second() as u64));
        verifier.verify_client_cert(&chain[0], &chain[1..], unix)
    };
    at(now).expect("good now");
    at(now - 4.minutes()).expect("good for a clock that is behind");
    at(now + 2.hours()).expect_err("ended");
    assert_eq!(PeerCertificate::from_der(&chain[1]), Err(PeerError::NoInstance));
}

#[test]
fn a_content_certificate_says_that_it_is_one() {
    let (_keep, dir) = new_dir();
    let now = Timestamp::now();
    let ca = Authority::create(&dir, now).expect("made");
    let key = check_csr(&csr(&rcgen::PKCS_ECDSA_P256_SHA256).1).expect("accepted");
    let id = InstanceId(uuid::Uuid::from_u128(7));
    let cert = ca.issue(CertificateUse::Content, &key, id, Duration::from_secs(3600), now).expect("issued");
    let peer = PeerCertificate::from_der(&pem_chain(&cert.chain_pem)[0]).expect("a host's");
    assert_eq!((peer.good_for, peer.instance), (CertificateUse::Content, id));
}

#[test]
fn foreign_keys_and_broken_requests_are_refused() {
    assert_eq!(check_csr(&csr(&rcgen::PKCS_ECDSA_P384_SHA384).1), Err(CsrError::WrongKey));
    assert_eq!(check_csr(&csr(&rcgen::PKCS_ED25519).1), Err(CsrError::WrongKey));
    let mut forged = csr(&rcgen::PKCS_ECDSA_P256_SHA256).1;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(check_csr(&forged), Err(CsrError::Unreadable(_))));
    assert!(matches!(check_csr(b""), Err(CsrError::Unreadable(_))));
    assert!(matches!(check_csr(&vec![0x30; 1 << 20]), Err(CsrError::Unreadable(_))));
}

#[test]
fn keys_are_private_and_survive_a_restart() {
    let (_keep, dir) = new_dir();
    let made = Authority::create(&dir, Timestamp::now()).expect("made");
    let work = create_work_key(&dir).expect("made");
    ensure_server_cert(&dir, &made, &["localhost".into()], Timestamp::now()).expect("made");
    assert_eq!(Authority::load(&dir).expect("loads").fingerprint(), made.fingerprint());
    assert_eq!(load_work_key(&dir).expect("loads").public(), work.public());
    for path in [dir.ca_key(), dir.server_key(), dir.work_key()] {
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600, "{path:?}");
    }
    std::fs::write(dir.ca_key(), rcgen::KeyPair::generate().expect("a key").serialize_pem()).expect("written");
    assert!(matches!(Authority::load(&dir), Err(PkiError::Damaged { .. })));
    std::fs::write(dir.work_key(), "nonsense").expect("written");
    assert!(matches!(load_work_key(&dir), Err(PkiError::Damaged { .. })));
}

#[test]
fn the_server_certificate_is_kept_until_names_change_or_its_end_is_near() {
    let (_keep, dir) = new_dir();
    let now = Timestamp::now();
    let ca = Authority::create(&dir, now).expect("made");
    let names: Vec<String> = vec!["b.example".into(), "10.0.0.1".into(), "::1".into()];
    let first = ensure_server_cert(&dir, &ca, &names, now).expect("made");
    assert_eq!(first.names, ["10.0.0.1", "::1", "b.example"]);
    let again = ensure_server_cert(&dir, &ca, &names, now + (24 * 300).hours()).expect("kept");
    assert_eq!(first.chain, again.chain);
    let near_end = ensure_server_cert(&dir, &ca, &names, now + (24 * 340).hours()).expect("made anew");
    assert_ne!(first.chain[0], near_end.chain[0]);
    let renamed = ensure_server_cert(&dir, &ca, &["c.example".into()], now).expect("made anew");
    assert_eq!(renamed.names, ["c.example"]);
    let other_ca = Authority::create(&dir, now).expect("made");
    let moved = ensure_server_cert(&dir, &other_ca, &["c.example".into()], now).expect("made anew");
    assert_ne!(moved.chain[0], renamed.chain[0]);
}

fn pem_chain(pem: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.expect("a certificate")).collect()
}
