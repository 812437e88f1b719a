//! Reading an upstream over HTTP: mirrors one after the other, everything bounded, nothing taken for whole that is not.
//!
//! An upstream is a stranger. It may be slow, cut connections, send other files, redirect in circles or send for ever;
//! every one of these ends in an error that names the URL and says what to do, or in the next mirror and a finding.
//!
//! Absent: what the files mean, and caching beyond the partial file of a download that was cut.

mod download;
mod error;
mod hook;
mod mirrors;
mod request;
mod tls;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::inventory::Finding;
use drydock_domain::source::spec::Upstream;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::digest::{Digest, Mismatch, Sha256, Verifier};
use crate::path::{encode_path, safe_relative};
use crate::secret::Secret;
use crate::sync::Findings;
use error::public;
use mirrors::Mirrors;
use request::{Body, Limits};

pub use download::Downloaded;
pub use error::{Attempt, FetchError, Problem};
pub use hook::{HookAnswer, ask_hook};

/// Rounds over all mirrors before a fetch fails; only mirrors that failed in passing are asked again.
const ROUNDS_MAX: u32 = 3;
/// Longest validator kept, bytes.
const VALIDATOR_MAX_BYTES: usize = 512;
/// The file that metalinks announce.
const REPOMD: &str = "repodata/repomd.xml";

/// Where an upstream is and how to get in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamAccess {
    /// Base URLs of equal mirrors.
    pub urls: Vec<String>,
    /// URL of a list of mirrors.
    pub mirrorlist: Option<String>,
    /// URL of a metalink.
    pub metalink: Option<String>,
    /// Authorities to trust besides the system's.
    pub ca_pem: Option<String>,
    /// Client certificate chain.
    pub client_certificate_pem: Option<String>,
    /// Its key.
    pub client_key_pem: Option<Secret>,
    /// Proxy, perhaps with a password.
    pub proxy: Option<Secret>,
}

impl From<&Upstream> for UpstreamAccess {
    fn from(upstream: &Upstream) -> UpstreamAccess {
        UpstreamAccess {
            urls: upstream.urls.clone(),
            mirrorlist: upstream.mirrorlist.clone(),
            metalink: upstream.metalink.clone(),
            ca_pem: upstream.ca_pem.clone(),
            client_certificate_pem: upstream.client_certificate_pem.clone(),
            client_key_pem: upstream.client_key_pem.clone().map(Secret::new),
            proxy: upstream.proxy.clone().map(Secret::new),
        }
    }
}

/// What an upstream says of a file's version; sent back, it answers "unchanged".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Validators {
    /// `ETag`, verbatim.
    pub etag: Option<String>,
    /// `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
}

impl Validators {
    fn of(response: &Response) -> Validators {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            (value.len() <= VALIDATOR_MAX_BYTES).then(|| value.to_owned())
        };
        Validators { etag: header(ETAG), last_modified: header(LAST_MODIFIED) }
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    fn conditions(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)] {
            if let Some(value) = value.as_deref().and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// A metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It.
    Body {
        /// All of it.
        bytes: Vec<u8>,
        /// For the next time.
        validators: Validators,
        /// Where it came from, without credentials.
        url: String,
    },
    /// The same as the validators said.
    NotModified,
}

/// What is known of a file before it is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Size, bytes.
    pub size: Option<u64>,
    /// No file of this kind is larger, bytes.
    pub max_size: u64,
    /// Every one of them is checked.
    pub digests: Vec<Digest>,
}

/// Reads the files of one upstream. Cheap to clone; one for a sync, so that a mirror that failed is not asked first again.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    access: UpstreamAccess,
    limits: Limits,
    staging: PathBuf,
    mirrors: OnceCell<Mirrors>,
    /// Index of the mirror to ask first.
    first: AtomicUsize,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    findings: Findings,
    /// What was noted, so that a mirror that always fails makes one finding.
    seen: HashSet<(String, &'static str)>,
}

/// Why one mirror did not give the file.
enum Failure {
    /// The next mirror may.
    Remote(Problem),
    /// No mirror helps.
    Local(FetchError),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Remote(problem)
    }
}

