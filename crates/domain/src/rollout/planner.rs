//! Who goes now: for every pending host of a job *go*, or *hold, because*. Pure: a plan, what is known of its hosts
//! (perhaps stale) and the time; asked again each turn, never remembered.
//!
//! What it keeps to, whatever it is told: no more hosts disrupted in a zone than its budget, all jobs together; nobody
//! before their wave; nobody outside their window or in a freeze; nobody while the job is paused or halted.
//! [`super::lint`] checks each answer again by other means.
//!
//! Absent: making plans ([`super::layout`]), windows' calendars ([`super::window`]), who cancels or gives up a host.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::control::{Control, GateAnswers, Halt, HaltCause};
use super::layout::{PlannedWave, RolloutPlan};
use super::spec::RolloutMode;
use crate::ids::TaskId;
use crate::instance::Reachability;
use crate::patch::admission::{Admission, WaitingOn};

/// What decides.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The job's present plan.
    pub plan: &'a RolloutPlan,
    /// What people and the planner did to the job.
    pub control: &'a Control,
    /// Each of the job's hosts once, also those that are done; in the order in which they are to go.
    pub hosts: &'a [HostFacts<'a>],
    /// Hosts disrupted by anything but this job, one entry per zone of the plan; absent entries are 0.
    pub others: &'a [u32],
    /// Hosts of the whole job at once; absent = no such limit.
    pub at_once: Option<u32>,
    /// The time.
    pub now: Timestamp,
}

/// One host of the job.
#[derive(Debug, Clone)]
pub struct HostFacts<'a> {
    /// Its task.
    pub task: TaskId,
    /// Its wave in the plan.
    pub wave: u16,
    /// Its zone: place in the plan's list.
    pub zone: usize,
    /// Where it stands.
    pub state: HostState,
    /// Is it there?
    pub reachability: Reachability,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// An unfinished task of the same host in another job that goes first.
    pub other_task: Option<TaskId>,
    /// Why its calendar forbids it now; absent = it may be worked at.
    pub closed: Option<&'a Closed>,
    /// Pending, and silent for longer than the server's patience, but the job lets it come back later.
    pub is_straggler: bool,
}

/// Where a host stands in the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// Not let go yet.
    Pending,
    /// Let go, not done: disrupted.
    Running,
    /// Done.
    Ended {
        /// How.
        how: Ended,
        /// When.
        at: Timestamp,
    },
}

/// How a host's part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As asked.
    Succeeded,
    /// As asked, but since then it fell silent or has new failed units, before the bake time was over.
    Decayed,
    /// With a failure, or not in time: keeps its place in the disruption budget.
    Failed,
    /// It was never there: a failure of the wave, no disruption.
    Missing,
    /// Cancelled.
    Canceled,
}

/// Why a host's calendar forbids work on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Outside its maintenance window.
    Window {
        /// The window that opens next (or any, when none does).
        name: String,
        /// When; absent = never again.
        opens_at: Option<Timestamp>,
    },
    /// A freeze.
    Frozen {
        /// The freeze calendar.
        name: String,
        /// Until when.
        until: Timestamp,
    },
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// For every pending host, in the order given.
    pub answers: Vec<(TaskId, Admission)>,
    /// The job is to halt now.
    pub halt: Option<Halt>,
    /// Each wave of the plan.
    pub waves: Vec<WaveStatus>,
    /// Waves whose webhook is to be asked now.
    pub webhooks_due: Vec<u16>,
    /// The next moment at which time alone changes an answer.
    pub wake_at: Option<Timestamp>,
}

/// How far a wave is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: WavePhase,
    /// Hosts of it, count.
    pub hosts: u32,
    /// Not let go.
    pub pending: u32,
    /// At work.
    pub running: u32,
    /// Done as asked.
    pub succeeded: u32,
    /// Failed, timed out, unreachable, or bad after the fact; those that a person forgave are not counted.
    pub failed: u32,
    /// When its bake time ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bakes_until: Option<Timestamp>,
}

/// Where a wave stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WavePhase {
    /// Its hosts may go.
    Open,
    /// Its hosts are done; its bake time runs.
    Baking,
    /// Its gate has not said yes.
    Gate,
    /// Over.
    Done,
    /// An earlier one is not over.
    Waiting,
}

