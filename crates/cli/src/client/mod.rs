//! The HTTP client of `/api/v1`: paths, paging, one error shape. Absent on purpose: what the answers mean.

mod events;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use drydock_api::rest::{ApiError, CreatedAccessToken, ErrorKind, Page, SignIn, WhoAmI};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use events::EventStream;

use crate::config::Target;
use crate::failure::Failure;
use crate::signing::SigningKey;
use crate::text::clean;
use crate::tls::{self, Trust};

/// Time to connect, TLS included.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time for one whole request.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(120);
/// Largest answer read, bytes: 50,000 packages of 300 bytes each are 15 MB.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// A file is read and sent in pieces of this size, bytes.
const UPLOAD_PIECE_BYTES: usize = 256 * 1024;
/// Rows asked for at once while a list is followed to its end.
const PAGE_ROWS: usize = 1000;
/// Pages followed before a list counts as endless: 1,000 pages of 1,000 rows.
const PAGES_MAX: usize = 1000;

/// A value of the query string.
pub type Query<'a> = Vec<(&'a str, String)>;

/// A part of a list.
#[derive(Debug)]
pub struct Rows<T> {
    /// The rows.
    pub items: Vec<T>,
    /// There are more than were asked for.
    pub more: bool,
}

/// A file in pieces.
fn pieces(file: tokio::fs::File) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static {
    futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; UPLOAD_PIECE_BYTES];
        let count = tokio::io::AsyncReadExt::read(&mut file, &mut piece).await?;
        piece.truncate(count);
        Ok((count > 0).then_some((piece, file)))
    })
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    key: Option<SigningKey>,
    trust: Trust,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    pub fn new(target: Target) -> Result<Client, Failure> {
        // The provider for the machine's own CAs; a second call finds it installed, which is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("drydock/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_LIMIT)
            // A token is for the server it was given for: never follow it elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(config) = tls::config(&target.trust)? {
            builder = builder.tls_backend_preconfigured(config);
        }
        let http = builder.build().map_err(|e| Failure::Usage(format!("the HTTP client cannot be set up: {e}")))?;
        Ok(Client { http, base: target.server, token: target.token, key: target.key, trust: target.trust })
    }

    /// The server's address, for messages.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn url(&self, path: &[&str], query: &Query<'_>) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Usage(format!("{} cannot be a server address", self.base)))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn request(&self, method: Method, path: &[&str], query: &Query<'_>) -> Result<RequestBuilder, Failure> {
        let Some(token) = &self.token else {
            if self.key.is_some() {
                return Ok(self.http.request(method, self.url(path, query)?));
            }
            return Err(Failure::Unauthenticated(format!(
                "there is no access token for {0}; log in: drydock login --server {0} --token - --ca-fingerprint …",
                self.server()
            )));
        };
        Ok(self.http.request(method, self.url(path, query)?).bearer_auth(token))
    }

    /// Reads one document.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<T, Failure> {
        self.call(self.request(Method::GET, path, query)?).await
    }

    /// Reads a text as it is.
    pub async fn text(&self, path: &[&str], query: &Query<'_>) -> Result<String, Failure> {
        let request = self.request(Method::GET, path, query)?;
        let response = self.answer(request.timeout(REQUEST_TIME_LIMIT)).await?;
        let body = self.body(response).await?;
        String::from_utf8(body).map_err(|e| self.strange(&e.to_string()))
    }

    /// Reads a list to its end, or to `limit` rows unless that is 0.
    pub async fn list<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>, limit: usize) -> Result<Rows<T>, Failure> {
        let mut items: Vec<T> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let rows = if limit == 0 { PAGE_ROWS } else { (limit - items.len()).min(PAGE_ROWS) };
            let mut query = query.clone();
            query.push(("limit", rows.to_string()));
            query.extend(cursor.take().map(|c| ("cursor", c)));
            let page: Page<T> = self.get(path, &query).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || (limit != 0 && items.len() >= limit) {
                let more = cursor.is_some() || (limit != 0 && items.len() > limit);
                if limit != 0 {
                    items.truncate(limit);
                }
                return Ok(Rows { items, more });
            }
        }
        Err(Failure::Untrusted(format!("{} returns a list without end", self.server())))
    }

    /// Reads a list that the server gives whole.
    pub async fn whole<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>, limit: usize) -> Result<Rows<T>, Failure> {
        let mut items = self.get::<Page<T>>(path, query).await?.items;
        let more = limit != 0 && items.len() > limit;
        if more {
            items.truncate(limit);
        }
        Ok(Rows { items, more })
    }

    /// Sends a document; `headers` are `Idempotency-Key` or `If-Match`.
    pub async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &B,
        headers: &[(&'static str, String)],
    ) -> Result<T, Failure> {
        let mut request = self.request(method, path, &Query::new())?.json(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.call(request).await
    }

    /// Sends a document with parameters in the query.
    pub async fn submit<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: &B,
    ) -> Result<T, Failure> {
        self.call(self.request(method, path, query)?.json(body)).await
    }

    /// Does `verb` to something without a document of its own: `POST /{path}`, parameters in the query.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<T, Failure> {
        self.call(self.request(Method::POST, path, query)?).await
    }

    /// Sends a file as it is, streamed; there is no time limit for the whole, a slow line may carry gigabytes.
    pub async fn upload<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>, file: &Path) -> Result<T, Failure> {
        let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read {}: {e}", file.display()));
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let size = opened.metadata().await.map_err(unreadable)?.len();
        let body = reqwest::Body::wrap_stream(pieces(opened));
        let request = self.request(Method::POST, path, query)?;
        let request = request.header("content-type", "application/octet-stream").header("content-length", size).body(body);
        let response = self.answer(request).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|e| self.strange(&e.to_string()))
    }

    /// Writes a file of the server to `out`, streamed; there is no time limit for the whole. Returns its length in bytes.
    pub async fn download(&self, path: &[&str], query: &Query<'_>, out: &mut (dyn Write + Send)) -> Result<u64, Failure> {
        let request = self.request(Method::GET, path, query)?;
        let mut response = self.answer(request).await?;
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            out.write_all(&chunk)?;
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }

    /// Does `verb` to an object: `POST /{path}:{verb}`. The answer's document is not needed.
    pub async fn act<B: Serialize>(&self, noun: &str, id: &str, verb: &str, body: &B) -> Result<(), Failure> {
        let request = self.request(Method::POST, &[noun, &format!("{id}:{verb}")], &Query::new())?.json(body);
        self.answer(request.timeout(REQUEST_TIME_LIMIT)).await.map(drop)
    }

    /// Sends a document whose answer has none.
    pub async fn put<B: Serialize>(&self, path: &[&str], body: &B) -> Result<(), Failure> {
        let request = self.request(Method::PUT, path, &Query::new())?.json(body);
        self.answer(request.timeout(REQUEST_TIME_LIMIT)).await.map(drop)
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &[&str], headers: &[(&'static str, String)]) -> Result<(), Failure> {
        let mut request = self.request(Method::DELETE, path, &Query::new())?;
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.answer(request.timeout(REQUEST_TIME_LIMIT)).await.map(drop)
    }

    /// Signs in with a password; needs no token.
    pub async fn sign_in(&self, ask: &SignIn) -> Result<CreatedAccessToken, Failure> {
        let request = self.http.request(Method::POST, self.url(&["tokens:sign-in"], &Query::new())?).json(ask);
        let response = request.timeout(REQUEST_TIME_LIMIT).send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| self.strange(&e.to_string()));
        }
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(error) if error.kind == ErrorKind::Unauthenticated => Err(Failure::Unauthenticated(clean(&error.message))),
            Ok(error) => Err(Failure::Refused { error: Box::new(error), role: None }),
            Err(_) => Err(self.unknown_answer(status)),
        }
    }

    /// Opens a stream of server-sent events.
    pub async fn events(&self, path: &[&str]) -> Result<EventStream, Failure> {
        let request = self.request(Method::GET, path, &Query::new())?.header("accept", "text/event-stream");
        let response = self.answer(request).await?;
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        if !kind.starts_with("text/event-stream") {
            return Err(self.strange(&format!("an event stream was asked for, {kind:?} came")));
        }
        Ok(EventStream::new(response))
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.answer(request.timeout(REQUEST_TIME_LIMIT)).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|e| self.strange(&e.to_string()))
    }

    /// Sends, signed when there is a key and no token.
    async fn send_request(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let mut request = request.build().map_err(|e| self.unreachable(&e))?;
        if let (Some(key), None) = (&self.key, &self.token) {
            key.sign(&mut request, jiff::Timestamp::now())?;
        }
        self.http.execute(request).await.map_err(|e| self.unreachable(&e))
    }

    /// Sends, and turns every answer that is not a success into a failure.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let Ok(error) = serde_json::from_slice::<ApiError>(&body) else {
            return Err(self.unknown_answer(status));
        };
        if error.kind == ErrorKind::Unauthenticated && self.token.is_none() {
            return Err(Failure::Unauthenticated(format!(
                "{} does not accept the signature: {}\n  is the public half of this key there (drydock access api-key list), and is this machine's clock right?",
                self.server(),
                clean(&error.message)
            )));
        }
        if error.kind == ErrorKind::Unauthenticated {
            return Err(Failure::Unauthenticated(format!(
                "{} does not accept the access token: {}\n  it is mistyped, expired or revoked; get one from an administrator (drydock access create), then: drydock login --token -",
                self.server(),
                clean(&error.message)
            )));
        }
        // Most refusals name the role themselves.
        let ask = error.kind == ErrorKind::Forbidden && !error.message.contains("role");
        let role = if ask { self.role().await } else { None };
        Err(Failure::Refused { error: Box::new(error), role })
    }

    /// Who the token belongs to, for a refusal; silent when that cannot be told.
    async fn role(&self) -> Option<String> {
        let request = self.request(Method::GET, &["whoami"], &Query::new()).ok()?;
        let response = self.send_request(request.timeout(REQUEST_TIME_LIMIT)).await.ok()?;
        let body = self.body(response).await.ok()?;
        let who: WhoAmI = serde_json::from_slice(&body).ok()?;
        let what = if who.kind == "user" { "the user" } else { "the access token" };
        match who.role {
            Some(role) => Some(format!("{what} {:?} has the role {}", clean(&who.name), role.as_str())),
            None => Some(format!("{what} {:?} is in {}", clean(&who.name), clean(&who.groups.join(", ")))),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(self.strange(&format!("the answer is larger than {ANSWER_MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn strange(&self, why: &str) -> Failure {
        Failure::Untrusted(format!(
            "{} does not answer as a Drydock server of this version: {}\n  check the address, a proxy in between, and the versions of both",
            self.server(),
            clean(why)
        ))
    }

    fn unknown_answer(&self, status: StatusCode) -> Failure {
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Failure::Unreachable(format!("{} is not there: something in front of it answers {status}", self.server()))
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Failure::Unreachable("the proxy wants a name and password; put them into HTTPS_PROXY".to_owned())
            }
            _ => self.strange(&format!("{status} without an error document")),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let server = self.server();
        if let Some(cause) = tls::cause(error) {
            return Failure::Untrusted(tls::explain(cause, server, &self.trust));
        }
        let mut root: &dyn std::error::Error = error;
        while let Some(source) = root.source() {
            root = source;
        }
        let what = if error.is_timeout() { "no answer in time".to_owned() } else { root.to_string() };
        Failure::Unreachable(format!(
            "cannot reach {server}: {what}\n  is drydockd running there (systemctl status drydockd), is the address right (--server), does a firewall or a proxy (HTTPS_PROXY, NO_PROXY) stand between?"
        ))
    }
}
