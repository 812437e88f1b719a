//! Enrolment profiles, access tokens, audit records.

use drydock_domain::access::Role;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::{AccessTokenId, ProfileId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An enrolment profile; its token is shown once, at creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentProfile {
    /// Its id.
    pub id: ProfileId,
    /// As created.
    pub spec: ProfileSpec,
    /// Hosts let in so far.
    pub uses: u32,
    /// Revoked by a person.
    pub revoked: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A new profile with its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CreatedProfile {
    /// The profile.
    pub profile: EnrolmentProfile,
    /// The token; it cannot be shown again.
    pub token: String,
    /// SHA-256 of the CA certificate (DER), hex: what `--ca-fingerprint` takes.
    pub ca_fingerprint: String,
    /// Command to run on a host.
    pub command: String,
}

/// An access token of a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessToken {
    /// Its id.
    pub id: AccessTokenId,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Ends; absent = never.
    pub expires_at: Option<Timestamp>,
    /// When.
    pub created_at: Timestamp,
    /// Last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Revoked by a person.
    pub revoked: bool,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAccessToken {
    /// Whose it is, 1 to 128 bytes.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Ends; absent = never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A new token with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CreatedAccessToken {
    /// The token.
    pub token: AccessToken,
    /// What to send as `Authorization: Bearer …`; it cannot be shown again.
    pub secret: String,
}

/// Who the server takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// Name of the access token.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The server's version.
    pub server_version: String,
}

/// One audit record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who: an access token's name, `instance <id>`, or `server`.
    pub who: String,
    /// Operation, for example `patch-job.create`.
    pub operation: String,
    /// Object, for example `patch-job 0198…`.
    pub resource: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// The request it came with.
    pub request_id: String,
}