/// Decides for every pending host.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let tallies = tally(facts);
    let (waves, current, webhooks_due) = walk(facts, &tallies);
    let zones = zone_use(facts);
    let mut decision = Decision { waves, webhooks_due, ..Decision::default() };
    if facts.control.halted.is_none() {
        decision.halt = halt(facts, &tallies, &zones, current);
    }
    if decision.halt.is_some() {
        decision.webhooks_due.clear();
    }
    let barred = barred(facts, decision.halt.as_ref());
    let turn = zone_turn(facts, current);
    let mut room = Room { zones, running: running(facts.hosts) };
    for host in facts.hosts.iter().filter(|h| h.state == HostState::Pending) {
        let why = barred
            .clone()
            .or_else(|| before_its_wave(facts, &decision.waves, current, host))
            .or_else(|| before_its_zone(facts, turn, host))
            .or_else(|| not_now(host))
            .or_else(|| room.full(facts, host));
        let answer = why.map_or(Admission::Admit, Admission::Hold);
        if answer == Admission::Admit {
            room.take(host.zone);
        }
        decision.answers.push((host.task, answer));
    }
    decision.wake_at = wake_at(&decision);
    decision
}

/// What is known of one wave's hosts.
#[derive(Debug, Clone, Default)]
struct Tally {
    hosts: u32,
    pending: u32,
    running: u32,
    succeeded: u32,
    failed: u32,
    /// Pending hosts that hold up the next wave.
    awaited: u32,
    last_end: Option<Timestamp>,
}

fn tally(facts: &Facts<'_>) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); facts.plan.waves.len()];
    for host in facts.hosts {
        let Some(tally) = tallies.get_mut(usize::from(host.wave)) else { continue };
        tally.hosts += 1;
        match host.state {
            HostState::Pending => {
                tally.pending += 1;
                tally.awaited += u32::from(!host.is_straggler);
            }
            HostState::Running => tally.running += 1,
            HostState::Ended { how, at } => {
                tally.last_end = tally.last_end.max(Some(at));
                tally.succeeded += u32::from(how == Ended::Succeeded);
                tally.failed += u32::from(is_failure(how) && !is_forgiven(facts, host.task, how, at));
            }
        }
    }
    tallies
}

fn is_failure(how: Ended) -> bool {
    matches!(how, Ended::Failed | Ended::Missing | Ended::Decayed)
}

/// A decayed host ended well: only that a person saw it so forgives it.
fn is_forgiven(facts: &Facts<'_>, task: TaskId, how: Ended, at: Timestamp) -> bool {
    match how {
        Ended::Decayed => facts.control.forgiven_decayed.contains(&task),
        _ => is_before_resume(facts.control, at),
    }
}

fn is_before_resume(control: &Control, at: Timestamp) -> bool {
    control.forgiven_until.is_some_and(|until| at <= until)
}

/// The waves in order, the first that is not over, and the webhooks to ask.
fn walk(facts: &Facts<'_>, tallies: &[Tally]) -> (Vec<WaveStatus>, usize, Vec<u16>) {
    let mut current = None;
    let mut due = Vec::new();
    let mut out = Vec::with_capacity(tallies.len());
    for (i, (wave, tally)) in facts.plan.waves.iter().zip(tallies).enumerate() {
        let bakes_until = tally.last_end.filter(|_| wave.bake_secs > 0).map(|at| plus(at, wave.bake_secs));
        let is_last = i + 1 == tallies.len();
        let mut phase = if current.is_some() {
            WavePhase::Waiting
        } else if tally.awaited + tally.running > 0 {
            WavePhase::Open
        } else if !is_last && bakes_until.is_some_and(|until| facts.now < until) {
            WavePhase::Baking
        } else if !is_last && tally.hosts > 0 && !gate_passed(facts.control, i, wave) {
            WavePhase::Gate
        } else {
            WavePhase::Done
        };
        if is_last && phase == WavePhase::Done && tally.pending > 0 {
            phase = WavePhase::Open;
        }
        if phase == WavePhase::Gate && webhook_due(facts.control, i, wave) {
            due.extend(u16::try_from(i));
        }
        if phase != WavePhase::Done && phase != WavePhase::Waiting {
            current = Some(i);
        }
        out.push(WaveStatus {
            name: wave.name.clone(),
            phase,
            hosts: tally.hosts,
            pending: tally.pending,
            running: tally.running,
            succeeded: tally.succeeded,
            failed: tally.failed,
            bakes_until: bakes_until.filter(|_| phase == WavePhase::Baking),
        });
    }
    (out, current.unwrap_or(tallies.len()), due)
}

fn plus(at: Timestamp, secs: u64) -> Timestamp {
    let secs = i64::try_from(secs).unwrap_or(i64::MAX);
    at.checked_add(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX)
}

fn answers_of(control: &Control, wave: usize) -> Option<&GateAnswers> {
    u16::try_from(wave).ok().and_then(|w| control.gates.get(&w))
}

fn gate_passed(control: &Control, index: usize, wave: &PlannedWave) -> bool {
    let Some(gate) = &wave.gate else { return true };
    let said = answers_of(control, index);
    let approved = !gate.approval || said.is_some_and(|a| a.approved.is_some());
    let hook = gate.webhook.is_none() || said.and_then(|a| a.webhook.as_ref()).is_some_and(|w| w.passed);
    approved && hook
}

