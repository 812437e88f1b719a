//! Patch jobs: lists, and one job per host and per package.

use std::collections::BTreeSet;

use comfy_table::Table;
use drydock_api::rest::{PatchJob, PatchTaskDetail};
use drydock_domain::patch::job::percent_complete;
use drydock_domain::patch::modules::PlannedModule;
use drydock_domain::patch::report::{
    ActionKind, Output, PackageOutcome, PackageResult, PlannedAction, SkippedUpdate, StepKind, StepOutcome, StepReport,
    TaskReport,
};
use drydock_domain::patch::spec::{Concurrency, PatchConfig};
use jiff::Timestamp;

use super::instance::{findings, kind};
use super::{checks, facts, rollout, some};
use crate::progress::{Picture, doing};
use crate::text::{ago, clean, clean_lines, or_dash, paint, plural, render, state_cell, table, tone, took};

/// The list of jobs.
pub fn jobs(items: &[PatchJob], now: Timestamp) -> Table {
    let mut rows = table(&["ID", "NAME", "STATE", "HOSTS", "DONE", "STARTED", "TOOK", "BY"]);
    for job in items {
        let end = job.finished_at.unwrap_or(now);
        let name = if job.spec.dry_run { format!("{} (dry run)", job.spec.display_name) } else { job.spec.display_name.clone() };
        rows.add_row([
            job.id.to_string().into(),
            or_dash(name.trim()).into(),
            state_cell(job.state.as_str()),
            job.instance_details_summary.values().sum::<u32>().to_string().into(),
            format!("{:.0}%", job.percent_complete).into(),
            ago(job.created_at, now).into(),
            took(end.as_second() - job.created_at.as_second()).into(),
            clean(&job.created_by).into(),
        ]);
    }
    rows
}

/// The head of a job's page.
pub fn job(job: &PatchJob, now: Timestamp, colour: bool) -> String {
    let what = if job.spec.dry_run { "Dry run" } else { "Patch job" };
    let state = job.state.as_str();
    let counts: Vec<String> = job.instance_details_summary.iter().map(|(s, n)| format!("{n} {}", s.as_str())).collect();
    let hosts: u32 = job.instance_details_summary.values().sum();
    let end = job.finished_at.unwrap_or(now);
    let mut shown = paint(state, tone(state), colour);
    if job.cancel_requested && !job.state.is_final() {
        shown += ", being cancelled";
    }
    let rollout = job.rollout.as_ref();
    let steered = rollout.map(|r| rollout::state(r, now)).unwrap_or_default();
    let tables = rollout.map(|r| rollout::tables(r, now, colour)).filter(|t| !t.is_empty());
    format!("{what} {}\n", job.id)
        + &facts(&[("name", some(&job.spec.display_name)), ("description", some(&job.spec.description)), ("state", Some(shown))])
        + &facts(&steered)
        + &facts(&[
            ("error", some(&job.error_message)),
            (
                "hosts",
                Some(format!("{hosts}, {:.0}% done: {}", percent_complete(&job.instance_details_summary), counts.join(", "))),
            ),
            (
                "at once",
                job.spec.concurrency.map(|c| match c {
                    Concurrency::Fixed(n) => plural(n as usize, "host"),
                    Concurrency::Percent(p) => format!("{p}% of the hosts"),
                }),
            ),
            ("soak", soak(&job.spec.patch_config)),
            ("deployment", job.patch_deployment.as_deref().map(clean)),
            ("rerun of", job.rerun_of.map(|first| first.to_string())),
            ("undo of", job.undo_of.map(|first| first.to_string())),
            ("compartment", compartment(&job.compartment)),
            ("started", Some(format!("{} by {}", ago(job.created_at, now), clean(&job.created_by)))),
            ("took", Some(took(end.as_second() - job.created_at.as_second()))),
            ("deadline", job.deadline.filter(|_| !job.state.is_final()).map(|end| ago(end, now))),
        ])
        + &tables.map(|t| format!("\n{t}")).unwrap_or_default()
}

/// A compartment; nothing is said of the tenancy, where most things lie.
pub(super) fn compartment(path: &str) -> Option<String> {
    Some(clean(path)).filter(|path| !path.is_empty() && path != "/")
}

