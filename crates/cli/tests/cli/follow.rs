//! Following a job: events, lost connections, silence, Ctrl-C.

use std::time::Duration;

use drydock_api::rest::{ErrorKind, PatchJob, PatchTask};
use drydock_cli::Screen;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState;
use insta::assert_snapshot;

use crate::documents::*;
use crate::fake::{Answer, Fake};

fn event(name: &str, document: &impl serde::Serialize) -> String {
    format!("event: {name}\ndata: {}\n\n", serde_json::to_string(document).expect("JSON"))
}

fn held() -> PatchTask {
    let mut held = task(2, "web-2", TaskState::Pending);
    held.waiting_on = Some(WaitingOn::Budget { in_use: 1, limit: 1, zone: None });
    held
}

fn at_work(state: TaskState, message: &str, age: i64) -> PatchTask {
    PatchTask { message: message.into(), updated_at: before(age), ..task(1, "web-1", state) }
}

fn done(n: u128, host: &str, state: TaskState) -> PatchTask {
    PatchTask { planned: 3, applied: if state == TaskState::Failed { 2 } else { 3 }, ..task(n, host, state) }
}

/// Prepares what one whole read of the job returns.
fn picture(fake: &Fake, job: &PatchJob, tasks: &[PatchTask]) {
    fake.json(&format!("GET /patch-jobs/{JOB}"), job);
    fake.json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks.to_vec()));
}

fn events(fake: &Fake, text: String, stays_open: bool) {
    fake.on(&format!("GET /patch-jobs/{JOB}/events"), Answer::Events { text, stays_open });
}

#[tokio::test]
async fn a_lost_connection_is_taken_up_again() {
    let fake = Fake::start().await;
    let first = [at_work(TaskState::Started, "", 60), held()];
    let last = [done(1, "web-1", TaskState::Succeeded), done(2, "web-2", TaskState::Failed)];
    let (running, over) = (job(JobState::Patching, &first), job(JobState::CompletedWithErrors, &last));
    fake.json("POST /patch-jobs", &running);
    picture(&fake, &running, &first);
    events(&fake, event("task", &at_work(TaskState::ApplyingPatches, "installing 3 packages", 50)), false);
    // The server restarts: one answer is an error, then everything is there again.
    fake.error(&format!("GET /patch-jobs/{JOB}"), 503, ErrorKind::Unavailable, "starting", &[]);
    events(&fake, String::new(), false);
    picture(&fake, &running, &[at_work(TaskState::Rebooting, "", 40), held()]);
    events(&fake, event("task", &last[0]) + &event("task", &last[1]) + &event("job", &over), true);
    picture(&fake, &over, &last);
    assert_snapshot!("follow_reconnect", fake.run("patch run --all").await);
    let streams = fake.seen().iter().filter(|s| s.line.ends_with("/events")).count();
    assert_eq!(streams, 3);
}

#[tokio::test]
async fn without_a_stream_the_job_is_read_again_and_again() {
    let fake = Fake::start().await;
    let first = [at_work(TaskState::Started, "", 60)];
    let last = [done(1, "web-1", TaskState::Succeeded)];
    fake.on(&format!("GET /patch-jobs/{JOB}/events"), Answer::Plain(502, "text/html", "no streams here".into()));
    picture(&fake, &job(JobState::Patching, &first), &first);
    picture(&fake, &job(JobState::Patching, &first), &first);
    picture(&fake, &job(JobState::Succeeded, &last), &last);
    let ran = fake.run(&format!("patch show {JOB} --follow --summary")).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(
        ran.err.lines().skip(1).collect::<Vec<_>>(),
        ["21:59:00Z  web-1  STARTED", "21:59:50Z  web-1  SUCCEEDED  3 of 3 packages applied"]
    );
}

#[tokio::test]
async fn a_stream_that_never_begins_is_not_waited_for() {
    let fake = Fake::start().await;
    let last = [done(1, "web-1", TaskState::Succeeded)];
    fake.on(&format!("GET /patch-jobs/{JOB}/events"), Answer::Never);
    picture(&fake, &job(JobState::Succeeded, &last), &last);
    let mut prepared = fake.prepared();
    prepared.world.pace.give_up = Duration::from_millis(300);
    let line = format!("patch show {JOB} --follow --summary");
    let ran = tokio::time::timeout(Duration::from_secs(20), prepared.run(&line)).await;
    assert_eq!(ran.expect("it ends").code, 0);
}

