//! Soak: an order says since when versions are known here, as hosts, plans and snapshots named them.
#![allow(missing_docs)]

mod common;

use common::sources::Yum;
use common::*;
use drydock_control::records::TaskRecord;
use drydock_control::{SectionBodyIn, SectionIn, UndoAsk};
use drydock_domain::ids::JobId;
use drydock_domain::inventory::{ManagerKind, Package, PackageSet, SectionKind, Update, UpdateSet, fingerprint};
use drydock_domain::patch::report::{ActionKind, PackageOutcome, PackageResult, Plan, PlannedAction, SkippedUpdate};
use drydock_domain::patch::soak::OrderSoak;
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::work::{WORK_VERSION, WorkOrder};

const DAY: i64 = 24 * 3600;
const SOAK: &str = r#"{"instanceFilter":{"instances":["h1"]},"patchConfig":{"soakDays":7}}"#;

async fn tells<T: serde::Serialize>(w: &World, host: &Host, kind: SectionKind, body: &T) {
    let body = serde_json::to_vec(body).expect("JSON");
    let section = SectionIn { kind: kind.as_str().into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
    w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("taken");
}

async fn has(w: &World, host: &Host, packages: &[(&str, &str)]) {
    let package = |(name, version): &(&str, &str)| Package {
        name: (*name).into(),
        arch: "x86_64".into(),
        version: (*version).into(),
        ..Package::default()
    };
    tells(w, host, SectionKind::Packages, &PackageSet::new(packages.iter().map(package).collect())).await;
}

/// `(name, version installed, or nothing; version offered)`.
async fn is_offered(w: &World, host: &Host, updates: &[(&str, &str, &str)]) {
    let update = |(name, from, to): &(&str, &str, &str)| Update {
        name: (*name).into(),
        arch: "x86_64".into(),
        from: (*from).into(),
        to: (*to).into(),
        ..Update::default()
    };
    tells(w, host, SectionKind::Updates, &UpdateSet { updates: updates.iter().map(update).collect(), findings: vec![] }).await;
    w.settle().await;
}

/// The order of a new job, which is taken and reported as done with this plan.
async fn order(w: &World, host: &Host, job: &str, plan: Option<Plan>) -> WorkOrder {
    w.job(job).await;
    // An agent that has been silent for days is not let go.
    host.ctx(w).await;
    w.settle().await;
    let order = host.take(w).await;
    let mut last = report(order.task.task, 1, T::Succeeded);
    last.packages = plan.iter().flat_map(|p| &p.actions).cloned().map(applied).collect();
    last.plans = plan.into_iter().collect();
    assert!(host.try_report(w, &last).await.expect("taken").stored);
    w.settle().await;
    order
}

fn applied(planned: PlannedAction) -> PackageResult {
    PackageResult { found: planned.to.clone(), outcome: PackageOutcome::Applied, planned, detail: String::new() }
}

/// What has soaked, and what soaks until how many whole days from the beginning.
fn said(order: &WorkOrder) -> (Vec<String>, Vec<String>) {
    let OrderSoak { soaked, soaking, .. } = order.task.soak.clone().expect("a soak");
    let days = |at: jiff::Timestamp| (at.as_second() - START) / DAY;
    (
        soaked.into_iter().map(|v| format!("{} {}", v.name, v.version)).collect(),
        soaking.into_iter().map(|v| format!("{} {} day {}", v.name, v.version, days(v.until))).collect(),
    )
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

fn plan(skipped: &[(&str, &str)], installs: &[(&str, &str)]) -> Plan {
    let action = |(name, to): &(&str, &str)| PlannedAction {
        action: ActionKind::Install,
        name: (*name).into(),
        arch: "x86_64".into(),
        from: None,
        to: Some((*to).into()),
        repository: String::new(),
        kind: Default::default(),
        advisories: vec![],
    };
    let skip = |(name, version): &(&str, &str)| SkippedUpdate {
        name: (*name).into(),
        arch: "x86_64".into(),
        version: (*version).into(),
        reason: "soaks".into(),
    };
    Plan {
        manager: ManagerKind::Dnf,
        actions: installs.iter().map(action).collect(),
        skipped: skipped.iter().map(skip).collect(),
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings: vec![],
        before: Some(Default::default()),
        undo: None,
    }
}

#[tokio::test]
async fn an_update_soaks_from_when_any_host_was_first_offered_it() {
    let mut w = World::new().await;
    let hosts = w.hosts(2).await;
    has(&w, &hosts[0], &[("app", "1-1"), ("lib", "5-1")]).await;
    // Another host sees it first; the server is killed in between.
    is_offered(&w, &hosts[1], &[("app", "1-1", "2-1")]).await;
    w.restart().await;
    let first = order(&w, &hosts[0], SOAK, None).await;
    assert_eq!((first.version, first.task.config.soak_days), (WORK_VERSION, 7));
    assert_eq!(said(&first), (vec![], words(&["app 2-1 day 7"])));

    w.pass(5 * DAY);
    is_offered(&w, &hosts[0], &[("app", "1-1", "3-1"), ("lib", "5-1", "4-1")]).await;
    // The same sight again changes nothing.
    is_offered(&w, &hosts[1], &[("app", "1-1", "2-1")]).await;
    w.pass(2 * DAY - 60);
    assert_eq!(said(&order(&w, &hosts[0], SOAK, None).await), (vec![], words(&["app 2-1 day 7", "app 3-1 day 12"])));
    w.pass(60);
    let second = order(&w, &hosts[0], SOAK, None).await;
    assert_eq!(said(&second), (words(&["app 2-1"]), words(&["app 3-1 day 12"])), "lib 4-1 is older than what is there");
    w.pass(5 * DAY);
    assert_eq!(said(&order(&w, &hosts[0], SOAK, None).await), (words(&["app 2-1", "app 3-1"]), vec![]));

    let plain = order(&w, &hosts[0], ALL_OF_H1, None).await;
    assert!(plain.task.soak.is_none() && plain.version < WORK_VERSION, "older agents take it");
    let lenient = r#"{"instanceFilter":{"instances":["h1"]},"patchConfig":{"soakDays":7,"soakExceptSecurity":true}}"#;
    assert!(order(&w, &hosts[0], lenient, None).await.task.soak.expect("a soak").except_security);
}

const ALL_OF_H1: &str = r#"{"instanceFilter":{"instances":["h1"]}}"#;

#[tokio::test]
async fn a_very_long_list_is_noted_in_parts() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    has(&w, &hosts[0], &[("p4999", "1-1")]).await;
    let names: Vec<String> = (0..5_000).map(|n| format!("p{n:04}")).collect();
    let updates: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "1-1", "2-1")).collect();
    is_offered(&w, &hosts[0], &updates).await;
    w.pass(7 * DAY);
    let (soaked, soaking) = said(&order(&w, &hosts[0], SOAK, None).await);
    assert_eq!((soaked.len(), soaking.len()), (5_000, 0), "what the host is offered, also under other names");
}

