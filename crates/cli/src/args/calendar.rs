//! `drydock window`, `drydock freeze` and `drydock reboot-slot`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use drydock_domain::schedule::TimeOfDay;

use super::Output;
use super::deployment::{MonthDay, Weekdays, month_day, time_of_day, weekdays};
use super::spec::HostArgs;
use crate::text::parse_duration;

/// `drydock window`.
#[derive(Debug, Subcommand)]
pub enum WindowCommand {
    /// Make a maintenance window: its hosts are worked at only while it is open
    ///
    /// A host with several windows is open when any of them is; one without is always open. For example:
    ///   drydock window create nights --label env=prod --daily --at 02:00 --for 3h --time-zone Europe/Berlin
    ///   drydock window create sundays --in-group db --weekly sun --at 04:00 --for 6h
    #[command(verbatim_doc_comment)]
    Create(Box<WindowArgs>),
    /// Replace what a window says; what is not said again is gone
    Edit(Box<WindowArgs>),
    /// List windows with their next openings
    List(Output),
    /// Show one window
    Show(CalendarName),
    /// Remove a window: its hosts are free of it at once
    Delete(CalendarName),
    /// Put it into another compartment
    Move(MoveNamedArgs),
}

/// `drydock freeze`.
#[derive(Debug, Subcommand)]
pub enum FreezeCommand {
    /// Make a freeze calendar: its hosts are not worked at in its periods, whatever their windows say
    ///
    ///   drydock freeze create year-end --all --period '2026-12-20/2027-01-04=closing of the books' --time-zone Europe/Berlin
    #[command(verbatim_doc_comment)]
    Create(Box<FreezeArgs>),
    /// Replace what a freeze calendar says; what is not said again is gone
    Edit(Box<FreezeArgs>),
    /// List freeze calendars
    List(Output),
    /// Show one freeze calendar
    Show(CalendarName),
    /// Remove a freeze calendar
    Delete(CalendarName),
    /// Put it into another compartment
    Move(MoveNamedArgs),
}

/// `drydock reboot-slot`.
#[derive(Debug, Subcommand)]
pub enum RebootSlotCommand {
    /// Make a group of hosts of which only so many reboot at a time
    ///
    ///   drydock reboot-slot create db --label role=db --slots 1 --expiry 2h
    #[command(verbatim_doc_comment)]
    Create(Box<RebootSlotArgs>),
    /// Replace what a group says; what is not said again is gone
    Edit(Box<RebootSlotArgs>),
    /// List groups with who holds a slot
    List(Output),
    /// Show one group: who holds a slot, since when and why
    Show(CalendarName),
    /// Take a slot back from a host that will not give it back itself (break-glass; it is in the audit)
    Release(ReleaseArgs),
    /// Remove a group: its hosts reboot without asking
    Delete(CalendarName),
    /// Put it into another compartment
    Move(MoveNamedArgs),
}

/// One of them.
#[derive(Debug, Args)]
pub struct CalendarName {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// A window in flags.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").args(["daily", "weekly", "monthly"]))]
pub struct WindowArgs {
    /// Its name: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The window as YAML or JSON (- reads standard input); a flag may add to it, never change what it says
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// It opens every day
    #[arg(long, requires = "at")]
    pub daily: bool,
    /// On these days of the week, such as sat,sun
    #[arg(long, value_name = "DAYS", value_parser = weekdays, requires = "at")]
    pub weekly: Option<Weekdays>,
    /// On this day of the month: 1 to 31, -1 for the last, or such as '2nd tue'
    #[arg(long, value_name = "DAY", value_parser = month_day, requires = "at", allow_hyphen_values = true)]
    pub monthly: Option<MonthDay>,
    /// So many days after that weekday of the month, or before it when negative: -30 to 30
    #[arg(long, value_name = "DAYS", requires = "monthly", allow_negative_numbers = true)]
    pub offset: Option<i32>,
    /// Time of day at which it opens, such as 02:00
    #[arg(long, value_name = "HH:MM", value_parser = time_of_day)]
    pub at: Option<TimeOfDay>,
    /// How long it stays open each time, such as 3h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub length: Option<u64>,
    /// Time zone of all times that name none, such as Europe/Berlin; without it, UTC
    #[arg(long = "time-zone", visible_alias = "tz", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// No opening before this time
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// No opening at or after this time
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// Whose window it is.
    #[command(flatten)]
    pub hosts: HostArgs,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// A freeze calendar in flags.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Its name: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The calendar as YAML or JSON (- reads standard input); a flag may add to it, never change what it says
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Frozen from the one time to before the other, and why: FROM/TO or FROM/TO=REASON; repeat for several
    #[arg(long = "period", value_name = "FROM/TO=REASON")]
    pub periods: Vec<String>,
    /// Time zone of all times that name none, such as Europe/Berlin; without it, UTC
    #[arg(long = "time-zone", visible_alias = "tz", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Whose freeze it is.
    #[command(flatten)]
    pub hosts: HostArgs,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// A group of reboot slots in flags.
#[derive(Debug, Args)]
pub struct RebootSlotArgs {
    /// Its name: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The group as YAML or JSON (- reads standard input); a flag may add to it, never change what it says
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Hosts that may be down for a reboot at a time
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// A slot that is not given back is free again after this, such as 1h; without it, 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expiry: Option<u64>,
    /// Who is in the group.
    #[command(flatten)]
    pub hosts: HostArgs,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `reboot-slot release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Name of the group
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Whose slot (name or id)
    #[arg(long, value_name = "HOST")]
    pub host: String,
}

/// Which thing is moved, and where to: the same for everything that has a name of its own.
#[derive(Debug, Args)]
pub struct MoveNamedArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Path of the compartment, such as /A/web; / is the tenancy
    #[arg(long, value_name = "PATH")]
    pub to: String,
}
