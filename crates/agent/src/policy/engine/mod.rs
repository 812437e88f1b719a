//! One run over policies: each resource is validated, checked and, where it is wanting and may be changed, enforced; when
//! anything was changed, everything looked at before is checked again. A run is over everything, over some policies, or over
//! the resources an event concerns; what it did not touch stays as it was.
//!
//! - An error while validating or checking skips the rest of that policy, as does one while enforcing; other policies go on.
//! - A resource whose dependency is not compliant is not touched.
//! - Services that a changed resource notifies hear of it once, at the end of their policy; a change that was not told of
//!   (a kill, an error) is told of in the next run.
//!
//! The way of a resource is in its types ([`way`]). Policies are known by assignment *and* id. Absent: when runs happen
//! (the keeper), what a change is (the kinds), who may change things now ([`Leave`]).

mod notify;
mod order;
mod outcome;
mod step;
mod text;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drydock_domain::policy::report::reason;
use drydock_domain::policy::{ComplianceState, HostPolicy, Mode, PolicyResult, Resource, ResourceResult, StepKind};
use drydock_pkgmgr::run::Runner;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Secrets, Units, Watch};
pub use outcome::{Drifted, Outcome};
pub use step::{memory_name, scratch_name, with_cx};
pub use text::{fitted, message};
use way::{Bench, Settled};

/// A resource of this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Id of the assignment.
    pub assignment: String,
    /// Id of the policy.
    pub policy: String,
    /// Id of the resource.
    pub resource: String,
}

/// What a run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every policy.
    All,
    /// These, by assignment and id, as wholes.
    Policies(BTreeSet<(String, String)>),
    /// These resources, and what waits for them.
    Resources(BTreeSet<Key>),
}

/// Why a resource may not be changed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The host is enrolled read-only.
    ReadOnly,
    /// A patch task owns the package manager.
    PatchTask,
    /// It is changed back again and again.
    Flapping {
        /// In a sentence, with what is known.
        told: String,
        /// Nobody was told yet.
        first: bool,
    },
}

impl Held {
    fn reason(&self) -> &'static str {
        match self {
            Held::ReadOnly => reason::READ_ONLY,
            Held::PatchTask => reason::WAITS_FOR_TASK,
            Held::Flapping { .. } => reason::FLAPPING,
        }
    }
}

/// Who says what may be done, and remembers what was begun.
pub trait Leave {
    /// May this resource be changed now?
    fn may_change(&mut self, key: &Key, changes_packages: bool) -> Result<(), Held>;
    /// A change begins, of something that was as it should be before (`drift`) or not; `notifies` are to hear of it. An error
    /// (nothing can be written) keeps it from beginning.
    fn begins(&mut self, key: &Key, drift: Option<&Drifted>, notifies: &BTreeSet<Key>) -> Result<(), String>;
    /// Services that have not heard of a change.
    fn owed(&self) -> BTreeSet<Key>;
    /// This one has.
    fn heard(&mut self, key: &Key);
    /// A step begins; an error: it is not to be begun (it ended the keeper before).
    fn step(&mut self, key: &Key, kind: StepKind) -> Result<(), String>;
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Only for those who look closely.
    pub quiet: bool,
    /// Id of the assignment; empty = none.
    pub assignment: &'a str,
    /// Id of the policy; empty = none.
    pub policy: &'a str,
    /// Id of the resource; empty = none.
    pub resource: &'a str,
    /// The line.
    pub text: String,
}

/// What kinds work with.
pub struct Workplace<'a> {
    /// The host.
    pub root: &'a Path,
    /// Reading commands and scripts.
    pub runner: &'a dyn Runner,
    /// Commands that change the package database.
    pub transactions: &'a dyn Runner,
    /// systemd.
    pub units: &'a dyn Units,
    /// Values of secrets.
    pub secrets: &'a dyn Secrets,
    /// Directory of the resources' downloads.
    pub scratch: PathBuf,
    /// Directory of the resources' notes; `None` = they remember nothing (previews).
    pub memory: Option<PathBuf>,
}

