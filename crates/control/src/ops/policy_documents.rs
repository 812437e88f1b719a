//! The policies of one host: the numbered, signed document its agent pulls, with the values of the secrets it names and the
//! previews it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::access::scope::is_below;
use drydock_domain::ids::{AssignmentId, InstanceId};
use drydock_domain::policy::host::{HOST_POLICIES_MAX, HOST_POLICIES_MAX_BYTES, form};
use drydock_domain::policy::report::reason;
use drydock_domain::policy::standing::PolicyProblem;
use drydock_domain::policy::template::secrets_of;
use drydock_domain::policy::{
    ComplianceState, Conflict, HostFacts, HostPolicies, HostPolicy, OsPolicyAssignment, Resolution, ResolvedPolicy, resolve,
};
use drydock_store::compliance::{self, ResultRecord};
use drydock_store::host_policies::{self, Document};
use drydock_store::policies::AssignmentRecord;
use drydock_store::policy_hosts::{self, AssignedRecord, PolicyInputs};
use drydock_store::policy_previews::PreviewRecord;
use drydock_store::{Tx, commit, policies, policy_previews, policy_secrets};
use jiff::Timestamp;

use super::RACE_RETRIES;
use super::act::own_instance;
use super::policy_health::{Given, add_health, note_nothing_to_check};
use super::policy_reports::note_has;
use crate::Control;
use crate::access_part::ROOT;
use crate::context::{OpCtx, Secret};
use crate::error::{Error, Result};

/// Previews handed out in one answer, count.
const PREVIEWS_AT_ONCE: u32 = 16;
/// A document as it is sent, bytes: it goes in one message with its secrets (some 8 MiB).
const DOCUMENT_MAX_BYTES: usize = 6 * 1024 * 1024;

const _: () = assert!(DOCUMENT_MAX_BYTES <= HOST_POLICIES_MAX_BYTES);
/// Problems kept of one host, count.
const PROBLEMS_MAX: usize = 200;
/// The highest number of a check that an agent may know of.
const CHECK_MAX: u64 = 1 << 53;
/// A number from farther in the future is no restored backup but a damaged or hostile agent, seconds.
const FUTURE_MAX_SECS: u64 = 10 * 365 * 24 * 3600;

/// A policies document with what belongs to it.
#[derive(Debug)]
pub struct SignedPolicies {
    /// JSON of `HostPolicies`.
    pub document: Vec<u8>,
    /// Ed25519 by the work key.
    pub signature: Vec<u8>,
    /// JSON object: names and values of the secrets it names.
    pub secrets: Secret,
}

/// What an agent is answered.
#[derive(Debug, Default)]
pub struct PulledPolicies {
    /// Its document, when it is another one than it has.
    pub changed: Option<SignedPolicies>,
    /// The newest check that somebody asked for.
    pub check: u64,
    /// Previews it has not answered.
    pub previews: Vec<SignedPolicies>,
}

/// Secrets by name: their versions, and the paths of their compartments.
pub(crate) type Secrets = BTreeMap<String, (u64, String)>;

/// What all documents are made from besides hosts.
pub(crate) struct PolicyWorld {
    /// By name.
    pub(crate) assignments: Vec<AssignmentRecord>,
    /// Versions of secrets, and where they lie.
    pub(crate) secrets: Secrets,
    /// The same as one text.
    secrets_stamp: String,
}

impl PolicyWorld {
    pub(crate) async fn read(control: &Control) -> Result<PolicyWorld> {
        let mut c = control.read().await?;
        let secrets = policy_secrets::versions(&mut c).await?;
        let secrets_stamp = drydock_domain::inventory::fingerprint(format!("{secrets:?}").as_bytes());
        Ok(PolicyWorld { assignments: policies::all(&mut c).await?, secrets, secrets_stamp })
    }

    pub(crate) fn named(&self, id: AssignmentId) -> Option<&AssignmentRecord> {
        self.assignments.iter().find(|a| a.id == id)
    }

    /// What a host's document follows from, as one text: the same text, the same document.
    pub(crate) fn made_from(&self, host: &PolicyInputs, rows: &[AssignedRecord]) -> String {
        let mut assigned: Vec<(AssignmentId, u64)> = rows.iter().map(|r| (r.assignment, r.revision)).collect();
        assigned.sort_unstable();
        let PolicyInputs { name, zone, labels, os, group, environment, compartment, .. } = host;
        let lie: Vec<&str> = rows.iter().filter_map(|r| self.named(r.assignment)).map(|a| a.compartment.as_str()).collect();
        let os = os.as_ref().map(|os| (&os.short_name, &os.version, &os.architecture, &os.hostname));
        let text = format!(
            "{assigned:?} {} {name} {zone} {labels:?} {os:?} {group:?} {environment:?} {compartment} {lie:?}",
            self.secrets_stamp
        );
        drydock_domain::inventory::fingerprint(text.as_bytes())
    }
}

