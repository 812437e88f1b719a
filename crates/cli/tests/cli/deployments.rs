//! Patch deployments: what is sent, what is printed; jobs that run again.

use drydock_api::rest::{PatchDeployment, PatchExecution};
use drydock_domain::ids::{DeploymentId, ExecutionId, JobId};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, PatchDeploymentSpec};
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState;
use insta::assert_snapshot;
use jiff::tz::TimeZoneDatabase;
use serde_json::{Value, json};

use crate::documents::*;
use crate::fake::Fake;

fn spec(more: Value) -> PatchDeploymentSpec {
    let mut full = json!({"name": "nightly", "description": "front \u{1b}[2J ends", "instanceFilter": {"groups": ["web"]},
        "recurringSchedule": {"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3}, "frequency": "MONTHLY",
            "monthly": {"weekDayOfMonth": {"weekOrdinal": 2, "dayOfWeek": "TUESDAY", "dayOffset": 3}}}});
    full.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
    serde_json::from_value(full).expect("a spec")
}

/// What the server would say of a spec, in the night of these tests.
fn deployment(spec: PatchDeploymentSpec) -> PatchDeployment {
    let calendar = spec.calendar(&TimeZoneDatabase::bundled()).expect("a schedule");
    let upcoming: Vec<_> = calendar.occurrences(crate::fake::now()).take(3).collect();
    PatchDeployment {
        id: DeploymentId(uuid(50)),
        spec,
        state: DeploymentState::Active,
        paused_by: None,
        next_execute_time: upcoming.first().copied(),
        upcoming,
        last_execute_time: Some(before(86_400 * 5)),
        last_job: Some(JobId(uuid(1))),
        compartment: "/".into(),
        failed: None,
        created_by: "alice".into(),
        created_at: before(86_400 * 40),
        updated_at: before(86_400 * 40),
        etag: "4".into(),
    }
}

fn execution(n: u128, outcome: ExecutionOutcome, due: Option<i64>, reason: &str) -> PatchExecution {
    PatchExecution {
        id: ExecutionId(uuid(60 + n)),
        due_at: due.map(before),
        at: before(86_400),
        outcome,
        reason: reason.into(),
        who: if due.is_some() { "server".into() } else { "alice".into() },
        job: (outcome == ExecutionOutcome::Started).then(|| JobId(uuid(1))),
    }
}

fn sent(fake: &Fake, n: usize) -> Value {
    serde_json::from_str(&fake.seen()[n].body).expect("JSON")
}

