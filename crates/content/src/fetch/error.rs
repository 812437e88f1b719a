//! Why an upstream could not be read: which file, which mirrors, what each answered, and what to do about it. URLs are
//! shown without credentials and without their query (tokens live there).

use std::path::PathBuf;

use reqwest::{StatusCode, Url};

use crate::digest::Mismatch;
use crate::error::ContentError;
use crate::path::UnsafePath;

/// A fetch that failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A setting of the source cannot be used.
    #[error("the source's upstream setting {field} {problem}")]
    Setting {
        /// Which setting, as the operator writes it.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The upstream's metadata names a path that leaves its repository.
    #[error(transparent)]
    Path(#[from] UnsafePath),
    /// The list of mirrors cannot be used.
    #[error("the mirror list {url} cannot be used: {problem}")]
    MirrorList {
        /// Its URL.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// Every mirror failed.
    #[error("cannot fetch {path}: {}", shown(attempts))]
    Upstream {
        /// Which file, below the repository.
        path: String,
        /// What each mirror answered last.
        attempts: Vec<Attempt>,
    },
    /// The file could not be kept.
    #[error(transparent)]
    Local(#[from] ContentError),
}

impl FetchError {
    /// Every mirror said that the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FetchError::Upstream { attempts, .. }
            if !attempts.is_empty() && attempts.iter().all(|a| a.problem.is_not_found()))
    }

    /// A mirror had the file, but not the one that was announced: the upstream is being updated, or lies.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, FetchError::Upstream { attempts, .. }
            if attempts.iter().any(|a| matches!(a.problem, Problem::Mismatch(_))))
    }
}

/// What one mirror answered.
#[derive(Debug)]
pub struct Attempt {
    /// The URL, without credentials.
    pub url: String,
    /// What went wrong.
    pub problem: Problem,
}

fn shown(attempts: &[Attempt]) -> String {
    let all: Vec<String> = attempts.iter().map(|a| format!("{}: {}", a.url, a.problem)).collect();
    if all.is_empty() { "the source has no mirror that works".to_owned() } else { all.join("; ") }
}

/// What went wrong with one request.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No connection, no TLS, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// Nothing came for too long.
    #[error("no answer within {0} s; check the network and the proxy of the source")]
    Idle(u64),
    /// Something came, too slowly.
    #[error("the upstream sends less than {0} bytes a second; given up")]
    Slow(u64),
    /// The whole took too long.
    #[error("not finished within {0} s; given up")]
    Long(u64),
    /// An HTTP status other than the wanted one.
    #[error("HTTP {status}{advice}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What to do, with leading `; `.
        advice: &'static str,
    },
    /// A redirect that is not followed.
    #[error("redirected to {to}: {problem}")]
    Redirect {
        /// Where to, without credentials.
        to: String,
        /// Why not.
        problem: &'static str,
    },
    /// Larger than the limit.
    #[error("larger than {0} bytes, the limit for this file")]
    TooLarge(u64),
    /// Other bytes than announced.
    #[error("not the announced file: {0}; the mirror may be in the middle of an update, or broken")]
    Mismatch(Mismatch),
    /// An answer that makes no sense.
    #[error("broken answer: {0}")]
    Protocol(String),
}

impl Problem {
    /// The file does not exist there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Problem::Status { status, .. } if matches!(status.as_u16(), 404 | 410))
    }

    /// The same request may succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Problem::Connection(_) | Problem::Idle(_) | Problem::Protocol(_) => true,
            Problem::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            _ => false,
        }
    }

    pub(super) fn status(status: StatusCode) -> Problem {
        let advice = match status.as_u16() {
            401 | 403 => "; check the client certificate of the source, or whether the upstream lets this server in",
            404 | 410 => "; the file is not there: check the URL, suite and components of the source",
            407 => "; check user and password of the source's proxy",
            429 => "; the upstream asks for fewer requests: sync less often",
            500..=599 => "; the upstream fails: try again later, or add a mirror",
            _ => "",
        };
        Problem::Status { status, advice }
    }

    /// From the HTTP client, with every cause and without the URL (it may hold a password).
    pub(super) fn of(error: reqwest::Error) -> Problem {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        // The client nests its errors; the innermost says what happened, eight levels are more than it has.
        for _ in 0..8 {
            let Some(inner) = cause else { break };
            let said = inner.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = inner.source();
        }
        if text.contains("UnknownIssuer") {
            text.push_str("; add the upstream's certificate authority to `caPem` of the source");
        } else if text.contains("CertificateRequired") || text.contains("HandshakeFailure") {
            text.push_str("; the upstream may want a client certificate");
        }
        Problem::Connection(text)
    }
}

/// A URL for messages.
pub(super) fn public(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without host, which never come here.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A local file failed while fetching.
pub(super) fn local(doing: &'static str, path: PathBuf) -> impl FnOnce(std::io::Error) -> FetchError {
    move |e| FetchError::Local(ContentError::io(doing, &path)(e))
}
