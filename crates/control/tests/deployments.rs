//! Patch deployments: runs that begin by themselves once, whatever dies, and say why when they do not.
#![allow(missing_docs)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use common::*;
use drydock_control::records::JobQuery;
use drydock_control::store::deployments::ExecutionRecord;
use drydock_control::{Control, DeploymentView, ErrorKind, JobView, OpCtx, Principal, reconcile};
use drydock_domain::access::Role;
use drydock_domain::patch::deployment::{DeploymentState, PatchDeploymentSpec};
use drydock_domain::patch::job::JobOrigin;
use drydock_domain::patch::task::TaskState as T;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// 2027-01-15 08:00 UTC, a Friday.
fn start() -> Timestamp {
    Timestamp::from_second(START).expect("in range")
}

/// Hours after the start.
fn hour(n: i64) -> Timestamp {
    start() + SignedDuration::from_hours(n)
}

/// Every day at 09:00 UTC: an hour after the start, and every day from there.
fn daily(more: Value) -> PatchDeploymentSpec {
    let mut full = json!({"name": "nightly", "description": "front ends", "instanceFilter": {"all": true},
        "patchConfig": {"yum": {"security": true}}, "durationSecs": 7200,
        "recurringSchedule": {"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 9}, "frequency": "DAILY"}});
    let Value::Object(mut more) = more else { panic!("fields") };
    full.as_object_mut().expect("fields").append(&mut more);
    serde_json::from_value(full).expect("a spec")
}

async fn made(w: &World, more: Value) -> DeploymentView {
    w.control.create_deployment(&w.server(), daily(more)).await.expect("made")
}

async fn shown(w: &World) -> DeploymentView {
    w.control.get_deployment(&w.server(), "nightly").await.expect("there")
}

async fn executions(w: &World) -> Vec<ExecutionRecord> {
    w.control.list_executions(&w.server(), "nightly", &Default::default()).await.expect("executions").items
}

async fn outcomes(w: &World) -> Vec<&'static str> {
    executions(w).await.into_iter().map(|e| e.outcome.as_str()).collect()
}

async fn jobs(w: &World) -> Vec<JobView> {
    w.control.list_patch_jobs(&w.server(), &JobQuery::default()).await.expect("jobs").items
}

/// The open job of the only host ends well.
async fn done(w: &World, host: &Host) {
    w.settle().await;
    let task = host.take(w).await.task.task;
    host.report(w, task, 1, T::Succeeded).await;
    w.settle().await;
}

#[tokio::test]
async fn a_run_that_is_due_is_a_job_that_names_its_deployment() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let _attached = w.control.hub().attach(host.id);
    let operator = w.person(Role::Operator).await;
    let view = w.control.create_deployment(&operator, daily(json!({}))).await.expect("made");
    assert_eq!(view.upcoming[..2], [hour(1), hour(25)]);
    assert_eq!(view.upcoming.len(), 5);
    assert_eq!((view.record.state, view.record.last_at), (DeploymentState::Active, None));
    w.pass(3590);
    w.settle().await;
    assert!(jobs(&w).await.is_empty() && executions(&w).await.is_empty(), "not due yet");

    w.pass(10);
    w.settle().await;
    let all = jobs(&w).await;
    assert_eq!(all.len(), 1);
    let job = &all[0].record;
    let JobOrigin::Deployment { id, name } = &job.origin else { panic!("{:?}", job.origin) };
    assert_eq!((*id, name.as_str()), (view.record.id, "nightly"));
    assert_eq!((job.spec.display_name.as_str(), job.spec.duration_secs), ("nightly", Some(7200)));
    assert!(job.spec.patch_config.yum.security && job.deadline.is_some() && job.created_by == "server");
    let task = host.take(&w).await.task.task;
    host.report(&w, task, 1, T::Succeeded).await;
    w.settle().await;
    assert_eq!(w.view(job.id).await.record.state.as_str(), "SUCCEEDED");

    let ran = executions(&w).await;
    assert_eq!(ran.len(), 1);
    assert_eq!((ran[0].outcome.as_str(), ran[0].due_at, ran[0].job), ("STARTED", Some(hour(1)), Some(job.id)));
    let after = shown(&w).await;
    assert_eq!((after.record.next_at, after.record.last_job), (Some(hour(25)), Some(job.id)));
    assert_eq!(after.upcoming[0], hour(25));
    let query = JobQuery { deployment: Some("nightly".into()), ..JobQuery::default() };
    assert_eq!(w.control.list_patch_jobs(&w.server(), &query).await.expect("jobs").items.len(), 1);
    let audit = w.audit().await;
    let run = audit.iter().find(|a| a.operation == "patch-deployment.run").expect("audited");
    assert_eq!((&*run.who, &*run.outcome), ("server", "allowed"));
    assert!(run.resource.contains("nightly") && run.resource.contains(&job.id.to_string()), "{}", run.resource);
    assert!(audit.iter().any(|a| a.operation == "patch-deployment.create" && a.who == "operator"));
}

#[tokio::test]
async fn one_run_of_the_once_kind_and_nothing_after() {
    let w = World::new().await;
    let at = (hour(2) + SignedDuration::from_nanos(123_456_789)).to_string();
    let once = json!({"recurringSchedule": null, "oneTimeSchedule": {"executeTime": at}});
    assert_eq!(made(&w, once.clone()).await.upcoming, [hour(2)]);
    w.pass(7300);
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["STARTED"]);
    assert_eq!((shown(&w).await.record.next_at, shown(&w).await.upcoming), (None, vec![]));
    w.pass(86_400);
    w.settle().await;
    assert_eq!(jobs(&w).await.len(), 1);
    // It may still be edited, and runs again with another time only.
    let edited = daily(json!({"recurringSchedule": null, "oneTimeSchedule": {"executeTime": at}, "description": "x"}));
    let view = w.control.edit_deployment(&w.server(), "nightly", edited, None).await.expect("edited");
    assert_eq!((view.record.spec.description.as_str(), view.record.next_at), ("x", None));
    let past = daily(json!({"recurringSchedule": null, "oneTimeSchedule": {"executeTime": hour(1).to_string()}}));
    let refused = w.control.edit_deployment(&w.server(), "nightly", past, None).await.expect_err("refused");
    assert_eq!(refused.fields()[0].field, "oneTimeSchedule.executeTime");
    let skip = w.control.skip_next_run(&w.server(), "nightly", None).await.expect_err("refused");
    assert_eq!(skip.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn two_servers_begin_a_run_once() {
    let w = World::new().await;
    made(&w, json!({"overlap": "parallel"})).await;
    let second = w.second().await;
    for day in 0..5 {
        w.pass(if day == 0 { 3600 } else { 86_400 });
        let turns = || async {
            for control in [&w.control, &second, &w.control] {
                reconcile::turn(control).await;
            }
        };
        let (a, b) = (reconcile::turn(&w.control), reconcile::turn(&second));
        tokio::join!(a, b, turns());
        assert_eq!(jobs(&w).await.len(), day + 1);
        assert_eq!(executions(&w).await.len(), day + 1);
    }
}

/// Polls a future some times and drops it: a server that is killed at that point.
async fn killed_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(cx).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_server_killed_at_any_point_starts_a_run_once() {
    let mut w = World::new().await;
    made(&w, json!({"overlap": "parallel"})).await;
    w.pass(3600);
    let mut ended = false;
    let mut polls = 0;
    while !ended {
        polls += 1;
        assert!(polls < 500, "a turn ends");
        ended = killed_after(polls, reconcile::turn(&w.control)).await;
        w.restart().await;
        let (jobs, ran) = (jobs(&w).await, executions(&w).await);
        assert_eq!(jobs.len(), ran.len(), "after {polls} polls: all of a run or nothing of it");
        assert!(ran.len() <= 1, "after {polls} polls");
        let next = shown(&w).await.record.next_at;
        assert_eq!(next, Some(if ran.is_empty() { hour(1) } else { hour(25) }), "after {polls} polls");
        assert_eq!(ran.first().and_then(|r| r.job), jobs.first().map(|j| j.record.id));
    }
    w.settle().await;
    assert_eq!((jobs(&w).await.len(), outcomes(&w).await), (1, vec!["STARTED"]));
}

#[tokio::test]
async fn a_run_during_an_outage_begins_late_or_is_missed() {
    let mut w = World::new().await;
    made(&w, json!({"overlap": "parallel"})).await;
    // Down over the first run, and back 59 minutes after it.
    w.pass(3600 + 3540);
    w.restart().await;
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["STARTED"]);
    // Down over three runs: the last one is 30 minutes old, the others are too late.
    w.pass(3 * 86_400 - 1800);
    w.restart().await;
    for _ in 0..4 {
        w.settle().await;
    }
    let all = executions(&w).await;
    let seen: Vec<_> = all.iter().map(|e| (e.due_at, e.outcome.as_str())).collect();
    let expected = [(73, "STARTED"), (49, "MISSED"), (25, "MISSED"), (1, "STARTED")];
    assert_eq!(seen, expected.map(|(n, outcome)| (Some(hour(n)), outcome)));
    assert!(all[1].reason.contains("could not start it in time") && all[1].job.is_none(), "{}", all[1].reason);
    assert_eq!(jobs(&w).await.len(), 2);
    assert_eq!(shown(&w).await.record.next_at, Some(hour(97)));
}

#[tokio::test]
async fn one_run_makes_up_for_an_outage_however_patient_the_deployment_is() {
    let w = World::new().await;
    made(&w, json!({"overlap": "parallel", "catchUpSecs": 604_800})).await;
    w.pass(3 * 86_400);
    for _ in 0..4 {
        w.settle().await;
    }
    assert_eq!((outcomes(&w).await, jobs(&w).await.len()), (vec!["STARTED", "MISSED", "MISSED"], 1));
}

#[tokio::test]
async fn how_late_a_run_may_begin_is_the_deployments_own() {
    let w = World::new().await;
    made(&w, json!({"catchUpSecs": 0})).await;
    w.pass(3605);
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["MISSED"]);
    let patient = json!({"name": "patient", "catchUpSecs": 86_000,
        "recurringSchedule": {"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 10}, "frequency": "DAILY"}});
    made(&w, patient).await;
    w.pass(80_000);
    w.settle().await;
    let ran = w.control.list_executions(&w.server(), "patient", &Default::default()).await.expect("executions").items;
    assert_eq!(ran[0].outcome.as_str(), "STARTED");
}

#[tokio::test]
async fn a_run_that_meets_its_predecessor_is_skipped_with_the_jobs_name() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    made(&w, json!({"durationSecs": null})).await;
    let _attached = w.control.hub().attach(host.id);
    w.pass(3600);
    w.settle().await;
    let first = jobs(&w).await[0].record.id;
    let task = host.take(&w).await.task.task;
    host.report(&w, task, 1, T::ApplyingPatches).await;
    w.pass(86_400);
    w.settle().await;
    let ran = executions(&w).await;
    assert_eq!((ran[0].outcome.as_str(), ran[0].due_at), ("SKIPPED", Some(hour(25))));
    assert_eq!(ran[0].reason, format!("patch job {first} is not finished"));
    let refused = w.control.run_deployment(&w.server(), "nightly", None).await.expect_err("refused");
    assert!(refused.kind() == ErrorKind::Conflict && refused.to_string().contains(&first.to_string()), "{refused}");
    host.report(&w, task, 2, T::Succeeded).await;
    w.settle().await;
    assert_eq!(jobs(&w).await.len(), 1, "a skipped run does not come back");
    w.pass(86_400);
    w.settle().await;
    assert_eq!(jobs(&w).await.len(), 2);
}

#[tokio::test]
async fn one_run_waits_for_its_predecessor_and_no_more() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    made(&w, json!({"overlap": "queue", "durationSecs": null})).await;
    let _attached = w.control.hub().attach(host.id);
    w.pass(3600);
    w.settle().await;
    let task = host.take(&w).await.task.task;
    host.report(&w, task, 1, T::ApplyingPatches).await;
    for _ in 0..2 {
        w.pass(86_400);
        w.settle().await;
    }
    assert_eq!(outcomes(&w).await, ["SKIPPED", "QUEUED", "STARTED"]);
    assert!(executions(&w).await[0].reason.contains("another run waits"));
    assert_eq!(jobs(&w).await.len(), 1);
    host.report(&w, task, 2, T::Succeeded).await;
    w.settle().await;
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["SKIPPED", "STARTED", "STARTED"]);
    let all = jobs(&w).await;
    assert_eq!((all.len(), executions(&w).await[1].job), (2, Some(all[0].record.id)));
    assert_eq!(shown(&w).await.record.last_job, Some(all[0].record.id));

    // One that waits when somebody pauses is left out.
    let asked = w.control.run_deployment(&w.server(), "nightly", None).await.expect("taken");
    assert_eq!((asked.outcome.as_str(), asked.due_at), ("QUEUED", None));
    w.control.pause_deployment(&w.person(Role::Operator).await, "nightly").await.expect("paused");
    done(&w, &host).await;
    assert_eq!(executions(&w).await[0].reason, "the deployment is paused by operator");
    assert_eq!(jobs(&w).await.len(), 2);
}