#[tokio::test]
async fn every_flag_of_a_schedule_reaches_its_field() {
    for (flags, path, expected) in [
        (
            "--daily --at 03:00 --time-zone Europe/Berlin",
            "recurringSchedule",
            json!({"timeZone": {"id": "Europe/Berlin"}, "timeOfDay": {"hours": 3, "minutes": 0}, "frequency": "DAILY"}),
        ),
        (
            "--weekly mon,thu --at 22:30:05 --start 2027-01-01 --end '2027-06-30 12:00' --time-zone Asia/Tokyo",
            "recurringSchedule",
            json!({"timeZone": {"id": "Asia/Tokyo"}, "timeOfDay": {"hours": 22, "minutes": 30, "seconds": 5}, "frequency": "WEEKLY",
                "startTime": "2026-12-31T15:00:00Z", "endTime": "2027-06-30T03:00:00Z",
                "weekly": {"daysOfWeek": ["MONDAY", "THURSDAY"]}}),
        ),
        (
            "--weekly sunday --at 0:00",
            "recurringSchedule",
            json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 0, "minutes": 0}, "frequency": "WEEKLY",
                "weekly": {"dayOfWeek": "SUNDAY"}}),
        ),
        (
            "--monthly -1 --at 04:00",
            "recurringSchedule",
            json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 4, "minutes": 0}, "frequency": "MONTHLY",
                "monthly": {"monthDay": -1}}),
        ),
        (
            "--monthly '2nd tue' --offset -3 --at 04:00",
            "recurringSchedule",
            json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 4, "minutes": 0}, "frequency": "MONTHLY",
                "monthly": {"weekDayOfMonth": {"weekOrdinal": 2, "dayOfWeek": "TUESDAY", "dayOffset": -3}}}),
        ),
        (
            "--once '2026-12-01 03:00' --time-zone Europe/Berlin",
            "oneTimeSchedule",
            json!({"executeTime": "2026-12-01T02:00:00Z"}),
        ),
        ("--once 2026-12-01T03:00:00Z", "oneTimeSchedule", json!({"executeTime": "2026-12-01T03:00:00Z"})),
        ("--daily --at 1:00 --overlap queue", "overlap", json!("queue")),
        ("--daily --at 1:00 --catch-up 2h", "catchUpSecs", json!(7200)),
        ("--daily --at 1:00 --duration 4h --concurrency 20%", "durationSecs", json!(14_400)),
        ("--daily --at 1:00 --dry-run --security", "dryRun", json!(true)),
    ] {
        let fake = Fake::start().await;
        fake.json("POST /deployments", &deployment(spec(json!({}))));
        let ran = fake.run(&format!("deployment create nightly --in-group web {flags}")).await;
        assert_eq!(ran.code, 0, "{flags}: {ran}");
        let body = sent(&fake, 0);
        assert_eq!((&body["name"], &body["instanceFilter"]["groups"]), (&json!("nightly"), &json!(["web"])), "{flags}");
        assert_eq!(body[path], expected, "{flags}");
        let spec: PatchDeploymentSpec = serde_json::from_value(body).expect("a spec");
        spec.validate(&TimeZoneDatabase::bundled()).expect("a server takes it");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_told_before_anything_is_sent() {
    let fake = Fake::start().await;
    for flags in [
        "--all",
        "--all --daily",
        "--all --daily --weekly mon --at 03:00",
        "--all --once 2026-12-01T03:00:00Z --at 03:00",
        "--all --weekly monday,x --at 03:00",
        "--all --monthly 5th --at 03:00",
        "--all --monthly 15 --offset 3 --at 03:00",
        "--all --daily --at 3",
        "--all --once tomorrow",
        "--all --once '2026-12-01 03:00' --time-zone Mars/Base",
        "--daily --at 03:00",
    ] {
        let ran = fake.run(&format!("deployment create nightly {flags}")).await;
        assert_eq!(ran.code, 2, "{flags}: {ran}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_file_holds_the_whole_deployment() {
    let fake = Fake::start().await;
    fake.json("POST /deployments", &deployment(spec(json!({})))).json("PUT /deployments/nightly", &deployment(spec(json!({}))));
    let file = "instanceFilter: {all: true}\npatchConfig: {apt: {security: true}}\noverlap: parallel\n\
                recurringSchedule:\n  timeZone: {id: Europe/Berlin}\n  timeOfDay: {hours: 3}\n  frequency: DAILY\n";
    let ran = fake.prepared().input(file).run("deployment create nightly -f - --concurrency 5").await;
    assert_eq!(ran.code, 0, "{ran}");
    let body = sent(&fake, 0);
    assert_eq!((&body["overlap"], &body["concurrency"]), (&json!("parallel"), &json!({"fixed": 5})));
    let ran = fake.prepared().input(file).run("deployment edit nightly --file - --overlap skip").await;
    assert!(ran.code == 2 && ran.err.contains("said twice"), "{ran}");
    let ran = fake.prepared().input(file).run("deployment edit nightly --file -").await;
    assert_eq!((ran.code, &sent(&fake, 1)["name"]), (0, &json!("nightly")), "{ran}");
    let wrong = file.replace("overlap", "overlaps");
    let ran = fake.prepared().input(&wrong).run("deployment create nightly -f -").await;
    assert!(ran.code == 2 && ran.err.contains("is not a patch deployment") && ran.err.contains("overlaps"), "{ran}");
}

#[tokio::test]
async fn deployments_are_listed_and_shown() {
    let fake = Fake::start().await;
    let mut paused = deployment(spec(json!({"name": "paused", "oneTimeSchedule": {"executeTime": "2026-12-01T03:00:00Z"},
        "recurringSchedule": null, "overlap": "queue", "concurrency": {"percent": 20}, "catchUpSecs": 7200})));
    (paused.state, paused.paused_by) = (DeploymentState::Paused, Some("bob".into()));
    let items = vec![deployment(spec(json!({}))), paused.clone()];
    fake.json("GET /deployments?limit=1000", &page(items));
    assert_snapshot!("deployment_list", fake.run("deployment list").await);
    let runs = vec![
        execution(1, ExecutionOutcome::Skipped, Some(3600), "patch job 0198c0de-0000-7000-8000-000000000001 is not finished"),
        execution(2, ExecutionOutcome::Started, None, ""),
        execution(3, ExecutionOutcome::Missed, Some(86_400 * 31), "the server could not start it in time"),
    ];
    fake.json("GET /deployments/nightly", &deployment(spec(json!({}))))
        .json("GET /deployments/nightly/executions?limit=20", &page(runs))
        .json("GET /deployments/paused", &paused)
        .json("GET /deployments/paused/executions?limit=20", &page(Vec::<PatchExecution>::new()));
    assert_snapshot!("deployment_show", fake.run("deployment show nightly").await);
    assert_snapshot!("deployment_show_paused", fake.run("deployment show paused").await);
    let ran = fake.run("deployment show nightly -o json").await;
    let shown: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&shown["spec"]["name"], &shown["executions"][0]["outcome"]), (&json!("nightly"), &json!("SKIPPED")));
    let yaml = fake.run("deployment show nightly -o yaml").await;
    assert!(yaml.code == 0 && yaml.out.contains("weekOrdinal: 2"), "{yaml}");
}

#[tokio::test]
async fn a_deployment_is_paused_resumed_skipped_and_deleted() {
    let fake = Fake::start().await;
    let now = deployment(spec(json!({})));
    let mut skipped = now.clone();
    skipped.upcoming.remove(0);
    skipped.next_execute_time = skipped.upcoming.first().copied();
    fake.json("POST /deployments/nightly:pause", &now)
        .json("POST /deployments/nightly:resume", &now)
        .json("GET /deployments/nightly", &now)
        .json("POST /deployments/nightly:skip-next", &skipped)
        .json("DELETE /deployments/nightly", &json!({}));
    assert_eq!(fake.run("deployment pause nightly").await.code, 0);
    let ran = fake.run("deployment resume nightly").await;
    assert!(ran.code == 0 && ran.out.contains("the next run is Fri 2026-12-11 03:00 Europe/Berlin (in 21d)"), "{ran}");
    let ran = fake.run("deployment skip-next nightly").await;
    assert!(
        ran.code == 0 && ran.out.starts_with("The run of Fri 2026-12-11 03:00 Europe/Berlin is skipped; the next run is "),
        "{ran}"
    );
    assert_eq!(sent(&fake, 3), json!({"executeTime": "2026-12-11T02:00:00Z"}), "named, so that no other run is skipped");
    assert_eq!(fake.run("deployment delete nightly").await.code, 0);
}

#[tokio::test]
async fn a_run_that_is_asked_for_is_followed_like_any_job() {
    let fake = Fake::start().await;
    let tasks = vec![task(1, "web-1", TaskState::Succeeded)];
    let mut ended = job(JobState::Succeeded, &tasks);
    ended.patch_deployment = Some("nightly".into());
    fake.json("POST /deployments/nightly:run", &execution(1, ExecutionOutcome::Started, None, ""))
        .json("POST /deployments/nightly:run", &execution(1, ExecutionOutcome::Started, None, ""))
        .json("POST /deployments/nightly:run", &execution(2, ExecutionOutcome::Queued, None, "patch job 7 is not finished"))
        .json(&format!("GET /patch-jobs/{JOB}"), &ended)
        .json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks));
    let ran = fake.run("deployment run nightly --idempotency-key k7").await;
    assert!(ran.code == 0 && ran.out.contains("deployment   nightly") && ran.out.contains("web-1"), "{ran}");
    assert_eq!(fake.seen()[0].headers["idempotency-key"], "k7");
    let ran = fake.run("deployment run nightly --no-wait").await;
    assert_eq!((ran.code, ran.out), (0, format!("{JOB}\n")));
    let ran = fake.run("deployment run nightly").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "QUEUED: patch job 7 is not finished\n"), "{ran}");
    fake.json("GET /patch-jobs?patchDeployment=nightly&limit=100", &page(vec![ended]));
    let ran = fake.run("patch list --deployment nightly").await;
    assert!(ran.code == 0 && ran.out.contains(JOB), "{ran}");
}

