//! Hosts that keep policies, made of the protocol alone.

use drydock_control::*;
use drydock_domain::policy::host::signed_bytes;
use drydock_domain::policy::standing::*;
use drydock_domain::policy::*;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Host, World};

/// An assignment over all hosts: one package resource in one policy `p`.
pub fn assignment(name: &str, rollout: Value) -> Value {
    json!({
        "name": name,
        "osPolicies": [{"id": "p", "mode": "ENFORCEMENT", "resourceGroups": [{"resources": [
            {"id": "r", "pkg": {"desiredState": "INSTALLED", "apt": {"name": format!("pkg-of-{name}")}}}]}]}],
        "instanceFilter": {"all": true},
        "rollout": rollout,
    })
}

pub fn at_once() -> Value {
    json!({"disruptionBudget": {"percent": 100}, "minWaitDuration": "0s"})
}

pub fn one_by_one() -> Value {
    json!({"disruptionBudget": {"fixed": 1}, "minWaitDuration": "0s"})
}

pub fn read(document: &Value) -> OsPolicyAssignment {
    serde_json::from_value(document.clone()).expect("an assignment")
}

impl World {
    pub async fn try_apply(&self, document: &Value) -> Result<AppliedAssignment> {
        self.control.apply_policy(&self.server(), read(document), &ApplyAsk::default()).await
    }

    /// Applies and lets the reconcilers turn.
    pub async fn apply(&self, document: &Value) -> AppliedAssignment {
        let applied = self.try_apply(document).await.expect("applied");
        self.settle().await;
        applied
    }

    pub async fn policy(&self, name: &str) -> PolicyAssignment {
        self.control.get_policy(&self.server(), name).await.expect("the assignment")
    }

    pub async fn policy_hosts(&self, name: &str) -> Vec<PolicyHost> {
        self.control.policy_instances(&self.server(), name, None, &Default::default()).await.expect("hosts").items
    }

    /// `host phase revision reason-of-wait` of each host.
    pub async fn phases(&self, name: &str) -> Vec<String> {
        let shown = |h: PolicyHost| {
            let why = h.waiting_on.map(|w| format!(" {}", w.name())).unwrap_or_default();
            format!("{} {} {}{why}", h.instance_name, h.phase.as_str(), h.revision.unwrap_or_default())
        };
        self.policy_hosts(name).await.into_iter().map(shown).collect()
    }

    pub async fn results(&self, name: &str) -> Vec<String> {
        let query = drydock_control::store::compliance::ResultQuery { assignment: Some(name.into()), ..Default::default() };
        let found = self.control.compliance_results(&self.server(), None, query).await.expect("results").items;
        let shown =
            |r: ComplianceResult| format!("{} {} {} {}", r.instance_name, r.policy, r.state.as_str(), r.reason).trim().to_owned();
        found.into_iter().map(shown).collect()
    }
}

impl Host {
    pub async fn ask_policies(&self, world: &World, generation: u64, check: u64) -> PulledPolicies {
        world.control.pull_policies(&self.ctx(world).await, generation, check).await.expect("an answer")
    }

    /// The host's document, checked as an agent does; `None`: nothing newer than `generation`.
    pub async fn pull_policies(&self, world: &World, generation: u64) -> Option<HostPolicies> {
        let signed = self.ask_policies(world, generation, 0).await.changed?;
        let public = world.control.work_public_key();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        key.verify(&signed_bytes(&signed.document), &signed.signature).expect("signed by the server");
        let document: HostPolicies = serde_json::from_slice(&signed.document).expect("a document");
        document.accept(self.id, Some((generation, ""))).expect("acceptable");
        Some(document)
    }

    /// Pulls and tells that every policy stands so.
    pub async fn obey(&self, world: &World, state: ComplianceState) -> HostPolicies {
        let document = self.pull_policies(world, 0).await.expect("a document");
        self.tell(world, &report(world, &document, state)).await.expect("stored");
        document
    }

    pub async fn tell(&self, world: &World, report: &HostPoliciesReport) -> Result<bool> {
        let bytes = serde_json::to_vec(report).expect("JSON");
        world.control.report_policies(&self.ctx(world).await, &bytes).await
    }
}

/// A report in which every policy stands so.
pub fn report(world: &World, document: &HostPolicies, state: ComplianceState) -> HostPoliciesReport {
    let now = world.control.now();
    let resource = |r: &Resource| ResourceResult { id: r.id.clone(), state, ..ResourceResult::default() };
    let policy = |p: &HostPolicy| PolicyResult {
        assignment: p.assignment.clone(),
        revision: p.revision,
        policy: p.policy.clone(),
        state,
        reason: String::new(),
        run: "run-1".to_owned(),
        checked_at: Some(now),
        resources: p.resources.iter().map(resource).collect(),
    };
    HostPoliciesReport {
        version: 1,
        seq: u64::try_from(now.as_millisecond()).expect("after 1970"),
        generation: document.generation,
        preview: document.preview.clone(),
        check: 0,
        at: now,
        problem: String::new(),
        policies: document.policies.iter().map(policy).collect(),
        drift: Vec::new(),
        health: Vec::new(),
    }
}

pub fn drift(number: u64, seen_at: Timestamp, repaired_at: Option<Timestamp>, assignment: &str) -> DriftEvent {
    DriftEvent {
        number,
        assignment: assignment.to_owned(),
        policy: "p".to_owned(),
        resource: "r".to_owned(),
        seen_at,
        repaired_at,
        what: "=not installed".to_owned(),
        noticed_by: "package database".to_owned(),
        cause: String::new(),
        outcome: if repaired_at.is_some() { DriftOutcome::Repaired } else { DriftOutcome::Failed },
    }
}