/// How long versions must have been known.
pub(super) fn soak(config: &PatchConfig) -> Option<String> {
    let days = plural(usize::try_from(config.soak_days).ok().filter(|days| *days > 0)?, "day");
    Some(if config.soak_except_security { format!("{days}, security updates at once") } else { days })
}

/// One line per host.
pub fn summary(picture: &Picture, now: Timestamp, colour: bool) -> String {
    let has_waves = picture.job.rollout.as_ref().is_some_and(|r| r.plan.waves.len() > 1);
    let mut heads = vec!["HOST", "STATE", "PACKAGES", "SKIPPED", "REBOOTS", "DETAILS"];
    if has_waves {
        heads.insert(1, "WAVE");
    }
    let mut rows = table(&heads);
    for task in picture.by_name() {
        let details = match &task.waiting_on {
            Some(_) => doing(task, now),
            None => clean(&task.message),
        };
        let packages =
            if task.dry_run { format!("{} planned", task.planned) } else { format!("{}/{}", task.applied, task.planned) };
        let mut cells = vec![
            clean(&task.instance_name).into(),
            state_cell(task.state.as_str()),
            packages.into(),
            task.skipped.to_string().into(),
            task.reboots.to_string().into(),
            or_dash(&details).into(),
        ];
        if has_waves {
            cells.insert(1, or_dash(rollout::wave_of(&picture.job, task).unwrap_or_default()).into());
        }
        rows.add_row(cells);
    }
    job(&picture.job, now, colour) + "\n" + &render(rows, 0, colour)
}

/// One host of a job, package by package.
pub fn host(detail: &PatchTaskDetail, now: Timestamp, step_output: bool, colour: bool) -> String {
    let task = &detail.task;
    let state = task.state.as_str();
    let mut text = format!("{}  {}  {}", clean(&task.instance_name), paint(state, tone(state), colour), doing(task, now));
    text.truncate(text.trim_end().len());
    text.push('\n');
    let Some(report) = &detail.report else {
        return text + "  the host has reported nothing\n";
    };
    text += &modules(report, colour);
    text += &packages(report, colour);
    text += &skipped(report, colour);
    text += &checks::differs(report, colour);
    text += &checks::health(report, colour);
    text += &repositories(report);
    if !report.reboot_reasons.is_empty() {
        text += "  reboot still needed\n";
        text.extend(report.reboot_reasons.iter().map(|r| format!("    {}\n", clean(r))));
    }
    text + &steps(report, now, step_output)
}

fn action(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Upgrade => "upgrade",
        ActionKind::Install => "install",
        ActionKind::Remove => "remove",
        ActionKind::Downgrade => "downgrade",
        ActionKind::Reinstall => "reinstall",
    }
}

fn outcome(outcome: PackageOutcome) -> &'static str {
    match outcome {
        PackageOutcome::Applied => "APPLIED",
        PackageOutcome::NotApplied => "NOT_APPLIED",
        PackageOutcome::Different => "DIFFERENT",
        PackageOutcome::Unplanned => "UNPLANNED",
    }
}

/// What the database says beside the outcome: the tool's words, and the version found where it is not the planned one.
fn remark(result: &PackageResult) -> String {
    let mut parts = Vec::new();
    if matches!(result.outcome, PackageOutcome::Different) {
        parts.push(match &result.found {
            Some(version) => format!("found {}", clean(version)),
            None => "found nothing installed".to_owned(),
        });
    }
    parts.extend(some(&result.detail));
    parts.join(": ")
}

