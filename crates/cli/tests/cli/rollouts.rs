//! Rollouts, undo, windows and slots: what is sent, what is printed, what is asked.

use drydock_api::rest::PatchRollout;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState;
use serde_json::{Value, json};

use crate::documents::*;
use crate::fake::{Fake, Prepared};

const JOB: &str = "0198c0de-0000-7000-8000-000000000001";

fn sent(fake: &Fake, line: &str) -> Value {
    let seen = fake.seen();
    let found = seen.iter().rev().find(|s| s.line.starts_with(line)).unwrap_or_else(|| panic!("{line} was not sent"));
    serde_json::from_str(&found.body).unwrap_or(Value::Null)
}

/// A rollout whose canary has failed.
fn halted() -> PatchRollout {
    serde_json::from_value(json!({
        "plan": {"number": 2, "parent": 1, "madeAt": "2026-11-19T21:00:00Z", "why": "alice resumed it", "seed": 7,
            "rollout": {"waves": [{"name": "canary", "size": {"fixed": 1}}]},
            "waves": [{"name": "canary", "hosts": 1, "haltsAt": 1, "bakeSecs": 600, "gate": {"approval": true}},
                {"name": "rest", "hosts": 1, "haltsAt": 1}],
            "zones": [{"zone": "eu-1-a", "region": "eu-1", "hosts": 2, "budget": 1}]},
        "waves": [{"name": "canary", "phase": "DONE", "hosts": 1, "pending": 0, "running": 0, "succeeded": 0, "failed": 1},
            {"name": "rest", "phase": "OPEN", "hosts": 1, "pending": 1, "running": 0, "succeeded": 0, "failed": 0}],
        "zones": [{"zone": "eu-1-a", "region": "eu-1", "hosts": 2, "budget": 1, "inUse": 1, "running": 0, "failed": 1, "others": 0}],
        "halted": {"at": "2026-11-19T21:30:00Z", "wave": 0,
            "cause": {"cause": "FAILURES", "wave": "canary", "failed": 1, "limit": 1}},
        "haltedBecause": "1 host of wave canary failed, timed out or is unreachable; the job halts at 1"
    }))
    .expect("a rollout")
}

#[tokio::test]
async fn a_halted_job_shows_its_waves_zones_and_every_hold() {
    let fake = Fake::start().await;
    let mut held = task(2, "web-2", TaskState::Pending);
    held.waiting_on = Some(WaitingOn::Halted { why: "1 host of wave canary failed".into() });
    held.wave = 1;
    let tasks = vec![task(1, "web-1", TaskState::Failed), held];
    let mut shown = job(JobState::Patching, &tasks);
    shown.rollout = Some(halted());
    fake.json(&format!("GET /patch-jobs/{JOB}"), &shown).json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks));
    let ran = fake.run(&format!("patch show {JOB} --summary")).await;
    let lines: Vec<String> = ran.out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let has = |text: &str| assert!(lines.iter().any(|l| l.starts_with(text)), "{text}: {ran}");
    has("halted 30m ago: 1 host of wave canary failed");
    has("plan 2, after plan 1, 2 waves");
    has("canary DONE 1 0 0 0 1 1 bakes 10m 00s, needs approval");
    has("eu-1-a eu-1 2 0 1 0 1 1");
    has("web-2 rest PENDING 0/0 0 0 HALTED: the job has halted: 1 host of wave canary failed");
}

