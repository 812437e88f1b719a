//! A second look at every decision of the [`super::planner`], by other means than the planner's: it counts, host by host,
//! what must be true of whoever is let go, and knows nothing of how the planner came to it. A finding means a defect:
//! nothing of that decision is acted on and the job halts ([`super::HaltCause::Lint`]).
//!
//! Absent: judging whether a decision is *good*. A planner that holds everybody with true reasons has no finding.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::control::Control;
use super::planner::{Decision, Ended, Facts, HostFacts, HostState};
use super::spec::RolloutMode;
use crate::ids::TaskId;
use crate::instance::Reachability;
use crate::patch::admission::{Admission, WaitingOn};

/// Findings told of one decision, count; one is enough to refuse it.
const FINDINGS_MAX: usize = 20;

/// What is wrong with a decision; nothing is, when empty.
pub fn lint(facts: &Facts<'_>, decision: &Decision) -> Vec<String> {
    let mut found = Vec::new();
    let answered = answers(facts, decision, &mut found);
    let admitted: Vec<&HostFacts<'_>> =
        answered.iter().filter(|(_, answer)| **answer == Admission::Admit).map(|(host, _)| *host).collect();
    for (host, answer) in &answered {
        if let Admission::Hold(why) = answer {
            hold(facts, decision, host, why, &mut found);
        }
        if found.len() >= FINDINGS_MAX {
            break;
        }
    }
    if !admitted.is_empty() {
        barred(facts, decision, &mut found);
        hosts_themselves(&admitted, &mut found);
        budgets(facts, &admitted, &mut found);
        wave_order(facts, &admitted, &mut found);
        zone_order(facts, &admitted, &mut found);
    }
    found.truncate(FINDINGS_MAX);
    found
}

/// Every pending host with its one answer, in the order given.
fn answers<'f>(facts: &'f Facts<'f>, decision: &'f Decision, found: &mut Vec<String>) -> Vec<(&'f HostFacts<'f>, &'f Admission)> {
    let mut out = Vec::with_capacity(decision.answers.len());
    let mut given = decision.answers.iter();
    for host in facts.hosts.iter().filter(|h| h.state == HostState::Pending) {
        match given.next() {
            Some((task, answer)) if *task == host.task => out.push((host, answer)),
            Some((task, _)) => {
                found.push(format!("task {task} has the answer that belongs to pending task {}", host.task));
                return out;
            }
            None => {
                found.push(format!("pending task {} has no answer", host.task));
                return out;
            }
        }
    }
    if let Some((task, _)) = given.next() {
        found.push(format!("task {task} has an answer and is not pending, or has two"));
    }
    let mut seen: HashSet<TaskId> = HashSet::new();
    let gone = out.iter().filter(|(_, answer)| **answer == Admission::Admit);
    if let Some((twice, _)) = gone.into_iter().find(|(host, _)| !seen.insert(host.task)) {
        found.push(format!("task {} is let go twice", twice.task));
    }
    out
}

/// Nobody goes while the whole job is held.
fn barred(facts: &Facts<'_>, decision: &Decision, found: &mut Vec<String>) {
    let Control { paused, halted, approved, .. } = facts.control;
    if halted.is_some() {
        found.push("a host is let go while the job is halted".to_owned());
    }
    if decision.halt.is_some() {
        found.push("a host is let go by the same decision that halts the job".to_owned());
    }
    if paused.is_some() {
        found.push("a host is let go while the job is paused".to_owned());
    }
    if facts.plan.rollout.require_approval && approved.is_none() {
        found.push("a host is let go before the job is approved".to_owned());
    }
    let failures = |wave: usize| facts.hosts.iter().filter(|h| usize::from(h.wave) == wave && failed(facts, h, true)).count();
    for (i, wave) in facts.plan.waves.iter().enumerate() {
        if let Some(limit) = wave.halts_at.filter(|limit| failures(i) >= *limit as usize) {
            found.push(format!("a host is let go although wave {} has the {limit} failures that halt the job", wave.name));
        }
    }
}

