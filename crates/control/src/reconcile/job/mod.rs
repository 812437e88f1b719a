//! One patch job's turn: look its hosts up, give up tasks that are due, let others go as the planner says, name every
//! hold, halt, and end the job when every task is final.
//!
//! What a turn changes is one transaction behind the job's row: another server that read the same version changes
//! nothing. A task that an agent changed meanwhile is left out and seen again in the next turn. Jobs with a disruption
//! budget also queue behind one row for all of them, so that each sees whom the others let go.

pub(crate) mod gates;
mod look_up;
pub(crate) mod picture;

use std::collections::HashMap;

pub(crate) use look_up::release;

use drydock_domain::access::scope::is_below;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::instance::InstanceState;
use drydock_domain::inventory::{Health, SectionKind};
use drydock_domain::patch::admission::{Admission, WaitingOn};
use drydock_domain::patch::job::{JobFacts, JobOrigin, JobState, state};
use drydock_domain::patch::task::{TaskEvent, TaskState, step};
use drydock_domain::rollout::{self, Decision, Halt, HaltCause, RolloutPlan};
use drydock_store::patch_tasks::OpenTask;
use drydock_store::records::{JobRecord, TaskRecord};
use drydock_store::{Tx, commit, instances, inventory, patch_jobs, patch_tasks};
use jiff::Timestamp;

use crate::Control;
use crate::error::Result;
use crate::ops::moved;
use look_up::look_up;
use picture::{Host, Picture, may_catch_up};

/// Rows one turn changes, count: SQLite has one writer, and reports of agents wait meanwhile (some 10,000 rows a
/// second). What is left is done in the next turn, which follows at once.
const CHANGES_MAX: usize = 2000;

/// A host at work in a job with a rollout that has been silent for this long is given up, seconds: else one host that
/// never came back from its reboot would hold up every later wave for ever.
const LOST_AFTER_SECS: i64 = 3600;

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
    let picture = Picture::read(control, &job, now).await?;
    if picture.open.is_empty() {
        let mut c = control.read().await?;
        let counts = patch_tasks::counts(&mut c, &[id]).await?.remove(&id).unwrap_or_default();
        drop(c);
        let facts = JobFacts { cancel_requested: job.cancel_requested, deadline: job.deadline };
        return match state(&counts, facts, now) {
            // A task was stored between the two reads: the next turn sees both.
            state if !state.is_final() => Ok(()),
            state => end(control, job, state, now).await,
        };
    }
    undo_failed_wave(control, &job, &picture, now).await?;
    let mut turn = decide(control, &job, &picture, now);
    if let Some(halt) = turn.halt.take() {
        job.control.halted = Some(halt);
        turn.halts = true;
    }
    let more = turn.changes.len() > CHANGES_MAX;
    turn.changes.truncate(CHANGES_MAX);
    if turn.changes.is_empty() && !turn.halts {
        return Ok(());
    }
    let may_end = turn.changes.iter().any(|change| matches!(change, Change::Move(..)));
    carry_out(control, &job, &picture, turn, now).await?;
    if more || may_end {
        control.wake();
    }
    Ok(())
}

/// What one turn does.
#[derive(Default)]
struct Turn {
    changes: Vec<Change>,
    /// The job halts now.
    halt: Option<Halt>,
    halts: bool,
}

