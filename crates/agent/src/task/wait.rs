//! Waiting: for the host's maintenance window, which the ledger knows, and for a reboot slot, which the server gives.
//! A task that waits holds nothing up: its executor returns and is asked again later.

use std::time::{Duration, Instant};

use drydock_domain::patch::report::{StepKind, StepOutcome};
use drydock_domain::work::{OrderWindows, WindowNow};
use jiff::Timestamp;

use super::executor::{Acted, Executor};
use super::host::Host;
use super::machine::{Event, Held, StopReason};
use super::slots::Slot;
use crate::ledger::Entry;

/// A waiting task is looked at this often, so that a jump of the clock is noticed.
const LOOK: Duration = Duration::from_secs(30);
/// A moment that has come is looked for this much later at the earliest: clocks are not read twice the same.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// What a look at a waiting task brought.
pub(super) enum Looked {
    /// It goes on.
    On(Acted),
    /// It waits.
    Holds {
        /// For what; for people.
        message: String,
        /// To be looked at again after this.
        again: Duration,
    },
}

impl<H: Host> Executor<'_, H> {
    /// May what waits be begun? `waited`: this is not the first look.
    pub(super) fn look(&mut self, entry: &mut Entry, before: &Held, waited: bool) -> Looked {
        let now = self.host.now();
        if let Held::Reboot { boot, .. } = before
            && self.host.boot_id() != *boot
        {
            // Somebody else rebooted it meanwhile.
            return self.admitted(entry, before, waited);
        }
        match entry.order.task.windows.as_ref().map(|w| (w, w.at(now))) {
            None | Some((_, WindowNow::Open { .. })) => {}
            Some((_, WindowNow::Over)) => return on(Event::Stop(StopReason::WindowOver)),
            Some((windows, WindowNow::Closed { opens })) => {
                let again = until(opens, entry, now);
                return Looked::Holds { message: closed(windows, opens), again };
            }
        }
        if matches!(before, Held::Reboot { .. }) && entry.order.task.reboot_slot {
            match self.slots.look(entry.id(), Instant::now()) {
                Slot::Granted => {}
                // The link wakes us with its answer.
                Slot::Waits(message) => return Looked::Holds { message, again: until(Timestamp::MAX, entry, now) },
            }
        }
        self.admitted(entry, before, waited)
    }

    fn admitted(&mut self, entry: &mut Entry, before: &Held, waited: bool) -> Looked {
        match before {
            Held::Begin => {
                if let Err(why) = self.prepare(entry) {
                    return on(Event::Failed(why));
                }
            }
            Held::Apply if waited => forget_plan(entry),
            Held::Apply | Held::Repair => {}
            Held::Reboot { .. } => self.slots.forget(entry.id()),
        }
        on(Event::Admitted { waited })
    }

    /// Keeps what the host's health is compared with, before anything is changed.
    pub(super) fn prepare(&mut self, entry: &mut Entry) -> Result<(), String> {
        let order = &entry.order.task;
        let changes = !order.dry_run && !order.config.download_only;
        let compares = order.config.health_checks.as_ref().is_some_and(|h| h.compares_units());
        if changes && compares && entry.failed_units.is_none() {
            let units = self.host.failed_units();
            let units = units.map_err(|why| format!("the host's failed units cannot be read for its health checks: {why}"))?;
            entry.failed_units = Some(units);
        }
        Ok(())
    }
}

/// The place of a plan that grew old is taken by the one that is made now, so that a report does not grow with each wait.
fn forget_plan(entry: &mut Entry) {
    let report = &mut entry.report;
    report.plans.truncate(entry.round_from);
    while report.steps.last().is_some_and(|s| matches!(s.step, StepKind::Refresh | StepKind::Plan)) {
        report.steps.pop();
    }
}

fn on(event: Event) -> Looked {
    Looked::On(Acted { silent: true, ..Acted::with(event, StepOutcome::Succeeded, "") })
}

fn closed(windows: &OrderWindows, opens: Timestamp) -> String {
    let name = if windows.name.is_empty() { String::new() } else { format!(" {}", windows.name) };
    // Whole seconds: nobody opens a window in between.
    let opens = Timestamp::from_second(opens.as_second()).unwrap_or(opens);
    format!("waits for its maintenance window{name}, which opens at {opens}")
}

/// How long to rest: to the edge or the deadline, at most [`LOOK`].
fn until(edge: Timestamp, entry: &Entry, now: Timestamp) -> Duration {
    let edge = entry.order.task.deadline.map_or(edge, |deadline| deadline.min(edge));
    let rest = Duration::try_from(edge.duration_since(now)).unwrap_or(Duration::ZERO);
    rest.clamp(LOOK_MIN, LOOK)
}
