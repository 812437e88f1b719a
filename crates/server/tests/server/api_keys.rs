//! Requests signed with an RSA key, over real TLS, by a signer of the test's own and by our command.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use ring::digest::{SHA256, digest};
use ring::rsa::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{Answer, LIMIT, TestServer, answer};

/// A key of this run.
struct Key {
    private_pem: String,
    public_pem: String,
    pair: KeyPair,
}

impl Key {
    fn new() -> Self {
        let private_pem = drydock_testkit::keys::rsa_pem(2048).expect("a key");
        let public_pem = drydock_testkit::keys::public_pem(&private_pem).expect("its public half");
        let der = PrivatePkcs8KeyDer::from_pem_slice(private_pem.as_bytes()).expect("PKCS#8");
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
        Key { private_pem, public_pem, pair }
    }
}

/// A signed request in its parts, so that a test can change each of them after signing.
#[derive(Clone)]
struct Signed {
    method: Method,
    url: reqwest::Url,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A client that signs.
struct Signer<'a> {
    key: &'a Key,
    key_id: String,
    base: String,
    client: reqwest::Client,
}

impl Signer<'_> {
    fn sign(&self, method: &str, path: &str, body: &[u8], at: Timestamp) -> Signed {
        let url: reqwest::Url = format!("{}{path}", self.base).parse().expect("a URL");
        let host = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let target =
            url.as_str()[reqwest::Url::parse(&self.base).expect("a URL").origin().ascii_serialization().len()..].to_owned();
        let mut headers = vec![("date".to_owned(), at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())];
        let mut names = "date (request-target) host".to_owned();
        let mut text = format!("date: {}\n(request-target): {} {target}\nhost: {host}", headers[0].1, method.to_lowercase());
        if matches!(method, "POST" | "PUT" | "PATCH") {
            for (name, value) in [
                ("content-length", body.len().to_string()),
                ("content-type", "application/json".to_owned()),
                ("x-content-sha256", STANDARD.encode(digest(&SHA256, body))),
            ] {
                text.push_str(&format!("\n{name}: {value}"));
                names.push_str(&format!(" {name}"));
                headers.push((name.to_owned(), value));
            }
        }
        let mut signature = vec![0; self.key.pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        self.key.pair.sign(&ring::signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("signed");
        let value = format!(
            "Signature algorithm=\"rsa-sha256\",headers=\"{names}\",keyId=\"{}\",signature=\"{}\",version=\"1\"",
            self.key_id,
            STANDARD.encode(signature)
        );
        headers.push(("authorization".to_owned(), value));
        Signed { method: method.parse().expect("a method"), url, headers, body: body.to_vec() }
    }

    async fn send(&self, signed: &Signed) -> Answer {
        let mut request = self.client.request(signed.method.clone(), signed.url.clone());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        if !signed.body.is_empty() {
            request = request.body(signed.body.clone());
        }
        answer(request).await
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send(&self.sign(method, path, body, Timestamp::now())).await
    }
}

/// Makes `ann`, with a key, in a group.
async fn ann<'a>(server: &TestServer, key: &'a Key, group: &str) -> Signer<'a> {
    let made = server.admin.post("/users", json!({"name": "ann"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/user-groups/{group}/members");
    let joined = answer(server.admin.request("PUT", &path).json(&json!({"add": ["ann"], "remove": []}))).await;
    assert!(joined.status < 300, "{joined:?}");
    let added = server.admin.post("/users/ann/api-keys", json!({"publicKey": key.public_pem})).await;
    assert_eq!(added.status, 201, "{added:?}");
    let key_id = added.body["keyId"].as_str().expect("a keyId").to_owned();
    assert_eq!(key_id, format!("tenancy/ann/{}", added.body["fingerprint"].as_str().expect("a fingerprint")));
    Signer { key, key_id, base: server.admin.base.clone(), client: server.admin.client.clone() }
}

fn refused(answer: &Answer, why: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.body["code"], "NotAuthenticated", "{answer:?}");
    assert_eq!(answer.body["kind"], "UNAUTHENTICATED", "{answer:?}");
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(message.contains(why), "{message}");
    let ways = answer.headers.get("www-authenticate").and_then(|v| v.to_str().ok());
    assert!(ways.is_some_and(|ways| ways.starts_with("Signature ")), "{ways:?}");
}

const GROUP: &str = r#"{"name":"signed"}"#;

#[tokio::test]
async fn a_user_signs_requests_over_both_kinds_of_http() {
    let server = TestServer::start().await;
    let key = Key::new();
    let mut ann = ann(&server, &key, "Operators").await;
    let http1 = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(server.running.ca_pem.as_bytes()).expect("a certificate")])
        .no_proxy()
        .http1_only()
        .timeout(LIMIT)
        .build()
        .expect("a client");
    for (name, client) in [("two", ann.client.clone()), ("one", http1)] {
        ann.client = client;
        let who = ann.ask("GET", "/api/v1/whoami", b"").await;
        assert_eq!((who.status, who.body["name"].as_str()), (200, Some("ann")), "{who:?}");
        let list = ann.ask("GET", "/api/v1/instances?limit=5", b"").await;
        assert_eq!(list.status, 200, "{list:?}");
        let body = GROUP.replace("signed", &format!("signed-{name}"));
        let made = ann.ask("POST", "/api/v1/groups", body.as_bytes()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let gone = ann.ask("DELETE", &format!("/api/v1/groups/signed-{name}"), b"").await;
        assert!(gone.status < 300, "{gone:?}");
    }
    // What the groups of ann do not give, her key does not give.
    let denied = ann.ask("GET", "/api/v1/access-tokens", b"").await;
    assert_eq!(denied.status, 403, "{denied:?}");
    // The use is on record.
    let used = server.admin.wait_for("/users/ann/api-keys", "the key's use", |page| !page["items"][0]["lastUsedAt"].is_null());
    used.await;
}

