//! The flags that make a patch job's spec, field by field. Windows settings are reached by `--file` only: no agent
//! reads them yet.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use drydock_domain::patch::modules::ModuleChange;
use drydock_domain::patch::operation::UpdateType;
use drydock_domain::patch::spec::{Concurrency, RebootConfig};

use super::health::HealthArgs;
use super::rollout::RolloutArgs;
use crate::text::{parse_duration, parse_pair};

/// A patch job in flags.
#[derive(Debug, Default, Args)]
pub struct SpecArgs {
    /// The job's spec as YAML or JSON (- reads standard input); a flag may add to it, never change what it says
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Name of the job, for people
    #[arg(long)]
    pub name: Option<String>,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}

/// What a job does and where, in flags; jobs of patch deployments have the same ones.
#[derive(Debug, Default, Args)]
pub struct JobArgs {
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// The job ends after this time, such as 2h: hosts start no further step; without it, when every host is done
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<u64>,
    /// How many hosts at once: a number, or a share of the hosts such as 20%; without it, all
    #[arg(long, value_name = "N|N%", value_parser = concurrency)]
    pub concurrency: Option<Concurrency>,
    /// When hosts reboot
    #[arg(long, value_enum)]
    pub reboot: Option<Reboot>,
    /// A repository that cannot be refreshed fails the host instead of being reported
    #[arg(long)]
    pub strict_repositories: bool,
    /// Which hosts.
    #[command(flatten)]
    pub hosts: HostArgs,
    /// In which order.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// Which updates.
    #[command(flatten)]
    pub updates: UpdateArgs,
    /// Named packages instead.
    #[command(flatten)]
    pub packages: PackageArgs,
    /// Before patching.
    #[command(flatten)]
    pub pre: PreArgs,
    /// After patching.
    #[command(flatten)]
    pub post: PostArgs,
    /// At the very end.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// Which hosts: different flags narrow the choice, the same flag repeated widens it (except --label).
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Hosts")]
pub struct HostArgs {
    /// Every active instance
    #[arg(long, conflicts_with_all = ["labels", "groups", "zones", "instances", "name_prefixes", "in_groups", "filter"])]
    pub all: bool,
    /// Instances with this label; repeated: with all of them
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair, conflicts_with = "groups")]
    pub labels: Vec<(String, String)>,
    /// Instances with all these labels; repeated: that match any of the groups
    #[arg(long = "group", value_name = "KEY=VALUE,…", value_parser = group)]
    pub groups: Vec<LabelGroup>,
    /// Instances in this zone; repeated: in any of them
    #[arg(long = "zone", value_name = "ZONE")]
    pub zones: Vec<String>,
    /// This instance, by name or id; repeated: any of them
    #[arg(long = "instance", value_name = "HOST")]
    pub instances: Vec<String>,
    /// Instances whose name starts so; repeated: with any of them
    #[arg(long = "name-prefix", value_name = "TEXT")]
    pub name_prefixes: Vec<String>,
    /// Members of this managed instance group (`drydock group`); repeated: of any of them
    #[arg(long = "in-group", value_name = "GROUP")]
    pub in_groups: Vec<String>,
    /// Instances that match this filter when the job begins, such as 'package openssl < 3.0.14 and os.version = 8*'
    /// (docs/filters.md; see whom it matches: drydock instance list --filter)
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Path of the compartment it is made in, such as /A: only hosts there and below [default: /, or the one topmost in which
    /// you may]
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
}