/// A webhook that has not said yes; one that said no has halted the job, and is asked anew once it is resumed.
fn webhook_due(control: &Control, index: usize, wave: &PlannedWave) -> bool {
    let hooked = wave.gate.as_ref().is_some_and(|g| g.webhook.is_some());
    hooked && !answers_of(control, index).and_then(|a| a.webhook.as_ref()).is_some_and(|w| w.passed)
}

/// Places taken in each zone: at work, failed for good, and other jobs'.
#[derive(Debug, Clone, Default)]
struct ZoneUse {
    in_use: u32,
    failed: u32,
}

fn zone_use(facts: &Facts<'_>) -> Vec<ZoneUse> {
    let other = |i: usize| facts.others.get(i).copied().unwrap_or_default();
    let mut zones: Vec<ZoneUse> = (0..facts.plan.zones.len()).map(|i| ZoneUse { in_use: other(i), failed: 0 }).collect();
    for host in facts.hosts {
        let Some(zone) = zones.get_mut(host.zone) else { continue };
        match host.state {
            HostState::Running => zone.in_use += 1,
            HostState::Ended { how: how @ (Ended::Failed | Ended::Decayed), at } if !is_forgiven(facts, host.task, how, at) => {
                zone.in_use += 1;
                zone.failed += 1;
            }
            _ => {}
        }
    }
    zones
}

