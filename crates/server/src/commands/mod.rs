//! The command line of `drydockd`: reads arguments and configuration, calls the library, prints for people.

mod admin_token;
mod airgap;
mod backup;
mod config;
mod serve;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use drydock_control::SnapshotName;
use drydock_domain::access::Role;

use crate::backup::Portion;
use crate::config::{DEFAULT_CONFIG_PATH, Inputs, Settings};

/// The server of Drydock: patches and inventory of Linux fleets.
#[derive(Debug, Parser)]
#[command(name = "drydockd", version, max_term_width = 120)]
pub struct Cli {
    /// Configuration file.
    #[arg(long, global = true, env = "DRYDOCK_CONFIG", default_value = DEFAULT_CONFIG_PATH, value_name = "FILE")]
    pub config: PathBuf,
    /// Print the complete configuration in force and exit.
    #[arg(long)]
    pub print_config: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What goes over the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// Data directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address and port, instead of the configured ones.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
}

/// Sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make configuration, CA, keys and database, and show the administrator's token once.
    Init {
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// A DNS name or IP address by which hosts and people reach this server; repeat for more.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Serve until SIGTERM. Without a configuration this does the first run as `init` does.
    Serve {
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Check the configuration and say what is wrong with it.
    CheckConfig,
    /// Copy database, keys, configuration and the snapshots of software sources into one file while the server works.
    Backup {
        /// Also copy package files: as large as the content directory.
        #[arg(long)]
        packages: bool,
        /// Copy nothing of the content directory.
        #[arg(long, conflicts_with = "packages")]
        no_content: bool,
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// The new file. It holds the CA's key: keep it where keys are kept.
        file: PathBuf,
    },
    /// Bring a backup back into an empty data directory.
    Restore {
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// The backup.
        file: PathBuf,
    },
    /// Write snapshots of software sources where a server without a network can import them, while the server works.
    Export {
        /// A source, or one of its snapshots: SOURCE@NUMBER, SOURCE@ENVIRONMENT, SOURCE@as-of:TIME; repeat for more.
        #[arg(long = "source", required = true, value_name = "SOURCE[@SNAPSHOT]")]
        sources: Vec<SnapshotName>,
        /// Leave out what this snapshot has: the other server has imported it.
        #[arg(long, value_name = "SOURCE@SNAPSHOT")]
        since: Vec<SnapshotName>,
        /// With package files, as far as they are here.
        #[arg(long)]
        packages: bool,
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// The new directory, or the new file when it ends in .tar.
        out: PathBuf,
    },
    /// Take in what `export` wrote on another server, while the server works.
    Import {
        /// File with the repository key of the other server (its `export` shows it); repeat for more.
        #[arg(long = "key", required = true, value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Make sources that are not here, as local sources.
        #[arg(long)]
        create: bool,
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// The directory or the .tar file.
        from: PathBuf,
    },
    /// Make a new access token straight in the database, for who is locked out.
    AdminToken {
        /// What goes over the configuration.
        #[command(flatten)]
        overrides: Overrides,
        /// What the token may do: administrator, operator or viewer.
        #[arg(long, default_value = "administrator", value_parser = role)]
        role: Role,
        /// Whose it is.
        #[arg(long, default_value = "recovered", value_name = "NAME")]
        name: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "administrator, operator or viewer".to_owned())
}

/// Runs one command.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    if cli.print_config {
        print!("{}", load(&cli.config, &Overrides::default())?.to_toml());
        return Ok(());
    }
    match cli.command.unwrap_or(Command::Serve { overrides: Overrides::default() }) {
        Command::Init { overrides, names } => config::init(&cli.config, &overrides, &names),
        Command::Serve { overrides } => serve::serve(&cli.config, &overrides),
        Command::CheckConfig => config::check(&cli.config),
        Command::Backup { overrides, packages, no_content, file } => {
            let portion = if packages { Portion::Everything } else { Portion::Snapshots };
            backup::backup(&cli.config, &overrides, (!no_content).then_some(portion), &file)
        }
        Command::Restore { overrides, file } => backup::restore(&cli.config, &overrides, &file),
        Command::Export { sources, since, packages, overrides, out } => {
            airgap::export(&cli.config, &overrides, airgap::Wanted { sources, since, packages }, &out)
        }
        Command::Import { keys, create, overrides, from } => airgap::import(&cli.config, &overrides, &keys, create, &from),
        Command::AdminToken { overrides, role, name } => admin_token::admin_token(&cli.config, &overrides, role, &name),
    }
}

/// The checked configuration: file, then command line.
fn load(config: &Path, overrides: &Overrides) -> anyhow::Result<Settings> {
    settings(crate::config::read(config)?, overrides).with_context(|| format!("the configuration {}", config.display()))
}

/// As [`load`], with the defaults when there is no file.
fn load_or_default(config: &Path, overrides: &Overrides) -> anyhow::Result<Settings> {
    if config.exists() { load(config, overrides) } else { settings(Default::default(), overrides) }
}

fn settings(fragment: crate::config::fragment::Fragment, overrides: &Overrides) -> anyhow::Result<Settings> {
    let data_dir = overrides.data_dir.as_deref().map(std::path::absolute).transpose()?;
    let inputs = Inputs::from_fragment(fragment).override_with(data_dir, overrides.listen.clone());
    Ok(Settings::from_inputs(inputs)?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
