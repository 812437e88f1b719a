//! `drydock instance`.

use clap::{Args, Subcommand};

use super::{ListArgs, Output, RecentArgs};
use crate::text::{Moment, parse_pair};

/// `drydock instance`.
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// List instances
    List(InstanceListArgs),
    /// Show one instance: facts, updates, why it wants a reboot
    Show(HostOutput),
    /// List the packages installed on an instance
    Packages(PackagesArgs),
    /// Show what changed in the packages of an instance between two times
    Diff(PackageDiffArgs),
    /// List the updates available to an instance
    ///
    /// For a host that sees sources of this server, the server answers from their snapshots; for any other, its own package
    /// manager.
    Updates(HostOutput),
    /// List the advisories that an instance needs, worst first
    Advisories(super::advisory::HostListArgs),
    /// List the vulnerabilities that are open on an instance
    Vulnerabilities(super::advisory::HostVulnerabilitiesArgs),
    /// Print what is installed on an instance as a CycloneDX 1.6 bill of materials
    ///
    /// JSON, unless yaml is asked for.
    Sbom(HostOutput),
    /// Print the vulnerabilities that are open on an instance as CycloneDX 1.6 VEX
    ///
    /// It refers to the packages in the instance's bill of materials. JSON, unless yaml is asked for.
    Vex(HostOutput),
    /// List module streams (dnf 4): what the managed sources of an instance offer, and what is enabled on it
    Modules(ModulesArgs),
    /// Show the holds, locks, excludes, pins and module streams in an instance's own configuration
    Rules(HostOutput),
    /// List what happened to an instance, newest first
    History(HistoryArgs),
    /// Show or change where an instance gets its packages from
    ///
    /// Without options it shows the sources, the environment and what the host said of them.
    Sources(InstanceSourcesArgs),
    /// Change labels and zone
    Edit(EditArgs),
    /// Let pending instances in
    Accept(HostsArgs),
    /// Refuse a pending instance
    Reject(RejectArgs),
    /// End an instance's access at once; its agent must enrol again
    Revoke(HostsArgs),
    /// Put instances into another compartment, where other statements hold
    Move(MoveArgs),
    /// Forget an instance and its history
    Delete(HostsArgs),
}

/// Arguments of `instance list`.
#[derive(Debug, Args)]
pub struct InstanceListArgs {
    /// Only this state: pending, active, rejected or revoked
    #[arg(long, value_name = "STATE", value_parser = super::instance::state)]
    pub state: Option<String>,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Only instances with this label; repeat to ask for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// Only this zone
    #[arg(long)]
    pub zone: Option<String>,
    /// Only in this compartment and below, such as /A
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
    /// Only instances that match this filter, such as 'package openssl < 3.0.14 and label env=prod' (docs/filters.md)
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Reads an instance state in any case.
pub(crate) fn state(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    match drydock_domain::instance::InstanceState::parse(&upper) {
        Some(_) => Ok(upper),
        None => Err("expected pending, active, rejected or revoked".to_owned()),
    }
}

/// Arguments of `instance modules`.
#[derive(Debug, Args)]
pub struct ModulesArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Only modules whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// One host, and a format.
#[derive(Debug, Args)]
pub struct HostOutput {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// One or more hosts.
#[derive(Debug, Args)]
pub struct HostsArgs {
    /// Names or ids of the instances
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
}

/// Arguments of `instance move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Names or ids of the instances
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Path of the compartment, such as /A/web; / is the tenancy
    #[arg(long, value_name = "PATH")]
    pub to: String,
}

/// Arguments of `instance packages`.
#[derive(Debug, Args)]
pub struct PackagesArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Only names that contain this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// As of this time: 2026-11-19T22:00:00Z, 2026-11-19, or 36h or 7d ago
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Moment>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `instance diff`.
#[derive(Debug, Args)]
pub struct PackageDiffArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Earlier time: 2026-11-19T22:00:00Z, 2026-11-19, or 36h or 7d ago
    #[arg(long, value_name = "TIME")]
    pub from: Moment,
    /// Later time; now when absent
    #[arg(long, value_name = "TIME")]
    pub to: Option<Moment>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `instance history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `instance sources`.
#[derive(Debug, Args)]
pub struct InstanceSourcesArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Attach this source; repeat for several
    #[arg(long, value_name = "SOURCE")]
    pub attach: Vec<String>,
    /// Detach this source; repeat for several
    #[arg(long, value_name = "SOURCE")]
    pub detach: Vec<String>,
    /// What becomes of the repository definitions the host had before
    #[arg(long)]
    pub mode: Option<SourcesModeArg>,
    /// See the snapshots of this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    pub environment: Option<String>,
    /// See the newest snapshots
    #[arg(long, conflicts_with = "environment")]
    pub no_environment: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// What becomes of the repository definitions a host had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SourcesModeArg {
    /// They stay
    Additive,
    /// They are set aside as `*.drydock-backup` and come back at `drydock-agent unregister`
    Exclusive,
}

impl From<SourcesModeArg> for drydock_domain::source::host::SourcesMode {
    fn from(mode: SourcesModeArg) -> Self {
        match mode {
            SourcesModeArg::Additive => Self::Additive,
            SourcesModeArg::Exclusive => Self::Exclusive,
        }
    }
}

/// Arguments of `instance edit`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["labels", "remove_labels", "zone"]))]
pub struct EditArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Set this label; others stay
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// Remove the label with this key
    #[arg(long = "remove-label", value_name = "KEY")]
    pub remove_labels: Vec<String>,
    /// Set the zone
    #[arg(long)]
    pub zone: Option<String>,
}

/// Arguments of `instance reject`.
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Told to the operator of the host
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub reason: String,
}
