//! Policies from an assignment to a host's document and back: rollouts within budgets, halts, cancels, deletes, new hosts,
//! changed hosts, conflicts, previews, checks, secrets, hostile reports.
#![allow(missing_docs)]

mod common;

use common::policy::{report, *};
use common::*;
use drydock_control::*;
use drydock_domain::access::Role;
use drydock_domain::policy::standing::*;
use drydock_domain::policy::*;
use serde_json::{Value, json};

use ComplianceState::{Compliant, NonCompliant};

#[tokio::test]
async fn an_assignment_reaches_its_hosts_and_their_answers_are_seen() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    let applied = world.apply(&assignment("web", at_once())).await;
    assert_eq!((applied.outcome, applied.hosts), (ApplyOutcome::Created, 2));
    assert_eq!(world.results("web").await, ["h1 p UNKNOWN no-compliance-data", "h2 p UNKNOWN no-compliance-data"]);
    assert_eq!(world.phases("web").await, ["h1 CHANGING 1", "h2 CHANGING 1"]);
    let document = hosts[0].obey(&world, Compliant).await;
    assert_eq!(document.policies.len(), 1);
    assert_eq!((document.policies[0].assignment.as_str(), document.policies[0].revision), ("web", 1));
    assert_eq!(document.policies[0].resources[0].id, "r");
    hosts[1].obey(&world, NonCompliant).await;
    world.settle().await;
    assert_eq!(world.results("web").await, ["h1 p COMPLIANT", "h2 p NON_COMPLIANT"]);
    let shown = world.policy("web").await;
    assert_eq!((shown.rollout.state, shown.baseline), (RolloutState::Succeeded, Some(1)));
    assert_eq!((shown.compliance.compliant, shown.compliance.non_compliant), (1, 1));
    assert!(hosts[0].pull_policies(&world, document.generation).await.is_none(), "nothing changed, no new number");
    let fleet = world.control.fleet_compliance(&world.server()).await.expect("a summary");
    assert_eq!((fleet.hosts.compliant, fleet.hosts.non_compliant, fleet.without_policies), (1, 1, 0));
    let one = world.control.host_compliance(&world.server(), "h1").await.expect("a host");
    assert_eq!((one.state, one.policies.len(), one.policies[0].resources.len()), (Compliant, 1, 1));
    assert_eq!(one.reported_generation, one.generation);
}

#[tokio::test]
async fn the_same_document_again_changes_nothing_and_settings_make_no_revision() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    let before = hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    assert_eq!(world.apply(&assignment("web", at_once())).await.outcome, ApplyOutcome::Unchanged);
    assert_eq!(world.apply(&assignment("web", one_by_one())).await.outcome, ApplyOutcome::Settings);
    assert_eq!(world.policy("web").await.revision, 1);
    assert!(hosts[0].pull_policies(&world, before.generation).await.is_none());
    let shown = world.policy("web").await.document.expect("a document");
    assert_eq!(serde_json::to_value(shown.rollout).expect("JSON"), one_by_one());
    let mut dry = assignment("web", at_once());
    dry["osPolicies"][0]["mode"] = "VALIDATION".into();
    let ask = ApplyAsk { dry_run: true, ..ApplyAsk::default() };
    let told = world.control.apply_policy(&world.server(), read(&dry), &ask).await.expect("judged");
    assert_eq!((told.outcome, told.dry_run), (ApplyOutcome::NewRevision, true));
    assert_eq!(world.policy("web").await.revision, 1);
    world.apply(&dry).await;
    let diff = world.control.policy_diff(&world.server(), "web", 2, None).await.expect("a diff");
    assert!(
        diff.text.contains("-      \"mode\": \"ENFORCEMENT\"") && diff.text.contains("+      \"mode\": \"VALIDATION\""),
        "{}",
        diff.text
    );
    let ask = ApplyAsk { if_match: Some("1".into()), ..ApplyAsk::default() };
    let stale = world.control.apply_policy(&world.server(), read(&dry), &ask).await.expect_err("an old etag");
    assert!(stale.is_stale(), "{stale}");
}

