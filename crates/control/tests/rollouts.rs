//! Rollouts: waves, zones and budgets are kept, a bad update stops by itself, people steer.
#![allow(missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;

use common::*;
use drydock_control::records::TaskRecord;
use drydock_control::{ErrorKind, JobView, SectionBodyIn, SectionIn, reconcile};
use drydock_domain::access::Role;
use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::inventory::{Health, SectionKind, fingerprint};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState as T;
use drydock_domain::rollout::{HaltCause, Rollout, WavePhase};

/// Moves hosts to a zone.
async fn in_zone(w: &World, hosts: &[Host], zone: &str) {
    for host in hosts {
        let edit = drydock_control::InstanceEdit { zone: Some(zone.to_owned()), ..Default::default() };
        w.control.edit_instance(&w.server(), &host.name, edit, None).await.expect("edited");
    }
}

fn over_all(rollout: &str) -> String {
    format!(r#"{{"instanceFilter":{{"all":true}},"rollout":{rollout}}}"#)
}

async fn waves(w: &World, job: JobId) -> Vec<(String, WavePhase)> {
    let view = w.view(job).await;
    view.rollout.expect("a rollout").waves.into_iter().map(|s| (s.name, s.phase)).collect()
}

fn hold(task: &TaskRecord) -> &'static str {
    task.waiting_on.as_ref().map_or("-", WaitingOn::name)
}

/// The hosts that have been let go and not ended, by name.
async fn at_work(w: &World, job: JobId) -> Vec<String> {
    w.tasks(job).await.into_iter().filter(|t| t.state.is_running()).map(|t| t.instance_name).collect()
}

fn host<'a>(hosts: &'a [Host], name: &str) -> &'a Host {
    hosts.iter().find(|h| h.name == name).expect("one of the hosts")
}

/// The host takes its order and ends so.
async fn ends(w: &World, host: &Host, state: T) -> TaskId {
    let task = host.take(w).await.task.task;
    host.report(w, task, 1, T::Started).await;
    host.report(w, task, 2, state).await;
    task
}

/// Every agent speaks, then the server turns.
async fn settle(w: &World, hosts: &[Host]) {
    for host in hosts {
        host.ctx(w).await;
    }
    w.settle().await;
}

fn halted(view: &JobView) -> Option<&HaltCause> {
    view.record.control.halted.as_ref().map(|h| &h.cause)
}

