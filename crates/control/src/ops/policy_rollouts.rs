//! What people do to the rollout of a policy assignment: cancel, resume, delete; and checks on demand.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::{Permission, Scope};
use drydock_domain::ids::InstanceId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::policy::standing::{PolicyAssignment, RolloutState};
use drydock_domain::policy::{AssignmentFilter, OsPolicyAssignment, PolicyRollout};
use drydock_domain::validate::Problems;
use drydock_store::compartments::{self, Kind};
use drydock_store::policies::AssignmentRecord;
use drydock_store::records::PageQuery;
use drydock_store::{Tx, commit, groups, host_policies, policies, policy_hosts};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::act::{About, Act, cut};
use super::policies::{assignment_named, begin_rollout, busy, halted_because, revision_of, under_way};
use super::reach::first;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Hosts asked for a check in one transaction, count.
const CHECKS_AT_ONCE: usize = 1000;
/// Names in one request for checks, count.
const NAMES_MAX: usize = 1000;
/// Rows of a page where all pages are read, rows.
const PAGE: u32 = 1000;

/// Which hosts are to check now: all that are named in any way.
#[derive(Debug, Clone, Default)]
pub struct CheckAsk {
    /// By name or id.
    pub instances: Vec<String>,
    /// Members of these groups.
    pub groups: Vec<String>,
    /// Hosts of this assignment.
    pub assignment: Option<String>,
}

/// A host that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHost {
    /// The host.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Number of this check on that host.
    pub check: u64,
}

impl Control {
    /// Ends a rollout: hosts that have the revision keep it, the others keep what they had.
    pub async fn cancel_policy(&self, ctx: &OpCtx, name: &str) -> Result<PolicyAssignment> {
        let change = |record: &mut AssignmentRecord| match record.state {
            RolloutState::InProgress | RolloutState::Halted => {
                record.state = RolloutState::Cancelling;
                Ok(())
            }
            RolloutState::Cancelling => Ok(()),
            other => Err(Error::conflict(format!("the rollout of {} is over: {}", record.name, other.as_str()))),
        };
        self.change_rollout(ctx, name, "policy-assignment.cancel", change).await
    }

    /// Lets a halted rollout go on: hosts that failed until now count no more.
    pub async fn resume_policy(&self, ctx: &OpCtx, name: &str) -> Result<PolicyAssignment> {
        let change = |record: &mut AssignmentRecord| {
            if record.state != RolloutState::Halted {
                let state = record.state.as_str();
                return Err(Error::conflict(format!("the rollout of {} has not halted; it is {state}", record.name)));
            }
            record.state = RolloutState::InProgress;
            record.control.halted = None;
            record.control.forgiven_until = Some(ctx.now);
            Ok(())
        };
        self.change_rollout(ctx, name, "policy-assignment.resume", change).await
    }

    async fn change_rollout(
        &self,
        ctx: &OpCtx,
        name: &str,
        operation: &'static str,
        change: impl Fn(&mut AssignmentRecord) -> Result<()>,
    ) -> Result<PolicyAssignment> {
        let act = self.act_on_policy(ctx, operation, name, None).await?;
        let changed = async {
            for _ in 0..RACE_RETRIES {
                let before = assignment_named(&mut *self.read().await?, name).await?;
                let mut after = before.clone();
                change(&mut after)?;
                if after != before {
                    let mut tx = self.begin().await?;
                    if !policies::update(&mut tx, &after).await? {
                        continue;
                    }
                    policies::set_revision_state(&mut tx, after.id, after.target, after.state).await?;
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    self.policies_moved();
                }
                let mut c = self.read().await?;
                let record = assignment_named(&mut c, name).await?;
                return self.shown(&mut c, record, true).await;
            }
            Err(busy(name))
        }
        .await;
        act.settle(changed).await
    }

    /// Takes an assignment away: its hosts lose it as the rollout's budget allows, and then it is gone. What it brought about
    /// stays, but for resources that say otherwise.
    pub async fn delete_policy(&self, ctx: &OpCtx, name: &str, reason: &str, if_match: Option<&str>) -> Result<PolicyAssignment> {
        let act = self.act_on_policy(ctx, "policy-assignment.delete", name, None).await?;
        let deleted = self.try_delete_policy(ctx, name, reason, if_match, &act).await;
        act.settle(deleted).await
    }

    async fn try_delete_policy(
        &self,
        ctx: &OpCtx,
        name: &str,
        reason: &str,
        if_match: Option<&str>,
        act: &Act<'_>,
    ) -> Result<PolicyAssignment> {
        let mut problems = Problems::default();
        problems.text("reason", reason, DESCRIPTION_MAX_BYTES);
        problems.finish()?;
        for _ in 0..RACE_RETRIES {
            let mut record = assignment_named(&mut *self.read().await?, name).await?;
            if if_match.is_some_and(|tag| tag != "*" && tag != record.version.to_string()) {
                let message = format!("policy assignment {name} was changed meanwhile; read it again");
                return Err(Error::Conflict { message, stale: true });
            }
            if record.deleted && record.state.is_active() {
                let mut c = self.read().await?;
                return self.shown(&mut c, record, false).await;
            }
            if record.state.is_active() {
                return Err(under_way(&record));
            }
            record.target += 1;
            record.deleted = true;
            begin_rollout(&mut record, ctx);
            let nothing = OsPolicyAssignment {
                name: name.to_owned(),
                description: String::new(),
                os_policies: Vec::new(),
                instance_filter: AssignmentFilter::default(),
                rollout: PolicyRollout::default(),
                variables: BTreeMap::new(),
            };
            let mut tx = self.begin().await?;
            if !policies::update(&mut tx, &record).await? {
                continue;
            }
            policies::insert_revision(&mut tx, &revision_of(&record, nothing, true, reason, ctx)).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.policies_moved();
            record.version += 1;
            let mut c = self.read().await?;
            return self.shown(&mut c, record, false).await;
        }
        Err(busy(name))
    }

