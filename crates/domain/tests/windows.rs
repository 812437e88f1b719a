//! Maintenance windows and freezes against times that were computed without this code (`data/windows.py`), and against
//! an evaluation that looks at every minute.
#![allow(missing_docs)]

use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::rollout::Closed;
use drydock_domain::rollout::window::{self, Freeze, FreezeCalendar, FreezePeriod, MaintenanceWindow, Window};
use drydock_domain::validate::Invalid;
use drydock_domain::work::{INTERVALS_MAX, Interval};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    windows: Vec<MaintenanceWindow>,
    freezes: Vec<FreezePeriod>,
    after: Timestamp,
    count: usize,
    open: Vec<Interval>,
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn checked(windows: &[MaintenanceWindow]) -> Vec<Window> {
    let zones = TimeZoneDatabase::bundled();
    windows.iter().map(|w| w.window(&zones).expect("a good window")).collect()
}

fn frozen(periods: Vec<FreezePeriod>) -> Vec<Freeze> {
    if periods.is_empty() {
        return Vec::new();
    }
    let all = InstanceFilter { all: true, ..InstanceFilter::default() };
    vec![calendar("freeze", periods, all).freeze().expect("a good calendar")]
}

fn calendar(name: &str, periods: Vec<FreezePeriod>, instance_filter: InstanceFilter) -> FreezeCalendar {
    FreezeCalendar { name: name.into(), description: String::new(), instance_filter, periods, compartment: None }
}

fn period(from: &str, to: &str) -> FreezePeriod {
    FreezePeriod { from: at(from), to: at(to), reason: String::new() }
}

fn nights(zone: &str, hours: i32, secs: u64) -> MaintenanceWindow {
    serde_json::from_value(json!({"name": "nights", "instanceFilter": {"all": true}, "durationSecs": secs,
        "schedule": {"timeZone": {"id": zone}, "timeOfDay": {"hours": hours}, "frequency": "DAILY"}}))
    .expect("a window")
}

