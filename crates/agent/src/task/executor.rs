//! Executes one task: asks the machine what is next, saves that, acts, reports. Safe to drop at any point: the next
//! executor takes up where the ledger says, and no operator's script and no finished transaction runs twice.

use std::sync::Mutex;
use std::time::Duration;

use drydock_domain::ids::TaskId;
use drydock_domain::inventory::PackageSet;
use drydock_domain::patch::report::{Output, StepKind, StepOutcome};
use drydock_domain::patch::spec::{ExecStep, ExecStepConfig};
use drydock_domain::patch::undo::UndoOrder;
use drydock_domain::work::Directive;

use super::control::Control;
use super::frozen::told;
use super::host::{Host, ScriptEnd, Trouble};
use super::machine::{self, AfterRepair, Ending, Event, Rules, State, StopReason, step};
use super::report::{self, StepEnd};
use super::slots::Slots;
use super::soaking;
use super::wait::Looked;
use crate::ledger::{Entry, Ledger, LedgerError};
use crate::link::session::lock;

/// Waiting times of the executor.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a reboot command may take to take effect.
    pub reboot: Duration,
    /// How long REBOOTING may take to reach the server before the host goes down anyway.
    pub announce: Duration,
    /// How often either is looked at.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { reboot: Duration::from_secs(300), announce: Duration::from_secs(10), look: Duration::from_millis(200) }
    }
}

/// Executes tasks on a host.
pub struct Executor<'a, H: Host> {
    /// The host.
    pub host: &'a mut H,
    /// The memory.
    pub ledger: &'a Mutex<Ledger>,
    /// The server's wishes.
    pub control: &'a Control,
    /// Reboot slots.
    pub slots: &'a Slots,
    /// Wakes the link.
    pub told: &'a dyn Fn(),
    /// Waiting times.
    pub limits: Limits,
}

/// How far a task came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// To its end.
    Finished,
    /// It waits.
    Waits {
        /// To be run again after this, or when something was heard.
        again: Duration,
        /// Something was done before it began to wait.
        acted: bool,
    },
}

/// What a step brought, beside its event.
pub(super) struct Acted {
    pub(super) event: Event,
    pub(super) outcome: StepOutcome,
    pub(super) end: StepEnd,
    /// There was nothing to do: the step is not told.
    pub(super) silent: bool,
}

impl Acted {
    pub(super) fn done(message: impl Into<String>) -> Self {
        Acted::with(Event::Done, StepOutcome::Succeeded, message)
    }

    pub(super) fn with(event: Event, outcome: StepOutcome, message: impl Into<String>) -> Self {
        Acted { event, outcome, end: StepEnd { message: message.into(), ..Default::default() }, silent: false }
    }

    pub(super) fn trouble(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(why) => Acted::with(Event::Failed(why.clone()), StepOutcome::Failed, why),
            Trouble::TimedOut(why) => Acted::with(Event::Failed(why.clone()), StepOutcome::TimedOut, why),
            Trouble::Killed => Acted::with(Event::Killed, StepOutcome::Killed, "killed on request"),
            Trouble::Interrupted(why) => Acted::with(Event::Interrupted, StepOutcome::Interrupted, why),
        }
    }

    pub(super) fn output(mut self, output: Output, exit_code: Option<i32>) -> Self {
        self.end.output = output;
        self.end.exit_code = exit_code;
        self
    }
}