#[tokio::test]
async fn a_rollout_keeps_to_its_budget_in_each_zone_and_to_its_wait() {
    let world = World::new().await;
    let hosts = world.hosts(4).await;
    for (host, zone) in hosts.iter().zip(["a", "a", "b", "b"]) {
        let edit = InstanceEdit { zone: Some(zone.into()), ..InstanceEdit::default() };
        world.control.edit_instance(&world.server(), &host.name, edit, None).await.expect("moved");
    }
    world.apply(&assignment("web", json!({"disruptionBudget": {"fixed": 1}, "minWaitDuration": "60s"}))).await;
    let expected = ["h1 CHANGING 1", "h2 PENDING 0 BUDGET", "h3 CHANGING 1", "h4 PENDING 0 BUDGET"];
    assert_eq!(world.phases("web").await, expected);
    assert!(hosts[1].pull_policies(&world, 0).await.is_none(), "who is held has nothing");
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    assert_eq!(world.phases("web").await, expected, "it keeps its place until its wait is over");
    world.pass(61);
    for host in &hosts {
        host.ctx(&world).await;
    }
    world.settle().await;
    assert_eq!(world.phases("web").await, ["h1 DONE 1", "h2 CHANGING 1", "h3 CHANGING 1", "h4 PENDING 0 BUDGET"]);
    for host in &hosts[1..3] {
        host.obey(&world, Compliant).await;
    }
    world.settle().await;
    world.pass(61);
    hosts[3].ctx(&world).await;
    world.settle().await;
    hosts[3].obey(&world, Compliant).await;
    world.settle().await;
    world.pass(61);
    world.settle().await;
    let rollout = world.policy("web").await.rollout;
    assert_eq!((rollout.state, rollout.done, rollout.pending), (RolloutState::Succeeded, 4, 0));
}

#[tokio::test]
async fn patch_jobs_and_policies_share_the_budget_of_a_zone() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", one_by_one())).await;
    assert_eq!(world.phases("web").await, ["h1 CHANGING 1", "h2 PENDING 0 BUDGET"]);
    let job = world.job(r#"{"instanceFilter":{"instances":["h2"]},"rollout":{"disruptionBudget":{"fixed":1}}}"#).await;
    world.settle().await;
    let held = &world.tasks(job).await[0];
    assert_eq!(held.waiting_on.as_ref().map(|w| w.name()), Some("BUDGET"), "{held:?}");
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    // Either of the two got the place; the other one waits for it.
    let (job_goes, policy_goes) = (world.states(job).await == ["NOTIFIED"], world.phases("web").await[1] == "h2 CHANGING 1");
    assert!(job_goes ^ policy_goes, "{:?} {:?}", world.states(job).await, world.phases("web").await);
}

#[tokio::test]
async fn a_host_with_a_patch_task_waits_for_it() {
    let world = World::new().await;
    world.hosts(1).await;
    world.job(ALL).await;
    world.settle().await;
    world.apply(&assignment("web", at_once())).await;
    assert_eq!(world.phases("web").await, ["h1 PENDING 0 OTHER_TASK"]);
}

#[tokio::test]
async fn hosts_that_are_not_compliant_halt_a_rollout_until_somebody_resumes_it() {
    let world = World::new().await;
    let hosts = world.hosts(4).await;
    let rollout = json!({"disruptionBudget": {"fixed": 1}, "minWaitDuration": "0s", "haltOnNonCompliant": {"fixed": 1}});
    world.apply(&assignment("web", rollout.clone())).await;
    hosts[0].obey(&world, NonCompliant).await;
    world.settle().await;
    let shown = world.policy("web").await;
    assert_eq!(shown.rollout.state, RolloutState::Halted);
    let why = shown.rollout.halted_because.expect("a cause");
    assert!(why.starts_with("1 host that was let go is not compliant"), "{why}");
    assert_eq!(shown.rollout.waiting_on.get("HALTED"), Some(&3));
    let mut words = assignment("web", rollout);
    words["description"] = "why".into();
    let told = world.try_apply(&words).await;
    assert!(told.is_ok_and(|a| a.outcome == ApplyOutcome::Settings), "settings may change while it stands");
    world.control.resume_policy(&world.server(), "web").await.expect("resumed");
    world.settle().await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::InProgress, "what was forgiven does not halt again");
    assert!(world.audit().await.iter().any(|r| r.operation == "policy-assignment.halt"), "the halt is in the audit");
    hosts[1].obey(&world, NonCompliant).await;
    world.settle().await;
    let phases = world.phases("web").await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Halted, "the next one halts it again: {phases:?}");
}

