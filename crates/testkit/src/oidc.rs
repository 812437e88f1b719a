//! A small OpenID Connect provider on the loopback address: discovery, authorisation code flow with PKCE (which it checks
//! itself), RS256 and ES256 keys made at start and changed on demand. Everybody who comes is the configured person: there
//! is no password. It can be told to misbehave, one way at a time.
//!
//! Absent: TLS (a test puts it in front and gives the outer address), refresh tokens, userinfo.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

/// Who may ask.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret; without one it is a public client.
    pub secret: Option<String>,
    /// Where browsers may be sent back to, exactly.
    pub redirect_uri: String,
}

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The token's nonce is another one.
    WrongNonce,
    /// The token has no nonce.
    NoNonce,
    /// The token's time is over.
    Expired,
    /// The token was made an hour ago, and lives on.
    Old,
    /// The token was made in an hour.
    Future,
    /// The token is for another client.
    OtherAudience,
    /// The token is for us and another client, which asked for it.
    OtherParty,
    /// The token is from another issuer.
    OtherIssuer,
    /// `alg: none`, no signature.
    AlgNone,
    /// Signed by HMAC with the client's secret.
    Hmac,
    /// Claims changed after signing.
    Tampered,
    /// Signed with a key that is not published.
    ForeignKey,
    /// The header has critical extensions.
    Critical,
    /// The discovery document names another issuer.
    OtherDiscovery,
    /// The discovery document is endless.
    HugeDiscovery,
    /// The discovery document is elsewhere.
    MovedDiscovery,
    /// The token endpoint answers 500.
    TokenError,
    /// The token endpoint redirects.
    TokenMoved,
    /// The person says no.
    Denied,
    /// The browser comes back naming another issuer.
    OtherAnswerer,
    /// The subject is missing.
    NoSubject,
}

/// The signature of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RS256.
    Rsa,
    /// ES256.
    Ecdsa,
}

/// A running provider; stops when dropped.
pub struct OidcProvider {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    issuer: String,
    client: Client,
    claims: Map<String, Value>,
    fault: Fault,
    signing: Signing,
    secret_in_form: bool,
    keys: Keys,
    generation: u32,
    codes: HashMap<String, Code>,
    refusals: Vec<String>,
    key_requests: u32,
}

struct Code {
    challenge: String,
    nonce: String,
    redirect_uri: String,
}

struct Keys {
    rsa: ring::rsa::KeyPair,
    ecdsa: EcdsaKeyPair,
}

impl Keys {
    fn fresh() -> Result<Self> {
        let pem = crate::keys::rsa_pem(2048)?;
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let rsa = ring::rsa::KeyPair::from_pkcs8(&STANDARD.decode(body)?).map_err(|e| anyhow::anyhow!("{e}"))?;
        let random = SystemRandom::new();
        let failed = |_| anyhow::anyhow!("no P-256 key");
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        Ok(Keys { rsa, ecdsa })
    }

    fn sign(&self, signing: Signing, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match signing {
            Signing::Rsa => {
                let mut out = vec![0; self.rsa.public().modulus_len()];
                match self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut out) {
                    Ok(()) => out,
                    Err(_) => Vec::new(),
                }
            }
            Signing::Ecdsa => self.ecdsa.sign(&random, message).map(|s| s.as_ref().to_vec()).unwrap_or_default(),
        }
    }
}