#[tokio::test]
async fn a_paused_deployment_leaves_its_runs_out_and_says_so() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let _attached = w.control.hub().attach(host.id);
    made(&w, json!({})).await;
    let operator = w.person(Role::Operator).await;
    let paused = w.control.pause_deployment(&operator, "nightly").await.expect("paused");
    assert_eq!((paused.record.state, paused.record.paused_by.as_str()), (DeploymentState::Paused, "operator"));
    let again = w.control.pause_deployment(&operator, "nightly").await.expect("paused already");
    assert_eq!(again.record.version, paused.record.version, "nothing changed");
    w.pass(3600);
    w.settle().await;
    let ran = executions(&w).await;
    assert_eq!((ran[0].outcome.as_str(), ran[0].reason.as_str()), ("SKIPPED", "the deployment is paused by operator"));
    // A person may run it all the same.
    let run = w.control.run_deployment(&operator, "nightly", None).await.expect("run");
    assert_eq!((run.outcome.as_str(), run.who.as_str(), run.due_at), ("STARTED", "operator", None));
    done(&w, &host).await;
    let resumed = w.control.resume_deployment(&operator, "nightly").await.expect("resumed");
    assert_eq!((resumed.record.state, resumed.record.next_at), (DeploymentState::Active, Some(hour(25))));
    w.pass(86_400);
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["STARTED", "STARTED", "SKIPPED"]);
    for operation in ["patch-deployment.pause", "patch-deployment.resume", "patch-deployment.run"] {
        assert!(w.audit().await.iter().any(|a| a.operation == operation && a.who == "operator"), "{operation}");
    }
}

