//! Users, their groups, and what they sign in with.

use drydock_domain::access::Role;
use drydock_domain::access::user::UserKind;
use drydock_domain::ids::{SessionId, UserId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A user or service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub name: String,
    /// A person or a program.
    pub kind: UserKind,
    /// Free text.
    pub description: String,
    /// Address.
    pub email: String,
    /// Names of the groups it is in.
    pub groups: Vec<String>,
    /// Nothing that belongs to it lets anybody in.
    pub disabled: bool,
    /// It has a password.
    pub has_password: bool,
    /// The next sign-in has to choose another password.
    pub password_expired: bool,
    /// Since when it has this password.
    pub password_changed_at: Option<Timestamp>,
    /// It has a second factor.
    pub second_factor: bool,
    /// Signing in with a password is refused until then, because it failed several times.
    pub locked_until: Option<Timestamp>,
    /// Who vouches for it (OIDC).
    pub oidc_issuer: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When somebody last signed in.
    pub last_sign_in_at: Option<Timestamp>,
}

/// What an edit of a user changes; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditUser {
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Lock it out, or let it in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A password for somebody else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetPassword {
    /// The password; absent: the server makes one up and shows it once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// It is good for more than the next sign-in; otherwise that one has to choose another.
    #[serde(default)]
    pub lasting: bool,
}

/// A password was set.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PasswordSet {
    /// The user.
    pub user: User,
    /// What the server made up; it cannot be shown again.
    pub password: Option<String>,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserGroup {
    /// Its id.
    pub id: String,
    /// Its name; statements use it.
    pub name: String,
    /// Free text.
    pub description: String,
    /// It comes with the program: only its members can be changed.
    pub built_in: bool,
    /// Members, count.
    pub members: u64,
    /// Who made it.
    pub created_by: Option<String>,
    /// When.
    pub created_at: Option<Timestamp>,
}

/// What an edit of a group of users changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditUserGroup {
    /// Free text.
    pub description: String,
}

/// A member of a group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserGroupMember {
    /// The user.
    pub id: UserId,
    /// Its name.
    pub name: String,
    /// Nothing that belongs to it lets anybody in.
    pub disabled: bool,
    /// Who put it into the group.
    pub added_by: String,
    /// When.
    pub added_at: Timestamp,
}

/// A session of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id; not what the browser keeps.
    pub id: SessionId,
    /// Whose it is.
    pub user: String,
    /// How they signed in: `password`, `oidc`.
    pub way: String,
    /// They showed a second factor.
    pub second_factor: bool,
    /// Where from.
    pub address: String,
    /// With what.
    pub user_agent: String,
    /// When.
    pub created_at: Timestamp,
    /// Last used, to the minute.
    pub used_at: Timestamp,
}

/// A sign-in with a password, for a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    /// Name of the user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The code of the second factor, or a recovery code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Another password, when this one is good for one sign-in only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_password: Option<String>,
    /// What the token is for, as lists show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Another password for oneself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    /// The one until now.
    pub old_password: String,
    /// The one from now on, 12 to 128 bytes.
    pub new_password: String,
}

/// A second factor that waits for its first code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OfferedSecondFactor {
    /// What an authenticator app reads: `otpauth://totp/…`.
    pub uri: String,
    /// The secret in Base32, for typing.
    pub secret: String,
}

/// The first code of a second factor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmSecondFactor {
    /// Six digits.
    pub code: String,
}

/// Codes that open the door once each when the second factor is lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodes {
    /// The codes; they cannot be shown again.
    pub codes: Vec<String>,
}

/// Who the server takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// Name of the user or the access token.
    pub name: String,
    /// `user`, `service-account`, or `token`: one that stands for itself.
    #[serde(default)]
    pub kind: String,
    /// The strongest role among the groups; absent: none of them is a role's.
    #[serde(default)]
    pub role: Option<Role>,
    /// Names of the groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// A second factor was shown.
    #[serde(default)]
    pub second_factor: bool,
    /// The token that was shown is narrowed.
    #[serde(default)]
    pub narrowed: bool,
    /// The server's version.
    pub server_version: String,
}
