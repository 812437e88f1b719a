//! Undo jobs: what was there comes back, what cannot is refused beforehand, what went is barred until lifted.
#![allow(missing_docs)]

mod common;

use common::sources::{attach, spec};
use common::*;
use drydock_control::content::serve::Served;
use drydock_control::store::undo::BarQuery;
use drydock_control::{ErrorKind, SectionBodyIn, SectionIn, UndoAsk};
use drydock_domain::access::Role;
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::inventory::{ManagerKind, Package, PackageSet, SectionKind, fingerprint};
use drydock_domain::patch::job::{JobOrigin, JobState};
use drydock_domain::patch::report::{ActionKind, PackageOutcome, PackageResult, Plan, PlannedAction};
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::work::WorkOrder;
use drydock_testkit::upstream::RpmPackage;

/// The host tells that exactly these packages are installed.
async fn has(w: &World, host: &Host, packages: &[(&str, &str)]) {
    let package = |(name, version): &(&str, &str)| Package {
        name: (*name).into(),
        arch: "x86_64".into(),
        version: (*version).into(),
        ..Package::default()
    };
    let set = PackageSet::new(packages.iter().map(package).collect());
    let body = serde_json::to_vec(&set).expect("JSON");
    let section = SectionIn {
        kind: SectionKind::Packages.as_str().into(),
        fingerprint: fingerprint(&body),
        body: SectionBodyIn::Full(body),
    };
    w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("taken");
}

fn upgrade(name: &str, from: &str, to: &str) -> PlannedAction {
    PlannedAction {
        action: ActionKind::Upgrade,
        name: name.into(),
        arch: "x86_64".into(),
        from: Some(from.into()),
        to: Some(to.into()),
        repository: String::new(),
        kind: Default::default(),
        advisories: vec![],
    }
}

/// The host takes its order and ends so, having done these upgrades.
async fn ends(w: &World, host: &Host, state: T, done: &[(&str, &str, &str)]) -> TaskId {
    let order = host.take(w).await;
    reports(w, host, &order, state, done).await
}

async fn reports(w: &World, host: &Host, order: &WorkOrder, state: T, done: &[(&str, &str, &str)]) -> TaskId {
    let mut last = report(order.task.task, 1, state);
    let actions: Vec<PlannedAction> = done.iter().map(|(name, from, to)| upgrade(name, from, to)).collect();
    last.plans = vec![Plan {
        manager: ManagerKind::Dnf,
        actions: actions.clone(),
        skipped: vec![],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings: vec![],
        before: Some(Default::default()),
        undo: None,
    }];
    let result = |planned: PlannedAction| PackageResult {
        found: planned.to.clone(),
        outcome: PackageOutcome::Applied,
        planned,
        detail: String::new(),
    };
    last.packages = actions.into_iter().map(result).collect();
    assert!(host.try_report(w, &last).await.expect("taken").stored);
    w.settle().await;
    order.task.task
}

/// Two hosts upgraded by one job: h1 has the new version, on h2 somebody went on by hand.
async fn upgraded(w: &World, hosts: &[Host]) -> JobId {
    let job = w.job(ALL).await;
    w.settle().await;
    for host in hosts {
        has(w, host, &[("app", "1-1"), ("lib", "5-1")]).await;
        ends(w, host, T::Succeeded, &[("app", "1-1", "2-1")]).await;
        has(w, host, &[("app", "2-1"), ("lib", "5-1")]).await;
    }
    job
}

