//! Who may do what to patch jobs, deployments and calendars: each team sees and changes exactly its own, through every
//! operation there is.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;

use common::teams::Teams;
use common::*;
use drydock_control::records::{JobQuery, PageQuery, TaskQuery};
use drydock_control::store::undo::BarQuery;
use drydock_control::{Error, ErrorKind, OpCtx, Result, UndoAsk};
use drydock_domain::access::operations::OPERATIONS;
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::patch::deployment::PatchDeploymentSpec;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use serde_json::{Value, json};

/// Whose operations these tests go through.
const NOUNS: [&str; 7] = ["patch-job", "patch-task", "barred-version", "patch-deployment", "window", "freeze", "reboot-slot"];

/// Things of one side, by what they are called there.
struct Things {
    job: JobId,
    task: TaskId,
    host: String,
    deployment: String,
    window: String,
    freeze: String,
    slots: String,
}

impl Things {
    /// Nothing of it is there.
    fn missing() -> Self {
        let id = "0198c0de-0000-7000-8000-00000000dead";
        Things {
            job: id.parse().expect("an id"),
            task: id.parse().expect("an id"),
            host: "nobody".into(),
            deployment: "nothing".into(),
            window: "nothing".into(),
            freeze: "nothing".into(),
            slots: "nothing".into(),
        }
    }

    /// Texts without what they call things.
    fn blank(&self, text: &str) -> String {
        let (job, task) = (self.job.to_string(), self.task.to_string());
        let names = [&job, &task, &self.host, &self.deployment, &self.window, &self.freeze, &self.slots];
        names.iter().fold(text.to_owned(), |text, name| text.replace(name.as_str(), "…"))
    }
}

fn spec<S: serde::de::DeserializeOwned>(name: &str, compartment: Option<&str>, more: Value) -> S {
    let mut full = json!({"instanceFilter": {"all": true}});
    let fields = full.as_object_mut().expect("fields");
    fields.insert("name".into(), name.into());
    fields.extend(compartment.map(|path| ("compartment".to_owned(), Value::from(path))));
    let Value::Object(mut more) = more else { panic!("fields") };
    fields.append(&mut more);
    serde_json::from_value(full).expect("a spec")
}

fn job(filter: Value, compartment: Option<&str>) -> PatchJobSpec {
    let mut full = json!({"instanceFilter": filter});
    full.as_object_mut().expect("fields").extend(compartment.map(|path| ("compartment".to_owned(), Value::from(path))));
    serde_json::from_value(full).expect("a spec")
}

fn everything() -> Value {
    json!({"all": true})
}

fn deployment(name: &str, compartment: Option<&str>) -> PatchDeploymentSpec {
    let daily = json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 12}, "frequency": "DAILY"});
    spec(name, compartment, json!({"recurringSchedule": daily}))
}

fn window(name: &str, compartment: Option<&str>) -> MaintenanceWindow {
    let daily = json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 3}, "frequency": "DAILY"});
    spec(name, compartment, json!({"schedule": daily, "durationSecs": 3600}))
}

fn freeze(name: &str, compartment: Option<&str>) -> FreezeCalendar {
    spec(name, compartment, json!({"periods": [{"from": "2099-01-01T00:00:00Z", "to": "2099-02-01T00:00:00Z"}]}))
}

fn slots(name: &str, compartment: Option<&str>) -> RebootSlots {
    spec(name, compartment, json!({"slots": 1}))
}

/// Everything that a team has.
async fn things_of(t: &Teams, who: &OpCtx, side: &str) -> Things {
    let c = &t.w.control;
    let name = format!("of-{side}");
    let id = c.create_patch_job(who, job(everything(), None), None).await.expect("a job").record.id;
    c.create_deployment(who, deployment(&name, None)).await.expect("a deployment");
    c.create_calendar(who, window(&name, None)).await.expect("a window");
    c.create_calendar(who, freeze(&name, None)).await.expect("a freeze");
    c.create_calendar(who, slots(&name, None)).await.expect("slots");
    t.w.settle().await;
    let task = t.w.tasks(id).await.remove(0);
    let [deployment, window, freeze, slots] = [(); 4].map(|()| name.clone());
    Things { job: id, task: task.id, host: task.instance_name, deployment, window, freeze, slots }
}

