//! Patch deployments: patch jobs on a schedule. What one says, and what becomes of a run that is due. Field names are
//! Google's (OS Config v1 `PatchDeployment`) in their JSON form, with those of our patch jobs where these differ; the
//! additions are marked *ours*.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use serde::{Deserialize, Serialize};

use super::filter::InstanceFilter;
use super::spec::{Concurrency, PatchConfig, PatchJobSpec};
use crate::ids::JobId;
use crate::rollout::Rollout;
use crate::schedule::{Calendar, OneTimeSchedule, RecurringSchedule};
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};

/// A run that could not begin in time (the server was down) begins late up to this long, unless the deployment says
/// otherwise, seconds (1 hour): longer, and a run at night would become one in the morning.
pub const CATCH_UP_DEFAULT_SECS: u64 = 3600;
/// Longest such time, seconds (7 days).
pub const CATCH_UP_MAX_SECS: u64 = 7 * 24 * 3600;

/// A patch deployment as made or last edited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchDeploymentSpec {
    /// Unique; part of URLs. Never changes. Its jobs have it as display name.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Which hosts; looked up anew by every run.
    pub instance_filter: InstanceFilter,
    /// *Ours*: every run plans only, and returns the plans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Seconds after which a run's hosts start no further step and its job ends as TIMED_OUT; absent = until every host is
    /// done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_secs: Option<u64>,
    /// What to do on each host.
    #[serde(default)]
    pub patch_config: PatchConfig,
    /// How many hosts at once; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// In which order, in what waves, within which budget; absent = every host at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// One run. One of the two schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_time_schedule: Option<OneTimeSchedule>,
    /// Runs again and again. One of the two schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurring_schedule: Option<RecurringSchedule>,
    /// *Ours*: what becomes of a run that is due while the job of an earlier one is not final.
    #[serde(default)]
    pub overlap: Overlap,
    /// *Ours*: a run that could not begin in time begins late up to this many seconds, and is missed after that; absent =
    /// 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_secs: Option<u64>,
    /// *Ours*: path of the compartment in which it is made, for example `/A`: its runs reach hosts there and below. Absent:
    /// the tenancy, or the one topmost compartment in which the caller may. Said only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

/// What becomes of a run that is due while an earlier one's job is not final.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It begins when that job is final. One run waits at most; further ones are left out.
    Queue,
    /// It begins. Hosts do one job after the other all the same.
    Parallel,
}

/// Does a deployment run by itself?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeploymentState {
    /// It does.
    #[default]
    Active,
    /// Runs that are due are left out.
    Paused,
}

impl DeploymentState {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            DeploymentState::Active => "ACTIVE",
            DeploymentState::Paused => "PAUSED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [DeploymentState::Active, DeploymentState::Paused].into_iter().find(|s| s.as_str() == text)
    }
}

/// What became of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionOutcome {
    /// A patch job was started.
    Started,
    /// It waits for the job of an earlier one.
    Queued,
    /// It was left out, by a person or by a rule.
    Skipped,
    /// It was due while the server could not start it, for too long.
    Missed,
    /// Whoever made the deployment may no longer do what it does.
    Failed,
}

impl ExecutionOutcome {
    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutionOutcome::Started => "STARTED",
            ExecutionOutcome::Queued => "QUEUED",
            ExecutionOutcome::Skipped => "SKIPPED",
            ExecutionOutcome::Missed => "MISSED",
            ExecutionOutcome::Failed => "FAILED",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        use ExecutionOutcome::{Failed, Missed, Queued, Skipped, Started};
        [Started, Queued, Skipped, Missed, Failed].into_iter().find(|o| o.as_str() == text)
    }
}

/// What decides about a run that is due.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Who paused the deployment, when it is paused.
    pub paused_by: Option<String>,
    /// How long ago it was due, seconds.
    pub late_secs: i64,
    /// A later run that is due by now, too.
    pub later_due: Option<Timestamp>,
    /// A job of the deployment that is not final.
    pub open_job: Option<JobId>,
    /// Another run waits already.
    pub queued: bool,
}

/// What is done about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub outcome: ExecutionOutcome,
    /// Why, when it is not started.
    pub reason: String,
}

impl PatchDeploymentSpec {
    /// Checks the specification; `zones` are the time zones of this server.
    pub fn validate(&self, zones: &TimeZoneDatabase) -> Result<Calendar, Invalid> {
        let mut errors = Vec::new();
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        if self.catch_up_secs.is_some_and(|s| s > CATCH_UP_MAX_SECS) {
            problems.add("catchUpSecs", format!("is more than {CATCH_UP_MAX_SECS} seconds (7 days)"));
        }
        errors.extend(problems.finish().err().map(|e| e.errors).unwrap_or_default());
        // A wrong name is told once, as the name of the deployment.
        errors.extend(
            self.job().validate().err().map(|e| e.errors).unwrap_or_default().into_iter().filter(|e| e.field != "displayName"),
        );
        match self.calendar(zones) {
            Ok(calendar) if errors.is_empty() => Ok(calendar),
            Ok(_) => Err(Invalid { errors }),
            Err(invalid) => {
                errors.extend(invalid.errors);
                Err(Invalid { errors })
            }
        }
    }