fn gated(rollout: Value) -> Value {
    let mut rollout = rollout;
    rollout["healthChecks"] = json!({"withinSecs": 30, "settleSecs": 10, "checks": [{"unitActive": {"unit": "app.service"}}]});
    rollout
}

fn health(document: &HostPolicies, state: HealthState, message: &str) -> Vec<AssignmentHealth> {
    let told = |own: &AssignmentChecks| AssignmentHealth {
        assignment: own.assignment.clone(),
        revision: own.revision,
        state,
        message: message.to_owned(),
        checks: Vec::new(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    document.health.iter().map(told).collect()
}

#[tokio::test]
async fn a_host_keeps_its_place_until_its_health_is_known_and_a_failed_check_halts() {
    let world = World::new().await;
    let hosts = world.hosts(3).await;
    world.apply(&assignment("web", gated(one_by_one()))).await;
    let document = hosts[0].obey(&world, Compliant).await;
    assert_eq!((document.version, document.health.len(), document.health[0].revision), (2, 1, 1));
    world.settle().await;
    assert_eq!(world.phases("web").await[..2], ["h1 CHANGING 1", "h2 PENDING 0 BUDGET"], "compliant, but not known to be well");
    let tell = async |host: &Host, document: &HostPolicies, state, message: &str| {
        world.pass(1);
        let told = report(&world, document, Compliant);
        host.tell(&world, &HostPoliciesReport { health: health(document, state, message), ..told }).await.expect("stored");
        world.settle().await;
    };
    tell(&hosts[0], &document, HealthState::Checking, "0 of 1 health checks hold").await;
    assert_eq!(world.phases("web").await[0], "h1 CHANGING 1");
    tell(&hosts[0], &document, HealthState::Healthy, "the health check holds").await;
    assert_eq!(world.phases("web").await, ["h1 DONE 1", "h2 CHANGING 1", "h3 PENDING 0 BUDGET"]);
    let document = hosts[1].obey(&world, Compliant).await;
    tell(&hosts[1], &document, HealthState::Unhealthy, "unit app.service: is failed (for 30 s)").await;
    let shown = world.policy("web").await.rollout;
    assert_eq!(shown.state, RolloutState::Halted, "without haltOnNonCompliant the first one halts");
    let why = "1 host that was let go failed (h2 failed its health checks: unit app.service: is failed (for 30 s)); the rollout halts at 1";
    assert_eq!(shown.halted_because.as_deref(), Some(why));
    assert_eq!(world.phases("web").await[2], "h3 PENDING 0 HALTED");
    assert!(hosts[2].pull_policies(&world, 0).await.is_none(), "the third host never got it");
    let listed = world.policy_hosts("web").await;
    assert_eq!(listed[1].health.as_ref().map(|h| h.state), Some(HealthState::Unhealthy));
    world.control.resume_policy(&world.server(), "web").await.expect("resumed");
    world.settle().await;
    assert_eq!(world.phases("web").await[2], "h3 CHANGING 1", "what a person has seen does not halt again");
    // Not compliant alone halts nothing: that is haltOnNonCompliant's.
    let document = hosts[2].obey(&world, NonCompliant).await;
    tell(&hosts[2], &document, HealthState::Healthy, "").await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Succeeded);
    assert!(hosts[2].pull_policies(&world, document.generation).await.is_none(), "the end changes no document");
}

#[tokio::test]
async fn who_does_not_tell_of_its_health_fails_and_other_checks_are_another_revision() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", one_by_one())).await;
    for host in &hosts {
        host.obey(&world, Compliant).await;
        world.settle().await;
    }
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Succeeded);
    let applied = world.apply(&assignment("web", gated(one_by_one()))).await;
    assert_eq!(applied.outcome, ApplyOutcome::NewRevision);
    let shown = world.policy("web").await.document.expect("a document");
    assert_eq!(serde_json::to_value(shown.rollout).expect("JSON"), gated(one_by_one()));
    assert_eq!(world.apply(&assignment("web", gated(one_by_one()))).await.outcome, ApplyOutcome::Unchanged);
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    world.pass(639);
    for host in &hosts {
        host.ctx(&world).await;
    }
    world.settle().await;
    assert_eq!(world.phases("web").await, ["h1 CHANGING 2", "h2 PENDING 1 BUDGET"], "it has time");
    world.pass(2);
    for host in &hosts {
        host.ctx(&world).await;
    }
    world.settle().await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Halted);
    // A host that the policies say nothing to has nothing to check.
    let mut other = assignment("db", gated(one_by_one()));
    other["osPolicies"][0]["resourceGroups"][0]["inventoryFilters"] = json!([{"osShortName": "windows"}]);
    other["osPolicies"][0]["allowNoResourceGroupMatch"] = true.into();
    world.control.cancel_policy(&world.server(), "web").await.expect("cancelled");
    world.settle().await;
    world.apply(&other).await;
    for host in &hosts {
        assert!(host.obey(&world, Compliant).await.health.iter().all(|h| h.assignment == "web"));
        world.settle().await;
    }
    assert_eq!(world.policy("db").await.rollout.state, RolloutState::Succeeded);
    let bad = json!({"disruptionBudget": {"fixed": 1}, "minWaitDuration": "0s", "healthChecks": {"checks": []}});
    let refused = world.try_apply(&assignment("x", bad)).await.expect_err("no checks");
    assert!(refused.to_string().contains("rollout.healthChecks.checks"), "{refused}");
}