/// Does an operation to one thing. `None`: it is one of [`list`] or [`make`].
async fn attempt(t: &Teams, who: &OpCtx, operation: &str, on: &Things) -> Option<Result<()>> {
    let c = &t.w.control;
    let (d, w, f, s) = (on.deployment.as_str(), on.window.as_str(), on.freeze.as_str(), on.slots.as_str());
    let page = PageQuery::default();
    Some(match operation {
        "patch-job.show" => c.get_patch_job(who, on.job).await.map(drop),
        "patch-job.plans" => c.patch_job_plans(who, on.job).await.map(drop),
        "patch-job.report" => c.job_report(who, on.job).await.map(drop),
        "patch-job.undo-preview" => c.preview_undo(who, on.job, &[]).await.map(drop),
        "patch-task.list" => c.list_tasks(who, on.job, &TaskQuery::default()).await.map(drop),
        "patch-task.show" => c.get_task(who, on.job, on.task).await.map(drop),
        "patch-job.rerun" => c.rerun_patch_job(who, on.job, true, None).await.map(drop),
        "patch-job.undo" => c.undo_patch_job(who, on.job, UndoAsk::default(), None).await.map(drop),
        "patch-job.pause" => c.pause_patch_job(who, on.job).await.map(drop),
        "patch-job.resume" => c.resume_patch_job(who, on.job, None).await.map(drop),
        "patch-job.halt" => c.halt_patch_job(who, on.job, "why").await.map(drop),
        "patch-job.cancel" => c.cancel_patch_job(who, on.job, false).await.map(drop),
        "patch-job.kill" => c.cancel_patch_job(who, on.job, true).await.map(drop),
        "patch-job.abort" => c.abort_patch_job(who, on.job).await.map(drop),
        "patch-job.approve" => c.approve_patch_job(who, on.job, Some("w")).await.map(drop),
        "barred-version.lift" => {
            let instance = t.hosts.iter().find(|h| h.name == on.host).map(|h| h.id);
            let instance = instance.unwrap_or_else(|| Things::missing().job.to_string().parse().expect("an id"));
            c.lift_bars(who, &BarQuery { instance: Some(instance), ..BarQuery::default() }).await.map(drop)
        }
        "patch-deployment.show" => c.get_deployment(who, d).await.map(drop),
        "patch-deployment.executions" => c.list_executions(who, d, &page).await.map(drop),
        "patch-deployment.edit" => c.edit_deployment(who, d, deployment(d, None), None).await.map(drop),
        "patch-deployment.run" => c.run_deployment(who, d, None).await.map(drop),
        "patch-deployment.skip-next" => c.skip_next_run(who, d, None).await.map(drop),
        "patch-deployment.pause" => c.pause_deployment(who, d).await.map(drop),
        "patch-deployment.resume" => c.resume_deployment(who, d).await.map(drop),
        "patch-deployment.delete" => c.delete_deployment(who, d).await,
        "window.show" => c.get_calendar::<MaintenanceWindow>(who, w).await.map(drop),
        "window.edit" => c.edit_calendar(who, w, window(w, None), None).await.map(drop),
        "window.delete" => c.delete_calendar::<MaintenanceWindow>(who, w).await,
        "freeze.show" => c.get_calendar::<FreezeCalendar>(who, f).await.map(drop),
        "freeze.edit" => c.edit_calendar(who, f, freeze(f, None), None).await.map(drop),
        "freeze.delete" => c.delete_calendar::<FreezeCalendar>(who, f).await,
        "reboot-slot.show" => c.get_slot_group(who, s).await.map(drop),
        "reboot-slot.edit" => c.edit_calendar(who, s, slots(s, None), None).await.map(drop),
        "reboot-slot.release" => c.release_reboot_slot(who, s, &on.host).await.map(drop),
        "reboot-slot.delete" => c.delete_calendar::<RebootSlots>(who, s).await,
        _ => return None,
    })
}

