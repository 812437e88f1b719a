//! The flags of `drydock policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drydock_domain::ids::PreviewId;
use drydock_domain::patch::spec::Concurrency;

use super::health::HealthArgs;
use super::{ListArgs, Output, RecentArgs};
use crate::text::{parse_duration, parse_pair};

/// `drydock policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read policy documents and say what is wrong, with file, line, column and path; needs no server
    ///
    /// A document is an assignment or a bare policy in Google's form (YAML or JSON, several in one file), with Drydock's
    /// additions. A directory stands for its .yaml, .yml and .json files. The exit code is 2 when anything is wrong.
    Check(CheckArgs),
    /// Say what one host would get of the documents, in order, and where they contradict each other; needs no server
    ///
    /// Examples:
    ///   drydock policy resolve policies/ --os debian:12 --label env=prod
    ///   drydock policy resolve web.yaml --os rhel:8.10 --in-group web -o json
    Resolve(ResolveArgs),
    /// Give assignments to the server, new ones and changed ones; hosts get them as fast as their rollout says
    ///
    /// Everything is read and checked before anything is sent. An assignment that is unchanged stays as it is. A bare policy
    /// needs --all, --in-group, --in-environment or --with-label: it becomes an assignment of its own id.
    ///
    /// Examples:
    ///   drydock policy apply web.yaml --dry-run
    ///   drydock policy apply policies/ --reason 'ticket 4711' --wait
    ///   drydock policy apply motd-policy.yaml --with-label env=prod --disruption-budget 10% --min-wait 5m
    #[command(verbatim_doc_comment)]
    Apply(Box<ApplyArgs>),
    /// Say what documents would change on which host: hosts check, nothing is repaired
    ///
    /// Hosts that are off are answered for by their inventory where that suffices (packages by name). With --id an earlier
    /// preview is read again; the server keeps it for a while.
    Preview(Box<PreviewArgs>),
    /// List assignments with their rollouts and compliance
    List(ListArgs),
    /// Show one assignment: its rollout, and every host with its hold or state
    Show(ShowAssignmentArgs),
    /// List the revisions of an assignment, newest first
    Revisions(RevisionsArgs),
    /// Show what two revisions of an assignment differ in: the newest and the one before, unless they are named
    Diff(DiffArgs),
    /// Take an assignment away from its hosts, as fast as its rollout says; then it is gone
    ///
    /// Hosts stay as they are, but for resources with onUnassign: REMOVE, which are taken back.
    Delete(DeleteAssignmentArgs),
    /// Put it into another compartment
    Move(super::calendar::MoveNamedArgs),
    /// End a rollout: hosts that have the revision keep it, the others keep what they had
    Cancel(AssignmentArgs),
    /// Go on with a rollout that halted; hosts that are not compliant up to now count no more
    Resume(AssignmentArgs),
    /// Let hosts check all their policies now, and begin anew to repair what flaps
    CheckNow(CheckNowArgs),
}

/// One assignment.
#[derive(Debug, Args)]
pub struct AssignmentArgs {
    /// Name of the assignment
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Arguments of `policy apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Files and directories; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The assignment's name, instead of the document's; for one document
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Path of the compartment new assignments are made in, such as /A: only hosts there and below [default: /, or the one
    /// topmost in which you may]
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
    /// Follow the rollouts until they end; Ctrl-C leaves, they go on
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// For which hosts bare policies are.
    #[command(flatten)]
    pub bare: BareArgs,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// For which hosts a bare policy is, and how fast it comes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Bare policies")]
pub struct BareArgs {
    /// For every host
    #[arg(long, conflicts_with_all = ["in_groups", "in_environments", "with_labels"])]
    pub all: bool,
    /// For hosts in this group; repeated: in any of them
    #[arg(long = "in-group", value_name = "NAME")]
    pub in_groups: Vec<String>,
    /// For hosts that look through this lifecycle environment; repeated: through any of them
    #[arg(long = "in-environment", value_name = "NAME")]
    pub in_environments: Vec<String>,
    /// For hosts with this label; repeated: with all of them
    #[arg(long = "with-label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub with_labels: Vec<(String, String)>,
    /// Hosts at once in each zone, such as 5 or 10%; without it, all
    #[arg(long, value_name = "N|N%", value_parser = super::spec::concurrency)]
    pub disruption_budget: Option<Concurrency>,
    /// A host keeps its place at least this long after it has the policy; without it, not at all
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub min_wait: Option<u64>,
    /// What each host checks once it has the policy.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// Arguments of `policy preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// One document: a file, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "id")]
    pub path: Option<PathBuf>,
    /// The assignment's name, instead of the document's: it is compared with the others as if it stood in the place of this one
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    pub name: Option<String>,
    /// Read this preview again
    #[arg(long, value_name = "PREVIEW", conflicts_with = "path")]
    pub id: Option<PreviewId>,
    /// Wait so long for hosts that have not answered
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "1m")]
    pub wait_secs: u64,
    /// Only hosts on which something would change
    #[arg(long)]
    pub changes: bool,
    /// For which hosts a bare policy is.
    #[command(flatten)]
    pub bare: BareArgs,
    /// Format; json, yaml and csv have a row for each host.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `policy show`.
#[derive(Debug, Args)]
pub struct ShowAssignmentArgs {
    /// Name of the assignment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Follow the rollout until it ends, then show it
    #[arg(long, visible_alias = "follow")]
    pub watch: bool,
    /// Print the document, as it could be applied again (YAML, or JSON with -o json)
    #[arg(long)]
    pub document: bool,
    /// At most this many hosts; 0 = all
    #[arg(long, default_value_t = super::RECENT_ROWS, value_name = "N")]
    pub limit: usize,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `policy revisions`.
#[derive(Debug, Args)]
pub struct RevisionsArgs {
    /// Name of the assignment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name of the assignment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The older revision; alone: compared with the newest
    #[arg(value_name = "REV")]
    pub from: Option<u64>,
    /// The newer revision
    #[arg(value_name = "REV")]
    pub to: Option<u64>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `policy delete`.
#[derive(Debug, Args)]
pub struct DeleteAssignmentArgs {
    /// Name of the assignment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Follow until it is gone from every host
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `policy check-now`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["hosts", "groups", "assignment"]))]
pub struct CheckNowArgs {
    /// This host (name or id); repeat for several
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Hosts in this group; repeat for several
    #[arg(long = "group", visible_alias = "in-group", value_name = "NAME")]
    pub groups: Vec<String>,
    /// Hosts of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Wait until they have done it, and say how they stand; the exit code is 1 when one is not compliant
    #[arg(long)]
    pub wait: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files and directories; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Arguments of `policy resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// Files and directories; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The host's system and version, as its inventory names them
    #[arg(long, value_name = "NAME[:VERSION]")]
    pub os: String,
    /// A label of the host; repeated: all of them
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// The group it is in
    #[arg(long = "in-group", value_name = "NAME")]
    pub group: Option<String>,
    /// The lifecycle environment it looks through
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Its name, for templates
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Its hostname, for templates
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Its architecture, for templates
    #[arg(long, value_name = "ARCH")]
    pub architecture: Option<String>,
    /// Its zone, for templates
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// How the answer is printed.
    #[command(flatten)]
    pub output: Output,
}
