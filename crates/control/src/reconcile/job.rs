//! One patch job's turn: look its hosts up, give up tasks that are due, let others go within the limit, name every
//! hold, and end the job when every task is final.
//!
//! What a turn changes is one transaction behind the job's row: another server that read the same version changes
//! nothing. A task that an agent changed meanwhile is left out and seen again in the next turn.

use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::{InstanceState, Reachability};
use drydock_domain::patch::admission::{Admission, TaskFacts, WaitingOn, admit};
use drydock_domain::patch::job::{JobFacts, JobOrigin, JobState, StateCounts, state};
use drydock_domain::patch::task::{TaskEvent, TaskState, step};
use drydock_store::instances::Target;
use drydock_store::patch_tasks::OpenTask;
use drydock_store::records::{JobRecord, TaskRecord};
use drydock_store::{Tx, commit, instances, patch_jobs, patch_tasks};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Control;
use crate::error::{ErrorKind, Result};
use crate::ops::moved;

/// Rows one turn changes, count: SQLite has one writer, and reports of agents wait meanwhile (some 10,000 rows a
/// second). What is left is done in the next turn, which follows at once.
const CHANGES_MAX: usize = 2000;

/// Something to do to one task.
enum Change {
    /// It moves by this event, with this message.
    Move(TaskRecord, TaskEvent, String),
    /// It is let go.
    LetGo(TaskRecord),
    /// It is held, and why.
    Hold(TaskRecord, WaitingOn),
}

/// Does what is due for one job.
pub(super) async fn turn(control: &Control, id: JobId) -> Result<()> {
    let now = control.now();
    let Some(mut job) = patch_jobs::find(&mut *control.read().await?, id).await? else { return Ok(()) };
    if matches!(job.state, JobState::Started | JobState::InstanceLookup) {
        if job.cancel_requested {
            return end(control, job, JobState::Canceled, now).await;
        }
        if !look_up(control, &job, now).await? {
            return Ok(());
        }
        let Some(after) = patch_jobs::find(&mut *control.read().await?, id).await? else { return Ok(()) };
        job = after;
    }
    if job.state.is_final() {
        return Ok(());
    }
    let mut c = control.read().await?;
    let open = patch_tasks::open(&mut c, id).await?;
    let counts = patch_tasks::counts(&mut c, &[id]).await?.remove(&id).unwrap_or_default();
    drop(c);
    if open.is_empty() {
        let facts = JobFacts { cancel_requested: job.cancel_requested, deadline: job.deadline };
        return match state(&counts, facts, now) {
            // A task was stored between the two reads: the next turn sees both.
            state if !state.is_final() => Ok(()),
            state => end(control, job, state, now).await,
        };
    }
    let mut changes = decide(control, &job, &open, &counts, now);
    let more = changes.len() > CHANGES_MAX;
    changes.truncate(CHANGES_MAX);
    if changes.is_empty() {
        return Ok(());
    }
    let may_end = changes.iter().any(|change| matches!(change, Change::Move(..)));
    carry_out(control, &job, changes, now).await?;
    if more || may_end {
        control.wake();
    }
    Ok(())
}

/// Makes the tasks of a new job. `false`: somebody changed the job meanwhile.
async fn look_up(control: &Control, job: &JobRecord, now: Timestamp) -> Result<bool> {
    let mut job = job.clone();
    if job.state == JobState::Started {
        job.state = JobState::InstanceLookup;
        let mut tx = control.begin().await?;
        if !patch_jobs::update(&mut tx, &job).await? {
            return Ok(false);
        }
        commit(tx).await?;
        job.version += 1;
        control.job_changed(job.id);
    }
    let targets = match targets(control, &job, now).await {
        // Stored by a server that knew more than this one: nobody may be patched by what is not understood.
        Err(refused) if refused.kind() == ErrorKind::Invalid => {
            job.error_message = refused.to_string();
            end(control, job, JobState::CompletedWithErrors, now).await?;
            return Ok(false);
        }
        other => other?,
    };
    let tasks = targets.iter().map(|target| TaskRecord {
        id: TaskId(control.mint(now)),
        job: job.id,
        job_display_name: String::new(),
        dry_run: job.spec.dry_run,
        instance: target.id,
        instance_name: target.name.clone(),
        state: TaskState::Pending,
        waiting_on: None,
        message: String::new(),
        order_number: None,
        report_seq: 0,
        planned: 0,
        applied: 0,
        skipped: 0,
        reboots: 0,
        created_at: now,
        updated_at: now,
        finished_at: None,
        version: 1,
    });
    let tasks: Vec<TaskRecord> = tasks.collect();
    job.state = JobState::Patching;
    if tasks.is_empty() {
        job.error_message = "no active instance matched the filter any more when the job began".to_owned();
    }
    let mut tx = control.begin().await?;
    if !patch_jobs::update(&mut tx, &job).await? {
        return Ok(false);
    }
    patch_tasks::insert_pending(&mut tx, &tasks).await?;
    commit(tx).await?;
    control.job_changed(job.id);
    Ok(true)
}