/// What a list shows, by what it is called. `None`: the operation is none.
async fn list(t: &Teams, who: &OpCtx, operation: &str) -> Option<Result<BTreeSet<String>>> {
    let c = &t.w.control;
    let page = PageQuery::default();
    Some(match operation {
        "patch-job.list" => c
            .list_patch_jobs(who, &JobQuery::default())
            .await
            .map(|page| page.items.into_iter().map(|job| job.record.id.to_string()).collect()),
        "barred-version.list" => {
            c.list_bars(who, &BarQuery::default()).await.map(|page| page.items.into_iter().map(|b| b.instance_name).collect())
        }
        "patch-deployment.list" => {
            c.list_deployments(who, &page).await.map(|page| page.items.into_iter().map(|one| one.record.spec.name).collect())
        }
        "window.list" => {
            c.list_calendars::<MaintenanceWindow>(who).await.map(|all| all.into_iter().map(|one| one.record.name).collect())
        }
        "freeze.list" => {
            c.list_calendars::<FreezeCalendar>(who).await.map(|all| all.into_iter().map(|one| one.record.name).collect())
        }
        "reboot-slot.list" => c.list_slot_groups(who).await.map(|all| all.into_iter().map(|one| one.group.record.name).collect()),
        _ => return None,
    })
}

/// Makes something new in a compartment and says in which it is. `None`: the operation makes nothing.
async fn make(t: &Teams, who: &OpCtx, operation: &str, at: Option<&str>, name: &str) -> Option<Result<String>> {
    let c = &t.w.control;
    Some(match operation {
        "patch-job.create" => c.create_patch_job(who, job(everything(), at), None).await.map(|v| v.record.compartment),
        "patch-deployment.create" => c.create_deployment(who, deployment(name, at)).await.map(|v| v.record.compartment),
        "window.create" => c.create_calendar(who, window(name, at)).await.map(|v| v.record.compartment),
        "freeze.create" => c.create_calendar(who, freeze(name, at)).await.map(|v| v.record.compartment),
        "reboot-slot.create" => c.create_calendar(who, slots(name, at)).await.map(|v| v.record.compartment),
        _ => return None,
    })
}

fn own_operations() -> Vec<&'static str> {
    let is_own = |name: &&str| NOUNS.iter().any(|noun| name.split_once('.').is_some_and(|(own, _)| own == *noun));
    // Moving is asked of administrators; it has its own test.
    let mut names: Vec<&str> = OPERATIONS.iter().map(|o| o.name).filter(is_own).filter(|n| !n.ends_with(".move")).collect();
    // What is gone answers nothing any more.
    names.sort_by_key(|name| name.ends_with(".delete"));
    names
}

