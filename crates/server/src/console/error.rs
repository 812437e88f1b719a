//! Failures as pages. What the person reads is the error's own words; the chain goes to the log under the request id.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use drydock_control::{Error, ErrorKind};
use drydock_domain::validate::FieldError;

use super::assets::{AssetUrls, urls};

/// A template as an answer.
pub struct Html<T>(pub T);

impl<T: Template> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(body) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response(),
            Err(e) => {
                tracing::error!(error = &e as &dyn std::error::Error, "a page could not be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered; the server's log has the reason")
                    .into_response()
            }
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    assets: &'static AssetUrls,
    heading: &'a str,
    message: &'a str,
    fields: &'a [FieldError],
    request_id: &'a str,
}

/// A failure of one request.
#[derive(Debug)]
pub struct Fail {
    error: Box<Error>,
    request_id: String,
}

impl Fail {
    /// The failure of the request `request_id`.
    pub fn new(error: Error, request_id: &str) -> Self {
        Fail { error: Box::new(error), request_id: request_id.to_owned() }
    }
}

impl IntoResponse for Fail {
    fn into_response(self) -> Response {
        let (status, heading) = match self.error.kind() {
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "That could not be read"),
            ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "Sign in first"),
            ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "Your role does not allow that"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "That is not possible now"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
        };
        if matches!(self.error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
            tracing::error!(
                request_id = self.request_id,
                error = &*self.error as &dyn std::error::Error,
                "a console request failed"
            );
        }
        let message = sentence(&self.error.to_string());
        let page =
            ErrorPage { assets: urls(), heading, message: &message, fields: self.error.fields(), request_id: &self.request_id };
        (status, Html(page)).into_response()
    }
}

/// A failure that did not come from an operation.
pub fn page(status: StatusCode, heading: &str, message: &str, request_id: &str) -> Response {
    let page = ErrorPage { assets: urls(), heading, message, fields: &[], request_id };
    (status, Html(page)).into_response()
}

/// What no route answers: a page for a person; the API's and the agents' own layers finish the rest.
pub async fn no_such_page(uri: axum::http::Uri, headers: axum::http::HeaderMap) -> Response {
    let person = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"));
    if !person || uri.path().starts_with("/api/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    page(StatusCode::NOT_FOUND, "Not found", "There is no such page.", "")
}

/// A form without this session's CSRF token.
pub fn forged(request_id: &str) -> Response {
    let message = "The form does not belong to this session, so nothing was done. Go back, reload the page, and try again.";
    page(StatusCode::FORBIDDEN, "Nothing was done", message, request_id)
}

/// Errors are written to follow a colon; a page begins with a capital and ends with a full stop.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}