#[tokio::test]
async fn a_silent_stream_is_not_believed() {
    let fake = Fake::start().await;
    let first = [at_work(TaskState::Started, "", 60)];
    let last = [done(1, "web-1", TaskState::Succeeded)];
    events(&fake, ": alive\n\n".into(), true);
    picture(&fake, &job(JobState::Patching, &first), &first);
    picture(&fake, &job(JobState::Succeeded, &last), &last);
    let ran = fake.run(&format!("patch show {JOB} --follow --summary")).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.contains("SUCCEEDED"), "{ran}");
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_and_the_job_goes_on() {
    let fake = Fake::start().await;
    fake.on(&format!("GET /patch-jobs/{JOB}"), Answer::Plain(502, "text/html", String::new()));
    let mut prepared = fake.prepared();
    prepared.world.pace.give_up = Duration::from_millis(50);
    assert_snapshot!("follow_given_up", prepared.run(&format!("patch show {JOB} --follow")).await);
}

#[tokio::test]
async fn a_job_that_is_not_there_ends_at_once() {
    let fake = Fake::start().await;
    fake.error(&format!("GET /patch-jobs/{JOB}"), 404, ErrorKind::NotFound, "there is no such patch job", &[]);
    assert_eq!(fake.run(&format!("patch show {JOB} --follow")).await.code, 4);
}

#[tokio::test]
async fn ctrl_c_leaves_and_says_how_to_go_on() {
    let fake = Fake::start().await;
    let first = [at_work(TaskState::Started, "", 60)];
    fake.json("POST /patch-jobs", &job(JobState::Started, &first));
    picture(&fake, &job(JobState::Patching, &first), &first);
    events(&fake, String::new(), true);
    let mut prepared = fake.prepared();
    let (pressed, key) = tokio::sync::watch::channel(false);
    let shared = fake.shared.clone();
    // Pressed when the picture stands: the stream is open and silent then.
    tokio::spawn(async move {
        while shared.requests() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pressed.send_replace(true);
        std::future::pending::<()>().await;
    });
    prepared.world.interrupt = Box::new(move || {
        let mut key = key.clone();
        Box::pin(async move {
            let _ = key.wait_for(|pressed| *pressed).await;
        })
    });
    let ran = prepared.run("patch run --all").await;
    assert_eq!(ran.code, 130);
    assert!(fake.seen().iter().all(|s| !s.line.contains(":cancel")));
    let told = ran.err.split_once("\nLeft;").map(|(_, told)| told.to_owned());
    assert_snapshot!("follow_left", told.expect("it says that it left"));
}

#[tokio::test]
async fn a_terminal_is_redrawn_and_left_clean() {
    let fake = Fake::start().await;
    let first = [at_work(TaskState::ApplyingPatches, "installing", 60), held()];
    let last = [done(1, "web-1", TaskState::Succeeded), done(2, "web-2", TaskState::Succeeded)];
    let (running, over) = (job(JobState::Patching, &first), job(JobState::Succeeded, &last));
    picture(&fake, &running, &first);
    events(&fake, event("job", &over), true);
    picture(&fake, &over, &last);
    let mut prepared = fake.prepared();
    prepared.world.screen = || Some(Screen { width: 100, height: 30 });
    prepared.world.env.insert("NO_COLOR".into(), "1".into());
    let ran = prepared.run(&format!("patch show {JOB} --follow --summary -o json")).await;
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.ends_with("\u{1b}[3A\u{1b}[J"), "{:?}", ran.err);
    assert_eq!(ran.err.matches("\u{1b}[J").count(), 2, "{:?}", ran.err);
    assert!(ran.err.contains("web-2  PENDING                    BUDGET: 1 of 1 hosts at once are at work\n"), "{:?}", ran.err);
    assert!(serde_json::from_str::<serde_json::Value>(&ran.out).is_ok());
}
