//! Content jobs and collections.

use comfy_table::Table;
use drydock_api::rest::{CollectReport, ContentJob, ContentJobDetail, Freed, RepositoryKeys};
use drydock_domain::source::job::ContentJobState;
use jiff::Timestamp;

use super::source::{findings, size};
use super::{facts, some};
use crate::failure::Ending;
use crate::text::{ago, ago_or, clean, or_dash, state_cell, table, took};

/// How a command that waited for the job ends.
pub fn ending(job: &ContentJob) -> Ending {
    if job.state == ContentJobState::Succeeded { Ending::Done } else { Ending::JobFailed }
}

/// `SYNC ol9-base: reading packages 12000/42000`.
pub fn progress(job: &ContentJob) -> String {
    let at = &job.progress;
    let count = match at.total {
        Some(total) => format!(" {}/{total}", at.done),
        None if at.done > 0 => format!(" {}", at.done),
        None => String::new(),
    };
    let stage = if at.stage.is_empty() { job.state.as_str().to_owned() } else { clean(&at.stage) };
    format!("{} {}: {stage}{count}", job.kind.as_str(), job.source.as_deref().map_or_else(|| "-".to_owned(), clean))
}

/// The list.
pub fn jobs(items: &[ContentJob], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "KIND", "SOURCE", "STATE", "WHEN", "BY", "MESSAGE"]);
    for job in items {
        let message = if job.state.is_final() { clean(&job.message) } else { progress(job) };
        rows.add_row([
            job.id.to_string().into(),
            job.kind.as_str().into(),
            job.source.as_deref().map_or_else(|| "-".to_owned(), clean).into(),
            state_cell(job.state.as_str()),
            ago(job.created_at, now).into(),
            clean(&job.requested_by).into(),
            or_dash(&message).into(),
        ]);
    }
    rows
}

/// One job.
pub fn job(detail: &ContentJobDetail, now: Timestamp) -> String {
    let job = &detail.job;
    let lasted = job.started_at.zip(job.finished_at).map(|(from, to)| took(to.as_second() - from.as_second()));
    let mut text = format!("Content job {}\n", job.id);
    text += &facts(&[
        ("kind", Some(job.kind.as_str().to_owned())),
        ("source", job.source.as_deref().map(clean)),
        ("state", Some(job.state.as_str().to_owned())),
        ("progress", (!job.state.is_final()).then(|| progress(job))),
        ("message", some(&job.message)),
        ("asked", Some(format!("{} by {}", ago(job.created_at, now), clean(&job.requested_by)))),
        ("ended", job.finished_at.map(|_| ago_or(job.finished_at, now, "-"))),
        ("took", lasted),
    ]);
    text + &findings(&detail.findings)
}

/// What a collection did.
pub fn collected(report: &CollectReport) -> String {
    let verb = if report.dry_run { "would be freed" } else { "freed" };
    let line = |what: &str, count: Freed| format!("  {what:<20} {:>8} files {:>10} {verb}\n", count.count, size(count.bytes));
    let mut text = line("snapshot parts", report.objects);
    text += &line("package files", report.blobs);
    text += &line("published metadata", report.metadata);
    for why in &report.kept {
        text += &format!("  kept: {}\n", clean(why));
    }
    text
}

/// The keys of the server's repositories.
pub fn keys(keys: &RepositoryKeys) -> String {
    let mut text = String::new();
    for key in &keys.keys {
        let state = if key.signing { "signs" } else { "known to hosts, does not sign" };
        text += &format!("{}  {state}\n", clean(&key.fingerprint));
    }
    text
}
