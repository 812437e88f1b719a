//! The flow. Nothing is kept on the server between its two halves: state, nonce and the PKCE verifier wait in the browser,
//! in a cookie that only this host can set and read, and the provider gives a code away once. So a server that was
//! restarted, or another replica, finishes what one began, and nobody can fill a table of begun sign-ins.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drydock_control::Secret;
use jiff::Timestamp;
use reqwest::{Client, Url};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::discovery::{self, Discovery};
use super::id_token::{self, BadToken, Expected};
use super::keys::KeySet;
use super::settings::OidcSettings;
use super::{OidcError, fetch};

/// Where the provider sends browsers back to, on this server.
pub const CALLBACK_PATH: &str = "/sign-in/oidc/callback";
/// A begun sign-in may take this long, seconds.
pub const BEGUN_MAX_SECS: i64 = 600;
/// Random bytes of state, nonce and verifier (256 bit).
const RANDOM_BYTES: usize = 32;
/// What the browser keeps, and what comes back, bytes: more is not ours.
const RETURNED_MAX_BYTES: usize = 4096;
/// What the provider publishes is read again after this.
const PUBLISHED_KEPT: Duration = Duration::from_secs(3600);
/// A token that none of the known keys signed makes the keys be read again, but not more often than this.
const KEYS_AGAIN_MIN: Duration = Duration::from_secs(10);
/// A provider that did not answer is left alone for so long: anybody may press the button, and each try costs seconds.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Largest file with a client's secret, bytes.
const SECRET_MAX_BYTES: usize = 4096;
/// Groups taken from a token, count.
const GROUPS_MAX: usize = 1000;
/// Longest name, address or group taken from a token, bytes.
const TEXT_MAX_BYTES: usize = 255;

/// One provider.
pub struct Provider {
    settings: OidcSettings,
    secret: Option<Secret>,
    redirect_uri: String,
    client: Client,
    known: Mutex<Known>,
}

/// What is known of the provider at the moment.
#[derive(Default)]
struct Known {
    published: Option<Published>,
    failed_at: Option<Instant>,
}

struct Published {
    read_at: Instant,
    keys_again_at: Option<Instant>,
    discovery: Discovery,
    keys: KeySet,
}

/// A begun sign-in.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// What the browser keeps for [`Provider::finish`], as the value of a cookie.
    pub cookie: String,
}

/// What the browser brings back in the query.
#[derive(Debug, Default, Deserialize)]
pub struct Returned {
    /// The code.
    #[serde(default)]
    pub code: String,
    /// Ours.
    #[serde(default)]
    pub state: String,
    /// Who sends it.
    pub iss: Option<String>,
    /// It did not work.
    pub error: Option<String>,
}

/// Whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Who, for ever: names and addresses change hands, this does not.
    pub subject: String,
    /// What to call a user that is made now.
    pub name: Option<String>,
    /// The address, if the provider says that it is verified.
    pub email: Option<String>,
    /// The groups; `None`: they are not taken from the provider.
    pub groups: Option<Vec<String>>,
    /// The provider says that more than one factor was shown (`amr` with `mfa`, RFC 8176).
    pub second_factor: bool,
    /// After sign-in.
    pub next: String,
}

/// What the cookie holds.
struct Kept<'a> {
    state: &'a str,
    nonce: &'a str,
    verifier: &'a str,
    next: String,
}

impl Provider {
    /// Reads the files that the settings name. `public_url`: where browsers reach this server.
    pub fn new(settings: OidcSettings, public_url: &str) -> Result<Self, OidcError> {
        let secret = settings.client_secret_file.as_deref().map(secret_in).transpose()?;
        let client = fetch::client(settings.ca_file.as_deref())?;
        let redirect_uri = format!("{}{CALLBACK_PATH}", public_url.trim_end_matches('/'));
        Ok(Provider { settings, secret, redirect_uri, client, known: Mutex::default() })
    }

