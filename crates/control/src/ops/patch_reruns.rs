//! An ended patch job once more, on the hosts where it did not succeed.

use std::collections::BTreeSet;

use drydock_domain::ids::{InstanceId, JobId};
use drydock_domain::instance::InstanceState;
use drydock_domain::patch::job::{JobOrigin, StateCounts};
use drydock_store::idempotency::KeyUse;
use drydock_store::instances::Target;
use drydock_store::{commit, idempotency, instances, patch_jobs, patch_tasks};

use super::act::Act;
use super::digest;
use super::patch_jobs::{check_key, no_job, view};
use super::reach::Made;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::JobView;

impl Control {
    /// Makes a new job from an ended one, over the hosts where it did not succeed (with `all_hosts`, over all it reached),
    /// as far as they are still active. The same idempotency key returns the job it made.
    pub async fn rerun_patch_job(&self, ctx: &OpCtx, id: JobId, all_hosts: bool, key: Option<&str>) -> Result<JobView> {
        let act = self.act_on(ctx, "patch-job.rerun", self.about_job(id).await?).await?;
        let made = self.try_rerun(ctx, id, all_hosts, key, &act).await;
        act.settle(made).await
    }

    async fn try_rerun(&self, ctx: &OpCtx, id: JobId, all_hosts: bool, key: Option<&str>, act: &Act<'_>) -> Result<JobView> {
        let request = digest(&format!("rerun patch job {id}, all hosts: {all_hosts}"));
        if let Some(key) = key {
            check_key(key)?;
            if let Some(view) = self.made_before(ctx, key, &request).await? {
                return Ok(view);
            }
        }
        let mut c = self.read().await?;
        let ended = patch_jobs::find(&mut c, id).await?.ok_or_else(|| no_job(id))?;
        drop(c);
        if !ended.state.is_final() {
            return Err(Error::conflict(format!(
                "patch job {id} has not ended ({}); wait for it (drydock patch show {id} --follow) or cancel it",
                ended.state.as_str()
            )));
        }
        if let JobOrigin::Undo { job, .. } = &ended.origin {
            return Err(Error::conflict(format!(
                "patch job {id} takes another one back, which is planned anew for each host: run drydock patch undo {job} again"
            )));
        }
        let reach = self.reach(&ctx.who, "patch-job.rerun", &ended.compartment, ctx.now).await?;
        let reached = reach.sort(self.rerun_targets(id, all_hosts).await?);
        if reached.targets.is_empty() {
            let message = if reached.seen_only > 0 {
                format!("you may patch none of the {} hosts on which patch job {id} would start again", reached.seen_only)
            } else if all_hosts {
                format!("no host of patch job {id} is active any more")
            } else {
                format!("patch job {id} succeeded on every host that is still there; allHosts (--all-hosts) starts it on all")
            };
            return Err(Error::conflict(message));
        }
        let origin = JobOrigin::Rerun { job: id, all_hosts };
        let made = Made::by(&ctx.who, ended.compartment)?;
        let mut spec = ended.spec;
        self.demand_approval(&ctx.who, "patch-job.rerun", &made.compartment, &reached.targets, &mut spec).await?;
        let record = self.new_job(JobId(self.mint(ctx.now)), spec, origin, made, ctx.now);
        let mut tx = self.begin().await?;
        if let Some(key) = key {
            let used = KeyUse { request_sha256: request.clone(), resource: record.id.to_string() };
            if !idempotency::take(&mut tx, &ctx.who.key(), key, &used, ctx.now).await? {
                drop(tx);
                let before = self.made_before(ctx, key, &request).await?;
                return before.ok_or_else(|| Error::conflict("the idempotency key is in use; try again"));
            }
        }
        patch_jobs::insert(&mut tx, &record).await?;
        act.allowed_on(&mut tx, &format!("patch-job {id}, again as patch-job {}", record.id)).await?;
        commit(tx).await?;
        self.wake();
        Ok(JobView { not_patchable: Some(reached.seen_only), ..view(record, StateCounts::new()) })
    }

    /// The active instances an ended job has to be done again on, by name.
    pub(crate) async fn rerun_targets(&self, job: JobId, all_hosts: bool) -> Result<Vec<Target>> {
        let mut c = self.read().await?;
        let wanted: BTreeSet<InstanceId> = patch_tasks::to_do_again(&mut c, job, all_hosts).await?;
        let mut targets = instances::targets(&mut c, InstanceState::Active).await?;
        targets.retain(|target| wanted.contains(&target.id));
        Ok(targets)
    }
}