#[tokio::test]
async fn the_next_run_is_skipped_once_however_often_it_is_asked() {
    let w = World::new().await;
    w.hosts(1).await;
    made(&w, json!({})).await;
    let operator = w.person(Role::Operator).await;
    let skip = |wanted: Option<Timestamp>| w.control.skip_next_run(&operator, "nightly", wanted);
    assert_eq!(skip(Some(hour(1))).await.expect("skipped").record.next_at, Some(hour(25)));
    assert_eq!(skip(Some(hour(1))).await.expect("asked again").record.next_at, Some(hour(25)));
    let refused = skip(Some(hour(49))).await.expect_err("refused");
    assert!(refused.to_string().contains(&hour(25).to_string()), "{refused}");
    assert_eq!(skip(None).await.expect("the one after").record.next_at, Some(hour(49)));
    let ran = executions(&w).await;
    assert_eq!(ran.iter().map(|e| e.due_at).collect::<Vec<_>>(), [Some(hour(25)), Some(hour(1))]);
    assert_eq!((ran[0].outcome.as_str(), ran[0].reason.as_str()), ("SKIPPED", "skipped by operator"));
    // An edit of the schedule does not bring a skipped moment back.
    let twice = json!({"recurringSchedule": {"timeZone": {"id": "Etc/UTC"}, "timeOfDay": {"hours": 9}, "frequency": "DAILY"}});
    let edited = w.control.edit_deployment(&operator, "nightly", daily(twice), None).await.expect("edited");
    assert_eq!(edited.record.next_at, Some(hour(49)));
    w.pass(49 * 3600);
    w.settle().await;
    assert_eq!(outcomes(&w).await, ["STARTED", "SKIPPED", "SKIPPED"]);
    assert_eq!(jobs(&w).await.len(), 1);
    assert!(skip(Some(hour(49))).await.expect_err("too late").to_string().contains("STARTED already"));
}