/// The failed wave of a job that halted gets back what it had, if the rollout says so: once, and when its hosts are done.
/// Inventories are not waited for: until they come, the hosts' reports say what they are like.
async fn undo_failed_wave(control: &Control, job: &JobRecord, picture: &Picture, now: Timestamp) -> Result<()> {
    let Some(Halt { at, wave: Some(wave), .. }) = &job.control.halted else { return Ok(()) };
    if !picture.plan.rollout.undo_failed_wave || job.spec.dry_run || job.cancel_requested {
        return Ok(());
    }
    let halt = (job.id, *at);
    if control.undone_halts().contains(&halt) {
        return Ok(());
    }
    let is_at_work = |one: &&OpenTask| {
        let host = Host::of(control, one.task.instance, one.last_seen, now);
        one.task.wave == *wave
            && one.task.state.is_running()
            && !host.is_silent(control.patience_from(one.task.updated_at), control.config().no_agent_after_secs, now)
    };
    if picture.open.iter().any(|one| is_at_work(&one)) {
        return Ok(());
    }
    let mut c = control.read().await?;
    let known = patch_jobs::undone_by(&mut c, job.id).await?;
    let of_this_halt = |j: &JobRecord| matches!(&j.origin, JobOrigin::Undo { halted_at, .. } if *halted_at == Some(*at));
    if !known.iter().any(of_this_halt) {
        drop(c);
        control.undo_wave(job, *wave, *at, now).await?;
    }
    control.undone_halts().insert(halt);
    Ok(())
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
fn decide(control: &Control, job: &JobRecord, picture: &Picture, now: Timestamp) -> Turn {
    let mut turn = Turn::default();
    let mut moved_to: HashMap<TaskId, TaskState> = HashMap::new();
    for one in &picture.open {
        let host = Host::of(control, one.task.instance, one.last_seen, now);
        if let Some((event, message)) = due(control, job, one, &host, now)
            && let Ok(next) = step(one.task.state, event)
            && next != one.task.state
        {
            turn.changes.push(Change::Move(one.task.clone(), event, message));
            moved_to.insert(one.task.id, next);
        }
    }
    if job.cancel_requested {
        return turn;
    }
    let hosts = picture.hosts(control, |one| moved_to.get(&one.task.id).copied().unwrap_or(one.task.state));
    let facts = picture.facts(&job.control, &hosts);
    let mut decision = rollout::decide(&facts);
    let findings = rollout::lint(&facts, &decision);
    if !findings.is_empty() {
        decision = refused(job, decision, findings, now);
    }
    gates::ask(control, (job.id, &job.spec.display_name), &picture.plan, &decision, now);
    turn.halt = decision.halt;
    let by_id: HashMap<TaskId, &OpenTask> = picture.open.iter().map(|o| (o.task.id, o)).collect();
    let (mut gone, mut admitted, mut holds) = (Vec::new(), Vec::new(), Vec::new());
    for (id, admission) in decision.answers {
        let Some(one) = by_id.get(&id) else { continue };
        match admission {
            Admission::Admit => admitted.push(Change::LetGo(one.task.clone())),
            Admission::Hold(why) => {
                let is_away = matches!(why, WaitingOn::Unreachable { .. });
                match given_up(control, job, &picture.plan, one, now).filter(|_| is_away) {
                    Some(change) => gone.push(change),
                    None if why.is_news(one.task.waiting_on.as_ref(), one.task.updated_at, now) => {
                        holds.push(Change::Hold(one.task.clone(), why))
                    }
                    None => {}
                }
            }
        }
    }
    turn.changes.extend(gone.into_iter().chain(admitted).chain(holds));
    turn
}

/// A decision that the linter refuses: nobody goes, and the job halts. That is a defect of ours: it is in the log as well.
fn refused(job: &JobRecord, decision: Decision, findings: Vec<String>, now: Timestamp) -> Decision {
    let finding = findings.join("; ");
    tracing::error!(job.id = %job.id, finding, "a decision about a patch job contradicts its plan; the job halts");
    let halt = Halt { at: now, wave: None, cause: HaltCause::Lint { finding } };
    let why = job.control.halted.as_ref().unwrap_or(&halt).cause.describe();
    let held = decision.answers.into_iter().map(|(task, _)| (task, Admission::Hold(WaitingOn::Halted { why: why.clone() })));
    Decision { answers: held.collect(), halt: job.control.halted.is_none().then_some(halt), ..Decision::default() }
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
    if !begun && one.instance_compartment.as_deref().is_some_and(|path| !is_below(path, &job.compartment)) {
        let message = format!("the instance left the job's compartment {} before it began", job.compartment);
        return Some((TaskEvent::AgentMissing, message));
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
        let gone = host.is_silent(control.patience_from(one.task.updated_at), patience, now);
        return gone.then(|| (TaskEvent::Deadline, "the host is unreachable; what it did is unknown".to_owned()));
    }
    if one.task.state == TaskState::Notified && host.is_silent(control.patience_from(job.created_at), patience, now) {
        return Some((TaskEvent::AgentMissing, silent_since(host)));
    }
    if begun && job.spec.rollout.is_some() {
        let lost = host.is_silent(control.patience_from(one.task.updated_at), LOST_AFTER_SECS, now);
        return lost.then(|| (TaskEvent::Deadline, "the host fell silent while at work; what it did is unknown".to_owned()));
    }
    None
}

/// A host that may go and is not there is given up after a while. Who is held for anything else was never asked.
fn given_up(control: &Control, job: &JobRecord, plan: &RolloutPlan, one: &OpenTask, now: Timestamp) -> Option<Change> {
    let host = Host::of(control, one.task.instance, one.last_seen, now);
    let patience = control.config().no_agent_after_secs;
    let is_gone =
        !may_catch_up(&plan.rollout, job.created_at, now) && host.is_silent(control.patience_from(job.created_at), patience, now);
    is_gone.then(|| Change::Move(one.task.clone(), TaskEvent::AgentMissing, silent_since(&host)))
}

fn silent_since(host: &Host) -> String {
    let since = host.last_seen.map_or("it was enrolled".to_owned(), |seen| seen.to_string());
    format!("the agent has been silent since {since}")
}

/// Stores a turn's changes, then tells whom they concern.
async fn carry_out(control: &Control, job: &JobRecord, picture: &Picture, turn: Turn, now: Timestamp) -> Result<()> {
    let mut tx = control.begin().await?;
    // Takes the job's row: admissions of one job happen one after the other, also between two servers.
    if !patch_jobs::update(&mut tx, job).await? {
        control.wake();
        return Ok(());
    }
    let may_let_go = room_is_left(&mut tx, job, picture, &turn.changes).await?;
    if turn.halts {
        control.note_halt(&mut tx, job, now).await?;
    }
    let bakes = |task: &TaskRecord| picture.plan.waves.get(usize::from(task.wave)).is_some_and(|w| w.bake_secs > 0);
    let mut hints: Vec<InstanceId> = Vec::new();
    for change in turn.changes {
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
            Change::LetGo(_) if !may_let_go => {}
            Change::LetGo(task) => {
                if let_go(&mut tx, &task, now).await? {
                    if bakes(&task) {
                        note_units(&mut tx, &task).await?;
                    }
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
    if !may_let_go {
        control.wake();
    }
    Ok(())
}

/// Is it still true what was decided on? Another server may have let hosts of another job go meanwhile; then nobody goes
/// in this turn, and the next one counts anew.
async fn room_is_left(tx: &mut Tx, job: &JobRecord, picture: &Picture, changes: &[Change]) -> Result<bool> {
    let has_budget = picture.plan.zones.iter().any(|z| z.budget.is_some());
    if !has_budget || !changes.iter().any(|c| matches!(c, Change::LetGo(_))) {
        return Ok(true);
    }
    patch_tasks::queue_for_budget(tx).await?;
    let others = picture::others(&picture.plan, &patch_tasks::disrupted_by_others(tx, job.id).await?);
    Ok(others.iter().zip(&picture.others).all(|(now, decided_on)| now <= decided_on))
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

/// Remembers which units had failed before: those that fail later are new.
async fn note_units(tx: &mut Tx, task: &TaskRecord) -> Result<()> {
    let section = inventory::section(tx, task.instance, SectionKind::Health).await?;
    let health: Option<Health> = section.and_then(|section| serde_json::from_slice(&section.body).ok());
    match health {
        Some(health) => Ok(patch_tasks::set_units_before(tx, task.id, &health.failed_units).await?),
        None => Ok(()),
    }
}
