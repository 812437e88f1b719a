//! Maintenance windows, freezes and reboot slots: nobody is let go outside, orders carry them, slots are counted.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::ErrorKind;
use drydock_domain::access::Role;
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use jiff::{SignedDuration, Timestamp};

fn window(json: &str) -> MaintenanceWindow {
    serde_json::from_str(json).expect("a window")
}

fn later(w: &World, secs: i64) -> Timestamp {
    w.control.now().checked_add(SignedDuration::from_secs(secs)).expect("in range")
}

/// A daily window of an hour that opens in so many minutes (UTC), for one host.
fn nightly(w: &World, name: &str, host: &str, minutes: i64) -> MaintenanceWindow {
    let at = later(w, minutes * 60).to_zoned(jiff::tz::TimeZone::UTC);
    window(&format!(
        r#"{{"name":"{name}","instanceFilter":{{"instances":["{host}"]}},"durationSecs":3600,
            "schedule":{{"timeZone":{{"id":"UTC"}},"frequency":"DAILY","timeOfDay":{{"hours":{},"minutes":{}}}}}}}"#,
        at.hour(),
        at.minute()
    ))
}

async fn holds(w: &World, job: JobId) -> Vec<Option<WaitingOn>> {
    w.tasks(job).await.into_iter().map(|t| t.waiting_on).collect()
}

#[tokio::test]
async fn a_host_outside_its_window_is_held_and_its_order_carries_the_window() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let operator = w.person(Role::Operator).await;
    w.control.create_calendar(&operator, nightly(&w, "nights", "h1", 120)).await.expect("made");
    let job = w.job(ALL).await;
    w.settle().await;
    let held = holds(&w, job).await;
    assert!(matches!(&held[0], Some(WaitingOn::Window { window, opens_at: Some(_) }) if window == "nights"), "{held:?}");
    assert_eq!(w.states(job).await[1], "NOTIFIED", "the other host has no window");
    assert_eq!(hosts[1].take(&w).await.task.windows, None);
    w.pass(2 * 3600 + 60);
    hosts[0].ctx(&w).await;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    let told = order.task.windows.expect("its window");
    assert_eq!(told.name, "nights");
    let now = w.control.now();
    assert!(told.intervals[0].from <= now && now < told.intervals[0].to && told.intervals.len() > 10);

    // Dry runs disturb nobody; break-glass is written down.
    w.pass(3600);
    hosts[0].report(&w, order.task.task, 1, T::Succeeded).await;
    w.settle().await;
    let dry = w.job(r#"{"instanceFilter":{"instances":["h1"]},"dryRun":true}"#).await;
    w.settle().await;
    let task = hosts[0].take(&w).await.task;
    assert_eq!((task.job, task.windows), (dry, None));
    hosts[0].report(&w, task.task, 1, T::Succeeded).await;
    let urgent = w.job(r#"{"instanceFilter":{"instances":["h1"]},"rollout":{"ignoreWindows":"CVE is exploited"}}"#).await;
    w.settle().await;
    let task = hosts[0].take(&w).await.task;
    assert_eq!((task.job, task.windows), (urgent, None));
}

#[tokio::test]
async fn a_freeze_holds_its_hosts_until_it_is_over_or_deleted() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let text = format!(
        r#"{{"name":"year-end","instanceFilter":{{"instances":["h1"]}},"periods":[{{"from":"{}","to":"{}","reason":"sales"}}]}}"#,
        later(&w, -60),
        later(&w, 3600)
    );
    let freeze: FreezeCalendar = serde_json::from_str(&text).expect("a freeze");
    let operator = w.person(Role::Operator).await;
    let viewer = w.person(Role::Viewer).await;
    let denied = w.control.create_calendar(&viewer, freeze.clone()).await.expect_err("a viewer");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    w.control.create_calendar(&operator, freeze.clone()).await.expect("made");
    let mut past = freeze.clone();
    past.name = "last-year".to_owned();
    (past.periods[0].from, past.periods[0].to) = (later(&w, -7200), later(&w, -3600));
    let refused = w.control.create_calendar(&operator, past).await.expect_err("it would never freeze anything");
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("periods"), "{refused}");
    let twice = w.control.create_calendar(&operator, freeze.clone()).await.expect_err("the name is taken");
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    let job = w.job(ALL).await;
    w.settle().await;
    assert!(matches!(&holds(&w, job).await[0], Some(WaitingOn::Frozen { calendar, .. }) if calendar == "year-end"));
    assert_eq!(w.states(job).await, ["PENDING", "NOTIFIED"]);

    let mut edited = freeze.clone();
    edited.periods[0].to = later(&w, 60);
    let seen = w.control.get_calendar::<FreezeCalendar>(&viewer, "year-end").await.expect("shown");
    let stale = w.control.edit_calendar(&operator, "year-end", edited.clone(), Some("99")).await.expect_err("another etag");
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    w.control.edit_calendar(&operator, "year-end", edited, Some(&seen.etag())).await.expect("edited");
    w.pass(61);
    hosts[0].ctx(&w).await;
    w.settle().await;
    assert_eq!(w.states(job).await, ["NOTIFIED", "NOTIFIED"]);
    w.control.delete_calendar::<FreezeCalendar>(&operator, "year-end").await.expect("deleted");
    assert!(w.control.list_calendars::<FreezeCalendar>(&viewer).await.expect("listed").is_empty());
    let audit = w.audit().await;
    for operation in ["freeze.create", "freeze.edit", "freeze.delete"] {
        assert!(audit.iter().any(|a| a.operation == operation && a.outcome == "allowed"), "{operation}");
    }
}

