//! One host: which revisions it is to have outside of rollouts, and the document that follows.

use std::collections::{BTreeSet, HashMap};

use drydock_domain::access::scope::is_below;
use drydock_domain::ids::InstanceId;
use drydock_domain::policy::standing::{HostPhase, RolloutState};
use drydock_store::commit;
use drydock_store::policies::AssignmentRecord;
use drydock_store::policy_hosts::{self, AssignedRecord, PolicyInputs};
use jiff::Timestamp;

use super::{Revisions, note_absent, read_revisions};
use crate::Control;
use crate::error::Result;
use crate::ops::{PolicyWorld, facts_of};

/// How often a document is made anew when another server made one meanwhile, count.
const RETRIES: usize = 3;

/// Looks at some hosts.
pub(super) async fn some(control: &Control, wanted: &BTreeSet<InstanceId>) -> Result<()> {
    let world = PolicyWorld::read(control).await?;
    let now = control.now();
    for instance in wanted {
        let mut c = control.read().await?;
        let Some(host) = policy_hosts::inputs_of(&mut c, *instance).await? else { continue };
        let stored = policy_hosts::of_instance(&mut c, *instance).await?;
        drop(c);
        let revisions = read_revisions(control, &world.assignments, &stored).await?;
        let mut rows: HashMap<_, _> = stored.into_iter().map(|row| (row.assignment, row)).collect();
        let mut changed = Vec::new();
        for assignment in &world.assignments {
            let before = rows.get(&assignment.id);
            let after = settled(assignment, &revisions, &host, before);
            if after.as_ref() != before {
                changed.push((assignment.id, after));
            }
        }
        if !changed.is_empty() {
            let mut tx = control.begin().await?;
            for (id, after) in changed {
                match after {
                    Some(row) => {
                        policy_hosts::put(&mut tx, std::slice::from_ref(&row)).await?;
                        rows.insert(id, row);
                    }
                    None => {
                        policy_hosts::delete(&mut tx, id, *instance).await?;
                        rows.remove(&id);
                    }
                }
            }
            commit(tx).await?;
        }
        let rows: Vec<AssignedRecord> = rows.into_values().collect();
        follow(control, &world, &host, &rows, now).await?;
    }
    Ok(())
}

/// What a host is to have of an assignment without regard to budgets: who is new gets the baseline at once, whom a revision
/// is not for any more loses it at once; everything else is the rollout's to decide.
pub(super) fn settled(
    assignment: &AssignmentRecord,
    revisions: &Revisions,
    host: &PolicyInputs,
    row: Option<&AssignedRecord>,
) -> Option<AssignedRecord> {
    let lies_below = is_below(&host.compartment, &assignment.compartment);
    let is_for = |number: u64| {
        let revision = revisions.get(&(assignment.id, number)).filter(|_| number > 0 && lies_below);
        revision.is_some_and(|r| !r.deleted && r.document.instance_filter.matches(facts_of(host).selection))
    };
    let (target, baseline) = (assignment.target, assignment.baseline);
    let active = assignment.state.is_active();
    // A rollout that nobody joins any more.
    let joins = matches!(assignment.state, RolloutState::InProgress | RolloutState::Halted);
    if let Some(row) = row {
        // Whoever left the compartment is let go of also in the middle of a change.
        if row.revision == target && row.phase == HostPhase::Changing && lies_below {
            return Some(row.clone());
        }
        let is_taken_away = assignment.deleted && row.revision == target;
        if is_taken_away || (row.revision > 0 && is_for(row.revision)) {
            let follows = assignment.state == RolloutState::Succeeded && row.revision != target;
            if follows && is_for(target) {
                return Some(given(assignment, host, target, HostPhase::Done));
            }
            let phase = if row.revision != target && active { HostPhase::Pending } else { HostPhase::Done };
            let waiting_on = row.waiting_on.clone().filter(|_| phase == HostPhase::Pending);
            return Some(AssignedRecord { phase, waiting_on, ..row.clone() });
        }
    }
    if baseline > 0 && is_for(baseline) {
        let phase = if baseline != target && active { HostPhase::Pending } else { HostPhase::Done };
        return Some(given(assignment, host, baseline, phase));
    }
    if joins && !assignment.deleted && is_for(target) {
        let waiting_on = row.and_then(|r| r.waiting_on.clone());
        return Some(AssignedRecord { waiting_on, ..given(assignment, host, 0, HostPhase::Pending) });
    }
    None
}

fn given(assignment: &AssignmentRecord, host: &PolicyInputs, revision: u64, phase: HostPhase) -> AssignedRecord {
    AssignedRecord {
        assignment: assignment.id,
        instance: host.instance,
        zone: host.zone.clone(),
        revision,
        phase,
        generation: 0,
        let_go_at: None,
        has_at: None,
        waiting_on: None,
    }
}

/// A host's document follows what it is to have.
pub(super) async fn follow(
    control: &Control,
    world: &PolicyWorld,
    host: &PolicyInputs,
    rows: &[AssignedRecord],
    now: Timestamp,
) -> Result<()> {
    note_absent(control, host, now).await?;
    let made_from = world.made_from(host, rows);
    let has_none = rows.is_empty() && host.generation == 0;
    let is_carried = |row: &AssignedRecord| row.revision == 0 || row.generation > 0 || row.has_at.is_some();
    let same = control.policies().seen().made_from.get(&host.instance) == Some(&made_from);
    if has_none || (same && rows.iter().all(is_carried)) {
        return Ok(());
    }
    let mut current = host.clone();
    for _ in 0..RETRIES {
        if control.put_policies(world, &current, rows, 0).await? {
            control.policies().seen().made_from.insert(host.instance, made_from);
            return Ok(());
        }
        // Somebody else stored one meanwhile.
        match policy_hosts::inputs_of(&mut *control.read().await?, host.instance).await? {
            Some(newer) => current = newer,
            None => return Ok(()),
        }
    }
    control.policies().host_changed(host.instance);
    Ok(())
}