#[tokio::test]
async fn a_cancelled_rollout_leaves_who_has_it_and_lets_another_begin() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", one_by_one())).await;
    let mut second = assignment("web", one_by_one());
    second["osPolicies"][0]["mode"] = "VALIDATION".into();
    let refused = world.try_apply(&second).await.expect_err("one at a time");
    assert!(refused.to_string().contains("cancel it first"), "{refused}");
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    hosts[1].obey(&world, Compliant).await;
    world.settle().await;
    world.apply(&second).await;
    assert_eq!(world.phases("web").await, ["h1 CHANGING 2", "h2 PENDING 1 BUDGET"]);
    world.control.cancel_policy(&world.server(), "web").await.expect("cancelled");
    world.settle().await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Cancelling, "a host is at it");
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    let shown = world.policy("web").await;
    assert_eq!((shown.rollout.state, shown.revision, shown.baseline), (RolloutState::Cancelled, 2, Some(1)));
    assert_eq!(world.phases("web").await, ["h1 DONE 2", "h2 DONE 1"]);
    assert_eq!(
        world.apply(&assignment("web", one_by_one())).await.outcome,
        ApplyOutcome::NewRevision,
        "going back is a revision"
    );
    assert_eq!(world.policy("web").await.revision, 3);
}

#[tokio::test]
async fn a_deleted_assignment_leaves_its_hosts_and_is_gone() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    world.apply(&assignment("db", at_once())).await;
    let before = hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    assert_eq!(before.policies.len(), 2);
    let gone = world.control.delete_policy(&world.server(), "web", "no longer", None).await.expect("begun");
    assert!(gone.deleted);
    world.settle().await;
    let after = hosts[0].obey(&world, Compliant).await;
    assert!(after.generation > before.generation);
    assert_eq!(after.policies.iter().map(|p| p.assignment.as_str()).collect::<Vec<_>>(), ["db"]);
    world.settle().await;
    let missing = world.control.get_policy(&world.server(), "web").await.expect_err("gone");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(world.results("web").await, Vec::<String>::new());
    // Made again it is another one, and the host gets it.
    world.apply(&assignment("web", at_once())).await;
    assert_eq!(hosts[0].obey(&world, Compliant).await.policies.len(), 2);
}