/// What is known of a host, as resolution takes it.
pub(crate) fn facts_of(host: &PolicyInputs) -> HostFacts<'_> {
    let os = host.os.as_ref();
    HostFacts {
        selection: drydock_domain::policy::assignment::SelectionFacts {
            labels: &host.labels,
            os_short_name: os.map_or("", |os| &os.short_name),
            os_version: os.map_or("", |os| &os.version),
            group: host.group.as_deref(),
            environment: host.environment.as_deref(),
        },
        name: &host.name,
        hostname: os.map_or("", |os| &os.hostname),
        architecture: os.map_or("", |os| &os.architecture),
        zone: &host.zone,
    }
}

/// A host's document, not numbered yet, and what is not in it as written.
struct Made {
    document: HostPolicies,
    problems: Vec<PolicyProblem>,
}

fn make(
    instance: InstanceId,
    resolution: &Resolution<'_>,
    revisions: &BTreeMap<&str, u64>,
    secrets: &Secrets,
    lie: &BTreeMap<&str, &str>,
    before: &[HostPolicy],
) -> Made {
    let mut problems: Vec<PolicyProblem> = Vec::new();
    let mut policies = Vec::new();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for resolved in &resolution.policies {
        let own = whole_problems(resolved, secrets, lie);
        if own.is_empty() {
            named.extend(resolved.resources.iter().flat_map(|r| secrets_of(r)));
            policies.push(resolved.for_host(revisions.get(resolved.assignment).copied().unwrap_or_default()));
            continue;
        }
        problems.extend(own);
        // What the host has stays until the policy can be filled in again: taking it away would undo it.
        let kept = before.iter().find(|p| p.assignment == resolved.assignment && p.policy == resolved.policy.id);
        if let Some(kept) = kept {
            named.extend(kept.resources.iter().flat_map(secrets_of));
            policies.push(kept.clone());
        }
    }
    let left_out = |conflict: &Conflict| PolicyProblem {
        assignment: conflict.dropped.assignment.clone(),
        policy: conflict.dropped.policy.clone(),
        resource: conflict.dropped.resource.clone(),
        message: format!("is left out: {}", conflict.describe()),
        whole: false,
    };
    problems.extend(resolution.conflicts.iter().chain(&resolution.overridden).map(left_out));
    if policies.len() > HOST_POLICIES_MAX {
        for policy in policies.drain(HOST_POLICIES_MAX..) {
            let message = format!("is not given to the host: it would have more than {HOST_POLICIES_MAX} policies");
            let (assignment, policy) = (policy.assignment, policy.policy);
            problems.push(PolicyProblem { assignment, policy, resource: String::new(), message, whole: true });
        }
    }
    problems.truncate(PROBLEMS_MAX);
    // A name that was kept and is gone since has no value any more: version 0.
    let secrets =
        named.into_iter().map(|name| (secrets.get(&name).map_or(0, |(version, _)| *version), name)).map(|(v, n)| (n, v));
    let document = HostPolicies {
        version: form(&[]),
        instance,
        generation: 0,
        preview: None,
        policies,
        secrets: secrets.collect(),
        health: Vec::new(),
    };
    Made { document, problems }
}

/// Why a policy cannot be given to the host at all. A policy uses secrets of the compartment that its assignment lies in, and
/// of those above; others are as good as none. `lie`: the paths of assignments' compartments by their names.
fn whole_problems(resolved: &ResolvedPolicy<'_>, secrets: &Secrets, lie: &BTreeMap<&str, &str>) -> Vec<PolicyProblem> {
    let place = lie.get(resolved.assignment).copied().unwrap_or(ROOT);
    let usable = |name: &String| secrets.get(name).is_some_and(|(_, own)| is_below(place, own));
    let problem = |resource: &str, message: String| PolicyProblem {
        assignment: resolved.assignment.to_owned(),
        policy: resolved.policy.id.clone(),
        resource: resource.to_owned(),
        message,
        whole: true,
    };
    let mut found: Vec<PolicyProblem> = Vec::new();
    for error in resolved.invalid.iter().flat_map(|invalid| &invalid.errors) {
        let resource = error.field.split(['.', '[', ':']).next().unwrap_or_default();
        found.push(problem(resource, format!("{}: {}", error.field, error.message)));
    }
    for resource in &resolved.resources {
        for name in secrets_of(resource).iter().filter(|name| !usable(name)) {
            found.push(problem(&resource.id, format!("there is no secret {name}; set it, or take it out of the policy")));
        }
    }
    found
}