/// The hosts of a job that begins: those its filter reaches now, or those its first run named.
async fn targets(control: &Control, job: &JobRecord, now: Timestamp) -> Result<Vec<Target>> {
    match &job.origin {
        JobOrigin::Rerun { job, all_hosts } => control.rerun_targets(*job, *all_hosts).await,
        JobOrigin::Asked | JobOrigin::Deployment { .. } => control.targets_of(&job.spec.instance_filter, now).await,
    }
}

async fn end(control: &Control, mut job: JobRecord, state: JobState, now: Timestamp) -> Result<()> {
    job.state = state;
    job.finished_at = Some(now);
    let mut tx = control.begin().await?;
    if patch_jobs::update(&mut tx, &job).await? {
        commit(tx).await?;
        control.job_changed(job.id);
        // Tasks of other jobs may have waited for this one's hosts.
        control.wake();
    }
    Ok(())
}

/// What is due, most urgent first: moves, then admissions, then the names of holds.
fn decide(control: &Control, job: &JobRecord, open: &[OpenTask], counts: &StateCounts, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut facts = Vec::with_capacity(open.len());
    // Final tasks count as hosts of the job (a percentage is of all of them) and for nothing else.
    for (state, n) in counts.iter().filter(|(state, _)| state.is_final()) {
        facts.extend((0..*n).map(|_| TaskFacts { task: TaskId(Uuid::nil()), state: *state, ..nobody() }));
    }
    for one in open {
        let host = Host::of(control, one, now);
        let mut state = one.task.state;
        if let Some((event, message)) = due(control, job, one, &host, now)
            && let Ok(next) = step(state, event)
            && next != state
        {
            changes.push(Change::Move(one.task.clone(), event, message));
            state = next;
        }
        facts.push(TaskFacts {
            task: one.task.id,
            state,
            reachability: host.reachability,
            last_seen: host.last_seen,
            other_task: one.other_task,
        });
    }
    if job.cancel_requested {
        return changes;
    }
    let mut holds = Vec::new();
    let by_id: std::collections::HashMap<TaskId, &TaskRecord> = open.iter().map(|o| (o.task.id, &o.task)).collect();
    for (id, admission) in admit(&facts, job.spec.concurrency) {
        let Some(task) = by_id.get(&id).map(|t| (*t).clone()) else { continue };
        match admission {
            Admission::Admit => changes.push(Change::LetGo(task)),
            Admission::Hold(why) if task.waiting_on.as_ref() != Some(&why) => holds.push(Change::Hold(task, why)),
            Admission::Hold(_) => {}
        }
    }
    changes.extend(holds);
    changes
}

fn nobody() -> TaskFacts {
    TaskFacts {
        task: TaskId(Uuid::nil()),
        state: TaskState::Succeeded,
        reachability: Reachability::NeverSeen,
        last_seen: None,
        other_task: None,
    }
}

/// A task's host as it is now.
struct Host {
    reachability: Reachability,
    last_seen: Option<Timestamp>,
}

impl Host {
    fn of(control: &Control, one: &OpenTask, now: Timestamp) -> Self {
        let last_seen = control.last_seen(one.task.instance, one.last_seen);
        Host { reachability: control.reachability(one.task.instance, last_seen, now), last_seen }
    }