/// Which updates are taken.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Updates")]
pub struct UpdateArgs {
    /// Only security updates, on every kind of host
    #[arg(long)]
    pub security: bool,
    /// Leave these packages alone, on every kind of host: a name, a glob such as linux-*, or /regex/
    #[arg(long = "exclude", value_name = "PATTERN")]
    pub excludes: Vec<String>,
    /// Only versions that the server first saw at least so many days ago, such as 7d; an older version that has soaked comes
    /// in the place of a younger one
    #[arg(long, value_name = "DAYS", value_parser = soak_days)]
    pub soak: Option<u32>,
    /// With --soak: security updates need not soak
    #[arg(long, requires = "soak")]
    pub soak_except_security: bool,
    /// apt: dist-upgrade, which may install and remove other packages
    #[arg(long)]
    pub apt_dist: bool,
    /// apt: only updates from a security archive
    #[arg(long)]
    pub apt_security: bool,
    /// apt: leave these packages alone
    #[arg(long = "apt-exclude", value_name = "PATTERN")]
    pub apt_excludes: Vec<String>,
    /// apt: update only these packages
    #[arg(long = "apt-exclusive", value_name = "PACKAGE")]
    pub apt_exclusive: Vec<String>,
    /// yum and dnf: only updates that an advisory calls security
    #[arg(long)]
    pub yum_security: bool,
    /// yum and dnf: the lowest version that closes the advisory, not the newest
    #[arg(long)]
    pub yum_minimal: bool,
    /// yum and dnf: leave these packages alone
    #[arg(long = "yum-exclude", value_name = "PATTERN")]
    pub yum_excludes: Vec<String>,
    /// yum and dnf: update only these packages
    #[arg(long = "yum-exclusive", value_name = "PACKAGE")]
    pub yum_exclusive: Vec<String>,
    /// zypper: also optional patches
    #[arg(long)]
    pub zypper_optional: bool,
    /// zypper: also package updates that no patch names
    #[arg(long)]
    pub zypper_update: bool,
    /// zypper: only patches of this category, such as security or recommended
    #[arg(long = "zypper-category", value_name = "WORD")]
    pub zypper_categories: Vec<String>,
    /// zypper: only patches of this severity, such as critical or important
    #[arg(long = "zypper-severity", value_name = "WORD")]
    pub zypper_severities: Vec<String>,
    /// zypper: leave these patches (and packages of --zypper-update) alone
    #[arg(long = "zypper-exclude", value_name = "PATTERN")]
    pub zypper_excludes: Vec<String>,
    /// zypper: install only these patches
    #[arg(long = "zypper-exclusive", value_name = "PATCH")]
    pub zypper_exclusive: Vec<String>,
}

/// Named packages instead of general updates, and what is done with the plan.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Packages")]
pub struct PackageArgs {
    /// Install this package, and do nothing but what these flags name: name, name.arch (rpm) or name:arch (deb), each with =VERSION for an exact one
    #[arg(long, value_name = "PACKAGE")]
    pub install: Vec<String>,
    /// Remove this package, with what depends on it
    #[arg(long, value_name = "PACKAGE")]
    pub remove: Vec<String>,
    /// Update this package where it is installed, to the newest version or to =VERSION
    #[arg(long, value_name = "PACKAGE")]
    pub update: Vec<String>,
    /// dnf 4 hosts: change this module, and do nothing else: enable:NAME:STREAM, disable:NAME, reset:NAME, switch:NAME:STREAM, install:NAME:STREAM/PROFILE or remove:NAME:STREAM[/PROFILE]
    #[arg(long = "module", value_name = "CHANGE")]
    pub modules: Vec<ModuleChange>,
    /// Only updates of this type; repeated, and with --advisory, --cve, --min-severity and --overdue: those that any of them choose
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub types: Vec<Type>,
    /// Only updates that this advisory names
    #[arg(long = "advisory", value_name = "ID")]
    pub advisories: Vec<String>,
    /// Only updates that close this CVE
    #[arg(long = "cve", value_name = "CVE")]
    pub cves: Vec<String>,
    /// Only updates that close something at least so bad, as this server's advisories say
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub min_severity: Option<super::advisory::SeverityArg>,
    /// Only updates that close a vulnerability that is overdue on the host, as `vulnerability sla` says; accepted ones are not
    #[arg(long)]
    pub overdue: bool,
    /// Download the packages of the plan and install nothing; a later job finds them
    #[arg(long)]
    pub download_only: bool,
    /// Do not read the repositories again: use the metadata and the downloaded packages on the hosts
    #[arg(long, conflicts_with = "download_only")]
    pub from_cache: bool,
}

/// `--type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    /// A security advisory names it; on apt hosts: a security archive has it
    Security,
    /// A bugfix advisory names it
    Bugfix,
    /// An enhancement advisory names it
    Enhancement,
    /// No advisory names it
    Other,
}

impl From<Type> for UpdateType {
    fn from(this: Type) -> UpdateType {
        match this {
            Type::Security => UpdateType::Security,
            Type::Bugfix => UpdateType::Bugfix,
            Type::Enhancement => UpdateType::Enhancement,
            Type::Other => UpdateType::Other,
        }
    }
}