/// Counts as failed and no person has forgiven it. A host that was never there is a failure and disrupts nothing.
fn failed(facts: &Facts<'_>, host: &HostFacts<'_>, or_missing: bool) -> bool {
    let HostState::Ended { how, at } = host.state else { return false };
    let counts = match how {
        Ended::Failed | Ended::Decayed => true,
        Ended::Missing => or_missing,
        Ended::Succeeded | Ended::Canceled => false,
    };
    let forgiven = match how {
        Ended::Decayed => facts.control.forgiven_decayed.iter().any(|task| *task == host.task),
        _ => matches!(facts.control.forgiven_until, Some(until) if until >= at),
    };
    counts && !forgiven
}

fn hosts_themselves(admitted: &[&HostFacts<'_>], found: &mut Vec<String>) {
    for host in admitted {
        if let Some(closed) = host.closed {
            found.push(format!("task {} is let go although its calendar is closed: {closed:?}", host.task));
        }
        if host.reachability != Reachability::Online {
            found.push(format!("task {} is let go although its host is not reachable", host.task));
        }
        if let Some(other) = host.other_task {
            found.push(format!("task {} is let go although task {other} of the same host goes first", host.task));
        }
        if found.len() >= FINDINGS_MAX {
            return;
        }
    }
}

/// Places in each zone, and of the whole job.
fn budgets(facts: &Facts<'_>, admitted: &[&HostFacts<'_>], found: &mut Vec<String>) {
    for (index, zone) in facts.plan.zones.iter().enumerate() {
        let new = admitted.iter().filter(|h| h.zone == index).count() as u64;
        let (Some(budget), true) = (zone.budget, new > 0) else { continue };
        let mine = facts.hosts.iter().filter(|h| h.zone == index);
        let own = mine.filter(|h| h.state == HostState::Running || failed(facts, h, false)).count() as u64;
        let others = facts.others.get(index).map_or(0, |n| u64::from(*n));
        if own + others + new > u64::from(budget) {
            found.push(format!(
                "zone {:?} would have {own} disrupted hosts of this job, {others} of others and {new} let go now; its budget \
                 is {budget}",
                zone.zone
            ));
        }
    }
    if let Some(lost) = admitted.iter().find(|h| h.zone >= facts.plan.zones.len()) {
        found.push(format!("task {} is let go in a zone that the plan does not have", lost.task));
    }
    let running = facts.hosts.iter().filter(|h| h.state == HostState::Running).count();
    if let Some(limit) = facts.at_once.filter(|limit| running + admitted.len() > *limit as usize) {
        found.push(format!("{running} hosts are at work and {} are let go; the job may have {limit} at once", admitted.len()));
    }
}

/// Nobody before their wave: every earlier one is ended, has baked, and its gate said yes.
fn wave_order(facts: &Facts<'_>, admitted: &[&HostFacts<'_>], found: &mut Vec<String>) {
    let latest = admitted.iter().map(|h| usize::from(h.wave)).max().unwrap_or(0);
    if latest >= facts.plan.waves.len() {
        found.push(format!("a host of wave {latest} is let go; the plan has {} waves", facts.plan.waves.len()));
    }
    for (index, wave) in facts.plan.waves.iter().enumerate().take(latest) {
        let members: Vec<_> = facts.hosts.iter().filter(|h| usize::from(h.wave) == index).collect();
        if members.is_empty() {
            continue;
        }
        let mut ends = Vec::new();
        for member in members {
            match member.state {
                HostState::Ended { at, .. } => ends.push(at),
                HostState::Pending if member.is_straggler => {}
                HostState::Pending | HostState::Running => {
                    found.push(format!("a host is let go before wave {} is done: task {} is not", wave.name, member.task));
                    return;
                }
            }
        }
        let bake = SignedDuration::from_secs(i64::try_from(wave.bake_secs).unwrap_or(i64::MAX));
        let bakes = |at: &Timestamp| at.checked_add(bake).map_or(true, |until| until > facts.now);
        if wave.bake_secs > 0 && ends.iter().any(bakes) {
            found.push(format!("a host is let go while wave {} bakes", wave.name));
        }
        let said = u16::try_from(index).ok().and_then(|i| facts.control.gates.get(&i)).cloned().unwrap_or_default();
        let gate = wave.gate.clone().unwrap_or_default();
        if gate.approval && said.approved.is_none() {
            found.push(format!("a host is let go before anybody approved what follows wave {}", wave.name));
        }
        if gate.webhook.is_some() && !said.webhook.is_some_and(|w| w.passed) {
            found.push(format!("a host is let go before the gate after wave {} said yes", wave.name));
        }
    }
}