/// Planned and done, in one table: what has a result, then what is planned and has none yet.
fn packages(report: &TaskReport, colour: bool) -> String {
    let mut rows = table(&["PACKAGE", "ARCH", "FROM", "TO", "REPOSITORY", "KIND", "ACTION", "OUTCOME", ""]);
    let mut add = |planned: &PlannedAction, outcome: &str, remark: String| {
        rows.add_row([
            clean(&planned.name).into(),
            or_dash(&planned.arch).into(),
            or_dash(planned.from.as_deref().unwrap_or_default()).into(),
            or_dash(planned.to.as_deref().unwrap_or_default()).into(),
            or_dash(&planned.repository).into(),
            kind(planned.kind).into(),
            action(planned.action).into(),
            state_cell(outcome),
            remark.into(),
        ]);
    };
    for result in &report.packages {
        add(&result.planned, outcome(result.outcome), remark(result));
    }
    let has_result = |a: &PlannedAction| {
        report.packages.iter().any(|r| r.planned.name == a.name && r.planned.arch == a.arch && r.planned.to == a.to)
    };
    for planned in report.plans.iter().flat_map(|p| &p.actions).filter(|a| !has_result(a)) {
        add(planned, "PLANNED", String::new());
    }
    if rows.is_empty() {
        // Before the first plan there is nothing to say yet; after it, that is the news.
        let quiet = report.plans.is_empty() || report.plans.iter().any(|p| !p.modules.is_empty());
        return if quiet { String::new() } else { "  nothing to install\n".to_owned() };
    }
    render(rows, 2, colour)
}

/// Module changes, planned and done, in one table as [`packages`].
fn modules(report: &TaskReport, colour: bool) -> String {
    let mut rows = table(&["MODULE CHANGE", "BEFORE", "AFTER", "PACKAGES", "OUTCOME", ""]);
    let mut add = |planned: &PlannedModule, outcome: &str, remark: String| {
        let implied = if planned.implied { " (needed by another)" } else { "" };
        rows.add_row([
            (clean(&planned.change.to_string()) + implied).into(),
            clean(&planned.before.to_string()).into(),
            clean(&planned.after.to_string()).into(),
            or_dash(&planned.packages.join(", ")).into(),
            state_cell(outcome),
            remark.into(),
        ]);
    };
    for result in &report.modules {
        let found = result.outcome != PackageOutcome::Applied;
        let remark = if found { format!("found {}", clean(&result.found.to_string())) } else { String::new() };
        add(&result.planned, outcome(result.outcome), remark);
    }
    // A plan after a reboot finds the changes done.
    let has_result = |m: &PlannedModule| report.modules.iter().any(|r| r.planned.change == m.change);
    let mut planned: Vec<&PlannedModule> = report.plans.iter().flat_map(|p| &p.modules).filter(|m| !has_result(m)).collect();
    let mut told = BTreeSet::new();
    planned.retain(|m| told.insert(&m.change));
    for planned in planned {
        let word = match (planned.refused.is_empty(), planned.is_idle()) {
            (false, _) => "REFUSED",
            (true, true) => "UNCHANGED",
            (true, false) => "PLANNED",
        };
        add(planned, word, clean(&planned.refused));
    }
    if rows.is_empty() { String::new() } else { render(rows, 2, colour) }
}

fn skipped(report: &TaskReport, colour: bool) -> String {
    // A plan after a reboot repeats what the first one skipped.
    let mut all: Vec<&SkippedUpdate> = report.plans.iter().flat_map(|p| &p.skipped).collect();
    all.sort();
    all.dedup();
    if all.is_empty() {
        return String::new();
    }
    let mut rows = table(&["SKIPPED", "ARCH", "VERSION", "REASON"]);
    for update in all {
        rows.add_row([clean(&update.name), or_dash(&update.arch), or_dash(&update.version), clean(&update.reason)]);
    }
    render(rows, 2, colour)
}

/// Broken repositories; a plan after a reboot repeats what the first one met.
fn repositories(report: &TaskReport) -> String {
    let mut all: Vec<_> = report.plans.iter().flat_map(|p| p.findings.clone()).collect();
    all.sort();
    all.dedup();
    findings(&all, "  ")
}

fn step_name(step: StepKind) -> &'static str {
    match step {
        StepKind::PreStep => "PRE_STEP",
        StepKind::Repair => "REPAIR",
        StepKind::Refresh => "REFRESH",
        StepKind::Plan => "PLAN",
        StepKind::Download => "DOWNLOAD",
        StepKind::Apply => "APPLY",
        StepKind::Reboot => "REBOOT",
        StepKind::Verify => "VERIFY",
        StepKind::PostStep => "POST_STEP",
        StepKind::Health => "HEALTH",
    }
}

