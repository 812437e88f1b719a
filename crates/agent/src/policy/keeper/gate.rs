//! Health checks after a new revision: made once every policy of its assignment was looked at, on a thread of their own, so
//! that a host goes on repairing what drifts while they settle.
//!
//! How they end is kept with the results; which units were failed before the revision, in a file, so that a keeper that was
//! killed in between goes on with the same question. Absent: what follows for other hosts (the server decides).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use drydock_domain::policy::{AssignmentChecks, AssignmentHealth, HealthState};
use drydock_domain::rollout::health::{HealthCheck, HealthResult};
use drydock_pkgmgr::run::{CommandSpec, SystemRunner};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ear::Heard;
use crate::ledger::{seal, unseal};
use crate::platform::write_durably;
use crate::policy::site::{Files, remove};
use crate::task::health::{End, Patient, is_news, summary, watch};
use crate::task::host::{Probe, Trouble};
use crate::task::{probe, script};

/// What makes checks.
pub trait Prober: Send + Sync {
    /// Makes one that needs no comparison; `dir` is its own.
    fn probe(&self, dir: &Path, of: &AssignmentChecks, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble>;
    /// Units that are failed now.
    fn failed_units(&self) -> Result<Vec<String>, String>;
    /// The host is still starting.
    fn starting(&self) -> bool;
    /// Pause between rounds.
    fn pause(&self, time: Duration);
}

/// The host's.
pub struct RealProber;

impl Prober for RealProber {
    fn probe(&self, dir: &Path, of: &AssignmentChecks, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble> {
        let runner = SystemRunner::new();
        match check {
            HealthCheck::Exec(config) => {
                let config = probe::limited(config, limit);
                let own = [
                    ("DRYDOCK_ASSIGNMENT", of.assignment.clone()),
                    ("DRYDOCK_REVISION", of.revision.to_string()),
                    ("DRYDOCK_STEP", "health-check".to_owned()),
                ];
                let command = match script::built(dir, "health-check", &config, own) {
                    Ok(command) => CommandSpec { mutates: false, ..command },
                    Err(why) => return Ok(Probe::ill(why)),
                };
                probe::command(&runner, &command, |code| config.is_success(code))
            }
            HealthCheck::UnitActive(check) => probe::unit(&runner, check, limit),
            HealthCheck::Tcp(check) => Ok(probe::tcp(check, limit)),
            HealthCheck::Http(check) => Ok(probe::http(check, limit)),
            HealthCheck::NoNewFailedUnits(_) => Err(Trouble::Failed("it needs the units of before".to_owned())),
        }
    }

    fn failed_units(&self) -> Result<Vec<String>, String> {
        probe::failed_units(&SystemRunner::new())
    }

    fn starting(&self) -> bool {
        probe::starting(&SystemRunner::new())
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The checks of one revision.
struct Gate {
    of: AssignmentChecks,
    /// Units that were failed before the revision; an error: why that is not known.
    failed_before: Result<Vec<String>, String>,
    told: Option<AssignmentHealth>,
    /// Set when nobody wants to know any more; there while they are being made.
    stop: Option<Arc<AtomicBool>>,
}

impl Gate {
    fn is_decided(&self) -> bool {
        self.told.as_ref().is_some_and(|t| t.state.is_decided())
    }
}

/// What is on disk of a gate that is not decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Before {
    assignment: String,
    revision: u64,
    failed: Vec<String>,
}

/// The checks of every revision this host has.
pub struct Gates {
    path: PathBuf,
    dir: PathBuf,
    with: Arc<dyn Prober>,
    ring: Sender<Heard>,
    gates: Vec<Gate>,
}

impl Gates {
    /// None yet; how they end is said by `ring`.
    pub fn new(files: &Files, with: Arc<dyn Prober>, ring: Sender<Heard>) -> Self {
        Gates { path: files.gates(), dir: files.checks(), with, ring, gates: Vec::new() }
    }

    /// Another document; `told` is what an earlier keeper found. To be called before anything of it is brought about.
    pub fn adopt(&mut self, wanted: &[AssignmentChecks], told: &[AssignmentHealth]) {
        let kept = std::fs::read(&self.path).ok().and_then(|bytes| unseal::<Vec<Before>>(&bytes).ok()).unwrap_or_default();
        let mut before = std::mem::take(&mut self.gates);
        for of in wanted {
            if let Some(at) = before.iter().position(|g| g.of == *of) {
                self.gates.push(before.swap_remove(at));
                continue;
            }
            let told = told.iter().find(|t| t.assignment == of.assignment && t.revision == of.revision && t.state.is_decided());
            let known = kept.iter().find(|k| k.assignment == of.assignment && k.revision == of.revision);
            let failed_before = match known {
                Some(known) => Ok(known.failed.clone()),
                None if told.is_some() || !of.checks.compares_units() => Ok(Vec::new()),
                None => self.with.failed_units().map_err(|e| format!("which units were failed before is not known: {e}")),
            };
            self.gates.push(Gate { of: of.clone(), failed_before, told: told.cloned(), stop: None });
        }
        stop(&before);
        self.save(&kept);
    }

    fn save(&self, before: &[Before]) {
        let open = self.gates.iter().filter(|g| !g.is_decided());
        let now: Vec<Before> = open
            .filter_map(|g| {
                let failed = g.failed_before.clone().ok()?;
                Some(Before { assignment: g.of.assignment.clone(), revision: g.of.revision, failed })
            })
            .collect();
        if now == before {
            return;
        }
        let done = if now.is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
            remove(&self.path).map_err(|e| e.to_string())
        } else {
            seal(&now).and_then(|sealed| write_durably(&self.path, &sealed, 0o600).map_err(|e| e.to_string()))
        };
        if let Err(e) = done {
            // Only a keeper that is killed before the checks end asks about other units then.
            tracing::warn!("{}: {e}", self.path.display());
        }
    }

    /// Some are to begin or under way.
    pub fn is_open(&self) -> bool {
        self.gates.iter().any(|g| !g.is_decided())
    }

    /// Assignments whose checks have not begun.
    pub fn waiting(&self) -> impl Iterator<Item = &AssignmentChecks> {
        self.gates.iter().filter(|g| !g.is_decided() && g.stop.is_none()).map(|g| &g.of)
    }

    /// Begins the checks of these.
    pub fn begin(&mut self, ready: &[AssignmentChecks]) {
        for (at, gate) in self.gates.iter_mut().enumerate() {
            if gate.stop.is_some() || gate.is_decided() || !ready.contains(&gate.of) {
                continue;
            }
            let stop = Arc::new(AtomicBool::new(false));
            let watched = Watched {
                of: gate.of.clone(),
                dir: self.dir.join(at.to_string()),
                with: Arc::clone(&self.with),
                failed_before: gate.failed_before.clone(),
                ring: self.ring.clone(),
                stop: Arc::clone(&stop),
                began: Instant::now(),
                results: Vec::new(),
            };
            let AssignmentChecks { assignment, revision, .. } = &gate.of;
            match std::thread::Builder::new().name("health".to_owned()).spawn(move || watched.run()) {
                Ok(_) => {
                    tracing::info!("revision {revision} of {assignment} is looked at; its health checks begin");
                    gate.stop = Some(stop);
                }
                // Tried again at the next event.
                Err(e) => tracing::warn!("the health checks of {assignment} cannot begin: {e}"),
            }
        }
    }

    /// What a thread says; true when it is news. What is said of another revision is none.
    pub fn hear(&mut self, health: AssignmentHealth) -> bool {
        let of = |g: &&mut Gate| g.of.assignment == health.assignment && g.of.revision == health.revision && !g.is_decided();
        let Some(gate) = self.gates.iter_mut().find(of) else { return false };
        if health.state.is_decided() {
            gate.stop = None;
            let AssignmentHealth { assignment, revision, state, message, .. } = &health;
            tracing::info!("health of revision {revision} of {assignment}: {}: {message}", state.as_str());
        }
        gate.told = Some(health);
        let kept = std::fs::read(&self.path).ok().and_then(|bytes| unseal::<Vec<Before>>(&bytes).ok()).unwrap_or_default();
        self.save(&kept);
        true
    }

    /// How all of them stand, as far as that is known.
    pub fn told(&self) -> Vec<AssignmentHealth> {
        self.gates.iter().filter_map(|g| g.told.clone()).collect()
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        stop(&self.gates);
    }
}

fn stop(gates: &[Gate]) {
    for stop in gates.iter().filter_map(|g| g.stop.as_ref()) {
        stop.store(true, Ordering::SeqCst);
    }
}

/// The thread.
struct Watched {
    of: AssignmentChecks,
    dir: PathBuf,
    with: Arc<dyn Prober>,
    failed_before: Result<Vec<String>, String>,
    ring: Sender<Heard>,
    stop: Arc<AtomicBool>,
    began: Instant,
    results: Vec<HealthResult>,
}

impl Watched {
    fn run(mut self) {
        let checks = self.of.checks.clone();
        let (state, message) = match watch(&checks, &mut self) {
            End::Well(words) => (HealthState::Healthy, words),
            End::Ill { words, .. } => (HealthState::Unhealthy, words),
            End::Trouble(trouble) => (HealthState::Unhealthy, format!("the health checks cannot be made: {}", words(trouble))),
            End::Stopped(()) => return,
        };
        self.say(state, message);
    }

