//! `drydock deployment`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use drydock_domain::patch::deployment::Overlap;
use drydock_domain::schedule::{DayOfWeek, TimeOfDay, WeekDayOfMonth};

use super::patch::StartArgs;
use super::spec::JobArgs;
use super::{ListArgs, Output};
use crate::text::parse_duration;

/// `drydock deployment`.
#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Make a patch deployment: patch jobs that start by themselves, once or again and again
    ///
    /// The flags of the job are those of `drydock patch run`. For example:
    ///   drydock deployment create nightly --in-group web --security --daily --at 03:00 --time-zone Europe/Berlin
    ///   drydock deployment create twice --all --weekly mon,thu --at 22:30 --concurrency 20%
    ///   drydock deployment create second --all --monthly '2nd tue' --offset 3 --at 04:00
    ///   drydock deployment create once --instance db-1 --once '2026-12-01 03:00' --time-zone Europe/Berlin
    #[command(verbatim_doc_comment)]
    Create(Box<DeploymentArgs>),
    /// Replace what a deployment says; what is not said again is gone
    ///
    /// `drydock deployment show NAME -o yaml` prints what it says, under `spec`: put that into a file, change it, and give it
    /// back by `--file`. A schedule that changes counts from now.
    Edit(Box<DeploymentArgs>),
    /// List deployments with their last and next runs
    List(ListArgs),
    /// Show one deployment: its schedule, what comes, and what became of its runs
    Show(ShowDeploymentArgs),
    /// Leave out every run until `resume`; jobs that were started go on
    Pause(DeploymentName),
    /// Let it run by itself again, from its next run on
    Resume(DeploymentName),
    /// Start a run now and follow it; the schedule stays as it is
    ///
    /// Refused while an earlier run is not finished, unless the deployment's overlap is `queue` (then it waits) or `parallel`.
    Run(RunDeploymentArgs),
    /// Leave out the next run
    SkipNext(DeploymentName),
    /// Remove a deployment; its jobs stay, and go on
    Delete(DeploymentName),
    /// Put it into another compartment
    Move(super::calendar::MoveNamedArgs),
}

/// One deployment.
#[derive(Debug, Args)]
pub struct DeploymentName {
    /// Name of the deployment
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Arguments of `deployment create` and `edit`.
#[derive(Debug, Args)]
pub struct DeploymentArgs {
    /// Name: a-z, 0-9, `.`, `_`, `-`; its jobs have it, too
    #[arg(value_name = "NAME")]
    pub deployment: String,
    /// The deployment's spec as YAML or JSON (- reads standard input); a flag may add to it, never change what it says
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Every run plans only, as `drydock patch plan`
    #[arg(long)]
    pub dry_run: bool,
    /// When.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What.
    #[command(flatten)]
    pub job: JobArgs,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// When it runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Schedule", group = ArgGroup::new("when").args(["once", "daily", "weekly", "monthly"]))]
pub struct ScheduleArgs {
    /// At this one time: 2026-12-01T03:00:00Z, or 2026-12-01 03:00 in --time-zone
    #[arg(long, value_name = "TIME", conflicts_with_all = ["at", "start", "end"])]
    pub once: Option<String>,
    /// Every day
    #[arg(long, requires = "at")]
    pub daily: bool,
    /// On these days of the week, such as mon,thu
    #[arg(long, value_name = "DAYS", value_parser = weekdays, requires = "at")]
    pub weekly: Option<Weekdays>,
    /// On this day of the month: 1 to 31 (a month without it is left out), -1 for the last, or such as '2nd tue' or 'last fri'
    #[arg(long, value_name = "DAY", value_parser = month_day, requires = "at", allow_hyphen_values = true)]
    pub monthly: Option<MonthDay>,
    /// So many days after that weekday of the month, or before it when negative: -30 to 30
    #[arg(long, value_name = "DAYS", requires = "monthly", allow_negative_numbers = true)]
    pub offset: Option<i32>,
    /// Time of day, such as 03:00
    #[arg(long, value_name = "HH:MM", value_parser = time_of_day)]
    pub at: Option<TimeOfDay>,
    /// Time zone of all times that name none, such as Europe/Berlin; without it, UTC
    #[arg(long = "time-zone", visible_alias = "tz", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// No run before this time
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// No run at or after this time
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// What becomes of a run that is due while an earlier one is not finished; without it, skip
    #[arg(long, value_enum)]
    pub overlap: Option<OverlapRule>,
    /// A run that could not begin in time (the server was down) begins late up to this long; without it, 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub catch_up: Option<u64>,
}

/// Days of a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekdays(pub Vec<DayOfWeek>);

/// `--monthly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonthDay {
    /// By number; -1 is the last.
    Day(i32),
    /// By weekday.
    Nth(WeekDayOfMonth),
}

/// `--overlap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverlapRule {
    /// It is left out
    Skip,
    /// It begins when the earlier one is finished; one waits at most
    Queue,
    /// It begins; each host does one job after the other all the same
    Parallel,
}