    /// Its settings.
    pub fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// What has to be registered at the provider.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Begins a sign-in that will end at `next` (a path of this server, which the caller has checked).
    pub async fn begin(&self, next: &str) -> Result<Begun, OidcError> {
        let discovery = self.discovery().await?;
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let mut scope = vec!["openid"];
        scope.extend(self.settings.scopes.iter().map(String::as_str).filter(|s| *s != "openid"));
        let mut url = discovery.authorise;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &scope.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let next = URL_SAFE_NO_PAD.encode(next);
        Ok(Begun { url: url.into(), cookie: format!("{state}.{nonce}.{verifier}.{next}") })
    }

    /// Finishes a sign-in: `cookie` is what the browser kept.
    pub async fn finish(&self, cookie: &str, returned: &Returned, now: Timestamp) -> Result<Identity, OidcError> {
        let kept = kept(cookie)?;
        if !same(&returned.state, kept.state) {
            return Err(OidcError::NotBegun("the state differs"));
        }
        let discovery = self.discovery().await?;
        match &returned.iss {
            Some(issuer) if *issuer != self.settings.issuer => return Err(OidcError::NotBegun("another issuer answered")),
            None if discovery.names_itself => return Err(OidcError::NotBegun("the answer does not name its issuer")),
            _ => {}
        }
        if let Some(error) = &returned.error {
            return Err(OidcError::Refused(format!("{:?}", error.chars().take(100).collect::<String>())));
        }
        if returned.code.is_empty() || returned.code.len() > RETURNED_MAX_BYTES {
            return Err(OidcError::NotBegun("there is no code"));
        }
        let token = self.exchange(&discovery, &returned.code, kept.verifier).await?;
        let claims = self.verified(&token, kept.nonce, now).await?;
        self.identity(&claims, kept.next)
    }