impl<H: Host> Executor<'_, H> {
    /// Runs `task` to its end, or until it has to wait.
    pub fn run(&mut self, task: TaskId) -> Result<Ran, LedgerError> {
        let Some(mut entry) = lock(self.ledger).get(task).cloned() else { return Err(LedgerError::Unknown(task)) };
        // The state in the ledger may have been begun before this executor existed.
        let mut resumed = entry.state != State::Accepted;
        let waits = matches!(entry.state, State::Wait { .. });
        if resumed && !waits && !entry.state.is_finished() {
            tracing::info!("task {task}: taken up again at {}", entry.state.label());
        }
        let mut cannot_save = None;
        let mut did = false;
        while !entry.state.is_finished() {
            let acted = match (&cannot_save, self.stop_reason(&entry)) {
                // Reading the truth changes nothing, and the report is worth it.
                (Some(why), _) if !matches!(entry.state, State::Verify { .. }) => Some(Event::CannotSave(String::clone(why))),
                (None, Some(reason)) if !self.begun(&entry, resumed) => Some(Event::Stop(reason)),
                _ => None,
            };
            let acted = acted.filter(|e| step(entry.state.clone(), e.clone(), rules(&entry)).is_ok());
            let acted = match (acted, entry.state.clone()) {
                (Some(event), _) => Acted { silent: true, ..Acted::with(event, StepOutcome::Succeeded, "") },
                (None, State::Wait { before }) => match self.look(&mut entry, &before, resumed) {
                    Looked::On(acted) => acted,
                    Looked::Holds { message, again } => {
                        if entry.report.message != report::cut(message.clone()) {
                            tracing::info!("task {task}: {message}");
                            self.tell(&mut entry, message);
                        }
                        return Ok(Ran::Waits { again, acted: did });
                    }
                },
                (None, _) => self.act(&mut entry, resumed),
            };
            (resumed, did) = (false, true);
            self.advance(&mut entry, acted);
            // Not in the match: its guard would still be held in the arms.
            let saved = lock(self.ledger).save(entry.clone());
            match saved {
                Ok(()) => {}
                Err(LedgerError::Crashed) => return Err(LedgerError::Crashed),
                Err(LedgerError::Unknown(task)) => return Err(LedgerError::Unknown(task)),
                Err(e) => {
                    tracing::error!("task {task}: {e}");
                    lock(self.ledger).keep_unsaved(entry.clone());
                    cannot_save = Some(e.to_string());
                }
            }
            (self.told)();
        }
        tracing::info!("task {task}: {} ({})", entry.report.state.as_str(), entry.report.message);
        self.host.clean();
        self.slots.forget(task);
        Ok(Ran::Finished)
    }

    /// Tells the server how the step goes on.
    pub(super) fn tell(&mut self, entry: &mut Entry, message: String) {
        let report = &mut entry.report;
        report.message = report::cut(message);
        report.seq += 1;
        report.at = self.host.now();
        report::fit(report);
        let saved = lock(self.ledger).save(entry.clone());
        if let Err(e) = saved {
            // The next step's save says so, too, and ends the task.
            tracing::warn!("task {}: {e}", entry.id());
            lock(self.ledger).keep_unsaved(entry.clone());
        }
        (self.told)();
    }

    pub(super) fn stop_reason(&self, entry: &Entry) -> Option<StopReason> {
        if self.control.wish(entry.id()) >= Directive::Stop {
            return Some(StopReason::Request);
        }
        entry.order.task.deadline.is_some_and(|d| self.host.now() > d).then_some(StopReason::Deadline)
    }

    /// May the step already have begun, so that "stopped before" would be false?
    fn begun(&mut self, entry: &Entry, resumed: bool) -> bool {
        resumed && matches!(entry.state, State::PreStep | State::PostStep { .. } | State::Apply { .. } | State::Reboot { .. })
    }

    /// Puts what happened into the entry: the machine's next state, the report.
    fn advance(&mut self, entry: &mut Entry, acted: Acted) {
        let now = self.host.now();
        if acted.silent {
            report::discard(&mut entry.report);
        } else {
            report::close(&mut entry.report, acted.outcome, acted.end, now);
        }
        entry.state = match step(entry.state.clone(), acted.event, rules(entry)) {
            Ok(next) => next,
            // A fault of this program; the operator must see it, and the host must not be left waiting.
            Err(refused) => State::Finished {
                state: drydock_domain::patch::task::TaskState::Failed,
                message: format!("the agent does not know how to go on: {refused}"),
            },
        };
        entry.boot = self.host.boot_id();
        let report = &mut entry.report;
        if let Some(kind) = entry.state.step_kind() {
            report::open(report, kind, now);
        }
        report.state = entry.state.task_state();
        report.message = report::cut(match &entry.state {
            State::Finished { state, message } if state.is_success() => {
                [message.clone(), told(&report.differs), soaking::told(&report.plans)]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("; ")
            }
            State::Finished { message, .. } => message.clone(),
            other => doing(other).to_owned(),
        });
        report.seq += 1;
        report.at = now;
        report::fit(report);
        tracing::info!("task {}: {}", entry.id(), entry.state.label());
    }

    fn act(&mut self, entry: &mut Entry, resumed: bool) -> Acted {
        let place = place(entry);
        match entry.state.clone() {
            // A wait is looked at in front of this.
            State::Accepted | State::Wait { .. } => self.accepted(entry),
            State::PreStep => self.script(&place, StepKind::PreStep, entry.order.task.config.pre_step.clone()),
            State::PostStep { .. } => self.script(&place, StepKind::PostStep, entry.order.task.config.post_step.clone()),
            State::Check { .. } => self.check(entry),
            State::Reboot { boot, phase } => self.reboot(entry, &boot, phase, resumed),
            State::Repair { then } => self.repair(&place, &then, resumed),
            State::Refresh => self.refresh(entry, &place, resumed),
            State::Plan => self.plan(entry),
            State::Download => self.download(entry, &place, resumed),
            State::Apply { .. } => self.apply(entry, &place, resumed),
            State::Verify { ending } => self.verify(entry, &ending),
            State::Health { .. } => self.health(entry),
            State::Finished { .. } => Acted { silent: true, ..Acted::done("") },
        }
    }

    fn accepted(&mut self, entry: &mut Entry) -> Acted {
        // With a window, what was failed before the task is what was failed before it may begin.
        let event = match entry.order.task.windows.is_none().then(|| self.prepare(entry)) {
            Some(Err(why)) => Event::Failed(why),
            _ => Event::Begin,
        };
        Acted { silent: true, ..Acted::with(event, StepOutcome::Succeeded, "") }
    }

    fn script(&mut self, place: &str, kind: StepKind, step: Option<ExecStep>) -> Acted {
        let Some(config) = step.and_then(|s| s.linux_exec_step_config) else {
            return Acted::done("the step is for another operating system");
        };
        let ScriptEnd { code, output } = self.host.script(place, kind, &config);
        match code {
            Ok(code) => judge(&config, code).output(output, Some(code)),
            Err(trouble) => Acted::trouble(trouble).output(output, None),
        }
    }

    fn check(&mut self, entry: &mut Entry) -> Acted {
        let mut reasons: Vec<String> = self.host.reboot_reasons().into_iter().map(|r| r.detail).collect();
        if entry.reboot_suggested {
            reasons.push("the package manager suggests a reboot".to_owned());
        }
        reasons.dedup();
        let event = Event::HostAsks { reboot: !reasons.is_empty(), boot: self.host.boot_id() };
        entry.report.reboot_reasons = reasons;
        Acted { silent: true, ..Acted::with(event, StepOutcome::Succeeded, "") }
    }

    fn reboot(&mut self, entry: &mut Entry, boot: &str, phase: machine::Phase, resumed: bool) -> Acted {
        if !resumed {
            self.announce(entry);
        }
        if self.host.boot_id() == boot {
            tracing::warn!("task {}: the host is rebooted now", entry.id());
            if let Err(why) = self.host.reboot() {
                return Acted::trouble(Trouble::Failed(why));
            }
            let mut waited = Duration::ZERO;
            while self.host.boot_id() == boot {
                if waited >= self.limits.reboot {
                    let why = format!("the reboot command had no effect within {} s", self.limits.reboot.as_secs());
                    return Acted::trouble(Trouble::TimedOut(why));
                }
                self.host.pause(self.limits.look);
                waited += self.limits.look;
            }
        }
        entry.report.reboots += 1;
        entry.rebooted_after |= phase == machine::Phase::After;
        entry.reboot_suggested = false;
        Acted::with(Event::Booted, StepOutcome::Succeeded, "the host is up again")
    }

    /// Gives the link a moment to tell the server before the line goes.
    fn announce(&mut self, entry: &Entry) {
        let mut waited = Duration::ZERO;
        while waited < self.limits.announce {
            let told = lock(self.ledger).get(entry.id()).is_none_or(|e| e.stored_seq >= entry.report.seq);
            if told {
                return;
            }
            self.host.pause(self.limits.look);
            waited += self.limits.look;
        }
    }

    fn repair(&mut self, place: &str, then: &AfterRepair, resumed: bool) -> Acted {
        if resumed && let Err(trouble) = self.host.settle(place) {
            return Acted::trouble(trouble);
        }
        match self.host.repair(place) {
            Ok(done) if done.needed => Acted::done(done.message).output(done.output, None),
            Ok(_) => Acted { silent: true, ..Acted::done("") },
            // Its own command vanished under our eyes (somebody killed it): the next task mends again.
            Err(Trouble::Interrupted(why)) => Acted::trouble(Trouble::Failed(why)),
            Err(trouble) if matches!(then, AfterRepair::Refresh) => Acted::trouble(trouble),
            Err(Trouble::Killed) => Acted::trouble(Trouble::Failed("killed".to_owned())),
            Err(trouble) => Acted::trouble(trouble),
        }
    }

    fn refresh(&mut self, entry: &mut Entry, place: &str, resumed: bool) -> Acted {
        if resumed && let Err(trouble) = self.host.settle(place) {
            return Acted::trouble(trouble);
        }
        if entry.order.task.config.from_cache {
            return Acted::done("the job asks for no refresh: the metadata that is there is used");
        }
        match self.host.refresh(place) {
            Ok(None) => Acted::done("this host is read-only: the metadata that is there is used"),
            Ok(Some(findings)) => {
                let words: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.subject, f.message)).collect();
                let all = words.join("; ");
                let broken = findings.len();
                entry.refresh_findings = findings;
                match broken {
                    0 => Acted::done("all repositories read"),
                    n if entry.order.task.config.strict_repositories => {
                        Acted::trouble(Trouble::Failed(format!("{n} broken, and the job asks for strict repositories: {all}")))
                    }
                    n => Acted::done(format!("{n} broken, going on with the others: {all}")),
                }
            }
            Err(Trouble::Interrupted(why)) => Acted::trouble(Trouble::Failed(why)),
            Err(trouble) => Acted::trouble(trouble),
        }
    }

    fn download(&mut self, entry: &mut Entry, place: &str, resumed: bool) -> Acted {
        if resumed && let Err(trouble) = self.host.settle(place) {
            return Acted::trouble(trouble);
        }
        let plans = entry.report.plans.get(entry.round_from..).unwrap_or_default().to_vec();
        let mut last = Acted::done("nothing to download");
        for (i, plan) in plans.iter().enumerate().filter(|(_, p)| !p.actions.is_empty()) {
            match self.host.download(&format!("{place}/plan-{i}"), plan) {
                Ok(outcome) if outcome.success => {
                    last = Acted::done(outcome.message).output(outcome.output, outcome.exit.exit_code);
                }
                Ok(outcome) => {
                    let event = Event::Failed(outcome.message.clone());
                    return Acted::with(event, StepOutcome::Failed, outcome.message)
                        .output(outcome.output, outcome.exit.exit_code);
                }
                Err(Trouble::Interrupted(why)) => return Acted::trouble(Trouble::Failed(why)),
                Err(trouble) => return Acted::trouble(trouble),
            }
        }
        last
    }

    fn apply(&mut self, entry: &mut Entry, place: &str, resumed: bool) -> Acted {
        if resumed {
            match self.host.settle(place) {
                Ok(Some(survived)) => return taken_up(survived),
                Ok(None) => {}
                Err(trouble) => return Acted::trouble(trouble),
            }
        }
        entry.applied = true;
        let plans = entry.report.plans.get(entry.round_from..).unwrap_or_default().to_vec();
        let mut last = Acted::done("nothing to apply");
        for (i, plan) in plans.iter().enumerate().filter(|(_, p)| p.changes() > 0) {
            match self.host.apply(&format!("{place}/plan-{i}"), plan) {
                Ok(outcome) => {
                    entry.reboot_suggested |= outcome.reboot_suggested;
                    entry.failed_packages.extend(outcome.failed_packages);
                    let (event, how) = if outcome.success {
                        (Event::Done, StepOutcome::Succeeded)
                    } else if outcome.exit.end == drydock_pkgmgr::run::End::TimedOut {
                        (Event::Failed(outcome.message.clone()), StepOutcome::TimedOut)
                    } else {
                        (Event::Failed(outcome.message.clone()), StepOutcome::Failed)
                    };
                    last = Acted::with(event, how, outcome.message).output(outcome.output, outcome.exit.exit_code);
                    if !outcome.success {
                        return last;
                    }
                }
                Err(trouble) => return Acted::trouble(trouble),
            }
        }
        last
    }

    fn verify(&mut self, entry: &mut Entry, ending: &Ending) -> Acted {
        let plans = entry.report.plans.get(entry.round_from..).unwrap_or_default();
        let Some(plan) = report::merged(plans) else { return Acted::with(Event::Verified(None), StepOutcome::Succeeded, "") };
        // Without it (somebody emptied the state directory) the versions in the plan still tell what was there.
        let before = self.host.before(entry.round_from).unwrap_or_else(|| PackageSet::new(Vec::new()));
        let failed = entry.failed_packages.clone();
        let modules = plans.iter().filter(|p| !p.modules.is_empty()).map(|p| self.host.verify_modules(p));
        let modules: Result<Vec<_>, Trouble> = modules.collect();
        let undo = entry.order.task.config.undo.clone();
        let both = modules.and_then(|m| {
            let results = self.host.verify(&plan, &before, &failed)?;
            Ok((results, m.concat(), self.not_as_before(undo.as_ref())?))
        });
        match both {
            Ok((results, modules, not_back)) => {
                let results: Vec<_> = if before.as_slice().is_empty() {
                    results
                        .into_iter()
                        .filter(|r| r.outcome != drydock_domain::patch::report::PackageOutcome::Unplanned)
                        .collect()
                } else {
                    results
                };
                let found = report::shortfall(&results, &modules).or(not_back);
                let tally = report::tally(&results, &modules);
                entry.report.packages.extend(results);
                entry.report.modules.extend(modules);
                let outcome =
                    if found.is_none() || *ending == Ending::Killed { StepOutcome::Succeeded } else { StepOutcome::Failed };
                Acted::with(Event::Verified(found), outcome, tally)
            }
            Err(trouble) => match Acted::trouble(trouble) {
                Acted { event: Event::Failed(why), end, .. } => {
                    Acted { end, ..Acted::with(Event::Failed(why), StepOutcome::Failed, "") }
                }
                other => Acted::with(Event::Failed(other.end.message.clone()), StepOutcome::Failed, other.end.message),
            },
        }
    }
}

