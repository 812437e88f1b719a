//! Who goes next: a patch job's simple concurrency limit. Pure; for every pending task the answer is a reason or "go".
//! The full rollout planner (zones, waves, windows, health gates) takes this place later, with the same shape.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::spec::Concurrency;
use super::task::TaskState;
use crate::ids::TaskId;
use crate::instance::Reachability;

/// Why a task is held, shown to the operator unchanged. More reasons come with the rollout planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", tag = "reason")]
pub enum WaitingOn {
    /// The job's limit of hosts at once is taken.
    Budget {
        /// Hosts at work now.
        in_use: u32,
        /// Hosts allowed at once.
        limit: u32,
    },
    /// The agent is silent; the job goes on with other hosts and gives up on this one after a while.
    Unreachable {
        /// Last heard of; absent = never.
        since: Option<Timestamp>,
    },
    /// Another patch task of this host is not done.
    OtherTask {
        /// That task.
        task: TaskId,
    },
}

/// One task of the job.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Is its host there?
    pub reachability: Reachability,
    /// When its host was last heard of.
    pub last_seen: Option<Timestamp>,
    /// An earlier, unfinished task of the same host in another job.
    pub other_task: Option<TaskId>,
}

/// The answer for one pending task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Let it go now.
    Admit,
    /// Hold, and why.
    Hold(WaitingOn),
}

/// The limit in hosts: percent of the job's hosts rounded up, at least 1.
pub fn limit(concurrency: Option<Concurrency>, hosts: u32) -> u32 {
    match concurrency {
        None => u32::MAX,
        Some(Concurrency::Fixed(n)) => n.max(1),
        Some(Concurrency::Percent(p)) => {
            u32::try_from((u64::from(hosts) * u64::from(p)).div_ceil(100)).unwrap_or(u32::MAX).max(1)
        }
    }
}

/// Decides for every pending task, in the order given (hosts by name). Unreachable hosts take no place in the budget.
pub fn admit(tasks: &[TaskFacts], concurrency: Option<Concurrency>) -> Vec<(TaskId, Admission)> {
    let hosts = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    let limit = limit(concurrency, hosts);
    let mut in_use = u32::try_from(tasks.iter().filter(|t| t.state.is_running()).count()).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    for task in tasks.iter().filter(|t| t.state == TaskState::Pending) {
        let answer = if let Some(other) = task.other_task {
            Admission::Hold(WaitingOn::OtherTask { task: other })
        } else if task.reachability != Reachability::Online {
            Admission::Hold(WaitingOn::Unreachable { since: task.last_seen })
        } else if in_use >= limit {
            Admission::Hold(WaitingOn::Budget { in_use, limit })
        } else {
            in_use += 1;
            Admission::Admit
        };
        out.push((task.task, answer));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn facts(n: u128, state: TaskState, reachability: Reachability) -> TaskFacts {
        TaskFacts { task: TaskId(Uuid::from_u128(n)), state, reachability, last_seen: None, other_task: None }
    }

    #[test]
    fn percent_is_rounded_up() {
        assert_eq!(limit(Some(Concurrency::Percent(10)), 15), 2);
        assert_eq!(limit(Some(Concurrency::Percent(1)), 3), 1);
        assert_eq!(limit(None, 3), u32::MAX);
    }

    #[test]
    fn every_hold_names_its_reason() {
        use Reachability::{Offline, Online};
        let mut blocked = facts(5, TaskState::Pending, Online);
        blocked.other_task = Some(TaskId(Uuid::from_u128(99)));
        let tasks = [
            facts(1, TaskState::ApplyingPatches, Online),
            facts(2, TaskState::Pending, Offline),
            facts(3, TaskState::Pending, Online),
            facts(4, TaskState::Pending, Online),
            blocked,
        ];
        let got: Vec<_> = admit(&tasks, Some(Concurrency::Fixed(2))).into_iter().map(|(_, a)| a).collect();
        assert_eq!(
            got,
            [
                Admission::Hold(WaitingOn::Unreachable { since: None }),
                Admission::Admit,
                Admission::Hold(WaitingOn::Budget { in_use: 2, limit: 2 }),
                Admission::Hold(WaitingOn::OtherTask { task: TaskId(Uuid::from_u128(99)) }),
            ]
        );
    }

    proptest! {
        #[test]
        fn the_budget_is_never_passed(states in proptest::collection::vec(0usize..16, 0..40), n in 1u32..10) {
            let tasks: Vec<_> = states.iter().enumerate()
                .map(|(i, s)| facts(i as u128, TaskState::ALL[*s], Reachability::Online)).collect();
            let running = tasks.iter().filter(|t| t.state.is_running()).count();
            let answers = admit(&tasks, Some(Concurrency::Fixed(n)));
            let admitted = answers.iter().filter(|(_, a)| *a == Admission::Admit).count();
            prop_assert!(admitted == 0 || running + admitted <= n as usize);
            prop_assert_eq!(answers.len(), tasks.iter().filter(|t| t.state == TaskState::Pending).count());
        }
    }
}
