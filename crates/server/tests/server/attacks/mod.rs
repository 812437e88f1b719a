//! What somebody with bad intentions sends: strangers, people with little rights, and hosts that were taken over.

mod agents;
mod bodies;
mod log;
mod paths;
mod rates;
mod smuggling;
mod sql;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::TestServer;

/// An answer to bytes that are no request ends within this time.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Sends bytes over TLS as they are and reads everything that comes back until the server closes, or is silent.
async fn raw(server: &TestServer, bytes: &[u8]) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.running.ca_pem.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = tokio::net::TcpStream::connect(server.running.addr).await.expect("connected");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
    // A server that has heard enough closes while we are still writing.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    // The first answer may take its time; what comes after it comes at once.
    let mut patience = ANSWER_MAX;
    while let Ok(Ok(count)) = tokio::time::timeout(patience, stream.read(&mut piece)).await {
        if count == 0 {
            break;
        }
        said.extend_from_slice(&piece[..count]);
        patience = Duration::from_millis(500);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// The statuses of the answers in what came back.
fn statuses(said: &str) -> Vec<u16> {
    said.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// A request line with the headers every request has; more headers and the empty line are the caller's.
fn head(server: &TestServer, line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n", server.admin.token)
}
