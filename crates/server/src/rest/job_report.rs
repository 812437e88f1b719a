//! The report of a patch job: JSON for programs, CSV for spreadsheets, one HTML file for people. The HTML file needs
//! nothing from outside and runs nothing.

use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, PatchJobReport, PatchJobReportHost};
use drydock_control::JobOutcome;
use drydock_domain::ids::JobId;
use drydock_domain::patch::report::{PackageOutcome, PackageResult, SkippedUpdate};
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use jiff::Timestamp;

use super::error::{Failure, Result};
use super::extract::{Caller, Params};
use super::{csv, encode};
use crate::console::soak_words;
use crate::state::AppState;

/// What the file may do in a browser: show itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What became of an update that a plan left out.
const LEFT_OUT: &str = "LEFT_OUT";

/// Everything that a patch job did, host by host and package by package. Of a job under way it tells how far it is.
#[utoipa::path(get, path = "/api/v1/patch-jobs/{id}/report", tag = "patch", operation_id = "getPatchJobReport",
    params(("id" = JobId, Path), ("format" = Option<String>, Query, description = "json, csv (one row for each package) or html")),
    responses((status = 200, body = PatchJobReport), (status = "default", body = ApiError)))]
pub async fn get(State(state): State<AppState>, Path(id): Path<String>, caller: Caller, mut params: Params) -> Result<Response> {
    let format = params.one("format")?.unwrap_or_else(|| "json".to_owned());
    params.finish()?;
    if !["json", "csv", "html"].contains(&format.as_str()) {
        return Err(Failure::field("format", format!("{format:?} is not json, csv or html")));
    }
    let id = id.parse::<JobId>()?;
    let report = encoded(state.control.job_report(&caller.ctx, id).await?);
    let name = format!("patch-job-{id}");
    Ok(match format.as_str() {
        "csv" => as_csv(&name, &report),
        "html" => as_html(&name, &report)?,
        _ => Json(report).into_response(),
    })
}

fn encoded(outcome: JobOutcome) -> PatchJobReport {
    let waves: Vec<String> = match &outcome.job.rollout {
        Some(rollout) => rollout.plan.waves.iter().map(|w| w.name.clone()).collect(),
        None => Vec::new(),
    };
    let host = |host: drydock_control::HostOutcome| PatchJobReportHost {
        wave_name: waves.get(usize::from(host.task.wave)).cloned().unwrap_or_default(),
        task: encode::task(host.task),
        packages: host.packages,
        left_out: host.skipped,
        health: host.health,
    };
    PatchJobReport {
        made_at: outcome.made_at,
        hosts: outcome.hosts.into_iter().map(host).collect(),
        job: encode::job(outcome.job),
    }
}

fn outcome(result: &PackageResult) -> &'static str {
    match result.outcome {
        PackageOutcome::Applied => "APPLIED",
        PackageOutcome::NotApplied if result.detail == "planned" && result.found.is_none() => "PLANNED",
        PackageOutcome::NotApplied => "NOT_APPLIED",
        PackageOutcome::Different => "DIFFERENT",
        PackageOutcome::Unplanned => "UNPLANNED",
    }
}

fn as_csv(name: &str, report: &PatchJobReport) -> Response {
    let header = [
        "host",
        "zone",
        "wave",
        "state",
        "message",
        "finished",
        "package",
        "architecture",
        "from",
        "to",
        "found",
        "outcome",
        "reason",
    ];
    let rows = report.hosts.iter().flat_map(|host| {
        let task = &host.task;
        let finished = task.finished_at.map(|at| at.to_string()).unwrap_or_default();
        let why = task.waiting_on.as_ref().map_or_else(|| task.message.clone(), |on| format!("{}: {}", on.name(), on.describe()));
        let head = vec![
            task.instance_name.clone(),
            task.zone.clone(),
            host.wave_name.clone(),
            task.state.as_str().to_owned(),
            why,
            finished,
        ];
        let mut rows: Vec<Vec<String>> = Vec::new();
        for result in &host.packages {
            let planned = &result.planned;
            let cells = [
                planned.name.clone(),
                planned.arch.clone(),
                planned.from.clone().unwrap_or_default(),
                planned.to.clone().unwrap_or_default(),
                result.found.clone().unwrap_or_default(),
                outcome(result).to_owned(),
                if outcome(result) == "PLANNED" { String::new() } else { result.detail.clone() },
            ];
            rows.push(head.iter().cloned().chain(cells).collect());
        }
        for left in &host.left_out {
            let (none, outcome) = (String::new(), LEFT_OUT.to_owned());
            let cells =
                [left.name.clone(), left.arch.clone(), none.clone(), left.version.clone(), none, outcome, left.reason.clone()];
            rows.push(head.iter().cloned().chain(cells).collect());
        }
        if rows.is_empty() {
            rows.push(head.into_iter().chain(std::iter::repeat_n(String::new(), 7)).collect());
        }
        rows
    });
    csv::file(name, &header, rows)
}

