//! The life of patch jobs: from the operator's request to the last report, with everything that goes wrong between.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::records::{PageQuery, TaskQuery};
use drydock_control::{ErrorKind, HeldAnswer, Principal, Reported};
use drydock_domain::access::Role;
use drydock_domain::ids::TaskId;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::report::{ActionKind, PackageOutcome, PackageResult, Plan, PlannedAction, SkippedUpdate};
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::work::Directive;

/// An older agent ignores fields it does not know: it must not take an order that means something else without them.
#[tokio::test]
async fn only_orders_with_package_operations_ask_for_a_newer_agent() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let operator = w.person(Role::Operator).await;
    for (config, version) in [
        (r#"{"yum":{"security":true}}"#, 1),
        (r#"{"packages":{"remove":["nano"]}}"#, 2),
        (r#"{"downloadOnly":true}"#, 2),
        (r#"{"cves":["CVE-2026-0001"]}"#, 2),
    ] {
        let spec = format!(r#"{{"instanceFilter":{{"all":true}},"patchConfig":{config}}}"#);
        let spec: PatchJobSpec = serde_json::from_str(&spec).expect("a spec");
        let job = w.control.create_patch_job(&operator, spec.clone(), None).await.expect("created").record.id;
        w.settle().await;
        let order = host.take(&w).await;
        assert_eq!((order.version, &order.task.config), (version, &spec.patch_config), "{config}");
        assert!(go_on(host.report(&w, order.task.task, 1, T::Started).await));
        host.report(&w, order.task.task, 2, T::Succeeded).await;
        w.settle().await;
        assert_eq!(w.states(job).await, ["SUCCEEDED"]);
    }
}

#[tokio::test]
async fn a_job_goes_from_request_to_the_last_report() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let operator = w.person(Role::Operator).await;
    let spec: PatchJobSpec = serde_json::from_str(r#"{"displayName":"thursday","instanceFilter":{"all":true}}"#).expect("a spec");
    let created = w.control.create_patch_job(&operator, spec, None).await.expect("created");
    assert_eq!(created.record.state, JobState::Started);
    let job = created.record.id;
    let mut watch = w.control.watch_job(job);
    let mut attachment = w.control.hub().attach(host.id);

    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::Patching);
    assert_eq!(w.states(job).await, ["NOTIFIED"]);
    assert_eq!(attachment.next().await, Some(()), "the host is hinted");
    watch.changed().await;

    let order = host.take(&w).await;
    assert_eq!((order.task.job, order.instance), (job, host.id));
    assert_eq!(w.states(job).await, ["ACKED"]);
    let task = order.task.task;
    assert!(go_on(host.report(&w, task, 1, T::Started).await));
    assert!(go_on(host.report(&w, task, 2, T::ApplyingPatches).await));
    assert_eq!(w.states(job).await, ["APPLYING_PATCHES"]);

    let action = PlannedAction {
        action: ActionKind::Upgrade,
        name: "openssl".into(),
        arch: "amd64".into(),
        from: Some("3.0.1".into()),
        to: Some("3.0.2".into()),
        repository: "security".into(),
        kind: Default::default(),
        advisories: vec![],
    };
    let mut last = report(task, 3, T::Succeeded);
    let skipped = SkippedUpdate { name: "kernel".into(), arch: "".into(), version: "".into(), reason: "held".into() };
    last.plans = vec![Plan {
        manager: drydock_domain::inventory::ManagerKind::Apt,
        actions: vec![action.clone()],
        skipped: vec![skipped],
        patches: vec![],
        requested: vec![],
        modules: vec![],
        findings: vec![],
        before: None,
        undo: None,
    }];
    let outcome = PackageOutcome::Applied;
    last.packages = vec![PackageResult { planned: action, outcome, found: Some("3.0.2".into()), detail: String::new() }];
    assert!(host.try_report(&w, &last).await.expect("taken").stored);

    w.settle().await;
    let view = w.view(job).await;
    assert_eq!(view.record.state, JobState::Succeeded);
    assert!(view.record.finished_at.is_some());
    assert!((view.percent_complete - 100.0).abs() < 1e-9);
    let detail = w.control.get_task(&w.server(), job, task).await.expect("the task");
    assert_eq!((detail.task.planned, detail.task.applied, detail.task.skipped), (1, 1, 1));
    assert_eq!(detail.report.expect("a report").seq, 3);
    assert!(host.pull(&w, &[]).await.orders.is_empty(), "a final task gives no order");

    let history = w.control.instance_history(&w.server(), &host.name, &PageQuery::default()).await.expect("history").items;
    assert_eq!(history[0].kind, "patch-task");
    assert_eq!(history[0].task, Some(task));
    assert_eq!(history[0].changes[0].to.as_deref(), Some("3.0.2"));
    let audit = w.audit().await;
    let made = audit.iter().find(|a| a.operation == "patch-job.create").expect("audited");
    assert_eq!((&*made.who, &*made.outcome), ("operator", "allowed"));
    assert_eq!(made.resource, format!("patch-job {job}"));
}

#[tokio::test]
async fn the_limit_is_kept_and_every_hold_has_its_name() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":1}}"#).await;
    w.settle().await;
    assert_eq!(w.states(job).await, ["NOTIFIED", "PENDING", "PENDING"]);
    let held = w.tasks(job).await[1].waiting_on.clone();
    assert_eq!(held, Some(WaitingOn::Budget { in_use: 1, limit: 1, zone: None }));
    for host in &hosts {
        let task = host.take(&w).await.task.task;
        host.report(&w, task, 1, T::Succeeded).await;
        w.settle().await;
    }
    assert_eq!(w.view(job).await.record.state, JobState::Succeeded);
}

#[tokio::test]
async fn two_jobs_never_work_on_one_host_at_once() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let first = w.job(ALL).await;
    let second = w.job(ALL).await;
    w.settle().await;
    assert_eq!((w.states(first).await, w.states(second).await), (vec!["NOTIFIED"], vec!["PENDING"]));
    let task = host.take(&w).await;
    assert_eq!(w.tasks(second).await[0].waiting_on, Some(WaitingOn::OtherTask { task: task.task.task }));
    host.report(&w, task.task.task, 1, T::Succeeded).await;
    w.settle().await;
    let next = host.take(&w).await;
    assert_eq!(next.task.job, second);
    assert!(next.number > task.number, "numbers grow");
}

#[tokio::test]
async fn a_cancelled_job_stops_each_host_where_it_is() {
    let w = World::new().await;
    let hosts = w.hosts(4).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":3}}"#).await;
    w.settle().await;
    // h1 works, h2 took the order but the answer was lost, h3 was told, h4 waits.
    let working = hosts[0].take(&w).await.task.task;
    hosts[0].report(&w, working, 1, T::ApplyingPatches).await;
    hosts[1].pull(&w, &[]).await;
    assert_eq!(w.states(job).await, ["APPLYING_PATCHES", "ACKED", "NOTIFIED", "PENDING"]);

    let view = w.control.cancel_patch_job(&w.server(), job, false).await.expect("cancelled");
    assert!(view.record.cancel_requested && !view.record.kill_requested);
    w.settle().await;
    assert_eq!(w.states(job).await, ["APPLYING_PATCHES", "ACKED", "CANCELED", "CANCELED"]);
    assert!(hosts[1].pull(&w, &[]).await.orders.is_empty(), "a cancelled job gives out no order");
    assert_eq!(w.states(job).await[1], "CANCELED");
    assert!(hosts[2].pull(&w, &[]).await.orders.is_empty());
    assert_eq!(w.view(job).await.record.state, JobState::Patching, "a host is still stopping");

    let told = hosts[0].pull(&w, &[working]).await.directives;
    assert_eq!(told, [(working, HeldAnswer::Directive(Directive::Stop))]);
    let reported = hosts[0].report(&w, working, 2, T::ApplyingPatches).await;
    assert_eq!(reported, Reported { directive: Directive::Stop, stored: true });
    w.control.cancel_patch_job(&w.server(), job, true).await.expect("killed");
    assert_eq!(hosts[0].report(&w, working, 3, T::ApplyingPatches).await.directive, Directive::Kill);
    hosts[0].report(&w, working, 4, T::Canceled).await;
    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::Canceled);
    let again = w.control.cancel_patch_job(&w.server(), job, false).await.expect_err("final");
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_job_cancelled_before_its_lookup_has_no_tasks() {
    let w = World::new().await;
    w.hosts(1).await;
    let job = w.job(ALL).await;
    w.control.cancel_patch_job(&w.server(), job, false).await.expect("cancelled");
    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::Canceled);
    assert!(w.tasks(job).await.is_empty());
}

