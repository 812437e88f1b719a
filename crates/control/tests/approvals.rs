//! The two-person rule: what a rule means is done only when another principal has said so, exactly as it was asked for, once.
#![allow(missing_docs)]

mod common;

use common::World;
use common::teams::Teams;
use drydock_control::records::PageQuery;
use drydock_control::store::approvals::ApprovalState;
use drydock_control::{Error, ErrorKind, OpCtx, TokenAsk};
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

#[tokio::test]
async fn promotions_and_members_of_groups_wait_like_everything_else() {
    let w = World::new().await;
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    let viewer = w.person(Role::Viewer).await;
    let yum = common::sources::Yum::new(1);
    w.synced(&yum, "base").await;
    w.environment("prod", 1).await;
    let group = serde_json::from_str(r#"{"name":"web"}"#).expect("a group");
    w.control.create_group(&ann, group).await.expect("a group");
    rule(&w, r#"{"name":"r","operations":["environment.promote","environment.rollback","group.members"]}"#).await;

    let promote = || request(&w, &ann, "POST /api/v1/environments/prod:promote");
    let sources = || common::sources::promotion(r#"{"sources":["base"]}"#);
    let id = asked_for(&w.control.promote(&promote().await, "prod", sources()).await.expect_err("needs another person"));
    assert_eq!(w.at("prod", "base").await, None, "nothing has moved");
    w.control.decide_approval(&bob, id, true, "").await.expect("approved");
    w.control.promote(&promote().await, "prod", sources()).await.expect("approved");
    assert_eq!(w.at("prod", "base").await, Some(1));
    let back = || common::sources::promotion(r#"{"rollback":true}"#);
    asked_for(&w.control.promote(&promote().await, "prod", back()).await.expect_err("the way back, too"));

    let members = request(&w, &ann, "PUT /api/v1/groups/web/members").await;
    let refused = w.control.add_members(&members, "web", &["h1".to_owned()]).await.expect_err("needs another person");
    let id = asked_for(&refused);
    // Reading members bears the same name; who only reads them approves nothing.
    let blind = w.control.decide_approval(&viewer, id, true, "").await.expect_err("could not do it");
    assert_eq!(blind.kind(), ErrorKind::NotFound);
}

fn waits(view: &drydock_control::JobView) -> bool {
    view.record.spec.rollout.as_ref().is_some_and(|r| r.require_approval)
}

fn job_in(compartment: &str, filter: &str) -> drydock_domain::patch::spec::PatchJobSpec {
    let json = format!(r#"{{"compartment":"{compartment}","instanceFilter":{filter}}}"#);
    serde_json::from_str(&json).expect("a spec")
}

#[tokio::test]
async fn a_rule_of_a_compartment_is_about_the_hosts_in_it_wherever_a_job_is_made() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    rule(&t.w, r#"{"name":"web","operations":["patch-job.create"],"compartment":"/A/web"}"#).await;
    let c = &t.w.control;
    let all = r#"{"all":true}"#;
    assert!(waits(&c.create_patch_job(&ann, job_in("/A/web", all), None).await.expect("made")));
    assert!(waits(&c.create_patch_job(&ann, job_in("/A", all), None).await.expect("made")), "h2 lies in /A/web");
    assert!(waits(&c.create_patch_job(&t.admin, job_in("/", all), None).await.expect("made")), "from the tenancy as well");
    let outside = c.create_patch_job(&ann, job_in("/A", r#"{"instances":["h1"]}"#), None).await.expect("made");
    assert!(!waits(&outside), "no host of /A/web is concerned");
    // With labels, it is the same host that lies there and has them.
    rule(&t.w, r#"{"name":"web","operations":["patch-job.create"],"compartment":"/A/web","labels":{"env":"prod"}}"#).await;
    let labels = Some([("env".to_owned(), "prod".to_owned())].into());
    let edit = drydock_control::InstanceEdit { labels, ..Default::default() };
    c.edit_instance(&ann, "h1", edit.clone(), None).await.expect("labelled");
    assert!(!waits(&c.create_patch_job(&ann, job_in("/A", all), None).await.expect("made")), "h1 is not in /A/web");
    c.edit_instance(&ann, "h2", edit, None).await.expect("labelled");
    assert!(waits(&c.create_patch_job(&ann, job_in("/A", all), None).await.expect("made")));
}

#[tokio::test]
async fn an_assignment_for_hosts_of_a_compartment_waits_by_its_rule() {
    let t = Teams::new().await;
    let ann = t.as_user("ann").await;
    rule(&t.w, r#"{"name":"web","operations":["policy-assignment.*"],"compartment":"/A/web"}"#).await;
    let document = || common::policy::read(&common::policy::assignment("w", common::policy::at_once()));
    let ask = drydock_control::ApplyAsk { compartment: Some("/A".to_owned()), ..Default::default() };
    let apply = || request(&t.w, &ann, "PUT /api/v1/policy-assignments/w");
    let refused = t.w.control.apply_policy(&apply().await, document(), &ask).await.expect_err("it reaches h2 in /A/web");
    let id = asked_for(&refused);
    t.user("max", "TeamA").await;
    let max = t.as_user("max").await;
    t.w.control.decide_approval(&max, id, true, "").await.expect("approved");
    t.w.control.apply_policy(&apply().await, document(), &ask).await.expect("approved");
    let elsewhere = drydock_control::ApplyAsk { compartment: Some("/B".to_owned()), ..Default::default() };
    let mut other = common::policy::assignment("b", common::policy::at_once());
    other["name"] = "b".into();
    let bob = t.as_user("bob").await;
    let bob = request(&t.w, &bob, "PUT /api/v1/policy-assignments/b").await;
    t.w.control.apply_policy(&bob, common::policy::read(&other), &elsewhere).await.expect("free");
}

#[tokio::test]
async fn a_rule_about_jobs_is_about_every_way_to_make_one() {
    let w = World::new().await;
    let hosts = w.hosts(1).await;
    let (ann, bob) = (w.person(Role::Operator).await, w.person(Role::Operator).await);
    let labels = Some([("env".to_owned(), "prod".to_owned())].into());
    let edit = drydock_control::InstanceEdit { labels, ..Default::default() };
    w.control.edit_instance(&ann, &hosts[0].name, edit, None).await.expect("labelled");
    let before = w.control.create_patch_job(&ann, job_in("/", r#"{"all":true}"#), None).await.expect("no rule yet").record.id;
    w.settle().await;
    w.control.cancel_patch_job(&ann, before, false).await.expect("cancelled");
    w.settle().await;
    let nightly = r#"{"name":"nightly","instanceFilter":{"all":true},"recurringSchedule":{"timeZone":{"id":"UTC"},
        "timeOfDay":{"hours":12},"frequency":"DAILY"}}"#;
    w.control.create_deployment(&ann, serde_json::from_str(nightly).expect("a spec")).await.expect("made");
    rule(&w, r#"{"name":"prod","operations":["patch-job.create"],"labels":{"env":"prod"}}"#).await;

    let again = w.control.rerun_patch_job(&ann, before, true, None).await.expect("made");
    assert!(waits(&again), "a job that is done again is a job");
    let run = w.control.run_deployment(&ann, "nightly", None).await.expect("started").job.expect("a job");
    let run = w.control.get_patch_job(&ann, run).await.expect("seen");
    assert!(waits(&run), "so is the run of a deployment");
    assert_eq!(w.control.approve_patch_job(&ann, run.record.id, None).await.expect_err("own").kind(), ErrorKind::Forbidden);
    w.control.approve_patch_job(&bob, again.record.id, None).await.expect("approved");
}

#[tokio::test]
async fn nobody_approves_what_a_token_of_theirs_asked_for_whatever_became_of_the_token() {
    let t = Teams::new().await;
    let (c, ann) = (&t.w.control, t.as_user("ann").await);
    rule(&t.w, r#"{"name":"jobs","operations":["patch-job.create"]}"#).await;
    for ends in ["revoked", "expired"] {
        let expires_at = Some(c.now() + jiff::SignedDuration::from_secs(600));
        let scope = vec!["manage drydock-family".to_owned()];
        let ask = drydock_control::TokenAsk { name: "ci".into(), scope, expires_at, ..Default::default() };
        let (token, secret) = c.create_access_token(&ann, ask).await.expect("a token");
        t.w.tick();
        let narrow = c.ctx(c.authenticate(secret.expose()).await.expect("known"), "req");
        let job = c.create_patch_job(&narrow, job_in("/A", r#"{"all":true}"#), None).await.expect("made");
        assert!(waits(&job));
        t.w.settle().await;
        match ends {
            "revoked" => drop(c.revoke_access_token(&ann, token.id).await.expect("revoked")),
            _ => t.w.pass(601),
        }
        let ann = c.ctx(ann.who.clone(), "req");
        let own = c.approve_patch_job(&ann, job.record.id, None).await.expect_err("her own");
        assert_eq!(own.kind(), ErrorKind::Forbidden, "{ends}: {own}");
    }
}

#[tokio::test]
async fn a_rule_goes_along_when_its_compartment_is_renamed() {
    let t = Teams::new().await;
    let (c, ann) = (&t.w.control, t.as_user("ann").await);
    rule(&t.w, r#"{"name":"web","operations":["patch-job.create"],"compartment":"/A/web"}"#).await;
    rule(&t.w, r#"{"name":"team","operations":["instance.delete"],"compartment":"/A"}"#).await;
    let edit = drydock_control::CompartmentEdit { name: Some("www".to_owned()), ..Default::default() };
    c.edit_compartment(&ann, "/A/web", &edit, None).await.expect("hers to rename");
    let rules = c.list_approval_rules(&t.admin).await.expect("listed");
    let places: Vec<&str> = rules.iter().filter_map(|own| own.spec.compartment.as_deref()).collect();
    assert_eq!(places, ["/A", "/A/www"]);
    assert!(waits(&c.create_patch_job(&ann, job_in("/A/www", r#"{"all":true}"#), None).await.expect("made")));
}

#[tokio::test]
async fn a_second_principal_of_the_same_person_is_no_second_person() {
    let t = Teams::new().await;
    let c = &t.w.control;
    t.user("max", "TeamA").await;
    let max = t.as_user("max").await;
    t.statements(
        "max",
        "allow group TeamA to manage drydock-users in tenancy\nallow group TeamA to manage drydock-user-groups in tenancy",
    )
    .await;
    let program = async |by: &OpCtx, name: &str| {
        let spec = format!(r#"{{"name":"{name}","kind":"SERVICE_ACCOUNT"}}"#);
        c.create_user(by, serde_json::from_str(&spec).expect("a spec")).await.expect("a service account");
        c.change_user_group_members(&t.admin, "TeamA", &[name.to_owned()], &[]).await.expect("a member");
        t.as_user(name).await
    };
    let (own, other, theirs) = (program(&max, "own").await, program(&max, "other").await, program(&t.admin, "theirs").await);
    rule(&t.w, r#"{"name":"r","operations":["instance.delete","patch-job.create"]}"#).await;
    let delete = async |who: &OpCtx| {
        let asked = request(&t.w, who, "DELETE /api/v1/instances/h1").await;
        asked_for(&c.delete_instance(&asked, "h1").await.expect_err("needs another person"))
    };
    let yes = async |who: &OpCtx, id| c.decide_approval(&c.ctx(who.who.clone(), "req"), id, true, "").await.map(drop);
    let job = async |who: &OpCtx| c.create_patch_job(who, job_in("/A", r#"{"all":true}"#), None).await.expect("made").record.id;
    let start = async |who: &OpCtx, id| c.approve_patch_job(&c.ctx(who.who.clone(), "req"), id, None).await.map(drop);
    for (asks, says) in [(&max, &own), (&own, &max), (&own, &other)] {
        let refused = yes(says, delete(asks).await).await.expect_err("one person");
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
        let refused = start(says, job(asks).await).await.expect_err("one person");
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    }
    // A token that stands for itself is nobody, beside a person who asks.
    let refused = yes(&t.admin, delete(&max).await).await.expect_err("nobody");
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    let ann = t.as_user("ann").await;
    for says in [&theirs, &ann] {
        start(says, job(&max).await).await.expect("somebody else");
    }
    yes(&theirs, delete(&max).await).await.expect("somebody else's program");
}

#[tokio::test]
async fn a_preview_that_runs_scripts_waits_as_its_assignment_would() {
    let t = Teams::new().await;
    t.user("max", "TeamA").await;
    let (c, ann, max) = (&t.w.control, t.as_user("ann").await, t.as_user("max").await);
    rule(&t.w, r#"{"name":"web","operations":["policy-assignment.create"],"compartment":"/A/web"}"#).await;
    let harmless = common::policy::assignment("w", common::policy::at_once());
    let mut script = harmless.clone();
    script["osPolicies"][0]["resourceGroups"][0]["resources"][0] = serde_json::json!(
        {"id": "r", "exec": {"validate": {"interpreter": "SHELL", "script": "touch /root/here\nexit 100\n"},
                             "enforce": {"interpreter": "SHELL", "script": "exit 100\n"}}});
    let ask = async |document: &serde_json::Value, place: &str| {
        let asked = request(&t.w, &ann, &format!("POST /api/v1/policy-previews {place}")).await;
        c.start_preview(&asked, common::policy::read(document), Some(place)).await
    };
    ask(&harmless, "/A").await.expect("it only looks");
    let id = asked_for(&ask(&script, "/A").await.expect_err("it would run on h2 in /A/web"));
    c.decide_approval(&c.ctx(max.who.clone(), "req"), id, true, "").await.expect("approved");
    ask(&script, "/A").await.expect("approved");
}

#[tokio::test]
async fn who_made_a_token_stands_behind_it_and_a_host_vouches_for_nobody() {
    let t = Teams::new().await;
    let c = &t.w.control;
    t.user("max", "TeamA").await;
    c.change_user_group_members(&t.admin, "Administrators", &["max".to_owned(), "ann".to_owned()], &[]).await.expect("members");
    let (max, ann) = (t.as_user("max").await, t.as_user("ann").await);
    rule(&t.w, r#"{"name":"r","operations":["instance.delete"]}"#).await;
    let token = async |by: &OpCtx, name: &str| {
        let ask = TokenAsk { name: name.into(), role: Some(Role::Administrator), ..TokenAsk::default() };
        let (_, secret) = c.create_access_token(&c.ctx(by.who.clone(), "req"), ask).await.expect("a token");
        c.ctx(c.authenticate(secret.expose()).await.expect("known"), "req")
    };
    let made = token(&max, "made").await;
    let made_by_it = token(&made, "made by it").await;
    let of_ann = token(&ann, "of ann").await;
    let delete = async |who: &OpCtx| {
        let asked = request(&t.w, who, "DELETE /api/v1/instances/h1").await;
        asked_for(&c.delete_instance(&asked, "h1").await.expect_err("needs another person"))
    };
    let yes = async |who: &OpCtx, id| c.decide_approval(&c.ctx(who.who.clone(), "req"), id, true, "").await.map(drop);
    for (asks, says) in [(&made, &max), (&made, &made_by_it), (&made_by_it, &made), (&made_by_it, &max)] {
        let refused = yes(says, delete(asks).await).await.expect_err("one person");
        assert!(refused.to_string().contains("stand for max"), "{refused}");
    }
    let gate = r#"allow resource instance to manage drydock-family in compartment A"#;
    t.statements("hosts", gate).await;
    let host = &t.hosts[0];
    let token = c.issue_instance_token(&host.ctx(&t.w).await, &host.key, None).await.expect("issued").0;
    let host = c.ctx(c.authenticate(token.expose()).await.expect("known"), "req");
    let refused = yes(&host, delete(&max).await).await.expect_err("root of it may be the one who asks");
    assert!(refused.to_string().contains("instance h1 is no person"), "{refused}");
    yes(&of_ann, delete(&made).await).await.expect("another person's");
    yes(&ann, delete(&made_by_it).await).await.expect("another person");
}
