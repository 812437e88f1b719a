//! When hosts may be worked at: maintenance windows (again and again, so long each time) and freeze calendars (not between
//! these moments, whatever the windows say). Written by an operator as [`MaintenanceWindow`] and [`FreezeCalendar`];
//! checked, they are [`Window`] and [`Freeze`], of which [`state`] says how things stand now and [`intervals`] when a host
//! may be worked at from now on, which it keeps to without the server.
//!
//! A host with several windows is open when any of them is; one without is always open; a freeze closes it in any case.
//! A window opens by its schedule's rule (a local time that does not exist: after the gap; one that exists twice: the first
//! time) and its length is time that passes: a window of four hours is four hours long in every night.
//!
//! Absent: the clock and the time-zone database, which are arguments; which hosts a window is for (the caller judges
//! filters).

use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::planner::Closed;
use crate::limits::{DESCRIPTION_MAX_BYTES, DISPLAY_NAME_MAX_BYTES};
use crate::patch::filter::InstanceFilter;
use crate::schedule::{Calendar, Frequency, RecurringSchedule};
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};
use crate::work::{INTERVALS_MAX, Interval, OrderWindows};

/// Shortest window, seconds (5 minutes): less than one package-manager refresh makes no sense.
pub const WINDOW_MIN_SECS: u64 = 5 * 60;
/// Longest window, seconds (7 days).
pub const WINDOW_MAX_SECS: u64 = 7 * 24 * 3600;
/// Periods of one freeze calendar, count: one for each day of a year.
pub const FREEZE_PERIODS_MAX: usize = 366;
/// How far ahead openings are listed, seconds (731 days): no task lives as long.
const HORIZON_SECS: i64 = 731 * 24 * 3600;
/// A day, seconds.
const DAY_SECS: u64 = 24 * 3600;

/// When hosts may be worked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whose window it is.
    pub instance_filter: InstanceFilter,
    /// When it opens. `endTime` ends the openings; one that has begun before it keeps its length.
    pub schedule: RecurringSchedule,
    /// Seconds that it stays open each time, 300 to 604800.
    pub duration_secs: u64,
    /// Path of the compartment in which it is made, for example `/A`: it reaches hosts there and below. Absent: the
    /// tenancy, or the one topmost compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// When hosts must not be worked at, whatever their windows say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeCalendar {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Whose freeze it is.
    pub instance_filter: InstanceFilter,
    /// 1 to 366, in any order; they may overlap.
    pub periods: Vec<FreezePeriod>,
    /// Path of the compartment in which it is made, for example `/A`: it reaches hosts there and below. Absent: the
    /// tenancy, or the one topmost compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// From a moment to before another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezePeriod {
    /// The first frozen moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A checked maintenance window.
#[derive(Debug, Clone)]
pub struct Window {
    name: String,
    calendar: Calendar,
    length: SignedDuration,
}

/// A checked freeze calendar.
#[derive(Debug, Clone)]
pub struct Freeze {
    name: String,
    /// In order, apart from each other.
    ranges: Vec<Interval>,
}