#[tokio::test]
async fn run_now_with_a_key_runs_once_and_leaves_the_schedule_alone() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    made(&w, json!({})).await;
    let operator = w.person(Role::Operator).await;
    let run = w.control.run_deployment(&operator, "nightly", Some("k1")).await.expect("run");
    let again = w.control.run_deployment(&operator, "nightly", Some("k1")).await.expect("the same");
    assert_eq!(run, again);
    done(&w, &host).await;
    let later = w.control.run_deployment(&operator, "nightly", Some("k1")).await.expect("still the same");
    assert_eq!((later.id, jobs(&w).await.len()), (run.id, 1));
    assert_eq!(shown(&w).await.record.next_at, Some(hour(1)));
    let bad = w.control.run_deployment(&operator, "nightly", Some("a b")).await.expect_err("refused");
    assert_eq!(bad.kind(), ErrorKind::Invalid);
    made(&w, json!({"name": "other"})).await;
    let used = w.control.run_deployment(&operator, "other", Some("k1")).await.expect_err("refused");
    assert_eq!(used.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_field() {
    let w = World::new().await;
    let field = |more: Value| {
        let (control, ctx) = (w.control.clone(), w.server());
        async move {
            let refused = control.create_deployment(&ctx, daily(more)).await.expect_err("refused");
            refused.fields().first().map(|f| f.field.clone()).unwrap_or_else(|| refused.to_string())
        }
    };
    assert_eq!(field(json!({"name": "Nightly"})).await, "name");
    assert_eq!(field(json!({"instanceFilter": {}})).await, "instanceFilter");
    assert_eq!(field(json!({"instanceFilter": {"groups": ["none"]}})).await, "instanceFilter.groups");
    let zone = json!({"timeZone": {"id": "Mars/Base"}, "timeOfDay": {}, "frequency": "DAILY"});
    assert_eq!(field(json!({"recurringSchedule": zone})).await, "recurringSchedule.timeZone.id");
    let ended =
        json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 9}, "frequency": "DAILY", "endTime": hour(1).to_string()});
    assert_eq!(field(json!({"recurringSchedule": ended})).await, "recurringSchedule.endTime");
    assert_eq!(field(json!({"recurringSchedule": null})).await, "oneTimeSchedule");
    made(&w, json!({})).await;
    assert!(field(json!({})).await.contains("exists already"));

    let edit = |more: Value, tag: Option<&'static str>| {
        let (control, ctx) = (w.control.clone(), w.server());
        async move { control.edit_deployment(&ctx, "nightly", daily(more), tag).await }
    };
    assert_eq!(edit(json!({"name": "x"}), None).await.expect_err("refused").fields()[0].field, "name");
    assert!(edit(json!({}), Some("7")).await.expect_err("refused").is_stale());
    let weekly = json!({"recurringSchedule": {"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3}, "frequency": "WEEKLY",
        "weekly": {"daysOfWeek": ["MONDAY", "THURSDAY"]}}});
    let view = edit(weekly, Some("1")).await.expect("edited");
    let monday: Timestamp = "2027-01-18T02:00:00Z".parse().expect("a time");
    assert_eq!((view.record.next_at, view.record.version), (Some(monday), 2));
    let none = w.control.get_deployment(&w.server(), "none").await.expect_err("refused");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_deleted_deployment_runs_no_more_and_its_jobs_keep_its_name() {
    let w = World::new().await;
    made(&w, json!({})).await;
    w.pass(3600);
    w.settle().await;
    w.control.delete_deployment(&w.server(), "nightly").await.expect("deleted");
    w.pass(86_400);
    w.settle().await;
    let all = jobs(&w).await;
    assert!(all.len() == 1 && matches!(&all[0].record.origin, JobOrigin::Deployment { name, .. } if name == "nightly"));
    assert_eq!(w.control.delete_deployment(&w.server(), "nightly").await.expect_err("refused").kind(), ErrorKind::NotFound);
    made(&w, json!({})).await;
    assert!(executions(&w).await.is_empty(), "a new one of the same name has no past");
}