impl OidcProvider {
    /// Starts a provider that knows one client. `sub` is `person-1`; give more with [`OidcProvider::set_claims`].
    ///
    /// # Errors
    /// When no port can be bound or no keys can be made.
    pub fn start(client: Client) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            issuer: format!("http://{address}"),
            client,
            claims: Map::from_iter([("sub".to_owned(), json!("person-1"))]),
            fault: Fault::None,
            signing: Signing::Rsa,
            secret_in_form: false,
            keys: Keys::fresh()?,
            generation: 1,
            codes: HashMap::new(),
            refusals: Vec::new(),
            key_requests: 0,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorise", get(authorise))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("oidc-provider".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(OidcProvider { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it calls itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.lock().issuer.clone()
    }

    /// For a provider behind something that speaks TLS.
    pub fn set_issuer(&self, issuer: &str) {
        self.lock().issuer = issuer.to_owned();
    }

    /// The client's redirect address, when it is known only now.
    pub fn set_redirect_uri(&self, uri: &str) {
        self.lock().client.redirect_uri = uri.to_owned();
    }

    /// Claims of the person, besides those of the protocol.
    pub fn set_claims(&self, claims: Value) {
        if let Value::Object(claims) = claims {
            self.lock().claims = claims;
        }
    }

    /// From now on it does this wrong.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// From now on tokens are signed so.
    pub fn set_signing(&self, signing: Signing) {
        self.lock().signing = signing;
    }

    /// From now on it takes secrets in the form only.
    pub fn set_secret_in_form(&self, in_form: bool) {
        self.lock().secret_in_form = in_form;
    }

    /// Other keys from now on; the former are no longer published.
    ///
    /// # Errors
    /// When no keys can be made.
    pub fn rotate_keys(&self) -> Result<()> {
        let fresh = Keys::fresh()?;
        let mut shared = self.lock();
        shared.keys = fresh;
        shared.generation += 1;
        Ok(())
    }

    /// What it refused, in words, and forgets it.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().refusals)
    }

    /// How often its keys were asked for.
    #[must_use]
    pub fn key_requests(&self) -> u32 {
        self.lock().key_requests
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type At = State<Arc<Mutex<Shared>>>;
type Pairs = HashMap<String, String>;

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn discovery(State(shared): At) -> Response {
    let shared = lock(&shared);
    let issuer = &shared.issuer;
    let named = if shared.fault == Fault::OtherDiscovery { "https://evil.example" } else { issuer };
    match shared.fault {
        Fault::HugeDiscovery => return "x".repeat(4 * 1024 * 1024).into_response(),
        Fault::MovedDiscovery => return Redirect::to(&format!("{issuer}/keys")).into_response(),
        _ => {}
    }
    let methods = if shared.secret_in_form { json!(["client_secret_post"]) } else { json!(["client_secret_basic"]) };
    axum::Json(json!({
        "issuer": named,
        "authorization_endpoint": format!("{issuer}/authorise"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "token_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

async fn keys(State(shared): At) -> Response {
    let mut shared = lock(&shared);
    shared.key_requests += 1;
    let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(shared.keys.rsa.public());
    let point = shared.keys.ecdsa.public_key().as_ref().to_vec();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let n = shared.generation;
    axum::Json(json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "not-for-you", "x": "AAAA"},
        {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": format!("rsa-{n}"), "n": encode(&rsa.n), "e": encode(&rsa.e)},
        {"kty": "EC", "use": "sig", "crv": "P-256", "kid": format!("ec-{n}"), "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "RSA", "use": "enc", "kid": "for-encryption", "n": encode(&rsa.n), "e": encode(&rsa.e)},
    ]}))
    .into_response()
}

async fn authorise(State(shared): At, Query(asked): Query<Pairs>) -> Response {
    let mut shared = lock(&shared);
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|v| v == value);
    let has = |name: &str| asked.get(name).is_some_and(|v| v.len() >= 22);
    let scopes = asked.get("scope").cloned().unwrap_or_default();
    let wrong = [
        (is("client_id", &shared.client.id), "client_id"),
        (is("redirect_uri", &shared.client.redirect_uri), "redirect_uri"),
        (is("response_type", "code"), "response_type"),
        (scopes.split(' ').any(|s| s == "openid"), "scope"),
        (has("state"), "state"),
        (has("nonce"), "nonce"),
        (has("code_challenge"), "code_challenge"),
        (is("code_challenge_method", "S256"), "code_challenge_method"),
    ];
    if let Some((_, name)) = wrong.into_iter().find(|(good, _)| !good) {
        shared.refusals.push(format!("authorise: {name}"));
        return (StatusCode::BAD_REQUEST, format!("wrong {name}")).into_response();
    }
    let redirect_uri = asked["redirect_uri"].clone();
    let issuer = if shared.fault == Fault::OtherAnswerer { "https://evil.example".into() } else { shared.issuer.clone() };
    let query = if shared.fault == Fault::Denied {
        "error=access_denied&error_description=%3Cb%3Eno%3C%2Fb%3E".to_owned()
    } else {
        let code = format!("code-{}", uuid::Uuid::now_v7());
        let kept = Code {
            challenge: asked["code_challenge"].clone(),
            nonce: asked["nonce"].clone(),
            redirect_uri: redirect_uri.clone(),
        };
        shared.codes.insert(code.clone(), kept);
        format!("code={code}")
    };
    let issuer = issuer.replace(':', "%3A").replace('/', "%2F");
    Redirect::to(&format!("{redirect_uri}?{query}&state={}&iss={issuer}", asked["state"])).into_response()
}

async fn token(State(shared): At, headers: HeaderMap, Form(asked): Form<Pairs>) -> Response {
    let mut shared = lock(&shared);
    let of = |name: &str| asked.get(name).map_or("", String::as_str);
    if of("grant_type") != "authorization_code" {
        return refuse(&mut shared, "grant_type");
    }
    if !is_client(&shared.client, shared.secret_in_form, &headers, &asked) {
        return refuse(&mut shared, "client authentication");
    }
    // A code is good once, whatever comes of it.
    let Some(code) = shared.codes.remove(of("code")) else { return refuse(&mut shared, "code") };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, of("code_verifier").as_bytes()));
    if challenge != code.challenge {
        return refuse(&mut shared, "code_verifier");
    }
    if of("redirect_uri") != code.redirect_uri {
        return refuse(&mut shared, "redirect_uri");
    }
    match shared.fault {
        Fault::TokenError => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::TokenMoved => return Redirect::temporary("http://127.0.0.1:1/").into_response(),
        _ => {}
    }
    let id_token = match id_token(&shared, &code.nonce) {
        Ok(token) => token,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let answer = json!({"access_token": "unused", "token_type": "Bearer", "expires_in": 300, "id_token": id_token});
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response()
}

fn refuse(shared: &mut Shared, why: &str) -> Response {
    shared.refusals.push(format!("token: {why}"));
    (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "invalid_grant", "error_description": why}))).into_response()
}

