//! Schedules against dates that were computed without this code (`data/schedules.py`), and against what a schedule
//! says of itself.
#![allow(missing_docs)]

use drydock_domain::schedule::{Calendar, DayOfWeek, OCCURRENCES_MAX, OneTimeSchedule, RecurringSchedule};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    schedule: RecurringSchedule,
    after: Timestamp,
    count: usize,
    due: Vec<Timestamp>,
}

fn calendar(schedule: &RecurringSchedule) -> Calendar {
    schedule.calendar(&TimeZoneDatabase::bundled(), "recurringSchedule").expect("a good schedule")
}

fn schedule(json: Value) -> RecurringSchedule {
    serde_json::from_value(json).expect("a schedule")
}

#[test]
fn every_date_is_the_one_that_another_program_computed() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/schedules.json")).expect("the table");
    assert!(cases.len() > 900, "{}", cases.len());
    let zones: std::collections::BTreeSet<&str> = cases.iter().map(|c| c.schedule.time_zone.id.as_str()).collect();
    assert!(zones.len() > 12 && zones.contains("Australia/Lord_Howe") && zones.contains("Asia/Kolkata"), "{zones:?}");
    let mut wrong = Vec::new();
    for case in &cases {
        let got: Vec<Timestamp> = calendar(&case.schedule).occurrences(case.after).take(case.count).collect();
        if got != case.due {
            let at = got.iter().zip(&case.due).find(|(a, b)| a != b);
            wrong.push(format!("{} after {}: {at:?} ({} of {})", json!(case.schedule), case.after, got.len(), case.due.len()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases: {:#?}", wrong.len(), cases.len(), &wrong[..wrong.len().min(12)]);
}

#[test]
fn a_list_of_moments_ends_at_its_limit() {
    let daily = schedule(json!({"timeZone": {"id": "UTC"}, "timeOfDay": {}, "frequency": "DAILY"}));
    let all: Vec<Timestamp> = calendar(&daily).occurrences(Timestamp::UNIX_EPOCH).collect();
    assert_eq!(all.len(), OCCURRENCES_MAX);
    let late = Timestamp::MAX;
    assert_eq!(calendar(&daily).next_after(late), None, "the end of time is no failure");
    assert!(calendar(&daily).next_after(Timestamp::MIN).is_some());
}

#[test]
fn once_is_due_once() {
    let once: OneTimeSchedule = serde_json::from_value(json!({"executeTime": "2026-12-01T03:00:00+01:00"})).expect("a schedule");
    let at: Timestamp = "2026-12-01T02:00:00Z".parse().expect("a time");
    assert_eq!(once.calendar().next_after(at - SignedDuration::from_secs(1)), Some(at));
    assert_eq!(once.calendar().next_after(at), None);
    assert_eq!(once.calendar().occurrences(Timestamp::UNIX_EPOCH).count(), 1);
    let fraction = OneTimeSchedule { execute_time: at + SignedDuration::from_nanos(999_999_999) };
    assert_eq!(fraction.calendar().next_after(Timestamp::UNIX_EPOCH), Some(at), "whole seconds, as of all schedules");
}

fn refused(mut change: Value) -> Vec<String> {
    let mut full = json!({"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3}, "frequency": "DAILY"});
    let fields = change.as_object_mut().expect("fields");
    full.as_object_mut().expect("fields").append(fields);
    let errors = match schedule(full).calendar(&TimeZoneDatabase::bundled(), "s") {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.errors,
    };
    errors.into_iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
}

#[test]
fn what_is_wrong_is_said_field_by_field() {
    assert_eq!(refused(json!({})), [""; 0]);
    let all = refused(json!({
        "timeZone": {"id": "Europe/Berlni"}, "timeOfDay": {"hours": 25, "minutes": 60, "seconds": -1, "nanos": 1},
        "startTime": "2026-12-02T00:00:00Z", "endTime": "2026-12-02T00:00:00Z", "frequency": "MONTHLY",
        "weekly": {"dayOfWeek": "MONDAY"},
        "monthly": {"weekDayOfMonth": {"weekOrdinal": 0, "dayOfWeek": "MONDAY", "dayOffset": 31}}}));
    let expected = [
        "s.timeOfDay.hours: is 25; 0 to 23",
        "s.timeOfDay.minutes: is 60; 0 to 59",
        "s.timeOfDay.seconds: is -1; 0 to 59",
        "s.timeOfDay.nanos: is not 0; a schedule counts in seconds",
        "s.timeZone.id: \"Europe/Berlni\" is no time zone this server knows; give an IANA id such as Europe/Berlin or UTC",
        "s.weekly: belongs to frequency WEEKLY, not MONTHLY",
        "s.monthly.weekDayOfMonth.weekOrdinal: is 0; 1 to 4, or -1 for the last such weekday of the month",
        "s.monthly.weekDayOfMonth.dayOffset: is 31; -30 to 30 days",
        "s.endTime: is not after startTime",
    ];
    assert_eq!(all, expected);
    for (change, expected) in [
        (json!({"timeOfDay": {"hours": 24}}), "s.timeOfDay.hours: is 24; for midnight"),
        (json!({"frequency": "WEEKLY"}), "s.weekly: is missing"),
        (json!({"frequency": "WEEKLY", "weekly": {}}), "s.weekly: names no day"),
        (
            json!({"frequency": "WEEKLY", "weekly": {"dayOfWeek": "MONDAY", "daysOfWeek": ["FRIDAY"]}}),
            "s.weekly.daysOfWeek: cannot be combined",
        ),
        (
            json!({"frequency": "WEEKLY", "weekly": {"daysOfWeek": ["FRIDAY", "MONDAY", "FRIDAY"]}}),
            "s.weekly.daysOfWeek: names Friday twice",
        ),
        (json!({"frequency": "MONTHLY"}), "s.monthly: is missing"),
        (json!({"frequency": "MONTHLY", "monthly": {}}), "s.monthly: names no day"),
        (json!({"frequency": "MONTHLY", "monthly": {"monthDay": 0}}), "s.monthly.monthDay: is 0; 1 to 31"),
        (json!({"frequency": "MONTHLY", "monthly": {"monthDay": 32}}), "s.monthly.monthDay: is 32; 1 to 31"),
        (json!({"frequency": "MONTHLY", "monthly": {"monthDay": -2}}), "s.monthly.monthDay: is -2; 1 to 31"),
        (
            json!({"frequency": "MONTHLY", "monthly": {"monthDay": 1, "weekDayOfMonth": {"weekOrdinal": 5, "dayOfWeek": "SUNDAY"}}}),
            "s.monthly.monthDay: cannot be combined",
        ),
        (
            json!({"frequency": "MONTHLY", "monthly": {"weekDayOfMonth": {"weekOrdinal": 5, "dayOfWeek": "SUNDAY"}}}),
            "s.monthly.weekDayOfMonth.weekOrdinal: is 5",
        ),
        (
            json!({"frequency": "MONTHLY", "monthly": {"weekDayOfMonth": {"weekOrdinal": 1, "dayOfWeek": "SUNDAY", "dayOffset": -31}}}),
            "s.monthly.weekDayOfMonth.dayOffset: is -31",
        ),
    ] {
        let said = refused(change.clone());
        assert!(said.len() == 1 && said[0].starts_with(expected), "{change}: {said:?}");
    }
    for zone in ["", "/etc/passwd", "../UTC", "posix/UTC", "right/UTC", "localtime", "Mars/Olympus", "Europe/Berlin\0", "é", "x"]
    {
        let said = refused(json!({"timeZone": {"id": zone}}));
        assert!(said.len() == 1 && said[0].starts_with("s.timeZone.id: "), "{zone}: {said:?}");
    }
    let long = refused(json!({"timeZone": {"id": "x".repeat(100_000)}}));
    assert!(long[0].len() < 200, "what is echoed is bounded");
}

#[test]
fn a_schedule_is_said_in_words() {
    for (more, words) in [
        (json!({"frequency": "DAILY"}), "daily at 03:05 Europe/Berlin"),
        (json!({"frequency": "WEEKLY", "weekly": {"dayOfWeek": "SUNDAY"}}), "Sun at 03:05 Europe/Berlin"),
        (json!({"frequency": "WEEKLY", "weekly": {"daysOfWeek": ["MONDAY", "THURSDAY"]}}), "Mon, Thu at 03:05 Europe/Berlin"),
        (json!({"frequency": "MONTHLY", "monthly": {"monthDay": 15}}), "day 15 of the month at 03:05 Europe/Berlin"),
        (json!({"frequency": "MONTHLY", "monthly": {"monthDay": -1}}), "last day of the month at 03:05 Europe/Berlin"),
        (
            json!({"frequency": "MONTHLY", "monthly": {"weekDayOfMonth": {"weekOrdinal": 2, "dayOfWeek": "TUESDAY", "dayOffset": 3}}}),
            "2nd Tuesday of the month +3 days at 03:05 Europe/Berlin",
        ),
    ] {
        let mut full = json!({"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3, "minutes": 5}});
        full.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        assert_eq!(schedule(full).to_string(), words);
    }
}

#[test]
fn days_are_read_by_their_beginning() {
    assert_eq!(DayOfWeek::parse("mon"), Some(DayOfWeek::Monday));
    assert_eq!(DayOfWeek::parse("THURS"), Some(DayOfWeek::Thursday));
    assert_eq!(DayOfWeek::parse("t"), None);
    assert_eq!(DayOfWeek::parse("mondays"), None);
    assert_eq!(DayOfWeek::parse(""), None);
}

const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Cairo",
    "Asia/Kolkata",
    "UTC",
];
const NAMES: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];

/// Days of a rule, and whether a date is one of them, said in another way.
#[derive(Debug, Clone)]
enum Days {
    Daily,
    Weekly(usize),
    MonthDay(i64),
    Nth { nth: i64, weekday: usize, offset: i64 },
}

fn weekday(date: Date) -> usize {
    usize::try_from(date.weekday().to_monday_zero_offset()).expect("0 to 6")
}

impl Days {
    fn any() -> impl Strategy<Value = Days> {
        let nth = (prop_oneof![Just(-1i64), 1i64..=4], 0usize..7, -30i64..=30).prop_map(|(nth, weekday, offset)| Days::Nth {
            nth,
            weekday,
            offset,
        });
        let day = prop_oneof![Just(-1i64), 1i64..=31].prop_map(Days::MonthDay);
        prop_oneof![Just(Days::Daily), (0usize..7).prop_map(Days::Weekly), day, nth]
    }

    fn json(&self) -> Value {
        match self {
            Days::Daily => json!({"frequency": "DAILY"}),
            Days::Weekly(day) => json!({"frequency": "WEEKLY", "weekly": {"dayOfWeek": NAMES[*day]}}),
            Days::MonthDay(day) => json!({"frequency": "MONTHLY", "monthly": {"monthDay": day}}),
            Days::Nth { nth, weekday, offset } => {
                let which = json!({"weekOrdinal": nth, "dayOfWeek": NAMES[*weekday], "dayOffset": offset});
                json!({"frequency": "MONTHLY", "monthly": {"weekDayOfMonth": which}})
            }
        }
    }

    fn has(&self, date: Date) -> bool {
        match self {
            Days::Daily => true,
            Days::Weekly(day) => weekday(date) == *day,
            Days::MonthDay(-1) => date == date.last_of_month(),
            Days::MonthDay(day) => i64::from(date.day()) == *day,
            Days::Nth { nth, weekday: wanted, offset } => {
                let base = date.checked_sub(offset.days()).expect("a date");
                let of_last_week = base.day() > base.days_in_month() - 7;
                let which = i64::from((base.day() - 1) / 7 + 1);
                weekday(base) == *wanted && if *nth == -1 { of_last_week } else { which == *nth }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// On every day of the rule exactly one moment, on no other day one, in order; the moment of a day shows the time of
    /// day unless that time was jumped over.
    #[test]
    fn each_day_of_a_rule_has_one_moment(
        rule in Days::any(),
        zone in 0usize..ZONES.len(),
        (hours, minutes) in (0i8..24, 0i8..60),
        after in 946_684_800i64..4_102_444_800,
    ) {
        let mut json = rule.json();
        json["timeZone"] = json!({"id": ZONES[zone]});
        json["timeOfDay"] = json!({"hours": hours, "minutes": minutes});
        let calendar = calendar(&schedule(json));
        let after = Timestamp::from_second(after).expect("in range");
        let zone: TimeZone = TimeZoneDatabase::bundled().get(ZONES[zone]).expect("a zone");
        let due: Vec<Timestamp> = calendar.occurrences(after).take(20).collect();
        prop_assert_eq!(due.len(), 20);
        prop_assert!(due[0] > after);
        prop_assert!(due.is_sorted_by(|a, b| a < b));
        let mut days = Vec::new();
        for at in &due {
            prop_assert_eq!(calendar.next_after(*at - SignedDuration::from_nanos(1)), Some(*at));
            let local = zone.to_datetime(*at);
            let shown = (local.hour(), local.minute()) == (hours, minutes) && local.second() == 0;
            let just_before = zone.to_datetime(*at - SignedDuration::from_nanos(1));
            let jumped = just_before.checked_add(1.nanosecond()).expect("a time") != local;
            prop_assert!(shown || jumped, "{} is not {}:{}", local, hours, minutes);
            // A time jumped over at midnight is due on the day after its own.
            let wanted = local.date().to_datetime(jiff::civil::Time::constant(hours, minutes, 0, 0));
            let own = if wanted > local { local.date().yesterday().expect("a day") } else { local.date() };
            days.push(own);
        }
        let (first, last) = (zone.to_datetime(after).date(), days[19]);
        let mut expected: Vec<Date> = std::iter::successors(Some(first), |d| d.tomorrow().ok())
            .take_while(|d| *d <= last).filter(|d| rule.has(*d)).collect();
        // The first day's moment may have been before `after`.
        if expected.len() == days.len() + 1 {
            expected.remove(0);
        }
        prop_assert_eq!(days, expected);
    }
}