#[test]
fn every_opening_is_the_one_that_another_program_computed() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/windows.json")).expect("the table");
    assert!(cases.len() > 600, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let (windows, freezes) = (checked(&case.windows), frozen(case.freezes));
        let got = window::intervals(&windows, &freezes, case.after, case.count);
        if got != case.open {
            wrong.push(format!("{} after {}: {got:?}, not {:?}", json!(case.windows), case.after, case.open));
        }
        for open in &case.open {
            let second = SignedDuration::from_secs(1);
            assert_eq!(window::state(&windows, &freezes, open.from.max(case.after)), None);
            assert_eq!(window::state(&windows, &freezes, open.to - second), None);
            assert!(window::state(&windows, &freezes, open.to).is_some(), "{open:?}");
        }
        for pair in case.open.windows(2) {
            match window::state(&windows, &freezes, pair[0].to) {
                Some(Closed::Window { opens_at, .. }) => assert_eq!(opens_at, Some(pair[1].from)),
                Some(Closed::Frozen { until, .. }) => assert!(until <= pair[1].from && until > pair[0].to),
                None => panic!("{pair:?}"),
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases: {:#?}", wrong.len(), &wrong[..wrong.len().min(6)]);
}

#[test]
fn a_window_is_as_long_in_the_night_in_which_the_clock_is_put_forward() {
    let windows = checked(&[nights("Europe/Berlin", 1, 4 * 3600)]);
    let open = window::intervals(&windows, &[], at("2026-03-28T12:00:00Z"), 1);
    // 01:00 to 06:00 by the clock on the wall.
    assert_eq!(open, [Interval { from: at("2026-03-29T00:00:00Z"), to: at("2026-03-29T04:00:00Z") }]);
}

#[test]
fn a_freeze_closes_what_is_open_and_what_is_never_closed() {
    let windows = checked(&[nights("UTC", 2, 7200)]);
    let freezes = frozen(vec![period("2026-12-20T00:00:00Z", "2027-01-02T03:00:00Z")]);
    let christmas = at("2026-12-24T02:30:00Z");
    let until = at("2027-01-02T03:00:00Z");
    assert_eq!(window::state(&windows, &freezes, christmas), Some(Closed::Frozen { name: "freeze".into(), until }));
    assert_eq!(window::state(&[], &freezes, christmas), Some(Closed::Frozen { name: "freeze".into(), until }));
    assert_eq!(window::state(&[], &freezes, until), None);
    // Shut before the freeze; the next opening is what the freeze leaves of one.
    let shut = window::state(&windows, &freezes, at("2026-12-19T12:00:00Z"));
    assert_eq!(shut, Some(Closed::Window { name: "nights".into(), opens_at: Some(until) }));
    let open = window::intervals(&windows, &freezes, christmas, 2);
    assert_eq!(open[0], Interval { from: until, to: at("2027-01-02T04:00:00Z") });
}

#[test]
fn a_window_whose_last_opening_is_over_says_so() {
    let mut last = nights("UTC", 2, 3600);
    last.schedule.end_time = Some(at("2026-05-02T00:00:00Z"));
    let windows = checked(&[last]);
    assert_eq!(window::state(&windows, &[], at("2026-05-01T02:59:59Z")), None);
    let over = at("2026-05-01T03:00:00Z");
    assert_eq!(window::state(&windows, &[], over), Some(Closed::Window { name: "nights".into(), opens_at: None }));
    assert_eq!(window::intervals(&windows, &[], over, 5), []);
}

#[test]
fn what_a_host_is_told() {
    let now = at("2026-05-01T12:00:00Z");
    assert_eq!(window::for_order(&[], &[], now), None, "nothing to keep to");
    let freezes = frozen(vec![period("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z")]);
    let told = window::for_order(&[], &freezes, now).expect("a freeze");
    assert_eq!(told.intervals.len(), 2, "before it and after it");
    assert!(told.intervals[0].from < now && told.intervals[0].to == at("2026-06-01T00:00:00Z"));
    let named: Vec<MaintenanceWindow> =
        (0..9).map(|i| MaintenanceWindow { name: format!("window-of-the-{i}th-team"), ..nights("UTC", 2 * i, 3600) }).collect();
    let told = window::for_order(&checked(&named), &freezes, now).expect("windows");
    assert_eq!(told.intervals.len(), INTERVALS_MAX);
    assert!(told.name.len() <= 128 && told.name.starts_with("window-of-the-0th-team, window-of"), "{}", told.name);
    // Two windows that make whole days: the list still ends.
    let always = checked(&[nights("UTC", 0, 12 * 3600), nights("UTC", 12, 12 * 3600)]);
    let open = window::intervals(&always, &[], now, 5);
    assert_eq!(open.len(), 1);
    assert!(open[0].to > now + SignedDuration::from_hours(24 * 700));
}

fn errors_of(checked: Result<(), Invalid>) -> Vec<String> {
    checked.err().into_iter().flat_map(|i| i.errors).map(|e| format!("{}: {}", e.field, e.message)).collect()
}

#[test]
fn impossible_windows_are_refused_with_their_field() {
    let refused = |change: Value| {
        let mut full = json!({"name": "nights", "instanceFilter": {"all": true}, "durationSecs": 3600,
            "schedule": {"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3}, "frequency": "DAILY"}});
        for (key, value) in change.as_object().expect("fields") {
            match (full["schedule"].as_object_mut(), key.strip_prefix("schedule.")) {
                (Some(schedule), Some(field)) => drop(schedule.insert(field.to_owned(), value.clone())),
                _ => full[key] = value.clone(),
            }
        }
        let window: MaintenanceWindow = serde_json::from_value(full).expect("the form is right");
        errors_of(window.window(&TimeZoneDatabase::bundled()).map(drop))
    };
    assert_eq!(refused(json!({})), [""; 0]);
    let weekly = |days: Value| json!({"schedule.frequency": "WEEKLY", "schedule.weekly": days, "durationSecs": 2 * 86400});
    assert_eq!(refused(weekly(json!({"daysOfWeek": ["MONDAY", "WEDNESDAY"]}))), [""; 0], "closed from Friday to Monday");
    for (bad, field, words) in [
        (json!({"durationSecs": 0}), "durationSecs", "between 300"),
        (json!({"durationSecs": 299}), "durationSecs", "between 300"),
        (json!({"durationSecs": 604_801}), "durationSecs", "between 300"),
        (json!({"durationSecs": 86400}), "durationSecs", "never closes"),
        (
            json!({"durationSecs": 604_800, "schedule.frequency": "WEEKLY", "schedule.weekly": {"dayOfWeek": "MONDAY"}}),
            "durationSecs",
            "never closes",
        ),
        (weekly(json!({"daysOfWeek": ["MONDAY", "WEDNESDAY", "FRIDAY", "SUNDAY"]})), "durationSecs", "never closes"),
        (json!({"schedule.timeZone": {"id": "Europe/Atlantis"}}), "schedule.timeZone.id", "Europe/Atlantis"),
        (json!({"schedule.timeOfDay": {"hours": 24}}), "schedule.timeOfDay.hours", "24"),
        (
            json!({"schedule.startTime": "2026-05-02T00:00:00Z", "schedule.endTime": "2026-05-01T00:00:00Z"}),
            "schedule.endTime",
            "after startTime",
        ),
        (
            json!({"schedule.startTime": "2026-02-01T00:00:00Z", "schedule.endTime": "2026-02-28T00:00:00Z",
                "schedule.frequency": "MONTHLY", "schedule.monthly": {"monthDay": 31}}),
            "schedule",
            "never opens",
        ),
        (json!({"instanceFilter": {}}), "instanceFilter", "is empty"),
        (json!({"name": "Not/a name"}), "name", ""),
        (json!({"description": "x".repeat(1025)}), "description", "at most 1024"),
    ] {
        let found = refused(bad.clone());
        let said = found.iter().any(|p| p.starts_with(&format!("{field}: ")) && p.contains(words));
        assert!(said, "{bad}: {found:?}");
    }
}

#[test]
fn impossible_freezes_are_refused_with_their_field() {
    let all = InstanceFilter { all: true, ..InstanceFilter::default() };
    let refused = |periods: Vec<FreezePeriod>| errors_of(calendar("f", periods, all.clone()).freeze().map(drop));
    let good = period("2026-12-20T00:00:00Z", "2027-01-02T00:00:00Z");
    let backwards = period("2027-01-02T00:00:00Z", "2026-12-20T00:00:00Z");
    let empty = period("2027-01-02T00:00:00Z", "2027-01-02T00:00:00Z");
    assert_eq!(refused(vec![good.clone()]), [""; 0]);
    assert_eq!(refused(vec![good.clone(), backwards]), ["periods[1].to: is not after from"]);
    assert_eq!(refused(vec![empty]), ["periods[0].to: is not after from"]);
    assert_eq!(refused(Vec::new()), ["periods: is empty; a freeze needs at least one period"]);
    assert_eq!(refused(vec![good.clone(); 367]), ["periods: has 367 entries; at most 366 are allowed"]);
    let unread: Result<FreezeCalendar, _> =
        serde_json::from_value(json!({"name": "f", "instanceFilter": {"all": true}, "periods": [], "zone": "UTC"}));
    assert!(unread.is_err(), "an unknown field is not passed over");
    let nobody = calendar("f", vec![good], InstanceFilter::default());
    assert!(errors_of(nobody.freeze().map(drop))[0].starts_with("instanceFilter: is empty"));
}

/// Zones with changes of their clocks, some at midnight, one of half an hour.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "America/St_Johns",
    "Asia/Kolkata",
    "Africa/Cairo",
];
/// Around these days the clocks of those zones change.
const CHANGES: [&str; 7] = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-04-24", "2026-09-06", "2026-10-04", "2026-10-25"];
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// Begins, as a person would find them with a clock on the wall: the first minute at which it shows the day and the time.
fn naive_starts(window: &MaintenanceWindow, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let zone: TimeZone = TimeZoneDatabase::bundled().get(&window.schedule.time_zone.id).expect("a zone");
    let schedule = &window.schedule;
    let counts = |day: Date| match (&schedule.weekly, &schedule.monthly) {
        (Some(weekly), _) => {
            weekly.days().iter().any(|d| d.name().to_lowercase() == format!("{:?}", day.weekday()).to_lowercase())
        }
        (None, Some(monthly)) => match monthly.month_day {
            Some(-1) => day.tomorrow().is_ok_and(|next| next.day() == 1),
            Some(wanted) => i32::from(day.day()) == wanted,
            None => false,
        },
        (None, None) => true,
    };
    let mut starts = Vec::new();
    let mut shown = zone.to_datetime(from);
    let mut now = from;
    while now < to {
        now += MINUTE;
        let wall = zone.to_datetime(now);
        for day in [wall.date().yesterday().expect("a day"), wall.date()] {
            let due = day.at(schedule.time_of_day.hours as i8, schedule.time_of_day.minutes as i8, 0, 0);
            if counts(day) && shown < due && due <= wall {
                starts.push(now);
            }
        }
        // A clock that is put back shows nothing for the first time.
        shown = shown.max(wall);
    }
    starts
}

prop_compose! {
    fn a_window()(zone in 0..ZONES.len(), hours in 0..24, minutes in 0..60, secs in 300u64..100_000, kind in 0..4, day in 1..29)
        -> MaintenanceWindow {
        let mut window = nights(ZONES[zone], hours, secs);
        window.schedule.time_of_day.minutes = minutes;
        let days = ["MONDAY", "SATURDAY", "SUNDAY"];
        let rule = match kind {
            0 => json!({"frequency": "DAILY"}),
            1 => json!({"frequency": "WEEKLY", "weekly": {"daysOfWeek": days}}),
            2 => json!({"frequency": "MONTHLY", "monthly": {"monthDay": day}}),
            _ => json!({"frequency": "MONTHLY", "monthly": {"monthDay": -1}}),
        };
        window.duration_secs = if kind == 0 { secs.min(86_399) } else { secs } / 60 * 60;
        let mut schedule = json!(window.schedule);
        schedule.as_object_mut().expect("fields").extend(rule.as_object().expect("fields").clone());
        window.schedule = serde_json::from_value(schedule).expect("a schedule");
        window
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_minute_is_as_a_clock_on_the_wall_says(
        written in proptest::collection::vec(a_window(), 1..4),
        cuts in proptest::collection::vec((0..5000i64, 1..900i64), 0..4),
        day in 0..CHANGES.len(),
    ) {
        let middle = at(&format!("{}T12:00:00Z", CHANGES[day]));
        let from = middle - SignedDuration::from_hours(36);
        let to = from + SignedDuration::from_hours(72);
        let periods: Vec<FreezePeriod> = cuts.iter().map(|(begin, length)| FreezePeriod {
            from: from + SignedDuration::from_mins(*begin),
            to: from + SignedDuration::from_mins(begin + length),
            reason: String::new(),
        }).collect();
        let (windows, freezes) = (checked(&written), frozen(periods.clone()));
        let longest = SignedDuration::from_hours(48);
        let starts: Vec<(Timestamp, SignedDuration)> = written.iter().flat_map(|w| {
            let length = SignedDuration::from_secs(w.duration_secs as i64);
            naive_starts(w, from - longest, to).into_iter().map(move |s| (s, length))
        }).collect();
        let open = window::intervals(&windows, &freezes, from, INTERVALS_MAX);
        prop_assert!(open.windows(2).all(|w| w[0].to < w[1].from) && open.iter().all(|i| i.from < i.to), "{open:?}");
        let mut now = from;
        while now < to {
            let is_frozen = periods.iter().any(|p| p.from <= now && now < p.to);
            let is_open = starts.iter().any(|(s, length)| *s <= now && now < *s + *length);
            let listed = open.iter().find(|i| now < i.to);
            prop_assert_eq!(is_open && !is_frozen, listed.is_some_and(|i| i.from <= now), "{} of {:?}", now, open);
            let state = window::state(&windows, &freezes, now);
            match (is_open, is_frozen, &state) {
                (_, true, Some(Closed::Frozen { until, .. })) => {
                    let covered = |t: Timestamp| periods.iter().any(|p| p.from <= t && t < p.to);
                    prop_assert!(!covered(*until) && covered(*until - MINUTE));
                }
                (true, false, None) => {}
                (false, false, Some(Closed::Window { opens_at, .. })) => prop_assert_eq!(*opens_at, listed.map(|i| i.from)),
                _ => prop_assert!(false, "{now}: open {is_open}, frozen {is_frozen}: {state:?}"),
            }
            now += MINUTE;
        }
    }
}