    fn say(&self, state: HealthState, message: String) {
        let health = AssignmentHealth {
            assignment: self.of.assignment.clone(),
            revision: self.of.revision,
            state,
            message,
            checks: self.results.clone(),
            at: Timestamp::now(),
        };
        // The worker is gone only at the process's end.
        let _ = self.ring.send(Heard::Health(health));
    }
}

fn words(trouble: Trouble) -> String {
    match trouble {
        Trouble::Failed(why) | Trouble::TimedOut(why) | Trouble::Interrupted(why) => why,
        Trouble::Killed => "they were killed".to_owned(),
    }
}

impl Patient for Watched {
    type Stop = ();

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&mut self, time: Duration) {
        self.with.pause(time);
    }

    fn probe(&mut self, index: usize, check: &HealthCheck, limit: Duration) -> Result<Probe, Trouble> {
        self.with.probe(&self.dir.join(index.to_string()), &self.of, check, limit)
    }

    fn starting(&mut self) -> bool {
        self.with.starting()
    }

    fn failed_units(&mut self) -> Result<Vec<String>, String> {
        self.with.failed_units()
    }

    fn failed_before(&self) -> Result<Vec<String>, String> {
        self.failed_before.clone()
    }

    fn told(&mut self, results: Vec<HealthResult>, first: Option<&str>) {
        let news = is_news(&self.results, &results);
        self.results = results;
        if news {
            self.say(HealthState::Checking, summary(&self.results, first));
        }
    }

    fn stops(&mut self) -> Option<()> {
        self.stop.load(Ordering::SeqCst).then_some(())
    }
}
