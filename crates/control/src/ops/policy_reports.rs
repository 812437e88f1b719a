//! What hosts tell about their policies: hostile input, stored as far as it concerns policies the host is to have.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::ids::{AssignmentId, InstanceId, PreviewId};
use drydock_domain::policy::report::{HOST_POLICIES_REPORT_MAX_BYTES, HOST_POLICIES_REPORT_VERSION};
use drydock_domain::policy::standing::{PolicyProblem, PreviewSource};
use drydock_domain::policy::{ComplianceState, HostPoliciesReport, PolicyResult};
use drydock_store::compliance::{self, ResourceRecord, ResultRecord};
use drydock_store::host_policies::{self, ReportNote};
use drydock_store::policy_previews::AnswerRecord;
use drydock_store::{Tx, commit, drift, policies, policy_hosts, policy_previews};
use jiff::Timestamp;

use super::act::{cut, own_instance};
use super::policy_health::note_health;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// A problem of a report kept with the host, bytes.
const PROBLEM_MAX_BYTES: usize = 4096;

impl Control {
    /// Takes what an agent tells of its policies. `true`: this or a later report is stored.
    pub async fn report_policies(&self, ctx: &OpCtx, report: &[u8]) -> Result<bool> {
        let instance = own_instance(ctx)?;
        let report = read(report)?;
        if let Some(preview) = &report.preview {
            return self.answer_preview(instance, preview, &report, ctx.now).await.map(|()| true);
        }
        let mut tx = self.begin().await?;
        let note = ReportNote {
            seq: report.seq,
            generation: report.generation,
            check: report.check,
            problem: cut(&report.problem, PROBLEM_MAX_BYTES),
            at: ctx.now,
        };
        if !host_policies::take_report(&mut tx, instance, &note).await? {
            return Ok(true);
        }
        note_policies(&mut tx, instance, &report.policies, ctx.now).await?;
        for event in &report.drift {
            drift::put(&mut tx, instance, event).await?;
        }
        let healths = note_health(&mut tx, instance, &report.health, ctx.now).await?;
        let has = note_has(&mut tx, instance, ctx.now).await? || healths;
        commit(tx).await?;
        if has || self.policies().seen().active {
            self.policy_host_changed(instance);
        }
        Ok(true)
    }

    async fn answer_preview(
        &self,
        instance: InstanceId,
        preview: &str,
        report: &HostPoliciesReport,
        now: Timestamp,
    ) -> Result<()> {
        // An answer that nobody waits for any more is taken and forgotten.
        let Ok(preview) = preview.parse::<PreviewId>() else { return Ok(()) };
        let changing = report.policies.iter().flat_map(|p| &p.resources).filter(|r| r.state == ComplianceState::NonCompliant);
        let answer = AnswerRecord {
            instance,
            source: PreviewSource::Host,
            at: Some(now),
            would_change: u32::try_from(changing.count()).unwrap_or(u32::MAX),
            problem: report.problem.clone(),
            policies: report.policies.clone(),
        };
        let mut tx = self.begin().await?;
        policy_previews::answer(&mut tx, preview, &answer).await?;
        Ok(commit(tx).await?)
    }
}

fn read(report: &[u8]) -> Result<HostPoliciesReport> {
    if report.len() > HOST_POLICIES_REPORT_MAX_BYTES {
        let message = format!("is {} bytes long; at most {HOST_POLICIES_REPORT_MAX_BYTES} are allowed", report.len());
        return Err(Error::invalid("report", message));
    }
    let report: HostPoliciesReport =
        serde_json::from_slice(report).map_err(|e| Error::invalid("report", format!("cannot be read: {e}")))?;
    if report.version > HOST_POLICIES_REPORT_VERSION {
        let message = format!("has form {}, this server reads up to {HOST_POLICIES_REPORT_VERSION}; upgrade it", report.version);
        return Err(Error::invalid("report.version", message));
    }
    report.validate()?;
    Ok(report)
}