#[tokio::test]
async fn a_new_host_gets_the_baseline_at_once_and_a_changed_one_moves_within_a_turn() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    let mut document = assignment("web", one_by_one());
    document["instanceFilter"] = json!({"inclusionLabels": [{"labels": {"role": "web"}}]});
    world.apply(&document).await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Succeeded, "it is for nobody");
    let label =
        |role: &str| InstanceEdit { labels: Some([("role".to_owned(), role.to_owned())].into()), ..InstanceEdit::default() };
    for host in &hosts {
        world.control.edit_instance(&world.server(), &host.name, label("web"), None).await.expect("labelled");
    }
    world.settle().await;
    assert_eq!(world.phases("web").await, ["h1 DONE 1", "h2 DONE 1"], "who comes later needs no place in a budget");
    let first = hosts[0].obey(&world, Compliant).await;
    hosts[1].obey(&world, Compliant).await;
    // A rollout is under way: who is new gets what was rolled out before.
    document["osPolicies"][0]["mode"] = "VALIDATION".into();
    world.apply(&document).await;
    let token = world
        .profile(
            serde_json::from_value(json!({"displayName": "t", "autoAccept": true, "zone": "z1", "labels": {"role": "web"}}))
                .expect("a profile"),
        )
        .await;
    let asked = ask(&token, "h3", "m3");
    let key = asked.spki_sha256.clone();
    let enrolled = world.control.enrol("req", asked).await.expect("enrolled");
    let third = Host { id: enrolled.instance, name: enrolled.name, key };
    third.ctx(&world).await;
    world.settle().await;
    assert!(world.phases("web").await[2].starts_with("h3 PENDING 1"), "{:?}", world.phases("web").await);
    assert_eq!(third.pull_policies(&world, 0).await.expect("a document").policies[0].revision, 1);
    world.control.edit_instance(&world.server(), "h1", label("db"), None).await.expect("labelled");
    world.settle().await;
    let after = hosts[0].pull_policies(&world, first.generation).await.expect("a newer document");
    assert!(after.policies.is_empty(), "{after:?}");
}

#[tokio::test]
async fn what_contradicts_another_policy_on_a_host_there_is_is_refused() {
    let world = World::new().await;
    world.hosts(2).await;
    let file = |name: &str, content: &str, priority: i32| {
        let mut document = assignment(name, at_once());
        document["osPolicies"][0]["priority"] = priority.into();
        document["osPolicies"][0]["resourceGroups"][0]["resources"] =
            json!([{"id": "motd", "file": {"path": "/etc/motd", "content": content, "state": "CONTENTS_MATCH"}}]);
        document
    };
    world.apply(&file("one", "hello", 0)).await;
    let refused = world.try_apply(&file("two", "welcome", 0)).await.expect_err("two owners of one file");
    let words = refused.to_string();
    assert!(words.contains("file /etc/motd") && words.contains("one/p/motd") && words.contains("two/p/motd"), "{words}");
    assert!(words.contains("on 2 hosts"), "{words}");
    let applied = world.apply(&file("two", "welcome", 10)).await;
    assert_eq!(applied.overridden.len(), 1, "the higher priority has its way, and it is told");
    let one = world.control.host_compliance(&world.server(), "h1").await.expect("a host");
    assert_eq!(one.problems.len(), 1, "{one:?}");
}

#[tokio::test]
async fn hostile_reports_change_nothing_but_what_they_may() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", at_once())).await;
    let document = hosts[0].pull_policies(&world, 0).await.expect("a document");
    world.tick();
    let good = report(&world, &document, Compliant);
    // Not of any assignment, and twice.
    let mut odd = good.clone();
    odd.policies[0].assignment = "other".into();
    odd.policies.push(good.policies[0].clone());
    odd.policies.push(PolicyResult { state: NonCompliant, ..good.policies[0].clone() });
    hosts[0].tell(&world, &odd).await.expect("taken");
    assert_eq!(world.results("web").await[0], "h1 p COMPLIANT");
    assert_eq!(world.results("other").await, Vec::<String>::new());
    // Older than what is stored.
    let old = HostPoliciesReport { seq: good.seq - 1, ..report(&world, &document, NonCompliant) };
    assert!(hosts[0].tell(&world, &old).await.expect("taken"));
    assert_eq!(world.results("web").await[0], "h1 p COMPLIANT");
    // Too large, not of this form, no JSON, too many.
    let ctx = hosts[0].ctx(&world).await;
    for bad in [vec![b' '; 9 * 1024 * 1024], b"{}".to_vec(), b"[1".to_vec()] {
        assert_eq!(world.control.report_policies(&ctx, &bad).await.expect_err("refused").kind(), ErrorKind::Invalid);
    }
    let newer = HostPoliciesReport { version: 2, ..good.clone() };
    assert!(hosts[0].tell(&world, &newer).await.is_err());
    let many = HostPoliciesReport { policies: vec![good.policies[0].clone(); 300], seq: good.seq + 9, ..good.clone() };
    assert!(hosts[0].tell(&world, &many).await.is_err());
    // Only an agent speaks here, and of itself.
    let person = world.person(Role::Administrator).await;
    assert_eq!(world.control.report_policies(&person, b"{}").await.expect_err("refused").kind(), ErrorKind::Forbidden);
    hosts[1].tell(&world, &good).await.expect("taken");
    assert_eq!(world.results("web").await[1], "h2 p COMPLIANT", "what is said of h2 is said by h2");
}

