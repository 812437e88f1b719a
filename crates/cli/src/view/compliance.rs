//! How hosts stand with their policies, what drifted, and secrets without their values.

use comfy_table::Table;
use drydock_api::rest::{
    ComplianceCounts, ComplianceDay, ComplianceInterval, ComplianceResult, FleetCompliance, HostCompliance, HostDriftEvent,
    HostPolicyStanding, PolicyCompliance, PolicySecret, ResourceCompliance,
};
use drydock_domain::policy::ComplianceState;
use drydock_domain::policy::report::{Evidence, ResourceResult, StepKind, StepOutcome, StepResult};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, ago_or, clean, clean_lines, or_dash, paint, plural, render, state_cell, table, tone, took};

/// `12 compliant, 1 non-compliant, 2 unknown`; what is 0 is left out.
pub fn counts(counts: &ComplianceCounts) -> String {
    let all = [(counts.compliant, "compliant"), (counts.non_compliant, "non-compliant"), (counts.unknown, "unknown")];
    let told: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn count_cells(counts: &ComplianceCounts) -> [String; 3] {
    [counts.compliant, counts.non_compliant, counts.unknown].map(|n| if n == 0 { "-".to_owned() } else { n.to_string() })
}

/// The whole fleet.
pub fn summary(found: &FleetCompliance, colour: bool) -> String {
    let mut text = "Compliance\n".to_owned();
    let drift = format!("{} in 24 hours, {} repaired", found.drift_events, found.drift_repaired);
    let reasons: Vec<String> = found.reasons.iter().map(|(reason, n)| format!("{} {n}", clean(reason))).collect();
    text += &facts(&[
        ("hosts", Some(counts(&found.hosts))),
        ("no policies", (found.without_policies > 0).then(|| plural(found.without_policies as usize, "host"))),
        ("reasons", some(&reasons.join(", "))),
        ("drift", Some(drift)),
    ]);
    if !found.assignments.is_empty() {
        let mut rows = table(&["ASSIGNMENT", "COMPLIANT", "NON_COMPLIANT", "UNKNOWN"]);
        for own in &found.assignments {
            let [good, bad, unknown] = count_cells(&own.hosts);
            rows.add_row([clean(&own.assignment), good, bad, unknown]);
        }
        text += &format!("\n{}", render(rows, 0, colour));
    }
    text
}

/// Policies of hosts.
pub fn results(items: &[ComplianceResult], now: Timestamp) -> Table {
    let mut rows = table(&["HOST", "ASSIGNMENT", "POLICY", "STATE", "REASON", "SINCE", "CHECKED"]);
    for own in items {
        rows.add_row([
            clean(&own.instance_name).into(),
            clean(&own.assignment).into(),
            clean(&own.policy).into(),
            state_cell(own.state.as_str()),
            or_dash(&own.reason).into(),
            ago(own.since, now).into(),
            ago_or(own.checked_at, now, "never").into(),
        ]);
    }
    rows
}

/// Policies.
pub fn policies(items: &[PolicyCompliance]) -> Table {
    let mut rows = table(&["ASSIGNMENT", "POLICY", "COMPLIANT", "NON_COMPLIANT", "UNKNOWN"]);
    for own in items {
        let [good, bad, unknown] = count_cells(&own.hosts);
        rows.add_row([clean(&own.assignment), clean(&own.policy), good, bad, unknown]);
    }
    rows
}

/// Resources.
pub fn resources(items: &[ResourceCompliance]) -> Table {
    let mut rows = table(&["ASSIGNMENT", "POLICY", "RESOURCE", "COMPLIANT", "NON_COMPLIANT", "UNKNOWN"]);
    for own in items {
        let [good, bad, unknown] = count_cells(&own.hosts);
        rows.add_row([clean(&own.assignment), clean(&own.policy), clean(&own.resource), good, bad, unknown]);
    }
    rows
}

/// How long policies were in which state.
pub fn history(items: &[ComplianceInterval], now: Timestamp) -> Table {
    let mut rows = table(&["HOST", "ASSIGNMENT", "POLICY", "STATE", "REASON", "SINCE", "FOR"]);
    for own in items {
        let lasted = took(own.until.unwrap_or(now).as_second() - own.since.as_second());
        rows.add_row([
            clean(&own.instance_name).into(),
            clean(&own.assignment).into(),
            clean(&own.policy).into(),
            state_cell(own.state.as_str()),
            or_dash(&own.reason).into(),
            ago(own.since, now).into(),
            if own.until.is_some() { lasted } else { format!("{lasted}, still") }.into(),
        ]);
    }
    rows
}

/// Day by day.
pub fn trend(items: &[ComplianceDay]) -> Table {
    let mut rows = table(&["DAY", "COMPLIANT", "NON_COMPLIANT", "UNKNOWN", "SHARE", "DRIFT"]);
    for own in items {
        let [good, bad, unknown] = count_cells(&own.counts);
        rows.add_row([clean(&own.day), good, bad, unknown, share(&own.counts), own.drift_events.to_string()]);
    }
    rows
}

/// Compliant ones of all, in percent, rounded down: 100% means all.
fn share(counts: &ComplianceCounts) -> String {
    let percent = (u64::from(counts.compliant) * 100).checked_div(u64::from(counts.total()));
    percent.map_or_else(|| "-".to_owned(), |p| format!("{p}%"))
}

/// Drift events.
pub fn drift(items: &[HostDriftEvent], now: Timestamp) -> Table {
    let mut rows =
        table(&["SEEN", "HOST", "ASSIGNMENT", "POLICY", "RESOURCE", "WHAT", "NOTICED BY", "OUTCOME", "REPAIRED IN", "CAUSE"]);
    for own in items {
        let event = &own.event;
        rows.add_row([
            ago(event.seen_at, now).into(),
            clean(&own.instance_name).into(),
            clean(&event.assignment).into(),
            clean(&event.policy).into(),
            clean(&event.resource).into(),
            clean(&event.what).into(),
            clean(&event.noticed_by).into(),
            state_cell(event.outcome.as_str()),
            own.time_to_repair_ms.map_or_else(|| "-".to_owned(), millis).into(),
            or_dash(&event.cause).into(),
        ]);
    }
    rows
}

/// `120 ms`, `3.4 s`, `2m 10s`.
pub fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => took(i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
    }
}