impl Fetcher {
    /// For an upstream; partial downloads lie in `staging`.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(access: &UpstreamAccess, staging: &Path) -> Result<Fetcher, FetchError> {
        Fetcher::with_limits(access, staging, Limits::default())
    }

    fn with_limits(access: &UpstreamAccess, staging: &Path, limits: Limits) -> Result<Fetcher, FetchError> {
        let setting = |field, text: &str| {
            mirrors::base(text).is_none().then(|| FetchError::Setting {
                field,
                problem: format!("holds {:?}, which is no http:// or https:// URL", without_credentials(text)),
            })
        };
        let bad = access.urls.iter().find_map(|url| setting("urls", url));
        let bad = bad.or_else(|| access.mirrorlist.as_deref().and_then(|url| setting("mirrorlist", url)));
        if let Some(error) = bad.or_else(|| access.metalink.as_deref().and_then(|url| setting("metalink", url))) {
            return Err(error);
        }
        if access.urls.is_empty() && access.mirrorlist.is_none() && access.metalink.is_none() {
            return Err(FetchError::Setting { field: "urls", problem: "is empty; give at least one URL".to_owned() });
        }
        Ok(Fetcher {
            inner: Arc::new(Inner {
                client: tls::client(access, &limits)?,
                access: access.clone(),
                limits,
                staging: staging.to_owned(),
                mirrors: OnceCell::new(),
                first: AtomicUsize::new(0),
                notes: Mutex::default(),
            }),
        })
    }

    /// The first mirror, without credentials, with a slash at its end.
    ///
    /// # Errors
    /// When the list of mirrors cannot be read.
    pub async fn base_url(&self) -> Result<String, FetchError> {
        let mirrors = self.mirrors().await?;
        Ok(mirrors.urls.first().map(public).unwrap_or_default())
    }

    /// What was odd until now: mirrors that failed.
    pub fn findings(&self) -> Vec<Finding> {
        self.notes().findings.clone().into_vec()
    }

    /// Reads a file into memory. With validators of an earlier answer it may say that nothing changed.
    ///
    /// # Errors
    /// When no mirror gives it.
    pub async fn get(&self, path: &str, max_bytes: u64, validators: Option<&Validators>) -> Result<Fetched, FetchError> {
        let path = safe_relative(path)?;
        let mut rounds = Rounds::new(self, &path).await?;
        while let Some((index, url)) = rounds.next().await {
            match self.get_once(&url, &path, max_bytes, validators).await {
                Ok(fetched) => return Ok(fetched),
                Err(problem) => rounds.failed(index, &url, Failure::Remote(problem))?,
            }
        }
        Err(rounds.into_error())
    }

    async fn get_once(&self, url: &Url, path: &str, max_bytes: u64, validators: Option<&Validators>) -> Result<Fetched, Problem> {
        let conditions = validators.map(Validators::conditions).unwrap_or_default();
        let response = request::send(&self.inner.client, url, &conditions, &self.inner.limits).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if !conditions.is_empty() => return Ok(Fetched::NotModified),
            status => return Err(Problem::status(status)),
        }
        let validators = Validators::of(&response);
        let bytes = whole(response, max_bytes, &self.inner.limits).await?;
        if path == REPOMD
            && let Some(mirrors) = self.inner.mirrors.get()
        {
            announced(&bytes, &mirrors.announced)?;
        }
        Ok(Fetched::Body { bytes, validators, url: public(url) })
    }

    async fn mirrors(&self) -> Result<&Mirrors, FetchError> {
        self.inner.mirrors.get_or_try_init(|| self.find_mirrors()).await
    }

    async fn find_mirrors(&self) -> Result<Mirrors, FetchError> {
        let access = &self.inner.access;
        let mut found = Mirrors::default();
        found.urls.extend(access.urls.iter().filter_map(|url| mirrors::base(url)));
        if !found.urls.is_empty() {
            return Ok(found);
        }
        let mut error = None;
        for text in access.metalink.iter().chain(&access.mirrorlist) {
            match self.list(text).await {
                Ok(mirrors) => return Ok(mirrors),
                Err(e) => {
                    self.note(&without_credentials(text), "list", &e.to_string());
                    error = Some(e);
                }
            }
        }
        Err(error.unwrap_or_else(|| FetchError::Setting { field: "urls", problem: "names no mirror".to_owned() }))
    }

    async fn list(&self, text: &str) -> Result<Mirrors, FetchError> {
        let refused = |problem: String| FetchError::MirrorList { url: without_credentials(text), problem };
        let url: Url = text.trim().parse().map_err(|_| refused("it is no URL".to_owned()))?;
        let limits = &self.inner.limits;
        let answer = async {
            let response = request::send(&self.inner.client, &url, &HeaderMap::new(), limits).await?;
            match response.status() {
                StatusCode::OK => whole(response, mirrors::LIST_MAX_BYTES, limits).await,
                status => Err(Problem::status(status)),
            }
        };
        let bytes = answer.await.map_err(|e| refused(e.to_string()))?;
        mirrors::parse(&String::from_utf8_lossy(&bytes)).map_err(refused)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, subject: &str, kind: &'static str, message: &str) {
        let mut notes = self.notes();
        if notes.seen.insert((subject.to_owned(), kind)) {
            notes.findings.note(subject, message);
        }
    }
}