impl From<OverlapRule> for Overlap {
    fn from(rule: OverlapRule) -> Overlap {
        match rule {
            OverlapRule::Skip => Overlap::Skip,
            OverlapRule::Queue => Overlap::Queue,
            OverlapRule::Parallel => Overlap::Parallel,
        }
    }
}

/// Arguments of `deployment show`.
#[derive(Debug, Args)]
pub struct ShowDeploymentArgs {
    /// Name of the deployment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// At most this many of its runs, newest first; 0 = all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `deployment run`.
#[derive(Debug, Args)]
pub struct RunDeploymentArgs {
    /// Name of the deployment
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
}

pub(super) fn weekdays(text: &str) -> Result<Weekdays, String> {
    let day = |part: &str| {
        DayOfWeek::parse(part.trim())
            .ok_or_else(|| format!("{part:?} is no day of the week; write mon, tue, … or several as mon,thu"))
    };
    text.split(',').map(day).collect::<Result<Vec<_>, _>>().map(Weekdays)
}

pub(super) fn month_day(text: &str) -> Result<MonthDay, String> {
    let wrong = || format!("{text:?} is no day of a month; write 15, -1 for the last day, '2nd tue' or 'last fri'");
    if let Ok(day) = text.parse() {
        return Ok(MonthDay::Day(day));
    }
    if text.eq_ignore_ascii_case("last") {
        return Ok(MonthDay::Day(-1));
    }
    let (which, day) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
    let week_ordinal = match which.to_ascii_lowercase().as_str() {
        "1st" | "first" => 1,
        "2nd" | "second" => 2,
        "3rd" | "third" => 3,
        "4th" | "fourth" => 4,
        "last" => -1,
        _ => return Err(wrong()),
    };
    let day_of_week = DayOfWeek::parse(day.trim()).ok_or_else(wrong)?;
    Ok(MonthDay::Nth(WeekDayOfMonth { week_ordinal, day_of_week, day_offset: 0 }))
}

pub(super) fn time_of_day(text: &str) -> Result<TimeOfDay, String> {
    let wrong = || format!("{text:?} is no time of day; write 03:00, or 03:00:30");
    let numbers = text.split(':').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<Vec<i32>, _>>()?;
    match numbers.as_slice() {
        [hours, minutes] => Ok(TimeOfDay { hours: *hours, minutes: *minutes, ..TimeOfDay::default() }),
        [hours, minutes, seconds] => Ok(TimeOfDay { hours: *hours, minutes: *minutes, seconds: *seconds, nanos: 0 }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_people_say_them() {
        use DayOfWeek::{Friday, Monday, Thursday, Tuesday};
        assert_eq!(weekdays("mon, Thursday"), Ok(Weekdays(vec![Monday, Thursday])));
        assert!(weekdays("mon,,tue").is_err() && weekdays("t").is_err() && weekdays("").is_err());
        let nth = |week_ordinal, day_of_week| Ok(MonthDay::Nth(WeekDayOfMonth { week_ordinal, day_of_week, day_offset: 0 }));
        assert_eq!(month_day("2nd tue"), nth(2, Tuesday));
        assert_eq!(month_day("Last  Friday"), nth(-1, Friday));
        assert_eq!(
            (month_day("15"), month_day("-1"), month_day("last")),
            (Ok(MonthDay::Day(15)), Ok(MonthDay::Day(-1)), Ok(MonthDay::Day(-1)))
        );
        for bad in ["", "5th mon", "2nd", "tue", "2nd x"] {
            assert!(month_day(bad).is_err(), "{bad}");
        }
        assert_eq!(time_of_day("3:05").map(|t| (t.hours, t.minutes)), Ok((3, 5)));
        assert!(time_of_day("3").is_err() && time_of_day("3:x").is_err() && time_of_day("1:2:3:4").is_err());
    }
}
