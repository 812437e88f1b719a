//! An ended patch job once more.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_control::ErrorKind;
use drydock_domain::access::Role;
use drydock_domain::ids::JobId;
use drydock_domain::patch::job::JobOrigin;
use drydock_domain::patch::task::TaskState as T;

/// A job over five hosts that ends well on the first, with a reboot to do on the second, and badly on the others.
async fn ended(w: &World, hosts: &[Host]) -> JobId {
    let job = w.job(r#"{"displayName":"thursday","instanceFilter":{"all":true},"durationSecs":3600}"#).await;
    w.settle().await;
    for (host, state) in hosts.iter().zip([T::Succeeded, T::SucceededRebootRequired, T::Failed, T::Failed, T::Failed]) {
        let task = host.take(w).await.task.task;
        host.report(w, task, 1, state).await;
    }
    w.settle().await;
    assert_eq!(w.view(job).await.record.state.as_str(), "COMPLETED_WITH_ERRORS");
    job
}

async fn names(w: &World, job: JobId) -> Vec<String> {
    w.tasks(job).await.into_iter().map(|t| t.instance_name).collect()
}

#[tokio::test]
async fn a_rerun_reaches_the_hosts_where_the_job_did_not_succeed() {
    let w = World::new().await;
    let hosts = w.hosts(5).await;
    let _attached: Vec<_> = hosts.iter().map(|host| w.control.hub().attach(host.id)).collect();
    let job = ended(&w, &hosts).await;
    let operator = w.person(Role::Operator).await;
    // The fifth failed, too, and is gone by now.
    w.control.delete_instance(&w.server(), &hosts[4].name).await.expect("deleted");
    let before = w.view(job).await;

    w.pass(100);
    let again = w.control.rerun_patch_job(&operator, job, false, Some("k")).await.expect("made");
    assert_eq!(again.record.origin, JobOrigin::Rerun { job, all_hosts: false });
    assert_eq!(again.record.spec, before.record.spec, "the filter is not replaced by a list of any length");
    assert!(again.record.deadline > before.record.deadline, "its time is its own");
    w.settle().await;
    assert_eq!(names(&w, again.record.id).await, ["h3", "h4"]);
    let same = w.control.rerun_patch_job(&operator, job, false, Some("k")).await.expect("the same");
    assert_eq!(same.record.id, again.record.id);
    let other = w.control.rerun_patch_job(&operator, job, true, Some("k")).await.expect_err("another request");
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert!(w.audit().await.iter().any(|a| a.operation == "patch-job.rerun" && a.resource.contains(&job.to_string())));

    // A rerun of the rerun is over what that one left.
    for (host, state) in hosts[2..4].iter().zip([T::Succeeded, T::Failed]) {
        let task = host.take(&w).await.task.task;
        host.report(&w, task, 1, state).await;
    }
    w.settle().await;
    let third = w.control.rerun_patch_job(&operator, again.record.id, false, None).await.expect("made").record.id;
    w.settle().await;
    assert_eq!(names(&w, third).await, ["h4"]);
    let task = hosts[3].take(&w).await.task.task;
    hosts[3].report(&w, task, 1, T::Succeeded).await;
    w.settle().await;
    let nothing = w.control.rerun_patch_job(&operator, third, false, None).await.expect_err("refused");
    assert!(nothing.to_string().contains("--all-hosts"), "{nothing}");
    let all = w.control.rerun_patch_job(&operator, job, true, None).await.expect("made").record.id;
    w.settle().await;
    assert_eq!(names(&w, all).await, ["h1", "h2", "h3", "h4"]);
}

#[tokio::test]
async fn an_open_job_and_a_viewer_are_refused() {
    let w = World::new().await;
    let _hosts = w.hosts(1).await;
    let job = w.job(ALL).await;
    w.settle().await;
    let open = w.control.rerun_patch_job(&w.server(), job, true, None).await.expect_err("refused");
    assert!(open.kind() == ErrorKind::Conflict && open.to_string().contains("has not ended (PATCHING)"), "{open}");
    let viewer = w.person(Role::Viewer).await;
    let denied = w.control.rerun_patch_job(&viewer, job, true, None).await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Forbidden);
    let none = w.control.rerun_patch_job(&w.server(), JobId(uuid::Uuid::from_u128(7)), true, None).await.expect_err("refused");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}
