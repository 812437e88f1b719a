//! Times as people type them into a page: a day, a time of a day, or how long ago. All are UTC, as the pages show them.
//! Absent on purpose: time zones; a schedule has its own.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Longest text, bytes.
const TEXT_MAX_BYTES: usize = 40;
/// Longest time ago, hours (ten years): histories are kept for one.
const AGO_MAX_HOURS: i64 = 10 * 366 * 24;

/// `2026-11-01`, `2026-11-01T22:00` with or without seconds and zone, `36h` or `7d` ago; nothing is no time.
pub fn read(text: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let found = if text.len() > TEXT_MAX_BYTES { None } else { ago(text, now).or_else(|| point(text)) };
    found.map(Some).ok_or_else(|| {
        let shown: String = text.chars().take(TEXT_MAX_BYTES).collect();
        format!("“{shown}” is no time; write 2026-11-01, 2026-11-01T22:00 (UTC), or 36h or 7d for so long ago")
    })
}

fn point(text: &str) -> Option<Timestamp> {
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    let day = |day: Date| utc(day.at(0, 0, 0, 0));
    // A date alone would be read as a time of it, too.
    if text.contains(['T', ' ']) {
        return text.parse::<Timestamp>().ok().or_else(|| text.parse::<DateTime>().ok().and_then(utc));
    }
    text.parse::<Date>().ok().and_then(day)
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (number, hours) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 24),
        (None, None) => return None,
    };
    let hours = number.parse::<u32>().ok().map(|n| i64::from(n) * hours).filter(|hours| *hours <= AGO_MAX_HOURS)?;
    now.checked_sub(SignedDuration::from_hours(hours)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_typed() {
        let now: Timestamp = "2026-11-23T06:00:00Z".parse().expect("a time");
        for (text, want) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            (" 2026-11-01T22:15 ", "2026-11-01T22:15:00Z"),
            ("2026-11-01T22:15:30", "2026-11-01T22:15:30Z"),
            ("2026-11-01T22:15:30+02:00", "2026-11-01T20:15:30Z"),
            ("36h", "2026-11-21T18:00:00Z"),
            ("7d", "2026-11-16T06:00:00Z"),
            ("0h", "2026-11-23T06:00:00Z"),
        ] {
            assert_eq!(read(text, now).expect(text).expect(text).to_string(), want, "{text}");
        }
        assert_eq!(read(" ", now), Ok(None));
        for text in ["soon", "d", "-1d", "99999999999d", "87841h", "2026-13-01", "2026-11-01T25:00", &"9".repeat(500)] {
            let refused = read(text, now).expect_err(text);
            assert!(refused.contains("is no time; write") && refused.len() < 250, "{refused}");
        }
    }
}