impl Control {
    /// What is new for an agent's host. `generation` and `check` are the newest the agent knows of; 0 = none.
    pub async fn pull_policies(&self, ctx: &OpCtx, generation: u64, check: u64) -> Result<PulledPolicies> {
        let instance = own_instance(ctx)?;
        if check > CHECK_MAX {
            return Err(Error::invalid("check", "is none this server or a backup of it ever gave out"));
        }
        let mut state = host_policies::pull_state(&mut *self.read().await?, instance).await?;
        if !state.pulled || check > state.check {
            let mut tx = self.begin().await?;
            host_policies::note_pulled(&mut tx, instance, ctx.now).await?;
            // This server was restored from a backup: the next check must have a number the agent does not know.
            host_policies::raise_check(&mut tx, instance, check).await?;
            commit(tx).await?;
            self.policy_host_changed(instance);
            state.check = state.check.max(check);
        }
        if generation > state.generation {
            self.renumber_policies(instance, generation).await?;
            state = host_policies::pull_state(&mut *self.read().await?, instance).await?;
        }
        let mut pulled = PulledPolicies { check: state.check, ..PulledPolicies::default() };
        if state.generation != generation
            && let Some(record) = host_policies::find(&mut *self.read().await?, instance).await?
            && record.generation > 0
        {
            let document = record.document.into_bytes();
            self.policies_sent(ctx, instance, &document).await?;
            pulled.changed = Some(self.signed_policies(document).await?);
        }
        let used = pulled.changed.as_ref().map_or(0, |c| c.document.len());
        pulled.previews = self.previews_for(ctx, instance, used).await?;
        Ok(pulled)
    }

    /// Signs a document and opens the secrets it names.
    async fn signed_policies(&self, document: Vec<u8>) -> Result<SignedPolicies> {
        #[derive(serde::Deserialize)]
        struct Names {
            #[serde(default)]
            secrets: BTreeMap<String, u64>,
        }
        let names: Names = serde_json::from_slice(&document)
            .map_err(|e| Error::Internal { doing: "read a stored policies document", source: Box::new(e) })?;
        let names: Vec<String> = names.secrets.into_keys().collect();
        let values = if names.is_empty() { BTreeMap::new() } else { self.open_secrets(&names).await? };
        let secrets = serde_json::to_string(&values)
            .map_err(|e| Error::Internal { doing: "write the secrets of a host", source: Box::new(e) })?;
        Ok(SignedPolicies { signature: self.key().sign_policies(&document), document, secrets: Secret::new(secrets) })
    }

    /// Previews that go into an answer of which `used` bytes are taken; the others come with the next question.
    async fn previews_for(&self, ctx: &OpCtx, instance: InstanceId, used: usize) -> Result<Vec<SignedPolicies>> {
        let open = policy_previews::open_of(&mut *self.read().await?, instance, ctx.now, PREVIEWS_AT_ONCE).await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let (world, host) = {
            let world = PolicyWorld::read(self).await?;
            (world, policy_hosts::inputs_of(&mut *self.read().await?, instance).await?)
        };
        let Some(host) = host else { return Ok(Vec::new()) };
        let mut signed = Vec::new();
        let mut bytes = used;
        for id in open {
            let Some(preview) = policy_previews::find(&mut *self.read().await?, id).await? else { continue };
            let (mut document, _) = preview_document(&host, &preview, &world.secrets);
            document.preview = Some(id.to_string());
            let json = to_json(&document)?.into_bytes();
            bytes += json.len();
            if bytes > DOCUMENT_MAX_BYTES {
                break;
            }
            self.policies_sent(ctx, instance, &json).await?;
            signed.push(self.signed_policies(json).await?);
        }
        Ok(signed)
    }

