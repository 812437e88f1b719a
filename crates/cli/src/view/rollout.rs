//! How a rollout stands: its waves, zones, halts and gates.

use drydock_api::rest::{PatchJob, PatchRollout, PatchTask};
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::rollout::{Gate, PlannedWave, RolloutMode, RolloutPlan, WavePhase, WaveStatus};
use jiff::Timestamp;

use super::{facts, some};
use crate::text::{ago, clean, or_dash, plural, render, state_cell, table, took};

/// The shown name of a phase.
pub fn phase(phase: WavePhase) -> &'static str {
    match phase {
        WavePhase::Open => "OPEN",
        WavePhase::Baking => "BAKING",
        WavePhase::Gate => "GATE",
        WavePhase::Done => "DONE",
        WavePhase::Waiting => "WAITING",
    }
}

/// Nothing that anybody chose: one wave of all, no budget, nobody intervened.
pub fn is_plain(rollout: &PatchRollout) -> bool {
    rollout.plan.waves.len() < 2
        && rollout.plan.number < 2
        && rollout.zones.iter().all(|z| z.zone.budget.is_none())
        && rollout.control == drydock_domain::rollout::Control::default()
        && !rollout.plan.rollout.require_approval
        && rollout.undone_by.is_empty()
}

/// The name of a task's wave, where there are several.
pub fn wave_of<'a>(job: &'a PatchJob, task: &PatchTask) -> Option<&'a str> {
    let waves = &job.rollout.as_ref()?.plan.waves;
    waves.get(usize::from(task.wave)).filter(|_| waves.len() > 1).map(|w| w.name.as_str())
}

/// What people and the planner did, as facts of the job's page.
pub fn state(rollout: &PatchRollout, now: Timestamp) -> Vec<(&'static str, Option<String>)> {
    let control = &rollout.control;
    let needed = rollout.plan.rollout.require_approval;
    let approval = match &control.approved {
        Some(yes) => Some(format!("approved by {} {}", clean(&yes.by), ago(yes.at, now))),
        None if needed => Some("waits for another person: drydock patch approve JOB".to_owned()),
        None => None,
    };
    let undone: Vec<String> = rollout.undone_by.iter().map(ToString::to_string).collect();
    let parent = rollout.plan.parent.map(|p| format!(", after plan {p}")).unwrap_or_default();
    let plan = (!is_plain(rollout)).then(|| {
        let mode = if rollout.plan.rollout.mode == RolloutMode::ZoneByZone { ", zone by zone" } else { "" };
        format!("{}{parent}, {}{mode}", rollout.plan.number, plural(rollout.plan.waves.len(), "wave"))
    });
    vec![
        (
            "halted",
            control
                .halted
                .as_ref()
                .map(|h| format!("{}: {}", ago(h.at, now), clean(rollout.halted_because.as_deref().unwrap_or_default()))),
        ),
        ("paused", control.paused.as_ref().map(|p| format!("{} by {}", ago(p.since, now), clean(&p.by)))),
        ("approval", approval),
        ("undone by", some(&undone.join(", "))),
        ("windows", rollout.plan.rollout.ignore_windows.as_ref().map(|why| format!("ignored: {}", clean(why)))),
        ("plan", plan),
    ]
}

/// One line for each wave, for the live view.
pub fn lines(rollout: &PatchRollout, now: Timestamp) -> String {
    if is_plain(rollout) {
        return String::new();
    }
    let mut text = String::new();
    if let Some(why) = &rollout.halted_because {
        text += &format!("  HALTED: {}\n", clean(why));
    }
    if let Some(paused) = &rollout.control.paused {
        text += &format!("  PAUSED by {}\n", clean(&paused.by));
    }
    for status in &rollout.waves {
        let counts = format!("{} of {} done", status.succeeded + status.failed, status.hosts);
        let failed = if status.failed > 0 { format!(", {} failed", status.failed) } else { String::new() };
        let bakes = status.bakes_until.map(|until| format!(", bakes {}", left(until, now))).unwrap_or_default();
        text += &format!("  wave {}  {}  {counts}{failed}{bakes}\n", clean(&status.name), phase(status.phase));
    }
    text
}

fn left(until: Timestamp, now: Timestamp) -> String {
    format!("{} more", took(until.as_second().saturating_sub(now.as_second()).max(0)))
}

