use super::*;
use crate::patch::report::ActionKind;
use crate::patch::spec::PatchJobSpec;

const DAY: i64 = 24 * 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

fn version(name: &str, version: &str) -> SoakVersion {
    SoakVersion { name: name.into(), arch: "amd64".into(), version: version.into() }
}

fn installed(name: &str, version: &str) -> Package {
    Package { name: name.into(), arch: "amd64".into(), version: version.into(), ..Package::default() }
}

/// `(package, version, day on which it was first seen)`.
fn order(days: u32, seen: &[(&str, &str, i64)], has: &[(&str, &str)], today: i64) -> OrderSoak {
    let config = PatchConfig { soak_days: days, ..PatchConfig::default() };
    let seen = seen.iter().map(|(n, v, day)| Sighting { version: version(n, v), first_seen: at(day * DAY) }).collect();
    let has: Vec<Package> = has.iter().map(|(n, v)| installed(n, v)).collect();
    OrderSoak::of(&config, seen, &has, Scheme::Deb, at(today * DAY))
}

fn plan(actions: &[(&str, Option<&str>, Option<&str>, UpdateKind)]) -> Vec<Plan> {
    let actions = actions.iter().map(|(name, from, to, kind)| PlannedAction {
        action: if from.is_none() { ActionKind::Install } else { ActionKind::Upgrade },
        name: (*name).to_owned(),
        arch: "amd64".to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        repository: String::new(),
        kind: *kind,
        advisories: Vec::new(),
    });
    let actions: Vec<PlannedAction> = actions.collect();
    let plan = serde_json::json!({"manager": "apt", "actions": actions});
    vec![serde_json::from_value(plan).expect("a plan")]
}

fn bars(soak: &OrderSoak, plans: &[Plan]) -> Vec<String> {
    soak.early(plans).into_iter().map(|b| format!("{} {}: {}", b.name, b.version, b.reason)).collect()
}

#[test]
fn a_version_has_soaked_on_the_second() {
    let soaked = |days, first: i64, now: i64| {
        let config = PatchConfig { soak_days: days, ..PatchConfig::default() };
        let seen = vec![Sighting { version: version("a", "2"), first_seen: at(first) }];
        !OrderSoak::of(&config, seen, &[], Scheme::Deb, at(now)).soaked.is_empty()
    };
    for (days, first, now, expected) in [
        (7, 0, 7 * DAY, true),
        (7, 0, 7 * DAY - 1, false),
        (7, 1, 7 * DAY, false),
        (1, 0, DAY, true),
        (180, 0, 180 * DAY, true),
        (180, 0, 180 * DAY - 1, false),
        // A clock that stepped back, or another server's that goes ahead.
        (1, 10 * DAY, 0, false),
    ] {
        assert_eq!(soaked(days, first, now), expected, "{days} days, seen at {first}, now {now}");
    }
    assert_eq!(until(Timestamp::MAX, 7), Timestamp::MAX);
}

#[test]
fn an_order_names_what_is_newer_than_what_the_host_has() {
    let seen =
        [("a", "0.9", 0), ("a", "1.0", 0), ("a", "1.1", 0), ("a", "1.10", 1), ("a", "1.9", 9), ("new", "1", 0), ("k", "5", 0)];
    let soak = order(7, &seen, &[("a", "1.0"), ("k", "6"), ("k", "4")], 8);
    assert_eq!(soak.soaked, [version("a", "1.1"), version("a", "1.10"), version("k", "5"), version("new", "1")]);
    assert_eq!(
        soak.soaking,
        [Soaking { name: "a".into(), arch: "amd64".into(), version: "1.9".into(), until: at(16 * DAY) }],
        "and when the others may come"
    );
    let text = serde_json::to_string(&soak).expect("JSON");
    assert_eq!(serde_json::from_str::<OrderSoak>(&text).expect("read"), soak);
    assert_eq!(soak.wrong(), None);
}

#[test]
fn what_has_not_soaked_is_barred_with_everything_of_it_that_soaks() {
    use UpdateKind::{Bugfix, Security};
    let soak = order(7, &[("a", "2", 0), ("a", "3", 6), ("a", "4", 7), ("b", "2", 0)], &[("a", "1"), ("b", "1"), ("c", "1")], 8);
    let up = |name, to, kind| (name, Some("1"), Some(to), kind);
    assert_eq!(bars(&soak, &plan(&[up("a", "2", Bugfix), up("b", "2", Security)])), Vec::<String>::new());
    assert_eq!(
        bars(&soak, &plan(&[up("a", "4", Bugfix), up("b", "2", Bugfix)])),
        ["a 3: soaks until 1970-01-14 00:00 UTC", "a 4: soaks until 1970-01-15 00:00 UTC"]
    );
    assert_eq!(
        bars(&soak, &plan(&[up("c", "2", Security), ("new", None, Some("1"), Bugfix)])),
        [
            "c 2: soaks: the server had not seen it before, and 7 days begin now",
            "new 1: soaks: the server had not seen it before, and 7 days begin now"
        ],
        "the server never saw them"
    );
    // The same version again, and what goes, bring nothing.
    assert_eq!(bars(&soak, &plan(&[("c", Some("2"), Some("2"), Bugfix), ("d", Some("1"), None, Bugfix)])), Vec::<String>::new());

    let lenient = OrderSoak { except_security: true, ..soak };
    assert_eq!(bars(&lenient, &plan(&[up("a", "4", Security), up("c", "2", Security)])), Vec::<String>::new());
    assert_eq!(
        bars(&lenient, &plan(&[up("a", "4", Bugfix)])),
        ["a 4: soaks until 1970-01-15 00:00 UTC"],
        "version 3 may be a security update"
    );
    // Every bar can be kept to by the package managers.
    let barred = lenient.early(&plan(&[up("a", "4", Bugfix), up("c", "2", Bugfix)]));
    assert_eq!(PatchConfig { barred, ..PatchConfig::default() }.check_barred(), Ok(()));
}

