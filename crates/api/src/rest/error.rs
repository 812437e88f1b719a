//! The one error shape.

use drydock_domain::validate::FieldError;
use serde::{Deserialize, Serialize};

/// What kind of error; each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorKind {
    /// 400: the request is wrong; `fields` says where.
    Invalid,
    /// 401: no or an unknown access token.
    Unauthenticated,
    /// 403: the role does not allow it.
    Forbidden,
    /// 404.
    NotFound,
    /// 409 or 412: it is not in a state for that, or somebody changed it meanwhile.
    Conflict,
    /// 413, 429 or 503: a limit or a part that is down; trying later may help.
    Unavailable,
    /// 500: our fault; the log has the chain under the request id.
    Internal,
}

/// Body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiError {
    /// Kind.
    pub kind: ErrorKind,
    /// For people: what failed, on which object, what to do.
    pub message: String,
    /// Wrong fields, when the request was refused for its content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
    /// For clients of the Oracle service, which know errors by these words; only where a signed request was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Look for it in the server's log.
    pub request_id: String,
}
