//! A patch task's machine: one host's part of a patch job, as the server sees it. States are Google's
//! `PatchJobInstanceDetails` states and numbers, plus CANCELED (*ours*: Google reports a cancelled host as FAILED).
//!
//! ```text
//! PENDING ──notify──> NOTIFIED ──ack──> ACKED ──report──> STARTED … RUNNING_POST_PATCH_STEP ──report──> SUCCEEDED
//!    │  └─agent silent─> NO_AGENT_DETECTED                  (any order the agent reports)               FAILED …
//!    └──cancel──> CANCELED            every non-final state ──deadline + grace──> TIMED_OUT
//! ```
//! A late final report after TIMED_OUT is kept as the task's report, but the state stays: the operator was told.

use serde::{Deserialize, Serialize};

/// State of a patch task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Selected, not yet let go.
    #[default]
    Pending,
    /// The host is known to be off (kept for Google's API; nothing sets it yet).
    Inactive,
    /// The agent has been silent since before the job.
    NoAgentDetected,
    /// Let go; the agent was told to look.
    Notified,
    /// The agent took the order.
    Acked,
    /// The agent began; planning happens here.
    Started,
    /// The pre-step runs.
    RunningPrePatchStep,
    /// Kept for Google's API.
    DownloadingPatches,
    /// Packages are being installed.
    ApplyingPatches,
    /// The host goes down or comes up.
    Rebooting,
    /// The post-step runs.
    RunningPostPatchStep,
    /// Done, verified.
    Succeeded,
    /// Done; the host asks for a reboot that the job does not allow.
    SucceededRebootRequired,
    /// Ended with a failure; the report says which.
    Failed,
    /// No final report before the job's duration ended.
    TimedOut,
    /// Cancelled before it was done.
    Canceled,
}

impl TaskState {
    /// All states.
    pub const ALL: [TaskState; 16] = [
        TaskState::Pending,
        TaskState::Inactive,
        TaskState::NoAgentDetected,
        TaskState::Notified,
        TaskState::Acked,
        TaskState::Started,
        TaskState::RunningPrePatchStep,
        TaskState::DownloadingPatches,
        TaskState::ApplyingPatches,
        TaskState::Rebooting,
        TaskState::RunningPostPatchStep,
        TaskState::Succeeded,
        TaskState::SucceededRebootRequired,
        TaskState::Failed,
        TaskState::TimedOut,
        TaskState::Canceled,
    ];

    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Pending => "PENDING",
            TaskState::Inactive => "INACTIVE",
            TaskState::NoAgentDetected => "NO_AGENT_DETECTED",
            TaskState::Notified => "NOTIFIED",
            TaskState::Acked => "ACKED",
            TaskState::Started => "STARTED",
            TaskState::RunningPrePatchStep => "RUNNING_PRE_PATCH_STEP",
            TaskState::DownloadingPatches => "DOWNLOADING_PATCHES",
            TaskState::ApplyingPatches => "APPLYING_PATCHES",
            TaskState::Rebooting => "REBOOTING",
            TaskState::RunningPostPatchStep => "RUNNING_POST_PATCH_STEP",
            TaskState::Succeeded => "SUCCEEDED",
            TaskState::SucceededRebootRequired => "SUCCEEDED_REBOOT_REQUIRED",
            TaskState::Failed => "FAILED",
            TaskState::TimedOut => "TIMED_OUT",
            TaskState::Canceled => "CANCELED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        TaskState::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            TaskState::Inactive
                | TaskState::NoAgentDetected
                | TaskState::Succeeded
                | TaskState::SucceededRebootRequired
                | TaskState::Failed
                | TaskState::TimedOut
                | TaskState::Canceled
        )
    }

    /// The host is done, and as asked.
    pub fn is_success(self) -> bool {
        matches!(self, TaskState::Succeeded | TaskState::SucceededRebootRequired)
    }

    /// The agent holds the order and has not finished: the host is disrupted.
    pub fn is_running(self) -> bool {
        !self.is_final() && self != TaskState::Pending
    }

    /// An agent may report it.
    pub fn is_reportable(self) -> bool {
        matches!(
            self,
            TaskState::Started
                | TaskState::RunningPrePatchStep
                | TaskState::DownloadingPatches
                | TaskState::ApplyingPatches
                | TaskState::Rebooting
                | TaskState::RunningPostPatchStep
                | TaskState::Succeeded
                | TaskState::SucceededRebootRequired
                | TaskState::Failed
                | TaskState::Canceled
        )
    }
}

/// What may happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// The planner let it go; an order was signed.
    Notify,
    /// The agent took the order.
    Ack,
    /// The agent reported this state.
    Report(TaskState),
    /// A person cancelled the job.
    Cancel,
    /// The job's duration (and a grace to report) ended.
    Deadline,
    /// The agent has been silent for too long before it took the order.
    AgentMissing,
}

/// A step the machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a patch task in state {} refuses {event:?}", .state.as_str())]
pub struct Refused {
    /// State it is in.
    pub state: TaskState,
    /// Event refused.
    pub event: TaskEvent,
}

/// The next state. Events may arrive twice; a repeat that changes nothing returns the same state.
pub fn step(state: TaskState, event: TaskEvent) -> Result<TaskState, Refused> {
    use TaskEvent as E;
    use TaskState as S;
    match (state, event) {
        (S::Pending, E::Notify) | (S::Notified, E::Notify) => Ok(S::Notified),
        (S::Notified | S::Acked, E::Ack) => Ok(S::Acked),
        // An ack that arrives after the first report (the replies crossed) changes nothing.
        (s, E::Ack) if s.is_running() => Ok(s),
        // The agent is believed on its own progress, in any order: after a kill it may go back to an earlier step.
        (s, E::Report(r)) if s.is_running() && r.is_reportable() => Ok(r),
        // Nothing began on the host, so nothing is stopped: the task is over at once.
        (S::Pending | S::Notified, E::Cancel) => Ok(S::Canceled),
        // The agent holds it: it is told to stop, and its final report decides.
        (s, E::Cancel) if s.is_running() => Ok(s),
        (S::Pending | S::Notified, E::AgentMissing) => Ok(S::NoAgentDetected),
        (s, E::Deadline) if !s.is_final() => Ok(S::TimedOut),
        _ => Err(Refused { state, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_never_moves() {
        for state in TaskState::ALL.into_iter().filter(|s| s.is_final()) {
            let reports = TaskState::ALL.into_iter().map(TaskEvent::Report);
            let others = [TaskEvent::Notify, TaskEvent::Ack, TaskEvent::Cancel, TaskEvent::Deadline, TaskEvent::AgentMissing];
            for event in reports.chain(others) {
                assert!(step(state, event).is_err(), "{state:?} {event:?}");
            }
        }
    }

    /// All pairs of the machine, drawn as a table: state, then the next state for each event (`-` = refused).
    #[test]
    fn all_pairs() {
        let mut table = String::new();
        for state in TaskState::ALL {
            let mut row = format!("{:<24}", state.as_str());
            let events = [
                TaskEvent::Notify,
                TaskEvent::Ack,
                TaskEvent::Report(TaskState::Started),
                TaskEvent::Report(TaskState::Failed),
                TaskEvent::Report(TaskState::Pending),
                TaskEvent::Cancel,
                TaskEvent::Deadline,
                TaskEvent::AgentMissing,
            ];
            for event in events {
                row += &format!(" {:<10}", step(state, event).map_or("-", |s| &s.as_str()[..s.as_str().len().min(10)]));
            }
            table += row.trim_end();
            table.push('\n');
        }
        insta::assert_snapshot!(table);
    }
}
