//! The way of one resource through a run, in its types: only what was validated can be checked, only what was found wanting
//! can be enforced.

use std::collections::BTreeSet;
use std::time::Instant;

use drydock_domain::policy::report::reason;
use drydock_domain::policy::{ComplianceState, DriftOutcome, Evidence, StepKind, StepOutcome, StepResult};

use super::step::with_cx;
use super::{Drifted, Going, Held, Key, Noticed, Slot, text};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind};

/// How a resource came out of its way.
pub(super) enum Settled {
    /// An error: the rest of the policy is skipped.
    Errors,
    /// It is not for this host.
    NotApplicable,
    /// It was checked and not changed.
    Checked,
    /// It was changed, or that was tried.
    Changed {
        /// With an error: the rest of the policy is skipped.
        failed: bool,
    },
}

/// Validated.
struct Valid(());
/// Checked, and not as it should be.
struct Wanting {
    what: String,
}
/// What a check says.
enum Checked {
    Compliant,
    Wanting(Wanting),
    NotApplicable,
}
/// A step failed; it is in the steps.
struct Broken;

/// A resource on its way.
pub(super) struct Bench<'s, 'g, 'r, 't> {
    slot: &'s mut Slot,
    going: &'g mut Going<'r, 't>,
    steps: Vec<StepResult>,
}

impl<'s, 'g, 'r, 't> Bench<'s, 'g, 'r, 't> {
    pub(super) fn new(slot: &'s mut Slot, going: &'g mut Going<'r, 't>) -> Self {
        Bench { slot, going, steps: Vec::new() }
    }

    /// Validates, checks, and enforces where that is needed and allowed.
    pub(super) fn go(mut self, only_check: bool, notifies: &BTreeSet<Key>) -> Settled {
        let Ok(valid) = self.validate() else { return self.errors() };
        let found = match self.check(valid) {
            Err(Broken) => return self.errors(),
            Ok(found) => found,
        };
        match found {
            Checked::NotApplicable => {
                self.settle(ComplianceState::Unknown, reason::NOT_APPLICABLE);
                Settled::NotApplicable
            }
            Checked::Compliant => {
                self.slot.drift = None;
                let (state, reason) = self.slot.seen_compliant();
                // What an event after our own repair finds is no news, and must not take the repair's evidence away.
                let known = self.slot.result.state == state && self.slot.result.reason == reason;
                if !(known && self.going.run.is_event()) {
                    self.settle(state, reason);
                }
                Settled::Checked
            }
            Checked::Wanting(wanting) => self.wanting(wanting, only_check, notifies),
        }
    }

    fn wanting(mut self, wanting: Wanting, only_check: bool, notifies: &BTreeSet<Key>) -> Settled {
        self.drifted(&wanting.what);
        if only_check {
            self.decide(DriftOutcome::Reported);
            self.settle(ComplianceState::NonCompliant, "");
            return Settled::Checked;
        }
        let packages = self.slot.kind.changes_packages();
        if let Err(held) = self.going.leave.may_change(&self.slot.key, packages) {
            return self.held(&held);
        }
        let failed = self.enforce(wanting, notifies).is_err();
        if failed {
            self.slot.validated = false;
        }
        // Until the post-check nobody knows.
        self.settle(ComplianceState::Unknown, if failed { reason::ATTEMPT_FAILED } else { "" });
        Settled::Changed { failed }
    }

    fn held(mut self, held: &Held) -> Settled {
        match held {
            Held::ReadOnly => self.decide(DriftOutcome::Reported),
            // Looked at again when the task is done.
            Held::PatchTask => {}
            Held::Flapping { told, first } => {
                if *first {
                    self.decide(DriftOutcome::Flapping);
                    self.complain(&format!("Enforce state: resource \"{}\" is FLAPPING: {told}", self.slot.key.resource));
                } else {
                    self.slot.drift = None;
                }
                if let Some(last) = self.steps.last_mut() {
                    last.message = text::message(&format!("{}; {told}", last.message), self.going.tools.secrets);
                }
            }
        }
        self.settle(ComplianceState::NonCompliant, held.reason());
        Settled::Checked
    }

    /// Opens a drift when it was as it should be.
    fn drifted(&mut self, what: &str) {
        if self.slot.result.state != ComplianceState::Compliant {
            return;
        }
        let run = self.going.run;
        let noticed = run.noticed.get(&self.slot.key).copied();
        let noticed = noticed.unwrap_or_else(|| Noticed { at: (self.going.tools.now)(), by: run.noticed_by });
        self.slot.drift = Some(Drifted {
            key: self.slot.key.clone(),
            seen_at: noticed.at,
            what: text::message(what, self.going.tools.secrets),
            noticed_by: noticed.by,
            cause: run.cause.clone(),
            outcome: None,
            repaired_at: None,
        });
    }

    fn decide(&mut self, outcome: DriftOutcome) {
        if let Some(drift) = &mut self.slot.drift {
            drift.outcome = Some(outcome);
        }
    }

