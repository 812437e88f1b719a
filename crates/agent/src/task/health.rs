//! The health step: makes the job's checks until they all hold, then until they have held long enough. It changes
//! nothing, so an interrupted one is made again from its beginning.

use std::time::Duration;

use drydock_domain::patch::report::{Output, StepOutcome};
use drydock_domain::rollout::health::{HealthCheck, HealthChecks, HealthResult};

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

/// The first check of a round that did not hold.
struct Ill {
    words: String,
    output: Output,
    exit_code: Option<i32>,
}

impl<H: Host> Executor<'_, H> {
    pub(super) fn health(&mut self, entry: &mut Entry) -> Acted {
        let Some(health) = entry.order.task.config.health_checks.clone() else { return Acted::done("no health checks") };
        let (within, settle) = (secs(health.within_secs), secs(health.settle_secs));
        let began = self.host.monotonic();
        let mut healthy_since: Option<Duration> = None;
        loop {
            let left = match healthy_since {
                None => within.saturating_sub(self.host.monotonic().saturating_sub(began)),
                Some(_) => Duration::MAX,
            };
            let ill = match self.round(entry, &health, left.max(PROBE_LIMIT_MIN)) {
                Ok(ill) => ill,
                Err(trouble) => return Acted::trouble(trouble),
            };
            let now = self.host.monotonic();
            match (ill, healthy_since) {
                (None, None) if settle.is_zero() => return Acted::done(all_hold(&health, Duration::ZERO)),
                (None, None) => healthy_since = Some(now),
                (None, Some(since)) if now.saturating_sub(since) >= settle => return Acted::done(all_hold(&health, settle)),
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
            if let Some(reason) = self.stop_reason(entry) {
                let words = if reason == StopReason::Request { "stopped on request" } else { "the job's duration ended" };
                return Acted::with(Event::Stop(reason), StepOutcome::Killed, words);
            }
            self.host.pause(POLL);
        }
    }

    /// Makes every check once; the first that does not hold.
    fn round(&mut self, entry: &mut Entry, health: &HealthChecks, left: Duration) -> Result<Option<Ill>, Trouble> {
        let (mut results, mut first) = (Vec::new(), None);
        for (i, (label, check)) in health.labelled().enumerate() {
            let probe = self.one(entry, i, check, left)?;
            let result = HealthResult::new(&label, probe.healthy, &probe.detail, self.host.now());
            if !probe.healthy && first.is_none() {
                let words = format!("{}: {}", result.check, result.detail);
                first = Some(Ill { words, output: probe.output, exit_code: probe.exit_code });
            }
            results.push(result);
        }
        // Words alone are no news: a check may print the time.
        let how = |results: &[HealthResult]| results.iter().map(|r| r.healthy).collect::<Vec<_>>();
        let news = how(&entry.report.health) != how(&results);
        entry.report.health = results;
        if news {
            let good = entry.report.health.iter().filter(|r| r.healthy).count();
            let of = entry.report.health.len();
            let message = match &first {
                Some(ill) => format!("{good} of {of} health checks hold; {}", ill.words),
                None => format!("{of} of {of} health checks hold"),
            };
            self.tell(entry, message);
        }
        Ok(first)
    }

    fn one(&mut self, entry: &Entry, index: usize, check: &HealthCheck, left: Duration) -> Result<Probe, Trouble> {
        let HealthCheck::NoNewFailedUnits(_) = check else {
            let limit = if matches!(check, HealthCheck::Exec(_)) { left } else { left.min(PROBE_LIMIT) };
            return self.host.probe(&format!("health/check-{index}"), check, limit);
        };
        if self.host.starting() {
            return Ok(Probe::ill("the host is still starting"));
        }
        let before = entry.failed_units.as_deref().unwrap_or_default();
        Ok(match self.host.failed_units() {
            Err(why) => Probe::ill(why),
            Ok(now) => {
                let new: Vec<&str> = now.iter().filter(|u| !before.contains(u)).map(String::as_str).collect();
                if new.is_empty() { Probe::well("none") } else { Probe::ill(format!("{} failed", new.join(", "))) }
            }
        })
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

fn failed(ill: Ill, when: &str) -> Acted {
    let words = report::cut(format!("{} ({when})", ill.words));
    Acted::with(Event::Failed(words.clone()), StepOutcome::Failed, words).output(ill.output, ill.exit_code)
}
