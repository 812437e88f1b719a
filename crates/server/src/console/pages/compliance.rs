//! How hosts stand with their policies: the fleet with its trend, every policy of every host, drift events, and one host with
//! steps and evidence. What hosts wrote is shown as text, never as markup.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_control::records::{PageQuery, Paged};
use drydock_control::store::compliance::ResultQuery;
use drydock_control::store::drift::DriftQuery;
use drydock_control::{CheckAsk, Error, ErrorKind};
use drydock_domain::policy::report::{Evidence, ResourceResult, StepKind, StepOutcome, StepResult};
use drydock_domain::policy::standing::{ComplianceDay, ComplianceResult, HostDriftEvent, HostPolicyStanding};
use drydock_domain::policy::{ComplianceState, DriftOutcome};
use jiff::Timestamp;
use serde::Deserialize;

use super::instances::read;
use super::policies::{CountsBar, DiffLine, diff_lines, state_badge};
use super::{CursorQuery, list_url};
use crate::console::auth::{Chrome, Signed, SignedForm};
use crate::console::charts::percent;
use crate::console::error::{Fail, Html};
use crate::console::rows::{InstanceRow, Pager};
use crate::console::view::{self, Badge, When};

/// Days of the trend.
const TREND_DAYS: u32 = 30;

/// The list's filter, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    instance: String,
    #[serde(default)]
    assignment: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    cursor: Option<String>,
}

fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

impl Filter {
    fn states(&self) -> Vec<(&'static str, bool)> {
        [ComplianceState::Compliant, ComplianceState::NonCompliant, ComplianceState::Unknown]
            .map(|s| (s.as_str(), s.as_str() == self.state))
            .to_vec()
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("instance", self.instance.as_str()),
            ("assignment", &self.assignment),
            ("policy", &self.policy),
            ("state", &self.state),
            ("reason", &self.reason),
        ]
    }

    fn active(&self) -> bool {
        self.pairs().iter().any(|(_, v)| !v.is_empty())
    }

    fn query(&self) -> ResultQuery {
        ResultQuery {
            assignment: given(&self.assignment),
            policy: given(&self.policy),
            state: ComplianceState::parse(&self.state),
            reason: given(&self.reason),
            page: CursorQuery { cursor: self.cursor.clone() }.page(),
            ..ResultQuery::default()
        }
    }
}

/// An instance that nobody knows, typed into a filter, matches nothing; that is no failure.
fn typed<T>(who: &Signed, host: Option<&str>, found: Result<Paged<T>, Error>) -> Result<Paged<T>, Fail> {
    match found {
        Err(e) if host.is_some() && e.kind() == ErrorKind::NotFound => Ok(Paged { items: Vec::new(), next_cursor: None }),
        other => other.map_err(|e| who.fail(e)),
    }
}

struct ResultRow {
    id: String,
    host: String,
    assignment: String,
    policy: String,
    state: Badge,
    reason: String,
    since: When,
    checked: Option<When>,
}

fn result_row(own: &ComplianceResult, now: Timestamp) -> ResultRow {
    ResultRow {
        id: own.instance.to_string(),
        host: own.instance_name.clone(),
        assignment: own.assignment.clone(),
        policy: own.policy.clone(),
        state: state_badge(own.state),
        reason: own.reason.clone(),
        since: view::when(own.since, now),
        checked: view::when_opt(own.checked_at, now),
    }
}