    fn errors(mut self) -> Settled {
        self.slot.validated = false;
        self.slot.drift = None;
        self.settle(ComplianceState::Unknown, reason::EXECUTION_ERRORS);
        Settled::Errors
    }

    fn settle(&mut self, state: ComplianceState, reason: &str) {
        self.slot.looked = self.going.number;
        let result = &mut self.slot.result;
        (result.state, result.reason) = (state, reason.to_owned());
        result.steps = std::mem::take(&mut self.steps);
    }

    fn validate(&mut self) -> Result<Valid, Broken> {
        // An event asks how something stands, not whether it can be looked at: nothing is fetched again for it.
        if self.going.run.is_event() && self.slot.validated {
            return Ok(Valid(()));
        }
        let id = self.slot.key.resource.clone();
        let done = self.step(StepKind::Validation, |kind, cx| kind.validate(cx), |()| (String::new(), None));
        match done {
            Ok(()) => {
                self.say(&format!("Validate: resource \"{id}\" validation successful."));
                self.slot.validated = true;
                Ok(Valid(()))
            }
            Err(why) => {
                self.complain(&format!("Validate: resource \"{id}\" error: {why}"));
                Err(Broken)
            }
        }
    }

    fn check(&mut self, _valid: Valid) -> Result<Checked, Broken> {
        let id = self.slot.key.resource.clone();
        match self.look(StepKind::DesiredStateCheck) {
            Ok(found) => {
                let line = format!("Check state: resource \"{id}\" state is {}.", state_of(&found).as_str());
                if matches!(found, Found::NonCompliant { .. }) {
                    self.complain(&line)
                } else {
                    self.say(&line)
                }
                Ok(match found {
                    Found::Compliant => Checked::Compliant,
                    Found::NonCompliant { what, .. } => Checked::Wanting(Wanting { what }),
                    Found::NotApplicable(_) => Checked::NotApplicable,
                })
            }
            Err(why) => {
                self.complain(&format!("Check state: resource \"{id}\" error: {why}"));
                Err(Broken)
            }
        }
    }

    fn look(&mut self, kind: StepKind) -> Result<Found, String> {
        self.step(
            kind,
            |kind, cx| kind.check(cx),
            |found| match found {
                Found::Compliant => (String::new(), None),
                Found::NonCompliant { what, evidence } => (what.clone(), evidence.clone()),
                Found::NotApplicable(why) => (why.clone(), None),
            },
        )
    }

    fn enforce(&mut self, _wanting: Wanting, notifies: &BTreeSet<Key>) -> Result<(), Broken> {
        let id = self.slot.key.resource.clone();
        match self.change(notifies, |kind, cx| kind.enforce(cx)) {
            Ok(done) => {
                self.slot.result.output = text::output(&done.output, self.going.tools.secrets);
                self.complain(&format!("Enforce state: resource \"{id}\" enforcement successful."));
                Ok(())
            }
            Err(why) => {
                self.complain(&format!("Enforce state: resource \"{id}\" error: {why}"));
                Err(Broken)
            }
        }
    }

    /// A changing step; it is on disk that it begins.
    fn change(
        &mut self,
        notifies: &BTreeSet<Key>,
        work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<Done, Failure>,
    ) -> Result<Done, String> {
        let begun = self.going.leave.begins(&self.slot.key, self.slot.drift.is_some(), notifies);
        self.slot.ran = self.going.number;
        let work = |kind: &mut dyn Kind, cx: &Cx<'_>| begun.map_err(Failure::of).and_then(|()| work(kind, cx));
        self.step(StepKind::DesiredStateEnforcement, work, |done| (done.what.clone(), done.evidence.clone()))
    }

    /// Is it as it should be now? Also decides what became of a drift.
    pub(super) fn post_check(mut self) {
        let kind = StepKind::DesiredStateCheckPostEnforcement;
        let number = self.going.number;
        let (attempted, was) = (self.slot.ran == number, self.slot.result.state);
        let id = self.slot.key.resource.clone();
        let found = self.look(kind);
        let (state, reason) = match &found {
            Ok(Found::Compliant) => self.slot.seen_compliant(),
            Ok(found) if attempted => (state_of(found), reason::ATTEMPT_FAILED),
            Ok(found) => (state_of(found), self.slot.held_reason()),
            Err(_) => (ComplianceState::Unknown, reason::EXECUTION_ERRORS),
        };
        match &found {
            Ok(found) => {
                let seen = state_of(found).as_str();
                self.say(&format!("Check state post enforcement: resource \"{id}\" state is {seen}."));
            }
            Err(why) => self.complain(&format!("Check state post enforcement: resource \"{id}\" error: {why}")),
        }
        if was == ComplianceState::Compliant && state == ComplianceState::NonCompliant && !attempted {
            self.going.outcome.again.push(self.slot.key.clone());
        }
        if attempted && let Some(drift) = &mut self.slot.drift {
            let compliant = state == ComplianceState::Compliant;
            drift.outcome = Some(if compliant { DriftOutcome::Repaired } else { DriftOutcome::Failed });
            drift.repaired_at = compliant.then(self.going.tools.now);
        }
        if self.slot.looked == number {
            let earlier = std::mem::take(&mut self.slot.result.steps);
            self.steps.splice(0..0, earlier.into_iter().filter(|s| s.kind != kind));
        } else if was == state {
            // An event's look that found nothing: what is known of it says more.
            return;
        }
        self.settle(state, reason);
    }