#[derive(Template)]
#[template(path = "job_report.html")]
struct Page {
    id: String,
    name: String,
    description: String,
    dry_run: bool,
    state: &'static str,
    halted: String,
    created_by: String,
    created: String,
    finished: String,
    made: String,
    soak: String,
    counts: Vec<(&'static str, u32)>,
    waves: Vec<Wave>,
    hosts: Vec<Host>,
}

struct Wave {
    name: String,
    hosts: u32,
    succeeded: u32,
    failed: u32,
    pending: u32,
}

struct Host {
    name: String,
    zone: String,
    wave: String,
    state: &'static str,
    is_good: bool,
    is_bad: bool,
    why: String,
    packages: Vec<Package>,
    checks: Vec<(String, bool, String)>,
}

struct Package {
    name: String,
    arch: String,
    from: String,
    to: String,
    outcome: &'static str,
    remark: String,
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn as_html(name: &str, report: &PatchJobReport) -> Result<Response> {
    let job = &report.job;
    let waves = job.rollout.iter().flat_map(|r| &r.waves).filter(|_| job.rollout.as_ref().is_some_and(|r| r.waves.len() > 1));
    let page = Page {
        id: job.id.to_string(),
        name: job.spec.display_name.clone(),
        description: job.spec.description.clone(),
        dry_run: job.spec.dry_run,
        state: job.state.as_str(),
        halted: job.rollout.as_ref().and_then(|r| r.halted_because.clone()).unwrap_or_default(),
        created_by: job.created_by.clone(),
        created: moment(job.created_at),
        finished: job.finished_at.map(moment).unwrap_or_default(),
        made: moment(report.made_at),
        soak: soak_words(&job.spec.patch_config),
        counts: job.instance_details_summary.iter().map(|(state, n)| (state.as_str(), *n)).collect(),
        waves: waves
            .map(|w| Wave {
                name: w.name.clone(),
                hosts: w.hosts,
                succeeded: w.succeeded,
                failed: w.failed,
                pending: w.pending + w.running,
            })
            .collect(),
        hosts: report.hosts.iter().map(host).collect(),
    };
    let text = page
        .render()
        .map_err(|_| Failure::unavailable(http::StatusCode::INTERNAL_SERVER_ERROR, "the report cannot be written"))?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.html\"")),
    ];
    Ok((headers, text).into_response())
}

fn host(host: &PatchJobReportHost) -> Host {
    let task = &host.task;
    let left_out = |left: &SkippedUpdate| Package {
        name: left.name.clone(),
        arch: left.arch.clone(),
        from: String::new(),
        to: left.version.clone(),
        outcome: LEFT_OUT,
        remark: left.reason.clone(),
    };
    let package = |result: &PackageResult| Package {
        name: result.planned.name.clone(),
        arch: result.planned.arch.clone(),
        from: result.planned.from.clone().unwrap_or_default(),
        to: result.planned.to.clone().unwrap_or_default(),
        outcome: outcome(result),
        remark: match result.outcome {
            PackageOutcome::Different => format!("found {}: {}", result.found.as_deref().unwrap_or("nothing"), result.detail),
            _ if outcome(result) == "PLANNED" => String::new(),
            _ => result.detail.clone(),
        },
    };
    Host {
        name: task.instance_name.clone(),
        zone: task.zone.clone(),
        wave: host.wave_name.clone(),
        state: task.state.as_str(),
        is_good: task.state.is_success(),
        is_bad: task.state.is_final() && !task.state.is_success(),
        why: task.waiting_on.as_ref().map_or_else(|| task.message.clone(), |on| format!("{}: {}", on.name(), on.describe())),
        packages: host.packages.iter().map(package).chain(host.left_out.iter().map(left_out)).collect(),
        checks: host.health.iter().map(|h| (h.check.clone(), h.healthy, h.detail.clone())).collect(),
    }
}
