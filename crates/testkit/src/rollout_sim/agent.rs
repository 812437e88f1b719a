//! A simulated host: a ledger on its disk, a clock that may be wrong, and the steps of a task. What it says and hears are
//! the protocol's own types.

use std::collections::BTreeMap;

use drydock_domain::ids::TaskId;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::{OrderRefused, OrderWindows, WindowNow, WorkOrder};
use jiff::Timestamp;

use super::scenario::{secs, stamp};
use super::store::instance_id;

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) is_up: bool,
    pub(super) is_linked: bool,
    /// Never comes back.
    pub(super) is_dead: bool,
    /// When the server last heard of it; `None`: it is there.
    pub(super) silent_since: Option<i64>,
    /// Grows with every fall: what was planned before is void.
    pub(super) life: u32,
    pub(super) ledger: Vec<Entry>,
    last_number: u64,
    pub(super) units_failed: bool,
    /// How its tasks ended, as the host knows it.
    pub(super) ended: BTreeMap<TaskId, TaskState>,
    /// How often it began each.
    pub(super) begun: BTreeMap<TaskId, u32>,
    /// Its disk was emptied once.
    pub(super) forgot: bool,
    skew: i64,
}

/// A task in the ledger.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) task: TaskId,
    pub(super) seq: u64,
    pub(super) state: TaskState,
    deadline: Option<Timestamp>,
    windows: Option<OrderWindows>,
    /// It was told to stop.
    pub(super) stops: bool,
}

/// What comes next for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait until this moment of the run and look again.
    Wait(i64),
    /// The task moved; look again after its step.
    Went(TaskState),
    /// It is over.
    Over(TaskState),
}

impl Host {
    pub(super) fn new(skew: i64) -> Host {
        Host {
            is_up: true,
            is_linked: true,
            is_dead: false,
            silent_since: None,
            life: 0,
            ledger: Vec::new(),
            last_number: 0,
            units_failed: false,
            ended: BTreeMap::new(),
            begun: BTreeMap::new(),
            forgot: false,
            skew,
        }
    }

    /// The server and it can talk.
    pub(super) fn is_there(&self) -> bool {
        self.is_up && self.is_linked
    }

    pub(super) fn held(&self) -> Vec<TaskId> {
        self.ledger.iter().map(|e| e.task).collect()
    }

    pub(super) fn entry(&mut self, task: TaskId) -> Option<&mut Entry> {
        self.ledger.iter_mut().find(|e| e.task == task)
    }

    /// Takes an order, as it came over the wire.
    pub(super) fn take(&mut self, host: usize, order: WorkOrder, now: i64) -> Result<TaskId, OrderRefused> {
        order.accept(instance_id(host), self.last_number, self.clock(now))?;
        self.last_number = order.number;
        let drydock_domain::work::PatchOrder { task, deadline, windows, .. } = order.task;
        self.ledger.push(Entry { task, seq: 0, state: TaskState::Acked, deadline, windows, stops: false });
        Ok(task)
    }

    fn clock(&self, now: i64) -> Timestamp {
        stamp(now + self.skew)
    }

    /// The next step of a task. `fails` says whether the running step fails; `reboots`, whether the update wants it.
    pub(super) fn step(&mut self, task: TaskId, now: i64, fails: bool, reboots: bool) -> Option<Next> {
        let (clock, skew) = (self.clock(now), self.skew);
        let at_work = |e: &Entry| e.task != task && e.state != TaskState::Acked && !e.state.is_final();
        if self.ledger.iter().any(at_work) {
            // One after the other.
            return Some(Next::Wait(now + 30));
        }
        let entry = self.ledger.iter_mut().find(|e| e.task == task && !e.state.is_final())?;
        let next = if entry.stops {
            Next::Over(TaskState::Canceled)
        } else if entry.deadline.is_some_and(|deadline| deadline <= clock) {
            Next::Over(TaskState::Failed)
        } else {
            match entry.state {
                TaskState::Acked => match entry.windows.as_ref().map(|w| w.at(clock)) {
                    Some(WindowNow::Closed { opens }) => Next::Wait(secs(opens) - skew),
                    Some(WindowNow::Over) => Next::Over(TaskState::Failed),
                    Some(WindowNow::Open { .. }) | None => Next::Went(TaskState::Started),
                },
                TaskState::Started => Next::Went(TaskState::ApplyingPatches),
                TaskState::ApplyingPatches if fails => Next::Over(TaskState::Failed),
                TaskState::ApplyingPatches if reboots => Next::Went(TaskState::Rebooting),
                TaskState::ApplyingPatches | TaskState::Rebooting => Next::Went(TaskState::RunningPostPatchStep),
                _ if fails => Next::Over(TaskState::Failed),
                _ => Next::Over(TaskState::Succeeded),
            }
        };
        if let Next::Went(state) | Next::Over(state) = next {
            if entry.state == TaskState::Acked && matches!(next, Next::Went(_)) {
                *self.begun.entry(task).or_default() += 1;
            }
            entry.state = state;
            entry.seq += 1;
        }
        if let Next::Over(state) = next {
            self.ended.insert(task, state);
        }
        Some(next)
    }

    /// The whole picture of a task so far.
    pub(super) fn report(&self, task: TaskId, now: i64) -> Option<TaskReport> {
        let entry = self.ledger.iter().find(|e| e.task == task && e.seq > 0)?;
        Some(TaskReport {
            task,
            seq: entry.seq,
            at: self.clock(now),
            state: entry.state,
            message: String::new(),
            steps: Vec::new(),
            plans: Vec::new(),
            packages: Vec::new(),
            modules: Vec::new(),
            health: Vec::new(),
            differs: Vec::new(),
            reboots: 0,
            reboot_reasons: Vec::new(),
        })
    }

    /// Its disk is emptied.
    pub(super) fn forget(&mut self) {
        self.ledger.clear();
        self.last_number = 0;
        self.forgot = true;
    }
}
