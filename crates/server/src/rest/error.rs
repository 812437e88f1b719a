//! The one error mapping of REST: kind → status → body. A handler returns a [`Failure`]; the body is written by the
//! outermost layer, which knows the request's id.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, ErrorKind};
use drydock_domain::ids::BadId;
use drydock_domain::validate::FieldError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Result of a handler.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a request was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    kind: ErrorKind,
    message: String,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    /// The vendor's word for it, for clients that sign.
    code: Option<&'static str>,
    /// For the log only.
    source: Option<Arc<drydock_control::Error>>,
}

impl Failure {
    fn new(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure { status, kind, message: message.into(), fields: Vec::new(), retry_after: None, code: None, source: None }
    }

    /// 400 about one field (a body's path, or a parameter's name).
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), message: message.into() };
        let text = format!("the request is refused: {}: {}", error.field, error.message);
        Failure { fields: vec![error], ..Failure::new(StatusCode::BAD_REQUEST, ErrorKind::Invalid, text) }
    }

    /// 400 about several fields; none: about the request as a whole.
    pub fn fields(found: impl IntoIterator<Item = (String, String)>) -> Self {
        let fields: Vec<FieldError> = found.into_iter().map(|(field, message)| FieldError { field, message }).collect();
        let told: Vec<String> = fields.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        let text = format!("the request is refused: {}", told.join("; "));
        Failure { fields, ..Failure::new(StatusCode::BAD_REQUEST, ErrorKind::Invalid, text) }
    }

    /// 400 about the request as a whole.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, ErrorKind::Invalid, message)
    }

    /// 401.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated, message)
    }

    /// 401 for a request that was signed, in the words that clients who sign know.
    pub fn not_authenticated(message: impl Into<String>) -> Self {
        Failure { code: Some("NotAuthenticated"), ..Failure::unauthenticated(message) }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
    }

    /// 413, 429 or 503.
    pub fn unavailable(status: StatusCode, message: impl Into<String>) -> Self {
        Failure::new(status, ErrorKind::Unavailable, message)
    }

    /// 429 with the time to wait.
    pub fn wait(wait: Duration, message: impl Into<String>) -> Self {
        Failure { retry_after: Some(wait), ..Failure::unavailable(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// What a status that no handler made means.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Failure::not_found("there is no such path; see /api/v1/openapi.json"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Failure::new(status, ErrorKind::Invalid, "this path does not take this method; see /api/v1/openapi.json")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Failure::unavailable(status, "the body is too large"),
            s if s.is_server_error() => Failure::new(s, ErrorKind::Internal, "the server failed"),
            s => Failure::new(s, ErrorKind::Invalid, "the request is refused"),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long to wait before the next try, when it was told.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let error = ApiError {
            kind: self.kind,
            message: self.message.clone(),
            fields: self.fields.clone(),
            code: self.code.map(str::to_owned),
            request_id: request_id.to_owned(),
        };
        serde_json::to_vec(&error).unwrap_or_default()
    }

    pub(crate) fn log(&self, request_id: &str) {
        let Some(error) = self.source.as_deref() else { return };
        if matches!(self.kind, ErrorKind::Internal | ErrorKind::Unavailable) {
            tracing::error!(request_id, error = %chain(error), "the request failed");
        }
    }
}

/// An error with all its sources, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl From<drydock_control::Error> for Failure {
    fn from(error: drydock_control::Error) -> Self {
        use drydock_control::ErrorKind as Kind;
        let (status, kind) = match error.kind() {
            Kind::NotFound => (StatusCode::NOT_FOUND, ErrorKind::NotFound),
            Kind::Invalid => (StatusCode::BAD_REQUEST, ErrorKind::Invalid),
            Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated),
            Kind::Forbidden => (StatusCode::FORBIDDEN, ErrorKind::Forbidden),
            Kind::Conflict if error.is_stale() => (StatusCode::PRECONDITION_FAILED, ErrorKind::Conflict),
            Kind::Conflict => (StatusCode::CONFLICT, ErrorKind::Conflict),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Internal),
        };
        let fields = error.fields().to_vec();
        Failure { fields, source: Some(Arc::new(error)), ..Failure::new(status, kind, "") }.with_source_message()
    }
}

impl Failure {
    fn with_source_message(mut self) -> Self {
        self.message = self.source.as_ref().map(ToString::to_string).unwrap_or_default();
        self
    }
}

impl From<BadId> for Failure {
    fn from(error: BadId) -> Self {
        Failure::field("id", error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let ways = match self.code {
                None => "Bearer realm=\"drydock\"",
                Some(_) => "Signature realm=\"drydock\",headers=\"date (request-target) host\"",
            };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(ways));
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}