/// The whole body, bounded.
async fn whole(response: Response, max_bytes: u64, limits: &Limits) -> Result<Vec<u8>, Problem> {
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(Problem::TooLarge(max_bytes));
    }
    let mut body = Body::new(response, *limits, limits.get_total);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if bytes.len() as u64 + chunk.len() as u64 > max_bytes {
            return Err(Problem::TooLarge(max_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Is it one of the files that a metalink announces?
fn announced(bytes: &[u8], versions: &[Vec<Digest>]) -> Result<(), Problem> {
    let mut mismatch = None;
    for digests in versions {
        let mut verifier = Verifier::new(digests, None);
        verifier.update(bytes);
        match verifier.finish() {
            Ok(_) => return Ok(()),
            Err(error) => mismatch = mismatch.or(Some(error)),
        }
    }
    mismatch.map_or(Ok(()), |error| Err(Problem::Mismatch(error)))
}

/// The mirrors of one fetch, in the order they are asked.
struct Rounds<'a> {
    fetcher: &'a Fetcher,
    path: String,
    urls: Vec<Url>,
    order: Vec<usize>,
    at: usize,
    round: u32,
    last: Vec<Option<Problem>>,
}

impl<'a> Rounds<'a> {
    async fn new(fetcher: &'a Fetcher, path: &str) -> Result<Rounds<'a>, FetchError> {
        let mirrors = fetcher.mirrors().await?;
        let encoded = encode_path(path);
        let urls: Vec<Url> = mirrors
            .urls
            .iter()
            .map(|base| {
                let mut url = base.clone();
                url.set_path(&format!("{}{encoded}", base.path()));
                url
            })
            .collect();
        let first = fetcher.inner.first.load(Ordering::Relaxed);
        let order = (0..urls.len()).map(|i| (first + i) % urls.len()).collect();
        let last = urls.iter().map(|_| None).collect();
        Ok(Rounds { fetcher, path: path.to_owned(), urls, order, at: 0, round: 1, last })
    }

    async fn next(&mut self) -> Option<(usize, Url)> {
        if self.at == self.order.len() {
            self.order.retain(|index| self.last[*index].as_ref().is_none_or(Problem::is_passing));
            if self.order.is_empty() || self.round == ROUNDS_MAX {
                return None;
            }
            tokio::time::sleep(self.fetcher.inner.limits.pause * self.round).await;
            self.round += 1;
            self.at = 0;
        }
        let index = self.order[self.at];
        self.at += 1;
        Some((index, self.urls[index].clone()))
    }

    fn failed(&mut self, index: usize, url: &Url, failure: Failure) -> Result<(), FetchError> {
        let problem = match failure {
            Failure::Local(error) => return Err(error),
            Failure::Remote(problem) => problem,
        };
        if !problem.is_not_found() {
            let inner = &self.fetcher.inner;
            let next = (index + 1) % self.urls.len();
            let _ = inner.first.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            let host = url.host_str().unwrap_or_default();
            let mirror = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let kind = match &problem {
                Problem::Mismatch(_) => "mismatch",
                Problem::Status { .. } => "status",
                _ => "connection",
            };
            self.fetcher.note(&mirror, kind, &format!("{}: {problem}", public(url)));
        }
        tracing::debug!(url = %public(url), %problem, "a mirror did not give the file");
        self.last[index] = Some(problem);
        Ok(())
    }

    fn into_error(self) -> FetchError {
        let attempts = self
            .urls
            .iter()
            .zip(self.last)
            .filter_map(|(url, problem)| Some(Attempt { url: public(url), problem: problem? }))
            .collect();
        FetchError::Upstream { path: self.path, attempts }
    }
}

/// A URL as given, for messages: it may not even be one.
fn without_credentials(text: &str) -> String {
    match text.trim().parse::<Url>() {
        Ok(url) => public(&url),
        Err(_) => text.rsplit('@').next().unwrap_or_default().chars().take(200).collect(),
    }
}

/// Lists of mirrors and paths, for [`crate::fuzz`].
pub(crate) fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(found) = mirrors::parse(&text) {
        assert!(found.urls.len() <= mirrors::MIRRORS_MAX && !found.urls.is_empty());
    }
    if let Ok(plain) = safe_relative(&text) {
        assert!(!plain.split('/').any(|part| part.is_empty() || part == "." || part == ".."), "{plain:?}");
        let _ = encode_path(&plain);
    }
}

#[cfg(test)]
pub(crate) mod tests;
