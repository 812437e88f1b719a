//! The command line: every noun and verb with its help. Absent on purpose: what they do (`commands`).

pub mod access;
pub mod advisory;
pub mod api_key;
pub mod approval;
pub mod audit;
pub mod calendar;
pub mod compartment;
pub mod compliance;
pub mod deployment;
pub mod enrolment;
pub mod group;
pub mod health;
pub mod instance;
pub mod package;
pub mod patch;
pub mod policy;
pub mod rollout;
pub mod secret;
pub mod source;
pub mod spec;
pub mod statement;
pub mod user;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::failure::EXIT_CODES;

/// Patches Linux hosts through a Drydock server.
#[derive(Debug, Parser)]
#[command(
    name = "drydock",
    version,
    about = "Patches Linux hosts through a Drydock server",
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100
)]
pub struct Cli {
    /// Which server, and how it is known.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which server, and how it is known; otherwise the environment, otherwise what `drydock login` kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Address of the server, such as https://drydock.example.com:8443 [env: DRYDOCK_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Access token; `-` reads it from standard input [env: DRYDOCK_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// RSA key (PEM) to sign requests with instead of an access token [env: DRYDOCK_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    pub api_key_file: Option<PathBuf>,
    /// What the server calls that key: TENANCY/USER/FINGERPRINT [env: DRYDOCK_KEY_ID]
    #[arg(long, global = true, value_name = "ID")]
    pub api_key_id: Option<String>,
    /// SHA-256 of the server's CA certificate; nothing else is trusted then [env: DRYDOCK_CA_FINGERPRINT]
    #[arg(long, global = true, value_name = "HEX", conflicts_with = "ca_file")]
    pub ca_fingerprint: Option<String>,
    /// CA certificate of the server, PEM; nothing else is trusted then
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Configuration file, default ~/.config/drydock/config.toml [env: DRYDOCK_CLI_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a server and a token, and keep them for later commands
    ///
    /// The server is asked who the token belongs to; only a good answer is kept, in a file that only you can read. With --user it
    /// is got with a password, which is asked for (without a terminal: read from standard input, a line each for password and
    /// code).
    Login(LoginArgs),
    /// Forget the kept token (it stays valid on the server: see `drydock access revoke`)
    Logout,
    /// Show who the server takes you for
    Whoami(Output),
    /// Managed instances: hosts with an enrolled agent
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    /// Packages across the fleet and over time
    #[command(subcommand)]
    Package(package::PackageCommand),
    /// Groups: hosts of one kind that share sources and are patched together
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Enrolment profiles: the tokens that let hosts in
    #[command(subcommand)]
    Enrolment(enrolment::EnrolmentCommand),
    /// Patch jobs
    #[command(subcommand)]
    Patch(Box<patch::PatchCommand>),
    /// Patch deployments: patch jobs on a schedule
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Maintenance windows: when hosts may be worked at
    #[command(subcommand)]
    Window(calendar::WindowCommand),
    /// Freeze calendars: when hosts must not be worked at
    #[command(subcommand)]
    Freeze(calendar::FreezeCommand),
    /// Reboot slots: how many hosts of a group may reboot at a time
    #[command(subcommand)]
    RebootSlot(calendar::RebootSlotCommand),
    /// Software sources: mirrors, selections, places for uploads
    #[command(subcommand)]
    Source(source::SourceCommand),
    /// Snapshots of software sources
    #[command(subcommand)]
    Snapshot(source::SnapshotCommand),
    /// Lifecycle environments: which snapshots hosts see
    #[command(subcommand)]
    Environment(source::EnvironmentCommand),
    /// Content jobs: syncs, uploads and collections in the background
    #[command(subcommand)]
    Job(source::JobCommand),
    /// Stored packages and metadata
    #[command(subcommand)]
    Content(source::ContentCommand),
    /// Advisories: what vendors say of updates, which hosts need them, and the feeds it comes from
    #[command(subcommand)]
    Advisory(advisory::AdvisoryCommand),
    /// Vulnerabilities: where they are open, since when, and what closes them
    #[command(subcommand)]
    Vulnerability(advisory::VulnerabilityCommand),
    /// OS policies: what hosts are to be like
    #[command(subcommand)]
    Policy(Box<policy::PolicyCommand>),
    /// Compliance: how hosts stand with their policies, and what drifted; -o csv exports all rows
    #[command(subcommand)]
    Compliance(compliance::ComplianceCommand),
    /// Secrets: values that policies name and nobody is shown
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Users and service accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// User groups: subjects of access statements
    #[command(subcommand)]
    UserGroup(user::UserGroupCommand),
    /// Sessions of the console: who is signed in, and ending them
    #[command(subcommand)]
    Session(user::SessionCommand),
    /// Compartments: where hosts, jobs, sources and policies live, and how far access statements reach
    #[command(subcommand)]
    Compartment(compartment::CompartmentCommand),
    /// Who may do what: policies of access statements, decisions, access tokens
    #[command(subcommand)]
    Access(access::AccessCommand),
    /// Dynamic groups: hosts that match rules, as subjects of access statements
    #[command(subcommand)]
    DynamicGroup(compartment::DynamicGroupCommand),
    /// Approvals: operations that need a second person
    #[command(subcommand)]
    Approval(approval::ApprovalCommand),
    /// Audit records: who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Small tools that need no server
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// Print a completion script for a shell
    ///
    /// For bash: drydock completions bash > /etc/bash_completion.d/drydock
    Completions(CompletionsArgs),
    /// Print the version of this command
    Version,
}

/// Arguments of `login`; the server, token and CA are the connection options.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Sign in with this user's password (and code): the server makes a token that is good for 12 hours
    #[arg(long, value_name = "USER", conflicts_with = "token")]
    pub user: Option<String>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `drydock tools`.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// Compare two versions as rpm or dpkg does: prints <, = or >
    ///
    /// With - in place of A, lines `A<TAB>B` are read from standard input and one sign a line is printed, `!` for a
    /// version that cannot be read.
    Vercmp(VercmpArgs),
}

/// Arguments of `tools vercmp`.
#[derive(Debug, Args)]
pub struct VercmpArgs {
    /// Whose rules
    pub scheme: VersionScheme,
    /// First version, or - to read pairs from standard input
    #[arg(allow_hyphen_values = true)]
    pub a: String,
    /// Second version
    #[arg(allow_hyphen_values = true)]
    pub b: Option<String>,
}

/// Whose version rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionScheme {
    /// rpm: [epoch:]version[-release]
    Rpm,
    /// dpkg: [epoch:]upstream[-revision]
    Deb,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// table for people; json and yaml are the server's own documents
    #[arg(short = 'o', long = "format", value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
}

/// Output formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, relative times
    #[default]
    Table,
    /// JSON, absolute times
    Json,
    /// YAML, absolute times
    Yaml,
    /// CSV of a list, absolute times; columns are the JSON's fields by name
    Csv,
}

/// How much of a list is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListArgs {
    /// At most this many rows; 0 = all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub limit: usize,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// As [`ListArgs`], for lists that grow without end.
#[derive(Debug, Clone, Copy, Args)]
pub struct RecentArgs {
    /// At most this many rows, newest first; 0 = all
    #[arg(long, default_value_t = RECENT_ROWS, value_name = "N")]
    pub limit: usize,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Rows of lists that grow without end, unless `--limit` says otherwise: a few screens.
pub const RECENT_ROWS: usize = 100;
