//! The flags of `drydock policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;
use crate::text::parse_pair;

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