#[tokio::test]
async fn what_was_changed_or_used_before_is_refused() {
    let server = TestServer::start().await;
    let key = Key::new();
    let ann = ann(&server, &key, "Operators").await;
    let now = Timestamp::now();
    // A replay, also after others came in between.
    let post = ann.sign("POST", "/api/v1/groups", GROUP.as_bytes(), now);
    assert_eq!(ann.send(&post).await.status, 201);
    assert_eq!(ann.ask("GET", "/api/v1/groups", b"").await.status, 200);
    refused(&ann.send(&post).await, "used before");
    let delete = ann.sign("DELETE", "/api/v1/groups/signed", b"", now);
    assert!(ann.send(&delete).await.status < 300);
    refused(&ann.send(&delete).await, "used before");
    let get = ann.sign("GET", "/api/v1/groups", b"", now);
    assert_eq!((ann.send(&get).await.status, ann.send(&get).await.status), (200, 200), "reading twice changes nothing");
    // A changed part.
    let fresh = |path: &str| ann.sign("POST", path, GROUP.as_bytes(), Timestamp::now());
    let mut changed = fresh("/api/v1/groups");
    changed.body = GROUP.replace("signed", "forged").into_bytes();
    refused(&ann.send(&changed).await, "body");
    let mut changed = get.clone();
    changed.url.set_query(Some("limit=1"));
    refused(&ann.send(&changed).await, "not one of a known key");
    let mut changed = get.clone();
    changed.method = Method::DELETE;
    refused(&ann.send(&changed).await, "not one of a known key");
    let mut changed = get.clone();
    changed.headers.retain(|(name, _)| name != "date");
    refused(&ann.send(&changed).await, "does not have: date");
    // Another time.
    for away in [-301, 330] {
        let old = ann.sign("GET", "/api/v1/groups", b"", now + SignedDuration::from_secs(away));
        refused(&ann.send(&old).await, "clock");
    }
    // Another host: signed for one server, brought to this one.
    let elsewhere =
        Signer { base: "https://drydock.example:8443".into(), key: &key, key_id: ann.key_id.clone(), client: ann.client.clone() };
    let mut brought = elsewhere.sign("GET", "/api/v1/groups", b"", Timestamp::now());
    brought.url = get.url.clone();
    brought.headers.push(("host".into(), "drydock.example:8443".into()));
    let answered = ann.send(&brought).await;
    assert_eq!(answered.status, 401, "{answered:?}");
    // A body where none was signed.
    let mut with_body = ann.sign("DELETE", "/api/v1/groups/x", b"", Timestamp::now());
    with_body.body = b"{}".to_vec();
    refused(&ann.send(&with_body).await, "body");
    // Signed and with a token: nobody knows which counts.
    let mut both = get.clone();
    both.headers.push(("authorization".into(), format!("Bearer {}", server.admin.token)));
    refused(&ann.send(&both).await, "several");
    // Nothing of all this was done.
    let groups = server.admin.get("/groups").await;
    assert_eq!(groups.body["items"].as_array().map(Vec::len), Some(0), "{groups:?}");
}

