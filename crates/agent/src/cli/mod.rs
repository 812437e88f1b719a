//! The command line. Exit codes: 0 done; 1 failed; 2 wrong usage (clap); `status` has its own, see there.

mod enrol;
mod inventory;
mod status;
mod token;
mod unregister;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::identity::Identity;
use crate::link::address::{Proxy, ServerAddress};
use crate::link::channel::Target;
use crate::link::tls;
use crate::paths::Paths;

/// The Drydock agent: keeps this host's inventory at the server and runs its patch tasks.
#[derive(Debug, Parser)]
#[command(name = "drydock-agent", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

/// Where the agent keeps its things; the defaults are right for an installed agent.
#[derive(Debug, Args)]
struct Places {
    /// All paths below this directory instead of /
    #[arg(long, global = true, env = "DRYDOCK_AGENT_ROOT", value_name = "DIR", hide_short_help = true)]
    root_dir: Option<PathBuf>,
    /// Directory for keys, certificates and the ledger
    #[arg(long, global = true, env = "DRYDOCK_AGENT_STATE", value_name = "DIR", hide_short_help = true)]
    state_dir: Option<PathBuf>,
    /// Configuration file
    #[arg(long, global = true, env = "DRYDOCK_AGENT_CONFIG", value_name = "FILE", hide_short_help = true)]
    config: Option<PathBuf>,
    /// Local status socket
    #[arg(long, global = true, env = "DRYDOCK_AGENT_SOCKET", value_name = "FILE", hide_short_help = true)]
    socket: Option<PathBuf>,
    /// Log file
    #[arg(long, global = true, env = "DRYDOCK_AGENT_LOG", value_name = "FILE", hide_short_help = true)]
    log_file: Option<PathBuf>,
}

impl Places {
    fn paths(self) -> Paths {
        let standard = Paths::below(&self.root_dir.unwrap_or_else(|| PathBuf::from("/")));
        Paths {
            root: standard.root,
            config: self.config.unwrap_or(standard.config),
            state: self.state_dir.unwrap_or(standard.state),
            socket: self.socket.unwrap_or(standard.socket),
            log: self.log_file.unwrap_or(standard.log),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this host a managed instance of a server
    Enrol(enrol::Enrol),
    /// Run as the daemon
    Run,
    /// Show what the running agent is doing
    Status(status::ShowStatus),
    /// Leave the server and remove every trace of the agent but its package
    Unregister(unregister::Unregister),
    /// Print an access token by which programs on this host ask the server in the host's name
    Token(token::Token),
    /// Print what would be reported; changes nothing
    Inventory(inventory::ShowInventory),
    /// Run one command of a task apart from the agent
    #[command(hide = true)]
    Supervise {
        /// Leave the session of the caller first
        #[arg(long)]
        detach: bool,
        /// Directory with spec.json
        dir: PathBuf,
    },
    /// Make the host's repositories what the kept sources document says
    #[command(hide = true)]
    ApplySources,
    /// Keep this host as its kept policies say
    #[command(hide = true)]
    KeepPolicies {
        /// Leave the session of the caller first
        #[arg(long)]
        detach: bool,
    },
    /// Print the version
    Version,
}

/// How a command reaches the host's server, with the host's certificate.
fn target(paths: &Paths, identity: &Identity) -> anyhow::Result<Target> {
    let server = ServerAddress::parse(&identity.instance.server).map_err(anyhow::Error::msg)?;
    let configured = Config::read(&paths.config).ok().and_then(|c| c.proxy);
    let proxy = Proxy::choose(configured.as_deref(), &server, |k| std::env::var(k).ok()).map_err(anyhow::Error::msg)?;
    Ok(Target { server, proxy, tls: tls::mutual(identity)? })
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let paths = cli.places.paths();
    let done = match cli.command {
        Command::Enrol(command) => command.run(&paths).map(|()| ExitCode::SUCCESS),
        Command::Run => crate::daemon::run(paths).map(|()| ExitCode::SUCCESS),
        Command::Status(command) => command.run(&paths),
        Command::Unregister(command) => command.run(&paths).map(|()| ExitCode::SUCCESS),
        Command::Token(command) => command.run(&paths).map(|()| ExitCode::SUCCESS),
        Command::Inventory(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Supervise { detach, dir } => crate::supervise::main(&dir, detach).map(|()| ExitCode::SUCCESS),
        Command::ApplySources => crate::sources::site::apply_now(&paths).map(|()| ExitCode::SUCCESS),
        Command::KeepPolicies { detach: true } => crate::policy::ward::detach(&paths).map(|()| ExitCode::SUCCESS),
        Command::KeepPolicies { detach: false } => crate::policy::keeper::run(&paths).map(|()| ExitCode::SUCCESS),
        Command::Version => {
            println!("drydock-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|e| {
        eprintln!("drydock-agent: {e:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_path_can_be_moved() {
        let cli = Cli::parse_from(["drydock-agent", "--root-dir", "/r", "run", "--state-dir", "/s"]);
        let paths = cli.places.paths();
        assert_eq!(paths.config, PathBuf::from("/r/etc/drydock-agent/agent.toml"));
        assert_eq!(paths.key(), PathBuf::from("/s/key.pem"));
    }
}
