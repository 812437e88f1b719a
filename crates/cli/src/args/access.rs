//! `drydock access`.

use clap::{Args, Subcommand, ValueEnum};
use drydock_domain::access::Role;

use super::api_key::{ApiKeyCommand, OidcCommand};
use super::compartment::{AccessPolicyCommand, WhoCanArgs};
use super::statement::{CheckStatementsArgs, TestAccessArgs};
use super::{ListArgs, Output};
use crate::text::parse_duration;

/// `drydock access`.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Make an access token and print its secret, once
    ///
    /// Examples:
    ///   drydock access create --name laptop --expires-in 90d
    ///   drydock access create --name ci --user deployer --scope 'read drydock-family' --scope DRYDOCK_INSTANCE_PATCH
    ///   drydock access create --name backup --role viewer
    #[command(verbatim_doc_comment)]
    Create(CreateTokenArgs),
    /// List access tokens
    List(ListTokensArgs),
    /// Stop an access token at once
    Revoke(TokenArgs),
    /// RSA keys that users sign requests with
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Who signs in with the OpenID Connect provider
    #[command(subcommand)]
    Oidc(OidcCommand),
    /// Policies of access statements
    #[command(subcommand)]
    Policy(AccessPolicyCommand),
    /// Read access statements and say what is wrong, with file, line and column; needs no server
    Check(CheckStatementsArgs),
    /// Say whether a request is allowed, and why
    ///
    /// With --policies and --facts files are tried without a server (docs/access.md says what the file of facts holds);
    /// otherwise the server is asked, about --as or about you.
    ///
    /// Examples:
    ///   drydock access test --as ann DRYDOCK_INSTANCE_PATCH /A
    ///   drydock access test DRYDOCK_INSTANCE_UPDATE --policies team-a.policy --facts ann.yaml
    #[command(verbatim_doc_comment)]
    Test(TestAccessArgs),
    /// List who holds a permission, and the statements that give or take it
    ///
    /// Example:
    ///   drydock access who-can DRYDOCK_INSTANCE_PATCH instance/web-1
    #[command(verbatim_doc_comment)]
    WhoCan(WhoCanArgs),
}

/// Arguments of `access create`.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// What the token is for, or whose it is
    #[arg(long)]
    pub name: String,
    /// It stands for itself, with this role
    #[arg(long, value_enum, conflicts_with = "user")]
    pub role: Option<RoleName>,
    /// It belongs to this user or service account; without --user and --role to you
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Narrow it to this, in the words of access statements, such as 'read drydock-family' or DRYDOCK_INSTANCE_PATCH; several
    /// times for several
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<String>,
    /// It stops working after this time, such as 90d; without it, never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expires_in: Option<u64>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `access list`.
#[derive(Debug, Args)]
pub struct ListTokensArgs {
    /// Tokens of this user; everybody may list their own
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// How many, and in which format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// One access token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Id of the access token, from `drydock access list`
    #[arg(value_name = "TOKEN_ID")]
    pub id: drydock_domain::ids::AccessTokenId,
}

/// The roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Everything
    Administrator,
    /// Starts and cancels patch jobs, accepts and edits hosts
    Operator,
    /// Reads
    Viewer,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Role {
        match name {
            RoleName::Administrator => Role::Administrator,
            RoleName::Operator => Role::Operator,
            RoleName::Viewer => Role::Viewer,
        }
    }
}
