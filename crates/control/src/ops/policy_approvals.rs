//! Approval rules and assignments of OS policies: an assignment acts on the hosts below where it lies, so rules about those
//! hosts are about it, too; and so is a move, and a preview that runs scripts.

use drydock_domain::access::scope::is_below;
use drydock_domain::policy::OsPolicyAssignment;
use drydock_store::compartments::Kind;
use drydock_store::{policies, policy_hosts};

use super::act::{About, Act, ConcernedHost, cut};
use super::policies::{ApplyAsk, CREATE, EDIT, HOSTS_AT_ONCE, Place};
use super::policy_documents::facts_of;
use crate::Control;
use crate::context::OpCtx;
use crate::error::Result;

impl Control {
    /// Begins an edit, with the approval of another person where a rule is about a host that it concerns.
    pub(super) async fn act_on_hosts<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        about: About,
        document: &OsPolicyAssignment,
        ask: &ApplyAsk,
    ) -> Result<Act<'a>> {
        let act = self.act_on(ctx, operation, about.clone()).await?;
        let hosts = match ask.dry_run {
            true => Vec::new(),
            false => self.concerned_by(ctx, operation, &about.compartment, document).await?,
        };
        self.approved(ctx, operation, &about, &hosts, act).await
    }

    /// Lets a preview begin that runs scripts on hosts only as its assignment could: `validate` is as much a script as `enforce`.
    pub(super) async fn approved_preview<'a>(
        &'a self,
        ctx: &'a OpCtx,
        compartment: &str,
        document: &OsPolicyAssignment,
        act: Act<'a>,
    ) -> Result<Act<'a>> {
        let groups = document.os_policies.iter().flat_map(|policy| &policy.resource_groups);
        if groups.flat_map(|group| &group.resources).all(|resource| resource.exec.is_none()) {
            return Ok(act);
        }
        let about = About::within(compartment, format!("policy-preview {}, which runs scripts", cut(document.id(), 64)));
        let hosts = self.concerned_by(ctx, CREATE, compartment, document).await?;
        self.approved(ctx, CREATE, &about, &hosts, act).await
    }

    /// The hosts that an assignment concerns from a compartment; nobody, where no rule of approval could be about them.
    pub(super) async fn concerned_by(
        &self,
        ctx: &OpCtx,
        operation: &str,
        compartment: &str,
        document: &OsPolicyAssignment,
    ) -> Result<Vec<ConcernedHost>> {
        if !self.has_rules_about(ctx, operation).await? {
            return Ok(Vec::new());
        }
        let (mut concerned, mut last) = (Vec::new(), None);
        loop {
            let hosts = policy_hosts::inputs(&mut *self.read().await?, last, HOSTS_AT_ONCE).await?;
            let Some(end) = hosts.last().map(|h| h.instance) else { return Ok(concerned) };
            let own = hosts.into_iter().filter(|host| is_below(&host.compartment, compartment));
            let own = own.filter(|host| document.instance_filter.matches(facts_of(host).selection));
            concerned.extend(own.map(|host| (host.compartment, host.labels)));
            last = Some(end);
        }
    }

    /// Begins what somebody does to an assignment that is there, with the approval of another person where a rule is about a
    /// host that it concerns: where it lies, and in `to`, if it is to be moved there.
    pub(super) async fn act_on_policy<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        name: &str,
        to: Option<&str>,
    ) -> Result<Act<'a>> {
        let about = self.about(Kind::Assignment, name).await?;
        let act = self.act_on(ctx, operation, about.clone()).await?;
        let mut hosts = Vec::new();
        if let Some(document) = self.newest_document(name).await? {
            for place in std::iter::once(about.compartment.as_str()).chain(to) {
                hosts.extend(self.concerned_by(ctx, operation, place, &document).await?);
            }
        }
        self.approved(ctx, operation, &about, &hosts, act).await
    }

    async fn newest_document(&self, name: &str) -> Result<Option<OsPolicyAssignment>> {
        let Some(record) = policies::find_by_name(&mut *self.read().await?, name).await? else { return Ok(None) };
        let newest = self.revision(record.id, record.target).await?;
        Ok(newest.filter(|revision| !revision.deleted).map(|revision| revision.document.clone()))
    }

    /// May whoever moves an assignment to a compartment make it do there what it does? As if they edited it there.
    pub(super) async fn judge_move(&self, ctx: &OpCtx, name: &str, to: &str) -> Result<()> {
        let Some(document) = self.newest_document(name).await? else { return Ok(()) };
        let place = Place { compartment: to.to_owned(), operation: EDIT };
        self.judge(ctx, name, &document, &place).await.map(drop)
    }
}