impl MaintenanceWindow {
    /// What it means, with this database of time zones.
    pub fn window(&self, zones: &TimeZoneDatabase) -> Result<Window, Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        self.instance_filter.check("instanceFilter", &mut problems);
        if !(WINDOW_MIN_SECS..=WINDOW_MAX_SECS).contains(&self.duration_secs) {
            let allowed = format!("must be between {WINDOW_MIN_SECS} (5 minutes) and {WINDOW_MAX_SECS} (7 days)");
            problems.add("durationSecs", allowed);
        } else if self.longest_gap_secs().is_some_and(|gap| self.duration_secs >= gap) {
            problems.add("durationSecs", "is as long as the time until the window opens again, so it never closes");
        }
        let calendar = self.schedule.calendar(zones, "schedule");
        match &calendar {
            Err(invalid) => invalid.errors.iter().for_each(|e| problems.add(&e.field, &e.message)),
            Ok(calendar) if calendar.next_after(Timestamp::MIN).is_none() => {
                problems.add("schedule", "never opens: no such day lies between startTime and endTime");
            }
            Ok(_) => {}
        }
        problems.finish()?;
        let length = SignedDuration::from_secs(i64::try_from(self.duration_secs).unwrap_or(i64::MAX));
        Ok(Window { name: self.name.clone(), calendar: calendar?, length })
    }

    /// The longest time from one opening to the next, by the calendar; `None`: longer than any window.
    fn longest_gap_secs(&self) -> Option<u64> {
        match (self.schedule.frequency, &self.schedule.weekly) {
            (Frequency::Daily, _) => Some(DAY_SECS),
            (Frequency::Weekly, Some(weekly)) => {
                let mut days: Vec<u64> = weekly.days().into_iter().map(|d| d as u64).collect();
                days.sort_unstable();
                let again = days.first().map(|d| d + 7);
                let next = days.iter().copied().skip(1).chain(again);
                days.iter().zip(next).map(|(day, next)| (next - day) * DAY_SECS).max()
            }
            _ => None,
        }
    }
}

impl FreezeCalendar {
    /// What it means.
    pub fn freeze(&self) -> Result<Freeze, Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        self.instance_filter.check("instanceFilter", &mut problems);
        problems.count("periods", self.periods.len(), FREEZE_PERIODS_MAX);
        if self.periods.is_empty() {
            problems.add("periods", "is empty; a freeze needs at least one period");
        }
        for (i, period) in self.periods.iter().enumerate().take(FREEZE_PERIODS_MAX) {
            if period.to <= period.from {
                problems.add(format!("periods[{i}].to"), "is not after from");
            }
            problems.text(&format!("periods[{i}].reason"), &period.reason, DESCRIPTION_MAX_BYTES);
        }
        problems.finish()?;
        let ranges = self.periods.iter().map(|p| Interval { from: p.from, to: p.to }).collect();
        Ok(Freeze { name: self.name.clone(), ranges: merged(ranges) })
    }
}

impl Window {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The openings that end after `from`, in order. They overlap where the window is longer than the time between them.
    fn openings(&self, from: Timestamp) -> impl Iterator<Item = Interval> {
        let before = from.checked_sub(self.length).unwrap_or(Timestamp::MIN);
        let ends = |start: Timestamp| start.checked_add(self.length).unwrap_or(Timestamp::MAX);
        self.calendar.occurrences(before).map(move |start| Interval { from: start, to: ends(start) })
    }

    /// The first moment at or after `at` at which it is open.
    fn open_from(&self, at: Timestamp) -> Option<Timestamp> {
        self.openings(at).next().map(|opening| opening.from.max(at))
    }
}

impl Freeze {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The frozen time that `at` lies in.
    fn over(&self, at: Timestamp) -> Option<&Interval> {
        let after = self.ranges.partition_point(|range| range.to <= at);
        self.ranges.get(after).filter(|range| range.from <= at)
    }
}

/// Puts intervals in order and joins those that touch.
fn merged(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut out: Vec<Interval> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match out.last_mut() {
            Some(last) if next.from <= last.to => last.to = last.to.max(next.to),
            _ => out.push(next),
        }
    }
    out
}

/// The first moment at or after `at` that no freeze lies over.
fn thawed(freezes: &[Freeze], mut at: Timestamp) -> Timestamp {
    // Each turn leaves one frozen time for good.
    while let Some(range) = freezes.iter().find_map(|f| f.over(at)) {
        at = range.to;
    }
    at
}

/// Why a host with these windows and freezes must not be worked at now; `None`: it may.
pub fn state(windows: &[Window], freezes: &[Freeze], now: Timestamp) -> Option<Closed> {
    if let Some(freeze) = freezes.iter().find(|f| f.over(now).is_some()) {
        return Some(Closed::Frozen { name: freeze.name.clone(), until: thawed(freezes, now) });
    }
    let any = windows.first()?;
    match next_open(windows, freezes, now) {
        Some((_, at)) if at == now => None,
        Some((window, at)) => Some(Closed::Window { name: window.name.clone(), opens_at: Some(at) }),
        None => Some(Closed::Window { name: any.name.clone(), opens_at: None }),
    }
}

