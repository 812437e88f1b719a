//! TLS: the pinned CA, and everything that must be refused.

use std::sync::Arc;

use drydock_domain::access::Role;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::documents::whoami;
use crate::fake::{Prepared, Ran, Shared, TOKEN, router};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

fn fingerprint(cert: &CertificateDer<'_>) -> String {
    Sha256::digest(cert).iter().map(|b| format!("{b:02x}")).collect()
}

/// A certificate for `name`, signed by `ca`, and its key.
fn leaf(ca: &Ca, name: &str, expired: bool) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, ca).expect("a certificate");
    (cert.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// Serves a chain; returns the address and what it was asked.
async fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> (String, Arc<Shared>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a chain");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}", tcp.local_addr().expect("an address").port());
    let shared = Arc::new(Shared::default());
    let fake = crate::fake::Fake { url: url.clone(), shared: shared.clone() };
    fake.json("GET /whoami", &whoami("alice", Role::Operator));
    let tls = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    tokio::spawn(axum::serve(tls, router(shared.clone())).into_future());
    (url, shared)
}

async fn login(url: &str, trust: &str) -> Ran {
    Prepared::new().run(&format!("login --server {url} --token {TOKEN} {trust}")).await
}

#[tokio::test]
async fn the_pinned_ca_is_trusted_and_kept() {
    let ca = ca("Drydock CA");
    let (cert, key) = leaf(&ca, "localhost", false);
    let (url, _) = serve(vec![cert, ca.der().clone()], key).await;
    let mut prepared = Prepared::new();
    let capital = fingerprint(ca.der()).to_uppercase();
    let ran = prepared.run(&format!("login --server {url} --token {TOKEN} --ca-fingerprint {capital}")).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(prepared.run("whoami").await.code, 0);
}

#[tokio::test]
async fn a_ca_certificate_does_as_well() {
    let ca = ca("Drydock CA");
    let (cert, key) = leaf(&ca, "localhost", false);
    let (url, _) = serve(vec![cert], key).await;
    let mut prepared = Prepared::new();
    let file = prepared.home.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).expect("written");
    let ran = prepared.run(&format!("login --server {url} --token {TOKEN} --ca-file {}", file.display())).await;
    assert_eq!(ran.code, 0, "{ran}");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(prepared.run("whoami").await.code, 0);
}

#[tokio::test]
async fn another_ca_is_refused_with_both_fingerprints_and_nothing_is_sent() {
    let (mine, other) = (ca("Drydock CA"), ca("Drydock CA"));
    let (cert, key) = leaf(&other, "localhost", false);
    let (url, shared) = serve(vec![cert, other.der().clone()], key).await;
    let pinned = fingerprint(mine.der());
    let ran = login(&url, &format!("--ca-fingerprint {pinned}")).await;
    assert_eq!((ran.code, shared.requests()), (3, 0), "{ran}");
    let text = ran.err.replace(&pinned, "PINNED").replace(&fingerprint(other.der()), "SHOWN").replace(&url, "https://SERVER");
    insta::assert_snapshot!("tls_other_ca", text);
}

#[tokio::test]
async fn a_chain_that_only_carries_the_pinned_ca_is_refused() {
    // An attacker has the CA's public certificate, but not its key.
    let (mine, other) = (ca("Drydock CA"), ca("Drydock CA"));
    let (cert, key) = leaf(&other, "localhost", false);
    let (url, shared) = serve(vec![cert, mine.der().clone()], key).await;
    let ran = login(&url, &format!("--ca-fingerprint {}", fingerprint(mine.der()))).await;
    assert_eq!((ran.code, shared.requests()), (3, 0), "{ran}");
    assert!(ran.err.contains("not signed by the expected CA"), "{ran}");
}

#[tokio::test]
async fn a_pinned_leaf_is_no_ca() {
    let ca = ca("Drydock CA");
    let (cert, key) = leaf(&ca, "localhost", false);
    let pin = fingerprint(&cert);
    let (url, shared) = serve(vec![cert, ca.der().clone()], key).await;
    let ran = login(&url, &format!("--ca-fingerprint {pin}")).await;
    assert_eq!((ran.code, shared.requests()), (3, 0), "{ran}");
}

#[tokio::test]
async fn names_dates_and_unknown_cas_are_told_apart() {
    let ca = ca("Drydock CA");
    let pin = format!("--ca-fingerprint {}", fingerprint(ca.der()));
    for (name, expired, trust, want) in [
        ("elsewhere.example.com", false, pin.as_str(), "its certificate is for another name"),
        ("localhost", true, pin.as_str(), "its certificate has expired"),
        ("localhost", false, "", "no CA that this machine knows has signed its certificate"),
    ] {
        let (cert, key) = leaf(&ca, name, expired);
        let (url, shared) = serve(vec![cert, ca.der().clone()], key).await;
        let ran = login(&url, trust).await;
        assert_eq!((ran.code, shared.requests()), (3, 0), "{ran}");
        assert!(ran.err.contains(want), "{want}: {ran}");
    }
}