fn step_outcome(step: &StepReport) -> &'static str {
    match step.outcome {
        StepOutcome::Running => "RUNNING",
        StepOutcome::Succeeded => "SUCCEEDED",
        StepOutcome::Failed => "FAILED",
        StepOutcome::TimedOut => "TIMED_OUT",
        StepOutcome::Killed => "KILLED",
        StepOutcome::Interrupted => "INTERRUPTED",
    }
}

/// The steps in lines, each with its output when asked. Without outputs, only steps worth a look: the operator's own and
/// those that did not succeed.
fn steps(report: &TaskReport, now: Timestamp, step_output: bool) -> String {
    let own = |s: &StepReport| matches!(s.step, StepKind::PreStep | StepKind::PostStep | StepKind::Health);
    let mut text = String::new();
    for step in report.steps.iter().filter(|s| step_output || own(s) || s.outcome != StepOutcome::Succeeded) {
        let seconds = step.ended_at.unwrap_or(now).as_second() - step.started_at.as_second();
        let mut line = format!("  step {:<9}  {:<11}  {:>7}", step_name(step.step), step_outcome(step), took(seconds));
        // A step without news of its own says `exit code 0`: once is enough.
        if let Some(code) = step.exit_code.filter(|code| step.message != format!("exit code {code}")) {
            line += &format!("  exit {code}");
        }
        if !step.message.is_empty() {
            line += &format!("  {}", clean(&step.message));
        }
        text += line.trim_end();
        text.push('\n');
        if step_output {
            text += &output(&step.output);
        }
    }
    text
}

fn output(output: &Output) -> String {
    let mut text = String::new();
    let mut add =
        |part: &str| text.extend(clean_lines(part).iter().map(|line| format!("    | {line}").trim_end().to_owned() + "\n"));
    add(&output.head);
    if output.dropped_bytes > 0 {
        add(&format!("… {} bytes not kept …", output.dropped_bytes));
    }
    add(&output.tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_soak_is_told() {
        let told = |json: &str| soak(&serde_json::from_str(json).expect("settings"));
        assert_eq!(told("{}"), None);
        assert_eq!(told(r#"{"soakDays":1}"#).as_deref(), Some("1 day"));
        let lenient = told(r#"{"soakDays":7,"soakExceptSecurity":true}"#);
        assert_eq!(lenient.as_deref(), Some("7 days, security updates at once"));
    }

    #[test]
    fn module_changes_are_told_once_with_what_became_of_them() {
        let planned = |change: &str, before: &str, after: &str, more: &str| {
            let (action, rest) = change.split_once(' ').unwrap_or((change, ""));
            format!(r#"{{"change":{{"action":"{action}","module":"m"{rest}}},"before":{before},"after":{after}{more}}}"#)
        };
        let on = |stream: &str| format!(r#"{{"status":"ENABLED","stream":"{stream}","profiles":["full"]}}"#);
        let switch = planned(r#"SWITCH ,"stream":"2""#, &on("1"), &on("2"), r#","packages":["m-app"]"#);
        let result = format!(r#"{},"outcome":"DIFFERENT","found":{{"status":"DISABLED"}}}}"#, &switch[..switch.len() - 1]);
        let refused = planned("DISABLE", &on("1"), &on("1"), r#","refused":"profiles of it\u001b[1m are installed""#);
        let idle = planned("RESET", "{}", "{}", r#","implied":true"#);
        let plan = format!(r#"{{"manager":"dnf","actions":[],"modules":[{switch},{refused},{idle}]}}"#);
        let report = format!(
            r#"{{"task":"00000000-0000-0000-0000-000000000001","seq":1,"at":"2026-01-01T00:00:00Z","state":"FAILED",
               "plans":[{plan},{plan}],"modules":[{result}]}}"#
        );
        let report: TaskReport = serde_json::from_str(&report).expect("a report");
        let shown = modules(&report, false);
        let lines: Vec<String> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "MODULE CHANGE BEFORE AFTER PACKAGES OUTCOME",
                "switch:m:2 1 enabled, profiles full 2 enabled, profiles full m-app DIFFERENT found disabled",
                "disable:m 1 enabled, profiles full 1 enabled, profiles full - REFUSED profiles of it·[1m are installed",
                "reset:m (needed by another) not set not set - UNCHANGED",
            ]
        );
        assert_eq!(packages(&report, false), "", "no \"nothing to install\" beside module changes");
    }
}