#[tokio::test]
async fn a_job_is_taken_back_and_what_it_brought_is_barred_until_lifted() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let job = upgraded(&w, &hosts).await;
    let operator = w.person(Role::Operator).await;
    let preview = w.control.preview_undo(&operator, job, &["h1".into()]).await.expect("shown");
    assert_eq!(preview.len(), 1);
    let action = &preview[0].actions[0];
    let moved = (action.name.as_str(), action.now.as_deref(), action.before.as_deref());
    assert_eq!(moved, ("app", Some("2-1"), Some("1-1")));

    let ask = UndoAsk { instances: vec!["h1".into()], ..UndoAsk::default() };
    let undo = w.control.undo_patch_job(&operator, job, ask.clone(), Some("k")).await.expect("begun").record;
    let again = w.control.undo_patch_job(&operator, job, ask, Some("k")).await.expect("the same").record;
    assert_eq!((undo.id, &undo.origin), (again.id, &JobOrigin::Undo { job, wave: None, halted_at: None }));
    w.settle().await;
    assert_eq!(w.tasks(undo.id).await.iter().map(|t| t.instance_name.as_str()).collect::<Vec<_>>(), ["h1"]);
    let order = hosts[0].take(&w).await;
    assert_eq!(order.version, 4, "older agents refuse what they would take for an update");
    let inverse = order.task.config.undo.clone().expect("an inverse");
    assert_eq!(inverse.actions, preview[0].actions);
    reports(&w, &hosts[0], &order, T::Succeeded, &[("app", "2-1", "1-1")]).await;
    has(&w, &hosts[0], &[("app", "1-1"), ("lib", "5-1")]).await;
    assert_eq!(w.view(undo.id).await.record.state, JobState::Succeeded);
    assert_eq!(w.view(job).await.rollout.expect("a rollout").undone_by, [undo.id]);

    // The version does not come back with the next job, on that host only.
    let bars = w.control.list_bars(&operator, &BarQuery::default()).await.expect("bars").items;
    assert_eq!(bars.len(), 1);
    assert_eq!((bars[0].instance_name.as_str(), bars[0].bar.name.as_str(), bars[0].bar.version.as_str()), ("h1", "app", "2-1"));
    assert_eq!(bars[0].job, undo.id);
    w.job(ALL).await;
    w.settle().await;
    assert_eq!(hosts[0].take(&w).await.task.config.barred[0].version, "2-1");
    assert!(hosts[1].take(&w).await.task.config.barred.is_empty());
    let everything = w.control.lift_bars(&operator, &BarQuery::default()).await.expect_err("never meant");
    assert_eq!(everything.kind(), ErrorKind::Invalid);
    let of_job = BarQuery { job: Some(undo.id), ..BarQuery::default() };
    assert_eq!(w.control.lift_bars(&operator, &of_job).await.expect("lifted"), 1);
    assert!(w.control.list_bars(&operator, &BarQuery::default()).await.expect("bars").items.is_empty());
    let audit = w.audit().await;
    for operation in ["patch-job.undo", "barred-version.lift"] {
        assert!(audit.iter().any(|a| a.operation == operation && a.outcome == "allowed"), "{operation}");
    }
    let rerun = w.control.rerun_patch_job(&operator, undo.id, true, None).await.expect_err("planned anew each time");
    assert!(rerun.to_string().contains("undo"), "{rerun}");
}

/// Right after a job its report is there, and the inventory is still the one from before it.
#[tokio::test]
async fn a_job_is_taken_back_before_the_new_inventory_has_come() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let job = w.job(ALL).await;
    w.settle().await;
    has(&w, &hosts[0], &[("app", "1-1"), ("lib", "5-1")]).await;
    w.pass(5);
    ends(&w, &hosts[0], T::Succeeded, &[("app", "1-1", "2-1")]).await;
    let undo = w.control.undo_patch_job(&w.server(), job, UndoAsk::default(), None).await.expect("begun").record;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    assert_eq!(order.task.job, undo.id);
    let action = &order.task.config.undo.expect("an inverse").actions[0];
    assert_eq!((action.name.as_str(), action.now.as_deref(), action.before.as_deref()), ("app", Some("2-1"), Some("1-1")));
}

