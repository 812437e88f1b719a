//! What a host told of its patch task, as its page shows it and as it is unfolded under its row: result, plans, steps.
//! Pure functions of (report, now).

use askama::Template;
use askama::filters::HtmlSafe;
use drydock_control::TaskDetail;
use drydock_domain::inventory::Finding;
use drydock_domain::patch::report::{PackageResult, Plan, PlanDifference, PlannedAction, SkippedUpdate, StepOutcome, StepReport};
use drydock_domain::rollout::health::HealthResult;
use jiff::Timestamp;

use super::rows::{TaskRow, versions};
use super::view::{self, Badge, When};

/// One planned action.
pub struct ActionRow {
    name: String,
    arch: String,
    action: &'static str,
    versions: String,
    kind: Badge,
    why: String,
    repository: String,
}

impl ActionRow {
    fn new(a: &PlannedAction) -> Self {
        ActionRow {
            name: a.name.clone(),
            arch: a.arch.clone(),
            action: view::action_name(a.action),
            versions: versions(a.from.as_deref(), a.to.as_deref()),
            kind: view::update_badge(a.kind),
            why: a.advisories.join(", "),
            repository: a.repository.clone(),
        }
    }
}

/// One plan of a host.
pub struct PlanBlock {
    title: String,
    actions: Vec<ActionRow>,
    findings: Vec<Finding>,
    skipped: Vec<SkippedUpdate>,
    skipped_words: String,
}

impl PlanBlock {
    fn new(plan: &Plan, number: usize, of: usize) -> Self {
        let manager = plan.manager.as_str();
        let title = if of > 1 { format!("Plan {number} of {of} ({manager})") } else { format!("Plan ({manager})") };
        let skipped_words = format!("Skipped: {}", view::plural(plan.skipped.len() as u64, "update", "updates"));
        PlanBlock {
            title,
            actions: plan.actions.iter().map(ActionRow::new).collect(),
            findings: plan.findings.clone(),
            skipped: plan.skipped.clone(),
            skipped_words,
        }
    }
}

/// What became of one package.
pub struct ResultRow {
    name: String,
    arch: String,
    versions: String,
    /// What was found instead, when it is not what was planned.
    why: String,
    repository: String,
    badge: Badge,
    detail: String,
}

impl ResultRow {
    fn new(r: &PackageResult) -> Self {
        let planned = &r.planned;
        let found = r.found.as_deref();
        let why =
            if found == planned.to.as_deref() { String::new() } else { format!("found: {}", found.unwrap_or("not installed")) };
        ResultRow {
            name: planned.name.clone(),
            arch: planned.arch.clone(),
            versions: versions(planned.from.as_deref(), planned.to.as_deref()),
            why,
            repository: planned.repository.clone(),
            badge: view::outcome_badge(r.outcome),
            detail: r.detail.clone(),
        }
    }
}

/// One step as it ran.
pub struct StepRow {
    name: &'static str,
    badge: Badge,
    bad: bool,
    exit_code: Option<i32>,
    took: String,
    started: When,
    message: String,
    output: String,
}

impl StepRow {
    fn new(s: &StepReport, now: Timestamp) -> Self {
        StepRow {
            name: view::step_name(s.step),
            badge: view::step_badge(s.outcome),
            bad: matches!(s.outcome, StepOutcome::Failed | StepOutcome::TimedOut | StepOutcome::Killed),
            exit_code: s.exit_code,
            took: view::took(s.started_at, s.ended_at, now),
            started: view::when(s.started_at, now),
            message: s.message.clone(),
            output: view::output(&s.output),
        }
    }
}

/// One health check, as it was last made.
pub struct HealthRow {
    check: String,
    badge: Badge,
    detail: String,
    made: When,
}

impl HealthRow {
    fn new(r: &HealthResult, now: Timestamp) -> Self {
        let badge = view::health_badge(r.healthy);
        HealthRow { check: r.check.clone(), badge, detail: r.detail.clone(), made: view::when(r.at, now) }
    }
}

/// Everything a host told of its task; on the task's page, and unfolded under its row.
#[derive(Template)]
#[template(path = "task_detail.html")]
pub struct TaskDetailBlock {
    waiting: Option<String>,
    message: String,
    counts_words: String,
    updated: When,
    reboot_reasons: String,
    results: Vec<ResultRow>,
    health: Vec<HealthRow>,
    plans: Vec<PlanBlock>,
    differs: Vec<PlanDifference>,
    steps: Vec<StepRow>,
}

impl HtmlSafe for TaskDetailBlock {}

impl TaskDetailBlock {
    /// The report of `detail`.
    pub fn new(detail: &TaskDetail, now: Timestamp) -> Self {
        let row = TaskRow::new(&detail.task, now);
        let mut counts = vec![format!("{} planned", row.planned)];
        if !row.dry_run {
            counts.push(format!("{} applied", row.applied));
        }
        counts.push(format!("{} skipped", row.skipped));
        if row.reboots > 0 {
            counts.push(view::plural(u64::from(row.reboots), "reboot", "reboots"));
        }
        let report = detail.report.as_ref();
        let plans = report.map_or(&[][..], |r| &r.plans);
        TaskDetailBlock {
            waiting: row.waiting,
            message: row.message,
            counts_words: counts.join(", "),
            updated: row.updated,
            reboot_reasons: report.map(|r| r.reboot_reasons.join("; ")).unwrap_or_default(),
            results: report.map(|r| r.packages.iter().map(ResultRow::new).collect()).unwrap_or_default(),
            plans: plans.iter().enumerate().map(|(i, p)| PlanBlock::new(p, i + 1, plans.len())).collect(),
            health: report.map(|r| r.health.iter().map(|h| HealthRow::new(h, now)).collect()).unwrap_or_default(),
            differs: report.map(|r| r.differs.clone()).unwrap_or_default(),
            steps: report.map(|r| r.steps.iter().map(|s| StepRow::new(s, now)).collect()).unwrap_or_default(),
        }
    }
}