fn running(hosts: &[HostFacts<'_>]) -> u32 {
    u32::try_from(hosts.iter().filter(|h| h.state == HostState::Running).count()).unwrap_or(u32::MAX)
}

fn halt(facts: &Facts<'_>, tallies: &[Tally], zones: &[ZoneUse], current: usize) -> Option<Halt> {
    let left: u32 = tallies.iter().map(|t| t.pending).sum();
    let waves = facts.plan.waves.iter().zip(tallies).enumerate();
    let by_failures = waves.clone().find_map(|(i, (wave, tally))| {
        let limit = wave.halts_at.filter(|limit| tally.failed >= *limit)?;
        Some((i, HaltCause::Failures { wave: wave.name.clone(), failed: tally.failed, limit }))
    });
    let by_gate = || {
        waves.clone().find_map(|(i, (wave, _))| {
            let no =
                answers_of(facts.control, i)?.webhook.as_ref().filter(|w| !w.passed && !is_before_resume(facts.control, w.at))?;
            Some((i, HaltCause::GateRefused { wave: wave.name.clone(), detail: no.detail.clone() }))
        })
    };
    let by_budget = || {
        let eaten = facts.plan.zones.iter().zip(zones).enumerate().find_map(|(i, (zone, used))| {
            let budget = zone.budget.filter(|b| used.failed >= *b)?;
            let cause = HaltCause::BudgetEaten { zone: zone.zone.clone(), failed: used.failed, budget };
            stops_the_job(facts, zones, current, i).then_some(cause)
        })?;
        Some((current, eaten))
    };
    // Nobody is left to be held back: how the job ended says it all, and there is nothing to resume.
    let (wave, cause) = by_failures.or_else(by_gate).or_else(by_budget).filter(|_| left > 0)?;
    Some(Halt { at: facts.now, wave: u16::try_from(wave).ok().filter(|_| wave < tallies.len()), cause })
}

/// Zone by zone, an eaten budget stops the job. With all zones at once it stops its zone, and the job when nobody can go
/// on anywhere: in the zones whose budget is left, nobody of the waves up to the present one is.
fn stops_the_job(facts: &Facts<'_>, zones: &[ZoneUse], current: usize, zone: usize) -> bool {
    // Who is away and may come back late keeps nobody waiting.
    let waits = |h: &&HostFacts<'_>| h.state == HostState::Pending && !h.is_straggler && usize::from(h.wave) <= current;
    let left_in = |z: usize| facts.hosts.iter().filter(waits).any(|h| h.zone == z);
    match facts.plan.rollout.mode {
        RolloutMode::ZoneByZone => true,
        RolloutMode::ConcurrentZones => {
            let eaten = |z: usize| facts.plan.zones[z].budget.is_some_and(|b| zones[z].failed >= b);
            left_in(zone) && running(facts.hosts) == 0 && (0..zones.len()).all(|z| eaten(z) || !left_in(z))
        }
    }
}

/// What holds every host of the job.
fn barred(facts: &Facts<'_>, halt: Option<&Halt>) -> Option<WaitingOn> {
    let control = facts.control;
    if let Some(halt) = halt.or(control.halted.as_ref()) {
        return Some(WaitingOn::Halted { why: halt.cause.describe() });
    }
    if let Some(paused) = &control.paused {
        return Some(WaitingOn::Paused { by: paused.by.clone() });
    }
    (facts.plan.rollout.require_approval && control.approved.is_none()).then_some(WaitingOn::Approval { wave: None })
}

fn before_its_wave(facts: &Facts<'_>, waves: &[WaveStatus], current: usize, host: &HostFacts<'_>) -> Option<WaitingOn> {
    if usize::from(host.wave) <= current {
        return None;
    }
    let (blocking, planned) = (waves.get(current)?, facts.plan.waves.get(current)?);
    let wave = blocking.name.clone();
    Some(match blocking.phase {
        WavePhase::Baking => WaitingOn::Bake { wave, until: blocking.bakes_until.unwrap_or(facts.now) },
        WavePhase::Gate => {
            let person = planned.gate.as_ref().is_some_and(|g| g.approval)
                && answers_of(facts.control, current).is_none_or(|a| a.approved.is_none());
            if person { WaitingOn::Approval { wave: Some(wave) } } else { WaitingOn::Gate { wave } }
        }
        _ => WaitingOn::EarlierWave { wave },
    })
}

/// The zone whose turn it is in the present wave; `None`: any.
fn zone_turn(facts: &Facts<'_>, current: usize) -> Option<usize> {
    if facts.plan.rollout.mode != RolloutMode::ZoneByZone {
        return None;
    }
    let zones = &facts.plan.zones;
    let mut targets = vec![0_u32; zones.len()];
    let (mut unfinished, mut at_work) = (vec![false; zones.len()], vec![false; zones.len()]);
    let mine = |h: &&HostFacts<'_>| usize::from(h.wave) == current && h.zone < zones.len();
    for host in facts.hosts.iter().filter(mine) {
        targets[host.zone] += 1;
        match host.state {
            HostState::Pending => unfinished[host.zone] |= !host.is_straggler,
            HostState::Running => at_work[host.zone] = true,
            HostState::Ended { .. } => {}
        }
    }
    let mut regions: BTreeMap<&str, u32> = BTreeMap::new();
    zones.iter().zip(&targets).for_each(|(zone, n)| *regions.entry(&zone.region).or_default() += n);
    let mut order: Vec<usize> = (0..zones.len()).collect();
    order.sort_by_key(|i| {
        let zone = &zones[*i];
        (regions.get(zone.region.as_str()).copied(), &zone.region, targets[*i], &zone.zone)
    });
    // A new plan may have another order: the zone that has begun is done first.
    let begun = order.iter().copied().find(|i| at_work[*i]);
    begun.or_else(|| order.into_iter().find(|i| unfinished[*i]))
}

fn before_its_zone(facts: &Facts<'_>, turn: Option<usize>, host: &HostFacts<'_>) -> Option<WaitingOn> {
    // Who comes back late goes when it is there: its zone's turn may be over.
    let turn = turn.filter(|turn| *turn != host.zone && !host.is_straggler)?;
    facts.plan.zones.get(turn).map(|zone| WaitingOn::EarlierZone { zone: zone.zone.clone() })
}

/// What about the host itself forbids it.
fn not_now(host: &HostFacts<'_>) -> Option<WaitingOn> {
    match host.closed {
        Some(Closed::Frozen { name, until }) => return Some(WaitingOn::Frozen { calendar: name.clone(), until: *until }),
        Some(Closed::Window { name, opens_at }) => {
            return Some(WaitingOn::Window { window: name.clone(), opens_at: *opens_at });
        }
        None => {}
    }
    if let Some(task) = host.other_task {
        return Some(WaitingOn::OtherTask { task });
    }
    (host.reachability != Reachability::Online).then_some(WaitingOn::Unreachable { since: host.last_seen })
}

/// The places that are left as hosts are let go.
struct Room {
    zones: Vec<ZoneUse>,
    running: u32,
}

impl Room {
    fn full(&self, facts: &Facts<'_>, host: &HostFacts<'_>) -> Option<WaitingOn> {
        let used = self.zones.get(host.zone).map_or(0, |z| z.in_use);
        if let Some(zone) = facts.plan.zones.get(host.zone)
            && let Some(limit) = zone.budget.filter(|b| used >= *b)
        {
            return Some(WaitingOn::Budget { in_use: used, limit, zone: Some(zone.zone.clone()) });
        }
        let limit = facts.at_once.filter(|limit| self.running >= *limit)?;
        Some(WaitingOn::Budget { in_use: self.running, limit, zone: None })
    }

    fn take(&mut self, zone: usize) {
        self.running += 1;
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.in_use += 1;
        }
    }
}

fn wake_at(decision: &Decision) -> Option<Timestamp> {
    let holds = decision.answers.iter().filter_map(|(_, answer)| match answer {
        Admission::Hold(WaitingOn::Window { opens_at, .. }) => *opens_at,
        Admission::Hold(WaitingOn::Frozen { until, .. }) => Some(*until),
        _ => None,
    });
    holds.chain(decision.waves.iter().filter_map(|w| w.bakes_until)).min()
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
