//! `drydock source` and `drydock snapshot`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::{ListArgs, Output, RecentArgs};
use crate::text::parse_duration;

/// `drydock source`.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Make a software source: a mirror, a selection of other sources, or a place for uploads
    ///
    /// For example:
    ///   drydock source create ol9-base --rpm https://yum.example/ol9/baseos/x86_64/ --key-file RPM-GPG-KEY --sync
    ///   drydock source create bookworm --deb http://deb.example/debian --suite bookworm --component main --key-file debian.asc
    ///   drydock source create web --from ol9-base --include nginx --include 'nginx-*' --newest 1
    ///   drydock source create inhouse --local rpm
    #[command(verbatim_doc_comment)]
    Create(Box<CreateSourceArgs>),
    /// Replace a source's settings by those of a file (`source show -o yaml` prints them)
    Edit(EditSourceArgs),
    /// List software sources
    List(SourceListArgs),
    /// Show one software source
    Show(SourceOutput),
    /// Fetch what the upstream has now; follows it to its end
    Sync(SyncArgs),
    /// Add package files to a local source
    Upload(UploadArgs),
    /// List the packages of the newest snapshot
    Packages(SourcePackagesArgs),
    /// Remove a source and its snapshots; refused while something uses it
    Delete(SourceArgs),
    /// Put it into another compartment
    Move(super::calendar::MoveNamedArgs),
}

/// Arguments of `source create`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["rpm", "deb", "from", "local", "file"]))]
pub struct CreateSourceArgs {
    /// Name: a-z, 0-9, `.`, `_`, `-`; on hosts the repository is called drydock-NAME
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Mirror a yum repository: URL of the directory that holds repodata/; repeat for further mirrors of the same
    #[arg(long, value_name = "URL")]
    pub rpm: Vec<String>,
    /// Mirror an apt repository: URL of the directory that holds dists/; repeat for further mirrors of the same
    #[arg(long, value_name = "URL")]
    pub deb: Vec<String>,
    /// Take packages of these sources; repeat for several, the first wins
    #[arg(long, value_name = "SOURCE")]
    pub from: Vec<String>,
    /// A source that is filled by `drydock source upload`
    #[arg(long, value_name = "FORMAT")]
    pub local: Option<SourceFormat>,
    /// The whole specification, YAML or JSON; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["suite", "component", "key_file", "arch", "include", "exclude", "newest", "policy", "signatures"])]
    pub file: Option<PathBuf>,
    /// Suite or codename of an apt repository; ./ for a flat one
    #[arg(long, conflicts_with_all = ["rpm", "from", "local"])]
    pub suite: Option<String>,
    /// Component of an apt repository; repeat for several
    #[arg(long, conflicts_with_all = ["rpm", "from", "local"])]
    pub component: Vec<String>,
    /// Architecture to take; repeat for several
    #[arg(long)]
    pub arch: Vec<String>,
    /// File with the OpenPGP public key, ASCII-armoured, that signs metadata and packages; repeat for several
    #[arg(long, value_name = "FILE")]
    pub key_file: Vec<PathBuf>,
    /// How much of the upstream's signatures must be right; required for apt with keys, else optional
    #[arg(long)]
    pub signatures: Option<Signatures>,
    /// Hosts do not check package signatures of this source (rpm)
    #[arg(long)]
    pub no_gpgcheck: bool,
    /// When package files are fetched
    #[arg(long)]
    pub policy: Option<Policy>,
    /// Take packages with this name, `glob*` or `/regex/`; repeat for several
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Leave out packages with this name, `glob*` or `/regex/`; repeat for several
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Take only the newest N versions of each package
    #[arg(long, value_name = "N")]
    pub newest: Option<u32>,
    /// Sync by itself this often, such as 6h; without it, only when asked
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub every: Option<u64>,
    /// Source this one belongs to: it can be attached only where that one is
    #[arg(long, value_name = "SOURCE")]
    pub parent: Option<String>,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// File with the CA certificates of the upstream, PEM
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// File with the client certificate for the upstream, PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// File with its key, PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// Proxy towards the upstream, http://[user:password@]host:port
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Sync at once, and follow it to its end
    #[arg(long)]
    pub sync: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
    /// Compartment it is made in; without it, the tenancy
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
}

/// A family of repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceFormat {
    /// yum, dnf, zypper
    Rpm,
    /// apt
    Deb,
}

/// See the specification's `signatures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signatures {
    /// Metadata must be signed by one of the keys
    Required,
    /// Verified when a signature and a key are there
    Optional,
    /// Checksums only
    None,
}

/// See the specification's `policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// With the sync
    Immediate,
    /// When the first host asks
    OnDemand,
    /// Never through this server (rpm)
    MetadataOnly,
}

/// Arguments of `source edit`.
#[derive(Debug, Args)]
pub struct EditSourceArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The whole specification, YAML or JSON; secrets that it leaves out stay; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `source list`.
#[derive(Debug, Args)]
pub struct SourceListArgs {
    /// Only this format
    #[arg(long)]
    pub format_of: Option<SourceFormat>,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// One source.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
}

