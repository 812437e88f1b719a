//! The flags of `drydock access check` and `drydock access test`.

use std::path::PathBuf;

use clap::Args;

use super::Output;

/// Arguments of `access check`.
#[derive(Debug, Args)]
pub struct CheckStatementsArgs {
    /// Files of statements; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Arguments of `access test`.
#[derive(Debug, Args)]
pub struct TestAccessArgs {
    /// The permission that is asked for, such as DRYDOCK_INSTANCE_UPDATE; several: all are needed. The resource may stand
    /// behind them: /A or instance/web-1
    #[arg(required = true, value_name = "PERMISSION")]
    pub permissions: Vec<String>,
    /// A file of statements; repeated: all of them together
    #[arg(long, value_name = "FILE", requires = "facts")]
    pub policies: Vec<PathBuf>,
    /// Who asks, where and when: a YAML or JSON file
    #[arg(long, value_name = "FILE", requires = "policies")]
    pub facts: Option<PathBuf>,
    /// The user or service account that is asked about, or instance/NAME; without it, you
    #[arg(long = "as", value_name = "USER", conflicts_with = "facts")]
    pub as_user: Option<String>,
    /// Path of a compartment, or TYPE/NAME of a thing, such as instance/web-1; without it, the tenancy
    #[arg(long, value_name = "RESOURCE", conflicts_with = "facts")]
    pub resource: Option<String>,
    /// How the answer is printed.
    #[command(flatten)]
    pub output: Output,
}
