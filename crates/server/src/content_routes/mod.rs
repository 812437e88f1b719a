//! Repositories as package managers read them: `/content/{view}/{source}/…` (a view is an environment or `latest`) and
//! the public keys. Decode, ask `control` who may, let the room `content` find the bytes, send them. Absent on purpose:
//! what a repository looks like, and copying by the kernel (`sendfile`): TLS encrypts in this process.

mod body;
mod conditional;
mod lease;
mod peer;
mod range;
mod refusal;

pub use lease::HeadLeases;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use drydock_control::content::digest::{Digest, Sha256};
use drydock_control::content::serve::{ServeError, ServeView, Served};
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::limits::{CONTENT_FETCH_WAIT, CONTENT_PLACE_WAIT};
use crate::metrics::OnDemand;
use crate::state::AppState;
use conditional::{Stamp, Verdict, verdict};
use peer::Asker;
use range::Wanted;
use refusal::Refusal;

/// What a path begins with.
pub const CONTENT_PATH: &str = "/content/";
/// Names that hold the hash of their bytes never change their meaning. `private`: each host asks for itself.
const IMMUTABLE: &str = "private, max-age=31536000, immutable";
/// Everything else is asked for again each time, cheaply.
const ASK_AGAIN: &str = "no-cache";

/// The routes.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/content/keys/repository.asc", get(keys))
        .route("/content/{view}/{source}/{*path}", get(serve))
        .with_state(state)
}

/// The public keys of this server's repositories.
async fn keys(State(state): State<AppState>, asker: Asker) -> Result<Response, Refusal> {
    let keys = state.control.authorize_content_keys(&asker.peer).await;
    let keys = keys.map_err(|e| Refusal::of_control("keys/repository.asc", &e))?;
    Ok(([(CONTENT_TYPE, "application/pgp-keys"), (CACHE_CONTROL, ASK_AGAIN)], keys).into_response())
}

/// One file of one source.
async fn serve(
    State(state): State<AppState>,
    Path((view, source, path)): Path<(String, String, String)>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let base = format!("{view}/{source}/");
    let allowed = state.control.authorize_content(&asker.peer, &view, &source).await;
    let allowed = allowed.map_err(|e| Refusal::of_control(&format!("{view}/{source}"), &e))?;
    let named = format!("{base}{path}");
    let asked = Asked { state, asker, view: allowed.view, moved_at: allowed.moved_at, base, named, path, method, headers };
    let answer = asked.answer().await;
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, Response::status);
    asked.state.metrics.content_answered(status.as_u16());
    answer
}

/// One request that is allowed.
struct Asked {
    state: AppState,
    asker: Asker,
    view: Arc<ServeView>,
    /// When the view's pointer was moved.
    moved_at: Timestamp,
    /// View and source, with a slash at the end.
    base: String,
    /// View, source and path, for people and leases.
    named: String,
    /// Below the source.
    path: String,
    method: Method,
    headers: HeaderMap,
}

/// A file that is here.
struct Found {
    path: PathBuf,
    sha256: Sha256,
    content_type: &'static str,
    immutable: bool,
}

impl Asked {
    async fn answer(&self) -> Result<Response, Refusal> {
        let now = Instant::now();
        if lease::is_signature(&self.path)
            && let Some(signature) = self.state.head_leases.take(&self.asker.who, self.asker.connection, &self.named, now)
        {
            return Ok(self.small(signature.to_vec(), "application/pgp-signature", None));
        }
        match self.resolve().await? {
            Served::Bytes { bytes, content_type } => {
                self.lease(now);
                Ok(self.small(bytes, content_type, Some(self.moved_at)))
            }
            Served::File { path, sha256, content_type, immutable, .. } => {
                let place = self.place().await?;
                self.file(&Found { path, sha256, content_type, immutable }, place).await
            }
            // A HEAD fetches nothing; the size is known from the index.
            Served::Upstream { size, content_type, .. } if self.method == Method::HEAD => {
                Ok(self.headed(StatusCode::OK, size, IMMUTABLE, content_type, None))
            }
            Served::Upstream { digest, .. } => {
                let place = self.place().await?;
                self.fetch(digest).await?;
                match self.resolve().await? {
                    Served::File { path, sha256, content_type, immutable, .. } => {
                        self.file(&Found { path, sha256, content_type, immutable }, place).await
                    }
                    _ => Err(Refusal::later(format!("{} was taken away while it was fetched; try again", self.named))),
                }
            }
        }
    }

    fn content(&self) -> Result<&drydock_control::content::Content, Refusal> {
        let content = self.state.control.content();
        content.ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this server keeps no content"))
    }

    async fn resolve(&self) -> Result<Served, Refusal> {
        let (content, view, path) = (self.content()?.clone(), Arc::clone(&self.view), self.path.clone());
        let found = tokio::task::spawn_blocking(move || content.resolve(&view, &path)).await;
        let found = found.map_err(|e| Refusal::fault(&self.named, &e))?;
        found.map_err(|e| Refusal::of_serve(&self.named, &e))
    }

