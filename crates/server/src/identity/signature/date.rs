//! Dates as HTTP writes them, in the one form that clients still send (IMF-fixdate).

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// `Sun, 22 Nov 2026 14:33:35 GMT`, bytes.
const DATE_BYTES: usize = 29;

/// Reads `Sun, 22 Nov 2026 14:33:35 GMT`; a wrong day of the week is a wrong date.
pub fn read(text: &str) -> Option<Timestamp> {
    if text.len() != DATE_BYTES {
        return None;
    }
    let parts = BrokenDownTime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
    let civil = parts.to_datetime().ok()?;
    let time = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    // Written again it must be the same: the parser is more forgiving than clients need.
    (write(time) == text).then_some(time)
}

/// Writes that form.
pub fn write(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read_and_no_other() {
        let time: Timestamp = "2026-11-22T14:33:35Z".parse().expect("a time");
        assert_eq!(read("Sun, 22 Nov 2026 14:33:35 GMT"), Some(time));
        assert_eq!(read(&write(time)), Some(time));
        for wrong in [
            "",
            "Mon, 22 Nov 2026 14:33:35 GMT",
            "sun, 22 nov 2026 14:33:35 GMT",
            "Sun, 22 Nov 2026 14:33:35 UTC",
            "Sun, 22 Nov 2026 14:33:61 GMT",
            "Sun, 32 Nov 2026 14:33:35 GMT",
            "Sun, 22 Nov 2026 14:33:35 GMT ",
            "Sunday, 22-Nov-26 14:33:35 GMT",
            "Sun Nov 22 14:33:35 2026",
            "2026-11-22T14:33:35Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
