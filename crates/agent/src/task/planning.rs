//! The planning step: the host's plans, kept near to what the job's first wave planned, with what was found broken.

use drydock_domain::inventory::Finding;
use drydock_domain::patch::report::{Plan, StepOutcome};
use drydock_domain::patch::soak::left_out;

use super::executor::{Acted, Executor};
use super::frozen::{REPLANS_MAX, bars, differences, told};
use super::host::{Host, Trouble};
use super::machine::Event;
use super::soaking;
use crate::ledger::Entry;

impl<H: Host> Executor<'_, H> {
    pub(super) fn plan(&mut self, entry: &mut Entry) -> Acted {
        let mut plans = match self.plans(entry) {
            Ok(plans) => plans,
            Err(Trouble::Interrupted(why)) => return Acted::trouble(Trouble::Failed(why)),
            Err(trouble) => return Acted::trouble(trouble),
        };
        let changes: usize = plans.iter().map(Plan::changes).sum();
        let skipped: usize = plans.iter().map(|p| p.skipped.len()).sum();
        entry.round_from = entry.report.plans.len();
        entry.failed_packages.clear();
        if let Some(why) = plans.iter().find_map(Plan::refusal) {
            return refused(entry, plans, why);
        }
        if changes > 0 && !entry.order.task.dry_run && !entry.order.task.config.download_only {
            let kept = match self.host.installed() {
                Ok(before) => self.host.keep_before(entry.round_from, &before),
                Err(trouble) => return Acted::trouble(trouble),
            };
            if let Err(why) = kept {
                return Acted::trouble(Trouble::Failed(format!("the state before patching cannot be kept: {why}")));
            }
        }
        tell_broken(&mut plans, &std::mem::take(&mut entry.refresh_findings));
        let differs = differences(&entry.order.task.frozen, &plans);
        entry.report.plans.extend(plans);
        let mut message = format!("planned {}, skipped {}", plural(changes, "change"), plural(skipped, "update"));
        if !differs.is_empty() {
            message = format!("{message}; {}", told(&differs));
        }
        let left = left_out(&entry.report.plans[entry.round_from..]);
        if left > 0 {
            message = format!("{message}; {left} of them for the soak");
        }
        entry.report.differs = differences(&entry.order.task.frozen, &entry.report.plans);
        Acted::with(Event::Planned(changes), StepOutcome::Succeeded, message)
    }

    /// The plans of the host: without what has not soaked, and as near to what the job's first wave planned as they come.
    fn plans(&mut self, entry: &Entry) -> Result<Vec<Plan>, Trouble> {
        let order = &entry.order.task;
        let soak = order.soak.as_ref();
        let mut config = order.config.clone();
        let mut soaking = Vec::new();
        let mut plans = soaking::plans(self.host, &mut config, soak, &mut soaking)?;
        for _ in 0..REPLANS_MAX {
            let more = bars(&differences(&order.frozen, &plans), &config.barred);
            if more.is_empty() {
                break;
            }
            config.barred.extend(more);
            plans = match soaking::plans(self.host, &mut config, soak, &mut soaking) {
                // A host that cannot do without the other version says so, and is patched.
                Ok(again) if again.iter().any(|p| p.refusal().is_some()) => break,
                Ok(again) => again,
                Err(Trouble::Failed(why)) => {
                    tracing::warn!("task {}: no plan with the first wave's versions: {why}", entry.id());
                    break;
                }
                Err(trouble) => return Err(trouble),
            };
        }
        Ok(plans)
    }
}

/// The host says no to a part of the plan, so to all of it. A dry run tells what the rest would have done.
fn refused(entry: &mut Entry, mut plans: Vec<Plan>, why: String) -> Acted {
    if !entry.order.task.dry_run {
        plans.iter_mut().for_each(|plan| plan.actions.clear());
    }
    tell_broken(&mut plans, &std::mem::take(&mut entry.refresh_findings));
    entry.report.plans.extend(plans);
    Acted::trouble(Trouble::Failed(why))
}

/// Puts the broken repositories of a refresh into its round's plans. Which package manager found one is not known, so
/// the first plan tells them, unless a plan already does.
pub(super) fn tell_broken(plans: &mut [Plan], findings: &[Finding]) {
    let new: Vec<Finding> = findings
        .iter()
        .filter(|f| !plans.iter().flat_map(|p| &p.findings).any(|known| known.subject == f.subject))
        .cloned()
        .collect();
    if let Some(first) = plans.first_mut() {
        first.findings.extend(new);
    }
}

pub(super) fn plural(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
