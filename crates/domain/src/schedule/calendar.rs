//! The moments of a schedule: the next one after a moment, and the ones after that.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Moments one [`Occurrences`] gives at most, count: nearly three years of daily runs.
pub const OCCURRENCES_MAX: usize = 1000;
/// Days looked at for the next moment, count. The first few may lie before the moment asked about or be left out by the
/// zone; the one that counts is among the first dozen.
const CANDIDATES_MAX: usize = 64;
/// Looking begins this many days early: a day's moment moves when its time of day does not exist.
const DAYS_EARLY: i64 = 2;
/// As [`DAYS_EARLY`] for rules by month: a month may lack the day.
const MONTH_DAYS_EARLY: i64 = 31;
/// A gap of local time this long swallows a whole day, seconds.
const WHOLE_DAY_SECS: i32 = 24 * 3600;

/// When work is due.
#[derive(Debug, Clone)]
pub enum Calendar {
    /// At one moment.
    Once(Timestamp),
    /// Again and again.
    Recurring(Recurrence),
}

/// A checked recurring schedule.
#[derive(Debug, Clone)]
pub struct Recurrence {
    pub(super) rule: Rule,
    pub(super) zone: TimeZone,
    pub(super) time: Time,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

/// Which days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// All.
    Daily,
    /// These weekdays.
    Weekdays(Vec<Weekday>),
    /// This day of the month, 1 to 31.
    MonthDay(i8),
    /// The last day of the month.
    LastDay,
    /// The nth weekday of the month (-1: the last), so many days later.
    NthWeekday { nth: i8, weekday: Weekday, offset: i32 },
}

impl Calendar {
    /// The first moment after `after`; `None`: nothing is due any more.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Calendar::Once(at) => Some(*at).filter(|at| *at > after),
            Calendar::Recurring(recurrence) => recurrence.next_after(after),
        }
    }

    /// The moments after `after`, in order, [`OCCURRENCES_MAX`] at most.
    pub fn occurrences(&self, after: Timestamp) -> Occurrences<'_> {
        Occurrences { calendar: self, at: after, left: OCCURRENCES_MAX }
    }

    /// Whose time of day is meant; `None` for one moment.
    pub fn zone(&self) -> Option<&TimeZone> {
        match self {
            Calendar::Once(_) => None,
            Calendar::Recurring(recurrence) => Some(&recurrence.zone),
        }
    }
}

/// Moments in order.
#[derive(Debug, Clone)]
pub struct Occurrences<'a> {
    calendar: &'a Calendar,
    at: Timestamp,
    left: usize,
}

impl Iterator for Occurrences<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.left = self.left.checked_sub(1)?;
        self.at = self.calendar.next_after(self.at)?;
        Some(self.at)
    }
}

impl Recurrence {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // The start itself counts: what is asked for is a moment after the one before it.
        let before_start = self.start.and_then(|s| s.checked_sub(SignedDuration::from_nanos(1)).ok());
        let floor = before_start.map_or(after, |s| s.max(after));
        let from = self.zone.to_datetime(floor).date();
        let mut moments = self.rule.days(from).take(CANDIDATES_MAX).filter_map(|day| self.moment(day));
        let next = moments.find(|at| *at > floor)?;
        Some(next).filter(|at| self.end.is_none_or(|end| *at < end))
    }

    /// The moment on this day.
    fn moment(&self, day: Date) -> Option<Timestamp> {
        let local = day.to_datetime(self.time);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, after } if after.seconds() - before.seconds() >= WHOLE_DAY_SECS => None,
            AmbiguousOffset::Gap { after, .. } => {
                // Read with the offset from after the gap, the missing time lies just before it.
                let shortly_before = after.to_timestamp(local).ok()?;
                self.zone.following(shortly_before).next().map(|change| change.timestamp())
            }
        }
    }
}

impl Rule {
    /// Days of the rule in order, beginning somewhat before `from`.
    fn days(&self, from: Date) -> Box<dyn Iterator<Item = Date> + '_> {
        match self {
            Rule::Daily => Box::new(days_from(early(from, DAYS_EARLY))),
            Rule::Weekdays(weekdays) => {
                Box::new(days_from(early(from, DAYS_EARLY)).filter(|day| weekdays.contains(&day.weekday())))
            }
            Rule::MonthDay(wanted) => Box::new(
                months_from(early(from, MONTH_DAYS_EARLY))
                    .filter_map(|first| Date::new(first.year(), first.month(), *wanted).ok()),
            ),
            Rule::LastDay => Box::new(months_from(early(from, MONTH_DAYS_EARLY)).map(Date::last_of_month)),
            Rule::NthWeekday { nth, weekday, offset } => {
                let begin = early(from, MONTH_DAYS_EARLY + i64::from(*offset));
                Box::new(
                    months_from(begin)
                        .filter_map(|first| first.nth_weekday_of_month(*nth, *weekday).ok()?.checked_add(offset.days()).ok()),
                )
            }
        }
    }
}

fn early(from: Date, days: i64) -> Date {
    from.saturating_sub(days.days())
}

fn days_from(first: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(first), |day| day.tomorrow().ok())
}

/// First days of months, from the month of `day` on.
fn months_from(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(day.first_of_month()), |first| first.checked_add(1.month()).ok())
}