#[tokio::test]
async fn people_steer_a_job() {
    let fake = Fake::start().await;
    let mut after = job(JobState::Patching, &[task(1, "web-1", TaskState::Pending)]);
    after.rollout = Some(halted());
    for verb in ["pause", "resume", "halt", "abort", "approve"] {
        fake.json(&format!("POST /patch-jobs/{JOB}:{verb}"), &after);
    }
    for (line, verb, body, said) in [
        (format!("patch pause {JOB}"), "pause", json!({}), "Paused"),
        (format!("patch resume {JOB}"), "resume", json!({}), "Resumed"),
        (
            format!("patch resume {JOB} --wave a=2,bake=1h --budget 10%"),
            "resume",
            json!({"rollout": {"mode": "CONCURRENT_ZONES", "disruptionBudget": {"percent": 10},
                "waves": [{"name": "a", "size": {"fixed": 2}, "bakeSecs": 3600}]}}),
            "Resumed",
        ),
        (format!("patch halt {JOB} --reason slow"), "halt", json!({"reason": "slow"}), "Halted"),
        (format!("patch abort {JOB}"), "abort", json!({}), "Aborting"),
        (format!("patch approve {JOB} --wave canary"), "approve", json!({"wave": "canary"}), "Approved"),
        (format!("patch approve {JOB}"), "approve", json!({}), "Approved"),
    ] {
        fake.json(&format!("POST /patch-jobs/{JOB}:{verb}"), &after);
        let ran = fake.run(&line).await;
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.out.starts_with(&format!("{said} {JOB}")) && ran.err.contains("HALTED"), "{ran}");
        assert_eq!(sent(&fake, &format!("POST /api/v1/patch-jobs/{JOB}:{verb}")), body, "{line}");
    }
}

fn preview(refused: bool) -> Value {
    let refusals = json!([{"name": "app", "arch": "x86_64", "reason": "another change lies between"}]);
    json!([
        {"task": uuid(5), "instance": uuid(6), "instanceName": "web-1", "refused": [],
            "actions": [{"name": "app", "arch": "x86_64", "now": "2-1", "before": "1-1"}]},
        {"task": uuid(7), "instance": uuid(8), "instanceName": "web-2", "actions": [],
            "refused": if refused { refusals } else { json!([]) }}
    ])
}

#[tokio::test]
async fn an_undo_shows_asks_and_begins_nothing_where_a_host_refuses() {
    let fake = Fake::start().await;
    let began = job(JobState::Started, &[]);
    fake.json(&format!("GET /patch-jobs/{JOB}/undo"), &preview(true)).json(&format!("POST /patch-jobs/{JOB}:undo"), &began);
    let refused = fake.run(&format!("patch undo {JOB} --yes --no-wait")).await;
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.err.contains("web-2: app.x86_64: another change lies between"), "{refused}");
    let posts = |fake: &Fake| fake.seen().iter().filter(|s| s.line.starts_with("POST")).count();
    assert_eq!(posts(&fake), 0);

    let mut asked: Prepared = fake.prepared();
    asked.world.input = Box::new(&b"n\n"[..]);
    let ran = asked.run(&format!("patch undo {JOB} --skip-refused --no-wait")).await;
    assert!(ran.err.contains("BACK TO") && ran.err.contains("nothing was begun"), "{ran}");
    assert_eq!(posts(&fake), 0);

    let mut agreed: Prepared = fake.prepared();
    agreed.world.input = Box::new(&b"y\n"[..]);
    let ran = agreed.run(&format!("patch undo {JOB} --skip-refused --no-wait -o json")).await;
    assert_eq!(ran.code, 0, "{ran}");
    let printed: Value = serde_json::from_str(&ran.out).expect("the job");
    assert_eq!(printed["id"], JOB);
    let body = json!({"instances": [], "dryRun": false, "skipRefused": true});
    assert_eq!(sent(&fake, &format!("POST /api/v1/patch-jobs/{JOB}:undo")), body);
}

#[tokio::test]
async fn bars_are_listed_and_lifted() {
    let fake = Fake::start().await;
    let bar = json!({"instance": uuid(6), "instanceName": "web-1", "name": "app", "arch": "x86_64", "version": "2-1",
        "reason": "undone", "job": JOB, "createdAt": before(60)});
    fake.json("GET /barred-versions?limit=51", &page(vec![bar.clone()]))
        .json("GET /barred-versions?limit=50", &page(vec![bar.clone()]))
        .json("GET /barred-versions?limit=1000", &page(vec![bar]))
        .json("POST /barred-versions:lift", &json!({"lifted": 1}));
    let ran = fake.run("patch bars list --limit 0").await;
    assert!(ran.out.contains("web-1") && ran.out.contains("2-1") && ran.out.contains(JOB), "{ran}");
    let ran = fake.run(&format!("patch bars lift {JOB}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 version may come back.\n"), "{ran}");
    assert_eq!(sent(&fake, "POST"), json!({"job": JOB}));
    assert_eq!(fake.run("patch bars lift").await.code, 2, "nothing is named");
}

