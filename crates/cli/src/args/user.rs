//! `drydock user`, `user-group`, `session`.

use clap::{Args, Subcommand};
use drydock_domain::ids::SessionId;

use super::{ListArgs, Output};

/// `drydock user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user, or with --service-account one for a program
    ///
    /// It is in no group, so it may do nothing yet, and has nothing to sign in with. For example:
    ///   drydock user create ann --email ann@example.com
    ///   drydock user-group add team-a ann
    ///   drydock user set-password ann
    #[command(verbatim_doc_comment)]
    Create(CreateUserArgs),
    /// List users and service accounts
    List(ListArgs),
    /// Show one user
    Show(ShowUserArgs),
    /// Change a user's description or address
    Edit(EditUserArgs),
    /// Refuse a user at once, whatever they show: tokens, keys, sessions
    Disable(UserArgs),
    /// Let a disabled user in again
    Enable(UserArgs),
    /// Give a user a password that is good for one sign-in; it is made up and printed, once
    SetPassword(SetPasswordArgs),
    /// Take a user's second factor away, for example when the telephone is lost
    ResetSecondFactor(UserArgs),
    /// Delete a user with its tokens, keys and sessions
    Delete(UserArgs),
}

/// Arguments of `user create`.
#[derive(Debug, Args)]
pub struct CreateUserArgs {
    /// Name: a-z, A-Z, 0-9, `.`, `_`, `-`, `@`, `+`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// It is for a program: it has tokens and API keys, never a password
    #[arg(long)]
    pub service_account: bool,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// Address, for people
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub email: String,
    /// Put it into this group of users; repeated: into several
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Make up a password and print it, once; the first sign-in has to choose another one
    #[arg(long, conflicts_with = "service_account")]
    pub one_time_password: bool,
}

/// One user.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// Name of the user
    #[arg(value_name = "USER")]
    pub user: String,
}

/// Arguments of `user show`.
#[derive(Debug, Args)]
pub struct ShowUserArgs {
    /// Name of the user
    #[arg(value_name = "USER")]
    pub user: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `user edit`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["description", "email"]))]
pub struct EditUserArgs {
    /// Name of the user
    #[arg(value_name = "USER")]
    pub user: String,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Address, for people
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
}

/// Arguments of `user set-password`.
#[derive(Debug, Args)]
pub struct SetPasswordArgs {
    /// Name of the user
    #[arg(value_name = "USER")]
    pub user: String,
    /// Ask for the password instead of making one up (without a terminal it is read from standard input)
    #[arg(long)]
    pub ask: bool,
    /// It is good for more than one sign-in
    #[arg(long)]
    pub lasting: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// `drydock user-group`.
#[derive(Debug, Subcommand)]
pub enum UserGroupCommand {
    /// Make a group of users, for access statements to name
    ///
    /// For example:
    ///   drydock user-group create team-a
    ///   drydock user-group add team-a ann bob
    #[command(verbatim_doc_comment)]
    Create(CreateUserGroupArgs),
    /// List groups of users
    List(ListArgs),
    /// Show one group and its members
    Show(ShowUserGroupArgs),
    /// Change a group's description
    Edit(EditUserGroupArgs),
    /// Put users into a group
    Add(UserGroupMembersArgs),
    /// Take users out of a group
    Remove(UserGroupMembersArgs),
    /// Delete a group; statements that name it stay and give nobody anything
    Delete(UserGroupArgs),
}

/// Arguments of `user-group create`.
#[derive(Debug, Args)]
pub struct CreateUserGroupArgs {
    /// Name: a-z, A-Z, 0-9, `.`, `_`, `-`, `@`, `+`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
}

/// One group of users.
#[derive(Debug, Args)]
pub struct UserGroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
}

/// Arguments of `user-group show`.
#[derive(Debug, Args)]
pub struct ShowUserGroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// At most this many members; 0 = all
    #[arg(long, default_value_t = super::RECENT_ROWS, value_name = "N")]
    pub limit: usize,
    /// Format; json and yaml show the group alone.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `user-group edit`.
#[derive(Debug, Args)]
pub struct EditUserGroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: String,
}

/// Arguments of `user-group add` and `remove`.
#[derive(Debug, Args)]
pub struct UserGroupMembersArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Names of the users
    #[arg(required = true, value_name = "USER")]
    pub users: Vec<String>,
}

/// `drydock session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List sessions of the console: your own, or with --user or --all those of others
    List(ListSessionsArgs),
    /// End a session at once
    Revoke(SessionArgs),
}

/// Arguments of `session list`.
#[derive(Debug, Args)]
pub struct ListSessionsArgs {
    /// Sessions of this user
    #[arg(long, value_name = "USER", conflicts_with = "all")]
    pub user: Option<String>,
    /// Sessions of everybody
    #[arg(long)]
    pub all: bool,
    /// How many, and in which format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// One session.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// Id of the session, from `drydock session list`
    #[arg(value_name = "SESSION_ID")]
    pub id: SessionId,
}