/// The tables of a job's page.
pub fn tables(rollout: &PatchRollout, now: Timestamp, colour: bool) -> String {
    if is_plain(rollout) {
        return String::new();
    }
    let mut rows = table(&["WAVE", "PHASE", "HOSTS", "PENDING", "AT WORK", "DONE", "FAILED", "HALTS AT", ""]);
    for (i, status) in rollout.waves.iter().enumerate() {
        let planned = rollout.plan.waves.get(i);
        rows.add_row([
            clean(&status.name).into(),
            state_cell(phase(status.phase)),
            status.hosts.to_string().into(),
            status.pending.to_string().into(),
            status.running.to_string().into(),
            status.succeeded.to_string().into(),
            status.failed.to_string().into(),
            planned.and_then(|w| w.halts_at).map_or_else(|| "-".to_owned(), |n| n.to_string()).into(),
            remark(rollout, i, planned, status, now).into(),
        ]);
    }
    let mut text = render(rows, 0, colour);
    if rollout.zones.len() > 1 || rollout.zones.iter().any(|z| z.zone.budget.is_some()) {
        let mut rows = table(&["ZONE", "REGION", "HOSTS", "AT WORK", "FAILED", "OTHER JOBS", "IN USE", "BUDGET"]);
        for zone in &rollout.zones {
            rows.add_row([
                or_dash(&zone.zone.zone),
                or_dash(&zone.zone.region),
                zone.zone.hosts.to_string(),
                zone.running.to_string(),
                zone.failed.to_string(),
                zone.others.to_string(),
                zone.in_use.to_string(),
                zone.zone.budget.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            ]);
        }
        text += &format!("\n{}", render(rows, 0, colour));
    }
    text
}

/// What is to be said of a wave besides numbers.
fn remark(rollout: &PatchRollout, i: usize, planned: Option<&PlannedWave>, status: &WaveStatus, now: Timestamp) -> String {
    let mut parts = Vec::new();
    match status.bakes_until {
        Some(until) => parts.push(format!("bakes {}", left(until, now))),
        None => parts.extend(planned.filter(|w| w.bake_secs > 0).map(|w| format!("bakes {}", took(secs(w.bake_secs))))),
    }
    let said = u16::try_from(i).ok().and_then(|i| rollout.control.gates.get(&i));
    if let Some(gate) = planned.and_then(|w| w.gate.as_ref()) {
        match said.and_then(|s| s.approved.as_ref()) {
            Some(yes) => parts.push(format!("approved by {}", clean(&yes.by))),
            None if gate.approval => parts.push("needs approval".to_owned()),
            None => {}
        }
        match said.and_then(|s| s.webhook.as_ref()) {
            Some(answer) if answer.passed => parts.push("webhook said yes".to_owned()),
            Some(answer) => parts.push(format!("webhook said no: {}", clean(&answer.detail))),
            None if gate.webhook.is_some() => parts.push("asks its webhook".to_owned()),
            None => {}
        }
    }
    parts.join(", ")
}

fn secs(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn amount(amount: Concurrency) -> String {
    match amount {
        Concurrency::Fixed(n) => n.to_string(),
        Concurrency::Percent(p) => format!("{p}%"),
    }
}

fn gate_words(gate: &Gate) -> String {
    let person = gate.approval.then(|| "a person".to_owned());
    let hook = gate.webhook.as_deref().map(clean);
    person.into_iter().chain(hook).collect::<Vec<_>>().join(" and ")
}

/// One plan.
pub fn plan(plan: &RolloutPlan, now: Timestamp, colour: bool) -> String {
    let mut rows = table(&["WAVE", "HOSTS", "HALTS AT", "BAKES", "GATE"]);
    for wave in &plan.waves {
        rows.add_row([
            clean(&wave.name),
            wave.hosts.to_string(),
            wave.halts_at.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            if wave.bake_secs > 0 { took(secs(wave.bake_secs)) } else { "-".to_owned() },
            wave.gate.as_ref().map_or_else(|| "-".to_owned(), gate_words),
        ]);
    }
    let zones: Vec<String> = plan
        .zones
        .iter()
        .map(|z| {
            let budget = z.budget.map(|b| format!(", {b} at once")).unwrap_or_default();
            format!("{} ({}{budget})", or_dash(&z.zone), plural(z.hosts as usize, "host"))
        })
        .collect();
    format!("Plan {}\n", plan.number)
        + &facts(&[
            ("parent", plan.parent.map(|p| p.to_string())),
            ("made", Some(format!("{}: {}", ago(plan.made_at, now), clean(&plan.why)))),
            ("seed", Some(plan.seed.to_string())),
            ("budget", plan.rollout.disruption_budget.map(amount)),
            ("zones", some(&zones.join(", "))),
        ])
        + &render(rows, 2, colour)
}
