//! `drydock compliance`.

use clap::{Args, Subcommand, ValueEnum};
use drydock_domain::policy::{ComplianceState, DriftOutcome};

use super::{ListArgs, Output, RecentArgs};
use crate::text::Moment;

/// `drydock compliance`. Lists as csv are the server's exports: all rows, whatever --limit says.
#[derive(Debug, Subcommand)]
pub enum ComplianceCommand {
    /// Show how the whole fleet stands, by assignment and by reason
    Summary(Output),
    /// List how each policy stands on each host
    ///
    /// Examples:
    ///   drydock compliance list --state non-compliant
    ///   drydock compliance list --host web-1 -o json
    ///   drydock compliance list --reason flapping -o csv > flapping.csv
    #[command(verbatim_doc_comment)]
    List(ComplianceListArgs),
    /// Show one host: each resource with its steps and their evidence
    Show(ComplianceShowArgs),
    /// List policies with the number of hosts in each state
    Policies(PoliciesArgs),
    /// List resources with the number of hosts in each state
    Resources(ResourcesArgs),
    /// List how long policies were in which state, newest first
    History(HistoryArgs),
    /// Show day by day how many policies of hosts stood how
    Trend(TrendArgs),
    /// List drift: what was as it should be and then was not, by what it was noticed, and how long until it was repaired
    Drift(DriftArgs),
}

/// Arguments of `compliance list`.
#[derive(Debug, Args)]
pub struct ComplianceListArgs {
    /// Only this host (name or id)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only policies of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Only this policy
    #[arg(long, value_name = "ID")]
    pub policy: Option<String>,
    /// Only this state
    #[arg(long, value_enum)]
    pub state: Option<StateName>,
    /// Only this reason, such as flapping or vm-not-running
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// The states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    /// As it should be
    Compliant,
    /// Not as it should be
    #[value(alias = "non_compliant", alias = "NON_COMPLIANT")]
    NonCompliant,
    /// Nobody could tell
    Unknown,
}

impl From<StateName> for ComplianceState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Compliant => ComplianceState::Compliant,
            StateName::NonCompliant => ComplianceState::NonCompliant,
            StateName::Unknown => ComplianceState::Unknown,
        }
    }
}

/// Arguments of `compliance show`.
#[derive(Debug, Args)]
pub struct ComplianceShowArgs {
    /// The host (name or id)
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Only policies of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Steps and evidence of every resource, also of those that are as they should be
    #[arg(long)]
    pub all: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `compliance policies`.
#[derive(Debug, Args)]
pub struct PoliciesArgs {
    /// Only policies of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Arguments of `compliance resources`.
#[derive(Debug, Args)]
pub struct ResourcesArgs {
    /// Only resources of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Only resources of this policy
    #[arg(long, value_name = "ID")]
    pub policy: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Arguments of `compliance history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this host (name or id)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only policies of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Only this policy
    #[arg(long, value_name = "ID")]
    pub policy: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `compliance trend`.
#[derive(Debug, Args)]
pub struct TrendArgs {
    /// Only policies of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// So many days back
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub days: u32,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `compliance drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Only this host (name or id)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only resources of this assignment
    #[arg(long, value_name = "NAME")]
    pub assignment: Option<String>,
    /// Only resources of this policy
    #[arg(long, value_name = "ID")]
    pub policy: Option<String>,
    /// Only what became of it so
    #[arg(long, value_enum)]
    pub outcome: Option<OutcomeName>,
    /// Only since then: 2026-11-19T22:00:00Z, 2026-11-19, 36h or 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// What becomes of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutcomeName {
    /// It is as it should be again
    Repaired,
    /// The repair failed
    Failed,
    /// The policy only reports
    Reported,
    /// It happened too often: the next repair waits
    Flapping,
}

impl From<OutcomeName> for DriftOutcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Repaired => DriftOutcome::Repaired,
            OutcomeName::Failed => DriftOutcome::Failed,
            OutcomeName::Reported => DriftOutcome::Reported,
            OutcomeName::Flapping => DriftOutcome::Flapping,
        }
    }
}
