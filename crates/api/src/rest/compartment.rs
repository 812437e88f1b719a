//! Compartments, policies of access statements, dynamic groups, and what is decided.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Compartment {
    /// Its id, for statements; `tenancy` for the tenancy.
    pub id: String,
    /// Its path: `/` is the tenancy, `/A/web` lies two levels below.
    pub path: String,
    /// Free text.
    pub description: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// For If-Match.
    pub etag: String,
}

/// A compartment to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateCompartment {
    /// Path of the compartment it lies in; absent: the tenancy.
    #[serde(default = "root")]
    pub parent: String,
    /// 1 to 100 letters, digits and `. _ -`.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
}

fn root() -> String {
    "/".to_owned()
}

/// What of a compartment to replace; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditCompartment {
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The last part of its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path of the compartment it moves into, with everything in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A policy of access statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicy {
    /// Its name.
    pub name: String,
    /// Path of the compartment it is attached to.
    pub compartment: String,
    /// Free text.
    pub description: String,
    /// The statements, as written.
    pub statements: String,
    /// It comes with the program and does not change.
    pub builtin: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// For If-Match.
    pub etag: String,
}

/// A policy to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAccessPolicy {
    /// 1 to 100 letters, digits and `. _ -`.
    pub name: String,
    /// Path of the compartment it is attached to; absent: the tenancy. Its statements hold there and below.
    #[serde(default = "root")]
    pub compartment: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Statements, for example `allow group TeamA to use drydock-instances in compartment A`.
    pub statements: String,
}

/// What of a policy to replace; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EditAccessPolicy {
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All statements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<String>,
}

/// A dynamic group: hosts that match rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DynamicGroup {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its matching rules, as written.
    pub rules: String,
    /// All of several rules have to match, not any of them.
    pub match_all: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// For If-Match.
    pub etag: String,
}

/// What a dynamic group is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetDynamicGroup {
    /// Its name; never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Matching rules, for example `ALL {instance.compartment.id = 'ID', label.env = 'prod'}`.
    pub rules: String,
    /// All of several rules have to match, not any of them.
    #[serde(default)]
    pub match_all: bool,
}

/// A question: may somebody do something?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestAccess {
    /// Name of the user or service account; absent: whoever asks.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub as_user: Option<String>,
    /// Permissions, for example `DRYDOCK_INSTANCE_PATCH`.
    pub permissions: Vec<String>,
    /// Path of a compartment, or `TYPE/NAME` of a thing, for example `instance/web-1`.
    pub resource: String,
}

/// The decision about one permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessDecision {
    /// The permission.
    pub permission: String,
    /// Is it given?
    pub allowed: bool,
    /// By which statement, or why not.
    pub decision: String,
    /// Every statement that names the permission, the nearest first; 100 at most.
    pub considered: Vec<ConsideredStatement>,
}

/// How one statement bears on a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsideredStatement {
    /// Its policy.
    pub policy: String,
    /// The line it begins in.
    pub line: u64,
    /// As it was read.
    pub statement: String,
    /// `holds`, or why not.
    pub bearing: String,
}

/// Who may do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessHolders {
    /// Statements that give or take the permission there, `deny` first.
    pub statements: Vec<HoldingStatement>,
    /// Accounts that hold it now, each with the statement that gives it; conditions on the second factor, the time and single
    /// things are decided as if they asked now, without a second factor.
    pub accounts: Vec<HoldingAccount>,
}

/// A statement that gives or takes a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HoldingStatement {
    /// Its policy.
    pub policy: String,
    /// The line it begins in.
    pub line: u64,
    /// As it was read.
    pub statement: String,
    /// It takes the permission.
    pub denies: bool,
    /// Only under its condition.
    pub conditional: bool,
}

/// An account that holds a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HoldingAccount {
    /// `user`, `service-account` or `token`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The statement.
    pub by: String,
}