#[test]
fn limits_hold_and_what_does_not_fit_has_not_soaked() {
    let seen = |n: usize, first: i64| -> Vec<Sighting> {
        (0..n).map(|i| Sighting { version: version(&format!("p{i:05}"), "2"), first_seen: at(first) }).collect()
    };
    let config = PatchConfig { soak_days: 1, ..PatchConfig::default() };
    let many = OrderSoak::of(&config, seen(SOAKED_MAX + 1, 0), &[], Scheme::Rpm, at(DAY));
    assert_eq!((many.soaked.len(), many.wrong()), (SOAKED_MAX, None));
    let beyond = format!("p{SOAKED_MAX:05}");
    assert_eq!(many.early(&plan(&[(&beyond, None, Some("2"), UpdateKind::Bugfix)])).len(), 1);
    assert_eq!(OrderSoak::of(&config, seen(SOAKING_MAX + 1, 1), &[], Scheme::Rpm, at(DAY)).soaking.len(), SOAKING_MAX);
    let mut large = many;
    large.soaked.push(version("z", "1"));
    assert!(large.wrong().is_some());
}

#[test]
fn a_report_teaches_what_it_names() {
    let report = |skipped: &str| -> TaskReport {
        let text = format!(
            r#"{{"task":"00000000-0000-0000-0000-000000000001","seq":1,"at":"2026-01-01T00:00:00Z","state":"SUCCEEDED",
               "plans":[{{"manager":"apt","actions":[
                 {{"action":"UPGRADE","name":"a","arch":"amd64","from":"1","to":"2"}},
                 {{"action":"INSTALL","name":"lib","arch":"all","from":null,"to":"1"}},
                 {{"action":"REMOVE","name":"old","arch":"all","from":"1","to":null}}],"skipped":[{skipped}]}}]}}"#
        );
        serde_json::from_str(&text).expect("a report")
    };
    let names = |report: &TaskReport, soak| -> Vec<(String, bool)> {
        sighted(report, soak).into_iter().map(|(v, new)| (format!("{} {}", v.name, v.version), new)).collect()
    };
    let own = |list: &[(&str, bool)]| -> Vec<(String, bool)> { list.iter().map(|(t, b)| ((*t).to_owned(), *b)).collect() };
    let left = report(r#"{"name":"a","arch":"amd64","version":"3","reason":"x"},{"name":"patch","reason":"no version"}"#);
    assert_eq!(names(&left, false), own(&[("a 2", false), ("a 3", false), ("lib 1", true)]));
    assert_eq!(names(&left, true), own(&[("a 2", false), ("a 3", true), ("lib 1", true)]));
    let hostile =
        report(r#"{"name":"-y","arch":"x","version":"3","reason":""},{"name":"a","arch":"x y","version":"1","reason":""}"#);
    assert_eq!(names(&hostile, true), own(&[("a 2", false), ("lib 1", true)]));
}

#[test]
fn what_an_operator_gets_wrong_is_refused_by_its_field() {
    let fields = |config: &str| -> Vec<String> {
        let spec = format!(r#"{{"instanceFilter":{{"all":true}},"patchConfig":{config}}}"#);
        let spec: PatchJobSpec = serde_json::from_str(&spec).expect("a spec");
        spec.validate().map_or_else(|e| e.errors, |()| Vec::new()).into_iter().map(|e| e.field).collect()
    };
    assert_eq!(fields(r#"{"soakDays":0}"#), Vec::<String>::new());
    assert_eq!(fields(r#"{"soakDays":180,"soakExceptSecurity":true}"#), Vec::<String>::new());
    assert_eq!(fields(r#"{"soakDays":7,"packages":{"update":["curl"],"remove":["nano"]}}"#), Vec::<String>::new());
    for bad in [
        r#"{"soakDays":181}"#,
        r#"{"soakDays":4294967295}"#,
        r#"{"soakDays":7,"packages":{"install":["curl"]}}"#,
        r#"{"soakDays":7,"modules":[{"action":"RESET","module":"a"}]}"#,
    ] {
        assert_eq!(fields(bad), ["patchConfig.soakDays"], "{bad}");
    }
    assert_eq!(fields(r#"{"soakExceptSecurity":true}"#), ["patchConfig.soakExceptSecurity"]);
    let spec = r#"{"instanceFilter":{"all":true},"patchConfig":{"soakDays":-1}}"#;
    assert!(serde_json::from_str::<PatchJobSpec>(spec).is_err());
    // What is not set is not written: documents of older servers and agents stay what they were.
    assert!(!serde_json::to_string(&PatchConfig::default()).expect("JSON").contains("soak"));
}