#[tokio::test]
async fn keys_are_added_listed_and_deleted_by_who_may() {
    let server = TestServer::start().await;
    let (one, two) = (Key::new(), Key::new());
    let ann = ann(&server, &one, "Viewers").await;
    // Ann looks after her own keys, without any permission.
    let body = json!({"publicKey": two.public_pem}).to_string();
    let added = ann.ask("POST", "/api/v1/users/ann/api-keys", body.as_bytes()).await;
    assert_eq!(added.status, 201, "{added:?}");
    let again = ann.ask("POST", "/api/v1/users/ann/api-keys", (body.clone() + " ").as_bytes()).await;
    assert_eq!(again.status, 409, "{again:?}");
    let listed = ann.ask("GET", "/api/v1/users/ann/api-keys", b"").await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(2), "{listed:?}");
    assert_eq!(listed.body["items"][0]["bits"], 2048);
    // Nobody else's.
    assert_eq!(server.admin.post("/users", json!({"name": "bob"})).await.status, 201);
    for path in ["/api/v1/users/bob/api-keys", "/api/v1/users/nobody/api-keys"] {
        let answer = ann.ask("POST", path, body.as_bytes()).await;
        assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
    }
    // What is no usable key is told; a private key is not stored.
    for (pem, why) in [("", "PEM"), (one.private_pem.as_str(), "private key"), (&one.public_pem.replace("MII", "MIJ"), "PEM")] {
        let bad = server.admin.post("/users/bob/api-keys", json!({"publicKey": pem})).await;
        let told = bad.body["fields"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(bad.status == 400 && told.contains(why), "{bad:?}");
    }
    // Three are the most.
    let third = Key::new();
    assert_eq!(server.admin.post("/users/ann/api-keys", json!({"publicKey": third.public_pem})).await.status, 201);
    let fourth = Key::new();
    let refused_one = server.admin.post("/users/ann/api-keys", json!({"publicKey": fourth.public_pem})).await;
    assert_eq!(refused_one.status, 409, "{refused_one:?}");
    // A deleted key is none, and neither is that of a disabled user.
    let other = Signer {
        key: &two,
        key_id: format!("tenancy/ann/{}", added.body["fingerprint"].as_str().expect("one")),
        base: ann.base.clone(),
        client: ann.client.clone(),
    };
    assert_eq!(other.ask("GET", "/api/v1/whoami", b"").await.status, 200);
    let fingerprint = ann.key_id.rsplit('/').next().expect("one");
    let gone = other.ask("DELETE", &format!("/api/v1/users/ann/api-keys/{fingerprint}"), b"").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    refused(&ann.ask("GET", "/api/v1/whoami", b"").await, "not one of a known key");
    let disabled = answer(server.admin.request("PATCH", "/users/ann").json(&json!({"disabled": true}))).await;
    assert_eq!(disabled.status, 200, "{disabled:?}");
    refused(&other.ask("GET", "/api/v1/whoami", b"").await, "disabled");
}

