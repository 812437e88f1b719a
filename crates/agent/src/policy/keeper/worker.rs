//! The thread that decides what is looked at next and runs the engine over it: a new document, an event, a check on demand, the
//! periodic net, the end of a wait, a preview. It sleeps until one of them is due.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::policy::report::reason;
use drydock_domain::policy::{AssignmentChecks, DriftEvent, HostPolicy, PolicyResult, Resource};
use drydock_domain::rollout::health::HealthResult;
use jiff::Timestamp;

use super::ear::{BY_PACKAGES, During, Ear};
use super::facilities::{Facilities, names_secret, remove_any, run_id, say, workplace};
use super::gate::Gates;
use super::leave::{Allowed, Repair};
use super::own_dirs;
use crate::config::Config;
use crate::detached::DetachedRunner;
use crate::link::backoff::random;
use crate::paths::Paths;
use crate::policy::cause;
use crate::policy::document::{self, Kept};
use crate::policy::engine::{
    Drifted, Engine, Key, Noticed, Run, Scope, Tools, Workplace, memory_name, message, scratch_name, with_cx,
};
use crate::policy::kinds::HostFacts;
use crate::policy::leftovers::Leftovers;
use crate::policy::outbox::{News, Outbox};
use crate::policy::site::{self, Files, PREVIEW_PREFIX};
use crate::policy::values::Values;
use crate::task::control::Control;

/// What could not be written, loaded or taken back is tried again after this, and after twice as long each time, up to an hour.
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// The longest time until another try.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Periodic checks come between this part of their interval and its mirror image above one: hosts must not fall into step.
const JITTER: f64 = 0.1;

/// A policy, by assignment and id.
type PolicyId = (String, String);

/// The thread.
pub struct Worker {
    paths: Paths,
    files: Files,
    instance: InstanceId,
    with: Facilities,
    ear: Ear,
    facts: HostFacts,
    kept: Option<Kept>,
    /// The kept document was read, be there one or not.
    has_loaded: bool,
    engine: Engine,
    allowed: Allowed,
    outbox: Outbox,
    leftovers: Leftovers,
    gates: Gates,
    /// When each policy is to be looked at as a whole.
    due: BTreeMap<PolicyId, Instant>,
    /// The daemon wrote something.
    look: bool,
    /// Everything is to be looked at, for this reason.
    all: Option<&'static str>,
    /// The newest check on demand.
    demanded: u64,
    previews: Vec<PathBuf>,
    /// What keeps a document from being kept; empty = nothing.
    load_problem: String,
    /// What keeps leftovers from being taken back; empty = nothing.
    left_problem: String,
    retry: Option<Instant>,
    retry_pause: Duration,
}

impl Worker {
    /// Of this agent.
    pub fn new(paths: &Paths, instance: InstanceId, with: Facilities, ear: Ear) -> Self {
        let files = Files::of(paths);
        let (leftovers, told) = Leftovers::open(&files.leftovers());
        let left_problem = told.err().unwrap_or_default();
        Worker {
            facts: HostFacts::new(&paths.root, ""),
            kept: None,
            has_loaded: false,
            engine: Engine::default(),
            allowed: Allowed::open(&files, Timestamp::now),
            outbox: Outbox::open(&files, instance),
            leftovers,
            gates: Gates::new(&files, Arc::clone(&with.prober), ear.ring()),
            due: BTreeMap::new(),
            look: true,
            all: None,
            demanded: 0,
            previews: Vec::new(),
            load_problem: String::new(),
            left_problem,
            retry: None,
            retry_pause: RETRY_FIRST,
            paths: paths.clone(),
            files,
            instance,
            with,
            ear,
        }
    }

    /// Works until nothing is left to keep, or the daemon says stop.
    pub fn serve(&mut self) {
        self.settle();
        loop {
            self.ear.drain();
            if self.ear.daemon() {
                self.look = true;
                if self.files.stop().exists() {
                    return;
                }
            }
            self.health();
            if self.turn(Instant::now()) {
                continue;
            }
            self.begin_gates();
            if self.is_idle_for_ever() || !self.ear.listen(self.next_due(Instant::now())) {
                return;
            }
        }
    }