/// Zone by zone: one that has begun goes on, and another begins when nobody is at work elsewhere and no zone with hosts
/// left goes before it.
fn zone_order(facts: &Facts<'_>, admitted: &[&HostFacts<'_>], found: &mut Vec<String>) {
    if facts.plan.rollout.mode != RolloutMode::ZoneByZone {
        return;
    }
    // Who comes back late goes when it is there.
    let mut turns: Vec<(u16, usize)> = admitted.iter().filter(|h| !h.is_straggler).map(|h| (h.wave, h.zone)).collect();
    turns.sort_unstable();
    turns.dedup();
    for (wave, zone) in turns {
        // In each zone: the wave's hosts, those at work, those that wait.
        let mut by_zone: BTreeMap<usize, [u32; 3]> = BTreeMap::new();
        for host in facts.hosts.iter().filter(|h| h.wave == wave) {
            let [all, at_work, waits] = by_zone.entry(host.zone).or_default();
            *all += 1;
            *at_work += u32::from(host.state == HostState::Running);
            *waits += u32::from(host.state == HostState::Pending && !host.is_straggler);
        }
        let Some(own) = facts.plan.zones.get(zone) else { continue };
        let in_region = |region: &str| {
            let zones = by_zone.iter().filter(|(z, _)| facts.plan.zones.get(**z).is_some_and(|z| z.region == region));
            zones.map(|(_, [all, ..])| *all).sum::<u32>()
        };
        let count = |z: usize| by_zone.get(&z).map_or(0, |[all, ..]| *all);
        let begun = by_zone.get(&zone).is_some_and(|[_, at_work, _]| *at_work > 0);
        for (other, planned) in facts.plan.zones.iter().enumerate() {
            let [_, at_work, waits] = by_zone.get(&other).copied().unwrap_or_default();
            let first = if planned.region == own.region {
                (count(other), &planned.zone) < (count(zone), &own.zone)
            } else {
                (in_region(&planned.region), &planned.region) < (in_region(&own.region), &own.region)
            };
            let blocks = match (begun, at_work > 0) {
                (true, false) => false,
                (false, true) => true,
                (true, true) => first,
                (false, false) => first && waits > 0,
            };
            if other != zone && blocks {
                found.push(format!("a host of zone {:?} is let go before zone {:?} is done", own.zone, planned.zone));
            }
        }
    }
}

/// A hold has words, and they are true.
fn hold(facts: &Facts<'_>, decision: &Decision, host: &HostFacts<'_>, why: &WaitingOn, found: &mut Vec<String>) {
    let control = facts.control;
    let earlier = |name: &String| {
        let place = facts.plan.waves.iter().position(|w| w.name == *name);
        place.is_some_and(|at| at < usize::from(host.wave))
    };
    let is_true = match why {
        WaitingOn::Budget { in_use, limit, .. } => in_use >= limit,
        WaitingOn::Unreachable { .. } => host.reachability != Reachability::Online,
        WaitingOn::OtherTask { task } => host.other_task == Some(*task),
        WaitingOn::EarlierWave { wave } | WaitingOn::Gate { wave } => earlier(wave),
        WaitingOn::Bake { wave, until } => earlier(wave) && *until > facts.now,
        WaitingOn::Approval { wave: Some(wave) } => earlier(wave),
        WaitingOn::Approval { wave: None } => facts.plan.rollout.require_approval && control.approved.is_none(),
        WaitingOn::EarlierZone { zone } => {
            facts.plan.rollout.mode == RolloutMode::ZoneByZone
                && facts.plan.zones.iter().position(|z| z.zone == *zone).is_some_and(|at| at != host.zone)
        }
        WaitingOn::Window { .. } | WaitingOn::Frozen { .. } => host.closed.is_some(),
        WaitingOn::Halted { why } => !why.trim().is_empty() && (control.halted.is_some() || decision.halt.is_some()),
        WaitingOn::Paused { .. } => control.paused.is_some(),
    };
    if why.describe().trim().is_empty() || !is_true {
        found.push(format!("task {} is held for a reason that is empty or not true: {}", host.task, why.describe()));
    }
}