#[tokio::test]
async fn what_a_plan_names_is_known_from_then_on() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    has(&w, &hosts[0], &[("app", "1-1")]).await;
    // dnf lists no new packages as updates: the server learns of them by what the host left out.
    let young = plan(&[("app", "2-1"), ("new-lib", "1-1"), ("-bad", "1")], &[]);
    assert_eq!(said(&order(&w, &hosts[0], SOAK, Some(young)).await), (vec![], vec![]));
    w.pass(7 * DAY);
    assert_eq!(said(&order(&w, &hosts[0], SOAK, None).await), (words(&["app 2-1", "new-lib 1-1"]), vec![]));
    // So it does by jobs without a soak.
    order(&w, &hosts[0], ALL_OF_H1, Some(plan(&[], &[("other", "1-1")]))).await;
    w.pass(DAY);
    let (_, soaking) = said(&order(&w, &hosts[0], SOAK, None).await);
    assert_eq!(soaking, ["other 1-1 day 14"]);
}

#[tokio::test]
async fn taking_a_job_back_needs_no_soak() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    has(&w, &hosts[0], &[("app", "1-1")]).await;
    let job: JobId = w.job(SOAK).await;
    w.settle().await;
    let taken = hosts[0].take(&w).await;
    let done = plan(&[], &[("new", "1-1")]);
    let mut last = report(taken.task.task, 1, T::Succeeded);
    last.packages = done.actions.iter().cloned().map(applied).collect();
    last.plans = vec![done];
    hosts[0].try_report(&w, &last).await.expect("taken");
    has(&w, &hosts[0], &[("app", "1-1"), ("new", "1-1")]).await;
    w.settle().await;
    let undo = w.control.undo_patch_job(&w.server(), job, UndoAsk::default(), None).await.expect("begun").record;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    assert_eq!(order.task.job, undo.id);
    assert_eq!((order.task.soak, order.task.config.soak_days), (None, 0));
    assert!(order.task.config.undo.is_some());
}

#[tokio::test]
async fn a_version_soaks_from_the_first_snapshot_that_has_it() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let yum = Yum::new(2);
    w.synced(&yum, "base").await;
    w.settle().await;
    let units = async || {
        let query = drydock_control::UnitQuery::default();
        w.control.snapshot_units(&w.server(), "base", "latest", &query).await.expect("units").units
    };
    let first = units().await;
    let names: Vec<(&str, &str)> = first.iter().map(|u| (u.name.as_str(), "0-0")).collect();
    has(&w, &hosts[0], &names).await;
    w.pass(5 * DAY);
    yum.publish(2, 2, 0);
    w.sync("base").await;
    w.settle().await;
    w.pass(2 * DAY);
    let (soaked, soaking) = said(&order(&w, &hosts[0], SOAK, None).await);
    let mut old: Vec<String> = first.iter().map(|u| format!("{} {}", u.name, u.version)).collect();
    old.sort();
    assert_eq!(soaked, old);
    let new = units().await.into_iter().filter(|u| !first.iter().any(|f| f.version == u.version && f.name == u.name));
    let mut new: Vec<String> = new.map(|u| format!("{} {} day 12", u.name, u.version)).collect();
    new.sort();
    assert_eq!(soaking, new);
    assert_eq!(new.len(), 2, "{new:?}");
}

#[tokio::test]
async fn an_agent_that_knows_no_soak_is_told_to_be_upgraded() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let job = w.job(SOAK).await;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    assert!(order.version > 4, "what older agents refuse by themselves");
    let refused = "the order has form version 5, this agent reads up to 4; upgrade the agent";
    w.control.refuse_order(&hosts[0].ctx(&w).await, Some(order.task.task), refused).await.expect("taken");
    let tasks: Vec<TaskRecord> = w.tasks(job).await;
    assert_eq!(tasks[0].state, T::Failed);
    assert!(tasks[0].message.contains("upgrade the agent"), "{}", tasks[0].message);
}