/// One step in flags; [`PreArgs`] and [`PostArgs`] differ in their flags' names only.
#[derive(Debug, Default)]
pub struct StepArgs<'a> {
    /// `pre` or `post`.
    pub prefix: &'static str,
    /// File here that holds the script.
    pub script: Option<&'a PathBuf>,
    /// Path on the hosts.
    pub path: Option<&'a String>,
    /// Run by /bin/sh.
    pub shell: bool,
    /// Arguments.
    pub args: &'a [String],
    /// Environment.
    pub env: &'a [(String, String)],
    /// Seconds.
    pub time_limit: Option<u64>,
    /// Exit codes.
    pub success_codes: &'a [i32],
}

macro_rules! step_args {
    ($name:ident, $prefix:literal, $heading:literal, $when:literal) => {
        #[doc = concat!("The step that runs ", $when, ".")]
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            #[arg(help = concat!("Script in a file here (- reads standard input), run on every host ", $when), long = concat!($prefix, "-script"), id = concat!($prefix, "_script"), value_name = "FILE", conflicts_with = concat!($prefix, "_path"))]
            script: Option<PathBuf>,
            #[arg(help = concat!("Program or script that lies on the hosts, run ", $when), long = concat!($prefix, "-path"), id = concat!($prefix, "_path"), value_name = "PATH")]
            path: Option<String>,
            #[arg(help = "Run it by /bin/sh; without it, it is run itself (a script starts with #! then)", long = concat!($prefix, "-shell"), id = concat!($prefix, "_shell"))]
            shell: bool,
            #[arg(help = "Argument for it; repeat for several", long = concat!($prefix, "-arg"), id = concat!($prefix, "_arg"), value_name = "ARG", allow_hyphen_values = true)]
            args: Vec<String>,
            #[arg(help = "Environment variable for it; repeat for several", long = concat!($prefix, "-env"), id = concat!($prefix, "_env"), value_name = "KEY=VALUE", value_parser = parse_pair)]
            env: Vec<(String, String)>,
            #[arg(help = "It is killed after this time; without it, after 10m", long = concat!($prefix, "-time-limit"), id = concat!($prefix, "_time_limit"), value_name = "DURATION", value_parser = parse_duration)]
            time_limit: Option<u64>,
            #[arg(help = "Exit code that means success; repeat for several; without it, only 0", long = concat!($prefix, "-success-code"), id = concat!($prefix, "_success_code"), value_name = "CODE", allow_negative_numbers = true)]
            success_codes: Vec<i32>,
        }

        impl $name {
            /// The step, whatever its name.
            pub fn step(&self) -> StepArgs<'_> {
                StepArgs {
                    prefix: $prefix,
                    script: self.script.as_ref(),
                    path: self.path.as_ref(),
                    shell: self.shell,
                    args: &self.args,
                    env: &self.env,
                    time_limit: self.time_limit,
                    success_codes: &self.success_codes,
                }
            }
        }
    };
}

step_args!(PreArgs, "pre", "Pre-step", "before anything else");
step_args!(PostArgs, "post", "Post-step", "at the end, after the reboot");

/// `--reboot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reboot {
    /// When the host asks for it
    Default,
    /// Also when it does not, once after patching
    Always,
    /// Never; the host is reported as SUCCEEDED_REBOOT_REQUIRED when it asks
    Never,
}

impl From<Reboot> for RebootConfig {
    fn from(reboot: Reboot) -> RebootConfig {
        match reboot {
            Reboot::Default => RebootConfig::Default,
            Reboot::Always => RebootConfig::Always,
            Reboot::Never => RebootConfig::Never,
        }
    }
}

/// The labels of one `--group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelGroup(pub Vec<(String, String)>);

fn group(text: &str) -> Result<LabelGroup, String> {
    let labels: Vec<(String, String)> = text.split(',').map(parse_pair).collect::<Result<_, _>>()?;
    Ok(LabelGroup(labels))
}

/// Whole days: `7d`, `2d`, also `48h`.
fn soak_days(text: &str) -> Result<u32, String> {
    const DAY_SECS: u64 = 24 * 3600;
    let wrong = || format!("{text:?} is not a number of whole days; write 7d");
    let secs = parse_duration(text).map_err(|_| wrong())?;
    match (secs / DAY_SECS, secs % DAY_SECS) {
        (0, 0) => Err("0 days are no soak; leave the flag out".to_owned()),
        (days, 0) => u32::try_from(days).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

pub(super) fn concurrency(text: &str) -> Result<Concurrency, String> {
    let wrong = |_| format!("{text:?} is neither a number of hosts such as 5 nor a share such as 20%");
    match text.strip_suffix('%') {
        Some(share) => share.parse().map(Concurrency::Percent).map_err(wrong),
        None => text.parse().map(Concurrency::Fixed).map_err(wrong),
    }
}