    /// Asks hosts to check all their policies now. Hosts without policies are left out, and of groups and assignments those on
    /// which the caller may not ask.
    pub async fn check_policies(&self, ctx: &OpCtx, ask: &CheckAsk) -> Result<Vec<CheckedHost>> {
        let resource = format!(
            "{} instances, {} groups{}",
            ask.instances.len(),
            ask.groups.len(),
            ask.assignment.as_deref().map(|name| format!(", policy-assignment {}", cut(name, 64))).unwrap_or_default()
        );
        let scope = self.scope(ctx, "policy.check", Permission::PolicyManage).await?;
        let act = self.act_on(ctx, "policy.check", About::within(first(&scope), resource)).await?;
        let asked = async {
            let hosts = self.hosts_to_check(ctx, ask, &scope).await?;
            let mut asked = Vec::new();
            let mut hosts: Vec<(InstanceId, String)> = hosts.into_iter().collect();
            hosts.sort_by(|a, b| a.1.cmp(&b.1));
            for some in hosts.chunks(CHECKS_AT_ONCE) {
                let mut tx = self.begin().await?;
                for (instance, name) in some {
                    if let Some(check) = host_policies::ask_check(&mut tx, *instance).await? {
                        asked.push(CheckedHost { instance: *instance, name: name.clone(), check });
                    }
                }
                commit(tx).await?;
            }
            let mut tx = self.begin().await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            asked.iter().for_each(|host| self.hub().hint(host.instance));
            Ok(asked)
        }
        .await;
        act.settle(asked).await
    }

    async fn hosts_to_check(&self, ctx: &OpCtx, ask: &CheckAsk, scope: &Scope) -> Result<BTreeMap<InstanceId, String>> {
        let mut problems = Problems::default();
        problems.count("instances", ask.instances.len(), NAMES_MAX);
        problems.count("groups", ask.groups.len(), NAMES_MAX);
        problems.finish()?;
        if ask.instances.is_empty() && ask.groups.is_empty() && ask.assignment.is_none() {
            return Err(Error::invalid("instances", "names nobody; give instances, groups or an assignment"));
        }
        let mut hosts = BTreeMap::new();
        for name in &ask.instances {
            let record = self.seen_instance(ctx, "policy.check", name).await?;
            hosts.insert(record.id, record.name);
        }
        let mine = compartments::instances_within(&mut *self.read().await?, scope).await?;
        let mine: BTreeSet<InstanceId> = mine.into_iter().collect();
        for name in &ask.groups {
            self.known(ctx, "group.show", Kind::Group, name).await?;
            let group = groups::find_by_name(&mut *self.read().await?, name).await?;
            let group = group.ok_or_else(|| Error::NotFound(format!("group {}", cut(name, 255))))?;
            let mut page = PageQuery { cursor: None, limit: Some(PAGE) };
            loop {
                let found = groups::members(&mut *self.read().await?, group.id, &page, scope).await?;
                hosts.extend(found.items.into_iter().map(|m| (m.id, m.name)));
                page.cursor = found.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
        }
        if let Some(name) = &ask.assignment {
            self.known(ctx, "policy-assignment.show", Kind::Assignment, name).await?;
            let record = assignment_named(&mut *self.read().await?, name).await?;
            let mut page = PageQuery { cursor: None, limit: Some(PAGE) };
            loop {
                let found = policy_hosts::list(&mut *self.read().await?, record.id, None, &page).await?;
                let own = found.items.into_iter().filter(|h| mine.contains(&h.assigned.instance));
                hosts.extend(own.map(|h| (h.assigned.instance, h.instance_name)));
                page.cursor = found.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
        }
        Ok(hosts)
    }

    /// Leaves in the audit what became of a rollout by itself.
    pub(crate) async fn note_rollout(&self, tx: &mut Tx, record: &AssignmentRecord, now: Timestamp) -> Result<()> {
        let (operation, why) = match record.state {
            RolloutState::Halted => {
                let why = record.control.halted.as_ref().map(|h| halted_because(&h.cause)).unwrap_or_default();
                tracing::warn!(assignment = record.name, why, "a rollout of policies has halted");
                ("policy-assignment.halt", why)
            }
            RolloutState::Succeeded => ("policy-assignment.rolled-out", String::new()),
            RolloutState::Cancelled => ("policy-assignment.cancelled", String::new()),
            RolloutState::InProgress | RolloutState::Cancelling => return Ok(()),
        };
        let colon = if why.is_empty() { "" } else { ": " };
        let resource = format!("policy-assignment {}, revision {}{colon}{why}", record.name, record.target);
        self.note_audit(tx, operation, &resource, now).await
    }
}