fn kind<V: std::fmt::Debug>(result: &Result<V>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

#[tokio::test]
async fn each_team_sees_and_changes_exactly_its_own_through_every_operation() {
    let t = Teams::new().await;
    let (ann, bob, eve) = (t.as_user("ann").await, t.as_user("bob").await, t.as_user("eve").await);
    let (a, b) = (things_of(&t, &ann, "a").await, things_of(&t, &bob, "b").await);
    let missing = Things::missing();
    for operation in own_operations() {
        if let Some(of_bob) = list(&t, &bob, operation).await {
            let (of_bob, of_ann) = (of_bob.expect("his"), list(&t, &ann, operation).await.expect("a list").expect("hers"));
            assert!(of_ann.is_disjoint(&of_bob), "{operation}: {of_ann:?} {of_bob:?}");
            let of_all = list(&t, &t.admin, operation).await.expect("a list").expect("everything");
            assert_eq!(of_all.len(), of_ann.len() + of_bob.len(), "{operation}");
            assert!(operation == "barred-version.list" || (of_ann.len() == 1 && of_bob.len() == 1), "{operation}");
        } else if let Some(by_bob) = make(&t, &bob, operation, Some("/A"), "new").await {
            let nowhere = make(&t, &bob, operation, Some("/nowhere"), "new").await.expect("makes").expect_err("no such place");
            let by_bob = by_bob.expect_err("not his");
            assert_eq!(by_bob.to_string(), nowhere.to_string().replace("/nowhere", "/A"), "{operation}");
            assert_eq!(by_bob.kind(), ErrorKind::NotFound, "{operation}");
            let by_eve = make(&t, &eve, operation, Some("/A"), "new").await.expect("makes");
            assert_eq!(kind(&by_eve), Some(ErrorKind::Forbidden), "{operation}: she may look: {by_eve:?}");
            let inside = make(&t, &ann, operation, Some("/a/web"), "new-web").await.expect("makes").expect("hers");
            assert_eq!(inside, "/A/web", "{operation}");
            let usual = make(&t, &ann, operation, None, "new").await.expect("makes").expect("hers");
            assert_eq!(usual, "/A", "{operation}: the one topmost");
            let of_admin = make(&t, &t.admin, operation, None, "new-root").await.expect("makes").expect("the administrator's");
            assert_eq!(of_admin, "/", "{operation}");
        } else {
            let by_bob = attempt(&t, &bob, operation, &a).await.unwrap_or_else(|| panic!("{operation} is not in the table"));
            let by_bob = by_bob.expect_err("not his");
            let unknown = attempt(&t, &bob, operation, &missing).await.expect("in the table").expect_err("not there");
            assert_eq!(by_bob.kind(), ErrorKind::NotFound, "{operation}: {by_bob}");
            let (seen, there) = (a.blank(&by_bob.to_string()), missing.blank(&unknown.to_string()));
            if operation != "barred-version.lift" {
                assert_eq!(seen, there, "{operation}: what is there and what is not read the same");
            }
            let by_eve = attempt(&t, &eve, operation, &a).await.expect("in the table");
            assert_eq!(kind(&by_eve), Some(ErrorKind::Forbidden), "{operation}: {by_eve:?}");
            for (who, own) in [(&ann, &a), (&bob, &b)] {
                let done = attempt(&t, who, operation, own).await.expect("in the table");
                let refused = kind(&done).filter(|kind| !matches!(kind, ErrorKind::Conflict | ErrorKind::Invalid));
                let no_slot = operation == "reboot-slot.release" && refused == Some(ErrorKind::NotFound);
                let no_wave = operation == "patch-job.approve" && refused == Some(ErrorKind::NotFound);
                assert!(refused.is_none() || no_slot || no_wave, "{operation}: {done:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_for_all_touches_only_hosts_of_its_compartment_that_its_maker_may_patch() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    t.statements("peek", "allow group TeamA to inspect drydock-instances in compartment B").await;
    let made = t.w.control.create_patch_job(&ann, job(everything(), None), None).await.expect("a job");
    assert_eq!((made.record.compartment.as_str(), made.not_patchable), ("/A", Some(0)));
    t.w.settle().await;
    let reached =
        |tasks: Vec<_>| tasks.into_iter().map(|t: drydock_control::records::TaskRecord| t.instance_name).collect::<Vec<_>>();
    assert_eq!(reached(t.w.tasks(made.record.id).await), ["h1", "h2"]);
    let inner = t.w.control.create_patch_job(&ann, job(everything(), Some("/A/web")), None).await.expect("a job");
    t.w.settle().await;
    assert_eq!(reached(t.w.tasks(inner.record.id).await), ["h2"]);
    let by_admin = t.w.control.create_patch_job(&t.admin, job(everything(), Some("/B")), None).await.expect("a job");
    t.w.settle().await;
    assert_eq!(reached(t.w.tasks(by_admin.record.id).await), ["h3"], "also the administrator's job stays in its compartment");

    // What he may see and not patch is counted, and named it is as unknown as what is not there.
    t.statements("no-web", "deny group TeamA to {DRYDOCK_INSTANCE_PATCH} in compartment A:web").await;
    let dry = PatchJobSpec { dry_run: true, ..job(everything(), None) };
    let made = t.w.control.create_patch_job(&ann, dry, None).await.expect("a job");
    assert_eq!(made.not_patchable, Some(1));
    t.w.settle().await;
    assert_eq!(reached(t.w.tasks(made.record.id).await), ["h1"]);
    let matched = |ask: Value| async {
        let filter: InstanceFilter = serde_json::from_value(ask).expect("a filter");
        t.w.control.match_instances(&ann, &filter, None).await
    };
    let found = matched(everything()).await.expect("matched");
    assert_eq!((found.total, found.not_patchable), (1, 2), "h2 may be seen, and h3 by the other policy");
    let mut texts = BTreeSet::new();
    for name in ["h2", "h3", "h4", "nobody"] {
        let ask = json!({"instances": ["h1", name]});
        let refused = t.w.control.create_patch_job(&ann, job(ask.clone(), None), None).await.expect_err("refused");
        assert_eq!((refused.kind(), refused.fields()[0].field.as_str()), (ErrorKind::Invalid, "instanceFilter.instances"));
        assert!(refused.to_string().contains(name) && !refused.to_string().contains("h1"), "{refused}");
        texts.insert(refused.to_string().replace(name, "…"));
        texts.insert(
            matched(ask)
                .await
                .expect_err("refused")
                .to_string()
                .replace(name, "…")
                .replace("patch: ", "patch in compartment /A: "),
        );
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn a_condition_on_labels_decides_host_by_host() {
    let t = Teams::new().await;
    t.user("cid", "TeamC").await;
    t.statements(
        "team-c",
        "allow group TeamC to manage drydock-patch-jobs in tenancy\nallow group TeamC to read drydock-instances in tenancy\n\
         allow group TeamC to {DRYDOCK_INSTANCE_PATCH} in tenancy where target.resource.label.tier = 'test'",
    )
    .await;
    let edit =
        drydock_control::InstanceEdit { labels: Some([("tier".to_owned(), "test".to_owned())].into()), ..Default::default() };
    t.w.control.edit_instance(&t.w.server(), "h3", edit, None).await.expect("labelled");
    let cid = t.as_user("cid").await;
    let made = t.w.control.create_patch_job(&cid, job(everything(), None), None).await.expect("a job");
    assert_eq!((made.record.compartment.as_str(), made.not_patchable), ("/", Some(3)));
    t.w.settle().await;
    let tasks = t.w.tasks(made.record.id).await;
    assert_eq!(tasks.iter().map(|t| t.instance_name.as_str()).collect::<Vec<_>>(), ["h3"]);
}

#[tokio::test]
async fn several_compartments_have_to_be_named() {
    let t = Teams::new().await;
    t.statements("both", "allow group TeamA to manage drydock-family in compartment B").await;
    let ann = t.as_user("ann").await;
    let refused = t.w.control.create_patch_job(&ann, job(everything(), None), None).await.expect_err("which?");
    assert_eq!((refused.kind(), refused.fields()[0].field.as_str()), (ErrorKind::Invalid, "compartment"));
    assert!(refused.to_string().contains("/A, /B"), "{refused}");
    let made = t.w.control.create_patch_job(&ann, job(everything(), Some("/B")), None).await.expect("a job");
    assert_eq!(made.record.compartment, "/B");
}

#[tokio::test]
async fn a_deployment_whose_owner_lost_the_right_does_not_run_and_says_why() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    let c = &t.w.control;
    let made = c.create_deployment(&ann, deployment("nightly", None)).await.expect("made");
    assert!(made.record.owner.starts_with("user ") && made.record.compartment == "/A", "{:?}", made.record);
    let newest =
        || async { c.list_executions(&t.w.server(), "nightly", &PageQuery::default()).await.expect("runs").items.remove(0) };
    let due = |t: &Teams| {
        let next = made.record.next_at.expect("due");
        let wait = next.as_second() - t.w.control.now().as_second();
        t.w.pass(if wait > 0 { wait } else { 24 * 3600 });
    };
    due(&t);
    t.w.settle().await;
    let run = newest().await;
    assert_eq!(run.outcome.as_str(), "STARTED", "{}", run.reason);
    let job = run.job.expect("a job");
    let names: Vec<_> = t.w.tasks(job).await.into_iter().map(|t| t.instance_name).collect();
    assert_eq!(names, ["h1", "h2"], "what ann may patch");
    c.cancel_patch_job(&t.w.server(), job, true).await.expect("cancelled");
    for host in &t.hosts[..2] {
        host.pull(&t.w, &[]).await;
    }
    t.w.settle().await;

    c.delete_access_policy(&t.w.server(), "team-a").await.expect("deleted");
    due(&t);
    t.w.settle().await;
    let run = newest().await;
    assert_eq!((run.outcome.as_str(), run.job), ("FAILED", None));
    assert!(run.reason.contains("ann") && run.reason.contains("/A"), "{}", run.reason);
    let shown = c.get_deployment(&t.admin, "nightly").await.expect("shown");
    assert_eq!(shown.failed.as_deref(), Some(run.reason.as_str()));
    let listed = c.list_deployments(&t.admin, &PageQuery::default()).await.expect("listed").items;
    assert_eq!(listed[0].failed, shown.failed);
    let asked = c.run_deployment(&t.admin, "nightly", None).await.expect_err("also not when a person asks");
    assert_eq!(asked.kind(), ErrorKind::Conflict, "{asked}");

    // Whoever edits it answers for it from then on.
    let edited = c.edit_deployment(&t.admin, "nightly", deployment("nightly", None), None).await.expect("edited");
    assert!(edited.record.owner.starts_with("token "), "{}", edited.record.owner);
    let run = c.run_deployment(&t.admin, "nightly", None).await.expect("runs");
    assert_eq!(run.outcome.as_str(), "STARTED");
    assert_eq!(c.get_deployment(&t.admin, "nightly").await.expect("shown").failed, None);
    t.w.settle().await;
    assert_eq!(t.w.tasks(run.job.expect("a job")).await.len(), 2, "still only what lies in /A");
}

#[tokio::test]
async fn a_deployment_of_a_deleted_user_does_not_run() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    let c = &t.w.control;
    c.create_deployment(&ann, deployment("nightly", None)).await.expect("made");
    c.delete_user(&t.admin, "ann").await.expect("deleted");
    let refused = c.run_deployment(&t.admin, "nightly", None).await.expect_err("nobody to run as");
    assert!(refused.to_string().contains("deleted"), "{refused}");
}

#[tokio::test]
async fn a_host_that_leaves_the_compartment_gets_no_order() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    let made = t.w.control.create_patch_job(&ann, job(everything(), None), None).await.expect("a job");
    t.w.settle().await;
    let id = made.record.id;
    assert_eq!(t.w.states(id).await, ["NOTIFIED", "NOTIFIED"]);
    // One is moved before its agent asks, the other one after it has its order.
    let order = t.hosts[1].take(&t.w).await;
    t.w.control.move_instance(&t.w.server(), "h1", "/B").await.expect("moved");
    t.w.control.move_instance(&t.w.server(), "h2", "/B").await.expect("moved");
    assert!(t.hosts[0].pull(&t.w, &[]).await.orders.is_empty(), "no order to a host that is another team's");
    t.w.settle().await;
    let tasks = t.w.tasks(id).await;
    assert!(tasks[0].state.is_final() && tasks[0].message.contains("left the job's compartment /A"), "{tasks:?}");
    assert!(!tasks[1].state.is_final(), "what has begun goes on");
    t.hosts[1].report(&t.w, order.task.task, 1, T::Succeeded).await;
    t.w.settle().await;
    assert!(t.w.view(id).await.record.state.is_final());
}

#[tokio::test]
async fn calendars_hold_hosts_of_their_compartment_and_below() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    let now = t.w.control.now();
    let until = now.checked_add(jiff::SignedDuration::from_hours(1)).expect("in range");
    let frozen: FreezeCalendar =
        spec("closing", None, json!({"periods": [{"from": now.to_string(), "to": until.to_string(), "reason": "closing"}]}));
    t.w.control.create_calendar(&ann, frozen.clone()).await.expect("a freeze");
    let all = t.w.job(ALL).await;
    t.w.settle().await;
    assert_eq!(t.w.states(all).await, ["PENDING", "PENDING", "NOTIFIED", "NOTIFIED"], "only team A's hosts are frozen");
    let everybody = FreezeCalendar { name: "everybody".into(), ..frozen };
    t.w.control.create_calendar(&t.admin, everybody).await.expect("a freeze");
    t.w.pass(6);
    for host in &t.hosts {
        host.ctx(&t.w).await;
    }
    let again = t.w.job(ALL).await;
    t.w.settle().await;
    let held = t.w.tasks(again).await;
    assert!(held.iter().all(|t| t.state == T::Pending), "one in the tenancy holds everybody");
}