#[tokio::test]
async fn a_signature_is_remembered_over_a_restart_and_too_many_wrong_ones_wait() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut running = drydock_server::Server::start(crate::support::settings(dir.path())).await.expect("started");
    let token = running.admin_token.take().expect("a first run").expose().to_owned();
    let admin = crate::support::Person::new(running.addr, &running.ca_pem, &token);
    let key = Key::new();
    assert_eq!(admin.post("/users", json!({"name": "ann"})).await.status, 201);
    let added = admin.post("/users/ann/api-keys", json!({"publicKey": key.public_pem})).await;
    assert_eq!(added.status, 201, "{added:?}");
    let key_id = added.body["keyId"].as_str().expect("a keyId").to_owned();
    let signer = Signer { key: &key, key_id, base: admin.base.clone(), client: admin.client.clone() };
    // Ann may not make groups, but her signature is used up all the same.
    let post = signer.sign("POST", "/api/v1/groups", GROUP.as_bytes(), Timestamp::now());
    assert_eq!(signer.send(&post).await.status, 403);
    running.stop().await;
    let running = drydock_server::Server::start(crate::support::settings(dir.path())).await.expect("started again");
    let admin = crate::support::Person::new(running.addr, &running.ca_pem, &token);
    // The port is another one now: the host was signed with its old one, which the test sends along.
    let mut replay = post.clone();
    replay.url.set_port(Some(running.addr.port())).expect("a port");
    let old = format!("127.0.0.1:{}", post.url.port().expect("a port"));
    replay.headers.push(("host".into(), old));
    let http1 = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(running.ca_pem.as_bytes()).expect("a certificate")])
        .no_proxy()
        .http1_only()
        .timeout(LIMIT)
        .build()
        .expect("a client");
    let signer = Signer { base: admin.base.clone(), client: http1, ..signer };
    refused(&signer.send(&replay).await, "used before");
    let began = std::time::Instant::now();
    loop {
        let answered = signer.send(&replay).await;
        if answered.status == 429 {
            assert!(answered.headers.contains_key("retry-after"), "{answered:?}");
            break;
        }
        refused(&answered, "used before");
        assert!(began.elapsed() < Duration::from_secs(20), "nobody says wait");
    }
    running.stop().await;
}

/// Our own command signs as the server wants it.
#[tokio::test]
async fn the_command_signs() {
    let server = TestServer::start().await;
    let key = Key::new();
    let ann = ann(&server, &key, "Operators").await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let (key_file, ca_file, config) =
        (file("key.pem", &key.private_pem), file("ca.pem", &server.running.ca_pem), dir.path().join("c"));
    let config = config.to_str().expect("text").to_owned();
    let base = server.admin.base.clone();
    let named = ["--server", &base, "--ca-file", &ca_file, "--config", &config];
    let with_key = ["--api-key-file", &key_file, "--api-key-id", &ann.key_id];
    let (code, _, err) = command(&[&["login"], &named[..], &with_key[..]].concat()).await;
    assert_eq!(code, 0, "{err}");
    // From now on the configuration says who signs.
    let (code, out, err) = command(&["whoami", "-o", "json", "--config", &config]).await;
    let who: Value = serde_json::from_str(&out).unwrap_or_default();
    assert_eq!((code, who["name"].as_str()), (0, Some("ann")), "{out} {err}");
    let second = file("second.pem", &Key::new().public_pem);
    let (code, _, err) = command(&["access", "api-key", "add", "ann", "--public-key", &second, "--config", &config]).await;
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = command(&["access", "api-key", "add", "ann", "--public-key", &key_file, "--config", &config]).await;
    assert!(code != 0 && err.contains("private key"), "{err}");
    let (code, out, err) = command(&["access", "api-key", "list", "ann", "-o", "json", "--config", &config]).await;
    assert!(code == 0 && out.contains(&ann.key_id), "{out} {err}");
    let kept = std::fs::read_to_string(&config).expect("kept");
    assert!(kept.contains("key_file") && !kept.contains("PRIVATE"), "{kept}");
    // A key that is not there signs nothing.
    let wrong = file("wrong.pem", &Key::new().private_pem);
    let (code, _, err) =
        command(&[&["whoami"], &named[..], &["--api-key-file", &wrong, "--api-key-id", &ann.key_id]].concat()).await;
    assert!(code != 0 && err.contains("signature"), "{err}");
}

/// Runs the command in this process.
async fn command(arguments: &[&str]) -> (u8, String, String) {
    use drydock_cli::World;
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (out, err) = (Page::default(), Page::default());
    let text = |page: &Page| String::from_utf8_lossy(&page.0.lock().expect("not poisoned")).into_owned();
    let mut world = World {
        env: std::collections::BTreeMap::new(),
        input: Box::new(std::io::empty()),
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        out_is_terminal: false,
        screen: || None,
        now: Timestamp::now,
        interrupt: Box::new(|| Box::pin(std::future::pending())),
        pace: drydock_cli::Pace::default(),
        hide: |_| false,
    };
    let all = std::iter::once("drydock").chain(arguments.iter().copied()).map(Into::into);
    let code = drydock_cli::run(all, &mut world).await;
    (code, text(&out), text(&err))
}