#[tokio::test]
async fn a_host_that_cannot_go_back_exactly_refuses_before_anything_begins() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let job = upgraded(&w, &hosts[..2]).await;
    let idle = hosts[2].take(&w).await;
    hosts[2].report(&w, idle.task.task, 1, T::Succeeded).await;
    w.settle().await;
    has(&w, &hosts[1], &[("app", "3-1"), ("lib", "5-1")]).await;
    let refused = w.control.undo_patch_job(&w.server(), job, UndoAsk::default(), None).await.expect_err("h2 went on");
    let told = refused.to_string();
    assert!(told.contains("h2") && told.contains("app") && told.contains("3-1"), "{told}");
    let left_out = UndoAsk { skip_refused: true, ..UndoAsk::default() };
    let undo = w.control.undo_patch_job(&w.server(), job, left_out, None).await.expect("begun").record;
    w.settle().await;
    assert_eq!(w.tasks(undo.id).await.len(), 1, "neither the host that refuses nor the one that nothing happened on");
    let unknown = UndoAsk { instances: vec!["h9".into()], ..UndoAsk::default() };
    assert_eq!(
        w.control.undo_patch_job(&w.server(), job, unknown, None).await.expect_err("no such host").kind(),
        ErrorKind::NotFound
    );
    // Between asking and beginning somebody changed the host by hand.
    has(&w, &hosts[0], &[("app", "7-1"), ("lib", "5-1")]).await;
    assert!(hosts[0].pull(&w, &[]).await.orders.is_empty());
    w.settle().await;
    let task = w.tasks(undo.id).await.remove(0);
    assert_eq!(task.state, T::Failed);
    assert!(task.message.contains("app") && task.message.contains("7-1"), "{}", task.message);
}

