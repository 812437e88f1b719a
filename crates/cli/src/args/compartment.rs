//! `drydock compartment`, `drydock access policy|who-can`, `drydock dynamic-group`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// `drydock compartment`.
#[derive(Debug, Subcommand)]
pub enum CompartmentCommand {
    /// Make a compartment, such as /A or /A/web; the ones above it must be there
    Create(CreateCompartmentArgs),
    /// List the compartments you may see
    List(Output),
    /// Show one compartment
    Show(CompartmentArgs),
    /// Rename or describe a compartment; what lies in it goes along
    Edit(EditCompartmentArgs),
    /// Move a compartment, with everything in it, into another one
    Move(MoveCompartmentArgs),
    /// Delete a compartment that nothing lies in
    Delete(CompartmentPathArgs),
}

/// One compartment.
#[derive(Debug, Args)]
pub struct CompartmentPathArgs {
    /// Its path, such as /A/web, or its id
    #[arg(value_name = "COMPARTMENT")]
    pub compartment: String,
}

/// Arguments of `compartment show`.
#[derive(Debug, Args)]
pub struct CompartmentArgs {
    /// Its path, such as /A/web, or its id
    #[arg(value_name = "COMPARTMENT")]
    pub compartment: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `compartment create`.
#[derive(Debug, Args)]
pub struct CreateCompartmentArgs {
    /// Its path, such as /A/web
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
}

/// Arguments of `compartment edit`.
#[derive(Debug, Args)]
pub struct EditCompartmentArgs {
    /// Its path, such as /A/web, or its id
    #[arg(value_name = "COMPARTMENT")]
    pub compartment: String,
    /// Another name
    #[arg(long, value_name = "NAME", required_unless_present = "description")]
    pub name: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
}

/// Arguments of `compartment move`.
#[derive(Debug, Args)]
pub struct MoveCompartmentArgs {
    /// Its path, such as /A/web, or its id
    #[arg(value_name = "COMPARTMENT")]
    pub compartment: String,
    /// Path of the compartment it goes into, / for the tenancy
    #[arg(long, value_name = "PATH")]
    pub to: String,
}

/// `drydock access policy`.
#[derive(Debug, Subcommand)]
pub enum AccessPolicyCommand {
    /// Make a policy; it holds from the next request on
    ///
    /// For example:
    ///   drydock access policy create team-a \
    ///     --statement 'allow group TeamA to manage drydock-family in compartment A'
    #[command(verbatim_doc_comment)]
    Create(CreateAccessPolicyArgs),
    /// List policies
    List(Output),
    /// Show one policy with its statements
    Show(AccessPolicyArgs),
    /// Replace a policy's statements or description
    Edit(EditAccessPolicyArgs),
    /// Delete a policy: what it gave is gone, what it denied is open
    Delete(AccessPolicyNameArgs),
}

/// Where statements come from.
#[derive(Debug, Args)]
pub struct StatementsArgs {
    /// A statement; repeated: several
    #[arg(long = "statement", value_name = "TEXT", conflicts_with = "file")]
    pub statements: Vec<String>,
    /// A file of statements; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Arguments of `access policy create`.
#[derive(Debug, Args)]
pub struct CreateAccessPolicyArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Path of the compartment it is attached to; its statements hold there and below
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub compartment: String,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// The statements.
    #[command(flatten)]
    pub statements: StatementsArgs,
}

/// One policy.
#[derive(Debug, Args)]
pub struct AccessPolicyNameArgs {
    /// Its name
    #[arg(value_name = "POLICY")]
    pub policy: String,
}

/// Arguments of `access policy show`.
#[derive(Debug, Args)]
pub struct AccessPolicyArgs {
    /// Its name
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `access policy edit`.
#[derive(Debug, Args)]
pub struct EditAccessPolicyArgs {
    /// Its name
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// The statements, all of them.
    #[command(flatten)]
    pub statements: StatementsArgs,
}

/// Arguments of `access who-can`.
#[derive(Debug, Args)]
pub struct WhoCanArgs {
    /// The permission, such as DRYDOCK_INSTANCE_PATCH
    #[arg(value_name = "PERMISSION")]
    pub permission: String,
    /// Path of a compartment, or TYPE/NAME of a thing, such as instance/web-1
    #[arg(value_name = "RESOURCE", default_value = "/")]
    pub resource: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// `drydock dynamic-group`.
#[derive(Debug, Subcommand)]
pub enum DynamicGroupCommand {
    /// Make a dynamic group: the hosts that match rules, as a subject of access statements
    ///
    /// For example:
    ///   drydock dynamic-group create prod-hosts --rules "ANY {label.env = 'prod'}"
    #[command(verbatim_doc_comment)]
    Create(SetDynamicGroupArgs),
    /// List dynamic groups
    List(Output),
    /// Show one dynamic group
    Show(DynamicGroupArgs),
    /// Replace a dynamic group's rules and description
    Edit(SetDynamicGroupArgs),
    /// Delete a dynamic group
    Delete(DynamicGroupNameArgs),
}

/// One dynamic group.
#[derive(Debug, Args)]
pub struct DynamicGroupNameArgs {
    /// Its name
    #[arg(value_name = "GROUP")]
    pub group: String,
}

/// Arguments of `dynamic-group show`.
#[derive(Debug, Args)]
pub struct DynamicGroupArgs {
    /// Its name
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `dynamic-group create` and `edit`.
#[derive(Debug, Args)]
pub struct SetDynamicGroupArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Matching rules
    #[arg(long, value_name = "RULES")]
    pub rules: String,
    /// All of several rules have to match; without it, one is enough
    #[arg(long)]
    pub match_all: bool,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
}