    /// The index goes out now: its signature has to be of the same version a moment later.
    fn lease(&self, now: Instant) {
        let Some(beside) = lease::signature_of(&self.path) else { return };
        if let Some(signature) = self.view.head.files.get(&beside) {
            let file = format!("{}{beside}", self.base);
            self.state.head_leases.grant(&self.asker.who, self.asker.connection, &file, signature, now);
        }
    }

    /// A place among the streams, after a while.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = Arc::clone(&self.state.content_streams);
        match tokio::time::timeout(CONTENT_PLACE_WAIT, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refusal::later(format!(
                "{}: the server sends as many files as it may ({}); try again, or raise content.streams",
                self.named, self.state.settings.content_streams_max
            ))),
        }
    }

    /// Makes the server fetch a package and waits for it. The fetch goes on when this client gives up.
    async fn fetch(&self, digest: Digest) -> Result<(), Refusal> {
        let (content, view) = (self.content()?.clone(), Arc::clone(&self.view));
        let fetching = tokio::spawn(async move { content.unit_file(&view, &digest).await });
        let outcome = tokio::time::timeout(CONTENT_FETCH_WAIT, fetching).await;
        let (counted, answer) = match outcome {
            Ok(Ok(Ok(_))) => (OnDemand::Fetched, Ok(())),
            Ok(Ok(Err(error))) => (OnDemand::Failed, Err(self.not_fetched(&error))),
            Ok(Err(ended)) => (OnDemand::Failed, Err(Refusal::fault(&self.named, &ended))),
            Err(_) => {
                let text = format!("{} is still being fetched from its upstream; try again in a moment", self.named);
                (OnDemand::Late, Err(Refusal::later(text)))
            }
        };
        self.state.metrics.on_demand(counted);
        answer
    }

    fn not_fetched(&self, error: &ServeError) -> Refusal {
        Refusal::of_serve(&self.named, error)
    }

    fn headed(
        &self,
        status: StatusCode,
        length: u64,
        cache: &'static str,
        kind: &'static str,
        stamp: Option<&Stamp>,
    ) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut text = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
                headers.insert(name, value);
            }
        };
        text(ETAG, stamp.map(|s| s.etag.clone()));
        text(LAST_MODIFIED, stamp.and_then(Stamp::modified_text));
        response
    }

    fn judged(&self, size: u64, cache: &'static str, kind: &'static str, stamp: &Stamp) -> (Response, Option<(u64, u64)>) {
        let head = |status, length| self.headed(status, length, cache, kind, Some(stamp));
        match verdict(&self.method, &self.headers, stamp, size) {
            Verdict::NotModified => (head(StatusCode::NOT_MODIFIED, 0), None),
            Verdict::Send(Wanted::Whole) => (head(StatusCode::OK, size), Some((0, size))),
            Verdict::Send(Wanted::Nothing) => {
                (with_range(head(StatusCode::RANGE_NOT_SATISFIABLE, 0), &format!("bytes */{size}")), None)
            }
            Verdict::Send(Wanted::Part { first, last }) => {
                let length = last - first + 1;
                let range = format!("bytes {first}-{last}/{size}");
                (with_range(head(StatusCode::PARTIAL_CONTENT, length), &range), Some((first, length)))
            }
        }
    }

    /// What is held in memory: heads and signatures.
    fn small(&self, bytes: Vec<u8>, kind: &'static str, modified: Option<Timestamp>) -> Response {
        let stamp = Stamp::new(&crate::pki::sha256_hex(&bytes), modified);
        let (mut response, part) = self.judged(bytes.len() as u64, ASK_AGAIN, kind, &stamp);
        if let Some((first, length)) = part.filter(|_| self.method != Method::HEAD) {
            // Both lie within a body of at most 1 MiB.
            let first = usize::try_from(first).unwrap_or(usize::MAX);
            let last = first.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            let piece = bytes.get(first..last).unwrap_or_default().to_vec();
            self.state.metrics.content_bytes().add(piece.len() as u64);
            *response.body_mut() = Body::from(piece);
        }
        response
    }

    async fn file(&self, found: &Found, place: OwnedSemaphorePermit) -> Result<Response, Refusal> {
        let fault = |e: std::io::Error| Refusal::fault(&self.named, &e);
        let file = tokio::fs::File::open(&found.path).await.map_err(fault)?;
        let metadata = file.metadata().await.map_err(fault)?;
        let modified = metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        let stamp = Stamp::new(&found.sha256.to_string(), modified);
        let cache = if found.immutable { IMMUTABLE } else { ASK_AGAIN };
        let (mut response, part) = self.judged(metadata.len(), cache, found.content_type, &stamp);
        if let Some((first, length)) = part.filter(|_| self.method != Method::HEAD) {
            let sent = self.state.metrics.content_bytes();
            *response.body_mut() = body::of_file(file, first, length, sent, place).await.map_err(fault)?;
        }
        Ok(response)
    }
}

fn with_range(mut response: Response, range: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(range) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}