/// One host with resources, steps and evidence; without `all` only those that say something.
pub fn host(found: &HostCompliance, all: bool, now: Timestamp, colour: bool) -> String {
    let state = found.state.as_str();
    let mut text = format!("Host {}\n", clean(&found.instance_name));
    let reported = match (found.reported_at, found.reported_generation == found.generation) {
        (None, _) => "never".to_owned(),
        (Some(at), true) => ago(at, now),
        (Some(at), false) => format!("{}, about an earlier document", ago(at, now)),
    };
    let check = (found.check_asked > found.check_done).then(|| "asked for, not done yet".to_owned());
    text += &facts(&[
        ("state", Some(paint(state, tone(state), colour))),
        ("reason", some(&found.reason)),
        ("reported", Some(reported)),
        ("check", check),
        ("problem", some(&found.problem)),
    ]);
    for problem in &found.problems {
        let at = [&problem.assignment, &problem.policy, &problem.resource];
        let at: Vec<&str> = at.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        text += &format!("  not as written: {}: {}\n", clean(&at.join("/")), clean(&problem.message));
    }
    for policy in &found.policies {
        text += &format!("\n{}", policy_text(policy, all, now, colour));
    }
    text
}

fn policy_text(policy: &HostPolicyStanding, all: bool, now: Timestamp, colour: bool) -> String {
    let own = &policy.result;
    let state = paint(own.state.as_str(), tone(own.state.as_str()), colour);
    let reason = if own.reason.is_empty() { String::new() } else { format!(" ({})", clean(&own.reason)) };
    let checked = ago_or(own.checked_at, now, "never");
    let mut text = format!(
        "{}/{} revision {}  {state}{reason}, since {}, checked {checked}\n",
        clean(&own.assignment),
        clean(&own.policy),
        own.revision,
        ago(own.since, now)
    );
    for resource in &policy.resources {
        text += &self::resource(resource, all, colour);
    }
    text
}

/// One resource, its steps below it.
pub fn resource(own: &ResourceResult, all: bool, colour: bool) -> String {
    let state = paint(own.state.as_str(), tone(own.state.as_str()), colour);
    let reason = if own.reason.is_empty() { String::new() } else { format!(" ({})", clean(&own.reason)) };
    let mut text = format!("  {}  {state}{reason}\n", clean(&own.id));
    let changed = own.steps.iter().any(|s| s.kind == StepKind::DesiredStateEnforcement);
    if all || changed || own.state != ComplianceState::Compliant {
        for one in &own.steps {
            text += &step(one);
        }
    }
    for line in clean_lines(&own.output) {
        text += &format!("      {line}\n");
    }
    text
}

/// What a step is called.
pub fn step_name(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Validation => "validate",
        StepKind::DesiredStateCheck => "check",
        StepKind::DesiredStateEnforcement => "enforce",
        StepKind::DesiredStateCheckPostEnforcement => "post-check",
    }
}

fn step(own: &StepResult) -> String {
    let outcome = match own.outcome {
        StepOutcome::Succeeded => "ok",
        StepOutcome::Failed => "FAILED",
        StepOutcome::TimedOut => "TIMED OUT",
    };
    let message = if own.message.is_empty() { String::new() } else { format!("  {}", clean(&own.message)) };
    let mut text = format!("    {:<10} {outcome}, {}{message}\n", step_name(own.kind), millis(own.duration_ms));
    for line in evidence(own.evidence.as_ref()) {
        text += &format!("      {line}\n");
    }
    text
}

fn evidence(evidence: Option<&Evidence>) -> Vec<String> {
    match evidence {
        None => Vec::new(),
        Some(Evidence::Diff { text }) => clean_lines(text),
        Some(Evidence::State { old, new }) => vec![format!("{} → {}", or_dash(old), or_dash(new))],
        Some(Evidence::Output { end, text }) => std::iter::once(clean(end)).chain(clean_lines(text)).collect(),
    }
}

/// Secrets, without their values.
pub fn secrets(items: &[PolicySecret], now: Timestamp) -> Table {
    let mut rows = table(&["NAME", "VERSION", "SET", "BY"]);
    for own in items {
        rows.add_row([clean(&own.name), own.version.to_string(), ago(own.updated_at, now), clean(&own.updated_by)]);
    }
    rows
}