    /// What the schedule means.
    pub fn calendar(&self, zones: &TimeZoneDatabase) -> Result<Calendar, Invalid> {
        match (&self.one_time_schedule, &self.recurring_schedule) {
            (Some(once), None) => Ok(once.calendar()),
            (None, Some(recurring)) => recurring.calendar(zones, "recurringSchedule"),
            (None, None) => Err(Invalid::one("oneTimeSchedule", "is missing; say oneTimeSchedule or recurringSchedule")),
            (Some(_), Some(_)) => Err(Invalid::one("oneTimeSchedule", "cannot be combined with recurringSchedule")),
        }
    }

    /// The first moment this schedule is due after `now`; refused when there is none: such a schedule is a mistake.
    pub fn first_due(&self, calendar: &Calendar, now: Timestamp) -> Result<Timestamp, Invalid> {
        calendar.next_after(now).ok_or_else(|| match self.recurring_schedule.as_ref().map(|r| r.end_time) {
            None => Invalid::one("oneTimeSchedule.executeTime", "has passed; nothing would ever be due"),
            Some(Some(_)) => Invalid::one("recurringSchedule.endTime", "comes before the first run; nothing would ever be due"),
            Some(None) => Invalid::one("recurringSchedule", "is never due"),
        })
    }

    /// Do both say the same about when?
    pub fn same_schedule(&self, other: &PatchDeploymentSpec) -> bool {
        self.one_time_schedule == other.one_time_schedule && self.recurring_schedule == other.recurring_schedule
    }

    /// The job of a run.
    pub fn job(&self) -> PatchJobSpec {
        PatchJobSpec {
            display_name: self.name.clone(),
            description: self.description.clone(),
            instance_filter: self.instance_filter.clone(),
            dry_run: self.dry_run,
            duration_secs: self.duration_secs,
            patch_config: self.patch_config.clone(),
            concurrency: self.concurrency,
            rollout: self.rollout.clone(),
            compartment: None,
        }
    }

    /// How late a run may begin, seconds.
    pub fn catch_up_secs(&self) -> u64 {
        self.catch_up_secs.unwrap_or(CATCH_UP_DEFAULT_SECS)
    }

    /// What becomes of a run that is due.
    pub fn judge(&self, facts: &RunFacts) -> Verdict {
        let grace = i64::try_from(self.catch_up_secs()).unwrap_or(i64::MAX);
        if facts.late_secs > grace {
            let reason = format!(
                "the server could not start it in time: it looked {} seconds later, {grace} are allowed (catchUpSecs)",
                facts.late_secs
            );
            return Verdict { outcome: ExecutionOutcome::Missed, reason };
        }
        if let Some(later) = facts.later_due {
            let reason = format!("the server could not start it in time, and the run of {later} was due by then, too");
            return Verdict { outcome: ExecutionOutcome::Missed, reason };
        }
        if let Some(who) = &facts.paused_by {
            return Verdict::skipped(format!("the deployment is paused by {who}"));
        }
        self.judge_overlap(facts)
    }

    /// As [`Self::judge`], for a run that a person asks for: neither late nor held by a pause.
    pub fn judge_overlap(&self, facts: &RunFacts) -> Verdict {
        let Some(job) = facts.open_job else {
            if facts.queued && self.overlap != Overlap::Parallel {
                return Verdict::skipped("another run waits already and begins now".to_owned());
            }
            return Verdict::start();
        };
        match self.overlap {
            Overlap::Parallel => Verdict::start(),
            Overlap::Queue if !facts.queued => {
                Verdict { outcome: ExecutionOutcome::Queued, reason: format!("patch job {job} is not finished") }
            }
            Overlap::Queue => {
                Verdict::skipped(format!("patch job {job} is not finished and another run waits for its end already"))
            }
            Overlap::Skip => Verdict::skipped(format!("patch job {job} is not finished")),
        }
    }
}

impl Verdict {
    fn start() -> Verdict {
        Verdict { outcome: ExecutionOutcome::Started, reason: String::new() }
    }

