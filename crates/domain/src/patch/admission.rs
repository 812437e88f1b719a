//! Who goes next: a patch job's simple concurrency limit. Pure; for every pending task the answer is a reason or "go".
//! The full rollout planner (zones, waves, windows, health gates) takes this place later, with the same shape.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::spec::Concurrency;
use super::task::TaskState;
use crate::ids::TaskId;
use crate::instance::Reachability;

/// Why a task is held, shown to the operator unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase", tag = "reason")]
pub enum WaitingOn {
    /// The limit of hosts at once is taken.
    #[serde(rename_all = "snake_case")]
    Budget {
        /// Hosts that count against it now: at work, failed, and those of other jobs.
        in_use: u32,
        /// Hosts allowed at once.
        limit: u32,
        /// The zone whose disruption budget it is; absent = the job's own limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// The agent is silent; the job goes on with other hosts and gives up on this one after a while.
    Unreachable {
        /// Last heard of; absent = never.
        since: Option<Timestamp>,
    },
    /// Another patch task of this host is not done (a conflict of two jobs over one host).
    OtherTask {
        /// That task.
        task: TaskId,
    },
    /// An earlier wave is not done.
    EarlierWave {
        /// Its name.
        wave: String,
    },
    /// An earlier wave is done and bakes.
    Bake {
        /// That wave.
        wave: String,
        /// Until when.
        until: Timestamp,
    },
    /// An earlier wave's webhook has not said yes.
    Gate {
        /// That wave.
        wave: String,
    },
    /// A person must approve.
    Approval {
        /// The wave after which; absent = the job itself, before its first host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wave: Option<String>,
    },
    /// Zone by zone: an earlier zone is not done.
    EarlierZone {
        /// Its name; empty = hosts without a zone.
        zone: String,
    },
    /// The host is outside its maintenance window.
    Window {
        /// The window.
        window: String,
        /// When it opens; absent = never again.
        opens_at: Option<Timestamp>,
    },
    /// A freeze is on.
    Frozen {
        /// The freeze calendar.
        calendar: String,
        /// Until when.
        until: Timestamp,
    },
    /// The job has halted; a person resumes or aborts it.
    Halted {
        /// Why.
        why: String,
    },
    /// A person paused the job.
    Paused {
        /// Who.
        by: String,
    },
}

impl WaitingOn {
    /// The reason's name, as every face shows it: `EARLIER_WAVE`.
    pub fn name(&self) -> &'static str {
        match self {
            WaitingOn::Budget { .. } => "BUDGET",
            WaitingOn::Unreachable { .. } => "UNREACHABLE",
            WaitingOn::OtherTask { .. } => "OTHER_TASK",
            WaitingOn::EarlierWave { .. } => "EARLIER_WAVE",
            WaitingOn::Bake { .. } => "BAKE",
            WaitingOn::Gate { .. } => "GATE",
            WaitingOn::Approval { .. } => "APPROVAL",
            WaitingOn::EarlierZone { .. } => "EARLIER_ZONE",
            WaitingOn::Window { .. } => "WINDOW",
            WaitingOn::Frozen { .. } => "FROZEN",
            WaitingOn::Halted { .. } => "HALTED",
            WaitingOn::Paused { .. } => "PAUSED",
        }
    }

    /// The facts of the reason, for people; moments in UTC to the second.
    pub fn describe(&self) -> String {
        let at = |t: &Timestamp| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        match self {
            WaitingOn::Budget { in_use, limit, zone: None } => format!("{in_use} of {limit} hosts at once are at work"),
            WaitingOn::Budget { in_use, limit, zone: Some(zone) } => {
                format!("{in_use} of {limit} places of {}'s disruption budget are taken", zone_words(zone))
            }
            WaitingOn::Unreachable { since: None } => "never heard of".to_owned(),
            WaitingOn::Unreachable { since: Some(since) } => format!("last heard of at {}", at(since)),
            WaitingOn::OtherTask { task } => format!("patch task {task} of this host is not done"),
            WaitingOn::EarlierWave { wave } => format!("wave {wave} is not done"),
            WaitingOn::Bake { wave, until } => format!("wave {wave} is done and bakes until {}", at(until)),
            WaitingOn::Gate { wave } => format!("the gate after wave {wave} has not said yes"),
            WaitingOn::Approval { wave: None } => "another person must approve the job".to_owned(),
            WaitingOn::Approval { wave: Some(wave) } => format!("a person must approve what follows wave {wave}"),
            WaitingOn::EarlierZone { zone } => format!("{} is not done", zone_words(zone)),
            WaitingOn::Window { window, opens_at: Some(opens) } => format!("maintenance window {window} opens at {}", at(opens)),
            WaitingOn::Window { window, opens_at: None } => format!("maintenance window {window} does not open any more"),
            WaitingOn::Frozen { calendar, until } => format!("frozen by {calendar} until {}", at(until)),
            WaitingOn::Halted { why } => format!("the job has halted: {why}"),
            WaitingOn::Paused { by } => format!("{by} paused the job"),
        }
    }
}

fn zone_words(zone: &str) -> String {
    if zone.is_empty() { "the hosts without a zone".to_owned() } else { format!("zone {zone}") }
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
            Admission::Hold(WaitingOn::Budget { in_use, limit, zone: None })
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
                Admission::Hold(WaitingOn::Budget { in_use: 2, limit: 2, zone: None }),
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
