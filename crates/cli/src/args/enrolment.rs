//! `drydock enrolment`.

use clap::{Args, Subcommand};

use super::{ListArgs, Output};
use crate::text::{parse_duration, parse_pair};

/// `drydock enrolment`.
#[derive(Debug, Subcommand)]
pub enum EnrolmentCommand {
    /// Make an enrolment profile and print its token, once, with the command for the hosts
    Create(CreateProfileArgs),
    /// List enrolment profiles
    List(ListArgs),
    /// Show one enrolment profile
    Show(ProfileOutput),
    /// Put a profile into another compartment; hosts that enrol from then on land there
    Move(MoveProfileArgs),
    /// Stop a profile's token; hosts that it let in stay
    Revoke(ProfileArgs),
}

/// Arguments of `enrolment create`.
#[derive(Debug, Args)]
pub struct CreateProfileArgs {
    /// A name for people, such as "web servers"
    #[arg(long)]
    pub name: String,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
    /// The token stops working after this time, such as 24h; without it, never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expires_in: Option<u64>,
    /// How many hosts may enrol with it; without it, any number
    #[arg(long, value_name = "N")]
    pub max_uses: Option<u32>,
    /// Label for every host that enrols; repeat for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// Compartment for every host that enrols
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub compartment: String,
    /// Zone for every host that enrols
    #[arg(long, default_value = "")]
    pub zone: String,
    /// What becomes of the repository definitions that hosts bring along, once sources are attached
    #[arg(long, value_name = "MODE")]
    pub sources_mode: Option<super::instance::SourcesModeArg>,
    /// Lifecycle environment every host lands in
    #[arg(long, value_name = "ENVIRONMENT")]
    pub environment: Option<String>,
    /// Hosts are active at once; without it they wait for `drydock instance accept`
    #[arg(long)]
    pub auto_accept: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// One profile.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// Id of the enrolment profile
    #[arg(value_name = "PROFILE")]
    pub profile: drydock_domain::ids::ProfileId,
}

/// Arguments of `enrolment move`.
#[derive(Debug, Args)]
pub struct MoveProfileArgs {
    /// Id of the enrolment profile
    #[arg(value_name = "PROFILE")]
    pub profile: drydock_domain::ids::ProfileId,
    /// Path of the compartment, such as /A/web; / is the tenancy
    #[arg(long, value_name = "PATH")]
    pub to: String,
}

/// One profile, and a format.
#[derive(Debug, Args)]
pub struct ProfileOutput {
    /// Id of the enrolment profile
    #[arg(value_name = "PROFILE")]
    pub profile: drydock_domain::ids::ProfileId,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}