#[tokio::test]
async fn an_unreachable_host_of_a_cancelled_job_times_out() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let job = w.job(ALL).await;
    w.settle().await;
    let task = hosts[0].take(&w).await.task.task;
    hosts[0].report(&w, task, 1, T::ApplyingPatches).await;
    w.control.cancel_patch_job(&w.server(), job, true).await.expect("cancelled");
    w.pass(299);
    w.settle().await;
    assert_eq!(w.states(job).await, ["APPLYING_PATCHES"]);
    w.pass(2);
    w.settle().await;
    let task = w.tasks(job).await.remove(0);
    assert_eq!(task.state, T::TimedOut);
    assert_eq!(task.message, "the host is unreachable; what it did is unknown");
    assert!(w.view(job).await.record.state.is_final());
}

#[tokio::test]
async fn a_deadline_ends_every_task_and_a_late_report_is_kept() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"durationSecs":60,"concurrency":{"fixed":1}}"#).await;
    w.settle().await;
    let order = hosts[0].take(&w).await;
    let task = order.task.task;
    assert_eq!(order.task.deadline, w.view(job).await.record.deadline);
    hosts[0].report(&w, task, 1, T::ApplyingPatches).await;
    w.pass(61);
    assert_eq!(hosts[0].report(&w, task, 2, T::ApplyingPatches).await.directive, Directive::Stop);
    w.settle().await;
    assert_eq!(w.states(job).await, ["TIMED_OUT", "TIMED_OUT"]);
    assert_eq!(w.view(job).await.record.state, JobState::TimedOut);
    let late = hosts[0].report(&w, task, 3, T::Succeeded).await;
    assert!(late.stored);
    let detail = w.control.get_task(&w.server(), job, task).await.expect("the task");
    assert_eq!(detail.task.state, T::TimedOut, "the operator was told");
    assert_eq!(detail.report.expect("kept").state, T::Succeeded);
}

