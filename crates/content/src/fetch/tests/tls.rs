//! Upstreams behind TLS: the source's own authority, client certificates, and no way back to plain HTTP.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

use super::*;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn leaf(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn server(&self, clients: bool) -> rustls::ServerConfig {
        let (certificate, key) = self.leaf();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

#[tokio::test]
async fn the_sources_own_authority_and_client_certificate_are_used() {
    let bench = Bench::new();
    let authority = Authority::new();
    let server = Hostile::start_tls(authority.server(true), |_, _, wire| answer(wire, "200 OK", &[], b"secret"));
    let unknown = get(&bench.fetcher(&[server.url()])).await.unwrap_err();
    assert!(unknown.to_string().contains("add the upstream's certificate authority to `caPem`"), "{unknown}");
    let mut access = access(&[server.url()]);
    access.ca_pem = Some(authority.issuer.pem());
    let fetcher = Fetcher::with_limits(&access, bench.dir.path(), limits()).unwrap();
    assert!(get(&fetcher).await.is_err(), "without a client certificate nothing is served");
    let (certificate, key) = authority.leaf();
    access.client_certificate_pem = Some(certificate.pem());
    let error = Fetcher::new(&access, bench.dir.path()).err().unwrap();
    assert!(error.to_string().contains("clientKeyPem is missing"), "{error}");
    access.client_key_pem = Some(Secret::new(key.serialize_pem()));
    let fetcher = Fetcher::with_limits(&access, bench.dir.path(), limits()).unwrap();
    assert_eq!(get(&fetcher).await.unwrap(), b"secret");
    access.client_key_pem = Some(Secret::new("no key"));
    let error = Fetcher::new(&access, bench.dir.path()).err().unwrap();
    assert!(error.to_string().contains("holds no private key") && !error.to_string().contains("no key\""), "{error}");
    access.ca_pem = Some("nothing".to_owned());
    assert!(Fetcher::new(&access, bench.dir.path()).is_err());
}

#[tokio::test]
async fn https_is_never_left_for_http() {
    let bench = Bench::new();
    let plain = Hostile::start(|_, _, wire| answer(wire, "200 OK", &[], b"tampered"));
    let authority = Authority::new();
    let to = format!("{}x", plain.url());
    let server = Hostile::start_tls(authority.server(false), move |_, _, wire| {
        answer(wire, "302 Found", &[("Location", &to)], b"");
    });
    let mut access = access(&[server.url()]);
    access.ca_pem = Some(authority.issuer.pem());
    let fetcher = Fetcher::with_limits(&access, bench.dir.path(), limits()).unwrap();
    let error = get(&fetcher).await.unwrap_err();
    assert!(error.to_string().contains("from https to http is never followed"), "{error}");
    assert!(plain.requests().is_empty());
    // The other way is an upgrade.
    let secure = Hostile::start_tls(authority.server(false), |_, _, wire| answer(wire, "200 OK", &[], b"safe"));
    let to = format!("{}x", secure.url());
    let plain = Hostile::start(move |_, _, wire| answer(wire, "301 Moved", &[("Location", &to)], b""));
    access.urls = vec![plain.url()];
    let fetcher = Fetcher::with_limits(&access, bench.dir.path(), limits()).unwrap();
    assert_eq!(get(&fetcher).await.unwrap(), b"safe");
}