    /// A service hears that something it reads has changed; true when it did.
    pub(super) fn notified(mut self) -> bool {
        if !self.slot.validated && self.validate().is_err() {
            return false;
        }
        if self.slot.looked == self.going.number {
            self.steps = std::mem::take(&mut self.slot.result.steps);
        }
        let is_change = |s: &StepResult| s.kind == StepKind::DesiredStateEnforcement;
        let earlier = self.steps.iter().position(is_change).map(|at| self.steps.remove(at));
        let done = self.change(&BTreeSet::new(), |kind, cx| kind.notified(cx));
        if let (Some(earlier), Some(step)) = (earlier, self.steps.last_mut()) {
            step.message = format!("{}; {}", earlier.message, step.message);
            step.duration_ms += earlier.duration_ms;
            step.evidence = earlier.evidence.or_else(|| step.evidence.take());
            if earlier.outcome != StepOutcome::Succeeded {
                step.outcome = earlier.outcome;
            }
        }
        self.slot.deaf = done.is_err();
        let (state, reason) = (self.slot.result.state, self.slot.result.reason.clone());
        self.settle(state, &reason);
        let id = self.slot.key.resource.clone();
        match &done {
            Ok(done) => self.complain(&format!("Notify: resource \"{id}\" {}.", done.what)),
            Err(why) => self.complain(&format!("Notify: resource \"{id}\" error: {why}")),
        }
        done.is_ok()
    }

    /// Runs one step and notes it; the error is its message.
    fn step<T>(
        &mut self,
        kind: StepKind,
        work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<T, Failure>,
        told: impl FnOnce(&T) -> (String, Option<Evidence>),
    ) -> Result<T, String> {
        let tools = self.going.tools;
        let began = Instant::now();
        let done = match self.going.leave.step(&self.slot.key, kind) {
            Ok(()) => {
                let Slot { kind, key, resource, .. } = &mut *self.slot;
                with_cx(kind.as_mut(), (key, resource), tools, work)
            }
            Err(why) => Err(Failure::of(why)),
        };
        let (outcome, message, evidence) = match &done {
            Ok(value) => {
                let (message, evidence) = told(value);
                (StepOutcome::Succeeded, message, evidence)
            }
            Err(failure) => {
                let outcome = if failure.timed_out { StepOutcome::TimedOut } else { StepOutcome::Failed };
                (outcome, failure.message.clone(), failure.evidence.clone())
            }
        };
        let message = text::message(&message, tools.secrets);
        self.steps.push(StepResult {
            kind,
            outcome,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            message: message.clone(),
            evidence: evidence.map(|e| text::evidence(e, tools.secrets)),
        });
        done.map_err(|_| message)
    }

    fn say(&self, text: &str) {
        self.going.line_of(&self.slot.key, text);
    }

    /// From here on the run is worth the log.
    fn complain(&mut self, text: &str) {
        self.going.loud = true;
        self.say(text);
    }
}

fn state_of(found: &Found) -> ComplianceState {
    match found {
        Found::Compliant => ComplianceState::Compliant,
        Found::NonCompliant { .. } => ComplianceState::NonCompliant,
        Found::NotApplicable(_) => ComplianceState::Unknown,
    }
}

impl Slot {
    /// What it means that a check finds it as it should be: a service that could not be told of a change is not.
    fn seen_compliant(&self) -> (ComplianceState, &'static str) {
        if self.deaf { (ComplianceState::NonCompliant, reason::ATTEMPT_FAILED) } else { (ComplianceState::Compliant, "") }
    }

    /// The reason for which nothing was done about it, where it still holds.
    fn held_reason(&self) -> &'static str {
        let held = [reason::READ_ONLY, reason::WAITS_FOR_TASK, reason::FLAPPING, reason::NOT_APPLICABLE];
        held.into_iter().find(|r| *r == self.result.reason).unwrap_or("")
    }

    /// An earlier resource of the policy failed.
    pub(super) fn skipped(&mut self) {
        self.left(reason::SKIPPED);
    }

    /// Something it needs is not as it should be.
    pub(super) fn waits_for_dependency(&mut self) {
        self.left(reason::DEPENDENCY);
    }

    fn left(&mut self, reason: &str) {
        self.drift = None;
        self.result.steps.clear();
        (self.result.state, self.result.reason) = (ComplianceState::Unknown, reason.to_owned());
    }

    /// The drift, once it is decided what became of it.
    pub(super) fn decided_drift(&mut self) -> Option<Drifted> {
        self.drift.take_if(|d| d.outcome.is_some())
    }
}
