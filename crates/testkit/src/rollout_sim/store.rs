//! What the simulated server keeps: rows, changed by transactions only. The server may be killed before or after each; what
//! is here is all that its next life knows. Every change is also told to the watcher, in the order in which it was made.

use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::patch::admission::WaitingOn;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{Control, RolloutPlan};
use uuid::Uuid;

/// The rows.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) jobs: Vec<Job>,
    /// The highest order number drawn for each host.
    pub(super) order_numbers: Vec<u64>,
    /// Hosts whose last inventory names failed units.
    pub(super) units_failed: Vec<bool>,
    /// What was changed, for the watcher.
    pub(super) log: Vec<Change>,
}

/// A job's row.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) created_at: i64,
    pub(super) deadline: i64,
    pub(super) state: JobState,
    pub(super) cancel_requested: bool,
    pub(super) control: Control,
    /// Never changed, only added to.
    pub(super) plans: Vec<RolloutPlan>,
    pub(super) at_once: Option<u32>,
    pub(super) tasks: Vec<Task>,
    /// Each host's place in `tasks`.
    pub(super) of_host: Vec<Option<u32>>,
}

/// A task's row.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) host: usize,
    pub(super) wave: u16,
    /// Place in the plan's zones.
    pub(super) zone: usize,
    pub(super) state: TaskState,
    pub(super) waiting_on: Option<WaitingOn>,
    pub(super) order_number: Option<u64>,
    pub(super) report_seq: u64,
    /// What the newest report said.
    pub(super) reported: Option<TaskState>,
    pub(super) updated_at: i64,
    pub(super) units_failed_before: bool,
}

/// What a transaction changed.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A job with its first plan.
    Began(usize),
    /// A task's state.
    State { job: usize, task: usize, from: TaskState, to: TaskState, ordered_anew: bool },
    /// What people and the planner did.
    Control(usize),
    /// A plan after the first.
    Plan(usize),
    /// A job is over.
    Ended(usize),
}

impl Store {
    /// Takes what was changed since the last time.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn noted(&mut self, change: Change) {
        self.log.push(change);
    }

    /// Moves a task.
    pub(super) fn set_state(&mut self, job: usize, task: usize, to: TaskState, now: i64) {
        let row = &mut self.jobs[job].tasks[task];
        let from = std::mem::replace(&mut row.state, to);
        row.updated_at = row.updated_at.max(now);
        row.waiting_on = None;
        if from != to {
            self.log.push(Change::State { job, task, from, to, ordered_anew: false });
        }
    }

    /// The task's place, when it is one of this host.
    pub(super) fn find(&self, id: TaskId, host: usize) -> Option<(usize, usize)> {
        let (job, of) = place(id);
        let task = *self.jobs.get(job)?.of_host.get(of)?;
        task.filter(|_| of == host).map(|task| (job, task as usize))
    }

    /// An unfinished task of the host in an earlier job.
    pub(super) fn other_task(&self, job: usize, host: usize) -> Option<TaskId> {
        let open = |j: &usize| {
            let earlier = &self.jobs[*j];
            let task = earlier.of_host[host].map(|t| &earlier.tasks[t as usize]);
            task.is_some_and(|t| !t.state.is_final())
        };
        (0..job).find(open).map(|j| task_id(j, host))
    }
}

/// Ids follow from places.
pub(super) fn task_id(job: usize, host: usize) -> TaskId {
    TaskId(Uuid::from_u128(((job as u128 + 1) << 64) | (host as u128 + 1)))
}

pub(super) fn place(id: TaskId) -> (usize, usize) {
    let id = id.0.as_u128();
    (((id >> 64) as usize).wrapping_sub(1), (id as u64 as usize).wrapping_sub(1))
}

pub(super) fn instance_id(host: usize) -> InstanceId {
    InstanceId(Uuid::from_u128(host as u128 + 1))
}

pub(super) fn job_id(job: usize) -> JobId {
    JobId(Uuid::from_u128(job as u128 + 1))
}
