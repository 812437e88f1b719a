//! The two-person rule: what a rule means is done only when another principal has said so, exactly as it was asked for, once.
#![allow(missing_docs)]

mod common;

use common::World;
use drydock_control::records::PageQuery;
use drydock_control::store::approvals::ApprovalState;
use drydock_control::{Error, ErrorKind, OpCtx};
use drydock_domain::access::Role;
use drydock_domain::access::approval::ApprovalRuleSpec;
use drydock_domain::ids::ApprovalId;

/// A request as the server would see it: `asked` is its address and body.
async fn request(w: &World, who: &OpCtx, asked: &str) -> OpCtx {
    w.tick();
    let notes = drydock_control::CallNotes::of_request();
    notes.asked(asked.as_bytes());
    w.control.ctx(who.who.clone(), "req").with_notes(notes)
}

async fn rule(w: &World, json: &str) {
    let spec: ApprovalRuleSpec = serde_json::from_str(json).expect("a rule");
    let admin = w.person(Role::Administrator).await;
    w.control.set_approval_rule(&admin, spec).await.expect("set");
}

/// The request that a refusal speaks of.
fn asked_for(error: &Error) -> ApprovalId {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let text = error.to_string();
    let (_, rest) = text.split_once("approval approve ").expect("says how to go on");
    rest.chars().take(36).collect::<String>().parse().expect("an id")
}

#[tokio::test]
async fn another_person_approves_and_the_very_same_request_is_done_once() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    let viewer = w.person(Role::Viewer).await;
    rule(&w, r#"{"name":"deletions","operations":["instance.delete"]}"#).await;

    let delete = || request(&w, &ann, "DELETE /api/v1/instances/h1");
    let refused = w.control.delete_instance(&delete().await, &host.name).await.expect_err("needs another person");
    let id = asked_for(&refused);
    let again = w.control.delete_instance(&delete().await, &host.name).await.expect_err("still");
    assert_eq!(asked_for(&again), id, "asking again makes no second request");

    let own = w.control.decide_approval(&ann, id, true, "").await.expect_err("not the requester");
    assert_eq!(own.kind(), ErrorKind::Forbidden);
    let blind = w.control.decide_approval(&viewer, id, true, "").await.expect_err("who could not do it does not see it");
    assert_eq!(blind.kind(), ErrorKind::NotFound);
    let seen = |list: Vec<drydock_control::store::approvals::ApprovalRecord>| list.into_iter().map(|r| r.id).collect::<Vec<_>>();
    let page = PageQuery::default();
    assert_eq!(seen(w.control.list_approvals(&bob, &page).await.expect("listed").items), [id]);
    assert_eq!(seen(w.control.list_approvals(&viewer, &page).await.expect("listed").items), []);

    let yes = w.control.decide_approval(&bob, id, true, "seen").await.expect("approved");
    assert_eq!((yes.state, yes.reason.as_str()), (ApprovalState::Approved, "seen"));
    assert_eq!(w.control.decide_approval(&bob, id, false, "").await.expect_err("decided").kind(), ErrorKind::Conflict);

    // Another request, or the same one by somebody else, is not what was approved.
    let other = request(&w, &ann, "DELETE /api/v1/instances/h1?force=true").await;
    assert_ne!(asked_for(&w.control.delete_instance(&other, &host.name).await.expect_err("another")), id);
    let bobs = request(&w, &bob, "DELETE /api/v1/instances/h1").await;
    assert_ne!(asked_for(&w.control.delete_instance(&bobs, &host.name).await.expect_err("bob asked for nothing yet")), id);

    w.control.delete_instance(&delete().await, &host.name).await.expect("approved");
    let used = w.control.list_approvals(&ann, &page).await.expect("listed").items.into_iter().find(|r| r.id == id);
    assert_eq!(used.expect("kept").state, ApprovalState::Used);
}

