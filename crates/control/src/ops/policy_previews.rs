//! Previews: what an assignment would change, asked of the hosts themselves; for hosts that are off, their last inventory
//! answers for packages by name.

use std::collections::BTreeSet;

use drydock_domain::access::Permission;
use drydock_domain::access::scope::is_below;
use drydock_domain::ids::PreviewId;
use drydock_domain::instance::Reachability;
use drydock_domain::inventory::{PackageSet, SectionKind};
use drydock_domain::policy::spec::PackageState;
use drydock_domain::policy::standing::{PolicyPreview, PolicyProblem, PreviewHost, PreviewSource};
use drydock_domain::policy::{
    ComplianceState, Evidence, HostPolicies, HostPolicy, OsPolicyAssignment, PolicyResult, Resource, ResourceResult, StepKind,
    StepOutcome, StepResult,
};
use drydock_store::compartments::Kind;
use drydock_store::policy_hosts::{self, PolicyInputs};
use drydock_store::policy_previews::{self, AnswerRecord, PreviewCounts, PreviewRecord};
use drydock_store::records::{PageQuery, Paged};
use drydock_store::{commit, inventory, policy_secrets};
use jiff::{SignedDuration, Timestamp};

use super::policy_documents::{facts_of, preview_document};
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::reconcile::picture::Host;

/// Previews of one server at once, count.
const PREVIEWS_MAX: u64 = 20;
/// A preview is kept this long, hours.
const PREVIEW_HOURS: i64 = 24;
/// Hosts read at once, count.
const HOSTS_AT_ONCE: u32 = 5000;
/// Problems told of one host, bytes.
const PROBLEM_MAX_BYTES: usize = 4096;

impl Control {
    /// Asks every host that the assignment is for what it would change. Nothing is changed.
    ///
    /// `compartment`: in which the assignment would be; its hosts are those there and below on which the caller may ask.
    pub async fn start_preview(
        &self,
        ctx: &OpCtx,
        document: OsPolicyAssignment,
        compartment: Option<&str>,
    ) -> Result<PolicyPreview> {
        let name = document.id().to_owned();
        let text = format!("policy-preview {name}");
        let (act, compartment) = self.act_in(ctx, "policy-preview.create", compartment, text).await?;
        let act = self.approved_preview(ctx, &compartment, &document, act).await?;
        let started = async {
            document.validate()?;
            if policy_previews::count_all(&mut *self.read().await?).await? >= PREVIEWS_MAX {
                return Err(Error::conflict(format!("there are {PREVIEWS_MAX} previews already; delete some")));
            }
            let expires_at = ctx.now.saturating_add(SignedDuration::from_hours(PREVIEW_HOURS)).unwrap_or(Timestamp::MAX);
            let preview = PreviewRecord {
                id: PreviewId(self.mint(ctx.now)),
                name,
                document,
                compartment,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                expires_at,
            };
            let answers = self.first_answers(ctx, &preview).await?;
            let mut tx = self.begin().await?;
            policy_previews::insert(&mut tx, &preview, &answers).await?;
            act.allowed_on(&mut tx, &format!("policy-preview {} ({})", preview.id, preview.name)).await?;
            commit(tx).await?;
            answers.iter().for_each(|a| self.hub().hint(a.instance));
            self.preview_view(preview).await
        }
        .await;
        act.settle(started).await
    }

    /// The hosts of a preview; for those that are off, what their inventory says.
    async fn first_answers(&self, ctx: &OpCtx, preview: &PreviewRecord) -> Result<Vec<AnswerRecord>> {
        let scope = self.scope_of(&ctx.who, "policy-preview.create", None, ctx.now).await?;
        let secrets = policy_secrets::versions(&mut *self.read().await?).await?;
        let mut answers = Vec::new();
        let mut last = None;
        loop {
            let hosts = policy_hosts::inputs(&mut *self.read().await?, last, HOSTS_AT_ONCE).await?;
            let Some(end) = hosts.last().map(|h| h.instance) else { return Ok(answers) };
            let is_for = |h: &&PolicyInputs| {
                is_below(&h.compartment, &preview.compartment)
                    && scope.holds_in(&h.compartment)
                    && preview.document.instance_filter.matches(facts_of(h).selection)
            };
            for host in hosts.iter().filter(is_for) {
                let (document, problems) = preview_document(host, preview, &secrets);
                let mut answer = AnswerRecord {
                    instance: host.instance,
                    source: PreviewSource::Waiting,
                    at: None,
                    would_change: 0,
                    problem: told(&problems),
                    policies: Vec::new(),
                };
                let is = Host::of(self, host.instance, host.last_seen, ctx.now);
                if is.reachability != Reachability::Online {
                    self.answer_from_inventory(host, &document, &mut answer).await?;
                }
                answers.push(answer);
            }
            last = Some(end);
        }
    }

