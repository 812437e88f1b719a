//! Times as conditions write them. Everything is in UTC. Absent on purpose: clocks.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Months and days as they are compared.
const NUMBERS: [&str; 31] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "29", "30", "31",
];
/// Days of the week as they are compared, Monday first.
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The parts of a moment that conditions ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) month: &'static str,
    pub(super) day: &'static str,
    pub(super) weekday: &'static str,
    /// Seconds since midnight.
    pub(super) second: u32,
}

impl Moment {
    pub(super) fn of(at: Timestamp) -> Moment {
        let zoned = at.to_zoned(TimeZone::UTC);
        let index = |n: i8| usize::try_from(n).unwrap_or_default().saturating_sub(1);
        let number = |n: i8| NUMBERS.get(index(n)).copied().unwrap_or_default();
        let part = |n: i8| u32::try_from(n).unwrap_or_default();
        Moment {
            at,
            month: number(zoned.month()),
            day: number(zoned.day()),
            weekday: WEEKDAYS.get(index(zoned.weekday().to_monday_one_offset())).copied().unwrap_or_default(),
            second: part(zoned.hour()) * 3600 + part(zoned.minute()) * 60 + part(zoned.second()),
        }
    }
}

/// `2026-11-23T07:00:00Z`, seconds may be left away.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// `07:00:00Z`, seconds may be left away: seconds since midnight.
pub(super) fn time_of_day(text: &str) -> Option<u32> {
    let text = text.strip_suffix(['Z', 'z'])?;
    let two = |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u32>().ok()).flatten();
    let mut parts = text.split(':');
    let (hour, minute) = (two(parts.next()?)?, two(parts.next()?)?);
    let second = parts.next().map_or(Some(0), two)?;
    (parts.next().is_none() && hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

pub(super) fn is_month(text: &str) -> bool {
    NUMBERS.iter().take(12).any(|n| *n == text)
}

pub(super) fn is_day(text: &str) -> bool {
    NUMBERS.contains(&text)
}

pub(super) fn is_weekday(text: &str) -> bool {
    WEEKDAYS.iter().any(|d| d.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_taken_apart() {
        let at = timestamp("2026-11-23T07:05:09Z").expect("valid");
        let moment = Moment::of(at);
        assert_eq!((moment.month, moment.day, moment.weekday, moment.second), ("11", "23", "monday", 25_509));
        assert_eq!(timestamp("2026-11-23T07:05Z"), timestamp("2026-11-23T07:05:00Z"));
        assert!(timestamp("2026-11-23T07:05Z").is_some());
        assert_eq!(timestamp("2026-11-23"), None);
        assert_eq!(time_of_day("07:05:09Z"), Some(25_509));
        assert_eq!(time_of_day("07:05Z"), Some(25_500));
        for bad in ["7:05Z", "24:00:00Z", "07:60Z", "07:05:09", "07:05:09:01Z", "", "Z", "+7:05Z"] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
    }
}
