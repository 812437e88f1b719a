//! `drydock access` and `drydock audit`.

use clap::{Args, Subcommand, ValueEnum};
use drydock_domain::access::Role;

use super::statement::{CheckStatementsArgs, TestAccessArgs};
use super::{ListArgs, Output, RecentArgs};
use crate::text::parse_duration;

/// `drydock access`.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Make an access token and print its secret, once
    Create(CreateTokenArgs),
    /// List access tokens
    List(ListArgs),
    /// Stop an access token at once
    Revoke(TokenArgs),
    /// Read access statements and say what is wrong, with file, line and column; needs no server
    ///
    /// The server does not enforce statements yet: roles decide. This is for writing them.
    Check(CheckStatementsArgs),
    /// Say whether access statements allow a request, and why; needs no server
    ///
    /// The server does not enforce statements yet: roles decide. docs/access.md says what the file of facts holds.
    ///
    /// Example:
    ///   drydock access test DRYDOCK_INSTANCE_UPDATE --policies team-a.policy --facts ann.yaml
    Test(TestAccessArgs),
}

/// `drydock audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List audit records, newest first
    List(RecentArgs),
}

/// Arguments of `access create`.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// Whose token it is: a person or a program
    #[arg(long)]
    pub name: String,
    /// What it may do
    #[arg(long, value_enum)]
    pub role: RoleName,
    /// It stops working after this time, such as 90d; without it, never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expires_in: Option<u64>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
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