    async fn answer_from_inventory(&self, host: &PolicyInputs, document: &HostPolicies, answer: &mut AnswerRecord) -> Result<()> {
        let section = inventory::section(&mut *self.read().await?, host.instance, SectionKind::Packages).await?;
        let Some(section) = section else { return Ok(()) };
        let Ok(packages) = serde_json::from_slice::<PackageSet>(&section.body) else { return Ok(()) };
        let installed: BTreeSet<&str> = packages.as_slice().iter().map(|p| p.name.as_str()).collect();
        answer.policies = document.policies.iter().map(|policy| judged(policy, &installed)).collect();
        let resources = answer.policies.iter().flat_map(|p| &p.resources);
        let changing = resources.clone().filter(|r| r.state == ComplianceState::NonCompliant).count();
        if resources.clone().any(|r| r.state != ComplianceState::Unknown) {
            answer.source = PreviewSource::Inventory;
            answer.at = Some(section.reported_at);
            answer.would_change = u32::try_from(changing).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    async fn preview_view(&self, preview: PreviewRecord) -> Result<PolicyPreview> {
        let counts = policy_previews::counts(&mut *self.read().await?, preview.id).await?;
        Ok(view(preview, counts))
    }

    /// Previews, newest first.
    pub async fn list_previews(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<PolicyPreview>> {
        let scope = self.scope(ctx, "policy-preview.list", Permission::PolicyRead).await?;
        let found = policy_previews::list(&mut *self.read().await?, page, &scope).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for preview in found.items {
            items.push(self.preview_view(preview).await?);
        }
        Ok(Paged { items, next_cursor: found.next_cursor })
    }

    /// How far a preview is.
    pub async fn get_preview(&self, ctx: &OpCtx, id: PreviewId) -> Result<PolicyPreview> {
        self.known(ctx, "policy-preview.show", Kind::Preview, &id.to_string()).await?;
        let found = policy_previews::find(&mut *self.read().await?, id).await?;
        self.preview_view(found.ok_or_else(|| no_preview(id))?).await
    }

    /// What hosts answered, by name.
    pub async fn preview_answers(
        &self,
        ctx: &OpCtx,
        id: PreviewId,
        source: Option<PreviewSource>,
        page: &PageQuery,
    ) -> Result<Paged<PreviewHost>> {
        self.known(ctx, "policy-preview.answers", Kind::Preview, &id.to_string()).await?;
        let mut c = self.read().await?;
        policy_previews::find(&mut c, id).await?.ok_or_else(|| no_preview(id))?;
        Ok(policy_previews::answers(&mut c, id, source, page).await?)
    }

    /// Forgets a preview.
    pub async fn delete_preview(&self, ctx: &OpCtx, id: PreviewId) -> Result<()> {
        let about = self.about(Kind::Preview, &id.to_string()).await?.called(format!("policy-preview {id}"));
        let act = self.act_on(ctx, "policy-preview.delete", about).await?;
        let deleted = async {
            let mut tx = self.begin().await?;
            if !policy_previews::delete(&mut tx, id).await? {
                return Err(no_preview(id));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }
}

fn no_preview(id: PreviewId) -> Error {
    Error::NotFound(format!("policy preview {id}"))
}

fn told(problems: &[PolicyProblem]) -> String {
    let words: Vec<String> = problems.iter().map(|p| format!("{}/{}: {}", p.policy, p.resource, p.message)).collect();
    super::act::cut(&words.join("; "), PROBLEM_MAX_BYTES).to_owned()
}

fn view(preview: PreviewRecord, counts: PreviewCounts) -> PolicyPreview {
    PolicyPreview {
        id: preview.id,
        name: preview.name,
        compartment: preview.compartment,
        created_by: preview.created_by,
        created_at: preview.created_at,
        expires_at: preview.expires_at,
        hosts: counts.waiting + counts.answered + counts.from_inventory,
        waiting: counts.waiting,
        answered: counts.answered,
        from_inventory: counts.from_inventory,
        would_change: counts.would_change,
    }
}

fn judged(policy: &HostPolicy, installed: &BTreeSet<&str>) -> PolicyResult {
    let resources: Vec<ResourceResult> = policy.resources.iter().map(|r| judged_resource(r, installed)).collect();
    PolicyResult {
        assignment: policy.assignment.clone(),
        revision: policy.revision,
        policy: policy.policy.clone(),
        state: ComplianceState::of_all(resources.iter().map(|r| r.state)),
        reason: String::new(),
        run: String::new(),
        checked_at: None,
        resources,
    }
}

/// A package by name is there or not; what else there is only the host knows.
fn judged_resource(resource: &Resource, installed: &BTreeSet<&str>) -> ResourceResult {
    let unknown = ResourceResult { id: resource.id.clone(), ..ResourceResult::default() };
    let Some(pkg) = &resource.pkg else { return unknown };
    let Some(named) = [&pkg.apt, &pkg.yum, &pkg.zypper].into_iter().flatten().next() else { return unknown };
    let is_there = installed.contains(named.name.as_str());
    let state = match (pkg.desired_state, is_there) {
        (PackageState::Removed, false) => ComplianceState::Compliant,
        (PackageState::Installed, false) | (PackageState::Removed, true) => ComplianceState::NonCompliant,
        // In some version; whether in a wanted one and held, only the host knows.
        (PackageState::Installed, true) if named.version.is_some() || named.hold => return unknown,
        (PackageState::Installed, true) => ComplianceState::Compliant,
    };
    let word = |there: bool| if there { "installed" } else { "not installed" }.to_owned();
    let step = StepResult {
        kind: StepKind::DesiredStateCheck,
        outcome: StepOutcome::Succeeded,
        duration_ms: 0,
        message: "from the host's last inventory".to_owned(),
        evidence: Some(Evidence::State { old: word(is_there), new: word(pkg.desired_state == PackageState::Installed) }),
    };
    ResourceResult { state, steps: vec![step], ..unknown }
}
