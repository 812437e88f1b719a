//! The form of a schedule as written: Google's `OneTimeSchedule` and `RecurringSchedule` in their JSON form, and what may
//! be wrong with them. The addition is marked *ours*.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::calendar::{Calendar, Recurrence, Rule};
use crate::validate::{Invalid, Problems};

/// Longest id of a time zone, bytes; the longest known one has 32.
const ZONE_MAX_BYTES: usize = 64;
/// Days before or after the nth weekday of a month, both included (Google: 30).
const DAY_OFFSET_MAX: i32 = 30;

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneTimeSchedule {
    /// When; fractions of a second do not count.
    pub execute_time: Timestamp,
}

/// Again and again, at a time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecurringSchedule {
    /// Whose time of day is meant. Daylight saving follows the zone.
    pub time_zone: Zone,
    /// Nothing is due before; absent = from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// Nothing is due at or after; absent = without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// The time of day.
    pub time_of_day: TimeOfDay,
    /// Which days: every one, or those that `weekly` or `monthly` says.
    pub frequency: Frequency,
    /// With WEEKLY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<WeeklySchedule>,
    /// With MONTHLY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<MonthlySchedule>,
}

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schema(as = TimeZone))]
pub struct Zone {
    /// Its id in the IANA database, for example `Europe/Berlin`.
    pub id: String,
}

/// A time of day; what is absent is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TimeOfDay {
    /// 0 to 23. (Google's type knows 24:00:00 for the end of a business day; a run has to begin on one of two days.)
    pub hours: i32,
    /// 0 to 59.
    pub minutes: i32,
    /// 0 to 59.
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds: i32,
    /// 0: a schedule counts in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub nanos: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// Which days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Frequency {
    /// Every day.
    Daily,
    /// Days of the week.
    Weekly,
    /// A day of the month.
    Monthly,
}

impl Frequency {
    /// The name as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Frequency::Daily => "DAILY",
            Frequency::Weekly => "WEEKLY",
            Frequency::Monthly => "MONTHLY",
        }
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum DayOfWeek {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl DayOfWeek {
    /// All of them.
    pub const ALL: [DayOfWeek; 7] = [
        DayOfWeek::Monday,
        DayOfWeek::Tuesday,
        DayOfWeek::Wednesday,
        DayOfWeek::Thursday,
        DayOfWeek::Friday,
        DayOfWeek::Saturday,
        DayOfWeek::Sunday,
    ];

    /// `Monday`.
    pub fn name(self) -> &'static str {
        match self {
            DayOfWeek::Monday => "Monday",
            DayOfWeek::Tuesday => "Tuesday",
            DayOfWeek::Wednesday => "Wednesday",
            DayOfWeek::Thursday => "Thursday",
            DayOfWeek::Friday => "Friday",
            DayOfWeek::Saturday => "Saturday",
            DayOfWeek::Sunday => "Sunday",
        }
    }

    /// Reads a name of at least three letters, whatever their case: `mon`, `Monday`.
    pub fn parse(text: &str) -> Option<DayOfWeek> {
        let lower = text.to_ascii_lowercase();
        DayOfWeek::ALL.into_iter().find(|d| lower.len() >= 3 && d.name().to_ascii_lowercase().starts_with(&lower))
    }

    fn civil(self) -> Weekday {
        match self {
            DayOfWeek::Monday => Weekday::Monday,
            DayOfWeek::Tuesday => Weekday::Tuesday,
            DayOfWeek::Wednesday => Weekday::Wednesday,
            DayOfWeek::Thursday => Weekday::Thursday,
            DayOfWeek::Friday => Weekday::Friday,
            DayOfWeek::Saturday => Weekday::Saturday,
            DayOfWeek::Sunday => Weekday::Sunday,
        }
    }
}

/// Days of the week: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WeeklySchedule {
    /// One day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_of_week: Option<DayOfWeek>,
    /// *Ours*: several days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_week: Vec<DayOfWeek>,
}

/// A day of the month: one of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MonthlySchedule {
    /// Such as the second Tuesday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week_day_of_month: Option<WeekDayOfMonth>,
    /// 1 to 31, or -1 for the last. A month without that day is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_day: Option<i32>,
}

/// The nth of a weekday in a month, and days from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeekDayOfMonth {
    /// 1 to 4, or -1 for the last.
    pub week_ordinal: i32,
    /// The weekday.
    pub day_of_week: DayOfWeek,
    /// Days after it, or before it when negative, -30 to 30; may lead into another month.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub day_offset: i32,
}