    /// Exchanges the code for an ID token.
    async fn exchange(&self, discovery: &Discovery, code: &str, verifier: &str) -> Result<String, OidcError> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: String,
        }
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("code_verifier", verifier),
        ];
        let mut request = self.client.post(discovery.token.clone());
        match &self.secret {
            Some(secret) if discovery.secret_in_form => {
                form.extend([("client_id", self.settings.client_id.as_str()), ("client_secret", secret.expose())]);
            }
            // The standard wants both percent-encoded before they become a user and a password.
            Some(secret) => request = request.basic_auth(encode(&self.settings.client_id), Some(encode(secret.expose()))),
            None => form.push(("client_id", self.settings.client_id.as_str())),
        }
        let body = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = fetch::send(request, &discovery.token, "exchange the code").await?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| OidcError::Published { document: "token answer", problem: "it has no id_token".to_owned() })?;
        Ok(answer.id_token)
    }

    /// Verifies the token; one that no known key signed makes the keys be read anew, for providers change them.
    async fn verified(&self, token: &str, nonce: &str, now: Timestamp) -> Result<Map<String, Value>, OidcError> {
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce };
        let mut known = self.known.lock().await;
        let published = self.published(&mut known).await?;
        match id_token::verify(token, &published.keys, &expected, now) {
            Err(BadToken::UnknownKey | BadToken::Signature)
                if published.keys_again_at.is_none_or(|at| at.elapsed() >= KEYS_AGAIN_MIN) => {}
            other => return Ok(other?),
        }
        published.keys_again_at = Some(Instant::now());
        published.keys = self.keys(&published.discovery.keys).await?;
        Ok(id_token::verify(token, &published.keys, &expected, now)?)
    }

    async fn discovery(&self) -> Result<Discovery, OidcError> {
        let mut known = self.known.lock().await;
        Ok(self.published(&mut known).await?.discovery.clone())
    }

    /// What the provider publishes, read when nothing is known or it is old.
    async fn published<'a>(&self, known: &'a mut Known) -> Result<&'a mut Published, OidcError> {
        if known.published.as_ref().is_some_and(|p| p.read_at.elapsed() >= PUBLISHED_KEPT) {
            known.published = None;
        }
        if known.published.is_none() {
            if known.failed_at.is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE) {
                return Err(OidcError::Paused);
            }
            // Set before the attempt: one that is dropped in the middle (the request's time is over) counts as failed.
            known.failed_at = Some(Instant::now());
            let discovery = discovery::fetch(&self.client, &self.settings.issuer).await?;
            let keys = self.keys(&discovery.keys).await?;
            known.failed_at = None;
            known.published = Some(Published { read_at: Instant::now(), keys_again_at: None, discovery, keys });
        }
        known.published.as_mut().ok_or(OidcError::Paused)
    }

    async fn keys(&self, url: &Url) -> Result<KeySet, OidcError> {
        let body = fetch::get(&self.client, url, "read the provider's keys").await?;
        KeySet::parse(&body).map_err(|e| OidcError::Published { document: "key set", problem: e.to_string() })
    }

    fn identity(&self, claims: &Map<String, Value>, next: String) -> Result<Identity, OidcError> {
        let text = |name: &str| {
            let value = claims.get(name).and_then(Value::as_str).map(str::trim);
            value.filter(|v| is_text(v)).map(str::to_owned)
        };
        let groups = match &self.settings.groups_claim {
            None => None,
            Some(claim) => Some(groups_of(claims.get(claim))?),
        };
        let is_verified = claims.get("email_verified").is_some_and(|v| *v == Value::Bool(true) || v == "true");
        let ways = claims.get("amr").and_then(Value::as_array);
        let second_factor = ways.is_some_and(|ways| ways.iter().any(|way| way == "mfa"));
        Ok(Identity {
            second_factor,
            issuer: self.settings.issuer.clone(),
            subject: text("sub").ok_or(BadToken::Claim("sub"))?,
            name: text(&self.settings.name_claim),
            email: text("email").filter(|_| is_verified),
            groups,
            next,
        })
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

/// A missing claim means no groups: whoever lost all of them must not keep them here.
fn groups_of(claim: Option<&Value>) -> Result<Vec<String>, BadToken> {
    let names: Vec<&str> = match claim {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) if all.len() <= GROUPS_MAX => {
            all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(BadToken::Claim("groups"))?
        }
        Some(_) => return Err(BadToken::Claim("groups")),
    };
    Ok(names.into_iter().filter(|name| is_text(name)).map(str::to_owned).collect())
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn secret_in(path: &std::path::Path) -> Result<Secret, OidcError> {
    let setting = |problem: String| OidcError::Setting { key: "client_secret_file", problem };
    let text = std::fs::read_to_string(path).map_err(|e| setting(format!("cannot read {}: {e}", path.display())))?;
    let secret = text.trim();
    if secret.is_empty() || secret.len() > SECRET_MAX_BYTES || secret.contains(['\n', '\r', '\0']) {
        return Err(setting(format!("{} must hold one line of at most {SECRET_MAX_BYTES} bytes", path.display())));
    }
    Ok(Secret::new(secret))
}

fn kept(cookie: &str) -> Result<Kept<'_>, OidcError> {
    if cookie.len() > RETURNED_MAX_BYTES {
        return Err(OidcError::NotBegun("the cookie is too long"));
    }
    let mut parts = cookie.split('.');
    let (Some(state), Some(nonce), Some(verifier), Some(next), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(OidcError::NotBegun("there is no cookie of ours"));
    };
    let is_random = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == RANDOM_BYTES);
    let next = URL_SAFE_NO_PAD.decode(next).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match next {
        Some(next) if [state, nonce, verifier].into_iter().all(is_random) => Ok(Kept { state, nonce, verifier, next }),
        _ => Err(OidcError::NotBegun("the cookie is not one of ours")),
    }
}

fn random() -> Result<String, OidcError> {
    let mut bytes = [0u8; RANDOM_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| OidcError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Are two secrets equal? Compares digests, so the time taken tells nothing about where they differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    digest(&SHA256, a.as_bytes()).as_ref() == digest(&SHA256, b.as_bytes()).as_ref()
}

/// Percent-encodes everything but letters, digits and a few marks.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