    /// Makes the document of one host from `rows` and stores it when it changed; the host is told. `false`: somebody else
    /// stored one meanwhile.
    pub(crate) async fn put_policies(
        &self,
        world: &PolicyWorld,
        host: &PolicyInputs,
        rows: &[AssignedRecord],
        beyond: u64,
    ) -> Result<bool> {
        let mut revisions: Vec<Given> = Vec::new();
        for row in rows.iter().filter(|r| r.revision > 0) {
            let Some(assignment) = world.named(row.assignment) else { continue };
            if let Some(revision) = self.revision(row.assignment, row.revision).await?.filter(|r| !r.deleted) {
                revisions.push((assignment.clone(), row.revision, revision));
            }
        }
        revisions.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let named: Vec<(&str, &OsPolicyAssignment)> =
            revisions.iter().map(|(a, _, revision)| (a.name.as_str(), &revision.document)).collect();
        let numbers: BTreeMap<&str, u64> = revisions.iter().map(|(a, n, _)| (a.name.as_str(), *n)).collect();
        let resolution = resolve(&named, facts_of(host));
        let lie: BTreeMap<&str, &str> = revisions.iter().map(|(a, ..)| (a.name.as_str(), a.compartment.as_str())).collect();
        let lacks_something = resolution.policies.iter().any(|p| !whole_problems(p, &world.secrets, &lie).is_empty());
        let before = if lacks_something { self.policies_before(host.instance).await? } else { Vec::new() };
        let mut made = make(host.instance, &resolution, &numbers, &world.secrets, &lie, &before);
        add_health(&mut made.document, &revisions);
        if made.document.policies.is_empty() && made.problems.is_empty() && host.generation == 0 && beyond == 0 {
            return self.nothing_to_have(host.instance, rows, &revisions).await.map(|()| true);
        }
        self.store_policies(host, made, &revisions, beyond).await
    }

    /// A host that never had a document and needs none has what it is to have.
    async fn nothing_to_have(&self, instance: InstanceId, rows: &[AssignedRecord], given: &[Given]) -> Result<()> {
        let waiting: Vec<&AssignedRecord> = rows.iter().filter(|r| r.revision > 0 && r.has_at.is_none()).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for row in waiting {
            policy_hosts::set_has(&mut tx, row, self.now()).await?;
        }
        note_nothing_to_check(&mut tx, instance, &[], given, self.now()).await?;
        commit(tx).await?;
        self.policy_host_changed(instance);
        Ok(())
    }

    /// The policies of the document that a host has.
    async fn policies_before(&self, instance: InstanceId) -> Result<Vec<HostPolicy>> {
        let stored = host_policies::find(&mut *self.read().await?, instance).await?;
        let document = stored.and_then(|s| serde_json::from_str::<HostPolicies>(&s.document).ok());
        Ok(document.map(|d| d.policies).unwrap_or_default())
    }

    async fn store_policies(&self, host: &PolicyInputs, made: Made, given: &[Given], beyond: u64) -> Result<bool> {
        let Made { mut document, problems } = made;
        let now = self.now();
        let fingerprint = document.fingerprint();
        let same = fingerprint == host.fingerprint && beyond == 0;
        // Numbers start at the time in seconds, so that a server restored from a backup does not repeat numbers its
        // agents have seen.
        let floor = u64::try_from(now.as_second()).unwrap_or_default();
        if !same {
            document.generation = host.generation.saturating_add(1).max(floor).max(beyond.saturating_add(1));
        }
        let json = to_json(&document)?;
        if json.len() > DOCUMENT_MAX_BYTES {
            let message = format!(
                "the host's policies together have {} bytes; at most {DOCUMENT_MAX_BYTES} can be given to it; it keeps what it had",
                json.len()
            );
            tracing::error!(instance.id = %host.instance, message, "a policies document is too large");
            let problem =
                PolicyProblem { message, whole: true, assignment: String::new(), policy: String::new(), resource: String::new() };
            let mut tx = self.begin().await?;
            host_policies::set_problems(&mut tx, host.instance, &[problem]).await?;
            return Ok(commit(tx).await.map(|()| true)?);
        }
        let mut tx = self.begin().await?;
        if same {
            note_results(&mut tx, host.instance, &document, &problems, now).await?;
            host_policies::set_problems(&mut tx, host.instance, &problems).await?;
            policy_hosts::set_generation(&mut tx, host.instance, host.generation).await?;
            note_nothing_to_check(&mut tx, host.instance, &document.policies, given, now).await?;
            if note_has(&mut tx, host.instance, now).await? {
                self.policy_host_changed(host.instance);
            }
            commit(tx).await?;
            return Ok(true);
        }
        let generation = document.generation;
        let stored = Document { generation, fingerprint: &fingerprint, document: &json, problems: &problems, at: now };
        match host_policies::put(&mut tx, host.instance, &stored, host.generation).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // The instance was deleted meanwhile.
            Err(e) if e.is_referenced() => return Ok(true),
            Err(e) => return Err(e.into()),
        }
        note_results(&mut tx, host.instance, &document, &problems, now).await?;
        policy_hosts::set_generation(&mut tx, host.instance, generation).await?;
        note_nothing_to_check(&mut tx, host.instance, &document.policies, given, now).await?;
        commit(tx).await?;
        self.hub().hint(host.instance);
        Ok(true)
    }

    /// Gives a host's document a number beyond the one its agent has.
    async fn renumber_policies(&self, instance: InstanceId, beyond: u64) -> Result<()> {
        let now = u64::try_from(self.now().as_second()).unwrap_or_default();
        if beyond > now.saturating_add(FUTURE_MAX_SECS) {
            return Err(Error::invalid("generation", "is none this server or a backup of it ever gave out"));
        }
        for _ in 0..RACE_RETRIES {
            let world = PolicyWorld::read(self).await?;
            let mut c = self.read().await?;
            let Some(host) = policy_hosts::inputs_of(&mut c, instance).await? else { return Ok(()) };
            let rows = policy_hosts::of_instance(&mut c, instance).await?;
            drop(c);
            if host.generation > beyond || self.put_policies(&world, &host, &rows, beyond).await? {
                return Ok(());
            }
        }
        Err(Error::Unavailable { message: "the policies of the host change too often at once", source: None })
    }

    /// Something that decides about one host's policies changed.
    pub(crate) fn policy_host_changed(&self, instance: InstanceId) {
        self.policies().host_changed(instance);
        self.wake();
    }

    /// Something that decides about many hosts' policies changed.
    pub(crate) fn policies_moved(&self) {
        self.policies().changed();
        self.wake();
    }
}