#[tokio::test]
async fn a_viewer_looks_and_changes_nothing() {
    let w = World::new().await;
    made(&w, json!({})).await;
    let viewer: OpCtx = w.person(Role::Viewer).await;
    let c: &Control = &w.control;
    assert!(c.list_deployments(&viewer, &Default::default()).await.expect("read").items.len() == 1);
    c.get_deployment(&viewer, "nightly").await.expect("read");
    c.list_executions(&viewer, "nightly", &Default::default()).await.expect("read");
    let kinds = [
        c.create_deployment(&viewer, daily(json!({"name": "x"}))).await.expect_err("denied").kind(),
        c.edit_deployment(&viewer, "nightly", daily(json!({})), None).await.expect_err("denied").kind(),
        c.pause_deployment(&viewer, "nightly").await.expect_err("denied").kind(),
        c.resume_deployment(&viewer, "nightly").await.expect_err("denied").kind(),
        c.run_deployment(&viewer, "nightly", None).await.expect_err("denied").kind(),
        c.skip_next_run(&viewer, "nightly", None).await.expect_err("denied").kind(),
        c.delete_deployment(&viewer, "nightly").await.expect_err("denied").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Forbidden; 7]);
    assert_eq!(w.audit().await.iter().filter(|a| a.outcome == "denied").count(), 7);
    let agent = w.control.ctx(Principal::Instance(w.hosts(1).await[0].id), "agent");
    assert_eq!(c.list_deployments(&agent, &Default::default()).await.expect_err("denied").kind(), ErrorKind::Forbidden);
}