/// What runs work with.
pub struct Tools<'a> {
    /// What kinds work with.
    pub place: Workplace<'a>,
    /// What happens while a step is under way; `None` = nobody looks at it.
    pub meanwhile: Option<&'a dyn Meanwhile>,
    /// The host's clock.
    pub now: &'a dyn Fn() -> Timestamp,
    /// The log.
    pub say: &'a dyn Fn(&Line<'_>),
}

/// What [`Meanwhile::wait`] waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happens {
    /// The step under way is over.
    StepIsOver,
    /// Something happened to these.
    Events(BTreeMap<Key, Noticed>),
}

/// What happens while a step is under way.
pub trait Meanwhile: Sync {
    /// Waits for the end of the step, or for events.
    fn wait(&self) -> Happens;
    /// The step is over: [`Meanwhile::wait`] returns. Called from the step's thread.
    fn step_is_over(&self);
    /// These are to be looked at after the run.
    fn postpone(&self, events: BTreeMap<Key, Noticed>);
    /// Events were looked at; how everything stands now.
    fn tell(&self, outcome: Outcome, policies: Vec<PolicyResult>);
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// As in the log and in the results.
    pub id: String,
    /// Over what.
    pub scope: Scope,
    /// Nothing is changed, whatever the policies' modes are.
    pub only_check: bool,
    /// By what the host noticed: `periodic check` …
    pub noticed_by: &'static str,
    /// Events of single resources.
    pub noticed: BTreeMap<Key, Noticed>,
    /// Who or what did it, where that is known.
    pub cause: String,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noticed {
    /// When it came.
    pub at: Timestamp,
    /// `file event`, `unit signal` …
    pub by: &'static str,
}

impl Run {
    fn is_event(&self) -> bool {
        matches!(self.scope, Scope::Resources(_))
    }
}

/// Place of a resource: policy and slot.
type At = (usize, usize);

struct Slot {
    key: Key,
    resource: Resource,
    kind: Box<dyn Kind>,
    /// In this process.
    validated: bool,
    result: ResourceResult,
    /// It was as it should be and then was not; nobody was told yet.
    drift: Option<Drifted>,
    /// A service that could not be told of a change.
    deaf: bool,
    /// The run that last made a result of it.
    looked: u64,
    /// The run that last changed it, or tried.
    ran: u64,
    /// A step of it is under way.
    is_away: bool,
}

struct Policy {
    spec: HostPolicy,
    slots: Vec<Slot>,
    /// Slots in the order in which they run.
    order: Vec<usize>,
    result: PolicyResult,
}

/// The policies of this host with what can be done about them.
#[derive(Default)]
pub struct Engine {
    policies: Vec<Policy>,
    /// Runs so far.
    runs: u64,
}

impl Engine {
    /// For `policies`; `before` are results of an earlier process or document: those of unchanged resources still hold.
    pub fn new(policies: &[HostPolicy], before: &[PolicyResult], build: &dyn Fn(&Resource) -> Box<dyn Kind>) -> Self {
        let policies = policies.iter().map(|spec| {
            let mut known = before.iter().find(|b| b.assignment == spec.assignment && b.policy == spec.policy).cloned();
            let slot = |resource: &Resource| {
                let result = known.as_mut().and_then(|k| {
                    let at = k.resources.iter().position(|r| r.id == resource.id)?;
                    Some(k.resources.swap_remove(at))
                });
                Slot {
                    key: Key { assignment: spec.assignment.clone(), policy: spec.policy.clone(), resource: resource.id.clone() },
                    kind: build(resource),
                    validated: false,
                    result: result.unwrap_or_else(|| ResourceResult { id: resource.id.clone(), ..Default::default() }),
                    resource: resource.clone(),
                    drift: None,
                    deaf: false,
                    looked: 0,
                    ran: 0,
                    is_away: false,
                }
            };
            let slots: Vec<Slot> = spec.resources.iter().map(slot).collect();
            let order = order::order(&spec.resources);
            let result = PolicyResult {
                assignment: spec.assignment.clone(),
                revision: spec.revision,
                policy: spec.policy.clone(),
                run: known.as_ref().map(|k| k.run.clone()).unwrap_or_default(),
                // Of another revision, nothing was looked at as a whole.
                checked_at: known.as_ref().filter(|k| k.revision == spec.revision).and_then(|k| k.checked_at),
                ..Default::default()
            };
            let mut policy = Policy { spec: HostPolicy { resources: Vec::new(), ..spec.clone() }, slots, order, result };
            policy.conclude();
            policy
        });
        Engine { policies: policies.collect(), runs: 0 }
    }