#[tokio::test]
async fn a_silent_agent_is_given_up_and_the_others_go_on() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    w.pass(100);
    hosts[0].ctx(&w).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":1}}"#).await;
    w.settle().await;
    assert_eq!(w.states(job).await, ["NOTIFIED", "PENDING"]);
    assert!(matches!(w.tasks(job).await[1].waiting_on, Some(WaitingOn::Unreachable { since: Some(_) })));
    let task = hosts[0].take(&w).await.task.task;
    hosts[0].report(&w, task, 1, T::Succeeded).await;
    w.pass(299);
    w.settle().await;
    assert_eq!(w.states(job).await, ["SUCCEEDED", "PENDING"], "counted from the start of the job");
    w.pass(2);
    w.settle().await;
    assert_eq!(w.states(job).await, ["SUCCEEDED", "NO_AGENT_DETECTED"]);
    assert_eq!(w.view(job).await.record.state, JobState::CompletedWithInactiveVms);
}

#[tokio::test]
async fn an_attached_agent_is_not_silent() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let stream = w.control.hub().attach(host.id);
    w.pass(1000);
    let job = w.job(ALL).await;
    w.settle().await;
    assert_eq!(w.states(job).await, ["NOTIFIED"]);
    drop(stream);
    w.pass(301);
    w.settle().await;
    assert_eq!(w.states(job).await, ["NO_AGENT_DETECTED"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_pull_gives_the_same_order_again() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    w.job(ALL).await;
    w.settle().await;
    let first = host.take(&w).await;
    w.pass(10);
    let second = host.take(&w).await;
    assert_eq!((first.number, &first.task), (second.number, &second.task));
    let held = host.pull(&w, &[first.task.task]).await;
    assert!(held.orders.is_empty());
    assert_eq!(held.directives, [(first.task.task, HeldAnswer::Directive(Directive::Continue))]);
}

#[tokio::test]
async fn reports_may_be_repeated_and_come_in_any_order() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let job = w.job(ALL).await;
    w.settle().await;
    let task = host.take(&w).await.task.task;
    assert!(go_on(host.report(&w, task, 5, T::RunningPostPatchStep).await));
    assert!(go_on(host.report(&w, task, 5, T::RunningPostPatchStep).await));
    assert!(go_on(host.report(&w, task, 2, T::Started).await), "an older one is stored in the later one");
    assert_eq!(w.states(job).await, ["RUNNING_POST_PATCH_STEP"]);
    host.report(&w, task, 6, T::Failed).await;
    assert!(host.report(&w, task, 6, T::Failed).await.stored);
    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::CompletedWithErrors);
    let history = w.control.instance_history(&w.server(), &host.name, &PageQuery::default()).await.expect("history").items;
    assert_eq!(history.iter().filter(|h| h.kind == "patch-task").count(), 1, "one end, one entry");
}