#[tokio::test]
async fn a_failed_wave_is_taken_back_once_by_itself() {
    let mut w = World::new().await;
    let hosts = w.hosts(3).await;
    let rollout = r#"{"waves":[{"name":"canary","select":{"instances":["h1","h2"]}}],"undoFailedWave":true}"#;
    let job = w.job(&format!(r#"{{"instanceFilter":{{"all":true}},"rollout":{rollout}}}"#)).await;
    w.settle().await;
    for host in &hosts {
        has(&w, host, &[("app", "1-1")]).await;
    }
    w.tick();
    let slow = hosts[1].take(&w).await;
    hosts[1].report(&w, slow.task.task, 1, T::Started).await;
    ends(&w, &hosts[0], T::Failed, &[("app", "1-1", "2-1")]).await;
    assert!(w.view(job).await.record.control.halted.is_some());
    assert!(w.view(job).await.rollout.expect("a rollout").undo_job.is_none(), "a host of the wave is at work");
    let mut last = report(slow.task.task, 2, T::Succeeded);
    last.packages = vec![PackageResult {
        planned: upgrade("app", "1-1", "2-1"),
        outcome: PackageOutcome::Applied,
        found: Some("2-1".into()),
        detail: String::new(),
    }];
    hosts[1].try_report(&w, &last).await.expect("taken");
    w.settle().await;
    // The inventories are still those from before: the reports say what the hosts are like.
    let undo = w.view(job).await.rollout.expect("a rollout").undo_job.expect("begun by itself");
    for host in &hosts[..2] {
        has(&w, host, &[("app", "2-1")]).await;
    }
    w.restart().await;
    w.settle().await;
    w.settle().await;
    assert_eq!(w.view(job).await.rollout.expect("a rollout").undone_by, [undo], "once");
    for host in &hosts[..2] {
        let order = host.take(&w).await;
        assert_eq!((order.task.job, order.task.config.undo.as_ref().map(|u| u.actions.len())), (undo, Some(1)));
        reports(&w, host, &order, T::Succeeded, &[("app", "2-1", "1-1")]).await;
    }
    assert_eq!(w.view(undo).await.record.state, JobState::Succeeded);
    assert!(hosts[2].pull(&w, &[]).await.orders.is_empty(), "the other host was never touched");
    assert_eq!(w.states(job).await[2], "PENDING");
}

#[tokio::test]
async fn later_waves_are_held_to_what_the_first_one_planned() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let rollout = r#"{"waves":[{"name":"canary","select":{"instances":["h1"]}}]}"#;
    w.job(&format!(r#"{{"instanceFilter":{{"all":true}},"rollout":{rollout}}}"#)).await;
    w.settle().await;
    let first = hosts[0].take(&w).await;
    assert!(first.task.frozen.is_empty());
    reports(&w, &hosts[0], &first, T::Succeeded, &[("app", "1-1", "2-1")]).await;
    let second = hosts[1].take(&w).await;
    let frozen: Vec<_> = second.task.frozen.iter().map(|f| (f.name.as_str(), f.arch.as_str(), f.version.as_str())).collect();
    assert_eq!(frozen, [("app", "x86_64", "2-1")]);
    reports(&w, &hosts[1], &second, T::Succeeded, &[("app", "1-1", "2-1")]).await;

    let newest = r#"{"waves":[{"name":"canary","select":{"instances":["h1"]}}],"newestContent":true}"#;
    w.job(&format!(r#"{{"instanceFilter":{{"all":true}},"rollout":{newest}}}"#)).await;
    w.settle().await;
    let first = hosts[0].take(&w).await;
    reports(&w, &hosts[0], &first, T::Succeeded, &[("app", "2-1", "3-1")]).await;
    assert!(hosts[1].take(&w).await.task.frozen.is_empty(), "the newest is taken");
}

/// A repository that has forgotten the old version does not keep a host from going back: the server has the file.
#[tokio::test]
async fn an_undo_order_names_the_files_that_the_server_has_for_that_host() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let local = r#"{"name":"ours","format":"rpm","origin":{"local":{}}}"#;
    w.control.create_source(&w.server(), spec(local)).await.expect("a source");
    let dir = tempfile::tempdir().expect("a directory");
    let mut sizes = Vec::new();
    for version in ["1", "2"] {
        let package = RpmPackage::new("app", version);
        package.build(dir.path()).expect("built");
        let file = dir.path().join(package.file_name());
        sizes.push(std::fs::metadata(&file).expect("there").len());
        w.control.upload_unit(&w.server(), "ours", &file, &package.file_name()).await.expect("taken");
    }
    w.run_jobs().await;
    // h1 sees the source, h2 does not.
    w.change(&hosts[0], attach(&["ours"])).await;
    let job = w.job(ALL).await;
    w.settle().await;
    for host in &hosts {
        has_noarch(&w, host, "1-1").await;
        let order = host.take(&w).await;
        let mut last = report(order.task.task, 1, T::Succeeded);
        let planned = PlannedAction { arch: "noarch".into(), ..upgrade("app", "1-1", "2-1") };
        let found = planned.to.clone();
        last.packages = vec![PackageResult { planned, outcome: PackageOutcome::Applied, found, detail: String::new() }];
        host.try_report(&w, &last).await.expect("taken");
        w.tick();
        has_noarch(&w, host, "2-1").await;
    }
    w.settle().await;
    w.control.undo_patch_job(&w.server(), job, UndoAsk::default(), None).await.expect("begun");
    w.settle().await;
    let with_files = hosts[0].take(&w).await.task.config.undo.expect("an inverse");
    with_files.validate().expect("what the agent accepts");
    assert_eq!(with_files.files.len(), 1);
    let file = &with_files.files[0];
    assert_eq!((file.file_name.as_str(), file.version.as_str(), file.size), ("app-1-1.noarch.rpm", "1-1", sizes[0]));
    let path = file.url_path.strip_prefix("/content/latest/ours/").expect("below the source");
    let view = w.control.authorize_content(&hosts[0].peer(), "latest", "ours").await.expect("it may read");
    let served = w.control.content().expect("content").resolve(&view.view, path).expect("served");
    assert!(matches!(served, Served::File { size, .. } if size == sizes[0]), "{served:?}");
    let without = hosts[1].take(&w).await.task.config.undo.expect("an inverse");
    assert!(without.files.is_empty(), "nobody is sent to what it may not read");
}

async fn has_noarch(w: &World, host: &Host, version: &str) {
    let package = Package { name: "app".into(), arch: "noarch".into(), version: version.into(), ..Package::default() };
    let body = serde_json::to_vec(&PackageSet::new(vec![package])).expect("JSON");
    let section = SectionIn {
        kind: SectionKind::Packages.as_str().into(),
        fingerprint: fingerprint(&body),
        body: SectionBodyIn::Full(body),
    };
    w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("taken");
}