impl OneTimeSchedule {
    /// What it means. Like the moments of the other schedules this one is a whole second: what is stored of it and
    /// compared with it later is the same everywhere.
    pub fn calendar(&self) -> Calendar {
        Calendar::Once(Timestamp::from_second(self.execute_time.as_second()).unwrap_or(self.execute_time))
    }
}

impl RecurringSchedule {
    /// What it means, with this database of time zones; `at` is where it stands in its document.
    pub fn calendar(&self, zones: &TimeZoneDatabase, at: &str) -> Result<Calendar, Invalid> {
        let mut problems = Problems::default();
        let time = self.time_of_day.check(&format!("{at}.timeOfDay"), &mut problems);
        let zone = self.time_zone.check(&format!("{at}.timeZone.id"), zones, &mut problems);
        let rule = self.rule(at, &mut problems);
        if let (Some(start), Some(end)) = (self.start_time, self.end_time)
            && end <= start
        {
            problems.add(format!("{at}.endTime"), "is not after startTime");
        }
        match (problems.finish(), time, zone, rule) {
            (Ok(()), Some(time), Some(zone), Some(rule)) => {
                Ok(Calendar::Recurring(Recurrence { rule, zone, time, start: self.start_time, end: self.end_time }))
            }
            (Err(invalid), ..) => Err(invalid),
            (Ok(()), ..) => Err(Invalid::one(at, "cannot be read")),
        }
    }

    fn rule(&self, at: &str, problems: &mut Problems) -> Option<Rule> {
        let others =
            [("weekly", self.weekly.is_some(), Frequency::Weekly), ("monthly", self.monthly.is_some(), Frequency::Monthly)];
        for (field, given, belongs) in others {
            if given && self.frequency != belongs {
                let message = format!("belongs to frequency {}, not {}", belongs.as_str(), self.frequency.as_str());
                problems.add(format!("{at}.{field}"), message);
            }
        }
        match (self.frequency, &self.weekly, &self.monthly) {
            (Frequency::Daily, ..) => Some(Rule::Daily),
            (Frequency::Weekly, Some(weekly), _) => weekly.rule(&format!("{at}.weekly"), problems),
            (Frequency::Monthly, _, Some(monthly)) => monthly.rule(&format!("{at}.monthly"), problems),
            (Frequency::Weekly, None, _) => {
                problems.add(format!("{at}.weekly"), "is missing; say dayOfWeek or daysOfWeek");
                None
            }
            (Frequency::Monthly, _, None) => {
                problems.add(format!("{at}.monthly"), "is missing; say monthDay or weekDayOfMonth");
                None
            }
        }
    }
}

impl Zone {
    /// The zone, when the database has it. What the database also holds and no person means (`posix/…`, `localtime`) is
    /// refused, and so is everything that could be read as a path.
    fn check(&self, at: &str, zones: &TimeZoneDatabase, problems: &mut Problems) -> Option<TimeZone> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-');
        let shape = (1..=ZONE_MAX_BYTES).contains(&self.id.len()) && self.id.bytes().all(plain) && !self.id.starts_with('/');
        let lower = self.id.to_ascii_lowercase();
        let other = lower.starts_with("posix") || lower.starts_with("right/") || lower == "localtime" || lower == "factory";
        let found = if shape && !other { zones.get(&self.id).ok() } else { None };
        if found.is_none() {
            let shown: String = self.id.chars().take(ZONE_MAX_BYTES).collect();
            let message = format!("{shown:?} is no time zone this server knows; give an IANA id such as Europe/Berlin or UTC");
            problems.add(at, message);
        }
        found
    }
}

impl TimeOfDay {
    fn check(self, at: &str, problems: &mut Problems) -> Option<Time> {
        if self.hours == 24 {
            problems.add(format!("{at}.hours"), "is 24; for midnight at the end of a day take hour 0 of the day after");
        } else if !(0..=23).contains(&self.hours) {
            problems.add(format!("{at}.hours"), format!("is {}; 0 to 23", self.hours));
        }
        for (field, value) in [("minutes", self.minutes), ("seconds", self.seconds)] {
            if !(0..=59).contains(&value) {
                problems.add(format!("{at}.{field}"), format!("is {value}; 0 to 59"));
            }
        }
        if self.nanos != 0 {
            problems.add(format!("{at}.nanos"), "is not 0; a schedule counts in seconds");
        }
        let small = |n: i32| i8::try_from(n).ok();
        Time::new(small(self.hours)?, small(self.minutes)?, small(self.seconds)?, 0).ok()
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.hours, self.minutes)?;
        if self.seconds == 0 { Ok(()) } else { write!(f, ":{:02}", self.seconds) }
    }
}