#[tokio::test]
async fn a_restored_server_gives_numbers_that_agents_take() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    let known = hosts[0].pull_policies(&world, 0).await.expect("a document").generation + 500;
    let after = hosts[0].pull_policies(&world, known).await.expect("a newer one");
    assert!(after.generation > known);
    assert!(hosts[0].pull_policies(&world, after.generation).await.is_none());
    let ctx = hosts[0].ctx(&world).await;
    assert!(world.control.pull_policies(&ctx, u64::MAX, 0).await.is_err(), "from no backup");
    assert!(world.control.pull_policies(&ctx, after.generation, u64::MAX).await.is_err(), "from no backup");
}

#[tokio::test]
async fn checks_are_asked_for_by_number_and_done_when_the_report_says_so() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", at_once())).await;
    let document = hosts[0].obey(&world, Compliant).await;
    let ask = CheckAsk { instances: vec!["h1".into()], ..CheckAsk::default() };
    let asked = world.control.check_policies(&world.server(), &ask).await.expect("asked");
    assert_eq!((asked.len(), asked[0].check), (1, 1));
    assert_eq!(hosts[0].ask_policies(&world, document.generation, 0).await.check, 1);
    let answer = HostPoliciesReport { check: 1, ..report(&world, &document, Compliant) };
    hosts[0].tell(&world, &answer).await.expect("taken");
    let one = world.control.host_compliance(&world.server(), "h1").await.expect("a host");
    assert_eq!((one.check_asked, one.check_done), (1, 1));
    let all = CheckAsk { assignment: Some("web".into()), ..CheckAsk::default() };
    assert_eq!(world.control.check_policies(&world.server(), &all).await.expect("asked").len(), 2);
    assert!(world.control.check_policies(&world.server(), &CheckAsk::default()).await.is_err(), "nobody is named");
}

#[tokio::test]
async fn a_preview_asks_hosts_and_changes_nothing() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    let preview = world.control.start_preview(&world.server(), read(&assignment("web", at_once())), None).await.expect("begun");
    assert_eq!((preview.hosts, preview.waiting), (2, 2));
    let asked = hosts[0].ask_policies(&world, 0, 0).await;
    assert!(asked.changed.is_none() && asked.previews.len() == 1);
    let document: HostPolicies = serde_json::from_slice(&asked.previews[0].document).expect("a document");
    assert_eq!((document.preview.clone(), document.generation), (Some(preview.id.to_string()), 0));
    document.accept(hosts[0].id, Some((99, "x"))).expect("a preview has no number");
    hosts[0].tell(&world, &report(&world, &document, NonCompliant)).await.expect("taken");
    assert!(hosts[0].ask_policies(&world, 0, 0).await.previews.is_empty(), "asked once");
    let now = world.control.get_preview(&world.server(), preview.id).await.expect("a preview");
    assert_eq!((now.answered, now.waiting, now.would_change), (1, 1, 1));
    assert!(world.control.list_policies(&world.server(), &Default::default()).await.expect("a list").items.is_empty());
    world.pass(25 * 3600);
    world.settle().await;
    assert!(world.control.get_preview(&world.server(), preview.id).await.is_err(), "forgotten after a day");
}

#[tokio::test]
async fn hosts_that_are_off_are_previewed_from_their_inventory() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    alma::report(&world, &hosts[0], &[("bash", "5.1-1")]).await;
    world.pass(3600);
    world.settle().await;
    let mut document = assignment("web", at_once());
    document["osPolicies"][0]["resourceGroups"][0]["resources"] = json!([
        {"id": "missing", "pkg": {"desiredState": "INSTALLED", "yum": {"name": "httpd"}}},
        {"id": "to-go", "pkg": {"desiredState": "REMOVED", "yum": {"name": "bash"}}},
        {"id": "motd", "file": {"path": "/etc/motd", "content": "x", "state": "PRESENT"}}]);
    let preview = world.control.start_preview(&world.server(), read(&document), None).await.expect("begun");
    assert_eq!((preview.from_inventory, preview.waiting, preview.would_change), (1, 0, 1));
    let answers = world.control.preview_answers(&world.server(), preview.id, None, &Default::default()).await.expect("answers");
    let host = &answers.items[0];
    let states: Vec<_> = host.policies[0].resources.iter().map(|r| (r.id.as_str(), r.state.as_str())).collect();
    assert_eq!((host.source, host.would_change), (PreviewSource::Inventory, 2));
    assert_eq!(states, [("missing", "NON_COMPLIANT"), ("to-go", "NON_COMPLIANT"), ("motd", "UNKNOWN")]);
}