    fn skipped(reason: String) -> Verdict {
        Verdict { outcome: ExecutionOutcome::Skipped, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(more: Value) -> PatchDeploymentSpec {
        let mut full = json!({"name": "nightly", "instanceFilter": {"all": true},
            "oneTimeSchedule": {"executeTime": "2026-12-01T02:00:00Z"}});
        let Value::Object(mut more) = more else { panic!("fields") };
        full.as_object_mut().expect("fields").append(&mut more);
        serde_json::from_value(full).expect("a spec")
    }

    fn wrong(more: Value) -> Vec<String> {
        let refused = spec(more).validate(&TimeZoneDatabase::bundled()).expect_err("refused");
        refused.errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        assert!(spec(json!({})).validate(&TimeZoneDatabase::bundled()).is_ok());
        let daily = json!({"timeZone": {"id": "Nowhere/None"}, "timeOfDay": {"hours": 24}, "frequency": "DAILY"});
        assert_eq!(
            wrong(json!({"name": "Nightly", "instanceFilter": {}, "durationSecs": 1, "concurrency": {"percent": 0},
                "catchUpSecs": 604_801, "oneTimeSchedule": null, "recurringSchedule": daily})),
            [
                "name",
                "catchUpSecs",
                "instanceFilter",
                "durationSecs",
                "concurrency.percent",
                "recurringSchedule.timeOfDay.hours",
                "recurringSchedule.timeZone.id"
            ]
        );
        assert_eq!(wrong(json!({"oneTimeSchedule": null})), ["oneTimeSchedule"]);
        let daily = json!({"timeZone": {"id": "UTC"}, "timeOfDay": {}, "frequency": "DAILY"});
        assert_eq!(wrong(json!({"recurringSchedule": daily})), ["oneTimeSchedule"]);
        assert_eq!(wrong(json!({"name": "x".repeat(64)})), ["name"]);
    }

    #[test]
    fn a_schedule_that_is_never_due_is_refused() {
        let now: Timestamp = "2026-12-01T02:00:00Z".parse().expect("a time");
        let first = |spec: PatchDeploymentSpec| {
            let calendar = spec.validate(&TimeZoneDatabase::bundled()).expect("valid");
            spec.first_due(&calendar, now).map_err(|e| e.errors[0].field.clone())
        };
        assert_eq!(first(spec(json!({}))), Err("oneTimeSchedule.executeTime".into()));
        let daily = |end: Option<&str>| {
            let mut daily = json!({"timeZone": {"id": "UTC"}, "timeOfDay": {"hours": 3}, "frequency": "DAILY"});
            if let Some(end) = end {
                daily["endTime"] = json!(end);
            }
            spec(json!({"oneTimeSchedule": null, "recurringSchedule": daily}))
        };
        assert_eq!(first(daily(Some("2026-12-01T03:00:00Z"))), Err("recurringSchedule.endTime".into()));
        assert_eq!(first(daily(Some("2026-12-01T03:00:01Z"))), Ok("2026-12-01T03:00:00Z".parse().expect("a time")));
        assert!(first(daily(None)).is_ok());
    }

    #[test]
    fn what_becomes_of_a_run_is_one_table() {
        use ExecutionOutcome::{Missed, Queued, Skipped, Started};
        use Overlap::{Parallel, Queue, Skip};
        let job = Some(JobId(uuid::Uuid::from_u128(7)));
        let judge = |overlap, late_secs, paused: bool, open_job, queued| {
            let paused_by = paused.then(|| "alice".to_owned());
            let facts = RunFacts { paused_by, late_secs, open_job, queued, later_due: None };
            let verdict = PatchDeploymentSpec { overlap, ..spec(json!({})) }.judge(&facts);
            assert_eq!(verdict.reason.is_empty(), verdict.outcome == Started, "{verdict:?}");
            verdict.outcome
        };
        for overlap in [Skip, Queue, Parallel] {
            assert_eq!(judge(overlap, 0, false, None, false), Started);
            assert_eq!(judge(overlap, 3600, false, None, false), Started, "late, and within the time for that");
            assert_eq!(judge(overlap, 3601, false, None, false), Missed);
            assert_eq!(judge(overlap, 3601, true, job, true), Missed, "also while paused: nobody could have known");
            assert_eq!(judge(overlap, 0, true, None, false), Skipped);
        }
        let later = RunFacts { later_due: Some(Timestamp::UNIX_EPOCH), late_secs: 60, ..RunFacts::default() };
        assert_eq!(spec(json!({})).judge(&later).outcome, Missed, "one run makes up for an outage, not all of them");
        assert_eq!(judge(Skip, 0, false, job, false), Skipped);
        assert_eq!(judge(Queue, 0, false, job, false), Queued);
        assert_eq!(judge(Queue, 0, false, job, true), Skipped, "one waits at most");
        assert_eq!(judge(Queue, 0, false, None, true), Skipped, "the one that waits begins in this turn");
        assert_eq!(judge(Parallel, 0, false, job, false), Started);
        let alone = RunFacts { paused_by: Some("a".into()), late_secs: 9_999, ..RunFacts::default() };
        assert_eq!(spec(json!({})).judge_overlap(&alone).outcome, Started, "a person may run a paused one");
    }
}
