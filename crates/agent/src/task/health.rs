//! Health checks, made until they all hold, then until they have held long enough: the health step of patch tasks, and the
//! keeper of policies after a new revision. They change nothing, so interrupted ones are made again from their beginning.

use std::time::Duration;

use drydock_domain::patch::report::{Output, StepOutcome};
use drydock_domain::rollout::health::{HealthCheck, HealthChecks, HealthResult};
use jiff::Timestamp;

use super::executor::{Acted, Executor};
use super::host::{Host, Probe, Trouble};
use super::machine::{Event, StopReason};
use super::report;
use crate::ledger::Entry;

/// Pause between two rounds of checks.
const POLL: Duration = Duration::from_secs(2);
/// One connection, request or question to systemd.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// The least time a check gets when the host's time to become healthy ends.
const PROBE_LIMIT_MIN: Duration = Duration::from_secs(1);

/// Whose health is watched, and for whom.
pub trait Patient {
    /// Why watching ends early.
    type Stop;
    /// The clock.
    fn now(&self) -> Timestamp;
    /// A clock that nobody sets.
    fn monotonic(&self) -> Duration;
    /// Pauses.
    fn pause(&mut self, time: Duration);
    /// Makes a check that needs no comparison, the `index`th.
    fn probe(&mut self, index: usize, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble>;
    /// The init system is still starting the host.
    fn starting(&mut self) -> bool;
    /// Units that are failed now, or why that cannot be told.
    fn failed_units(&mut self) -> Result<Vec<String>, String>;
    /// Units that were failed before anything was changed, or why that is not known.
    fn failed_before(&self) -> Result<Vec<String>, String>;
    /// Each check's newest result; `first` is what the first one that does not hold says.
    fn told(&mut self, results: Vec<HealthResult>, first: Option<&str>);
    /// Nobody wants to know any more.
    fn stops(&mut self) -> Option<Self::Stop>;
}

/// How watching ended.
pub enum End<S> {
    /// They held for as long as they have to; in words.
    Well(String),
    /// They did not.
    Ill {
        /// Which, and for how long.
        words: String,
        /// What the command printed that failed.
        output: Output,
        /// Its exit code.
        exit_code: Option<i32>,
    },
    /// They could not be made.
    Trouble(Trouble),
    /// Nobody wants to know any more.
    Stopped(S),
}

/// The first check of a round that did not hold.
struct Ill {
    words: String,
    output: Output,
    exit_code: Option<i32>,
}

/// Watches until the checks have held long enough, or can do so no more.
pub fn watch<P: Patient>(health: &HealthChecks, patient: &mut P) -> End<P::Stop> {
    let (within, settle) = (secs(health.within_secs), secs(health.settle_secs));
    let began = patient.monotonic();
    let mut healthy_since: Option<Duration> = None;
    loop {
        let left = match healthy_since {
            None => within.saturating_sub(patient.monotonic().saturating_sub(began)),
            Some(_) => Duration::MAX,
        };
        let ill = match round(health, patient, left.max(PROBE_LIMIT_MIN)) {
            Ok(ill) => ill,
            Err(trouble) => return End::Trouble(trouble),
        };
        let now = patient.monotonic();
        match (ill, healthy_since) {
            (None, None) if settle.is_zero() => return End::Well(all_hold(health, Duration::ZERO)),
            (None, None) => healthy_since = Some(now),
            (None, Some(since)) if now.saturating_sub(since) >= settle => return End::Well(all_hold(health, settle)),
            (None, Some(_)) => {}
            (Some(ill), Some(since)) => {
                let held = now.saturating_sub(since).as_secs();
                return failed(ill, &format!("all checks had held for {held} s of {} s", settle.as_secs()));
            }
            (Some(ill), None) if now.saturating_sub(began) >= within => {
                return failed(ill, &format!("for {} s", within.as_secs()));
            }
            (Some(_), None) => {}
        }
        if let Some(reason) = patient.stops() {
            return End::Stopped(reason);
        }
        patient.pause(POLL);
    }
}

/// Makes every check once; the first that does not hold.
fn round<P: Patient>(health: &HealthChecks, patient: &mut P, left: Duration) -> Result<Option<Ill>, Trouble> {
    let (mut results, mut first) = (Vec::new(), None);
    for (i, (label, check)) in health.labelled().enumerate() {
        let probe = one(patient, i, check, left)?;
        let result = HealthResult::new(&label, probe.healthy, &probe.detail, patient.now());
        if !probe.healthy && first.is_none() {
            let words = format!("{}: {}", result.check, result.detail);
            first = Some(Ill { words, output: probe.output, exit_code: probe.exit_code });
        }
        results.push(result);
    }
    patient.told(results, first.as_ref().map(|ill| ill.words.as_str()));
    Ok(first)
}

fn one<P: Patient>(patient: &mut P, index: usize, check: &HealthCheck, left: Duration) -> Result<Probe, Trouble> {
    let HealthCheck::NoNewFailedUnits(_) = check else {
        let limit = if matches!(check, HealthCheck::Exec(_)) { left } else { left.min(PROBE_LIMIT) };
        return patient.probe(index, check, limit);
    };
    if patient.starting() {
        return Ok(Probe::ill("the host is still starting"));
    }
    let before = match patient.failed_before() {
        Ok(before) => before,
        Err(why) => return Ok(Probe::ill(why)),
    };
    Ok(match patient.failed_units() {
        Err(why) => Probe::ill(why),
        Ok(now) => {
            let new: Vec<&str> = now.iter().filter(|u| !before.contains(u)).map(String::as_str).collect();
            if new.is_empty() { Probe::well("none") } else { Probe::ill(format!("{} failed", new.join(", "))) }
        }
    })
}

/// How a round came out, in a sentence.
pub fn summary(results: &[HealthResult], first: Option<&str>) -> String {
    let (good, of) = (results.iter().filter(|r| r.healthy).count(), results.len());
    match first {
        Some(ill) => format!("{good} of {of} health checks hold; {ill}"),
        None => format!("{of} of {of} health checks hold"),
    }
}

/// Did other checks hold before? Words alone are no news: a check may print the time.
pub fn is_news(before: &[HealthResult], now: &[HealthResult]) -> bool {
    let how = |results: &[HealthResult]| results.iter().map(|r| r.healthy).collect::<Vec<_>>();
    how(before) != how(now)
}

/// A host under a patch task.
struct Task<'a, 'h, H: Host> {
    executor: &'a mut Executor<'h, H>,
    entry: &'a mut Entry,
}

impl<H: Host> Patient for Task<'_, '_, H> {
    type Stop = StopReason;