/// The document of a preview on a host, and what could not be looked at.
pub(super) fn preview_document(
    host: &PolicyInputs,
    preview: &PreviewRecord,
    secrets: &Secrets,
) -> (HostPolicies, Vec<PolicyProblem>) {
    let name = if preview.name.is_empty() { "preview" } else { &preview.name };
    let resolution = resolve(&[(name, &preview.document)], facts_of(host));
    let lie = BTreeMap::from([(name, preview.compartment.as_str())]);
    let Made { document, problems } = make(host.instance, &resolution, &BTreeMap::new(), secrets, &lie, &[]);
    (document, problems)
}

/// Every policy that a host is to have has a row that says how it stands; others have none.
async fn note_results(
    tx: &mut Tx,
    instance: InstanceId,
    document: &HostPolicies,
    problems: &[PolicyProblem],
    now: Timestamp,
) -> Result<()> {
    let known = compliance::of_instance(tx, instance).await?;
    let broken: BTreeSet<(&str, &str)> =
        problems.iter().filter(|p| p.whole).map(|p| (p.assignment.as_str(), p.policy.as_str())).collect();
    let wanted: BTreeSet<(&str, &str)> = document.policies.iter().map(|p| (p.assignment.as_str(), p.policy.as_str())).collect();
    for gone in &known {
        let key = (gone.assignment.as_str(), gone.policy.as_str());
        if !wanted.contains(&key) && !broken.contains(&key) {
            compliance::end_interval(tx, instance, key.0, key.1, now).await?;
            compliance::delete_result(tx, instance, key.0, key.1).await?;
        }
    }
    for key in wanted.union(&broken) {
        let before = known.iter().find(|r| (r.assignment.as_str(), r.policy.as_str()) == *key);
        let is_broken = broken.contains(key);
        let reason = if is_broken { reason::TEMPLATE } else { reason::NO_DATA };
        // What was told of the revision before stands until the host tells of the new one.
        if before.is_some_and(|b| !is_broken || (b.state == ComplianceState::Unknown && b.reason == reason)) {
            continue;
        }
        let result = ResultRecord {
            assignment: key.0.to_owned(),
            policy: key.1.to_owned(),
            revision: before.map_or(0, |b| b.revision),
            state: ComplianceState::Unknown,
            reason: reason.to_owned(),
            run: String::new(),
            checked_at: None,
            since: now,
        };
        compliance::put_result(tx, instance, &result).await?;
        compliance::begin_interval(tx, instance, &result).await?;
    }
    Ok(())
}

fn to_json(document: &HostPolicies) -> Result<String> {
    serde_json::to_string(document)
        .map_err(|e| Error::Internal { doing: "write the policies document of a host", source: Box::new(e) })
}