    /// How everything stands.
    pub fn results(&self) -> Vec<PolicyResult> {
        self.policies
            .iter()
            .map(|p| PolicyResult { resources: p.slots.iter().map(|s| s.result.clone()).collect(), ..p.result.clone() })
            .collect()
    }

    /// How those resources of `policies` stand that are as they were, but for `not` these.
    pub fn standing(&self, policies: &[HostPolicy], not: &dyn Fn(&Resource) -> bool) -> Vec<PolicyResult> {
        let mut results = self.results();
        for result in &mut results {
            let spec = policies.iter().find(|p| (&p.assignment, &p.policy) == (&result.assignment, &result.policy));
            let own = self.policies.iter().find(|p| (&p.spec.assignment, &p.spec.policy) == (&result.assignment, &result.policy));
            result.resources.retain(|known| {
                let now = spec.and_then(|s| s.resources.iter().find(|r| r.id == known.id));
                let was = own.and_then(|p| p.slots.iter().find(|s| s.resource.id == known.id)).map(|s| &s.resource);
                now.is_some_and(|now| Some(now) == was && !not(now))
            });
        }
        results
    }

    /// What each resource depends on. To be asked again after a run: a kind may know more then.
    pub fn watches(&self) -> BTreeMap<Watch, BTreeSet<Key>> {
        let mut out: BTreeMap<Watch, BTreeSet<Key>> = BTreeMap::new();
        for slot in self.slots() {
            for watch in slot.kind.watches() {
                out.entry(watch).or_default().insert(slot.key.clone());
            }
        }
        out
    }

    /// Resources whose result has this reason.
    pub fn with_reason(&self, reason: &str) -> BTreeSet<Key> {
        self.slots().filter(|s| s.result.reason == reason).map(|s| s.key.clone()).collect()
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.policies.iter().flat_map(|p| &p.slots)
    }

    /// Runs.
    pub fn run(&mut self, run: &Run, tools: &Tools<'_>, leave: &mut dyn Leave) -> Outcome {
        self.run_once(run, tools, leave, false)
    }

    fn run_once(&mut self, run: &Run, tools: &Tools<'_>, leave: &mut dyn Leave, between: bool) -> Outcome {
        let wanted = self.wanted(&run.scope);
        self.runs += 1;
        let mut going = Going {
            run,
            number: self.runs,
            between,
            tools,
            leave,
            trail: Vec::new(),
            before_change: 0,
            outcome: Outcome::default(),
            loud: !run.is_event(),
        };
        going.line(None, "Beginning ApplyConfigTask.");
        if self.policies.is_empty() {
            going.line(None, "No OSPolicies to apply.");
        }
        for (at, slots) in &wanted {
            self.policy(*at, slots, &mut going);
        }
        self.post_check(&mut going);
        self.close(&wanted, &mut going);
        going.line(None, "Successfully completed ApplyConfigTask");
        going.outcome
    }