/// One day of the trend: three parts of a column 100 high, and words for those who do not see it.
struct Day {
    x: String,
    words: String,
    parts: Vec<(&'static str, String, String)>,
}

/// Width of a column of the trend; between two is one more.
const COLUMN: u32 = 9;

fn days(items: &[ComplianceDay]) -> Vec<Day> {
    let column = |(i, own): (u32, &ComplianceDay)| {
        let counts = &own.counts;
        let mut below = 0;
        let mut parts = Vec::new();
        for (tone, n) in [("ok", counts.compliant), ("warn", counts.unknown), ("bad", counts.non_compliant)] {
            if n > 0 {
                below += n;
                let y = percent(counts.total().saturating_sub(below), counts.total());
                parts.push((tone, y, percent(n, counts.total())));
            }
        }
        Day {
            x: (i * (COLUMN + 1)).to_string(),
            words: format!(
                "{}: {} compliant, {} not compliant, {} unknown, {}",
                own.day,
                counts.compliant,
                counts.non_compliant,
                counts.unknown,
                view::plural(u64::from(own.drift_events), "drift event", "drift events")
            ),
            parts,
        }
    };
    (0..).zip(items).map(column).collect()
}

#[derive(Template)]
#[template(path = "compliance.html")]
struct FleetPage {
    c: Chrome,
    /// Value, words, tone, address.
    tiles: Vec<(u32, &'static str, &'static str, String)>,
    assignments: Vec<(String, CountsBar)>,
    reasons: Vec<(String, u32)>,
    days: Vec<Day>,
    width: u32,
    f: Filter,
    rows: Vec<ResultRow>,
    pager: Pager,
}

/// `GET /compliance`
pub async fn fleet(who: Signed, Query(f): Query<Filter>) -> Result<Html<impl Template>, Fail> {
    let (control, now) = (who.control(), who.ctx.now);
    let fleet = control.fleet_compliance(&who.ctx).await.map_err(|e| who.fail(e))?;
    let trend = control.compliance_trend(&who.ctx, None, TREND_DAYS).await.map_err(|e| who.fail(e))?;
    let host = given(&f.instance);
    let found = typed(&who, host.as_deref(), control.compliance_results(&who.ctx, host.as_deref(), f.query()).await)?;
    let state = |state: ComplianceState| format!("/compliance?state={}", state.as_str());
    let days = days(&trend);
    Ok(Html(FleetPage {
        c: who.chrome("Compliance", "/compliance"),
        tiles: vec![
            (fleet.hosts.compliant, "compliant hosts", "ok", state(ComplianceState::Compliant)),
            (fleet.hosts.non_compliant, "hosts not compliant", "bad", state(ComplianceState::NonCompliant)),
            (fleet.hosts.unknown, "hosts unknown", "warn", state(ComplianceState::Unknown)),
            (fleet.without_policies, "hosts without policies", "idle", "/policies".to_owned()),
            (fleet.drift_events, "drift events in 24 hours", "run", "/drift".to_owned()),
        ],
        assignments: fleet.assignments.iter().map(|own| (own.assignment.clone(), CountsBar::new(&own.hosts))).collect(),
        reasons: fleet.reasons.into_iter().collect(),
        width: u32::try_from(days.len()).unwrap_or(0).max(1) * (COLUMN + 1),
        days,
        rows: found.items.iter().map(|own| result_row(own, now)).collect(),
        pager: Pager::new(&list_url("/compliance", &f.pairs()), f.cursor.as_deref(), found.next_cursor.as_deref()),
        f,
    }))
}

/// The filter of drift events, as typed.
#[derive(Debug, Default, Deserialize)]
pub struct DriftFilter {
    #[serde(default)]
    instance: String,
    #[serde(default)]
    assignment: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl DriftFilter {
    fn outcomes(&self) -> Vec<(&'static str, bool)> {
        [DriftOutcome::Repaired, DriftOutcome::Failed, DriftOutcome::Reported, DriftOutcome::Flapping]
            .map(|o| (o.as_str(), o.as_str() == self.outcome))
            .to_vec()
    }

    fn pairs(&self) -> [(&'static str, &str); 3] {
        [("instance", self.instance.as_str()), ("assignment", &self.assignment), ("outcome", &self.outcome)]
    }
}

struct DriftRow {
    id: String,
    host: String,
    at: String,
    what: String,
    noticed_by: String,
    cause: String,
    outcome: Badge,
    seen: When,
    took: String,
}

/// `140 ms`, `3.4 s`, `2 min 10 s`.
fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => view::duration(ms / 1000),
    }
}

fn drift_row(own: &HostDriftEvent, now: Timestamp) -> DriftRow {
    let event = &own.event;
    let tone = match event.outcome {
        DriftOutcome::Repaired => "ok",
        DriftOutcome::Failed | DriftOutcome::Flapping => "bad",
        DriftOutcome::Reported => "warn",
    };
    DriftRow {
        id: own.instance.to_string(),
        host: own.instance_name.clone(),
        at: format!("{}/{}/{}", event.assignment, event.policy, event.resource),
        what: event.what.clone(),
        noticed_by: event.noticed_by.clone(),
        cause: event.cause.clone(),
        outcome: Badge { tone, label: event.outcome.as_str() },
        seen: view::when(event.seen_at, now),
        took: own.time_to_repair_ms.map(millis).unwrap_or_default(),
    }
}

#[derive(Template)]
#[template(path = "drift.html")]
struct DriftPage {
    c: Chrome,
    f: DriftFilter,
    rows: Vec<DriftRow>,
    pager: Pager,
}

/// `GET /drift`
pub async fn drift(who: Signed, Query(f): Query<DriftFilter>) -> Result<Html<impl Template>, Fail> {
    let query = DriftQuery {
        assignment: given(&f.assignment),
        outcome: DriftOutcome::parse(&f.outcome),
        page: CursorQuery { cursor: f.cursor.clone() }.page(),
        ..DriftQuery::default()
    };
    let host = given(&f.instance);
    let found = typed(&who, host.as_deref(), who.control().drift_events(&who.ctx, host.as_deref(), query).await)?;
    Ok(Html(DriftPage {
        c: who.chrome("Drift", "/compliance"),
        rows: found.items.iter().map(|own| drift_row(own, who.ctx.now)).collect(),
        pager: Pager::new(&list_url("/drift", &f.pairs()), f.cursor.as_deref(), found.next_cursor.as_deref()),
        f,
    }))
}

struct StepRow {
    name: &'static str,
    badge: Badge,
    took: String,
    message: String,
    diff: Vec<DiffLine>,
    change: Option<(String, String)>,
    output: String,
    bad: bool,
}

fn step_row(own: &StepResult) -> StepRow {
    let name = match own.kind {
        StepKind::Validation => "Validate",
        StepKind::DesiredStateCheck => "Check",
        StepKind::DesiredStateEnforcement => "Enforce",
        StepKind::DesiredStateCheckPostEnforcement => "Check after enforcing",
    };
    let badge = match own.outcome {
        StepOutcome::Succeeded => Badge { tone: "ok", label: "SUCCEEDED" },
        StepOutcome::Failed => Badge { tone: "bad", label: "FAILED" },
        StepOutcome::TimedOut => Badge { tone: "bad", label: "TIMED OUT" },
    };
    let (mut diff, mut change, mut output) = (Vec::new(), None, String::new());
    match &own.evidence {
        None => {}
        Some(Evidence::Diff { text }) => diff = diff_lines(text),
        Some(Evidence::State { old, new }) => change = Some((old.clone(), new.clone())),
        Some(Evidence::Output { end, text }) => output = format!("{end}\n{text}").trim().to_owned(),
    }
    let bad = own.outcome != StepOutcome::Succeeded;
    StepRow { name, badge, took: millis(own.duration_ms), message: own.message.clone(), diff, change, output, bad }
}

struct ResourceRow {
    id: String,
    state: Badge,
    reason: String,
    steps: Vec<StepRow>,
    output: String,
    /// Something happened, or is wrong.
    open: bool,
}

fn resource_row(own: &ResourceResult) -> ResourceRow {
    let enforced = own.steps.iter().any(|s| s.kind == StepKind::DesiredStateEnforcement);
    ResourceRow {
        id: own.id.clone(),
        state: state_badge(own.state),
        reason: own.reason.clone(),
        steps: own.steps.iter().map(step_row).collect(),
        output: own.output.clone(),
        open: enforced || own.state != ComplianceState::Compliant,
    }
}

struct PolicyBlock {
    r: ResultRow,
    revision: u64,
    resources: Vec<ResourceRow>,
}

fn policy_block(own: &HostPolicyStanding, now: Timestamp) -> PolicyBlock {
    PolicyBlock {
        r: result_row(&own.result, now),
        revision: own.result.revision,
        resources: own.resources.iter().map(resource_row).collect(),
    }
}

#[derive(Template)]
#[template(path = "instance_policies.html")]
struct HostPage {
    c: Chrome,
    i: InstanceRow,
    tab: &'static str,
    state: Badge,
    reason: String,
    problem: String,
    problems: Vec<(String, String)>,
    reported: Option<When>,
    behind: bool,
    check_pending: bool,
    policies: Vec<PolicyBlock>,
    drift: Vec<DriftRow>,
}

/// Drift events on a host's page, rows; [`drift`] lists all.
const LATEST_DRIFT: u32 = 20;

/// `GET /instances/{id}/policies`
pub async fn host(who: Signed, Path(id): Path<String>) -> Result<Html<impl Template>, Fail> {
    let (control, now) = (who.control(), who.ctx.now);
    let instance = read(&who, &id).await?;
    let found = control.host_compliance(&who.ctx, &id).await.map_err(|e| who.fail(e))?;
    let query = DriftQuery { page: PageQuery { cursor: None, limit: Some(LATEST_DRIFT) }, ..DriftQuery::default() };
    let drift = control.drift_events(&who.ctx, Some(&id), query).await.map_err(|e| who.fail(e))?;
    let place = |p: &drydock_domain::policy::standing::PolicyProblem| {
        let parts = [p.assignment.as_str(), &p.policy, &p.resource];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    Ok(Html(HostPage {
        c: who.chrome(format!("Policies of {}", instance.record.name), "/instances"),
        i: InstanceRow::new(&instance, now),
        tab: "/policies",
        state: state_badge(found.state),
        reason: found.reason.clone(),
        problem: found.problem.clone(),
        problems: found.problems.iter().map(|p| (place(p), p.message.clone())).collect(),
        reported: view::when_opt(found.reported_at, now),
        behind: found.reported_generation != found.generation,
        check_pending: found.check_asked > found.check_done,
        policies: found.policies.iter().map(|own| policy_block(own, now)).collect(),
        drift: drift.items.iter().map(|own| drift_row(own, now)).collect(),
    }))
}

/// `POST /instances/{id}/policies/check`
pub async fn check(Path(id): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let instance = read(&who, &id).await?;
    let path = format!("/instances/{}/policies", instance.record.id);
    let ask = CheckAsk { instances: vec![instance.record.id.to_string()], ..CheckAsk::default() };
    match who.control().check_policies(&who.ctx, &ask).await {
        Ok(hosts) if hosts.is_empty() => Ok(who.done(&path, "The host has no policies to check.")),
        Ok(_) => Ok(who.done(&path, "The host checks all its policies now.")),
        Err(e) => who.refused(&path, e),
    }
}

#[cfg(test)]
mod tests {
    use drydock_domain::policy::standing::ComplianceCounts;

    use super::*;

    #[test]
    fn columns_of_the_trend_stand_on_the_ground() {
        let day = |compliant, non_compliant, unknown| ComplianceDay {
            day: "2026-11-23".into(),
            counts: ComplianceCounts { compliant, non_compliant, unknown },
            drift_events: 1,
        };
        let days = days(&[day(2, 1, 1), day(0, 0, 0)]);
        assert_eq!(
            days[0].parts,
            [
                ("ok", "50.00".to_owned(), "50.00".to_owned()),
                ("warn", "25.00".to_owned(), "25.00".to_owned()),
                ("bad", "0.00".to_owned(), "25.00".to_owned()),
            ]
        );
        assert!(days[1].parts.is_empty(), "nothing of nothing is not drawn");
        assert_eq!(
            (days[1].x.as_str(), days[0].words.as_str()),
            ("10", "2026-11-23: 2 compliant, 1 not compliant, 1 unknown, 1 drift event")
        );
    }

    #[test]
    fn times_to_repair_are_read_at_a_glance() {
        assert_eq!([millis(7), millis(3456), millis(130_000)], ["7 ms", "3.4 s", "2 min 10 s"]);
    }
}