/// The first moment at or after `at` at which a window is open and nothing is frozen.
fn next_open<'w>(windows: &'w [Window], freezes: &[Freeze], mut at: Timestamp) -> Option<(&'w Window, Timestamp)> {
    let ranges: usize = freezes.iter().map(|f| f.ranges.len()).sum();
    // Each turn but the last meets a frozen time and leaves it for good.
    for _ in 0..=ranges {
        let opens = windows.iter().filter_map(|w| w.open_from(at).map(|opens| (w, opens)));
        let (window, opens) = opens.min_by_key(|(_, opens)| *opens)?;
        at = thawed(freezes, opens);
        if at == opens {
            return Some((window, opens));
        }
    }
    None
}

/// When a host with these windows and freezes may be worked at: the intervals that end after `from`, in order and apart
/// from each other, `count` at most. The first may have begun before `from`; none begins more than two years after it.
pub fn intervals(windows: &[Window], freezes: &[Freeze], from: Timestamp, count: usize) -> Vec<Interval> {
    let horizon = from.checked_add(SignedDuration::from_secs(HORIZON_SECS)).unwrap_or(Timestamp::MAX);
    let frozen = merged(freezes.iter().flat_map(|f| f.ranges.iter().copied()).collect());
    let mut out = Vec::new();
    let mut add = |open: Interval| {
        cut(open, &frozen, &mut out);
        out.retain(|piece| piece.to > from);
        out.len() < count
    };
    if windows.is_empty() {
        add(Interval { from: Timestamp::UNIX_EPOCH.min(from), to: horizon });
    }
    let mut openings: Vec<_> = windows.iter().map(|w| w.openings(from).peekable()).collect();
    let mut current: Option<Interval> = None;
    loop {
        let starts = openings.iter_mut().enumerate().filter_map(|(i, o)| o.peek().map(|opening| (opening.from, i)));
        let first = starts.min().filter(|(start, _)| *start < horizon);
        let next = first.and_then(|(_, i)| openings.get_mut(i)).and_then(Iterator::next);
        match (current.as_mut(), next) {
            (Some(open), Some(next)) if next.from <= open.to => open.to = open.to.max(next.to),
            (Some(open), next) => {
                if !add(*open) || next.is_none() {
                    break;
                }
                current = next;
            }
            (None, Some(next)) => current = Some(next),
            (None, None) => break,
        }
    }
    out.truncate(count);
    out
}

/// The parts of an open time that are not frozen.
fn cut(open: Interval, frozen: &[Interval], out: &mut Vec<Interval>) {
    let mut from = open.from;
    let first = frozen.partition_point(|range| range.to <= open.from);
    for range in frozen.iter().skip(first).take_while(|range| range.from < open.to) {
        if from < range.from {
            out.push(Interval { from, to: range.from });
        }
        from = range.to;
    }
    if from < open.to {
        out.push(Interval { from, to: open.to });
    }
}

/// What a host is told, so that it keeps to its windows and freezes without the server; `None`: it has none. A host that
/// never opens again has no intervals, and is not let go in the first place.
pub fn for_order(windows: &[Window], freezes: &[Freeze], now: Timestamp) -> Option<OrderWindows> {
    if windows.is_empty() && freezes.is_empty() {
        return None;
    }
    let names: Vec<&str> = windows.iter().map(Window::name).chain(freezes.iter().map(Freeze::name)).collect();
    let mut name = names.join(", ");
    let end = (0..=DISPLAY_NAME_MAX_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.truncate(end.unwrap_or(0));
    Some(OrderWindows { name, intervals: intervals(windows, freezes, now, INTERVALS_MAX) })
}