#[tokio::test]
async fn an_agent_that_lost_its_ledger_fails_the_task() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let job = w.job(ALL).await;
    w.settle().await;
    let task = host.take(&w).await.task.task;
    let before = host.ctx(&w).await;
    host.report(&w, task, 1, T::ApplyingPatches).await;
    // This pull was on its way when the report came: it proves nothing.
    assert!(w.control.pull_work(&before, &[]).await.expect("work").orders.is_empty());
    assert_eq!(w.states(job).await, ["APPLYING_PATCHES"]);
    assert!(host.pull(&w, &[]).await.orders.is_empty(), "never a second run");
    w.settle().await;
    let failed = w.tasks(job).await.remove(0);
    assert_eq!(failed.state, T::Failed);
    assert!(failed.message.contains("lost its ledger"), "{}", failed.message);
}

#[tokio::test]
async fn a_refused_order_fails_the_task_with_the_reason() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let job = w.job(ALL).await;
    w.settle().await;
    let task = host.take(&w).await.task.task;
    let ctx = host.ctx(&w).await;
    w.control.refuse_order(&ctx, Some(task), "the clock is wrong\u{0}\n").await.expect("noted");
    let failed = w.tasks(job).await.remove(0);
    assert_eq!((failed.state, failed.message.trim()), (T::Failed, "the agent refused the order: the clock is wrong"));
    // A task under way is not ended by a refusal of a repeated order.
    let second = w.job(ALL).await;
    w.settle().await;
    let task = host.take(&w).await.task.task;
    host.report(&w, task, 1, T::Started).await;
    w.control.refuse_order(&host.ctx(&w).await, Some(task), "replayed").await.expect("noted");
    assert_eq!(w.states(second).await, ["STARTED"]);
}

