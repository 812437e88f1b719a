//! The way of one resource through a run, in its types: only what was validated can be checked, only what was found wanting
//! can be enforced.

use std::collections::BTreeSet;
use std::time::Instant;

use drydock_domain::policy::report::reason;
use drydock_domain::policy::{ComplianceState, DriftOutcome, Evidence, StepKind, StepOutcome, StepResult};

use super::{At, Drifted, Engine, Going, Held, Key, Noticed, Slot, text};
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
pub(super) struct Bench<'e, 'g, 'r, 't> {
    engine: &'e mut Engine,
    at: At,
    going: &'g mut Going<'r, 't>,
    steps: Vec<StepResult>,
}

/// The resource itself: a place, so that the rest of the bench stays free to be used.
macro_rules! slot {
    ($bench:expr) => {
        $bench.engine.policies[$bench.at.0].slots[$bench.at.1]
    };
}

impl<'e, 'g, 'r, 't> Bench<'e, 'g, 'r, 't> {
    pub(super) fn new(engine: &'e mut Engine, at: At, going: &'g mut Going<'r, 't>) -> Self {
        Bench { engine, at, going, steps: Vec::new() }
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
                slot!(self).drift = None;
                let (state, reason) = slot!(self).seen_compliant();
                // What an event after our own repair finds is no news, and must not take the repair's evidence away.
                let known = slot!(self).result.state == state && slot!(self).result.reason == reason;
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
        let packages = slot!(self).kind.changes_packages();
        if let Err(held) = self.going.leave.may_change(&slot!(self).key, packages) {
            return self.held(&held);
        }
        let failed = self.enforce(wanting, notifies).is_err();
        if failed {
            slot!(self).validated = false;
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
                    self.complain(&format!("Enforce state: resource \"{}\" is FLAPPING: {told}", slot!(self).key.resource));
                } else {
                    slot!(self).drift = None;
                }
                if let Some(last) = self.steps.last_mut() {
                    last.message = text::message(&format!("{}; {told}", last.message), self.going.tools.place.secrets);
                }
            }
        }
        self.settle(ComplianceState::NonCompliant, held.reason());
        Settled::Checked
    }

    /// Opens a drift when it was as it should be.
    fn drifted(&mut self, what: &str) {
        if slot!(self).result.state != ComplianceState::Compliant {
            return;
        }
        let run = self.going.run;
        let noticed = run.noticed.get(&slot!(self).key).copied();
        let noticed = noticed.unwrap_or_else(|| Noticed { at: (self.going.tools.now)(), by: run.noticed_by });
        slot!(self).drift = Some(Drifted {
            key: slot!(self).key.clone(),
            seen_at: noticed.at,
            what: text::message(what, self.going.tools.place.secrets),
            noticed_by: noticed.by.into(),
            cause: text::message(&run.cause, self.going.tools.place.secrets),
            outcome: None,
            repaired_at: None,
        });
    }

    fn decide(&mut self, outcome: DriftOutcome) {
        if let Some(drift) = &mut slot!(self).drift {
            drift.outcome = Some(outcome);
        }
    }

    fn errors(mut self) -> Settled {
        slot!(self).validated = false;
        slot!(self).drift = None;
        self.settle(ComplianceState::Unknown, reason::EXECUTION_ERRORS);
        Settled::Errors
    }

    fn settle(&mut self, state: ComplianceState, reason: &str) {
        slot!(self).looked = self.going.number;
        let result = &mut slot!(self).result;
        (result.state, result.reason) = (state, reason.to_owned());
        result.steps = std::mem::take(&mut self.steps);
    }

    fn validate(&mut self) -> Result<Valid, Broken> {
        // An event asks how something stands, not whether it can be looked at: nothing is fetched again for it.
        if self.going.run.is_event() && slot!(self).validated {
            return Ok(Valid(()));
        }
        let id = slot!(self).key.resource.clone();
        let done = self.step(StepKind::Validation, |kind, cx| kind.validate(cx), |()| (String::new(), None));
        match done {
            Ok(()) => {
                self.say(&format!("Validate: resource \"{id}\" validation successful."));
                slot!(self).validated = true;
                Ok(Valid(()))
            }
            Err(why) => {
                self.complain(&format!("Validate: resource \"{id}\" error: {why}"));
                Err(Broken)
            }
        }
    }

    fn check(&mut self, _valid: Valid) -> Result<Checked, Broken> {
        let id = slot!(self).key.resource.clone();
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
        let id = slot!(self).key.resource.clone();
        match self.change(notifies, |kind, cx| kind.enforce(cx)) {
            Ok(done) => {
                slot!(self).result.output = text::output(&done.output, self.going.tools.place.secrets);
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
        work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<Done, Failure> + Send,
    ) -> Result<Done, String> {
        let begun = self.going.leave.begins(&slot!(self).key, slot!(self).drift.as_ref(), notifies);
        slot!(self).ran = self.going.number;
        let work = |kind: &mut dyn Kind, cx: &Cx<'_>| begun.map_err(Failure::of).and_then(|()| work(kind, cx));
        self.step(StepKind::DesiredStateEnforcement, work, |done| (done.what.clone(), done.evidence.clone()))
    }

    /// Is it as it should be now? Also decides what became of a drift.
    pub(super) fn post_check(mut self) {
        let kind = StepKind::DesiredStateCheckPostEnforcement;
        let number = self.going.number;
        let (attempted, was) = (slot!(self).ran == number, slot!(self).result.state);
        let id = slot!(self).key.resource.clone();
        let found = self.look(kind);
        let (state, reason) = match &found {
            Ok(Found::Compliant) => slot!(self).seen_compliant(),
            Ok(found) if attempted => (state_of(found), reason::ATTEMPT_FAILED),
            Ok(found) => (state_of(found), slot!(self).held_reason()),
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
            self.going.outcome.again.push(slot!(self).key.clone());
        }
        if attempted && let Some(drift) = &mut slot!(self).drift {
            let compliant = state == ComplianceState::Compliant;
            drift.outcome = Some(if compliant { DriftOutcome::Repaired } else { DriftOutcome::Failed });
            drift.repaired_at = compliant.then(self.going.tools.now);
        }
        if slot!(self).looked == number {
            let earlier = std::mem::take(&mut slot!(self).result.steps);
            self.steps.splice(0..0, earlier.into_iter().filter(|s| s.kind != kind));
        } else if was == state {
            // An event's look that found nothing: what is known of it says more.
            return;
        }
        self.settle(state, reason);
    }

    /// A service hears that something it reads has changed; true when it did.
    pub(super) fn notified(mut self) -> bool {
        if !slot!(self).validated && self.validate().is_err() {
            return false;
        }
        if slot!(self).looked == self.going.number {
            self.steps = std::mem::take(&mut slot!(self).result.steps);
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
        slot!(self).deaf = done.is_err();
        let (state, reason) = (slot!(self).result.state, slot!(self).result.reason.clone());
        self.settle(state, &reason);
        let id = slot!(self).key.resource.clone();
        match &done {
            Ok(done) => self.complain(&format!("Notify: resource \"{id}\" {}.", done.what)),
            Err(why) => self.complain(&format!("Notify: resource \"{id}\" error: {why}")),
        }
        done.is_ok()
    }

    /// Runs one step and notes it; the error is its message.
    fn step<T: Send>(
        &mut self,
        kind: StepKind,
        work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<T, Failure> + Send,
        told: impl FnOnce(&T) -> (String, Option<Evidence>),
    ) -> Result<T, String> {
        let tools = self.going.tools;
        let began = Instant::now();
        let done = match self.going.leave.step(&slot!(self).key, kind) {
            Ok(()) => self.engine.work(self.at, self.going, work),
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
        let message = text::message(&message, tools.place.secrets);
        self.steps.push(StepResult {
            kind,
            outcome,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            message: message.clone(),
            evidence: evidence.map(|e| text::evidence(e, tools.place.secrets)),
        });
        done.map_err(|_| message)
    }

    fn say(&self, text: &str) {
        self.going.line_of(&slot!(self).key, text);
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