#[tokio::test]
async fn a_rerun_is_the_servers_and_happens_once() {
    let fake = Fake::start().await;
    let mut again = job(JobState::Started, &[]);
    again.rerun_of = Some(JobId(uuid(2)));
    let first = JobId(uuid(2));
    fake.json(&format!("POST /patch-jobs/{first}:rerun"), &again);
    let ran = fake.run(&format!("patch rerun {first} --no-wait")).await;
    assert_eq!((ran.code, ran.out), (0, format!("{JOB}\n")));
    fake.run(&format!("patch rerun {first} --all-hosts --no-wait --idempotency-key k1")).await;
    assert_eq!((sent(&fake, 0), sent(&fake, 1)), (json!({"allHosts": false}), json!({"allHosts": true})));
    assert_eq!(fake.seen()[1].headers["idempotency-key"], "k1");
    assert_eq!(fake.seen()[0].headers["idempotency-key"].len(), 36, "one is made");
    assert_eq!(fake.seen().len(), 2, "nothing else is asked");
    fake.json(&format!("GET /patch-jobs/{JOB}"), &again)
        .json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(Vec::<u8>::new()));
    let ran = fake.run(&format!("patch show {JOB}")).await;
    assert!(ran.out.contains(&format!("rerun of     {first}")), "{ran}");
}