#[tokio::test]
async fn what_fails_does_not_use_an_approval_up() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    rule(&w, r#"{"name":"edits","operations":["instance.edit"]}"#).await;
    let edit = |etag: &'static str| {
        let (w, ann, name) = (&w, &ann, &host.name);
        async move {
            let ctx = request(w, ann, "PATCH /api/v1/instances/h1 zone=a").await;
            let edit = drydock_control::InstanceEdit { zone: Some("a".to_owned()), ..Default::default() };
            w.control.edit_instance(&ctx, name, edit, Some(etag)).await
        }
    };
    let id = asked_for(&edit("*").await.expect_err("asked"));
    w.control.decide_approval(&bob, id, true, "").await.expect("approved");
    assert!(edit("none-such").await.expect_err("an old etag").is_stale());
    assert_eq!(edit("*").await.expect("still approved").record.zone, "a");
    assert_ne!(asked_for(&edit("*").await.expect_err("once")), id);
}

#[tokio::test]
async fn a_request_is_over_when_its_time_is() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    rule(&w, r#"{"name":"edits","operations":["instance.*"],"expiresAfterSecs":600}"#).await;
    let accept = || request(&w, &ann, "POST /api/v1/instances/h1:revoke");
    let id = asked_for(&w.control.revoke_instance(&accept().await, &host.name).await.expect_err("asked"));
    w.pass(601);
    let late = w.control.ctx(bob.who.clone(), "req");
    assert_eq!(w.control.decide_approval(&late, id, true, "").await.expect_err("over").kind(), ErrorKind::Conflict);
    let next = asked_for(&w.control.revoke_instance(&accept().await, &host.name).await.expect_err("asked anew"));
    assert_ne!(next, id);
    let bob = w.control.ctx(bob.who.clone(), "req");
    w.control.decide_approval(&bob, next, true, "").await.expect("in time");
    w.pass(601);
    let over = w.control.revoke_instance(&accept().await, &host.name).await.expect_err("an approval is over, too");
    assert_ne!(asked_for(&over), next);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let w = World::new().await;
    let host = w.hosts(1).await.remove(0);
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    rule(&w, r#"{"name":"edits","operations":["instance.revoke"]}"#).await;
    let revoke = || request(&w, &ann, "POST /api/v1/instances/h1:revoke");
    let id = asked_for(&w.control.revoke_instance(&revoke().await, &host.name).await.expect_err("asked"));
    w.control.decide_approval(&bob, id, false, "not tonight").await.expect("refused");
    let told = w.control.revoke_instance(&revoke().await, &host.name).await.expect_err("refused");
    assert_eq!(told.kind(), ErrorKind::Forbidden);
    assert!(told.to_string().contains("not tonight"), "{told}");
}

#[tokio::test]
async fn a_job_that_reaches_a_marked_host_waits_for_another_person() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    let edit = drydock_control::InstanceEdit { labels: Some(labels), ..Default::default() };
    w.control.edit_instance(&ann, &hosts[1].name, edit, None).await.expect("labelled");
    rule(&w, r#"{"name":"prod","operations":["patch-job.create"],"labels":{"env":"prod"}}"#).await;
    let job = |names: &str| {
        let json = format!(r#"{{"displayName":"night","instanceFilter":{{"instances":[{names}]}}}}"#);
        serde_json::from_str(&json).expect("a spec")
    };
    let free = w.control.create_patch_job(&ann, job(r#""h1""#), None).await.expect("no marked host");
    assert!(!free.record.spec.rollout.as_ref().is_some_and(|r| r.require_approval));
    let held = w.control.create_patch_job(&ann, job(r#""h1","h2""#), None).await.expect("made");
    assert!(held.record.spec.rollout.as_ref().is_some_and(|r| r.require_approval), "it waits");
    let own = w.control.approve_patch_job(&ann, held.record.id, None).await.expect_err("not the requester");
    assert_eq!(own.kind(), ErrorKind::Forbidden);
    w.control.approve_patch_job(&bob, held.record.id, None).await.expect("approved");
}
