//! Patch deployments: when what is patched by itself, and what became of their runs. Absent: making and editing them, which
//! the command does (`drydock patch deployment`).

use askama::Template;
use axum::extract::{Path, Query};
use drydock_control::DeploymentView;
use drydock_control::store::deployments::ExecutionRecord;
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, Overlap, PatchDeploymentSpec};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::CursorQuery;
use crate::console::auth::{Chrome, Signed, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

struct Row {
    name: String,
    description: String,
    state: Badge,
    paused_by: String,
    dry_run: bool,
    schedule: String,
    targets: String,
    next: Option<When>,
    last: Option<When>,
    last_job: Option<String>,
    by: String,
}

impl Row {
    fn new(d: &DeploymentView, now: Timestamp) -> Self {
        let r = &d.record;
        let state = match r.state {
            DeploymentState::Active => Badge { tone: "ok", label: r.state.as_str() },
            DeploymentState::Paused => Badge { tone: "warn", label: r.state.as_str() },
        };
        Row {
            name: r.spec.name.clone(),
            description: r.spec.description.clone(),
            state,
            paused_by: r.paused_by.clone(),
            dry_run: r.spec.dry_run,
            schedule: schedule(&r.spec),
            targets: view::filter_words(&r.spec.job()),
            next: view::when_opt(r.next_at, now),
            last: view::when_opt(r.last_at, now),
            last_job: r.last_job.map(|job| job.to_string()),
            by: r.created_by.clone(),
        }
    }
}

fn schedule(spec: &PatchDeploymentSpec) -> String {
    match (&spec.recurring_schedule, &spec.one_time_schedule) {
        (Some(recurring), _) => recurring.to_string(),
        (None, Some(once)) => format!("once, {}", local(once.execute_time, spec)),
        (None, None) => "never".to_owned(),
    }
}

/// A moment in the deployment's zone; in UTC when it has none, or this machine does not know it.
fn local(at: Timestamp, spec: &PatchDeploymentSpec) -> String {
    let id = spec.recurring_schedule.as_ref().map(|r| r.time_zone.id.as_str());
    let zone = id.and_then(|id| TimeZone::get(id).ok()).unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<Row>,
    pager: Pager,
}

/// `GET /deployments`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_deployments(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("Patch deployments", "/deployments"),
        rows: found.items.iter().map(|d| Row::new(d, who.ctx.now)).collect(),
        pager: Pager::new("/deployments", cursor.cursor.as_deref(), found.next_cursor.as_deref()),
    }))
}

/// One run.
struct RunRow {
    of: String,
    outcome: Badge,
    why: String,
    who: String,
    job: Option<String>,
}

fn run_row(run: &ExecutionRecord, spec: &PatchDeploymentSpec) -> RunRow {
    let tone = match run.outcome {
        ExecutionOutcome::Started => "ok",
        ExecutionOutcome::Queued => "run",
        ExecutionOutcome::Skipped => "idle",
        ExecutionOutcome::Missed => "bad",
    };
    RunRow {
        of: match run.due_at {
            Some(at) => local(at, spec),
            None => format!("{}, asked for", local(run.at, spec)),
        },
        outcome: Badge { tone, label: run.outcome.as_str() },
        why: run.reason.clone(),
        who: run.who.clone(),
        job: run.job.map(|job| job.to_string()),
    }
}

#[derive(Template)]
#[template(path = "deployment.html")]
struct ShowPage {
    c: Chrome,
    d: Row,
    facts: Vec<(&'static str, String)>,
    upcoming: Vec<String>,
    runs: Vec<RunRow>,
    pager: Pager,
}

fn facts(spec: &PatchDeploymentSpec) -> Vec<(&'static str, String)> {
    let overlap = match spec.overlap {
        Overlap::Skip => "left out",
        Overlap::Queue => "queued",
        Overlap::Parallel => "begun beside it",
    };
    let recurring = spec.recurring_schedule.as_ref();
    let at = |at: Option<Timestamp>| at.map(|at| local(at, spec)).unwrap_or_default();
    [
        ("Hosts", view::filter_words(&spec.job())),
        ("Schedule", schedule(spec)),
        ("Begins", at(recurring.and_then(|r| r.start_time))),
        ("Ends", at(recurring.and_then(|r| r.end_time))),
        ("While a run's job goes on", format!("the next run is {overlap}")),
        ("Late runs begin within", spec.catch_up_secs.map(view::duration).unwrap_or_default()),
        ("At once", view::concurrency_words(spec.concurrency)),
        ("Duration", spec.duration_secs.map(view::duration).unwrap_or_default()),
        ("Reboot", view::reboot_words(spec.patch_config.reboot_config).to_owned()),
    ]
    .into_iter()
    .filter(|(_, v)| !v.is_empty())
    .collect()
}

/// `GET /deployments/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let found = control.get_deployment(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    let runs = control.list_executions(&who.ctx, &name, &cursor.page()).await.map_err(|e| who.fail(e))?;
    let spec = &found.record.spec;
    Ok(Html(ShowPage {
        c: who.chrome(format!("Deployment {name}"), "/deployments"),
        d: Row::new(&found, who.ctx.now),
        facts: facts(spec),
        upcoming: found.upcoming.iter().map(|at| local(*at, spec)).collect(),
        runs: runs.items.iter().map(|run| run_row(run, spec)).collect(),
        pager: Pager::new(&format!("/deployments/{}", form_encode(&name)), cursor.cursor.as_deref(), runs.next_cursor.as_deref()),
    }))
}
