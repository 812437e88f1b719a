//! Progress as lines: pure.

use drydock_cli::Screen;
use drydock_cli::progress::{Picture, Seen, frame};
use drydock_domain::ids::TaskId;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState;
use insta::assert_snapshot;

use crate::documents::*;
use crate::fake::now;

fn fleet() -> Picture {
    let mut tasks = vec![
        task(1, "web-1", TaskState::ApplyingPatches),
        task(2, "web-2", TaskState::Failed),
        task(3, "db-with-a-long-name", TaskState::SucceededRebootRequired),
        task(4, "web-4", TaskState::Pending),
        task(5, "web-5", TaskState::Pending),
        task(6, "web-6", TaskState::Pending),
        task(7, "web-7", TaskState::Succeeded),
        task(8, "web-8", TaskState::Rebooting),
    ];
    tasks[0].message = "installing 12 packages from\nsomewhere\u{1b}[31m".into();
    tasks[1].message = "the pre-step ended with exit code 3".into();
    (tasks[2].planned, tasks[2].applied, tasks[2].skipped) = (1, 1, 2);
    tasks[3].waiting_on = Some(WaitingOn::Budget { in_use: 2, limit: 2, zone: None });
    tasks[4].waiting_on = Some(WaitingOn::Unreachable { since: Some(before(600)) });
    tasks[5].waiting_on = Some(WaitingOn::OtherTask { task: TaskId(uuid(9)) });
    (tasks[6].planned, tasks[6].applied) = (12, 12);
    tasks[7].reboots = 1;
    Picture::new(job(JobState::Patching, &tasks), tasks)
}

fn drawn(width: usize, height: usize) -> String {
    frame(&fleet(), now(), Screen { width, height }, false, Some("the server does not answer")).join("\n")
}

#[test]
fn a_frame_has_one_line_per_host() {
    assert_snapshot!("progress_frame", drawn(110, 40));
}

#[test]
fn a_small_screen_shows_what_needs_a_look_and_counts_the_rest() {
    assert_snapshot!("progress_small", drawn(60, 8));
    for height in 4..12 {
        let lines = drawn(60, height);
        // One line is the cursor's.
        assert!(lines.lines().count() < height.max(5), "{height}: {lines}");
        assert!(lines.lines().all(|l| l.chars().count() <= 60), "{lines}");
    }
}

#[test]
fn colours_do_not_change_the_columns() {
    let screen = Screen { width: 110, height: 40 };
    let plain = frame(&fleet(), now(), screen, false, None);
    let colour = frame(&fleet(), now(), screen, true, None);
    let stripped: Vec<String> = colour
        .iter()
        .map(|l| ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"].iter().fold(l.clone(), |l, c| l.replace(c, "")))
        .collect();
    assert_ne!(colour, plain);
    assert_eq!(stripped, plain);
}

#[test]
fn only_news_is_appended() {
    let mut seen = Seen::default();
    let mut picture = fleet();
    assert_eq!(seen.news(&picture, now()).len(), 8);
    assert!(seen.news(&picture, now()).is_empty());
    let mut held = task(4, "web-4", TaskState::Pending);
    held.waiting_on = Some(WaitingOn::Budget { in_use: 1, limit: 2, zone: None });
    picture.take_task(held);
    // How full the budget is changes all the time.
    assert!(seen.news(&picture, now()).is_empty());
    picture.take_task(task(4, "web-4", TaskState::Notified));
    assert_eq!(seen.news(&picture, now()), ["21:59:50Z  web-4  NOTIFIED"]);
}

#[test]
fn older_news_is_dropped() {
    let mut picture = fleet();
    let mut old = task(1, "web-1", TaskState::Started);
    old.updated_at = before(1000);
    picture.take_task(old);
    assert_eq!(picture.tasks[&TaskId(uuid(101))].state, TaskState::ApplyingPatches);
}