    /// Which slots of which policies a run is over, in order.
    fn wanted(&self, scope: &Scope) -> Vec<(usize, Vec<usize>)> {
        let all = self.policies.iter().enumerate();
        match scope {
            Scope::All => all.map(|(p, policy)| (p, policy.order.clone())).collect(),
            Scope::Policies(ids) => all
                .filter(|(_, p)| ids.contains(&(p.spec.assignment.clone(), p.spec.policy.clone())))
                .map(|(p, policy)| (p, policy.order.clone()))
                .collect(),
            Scope::Resources(keys) => {
                all.map(|(p, policy)| (p, policy.concerned(keys))).filter(|(_, slots)| !slots.is_empty()).collect()
            }
        }
    }

    fn policy(&mut self, at: usize, wanted: &[usize], going: &mut Going<'_, '_>) {
        let policy = &self.policies[at];
        going.line(Some(policy), &format!("Executing policy \"{}\"", policy.spec.policy));
        let only_check = going.run.only_check || policy.spec.mode == Mode::Validation;
        if only_check {
            let text = "Policy running in VALIDATION mode, not running enforcement action for any resources.";
            going.line(Some(policy), text);
        }
        let mut broken = false;
        for &slot in wanted {
            let busy = &self.policies[at].slots[slot];
            if going.between && (busy.is_away || busy.kind.changes_packages()) {
                continue;
            }
            if broken {
                self.policies[at].slots[slot].skipped();
            } else if self.dependencies((at, slot), going) {
                broken = self.way((at, slot), only_check, going);
            } else {
                self.policies[at].slots[slot].waits_for_dependency();
            }
        }
        if !broken && !only_check {
            self.notify(at, going);
        }
    }

    /// The whole way of one resource; true when the rest of the policy is skipped.
    fn way(&mut self, at: At, only_check: bool, going: &mut Going<'_, '_>) -> bool {
        let notifies = self.policies[at.0].notifies(at.1);
        match Bench::new(self, at, going).go(only_check, &notifies) {
            Settled::Errors => return true,
            Settled::NotApplicable => {}
            Settled::Checked => going.trail.push(at),
            Settled::Changed { failed } => {
                going.changed(at);
                return failed;
            }
        }
        false
    }

    /// Are all dependencies of a resource as they should be? One that was changed in this run is checked again first.
    fn dependencies(&mut self, at: At, going: &mut Going<'_, '_>) -> bool {
        let slots = &self.policies[at.0].slots;
        let needed = &slots[at.1].resource.depends_on;
        let needed: Vec<usize> = needed.iter().filter_map(|id| slots.iter().position(|s| s.resource.id == *id)).collect();
        needed.into_iter().all(|place| {
            let slot = &self.policies[at.0].slots[place];
            if slot.ran == going.number && slot.result.state == ComplianceState::Unknown {
                Bench::new(self, (at.0, place), going).post_check();
            }
            self.policies[at.0].slots[place].result.state == ComplianceState::Compliant
        })
    }

    /// Everything that was checked before the last change is checked again.
    fn post_check(&mut self, going: &mut Going<'_, '_>) {
        let mut seen = BTreeSet::new();
        let mut trail = std::mem::take(&mut going.trail);
        trail.truncate(going.before_change);
        for at in trail {
            if seen.insert(at) {
                Bench::new(self, at, going).post_check();
            }
        }
    }

