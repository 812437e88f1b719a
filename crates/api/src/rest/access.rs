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
    /// What it is for, or whose it is.
    pub name: String,
    /// Its role, when it stands for itself.
    pub role: Option<Role>,
    /// Name of the user it belongs to.
    #[serde(default)]
    pub user: Option<String>,
    /// What it is narrowed to; empty: it is not narrowed.
    #[serde(default)]
    pub scope: Vec<String>,
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
    /// What it is for, or whose it is, 1 to 128 bytes.
    pub name: String,
    /// It stands for itself, with this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Name of the user it belongs to; without user and role, the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it is narrowed to, in the words of access statements: `read drydock-family`, `{DRYDOCK_INSTANCE_PATCH}`; empty: not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
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

/// A public RSA key that a user signs requests with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// MD5 of its DER form, lower-case hex with colons: its name among the keys of its user.
    pub fingerprint: String,
    /// What to send as `keyId`.
    pub key_id: String,
    /// Its length.
    pub bits: u32,
    /// When it was added.
    pub created_at: Timestamp,
    /// When a request was last signed with it, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A key to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddApiKey {
    /// `PUBLIC KEY` in PEM form, RSA of 2,048 to 8,192 bits.
    pub public_key: String,
}

/// Whom an OpenID Connect provider knows a user as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcIdentity {
    /// The provider, exactly as the server's configuration names it.
    pub issuer: String,
    /// Its name for the person: the claim `sub`.
    pub subject: String,
}
