//! Answers to package managers that get no file: one line of text that names the object and says what to do, because
//! that line is what people read in the output of dnf and apt.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use drydock_control::ErrorKind;
use drydock_control::content::serve::ServeError;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::limits::CONTENT_RETRY_AFTER;
use crate::rest::error::{Failure, chain};

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal { status, message: message.into(), retry_after: None }
    }

    /// 503 that passes by itself.
    pub(super) fn later(message: impl Into<String>) -> Self {
        Refusal { retry_after: Some(CONTENT_RETRY_AFTER), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// Our fault: the client is told little, the log everything.
    pub(super) fn fault(path: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(path, error = %chain(error), "content cannot be served");
        Refusal::later(format!("the server cannot read {path}; its log has the reason"))
    }

    /// From the operation that decides who may have what.
    pub(super) fn of_control(path: &str, error: &drydock_control::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound | ErrorKind::Invalid => StatusCode::NOT_FOUND,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable | ErrorKind::Internal => return Refusal::fault(path, error),
        };
        Refusal::new(status, error.to_string())
    }

    /// From the room that has the files.
    pub(super) fn of_serve(path: &str, error: &ServeError) -> Self {
        match error {
            ServeError::NotFound { .. } => Refusal::new(StatusCode::NOT_FOUND, format!("{path}: {error}")),
            ServeError::Upstream { .. } => {
                tracing::warn!(path, error = %chain(error), "the upstream of a package does not give it");
                Refusal::new(StatusCode::BAD_GATEWAY, format!("{path}: {error}"))
            }
            ServeError::Content(_) => Refusal::fault(path, error),
        }
    }

    /// From the check of an access token.
    pub(super) fn of_failure(failure: &Failure) -> Self {
        Refusal { retry_after: failure.retry_after(), ..Refusal::new(failure.status(), failure.message()) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // One line: a package manager shows the first.
        let line = self.message.replace(['\r', '\n'], " ") + "\n";
        let mut response = (self.status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"drydock\""));
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_one_line_and_says_when_to_come_again() {
        let response = Refusal::later("packages/x.rpm:\nbusy").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        let text = axum::body::to_bytes(response.into_body(), 1000).await.expect("read");
        assert_eq!(text, "packages/x.rpm: busy\n");
        let response = Refusal::new(StatusCode::UNAUTHORIZED, "no").into_response();
        assert!(response.headers().contains_key(WWW_AUTHENTICATE));
    }
}
