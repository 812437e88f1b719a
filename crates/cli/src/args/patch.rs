//! `drydock patch`.

use clap::{Args, Subcommand, ValueEnum};
use drydock_domain::ids::JobId;

use super::rollout::RolloutArgs;
use super::spec::SpecArgs;
use super::{Output, RecentArgs};

/// `drydock patch`.
#[derive(Debug, Subcommand)]
pub enum PatchCommand {
    /// Ask every chosen host what it would install, and print that; nothing is changed
    ///
    /// This is a dry run: hosts refresh their metadata and return the exact plan. Scripts do not run, no host reboots.
    Plan(PlanArgs),
    /// Start a patch job and follow it
    ///
    /// Each chosen host runs the pre-step, plans, installs exactly the plan, reboots if asked, runs the post-step and
    /// reports per package. Ctrl-C leaves; the job goes on.
    Run(RunArgs),
    /// List patch jobs, newest first
    List(PatchListArgs),
    /// Show a patch job per host and per package
    ///
    /// Prints old and new version, repository and outcome of every package, what was skipped and why.
    Show(ShowArgs),
    /// Cancel a patch job: hosts stop before their next step
    Cancel(CancelArgs),
    /// Let no further host go until the job is resumed; hosts at work go on
    Pause(SteerArgs),
    /// Go on after a pause or a halt; failures up to now count no more
    ///
    /// With rollout flags, hosts that have not begun are laid out anew: a new plan, with the one before as its parent.
    Resume(ResumeArgs),
    /// Halt a patch job as a failed wave would: nothing more begins until somebody resumes or aborts it
    Halt(HaltArgs),
    /// End a patch job that is paused or halted: hosts that have not begun are out, the others finish their step
    Abort(SteerArgs),
    /// Approve the start of another person's job, or what follows a wave
    Approve(ApproveArgs),
    /// Show every rollout plan that a job had
    Plans(PlansArgs),
    /// Take a patch job back: its hosts get exactly what they had before
    ///
    /// Shows what would move on each host, asks, then does it as a job of its own. What it takes away is barred there until
    /// lifted (drydock patch bars). Nothing begins where a host refuses.
    Undo(UndoArgs),
    /// Versions that were taken back and must not come again
    #[command(subcommand)]
    Bars(BarsCommand),
    /// Print everything that a job did, host by host and package by package
    ///
    ///   drydock patch report JOB -o html > report.html
    #[command(verbatim_doc_comment)]
    Report(ReportArgs),
    /// Start an ended patch job again on the hosts where it did not succeed
    ///
    /// A new job with the same settings. Hosts that were deleted since are left out.
    Rerun(RerunArgs),
}

/// Arguments of `patch plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The job.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Print the hosts that the job would reach now, and start nothing
    #[arg(long, help_heading = "Running", conflicts_with_all = ["wait", "no_wait", "idempotency_key"])]
    pub list_hosts: bool,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
}

/// Arguments of `patch run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The job.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Plan only, as `drydock patch plan`
    #[arg(long, help_heading = "Running")]
    pub dry_run: bool,
    /// Print the hosts that the job would reach now, and start nothing
    #[arg(long, help_heading = "Running", conflicts_with_all = ["wait", "no_wait", "idempotency_key"])]
    pub list_hosts: bool,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
}

/// How a job is started and watched.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running")]
pub struct StartArgs {
    /// Follow the job until it ends (the default)
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Start the job, print its id and return
    #[arg(long, visible_alias = "detach")]
    pub no_wait: bool,
    /// Starting twice with the same key starts one job; remembered by the server for 24 hours
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `patch list`.
#[derive(Debug, Args)]
pub struct PatchListArgs {
    /// Only this state, such as patching or completed_with_errors
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<String>,
    /// Only jobs that reached this instance (name or id)
    #[arg(long, value_name = "HOST")]
    pub instance: Option<String>,
    /// Only runs of this patch deployment
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

fn state(text: &str) -> Result<String, String> {
    use drydock_domain::patch::job::JobState;
    let upper = text.to_ascii_uppercase().replace('-', "_");
    match JobState::parse(&upper) {
        Some(_) => Ok(upper),
        None => {
            let all: Vec<String> = JobState::ALL.iter().map(|s| s.as_str().to_ascii_lowercase()).collect();
            Err(format!("expected one of {}", all.join(", ")))
        }
    }
}

/// Arguments of `patch show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Only this host (name or id); repeat for several
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Packages of every host, also when there are more than 20 hosts
    #[arg(long, conflicts_with_all = ["summary", "hosts"])]
    pub packages: bool,
    /// One line per host, no packages
    #[arg(long, conflicts_with = "hosts")]
    pub summary: bool,
    /// Also what the steps printed
    #[arg(long = "output")]
    pub step_output: bool,
    /// Follow the job until it ends, then show it
    #[arg(long)]
    pub follow: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `patch cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Also end the commands that run on the hosts now; package databases are repaired and verified after that
    #[arg(long)]
    pub kill: bool,
}

/// Arguments of `patch rerun`.
#[derive(Debug, Args)]
pub struct RerunArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// On every host of the job, also those where it succeeded
    #[arg(long)]
    pub all_hosts: bool,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
}

/// Arguments of `patch pause` and `abort`.
#[derive(Debug, Args)]
pub struct SteerArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
}

/// Arguments of `patch resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Another rollout.
    #[command(flatten)]
    pub rollout: RolloutArgs,
}

/// Arguments of `patch halt`.
#[derive(Debug, Args)]
pub struct HaltArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Arguments of `patch approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// What follows this wave; without it, the job's start
    #[arg(long, value_name = "NAME")]
    pub wave: Option<String>,
}

/// Arguments of `patch plans`.
#[derive(Debug, Args)]
pub struct PlansArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `patch undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Only on this host (name or id); repeat for several
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Hosts plan it and say what would move; nothing is changed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Leave out hosts where it cannot be done exactly
    #[arg(long)]
    pub skip_refused: bool,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
}

/// `drydock patch bars`.
#[derive(Debug, Subcommand)]
pub enum BarsCommand {
    /// List barred versions, newest first
    List(BarsListArgs),
    /// Let versions come back: those that a job took away, or those of a host or a package
    Lift(BarsLiftArgs),
}

/// Arguments of `patch bars list`.
#[derive(Debug, Args)]
pub struct BarsListArgs {
    /// Of this host (name or id)
    #[arg(long, value_name = "HOST")]
    pub instance: Option<String>,
    /// Set by this undo job
    #[arg(long, value_name = "JOB")]
    pub job: Option<JobId>,
    /// Of this package
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `patch bars lift`.
#[derive(Debug, Args)]
pub struct BarsLiftArgs {
    /// Those that this undo job set
    #[arg(value_name = "JOB", required_unless_present_any = ["instance", "package"])]
    pub job: Option<JobId>,
    /// Of this host (name or id)
    #[arg(long, value_name = "HOST")]
    pub instance: Option<String>,
    /// Of this package
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
}

/// Arguments of `patch report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Id of the patch job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// json for programs, csv for spreadsheets (one row for each package), html for people (one file)
    #[arg(short = 'o', long = "format", value_enum, default_value = "html", value_name = "FORMAT")]
    pub format: ReportFormat,
}

/// Forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// The whole document
    Json,
    /// One row for each package
    Csv,
    /// One file that needs nothing else
    Html,
}

impl ReportFormat {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportFormat::Json => "json",
            ReportFormat::Csv => "csv",
            ReportFormat::Html => "html",
        }
    }
}