/// For people: `Mon, Thu at 03:00 Europe/Berlin`.
impl std::fmt::Display for RecurringSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.frequency, &self.weekly, &self.monthly) {
            (Frequency::Weekly, Some(weekly), _) => {
                let days: Vec<&str> = weekly.days().into_iter().filter_map(|d| d.name().get(..3)).collect();
                f.write_str(&days.join(", "))?;
            }
            (Frequency::Monthly, _, Some(monthly)) => write!(f, "{monthly}")?,
            (Frequency::Daily, ..) => f.write_str("daily")?,
            (Frequency::Weekly, None, _) | (Frequency::Monthly, _, None) => f.write_str(self.frequency.as_str())?,
        }
        write!(f, " at {} {}", self.time_of_day, self.time_zone.id)
    }
}

impl std::fmt::Display for MonthlySchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.month_day, self.week_day_of_month) {
            (Some(-1), _) => f.write_str("last day of the month"),
            (Some(day), _) => write!(f, "day {day} of the month"),
            (None, Some(nth)) => {
                let which = match nth.week_ordinal {
                    -1 => "last",
                    1 => "1st",
                    2 => "2nd",
                    3 => "3rd",
                    _ => "4th",
                };
                write!(f, "{which} {} of the month", nth.day_of_week.name())?;
                let offset = nth.day_offset;
                if offset == 0 { Ok(()) } else { write!(f, " {offset:+} days") }
            }
            (None, None) => f.write_str("no day of the month"),
        }
    }
}

impl WeeklySchedule {
    /// The days it names, in its own order.
    pub fn days(&self) -> Vec<DayOfWeek> {
        self.day_of_week.iter().chain(&self.days_of_week).copied().collect()
    }

    fn rule(&self, at: &str, problems: &mut Problems) -> Option<Rule> {
        let days = self.days();
        if days.is_empty() {
            problems.add(at, "names no day; say dayOfWeek or daysOfWeek");
            return None;
        }
        if self.day_of_week.is_some() && !self.days_of_week.is_empty() {
            problems.add(format!("{at}.daysOfWeek"), "cannot be combined with dayOfWeek; name all the days here");
        } else if let Some(twice) = days.iter().enumerate().find_map(|(i, d)| days.iter().take(i).any(|e| e == d).then_some(d)) {
            problems.add(format!("{at}.daysOfWeek"), format!("names {} twice", twice.name()));
        }
        Some(Rule::Weekdays(days.into_iter().map(DayOfWeek::civil).collect()))
    }
}

impl MonthlySchedule {
    fn rule(self, at: &str, problems: &mut Problems) -> Option<Rule> {
        match (self.month_day, self.week_day_of_month) {
            (Some(_), Some(_)) => {
                problems.add(format!("{at}.monthDay"), "cannot be combined with weekDayOfMonth");
                None
            }
            (None, None) => {
                problems.add(at, "names no day; say monthDay or weekDayOfMonth");
                None
            }
            (Some(-1), None) => Some(Rule::LastDay),
            (Some(day), None) => match i8::try_from(day) {
                Ok(day @ 1..=31) => Some(Rule::MonthDay(day)),
                _ => {
                    problems.add(format!("{at}.monthDay"), format!("is {day}; 1 to 31, or -1 for the last day"));
                    None
                }
            },
            (None, Some(nth)) => nth.rule(&format!("{at}.weekDayOfMonth"), problems),
        }
    }
}

impl WeekDayOfMonth {
    fn rule(self, at: &str, problems: &mut Problems) -> Option<Rule> {
        let WeekDayOfMonth { week_ordinal, day_of_week, day_offset } = self;
        let nth = i8::try_from(week_ordinal).ok().filter(|n| matches!(n, 1..=4 | -1));
        if nth.is_none() {
            let message = format!("is {week_ordinal}; 1 to 4, or -1 for the last such weekday of the month");
            problems.add(format!("{at}.weekOrdinal"), message);
        }
        if !(-DAY_OFFSET_MAX..=DAY_OFFSET_MAX).contains(&day_offset) {
            let message = format!("is {day_offset}; -{DAY_OFFSET_MAX} to {DAY_OFFSET_MAX} days");
            problems.add(format!("{at}.dayOffset"), message);
            return None;
        }
        Some(Rule::NthWeekday { nth: nth?, weekday: day_of_week.civil(), offset: day_offset })
    }
}