    /// States of policies, drift, and the lines that sum up.
    fn close(&mut self, wanted: &[(usize, Vec<usize>)], going: &mut Going<'_, '_>) {
        let (whole, now) = (!going.run.is_event(), (going.tools.now)());
        for (at, slots) in wanted {
            let policy = &mut self.policies[*at];
            if whole {
                policy.result.checked_at = Some(now);
                policy.result.run.clone_from(&going.run.id);
            }
            for &slot in slots {
                let text = {
                    let result = &policy.slots[slot].result;
                    format!("Policy \"{}\" resource \"{}\" state: {}", policy.spec.policy, result.id, result.state.as_str())
                };
                going.line_of(&policy.slots[slot].key, &text);
            }
        }
        for policy in &mut self.policies {
            policy.conclude();
            going.outcome.drift.extend(policy.slots.iter_mut().filter_map(Slot::decided_drift));
        }
    }
}

/// A run under way.
struct Going<'r, 't> {
    run: &'r Run,
    number: u64,
    /// Between the beginning and the end of a step of another run.
    between: bool,
    tools: &'r Tools<'t>,
    leave: &'r mut dyn Leave,
    /// What was checked, in order.
    trail: Vec<At>,
    /// How much of the trail was checked before the last change.
    before_change: usize,
    outcome: Outcome,
    /// Something was found, or it is a whole run: worth the log.
    loud: bool,
}

impl Going<'_, '_> {
    /// This one was changed: what was looked at so far is looked at again.
    fn changed(&mut self, at: At) {
        self.trail.push(at);
        self.before_change = self.trail.len();
        self.outcome.changes += 1;
    }

    fn line(&self, policy: Option<&Policy>, text: &str) {
        let (assignment, id) = policy.map_or(("", ""), |p| (&p.spec.assignment, &p.spec.policy));
        let text = text.to_owned();
        (self.tools.say)(&Line { quiet: !self.loud, assignment, policy: id, resource: "", text });
    }

    fn line_of(&self, key: &Key, text: &str) {
        let text = text.to_owned();
        let (assignment, policy, resource) = (&key.assignment, &key.policy, &key.resource);
        (self.tools.say)(&Line { quiet: !self.loud, assignment, policy, resource, text });
    }
}

impl Policy {
    /// Its state out of those of its resources. What is not for this host counts only when nothing else is there.
    fn conclude(&mut self) {
        if self.spec.unmatched {
            (self.result.state, self.result.reason) = (ComplianceState::NonCompliant, reason::NO_GROUP.to_owned());
            return;
        }
        let counting: Vec<&ResourceResult> =
            self.slots.iter().map(|s| &s.result).filter(|r| r.reason != reason::NOT_APPLICABLE).collect();
        let has = |reason: &str| counting.iter().any(|r| r.reason == reason);
        let state = ComplianceState::of_all(counting.iter().map(|r| r.state));
        let (state, reason) = match state {
            _ if counting.is_empty() && !self.slots.is_empty() => (ComplianceState::Unknown, reason::NOT_APPLICABLE),
            _ if has(reason::EXECUTION_ERRORS) => (state, reason::RESOURCE_ERRORS),
            ComplianceState::Compliant => (state, ""),
            _ => {
                let telling = [reason::FLAPPING, reason::WAITS_FOR_TASK, reason::READ_ONLY, reason::ATTEMPT_FAILED];
                (state, telling.into_iter().find(|r| has(r)).unwrap_or(""))
            }
        };
        (self.result.state, self.result.reason) = (state, reason.to_owned());
    }

    /// Slots an event concerns, with those that wait for one of them, in order.
    fn concerned(&self, keys: &BTreeSet<Key>) -> Vec<usize> {
        let mut ids: BTreeSet<&str> = BTreeSet::new();
        let mut broke = false;
        for &at in &self.order {
            let slot = &self.slots[at];
            let waits =
                slot.result.reason == reason::DEPENDENCY && slot.resource.depends_on.iter().any(|id| ids.contains(id.as_str()));
            if keys.contains(&slot.key) || waits || (broke && slot.result.reason == reason::SKIPPED) {
                ids.insert(&slot.resource.id);
                broke |= matches!(slot.result.reason.as_str(), reason::EXECUTION_ERRORS | reason::ATTEMPT_FAILED);
            }
        }
        self.order.iter().copied().filter(|at| ids.contains(self.slots[*at].resource.id.as_str())).collect()
    }

    fn notifies(&self, slot: usize) -> BTreeSet<Key> {
        let slot = &self.slots[slot];
        slot.resource.notify.iter().map(|id| Key { resource: id.clone(), ..slot.key.clone() }).collect()
    }
}

#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;