#[tokio::test]
async fn a_task_nobody_knows_is_forgotten_and_a_foreign_one_hidden() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let job = w.job(ALL).await;
    w.settle().await;
    let task = hosts[0].take(&w).await.task.task;
    let unknown = TaskId(uuid::Uuid::from_u128(7));
    let told = hosts[1].pull(&w, &[unknown, task]).await;
    assert_eq!(told.directives, [(unknown, HeldAnswer::Forget), (task, HeldAnswer::Forget)]);
    let error = hosts[1].try_report(&w, &report(task, 1, T::Succeeded)).await.expect_err("not its task");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(w.states(job).await[0], "ACKED");
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_dies_at_any_point() {
    let mut w = World::new().await;
    let hosts = w.hosts(2).await;
    let job = w.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":1}}"#).await;
    w.restart().await;
    assert_eq!(w.view(job).await.record.state, JobState::Started);
    for host in &hosts {
        host.ctx(&w).await;
        w.settle().await;
        w.restart().await;
        host.ctx(&w).await;
        let first = host.take(&w).await;
        w.restart().await;
        let again = host.take(&w).await;
        assert_eq!(first.task.task, again.task.task);
        host.report(&w, first.task.task, 1, T::ApplyingPatches).await;
        w.restart().await;
        assert!(go_on(host.report(&w, first.task.task, 2, T::ApplyingPatches).await));
        assert!(host.report(&w, first.task.task, 3, T::Succeeded).await.stored);
        w.restart().await;
        hosts[1].ctx(&w).await;
    }
    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::Succeeded);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let w = World::new().await;
    w.hosts(1).await;
    let ctx = w.person(Role::Operator).await;
    let spec: PatchJobSpec = serde_json::from_str(ALL).expect("a spec");
    let first = w.control.create_patch_job(&ctx, spec.clone(), Some("k1")).await.expect("made");
    let (a, b) = tokio::join!(
        w.control.create_patch_job(&ctx, spec.clone(), Some("k2")),
        w.control.create_patch_job(&ctx, spec.clone(), Some("k2"))
    );
    assert_eq!(a.expect("made").record.id, b.expect("made").record.id);
    let again = w.control.create_patch_job(&ctx, spec.clone(), Some("k1")).await.expect("the same");
    assert_eq!(first.record.id, again.record.id);
    let other = PatchJobSpec { dry_run: true, ..spec.clone() };
    let refused = w.control.create_patch_job(&ctx, other, Some("k1")).await.expect_err("another request");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // The key of another caller is another key, and after a day it is free again.
    let stranger = w.person(Role::Administrator).await;
    let theirs = w.control.create_patch_job(&stranger, spec.clone(), Some("k1")).await.expect("made");
    assert_ne!(theirs.record.id, first.record.id);
    w.pass(25 * 3600);
    w.settle().await;
    let later = w.control.create_patch_job(&ctx, spec, Some("k1")).await.expect("made");
    assert_ne!(later.record.id, first.record.id);
}

