//! Patch deployments and their executions.

use comfy_table::Table;
use drydock_api::rest::{PatchDeployment, PatchExecution};
use drydock_domain::patch::deployment::Overlap;
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::patch::spec::Concurrency;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, paint, plural, state_cell, table, tone, took};

/// The list.
pub fn deployments(items: &[PatchDeployment], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "STATE", "SCHEDULE", "LAST RUN", "NEXT RUN", "OVERLAP", "BY"]);
    for one in items {
        rows.add_row([
            clean(&one.spec.name).into(),
            state_cell(one.state.as_str()),
            clean(&schedule(one)).into(),
            one.last_execute_time.map_or_else(|| "-".to_owned(), |at| ago(at, now)).into(),
            one.next_execute_time.map_or_else(|| "-".to_owned(), |at| ago(at, now)).into(),
            overlap(one.spec.overlap).into(),
            clean(&one.created_by).into(),
        ]);
    }
    rows
}

/// One deployment, without its runs.
pub fn deployment(one: &PatchDeployment, now: Timestamp, colour: bool) -> String {
    let spec = &one.spec;
    let state = one.state.as_str();
    let mut shown = paint(state, tone(state), colour);
    if let Some(who) = &one.paused_by {
        shown += &format!(" by {}: runs that are due are left out", clean(who));
    }
    let (first, rest) = match one.upcoming.split_first() {
        Some((first, rest)) => (Some(format!("{} ({})", local(*first, one), ago(*first, now))), rest),
        None => (Some("none is due any more".to_owned()), one.upcoming.as_slice()),
    };
    let then: Vec<String> = rest.iter().map(|at| local(*at, one)).collect();
    let last = one.last_execute_time.map(|at| {
        let job = one.last_job.map(|job| format!(", patch job {job}")).unwrap_or_default();
        format!("{} ({}){job}", local(at, one), ago(at, now))
    });
    format!("Patch deployment {}\n", clean(&spec.name))
        + &facts(&[
            ("description", some(&spec.description)),
            ("state", Some(shown)),
            ("failed", one.failed.as_deref().map(clean)),
            ("compartment", super::patch::compartment(&one.compartment)),
            ("schedule", Some(clean(&schedule(one)))),
            ("begins", spec.recurring_schedule.as_ref().and_then(|r| r.start_time).map(|at| local(at, one))),
            ("ends", spec.recurring_schedule.as_ref().and_then(|r| r.end_time).map(|at| local(at, one))),
            ("next run", first),
            ("then", some(&then.join(", "))),
            ("last run", last),
            ("overlap", Some(overlap(spec.overlap).to_owned())),
            ("catch-up", spec.catch_up_secs.map(|secs| took(i64::try_from(secs).unwrap_or(i64::MAX)))),
            ("job", spec.dry_run.then(|| "dry run: plans only".to_owned())),
            (
                "at once",
                spec.concurrency.map(|c| match c {
                    Concurrency::Fixed(n) => plural(n as usize, "host"),
                    Concurrency::Percent(p) => format!("{p}% of the hosts"),
                }),
            ),
            ("hosts", some(&filter(&spec.instance_filter))),
            ("soak", super::patch::soak(&spec.patch_config)),
        ])
        + &facts(&spec.rollout.as_ref().map(super::rollout::asked).unwrap_or_default())
        + &facts(&[("made", Some(format!("{} by {}", ago(one.created_at, now), clean(&one.created_by))))])
}

/// A filter without its empty fields.
pub(super) fn filter(filter: &InstanceFilter) -> String {
    let mut filter = serde_json::to_value(filter).unwrap_or_default();
    if let Some(fields) = filter.as_object_mut() {
        fields.retain(|_, v| *v != false && !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty()));
    }
    filter.to_string()
}

/// What became of its runs.
pub fn executions(items: &[PatchExecution], of: &PatchDeployment) -> Table {
    let mut rows = table(&["RUN OF", "OUTCOME", "BY", "JOB", "WHY"]);
    for run in items {
        let due = match run.due_at {
            Some(at) => local(at, of),
            None => format!("{}, asked for", local(run.at, of)),
        };
        rows.add_row([
            due.into(),
            state_cell(run.outcome.as_str()),
            clean(&run.who).into(),
            run.job.map_or_else(|| "-".to_owned(), |job| job.to_string()).into(),
            or_dash(&run.reason).into(),
        ]);
    }
    rows
}

fn overlap(rule: Overlap) -> &'static str {
    match rule {
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
        Overlap::Parallel => "parallel",
    }
}

/// The schedule in words.
pub fn schedule(one: &PatchDeployment) -> String {
    match (&one.spec.recurring_schedule, &one.spec.one_time_schedule) {
        (Some(recurring), _) => recurring.to_string(),
        (None, Some(once)) => format!("once, {}", local(once.execute_time, one)),
        (None, None) => "never".to_owned(),
    }
}

/// A moment in the deployment's zone; in UTC when it has none, or this machine does not know it.
pub fn local(at: Timestamp, of: &PatchDeployment) -> String {
    let id = of.spec.recurring_schedule.as_ref().map(|r| r.time_zone.id.as_str());
    let zone = id.and_then(|id| TimeZone::get(id).ok());
    let shown = at.to_zoned(zone.clone().unwrap_or(TimeZone::UTC));
    let name = if zone.is_some() { id.unwrap_or("UTC") } else { "UTC" };
    format!("{} {}", shown.strftime("%a %Y-%m-%d %H:%M"), clean(name))
}