    /// Has it been silent for `secs`, counted from its last word or `since`?
    fn is_silent(&self, since: Timestamp, secs: i64, now: Timestamp) -> bool {
        let from = self.last_seen.map_or(since, |seen| seen.max(since));
        self.reachability != Reachability::Online && now.duration_since(from) >= SignedDuration::from_secs(secs)
    }
}

/// What is due for an open task besides letting it go.
fn due(control: &Control, job: &JobRecord, one: &OpenTask, host: &Host, now: Timestamp) -> Option<(TaskEvent, String)> {
    let begun = !matches!(one.task.state, TaskState::Pending | TaskState::Notified);
    let patience = control.config().no_agent_after_secs;
    if one.instance_state != Some(InstanceState::Active) {
        let how = if one.instance_state.is_none() { "deleted" } else { "revoked" };
        return Some(if begun {
            let message = format!("the instance was {how} while it was at work; what it did is unknown");
            (TaskEvent::Report(TaskState::Failed), message)
        } else {
            (TaskEvent::AgentMissing, format!("the instance was {how} before it began"))
        });
    }
    if job.deadline.is_some_and(|deadline| deadline <= now) {
        let message = if begun {
            "the job's duration ended before the host was done"
        } else {
            "the job's duration ended before the host began"
        };
        return Some((TaskEvent::Deadline, message.to_owned()));
    }
    if job.cancel_requested {
        if !begun {
            return Some((TaskEvent::Cancel, "cancelled before the host began".to_owned()));
        }
        let gone = host.is_silent(one.task.updated_at, patience, now);
        return gone.then(|| (TaskEvent::Deadline, "the host is unreachable; what it did is unknown".to_owned()));
    }
    if !begun && host.is_silent(job.created_at, patience, now) {
        let since = host.last_seen.map_or("it was enrolled".to_owned(), |seen| seen.to_string());
        return Some((TaskEvent::AgentMissing, format!("the agent has been silent since {since}")));
    }
    None
}

/// Stores a turn's changes, then tells whom they concern.
async fn carry_out(control: &Control, job: &JobRecord, changes: Vec<Change>, now: Timestamp) -> Result<()> {
    let mut tx = control.begin().await?;
    // Takes the job's row: admissions of one job happen one after the other, also between two servers.
    if !patch_jobs::update(&mut tx, job).await? {
        control.wake();
        return Ok(());
    }
    let mut hints: Vec<InstanceId> = Vec::new();
    for change in changes {
        match change {
            Change::Move(task, event, message) => {
                let Ok(state) = step(task.state, event) else { continue };
                let after = moved(&task, state, message, now);
                if patch_tasks::update(&mut tx, &after).await? {
                    if state.is_final() {
                        control.finish_entry(&mut tx, &after, None, now).await?;
                    }
                    hints.push(task.instance);
                }
            }
            Change::LetGo(task) => {
                if let_go(&mut tx, &task, now).await? {
                    hints.push(task.instance);
                }
            }
            Change::Hold(task, why) => {
                let held = TaskRecord { waiting_on: Some(why), updated_at: now.max(task.updated_at), ..task };
                patch_tasks::update(&mut tx, &held).await?;
            }
        }
    }
    commit(tx).await?;
    hints.iter().for_each(|instance| control.hub().hint(*instance));
    control.job_changed(job.id);
    Ok(())
}

/// Draws an order number and lets the task go. Numbers only grow; one that is drawn in vain is a gap. They start at
/// the time in milliseconds, so that a server restored from a backup does not repeat numbers its agents have seen.
async fn let_go(tx: &mut Tx, task: &TaskRecord, now: Timestamp) -> Result<bool> {
    let Ok(state) = step(task.state, TaskEvent::Notify) else { return Ok(false) };
    let floor = now.as_millisecond();
    let Some(number) = instances::next_order_number(tx, task.instance, floor, InstanceState::Active).await? else {
        return Ok(false);
    };
    Ok(patch_tasks::let_go(tx, &moved(task, state, String::new(), now), number).await?)
}
