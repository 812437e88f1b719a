//! The answer for every pending task of a job, *go* or *hold, because*, and limits in hosts. Who decides is
//! [`crate::rollout::planner`].

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::spec::Concurrency;
use crate::ids::TaskId;

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

/// How long the count of a budget's hosts in a reason may be old, seconds.
const COUNT_LAG_SECS: i64 = 30;

impl WaitingOn {
    /// Is this worth a new line, where `old` was written at `written`? Of a budget that changes with every host that comes or
    /// goes, the count of all who wait for it is written now and then.
    pub fn is_news(&self, old: Option<&WaitingOn>, written: Timestamp, now: Timestamp) -> bool {
        let only_counted = match (self, old) {
            (WaitingOn::Budget { limit, zone, .. }, Some(WaitingOn::Budget { limit: old_limit, zone: old_zone, .. })) => {
                (limit, zone) == (old_limit, old_zone)
            }
            _ => false,
        };
        old != Some(self) && (!only_counted || now.duration_since(written).abs() >= SignedDuration::from_secs(COUNT_LAG_SECS))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_up() {
        assert_eq!(limit(Some(Concurrency::Percent(10)), 15), 2);
        assert_eq!(limit(Some(Concurrency::Percent(1)), 3), 1);
        assert_eq!(limit(None, 3), u32::MAX);
    }

    #[test]
    fn a_changing_count_is_written_now_and_then_and_everything_else_at_once() {
        let at = |secs| Timestamp::from_second(secs).expect("in range");
        let budget = |in_use, zone: &str| WaitingOn::Budget { in_use, limit: 9, zone: Some(zone.to_owned()) };
        let paused = WaitingOn::Paused { by: "me".to_owned() };
        for (old, new, later, news) in [
            (None, budget(9, "a"), 0, true),
            (Some(budget(9, "a")), budget(9, "a"), 1000, false),
            (Some(budget(9, "a")), budget(8, "a"), COUNT_LAG_SECS - 1, false),
            (Some(budget(9, "a")), budget(8, "a"), COUNT_LAG_SECS, true),
            // A clock that stepped back by an hour.
            (Some(budget(9, "a")), budget(8, "a"), -3600, true),
            (Some(budget(9, "a")), budget(9, "b"), 0, true),
            (Some(budget(9, "a")), paused.clone(), 0, true),
            (Some(paused), budget(9, "a"), 0, true),
        ] {
            assert_eq!(new.is_news(old.as_ref(), at(5000), at(5000 + later)), news, "{old:?} {new:?} {later}");
        }
    }
}
