//! How soon vulnerabilities have to be closed, by severity. The clock of a host begins when the vulnerability was first seen
//! open there; it begins anew when it comes back. The date that the catalogue of known exploited vulnerabilities names
//! shortens it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Severity;
use crate::validate::{Invalid, Problems};

/// Longest time to close a vulnerability, days.
pub const SLA_DAYS_MAX: u32 = 3650;
/// Seconds of a day.
const DAY_SECS: i64 = 86_400;

/// Days to close a vulnerability in; absent: there is no clock for this severity. Negligible ones and those of which nobody
/// says how bad they are have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sla {
    /// Of critical ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<u32>,
    /// Of important (high) ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub important: Option<u32>,
    /// Of moderate (medium) ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderate: Option<u32>,
    /// Of low ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<u32>,
    /// Known exploited ones are due by the date of their catalogue (the end of that day, UTC) where that is sooner, also
    /// without a clock of their severity. `true` when absent.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub kev_dates: bool,
}

fn yes() -> bool {
    true
}

impl Default for Sla {
    fn default() -> Self {
        Sla { critical: Some(7), important: Some(30), moderate: Some(90), low: Some(180), kev_dates: true }
    }
}

/// What the clock of one vulnerability goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// How bad it is.
    pub severity: Severity,
    /// Known to be exploited: by when it is to be closed, as the catalogue says.
    pub kev_due: Option<Date>,
}

impl Sla {
    /// Days for a severity.
    pub fn days(&self, severity: Severity) -> Option<u32> {
        match severity {
            Severity::Critical => self.critical,
            Severity::Important => self.important,
            Severity::Moderate => self.moderate,
            Severity::Low => self.low,
            Severity::Negligible | Severity::Unknown => None,
        }
    }

    /// Until when it has to be closed where it was first seen at `since`.
    pub fn due(&self, clock: Clock, since: Timestamp) -> Option<Timestamp> {
        let days = self.days(clock.severity).map(|days| SignedDuration::from_secs(i64::from(days) * DAY_SECS));
        let by_severity = days.and_then(|days| since.checked_add(days).ok());
        [by_severity, self.by_catalogue(clock)].into_iter().flatten().min()
    }

    /// What was first seen at this second since 1970 or before is overdue at `now`: [`Sla::due`] for many at once.
    pub fn overdue_since(&self, clock: Clock, now: Timestamp) -> Option<i64> {
        if overdue(self.by_catalogue(clock), now) {
            return Some(i64::MAX);
        }
        let days = self.days(clock.severity)?;
        Some(now.as_second() - i64::from(days) * DAY_SECS)
    }

    /// The end of the day that the catalogue names.
    fn by_catalogue(&self, clock: Clock) -> Option<Timestamp> {
        let day = clock.kev_due.filter(|_| self.kev_dates)?;
        Some(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// Refuses what cannot be.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        let all = [("critical", self.critical), ("important", self.important), ("moderate", self.moderate), ("low", self.low)];
        for (field, days) in all {
            if days.is_some_and(|d| !(1..=SLA_DAYS_MAX).contains(&d)) {
                problems.add(field, format!("is not between 1 and {SLA_DAYS_MAX} days"));
            }
        }
        problems.finish()
    }
}

/// Is that which is due then overdue?
pub fn overdue(due: Option<Timestamp>, now: Timestamp) -> bool {
    due.is_some_and(|due| due <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_severity_has_its_days() {
        let sla = Sla { low: None, ..Sla::default() };
        let of = |severity| Clock { severity, kev_due: None };
        let since: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a time");
        for (severity, due) in [
            (Severity::Critical, Some("2026-11-08T00:00:00Z")),
            (Severity::Important, Some("2026-12-01T00:00:00Z")),
            (Severity::Moderate, Some("2027-01-30T00:00:00Z")),
            (Severity::Low, None),
            (Severity::Negligible, None),
            (Severity::Unknown, None),
        ] {
            assert_eq!(sla.due(of(severity), since).map(|d| d.to_string()).as_deref(), due, "{severity:?}");
        }
        assert_eq!(sla.due(of(Severity::Critical), Timestamp::MAX), None, "no such time");
        assert!(Sla { critical: Some(0), ..sla }.validate().is_err());
        assert!(Sla { critical: Some(3651), ..sla }.validate().is_err());
        assert_eq!(Sla { critical: Some(3650), ..sla }.validate(), Ok(()));
    }

    #[test]
    fn the_catalogues_date_shortens_the_clock_and_never_lengthens_it() {
        let since: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a time");
        let due = |sla: Sla, severity, day: &str| {
            let clock = Clock { severity, kev_due: Some(day.parse().expect("a day")) };
            sla.due(clock, since).map(|d| d.to_string()).unwrap_or_default()
        };
        let sla = Sla::default();
        assert_eq!(due(sla, Severity::Important, "2026-11-10"), "2026-11-11T00:00:00Z", "the end of the day");
        assert_eq!(due(sla, Severity::Important, "2027-11-10"), "2026-12-01T00:00:00Z");
        assert_eq!(due(sla, Severity::Unknown, "2026-11-10"), "2026-11-11T00:00:00Z", "no clock of its own");
        assert_eq!(due(sla, Severity::Critical, "2021-11-10"), "2021-11-11T00:00:00Z", "at once");
        assert_eq!(due(Sla { kev_dates: false, ..sla }, Severity::Important, "2026-11-10"), "2026-12-01T00:00:00Z");
        let text = serde_json::to_string(&sla).expect("JSON");
        assert!(!text.contains("kevDates"), "as before there was such a date: {text}");
        let off = Sla { kev_dates: false, ..sla };
        assert_eq!(serde_json::from_str::<Sla>(&serde_json::to_string(&off).expect("JSON")).expect("read"), off);
    }

    proptest! {
        #[test]
        fn many_at_once_are_as_each(
            secs in 0i64..4_000_000_000,
            later in -400i64 * 86_400..400 * 86_400,
            nanos in 0i32..1_000_000_000,
            n in 0usize..6,
            kev in proptest::option::of(-100i64..100),
        ) {
            let since = Timestamp::from_second(secs).expect("in range");
            let now = Timestamp::new(secs + later, 0).expect("in range") + SignedDuration::from_nanos(i64::from(nanos));
            let severity = Severity::ALL[n];
            let sla = Sla::default();
            let day = since.to_zoned(TimeZone::UTC).date();
            let kev_due = kev.map(|days| day.saturating_add(jiff::Span::new().days(days)));
            let clock = Clock { severity, kev_due };
            let each = overdue(sla.due(clock, since), now);
            let many = sla.overdue_since(clock, now).is_some_and(|cut| secs <= cut);
            prop_assert_eq!(each, many);
        }
    }
}