    fn now(&self) -> Timestamp {
        self.executor.host.now()
    }

    fn monotonic(&self) -> Duration {
        self.executor.host.monotonic()
    }

    fn pause(&mut self, time: Duration) {
        self.executor.host.pause(time);
    }

    fn probe(&mut self, index: usize, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble> {
        self.executor.host.probe(&format!("health/check-{index}"), check, limit)
    }

    fn starting(&mut self) -> bool {
        self.executor.host.starting()
    }

    fn failed_units(&mut self) -> Result<Vec<String>, String> {
        self.executor.host.failed_units()
    }

    fn failed_before(&self) -> Result<Vec<String>, String> {
        Ok(self.entry.failed_units.clone().unwrap_or_default())
    }

    fn told(&mut self, results: Vec<HealthResult>, first: Option<&str>) {
        let news = is_news(&self.entry.report.health, &results);
        self.entry.report.health = results;
        if news {
            let message = summary(&self.entry.report.health, first);
            self.executor.tell(self.entry, message);
        }
    }

    fn stops(&mut self) -> Option<StopReason> {
        self.executor.stop_reason(self.entry)
    }
}

impl<H: Host> Executor<'_, H> {
    pub(super) fn health(&mut self, entry: &mut Entry) -> Acted {
        let Some(health) = entry.order.task.config.health_checks.clone() else { return Acted::done("no health checks") };
        match watch(&health, &mut Task { executor: self, entry }) {
            End::Well(words) => Acted::done(words),
            End::Ill { words, output, exit_code } => {
                Acted::with(Event::Failed(words.clone()), StepOutcome::Failed, words).output(output, exit_code)
            }
            End::Trouble(trouble) => Acted::trouble(trouble),
            End::Stopped(reason) => {
                let words = if reason == StopReason::Request { "stopped on request" } else { "the job's duration ended" };
                Acted::with(Event::Stop(reason), StepOutcome::Killed, words)
            }
        }
    }
}

fn secs(n: u32) -> Duration {
    Duration::from_secs(u64::from(n))
}

fn all_hold(health: &HealthChecks, settle: Duration) -> String {
    let n = health.checks.len();
    let checks = if n == 1 { "the health check holds".to_owned() } else { format!("all {n} health checks hold") };
    if settle.is_zero() { checks } else { format!("{checks}, for {} s", settle.as_secs()) }
}

fn failed<S>(ill: Ill, when: &str) -> End<S> {
    let words = report::cut(format!("{} ({when})", ill.words));
    End::Ill { words, output: ill.output, exit_code: ill.exit_code }
}
