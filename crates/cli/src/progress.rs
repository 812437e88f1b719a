//! A job while it runs, as lines of text: pure functions of the picture, the time and the size of the screen. Absent on
//! purpose: reading events (`commands::follow`) and moving the cursor (`commands::screen`).

use std::collections::{BTreeMap, HashMap};

use drydock_api::rest::{PatchJob, PatchTask};
use drydock_domain::ids::TaskId;
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::task::TaskState;
use jiff::Timestamp;

use crate::text::{ago_or, clean, cut, paint, plural, tone, took};
use crate::view::rollout;
use crate::world::Screen;

/// Longest state name, and so the width of the state column.
const STATE_WIDTH: usize = 25;
/// Host names longer than this do not push the other columns further, characters.
const NAME_WIDTH_MAX: usize = 40;

/// What is known of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The job.
    pub job: PatchJob,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, PatchTask>,
}

impl Picture {
    /// A picture read whole.
    pub fn new(job: PatchJob, tasks: Vec<PatchTask>) -> Self {
        Picture { job, tasks: tasks.into_iter().map(|t| (t.id, t)).collect() }
    }

    /// Takes news of one task; older news than known is dropped (events and reads cross).
    pub fn take_task(&mut self, task: PatchTask) {
        match self.tasks.get(&task.id) {
            Some(known) if known.updated_at > task.updated_at => {}
            _ => {
                self.tasks.insert(task.id, task);
            }
        }
    }

    /// The tasks by host name.
    pub fn by_name(&self) -> Vec<&PatchTask> {
        let mut tasks: Vec<&PatchTask> = self.tasks.values().collect();
        tasks.sort_by(|a, b| (&a.instance_name, a.id).cmp(&(&b.instance_name, b.id)));
        tasks
    }

    fn done(&self) -> usize {
        self.tasks.values().filter(|t| t.state.is_final()).count()
    }
}

/// Why a task is held: the API's word for the reason, then its facts.
pub fn waiting(on: &WaitingOn, now: Timestamp) -> String {
    match on {
        WaitingOn::Unreachable { since } => format!("UNREACHABLE: last heard of {}", ago_or(*since, now, "never")),
        other => format!("{}: {}", other.name(), other.describe()),
    }
}

/// What a task did or does, in one line.
pub fn doing(task: &PatchTask, now: Timestamp) -> String {
    if let Some(on) = &task.waiting_on {
        return waiting(on, now);
    }
    let mut parts = Vec::new();
    if task.state.is_final() && task.planned > 0 {
        let of = if task.dry_run { plural(task.planned as usize, "package") } else { applied(task) };
        parts.push(if task.dry_run { format!("{of} planned") } else { of });
    }
    if task.state.is_final() && task.skipped > 0 {
        parts.push(format!("{} skipped", task.skipped));
    }
    if task.reboots > 0 {
        parts.push(plural(task.reboots as usize, "reboot"));
    }
    // The message of a full success says the same in words.
    let told = task.state == TaskState::Succeeded && task.planned > 0;
    if !task.message.is_empty() && !told {
        parts.push(clean(&task.message));
    }
    parts.join(", ")
}

fn applied(task: &PatchTask) -> String {
    format!("{} of {} applied", task.applied, plural(task.planned as usize, "package"))
}

/// Which job: `patch job 0198… Thursday night`.
pub fn title(job: &PatchJob) -> String {
    let what = if job.spec.dry_run { "dry run" } else { "patch job" };
    format!("{what} {}  {}", job.id, clean(&job.spec.display_name)).trim_end().to_owned()
}

/// The first line: where the job stands, how long it has run, which it is. A narrow screen cuts what never changes.
fn headline(picture: &Picture, now: Timestamp) -> String {
    let job = &picture.job;
    let end = job.finished_at.unwrap_or(now);
    format!(
        "{}  {} of {} done  {}  {}",
        if job.cancel_requested && !job.state.is_final() { "CANCELLING" } else { job.state.as_str() },
        picture.done(),
        plural(picture.tasks.len(), "host"),
        took(end.as_second() - job.created_at.as_second()),
        title(job),
    )
}

/// How urgent it is to see a task when not all fit: at work, failed, held, done.
fn urgency(task: &PatchTask) -> u8 {
    match task.state {
        TaskState::Pending => 2,
        TaskState::Succeeded | TaskState::SucceededRebootRequired => 3,
        state if state.is_final() => 1,
        _ => 0,
    }
}

/// The whole picture, to be drawn over the last one: never higher or wider than the screen.
pub fn frame(picture: &Picture, now: Timestamp, screen: Screen, colour: bool, note: Option<&str>) -> Vec<String> {
    let mut lines = vec![cut(&headline(picture, now), screen.width)];
    let waves = picture.job.rollout.as_ref().map(|r| rollout::lines(r, now)).unwrap_or_default();
    // Waves never take the place of more than half of the screen: hosts are what is looked for.
    lines.extend(waves.lines().take(screen.height / 2).map(|line| cut(line, screen.width)));
    let mut tasks = picture.by_name();
    // The headline, the note, the line of those left out, and the cursor's own line.
    let room = screen.height.saturating_sub(3 + lines.len()).max(1);
    let mut left_out = BTreeMap::<TaskState, usize>::new();
    if tasks.len() > room {
        tasks.sort_by_key(|t| urgency(t));
        for task in tasks.drain(room..) {
            *left_out.entry(task.state).or_default() += 1;
        }
        tasks.sort_by(|a, b| (&a.instance_name, a.id).cmp(&(&b.instance_name, b.id)));
    }
    let names = tasks.iter().map(|t| t.instance_name.chars().count()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
    for task in tasks {
        let name = cut(&clean(&task.instance_name), names);
        let state = task.state.as_str();
        let rest = screen.width.saturating_sub(2 + names + 2 + STATE_WIDTH + 2);
        let doing = cut(&doing(task, now), rest);
        let state = format!("{}{}", paint(state, tone(state), colour), " ".repeat(STATE_WIDTH.saturating_sub(state.len())));
        lines.push(format!("  {name:names$}  {state}  {doing}").trim_end().to_owned());
    }
    if !left_out.is_empty() {
        let counts: Vec<String> = left_out.iter().map(|(s, n)| format!("{n} {}", s.as_str())).collect();
        lines.push(cut(&format!("  and {} more: {}", left_out.values().sum::<usize>(), counts.join(", ")), screen.width));
    }
    lines.extend(note.map(|n| cut(&format!("  {n}"), screen.width)));
    lines
}

/// What was last printed of each task, for output that cannot be redrawn.
#[derive(Debug, Default)]
pub struct Seen(HashMap<TaskId, (TaskState, String, Option<&'static str>)>);

impl Seen {
    /// One line for each task whose state, message or reason to wait is new. Facts inside a reason (how many hosts are
    /// at work) change all the time and are no news.
    pub fn news(&mut self, picture: &Picture, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        for task in picture.by_name() {
            let reason = task.waiting_on.as_ref().map(WaitingOn::name);
            let shown = (task.state, task.message.clone(), reason);
            if self.0.get(&task.id) == Some(&shown) {
                continue;
            }
            self.0.insert(task.id, shown);
            let line = format!(
                "{}  {}  {}  {}",
                task.updated_at.strftime("%H:%M:%SZ"),
                clean(&task.instance_name),
                task.state.as_str(),
                doing(task, now)
            );
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}