#[tokio::test]
async fn impossible_calendars_are_refused_with_their_field() {
    let w = World::new().await;
    let refused = |json: &str| window(json);
    for (json, field) in [
        (
            r#"{"name":"a","instanceFilter":{},"durationSecs":3600,"schedule":{"timeZone":{"id":"UTC"},"frequency":"DAILY","timeOfDay":{"hours":3}}}"#,
            "instanceFilter",
        ),
        (
            r#"{"name":"a","instanceFilter":{"all":true},"durationSecs":1,"schedule":{"timeZone":{"id":"UTC"},"frequency":"DAILY","timeOfDay":{"hours":3}}}"#,
            "durationSecs",
        ),
        (
            r#"{"name":"a","instanceFilter":{"all":true},"durationSecs":3600,"schedule":{"timeZone":{"id":"Mars/Olympus"},"frequency":"DAILY","timeOfDay":{"hours":3}}}"#,
            "schedule",
        ),
        (
            r#"{"name":"a","instanceFilter":{"groups":["none"]},"durationSecs":3600,"schedule":{"timeZone":{"id":"UTC"},"frequency":"DAILY","timeOfDay":{"hours":3}}}"#,
            "instanceFilter.groups",
        ),
    ] {
        let error = w.control.create_calendar(&w.server(), refused(json)).await.expect_err(json);
        assert!(format!("{error:?}").contains(field), "{json}: {error:?}");
    }
}

async fn began(w: &World, host: &Host) -> TaskId {
    let order = host.take(w).await;
    assert!(order.task.reboot_slot);
    host.report(w, order.task.task, 1, T::Started).await;
    order.task.task
}

#[tokio::test]
async fn of_a_group_only_so_many_hosts_reboot_at_a_time() {
    let w = World::new().await;
    let hosts = w.hosts(4).await;
    let db: RebootSlots =
        serde_json::from_str(r#"{"name":"db","instanceFilter":{"instances":["h1","h2","h3"]},"slots":1,"expirySecs":600}"#)
            .expect("a group");
    let operator = w.person(Role::Operator).await;
    w.control.create_calendar(&operator, db).await.expect("made");
    w.job(ALL).await;
    w.settle().await;
    assert!(!hosts[3].take(&w).await.task.reboot_slot, "it is in no group");
    let mut tasks = Vec::new();
    for host in &hosts[..3] {
        tasks.push(began(&w, host).await);
    }
    let ask = async |n: usize| w.control.acquire_reboot_slot(&hosts[n].ctx(&w).await, tasks[n]).await.expect("answered");
    assert!(ask(0).await.granted);
    assert!(ask(0).await.granted, "asked again after a restart");
    let no = ask(1).await;
    assert!(!no.granted && no.message.contains("group db: held by h1 since"), "{no:?}");
    let holders = w.control.get_slot_group(&operator, "db").await.expect("shown").holders;
    assert_eq!(holders.iter().map(|h| h.instance_name.as_str()).collect::<Vec<_>>(), ["h1"]);
    assert!(holders[0].why.contains("patch job"));
    // A task of another host gets nothing.
    let foreign = w.control.acquire_reboot_slot(&hosts[3].ctx(&w).await, tasks[1]).await.expect_err("not its task");
    assert_eq!(foreign.kind(), ErrorKind::NotFound);

    // Given back with success; kept by one that failed, until it expires or a person takes it.
    hosts[0].report(&w, tasks[0], 2, T::Succeeded).await;
    assert!(ask(1).await.granted);
    hosts[1].report(&w, tasks[1], 2, T::Failed).await;
    assert!(!ask(2).await.granted);
    let nobody = w.control.release_reboot_slot(&operator, "db", "h3").await.expect_err("it holds none");
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    let after = w.control.release_reboot_slot(&operator, "db", "h2").await.expect("released");
    assert!(after.holders.is_empty());
    assert!(ask(2).await.granted);
    assert!(w.audit().await.iter().any(|a| a.operation == "reboot-slot.release" && a.outcome == "allowed"));
    w.pass(601);
    assert!(w.control.get_slot_group(&w.server(), "db").await.expect("shown").holders.is_empty(), "expired");
}