impl<H: Host> Executor<'_, H> {
    /// What of an undo the package database does not show.
    fn not_as_before(&mut self, undo: Option<&UndoOrder>) -> Result<Option<String>, Trouble> {
        let Some(order) = undo else { return Ok(None) };
        let wrong = order.shortfall(self.host.installed()?.as_slice());
        Ok((!wrong.is_empty()).then(|| format!("not taken back: {}", wrong.join("; "))))
    }
}

fn rules(entry: &Entry) -> Rules {
    let task = &entry.order.task;
    let linux = |step: &Option<ExecStep>| step.as_ref().is_some_and(|s| s.linux_exec_step_config.is_some());
    Rules {
        dry_run: task.dry_run,
        download_only: task.config.download_only,
        pre_step: linux(&task.config.pre_step),
        post_step: linux(&task.config.post_step),
        reboot: task.config.reboot_config,
        reboots: entry.report.reboots,
        rebooted_after: entry.rebooted_after,
        windows: task.windows.is_some(),
        reboot_slot: task.reboot_slot,
        health: task.config.health_checks.is_some(),
        changed: entry.applied || entry.report.reboots > 0,
        undo: task.config.undo.is_some(),
    }
}

/// Where the commands of the current step are kept: a name that stays the same until the step is left, and is never
/// used by another step of the task.
fn place(entry: &Entry) -> String {
    let name = entry.state.label().to_ascii_lowercase();
    match entry.state {
        State::PreStep | State::PostStep { .. } => name,
        _ => format!("{name}-{}", entry.report.seq),
    }
}

