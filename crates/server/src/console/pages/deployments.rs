//! Patch deployments: when what is patched by itself, and what became of their runs; making, pausing, resuming, running and
//! deleting them. Absent: editing one, which the command does (`drydock deployment edit`).

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use drydock_control::store::deployments::ExecutionRecord;
use drydock_control::{DeploymentView, ErrorKind};
use drydock_domain::patch::deployment::{DeploymentState, ExecutionOutcome, Overlap, PatchDeploymentSpec};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::CursorQuery;
use super::start::{is_key, refuse_viewer};
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::deployment_form::DeploymentForm;
use crate::console::error::{Fail, Html, sentence};
use crate::console::job_form::{FormError, JobForm};
use crate::console::rows::Pager;
use crate::console::session::secret;
use crate::console::view::{self, Badge, When};

struct Row {
    name: String,
    description: String,
    state: Badge,
    paused: bool,
    paused_by: String,
    failed: String,
    compartment: String,
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
            paused: r.state == DeploymentState::Paused,
            paused_by: r.paused_by.clone(),
            failed: d.failed.clone().unwrap_or_default(),
            compartment: r.compartment.clone(),
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
        ExecutionOutcome::Missed | ExecutionOutcome::Failed => "bad",
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
    /// Pressed twice it is one run.
    run_key: String,
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
        pager: Pager::new(&path_of(&name), cursor.cursor.as_deref(), runs.next_cursor.as_deref()),
        run_key: secret().unwrap_or_default(),
    }))
}

fn path_of(name: &str) -> String {
    format!("/deployments/{}", form_encode(name))
}

#[derive(Template)]
#[template(path = "deployment_form.html")]
struct FormPage {
    c: Chrome,
    d: DeploymentForm,
    f: JobForm,
    shows_name: bool,
}

impl FormPage {
    fn new(who: &Signed, d: DeploymentForm, f: JobForm) -> Html<Self> {
        Html(FormPage { c: who.chrome("Make a patch deployment", "/deployments"), d, f, shows_name: false })
    }
}

/// `GET /new-deployment`
pub async fn form(who: Signed) -> Result<Html<impl Template>, Fail> {
    refuse_viewer(&who)?;
    let job = JobForm { target: "filter".into(), ..JobForm::new(String::new()) };
    Ok(FormPage::new(&who, DeploymentForm::new(), job))
}

/// `POST /deployments`
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let (who, fields) = (form.who, form.fields);
    refuse_viewer(&who)?;
    let (mut d, mut f) = (DeploymentForm::read(&fields), JobForm::read(&fields));
    let refused = |d, f| Ok((StatusCode::UNPROCESSABLE_ENTITY, FormPage::new(&who, d, f)).into_response());
    let Some(spec) = d.spec(&mut f) else { return refused(d, f) };
    match who.control().create_deployment(&who.ctx, spec).await {
        Ok(made) => {
            let name = &made.record.spec.name;
            Ok(who.done(&path_of(name), format!("The deployment is made; its first run is {}.", first_run(&made))))
        }
        Err(e) if matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::NotFound) => {
            d.refuse(e.fields(), &mut f);
            if d.errors.is_empty() && f.errors.is_empty() {
                d.errors.push(FormError { field: "", message: sentence(&e.to_string()) });
            }
            refused(d, f)
        }
        Err(e) => Err(who.fail(e)),
    }
}

fn first_run(made: &DeploymentView) -> String {
    made.upcoming.first().map_or_else(|| "not due any more".to_owned(), |at| local(*at, &made.record.spec))
}

/// `POST /deployments/{name}/pause`
pub async fn pause(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().pause_deployment(&who.ctx, &name).await {
        Ok(_) => Ok(who.done(&path_of(&name), "Paused: runs that become due are left out. Jobs that were started go on.")),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /deployments/{name}/resume`
pub async fn resume(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().resume_deployment(&who.ctx, &name).await {
        Ok(resumed) => Ok(who.done(&path_of(&name), format!("Resumed: its next run is {}.", first_run(&resumed)))),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /deployments/{name}/run`
pub async fn run(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let key = format!("console-run-{}", f.get("key"));
    let key = Some(key.as_str()).filter(|_| is_key(f.get("key")));
    match who.control().run_deployment(&who.ctx, &name, key).await {
        Ok(run) => match run.job {
            Some(job) => Ok(who.done(&format!("/patch-jobs/{job}"), format!("A run of {name} is started."))),
            None => Ok(who.done(&path_of(&name), format!("The run is {}: {}", run.outcome.as_str(), run.reason))),
        },
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /deployments/{name}/delete`
pub async fn delete(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_deployment(&who.ctx, &name).await {
        Ok(()) => Ok(who.done("/deployments", format!("The deployment {name} is deleted."))),
        Err(e) => who.refused(&path_of(&name), e),
    }
}
