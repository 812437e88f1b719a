//! `drydock audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use drydock_domain::audit::family::Family;

use super::{Output, RecentArgs};
use crate::text::{Moment, parse_pair};

/// `drydock audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List audit records, newest first
    List(ListAuditArgs),
    /// Write the audit to a file: JSON lines, closed by a signed line
    ///
    /// With --since or --until whole sealed segments are written, so some more at both ends.
    Export(ExportAuditArgs),
    /// Check an export: is it whole, unchanged and signed? Needs no server, but the key
    ///
    /// Names the first line that is not as the server wrote it, and what is wrong with it: changed, missing, inserted,
    /// reordered, bad seal, cut off. Exit code 1 then. Get the key when the server is set up and keep it elsewhere:
    /// drydock audit key > drydock-audit.key
    ///
    /// Example:
    ///   drydock audit verify audit.jsonl --key drydock-audit.key --seal last-month.seal
    #[command(verbatim_doc_comment)]
    Verify(VerifyAuditArgs),
    /// Show what is recorded, for how long it is kept, and how far the audit reaches; or change it
    ///
    /// Examples:
    ///   drydock audit settings
    ///   drydock audit settings --reads instances=off --reads patching=off --keep-days 400
    #[command(verbatim_doc_comment)]
    Settings(AuditSettingsArgs),
    /// Sign the end of the audit now and print the seal: a line to keep elsewhere, for `drydock audit verify --seal`
    Seal,
    /// Print the public key that seals are signed with
    Key,
    /// Drop whole sealed segments that are older; what stays is still provable
    Drop(DropAuditArgs),
}

/// Arguments of `audit list`.
#[derive(Debug, Args)]
pub struct ListAuditArgs {
    /// Only what this one did (name or id)
    #[arg(long, value_name = "WHO")]
    pub who: Option<String>,
    /// Only this operation, such as patch-job.create; 'patch-job.*' is all of a noun
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Only what was done to something whose name holds this
    #[arg(long, value_name = "TEXT")]
    pub resource: Option<String>,
    /// Only what ended so
    #[arg(long, value_enum)]
    pub outcome: Option<AuditOutcome>,
    /// Only records of this request
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only since then: 2026-11-19T22:00:00Z, 2026-11-19, 36h or 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// How calls end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditOutcome {
    /// It was done
    Allowed,
    /// The caller may not
    Denied,
    /// It was allowed and could not be done
    Failed,
}

impl AuditOutcome {
    /// As the server writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Allowed => "allowed",
            AuditOutcome::Denied => "denied",
            AuditOutcome::Failed => "failed",
        }
    }
}

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub struct ExportAuditArgs {
    /// Where to; - is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Everything since then: 2026-11-19T22:00:00Z, 2026-11-19, 36h or 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Everything until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
}

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyAuditArgs {
    /// The export; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File with the server's public key, from `drydock audit key`
    #[arg(long, value_name = "FILE", required_unless_present = "fingerprint")]
    pub key: Option<PathBuf>,
    /// SHA-256 of the server's public key; the key itself is in the export
    #[arg(long, value_name = "HEX", conflicts_with = "key")]
    pub fingerprint: Option<String>,
    /// File with a seal that was kept elsewhere, from `drydock audit seal`: the export has to lead through it
    #[arg(long, value_name = "FILE")]
    pub seal: Option<PathBuf>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `audit settings`.
#[derive(Debug, Args)]
pub struct AuditSettingsArgs {
    /// Record reads of a family, or leave them out: access, audit, secrets, enrolment, instances, patching, content,
    /// advisories, policies, other; several times for several
    #[arg(long, value_name = "FAMILY=on|off", value_parser = parse_reads)]
    pub reads: Vec<(Family, bool)>,
    /// Drop whole sealed segments after so many days; `never` keeps everything
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    pub keep_days: Option<KeepDays>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepDays(pub Option<u32>);

/// Arguments of `audit drop`.
#[derive(Debug, Args)]
pub struct DropAuditArgs {
    /// Everything recorded before then: 2026-11-19T22:00:00Z, 2026-11-19 or 400d
    #[arg(long, value_name = "TIME")]
    pub before: Moment,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

fn parse_reads(text: &str) -> Result<(Family, bool), String> {
    let (family, switch) = parse_pair(text)?;
    let known = Family::ALL.iter().copied().find(|f| f.as_str() == family);
    let names = || Family::ALL.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ");
    let family = known.ok_or_else(|| format!("{family:?} is no family; there are {}", names()))?;
    match switch.as_str() {
        "on" => Ok((family, true)),
        "off" => Ok((family, false)),
        other => Err(format!("{other:?} is neither on nor off")),
    }
}

fn parse_days(text: &str) -> Result<KeepDays, String> {
    match text {
        "never" => Ok(KeepDays(None)),
        _ => text.parse().map(|days| KeepDays(Some(days))).map_err(|_| format!("{text:?} is neither a number of days nor never")),
    }
}