/// One source, and a format.
#[derive(Debug, Args)]
pub struct SourceOutput {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `source sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Print the content job and leave; it goes on by itself
    #[arg(long)]
    pub no_wait: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `source upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Package files, .rpm or .deb
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Arguments of `source packages`.
#[derive(Debug, Args)]
pub struct SourcePackagesArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// `drydock snapshot`.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List the snapshots of a source, newest first
    List(SnapshotListArgs),
    /// Show one snapshot with the oddities noted while it was made
    Show(SnapshotArgs),
    /// List the packages of a snapshot
    Packages(SnapshotPackagesArgs),
    /// Show what differs between two snapshots of a source
    Diff(DiffArgs),
}

/// Arguments of `snapshot list`.
#[derive(Debug, Args)]
pub struct SnapshotListArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// One snapshot, and a format.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Its number or id, `latest`, `as-of:TIME`, or the name of an environment
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `snapshot packages`.
#[derive(Debug, Args)]
pub struct SnapshotPackagesArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Its number or id, `latest`, `as-of:TIME`, or the name of an environment
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `snapshot diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name of the source
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The older snapshot: number, id, `latest`, `as-of:TIME`, or the name of an environment
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The newer snapshot
    #[arg(value_name = "TO", default_value = "latest")]
    pub to: String,
    /// At most this many changes
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub limit: usize,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// `drydock environment`.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// Make a lifecycle environment
    Create(CreateEnvironmentArgs),
    /// List environments in the order of promotion
    List(ListArgs),
    /// Show one environment: which snapshot of each source its hosts see
    Show(EnvironmentOutput),
    /// Move an environment to other snapshots; --dry-run shows what would change for which hosts
    Promote(PromoteArgs),
    /// List the moves of an environment's pointers, newest first
    History(EnvironmentHistoryArgs),
    /// Attach sources to every host of an environment
    Attach(EnvironmentSourcesArgs),
    /// Detach sources from every host of an environment
    Detach(EnvironmentSourcesArgs),
    /// Remove an environment that no host is in
    Delete(EnvironmentArgs),
    /// Put it into another compartment
    Move(super::calendar::MoveNamedArgs),
}

/// Arguments of `environment create`.
#[derive(Debug, Args)]
pub struct CreateEnvironmentArgs {
    /// Name: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Promotion goes from lower to higher ranks
    #[arg(long)]
    pub rank: u32,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// Compartment it is made in; without it, the tenancy
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
}

/// One environment.
#[derive(Debug, Args)]
pub struct EnvironmentArgs {
    /// Name of the environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: String,
}

/// One environment, and a format.
#[derive(Debug, Args)]
pub struct EnvironmentOutput {
    /// Name of the environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `environment promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Name of the environment whose pointers move
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Source to promote; repeat for several; without it, every source that the environment below has
    #[arg(long = "source", value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// This snapshot (number or id) of the one source
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["as_of", "rollback"])]
    pub snapshot: Option<String>,
    /// The newest snapshots at that time, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "rollback")]
    pub as_of: Option<Timestamp>,
    /// Back to the snapshots before the present ones
    #[arg(long)]
    pub rollback: bool,
    /// Also snapshots that the environment below never had
    #[arg(long)]
    pub skip_rank: bool,
    /// Show what would change; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `environment history`.
#[derive(Debug, Args)]
pub struct EnvironmentHistoryArgs {
    /// Name of the environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `environment attach` and `detach`.
#[derive(Debug, Args)]
pub struct EnvironmentSourcesArgs {
    /// Name of the environment
    #[arg(value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Names of the sources
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
}

/// `drydock job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List content jobs (syncs, uploads, collections), newest first
    List(JobListArgs),
    /// Show one content job
    Show(JobShowArgs),
    /// Stop a content job; what it had not finished leaves nothing behind
    Cancel(JobArgs),
}

/// Arguments of `job list`.
#[derive(Debug, Args)]
pub struct JobListArgs {
    /// Only jobs of this source
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `job show`.
#[derive(Debug, Args)]
pub struct JobShowArgs {
    /// Id of the content job
    #[arg(value_name = "JOB")]
    pub job: drydock_domain::ids::ContentJobId,
    /// Follow it to its end
    #[arg(long)]
    pub follow: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// One content job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Id of the content job
    #[arg(value_name = "JOB")]
    pub job: drydock_domain::ids::ContentJobId,
}

/// `drydock content`.
#[derive(Debug, Subcommand)]
pub enum ContentCommand {
    /// Free what no snapshot and no environment refers to
    Collect(CollectArgs),
    /// Show the keys that sign this server's repositories, or take one step of their rotation
    ///
    /// In this order, with days between them: `prepare` makes a new key and tells every host, `switch` signs with it,
    /// `retire` forgets the old one.
    Keys(KeysArgs),
}

/// Arguments of `content keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The step
    #[arg(value_name = "STEP")]
    pub step: Option<KeyStep>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// A step of the rotation of repository keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyStep {
    /// Make a new key and tell every host
    Prepare,
    /// Sign with the new key
    Switch,
    /// Forget the old key
    Retire,
}

impl KeyStep {
    /// The verb's path.
    pub fn path(self) -> &'static str {
        match self {
            KeyStep::Prepare => "repository-keys:prepare",
            KeyStep::Switch => "repository-keys:switch",
            KeyStep::Retire => "repository-keys:retire",
        }
    }
}

/// Arguments of `content collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Say what would be freed, and why other things are kept; free nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}