/// Stores how policies stand, as far as the host is to have them.
async fn note_policies(tx: &mut Tx, instance: InstanceId, told: &[PolicyResult], now: Timestamp) -> Result<()> {
    let known = compliance::of_instance(tx, instance).await?;
    let stored = host_policies::find(tx, instance).await?;
    let problems = stored.map(|s| s.problems).unwrap_or_default();
    let mut resources: BTreeMap<(String, String), Vec<ResourceRecord>> = BTreeMap::new();
    for resource in compliance::resources_of(tx, instance).await? {
        resources.entry((resource.assignment.clone(), resource.policy.clone())).or_default().push(resource);
    }
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for policy in told {
        let key = (policy.assignment.as_str(), policy.policy.as_str());
        let Some(before) = known.iter().find(|r| (r.assignment.as_str(), r.policy.as_str()) == key) else { continue };
        if !seen.insert(key) || is_broken(&problems, key) {
            continue;
        }
        let moved = before.state != policy.state || before.reason != policy.reason;
        let after = ResultRecord {
            assignment: policy.assignment.clone(),
            policy: policy.policy.clone(),
            revision: policy.revision,
            state: policy.state,
            reason: policy.reason.clone(),
            run: policy.run.clone(),
            // A host whose clock is ahead has not looked in the future.
            checked_at: policy.checked_at.map(|at| at.min(now)),
            since: if moved { now } else { before.since },
        };
        if after != *before {
            compliance::put_result(tx, instance, &after).await?;
        }
        if moved {
            compliance::begin_interval(tx, instance, &after).await?;
        }
        let had = resources.remove(&(policy.assignment.clone(), policy.policy.clone())).unwrap_or_default();
        note_resources(tx, instance, policy, &had).await?;
    }
    Ok(())
}

async fn note_resources(tx: &mut Tx, instance: InstanceId, policy: &PolicyResult, had: &[ResourceRecord]) -> Result<()> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (position, result) in policy.resources.iter().enumerate() {
        if !told.insert(&result.id) {
            continue;
        }
        let after = ResourceRecord {
            assignment: policy.assignment.clone(),
            policy: policy.policy.clone(),
            position: u32::try_from(position).unwrap_or(u32::MAX),
            result: result.clone(),
        };
        if !had.contains(&after) {
            compliance::put_resource(tx, instance, &after).await?;
        }
    }
    for gone in had.iter().filter(|r| !told.contains(r.result.id.as_str())) {
        compliance::delete_resource(tx, instance, &gone.assignment, &gone.policy, &gone.result.id).await?;
    }
    Ok(())
}

fn is_broken(problems: &[PolicyProblem], key: (&str, &str)) -> bool {
    problems.iter().any(|p| p.whole && (p.assignment.as_str(), p.policy.as_str()) == key)
}

/// Notes the revisions that a host has by now: its report is about the document that carries them, or a later one, and
/// every policy of the assignment was looked at. `true`: there are new ones.
pub(super) async fn note_has(tx: &mut Tx, instance: InstanceId, now: Timestamp) -> Result<bool> {
    let rows = policy_hosts::of_instance(tx, instance).await?;
    let waiting: Vec<_> = rows.iter().filter(|r| r.revision > 0 && r.generation > 0 && r.has_at.is_none()).collect();
    if waiting.is_empty() {
        return Ok(false);
    }
    let Some(host) = host_policies::find(tx, instance).await? else { return Ok(false) };
    let results = compliance::of_instance(tx, instance).await?;
    let names: BTreeMap<AssignmentId, String> = policies::all(tx).await?.into_iter().map(|a| (a.id, a.name)).collect();
    let mut any = false;
    for row in waiting {
        let Some(name) = names.get(&row.assignment) else { continue };
        let looked_at = |r: &ResultRecord| {
            r.assignment != *name
                || is_broken(&host.problems, (name, &r.policy))
                || (r.revision == row.revision && r.checked_at.is_some())
        };
        if host.report_seq > 0 && host.report_generation >= row.generation && results.iter().all(looked_at) {
            policy_hosts::set_has(tx, row, now).await?;
            any = true;
        }
    }
    Ok(any)
}