#[tokio::test]
async fn secrets_travel_beside_documents_and_a_new_value_is_a_new_document() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    let mut document = assignment("web", at_once());
    document["osPolicies"][0]["resourceGroups"][0]["resources"] = json!([{"id": "f", "template": true,
        "file": {"path": "/etc/app.conf", "state": "CONTENTS_MATCH", "content": "password={{ secret.db }} on {{ host.name }}\n"}}]);
    world.apply(&document).await;
    let one = world.control.host_compliance(&world.server(), "h1").await.expect("a host");
    assert!(one.problems[0].message.contains("no secret db") && one.problems[0].whole, "{one:?}");
    assert_eq!(world.results("web").await, ["h1 p UNKNOWN template-error"]);
    let set = world.control.set_secret(&world.server(), "db", &Secret::new("hunter2"), None).await.expect("set");
    world.settle().await;
    let first = hosts[0].pull_policies(&world, 0).await.expect("a document");
    let json = serde_json::to_string(&first).expect("JSON");
    assert!(!json.contains("hunter2") && json.contains("on h1"), "{json}");
    assert_eq!(first.secrets.get("db"), Some(&set.version));
    let values = hosts[0].ask_policies(&world, 0, 0).await.changed.expect("a document").secrets;
    assert_eq!(values.expose(), r#"{"db":"hunter2"}"#);
    world.control.set_secret(&world.server(), "db", &Secret::new("hunter3"), None).await.expect("set");
    world.settle().await;
    let second = hosts[0].pull_policies(&world, first.generation).await.expect("a newer document");
    assert!(second.secrets["db"] > first.secrets["db"]);
    // Gone: who has it keeps it.
    world.control.delete_secret(&world.server(), "db").await.expect("deleted");
    world.settle().await;
    let kept = hosts[0].pull_policies(&world, 0).await.expect("a document");
    assert_eq!(kept.policies.len(), 1, "what the host has is not taken away");
    assert_eq!(world.results("web").await, ["h1 p UNKNOWN template-error"]);
    let stored = std::fs::read(world.dir.path().join("drydock.sqlite")).expect("the database");
    assert!(!stored.windows(7).any(|w| w == b"hunter2" || w == b"hunter3"), "values are sealed");
}

#[tokio::test]
async fn silent_hosts_are_unknown_for_a_reason_and_do_not_hold_a_rollout_up() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", one_by_one())).await;
    hosts[0].obey(&world, Compliant).await;
    world.settle().await;
    assert_eq!(world.phases("web").await[1], "h2 CHANGING 1");
    world.pass(400);
    hosts[0].ctx(&world).await;
    world.settle().await;
    assert_eq!(world.policy("web").await.rollout.state, RolloutState::Succeeded);
    assert_eq!(world.results("web").await, ["h1 p COMPLIANT", "h2 p UNKNOWN vm-not-running"]);
    hosts[1].obey(&world, Compliant).await;
    world.settle().await;
    assert_eq!(world.results("web").await, ["h1 p COMPLIANT", "h2 p COMPLIANT"]);
}

#[tokio::test]
async fn an_agent_that_never_asks_does_not_know_policies() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    for _ in 0..8 {
        world.pass(50);
        hosts[0].ctx(&world).await;
    }
    world.settle().await;
    assert_eq!(world.results("web").await, ["h1 p UNKNOWN os-policies-not-supported-by-agent"]);
}