/// A transaction outlived the agent. Whatever its exit code says, the rest of the plan is looked for: that costs
/// nothing when there is none.
fn taken_up(survived: super::host::Settled) -> Acted {
    let why = match survived.exit_code {
        Some(code) => format!("the agent went down while it ran; the transaction came to its end (exit code {code})"),
        None => "the agent or the host went down while it ran".to_owned(),
    };
    Acted::trouble(Trouble::Interrupted(why)).output(survived.output, survived.exit_code)
}

fn judge(config: &ExecStepConfig, code: i32) -> Acted {
    if config.is_success(code) {
        return Acted::done(format!("exit code {code}"));
    }
    let why = format!("it ended with exit code {code}");
    Acted::with(Event::Failed(why.clone()), StepOutcome::Failed, why)
}

fn doing(state: &State) -> &'static str {
    match state {
        State::Accepted => "accepted",
        State::PreStep => "running the pre-step",
        State::Check { .. } => "asking whether the host needs a reboot",
        State::Reboot { .. } => "rebooting",
        State::Repair { .. } => "looking for an interrupted transaction",
        State::Refresh => "reading the repositories",
        State::Plan => "planning",
        State::Download => "downloading",
        State::Apply { .. } => "applying the plan",
        State::Verify { .. } => "verifying",
        State::PostStep { .. } => "running the post-step",
        State::Health { .. } => "checking the host's health",
        State::Wait { .. } => "asking whether it may go on",
        State::Finished { .. } => "finished",
    }
}

#[cfg(test)]
#[path = "executor_tests/mod.rs"]
mod tests;
