//! How a rollout stands: its waves, zones, halts and gates.

use drydock_api::rest::{PatchJob, PatchRollout, PatchTask};
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::rollout::{Gate, PlannedWave, Rollout, RolloutMode, RolloutPlan, Wave, WavePhase, WaveSize, WaveStatus};
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

fn hosts(amount: Concurrency) -> String {
    match amount {
        Concurrency::Fixed(n) => plural(n as usize, "host"),
        Concurrency::Percent(p) => format!("{p}% of the hosts"),
    }
}

fn gate_words(gate: &Gate) -> String {
    let person = gate.approval.then(|| "a person".to_owned());
    let hook = gate.webhook.as_deref().map(clean);
    person.into_iter().chain(hook).collect::<Vec<_>>().join(" and ")
}

/// A rollout as it was asked for, before there is a plan.
pub fn asked(rollout: &Rollout) -> Vec<(&'static str, Option<String>)> {
    let waves: Vec<String> = rollout.waves.iter().map(wave).collect();
    let zones = if rollout.mode == RolloutMode::ZoneByZone { "zone by zone" } else { "all zones at the same time" };
    let budget = rollout.disruption_budget.map(|b| format!("{} at once in each zone, {zones}", hosts(b)));
    let undone = if rollout.undo_failed_wave { ", and the failed wave gets back what it had" } else { "" };
    let flag = |is: bool, words: &str| is.then(|| words.to_owned());
    let rest = if waves.is_empty() { "" } else { "; the rest" };
    vec![
        ("waves", some(&waves.join("; ")).map(|w| w + rest)),
        ("budget", budget.or_else(|| flag(rollout.mode == RolloutMode::ZoneByZone, zones))),
        (
            "halts",
            match (rollout.halt_after, rollout.waves.is_empty()) {
                (None, true) => flag(rollout.undo_failed_wave, "never by failures"),
                (None, false) => Some(format!("at the first failure of a wave{undone}")),
                (Some(n), _) => Some(format!("at {} failures of a wave{undone}", amount(n))),
            },
        ),
        ("approval", flag(rollout.require_approval, "another person approves each run before it begins")),
        ("windows", rollout.ignore_windows.as_ref().map(|why| format!("ignored: {}", clean(why)))),
        ("late hosts", rollout.catch_up_secs.map(|n| format!("may come back within {}", took(secs(n))))),
        ("content", flag(rollout.newest_content, "the newest, also in later waves")),
    ]
}

/// One wave as it was asked for: `canary (1 host, bakes 10m, then a person)`.
fn wave(wave: &Wave) -> String {
    let size = wave.size.map(|size| match size {
        WaveSize::Fixed(n) => hosts(Concurrency::Fixed(n)),
        WaveSize::Percent(p) => hosts(Concurrency::Percent(p)),
        WaveSize::Detect(d) => {
            let (whole, rest) = (d.confidence_permille / 10, d.confidence_permille % 10);
            let sure = if rest == 0 { format!("{whole}%") } else { format!("{whole}.{rest}%") };
            format!("as many as meet an update that fails on {}% of the hosts, {sure} sure", d.failure_percent)
        }
    });
    let select = wave.select.as_ref().map(|s| format!("of {}", clean(&super::deployment::filter(s))));
    let cover = wave.cover_kinds.then(|| "every kind of host".to_owned());
    let bake = (wave.bake_secs > 0).then(|| format!("bakes {}", took(secs(wave.bake_secs))));
    let gate = wave.gate.as_ref().map(|gate| format!("then {}", gate_words(gate)));
    let parts: Vec<String> = [size, select, cover, bake, gate].into_iter().flatten().collect();
    let name = clean(&wave.name);
    if parts.is_empty() { name } else { format!("{name} ({})", parts.join(", ")) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_told_as_it_was_asked_for() {
        let told = |json: &str| -> Vec<String> {
            let rollout: Rollout = serde_json::from_str(json).expect("a rollout");
            asked(&rollout).into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", text?))).collect()
        };
        assert_eq!(told("{}"), Vec::<String>::new());
        assert_eq!(told(r#"{"mode":"ZONE_BY_ZONE"}"#), ["budget: zone by zone"]);
        assert_eq!(
            told(
                r#"{"disruptionBudget":{"percent":10},"haltAfter":{"fixed":2},"undoFailedWave":true,"requireApproval":true,
                    "catchUpSecs":172800,"newestContent":true,"waves":[
                    {"name":"canary","size":{"fixed":1},"bakeSecs":600,"gate":{"approval":true}},
                    {"name":"sample","size":{"detect":{"failurePercent":30,"confidencePermille":999}},"coverKinds":true},
                    {"name":"eu","select":{"zones":["eu-1"]}}]}"#
            ),
            [
                "waves: canary (1 host, bakes 10m 00s, then a person); sample (as many as meet an update that fails on 30% of the \
                 hosts, 99.9% sure, every kind of host); eu (of {\"zones\":[\"eu-1\"]}); the rest",
                "budget: 10% of the hosts at once in each zone, all zones at the same time",
                "halts: at 2 failures of a wave, and the failed wave gets back what it had",
                "approval: another person approves each run before it begins",
                "late hosts: may come back within 48h 00m",
                "content: the newest, also in later waves",
            ]
        );
    }
}