#[tokio::test]
async fn history_and_drift_are_kept_and_counted() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    let document = hosts[0].obey(&world, NonCompliant).await;
    world.pass(3600);
    let seen = world.control.now();
    world.pass(1);
    let mut second = report(&world, &document, Compliant);
    second.drift = vec![drift(1, seen, Some(world.control.now()), "web"), drift(2, seen, None, "web")];
    hosts[0].tell(&world, &second).await.expect("taken");
    // Its acknowledgement was lost: told again, stored once.
    second.seq += 1;
    hosts[0].tell(&world, &second).await.expect("taken");
    let events = world.control.drift_events(&world.server(), Some("h1"), Default::default()).await.expect("events").items;
    assert_eq!(events.len(), 2);
    let repaired = events.iter().find(|e| e.event.number == 1).expect("there");
    assert_eq!(repaired.time_to_repair_ms, Some(1000), "{repaired:?}");
    let history = world.control.compliance_history(&world.server(), Some("h1"), Default::default()).await.expect("history").items;
    let states: Vec<_> = history.iter().map(|i| (i.state.as_str(), i.until.is_some())).collect();
    assert_eq!(states, [("COMPLIANT", false), ("NON_COMPLIANT", true), ("UNKNOWN", true)]);
    let trend = world.control.compliance_trend(&world.server(), Some("web"), 2).await.expect("a trend");
    assert_eq!(trend.last().map(|d| (d.counts.compliant, d.drift_events)), Some((1, 2)));
    let fleet = world.control.fleet_compliance(&world.server()).await.expect("a summary");
    assert_eq!((fleet.drift_events, fleet.drift_repaired), (2, 1));
    world.pass(100 * 24 * 3600);
    world.settle().await;
    let left = world.control.drift_events(&world.server(), None, Default::default()).await.expect("events").items;
    assert!(left.is_empty(), "kept for 90 days");
}

#[tokio::test]
async fn who_only_reads_writes_nothing() {
    let world = World::new().await;
    world.hosts(1).await;
    world.apply(&assignment("web", at_once())).await;
    let viewer = world.person(Role::Viewer).await;
    let operator = world.person(Role::Operator).await;
    let document = read(&assignment("db", at_once()));
    let control = &world.control;
    control.set_secret(&world.server(), "db", &Secret::new("x"), None).await.expect("set");
    let denied = [
        control.apply_policy(&viewer, document.clone(), &ApplyAsk::default()).await.map(drop),
        control.delete_policy(&viewer, "web", "", None).await.map(drop),
        control.cancel_policy(&viewer, "web").await.map(drop),
        control.resume_policy(&viewer, "web").await.map(drop),
        control.start_preview(&viewer, document.clone(), None).await.map(drop),
        control.check_policies(&viewer, &CheckAsk { assignment: Some("web".into()), ..CheckAsk::default() }).await.map(drop),
        control.set_secret(&viewer, "db", &Secret::new("x"), None).await.map(drop),
        control.set_secret(&operator, "db", &Secret::new("x"), None).await.map(drop),
        control.delete_secret(&operator, "db").await,
    ];
    for one in denied {
        assert_eq!(one.expect_err("denied").kind(), ErrorKind::Forbidden);
    }
    control.list_policies(&viewer, &Default::default()).await.expect("reads");
    control.fleet_compliance(&viewer).await.expect("reads");
    control.apply_policy(&operator, document, &ApplyAsk::default()).await.expect("applies");
}

#[tokio::test]
async fn a_bad_document_is_refused_with_the_place() {
    let world = World::new().await;
    let mut bad: Value = assignment("web", at_once());
    bad["osPolicies"][0]["resourceGroups"][0]["resources"][0]["pkg"]["apt"]["name"] = "".into();
    let refused = world.try_apply(&bad).await.expect_err("no name");
    assert!(refused.fields().iter().any(|f| f.field.contains("resources[0].pkg.apt.name")), "{refused}");
    assert!(world.try_apply(&json!({"osPolicies": [], "instanceFilter": {}, "rollout": at_once()})).await.is_err());
}

#[tokio::test]
async fn a_server_that_was_killed_goes_on_where_it_was() {
    let mut world = World::new().await;
    let hosts = world.hosts(2).await;
    world.apply(&assignment("web", one_by_one())).await;
    let before = hosts[0].obey(&world, Compliant).await;
    world.restart().await;
    for host in &hosts {
        host.ctx(&world).await;
    }
    world.settle().await;
    assert_eq!(world.phases("web").await, ["h1 DONE 1", "h2 CHANGING 1"]);
    assert!(hosts[0].pull_policies(&world, before.generation).await.is_none(), "the same document keeps its number");
}
