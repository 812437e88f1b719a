use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use drydock_domain::patch::undo::UndoAction;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// What a server does with a request: the answer, and whether the connection ends after it.
type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// A server of one certificate that answers with `answers`, one after the other, the last one again and again.
struct Server {
    source: Source,
    asked: Arc<Mutex<Vec<String>>>,
}

fn serve(answers: Vec<Answer>) -> Server {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let cert = params.self_signed(&key).expect("signed");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).expect("a certificate");
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, server) = (Arc::clone(&asked), Arc::new(server));
    std::thread::spawn(move || {
        let at = AtomicUsize::new(0);
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&server)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let answer = &answers[at.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
            let bytes = answer(&head);
            seen.lock().expect("a list").push(head);
            let _ = stream.write_all(&bytes);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let server = ServerAddress { host: "localhost".into(), port };
    Server { source: Source { server, proxy: None, tls: http1(&client) }, asked }
}

const BODY: &[u8] = b"the package as it was";

fn order() -> UndoOrder {
    let digest = ring::digest::digest(&ring::digest::SHA256, BODY);
    let file = UndoFile {
        name: "curl".into(),
        arch: "amd64".into(),
        version: "1".into(),
        file_name: "curl_1_amd64.deb".into(),
        sha256: digest.as_ref().iter().map(|b| format!("{b:02x}")).collect(),
        size: BODY.len() as u64,
        url_path: "/content/undo/curl_1_amd64.deb".into(),
        local: String::new(),
    };
    let action = UndoAction {
        name: "curl".into(),
        arch: "amd64".into(),
        now: Some("2".into()),
        before: Some("1".into()),
        purge: false,
        mark: None,
    };
    UndoOrder { actions: vec![action], files: vec![file] }
}

fn answer(status: &str, length: usize, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let bytes = [head.as_bytes(), body].concat();
    Box::new(move |_| bytes.clone())
}

fn go() -> bool {
    false
}

#[test]
fn a_file_comes_whole_and_is_not_asked_for_again() {
    let server = serve(vec![answer("200 OK", BODY.len(), BODY)]);
    let dir = tempfile::tempdir().expect("a directory");
    let fetched = server.source.fetch(&order(), dir.path(), &go).expect("fetched");
    assert_eq!(std::fs::read(&fetched.files[0].local).expect("there"), BODY);
    assert!(fetched.files[0].local.ends_with("/curl_1_amd64.deb") && fetched.validate().is_ok());
    assert_eq!(server.source.fetch(&order(), dir.path(), &go).expect("there"), fetched);
    let asked = server.asked.lock().expect("a list");
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("GET /content/undo/curl_1_amd64.deb HTTP/1.1\r\nHost: localhost:"), "{}", asked[0]);
}

#[test]
fn an_interrupted_file_goes_on_where_it_was() {
    let half = BODY.len() / 2;
    let rest = &BODY[half..];
    let server = serve(vec![answer("200 OK", BODY.len(), &BODY[..half]), answer("206 Partial Content", rest.len(), rest)]);
    let dir = tempfile::tempdir().expect("a directory");
    let fetched = server.source.fetch(&order(), dir.path(), &go).expect("fetched");
    assert_eq!(std::fs::read(&fetched.files[0].local).expect("there"), BODY);
    assert!(server.asked.lock().expect("a list")[1].contains(&format!("Range: bytes={half}-\r\n")));
}

#[test]
fn other_bytes_other_lengths_and_refusals_are_named_and_nothing_is_kept() {
    let refused = |answer: Answer| {
        let server = serve(vec![answer]);
        let dir = tempfile::tempdir().expect("a directory");
        let words = server.source.fetch(&order(), dir.path(), &go).expect_err("refused").to_string();
        let kept = std::fs::read(dir.path().join("0/curl_1_amd64.deb")).unwrap_or_default();
        assert_ne!(kept.len(), BODY.len(), "{words}");
        words
    };
    let other = refused(answer("200 OK", BODY.len(), b"another package as is"));
    assert!(other.starts_with("curl_1_amd64.deb as the server sends it") && other.contains("SHA-256"), "{other}");
    let long = refused(answer("200 OK", 1 << 40, BODY));
    assert!(long.contains("1099511627776 bytes were to come, not 21"), "{long}");
    let chunked = refused(Box::new(|_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()));
    assert!(chunked.contains("unknown number"), "{chunked}");
    let gone = refused(answer("404 Not Found", 8, b"no file\n"));
    assert!(gone.contains("HTTP 404 no file"), "{gone}");
}

#[test]
fn a_wish_to_stop_ends_it_and_bad_words_never_reach_the_disk() {
    let server = serve(vec![answer("200 OK", BODY.len(), BODY)]);
    let dir = tempfile::tempdir().expect("a directory");
    let stopped = server.source.fetch(&order(), dir.path(), &|| true).expect_err("stopped");
    assert!(matches!(stopped, FetchError::Stopped { .. }), "{stopped}");
    let mut bad = order();
    bad.files[0].file_name = "../../etc/x.deb".into();
    assert!(server.source.fetch(&bad, dir.path(), &go).is_err());
    assert_eq!(server.asked.lock().expect("a list").len(), 0);
}
