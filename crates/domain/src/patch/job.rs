//! A patch job's state follows from its tasks and what people did; it is computed, never counted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::task::TaskState;
use crate::ids::{DeploymentId, JobId};

/// State of a patch job, Google's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Accepted.
    #[default]
    Started,
    /// The filter is being evaluated.
    InstanceLookup,
    /// Hosts are at work.
    Patching,
    /// Every host succeeded.
    Succeeded,
    /// Every reachable host succeeded; some had no agent.
    CompletedWithInactiveVms,
    /// Every host is done, some failed.
    CompletedWithErrors,
    /// Cancelled.
    Canceled,
    /// The duration ended before every host was done.
    TimedOut,
}

impl JobState {
    /// All states.
    pub const ALL: [JobState; 8] = [
        JobState::Started,
        JobState::InstanceLookup,
        JobState::Patching,
        JobState::Succeeded,
        JobState::CompletedWithInactiveVms,
        JobState::CompletedWithErrors,
        JobState::Canceled,
        JobState::TimedOut,
    ];

    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Started => "STARTED",
            JobState::InstanceLookup => "INSTANCE_LOOKUP",
            JobState::Patching => "PATCHING",
            JobState::Succeeded => "SUCCEEDED",
            JobState::CompletedWithInactiveVms => "COMPLETED_WITH_INACTIVE_VMS",
            JobState::CompletedWithErrors => "COMPLETED_WITH_ERRORS",
            JobState::Canceled => "CANCELED",
            JobState::TimedOut => "TIMED_OUT",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        JobState::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, JobState::Started | JobState::InstanceLookup | JobState::Patching)
    }
}

/// Why there is a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum JobOrigin {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// A run of a patch deployment.
    Deployment {
        /// The deployment; it may be deleted since.
        id: DeploymentId,
        /// Its name.
        name: String,
    },
    /// An ended job once more. Its hosts are taken from that job's tasks, not looked up by the filter.
    Rerun {
        /// The ended job.
        job: JobId,
        /// Also on hosts where it succeeded.
        all_hosts: bool,
    },
    /// It takes back what another job did. Its hosts are those that its filter names by id.
    Undo {
        /// That job.
        job: JobId,
        /// The wave whose failure halted that job; `None`: somebody asked for the undo.
        wave: Option<String>,
        /// When it halted; each halt is taken back once.
        halted_at: Option<Timestamp>,
    },
}

/// Tasks per state; states without tasks are absent.
pub type StateCounts = BTreeMap<TaskState, u32>;

/// What decides a job's state besides its tasks.
#[derive(Debug, Clone, Copy)]
pub struct JobFacts {
    /// Somebody cancelled it.
    pub cancel_requested: bool,
    /// When its duration ends.
    pub deadline: Option<Timestamp>,
}

/// The state of a job whose hosts have been looked up.
///
/// A cancelled or timed-out job becomes final only when every task is: until then hosts are still stopping.
pub fn state(counts: &StateCounts, facts: JobFacts, now: Timestamp) -> JobState {
    let has = |wanted: fn(TaskState) -> bool| counts.iter().any(|(s, n)| *n > 0 && wanted(*s));
    if has(|s| !s.is_final()) {
        return JobState::Patching;
    }
    if facts.cancel_requested && has(|s| s == TaskState::Canceled) {
        JobState::Canceled
    } else if facts.deadline.is_some_and(|d| now >= d) && has(|s| s == TaskState::TimedOut) {
        JobState::TimedOut
    } else if has(|s| matches!(s, TaskState::Failed | TaskState::TimedOut | TaskState::Canceled)) {
        JobState::CompletedWithErrors
    } else if has(|s| matches!(s, TaskState::Inactive | TaskState::NoAgentDetected)) {
        JobState::CompletedWithInactiveVms
    } else {
        JobState::Succeeded
    }
}

/// Percent of tasks that are final: 0 to 100; a job without hosts is complete.
pub fn percent_complete(counts: &StateCounts) -> f64 {
    let total: u32 = counts.values().sum();
    let done: u32 = counts.iter().filter(|(s, _)| s.is_final()).map(|(_, n)| n).sum();
    if total == 0 { 100.0 } else { f64::from(done) * 100.0 / f64::from(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_from_the_tasks() {
        use TaskState as T;
        let now = Timestamp::from_second(1000).expect("in range");
        let judge = |tasks: &[TaskState], cancel: bool, deadline: Option<i64>| {
            let counts: StateCounts = tasks.iter().map(|t| (*t, 1)).collect();
            let deadline = deadline.and_then(|d| Timestamp::from_second(d).ok());
            state(&counts, JobFacts { cancel_requested: cancel, deadline }, now)
        };
        assert_eq!(judge(&[], false, None), JobState::Succeeded);
        assert_eq!(judge(&[T::Succeeded, T::Pending], false, None), JobState::Patching);
        assert_eq!(judge(&[T::Succeeded, T::SucceededRebootRequired], false, None), JobState::Succeeded);
        assert_eq!(judge(&[T::Succeeded, T::Failed], false, None), JobState::CompletedWithErrors);
        assert_eq!(judge(&[T::Succeeded, T::NoAgentDetected], false, None), JobState::CompletedWithInactiveVms);
        assert_eq!(judge(&[T::NoAgentDetected, T::Failed], false, None), JobState::CompletedWithErrors);
        assert_eq!(judge(&[T::Canceled, T::Succeeded], true, None), JobState::Canceled);
        assert_eq!(judge(&[T::Canceled, T::ApplyingPatches], true, None), JobState::Patching);
        // Cancelled too late: every host had finished.
        assert_eq!(judge(&[T::Succeeded], true, None), JobState::Succeeded);
        assert_eq!(judge(&[T::TimedOut, T::Succeeded], false, Some(900)), JobState::TimedOut);
    }

    #[test]
    fn percent_counts_final_tasks() {
        let counts = StateCounts::from([(TaskState::Succeeded, 1), (TaskState::Pending, 3)]);
        assert!((percent_complete(&counts) - 25.0).abs() < 1e-9);
    }
}
