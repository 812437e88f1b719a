//! `drydock approval`.

use clap::{Args, Subcommand};
use drydock_domain::ids::ApprovalId;

use super::{ListArgs, Output};
use crate::text::parse_duration;

/// `drydock approval`.
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// List requests for approval: your own, and those you could approve
    List(ListArgs),
    /// Approve what somebody else asked for; they may then repeat their request, once
    Approve(DecideArgs),
    /// Refuse what somebody asked for
    Refuse(DecideArgs),
    /// Rules: which operations need another person's approval
    #[command(subcommand)]
    Rule(ApprovalRuleCommand),
}

/// Arguments of `approval approve` and `refuse`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// Id of the request
    #[arg(value_name = "REQUEST_ID")]
    pub id: ApprovalId,
    /// Why
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub reason: String,
}

/// `drydock approval rule`.
#[derive(Debug, Subcommand)]
pub enum ApprovalRuleCommand {
    /// Make a rule, or replace the one of its name
    ///
    /// For example: patch jobs that reach a production host, and promotions in /A, need a second person
    ///   drydock approval rule set prod-jobs --operation patch-job.create --label env=prod
    ///   drydock approval rule set promotions --operation 'environment.*' --compartment /A
    #[command(verbatim_doc_comment)]
    Set(SetApprovalRuleArgs),
    /// List rules
    List(Output),
    /// Delete a rule
    Delete(ApprovalRuleArgs),
}

/// One rule.
#[derive(Debug, Args)]
pub struct ApprovalRuleArgs {
    /// Its name
    #[arg(value_name = "RULE")]
    pub rule: String,
}

/// Arguments of `approval rule set`.
#[derive(Debug, Args)]
pub struct SetApprovalRuleArgs {
    /// Its name
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// An operation as audit records name it (instance.delete), or all changing ones of a noun (environment.*); repeated:
    /// several
    #[arg(long = "operation", required = true, value_name = "OPERATION")]
    pub operations: Vec<String>,
    /// Only in this compartment and below
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
    /// Only where a host concerned has this label; repeated: all of them
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// A request is over after this time
    #[arg(long, default_value = "1d", value_name = "DURATION", value_parser = parse_duration)]
    pub expires_after: u64,
    /// Free text
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub description: String,
}