#[tokio::test]
async fn a_job_that_reaches_nobody_or_is_wrong_is_refused_by_field() {
    let w = World::new().await;
    let refused = |json: &'static str| {
        let w = &w;
        async move {
            let spec: PatchJobSpec = serde_json::from_str(json).expect("a spec");
            let error = w.control.create_patch_job(&w.server(), spec, None).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            error.fields().iter().map(|f| f.field.clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(refused(ALL).await, ["instanceFilter"], "there are no hosts");
    w.hosts(1).await;
    assert_eq!(refused(r#"{"instanceFilter":{"zones":["nowhere"]}}"#).await, ["instanceFilter"]);
    assert_eq!(refused(r#"{"instanceFilter":{"all":true},"durationSecs":1}"#).await, ["durationSecs"]);
    w.job(r#"{"instanceFilter":{"groupLabels":[{"labels":{"env":"test"}}],"zones":["z1"]}}"#).await;
}

#[tokio::test]
async fn a_revoked_host_ends_its_tasks() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let job = w.job(ALL).await;
    w.settle().await;
    let task = hosts[0].take(&w).await.task.task;
    hosts[0].report(&w, task, 1, T::ApplyingPatches).await;
    let mut stream = w.control.hub().attach(hosts[0].id);
    w.control.revoke_instance(&w.server(), &hosts[0].name).await.expect("revoked");
    assert_eq!(stream.next().await, None, "its stream is cut");
    w.control.unregister(&hosts[1].ctx(&w).await).await.expect("left");
    w.settle().await;
    assert_eq!(w.states(job).await, ["FAILED", "NO_AGENT_DETECTED"]);
    assert!(w.view(job).await.record.state.is_final());
}

#[tokio::test]
async fn a_hostile_report_is_refused() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let job = w.job(ALL).await;
    w.settle().await;
    let task = host.take(&w).await.task.task;
    let ctx = host.ctx(&w).await;
    for body in [b"".to_vec(), b"{}".to_vec(), b"\xff\xff".to_vec(), vec![b' '; 5 * 1024 * 1024]] {
        let error = w.control.report_task(&ctx, &body).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    for wrong in [report(task, 0, T::Started), report(task, u64::MAX, T::Started), report(task, 1, T::TimedOut)] {
        assert_eq!(host.try_report(&w, &wrong).await.expect_err("refused").kind(), ErrorKind::Invalid);
    }
    let mut nul = report(task, 1, T::Started);
    nul.message = "a\u{0}b".repeat(2000);
    assert!(host.try_report(&w, &nul).await.expect("taken").stored);
    assert!(w.tasks(job).await[0].message.len() <= 1024 + 2000);
    let person = w.control.report_task(&w.server(), b"{}").await.expect_err("not an agent");
    assert_eq!(person.kind(), ErrorKind::Forbidden);
    let many: Vec<TaskId> = (0..300).map(|n| TaskId(uuid::Uuid::from_u128(n))).collect();
    assert_eq!(w.control.pull_work(&ctx, &many).await.expect_err("refused").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_viewer_reads_and_a_denial_is_recorded() {
    let w = World::new().await;
    w.hosts(1).await;
    let job = w.job(ALL).await;
    let viewer = w.person(Role::Viewer).await;
    w.control.get_patch_job(&viewer, job).await.expect("may read");
    let spec: PatchJobSpec = serde_json::from_str(ALL).expect("a spec");
    for error in [
        w.control.create_patch_job(&viewer, spec, None).await.expect_err("denied"),
        w.control.cancel_patch_job(&viewer, job, true).await.expect_err("denied"),
        w.control.list_audit(&viewer, &Default::default()).await.expect_err("denied"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Forbidden);
    }
    let agent = w.control.ctx(Principal::Instance(w.hosts(1).await[0].id), "x");
    assert_eq!(w.control.get_patch_job(&agent, job).await.expect_err("denied").kind(), ErrorKind::NotFound);
    let denied: Vec<_> = w
        .audit()
        .await
        .into_iter()
        .filter(|a| a.outcome == "denied")
        .map(|a| (a.who.into_owned(), a.operation.into_owned()))
        .collect();
    let viewer = |operation: &str| ("viewer".to_owned(), operation.to_owned());
    assert!(denied.contains(&viewer("patch-job.create")), "{denied:?}");
    assert!(denied.contains(&viewer("patch-job.kill")) && denied.contains(&viewer("audit.list")));
    assert!(!w.view(job).await.record.cancel_requested);
}

#[tokio::test]
async fn a_long_list_of_tasks_is_read_in_pages_and_by_change() {
    let w = World::new().await;
    w.hosts(5).await;
    let job = w.job(ALL).await;
    w.settle().await;
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let query = TaskQuery { page: PageQuery { cursor, limit: Some(2) }, ..TaskQuery::default() };
        let page = w.control.list_tasks(&w.server(), job, &query).await.expect("a page");
        assert!(page.items.len() <= 2);
        names.extend(page.items.into_iter().map(|t| t.instance_name));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["h1", "h2", "h3", "h4", "h5"]);
    w.pass(10);
    let since = w.control.now();
    let task = w.tasks(job).await[2].clone();
    let host = common::Host {
        id: task.instance,
        name: task.instance_name,
        key: common::ask(&drydock_control::Secret::new(""), "h3", "m3").spki_sha256,
    };
    host.pull(&w, &[]).await;
    let query = TaskQuery { updated_since: Some(since), ..TaskQuery::default() };
    let changed = w.control.list_tasks(&w.server(), job, &query).await.expect("a page").items;
    assert_eq!(changed.iter().map(|t| t.instance_name.as_str()).collect::<Vec<_>>(), ["h3"]);
    let bad = TaskQuery { page: PageQuery { cursor: Some("nonsense".into()), limit: None }, ..TaskQuery::default() };
    assert_eq!(w.control.list_tasks(&w.server(), job, &bad).await.expect_err("refused").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_reconcilers_run_when_woken_and_end_on_request() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(drydock_control::reconcile::run(w.control.clone(), stopped));
    let job = w.job(ALL).await;
    let mut watch = w.control.watch_job(job);
    let admitted = async {
        while w.states(job).await != ["NOTIFIED"] {
            watch.changed().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), admitted).await.expect("within a turn or two");
    hosts[0].ctx(&w).await;
    stop.send(true).expect("it listens");
    tokio::time::timeout(std::time::Duration::from_secs(20), running).await.expect("ends").expect("without a panic");
    let seen = w.control.get_instance(&w.server(), "h1").await.expect("there").record.last_seen;
    assert_eq!(seen.map(|s| s.as_second()), Some(START), "the last contact is written at the end");
}
