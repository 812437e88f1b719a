//! `drydock group`.

use clap::{Args, Subcommand};

use super::{ListArgs, Output};

/// `drydock group`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group; its first member decides which system, major version and architecture the others have
    ///
    /// For example:
    ///   drydock group create web --description 'front ends' --environment prod
    ///   drydock group add web web-1 web-2
    ///   drydock group attach web ol9-base
    ///   drydock patch run --in-group web --security
    #[command(verbatim_doc_comment)]
    Create(CreateGroupArgs),
    /// List groups
    List(ListArgs),
    /// Show one group and its members
    Show(ShowGroupArgs),
    /// Change a group's description or environment
    Edit(EditGroupArgs),
    /// Put hosts into a group; a host is in one group at most
    ///
    /// With --filter every active host that matches now and fits into the group, with a word on those that do not. Groups do
    /// not follow a filter by themselves: run it again when hosts have changed.
    Add(AddMembersArgs),
    /// Take hosts out of a group
    Remove(MembersArgs),
    /// Attach sources to every host of a group
    Attach(GroupSourcesArgs),
    /// Detach sources from every host of a group
    Detach(GroupSourcesArgs),
    /// Put a group into another compartment; its hosts have to lie there or below
    Move(MoveGroupArgs),
    /// Remove a group that no host is in
    Delete(GroupArgs),
}

/// Arguments of `group create`.
#[derive(Debug, Args)]
pub struct CreateGroupArgs {
    /// Name: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// Environment its hosts look through, unless they have their own
    #[arg(long, value_name = "ENVIRONMENT")]
    pub environment: Option<String>,
    /// Compartment it lies in: it takes hosts there and below; without it, the one in which you may make groups
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
}

/// Arguments of `group move`.
#[derive(Debug, Args)]
pub struct MoveGroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Path of the compartment, such as /A/web; / is the tenancy
    #[arg(long, value_name = "PATH")]
    pub to: String,
}

/// One group.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
}

/// Arguments of `group show`.
#[derive(Debug, Args)]
pub struct ShowGroupArgs {
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

/// Arguments of `group edit`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["description", "environment", "no_environment"]))]
pub struct EditGroupArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Environment its hosts look through, unless they have their own
    #[arg(long, value_name = "ENVIRONMENT")]
    pub environment: Option<String>,
    /// No environment: its hosts see the newest snapshots
    #[arg(long, conflicts_with = "environment")]
    pub no_environment: bool,
}

/// Arguments of `group add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["hosts", "filter"]))]
pub struct AddMembersArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Hosts, by name or id
    #[arg(value_name = "HOST")]
    pub hosts: Vec<String>,
    /// The hosts that match this filter, such as 'os.id = ol and label env=prod' (docs/filters.md)
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only say which hosts would be put in
    #[arg(long, requires = "filter", conflicts_with = "hosts")]
    pub dry_run: bool,
    /// Format of the answer to --filter.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `group remove`.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Hosts, by name or id
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
}

/// Arguments of `group attach` and `detach`.
#[derive(Debug, Args)]
pub struct GroupSourcesArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Names of the sources
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
}
