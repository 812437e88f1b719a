//! Health checks of policy rollouts: which of them a host's document holds, and what hosts told of them.

use std::sync::Arc;

use drydock_domain::ids::InstanceId;
use drydock_domain::policy::host::form;
use drydock_domain::policy::{AssignmentChecks, AssignmentHealth, HealthState, HostPolicies, HostPolicy};
use drydock_store::policies::AssignmentRecord;
use drydock_store::{Tx, policies, policy_health, policy_hosts};
use jiff::Timestamp;

use crate::error::Result;
use crate::policy_part::Revision;

/// What a host without anything to do is said to be.
const NOTHING_TO_CHECK: &str = "no resource of it is for this host, so nothing is checked";

/// A revision that a host is to have.
pub(super) type Given = (AssignmentRecord, u64, Arc<Revision>);

/// Puts the checks of revisions that do something on the host into its document.
pub(super) fn add_health(document: &mut HostPolicies, given: &[Given]) {
    for (assignment, number, revision) in given {
        let Some(checks) = &revision.document.rollout.health_checks else { continue };
        if does_something(&document.policies, &assignment.name) {
            let (assignment, checks) = (assignment.name.clone(), checks.clone());
            document.health.push(AssignmentChecks { assignment, revision: *number, checks });
        }
    }
    document.version = form(&document.health);
}

fn does_something(policies: &[HostPolicy], assignment: &str) -> bool {
    policies.iter().any(|p| p.assignment == assignment && (p.unmatched || !p.resources.is_empty()))
}

/// Where a revision with checks does nothing, there is nothing to wait for.
pub(super) async fn note_nothing_to_check(
    tx: &mut Tx,
    instance: InstanceId,
    policies: &[HostPolicy],
    given: &[Given],
    now: Timestamp,
) -> Result<()> {
    for (assignment, number, revision) in given {
        if revision.document.rollout.health_checks.is_none() || does_something(policies, &assignment.name) {
            continue;
        }
        let health = AssignmentHealth {
            assignment: assignment.name.clone(),
            revision: *number,
            state: HealthState::Healthy,
            message: NOTHING_TO_CHECK.to_owned(),
            checks: Vec::new(),
            // The same each time, so that it is stored once.
            at: assignment.started_at,
        };
        policy_health::put(tx, assignment.id, instance, &health, now).await?;
    }
    Ok(())
}

/// Stores what a host told of its health, as far as it is to have these revisions. `true`: there is news.
pub(super) async fn note_health(tx: &mut Tx, instance: InstanceId, told: &[AssignmentHealth], now: Timestamp) -> Result<bool> {
    if told.is_empty() {
        return Ok(false);
    }
    let rows = policy_hosts::of_instance(tx, instance).await?;
    let assignments = policies::all(tx).await?;
    let mut any = false;
    for row in rows.iter().filter(|r| r.revision > 0) {
        let Some(assignment) = assignments.iter().find(|a| a.id == row.assignment) else { continue };
        let own = told.iter().find(|h| h.assignment == assignment.name && h.revision == row.revision);
        if let Some(own) = own {
            any |= policy_health::put(tx, row.assignment, instance, own, now).await?;
        }
    }
    Ok(any)
}