/// The secret came in the one way that is announced.
fn is_client(client: &Client, in_form: bool, headers: &HeaderMap, asked: &Pairs) -> bool {
    let basic = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Basic "));
    match &client.secret {
        None => basic.is_none() && asked.get("client_id") == Some(&client.id) && !asked.contains_key("client_secret"),
        Some(secret) if in_form => {
            basic.is_none() && asked.get("client_id") == Some(&client.id) && asked.get("client_secret") == Some(secret)
        }
        Some(secret) => basic.is_some_and(|text| {
            let expected = format!("{}:{}", form_encode(&client.id), form_encode(secret));
            STANDARD.decode(text).is_ok_and(|bytes| bytes == expected.as_bytes()) && !asked.contains_key("client_secret")
        }),
    }
}

fn form_encode(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn id_token(shared: &Shared, nonce: &str) -> Result<String> {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = shared.claims.clone();
    let set = |claims: &mut Map<String, Value>, name: &str, value: Value| {
        claims.entry(name.to_owned()).or_insert(value);
    };
    let (mut made, mut ends) = (now, now + 300);
    match shared.fault {
        Fault::WrongNonce => drop(claims.insert("nonce".into(), json!("another"))),
        Fault::Expired => (made, ends) = (now - 400, now - 100),
        Fault::Old => made = now - 3600,
        Fault::Future => (made, ends) = (now + 3600, now + 7200),
        Fault::OtherAudience => drop(claims.insert("aud".into(), json!("another-client"))),
        Fault::OtherParty => {
            claims.insert("aud".into(), json!([shared.client.id, "another-client"]));
            claims.insert("azp".into(), json!("another-client"));
        }
        Fault::OtherIssuer => drop(claims.insert("iss".into(), json!("https://evil.example"))),
        Fault::NoSubject => drop(claims.remove("sub")),
        _ => {}
    }
    set(&mut claims, "iss", json!(shared.issuer));
    set(&mut claims, "aud", json!(shared.client.id));
    set(&mut claims, "iat", json!(made));
    set(&mut claims, "exp", json!(ends));
    if shared.fault != Fault::NoNonce {
        set(&mut claims, "nonce", json!(nonce));
    }
    sealed(shared, &claims)
}

fn sealed(shared: &Shared, claims: &Map<String, Value>) -> Result<String> {
    let n = shared.generation;
    let mut head = match shared.signing {
        Signing::Rsa => json!({"alg": "RS256", "kid": format!("rsa-{n}")}),
        Signing::Ecdsa => json!({"alg": "ES256", "kid": format!("ec-{n}")}),
    };
    match shared.fault {
        Fault::AlgNone => head = json!({"alg": "none"}),
        Fault::Hmac => head = json!({"alg": "HS256", "kid": format!("rsa-{n}")}),
        Fault::Critical => head["crit"] = json!(["x"]),
        _ => {}
    }
    let encode = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let message = format!("{}.{}", encode(&serde_json::to_vec(&head)?), encode(&serde_json::to_vec(claims)?));
    let signature = match shared.fault {
        Fault::AlgNone => Vec::new(),
        Fault::Hmac => {
            let secret = shared.client.secret.clone().unwrap_or_default();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
            ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        }
        Fault::ForeignKey => Keys::fresh()?.sign(shared.signing, message.as_bytes()),
        _ => shared.keys.sign(shared.signing, message.as_bytes()),
    };
    let message = if shared.fault == Fault::Tampered {
        let mut claims = claims.clone();
        claims.insert("sub".into(), json!("somebody-else"));
        format!("{}.{}", encode(&serde_json::to_vec(&head)?), encode(&serde_json::to_vec(&claims)?))
    } else {
        message
    };
    Ok(format!("{message}.{}", encode(&signature)))
}