    /// Package changes that an earlier keeper began are waited for: two at once help nobody.
    fn settle(&self) {
        let dir = self.files.run();
        for run in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Err(e) = self.transactions(run.path()).settle(&run.path()) {
                tracing::warn!("{}: {e}", run.path().display());
            }
        }
        if let Err(e) = std::fs::remove_dir_all(&dir)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {e}", dir.display());
        }
    }

    fn transactions(&self, dir: PathBuf) -> DetachedRunner {
        DetachedRunner::new(self.with.program.clone(), Control::default(), TaskId(uuid::Uuid::nil()), dir)
    }

    /// Does the first thing that is due; false when nothing is.
    fn turn(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.look) {
            self.load();
            return true;
        }
        let retried = self.retry.is_some_and(|at| at <= now);
        if retried {
            self.retry = None;
            self.retry_failed();
            return true;
        }
        if !self.leftovers.gone().is_empty() && self.retry.is_none() && !self.allowed.read_only {
            self.take_back();
            return true;
        }
        if let Some(by) = self.all.take() {
            self.run_all(by);
            return true;
        }
        self.end_waits();
        if !self.allowed.patching {
            let events = self.ear.events(now);
            if !events.is_empty() {
                self.run(Scope::Resources(events.keys().cloned().collect()), "event", events);
                return true;
            }
        }
        let due: BTreeSet<PolicyId> = self.due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        if !due.is_empty() {
            self.plan(&due, now);
            self.run(Scope::Policies(due), "periodic check", BTreeMap::new());
            return true;
        }
        if let Some(preview) = self.previews.pop() {
            self.preview(&preview);
            return true;
        }
        false
    }

    /// Repairs that were spaced out may be made now.
    fn end_waits(&mut self) {
        let clock = Timestamp::now();
        for key in self.allowed.flaps.over(clock) {
            self.ear.notice(key, Noticed { at: clock, by: "end of a wait" });
        }
    }

    fn next_due(&self, now: Instant) -> Option<Duration> {
        let clock = Timestamp::now();
        let flaps =
            self.allowed.flaps.next(clock).map(|until| {
                now + Duration::try_from(until.duration_since(clock)).unwrap_or_default() + Duration::from_millis(1)
            });
        // Without a document only the daemon's files and retries matter.
        let times = [flaps, self.due.values().min().copied(), self.retry];
        times.into_iter().flatten().min().map(|at| at.saturating_duration_since(now))
    }

    /// Nothing is assigned, nothing is to be taken back, and the server is told so.
    fn is_idle_for_ever(&self) -> bool {
        let empty = self.kept.as_ref().is_none_or(|k| k.document.policies.is_empty());
        empty && !self.gates.is_open() && self.leftovers.gone().is_empty() && self.retry.is_none() && self.outbox.is_saved()
    }

    /// Reads what the daemon wrote.
    fn load(&mut self) {
        match Config::read(&self.paths.config) {
            Ok(config) => {
                self.allowed.read_only = config.read_only;
                self.facts = HostFacts::new(&self.paths.root, &config.gcs_base_url);
            }
            Err(e) => tracing::warn!("{e:#}; the last settings stay"),
        }
        let was_patching = std::mem::replace(&mut self.allowed.patching, self.files.patching().exists());
        if was_patching && !self.allowed.patching {
            let now = Timestamp::now();
            for key in self.engine.with_reason(reason::WAITS_FOR_TASK) {
                self.ear.notice(key, Noticed { at: now, by: "end of a patch task" });
            }
        }
        self.load_document();
        self.demanded = site::read_number(&self.files.check());
        if self.demanded > self.outbox.results().check && self.all.is_none() {
            self.allowed.forgive();
            self.all = Some("check on demand");
        }
        let listed = std::fs::read_dir(self.files.dir()).into_iter().flatten().flatten();
        let is_preview = |path: &PathBuf| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(PREVIEW_PREFIX) && !name.ends_with(".tmp")
        };
        self.previews = listed.map(|e| e.path()).filter(is_preview).collect();
    }

    fn load_document(&mut self) {
        let loaded = match document::load(&self.files.document()) {
            // One of an earlier enrolment: the new server says what holds now.
            Ok(kept) => kept.filter(|k| k.document.instance == self.instance),
            Err(why) => {
                let told = format!("the kept policies document cannot be believed ({why}); it is asked for again");
                if self.load_problem != told {
                    tracing::error!("{told}");
                    self.load_problem = told;
                    self.all = Some("a document that cannot be read");
                }
                return;
            }
        };
        if self.has_loaded && loaded == self.kept {
            self.load_problem.clear();
            return;
        }
        let policies = loaded.as_ref().map(|k| k.document.policies.clone()).unwrap_or_default();
        let checks = loaded.as_ref().map(|k| k.document.health.clone()).unwrap_or_default();
        if let Err(why) = self.leftovers.assign(&policies) {
            tracing::error!("{why}; the new policies wait until it can");
            self.load_problem = why;
            self.try_again();
            return;
        }
        self.load_problem.clear();
        self.gates.adopt(&checks, &self.outbox.results().health);
        self.outbox.put_health(self.gates.told(), Timestamp::now());
        self.adopt(loaded, &policies);
    }

    /// The engine is made for another document. Results of what did not change still hold.
    fn adopt(&mut self, loaded: Option<Kept>, policies: &[HostPolicy]) {
        let generation = loaded.as_ref().map_or(0, |k| k.document.generation);
        let new_process = !std::mem::replace(&mut self.has_loaded, true);
        let before = if new_process && self.outbox.results().generation == generation {
            self.outbox.results().policies.clone()
        } else {
            let secrets_changed = loaded.as_ref().map(|k| &k.secrets) != self.kept.as_ref().map(|k| &k.secrets);
            self.engine.standing(policies, &|resource| secrets_changed && names_secret(resource))
        };
        let (build, facts) = (&self.with.build, &self.facts);
        self.engine = Engine::new(policies, &before, &|resource| build(resource, facts));
        self.kept = loaded;
        if !new_process {
            self.allowed.forgive();
        }
        // Where there never was a document there is nothing to tell.
        if generation > 0 || self.outbox.results().generation > 0 {
            self.all = Some(if new_process { "start of the agent" } else { "new document" });
        }
        self.due = policies.iter().map(|p| ((p.assignment.clone(), p.policy.clone()), Instant::now())).collect();
        let ids = self.due.keys().cloned().collect();
        self.plan(&ids, Instant::now());
        self.ear.forget();
        self.sweep(policies);
        self.set_watches();
    }

    /// Downloads and notes of resources that are no more.
    fn sweep(&self, policies: &[HostPolicy]) {
        let key = |p: &HostPolicy, r: &Resource| Key {
            assignment: p.assignment.clone(),
            policy: p.policy.clone(),
            resource: r.id.clone(),
        };
        let mut names = BTreeSet::new();
        for (p, r) in policies.iter().flat_map(|p| p.resources.iter().map(move |r| (p, r))) {
            names.insert(scratch_name(&key(p, r), r));
            names.insert(memory_name(&key(p, r)));
        }
        for left in self.leftovers.gone() {
            names.insert(memory_name(&left.key));
        }
        for dir in &own_dirs(&self.files)[..2] {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if !names.contains(entry.file_name().to_string_lossy().as_ref()) {
                    remove_any(&entry.path());
                }
            }
        }
    }

    fn set_watches(&mut self) {
        let watching = self.engine.watches();
        let watches = watching.keys().cloned().collect();
        if self.ear.watch(watching) {
            (self.with.watch)(&watches);
        }
    }

    /// When these are to be looked at next.
    fn plan(&mut self, ids: &BTreeSet<PolicyId>, now: Instant) {
        for policy in self.kept.iter().flat_map(|k| &k.document.policies) {
            let id = (policy.assignment.clone(), policy.policy.clone());
            if ids.contains(&id) {
                let part = 1.0 - JITTER + 2.0 * JITTER * random();
                self.due.insert(id, now + Duration::from_secs(policy.check_interval_secs).mul_f64(part));
            }
        }
    }

    fn run_all(&mut self, by: &'static str) {
        let ids = self.due.keys().cloned().collect();
        self.plan(&ids, Instant::now());
        // What came before is looked at now.
        let events = self.ear.events(Instant::now());
        self.run(Scope::All, by, events);
    }

    fn run(&mut self, scope: Scope, by: &'static str, mut noticed: BTreeMap<Key, Noticed>) {
        let whole = scope == Scope::All;
        if whole {
            // What is still wanting of them has been so since then.
            let since = self.allowed.cut_off().iter().map(|r| (r.key.clone(), Noticed { at: r.seen_at, by }));
            noticed.extend(since);
        }
        let check = if scope == Scope::All { self.demanded } else { self.outbox.results().check };
        let generation = self.generation();
        let problem = self.problem();
        let by_packages = noticed.values().any(|n| n.by == BY_PACKAGES);
        let cause = if by_packages { cause::of_packages(&self.paths.root, SystemTime::now()) } else { String::new() };
        let run = Run { id: run_id(), scope, only_check: false, noticed_by: by, noticed, cause };
        let none = Values::default();
        let transactions = self.transactions(self.files.run().join(&run.id));
        let secrets = self.kept.as_ref().map_or(&none, |k| &k.secrets);
        let during = During {
            ear: &self.ear,
            waits: self.allowed.patching,
            outbox: Mutex::new(&mut self.outbox),
            generation,
            problem: problem.clone(),
        };
        let tools = Tools {
            place: workplace(&self.paths, &self.files, &self.with, &transactions, secrets),
            meanwhile: Some(&during),
            now: &Timestamp::now,
            say: &say,
        };
        let outcome = self.engine.run(&run, &tools, &mut self.allowed);
        self.allowed.run_ended();
        remove_any(&self.files.run().join(&run.id));
        let now = Timestamp::now();
        for key in outcome.again {
            self.ear.notice(key, Noticed { at: now, by: "change of another resource" });
        }
        let policies = self.engine.results();
        let mut drift = outcome.drift;
        if whole {
            drift.extend(self.cut_off(&drift, &policies, now));
        }
        self.outbox.put(News { generation, check, problem, policies, drift }, now);
        if self.outbox.is_saved() {
            self.allowed.told(whole);
            self.outbox.settle();
        } else if self.retry.is_none() {
            self.try_again();
        }
        self.set_watches();
    }

    /// What became of repairs that an earlier keeper began, as far as nobody was told; `drift` is what this run tells of.
    fn cut_off(&self, drift: &[Drifted], policies: &[PolicyResult], now: Timestamp) -> Vec<Drifted> {
        let is_told = |repair: &Repair| {
            let Key { assignment, policy, resource } = &repair.key;
            let of = |d: &DriftEvent| {
                (&d.assignment, &d.policy, &d.resource, d.seen_at) == (assignment, policy, resource, repair.seen_at)
            };
            drift.iter().any(|d| d.key == repair.key) || self.outbox.results().drift.iter().any(of)
        };
        self.allowed.cut_off().iter().filter(|r| !is_told(r)).filter_map(|r| r.ended(policies, now)).collect()
    }

    /// How health checks stand is told, without secrets.
    fn health(&mut self) {
        let none = Values::default();
        let secrets = self.kept.as_ref().map_or(&none, |k| &k.secrets);
        let mut any = false;
        for mut health in self.ear.health() {
            health.message = message(&health.message, secrets);
            for result in &mut health.checks {
                *result = HealthResult::new(
                    &message(&result.check, secrets),
                    result.healthy,
                    &message(&result.detail, secrets),
                    result.at,
                );
            }
            any |= self.gates.hear(health);
        }
        if any {
            self.outbox.put_health(self.gates.told(), Timestamp::now());
        }
    }

    /// Begins the health checks of assignments of which everything was looked at, and nothing waits for a patch task.
    fn begin_gates(&mut self) {
        let waiting: Vec<AssignmentChecks> = self.gates.waiting().cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let results = self.engine.results();
        let looked_at =
            |p: &PolicyResult| p.checked_at.is_some() && p.resources.iter().all(|r| r.reason != reason::WAITS_FOR_TASK);
        let is_ready = |of: &AssignmentChecks| results.iter().filter(|p| p.assignment == of.assignment).all(looked_at);
        let ready: Vec<AssignmentChecks> = waiting.into_iter().filter(is_ready).collect();
        self.gates.begin(&ready);
    }

    fn generation(&self) -> u64 {
        self.kept.as_ref().map_or(0, |k| k.document.generation)
    }

    fn problem(&self) -> String {
        let problems = [self.load_problem.as_str(), self.left_problem.as_str()];
        problems.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// Takes back what nothing assigns any more.
    fn take_back(&mut self) {
        let transactions = self.transactions(self.files.run().join(run_id()));
        let none = Values::default();
        let secrets = self.kept.as_ref().map_or(&none, |k| &k.secrets);
        let place = workplace(&self.paths, &self.files, &self.with, &transactions, secrets);
        let mut problems = Vec::new();
        for left in self.leftovers.gone().to_vec() {
            let Key { assignment, policy, resource } = &left.key;
            let mut kind = (self.with.build)(&left.resource, &self.facts);
            if self.allowed.patching && kind.changes_packages() {
                problems.push(format!("taking {assignment}/{policy}/{resource} back waits for a patch task"));
                continue;
            }
            let done = with_cx(kind.as_mut(), (&left.key, &left.resource), &place, |k, cx| k.remove(cx));
            match done {
                Ok(done) => {
                    tracing::info!("{assignment}/{policy}/{resource} is not assigned any more and was taken back: {}", done.what);
                    remove_any(&self.files.scratch().join(scratch_name(&left.key, &left.resource)));
                    if let Err(why) = self.leftovers.taken_back(&left.key, &left.resource) {
                        problems.push(why);
                    }
                }
                Err(failure) => problems.push(format!(
                    "{assignment}/{policy}/{resource} is not assigned any more and could not be taken back: {}",
                    failure.message
                )),
            }
        }
        for problem in &problems {
            tracing::warn!("{problem}");
        }
        self.left_problem = problems.first().cloned().unwrap_or_default();
        if problems.is_empty() {
            self.retry_pause = RETRY_FIRST
        } else {
            self.try_again()
        }
        if self.all.is_none() {
            self.all = Some("leftovers");
        }
    }

    /// Checks what a preview says and changes nothing.
    fn preview(&mut self, path: &Path) {
        match document::load(path) {
            Ok(Some(kept)) if kept.document.instance == self.instance => {
                let id = kept.document.preview.clone().unwrap_or_default();
                let (build, facts) = (&self.with.build, &self.facts);
                let mut engine = Engine::new(&kept.document.policies, &[], &|resource| build(resource, facts));
                let run = Run {
                    id: run_id(),
                    scope: Scope::All,
                    only_check: true,
                    noticed_by: "preview",
                    noticed: BTreeMap::new(),
                    cause: String::new(),
                };
                let transactions = self.transactions(self.files.run().join(&run.id));
                let scratch = self.files.run().join(format!("preview-{}", run.id));
                let place = workplace(&self.paths, &self.files, &self.with, &transactions, &kept.secrets);
                let place = Workplace { scratch: scratch.clone(), memory: None, ..place };
                let tools = Tools { place, meanwhile: None, now: &Timestamp::now, say: &say };
                engine.run(&run, &tools, &mut self.allowed);
                self.allowed.run_ended();
                remove_any(&scratch);
                if let Err(why) = self.outbox.put_preview(&id, engine.results(), String::new(), Timestamp::now()) {
                    tracing::error!("{why}; the preview is made again when it is asked for again");
                }
            }
            Ok(_) => {}
            Err(why) => tracing::error!("{} cannot be believed ({why})", path.display()),
        }
        remove_any(path);
    }

    fn try_again(&mut self) {
        self.retry = Some(Instant::now() + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    fn retry_failed(&mut self) {
        if !self.outbox.is_saved() {
            self.outbox.save();
            if self.outbox.is_saved() {
                self.retry_pause = RETRY_FIRST;
            } else {
                self.try_again();
            }
        }
        self.look = true;
    }
}