#[tokio::test]
async fn a_wave_waits_for_the_one_before_it_its_bake_time_and_its_gate() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let job = w
        .job(&over_all(r#"{"seed":1,"waves":[{"name":"canary","size":{"fixed":1},"bakeSecs":600,"gate":{"approval":true}}]}"#))
        .await;
    w.settle().await;
    let first = at_work(&w, job).await;
    assert_eq!(first.len(), 1, "a canary of one");
    let held: Vec<&str> = w.tasks(job).await.iter().filter(|t| t.state == T::Pending).map(hold).collect();
    assert_eq!(held, ["EARLIER_WAVE", "EARLIER_WAVE"]);

    ends(&w, host(&hosts, &first[0]), T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(waves(&w, job).await, [("canary".into(), WavePhase::Baking), ("rest".into(), WavePhase::Waiting)]);
    assert_eq!(w.tasks(job).await.iter().filter(|t| hold(t) == "BAKE").count(), 2);
    w.pass(601);
    settle(&w, &hosts).await;
    assert_eq!(w.tasks(job).await.iter().filter(|t| hold(t) == "APPROVAL").count(), 2);

    let anybody = w.person(Role::Operator).await;
    let unknown = w.control.approve_patch_job(&anybody, job, Some("nowhere")).await.expect_err("no such wave");
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    w.control.approve_patch_job(&anybody, job, Some("canary")).await.expect("approved");
    settle(&w, &hosts).await;
    let second = at_work(&w, job).await;
    assert_eq!(second.len(), 2);
    for name in &second {
        ends(&w, host(&hosts, name), T::Succeeded).await;
    }
    w.settle().await;
    assert_eq!(w.view(job).await.record.state, JobState::Succeeded);
    let audit = w.audit().await;
    let entry = audit.iter().find(|a| a.operation == "patch-job.approve" && a.outcome == "allowed").expect("audited");
    assert_eq!(entry.resource, format!("patch-job {job}, wave canary"));
    assert_eq!(w.control.patch_job_plans(&w.server(), job).await.expect("plans").len(), 1);
}

#[tokio::test]
async fn a_failure_in_a_wave_halts_the_job_and_a_person_resumes_or_aborts_it() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let job = w.job(&over_all(r#"{"seed":1,"waves":[{"name":"canary","size":{"fixed":1}}]}"#)).await;
    w.settle().await;
    ends(&w, host(&hosts, &at_work(&w, job).await[0]), T::Failed).await;
    settle(&w, &hosts).await;
    let view = w.view(job).await;
    assert_eq!(view.record.state, JobState::Patching, "Google's states stay");
    assert_eq!(halted(&view), Some(&HaltCause::Failures { wave: "canary".into(), failed: 1, limit: 1 }));
    assert_eq!(at_work(&w, job).await, Vec::<String>::new(), "nobody else is touched");
    assert_eq!(w.tasks(job).await.iter().filter(|t| hold(t) == "HALTED").count(), 2);
    let audit = w.audit().await;
    let entry = audit.iter().find(|a| a.operation == "patch-job.halt").expect("the halt is in the audit");
    assert!(entry.who == "server" && entry.resource.contains("canary"), "{entry:?}");

    let operator = w.person(Role::Operator).await;
    let viewer = w.person(Role::Viewer).await;
    assert_eq!(w.control.resume_patch_job(&viewer, job, None).await.expect_err("denied").kind(), ErrorKind::Forbidden);
    w.control.resume_patch_job(&operator, job, None).await.expect("resumed");
    settle(&w, &hosts).await;
    assert_eq!(at_work(&w, job).await.len(), 2, "the failure is forgiven");
    let nothing = w.control.resume_patch_job(&operator, job, None).await.expect_err("nothing to resume");
    assert_eq!(nothing.kind(), ErrorKind::Conflict);
    w.control.halt_patch_job(&operator, job, "the database is slow").await.expect("halted");
    assert!(matches!(halted(&w.view(job).await), Some(HaltCause::Asked { by, reason })
        if by == "operator" && reason == "the database is slow"));
    w.control.abort_patch_job(&operator, job).await.expect("aborted");
    for name in at_work(&w, job).await {
        let host = host(&hosts, &name);
        let task = w.tasks(job).await.iter().find(|t| t.instance == host.id).expect("its task").id;
        host.pull(&w, &[]).await;
        assert!(w.tasks(job).await.iter().any(|t| t.id == task && t.state == T::Canceled));
    }
    w.settle().await;
    assert!(w.view(job).await.record.state.is_final());
    let ended = w.control.pause_patch_job(&operator, job).await.expect_err("it has ended");
    assert_eq!(ended.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_paused_job_lets_nobody_go_and_may_go_on_with_another_rollout() {
    let w = World::new().await;
    let hosts = w.hosts(6).await;
    let job = w.job(&over_all(r#"{"seed":1,"waves":[{"name":"canary","size":{"fixed":1}}]}"#)).await;
    w.settle().await;
    let operator = w.person(Role::Operator).await;
    w.control.pause_patch_job(&operator, job).await.expect("paused");
    let canary = at_work(&w, job).await;
    ends(&w, host(&hosts, &canary[0]), T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(w.tasks(job).await.iter().filter(|t| hold(t) == "PAUSED").count(), 5);

    let other = |text: &str| serde_json::from_str::<Rollout>(text).expect("a rollout");
    let bad = other(r#"{"waves":[{"name":"a","select":{"zones":["nowhere"]}}]}"#);
    let refused = w.control.resume_patch_job(&operator, job, Some(bad)).await.expect_err("no such zone");
    assert!(refused.to_string().contains("nowhere") || format!("{refused:?}").contains("nowhere"), "{refused:?}");
    let next = other(r#"{"waves":[{"name":"canary","size":{"fixed":2}},{"name":"more","size":{"fixed":2}}]}"#);
    w.control.resume_patch_job(&operator, job, Some(next)).await.expect("resumed");
    settle(&w, &hosts).await;
    let plans = w.control.patch_job_plans(&w.server(), job).await.expect("plans");
    let numbers: Vec<_> = plans.iter().map(|p| (p.number, p.parent)).collect();
    assert_eq!(numbers, [(1, None), (2, Some(1))]);
    assert_eq!(plans[1].waves.iter().map(|w| w.hosts).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(at_work(&w, job).await.len(), 1, "the canary that has begun stays, one more joins it");
    let begun = w.tasks(job).await.into_iter().find(|t| t.instance_name == canary[0]).expect("there");
    assert_eq!(begun.wave, 0);
}

#[tokio::test]
async fn the_budget_of_a_zone_counts_every_job() {
    let w = World::new().await;
    let hosts = w.hosts(6).await;
    in_zone(&w, &hosts[..4], "a-1").await;
    in_zone(&w, &hosts[4..], "b-1").await;
    let budget = r#""rollout":{"disruptionBudget":{"fixed":2}}"#;
    let one = w.job(&format!(r#"{{"instanceFilter":{{"instances":["h1","h2","h5"]}},{budget}}}"#)).await;
    let two = w.job(&format!(r#"{{"instanceFilter":{{"instances":["h3","h4","h6"]}},{budget}}}"#)).await;
    w.settle().await;
    assert_eq!(at_work(&w, one).await, ["h1", "h2", "h5"]);
    assert_eq!(at_work(&w, two).await, ["h6"], "the other job has taken both places of a-1");
    let held = w.tasks(two).await[0].waiting_on.clone();
    assert_eq!(held, Some(WaitingOn::Budget { in_use: 2, limit: 2, zone: Some("a-1".into()) }));
    // A failed host keeps its place, a done one gives it back.
    ends(&w, &hosts[0], T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(at_work(&w, two).await, ["h3", "h6"]);
    let zones = w.view(two).await.rollout.expect("a rollout").zones;
    let seen: Vec<_> = zones.iter().map(|z| (z.zone.zone.as_str(), z.running, z.failed, z.others)).collect();
    assert_eq!(seen, [("a-1", 1, 0, 1), ("b-1", 1, 0, 1)]);
}

#[tokio::test]
async fn two_servers_share_one_budget() {
    let w = World::new().await;
    let hosts = w.hosts(8).await;
    let other = w.second().await;
    let budget = r#""rollout":{"disruptionBudget":{"fixed":2}}"#;
    let jobs = [
        w.job(&format!(r#"{{"instanceFilter":{{"instances":["h1","h2","h3","h4"]}},{budget}}}"#)).await,
        w.job(&format!(r#"{{"instanceFilter":{{"instances":["h5","h6","h7","h8"]}},{budget}}}"#)).await,
    ];
    for _ in 0..6 {
        w.tick();
        let (a, b) = tokio::join!(reconcile::turn(&w.control), reconcile::turn(&other));
        assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
        let mut busy = 0;
        for job in jobs {
            busy += at_work(&w, job).await.len();
        }
        assert!(busy <= 2, "{busy} hosts at work");
    }
    let _kept = hosts;
}

#[tokio::test]
async fn zone_by_zone_the_smaller_one_goes_first() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    in_zone(&w, &hosts[..2], "a-1").await;
    in_zone(&w, &hosts[2..], "b-1").await;
    let job = w.job(&over_all(r#"{"mode":"ZONE_BY_ZONE","disruptionBudget":{"fixed":1}}"#)).await;
    w.settle().await;
    assert_eq!(at_work(&w, job).await, ["h3"]);
    assert_eq!(w.tasks(job).await.iter().map(hold).collect::<Vec<_>>(), ["EARLIER_ZONE", "EARLIER_ZONE", "-"]);
    ends(&w, &hosts[2], T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(at_work(&w, job).await, ["h1"]);
    ends(&w, &hosts[0], T::Failed).await;
    settle(&w, &hosts).await;
    let view = w.view(job).await;
    assert_eq!(halted(&view), Some(&HaltCause::BudgetEaten { zone: "a-1".into(), failed: 1, budget: 1 }));
    assert_eq!(hold(&w.tasks(job).await[1]), "HALTED");
}

#[tokio::test]
async fn a_job_may_need_the_yes_of_another_person() {
    let w = World::new().await;
    let _hosts = w.hosts(1).await;
    let operator = w.person(Role::Operator).await;
    let admin = w.person(Role::Administrator).await;
    let spec = serde_json::from_str(&over_all(r#"{"requireApproval":true}"#)).expect("a spec");
    let job = w.control.create_patch_job(&operator, spec, None).await.expect("a job").record.id;
    w.settle().await;
    assert_eq!(hold(&w.tasks(job).await[0]), "APPROVAL");
    let own = w.control.approve_patch_job(&operator, job, None).await.expect_err("one's own");
    assert_eq!(own.kind(), ErrorKind::Forbidden);
    assert!(own.to_string().contains("another person"), "{own}");
    w.control.approve_patch_job(&admin, job, None).await.expect("approved");
    w.settle().await;
    assert_eq!(at_work(&w, job).await, ["h1"]);
    let approved = w.view(job).await.record.control.approved.expect("kept");
    assert_eq!(approved.by, "administrator");
    let plain = w.job(ALL).await;
    let needless = w.control.approve_patch_job(&admin, plain, None).await.expect_err("not needed");
    assert_eq!(needless.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_host_that_is_off_holds_up_its_wave_until_it_is_given_up_or_may_catch_up() {
    let w = World::new().await;
    let hosts = w.hosts(3).await;
    let waves = r#""waves":[{"name":"one","select":{"instances":["h1"]}},{"name":"two","select":{"instances":["h2"]}}]"#;
    let strict = w.job(&over_all(&format!(r#"{{{waves}}}"#))).await;
    w.pass(400);
    // h1 and h3 are off. h3 is in a later wave: it is not asked yet, so it is not given up.
    hosts[1].ctx(&w).await;
    w.settle().await;
    assert_eq!(w.states(strict).await, ["NO_AGENT_DETECTED", "PENDING", "PENDING"]);
    assert!(matches!(halted(&w.view(strict).await), Some(HaltCause::Failures { wave, .. }) if wave == "one"));
    w.control.abort_patch_job(&w.server(), strict).await.expect("aborted");
    w.settle().await;

    let patient = w.job(&over_all(&format!(r#"{{{waves},"catchUpSecs":86400}}"#))).await;
    w.settle().await;
    w.pass(400);
    hosts[1].ctx(&w).await;
    w.settle().await;
    assert_eq!(w.states(patient).await, ["PENDING", "NOTIFIED", "PENDING"], "the next wave does not wait for h1");
    hosts[0].ctx(&w).await;
    w.settle().await;
    assert_eq!(w.states(patient).await, ["NOTIFIED", "NOTIFIED", "PENDING"], "h1 takes its turn");
}

#[tokio::test]
async fn a_host_that_falls_silent_while_its_wave_bakes_counts_as_failed() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let text = r#"{"waves":[{"name":"canary","select":{"instances":["h1"]},"bakeSecs":3600}]}"#;
    let job = w.job(&over_all(text)).await;
    w.settle().await;
    ends(&w, &hosts[0], T::Succeeded).await;
    w.pass(200);
    hosts[1].ctx(&w).await;
    w.settle().await;
    assert_eq!(halted(&w.view(job).await), None, "it may be a moment's trouble");
    w.pass(200);
    hosts[1].ctx(&w).await;
    w.settle().await;
    assert!(matches!(halted(&w.view(job).await), Some(HaltCause::Failures { wave, .. }) if wave == "canary"));
    assert_eq!(hold(&w.tasks(job).await[1]), "HALTED");
}

/// The host tells which of its units have failed.
async fn failed_units(w: &World, host: &Host, units: &[&str]) {
    let health = Health { failed_units: units.iter().map(ToString::to_string).collect(), ..Health::default() };
    let body = serde_json::to_vec(&health).expect("JSON");
    let section =
        SectionIn { kind: SectionKind::Health.as_str().into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
    w.control.report_inventory(&host.ctx(w).await, vec![section]).await.expect("taken");
}

#[tokio::test]
async fn a_unit_that_fails_after_the_update_counts_while_its_wave_bakes() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    failed_units(&w, &hosts[0], &["old.service"]).await;
    let text = r#"{"waves":[{"name":"canary","select":{"instances":["h1"]},"bakeSecs":3600}]}"#;
    let job = w.job(&over_all(text)).await;
    w.settle().await;
    ends(&w, &hosts[0], T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(halted(&w.view(job).await), None, "what had failed before is no news");
    failed_units(&w, &hosts[0], &["new.service", "old.service"]).await;
    settle(&w, &hosts).await;
    assert!(matches!(halted(&w.view(job).await), Some(HaltCause::Failures { wave, failed: 1, .. }) if wave == "canary"));
    assert_eq!(hold(&w.tasks(job).await[1]), "HALTED");
}

#[tokio::test]
async fn a_resume_forgives_the_silent_host_that_a_person_saw_and_none_that_falls_silent_later() {
    let w = World::new().await;
    let hosts = w.hosts(4).await;
    let text = r#"{"waves":[{"name":"first","select":{"instances":["h1","h2","h3"]},"bakeSecs":7200}]}"#;
    let job = w.job(&over_all(text)).await;
    w.settle().await;
    ends(&w, &hosts[0], T::Failed).await;
    ends(&w, &hosts[1], T::Succeeded).await;
    ends(&w, &hosts[2], T::Succeeded).await;
    w.settle().await;
    let failures = |view: &JobView| match halted(view) {
        Some(HaltCause::Failures { failed, .. }) => Some(*failed),
        _ => None,
    };
    assert_eq!(failures(&w.view(job).await), Some(1));
    let operator = w.person(Role::Operator).await;
    w.control.resume_patch_job(&operator, job, None).await.expect("resumed");
    let silent_for = async |secs: i64, there: &[Host]| {
        w.pass(secs);
        settle(&w, there).await;
    };
    settle(&w, &hosts).await;
    assert_eq!(halted(&w.view(job).await), None, "the failure is forgiven");
    // It had ended well before the resume; it falls silent after it.
    silent_for(400, &hosts[2..]).await;
    assert_eq!(failures(&w.view(job).await), Some(1));
    w.control.resume_patch_job(&w.server(), job, None).await.expect("resumed");
    settle(&w, &hosts[2..]).await;
    assert_eq!(halted(&w.view(job).await), None, "a person saw that it is silent");
    silent_for(400, &hosts[3..]).await;
    assert_eq!(failures(&w.view(job).await), Some(1), "another one is not forgiven");
}

#[tokio::test]
async fn waves_that_cannot_be_are_refused() {
    let w = World::new().await;
    w.hosts(2).await;
    for (rollout, at) in [
        (r#"{"waves":[{"name":"a","select":{"instances":["h9"]}}]}"#, "rollout.waves[0].select"),
        (r#"{"waves":[{"name":"a","select":{"zones":["nowhere"]}}]}"#, "rollout.waves[0].select.zones"),
        (r#"{"waves":[{"name":"a","select":{"groups":["none"]}}]}"#, "rollout.waves[0].select.groups"),
        (r#"{"waves":[{"name":"a","size":{"fixed":0}}]}"#, "rollout.waves[0].size.fixed"),
        (r#"{"disruptionBudget":{"percent":0}}"#, "rollout.disruptionBudget.percent"),
    ] {
        let spec = serde_json::from_str(&over_all(rollout)).expect("a spec");
        let refused = w.control.create_patch_job(&w.server(), spec, None).await.expect_err(rollout);
        assert!(format!("{refused:?}").contains(at), "{rollout}: {refused:?}");
    }
}

/// A server that answers one request after the other with these statuses; what was asked comes back.
fn gate(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/gate", listener.local_addr().expect("an address"));
    let answered = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut request = Vec::new();
            let mut buffer = [0u8; 4096];
            while !request.windows(2).any(|w| w == b"}}") {
                let n = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..n]);
            }
            asked.push(String::from_utf8_lossy(&request).into_owned());
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
            stream.write_all(answer.as_bytes()).expect("answered");
        }
        asked
    });
    (address, answered)
}

/// Turns until the job is as wanted (bounded).
async fn until(w: &World, hosts: &[Host], job: JobId, wanted: impl Fn(&JobView) -> bool) -> JobView {
    for _ in 0..200 {
        settle(w, hosts).await;
        let view = w.view(job).await;
        if wanted(&view) {
            return view;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it does not come: {:?}", w.view(job).await.record.control);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_asked_again_says_no_and_at_last_yes() {
    let w = World::new().await;
    let hosts = w.hosts(2).await;
    let (url, answered) = gate(&["425 Too Early", "503 Busy", "204 Fine"]);
    let text = format!(r#"{{"waves":[{{"name":"canary","select":{{"instances":["h1"]}},"gate":{{"webhook":"{url}"}}}}]}}"#);
    let job = w.job(&over_all(&text)).await;
    w.settle().await;
    ends(&w, &hosts[0], T::Succeeded).await;
    settle(&w, &hosts).await;
    assert_eq!(hold(&w.tasks(job).await[1]), "GATE");
    // Too early: nothing is stored; half a minute later it says no.
    let mut halted_view = None;
    for _ in 0..100 {
        w.pass(31);
        settle(&w, &hosts).await;
        let view = w.view(job).await;
        if halted(&view).is_some() {
            halted_view = Some(view);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let view = halted_view.expect("halted");
    assert_eq!(halted(&view), Some(&HaltCause::GateRefused { wave: "canary".into(), detail: "HTTP 503 no".into() }));
    w.control.resume_patch_job(&w.server(), job, None).await.expect("resumed");
    let view =
        until(&w, &hosts, job, |v| v.record.control.gates.values().any(|g| g.webhook.as_ref().is_some_and(|h| h.passed))).await;
    assert_eq!(halted(&view), None);
    settle(&w, &hosts).await;
    assert_eq!(at_work(&w, job).await, ["h2"]);
    let asked = answered.join().expect("three questions");
    assert!(asked.iter().all(|q| q.contains(r#""wave":"canary""#) && q.contains(&job.to_string())), "{asked:?}");
}