#[tokio::test]
async fn windows_freezes_and_slots_are_made_from_flags() {
    let fake = Fake::start().await;
    let rest = |spec: Value| {
        let mut view = json!({"spec": spec, "createdBy": "alice", "createdAt": before(60), "updatedAt": before(60), "etag": "1"});
        view["openings"] = json!([{"from": "2026-11-20T01:00:00Z", "to": "2026-11-20T04:00:00Z"}]);
        view["frozen"] = json!(false);
        view["holders"] = json!([]);
        view
    };
    let window = json!({"name": "nights", "description": "", "instanceFilter": {"all": false, "groupLabels": [{"labels": {"env": "prod"}}],
        "zones": [], "instances": [], "instanceNamePrefixes": []}, "durationSecs": 10800,
        "schedule": {"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 2}, "frequency": "DAILY"}});
    fake.json("POST /maintenance-windows", &rest(window.clone()));
    let ran = fake.run("window create nights --label env=prod --daily --at 02:00 --for 3h --time-zone Europe/Berlin").await;
    assert!(
        ran.code == 0 && ran.out.contains("Fri 2026-11-20 02:00 Europe/Berlin to Fri 2026-11-20 05:00 Europe/Berlin"),
        "{ran}"
    );
    assert!(ran.out.contains("opens        daily at 02:00 Europe/Berlin"), "{ran}");
    let body = sent(&fake, "POST");
    assert_eq!((&body["durationSecs"], &body["schedule"]["timeZone"]["id"]), (&json!(10800), &json!("Europe/Berlin")), "{body}");
    assert_eq!(body["instanceFilter"]["groupLabels"][0]["labels"], json!({"env": "prod"}));
    let silent = fake.run("window create nights --all --for 3h").await;
    assert!(silent.code == 2 && silent.err.contains("--daily"), "{silent}");

    let period = json!({"from": "2026-12-19T23:00:00Z", "to": "2027-01-03T23:00:00Z", "reason": "the books"});
    let freeze = json!({"name": "year-end", "instanceFilter": {"all": true}, "periods": [period]});
    fake.json("POST /freeze-calendars", &rest(freeze));
    let line = "freeze create year-end --all --time-zone Europe/Berlin --period 2026-12-20/2027-01-04=the_books";
    let ran = fake.run(line).await;
    assert!(ran.code == 0 && ran.out.contains("not frozen"), "{ran}");
    let body = sent(&fake, "POST");
    assert_eq!(body["periods"], json!([{"from": "2026-12-19T23:00:00Z", "to": "2027-01-03T23:00:00Z", "reason": "the_books"}]));

    let slots = json!({"name": "db", "instanceFilter": {"all": true}, "slots": 2, "expirySecs": 3600});
    fake.json("POST /reboot-slot-groups", &rest(slots)).json("POST /reboot-slot-groups/db:release", &json!({}));
    let ran = fake.run("reboot-slot create db --all --slots 2 --expiry 1h").await;
    assert!(ran.code == 0 && ran.out.contains("0 of 2 slots taken"), "{ran}");
    assert_eq!(sent(&fake, "POST")["expirySecs"], 3600);
    let ran = fake.run("reboot-slot release db --host db-1").await;
    assert_eq!((ran.code, sent(&fake, "POST")), (0, json!({"instance": "db-1"})), "{ran}");
}

#[tokio::test]
async fn a_report_is_printed_as_it_comes() {
    let fake = Fake::start().await;
    for (flag, format) in [("", "html"), (" -o csv", "csv"), (" -o json", "json")] {
        fake.json(&format!("GET /patch-jobs/{JOB}/report?format={format}"), &json!(format));
        let ran = fake.run(&format!("patch report {JOB}{flag}")).await;
        assert_eq!((ran.code, ran.out), (0, format!("\"{format}\"")));
    }
}
