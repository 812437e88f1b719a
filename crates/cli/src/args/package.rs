//! `drydock package`.

use clap::{Args, Subcommand};

use super::ListArgs;
use crate::text::Moment;

/// `drydock package`.
#[derive(Debug, Subcommand)]
pub enum PackageCommand {
    /// List the packages of the fleet by version, with the number of hosts that have each
    ///
    /// Counts what active instances have now, or with --as-of what every instance there still is had then.
    List(PackageListArgs),
    /// List which hosts had a package when
    ///
    /// Times are those at which a host reported the change. The history goes back 400 days at most; a time marked with
    /// `<=` is where a host's history begins, and it may have had the package before.
    WhoHad(WhoHadArgs),
}

/// Arguments of `package list`.
#[derive(Debug, Args)]
pub struct PackageListArgs {
    /// Only names that contain this
    #[arg(value_name = "TEXT")]
    pub name: Option<String>,
    /// As of this time: 2026-11-19T22:00:00Z, 2026-11-19, or 36h or 7d ago
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Moment>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Arguments of `package who-had`.
#[derive(Debug, Args)]
pub struct WhoHadArgs {
    /// Name of the package
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only this version, or bounds such as '<3.0.14' or '>=3.0,<3.0.14'
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Only this architecture
    #[arg(long)]
    pub arch: Option<String>,
    /// From this time on: 2026-11-19T22:00:00Z, 2026-11-19, or 36h or 7d ago
    #[arg(long, value_name = "TIME")]
    pub from: Option<Moment>,
    /// Up to this time; now when absent
    #[arg(long, value_name = "TIME")]
    pub to: Option<Moment>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}
